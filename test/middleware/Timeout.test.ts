import { assert, describe, it } from "@effect/vitest"
import type { Delta } from "effect-agent-runtime/Llm"
import * as Timeout from "effect-agent-runtime/middleware/Timeout"
import * as Simulation from "effect-agent-runtime/testing/Simulation"
import * as AiError from "effect/ai/AiError"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import type { Step } from "../support/models.ts"
import {
  answers,
  failures,
  fails,
  hangs,
  model,
  request,
  response,
  streamed,
  textOf,
  told,
  wrap
} from "../support/models.ts"

/** Streams a piece at each of the times, and answers at the last. */
const piecesAt =
  (...times: ReadonlyArray<number>): Step =>
  (sink) =>
    Effect.gen(function* () {
      let now = 0
      for (const at of times) {
        yield* Effect.sleep(at - now)
        now = at
        sink({ type: "text", delta: `${at} ` })
      }
      return response(times.map((at) => `${at} `).join(""))
    })

/** How a call ended, and when. */
const timed = (step: Step, options?: Timeout.Options, isStream = true) =>
  Effect.gen(function* () {
    const llm = yield* wrap(model(step).llm, Timeout.make(options))
    const start = yield* Clock.currentTimeMillis
    const call = isStream
      ? streamed(llm)
      : Effect.map(Effect.exit(llm.generate(request)), (exit) => ({ exit, deltas: [] as ReadonlyArray<Delta> }))
    const fiber = yield* Effect.forkChild(Effect.all({ call, end: Clock.currentTimeMillis }))
    yield* TestClock.adjust("1 hour")
    if (fiber.pollUnsafe() === undefined) {
      yield* Fiber.interrupt(fiber)
      return "hangs"
    }
    const {
      call: { deltas, exit },
      end
    } = yield* Fiber.join(fiber)
    const at = end - start
    if (Exit.isSuccess(exit)) return { at, text: textOf(exit.value), told: told(deltas) }
    const error = Exit.findErrorOption(exit)
    assert(error._tag === "Some" && error.value.reason._tag === "NetworkError")
    assert.isTrue(error.value.isRetryable)
    assert.strictEqual(error.value.module, "Timeout")
    return { at, limit: error.value.reason.description, told: told(deltas) }
  }).pipe(Effect.scoped)

const limits = { firstToken: 50, idle: 30, total: 200 }

describe("the first token", () => {
  it.effect("may come at the last moment, and the rest later", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* timed(piecesAt(10, 100), { firstToken: 50, idle: 95 }), {
        at: 100,
        text: "10 100 ",
        told: ["10 ", "100 "]
      })
    })
  )

  it.effect("that does not come ends the call", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* timed(hangs, limits), {
        at: 50,
        limit: "firstToken: no answer began within 50ms",
        told: []
      })
    })
  )

  it.effect("of an attempt that follows another has its time, too", () => {
    const restart = { type: "restart", reason: "X", message: "x", delayMillis: 0, model: undefined } as const
    const again =
      (at: number): Step =>
      (sink) =>
        Effect.gen(function* () {
          sink({ type: "text", delta: "half" })
          yield* Effect.sleep(10)
          sink(restart)
          yield* Effect.sleep(at - 10)
          sink({ type: "text", delta: "Hello" })
          return response("Hello")
        })
    return Effect.gen(function* () {
      assert.deepInclude(yield* timed(again(59), limits), { at: 59, text: "Hello" })
      const late = { at: 60, limit: "firstToken: no answer began within 50ms" }
      assert.deepInclude(yield* timed(again(61), limits), late)
      assert.deepInclude(yield* timed(again(61), { ...limits, idle: 500, total: "Infinity" }), late)
    })
  })

  it.effect("has no limit of its own in an answer that is not streamed", () =>
    Effect.gen(function* () {
      assert.deepInclude(yield* timed(answers("Hello", 199), limits, false), { at: 199, text: "Hello" })
      assert.deepInclude(yield* timed(hangs, limits, false), {
        at: 200,
        limit: "total: no complete answer came within 200ms"
      })
    })
  )
})

describe("a pause", () => {
  it.effect("is counted from the latest piece", () =>
    Effect.gen(function* () {
      assert.deepInclude(yield* timed(piecesAt(10, 39, 68, 97, 126), limits), { at: 126 })
      assert.deepStrictEqual(yield* timed(piecesAt(10, 39, 70), limits), {
        at: 69,
        limit: "idle: no further piece of the answer came within 30ms",
        told: ["10 ", "39 "]
      })
    })
  )

  it.effect("that begins before the call has to be waited for is counted too", () =>
    Effect.gen(function* () {
      assert.deepInclude(yield* timed(fails(failures.network, "Hel", "1 second"), limits), { at: 30, told: ["Hel"] })
    })
  )

  it.effect("is noticed in time where the first token may take longer, or for ever", () =>
    Effect.gen(function* () {
      assert.deepInclude(yield* timed(piecesAt(7, 1000), { firstToken: 500, idle: 30 }), { at: 37 })
      assert.deepInclude(yield* timed(piecesAt(7, 1000), { firstToken: "Infinity", idle: 30, total: "Infinity" }), {
        at: 37
      })
      assert.deepInclude(yield* timed(piecesAt(400, 1000), { firstToken: "Infinity", idle: 30, total: "Infinity" }), {
        at: 430
      })
    })
  )
})

describe("the whole call", () => {
  it.effect("ends in time although pieces keep coming", () =>
    Effect.gen(function* () {
      const step = piecesAt(...Array.from({ length: 100 }, (_, i) => 20 * (i + 1)))
      assert.deepInclude(yield* timed(step, limits), { at: 200, limit: "total: no complete answer came within 200ms" })
    })
  )

  it.effect("may have no limit", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* timed(hangs, Timeout.none), "hangs")
      assert.strictEqual(yield* timed(hangs, Timeout.none, false), "hangs")
    })
  )

  it.effect.each<readonly [string, Timeout.Options | undefined, number, number, number]>([
    ["defaults", undefined, 30, 30, 300],
    ["quick", Timeout.quick, 5, 5, 30],
    ["long", Timeout.long, 60, 60, 600]
  ])("has the limits of the preset %s", ([, options, firstToken, idle, total]) =>
    Effect.gen(function* () {
      assert.deepInclude(yield* timed(hangs, options), { at: firstToken * 1000 })
      assert.deepInclude(yield* timed(piecesAt(1000, 1e9), options), { at: 1000 + idle * 1000 })
      assert.deepInclude(yield* timed(hangs, options, false), { at: total * 1000 })
    })
  )
})

describe("a call in time", () => {
  it.effect("ends as it would without limits", () =>
    Effect.gen(function* () {
      const llm = yield* wrap(model(answers("Hello you"), fails(failures.overloaded)).llm, Timeout.make())
      const { deltas, exit } = yield* streamed(llm)
      assert.deepStrictEqual(exit, Exit.succeed(response("Hello you")))
      assert.deepStrictEqual(told(deltas), ["Hello ", "you"])
      assert.strictEqual(yield* Effect.flip(llm.generate(request)), failures.overloaded)
    }).pipe(Effect.scoped)
  )

  it.effect("dies of a defect as it would without limits", () =>
    Effect.gen(function* () {
      const llm = yield* wrap(model(() => Effect.die("bug")).llm, Timeout.make())
      assert.isTrue(Exit.hasDies(yield* Effect.exit(llm.generate(request))))
    }).pipe(Effect.scoped)
  )
})

describe("a call that is given up", () => {
  it.effect("is interrupted and says nothing more", () =>
    Effect.gen(function* () {
      let ended: Duration.Duration | undefined
      const stubborn: Step = (sink) =>
        Effect.onInterrupt(Effect.never, () =>
          Effect.gen(function* () {
            sink({ type: "text", delta: "late" })
            ended = Duration.millis(yield* Clock.currentTimeMillis)
          })
        )
      assert.deepInclude(yield* timed(stubborn, limits), { at: 50, told: [] })
      assert.deepStrictEqual(ended, Duration.millis(50))
    })
  )

  it.effect("by its caller is interrupted too", () =>
    Effect.gen(function* () {
      let interrupted = false
      const llm = yield* wrap(
        model(() => Effect.onInterrupt(Effect.never, () => Effect.sync(() => (interrupted = true)))).llm,
        Timeout.make()
      )
      const fiber = yield* Effect.forkChild(llm.generate(request), { startImmediately: true })
      yield* Fiber.interrupt(fiber)
      assert.isTrue(interrupted)
    }).pipe(Effect.scoped)
  )

  it.effect("has an error that is like those of providers", () =>
    Effect.gen(function* () {
      const llm = yield* wrap(model(hangs).llm, Timeout.make(limits))
      const fiber = yield* Effect.forkChild(Effect.flip(llm.generate({ ...request, sampling: { model: "m" } })))
      yield* TestClock.adjust(200)
      const error = yield* Fiber.join(fiber)
      assert.isTrue(AiError.isAiError(error))
      assert.match(error.message, /total: no complete answer came within 200ms \(generate m\)/)
    }).pipe(Effect.scoped)
  )
})

describe("at whatever moment something comes in between", () => {
  /** Every moment of the fibers of a call at which one of them could pause. */
  const moments = [1, 2, 3, 4, 5].flatMap((fiber) =>
    Array.from({ length: 80 }, (_, i) => ({ _tag: "Paused", fiber, operation: i + 1 }) as const)
  )

  it.effect("an answer has all its pieces, or is too late", () =>
    Effect.gen(function* () {
      const program = Effect.gen(function* () {
        const llm = yield* wrap(model(answers("one two", "5 seconds")).llm, Timeout.make(Timeout.quick))
        const { deltas, exit } = yield* streamed(llm)
        return Exit.isFailure(exit) ? "too late" : told(deltas).join("")
      }).pipe(Effect.scoped)
      const seen = new Set<unknown>()
      for (const moment of moments) {
        for (const step of [1, 2, 3]) {
          // In the second step time has come for both.
          const schedule = [moment, { _tag: "Picked", step, task: 1 } as const]
          const { exit } = yield* Simulation.run(program, { schedule })
          seen.add(Exit.isSuccess(exit) ? exit.value : exit)
        }
      }
      assert.deepStrictEqual([...seen].toSorted(), ["one two", "too late"])
    })
  )

  it.effect("a call that is interrupted has ended when its caller goes on", () =>
    Effect.gen(function* () {
      let underWay = 0
      let left = 0
      const step: Step = () =>
        Effect.acquireUseRelease(
          Effect.sync(() => underWay++),
          () => Effect.never,
          () => Effect.sync(() => underWay--)
        )
      const program = Effect.gen(function* () {
        const llm = yield* wrap(model(step).llm, Timeout.make(Timeout.quick))
        yield* Effect.onExit(streamed(llm), () => Effect.sync(() => (left += underWay)))
      }).pipe(Effect.scoped)
      for (const moment of moments) {
        yield* Simulation.run(program, { schedule: [moment, { _tag: "Interrupted", step: 2 }] })
        assert.strictEqual(left, 0, `before operation ${moment.operation} of fiber ${moment.fiber}`)
      }
    })
  )
})
