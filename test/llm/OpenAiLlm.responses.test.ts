import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { assert, describe, it } from "@effect/vitest"
import type * as Prompt from "effect/ai/Prompt"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as Agent from "../../src/Agent.ts"
import * as History from "../../src/History.ts"
import type * as Llm from "../../src/Llm.ts"
import * as OpenAiLlm from "../../src/llm/OpenAiLlm.ts"
import * as LlmConformance from "../../src/testing/LlmConformance.ts"
import * as OpenAiCall from "../support/openAiCall.ts"
import {
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
import * as OpenAiResponses from "../support/openAiResponses.ts"
import * as OpenAiServer from "../support/openAiServer.ts"

const call: typeof OpenAiCall.call = (respond, options = {}) =>
  OpenAiCall.call(respond, { ...options, llm: { api: "responses", ...options.llm } })

/** A whole response. */
const whole = (output: ReadonlyArray<unknown>, fields: object = {}) => ({
  id: "resp_1",
  object: "response",
  status: "completed",
  error: null,
  incomplete_details: null,
  model: "gpt-test-2026",
  output,
  ...fields
})

const message = (...content: ReadonlyArray<object>) => ({ type: "message", id: "msg_1", role: "assistant", content })

const outputText = (text: string) => ({ type: "output_text", text, annotations: [] })

const ask = (output: ReadonlyArray<unknown>, fields?: object) => call(() => json(whole(output, fields)))

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
      return json(whole([]))
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

const added = (output_index: number, item: object) => ({ type: "response.output_item.added", output_index, item })
const done = (output_index: number, item: object) => ({ type: "response.output_item.done", output_index, item })
const text = (delta: string, output_index = 0) => ({
  type: "response.output_text.delta",
  output_index,
  item_id: "msg_1",
  content_index: 0,
  delta
})
const args = (output_index: number, delta: string) => ({
  type: "response.function_call_arguments.delta",
  output_index,
  item_id: `fc_${output_index}`,
  delta
})
const fn = (call_id: string, args = "") => ({
  type: "function_call",
  id: `fc_${call_id}`,
  call_id,
  name: "weather",
  arguments: args
})
const completed = (fields: object = {}) => ({ type: "response.completed", response: whole([], fields) })

const params = (id: string, delta: string): Llm.Delta => ({ type: "tool-params", id, name: "weather", delta })

describe("a request", () => {
  it.effect("asks for one piece without a listener, and stores nothing", () =>
    Effect.gen(function* () {
      const { body, url } = yield* sentFor()
      assert.deepStrictEqual(body, {
        model: "gpt-test",
        input: [{ type: "message", role: "user", content: [{ type: "input_text", text: "Hi" }] }],
        store: false,
        include: ["reasoning.encrypted_content"]
      })
      assert.strictEqual(url, "https://api.openai.com/v1/responses")
    })
  )

  it.effect("asks for a stream with a listener", () =>
    Effect.map(
      sentFor({}, {}, () => {}),
      ({ body }) => assert.strictEqual(body["stream"], true)
    )
  )

  it.effect.each([
    ["https://x.openai.azure.com/openai/v1/", "https://x.openai.azure.com/openai/v1/responses"],
    ["http://localhost:1234", "http://localhost:1234/v1/responses"],
    ["https://example.com/llm/responses?version=2", "https://example.com/llm/responses?version=2"]
  ] as const)("for %s goes to %s", ([baseUrl, url]) =>
    Effect.map(sentFor({}, { baseUrl }), (sent) => assert.strictEqual(sent.url, url))
  )

  it.effect("has the sampling that the API knows", () =>
    Effect.gen(function* () {
      const sampling = { model: "other", temperature: 0, topP: 0.9, maxTokens: 10, stop: ["END"], seed: 7 }
      const { body } = yield* sentFor({ sampling })
      const { include: _, input: __, ...rest } = body
      assert.deepStrictEqual(rest, {
        model: "other",
        store: false,
        temperature: 0,
        top_p: 0.9,
        max_output_tokens: 10
      })
    })
  )

  it.effect.each([
    ["gpt-5.2", undefined, true],
    ["o3", undefined, true],
    ["gpt-4.1", undefined, false],
    ["ft:gpt-4o-mini:org", undefined, false],
    ["gpt-5.1-chat-latest", undefined, false],
    ["my-deployment", false, false],
    ["gpt-4o", { effort: "low" }, true]
  ] as const)("for the model %s with the reasoning %j asks for it encrypted: %s", ([model, reasoning, isAsked]) =>
    Effect.gen(function* () {
      const { body } = yield* sentFor({}, { model, reasoning })
      assert.deepStrictEqual(body["include"], isAsked ? ["reasoning.encrypted_content"] : undefined)
    })
  )

  it.effect("says how to reason", () =>
    Effect.gen(function* () {
      const { body } = yield* sentFor({}, { reasoning: { effort: "low", summary: "auto" } })
      assert.deepStrictEqual(body["reasoning"], { effort: "low", summary: "auto" })
      const effort = yield* sentFor({}, { reasoning: { effort: "high" } })
      assert.deepStrictEqual(effort.body["reasoning"], { effort: "high" })
    })
  )

  it.effect("tells the whole conversation", () =>
    Effect.gen(function* () {
      const openai = (options: Record<string, string>) => ({ options: { openai: options } })
      const calls: ReadonlyArray<Prompt.AssistantMessagePartEncoded> = [
        { type: "reasoning", text: "Hm", ...openai({ itemId: "rs_1", encryptedContent: "abc" }) },
        { type: "reasoning", text: "Hm again", ...openai({ itemId: "rs_1", encryptedContent: "abc" }) },
        { type: "reasoning", text: "", ...openai({ itemId: "rs_2", encryptedContent: "def" }) },
        { type: "reasoning", text: "not encrypted", ...openai({ itemId: "rs_3" }) },
        { type: "reasoning", text: "another's", options: { anthropic: { signature: "x" } } },
        { type: "text", text: "Let me see", ...openai({ phase: "commentary" }) },
        { type: "text", text: "" },
        { type: "tool-call", id: "a", name: "weather", params: { city: "Köln" }, ...openai({ itemId: "fc_1" }) },
        { type: "tool-call", id: "b", name: "weather", params: `{"city": ` },
        { type: "tool-call", id: "x", name: "search", params: {}, providerExecuted: true }
      ]
      const result = (id: string, result: unknown, isFailure = false) =>
        ({ type: "tool-result", id, name: "weather", isFailure, result }) as const
      let history = History.appendUser(History.empty, "Hi")
      history = History.appendAssistant(history, calls, [result("a", { degrees: 21 }), result("b", "Not JSON", true)])
      history = History.appendAssistant(history, [
        { type: "text", text: "21 degrees" },
        { type: "reasoning", text: "cut off", ...openai({ itemId: "rs_4", encryptedContent: "ghi" }) }
      ])
      const { body } = yield* sentFor({ instructions: "Be kind", history })
      const item = (type: string, fields: object) => ({ type, ...fields })
      assert.strictEqual(body["instructions"], "Be kind")
      assert.deepStrictEqual(body["input"], [
        item("message", { role: "user", content: [{ type: "input_text", text: "Hi" }] }),
        item("reasoning", { id: "rs_1", encrypted_content: "abc", summary: [{ type: "summary_text", text: "Hm" }] }),
        item("reasoning", { id: "rs_2", encrypted_content: "def", summary: [] }),
        item("message", {
          role: "assistant",
          content: [{ type: "output_text", text: "Let me see" }],
          phase: "commentary"
        }),
        item("function_call", { call_id: "a", name: "weather", arguments: `{"city":"Köln"}` }),
        item("function_call", { call_id: "b", name: "weather", arguments: "{}" }),
        item("function_call_output", { call_id: "a", output: `{"degrees":21}` }),
        item("function_call_output", { call_id: "b", output: "Not JSON" }),
        item("message", { role: "assistant", content: [{ type: "output_text", text: "21 degrees" }] })
      ])
    })
  )

  it.effect("has images and documents, from the user and from tools", () =>
    Effect.gen(function* () {
      const file = (mediaType: string, data: Prompt.FilePartEncoded["data"], fileName?: string) =>
        ({ type: "file", mediaType, data, ...(fileName !== undefined && { fileName }) }) as const
      const parts = [
        { type: "text", text: "Look" } as const,
        file("image/png", new Uint8Array([1, 2, 3])),
        file("image/png", new URL("https://example.com/a.png")),
        file("application/pdf", "AQID", "a.pdf"),
        file("application/pdf", new URL("https://example.com/a.pdf"))
      ]
      const expected = [
        { type: "input_text", text: "Look" },
        { type: "input_image", image_url: "data:image/png;base64,AQID" },
        { type: "input_image", image_url: "https://example.com/a.png" },
        { type: "input_file", filename: "a.pdf", file_data: "data:application/pdf;base64,AQID" },
        { type: "input_file", file_url: "https://example.com/a.pdf" }
      ]
      const shown = {
        type: "tool-result",
        id: "a",
        name: "look",
        isFailure: false,
        result: 1,
        modelOutput: parts
      } as const
      const history = History.appendAssistant(
        History.appendUser(History.empty, parts),
        [{ type: "tool-call", id: "a", name: "look", params: {} }],
        [shown]
      )
      const { body } = yield* sentFor({ history })
      assert.deepStrictEqual(body["input"], [
        { type: "message", role: "user", content: expected },
        { type: "function_call", call_id: "a", name: "look", arguments: "{}" },
        { type: "function_call_output", call_id: "a", output: expected }
      ])
    })
  )

  it.effect("declares flat functions that are strict only on demand", () =>
    Effect.gen(function* () {
      const Search = Tool.providerDefined({ id: "openai.search", customName: "Search", providerName: "search" })
      const tools: ReadonlyArray<Tool.Any> = [Weather, Weather.annotate(Tool.Strict, true), Search()]
      const { body } = yield* sentFor({ tools }, { parallelToolCalls: false })
      const definition = { type: "function", name: "weather", description: "Tells the weather" }
      assert.deepStrictEqual(body["tools"], [
        { ...definition, parameters: weatherSchema, strict: false },
        { ...definition, parameters: { ...weatherSchema, additionalProperties: false }, strict: true }
      ])
      assert.strictEqual(body["parallel_tool_calls"], false)
      assert.notProperty(body, "tool_choice")
    })
  )

  it.effect.each([
    ["none", "none"],
    ["required", "required"],
    [{ tool: "weather" }, { type: "function", name: "weather" }]
  ] as const)("turns the tool choice %j into %j", ([toolChoice, expected]) =>
    Effect.gen(function* () {
      const { body } = yield* sentFor({ tools: [Weather], toolChoice })
      assert.deepStrictEqual(body["tool_choice"], expected)
      const without = yield* sentFor({ toolChoice }, { parallelToolCalls: true })
      for (const field of ["tools", "tool_choice", "parallel_tool_calls"]) assert.notProperty(without.body, field)
    })
  )

  it.effect("asks for the format of the output", () =>
    Effect.gen(function* () {
      const output = { name: "place", schema: Schema.Struct({ city: Schema.String }) }
      const { body } = yield* sentFor({ output })
      assert.deepStrictEqual(body["text"], { format: { type: "json_schema", name: "place", schema: weatherSchema } })
      const list = yield* sentFor({ output: { name: "places", schema: Schema.Array(Schema.String) } })
      assert.notProperty(list.body, "text")
      assert.include(list.body["instructions"], `{"type":"array","items":{"type":"string"}}`)
      const strict = yield* sentFor({ output }, { strictOutput: true })
      const schema = { ...weatherSchema, additionalProperties: false }
      assert.deepStrictEqual(strict.body["text"], {
        format: { type: "json_schema", name: "place", schema, strict: true }
      })
    })
  )
})

/** The paths of all fields: items of arrays have no step, JSON Schemas are not followed. */
const fieldsOf = (value: unknown, path = ""): ReadonlyArray<string> => {
  if (Array.isArray(value)) return value.flatMap((item) => fieldsOf(item, path))
  if (typeof value !== "object" || value === null || /(parameters|schema)$/.test(path)) return []
  return Object.entries(value).flatMap(([key, member]) => {
    const field = path === "" ? key : `${path}.${key}`
    return [field, ...fieldsOf(member, field)]
  })
}

describe("the fields of a request", () => {
  it.effect("are all documented, and none is null", () =>
    Effect.gen(function* () {
      const pdf = { type: "file", mediaType: "application/pdf", data: "AQID" } as const
      const png = { type: "file", mediaType: "image/png", data: "AQID" } as const
      const url = { type: "file", mediaType: "application/pdf", data: new URL("https://example.com/a.pdf") } as const
      const files = [{ type: "text", text: "Look" } as const, pdf, png, url]
      const result = { type: "tool-result", id: "a", name: "weather", isFailure: false, result: 1 } as const
      const history = History.appendAssistant(
        History.appendUser(History.empty, files),
        [
          { type: "reasoning", text: "Hm", options: { openai: { itemId: "rs_1", encryptedContent: "x" } } },
          { type: "text", text: "Hi", options: { openai: { phase: "commentary" } } },
          weather("a", {})
        ],
        [{ ...result, modelOutput: files }]
      )
      const { body } = yield* sentFor(
        {
          instructions: "Be kind",
          history,
          tools: [Weather],
          toolChoice: { tool: "weather" },
          sampling: { temperature: 1, topP: 1, maxTokens: 1, stop: ["x"], seed: 1 },
          output: { name: "place", schema: Schema.Struct({ city: Schema.String }) }
        },
        { strictOutput: true, parallelToolCalls: true, reasoning: { effort: "low", summary: "auto" } },
        () => {}
      )
      assert.deepStrictEqual(new Set(fieldsOf(body)), OpenAiResponses.documented)
      assert.notInclude(JSON.stringify(body), "null")
    })
  )
})

describe("an answer", () => {
  it.effect("has text, model and tokens", () =>
    Effect.gen(function* () {
      const usage = {
        input_tokens: 10,
        input_tokens_details: { cached_tokens: 4 },
        output_tokens: 5,
        output_tokens_details: { reasoning_tokens: 3 },
        total_tokens: 15
      }
      assert.deepStrictEqual(yield* ask([message(outputText("Hello"))], { usage }), {
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
      for (const fields of [
        { model: null, usage: null },
        { model: null, usage: { input_tokens_details: null } }
      ]) {
        const response = yield* ask([], fields)
        assert.deepStrictEqual(response, { content: [], finishReason: "stop", tokens: none, model: undefined })
      }
    })
  )

  it.effect("has reasoning, messages and calls in the order of the output", () =>
    Effect.gen(function* () {
      const reasoning = (id: string, ...summary: ReadonlyArray<string>) => ({
        type: "reasoning",
        id,
        summary: summary.map((text) => ({ type: "summary_text", text })),
        encrypted_content: `secret of ${id}`
      })
      const { content, finishReason } = yield* ask([
        reasoning("rs_1", "First", "", "Second"),
        fn("a", `{"city":"Rome"}`),
        reasoning("rs_2"),
        { ...message(outputText("One "), outputText("two")), phase: "commentary" },
        { type: "web_search_call", id: "ws_1", status: "completed", action: {}, arguments: { not: "text" } },
        message({ type: "refusal", refusal: "I cannot" }),
        fn("b")
      ])
      const options = (itemId: string) => ({
        options: { openai: { itemId, encryptedContent: `secret of ${itemId}` } }
      })
      assert.deepStrictEqual(content, [
        { type: "reasoning", text: "First\n\nSecond", ...options("rs_1") },
        weather("a", { city: "Rome" }),
        { type: "reasoning", text: "", ...options("rs_2") },
        { type: "text", text: "One two", options: { openai: { phase: "commentary" } } },
        { type: "text", text: "I cannot" },
        weather("b", {})
      ])
      assert.strictEqual(finishReason, "tool-calls")
    })
  )

  it.effect("has reasoning that is not encrypted, of models that show it", () =>
    Effect.gen(function* () {
      const content = [{ type: "reasoning_text", text: "Hm" }]
      const response = yield* ask([{ type: "reasoning", id: "rs_1", summary: [], content, encrypted_content: null }])
      assert.deepStrictEqual(response.content, [{ type: "reasoning", text: "Hm" }])
    })
  )

  it.effect("gives calls without an id one that is new to the conversation", () =>
    Effect.gen(function* () {
      const { content } = yield* ask([{ ...fn(""), id: "x" }, message(outputText("Hi")), { ...fn(""), call_id: null }])
      assert.deepStrictEqual(content, [weather("call_1_0", {}), { type: "text", text: "Hi" }, weather("call_1_1", {})])
    })
  )

  it.effect.each([
    [{ status: "completed" }, "stop"],
    [{ status: "incomplete", incomplete_details: { reason: "max_output_tokens" } }, "length"],
    [{ status: "incomplete", incomplete_details: { reason: "content_filter" } }, "content-filter"],
    [{ status: "incomplete", incomplete_details: null }, "other"],
    [{ status: "cancelled" }, "other"],
    [{ status: null }, "unknown"]
  ] as const)("of %j finished with the reason %s", ([fields, reason]) =>
    Effect.gen(function* () {
      assert.strictEqual((yield* ask([message(outputText("Hi"))], fields)).finishReason, reason)
    })
  )

  it.effect.each([
    "",
    "{",
    "{}",
    `"text"`,
    `{"output":"text"}`,
    `{"output":[{"type":"message","content":"text"}]}`,
    JSON.stringify(completed()).replace("[]", "{}")
  ])("of %j is invalid", (body) =>
    Effect.map(reasonOf(call(() => json(body))), (reason) => assert.strictEqual(reason._tag, "InvalidResponseError"))
  )
})

describe("a stream", () => {
  const reasoning = (fields: object) => ({ type: "reasoning", id: "rs_1", summary: [], ...fields })
  const thought = (summary_index: number, delta: string) => ({
    type: "response.reasoning_summary_text.delta",
    item_id: "rs_1",
    output_index: 0,
    summary_index,
    delta
  })

  // All that OpenAI sends for reasoning, text and two interleaved calls, and some that it may send one day.
  const recorded = encoder.encode(
    sse(
      { type: "response.created", response: whole([], { status: "in_progress" }) },
      { type: "response.in_progress", response: whole([], { status: "in_progress" }) },
      added(0, reasoning({ encrypted_content: "half" })),
      { type: "response.reasoning_summary_part.added", item_id: "rs_1", output_index: 0, summary_index: 0, part: {} },
      thought(0, "Grüße aus 北"),
      thought(0, "京 🤔"),
      { type: "response.reasoning_summary_text.done", item_id: "rs_1", output_index: 0, text: "Grüße aus 北京 🤔" },
      thought(1, "Dann."),
      done(0, reasoning({ encrypted_content: "secret", summary: [{ text: "Grüße aus 北京 🤔" }, { text: "Dann." }] })),
      added(1, message()),
      { type: "response.content_part.added", item_id: "msg_1", output_index: 1, content_index: 0, part: {} },
      text("Schön: ", 1),
      { type: "response.output_text.annotation.added", output_index: 1, annotation: {} },
      text("👩‍👩‍👧 ok", 1),
      { type: "response.output_text.done", item_id: "msg_1", output_index: 1, text: "Schön: 👩‍👩‍👧 ok" },
      done(1, message(outputText("Schön: 👩‍👩‍👧 ok"))),
      { type: "response.new_thing.delta", delta: { not: "text" }, item: 1, response: null },
      added(2, { type: "web_search_call", id: "ws_1" }),
      done(2, { type: "web_search_call", id: "ws_1" }),
      added(4, fn("b")),
      added(3, fn("a")),
      args(4, `{"city":`),
      args(3, `{"city":"Kö`),
      args(4, `"Zürich 🏔"}`),
      args(3, `ln"}`),
      { type: "response.function_call_arguments.done", item_id: "fc_b", output_index: 4, arguments: "{}" },
      done(4, fn("b", `{"city":"Zürich 🏔"}`)),
      done(3, fn("a", `{"city":"Köln"}`)),
      {
        type: "response.completed",
        response: whole([message(outputText("again"))], {
          usage: { input_tokens: 7, output_tokens: 8, output_tokens_details: { reasoning_tokens: 2 } }
        })
      }
    )
  )
  const expected: Llm.LlmResponse = {
    content: [
      {
        type: "reasoning",
        text: "Grüße aus 北京 🤔\n\nDann.",
        options: { openai: { itemId: "rs_1", encryptedContent: "secret" } }
      },
      { type: "text", text: "Schön: 👩‍👩‍👧 ok" },
      weather("a", { city: "Köln" }),
      weather("b", { city: "Zürich 🏔" })
    ],
    finishReason: "tool-calls",
    tokens: { inputTokens: 7, outputTokens: 8, cachedInputTokens: 0, cacheWriteTokens: 0, reasoningTokens: 2 },
    model: "gpt-test-2026"
  }
  const expectedDeltas: ReadonlyArray<Llm.Delta> = [
    { type: "reasoning", delta: "Grüße aus 北京 🤔\n\nDann." },
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
        for (let cut = 0; cut <= recorded.length; cut++) {
          const { joined, response } = yield* stream(recorded.subarray(0, cut), recorded.subarray(cut))
          assert.deepStrictEqual(response, expected, `cut at ${cut}`)
          assert.deepStrictEqual(joined, expectedDeltas, `cut at ${cut}`)
        }
      }),
    30_000
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
      for (const client of clients) {
        const server = yield* OpenAiServer.make({ body: [recorded.subarray(0, 333), recorded.subarray(333)] })
        const options = { api: "responses", model: "m", baseUrl: server.url } as const
        const llm = yield* Effect.provide(OpenAiLlm.make(options), yield* Layer.build(client))
        const deltas: Array<Llm.Delta> = []
        assert.deepStrictEqual(yield* llm.generate(request(), (delta) => deltas.push(delta)), expected)
        assert.deepStrictEqual(join(deltas), expectedDeltas)
      }
    })
  )

  const hello = { type: "text", text: "Hello" } as const

  it.effect.each([
    ["only deltas", [text("Hel"), text("lo")], [hello]],
    ["only an item", [done(0, message(outputText("Hello")))], [hello]],
    ["an item that says more than its deltas", [text("Hel"), done(0, message(outputText("Hello")))], [hello]],
    ["an item that says other than its deltas", [text("Hello"), done(0, message(outputText("Bye")))], [hello]],
    ["a refusal", [{ type: "response.refusal.delta", output_index: 0, delta: "Hello" }], [hello]],
    [
      "reasoning that is shown",
      [{ type: "response.reasoning_text.delta", output_index: 0, content_index: 0, delta: "Hm" }],
      [{ type: "reasoning", text: "Hm" }]
    ],
    ["deltas of nothing", [text(""), done(0, message())], []],
    [
      "ids in place of indices",
      [
        { type: "response.output_text.delta", item_id: "1", delta: "Hel" },
        { type: "response.output_text.delta", item_id: "1", delta: "lo" },
        { type: "response.output_text.delta", item_id: "2", delta: "Bye" }
      ],
      [hello, { type: "text", text: "Bye" }]
    ],
    [
      "neither ids nor indices",
      [
        { type: "response.output_text.delta", delta: "Hel" },
        { type: "response.output_text.delta", delta: "lo" }
      ],
      [hello]
    ],
    [
      "arguments before the call",
      [args(0, `{"city"`), args(0, `:"A"}`), done(0, fn("a"))],
      [weather("a", { city: "A" })]
    ],
    [
      "arguments with the item only",
      [added(0, fn("a")), done(0, fn("a", `{"city":"A"}`))],
      [weather("a", { city: "A" })]
    ],
    ["the end marker of Chat Completions", ["[DONE]", text("Hello")], [hello]]
  ] as const)("may have %s", ([, pieces, content]) =>
    Effect.gen(function* () {
      const body = pieces.map((piece) => (typeof piece === "string" ? `data: ${piece}\n\n` : sse(piece))).join("")
      const { joined, response } = yield* stream(body + sse(completed()))
      assert.deepStrictEqual(response.content, content)
      const said = joined.map((delta) => ("delta" in delta ? delta.delta : "")).join("")
      assert.strictEqual(
        said,
        content.map((part) => ("text" in part ? part.text : JSON.stringify(part.params))).join("")
      )
    })
  )

  it.effect("may have all of its output at the end", () =>
    Effect.gen(function* () {
      const end = { type: "response.completed", response: whole([message(outputText("Hi")), fn("a", "{}")]) }
      const { deltas, response } = yield* stream(sse(end))
      assert.deepStrictEqual(response.content, [{ type: "text", text: "Hi" }, weather("a", {})])
      assert.deepStrictEqual(deltas, [{ type: "text", delta: "Hi" }, params("a", "{}")])
    })
  )

  it.effect("may be a whole response to a server that knows no streams", () =>
    Effect.gen(function* () {
      const deltas: Array<Llm.Delta> = []
      const { content } = yield* call(() => json(whole([message(outputText("Hi"))])), {
        onDelta: (delta) => deltas.push(delta)
      })
      assert.deepStrictEqual(content, [{ type: "text", text: "Hi" }])
      assert.deepStrictEqual(deltas, [{ type: "text", delta: "Hi" }])
    })
  )

  it.effect.each([
    ["max_output_tokens", "length"],
    ["content_filter", "content-filter"]
  ] as const)("that is incomplete because of %s finishes with %s", ([reason, finishReason]) =>
    Effect.gen(function* () {
      const response = whole([], { status: "incomplete", incomplete_details: { reason } })
      const cut = yield* stream(sse(added(0, fn("a")), args(0, `{"ci`), { type: "response.incomplete", response }))
      assert.deepStrictEqual(cut.response.content, [weather("a", `{"ci`)])
      assert.strictEqual(cut.response.finishReason, finishReason)
    })
  )

  it.effect("that ends before the model has finished broke off, wherever it was cut", () =>
    Effect.gen(function* () {
      const body = sse(added(0, message()), text("Hi"), done(0, message(outputText("Hi"))), added(1, fn("a")))
      for (let cut = 0; cut <= body.length; cut++) {
        const reason = yield* reasonOf(stream(body.slice(0, cut)))
        assert.strictEqual(reason._tag, "NetworkError")
        assert.isTrue(reason.isRetryable)
      }
      const marked = yield* reasonOf(stream(`${body}data: [DONE]\n\n`))
      assert.strictEqual(marked._tag, "NetworkError")
    })
  )

  it.effect("that breaks off behind the answer is complete", () =>
    Effect.gen(function* () {
      const server = yield* OpenAiServer.make({ body: [sse(text("Hi"), completed())], ending: "destroy" })
      const llm = yield* OpenAiLlm.make({ api: "responses", model: "m", baseUrl: server.url })
      const { content } = yield* llm.generate(request(), () => {})
      assert.deepStrictEqual(content, [{ type: "text", text: "Hi" }])
    }).pipe(Effect.provide(NodeHttpClient.layerUndici))
  )

  it.effect("with an event that is not what it says is invalid", () =>
    Effect.gen(function* () {
      for (const body of ["data: {oops\n\n", sse({ ...text(""), delta: 1 }), sse({ type: "response.completed" })]) {
        const reason = yield* reasonOf(stream(sse(text("Hi")), body))
        assert.strictEqual(reason._tag, "InvalidResponseError")
      }
    })
  )
})

describe("a failure", () => {
  const errors = [
    [{ message: "Oops", code: "server_error" }, "InternalProviderError", true],
    [{ message: "Slow down", code: "rate_limit_exceeded" }, "RateLimitError", true],
    [{ message: "Slow down", code: "too_many_requests" }, "RateLimitError", true],
    [{ message: "Pay", type: "insufficient_quota", code: "insufficient_quota" }, "QuotaExhaustedError", false],
    [{ message: "Key", code: "invalid_api_key" }, "AuthenticationError", false],
    [{ message: "Wrong", code: "invalid_prompt" }, "InvalidRequestError", false],
    [{ message: "Too large", code: "image_too_large" }, "InvalidRequestError", false],
    [{ message: "No such model", code: "model_not_found" }, "InvalidRequestError", false],
    [{ message: "Elsewhere", code: "data_residency_mismatch" }, "InvalidRequestError", false],
    [{ message: "Too long", code: "context_length_exceeded" }, "InvalidRequestError", false],
    [{ message: "No", code: "image_content_policy_violation" }, "ContentPolicyError", false],
    [{ message: "No", code: "bio_policy" }, "ContentPolicyError", false],
    [{ message: "Slow", code: "vector_store_timeout" }, "InternalProviderError", true]
  ] as const

  it.effect.each(errors)("of %j is the reason %s, however it is told", ([error, tag, isRetryable]) =>
    Effect.gen(function* () {
      const failed = whole([], { status: "failed", error })
      const flat = { type: "error", code: error.code, message: error.message, param: null, sequence_number: 1 }
      const reasons = yield* Effect.all([
        reasonOf(call(() => json(failed))),
        reasonOf(call(() => json({ error }))),
        reasonOf(stream(sse(text("Hi"), { type: "response.failed", response: failed }))),
        reasonOf(stream(sse(text("Hi"), { type: "error", error, sequence_number: 1 }))),
        reasonOf(stream(sse(text("Hi"), { error }))),
        reasonOf(stream(sse(text("Hi"), flat)))
      ])
      for (const reason of reasons) {
        assert.strictEqual(reason._tag, tag)
        assert.strictEqual(reason.isRetryable, isRetryable)
        assert.deepInclude("metadata" in reason ? reason.metadata["openai"] : {}, { errorCode: error.code })
      }
    })
  )

  it.effect("without words is one of the server", () =>
    Effect.gen(function* () {
      const failed = { type: "response.failed", response: { status: "failed", error: null } }
      const reason = yield* reasonOf(stream(sse(failed)))
      assert.strictEqual(reason._tag, "InternalProviderError")
      assert.include(reason.message, "The response failed")
    })
  )

  it.effect("within a stream delivers what came before", () =>
    Effect.gen(function* () {
      const deltas: Array<Llm.Delta> = []
      const body = sse(text("Hi"), { type: "error", message: "Overloaded" }, text("!"), completed())
      const reason = yield* reasonOf(call(() => events(body), { onDelta: (delta) => deltas.push(delta) }))
      assert.include(reason.message, "Overloaded")
      assert.deepStrictEqual(deltas, [{ type: "text", delta: "Hi" }])
    })
  )
})

describe("a scenario", () => {
  const tokens = { inputTokens: 10, outputTokens: 5, cachedInputTokens: 4, cacheWriteTokens: 0, reasoningTokens: 3 }
  const pieces: ReadonlyArray<LlmConformance.Piece> = [
    { type: "reasoning", delta: "Hm" },
    { type: "reasoning", delta: " 🤔" },
    { type: "text", delta: "Let me " },
    { type: "text", delta: "see" },
    { type: "call", index: 0, id: "a", name: "weather" },
    { type: "call", index: 1, id: "b", name: "weather" },
    { type: "params", index: 1, delta: `{"city":` },
    { type: "params", index: 0, delta: `{"city":"A"}` },
    { type: "params", index: 1, delta: `"B"}` }
  ]

  const play = Effect.fnUntraced(function* (scenario: LlmConformance.Scenario, isStream: boolean) {
    const server = yield* OpenAiServer.make(OpenAiResponses.play(scenario, { isStream }))
    const timeouts = { firstByteTimeout: LlmConformance.timeoutMillis, idleTimeout: LlmConformance.timeoutMillis }
    const llm = yield* OpenAiLlm.make({ api: "responses", model: "m", baseUrl: server.url, ...timeouts })
    const deltas: Array<Llm.Delta> = []
    const outcome = yield* Effect.result(llm.generate(request(), isStream ? (delta) => deltas.push(delta) : undefined))
    return { outcome, deltas: join(deltas) }
  }, Effect.provide(NodeHttpClient.layerUndici))

  it.effect("of an answer is the same whole and streamed", () =>
    Effect.gen(function* () {
      for (const finishReason of ["tool-calls", "length", "content-filter", "other"] as const) {
        const answer = { _tag: "Answer", pieces, finishReason, tokens, model: "m" } as const
        for (const isStream of [false, true]) {
          const { deltas, outcome } = yield* play(answer, isStream)
          assert(outcome._tag === "Success")
          assert.deepStrictEqual(outcome.success, {
            content: [
              { type: "reasoning", text: "Hm 🤔" },
              { type: "text", text: "Let me see" },
              weather("a", { city: "A" }),
              weather("b", { city: "B" })
            ],
            finishReason,
            tokens,
            model: "m"
          })
          const streamed: ReadonlyArray<Llm.Delta> = [
            { type: "reasoning", delta: "Hm 🤔" },
            { type: "text", delta: "Let me see" },
            params("b", `{"city":`),
            params("a", `{"city":"A"}`),
            params("b", `"B"}`)
          ]
          assert.deepStrictEqual(deltas, isStream ? streamed : [])
        }
      }
    })
  )

  it.effect.each([
    ["authentication", "AuthenticationError"],
    ["rate-limit", "RateLimitError"],
    ["quota", "QuotaExhaustedError"],
    ["invalid-request", "InvalidRequestError"],
    ["context-overflow", "InvalidRequestError"],
    ["content-filter", "ContentPolicyError"],
    ["overloaded", "InternalProviderError"]
  ] as const)("of the failure %s is the reason %s", ([failure, tag]) =>
    Effect.gen(function* () {
      for (const isStream of [false, true]) {
        const { outcome } = yield* play({ _tag: "Failure", failure }, isStream)
        assert(outcome._tag === "Failure")
        const { reason } = outcome.failure
        assert.strictEqual(reason._tag, tag)
        if (reason._tag === "RateLimitError") {
          assert.deepStrictEqual(reason.retryAfter, Duration.seconds(LlmConformance.retryAfterSeconds))
        }
      }
    })
  )

  it.live.each([
    ["a stream that ends early", { _tag: "Truncated", pieces }, true, "NetworkError"],
    ["a stream that breaks off", { _tag: "Reset", pieces }, true, "NetworkError"],
    ["an answer that breaks off", { _tag: "Reset", pieces }, false, "NetworkError"],
    ["a stream that stalls", { _tag: "Stalled", pieces }, true, "NetworkError"],
    ["an answer that stalls", { _tag: "Stalled", pieces }, false, "NetworkError"],
    ["a stream that does not begin", { _tag: "Silent" }, true, "NetworkError"],
    ["an answer that does not begin", { _tag: "Silent" }, false, "NetworkError"],
    ["a stream of something else", { _tag: "Malformed" }, true, "InvalidResponseError"],
    ["an answer of something else", { _tag: "Malformed" }, false, "InvalidResponseError"]
  ] as const)("of %s is a typed reason", ([, scenario, isStream, tag]) =>
    Effect.gen(function* () {
      const { outcome } = yield* play(scenario, isStream)
      assert(outcome._tag === "Failure")
      assert.strictEqual(outcome.failure.reason._tag, tag)
    })
  )
})

describe("silence within an answer", () => {
  it.effect("fails after the idle timeout and closes the connection", () =>
    Effect.gen(function* () {
      const server = yield* OpenAiServer.make({ body: [sse(text("Hi"))], ending: "hang" })
      const options = { api: "responses", model: "m", baseUrl: server.url, idleTimeout: "10 seconds" } as const
      const llm = yield* OpenAiLlm.make(options)
      const began = yield* Deferred.make<void>()
      const call = yield* llm
        .generate(request(), () => Deferred.doneUnsafe(began, Effect.void))
        .pipe(reasonOf, Effect.forkChild)
      const received = yield* server.next
      yield* Deferred.await(began)
      yield* TestClock.adjust("10 seconds")
      const reason = yield* Fiber.join(call)
      assert(reason._tag === "NetworkError")
      assert.include(reason.description, "idleTimeout")
      yield* Deferred.await(received.closedEarly)
    }).pipe(Effect.provide(NodeHttpClient.layerUndici))
  )
})

describe("an interruption", () => {
  it.effect.each([
    ["before the answer", { ending: "silence" }],
    ["within a stream", { body: [sse(text("Hi"))], ending: "hang" }]
  ] as const)("%s closes the connection", ([, reply]) =>
    Effect.gen(function* () {
      const server = yield* OpenAiServer.make(reply)
      const llm = yield* OpenAiLlm.make({ api: "responses", model: "m", baseUrl: server.url })
      const began = yield* Deferred.make<void>()
      const call = yield* Effect.forkChild(llm.generate(request(), () => Deferred.doneUnsafe(began, Effect.void)))
      const received = yield* server.next
      if ("body" in reply) yield* Deferred.await(began)
      yield* Fiber.interrupt(call)
      yield* Deferred.await(received.closedEarly)
    }).pipe(Effect.provide(NodeHttpClient.layerUndici))
  )
})

describe("an agent", () => {
  const Tools = Toolkit.make(Weather.setSuccess(Schema.String))
  const thought = (id: string, text: string) => ({
    type: "reasoning",
    id,
    encrypted_content: `secret of ${id}`,
    summary: [{ type: "summary_text", text }]
  })
  const turns = [
    [thought("rs_1", "Ask"), fn("a", `{"city":"Rome"}`)],
    [thought("rs_2", "Tell"), message(outputText("Sunny"))],
    [message(outputText("You are welcome"))]
  ]
  const streamed = (output: ReadonlyArray<object>) =>
    sse(...output.flatMap((item, index) => [added(index, { ...item, summary: [], arguments: "" }), done(index, item)]))

  it.effect.each([false, true])("gives the model its reasoning back in later turns, streamed: %s", (isStream) =>
    Effect.gen(function* () {
      const replies = turns.map((output) =>
        isStream ? { body: [streamed(output), sse(completed())] } : { body: JSON.stringify(whole(output)) }
      )
      const server = yield* OpenAiServer.make(...replies)
      const bot = Agent.make("weather-bot", { toolkit: Tools, streaming: isStream })
      const layer = OpenAiLlm.layer({ api: "responses", model: "o9", baseUrl: server.url })
      const model = Layer.provideMerge(layer, NodeHttpClient.layerUndici)
      const handlers = Tools.toLayer({ weather: ({ city }) => Effect.succeed(`Sun in ${city}`) })
      const first = yield* Agent.run(bot, "Weather?").pipe(Effect.provide([model, handlers]))
      assert.strictEqual(first.text, "Sunny")
      yield* Agent.run(bot, { history: first.history, prompt: "Thanks" }).pipe(Effect.provide([model, handlers]))
      const user = (text: string) => ({ type: "message", role: "user", content: [{ type: "input_text", text }] })
      const conversation = [
        user("Weather?"),
        thought("rs_1", "Ask"),
        { type: "function_call", call_id: "a", name: "weather", arguments: `{"city":"Rome"}` },
        { type: "function_call_output", call_id: "a", output: "Sun in Rome" },
        thought("rs_2", "Tell"),
        { type: "message", role: "assistant", content: [{ type: "output_text", text: "Sunny" }] },
        user("Thanks")
      ]
      const inputs = server.requests.map(({ body }) => (body as { readonly input: unknown }).input)
      assert.deepStrictEqual(inputs, [conversation.slice(0, 1), conversation.slice(0, 4), conversation])
    })
  )
})
