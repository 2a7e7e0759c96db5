/**
 * What can go wrong around a run: models that fail, break off, take long or hang; tools that die, take long or hang.
 * `inject` wraps models and tool handlers; what goes wrong, and when, is decided by a `Simulation`. Without one,
 * nothing does.
 *
 * @since 0.1.0
 */
import * as AiError from "effect/ai/AiError"
import type * as Tool from "effect/ai/Tool"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"
import { Llm, make } from "../Llm.ts"

/**
 * What a model does in one call instead of answering at once: it fails with a reason of `AiError`; it breaks off after
 * some made-up pieces, one more of which comes too late; it answers, but late; it never ends.
 *
 * @category models
 * @since 0.1.0
 */
export type ModelFault =
  | { readonly _tag: "Fails"; readonly reason: FailureReason }
  | { readonly _tag: "Breaks"; readonly pieces: number }
  | Slow
  | { readonly _tag: "Hangs" }

/**
 * What a tool does in one call: it dies, it begins late, it never ends.
 *
 * @category models
 * @since 0.1.0
 */
export type ToolFault = { readonly _tag: "Dies" } | Slow | { readonly _tag: "Hangs" }

/**
 * It takes its time first.
 *
 * @category models
 * @since 0.1.0
 */
export interface Slow {
  readonly _tag: "IsSlow"
  readonly seconds: number
}

/**
 * A subscriber of the hub for which runs wait: it takes some batches of events, then none for a time, then it leaves.
 *
 * @category models
 * @since 0.1.0
 */
export interface SubscriberFault {
  readonly takes: number
  readonly seconds: number
}

/**
 * How likely things go wrong, from 0 to 1 (default 0): each call of a model and of a tool; in a run, whether there is
 * a bad subscriber, and whether the program is interrupted.
 *
 * @category models
 * @since 0.1.0
 */
export interface Rates {
  readonly model?: number | undefined
  readonly tool?: number | undefined
  readonly subscriber?: number | undefined
  readonly interruption?: number | undefined
}

/**
 * Something of everything.
 *
 * @category presets
 * @since 0.1.0
 */
export const all: Rates = { model: 0.15, tool: 0.15, subscriber: 0.3, interruption: 0.3 }

const reasons = {
  RateLimitError: () => new AiError.RateLimitError({ retryAfter: Duration.seconds(2) }),
  InternalProviderError: () => new AiError.InternalProviderError({ description: "overloaded" }),
  NetworkError: () => broken("no connection"),
  InvalidResponseError: () => new AiError.InvalidResponseError({ description: "not JSON" }),
  AuthenticationError: () => new AiError.AuthenticationError({ kind: "InvalidKey" }),
  QuotaExhaustedError: () => new AiError.QuotaExhaustedError({}),
  ContentPolicyError: () => new AiError.ContentPolicyError({ description: "refused" }),
  InvalidRequestError: () => new AiError.InvalidRequestError({ description: "not understood" }),
  ContextOverflow: () =>
    new AiError.InvalidRequestError({ metadata: { simulated: { errorCode: "context_length_exceeded" } } })
}

const broken = (description: string) =>
  new AiError.NetworkError({ reason: "TransportError", method: "POST", url: "http://simulated", description })

/**
 * Why a model fails: tags of `AiError` reasons, and `ContextOverflow` for the `InvalidRequestError` of a conversation
 * that is too long.
 *
 * @category models
 * @since 0.1.0
 */
export type FailureReason = keyof typeof reasons

const failure = (reason: AiError.AiErrorReason) => AiError.make({ module: "Faults", method: "generate", reason })

/** What goes wrong with the next call, if anything. @internal */
export class Plan extends Context.Service<
  Plan,
  { readonly model: () => ModelFault | undefined; readonly tool: () => ToolFault | undefined }
>()("effect-agent-runtime/testing/Faults/Plan") {}

/**
 * Wraps the models and the tool handlers of a layer, so that a `Simulation` can make their calls go wrong. Whatever
 * else the layer has stays as it is.
 *
 * **Details**
 *
 * Middleware around it has to cope: put it around the provider to test retries and timeouts, around it all to test
 * the agent alone. A model that hangs hangs for ever, unless middleware such as `Timeout` knows better.
 *
 * A call that fails or breaks does not reach the wrapped model: a script goes on where it was.
 *
 * @category layers
 * @since 0.1.0
 */
export const inject = <A, E, R>(layer: Layer.Layer<A, E, R>): Layer.Layer<A, E, Exclude<R, Scope.Scope>> =>
  Layer.effectContext(
    Effect.map(Layer.build(layer), (built) => {
      const services = new Map(built.mapUnsafe)
      for (const [key, service] of services) services.set(key, wrap(key, service))
      return Context.makeUnsafe(services)
    })
  )

const wrap = (key: string, service: unknown): unknown => {
  // The key says what it is.
  if (key === Llm.key) return faultyModel(service as Llm["Service"])
  return isHandler(service) ? faultyHandler(service) : service
}

/** Toolkits put them under the ids of their tools. */
const isHandler = (service: unknown): service is Tool.Handler<string> =>
  Predicate.hasProperty(service, "handler")
  && typeof service.handler === "function"
  && Predicate.hasProperty(service, "name")
  && Predicate.hasProperty(service, "context")

const planned = <Fault>(f: (plan: Plan["Service"]) => Fault): Effect.Effect<Fault | undefined> =>
  Effect.contextWith((context: Context.Context<never>) => {
    const plan = Context.getOrUndefined(context, Plan)
    return Effect.succeed(plan === undefined ? undefined : f(plan))
  })

const faultyModel = (llm: Llm["Service"]) =>
  make((request, onDelta) =>
    Effect.flatMap(
      planned((plan) => plan.model()),
      (fault) => {
        switch (fault?._tag) {
          case undefined:
            return llm.generate(request, onDelta)
          case "Fails":
            return Effect.fail(failure(reasons[fault.reason]()))
          case "Hangs":
            return Effect.never
          case "IsSlow":
            return Effect.delay(llm.generate(request, onDelta), Duration.seconds(fault.seconds))
          case "Breaks":
            return Effect.withFiber((fiber) => {
              for (let i = 1; i <= fault.pieces; i++) onDelta?.({ type: "text", delta: `piece ${i} ` })
              // Not in a fiber: no interruption of the call reaches it.
              fiber.currentDispatcher.scheduleTask(() => onDelta?.({ type: "text", delta: "late piece" }), 0)
              return Effect.fail(failure(broken(`broken after ${fault.pieces} pieces`)))
            })
        }
      }
    )
  )

const faultyHandler = (service: Tool.Handler<string>): Tool.Handler<string> => ({
  ...service,
  handler: (params, context) =>
    Effect.flatMap(
      planned((plan) => plan.tool()),
      (fault) => {
        const call = Effect.suspend(() => service.handler(params, context))
        switch (fault?._tag) {
          case undefined:
            return call
          case "Dies":
            return Effect.die(new Error("a simulated defect"))
          case "Hangs":
            return Effect.never
          case "IsSlow":
            return Effect.delay(call, Duration.seconds(fault.seconds))
        }
      }
    )
})

const oneOf = <A>(random: () => number, values: ReadonlyArray<A>): A => values[Math.floor(random() * values.length)]!

/** From a moment to longer than anything should take. */
const seconds = [0.01, 0.5, 1, 5, 20, 60, 400]

// Object.keys has lost what it is the keys of.
const failures = Object.keys(reasons) as ReadonlyArray<FailureReason>

/** Draws what goes wrong. @internal */
export const draw = (random: () => number, rates: Rates) => {
  const happens = (rate: number | undefined) => rate !== undefined && random() < rate
  return {
    model: (): ModelFault | undefined => {
      if (!happens(rates.model)) return undefined
      return oneOf<() => ModelFault>(random, [
        () => ({ _tag: "Fails", reason: oneOf(random, failures) }),
        () => ({ _tag: "Breaks", pieces: Math.floor(random() * 4) }),
        () => ({ _tag: "IsSlow", seconds: oneOf(random, seconds) }),
        () => ({ _tag: "Hangs" })
      ])()
    },
    tool: (): ToolFault | undefined => {
      if (!happens(rates.tool)) return undefined
      return oneOf<() => ToolFault>(random, [
        () => ({ _tag: "Dies" }),
        () => ({ _tag: "IsSlow", seconds: oneOf(random, seconds) }),
        () => ({ _tag: "Hangs" })
      ])()
    },
    subscriber: (): SubscriberFault | undefined =>
      happens(rates.subscriber) ? { takes: Math.floor(random() * 6), seconds: oneOf(random, seconds) } : undefined,
    /** The step. Its order of magnitude is drawn, because nobody knows how many there are. */
    interruption: (most: number): number => (happens(rates.interruption) ? Math.floor(most ** random()) : Infinity)
  }
}
