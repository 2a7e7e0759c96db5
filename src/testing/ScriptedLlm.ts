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
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
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
  /** Calls beyond the end of the script that no turn was there for. */
  readonly missing: () => number
}

/**
 * A script and the calls of the model were not of the same length.
 *
 * @category errors
 * @since 0.1.0
 */
export class ScriptMismatch extends Schema.TaggedError<ScriptMismatch>()("ScriptMismatch", {
  /** Turns of the script that no call has used. */
  unused: Schema.Int,
  /** Calls that found no turn. */
  missing: Schema.Int
}) {
  override get message(): string {
    const { missing, unused } = this
    return missing > 0
      ? `The script has no turns for the last ${missing} model calls`
      : `The last ${unused} turns of the script were not used`
  }
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
  let missing = 0

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
    missing: () => missing,
    generate: (request, onDelta) =>
      Effect.suspend(() => {
        requests.push(request)
        const turn = used < script.length ? script[used] : otherwise
        used++
        if (turn !== undefined) return respond(turn, request, onDelta)
        missing++
        return Effect.fail(exhausted(used))
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

/**
 * Fails if the model has turns left, or was called when it had none. The latter is also the failure of that call, but a
 * retry, a fallback, or the run's own error handling may have passed it over.
 *
 * @category running
 * @since 0.1.0
 */
export const check = (self: ScriptedLlm): Effect.Effect<void, ScriptMismatch> =>
  Effect.suspend(() => {
    const unused = self.remaining()
    const missing = self.missing()
    return unused > 0 || missing > 0 ? Effect.fail(new ScriptMismatch({ unused, missing })) : Effect.void
  })

/**
 * A layer with a scripted model that the program has to use up: when its scope ends, it dies of the
 * {@link ScriptMismatch} that {@link check} fails with, unless the program was interrupted or died itself.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerExact = (script: ReadonlyArray<Turn>): Layer.Layer<Llm> =>
  Layer.effect(
    Llm,
    Effect.acquireRelease(
      Effect.sync(() => make(script)),
      (self, exit) =>
        Exit.isFailure(exit) && (Cause.hasInterrupts(exit.cause) || Cause.hasDies(exit.cause))
          ? Effect.void
          : Effect.orDie(check(self))
    )
  )
