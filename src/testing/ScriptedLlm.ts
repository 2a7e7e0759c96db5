/**
 * A model that follows a script, for tests, examples and benchmarks: deterministic, offline, and fast.
 *
 * Each turn of the script answers one model call, in order. Texts are streamed word by word to whoever listens, and
 * every request is recorded.
 *
 * @since 0.1.0
 */
import * as AiError from "effect/ai/AiError"
import type * as Response from "effect/ai/Response"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { AssistantContent } from "../History.ts"
import type { Delta, Generate, LlmRequest, LlmResponse } from "../Llm.ts"
import { Llm } from "../Llm.ts"
import type { Tokens } from "../Usage.ts"

/**
 * A tool call in a script. Without an `id` it gets the next of `call_1`, `call_2`, …
 *
 * @category models
 * @since 0.1.0
 */
export interface ScriptedCall {
  readonly tool: string
  readonly params?: unknown
  readonly id?: string | undefined
}

/**
 * One turn of the model: a text, one or several tool calls, a full response, a failure, or a function of the request
 * that returns one of these or an Effect of one (to wait, to look at the request, to never answer).
 *
 * @category models
 * @since 0.1.0
 */
export type Turn =
  | string
  | ScriptedCall
  | ReadonlyArray<ScriptedCall>
  | ScriptedResponse
  | AiError.AiError
  | ((request: LlmRequest) => Turn | Effect.Effect<Turn, AiError.AiError>)

/**
 * A full response. Without `tokens` it counts 10 input and 5 output tokens, like the mock of the original.
 *
 * @category models
 * @since 0.1.0
 */
export interface ScriptedResponse {
  readonly content: AssistantContent
  readonly finishReason?: Response.FinishReason | undefined
  readonly tokens?: Tokens | undefined
}

/**
 * A scripted model.
 *
 * @category models
 * @since 0.1.0
 */
export interface ScriptedLlm {
  readonly generate: Generate
  /** The requests so far, oldest first. */
  readonly requests: ReadonlyArray<LlmRequest>
  /** Turns of the script that no call has used. */
  readonly remaining: () => number
}

const defaultTokens: Tokens = {
  inputTokens: 10,
  outputTokens: 5,
  cachedInputTokens: 0,
  cacheWriteTokens: 0,
  reasoningTokens: 0
}

/**
 * Makes a scripted model. A call beyond the end of the script fails with an `AiError` that says so, unless
 * `otherwise` gives a turn for it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (script: ReadonlyArray<Turn>, otherwise?: Turn): ScriptedLlm => {
  const requests: Array<LlmRequest> = []
  let used = 0
  let calls = 0

  const respond = (turn: Turn, request: LlmRequest, onDelta: OnDelta): Effect.Effect<LlmResponse, AiError.AiError> => {
    if (typeof turn === "string") {
      if (onDelta !== undefined) streamWords("text", turn, onDelta)
      return Effect.succeed(response([{ type: "text", text: turn }], "stop", defaultTokens))
    }
    if (typeof turn === "function") {
      const next = turn(request)
      return Effect.isEffect(next) && !AiError.isAiError(next)
        ? Effect.flatMap(next, (resolved) => respond(resolved, request, onDelta))
        : respond(next, request, onDelta)
    }
    if (AiError.isAiError(turn)) return Effect.fail(turn)
    if ("content" in turn) {
      const calling = turn.content.some((part) => part.type === "tool-call")
      if (onDelta !== undefined) for (const part of turn.content) stream(part, onDelta)
      return Effect.succeed(
        response(turn.content, turn.finishReason ?? (calling ? "tool-calls" : "stop"), turn.tokens ?? defaultTokens)
      )
    }
    const content = "tool" in turn ? [toPart(turn)] : turn.map(toPart)
    if (onDelta !== undefined) for (const part of content) stream(part, onDelta)
    return Effect.succeed(response(content, "tool-calls", defaultTokens))
  }

  const toPart = ({ id, params, tool }: ScriptedCall) =>
    ({ type: "tool-call", id: id ?? `call_${++calls}`, name: tool, params: params ?? {} }) as const

  return {
    requests,
    remaining: () => Math.max(0, script.length - used),
    generate: (request, onDelta) =>
      Effect.suspend(() => {
        requests.push(request)
        const turn = used < script.length ? script[used] : otherwise
        used++
        return turn === undefined ? Effect.fail(exhausted(used)) : respond(turn, request, onDelta)
      })
  }
}

type OnDelta = ((delta: Delta) => void) | undefined

const response = (content: AssistantContent, finishReason: Response.FinishReason, tokens: Tokens): LlmResponse => ({
  content,
  finishReason,
  tokens,
  model: "scripted"
})

/** Each word with the space behind it, so that they join to the text again. */
const streamWords = (type: "text" | "reasoning", text: string, onDelta: (delta: Delta) => void): void => {
  for (let start = 0; start < text.length;) {
    const space = text.indexOf(" ", start)
    const end = space === -1 ? text.length : space + 1
    onDelta({ type, delta: text.slice(start, end) })
    start = end
  }
}

const stream = (part: AssistantContent[number], onDelta: (delta: Delta) => void): void => {
  if (part.type === "text" || part.type === "reasoning") streamWords(part.type, part.text, onDelta)
  if (part.type === "tool-call") {
    const { id, name, params } = part
    // A text is what a model wrote that did not write JSON.
    onDelta({ type: "tool-params", id, name, delta: typeof params === "string" ? params : JSON.stringify(params) })
  }
}

const exhausted = (call: number): AiError.AiError =>
  AiError.make({
    module: "ScriptedLlm",
    method: "generate",
    reason: new AiError.UnknownError({ description: `The script has no turn for model call ${call}` })
  })

/**
 * A layer with a scripted model.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (script: ReadonlyArray<Turn>, otherwise?: Turn): Layer.Layer<Llm> =>
  Layer.sync(Llm, () => make(script, otherwise))
