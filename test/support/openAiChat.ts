/** OpenAI's Chat Completions API, as a server that plays the scenarios of `LlmConformance`. */
import type * as Response from "effect/ai/Response"
import * as LlmConformance from "../../src/testing/LlmConformance.ts"
import type { Reply } from "./openAiServer.ts"

type Piece = LlmConformance.Piece

/** What the API replies to one request. */
export const play = (scenario: LlmConformance.Scenario, request: { readonly isStream: boolean }): Reply => {
  switch (scenario._tag) {
    case "Answer": {
      return {
        body: request.isStream ? [...chunks(scenario.pieces, scenario.model), ...end(scenario)] : whole(scenario)
      }
    }
    case "Failure": {
      const { error, headers = {}, status } = failures[scenario.failure]
      return { status, headers, body: JSON.stringify({ error }) }
    }
    case "Truncated": {
      return { body: beginning(scenario.pieces, request.isStream) }
    }
    case "Reset": {
      return { body: beginning(scenario.pieces, request.isStream), ending: "destroy" }
    }
    case "Stalled": {
      return { body: beginning(scenario.pieces, request.isStream), ending: "hang" }
    }
    case "Malformed": {
      const body = JSON.stringify({ ...head("chat.completion"), choices: "none" })
      return { body: request.isStream ? [`data: ${body}\n\n`] : body }
    }
    case "Silent": {
      return { ending: "silence" }
    }
  }
}

type Answer = Extract<LlmConformance.Scenario, { readonly _tag: "Answer" }>

const head = (object: string, model = "gpt-5.1") => ({ id: "chatcmpl-1", object, created: 1_760_000_000, model })

/** The events of a stream, one for each piece. */
const chunks = (pieces: ReadonlyArray<Piece>, model?: string): ReadonlyArray<string> =>
  [{ role: "assistant", content: "" }, ...pieces.map(delta)].map((delta) => chunk(delta, null, model))

const chunk = (delta: object, finish_reason: string | null, model?: string): string =>
  event({ ...head("chat.completion.chunk", model), choices: [{ index: 0, delta, logprobs: null, finish_reason }] })

const event = (data: unknown): string => `data: ${JSON.stringify(data)}\n\n`

const delta = (piece: Piece): object => {
  switch (piece.type) {
    case "text": {
      return { content: piece.delta }
    }
    case "reasoning": {
      return { reasoning_content: piece.delta }
    }
    case "call": {
      const { id, index, name } = piece
      return { tool_calls: [{ index, id, type: "function", function: { name, arguments: "" } }] }
    }
    case "params": {
      return { tool_calls: [{ index: piece.index, function: { arguments: piece.delta } }] }
    }
  }
}

const end = ({ finishReason, model, tokens }: Answer): ReadonlyArray<string> => [
  chunk({}, finishReasons[finishReason], model),
  event({ ...head("chat.completion.chunk", model), choices: [], usage: usage(tokens) }),
  "data: [DONE]\n\n"
]

const whole = ({ finishReason, model, pieces, tokens }: Answer): string =>
  JSON.stringify({
    ...head("chat.completion", model),
    choices: [{ index: 0, message: message(pieces), logprobs: null, finish_reason: finishReasons[finishReason] }],
    usage: usage(tokens)
  })

const message = (pieces: ReadonlyArray<Piece>): object => {
  const join = (belongs: (piece: Piece) => boolean) =>
    pieces.map((piece) => ("delta" in piece && belongs(piece) ? piece.delta : "")).join("")
  const paramsOf = (index: number) => join((piece) => piece.type === "params" && piece.index === index)
  const calls = pieces
    .filter((piece) => piece.type === "call")
    .map(({ id, index, name }) => ({ id, type: "function", function: { name, arguments: paramsOf(index) } }))
  const reasoning = join((piece) => piece.type === "reasoning")
  return {
    role: "assistant",
    content: join((piece) => piece.type === "text") || null,
    ...(reasoning !== "" && { reasoning_content: reasoning }),
    ...(calls.length > 0 && { tool_calls: calls }),
    refusal: null
  }
}

/** The beginning of an answer; of one that is not streamed, its first half. */
const beginning = (pieces: ReadonlyArray<Piece>, isStream: boolean): string | ReadonlyArray<string> => {
  if (isStream) return chunks(pieces)
  const body = JSON.stringify({ ...head("chat.completion"), choices: [{ index: 0, message: message(pieces) }] })
  return body.slice(0, body.length / 2)
}

/** The API has no word for the last four: the first three are what other servers say, the last is nothing at all. */
const finishReasons: Readonly<Record<Response.FinishReason, string | null>> = {
  stop: "stop",
  length: "length",
  "content-filter": "content_filter",
  "tool-calls": "tool_calls",
  error: "error",
  pause: "pause",
  other: "other",
  unknown: null
}

const usage = (tokens: Answer["tokens"]) => ({
  prompt_tokens: tokens.inputTokens,
  completion_tokens: tokens.outputTokens,
  total_tokens: tokens.inputTokens + tokens.outputTokens,
  prompt_tokens_details: { cached_tokens: tokens.cachedInputTokens },
  completion_tokens_details: { reasoning_tokens: tokens.reasoningTokens }
})

interface Refusal {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  readonly error: {
    readonly message: string
    readonly type: string
    readonly param: string | null
    readonly code: string | null
  }
}

const invalid = { type: "invalid_request_error", param: null, code: null }

const failures: Readonly<Record<LlmConformance.Failure, Refusal>> = {
  authentication: {
    status: 401,
    error: { ...invalid, message: "Incorrect API key provided.", code: "invalid_api_key" }
  },
  "rate-limit": {
    status: 429,
    headers: { "retry-after": String(LlmConformance.retryAfterSeconds) },
    error: {
      message: "Rate limit reached for requests per minute.",
      type: "requests",
      param: null,
      code: "rate_limit_exceeded"
    }
  },
  quota: {
    status: 429,
    error: {
      message: "You exceeded your current quota, please check your plan and billing details.",
      type: "insufficient_quota",
      param: null,
      code: "insufficient_quota"
    }
  },
  "invalid-request": {
    status: 400,
    error: { ...invalid, message: "Invalid value for 'temperature'.", param: "temperature" }
  },
  "context-overflow": {
    status: 400,
    error: {
      ...invalid,
      message: "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
      param: "messages",
      code: "context_length_exceeded"
    }
  },
  "content-filter": {
    status: 400,
    error: { ...invalid, message: "The prompt was flagged by the content filter.", code: "content_filter" }
  },
  overloaded: {
    status: 503,
    error: { message: "The engine is currently overloaded.", type: "server_error", param: null, code: null }
  }
}

/**
 * The fields of requests that the API documents, as far as a client of this package may send them. Arrays add nothing
 * to a path; JSON Schemas are free in form and end it.
 */
export const documented: ReadonlySet<string> = new Set([
  "frequency_penalty",
  "max_completion_tokens",
  "max_tokens",
  "messages",
  "messages.content",
  "messages.content.file",
  "messages.content.file.file_data",
  "messages.content.file.file_id",
  "messages.content.file.filename",
  "messages.content.image_url",
  "messages.content.image_url.detail",
  "messages.content.image_url.url",
  "messages.content.input_audio",
  "messages.content.input_audio.data",
  "messages.content.input_audio.format",
  "messages.content.refusal",
  "messages.content.text",
  "messages.content.type",
  "messages.name",
  "messages.refusal",
  "messages.role",
  "messages.tool_call_id",
  "messages.tool_calls",
  "messages.tool_calls.function",
  "messages.tool_calls.function.arguments",
  "messages.tool_calls.function.name",
  "messages.tool_calls.id",
  "messages.tool_calls.type",
  "model",
  "presence_penalty",
  "reasoning_effort",
  "response_format",
  "response_format.json_schema",
  "response_format.json_schema.description",
  "response_format.json_schema.name",
  "response_format.json_schema.schema",
  "response_format.json_schema.strict",
  "response_format.type",
  "seed",
  "stop",
  "stream",
  "stream_options",
  "stream_options.include_usage",
  "temperature",
  "tool_choice",
  "tool_choice.function",
  "tool_choice.function.name",
  "tool_choice.type",
  "tools",
  "tools.function",
  "tools.function.description",
  "tools.function.name",
  "tools.function.parameters",
  "tools.function.strict",
  "tools.type",
  "top_p",
  "user",
  "verbosity"
])
