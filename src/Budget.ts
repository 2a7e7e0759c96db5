/**
 * Hard limits of what runs spend: tokens, money, model calls, tool calls, time, and sub-agents in each other.
 *
 * A budget is an account that the fiber carries. All runs in it draw from it, with their sub-agents and parallel tools, and
 * budgets within budgets are parts of them. What a call may take is reserved before it and settled after it, so that it
 * does not matter how many are in flight.
 *
 * **Example** (A budget for several runs)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Agent from "effect-agent-runtime/Agent"
 * import * as Budget from "effect-agent-runtime/Budget"
 * import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
 *
 * const translator = Agent.make("translator", { maxTokens: 500 })
 *
 * const program = Effect.forEach(["fox", "hare", "owl"], (word) => Effect.result(Agent.run(translator, word))).pipe(
 *   Budget.limit({ tokens: 100_000, modelCalls: 2 }),
 *   Effect.provide(ScriptedLlm.layer(["Fuchs", "Hase", "Eule"]))
 * )
 * Effect.runSync(program).map(({ _tag }) => _tag) // => ["Success", "Success", "Failure"]
 * ```
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import { InvalidAgent } from "./AgentError.ts"
import type { Account, Amounts, Dimension, Limits as Compiled } from "./internal/account.ts"
import * as Accounts from "./internal/account.ts"
import { CurrentAccount } from "./internal/account.ts"

/**
 * What may be spent. Whatever is absent is not limited.
 *
 * @category models
 * @since 0.1.0
 */
export interface Limits {
  /** Input plus output tokens. */
  readonly tokens?: number | undefined
  /** US dollars, by the `Prices` in the context. */
  readonly costUsd?: number | undefined
  readonly modelCalls?: number | undefined
  /** Calls of tools that are run. 0 for none. */
  readonly toolCalls?: number | undefined
  /** From the beginning of the effect, or of the agent's run. */
  readonly duration?: Duration.Input | undefined
  /** Runs in each other: 1 for runs without sub-agents. */
  readonly depth?: number | undefined
  /**
   * What is kept back so that a run can give a final answer when tokens, money or model calls are used up: tokens and
   * dollars of one model call, as far as these are limited. A limit of model calls keeps one back. Default: nothing.
   */
  readonly grace?: { readonly tokens?: number | undefined; readonly costUsd?: number | undefined } | undefined
}

/**
 * What may be spent in an effect.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options extends Limits {
  /** What errors and views call the budget; that of an agent has the agent's name. Default `"budget"`. */
  readonly name?: string | undefined
}

/** @internal */
export const compile = (limits: Limits): Compiled => {
  const { costUsd, depth, duration, grace, modelCalls, tokens, toolCalls } = limits
  const least = { tokens, costUsd, modelCalls, depth }
  for (const [field, limit] of Object.entries(least))
    require(field, limit === undefined || limit > 0, "must be positive")
  require("toolCalls", toolCalls === undefined || toolCalls >= 0, "must not be negative")
  const millis = duration === undefined ? Infinity : Duration.toMillis(Duration.fromInputUnsafe(duration))
  require("duration", millis > 0, "must be positive")
  const kept = grace === undefined ? Accounts.nothing : keptBack(limits, grace)
  return {
    tokens: tokens ?? Infinity,
    costNanoUsd: costUsd === undefined ? Infinity : Math.round(costUsd * nano),
    modelCalls: modelCalls ?? Infinity,
    toolCalls: toolCalls ?? Infinity,
    depth: depth ?? Infinity,
    millis,
    grace: kept
  }
}

const nano = 1_000_000_000

const keptBack = (limits: Limits, grace: NonNullable<Limits["grace"]>): Amounts => {
  for (const field of ["tokens", "costUsd"] as const) {
    const [limit, kept] = [limits[field], grace[field]]
    if (limit === undefined) continue
    require("grace", kept !== undefined && kept > 0 && kept < limit, `needs ${field}, less than the limit`)
  }
  require("grace", (limits.modelCalls ?? 2) >= 2, "needs a limit of at least 2 model calls")
  return {
    tokens: limits.tokens === undefined ? 0 : grace.tokens!,
    costNanoUsd: limits.costUsd === undefined ? 0 : Math.round(grace.costUsd! * nano),
    modelCalls: limits.modelCalls === undefined ? 0 : 1,
    toolCalls: 0
  }
}

const require = (field: string, holds: boolean, issue: string): void => {
  if (!holds) throw new InvalidAgent({ field: `budget.${field}`, issue })
}

/**
 * Limits what the runs in an effect spend, all together.
 *
 * **Details**
 *
 * - *Tokens, money, model calls.* Before a model call its input, by the `TokenEstimator`, and its `maxTokens` are reserved,
 *   8,192 if the agent sets none. When less is left, `maxTokens` is lowered to it; when less is left than the input and 16
 *   tokens, the run fails with `BudgetExceeded`. What others have only reserved is waited for, so a run is never refused
 *   for what is left in the end. What the provider reports is booked, and the rest given back; a call that fails or is
 *   interrupted reports nothing.
 * - *Tool calls.* A call beyond the limit is not run, and the model is told so.
 * - *Time.* When it is over, model calls and tools of the runs are interrupted, and the runs fail.
 * - *Depth.* A sub-agent that is too deep fails, which the model of its parent is told.
 * - *Grace.* A run whose model call is refused makes a last one with what was kept back, told to answer without tools. Each
 *   run gets one, as long as it lasts; sub-agents get none of their parent's.
 *
 * A failed run has the run as far as it got, and the reason says which account refused and where it went. Only runs are
 * limited: whatever else the effect does goes on. Each time the effect is run it has the whole budget.
 *
 * **Gotchas**
 *
 * What is spent stays within the limits as long as
 *
 * - the estimate of the input is not too low: the default may be by a third. By how much the provider has counted more is
 *   made up for from a run's second call on. A tokenizer (`TokenEstimator.layer`) is exact;
 * - the provider keeps to `maxTokens`. Agents whose model thinks should set one that has room for it;
 * - for money, the price is known before the call: the agent names its `model`. Otherwise calls are reserved at the dearest
 *   price that has been answered for in the budget, and those before the first answer at none;
 * - failed and interrupted calls are free, as are attempts that a middleware makes again.
 *
 * What is spent beyond a reservation is booked all the same, and nothing further is allowed.
 *
 * Throws `InvalidAgent` when a limit is unusable.
 *
 * @category combinators
 * @since 0.1.0
 */
export const limit: {
  (options: Options): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, options: Options): Effect.Effect<A, E, R>
} = dual(2, <A, E, R>(self: Effect.Effect<A, E, R>, options: Options): Effect.Effect<A, E, R> => {
  const limits = compile(options)
  return Effect.withFiber((fiber) => {
    const account = Accounts.open({
      name: options.name ?? "budget",
      parent: fiber.getRef(CurrentAccount),
      isRun: false,
      limits,
      startedAt: fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
    })
    return Effect.provideService(self, CurrentAccount, account)
  })
})

/**
 * Tokens, US dollars and calls.
 *
 * @category models
 * @since 0.1.0
 */
export interface Balance {
  readonly tokens: number
  readonly costUsd: number
  readonly modelCalls: number
  readonly toolCalls: number
}

/**
 * What is in an account.
 *
 * @category models
 * @since 0.1.0
 */
export interface View {
  /** The names of the account and those around it, the outermost first. */
  readonly account: ReadonlyArray<string>
  readonly spent: Balance
  /** What calls in flight may spend. */
  readonly reserved: Balance
  /**
   * What may still be spent, by all limits around and without what is kept back; `Infinity` for what is not limited, and
   * negative when a provider has reported more than was reserved.
   */
  readonly left: Balance
  /** What runs of each agent have spent, their sub-agents not included. Adds up to `spent`. */
  readonly byAgent: ReadonlyArray<Balance & { readonly agent: string }>
}

/**
 * The nearest budget around: for tools, `prepareTurn`, and whoever wants to know in the end what was spent; `undefined`
 * where there is none.
 *
 * **Example** (What a run has spent)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Agent from "effect-agent-runtime/Agent"
 * import * as Budget from "effect-agent-runtime/Budget"
 * import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
 *
 * const program = Agent.run(Agent.make("helper"), "Hello").pipe(
 *   Effect.andThen(Budget.current),
 *   Budget.limit({ tokens: 10_000 }),
 *   Effect.provide(ScriptedLlm.layer(["Hi there"]))
 * )
 * Effect.runSync(program)?.left.tokens // => 9985
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const current: Effect.Effect<View | undefined> = Effect.withFiber((fiber) => {
  for (const account of Accounts.chain(fiber.getRef(CurrentAccount))) {
    if (account.limits !== undefined) return Effect.succeed(view(account))
  }
  return Effect.succeed(undefined)
})

const view = (account: Account): View => ({
  account: Accounts.path(account),
  spent: balance(account.spent),
  reserved: balance(account.reserved),
  left: balance(left(account)),
  byAgent: Array.from(account.byAgent, ([agent, spent]) => ({ agent, ...balance(spent) }))
})

const left = (account: Account): Amounts => {
  const of = (dimension: Dimension) => Accounts.left(account, dimension)
  return {
    tokens: of("tokens"),
    costNanoUsd: of("costNanoUsd"),
    modelCalls: of("modelCalls"),
    toolCalls: of("toolCalls")
  }
}

const balance = ({ costNanoUsd, modelCalls, tokens, toolCalls }: Amounts): Balance => ({
  tokens,
  costUsd: costNanoUsd / nano,
  modelCalls,
  toolCalls
})
