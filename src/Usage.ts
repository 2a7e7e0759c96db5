/**
 * What a run has consumed: tokens, model calls, tool calls and money. A monoid, so that the usage of turns,
 * sub-agents and whole fleets of runs adds up with one function.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * Token counts of one or several model calls, as the provider reported them. A provider that does not report a
 * count contributes 0.
 *
 * @category models
 * @since 0.1.0
 */
export interface Tokens {
  /** All input (prompt) tokens, cached ones included. */
  readonly inputTokens: number
  /** All output (completion) tokens, reasoning included. */
  readonly outputTokens: number
  /** The part of `inputTokens` that the provider read from its prompt cache. */
  readonly cachedInputTokens: number
  /** The part of `inputTokens` that the provider wrote to its prompt cache, where that has a price of its own. */
  readonly cacheWriteTokens: number
  /** The part of `outputTokens` that the model spent on reasoning. */
  readonly reasoningTokens: number
}

/**
 * Tokens together with the number of calls that produced them.
 *
 * @category models
 * @since 0.1.0
 */
export interface Usage extends Tokens {
  /** Model calls that returned a response. */
  readonly modelCalls: number
  /** Tool handlers that ran to an end. Calls that were interrupted, or answered by the loop detector, do not count. */
  readonly toolCalls: number
  /**
   * What the model calls cost by the `Prices` of the run, in billionths of a US dollar: whole numbers, which add up
   * exactly. Calls of models without a price count 0.
   */
  readonly costNanoUsd: number
}

const tokens = {
  inputTokens: Schema.Finite,
  outputTokens: Schema.Finite,
  cachedInputTokens: Schema.Finite,
  cacheWriteTokens: Schema.Finite,
  reasoningTokens: Schema.Finite
}

/**
 * Schema of {@link Tokens}.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Tokens: Schema.Codec<Tokens> = Schema.Struct(tokens)

/**
 * Schema of {@link Usage}.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Usage: Schema.Codec<Usage> = Schema.Struct({
  ...tokens,
  modelCalls: Schema.Finite,
  toolCalls: Schema.Finite,
  costNanoUsd: Schema.Finite
})

/**
 * Nothing consumed: the identity of {@link combine}.
 *
 * @category constructors
 * @since 0.1.0
 */
export const zero: Usage = {
  inputTokens: 0,
  outputTokens: 0,
  cachedInputTokens: 0,
  cacheWriteTokens: 0,
  reasoningTokens: 0,
  modelCalls: 0,
  toolCalls: 0,
  costNanoUsd: 0
}

/**
 * No tokens, for providers that report none.
 *
 * @category constructors
 * @since 0.1.0
 */
export const noTokens: Tokens = {
  inputTokens: 0,
  outputTokens: 0,
  cachedInputTokens: 0,
  cacheWriteTokens: 0,
  reasoningTokens: 0
}

/**
 * Adds two usages field by field. Associative and commutative, with {@link zero} as identity.
 *
 * @category combining
 * @since 0.1.0
 */
export const combine = (self: Usage, that: Usage): Usage => ({
  inputTokens: self.inputTokens + that.inputTokens,
  outputTokens: self.outputTokens + that.outputTokens,
  cachedInputTokens: self.cachedInputTokens + that.cachedInputTokens,
  cacheWriteTokens: self.cacheWriteTokens + that.cacheWriteTokens,
  reasoningTokens: self.reasoningTokens + that.reasoningTokens,
  modelCalls: self.modelCalls + that.modelCalls,
  toolCalls: self.toolCalls + that.toolCalls,
  costNanoUsd: self.costNanoUsd + that.costNanoUsd
})

/**
 * Adds any number of usages.
 *
 * @category combining
 * @since 0.1.0
 */
export const combineAll = (usages: Iterable<Usage>): Usage => {
  let total = zero
  for (const usage of usages) total = combine(total, usage)
  return total
}

/**
 * Input plus output tokens.
 *
 * @category getters
 * @since 0.1.0
 */
export const totalTokens = (self: Tokens): number => self.inputTokens + self.outputTokens

/**
 * What a usage cost, in US dollars.
 *
 * @category getters
 * @since 0.1.0
 */
export const costUsd = (self: Usage): number => self.costNanoUsd / 1_000_000_000
