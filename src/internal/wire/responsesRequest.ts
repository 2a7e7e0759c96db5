/**
 * Messages and tools as OpenAI's Responses API wants them. Only documented fields, and what is absent is left out.
 * Nothing refers to what the server may have stored.
 */
import type * as Prompt from "effect/ai/Prompt"
import * as Tool from "effect/ai/Tool"
import * as Predicate from "effect/Predicate"
import * as FileUrl from "../fileUrl.ts"
import * as JsonSchema from "../jsonSchema.ts"
import * as StrictSchema from "../strictSchema.ts"

type Json = Readonly<Record<string, unknown>>

/** The conversation as input items. */
export const input = (history: Iterable<Prompt.MessageEncoded>): ReadonlyArray<Json> => {
  const items: Array<Json> = []
  for (const message of history) {
    switch (message.role) {
      case "system": {
        items.push(messageItem("system", [{ type: "input_text", text: message.content }]))
        break
      }
      case "user": {
        items.push(messageItem("user", inputContent(message.content)))
        break
      }
      case "assistant": {
        items.push(...assistantItems(message.content))
        break
      }
      case "tool": {
        for (const part of message.content) {
          if (part.type !== "tool-result") continue
          items.push({ type: "function_call_output", call_id: part.id, output: callOutput(part) })
        }
        break
      }
    }
  }
  return items
}

const messageItem = (role: string, content: ReadonlyArray<Json>): Json => ({ type: "message", role, content })

const inputContent = (content: Prompt.UserMessageEncoded["content"]): ReadonlyArray<Json> =>
  typeof content === "string" ? [{ type: "input_text", text: content }] : content.map(inputPart)

const inputPart = (part: Prompt.UserMessagePartEncoded): Json => {
  if (part.type === "text") return { type: "input_text", text: part.text }
  const url = FileUrl.of(part)
  if (part.mediaType.startsWith("image/")) return { type: "input_image", image_url: url }
  return url.startsWith("data:")
    ? { type: "input_file", filename: part.fileName ?? "file", file_data: url }
    : { type: "input_file", file_url: url }
}

// Without the ids of messages and calls, which are optional: a call whose id the server knows it refuses without the
// reasoning that came before it, which may have been trimmed.
const assistantItems = (content: Prompt.AssistantMessageEncoded["content"]): ReadonlyArray<Json> => {
  if (typeof content === "string") return [outputMessage(content)]
  const items: Array<Json> = []
  const reasoningIds = new Set<string>()
  for (const part of content) {
    const own = openAiOptions(part)
    if (part.type === "text" && part.text !== "") {
      items.push({ ...outputMessage(part.text), ...(Predicate.isString(own.phase) && { phase: own.phase }) })
    } else if (part.type === "tool-call" && part.providerExecuted !== true) {
      items.push({
        type: "function_call",
        call_id: part.id,
        name: part.name,
        arguments: callArguments(part.params)
      })
    } else if (part.type === "reasoning" && Predicate.isString(own.itemId)) {
      // The server has not kept what it did not encrypt.
      if (!Predicate.isString(own.encryptedContent) || reasoningIds.has(own.itemId)) continue
      reasoningIds.add(own.itemId)
      items.push({
        type: "reasoning",
        id: own.itemId,
        encrypted_content: own.encryptedContent,
        summary: part.text === "" ? [] : [{ type: "summary_text", text: part.text }]
      })
    }
  }
  // Reasoning that led to nothing is refused.
  return items.slice(0, items.findLastIndex((item) => item["type"] !== "reasoning") + 1)
}

const outputMessage = (text: string): Json => messageItem("assistant", [{ type: "output_text", text }])

/** What this provider has kept with a part, or whoever made it. */
const openAiOptions = ({ options }: Prompt.AssistantMessagePartEncoded): Json => {
  const own = options?.["openai"]
  return Predicate.isObject(own) ? own : {}
}

// Anything but an object is a model's mistake (text: arguments that are no JSON) that strict servers refuse to see again.
const callArguments = (params: unknown): string => (Predicate.isObject(params) ? JSON.stringify(params) : "{}")

const callOutput = ({ modelOutput, result }: Prompt.ToolResultPartEncoded): unknown => {
  if (modelOutput !== undefined) return modelOutput.map(inputPart)
  return typeof result === "string" ? result : (JSON.stringify(result) ?? "")
}

/** The definition of a tool; `undefined` for one that a provider defines. */
export const toolDefinition = (tool: Tool.Any): Json | undefined => {
  if (Tool.isProviderDefined(tool)) return undefined
  const description = Tool.getDescription(tool)
  const parameters = JsonSchema.ofTool(tool)
  // The API's default is strict, for which many schemas do not qualify.
  const closed = Tool.getStrictMode(tool) === true ? StrictSchema.close(parameters) : undefined
  return {
    type: "function",
    name: tool.name,
    ...(description !== undefined && { description }),
    parameters: closed ?? parameters,
    strict: closed !== undefined
  }
}
