import { assert, describe, it } from "@effect/vitest"
import * as AiError from "effect/ai/AiError"
import * as Chat from "effect/ai/Chat"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as Prompt from "effect/ai/Prompt"
import type * as Response from "effect/ai/Response"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as History from "../../src/History.ts"
import * as Llm from "../../src/Llm.ts"
import * as LanguageModelLlm from "../../src/llm/LanguageModelLlm.ts"
import * as LlmLanguageModel from "../../src/llm/LlmLanguageModel.ts"
import * as Arbitraries from "../../src/testing/Arbitraries.ts"
import * as ScriptedLlm from "../../src/testing/ScriptedLlm.ts"

/** Runs a program with a model that follows the script. */
const withScript = <A, E>(
  script: ReadonlyArray<ScriptedLlm.Turn>,
  program: Effect.Effect<A, E, LanguageModel.LanguageModel>
) => {
  const llm = ScriptedLlm.make(script)
  return Effect.map(Effect.provide(program, over(llm.generate)), (result) => ({ result, requests: llm.requests }))
}

const over = (generate: Llm.Generate) => Layer.provide(LlmLanguageModel.layer, Llm.layer(generate))

const Add = Tool.make("add", {
  parameters: Schema.Struct({ a: Schema.Finite, b: Schema.Finite }),
  success: Schema.Finite
})

const Sums = Toolkit.make(Add)

const SumsLayer = Sums.toLayer({ add: ({ a, b }) => Effect.succeed(a + b) })

const Search = Tool.providerDefined({
  id: "openai.search",
  customName: "search",
  providerName: "search",
  success: Schema.Struct({ hits: Schema.Finite })
})

const hits = { type: "tool-result", id: "s", name: "search", isFailure: false, result: { hits: 1 } } as const

describe("generateText", () => {
  it.effect("answers with text, reason, usage and model", () =>
    Effect.gen(function* () {
      const tokens = { inputTokens: 10, outputTokens: 5, cachedInputTokens: 4, cacheWriteTokens: 0, reasoningTokens: 3 }
      const { result } = yield* withScript(
        [
          {
            content: [
              { type: "reasoning", text: "Hm", options: { anthropic: { signature: "s" } } },
              { type: "text", text: "Hello" }
            ],
            finishReason: "length",
            tokens
          }
        ],
        LanguageModel.generateText({ prompt: "Hi" })
      )
      assert.strictEqual(result.text, "Hello")
      assert.deepStrictEqual(result.reasoning[0]?.metadata, { anthropic: { signature: "s" } })
      assert.strictEqual(result.finishReason, "length")
      assert.deepInclude(result.usage.inputTokens, { total: 10, cacheRead: 4, uncached: 6 })
      assert.deepInclude(result.usage.outputTokens, { total: 5, reasoning: 3, text: 2 })
      const metadata = result.content.find((part) => part.type === "response-metadata")
      assert.strictEqual(metadata?.modelId, "scripted")
    })
  )

  it.effect("asks with the system messages as instructions and the rest as history", () =>
    Effect.gen(function* () {
      const { requests } = yield* withScript(
        ["ok"],
        LanguageModel.generateText({
          prompt: [
            { role: "system", content: "Be kind" },
            { role: "user", content: "Hi" },
            { role: "system", content: "Be brief" }
          ]
        })
      )
      const { history, ...request } = requests[0]!
      assert.deepStrictEqual(request, {
        instructions: "Be kind\n\nBe brief",
        tools: [],
        toolChoice: "none",
        sampling: {},
        output: undefined
      })
      assert.deepStrictEqual(History.toPrompt(history), Prompt.make("Hi"))
    })
  )

  it.effect("lets a toolkit answer the calls", () =>
    Effect.gen(function* () {
      const { requests, result } = yield* withScript(
        [{ tool: "add", params: { a: 1, b: 2 } }],
        LanguageModel.generateText({ prompt: "1 + 2?", toolkit: Sums }).pipe(Effect.provide(SumsLayer))
      )
      assert.strictEqual(result.toolResults[0]?.result, 3)
      assert.strictEqual(result.finishReason, "tool-calls")
      assert.deepStrictEqual(
        requests[0]?.tools.map(({ name }) => name),
        ["add"]
      )
      assert.strictEqual(requests[0]?.toolChoice, "auto")
    })
  )

  it.effect("lets a chat go on with what its tools said", () =>
    Effect.gen(function* () {
      const { requests, result } = yield* withScript(
        [{ tool: "add", params: { a: 1, b: 2 } }, "3"],
        Effect.gen(function* () {
          const chat = yield* Chat.empty
          yield* chat.generateText({ prompt: "1 + 2?", toolkit: Sums })
          return yield* chat.generateText({ prompt: [], toolkit: Sums })
        }).pipe(Effect.provide(SumsLayer))
      )
      assert.strictEqual(result.text, "3")
      assert.deepStrictEqual(
        History.toolResults(requests[1]!.history).map(({ id, result }) => [id, result]),
        [["call_1", 3]]
      )
    })
  )

  it.effect.each<[LanguageModel.ToolChoice<"add">, Llm.ToolChoice]>([
    ["required", "required"],
    [{ tool: "add" }, { tool: "add" }],
    [{ oneOf: ["add"] }, "auto"],
    [{ mode: "required", oneOf: ["add"] }, "required"]
  ])("asks for the choice %j as %j", ([toolChoice, expected]) =>
    Effect.gen(function* () {
      const { requests } = yield* withScript(
        ["ok"],
        LanguageModel.generateText({ prompt: "Hi", toolkit: Sums, toolChoice, disableToolCallResolution: true })
      )
      assert.deepStrictEqual(requests[0]?.toolChoice, expected)
    })
  )

  it.effect("refuses the call of a tool that was not offered, unless validation is deferred", () =>
    Effect.gen(function* () {
      const script = [{ tool: "subtract", params: "not JSON" }]
      const options = { prompt: "Hi", toolkit: Sums, disableToolCallResolution: true } as const
      const error = yield* Effect.flip(withScript(script, LanguageModel.generateText(options)))
      assert.deepInclude(error.reason, { _tag: "ToolNotFoundError", toolName: "subtract", availableTools: ["add"] })
      const streamed = yield* Effect.flip(withScript(script, Stream.runDrain(LanguageModel.streamText(options))))
      assert.strictEqual(streamed.reason._tag, "ToolNotFoundError")
      const { result } = yield* withScript(
        script,
        LanguageModel.generateText({ ...options, toolCallValidation: "deferred" })
      )
      assert.strictEqual(result.toolCalls[0]?.params, "not JSON")
    })
  )

  it.effect("has what the provider ran itself, and files in whatever form they came", () =>
    Effect.gen(function* () {
      const bytes = new Uint8Array([1, 2, 3])
      const { result } = yield* withScript(
        [
          {
            content: [
              { type: "tool-call", id: "s", name: "search", params: {}, providerExecuted: true },
              { ...hits, providerExecuted: true },
              { type: "file", mediaType: "image/png", data: "AQID" },
              { type: "file", mediaType: "image/png", data: bytes },
              { type: "file", mediaType: "image/png", data: { _tag: "Uint8Array", base64: "AQID" } },
              { type: "file", mediaType: "image/png", data: { _tag: "URL", href: "https://example.com/a.png" } },
              { type: "file", mediaType: "image/png", data: "https://example.com/a.png" }
            ]
          }
        ],
        LanguageModel.generateText({ prompt: "Hi", toolkit: Toolkit.make(Search()) })
      )
      assert.deepStrictEqual(result.toolResults[0]?.result, { hits: 1 })
      assert.deepStrictEqual(
        result.content.flatMap((part) => (part.type === "file" ? [part.data] : [])),
        [bytes, bytes, bytes]
      )
    })
  )

  it.effect("fails with the error of the model", () =>
    Effect.gen(function* () {
      const error = AiError.make({ module: "Test", method: "test", reason: new AiError.RateLimitError({}) })
      assert.strictEqual(yield* Effect.flip(withScript([error], LanguageModel.generateText({ prompt: "Hi" }))), error)
      const streamed = Stream.runDrain(LanguageModel.streamText({ prompt: "Hi" }))
      assert.strictEqual(yield* Effect.flip(withScript([error], streamed)), error)
    })
  )
})

describe("generateObject", () => {
  const Place = Schema.Struct({ city: Schema.String, since: Schema.FiniteFromString })

  it.effect("asks for the schema and decodes the answer", () =>
    Effect.gen(function* () {
      const { requests, result } = yield* withScript(
        ['{"city":"Rome","since":"-753"}'],
        LanguageModel.generateObject({ prompt: "Where?", schema: Place, objectName: "place" })
      )
      assert.deepStrictEqual(result.value, { city: "Rome", since: -753 })
      assert.strictEqual(requests[0]?.output?.name, "place")
      assert.strictEqual(requests[0]?.output?.schema, Place)
    })
  )

  it.effect("fails if the answer does not match", () =>
    Effect.gen(function* () {
      const program = LanguageModel.generateObject({ prompt: "Where?", schema: Place })
      const error = yield* Effect.flip(withScript(["Rome"], program))
      assert(AiError.isAiError(error))
      assert.strictEqual(error.reason._tag, "StructuredOutputError")
    })
  )
})

const streamText = Stream.runCollect(LanguageModel.streamText({ prompt: "Hi" }))

/** The parts as they are told apart, without the members that decoding adds. */
const outline = (parts: ReadonlyArray<Response.AnyPart>) =>
  parts.map((part) =>
    "delta" in part ? `${part.type} ${part.id} ${part.delta}` : "id" in part ? `${part.type} ${part.id}` : part.type
  )

describe("streamText", () => {
  it.effect("passes the pieces on and ends with what is only known of the whole", () =>
    Effect.gen(function* () {
      const { result } = yield* withScript(
        [
          {
            content: [
              { type: "reasoning", text: "Hm", options: { anthropic: { signature: "s" } } },
              { type: "text", text: "Let me" },
              { type: "tool-call", id: "a", name: "add", params: { a: 1, b: 2 } }
            ]
          }
        ],
        Stream.runCollect(LanguageModel.streamText({ prompt: "Hi", toolkit: Sums, disableToolCallResolution: true }))
      )
      assert.deepStrictEqual(outline(result), [
        "reasoning-start 0",
        "reasoning-delta 0 Hm",
        "text-start 1",
        "text-delta 1 Let ",
        "text-delta 1 me",
        "tool-params-start a",
        'tool-params-delta a {"a":1,"b":2}',
        "reasoning-end 0",
        "text-end 1",
        "tool-params-end a",
        "tool-call a",
        "response-metadata",
        "finish"
      ])
      assert.deepStrictEqual(result.find((part) => part.type === "reasoning-end")?.metadata, {
        anthropic: { signature: "s" }
      })
    })
  )

  it.effect("loses nothing of a model that writes faster than anybody reads", () =>
    Effect.gen(function* () {
      const words = Array.from({ length: 1000 }, (_, i) => `word ${i}`).join(" ")
      const { result } = yield* withScript([words], streamText)
      assert.strictEqual(result.map((part) => (part.type === "text-delta" ? part.delta : "")).join(""), words)
    })
  )

  it.effect("passes a piece on before the answer is complete", () =>
    Effect.gen(function* () {
      const heard = yield* Deferred.make<string>()
      const generate: Llm.Generate = (_, onDelta) =>
        Effect.suspend(() => {
          onDelta?.({ type: "text", delta: "Hel" })
          return Effect.map(Deferred.await(heard), (text) => answer(`${text}lo`))
        })
      const parts = yield* LanguageModel.streamText({ prompt: "Hi" }).pipe(
        Stream.tap((part) => (part.type === "text-delta" ? Deferred.succeed(heard, part.delta) : Effect.void)),
        Stream.runCollect,
        Effect.provide(over(generate))
      )
      assert.deepStrictEqual(outline(parts), ["text-start 0", "text-delta 0 Hel", "text-end 0", "finish"])
    })
  )

  it.effect("lets a toolkit answer the calls", () =>
    Effect.gen(function* () {
      const { result } = yield* withScript(
        [{ tool: "add", params: { a: 1, b: 2 } }],
        Stream.runCollect(LanguageModel.streamText({ prompt: "1 + 2?", toolkit: Sums })).pipe(Effect.provide(SumsLayer))
      )
      assert.deepStrictEqual(
        result.flatMap((part) => (part.type === "tool-result" ? [part.result] : [])),
        [3]
      )
    })
  )

  it.effect("tells what a model that does not stream says, and metadata without text", () =>
    Effect.gen(function* () {
      const content: History.AssistantContent = [
        { type: "reasoning", text: "Hm" },
        { type: "reasoning", text: "", options: { anthropic: { redacted: "r" } } },
        { type: "text", text: "Hello" }
      ]
      const parts = yield* Effect.provide(
        streamText,
        over(() => Effect.succeed({ ...answer(""), content }))
      )
      assert.deepStrictEqual(outline(parts), [
        "reasoning-start 0",
        "reasoning-delta 0 Hm",
        "reasoning-end 0",
        "reasoning-start 1",
        "reasoning-end 1",
        "text-start 2",
        "text-delta 2 Hello",
        "text-end 2",
        "finish"
      ])
    })
  )

  it.effect("gives no block the metadata of a part of it", () =>
    Effect.gen(function* () {
      const { result } = yield* withScript(
        [
          {
            content: [
              { type: "reasoning", text: "a", options: { anthropic: { signature: "1" } } },
              { type: "reasoning", text: "b", options: { anthropic: { signature: "2" } } }
            ]
          }
        ],
        streamText
      )
      assert.deepStrictEqual(outline(result).slice(0, 4), [
        "reasoning-start 0",
        "reasoning-delta 0 a",
        "reasoning-delta 0 b",
        "reasoning-end 0"
      ])
      assert.deepStrictEqual(result[3]?.metadata, {})
    })
  )

  const restart: Llm.Restart = {
    type: "restart",
    reason: "RateLimitError",
    message: "too fast",
    delayMillis: 0,
    model: undefined
  }

  it.effect("does not show that the model started over before it said anything", () =>
    Effect.gen(function* () {
      const parts = yield* Effect.provide(
        streamText,
        over((_, onDelta) =>
          Effect.sync(() => {
            onDelta?.(restart)
            onDelta?.({ type: "text", delta: "Hello" })
            return answer("Hello")
          })
        )
      )
      assert.deepStrictEqual(outline(parts), ["text-start 0", "text-delta 0 Hello", "text-end 0", "finish"])
    })
  )

  it.effect("fails and gives the model up when it starts over behind what was passed on", () =>
    Effect.gen(function* () {
      const ended = yield* Deferred.make<void>()
      const heard: Array<Response.AnyPart> = []
      const error = yield* LanguageModel.streamText({ prompt: "Hi" }).pipe(
        Stream.runForEach((part) => Effect.sync(() => heard.push(part))),
        Effect.flip,
        Effect.provide(
          over((_, onDelta) =>
            Effect.suspend(() => {
              onDelta?.({ type: "text", delta: "Hel" })
              onDelta?.(restart)
              onDelta?.({ type: "text", delta: "Good day" })
              return Effect.never
            }).pipe(Effect.onInterrupt(() => Deferred.succeed(ended, undefined)))
          )
        )
      )
      assert.strictEqual(error.reason._tag, "InternalProviderError")
      assert.match(error.message, /RateLimitError.*too fast/)
      assert.isTrue(error.isRetryable)
      assert.deepStrictEqual(outline(heard), ["text-start 0", "text-delta 0 Hel"])
      yield* Deferred.await(ended)
    })
  )

  it.effect("gives the model up when nobody reads any more", () =>
    Effect.gen(function* () {
      const began = yield* Deferred.make<void>()
      const ended = yield* Deferred.make<void>()
      const generate: Llm.Generate = () =>
        Effect.andThen(Deferred.succeed(began, undefined), Effect.never).pipe(
          Effect.onInterrupt(() => Deferred.succeed(ended, undefined))
        )
      const fiber = yield* Effect.forkChild(Effect.provide(streamText, over(generate)))
      yield* Deferred.await(began)
      yield* Fiber.interrupt(fiber)
      yield* Deferred.await(ended)
    })
  )
})

const answer = (text: string): Llm.LlmResponse => ({
  content: [{ type: "text", text }],
  finishReason: "stop",
  tokens: { inputTokens: 0, outputTokens: 0, cachedInputTokens: 0, cacheWriteTokens: 0, reasoningTokens: 0 },
  model: undefined
})

describe("the way there and back", () => {
  const Options = Schema.optionalKey(Schema.Struct({ anthropic: Schema.Struct({ signature: Schema.String }) }))
  const Text = Schema.String.check(Schema.isMinLength(1))
  const Content = Schema.Array(
    Schema.Union([
      Schema.Struct({ type: Schema.Literals(["text", "reasoning"]), text: Text, options: Options }),
      Schema.Struct({
        type: Schema.Literal("tool-call"),
        id: Text,
        name: Schema.String,
        params: Schema.Json,
        options: Options
      }),
      Schema.Struct({
        type: Schema.Literal("file"),
        mediaType: Text,
        data: Schema.Literals(["", "AQID"]),
        options: Options
      })
    ])
  )
  const Count = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1000 }))
  const Tokens = Schema.Struct({
    inputTokens: Count,
    outputTokens: Count,
    cachedInputTokens: Count,
    cacheWriteTokens: Count,
    reasoningTokens: Count
  })
  const FinishReason = Schema.Literals(["stop", "length", "content-filter", "tool-calls", "error", "pause", "unknown"])
  const Answer = Schema.Struct({ content: Content, tokens: Tokens, finishReason: FinishReason })

  /** Asks a scripted model itself and through both adapters. */
  const ask = Effect.fnUntraced(function* (
    turn: ScriptedLlm.ScriptedResponse,
    history: History.History,
    isStream: boolean
  ) {
    const request: Llm.LlmRequest = {
      instructions: "Be kind",
      // A prompt has no messages of nothing.
      history: History.fromPrompt(History.toPrompt(history)),
      tools: [Add],
      toolChoice: "auto",
      sampling: {},
      output: undefined
    }
    const run = Effect.fnUntraced(function* (llm: Llm.Llm["Service"]) {
      const deltas: Array<Llm.Delta> = []
      const response = yield* llm.generate(request, isStream ? (delta) => deltas.push(delta) : undefined)
      return { response, deltas }
    })
    const scripted = ScriptedLlm.make([turn, turn])
    const direct = yield* run(scripted)
    const there = Layer.provide(LanguageModelLlm.layer, over(scripted.generate))
    const around = yield* Effect.provide(Effect.flatMap(Llm.Llm, run), there)
    assert.deepStrictEqual(around, direct)
    const [first, second] = scripted.requests
    assert.deepStrictEqual(
      { ...second, history: History.toPrompt(second!.history) },
      { ...first!, history: History.toPrompt(first!.history) }
    )
  })

  it.effect.prop("changes nothing", [Answer, Arbitraries.history], ([answer, history]) => ask(answer, history, false))

  it.effect.prop(
    "changes nothing in a stream of blocks that differ from the next, before what comes whole",
    [Answer, Arbitraries.history],
    ([answer, history]) => {
      const written = answer.content.filter((part) => part.type === "text" || part.type === "reasoning")
      const whole = answer.content
        .filter((part) => part.type !== "text" && part.type !== "reasoning")
        // Pieces find their call by its id.
        .map((part, i) => (part.type === "tool-call" ? { ...part, id: `${part.id}${i}` } : part))
      const content = [...written.filter((part, i) => part.type !== written[i - 1]?.type), ...whole]
      return ask({ ...answer, content }, history, true)
    }
  )
})
