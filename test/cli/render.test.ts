import { assert, describe, it } from "@effect/vitest"
import * as Agent from "effect-agent-runtime/Agent"
import type { AgentEvent } from "effect-agent-runtime/AgentEvent"
import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
import * as Usage from "effect-agent-runtime/Usage"
import * as Workflow from "effect-agent-runtime/Workflow"
import type { RunEvent } from "effect-agent-runtime/WorkflowEvent"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Render from "../../src/cli/render.ts"
import { calculate, MathTools, MathToolsLayer } from "../support/calculator.ts"

const render = (events: Iterable<RunEvent>, color = false, style: "run" | "chat" = "run") => {
  let state = Render.initial
  let text = ""
  for (const event of events) {
    const [next, pieces] = Render.step({ color, style })(state, event)
    state = next
    text += pieces.join("")
  }
  return text
}

/** The events of a run, up to its failure if it fails. */
const record = Effect.fnUntraced(function* (script: ReadonlyArray<ScriptedLlm.Turn>) {
  const events: Array<AgentEvent> = []
  yield* Agent.stream(Agent.make("bot", { toolkit: MathTools }), "Hi").pipe(
    Stream.runForEach((event) => Effect.sync(() => events.push(event))),
    Effect.ignore,
    Effect.provide([ScriptedLlm.layer(script), MathToolsLayer])
  )
  return events
})

const head = { runId: "run_1", agent: "bot", offset: 0, timestamp: 0, turn: 1 }

describe("a run on the screen", () => {
  it.effect("has turns, numbered calls, the answer and what it took", () =>
    Effect.gen(function* () {
      const events = yield* record([[calculate("add", 5, 3), calculate("divide", 1, 0)], "It is 8.\nRoughly."])
      assert.strictEqual(
        render(events),
        `Turn 1
  → calculator #1 {"operation":"add","a":5,"b":3}
  ← calculator #1 {"result":8}
  → calculator #2 {"operation":"divide","a":1,"b":0}
  ✗ calculator #2 {"_tag":"DivisionByZero"}
Turn 2
  It is 8.
  Roughly.

Answer: It is 8.
Roughly.
2 model calls, 2 tool calls, 30 tokens (20 in, 10 out), 0 ms, scripted
`
      )
    })
  )

  it("shows what was left out of a request", () => {
    const text = render([
      {
        ...head,
        _tag: "ContextPruned",
        window: "tokenBudget(1000)",
        trigger: "threshold",
        before: { messages: 20, tokens: 1100 },
        after: { messages: 12, tokens: 740 },
        usage: Usage.zero
      }
    ])
    assert.strictEqual(text, "  ✂ tokenBudget(1000): 1100 → 740 tokens, 20 → 12 messages\n")
  })

  it.effect("shows what the loop detector did", () =>
    Effect.gen(function* () {
      const text = render(yield* record([calculate("add", 1, 1), calculate("add", 1, 1), "2"]))
      assert.include(text, "  ↻ calculator \"You already called the tool 'calculator'")
    })
  )

  it.effect("ends with what a failed run took", () =>
    Effect.gen(function* () {
      const text = render(yield* record([calculate("add", 1, 1)]))
      assert.match(text, /\n\n1 model call, 1 tool call, 15 tokens \(10 in, 5 out\), 0 ms, scripted\n$/)
      assert.notInclude(text, "Answer")
    })
  )

  it("sets reasoning apart from text", () => {
    const text = render([
      { ...head, _tag: "ReasoningDelta", delta: "Let me " },
      { ...head, _tag: "ReasoningDelta", delta: "see" },
      { ...head, _tag: "TextDelta", delta: "So: " },
      { ...head, _tag: "TextDelta", delta: "8" },
      { ...head, _tag: "TurnStarted", turn: 2 }
    ])
    assert.strictEqual(text, "  Let me see\n  So: 8\nTurn 2\n")
  })

  it.effect("has colors only where they are wanted", () =>
    Effect.gen(function* () {
      const events = yield* record([calculate("add", 5, 3), "8"])
      assert.notInclude(render(events), "\u001b")
      assert.include(render(events, true), "\u001b[36m→\u001b[0m calculator")
    })
  )

  it.effect("shows a chat without turns and without the answer a second time", () =>
    Effect.gen(function* () {
      const text = render(yield* record([calculate("add", 5, 3), "It is 8."]), false, "chat")
      assert.match(
        text,
        /^ {2}→ calculator #1 [^\n]*\n {2}← calculator #1 {"result":8}\n {2}It is 8\.\n {2}2 model calls/
      )
      assert.strictEqual(text.match(/It is 8/g)?.length, 1)
    })
  )

  it.effect("shows the calls of sub-agents with their name, and not their answers", () =>
    Effect.gen(function* () {
      const events = (yield* record([calculate("add", 5, 3), "8"])).map((event) => ({ ...event, parentRunId: "run_0" }))
      const lines = render(events).trimEnd().split("\n")
      assert.deepStrictEqual(lines, [
        '    bot → calculator #1 {"operation":"add","a":5,"b":3}',
        '    bot ← calculator #1 {"result":8}'
      ])
    })
  )

  it("shortens long values", () => {
    const [, [text = ""]] = Render.step({ color: false, style: "run" })(Render.initial, {
      ...head,
      _tag: "ToolCallStarted",
      id: "a",
      name: "write",
      params: { text: "x".repeat(100_000) }
    })
    assert.isBelow(text.length, 250)
    assert.match(text, /x…\n$/)
  })

  it.effect("shows a workflow that is one step, as those of tools may be", () =>
    Effect.gen(function* () {
      const events: Array<RunEvent> = []
      yield* Workflow.stream(
        Workflow.transform("shout", (text: string) => text.toUpperCase()),
        "hi"
      ).pipe(Stream.runForEach((event) => Effect.sync(() => events.push(event))))
      assert.include(render(events), '▶ shout (transform)\n✓ shout "HI"\n')
    })
  )

  it("lets nobody steer the terminal", () => {
    const evil = "\u001b[2J\u009b31mred\u0007\r\b"
    const text = render([
      { ...head, _tag: "TextDelta", delta: evil },
      { ...head, _tag: "ToolCallStarted", id: "a", name: evil, params: { evil } },
      { ...head, _tag: "ToolCallFailed", id: "a", name: evil, kind: "failure", result: evil, durationMillis: 0 },
      {
        ...head,
        _tag: "ModelCallCompleted",
        content: [],
        finishReason: "stop",
        tokens: Usage.noTokens,
        model: evil,
        costNanoUsd: 0,
        durationMillis: 0
      },
      { ...head, _tag: "RunCompleted", text: evil, output: evil, usage: Usage.zero, turns: 1, durationMillis: 0 }
    ])
    assert.notMatch(text.replaceAll("\n", ""), /\p{Cc}/u)
  })
})
