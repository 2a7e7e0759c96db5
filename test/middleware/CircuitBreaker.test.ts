import { assert, describe, it } from "@effect/vitest"
import type * as Llm from "effect-agent-runtime/Llm"
import * as CircuitBreaker from "effect-agent-runtime/middleware/CircuitBreaker"
import * as RateLimit from "effect-agent-runtime/middleware/RateLimit"
import type * as AiError from "effect/ai/AiError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Store from "effect/persistence/CircuitBreaker"
import * as RateLimiter from "effect/persistence/RateLimiter"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import type { Step } from "../support/models.ts"
import { answers, failures, fails, hangs, model, request, response, wrap } from "../support/models.ts"

/** A model behind a circuit that opens after two failures. */
const guarded = (subject: { readonly llm: Llm.Llm["Service"] }, options?: Partial<CircuitBreaker.Options>) =>
  wrap(subject.llm, CircuitBreaker.make({ key: "test", tripPolicy: Store.consecutive(2), ...options }))

const tested = <A, E>(effect: Effect.Effect<A, E, Store.CircuitBreakerStore | Scope.Scope>) =>
  effect.pipe(Effect.scoped, Effect.provide(Store.layerStoreMemory()))

/** A call's text, or the module that its failure comes from. */
const outcome = (llm: Llm.Llm["Service"]) =>
  Effect.match(llm.generate(request), {
    onSuccess: () => "answered",
    onFailure: ({ module }: AiError.AiError) => module
  })

const outcomes = (llm: Llm.Llm["Service"], calls: number) => Effect.replicateEffect(outcome(llm), calls)

describe("a circuit", () => {
  it.effect("opens after failures in a row, and lets one call try when its time is over", () =>
    Effect.gen(function* () {
      const subject = model(fails(failures.overloaded), fails(failures.network), answers("Hello"))
      const llm = yield* guarded(subject)
      assert.deepStrictEqual(yield* outcomes(llm, 4), ["Test", "Test", "CircuitBreaker", "CircuitBreaker"])
      yield* TestClock.adjust("29999 millis")
      assert.strictEqual(yield* outcome(llm), "CircuitBreaker")
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(yield* outcomes(llm, 3), ["answered", "answered", "answered"])
      assert.deepStrictEqual(subject.calls, [0, 0, 30_000, 30_000, 30_000])
    }).pipe(tested)
  )

  it.effect("stays closed when the calls were refused before they reached the provider", () =>
    Effect.gen(function* () {
      const subject = model(answers("Hello"))
      const limited = yield* wrap(
        subject.llm,
        RateLimit.make({ key: "test", requests: 2, window: "1 second", maxWait: 0 })
      )
      const llm = yield* guarded({ llm: limited })
      assert.deepStrictEqual(yield* outcomes(llm, 5), ["answered", "answered", "RateLimit", "RateLimit", "RateLimit"])
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* outcome(llm), "answered")
    }).pipe(Effect.provide(RateLimiter.layerStoreMemory), tested)
  )

  it.effect("opens after five failures by default", () =>
    Effect.gen(function* () {
      const subject = model(fails(failures.overloaded))
      const llm = yield* wrap(subject.llm, CircuitBreaker.make({ key: "test" }))
      yield* outcomes(llm, 9)
      assert.lengthOf(subject.calls, 5)
    }).pipe(tested)
  )

  it.effect("that is open fails calls with how long it stays so", () =>
    Effect.gen(function* () {
      const llm = yield* guarded(model(fails(failures.overloaded)), { openDuration: "10 seconds" })
      yield* outcomes(llm, 2)
      yield* TestClock.adjust("4 seconds")
      const error = yield* Effect.flip(llm.generate(request))
      assert(error.reason._tag === "RateLimitError")
      assert.deepStrictEqual(error.reason.metadata, { circuitBreaker: { key: "test", state: "CircuitOpen" } })
      assert.deepStrictEqual(error.retryAfter, Duration.seconds(6))
      assert.isTrue(error.isRetryable)
    }).pipe(tested)
  )

  it.effect("lets only one call try, and opens again if that fails", () =>
    Effect.gen(function* () {
      const subject = model(fails(failures.overloaded), fails(failures.overloaded), fails(failures.overloaded, "", 10))
      const llm = yield* guarded(subject)
      yield* outcomes(llm, 2)
      yield* TestClock.adjust("30 seconds")
      const probe = yield* Effect.forkChild(outcome(llm), { startImmediately: true })
      const error = yield* Effect.flip(llm.generate(request))
      assert(error.reason._tag === "RateLimitError")
      assert.deepInclude(error.reason.metadata["circuitBreaker"], { state: "CircuitHalfOpen" })
      assert.isUndefined(error.retryAfter)
      yield* TestClock.adjust(10)
      assert.strictEqual(yield* Fiber.join(probe), "Test")
      assert.strictEqual(yield* outcome(llm), "CircuitBreaker")
      assert.lengthOf(subject.calls, 3)
    }).pipe(tested)
  )

  it.effect("stays open for as long as the provider asked to wait", () =>
    Effect.gen(function* () {
      const subject = model(
        fails(failures.overloaded),
        fails(failures.rateLimit(Duration.minutes(2))),
        answers("Hello")
      )
      const llm = yield* guarded(subject)
      yield* outcomes(llm, 2)
      yield* TestClock.adjust("119 seconds")
      assert.strictEqual(yield* outcome(llm), "CircuitBreaker")
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* outcome(llm), "answered")
    }).pipe(tested)
  )

  it.effect("counts defects", () =>
    Effect.gen(function* () {
      const llm = yield* guarded(model(() => Effect.die("bug")))
      yield* Effect.replicateEffect(Effect.exit(llm.generate(request)), 2)
      assert.strictEqual(yield* outcome(llm), "CircuitBreaker")
    }).pipe(tested)
  )

  it.effect.each<Step>([
    answers("Hello"),
    fails(failures.authentication),
    fails(failures.quota),
    fails(failures.invalid),
    fails(failures.policy)
  ])("stays closed when the provider works", (step) =>
    Effect.gen(function* () {
      const subject = model(step)
      const llm = yield* guarded(subject)
      yield* outcomes(llm, 5)
      assert.lengthOf(subject.calls, 5)
    }).pipe(tested)
  )

  it.effect("stays closed when calls are interrupted", () =>
    Effect.gen(function* () {
      const subject = model(hangs, hangs, hangs, answers("Hello"))
      const llm = yield* guarded(subject)
      for (let i = 0; i < 3; i++) {
        const fiber = yield* Effect.forkChild(llm.generate(request), { startImmediately: true })
        yield* Fiber.interrupt(fiber)
      }
      assert.strictEqual(yield* outcome(llm), "answered")
    }).pipe(tested)
  )

  it.effect("is shared by models with the same key, and no others", () =>
    Effect.gen(function* () {
      const failing = yield* guarded(model(fails(failures.overloaded)))
      const same = yield* guarded(model(answers("Hello")))
      const other = yield* guarded(model(answers("Hello")), { key: "other" })
      yield* outcomes(failing, 2)
      assert.strictEqual(yield* outcome(same), "CircuitBreaker")
      assert.strictEqual(yield* outcome(other), "answered")
    }).pipe(tested)
  )
})

const unreachable = Effect.fail(
  new Store.CircuitBreakerError({ reason: new Store.CircuitBreakerStoreError({ message: "unreachable" }) })
)

const admitted: Store.Admission = { generation: 0, probe: true, consecutiveOpenings: 0, transition: undefined }

const store = (admit: Store.CircuitBreakerStore["Service"]["admit"]) =>
  Layer.succeed(Store.CircuitBreakerStore, { admit, record: () => unreachable, state: () => unreachable })

describe("a store", () => {
  it.effect.each([
    ["before", store(() => unreachable)] as const,
    ["after", store(() => Effect.succeed(admitted))] as const
  ])("that cannot be reached %s a call leaves it as it is", ([, layer]) =>
    Effect.gen(function* () {
      const llm = yield* guarded(model(answers("Hello"), fails(failures.network)))
      assert.deepStrictEqual(yield* llm.generate(request), response("Hello"))
      assert.strictEqual(yield* Effect.flip(llm.generate(request)), failures.network)
    }).pipe(Effect.scoped, Effect.provide(layer))
  )

  it.effect("may do something for as long as a call runs", () => {
    const seen: Array<string> = []
    const admit = () =>
      Effect.as(
        Effect.addFinalizer(() => Effect.sync(() => seen.push("over"))),
        admitted
      )
    return Effect.gen(function* () {
      const llm = yield* guarded(model(() => Effect.sync(() => (seen.push("called"), response("Hello")))))
      yield* llm.generate(request)
      assert.deepStrictEqual(seen, ["called", "over"])
    }).pipe(Effect.scoped, Effect.provide(store(admit)))
  })
})
