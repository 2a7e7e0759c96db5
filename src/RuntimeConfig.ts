/**
 * Agents declared in a file: YAML or TOML, overridden by the environment and by flags, checked by one schema, and turned
 * into running agents whose tools come from Layers.
 *
 * @since 0.1.0
 */
import type * as Tool from "effect/ai/Tool"
import type * as Toolkit from "effect/ai/Toolkit"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import type * as HttpClient from "effect/http/HttpClient"
import * as JsonSchemas from "effect/JsonSchema"
import type * as JsonSchema from "effect/JsonSchema"
import * as Layer from "effect/Layer"
import * as Path from "effect/Path"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import * as Agent from "./Agent.ts"
import type { AgentError } from "./AgentError.ts"
import type { AgentEvent } from "./AgentEvent.ts"
import * as AgentFactory from "./config/agents.ts"
import * as Documents from "./config/document.ts"
import * as Models from "./config/models.ts"
import * as Observe from "./config/observe.ts"
import * as Overlay from "./config/overlay.ts"
import * as Problems from "./config/problems.ts"
import { ConfigFile } from "./config/schema.ts"
import * as WorkflowFactory from "./config/workflows.ts"
import * as EventHub from "./EventHub.ts"
import { CurrentRun } from "./internal/currentRun.ts"
import * as Llm from "./Llm.ts"
import * as ModelRegistry from "./llm/ModelRegistry.ts"
import * as Workflow from "./Workflow.ts"
import type { WorkflowError } from "./WorkflowError.ts"
import type { RunEvent } from "./WorkflowEvent.ts"
import type { StepShape } from "./WorkflowRun.ts"

/**
 * What is wrong with a configuration, and where.
 *
 * @category errors
 * @since 0.1.0
 */
export const Problem = Schema.Struct({
  /** `file:line:column`, the variable of the environment, or the flag. */
  source: Schema.String,
  /** The keys that lead there, separated by dots; `""` for the whole file. */
  path: Schema.String,
  message: Schema.String
})
export type Problem = typeof Problem.Type

/**
 * A configuration that cannot be used: all that is wrong with it. The message has a line for each problem.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidConfig extends Schema.TaggedError<InvalidConfig>()("InvalidConfig", {
  problems: Schema.Array(Problem)
}) {
  override get message(): string {
    return this.problems
      .map(({ message, path, source }) => `${source}: ${path === "" ? "" : `${path}: `}${message}`)
      .join("\n")
  }
}

/**
 * There is no agent of that name in the file.
 *
 * @category errors
 * @since 0.1.0
 */
export class UnknownAgent extends Schema.TaggedError<UnknownAgent>()("UnknownAgent", {
  name: Schema.String,
  known: Schema.Array(Schema.String)
}) {
  override get message(): string {
    return Problems.unknown("agent", this.name, this.known)
  }
}

/**
 * There is no workflow of that name in the file.
 *
 * @category errors
 * @since 0.1.0
 */
export class UnknownWorkflow extends Schema.TaggedError<UnknownWorkflow>()("UnknownWorkflow", {
  name: Schema.String,
  known: Schema.Array(Schema.String)
}) {
  override get message(): string {
    return Problems.unknown("workflow", this.name, this.known)
  }
}

/**
 * What a file may say, as decoded data. Every key is described in the JSON Schema and in the guide.
 *
 * @category models
 * @since 0.1.0
 */
export type Settings = typeof ConfigFile.Type

/**
 * A configuration that follows the schema: a file, overridden by the environment and by flags.
 *
 * @category models
 * @since 0.1.0
 */
export interface RuntimeConfig {
  readonly settings: Settings
  /** The folder that relative paths in the file are relative to. */
  readonly folder: string
  /** Where a key was set: `file:line:column`, a variable, or a flag. */
  readonly sourceOf: (path: ReadonlyArray<string | number>, what?: "key" | "value") => string
}

/**
 * How a configuration is read.
 *
 * @category models
 * @since 0.1.0
 */
export interface ReadOptions {
  /** Values that win over those of the file and the environment, by dotted path: `{ "agents.helper.model": "large" }`. */
  readonly set?: Readonly<Record<string, string>> | undefined
}

/**
 * The JSON Schema of a configuration file (draft 2020-12), for editors.
 *
 * @category schemas
 * @since 0.1.0
 */
export const jsonSchema = (): JsonSchema.JsonSchema => {
  const { definitions, schema } = Schema.toJsonSchemaDocument(ConfigFile, { onExcessProperty: "error" })
  const document = { title: "effect-agent-runtime", ...schema, $defs: definitions }
  return { $schema: JsonSchemas.META_SCHEMA_URI_DRAFT_2020_12, ...(tidy(document) as JsonSchema.JsonSchema) }
}

/** Puts the description of a key beside its schema instead of behind it, where editors look for it. */
const tidy = (node: unknown): unknown => {
  if (Array.isArray(node)) return node.map(tidy)
  if (!Predicate.isObject(node)) return node
  const { allOf, ...own } = node as Readonly<Record<string, unknown>>
  const parts = Array.isArray(allOf) ? allOf.filter(Predicate.isObject) : []
  return Object.fromEntries(
    Object.entries(
      Object.assign({}, ...parts, own, ...parts.filter((part) => "description" in part)) as object
    ).flatMap(
      // That a number is no larger than integers are goes without saying.
      ([key, value]) => (Math.abs(Number(value)) === Number.MAX_SAFE_INTEGER ? [] : [[key, tidy(value)]])
    )
  )
}

const decode = Schema.decodeUnknownResult(ConfigFile, { errors: "all", onExcessProperty: "error", reportInput: true })

/**
 * Reads the text of a configuration, with what the environment and `set` lay over it.
 *
 * **Details**
 *
 * - A variable `AGENT_RUNTIME__LLM__DEFAULT_MODEL` of the environment sets the key `llm.default_model`: segments are
 *   separated by two underscores, and match keys whatever their case. Where a list belongs, commas separate its
 *   elements; where an object belongs, the value is read as YAML. A secret in a variable is used as it is.
 * - `file < environment < set`; objects are merged key by key, lists and values are replaced.
 * - A key without a value is not there.
 * - All problems are reported at once; unknown keys are problems.
 *
 * **Example**
 *
 * ```ts
 * import * as RuntimeConfig from "effect-agent-runtime/RuntimeConfig"
 * import * as Effect from "effect/Effect"
 *
 * const text = `
 * agents:
 *   helper:
 *     instrctions: Be brief.
 * `
 * const problem = RuntimeConfig.parse(text, { format: "yaml", name: "agents.yaml" }).pipe(
 *   Effect.flip,
 *   Effect.map(({ problems }) => problems[0])
 * )
 * Effect.runSync(problem)?.source // => "agents.yaml:4:5"
 * ```
 *
 * @category reading
 * @since 0.1.0
 */
export const parse = Effect.fnUntraced(function* (
  text: string,
  options: ReadOptions & {
    readonly format: "yaml" | "toml"
    /** What problems call the text. */
    readonly name?: string | undefined
    /** The folder that relative paths are relative to. Default: where the program runs. */
    readonly folder?: string | undefined
  }
): Effect.fn.Return<RuntimeConfig, InvalidConfig> {
  const { folder = ".", format, name = `config.${format}` } = options
  const document = Documents.parse(text, format)
  if (Result.isFailure(document)) {
    const problems = document.failure.map(({ column, line, message }) => ({
      source: `${name}:${line}:${column}`,
      path: "",
      message
    }))
    return yield* new InvalidConfig({ problems })
  }
  const written = Overlay.compact(document.success.value ?? {})
  // What is no object has no keys to set: it is refused as it is.
  const isObject = Predicate.isObject(written)
  const variables = isObject ? yield* Effect.orDie(Overlay.variables) : []
  const fromEnvironment = Overlay.fromEnvironment(ConfigFile.ast, written, variables)
  const withEnvironment = apply(written, fromEnvironment)
  const set = isObject ? Object.entries(options.set ?? {}) : []
  const flags = Overlay.fromFlags(ConfigFile.ast, withEnvironment, set)
  const data = apply(withEnvironment, flags)

  const overlays = [...fromEnvironment, ...flags].toReversed()
  const sourceOf: RuntimeConfig["sourceOf"] = (path, what = "value") => {
    const overlay = overlays.find((one) => one.path.every((segment, index) => String(segment) === String(path[index])))
    if (overlay !== undefined) return overlay.source
    // What is not there is reported where it would be: at the nearest key around it.
    for (let length = path.length; length > 0; length--) {
      const place = document.success.locate(path.slice(0, length), length === path.length ? what : "key")
      if (place !== undefined) return `${name}:${place.line}:${place.column}`
    }
    const within = overlays.find((one) => path.every((segment, index) => String(segment) === String(one.path[index])))
    return within !== undefined && path.length > 0 ? within.source : name
  }

  const settings = decode(data)
  if (Result.isSuccess(settings)) return { settings: settings.success, folder, sourceOf }
  return yield* invalid({ sourceOf }, Problems.fromIssue(ConfigFile.ast, settings.failure.issue))
})

const apply = (data: unknown, settings: ReadonlyArray<Overlay.Setting>): unknown =>
  settings.reduce((current, { path, value }) => Overlay.set(current, path, value), data)

const problemsOf = (
  { sourceOf }: Pick<RuntimeConfig, "sourceOf">,
  findings: ReadonlyArray<Problems.Finding>
): ReadonlyArray<Problem> =>
  findings
    .map(({ at, message, path }) => ({ source: sourceOf(path, at), path: path.join("."), message }))
    .toSorted((a, b) => a.source.localeCompare(b.source, "en", { numeric: true }))

const invalid = (config: Pick<RuntimeConfig, "sourceOf">, findings: ReadonlyArray<Problems.Finding>): InvalidConfig =>
  new InvalidConfig({ problems: problemsOf(config, findings) })

/**
 * Reads a configuration file, by its extension: `.yaml`, `.yml` or `.toml`.
 *
 * @see {@link parse} for what is laid over the file
 * @category reading
 * @since 0.1.0
 */
export const load = Effect.fnUntraced(function* (
  file: string,
  options: ReadOptions = {}
): Effect.fn.Return<RuntimeConfig, InvalidConfig, FileSystem.FileSystem | Path.Path> {
  const failed = (message: string) => new InvalidConfig({ problems: [{ source: file, path: "", message }] })
  const format = Documents.formatOf(file)
  if (format === undefined) return yield* failed("a configuration file is called .yaml, .yml or .toml")
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const text = yield* Effect.mapError(fs.readFileString(file), ({ message, reason }) =>
    failed(reason._tag === "NotFound" ? "there is no such file" : message)
  )
  return yield* parse(text, { ...options, format, name: file, folder: path.dirname(path.resolve(file)) })
})

/**
 * What a program brings to a configuration.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<Tools extends Record<string, Tool.Any> = {}, E = never, R = never> {
  /** The tools that agents may name. Their handlers come from the toolkit's Layer. */
  readonly toolkit?: Toolkit.Toolkit<Tools> | undefined
  /** Models that agents may name besides those of the file. Their middleware is their own. */
  readonly models?: Readonly<Record<string, Layer.Layer<Llm.Llm, E, R>>> | undefined
  /** Which of `models` agents get that name none, if the file has no default model. */
  readonly defaultModel?: string | undefined
  /** The agents and workflows to make, with those that they call, and the models that these need. Default: all. */
  readonly only?:
    | { readonly agents?: ReadonlyArray<string> | undefined; readonly workflows?: ReadonlyArray<string> | undefined }
    | undefined
  /** The HTTP client for servers with `insecure: true`: it accepts invalid certificates. */
  readonly insecureClient?: Layer.Layer<HttpClient.HttpClient> | undefined
}

/**
 * An agent of a configuration, and the services that its runs need: its model, and the handlers of its tools.
 *
 * @category models
 * @since 0.1.0
 */
export interface ReadyAgent<out E = never> {
  readonly agent: Agent.Agent<string, Schema.Json, E>
  readonly services: Context.Context<Llm.Llm>
}

/**
 * The agents of a configuration, with all that they need.
 *
 * @category models
 * @since 0.1.0
 */
export interface Agents<Tools extends Record<string, Tool.Any> = {}> {
  readonly names: ReadonlyArray<string>
  /** An agent, for all that takes one, and the services that its runs need (`Effect.provideContext`). */
  readonly get: (name: string) => Effect.Effect<ReadyAgent<Tool.HandlerError<Tools[keyof Tools]>>, UnknownAgent>
  /** Runs an agent, see `Agent.run`. */
  readonly run: (
    name: string,
    input: Agent.AgentInput
  ) => Effect.Effect<Agent.AgentResult<Schema.Json>, AgentError | UnknownAgent | Tool.HandlerError<Tools[keyof Tools]>>
  /** Runs an agent and streams its events, see `Agent.stream`. */
  readonly stream: (
    name: string,
    input: Agent.AgentInput
  ) => Stream.Stream<AgentEvent, AgentError | UnknownAgent | Tool.HandlerError<Tools[keyof Tools]>>
  readonly workflows: ReadonlyArray<string>
  /** Runs a workflow, see `Workflow.run`. */
  readonly runWorkflow: (
    name: string,
    input: unknown
  ) => Effect.Effect<Workflow.WorkflowResult<unknown>, WorkflowError | UnknownWorkflow>
  /** Runs a workflow and streams its events and those of its agents, see `Workflow.stream`. */
  readonly streamWorkflow: (name: string, input: unknown) => Stream.Stream<RunEvent, WorkflowError | UnknownWorkflow>
}

type AnyOptions = Options<Record<string, Tool.Any>, unknown, unknown>

const sourceFor = ({ settings }: RuntimeConfig, options: AnyOptions): AgentFactory.Source => ({
  settings,
  tools: options.toolkit?.tools ?? {},
  programs: Object.keys(options.models ?? {}),
  otherwise: options.defaultModel
})

/**
 * What is wrong with a configuration that follows the schema: names of models, tools and agents that are not there, and
 * circles.
 *
 * @category reading
 * @since 0.1.0
 */
export const check = <Tools extends Record<string, Tool.Any>, E, R>(
  config: RuntimeConfig,
  options: Options<Tools, E, R> = {}
): ReadonlyArray<Problem> => problemsOf(config, findingsIn(sourceFor(config, options as unknown as AnyOptions)))

const findingsIn = (source: AgentFactory.Source): ReadonlyArray<Problems.Finding> => [
  ...Models.findings(source),
  ...AgentFactory.findings(source),
  ...WorkflowFactory.findings(source)
]

/**
 * What a workflow of a configuration looks like, for a diagram.
 *
 * @category reading
 * @since 0.1.0
 */
export const workflowShape = (
  config: RuntimeConfig,
  name: string
): Effect.Effect<StepShape, UnknownWorkflow | InvalidConfig> =>
  Effect.suspend((): Effect.Effect<StepShape, UnknownWorkflow | InvalidConfig> => {
    const source = sourceFor(config, {})
    const known = Object.keys(config.settings.workflows ?? {})
    if (!known.includes(name)) return Effect.fail(new UnknownWorkflow({ name, known }))
    const findings = WorkflowFactory.findings(source)
    if (findings.length > 0) return Effect.fail(invalid(config, findings))
    return Effect.succeed(WorkflowFactory.shape(source, name))
  })

/**
 * A layer with the agents of a configuration, under a key of your own.
 *
 * **Details**
 *
 * - Takes a file or a configuration that was read. Fails with all that is wrong, a secret that is not in the environment
 *   included, before anything runs.
 * - The layer captures what agents need: handlers of tools and the HTTP client. Runs need nothing more.
 * - `events` and `logging` of the file hold for all that the layer is provided to.
 *
 * **Example** (Agents from a file, tools from a Layer)
 *
 * ```ts
 * import * as RuntimeConfig from "effect-agent-runtime/RuntimeConfig"
 * import * as Tool from "effect/ai/Tool"
 * import * as Toolkit from "effect/ai/Toolkit"
 * import * as Context from "effect/Context"
 * import * as Effect from "effect/Effect"
 * import * as Schema from "effect/Schema"
 *
 * const Tools = Toolkit.make(
 *   Tool.make("weather", { parameters: Schema.Struct({ city: Schema.String }), success: Schema.String })
 * )
 * const ToolsLayer = Tools.toLayer({ weather: ({ city }) => Effect.succeed(`Sunny in ${city}`) })
 *
 * class Bots extends Context.Service<Bots, RuntimeConfig.Agents<typeof Tools.tools>>()("app/Bots") {}
 *
 * // Needs a FileSystem, a Path and an HttpClient, which the layers of a platform have.
 * export const BotsLayer = RuntimeConfig.layer(Bots, "agents.yaml", { toolkit: Tools })
 *
 * export const program = Effect.gen(function* () {
 *   const bots = yield* Bots
 *   const { text } = yield* bots.run("forecaster", "What do I need in Bern today?")
 *   return text
 * })
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <Self, Tools extends Record<string, Tool.Any> = {}, E = never, R = never>(
  key: Context.Key<Self, Agents<Tools>>,
  config: string | RuntimeConfig,
  options: Options<Tools, E, R> = {}
): Layer.Layer<
  Self,
  InvalidConfig | E,
  | R
  | HttpClient.HttpClient
  | FileSystem.FileSystem
  | Path.Path
  | Tool.HandlersFor<Tools>
  | Tool.HandlerServices<Tools[keyof Tools]>
> =>
  Layer.unwrap(
    Effect.gen(function* () {
      const loaded = typeof config === "string" ? yield* load(config) : config
      const { folder, settings } = loaded
      const unwritable = (section: "events" | "logging") =>
        Layer.catch(({ message }: { readonly message: string }) =>
          Layer.effectContext(Effect.fail(invalid(loaded, [{ path: [section], at: "key", message }])))
        )
      const logging = unwritable("logging")(Observe.logging(settings, folder))
      const events = unwritable("events")(Observe.events(settings, folder))
      const agents = Layer.effect(key, make(loaded, options))
      return Layer.merge(agents, Layer.provideMerge(events, logging))
    })
  )

const make = Effect.fnUntraced(function* <Tools extends Record<string, Tool.Any>, E, R>(
  config: RuntimeConfig,
  options: Options<Tools, E, R>
) {
  const source = sourceFor(config, options as unknown as AnyOptions)
  const findings = findingsIn(source)
  if (findings.length > 0) return yield* invalid(config, findings)

  const { agents: allAgents = {}, workflows: allWorkflows = {} } = config.settings
  const { only } = options
  const pick = (all: object, wanted: ReadonlyArray<string> | undefined) =>
    Object.keys(all).filter((name) => only === undefined || wanted?.includes(name))
  const workflows = pick(allWorkflows, only?.workflows)
  const inWorkflows = workflows.flatMap((name) => WorkflowFactory.agentsIn(source, name))
  const names = AgentFactory.withCalled(source, [...pick(allAgents, only?.agents), ...inWorkflows])
  const wanted = [...new Set(names.map((name) => AgentFactory.modelOf(source, name)))]
  const models = yield* Effect.catchIf(
    Models.build(source, wanted, { programs: options.models ?? {}, insecureClient: options.insecureClient }),
    (error): error is ReadonlyArray<Problems.Finding> => Array.isArray(error),
    (found) => Effect.fail(invalid(config, found))
  )
  const layers = Object.fromEntries(Array.from(models, ([name, llm]) => [name, Layer.succeed(Llm.Llm, llm)]))
  const registry = yield* Layer.build(ModelRegistry.layer(layers, wanted[0] ?? ""))
  const captured = yield* Effect.context<Tool.HandlersFor<Tools> | Tool.HandlerServices<Tools[keyof Tools]>>()
  // What belongs to whoever runs an agent is not the layer's.
  const callers = [CurrentRun, EventHub.EventHub, Scope.Scope, Tracer.ParentSpan] as const
  const services = Context.omit(...callers)(Context.merge(captured, registry))
  const ready = yield* AgentFactory.build(source, names, services)

  const slots = config.settings.workflow?.max_concurrent
  const semaphore = slots === undefined ? undefined : yield* Semaphore.make(slots)
  const get: Agents<Tools>["get"] = (name) => {
    // How runs fail by tools is known by the toolkit.
    const found = ready.get(name) as ReadyAgent<Tool.HandlerError<Tools[keyof Tools]>> | undefined
    return found === undefined ? Effect.fail(new UnknownAgent({ name, known: names })) : Effect.succeed(found)
  }
  const together = WorkflowFactory.servicesOf(ready.values(), services)
  const made = new Map(workflows.map((name) => [name, WorkflowFactory.make(source, ready, name)]))
  const find = (name: string) => {
    const found = made.get(name)
    return found === undefined ? Effect.fail(new UnknownWorkflow({ name, known: workflows })) : Effect.succeed(found)
  }
  const limited = <A, E>(run: Effect.Effect<A, E>) => (semaphore === undefined ? run : semaphore.withPermit(run))
  const limitedStream = <A, E>(run: Stream.Stream<A, E>) =>
    semaphore === undefined
      ? run
      : Stream.unwrap(
          Effect.as(
            Effect.acquireRelease(semaphore.take(1), () => semaphore.release(1)),
            run
          )
        )
  const agents: Agents<Tools> = {
    names,
    get,
    run: (name, input) =>
      limited(
        Effect.flatMap(get(name), ({ agent, services }) => Effect.provideContext(Agent.run(agent, input), services))
      ),
    stream: (name, input) =>
      limitedStream(
        Stream.unwrap(
          Effect.map(get(name), ({ agent, services }) => Stream.provideContext(Agent.stream(agent, input), services))
        )
      ),
    workflows,
    runWorkflow: (name, input) =>
      limited(Effect.flatMap(find(name), (workflow) => Effect.provideContext(Workflow.run(workflow, input), together))),
    streamWorkflow: (name, input) =>
      limitedStream(
        Stream.unwrap(
          Effect.map(find(name), (workflow) => Stream.provideContext(Workflow.stream(workflow, input), together))
        )
      )
  }
  return agents
})
