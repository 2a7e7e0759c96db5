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
    [
      "This model's maximum context length is 262144 tokens. However, you requested 128000 output tokens and your "
        + "prompt contains at least 134145 input tokens, for a total of at least 262145 tokens.",
      262_144,
      262_145
    ],
    [
      "This model's maximum context length is 4096 tokens. However, you requested 4222 tokens (1222 in the messages, "
        + "3000 in the completion).",
      4096,
      4222
    ],
    ["input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000", 200_000, 190_000],
    ["The decoder prompt (length 21535) is longer than the maximum model length of 16384.", 16_384, 21_535],
    ["Prompt length of 5016 is longer than the maximum model length of 4096.", 4096, 5016],
    [
      "Trying to keep the first 10136 tokens when context the overflows. However, the model is loaded with context "
        + "length of only 7866 tokens, which is not enough.",
      7866,
      10_136
    ],
    ["The input token count (1200293) exceeds the maximum number of tokens allowed (1048576).", 1_048_576, 1_200_293],
    ["Request too large for model `m` on tokens per minute (TPM): Limit 6000, Requested 14810, please", 6000, 14_810],
    ["Request body too large for gpt-4.1 model. Max size: 8000 tokens.", 8000, undefined],
    ["Requested tokens exceed context window of 512", 512, undefined],
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
