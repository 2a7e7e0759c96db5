/**
 * The agent loop: asks the machine for the next command, carries it out, tells the machine what happened.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import type { PartialRun } from "../AgentError.ts"
import { InvalidInput, OutputInvalid } from "../AgentError.ts"
import { EventHub } from "../EventHub.ts"
import type { History } from "../History.ts"
import * as Histories from "../History.ts"
import { Llm } from "../Llm.ts"
import * as Prices from "../Prices.ts"
import { TokenEstimator } from "../TokenEstimator.ts"
import { bind } from "../Toolbox.ts"
import type { Account } from "./account.ts"
import * as Accounts from "./account.ts"
import { CurrentAccount } from "./account.ts"
import { asChild } from "./asChild.ts"
import * as Charge from "./charge.ts"
import type { Observer } from "./currentRun.ts"
import { combine, CurrentRun, makeId } from "./currentRun.ts"
import type { RunResult } from "./ending.ts"
import { complete, cutShort, endTurn, failed, raise } from "./ending.ts"
import { decide, initial, partial } from "./machine.ts"
import { announceTurn, modelAnswered, offered, requestModel, unchanged, viewOf } from "./modelCall.ts"
import type { Definition, Run } from "./run.ts"
import { emit, flush, tick } from "./run.ts"
import * as Sents from "./sentHistory.ts"
import { answerCalls } from "./toolBatch.ts"
import { callWithin, modelFailed } from "./windowedCall.ts"

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
