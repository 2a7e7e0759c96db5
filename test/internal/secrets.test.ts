import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Schema from "effect/Schema"
import * as Secrets from "../../src/internal/secrets.ts"
import * as Arbitraries from "../../src/testing/Arbitraries.ts"

const redact = (value: unknown) => Secrets.redactJson(value, Secrets.redactText)

describe("secrets", () => {
  it.each([
    ["by the shape of a key", "use sk-proj-0123456789abcdef now", "use <redacted> now"],
    ["by the shape of a bearer token", "Bearer abcdefghijklmnopqrst==", "Bearer <redacted>"],
    ["by name in JSON text", `{"user":"ada","password":"hunter2"}`, `{"user":"ada","password":"<redacted>"}`],
    ["with quotes in them", String.raw`{"password": "a\"b", "c": 1}`, `{"password": "<redacted>", "c": 1}`],
    ["in JSON text that is cut off", `{"client_secret":"abc`, `{"client_secret":"<redacted>`],
    [
      "in JSON within JSON",
      String.raw`{"text":"{\"apiKey\":\"abc\",\"n\":1}"}`,
      String.raw`{"text":"{\"apiKey\":\"<redacted>\",\"n\":1}"}`
    ],
    ["but not what only sounds like them", `{"tokens":"5","tokenizer":"x","secretary":"Ada"}`, undefined]
  ])("are taken out of texts %s", (_, text, expected) => {
    assert.strictEqual(Secrets.redactText(text), expected ?? text)
  })

  it("are taken out of objects by their names", () => {
    assert.deepStrictEqual(
      redact({
        apiKey: "a",
        "X-Api-Key": "b",
        refresh_token: "c",
        nested: [{ Authorization: "d" }],
        maxTokens: 5,
        token: 1
      }),
      {
        apiKey: "<redacted>",
        "X-Api-Key": "<redacted>",
        refresh_token: "<redacted>",
        nested: [{ Authorization: "<redacted>" }],
        maxTokens: 5,
        token: 1
      }
    )
  })

  it.prop(
    "leave all else as it is, and are taken out once",
    [Arbitrary.all([Arbitraries.json, Arbitrary.schema(Schema.String)])],
    ([[json, words]]) => {
      const value = { json, words, password: words }
      const once = redact(value)
      assert.strictEqual(JSON.stringify(redact(once)), JSON.stringify(once))
      assert.strictEqual(JSON.stringify(redact(json)), JSON.stringify(json))
    }
  )

  it("are looked for in texts that are made to take long", () => {
    for (const text of ["\\".repeat(200_000), `"a":"`.repeat(50_000), `{"password":"x`.repeat(20_000)]) {
      const once = Secrets.redactText(text)
      assert.strictEqual(Secrets.redactText(once), once)
    }
  })
})
