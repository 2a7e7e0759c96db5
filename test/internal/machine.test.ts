import { assert, describe, it } from "@effect/vitest"
import * as Agent from "effect-agent-runtime/Agent"
import type { PartialRun } from "effect-agent-runtime/AgentError"
import { AgentEvent } from "effect-agent-runtime/AgentEvent"
import type { AssistantContent } from "effect-agent-runtime/History"
import * as History from "effect-agent-runtime/History"
import type { Llm } from "effect-agent-runtime/Llm"
import * as LoopDetector from "effect-agent-runtime/LoopDetector"
import * as StopCondition from "effect-agent-runtime/StopCondition"
import { Arbitraries, Laws, ScriptedLlm } from "effect-agent-runtime/testing"
import * as Toolbox from "effect-agent-runtime/Toolbox"
import * as Usage from "effect-agent-runtime/Usage"
import type * as Prompt from "effect/ai/Prompt"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Arbitrary from "effect/Arbitrary"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import type { PendingCall, Policy } from "../../src/internal/machine.ts"
import { decide, evolve, initial, partial } from "../../src/internal/machine.ts"

const int = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

const PolicyOf = Arbitrary.map(
  Arbitrary.schema(
    Schema.Struct({
      maxTurns: int(1, 8),
      goal: Schema.Boolean,
      detector: Schema.Boolean,
      hasOutput: Schema.Boolean,
      outputRetries: int(0, 2)
    })
  ),
  ({ detector, goal, hasOutput, maxTurns, outputRetries }): Policy => ({
    stopWhen: goal
      ? StopCondition.or(StopCondition.hasToolCall("goal"), StopCondition.maxTurns(maxTurns))
      : StopCondition.maxTurns(maxTurns),
    loopDetector: detector ? LoopDetector.make({ maxFailures: 1, replays: 1, refusals: 1 }) : undefined,
    loopRule: () => undefined,
    hasOutput,
    outputRetries
  })
)

const holds = (violations: Laws.Violations) => assert.strictEqual(violations.join("\n"), "")

/** Decides what the world does, so that a list of numbers is a whole run. */
const Tape = Schema.Array(int(0, 999))

type Unstamped<Event> = Event extends unknown ? Omit<Event, "runId" | "agent" | "offset" | "timestamp"> : never

/** An interpreter without effects: carries out the machine's commands with whatever outcomes the tape says. */
const play = (policy: Policy, tape: ReadonlyArray<number>) => {
  const state = initial()
  const events: Array<AgentEvent> = []
  /** The events of the run and of its children, as they were published. */
  const log: Array<AgentEvent> = []
  /** The run as it was after each event. */
  const live: Array<PartialRun> = []
  let position = 0
  /** The next choice among `n`; 0 when the tape has run out. */
  const next = (n: number): number => (tape[position++] ?? 0) % n

  const emit = (event: Unstamped<AgentEvent>): void => {
    const stamped = { runId: "r", agent: "a", offset: events.length, timestamp: 0, ...event } as AgentEvent
    evolve(policy, state, stamped)
    events.push(stamped)
    log.push(stamped)
    live.push(partial(state))
  }
  const turn = () => state.turns
  const ended = (_tag: "RunFailed" | "RunInterrupted", reason = "") => {
    for (const call of state.pending?.calls ?? []) {
      if (call.answer === undefined && !judge(call, true))
        emit({ _tag: "ToolCallInterrupted", turn: turn(), ...name(call) })
    }
    const end = { usage: { ...state.usage }, turns: turn(), durationMillis: 0 }
    emit(_tag === "RunFailed" ? { _tag, reason, message: "", ...end } : { _tag, ...end })
  }
  const name = ({ id, name: tool }: PendingCall) => ({ id, name: tool })
  /** Answers a call in the detector's words, if that is its verdict. */
  const judge = (call: PendingCall, onlyStop: boolean): boolean => {
    const { kind, params, verdict } = call
    if (verdict === "allow" || kind === undefined || (onlyStop && verdict !== "stop")) return false
    emit({
      _tag: "LoopDetected",
      turn: turn(),
      ...name(call),
      params,
      verdict,
      kind,
      message: "again!",
      isFailure: verdict !== "replay"
    })
    return true
  }
  const callModel = (): boolean => {
    const started = { turn: turn() + 1 }
    emit({ _tag: "TurnStarted", ...started })
    emit({ _tag: "ModelCallStarted", ...started, messages: state.history.length, tools: [] })
    for (let i = next(3); i > 0; i--) emit({ _tag: "TextDelta", ...started, delta: "…" })
    const outcome = next(20)
    if (outcome === 19) {
      emit({ _tag: "ModelCallInterrupted", ...started })
      ended("RunInterrupted")
      return false
    }
    if (outcome === 18) {
      emit({ _tag: "ModelCallFailed", ...started, reason: "UnknownError", message: "" })
      ended("RunFailed", "ModelFailed")
      return false
    }
    const calls = Array.from({ length: outcome < 12 ? next(4) : 0 }, (_, i) => ({
      type: "tool-call" as const,
      id: `${started.turn}.${i}`,
      name: ["read", "write", "goal"][next(3)]!,
      params: { n: next(2) }
    }))
    const content: AssistantContent = outcome < 16 ? [{ type: "text", text: `answer ${outcome}` }, ...calls] : calls
    const tokens = {
      inputTokens: next(9),
      outputTokens: next(9),
      cachedInputTokens: next(9),
      cacheWriteTokens: next(9),
      reasoningTokens: next(9)
    }
    const costNanoUsd = next(9)
    emit({
      _tag: "ModelCallCompleted",
      ...started,
      content,
      finishReason: "stop",
      tokens,
      costNanoUsd,
      durationMillis: 0
    })
    return true
  }
  const answerCalls = (calls: ReadonlyArray<PendingCall>): boolean => {
    const running = calls.filter((call) => call.verdict === "allow")
    for (const call of running) emit({ _tag: "ToolCallStarted", turn: turn(), ...name(call), params: call.params })
    while (running.length > 0) {
      const [call] = running.splice(next(running.length), 1)
      const of = { turn: turn(), ...name(call!) }
      const outcome = next(12)
      if (outcome === 11) {
        ended("RunInterrupted")
        return false
      }
      if (outcome === 10) {
        const child = childRun(`r.${events.length}`, { ...Usage.noTokens, inputTokens: next(5) })
        log.push(...child.events)
        emit({ _tag: "ChildRunEnded", childRunId: child.id, childAgent: "b", usage: child.usage })
      }
      if (outcome === 9) emit({ _tag: "ToolCallProgressed", ...of, result: 50 })
      const kind = (["failure", "unknown-tool", "defect"] as const)[outcome]
      if (kind === undefined) emit({ _tag: "ToolCallCompleted", ...of, result: { n: next(3) }, durationMillis: 0 })
      else emit({ _tag: "ToolCallFailed", ...of, kind, result: next(2), durationMillis: 0 })
    }
    for (const call of calls) judge(call, false)
    emit({ _tag: "TurnCompleted", turn: turn() })
    return true
  }

  emit({ _tag: "RunStarted", history: History.appendUser(History.empty, "go") })
  for (;;) {
    const before = structuredClone(plain(partial(state)))
    const command = decide(policy, state, 0)
    assert.deepStrictEqual(decide(policy, state, 0), command, "decide gives the same command twice")
    assert.deepStrictEqual(plain(partial(state)), before, "decide leaves the state alone")
    if (command._tag === "CallModel") assert.isUndefined(policy.stopWhen.check(told(events).view))
    if (command._tag !== "Fail") assert.strictEqual(state.rejections, told(events).rejections)
    const end = { text: state.text, output: "", usage: { ...state.usage }, turns: turn(), durationMillis: 0 }
    switch (command._tag) {
      case "CallModel": {
        if (!callModel()) return { events, live, log }
        break
      }
      case "AnswerCalls": {
        if (!answerCalls(command.calls)) return { events, live, log }
        break
      }
      case "DecodeOutput": {
        const answered = state.phase === "answered"
        if (answered && next(2) === 1 && state.rejections < policy.outputRetries) {
          emit({ _tag: "OutputRejected", turn: turn(), issue: "", feedback: "again" })
          emit({ _tag: "TurnCompleted", turn: turn() })
          break
        }
        if (answered) emit({ _tag: "TurnCompleted", turn: turn() })
        emit({ _tag: "RunCompleted", ...end })
        return { events, live, log }
      }
      case "Complete": {
        if (state.phase === "answered") emit({ _tag: "TurnCompleted", turn: turn() })
        emit({ _tag: "RunCompleted", ...end })
        return { events, live, log }
      }
      case "Fail": {
        ended("RunFailed", command.reason._tag)
        return { events, live, log }
      }
    }
  }
}

/** A run of one turn, started by a tool of the run "r". */
const childRun = (id: string, tokens: Usage.Tokens) => {
  const usage = { ...Usage.zero, ...tokens, modelCalls: 1, costNanoUsd: 3 }
  const steps: ReadonlyArray<Unstamped<AgentEvent>> = [
    { _tag: "RunStarted", history: History.appendUser(History.empty, "sub-task") },
    { _tag: "TurnStarted", turn: 1 },
    { _tag: "ModelCallStarted", turn: 1, messages: 1, tools: [] },
    {
      _tag: "ModelCallCompleted",
      turn: 1,
      content: [],
      finishReason: "stop",
      tokens,
      costNanoUsd: 3,
      durationMillis: 0
    },
    { _tag: "TurnCompleted", turn: 1 },
    { _tag: "RunCompleted", text: "", output: "", usage, turns: 1, durationMillis: 0 }
  ]
  const head = { runId: id, parentRunId: "r", agent: "b", timestamp: 0 }
  return { id, usage, events: steps.map((event, offset) => ({ ...head, offset, ...event }) as AgentEvent) }
}

const plain = (run: PartialRun) => ({ ...run, history: History.toMessages(run.history) })

/** The run that the events describe, as the machine has it. */
const replay = (policy: Policy, events: ReadonlyArray<AgentEvent>) => {
  const state = initial()
  for (const event of events) evolve(policy, state, event)
  return plain(partial(state))
}

/** The run that the events describe, the slow way. */
const told = (events: ReadonlyArray<AgentEvent>) => {
  const history: Array<Prompt.MessageEncoded> = []
  const results = new Map<string, Prompt.ToolResultPartEncoded>()
  let [text, turns, rejections] = ["", 0, 0]
  let usage = Usage.zero
  let content: AssistantContent = []
  const spend = (more: Partial<Usage.Usage>) => {
    usage = Usage.combine(usage, { ...Usage.zero, ...more })
  }
  for (const event of events) {
    if (event._tag === "RunStarted") history.push(...event.history)
    if (event._tag === "ModelCallCompleted") {
      content = event.content
      turns++
      text = History.text(content)
      spend({ ...event.tokens, modelCalls: 1, costNanoUsd: event.costNanoUsd })
      if (content.length > 0) history.push({ role: "assistant", content })
      const missing = History.toolCalls(content).map(History.interrupted)
      if (missing.length > 0) history.push({ role: "tool", content: missing })
    }
    if ("id" in event && event._tag !== "ToolParamsDelta") {
      const isFailure = event._tag === "ToolCallFailed" || (event._tag === "LoopDetected" && event.verdict !== "replay")
      const part = { type: "tool-result", id: event.id, name: event.name, isFailure } as const
      if (event._tag === "LoopDetected") results.set(event.id, { ...part, result: event.message })
      if (event._tag === "ToolCallCompleted" || event._tag === "ToolCallFailed") {
        results.set(event.id, { ...part, result: event.result })
        if (event._tag === "ToolCallCompleted" || event.kind !== "unknown-tool") spend({ toolCalls: 1 })
      }
    }
    if (event._tag === "ChildRunEnded") spend(event.usage)
    if (event._tag === "OutputRejected") {
      rejections++
      history.push({ role: "user", content: event.feedback })
    }
  }
  const answered = history.map((message) =>
    message.role === "tool"
      ? { ...message, content: message.content.map((part) => ("id" in part && results.get(part.id)) || part) }
      : message
  )
  const lastCalls = History.toolCalls(content)
  return {
    run: { history: answered, usage, turns, text },
    view: { turns, usage, lastCalls, elapsedMillis: 0 },
    rejections
  }
}

describe("the machine", () => {
  it.prop(
    "gives the live state again from any beginning of the events, which is what they tell",
    [PolicyOf, Tape],
    ([policy, tape]) => {
      const { events, live } = play(policy, tape)
      for (const [i, run] of live.entries()) {
        const soFar = events.slice(0, i + 1)
        // The live runs are looked at when all is over: nothing may have changed them.
        assert.deepStrictEqual(plain(run), told(soFar).run)
        assert.deepStrictEqual(replay(policy, soFar), plain(run))
      }
    },
    { arbitrary: { runs: 300, size: 60 } }
  )

  it.prop(
    "has a valid history at every step, books that balance, and one end",
    [PolicyOf, Tape],
    ([policy, tape]) => {
      const { live, log } = play(policy, tape)
      holds(Laws.events(log))
      for (const run of live) holds(Laws.history(run.history))
    },
    { arbitrary: { runs: 500, size: 60 } }
  )
})

class Refused extends Schema.TaggedError<Refused>()("Refused", {}) {}

const parameters = Schema.Struct({ n: Schema.Literals([1, 2]) })
const tool = <const Name extends string>(name: Name) =>
  Tool.make(name, { parameters, success: Schema.Int, failure: Refused, failureMode: "return" })

const HelperTools = Toolkit.make(Tool.make("assist", { success: Schema.Int }))
const helper = Agent.asTool(Agent.make("helper", { toolkit: HelperTools }), { description: "Helps" })

/** A tool for each way in which a call can end. */
const OwnTools = Toolkit.make(
  tool("succeeds"),
  tool("yields"),
  tool("sleeps"),
  tool("fails"),
  tool("dies"),
  tool("throws"),
  tool("interrupts"),
  tool("overruns").annotate(Toolbox.Timeout, "1 minute"),
  tool("insists"),
  Tool.make("reports", { parameters, success: Schema.Int }),
  Tool.make("notes", { parameters }),
  Tool.make("raises", { parameters, success: Schema.Int, failure: Refused, failureMode: "error" })
)
const Tools = Toolbox.merge(OwnTools, Toolkit.make(helper.tool))

const ToolsLayer = Layer.mergeAll(
  OwnTools.toLayer({
    succeeds: ({ n }) => Effect.succeed(n),
    yields: ({ n }) => Effect.as(Effect.repeat(Effect.yieldNow, { times: n }), n),
    sleeps: ({ n }) => Effect.delay(Effect.succeed(n), `${n} minutes`),
    fails: () => Effect.fail(new Refused()),
    dies: () => Effect.die("broken"),
    throws: () => {
      throw new Error("broken")
    },
    interrupts: () => Effect.interrupt,
    overruns: () => Effect.never,
    insists: ({ n }) => Effect.uninterruptible(Effect.delay(Effect.succeed(n), "1 minute")),
    reports: ({ n }, { preliminary }) => Effect.as(Effect.forEach([1, 2], preliminary), n),
    notes: (_, { preliminary }) => preliminary(undefined),
    raises: ({ n }) => (n === 1 ? Effect.succeed(1) : Effect.fail(new Refused()))
  }),
  Layer.provide(helper.layer, [
    ScriptedLlm.layer([{ tool: "assist" }], "I have helped"),
    HelperTools.toLayer({ assist: () => Effect.succeed(1) })
  ])
)

const subject = <Output, E, R>(agent: Agent.Agent<string, Output, E, R>) => ({
  agent,
  run: Agent.run(agent, "go") as Effect.Effect<Agent.AgentResult<unknown>, unknown, Llm | R>
})

const subjects = {
  plain: subject(Agent.make("plain", { toolkit: Tools })),
  strict: subject(
    Agent.make("strict", {
      toolkit: Tools,
      toolConcurrency: 1,
      stopWhen: StopCondition.or(StopCondition.hasToolCall("succeeds"), StopCondition.maxTurns(4)),
      loopDetector: LoopDetector.make({ maxFailures: 1, maxSameError: 1, replays: 0, refusals: 1 })
    })
  ),
  typed: subject(
    Agent.make("typed", {
      toolkit: Tools,
      output: Schema.Struct({ at: Schema.Date }),
      stopWhen: StopCondition.or(StopCondition.hasToolCall("reports"), StopCondition.after("3 minutes")),
      loopDetector: false
    })
  )
}
const AnySubject = Schema.Literals(["plain", "strict", "typed"])

const script = Arbitraries.script(Tools)

/** A model that answers late, in JSON when the script has ended. */
const modelOf = (turns: ReadonlyArray<ScriptedLlm.Turn>) =>
  ScriptedLlm.layer(
    turns.map((turn) => () => Effect.as(Effect.yieldNow, turn)),
    '{"at":"2026-01-01T00:00:00.000Z"}'
  )

const Log = Schema.toCodecJson(Schema.Array(AgentEvent))
const toJson = (events: ReadonlyArray<AgentEvent>) => JSON.stringify(Schema.encodeSync(Log)(events))
const fromJson = (json: string) => Schema.decodeUnknownSync(Log)(JSON.parse(json))

/** Waits for a fiber while the clock goes on. */
const finish = Effect.fnUntraced(function* <A, E>(fiber: Fiber.Fiber<A, E>) {
  while (fiber.pollUnsafe() === undefined) yield* TestClock.adjust("1 minute")
  return yield* Fiber.join(fiber)
})

describe("the loop", () => {
  it.effect.prop(
    "obeys the laws whatever the model says and however its tools end, and never dies",
    [AnySubject, script],
    ([name, turns]) =>
      Effect.gen(function* () {
        const { agent, run } = subjects[name]
        const provided = Effect.provide(run, [ToolsLayer, modelOf(turns)])
        const recording = yield* finish(yield* Effect.forkChild(Laws.record(provided)))
        holds(Laws.run(agent, recording))
        assert.isFalse(Exit.isFailure(recording.exit) && Cause.hasDies(recording.exit.cause))
        // The log is data: stored and read again it is the same run.
        const json = toJson(recording.events)
        const events = fromJson(json)
        holds(Laws.run(agent, { ...recording, events }))
        assert.strictEqual(toJson(events), json)
      }),
    { timeout: 30_000, arbitrary: { runs: 300 } }
  )

  it.effect.prop(
    "gives every call an id of its own, whatever ids the model takes",
    [Schema.Array(Schema.Array(Schema.Literals(["", "a", "a_1_1", "a_2_0", "a_2_1", "call_1_0", "call_2_0"])))],
    ([turns]) =>
      Effect.gen(function* () {
        const agent = Agent.make("counter", { stopWhen: StopCondition.unlimited, loopDetector: false })
        const asked = turns.filter((ids) => ids.length > 0)
        const calls = asked.map((ids) => ids.map((id) => ({ tool: "any", id })))
        const recording = yield* Laws.record(Agent.run(agent, "go")).pipe(
          Effect.provide(ScriptedLlm.layer(calls, "done"))
        )
        holds(Laws.run(agent, recording))
      }),
    { arbitrary: { runs: 300, size: 4 } }
  )

  it.effect("takes arguments of any depth, in any disorder", () =>
    Effect.gen(function* () {
      const { agent, run } = subjects.plain
      for (const [depth, core] of [
        [60, { b: 1, a: 2 }],
        [20_000, 0]
      ] as const) {
        let params: unknown = core
        for (let i = 0; i < depth; i++) params = { n: params }
        const recording = yield* Laws.record(run).pipe(
          Effect.provide([
            ToolsLayer,
            ScriptedLlm.layer(Array.from({ length: 4 }, () => ({ tool: "succeeds", params })))
          ])
        )
        holds(Laws.run(agent, recording))
        assert.strictEqual(recording.events.filter((event) => event._tag === "LoopDetected").length, 1)
      }
    })
  )

  it.effect("tells of each looping call of a turn why it is one", () =>
    Effect.gen(function* () {
      const calls = ["succeeds", "fails"].map((name) => ({ tool: name, params: { n: 1 } }))
      const agent = Agent.make("strict", { toolkit: Tools, loopDetector: LoopDetector.make({ maxFailures: 1 }) })
      const { events } = yield* Laws.record(Agent.run(agent, "go")).pipe(
        Effect.provide([ToolsLayer, ScriptedLlm.layer([calls, calls], "done")])
      )
      assert.deepStrictEqual(
        events.flatMap((event) => (event._tag === "LoopDetected" ? [[event.name, event.kind]] : [])),
        [
          ["succeeds", "repeat"],
          ["fails", "failing"]
        ]
      )
    })
  )

  it.effect("obeys the laws when the provider dies or interrupts itself", () =>
    Effect.gen(function* () {
      const agent = Agent.make("helper")
      for (const [broken, end] of [
        [Effect.die(new Error("bug")), "RunFailed"],
        [Effect.interrupt, "RunInterrupted"]
      ] as const) {
        const recording = yield* Laws.record(Agent.run(agent, "go")).pipe(
          Effect.provide(ScriptedLlm.layer([() => broken]))
        )
        holds(Laws.run(agent, recording))
        assert.strictEqual(recording.events.at(-1)!._tag, end)
      }
    })
  )

  it.effect.prop(
    "obeys the laws whenever it is interrupted",
    [AnySubject, script, int(0, 40), int(0, 4)],
    ([name, turns, steps, minutes]) =>
      Effect.gen(function* () {
        const { agent, run } = subjects[name]
        const interrupted = Effect.gen(function* () {
          const fiber = yield* Effect.forkChild(run)
          yield* Effect.repeat(Effect.yieldNow, { times: steps })
          yield* TestClock.adjust(`${minutes} minutes`)
          // A tool may insist on finishing first.
          yield* finish(yield* Effect.forkChild(Fiber.interrupt(fiber)))
          return yield* Fiber.await(fiber)
        }).pipe(Effect.provide([ToolsLayer, modelOf(turns)]))
        const { events, exit } = yield* Laws.record(interrupted)
        if (events.length === 0) return
        holds(Laws.run(agent, { events, exit: yield* exit }))
      }),
    { timeout: 30_000, arbitrary: { runs: 300 } }
  )
})
