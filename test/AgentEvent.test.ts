import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as AgentEvent from "effect-agent-runtime/AgentEvent"
import * as History from "effect-agent-runtime/History"
import * as Usage from "effect-agent-runtime/Usage"
import * as Schema from "effect/Schema"

const codec = Schema.toCodecJson(AgentEvent.AgentEvent)
const toJson = (event: AgentEvent.AgentEvent): string => JSON.stringify(Schema.encodeSync(codec)(event))
const fromJson = (json: string): AgentEvent.AgentEvent => Schema.decodeUnknownSync(codec)(JSON.parse(json))

/** What is left of a value in JSON: no `undefined`, no `-0`. */
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value))

const head = { runId: "run_1", parentRunId: "run_0", agent: "bot", offset: 7, timestamp: 1000 }
const turn = { ...head, turn: 3 }
const call = { ...turn, id: "call_1", name: "search" }
const spent = { usage: Usage.zero, turns: 3, durationMillis: 5 }
const history = History.appendUser(History.empty, "hi")

/** Each event with its scope, type, status and component in the grammar of the original. */
const events: ReadonlyArray<readonly [AgentEvent.AgentEvent, string, string, string, string]> = [
  [{ ...head, _tag: "RunStarted", history }, "agent", "started", "running", "bot"],
  [{ ...turn, _tag: "TurnStarted" }, "agent", "progress", "running", "bot"],
  [
    {
      ...turn,
      _tag: "ContextPruned",
      window: "tokenBudget(10)",
      trigger: "threshold",
      before: { messages: 3, tokens: 12 },
      after: { messages: 1, tokens: 4 },
      usage: Usage.zero
    },
    "system",
    "progress",
    "running",
    "system:context_window"
  ],
  [{ ...turn, _tag: "ModelCallStarted", messages: 2, tools: ["a"] }, "llm_request", "started", "running", "bot:llm:3"],
  [{ ...turn, _tag: "TextDelta", delta: "x" }, "llm_request", "progress", "running", "bot:llm:3"],
  [{ ...turn, _tag: "ReasoningDelta", delta: "x" }, "llm_request", "progress", "running", "bot:llm:3"],
  [{ ...call, _tag: "ToolParamsDelta", delta: "{" }, "llm_request", "progress", "running", "bot:llm:3"],
  [
    { ...turn, _tag: "ModelCallRetried", reason: "X", message: "x", delayMillis: 5, model: "m" },
    "llm_request",
    "progress",
    "running",
    "bot:llm:3"
  ],
  [
    {
      ...turn,
      _tag: "ModelCallCompleted",
      content: [{ type: "text", text: "x" }],
      finishReason: "stop",
      tokens: Usage.noTokens,
      model: undefined,
      costNanoUsd: 7,
      durationMillis: 5
    },
    "llm_request",
    "completed",
    "completed",
    "bot:llm:3"
  ],
  [{ ...turn, _tag: "ModelCallFailed", reason: "X", message: "x" }, "llm_request", "failed", "failed", "bot:llm:3"],
  [{ ...turn, _tag: "ModelCallInterrupted" }, "llm_request", "canceled", "canceled", "bot:llm:3"],
  [{ ...call, _tag: "ToolCallStarted", params: { q: 1 } }, "tool", "started", "running", "search:call_1"],
  [{ ...call, _tag: "ToolCallProgressed", result: 50 }, "tool", "progress", "running", "search:call_1"],
  [
    { ...call, _tag: "ToolCallCompleted", result: {}, durationMillis: 5 },
    "tool",
    "completed",
    "completed",
    "search:call_1"
  ],
  [
    { ...call, _tag: "ToolCallFailed", kind: "timeout", result: "x", detail: undefined, durationMillis: 5 },
    "tool",
    "failed",
    "failed",
    "search:call_1"
  ],
  [{ ...call, _tag: "ToolCallInterrupted" }, "tool", "canceled", "canceled", "search:call_1"],
  [
    { ...head, _tag: "ChildRunEnded", childRunId: "run_2", childAgent: "b", usage: Usage.zero },
    "agent",
    "progress",
    "running",
    "bot"
  ],
  [
    { ...call, _tag: "LoopDetected", params: {}, verdict: "replay", kind: "repeat", message: "x", isFailure: false },
    "system",
    "progress",
    "running",
    "system:tool_loop_detection"
  ],
  [{ ...turn, _tag: "OutputRejected", issue: "x", feedback: "x" }, "agent", "progress", "running", "bot"],
  [{ ...turn, _tag: "TurnCompleted" }, "agent", "progress", "running", "bot"],
  [{ ...head, _tag: "RunCompleted", text: "x", output: { n: 1 }, ...spent }, "agent", "completed", "completed", "bot"],
  [{ ...head, _tag: "RunFailed", reason: "X", message: "x", ...spent }, "agent", "failed", "failed", "bot"],
  [{ ...head, _tag: "RunInterrupted", ...spent }, "agent", "canceled", "canceled", "bot"]
]

const tags = AgentEvent.AgentEvent.members.map((member) => member.fields._tag.schema.literal)
const byTag = events.map((row) => [row[0]._tag, ...row] as const)

describe("an event", () => {
  it("of each tag is in the table below", () => {
    assert.deepStrictEqual(
      byTag.map(([tag]) => tag),
      tags
    )
  })

  it.each(byTag)("%s has its scope, type, status and component", (_, event, scope, type, status, component) => {
    assert.deepStrictEqual(
      [AgentEvent.scope(event), AgentEvent.type(event), AgentEvent.status(event), AgentEvent.componentId(event)],
      [scope, type, status, component]
    )
  })

  it.each(byTag)("%s survives JSON", (_, event) => {
    assert.deepStrictEqual(plain(fromJson(toJson(event))), plain(event))
  })

  it.prop(
    "of any content survives JSON",
    [AgentEvent.AgentEvent],
    ([event]) => {
      const json = toJson(event)
      assert.strictEqual(toJson(fromJson(json)), json)
      assert.hasAllKeys(plain(fromJson(json)), Object.keys(plain(event) as object))
    },
    { arbitrary: { runs: 1000, size: 4 } }
  )

  it.prop(
    "of any content has a component id that the original would take",
    [AgentEvent.AgentEvent, Schema.String.check(Schema.isPattern(/^[a-z-]+$/))],
    ([any, agent]) => {
      const event = { ...any, agent, turn: 1 } as AgentEvent.AgentEvent
      const patterns = { agent: /./, llm_request: /^[^:]+:llm:\d+$/, tool: /./s, system: /^system:/ }
      assert.match(AgentEvent.componentId(event), patterns[AgentEvent.scope(event)])
    }
  )

  it("is terminal when the run has ended", () => {
    assert.deepStrictEqual(
      events.flatMap(([event]) => (AgentEvent.isTerminal(event) ? [event._tag] : [])),
      ["RunCompleted", "RunFailed", "RunInterrupted"]
    )
  })

  it("of another tag, or without a field, is refused", () => {
    assert.throws(() => fromJson('{"_tag":"RunExploded"}'))
    assert.throws(() => fromJson(toJson(events[1]![0]).replace('"turn"', '"tern"')))
  })
})

describe("the guide", () => {
  it("has the scope and type of each event in its table", () => {
    const guide = readFileSync(new URL("../docs/guide/events.md", import.meta.url), "utf8")
    const namesIn = (cell: string) => Array.from(cell.matchAll(/`(…?\w+)`/g), ([, name]) => name!)
    const rows = Array.from(guide.matchAll(/^\| (`.*?) \| `(\w+)` \| (.*?) \|/gm), ([, tags, scope, cell]) => {
      const types = namesIn(cell!)
      const [first = "", ...others] = namesIn(tags!)
      const names = [first, ...others.map((name) => name.replace("…", first.replace(/Started$/, "")))]
      return names.map((name, i) => `${name} ${scope} ${types.length === 1 ? types[0] : types[i]}`)
    })
    assert.sameMembers(
      rows.flat(),
      events.map(([{ _tag }, scope, type]) => `${_tag} ${scope} ${type}`)
    )
  })
})
