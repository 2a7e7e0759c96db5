/**
 * How many tokens a text, a message or a tool has: the one estimate that context windows and rate limits go by. Cheap
 * and approximate by default; a real tokenizer takes its place as a layer.
 *
 * @since 0.1.0
 */
import type * as Prompt from "effect/ai/Prompt"
import type * as Tool from "effect/ai/Tool"
import * as Context from "effect/Context"
import * as Layer from "effect/Layer"
import * as JsonSchema from "./internal/jsonSchema.ts"

/**
 * An estimator. Each message and tool is counted once, however often it is asked about.
 *
 * @category models
 * @since 0.1.0
 */
export interface TokenEstimator {
  readonly text: (text: string) => number
  readonly message: (message: Prompt.MessageEncoded) => number
  readonly tool: (tool: Tool.Any) => number
}

/**
 * How to count.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The tokens of a text. Default: {@link countRoughly}. */
  readonly text?: ((text: string) => number) | undefined
  /**
   * The tokens of an image or another file. Default: 1,600 for each, what Anthropic counts for the largest image
   * (width × height / 750 after scaling to at most 1,568 pixels); a document may have far more.
   */
  readonly file?: ((file: Prompt.FilePartEncoded) => number) | undefined
}

/** Cost of an ASCII character in twentieths of a token. */
const costs = Uint8Array.from({ length: 128 }, (_, code) => {
  const character = String.fromCharCode(code)
  if (/[a-z ]/i.test(character)) return 4
  return /\d/.test(character) ? 8 : 9
})

/**
 * A rough count, without a tokenizer's tables: five letters or spaces are a token, so are two and a half digits or
 * letters of other alphabets, two punctuation marks, and each character of East Asian scripts; rounded up.
 *
 * **Details**
 *
 * The constants were fitted to OpenAI's `o200k_base`. For prose in a dozen languages, code and JSON the count is between
 * two thirds and four thirds of the real one.
 *
 * @category estimates
 * @since 0.1.0
 */
export const countRoughly = (text: string): number => {
  let twentieths = 0
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    // East Asian scripts and surrogates begin at U+2E80.
    twentieths += code < 128 ? costs[code]! : code < 0x2e80 ? 8 : 20
  }
  return Math.ceil(twentieths / 20)
}

/** What marks the beginning, role and end of a message in OpenAI's chat format, at most. */
const perMessage = 4

/**
 * Makes an estimator.
 *
 * **Details**
 *
 * A message counts 4 tokens and its parts: texts as they are, arguments and results of tools as JSON, files by their
 * number. A tool counts its name, description and the JSON Schema of its arguments.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = ({ file = () => 1600, text = countRoughly }: Options = {}): TokenEstimator => {
  const json = (value: unknown): number => text(typeof value === "string" ? value : (JSON.stringify(value) ?? ""))
  const part = (of: Part): number => {
    switch (of.type) {
      case "text":
      case "reasoning":
        return text(of.text)
      case "file":
        return file(of)
      case "tool-call":
        return text(of.name) + json(of.params)
      case "tool-result":
        return text(of.name) + (of.modelOutput === undefined ? json(of.result) : parts(of.modelOutput))
      default:
        return 0
    }
  }
  const parts = (all: ReadonlyArray<Part>): number => all.reduce((tokens, of) => tokens + part(of), 0)
  return {
    text,
    message: memoize(({ content }) => perMessage + (typeof content === "string" ? text(content) : parts(content))),
    tool: memoize((tool) => text(tool.name) + text(tool.description ?? "") + json(JsonSchema.ofTool(tool)))
  }
}

type Part = Exclude<Prompt.MessageEncoded["content"], string>[number]

const memoize = <K extends object>(count: (key: K) => number) => {
  const counted = new WeakMap<K, number>()
  return (key: K): number => {
    let tokens = counted.get(key)
    if (tokens === undefined) {
      tokens = count(key)
      counted.set(key, tokens)
    }
    return tokens
  }
}

/**
 * The tokens of what comes before the conversation in a request: instructions and tools.
 *
 * @category estimates
 * @since 0.1.0
 */
export const preamble = (self: TokenEstimator, instructions: string, tools: Iterable<Tool.Any>): number => {
  let tokens = instructions === "" ? 0 : perMessage + self.text(instructions)
  for (const tool of tools) tokens += self.tool(tool)
  return tokens
}

/**
 * The input tokens of a model call: instructions, tools and conversation.
 *
 * @category estimates
 * @since 0.1.0
 */
export const request = (
  self: TokenEstimator,
  {
    history,
    instructions,
    tools
  }: {
    readonly instructions: string
    readonly tools: Iterable<Tool.Any>
    readonly history: Iterable<Prompt.MessageEncoded>
  }
): number => {
  let tokens = preamble(self, instructions, tools)
  for (const message of history) tokens += self.message(message)
  return tokens
}

/**
 * The estimator that context windows and rate limits use. Default: {@link countRoughly}.
 *
 * @category services
 * @since 0.1.0
 */
export const TokenEstimator = Context.Reference<TokenEstimator>("effect-agent-runtime/TokenEstimator", {
  defaultValue: () => rough
})

const rough = make()

/**
 * A layer with another estimator.
 *
 * **Example** (A real tokenizer)
 *
 * ```ts
 * import { countTokens } from "gpt-tokenizer/encoding/o200k_base"
 * import * as TokenEstimator from "effect-agent-runtime/TokenEstimator"
 *
 * const Tokenizer = TokenEstimator.layer({ text: (text) => countTokens(text) })
 * // Agents, windows and rate limits with this layer count exactly.
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<never> => Layer.succeed(TokenEstimator, make(options))
