import { assert, describe, it } from "@effect/vitest"
import * as History from "effect-agent-runtime/History"
import { Arbitraries } from "effect-agent-runtime/testing"
import * as TokenEstimator from "effect-agent-runtime/TokenEstimator"
import type * as Prompt from "effect/ai/Prompt"
import * as Tool from "effect/ai/Tool"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { countTokens } from "gpt-tokenizer/encoding/o200k_base"

const texts: ReadonlyArray<readonly [language: string, text: string]> = [
  [
    "English",
    "Seventeen engineers discuss whether the context window of the model is large enough for the whole book."
  ],
  ["German", "Siebzehn Ingenieure besprechen, ob das Kontextfenster des Modells für das ganze Buch groß genug ist."],
  ["Russian", "Быстрая коричневая лиса перепрыгивает через ленивую собаку, пока инженеры спорят о размере окна."],
  ["Greek", "Η γρήγορη καφέ αλεπού πηδάει πάνω από το τεμπέλικο σκυλί ενώ οι μηχανικοί συζητούν."],
  ["Arabic", "الثعلب البني السريع يقفز فوق الكلب الكسول بينما يناقش المهندسون حجم النافذة"],
  ["Hindi", "तेज़ भूरी लोमड़ी आलसी कुत्ते के ऊपर कूदती है जबकि इंजीनियर चर्चा करते हैं"],
  ["Chinese", "敏捷的棕色狐狸跳过了懒狗,而十七名工程师正在讨论模型的上下文窗口是否足够大。"],
  ["Japanese", "素早い茶色の狐がのろまな犬を飛び越える間、十七人の技術者がモデルの文脈窓について議論している。"],
  ["Korean", "빠른 갈색 여우가 게으른 개를 뛰어넘는 동안 열일곱 명의 엔지니어가 문맥 창의 크기를 논의한다."],
  ["Thai", "สุนัขจิ้งจอกสีน้ำตาลกระโดดข้ามสุนัขขี้เกียจในขณะที่วิศวกรกำลังหารือ"],
  ["JSON", '{"operation":"add","a":5.25,"items":[{"id":"a81bc81b-dead","name":"x"},{"id":"b","price":17.5}]}'],
  ["TypeScript", "export const make = (max: number) => {\n  if (max < 4) throw new Error('no')\n  return { max }\n}"],
  ["digits", "3.14159265358979323846264338327950288419716939937510"],
  ["emoji", "🎉🚀😀👍🏽🔥👨‍👩‍👧"]
]

const exact = TokenEstimator.make({ text: (text) => countTokens(text) })
const rough = TokenEstimator.make()

const result = (value: unknown) =>
  ({ type: "tool-result", id: "1", name: "search", isFailure: false, result: value }) as const
const results = (...content: ReadonlyArray<Prompt.ToolResultPartEncoded>) => ({ role: "tool", content }) as const
const asks = (params: unknown) =>
  ({ role: "assistant", content: [{ type: "tool-call", id: "1", name: "search", params }] }) as const

describe("the rough count", () => {
  it.each(texts)("of %s is not far from that of a tokenizer", (_, text) => {
    const ratio = TokenEstimator.countRoughly(text) / countTokens(text)
    assert.isTrue(ratio > 0.6 && ratio < 1.4, `${ratio} times as many`)
  })

  it.prop("grows with the text, and is 0 for none only", [Schema.String, Schema.String], ([a, b]) => {
    const [first, both] = [TokenEstimator.countRoughly(a), TokenEstimator.countRoughly(a + b)]
    assert.isAtLeast(both, first)
    assert.strictEqual(first === 0, a === "")
  })
})

describe("an estimator", () => {
  it("counts short messages, which the original took for nothing", () => {
    assert.isAbove(rough.message({ role: "user", content: "ok" }), 0)
  })

  it("counts the arguments of calls, and results as they are sent", () => {
    const long = "word ".repeat(100)
    assert.isAbove(rough.message(asks({ q: long })) - rough.message(asks({ q: "" })), 90)
    assert.isAbove(rough.message(results(result({ a: long }))), 90)
    // What the model is shown counts, not what stands behind it.
    const shown = results({ ...result({ a: long }), modelOutput: [{ type: "text", text: "short" }] })
    assert.isBelow(rough.message(shown), 20)
  })

  it("counts files by their number, or as it is told", () => {
    const file = { type: "file", mediaType: "image/png", data: "x".repeat(100_000) } as const
    const message = { role: "user", content: [{ type: "text", text: "" }, file] } as const
    assert.strictEqual(rough.message(message), 1604)
    assert.strictEqual(TokenEstimator.make({ file: () => 85 }).message(message), 89)
  })

  it("counts a tool by its name, description and arguments", () => {
    const bare = Tool.make("search")
    const full = Tool.make("search", {
      description: "Searches the web for pages, news and pictures",
      parameters: Schema.Struct({ query: Schema.String, page: Schema.Int })
    })
    assert.isAbove(rough.tool(full), rough.tool(bare) + 20)
    const request = { instructions: "Be kind.", tools: [full], history: [] }
    assert.strictEqual(TokenEstimator.request(rough, request), 4 + rough.text("Be kind.") + rough.tool(full))
  })

  it("counts a message once", () => {
    let counted = 0
    const counting = TokenEstimator.make({ text: () => ++counted })
    const history = History.appendUser(History.empty, "Hi")
    for (let i = 0; i < 3; i++) {
      assert.strictEqual(TokenEstimator.request(counting, { instructions: "", tools: [], history }), 5)
    }
    assert.strictEqual(counted, 1)
  })

  it.prop("counts any conversation, message by message", [Arbitraries.history], ([history]) => {
    for (const estimator of [rough, exact]) {
      const tokens = TokenEstimator.request(estimator, { instructions: "", tools: [], history })
      let sum = 0
      for (const message of history) {
        assert.isAtLeast(estimator.message(message), 4)
        sum += estimator.message(message)
      }
      assert.strictEqual(tokens, sum)
    }
  })

  it.effect("is replaced by a layer", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* TokenEstimator.TokenEstimator).text("abcde"), 1)
      const other = Effect.map(TokenEstimator.TokenEstimator, ({ text }) => text("abcde"))
      const tokens = yield* Effect.provide(other, TokenEstimator.layer({ text: (text) => text.length }))
      assert.strictEqual(tokens, 5)
    })
  )
})
