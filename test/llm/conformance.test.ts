import { createAnthropic } from "@ai-sdk/anthropic"
import { createOpenAICompatible } from "@ai-sdk/openai-compatible"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { assert, describe, it } from "@effect/vitest"
import * as Llm from "effect-agent-runtime/Llm"
import * as AiSdkLlm from "effect-agent-runtime/llm/AiSdkLlm"
import * as AnthropicLlm from "effect-agent-runtime/llm/AnthropicLlm"
import * as LanguageModelLlm from "effect-agent-runtime/llm/LanguageModelLlm"
import * as LlmLanguageModel from "effect-agent-runtime/llm/LlmLanguageModel"
import * as OpenAiLlm from "effect-agent-runtime/llm/OpenAiLlm"
import * as LlmConformance from "effect-agent-runtime/testing/LlmConformance"
import * as AiError from "effect/ai/AiError"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as ResponseParts from "../../src/internal/responseParts.ts"
import * as AnthropicServer from "../support/anthropicServer.ts"
import * as OpenAiChat from "../support/openAiChat.ts"
import * as OpenAiResponses from "../support/openAiResponses.ts"
import * as OpenAiServer from "../support/openAiServer.ts"

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

const secret = "sk-conformance"

const allFailures = perfect().supports.failures

const timeouts = {
  firstByteTimeout: LlmConformance.timeoutMillis,
  idleTimeout: LlmConformance.timeoutMillis,
  totalTimeout: LlmConformance.timeoutMillis * 10
}

/** Servers have been seen to repeat the key that they refuse. */
const tactless = (reply: OpenAiServer.Reply): OpenAiServer.Reply =>
  reply.status !== undefined && typeof reply.body === "string"
    ? { ...reply, body: reply.body.replace('"message":"', `"message":"With the key ${secret}: `) }
    : reply

/** A model whose provider is a server on the loopback interface that plays scenarios in its wire format. */
const served = (
  make: (url: string) => Effect.Effect<Llm.Llm["Service"], never, Scope.Scope>,
  wire: {
    readonly play: (scenario: LlmConformance.Scenario, request: { readonly isStream: boolean }) => OpenAiServer.Reply
    readonly documented: ReadonlySet<string>
  },
  supports: Partial<LlmConformance.Subject["supports"]> = {},
  spoil: (llm: Llm.Llm["Service"]) => Llm.Llm["Service"] = (llm) => llm
): LlmConformance.Subject => ({
  secret,
  documented: wire.documented,
  supports: { reasoning: true, images: true, timeouts: true, failures: allFailures, ...supports },
  stage: Effect.fnUntraced(function* (scenario) {
    const server = yield* OpenAiServer.make(({ body }: OpenAiServer.Received) =>
      tactless(wire.play(scenario, { isStream: Predicate.hasProperty(body, "stream") && body.stream === true }))
    )
    return {
      llm: spoil(yield* make(server.url)),
      requests: () => server.requests,
      givenUp: Effect.flatMap(server.next, ({ closedEarly }) => Deferred.await(closedEarly))
    }
  })
})

const apiKey = Redacted.make(secret)

/** The client lives as long as the stage. */
const overHttp = (llm: Effect.Effect<Llm.Llm["Service"], never, HttpClient.HttpClient>) =>
  Effect.flatMap(Layer.build(NodeHttpClient.layerUndici), (context) => Effect.provideContext(llm, context))

const subjects: Readonly<Record<string, LlmConformance.Subject>> = {
  "OpenAiLlm, Chat Completions": served(
    (baseUrl) => overHttp(OpenAiLlm.make({ ...timeouts, baseUrl, apiKey, model: "m" })),
    OpenAiChat
  ),
  "OpenAiLlm, Responses": served(
    (baseUrl) => overHttp(OpenAiLlm.make({ ...timeouts, api: "responses", baseUrl, apiKey, model: "m" })),
    OpenAiResponses
  ),
  AnthropicLlm: served(
    (baseUrl) => overHttp(AnthropicLlm.make({ ...timeouts, baseUrl, apiKey, model: "m" })),
    AnthropicServer
  ),
  "AiSdkLlm, @ai-sdk/openai-compatible": served((url) => {
    const provider = createOpenAICompatible({
      name: "test",
      baseURL: `${url}/v1`,
      apiKey: secret,
      includeUsage: true,
      supportsStructuredOutputs: true
    })
    return Effect.succeed(AiSdkLlm.make(provider("m"), { ...timeouts, secrets: [apiKey] }))
  }, OpenAiChat),
  "AiSdkLlm, @ai-sdk/anthropic": served((url) => {
    const provider = createAnthropic({ baseURL: `${url}/v1`, apiKey: secret })
    return Effect.succeed(AiSdkLlm.make(provider("m"), { ...timeouts, secrets: [apiKey] }))
  }, AnthropicServer),
  "LanguageModelLlm, on an Llm as a LanguageModel": {
    ...perfect(),
    stage: Effect.fnUntraced(function* (scenario) {
      const stage = yield* perfect().stage(scenario)
      const model = yield* Effect.provideService(LlmLanguageModel.make, Llm.Llm, stage.llm)
      const llm = yield* Effect.provideService(LanguageModelLlm.make, LanguageModel.LanguageModel, model)
      return { ...stage, llm }
    })
  }
}

describe.concurrent.each(Object.entries(subjects))("%s", (_, subject) => {
  for (const { name, violations } of LlmConformance.checks(subject)) {
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
    [
      "it loses usage",
      /tokens: /,
      onResponse(({ tokens }) => ({ tokens: { ...tokens, cachedInputTokens: 0, cacheWriteTokens: 0 } }))
    ],
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
      "it traces its key",
      /shows the API key in a span/,
      (llm) => ({
        generate: (request, onDelta) =>
          Effect.withSpan(llm.generate(request, onDelta), "call", { attributes: { header: "Bearer sk-conformance" } })
      })
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
              tokens: {
                inputTokens: 0,
                outputTokens: 0,
                cachedInputTokens: 0,
                cacheWriteTokens: 0,
                reasoningTokens: 0
              },
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

describe("a model on a server that is spoiled is found out, too:", () => {
  const chat = (spoil: (llm: Llm.Llm["Service"]) => Llm.Llm["Service"]) =>
    served((baseUrl) => overHttp(OpenAiLlm.make({ ...timeouts, baseUrl, apiKey, model: "m" })), OpenAiChat, {}, spoil)

  const foundBy = (name: RegExp, spoil: (llm: Llm.Llm["Service"]) => Llm.Llm["Service"]) =>
    Effect.map(
      Effect.forEach(
        LlmConformance.checks(chat(spoil)).filter((check) => name.test(check.name)),
        ({ violations }) => violations,
        { concurrency: "unbounded" }
      ),
      (all) => all.flat().join("\n")
    )

  it.live("it keeps half of the request to itself", () =>
    Effect.gen(function* () {
      const violations = yield* foundBy(/sends what/, (llm) => ({
        generate: (request, onDelta) =>
          llm.generate({ ...request, instructions: "", tools: [], output: undefined }, onDelta)
      }))
      assert.match(violations, /did not send: You know the weather/)
      assert.match(violations, /did not send: Tells the time/)
      assert.match(violations, /did not send: sunny/)
    })
  )

  it.live("it waits for its own timeout when it is interrupted", () =>
    Effect.gen(function* () {
      const violations = yield* foundBy(/interrupted/, (llm) => ({
        generate: (request, onDelta) => Effect.uninterruptible(llm.generate(request, onDelta))
      }))
      assert.match(violations, /the provider was not told/)
    })
  )
})
