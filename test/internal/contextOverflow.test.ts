import { assert, describe, it } from "@effect/vitest"
import * as AiError from "effect/ai/AiError"
import { overflowOf } from "../../src/internal/contextOverflow.ts"

const errorOf = (description: string, errorCode: string | null = "context_length_exceeded") =>
  AiError.make({
    module: "Test",
    method: "generate",
    reason: new AiError.InvalidRequestError({ description, metadata: { anyone: { errorCode } } })
  })

describe("overflowOf", () => {
  it.each([
    [
      "This model's maximum context length is 128000 tokens. However, your messages resulted in 130,500 tokens.",
      128_000,
      130_500
    ],
    ["prompt is too long: 210045 tokens > 200000 maximum", 200_000, 210_045],
    ["the request (5012 tokens) exceeds the available context size (4096 tokens), try increasing it", 4096, 5012],
    ["too long", undefined, undefined]
  ])("reads the numbers of: %s", (description, limit, used) => {
    assert.deepStrictEqual(overflowOf(errorOf(description)), { limit, used })
  })

  it("leaves other errors alone", () => {
    assert.strictEqual(overflowOf(errorOf("maximum context length is 5", "other")), undefined)
    assert.strictEqual(overflowOf(errorOf("maximum context length is 5", null)), undefined)
    const limited = AiError.make({ module: "Test", method: "x", reason: new AiError.RateLimitError({}) })
    assert.strictEqual(overflowOf(limited), undefined)
  })
})
