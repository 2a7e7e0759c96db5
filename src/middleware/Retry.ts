/**
 * Calls a model again when a call fails for a reason that may pass.
 *
 * @since 0.1.0
 */
import * as AiError from "effect/ai/AiError"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Pull from "effect/Pull"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import type { OnDelta } from "../internal/attempt.ts"
import * as Attempt from "../internal/attempt.ts"
import * as Llm from "../Llm.ts"

/**
 * When to call again.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Steps with each failure: how long to wait, and when to give up. */
  readonly schedule: Schedule.Schedule<unknown, AiError.AiError>
  /** How long after the call began another attempt may begin. Default: 60 seconds. */
  readonly maxDuration?: Duration.Input | undefined
}

/**
 * Waits that grow.
 *
 * @category models
 * @since 0.1.0
 */
export interface Backoff {
  readonly maxRetries: number
  /** The wait before the first retry. */
  readonly initialDelay: Duration.Input
  /** No wait is longer, jitter included. */
  readonly maxDelay: Duration.Input
  /** By how much each wait is longer than the one before. */
  readonly multiplier: number
  /** The random part that is added to a wait, at most, as a fraction of it: spreads out who failed together. */
  readonly jitter: number
}

/**
 * A schedule of waits that grow by a factor. Sampled from the `Random` service.
 *
 * @category schedules
 * @since 0.1.0
 */
export const backoff = (options: Backoff): Schedule.Schedule<Duration.Duration> => {
  const maxMillis = Duration.toMillis(Duration.fromInputUnsafe(options.maxDelay))
  return Schedule.exponential(options.initialDelay, options.multiplier).pipe(
    Schedule.upTo({ times: options.maxRetries }),
    Schedule.modifyDelay(({ duration }) =>
      Effect.map(Random.next, (random) =>
        Duration.millis(Math.min(Duration.toMillis(duration) * (1 + random * options.jitter), maxMillis))
      )
    )
  )
}

/**
 * Three retries after 0.1, 0.2 and 0.4 seconds and up to a tenth more, within a minute.
 *
 * @category presets
 * @since 0.1.0
 */
export const defaults: Options = {
  schedule: backoff({
    maxRetries: 3,
    initialDelay: "100 millis",
    maxDelay: "30 seconds",
    multiplier: 2,
    jitter: 0.1
  }),
  maxDuration: "60 seconds"
}

/**
 * No retry.
 *
 * @category presets
 * @since 0.1.0
 */
export const none: Options = { schedule: Schedule.recurs(0) }

/**
 * Five retries in quick succession, from 50 milliseconds and half as long again each time, within half a minute.
 *
 * @category presets
 * @since 0.1.0
 */
export const aggressive: Options = {
  schedule: backoff({
    maxRetries: 5,
    initialDelay: "50 millis",
    maxDelay: "10 seconds",
    multiplier: 1.5,
    jitter: 0.2
  }),
  maxDuration: "30 seconds"
}

/**
 * Two retries, after one and three seconds, within two minutes.
 *
 * @category presets
 * @since 0.1.0
 */
export const conservative: Options = {
  schedule: backoff({
    maxRetries: 2,
    initialDelay: "1 second",
    maxDelay: "60 seconds",
    multiplier: 3,
    jitter: 0.1
  }),
  maxDuration: "120 seconds"
}

/**
 * Retries model calls.
 *
 * **Details**
 *
 * - Retried are failures that may pass: `RateLimitError`, `InternalProviderError`, `NetworkError` of the transport,
 *   what
 *   else `AiError` calls retryable, and `InvalidResponseError`: a call changes nothing, and the next answer is another
 *   one. Wrong keys, empty accounts, invalid requests and content policies are not.
 * - A wait is at least as long as the provider asks for (`retryAfter`). If the next attempt would begin after
 *   `maxDuration`, the call fails at once instead of waiting for nothing.
 * - A stream that broke is started over. Before that, `onDelta` gets a `Restart`, and nothing of the broken attempt
 *   after it.
 * - The call fails with the last failure. Its reason is untouched; how many attempts there were stands behind its
 *   `method`, and so in its message: `generate (4 attempts)`.
 *
 * **Gotchas**
 *
 * An attempt that hangs is not retried: put `Timeout` inside.
 *
 * **Example**
 *
 * ```ts
 * import * as Llm from "effect-agent-runtime/Llm"
 * import * as Retry from "effect-agent-runtime/middleware/Retry"
 * import * as Timeout from "effect-agent-runtime/middleware/Timeout"
 * import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
 *
 * const Model = ScriptedLlm.layer(["Hello"]).pipe(Llm.withMiddleware(Timeout.make(), Retry.make(Retry.conservative)))
 * ```
 *
 * @category middleware
 * @since 0.1.0
 */
export const make = ({ maxDuration = "60 seconds", schedule }: Options = defaults): Llm.Middleware => {
  const maxMillis = Duration.toMillis(Duration.fromInputUnsafe(maxDuration))
  return (llm) =>
    Effect.succeed(
      Llm.make((request, onDelta) =>
        Effect.withFiber((fiber) => {
          const clock = fiber.getRef(Clock.Clock)
          const latest = clock.currentTimeMillisUnsafe() + maxMillis
          const attempt = Attempt.begin(onDelta)
          return Effect.catch(llm.generate(request, attempt.onDelta), (error) =>
            again({ generate: (sink) => llm.generate(request, sink), onDelta, schedule, clock, latest }, attempt, error)
          )
        })
      )
    )
}

interface Call {
  readonly generate: (onDelta: OnDelta) => Effect.Effect<Llm.LlmResponse, AiError.AiError>
  readonly onDelta: OnDelta
  readonly schedule: Options["schedule"]
  readonly clock: Clock.Clock
  /** When the last attempt may begin. */
  readonly latest: number
}

type Step = Effect.Success<ReturnType<typeof Schedule.toStep<unknown, AiError.AiError, never, never>>>

/** Goes on after the first attempt has failed. */
const again = Effect.fnUntraced(function* (call: Call, first: Attempt.Attempt, firstError: AiError.AiError) {
  const step = yield* Schedule.toStep(call.schedule)
  let attempt = first
  let error = firstError
  for (let attempts = 1; ; attempts++) {
    const delayMillis = Attempt.isTransient(error) ? yield* nextDelay(call, step, error) : undefined
    if (delayMillis === undefined) {
      attempt.end()
      return yield* attempts === 1 ? error : counted(error, attempts)
    }
    Attempt.restart(call.onDelta, attempt, error, { delayMillis, model: undefined })
    yield* Effect.sleep(delayMillis)
    attempt = Attempt.begin(call.onDelta)
    const result = yield* Effect.result(call.generate(attempt.onDelta))
    if (Result.isSuccess(result)) return result.success
    error = result.failure
  }
})

/** How long to wait before the next attempt, or `undefined` to give up. */
const nextDelay = ({ clock, latest }: Call, step: Step, error: AiError.AiError) =>
  Effect.suspend(() => {
    const now = clock.currentTimeMillisUnsafe()
    return Pull.matchEffect(step(now, error), {
      onSuccess: ([, delay]) => {
        const delayMillis = Duration.toMillis(Duration.max(delay, error.retryAfter ?? Duration.zero))
        return Effect.succeed(now + delayMillis > latest ? undefined : delayMillis)
      },
      onDone: () => Effect.undefined,
      onFailure: Effect.failCause
    })
  })

const counted = ({ method, module, reason }: AiError.AiError, attempts: number): AiError.AiError =>
  AiError.make({ module, method: `${method} (${attempts} attempts)`, reason })
