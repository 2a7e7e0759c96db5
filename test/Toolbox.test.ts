import { assert, describe, it } from "@effect/vitest"
import * as Toolbox from "effect-agent-runtime/Toolbox"
import * as AiError from "effect/ai/AiError"
import * as Prompt from "effect/ai/Prompt"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { MathTools, MathToolsLayer } from "./support/calculator.ts"

const call = (name: string, params?: unknown): Toolbox.ToolCall => ({ id: "c1", name, params })

/** Calls a tool of the calculator's toolbox. */
const calculate = (params: unknown) =>
  Effect.flatMap(Toolbox.make(MathTools), (toolbox) => toolbox.call(call("calculator", params))).pipe(
    Effect.provide(MathToolsLayer)
  )

/** Calls the only tool of a toolkit. Handlers are loosely typed here, because some tests want them to misbehave. */
const callOnly = <T extends Tool.Any>(
  tool: T,
  handler: (params: Tool.Parameters<T>) => Effect.Effect<unknown, unknown>,
  params?: unknown
): Effect.Effect<Toolbox.ToolOutcome, unknown> => {
  const toolkit = Toolkit.make(tool as Tool.Any) as Toolkit.Toolkit<{}>
  return Effect.flatMap(Toolbox.make(toolkit), (toolbox) => toolbox.call(call(tool.name, params))).pipe(
    Effect.provide(toolkit.toLayer({ [tool.name]: handler }))
  )
}

const failed = (outcome: Toolbox.ToolOutcome) => {
  assert.isTrue(outcome.isFailure)
  return outcome.isFailure ? outcome : assert.fail()
}

describe("params", () => {
  it.effect("are decoded, and results encoded, by the tool's schemas", () =>
    Effect.gen(function* () {
      const When = Tool.make("when", {
        parameters: Schema.Struct({ date: Schema.Date }),
        success: Schema.Struct({ next: Schema.Date, big: Schema.BigInt })
      })
      const outcome = yield* callOnly(
        When,
        ({ date }) => Effect.succeed({ next: new Date(date.getTime() + 86_400_000), big: 10n }),
        { date: "2026-01-01T00:00:00.000Z" }
      )
      assert.deepStrictEqual(outcome.result, { next: "2026-01-02T00:00:00.000Z", big: "10" })
    })
  )

  it.effect("may be missing, empty or null for a tool that takes none", () =>
    Effect.gen(function* () {
      for (const params of [undefined, null, "", "{}", "null", {}]) {
        const outcome = yield* callOnly(
          Tool.make("ping", { success: Schema.String }),
          () => Effect.succeed("pong"),
          params
        )
        assert.deepStrictEqual(outcome, { isFailure: false, result: "pong", modelOutput: undefined })
      }
    })
  )

  it.effect("may be JSON text", () =>
    Effect.gen(function* () {
      const outcome = yield* calculate('{"operation":"add","a":1,"b":2}')
      assert.deepStrictEqual(outcome.result, { result: 3 })
    })
  )

  it.effect("that are not JSON go back to the model with the reason", () =>
    Effect.gen(function* () {
      const outcome = failed(yield* calculate('{"operation":"add","a":1'))
      assert.strictEqual(outcome.kind, "invalid-params")
      assert.match(String(outcome.result), /^Invalid arguments for tool 'calculator': they are not valid JSON/)
    })
  )

  it.effect("that do not match the schema go back with every issue", () =>
    Effect.gen(function* () {
      const outcome = failed(yield* calculate({ operation: "power", a: "one" }))
      assert.strictEqual(outcome.kind, "invalid-params")
      for (const field of ["operation", '"a"', '"b"']) assert.include(String(outcome.result), field)
    })
  )

  it.effect("that are no object go back too", () =>
    Effect.gen(function* () {
      for (const params of [7, true, [1], '"text"', "[]"]) {
        assert.strictEqual(failed(yield* calculate(params)).kind, "invalid-params")
      }
    })
  )

  it.effect("never touch a prototype", () =>
    Effect.gen(function* () {
      const Any = Tool.make("any", { parameters: Schema.Unknown, success: Schema.Unknown })
      let handled = 0
      for (const text of [
        '{"__proto__":{"polluted":true}}',
        '{"a":[{"__proto__":{"polluted":true}}]}',
        '{"constructor":{"prototype":{"polluted":true}}}'
      ]) {
        for (const params of [text, JSON.parse(text)]) {
          const outcome = yield* callOnly(Any, () => Effect.sync(() => handled++), params)
          assert.strictEqual(failed(outcome).kind, "invalid-params")
        }
      }
      assert.strictEqual(handled, 0)
      assert.isUndefined(({} as { polluted?: boolean }).polluted)
    })
  )

  it.effect("that are too deep or too large are refused unread", () =>
    Effect.gen(function* () {
      const Any = Tool.make("any", { parameters: Schema.Unknown })
      const deep = "[".repeat(100_000) + "]".repeat(100_000)
      const outcome = failed(yield* callOnly(Any, () => Effect.void, deep))
      assert.strictEqual(outcome.kind, "invalid-params")
      assert.include(String(outcome.result), "too deep")
      const large = failed(yield* callOnly(Any, () => Effect.void, { text: "x".repeat(2_000_000) }))
      assert.include(String(large.result), "too large")
      assert.isBelow(String(large.result).length, 200)
    })
  )

  it.effect("of a dynamic tool with a JSON Schema reach its handler as they are", () =>
    Effect.gen(function* () {
      const Dynamic = Tool.dynamic("dynamic", {
        parameters: { type: "object", properties: { q: { type: "string" } } },
        success: Schema.Unknown
      })
      const outcome = yield* callOnly(Dynamic, (params) => Effect.succeed(params), { q: "x" })
      assert.deepStrictEqual(outcome.result, { q: "x" })
    })
  )
})

describe("unknown tools", () => {
  it.effect("go back to the model with the names it may use", () =>
    Effect.gen(function* () {
      const toolbox = yield* Toolbox.make(MathTools)
      const outcome = failed(yield* toolbox.call(call("calculater")))
      assert.strictEqual(outcome.kind, "unknown-tool")
      assert.strictEqual(outcome.result, "There is no tool 'calculater'. The tools are: calculator.")
      for (const name of ["__proto__", "constructor", "toString"]) {
        assert.strictEqual(failed(yield* toolbox.call(call(name))).kind, "unknown-tool")
      }
    }).pipe(Effect.provide(MathToolsLayer))
  )
})

describe("failures", () => {
  const Fails = Tool.make("fails", {
    failure: Schema.Struct({ code: Schema.Finite, at: Schema.Date }),
    failureMode: "return"
  })

  it.effect("are encoded for the model with failureMode return", () =>
    Effect.gen(function* () {
      const outcome = failed(yield* callOnly(Fails, () => Effect.fail({ code: 7, at: new Date(0) })))
      assert.strictEqual(outcome.kind, "failure")
      assert.deepStrictEqual(outcome.result, { code: 7, at: "1970-01-01T00:00:00.000Z" })
      assert.strictEqual(outcome.raised, undefined)
    })
  )

  it.effect("are the failure of the call with failureMode error", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        callOnly(Tool.make("strict", { failure: Schema.String }), () => Effect.fail("no"))
      )
      assert.strictEqual(error, "no")
    })
  )

  it.effect("with an AiError tell the model its message only", () =>
    Effect.gen(function* () {
      const reason = new AiError.InternalProviderError({ description: "upstream is down" })
      const outcome = failed(yield* callOnly(Fails, () => Effect.fail(reason)))
      assert.deepStrictEqual(outcome.result, { error: reason.message })
    })
  )

  it.effect("that die tell the model nothing but that", () =>
    Effect.gen(function* () {
      const secret = new Error("password is hunter2")
      for (const handler of [
        () => Effect.die(secret),
        () => {
          throw secret
        },
        () => Effect.sync(() => JSON.parse("hunter2"))
      ]) {
        const outcome = failed(yield* callOnly(Fails, handler))
        assert.strictEqual(outcome.kind, "defect")
        assert.strictEqual(outcome.result, "The tool failed unexpectedly.")
        assert.include(outcome.detail!, "hunter2")
      }
    })
  )

  it.effect("of a handler that interrupts itself do not interrupt the run", () =>
    Effect.gen(function* () {
      assert.strictEqual(failed(yield* callOnly(Fails, () => Effect.interrupt)).kind, "defect")
    })
  )

  it.effect("to return what the schema says are defects", () =>
    Effect.gen(function* () {
      const Typed = Tool.make("typed", { success: Schema.Struct({ n: Schema.Finite }) })
      const outcome = failed(yield* callOnly(Typed, () => Effect.succeed({ n: "many" })))
      assert.strictEqual(outcome.kind, "defect")
      assert.include(outcome.detail!, "Invalid result")
    })
  )
})

describe("results", () => {
  const Text = Tool.make("text", { success: Schema.Unknown })

  it.effect("of nothing are null", () =>
    Effect.gen(function* () {
      const outcome = yield* callOnly(Tool.make("void"), () => Effect.void)
      assert.strictEqual(outcome.result, null)
    })
  )

  it.effect("that are too long are cut between characters, saying so", () =>
    Effect.gen(function* () {
      const Short = Text.annotate(Toolbox.MaxResultSize, 20)
      const outcome = yield* callOnly(Short, () => Effect.succeed("0123456789012345678😀 and more"))
      assert.strictEqual(outcome.result, "0123456789012345678… [cut: 19 of 30 characters]")
      const whole = yield* callOnly(Short, () => Effect.succeed("01234567890123456789"))
      assert.strictEqual(whole.result, "01234567890123456789")
      const json = yield* callOnly(Short, () => Effect.succeed({ list: Array.from({ length: 20 }, () => 1) }))
      assert.strictEqual(json.result, '{"list":[1,1,1,1,1,1… [cut: 20 of 50 characters]')
    })
  )

  it.effect("that are cyclic or too deep are defects", () =>
    Effect.gen(function* () {
      let deep: unknown = 1
      for (let i = 0; i < 2000; i++) deep = [deep]
      assert.strictEqual(failed(yield* callOnly(Text, () => Effect.succeed(deep))).kind, "defect")
    })
  )

  it.effect("have the form that they have as JSON, and are defects if they have none", () =>
    Effect.gen(function* () {
      const Any = Tool.make("any", { success: Schema.Any })
      const date = new Date(0)
      const outcome = yield* callOnly(Any, () => Effect.succeed({ at: date, list: [date] }))
      assert.deepStrictEqual(outcome.result, { at: date.toISOString(), list: [date.toISOString()] })
      const thrower = {
        get secret() {
          throw new Error("no")
        }
      }
      const cyclic: Record<string, unknown> = { toJSON: undefined }
      cyclic["self"] = cyclic
      const bad = [
        10n,
        { a: [10n] },
        thrower,
        {
          toJSON: () => {
            throw new Error("no")
          }
        },
        cyclic
      ]
      for (const value of bad) {
        assert.strictEqual(failed(yield* callOnly(Any, () => Effect.succeed(value))).kind, "defect")
      }
    })
  )

  it.effect("can be shown to the model as other content", () =>
    Effect.gen(function* () {
      const Chart = Tool.make("chart", {
        success: Schema.Struct({ points: Schema.Finite }),
        toModelOutput: ({ points }) => [Prompt.textPart({ text: `${points} points` })]
      })
      const outcome = yield* callOnly(Chart, () => Effect.succeed({ points: 3 }))
      assert.deepStrictEqual(outcome.result, { points: 3 })
      const [part] = outcome.isFailure ? [] : (outcome.modelOutput ?? [])
      assert.deepInclude(part, { type: "text", text: "3 points" })
      assert.isFalse(Prompt.isPart(part))
    })
  )

  it.effect("that are preliminary are reported, encoded", () =>
    Effect.gen(function* () {
      const Progress = Tool.make("progress", { success: Schema.Date })
      const toolkit = Toolkit.make(Progress)
      const reported: Array<unknown> = []
      const outcome = yield* Effect.flatMap(Toolbox.make(toolkit), (toolbox) =>
        toolbox.call(call("progress"), (result) => reported.push(result))
      ).pipe(
        Effect.provide(
          toolkit.toLayer({
            progress: (_, context) => Effect.as(context.preliminary(new Date(1)), new Date(2))
          })
        )
      )
      assert.deepStrictEqual(reported, ["1970-01-01T00:00:00.001Z"])
      assert.strictEqual(outcome.result, "1970-01-01T00:00:00.002Z")
    })
  )
})

describe("annotations", () => {
  const Slow = Tool.make("slow", { success: Schema.String, failure: Schema.String, failureMode: "return" })

  it.effect("Timeout ends a call that takes too long, as data", () =>
    Effect.gen(function* () {
      let interrupted = 0
      const fiber = yield* callOnly(Slow.annotate(Toolbox.Timeout, "5 seconds"), () =>
        Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted++))
      ).pipe(Effect.forkChild)
      yield* TestClock.adjust("5 seconds")
      const outcome = failed(yield* Fiber.join(fiber))
      assert.strictEqual(outcome.kind, "timeout")
      assert.strictEqual(outcome.result, "Tool 'slow' gave no result within 5s.")
      assert.strictEqual(interrupted, 1)
    })
  )

  it.effect("Timeout ends the call as data with failureMode error too", () =>
    Effect.gen(function* () {
      const Strict = Tool.make("strict", { failure: Schema.String }).annotate(Toolbox.Timeout, "1 second")
      const fiber = yield* Effect.forkChild(callOnly(Strict, () => Effect.never))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(failed(yield* Fiber.join(fiber)).kind, "timeout")
    })
  )

  it.effect("Retry runs a failed handler again, and the model sees the last outcome", () =>
    Effect.gen(function* () {
      let attempts = 0
      const Retried = Slow.annotate(Toolbox.Retry, Schedule.recurs(2))
      const outcome = yield* callOnly(Retried, () =>
        Effect.suspend(() => (++attempts < 3 ? Effect.fail(`failed ${attempts}`) : Effect.succeed("done")))
      )
      assert.strictEqual(outcome.result, "done")
      attempts = -10
      const last = failed(yield* callOnly(Retried, () => Effect.suspend(() => Effect.fail(`failed ${++attempts}`))))
      assert.strictEqual(last.result, "failed -7")
    })
  )

  it.effect("Timeout is per attempt, and timed-out attempts are retried", () =>
    Effect.gen(function* () {
      let attempts = 0
      const Both = Slow.annotate(Toolbox.Timeout, "1 second").annotate(Toolbox.Retry, Schedule.recurs(1))
      const fiber = yield* callOnly(Both, () =>
        Effect.suspend(() => (++attempts === 1 ? Effect.never : Effect.succeed("ok")))
      ).pipe(Effect.forkChild)
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Fiber.join(fiber)).result, "ok")
    })
  )
})

describe("what cannot be", () => {
  it.effect("is a handler that returns no Effect: a defect of the tool", () =>
    Effect.gen(function* () {
      for (const nothing of [undefined, 5, Promise.resolve(5)]) {
        const outcome = failed(yield* callOnly(Tool.make("odd"), () => nothing as never))
        assert.deepStrictEqual(
          [outcome.kind, outcome.detail?.split("\n")[0]],
          ["defect", "Error: The handler returned no Effect"]
        )
      }
    })
  )

  it.effect("is an annotation without sense: it is refused before the first call", () =>
    Effect.gen(function* () {
      const bad = [
        Tool.make("late").annotate(Toolbox.Timeout, "soon" as never),
        Tool.make("huge").annotate(Toolbox.MaxResultSize, Number.NaN),
        Tool.make("none").annotate(Toolbox.MaxResultSize, 0)
      ]
      for (const tool of bad) {
        const exit = yield* Effect.exit(callOnly(tool, () => Effect.void))
        assert.match(String(exit), new RegExp(`Invalid agent: toolkit has a tool '${tool.name}'`))
      }
    })
  )

  it.effect("is a preliminary result that its schema refuses: a defect, watched or not", () =>
    Effect.gen(function* () {
      const Count = Tool.make("count", { success: Schema.Finite })
      const toolkit = Toolkit.make(Count)
      const handlers = toolkit.toLayer({
        count: (_, context) => Effect.as(context.preliminary("one" as never), 1)
      })
      for (const onProgress of [undefined, () => {}]) {
        const outcome = yield* Effect.flatMap(Toolbox.make(toolkit), (toolbox) =>
          toolbox.call(call("count"), onProgress)
        ).pipe(Effect.provide(handlers))
        assert.strictEqual(failed(outcome).kind, "defect")
      }
    })
  )
})

describe("what a handler leaves behind", () => {
  const Forks = Tool.make("forks", { success: Schema.String, failure: Schema.String, failureMode: "return" })

  it.effect("ends with the call, and not with the fiber that called", () =>
    Effect.gen(function* () {
      for (const end of [Effect.succeed("ok"), Effect.fail("no"), Effect.die("bug")]) {
        let alive = 0
        const background = Effect.acquireUseRelease(
          Effect.sync(() => alive++),
          () => Effect.never,
          () => Effect.sync(() => alive--)
        )
        yield* callOnly(Forks, () =>
          Effect.andThen(Effect.forkChild(background, { startImmediately: true }), Effect.andThen(Effect.yieldNow, end))
        )
        assert.strictEqual(alive, 0)
      }
    })
  )

  it.effect("ends when the call takes too long, which it may for five minutes unless told otherwise", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(callOnly(Forks, () => Effect.never))
      yield* TestClock.adjust("299 seconds")
      assert.strictEqual(fiber.pollUnsafe(), undefined)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(failed(yield* Fiber.join(fiber)).kind, "timeout")
      const patient = yield* Effect.forkChild(
        callOnly(Forks.annotate(Toolbox.Timeout, Duration.infinity), () => Effect.as(Effect.sleep("1 day"), "ok"))
      )
      yield* TestClock.adjust("1 day")
      assert.strictEqual((yield* Fiber.join(patient)).result, "ok")
    })
  )
})

describe("what the model is told", () => {
  it.effect("is bounded, whatever it sent", () =>
    Effect.gen(function* () {
      const long = "x".repeat(500_000)
      const unknown = yield* Effect.flatMap(Toolbox.make(MathTools), (toolbox) => toolbox.call(call(long))).pipe(
        Effect.provide(MathToolsLayer)
      )
      assert.isBelow(String(unknown.result).length, 1000)
      const Lists = Tool.make("lists", { parameters: Schema.Struct({ list: Schema.Array(Schema.Finite) }) })
      const wrong = yield* callOnly(Lists, () => Effect.void, { list: Array.from({ length: 10_000 }, () => "no") })
      assert.isBelow(String(wrong.result).length, 5000)
    })
  )

  it.effect("is bounded in what a tool makes of its result, but made of all of it", () =>
    Effect.gen(function* () {
      const Summary = Tool.make("summary", {
        success: Schema.Array(Schema.Finite),
        toModelOutput: (all) => [Prompt.textPart({ text: `${all.length} numbers` })]
      }).annotate(Toolbox.MaxResultSize, 100)
      const summary = yield* callOnly(Summary, () => Effect.succeed(Array.from({ length: 1000 }, () => 1)))
      const [part] = summary.isFailure ? [] : (summary.modelOutput ?? [])
      assert.strictEqual(part?.type === "text" ? part.text : "", "1000 numbers")
      const Verbose = Tool.make("verbose", {
        success: Schema.Finite,
        toModelOutput: (length) => [Prompt.textPart({ text: "x".repeat(length) })]
      }).annotate(Toolbox.MaxResultSize, 100)
      const verbose = yield* callOnly(Verbose, () => Effect.succeed(10_000))
      const [text] = verbose.isFailure ? [] : (verbose.modelOutput ?? [])
      assert.isBelow(text?.type === "text" ? text.text.length : 0, 200)
    })
  )
})

describe("handlers", () => {
  class Prefix extends Context.Service<Prefix, string>()("test/Prefix") {}
  const Greet = Tool.make("greet", {
    parameters: Schema.Struct({ name: Schema.String }),
    success: Schema.String,
    dependencies: [Prefix]
  })
  const toolkit = Toolkit.make(Greet)

  it.effect("have the services of their Layer and of the run, the run's first", () =>
    Effect.gen(function* () {
      const layer = toolkit.toLayer({ greet: ({ name }) => Effect.map(Prefix, (prefix) => `${prefix} ${name}`) })
      const greet = Effect.flatMap(Toolbox.make(toolkit), (toolbox) => toolbox.call(call("greet", { name: "Ada" })))
      const outcome = yield* greet.pipe(
        Effect.provide(Layer.provide(layer, Layer.succeed(Prefix, "Layer"))),
        Effect.provideService(Prefix, "Run")
      )
      assert.strictEqual(outcome.result, "Run Ada")
    })
  )

  it.effect("are found for every tool of the toolkit, in its order", () =>
    Effect.gen(function* () {
      const toolbox = yield* Toolbox.make(Toolbox.merge(MathTools, toolkit))
      assert.deepStrictEqual(
        toolbox.tools.map((tool) => tool.name),
        ["calculator", "greet"]
      )
      assert.strictEqual((yield* toolbox.call(call("greet", { name: "Ada" }))).result, "Hello Ada")
    }).pipe(
      Effect.provide([MathToolsLayer, toolkit.toLayer({ greet: ({ name }) => Effect.succeed(`Hello ${name}`) })]),
      Effect.provideService(Prefix, "Run")
    )
  )
})
