/** Reads answers of OpenAI's Responses API, whole or as events. */
import * as AiError from "effect/ai/AiError"
import type * as Prompt from "effect/ai/Prompt"
import type * as Response from "effect/ai/Response"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import type * as Llm from "../../Llm.ts"
import * as HttpAiError from "../httpAiError.ts"
import type * as HttpLlm from "../httpLlm.ts"
import * as ResponseParts from "../responseParts.ts"

const maybe = <S extends Schema.Top>(schema: S) => Schema.optionalKey(Schema.NullOr(schema))

/** What is new or not for us: any `type` but the known ones, as `other`. */
const other = (known: ReadonlyArray<string>) =>
  Schema.Struct({ type: Schema.String.check(Schema.makeFilter((type) => !known.includes(type))) }).pipe(
    Schema.decodeTo(
      Schema.Struct({ type: Schema.Literal("other") }),
      SchemaTransformation.transform({
        decode: () => ({ type: "other" as const }),
        encode: (): { readonly type: string } => ({ type: "other" })
      })
    )
  )

const Texts = maybe(Schema.Array(Schema.Struct({ text: maybe(Schema.String), refusal: maybe(Schema.String) })))

const Item = Schema.Union([
  Schema.Struct({
    type: Schema.Literal("message"),
    id: maybe(Schema.String),
    content: Texts,
    phase: maybe(Schema.String)
  }),
  Schema.Struct({
    type: Schema.Literal("reasoning"),
    id: maybe(Schema.String),
    content: Texts,
    summary: Texts,
    encrypted_content: maybe(Schema.String)
  }),
  Schema.Struct({
    type: Schema.Literal("function_call"),
    id: maybe(Schema.String),
    call_id: maybe(Schema.String),
    name: maybe(Schema.String),
    arguments: maybe(Schema.String)
  }),
  other(["message", "reasoning", "function_call"])
])

/** A response at its end. */
const Ended = Schema.Struct({
  status: maybe(Schema.String),
  model: maybe(Schema.String),
  error: maybe(Schema.Unknown),
  incomplete_details: maybe(Schema.Struct({ reason: maybe(Schema.String) })),
  output: maybe(Schema.Array(Item)),
  usage: maybe(
    Schema.Struct({
      input_tokens: maybe(Schema.Finite),
      output_tokens: maybe(Schema.Finite),
      input_tokens_details: maybe(Schema.Struct({ cached_tokens: maybe(Schema.Finite) })),
      output_tokens_details: maybe(Schema.Struct({ reasoning_tokens: maybe(Schema.Finite) }))
    })
  )
})

const itemEvents = ["response.output_item.added", "response.output_item.done"] as const

const endEvents = ["response.completed", "response.incomplete", "response.failed"] as const

/** The events that bring a piece of an item, and what kind of item that is. */
const deltaEvents = {
  "response.output_text.delta": "message",
  "response.refusal.delta": "message",
  "response.reasoning_summary_text.delta": "reasoning",
  "response.reasoning_text.delta": "reasoning",
  "response.function_call_arguments.delta": "function_call"
} as const

const DeltaEvent = Schema.Struct({
  // `Object.keys` knows no types.
  type: Schema.Literals(Object.keys(deltaEvents) as ReadonlyArray<keyof typeof deltaEvents>),
  output_index: maybe(Schema.Finite),
  item_id: maybe(Schema.String),
  summary_index: maybe(Schema.Finite),
  content_index: maybe(Schema.Finite),
  delta: Schema.String
})

/** A whole response, or an event of one. The `done` events of parts are left out: those of their items repeat them. */
const Message = Schema.Union([
  DeltaEvent,
  Schema.Struct({ type: Schema.Literals(itemEvents), output_index: maybe(Schema.Finite), item: Item }),
  Schema.Struct({ type: Schema.Literals(endEvents), response: Ended }),
  // By the book an error is the event, in practice it is in the event.
  Schema.Struct({
    type: Schema.Literal("error"),
    error: maybe(Schema.Unknown),
    code: maybe(Schema.Unknown),
    message: maybe(Schema.Unknown),
    param: maybe(Schema.Unknown)
  }),
  other([...Object.keys(deltaEvents), ...itemEvents, ...endEvents, "error"]),
  Schema.Struct({ ...Ended.fields, output: Schema.Array(Item) }),
  Schema.Struct({ error: Schema.Unknown })
])

const decodeMessage = Schema.decodeUnknownResult(Schema.fromJsonString(Message))

/** An item of the output that is being written. */
interface Open {
  readonly kind: (typeof deltaEvents)[keyof typeof deltaEvents]
  readonly index: number
  readonly id: string | undefined
  /** Of a call the arguments. */
  text: string
  /** What of `text` has not been passed on. */
  waiting: string
  /** What of the item the last piece belongs to. */
  part: string
  callId: string
  name: string
  /** What goes with the content part. */
  options: Readonly<Record<string, string>> | undefined
}

/** Reads a whole response, or its events up to the one that ends it. */
export const make = ({ missingId, onDelta, origin }: HttpLlm.AnswerOptions): HttpLlm.Answer => {
  const items: Array<Open> = []
  let ended: typeof Ended.Type | undefined

  // Items are told apart by their index. Servers that leave it out give them ids, or go on with the last one.
  const open = (kind: Open["kind"], index: number | null | undefined, id: string | null | undefined): Open => {
    const isSame = (item: Open) => (typeof index === "number" ? item.index === index : !id || item.id === id)
    let item = items.findLast((item) => item.kind === kind && isSame(item))
    if (item === undefined) {
      const none = { text: "", waiting: "", part: "", callId: "", name: "", options: undefined }
      item = { kind, index: index ?? items.length, id: id ?? undefined, ...none }
      items.push(item)
    }
    return item
  }

  const callId = (call: Open): string =>
    (call.callId ||= missingId(items.filter(({ kind }) => kind === "function_call").indexOf(call)))

  const write = (item: Open, delta: string): void => {
    item.text += delta
    item.waiting += delta
    // Whoever listens wants to know of what call the arguments are.
    if (item.waiting === "" || (item.kind === "function_call" && item.name === "")) return
    onDelta?.(deltaOf(item, item.waiting))
    item.waiting = ""
  }

  const deltaOf = (item: Open, delta: string): Llm.Delta =>
    item.kind === "function_call"
      ? { type: "tool-params", id: callId(item), name: item.name, delta }
      : { type: item.kind === "message" ? "text" : "reasoning", delta }

  const readDelta = (event: typeof DeltaEvent.Type): void => {
    if (event.delta === "") return
    const item = open(deltaEvents[event.type], event.output_index, event.item_id)
    const part = `${event.type} ${event.summary_index ?? event.content_index}`
    const isNext = item.kind === "reasoning" && item.text !== "" && item.part !== part
    item.part = part
    write(item, isNext ? paragraph + event.delta : event.delta)
  }

  /** Reads an item that begins or is complete: it adds what has not been streamed, and changes nothing that has. */
  const readItem = (item: typeof Item.Type, index: number | null | undefined): void => {
    if (item.type === "other") return
    const opened = open(item.type, index, item.id)
    if (item.type === "function_call") {
      opened.callId ||= item.call_id ?? ""
      opened.name ||= item.name ?? ""
    } else if (item.type === "reasoning") {
      // The server wants both back or none: it does not keep items.
      if (item.id && item.encrypted_content) {
        opened.options = { itemId: item.id, encryptedContent: item.encrypted_content }
      }
    } else if (item.phase) {
      opened.options = { phase: item.phase }
    }
    const text = textOf(item)
    write(opened, text.startsWith(opened.text) ? text.slice(opened.text.length) : "")
  }

  const readEnd = (response: typeof Ended.Type, status: string | null | undefined) => {
    const { error } = response
    if (status === "failed" || (error !== undefined && error !== null)) {
      return HttpAiError.fromBody(origin, { error: error ?? "The response failed" })
    }
    ended = { ...response, status: status ?? null }
    // What has been streamed is here again, and some servers leave it out.
    if (items.length === 0) response.output?.forEach(readItem)
    return undefined
  }

  const partOf = (item: Open): Prompt.AssistantMessagePartEncoded => {
    const { kind, name, options, text } = item
    if (kind === "function_call") {
      return { type: "tool-call", id: callId(item), name, params: ResponseParts.parseParams(text) }
    }
    return {
      type: kind === "message" ? "text" : "reasoning",
      text,
      ...(options !== undefined && { options: { openai: options } })
    }
  }

  return {
    read: (data) => {
      // Some servers send the end marker of Chat Completions, some keep the connection alive with events of nothing.
      if (data === "[DONE]" || data === "") return undefined
      const decoded = decodeMessage(data)
      if (Result.isFailure(decoded)) {
        return invalid(origin.scrub(`Neither a response nor an event of one\nReceived: ${data.slice(0, 200)}`))
      }
      const message = decoded.success
      if (!("type" in message)) {
        return "output" in message ? readEnd(message, message.status) : HttpAiError.fromBody(origin, message)
      }
      switch (message.type) {
        case "other": {
          return undefined
        }
        case "error": {
          const { code, error, message: words, param } = message
          return HttpAiError.fromBody(origin, { error: error ?? { code, message: words, param } })
        }
        case "response.output_item.added":
        case "response.output_item.done": {
          readItem(message.item, message.output_index)
          return undefined
        }
        case "response.completed":
        case "response.incomplete":
        case "response.failed": {
          return readEnd(message.response, message.type.slice("response.".length))
        }
        default: {
          readDelta(message)
          return undefined
        }
      }
    },
    isComplete: () => ended !== undefined,
    end: () => {
      if (ended === undefined) return Result.fail(invalid("The response has no output"))
      const content = items
        .filter(
          ({ kind, options, text }) => kind === "function_call" || text !== "" || (kind === "reasoning" && options)
        )
        .toSorted((a, b) => a.index - b.index)
        .map(partOf)
      return Result.succeed({
        content,
        finishReason: finishReason(ended, content),
        tokens: tokens(ended.usage),
        model: ended.model ?? undefined
      })
    }
  }
}

/** What is between the parts of a reasoning item, which are paragraphs. */
const paragraph = "\n\n"

const textOf = (item: Exclude<typeof Item.Type, { readonly type: "other" }>): string => {
  if (item.type === "function_call") return item.arguments ?? ""
  if (item.type === "message") return (item.content ?? []).map(({ refusal, text }) => text ?? refusal ?? "").join("")
  return [...(item.content ?? []), ...(item.summary ?? [])].flatMap(({ text }) => text || []).join(paragraph)
}

const finishReason = (
  { incomplete_details, status }: typeof Ended.Type,
  content: ReadonlyArray<Prompt.AssistantMessagePartEncoded>
): Response.FinishReason => {
  if (status === "incomplete") return cuts.get(incomplete_details?.reason) ?? "other"
  if (content.some((part) => part.type === "tool-call")) return "tool-calls"
  if (status === null) return "unknown"
  return status === "completed" ? "stop" : "other"
}

const cuts = new Map<string | null | undefined, Response.FinishReason>([
  ["max_output_tokens", "length"],
  ["content_filter", "content-filter"]
])

const invalid = (description: string) => new AiError.InvalidResponseError({ description })

const tokens = (usage: (typeof Ended.Type)["usage"]) => ({
  inputTokens: usage?.input_tokens ?? 0,
  outputTokens: usage?.output_tokens ?? 0,
  cachedInputTokens: usage?.input_tokens_details?.cached_tokens ?? 0,
  // Caching is not priced apart.
  cacheWriteTokens: 0,
  reasoningTokens: usage?.output_tokens_details?.reasoning_tokens ?? 0
})
