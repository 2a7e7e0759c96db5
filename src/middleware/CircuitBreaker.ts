/**
 * Stops calling a model that keeps failing, and tries again now and then: `CircuitBreaker` of `effect/persistence`
 * around model calls. Its store holds the circuits, in memory or in Redis for several processes.
 *
 * @since 0.1.0
 */
import * as AiError from "effect/ai/AiError"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as CircuitBreaker from "effect/persistence/CircuitBreaker"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
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
  /** How long the circuit stays open. Default: 30 seconds. */
  readonly openDuration?: Duration.Input | undefined
}

/**
 * Lets no call through while the circuit is open, then one to try.
 *
 * **Details**
 *
 * - Failures that may pass count, as for `Retry`, and defects. Interrupted calls count as nothing, and so do calls that
 *   `RateLimit` refused and the failures of a provider that works: a wrong key, an invalid request, a content policy.
 * - A call that is not let through fails at once with a `RateLimitError`, the one reason that says when to come back:
 *   `retryAfter` is the time until the circuit lets a call through. Its metadata has
 *   `circuitBreaker: { key, state: "CircuitOpen" | "CircuitHalfOpen" }`.
 * - An opening lasts at least as long as the failure that caused it asked to wait (`retryAfter`), up to an hour.
 * - While the store cannot be reached, calls go through, and a warning is logged.
 *
 * **Gotchas**
 *
 * Inside `Retry`, every attempt would count, and retries would wait for the circuit where `Fallback` could move on.
 *
 * @category middleware
 * @since 0.1.0
 */
export const make =
  (options: Options): Llm.Middleware<CircuitBreaker.CircuitBreakerStore> =>
  (llm) =>
    Effect.map(CircuitBreaker.CircuitBreakerStore, (store) => {
      const circuit: Circuit = {
        store,
        key: options.key,
        tripPolicy: options.tripPolicy ?? CircuitBreaker.consecutive(5),
        openDuration: Duration.fromInputUnsafe(options.openDuration ?? "30 seconds")
      }
      return Llm.make((request, onDelta) => guarded(circuit, llm.generate(request, onDelta)))
    })

interface Circuit {
  readonly store: CircuitBreaker.CircuitBreakerStore["Service"]
  readonly key: string
  readonly tripPolicy: CircuitBreaker.TripPolicy
  readonly openDuration: Duration.Duration
}

type Call = ReturnType<Llm.Generate>

// `execute` of the service does the same with schedules and a stream of transitions, and costs as much as a whole run.
const guarded = (circuit: Circuit, call: Call): Call =>
  Effect.uninterruptibleMask((restore) => {
    // A store may need to do something as long as the call runs.
    const scope = Scope.makeUnsafe()
    return Effect.matchEffect(Scope.provide(circuit.store.admit(circuit.key), scope), {
      onSuccess: ({ generation }) =>
        Effect.onExit(restore(call), (exit) => {
          const recorded = record(circuit, generation, exit)
          const closed = Scope.closeUnsafe(scope, exit)
          return closed === undefined ? recorded : Effect.andThen(recorded, closed)
        }),
      onFailure: ({ reason }) =>
        reason._tag === "CircuitBreakerStoreError"
          ? Effect.andThen(unguarded(reason), restore(call))
          : Effect.fail(rejected(reason))
    })
  })

const record = (
  { key, openDuration, store, tripPolicy }: Circuit,
  generation: number,
  exit: Exit.Exit<Llm.LlmResponse, AiError.AiError>
): Effect.Effect<unknown> =>
  Effect.catch(
    store.record({ key, generation, tripPolicy, outcome: outcomeOf(exit), openFor: openFor(exit, openDuration) }),
    ({ reason }) => unguarded(reason)
  )

const outcomeOf = (exit: Exit.Exit<unknown, AiError.AiError>): "Success" | "Failure" | "Ignored" => {
  if (Exit.isSuccess(exit)) return "Success"
  if (Cause.hasInterruptsOnly(exit.cause)) return "Ignored"
  const error = Cause.findError(exit.cause)
  if (Result.isFailure(error)) return "Failure"
  return Attempt.isTransient(error.success) && !Attempt.isOwnRefusal(error.success) ? "Failure" : "Ignored"
}

const openFor = (exit: Exit.Exit<unknown, AiError.AiError>, openDuration: Duration.Duration): Duration.Duration => {
  if (Exit.isSuccess(exit)) return openDuration
  const hint = Result.getOrUndefined(Cause.findError(exit.cause))?.retryAfter ?? Duration.zero
  return Duration.max(openDuration, Duration.min(hint, maxOpenDuration))
}

const maxOpenDuration = Duration.hours(1)

const unguarded = (reason: CircuitBreaker.CircuitBreakerErrorReason) =>
  Effect.logWarning("Model calls are not guarded: the store of the circuit breaker cannot be reached", reason)

const rejected = (reason: CircuitBreaker.CircuitOpen | CircuitBreaker.CircuitHalfOpen): AiError.AiError =>
  AiError.make({
    module: "CircuitBreaker",
    method: "generate",
    reason: new AiError.RateLimitError({
      retryAfter: reason._tag === "CircuitOpen" ? reason.retryAfter : undefined,
      metadata: { circuitBreaker: { key: reason.key, state: reason._tag } }
    })
  })
