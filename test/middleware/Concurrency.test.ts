import { assert, describe, it } from "@effect/vitest"
import * as Concurrency from "effect-agent-runtime/middleware/Concurrency"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import { answers, failures, fails, model, request, wrap } from "../support/models.ts"

describe("concurrency", () => {
  it.effect("lets the number of calls through, and the others in order", () =>
    Effect.gen(function* () {
      const subject = model(answers("Hello", 10))
      const llm = yield* wrap(subject.llm, Concurrency.make(2))
      const fiber = yield* Effect.forkChild(
        Effect.forEach([1, 2, 3, 4, 5], (seed) => llm.generate({ ...request, sampling: { seed } }), {
          concurrency: "unbounded"
        })
      )
      yield* TestClock.adjust(100)
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(subject.calls, [0, 0, 10, 10, 20])
      assert.deepStrictEqual(
        subject.requests.map(({ sampling }) => sampling.seed),
        [1, 2, 3, 4, 5]
      )
    }).pipe(Effect.scoped)
  )

  it.effect("gives the place back when a call fails or is interrupted", () =>
    Effect.gen(function* () {
      const subject = model(fails(failures.overloaded), answers("Hello", 10), answers("Hello"))
      const llm = yield* wrap(subject.llm, Concurrency.make(1))
      yield* Effect.flip(llm.generate(request))
      const fiber = yield* Effect.forkChild(llm.generate(request), { startImmediately: true })
      yield* Fiber.interrupt(fiber)
      yield* llm.generate(request)
      assert.lengthOf(subject.calls, 3)
    }).pipe(Effect.scoped)
  )

  it.effect("can be interrupted while it waits, and never calls", () =>
    Effect.gen(function* () {
      const subject = model(answers("Hello", 10))
      const llm = yield* wrap(subject.llm, Concurrency.make(1))
      const first = yield* Effect.forkChild(llm.generate(request), { startImmediately: true })
      const second = yield* Effect.forkChild(llm.generate(request), { startImmediately: true })
      const third = yield* Effect.forkChild(llm.generate(request), { startImmediately: true })
      yield* Fiber.interrupt(second)
      yield* TestClock.adjust(20)
      yield* Fiber.join(first)
      yield* Fiber.join(third)
      assert.deepStrictEqual(subject.calls, [0, 10])
    }).pipe(Effect.scoped)
  )

  it("refuses a limit that lets nothing through", () => {
    for (const limit of [0, -1, 1.5, Number.NaN]) assert.throws(() => Concurrency.make(limit), RangeError)
  })
})
