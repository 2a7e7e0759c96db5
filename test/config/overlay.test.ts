import { assert, describe, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Path } from "../../src/config/document.ts"
import * as Overlay from "../../src/config/overlay.ts"
import { ConfigFile } from "../../src/config/schema.ts"

const variables = (env: Record<string, string>) =>
  Effect.runSync(
    Effect.provideService(Overlay.variables, ConfigProvider.ConfigProvider, ConfigProvider.fromEnv({ env }))
  )

const fromEnvironment = (env: Record<string, string>, data: unknown = {}) =>
  Overlay.fromEnvironment(ConfigFile.ast, data, variables(env)).map(({ path, value }) => [path.join("."), value])

const get = (data: unknown, path: Path): unknown =>
  path.reduce<unknown>((value, key) => Reflect.get(Object(value), key), data)

const Key = Schema.Literals(["a", "b", "c"])
const Keys = Schema.NonEmptyArray(Key)
const Data = Schema.Record(Key, Schema.Union([Schema.Int, Schema.Record(Key, Schema.Int)]))

describe("setting a path", () => {
  it.prop("puts the value there", { data: Data, path: Keys, value: Schema.Int }, ({ data, path, value }) => {
    assert.strictEqual(get(Overlay.set(data, path, value), path), value)
  })

  it.prop("leaves all else as it is", { data: Data, path: Keys, other: Keys }, ({ data, other, path }) => {
    const within = (a: Path, b: Path) => a.every((key, index) => key === b[index])
    if (within(path, other) || within(other, path)) return
    const before = get(data, other)
    // What was no object has become one on the way.
    if (before === undefined) return
    assert.deepStrictEqual(get(Overlay.set(data, path, 1), other), before)
  })

  it.prop("changes nothing twice, and not the data itself", { data: Data, path: Keys }, ({ data, path }) => {
    const copy = structuredClone(data)
    const once = Overlay.set(data, path, 1)
    assert.deepStrictEqual(Overlay.set(once, path, 1), once)
    assert.deepStrictEqual(data, copy)
  })

  it("knows elements of lists, and no prototypes", () => {
    assert.deepStrictEqual(Overlay.set({ a: [1, 2] }, ["a", 1], 3), { a: [1, 3] })
    Overlay.set({}, ["__proto__", "polluted"], true)
    assert.isUndefined(Reflect.get({}, "polluted"))
  })
})

describe("the environment", () => {
  it("has variables with the prefix, in the order of their names", () => {
    assert.deepStrictEqual(
      variables({ AGENT_RUNTIME__B: "1", AGENT_RUNTIME__A__X_Y: "2", AGENT_RUNTIME_C: "3", AGENT_RUNTIME__L__0: "4" }),
      [
        ["AGENT_RUNTIME__A__X_Y", "2"],
        ["AGENT_RUNTIME__B", "1"],
        ["AGENT_RUNTIME__L__0", "4"]
      ]
    )
  })

  it("sets values of the type that belongs there", () => {
    assert.deepStrictEqual(
      fromEnvironment({
        AGENT_RUNTIME__LLM__DEFAULT_MODEL: "4",
        AGENT_RUNTIME__LIMITS__TURNS: "5",
        AGENT_RUNTIME__LOOP_DETECTION: "false",
        AGENT_RUNTIME__MODELS__SMALL: "{ provider: openai, temperature: 1 }",
        AGENT_RUNTIME__AGENTS__HELPER__TOOLS: "a, b",
        AGENT_RUNTIME__AGENTS__HELPER__STOP: "[x]",
        AGENT_RUNTIME__RETRY: "none"
      }),
      [
        ["agents.helper.stop", ["x"]],
        ["agents.helper.tools", ["a", "b"]],
        ["limits.turns", 5],
        ["llm.default_model", "4"],
        ["loop_detection", false],
        ["models.small", { provider: "openai", temperature: 1 }],
        ["retry", "none"]
      ]
    )
  })

  it("finds the names that the file has, whatever their letters", () => {
    const data = { agents: { "My-Bot": {} }, models: { "gpt-5.1": {} } }
    assert.deepStrictEqual(
      fromEnvironment({ AGENT_RUNTIME__AGENTS__MY_BOT__MODEL: "x", AGENT_RUNTIME__MODELS__GPT_5_1__SEED: "1" }, data),
      [
        ["agents.My-Bot.model", "x"],
        ["models.gpt-5.1.SEED".toLowerCase(), 1]
      ]
    )
  })

  it("is referred to where a secret belongs", () => {
    assert.deepStrictEqual(fromEnvironment({ AGENT_RUNTIME__LLM__OPENAI__API_KEY: "sk-1" }), [
      ["llm.openai.api_key", { env: "AGENT_RUNTIME__LLM__OPENAI__API_KEY" }]
    ])
    assert.deepStrictEqual(fromEnvironment({ AGENT_RUNTIME__LLM__OPENAI__API_KEY: "${MINE}" }), [
      ["llm.openai.api_key", "${MINE}"]
    ])
  })
})

it("keys without a value are not there", () => {
  assert.deepStrictEqual(Overlay.compact({ a: null, b: { c: null, d: [null, 1] } }), { b: { d: [null, 1] } })
})
