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
import * as Agent from "../../src/Agent.ts"
import * as History from "../../src/History.ts"
import * as Llm from "../../src/Llm.ts"
import * as AnthropicLlm from "../../src/llm/AnthropicLlm.ts"
import * as Arbitraries from "../../src/testing/Arbitraries.ts"
import type * as LlmConformance from "../../src/testing/LlmConformance.ts"
import * as AnthropicServer from "../support/anthropicServer.ts"
import { MathTools, MathToolsLayer } from "../support/calculator.ts"
// It serves any replies.
import * as Server from "../support/openAiServer.ts"

const { event, message } = AnthropicServer

const request = (overrides: Partial<Llm.LlmRequest> = {}): Llm.LlmRequest => ({
  instructions: "",
  history: History.appendUser(History.empty, "Hi"),
  tools: [],
  toolChoice: "auto",
  sampling: {},
  output: undefined,
  ...overrides
})

interface Sent {
  readonly url: string
  readonly headers: Record<string, string>
  readonly body: Record<string, unknown>
}

const defaults = { model: "claude-test", apiKey: Redacted.make("sk-ant-1"), promptCache: false }

/** A `fetch` without a network: `respond` plays the server. */
const fakeFetch = (respond: (sent: Sent) => Response) => {
  const fetch = async (url: unknown, init?: RequestInit) =>
    respond({
      url: String(url),
      headers: { ...(init?.headers as Record<string, string>) },
      body: JSON.parse(Buffer.from(init?.body as Uint8Array).toString("utf8"))
    })
  // Only what `FetchHttpClient` calls of `fetch` is here.
  return Effect.provideService(FetchHttpClient.Fetch, fetch as typeof globalThis.fetch)
}

/** One call. */
const call = (
  respond: (sent: Sent) => Response,
  options: {
    readonly request?: Partial<Llm.LlmRequest>
    readonly llm?: Partial<AnthropicLlm.Options>
    readonly onDelta?: (delta: Llm.Delta) => void
  } = {}
) =>
  AnthropicLlm.make({ ...defaults, ...options.llm }).pipe(
    Effect.flatMap((llm) => llm.generate(request(options.request), options.onDelta)),
    Effect.provide(FetchHttpClient.layer),
    fakeFetch(respond)
  )

const json = (body: unknown, init?: ResponseInit): Response =>
  new Response(typeof body === "string" ? body : JSON.stringify(body), {
    headers: { "content-type": "application/json" },
    ...init
  })

const encoder = new TextEncoder()

const events = (...pieces: ReadonlyArray<string | Uint8Array>): Response =>
  new Response(
    new ReadableStream({
      start: (controller) => {
        for (const piece of pieces) controller.enqueue(typeof piece === "string" ? encoder.encode(piece) : piece)
        controller.close()
      }
    }),
    { headers: { "content-type": "text/event-stream; charset=utf-8" } }
  )

const answer = (content: ReadonlyArray<unknown>, stop_reason: string | null = "end_turn") =>
  message({ content, stop_reason })

const said = (text: string) => ({ type: "text", text })

const begin = event({ type: "message_start", message: message() })

const start = (index: number, content_block: unknown) => event({ type: "content_block_start", index, content_block })

const delta = (index: number, delta: unknown) => event({ type: "content_block_delta", index, delta })

const stop = (index: number) => event({ type: "content_block_stop", index })

const finish = (stop_reason: string, usage?: object) =>
  event({ type: "message_delta", delta: { stop_reason, stop_sequence: null }, ...(usage && { usage }) })

const done = event({ type: "message_stop" })

const spoken = (text: string, index = 0) => start(index, said("")) + delta(index, { type: "text_delta", text })

/** What is sent for a request. */
const sentFor = Effect.fnUntraced(function* (
  overrides: Partial<Llm.LlmRequest> = {},
  llm: Partial<AnthropicLlm.Options> = {},
  onDelta?: (delta: Llm.Delta) => void
) {
  let sent: Sent | undefined
  const respond = (got: Sent) => {
    sent = got
    return json(answer([said("ok")]))
  }
  yield* call(respond, { request: overrides, llm, ...(onDelta && { onDelta }) })
  return sent!
})

/** What the model answers to. */
const ask = (content: ReadonlyArray<unknown>, stop_reason?: string | null) =>
  call(() => json(answer(content, stop_reason)))

/** Streams the pieces: the response and the deltas. */
const stream = Effect.fnUntraced(function* (...pieces: ReadonlyArray<string | Uint8Array>) {
  const deltas: Array<Llm.Delta> = []
  const response = yield* call(() => events(...pieces), { onDelta: (delta) => deltas.push(delta) })
  return { response, deltas }
})

const reasonOf = <A, R>(effect: Effect.Effect<A, AiError.AiError, R>) =>
  Effect.map(Effect.flip(effect), (error) => error.reason)

const clients = [FetchHttpClient.layer, NodeHttpClient.layerUndici, NodeHttpClient.layerNodeHttp]

const Weather = Tool.make("weather", {
  description: "Tells the weather",
  parameters: Schema.Struct({ city: Schema.String })
})
const weatherSchema = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: true
}

const weather = (id: string, params: unknown): Prompt.ToolCallPartEncoded => ({
  type: "tool-call",
  id,
  name: "weather",
  params
})

const result = (id: string, result: unknown, isFailure = false): Prompt.ToolResultPartEncoded => ({
  type: "tool-result",
  id,
  name: "weather",
  isFailure,
  result
})

const thought = (text: string, signature: string): Prompt.ReasoningPartEncoded => ({
  type: "reasoning",
  text,
  options: { anthropic: { info: { type: "thinking", signature } } }
})

const redacted = (redactedData: string): Prompt.ReasoningPartEncoded => ({
  type: "reasoning",
  text: "",
  options: { anthropic: { info: { type: "redacted_thinking", redactedData } } }
})

/** The paths of all fields, without the indexes of arrays and what is within free-form objects. */
const paths = (value: unknown, at = ""): ReadonlyArray<string> => {
  if (Array.isArray(value)) return value.flatMap((item) => paths(item, at))
  if (typeof value !== "object" || value === null || /(input|input_schema|format\.schema)$/.test(at)) return []
  return Object.entries(value).flatMap(([key, value]) => {
    const path = at === "" ? key : `${at}.${key}`
    return [path, ...paths(value, path)]
  })
}

/** The markers of the prompt cache, as the paths of the objects that have one. */
const markers = (value: unknown, at = ""): ReadonlyArray<string> => {
  if (typeof value !== "object" || value === null) return []
  return [
    ...("cache_control" in value ? [at] : []),
    ...Object.entries(value).flatMap(([key, value]) => markers(value, at === "" ? key : `${at}.${key}`))
  ]
}

describe("a request", () => {
  it.effect("asks for one piece without a listener", () =>
    Effect.gen(function* () {
      const { body, headers, url } = yield* sentFor()
      assert.deepStrictEqual(body, {
        model: "claude-test",
        max_tokens: 16_384,
        messages: [{ role: "user", content: [said("Hi")] }]
      })
      assert.strictEqual(url, "https://api.anthropic.com/v1/messages")
      assert.strictEqual(headers["content-type"], "application/json")
      assert.strictEqual(headers["anthropic-version"], "2023-06-01")
      assert.strictEqual(headers["x-api-key"], "sk-ant-1")
      assert.notProperty(headers, "authorization")
      assert.notProperty(headers, "anthropic-beta")
    })
  )

  it.effect("asks for a stream with a listener", () =>
    Effect.map(
      sentFor({}, {}, () => {}),
      ({ body }) => assert.deepInclude(body, { stream: true })
    )
  )

  it.effect("says which version and features it wants", () =>
    Effect.gen(function* () {
      const { headers } = yield* sentFor({}, { version: "2027-01-01", beta: ["a-2026-01-01", "b"], apiKey: undefined })
      assert.strictEqual(headers["anthropic-version"], "2027-01-01")
      assert.strictEqual(headers["anthropic-beta"], "a-2026-01-01,b")
      assert.notProperty(headers, "x-api-key")
    })
  )

  it.effect.each([
    ["https://api.anthropic.com", "https://api.anthropic.com/v1/messages"],
    ["https://api.anthropic.com/v1/", "https://api.anthropic.com/v1/messages"],
    ["http://localhost:8080/", "http://localhost:8080/v1/messages"],
    ["http://v1:8080/llm", "http://v1:8080/llm/v1/messages"],
    ["https://api.deepseek.com/anthropic", "https://api.deepseek.com/anthropic/v1/messages"],
    ["https://openrouter.ai/api/v1", "https://openrouter.ai/api/v1/messages"],
    ["https://example.com/v1/messages", "https://example.com/v1/messages"],
    ["https://example.com/?beta=true", "https://example.com/v1/messages?beta=true"]
  ] as const)("for %s goes to %s", ([baseUrl, url]) =>
    Effect.map(sentFor({}, { baseUrl }), (sent) => assert.strictEqual(sent.url, url))
  )

  it.effect("has all sampling as it is but the seed, which the API does not know", () =>
    Effect.gen(function* () {
      const sampling = { model: "other", temperature: 0, topP: 0.9, maxTokens: 10, stop: ["END"], seed: 7 }
      const { body } = yield* sentFor({ sampling })
      assert.deepStrictEqual(body, {
        model: "other",
        max_tokens: 10,
        messages: [{ role: "user", content: [said("Hi")] }],
        temperature: 0,
        top_p: 0.9,
        stop_sequences: ["END"]
      })
      assert.notProperty((yield* sentFor({ sampling: { stop: [] } })).body, "stop_sequences")
    })
  )

  it.effect.each([
    [undefined, undefined, undefined, 16_384],
    [undefined, { budgetTokens: 2_000 }, undefined, 18_384],
    [500, { budgetTokens: 2_000 }, undefined, 500],
    [500, undefined, 70, 70]
  ] as const)("bounds the answer: %j, thinking %j, asked for %j → %i", ([maxTokens, thinking, asked, expected]) =>
    Effect.map(sentFor({ sampling: { maxTokens: asked } }, { maxTokens, thinking }), ({ body }) =>
      assert.strictEqual(body["max_tokens"], expected)
    )
  )

  it.effect.each([
    [undefined, undefined],
    ["adaptive", { type: "adaptive", display: "summarized" }],
    ["disabled", { type: "disabled" }],
    [{ budgetTokens: 1_024 }, { type: "enabled", budget_tokens: 1_024 }]
  ] as const)("with the thinking %j has %j", ([thinking, expected]) =>
    Effect.map(sentFor({}, { thinking }), ({ body }) => assert.deepStrictEqual(body["thinking"], expected))
  )

  it.effect.each([
    [8_000, 2_000, 1_999],
    [8_000, 1_024, undefined],
    [8_000, 9_000, 8_000]
  ] as const)(
    "thinks within what it may write: a budget of %i within %i is %s",
    ([budgetTokens, maxTokens, expected]) =>
      Effect.map(sentFor({ sampling: { maxTokens } }, { thinking: { budgetTokens } }), ({ body }) =>
        assert.deepStrictEqual(
          body["thinking"],
          expected === undefined ? undefined : { type: "enabled", budget_tokens: expected }
        )
      )
  )

  it.effect("does not think on its own where it forces a tool", () =>
    Effect.map(sentFor({ tools: [Weather], toolChoice: "required" }, { thinking: "adaptive" }), ({ body }) =>
      assert.strictEqual(body["thinking"], undefined)
    )
  )

  it.effect("keeps the ids of other providers apart", () =>
    Effect.gen(function* () {
      const asked = History.appendUser(History.empty, "Hi")
      const history = History.appendAssistant(asked, [weather("a.b", {}), weather("a:b", {}), weather("a_b", {})])
      const json = JSON.stringify((yield* sentFor({ history })).body)
      const ids = Array.from(json.matchAll(/"(?:tool_use_)?id":"([^"]*)"/g), ([, id]) => id!)
      assert.lengthOf(ids, 6)
      assert.strictEqual(new Set(ids).size, 3)
      assert.isTrue(ids.every((id) => /^[\w-]+$/.test(id)))
    })
  )

  it.effect("has no thinking budget where it forces a tool, and then until a user speaks again", () =>
    Effect.gen(function* () {
      const budget = { type: "enabled", budget_tokens: 1_024 }
      const sent = (overrides: Partial<Llm.LlmRequest>, thinking: AnthropicLlm.Options["thinking"]) =>
        Effect.map(sentFor({ tools: [Weather], ...overrides }, { thinking }), ({ body }) => body["thinking"])
      const asked = History.appendUser(History.empty, "Hi")
      const forced = History.appendAssistant(asked, [weather("a", {})])
      const free = History.appendAssistant(asked, [thought("Hm", "sig"), weather("a", {})])
      for (const [request, expected] of [
        [{ toolChoice: "required" }, undefined],
        [{ toolChoice: { tool: "weather" } }, undefined],
        [{ toolChoice: "required", tools: [] }, budget],
        [{ toolChoice: "none" }, budget],
        [{ history: forced }, undefined],
        [{ history: History.appendAssistant(forced, [weather("b", {})]) }, undefined],
        [{ history: History.appendUser(forced, "And?") }, budget],
        [{ history: free }, budget],
        // Between its calls the model does not think again.
        [{ history: History.appendAssistant(free, [weather("b", {})]) }, budget]
      ] as const) {
        assert.deepStrictEqual(yield* sent(request, { budgetTokens: 1_024 }), expected)
        const isForced = "toolChoice" in request && request.toolChoice !== "none" && !("tools" in request)
        const adaptive = isForced ? undefined : { type: "adaptive", display: "summarized" }
        assert.deepStrictEqual(yield* sent(request, "adaptive"), adaptive)
      }
    })
  )

  it.effect("tells the whole conversation", () =>
    Effect.gen(function* () {
      const calls: ReadonlyArray<Prompt.AssistantMessagePartEncoded> = [
        thought("Hm", "sig1"),
        redacted("secret"),
        { type: "reasoning", text: "of another provider" },
        { type: "text", text: "Let me see" },
        { type: "text", text: " \n" },
        weather("a", { city: "Köln" }),
        weather("b.1", `{"city": `),
        weather("c", [1]),
        { type: "tool-call", id: "x", name: "search", params: {}, providerExecuted: true }
      ]
      const results = [result("a", { degrees: 21 }), result("b.1", "Not JSON", true), result("c", undefined)]
      let history = History.appendUser(History.empty, "Hi")
      history = History.appendAssistant(history, calls, results)
      history = History.appendUser(history, "And?")
      history = History.appendUser(history, "")
      history = History.appendAssistant(history, [{ type: "text", text: "21 degrees" }])
      history = History.appendAssistant(history, [{ type: "text", text: "in Köln" }, thought("cut off", "sig2")])
      history = History.appendUser(history, [{ type: "text", text: "Thanks" }])
      const { body } = yield* sentFor({ instructions: "Be kind", history })
      assert.deepStrictEqual(body["system"], [said("Be kind")])
      assert.deepStrictEqual(body["messages"], [
        { role: "user", content: [said("Hi")] },
        {
          role: "assistant",
          content: [
            { type: "thinking", thinking: "Hm", signature: "sig1" },
            { type: "redacted_thinking", data: "secret" },
            said("Let me see"),
            { type: "tool_use", id: "a", name: "weather", input: { city: "Köln" } },
            { type: "tool_use", id: "b_2e_1", name: "weather", input: {} },
            { type: "tool_use", id: "c", name: "weather", input: {} }
          ]
        },
        {
          role: "user",
          content: [
            { type: "tool_result", tool_use_id: "a", content: [said(`{"degrees":21}`)] },
            { type: "tool_result", tool_use_id: "b_2e_1", content: [said("Not JSON")], is_error: true },
            { type: "tool_result", tool_use_id: "c" },
            said("And?")
          ]
        },
        { role: "assistant", content: [said("21 degrees"), said("in Köln")] },
        { role: "user", content: [said("Thanks")] }
      ])
    })
  )

  it.effect("leaves out messages of which nothing is left, and joins their neighbours", () =>
    Effect.gen(function* () {
      let history = History.appendUser(History.empty, "Hi")
      history = History.appendAssistant(history, [{ type: "reasoning", text: "of another provider" }])
      history = History.appendUser(history, "Hello?")
      history = History.appendAssistant(history, [thought("cut off", "sig")])
      history = History.appendUser(history, "Well?")
      const { body } = yield* sentFor({ instructions: " ", history })
      assert.deepStrictEqual(body["messages"], [{ role: "user", content: [said("Hi"), said("Hello?"), said("Well?")] }])
      assert.notProperty(body, "system")
    })
  )

  it.effect("has no thinking within what an assistant says", () =>
    Effect.gen(function* () {
      const say = (text: string) => ({ type: "text", text }) as const
      const sent = (...contents: ReadonlyArray<History.AssistantContent>) =>
        Effect.map(
          sentFor({ history: contents.reduce((history, content) => History.appendAssistant(history, content), hi) }),
          ({ body }) => (body["messages"] as ReadonlyArray<{ content: unknown }>)[1]?.content
        )
      const hi = History.appendUser(History.empty, "Hi")
      const hm = { type: "thinking", thinking: "Hm", signature: "sig" }
      const thinks = [thought("Hm", "sig"), say("b")]
      assert.deepStrictEqual(yield* sent([say("a")], thinks), [said("a"), said("b")])
      assert.deepStrictEqual(yield* sent(thinks, thinks), [hm, said("b"), hm, said("b")])
    })
  )

  it.effect.prop("is one that the API takes, whatever the conversation", [Arbitraries.history], ([history]) =>
    Effect.gen(function* () {
      const { body } = yield* sentFor({ instructions: "Be kind", tools: [Weather], history }, { promptCache: true })
      const messages = body["messages"] as ReadonlyArray<{
        readonly role: string
        readonly content: ReadonlyArray<Readonly<Record<string, unknown>>>
      }>
      assert.isAtMost(markers(body).length, 4)
      assert.deepStrictEqual(
        paths(body).filter((path) => !AnthropicServer.documented.has(path)),
        []
      )
      for (const [i, { content, role }] of messages.entries()) {
        assert.notStrictEqual(role, messages[i - 1]?.role)
        assert.isAbove(content.length, 0)
        for (const { text, type } of content) if (type === "text") assert.notStrictEqual(String(text).trim(), "")
        const calls = content.filter(({ type }) => type === "tool_use").map(({ id }) => id)
        const results = messages[i + 1]?.content.slice(0, calls.length).map((block) => block["tool_use_id"])
        if (calls.length > 0) assert.deepStrictEqual(results, calls)
      }
    })
  )

  it.effect("shows the model what a tool has made for it", () =>
    Effect.gen(function* () {
      const shown: Prompt.ToolResultPartEncoded = {
        ...result("a", 1),
        modelOutput: [
          { type: "text", text: "one" },
          { type: "text", text: "" },
          { type: "file", mediaType: "image/png", data: "AQID" }
        ]
      }
      const calls = [weather("a", {}), weather("b", {})]
      const history = History.appendAssistant(History.empty, calls, [shown, result("b", "", true)])
      const { body } = yield* sentFor({ history })
      const image = { type: "image", source: { type: "base64", media_type: "image/png", data: "AQID" } }
      assert.deepStrictEqual((body["messages"] as ReadonlyArray<unknown>)[1], {
        role: "user",
        content: [
          { type: "tool_result", tool_use_id: "a", content: [said("one"), image] },
          // The API refuses an error without words.
          { type: "tool_result", tool_use_id: "b", content: [said("The call failed.")], is_error: true }
        ]
      })
    })
  )

  it.effect("has images, documents and texts", () =>
    Effect.gen(function* () {
      const file = (mediaType: string, data: Prompt.FilePartEncoded["data"], fileName?: string) =>
        ({ type: "file", mediaType, data, ...(fileName !== undefined && { fileName }) }) as const
      const bytes = new Uint8Array([1, 2, 3])
      const history = History.appendUser(History.empty, [
        { type: "text", text: "Look" },
        file("image/png", bytes),
        file("image/*", { _tag: "Uint8Array", base64: "AQID" }),
        file("image/png", "data:image/webp;base64,AQID"),
        file("image/png", new URL("https://example.com/a.png")),
        file("image/png", { _tag: "URL", href: "https://example.com/b.png" }),
        file("image/png", "https://example.com/c.png"),
        file("application/pdf", bytes, "a.pdf"),
        file("application/pdf", new URL("https://example.com/b.pdf")),
        file("text/markdown", encoder.encode("# Grüße"), "a.md")
      ])
      const { body } = yield* sentFor({ history })
      const base64 = (media_type: string) => ({ type: "base64", media_type, data: "AQID" })
      const url = (url: string) => ({ type: "url", url })
      assert.deepStrictEqual(body["messages"], [
        {
          role: "user",
          content: [
            said("Look"),
            { type: "image", source: base64("image/png") },
            { type: "image", source: base64("image/jpeg") },
            { type: "image", source: base64("image/webp") },
            { type: "image", source: url("https://example.com/a.png") },
            { type: "image", source: url("https://example.com/b.png") },
            { type: "image", source: url("https://example.com/c.png") },
            { type: "document", source: base64("application/pdf"), title: "a.pdf" },
            { type: "document", source: url("https://example.com/b.pdf") },
            { type: "document", source: { type: "text", media_type: "text/plain", data: "# Grüße" }, title: "a.md" }
          ]
        }
      ])
    })
  )

  it.effect("declares tools with the JSON Schema of their arguments", () =>
    Effect.gen(function* () {
      const raw = { type: "object", properties: { q: { type: "string" } }, required: ["q"] }
      const Search = Tool.providerDefined({ id: "anthropic.search", customName: "Search", providerName: "search" })
      const Any = Tool.make("any", { parameters: Schema.Struct({ value: Schema.Unknown }) })
      const tools: ReadonlyArray<Tool.Any> = [
        Weather,
        Weather.annotate(Tool.Strict, true),
        Tool.make("now"),
        Tool.dynamic("mcp", { description: "Finds", parameters: raw }),
        Any.annotate(Tool.Strict, true),
        Search()
      ]
      const { body } = yield* sentFor({ tools })
      const weather = { name: "weather", description: "Tells the weather" }
      assert.deepStrictEqual(body["tools"], [
        { ...weather, input_schema: weatherSchema },
        { ...weather, input_schema: { ...weatherSchema, additionalProperties: false }, strict: true },
        { name: "now", input_schema: { type: "object", properties: {}, additionalProperties: false } },
        { name: "mcp", description: "Finds", input_schema: raw },
        // What cannot be said strictly is not.
        {
          name: "any",
          input_schema: { type: "object", properties: { value: {} }, required: ["value"], additionalProperties: true }
        }
      ])
    })
  )

  it.effect.each([
    ["auto", undefined, { type: "auto" }],
    ["none", { type: "none" }, { type: "none" }],
    ["required", { type: "any" }, { type: "any" }],
    [{ tool: "weather" }, { type: "tool", name: "weather" }, { type: "tool", name: "weather" }]
  ] as const)("turns the tool choice %j into %j", ([toolChoice, expected, single]) =>
    Effect.gen(function* () {
      const { body } = yield* sentFor({ tools: [Weather], toolChoice })
      assert.deepStrictEqual(body["tool_choice"], expected)
      const one = yield* sentFor({ tools: [Weather], toolChoice }, { parallelToolCalls: false })
      const flag = toolChoice === "none" ? {} : { disable_parallel_tool_use: true }
      assert.deepStrictEqual(one.body["tool_choice"], { ...single, ...flag })
      const without = yield* sentFor({ tools: [], toolChoice }, { parallelToolCalls: false })
      assert.notProperty(without.body, "tool_choice")
      assert.notProperty(without.body, "tools")
    })
  )

  it.effect("asks for the format of the output", () =>
    Effect.gen(function* () {
      const output = { name: "place", schema: Schema.Struct({ city: Schema.String }) }
      const { body } = yield* sentFor({ output, instructions: "Be kind" })
      assert.deepStrictEqual(body["output_config"], {
        format: { type: "json_schema", schema: { ...weatherSchema, additionalProperties: false } }
      })
      assert.deepStrictEqual(body["system"], [said("Be kind")])
    })
  )

  it.effect("asks in words for a format that the API cannot promise", () =>
    Effect.gen(function* () {
      const output = { name: "counts", schema: Schema.Record(Schema.String, Schema.Finite) }
      const { body } = yield* sentFor({ output, instructions: "Be kind" })
      assert.notProperty(body, "output_config")
      const words = `that matches this JSON Schema:\n{"type":"object","additionalProperties":{"type":"number"}}`
      assert.match(
        JSON.stringify(body["system"]),
        /^\[\{"type":"text","text":"Be kind\\n\\nGive the final answer as JSON/
      )
      assert.include((body["system"] as ReadonlyArray<{ text: string }>)[0]!.text, words)
      const alone = yield* sentFor({ output })
      assert.include((alone.body["system"] as ReadonlyArray<{ text: string }>)[0]!.text, words)
    })
  )

  it.effect("marks at most four ends for the prompt cache, by default", () =>
    Effect.gen(function* () {
      let history = History.appendUser(History.empty, [
        { type: "text", text: "Hi" },
        { type: "text", text: "there" }
      ])
      const sent = () => sentFor({ instructions: "Be kind", tools: [Weather, Tool.make("now")], history }, cached)
      const cached = { promptCache: undefined }
      assert.deepStrictEqual(markers((yield* sent()).body), ["system.0", "messages.0.content.1", "tools.1"])
      for (let turn = 1; turn <= 3; turn++) {
        const calls = [weather(`a${turn}`, {}), weather(`b${turn}`, {})]
        history = History.appendAssistant(history, [thought("Hm", "sig"), ...calls])
        const end = turn * 2
        assert.deepStrictEqual(markers((yield* sent()).body), [
          "system.0",
          `messages.${end - 2}.content.1`,
          `messages.${end}.content.1`,
          "tools.1"
        ])
      }
      const { body } = yield* sentFor({}, cached)
      const marked = { ...said("Hi"), cache_control: { type: "ephemeral" } }
      assert.deepStrictEqual(body["messages"], [{ role: "user", content: [marked] }])
      assert.deepStrictEqual(markers((yield* sentFor({ history, instructions: "x" })).body), [])
    })
  )

  it.effect("has fields of the API only, and nothing that is null", () =>
    Effect.gen(function* () {
      const file = { type: "file", mediaType: "application/pdf", data: "AQID", fileName: "a.pdf" } as const
      const image = { type: "file", mediaType: "image/png", data: new URL("https://example.com/a.png") } as const
      let history = History.appendUser(History.empty, [{ type: "text", text: "Hi" }, file, image])
      const calls = [thought("Hm", "sig"), redacted("x"), { type: "text", text: "Well" } as const, weather("a", {})]
      history = History.appendAssistant(history, calls, [
        { ...result("a", "no", true), modelOutput: [{ type: "text", text: "no" }, image] }
      ])
      const llm = { promptCache: true, thinking: { budgetTokens: 1_024 }, parallelToolCalls: false }
      const { body } = yield* sentFor(
        {
          instructions: "Be kind",
          history,
          tools: [Weather.annotate(Tool.Strict, true)],
          sampling: { temperature: 1, topP: 1, maxTokens: 5_000, stop: ["x"], seed: 1 },
          output: { name: "place", schema: Schema.Struct({ city: Schema.String }) }
        },
        llm,
        () => {}
      )
      const unknown = paths(body).filter((path) => !AnthropicServer.documented.has(path))
      assert.deepStrictEqual(unknown, [])
      assert.deepStrictEqual(Object.keys(body), [
        "model",
        "max_tokens",
        "system",
        "messages",
        "tools",
        "tool_choice",
        "thinking",
        "temperature",
        "top_p",
        "stop_sequences",
        "output_config",
        "stream"
      ])
      assert.notInclude(JSON.stringify(body), "null")
    })
  )

  it.effect("that cannot be written fails as a value", () =>
    Effect.gen(function* () {
      const circular: Record<string, unknown> = {}
      circular["self"] = circular
      const history = History.appendAssistant(History.empty, [weather("a", {})], [result("a", circular)])
      const reason = yield* reasonOf(call(() => json({}), { request: { history } }))
      assert.strictEqual(reason._tag, "InvalidRequestError")
    })
  )
})

describe("an answer", () => {
  it.effect("has text, model and tokens, of which those of the cache are a part", () =>
    Effect.gen(function* () {
      const usage = {
        input_tokens: 10,
        cache_creation_input_tokens: 200,
        cache_read_input_tokens: 3_000,
        output_tokens: 50,
        output_tokens_details: { thinking_tokens: 30 }
      }
      const body = message({ model: "claude-test-2026", content: [said("Hello")], stop_reason: "end_turn", usage })
      assert.deepStrictEqual(yield* call(() => json(body)), {
        content: [{ type: "text", text: "Hello" }],
        finishReason: "stop",
        tokens: {
          inputTokens: 3_210,
          outputTokens: 50,
          cachedInputTokens: 3_000,
          cacheWriteTokens: 200,
          reasoningTokens: 30
        },
        model: "claude-test-2026"
      })
    })
  )

  it.effect("without usage or model counts nothing", () =>
    Effect.gen(function* () {
      const none = { inputTokens: 0, outputTokens: 0, cachedInputTokens: 0, cacheWriteTokens: 0, reasoningTokens: 0 }
      const nulls = { input_tokens: null, cache_read_input_tokens: null, output_tokens_details: null }
      for (const usage of [undefined, null, {}, nulls]) {
        const body = message({ stop_reason: "end_turn", model: undefined, usage })
        assert.deepStrictEqual(yield* call(() => json(body)), {
          content: [],
          finishReason: "stop",
          tokens: none,
          model: undefined
        })
      }
    })
  )

  it.effect("has thinking with what Anthropic wants back, text and calls", () =>
    Effect.gen(function* () {
      const { content, finishReason } = yield* ask(
        [
          { type: "thinking", thinking: "Hm", signature: "sig" },
          // Models that think in silence.
          { type: "thinking", thinking: "", signature: "sig2" },
          { type: "redacted_thinking", data: "secret" },
          said("Let me see"),
          { type: "tool_use", id: "a", name: "weather", input: { city: "Rome" } },
          { type: "tool_use", id: "b", name: "weather", input: {} }
        ],
        "tool_use"
      )
      assert.deepStrictEqual(content, [
        thought("Hm", "sig"),
        thought("", "sig2"),
        redacted("secret"),
        { type: "text", text: "Let me see" },
        weather("a", { city: "Rome" }),
        weather("b", {})
      ])
      assert.strictEqual(finishReason, "tool-calls")
    })
  )

  it.effect("keeps the order in which the model wrote texts and calls", () =>
    Effect.gen(function* () {
      const call = { type: "tool_use", id: "a", name: "weather", input: {} }
      const { content } = yield* ask([said("First Rome"), call, said("then Oslo"), { ...call, id: "b" }], "tool_use")
      const text = (text: string) => ({ type: "text" as const, text })
      assert.deepStrictEqual(content, [text("First Rome"), weather("a", {}), text("then Oslo"), weather("b", {})])
    })
  )

  it.effect.each([
    ["end_turn", "stop"],
    ["stop_sequence", "stop"],
    ["max_tokens", "length"],
    ["model_context_window_exceeded", "length"],
    ["tool_use", "tool-calls"],
    ["refusal", "content-filter"],
    ["pause_turn", "pause"],
    ["compaction", "other"],
    [null, "unknown"]
  ] as const)("finished with %s has the reason %s", ([stopReason, reason]) =>
    Effect.map(ask([said("x")], stopReason), ({ finishReason }) => assert.strictEqual(finishReason, reason))
  )

  it.effect("leaves out what Anthropic's servers did by themselves, and blocks it does not know", () =>
    Effect.gen(function* () {
      const { content } = yield* ask([
        { type: "server_tool_use", id: "srv", name: "web_search", input: { query: "x" } },
        { type: "web_search_tool_result", tool_use_id: "srv", content: [{ type: "web_search_result", url: "x" }] },
        { type: "hologram", text: 5, id: {} },
        { ...said("Found"), citations: [{ type: "web_search_result_location", url: "x" }] }
      ])
      assert.deepStrictEqual(content, [{ type: "text", text: "Found" }])
    })
  )

  it.effect.each([
    "",
    "{",
    "<html>Hello</html>",
    `"text"`,
    "{}",
    `{"type":"ping"}`,
    `{"type":"message"}`,
    `{"type":"message","content":"text"}`,
    `{"type":"message","content":["text"]}`,
    `{"type":"message","content":[{"type":"text"}]}`
  ])("of %j is invalid", (body) =>
    Effect.map(reasonOf(call(() => json(body))), (reason) => assert.strictEqual(reason._tag, "InvalidResponseError"))
  )
})

describe("a stream", () => {
  const params = (id: string, delta: string): Llm.Delta => ({ type: "tool-params", id, name: "weather", delta })

  const input = (index: number, partial_json: string) => delta(index, { type: "input_json_delta", partial_json })

  const tool = (index: number, id: string) => start(index, { type: "tool_use", id, name: "weather", input: {} })

  const think = (index: number, thinking: string) => delta(index, { type: "thinking_delta", thinking })

  const ping = event({ type: "ping" })

  const tokens = { inputTokens: 9, outputTokens: 8, cachedInputTokens: 2, cacheWriteTokens: 0, reasoningTokens: 3 }

  const usage = { output_tokens: 8, output_tokens_details: { thinking_tokens: 3 } }

  // Thinking, text and two calls, the first without arguments, with pings between.
  const recorded = encoder.encode(
    event({ type: "message_start", message: message({ usage: { input_tokens: 7, cache_read_input_tokens: 2 } }) })
      + start(0, { type: "thinking", thinking: "", signature: "" })
      + ping
      + think(0, "Grüße aus 北")
      + think(0, "京 🤔")
      + delta(0, { type: "signature_delta", signature: "sig==" })
      + stop(0)
      + start(1, { type: "redacted_thinking", data: "secret" })
      + stop(1)
      + spoken("Schön: 👩‍👩‍👧 ok", 2)
      + ping
      + stop(2)
      + tool(3, "a")
      + input(3, "")
      + stop(3)
      + tool(4, "b")
      + input(4, `{"city":"Zür`)
      + ping
      + input(4, `ich 🏔"}`)
      + stop(4)
      + finish("tool_use", usage)
      + done
  )
  const expected: Llm.LlmResponse = {
    content: [
      thought("Grüße aus 北京 🤔", "sig=="),
      redacted("secret"),
      { type: "text", text: "Schön: 👩‍👩‍👧 ok" },
      weather("a", {}),
      weather("b", { city: "Zürich 🏔" })
    ],
    finishReason: "tool-calls",
    tokens,
    model: "claude-test"
  }
  const expectedDeltas: ReadonlyArray<Llm.Delta> = [
    { type: "reasoning", delta: "Grüße aus 北" },
    { type: "reasoning", delta: "京 🤔" },
    { type: "text", delta: "Schön: 👩‍👩‍👧 ok" },
    params("b", `{"city":"Zür`),
    params("b", `ich 🏔"}`)
  ]

  it.effect("has the same answer as a whole response", () =>
    Effect.gen(function* () {
      const content = [
        { type: "thinking", thinking: "Grüße aus 北京 🤔", signature: "sig==" },
        { type: "redacted_thinking", data: "secret" },
        said("Schön: 👩‍👩‍👧 ok"),
        { type: "tool_use", id: "a", name: "weather", input: {} },
        { type: "tool_use", id: "b", name: "weather", input: { city: "Zürich 🏔" } }
      ]
      const counts = { input_tokens: 7, cache_read_input_tokens: 2, ...usage }
      const body = message({ content, stop_reason: "tool_use", usage: counts })
      assert.deepStrictEqual(yield* call(() => json(body)), expected)
      assert.deepStrictEqual((yield* stream(recorded)).response, expected)
    })
  )

  it.effect(
    "is the same wherever the network cuts it in two",
    () =>
      Effect.gen(function* () {
        for (let cut = 0; cut <= recorded.length; cut++) {
          const { deltas, response } = yield* stream(recorded.subarray(0, cut), recorded.subarray(cut))
          assert.deepStrictEqual(response, expected, `cut at ${cut}`)
          assert.deepStrictEqual(deltas, expectedDeltas, `cut at ${cut}`)
        }
      }),
    20_000
  )

  it.effect("is the same byte for byte", () =>
    Effect.gen(function* () {
      const { deltas, response } = yield* stream(...Array.from(recorded, (byte) => new Uint8Array([byte])))
      assert.deepStrictEqual(response, expected)
      assert.deepStrictEqual(deltas, expectedDeltas)
    })
  )

  it.effect("is the same over a real connection", () =>
    Effect.gen(function* () {
      const cuts = [0, 1, 50, 333, 777, recorded.length - 3]
      const replies = cuts.map((cut) => ({ body: [recorded.subarray(0, cut), recorded.subarray(cut)] }))
      const server = yield* Server.make(...replies)
      const llm = yield* AnthropicLlm.make({ ...defaults, baseUrl: server.url })
      for (const cut of cuts) {
        const deltas: Array<Llm.Delta> = []
        const response = yield* llm.generate(request(), (delta) => deltas.push(delta))
        assert.deepStrictEqual(response, expected, `cut at ${cut}`)
        assert.deepStrictEqual(deltas, expectedDeltas, `cut at ${cut}`)
      }
      assert.strictEqual(server.requests[0]?.path, "/v1/messages")
    }).pipe(Effect.provide(NodeHttpClient.layerUndici))
  )

  it.effect("has arguments that are not JSON as text", () =>
    Effect.gen(function* () {
      const { response } = yield* stream(begin, tool(0, "a"), input(0, `{"city": `), finish("max_tokens"), done)
      assert.deepStrictEqual(response.content, [weather("a", `{"city": `)])
      assert.strictEqual(response.finishReason, "length")
    })
  )

  it.effect("takes the counts as they are in the end, and keeps those that are not repeated", () =>
    Effect.gen(function* () {
      const counts = { input_tokens: 5, cache_creation_input_tokens: 1, cache_read_input_tokens: 2, output_tokens: 1 }
      const { response } = yield* stream(
        event({ type: "message_start", message: message({ usage: counts }) }),
        finish("end_turn", { input_tokens: 6, cache_read_input_tokens: null, output_tokens: 20 }),
        done
      )
      assert.deepStrictEqual(response.tokens, {
        inputTokens: 9,
        outputTokens: 20,
        cachedInputTokens: 2,
        cacheWriteTokens: 1,
        reasoningTokens: 0
      })
    })
  )

  it.effect("keeps the reason why it finished if a later event has none", () =>
    Effect.gen(function* () {
      const counts = { type: "message_delta", delta: { stop_reason: null }, usage: { output_tokens: 20 } }
      const { response } = yield* stream(begin, spoken("Hi"), finish("max_tokens"), event(counts), done)
      assert.strictEqual(response.finishReason, "length")
      assert.strictEqual(response.tokens.outputTokens, 20)
    })
  )

  it.effect("ignores events, blocks and deltas that it does not know, and what comes behind its end", () =>
    Effect.gen(function* () {
      const { deltas, response } = yield* stream(
        begin,
        event({ type: "weather_report", index: "x", delta: 5, message: "x" }),
        start(0, { type: "hologram", text: 5 }),
        delta(0, { type: "hologram_delta", text: 5 }),
        spoken("Hi", 1),
        delta(1, { type: "citations_delta", citation: {} }),
        start(2, { type: "server_tool_use", id: "srv", name: "web_search", input: {} }),
        delta(2, { type: "input_json_delta", partial_json: '{"query":"x"}' }),
        stop(2),
        finish("end_turn"),
        done,
        "data: [DONE]\n\n",
        event({ type: "error", error: { type: "api_error", message: "late" } })
      )
      assert.deepStrictEqual(response.content, [{ type: "text", text: "Hi" }])
      assert.deepStrictEqual(deltas, [{ type: "text", delta: "Hi" }])
    })
  )

  it.effect.each([
    ["CRLF", (body: string) => body.replaceAll("\n", "\r\n")],
    ["comments", (body: string) => body.replaceAll("event:", ": x\n\nevent:")],
    ["no names of events", (body: string) => body.replaceAll(/event:.*\n/g, "")],
    ["empty events", (body: string) => body.replaceAll("event:", "data:\n\nevent:")]
  ] as const)("may have %s", ([, change]) =>
    Effect.gen(function* () {
      const { response } = yield* stream(change(begin + spoken("Hi") + stop(0) + finish("end_turn") + done))
      assert.deepStrictEqual(response.content, [{ type: "text", text: "Hi" }])
      assert.strictEqual(response.finishReason, "stop")
    })
  )

  it.effect("may be a whole response to a server that knows no streams", () =>
    Effect.gen(function* () {
      const deltas: Array<Llm.Delta> = []
      const content = [
        { type: "thinking", thinking: "Hm", signature: "sig" },
        said("Hi"),
        { type: "tool_use", id: "a", name: "weather", input: { city: "Rome" } }
      ]
      yield* call(() => json(answer(content)), { onDelta: (delta) => deltas.push(delta) })
      assert.deepStrictEqual(deltas, [
        { type: "reasoning", delta: "Hm" },
        { type: "text", delta: "Hi" },
        params("a", `{"city":"Rome"}`)
      ])
    })
  )

  it.effect.each([
    ["overloaded_error", "Overloaded", "InternalProviderError"],
    ["api_error", "Internal server error", "InternalProviderError"],
    ["timeout_error", "Timeout", "InternalProviderError"],
    ["rate_limit_error", "Slow down", "RateLimitError"],
    ["billing_error", "Pay", "QuotaExhaustedError"],
    ["authentication_error", "Key", "AuthenticationError"],
    ["permission_error", "No", "AuthenticationError"],
    ["not_found_error", "No such model", "InvalidRequestError"],
    ["request_too_large", "Too large", "InvalidRequestError"],
    ["invalid_request_error", "Wrong", "InvalidRequestError"],
    ["invalid_request_error", "Output blocked by content filtering policy", "ContentPolicyError"]
  ] as const)("with the error %s (%s) in it fails with %s", ([type, words, tag]) =>
    Effect.gen(function* () {
      const deltas: Array<Llm.Delta> = []
      const error = event({ type: "error", error: { type, message: words }, request_id: "req_1" })
      const body = begin + spoken("Hi") + error + delta(0, { type: "text_delta", text: "!" })
      const reason = yield* reasonOf(call(() => events(body), { onDelta: (delta) => deltas.push(delta) }))
      assert.strictEqual(reason._tag, tag)
      if ("description" in reason) assert.include(reason.description, words)
      assert.deepStrictEqual("metadata" in reason && reason.metadata, {
        anthropic: { errorCode: type, errorType: type, requestId: "req_1" }
      })
      assert.deepStrictEqual(deltas, [{ type: "text", delta: "Hi" }])
    })
  )

  it.effect.each(["data: {oops\n\n", start(0, { type: "text" }), delta(0, { type: "text_delta" }), `data: "text"\n\n`])(
    "with %j in it is invalid",
    (wrong) =>
      Effect.gen(function* () {
        const reason = yield* reasonOf(stream(begin, wrong, finish("end_turn"), done))
        assert.strictEqual(reason._tag, "InvalidResponseError")
      })
  )

  it.effect("of nothing but an end is invalid", () =>
    Effect.map(reasonOf(stream(done)), (reason) => assert.strictEqual(reason._tag, "InvalidResponseError"))
  )

  it.effect("that ends before the message has stopped broke off, wherever it was cut", () =>
    Effect.gen(function* () {
      const body = begin + spoken("Hi") + stop(0) + tool(1, "a") + input(1, "{") + finish("tool_use")
      for (let cut = 0; cut <= body.length; cut += 7) {
        const reason = yield* reasonOf(stream(body.slice(0, cut)))
        assert(reason._tag === "NetworkError")
        assert.isTrue(reason.isRetryable)
        assert.include(reason.message, "ended before the model had finished")
      }
      assert.strictEqual((yield* reasonOf(stream(body)))._tag, "NetworkError")
    })
  )

  it.effect("that breaks off behind the answer is complete", () =>
    Effect.gen(function* () {
      const server = yield* Server.make({ body: [begin, spoken("Hi"), finish("end_turn"), done], ending: "destroy" })
      const llm = yield* AnthropicLlm.make({ ...defaults, baseUrl: server.url })
      const { content } = yield* llm.generate(request(), () => {})
      assert.deepStrictEqual(content, [{ type: "text", text: "Hi" }])
    }).pipe(Effect.provide(NodeHttpClient.layerUndici))
  )
})

describe("thinking", () => {
  it.effect.each([false, true])("goes back with its signature on the next turn (streamed: %j)", (streaming) =>
    Effect.gen(function* () {
      const args = { operation: "add", a: 5, b: 3 }
      const blocks = [
        { type: "thinking", thinking: "A sum", signature: "sig==" },
        { type: "redacted_thinking", data: "secret" },
        { type: "tool_use", id: "toolu_1", name: "calculator", input: args }
      ]
      const first = streaming
        ? events(
            begin,
            start(0, { type: "thinking", thinking: "", signature: "" }),
            delta(0, { type: "thinking_delta", thinking: "A " }),
            delta(0, { type: "thinking_delta", thinking: "sum" }),
            delta(0, { type: "signature_delta", signature: "sig==" }),
            start(1, blocks[1]),
            start(2, { ...blocks[2], input: {} }),
            delta(2, { type: "input_json_delta", partial_json: JSON.stringify(args) }),
            finish("tool_use"),
            done
          )
        : json(answer(blocks, "tool_use"))
      const sent: Array<Sent> = []
      const respond = (got: Sent) => {
        sent.push(got)
        return sent.length === 1 ? first : json(answer([said("It is 8")]))
      }
      const agent = Agent.make("math-bot", { instructions: "Use tools.", toolkit: MathTools, streaming })
      const { output } = yield* Agent.run(agent, "5 + 3?").pipe(
        Effect.provide(AnthropicLlm.layer({ ...defaults, thinking: "adaptive" })),
        Effect.provide([MathToolsLayer, FetchHttpClient.layer]),
        fakeFetch(respond)
      )
      assert.strictEqual(output, "It is 8")
      assert.lengthOf(sent, 2)
      assert.strictEqual(sent[0]!.body["stream"], streaming || undefined)
      assert.deepStrictEqual(sent[1]!.body["messages"], [
        { role: "user", content: [said("5 + 3?")] },
        { role: "assistant", content: blocks },
        {
          role: "user",
          content: [{ type: "tool_result", tool_use_id: "toolu_1", content: [said(`{"result":8}`)] }]
        }
      ])
    })
  )
})

describe("a failure", () => {
  const problem = (status: number, type: string, words: string, headers: Record<string, string> = {}) =>
    reasonOf(
      call(() => {
        const reply = AnthropicServer.failure(status, type, words, headers)
        return new Response(String(reply.body), { status, headers: { ...reply.headers } })
      })
    )

  it.effect.each([
    [400, "invalid_request_error", "Wrong", "InvalidRequestError", false],
    [401, "authentication_error", "invalid x-api-key", "AuthenticationError", false],
    [402, "billing_error", "Pay", "QuotaExhaustedError", false],
    [403, "permission_error", "No", "AuthenticationError", false],
    [404, "not_found_error", "model: claude-test", "InvalidRequestError", false],
    [413, "request_too_large", "Request exceeds the maximum size", "InvalidRequestError", false],
    [429, "rate_limit_error", "Slow down", "RateLimitError", true],
    [500, "api_error", "Internal server error", "InternalProviderError", true],
    [504, "timeout_error", "Timeout", "InternalProviderError", true],
    [529, "overloaded_error", "Overloaded", "InternalProviderError", true],
    [400, "invalid_request_error", "Your credit balance is too low to access it", "QuotaExhaustedError", false],
    [400, "invalid_request_error", "Output blocked by content filtering policy", "ContentPolicyError", false]
  ] as const)("of status %i, %s (%s), is a typed reason", ([status, type, words, tag, isRetryable]) =>
    Effect.gen(function* () {
      const reason = yield* problem(status, type, words)
      assert.strictEqual(reason._tag, tag)
      assert.strictEqual(reason.isRetryable, isRetryable)
      const { http } = { http: undefined, ...reason }
      assert.strictEqual(http?.response?.status, status)
      assert.include(http?.body, words)
      assert.deepStrictEqual("metadata" in reason && reason.metadata, {
        anthropic: { errorCode: type, errorType: type, requestId: "req_1" }
      })
    })
  )

  it.effect("of the rate says how long to wait, and what is left", () =>
    Effect.gen(function* () {
      const left = { "anthropic-ratelimit-requests-remaining": "0" }
      const headers = { "retry-after": "7", ...left, "anthropic-organization-id": "org" }
      const reason = yield* problem(429, "rate_limit_error", "Slow down", headers)
      assert(reason._tag === "RateLimitError")
      assert.strictEqual(reason.retryAfter && Duration.toMillis(reason.retryAfter), 7_000)
      assert.deepStrictEqual(reason.http?.response?.headers, {
        "content-type": "application/json",
        "request-id": "req_1",
        "retry-after": "7",
        ...left
      })
    })
  )

  it.effect.each([
    "prompt is too long: 200001 tokens > 200000 maximum",
    "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000"
  ])("of a context that is too long is told by its code: %s", (words) =>
    Effect.gen(function* () {
      const reason = yield* problem(400, "invalid_request_error", words)
      assert(reason._tag === "InvalidRequestError")
      assert.deepInclude(reason.metadata["anthropic"], { errorCode: "context_length_exceeded" })
    })
  )

  it.effect("to connect is a transport error that says why", () =>
    Effect.gen(function* () {
      // A port that was free a moment ago.
      const { url } = yield* Effect.scoped(Server.make())
      const llm = yield* AnthropicLlm.make({ ...defaults, baseUrl: url })
      const reason = yield* reasonOf(llm.generate(request()))
      assert(reason._tag === "NetworkError")
      assert.include(reason.description, "ECONNREFUSED")
      assert.strictEqual(reason.url, `${url}/v1/messages`)
    }).pipe(Effect.provide(NodeHttpClient.layerUndici))
  )

  it.effect("of the connection within an answer is a transport error", () =>
    Effect.gen(function* () {
      const server = yield* Server.make({ body: [begin, spoken("Hi")], ending: "destroy" })
      const llm = yield* AnthropicLlm.make({ ...defaults, baseUrl: server.url })
      const reason = yield* reasonOf(llm.generate(request(), () => {}))
      assert(reason._tag === "NetworkError")
      assert.strictEqual(reason.reason, "TransportError")
    }).pipe(Effect.provide(NodeHttpClient.layerUndici))
  )

  it.effect.each([
    ["firstByteTimeout", { ending: "silence" }],
    ["idleTimeout", { body: [begin, spoken("Hi")], ending: "hang" }],
    ["totalTimeout", { body: [begin, spoken("Hi")], ending: "hang" }]
  ] as const)("to answer within the %s says so", ([name, reply]) =>
    Effect.gen(function* () {
      const server = yield* Server.make(reply)
      const llm = yield* AnthropicLlm.make({ ...defaults, baseUrl: server.url, [name]: "10 seconds" })
      const began = yield* Deferred.make<void>()
      const call = yield* llm
        .generate(request(), () => Deferred.doneUnsafe(began, Effect.void))
        .pipe(reasonOf, Effect.forkChild)
      const received = yield* server.next
      if ("body" in reply) yield* Deferred.await(began)
      yield* TestClock.adjust("10 seconds")
      const reason = yield* Fiber.join(call)
      assert(reason._tag === "NetworkError")
      assert.isTrue(reason.isRetryable)
      assert.include(reason.description, name)
      yield* Deferred.await(received.closedEarly)
    }).pipe(Effect.provide(NodeHttpClient.layerUndici))
  )

  const secret = "sk-ant-verySecret-0123456789"

  it.effect("never holds the API key, whoever repeats it", () =>
    Effect.gen(function* () {
      const llm = { apiKey: Redacted.make(secret) }
      const words = `invalid x-api-key ${secret}`
      const body = { type: "error", error: { type: secret, message: words }, request_id: secret }
      const echo = (status: number) => () =>
        json(body, { status, headers: { "content-type": "application/json", "request-id": "r", "x-api-key": words } })
      const errors: Array<AiError.AiError> = []
      for (const status of [200, 400, 401, 403, 404, 429, 500, 529]) {
        errors.push(yield* Effect.flip(call(echo(status), { llm })))
      }
      for (const piece of [event(body), `data: ${words}\n\n`]) {
        errors.push(yield* Effect.flip(call(() => events(begin, piece), { llm, onDelta: () => {} })))
      }
      const throws = () => {
        throw new TypeError(words, { cause: new Error(words) })
      }
      errors.push(yield* Effect.flip(call(throws, { llm })))
      for (const error of errors) {
        const shown = [inspect(error, { depth: Infinity, showHidden: true }), JSON.stringify(error), String(error)]
        assert.notInclude([...shown, error.stack, error.message].join("\n"), secret)
      }
    })
  )

  it.effect("never holds the API key of a real connection", () =>
    Effect.gen(function* () {
      for (const client of clients) {
        const server = yield* Server.make({ ending: "destroy" }, { status: 500, body: "{}" }, { body: "{" })
        const options = { model: "m", baseUrl: server.url, apiKey: Redacted.make(secret) }
        const llm = yield* Effect.provide(AnthropicLlm.make(options), yield* Layer.build(client))
        for (const tag of ["NetworkError", "InternalProviderError", "InvalidResponseError"]) {
          const error = yield* Effect.flip(llm.generate(request()))
          assert.strictEqual(error.reason._tag, tag)
          assert.notInclude(inspect(error, { depth: Infinity, showHidden: true }), secret)
        }
        assert.strictEqual(server.requests[0]?.headers["x-api-key"], secret)
      }
    })
  )
})

describe("an interruption", () => {
  it.effect.each([
    ["before the answer", { ending: "silence" }],
    ["within the answer", { body: `{"type":`, ending: "hang" }],
    ["within a stream", { body: [begin, spoken("Hi")], ending: "hang" }]
  ] as const)("%s closes the connection", ([, reply]) =>
    Effect.gen(function* () {
      const interrupt = Effect.gen(function* () {
        const server = yield* Server.make(reply)
        const llm = yield* AnthropicLlm.make({ ...defaults, baseUrl: server.url })
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

describe("layerConfig", () => {
  /** Builds the layer with the environment and makes a call: what was sent. */
  const build = Effect.fnUntraced(function* (env: Record<string, string>, options?: Partial<AnthropicLlm.Options>) {
    let sent: Sent | undefined
    yield* Effect.flatMap(Llm.Llm, (llm) => llm.generate(request())).pipe(
      Effect.provide(AnthropicLlm.layerConfig(options).pipe(Layer.provide(FetchHttpClient.layer))),
      fakeFetch((got) => {
        sent = got
        return json(answer([said("ok")]))
      }),
      Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromEnv({ env }))
    )
    return sent!
  })

  it.effect("takes model, key and server from the environment", () =>
    Effect.gen(function* () {
      const sent = yield* build({ ANTHROPIC_MODEL: "m", ANTHROPIC_API_KEY: "sk-ant-1" })
      assert.strictEqual(sent.url, "https://api.anthropic.com/v1/messages")
      assert.strictEqual(sent.headers["x-api-key"], "sk-ant-1")
      assert.strictEqual(sent.body["model"], "m")
      const local = yield* build({ ANTHROPIC_MODEL: "m", ANTHROPIC_BASE_URL: "http://localhost:1234" })
      assert.strictEqual(local.url, "http://localhost:1234/v1/messages")
      assert.notProperty(local.headers, "x-api-key")
    })
  )

  it.effect("prefers what it is told", () =>
    Effect.gen(function* () {
      const env = { ANTHROPIC_MODEL: "m", ANTHROPIC_API_KEY: "sk-ant-1", ANTHROPIC_BASE_URL: "not a url" }
      const told = { model: "other", baseUrl: "http://localhost", apiKey: Redacted.make("sk-ant-2"), maxTokens: 9 }
      const sent = yield* build(env, told)
      assert.strictEqual(sent.url, "http://localhost/v1/messages")
      assert.strictEqual(sent.headers["x-api-key"], "sk-ant-2")
      assert.deepInclude(sent.body, { model: "other", max_tokens: 9 })
    })
  )

  it.effect.each([
    ["without a model", { ANTHROPIC_API_KEY: "sk-ant-1" }, "ANTHROPIC_MODEL"],
    ["with an empty model", { ANTHROPIC_API_KEY: "sk-ant-1", ANTHROPIC_MODEL: "" }, "ANTHROPIC_MODEL"],
    ["without a key for Anthropic", { ANTHROPIC_MODEL: "m" }, "ANTHROPIC_API_KEY"],
    ["with an empty key for Anthropic", { ANTHROPIC_MODEL: "m", ANTHROPIC_API_KEY: "" }, "ANTHROPIC_API_KEY"],
    [
      "without a key for Anthropic by name",
      { ANTHROPIC_MODEL: "m", ANTHROPIC_BASE_URL: "https://api.anthropic.com/v1" },
      "ANTHROPIC_API_KEY"
    ],
    ["with a server that is no URL", { ANTHROPIC_MODEL: "m", ANTHROPIC_BASE_URL: "localhost" }, "ANTHROPIC_BASE_URL"]
  ] as const)("%s fails with one clear error", ([, env, name]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(build({ ...env }))
      assert.strictEqual(error._tag, "ConfigError")
      assert.include(error.message, name)
      if (name !== "ANTHROPIC_BASE_URL") assert.match(error.message, /No (model|API key)/)
    })
  )
})

describe("the server that plays scenarios", () => {
  const pieces: ReadonlyArray<LlmConformance.Piece> = [
    { type: "reasoning", delta: "H" },
    { type: "reasoning", delta: "m" },
    { type: "text", delta: "Let me " },
    { type: "text", delta: "see" },
    { type: "call", index: 1, id: "b", name: "weather" },
    { type: "call", index: 0, id: "a", name: "weather" },
    { type: "params", index: 1, delta: `{"city":` },
    { type: "params", index: 0, delta: `{}` },
    { type: "params", index: 1, delta: `"Rome"}` }
  ]
  const tokens = { inputTokens: 10, outputTokens: 7, cachedInputTokens: 4, cacheWriteTokens: 0, reasoningTokens: 2 }
  const scenario: LlmConformance.Scenario = {
    _tag: "Answer",
    pieces,
    finishReason: "tool-calls",
    tokens,
    model: "claude-played"
  }
  const expected: Llm.LlmResponse = {
    content: [
      thought("Hm", "sig"),
      { type: "text", text: "Let me see" },
      weather("a", {}),
      weather("b", { city: "Rome" })
    ],
    finishReason: "tool-calls",
    tokens,
    model: "claude-played"
  }

  /** Plays the scenario: what a model makes of it. */
  const played = (scenario: LlmConformance.Scenario, isStream: boolean) =>
    Effect.gen(function* () {
      const server = yield* Server.make(AnthropicServer.play(scenario, { isStream }))
      const llm = yield* AnthropicLlm.make({
        ...defaults,
        baseUrl: server.url,
        idleTimeout: 100,
        firstByteTimeout: 100
      })
      return yield* llm.generate(request(), isStream ? () => {} : undefined)
    }).pipe(Effect.scoped, Effect.provide(NodeHttpClient.layerUndici))

  it.live.each([false, true])("says an answer (streamed: %j)", (isStream) =>
    Effect.map(played(scenario, isStream), (response) => assert.deepStrictEqual(response, expected))
  )

  it.live.each([
    ["authentication", "AuthenticationError"],
    ["rate-limit", "RateLimitError"],
    ["quota", "QuotaExhaustedError"],
    ["invalid-request", "InvalidRequestError"],
    ["context-overflow", "InvalidRequestError"],
    ["content-filter", "ContentPolicyError"],
    ["overloaded", "InternalProviderError"]
  ] as const)("says the failure %s", ([failure, tag]) =>
    Effect.map(reasonOf(played({ _tag: "Failure", failure }, true)), (reason) => assert.strictEqual(reason._tag, tag))
  )

  it.live.each([
    ["Truncated", { _tag: "Truncated", pieces }, "NetworkError", "InvalidResponseError"],
    ["Reset", { _tag: "Reset", pieces }, "NetworkError", "NetworkError"],
    ["Malformed", { _tag: "Malformed" }, "InvalidResponseError", "InvalidResponseError"],
    ["Stalled", { _tag: "Stalled", pieces }, "NetworkError", "NetworkError"],
    ["Silent", { _tag: "Silent" }, "NetworkError", "NetworkError"]
  ] as const)("breaks off: %s", ([, scenario, streamed, whole]) =>
    Effect.gen(function* () {
      assert.strictEqual((yield* reasonOf(played(scenario, true)))._tag, streamed)
      assert.strictEqual((yield* reasonOf(played(scenario, false)))._tag, whole)
    })
  )
})
