/**
 * The laws that histories, detectors and runs obey, for property tests of your own agents and settings.
 *
 * A law is a function of its subject that returns what is violated, in words: an empty array when the law holds. So
 * it works with any test framework, and without one.
 *
 * **Example** (The settings of a loop detector)
 *
 * ```ts
 * import * as Arbitrary from "effect/Arbitrary"
 * import * as Effect from "effect/Effect"
 * import * as LoopDetector from "effect-agent-runtime/LoopDetector"
 * import { Arbitraries, Laws } from "effect-agent-runtime/testing"
 *
 * const strict = LoopDetector.make({ maxFailures: 1, replays: 1, refusals: 0 })
 *
 * const check = Arbitrary.checkEffect(Arbitraries.trace, (trace) => Laws.detector(strict, trace).length === 0)
 * const result = await Effect.runPromise(check)
 * result._tag // => "Passed"
 * ```
 *
 * **Example** (An agent, whatever its model does)
 *
 * ```ts
 * import * as Schema from "effect/Schema"
 * import * as Tool from "effect/ai/Tool"
 * import * as Toolkit from "effect/ai/Toolkit"
 * import * as Arbitrary from "effect/Arbitrary"
 * import * as Effect from "effect/Effect"
 * import * as Agent from "effect-agent-runtime/Agent"
 * import { Arbitraries, Laws, ScriptedLlm } from "effect-agent-runtime/testing"
 *
 * const Tools = Toolkit.make(
 *   Tool.make("weather", { parameters: Schema.Struct({ city: Schema.String }), success: Schema.String })
 * )
 * const ToolsLayer = Tools.toLayer({ weather: ({ city }) => Effect.succeed(`Sunny in ${city}`) })
 * const agent = Agent.make("forecaster", { toolkit: Tools })
 *
 * const check = Arbitrary.checkEffect(Arbitraries.script(Tools), (script) =>
 *   Laws.record(Agent.run(agent, "Will it rain?")).pipe(
 *     Effect.provide([ToolsLayer, ScriptedLlm.layer(script)]),
 *     Effect.map((recording) => Laws.run(agent, recording).length === 0)
 *   )
 * )
 * const result = await Effect.runPromise(check)
 * result._tag // => "Passed"
 * ```
 *
 * @since 0.1.0
 */
import type * as Prompt from "effect/ai/Prompt"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import type { Agent, AgentResult } from "../Agent.ts"
import { fold as foldRun } from "../Agent.ts"
import type { PartialRun } from "../AgentError.ts"
import { AgentError } from "../AgentError.ts"
import type {
  AgentEvent,
  LoopDetected,
  ModelCallCompleted,
  ToolCallCompleted,
  ToolCallFailed,
  ToolCallInterrupted,
  ToolCallProgressed,
  ToolCallStarted
} from "../AgentEvent.ts"
import { isTerminal } from "../AgentEvent.ts"
import type { EventHub as Hub, Subscription } from "../EventHub.ts"
import { EventHub } from "../EventHub.ts"
import * as Histories from "../History.ts"
import { canonical } from "../internal/json.ts"
import type { LoopDetector, Rule, State, Verdict } from "../LoopDetector.ts"
import * as Loops from "../LoopDetector.ts"
import type { Usage } from "../Usage.ts"
import * as Usages from "../Usage.ts"
import { isWorkflowEvent } from "../WorkflowEvent.ts"

/**
 * What is violated, in words; empty when the law holds.
 *
 * @category models
 * @since 0.1.0
 */
export type Violations = ReadonlyArray<string>

/**
 * The law of histories: what every provider takes. No system message, no empty assistant message; behind an assistant
 * message with tool calls the results of exactly these calls in call order, and results nowhere else; no two calls of
 * a message with the same id. Calls that the provider ran itself are its own affair.
 *
 * @category laws
 * @since 0.1.0
 */
export const history = (messages: Iterable<Prompt.MessageEncoded>): Violations => {
  const violations: Array<string> = []
  let open: ReadonlyArray<string> = []
  let index = 0
  for (const message of messages) {
    const where = `message ${index++}`
    if (message.role === "tool") {
      const answered = message.content.map((part) => (part.type === "tool-result" ? part.id : part.type))
      if (open.length === 0) violations.push(`${where}: results of no calls`)
      else if (!same(answered, open)) violations.push(`${where}: answers [${answered.join()}] to [${open.join()}]`)
      open = []
      continue
    }
    if (open.length > 0) violations.push(`${where}: stands between the calls [${open.join()}] and their results`)
    open = []
    if (message.role === "system") violations.push(`${where}: is a system message`)
    if (message.role !== "assistant") continue
    if (message.content.length === 0) violations.push(`${where}: is an empty assistant message`)
    if (typeof message.content === "string") continue
    open = Histories.toolCalls(message.content).map((call) => call.id)
    if (new Set(open).size < open.length) violations.push(`${where}: two calls with one id [${open.join()}]`)
    if (message.content.some((part) => part.type === "tool-result" && part.providerExecuted !== true)) {
      violations.push(`${where}: a result among its own calls`)
    }
  }
  if (open.length > 0) violations.push(`the calls [${open.join()}] have no results`)
  return violations
}

const same = (self: unknown, that: unknown): boolean => canonical(self) === canonical(that)

/**
 * A call that a detector gets to see, and the outcome that it has if it is allowed.
 *
 * @category models
 * @since 0.1.0
 */
export interface Step {
  readonly tool: string
  readonly params: unknown
  readonly outcome: { readonly isFailure: boolean; readonly result: unknown }
}

/**
 * The calls of a model, turn by turn.
 *
 * @category models
 * @since 0.1.0
 */
export type Trace = ReadonlyArray<ReadonlyArray<Step>>

/**
 * How tools are seen by the detector: `LoopDetector.rule(tool)` by the tool's name. A tool without a rule changes
 * things, is not meant to be repeated, and has no identity of its own.
 *
 * @category models
 * @since 0.1.0
 */
export type Rules = ReadonlyMap<string, Rule>

const noRules: Rules = new Map()

const toCall = (step: Step, turn: number, rules: Rules): Loops.Call => {
  const { params, tool } = step
  const rule = rules.get(tool)
  const key = Loops.keyOf(rule, tool, params)
  return { tool, key, turn, repeatable: rule?.repeatable, readOnly: rule?.readOnly }
}

/** Plays one turn as a run does: sees all its calls first, then how the allowed ones end. */
const playTurn = (
  detector: LoopDetector,
  state: State,
  steps: ReadonlyArray<Step>,
  turn: number,
  rules: Rules
): ReadonlyArray<Verdict> => {
  const calls = steps.map((step) => toCall(step, turn, rules))
  const seen = calls.map((call) => Loops.observe(detector, state, call))
  calls.forEach((call, i) => {
    if (seen[i] === "allow") Loops.settle(detector, state, call, steps[i]!.outcome)
  })
  return seen
}

/**
 * The verdicts of a detector about a trace, turn by turn. They end with the turn that is stopped.
 *
 * @category running
 * @since 0.1.0
 */
export const verdicts = (
  detector: LoopDetector,
  trace: Trace,
  rules: Rules = noRules
): ReadonlyArray<ReadonlyArray<Verdict>> => {
  const state = Loops.initial()
  const played: Array<ReadonlyArray<Verdict>> = []
  for (const [turn, steps] of trace.entries()) {
    const seen = playTurn(detector, state, steps, turn, rules)
    played.push(seen)
    if (seen.includes("stop")) break
  }
  return played
}

/**
 * The laws of a detector, for one trace:
 *
 * 1. the order of keys changes no verdict, and neither does playing the trace again;
 * 2. the distinct calls of the trace, all succeeding, are all allowed;
 * 3. the distinct calls of the trace that are not repeatable, succeeding over and over, one or all in a turn, are
 *    blamed within two rounds, whatever came before;
 * 4. the trace without its repeatable calls, repeated, is stopped within `LoopDetector.bound` turns;
 * 5. the state never holds more than `window` calls, tools and polls each;
 * 6. the ladder has its `replays` and `refusals`, is climbed by one rung per looping turn, and starts again after
 *    the first success of a call.
 *
 * Laws 3, 4 and 6 hold for what fits into the window, so they look at no more.
 *
 * @category laws
 * @since 0.1.0
 */
export const detector = (self: LoopDetector, trace: Trace, rules: Rules = noRules): Violations => {
  const distinct = new Map<string, Step>()
  for (const step of trace.flat()) {
    const name = identity(step, rules)
    if (!distinct.has(name)) distinct.set(name, { ...step, outcome: { isFailure: false, result: name } })
  }
  const calls = Array.from(distinct.values())
  const blameable = calls.filter((step) => rules.get(step.tool)?.repeatable !== true)
  const remembered = blameable.length <= self.window
  return [
    ...sameVerdicts(self, trace, rules),
    ...noFalseAlarm(self, calls, rules),
    ...cycle(self, trace, blameable.slice(0, self.window), rules),
    ...(remembered ? termination(self, trace, blameable.length, rules) : []),
    ...memory(self, trace, rules),
    ...(remembered ? ladder(self, trace, rules) : [])
  ]
}

/** What tells calls apart, by other means than the detector's. */
const identity = (step: Step, rules: Rules): string => {
  const { params, tool } = step
  const rule = rules.get(tool)
  if (rule?.identity !== undefined) return Loops.keyOf(rule, tool, params)
  if (params === undefined || params === null || params === "") return identity({ ...step, params: {} }, rules)
  // Arguments may come as JSON text.
  const value = typeof params === "string" ? Result.try(() => JSON.parse(params) as unknown) : Result.succeed(params)
  return JSON.stringify([
    tool,
    arrange(
      Result.getOrElse(value, () => params),
      (keys) => keys.toSorted()
    )
  ])
}

/** A JSON value with the keys of its objects in another order. */
const arrange = (value: unknown, order: (keys: Array<string>) => Array<string>): unknown => {
  if (Array.isArray(value)) return value.map((item) => arrange(item, order))
  if (!Predicate.isObject(value)) return value
  return Object.fromEntries(order(Object.keys(value)).map((key) => [key, arrange(value[key], order)]))
}

const sameVerdicts = (self: LoopDetector, trace: Trace, rules: Rules): Violations => {
  const mirror = (value: unknown) => arrange(value, (keys) => keys.toReversed())
  let count = 0
  const mirrored = trace.map((steps) =>
    steps.map((step) =>
      // Every second one, so that a call comes again in another order.
      count++ % 2 === 0
        ? step
        : { ...step, params: mirror(step.params), outcome: { ...step.outcome, result: mirror(step.outcome.result) } }
    )
  )
  const expected = verdicts(self, trace, rules)
  return [
    ...(same(expected, verdicts(self, trace, rules)) ? [] : ["the same trace gets other verdicts the second time"]),
    ...(same(expected, verdicts(self, mirrored, rules)) ? [] : ["law 1: other verdicts in another order of keys"])
  ]
}

const noFalseAlarm = (self: LoopDetector, calls: ReadonlyArray<Step>, rules: Rules): Violations => {
  const blamed = [calls.map((step) => [step]), [calls]].flatMap((turns) => verdicts(self, turns, rules).flat())
  return blamed.every((verdict) => verdict === "allow") ? [] : ["law 2: a distinct call that succeeds is blamed"]
}

const cycle = (self: LoopDetector, before: Trace, calls: ReadonlyArray<Step>, rules: Rules): Violations => {
  const violations: Array<string> = []
  if (calls.length === 0) return violations
  const oneByOne = calls.map((step) => [step])
  for (const round of [oneByOne, [calls]]) {
    const state = Loops.initial()
    const turns = [...before, ...round, ...round]
    const seen = turns.map((steps, turn) => playTurn(self, state, steps, turn, rules))
    if (
      seen
        .slice(before.length)
        .flat()
        .every((verdict) => verdict === "allow")
    ) {
      violations.push(`law 3: ${calls.length} calls that succeed twice in the same order are not blamed`)
    }
  }
  return violations
}

const termination = (self: LoopDetector, trace: Trace, distinct: number, rules: Rules): Violations => {
  // What a repeatable tool reports may be a reason to make other calls again.
  const turns = trace
    .map((steps) => steps.filter((step) => rules.get(step.tool)?.repeatable !== true))
    .filter((steps) => steps.length > 0)
  if (turns.length === 0) return []
  const bound = Loops.bound(self, distinct)
  const endless = Array.from({ length: bound }, (_, turn) => turns[turn % turns.length]!)
  const stopped = verdicts(self, endless, rules).at(-1)!.includes("stop")
  return stopped ? [] : [`law 4: ${distinct} distinct calls are not stopped within ${bound} turns`]
}

const memory = (self: LoopDetector, trace: Trace, rules: Rules): Violations => {
  const state = Loops.initial()
  for (const [turn, steps] of trace.entries()) {
    playTurn(self, state, steps, turn, rules)
    const sizes = [state.calls.size, state.tools?.size ?? 0, state.polls?.size ?? 0]
    if (Math.max(...sizes) > self.window) return [`law 5: ${sizes} are remembered in a window of ${self.window}`]
  }
  return []
}

const ladder = (self: LoopDetector, trace: Trace, rules: Rules): Violations => {
  const succeeded = new Set<string>()
  let rung = 0
  for (const [turn, seen] of verdicts(self, trace, rules).entries()) {
    if (seen.some((verdict) => verdict !== "allow")) rung++
    const expected: ReadonlyArray<Verdict> =
      rung <= self.replays ? ["replay", "refuse"] : rung <= self.replays + self.refusals ? ["refuse"] : ["stop"]
    for (const [i, verdict] of seen.entries()) {
      const step = trace[turn]![i]!
      if (verdict !== "allow" && !expected.includes(verdict)) {
        return [`law 6: ${verdict} on rung ${rung}, not ${expected.join(" or ")}`]
      }
      if (verdict !== "allow" || step.outcome.isFailure || rules.get(step.tool)?.repeatable === true) continue
      const name = identity(step, rules)
      if (!succeeded.has(name)) rung = 0
      succeeded.add(name)
    }
  }
  return []
}

/** Where a run is in the grammar at the head of `AgentEvent`, and where each event leads from there. */
const grammar = {
  start: { RunStarted: "between" },
  between: {
    ChildRunEnded: "between",
    TurnStarted: "turn",
    RunCompleted: "ended",
    RunFailed: "ended",
    RunInterrupted: "ended"
  },
  turn: {
    ChildRunEnded: "turn",
    ContextPruned: "pruned",
    ModelCallStarted: "model",
    RunFailed: "ended",
    RunInterrupted: "ended"
  },
  pruned: { ModelCallStarted: "model", RunFailed: "ended", RunInterrupted: "ended" },
  model: {
    TextDelta: "model",
    ReasoningDelta: "model",
    ToolParamsDelta: "model",
    ModelCallRetried: "model",
    ModelCallCompleted: "calls",
    ModelCallFailed: "failed",
    ModelCallInterrupted: "interrupted"
  },
  calls: {
    ToolCallStarted: "calls",
    ToolCallProgressed: "calls",
    ToolCallCompleted: "calls",
    ToolCallFailed: "calls",
    ToolCallInterrupted: "calls",
    LoopDetected: "calls",
    ChildRunEnded: "calls",
    OutputRejected: "rejected",
    TurnCompleted: "between",
    RunFailed: "ended",
    RunInterrupted: "ended"
  },
  rejected: { TurnCompleted: "between" },
  failed: { ChildRunEnded: "failed", ContextPruned: "pruned", RunFailed: "ended", RunInterrupted: "ended" },
  interrupted: { RunFailed: "ended", RunInterrupted: "ended" },
  ended: {}
} as const

type Place = keyof typeof grammar

/** The same for one tool call. */
const callGrammar = {
  asked: { ToolCallStarted: "running", LoopDetected: "answered", ToolCallInterrupted: "answered" },
  running: {
    ToolCallProgressed: "running",
    ToolCallCompleted: "answered",
    ToolCallFailed: "answered",
    ToolCallInterrupted: "answered"
  },
  answered: {}
} as const

type CallEvent =
  | ToolCallStarted
  | ToolCallProgressed
  | ToolCallCompleted
  | ToolCallFailed
  | ToolCallInterrupted
  | LoopDetected

interface CallReading {
  readonly name: string
  place: keyof typeof callGrammar
}

/** A run, as far as its events have been read. */
interface Reading {
  readonly first: AgentEvent
  place: Place
  /** The next offset. */
  offset: number
  /** The current turn. */
  turn: number
  /** Model calls answered. */
  answered: number
  usage: Usage
  /** The calls of the turn. */
  calls: ReadonlyMap<string, CallReading>
  readonly callIds: Set<string>
  stopped: boolean
  /** The usage of children that have ended, until the run takes note. */
  readonly children: Map<string, Usage>
}

/**
 * The laws of the events of whole runs, in the order in which they were published. For each run:
 *
 * - offsets count from 0 without gaps; run id, parent and agent stay the same; there is exactly one terminal event,
 *   the last;
 * - the events follow the grammar at the head of `AgentEvent`; every call of a response, and no other, is answered
 *   once, and ended if it was started; call ids are unique; turns count from 1;
 * - usage and turns of the terminal event add up; a run that was stopped for looping says so;
 * - a child runs while a call of its parent does, or while the parent prepares a model call, and the parent notes its
 *   usage.
 *
 * @category laws
 * @since 0.1.0
 */
export const events = (log: Iterable<AgentEvent>): Violations => {
  const violations: Array<string> = []
  const runs = new Map<string, Reading>()
  for (const event of log) {
    const expect = (holds: boolean, what: string) => {
      if (!holds) violations.push(`${event.agent} ${event.runId}: ${event._tag} at offset ${event.offset} ${what}`)
    }
    const parent = event.parentRunId === undefined ? undefined : runs.get(event.parentRunId)
    let run = runs.get(event.runId)
    if (run === undefined) {
      runs.set(event.runId, (run = begin(event)))
      expect(parent === undefined || canStartRuns(parent), "starts while the parent cannot start a run")
    }
    read(run, event, expect)
    if (isTerminal(event)) parent?.children.set(event.runId, event.usage)
  }
  for (const { first, place } of runs.values()) {
    if (place !== "ended") violations.push(`${first.agent} ${first.runId}: has no terminal event`)
  }
  return violations
}

const begin = (first: AgentEvent): Reading => ({
  first,
  place: "start",
  offset: 0,
  turn: 0,
  answered: 0,
  usage: Usages.zero,
  calls: new Map(),
  callIds: new Set(),
  stopped: false,
  children: new Map()
})

const callsIn = (run: Reading, ...places: ReadonlyArray<CallReading["place"]>): boolean =>
  Array.from(run.calls.values()).some((call) => places.includes(call.place))

/** A call runs, or instructions, the preparation of a turn or a context window may. */
const canStartRuns = (run: Reading): boolean =>
  ["between", "turn", "failed"].includes(run.place) || (run.place === "calls" && callsIn(run, "running"))

type Expect = (holds: boolean, what: string) => void

/** Reads one event of a run. */
const read = (run: Reading, event: AgentEvent, expect: Expect): void => {
  const { first, place } = run
  expect(event.offset === run.offset, `has not the offset ${run.offset}`)
  expect(event.agent === first.agent && event.parentRunId === first.parentRunId, "has another agent or parent")
  run.offset = event.offset + 1
  const next = (grammar[place] as Partial<Record<AgentEvent["_tag"], Place>>)[event._tag]
  expect(next !== undefined, `is out of place in "${place}"`)
  expect(next === "calls" || !callsIn(run, "asked", "running"), "leaves calls without an answer")
  run.place = next ?? place
  if (event._tag === "TurnStarted") run.turn++
  if ("turn" in event) expect(event.turn === run.turn, `is not of turn ${run.turn}`)
  switch (event._tag) {
    case "ModelCallCompleted":
      return readCalls(run, event, expect)
    case "OutputRejected":
      return expect(run.calls.size === 0, "rejects a response that has calls")
    case "ToolCallStarted":
    case "ToolCallProgressed":
    case "ToolCallCompleted":
    case "ToolCallFailed":
    case "ToolCallInterrupted":
    case "LoopDetected":
      return readCall(run, event, expect)
    case "ChildRunEnded": {
      const { childRunId, usage } = event
      expect(same(run.children.get(childRunId), usage), "notes a child that has not ended with this usage")
      expect(canStartRuns(run), "notes a child while it cannot start a run")
      run.children.delete(childRunId)
      run.usage = Usages.combine(run.usage, usage)
      return
    }
    case "TurnStarted":
    case "ModelCallStarted":
      return closeBooks(run, expect)
    case "ContextPruned": {
      closeBooks(run, expect)
      run.usage = Usages.combine(run.usage, event.usage)
      return
    }
    case "RunCompleted":
    case "RunFailed":
    case "RunInterrupted": {
      closeBooks(run, expect)
      expect(event.turns === run.answered, `counts ${event.turns} turns of ${run.answered}`)
      expect(same(event.usage, run.usage), `has the usage ${canonical(event.usage)} of ${canonical(run.usage)}`)
      const loop = event._tag === "RunFailed" && event.reason === "LoopDetected"
      expect(loop === run.stopped, run.stopped ? "hides a loop" : "tells of a loop that no event shows")
    }
  }
}

/** Every child that has ended is noted by now. */
const closeBooks = (run: Reading, expect: Expect): void => {
  expect(run.children.size === 0, "leaves a child out")
  run.children.clear()
}

/** Reads the calls of a response. */
const readCalls = (run: Reading, { content, costNanoUsd, tokens }: ModelCallCompleted, expect: Expect): void => {
  run.answered++
  run.usage = Usages.combine(run.usage, { ...tokens, modelCalls: 1, toolCalls: 0, costNanoUsd })
  const calls = Histories.toolCalls(content)
  for (const { id } of calls) {
    expect(!run.callIds.has(id), `has a second call with the id '${id}'`)
    run.callIds.add(id)
  }
  run.calls = new Map(calls.map(({ id, name }) => [id, { name, place: "asked" }]))
}

/** Reads an event of a call. */
const readCall = (run: Reading, event: CallEvent, expect: Expect): void => {
  const call = run.calls.get(event.id)
  if (call === undefined) return expect(false, `is about a call that was not asked for: '${event.id}'`)
  const next = (callGrammar[call.place] as Partial<Record<CallEvent["_tag"], CallReading["place"]>>)[event._tag]
  expect(next !== undefined, `is out of place: the call '${event.id}' is ${call.place}`)
  expect(event.name === call.name, `has another tool than the call '${event.id}'`)
  call.place = next ?? call.place
  if (event._tag === "LoopDetected") run.stopped ||= event.verdict === "stop"
  const refused = event._tag === "ToolCallFailed" && notRun.has(event.kind)
  const ran = event._tag === "ToolCallCompleted" || (event._tag === "ToolCallFailed" && !refused)
  if (ran) run.usage = Usages.combine(run.usage, { ...Usages.zero, toolCalls: 1 })
}

/** Failures of calls whose tool was not run. */
const notRun: ReadonlySet<ToolCallFailed["kind"]> = new Set(["unknown-tool", "invalid-params", "over-budget"])

/**
 * The law of the log: folding any beginning of a run's events gives a valid history, and before each model call the
 * one that was sent, but for the messages that a context window took out and those it put in; folding all of them gives the run as it ended, if it could tell.
 *
 * @category laws
 * @since 0.1.0
 */
export const fold = (agent: Subject, log: ReadonlyArray<AgentEvent>, end?: PartialRun): Violations => {
  const violations: Array<string> = []
  let leftOut = 0
  for (const [n, event] of log.entries()) {
    const folded = foldRun(agent, log.slice(0, n))
    const isOwn = event.runId === log[0]!.runId
    const expected = folded.history.length - leftOut
    const sent =
      isOwn && event._tag === "ModelCallStarted"
        ? event.messages
        : isOwn && event._tag === "ContextPruned"
          ? event.before.messages
          : expected
    if (sent !== expected) violations.push(`the first ${n} events give ${expected} messages, ${sent} were sent`)
    if (isOwn && event._tag === "ContextPruned") leftOut = folded.history.length - event.after.messages
    for (const violation of history(folded.history)) violations.push(`the first ${n} events: ${violation}`)
  }
  if (end === undefined) return violations
  const folded = foldRun(agent, log)
  for (const part of ["usage", "turns", "text"] as const) {
    if (!same(folded[part], end[part])) violations.push(`the events give another ${part} than the run`)
  }
  if (!same(Array.from(folded.history), Array.from(end.history))) {
    violations.push("the events give another history than the run")
  }
  return violations
}

/** Any agent. */
type Subject = Agent<string, unknown, unknown, unknown>

/**
 * How something went, and the events of all runs in it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Recording<out A, out E> {
  readonly exit: Exit.Exit<A, E>
  readonly events: ReadonlyArray<AgentEvent>
}

const nothing: Subscription = { take: Cause.done(), position: () => 0 }

/**
 * Runs an effect to its exit and records the events of all agents in it. A hub in the context receives them too.
 *
 * @category running
 * @since 0.1.0
 */
export const record = Effect.fnUntraced(function* <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.fn.Return<Recording<A, E>, never, R> {
  const outer = yield* EventHub
  const recorded: Array<AgentEvent> = []
  const hub: Hub = {
    publish: (published) => {
      for (const event of published) if (!isWorkflowEvent(event)) recorded.push(event)
      outer?.publish(published)
    },
    mayCongest: () => outer?.mayCongest() ?? false,
    congestion: () => outer?.congestion(),
    subscribe: (options) => (outer === undefined ? Effect.succeed(nothing) : outer.subscribe(options))
  }
  const exit = yield* Effect.exit(Effect.provideService(effect, EventHub, hub))
  return { exit, events: recorded }
})

/**
 * All laws of a run, for the recording of an `Agent.run`: its events obey {@link events}, its history
 * {@link history}, its log {@link fold}, and the last event tells what the run's exit tells.
 *
 * @category laws
 * @since 0.1.0
 */
export const run = (agent: Subject, recording: Recording<AgentResult<unknown>, unknown>): Violations => {
  const { events: log, exit } = recording
  const last = log.findLast((event) => event.runId === log[0]!.runId)
  if (last === undefined) return ["there are no events"]
  const { expected, end } = ending(agent, exit)
  const told = last._tag === "RunFailed" ? `${last._tag}: ${last.reason}` : last._tag
  return [
    ...events(log),
    ...(told.startsWith(expected) ? [] : [`the run ends with ${expected}, its events with ${told}`]),
    ...history(end?.history ?? []),
    ...fold(agent, log, end)
  ]
}

/** What the last event has to say, and the run as far as the exit tells it. */
const ending = (
  agent: Subject,
  exit: Exit.Exit<AgentResult<unknown>, unknown>
): { readonly expected: string; readonly end: PartialRun | undefined } => {
  if (Exit.isSuccess(exit)) return { expected: "RunCompleted", end: exit.value }
  if (Cause.hasInterrupts(exit.cause)) return { expected: "RunInterrupted", end: undefined }
  const error = Cause.squash(exit.cause)
  // A tool may fail with the error of another agent.
  const own = error instanceof AgentError && error.agent === agent.name
  return own
    ? { expected: `RunFailed: ${error.reason._tag}`, end: error.partial }
    : { expected: "RunFailed", end: undefined }
}
