import { assert, describe, it } from "@effect/vitest"
import * as History from "effect-agent-runtime/History"
import type * as Llm from "effect-agent-runtime/Llm"
import * as ThinkBlocks from "effect-agent-runtime/middleware/ThinkBlocks"
import * as Usage from "effect-agent-runtime/Usage"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

const request: Llm.LlmRequest = {
  instructions: "",
  history: History.appendUser(History.empty, "Hi"),
  tools: [],
  toolChoice: "auto",
  sampling: {},
  output: undefined
}

/** A model that streams these pieces, and the answer and deltas behind the middleware. */
const split = Effect.fnUntraced(function* (
  pieces: ReadonlyArray<string | Llm.Delta>,
  options?: ThinkBlocks.Options,
  content?: Llm.LlmResponse["content"]
) {
  const texts = pieces.map((piece) => (typeof piece === "string" ? piece : ""))
  const llm = yield* ThinkBlocks.make(options)({
    generate: (_, onDelta) =>
      Effect.sync(() => {
        for (const piece of pieces) onDelta?.(typeof piece === "string" ? { type: "text", delta: piece } : piece)
        return {
          content: content ?? [{ type: "text", text: texts.join("") }],
          finishReason: "stop",
          tokens: Usage.noTokens,
          model: undefined
        } as const
      })
  })
  const deltas: Array<Llm.Delta> = []
  const response = yield* llm.generate(request, (delta) => deltas.push(delta))
  const joined = (type: string) =>
    deltas.map((delta) => (delta.type === type && "delta" in delta ? delta.delta : "")).join("")
  return { content: response.content, deltas, text: joined("text"), reasoning: joined("reasoning") }
})

const parts = (...parts: ReadonlyArray<readonly ["text" | "reasoning", string]>) =>
  parts.map(([type, text]) => ({ type, text }))

describe("think blocks", () => {
  it.effect("become reasoning", () =>
    Effect.gen(function* () {
      const { content } = yield* split(["<think>\nhm\n</think>\n\nHello"])
      assert.deepStrictEqual(content, parts(["reasoning", "\nhm\n"], ["text", "Hello"]))
    })
  )

  it.effect("may be several, empty, unclosed, or none", () =>
    Effect.gen(function* () {
      const several = yield* split(["a<think>b</think>c<think></think> d <think>e"])
      assert.deepStrictEqual(
        several.content,
        parts(["text", "a"], ["reasoning", "b"], ["text", "cd "], ["reasoning", "e"])
      )
      assert.deepStrictEqual((yield* split(["1 < 2 and <thin> is no mark <th"])).content, [
        { type: "text", text: "1 < 2 and <thin> is no mark <th" }
      ])
    })
  )

  it.effect("are marked in any case, between characters that change their length with it", () =>
    Effect.gen(function* () {
      const lengthening = yield* split(["İ<think>x</think>y"])
      assert.deepStrictEqual(lengthening.content, parts(["text", "İ"], ["reasoning", "x"], ["text", "y"]))
      // The Kelvin sign, which is a k of three bytes.
      const shortening = yield* split(["\u212A<THINK>\u212A</Think>y<thin\u212A>"])
      assert.deepStrictEqual(
        shortening.content,
        parts(["text", "\u212A"], ["reasoning", "\u212A"], ["text", "y<thin\u212A>"])
      )
    })
  )

  it.effect("are found in time that is linear in a text of a megabyte with thousands of them", () =>
    Effect.gen(function* () {
      const count = 20_000
      const { reasoning, text } = yield* split([`${"a".repeat(25)}<think>${"b".repeat(25)}</think>`.repeat(count)])
      assert.strictEqual(text, "a".repeat(25 * count))
      assert.strictEqual(reasoning, "b".repeat(25 * count))
    })
  )

  it.effect("may begin before the answer does, and have other marks", () =>
    Effect.gen(function* () {
      const { content } = yield* split(["hm[/R]Hello"], { open: "[R]", close: "[/R]", startsOpen: true })
      assert.deepStrictEqual(content, parts(["reasoning", "hm"], ["text", "Hello"]))
    })
  )

  it.effect.prop(
    "are the same however the stream is cut, in deltas and response",
    [
      Schema.Array(
        Schema.Literals([
          "<think>",
          "</think>",
          "<Think>",
          "</THINK>",
          "<th",
          "INK>",
          "</",
          " ",
          "\n",
          "é",
          "😀",
          "e\u0301",
          "<"
        ])
      ),
      Schema.Int
    ],
    ([words, seed]) =>
      Effect.gen(function* () {
        const whole = words.join("")
        const pieces: Array<string> = []
        // By code unit, also inside a surrogate pair.
        for (let i = 0, state = Math.abs(seed); i < whole.length;) {
          state = (Math.imul(state, 1664525) + 1013904223) >>> 0
          const end = i + 1 + (state % 4)
          pieces.push(whole.slice(i, end))
          i = end
        }
        const cut = yield* split(pieces)
        const once = yield* split([whole])
        assert.deepStrictEqual(cut.content, once.content)
        assert.strictEqual(cut.text, History.text(cut.content))
        assert.strictEqual(cut.text, once.text)
        assert.strictEqual(cut.reasoning, once.reasoning)
      })
  )

  it.effect("leave tool calls in their place, and begin anew when the call does", () =>
    Effect.gen(function* () {
      const call = { type: "tool-call", id: "1", name: "x", params: {} } as const
      const { content } = yield* split([], {}, [
        { type: "text", text: "<think>a" },
        call,
        { type: "text", text: "b</think>c" }
      ])
      assert.deepStrictEqual(content, [
        { type: "reasoning", text: "a" },
        call,
        ...parts(["reasoning", "b"], ["text", "c"])
      ])
      const restart = { type: "restart", reason: "X", message: "x", delayMillis: 0, model: undefined } as const
      const again = yield* split(["<think>half", restart, "<think>a</think>b"], {}, [
        { type: "text", text: "<think>a</think>b" }
      ])
      const behind = again.deltas.slice(again.deltas.findIndex((delta) => delta.type === "restart") + 1)
      assert.deepStrictEqual(behind, [
        { type: "reasoning", delta: "a" },
        { type: "text", delta: "b" }
      ])
    })
  )

  it.effect("leave what the provider wants back where it belongs", () =>
    Effect.gen(function* () {
      const signed = { type: "reasoning", text: "deep", options: { anthropic: { signature: "s" } } } as const
      const unsigned = { type: "reasoning", text: "thought" } as const
      const options = { openai: { itemId: "msg_1" } }
      const { content } = yield* split([], {}, [
        signed,
        { type: "text", text: "<think>hm</think>a<think></think>b<th", options },
        unsigned,
        { type: "text", text: "<think>oh</think>c" },
        { type: "text", text: "d", options }
      ])
      assert.deepStrictEqual(content, [
        signed,
        { type: "reasoning", text: "hm" },
        { type: "text", text: "ab<th", options },
        unsigned,
        ...parts(["reasoning", "oh"], ["text", "c"]),
        { type: "text", text: "d", options }
      ])
    })
  )
})
