/**
 * What models cost: a table of prices as data, and the cost of a model call. Runs look up the price of the model that
 * answered in the {@link Prices} of their context and add the cost up in their `Usage`.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type { Tokens } from "./Usage.ts"

/**
 * The price of a model, in US dollars per million tokens.
 *
 * @category models
 * @since 0.1.0
 */
export interface Price {
  readonly input: number
  readonly output: number
  /** Input tokens that the provider read from its prompt cache. Default: the price of input. */
  readonly cachedInput?: number | undefined
  /** Input tokens that the provider wrote to its prompt cache. Default: the price of input. */
  readonly cacheWrite?: number | undefined
}

/**
 * Prices by model.
 *
 * @category models
 * @since 0.1.0
 */
export interface PriceTable {
  /** The price of a model as the provider names it; `undefined` when the table does not have it. */
  readonly priceOf: (model: string) => Price | undefined
}

/**
 * Makes a table of prices from the names of models.
 *
 * **Details**
 *
 * A version of a model has the model's price, unless the table has the version, too: behind the name may follow a date
 * (`gpt-4.1-2025-04-14`, `claude-sonnet-4-20250514`, `claude-sonnet-4@20250514`) or `-latest`. Whatever else follows
 * makes another model: the table has no price for `o3-pro` because it has one for `o3`, nor for `model:free`. A
 * provider in front (`openai/gpt-4.1`) does not matter.
 *
 * **Example**
 *
 * ```ts
 * import * as Prices from "effect-agent-runtime/Prices"
 *
 * const table = Prices.make({ ...Prices.published, "house-model": { input: 0.1, output: 0.2 } })
 * table.priceOf("house-model-2026-01-01") // => { input: 0.1, output: 0.2 }
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (prices: Readonly<Record<string, Price>>): PriceTable => {
  const table = new Map(Object.entries(prices))
  const known = new Map<string, Price | undefined>()
  const find = (model: string): Price | undefined => table.get(model) ?? table.get(model.replace(version, ""))
  return {
    priceOf: (model) => {
      if (known.has(model)) return known.get(model)
      const price = find(model) ?? find(model.slice(model.lastIndexOf("/") + 1))
      // Names come from providers: a server that makes up a new one for each answer must not fill the memory.
      if (known.size < 1000) known.set(model, price)
      return price
    }
  }
}

const version = /[-@](\d{4}-\d\d-\d\d|\d{8})$|-latest$/

/**
 * List prices of OpenAI and Anthropic, to the best of our knowledge as of November 2025. Check them before you rely on
 * them, and replace what is out of date.
 *
 * @category constants
 * @since 0.1.0
 */
export const published: Readonly<Record<string, Price>> = {
  "gpt-5": { input: 1.25, output: 10, cachedInput: 0.125 },
  "gpt-5-mini": { input: 0.25, output: 2, cachedInput: 0.025 },
  "gpt-5-nano": { input: 0.05, output: 0.4, cachedInput: 0.005 },
  "gpt-4.1": { input: 2, output: 8, cachedInput: 0.5 },
  "gpt-4.1-mini": { input: 0.4, output: 1.6, cachedInput: 0.1 },
  "gpt-4.1-nano": { input: 0.1, output: 0.4, cachedInput: 0.025 },
  "gpt-4o": { input: 2.5, output: 10, cachedInput: 1.25 },
  "gpt-4o-mini": { input: 0.15, output: 0.6, cachedInput: 0.075 },
  o3: { input: 2, output: 8, cachedInput: 0.5 },
  "o4-mini": { input: 1.1, output: 4.4, cachedInput: 0.275 },
  "claude-opus-4-5": { input: 5, output: 25, cachedInput: 0.5, cacheWrite: 6.25 },
  "claude-opus-4-1": { input: 15, output: 75, cachedInput: 1.5, cacheWrite: 18.75 },
  "claude-opus-4": { input: 15, output: 75, cachedInput: 1.5, cacheWrite: 18.75 },
  "claude-sonnet-4-5": { input: 3, output: 15, cachedInput: 0.3, cacheWrite: 3.75 },
  "claude-sonnet-4": { input: 3, output: 15, cachedInput: 0.3, cacheWrite: 3.75 },
  "claude-haiku-4-5": { input: 1, output: 5, cachedInput: 0.1, cacheWrite: 1.25 },
  "claude-3-5-haiku": { input: 0.8, output: 4, cachedInput: 0.08, cacheWrite: 1 }
}

/**
 * The table that runs look prices up in. Default: {@link published}.
 *
 * @category services
 * @since 0.1.0
 */
export const Prices = Context.Reference<PriceTable>("effect-agent-runtime/Prices", {
  defaultValue: () => defaultTable
})

const defaultTable = make(published)

/**
 * What tokens of a model cost, in billionths of a US dollar, rounded to a whole number so that costs add up exactly; 0
 * when the price or the model is not known.
 *
 * @category getters
 * @since 0.1.0
 */
export const costNanoUsd = (table: PriceTable, model: string | undefined, tokens: Tokens): number => {
  const price = model === undefined ? undefined : table.priceOf(model)
  if (price === undefined) return 0
  const { cachedInputTokens, cacheWriteTokens, inputTokens, outputTokens } = tokens
  // Some servers do not count cached tokens among the input: a call never costs less than nothing.
  const input =
    Math.max(inputTokens - cachedInputTokens - cacheWriteTokens, 0) * price.input
    + cachedInputTokens * (price.cachedInput ?? price.input)
    + cacheWriteTokens * (price.cacheWrite ?? price.input)
  // A dollar per million tokens is a thousand billionths per token.
  return Math.round((input + outputTokens * price.output) * 1000)
}
