import { assert, describe, it } from "@effect/vitest"
import type * as Llm from "effect-agent-runtime/Llm"
import * as Retry from "effect-agent-runtime/middleware/Retry"
import type * as AiError from "effect/ai/AiError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { answers, failures, fails, hangs, model, request, streamed, textOf, told, wrap } from "../support/models.ts"

const { overloaded } = failures

/** The smallest random number, or nearly the largest: jitter is exact. */
const withRandom = (value: number) =>
  Effect.provideService(Random.Random, { nextDoubleUnsafe: () => value, nextIntUnsafe: () => 0 })

/** Makes a call and lets all the time pass that it may want. */
const settled = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(effect)
    yield* TestClock.adjust("1 hour")
    return yield* Fiber.join(fiber)
  })

const retried = (subject: ReturnType<typeof model>, options?: Retry.Options, random = 0) =>
  Effect.gen(function* () {
    const llm = yield* wrap(subject.llm, Retry.make(options))
    return yield* settled(streamed(llm).pipe(withRandom(random)))
  }).pipe(Effect.scoped)

const failureOf = (exit: Exit.Exit<unknown, AiError.AiError>): AiError.AiError => {
  const error = Exit.findErrorOption(exit)
  assert(error._tag === "Some")
  return error.value
}

describe("retries", () => {
  it.effect("come after 100, 200 and 400 milliseconds by default", () =>
    Effect.gen(function* () {
      const subject = model(fails(overloaded), fails(overloaded), fails(overloaded), answers("Hello"))
      const { exit } = yield* retried(subject)
      assert.deepStrictEqual(subject.calls, [0, 100, 300, 700])
      assert.deepStrictEqual(Exit.map(exit, textOf), Exit.succeed("Hello"))
    })
  )

  it.effect.each<readonly [string, Retry.Options, ReadonlyArray<number>]>([
    ["none", Retry.none, [0]],
    ["aggressive", Retry.aggressive, [0, 50, 125, 237.5, 406.25, 659.375]],
    ["conservative", Retry.conservative, [0, 1000, 4000]]
  ])("of the preset %s come when it says", ([, options, calls]) =>
    Effect.gen(function* () {
      const subject = model(fails(overloaded))
      yield* retried(subject, options)
      assert.deepStrictEqual(subject.calls, calls)
    })
  )

  it.effect("take a schedule of one's own", () =>
    Effect.gen(function* () {
      const subject = model(fails(overloaded), fails(failures.network))
      const schedule = Schedule.spaced("5 seconds").pipe(
        Schedule.setInputType<AiError.AiError>(),
        Schedule.while(({ input }) => Effect.succeed(input.reason._tag === "InternalProviderError"))
      )
      const { exit } = yield* retried(subject, { schedule })
      assert.deepStrictEqual(subject.calls, [0, 5000])
      assert.strictEqual(failureOf(exit).reason, failures.network.reason)
    })
  )

  it.effect("do not wait longer than the longest wait, jitter included", () =>
    Effect.gen(function* () {
      const subject = model(fails(overloaded))
      const schedule = Retry.backoff({
        maxRetries: 3,
        initialDelay: "1 second",
        maxDelay: "2100 millis",
        multiplier: 2,
        jitter: 0.1
      })
      yield* retried(subject, { schedule }, 1)
      assert.deepStrictEqual(subject.calls, [0, 1100, 3200, 5300])
    })
  )

  it.effect.prop(
    "wait at least what the growth says, at most the jitter more, and never longer than the longest wait",
    [
      Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 40 })),
      Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 }))
    ],
    ([retries, random]) =>
      Effect.gen(function* () {
        const step = yield* Schedule.toStep(
          Retry.backoff({ maxRetries: 40, initialDelay: 100, maxDelay: 30_000, multiplier: 2, jitter: 0.1 })
        )
        for (let i = 0; i <= retries && i < 40; i++) {
          const [, delay] = yield* step(0, undefined)
          const grown = Math.min(100 * 2 ** i, 30_000)
          assert.isAtLeast(Duration.toMillis(delay), grown)
          assert.isAtMost(Duration.toMillis(delay), Math.min(grown * 1.1, 30_000) + 1e-6)
        }
      }).pipe(withRandom(random))
  )

  it.effect("do not begin after the time for all of them is over", () =>
    Effect.gen(function* () {
      const subject = model(fails(overloaded, "", "40 seconds"))
      const { exit } = yield* retried(subject)
      // The second failure is at 80.1 seconds, of 60.
      assert.deepStrictEqual(subject.calls, [0, 40_100])
      assert.match(failureOf(exit).message, /\(2 attempts\)/)
    })
  )

  it.effect("do not happen when there is no time for any", () =>
    Effect.gen(function* () {
      const subject = model(fails(overloaded))
      const { exit } = yield* retried(subject, { schedule: Retry.defaults.schedule, maxDuration: 0 })
      assert.deepStrictEqual(subject.calls, [0])
      assert.strictEqual(failureOf(exit), overloaded)
    })
  )
})

describe("a failure", () => {
  it.effect.each(["network", "overloaded", "malformed"] as const)("of the kind %s is retried", (kind) =>
    Effect.gen(function* () {
      const subject = model(fails(failures[kind]), answers("Hello"))
      yield* retried(subject)
      assert.lengthOf(subject.calls, 2)
    })
  )

  it.effect.each(["authentication", "quota", "invalid", "policy"] as const)(
    "of the kind %s is not, and stays itself",
    (kind) =>
      Effect.gen(function* () {
        const subject = model(fails(failures[kind]), answers("Hello"))
        const { deltas, exit } = yield* retried(subject)
        assert.lengthOf(subject.calls, 1)
        assert.strictEqual(failureOf(exit), failures[kind])
        assert.deepStrictEqual(deltas, [])
      })
  )

  it.effect("that is not retried ends the retries", () =>
    Effect.gen(function* () {
      const subject = model(fails(overloaded), fails(failures.authentication))
      const { exit } = yield* retried(subject)
      assert.deepStrictEqual(subject.calls, [0, 100])
      assert.strictEqual(failureOf(exit).reason, failures.authentication.reason)
    })
  )

  it.effect("of the last attempt is that of the call, and says how many there were", () =>
    Effect.gen(function* () {
      const { exit } = yield* retried(model(fails(failures.network), fails(overloaded)))
      const error = failureOf(exit)
      assert.strictEqual(error.reason, overloaded.reason)
      assert.deepInclude(error, { module: "Test", method: "generate (4 attempts)" })
    })
  )
})

describe("a provider that asks to wait", () => {
  it.effect("is not called before", () =>
    Effect.gen(function* () {
      const subject = model(
        fails(failures.rateLimit(Duration.seconds(7))),
        fails(failures.rateLimit()),
        answers("Hello")
      )
      const { deltas } = yield* retried(subject)
      assert.deepStrictEqual(subject.calls, [0, 7000, 7200])
      assert.deepStrictEqual(told(deltas), ["[RateLimitError 7000]", "[RateLimitError 200]", "Hello"])
    })
  )

  it.effect("for longer than there is time is given up at once", () =>
    Effect.gen(function* () {
      const limited = failures.rateLimit(Duration.seconds(61))
      const subject = model(fails(limited))
      const llm = yield* wrap(subject.llm, Retry.make())
      assert.strictEqual(yield* Effect.flip(llm.generate(request)), limited)
    }).pipe(Effect.scoped)
  )
})

describe("a stream that breaks", () => {
  it.effect("is started over, and says so before it goes on", () =>
    Effect.gen(function* () {
      const subject = model(fails(failures.network, "Hel"), answers("Hello you"))
      const { deltas } = yield* retried(subject)
      assert.deepStrictEqual(told(deltas), ["Hel", "[NetworkError 100]", "Hello ", "you"])
      assert.deepInclude(deltas[1], { message: failures.network.message, model: undefined })
    })
  )

  it.effect("says nothing more, however late", () =>
    Effect.gen(function* () {
      const sinks: Array<(delta: Llm.Delta) => void> = []
      const late = { type: "text", delta: "late" } as const
      const subject = model(
        (sink) => {
          sinks.push(sink)
          return Effect.fail(overloaded)
        },
        (sink) => {
          sinks[0]!(late)
          return answers("Hello")(sink)
        }
      )
      const { deltas } = yield* retried(subject)
      sinks[0]!(late)
      assert.deepStrictEqual(told(deltas), ["[InternalProviderError 100]", "Hello"])
    })
  )

  it.effect("for the last time ends without a restart, and its attempt says nothing more", () =>
    Effect.gen(function* () {
      let sink: (delta: Llm.Delta) => void = () => {}
      const subject = model((given) => {
        sink = given
        return Effect.fail(overloaded)
      })
      const { deltas } = yield* retried(subject, Retry.none)
      sink({ type: "text", delta: "late" })
      assert.deepStrictEqual(deltas, [])
    })
  )
})

describe("a call with retries", () => {
  it.effect("is made anew each time it is run", () =>
    Effect.gen(function* () {
      const subject = model(fails(overloaded), answers("a"), fails(overloaded), answers("b"))
      const llm = yield* wrap(subject.llm, Retry.make())
      const call = llm.generate(request)
      assert.deepStrictEqual((yield* settled(Effect.all([call, call]).pipe(withRandom(0)))).map(textOf), ["a", "b"])
      assert.lengthOf(subject.calls, 4)
    }).pipe(Effect.scoped)
  )

  it.effect("can be interrupted while it waits, and is not made again", () =>
    Effect.gen(function* () {
      const subject = model(fails(overloaded))
      const llm = yield* wrap(subject.llm, Retry.make())
      const fiber = yield* Effect.forkChild(llm.generate(request), { startImmediately: true })
      yield* Fiber.interrupt(fiber)
      yield* TestClock.adjust("1 hour")
      assert.lengthOf(subject.calls, 1)
    }).pipe(Effect.scoped)
  )

  it.effect("can be interrupted in a later attempt", () =>
    Effect.gen(function* () {
      const subject = model(fails(overloaded), hangs)
      const llm = yield* wrap(subject.llm, Retry.make())
      const fiber = yield* Effect.forkChild(llm.generate(request).pipe(withRandom(0)), { startImmediately: true })
      yield* TestClock.adjust("100 millis")
      assert.lengthOf(subject.calls, 2)
      yield* Fiber.interrupt(fiber)
      assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(fiber)))
    }).pipe(Effect.scoped)
  )

  it.effect("dies of a defect without a retry", () =>
    Effect.gen(function* () {
      const subject = model(() => Effect.die("bug"))
      const { exit } = yield* retried(subject)
      assert.isTrue(Exit.hasDies(exit))
      assert.lengthOf(subject.calls, 1)
    })
  )
})
