import { assert, describe, it } from "@effect/vitest"
import * as Usage from "effect-agent-runtime/Usage"
import * as Schema from "effect/Schema"

// Counts: their sums are exact, so that the laws hold to the last token.
const Count = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 2 ** 50 }))
const Counts = Schema.Struct({
  inputTokens: Count,
  outputTokens: Count,
  cachedInputTokens: Count,
  cacheWriteTokens: Count,
  reasoningTokens: Count,
  modelCalls: Count,
  toolCalls: Count,
  costNanoUsd: Count
})

describe("combine", () => {
  it.prop("is associative and commutative, with zero as identity", [Counts, Counts, Counts], ([a, b, c]) => {
    assert.deepStrictEqual(Usage.combine(Usage.combine(a, b), c), Usage.combine(a, Usage.combine(b, c)))
    assert.deepStrictEqual(Usage.combine(a, b), Usage.combine(b, a))
    assert.deepStrictEqual(Usage.combine(Usage.zero, a), { ...a })
    assert.deepStrictEqual(Usage.combine(a, Usage.zero), { ...a })
  })

  it.prop("adds field by field", [Counts, Counts], ([a, b]) => {
    const sum = Usage.combine(a, b)
    for (const field of Object.keys(Counts.fields) as Array<keyof Usage.Usage>) {
      assert.strictEqual(sum[field], a[field] + b[field])
    }
    assert.strictEqual(Usage.totalTokens(sum), Usage.totalTokens(a) + Usage.totalTokens(b))
  })

  it.prop("of many is the combination of all", [Schema.Array(Counts)], ([usages]) => {
    assert.deepStrictEqual(Usage.combineAll(usages), usages.reduce(Usage.combine, Usage.zero))
    assert.deepStrictEqual(Usage.combineAll(usages.toReversed()), Usage.combineAll(usages))
  })
})

describe("totalTokens", () => {
  it("counts input and output, of which cached and reasoning tokens are parts", () => {
    const tokens = {
      inputTokens: 100,
      outputTokens: 10,
      cachedInputTokens: 90,
      cacheWriteTokens: 0,
      reasoningTokens: 5
    }
    assert.strictEqual(Usage.totalTokens(tokens), 110)
  })
})

describe("Usage", () => {
  it.prop("survives JSON", [Counts], ([usage]) => {
    const codec = Schema.toCodecJson(Usage.Usage)
    const json = JSON.parse(JSON.stringify(Schema.encodeSync(codec)(usage)))
    assert.deepStrictEqual(Schema.decodeUnknownSync(codec)(json), { ...usage })
  })

  it("is finite", () => {
    assert.isTrue(Schema.is(Usage.Usage)(Usage.zero))
    assert.isFalse(Schema.is(Usage.Usage)({ ...Usage.zero, inputTokens: Number.NaN }))
    assert.isFalse(Schema.is(Usage.Tokens)({ ...Usage.noTokens, outputTokens: Infinity }))
  })
})
