/**
 * What of a conversation is sent to the model. A window looks at the conversation before each model call and makes it
 * shorter when it is too long; windows combine with {@link compose}.
 *
 * A run keeps its whole history: state, result and events have all of it, only requests are shorter. Whatever a window
 * leaves out, calls keep their results, the order stays, and three things are always sent: what the run was asked, the
 * newest user message, and the newest message with what belongs to it. Instructions are apart from the conversation,
 * so no window can lose them, but they count.
 *
 * A run that goes on with the history of another begins with what that has sent, so a long conversation is neither cut
 * anew nor summarized again by each of its runs. A history that was stored in between has lost that; store what
 * {@link prune} gives if it matters.
 *
 * **Example** (An agent that clears old tool results first, then leaves the oldest messages out)
 *
 * ```ts
 * import * as Agent from "effect-agent-runtime/Agent"
 * import * as ContextWindow from "effect-agent-runtime/ContextWindow"
 *
 * // 18,000 tokens of input leave 6,000 for the answer.
 * const budget = { total: 24_000, ratio: 3 }
 *
 * const agent = Agent.make("researcher", {
 *   contextWindow: ContextWindow.compose(ContextWindow.dropToolResults(budget), ContextWindow.tokenBudget(budget))
 * })
 * ```
 *
 * @since 0.1.0
 */
import type * as Prompt from "effect/ai/Prompt"
import type * as Tool from "effect/ai/Tool"
import * as Effect from "effect/Effect"
import type { BudgetExceeded, ModelFailed } from "./AgentError.ts"
import { ContextOverflow, InvalidAgent } from "./AgentError.ts"
import type { History, Unit } from "./History.ts"
import * as Histories from "./History.ts"
import * as Summaries from "./internal/summary.ts"
import type { Llm } from "./Llm.ts"
import * as TokenEstimator from "./TokenEstimator.ts"
import type { Usage } from "./Usage.ts"
import * as Usages from "./Usage.ts"

/**
 * A window. Besides the failures of any model call, making a conversation shorter can fail with `E`, and needs `R`.
 *
 * **Details**
 *
 * Those of this module are made by its constructors. Your own is an object like these: `reduce` is called when `isOver`
 * says so, and gives back as much as it can; what is still over afterwards fails with `ContextOverflow`.
 *
 * @category models
 * @since 0.1.0
 */
export interface ContextWindow<out E = never, out R = never> {
  /** What events call it. */
  readonly name: string
  /** The most input tokens it lets through; `Infinity` if it does not count tokens. */
  readonly maxTokens: number
  /** Whether a conversation is too long. Asked before each model call, so it has to be cheap. */
  readonly isOver: (size: Size) => boolean
  /** Makes a conversation shorter, as far as it can: well below the limit, so that it is not asked again at once. */
  readonly reduce: (
    conversation: Conversation
  ) => Effect.Effect<Reduced, E | ModelFailed | ContextOverflow | BudgetExceeded, R>
}

/**
 * Any window.
 *
 * @category utility types
 * @since 0.1.0
 */
export type Any = ContextWindow<unknown, unknown>

/**
 * How a window can fail besides as any model call can.
 *
 * @category utility types
 * @since 0.1.0
 */
export type ErrorOf<W> = W extends ContextWindow<infer E, infer _R> ? E : never

/**
 * What a window needs.
 *
 * @category utility types
 * @since 0.1.0
 */
export type ServicesOf<W> = W extends ContextWindow<infer _E, infer R> ? R : never

/**
 * How long a conversation is. Tokens are estimates.
 *
 * @category models
 * @since 0.1.0
 */
export interface Size {
  readonly messages: number
  /** What users asked: user messages up to the prompt of the run. Corrections that a run asks for are no turns. */
  readonly turns: number
  /** Tokens of the messages. */
  readonly tokens: number
  /** Tokens of instructions and tools, which are sent with the messages. */
  readonly preamble: number
  /** The most tokens that the provider takes, as far as a refusal has shown; otherwise `Infinity`. */
  readonly limit: number
}

/**
 * A part of a conversation that is kept or left out as a whole.
 *
 * @category models
 * @since 0.1.0
 */
export interface Entry {
  readonly unit: Unit
  readonly tokens: number
  /** It has to be sent: the prompt, the newest user message, or the newest of all. */
  readonly isPinned: boolean
  /** A turn begins with it. */
  readonly isTurn: boolean
}

/**
 * What a window makes shorter.
 *
 * @category models
 * @since 0.1.0
 */
export interface Conversation extends Size {
  /** Oldest first. */
  readonly entries: ReadonlyArray<Entry>
  readonly estimator: TokenEstimator.TokenEstimator
  /** What the run was asked. */
  readonly prompt: Prompt.MessageEncoded | undefined
  /** The model of the call, if the agent names one. */
  readonly model: string | undefined
}

/**
 * A conversation that was made shorter, and what that has cost.
 *
 * @category models
 * @since 0.1.0
 */
export interface Reduced {
  readonly units: ReadonlyArray<Unit>
  readonly usage: Usage
}

/**
 * How many input tokens a window lets through: a number, or the share that a `total` for input and output leaves, which
 * are `ratio` to 1. Default ratio 4.
 *
 * **Example**
 *
 * ```ts
 * import * as ContextWindow from "effect-agent-runtime/ContextWindow"
 *
 * ContextWindow.tokenBudget({ total: 24_000, ratio: 3 }).maxTokens // => 18000
 * ContextWindow.tokenBudget({ total: 24_000 }).maxTokens // => 19200
 * ContextWindow.tokenBudget(18_000).maxTokens // => 18000
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export type Budget = number | { readonly total: number; readonly ratio?: number | undefined }

/**
 * How a window makes room.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /**
   * The share of the limit that is left when the conversation is made shorter, above 0 and at most 1. The less is left,
   * the longer providers can use their prompt caches, because what is sent only grows until the next time. Default 0.75.
   */
  readonly keep?: number | undefined
}

const inputTokens = (window: string, budget: Budget): number => {
  const { ratio = 4, total } = typeof budget === "number" ? { ratio: Infinity, total: budget } : budget
  const share = ratio === Infinity ? 1 : ratio / (ratio + 1)
  require(window, total >= 1 && ratio > 0, "needs a positive number of tokens and a positive ratio")
  return Math.floor(total * share)
}

const defaultKeep = 0.75

const shareOf = (window: string, { keep = defaultKeep }: Options): number => {
  require(window, keep > 0 && keep <= 1, "has to keep a share above 0 and at most 1")
  return keep
}

const require = (window: string, holds: boolean, issue: string): void => {
  if (!holds) throw new InvalidAgent({ field: "contextWindow", issue: `${window} ${issue}` })
}

const exceeds = ({ limit, preamble, tokens }: Size, maxTokens: number): boolean =>
  preamble + tokens > Math.min(maxTokens, limit)

/** What messages may have, so that the request keeps to the limits. */
const roomOf = ({ limit, preamble }: Size, maxTokens: number): number => Math.min(maxTokens, limit) - preamble

/** What messages may have after they were made shorter. */
const targetOf = (size: Size, maxTokens: number, keep: number): number =>
  exceeds(size, maxTokens) ? Math.floor(roomOf(size, maxTokens) * keep) : Infinity

/** The pinned entries, and of the others as many of the newest as fit. Begins with a user message if it has one. */
const newest = (
  { entries }: Conversation,
  limits: { readonly tokens: number; readonly messages?: number; readonly from?: number }
): ReadonlyArray<boolean> => {
  const { from = 0, messages = Infinity } = limits
  const kept = entries.map((entry) => entry.isPinned)
  let room = { tokens: limits.tokens, messages }
  for (const entry of entries) if (entry.isPinned) room = without(room, entry)
  for (let i = entries.length - 1; i >= from; i--) {
    if (kept[i]) continue
    room = without(room, entries[i]!)
    if (room.tokens < 0 || room.messages < 0) break
    kept[i] = true
  }
  return beginningWithUser(entries, kept)
}

interface Room {
  readonly tokens: number
  readonly messages: number
}

const without = ({ messages, tokens }: Room, entry: Entry): Room => ({
  tokens: tokens - entry.tokens,
  messages: messages - entry.unit.length
})

/** Providers want a conversation to begin with the user. */
const beginningWithUser = (entries: ReadonlyArray<Entry>, kept: ReadonlyArray<boolean>): ReadonlyArray<boolean> => {
  const first = entries.findIndex(({ unit: [message] }, i) => kept[i] && message.role === "user")
  return kept.map((keep, i) => keep && i >= first)
}

const pick = ({ entries }: Conversation, kept: ReadonlyArray<boolean>): Effect.Effect<Reduced> =>
  Effect.succeed({ units: entries.flatMap(({ unit }, i) => (kept[i] ? [unit] : [])), usage: Usages.zero })

/**
 * Keeps the newest `n` turns: what users asked, with all that followed.
 *
 * **Details**
 *
 * The turn that runs is one of them and stays whole, however long it gets; a window that counts tokens can follow. If the
 * provider refuses the conversation as too long, the oldest messages are left out like those of {@link tokenBudget}.
 *
 * @category constructors
 * @since 0.1.0
 */
export const lastTurns = (n: number): ContextWindow => {
  require("lastTurns", n >= 1, "has to keep at least one turn")
  return {
    name: `lastTurns(${n})`,
    maxTokens: Infinity,
    isOver: (size) => size.turns > n || exceeds(size, Infinity),
    reduce: (conversation) => {
      const { entries } = conversation
      const from = entries.flatMap(({ isTurn }, i) => (isTurn ? [i] : [])).at(-n) ?? 0
      return pick(conversation, newest(conversation, { from, tokens: targetOf(conversation, Infinity, defaultKeep) }))
    }
  }
}

/**
 * Keeps to a number of input tokens: leaves out the oldest messages.
 *
 * @category constructors
 * @since 0.1.0
 */
export const tokenBudget = (budget: Budget, options: Options = {}): ContextWindow => {
  const maxTokens = inputTokens("tokenBudget", budget)
  const keep = shareOf("tokenBudget", options)
  return {
    name: `tokenBudget(${maxTokens})`,
    maxTokens,
    isOver: (size) => exceeds(size, maxTokens),
    reduce: (conversation) =>
      pick(conversation, newest(conversation, { tokens: targetOf(conversation, maxTokens, keep) }))
  }
}

/**
 * Keeps at most `max` messages, the newest. Results of tools are a message of their own.
 *
 * **Details**
 *
 * `max` is at least 4: a prompt, a correction, calls and their results always fit.
 *
 * @category constructors
 * @since 0.1.0
 */
export const slidingWindow = (max: number, options: Options = {}): ContextWindow => {
  require("slidingWindow", max >= 4, "has to keep at least 4 messages")
  const keep = shareOf("slidingWindow", options)
  return {
    name: `slidingWindow(${max})`,
    maxTokens: Infinity,
    isOver: (size) => size.messages > max || exceeds(size, Infinity),
    reduce: (conversation) => {
      const messages = conversation.messages > max ? Math.floor(max * keep) : Infinity
      return pick(conversation, newest(conversation, { messages, tokens: targetOf(conversation, Infinity, keep) }))
    }
  }
}

/**
 * Keeps to a number of input tokens: leaves out what matters least, and of that the oldest.
 *
 * **Details**
 *
 * By default tool calls with their results go first, then answers, then user messages. What is kept stays in its order,
 * and nothing is left out that would have fitted in place of something that matters less.
 *
 * @category constructors
 * @since 0.1.0
 */
export const byPriority = (
  budget: Budget,
  options: Options & {
    /** How much a message, with its results if it has calls, matters. The highest number is kept the longest. */
    readonly priority?: ((unit: Unit) => number) | undefined
  } = {}
): ContextWindow => {
  const maxTokens = inputTokens("byPriority", budget)
  const keep = shareOf("byPriority", options)
  const { priority = priorityOf } = options
  return {
    name: `byPriority(${maxTokens})`,
    maxTokens,
    isOver: (size) => exceeds(size, maxTokens),
    reduce: (conversation) => {
      const { entries } = conversation
      const kept = entries.map((entry) => entry.isPinned)
      let room = targetOf(conversation, maxTokens, keep)
      for (const entry of entries) if (entry.isPinned) room -= entry.tokens
      const ranked = entries.map((entry, i) => ({ i, tokens: entry.tokens, priority: priority(entry.unit) }))
      for (const { i, tokens } of ranked.toSorted((a, b) => b.priority - a.priority || b.i - a.i)) {
        if (kept[i] || tokens > room) continue
        room -= tokens
        kept[i] = true
      }
      return pick(conversation, beginningWithUser(entries, kept))
    }
  }
}

const priorityOf = ([{ role }, results]: Unit): number => (role === "user" ? 2 : results === undefined ? 1 : 0)

/**
 * Keeps to a number of input tokens: clears the oldest results of tools. The calls stay, so that the model knows what it
 * has done.
 *
 * @category constructors
 * @since 0.1.0
 */
export const dropToolResults = (
  budget: Budget,
  options: Options & {
    /** How many of the newest messages with results stay as they are. Default 3. */
    readonly keepResults?: number | undefined
  } = {}
): ContextWindow => {
  const maxTokens = inputTokens("dropToolResults", budget)
  const keep = shareOf("dropToolResults", options)
  const { keepResults = 3 } = options
  require("dropToolResults", keepResults >= 0, "cannot keep less than no results")
  return {
    name: `dropToolResults(${maxTokens})`,
    maxTokens,
    isOver: (size) => exceeds(size, maxTokens),
    reduce: (conversation) => {
      const { entries, estimator } = conversation
      let surplus = conversation.tokens - targetOf(conversation, maxTokens, keep)
      let clearable = entries.filter(({ unit: [, results] }) => results !== undefined).length - keepResults
      const units = entries.map(({ isPinned, unit }): Unit => {
        const [message, results] = unit
        // Only the results of assistant messages are a second message; the type cannot tell after the destructuring.
        if (message.role === "user" || results === undefined || clearable-- <= 0 || isPinned || surplus <= 0)
          return unit
        const short = cleared(results)
        const saved = estimator.message(results) - estimator.message(short)
        if (saved <= 0) return unit
        surplus -= saved
        return [message, short]
      })
      return Effect.succeed({ units, usage: Usages.zero })
    }
  }
}

const cleared = (message: Prompt.ToolMessageEncoded): Prompt.ToolMessageEncoded => ({
  ...message,
  content: message.content.map((part) => {
    if (part.type !== "tool-result") return part
    const { modelOutput: _, ...result } = part
    return { ...result, result: "[An old result, left out to save space.]" }
  })
})

/**
 * Keeps to a number of input tokens: the model summarizes the oldest messages, and the summary is sent in their place.
 *
 * **Details**
 *
 * - The summary is a user message of at most a quarter of what is kept. It stands where the messages were, and the next
 *   one takes it in, so that there is never more than one.
 * - The run's own `Llm` writes it, with another `model` if one is named; or `by` does, such as a run of an agent. What that
 *   takes counts in the usage of the run. A transcript that is too long for one call is summarized piece by piece.
 * - When the summary cannot be written, the run fails as when an answer cannot: `ModelFailed`, after whatever the model's
 *   layer does about it; or with the failure of `by`, which may as well fall back to a text of its own.
 *
 * @category constructors
 * @since 0.1.0
 */
export const summarize = <E = never, R = Llm>(
  budget: Budget,
  options: Options & {
    /** The model that the run's `Llm` writes with. Default: that of the run. */
    readonly model?: string | undefined
    /** Writes the summary of a transcript in place of the run's `Llm`; what is longer than `maxTokens` is cut off. */
    readonly by?: ((transcript: string, maxTokens: number) => Effect.Effect<string, E, R>) | undefined
  } = {}
): ContextWindow<E, R> => {
  const maxTokens = inputTokens("summarize", budget)
  const keep = shareOf("summarize", options)
  const { by, model } = options
  const write =
    by === undefined
      ? // Without `by` there is nothing that `E` and `R` could be inferred from, so they are what they are by default.
        (Summaries.byLlm(model) as Summaries.Writer<E | ModelFailed | ContextOverflow | BudgetExceeded, R>)
      : (transcript: string, most: number) => Effect.map(by(transcript, most), (text) => ({ text, usage: Usages.zero }))
  return {
    name: `summarize(${maxTokens})`,
    maxTokens,
    isOver: (size) => exceeds(size, maxTokens),
    reduce: (conversation) => {
      const { entries, estimator } = conversation
      const target = targetOf(conversation, maxTokens, keep)
      const most = Math.floor(target / 4)
      const kept = newest(conversation, { tokens: target - most })
      const old = entries.filter((_, i) => !kept[i])
      const room = roomOf(conversation, maxTokens)
      const left = room - (conversation.tokens - total(old))
      const summaryTokens = Math.min(most, left, total(old)) - Summaries.frameTokens(estimator)
      if (summaryTokens < 1) return Effect.succeed(unchanged(conversation))
      const oldUnits = old.map(({ unit }) => unit)
      const written = Summaries.summarize(write, oldUnits, {
        estimator,
        pieceTokens: room - most,
        maxTokens: summaryTokens,
        model: conversation.model
      })
      const last = kept.lastIndexOf(false)
      return Effect.map(written, ({ message, usage }) => {
        const summary: Unit = [message]
        return {
          units: entries.flatMap(({ unit }, i): ReadonlyArray<Unit> =>
            kept[i] ? [unit] : i === last ? [summary] : []
          ),
          usage
        }
      })
    }
  }
}

const unchanged = ({ entries }: Conversation): Reduced => ({
  units: entries.map(({ unit }) => unit),
  usage: Usages.zero
})

const total = (entries: ReadonlyArray<Entry>): number => entries.reduce((tokens, entry) => tokens + entry.tokens, 0)

/**
 * Several windows as one: each in its turn, if the conversation is still over its limit. With one limit for all, the
 * first that makes it fit is the last that is asked.
 *
 * @category combining
 * @since 0.1.0
 */
export const compose = <const Windows extends ReadonlyArray<Any>>(
  ...windows: Windows
): ContextWindow<ErrorOf<Windows[number]>, ServicesOf<Windows[number]>> => {
  require("compose", windows.length > 0, "needs a window")
  // The union of what the windows fail with and need, which an array of them has lost.
  const all = windows as ReadonlyArray<ContextWindow<ErrorOf<Windows[number]>, ServicesOf<Windows[number]>>>
  return {
    name: all.map(({ name }) => name).join(" + "),
    maxTokens: Math.min(...all.map((window) => window.maxTokens)),
    isOver: (size) => all.some((window) => window.isOver(size)),
    reduce: Effect.fnUntraced(function* (conversation) {
      let current = conversation
      let usage = Usages.zero
      for (const window of all) {
        if (!window.isOver(current)) continue
        const reduced = yield* window.reduce(current)
        usage = Usages.combine(usage, reduced.usage)
        current = conversationOf(reduced.units, conversation)
      }
      return { ...unchanged(current), usage }
    })
  }
}

/**
 * What surrounds a conversation.
 *
 * @category models
 * @since 0.1.0
 */
export interface Surroundings {
  readonly instructions?: string | undefined
  readonly tools?: Iterable<Tool.Any> | undefined
  /** What the run was asked, a message of the conversation. Default: the newest user message. */
  readonly prompt?: Prompt.MessageEncoded | undefined
  /** As in {@link Size}. Default `Infinity`. */
  readonly limit?: number | undefined
  /** The model that summaries are written with, if the window names none. Default: the provider's. */
  readonly model?: string | undefined
}

/** Units as a conversation, with all that does not depend on them taken from another. */
const conversationOf = (
  units: ReadonlyArray<Unit>,
  shared: Pick<Conversation, "estimator" | "limit" | "model" | "preamble" | "prompt">
): Conversation => {
  const { estimator, limit, model, preamble, prompt } = shared
  const newestUser = units.findLastIndex(([message]) => message.role === "user" && !Summaries.isSummary(message))
  const found = prompt === undefined ? -1 : units.findLastIndex(([message]) => message === prompt)
  const asked = found === -1 ? newestUser : found
  const entries = units.map((unit, i): Entry => {
    const [message, results] = unit
    return {
      unit,
      tokens: estimator.message(message) + (results === undefined ? 0 : estimator.message(results)),
      isPinned: i === asked || i === newestUser || i === units.length - 1,
      isTurn: i <= asked && message.role === "user" && !Summaries.isSummary(message)
    }
  })
  return {
    entries,
    messages: units.reduce((messages, unit) => messages + unit.length, 0),
    turns: entries.filter((entry) => entry.isTurn).length,
    tokens: total(entries),
    preamble,
    limit,
    estimator,
    model,
    prompt
  }
}

/**
 * A history as windows see it.
 *
 * @category conversions
 * @since 0.1.0
 */
export const conversation = (
  estimator: TokenEstimator.TokenEstimator,
  history: History,
  { instructions = "", limit = Infinity, model, prompt, tools = [] }: Surroundings = {}
): Conversation =>
  conversationOf(Histories.units(history), {
    estimator,
    limit,
    model,
    preamble: TokenEstimator.preamble(estimator, instructions, tools),
    prompt
  })

/**
 * What came of making a conversation shorter.
 *
 * @category models
 * @since 0.1.0
 */
export interface Pruned {
  readonly history: History
  readonly before: Size
  readonly after: Size
  /** What it has cost: the model calls of a summary. */
  readonly usage: Usage
}

/**
 * Makes a conversation shorter as far as the window can, whether it then fits or not.
 *
 * @category running
 * @since 0.1.0
 */
export const reduce = <E, R>(
  window: ContextWindow<E, R>,
  before: Conversation
): Effect.Effect<Pruned, E | ModelFailed | ContextOverflow | BudgetExceeded, R> =>
  Effect.map(window.reduce(before), ({ units, usage }) => ({
    history: Histories.appendUnits(Histories.empty, units),
    before,
    after: conversationOf(units, before),
    usage
  }))

/**
 * Why a conversation of this size cannot be sent.
 *
 * @category errors
 * @since 0.1.0
 */
export const overflow = (window: Any, { limit, preamble, tokens }: Size): ContextOverflow => {
  const most = Math.min(window.maxTokens, limit)
  return new ContextOverflow({ used: preamble + tokens, ...(most === Infinity ? {} : { limit: most }) })
}

/**
 * Whether a history is too long for a window.
 *
 * @category running
 * @since 0.1.0
 */
export const shouldPrune = (window: Any, history: History, surroundings?: Surroundings): Effect.Effect<boolean> =>
  Effect.map(TokenEstimator.TokenEstimator, (estimator) =>
    window.isOver(conversation(estimator, history, surroundings))
  )

/**
 * A history as a window lets it through, for use without an agent, or to keep only that of a conversation.
 *
 * **Details**
 *
 * A history that fits comes back as it is. Fails with `ContextOverflow` when not even the messages that are always sent
 * fit.
 *
 * **Example**
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as ContextWindow from "effect-agent-runtime/ContextWindow"
 * import * as History from "effect-agent-runtime/History"
 *
 * const history = History.fromPrompt([
 *   { role: "user", content: "Hi" },
 *   { role: "assistant", content: "Hello" },
 *   { role: "user", content: "How are you?" }
 * ])
 * const pruned = Effect.runSync(ContextWindow.prune(ContextWindow.lastTurns(1), history))
 * pruned.history.length // => 1
 * ```
 *
 * @category running
 * @since 0.1.0
 */
export const prune = <E, R>(
  window: ContextWindow<E, R>,
  history: History,
  surroundings?: Surroundings
): Effect.Effect<Pruned, E | ModelFailed | ContextOverflow | BudgetExceeded, R> =>
  Effect.flatMap(TokenEstimator.TokenEstimator, (estimator) => {
    const before = conversation(estimator, history, surroundings)
    if (!window.isOver(before)) return Effect.succeed({ history, before, after: before, usage: Usages.zero })
    return Effect.flatMap(reduce(window, before), (pruned) =>
      window.isOver(pruned.after) ? Effect.fail(overflow(window, pruned.after)) : Effect.succeed(pruned)
    )
  })
