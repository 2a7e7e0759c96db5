/**
 * OpenAI's Chat Completions API as an `Llm`: for OpenAI itself and for the many servers that speak it, such as
 * llama.cpp, LM Studio, Ollama, vLLM and OpenRouter.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import type * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as HttpLlm from "../internal/httpLlm.ts"
import * as JsonSchema from "../internal/jsonSchema.ts"
import * as ChatRequest from "../internal/wire/chatRequest.ts"
import * as ChatResponse from "../internal/wire/chatResponse.ts"
import * as Llm from "../Llm.ts"

/**
 * Where the model is and how to talk to it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options extends HttpLlm.Timeouts {
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
  HttpLlm.make({
    ...options,
    module: "OpenAiLlm",
    provider: "openai",
    url: endpoint(options.baseUrl ?? openAiUrl),
    apiKey: options.apiKey,
    authorize: (apiKey) => ({ authorization: `Bearer ${apiKey}` }),
    headers: headers(options),
    body: (request, isStream) => requestBody(options, request, isStream),
    answer: ChatResponse.make
  })

const headers = (options: Options) => ({
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
