/**
 * The accounts behind budgets: a tree, in which whoever spends draws from an account and from all those around it.
 * Everything is synchronous, so that nothing can come between looking at what is left and taking it.
 */
import * as Context from "effect/Context"
import { BudgetExceeded } from "../AgentError.ts"
import type { Price, PriceTable } from "../Prices.ts"

/** What can be drawn. */
export interface Amounts {
  readonly tokens: number
  readonly costNanoUsd: number
  readonly modelCalls: number
  readonly toolCalls: number
}

type Mutable = { -readonly [K in keyof Amounts]: Amounts[K] }

export type Dimension = keyof Amounts

export const dimensions: ReadonlyArray<Dimension> = ["tokens", "costNanoUsd", "modelCalls", "toolCalls"]

export const nothing: Amounts = { tokens: 0, costNanoUsd: 0, modelCalls: 0, toolCalls: 0 }

/** `Infinity` for what is not limited. */
export interface Limits extends Amounts {
  /** Runs in each other. */
  readonly depth: number
  readonly millis: number
  /** The part of the limits that only the last model call of a run may take. */
  readonly grace: Amounts
}

export interface Account {
  readonly name: string
  readonly parent: Account | undefined
  /** It is that of a run, and not one around runs. */
  readonly isRun: boolean
  /** `undefined` for a run without a budget of its own. */
  readonly limits: Limits | undefined
  readonly startedAt: number
  readonly spent: Mutable
  readonly reserved: Mutable
  /** What runs of each agent have spent themselves. */
  readonly byAgent: Map<string, Mutable>
  /** Who waits for reservations to be settled, the first first. */
  readonly waiting: Set<Waiter>
  /** What answers have cost at most whose request did not tell the price. */
  dearest: Price | undefined
}

/** Somebody who waits for what others have reserved of an account. */
export interface Waiter {
  readonly account: Account
  /** May try again. */
  isCalled: boolean
  /** Called with that, once it has gone to sleep. */
  resume: (() => void) | undefined
}

export const CurrentAccount = Context.Reference<Account | undefined>("effect-agent-runtime/CurrentAccount", {
  defaultValue: () => undefined
})

export const open = (options: Pick<Account, "name" | "parent" | "isRun" | "limits" | "startedAt">): Account => ({
  ...options,
  spent: { ...nothing },
  reserved: { ...nothing },
  byAgent: new Map(),
  waiting: new Set(),
  dearest: undefined
})

/** The account and those around it, the innermost first. */
export function* chain(account: Account | undefined): Generator<Account> {
  for (let link = account; link !== undefined; link = link.parent) yield link
}

export const path = (account: Account): ReadonlyArray<string> =>
  Array.from(chain(account), ({ name }) => name).toReversed()

/** Whether the account, or one around it, limits something. */
export const isLimited = (account: Account, dimension: Dimension): boolean => {
  for (const { limits } of chain(account)) if (limits !== undefined && limits[dimension] !== Infinity) return true
  return false
}

/** What is left for ordinary calls; negative when a provider has reported more than was reserved. */
export const left = (account: Account, dimension: Dimension): number => {
  let least = Infinity
  for (const link of chain(account)) least = Math.min(least, room(link, dimension, false))
  return least
}

const room = ({ limits, reserved, spent }: Account, dimension: Dimension, grace: boolean): number =>
  limits === undefined
    ? Infinity
    : limits[dimension] - (grace ? 0 : limits.grace[dimension]) - spent[dimension] - reserved[dimension]

/** What a model call may take: at least, and at most. */
export interface Demand {
  readonly inputTokens: number
  /** What it writes at most, if there is as much. */
  readonly outputTokens: number
  /** The least that makes sense to let it write. */
  readonly leastOutput: number
  /** `undefined` when nothing is known. */
  readonly price: Price | undefined
}

const amountsOf = ({ inputTokens, price }: Demand, outputTokens: number): Amounts => ({
  tokens: inputTokens + outputTokens,
  costNanoUsd:
    price === undefined ? 0 : Math.ceil((inputTokens * dearestInput(price) + outputTokens * price.output) * 1000),
  modelCalls: 1,
  toolCalls: 0
})

const dearestInput = ({ cachedInput = 0, cacheWrite = 0, input }: Price): number =>
  Math.max(input, cachedInput, cacheWrite)

/** What a model call has reserved. */
export interface Grant {
  readonly _tag: "Grant"
  readonly outputTokens: number
  readonly amounts: Amounts
}

/** Others in flight have reserved what the call needs; some of it comes back when they end. */
export interface Wait {
  readonly _tag: "Wait"
  readonly account: Account
}

/**
 * Reserves what a model call may take. Refused is only what does not fit beside what has been spent: what others have
 * merely reserved is waited for, so that no refusal depends on who comes first.
 */
export const reserve = (account: Account, demand: Demand, grace: boolean): Grant | Wait | BudgetExceeded => {
  const least = amountsOf(demand, demand.leastOutput)
  const most = amountsOf(demand, demand.outputTokens)
  let blocked: Account | undefined
  let outputTokens = demand.outputTokens
  let runs = 0
  for (const link of chain(account)) {
    if (link.isRun) runs++
    // What is kept back is for the run whose account it is, or which it is around, and not for sub-agents.
    const mayTakeAll = grace && runs === 1
    for (const dimension of dimensions) {
      const free = room(link, dimension, mayTakeAll)
      if (most[dimension] <= free) continue
      const held = link.reserved[dimension]
      if (least[dimension] > free + held) return refusal(link, dimension, least[dimension])
      if (held > 0) blocked ??= link
      else outputTokens = Math.min(outputTokens, outputWithin(demand, dimension, free))
    }
  }
  if (blocked !== undefined) return { _tag: "Wait", account: blocked }
  const amounts = amountsOf(demand, outputTokens)
  hold(account, amounts)
  return { _tag: "Grant", outputTokens, amounts }
}

/** The most that can be written for what is left. */
const outputWithin = (demand: Demand, dimension: Dimension, free: number): number => {
  const { inputTokens, leastOutput, price } = demand
  const exact =
    dimension === "tokens" || price === undefined
      ? free - inputTokens
      : (free / 1000 - inputTokens * dearestInput(price)) / price.output
  let tokens = Math.floor(exact)
  // Prices are fractions, and the sum of fractions may be a little more.
  while (tokens > leastOutput && amountsOf(demand, tokens)[dimension] > free) tokens--
  return Math.max(leastOutput, tokens)
}

const toolCall: Amounts = { ...nothing, toolCalls: 1 }

/** Reserves a tool call. It waits for none: a sub-agent would wait for the very call that it is. */
export const reserveToolCall = (account: Account): Grant | BudgetExceeded => {
  for (const link of chain(account)) {
    if (room(link, "toolCalls", false) < 1) return refusal(link, "toolCalls", 1)
  }
  hold(account, toolCall)
  return { _tag: "Grant", outputTokens: 0, amounts: toolCall }
}

const hold = (account: Account, amounts: Amounts): void => {
  for (const { reserved } of chain(account)) add(reserved, amounts, 1)
}

const add = (self: Mutable, amounts: Amounts, sign: 1 | -1): void => {
  for (const dimension of dimensions) self[dimension] += sign * amounts[dimension]
}

/** Gives a reservation back and books what was spent, be it more; then who waits first may try again. */
export const settle = (account: Account, { amounts }: Grant, spent: Amounts): void => {
  for (const link of chain(account)) {
    add(link.reserved, amounts, -1)
    add(link.spent, spent, 1)
    if (link.limits !== undefined && spent !== nothing) book(link, account.name, spent)
  }
  for (const link of chain(account)) callFirst(link)
}

/** Gets into line, synchronously with the answer that says to wait, so that no settlement is missed. */
export const join = (account: Account): Waiter => {
  const waiter: Waiter = { account, isCalled: false, resume: undefined }
  account.waiting.add(waiter)
  return waiter
}

/** Leaves the line. Who is next may try: calling one after the other costs less than calling all each time. */
export const leave = (waiter: Waiter): void => {
  waiter.account.waiting.delete(waiter)
  callFirst(waiter.account)
}

const callFirst = ({ waiting }: Account): void => {
  const [first] = waiting
  if (first === undefined) return
  first.isCalled = true
  first.resume?.()
}

/** Names may be made up for each run: more than so many are not told apart. */
const maxAgents = 1000
const others = "…"

const book = ({ byAgent }: Account, agent: string, spent: Amounts): void => {
  const name = byAgent.has(agent) || byAgent.size < maxAgents ? agent : others
  let sum = byAgent.get(name)
  if (sum === undefined) byAgent.set(name, (sum = { ...nothing }))
  add(sum, spent, 1)
}

/** Remembers the price of an answer whose request did not tell it. */
export const learnPrice = (account: Account, prices: PriceTable, model: string | undefined): void => {
  const price = model === undefined ? undefined : prices.priceOf(model)
  if (price === undefined) return
  const root = rootOf(account)
  root.dearest = {
    input: Math.max(dearestInput(price), root.dearest?.input ?? 0),
    output: Math.max(price.output, root.dearest?.output ?? 0)
  }
}

export const rootOf = (account: Account): Account => (account.parent === undefined ? account : rootOf(account.parent))

/** Why a run may not begin under its account, or not go on. */
export const refusalOfRun = (account: Account, now: number): BudgetExceeded | undefined => {
  let runs = 0
  for (const link of chain(account)) {
    if (link.isRun) runs++
    const { limits } = link
    if (limits === undefined) continue
    if (runs > limits.depth) {
      return exceeded(link, { budget: "depth", limit: limits.depth, spent: limits.depth, requested: runs })
    }
    const elapsed = now - link.startedAt
    if (elapsed >= limits.millis) {
      return exceeded(link, { budget: "duration", limit: limits.millis, spent: elapsed, requested: 0 })
    }
  }
  return undefined
}

/** When the time of the account, or of one around it, is over. */
export const deadline = (account: Account): number => {
  let first = Infinity
  for (const { limits, startedAt } of chain(account)) first = Math.min(first, startedAt + (limits?.millis ?? Infinity))
  return first
}

const refusal = (account: Account, dimension: Dimension, requested: number): BudgetExceeded => {
  const { byAgent, limits, reserved, spent } = account
  const free = room(account, dimension, true)
  // Nobody asks for billionths of a dollar.
  const unit = dimension === "costNanoUsd" ? 1_000_000_000 : 1
  return exceeded(account, {
    budget: dimension === "costNanoUsd" ? "costUsd" : dimension,
    // Only what is limited is refused.
    limit: limits![dimension] / unit,
    spent: spent[dimension] / unit,
    reserved: (reserved[dimension] + Math.max(0, Math.min(limits!.grace[dimension], free))) / unit,
    requested: requested / unit,
    breakdown: Array.from(byAgent, ([agent, sum]) => ({ agent, spent: sum[dimension] / unit }))
      .filter((entry) => entry.spent > 0)
      .toSorted((a, b) => b.spent - a.spent)
  })
}

const exceeded = (
  account: Account,
  fields: Pick<BudgetExceeded, "budget" | "limit" | "spent" | "requested">
    & Partial<Pick<BudgetExceeded, "reserved" | "breakdown">>
): BudgetExceeded => new BudgetExceeded({ account: path(account), reserved: 0, breakdown: [], ...fields })
