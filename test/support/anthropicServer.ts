/**
 * What Anthropic's Messages API says, whole or as events, in the scenarios that every model is tested with; and the
 * request fields that it documents.
 */
import * as Result from "effect/Result"
import * as LlmConformance from "../../src/testing/LlmConformance.ts"
import type { Reply } from "./openAiServer.ts"

/** The event as the API writes it. */
export const event = (data: { readonly type: string; readonly [key: string]: unknown }): string =>
  `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`

const usage = { input_tokens: 0, cache_creation_input_tokens: 0, cache_read_input_tokens: 0, output_tokens: 0 }

/** The message that a stream begins with, or a whole one. */
export const message = (overrides: object = {}) => ({
  id: "msg_1",
  type: "message",
  role: "assistant",
  model: "claude-test",
  content: [],
  stop_reason: null,
  stop_sequence: null,
  usage,
  ...overrides
})

type Scenario = LlmConformance.Scenario

type Answer = Extract<Scenario, { readonly _tag: "Answer" }>

/** What the API replies in the scenario. */
export const play = (scenario: Scenario, { isStream }: { readonly isStream: boolean }): Reply => {
  switch (scenario._tag) {
    case "Answer":
      return isStream ? { body: [...begin(scenario.pieces, scenario), ...end(scenario)] } : whole(scenario)
    case "Failure":
      return failures[scenario.failure]
    case "Truncated":
      return isStream ? { body: begin(scenario.pieces) } : partOfWhole("end")
    case "Reset":
      return isStream ? { body: begin(scenario.pieces), ending: "destroy" } : partOfWhole("destroy")
    case "Malformed":
      return isStream
        ? { body: [...begin([]), `event: content_block_start\ndata: {"type":\n\n`] }
        : { body: "<html>Hello</html>" }
    case "Stalled":
      return isStream ? { body: begin(scenario.pieces), ending: "hang" } : partOfWhole("hang")
    case "Silent":
      return { ending: "silence" }
  }
}

const partOfWhole = (ending: NonNullable<Reply["ending"]>): Reply => ({
  body: `{"id":"msg_1","type":"message",`,
  ending
})

type Block =
  | { readonly type: "text" | "thinking"; text: string }
  | { readonly type: "tool_use"; readonly call: number; readonly id: string; readonly name: string; input: string }

/** The blocks of an answer, and for each piece the block that it is of: calls last, in the order of their index. */
const layOut = (pieces: ReadonlyArray<LlmConformance.Piece>) => {
  const texts: Array<Extract<Block, { readonly text: string }>> = []
  const calls = new Map<number, Extract<Block, { readonly type: "tool_use" }>>()
  const owners = pieces.map((piece): Block => {
    switch (piece.type) {
      case "call": {
        const call = { type: "tool_use", call: piece.index, id: piece.id, name: piece.name, input: "" } as const
        calls.set(piece.index, call)
        return call
      }
      case "params": {
        const call = calls.get(piece.index)!
        call.input += piece.delta
        return call
      }
      default: {
        const type = piece.type === "text" ? "text" : "thinking"
        let block = texts.at(-1)
        if (block?.type !== type) texts.push((block = { type, text: "" }))
        block.text += piece.delta
        return block
      }
    }
  })
  return { blocks: [...texts, ...[...calls.values()].toSorted((a, b) => a.call - b.call)], owners }
}

/** The events before the end, with a ping now and then. */
const begin = (pieces: ReadonlyArray<LlmConformance.Piece>, answer?: Answer): ReadonlyArray<string> => {
  const { blocks, owners } = layOut(pieces)
  const started = new Set<Block>()
  const start = (block: Block): ReadonlyArray<string> => {
    if (started.has(block)) return []
    started.add(block)
    return [event({ type: "content_block_start", index: blocks.indexOf(block), content_block: empty(block) })]
  }
  const delta = (block: Block, delta: object): string =>
    event({ type: "content_block_delta", index: blocks.indexOf(block), delta })
  return [
    event({ type: "message_start", message: message(answer && { model: answer.model, usage: startUsage(answer) }) }),
    event({ type: "ping" }),
    ...pieces.flatMap((piece, i) => {
      const block = owners[i]!
      return piece.type === "call" ? start(block) : [...start(block), delta(block, deltaOf(piece))]
    }),
    event({ type: "ping" }),
    ...(answer === undefined
      ? []
      : blocks.flatMap((block, index) => [
          ...(block.type === "thinking" ? [delta(block, { type: "signature_delta", signature: "sig" })] : []),
          event({ type: "content_block_stop", index })
        ]))
  ]
}

const empty = (block: Block): object => {
  switch (block.type) {
    case "text":
      return { type: "text", text: "" }
    case "thinking":
      return { type: "thinking", thinking: "", signature: "" }
    case "tool_use":
      return { type: "tool_use", id: block.id, name: block.name, input: {} }
  }
}

const deltaOf = (piece: Exclude<LlmConformance.Piece, { readonly type: "call" }>): object => {
  switch (piece.type) {
    case "text":
      return { type: "text_delta", text: piece.delta }
    case "reasoning":
      return { type: "thinking_delta", thinking: piece.delta }
    case "params":
      return { type: "input_json_delta", partial_json: piece.delta }
  }
}

const end = (answer: Answer): ReadonlyArray<string> => [
  event({
    type: "message_delta",
    delta: { stop_reason: stopReasons[answer.finishReason] ?? "end_turn", stop_sequence: null },
    usage: { output_tokens: answer.tokens.outputTokens, ...outputDetails(answer) }
  }),
  event({ type: "message_stop" })
]

const whole = (answer: Answer): Reply => ({
  body: JSON.stringify(
    message({
      model: answer.model,
      content: layOut(answer.pieces).blocks.map(contentOf),
      stop_reason: stopReasons[answer.finishReason] ?? "end_turn",
      usage: { ...startUsage(answer), output_tokens: answer.tokens.outputTokens, ...outputDetails(answer) }
    })
  )
})

const contentOf = (block: Block): object => {
  switch (block.type) {
    case "text":
      return { type: "text", text: block.text }
    case "thinking":
      return { type: "thinking", thinking: block.text, signature: "sig" }
    case "tool_use":
      return { type: "tool_use", id: block.id, name: block.name, input: parse(block.input || "{}") }
  }
}

// In one piece, arguments that are not JSON can only be text.
const parse = (json: string): unknown =>
  Result.getOrElse(
    Result.try((): unknown => JSON.parse(json)),
    () => json
  )

/** The API counts what it reads from its cache apart from other input. */
const startUsage = ({ tokens }: Answer) => ({
  ...usage,
  input_tokens: tokens.inputTokens - tokens.cachedInputTokens,
  cache_read_input_tokens: tokens.cachedInputTokens,
  output_tokens: Math.min(1, tokens.outputTokens)
})

const outputDetails = ({ tokens }: Answer) => ({ output_tokens_details: { thinking_tokens: tokens.reasoningTokens } })

const stopReasons: Partial<Record<Answer["finishReason"], string>> = {
  stop: "end_turn",
  length: "max_tokens",
  "tool-calls": "tool_use",
  "content-filter": "refusal",
  pause: "pause_turn"
}

/** An error as the API reports it. */
export const failure = (
  status: number,
  type: string,
  message: string,
  headers: Readonly<Record<string, string>> = {}
): Reply => ({
  status,
  headers: { "content-type": "application/json", "request-id": "req_1", ...headers },
  body: JSON.stringify({ type: "error", error: { type, message }, request_id: "req_1" })
})

const failures: Record<LlmConformance.Failure, Reply> = {
  authentication: failure(401, "authentication_error", "invalid x-api-key"),
  "rate-limit": failure(429, "rate_limit_error", "This request would exceed your organization's rate limit", {
    "retry-after": String(LlmConformance.retryAfterSeconds),
    "anthropic-ratelimit-requests-remaining": "0"
  }),
  quota: failure(402, "billing_error", "There is a problem with your billing"),
  "invalid-request": failure(400, "invalid_request_error", "max_tokens: must be at least 1"),
  "context-overflow": failure(400, "invalid_request_error", "prompt is too long: 200001 tokens > 200000 maximum"),
  "content-filter": failure(400, "invalid_request_error", "Output blocked by content filtering policy"),
  overloaded: failure(529, "overloaded_error", "Overloaded")
}

/** The path of an object and those of its fields. */
const within = (path: string, fields: string): ReadonlyArray<string> => [
  path,
  ...fields.split(" ").map((field) => `${path}.${field}`)
]

const block = "type cache_control cache_control.type cache_control.ttl"

const content = `${block} text title context source source.type source.media_type source.data source.url`

/**
 * The fields of request bodies that the API documents, as far as a model may send them: paths without the indexes of
 * arrays, and nothing within JSON Schemas and the arguments of tools.
 */
export const documented: ReadonlySet<string> = new Set([
  ..."model max_tokens temperature top_p top_k stop_sequences stream metadata metadata.user_id service_tier".split(" "),
  ...within("system", `${block} text`),
  ...within("messages", "role"),
  ...within("messages.content", `${content} thinking signature data id name input tool_use_id is_error`),
  ...within("messages.content.content", content),
  ...within("tools", `${block} name description input_schema strict eager_input_streaming`),
  ...within("tool_choice", "type name disable_parallel_tool_use"),
  ...within("thinking", "type budget_tokens display"),
  ...within("output_config", "effort format format.type format.schema")
])
