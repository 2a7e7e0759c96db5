/**
 * The model call of a turn from the first try to its answer: what its failure is to the run, and for an agent with a
 * context window, how what is sent is made shorter before it, and again when the provider refuses it as too long.
 */
import type * as AiError from "effect/ai/AiError"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import { BudgetExceeded, ContextOverflow, failureOf, ModelFailed } from "../AgentError.ts"
import type { ContextPruned } from "../AgentEvent.ts"
import type { Pruned } from "../ContextWindow.ts"
import { overflow, reduce } from "../ContextWindow.ts"
import type { Llm, LlmResponse } from "../Llm.ts"
import * as Usages from "../Usage.ts"
import { asChild } from "./asChild.ts"
import { failed, raise } from "./ending.ts"
import { offers, requestModel } from "./modelCall.ts"
import type { Run, TurnSettings } from "./run.ts"
import { emit, tick } from "./run.ts"
import type { Sent } from "./sentHistory.ts"
import * as Sents from "./sentHistory.ts"

type ModelFailure = Cause.Cause<AiError.AiError | BudgetExceeded>

export const modelFailed = (run: Run, cause: ModelFailure): Effect.Effect<never, unknown> => {
  const failure = Cause.findError(cause)
  if (Result.isFailure(failure)) return Effect.failCause(failure.failure)
  if (failure.success._tag === "BudgetExceeded") return Effect.fail(failed(run, failure.success))
  noteFailure(run, failure.success)
  return Effect.fail(failed(run, failureOf(failure.success)))
}

const noteFailure = (run: Run, { message, reason }: AiError.AiError): void => {
  run.calling = false
  tick(run)
  emit(run, { ...run.envelope, _tag: "ModelCallFailed", turn: run.state.turns + 1, reason: reason._tag, message })
}

/** How often a turn calls the model again with less after the provider has refused the conversation as too long. */
const maxOverflows = 3

/** The model call of an agent with a context window, which may have to make what is sent shorter before, and again. */
export function* callWithin(
  run: Run,
  sent: Sent,
  llm: Llm["Service"],
  instructions: string,
  settings: TurnSettings
): Effect.fn.Return<LlmResponse, unknown> {
  const { definition, state } = run
  const { window } = sent
  let refusal: Refusal | undefined
  for (let calls = 1; ; calls++) {
    const size = Sents.catchUp(sent, state.history, settings.instructions ?? instructions, offers(run))
    if (window.isOver(size)) {
      const model = settings.model ?? definition.sampling.model
      const reduced = yield* Effect.exit(asChild(run, reduce(window, Sents.conversationOf(sent, model))))
      if (Exit.isFailure(reduced)) return yield* windowFailed(run, reduced.cause)
      const { after, before, usage } = reduced.value
      const isShorter = after.tokens < before.tokens || after.messages < before.messages
      if (isShorter) Sents.take(sent, reduced.value, state.history)
      if (isShorter || usage.modelCalls > 0 || sent.untold !== undefined) {
        noteWindow(run, sent, reduced.value, refusal === undefined ? "threshold" : "overflow")
      }
      // The window's own limit is final. That of the provider is only known from what it has refused: it may take this.
      const isOver = window.isOver({ ...after, limit: Infinity }) || (refusal !== undefined && !isShorter)
      if (isOver) return yield* Effect.fail(failed(run, refusal?.reason ?? overflow(window, after)))
    } else if (refusal !== undefined) {
      return yield* Effect.fail(failed(run, refusal.reason))
    } else if (sent.untold !== undefined) {
      noteWindow(run, sent, { before: size, after: size, usage: Usages.zero }, "continuation")
    }
    const answer = yield* Effect.exit(requestModel(run, llm, instructions, settings, sent.history))
    if (Exit.isSuccess(answer)) return answer.value
    refusal = calls > maxOverflows ? undefined : refusalOf(answer.cause)
    if (refusal === undefined) return yield* modelFailed(run, answer.cause)
    noteFailure(run, refusal.error)
    Sents.learn(sent, refusal.reason)
  }
}

/** A conversation that the provider refused as too long. */
interface Refusal {
  readonly error: AiError.AiError
  readonly reason: ContextOverflow
}

const refusalOf = (cause: ModelFailure): Refusal | undefined => {
  const failure = Cause.findError(cause)
  if (Result.isFailure(failure) || failure.success._tag === "BudgetExceeded") return undefined
  const reason = failureOf(failure.success)
  return reason._tag === "ContextOverflow" ? { error: failure.success, reason } : undefined
}

const noteWindow = (
  run: Run,
  sent: Sent,
  { after, before, usage }: Omit<Pruned, "history">,
  trigger: ContextPruned["trigger"]
): void => {
  const { messages = 0, tokens = 0 } = sent.untold ?? {}
  sent.untold = undefined
  tick(run)
  emit(run, {
    ...run.envelope,
    _tag: "ContextPruned",
    turn: run.state.turns + 1,
    window: sent.window.name,
    trigger,
    before: { messages: before.messages + messages, tokens: before.preamble + before.tokens + tokens },
    after: { messages: after.messages, tokens: after.preamble + after.tokens },
    usage
  })
}

/** A window failed: as a model call does, which is a failure of the run's own, or in its own way. */
const windowFailed = (run: Run, cause: Cause.Cause<unknown>): Effect.Effect<never, unknown> => {
  const failure = Cause.findError(cause)
  const error = Result.isSuccess(failure) ? failure.success : undefined
  return error instanceof ModelFailed || error instanceof ContextOverflow || error instanceof BudgetExceeded
    ? Effect.fail(failed(run, error))
    : raise(run, cause)
}
