/**
 * Scenarios of `LlmConformance` as a server says them that speaks OpenAI's Responses API, and the fields of requests
 * that the API documents.
 */
import * as LlmConformance from "../../src/testing/LlmConformance.ts"
import type { Reply } from "./openAiServer.ts"

type Scenario = LlmConformance.Scenario
type Json = Readonly<Record<string, unknown>>

/** What the server does. */
export const play = (scenario: Scenario, { isStream }: { readonly isStream: boolean }): Reply => {
  switch (scenario._tag) {
    case "Answer": {
      const { events, items } = write(scenario.pieces)
      const done = items.map((item, output_index) => sse({ type: "response.output_item.done", output_index, item }))
      const response = { ...outcome(scenario), output: items }
      const end = sse({ type: `response.${response.status}`, response })
      return { body: isStream ? [...beginning, ...events, ...done, end] : JSON.stringify(response) }
    }
    case "Failure": {
      const { status, ...error } = failures[scenario.failure]
      const headers = {
        "x-request-id": "req_1",
        ...(status === 429 && { "retry-after": `${LlmConformance.retryAfterSeconds}` })
      }
      return { status, headers, body: JSON.stringify({ error: { param: null, ...error } }) }
    }
    case "Truncated": {
      return { ...begun(scenario.pieces, isStream), ending: "end" }
    }
    case "Reset": {
      return { ...begun(scenario.pieces, isStream), ending: "destroy" }
    }
    case "Malformed": {
      const body = `{"object":"response","output":"none"}`
      return { body: isStream ? [...beginning, `data: {"type":"response.completed"}\n\n`] : body }
    }
    case "Stalled": {
      return { ...begun(scenario.pieces, isStream), ending: "hang" }
    }
    case "Silent": {
      return { ending: "silence" }
    }
  }
}

const failures: Readonly<Record<LlmConformance.Failure, Json & { readonly status: number }>> = {
  authentication: { status: 401, message: "Incorrect API key", type: "invalid_request_error", code: "invalid_api_key" },
  "rate-limit": { status: 429, message: "Slow down", type: "requests", code: "rate_limit_exceeded" },
  quota: { status: 429, message: "Check your plan", type: "insufficient_quota", code: "insufficient_quota" },
  "invalid-request": { status: 400, message: "Wrong", type: "invalid_request_error", code: "invalid_value" },
  "context-overflow": {
    status: 400,
    message: "Your input exceeds the context window of this model",
    type: "invalid_request_error",
    code: "context_length_exceeded"
  },
  "content-filter": { status: 400, message: "Filtered", type: "invalid_request_error", code: "content_filter" },
  overloaded: { status: 503, message: "Overloaded", type: "service_unavailable_error", code: "server_is_overloaded" }
}

const sse = (event: Json): string => `event: ${String(event["type"])}\ndata: ${JSON.stringify(event)}\n\n`

const beginning = ["response.created", "response.in_progress"].map((type) =>
  sse({ type, response: { id: "resp_1", object: "response", status: "in_progress", output: [] } })
)

/** The head of an answer that stays without an end. */
const begun = (pieces: ReadonlyArray<LlmConformance.Piece>, isStream: boolean): Reply => ({
  body: isStream ? [...beginning, ...write(pieces).events] : `{"id":"resp_1","object":"response","output":[`
})

/** The items that the pieces make, and the events up to the last piece. */
const write = (pieces: ReadonlyArray<LlmConformance.Piece>) => {
  const events: Array<string> = []
  const written: Array<{ readonly head: Json; text: string }> = []
  const callAt = new Map<number, number>()

  const open = (head: Json): number => {
    const index = written.push({ head: { id: `item_${written.length}`, ...head }, text: "" }) - 1
    events.push(
      sse({ type: "response.output_item.added", output_index: index, item: { ...item(index), status: "in_progress" } })
    )
    return index
  }
  const item = (index: number): Json => {
    const { head, text } = written[index]!
    if (head["type"] === "function_call") return { ...head, arguments: text }
    if (head["type"] === "reasoning") return { ...head, summary: text === "" ? [] : [{ type: "summary_text", text }] }
    return { ...head, content: text === "" ? [] : [{ type: "output_text", text, annotations: [], logprobs: [] }] }
  }
  const append = (index: number, type: string, delta: string, part: Json): void => {
    const one = written[index]!
    one.text += delta
    events.push(sse({ type, item_id: one.head["id"], output_index: index, ...part, delta }))
  }
  const current = (type: "message" | "reasoning"): number =>
    written.at(-1)?.head["type"] === type
      ? written.length - 1
      : open(type === "message" ? { type, role: "assistant" } : { type })

  for (const piece of pieces) {
    switch (piece.type) {
      case "text": {
        append(current("message"), "response.output_text.delta", piece.delta, { content_index: 0 })
        break
      }
      case "reasoning": {
        append(current("reasoning"), "response.reasoning_summary_text.delta", piece.delta, { summary_index: 0 })
        break
      }
      case "call": {
        callAt.set(piece.index, open({ type: "function_call", call_id: piece.id, name: piece.name }))
        break
      }
      case "params": {
        append(callAt.get(piece.index)!, "response.function_call_arguments.delta", piece.delta, {})
        break
      }
    }
  }
  return { events, items: written.map((_, index): Json => ({ ...item(index), status: "completed" })) }
}

const outcome = ({ finishReason, model, tokens }: Extract<Scenario, { readonly _tag: "Answer" }>) => {
  const cut = cuts.get(finishReason)
  return {
    id: "resp_1",
    object: "response",
    created_at: 1,
    status: cut === undefined ? "completed" : "incomplete",
    error: null,
    incomplete_details: cut === undefined ? null : { reason: cut },
    model,
    usage: {
      input_tokens: tokens.inputTokens,
      input_tokens_details: { cached_tokens: tokens.cachedInputTokens },
      output_tokens: tokens.outputTokens,
      output_tokens_details: { reasoning_tokens: tokens.reasoningTokens },
      total_tokens: tokens.inputTokens + tokens.outputTokens
    }
  }
}

const cuts = new Map<string, string>([
  ["length", "max_output_tokens"],
  ["content-filter", "content_filter"],
  ["other", "other"]
])

/**
 * The fields of requests that the API documents, of those that may be sent. Items of arrays have no step of their own,
 * and JSON Schemas are not followed.
 */
export const documented: ReadonlySet<string> = new Set([
  "model",
  "instructions",
  "input",
  "input.type",
  "input.role",
  "input.phase",
  "input.content",
  "input.content.type",
  "input.content.text",
  "input.content.image_url",
  "input.content.filename",
  "input.content.file_data",
  "input.content.file_url",
  "input.id",
  "input.encrypted_content",
  "input.summary",
  "input.summary.type",
  "input.summary.text",
  "input.call_id",
  "input.name",
  "input.arguments",
  "input.output",
  "input.output.type",
  "input.output.text",
  "input.output.image_url",
  "input.output.filename",
  "input.output.file_data",
  "input.output.file_url",
  "store",
  "include",
  "stream",
  "tools",
  "tools.type",
  "tools.name",
  "tools.description",
  "tools.parameters",
  "tools.strict",
  "tool_choice",
  "tool_choice.type",
  "tool_choice.name",
  "parallel_tool_calls",
  "temperature",
  "top_p",
  "max_output_tokens",
  "reasoning",
  "reasoning.effort",
  "reasoning.summary",
  "text",
  "text.format",
  "text.format.type",
  "text.format.name",
  "text.format.schema",
  "text.format.strict"
])
