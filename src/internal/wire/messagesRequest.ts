/**
 * Messages and tools as Anthropic's Messages API wants them. Only documented fields, and what is absent is left out:
 * there is no `null` in a request.
 */
import type * as Prompt from "effect/ai/Prompt"
import * as Tool from "effect/ai/Tool"
import * as Base64 from "effect/encoding/Base64"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as ClosedSchema from "../closedSchema.ts"
import * as JsonSchema from "../jsonSchema.ts"

type Json = Readonly<Record<string, unknown>>

type Blocks = ReadonlyArray<Json>

/** A message; neighbours have different roles. */
export interface Message {
  readonly role: "user" | "assistant"
  readonly content: Blocks
}

/** The conversation. The results of tools are what a user says, before anything else. */
export const messages = (history: Iterable<Prompt.MessageEncoded>): ReadonlyArray<Message> => {
  const out: Array<{ role: Message["role"]; content: Array<Json> }> = []
  for (const message of history) {
    const role = message.role === "assistant" ? "assistant" : "user"
    const content = blocks(message)
    if (content.length === 0) continue
    const last = out.at(-1)
    if (last?.role !== role) out.push({ role, content: [...content] })
    // Thinking is refused in a message that does not begin with it.
    else last.content.push(...(isThinking(last.content[0]) ? content : content.filter((block) => !isThinking(block))))
  }
  return out
}

/** Whether the next answer may be thought about: once tools are called, only if that began with thinking. */
export const mayThink = (messages: ReadonlyArray<Message>): boolean => {
  const asked = messages.findLastIndex(
    ({ content, role }) => role === "user" && content.some((block) => block["type"] !== "tool_result")
  )
  const begun = messages[asked + 1]
  return begun === undefined || isThinking(begun.content[0])
}

const isThinking = (block: Json | undefined): boolean =>
  block?.["type"] === "thinking" || block?.["type"] === "redacted_thinking"

const blocks = (message: Prompt.MessageEncoded): Blocks => {
  switch (message.role) {
    // Instructions are no part of a history.
    case "system":
      return []
    case "user":
      return typeof message.content === "string" ? text(message.content) : message.content.flatMap(contentPart)
    case "assistant":
      return typeof message.content === "string" ? text(message.content) : assistantBlocks(message.content)
    case "tool":
      return message.content.flatMap((part) => (part.type === "tool-result" ? toolResult(part) : []))
  }
}

/** A text block, if there is something in it: others are refused. */
export const text = (text: string): Blocks => (text.trim() === "" ? [] : [{ type: "text", text }])

const contentPart = (part: Prompt.TextPartEncoded | Prompt.FilePartEncoded): Blocks => {
  if (part.type === "text") return text(part.text)
  const source = fileSource(part)
  if (part.mediaType.startsWith("image/")) return [{ type: "image", source }]
  return [{ type: "document", source, ...(part.fileName !== undefined && { title: part.fileName }) }]
}

const fileSource = ({ data, mediaType }: Prompt.FilePartEncoded): Json => {
  const file = fileText(data)
  if (/^https?:/i.test(file)) return { type: "url", url: file }
  const [, type, base64 = file] = /^data:([^;,]*);base64,(.*)$/is.exec(file) ?? []
  if (mediaType.startsWith("text/")) {
    const decoded = Base64.decodeString(base64)
    if (Result.isSuccess(decoded)) return { type: "text", media_type: "text/plain", data: decoded.success }
  }
  // The API needs a concrete type; its decoders look at the bytes anyway.
  const concrete = mediaType === "image/*" ? "image/jpeg" : mediaType
  return { type: "base64", media_type: type || concrete, data: base64 }
}

/** A file as its URL or as base64. */
const fileText = (data: Prompt.FilePartEncoded["data"]): string => {
  if (typeof data === "string") return data
  if (data instanceof Uint8Array) return Base64.encode(data)
  return "href" in data ? data.href : data.base64
}

const assistantBlocks = (content: ReadonlyArray<Prompt.AssistantMessagePartEncoded>): Blocks => {
  const blocks = content.flatMap(assistantPart)
  // Thinking that nothing follows, of an answer that was cut off, is refused.
  return blocks.slice(0, blocks.findLastIndex((block) => !isThinking(block)) + 1)
}

// What another provider executed by itself means nothing to this one, and an assistant shows no files.
const assistantPart = (part: Prompt.AssistantMessagePartEncoded): Blocks => {
  switch (part.type) {
    case "text":
      return text(part.text)
    case "reasoning":
      return thinking(part)
    case "tool-call": {
      if (part.providerExecuted === true) return []
      // Anything but an object is a model's mistake (text: arguments that are no JSON), and refused.
      const input = Predicate.isObject(part.params) ? part.params : {}
      return [{ type: "tool_use", id: toolId(part.id), name: part.name, input }]
    }
    default:
      return []
  }
}

// Ids of other providers may be empty, or have characters that are refused.
const toolId = (id: string): string =>
  id.replaceAll(/[^\w-]/g, (character) => `_${character.charCodeAt(0).toString(16)}_`) || "_"

const isInfo = Schema.is(
  Schema.Union([
    Schema.Struct({ type: Schema.Literal("thinking"), signature: Schema.String }),
    Schema.Struct({ type: Schema.Literal("redacted_thinking"), redactedData: Schema.String })
  ])
)

/** Reasoning as Anthropic wrote it. That of another provider has no signature and is left out. */
const thinking = ({ options, text }: Prompt.ReasoningPartEncoded): Blocks => {
  const own = options?.["anthropic"]
  const info = Predicate.isObject(own) ? own["info"] : undefined
  if (!isInfo(info)) return []
  return info.type === "thinking"
    ? [{ type: "thinking", thinking: text, signature: info.signature }]
    : [{ type: "redacted_thinking", data: info.redactedData }]
}

const toolResult = (part: Prompt.ToolResultPartEncoded): Blocks => {
  const { isFailure, modelOutput, result } = part
  const content =
    modelOutput?.flatMap(contentPart) ?? text(typeof result === "string" ? result : (JSON.stringify(result) ?? ""))
  // A failure has to have words.
  const shown = isFailure && content.length === 0 ? text("The call failed.") : content
  return [
    {
      type: "tool_result",
      tool_use_id: toolId(part.id),
      ...(shown.length > 0 && { content: shown }),
      ...(isFailure && { is_error: true })
    }
  ]
}

/** The definition of a tool; nothing for one that another provider defines. */
export const tool = (tool: Tool.Any): Blocks => {
  if (Tool.isProviderDefined(tool)) return []
  const description = Tool.getDescription(tool)
  const schema = JsonSchema.ofTool(tool)
  const strict = Tool.getStrictMode(tool) === true ? ClosedSchema.close(schema) : undefined
  return [
    {
      name: tool.name,
      ...(description !== undefined && { description }),
      input_schema: strict ?? schema,
      ...(strict !== undefined && { strict: true })
    }
  ]
}

/** Marks the last block, so that the prompt up to it is cached. */
export const cacheBlocks = (blocks: Blocks): Blocks =>
  blocks.map((block, i) => (i < blocks.length - 1 ? block : { ...block, cache_control: { type: "ephemeral" } }))

/**
 * Marks where this call ends and where the one before it ended: however many blocks a turn adds, the next call finds
 * what this one has cached.
 */
export const cacheMessages = (messages: ReadonlyArray<Message>): ReadonlyArray<Message> => {
  const ends = messages.filter((message) => message.role === "user").slice(-2)
  return messages.map((message) =>
    ends.includes(message) ? { ...message, content: cacheBlocks(message.content) } : message
  )
}
