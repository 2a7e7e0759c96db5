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
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
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
  | Restart

/**
 * Says that an attempt failed and another follows, of a retry or with another model: the pieces so far count no more.
 *
 * @category models
 * @since 0.1.0
 */
export interface Restart {
  readonly type: "restart"
  /** The tag of the `AiError` reason that the attempt failed with. */
  readonly reason: string
  readonly message: string
  /** How long the next attempt waits. */
  readonly delayMillis: number
  /** What answers next, if it is not the same model again. */
  readonly model: string | undefined
}

/**
 * One model call.
 *
 * **Details**
 *
 * With `onDelta` the provider streams: it calls the function synchronously for each piece as it arrives, in
 * order, and the text deltas since the last {@link Restart}, joined, equal the text of the response. Without it the provider may fetch the
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
 * What wraps a model in behaviour: retries, limits, a cache. Wrapping may need resources, calling does not.
 *
 * @category middleware
 * @since 0.1.0
 */
export type Middleware<R = never> = (llm: Llm["Service"]) => Effect.Effect<Llm["Service"], never, R>

/**
 * Wraps the model of a layer. As in a pipe, each middleware wraps what stands before it: the first is nearest to the
 * provider.
 *
 * @category middleware
 * @since 0.1.0
 */
export const withMiddleware =
  <const All extends ReadonlyArray<Middleware<unknown>>>(...middleware: All) =>
  <E, RIn>(layer: Layer.Layer<Llm, E, RIn>): Layer.Layer<Llm, E, RIn | Exclude<ServicesOf<All[number]>, Scope.Scope>> =>
    Layer.provide(Layer.effect(Llm, Effect.flatMap(Llm, wrap(middleware))), layer)

type ServicesOf<M> = M extends Middleware<infer R> ? R : never

const wrap =
  <All extends ReadonlyArray<Middleware<unknown>>>(middleware: All) =>
  (llm: Llm["Service"]) =>
    Effect.gen(function* () {
      let wrapped = llm
      // What it needs is in the list's type.
      for (const one of middleware as ReadonlyArray<Middleware<ServicesOf<All[number]>>>) wrapped = yield* one(wrapped)
      return wrapped
    })

/**
 * A layer with the model service that the function implements.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (generate: Generate): Layer.Layer<Llm> => Layer.succeed(Llm, make(generate))
