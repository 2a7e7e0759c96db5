/**
 * Answers the calls of one turn: those that the loop detector lets pass on bounded fibers, the others in its words.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { AgentEvent } from "../AgentEvent.ts"
import * as LoopDetector from "../LoopDetector.ts"
import type { ToolOutcome } from "../Toolbox.ts"
import { invoke } from "../Toolbox.ts"
import type { PendingCall } from "./machine.ts"
import type { Run } from "./run.ts"
import { emit, tick } from "./run.ts"

/** The failure of a tool with `failureMode: "error"`, which ends the run. */
export class ToolRaised {
  readonly error: unknown
  constructor(error: unknown) {
    this.error = error
  }
}

/**
 * Runs and answers the calls. Succeeds with the failure of a tool that ends the run; its siblings are interrupted.
 */
export const answerCalls = (run: Run, calls: ReadonlyArray<PendingCall>): Effect.Effect<ToolRaised | undefined> => {
  const allowed = calls.every(isAllowed) ? calls : calls.filter(isAllowed)
  const ran = allowed.length === 1 ? runCall(run, allowed[0]!) : runCalls(run, allowed)
  // Last, because a call may repeat one of the same turn, whose result is known only then.
  return allowed.length === calls.length
    ? ran
    : Effect.map(ran, (raised) => {
        if (raised === undefined)
          for (const call of calls) if (call.verdict !== "allow") intercept(run, call, call.verdict)
        return raised
      })
}

const isAllowed = (call: PendingCall): boolean => call.verdict === "allow"

const runCalls = (run: Run, calls: ReadonlyArray<PendingCall>): Effect.Effect<ToolRaised | undefined> =>
  Effect.forEach(
    calls,
    (call) =>
      Effect.flatMap(runCall(run, call), (raised) => (raised === undefined ? Effect.void : Effect.fail(raised))),
    { concurrency: run.definition.toolConcurrency, discard: true }
  ).pipe(
    Effect.as(undefined),
    Effect.catch((raised) => Effect.succeed(raised))
  )

/** Begins a call at once; to be called by the fiber that runs it. */
const runCall = (run: Run, call: PendingCall): Effect.Effect<ToolRaised | undefined> => {
  const { id, name, params } = call
  const { turns: turn } = run.state
  if (run.observer === undefined) return whenDone(invoke(run.toolbox, call), (outcome) => settle(run, call, outcome, 0))
  const startedAt = tick(run)
  emit(run, { ...run.envelope, _tag: "ToolCallStarted", turn, id, name, params })
  const onProgress = (result: unknown) => {
    // A handler may have forked what still reports after it has answered.
    if (call.answer !== undefined) return
    tick(run)
    emit(run, { ...run.envelope, _tag: "ToolCallProgressed", turn, id, name, result })
  }
  return whenDone(invoke(run.toolbox, call, onProgress), (outcome) => settle(run, call, outcome, tick(run) - startedAt))
}

/** Goes on with the outcome of a call, at once if the call is already done. */
const whenDone = <A>(effect: Effect.Effect<ToolOutcome>, f: (outcome: ToolOutcome) => A): Effect.Effect<A> =>
  Exit.isExit(effect) && Exit.isSuccess(effect) ? Effect.succeed(f(effect.value as ToolOutcome)) : Effect.map(effect, f)

const settle = (run: Run, call: PendingCall, outcome: ToolOutcome, durationMillis: number): ToolRaised | undefined => {
  // The run may have ended while a handler refused to be interrupted.
  if (run.state.phase !== "tools") return undefined
  emit(run, ended(run, call, outcome, durationMillis))
  return outcome.isFailure && outcome.raised !== undefined ? new ToolRaised(outcome.raised.error) : undefined
}

const ended = (run: Run, call: PendingCall, outcome: ToolOutcome, durationMillis: number): AgentEvent => {
  const { id, name } = call
  const { turns: turn } = run.state
  if (outcome.isFailure) {
    const { detail, kind, result } = outcome
    return { ...run.envelope, _tag: "ToolCallFailed", turn, id, name, kind, result, detail, durationMillis }
  }
  const { modelOutput, result } = outcome
  return { ...run.envelope, _tag: "ToolCallCompleted", turn, id, name, result, modelOutput, durationMillis }
}

/** Answers a call in place of the tool. */
export const intercept = (run: Run, call: PendingCall, verdict: "replay" | "refuse" | "stop"): void => {
  const { id, kind, name, observed, params } = call
  const { loops, turns: turn } = run.state
  const detector = run.definition.policy.loopDetector
  if (observed === undefined || kind === undefined || detector === undefined || loops === undefined) return
  const { isFailure, message } = LoopDetector.answer(detector, loops, observed, verdict, kind)
  emit(run, { ...run.envelope, _tag: "LoopDetected", turn, id, name, params, verdict, kind, message, isFailure })
}
