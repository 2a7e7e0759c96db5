/**
 * The agents of a configuration.
 */
import type * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as JsonSchema from "effect/JsonSchema"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { fromJsonSchemaDocument } from "effect/SchemaRepresentation"
import type * as Scope from "effect/Scope"
import * as Agent from "../Agent.ts"
import * as ContextWindow from "../ContextWindow.ts"
import type * as Llm from "../Llm.ts"
import * as LoopDetector from "../LoopDetector.ts"
import * as StopCondition from "../StopCondition.ts"
import * as Models from "./models.ts"
import type { Finding } from "./problems.ts"
import { unknown } from "./problems.ts"
import type * as Schemas from "./schema.ts"

export interface Source extends Models.Source {
  /** The tools that the program has. */
  readonly tools: Readonly<Record<string, Tool.Any>>
}

/** An agent, ready to run: with the services that it has been given, its tools' handlers among them. */
export interface Ready {
  readonly agent: Agent.Agent<string, Schema.Json, unknown>
  readonly services: Context.Context<Llm.Llm>
}

const agentsOf = ({ settings }: Source) => settings.agents ?? {}

/** What is wrong with the agents. */
export const findings = (source: Source): ReadonlyArray<Finding> => {
  const agents = agentsOf(source)
  const models = Models.names(source)
  const fallback = Models.defaultName(source)
  const found: Array<Finding> = []
  if (Result.isFailure(fallback) && Object.values(agents).some(({ model }) => model === undefined)) {
    found.push(fallback.failure)
  }
  for (const [name, agent] of Object.entries(agents)) {
    const wrong = (path: ReadonlyArray<string | number>, message: string) =>
      found.push({ path: ["agents", name, ...path], at: path.length === 0 ? "key" : "value", message })
    if (!/^[\w-]{1,64}$/.test(name)) {
      wrong(
        [],
        "the name of an agent has up to 64 letters, digits, hyphens and underscores: models may call it as a tool"
      )
    }
    const isDefault = Result.isSuccess(fallback) && agent.model === fallback.success
    if (agent.model !== undefined && !models.includes(agent.model) && !isDefault) {
      wrong(["model"], unknown("model", agent.model, models))
    }
    const tools = Object.keys(source.tools)
    for (const [index, tool] of (agent.tools ?? []).entries()) {
      if (!Object.hasOwn(source.tools, tool)) wrong(["tools", index], unknown("tool", tool, tools))
    }
    const others = Object.keys(agents).filter((other) => other !== name)
    for (const [index, other] of (agent.agents ?? []).entries()) {
      if (!Object.hasOwn(agents, other)) wrong(["agents", index], unknown("agent", other, others))
      else if (reaches(agents, other, name, new Set())) wrong(["agents", index], `'${other}' leads back to '${name}'`)
      else if (tools.includes(other)) wrong(["agents", index], `there is a tool '${other}' too`)
    }
    const output = outputOf(agent)
    if (Result.isFailure(output)) wrong(["output"], output.failure)
    const choice = agent.tool_choice
    const callable = [...(agent.tools ?? []), ...(agent.agents ?? [])]
    if (typeof choice === "object" && !callable.includes(choice.tool)) {
      wrong(["tool_choice", "tool"], unknown("tool", choice.tool, callable))
    }
  }
  return found
}

const reaches = (
  agents: Readonly<Record<string, Schemas.Agent>>,
  from: string,
  to: string,
  seen: Set<string>
): boolean => {
  if (from === to) return true
  if (seen.has(from)) return false
  seen.add(from)
  return (agents[from]?.agents ?? []).some((next) => reaches(agents, next, to, seen))
}

/** The schema of an agent's answers. */
const outputOf = ({ output }: Schemas.Agent): Result.Result<Schema.Codec<Schema.Json> | undefined, string> =>
  output === undefined
    ? Result.succeed(undefined)
    : Result.try({
        // What a JSON Schema describes is JSON.
        try: () => fromJsonSchemaDocument(JsonSchema.fromSchemaDraft2020_12(output)) as Schema.Codec<Schema.Json>,
        catch: (thrown) => (thrown instanceof Error ? thrown.message : String(thrown))
      })

/** The agents that these call, directly or not, and themselves: those that are called first. */
export const withCalled = (source: Source, names: ReadonlyArray<string>): ReadonlyArray<string> => {
  const ordered = new Set<string>()
  const visit = (name: string): void => {
    if (ordered.has(name)) return
    for (const other of agentsOf(source)[name]?.agents ?? []) visit(other)
    ordered.add(name)
  }
  names.forEach(visit)
  return [...ordered]
}

/** The model of an agent. */
export const modelOf = (source: Source, name: string): string =>
  // What is wrong with it has been found before.
  agentsOf(source)[name]?.model ?? Result.getOrThrow(Models.defaultName(source))

/** Makes agents out of a configuration without findings; those that are called first. */
export const build = Effect.fnUntraced(function* (
  source: Source,
  names: ReadonlyArray<string>,
  services: Context.Context<Llm.Llm>
): Effect.fn.Return<ReadonlyMap<string, Ready>, never, Scope.Scope> {
  const ready = new Map<string, Ready>()
  for (const name of names) {
    const definition = agentsOf(source)[name]!
    let own = services
    const tools: Array<Tool.Any> = (definition.tools ?? []).map((tool) => source.tools[tool]!)
    for (const other of definition.agents ?? []) {
      const { agent, services: needed } = ready.get(other)!
      const description = agentsOf(source)[other]!.description ?? `Asks the agent '${other}'.`
      const subAgent = Agent.asTool(agent, { description })
      tools.push(subAgent.tool)
      own = Context.merge(own, yield* Effect.provideContext(Layer.build(subAgent.layer), needed))
    }
    ready.set(name, {
      agent: make(source, name, definition, tools, Result.getOrThrow(outputOf(definition))),
      services: own
    })
  }
  return ready
})

/** Stands for an agent where only its name matters. */
export const placeholder = (name: string): Ready["agent"] => Agent.make(name)

/** An agent of the configuration that answers with one of some labels, and uses no tools. */
export const router = (source: Source, name: string, labels: ReadonlyArray<string>): Ready["agent"] =>
  make(source, name, agentsOf(source)[name]!, [], Schema.Literals(labels))

const make = (
  source: Source,
  name: string,
  definition: Schemas.Agent,
  tools: ReadonlyArray<Tool.Any>,
  output: Schema.Codec<Schema.Json> | undefined
): Ready["agent"] => {
  const { settings } = source
  const model = modelOf(source, name)
  const defaults = Models.sampling(source, model)
  const agent: Agent.Agent<string, Schema.Json, unknown, unknown> = Agent.make(name, {
    instructions: definition.instructions,
    toolkit: Toolkit.make(...tools),
    toolChoice: tools.length === 0 ? undefined : definition.tool_choice,
    ...(output !== undefined && { output }),
    toolConcurrency: definition.tool_concurrency,
    stopWhen: stopWhen(settings, definition.limits),
    contextWindow: contextWindow(definition.context_window),
    loopDetector: loopDetector(definition.loop_detection ?? settings.loop_detection),
    streaming: definition.streaming,
    model,
    temperature: definition.temperature ?? defaults.temperature,
    topP: definition.top_p,
    maxTokens: definition.max_tokens ?? defaults.maxTokens,
    stop: definition.stop,
    seed: definition.seed
  })
  // What its tools need is in the context beside it.
  return agent as Ready["agent"]
}

const stopWhen = (settings: Schemas.ConfigFile, own: Schemas.Limits = {}): StopCondition.StopCondition => {
  const limits = { ...settings.limits, ...own }
  const turns = limits.turns ?? settings.workflow?.max_tool_iterations ?? 10
  let condition = StopCondition.maxTurns(turns)
  if (limits.tokens !== undefined) condition = StopCondition.or(condition, StopCondition.tokensAbove(limits.tokens))
  if (limits.duration_ms !== undefined) {
    condition = StopCondition.or(condition, StopCondition.after(limits.duration_ms))
  }
  return condition
}

const contextWindow = ({ tokens, turns }: NonNullable<Schemas.Agent["context_window"]> = {}):
  | ContextWindow.ContextWindow
  | undefined => {
  const ofTurns = turns === undefined ? undefined : ContextWindow.lastTurns(turns)
  const ofTokens = tokens === undefined ? undefined : ContextWindow.tokenBudget(tokens)
  return ofTurns !== undefined && ofTokens !== undefined
    ? ContextWindow.compose(ofTurns, ofTokens)
    : (ofTurns ?? ofTokens)
}

const loopDetector = (setting: Schemas.LoopDetection = true): LoopDetector.LoopDetector | false => {
  if (typeof setting === "boolean") return setting && LoopDetector.make()
  const { max_failures: maxFailures, max_same_error: maxSameError, message, refusals, replays, window } = setting
  return LoopDetector.make({ window, maxFailures, maxSameError, replays, refusals, message })
}
