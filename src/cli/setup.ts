/**
 * What commands that run agents have in common: their flags, and the agents that these and a configuration make.
 */
import { pathToFileURL } from "node:url"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import type * as Tool from "effect/ai/Tool"
import type * as Toolkit from "effect/ai/Toolkit"
import * as Flag from "effect/cli/Flag"
import type * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { AgentError } from "../AgentError.ts"
import type { AgentEvent } from "../AgentEvent.ts"
import * as RuntimeConfig from "../RuntimeConfig.ts"
import * as Session from "../Session.ts"
import * as FileSession from "../session/FileSession.ts"
import type { SessionError } from "../SessionError.ts"
import * as Toolbox from "../Toolbox.ts"
import * as Failure from "./failure.ts"
import * as Model from "./model.ts"
import * as BuiltIn from "./tools.ts"

export const configFlag = Flag.File("config").pipe(
  Flag.withAlias("c"),
  Flag.withDescription(
    "The configuration: YAML or TOML. Default: agent-runtime.yaml, .yml or .toml in this folder, or else one agent with a "
      + "calculator and a clock"
  ),
  Flag.optional
)

export const setFlag = Flag.KeyValuePair("set").pipe(
  Flag.withDescription("Set a key of the configuration, by its path: --set limits.turns=5. May be repeated"),
  Flag.withDefault({})
)

/** The flags of commands that run an agent. */
export const agentFlags = {
  config: configFlag,
  set: setFlag,
  agent: Flag.String("agent").pipe(
    Flag.withAlias("a"),
    Flag.withDescription("The agent to run. Not needed if there is only one"),
    Flag.optional
  ),
  model: Flag.String("model").pipe(
    Flag.withAlias("m"),
    Flag.withDescription(
      "Its model: a name in the configuration; 'environment', which OPENAI_MODEL and OPENAI_BASE_URL or OPENAI_API_KEY "
        + "name; or 'offline', a stand-in that does arithmetic"
    ),
    Flag.optional
  ),
  maxTurns: Flag.Int("max-turns").pipe(
    Flag.withDescription("How often the model may be called"),
    Flag.withSchema(Schema.Int.check(Schema.isGreaterThanOrEqualTo(1))),
    Flag.optional
  )
}

export interface AgentFlags {
  readonly config: Option.Option<string>
  readonly set: Readonly<Record<string, string>>
  readonly agent: Option.Option<string>
  readonly model: Option.Option<string>
  readonly maxTurns: Option.Option<number>
}

type Tools = Record<string, Tool.Any>

/** The agents of the configuration. */
export class Agents extends Context.Service<Agents, RuntimeConfig.Agents<Tools>>()("effect-agent-runtime/cli/Agents") {}

const names = ["agent-runtime.yaml", "agent-runtime.yml", "agent-runtime.toml"]

/** The file that is named, or the one that is there. */
export const findFile = Effect.fnUntraced(function* (named: Option.Option<string>) {
  if (Option.isSome(named)) {
    // Flags make paths absolute. Whoever is in a folder knows it.
    const relative = (yield* Path.Path).relative("", named.value)
    return relative.startsWith("..") ? named.value : relative
  }
  const fs = yield* FileSystem.FileSystem
  for (const name of names) if (yield* Effect.orElseSucceed(fs.exists(name), () => false)) return name
  return undefined
})

const assistant = JSON.stringify({
  instructions:
    "You are a helpful assistant. Use the calculator for all arithmetic, one operation per call; make independent "
    + "calls at the same time. Answer in one short sentence.",
  tools: ["calculator", "current_time"]
})

/** The configuration as it is: without a file, what the environment and the flags say. */
export const read = (file: string | undefined, set: Readonly<Record<string, string>>) =>
  file === undefined
    ? RuntimeConfig.parse("", { format: "yaml", name: "(no file)", set })
    : RuntimeConfig.load(file, { set })

/** The tools of the command line, and those of the module that the configuration names. */
export const toolsOf = Effect.fnUntraced(function* (config: RuntimeConfig.RuntimeConfig) {
  // Which tools there are is not known to types here: their handlers are those of any name.
  const builtIn = BuiltIn.toolkit as unknown as Toolkit.Toolkit<Tools>
  const layer = BuiltIn.layer as Layer.Layer<never> as Layer.Layer<Tool.Handler<string>>
  const module = config.settings.tools?.module
  if (module === undefined) return { toolkit: builtIn, layer }
  const path = yield* Path.Path
  const failed = (message: string) => {
    const source = config.sourceOf(["tools", "module"])
    return new RuntimeConfig.InvalidConfig({ problems: [{ source, path: "tools.module", message }] })
  }
  const url = pathToFileURL(path.resolve(config.folder, module)).href
  const own: unknown = yield* Effect.tryPromise({
    try: () => import(url),
    catch: (cause) => failed(cause instanceof Error ? cause.message : String(cause))
  })
  if (!hasTools(own)) return yield* failed("the module has to export a 'toolkit' and the 'layer' with its handlers")
  const toolkit = yield* Effect.try({
    try: () => Toolbox.merge(builtIn, own.toolkit),
    catch: (cause) => failed(String(cause))
  })
  return { toolkit, layer: Layer.merge(layer, own.layer) }
})

interface Module {
  readonly toolkit: Toolkit.Toolkit<Tools>
  readonly layer: Layer.Layer<Tool.Handler<string>>
}

const hasTools = (module: unknown): module is Module =>
  Predicate.hasProperty(module, "toolkit")
  && Predicate.hasProperty(module.toolkit, "tools")
  && Predicate.hasProperty(module, "layer")
  && Layer.isLayer(module.layer)

/** What agents are made with, here. */
export const options = Effect.fnUntraced(function* (toolkit: Toolkit.Toolkit<Tools>, onOffline: Effect.Effect<void>) {
  return {
    toolkit,
    models: Model.models(onOffline),
    defaultModel: yield* Model.defaultModel,
    insecureClient: NodeHttpClient.layerUndiciOptions({ connect: { rejectUnauthorized: false } })
  }
})

/** The agent of a command, and the layer with it. */
export interface Prepared {
  readonly agent: string
  readonly layer: Layer.Layer<
    Agents,
    RuntimeConfig.InvalidConfig | Config.ConfigError,
    FileSystem.FileSystem | Path.Path
  >
}

/** Chooses the agent of a command, and makes it. `onOffline` is run if its model is the stand-in. */
export const prepare = Effect.fnUntraced(function* (flags: AgentFlags, onOffline: Effect.Effect<void>) {
  const file = yield* findFile(flags.config)
  const isEmpty = Object.keys((yield* read(file, flags.set)).settings.agents ?? {}).length === 0
  const set = isEmpty ? { "agents.assistant": assistant, ...flags.set } : flags.set
  const names = Object.keys((yield* read(file, set)).settings.agents ?? {})
  const agent = Option.getOrElse(flags.agent, () => (names.length === 1 ? names[0]! : ""))
  if (agent === "") {
    return yield* Failure.usage(`Which agent? Say --agent with one of: ${names.join(", ")}.`)
  }
  if (!names.includes(agent)) return yield* new RuntimeConfig.UnknownAgent({ name: agent, known: names })
  const own = {
    ...Option.match(flags.model, { onNone: () => ({}), onSome: (model) => ({ [`agents.${agent}.model`]: model }) }),
    ...Option.match(flags.maxTurns, {
      onNone: () => ({}),
      onSome: (turns) => ({ [`agents.${agent}.limits.turns`]: String(turns) })
    })
  }
  const config = yield* read(file, { ...set, ...own })
  const tools = yield* toolsOf(config)
  const layer = RuntimeConfig.layer(Agents, config, {
    ...(yield* options(tools.toolkit, onOffline)),
    only: { agents: [agent] }
  })
  const prepared: Prepared = { agent, layer: Layer.provide(layer, [tools.layer, NodeHttpClient.layerUndici]) }
  return prepared
})

/** Makes a workflow of the configuration. */
export const prepareWorkflow = Effect.fnUntraced(function* (
  name: string,
  flags: Pick<AgentFlags, "config" | "set">,
  onOffline: Effect.Effect<void>
) {
  const config = yield* read(yield* findFile(flags.config), flags.set)
  const { workflows = {} } = config.settings
  if (!Object.hasOwn(workflows, name)) {
    return yield* new RuntimeConfig.UnknownWorkflow({ name, known: Object.keys(workflows) })
  }
  const tools = yield* toolsOf(config)
  const layer = RuntimeConfig.layer(Agents, config, {
    ...(yield* options(tools.toolkit, onOffline)),
    only: { workflows: [name] }
  })
  const provided: Prepared["layer"] = Layer.provide(layer, [tools.layer, NodeHttpClient.layerUndici])
  return { isJson: workflows[name]!.input === "json", layer: provided }
})

export const sessionFlag = Flag.String("session").pipe(
  Flag.withDescription(
    "Go on with the conversation of this name, and keep what is added, in .agent-runtime/sessions in this folder"
  ),
  Flag.optional
)

/** Runs an agent, in the conversation of a session if there is one. */
export const streamOf = (
  name: string,
  session: Option.Option<string>,
  prompt: string
): Stream.Stream<
  AgentEvent,
  AgentError | RuntimeConfig.UnknownAgent | SessionError,
  Agents | FileSystem.FileSystem | Path.Path
> => {
  if (Option.isNone(session)) return Stream.unwrap(Effect.map(Agents, (agents) => agents.stream(name, prompt)))
  const events = Effect.gen(function* () {
    const { agent, services } = yield* (yield* Agents).get(name)
    return Stream.provideContext(Session.stream(agent, { id: session.value, prompt }), services)
  })
  return Stream.provide(Stream.unwrap(events), FileSession.layer({ directory: ".agent-runtime/sessions" }))
}
