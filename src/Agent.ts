/**
 * Agents: a model, instructions and tools, run in a loop until the model has an answer.
 *
 * An agent is a value. Running it is an `Effect`, observing it a `Stream`; everything that can go wrong is in `E`,
 * everything it needs (the model, tool handlers) in `R`.
 *
 * @since 0.1.0
 */
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { PartialRun } from "./AgentError.ts"
import type { AgentError } from "./AgentError.ts"
import { InvalidAgent } from "./AgentError.ts"
import type { AgentEvent } from "./AgentEvent.ts"
import * as Budget from "./Budget.ts"
import type { ContextWindow } from "./ContextWindow.ts"
import type { Delivery } from "./EventHub.ts"
import type { History, UserContent } from "./History.ts"
import * as Histories from "./History.ts"
import type { Observer } from "./internal/currentRun.ts"
import { eventStream } from "./internal/eventStream.ts"
import type { RunResult } from "./internal/interpreter.ts"
import { interpret } from "./internal/interpreter.ts"
import { evolve, initial, partial } from "./internal/machine.ts"
import { parsePartial } from "./internal/partialJson.ts"
import type { Definition, Output } from "./internal/run.ts"
import { describe, withCaller } from "./internal/subRun.ts"
import type { Sampling } from "./Llm.ts"
import type { Llm } from "./Llm.ts"
import * as LoopDetector from "./LoopDetector.ts"
import * as StopCondition from "./StopCondition.ts"
import { compile, lookup, Timeout } from "./Toolbox.ts"
import type { Usage } from "./Usage.ts"
import type { RunEvent } from "./WorkflowEvent.ts"
import { isWorkflowEvent } from "./WorkflowEvent.ts"

const TypeId = "~effect-agent-runtime/Agent"

/**
 * An agent that answers with an `Output`. Runs can fail with `E` besides `AgentError`, and need `R` besides `Llm`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Agent<out Name extends string = string, out Output = string, out E = never, out R = never> {
  readonly [TypeId]: {
    readonly _Output: () => Output
    readonly _E: () => E
    readonly _R: () => R
  }
  readonly name: Name
}

/**
 * Any agent.
 *
 * @category utility types
 * @since 0.1.0
 */
export type Any = Agent<string, unknown, unknown, unknown>

/**
 * What an agent answers.
 *
 * @category utility types
 * @since 0.1.0
 */
export type OutputOf<A extends Any> = A extends Agent<string, infer Output, infer _E, infer _R> ? Output : never

/**
 * How runs of an agent fail besides `AgentError`.
 *
 * @category utility types
 * @since 0.1.0
 */
export type ErrorOf<A extends Any> = A extends Agent<string, infer _Output, infer E, infer _R> ? E : never

/**
 * What runs of an agent need besides `Llm`.
 *
 * @category utility types
 * @since 0.1.0
 */
export type ServicesOf<A extends Any> = A extends Agent<string, infer _Output, infer _E, infer R> ? R : never

/** Agents carry their compiled definition, which is nobody's business but this module's. */
interface AgentImpl extends Agent {
  readonly definition: Definition
  readonly outputSchema: Schema.Top
}

// The only implementation of the interface.
const impl = (agent: Agent<string, unknown, unknown, unknown>): AgentImpl => agent as unknown as AgentImpl

/** What the engine needs of an agent. @internal */
export const definitionOf = (agent: Agent<string, unknown, unknown, unknown>): Definition => impl(agent).definition

/**
 * What {@link Options.prepareTurn} may look at: the run before a model call.
 *
 * @category models
 * @since 0.1.0
 */
export interface TurnView {
  /** The turn that is to begin, from 1. */
  readonly turn: number
  readonly history: History
  /** Usage so far, sub-agents included. */
  readonly usage: Usage
  /** The calls that the model asked for in the last turn. */
  readonly lastCalls: ReadonlyArray<{ readonly name: string; readonly params: unknown }>
}

/**
 * What is different in one turn. Whatever is absent is as the agent has it.
 *
 * @category models
 * @since 0.1.0
 */
export interface TurnSettings<ToolName extends string = string> extends Sampling {
  /** The system prompt. */
  readonly instructions?: string | undefined
  /** The tools that the model may call in this turn. A call of another is answered like one of a tool that is not there. */
  readonly tools?: ReadonlyArray<ToolName> | undefined
  readonly toolChoice?: "auto" | "none" | "required" | { readonly tool: ToolName } | undefined
}

/**
 * How an agent works. Everything is optional; whatever concerns sampling and is absent is left to the provider.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<
  Tools extends Record<string, Tool.Any>,
  OutputSchema extends Schema.Top,
  EI,
  RI,
  ET,
  RT,
  EW,
  RW
> extends Sampling {
  /** The system prompt: a text, or an Effect of the prompt's text that is run once per run. Default none. */
  readonly instructions?: string | ((prompt: string) => Effect.Effect<string, EI, RI>) | undefined
  /** The tools, as an `effect/ai` toolkit. Their handlers come from the toolkit's Layer. */
  readonly toolkit?: Toolkit.Toolkit<Tools> | undefined
  /** Which tools the model may or must call. A forced choice holds for the first turn. Default `"auto"`. */
  readonly toolChoice?: "auto" | "none" | "required" | { readonly tool: NoInfer<keyof Tools & string> } | undefined
  /** What is different in a turn: run before each model call. Default: nothing is. */
  readonly prepareTurn?:
    | ((turn: TurnView) => Effect.Effect<TurnSettings<NoInfer<keyof Tools & string>>, ET, RT>)
    | undefined
  /** How many calls of one turn run at the same time. Default 8. */
  readonly toolConcurrency?: number | undefined
  /**
   * When a run ends before the model says so. Default 10 turns; a condition that does not limit turns itself is
   * combined with that.
   */
  readonly stopWhen?: StopCondition.StopCondition | undefined
  /** How loops are noticed; `false` for not at all. Default `LoopDetector.make()`. */
  readonly loopDetector?: LoopDetector.LoopDetector | false | undefined
  /** The schema of the final answer, which the model is asked to give as JSON. Default: the answer is text. */
  readonly output?: OutputSchema | undefined
  /** How often the model may correct an answer that does not match `output`. Default 2. */
  readonly outputRetries?: number | undefined
  /**
   * Stream model calls even when nobody watches, for providers that cut long silent responses off. Default: stream
   * only what is watched.
   */
  readonly streaming?: boolean | undefined
  /** What of the conversation is sent to the model when it gets long. Default: all of it, always. */
  readonly contextWindow?: ContextWindow<EW, RW> | undefined
  /**
   * What each run of the agent may spend, sub-agents included, as part of what a budget around it has. Default: no limit
   * of its own.
   */
  readonly budget?: Budget.Limits | undefined
}

/**
 * Makes an agent.
 *
 * **Gotchas**
 *
 * Throws `InvalidAgent` when an option is unusable.
 *
 * **Example** (An agent with a tool)
 *
 * ```ts
 * import * as Schema from "effect/Schema"
 * import * as Tool from "effect/ai/Tool"
 * import * as Toolkit from "effect/ai/Toolkit"
 * import * as Agent from "effect-agent-runtime/Agent"
 *
 * const Weather = Tool.make("weather", {
 *   description: "The weather in a city",
 *   parameters: Schema.Struct({ city: Schema.String }),
 *   success: Schema.String
 * })
 *
 * const agent = Agent.make("forecaster", {
 *   instructions: "Answer questions about the weather.",
 *   toolkit: Toolkit.make(Weather)
 * })
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <
  const Name extends string,
  Tools extends Record<string, Tool.Any> = {},
  OutputSchema extends Schema.Top = typeof Schema.String,
  EI = never,
  RI = never,
  ET = never,
  RT = never,
  EW = never,
  RW = never
>(
  name: Name,
  options: Options<Tools, OutputSchema, EI, RI, ET, RT, EW, RW> = {}
): Agent<
  Name,
  OutputSchema["Type"],
  Tool.HandlerError<Tools[keyof Tools]> | EI | ET | EW,
  Tool.HandlersFor<Tools> | Tool.HandlerServices<Tools[keyof Tools]> | OutputSchema["DecodingServices"] | RI | RT | RW
> => {
  const { maxTokens, model, output, seed, stop, temperature, toolChoice = "auto", topP } = options
  const toolkit = options.toolkit === undefined ? noTools : compile(options.toolkit)
  require("name", name !== "", "must not be empty")
  require("toolConcurrency", (options.toolConcurrency ?? 1) >= 1, "must be at least 1")
  require("outputRetries", (options.outputRetries ?? 0) >= 0, "must not be negative")
  require("maxTokens", (maxTokens ?? 1) >= 1, "must be at least 1")
  if (typeof toolChoice === "object") {
    const isThere = toolkit.tools.some((tool) => tool.name === toolChoice.tool)
    require("toolChoice", isThere, `names no tool of the toolkit: '${toolChoice.tool}'`)
  }
  const definition: Definition = {
    name,
    // What it needs is in the agent's `R`, and so in the context that runs it.
    instructions: (options.instructions ?? "") as Definition["instructions"],
    prepareTurn: options.prepareTurn as Definition["prepareTurn"],
    toolkit,
    policy: {
      stopWhen: options.stopWhen === undefined ? StopCondition.defaultLimit : StopCondition.bounded(options.stopWhen),
      loopDetector: options.loopDetector === false ? undefined : (options.loopDetector ?? defaultDetector),
      loopRule: (tool) => lookup(toolkit, tool)?.loopRule,
      outputRetries: options.outputRetries ?? 2,
      hasOutput: output !== undefined
    },
    toolConcurrency: options.toolConcurrency ?? 8,
    sampling: { model, temperature, topP, maxTokens, stop, seed },
    toolChoice,
    output: output === undefined ? undefined : jsonOutput(output),
    streaming: options.streaming ?? false,
    // Like `instructions`.
    contextWindow: options.contextWindow as Definition["contextWindow"],
    budget: options.budget === undefined ? undefined : Budget.compile(options.budget)
  }
  // The type id only carries types.
  return { [TypeId]: undefined, name, definition, outputSchema: output ?? Schema.String } as never
}

const noTools = compile(Toolkit.empty)
const defaultDetector = LoopDetector.make()

const require = (field: string, holds: boolean, issue: string): void => {
  if (!holds) throw new InvalidAgent({ field, issue })
}

/** Models like to wrap JSON in a code fence. One that is being written may still be open. */
const withoutFence = (text: string): string => text.trim().replace(/^```(?:json)?\s*\n([\s\S]*?)(?:\n```)?$/, "$1")

/** The decoder of an answer in JSON. */
const jsonOutput = (schema: Schema.Top): Output => {
  // The services it needs are in the agent's `R`.
  const decode = Schema.decodeUnknownEffect(
    Schema.fromJsonString(Schema.toCodecJson(schema as Schema.Codec<unknown, unknown>)),
    { errors: "all" }
  )
  return {
    format: { name: "answer", schema },
    decode: (text) => decode(withoutFence(text)),
    json: (text) => JSON.parse(withoutFence(text))
  }
}

/**
 * What a run answers: a prompt (a text, or text and file parts), a conversation to go on with, or both. A history
 * without a prompt has to end with something the model can answer: a user message, or tool results of a run that
 * was cut short.
 *
 * @category models
 * @since 0.1.0
 */
export type AgentInput =
  | UserContent
  | { readonly prompt?: UserContent | undefined; readonly history?: History | undefined }

/**
 * What a run results in.
 *
 * @category models
 * @since 0.1.0
 */
export interface AgentResult<out Output = string> extends RunResult {
  /** The final answer: decoded by the `output` schema if there is one, otherwise the text. */
  readonly output: Output
}

const toHistory = (input: AgentInput): History => {
  if (typeof input === "string" || Array.isArray(input)) return Histories.appendUser(Histories.empty, input)
  // `Array.isArray` does not take readonly arrays out of the union.
  const { history = Histories.empty, prompt } = input as Exclude<AgentInput, UserContent>
  return prompt === undefined ? history : Histories.appendUser(history, prompt)
}

/**
 * Runs an agent to its final answer.
 *
 * **Details**
 *
 * Fails with an `AgentError` that carries the run as far as it got, or with the failure of a tool whose
 * `failureMode` is `"error"`. Interrupting the run aborts the model request and the running tools. Give the
 * result's `history` to the next run to go on with the conversation.
 *
 * **Example** (A run with a scripted model)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Agent from "effect-agent-runtime/Agent"
 * import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
 *
 * const program = Agent.run(Agent.make("helper"), "Hello").pipe(
 *   Effect.provide(ScriptedLlm.layer(["Hi there"]))
 * )
 * Effect.runSync(program).text // => "Hi there"
 * ```
 *
 * @category running
 * @since 0.1.0
 */
export const run = <Name extends string, Output, E, R>(
  agent: Agent<Name, Output, E, R>,
  input: AgentInput
): Effect.Effect<AgentResult<Output>, AgentError | E, Llm | R> =>
  // The interpreter knows neither the types of the agent's tools nor that of its output; `make` does.
  interpret(impl(agent).definition, toHistory(input)) as Effect.Effect<AgentResult<Output>, AgentError | E, Llm | R>

/**
 * Runs an agent and streams its events, those of sub-agents included, as they happen.
 *
 * **Details**
 *
 * The stream ends after the terminal event, or fails with the run's failure. It is the same run as {@link run},
 * observed: a consumer that falls more than 1,024 events behind makes the run wait, and closing the stream
 * interrupts it.
 *
 * @category running
 * @since 0.1.0
 */
export const stream = <Name extends string, Output, E, R>(
  agent: Agent<Name, Output, E, R>,
  input: AgentInput
): Stream.Stream<AgentEvent, AgentError | E, Llm | R> =>
  // As in `run`.
  eventsOf((observer) => interpret(impl(agent).definition, toHistory(input), observer)) as Stream.Stream<
    AgentEvent,
    AgentError | E,
    Llm | R
  >

/** The events of a run, which is an effect of the observer it tells them; they end when the effect does. @internal */
export const eventsOf = <A, E, R>(
  run: (observer: Observer) => Effect.Effect<A, E, R>
): Stream.Stream<AgentEvent, E, R> => eventStream(isAgentEvent, run)

/** None of workflows that are tools. */
const isAgentEvent = (delivery: Delivery): delivery is AgentEvent => "agent" in delivery

/**
 * Runs an agent with an `output` schema and streams its answer while the model writes it: each element is the JSON so
 * far, with open strings, arrays and objects closed. The last one is the whole answer.
 *
 * **Details**
 *
 * What is still being written is not checked by the schema; the run checks the answer in the end, and the stream fails
 * as {@link run} does when it does not match. A model that corrects itself starts over.
 *
 * **Example** (An answer that grows)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Schema from "effect/Schema"
 * import * as Stream from "effect/Stream"
 * import * as Agent from "effect-agent-runtime/Agent"
 * import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
 *
 * const cook = Agent.make("cook", { output: Schema.Struct({ dish: Schema.String, minutes: Schema.Finite }) })
 *
 * const program = Agent.streamOutput(cook, "Something quick").pipe(
 *   Stream.runCollect,
 *   Effect.provide(ScriptedLlm.layer(['{"dish": "pasta al pesto", "minutes": 12}']))
 * )
 * const parts = await Effect.runPromise(program)
 * parts.at(-1) // => { dish: "pasta al pesto", minutes: 12 }
 * ```
 *
 * @category running
 * @since 0.1.0
 */
export const streamOutput = <Name extends string, Output, E, R>(
  agent: Agent<Name, Output, E, R>,
  input: AgentInput
): Stream.Stream<Schema.Json, AgentError | E, Llm | R> =>
  stream(agent, input).pipe(
    Stream.mapAccumArray(
      (): Writing => ({ runId: undefined, text: "", readAt: 0, shown: undefined }),
      (writing, events) => {
        const now = events.reduce(write, writing)
        if (now.done === undefined && now.text.length < now.readAt) return [now, []]
        const value = now.done ?? parsePartial(withoutFence(now.text))
        const shown = value === undefined ? now.shown : JSON.stringify(value)
        // The text is read from its beginning each time: when it is longer by a share of itself, so that the cost of all stays
        // linear in its length. Short ones are read with every batch.
        const next = { ...now, shown, readAt: now.text.length + Math.floor(now.text.length / 64) }
        return [next, value === undefined || shown === now.shown ? [] : [value]]
      }
    )
  )

/** An answer that is being written. */
interface Writing {
  readonly runId: string | undefined
  readonly text: string
  /** The whole answer, when the run has accepted it. */
  readonly done?: Schema.Json
  /** How long the text has to be to be read again. */
  readonly readAt: number
  /** The last JSON that was told. */
  readonly shown: string | undefined
}

const write = (writing: Writing, event: AgentEvent): Writing => {
  const { runId = event.runId, text } = writing
  if (event.runId !== runId) return writing
  switch (event._tag) {
    case "TextDelta":
      return { ...writing, runId, text: text + event.delta }
    case "ModelCallStarted":
    case "ModelCallRetried":
      return { ...writing, runId, text: "", readAt: 0 }
    case "RunCompleted":
      // It is what the decoder was given: JSON.
      return { ...writing, runId, done: event.output as Schema.Json }
    default:
      return { ...writing, runId }
  }
}

/**
 * The run that events describe, as far as they go: history, usage, turns, text. Every prefix of a run's events gives
 * the state that the run was in.
 *
 * **Details**
 *
 * The run is that of the first event. Events of other runs, such as those of sub-agents in a stream, are passed over, and
 * so are those of workflows.
 *
 * @category running
 * @since 0.1.0
 */
export const fold = (agent: Agent<string, unknown, unknown, unknown>, events: Iterable<RunEvent>): PartialRun => {
  const { policy } = impl(agent).definition
  const state = initial()
  let runId: string | undefined
  for (const event of events) {
    if (isWorkflowEvent(event)) continue
    runId ??= event.runId
    if (event.runId === runId) evolve(policy, state, event)
  }
  return partial(state)
}

/**
 * What a sub-agent's failure looks like to the model of its parent.
 *
 * @category models
 * @since 0.1.0
 */
export const SubAgentFailure = Schema.Struct({
  /** The tag of the failure, such as `"TurnLimitReached"`. */
  reason: Schema.String,
  message: Schema.String
})

/**
 * A sub-agent: a tool for a toolkit, and the layer with its handler.
 *
 * @category models
 * @since 0.1.0
 */
export interface SubAgent<Name extends string, Output, R> {
  readonly tool: Tool.Tool<
    Name,
    {
      readonly parameters: Schema.Struct<{ readonly prompt: typeof Schema.String }>
      readonly success: Schema.Codec<Output, unknown>
      readonly failure: typeof SubAgentFailure
      readonly failureMode: "return"
    }
  >
  readonly layer: Layer.Layer<Tool.Handler<Name>, never, Llm | R>
}

/**
 * Makes an agent a tool of other agents: called with a prompt, it runs and returns its output.
 *
 * **Details**
 *
 * The layer captures what the sub-agent needs: its model, its tool handlers, and their services, so that a sub-agent can
 * have another model than its parent. Its events carry the parent's run id, its usage counts in the parent's, and it ends with the parent. Its
 * failures go to the parent's model as data.
 *
 * **Example** (A sub-agent)
 *
 * ```ts
 * import * as Toolkit from "effect/ai/Toolkit"
 * import * as Agent from "effect-agent-runtime/Agent"
 *
 * const researcher = Agent.asTool(Agent.make("researcher"), { description: "Finds things out" })
 *
 * const writer = Agent.make("writer", { toolkit: Toolkit.make(researcher.tool) })
 * // run it with `researcher.layer` among its layers
 * ```
 *
 * @category combining
 * @since 0.1.0
 */
export const asTool = <Name extends string, Output, E, R>(
  agent: Agent<Name, Output, E, R>,
  options: { readonly description: string }
): SubAgent<Name, Output, R> => {
  const { outputSchema } = impl(agent)
  const tool = Tool.make(agent.name, {
    description: options.description,
    parameters: Schema.Struct({ prompt: Schema.String }),
    // `make` pairs the schema with the agent's `Output`.
    success: outputSchema as Schema.Codec<Output, unknown>,
    failure: SubAgentFailure,
    failureMode: "return"
    // A sub-agent has limits of its own.
  }).annotate(Timeout, Duration.infinity)
  const handlers = Effect.map(Effect.context<Llm | R>(), (captured) => {
    const handler = ({ prompt }: { readonly prompt: string }) =>
      run(agent, prompt).pipe(
        Effect.map((result) => result.output),
        Effect.mapError(describe),
        Effect.updateContext(withCaller(captured))
      )
    // A computed key loses its name in the type.
    return { [agent.name]: handler } as never
  })
  return { tool, layer: Toolkit.make(tool).toLayer(handlers) as SubAgent<Name, Output, R>["layer"] }
}
