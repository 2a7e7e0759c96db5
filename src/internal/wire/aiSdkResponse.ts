/** Reads answers of the AI SDK's language models, whole or in parts. */
import type * as Prompt from "effect/ai/Prompt"
import type * as Response from "effect/ai/Response"
import * as Base64 from "effect/encoding/Base64"
import type * as Llm from "../../Llm.ts"
import * as ResponseParts from "../responseParts.ts"
import type * as AiSdk from "./aiSdkModel.ts"

/** An answer that is being read. */
export interface Answer {
  /** Takes in a part. */
  readonly read: (part: AiSdk.Part) => void
  /** Whether the model has finished, so that what follows can add nothing. */
  readonly isComplete: () => boolean
  /** The response, or `undefined` if the model had not finished when the answer ended. */
  readonly end: () => Llm.LlmResponse | undefined
}

/** With `onDelta` reads the parts of a stream. */
export const make = (onDelta: ((delta: Llm.Delta) => void) | undefined): Answer => {
  const parts = ResponseParts.make()
  const toolNames = new Map<string, string>()
  let finish: AiSdk.Finish | undefined
  let model: string | undefined

  const read = (part: AiSdk.Part): void => {
    switch (part.type) {
      case "text":
      case "reasoning": {
        parts.push({ type: part.type, text: part.text, ...metadata(part) })
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
        parts.append(type, delta, part.id, metadata(part).options)
        if (delta !== "") onDelta?.({ type, delta })
        if (part.type.endsWith("end")) parts.close(type, part.id)
        break
      }
      case "tool-input-start": {
        if (!part.providerExecuted) toolNames.set(part.id, part.toolName)
        break
      }
      case "tool-input-delta": {
        const name = toolNames.get(part.id)
        if (name !== undefined) onDelta?.({ type: "tool-params", id: part.id, name, delta: part.delta })
        break
      }
      case "tool-call": {
        parts.push({
          type: "tool-call",
          id: part.toolCallId,
          name: part.toolName,
          params: ResponseParts.parseParams(part.input),
          ...(part.providerExecuted && { providerExecuted: true }),
          ...metadata(part)
        })
        break
      }
      case "tool-result": {
        // Of a tool that the provider executed itself: no other is run there.
        if (part.preliminary) break
        parts.push({
          type: "tool-result",
          id: part.toolCallId,
          name: part.toolName,
          isFailure: part.isError ?? false,
          result: part.result,
          providerExecuted: true,
          ...metadata(part)
        })
        break
      }
      case "file": {
        parts.push({ type: "file", mediaType: part.mediaType, data: fileData(part.data), ...metadata(part) })
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
    }
  }

  const end = (): Llm.LlmResponse | undefined => {
    if (finish === undefined || (onDelta !== undefined && isCut(finish))) return undefined
    const content = parts.content()
    const finishReason = finishReasonOf(finish)
    // Some servers say that the model stopped although it waits for its tools.
    const waits = finishReason === "stop" || finishReason === "unknown"
    const calls = content.some((part) => part.type === "tool-call" && part.providerExecuted !== true)
    return {
      content,
      finishReason: waits && calls ? "tool-calls" : finishReason,
      tokens: tokens(finish.usage),
      model
    }
  }

  return { read, isComplete: () => finish !== undefined, end }
}

/** Whether a stream just ended: providers then say so, or finish for a reason that no server gave. */
const isCut = ({ finishReason: { raw, unified } }: AiSdk.Finish): boolean =>
  unified === "interrupted" || (raw === undefined && (unified === "other" || unified === "error"))

const finishReasonOf = ({ finishReason: { raw, unified } }: AiSdk.Finish): Response.FinishReason =>
  unified === "interrupted" || (unified === "other" && raw === undefined) ? "unknown" : unified

const metadata = ({ providerMetadata = {} }: { readonly providerMetadata?: object | undefined }) =>
  // Metadata is JSON but for members that are `undefined`, which writing it drops.
  Object.keys(providerMetadata).length === 0
    ? {}
    : { options: JSON.parse(JSON.stringify(providerMetadata)) as Prompt.ProviderOptions }

const fileData = (file: AiSdk.FileData): Prompt.FilePartEncoded["data"] => {
  if (file.type === "url") return { _tag: "URL", href: file.url.href }
  return typeof file.data === "string" ? file.data : Base64.encode(file.data)
}

const tokens = ({ inputTokens, outputTokens }: AiSdk.Finish["usage"]) => ({
  inputTokens: inputTokens.total ?? 0,
  outputTokens: outputTokens.total ?? 0,
  cachedInputTokens: inputTokens.cacheRead ?? 0,
  cacheWriteTokens: inputTokens.cacheWrite ?? 0,
  reasoningTokens: outputTokens.reasoning ?? 0
})
