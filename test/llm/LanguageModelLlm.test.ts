import { assert, describe, it } from "@effect/vitest"
import * as AiError from "effect/ai/AiError"
import * as LanguageModel from "effect/ai/LanguageModel"
import type * as Prompt from "effect/ai/Prompt"
import type * as Response from "effect/ai/Response"
import * as Tool from "effect/ai/Tool"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as History from "../../src/History.ts"
import * as Llm from "../../src/Llm.ts"
import * as LanguageModelLlm from "../../src/llm/LanguageModelLlm.ts"

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
})

const finish = (reason: Response.FinishReason = "stop"): Response.FinishPartEncoded => ({
  type: "finish",
  reason,
  usage: {
    inputTokens: { uncached: 6, total: 10, cacheRead: 4, cacheWrite: undefined },
    outputTokens: { total: 5, text: 2, reasoning: 3 }
  }
})

interface Model {
  readonly text?: ReadonlyArray<Response.PartEncoded>
  readonly stream?: ReadonlyArray<Response.StreamPartEncoded>
  /** The stream ends as it is. Otherwise it gets an end. */
  readonly isCut?: boolean
}

/** Calls a model that answers with the parts: what it answered, what it was asked, what was heard. */
const call = Effect.fnUntraced(function* ({ isCut, stream, text }: Model, overrides: Partial<Llm.LlmRequest> = {}) {
  const asked: Array<LanguageModel.ProviderOptions> = []
  const model = LanguageModel.make({
    generateText: (options) => {
      asked.push(options)
      return text === undefined ? Effect.die("not to be called") : Effect.succeed([...text])
    },
    streamText: (options) => {
      asked.push(options)
      if (stream === undefined) return Stream.die("not to be called")
      const hasEnd = isCut === true || stream.some((part) => part.type === "finish" || part.type === "error")
      return Stream.fromIterable(hasEnd ? stream : [...stream, finish()])
    }
  })
  const deltas: Array<Llm.Delta> = []
  const listener = stream === undefined ? undefined : (delta: Llm.Delta) => deltas.push(delta)
  const response = yield* Effect.flatMap(Llm.Llm, (llm) => llm.generate(request(overrides), listener)).pipe(
    Effect.provide(Layer.provide(LanguageModelLlm.layer, Layer.effect(LanguageModel.LanguageModel, model)))
  )
  return { response, deltas, asked: asked[0]! }
})

const toolCall = (id: string, name: string, params: unknown) => ({ type: "tool-call", id, name, params }) as const

describe("a request", () => {
  it.effect("asks for one piece without a listener and for a stream with one", () =>
    Effect.gen(function* () {
      const hi = [{ type: "text", text: "Hi" }] as const
      assert.deepStrictEqual((yield* call({ text: hi })).response.content, hi)
      assert.deepStrictEqual(
        (yield* call({ stream: [{ type: "text-delta", id: "1", delta: "Hi" }] })).response.content,
        hi
      )
    })
  )

  it.effect("tells the conversation, the tools and the choice", () =>
    Effect.gen(function* () {
      const history = History.appendAssistant(
        History.appendUser(History.empty, "Hi"),
        [toolCall("a", "weather", { city: "Rome" })],
        [{ type: "tool-result", id: "a", name: "weather", isFailure: false, result: { degrees: 21 } }]
      )
      const { asked } = yield* call(
        { text: [finish()] },
        { instructions: "Be kind", history, tools: [Weather], toolChoice: { tool: "weather" } }
      )
      assert.deepStrictEqual(
        asked.prompt.content.map(({ role }) => role),
        ["system", "user", "assistant", "tool"]
      )
      assert.strictEqual(asked.prompt.content[0]?.content, "Be kind")
      assert.deepStrictEqual(asked.tools, [Weather])
      assert.deepStrictEqual(asked.toolChoice, { tool: "weather" })
    })
  )

  it.effect("describes the format of the output in the system prompt", () =>
    Effect.gen(function* () {
      const output = { name: "place", schema: Schema.Struct({ city: Schema.String }) }
      const { asked } = yield* call({ text: [finish()] }, { instructions: "Be kind", output })
      const system = asked.prompt.content[0]?.content
      assert(typeof system === "string")
      assert.match(system, /^Be kind\n\n.*JSON/)
      assert.deepInclude(JSON.parse(system.slice(system.indexOf("{"))), { type: "object", required: ["city"] })
      const alone = yield* call({ text: [finish()] }, { output })
      assert.strictEqual(alone.asked.prompt.content[0]?.content, system.replace("Be kind\n\n", ""))
    })
  )
})

describe("a response", () => {
  it.effect("has the parts as the history wants them, tokens and model", () =>
    Effect.gen(function* () {
      const Search = Tool.providerDefined({
        id: "openai.search",
        customName: "Search",
        providerName: "search",
        success: Schema.Struct({ hits: Schema.FiniteFromString })
      })
      const hits = { hits: "1" }
      const { response } = yield* call(
        {
          text: [
            { type: "response-metadata", id: "r", modelId: "m-1" },
            { type: "reasoning", text: "Hm", metadata: { anthropic: { signature: "s" } } },
            { type: "text", text: "Hello" },
            { type: "text", text: "" },
            { type: "file", mediaType: "image/png", data: "AQID" },
            { type: "source", sourceType: "url", id: "u", url: "https://example.com", title: "t" },
            { ...toolCall("s", "Search", {}), providerExecuted: true },
            {
              type: "tool-result",
              id: "s",
              name: "Search",
              isFailure: false,
              result: hits,
              providerExecuted: true,
              preliminary: true
            },
            { type: "tool-result", id: "s", name: "Search", isFailure: false, result: hits, providerExecuted: true },
            { ...toolCall("a", "weather", { city: "Rome" }), metadata: { openai: { itemId: "i" } } },
            finish("tool-calls")
          ]
        },
        { tools: [Weather, Search()] }
      )
      assert.deepStrictEqual(response, {
        content: [
          { type: "reasoning", text: "Hm", options: { anthropic: { signature: "s" } } },
          { type: "text", text: "Hello" },
          { type: "file", mediaType: "image/png", data: "AQID" },
          { ...toolCall("s", "Search", {}), providerExecuted: true },
          { type: "tool-result", id: "s", name: "Search", isFailure: false, result: hits, providerExecuted: true },
          { ...toolCall("a", "weather", { city: "Rome" }), options: { openai: { itemId: "i" } } }
        ],
        finishReason: "tool-calls",
        tokens: { inputTokens: 10, outputTokens: 5, cachedInputTokens: 4, cacheWriteTokens: 0, reasoningTokens: 3 },
        model: "m-1"
      })
    })
  )

  it.effect("without an end is of unknown reason and cost when it is whole, and was cut when it is a stream", () =>
    Effect.gen(function* () {
      const none = { inputTokens: 0, outputTokens: 0, cachedInputTokens: 0, cacheWriteTokens: 0, reasoningTokens: 0 }
      const nothing = { content: [], finishReason: "unknown", tokens: none, model: undefined } as const
      assert.deepStrictEqual((yield* call({ text: [] })).response, nothing)
      const cut = yield* Effect.flip(
        call({
          isCut: true,
          stream: [
            { type: "text-start", id: "1" },
            { type: "text-delta", id: "1", delta: "Half an ans" }
          ]
        })
      )
      assert.strictEqual(cut.reason._tag, "NetworkError")
    })
  )

  it.effect("goes back to the provider with the metadata it came with", () =>
    Effect.gen(function* () {
      const { response } = yield* call({
        stream: [
          { type: "reasoning-start", id: "1", metadata: { anthropic: { redactedData: "r" } } },
          { type: "reasoning-end", id: "1" },
          { type: "text-start", id: "2", metadata: { openai: { itemId: "i" } } },
          { type: "text-delta", id: "2", delta: "Hi" },
          { type: "text-end", id: "2", metadata: { openai: { annotations: [] } } }
        ]
      })
      const history = History.appendAssistant(History.empty, response.content)
      const { asked } = yield* call({ text: [] }, { history: History.appendUser(history, "And?") })
      const [assistant] = asked.prompt.content
      assert(assistant?.role === "assistant")
      assert.deepStrictEqual(
        assistant.content.map(({ options, type }) => ({ type, options })),
        [
          { type: "reasoning", options: { anthropic: { redactedData: "r" } } },
          { type: "text", options: { openai: { itemId: "i", annotations: [] } } }
        ]
      )
    })
  )

  const strange: ReadonlyArray<Prompt.ToolCallPartEncoded> = [
    toolCall("a", "nonsense", { x: 1 }),
    toolCall("b", "weather", `{"city": `),
    toolCall("c", "weather", { city: 1 })
  ]

  it.effect("may have calls of unknown tools and calls with malformed arguments", () =>
    Effect.gen(function* () {
      for (const tools of [[Weather], []]) {
        for (const model of [
          { text: [...strange, finish("tool-calls")] },
          { stream: [...strange, finish("tool-calls")] }
        ]) {
          const { response } = yield* call(model, { tools })
          assert.deepStrictEqual(response.content, strange)
          assert.strictEqual(response.finishReason, "tool-calls")
        }
      }
    })
  )
})

describe("a stream", () => {
  it.effect("is heard piece by piece and joined in the response", () =>
    Effect.gen(function* () {
      const { deltas, response } = yield* call(
        {
          stream: [
            { type: "response-metadata", modelId: "m-1" },
            { type: "reasoning-start", id: "1" },
            { type: "reasoning-delta", id: "1", delta: "H" },
            { type: "reasoning-delta", id: "1", delta: "m" },
            { type: "reasoning-end", id: "1", metadata: { anthropic: { signature: "s" } } },
            { type: "text-start", id: "1" },
            { type: "text-delta", id: "1", delta: "" },
            { type: "text-delta", id: "1", delta: "Hel" },
            { type: "text-delta", id: "1", delta: "lo" },
            { type: "text-end", id: "1" },
            { type: "text-start", id: "2" },
            { type: "text-end", id: "2" },
            { type: "tool-params-start", id: "s", name: "search", providerExecuted: true },
            { type: "tool-params-delta", id: "s", delta: "{}" },
            { type: "tool-params-start", id: "a", name: "weather" },
            { type: "tool-params-delta", id: "a", delta: `{"city":` },
            { type: "tool-params-delta", id: "a", delta: `"Rome"}` },
            { type: "tool-params-end", id: "a" },
            toolCall("a", "weather", { city: "Rome" }),
            finish("tool-calls")
          ]
        },
        { tools: [Weather] }
      )
      assert.deepStrictEqual(response, {
        content: [
          { type: "reasoning", text: "Hm", options: { anthropic: { signature: "s" } } },
          { type: "text", text: "Hello" },
          toolCall("a", "weather", { city: "Rome" })
        ],
        finishReason: "tool-calls",
        tokens: { inputTokens: 10, outputTokens: 5, cachedInputTokens: 4, cacheWriteTokens: 0, reasoningTokens: 3 },
        model: "m-1"
      })
      assert.deepStrictEqual(deltas, [
        { type: "reasoning", delta: "H" },
        { type: "reasoning", delta: "m" },
        { type: "text", delta: "Hel" },
        { type: "text", delta: "lo" },
        { type: "tool-params", id: "a", name: "weather", delta: `{"city":` },
        { type: "tool-params", id: "a", name: "weather", delta: `"Rome"}` }
      ])
    })
  )

  it.effect("keeps blocks apart that have the same id one after the other", () =>
    Effect.gen(function* () {
      const thought = (delta: string, signature: string): ReadonlyArray<Response.StreamPartEncoded> => [
        { type: "reasoning-start", id: "0" },
        { type: "reasoning-delta", id: "0", delta },
        { type: "reasoning-end", id: "0", metadata: { anthropic: { signature } } }
      ]
      const { response } = yield* call({ stream: [...thought("Hm", "1"), ...thought("Oh", "2")] })
      assert.deepStrictEqual(response.content, [
        { type: "reasoning", text: "Hm", options: { anthropic: { signature: "1" } } },
        { type: "reasoning", text: "Oh", options: { anthropic: { signature: "2" } } }
      ])
    })
  )

  it.effect("needs no start of its text", () =>
    Effect.gen(function* () {
      const { response } = yield* call({
        stream: [
          { type: "text-delta", id: "1", delta: "Hel" },
          { type: "text-delta", id: "1", delta: "lo" }
        ]
      })
      assert.deepStrictEqual(response.content, [{ type: "text", text: "Hello" }])
    })
  )

  it.effect("that reports an error fails with it", () =>
    Effect.gen(function* () {
      const overloaded = AiError.make({
        module: "m",
        method: "g",
        reason: new AiError.InternalProviderError({ description: "Overloaded" })
      })
      const text = { type: "text-delta", id: "1", delta: "Hi" } as const
      const own = yield* Effect.flip(call({ stream: [text, { type: "error", error: overloaded }] }))
      assert.strictEqual(own, overloaded)
      const other = yield* Effect.flip(call({ stream: [text, { type: "error", error: { message: "Overloaded" } }] }))
      assert.strictEqual(other.reason._tag, "UnknownError")
      assert.include(other.message, "Overloaded")
    })
  )
})

describe("a model", () => {
  const reason = new AiError.RateLimitError({})
  const limited = AiError.make({ module: "m", method: "g", reason })

  it.effect("fails with its own error", () =>
    Effect.gen(function* () {
      const model = LanguageModel.make({
        generateText: () => Effect.fail(limited),
        streamText: () => Stream.fail(limited)
      })
      const llm = yield* LanguageModelLlm.make.pipe(Effect.provideServiceEffect(LanguageModel.LanguageModel, model))
      assert.strictEqual((yield* Effect.flip(llm.generate(request()))).reason, reason)
      assert.strictEqual((yield* Effect.flip(llm.generate(request(), () => {}))).reason, reason)
    })
  )

  it.effect("is interrupted with the call", () =>
    Effect.gen(function* () {
      for (const onDelta of [undefined, () => {}]) {
        const began = yield* Deferred.make<void>()
        const ended = yield* Deferred.make<void>()
        const forever = Effect.andThen(Deferred.succeed(began, undefined), Effect.never).pipe(
          Effect.onInterrupt(() => Deferred.succeed(ended, undefined))
        )
        const model = LanguageModel.make({
          generateText: () => forever,
          streamText: () => Stream.fromEffect(forever)
        })
        const llm = yield* LanguageModelLlm.make.pipe(Effect.provideServiceEffect(LanguageModel.LanguageModel, model))
        const call = yield* Effect.forkChild(llm.generate(request(), onDelta))
        yield* Deferred.await(began)
        yield* Fiber.interrupt(call)
        yield* Deferred.await(ended)
      }
    })
  )
})
