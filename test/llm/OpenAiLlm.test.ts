import { inspect } from "node:util"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { assert, describe, it } from "@effect/vitest"
import type * as AiError from "effect/ai/AiError"
import type * as Prompt from "effect/ai/Prompt"
import * as Tool from "effect/ai/Tool"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as Tracer from "effect/Tracer"
import * as History from "../../src/History.ts"
import * as JsonSchema from "../../src/internal/jsonSchema.ts"
import * as Llm from "../../src/Llm.ts"
import * as OpenAiLlm from "../../src/llm/OpenAiLlm.ts"
import * as DeafServer from "../support/deafServer.ts"
import {
  call,
  clients,
  encoder,
  events,
  join,
  json,
  reasonOf,
  request,
  type Sent,
  sse,
  Weather,
  weather,
  weatherSchema
} from "../support/openAiCall.ts"
import * as OpenAiServer from "../support/openAiServer.ts"

const done = "data: [DONE]\n\n"

const choice = (delta: unknown, finish_reason: string | null = null) => ({
  choices: [{ index: 0, delta, finish_reason }]
})

const answer = (message: unknown, finish_reason: string | null = "stop") => ({
  choices: [{ index: 0, message, finish_reason }]
})

/** What the model answers, and what it is asked. */
const ask = (message: unknown, finish_reason?: string | null) => call(() => json(answer(message, finish_reason)))

/** What is sent for a request. */
const sentFor = Effect.fnUntraced(function* (
  overrides: Partial<Llm.LlmRequest> = {},
  llm: Partial<OpenAiLlm.ServerOptions> = {},
  onDelta?: (delta: Llm.Delta) => void
) {
  let sent: Sent | undefined
  yield* call(
    (got) => {
      sent = got
      return json(answer({ content: "ok" }))
    },
    { request: overrides, llm, ...(onDelta && { onDelta }) }
  )
  return sent!
})

/** Streams the pieces: the response and the deltas. */
const stream = Effect.fnUntraced(function* (...pieces: ReadonlyArray<string | Uint8Array>) {
  const deltas: Array<Llm.Delta> = []
  const response = yield* call(() => events(...pieces), { onDelta: (delta) => deltas.push(delta) })
  return { response, deltas, joined: join(deltas) }
})

describe("a request", () => {
  it.effect("asks for one piece without a listener", () =>
    Effect.gen(function* () {
      const { body, headers, url } = yield* sentFor()
      assert.deepStrictEqual(body, { model: "gpt-test", messages: [{ role: "user", content: "Hi" }] })
      assert.strictEqual(url, "https://api.openai.com/v1/chat/completions")
      assert.strictEqual(headers["content-type"], "application/json")
      assert.notProperty(headers, "authorization")
    })
  )

  it.effect("asks for a stream and its usage with a listener", () =>
    Effect.gen(function* () {
      const { body } = yield* sentFor({}, {}, () => {})
      assert.deepStrictEqual(body, {
        model: "gpt-test",
        messages: [{ role: "user", content: "Hi" }],
        stream: true,
        stream_options: { include_usage: true }
      })
    })
  )

  it.effect("says who asks", () =>
    Effect.gen(function* () {
      const { headers } = yield* sentFor({}, { apiKey: Redacted.make("sk-1"), organization: "org", project: "proj" })
      assert.strictEqual(headers["authorization"], "Bearer sk-1")
      assert.strictEqual(headers["openai-organization"], "org")
      assert.strictEqual(headers["openai-project"], "proj")
    })
  )

  it.effect.each([
    ["https://api.openai.com/v1", "https://api.openai.com/v1/chat/completions"],
    ["http://localhost:11434", "http://localhost:11434/v1/chat/completions"],
    ["http://localhost:11434/", "http://localhost:11434/v1/chat/completions"],
    ["http://localhost:11434/v1", "http://localhost:11434/v1/chat/completions"],
    ["http://localhost:11434/v1//", "http://localhost:11434/v1/chat/completions"],
    ["http://v1:8080/llm", "http://v1:8080/llm/v1/chat/completions"],
    ["https://openrouter.ai/api/v1", "https://openrouter.ai/api/v1/chat/completions"],
    ["https://example.com/v1beta/openai/", "https://example.com/v1beta/openai/chat/completions"],
    ["https://example.com/llm/chat/completions", "https://example.com/llm/chat/completions"],
    ["https://example.com/v1/?version=2", "https://example.com/v1/chat/completions?version=2"],
    ["https://example.com/chat/completions?version=2", "https://example.com/chat/completions?version=2"]
  ] as const)("for %s goes to %s", ([baseUrl, url]) =>
    Effect.map(sentFor({}, { baseUrl }), (sent) => assert.strictEqual(sent.url, url))
  )

  it.effect("has all sampling as it is, and none by default", () =>
    Effect.gen(function* () {
      const sampling = { model: "other", temperature: 0.7, topP: 0.9, maxTokens: 10, stop: ["END"], seed: 7 }
      const { body } = yield* sentFor({ sampling })
      assert.deepStrictEqual(body, {
        model: "other",
        messages: [{ role: "user", content: "Hi" }],
        temperature: 0.7,
        top_p: 0.9,
        max_completion_tokens: 10,
        stop: ["END"],
        seed: 7
      })
      const zeros = yield* sentFor({ sampling: { temperature: 0, seed: 0, stop: [] } })
      assert.deepInclude(zeros.body, { temperature: 0, seed: 0 })
      assert.notProperty(zeros.body, "stop")
    })
  )

  it.effect.each([
    ["max_completion_tokens", "https://api.openai.com/v1", undefined],
    ["max_completion_tokens", "https://eu.api.openai.com/v1", undefined],
    ["max_completion_tokens", "https://x.openai.azure.com/openai/v1", undefined],
    ["max_tokens", "https://api.openai.com.example.com/v1", undefined],
    ["max_tokens", "http://localhost:8080", undefined],
    ["max_completion_tokens", "http://localhost:8080", "max_completion_tokens"],
    ["max_tokens", "https://api.openai.com/v1", "max_tokens"]
  ] as const)("bounds the answer with %s at %s when told %s", ([field, baseUrl, maxTokensField]) =>
    Effect.map(sentFor({ sampling: { maxTokens: 5 } }, { baseUrl, maxTokensField }), ({ body }) =>
      assert.deepStrictEqual(Object.keys(body), ["model", "messages", field])
    )
  )

  it.effect("tells the whole conversation", () =>
    Effect.gen(function* () {
      const calls: ReadonlyArray<Prompt.AssistantMessagePartEncoded> = [
        { type: "reasoning", text: "Hm" },
        { type: "text", text: "Let me " },
        { type: "text", text: "see" },
        { type: "tool-call", id: "a", name: "weather", params: { city: "Köln" } },
        { type: "tool-call", id: "b", name: "weather", params: `{"city": ` },
        { type: "tool-call", id: "c", name: "weather", params: null },
        { type: "tool-call", id: "x", name: "search", params: {}, providerExecuted: true }
      ]
      const result = (id: string, result: unknown, isFailure = false) =>
        ({ type: "tool-result", id, name: "weather", isFailure, result }) as const
      const shown = { ...result("c", 1), modelOutput: [{ type: "text", text: "one" }] as const }
      let history = History.appendUser(History.empty, "Hi")
      const results = [result("a", { degrees: 21 }), result("b", "Not JSON", true), shown]
      history = History.appendAssistant(history, calls, results)
      history = History.appendAssistant(history, [{ type: "tool-call", id: "d", name: "weather", params: {} }])
      history = History.appendAssistant(history, [{ type: "text", text: "21 degrees" }])
      history = History.appendUser(history, [{ type: "text", text: "Thanks" }])
      const { body } = yield* sentFor({ instructions: "Be kind", history })
      const fn = (id: string, args: string) => ({
        id,
        type: "function",
        function: { name: "weather", arguments: args }
      })
      assert.deepStrictEqual(body["messages"], [
        { role: "system", content: "Be kind" },
        { role: "user", content: "Hi" },
        {
          role: "assistant",
          content: "Let me see",
          tool_calls: [fn("a", `{"city":"Köln"}`), fn("b", "{}"), fn("c", "{}")]
        },
        { role: "tool", tool_call_id: "a", content: `{"degrees":21}` },
        { role: "tool", tool_call_id: "b", content: "Not JSON" },
        { role: "tool", tool_call_id: "c", content: "one" },
        { role: "assistant", tool_calls: [fn("d", "{}")] },
        { role: "tool", tool_call_id: "d", content: "The call was interrupted. Whether it took effect is unknown." },
        { role: "assistant", content: "21 degrees" },
        { role: "user", content: "Thanks" }
      ])
    })
  )

  it.effect("has images as URLs and documents as files", () =>
    Effect.gen(function* () {
      const file = (mediaType: string, data: Prompt.FilePartEncoded["data"], fileName?: string) =>
        ({ type: "file", mediaType, data, ...(fileName !== undefined && { fileName }) }) as const
      const bytes = new Uint8Array([1, 2, 3])
      const history = History.appendUser(History.empty, [
        { type: "text", text: "Look" },
        file("image/png", bytes),
        file("image/*", { _tag: "Uint8Array", base64: "AQID" }),
        file("image/png", "AQID"),
        file("image/png", "data:image/png;base64,AQID"),
        file("image/png", new URL("https://example.com/a.png")),
        file("image/png", { _tag: "URL", href: "https://example.com/b.png" }),
        file("application/pdf", bytes, "a.pdf"),
        file("application/pdf", bytes)
      ])
      const { body } = yield* sentFor({ history })
      const image = (url: string) => ({ type: "image_url", image_url: { url } })
      assert.deepStrictEqual(body["messages"], [
        {
          role: "user",
          content: [
            { type: "text", text: "Look" },
            image("data:image/png;base64,AQID"),
            image("data:image/jpeg;base64,AQID"),
            image("data:image/png;base64,AQID"),
            image("data:image/png;base64,AQID"),
            image("https://example.com/a.png"),
            image("https://example.com/b.png"),
            { type: "file", file: { filename: "a.pdf", file_data: "data:application/pdf;base64,AQID" } },
            { type: "file", file: { filename: "file", file_data: "data:application/pdf;base64,AQID" } }
          ]
        }
      ])
    })
  )

  it.effect("declares tools as functions with the JSON Schema of their arguments", () =>
    Effect.gen(function* () {
      class Place extends Schema.Class<Place>("Place")({ city: Schema.String }) {}
      const raw = { type: "object", properties: { q: { type: "string" } }, required: ["q"] }
      const Search = Tool.providerDefined({ id: "openai.search", customName: "Search", providerName: "search" })
      const tools: ReadonlyArray<Tool.Any> = [
        Weather,
        Weather.annotate(Tool.Strict, true),
        Tool.make("place", { parameters: Place }),
        Tool.make("now"),
        Tool.make("later", { parameters: Schema.Struct({}) }),
        Tool.dynamic("mcp", { description: "Finds", parameters: raw }),
        Search()
      ]
      const { body } = yield* sentFor({ tools })
      const fn = (definition: object) => ({ type: "function", function: definition })
      const weather = { name: "weather", description: "Tells the weather", parameters: weatherSchema }
      assert.deepStrictEqual(body["tools"], [
        fn(weather),
        fn({ ...weather, parameters: { ...weatherSchema, additionalProperties: false }, strict: true }),
        fn({ name: "place", parameters: { ...weatherSchema, $defs: { PlaceEncoded: weatherSchema } } }),
        fn({ name: "now", parameters: { type: "object", properties: {}, additionalProperties: false } }),
        // `Schema.Struct({})` takes any value but null; the API takes nothing but an object.
        fn({ name: "later", parameters: { type: "object", properties: {} } }),
        fn({ name: "mcp", description: "Finds", parameters: raw })
      ])
      assert.notProperty(body, "tool_choice")
    })
  )

  it.effect.each([
    ["auto", undefined],
    ["none", "none"],
    ["required", "required"],
    [{ tool: "weather" }, { type: "function", function: { name: "weather" } }]
  ] as const)("turns the tool choice %j into %j", ([toolChoice, expected]) =>
    Effect.gen(function* () {
      const { body } = yield* sentFor({ tools: [Weather], toolChoice })
      assert.deepStrictEqual(body["tool_choice"], expected)
      const without = yield* sentFor({ tools: [], toolChoice })
      assert.notProperty(without.body, "tool_choice")
      assert.notProperty(without.body, "tools")
    })
  )

  it.effect("asks for the format of the output", () =>
    Effect.gen(function* () {
      const output = { name: "place", schema: Schema.Struct({ city: Schema.String }) }
      const { body } = yield* sentFor({ output })
      assert.deepStrictEqual(body["response_format"], {
        type: "json_schema",
        json_schema: { name: "place", schema: weatherSchema }
      })
    })
  )

  it.effect("asks OpenAI in words for an output that is no object, and other servers for its format", () =>
    Effect.gen(function* () {
      const Answer = Schema.Union([Schema.Struct({ city: Schema.String }), Schema.Struct({ river: Schema.String })])
      for (const schema of [Answer, Schema.Array(Schema.String), Schema.String]) {
        const output = { name: "place", schema }
        for (const baseUrl of [undefined, "https://x.openai.azure.com/openai/v1"]) {
          const { body } = yield* sentFor({ instructions: "Be kind", output }, { baseUrl, strictOutput: true })
          assert.notProperty(body, "response_format")
          const [system] = body["messages"] as ReadonlyArray<{ readonly content: string }>
          assert.match(system!.content, /^Be kind\n\nGive the final answer as JSON only/)
          assert.include(system!.content, JSON.stringify(JsonSchema.of(schema)))
        }
        const local = yield* sentFor({ output }, { baseUrl: "http://localhost:8080" })
        assert.deepStrictEqual(local.body["response_format"], {
          type: "json_schema",
          json_schema: { name: "place", schema: JsonSchema.of(schema) }
        })
      }
    })
  )

  it.effect("asks for an output that keeps to its schema, if strict mode knows the schema", () =>
    Effect.gen(function* () {
      const format = (schema: Schema.Top) =>
        Effect.map(
          sentFor({ output: { name: "place", schema } }, { strictOutput: true }),
          ({ body }) => body["response_format"]
        )
      assert.deepStrictEqual(yield* format(Schema.Struct({ city: Schema.String })), {
        type: "json_schema",
        json_schema: { name: "place", schema: { ...weatherSchema, additionalProperties: false }, strict: true }
      })
      assert.notInclude(JSON.stringify(yield* format(Schema.Record(Schema.String, Schema.String))), "strict")
    })
  )

  it.effect("has the options of the model", () =>
    Effect.gen(function* () {
      const { body } = yield* sentFor(
        { tools: [Weather] },
        { parallelToolCalls: false, reasoning: { effort: "low", summary: "auto" } }
      )
      assert.deepInclude(body, { parallel_tool_calls: false, reasoning_effort: "low" })
      const without = yield* sentFor({}, { parallelToolCalls: false, reasoning: false })
      assert.deepStrictEqual(Object.keys(without.body), ["model", "messages"])
    })
  )

  it.effect("has fields of the API only, and nothing that is null", () =>
    Effect.gen(function* () {
      const { body } = yield* sentFor(
        {
          instructions: "Be kind",
          tools: [Weather],
          toolChoice: "required",
          sampling: { temperature: 1, topP: 1, maxTokens: 1, stop: ["x"], seed: 1 },
          output: { name: "place", schema: Schema.Struct({ city: Schema.String }) }
        },
        {},
        () => {}
      )
      assert.deepStrictEqual(Object.keys(body), [
        "model",
        "messages",
        "stream",
        "stream_options",
        "tools",
        "tool_choice",
        "temperature",
        "top_p",
        "max_completion_tokens",
        "stop",
        "seed",
        "response_format"
      ])
      assert.notInclude(JSON.stringify(body), "null")
    })
  )

  it.effect("that cannot be written fails as a value", () =>
    Effect.gen(function* () {
      const circular: Record<string, unknown> = {}
      circular["self"] = circular
      const result = { type: "tool-result", id: "a", name: "x", isFailure: false, result: circular } as const
      const history = History.appendAssistant(
        History.empty,
        [{ type: "tool-call", id: "a", name: "x", params: {} }],
        [result]
      )
      const reason = yield* reasonOf(call(() => json({}), { request: { history } }))
      assert.strictEqual(reason._tag, "InvalidRequestError")
    })
  )

  it.effect("is sent anew each time the call is run", () =>
    Effect.gen(function* () {
      let sent = 0
      const generate = call(() => json(answer({ content: String(++sent) })))
      assert.strictEqual(History.text((yield* generate).content), "1")
      assert.strictEqual(History.text((yield* generate).content), "2")
    })
  )
})

describe("an answer", () => {
  it.effect("has text, model and tokens", () =>
    Effect.gen(function* () {
      const response = yield* call(() =>
        json({
          model: "gpt-test-2026",
          ...answer({ role: "assistant", content: "Hello" }),
          usage: {
            prompt_tokens: 10,
            completion_tokens: 5,
            prompt_tokens_details: { cached_tokens: 4 },
            completion_tokens_details: { reasoning_tokens: 3 }
          }
        })
      )
      assert.deepStrictEqual(response, {
        content: [{ type: "text", text: "Hello" }],
        finishReason: "stop",
        tokens: { inputTokens: 10, outputTokens: 5, cachedInputTokens: 4, cacheWriteTokens: 0, reasoningTokens: 3 },
        model: "gpt-test-2026"
      })
    })
  )

  it.effect("without usage or model counts nothing", () =>
    Effect.gen(function* () {
      const none = { inputTokens: 0, outputTokens: 0, cachedInputTokens: 0, cacheWriteTokens: 0, reasoningTokens: 0 }
      for (const usage of [{}, { usage: null }, { usage: { prompt_tokens_details: null } }]) {
        const response = yield* call(() => json({ ...answer({ content: "" }), ...usage }))
        assert.deepStrictEqual(response, { content: [], finishReason: "stop", tokens: none, model: undefined })
      }
    })
  )

  it.effect("may have calls in place of content", () =>
    Effect.gen(function* () {
      const calls = [{ id: "a", type: "function", function: { name: "weather", arguments: `{"city":"Rome"}` } }]
      for (const message of [{ content: null, tool_calls: calls }, { tool_calls: calls }]) {
        const { content, finishReason } = yield* ask(message, "tool_calls")
        assert.deepStrictEqual(content, [weather("a", { city: "Rome" })])
        assert.strictEqual(finishReason, "tool-calls")
      }
    })
  )

  it.effect.each([
    [`{"city":"Rome"}`, { city: "Rome" }],
    [`[1]`, [1]],
    [`{"city": `, `{"city": `],
    [``, {}],
    [` `, {}],
    [undefined, {}],
    [null, {}],
    // Not by the book, but seen.
    [{ city: "Rome" }, { city: "Rome" }]
  ])("has arguments %j as %j", ([args, params]) =>
    Effect.gen(function* () {
      const { content } = yield* ask({ tool_calls: [{ id: "a", function: { name: "weather", arguments: args } }] })
      assert.deepStrictEqual(content, [weather("a", params)])
    })
  )

  it.effect("gives calls without an id one that is new to the conversation", () =>
    Effect.gen(function* () {
      const calls = ["", null, undefined].map((id) => ({ id, function: { name: "weather", arguments: "{}" } }))
      const { content } = yield* ask({ tool_calls: calls })
      assert.deepStrictEqual(content, [weather("call_1_0", {}), weather("call_1_1", {}), weather("call_1_2", {})])
    })
  )

  it.effect("may have calls with one id", () =>
    Effect.gen(function* () {
      const calls = ["A", "B"].map((city) => ({
        id: "a",
        function: { name: "weather", arguments: JSON.stringify({ city }) }
      }))
      const { content } = yield* ask({ tool_calls: calls })
      assert.deepStrictEqual(content, [weather("a", { city: "A" }), weather("a", { city: "B" })])
    })
  )

  it.effect.each([
    ["stop", "stop"],
    ["length", "length"],
    ["content_filter", "content-filter"],
    ["tool_calls", "tool-calls"],
    ["function_call", "tool-calls"],
    ["eos", "other"],
    [null, "unknown"]
  ] as const)("finished with %s has the reason %s", ([finish, reason]) =>
    Effect.map(ask({ content: "" }, finish), ({ finishReason }) => assert.strictEqual(finishReason, reason))
  )

  it.effect("that has calls waits for them even if the server says that it stopped", () =>
    Effect.gen(function* () {
      const tool_calls = [{ id: "a", function: { name: "weather", arguments: "{}" } }]
      for (const [finish, reason] of [
        ["stop", "tool-calls"],
        [null, "tool-calls"],
        ["length", "length"]
      ] as const) {
        assert.strictEqual((yield* ask({ tool_calls }, finish)).finishReason, reason)
      }
    })
  )

  it.effect("has reasoning under either name, once, before the text", () =>
    Effect.gen(function* () {
      const thoughts = [
        { reasoning_content: "Hm" },
        { reasoning: "Hm" },
        { reasoning: "Hm", reasoning_content: "Hm" },
        { reasoning: "Hm", reasoning_content: "" },
        { reasoning: "", reasoning_content: "Hm" }
      ]
      for (const thought of thoughts) {
        const { content } = yield* ask({ content: "Yes", ...thought })
        assert.deepStrictEqual(content, [
          { type: "reasoning", text: "Hm" },
          { type: "text", text: "Yes" }
        ])
      }
    })
  )

  it.effect("that is a refusal is text", () =>
    Effect.gen(function* () {
      const { content } = yield* ask({ content: null, refusal: "I cannot" })
      assert.deepStrictEqual(content, [{ type: "text", text: "I cannot" }])
    })
  )

  it.effect.each([{ choices: [] }, { choices: null }, {}])("of %j has no choices", (body) =>
    Effect.gen(function* () {
      const reason = yield* reasonOf(call(() => json(body)))
      assert.strictEqual(reason._tag, "InvalidResponseError")
      assert.include(reason.message, "no choices")
    })
  )

  it.effect.each(["", "{", "<html>Hello</html>", `"text"`, `{"choices":[{"message":"text"}]}`])(
    "of %j is invalid",
    (body) =>
      Effect.gen(function* () {
        const reason = yield* reasonOf(call(() => json(body)))
        assert.strictEqual(reason._tag, "InvalidResponseError")
      })
  )
})

describe("JSON that is nested too deep to be written again", () => {
  const deep = `${"[".repeat(100_000)}${"]".repeat(100_000)}`

  it.effect("stays text in the arguments of a call", () =>
    Effect.gen(function* () {
      const args = `{"city":${deep}}`
      const { content } = yield* ask({ tool_calls: [{ id: "a", function: { name: "weather", arguments: args } }] })
      assert.deepStrictEqual(content, [weather("a", args)])
    })
  )

  it.effect("is an invalid response anywhere else", () =>
    Effect.gen(function* () {
      const body = `{"choices":[{"message":{"tool_calls":[{"id":"a","function":{"name":"weather","arguments":${deep}}}]}}]}`
      assert.strictEqual((yield* reasonOf(call(() => json(body))))._tag, "InvalidResponseError")
      const streamed = call(() => events(`data: ${body}\n\n`), { onDelta: () => {} })
      assert.strictEqual((yield* reasonOf(streamed))._tag, "InvalidResponseError")
    })
  )
})

describe("a stream", () => {
  const params = (id: string, delta: string): Llm.Delta => ({ type: "tool-params", id, name: "weather", delta })

  const tool = (call: { index?: number; id?: string | null; name?: string | null; args?: string }) => ({
    ...(call.index !== undefined && { index: call.index }),
    ...(call.id !== undefined && { id: call.id }),
    function: {
      ...(call.name !== undefined && { name: call.name }),
      ...(call.args !== undefined && { arguments: call.args })
    }
  })

  const tools = (...calls: ReadonlyArray<Parameters<typeof tool>[0]>) => choice({ tool_calls: calls.map(tool) })

  // What llama.cpp and OpenAI send for text, reasoning and two interleaved calls, joined.
  const recorded = encoder.encode(
    sse(
      { model: "qwen", ...choice({ role: "assistant", content: null }) },
      choice({ reasoning_content: "Grüße aus 北" }),
      choice({ reasoning_content: "京 🤔" }),
      choice({ content: "Schön: " }),
      choice({ content: "👩‍👩‍👧 ok" }),
      tools({ index: 1, id: "b", name: "weather" }),
      tools({ index: 0, id: "a", name: "weather", args: "" }),
      tools({ index: 1, args: `{"city":` }),
      tools({ index: 0, args: `{"city":"Kö` }),
      tools({ index: 1, args: `"Zürich 🏔"}` }),
      tools({ index: 0, args: `ln"}` }),
      choice({}, "tool_calls"),
      {
        choices: [],
        usage: { prompt_tokens: 7, completion_tokens: 8, completion_tokens_details: { reasoning_tokens: 2 } }
      }
    ) + done
  )
  const expected: Llm.LlmResponse = {
    content: [
      { type: "reasoning", text: "Grüße aus 北京 🤔" },
      { type: "text", text: "Schön: 👩‍👩‍👧 ok" },
      weather("a", { city: "Köln" }),
      weather("b", { city: "Zürich 🏔" })
    ],
    finishReason: "tool-calls",
    tokens: { inputTokens: 7, outputTokens: 8, cachedInputTokens: 0, cacheWriteTokens: 0, reasoningTokens: 2 },
    model: "qwen"
  }
  const expectedDeltas: ReadonlyArray<Llm.Delta> = [
    { type: "reasoning", delta: "Grüße aus 北京 🤔" },
    { type: "text", delta: "Schön: 👩‍👩‍👧 ok" },
    params("b", `{"city":`),
    params("a", `{"city":"Kö`),
    params("b", `"Zürich 🏔"}`),
    params("a", `ln"}`)
  ]

  it.effect(
    "is the same wherever the network cuts it in two",
    () =>
      Effect.gen(function* () {
        const whole = yield* stream(recorded)
        for (let cut = 0; cut <= recorded.length; cut++) {
          const { deltas, joined, response } = yield* stream(recorded.subarray(0, cut), recorded.subarray(cut))
          assert.deepStrictEqual(response, expected, `cut at ${cut}`)
          assert.deepStrictEqual(deltas, whole.deltas, `cut at ${cut}`)
          assert.deepStrictEqual(joined, expectedDeltas, `cut at ${cut}`)
        }
      }),
    20_000
  )

  it.effect("is the same byte for byte", () =>
    Effect.gen(function* () {
      const { joined, response } = yield* stream(...Array.from(recorded, (byte) => new Uint8Array([byte])))
      assert.deepStrictEqual(response, expected)
      assert.deepStrictEqual(joined, expectedDeltas)
    })
  )

  it.effect("is the same over a real connection", () =>
    Effect.gen(function* () {
      const cuts = [0, 1, 50, 123, 200, 333, 500, 777, recorded.length - 3]
      const replies = cuts.map((cut) => ({ body: [recorded.subarray(0, cut), recorded.subarray(cut)] }))
      const server = yield* OpenAiServer.make(...replies)
      const llm = yield* OpenAiLlm.make({ model: "qwen", baseUrl: server.url })
      for (const cut of cuts) {
        const deltas: Array<Llm.Delta> = []
        const response = yield* llm.generate(request(), (delta) => deltas.push(delta))
        assert.deepStrictEqual(response, expected, `cut at ${cut}`)
        assert.deepStrictEqual(join(deltas), expectedDeltas, `cut at ${cut}`)
      }
      assert.lengthOf(server.requests, cuts.length)
    }).pipe(Effect.provide(NodeHttpClient.layerUndici))
  )

  const event = JSON.stringify(choice({ content: "Hi" }, "stop"))

  it.effect.each([
    ["a space after the colon", `data: ${event}\n\n${done}`],
    ["no space after the colon", `data:${event}\n\ndata:[DONE]\n\n`],
    ["CRLF", `data: ${event}\r\n\r\ndata: [DONE]\r\n\r\n`],
    ["comments", `: OPENROUTER PROCESSING\n\n: x\ndata: ${event}\n\n${done}`],
    ["data on several lines", `data: ${JSON.stringify(JSON.parse(event), null, 2).replaceAll("\n", "\ndata: ")}\n\n`],
    ["other fields", `event: message\nid: 1\nretry: 10\ndata: ${event}\n\n${done}`],
    ["empty events", `data:\n\ndata: ${event}\n\ndata:\n\n${done}`],
    ["a byte order mark", `\uFEFFdata: ${event}\n\n${done}`],
    ["no end marker", `data: ${event}\n\n`],
    ["an unfinished end marker", `data: ${event}\n\ndata: [DONE]`]
  ])("may have %s", ([, body]) =>
    Effect.gen(function* () {
      const { joined, response } = yield* stream(body)
      assert.deepStrictEqual(response.content, [{ type: "text", text: "Hi" }])
      assert.strictEqual(response.finishReason, "stop")
      assert.deepStrictEqual(joined, [{ type: "text", delta: "Hi" }])
    })
  )

  it.effect.each([
    [
      "that interleave",
      tools({ index: 1, id: "b", name: "weather", args: "" }),
      tools({ index: 0, id: "a", name: "weather", args: "" }),
      tools({ index: 1, args: `{"city":"B"}` }),
      tools({ index: 0, args: `{"city":"A"}` })
    ],
    [
      "without arguments in the first piece",
      tools({ index: 0, id: "a", name: "weather" }, { index: 1, id: "b", name: "weather" }),
      tools({ index: 0, args: `{"city":"A"}` }, { index: 1, args: `{"city":"B"}` })
    ],
    [
      "whole and without an index",
      tools({ id: "a", name: "weather", args: `{"city":"A"}` }),
      tools({ id: "b", name: "weather", args: `{"city":"B"}` })
    ],
    [
      "in pieces without an index",
      tools({ id: "a", name: "weather", args: `{"city":` }),
      tools({ args: `"A"}` }),
      tools({ id: "b", name: "weather" }),
      tools({ args: `{"city":"B"}` })
    ],
    [
      "whole and all at index 0",
      tools({ index: 0, id: "a", name: "weather", args: `{"city":"A"}` }),
      tools({ index: 0, id: "b", name: "weather", args: `{"city":"B"}` })
    ],
    [
      "that repeat the id in every piece",
      tools({ index: 0, id: "a", name: "weather", args: `{"city":` }),
      tools({ index: 0, id: "a", args: `"A"}` }),
      tools({ index: 1, id: "b", name: "weather", args: `{"city":` }),
      tools({ index: 1, id: "b", name: "", args: `"B"}` })
    ],
    [
      "that repeat the id and leave the index out",
      tools({ id: "a", name: "weather", args: `{"city":` }),
      tools({ id: "b", name: "weather", args: `{"city":` }),
      tools({ id: "a", args: `"A"}` }),
      tools({ id: "b", args: `"B"}` })
    ],
    [
      "that make up a new id for every piece",
      tools({ index: 0, id: "a", name: "weather", args: `{"city":` }),
      tools({ index: 0, id: "x", name: null, args: `"A"}` }),
      tools({ index: 1, id: "b", name: "weather", args: `{"city":` }),
      tools({ index: 1, id: "y", args: `"B"}` })
    ],
    [
      "whose name comes after the arguments",
      tools({ index: 0, id: "a", args: `{"city":` }),
      tools({ index: 1, id: "b", args: `{"city":` }),
      tools({ index: 0, name: "weather", args: `"A"}` }),
      tools({ index: 1, name: "weather", args: `"B"}` })
    ]
  ])("understands calls %s", ([, ...chunks]) =>
    Effect.gen(function* () {
      const { deltas, response } = yield* stream(sse(...chunks, choice({}, "stop")), done)
      assert.deepStrictEqual(response.content, [weather("a", { city: "A" }), weather("b", { city: "B" })])
      assert.strictEqual(response.finishReason, "tool-calls")
      for (const [id, args] of [
        ["a", `{"city":"A"}`],
        ["b", `{"city":"B"}`]
      ] as const) {
        const own = deltas.filter((delta) => delta.type === "tool-params" && delta.id === id)
        assert.deepStrictEqual(join(own), [params(id, args)])
      }
    })
  )

  it.effect("gives a call one id, even if the server is late with its own", () =>
    Effect.gen(function* () {
      const { deltas, response } = yield* stream(
        sse(tools({ index: 0, name: "weather", args: "{" }), tools({ index: 0, id: "late", args: "}" })),
        done
      )
      assert.deepStrictEqual(response.content, [weather("call_1_0", {})])
      assert.deepStrictEqual(deltas, [params("call_1_0", "{"), params("call_1_0", "}")])
    })
  )

  it.effect("takes the usage from the last chunk that has it", () =>
    Effect.gen(function* () {
      const usage = (completion_tokens: number) => ({ usage: { prompt_tokens: 1, completion_tokens } })
      const { response } = yield* stream(
        sse({ ...choice({ content: "a" }), ...usage(1) }, { ...choice({ content: "b" }, "stop"), ...usage(2) }),
        sse({ choices: [], usage: null }),
        done
      )
      assert.deepStrictEqual(response.tokens, {
        inputTokens: 1,
        outputTokens: 2,
        cachedInputTokens: 0,
        cacheWriteTokens: 0,
        reasoningTokens: 0
      })
    })
  )

  it.effect("joins text whatever comes between", () =>
    Effect.gen(function* () {
      const { deltas, response } = yield* stream(
        sse(choice({ content: "a" }), choice({ reasoning: "hm" }), choice({ content: "b" }), choice({ refusal: "c" })),
        sse(choice({ content: "" }, "stop"))
      )
      assert.deepStrictEqual(response.content, [
        { type: "text", text: "abc" },
        { type: "reasoning", text: "hm" }
      ])
      const text = deltas.filter((delta) => delta.type === "text").map(({ delta }) => delta)
      assert.deepStrictEqual(text, ["a", "b", "c"])
    })
  )

  it.effect("without a reason is finished by its end marker", () =>
    Effect.gen(function* () {
      const { response } = yield* stream(sse(choice({ content: "Hi" })), done)
      assert.deepStrictEqual(response.content, [{ type: "text", text: "Hi" }])
      assert.strictEqual(response.finishReason, "unknown")
    })
  )

  it.effect("of nothing but an end marker has no choices", () =>
    Effect.map(reasonOf(stream(done)), (reason) => assert.strictEqual(reason._tag, "InvalidResponseError"))
  )

  it.effect.each([
    ["no id", undefined, undefined, ["call_1_0", "call_1_1"]],
    ["an empty id", "", "", ["call_1_0", "call_1_1"]],
    ["one id", "a", "a", ["a", "a"]]
  ] as const)("tells whole calls apart that have one index and %s", ([, first, second, [one, two]]) =>
    Effect.gen(function* () {
      const call = (id: string | undefined, args: string) => ({ index: 0, ...(id !== undefined && { id }), args })
      const { joined, response } = yield* stream(
        sse(
          tools({ ...call(first, `{"city":`), name: "weather" }),
          // Whoever repeats the name in each piece does not begin another call by it.
          tools({ ...call(first, `"A"}`), name: "weather" }),
          tools({ ...call(first, ""), name: "weather" }),
          tools({ ...call(second, `{"city":"B"}`), name: "weather" }),
          choice({}, "tool_calls")
        ),
        done
      )
      assert.deepStrictEqual(response.content, [weather(one, { city: "A" }), weather(two, { city: "B" })])
      const deltas = joined.map((delta) => ("delta" in delta ? delta.delta : "")).join("")
      assert.strictEqual(deltas, `{"city":"A"}{"city":"B"}`)
    })
  )

  it.effect("has a call once that the server repeats as a whole", () =>
    Effect.gen(function* () {
      const whole = tools({ index: 0, id: "a", name: "weather", args: `{"city":"A"}` })
      const { joined, response } = yield* stream(sse(whole, whole, choice({}, "tool_calls")), done)
      assert.deepStrictEqual(response.content, [weather("a", { city: "A" })])
      assert.deepStrictEqual(joined, [params("a", `{"city":"A"}`)])
    })
  )

  it.effect("may be a whole response to a server that knows no streams", () =>
    Effect.gen(function* () {
      const deltas: Array<Llm.Delta> = []
      const tool_calls = [{ id: "a", function: { name: "weather", arguments: "{}" } }]
      const { content } = yield* call(() => json(answer({ content: "Hi", tool_calls })), {
        onDelta: (delta) => deltas.push(delta)
      })
      assert.deepStrictEqual(content, [{ type: "text", text: "Hi" }, weather("a", {})])
      assert.deepStrictEqual(deltas, [{ type: "text", delta: "Hi" }, params("a", "{}")])
    })
  )

  it.effect("needs no content type", () =>
    Effect.gen(function* () {
      const body = sse(choice({ content: "Hi" }, "stop"))
      const { content } = yield* call(() => new Response(body), { onDelta: () => {} })
      assert.deepStrictEqual(content, [{ type: "text", text: "Hi" }])
    })
  )

  it.effect("is not what a web page is that somebody answers with", () =>
    Effect.gen(function* () {
      const page = () => new Response("<html>Sign in</html>", { headers: { "content-type": "text/html" } })
      const reason = yield* reasonOf(call(page, { onDelta: () => {} }))
      assert.strictEqual(reason._tag, "InvalidResponseError")
      assert.include(reason.message, "Sign in")
    })
  )

  it.effect.each([
    [{ error: { message: "Overloaded", type: "server_error" } }, "InternalProviderError"],
    [{ error: { message: "Upstream", code: 502 } }, "InternalProviderError"],
    [{ error: "out of memory" }, "InternalProviderError"],
    // Older versions of vLLM, and OpenRouter in three ways.
    [{ object: "error", message: "Boom", type: "InternalServerError", code: 500 }, "InternalProviderError"],
    [{ error: { message: "Upstream", code: 429 }, ...choice({ content: "" }, "error") }, "RateLimitError"],
    [{ choices: [{ ...choice({ content: "" }, "error").choices[0], error: { code: 502 } }] }, "InternalProviderError"],
    [choice({}, "error"), "InternalProviderError"],
    [{ error: { message: "Slow down", type: "rate_limit_error" } }, "RateLimitError"],
    [{ error: { message: "Pay", code: "insufficient_quota" } }, "QuotaExhaustedError"],
    [{ error: { message: "Key", code: "invalid_api_key" } }, "AuthenticationError"],
    [{ error: { message: "Wrong", type: "invalid_request_error" } }, "InvalidRequestError"],
    [{ error: { message: "Wrong", type: "BadRequestError", code: 400 } }, "InvalidRequestError"],
    [{ error: { message: "No", code: "content_filter" } }, "ContentPolicyError"]
  ] as const)("with the error %j fails with %s", ([error, tag]) =>
    Effect.gen(function* () {
      const reason = yield* reasonOf(stream(sse(choice({ content: "Hi" }), error)))
      assert.strictEqual(reason._tag, tag)
    })
  )

  it.effect("with an error in it delivers what came before", () =>
    Effect.gen(function* () {
      const deltas: Array<Llm.Delta> = []
      const body = sse(choice({ content: "Hi" }), { error: { message: "Overloaded" } }, choice({ content: "!" }))
      const reason = yield* reasonOf(call(() => events(body), { onDelta: (delta) => deltas.push(delta) }))
      assert.include(reason.message, "Overloaded")
      assert.deepStrictEqual(deltas, [{ type: "text", delta: "Hi" }])
    })
  )

  it.effect("with a chunk that is not JSON is invalid", () =>
    Effect.gen(function* () {
      const reason = yield* reasonOf(stream(sse(choice({ content: "Hi" })), "data: {oops\n\n"))
      assert.strictEqual(reason._tag, "InvalidResponseError")
      assert.include(reason.message, "{oops")
    })
  )

  it.effect("that ends before the model has finished broke off, wherever it was cut", () =>
    Effect.gen(function* () {
      const body = sse(choice({ content: "Hi" }), tools({ index: 0, id: "a", name: "weather", args: "{" }))
      for (let cut = 0; cut <= body.length; cut++) {
        const reason = yield* reasonOf(stream(body.slice(0, cut)))
        assert.strictEqual(reason._tag, "NetworkError")
        assert.isTrue(reason.isRetryable)
        assert.include(reason.message, "ended before the model had finished")
      }
    })
  )

  it.effect("has not finished while the reason is an empty text", () =>
    Effect.gen(function* () {
      const reason = yield* reasonOf(stream(sse(choice({ content: "Hi" }, ""))))
      assert.strictEqual(reason._tag, "NetworkError")
      const { response } = yield* stream(sse(choice({ content: "Hi" }, "length"), choice({}, "")))
      assert.strictEqual(response.finishReason, "length")
    })
  )

  it.effect("that breaks off behind the answer is complete", () =>
    Effect.gen(function* () {
      const body = [sse(choice({ content: "Hi" }, "stop"))]
      const server = yield* OpenAiServer.make({ body, ending: "destroy" })
      const llm = yield* OpenAiLlm.make({ model: "m", baseUrl: server.url })
      const { content } = yield* llm.generate(request(), () => {})
      assert.deepStrictEqual(content, [{ type: "text", text: "Hi" }])
    }).pipe(Effect.provide(NodeHttpClient.layerUndici))
  )
})

describe("a failure", () => {
  const problem = (error: unknown, status: number, headers: Record<string, string> = {}) =>
    reasonOf(call(() => json({ error }, { status, headers: { "content-type": "application/json", ...headers } })))

  it.effect.each([
    [400, { message: "Wrong" }, "InvalidRequestError", false],
    [401, { message: "Who?" }, "AuthenticationError", false],
    [402, { message: "Pay" }, "QuotaExhaustedError", false],
    [403, { message: "No" }, "AuthenticationError", false],
    [404, { message: "No such model" }, "InvalidRequestError", false],
    [408, { message: "Slow" }, "InternalProviderError", true],
    [422, { message: "Wrong" }, "InvalidRequestError", false],
    [429, { message: "Slow down" }, "RateLimitError", true],
    [429, { message: "Pay", code: "insufficient_quota" }, "QuotaExhaustedError", false],
    [400, { message: "No", code: "content_policy_violation" }, "ContentPolicyError", false],
    [500, { message: "Oops" }, "InternalProviderError", true],
    [503, "Loading model", "InternalProviderError", true]
  ] as const)("of status %i with %j is a typed reason", ([status, error, tag, isRetryable]) =>
    Effect.gen(function* () {
      const reason = yield* problem(error, status)
      assert.strictEqual(reason._tag, tag)
      assert.strictEqual(reason.isRetryable, isRetryable)
      assert.strictEqual("http" in reason ? reason.http?.response?.status : undefined, status)
    })
  )

  it.effect("tells a wrong key from a missing permission", () =>
    Effect.gen(function* () {
      const kinds = yield* Effect.forEach([401, 403], (status) => problem({ message: "No" }, status))
      assert.deepStrictEqual(
        kinds.map((reason) => reason._tag === "AuthenticationError" && reason.kind),
        ["InvalidKey", "InsufficientPermissions"]
      )
    })
  )

  it.effect.each([
    [{ "retry-after": "7" }, 7_000],
    [{ "retry-after": "Thu, 01 Jan 1970 00:00:09 GMT" }, 9_000],
    [{ "retry-after": "7", "retry-after-ms": "250" }, 250],
    [{ "retry-after": "soon" }, undefined],
    [{}, undefined]
  ] as const)("of the rate says with %j to wait %s ms", ([headers, millis]) =>
    Effect.gen(function* () {
      const reason = yield* problem({ message: "Slow down" }, 429, headers)
      assert(reason._tag === "RateLimitError")
      assert.strictEqual(reason.retryAfter && Duration.toMillis(reason.retryAfter), millis)
    })
  )

  it.effect("of a request has the words, parameter and codes of the server", () =>
    Effect.gen(function* () {
      const error = { message: "Too hot", type: "invalid_request_error", param: "temperature", code: "bad_value" }
      const reason = yield* problem(error, 400, { "x-request-id": "req_1", "x-secret": "s" })
      assert(reason._tag === "InvalidRequestError")
      assert.strictEqual(reason.parameter, "temperature")
      assert.include(reason.description, "Too hot")
      assert.include(reason.description, "bad_value")
      assert.deepStrictEqual(reason.metadata, {
        openai: { errorCode: "bad_value", errorType: "invalid_request_error", requestId: "req_1" }
      })
      assert.deepStrictEqual(reason.http, {
        response: { status: 400, headers: { "content-type": "application/json", "x-request-id": "req_1" } },
        body: JSON.stringify({ error })
      })
    })
  )

  it.effect.each([
    [400, { message: "Too long", type: "invalid_request_error", code: "context_length_exceeded" }],
    [400, { message: "the request exceeds", type: "exceed_context_size_error", code: 400 }],
    [400, { message: "This model's maximum context length is 4096 tokens", type: "BadRequestError", code: 400 }],
    // LM Studio
    [400, "The number of tokens to keep from the initial prompt is greater than the context length. Try to load"],
    [
      400,
      "Trying to keep the first 9 tokens when context the overflows. However, the context length of 8 is not enough"
    ],
    [400, "However, the model is loaded with context length of only 8 tokens, which is not enough. Try to load"],
    // vLLM
    [400, { message: "The decoder prompt (length 9) is longer than the maximum model length of 8.", code: 400 }],
    // llama.cpp
    [400, { message: "the request (9 tokens) exceeds the available context size (8 tokens), try increasing it" }],
    // OpenAI's Responses API
    [400, { message: "Your input exceeds the context window of this model. Please adjust your input" }],
    // Gemini
    [400, { message: "The input token count (9) exceeds the maximum number of tokens allowed (8).", code: 400 }],
    // Groq, whose code is that of another failure, and GitHub Models
    [
      413,
      {
        message: "Request too large for model `m` on tokens per minute (TPM): Limit 8, Requested 9, please reduce",
        type: "tokens",
        code: "rate_limit_exceeded"
      }
    ],
    [413, { message: "Request body too large for gpt-4.1 model. Max size: 8 tokens.", code: "tokens_limit_reached" }]
  ] as const)("of a context that is too long is told by its code: %i %j", ([status, error]) =>
    Effect.gen(function* () {
      const reason = yield* problem(error, status)
      assert(reason._tag === "InvalidRequestError")
      assert.include(reason.description, "context_length_exceeded")
      assert.deepInclude(reason.metadata["openai"], { errorCode: "context_length_exceeded" })
    })
  )

  it.effect.each([
    [400, { message: "The parameter 'context window' mode is not supported" }],
    [400, { message: "context_size has to be a number" }],
    [400, { message: "prompt_cache_key exceeds 64 characters" }],
    [400, { message: "max_tokens is too large: 9. This model supports at most 8 completion tokens" }],
    [413, { message: "Request exceeds the maximum size", type: "request_too_large" }],
    [413, "Request Entity Too Large"],
    // FastAPI repeats the request.
    [422, { message: `Wrong role. ${" ".repeat(1000)} Why does my prompt exceed the context window?` }]
  ] as const)("of another request is not taken for a context that is too long: %i %j", ([status, error]) =>
    Effect.gen(function* () {
      const reason = yield* problem(error, status)
      assert(reason._tag === "InvalidRequestError")
      assert.notInclude(reason.description, "context_length_exceeded")
    })
  )

  it.effect("of a context that is too long is told within a stream, by words alone", () =>
    Effect.gen(function* () {
      const error = "The number of tokens to keep from the initial prompt is greater than the context length"
      const reason = yield* reasonOf(call(() => events(sse({ error })), { onDelta: () => {} }))
      assert(reason._tag === "InvalidRequestError")
      assert.deepInclude(reason.metadata["openai"], { errorCode: "context_length_exceeded" })
    })
  )

  it.effect("is read from an array, too", () =>
    Effect.gen(function* () {
      const message = "The input token count (9) exceeds the maximum number of tokens allowed (8)."
      const reason = yield* reasonOf(call(() => json([{ error: { code: 400, message } }], { status: 400 })))
      assert(reason._tag === "InvalidRequestError")
      assert.include(reason.description, message)
      assert.deepInclude(reason.metadata["openai"], { errorCode: "context_length_exceeded" })
    })
  )

  it.effect("is read from whatever body a server sends", () =>
    Effect.gen(function* () {
      const respond = (body: string | null) => call(() => new Response(body, { status: 500 }))
      for (const [body, words] of [
        [`{"message":"vLLM says no","code":500}`, "vLLM says no"],
        [`{"detail":"FastAPI says no"}`, "FastAPI says no"],
        ["<h1>Bad gateway</h1>", "<h1>Bad gateway</h1>"],
        ["", "HTTP 500"],
        [null, "HTTP 500"]
      ] as const) {
        const reason = yield* reasonOf(respond(body))
        assert.strictEqual(reason._tag, "InternalProviderError")
        assert.include(reason.message, words)
      }
    })
  )

  it.effect.each([
    { error: { message: "Upstream", code: 503 } },
    { object: "error", message: "Upstream", type: "InternalServerError", param: null, code: 503 },
    { choices: [{ ...answer({ content: "" }, "error").choices[0], error: { message: "Upstream", code: 503 } }] }
  ])("within a success is a failure: %j", (body) =>
    Effect.gen(function* () {
      const reason = yield* reasonOf(call(() => json(body)))
      assert.strictEqual(reason._tag, "InternalProviderError")
      assert.include(reason.message, "Upstream")
    })
  )

  it.effect("to connect is a transport error that says why", () =>
    Effect.gen(function* () {
      // A port that was free a moment ago.
      const { url } = yield* Effect.scoped(OpenAiServer.make())
      for (const client of clients) {
        const reason = yield* OpenAiLlm.make({ model: "m", baseUrl: url }).pipe(
          Effect.flatMap((llm) => reasonOf(llm.generate(request()))),
          Effect.provide(client)
        )
        assert(reason._tag === "NetworkError")
        assert.strictEqual(reason.reason, "TransportError")
        assert.include(reason.description, "ECONNREFUSED")
        assert.strictEqual(reason.url, `${url}/v1/chat/completions`)
      }
    })
  )

  it.effect("to have a connection in the time of the HTTP client is a transport error", () =>
    Effect.gen(function* () {
      const llm = yield* OpenAiLlm.make({ model: "m", baseUrl: yield* DeafServer.make })
      const reason = yield* reasonOf(llm.generate(request()))
      assert(reason._tag === "NetworkError")
      assert.strictEqual(reason.reason, "TransportError")
      assert.match(reason.description ?? "", /Connect Timeout/)
    }).pipe(Effect.provide(NodeHttpClient.layerUndiciOptions({ connect: { timeout: 50 } })))
  )

  it.effect("of the URL is told as such", () =>
    Effect.gen(function* () {
      const reason = yield* reasonOf(call(() => json({}), { llm: { baseUrl: "not a url" } }))
      assert(reason._tag === "NetworkError")
      assert.strictEqual(reason.reason, "InvalidUrlError")
    })
  )

  it.effect("of the connection within an answer is a transport error", () =>
    Effect.gen(function* () {
      const body = [sse(choice({ content: "Hi" }))]
      const server = yield* OpenAiServer.make({ body, ending: "destroy" })
      const llm = yield* OpenAiLlm.make({ model: "m", baseUrl: server.url })
      const reason = yield* reasonOf(llm.generate(request(), () => {}))
      assert(reason._tag === "NetworkError")
      assert.strictEqual(reason.reason, "TransportError")
    }).pipe(Effect.provide(NodeHttpClient.layerUndici))
  )

  it.effect("to begin an answer in time says so", () =>
    Effect.gen(function* () {
      const server = yield* OpenAiServer.make({ ending: "silence" })
      const llm = yield* OpenAiLlm.make({ model: "m", baseUrl: server.url })
      const call = yield* Effect.forkChild(reasonOf(llm.generate(request())))
      const received = yield* server.next
      yield* TestClock.adjust("5 minutes")
      const reason = yield* Fiber.join(call)
      assert(reason._tag === "NetworkError")
      assert.isTrue(reason.isRetryable)
      assert.include(reason.description, "firstByteTimeout: no response began within 5m")
      yield* Deferred.await(received.closedEarly)
    }).pipe(Effect.provide(NodeHttpClient.layerUndici))
  )

  it.effect("to go on with an answer in time says so", () =>
    Effect.gen(function* () {
      const hang = { body: [sse(choice({ content: "Hi" }))], ending: "hang" } as const
      const server = yield* OpenAiServer.make(hang)
      const llm = yield* OpenAiLlm.make({ model: "m", baseUrl: server.url, idleTimeout: "10 seconds" })
      const began = yield* Deferred.make<void>()
      const call = yield* llm
        .generate(request(), () => Deferred.doneUnsafe(began, Effect.void))
        .pipe(reasonOf, Effect.forkChild)
      const received = yield* server.next
      yield* Deferred.await(began)
      yield* TestClock.adjust("10 seconds")
      const reason = yield* Fiber.join(call)
      assert(reason._tag === "NetworkError")
      assert.isTrue(reason.isRetryable)
      assert.include(reason.description, "idleTimeout: no further data came within 10s")
      yield* Deferred.await(received.closedEarly)
    }).pipe(Effect.provide(NodeHttpClient.layerUndici))
  )

  it.effect.each([
    ["that does not begin", { ending: "silence" }],
    ["that does not end", { body: [sse(choice({ content: "Hi" }))], ending: "hang" }]
  ] as const)("to complete an answer %s in the total time says so", ([, reply]) =>
    Effect.gen(function* () {
      const server = yield* OpenAiServer.make(reply)
      const llm = yield* OpenAiLlm.make({ model: "m", baseUrl: server.url, totalTimeout: "1 minute" })
      const call = yield* Effect.forkChild(reasonOf(llm.generate(request(), () => {})))
      const received = yield* server.next
      yield* TestClock.adjust("1 minute")
      const reason = yield* Fiber.join(call)
      assert(reason._tag === "NetworkError")
      assert.isTrue(reason.isRetryable)
      assert.include(reason.description, "totalTimeout: no complete answer within 1m")
      yield* Deferred.await(received.closedEarly)
    }).pipe(Effect.provide(NodeHttpClient.layerUndici))
  )

  const secret = "sk-verySecret-0123456789"

  it.effect("never holds the API key, whoever repeats it", () =>
    Effect.gen(function* () {
      const apiKey = Redacted.make(secret)
      const words = `Incorrect key ${secret}, Bearer ${secret}`
      const echo = (status: number) => () =>
        json(
          { error: { message: words, type: secret, code: secret, param: secret, extra: words } },
          { status, headers: { "content-type": "application/json", "x-echo": words, authorization: words } }
        )
      const throws = () => {
        throw new TypeError(words, { cause: new Error(words) })
      }
      const listen = { onDelta: () => {} }
      const errors: Array<AiError.AiError> = []
      for (const status of [200, 400, 401, 403, 404, 429, 500]) {
        errors.push(yield* Effect.flip(call(echo(status), { llm: { apiKey } })))
      }
      errors.push(yield* Effect.flip(call(throws, { llm: { apiKey } })))
      errors.push(yield* Effect.flip(call(() => events(`data: ${words}\n\n`), { llm: { apiKey }, ...listen })))
      errors.push(yield* Effect.flip(call(() => events(sse({ error: words })), { llm: { apiKey }, ...listen })))
      const baseUrl = `http://${secret}:${secret}@localhost/v1?api_key=${secret}`
      errors.push(yield* Effect.flip(call(throws, { llm: { apiKey, baseUrl } })))
      // The real `fetch` refuses credentials in a URL, and repeats them.
      const named = yield* OpenAiLlm.make({ model: "m", baseUrl: `http://user:${secret}@localhost?api_key=${secret}` })
      errors.push(yield* Effect.flip(named.generate(request())))
      for (const error of errors) {
        const shown = [inspect(error, { depth: Infinity, showHidden: true }), JSON.stringify(error), String(error)]
        assert.notInclude([...shown, error.stack, error.message].join("\n"), secret)
      }
    }).pipe(Effect.provide(FetchHttpClient.layer))
  )

  it.effect("never holds the API key of a real connection", () =>
    Effect.gen(function* () {
      for (const client of clients) {
        const server = yield* OpenAiServer.make({ ending: "destroy" }, { status: 500, body: "{}" }, { body: "{" })
        const options = { model: "m", baseUrl: server.url, apiKey: Redacted.make(secret) }
        const llm = yield* Effect.provide(OpenAiLlm.make(options), yield* Layer.build(client))
        for (const tag of ["NetworkError", "InternalProviderError", "InvalidResponseError"]) {
          const error = yield* Effect.flip(llm.generate(request()))
          assert.strictEqual(error.reason._tag, tag)
          assert.notInclude(inspect(error, { depth: Infinity, showHidden: true }), secret)
        }
        assert.strictEqual(server.requests[0]?.headers.authorization, `Bearer ${secret}`)
      }
    })
  )

  it.effect("never holds what the URL of the server has in its query, nor does a span", () =>
    Effect.gen(function* () {
      const words = "No access with p4ss/word9, nor as p4ss%2Fword9, for the user.name1"
      const body = JSON.stringify({ error: { message: words } })
      // Some servers escape slashes.
      const replies = clients.flatMap(() => [body, body.replaceAll("/", "\\/")])
      const server = yield* OpenAiServer.make(...replies.map((body) => ({ status: 401, body })))
      const spans: Array<Tracer.NativeSpan> = []
      const tracer = Tracer.make({
        span: (options) => {
          const span = new Tracer.NativeSpan(options)
          spans.push(span)
          return span
        }
      })
      for (const client of clients) {
        const baseUrl = `${server.url}/v1?key=p4ss%2Fword9&user=user.name1`
        const llm = yield* Effect.provide(OpenAiLlm.make({ model: "m", baseUrl }), yield* Layer.build(client))
        const failing = Effect.flip(Effect.withTracer(llm.generate(request()), tracer))
        const errors = [yield* failing, yield* failing]
        const traced = spans.map(({ attributes, events, name }) => [name, ...attributes, ...events])
        const shown = inspect([errors, traced], { depth: Infinity, showHidden: true })
        assert.include(shown, "No access with")
        assert.notMatch(shown, /p4ss|user\.name1/)
      }
      assert.lengthOf(spans, replies.length)
      assert.strictEqual(server.requests[0]?.path, "/v1/chat/completions?key=p4ss%2Fword9&user=user.name1")
      // What the trace is called is nothing to the provider.
      for (const { headers } of server.requests) assert.doesNotHaveAnyKeys(headers, ["traceparent", "b3"])
    })
  )

  it.effect("of a key that cannot be sent is told before it is tried", () =>
    Effect.gen(function* () {
      const apiKey = Redacted.make(`${secret}\n${secret}`)
      const error = yield* Effect.flip(call(() => json(answer({ content: "ok" })), { llm: { apiKey } }))
      assert(error.reason._tag === "AuthenticationError")
      assert.strictEqual(error.reason.kind, "InvalidKey")
      assert.notInclude(inspect(error, { depth: Infinity, showHidden: true }), secret)
      const trimmed = yield* sentFor({}, { apiKey: Redacted.make(` ${secret}\n`) })
      assert.strictEqual(trimmed.headers["authorization"], `Bearer ${secret}`)
    })
  )

  it.effect.each(["application/json", "text/event-stream"])("is a response of %s that never ends", (type) =>
    Effect.gen(function* () {
      const endless = () => {
        const piece = encoder.encode(`: ${"x".repeat(2 ** 20)}\n`)
        return new ReadableStream({ pull: (controller) => controller.enqueue(piece) })
      }
      const respond = () => new Response(endless(), { headers: { "content-type": type } })
      const reason = yield* reasonOf(call(respond, { onDelta: () => {} }))
      assert.strictEqual(reason._tag, "InvalidResponseError")
      assert.include(reason.message, "larger than")
    })
  )
})

describe("an interruption", () => {
  it.effect.each([
    ["before the answer", { ending: "silence" }],
    ["within the answer", { body: `{"choices":`, ending: "hang" }],
    ["within a stream", { body: [sse(choice({ content: "Hi" }))], ending: "hang" }]
  ] as const)("%s closes the connection", ([, reply]) =>
    Effect.gen(function* () {
      const interrupt = Effect.gen(function* () {
        const server = yield* OpenAiServer.make(reply)
        const llm = yield* OpenAiLlm.make({ model: "m", baseUrl: server.url })
        const began = yield* Deferred.make<void>()
        const isStream = "body" in reply && typeof reply.body !== "string"
        const onDelta = isStream ? () => Deferred.doneUnsafe(began, Effect.void) : undefined
        const call = yield* Effect.forkChild(llm.generate(request(), onDelta))
        const received = yield* server.next
        if (isStream) yield* Deferred.await(began)
        yield* Fiber.interrupt(call)
        yield* Deferred.await(received.closedEarly)
      })
      for (const client of clients) yield* interrupt.pipe(Effect.provide(client), Effect.scoped)
    })
  )
})

describe("the connection pool", () => {
  // When the next request comes at once, undici may not have seen yet that a connection is free: it makes one more.
  it.effect("serves calls in turn with two connections at most, however they end", () =>
    Effect.gen(function* () {
      const streamed = { body: [sse(choice({ content: "Hi" }, "stop")), done] }
      const whole = { body: JSON.stringify(answer({ content: "Hi" })) }
      const failed = { status: 429, body: "{}" }
      const replies = Array.from({ length: 6 }, () => [streamed, whole, failed]).flat()
      const server = yield* OpenAiServer.make(...replies)
      const llm = yield* OpenAiLlm.make({ model: "m", baseUrl: server.url })
      for (const reply of replies) {
        yield* Effect.exit(llm.generate(request(), reply === streamed ? () => {} : undefined))
      }
      assert.lengthOf(server.requests, replies.length)
      assert.isAtMost(server.connections(), 2)
    }).pipe(Effect.provide(NodeHttpClient.layerUndici))
  )

  it.effect("loses the connection of a call that is given up, and no other", () =>
    Effect.gen(function* () {
      const hang = { body: [sse(choice({ content: "Hi" }))], ending: "hang" } as const
      const server = yield* OpenAiServer.make(hang, { body: JSON.stringify(answer({ content: "ok" })) })
      const llm = yield* OpenAiLlm.make({ model: "m", baseUrl: server.url })
      const began = yield* Deferred.make<void>()
      const call = yield* Effect.forkChild(llm.generate(request(), () => Deferred.doneUnsafe(began, Effect.void)))
      yield* Deferred.await(began)
      yield* Fiber.interrupt(call)
      for (let i = 0; i < 10; i++) {
        assert.strictEqual(History.text((yield* llm.generate(request())).content), "ok")
      }
      assert.isAtMost(server.connections(), 3)
    }).pipe(Effect.provide(NodeHttpClient.layerUndici))
  )
})

describe("make", () => {
  it.effect("is at OpenAI by default, and then demands a key", () =>
    Effect.gen(function* () {
      const urls: Array<string> = []
      const fetch = async (url: unknown) => {
        urls.push(String(url))
        return json(answer({ content: "ok" }))
      }
      // @ts-expect-error -- neither a key nor a server
      const without = OpenAiLlm.make({ model: "m" })
      const withKey = OpenAiLlm.make({ model: "m", apiKey: Redacted.make("sk-1") })
      // Only what `FetchHttpClient` calls of `fetch` is here.
      const network = Layer.succeed(FetchHttpClient.Fetch, fetch as typeof globalThis.fetch)
      for (const make of [withKey, without]) {
        yield* Effect.flatMap(make, (llm) => llm.generate(request())).pipe(
          Effect.provide([FetchHttpClient.layer, network])
        )
      }
      assert.deepStrictEqual(new Set(urls), new Set(["https://api.openai.com/v1/chat/completions"]))
    })
  )
})

describe("layerConfig", () => {
  /** Builds the layer with the environment and makes a call: what was sent. */
  const build = Effect.fnUntraced(function* (env: Record<string, string>, options?: Partial<OpenAiLlm.ServerOptions>) {
    let sent: Sent | undefined
    const fetch = async (url: unknown, init?: RequestInit) => {
      const body = JSON.parse(Buffer.from(init?.body as Uint8Array).toString("utf8"))
      sent = { url: String(url), headers: { ...(init?.headers as Record<string, string>) }, body }
      return json({ ...answer({ content: "ok" }), output: [] })
    }
    yield* Effect.flatMap(Llm.Llm, (llm) => llm.generate(request())).pipe(
      Effect.provide(OpenAiLlm.layerConfig(options).pipe(Layer.provide(FetchHttpClient.layer))),
      // Only what `FetchHttpClient` calls of `fetch` is here.
      Effect.provideService(FetchHttpClient.Fetch, fetch as typeof globalThis.fetch),
      Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromEnv({ env }))
    )
    return sent!
  })

  it.effect("takes model, key and server from the environment", () =>
    Effect.gen(function* () {
      const sent = yield* build({ OPENAI_MODEL: "m", OPENAI_API_KEY: "sk-1" })
      assert.strictEqual(sent.url, "https://api.openai.com/v1/chat/completions")
      assert.strictEqual(sent.headers["authorization"], "Bearer sk-1")
      assert.strictEqual(sent.body["model"], "m")
      const local = yield* build({ OPENAI_MODEL: "m", OPENAI_BASE_URL: "http://localhost:1234" })
      assert.strictEqual(local.url, "http://localhost:1234/v1/chat/completions")
      assert.notProperty(local.headers, "authorization")
    })
  )

  it.effect("takes a local server from the environment if nothing speaks for another", () =>
    Effect.gen(function* () {
      const env = { OPENAI_MODEL: "m", LLAMA_BASE_URL: "http://localhost:8080" }
      assert.strictEqual((yield* build(env)).url, "http://localhost:8080/v1/chat/completions")
      const server = yield* build({ ...env, OPENAI_BASE_URL: "http://localhost:1234" })
      assert.strictEqual(server.url, "http://localhost:1234/v1/chat/completions")
      // The key of OpenAI is not for it.
      const apiKey = Redacted.make("sk-1")
      for (const sent of [yield* build({ ...env, OPENAI_API_KEY: "sk-1" }), yield* build(env, { apiKey })]) {
        assert.strictEqual(sent.url, "https://api.openai.com/v1/chat/completions")
      }
    })
  )

  it.effect("takes the API from the options", () =>
    Effect.gen(function* () {
      const sent = yield* build({ OPENAI_MODEL: "m", OPENAI_API_KEY: "sk-1" }, { api: "responses" })
      assert.strictEqual(sent.url, "https://api.openai.com/v1/responses")
    })
  )

  it.effect("prefers what it is told", () =>
    Effect.gen(function* () {
      const env = { OPENAI_MODEL: "m", OPENAI_API_KEY: "sk-1", OPENAI_BASE_URL: "not a url" }
      const sent = yield* build(env, { model: "other", baseUrl: "http://localhost", apiKey: Redacted.make("sk-2") })
      assert.strictEqual(sent.url, "http://localhost/v1/chat/completions")
      assert.strictEqual(sent.headers["authorization"], "Bearer sk-2")
      assert.strictEqual(sent.body["model"], "other")
    })
  )

  it.effect.each([
    ["without a model", { OPENAI_API_KEY: "sk-1" }, "OPENAI_MODEL"],
    ["with an empty model", { OPENAI_API_KEY: "sk-1", OPENAI_MODEL: "" }, "OPENAI_MODEL"],
    ["without a key for OpenAI", { OPENAI_MODEL: "m" }, "OPENAI_API_KEY"],
    ["with an empty key for OpenAI", { OPENAI_MODEL: "m", OPENAI_API_KEY: "" }, "OPENAI_API_KEY"],
    ["with a server that is no URL", { OPENAI_MODEL: "m", OPENAI_BASE_URL: "localhost" }, "OPENAI_BASE_URL"],
    ["with a server that is not on http", { OPENAI_MODEL: "m", OPENAI_BASE_URL: "localhost:11434" }, "OPENAI_BASE_URL"]
  ] as const)("%s fails with one clear error", ([, env, name]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(build({ ...env }))
      assert.strictEqual(error._tag, "ConfigError")
      assert.include(error.message, name)
      if (name !== "OPENAI_BASE_URL") assert.match(error.message, /No (model|API key)/)
    })
  )
})
