import { assert, describe, it } from "@effect/vitest"
import * as Agent from "effect-agent-runtime/Agent"
import * as Prices from "effect-agent-runtime/Prices"
import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
import * as Usage from "effect-agent-runtime/Usage"
import * as Effect from "effect/Effect"

const table = Prices.make({
  small: { input: 1, output: 2, cachedInput: 0.5 },
  "small-x": { input: 3, output: 4 },
  "4": { input: 5, output: 5 }
})

const tokens = { inputTokens: 100, outputTokens: 10, cachedInputTokens: 40, reasoningTokens: 5 }

describe("priceOf", () => {
  it("is the price of the longest name that the model is a version of", () => {
    assert.strictEqual(table.priceOf("small")!.input, 1)
    assert.strictEqual(table.priceOf("small-2026-01-01")!.input, 1)
    assert.strictEqual(table.priceOf("small-x-latest")!.input, 3)
    assert.strictEqual(table.priceOf("vendor/small-x")!.input, 3)
  })

  it("does not take a longer word for a version", () => {
    for (const model of ["smaller", "small_x", "4.1", "4o", "tiny", ""]) {
      assert.strictEqual(table.priceOf(model), undefined, model)
    }
    assert.strictEqual(table.priceOf("4-turbo")!.input, 5)
  })
})

describe("costNanoUsd", () => {
  it("counts cached input at its own price, in whole billionths of a dollar", () => {
    // 60 at $1, 40 at $0.5 and 10 at $2 per million.
    assert.strictEqual(Prices.costNanoUsd(table, "small", tokens), 100_000)
    assert.strictEqual(Prices.costNanoUsd(table, "small-x", tokens), 340_000)
    const odd = Prices.make({ odd: { input: 0.0375, output: 0 } })
    assert.strictEqual(Prices.costNanoUsd(odd, "odd", { ...Usage.noTokens, inputTokens: 1 }), 38)
  })

  it("is 0 for what has no price", () => {
    assert.strictEqual(Prices.costNanoUsd(table, "tiny", tokens), 0)
    assert.strictEqual(Prices.costNanoUsd(table, undefined, tokens), 0)
  })
})

describe("published", () => {
  it("has prices that are positive, with cached input not above input", () => {
    for (const [model, { cachedInput, input, output }] of Object.entries(Prices.published)) {
      assert.isTrue(input > 0 && output > 0 && (cachedInput ?? 0) <= input, model)
    }
  })

  it("knows dated names", () => {
    const known = Prices.make(Prices.published)
    assert.deepStrictEqual(known.priceOf("gpt-4o-mini-2024-07-18"), Prices.published["gpt-4o-mini"])
    assert.deepStrictEqual(known.priceOf("openai/gpt-4.1"), Prices.published["gpt-4.1"])
  })
})

describe("a run", () => {
  it.effect("adds up what its calls cost by the table of its context", () =>
    Effect.gen(function* () {
      const prices = Prices.make({ scripted: { input: 1, output: 2 } })
      const { usage } = yield* Agent.run(Agent.make("helper"), "Hi").pipe(
        Effect.provide(ScriptedLlm.layer(["Hello"])),
        Effect.provideService(Prices.Prices, prices)
      )
      assert.strictEqual(usage.costNanoUsd, 20_000)
      assert.strictEqual(Usage.costUsd(usage), 0.00002)
    })
  )

  it.effect("of a model without a price costs nothing", () =>
    Effect.gen(function* () {
      const { usage } = yield* Effect.provide(Agent.run(Agent.make("helper"), "Hi"), ScriptedLlm.layer(["Hello"]))
      assert.strictEqual(usage.costNanoUsd, 0)
    })
  )
})
