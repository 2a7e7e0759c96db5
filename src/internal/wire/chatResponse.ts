/**
 * Reads answers of OpenAI's Chat Completions API, whole or in chunks, by the book or as the many servers that speak
 * it bend it.
 */
import * as AiError from "effect/ai/AiError"
import type * as Response from "effect/ai/Response"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as HttpAiError from "../httpAiError.ts"
import type * as HttpLlm from "../httpLlm.ts"
import * as ResponseParts from "../responseParts.ts"

const maybe = <S extends Schema.Top>(schema: S) => Schema.optionalKey(Schema.NullOr(schema))

const Message = Schema.Struct({
  content: maybe(Schema.String),
  refusal: maybe(Schema.String),
  // llama.cpp and older versions of vLLM; then OpenRouter and newer ones. Some send the same text as both.
  reasoning_content: maybe(Schema.String),
  reasoning: maybe(Schema.String),
  tool_calls: maybe(
    Schema.Array(
      Schema.Struct({
        index: maybe(Schema.Finite),
        id: maybe(Schema.String),
        // The arguments are JSON text by the book, an object on some servers.
        function: maybe(Schema.Struct({ name: maybe(Schema.String), arguments: maybe(Schema.Unknown) }))
      })
    )
  )
})

/** A whole response or a chunk of one: they differ in the name of the message only. */
const Completion = Schema.Struct({
  model: maybe(Schema.String),
  choices: maybe(
    Schema.Array(
      Schema.Struct({
        message: maybe(Message),
        delta: maybe(Message),
        finish_reason: maybe(Schema.String),
        // OpenRouter, when the provider behind it fails.
        error: maybe(Schema.Unknown)
      })
    )
  ),
  usage: maybe(
    Schema.Struct({
      prompt_tokens: maybe(Schema.Finite),
      completion_tokens: maybe(Schema.Finite),
      prompt_tokens_details: maybe(Schema.Struct({ cached_tokens: maybe(Schema.Finite) })),
      completion_tokens_details: maybe(Schema.Struct({ reasoning_tokens: maybe(Schema.Finite) }))
    })
  ),
  error: maybe(Schema.Unknown),
  // Older versions of vLLM send an error in place of a chunk: its `object` is "error".
  object: maybe(Schema.Unknown),
  message: maybe(Schema.Unknown),
  type: maybe(Schema.Unknown),
  code: maybe(Schema.Unknown)
})

const decodeCompletion = Schema.decodeUnknownResult(Schema.fromJsonString(Completion))

const finishReasons = new Map<string | undefined, Response.FinishReason>([
  [undefined, "unknown"],
  ["stop", "stop"],
  ["length", "length"],
  ["content_filter", "content-filter"],
  ["tool_calls", "tool-calls"],
  ["function_call", "tool-calls"]
])

/** Reads a whole response, or its chunks and the `[DONE]` behind the last one. */
export const make = (options: HttpLlm.AnswerOptions): HttpLlm.Answer => {
  const { onDelta, origin } = options
  const parts = ResponseParts.make(options.missingId)
  let hasChoice = false
  let isDone = false
  let finish: string | undefined
  let usage: typeof Completion.Type.usage
  let model: string | undefined

  const write = (type: "text" | "reasoning", delta: string | null | undefined): void => {
    if (!delta) return
    parts.append(type, delta)
    onDelta?.({ type, delta })
  }

  const readMessage = (message: typeof Message.Type): void => {
    write("reasoning", message.reasoning_content || message.reasoning)
    write("text", message.content)
    write("text", message.refusal)
    for (const { function: fn, id, index } of message.tool_calls ?? []) {
      const args = fn?.arguments ?? ""
      const params = typeof args === "string" ? args : JSON.stringify(args)
      const delta = parts.call({ id, index, name: fn?.name, params })
      if (delta !== undefined) onDelta?.(delta)
    }
  }

  return {
    read: (data) => {
      isDone ||= data === "[DONE]"
      // Some servers keep the connection alive with events of nothing.
      if (isDone || data === "") return undefined
      const decoded = decodeCompletion(data)
      if (Result.isFailure(decoded)) {
        return invalid(origin.scrub(`${decoded.failure.message}\nReceived: ${data.slice(0, 200)}`))
      }
      const completion = decoded.success
      const problem = problemOf(completion)
      if (problem !== undefined) return HttpAiError.fromBody(origin, problem)
      usage = completion.usage ?? usage
      model = completion.model ?? model
      const choice = completion.choices?.[0]
      if (choice === undefined) return undefined
      hasChoice = true
      readMessage(choice.delta ?? choice.message ?? {})
      // Some servers say nothing as "" rather than null.
      finish = choice.finish_reason || finish
      return undefined
    },
    isComplete: () => isDone || finish !== undefined,
    end: () => {
      if (!hasChoice) return Result.fail(invalid("The response has no choices"))
      // A message that comes whole has no order of text and calls. One in pieces is the same message.
      const content = parts.content().toSorted((a, b) => Number(isCall(a)) - Number(isCall(b)))
      const finishReason = finishReasons.get(finish) ?? "other"
      // Some servers say that the model stopped although it waits for its tools.
      const waits = finishReason === "stop" || finishReason === "unknown"
      return Result.succeed({
        content,
        finishReason: waits && content.some(isCall) ? "tool-calls" : finishReason,
        tokens: tokens(usage),
        model
      })
    }
  }
}

/** What says that the model failed, if that is what a server says. */
const problemOf = (completion: typeof Completion.Type): unknown => {
  const choice = completion.choices?.[0]
  if (isPresent(completion.error) || completion.object === "error") return completion
  if (isPresent(choice?.error)) return choice
  return choice?.finish_reason === "error" ? { error: "The model stopped because of an error" } : undefined
}

const isPresent = (u: unknown): boolean => u !== undefined && u !== null

const isCall = (part: { readonly type: string }): boolean => part.type === "tool-call"

const invalid = (description: string) => new AiError.InvalidResponseError({ description })

const tokens = (usage: typeof Completion.Type.usage) => ({
  inputTokens: usage?.prompt_tokens ?? 0,
  outputTokens: usage?.completion_tokens ?? 0,
  cachedInputTokens: usage?.prompt_tokens_details?.cached_tokens ?? 0,
  // Caching is not priced apart.
  cacheWriteTokens: 0,
  reasoningTokens: usage?.completion_tokens_details?.reasoning_tokens ?? 0
})
