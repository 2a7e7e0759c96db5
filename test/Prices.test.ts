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

const tokens = { inputTokens: 100, outputTokens: 10, cachedInputTokens: 40, cacheWriteTokens: 0, reasoningTokens: 5 }

describe("priceOf", () => {
  it("is that of the model whose version the name is, whoever provides it", () => {
    for (const model of ["small", "small-2026-01-01", "small-20260101", "small@20260101", "small-latest"]) {
      assert.strictEqual(table.priceOf(model)?.input, 1, model)
      assert.strictEqual(table.priceOf(`vendor/${model}`)?.input, 1, model)
    }
    assert.strictEqual(table.priceOf("small-x-latest")?.input, 3)
    assert.strictEqual(table.priceOf("vendor/small-x")?.input, 3)
  })

  it("is that of the very name before that of the model", () => {
    const dated = Prices.make({ m: { input: 1, output: 1 }, "m-20260101": { input: 2, output: 2 } })
    assert.strictEqual(dated.priceOf("m-20260101")?.input, 2)
    const routed = Prices.make({ m: { input: 1, output: 1 }, "vendor/m": { input: 2, output: 2 } })
    assert.strictEqual(routed.priceOf("vendor/m-latest")?.input, 2)
  })

  it("is not known of another model, whose name goes on in another way", () => {
    const others = [
      "smaller",
      "small_x",
      "small-pro",
      "small-2",
      "small:free",
      "small-x-pro-latest",
      "4o",
      "4.1",
      "4-turbo"
    ]
    for (const model of [...others, "small-latest-pro", "tiny", "", "constructor"]) {
      assert.strictEqual(table.priceOf(model), undefined, model)
    }
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

  it("is never negative, though a server may count cached tokens apart from the input", () => {
    // 40 at $0.5 and 10 at $2 per million.
    assert.strictEqual(Prices.costNanoUsd(table, "small", { ...tokens, inputTokens: 5 }), 40_000)
  })

  it("counts what was written to the cache at its own price", () => {
    const writes = {
      inputTokens: 100,
      outputTokens: 0,
      cachedInputTokens: 20,
      cacheWriteTokens: 50,
      reasoningTokens: 0
    }
    const priced = Prices.make({
      m: { input: 4, output: 1, cachedInput: 1, cacheWrite: 5 },
      n: { input: 4, output: 1 }
    })
    // 30 at $4, 20 at $1 and 50 at $5 per million.
    assert.strictEqual(Prices.costNanoUsd(priced, "m", writes), 390_000)
    assert.strictEqual(Prices.costNanoUsd(priced, "n", writes), 400_000)
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
    assert.deepStrictEqual(known.priceOf("claude-sonnet-4-20250514"), Prices.published["claude-sonnet-4"])
    assert.deepStrictEqual(known.priceOf("claude-sonnet-4-5-20250929"), Prices.published["claude-sonnet-4-5"])
    assert.strictEqual(known.priceOf("claude-opus-4-5-20251101")?.input, 5)
  })

  it("does not price a model by another of its family", () => {
    const known = Prices.make(Prices.published)
    for (const model of [
      "o3-pro",
      "o3-deep-research",
      "o3-mini",
      "gpt-5-pro",
      "gpt-4o-realtime-preview",
      "gpt-5-codex"
    ]) {
      assert.strictEqual(known.priceOf(model), undefined, model)
    }
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
