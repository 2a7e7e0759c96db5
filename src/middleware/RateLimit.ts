/**
 * Keeps to a provider's rate limits: requests and tokens per window, and the pauses that a provider asks for. Built on
 * the `RateLimiterStore` of `effect/persistence`, in memory, or in Redis for several processes.
 *
 * @since 0.1.0
 */
import * as AiError from "effect/ai/AiError"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as RateLimiter from "effect/persistence/RateLimiter"
import type { OnDelta } from "../internal/attempt.ts"
import { rateLimitModule } from "../internal/attempt.ts"
import * as Llm from "../Llm.ts"
import * as TokenEstimator from "../TokenEstimator.ts"
import * as Usage from "../Usage.ts"

/**
 * The limits.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Names the limits in the store: one for each account. Requests for different models count apart. */
  readonly key: string
  /** Model calls per window. Default: no limit. */
  readonly requests?: number | undefined
  /** Input and output tokens per window. Default: no limit. */
  readonly tokens?: number | undefined
  /** Default: a minute. */
  readonly window?: Duration.Input | undefined
  /** The longest that a call waits before it is made. Default: a minute. */
  readonly maxWait?: Duration.Input | undefined
  /** The tokens that a call will take, to be reserved before it. Default: its input by the `TokenEstimator`. */
  readonly estimate?: ((request: Llm.LlmRequest) => number) | undefined
}

/**
 * Makes model calls wait until they keep to the limits.
 *
 * **Details**
 *
 * - Each limit is a bucket that is full at first and fills evenly, a window's worth in each window.
 * - The estimate of a call's tokens is taken before it. What the call took beyond that is taken after it, and the next
 *   calls wait for it. What it took less stays taken: the limiter takes nothing back.
 * - After a `RateLimitError` no fiber makes a call before `retryAfter` has passed; if the provider does not say when, a
 *   second, and twice as long for each further one in a row, up to a minute.
 * - Calls wait in the order in which they came. One that would have to wait longer than `maxWait` fails at once with a
 *   `RateLimitError` that says how long, and takes nothing of what it would wait for. One that is interrupted while it
 *   waits has taken its place all the same.
 * - While the store cannot be reached, calls are not limited, and a warning is logged.
 *
 * **Gotchas**
 *
 * - Belongs inside `Retry`, where each attempt counts, and outside `Timeout`, which would count the wait as the model's
 *   silence.
 * - Throws a `RangeError` unless `requests` and `tokens` are at least 1.
 *
 * @category middleware
 * @since 0.1.0
 */
export const make = (options: Options): Llm.Middleware<RateLimiter.RateLimiterStore> => {
  for (const name of ["requests", "tokens"] as const) {
    const limit = options[name]
    // A limit that was computed wrongly would be none.
    if (limit !== undefined && !(limit >= 1)) throw new RangeError(`RateLimit.make: ${name} is ${limit}, not >= 1`)
  }
  return (llm) =>
    Effect.gen(function* () {
      const store = yield* RateLimiter.RateLimiterStore
      const estimator = yield* TokenEstimator.TokenEstimator
      const window = Duration.fromInputUnsafe(options.window ?? "1 minute")
      const bucket = (limit: number | undefined) =>
        limit === undefined ? undefined : { limit, refillRate: Duration.divideUnsafe(window, limit) }
      const limits: Limits = {
        store,
        requests: bucket(options.requests),
        tokens: bucket(options.tokens),
        maxWait: Duration.toMillis(Duration.fromInputUnsafe(options.maxWait ?? "1 minute")),
        estimate: options.estimate ?? ((request) => TokenEstimator.request(estimator, request))
      }
      const models = new Map<string | undefined, Model>()
      const modelOf = ({ sampling }: Llm.LlmRequest): Model => {
        let known = models.get(sampling.model)
        if (known === undefined) {
          const key = sampling.model === undefined ? options.key : `${options.key}/${sampling.model}`
          known = { requests: `${key}:requests`, tokens: `${key}:tokens`, pausedUntil: 0, refusals: 0 }
          models.set(sampling.model, known)
        }
        return known
      }
      return Llm.make((request, onDelta) => limited(llm, limits, modelOf(request), request, onDelta))
    })
}

interface Bucket {
  readonly limit: number
  /** How long one token takes to come. */
  readonly refillRate: Duration.Duration
}

interface Limits {
  readonly store: RateLimiter.RateLimiterStore["Service"]
  readonly requests: Bucket | undefined
  readonly tokens: Bucket | undefined
  readonly maxWait: number
  readonly estimate: (request: Llm.LlmRequest) => number
}

interface Model {
  /** The keys of its buckets. */
  readonly requests: string
  readonly tokens: string
  /**
   * Until when the provider wants no calls. Not the store's `adaptiveConsume`, which is shared with other processes but
   * does not hear of a refusal once it has learned from another.
   */
  pausedUntil: number
  /** Rate limits in a row. */
  refusals: number
}

// Each step goes on to the next itself: a generator and a handler for each step would cost as much as the limiter.
const limited = (
  llm: Llm.Llm["Service"],
  limits: Limits,
  model: Model,
  request: Llm.LlmRequest,
  onDelta: OnDelta
): Effect.Effect<Llm.LlmResponse, AiError.AiError> =>
  Effect.suspend(() => {
    const { requests, tokens } = limits
    const patience: Patience = { millis: limits.maxWait }
    // A call that takes more than the bucket holds waits for a full one.
    const reserved = tokens === undefined ? 0 : Math.min(limits.estimate(request), tokens.limit)
    const call = () =>
      Effect.matchEffect(llm.generate(request, onDelta), {
        onFailure: (error) => heed(model, error),
        onSuccess: (response) => settle(limits, model, reserved, response)
      })
    // Last, because the provider may ask for a pause while calls wait for the limits.
    const unpaused = () => (model.pausedUntil > 0 ? Effect.andThen(pause(model, patience), call()) : call())
    const requested = () => pass(limits, model.requests, requests, 1, patience, unpaused)
    return pass(limits, model.tokens, tokens, reserved, patience, requested)
  })

/** Takes tokens from a bucket, waits for those that are missing, and goes on. */
const pass = <A>(
  limits: Limits,
  key: string,
  bucket: Bucket | undefined,
  tokens: number,
  patience: Patience,
  next: () => Effect.Effect<A, AiError.AiError>
): Effect.Effect<A, AiError.AiError> =>
  bucket === undefined
    ? next()
    : take(limits, key, bucket, tokens, false, (left) =>
        left[0] < 0
          ? Effect.andThen(queue(limits, key, bucket, tokens, missing(left, bucket), patience), Effect.suspend(next))
          : next()
      )

/**
 * Waits for tokens that are missing. They are taken in debt: whoever comes later waits behind, however little it wants,
 * and nothing is taken by a call that would have to wait too long.
 */
const queue = (limits: Limits, key: string, bucket: Bucket, tokens: number, millis: number, patience: Patience) =>
  millis > patience.millis
    ? Effect.fail(refused(Duration.millis(millis)))
    : take(limits, key, bucket, tokens, true, (owed) => wait(missing(owed, bucket), patience))

/** Waits as long as the provider wants no calls. */
const pause = Effect.fnUntraced(function* (model: Model, patience: Patience) {
  while (true) {
    const millis = model.pausedUntil - (yield* Clock.currentTimeMillis)
    if (millis <= 0) return
    yield* wait(millis, patience)
  }
})

/** Takes what the call took beyond the estimate. */
const settle = (
  limits: Limits,
  model: Model,
  reserved: number,
  response: Llm.LlmResponse
): Effect.Effect<Llm.LlmResponse> => {
  model.refusals = 0
  const answer = Effect.succeed(response)
  const more = Usage.totalTokens(response.tokens) - reserved
  return limits.tokens === undefined || more <= 0
    ? answer
    : take(limits, model.tokens, limits.tokens, more, true, () => answer)
}

/** How long a call may still wait. */
interface Patience {
  millis: number
}

/** The tokens that are left, negative if some are missing, and the milliseconds since the last of them came. */
type Left = readonly [remaining: number, elapsed: number]

/** Takes tokens if they are there, or with `owe` in any case, and goes on with what is left. */
const take = <A, E>(
  { store }: Limits,
  key: string,
  { limit, refillRate }: Bucket,
  tokens: number,
  owe: boolean,
  next: (left: Left) => Effect.Effect<A, E>
): Effect.Effect<A, E> =>
  Effect.matchEffect(store.tokenBucket({ key, tokens, limit, refillRate, allowOverflow: owe }), {
    onFailure: (error) => Effect.flatMap(unlimited(error), next),
    onSuccess: next
  })

const unlimited = (error: RateLimiter.RateLimiterError): Effect.Effect<Left> =>
  Effect.as(
    Effect.logWarning("Model calls are not limited: the store of the rate limiter cannot be reached", error),
    [0, 0]
  )

/** How long the missing tokens take to come, in milliseconds. */
const missing = ([remaining, elapsed]: Left, { refillRate }: Bucket): number =>
  Math.ceil(-remaining) * Duration.toMillis(refillRate) - elapsed

/** Waits, unless that is more than is left of the patience. */
const wait = (millis: number, patience: Patience): Effect.Effect<void, AiError.AiError> => {
  patience.millis -= millis
  return patience.millis < 0 ? Effect.fail(refused(Duration.millis(millis))) : Effect.sleep(millis)
}

const refused = (retryAfter: Duration.Duration): AiError.AiError =>
  AiError.make({ module: rateLimitModule, method: "generate", reason: new AiError.RateLimitError({ retryAfter }) })

/** Fails, and remembers how long the provider wants no calls. */
const heed = (model: Model, error: AiError.AiError): Effect.Effect<never, AiError.AiError> => {
  const { reason } = error
  if (reason._tag !== "RateLimitError") return Effect.fail(error)
  const guess = Math.min(1000 * 2 ** model.refusals++, 60_000)
  const millis = reason.retryAfter === undefined ? guess : Duration.toMillis(reason.retryAfter)
  return Effect.flatMap(Clock.currentTimeMillis, (now) => {
    model.pausedUntil = Math.max(now + millis, model.pausedUntil)
    return Effect.fail(error)
  })
}
