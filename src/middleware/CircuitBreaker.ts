/**
 * Stops calling a model that keeps failing, and tries again now and then: `CircuitBreaker` of `effect/persistence`
 * around model calls. Its store holds the circuits, in memory or in Redis for several processes.
 *
 * @since 0.1.0
 */
import * as AiError from "effect/ai/AiError"
import * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as CircuitBreaker from "effect/persistence/CircuitBreaker"
import * as Result from "effect/Result"
import type * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Attempt from "../internal/attempt.ts"
import * as Llm from "../Llm.ts"

/**
 * When a circuit opens, and for how long.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Names the circuit in the store: one for each provider. */
  readonly key: string
  /** Default: five failures in a row. `CircuitBreaker.rate` of `effect/persistence` counts a share of calls instead. */
  readonly tripPolicy?: CircuitBreaker.TripPolicy | undefined
  /** How long the circuit stays open, or a schedule for how long it does each time. Default: 30 seconds. */
  readonly openDuration?: Duration.Input | Schedule.Schedule<unknown, number> | undefined
}

/**
 * Lets no call through while the circuit is open, then one to try.
 *
 * **Details**
 *
 * - Failures that may pass count, as for `Retry`, and defects. Interrupted calls count as nothing, and so do the failures of a
 *   provider that works: a wrong key, an invalid request, a content policy.
 * - A call that is not let through fails at once with a `RateLimitError`, the one reason that says when to come back:
 *   `retryAfter` is the time until the circuit lets a call through. Its metadata has
 *   `circuitBreaker: { key, state: "CircuitOpen" | "CircuitHalfOpen" }`.
 * - An opening lasts at least as long as the failure that caused it asked to wait (`retryAfter`), up to an hour.
 * - While the store cannot be reached, calls go through.
 *
 * **Gotchas**
 *
 * Inside `Retry`, every attempt would count, and retries would wait for the circuit where `Fallback` could move on.
 *
 * @category middleware
 * @since 0.1.0
 */
export const make =
  (options: Options): Llm.Middleware<CircuitBreaker.CircuitBreakerStore | Scope.Scope> =>
  (llm) =>
    Effect.map(
      CircuitBreaker.make({
        tripPolicy: options.tripPolicy ?? CircuitBreaker.consecutive(5),
        openDuration: options.openDuration ?? "30 seconds"
      }),
      (breaker) => {
        const guard = breaker.execute({ key: options.key, classify })
        return Llm.make((request, onDelta) =>
          Effect.catchTag(guard(llm.generate(request, onDelta)), "CircuitBreakerError", rejected)
        )
      }
    )

const classify = (exit: Exit.Exit<Llm.LlmResponse, AiError.AiError>): CircuitBreaker.Outcome => {
  if (Exit.isSuccess(exit)) return CircuitBreaker.success
  const error = Cause.findError(exit.cause)
  if (Result.isFailure(error)) return CircuitBreaker.failure()
  return Attempt.isTransient(error.success)
    ? CircuitBreaker.failure({ retryAfter: error.success.retryAfter })
    : CircuitBreaker.ignored
}

const rejected = ({ reason }: CircuitBreaker.CircuitBreakerError): Effect.Effect<never, AiError.AiError> =>
  Effect.fail(
    AiError.make({
      module: "CircuitBreaker",
      method: "generate",
      reason: new AiError.RateLimitError({
        retryAfter: "retryAfter" in reason ? reason.retryAfter : undefined,
        metadata: { circuitBreaker: { key: "key" in reason ? reason.key : null, state: reason._tag } }
      })
    })
  )
