/**
 * What a run with a context window sends: the history itself until the window is over for the first time, and from then
 * on a shorter one beside it. New messages are added as they come, so a turn costs what is new in it.
 */
import type * as Prompt from "effect/ai/Prompt"
import type * as Tool from "effect/ai/Tool"
import type { ContextOverflow } from "../AgentError.ts"
import type { ContextWindow, Conversation, Pruned, Size } from "../ContextWindow.ts"
import { conversation } from "../ContextWindow.ts"
import type { History } from "../History.ts"
import * as Histories from "../History.ts"
import type { TokenEstimator } from "../TokenEstimator.ts"
import { preamble } from "../TokenEstimator.ts"

/** What is sent, and how long it is. Mutable, owned by one run. */
export interface Sent {
  readonly window: ContextWindow<unknown>
  readonly estimator: TokenEstimator
  /** What the run was asked. */
  readonly prompt: Prompt.MessageEncoded | undefined
  history: History
  /** Something was left out. */
  isPruned: boolean
  /** Messages of the run's history that are in it, or were. */
  seen: number
  turns: number
  /** Of the messages. */
  tokens: number
  /** Of instructions and tools, which are the same objects most of the time. */
  preamble: number
  instructions: string | undefined
  tools: ReadonlyArray<Tool.Any>
  /** What windows have left out of the history by now, in this run and before. */
  leftOut: Extent
  /** What had been left out when the run began, until an event has told. */
  untold: Extent | undefined
  /** The most tokens that the provider takes, as far as a refusal has shown. */
  limit: number
}

interface Extent {
  readonly messages: number
  readonly tokens: number
}

const nothing: Extent = { messages: 0, tokens: 0 }

/** What was sent of a history when it was last made shorter. */
interface Kept {
  readonly window: ContextWindow<unknown>
  readonly estimator: TokenEstimator
  readonly history: History
  readonly seen: number
  readonly leftOut: Extent
}

/** By the line of the history, so that a run goes on with what an earlier one of the conversation has sent. */
const lines = new WeakMap<object, Kept>()

export const begin = (window: ContextWindow<unknown>, estimator: TokenEstimator, history: History): Sent => {
  const last = Histories.last(history)
  const kept = lines.get(Histories.lineOf(history))
  // What was kept of the very same history is not taken up: run again, a run does the same again.
  const goesOn =
    kept !== undefined && kept.window === window && kept.estimator === estimator && kept.seen < history.length
  const start = goesOn ? Histories.appendUnits(kept.history, Histories.units(history, kept.seen)) : history
  const whole = conversation(estimator, start)
  return {
    window,
    estimator,
    prompt: last?.role === "user" ? last : undefined,
    history: start,
    isPruned: goesOn,
    seen: history.length,
    turns: whole.turns,
    tokens: whole.tokens,
    preamble: 0,
    instructions: undefined,
    tools: [],
    leftOut: goesOn ? kept.leftOut : nothing,
    untold: goesOn ? kept.leftOut : undefined,
    limit: Infinity
  }
}

const sizeOf = ({ history, limit, preamble: before, tokens, turns }: Sent): Size => ({
  messages: history.length,
  turns,
  tokens,
  preamble: before,
  limit
})

/** Brings it up to date before a model call. */
export const catchUp = (sent: Sent, history: History, instructions: string, tools: ReadonlyArray<Tool.Any>): Size => {
  if (history.length > sent.seen) {
    const added = Histories.units(history, sent.seen)
    for (const unit of added) for (const message of unit) sent.tokens += sent.estimator.message(message!)
    sent.history = sent.isPruned ? Histories.appendUnits(sent.history, added) : history
    sent.seen = history.length
  }
  if (instructions !== sent.instructions || tools !== sent.tools) {
    sent.preamble = preamble(sent.estimator, instructions, tools)
    sent.instructions = instructions
    sent.tools = tools
  }
  return sizeOf(sent)
}

/** What a window has to make shorter. */
export const conversationOf = (sent: Sent, model: string | undefined): Conversation => {
  const { estimator, history, instructions, limit, prompt, tools } = sent
  return conversation(estimator, history, { instructions, tools, prompt, limit, model })
}

/** Goes on with what a window has made shorter. */
export const take = (sent: Sent, { after, before, history }: Pruned, whole: History): void => {
  const { estimator, leftOut, seen, window } = sent
  sent.history = history
  sent.isPruned = true
  sent.turns = after.turns
  sent.tokens = after.tokens
  sent.leftOut = { messages: seen - history.length, tokens: leftOut.tokens + before.tokens - after.tokens }
  lines.set(Histories.lineOf(whole), { window, estimator, history, seen, leftOut: sent.leftOut })
}

/** What is left of a refused conversation when the provider does not say how much it takes. */
const guess = 2 / 3

/** Lowers the limit below what the provider has refused: to what it says, or by a third. In the estimator's tokens. */
export const learn = (sent: Sent, { limit, used }: Pick<ContextOverflow, "limit" | "used">): void => {
  const refused = sent.preamble + sent.tokens
  const share = (limit ?? 0) / (used ?? refused)
  sent.limit = Math.floor(refused * (share > 0 && share < 1 ? share : guess))
}
