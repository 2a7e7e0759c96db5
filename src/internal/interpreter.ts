/**
 * The agent loop: asks the machine for the next command, carries it out, tells the machine what happened.
 */
import type * as AiError from "effect/ai/AiError"
import type { FinishReason } from "effect/ai/Response"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Predicate from "effect/Predicate"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import type { AgentErrorReason, PartialRun } from "../AgentError.ts"
import {
  AgentError,
  BudgetExceeded,
  ContextOverflow,
  failureOf,
  InvalidInput,
  ModelFailed,
  OutputInvalid
} from "../AgentError.ts"
import type { ContextPruned } from "../AgentEvent.ts"
import type { Pruned } from "../ContextWindow.ts"
import { overflow, reduce } from "../ContextWindow.ts"
import { EventHub } from "../EventHub.ts"
import type { History } from "../History.ts"
import * as Histories from "../History.ts"
import type { LlmResponse } from "../Llm.ts"
import { Llm } from "../Llm.ts"
import * as Prices from "../Prices.ts"
import { TokenEstimator } from "../TokenEstimator.ts"
import { bind, contained } from "../Toolbox.ts"
import type { Usage } from "../Usage.ts"
import * as Usages from "../Usage.ts"
import type { Account } from "./account.ts"
import * as Accounts from "./account.ts"
import { CurrentAccount } from "./account.ts"
import * as Charge from "./charge.ts"
import type { Observer } from "./currentRun.ts"
import { combine, CurrentRun, makeId } from "./currentRun.ts"
import { decide, initial, partial } from "./machine.ts"
import { announceTurn, modelAnswered, offered, offers, requestModel, unchanged, viewOf } from "./modelCall.ts"
import type { Definition, Run, TurnSettings } from "./run.ts"
import { emit, flush, tick } from "./run.ts"
import type { Sent } from "./sentHistory.ts"
import * as Sents from "./sentHistory.ts"
import { answerCalls, intercept } from "./toolBatch.ts"

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

/**
 * Runs an agent on a conversation. `observe` watches this run and its children; the hub in the context does anyway.
 * `inspect` is given, at the start, what tells how far the run has got: also after it has ended, however it ended.
 */
export const interpret = (
  definition: Definition,
  history: History,
  observe?: Observer | undefined,
  inspect?: ((progress: () => PartialRun) => void) | undefined
): Effect.Effect<RunResult, unknown, Llm> =>
  Effect.withFiber((fiber) => {
    const run = begin(definition, fiber, observe)
    const estimator = definition.contextWindow === undefined ? undefined : fiber.getRef(TokenEstimator)
    inspect?.(() => partial(run.state))
    const looping = Effect.gen(() => loop(run, Context.getUnsafe(fiber.context, Llm), history, estimator))
    return Effect.onExitPrimitive(
      run.payer === undefined ? looping : withinTime(run, run.payer.account, looping),
      // A run that was interrupted before its first event has not begun.
      (exit) => (run.state.phase === "ended" || run.offset === 0 ? undefined : cutShort(run, exit))
    )
  })

const begin = (definition: Definition, fiber: Fiber.Fiber<unknown, unknown>, observe: Observer | undefined): Run => {
  const { context } = fiber
  const hub = fiber.getRef(EventHub)
  const parent = fiber.getRef(CurrentRun)
  const clock = fiber.getRef(Clock.Clock)
  const local = combine(parent?.observer, observe)
  const observer = combine(hub, local)
  const startedAt = clock.currentTimeMillisUnsafe()
  const id = observer === undefined ? "" : makeId(fiber.getRef(Random.Random))
  const around = fiber.getRef(CurrentAccount)
  const { budget: limits, name } = definition
  const account =
    around === undefined && limits === undefined
      ? undefined
      : Accounts.open({ name, parent: around, isRun: true, limits, startedAt })
  const run: Run = {
    definition,
    state: initial(),
    toolbox: bind(
      definition.toolkit,
      context,
      () => ({
        id: id || undefined,
        rootId: parent?.rootId ?? (id || undefined),
        observer: local,
        flush: () => flush(run),
        childEnded: (childRunId, childAgent, usage) => {
          tick(run)
          emit(run, { ...run.envelope, _tag: "ChildRunEnded", childRunId, childAgent, usage })
        }
      }),
      account
    ),
    parent,
    id,
    envelope:
      observer === undefined
        ? unseen
        : {
            runId: id,
            parentRunId: parent?.id,
            rootRunId: parent?.rootId,
            agent: definition.name,
            offset: 0,
            timestamp: 0
          },
    observer,
    // A fiber makes its dispatcher when it is asked for.
    dispatcher: observer === undefined ? undefined : fiber.currentDispatcher,
    clock,
    prices: fiber.getRef(Prices.Prices),
    payer: account === undefined ? undefined : Charge.payer(account, fiber),
    startedAt,
    now: startedAt,
    offset: 0,
    buffer: undefined,
    calling: false,
    calledAt: 0,
    callIds: undefined
  }
  return run
}

/** Ends the run when the time of a budget is over. */
const withinTime = (
  run: Run,
  account: Account,
  looping: Effect.Effect<RunResult, unknown>
): Effect.Effect<RunResult, unknown> => {
  const deadline = Accounts.deadline(account)
  const millis = deadline - run.startedAt
  // A run whose time is over already says so itself.
  if (millis === Infinity || millis <= 0) return looping
  return Effect.timeoutOrElse(looping, {
    duration: millis,
    orElse: () => {
      if (run.calling) emit(run, { ...run.envelope, _tag: "ModelCallInterrupted", turn: run.state.turns + 1 })
      // Timers may be early by a fraction of a millisecond.
      return Effect.fail(failed(run, Accounts.refusalOfRun(account, Math.max(tick(run), deadline))!))
    }
  })
}

// What an event says of its run is for observers: the machine does not look.
const unseen = { offset: 0, timestamp: 0 } as Run["envelope"]

function* loop(
  run: Run,
  llm: Llm["Service"],
  history: History,
  estimator: TokenEstimator | undefined
): Effect.fn.Return<RunResult, unknown> {
  const { definition, state } = run
  const { policy } = definition
  emit(run, { ...run.envelope, _tag: "RunStarted", history })
  const invalid = validate(history)
  if (invalid !== undefined) return yield* Effect.fail(failed(run, new InvalidInput({ issue: invalid })))
  const refused = run.payer === undefined ? undefined : Accounts.refusalOfRun(run.payer.account, run.now)
  if (refused !== undefined) return yield* Effect.fail(failed(run, refused))
  let { instructions } = definition
  if (typeof instructions !== "string") {
    const prepared = yield* Effect.exit(asChild(run, instructions(lastPrompt(history))))
    if (Exit.isFailure(prepared)) return yield* raise(run, prepared.cause)
    instructions = prepared.value
  }
  const sent = estimator === undefined ? undefined : Sents.begin(definition.contextWindow!, estimator, history)

  while (true) {
    const elapsedMillis = policy.stopWhen.usesClock ? run.clock.currentTimeMillisUnsafe() - run.startedAt : 0
    const command = decide(policy, state, elapsedMillis)
    switch (command._tag) {
      case "CallModel": {
        const congested = congestion(run)
        if (congested !== undefined) yield* congested
        let settings = unchanged
        if (definition.prepareTurn !== undefined) {
          const prepared = yield* Effect.exit(asChild(run, definition.prepareTurn(viewOf(state))))
          if (Exit.isFailure(prepared)) return yield* raise(run, prepared.cause)
          settings = prepared.value
          run.toolbox.offered = offered(definition, settings)
        }
        announceTurn(run)
        if (sent === undefined) {
          const calling = requestModel(run, llm, instructions, settings, state.history)
          modelAnswered(run, yield* Effect.catchCause(calling, (cause) => modelFailed(run, cause)))
        } else {
          modelAnswered(run, yield* callWithin(run, sent, llm, instructions, settings))
        }
        break
      }
      case "AnswerCalls": {
        const raised = yield* answerCalls(run, command.calls)
        if (raised !== undefined) return yield* raise(run, Cause.fail(raised.error))
        endTurn(run)
        break
      }
      case "DecodeOutput": {
        const decoded = yield* Effect.exit(definition.output!.decode(state.text))
        if (Exit.isSuccess(decoded)) return complete(run, decoded.value)
        const error = Cause.findError(decoded.cause)
        if (Result.isFailure(error)) return yield* Effect.failCause(error.failure)
        const reason = rejectOutput(run, error.success.message)
        if (reason !== undefined) return yield* Effect.fail(failed(run, reason))
        break
      }
      case "Complete":
        return complete(run, state.text)
      case "Fail":
        return yield* Effect.fail(failed(run, command.reason))
    }
  }
}

/** How often a turn calls the model again with less after the provider has refused the conversation as too long. */
const maxOverflows = 3

/** The model call of an agent with a context window, which may have to make what is sent shorter before, and again. */
function* callWithin(
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

/** A run that instructions or the preparation of a turn start is a child of this one, as one that a tool starts. */
const asChild = <A>(run: Run, effect: Effect.Effect<A, unknown>): Effect.Effect<A, unknown> =>
  Exit.isExit(effect)
    ? effect
    : contained(Effect.provideService(onAccount(run, effect), CurrentRun, run.toolbox.currentRun!()), Duration.infinity)

const onAccount = <A>(run: Run, effect: Effect.Effect<A, unknown>): Effect.Effect<A, unknown> =>
  run.payer === undefined ? effect : Effect.provideService(effect, CurrentAccount, run.payer.account)

/** Why a conversation cannot be answered, or `undefined`. */
const validate = (history: History): string | undefined => {
  const last = Histories.last(history)
  if (last === undefined) return "there is no prompt and no history"
  if (last.role === "user" && last.content.length === 0) return "the prompt is empty"
  return last.role === "assistant" ? "there is no prompt, and the history ends with an answer" : undefined
}

const lastPrompt = (history: History): string => {
  const last = Histories.last(history)
  return last?.role === "user" ? Histories.userText(last.content) : ""
}

/** What to wait for before the next turn when an observer cannot keep up. */
const congestion = (run: Run): Effect.Effect<void> | undefined => {
  if (run.observer?.mayCongest() !== true) return undefined
  flush(run)
  return run.observer.congestion()
}

type ModelFailure = Cause.Cause<AiError.AiError | BudgetExceeded>

const modelFailed = (run: Run, cause: ModelFailure): Effect.Effect<never, unknown> => {
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

/** Sends an invalid answer back to the model; returns the reason to give up when there have been enough. */
const rejectOutput = (run: Run, issue: string): OutputInvalid | undefined => {
  const { definition, state } = run
  const attempts = state.rejections + 1
  // A run that reached its goal calls the model no more, not even for a correction.
  const last = state.phase !== "answered" || attempts > definition.policy.outputRetries
  if (last) return new OutputInvalid({ text: state.text, issue, attempts })
  const feedback =
    `Your answer does not have the required format: ${issue}\n`
    + "Answer again with JSON in the required format, and nothing else."
  tick(run)
  emit(run, { ...run.envelope, _tag: "OutputRejected", turn: state.turns, issue, feedback })
  endTurn(run)
  return undefined
}

const endTurn = (run: Run): void => {
  if (run.observer !== undefined) emit(run, { ...run.envelope, _tag: "TurnCompleted", turn: run.state.turns })
}

const complete = (run: Run, output: unknown): RunResult => {
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
const failed = (run: Run, reason: AgentErrorReason): AgentError => {
  endFailed(run, reason._tag, reason.message)
  return new AgentError({ agent: run.definition.name, reason, partial: partial(run.state) })
}

/** Ends the run with a failure that is not its own: that of a tool, or of the instructions. */
const raise = (run: Run, cause: Cause.Cause<unknown>): Effect.Effect<never, unknown> => {
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
const cutShort = (run: Run, exit: Exit.Exit<unknown, unknown>): undefined => {
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
