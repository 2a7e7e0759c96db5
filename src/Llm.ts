/**
 * The port to a model: one call in, one response out, text delivered on the way to whoever listens. Providers
 * implement it (`effect-agent-runtime/llm/*`), middleware wraps it (`Llm → Llm`), tests script it.
 *
 * Messages, parts and tools are the encoded vocabulary of `effect/ai`, so nothing is translated twice.
 *
 * @since 0.1.0
 */
import type * as AiError from "effect/ai/AiError"
import type * as Prompt from "effect/ai/Prompt"
import type * as Response from "effect/ai/Response"
import type * as Tool from "effect/ai/Tool"
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Schema from "effect/Schema"
import type { History } from "./History.ts"
import type { Tokens } from "./Usage.ts"

/**
 * Which tools the model may or must call.
 *
 * `"auto"` lets it decide, `"none"` forbids, `"required"` demands some tool, `{ tool }` one certain tool.
 *
 * @category models
 * @since 0.1.0
 */
export type ToolChoice = "auto" | "none" | "required" | { readonly tool: string }

/**
 * How the model samples. Whatever is absent is left to the provider: nothing has a hidden default.
 *
 * @category models
 * @since 0.1.0
 */
export interface Sampling {
  /** The model to use instead of the provider layer's own. */
  readonly model?: string | undefined
  readonly temperature?: number | undefined
  readonly topP?: number | undefined
  /** Upper bound of output tokens for one model call. */
  readonly maxTokens?: number | undefined
  /** Texts at which the model stops writing. */
  readonly stop?: ReadonlyArray<string> | undefined
  readonly seed?: number | undefined
}

/**
 * The format the final answer has to have.
 *
 * @category models
 * @since 0.1.0
 */
export interface OutputFormat {
  /** A name for the format: letters, digits, `_` and `-`. */
  readonly name: string
  readonly schema: Schema.Top
}

/**
 * One model call.
 *
 * @category models
 * @since 0.1.0
 */
export interface LlmRequest {
  /** The system prompt; `""` when there is none. */
  readonly instructions: string
  /** The conversation so far. An immutable snapshot: it does not grow while the request is held. */
  readonly history: History
  /** Tools the model may call, in a stable order. */
  readonly tools: ReadonlyArray<Tool.Any>
  readonly toolChoice: ToolChoice
  readonly sampling: Sampling
  /** Present when the agent has an `output` schema. */
  readonly output: OutputFormat | undefined
}

/**
 * What a model answered. `content` goes into the history as it is.
 *
 * **Gotchas**
 *
 * The `params` of a tool call are decoded JSON. A provider whose model wrote arguments that are not JSON passes
 * the raw text instead; the runtime then tells the model.
 *
 * @category models
 * @since 0.1.0
 */
export interface LlmResponse {
  /** Text, reasoning, file and tool-call parts, in the order the model wrote them. */
  readonly content: ReadonlyArray<Prompt.AssistantMessagePartEncoded>
  readonly finishReason: Response.FinishReason
  readonly tokens: Tokens
  /** The model that answered, as the provider names it. */
  readonly model: string | undefined
}

/**
 * A piece of a response while it is being written.
 *
 * @category models
 * @since 0.1.0
 */
export type Delta =
  | { readonly type: "text"; readonly delta: string }
  | { readonly type: "reasoning"; readonly delta: string }
  /** A piece of the JSON text of a tool call's arguments. */
  | { readonly type: "tool-params"; readonly id: string; readonly name: string; readonly delta: string }

/**
 * One model call.
 *
 * **Details**
 *
 * With `onDelta` the provider streams: it calls the function synchronously for each piece as it arrives, in
 * order, and the joined text deltas equal the text of the response. Without it the provider may fetch the
 * response in one piece. The Effect is lazy and can be run again (retries); interrupting it aborts the request.
 *
 * @category models
 * @since 0.1.0
 */
export type Generate = (
  request: LlmRequest,
  onDelta?: ((delta: Delta) => void) | undefined
) => Effect.Effect<LlmResponse, AiError.AiError>

/**
 * The model service that agents need.
 *
 * @category services
 * @since 0.1.0
 */
export class Llm extends Context.Service<Llm, { readonly generate: Generate }>()("effect-agent-runtime/Llm") {}

/**
 * Makes a model service from a function.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (generate: Generate): Llm["Service"] => ({ generate })

/**
 * A layer with the model service that the function implements.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (generate: Generate): Layer.Layer<Llm> => Layer.succeed(Llm, make(generate))
