/** Requests as the AI SDK's language models want them. What is absent is left out. */
import type * as Prompt from "effect/ai/Prompt"
import * as Tool from "effect/ai/Tool"
import * as Predicate from "effect/Predicate"
import type * as Llm from "../../Llm.ts"
import * as JsonSchema from "../jsonSchema.ts"
import type * as AiSdk from "./aiSdkModel.ts"

/** The options of a call; throws if there is a URL in the history that is none. */
export const callOptions = (request: Llm.LlmRequest): AiSdk.CallOptions => {
  const { output, sampling, toolChoice } = request
  const tools = request.tools.map(toolDefinition)
  return {
    prompt: messages(request.instructions, request.history),
    // A choice without tools is refused.
    ...(tools.length > 0 && { tools }),
    ...(tools.length > 0 && toolChoice !== "auto" && { toolChoice: choice(toolChoice) }),
    ...(sampling.temperature !== undefined && { temperature: sampling.temperature }),
    ...(sampling.topP !== undefined && { topP: sampling.topP }),
    ...(sampling.maxTokens !== undefined && { maxOutputTokens: sampling.maxTokens }),
    ...(sampling.stop !== undefined && sampling.stop.length > 0 && { stopSequences: [...sampling.stop] }),
    ...(sampling.seed !== undefined && { seed: sampling.seed }),
    ...(output !== undefined && {
      responseFormat: { type: "json", name: output.name, schema: JsonSchema.of(output.schema) }
    })
  }
}

const messages = (instructions: string, history: Iterable<Prompt.MessageEncoded>): Array<AiSdk.Message> => {
  const out: Array<AiSdk.Message> = instructions === "" ? [] : [{ role: "system", content: instructions }]
  for (const message of history) {
    switch (message.role) {
      case "system": {
        out.push({ role: "system", content: message.content, ...options(message) })
        break
      }
      case "user": {
        out.push({ role: "user", content: parts(message.content).map(userPart), ...options(message) })
        break
      }
      case "assistant": {
        out.push({ role: "assistant", content: parts(message.content).flatMap(assistantPart), ...options(message) })
        break
      }
      case "tool": {
        const content = message.content.flatMap((part) => (part.type === "tool-result" ? toolResult(part) : []))
        out.push({ role: "tool", content, ...options(message) })
        break
      }
    }
  }
  return out
}

const parts = <Part>(content: string | ReadonlyArray<Part>): ReadonlyArray<Part | Prompt.TextPartEncoded> =>
  typeof content === "string" ? [{ type: "text", text: content }] : content

const userPart = (part: Prompt.UserMessagePartEncoded): AiSdk.TextPart | AiSdk.FilePart =>
  part.type === "text" ? { type: "text", text: part.text, ...options(part) } : file(part)

const assistantPart = (part: Prompt.AssistantMessagePartEncoded): AiSdk.AssistantPart | [] => {
  switch (part.type) {
    case "text":
    case "reasoning": {
      return { type: part.type, text: part.text, ...options(part) }
    }
    case "file": {
      return file(part)
    }
    case "tool-call": {
      return {
        type: "tool-call",
        toolCallId: part.id,
        toolName: part.name,
        // Anything else is a model's mistake (text: arguments that are no JSON) that strict servers refuse to see again.
        input: Predicate.isObject(part.params) ? part.params : {},
        ...(part.providerExecuted === true && { providerExecuted: true }),
        ...options(part)
      }
    }
    case "tool-result": {
      return toolResult(part)
    }
    case "tool-approval-request": {
      return []
    }
  }
}

const file = (part: Prompt.FilePartEncoded): AiSdk.FilePart => ({
  type: "file",
  mediaType: part.mediaType,
  data: fileData(part.data),
  ...(part.fileName !== undefined && { filename: part.fileName }),
  ...options(part)
})

const fileData = (data: Prompt.FilePartEncoded["data"]): AiSdk.FileData => {
  if (data instanceof Uint8Array) return { type: "data", data }
  if (typeof data === "object" && "_tag" in data && data._tag === "Uint8Array")
    return { type: "data", data: data.base64 }
  const text = typeof data === "string" ? data : data.href
  // Models take the bytes of a `data:` URL, not the URL.
  const base64 = /^data:[^,]*;base64,(.*)$/is.exec(text)?.[1]
  if (base64 !== undefined) return { type: "data", data: base64 }
  return typeof data === "string" && !/^(data|https?):/i.test(data)
    ? { type: "data", data }
    : { type: "url", url: new URL(text) }
}

const toolResult = (part: Prompt.ToolResultPartEncoded): AiSdk.ToolResultPart => ({
  type: "tool-result",
  toolCallId: part.id,
  toolName: part.name,
  output: toolOutput(part),
  ...options(part)
})

const toolOutput = ({ isFailure, modelOutput, result }: Prompt.ToolResultPartEncoded): AiSdk.ToolResultOutput => {
  if (modelOutput?.some((part) => part.type === "file")) return { type: "content", value: modelOutput.map(userPart) }
  // Text alone goes as text: not every provider takes parts, and parts cannot say that the tool failed.
  const value = modelOutput?.map((part) => (part.type === "text" ? part.text : "")).join("\n") ?? result
  if (typeof value === "string") return { type: isFailure ? "error-text" : "text", value }
  // Results are encoded, which makes them JSON, except that a tool may have none.
  return { type: isFailure ? "error-json" : "json", value: (value ?? null) as AiSdk.JsonValue }
}

/** What a provider wants back, such as signatures of reasoning. */
const options = ({ options = {} }: { readonly options?: Prompt.ProviderOptions | undefined }) =>
  // Options are JSON; those that an AI SDK provider reads are the objects that it made.
  Object.keys(options).length === 0 ? {} : { providerOptions: options as AiSdk.ProviderOptions }

const toolDefinition = (tool: Tool.Any): AiSdk.ToolDefinition => {
  if (Tool.isProviderDefined(tool)) return { type: "provider", id: tool.id, name: tool.name, args: { ...tool.args } }
  const description = Tool.getDescription(tool)
  const strict = Tool.getStrictMode(tool)
  return {
    type: "function",
    name: tool.name,
    ...(description !== undefined && { description }),
    inputSchema: JsonSchema.ofTool(tool),
    ...(strict !== undefined && { strict })
  }
}

const choice = (choice: Exclude<Llm.ToolChoice, "auto">): AiSdk.ToolChoice =>
  typeof choice === "string" ? { type: choice } : { type: "tool", toolName: choice.tool }
