import { assert, describe, it } from "@effect/vitest"
import * as EventHub from "effect-agent-runtime/EventHub"
import * as Workflow from "effect-agent-runtime/Workflow"
import type { RunEvent, WorkflowEvent } from "effect-agent-runtime/WorkflowEvent"
import * as WorkflowEvents from "effect-agent-runtime/WorkflowEvent"
import { WorkflowRun } from "effect-agent-runtime/WorkflowRun"
import type { StepRecord, StepShape } from "effect-agent-runtime/WorkflowRun"
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Schema from "effect/Schema"
import type { Plan, World } from "../support/workflowPlans.ts"
import * as Workflows from "../support/workflowPlans.ts"

const codec = Schema.toCodecJson(WorkflowRun)
const throughJson = (run: WorkflowRun): WorkflowRun =>
  Schema.decodeUnknownSync(codec)(JSON.parse(JSON.stringify(Schema.encodeSync(codec)(run))))

const placeOf = ({ iterations, path }: StepRecord) => JSON.stringify([path, iterations])

/** A run to its end, however it ends, with its record and the events of all runs in it. */
const watched = Effect.fnUntraced(function* (
  plan: Plan,
  world: World,
  n: number,
  resumed?: WorkflowRun,
  meanwhile: (fiber: Fiber.Fiber<unknown, unknown>) => Effect.Effect<void> = () => Effect.void
) {
  const events: Array<RunEvent> = []
  let record: WorkflowRun | undefined
  const options = {
    onEnd: (run: WorkflowRun) =>
      Effect.sync(() => {
        record = run
      })
  }
  const workflow = Workflows.build(plan, world)
  const llm = Workflows.model(world)
  const hub = {
    ...(yield* EventHub.make()),
    publish: (published: ReadonlyArray<RunEvent>) => void events.push(...published)
  }
  const running = (
    resumed === undefined ? Workflow.run(workflow, n, options) : Workflow.resume(workflow, resumed, options)
  ).pipe(Effect.provideService(Workflows.Llm, llm), Effect.provideService(EventHub.EventHub, hub))
  const fiber = yield* Effect.forkChild(running)
  yield* meanwhile(fiber)
  const exit = yield* Fiber.await(fiber)
  return { exit, events, record: record! }
})

/** What holds for every record of a run that has ended. */
const violations = (run: WorkflowRun): ReadonlyArray<string> => {
  const issues: Array<string> = []
  const places = new Map<string, StepRecord>()
  for (const [i, step] of run.steps.entries()) {
    if (step.index !== i) issues.push(`step ${i} has the index ${step.index}`)
    if (places.has(placeOf(step))) issues.push(`${placeOf(step)} is there twice`)
    places.set(placeOf(step), step)
    if (step.status === "running") issues.push(`${placeOf(step)} still runs`)
    if (step.path.at(-1) !== step.name) issues.push(`${placeOf(step)} is not named ${step.name}`)
    if (step.path.length === 1 || (step.path.length === 2 && !places.has(JSON.stringify([[run.workflow], []]))))
      continue
    const around = step.path.slice(0, -1)
    const parent =
      places.get(JSON.stringify([around, step.iterations]))
      ?? places.get(JSON.stringify([around, step.iterations.slice(0, -1)]))
    if (parent === undefined) issues.push(`${placeOf(step)} begins before the step around it`)
  }
  if ((run.status === "failed") !== (run.failure !== undefined)) issues.push("the failure is not that of the status")
  return issues
}

/** What holds for all events of runs of workflows. */
const eventViolations = (events: ReadonlyArray<RunEvent>, record: WorkflowRun): ReadonlyArray<string> => {
  const issues: Array<string> = []
  const runs = new Map<string, Array<WorkflowEvent>>()
  for (const event of events) {
    if (WorkflowEvents.isWorkflowEvent(event)) runs.set(event.runId, [...(runs.get(event.runId) ?? []), event])
    const isRoot = event.runId === record.runId
    if (isRoot !== (event.parentRunId === undefined)) issues.push(`${event._tag} has not the parent it should have`)
    if (!isRoot && !runs.has(event.parentRunId!)) issues.push(`${event._tag} comes before its parent`)
    if (!isRoot && event.rootRunId !== record.runId) issues.push(`${event._tag} has another root`)
  }
  for (const own of runs.values()) {
    for (const [i, event] of own.entries()) if (event.offset !== i) issues.push(`offset ${event.offset} is not ${i}`)
    if (own[0]!._tag !== "WorkflowStarted") issues.push("a run begins with something else")
    if (own.filter(WorkflowEvents.isTerminal).length !== 1) issues.push("a run does not end once")
    if (!WorkflowEvents.isTerminal(own.at(-1)!)) issues.push("a run ends with something else")
  }
  return issues
}

const quiet: World = { before: Effect.void }

/** Lets something happen when the given effect or model call begins, and counts them. */
const at = (call: number, event: Effect.Effect<void>) => {
  let calls = 0
  const world: World = { before: Effect.suspend(() => (++calls === call ? event : Effect.void)) }
  return { world, calls: () => calls }
}

const isLeaf = ({ type }: StepRecord) => type === "effect" || type === "agent" || type === "transform"

/** Going on from a record gives what the whole gives, and runs nothing that is finished. */
const resumes = Effect.fnUntraced(function* (plan: Plan, n: number, first: WorkflowRun) {
  const counting = at(0, Effect.void)
  const second = yield* watched(plan, counting.world, n, throughJson(first))
  const expected = Workflows.direct(plan, n)
  assert.strictEqual(Exit.isSuccess(second.exit) ? second.exit.value.output : undefined, expected)
  const finished = new Set(first.steps.filter((step) => isLeaf(step) && step.status === "completed").map(placeOf))
  const begun = second.events.filter((event) => event._tag === "StepStarted" && isLeaf(event as never))
  for (const event of begun) assert.isFalse(finished.has(placeOf(event as never)))
  if (first.status === "completed") {
    assert.deepStrictEqual(begun, [])
    assert.deepStrictEqual(second.record.steps.map(placeOf).toSorted(), first.steps.map(placeOf).toSorted())
  }
  const outward = begun.filter((event) => "type" in event && event.type !== "transform")
  assert.strictEqual(counting.calls(), outward.length)
  assert.deepStrictEqual(violations(second.record), [])
  assert.deepStrictEqual(eventViolations(second.events, second.record), [])
  assert.deepStrictEqual(WorkflowEvents.fold(second.events), second.record)
})

describe("any workflow", () => {
  it.effect.prop("puts out what its steps put out, one after the other", [Workflows.plan, small()], ([plan, n]) =>
    Effect.gen(function* () {
      const { events, exit, record } = yield* watched(plan, quiet, n)
      assert.strictEqual(Exit.isSuccess(exit) ? exit.value.output : undefined, Workflows.direct(plan, n))
      assert.strictEqual(record.status, Exit.isSuccess(exit) ? "completed" : "failed")
      assert.deepStrictEqual(violations(record), [])
      assert.deepStrictEqual(eventViolations(events, record), [])
      assert.deepStrictEqual(WorkflowEvents.fold(events), record)
      assert.deepStrictEqual(throughJson(record), record)
      const answered = record.steps.filter(({ status, type }) => type === "agent" && status === "completed")
      assert.strictEqual(record.usage.modelCalls, answered.length)
    })
  )

  it.effect.prop(
    "has the same kinds of steps in its shape, its record and its events",
    [Workflows.plan, small()],
    ([plan, n]) =>
      Effect.gen(function* () {
        const kinds = new Map<string, string>()
        const visit = ({ name, steps, type }: StepShape, around: ReadonlyArray<string>) => {
          kinds.set([...around, name].join(), type)
          for (const { shape } of steps) visit(shape, [...around, name])
        }
        visit(Workflow.shape(Workflows.build(plan, quiet)), [])
        const { events, record } = yield* watched(plan, quiet, n)
        const begun = events.flatMap((event) => (event._tag === "StepStarted" ? [event] : []))
        assert.lengthOf(begun, record.steps.length)
        for (const { path, type } of [...record.steps, ...begun]) assert.strictEqual(type, kinds.get(path.join()))
      })
  )

  it.effect.prop("goes on from its complete record without running anything", [Workflows.plan, small()], ([plan, n]) =>
    Effect.gen(function* () {
      const { record } = yield* watched(plan, quiet, n)
      if (record.status === "completed") yield* resumes(plan, n, record)
    })
  )

  it.effect.prop("goes on from where it died", [Workflows.plan, small(), small()], ([plan, n, call]) =>
    Effect.gen(function* () {
      const { record } = yield* watched(plan, at(call, Effect.die("power cut")).world, n)
      assert.deepStrictEqual(violations(record), [])
      yield* resumes(plan, n, record)
    })
  )

  it.effect.prop("goes on from where it was interrupted", [Workflows.plan, small(), small()], ([plan, n, call]) =>
    Effect.gen(function* () {
      const hanging = Latch.makeUnsafe(false)
      let released = 0
      const { world } = at(
        call,
        Effect.andThen(
          hanging.open,
          Effect.onInterrupt(Effect.never, () => Effect.sync(() => released++))
        )
      )
      const { events, exit, record } = yield* watched(plan, world, n, undefined, (fiber) =>
        Effect.race(Effect.andThen(hanging.await, Fiber.interrupt(fiber)), Effect.asVoid(Fiber.await(fiber)))
      )
      // The failure of a step beside it may have come first.
      assert.strictEqual(record.status === "interrupted", Exit.hasInterrupts(exit))
      assert.strictEqual(released, hanging.isOpen() ? 1 : 0)
      assert.deepStrictEqual(violations(record), [])
      assert.deepStrictEqual(eventViolations(events, record), [])
      assert.deepStrictEqual(WorkflowEvents.fold(events), record)
      yield* resumes(plan, n, record)
    })
  )

  it.effect.prop("goes on from any prefix of its events", [Workflows.plan, small(), small()], ([plan, n, share]) =>
    Effect.gen(function* () {
      const { events } = yield* watched(plan, quiet, n)
      const prefix = events.slice(0, 1 + Math.floor(((events.length - 1) * share) / 9))
      yield* resumes(plan, n, WorkflowEvents.fold(prefix)!)
    })
  )
})

function small() {
  return Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 9 })))
}
