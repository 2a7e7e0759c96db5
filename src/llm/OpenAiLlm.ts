/**
 * OpenAI's Chat Completions API as an `Llm`: for OpenAI itself and for the many servers that speak it, such as
 * llama.cpp, LM Studio, Ollama, vLLM and OpenRouter.
 *
 * @since 0.1.0
 */
import * as AiError from "effect/ai/AiError"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Sse from "effect/encoding/Sse"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as ChatRequest from "../internal/chatRequest.ts"
import * as ChatResponse from "../internal/chatResponse.ts"
import * as HttpAiError from "../internal/httpAiError.ts"
import * as JsonSchema from "../internal/jsonSchema.ts"
import * as Llm from "../Llm.ts"

/**
 * Where the model is and how to talk to it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The model that answers when a request does not name one. */
  readonly model: string
  /**
   * The server, with or without a trailing slash. Default: `https://api.openai.com/v1`.
   *
   * **Details**
   *
   * - A path that ends in `/chat/completions` is the endpoint itself.
   * - If the path has a version segment (`/v1`, `/api/v1`, `/v1beta/openai`), `/chat/completions` is appended.
   * - Otherwise `/v1/chat/completions` is appended: `http://localhost:11434` is enough for Ollama.
   *
   * A query stays behind the path.
   */
  readonly baseUrl?: string | undefined
  /** Sent as a bearer token. Local servers usually need none. */
  readonly apiKey?: Redacted.Redacted | undefined
  readonly organization?: string | undefined
  readonly project?: string | undefined
  /**
   * The request field for `sampling.maxTokens`. Default: `max_completion_tokens` for OpenAI's own hosts, whose newer
   * models refuse the older name, and `max_tokens` elsewhere, where the newer one is often unknown.
   */
  readonly maxTokensField?: "max_tokens" | "max_completion_tokens" | undefined
  /**
   * The longest wait for a response to begin. Default: 5 minutes, because an answer that is not streamed begins when
   * it is complete, and local servers read the whole prompt first.
   */
  readonly firstByteTimeout?: Duration.Input | undefined
  /** The longest silence within a response. Default: 2 minutes. */
  readonly idleTimeout?: Duration.Input | undefined
}

const openAiUrl = "https://api.openai.com/v1"

const isOpenAi = (baseUrl: string): boolean => /^https:\/\/([\w-]+\.)?api\.openai\.com(:\d+)?(\/|$)/i.test(baseUrl)

const endpoint = (baseUrl: string): string => {
  const [, base = baseUrl, query = ""] = /^([^?]*?)\/*(\?.*)?$/.exec(baseUrl) ?? []
  if (base.endsWith("/chat/completions")) return base + query
  const path = base.replace(/^\w+:\/\/[^/]*/, "")
  const version = /\/v\d\w*(\/|$)/.test(path) ? "" : "/v1"
  return `${base}${version}/chat/completions${query}`
}

// More than any answer has: a server that never stops must not fill the memory.
const maxResponseBytes = 64 * 1024 * 1024

/**
 * Makes a model service that speaks Chat Completions.
 *
 * **Details**
 *
 * - Without `onDelta` the response is fetched in one piece, with it as a stream of server-sent events.
 * - `output` becomes a `json_schema` response format, not a `strict` one, for which many schemas do not qualify; the
 *   runtime checks the answer. Tools are `strict` when they are annotated with `Tool.Strict`.
 * - A tool call without an id gets one that begins with `call_`.
 * - The reasons of a failure: `AuthenticationError` (401, 403), `RateLimitError` (429, with `retryAfter`),
 *   `QuotaExhaustedError`, `ContentPolicyError`, `InvalidRequestError` (other 4xx), `InternalProviderError` (5xx),
 *   `InvalidResponseError` (no JSON, no choices), and `NetworkError` for the transport, the timeouts and a stream
 *   that ends before the model has finished. What a server reports has `openai: { errorCode, errorType, requestId }`
 *   in its metadata, and a prompt that is too long the `errorCode` `context_length_exceeded`, whatever the server.
 *
 * **Gotchas**
 *
 * - Provider-defined tools are skipped: Chat Completions has none. Reasoning is not sent back.
 * - OpenAI takes documents (`file` parts that are not images) as bytes, not as URLs.
 * - A whole call has no time limit, and nothing is retried: use `Effect.timeout` and `Effect.retry`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: Options): Effect.Effect<Llm.Llm["Service"], never, HttpClient.HttpClient> =>
  Effect.map(HttpClient.HttpClient, (client) => {
    const url = endpoint(options.baseUrl ?? openAiUrl)
    const apiKey = options.apiKey === undefined ? "" : Redacted.value(options.apiKey).trim()
    const connection: Connection = {
      options,
      // A request ends with the scope of its call, however that ends.
      client: HttpClient.withScope(client),
      template: HttpClientRequest.post(url, { headers: headers(options, apiKey) }),
      origin: HttpAiError.origin("openai", url, apiKey),
      firstByteTimeout: Duration.fromInputUnsafe(options.firstByteTimeout ?? "5 minutes"),
      idleTimeout: Duration.fromInputUnsafe(options.idleTimeout ?? "2 minutes")
    }
    // Clients do not agree on what to make of a header that cannot be sent; some die.
    return Llm.make(
      /^[\x21-\x7e]*$/.test(apiKey)
        ? (request, onDelta) => generate(connection, request, onDelta)
        : () => Effect.fail(failure(new AiError.AuthenticationError({ kind: "InvalidKey", description: badKey })))
    )
  })

interface Connection {
  readonly options: Options
  readonly client: HttpClient.HttpClient.With<HttpClientError.HttpClientError, Scope.Scope>
  readonly template: HttpClientRequest.HttpClientRequest
  readonly origin: HttpAiError.Origin
  readonly firstByteTimeout: Duration.Duration
  readonly idleTimeout: Duration.Duration
}

const headers = (options: Options, apiKey: string) => ({
  ...(apiKey !== "" && { authorization: `Bearer ${apiKey}` }),
  ...(options.organization !== undefined && { "openai-organization": options.organization }),
  ...(options.project !== undefined && { "openai-project": options.project })
})

// JSON has no `undefined`: what is `undefined` here is absent from the request.
const requestBody = (options: Options, request: Llm.LlmRequest, isStream: boolean) => {
  const { output, sampling } = request
  const isOwn = isOpenAi(options.baseUrl ?? openAiUrl)
  const tools = request.tools.flatMap((tool) => ChatRequest.toolDefinition(tool) ?? [])
  return {
    model: sampling.model ?? options.model,
    messages: ChatRequest.messages(request.instructions, request.history),
    stream: isStream ? true : undefined,
    stream_options: isStream ? { include_usage: true } : undefined,
    // A choice without tools is refused.
    ...(tools.length > 0 && { tools, tool_choice: toolChoice(request.toolChoice) }),
    temperature: sampling.temperature,
    top_p: sampling.topP,
    [options.maxTokensField ?? (isOwn ? "max_completion_tokens" : "max_tokens")]: sampling.maxTokens,
    stop: sampling.stop?.length === 0 ? undefined : sampling.stop,
    seed: sampling.seed,
    response_format: output && {
      type: "json_schema",
      json_schema: { name: output.name, schema: JsonSchema.of(output.schema) }
    }
  }
}

const toolChoice = (choice: Llm.ToolChoice): unknown => {
  if (choice === "auto") return undefined
  return typeof choice === "string" ? choice : { type: "function", function: { name: choice.tool } }
}

const badKey = "The API key has characters that cannot be sent in a header"

const failure = (reason: AiError.AiErrorReason): AiError.AiError =>
  AiError.make({ module: "OpenAiLlm", method: "generate", reason })

const generate = Effect.fnUntraced(
  function* (
    connection: Connection,
    request: Llm.LlmRequest,
    onDelta: ((delta: Llm.Delta) => void) | undefined
  ): Effect.fn.Return<Llm.LlmResponse, AiError.AiErrorReason, Scope.Scope> {
    const { origin } = connection
    const response = yield* send(connection, request, onDelta !== undefined)
    if (response.status < 200 || response.status > 299) return yield* refuse(connection, response)

    // Ids are unique within the conversation, not only within the answer.
    const missingId = (n: number) => `call_${request.history.length}_${n}`
    const answer = ChatResponse.make({ origin, onDelta, missingId })
    const type = response.headers["content-type"] ?? ""
    // Some servers ignore `stream`, some forget to say that they do not.
    if (type.includes("event-stream") || (onDelta !== undefined && !type.includes("json"))) {
      yield* readEvents(connection, response, answer)
    } else {
      const failure = answer.read(yield* readText(connection, response))
      if (failure !== undefined) return yield* failure
    }
    return yield* Effect.fromResult(answer.end())
  },
  Effect.scoped,
  Effect.mapError(failure)
)

const send = Effect.fnUntraced(function* (
  { client, firstByteTimeout, options, origin, template }: Connection,
  request: Llm.LlmRequest,
  isStream: boolean
) {
  const httpRequest = yield* Effect.try({
    try: () => HttpClientRequest.bodyJsonUnsafe(template, requestBody(options, request, isStream)),
    catch: (cause) =>
      new AiError.InvalidRequestError({ description: `The request cannot be written as JSON: ${String(cause)}` })
  })
  return yield* client.execute(httpRequest).pipe(
    Effect.mapError((error) => HttpAiError.fromHttpClient(origin, error)),
    Effect.timeoutOrElse({
      duration: firstByteTimeout,
      orElse: () => Effect.fail(silence(origin, "firstByteTimeout: no response began", firstByteTimeout))
    })
  )
})

const silence = (origin: HttpAiError.Origin, what: string, duration: Duration.Duration) =>
  HttpAiError.transport(origin, `${what} within ${Duration.format(duration)}`)

/** Reads a response piece by piece, bounded in silence and in size. */
const read = (
  { idleTimeout, origin }: Connection,
  response: HttpClientResponse.HttpClientResponse,
  onText: (text: string) => AiError.AiErrorReason | undefined
): Effect.Effect<void, AiError.AiErrorReason> => {
  // Keeps the head of a character that two chunks share.
  const decoder = new TextDecoder()
  let size = 0
  return response.stream.pipe(
    Stream.mapError((error): AiError.AiErrorReason => HttpAiError.fromHttpClient(origin, error)),
    Stream.timeoutOrElse({
      duration: idleTimeout,
      orElse: () => Stream.fail(silence(origin, "idleTimeout: no further data came", idleTimeout))
    }),
    Stream.runForEach((bytes) => {
      size += bytes.length
      const failure = size > maxResponseBytes ? tooLarge() : onText(decoder.decode(bytes, { stream: true }))
      return failure === undefined ? Effect.void : Effect.fail(failure)
    })
  )
}

const tooLarge = () =>
  new AiError.InvalidResponseError({ description: `The response is larger than ${maxResponseBytes} bytes` })

const readText = Effect.fnUntraced(function* (connection: Connection, response: HttpClientResponse.HttpClientResponse) {
  let text = ""
  yield* read(connection, response, (piece) => void (text += piece))
  return text
})

const readEvents = Effect.fnUntraced(function* (
  connection: Connection,
  response: HttpClientResponse.HttpClientResponse,
  answer: ChatResponse.ChatResponse
) {
  let failure: AiError.AiErrorReason | undefined
  const parser = Sse.makeParser((event) => {
    if (event._tag === "Event") failure ??= answer.read(event.data)
  })
  const reading = read(connection, response, (piece) => (parser.feed(piece) === undefined ? failure : tooLarge()))
  // What goes wrong behind a complete answer does not matter any more.
  yield* Effect.catchIf(reading, answer.isComplete, () => Effect.void)
  if (!answer.isComplete()) {
    return yield* HttpAiError.transport(connection.origin, "The stream ended before the model had finished")
  }
})

/** Fails with what the server says about the request, or with as much of it as can be read. */
const refuse = Effect.fnUntraced(function* (connection: Connection, response: HttpClientResponse.HttpClientResponse) {
  let body = ""
  yield* Effect.ignore(read(connection, response, (piece) => void (body += piece)))
  return yield* HttpAiError.fromResponse(connection.origin, response, body, yield* Clock.currentTimeMillis)
})

/**
 * A layer with a model that speaks Chat Completions.
 *
 * **Example**
 *
 * ```ts
 * import * as OpenAiLlm from "effect-agent-runtime/llm/OpenAiLlm"
 *
 * const local = OpenAiLlm.layer({ baseUrl: "http://localhost:11434", model: "qwen3:8b" })
 * ```
 *
 * @see {@link make} for what requests and responses become
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<Llm.Llm, never, HttpClient.HttpClient> =>
  Layer.effect(Llm.Llm, make(options))

/**
 * A layer with a model that speaks Chat Completions, configured by the environment.
 *
 * **Details**
 *
 * Reads what `options` does not have: the model from `OPENAI_MODEL`, the server from `OPENAI_BASE_URL` (OpenAI when it
 * is absent) and the key from `OPENAI_API_KEY`, which only OpenAI's own hosts demand.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Partial<Options> = {}
): Layer.Layer<Llm.Llm, Config.ConfigError, HttpClient.HttpClient> =>
  Layer.effect(
    Llm.Llm,
    Effect.flatMap(config(options), (config) => make({ ...options, ...config }))
  )

const config = (options: Partial<Options>) =>
  Config.flatMap(orElse(options.baseUrl, serverConfig), (baseUrl) =>
    Config.all({
      baseUrl: Config.succeed(baseUrl),
      model: orElse(options.model, modelConfig),
      apiKey: orElse(options.apiKey, isOpenAi(baseUrl) ? keyConfig : optionalKeyConfig)
    })
  )

const orElse = <A>(value: A | undefined, config: Config.Config<A>): Config.Config<A> =>
  value === undefined ? config : Config.succeed(value)

const notHttp = "OPENAI_BASE_URL has to begin with http:// or https://"

const serverConfig = Config.schema(
  Schema.String.annotate({ message: notHttp }).check(Schema.isPattern(/^https?:\/\/[^/]/i, { message: notHttp })),
  "OPENAI_BASE_URL"
).pipe(Config.withDefault(openAiUrl))

const present = (message: string) => Schema.String.annotate({ message }).check(Schema.isNonEmpty({ message }))

const modelConfig = Config.schema(present("No model: set OPENAI_MODEL to the name of one"), "OPENAI_MODEL")

const keyConfig: Config.Config<Redacted.Redacted | undefined> = Config.schema(
  Schema.Redacted(present("No API key: OpenAI needs one in OPENAI_API_KEY")),
  "OPENAI_API_KEY"
)

const optionalKeyConfig = Config.map(Config.option(Config.Redacted("OPENAI_API_KEY")), Option.getOrUndefined)
