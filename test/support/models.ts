/** Models for tests of middleware: what they answer, when, and what was asked of them. */
import * as History from "effect-agent-runtime/History"
import type { Delta, LlmRequest, LlmResponse } from "effect-agent-runtime/Llm"
import * as Llm from "effect-agent-runtime/Llm"
import * as AiError from "effect/ai/AiError"
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

export const request: LlmRequest = {
  instructions: "",
  history: History.appendUser(History.empty, "hi"),
  tools: [],
  toolChoice: "auto",
  sampling: {},
  output: undefined
}

export const response = (text: string, tokens = 0): LlmResponse => ({
  content: [{ type: "text", text }],
  finishReason: "stop",
  tokens: { inputTokens: tokens, outputTokens: 0, cachedInputTokens: 0, cacheWriteTokens: 0, reasoningTokens: 0 },
  model: undefined
})

export const textOf = ({ content }: LlmResponse): string => History.text(content)

const failing = (reason: AiError.AiErrorReason) => AiError.make({ module: "Test", method: "generate", reason })

export const failures = {
  overloaded: failing(new AiError.InternalProviderError({ description: "overloaded" })),
  network: failing(new AiError.NetworkError({ reason: "TransportError", method: "POST", url: "http://test" })),
  malformed: failing(new AiError.InvalidResponseError({ description: "not JSON" })),
  authentication: failing(new AiError.AuthenticationError({ kind: "InvalidKey" })),
  quota: failing(new AiError.QuotaExhaustedError({})),
  invalid: failing(new AiError.InvalidRequestError({ description: "too long" })),
  gone: failing(new AiError.InvalidRequestError({ metadata: { test: { errorCode: "model_not_found" } } })),
  overflow: failing(new AiError.InvalidRequestError({ metadata: { test: { errorCode: "context_length_exceeded" } } })),
  policy: failing(new AiError.ContentPolicyError({ description: "no" })),
  rateLimit: (retryAfter?: Duration.Duration) => failing(new AiError.RateLimitError({ retryAfter }))
}

type Sink = (delta: Delta) => void

/** What a model does in one call: streams texts, and ends with the last step. */
export type Step = (sink: Sink) => Effect.Effect<LlmResponse, AiError.AiError>

/** Answers with a text, streamed word by word, after a time. */
export const answers =
  (text: string, after: Duration.Input = 0): Step =>
  (sink) =>
    Effect.gen(function* () {
      if (after !== 0) yield* Effect.sleep(after)
      for (const word of text.split(/(?<= )/)) sink({ type: "text", delta: word })
      return response(text)
    })

/** Streams a text and fails. */
export const fails =
  (error: AiError.AiError, said = "", after: Duration.Input = 0): Step =>
  (sink) =>
    Effect.gen(function* () {
      if (said !== "") sink({ type: "text", delta: said })
      if (after !== 0) yield* Effect.sleep(after)
      return yield* error
    })

export const hangs: Step = () => Effect.never

/** A model that does one step after the other, the last again and again, and when it was called. */
export const model = (...steps: ReadonlyArray<Step>) => {
  const calls: Array<number> = []
  const requests: Array<LlmRequest> = []
  const llm = Llm.make((request, onDelta) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      requests.push(request)
      const step = steps[Math.min(calls.push(now), steps.length) - 1]!
      return step(onDelta ?? (() => {}))
    })
  )
  return { llm, calls, requests }
}

/** Wraps a model in middleware, the first nearest to it. */
export const wrap = <R>(
  llm: Llm.Llm["Service"],
  ...middleware: ReadonlyArray<Llm.Middleware<R | Scope.Scope>>
): Effect.Effect<Llm.Llm["Service"], never, R | Scope.Scope> =>
  Effect.reduce(
    middleware,
    () => llm,
    (wrapped, one) => one(wrapped)
  )

/** A call that streams: its exit, and the deltas on the way. */
export const streamed = Effect.fnUntraced(function* (llm: Llm.Llm["Service"], asked = request) {
  const deltas: Array<Delta> = []
  const exit = yield* Effect.exit(llm.generate(asked, (delta) => deltas.push(delta)))
  return { exit, deltas }
})

/** Texts as they are, restarts in brackets. */
export const told = (deltas: ReadonlyArray<Delta>): ReadonlyArray<string> =>
  deltas.map((delta) =>
    delta.type === "restart"
      ? `[${delta.reason} ${delta.delayMillis}${delta.model ? ` ${delta.model}` : ""}]`
      : delta.delta
  )
