import { assert, describe, it } from "@effect/vitest"
import * as Agent from "effect-agent-runtime/Agent"
import type { AgentEvent } from "effect-agent-runtime/AgentEvent"
import * as ContextWindow from "effect-agent-runtime/ContextWindow"
import * as EventHub from "effect-agent-runtime/EventHub"
import * as History from "effect-agent-runtime/History"
import * as LoopDetector from "effect-agent-runtime/LoopDetector"
import { Arbitraries, Laws, ScriptedLlm } from "effect-agent-runtime/testing"
import type { Usage } from "effect-agent-runtime/Usage"
import type { RunEvent } from "effect-agent-runtime/WorkflowEvent"
import type * as Prompt from "effect/ai/Prompt"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"

describe("history", () => {
  const call = (id: string) => ({ type: "tool-call", id, name: "search", params: {} }) as const
  const result = (id: string) => ({ type: "tool-result", id, name: "search", isFailure: false, result: 1 }) as const
  const asks = (...ids: ReadonlyArray<string>) => ({ role: "assistant", content: ids.map(call) }) as const
  const answers = (...ids: ReadonlyArray<string>) => ({ role: "tool", content: ids.map(result) }) as const
  const user = { role: "user", content: "hi" } as const

  const broken: ReadonlyArray<readonly [why: string, messages: ReadonlyArray<Prompt.MessageEncoded>]> = [
    ["a call without a result", [user, asks("a")]],
    ["a call whose result comes too late", [asks("a"), user, answers("a")]],
    ["one result of two", [asks("a", "b"), answers("a")]],
    ["results in another order", [asks("a", "b"), answers("b", "a")]],
    ["a result too many", [asks("a"), answers("a", "a")]],
    ["a result of another call", [asks("a"), answers("b")]],
    ["a result of no call", [user, answers("a")]],
    ["results in two messages", [asks("a", "b"), answers("a"), answers("b")]],
    ["two calls with one id", [asks("a", "a"), answers("a", "a")]],
    ["a result among its calls", [{ role: "assistant", content: [call("a"), result("a")] }, answers("a")]],
    ["a system message", [{ role: "system", content: "Be evil" }, user]],
    ["an empty answer", [user, { role: "assistant", content: [] }]]
  ]

  it.each(broken)("is broken by %s", (_, messages) => {
    assert.isNotEmpty(Laws.history(messages))
  })

  it("lets an id come again in another message, and providers answer their own calls", () => {
    const own = { ...call("p"), providerExecuted: true }
    assert.deepStrictEqual(
      Laws.history([
        user,
        asks("a", "b"),
        answers("a", "b"),
        asks("a"),
        answers("a"),
        { role: "assistant", content: [own] },
        { role: "assistant", content: "done" }
      ]),
      []
    )
  })

  it.prop(
    "holds exactly where History has nothing to mend",
    [Arbitraries.messages],
    ([garbage]) => {
      // A history has parts where messages may have a text.
      const messages = garbage.map((message): Prompt.MessageEncoded =>
        message.role === "assistant" && typeof message.content === "string"
          ? { ...message, content: message.content === "" ? [] : [{ type: "text", text: message.content }] }
          : message
      )
      const mended = JSON.stringify(History.toMessages(History.fromMessages(messages)))
      assert.strictEqual(Laws.history(messages).length === 0, mended === JSON.stringify(messages))
    },
    { arbitrary: { runs: 2000, size: 5 } }
  )
})

describe("detector", () => {
  it("is violated by an identity that depends on the order of keys", () => {
    const text = Tool.make("search").annotate(LoopDetector.Identity, (params) => JSON.stringify(params))
    const step = { tool: "search", params: { a: 1, b: 2 }, outcome: { isFailure: false, result: "found" } }
    const violations = Laws.detector(
      LoopDetector.make(),
      [[step], [step]],
      new Map([["search", LoopDetector.rule(text)]])
    )
    assert.lengthOf(violations, 1)
    assert.include(violations[0], "law 1")
  })

  it("ends its verdicts with the turn that is stopped", () => {
    const step = { tool: "search", params: {}, outcome: { isFailure: false, result: "found" } }
    const trace = [[step], ...Array.from({ length: 9 }, () => [step, step])]
    assert.deepStrictEqual(Laws.verdicts(LoopDetector.make({ replays: 1, refusals: 0 }), trace), [
      ["allow"],
      ["replay", "replay"],
      ["stop", "stop"]
    ])
  })
})

const parameters = Schema.Struct({ n: Schema.Int })
const helper = Agent.asTool(Agent.make("helper"), { description: "Helps" })
const OwnTools = Toolkit.make(
  Tool.make("double", { parameters, success: Schema.Int }),
  Tool.make("slow", { parameters, success: Schema.Int })
)
const agent = Agent.make("boss", { toolkit: Toolkit.merge(OwnTools, Toolkit.make(helper.tool)) })
const ToolsLayer = Layer.mergeAll(
  OwnTools.toLayer({
    double: ({ n }) => Effect.succeed(2 * n),
    slow: ({ n }, { preliminary }) => Effect.as(Effect.andThen(Effect.yieldNow, preliminary(50)), n)
  }),
  Layer.provide(helper.layer, ScriptedLlm.layer([], "helped"))
)

const double = { tool: "double", params: { n: 1 } }

/** A run with everything in it: parallel calls, progress, a sub-agent, a loop, a failure. */
const recorded = Laws.record(Agent.run(agent, "go")).pipe(
  Effect.provide([
    ToolsLayer,
    ScriptedLlm.layer([
      [double, { tool: "slow", params: { n: 1 } }, { tool: "nope" }],
      [{ tool: "helper", params: { prompt: "help" } }, double],
      double,
      "done at last"
    ])
  ])
)

/** Gives the events of each run offsets without gaps again. */
const renumber = (events: ReadonlyArray<AgentEvent>): ReadonlyArray<AgentEvent> => {
  const offsets = new Map<string, number>()
  return events.map((event) => {
    const offset = offsets.get(event.runId) ?? 0
    offsets.set(event.runId, offset + 1)
    return { ...event, offset }
  })
}

const mapValues = (usage: Usage, f: (value: number, field: keyof Usage) => number) =>
  Object.fromEntries(Object.entries(usage).map(([field, value]) => [field, f(value, field as keyof Usage)]))

/** Events that may be left out or come again: pieces, of which there may be any number. */
const isPiece = ({ _tag }: AgentEvent) => _tag.endsWith("Delta") || _tag === "ToolCallProgressed"

describe("events", () => {
  it.effect("hold for a run with everything in it", () =>
    Effect.gen(function* () {
      const { events } = yield* recorded
      const tags = new Set(events.map((event) => event._tag))
      for (const tag of [
        "TextDelta",
        "ToolCallFailed",
        "ChildRunEnded",
        "LoopDetected",
        "ToolCallProgressed"
      ] as const) {
        assert.isTrue(tags.has(tag), tag)
      }
      assert.deepStrictEqual(Laws.events(events), [])
    })
  )

  it.effect("are broken when any event is missing, or comes twice", () =>
    Effect.gen(function* () {
      const { events } = yield* recorded
      for (const [i, event] of events.entries()) {
        const missing = renumber(events.toSpliced(i, 1))
        const twice = renumber(events.toSpliced(i, 0, event))
        for (const changed of [missing, twice]) {
          assert.strictEqual(Laws.events(changed).length === 0, isPiece(event), `${event._tag} at ${i}`)
        }
      }
    })
  )

  it.effect("are broken when two neighbours change places, unless they are of different calls or runs", () =>
    Effect.gen(function* () {
      const { events } = yield* recorded
      const call = (event: AgentEvent) => ("id" in event ? event.id : undefined)
      for (let i = 1; i < events.length; i++) {
        const [first, second] = [events[i - 1]!, events[i]!]
        const swapped = renumber(events.toSpliced(i - 1, 2, second, first))
        const apart =
          first.runId !== second.runId
          || (call(first) !== undefined && call(second) !== undefined && call(first) !== call(second))
          || (isPiece(first) && isPiece(second))
        if (!apart) assert.isNotEmpty(Laws.events(swapped), `${first._tag} and ${second._tag} at ${i}`)
      }
    })
  )

  it.effect("are broken when any field that binds an event to its run changes", () =>
    Effect.gen(function* () {
      const { events } = yield* recorded
      const changes: ReadonlyArray<readonly [field: string, change: (value: any) => unknown]> = [
        ["runId", () => "another"],
        ["parentRunId", () => "another"],
        ["agent", () => "another"],
        ["offset", (offset) => offset + 1],
        ["turn", (turn) => turn + 1],
        ["turns", (turns) => turns + 1],
        ["id", (id) => `${id}!`],
        ["name", (name) => `${name}!`],
        ["usage", (usage) => ({ ...usage, inputTokens: usage.inputTokens + 1 })],
        ["tokens", (tokens) => ({ ...tokens, outputTokens: tokens.outputTokens + 1 })],
        ["childRunId", () => "another"]
      ]
      for (const [i, event] of events.entries()) {
        // A model may stream the arguments of a call that it then does not make.
        for (const [field, change] of event._tag === "ToolParamsDelta" ? changes.slice(0, 5) : changes) {
          if (!(field in event) || (field === "parentRunId" && event.parentRunId === undefined)) continue
          const changed = { ...event, [field]: change(event[field as keyof AgentEvent]) } as AgentEvent
          assert.isNotEmpty(Laws.events(events.with(i, changed)), `${field} of ${event._tag} at ${i}`)
        }
      }
    })
  )

  it.effect("are broken where all books balance but one", () =>
    Effect.gen(function* () {
      const { events } = yield* recorded
      const [root] = events
      const edit = (change: (event: AgentEvent) => object | undefined) =>
        renumber(events.flatMap((event) => ({ ...event, ...change(event) }) as AgentEvent))
      const isRoot = (event: AgentEvent) => event.runId === root!.runId
      const more = ({ usage }: { readonly usage: Usage }) => ({
        usage: { ...usage, inputTokens: usage.inputTokens + 1 }
      })

      // The parent notes more than the child has used.
      const notes = edit((event) =>
        event._tag === "ChildRunEnded" || (event._tag === "RunCompleted" && isRoot(event)) ? more(event) : undefined
      )
      // The parent does not note the child at all.
      const child = events.find((event) => event._tag === "ChildRunEnded")!
      const ignores = renumber(
        edit((event) =>
          event._tag === "RunCompleted" && isRoot(event)
            ? { usage: mapValues(event.usage, (value, field) => value - child.usage[field]) }
            : undefined
        ).filter((event) => event._tag !== "ChildRunEnded")
      )
      // The child begins before the call that starts it.
      const early = [root!, ...events.filter((event) => !isRoot(event)), ...events.slice(1).filter(isRoot)]
      // A call of the second turn has an id of the first.
      const first = events.find((event) => event._tag === "ToolCallStarted")!
      const second = events.find((event) => event._tag === "ToolCallStarted" && event.turn === 2)!
      const rename = (id: string) => ("id" in second && id === second.id && "id" in first ? first.id : id)
      const twice = edit((event) => {
        if (event._tag !== "ModelCallCompleted") return "id" in event ? { id: rename(event.id) } : undefined
        return {
          content: event.content.map((part) => (part.type === "tool-call" ? { ...part, id: rename(part.id) } : part))
        }
      })
      // An answer with calls is rejected.
      const last = events.findIndex((event) => event._tag === "TurnCompleted" && isRoot(event))
      const rejected = { ...events[last]!, _tag: "OutputRejected", issue: "", feedback: "" } as AgentEvent
      const rejects = renumber(events.toSpliced(last, 0, rejected))

      for (const changed of [notes, ignores, twice, rejects]) assert.lengthOf(Laws.events(changed), 1)
      // It is missing in the parent's books until a call of the parent runs.
      assert.isNotEmpty(Laws.events(early))
    })
  )

  it.effect("are broken by a stopped loop that the end does not tell", () =>
    Effect.gen(function* () {
      const { events } = yield* Laws.record(Agent.run(agent, "go")).pipe(
        Effect.provide([ToolsLayer, ScriptedLlm.layer([], double)])
      )
      assert.deepStrictEqual(Laws.events(events), [])
      const last = { ...events.at(-1)!, reason: "TurnLimitReached" } as AgentEvent
      assert.lengthOf(Laws.events([...events.slice(0, -1), last]), 1)
    })
  )

  it("hold for nothing", () => {
    assert.deepStrictEqual(Laws.events([]), [])
  })
})

describe("events of a run with a context window", () => {
  const scribe = Agent.make("scribe")
  const planner = Agent.make("planner", {
    prepareTurn: () => Effect.as(Agent.run(scribe, "Plan"), {}),
    contextWindow: ContextWindow.summarize(100, {
      by: (transcript) => Effect.map(Agent.run(scribe, transcript), ({ text }) => text)
    })
  })
  const long = History.appendUser(History.fromPrompt("x".repeat(1000)), "x".repeat(1000))
  const input = { history: long, prompt: "go" }
  const planned = Laws.record(Agent.run(planner, input)).pipe(
    Effect.provide(ScriptedLlm.layer(["a plan", "a summary", "done"]))
  )

  it.effect("hold, and are broken when any is missing, comes twice or changes its numbers", () =>
    Effect.gen(function* () {
      const recording = yield* planned
      const { events } = recording
      assert.deepStrictEqual(Laws.run(planner, recording), [])
      assert.isTrue(events.some((event) => event._tag === "ContextPruned"))
      for (const [i, event] of events.entries()) {
        for (const changed of [renumber(events.toSpliced(i, 1)), renumber(events.toSpliced(i, 0, event))]) {
          const violations = [...Laws.events(changed), ...Laws.fold(planner, changed)]
          assert.strictEqual(violations.length === 0, isPiece(event), `${event._tag} at ${i}`)
        }
        if (event._tag !== "ContextPruned") continue
        const other = { messages: 99, tokens: 1 }
        const usage = { ...event.usage, inputTokens: 1 }
        assert.isNotEmpty(Laws.fold(planner, events.with(i, { ...event, before: other })))
        assert.isNotEmpty(Laws.fold(planner, events.with(i, { ...event, after: other })))
        assert.isNotEmpty(Laws.events(events.with(i, { ...event, usage })))
      }
    })
  )
})

describe("fold and run", () => {
  const success = Effect.map(recorded, ({ events, exit }) => {
    assert.isTrue(Exit.isSuccess(exit))
    return { events, result: Exit.isSuccess(exit) ? exit.value : assert.fail() }
  })

  it.effect("hold for a run, and for what its events tell", () =>
    Effect.gen(function* () {
      const { events, result } = yield* success
      assert.deepStrictEqual(Laws.fold(agent, events, result), [])
      assert.deepStrictEqual(Laws.run(agent, yield* recorded), [])
    })
  )

  it.effect("are broken by another history, usage, text or number of turns", () =>
    Effect.gen(function* () {
      const { events, result } = yield* success
      for (const other of [
        { history: History.takeTurns(result.history, 0) },
        { history: History.appendUser(result.history, "more") },
        { usage: { ...result.usage, toolCalls: 0 } },
        { text: "" },
        { turns: 0 }
      ]) {
        assert.lengthOf(Laws.fold(agent, events, { ...result, ...other }), 1)
        assert.lengthOf(Laws.run(agent, { events, exit: Exit.succeed({ ...result, ...other }) }), 1)
      }
    })
  )

  it.effect("are broken by a request that was not the conversation so far", () =>
    Effect.gen(function* () {
      const { events, result } = yield* success
      const other = events.map((event) => (event._tag === "ModelCallStarted" ? { ...event, messages: 99 } : event))
      assert.isNotEmpty(Laws.fold(agent, other, result))
    })
  )

  it.effect("are broken by an end that is not the run's", () =>
    Effect.gen(function* () {
      const { events } = yield* success
      for (const exit of [Exit.fail("no"), Exit.failCause(Cause.interrupt(1)), Exit.die("bug")]) {
        assert.isNotEmpty(Laws.run(agent, { events, exit }))
      }
      assert.isNotEmpty(Laws.run(agent, { events: events.slice(0, -1), exit: Exit.fail("no") }))
      assert.isNotEmpty(Laws.run(agent, { events: [], exit: Exit.fail("no") }))
    })
  )
})

describe("record", () => {
  it.effect("does not keep the events from a hub in the context", () =>
    Effect.gen(function* () {
      const outer: Array<RunEvent> = []
      const hub = {
        ...(yield* EventHub.make()),
        publish: (events: ReadonlyArray<RunEvent>) => void outer.push(...events)
      }
      const { events }: { events: ReadonlyArray<RunEvent> } = yield* Effect.provideService(
        recorded,
        EventHub.EventHub,
        hub
      )
      assert.isNotEmpty(events)
      assert.deepStrictEqual(outer, events)
    })
  )
})
