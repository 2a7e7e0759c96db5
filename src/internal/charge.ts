/**
 * Model and tool calls that draw from an account: reserved before, settled after, whatever becomes of them.
 */
import type * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type { BudgetExceeded } from "../AgentError.ts"
import type { History } from "../History.ts"
import * as Histories from "../History.ts"
import type { LlmRequest, LlmResponse } from "../Llm.ts"
import type { PriceTable } from "../Prices.ts"
import * as Prices from "../Prices.ts"
import { preamble, TokenEstimator } from "../TokenEstimator.ts"
import type { Account, Waiter } from "./account.ts"
import * as Accounts from "./account.ts"

/** Who pays for model calls. Mutable, owned by one run or one summary. */
export interface Payer {
  readonly account: Account
  readonly estimator: TokenEstimator
  readonly prices: PriceTable
  /** The history that was counted last, so that only what is new in it is counted. */
  line: object | undefined
  seen: number
  tokens: number
  /** By how much providers have counted more than the estimator, at most; 1 if they have not. */
  factor: number
  /** Why only one more call was allowed, which has been made. */
  refusal: BudgetExceeded | undefined
}

export const payer = (account: Account, fiber: Fiber.Fiber<unknown, unknown>): Payer => ({
  account,
  estimator: fiber.getRef(TokenEstimator),
  prices: fiber.getRef(Prices.Prices),
  line: undefined,
  seen: 0,
  tokens: 0,
  factor: 1,
  refusal: undefined
})

/** What a call may write whose agent sets no `maxTokens`: as much as the smallest of today's large models can. */
const defaultOutput = 8192
/** The least that OpenAI's Responses API can be asked for. */
const leastOutput = 16

/**
 * Makes a model call, within what is left, as soon as others have settled enough for it. `grace` lets it take what is
 * kept back.
 */
export const modelCall = (
  self: Payer,
  request: LlmRequest,
  grace: boolean,
  call: (request: LlmRequest) => Effect.Effect<LlmResponse, AiError.AiError>
): Effect.Effect<LlmResponse, AiError.AiError | BudgetExceeded> =>
  Effect.uninterruptibleMask((restore) => {
    const { account, prices } = self
    const limitsTokens = Accounts.isLimited(account, "tokens")
    const limitsCost = Accounts.isLimited(account, "costNanoUsd")
    const estimate = limitsTokens || limitsCost ? estimateOf(self, request) : 0
    const { maxTokens = defaultOutput, model } = request.sampling
    const attempt = (waiter?: Waiter): Effect.Effect<LlmResponse, AiError.AiError | BudgetExceeded> => {
      const known = model === undefined ? undefined : prices.priceOf(model)
      const price = known ?? Accounts.rootOf(account).dearest
      const isBounded = limitsTokens || (limitsCost && price !== undefined)
      const demand = {
        inputTokens: Math.ceil(estimate * self.factor),
        outputTokens: isBounded ? maxTokens : 0,
        leastOutput: isBounded ? Math.min(leastOutput, maxTokens) : 0,
        price
      }
      const grant = Accounts.reserve(account, demand, grace)
      if (waiter !== undefined && (grant._tag !== "Wait" || grant.account !== waiter.account)) Accounts.leave(waiter)
      if (grant._tag === "BudgetExceeded") return Effect.fail(grant)
      if (grant._tag === "Wait") {
        const waiting = grant.account === waiter?.account ? waiter : Accounts.join(grant.account)
        const called = Effect.onInterrupt(restore(turnOf(waiting)), () => Effect.sync(() => Accounts.leave(waiting)))
        return Effect.flatMap(called, () => attempt(waiting))
      }
      const { outputTokens } = grant
      const bounded = isBounded ? { ...request, sampling: { ...request.sampling, maxTokens: outputTokens } } : request
      // What the model's own layer does in a call, such as running agents, is in what it reports.
      const calling = Effect.provideService(
        Effect.suspend(() => call(bounded)),
        Accounts.CurrentAccount,
        undefined
      )
      return Effect.onExitPrimitive(restore(calling), (exit) => {
        if (Exit.isSuccess(exit)) {
          const { inputTokens } = exit.value.tokens
          if (known === undefined) Accounts.learnPrice(account, prices, exit.value.model)
          if (estimate > 0) self.factor = Math.max(self.factor, counted(inputTokens) / estimate)
        }
        Accounts.settle(account, grant, Exit.isSuccess(exit) ? spentBy(prices, exit.value) : Accounts.nothing)
        return undefined
      })
    }
    return attempt()
  })

/** Waits until somebody in line may try again. */
const turnOf = (waiter: Waiter): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    if (waiter.isCalled) resume(Effect.void)
    else waiter.resume = () => resume(Effect.void)
  }).pipe(
    Effect.map(() => {
      waiter.isCalled = false
      waiter.resume = undefined
    })
  )

const spentBy = (prices: PriceTable, { model, tokens }: LlmResponse): Accounts.Amounts => ({
  tokens: counted(tokens.inputTokens) + counted(tokens.outputTokens),
  costNanoUsd: counted(Prices.costNanoUsd(prices, model, tokens)),
  modelCalls: 1,
  toolCalls: 0
})

/** A provider that reports nonsense must not fill an account up. */
const counted = (n: number): number => (Number.isFinite(n) && n > 0 ? n : 0)

const estimateOf = (self: Payer, { history, instructions, tools }: LlmRequest): number => {
  const line = Histories.lineOf(history)
  const isLater = line === self.line && history.length >= self.seen
  const from = isLater ? self.seen : 0
  self.tokens = (isLater ? self.tokens : 0) + tokensFrom(self.estimator, history, from)
  self.line = line
  self.seen = history.length
  return preamble(self.estimator, instructions, tools) + self.tokens
}

const tokensFrom = (estimator: TokenEstimator, history: History, from: number): number => {
  let tokens = 0
  for (const unit of Histories.units(history, from)) for (const message of unit) tokens += estimator.message(message!)
  return tokens
}

/** Runs a tool for one call of the account. Succeeds with the tool's exit: one that is interrupted does not count. */
export const toolCall = <A, E>(
  account: Account,
  tool: () => Effect.Effect<A, E>
): Effect.Effect<Exit.Exit<A, E>, BudgetExceeded> =>
  Effect.uninterruptibleMask((restore) => {
    const grant = Accounts.reserveToolCall(account)
    if (grant._tag === "BudgetExceeded") return Effect.fail(grant)
    return Effect.onExitPrimitive(restore(Effect.exit(Effect.suspend(tool))), (exit) => {
      Accounts.settle(account, grant, Exit.isSuccess(exit) ? grant.amounts : Accounts.nothing)
      return undefined
    })
  })
