import { assert, describe, it } from "@effect/vitest"
import type { Delta } from "effect-agent-runtime/Llm"
import * as Llm from "effect-agent-runtime/Llm"
import * as Fallback from "effect-agent-runtime/middleware/Fallback"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import type { Step } from "../support/models.ts"
import { answers, failures, fails, hangs, model, request, response, streamed, told } from "../support/models.ts"

/** Models called a, b, …, each with its steps. */
const models = (...steps: readonly [Step, ...ReadonlyArray<Step>]) => {
  const subjects = steps.map((step) => model(step))
  const [first, ...others] = subjects.map(({ llm }, i) => ({ name: "abcdef"[i]!, llm }))
  return { subjects, all: [first!, ...others] as const, calls: () => subjects.map(({ calls }) => calls.length) }
}

describe("the first model", () => {
  it.effect("answers alone when it can", () =>
    Effect.gen(function* () {
      const { all, calls } = models(answers("Hello"), answers("never"))
      const { deltas, exit } = yield* streamed(Fallback.make(all))
      assert.deepStrictEqual(exit, Exit.succeed({ ...response("Hello"), model: "a" }))
      assert.deepStrictEqual(told(deltas), ["Hello"])
      assert.deepStrictEqual(calls(), [1, 0])
    })
  )

  it.effect("that fails is followed by the next, which the stream and the response say", () =>
    Effect.gen(function* () {
      const { all, calls } = models(fails(failures.network, "Hel"), fails(failures.quota), answers("Hello you"))
      const { deltas, exit } = yield* streamed(Fallback.make(all))
      assert.deepStrictEqual(
        Exit.map(exit, ({ model }) => model),
        Exit.succeed("c")
      )
      assert.deepStrictEqual(told(deltas), ["Hel", "[NetworkError 0 b]", "[QuotaExhaustedError 0 c]", "Hello ", "you"])
      assert.deepStrictEqual(calls(), [1, 1, 1])
    })
  )

  it.effect("says nothing more once it has failed", () =>
    Effect.gen(function* () {
      let late: (delta: Delta) => void = () => {}
      const { all } = models(
        (sink) => {
          late = sink
          return Effect.fail(failures.overloaded)
        },
        (sink) => {
          late({ type: "text", delta: "late" })
          return answers("Hello")(sink)
        }
      )
      const { deltas } = yield* streamed(Fallback.make(all))
      assert.deepStrictEqual(told(deltas), ["[InternalProviderError 0 b]", "Hello"])
    })
  )

  it.effect("says nothing more once all have failed", () =>
    Effect.gen(function* () {
      let late: (delta: Delta) => void = () => {}
      const { all } = models((sink) => {
        late = sink
        return Effect.fail(failures.overloaded)
      })
      const { deltas } = yield* streamed(Fallback.make(all))
      late({ type: "text", delta: "late" })
      assert.deepStrictEqual(told(deltas), [])
    })
  )

  it.effect("keeps the name that its provider gives it", () =>
    Effect.gen(function* () {
      const { all } = models((_) => Effect.succeed({ ...response("Hello"), model: "m-2026" }))
      assert.strictEqual((yield* Fallback.make(all).generate(request)).model, "m-2026")
    })
  )
})

describe("the failure", () => {
  it.effect("of the last is that of the call", () =>
    Effect.gen(function* () {
      const { all } = models(fails(failures.overloaded), fails(failures.network))
      assert.strictEqual(yield* Effect.flip(Fallback.make(all).generate(request)), failures.network)
    })
  )

  it.effect.each(["overloaded", "network", "malformed", "authentication", "quota", "gone", "overflow"] as const)(
    "%s moves on to the next model",
    (kind) =>
      Effect.gen(function* () {
        const { all, calls } = models(fails(failures[kind]), answers("Hello"))
        yield* Fallback.make(all).generate(request)
        assert.deepStrictEqual(calls(), [1, 1])
      })
  )

  it.effect.each(["invalid", "policy"] as const)("%s does not, for it is the request's", (kind) =>
    Effect.gen(function* () {
      const { all, calls } = models(fails(failures[kind]), answers("Hello"))
      const { deltas, exit } = yield* streamed(Fallback.make(all))
      assert.deepStrictEqual(exit, Exit.fail(failures[kind]))
      assert.deepStrictEqual(deltas, [])
      assert.deepStrictEqual(calls(), [1, 0])
    })
  )

  it.effect("moves on if one says so oneself", () =>
    Effect.gen(function* () {
      const { all, calls } = models(fails(failures.policy), fails(failures.network), answers("Hello"))
      const llm = Fallback.make(all, { when: ({ reason }) => reason._tag === "ContentPolicyError" })
      assert.strictEqual(yield* Effect.flip(llm.generate(request)), failures.network)
      assert.deepStrictEqual(calls(), [1, 1, 0])
    })
  )
})

describe("the others", () => {
  it.effect("answer with their own model", () =>
    Effect.gen(function* () {
      const { all, subjects } = models(fails(failures.quota), answers("Hello"))
      yield* Fallback.make(all).generate({ ...request, sampling: { model: "first's", temperature: 0 } })
      assert.deepStrictEqual(
        subjects.map(({ requests }) => requests[0]!.sampling),
        [
          { model: "first's", temperature: 0 },
          { model: undefined, temperature: 0 }
        ]
      )
    })
  )

  it.effect("are not asked when the call is interrupted", () =>
    Effect.gen(function* () {
      const { all, calls } = models(hangs, answers("Hello"))
      const fiber = yield* Effect.forkChild(Fallback.make(all).generate(request), { startImmediately: true })
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(calls(), [1, 0])
    })
  )
})

class Account extends Context.Service<Account, string>()("Account") {}

class NoKey {
  readonly _tag = "NoKey"
}

describe("the layer", () => {
  it.effect("is made of layers, with what they need and how they fail", () =>
    Effect.gen(function* () {
      const first = Layer.effect(
        Llm.Llm,
        Effect.map(Account, () => model(fails(failures.quota)).llm)
      )
      const second: Layer.Layer<Llm.Llm, NoKey> = Llm.layer(model(answers("Hello")).llm.generate)
      const both: Layer.Layer<Llm.Llm, NoKey, Account> = Fallback.layer([
        { name: "a", llm: first },
        { name: "b", llm: second }
      ])
      const { generate } = yield* Effect.provide(Llm.Llm, Layer.provide(both, Layer.succeed(Account, "mine")))
      assert.strictEqual((yield* generate(request)).model, "b")
    })
  )

  it.effect("takes a predicate", () =>
    Effect.gen(function* () {
      const both = Fallback.layer(
        [
          { name: "a", llm: Llm.layer(model(fails(failures.quota)).llm.generate) },
          { name: "b", llm: Llm.layer(model(answers("Hello")).llm.generate) }
        ],
        { when: () => false }
      )
      const { generate } = yield* Effect.provide(Llm.Llm, both)
      assert.strictEqual(yield* Effect.flip(generate(request)), failures.quota)
    })
  )
})
