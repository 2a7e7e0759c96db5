import { inspect } from "node:util"
import { createAnthropic } from "@ai-sdk/anthropic"
import { createOpenAICompatible } from "@ai-sdk/openai-compatible"
import * as Provider from "@ai-sdk/provider"
import { assert, describe, it } from "@effect/vitest"
import type * as AiError from "effect/ai/AiError"
import type * as Prompt from "effect/ai/Prompt"
import * as Tool from "effect/ai/Tool"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as Agent from "../../src/Agent.ts"
import * as History from "../../src/History.ts"
import * as Llm from "../../src/Llm.ts"
import * as AiSdkLlm from "../../src/llm/AiSdkLlm.ts"
import * as LlmConformance from "../../src/testing/LlmConformance.ts"
import { MathTools, MathToolsLayer } from "../support/calculator.ts"
import * as OpenAiChat from "../support/openAiChat.ts"
import * as OpenAiServer from "../support/openAiServer.ts"

const request = (overrides: Partial<Llm.LlmRequest> = {}): Llm.LlmRequest => ({
  instructions: "",
  history: History.appendUser(History.empty, "Hi"),
  tools: [],
  toolChoice: "auto",
  sampling: {},
  output: undefined,
  ...overrides
})

const Weather = Tool.make("weather", {
  description: "Tells the weather",
  parameters: Schema.Struct({ city: Schema.String })
}).annotate(Tool.Strict, false)

const Search = Tool.providerDefined({
  id: "anthropic.web_search_20250305",
  customName: "search",
  providerName: "web_search",
  args: Schema.Struct({ maxUses: Schema.Finite })
})

const Place = { name: "place", schema: Schema.Struct({ city: Schema.String }) }

type Part = Provider.LanguageModelV4StreamPart

type Generated = Provider.LanguageModelV4GenerateResult

const usage: Provider.LanguageModelV4Usage = {
  inputTokens: { total: 10, noCache: 6, cacheRead: 4, cacheWrite: 0 },
  outputTokens: { total: 5, text: 2, reasoning: 3 }
}

const tokens = { inputTokens: 10, outputTokens: 5, cachedInputTokens: 4, cacheWriteTokens: 0, reasoningTokens: 3 }

const finish = (
  unified: Provider.LanguageModelV4FinishReason["unified"],
  raw: string | undefined = unified
): Extract<Part, { readonly type: "finish" }> => ({ type: "finish", finishReason: { unified, raw }, usage })

/** A model that answers with these, and remembers what it was asked. */
const model = (answer: {
  readonly generate?: Partial<Generated> | (() => PromiseLike<Generated>)
  readonly stream?: ReadonlyArray<Part>
}) => {
  const asked: Array<Provider.LanguageModelV4CallOptions> = []
  const made: Provider.LanguageModelV4 = {
    specificationVersion: "v4",
    provider: "test.chat",
    modelId: "m",
    supportedUrls: {},
    doGenerate: async (options) => {
      asked.push(options)
      const { generate } = answer
      return typeof generate === "function"
        ? await generate()
        : { content: [], finishReason: { unified: "stop", raw: "stop" }, usage, warnings: [], ...generate }
    },
    doStream: async (options) => {
      asked.push(options)
      return {
        stream: new ReadableStream<Part>({
          start: (controller) => {
            for (const part of answer.stream ?? []) controller.enqueue(part)
            controller.close()
          }
        })
      }
    }
  }
  return { model: made, asked }
}

/** What a model is asked for a request. */
const askedFor = Effect.fnUntraced(function* (overrides: Partial<Llm.LlmRequest>) {
  const { asked, model: made } = model({})
  yield* AiSdkLlm.make(made).generate(request(overrides))
  const { abortSignal, ...options } = asked[0]!
  assert(abortSignal instanceof AbortSignal)
  return options
})

const generate = (answer: Partial<Generated>) => AiSdkLlm.make(model({ generate: answer }).model).generate(request())

/** Streams the parts: the response and what was heard. */
const stream = Effect.fnUntraced(function* (...parts: ReadonlyArray<Part>) {
  const deltas: Array<Llm.Delta> = []
  const response = yield* AiSdkLlm.make(model({ stream: parts }).model).generate(request(), (delta) =>
    deltas.push(delta)
  )
  return { response, deltas }
})

const reasonOf = <A, R>(effect: Effect.Effect<A, AiError.AiError, R>) =>
  Effect.map(Effect.flip(effect), (error) => error.reason)

const toolCall = (id: string, name: string, params: unknown) => ({ type: "tool-call", id, name, params }) as const

const toolResult = (id: string, result: unknown, rest: Partial<Prompt.ToolResultPartEncoded> = {}) =>
  ({ type: "tool-result", id, name: "weather", isFailure: false, result, ...rest }) as const

describe("a request", () => {
  it.effect("tells the whole conversation, and what providers want back", () =>
    Effect.gen(function* () {
      const signed = { test: { signature: "s" } }
      let history = History.appendUser(History.empty, [{ type: "text", text: "Hi", options: signed }])
      history = History.appendAssistant(
        history,
        [
          { type: "reasoning", text: "Hm", options: signed },
          { type: "text", text: "Let me see" },
          { ...toolCall("s", "search", { query: "x" }), providerExecuted: true },
          { ...toolResult("s", [1]), name: "search", providerExecuted: true },
          { ...toolCall("a", "weather", { city: "Rome" }), options: signed },
          toolCall("b", "weather", "not JSON")
        ],
        [toolResult("a", { degrees: 21 }), toolResult("b", "No such city", { isFailure: true })]
      )
      const { prompt } = yield* askedFor({ instructions: "Be kind", history })
      assert.deepStrictEqual(prompt, [
        { role: "system", content: "Be kind" },
        { role: "user", content: [{ type: "text", text: "Hi", providerOptions: signed }] },
        {
          role: "assistant",
          content: [
            { type: "reasoning", text: "Hm", providerOptions: signed },
            { type: "text", text: "Let me see" },
            { type: "tool-call", toolCallId: "s", toolName: "search", input: { query: "x" }, providerExecuted: true },
            { type: "tool-result", toolCallId: "s", toolName: "search", output: { type: "json", value: [1] } },
            {
              type: "tool-call",
              toolCallId: "a",
              toolName: "weather",
              input: { city: "Rome" },
              providerOptions: signed
            },
            { type: "tool-call", toolCallId: "b", toolName: "weather", input: {} }
          ]
        },
        {
          role: "tool",
          content: [
            {
              type: "tool-result",
              toolCallId: "a",
              toolName: "weather",
              output: { type: "json", value: { degrees: 21 } }
            },
            {
              type: "tool-result",
              toolCallId: "b",
              toolName: "weather",
              output: { type: "error-text", value: "No such city" }
            }
          ]
        }
      ])
    })
  )

  const picture = { type: "file", mediaType: "image/png", data: "AQID" } as const

  it.effect.each<[string, Prompt.ToolResultPartEncoded, Provider.LanguageModelV4ToolResultOutput]>([
    ["text", toolResult("a", "21"), { type: "text", value: "21" }],
    ["no result", toolResult("a", undefined), { type: "json", value: null }],
    ["a failure", toolResult("a", { code: 1 }, { isFailure: true }), { type: "error-json", value: { code: 1 } }],
    [
      "text for the model",
      toolResult("a", 21, {
        modelOutput: [
          { type: "text", text: "21" },
          { type: "text", text: "degrees" }
        ]
      }),
      { type: "text", value: "21\ndegrees" }
    ],
    [
      "a failure in text for the model",
      toolResult("a", 21, { isFailure: true, modelOutput: [{ type: "text", text: "No" }] }),
      { type: "error-text", value: "No" }
    ],
    [
      "media for the model",
      toolResult("a", 21, { modelOutput: [{ type: "text", text: "See" }, picture] }),
      {
        type: "content",
        value: [
          { type: "text", text: "See" },
          { type: "file", mediaType: "image/png", data: { type: "data", data: "AQID" } }
        ]
      }
    ]
  ])("has %s as the output of a tool", ([, result, output]) =>
    Effect.gen(function* () {
      const history = History.appendAssistant(History.empty, [toolCall("a", "weather", {})], [result])
      const { prompt } = yield* askedFor({ history })
      assert.deepStrictEqual(prompt[1]?.content, [
        { type: "tool-result", toolCallId: "a", toolName: "weather", output }
      ])
    })
  )

  const bytes = new Uint8Array([1, 2, 3])
  const url = "https://example.com/a.png"

  it.effect.each<[Prompt.FilePartEncoded["data"], Provider.LanguageModelV4FilePart["data"]]>([
    [bytes, { type: "data", data: bytes }],
    ["AQID", { type: "data", data: "AQID" }],
    [
      { _tag: "Uint8Array", base64: "AQID" },
      { type: "data", data: "AQID" }
    ],
    ["data:image/png;base64,AQID", { type: "data", data: "AQID" }],
    [new URL("data:image/png;base64,AQID"), { type: "data", data: "AQID" }],
    [url, { type: "url", url: new URL(url) }],
    [new URL(url), { type: "url", url: new URL(url) }],
    [
      { _tag: "URL", href: url },
      { type: "url", url: new URL(url) }
    ]
  ])("has the file %o as bytes or a URL", ([data, expected]) =>
    Effect.gen(function* () {
      const history = History.appendUser(History.empty, [
        { type: "file", mediaType: "image/png", fileName: "a.png", data }
      ])
      const { prompt } = yield* askedFor({ history })
      assert.deepStrictEqual(prompt[0]?.content, [
        { type: "file", mediaType: "image/png", filename: "a.png", data: expected }
      ])
    })
  )

  it.effect("declares tools with the JSON Schema of their arguments, and those of the provider", () =>
    Effect.gen(function* () {
      const { toolChoice, tools } = yield* askedFor({ tools: [Weather, Search({ maxUses: 2 })] })
      assert.isUndefined(toolChoice)
      const [weather, search] = tools!
      assert(weather?.type === "function")
      const { inputSchema, ...rest } = weather
      assert.deepStrictEqual(rest, {
        type: "function",
        name: "weather",
        description: "Tells the weather",
        strict: false
      })
      assert.deepInclude(inputSchema, { type: "object", required: ["city"] })
      assert.deepStrictEqual(search, {
        type: "provider",
        id: "anthropic.web_search_20250305",
        name: "search",
        args: { maxUses: 2 }
      })
    })
  )

  it.effect.each<[Llm.ToolChoice, Provider.LanguageModelV4ToolChoice]>([
    ["none", { type: "none" }],
    ["required", { type: "required" }],
    [{ tool: "weather" }, { type: "tool", toolName: "weather" }]
  ])("asks for the choice %j", ([toolChoice, expected]) =>
    Effect.gen(function* () {
      assert.deepStrictEqual((yield* askedFor({ toolChoice, tools: [Weather] })).toolChoice, expected)
      assert.isUndefined((yield* askedFor({ toolChoice })).toolChoice)
    })
  )

  it.effect("has all sampling as it is, and none by default", () =>
    Effect.gen(function* () {
      const sampling = { model: "m", temperature: 0, topP: 0.5, maxTokens: 7, stop: ["END"], seed: 1 }
      const { prompt: _prompt, ...options } = yield* askedFor({ sampling })
      assert.deepStrictEqual(options, {
        temperature: 0,
        topP: 0.5,
        maxOutputTokens: 7,
        stopSequences: ["END"],
        seed: 1
      })
      assert.deepStrictEqual(Object.keys(yield* askedFor({ sampling: { stop: [] } })), ["prompt"])
    })
  )

  it.effect("asks for the format of the output", () =>
    Effect.gen(function* () {
      const { responseFormat } = yield* askedFor({ output: Place })
      assert(responseFormat?.type === "json")
      assert.strictEqual(responseFormat.name, "place")
      assert.deepInclude(responseFormat.schema, { type: "object", required: ["city"] })
    })
  )

  it.effect("goes to the model that the function picks", () =>
    Effect.gen(function* () {
      const picked: Array<string | undefined> = []
      const llm = AiSdkLlm.make((modelId) => {
        picked.push(modelId)
        return model({}).model
      })
      yield* llm.generate(request())
      yield* llm.generate(request({ sampling: { model: "other" } }))
      assert.deepStrictEqual(picked, [undefined, "other"])
    })
  )

  it.effect("for another model than the only one is refused", () =>
    Effect.gen(function* () {
      const { asked, model: made } = model({})
      const reason = yield* reasonOf(AiSdkLlm.make(made).generate(request({ sampling: { model: "other" } })))
      assert.deepInclude(reason, { _tag: "InvalidRequestError", parameter: "model" })
      assert.lengthOf(asked, 0)
    })
  )

  it.effect("that cannot be made fails as a value", () =>
    Effect.gen(function* () {
      const history = History.appendUser(History.empty, [
        { type: "file", mediaType: "image/png", data: { _tag: "URL", href: "no URL" } }
      ])
      const reason = yield* reasonOf(AiSdkLlm.make(model({}).model).generate(request({ history })))
      assert.strictEqual(reason._tag, "InvalidRequestError")
    })
  )
})

describe("an answer", () => {
  it.effect("has the parts as the history wants them, tokens and model", () =>
    Effect.gen(function* () {
      const signed = { test: { signature: "s", none: undefined } }
      const response = yield* generate({
        content: [
          { type: "reasoning", text: "Hm", providerMetadata: signed },
          { type: "reasoning", text: "", providerMetadata: { test: { redacted: "r" } } },
          { type: "text", text: "Hello" },
          { type: "text", text: "" },
          { type: "file", mediaType: "image/png", data: { type: "data", data: "AQID" } },
          { type: "file", mediaType: "image/png", data: { type: "data", data: new Uint8Array([1, 2, 3]) } },
          { type: "file", mediaType: "image/png", data: { type: "url", url: new URL("https://example.com/a") } },
          { type: "source", sourceType: "url", id: "u", url: "https://example.com" },
          { type: "custom", kind: "test.compaction" },
          { type: "tool-call", toolCallId: "s", toolName: "search", input: "{}", providerExecuted: true },
          { type: "tool-result", toolCallId: "s", toolName: "search", result: "soon", preliminary: true },
          { type: "tool-result", toolCallId: "s", toolName: "search", result: ["no"], isError: true },
          {
            type: "tool-call",
            toolCallId: "a",
            toolName: "weather",
            input: `{"city":"Rome"}`,
            providerMetadata: signed
          },
          { type: "tool-call", toolCallId: "b", toolName: "weather", input: "" },
          { type: "tool-call", toolCallId: "c", toolName: "weather", input: `{"city":` }
        ],
        finishReason: { unified: "tool-calls", raw: "tool_use" },
        response: { modelId: "m-1" }
      })
      const options = { test: { signature: "s" } }
      assert.deepStrictEqual(response, {
        content: [
          { type: "reasoning", text: "Hm", options },
          { type: "reasoning", text: "", options: { test: { redacted: "r" } } },
          { type: "text", text: "Hello" },
          { type: "file", mediaType: "image/png", data: "AQID" },
          { type: "file", mediaType: "image/png", data: "AQID" },
          { type: "file", mediaType: "image/png", data: { _tag: "URL", href: "https://example.com/a" } },
          { ...toolCall("s", "search", {}), providerExecuted: true },
          { ...toolResult("s", ["no"]), name: "search", isFailure: true, providerExecuted: true },
          { ...toolCall("a", "weather", { city: "Rome" }), options },
          toolCall("b", "weather", {}),
          toolCall("c", "weather", `{"city":`)
        ],
        finishReason: "tool-calls",
        tokens,
        model: "m-1"
      })
    })
  )

  it.effect("without usage or model counts nothing", () =>
    Effect.gen(function* () {
      const response = yield* generate({
        usage: {
          inputTokens: { total: undefined, noCache: undefined, cacheRead: undefined, cacheWrite: undefined },
          outputTokens: { total: undefined, text: undefined, reasoning: undefined }
        }
      })
      assert.deepStrictEqual(response, {
        content: [],
        finishReason: "stop",
        tokens: { inputTokens: 0, outputTokens: 0, cachedInputTokens: 0, cacheWriteTokens: 0, reasoningTokens: 0 },
        model: undefined
      })
    })
  )

  it.effect.each([
    ["stop", "end_turn", "stop"],
    ["length", "max_tokens", "length"],
    ["content-filter", "refusal", "content-filter"],
    ["tool-calls", "tool_use", "tool-calls"],
    ["error", "error", "error"],
    ["other", "compaction", "other"],
    ["other", undefined, "unknown"],
    ["interrupted", undefined, "unknown"]
  ] as const)("that ends with %s (%s) says %s", ([unified, raw, expected]) =>
    Effect.gen(function* () {
      const { finishReason } = yield* generate({ finishReason: { unified, raw } })
      assert.strictEqual(finishReason, expected)
    })
  )

  it.effect("that has calls waits for them even if the server says that it stopped", () =>
    Effect.gen(function* () {
      const call = { type: "tool-call", toolCallId: "a", toolName: "weather", input: "{}" } as const
      assert.strictEqual((yield* generate({ content: [call] })).finishReason, "tool-calls")
      const own = yield* generate({ content: [{ ...call, providerExecuted: true }] })
      assert.strictEqual(own.finishReason, "stop")
    })
  )
})

describe("a stream", () => {
  it.effect("is heard piece by piece and joined in the response", () =>
    Effect.gen(function* () {
      const { deltas, response } = yield* stream(
        { type: "stream-start", warnings: [{ type: "other", message: "never mind" }] },
        { type: "response-metadata", id: "r", modelId: "m-1" },
        { type: "reasoning-start", id: "0" },
        { type: "reasoning-delta", id: "0", delta: "Hm" },
        { type: "reasoning-delta", id: "0", delta: "", providerMetadata: { test: { signature: "s" } } },
        { type: "reasoning-end", id: "0" },
        { type: "ping" },
        { type: "text-start", id: "0" },
        { type: "text-delta", id: "0", delta: "Hel" },
        { type: "tool-input-start", id: "a", toolName: "weather" },
        { type: "tool-input-start", id: "s", toolName: "search", providerExecuted: true },
        { type: "tool-input-delta", id: "a", delta: `{"city":` },
        { type: "tool-input-delta", id: "s", delta: "{}" },
        { type: "text-delta", id: "0", delta: "lo" },
        { type: "text-end", id: "0" },
        { type: "tool-input-delta", id: "a", delta: `"Rome"}` },
        { type: "tool-input-end", id: "a" },
        { type: "tool-call", toolCallId: "a", toolName: "weather", input: `{"city":"Rome"}` },
        { type: "text-start", id: "0" },
        { type: "text-delta", id: "0", delta: "!" },
        { type: "text-end", id: "0" },
        finish("tool-calls")
      )
      assert.deepStrictEqual(response, {
        content: [
          { type: "reasoning", text: "Hm", options: { test: { signature: "s" } } },
          { type: "text", text: "Hello" },
          toolCall("a", "weather", { city: "Rome" }),
          { type: "text", text: "!" }
        ],
        finishReason: "tool-calls",
        tokens,
        model: "m-1"
      })
      const params = (delta: string) => ({ type: "tool-params", id: "a", name: "weather", delta }) as const
      assert.deepStrictEqual(deltas, [
        { type: "reasoning", delta: "Hm" },
        { type: "text", delta: "Hel" },
        params(`{"city":`),
        { type: "text", delta: "lo" },
        params(`"Rome"}`),
        { type: "text", delta: "!" }
      ])
    })
  )

  const text: ReadonlyArray<Part> = [
    { type: "text-start", id: "0" },
    { type: "text-delta", id: "0", delta: "Hel" }
  ]

  it.effect.each<[string, ReadonlyArray<Part>]>([
    ["without an end", []],
    ["that says so", [finish("interrupted", undefined)]],
    [
      "that gives no reason of the server",
      [{ ...finish("other"), finishReason: { unified: "other", raw: undefined } }]
    ],
    [
      "that gives an error as its own reason",
      [{ ...finish("error"), finishReason: { unified: "error", raw: undefined } }]
    ]
  ])("%s was cut", ([, end]) =>
    Effect.gen(function* () {
      const reason = yield* reasonOf(stream(...text, ...end))
      assert(reason._tag === "NetworkError")
      assert.include(reason.description, "ended before the model had finished")
      assert.isTrue(reason.isRetryable)
    })
  )

  it.effect("that the server ended for a reason of its own is complete", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* stream(...text, finish("other", "recitation"))).response.finishReason, "other")
      assert.strictEqual((yield* stream(...text, finish("error", "error"))).response.finishReason, "error")
    })
  )

  it.effect("that fails behind its end is complete", () =>
    Effect.gen(function* () {
      const { response } = yield* stream(...text, finish("stop"), { type: "error", error: "too late" })
      assert.deepStrictEqual(response.content, [{ type: "text", text: "Hel" }])
    })
  )

  it.effect.each<[unknown, AiError.AiErrorReason["_tag"]]>([
    ["Overloaded", "InternalProviderError"],
    [{ message: "Slow down", type: "rate_limit_error" }, "RateLimitError"],
    [{ error: { message: "Too long", code: "context_length_exceeded" } }, "InvalidRequestError"],
    [{ message: "Overloaded", statusCode: 529, data: {} }, "InternalProviderError"],
    [new Provider.JSONParseError({ text: "{", cause: new Error("no") }), "InvalidResponseError"],
    [new Error("Oops"), "UnknownError"],
    [undefined, "InternalProviderError"]
  ])("with the error %o in it fails", ([error, tag]) =>
    Effect.gen(function* () {
      assert.strictEqual((yield* reasonOf(stream(...text, { type: "error", error }, finish("error"))))._tag, tag)
    })
  )
})

describe("an error of the AI SDK", () => {
  const url = "https://api.example.com/v1/chat?key=sk-very-secret"
  const called = (options: Partial<ConstructorParameters<typeof Provider.APICallError>[0]>) =>
    new Provider.APICallError({
      message: "Failed",
      url,
      requestBodyValues: { prompt: "sk-very-secret" },
      cause: Object.assign(new Error("caused"), { headers: "sk-very-secret" }),
      ...options
    })
  const status = (statusCode: number, responseBody = "{}") => called({ statusCode, responseBody })

  const errors: ReadonlyArray<readonly [unknown, AiError.AiErrorReason["_tag"], RegExp]> = [
    [status(401), "AuthenticationError", /InvalidKey/],
    [status(403), "AuthenticationError", /InsufficientPermissions/],
    [status(402), "QuotaExhaustedError", /Quota/],
    [status(429), "RateLimitError", /Rate limit/],
    [
      status(400, `{"error":{"message":"No such tool","param":"tools"}}`),
      "InvalidRequestError",
      /'tools'. No such tool/
    ],
    [status(500), "InternalProviderError", /HTTP 500/],
    [
      status(529, `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`),
      "InternalProviderError",
      /Overloaded/
    ],
    [called({ statusCode: 503, responseBody: "" }), "InternalProviderError", /Failed/],
    [called({ isRetryable: true }), "NetworkError", /Failed: caused/],
    [called({ statusCode: 200, isRetryable: true }), "NetworkError", /Failed: caused/],
    [called({ statusCode: 200 }), "InvalidResponseError", /Failed: caused/],
    [
      Object.assign(new Error("Slow down"), { name: "GatewayRateLimitError", statusCode: 429 }),
      "RateLimitError",
      /Rate/
    ],
    [new Provider.LoadAPIKeyError({ message: "No key" }), "AuthenticationError", /MissingKey.*No key/],
    [new Provider.LoadSettingError({ message: "No setting" }), "InvalidRequestError", /No setting/],
    [new Provider.NoSuchModelError({ modelId: "x", modelType: "languageModel" }), "InvalidRequestError", /'model'.*x/],
    [new Provider.NoSuchProviderReferenceError({ provider: "x", reference: {} }), "InvalidRequestError", /reference/],
    [new Provider.InvalidArgumentError({ argument: "x", message: "No" }), "InvalidRequestError", /No/],
    [new Provider.InvalidPromptError({ prompt: "sk-very-secret", message: "No" }), "InvalidRequestError", /No/],
    [new Provider.UnsupportedFunctionalityError({ functionality: "video" }), "InvalidRequestError", /'video'/],
    [new Provider.EmptyResponseBodyError(), "InvalidResponseError", /Empty/],
    [new Provider.JSONParseError({ text: "x".repeat(9999), cause: undefined }), "InvalidResponseError", /^.{0,500}$/],
    [new Provider.NoContentGeneratedError(), "InvalidResponseError", /No content/],
    [new Provider.TypeValidationError({ value: 1, cause: new Error("no") }), "InvalidResponseError", /validation/],
    [new Provider.InvalidResponseDataError({ data: {}, message: "Odd" }), "InvalidResponseError", /Odd/],
    [new DOMException("Given up", "AbortError"), "NetworkError", /Given up/],
    [new DOMException("Too slow", "TimeoutError"), "NetworkError", /Too slow/],
    [new TypeError("Failed to fetch"), "NetworkError", /Failed to fetch/],
    [new TypeError("x is not a function"), "UnknownError", /TypeError: x is not a function/],
    ["a text", "InternalProviderError", /a text/]
  ]

  it.effect.each(errors)("%s is a %s", ([error, tag, message]) =>
    Effect.gen(function* () {
      const failing = AiSdkLlm.make(model({ generate: () => Promise.reject(error) }).model)
      const failed = yield* Effect.flip(failing.generate(request()))
      assert.strictEqual(failed.reason._tag, tag)
      assert.match(failed.reason.message, message)
      assert.notInclude(inspect(failed, { depth: Infinity, showHidden: true }), "sk-very-secret")
    })
  )

  it.effect("may come from the choice of the model", () =>
    Effect.gen(function* () {
      const llm = AiSdkLlm.make(() => {
        throw new Provider.NoSuchModelError({ modelId: "x", modelType: "languageModel" })
      })
      assert.strictEqual((yield* reasonOf(llm.generate(request())))._tag, "InvalidRequestError")
    })
  )

  it.effect("has the codes of the server, and only the headers that tell nothing", () =>
    Effect.gen(function* () {
      const error = called({
        statusCode: 429,
        responseHeaders: {
          "Retry-After": "Thu, 01 Jan 1970 00:00:30 GMT",
          "x-request-id": "r",
          "set-cookie": "sk-very-secret"
        },
        responseBody: `{"error":{"message":"Slow down","code":"rate_limit_exceeded","type":"requests"}}`
      })
      yield* TestClock.adjust("10 seconds")
      const llm = AiSdkLlm.make(model({ generate: () => Promise.reject(error) }).model)
      const reason = yield* reasonOf(llm.generate(request()))
      assert(reason._tag === "RateLimitError")
      assert.strictEqual(Duration.toSeconds(reason.retryAfter!), 20)
      assert.deepStrictEqual(reason.metadata, {
        test: { errorCode: "rate_limit_exceeded", errorType: "requests", requestId: "r" }
      })
      assert.deepStrictEqual(reason.http?.response?.headers, {
        "retry-after": "Thu, 01 Jan 1970 00:00:30 GMT",
        "x-request-id": "r"
      })
    })
  )
})

const secret = "sk-very-secret-0123456789"

/** The OpenAI-compatible provider in front of a server that replies with these. */
const compatible = Effect.fnUntraced(function* (
  replies: ReadonlyArray<OpenAiServer.Reply>,
  options: AiSdkLlm.Options = {}
) {
  const server = yield* OpenAiServer.make(...replies)
  const provider = createOpenAICompatible({
    name: "local",
    baseURL: `${server.url}/v1`,
    apiKey: secret,
    includeUsage: true,
    supportsStructuredOutputs: true
  })
  return { server, llm: AiSdkLlm.make((modelId = "gpt-5.1") => provider(modelId), options) }
})

type Pieces = ReadonlyArray<LlmConformance.Piece>

const answer = (pieces: Pieces, finishReason: "stop" | "tool-calls" = "stop"): LlmConformance.Scenario => ({
  _tag: "Answer",
  pieces,
  finishReason,
  tokens,
  model: "gpt-5.1-mini"
})

/** Plays the scenario to a call, streamed and whole. */
const play = Effect.fnUntraced(function* (
  scenario: LlmConformance.Scenario,
  isStream: boolean,
  overrides: Partial<Llm.LlmRequest> = {},
  options?: AiSdkLlm.Options
) {
  const { llm, server } = yield* compatible([OpenAiChat.play(scenario, { isStream })], options)
  const deltas: Array<Llm.Delta> = []
  const response = yield* llm.generate(request(overrides), isStream ? (delta) => deltas.push(delta) : undefined)
  return { response, deltas, sent: server.requests[0]! }
})

const both = [
  ["streamed", true],
  ["whole", false]
] as const

/** The paths of the fields of a body, arrays skipped and free-form schemas cut. */
const fields = (value: unknown, path = ""): ReadonlyArray<string> => {
  if (Array.isArray(value)) return value.flatMap((item) => fields(item, path))
  if (typeof value !== "object" || value === null || /\.(parameters|schema)$/.test(path)) return []
  return Object.entries(value).flatMap(([key, member]) => {
    const field = path === "" ? key : `${path}.${key}`
    return [field, ...fields(member, field)]
  })
}

const call = (index: number, id: string): LlmConformance.Piece => ({ type: "call", index, id, name: "weather" })

const params = (index: number, delta: string): LlmConformance.Piece => ({ type: "params", index, delta })

describe.each(both)("the OpenAI-compatible provider, %s", (_, isStream) => {
  it.effect("answers", () =>
    Effect.gen(function* () {
      const pieces: Pieces = [
        { type: "reasoning", delta: "Hm" },
        { type: "text", delta: "Hel" },
        { type: "text", delta: "lo" }
      ]
      const { deltas, response, sent } = yield* play(answer(pieces), isStream)
      assert.deepStrictEqual(response, {
        content: [
          { type: "reasoning", text: "Hm" },
          { type: "text", text: "Hello" }
        ],
        finishReason: "stop",
        tokens,
        model: "gpt-5.1-mini"
      })
      assert.deepStrictEqual<ReadonlyArray<unknown>>(deltas, isStream ? pieces : [])
      assert.strictEqual(sent.path, "/v1/chat/completions")
      assert.strictEqual(sent.headers.authorization, `Bearer ${secret}`)
    })
  )

  it.effect.each<[string, Pieces, ReadonlyArray<Prompt.ToolCallPartEncoded>]>([
    ["one", [call(0, "a"), params(0, `{"city":`), params(0, `"Rome"}`)], [toolCall("a", "weather", { city: "Rome" })]],
    [
      "several, interleaved",
      [
        call(0, "a"),
        params(0, `{"city":`),
        call(1, "b"),
        params(1, `{"city":"Oslo"`),
        params(0, `"Rome"}`),
        params(1, "}")
      ],
      [toolCall("a", "weather", { city: "Rome" }), toolCall("b", "weather", { city: "Oslo" })]
    ],
    ["without arguments", [call(0, "a")], [toolCall("a", "weather", {})]],
    ["with arguments that are not JSON", [call(0, "a"), params(0, `{"city":`)], [toolCall("a", "weather", `{"city":`)]]
  ])("makes tool calls: %s", ([, pieces, expected]) =>
    Effect.gen(function* () {
      const { deltas, response } = yield* play(answer(pieces, "tool-calls"), isStream, { tools: [Weather] })
      assert.deepStrictEqual(response.content, expected)
      assert.strictEqual(response.finishReason, "tool-calls")
      const heard = (id: string) =>
        deltas.map((delta) => (delta.type === "tool-params" && delta.id === id ? delta.delta : "")).join("")
      for (const { id, params } of isStream ? expected : []) {
        const written = typeof params === "string" ? params : JSON.stringify(params)
        assert.strictEqual(heard(id) || "{}", written)
      }
    })
  )

  it.effect("sends what the API documents", () =>
    Effect.gen(function* () {
      let history = History.appendUser(History.empty, [
        { type: "text", text: "See" },
        { type: "file", mediaType: "image/png", data: new Uint8Array([1, 2, 3]) },
        { type: "file", mediaType: "image/png", data: "https://example.com/a.png" },
        { type: "file", mediaType: "application/pdf", fileName: "a.pdf", data: "AQID" }
      ])
      history = History.appendAssistant(
        history,
        [{ type: "text", text: "Let me see" }, toolCall("a", "weather", { city: "Rome" })],
        [toolResult("a", { degrees: 21 })]
      )
      const { sent } = yield* play(answer([{ type: "text", delta: "{}" }]), isStream, {
        instructions: "Be kind",
        history,
        tools: [Weather],
        toolChoice: { tool: "weather" },
        sampling: { model: "gpt-6", temperature: 0, topP: 0.5, maxTokens: 7, stop: ["END"], seed: 1 },
        output: Place
      })
      const body = sent.body as Record<string, unknown>
      assert.deepStrictEqual(
        fields(body).filter((field) => !OpenAiChat.documented.has(field)),
        []
      )
      assert.deepInclude(body, {
        model: "gpt-6",
        temperature: 0,
        top_p: 0.5,
        max_tokens: 7,
        stop: ["END"],
        seed: 1,
        tool_choice: { type: "function", function: { name: "weather" } }
      })
      assert.deepStrictEqual(body["messages"], [
        { role: "system", content: "Be kind" },
        {
          role: "user",
          content: [
            { type: "text", text: "See" },
            { type: "image_url", image_url: { url: "data:image/png;base64,AQID" } },
            { type: "image_url", image_url: { url: "https://example.com/a.png" } },
            { type: "file", file: { filename: "a.pdf", file_data: "data:application/pdf;base64,AQID" } }
          ]
        },
        {
          role: "assistant",
          content: "Let me see",
          tool_calls: [{ id: "a", type: "function", function: { name: "weather", arguments: `{"city":"Rome"}` } }]
        },
        { role: "tool", tool_call_id: "a", content: `{"degrees":21}` }
      ])
      const format = body["response_format"] as { readonly type: string; readonly json_schema: object }
      assert.strictEqual(format.type, "json_schema")
      assert.deepInclude(format.json_schema, { name: "place" })
    })
  )

  it.effect.each<[LlmConformance.Failure, AiError.AiErrorReason["_tag"], boolean]>([
    ["authentication", "AuthenticationError", false],
    ["rate-limit", "RateLimitError", true],
    ["quota", "QuotaExhaustedError", false],
    ["invalid-request", "InvalidRequestError", false],
    ["context-overflow", "InvalidRequestError", false],
    ["content-filter", "ContentPolicyError", false],
    ["overloaded", "InternalProviderError", true]
  ])("reports the failure %s as %s, once", ([failure, tag, isRetryable]) =>
    Effect.gen(function* () {
      const { llm, server } = yield* compatible([OpenAiChat.play({ _tag: "Failure", failure }, { isStream })])
      const error = yield* Effect.flip(llm.generate(request(), isStream ? () => {} : undefined))
      const { reason } = error
      assert.strictEqual(reason._tag, tag)
      assert.strictEqual(error.isRetryable, isRetryable)
      assert.lengthOf(server.requests, 1)
      assert.notInclude(inspect(error, { depth: Infinity, showHidden: true }), secret)
      if (reason._tag === "RateLimitError") {
        assert.strictEqual(Duration.toSeconds(reason.retryAfter!), LlmConformance.retryAfterSeconds)
      }
      if (failure === "context-overflow") {
        assert.deepInclude(reason, {
          metadata: {
            local: { errorCode: "context_length_exceeded", errorType: "invalid_request_error", requestId: null }
          }
        })
      }
    })
  )

  const begun: Pieces = [{ type: "text", delta: "Hel" }]

  it.effect.each<[LlmConformance.Scenario, AiError.AiErrorReason["_tag"]]>([
    [{ _tag: "Malformed" }, "InvalidResponseError"],
    [{ _tag: "Reset", pieces: begun }, "NetworkError"],
    [{ _tag: "Truncated", pieces: begun }, isStream ? "NetworkError" : "InvalidResponseError"]
  ])("reports %j as %s", ([scenario, tag]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(play(scenario, isStream))
      assert.strictEqual(error.reason._tag, tag)
      assert.strictEqual(error.isRetryable, tag === "NetworkError")
      assert.notInclude(inspect(error, { depth: Infinity, showHidden: true }), secret)
    })
  )

  it.live.each<[string, LlmConformance.Scenario, AiSdkLlm.Options]>([
    ["firstByteTimeout", { _tag: "Silent" }, { firstByteTimeout: LlmConformance.timeoutMillis }],
    [
      isStream ? "idleTimeout" : "firstByteTimeout",
      { _tag: "Stalled", pieces: begun },
      { firstByteTimeout: LlmConformance.timeoutMillis, idleTimeout: LlmConformance.timeoutMillis }
    ],
    ["totalTimeout", { _tag: "Stalled", pieces: begun }, { totalTimeout: LlmConformance.timeoutMillis }]
  ])("waits no longer than the %s", ([timeout, scenario, options]) =>
    Effect.gen(function* () {
      const { llm, server } = yield* compatible([OpenAiChat.play(scenario, { isStream })], options)
      const reason = yield* reasonOf(llm.generate(request(), isStream ? () => {} : undefined))
      assert(reason._tag === "NetworkError")
      assert.include(reason.description, timeout)
      yield* Deferred.await(server.requests[0]!.closedEarly)
    })
  )

  it.effect.each<LlmConformance.Scenario>([{ _tag: "Silent" }, { _tag: "Stalled", pieces: begun }])(
    "closes the connection when it is interrupted: %j",
    (scenario) =>
      Effect.gen(function* () {
        const { llm, server } = yield* compatible([OpenAiChat.play(scenario, { isStream })])
        const began = yield* Deferred.make<void>()
        const onDelta = isStream ? () => Deferred.doneUnsafe(began, Effect.void) : undefined
        const fiber = yield* Effect.forkChild(llm.generate(request(), onDelta))
        const received = yield* server.next
        if (isStream && scenario._tag === "Stalled") yield* Deferred.await(began)
        yield* Fiber.interrupt(fiber)
        yield* Deferred.await(received.closedEarly)
      })
  )

  it.effect("runs an agent with its tools", () =>
    Effect.gen(function* () {
      const args = JSON.stringify({ operation: "add", a: 5, b: 3 })
      const calls: Pieces = [
        { type: "call", index: 0, id: "a", name: "calculator" },
        { type: "params", index: 0, delta: args }
      ]
      const { llm, server } = yield* compatible([
        OpenAiChat.play(answer(calls, "tool-calls"), { isStream }),
        OpenAiChat.play(answer([{ type: "text", delta: "8" }]), { isStream })
      ])
      const agent = Agent.make("math-bot", { instructions: "Compute", toolkit: MathTools, streaming: isStream })
      const result = yield* Agent.run(agent, "5 + 3?").pipe(
        Effect.provide(MathToolsLayer),
        Effect.provideService(Llm.Llm, llm)
      )
      assert.strictEqual(result.text, "8")
      assert.strictEqual(result.turns, 2)
      const { messages } = server.requests[1]!.body as { readonly messages: ReadonlyArray<unknown> }
      assert.deepStrictEqual(messages.slice(2), [
        {
          role: "assistant",
          content: null,
          tool_calls: [{ id: "a", type: "function", function: { name: "calculator", arguments: args } }]
        },
        { role: "tool", tool_call_id: "a", content: `{"result":8}` }
      ])
    })
  )
})

describe("the OpenAI-compatible provider", () => {
  it.effect("reports a server that is not there", () =>
    Effect.gen(function* () {
      const gone = yield* Effect.scoped(OpenAiServer.make())
      const provider = createOpenAICompatible({ name: "local", baseURL: gone.url, apiKey: secret })
      const reason = yield* reasonOf(AiSdkLlm.make(provider("m")).generate(request()))
      assert(reason._tag === "NetworkError")
      assert.match(reason.description!, /ECONNREFUSED/)
      assert.strictEqual(reason.url, `${gone.url}/chat/completions`)
    })
  )
})

/** The Anthropic provider in front of a server that replies with these. */
const anthropic = Effect.fnUntraced(function* (...replies: ReadonlyArray<OpenAiServer.Reply>) {
  const server = yield* OpenAiServer.make(...replies)
  const provider = createAnthropic({ baseURL: `${server.url}/v1`, apiKey: secret })
  return { server, llm: AiSdkLlm.make(provider("claude-opus-4-5")) }
})

const event = (data: { readonly type: string } & Record<string, unknown>): string =>
  `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`

const started = event({
  type: "message_start",
  message: {
    id: "msg_1",
    type: "message",
    role: "assistant",
    model: "claude-opus-4-5-20251101",
    content: [],
    stop_reason: null,
    stop_sequence: null,
    usage: { input_tokens: 6, cache_read_input_tokens: 4, cache_creation_input_tokens: 0, output_tokens: 1 }
  }
})

const block = (index: number, start: object, ...deltas: ReadonlyArray<object>): ReadonlyArray<string> => [
  event({ type: "content_block_start", index, content_block: start }),
  ...deltas.map((delta) => event({ type: "content_block_delta", index, delta })),
  event({ type: "content_block_stop", index })
]

const stopped = (stop_reason: string): ReadonlyArray<string> => [
  event({ type: "message_delta", delta: { stop_reason, stop_sequence: null }, usage: { output_tokens: 5 } }),
  event({ type: "message_stop" })
]

const thinking = block(
  0,
  { type: "thinking", thinking: "", signature: "" },
  { type: "thinking_delta", thinking: "Rome, " },
  { type: "thinking_delta", thinking: "then" },
  { type: "signature_delta", signature: "c2lnbmVk" }
)

const using = block(
  1,
  { type: "tool_use", id: "toolu_1", name: "weather", input: {} },
  { type: "input_json_delta", partial_json: "" },
  { type: "input_json_delta", partial_json: `{"city":` },
  { type: "input_json_delta", partial_json: `"Rome"}` }
)

const texting = block(0, { type: "text", text: "" }, { type: "text_delta", text: "Hello" })

const refusal = (status: number, type: string, message: string, headers: Readonly<Record<string, string>> = {}) => ({
  status,
  headers,
  body: JSON.stringify({ type: "error", error: { type, message }, request_id: "req_1" })
})

describe("the Anthropic provider", () => {
  it.effect("streams, and gets the signature of its reasoning back", () =>
    Effect.gen(function* () {
      const { llm, server } = yield* anthropic(
        { body: [started, event({ type: "ping" }), ...thinking, ...using, ...stopped("tool_use")] },
        { body: [started, ...texting, ...stopped("end_turn")] }
      )
      const deltas: Array<Llm.Delta> = []
      const listen = (delta: Llm.Delta) => deltas.push(delta)
      const asking = request({ tools: [Weather] })
      const first = yield* llm.generate(asking, listen)
      assert.deepStrictEqual(first.content, [
        { type: "reasoning", text: "Rome, then", options: { anthropic: { signature: "c2lnbmVk" } } },
        toolCall("toolu_1", "weather", { city: "Rome" })
      ])
      assert.strictEqual(first.finishReason, "tool-calls")
      assert.strictEqual(first.model, "claude-opus-4-5-20251101")
      assert.deepInclude(first.tokens, { inputTokens: 10, outputTokens: 5, cachedInputTokens: 4, cacheWriteTokens: 0 })
      assert.deepStrictEqual(
        deltas.map((delta) => ("delta" in delta ? delta.delta : "")).filter((delta) => delta !== ""),
        ["Rome, ", "then", `{"city":`, `"Rome"}`]
      )

      const history = History.appendAssistant(asking.history, first.content, [toolResult("toolu_1", { degrees: 21 })])
      const second = yield* llm.generate({ ...asking, history }, listen)
      assert.deepStrictEqual(second.content, [{ type: "text", text: "Hello" }])
      const { messages } = server.requests[1]!.body as { readonly messages: ReadonlyArray<unknown> }
      assert.deepStrictEqual(messages.slice(1), [
        {
          role: "assistant",
          content: [
            { type: "thinking", thinking: "Rome, then", signature: "c2lnbmVk" },
            { type: "tool_use", id: "toolu_1", name: "weather", input: { city: "Rome" } }
          ]
        },
        { role: "user", content: [{ type: "tool_result", tool_use_id: "toolu_1", content: `{"degrees":21}` }] }
      ])
    })
  )

  it.effect("answers in one piece, to images and with tools of its own", () =>
    Effect.gen(function* () {
      const found = [
        { type: "web_search_result", url: "https://example.com", title: "t", encrypted_content: "e", page_age: null }
      ]
      const { llm, server } = yield* anthropic({
        body: JSON.stringify({
          id: "msg_1",
          type: "message",
          role: "assistant",
          model: "claude-opus-4-5-20251101",
          content: [
            { type: "server_tool_use", id: "srvtoolu_1", name: "web_search", input: { query: "x" } },
            { type: "web_search_tool_result", tool_use_id: "srvtoolu_1", content: found },
            { type: "text", text: "Found" }
          ],
          stop_reason: "end_turn",
          stop_sequence: null,
          usage: { input_tokens: 10, output_tokens: 5 }
        })
      })
      const history = History.appendUser(History.empty, [
        { type: "file", mediaType: "image/png", data: "AQID" },
        { type: "file", mediaType: "image/png", data: "https://example.com/a.png" }
      ])
      const response = yield* llm.generate(request({ history, tools: [Search({ maxUses: 2 })] }))
      assert.strictEqual(response.finishReason, "stop")
      assert.deepStrictEqual(
        response.content.map(({ type }) => type),
        ["tool-call", "tool-result", "text"]
      )
      assert.deepInclude(response.content[0], { name: "search", params: { query: "x" }, providerExecuted: true })
      assert.deepInclude(response.content[1], { name: "search", isFailure: false, providerExecuted: true })
      const body = server.requests[0]!.body as Record<string, unknown>
      assert.deepStrictEqual(body["tools"], [{ type: "web_search_20250305", name: "web_search", max_uses: 2 }])
      assert.deepStrictEqual(body["messages"], [
        {
          role: "user",
          content: [
            { type: "image", source: { type: "base64", media_type: "image/png", data: "AQID" } },
            { type: "image", source: { type: "url", url: "https://example.com/a.png" } }
          ]
        }
      ])
    })
  )

  it.effect.each<[OpenAiServer.Reply, AiError.AiErrorReason["_tag"]]>([
    [refusal(401, "authentication_error", "invalid x-api-key"), "AuthenticationError"],
    [refusal(429, "rate_limit_error", "Slow down", { "retry-after": "7" }), "RateLimitError"],
    [refusal(400, "invalid_request_error", "messages: too odd"), "InvalidRequestError"],
    [refusal(500, "api_error", "Internal server error"), "InternalProviderError"],
    [refusal(529, "overloaded_error", "Overloaded"), "InternalProviderError"],
    [
      { body: [event({ type: "error", error: { type: "overloaded_error", message: "Overloaded" } })] },
      "InternalProviderError"
    ],
    [
      { body: [started, event({ type: "error", error: { type: "overloaded_error", message: "Overloaded" } })] },
      "InternalProviderError"
    ],
    [{ body: [started, "data: {\n\n"] }, "InvalidResponseError"],
    [{ body: [started, ...texting] }, "NetworkError"],
    [{ body: [started] }, "NetworkError"],
    [{ body: [], headers: { "content-type": "text/event-stream" } }, "NetworkError"],
    [{ body: [started, ...texting], ending: "destroy" }, "NetworkError"]
  ])("reports %j as %s", ([reply, tag]) =>
    Effect.gen(function* () {
      const { llm, server } = yield* anthropic(reply)
      const error = yield* Effect.flip(llm.generate(request(), () => {}))
      assert.strictEqual(error.reason._tag, tag)
      assert.lengthOf(server.requests, 1)
      assert.notInclude(inspect(error, { depth: Infinity, showHidden: true }), secret)
      if (error.reason._tag === "RateLimitError") assert.strictEqual(Duration.toSeconds(error.retryAfter!), 7)
    })
  )

  it.effect.each<readonly [string, OpenAiServer.Reply]>([
    ["before it begins", { ending: "silence" }],
    ["before the model writes", { body: [], headers: { "content-type": "text/event-stream" }, ending: "hang" }],
    ["while the model writes", { body: [started, ...texting], ending: "hang" }]
  ])("closes the connection when a stream is interrupted %s", ([, reply]) =>
    Effect.gen(function* () {
      const { llm, server } = yield* anthropic(reply)
      const began = yield* Deferred.make<void>()
      const fiber = yield* Effect.forkChild(llm.generate(request(), () => Deferred.doneUnsafe(began, Effect.void)))
      const received = yield* server.next
      if (reply.body?.length) yield* Deferred.await(began)
      yield* Fiber.interrupt(fiber)
      yield* Deferred.await(received.closedEarly)
    })
  )
})
