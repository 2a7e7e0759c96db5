/** Reads answers of Anthropic's Messages API, whole or as events. */
import * as AiError from "effect/ai/AiError"
import type * as Response from "effect/ai/Response"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as HttpAiError from "../httpAiError.ts"
import type * as HttpLlm from "../httpLlm.ts"
import * as ResponseParts from "../responseParts.ts"

const maybe = <S extends Schema.Top>(schema: S) => Schema.optionalKey(Schema.NullOr(schema))

interface Member extends Schema.Codec<{ readonly type: string }, unknown> {
  readonly fields: { readonly type: { readonly literal: string } }
}

/** Decodes a union told apart by `type`. What is of another type is `undefined`: there will be more of them. */
const oneOf = <const Members extends ReadonlyArray<Member>>(members: Members) => {
  const types = new Set(members.map((member) => member.fields.type.literal))
  const decode = Schema.decodeUnknownResult(Schema.Union(members))
  return (u: unknown) =>
    Predicate.hasProperty(u, "type") && typeof u.type === "string" && !types.has(u.type)
      ? Result.succeed(undefined)
      : decode(u)
}

const decodeBlock = oneOf([
  Schema.Struct({ type: Schema.Literal("text"), text: Schema.String }),
  Schema.Struct({ type: Schema.Literal("thinking"), thinking: Schema.String, signature: maybe(Schema.String) }),
  Schema.Struct({ type: Schema.Literal("redacted_thinking"), data: Schema.String }),
  Schema.Struct({ type: Schema.Literal("tool_use"), id: Schema.String, name: Schema.String, input: Schema.Unknown })
])

const decodeDelta = oneOf([
  Schema.Struct({ type: Schema.Literal("text_delta"), text: Schema.String }),
  Schema.Struct({ type: Schema.Literal("thinking_delta"), thinking: Schema.String }),
  Schema.Struct({ type: Schema.Literal("signature_delta"), signature: Schema.String }),
  Schema.Struct({ type: Schema.Literal("input_json_delta"), partial_json: Schema.String })
])

const Usage = Schema.Struct({
  input_tokens: maybe(Schema.Finite),
  cache_creation_input_tokens: maybe(Schema.Finite),
  cache_read_input_tokens: maybe(Schema.Finite),
  output_tokens: maybe(Schema.Finite),
  output_tokens_details: maybe(Schema.Struct({ thinking_tokens: maybe(Schema.Finite) }))
})

const Message = Schema.Struct({
  type: Schema.Literal("message"),
  model: maybe(Schema.String),
  content: Schema.Array(Schema.Unknown),
  stop_reason: maybe(Schema.String),
  usage: maybe(Usage)
})

const index = Schema.Finite

const decodeEvent = oneOf([
  Message,
  Schema.Struct({ type: Schema.Literal("message_start"), message: Message }),
  Schema.Struct({ type: Schema.Literal("content_block_start"), index, content_block: Schema.Unknown }),
  Schema.Struct({ type: Schema.Literal("content_block_delta"), index, delta: Schema.Unknown }),
  Schema.Struct({
    type: Schema.Literal("message_delta"),
    delta: Schema.Struct({ stop_reason: maybe(Schema.String) }),
    usage: maybe(Usage)
  }),
  Schema.Struct({ type: Schema.Literal("message_stop") }),
  Schema.Struct({ type: Schema.Literal("error"), error: Schema.Unknown, request_id: maybe(Schema.String) })
])

const parse = Schema.decodeUnknownResult(Schema.fromJsonString(Schema.Unknown))

const finishReasons = new Map<string | undefined, Response.FinishReason>([
  [undefined, "unknown"],
  ["end_turn", "stop"],
  ["stop_sequence", "stop"],
  ["max_tokens", "length"],
  ["model_context_window_exceeded", "length"],
  ["tool_use", "tool-calls"],
  ["refusal", "content-filter"],
  ["pause_turn", "pause"]
])

/** What reading has come to: nothing, or what is wrong. */
type Read = Result.Result<unknown, Schema.SchemaError | AiError.AiErrorReason>

/** Reads a whole response, or the events of one up to `message_stop`. */
export const make = (options: HttpLlm.AnswerOptions): HttpLlm.Answer => {
  const { onDelta, origin } = options
  const parts = ResponseParts.make(options.missingId)
  const toolBlocks = new Set<number>()
  let hasMessage = false
  let isDone = false
  let finish: string | undefined
  let model: string | undefined
  const tokens = { input: 0, cacheWrites: 0, cacheReads: 0, output: 0, thinking: 0 }

  const write = (type: "text" | "reasoning", index: number, delta: string): void => {
    if (delta === "") return
    parts.append(type, delta, String(index))
    onDelta?.({ type, delta })
  }

  /** Notes what Anthropic wants back with the reasoning. */
  const note = (index: number, info: Readonly<Record<string, string>>): void =>
    parts.append("reasoning", "", String(index), { anthropic: { info } })

  const call = (piece: ResponseParts.CallPiece): void => {
    const delta = parts.call(piece)
    if (delta !== undefined) onDelta?.(delta)
  }

  const readBlock = (index: number, json: unknown): Read =>
    Result.map(decodeBlock(json), (block) => {
      switch (block?.type) {
        case "text": {
          write("text", index, block.text)
          break
        }
        case "thinking": {
          write("reasoning", index, block.thinking)
          if (block.signature) note(index, { type: "thinking", signature: block.signature })
          break
        }
        case "redacted_thinking": {
          note(index, { type: "redacted_thinking", redactedData: block.data })
          break
        }
        case "tool_use": {
          toolBlocks.add(index)
          // In a stream the arguments begin as an empty object.
          const isEmpty = Predicate.isObject(block.input) && Object.keys(block.input).length === 0
          call({ index, id: block.id, name: block.name, params: isEmpty ? "" : JSON.stringify(block.input) })
          break
        }
      }
    })

  const readDelta = (index: number, json: unknown): Read =>
    Result.map(decodeDelta(json), (delta) => {
      switch (delta?.type) {
        case "text_delta": {
          write("text", index, delta.text)
          break
        }
        case "thinking_delta": {
          write("reasoning", index, delta.thinking)
          break
        }
        case "signature_delta": {
          note(index, { type: "thinking", signature: delta.signature })
          break
        }
        case "input_json_delta": {
          // Tools that the server runs itself have arguments too.
          if (toolBlocks.has(index)) call({ index, params: delta.partial_json })
          break
        }
      }
    })

  /** Counts are those of the answer so far; what is absent has not changed. */
  const readUsage = (usage: typeof Usage.Type | null | undefined): void => {
    tokens.input = usage?.input_tokens ?? tokens.input
    tokens.cacheWrites = usage?.cache_creation_input_tokens ?? tokens.cacheWrites
    tokens.cacheReads = usage?.cache_read_input_tokens ?? tokens.cacheReads
    tokens.output = usage?.output_tokens ?? tokens.output
    tokens.thinking = usage?.output_tokens_details?.thinking_tokens ?? tokens.thinking
  }

  const readMessage = (message: typeof Message.Type): Read => {
    hasMessage = true
    model = message.model ?? undefined
    finish = message.stop_reason ?? undefined
    readUsage(message.usage)
    return Result.all(message.content.map((block, index) => readBlock(index, block)))
  }

  const readEvent = (json: unknown): Read =>
    Result.flatMap(decodeEvent(json), (event): Read => {
      switch (event?.type) {
        case "message":
          return readMessage(event)
        case "message_start":
          return readMessage(event.message)
        case "content_block_start":
          return readBlock(event.index, event.content_block)
        case "content_block_delta":
          return readDelta(event.index, event.delta)
        case "message_delta": {
          finish = event.delta.stop_reason ?? finish
          readUsage(event.usage)
          break
        }
        case "message_stop": {
          isDone = true
          break
        }
        case "error":
          return Result.fail(HttpAiError.fromBody(origin, event))
      }
      return Result.void
    })

  return {
    read: (data) => {
      // Some servers end with an event that is not JSON.
      if (isDone || data === "") return undefined
      const read = Result.flatMap(parse(data), readEvent)
      if (Result.isSuccess(read)) return undefined
      return Schema.isSchemaError(read.failure)
        ? invalid(origin.scrub(`${read.failure.message}\nReceived: ${data.slice(0, 200)}`))
        : read.failure
    },
    isComplete: () => isDone,
    end: () =>
      hasMessage
        ? Result.succeed({
            content: parts.content(),
            finishReason: finishReasons.get(finish) ?? "other",
            tokens: {
              inputTokens: tokens.input + tokens.cacheWrites + tokens.cacheReads,
              outputTokens: tokens.output,
              cachedInputTokens: tokens.cacheReads,
              cacheWriteTokens: tokens.cacheWrites,
              reasoningTokens: tokens.thinking
            },
            model
          })
        : Result.fail(invalid("The response has no message"))
  }
}

const invalid = (description: string) => new AiError.InvalidResponseError({ description })
