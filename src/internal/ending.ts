/**
 * How a run ends: with an answer, with a failure, or cut short. Whichever it is, each call of it has an answer, and one
 * event is the last.
 */
import type { FinishReason } from "effect/ai/Response"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Predicate from "effect/Predicate"
import type { AgentErrorReason } from "../AgentError.ts"
import { AgentError } from "../AgentError.ts"
import type { History } from "../History.ts"
import type { Usage } from "../Usage.ts"
import { partial } from "./machine.ts"
import type { Run } from "./run.ts"
import { emit, flush, tick } from "./run.ts"
import { intercept } from "./toolBatch.ts"

/** What a run results in; `Agent` gives it its types. */
export interface RunResult {
  readonly output: unknown
  readonly text: string
  readonly history: History
  readonly usage: Usage
  readonly turns: number
  readonly finishReason: FinishReason
  readonly duration: Duration.Duration
}

export const endTurn = (run: Run): void => {
  if (run.observer !== undefined) emit(run, { ...run.envelope, _tag: "TurnCompleted", turn: run.state.turns })
}

export const complete = (run: Run, output: unknown): RunResult => {
  const { definition, state } = run
  const { finishReason, history, text, turns, usage } = state
  if (state.phase === "answered") endTurn(run)
  const durationMillis = tick(run) - run.startedAt
  // Decoded, the answer may be anything; events are JSON.
  const told = definition.output === undefined || run.observer === undefined ? text : definition.output.json(text)
  emit(run, { ...run.envelope, _tag: "RunCompleted", text, output: told, usage, turns, durationMillis })
  end(run)
  return { output, text, history, usage, turns, finishReason, duration: Duration.millis(durationMillis) }
}

/** Ends the run with a failure of its own. */
export const failed = (run: Run, reason: AgentErrorReason): AgentError => {
  endFailed(run, reason._tag, reason.message)
  return new AgentError({ agent: run.definition.name, reason, partial: partial(run.state) })
}

/** Ends the run with a failure that is not its own: that of a tool, or of the instructions. */
export const raise = (run: Run, cause: Cause.Cause<unknown>): Effect.Effect<never, unknown> => {
  const error = Cause.squash(cause)
  const message = Predicate.hasProperty(error, "message") ? String(error.message) : String(error)
  endFailed(run, Predicate.hasProperty(error, "_tag") ? String(error._tag) : "Error", message)
  return Effect.failCause(cause)
}

const endFailed = (run: Run, reason: string, message: string): void => {
  const durationMillis = tick(run) - run.startedAt
  endCalls(run)
  const { turns, usage } = run.state
  emit(run, { ...run.envelope, _tag: "RunFailed", reason, message, usage: { ...usage }, turns, durationMillis })
  end(run)
}

/** The run was interrupted, or died of a defect in a provider. */
export const cutShort = (run: Run, exit: Exit.Exit<unknown, unknown>): undefined => {
  const { turns, usage } = run.state
  if (Exit.isFailure(exit) && !Cause.hasInterrupts(exit.cause)) {
    const message = Cause.pretty(exit.cause)
    if (run.calling) emit(run, { ...run.envelope, _tag: "ModelCallFailed", turn: turns + 1, reason: "Defect", message })
    endFailed(run, "Defect", message)
    return
  }
  const durationMillis = tick(run) - run.startedAt
  if (run.calling) emit(run, { ...run.envelope, _tag: "ModelCallInterrupted", turn: turns + 1 })
  endCalls(run)
  emit(run, { ...run.envelope, _tag: "RunInterrupted", usage: { ...usage }, turns, durationMillis })
  end(run)
}

/** Answers the calls that the end of the run leaves open. */
const endCalls = (run: Run): void => {
  const { pending, turns: turn } = run.state
  if (pending === undefined) return
  for (const call of pending.calls) {
    if (call.answer !== undefined) continue
    const { id, name, verdict } = call
    if (verdict === "stop") intercept(run, call, verdict)
    else emit(run, { ...run.envelope, _tag: "ToolCallInterrupted", turn, id, name })
  }
}

const end = (run: Run): void => {
  flush(run)
  run.parent?.childEnded(run.id, run.definition.name, run.state.usage)
}
