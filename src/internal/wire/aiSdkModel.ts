/**
 * The AI SDK's language model specification, version 4, as far as it is used here.
 *
 * These types stand in for those of `@ai-sdk/provider`: an import of them, of types only even, would break the types of
 * everybody who has not installed that package themselves. What is sent is written down exactly, so that a real model
 * type-checks as a {@link Model} only if it takes it; of what comes back, only what is read.
 */

type Json = Readonly<Record<string, unknown>>

// The mutable and exact members below are the specification's: it would not take readonly or `undefined` ones.

/** Options of messages and parts, by provider. */
export type ProviderOptions = Record<string, JsonObject>
export interface JsonObject {
  [key: string]: JsonValue
}
export type JsonValue = null | string | number | boolean | JsonObject | Array<JsonValue>

interface Optioned {
  providerOptions?: ProviderOptions
}

export type FileData = { type: "data"; data: Uint8Array | string } | { type: "url"; url: URL }

export type TextPart = { type: "text"; text: string } & Optioned
export type FilePart = { type: "file"; filename?: string; data: FileData; mediaType: string } & Optioned
export type ReasoningPart = { type: "reasoning"; text: string } & Optioned
export type ToolCallPart = {
  type: "tool-call"
  toolCallId: string
  toolName: string
  input: unknown
  providerExecuted?: boolean
} & Optioned
export type ToolResultPart = {
  type: "tool-result"
  toolCallId: string
  toolName: string
  output: ToolResultOutput
} & Optioned

export type ToolResultOutput =
  | { type: "text" | "error-text"; value: string }
  | { type: "json" | "error-json"; value: JsonValue }
  | { type: "content"; value: Array<TextPart | FilePart> }

export type AssistantPart = TextPart | FilePart | ReasoningPart | ToolCallPart | ToolResultPart

export type Message = (
  | { role: "system"; content: string }
  | { role: "user"; content: Array<TextPart | FilePart> }
  | { role: "assistant"; content: Array<AssistantPart> }
  | { role: "tool"; content: Array<ToolResultPart> }
)
  & Optioned

export type ToolDefinition =
  | { type: "function"; name: string; description?: string; inputSchema: object; strict?: boolean }
  | { type: "provider"; id: `${string}.${string}`; name: string; args: Record<string, unknown> }

export type ToolChoice = { type: "none" | "required" } | { type: "tool"; toolName: string }

/** One model call. */
export interface CallOptions {
  prompt: Array<Message>
  maxOutputTokens?: number
  temperature?: number
  topP?: number
  stopSequences?: Array<string>
  seed?: number
  responseFormat?: { type: "json"; schema: object; name: string }
  tools?: Array<ToolDefinition>
  toolChoice?: ToolChoice
  abortSignal?: AbortSignal
}

interface Described {
  readonly providerMetadata?: Json | undefined
}

/** A part of an answer, whole or streamed. */
export type Part =
  | ({ readonly type: "text" | "reasoning"; readonly text: string } & Described)
  | ({
      readonly type: "text-start" | "reasoning-start" | "text-end" | "reasoning-end"
      readonly id: string
    } & Described)
  | ({ readonly type: "text-delta" | "reasoning-delta"; readonly id: string; readonly delta: string } & Described)
  | {
      readonly type: "tool-input-start"
      readonly id: string
      readonly toolName: string
      readonly providerExecuted?: boolean | undefined
    }
  | { readonly type: "tool-input-delta"; readonly id: string; readonly delta: string }
  | ({
      readonly type: "tool-call"
      readonly toolCallId: string
      readonly toolName: string
      /** JSON text, as the model wrote it. */
      readonly input: string
      readonly providerExecuted?: boolean | undefined
    } & Described)
  | ({
      readonly type: "tool-result"
      readonly toolCallId: string
      readonly toolName: string
      readonly result: unknown
      readonly isError?: boolean | undefined
      readonly preliminary?: boolean | undefined
    } & Described)
  | ({ readonly type: "file"; readonly mediaType: string; readonly data: FileData } & Described)
  | ({ readonly type: "response-metadata" } & ResponseMetadata)
  | ({ readonly type: "finish" } & Finish)
  | { readonly type: "error"; readonly error: unknown }
  | {
      readonly type:
        | "custom"
        | "ping"
        | "raw"
        | "reasoning-file"
        | "source"
        | "stream-start"
        | "tool-approval-request"
        | "tool-input-end"
    }

interface ResponseMetadata {
  readonly modelId?: string | undefined
}

/** How and at what cost a model finished. */
export interface Finish {
  readonly finishReason: {
    readonly unified: "stop" | "length" | "content-filter" | "tool-calls" | "error" | "interrupted" | "other"
    /** The provider's own word. */
    readonly raw: string | undefined
  }
  readonly usage: {
    readonly inputTokens: {
      readonly total: number | undefined
      readonly cacheRead: number | undefined
      readonly cacheWrite: number | undefined
    }
    readonly outputTokens: { readonly total: number | undefined; readonly reasoning: number | undefined }
  }
}

/** A whole answer. */
export interface Generated extends Finish {
  readonly content: ReadonlyArray<Part>
  readonly response?: ResponseMetadata | undefined
}

/** A language model of the AI SDK. */
export interface Model {
  readonly specificationVersion: "v4"
  /** The provider and its API, such as `openai.chat`. */
  readonly provider: string
  readonly modelId: string
  readonly doGenerate: (options: CallOptions) => PromiseLike<Generated>
  readonly doStream: (options: CallOptions) => PromiseLike<{ readonly stream: ReadableStream<Part> }>
}
