/**
 * Any `LanguageModel` of `effect/ai` as an `Llm`, so that every provider package of Effect works unchanged.
 *
 * @since 0.1.0
 */
import * as AiError from "effect/ai/AiError"
import * as LanguageModel from "effect/ai/LanguageModel"
import type * as Response from "effect/ai/Response"
import type * as Tool from "effect/ai/Tool"
import type * as Toolkit from "effect/ai/Toolkit"
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as Formatter from "effect/Formatter"
import * as Layer from "effect/Layer"
import type * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as History from "../History.ts"
import * as JsonSchema from "../internal/jsonSchema.ts"
import * as ResponseParts from "../internal/responseParts.ts"
import * as Llm from "../Llm.ts"
import type { Tokens } from "../Usage.ts"

/**
 * Makes a model service from the `LanguageModel` in the context.
 *
 * **Details**
 *
 * - Calls `streamText` with `onDelta` and `generateText` without. Tools are declared but never run here, and their
 *   calls are not validated: an unknown tool or malformed arguments reach the runtime as data.
 * - `output` becomes an instruction in the system prompt, with the JSON Schema of the answer. (`generateObject` would
 *   decode the answer itself, and fail where the runtime asks the model again.)
 * - Metadata of parts, such as signatures of reasoning, is kept as their `options`, for providers that want it back.
 *
 * **Gotchas**
 *
 * - `sampling` is ignored: `LanguageModel` has no such options. Set model and temperature in the provider's own layer.
 * - Sources and approval requests of provider-executed tools have no place in a history and are left out.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<Llm.Llm["Service"], never, LanguageModel.LanguageModel> = Effect.map(
  LanguageModel.LanguageModel,
  (model) =>
    Llm.make(
      Effect.fnUntraced(function* (request, onDelta) {
        const answer = makeAnswer(onDelta)
        const call = yield* callOptions(request)
        if (onDelta === undefined) {
          const { content } = yield* model.generateText(call)
          yield* Effect.forEach(content, answer.read, { discard: true })
        } else {
          yield* Stream.runForEach(model.streamText(call), answer.read)
          if (!answer.isComplete()) return yield* failure(cut)
        }
        return answer.end()
      })
    )
)

/**
 * A layer with the model service that {@link make} makes from the `LanguageModel` in the context.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Llm.Llm, never, LanguageModel.LanguageModel> = Layer.effect(Llm.Llm, make)

const callOptions = (request: Llm.LlmRequest) =>
  Effect.try({
    try: () => ({
      prompt: History.toPrompt(request.history, instructions(request)),
      toolkit: toolkit(request.tools),
      toolChoice: request.toolChoice,
      disableToolCallResolution: true as const,
      toolCallValidation: "deferred" as const
    }),
    catch: (cause) =>
      failure(new AiError.InvalidRequestError({ description: `The request cannot be made: ${String(cause)}` }))
  })

const instructions = ({ instructions, output }: Llm.LlmRequest): string =>
  output === undefined ? instructions : JsonSchema.inWords(instructions, JsonSchema.of(output.schema))

interface AnyTool extends Tool.Tool<
  string,
  {
    readonly parameters: typeof Schema.Unknown
    readonly success: typeof Schema.Unknown
    readonly failure: typeof Schema.Unknown
    readonly failureMode: Tool.FailureMode
  }
> {}

const toolkit = (tools: ReadonlyArray<Tool.Any>): Toolkit.WithHandler<Record<string, AnyTool>> => ({
  // Calls are not decoded here and tools do not run, so that the services of their schemas are not needed.
  tools: Object.fromEntries(tools.map((tool) => [tool.name, tool as unknown as AnyTool])),
  handle: () => Effect.die("LanguageModelLlm does not run tools")
})

const failure = (reason: AiError.AiErrorReason) =>
  AiError.make({ module: "LanguageModelLlm", method: "generate", reason })

const cut = new AiError.NetworkError({
  reason: "TransportError",
  method: "POST",
  url: "LanguageModel",
  description: "The stream ended before the model had finished"
})

/** Collects an answer, from the parts of a response as from those of a stream. */
const makeAnswer = (onDelta: ((delta: Llm.Delta) => void) | undefined) => {
  const parts = ResponseParts.make()
  const toolNames = new Map<string, string>()
  let finish: Response.FinishPart | undefined
  let model: string | undefined

  const read = (part: Response.AnyPart): Effect.Effect<void, AiError.AiError> => {
    switch (part.type) {
      case "text":
      case "reasoning": {
        parts.push({ type: part.type, text: part.text, ...options(part) })
        break
      }
      case "text-start":
      case "text-delta":
      case "text-end":
      case "reasoning-start":
      case "reasoning-delta":
      case "reasoning-end": {
        const type = part.type.startsWith("text") ? "text" : "reasoning"
        const delta = "delta" in part ? part.delta : ""
        parts.append(type, delta, part.id, options(part).options)
        if (delta !== "") onDelta?.({ type, delta })
        if (part.type.endsWith("end")) parts.close(type, part.id)
        break
      }
      case "tool-params-start": {
        if (!part.providerExecuted) toolNames.set(part.id, part.name)
        break
      }
      case "tool-params-delta": {
        const name = toolNames.get(part.id)
        if (name !== undefined) onDelta?.({ type: "tool-params", id: part.id, name, delta: part.delta })
        break
      }
      case "tool-call": {
        const { id, name, params, providerExecuted } = part
        parts.push({
          type: "tool-call",
          id,
          name,
          params,
          ...(providerExecuted && { providerExecuted }),
          ...options(part)
        })
        break
      }
      case "tool-result": {
        // Of a tool that the provider executed itself: no other is run here.
        const { encodedResult, id, isFailure, name, preliminary } = part
        if (preliminary) break
        parts.push({
          type: "tool-result",
          id,
          name,
          isFailure,
          result: encodedResult,
          providerExecuted: true,
          ...options(part)
        })
        break
      }
      case "file": {
        parts.push({ type: "file", mediaType: part.mediaType, data: Base64.encode(part.data), ...options(part) })
        break
      }
      case "response-metadata": {
        model = part.modelId ?? model
        break
      }
      case "finish": {
        finish = part
        break
      }
      case "error": {
        return Effect.fail(
          AiError.isAiError(part.error)
            ? part.error
            : failure(new AiError.UnknownError({ description: Formatter.format(part.error) }))
        )
      }
    }
    return Effect.void
  }

  const end = (): Llm.LlmResponse => ({
    content: parts.content(),
    finishReason: finish?.reason ?? "unknown",
    tokens: tokens(finish?.usage),
    model
  })

  return { read, end, isComplete: () => finish !== undefined }
}

const options = ({ metadata }: Response.AnyPart): { readonly options?: Response.ProviderMetadata } =>
  Object.keys(metadata).length === 0 ? {} : { options: metadata }

const tokens = (usage: Response.Usage | undefined): Tokens => ({
  inputTokens: usage?.inputTokens.total ?? 0,
  outputTokens: usage?.outputTokens.total ?? 0,
  cachedInputTokens: usage?.inputTokens.cacheRead ?? 0,
  cacheWriteTokens: usage?.inputTokens.cacheWrite ?? 0,
  reasoningTokens: usage?.outputTokens.reasoning ?? 0
})
