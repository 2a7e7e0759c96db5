/**
 * Anthropic's Messages API as an `Llm`: for Claude, and for the servers that speak it, such as gateways, DeepSeek and
 * llama.cpp.
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
import * as ClosedSchema from "../internal/closedSchema.ts"
import * as HttpLlm from "../internal/httpLlm.ts"
import * as JsonSchema from "../internal/jsonSchema.ts"
import * as MessagesRequest from "../internal/wire/messagesRequest.ts"
import * as MessagesResponse from "../internal/wire/messagesResponse.ts"
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
  /** Sent as `x-api-key`. Not to be forgotten: a server that needs none gets `undefined`. */
  readonly apiKey: Redacted.Redacted | undefined
  /**
   * The server, with or without a trailing slash. Default: `https://api.anthropic.com`.
   *
   * **Details**
   *
   * - A path that ends in `/messages` is the endpoint itself.
   * - If the path has a version segment (`/v1`, `/api/v1`), `/messages` is appended.
   * - Otherwise `/v1/messages` is appended.
   *
   * A query stays behind the path.
   */
  readonly baseUrl?: string | undefined
  /** The version of the API. Default: `2023-06-01`. */
  readonly version?: string | undefined
  /** Features in beta to turn on, by the names that `anthropic-beta` has for them. */
  readonly beta?: ReadonlyArray<string> | undefined
  /**
   * The bound of the tokens that one answer may have, thinking included, when a request names none: the API demands
   * one. Default: 16,384, and the thinking budget on top, because a longer answer in one piece may take longer than
   * connections live. Models before Claude 4 allow less.
   */
  readonly maxTokens?: number | undefined
  /**
   * Whether the model thinks before it answers. Default: what the model does by itself, which is not to think for most.
   *
   * **Details**
   *
   * - `"adaptive"`: as much as it sees fit, for Claude 4.6 and later.
   * - `{ budgetTokens }`: for Claude up to 4.6. At least 1,024, and less than the bound of the answer. A call that forces
   *   a tool, and what follows until a user speaks again, goes without: the API refuses to have both.
   * - `"disabled"`: not at all, for models that think by themselves.
   */
  readonly thinking?: "adaptive" | "disabled" | { readonly budgetTokens: number } | undefined
  /**
   * Whether the beginning of the prompt is cached for five minutes: the tools, the system prompt and the conversation.
   * Default: `true`.
   *
   * **Details**
   *
   * Each call of a run repeats the whole prompt of the call before it. What is written to the cache costs a quarter
   * more than other input, what is read from it a tenth, so it pays from the second call on. Turn it off for agents
   * that call the model once. Four markers, which is all that the API takes: the last tool, the system prompt and the
   * last two user messages.
   */
  readonly promptCache?: boolean | undefined
  /** Whether the model may call several tools in one answer. Default: `true`. */
  readonly parallelToolCalls?: boolean | undefined
}

const anthropicUrl = "https://api.anthropic.com"

const isAnthropic = (baseUrl: string): boolean => /^https:\/\/([\w-]+\.)?anthropic\.com(:\d+)?(\/|$)/i.test(baseUrl)

const endpoint = (baseUrl: string): string => {
  const [, base = baseUrl, query = ""] = /^([^?]*?)\/*(\?.*)?$/.exec(baseUrl) ?? []
  if (base.endsWith("/messages")) return base + query
  const path = base.replace(/^\w+:\/\/[^/]*/, "")
  const version = /\/v\d\w*(\/|$)/.test(path) ? "" : "/v1"
  return `${base}${version}/messages${query}`
}

/**
 * Makes a model service that speaks the Messages API.
 *
 * **Details**
 *
 * - Without `onDelta` the response is fetched in one piece, with it as a stream of server-sent events.
 * - Thinking becomes reasoning parts. What the API wants back with it, a signature or redacted data, is in their
 *   options as `anthropic: { info }`, as in Effect's own Anthropic provider, and is sent back.
 * - `output` becomes the JSON Schema of `output_config`, closed and without the constraints that the API does not know.
 *   A schema that cannot be said so, with recursion, dictionaries or tuples, becomes an instruction in the system
 *   prompt. The runtime checks the answer in either case. Tools annotated with `Tool.Strict` are treated alike.
 * - Files are images, PDF documents (both as bytes or URLs) and texts.
 * - `inputTokens` are all of them, those written to the cache and read from it included.
 * - A refusal finishes with `content-filter`, a full context window with `length`, and a pause (`pause_turn`), after
 *   which Anthropic's own tools would go on, with `pause`.
 * - The reasons of a failure: `AuthenticationError` (401, 403), `RateLimitError` (429, with `retryAfter`),
 *   `QuotaExhaustedError`, `ContentPolicyError`, `InvalidRequestError` (other 4xx), `InternalProviderError` (5xx, also
 *   529: overloaded), `InvalidResponseError` (not JSON, no message), and `NetworkError` for the transport, the timeouts
 *   and a stream that ends before the model has finished. What the server reports has
 *   `anthropic: { errorCode, errorType, requestId }` in its metadata, and a prompt that is too long the `errorCode`
 *   `context_length_exceeded`.
 *
 * **Gotchas**
 *
 * - `sampling.seed` is ignored: the API has none. Models after Claude Opus 4.6, and all while they think, refuse other
 *   temperatures than 1.
 * - Provider-defined tools are skipped, and what Anthropic's servers do by themselves (web search, code execution) is
 *   left out of the answer, as are citations.
 * - Models before Claude 4.5 know no `output_config`.
 * - Nothing is retried: use `middleware/Retry`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: Options): Effect.Effect<Llm.Llm["Service"], never, HttpClient.HttpClient> =>
  HttpLlm.make({
    ...options,
    module: "AnthropicLlm",
    provider: "anthropic",
    url: endpoint(options.baseUrl ?? anthropicUrl),
    authorize: (apiKey) => ({ "x-api-key": apiKey }),
    headers: {
      "anthropic-version": options.version ?? "2023-06-01",
      ...(options.beta !== undefined && options.beta.length > 0 && { "anthropic-beta": options.beta.join(",") })
    },
    body: (request, isStream) => requestBody(options, request, isStream),
    answer: MessagesResponse.make
  })

// JSON has no `undefined`: what is `undefined` here is absent from the request.
const requestBody = (options: Options, request: Llm.LlmRequest, isStream: boolean) => {
  const { output, sampling } = request
  const schema = output && JsonSchema.of(output.schema)
  const format = schema && ClosedSchema.close(schema)
  const system = MessagesRequest.text(
    schema === undefined || format !== undefined
      ? request.instructions
      : JsonSchema.inWords(request.instructions, schema)
  )
  const tools = request.tools.flatMap(MessagesRequest.tool)
  const messages = MessagesRequest.messages(request.history)
  const isCached = options.promptCache ?? true
  return {
    model: sampling.model ?? options.model,
    max_tokens: sampling.maxTokens ?? options.maxTokens ?? defaultMaxTokens + thinkingBudget(options),
    ...(system.length > 0 && { system: isCached ? MessagesRequest.cacheBlocks(system) : system }),
    messages: isCached ? MessagesRequest.cacheMessages(messages) : messages,
    // A choice without tools is refused.
    ...(tools.length > 0 && {
      tools: isCached ? MessagesRequest.cacheBlocks(tools) : tools,
      tool_choice: toolChoice(options, request.toolChoice)
    }),
    thinking: thinking(options, {
      isForced: tools.length > 0 && isForced(request.toolChoice),
      mayThink: MessagesRequest.mayThink(messages),
      maxTokens: sampling.maxTokens ?? options.maxTokens ?? Infinity
    }),
    temperature: sampling.temperature,
    top_p: sampling.topP,
    stop_sequences: sampling.stop?.length === 0 ? undefined : sampling.stop,
    output_config: format && { format: { type: "json_schema", schema: format } },
    stream: isStream ? true : undefined
  }
}

const defaultMaxTokens = 16_384

const thinkingBudget = ({ thinking }: Options): number => (typeof thinking === "object" ? thinking.budgetTokens : 0)

const leastBudget = 1024

const thinking = (
  { thinking }: Options,
  call: { readonly isForced: boolean; readonly mayThink: boolean; readonly maxTokens: number }
) => {
  // A forced tool and thinking exclude each other.
  if (call.isForced && thinking !== "disabled") return undefined
  if (typeof thinking === "object") {
    // The budget is part of what the model may write.
    const budget = Math.min(thinking.budgetTokens, call.maxTokens - 1)
    return call.mayThink && budget >= leastBudget ? { type: "enabled", budget_tokens: budget } : undefined
  }
  // Newer models think in silence unless they are asked for a summary.
  return thinking === "adaptive" ? { type: "adaptive", display: "summarized" } : thinking && { type: thinking }
}

const isForced = (choice: Llm.ToolChoice): boolean => choice === "required" || typeof choice === "object"

const toolChoice = ({ parallelToolCalls }: Options, choice: Llm.ToolChoice) => {
  if (choice === "none") return { type: "none" }
  const single = parallelToolCalls === false ? { disable_parallel_tool_use: true } : undefined
  if (choice === "auto") return single && { type: "auto", ...single }
  return choice === "required" ? { type: "any", ...single } : { type: "tool", name: choice.tool, ...single }
}

/**
 * A layer with a model that speaks the Messages API.
 *
 * **Example**
 *
 * ```ts
 * import * as AnthropicLlm from "effect-agent-runtime/llm/AnthropicLlm"
 * import * as Redacted from "effect/Redacted"
 *
 * const claude = AnthropicLlm.layer({ apiKey: Redacted.make("sk-ant-..."), model: "claude-haiku-4-5" })
 * ```
 *
 * @see {@link make} for what requests and responses become
 * @see {@link layerConfig} for a key from the environment
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<Llm.Llm, never, HttpClient.HttpClient> =>
  Layer.effect(Llm.Llm, make(options))

/**
 * A layer with a model that speaks the Messages API, configured by the environment.
 *
 * **Details**
 *
 * Reads what `options` does not have: the model from `ANTHROPIC_MODEL`, the server from `ANTHROPIC_BASE_URL` (Anthropic
 * when it is absent) and the key from `ANTHROPIC_API_KEY`, which only Anthropic's own hosts demand.
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
      apiKey: orElse(options.apiKey, isAnthropic(baseUrl) ? keyConfig : optionalKeyConfig)
    })
  )

const orElse = <A>(value: A | undefined, config: Config.Config<A>): Config.Config<A> =>
  value === undefined ? config : Config.succeed(value)

const notHttp = "ANTHROPIC_BASE_URL has to begin with http:// or https://"

const serverConfig = Config.schema(
  Schema.String.annotate({ message: notHttp }).check(Schema.isPattern(/^https?:\/\/[^/]/i, { message: notHttp })),
  "ANTHROPIC_BASE_URL"
).pipe(Config.withDefault(anthropicUrl))

const present = (message: string) => Schema.String.annotate({ message }).check(Schema.isNonEmpty({ message }))

const modelConfig = Config.schema(present("No model: set ANTHROPIC_MODEL to the name of one"), "ANTHROPIC_MODEL")

const keyConfig: Config.Config<Redacted.Redacted | undefined> = Config.schema(
  Schema.Redacted(present("No API key: Anthropic needs one in ANTHROPIC_API_KEY")),
  "ANTHROPIC_API_KEY"
)

const optionalKeyConfig = Config.map(Config.option(Config.Redacted("ANTHROPIC_API_KEY")), Option.getOrUndefined)
