/**
 * The run as a state machine. `decide` picks the next command from the state, the interpreter carries it out, what
 * happened becomes an event, `evolve` applies the event. Neither does I/O, so a log can be replayed through them.
 *
 * `evolve` changes the run's own state in place: it is the only code that does.
 */
import type * as Prompt from "effect/ai/Prompt"
import type { FinishReason } from "effect/ai/Response"
import type { AgentErrorReason, PartialRun } from "../AgentError.ts"
import { LoopDetected } from "../AgentError.ts"
import type { AgentEvent, ModelCallCompleted } from "../AgentEvent.ts"
import type { AssistantContent, History } from "../History.ts"
import * as Histories from "../History.ts"
import type { LoopDetector, Verdict } from "../LoopDetector.ts"
import * as Loops from "../LoopDetector.ts"
import type { StopCondition } from "../StopCondition.ts"
import type { Usage } from "../Usage.ts"
import * as Usages from "../Usage.ts"

/** The rules that a run is played by. */
export interface Policy {
  readonly stopWhen: StopCondition
  /** `undefined` switches detection off. */
  readonly loopDetector: LoopDetector | undefined
  readonly loopRule: (tool: string) => Loops.Rule | undefined
  /** Corrections the model is asked for when its answer does not match the output schema. */
  readonly outputRetries: number
  readonly hasOutput: boolean
}

/** A call that the model asked for and that the run has to answer. */
export interface PendingCall {
  readonly id: string
  readonly name: string
  readonly params: unknown
  readonly verdict: Verdict
  /** Why it counts as a loop; `undefined` for an allowed call. */
  readonly kind: Loops.LoopKind | undefined
  /** What the detector saw; `undefined` when detection is off. */
  readonly observed: Loops.Call | undefined
  answer: Prompt.ToolResultPartEncoded | undefined
}

/** The turn whose calls are being answered. It enters the history as one unit once all are. */
interface PendingTurn {
  readonly content: AssistantContent
  readonly calls: ReadonlyArray<PendingCall>
  unanswered: number
}

export type Phase =
  /** The model is to be called. */
  | "model"
  /** Calls are to be answered. */
  | "tools"
  /** The model gave an answer without calls. */
  | "answered"
  /** The run has ended. */
  | "ended"

/** A run. Mutable, owned by one interpreter or one fold. */
export interface State {
  phase: Phase
  history: History
  pending: PendingTurn | undefined
  /** What the detector remembers; made with the first call. */
  loops: Loops.State | undefined
  readonly usage: { -readonly [K in keyof Usage]: Usage[K] }
  turns: number
  /** The model's last text. */
  text: string
  finishReason: FinishReason
  /** The calls of the last turn. */
  lastCalls: ReadonlyArray<PendingCall>
  /** Answers that did not match the output schema. */
  rejections: number
}

export type Command =
  | { readonly _tag: "CallModel" }
  | { readonly _tag: "AnswerCalls"; readonly calls: ReadonlyArray<PendingCall> }
  | { readonly _tag: "DecodeOutput" }
  | { readonly _tag: "Complete" }
  | { readonly _tag: "Fail"; readonly reason: AgentErrorReason }

const CallModel: Command = { _tag: "CallModel" }
const DecodeOutput: Command = { _tag: "DecodeOutput" }
const Complete: Command = { _tag: "Complete" }

const none: ReadonlyArray<PendingCall> = []

/** The state before anything has happened. */
export const initial = (): State => ({
  phase: "model",
  history: Histories.empty,
  pending: undefined,
  loops: undefined,
  usage: { ...Usages.zero },
  turns: 0,
  text: "",
  finishReason: "unknown",
  lastCalls: none,
  rejections: 0
})

/** What to do next. */
export const decide = (policy: Policy, state: State, elapsedMillis: number): Command => {
  switch (state.phase) {
    case "tools": {
      const { calls } = state.pending!
      const looping = calls.find((call) => call.verdict === "stop")
      if (looping === undefined) return { _tag: "AnswerCalls", calls }
      const { kind, name: tool, params } = looping
      return { _tag: "Fail", reason: new LoopDetected({ tool, params, kind: kind! }) }
    }
    case "answered":
      return policy.hasOutput ? DecodeOutput : Complete
    default: {
      const { lastCalls, turns, usage } = state
      const stop = policy.stopWhen.check({ turns, usage, lastCalls, elapsedMillis })
      if (stop === undefined) return CallModel
      if (stop === "goal") return policy.hasOutput ? DecodeOutput : Complete
      return { _tag: "Fail", reason: stop }
    }
  }
}

/** Applies what happened. Announcements and deltas leave the state as it is. */
export const evolve = (policy: Policy, state: State, event: AgentEvent): void => {
  switch (event._tag) {
    case "RunStarted": {
      state.history = event.history
      break
    }
    case "ModelCallCompleted": {
      modelAnswered(policy, state, event)
      break
    }
    case "ToolCallCompleted": {
      const { id, name, result } = event
      state.usage.toolCalls++
      const part = { type: "tool-result", id, name, isFailure: false, result } as const
      answer(policy, state, event.modelOutput === undefined ? part : { ...part, modelOutput: event.modelOutput })
      break
    }
    case "ToolCallFailed": {
      const { id, kind, name, result } = event
      if (kind !== "unknown-tool" && kind !== "invalid-params" && kind !== "over-budget") state.usage.toolCalls++
      answer(policy, state, { type: "tool-result", id, name, isFailure: true, result })
      break
    }
    case "ToolCallInterrupted": {
      answer(policy, state, Histories.interrupted(event))
      break
    }
    case "ContextPruned":
    case "ChildRunEnded": {
      addUsage(state, event.usage)
      break
    }
    case "LoopDetected": {
      const { id, isFailure, message: result, name } = event
      answer(policy, state, { type: "tool-result", id, name, isFailure, result })
      break
    }
    case "OutputRejected": {
      state.rejections++
      state.history = Histories.appendUser(state.history, event.feedback)
      state.phase = "model"
      break
    }
    case "RunCompleted":
    case "RunFailed":
    case "RunInterrupted": {
      state.phase = "ended"
      break
    }
  }
}

const modelAnswered = (policy: Policy, state: State, event: ModelCallCompleted): void => {
  const { content, tokens } = event
  const { usage } = state
  usage.inputTokens += tokens.inputTokens
  usage.outputTokens += tokens.outputTokens
  usage.cachedInputTokens += tokens.cachedInputTokens
  usage.cacheWriteTokens += tokens.cacheWriteTokens
  usage.reasoningTokens += tokens.reasoningTokens
  usage.modelCalls++
  usage.costNanoUsd += event.costNanoUsd
  state.turns = event.turn
  state.finishReason = event.finishReason
  state.text = Histories.text(content)
  const calls: Array<PendingCall> = []
  for (const part of content) {
    if (part.type === "tool-call" && part.providerExecuted !== true) calls.push(pend(policy, state, part, event.turn))
  }
  if (calls.length === 0) {
    state.lastCalls = none
    state.history = Histories.appendAssistant(state.history, content)
    state.phase = "answered"
  } else {
    state.lastCalls = calls
    state.pending = { content, calls, unanswered: calls.length }
    state.phase = "tools"
  }
}

const addUsage = (state: State, usage: Usage): void => {
  state.usage.inputTokens += usage.inputTokens
  state.usage.outputTokens += usage.outputTokens
  state.usage.cachedInputTokens += usage.cachedInputTokens
  state.usage.cacheWriteTokens += usage.cacheWriteTokens
  state.usage.reasoningTokens += usage.reasoningTokens
  state.usage.modelCalls += usage.modelCalls
  state.usage.toolCalls += usage.toolCalls
  state.usage.costNanoUsd += usage.costNanoUsd
}

const pend = (policy: Policy, state: State, part: Prompt.ToolCallPartEncoded, turn: number): PendingCall => {
  const { id, name, params } = part
  if (policy.loopDetector === undefined) {
    return { id, name, params, verdict: "allow", kind: undefined, observed: undefined, answer: undefined }
  }
  const rule = policy.loopRule(name)
  const observed: Loops.Call = {
    tool: name,
    key: Loops.keyOf(rule, name, params),
    turn,
    repeatable: rule?.repeatable,
    readOnly: rule?.readOnly
  }
  const verdict = Loops.observe(policy.loopDetector, (state.loops ??= Loops.initial()), observed)
  const kind = verdict === "allow" ? undefined : state.loops.kind
  return { id, name, params, verdict, kind, observed, answer: undefined }
}

/** Answers a pending call, and commits the turn when it was the last: results enter in call order. */
const answer = (policy: Policy, state: State, result: Prompt.ToolResultPartEncoded): void => {
  const turn = state.pending
  if (turn === undefined) return
  // Answers mostly come in call order, so the first guess is usually right.
  let call = turn.calls[turn.calls.length - turn.unanswered]
  if (call?.id !== result.id || call.answer !== undefined) {
    call = turn.calls.find((pending) => pending.id === result.id && pending.answer === undefined)
  }
  if (call === undefined) return
  call.answer = result
  turn.unanswered--
  if (call.observed !== undefined && call.verdict === "allow") {
    // There is a detector, and it has observed this call.
    Loops.settle(policy.loopDetector!, state.loops!, call.observed, result)
  }
  if (turn.unanswered > 0) return
  state.history = Histories.appendAssistant(
    state.history,
    turn.content,
    turn.calls.map((pending) => pending.answer!)
  )
  state.pending = undefined
  state.phase = "model"
}

/** The run so far, as errors carry it: a valid history, with calls cut short answered as interrupted. */
export const partial = (state: State): PartialRun => ({
  history:
    state.pending === undefined
      ? state.history
      : Histories.appendAssistant(
          state.history,
          state.pending.content,
          state.pending.calls.flatMap((call) => call.answer ?? [])
        ),
  usage: { ...state.usage },
  turns: state.turns,
  text: state.text
})
