/**
 * Messages and tools as OpenAI's Chat Completions API wants them. Only documented fields, and what is absent is left
 * out: there is no `null` in a request.
 */
import type * as Prompt from "effect/ai/Prompt"
import * as Tool from "effect/ai/Tool"
import * as Predicate from "effect/Predicate"
import * as FileUrl from "../fileUrl.ts"
import * as JsonSchema from "../jsonSchema.ts"
import * as StrictSchema from "../strictSchema.ts"

type Json = Readonly<Record<string, unknown>>

/** The system prompt and the conversation. */
export const messages = (instructions: string, history: Iterable<Prompt.MessageEncoded>): ReadonlyArray<Json> => {
  const out: Array<Json> = instructions === "" ? [] : [{ role: "system", content: instructions }]
  for (const message of history) {
    switch (message.role) {
      case "system": {
        out.push({ role: "system", content: message.content })
        break
      }
      case "user": {
        out.push({ role: "user", content: userContent(message.content) })
        break
      }
      case "assistant": {
        out.push({ role: "assistant", ...assistantContent(message.content) })
        break
      }
      case "tool": {
        for (const part of message.content) {
          if (part.type !== "tool-result") continue
          out.push({ role: "tool", tool_call_id: part.id, content: toolContent(part) })
        }
        break
      }
    }
  }
  return out
}

// Text alone goes as a string: many local servers know nothing else.
const userContent = (content: Prompt.UserMessageEncoded["content"]): unknown => {
  if (typeof content === "string") return content
  const [first] = content
  return content.length === 1 && first?.type === "text" ? first.text : content.map(userPart)
}

const userPart = (part: Prompt.UserMessagePartEncoded): Json => {
  if (part.type === "text") return { type: "text", text: part.text }
  if (part.mediaType.startsWith("image/")) return { type: "image_url", image_url: { url: FileUrl.of(part) } }
  return { type: "file", file: { filename: part.fileName ?? "file", file_data: FileUrl.of(part) } }
}

// Reasoning is not sent back, and what another provider executed by itself means nothing to this one.
const assistantContent = (content: Prompt.AssistantMessageEncoded["content"]): Json => {
  if (typeof content === "string") return { content }
  let text = ""
  const calls: Array<Json> = []
  for (const part of content) {
    if (part.type === "text") text += part.text
    else if (part.type === "tool-call" && part.providerExecuted !== true) {
      calls.push({
        id: part.id,
        type: "function",
        function: { name: part.name, arguments: callArguments(part.params) }
      })
    }
  }
  if (calls.length === 0) return { content: text }
  return text === "" ? { tool_calls: calls } : { content: text, tool_calls: calls }
}

// Anything but an object is a model's mistake (text: arguments that are no JSON) that strict servers refuse to see again.
const callArguments = (params: unknown): string => (Predicate.isObject(params) ? JSON.stringify(params) : "{}")

const toolContent = (part: Prompt.ToolResultPartEncoded): string => {
  if (part.modelOutput !== undefined) {
    return part.modelOutput.map((part) => (part.type === "text" ? part.text : `[${part.mediaType} omitted]`)).join("\n")
  }
  return typeof part.result === "string" ? part.result : (JSON.stringify(part.result) ?? "")
}

/** The definition of a tool; `undefined` for one that another provider defines. */
export const toolDefinition = (tool: Tool.Any): Json | undefined => {
  if (Tool.isProviderDefined(tool)) return undefined
  const description = Tool.getDescription(tool)
  const strict = Tool.getStrictMode(tool)
  const parameters = JsonSchema.ofTool(tool)
  const closed = strict === true ? StrictSchema.close(parameters) : undefined
  return {
    type: "function",
    function: {
      name: tool.name,
      ...(description !== undefined && { description }),
      parameters: closed ?? parameters,
      // Strict mode refuses what cannot be closed.
      ...(strict !== undefined && { strict: closed !== undefined })
    }
  }
}
