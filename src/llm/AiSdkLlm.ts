/**
 * Any language model of the AI SDK as an `Llm`, so that its many provider packages (`@ai-sdk/*` and those of others)
 * work unchanged. Nothing of the AI SDK is imported here: the model object is all there is to it.
 *
 * @since 0.1.0
 */
import * as AiError from "effect/ai/AiError"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as AiSdkError from "../internal/aiSdkError.ts"
import type * as HttpLlm from "../internal/httpLlm.ts"
import type * as AiSdk from "../internal/wire/aiSdkModel.ts"
import * as AiSdkRequest from "../internal/wire/aiSdkRequest.ts"
import * as AiSdkResponse from "../internal/wire/aiSdkResponse.ts"
import * as Llm from "../Llm.ts"

/**
 * A language model of the AI SDK: whatever has the shape of `LanguageModelV4` of `@ai-sdk/provider` 4, which the
 * provider packages for AI SDK 7 return. Those for older versions describe files and reasons in other ways and are
 * refused by the type.
 *
 * @category models
 * @since 0.1.0
 */
export interface Model extends AiSdk.Model {}

/**
 * How long to wait for the model.
 *
 * **Gotchas**
 *
 * What is measured is what the provider passes on, not bytes: an answer that is not streamed begins when it is
 * complete, and events that only keep a connection alive count as silence.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options extends HttpLlm.Timeouts {
  /**
   * What must not get into errors, such as the API key that the provider was made with: some servers repeat it in what
   * they report. What looks like a key is taken out in any case.
   */
  readonly secrets?: ReadonlyArray<Redacted.Redacted> | undefined
}

/**
 * Makes a model service from a language model of the AI SDK, or from a function that picks one by the
 * `sampling.model` of a request.
 *
 * **Details**
 *
 * - Calls `doStream` with `onDelta` and `doGenerate` without, once: nothing is retried. Interrupting the call aborts it.
 * - `output` becomes a JSON response format with the schema. Tools that a provider defines are passed on to it.
 * - Metadata of parts, such as signatures of reasoning, is kept as their `options` and goes back with them.
 * - Errors have the same reasons as those of `OpenAiLlm`; whatever has a status is read as the answer of a server, with
 *   the provider's name as the key of its metadata. `NetworkError` is for the transport, the timeouts and a stream that
 *   ends before the model has finished; what the provider refuses before it sends anything, such as a
 *   feature that it lacks, is an `InvalidRequestError`, and a missing key an `AuthenticationError`.
 *
 * **Gotchas**
 *
 * - A request that names another model than the one object given is refused: pass a function.
 * - A server that ends its streams without saying why it finished cannot be told from a connection that was cut, because
 *   providers do not pass on what else it sent, such as `[DONE]`: both fail.
 * - URLs of files are passed on whatever the provider's `supportedUrls`: nothing is downloaded.
 * - Sources, approval requests, files of reasoning and parts of a provider's own kind have no place in a history and are
 *   left out.
 * - Neither requests nor their headers get into errors. What a server answered does, without the `secrets` of the options.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  model: Model | ((modelId: string | undefined) => Model),
  options: Options = {}
): Llm.Llm["Service"] => {
  const settings: Settings = {
    model,
    firstByteTimeout: Duration.fromInputUnsafe(options.firstByteTimeout ?? "5 minutes"),
    idleTimeout: Duration.fromInputUnsafe(options.idleTimeout ?? "2 minutes"),
    totalTimeout: Duration.fromInputUnsafe(options.totalTimeout ?? Duration.infinity),
    secrets: (options.secrets ?? []).map((secret) => Redacted.value(secret))
  }
  return Llm.make((request, onDelta) =>
    Effect.mapError(generate(settings, request, onDelta), (reason) =>
      AiError.make({ module: "AiSdkLlm", method: "generate", reason })
    )
  )
}

interface Settings {
  readonly model: Model | ((modelId: string | undefined) => Model)
  readonly firstByteTimeout: Duration.Duration
  readonly idleTimeout: Duration.Duration
  readonly totalTimeout: Duration.Duration
  readonly secrets: ReadonlyArray<string>
}

/** A model for one call. */
interface Called extends Omit<Settings, "model"> {
  readonly model: Model
  readonly failure: (error: unknown) => AiError.AiErrorReason
}

const generate = Effect.fnUntraced(function* (
  settings: Settings,
  request: Llm.LlmRequest,
  onDelta: ((delta: Llm.Delta) => void) | undefined
) {
  const clock = yield* Clock.Clock
  const failureOf = (provider: string) => (error: unknown) =>
    AiSdkError.fromUnknown({ provider, secrets: settings.secrets }, error, clock.currentTimeMillisUnsafe())
  const model = yield* choose(settings.model, request.sampling.model, failureOf("ai-sdk"))
  const called: Called = { ...settings, model, failure: failureOf(model.provider) }
  const call = Effect.scoped(exchange(called, request, onDelta))
  return yield* Duration.isFinite(settings.totalTimeout)
    ? inTime(called, "totalTimeout", "no complete answer")(call)
    : call
})

const sourceOf = ({ model, secrets }: Called): AiSdkError.Source => ({ provider: model.provider, secrets })

const choose = (model: Settings["model"], modelId: string | undefined, failure: Called["failure"]) => {
  if (typeof model === "function") return Effect.try({ try: () => model(modelId), catch: failure })
  return modelId === undefined || modelId === model.modelId
    ? Effect.succeed(model)
    : Effect.fail(new AiError.InvalidRequestError({ parameter: "model", description: `There is no "${modelId}" here` }))
}

const exchange = Effect.fnUntraced(function* (
  called: Called,
  request: Llm.LlmRequest,
  onDelta: ((delta: Llm.Delta) => void) | undefined
): Effect.fn.Return<Llm.LlmResponse, AiError.AiErrorReason, Scope.Scope> {
  const { model } = called
  const call = yield* Effect.try({
    try: () => AiSdkRequest.callOptions(request),
    catch: (cause) => new AiError.InvalidRequestError({ description: `The request cannot be made: ${String(cause)}` })
  })
  // Aborted when the scope closes, which also ends a stream that is not read to its end.
  const options: AiSdk.CallOptions = { ...call, abortSignal: yield* Effect.abortSignal }
  const answer = AiSdkResponse.make(onDelta)
  if (onDelta === undefined) {
    const { content, response = {}, ...finish } = yield* begin(called, () => model.doGenerate(options))
    for (const part of content) answer.read(part)
    answer.read({ type: "response-metadata", ...response })
    answer.read({ type: "finish", ...finish })
  } else {
    const { stream } = yield* begin(called, () => model.doStream(options))
    yield* readStream(called, stream, answer)
  }
  return (
    answer.end() ?? (yield* AiSdkError.transport(sourceOf(called), "The stream ended before the model had finished"))
  )
})

const begin = <A>(called: Called, call: () => PromiseLike<A>) =>
  inTime(called, "firstByteTimeout", "no response began")(Effect.tryPromise({ try: call, catch: called.failure }))

const readStream = (called: Called, stream: ReadableStream<AiSdk.Part>, answer: AiSdkResponse.Answer) =>
  Stream.fromReadableStream({ evaluate: () => stream, onError: called.failure }).pipe(
    Stream.timeoutOrElse({
      duration: called.idleTimeout,
      orElse: () => Stream.fail(silence(called, "idleTimeout", "no further data came"))
    }),
    Stream.runForEach((part) =>
      part.type === "error" ? Effect.fail(called.failure(part.error)) : Effect.sync(() => answer.read(part))
    ),
    // What goes wrong behind a complete answer does not matter any more.
    Effect.catchIf(answer.isComplete, () => Effect.void)
  )

type Timeout = keyof HttpLlm.Timeouts

const inTime = (called: Called, timeout: Timeout, what: string) =>
  Effect.timeoutOrElse({
    duration: called[timeout],
    orElse: () => Effect.fail(silence(called, timeout, what))
  })

const silence = (called: Called, timeout: Timeout, what: string) =>
  AiSdkError.transport(sourceOf(called), `${timeout}: ${what} within ${Duration.format(called[timeout])}`)

/**
 * A layer with a language model of the AI SDK.
 *
 * **Example**
 *
 * ```ts
 * import { createOpenAICompatible } from "@ai-sdk/openai-compatible"
 * import * as AiSdkLlm from "effect-agent-runtime/llm/AiSdkLlm"
 *
 * const provider = createOpenAICompatible({ name: "local", baseURL: "http://localhost:11434/v1" })
 *
 * const local = AiSdkLlm.layer(provider("qwen3:8b"))
 * const byName = AiSdkLlm.layer((modelId = "qwen3:8b") => provider(modelId))
 * ```
 *
 * @see {@link make} for what requests and responses become
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  model: Model | ((modelId: string | undefined) => Model),
  options: Options = {}
): Layer.Layer<Llm.Llm> => Layer.sync(Llm.Llm, () => make(model, options))
