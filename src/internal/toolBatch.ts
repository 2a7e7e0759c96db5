/**
 * Answers the calls of one turn: those that the loop detector lets pass on bounded fibers, the others in its words.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import type { AgentEvent } from "../AgentEvent.ts"
import * as LoopDetector from "../LoopDetector.ts"
import type { ToolOutcome } from "../Toolbox.ts"
import { invoke } from "../Toolbox.ts"
import type { PendingCall } from "./machine.ts"
import type { Run } from "./run.ts"
import { emit, head } from "./run.ts"

/** The failure of a tool with `failureMode: "error"`, which ends the run. */
export class ToolRaised {
  readonly error: unknown
  constructor(error: unknown) {
    this.error = error
  }
}

/**
 * Runs and answers the calls. Returns the failure of a tool that ends the run; its siblings are interrupted.
 */
export function* answerCalls(run: Run, calls: ReadonlyArray<PendingCall>): Effect.fn.Return<ToolRaised | undefined> {
  const allowed = calls.every((call) => call.verdict === "allow")
    ? calls
    : calls.filter((call) => call.verdict === "allow")
  if (allowed.length === 1) {
    const raised = yield* runCall(run, allowed[0]!)
    if (raised !== undefined) return raised
  } else if (allowed.length > 1) {
    const exit = yield* Effect.exit(
      Effect.forEach(allowed, (call) => runOrFail(run, call), {
        concurrency: run.definition.toolConcurrency,
        discard: true
      })
    )
    if (Exit.isFailure(exit)) {
      const raised = Cause.findError(exit.cause)
      // Anything but a raised failure is a defect of the runtime itself.
      return Result.isSuccess(raised) ? raised.success : yield* Effect.failCause(raised.failure)
    }
  }
  if (allowed.length < calls.length) {
    // Last, because a call may repeat one of the same turn, whose result is known only now.
    for (const call of calls) if (call.verdict !== "allow") intercept(run, call, call.verdict)
  }
  return undefined
}

const runOrFail = Effect.fnUntraced(function* (run: Run, call: PendingCall): Effect.fn.Return<void, ToolRaised> {
  const raised = yield* runCall(run, call)
  if (raised !== undefined) return yield* Effect.fail(raised)
})

function* runCall(run: Run, call: PendingCall): Effect.fn.Return<ToolRaised | undefined> {
  const observed = run.observer !== undefined
  const { id, name, params } = call
  const { turns: turn } = run.state
  const startedAt = observed ? run.clock.currentTimeMillisUnsafe() : 0
  if (observed) emit(run, { ...head(run), _tag: "ToolCallStarted", turn, id, name, params })
  const outcome: ToolOutcome = yield* invoke(
    run.toolbox,
    call,
    observed ? (result) => emit(run, { ...head(run), _tag: "ToolCallProgressed", turn, id, name, result }) : undefined
  )
  // The run may have ended while a handler refused to be interrupted.
  if (run.state.phase !== "tools") return undefined
  const durationMillis = observed ? run.clock.currentTimeMillisUnsafe() - startedAt : 0
  emit(run, ended(run, call, outcome, durationMillis))
  return outcome.isFailure && outcome.raised !== undefined ? new ToolRaised(outcome.raised.error) : undefined
}

const ended = (run: Run, call: PendingCall, outcome: ToolOutcome, durationMillis: number): AgentEvent => {
  const { id, name } = call
  const { turns: turn } = run.state
  if (outcome.isFailure) {
    const { detail, kind, result } = outcome
    return { ...head(run), _tag: "ToolCallFailed", turn, id, name, kind, result, detail, durationMillis }
  }
  const { modelOutput, result } = outcome
  return { ...head(run), _tag: "ToolCallCompleted", turn, id, name, result, modelOutput, durationMillis }
}

/** Answers a call in place of the tool. */
export const intercept = (run: Run, call: PendingCall, verdict: "replay" | "refuse" | "stop"): void => {
  const { id, name, observed, params } = call
  const { loops, turns: turn } = run.state
  const detector = run.definition.policy.loopDetector
  if (observed === undefined || detector === undefined) return
  const message =
    verdict === "replay" ? LoopDetector.replayMessage(detector, loops, observed) : LoopDetector.refusalMessage(observed)
  emit(run, { ...head(run), _tag: "LoopDetected", turn, id, name, params, verdict, kind: loops.kind, message })
}
