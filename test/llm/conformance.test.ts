import { assert, describe, it } from "@effect/vitest"
import * as Llm from "effect-agent-runtime/Llm"
import * as LlmConformance from "effect-agent-runtime/testing/LlmConformance"
import * as AiError from "effect/ai/AiError"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as ResponseParts from "../../src/internal/responseParts.ts"

/** A model that plays scenarios itself; `spoil` makes it a bad one. */
const perfect = (spoil: (llm: Llm.Llm["Service"]) => Llm.Llm["Service"] = (llm) => llm): LlmConformance.Subject => ({
  secret: "sk-conformance",
  documented: undefined,
  supports: {
    reasoning: true,
    images: true,
    timeouts: false,
    failures: [
      "authentication",
      "rate-limit",
      "quota",
      "invalid-request",
      "context-overflow",
      "content-filter",
      "overloaded"
    ]
  },
  stage: Effect.fnUntraced(function* (scenario) {
    const givenUp = yield* Deferred.make<void>()
    const requests: Array<LlmConformance.WireRequest> = []
    const llm = Llm.make((request, onDelta) =>
      Effect.suspend(() => {
        requests.push({ headers: {}, body: request })
        return Effect.onInterrupt(playing(scenario, onDelta), () => Deferred.succeed(givenUp, undefined))
      })
    )
    return { llm: spoil(llm), requests: () => requests, givenUp: Deferred.await(givenUp) }
  })
})

const failing = (reason: AiError.AiErrorReason) =>
  Effect.fail(AiError.make({ module: "Test", method: "generate", reason }))

const failures: Readonly<Record<LlmConformance.Failure, () => AiError.AiErrorReason>> = {
  authentication: () => new AiError.AuthenticationError({ kind: "InvalidKey" }),
  "rate-limit": () => new AiError.RateLimitError({ retryAfter: Duration.seconds(LlmConformance.retryAfterSeconds) }),
  quota: () => new AiError.QuotaExhaustedError({}),
  "invalid-request": () => new AiError.InvalidRequestError({}),
  "context-overflow": () =>
    new AiError.InvalidRequestError({ metadata: { test: { errorCode: "context_length_exceeded" } } }),
  "content-filter": () => new AiError.ContentPolicyError({ description: "no" }),
  overloaded: () => new AiError.InternalProviderError({ description: "busy" })
}

const network = new AiError.NetworkError({ reason: "TransportError", method: "POST", url: "x", description: "cut" })

const playing = (
  scenario: LlmConformance.Scenario,
  onDelta: ((delta: Llm.Delta) => void) | undefined
): Effect.Effect<Llm.LlmResponse, AiError.AiError> => {
  if (scenario._tag === "Failure") return failing(failures[scenario.failure]())
  if (scenario._tag === "Malformed") return failing(new AiError.InvalidResponseError({ description: "no JSON" }))
  if (scenario._tag === "Silent") return Effect.never
  const parts = ResponseParts.make()
  for (const piece of scenario.pieces) {
    if (piece.type === "call") parts.call({ index: piece.index, id: piece.id, name: piece.name })
    else if (piece.type === "params") {
      const delta = parts.call({ index: piece.index, params: piece.delta })
      if (delta !== undefined) onDelta?.(delta)
    } else {
      parts.append(piece.type, piece.delta)
      onDelta?.(piece)
    }
  }
  if (scenario._tag === "Stalled") return Effect.never
  if (scenario._tag !== "Answer") return failing(network)
  const { finishReason, model, tokens } = scenario
  return Effect.succeed({ content: parts.content(), finishReason, model, tokens })
}

describe("a model that does all it should", () => {
  for (const { name, violations } of LlmConformance.checks(perfect())) {
    it.live(name, () => Effect.map(violations, (found) => assert.deepStrictEqual(found, [])))
  }
})

/** What is found wrong with a spoiled model. */
const found = (spoil: (llm: Llm.Llm["Service"]) => Llm.Llm["Service"]) =>
  Effect.map(
    Effect.forEach(
      LlmConformance.checks(perfect(spoil)),
      ({ name, violations }) => Effect.map(violations, (found) => found.map((violation) => `${name}: ${violation}`)),
      { concurrency: "unbounded" }
    ),
    (all) => all.flat()
  )

const onResponse =
  (change: (response: Llm.LlmResponse) => Partial<Llm.LlmResponse>) =>
  (llm: Llm.Llm["Service"]): Llm.Llm["Service"] => ({
    generate: (request, onDelta) =>
      Effect.map(llm.generate(request, onDelta), (response) => ({ ...response, ...change(response) }))
  })

const onError =
  (change: (error: AiError.AiError) => AiError.AiErrorReason) =>
  (llm: Llm.Llm["Service"]): Llm.Llm["Service"] => ({
    generate: (request, onDelta) => Effect.catch(llm.generate(request, onDelta), (error) => failing(change(error)))
  })

describe("a model that is spoiled is found out:", () => {
  const spoils: ReadonlyArray<readonly [string, RegExp, (llm: Llm.Llm["Service"]) => Llm.Llm["Service"]]> = [
    ["it loses usage", /tokens: /, onResponse(({ tokens }) => ({ tokens: { ...tokens, cachedInputTokens: 0 } }))],
    [
      "it makes up a finish reason",
      /finish reason: "stop" in place of "length"/,
      onResponse(() => ({ finishReason: "stop" }))
    ],
    ["it hides the model", /model: null/, onResponse(() => ({ model: undefined }))],
    [
      "it loses parts",
      /tool calls: \[\]/,
      onResponse(({ content }) => ({ content: content.filter(({ type }) => type === "text") }))
    ],
    ["it does not stream", /text deltas: ""/, (llm) => ({ generate: (request) => llm.generate(request) })],
    [
      "it streams twice",
      /text deltas: "HelHel/,
      (llm) => ({
        generate: (request, onDelta) =>
          llm.generate(request, onDelta && ((delta) => [0, 1].forEach(() => onDelta(delta))))
      })
    ],
    ["it has one reason for all", /in place of AuthenticationError/, onError(() => network)],
    [
      "it shows its key",
      /shows the API key/,
      onError(() => new AiError.InvalidRequestError({ description: "key sk-conformance is wrong" }))
    ],
    [
      "it cannot be interrupted",
      /the provider was not told/,
      (llm) => ({
        generate: (request, onDelta) => Effect.flatMap(Effect.forkDetach(llm.generate(request, onDelta)), Fiber.join)
      })
    ],
    [
      "it succeeds when it should fail",
      /: succeeded/,
      (llm) => ({
        generate: (request, onDelta) =>
          Effect.catch(llm.generate(request, onDelta), () =>
            Effect.succeed({
              content: [],
              finishReason: "stop",
              tokens: { inputTokens: 0, outputTokens: 0, cachedInputTokens: 0, reasoningTokens: 0 },
              model: undefined
            })
          )
      })
    ],
    [
      "it answers from memory",
      /requests of two runs: 1/,
      (llm) => {
        let known: Llm.LlmResponse | undefined
        return {
          generate: (request, onDelta) =>
            Effect.suspend(() =>
              known === undefined
                ? Effect.tap(llm.generate(request, onDelta), (response) => Effect.sync(() => void (known = response)))
                : Effect.succeed(known)
            )
        }
      }
    ]
  ]
  it.live.each(spoils)("%s", ([, violation, spoil]) =>
    Effect.map(found(spoil), (violations) => assert.match(violations.join("\n"), violation))
  )
})
