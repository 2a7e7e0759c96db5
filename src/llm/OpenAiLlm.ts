/**
 * OpenAI's models as an `Llm`: by the Chat Completions API, which OpenAI itself and the many servers compatible with it
 * speak, such as llama.cpp, LM Studio, Ollama, vLLM and OpenRouter, or by OpenAI's newer Responses API.
 *
 * @since 0.1.0
 */
import type * as Tool from "effect/ai/Tool"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import type * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as HttpLlm from "../internal/httpLlm.ts"
import * as JsonSchema from "../internal/jsonSchema.ts"
import * as StrictSchema from "../internal/strictSchema.ts"
import * as ChatRequest from "../internal/wire/chatRequest.ts"
import * as ChatResponse from "../internal/wire/chatResponse.ts"
import * as ResponsesRequest from "../internal/wire/responsesRequest.ts"
import * as ResponsesResponse from "../internal/wire/responsesResponse.ts"
import * as Llm from "../Llm.ts"

/**
 * Where the model is and how to talk to it: OpenAI, which demands a key, or another server.
 *
 * @category models
 * @since 0.1.0
 */
export type Options = ServerOptions & ({ readonly apiKey: Redacted.Redacted } | { readonly baseUrl: string })

/**
 * Where a model is and how to talk to it.
 *
 * @category models
 * @since 0.1.0
 */
export interface ServerOptions extends HttpLlm.Timeouts {
  /** The model that answers when a request does not name one. */
  readonly model: string
  /**
   * The API to speak. Default: `chat`, Chat Completions, which every server knows. With `responses` OpenAI's models
   * keep from turn to turn what they reasoned.
   */
  readonly api?: "chat" | "responses" | undefined
  /**
   * The server, with or without a trailing slash. Default: `https://api.openai.com/v1`.
   *
   * **Details**
   *
   * - A path that ends in `/chat/completions` (with the other API in `/responses`) is the endpoint itself.
   * - If the path has a version segment (`/v1`, `/api/v1`, `/v1beta/openai`), `/chat/completions` is appended.
   * - Otherwise `/v1/chat/completions` is appended: `http://localhost:11434` is enough for Ollama.
   *
   * A query stays behind the path. Azure OpenAI is `https://<resource>.openai.azure.com/openai/v1`.
   */
  readonly baseUrl?: string | undefined
  /** Sent as a bearer token. Local servers usually need none. */
  readonly apiKey?: Redacted.Redacted | undefined
  readonly organization?: string | undefined
  readonly project?: string | undefined
  /**
   * The request field for `sampling.maxTokens` in Chat Completions. Default: `max_completion_tokens` for the hosts of
   * OpenAI and Azure OpenAI, whose newer models refuse the older name, and `max_tokens` elsewhere, where the newer one
   * is often unknown.
   */
  readonly maxTokensField?: "max_tokens" | "max_completion_tokens" | undefined
  /** Whether the model may call several tools in one turn. Default: as the server likes. */
  readonly parallelToolCalls?: boolean | undefined
  /**
   * Whether the model is made to keep to the schema of `output`. Default: `false`. It is not if the schema has what
   * OpenAI's strict mode does not know: optional properties, objects with any keys, tuples, lengths and formats of
   * strings, examples, defaults.
   */
  readonly strictOutput?: boolean | undefined
  /**
   * How the model reasons; what is absent is left to the server. `false` is for models that do not: the Responses API
   * fails if it is asked for their reasoning. Default: `false` for GPT-3, GPT-4 and OpenAI's chat models.
   */
  readonly reasoning?: Reasoning | false | undefined
}

/**
 * How a model reasons.
 *
 * @category models
 * @since 0.1.0
 */
export interface Reasoning {
  readonly effort?: "none" | "minimal" | "low" | "medium" | "high" | "xhigh" | "max" | undefined
  /** How much the model tells of it, in the Responses API. Default: nothing. */
  readonly summary?: "auto" | "concise" | "detailed" | undefined
}

const openAiUrl = "https://api.openai.com/v1"

const isOpenAi = (baseUrl: string): boolean =>
  /^https:\/\/([\w-]+\.)?(api\.openai|openai\.azure)\.com(:\d+)?(\/|$)/i.test(baseUrl)

const endpoint = (baseUrl: string, path: "/chat/completions" | "/responses"): string => {
  const [, base = baseUrl, query = ""] = /^([^?]*?)\/*(\?.*)?$/.exec(baseUrl) ?? []
  if (base.endsWith(path)) return base + query
  const version = /\/v\d\w*(\/|$)/.test(base.replace(/^\w+:\/\/[^/]*/, "")) ? "" : "/v1"
  return base + version + path + query
}

/**
 * Makes a model service that speaks Chat Completions or the Responses API.
 *
 * **Details**
 *
 * - Without `onDelta` the response is fetched in one piece, with it as a stream of server-sent events.
 * - `output` becomes a `json_schema` format; the runtime checks the answer. The hosts of OpenAI and Azure OpenAI take
 *   objects only: a union or an array becomes an instruction in the system prompt there. Tools are `strict` when they
 *   are annotated with `Tool.Strict`.
 * - A tool call without an id gets one that begins with `call_`.
 * - With the Responses API nothing is stored (`store: false`). Reasoning comes back encrypted and is sent again in
 *   later turns: its part has `openai: { itemId, encryptedContent }` in the options, and the summary as its text.
 * - The reasons of a failure: `AuthenticationError` (401, 403), `RateLimitError` (429, with `retryAfter`),
 *   `QuotaExhaustedError`, `ContentPolicyError`, `InvalidRequestError` (other 4xx), `InternalProviderError` (5xx),
 *   `InvalidResponseError` (no JSON, no choices), and `NetworkError` for the transport, the timeouts and a stream
 *   that ends before the model has finished. What a server reports has `openai: { errorCode, errorType, requestId }`
 *   in its metadata, and a prompt that is too long the `errorCode` `context_length_exceeded`, whatever the server.
 *
 * **Gotchas**
 *
 * - Provider-defined tools are skipped, and so is what a server did with tools of its own, such as a web search.
 * - Chat Completions: reasoning is not sent back, files in the result of a tool are left out, and OpenAI takes
 *   documents (`file` parts that are not images) as bytes, not as URLs.
 * - The Responses API has no `stop` and no `seed`: they are left out.
 * - A whole call has no time limit by default, and nothing is retried: use `middleware/Retry`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: Options): Effect.Effect<Llm.Llm["Service"], never, HttpClient.HttpClient> => {
  const isChat = options.api !== "responses"
  const body = isChat ? chatBody : responsesBody
  const { baseUrl = openAiUrl } = options
  return HttpLlm.make({
    ...options,
    module: "OpenAiLlm",
    provider: "openai",
    url: endpoint(baseUrl, isChat ? "/chat/completions" : "/responses"),
    apiKey: options.apiKey,
    authorize: (apiKey) => ({ authorization: `Bearer ${apiKey}` }),
    headers: headers(options),
    body: (request, isStream) => body(options, isOpenAi(baseUrl) ? withObjectFormat(request) : request, isStream),
    answer: isChat ? ChatResponse.make : ResponsesResponse.make
  })
}

/** OpenAI refuses a format that is no object: a union, for one. Such an answer is asked for in words. */
const withObjectFormat = (request: Llm.LlmRequest): Llm.LlmRequest => {
  const schema = request.output && JsonSchema.of(request.output.schema)
  return schema === undefined || schema.type === "object"
    ? request
    : { ...request, instructions: JsonSchema.inWords(request.instructions, schema), output: undefined }
}

const headers = (options: Options) => ({
  ...(options.organization !== undefined && { "openai-organization": options.organization }),
  ...(options.project !== undefined && { "openai-project": options.project })
})

// JSON has no `undefined`: what is `undefined` here is absent from the request.
const chatBody = (options: Options, request: Llm.LlmRequest, isStream: boolean) => {
  const { output, sampling } = request
  const isOwn = isOpenAi(options.baseUrl ?? openAiUrl)
  const choose = (name: string) => ({ type: "function", function: { name } })
  return {
    model: sampling.model ?? options.model,
    messages: ChatRequest.messages(request.instructions, request.history),
    stream: isStream ? true : undefined,
    stream_options: isStream ? { include_usage: true } : undefined,
    ...toolFields(options, request, ChatRequest.toolDefinition, choose),
    temperature: sampling.temperature,
    top_p: sampling.topP,
    [options.maxTokensField ?? (isOwn ? "max_completion_tokens" : "max_tokens")]: sampling.maxTokens,
    stop: sampling.stop?.length === 0 ? undefined : sampling.stop,
    seed: sampling.seed,
    reasoning_effort: options.reasoning ? options.reasoning.effort : undefined,
    response_format: output && { type: "json_schema", json_schema: outputFormat(options, output) }
  }
}

const responsesBody = (options: Options, request: Llm.LlmRequest, isStream: boolean) => {
  const { instructions, output, sampling } = request
  const model = sampling.model ?? options.model
  const { reasoning = unreasoning.test(model) ? false : {} } = options
  const choose = (name: string) => ({ type: "function", name })
  return {
    model,
    instructions: instructions === "" ? undefined : instructions,
    input: ResponsesRequest.input(request.history),
    store: false,
    include: reasoning ? ["reasoning.encrypted_content"] : undefined,
    stream: isStream ? true : undefined,
    ...toolFields(options, request, ResponsesRequest.toolDefinition, choose),
    temperature: sampling.temperature,
    top_p: sampling.topP,
    max_output_tokens: sampling.maxTokens,
    reasoning: options.reasoning || undefined,
    text: output && { format: { type: "json_schema", ...outputFormat(options, output) } }
  }
}

// Whatever is newer reasons.
const unreasoning = /(^|[/:])(gpt-[34]|chatgpt-|gpt-5[\w.]*-chat)/

// Parameters without tools are refused.
const toolFields = (
  { parallelToolCalls }: Options,
  request: Llm.LlmRequest,
  define: (tool: Tool.Any) => object | undefined,
  choose: (name: string) => object
) => {
  const tools = request.tools.flatMap((tool) => define(tool) ?? [])
  if (tools.length === 0) return {}
  return { tools, tool_choice: toolChoice(request.toolChoice, choose), parallel_tool_calls: parallelToolCalls }
}

const toolChoice = (choice: Llm.ToolChoice, choose: (name: string) => object): unknown => {
  if (choice === "auto") return undefined
  return typeof choice === "string" ? choice : choose(choice.tool)
}

const outputFormat = ({ strictOutput }: Options, { name, schema }: Llm.OutputFormat) => {
  const json = JsonSchema.of(schema)
  const strict = strictOutput === true ? StrictSchema.close(json) : undefined
  return strict === undefined ? { name, schema: json } : { name, schema: strict, strict: true }
}

/**
 * A layer with a model that speaks Chat Completions or the Responses API.
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
 * A layer with a model that is configured by the environment.
 *
 * **Details**
 *
 * Reads what `options` does not have: the model from `OPENAI_MODEL`, the server from `OPENAI_BASE_URL` and the key from
 * `OPENAI_API_KEY`, which only the hosts of OpenAI and Azure OpenAI demand. Where there is neither server nor key, the
 * server is the one in `LLAMA_BASE_URL`; OpenAI if that is absent too.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Partial<ServerOptions> = {}
): Layer.Layer<Llm.Llm, Config.ConfigError, HttpClient.HttpClient> =>
  Layer.effect(
    Llm.Llm,
    Effect.flatMap(config(options), (config) => make({ ...options, ...config }))
  )

const config = (options: Partial<ServerOptions>) =>
  Config.flatMap(orElse(options.baseUrl, serverConfig(options.apiKey)), (baseUrl) =>
    Config.all({
      baseUrl: Config.succeed(baseUrl),
      model: orElse(options.model, modelConfig),
      apiKey: orElse(options.apiKey, isOpenAi(baseUrl) ? keyConfig : optionalKeyConfig)
    })
  )

const orElse = <A>(value: A | undefined, config: Config.Config<A>): Config.Config<A> =>
  value === undefined ? config : Config.succeed(value)

/** The key of OpenAI is never meant for the other server. */
const serverConfig = (apiKey: Redacted.Redacted | undefined) =>
  Config.all({
    server: optionalUrl("OPENAI_BASE_URL"),
    apiKey: orElse(apiKey, optionalKeyConfig),
    llama: optionalUrl("LLAMA_BASE_URL")
  }).pipe(Config.map(({ apiKey, llama, server }) => server ?? (apiKey === undefined ? llama : undefined) ?? openAiUrl))

const optional = <A>(config: Config.Config<A>): Config.Config<A | undefined> =>
  Config.map(Config.option(config), Option.getOrUndefined)

const optionalUrl = (name: string) => {
  const message = `${name} has to begin with http:// or https://`
  const url = Schema.String.annotate({ message }).check(Schema.isPattern(/^https?:\/\/[^/]/i, { message }))
  return optional(Config.schema(url, name))
}

const present = (message: string) => Schema.String.annotate({ message }).check(Schema.isNonEmpty({ message }))

const modelConfig = Config.schema(present("No model: set OPENAI_MODEL to the name of one"), "OPENAI_MODEL")

const keyConfig: Config.Config<Redacted.Redacted | undefined> = Config.schema(
  Schema.Redacted(present("No API key: OpenAI needs one in OPENAI_API_KEY")),
  "OPENAI_API_KEY"
)

const optionalKeyConfig = optional(Config.Redacted("OPENAI_API_KEY"))
