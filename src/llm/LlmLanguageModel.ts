/**
 * Any `Llm` as a `LanguageModel` of `effect/ai`, so that what is written for that (`generateText`, `generateObject`,
 * `streamText`, `Chat`, toolkits) can use the providers, middleware and scripted models of this package. The way back
 * is `LanguageModelLlm`.
 *
 * @since 0.1.0
 */
import * as AiError from "effect/ai/AiError"
import * as LanguageModel from "effect/ai/LanguageModel"
import type * as Prompt from "effect/ai/Prompt"
import type * as Response from "effect/ai/Response"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import * as History from "../History.ts"
import * as Llm from "../Llm.ts"

/**
 * Makes a `LanguageModel` from the model service in the context.
 *
 * **Details**
 *
 * - System messages, wherever they stand, become the instructions; the other messages are put in order by the rules of
 *   `History.fromMessages`.
 * - `generateObject` asks for its schema as the `output` of the request.
 * - A call of a tool that was not offered fails with `ToolNotFoundError`, unless validation is deferred.
 *
 * **Gotchas**
 *
 * - `LanguageModel` has no sampling options: the model's own apply.
 * - `streamText` passes text and reasoning on as they come. What is only known of a whole response comes at its end:
 *   tool calls, files, metadata. Pieces do not tell apart blocks that follow each other directly, which become one,
 *   without the metadata of either, because a signature vouches for one exact text.
 * - Pieces cannot be taken back: a stream whose model starts over, as middleware makes it do, fails with
 *   `InternalProviderError` once it has passed something on. Before that, starting over does not show.
 * - Files of the model that are URLs are left out: `Response` has only bytes.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<LanguageModel.LanguageModel, never, Llm.Llm> = Effect.flatMap(Llm.Llm, (llm) =>
  LanguageModel.make({
    generateText: Effect.fnUntraced(function* (options) {
      const response = yield* llm.generate(requestOf(options))
      yield* checkCalls("generateText", options, response)
      return [...metadata(response), ...response.content.flatMap(partsOf), finish(response)]
    }),
    streamText: (options) => stream(llm, options)
  })
)

/**
 * A layer with the `LanguageModel` that {@link make} makes from the model service in the context.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<LanguageModel.LanguageModel, never, Llm.Llm> = Layer.effect(
  LanguageModel.LanguageModel,
  make
)

const requestOf = ({ prompt, responseFormat, toolChoice, tools }: LanguageModel.ProviderOptions): Llm.LlmRequest => ({
  instructions: prompt.content.flatMap((message) => (message.role === "system" ? message.content : [])).join("\n\n"),
  history: History.fromPrompt(prompt),
  tools,
  // `tools` are those of `oneOf` already.
  toolChoice: typeof toolChoice === "object" && "oneOf" in toolChoice ? (toolChoice.mode ?? "auto") : toolChoice,
  sampling: {},
  output:
    responseFormat.type === "json" ? { name: responseFormat.objectName, schema: responseFormat.schema } : undefined
})

const failure = (method: string, reason: AiError.AiErrorReason) =>
  AiError.make({ module: "LlmLanguageModel", method, reason })

const checkCalls = (method: string, options: LanguageModel.ProviderOptions, { content }: Llm.LlmResponse) => {
  const availableTools = options.tools.map(({ name }) => name)
  const unknown = History.toolCalls(content).find(({ name }) => !availableTools.includes(name))
  return unknown === undefined || options.toolCallValidation === "deferred"
    ? Effect.void
    : Effect.fail(failure(method, new AiError.ToolNotFoundError({ toolName: unknown.name, availableTools })))
}

type Written = Prompt.TextPartEncoded | Prompt.ReasoningPartEncoded

const isWritten = (part: Prompt.AssistantMessagePartEncoded): part is Written =>
  part.type === "text" || part.type === "reasoning"

const partsOf = (part: Prompt.AssistantMessagePartEncoded): ReadonlyArray<Response.PartEncoded> =>
  isWritten(part) ? [{ type: part.type, text: part.text, metadata: part.options }] : wholePartsOf(part)

/** What comes whole in streams too. */
const wholePartsOf = (part: Exclude<Prompt.AssistantMessagePartEncoded, Written>) => {
  const { options: metadata, ...rest } = part
  if (rest.type !== "file") return [{ ...rest, metadata }]
  const data = fileData(rest.data)
  return data === undefined ? [] : [{ type: rest.type, mediaType: rest.mediaType, data, metadata }]
}

/** The bytes of a file in base64; `undefined` if there is only a URL. */
const fileData = (data: Prompt.FilePartEncoded["data"]): string | undefined => {
  if (data instanceof Uint8Array) return Base64.encode(data)
  if (typeof data === "string") return /^(data|https?):/i.test(data) ? undefined : data
  return "_tag" in data && data._tag === "Uint8Array" ? data.base64 : undefined
}

const metadata = ({ model }: Llm.LlmResponse): ReadonlyArray<Response.ResponseMetadataPartEncoded> =>
  model === undefined ? [] : [{ type: "response-metadata", modelId: model }]

const finish = ({ finishReason, tokens }: Llm.LlmResponse): Response.FinishPartEncoded => {
  const { cachedInputTokens, cacheWriteTokens, inputTokens, outputTokens, reasoningTokens } = tokens
  return {
    type: "finish",
    reason: finishReason,
    usage: {
      inputTokens: {
        total: inputTokens,
        cacheRead: cachedInputTokens,
        cacheWrite: cacheWriteTokens,
        uncached: inputTokens - cachedInputTokens - cacheWriteTokens
      },
      outputTokens: { total: outputTokens, reasoning: reasoningTokens, text: outputTokens - reasoningTokens }
    }
  }
}

type StreamPart = Response.StreamPartEncoded

const stream = (llm: Llm.Llm["Service"], options: LanguageModel.ProviderOptions) =>
  Stream.callback<StreamPart, AiError.AiError>(
    Effect.fnUntraced(function* (queue) {
      const pieces = makePieces((part) => Queue.offerUnsafe(queue, part))
      const onDelta = (delta: Llm.Delta) => {
        if (delta.type !== "restart") pieces.add(delta)
        else if (pieces.hasAny()) Queue.failCauseUnsafe(queue, Cause.fail(startedOver(delta)))
      }
      const response = yield* llm.generate(requestOf(options), onDelta)
      yield* checkCalls("streamText", options, response)
      pieces.end(response.content)
      Queue.offerAllUnsafe(queue, [...metadata(response), finish(response)])
      yield* Queue.end(queue)
    })
  )

const startedOver = ({ message, reason }: Llm.Restart) =>
  failure(
    "streamText",
    new AiError.InternalProviderError({
      description: `The model failed (${reason}) and started over, after part of its answer was passed on: ${message}`
    })
  )

interface Block {
  readonly id: string
  readonly type: "text" | "reasoning"
  text: string
}

/** Makes the parts of a stream from the pieces of an answer, and from the whole of it what the pieces do not have. */
const makePieces = (offer: (part: StreamPart) => void) => {
  const blocks: Array<Block> = []
  const calls = new Set<string>()

  const open = (type: Block["type"]): Block => {
    const block: Block = { id: String(blocks.length), type, text: "" }
    blocks.push(block)
    offer({ type: `${type}-start`, id: block.id })
    return block
  }

  const write = (block: Block, delta: string) => {
    block.text += delta
    offer({ type: `${block.type}-delta`, id: block.id, delta })
  }

  const add = (delta: Exclude<Llm.Delta, Llm.Restart>) => {
    if (delta.type === "tool-params") {
      if (!calls.has(delta.id)) offer({ type: "tool-params-start", id: delta.id, name: delta.name })
      calls.add(delta.id)
      offer({ type: "tool-params-delta", id: delta.id, delta: delta.delta })
    } else {
      const last = blocks.at(-1)
      write(last?.type === delta.type ? last : open(delta.type), delta.delta)
    }
  }

  const end = (content: Llm.LlmResponse["content"]) => {
    const heard = new Set(blocks.map(({ type }) => type))
    const left = content.filter(isWritten)
    for (const { id, text, type } of blocks) {
      const index = left.findIndex((part) => part.type === type && part.text === text)
      const [whole] = index === -1 ? [] : left.splice(index, 1)
      offer({ type: `${type}-end`, id, metadata: whole?.options })
    }
    // A model need not stream, and reasoning may be nothing but metadata.
    for (const { options, text, type } of left) {
      if (text !== "" && heard.has(type)) continue
      const block = open(type)
      if (text !== "") write(block, text)
      offer({ type: `${type}-end`, id: block.id, metadata: options })
    }
    for (const id of calls) offer({ type: "tool-params-end", id })
    for (const part of content) if (!isWritten(part)) wholePartsOf(part).forEach(offer)
  }

  return { add, end, hasAny: () => blocks.length > 0 || calls.size > 0 }
}
