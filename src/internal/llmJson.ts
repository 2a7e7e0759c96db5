/**
 * Model calls as JSON: what makes a request what it is, and the schema of responses.
 */
import * as Prompt from "effect/ai/Prompt"
import * as Response from "effect/ai/Response"
import * as Tool from "effect/ai/Tool"
import * as Schema from "effect/Schema"
import * as History from "../History.ts"
import type { LlmRequest, LlmResponse } from "../Llm.ts"
import * as Usage from "../Usage.ts"
import * as JsonSchema from "./jsonSchema.ts"

const encodeHistory = Schema.encodeSync(History.History)

/** All that makes a request what it is. Files are base64 or URLs. */
export const ofRequest = ({ history, instructions, output, sampling, toolChoice, tools }: LlmRequest) => ({
  instructions,
  messages: encodeHistory(history),
  tools: tools.map((tool) => ({
    name: tool.name,
    description: Tool.getDescription(tool),
    strict: Tool.getStrictMode(tool),
    schema: JsonSchema.ofTool(tool),
    args: Tool.isProviderDefined(tool) ? tool.args : undefined
  })),
  toolChoice,
  sampling,
  output: output && { name: output.name, schema: JsonSchema.of(output.schema) }
})

/** A response; the bytes of files come back as base64. */
export const LlmResponseJson: Schema.Codec<LlmResponse, unknown> = Schema.Struct({
  content: Schema.Array(Schema.toEncoded(Prompt.AssistantMessagePart)),
  finishReason: Response.FinishReason,
  tokens: Usage.Tokens,
  model: Schema.UndefinedOr(Schema.String)
})
