import { assert, describe, it } from "@effect/vitest"
import * as History from "effect-agent-runtime/History"
import type * as Llm from "effect-agent-runtime/Llm"
import * as RateLimit from "effect-agent-runtime/middleware/RateLimit"
import * as TokenEstimator from "effect-agent-runtime/TokenEstimator"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as RateLimiter from "effect/persistence/RateLimiter"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { answers, failures, fails, model, request, response, wrap } from "../support/models.ts"

const tested = <A, E>(effect: Effect.Effect<A, E, RateLimiter.RateLimiterStore | Scope.Scope>) =>
  effect.pipe(Effect.scoped, Effect.provide(RateLimiter.layerStoreMemory))

/** Makes calls at the same time, lets the time pass that they want, and returns how they ended. */
const together = (llm: Llm.Llm["Service"], calls: number, asked = request) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(
      Effect.all(
        Array.from({ length: calls }, () => Effect.result(llm.generate(asked))),
        { concurrency: "unbounded" }
      )
    )
    yield* TestClock.adjust("1 hour")
    return (yield* Fiber.join(fiber)).map(({ _tag }) => _tag)
  })

describe("a limit of requests", () => {
  it.effect("lets a window's worth through at once, and then one after the other", () =>
    Effect.gen(function* () {
      const subject = model(answers("Hello"))
      const llm = yield* wrap(subject.llm, RateLimit.make({ key: "test", requests: 2, window: "1 second" }))
      yield* together(llm, 5)
      assert.deepStrictEqual(subject.calls, [0, 0, 500, 1000, 1500])
    }).pipe(tested)
  )

  it.effect("takes nothing of what a call would have to wait too long for", () =>
    Effect.gen(function* () {
      const subject = model(answers("Hello"))
      const limits = { key: "test", requests: 2, window: "1 second", maxWait: "600 millis" } as const
      const llm = yield* wrap(subject.llm, RateLimit.make(limits))
      // Two at once, one after half a second; the others would have to wait for longer.
      const ended = yield* together(llm, 6)
      assert.deepStrictEqual(ended, ["Success", "Success", "Success", "Failure", "Failure", "Failure"])
      assert.deepStrictEqual(subject.calls, [0, 0, 500])
      yield* together(llm, 2)
      assert.deepStrictEqual(subject.calls.slice(3), [3_600_000, 3_600_000])
    }).pipe(tested)
  )

  it.effect("serves in the order of arrival, so that small calls do not starve a large one", () =>
    Effect.gen(function* () {
      const subject = model(answers("Hello"))
      const limits = { key: "test", tokens: 1000, maxWait: "10 minutes" } as const
      const sized = (tokens: number) => ({
        ...request,
        instructions: "x".repeat(tokens * 4 - request.history.length * 4)
      })
      const llm = yield* wrap(
        subject.llm,
        RateLimit.make({ ...limits, estimate: ({ instructions }) => instructions.length / 4 + 1 })
      )
      yield* llm.generate(sized(900))
      const large = yield* Effect.forkChild(llm.generate(sized(900)), { startImmediately: true })
      for (let i = 0; i < 60; i++) {
        yield* Effect.forkChild(llm.generate(sized(50)), { startImmediately: true })
        yield* TestClock.adjust("3 seconds")
      }
      assert.notStrictEqual(large.pollUnsafe(), undefined)
    }).pipe(tested)
  )

  it.effect("is per minute by default", () =>
    Effect.gen(function* () {
      const subject = model(answers("Hello"))
      const llm = yield* wrap(subject.llm, RateLimit.make({ key: "test", requests: 1 }))
      yield* together(llm, 2)
      assert.deepStrictEqual(subject.calls, [0, 60_000])
    }).pipe(tested)
  )

  it.effect("holds for each key and each model by itself", () =>
    Effect.gen(function* () {
      const subject = model(answers("Hello"))
      const llm = yield* wrap(subject.llm, RateLimit.make({ key: "a", requests: 1 }))
      const other = yield* wrap(subject.llm, RateLimit.make({ key: "b", requests: 1 }))
      const same = yield* wrap(subject.llm, RateLimit.make({ key: "b", requests: 1 }))
      yield* llm.generate(request)
      yield* llm.generate({ ...request, sampling: { model: "large" } })
      yield* other.generate(request)
      assert.deepStrictEqual(subject.calls, [0, 0, 0])
      yield* together(same, 1)
      assert.deepStrictEqual(subject.calls, [0, 0, 0, 60_000])
    }).pipe(tested)
  )

  it.effect("refuses at once what would wait too long, and takes nothing for it", () =>
    Effect.gen(function* () {
      const subject = model(answers("Hello"))
      const llm = yield* wrap(
        subject.llm,
        RateLimit.make({ key: "test", requests: 1, window: "10 seconds", maxWait: "9999 millis" })
      )
      yield* llm.generate(request)
      for (let i = 0; i < 3; i++) {
        const error = yield* Effect.flip(llm.generate(request))
        assert.strictEqual(error.module, "RateLimit")
        assert.strictEqual(error.reason._tag, "RateLimitError")
        assert.deepStrictEqual(error.retryAfter, Duration.seconds(10))
      }
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(yield* together(llm, 1), ["Success"])
      assert.deepStrictEqual(subject.calls, [0, 10_000])
    }).pipe(tested)
  )

  it.effect("keeps the place of a call that is interrupted while it waits", () =>
    Effect.gen(function* () {
      const subject = model(answers("Hello"))
      const llm = yield* wrap(subject.llm, RateLimit.make({ key: "test", requests: 1, window: "10 seconds" }))
      yield* llm.generate(request)
      const fiber = yield* Effect.forkChild(llm.generate(request), { startImmediately: true })
      yield* Fiber.interrupt(fiber)
      yield* together(llm, 1)
      assert.deepStrictEqual(subject.calls, [0, 20_000])
    }).pipe(tested)
  )
})

describe("a limit of tokens", () => {
  const estimate = () => 60
  const taking = (tokens: number) => model(() => Effect.succeed(response("Hello", tokens)))

  it.effect("takes the estimate before the call", () =>
    Effect.gen(function* () {
      const subject = taking(60)
      const llm = yield* wrap(subject.llm, RateLimit.make({ key: "test", tokens: 100, window: "1 second", estimate }))
      yield* together(llm, 3)
      assert.deepStrictEqual(subject.calls, [0, 200, 800])
    }).pipe(tested)
  )

  it.effect("takes what a call took beyond its estimate after it", () =>
    Effect.gen(function* () {
      const subject = taking(160)
      const llm = yield* wrap(subject.llm, RateLimit.make({ key: "test", tokens: 100, window: "1 second", estimate }))
      yield* llm.generate(request)
      yield* together(llm, 1)
      // 60 of 100 were there; 160 are gone, so 120 have to come.
      assert.deepStrictEqual(subject.calls, [0, 1200])
    }).pipe(tested)
  )

  it.effect("gives nothing back for what a call took less", () =>
    Effect.gen(function* () {
      const subject = taking(1)
      const llm = yield* wrap(subject.llm, RateLimit.make({ key: "test", tokens: 100, window: "1 second", estimate }))
      yield* llm.generate(request)
      yield* together(llm, 1)
      assert.deepStrictEqual(subject.calls, [0, 200])
    }).pipe(tested)
  )

  it.effect("makes a call that is larger than the limit wait for all of it, and not for ever", () =>
    Effect.gen(function* () {
      const subject = taking(0)
      const llm = yield* wrap(
        subject.llm,
        RateLimit.make({ key: "test", tokens: 100, window: "1 second", estimate: () => 1000 })
      )
      yield* together(llm, 2)
      assert.deepStrictEqual(subject.calls, [0, 1000])
    }).pipe(tested)
  )

  it.effect("takes what the estimator says of the request, its tools included", () =>
    Effect.gen(function* () {
      const subject = taking(0)
      const llm = yield* wrap(subject.llm, RateLimit.make({ key: "test", tokens: 100, window: "1 second" })).pipe(
        Effect.provide(TokenEstimator.layer({ text: (text) => text.length }))
      )
      const history = History.appendUser(History.empty, "x".repeat(40))
      const call = { ...request, instructions: "", history }
      for (let i = 0; i < 3; i++) {
        yield* Effect.forkChild(llm.generate(call), { startImmediately: true })
      }
      yield* TestClock.adjust("2 seconds")
      // 44 tokens each: the third waits for 32.
      assert.deepStrictEqual(subject.calls, [0, 0, 320])
    }).pipe(tested)
  )
})

describe("a provider that asks to wait", () => {
  it.effect("gets no call from any fiber before", () =>
    Effect.gen(function* () {
      const subject = model(fails(failures.rateLimit(Duration.seconds(7))), answers("Hello"))
      const llm = yield* wrap(subject.llm, RateLimit.make({ key: "test" }))
      yield* Effect.flip(llm.generate(request))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* together(llm, 2), ["Success", "Success"])
      assert.deepStrictEqual(subject.calls, [0, 7000, 7000])
    }).pipe(tested)
  )

  it.effect("grows by itself when the provider does not say how long, until a call succeeds", () =>
    Effect.gen(function* () {
      const limit = fails(failures.rateLimit())
      const subject = model(limit, limit, limit, answers("Hello"), limit, answers("Hello"))
      const llm = yield* wrap(subject.llm, RateLimit.make({ key: "test" }))
      for (let i = 0; i < 6; i++) yield* together(llm, 1)
      const hour = 3_600_000
      // Each call of the test comes an hour after the one before: the pauses are over. At once, they are not.
      assert.deepStrictEqual(
        subject.calls,
        [0, 1, 2, 3, 4, 5].map((i) => i * hour)
      )
      const busy = model(limit, limit, limit, answers("Hello"), limit, answers("Hello"))
      const again = yield* wrap(busy.llm, RateLimit.make({ key: "busy" }))
      const calls = yield* Effect.forkChild(Effect.replicateEffect(Effect.exit(again.generate(request)), 6))
      yield* TestClock.adjust("1 hour")
      yield* Fiber.join(calls)
      const begin = 6 * hour
      assert.deepStrictEqual(
        busy.calls,
        [0, 1000, 3000, 7000, 7000, 8000].map((millis) => begin + millis)
      )
    }).pipe(tested)
  )

  it.effect("holds calls back that were about to be made", () =>
    Effect.gen(function* () {
      const subject = model(
        fails(failures.rateLimit(Duration.seconds(7)), "", "100 millis"),
        fails(failures.rateLimit(Duration.seconds(20)), "", "200 millis"),
        answers("Hello")
      )
      const llm = yield* wrap(subject.llm, RateLimit.make({ key: "test", requests: 2, window: "20 seconds" }))
      // The third waits 10 seconds for the limit, and then for the longer of the two pauses.
      yield* together(llm, 3)
      assert.deepStrictEqual(subject.calls, [0, 0, 20_200])
    }).pipe(tested)
  )

  it.effect("only for one model is asked for the others", () =>
    Effect.gen(function* () {
      const subject = model(fails(failures.rateLimit(Duration.seconds(7))), answers("Hello"))
      const llm = yield* wrap(subject.llm, RateLimit.make({ key: "test" }))
      yield* Effect.flip(llm.generate({ ...request, sampling: { model: "large" } }))
      yield* llm.generate(request)
      assert.deepStrictEqual(subject.calls, [0, 0])
    }).pipe(tested)
  )

  it.effect("for too long makes calls fail at once", () =>
    Effect.gen(function* () {
      const subject = model(fails(failures.rateLimit(Duration.minutes(2))), answers("Hello"))
      const llm = yield* wrap(subject.llm, RateLimit.make({ key: "test" }))
      yield* Effect.flip(llm.generate(request))
      const error = yield* Effect.flip(llm.generate(request))
      assert.deepStrictEqual(error.retryAfter, Duration.minutes(2))
      assert.lengthOf(subject.calls, 1)
    }).pipe(tested)
  )
})

it("refuses limits that let nothing through, or everything", () => {
  for (const limit of [0, -1, 0.5, Number.NaN]) {
    assert.throws(() => RateLimit.make({ key: "test", requests: limit }), RangeError)
    assert.throws(() => RateLimit.make({ key: "test", tokens: limit }), RangeError)
  }
})

describe("a store that cannot be reached", () => {
  const unreachable = Effect.fail(
    new RateLimiter.RateLimiterError({ reason: new RateLimiter.RateLimitStoreError({ message: "unreachable" }) })
  )

  it.effect("lets calls through", () =>
    Effect.gen(function* () {
      const subject = model(() => Effect.succeed(response("Hello", 1000)))
      const llm = yield* wrap(subject.llm, RateLimit.make({ key: "test", requests: 1, tokens: 1 }))
      assert.deepStrictEqual(yield* together(llm, 3), ["Success", "Success", "Success"])
      assert.deepStrictEqual(subject.calls, [0, 0, 0])
    }).pipe(
      Effect.scoped,
      Effect.provide(
        Layer.succeed(RateLimiter.RateLimiterStore, {
          fixedWindow: () => unreachable,
          tokenBucket: () => unreachable,
          adaptiveConsume: () => unreachable,
          adaptiveFeedback: () => unreachable
        })
      )
    )
  )
})
