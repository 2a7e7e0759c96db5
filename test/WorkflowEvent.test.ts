import { assert, describe, it } from "@effect/vitest"
import * as Usage from "effect-agent-runtime/Usage"
import * as WorkflowEvent from "effect-agent-runtime/WorkflowEvent"
import * as Schema from "effect/Schema"

const codec = Schema.toCodecJson(WorkflowEvent.RunEvent)

const envelope = { runId: "r", recordRunId: "r", workflow: "etl:daily", offset: 0, timestamp: 5 }
const place = { index: 3, name: "a:b", type: "agent", path: ["etl:daily", "a:b"], iterations: [] } as const
const failure = { tag: "Broken", message: "no", causes: [{ tag: "Deeper", message: "down" }] }
const { zero: usage } = Usage

const step = "etl:daily:step:3"
const events: ReadonlyArray<readonly [WorkflowEvent.WorkflowEvent, string, string, string, string]> = [
  [{ ...envelope, _tag: "WorkflowStarted", input: 1, usage }, "workflow", "started", "running", "etl:daily"],
  [{ ...envelope, ...place, _tag: "StepStarted", input: 1 }, "workflow_step", "started", "running", step],
  [{ ...envelope, ...place, _tag: "BranchTaken", branch: "yes" }, "workflow_step", "progress", "running", step],
  [
    { ...envelope, ...place, _tag: "StepCompleted", output: 2, durationMillis: 1 },
    "workflow_step",
    "completed",
    "completed",
    step
  ],
  [
    { ...envelope, ...place, _tag: "StepFailed", failure, durationMillis: 1 },
    "workflow_step",
    "failed",
    "failed",
    step
  ],
  [
    { ...envelope, ...place, _tag: "StepInterrupted", durationMillis: 1 },
    "workflow_step",
    "canceled",
    "canceled",
    step
  ],
  [
    {
      ...envelope,
      ...place,
      _tag: "StepRestored",
      status: "completed",
      input: 1,
      output: 2,
      startedAt: 1,
      durationMillis: 1
    },
    "workflow_step",
    "completed",
    "completed",
    step
  ],
  [
    {
      ...envelope,
      ...place,
      _tag: "StepRestored",
      status: "failed",
      input: 1,
      failure,
      startedAt: 1,
      durationMillis: 1
    },
    "workflow_step",
    "failed",
    "failed",
    step
  ],
  [
    { ...envelope, _tag: "WorkflowCompleted", output: 2, usage, durationMillis: 1 },
    "workflow",
    "completed",
    "completed",
    "etl:daily"
  ],
  [
    { ...envelope, _tag: "WorkflowFailed", failure, failedStep: 3, usage, durationMillis: 1 },
    "workflow",
    "failed",
    "failed",
    "etl:daily"
  ],
  [
    { ...envelope, _tag: "WorkflowInterrupted", usage, durationMillis: 1 },
    "workflow",
    "canceled",
    "canceled",
    "etl:daily"
  ]
]

describe("WorkflowEvent", () => {
  it.each(events)(
    "has the original's grammar, whatever the names hold: %o",
    (event, scope, type, status, component) => {
      assert.deepStrictEqual(
        [
          WorkflowEvent.scope(event),
          WorkflowEvent.type(event),
          WorkflowEvent.status(event),
          WorkflowEvent.componentId(event)
        ],
        [scope, type, status, component]
      )
    }
  )

  it("shows every kind of event above", () => {
    const tags = WorkflowEvent.WorkflowEvent.members.map((member) => member.fields._tag.schema.literal)
    assert.deepStrictEqual([...new Set(events.map(([{ _tag }]) => _tag))], tags)
  })

  it("passes the events of agents on to their grammar", () => {
    const event = { runId: "r", agent: "a:b", offset: 0, timestamp: 0, _tag: "TurnStarted", turn: 1 } as const
    assert.deepStrictEqual(
      [
        WorkflowEvent.scope(event),
        WorkflowEvent.type(event),
        WorkflowEvent.status(event),
        WorkflowEvent.componentId(event),
        WorkflowEvent.isTerminal(event),
        WorkflowEvent.isWorkflowEvent(event)
      ],
      ["agent", "progress", "running", "a:b", false, false]
    )
  })

  it("knows the last events of a run", () => {
    assert.deepStrictEqual(
      events.flatMap(([event]) => (WorkflowEvent.isTerminal(event) ? [event._tag] : [])),
      ["WorkflowCompleted", "WorkflowFailed", "WorkflowInterrupted"]
    )
  })

  it.each(events)("survives JSON: %o", (event) => {
    const json = JSON.stringify(Schema.encodeSync(codec)(event))
    assert.deepStrictEqual(Schema.decodeUnknownSync(codec)(JSON.parse(json)), event)
  })

  it("folds nothing to nothing, and passes over what is of another record", () => {
    assert.isUndefined(WorkflowEvent.fold([]))
    const [[started], [begun]] = events as [(typeof events)[0], (typeof events)[0]]
    const run = WorkflowEvent.fold([started, { ...begun, recordRunId: "other" }])
    assert.strictEqual(run?.status, "running")
    assert.deepStrictEqual(run?.steps, [])
  })
})
