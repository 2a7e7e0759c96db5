/**
 * The models of a configuration: which one an agent gets, and what each is made of.
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as RateLimiter from "effect/persistence/RateLimiter"
import type * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Llm from "../Llm.ts"
import * as AnthropicLlm from "../llm/AnthropicLlm.ts"
import * as OpenAiLlm from "../llm/OpenAiLlm.ts"
import * as Concurrency from "../middleware/Concurrency.ts"
import * as Fallback from "../middleware/Fallback.ts"
import * as RateLimit from "../middleware/RateLimit.ts"
import * as ResponseCache from "../middleware/ResponseCache.ts"
import * as Retry from "../middleware/Retry.ts"
import * as Timeout from "../middleware/Timeout.ts"
import * as ScriptedLlm from "../testing/ScriptedLlm.ts"
import type { Path } from "./document.ts"
import type { Finding } from "./problems.ts"
import { unknown } from "./problems.ts"
import type { ConfigFile, Model, Secret } from "./schema.ts"
import type * as Schemas from "./schema.ts"

/** What is configured, and the names of the models that the program has besides. */
export interface Source {
  readonly settings: ConfigFile
  readonly programs: ReadonlyArray<string>
  /** The program's model for agents that name none, if the file has no such model. */
  readonly otherwise: string | undefined
}

type Provider = "openai" | "anthropic" | "llama"

const providers = ["openai", "anthropic", "llama"] as const

/** All models that an agent may name. */
export const names = ({ programs, settings }: Source): ReadonlyArray<string> => [
  ...Object.keys(settings.models ?? {}),
  ...programs
]

const defaultProvider = ({ llm }: ConfigFile): Provider | undefined => {
  const configured = providers.filter((provider) => llm?.[provider] !== undefined)
  return llm?.default_provider ?? (configured.length === 1 ? configured[0] : undefined)
}

/** The name of the model of agents that name none, or why there is none. */
export const defaultName = (source: Source): Result.Result<string, Finding> => {
  const { llm } = source.settings
  const known = names(source)
  const name = llm?.default_model
  if (name !== undefined) {
    if (known.includes(name) || defaultProvider(source.settings) !== undefined) return Result.succeed(name)
    const message = `${unknown("model", name, known)}. If it is a provider's model, say whose: default_provider`
    return Result.fail({ path: ["llm", "default_model"], at: "value", message })
  }
  const own = Object.keys(source.settings.models ?? {})
  if (own.length === 1) return Result.succeed(own[0]!)
  if (source.otherwise !== undefined && llm?.default_provider === undefined) return Result.succeed(source.otherwise)
  return Result.fail({
    path: llm === undefined ? [] : ["llm"],
    at: "key",
    message: "there is no default model: set 'llm.default_model', or 'model' of each agent"
  })
}

/** The definition of a model; `undefined` for one of the program's. */
const definition = ({ settings }: Source, name: string): { readonly model: Model; readonly path: Path } | undefined => {
  const model =
    settings.models !== undefined && Object.hasOwn(settings.models, name) ? settings.models[name] : undefined
  if (model !== undefined) return { model, path: ["models", name] }
  return settings.llm?.default_model === name ? { model: {}, path: ["llm", "default_model"] } : undefined
}

const isProgram = (source: Source, name: string): boolean =>
  source.programs.includes(name) && !Object.hasOwn(source.settings.models ?? {}, name)

/** What a model samples with unless an agent says otherwise. */
export const sampling = (source: Source, name: string) => {
  const model = isProgram(source, name) ? undefined : definition(source, name)?.model
  const { llm } = source.settings
  return {
    temperature: model?.temperature ?? llm?.default_temperature,
    maxTokens: model?.max_tokens ?? llm?.default_max_tokens
  }
}

/** What is wrong with the models that can be seen without building them. */
export const findings = (source: Source): ReadonlyArray<Finding> => {
  const { settings } = source
  const known = names(source)
  return Object.entries(settings.models ?? {}).flatMap(([name, model]) => {
    const path = ["models", name]
    const found: Array<Finding> = []
    const wrong = (key: string, message: string) => found.push({ path: [...path, key], at: "value", message })
    const provider = model.provider ?? defaultProvider(settings)
    if (provider === undefined) found.push({ path, at: "key", message: "the key 'provider' is missing" })
    for (const [index, other] of (model.fallback ?? []).entries()) {
      const at = [...path, "fallback", index]
      if (!known.includes(other)) found.push({ path: at, at: "value", message: unknown("model", other, known) })
      else if (reaches(settings, other, name, new Set())) {
        found.push({ path: at, at: "value", message: `'${other}' falls back to '${name}' itself` })
      }
    }
    if (provider === "scripted" && (model.script ?? []).length === 0) {
      found.push({ path, at: "key", message: "a scripted model needs a 'script' with at least one answer" })
    }
    if (model.script !== undefined && provider !== "scripted") wrong("script", "is only for the provider 'scripted'")
    if (model.api !== undefined && provider !== "openai") wrong("api", "is only for the provider 'openai'")
    if (model.reasoning_effort !== undefined && provider !== "openai") {
      wrong("reasoning_effort", "is only for the provider 'openai'")
    }
    return found
  })
}

const reaches = (settings: ConfigFile, from: string, to: string, seen: Set<string>): boolean => {
  if (from === to) return true
  if (seen.has(from)) return false
  seen.add(from)
  return (settings.models?.[from]?.fallback ?? []).some((next) => reaches(settings, next, to, seen))
}

export interface BuildOptions<E, R> {
  readonly programs: Readonly<Record<string, Layer.Layer<Llm.Llm, E, R>>>
  /** The client for servers whose certificates are not checked. */
  readonly insecureClient: Layer.Layer<HttpClient.HttpClient> | undefined
}

type Service = Llm.Llm["Service"]

/** Builds models, each once, whoever else falls back to it. */
export const build = Effect.fnUntraced(function* <E, R>(
  source: Source,
  wanted: ReadonlyArray<string>,
  options: BuildOptions<E, R>
): Effect.fn.Return<ReadonlyMap<string, Service>, E | ReadonlyArray<Finding>, R | HttpClient.HttpClient | Scope.Scope> {
  const built = new Map<string, Service>()
  const found: Array<Finding> = []
  const limits = yield* Layer.build(RateLimiter.layerStoreMemory)

  const one = (name: string): Effect.Effect<Service | undefined, E, R | HttpClient.HttpClient | Scope.Scope> =>
    Effect.gen(function* () {
      const known = built.get(name)
      if (known !== undefined) return known
      const defined = isProgram(source, name) ? undefined : definition(source, name)
      let service: Service
      if (defined === undefined) service = Context.get(yield* Layer.build(options.programs[name]!), Llm.Llm)
      else {
        const { model, path } = defined
        const bare = yield* Effect.result(provider(source, options, name, model, path))
        if (Result.isFailure(bare)) {
          found.push(bare.failure)
          return undefined
        }
        service = yield* Effect.provideContext(wrap(source.settings, name, model)(bare.success), limits)
        const others: Array<Fallback.Named> = []
        for (const other of model.fallback ?? []) {
          const llm = yield* one(other)
          if (llm !== undefined) others.push({ name: other, llm })
        }
        if (others.length > 0) service = Fallback.make([{ name, llm: service }, ...others])
        if (model.cache !== undefined && model.cache !== false) service = yield* cache(model.cache)(service)
      }
      built.set(name, service)
      return service
    })

  for (const name of wanted) yield* one(name)
  return found.length > 0 ? yield* Effect.fail(found) : built
})

/** The model without anything around it. */
const provider = Effect.fnUntraced(function* (
  { settings }: Source,
  options: BuildOptions<unknown, unknown>,
  name: string,
  entry: Model,
  path: Path
): Effect.fn.Return<Service, Finding, HttpClient.HttpClient> {
  const { llm } = settings
  const kind = entry.provider ?? defaultProvider(settings)
  const model = entry.model ?? name
  const failed = (message: string): Finding => ({ path, at: "key", message })
  const key = (provider: Provider) =>
    entry.api_key === undefined
      ? secret(llm?.[provider]?.api_key, ["llm", provider, "api_key"])
      : secret(entry.api_key, [...path, "api_key"])

  switch (kind) {
    case "scripted": {
      const script = entry.script ?? []
      let turn = 0
      return ScriptedLlm.make([], () => script[turn++ % script.length]!)
    }
    case "openai": {
      const { organization, project } = llm?.openai ?? {}
      const layer = OpenAiLlm.layerConfig({
        model,
        api: entry.api,
        apiKey: yield* key("openai"),
        baseUrl: entry.base_url ?? llm?.openai?.api_base ?? (yield* variable("OPENAI_BASE_URL")) ?? openAi,
        organization,
        project,
        reasoning: entry.reasoning_effort === undefined ? undefined : { effort: entry.reasoning_effort }
      })
      return yield* fromLayer(layer, failed)
    }
    case "anthropic":
      return yield* fromLayer(
        AnthropicLlm.layerConfig({
          model,
          ...optional("apiKey", yield* key("anthropic")),
          ...optional("baseUrl", entry.base_url ?? llm?.anthropic?.base_url)
        }),
        failed
      )
    case "llama": {
      const baseUrl = entry.base_url ?? llm?.llama?.base_url ?? (yield* variable("LLAMA_BASE_URL"))
      if (baseUrl === undefined) return yield* Effect.fail(failed("needs a 'base_url', here or in 'llm.llama'"))
      const made = OpenAiLlm.make({ model, baseUrl, apiKey: yield* key("llama") })
      if (llm?.llama?.insecure !== true || !baseUrl.startsWith("https:")) return yield* made
      // Fresh, because clients of a platform share layers that would be those of the ordinary client.
      if (options.insecureClient !== undefined) return yield* Effect.provide(made, Layer.fresh(options.insecureClient))
      return yield* Effect.fail<Finding>({
        path: ["llm", "llama", "insecure"],
        at: "value",
        message: "this program has no HTTP client that accepts invalid certificates (option 'insecureClient')"
      })
    }
    case undefined:
      return yield* Effect.fail(failed("the key 'provider' is missing"))
  }
})

const openAi = "https://api.openai.com/v1"

const optional = <K extends string, V>(key: K, value: V | undefined): { readonly [_ in K]?: V } =>
  // A computed key loses its name in the type.
  (value === undefined ? {} : { [key]: value }) as { readonly [_ in K]?: V }

const fromLayer = (
  layer: Layer.Layer<Llm.Llm, Config.ConfigError, HttpClient.HttpClient>,
  failed: (message: string) => Finding
) => Effect.mapError(Effect.provide(Llm.Llm, layer), ({ cause }) => failed(cause.message.replace(/\s*\n\s*/g, " ")))

const variable = (name: string): Effect.Effect<string | undefined> =>
  Effect.orDie(Effect.map(Config.option(Config.NonEmptyString(name)), Option.getOrUndefined))

const secret = (reference: Secret | undefined, path: Path): Effect.Effect<Redacted.Redacted | undefined, Finding> => {
  if (reference === undefined) return Effect.undefined
  const name = typeof reference === "string" ? reference.slice(2, -1) : reference.env
  const message = `the variable ${name} of the environment is not set`
  return Effect.mapError(Config.Redacted(name), () => ({ path, at: "value", message }))
}

/** The middleware of a model, nearest first. */
const wrap =
  (settings: ConfigFile, name: string, model: Model): Llm.Middleware<RateLimiter.RateLimiterStore | Scope.Scope> =>
  (llm) =>
    Effect.gen(function* () {
      const { max_concurrent: concurrent, rate_limit: limit } = model
      let wrapped = yield* Timeout.make(timeout(model.timeout ?? settings.timeout))(llm)
      if (limit !== undefined) {
        const { max_wait_ms: maxWait, requests, tokens, window_ms: window } = limit
        wrapped = yield* RateLimit.make({ key: name, requests, tokens, window, maxWait })(wrapped)
      }
      if (concurrent !== undefined) wrapped = yield* Concurrency.make(concurrent)(wrapped)
      return yield* Retry.make(retry(model.retry ?? settings.retry))(wrapped)
    })

const timeout = (setting: Schemas.Timeout | undefined = "default"): Timeout.Options => {
  if (setting === "default") return Timeout.defaults
  if (typeof setting === "string") return Timeout[setting]
  return { total: setting.total_ms, firstToken: setting.first_response_ms, idle: setting.idle_ms }
}

const retry = (setting: Schemas.Retry | undefined = "default"): Retry.Options => {
  if (setting === "default") return Retry.defaults
  if (typeof setting === "string") return Retry[setting]
  return {
    schedule: Retry.backoff({
      maxRetries: setting.max_attempts ?? 3,
      initialDelay: setting.initial_delay_ms ?? 100,
      maxDelay: setting.max_delay_ms ?? 30_000,
      multiplier: setting.backoff_multiplier ?? 2,
      jitter: setting.jitter_factor ?? 0.1
    }),
    maxDuration: setting.total_ms ?? 60_000
  }
}

const cache = (setting: Exclude<Model["cache"], undefined>): Llm.Middleware<Scope.Scope> => {
  const { capacity, ttl_ms: timeToLive } = typeof setting === "boolean" ? {} : setting
  return ResponseCache.make({ capacity, timeToLive })
}
