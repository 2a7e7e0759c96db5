/**
 * Bounds how long a model may take to begin, how long it may pause, and how long it may take in all.
 *
 * @since 0.1.0
 */
import * as AiError from "effect/ai/AiError"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { OnDelta } from "../internal/attempt.ts"
import * as Llm from "../Llm.ts"

/**
 * How long to wait. What is absent is as in {@link defaults}.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /**
   * From the call, or its latest restart, to the first piece of a streamed answer. One that is not streamed comes
   * whole, within `total`.
   */
  readonly firstToken?: Duration.Input | undefined
  /** From one piece of a streamed answer to the next. */
  readonly idle?: Duration.Input | undefined
  /** From the call to the whole answer. */
  readonly total?: Duration.Input | undefined
}

/**
 * The first piece within half a minute, pauses of up to half a minute, five minutes in all.
 *
 * @category presets
 * @since 0.1.0
 */
export const defaults = { firstToken: "30 seconds", idle: "30 seconds", total: "5 minutes" } as const satisfies Options

/**
 * No limit.
 *
 * @category presets
 * @since 0.1.0
 */
export const none = { firstToken: "Infinity", idle: "Infinity", total: "Infinity" } as const satisfies Options

/**
 * For short answers: five seconds to the first piece and between pieces, half a minute in all.
 *
 * @category presets
 * @since 0.1.0
 */
export const quick = { firstToken: "5 seconds", idle: "5 seconds", total: "30 seconds" } as const satisfies Options

/**
 * For models that think for long: a minute to the first piece and between pieces, ten minutes in all.
 *
 * @category presets
 * @since 0.1.0
 */
export const long = { firstToken: "1 minute", idle: "1 minute", total: "10 minutes" } as const satisfies Options

/**
 * Interrupts model calls that take too long. They fail with a `NetworkError` whose description names the limit, as
 * the timeouts of the HTTP providers do, so that it is worth a retry.
 *
 * **Gotchas**
 *
 * Inside `Retry` each attempt has the limits for itself; outside, `total` would hold for all attempts together.
 *
 * @category middleware
 * @since 0.1.0
 */
export const make = (options: Options = defaults): Llm.Middleware => {
  const limits: Limits = {
    firstToken: millis(options.firstToken ?? defaults.firstToken),
    idle: millis(options.idle ?? defaults.idle),
    total: millis(options.total ?? defaults.total)
  }
  return (llm) => Effect.succeed(Llm.make((request, onDelta) => bounded(llm, limits, request, onDelta)))
}

interface Limits {
  readonly firstToken: number
  readonly idle: number
  readonly total: number
}

const millis = (input: Duration.Input): number => Duration.toMillis(Duration.fromInputUnsafe(input))

/** What is known of a call. The clock is not read before there is something to wait for. */
interface Progress {
  /** Whether a piece of the latest attempt has come. */
  begun: boolean
  /** When the latest piece came. */
  latest: number
  /** Dates the pieces; absent until the call has to be waited for. */
  clock: Clock.Clock | undefined
  timedOut: boolean
  /** Makes the call, once it has begun. */
  fiber: Fiber.Fiber<unknown, unknown> | undefined
  /** Nobody waits for the call any more. */
  ended: boolean
}

const bounded = (
  llm: Llm.Llm["Service"],
  limits: Limits,
  request: Llm.LlmRequest,
  onDelta: OnDelta
): Effect.Effect<Llm.LlmResponse, AiError.AiError> =>
  Effect.suspend(() => {
    const progress: Progress = {
      begun: false,
      latest: 0,
      clock: undefined,
      timedOut: false,
      fiber: undefined,
      ended: false
    }
    const observed: OnDelta =
      onDelta
      && ((delta) => {
        if (progress.timedOut) return
        progress.begun = delta.type !== "restart"
        if (progress.clock !== undefined) progress.latest = progress.clock.currentTimeMillisUnsafe()
        onDelta(delta)
      })
    const call = Effect.withFiber((fiber) => {
      // Interrupted before the call has begun.
      if (progress.ended) return Effect.interrupt
      progress.fiber = fiber
      return llm.generate(request, observed)
    })
    const waited = Effect.flatMap(Effect.forkChild(call, { startImmediately: true }), (fiber) => {
      const exit = fiber.pollUnsafe()
      if (exit !== undefined) return exit
      // An answer that comes when its last pieces are not passed on any more is too late, too.
      const answer = Effect.flatMap(Fiber.join(fiber), (response) =>
        progress.timedOut ? Effect.never : Effect.succeed(response)
      )
      return Effect.raceFirst(answer, watch(limits, request, progress, onDelta !== undefined))
    })
    // The finalizer is there before the fiber, and waits for its end.
    return Effect.onExitPrimitive(waited, () => {
      const { fiber } = progress
      progress.ended = true
      return fiber === undefined || fiber.pollUnsafe() !== undefined ? undefined : Fiber.interrupt(fiber)
    })
  })

const watch = Effect.fnUntraced(function* (
  limits: Limits,
  request: Llm.LlmRequest,
  progress: Progress,
  isStream: boolean
) {
  const clock = yield* Clock.Clock
  const startedAt = clock.currentTimeMillisUnsafe()
  progress.clock = clock
  progress.latest = startedAt
  while (true) {
    const now = clock.currentTimeMillisUnsafe()
    const pause: Limit = !isStream ? "total" : progress.begun ? "idle" : "firstToken"
    const pauseEnds = pause === "total" ? Infinity : progress.latest + limits[pause]
    const totalEnds = startedAt + limits.total
    if (now >= Math.min(pauseEnds, totalEnds)) {
      progress.timedOut = true
      return yield* timeout(now >= totalEnds ? "total" : pause, limits, request)
    }
    // A first piece or a restart that comes meanwhile begins another wait, which must not be slept through.
    const shortest = isStream ? Math.min(limits.idle, limits.firstToken) : Infinity
    yield* Effect.sleep(Math.min(pauseEnds, totalEnds, now + shortest) - now)
  }
})

type Limit = keyof Limits

const missing: Readonly<Record<Limit, string>> = {
  firstToken: "no answer began",
  idle: "no further piece of the answer came",
  total: "no complete answer came"
}

const timeout = (limit: Limit, limits: Limits, { sampling }: Llm.LlmRequest): AiError.AiError =>
  AiError.make({
    module: "Timeout",
    method: "generate",
    reason: new AiError.NetworkError({
      reason: "TransportError",
      method: "generate",
      url: sampling.model ?? "model",
      description: `${limit}: ${missing[limit]} within ${Duration.format(Duration.millis(limits[limit]))}`
    })
  })
