/**
 * Several models that answer for each other, in order.
 *
 * **The order of middleware**
 *
 * From the provider outwards, as the arguments of `Llm.withMiddleware` stand:
 *
 * 1. `Timeout`: each attempt has its time for itself.
 * 2. `RateLimit`: each attempt counts, and waiting is not the model's silence.
 * 3. `Concurrency`: whoever waits for the limit keeps its place, whoever waits for a retry gives it back.
 * 4. `Retry`.
 * 5. `CircuitBreaker`: counts calls that failed for good, and nobody waits for an open circuit.
 * 6. `Fallback` over models that are wrapped so, each with keys of its own.
 * 7. `ResponseCache`: what is known waits for nothing.
 *
 * @since 0.1.0
 */
import type * as AiError from "effect/ai/AiError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { OnDelta } from "../internal/attempt.ts"
import * as Attempt from "../internal/attempt.ts"
import { errorCodes } from "../internal/contextOverflow.ts"
import * as Llm from "../Llm.ts"

/**
 * A model with the name that events call it by.
 *
 * @category models
 * @since 0.1.0
 */
export interface Named<out Model = Llm.Llm["Service"]> {
  readonly name: string
  readonly llm: Model
}

/**
 * One or more, in the order in which they are asked.
 *
 * @category models
 * @since 0.1.0
 */
export type Models<Model = Llm.Llm["Service"]> = readonly [Named<Model>, ...ReadonlyArray<Named<Model>>]

/**
 * When the next model is asked.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Whether another model may do better than the one that failed. Default: {@link mayDoBetter}. */
  readonly when?: ((error: AiError.AiError) => boolean) | undefined
}

/**
 * Whether a failure is the model's or its provider's: any but those that lie in the request itself, which are
 * `InvalidRequestError`, `InvalidUserInputError`, `UnsupportedSchemaError` and `ContentPolicyError`. A model that is not there, and a
 * conversation that is too long for it, are its own affair all the same. A wrong key or an
 * empty account
 * is one provider's affair.
 *
 * @category predicates
 * @since 0.1.0
 */
export const mayDoBetter = ({ reason }: AiError.AiError): boolean =>
  !faultsOfTheRequest.has(reason._tag)
  || (reason._tag === "InvalidRequestError" && errorCodes(reason).some((code) => faultsOfTheModel.has(code)))

const faultsOfTheRequest: ReadonlySet<AiError.AiErrorReason["_tag"]> = new Set([
  "InvalidRequestError",
  "InvalidUserInputError",
  "UnsupportedSchemaError",
  "ContentPolicyError"
])

/** Invalid only for a model that is gone, or too small. */
const faultsOfTheModel: ReadonlySet<string> = new Set([
  "context_length_exceeded",
  "model_not_found",
  "not_found_error",
  "deployment_not_found"
])

/**
 * Makes a model of models: asks the first, and the next when it fails.
 *
 * **Details**
 *
 * - Before the next is asked, `onDelta` gets a `Restart` with its name, and nothing of the one before after it.
 * - The response says which model answered, by its name here if its provider does not say.
 * - When all have failed, the last failure is that of the call.
 * - `sampling.model` names a model of the first; the others answer with their own.
 *
 * @category constructors
 * @since 0.1.0
 */
// Not an `ExecutionPlan`: that provides a service to an effect anew at each attempt, where these are services already,
// and does not tell whether another attempt follows a failed one, which a `Restart` has to say.
export const make = (models: Models, { when = mayDoBetter }: Options = {}): Llm.Llm["Service"] => {
  const ask = (index: number, request: Llm.LlmRequest, onDelta: OnDelta): ReturnType<Llm.Generate> =>
    Effect.suspend(() => {
      const { llm, name } = models[index]!
      const next = models[index + 1]
      const attempt = Attempt.begin(onDelta)
      return Effect.matchEffect(llm.generate(request, attempt.onDelta), {
        onSuccess: (response) => Effect.succeed(response.model === undefined ? { ...response, model: name } : response),
        onFailure: (error) => {
          if (next === undefined || !when(error)) {
            attempt.end()
            return Effect.fail(error)
          }
          Attempt.restart(onDelta, attempt, error, { delayMillis: 0, model: next.name })
          return ask(index + 1, withoutModel(request), onDelta)
        }
      })
    })
  return Llm.make((request, onDelta) => ask(0, request, onDelta))
}

const withoutModel = (request: Llm.LlmRequest): Llm.LlmRequest => ({
  ...request,
  sampling: { ...request.sampling, model: undefined }
})

/**
 * A layer with the model that {@link make} makes of the models of layers. Each layer has its own middleware.
 *
 * **Example**
 *
 * ```ts
 * import * as Llm from "effect-agent-runtime/Llm"
 * import * as CircuitBreaker from "effect-agent-runtime/middleware/CircuitBreaker"
 * import * as Concurrency from "effect-agent-runtime/middleware/Concurrency"
 * import * as Fallback from "effect-agent-runtime/middleware/Fallback"
 * import * as RateLimit from "effect-agent-runtime/middleware/RateLimit"
 * import * as ResponseCache from "effect-agent-runtime/middleware/ResponseCache"
 * import * as Retry from "effect-agent-runtime/middleware/Retry"
 * import * as Timeout from "effect-agent-runtime/middleware/Timeout"
 * import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
 * import * as Layer from "effect/Layer"
 * import { layerStoreMemory as Circuits } from "effect/persistence/CircuitBreaker"
 * import { layerStoreMemory as Limits } from "effect/persistence/RateLimiter"
 *
 * const reliable = (key: string) =>
 *   Llm.withMiddleware(
 *     Timeout.make(),
 *     RateLimit.make({ key, requests: 500, tokens: 200_000 }),
 *     Concurrency.make(20),
 *     Retry.make(),
 *     CircuitBreaker.make({ key })
 *   )
 *
 * const Model = Fallback.layer([
 *   { name: "large", llm: ScriptedLlm.layer(["Hello"]).pipe(reliable("large")) },
 *   { name: "small", llm: ScriptedLlm.layer(["Hi"]).pipe(reliable("small")) }
 * ]).pipe(Llm.withMiddleware(ResponseCache.make()), Layer.provide([Circuits(), Limits]))
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <const All extends Models<Layer.Layer<Llm.Llm, unknown, unknown>>>(
  models: All,
  options?: Options
): Layer.Layer<Llm.Llm, Layer.Error<All[number]["llm"]>, Exclude<Layer.Services<All[number]["llm"]>, Scope.Scope>> =>
  Layer.effect(
    Llm.Llm,
    Effect.map(Effect.forEach(models, build<All[number]["llm"]>), ([first, ...others]) =>
      make([first!, ...others], options)
    )
  )

const build = <L extends Layer.Layer<Llm.Llm, unknown, unknown>>({ llm, name }: Named<L>) =>
  // Error and services are those of the layer's own type.
  Effect.map(Layer.build(llm as Layer.Layer<Llm.Llm, Layer.Error<L>, Layer.Services<L>>), (context) => ({
    name,
    llm: Context.get(context, Llm.Llm)
  }))
