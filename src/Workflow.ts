/**
 * Workflows: typed steps from an input to an output, of which agents are one kind.
 *
 * A step is a workflow and a workflow is a step: a value that can be run many times, drawn ({@link shape}), put into
 * others, and given to an agent as a tool. Running it is an `Effect` whose errors and services are those of its steps.
 * Every run keeps a record of what its steps did, which another run can go on from ({@link resume}).
 *
 * @since 0.1.0
 */
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import type * as Layer from "effect/Layer"
import type { Pipeable } from "effect/Pipeable"
import * as Pipe from "effect/Pipeable"
import * as Result from "effect/Result"
import type * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import type { Agent } from "./Agent.ts"
import * as Agents from "./Agent.ts"
import type { AgentError } from "./AgentError.ts"
import type { Delivery } from "./EventHub.ts"
import type { History, UserContent } from "./History.ts"
import { eventStream } from "./internal/eventStream.ts"
import { withoutUndefined } from "./internal/json.ts"
import { describe, withCaller } from "./internal/subRun.ts"
import type { Codec, Conversation as ConversationNode, Node } from "./internal/workflowNode.ts"
import * as Nodes from "./internal/workflowNode.ts"
import * as Pasts from "./internal/workflowPast.ts"
import { interpret } from "./internal/workflowStep.ts"
import type { Llm } from "./Llm.ts"
import * as Mermaid from "./Mermaid.ts"
import { Timeout } from "./Toolbox.ts"
import type { AnswerRejected, IterationLimitReached, RecordMismatch, WorkflowError } from "./WorkflowError.ts"
import type { RunEvent } from "./WorkflowEvent.ts"
import type { StepShape, WorkflowRun } from "./WorkflowRun.ts"

const TypeId = "~effect-agent-runtime/Workflow"

/**
 * A step, or several that are one: takes an `In`, puts out an `Out`, can fail with `E` and needs `R`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Workflow<in In, out Out, out E = never, out R = never> extends Pipeable {
  readonly [TypeId]: {
    readonly _In: (input: In) => void
    readonly _Out: () => Out
    readonly _E: () => E
    readonly _R: () => R
  }
  readonly name: string
}

/**
 * Any workflow.
 *
 * @category utility types
 * @since 0.1.0
 */
export type Any = Workflow<never, unknown, unknown, unknown>

/**
 * What a workflow takes.
 *
 * @category utility types
 * @since 0.1.0
 */
export type InputOf<W extends Any> = W extends Workflow<infer In, unknown, unknown, unknown> ? In : never

/**
 * What a workflow puts out.
 *
 * @category utility types
 * @since 0.1.0
 */
export type OutputOf<W extends Any> = W extends Workflow<never, infer Out, unknown, unknown> ? Out : never

/**
 * What the steps of a workflow fail with.
 *
 * @category utility types
 * @since 0.1.0
 */
export type ErrorOf<W extends Any> = W extends Workflow<never, unknown, infer E, unknown> ? E : never

/**
 * What the steps of a workflow need.
 *
 * @category utility types
 * @since 0.1.0
 */
export type ServicesOf<W extends Any> = W extends Workflow<never, unknown, unknown, infer R> ? R : never

/** Workflows carry their steps, which are nobody's business but the engine's. */
interface WorkflowImpl extends Workflow<never, unknown> {
  readonly node: Node
}

// The only implementation of the interface.
const nodeOf = (self: Any): Node => (self as unknown as WorkflowImpl).node

const fromNode = <W extends Any>(node: Node): W => {
  const self = Object.create(Pipe.Prototype) as object
  // The type id only carries types.
  return Object.assign(self, { [TypeId]: undefined, name: node.name, node: Nodes.checked(node) }) as never
}

/** What all kinds of steps begin with. */
const common = <Type extends Node["type"]>(type: Type, name: string) => ({
  type,
  name,
  description: undefined,
  conversation: undefined
})

const codecOf = (schema: Schema.Codec<never, unknown> | undefined): Codec | undefined => {
  if (schema === undefined) return undefined
  // It is the schema of the step's own outputs.
  const json = Schema.toCodecJson(schema as Schema.Codec<unknown, unknown>)
  return { encode: Schema.encodeUnknownEffect(json), decode: Schema.decodeUnknownEffect(json) }
}

/**
 * A step that runs an agent. It takes the prompt and puts out the agent's answer: the text, or what its `output` schema
 * makes of it.
 *
 * **Details**
 *
 * `name` is the agent's unless given; steps of one step need different names. `prompt` makes the prompt, text or text
 * and files, of another input; `undefined` is no prompt, for an agent that goes on with a shared conversation. In a conversation, a prompt that is the
 * answer which the agent sees as the last message anyway is not repeated; the agent is asked to go on from it.
 *
 * **Example** (Two agents, one after the other)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Agent from "effect-agent-runtime/Agent"
 * import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
 * import * as Workflow from "effect-agent-runtime/Workflow"
 *
 * const article = Workflow.make(
 *   "article",
 *   Workflow.agent(Agent.make("researcher"), { prompt: (topic: string) => `Collect facts about ${topic}.` }),
 *   Workflow.agent(Agent.make("writer", { instructions: "Write an article of these facts." }))
 * )
 *
 * const program = Workflow.run(article, "tea").pipe(
 *   Effect.provide(ScriptedLlm.layer(["It is a leaf.", "Tea, the leaf: …"]))
 * )
 * Effect.runSync(program).output // => "Tea, the leaf: …"
 * ```
 *
 * @category steps
 * @since 0.1.0
 */
export const agent: {
  <A extends Agents.Any>(
    agent: A,
    options?: { readonly name?: string | undefined }
  ): Workflow<string, Agents.OutputOf<A>, AgentError | Agents.ErrorOf<A>, Llm | Agents.ServicesOf<A>>
  <A extends Agents.Any, In>(
    agent: A,
    options: { readonly name?: string | undefined; readonly prompt: (input: In) => UserContent | undefined }
  ): Workflow<In, Agents.OutputOf<A>, AgentError | Agents.ErrorOf<A>, Llm | Agents.ServicesOf<A>>
} = (
  self: Agents.Any,
  options: {
    readonly name?: string | undefined
    readonly prompt?: ((input: never) => UserContent | undefined) | undefined
  } = {}
) =>
  fromNode<never>({
    ...common("agent", options.name ?? self.name),
    // An input is what the step before put out, whose types line up.
    prompt: (options.prompt ?? asPrompt) as (input: unknown) => UserContent | undefined,
    agent: Agents.definitionOf(self)
  })

const asPrompt = (input: string): string => input

/**
 * A step that computes something. A function that throws ends the run as a defect: what can fail is an {@link effect}.
 *
 * `schema` is how {@link resume} reads the output from a record; without one it is taken as the JSON that it is there.
 *
 * @category steps
 * @since 0.1.0
 */
export const transform = <In, Out>(
  name: string,
  f: (input: In) => Out,
  options: { readonly schema?: Schema.Codec<NoInfer<Out>, unknown> | undefined } = {}
): Workflow<In, Out> =>
  fromNode({
    ...common("transform", name),
    f: f as (input: unknown) => unknown,
    codec: codecOf(options.schema as Schema.Codec<never, unknown> | undefined)
  })

/**
 * A step that runs an Effect. What it forks ends with it.
 *
 * `schema` is how {@link resume} reads the output from a record; without one it is taken as the JSON that it is there.
 *
 * @category steps
 * @since 0.1.0
 */
export const effect = <In, Out, E, R>(
  name: string,
  f: (input: In) => Effect.Effect<Out, E, R>,
  options: { readonly schema?: Schema.Codec<NoInfer<Out>, unknown> | undefined } = {}
): Workflow<In, Out, E, R> =>
  fromNode({
    ...common("effect", name),
    // What it needs is in the step's `R`.
    f: f as unknown as (input: unknown) => Effect.Effect<unknown, unknown>,
    codec: codecOf(options.schema as Schema.Codec<never, unknown> | undefined)
  })

type Cases<In, Label extends string> = { readonly [K in Label]: Workflow<In, unknown, unknown, unknown> }

/** With any text as a label the compiler could not see that all have a case. */
type Literal<Label extends string> = string extends Label ? "labels have to be literals" : unknown

/**
 * A step that is one of several, chosen by a function of its input, which gives the label of one. All labels need a case.
 *
 * @category steps
 * @since 0.1.0
 */
export const branch = <In, const Label extends string, C extends Cases<In, Label>>(
  name: string,
  on: (input: In) => Label & Literal<Label>,
  cases: C
): Workflow<In, OutputOf<C[Label]>, ErrorOf<C[Label]>, ServicesOf<C[Label]>> =>
  fromNode({ ...common("branch", name), on: on as (input: unknown) => string, cases: caseNodes(cases) })

/**
 * A {@link branch} that is chosen by a step: an agent with `output: Schema.Literals([...])`, for example. The cases get
 * the input of the whole.
 *
 * @category steps
 * @since 0.1.0
 */
export const route = <In, Label extends string, E, R, C extends Cases<In, Label>>(
  name: string,
  on: Workflow<In, Label & Literal<Label>, E, R>,
  cases: C
): Workflow<In, OutputOf<C[Label]>, E | ErrorOf<C[Label]>, R | ServicesOf<C[Label]>> =>
  fromNode({ ...common("branch", name), on: nodeOf(on), cases: caseNodes(cases) })

const caseNodes = (cases: Readonly<Record<string, Any>>): ReadonlyMap<string, Node> =>
  new Map(Object.entries(cases).map(([label, step]) => [label, nodeOf(step)]))

type Named<In> = Readonly<Record<string, Workflow<In, unknown, unknown, unknown>>>

/**
 * Several steps at the same time, all with the same input. The output has theirs under their labels. When one fails the
 * others are interrupted. `concurrency` is how many run at the same time, 8 by default.
 *
 * @category steps
 * @since 0.1.0
 */
export const parallel = <In, Steps extends Named<In>>(
  name: string,
  steps: Steps & Named<In>,
  options: { readonly concurrency?: number | undefined } = {}
): Workflow<
  In,
  { readonly [K in keyof Steps]: OutputOf<Steps[K]> },
  ErrorOf<Steps[keyof Steps]>,
  ServicesOf<Steps[keyof Steps]>
> =>
  fromNode({
    ...common("parallel", name),
    steps: Object.entries<Any>(steps).map(([label, step]) => [label, nodeOf(step)] as const),
    concurrency: options.concurrency ?? 8
  })

/**
 * A step for each element of a collection. Outputs are in the order of the inputs. When one fails the others are
 * interrupted. `concurrency` is how many run at the same time, 8 by default.
 *
 * @category steps
 * @since 0.1.0
 */
export const map = <In, Out, E, R>(
  name: string,
  step: Workflow<In, Out, E, R>,
  options: { readonly concurrency?: number | undefined } = {}
): Workflow<ReadonlyArray<In>, ReadonlyArray<Out>, E, R> =>
  fromNode({ ...common("map", name), step: nodeOf(step), concurrency: options.concurrency ?? 8 })

/**
 * A step that is run again with its own output until a condition holds; at least once, and at most `maxIterations` times,
 * 10 by default, after which it fails with `IterationLimitReached`.
 *
 * @category steps
 * @since 0.1.0
 */
export const loop = <A, E, R>(
  name: string,
  step: Workflow<A, A, E, R>,
  options: {
    /** Asked after each iteration, with the number of iterations so far. */
    readonly until: (output: A, iterations: number) => boolean
    readonly maxIterations?: number | undefined
  }
): Workflow<A, A, E | IterationLimitReached, R> =>
  fromNode({
    ...common("loop", name),
    step: nodeOf(step),
    until: options.until as (output: unknown, iterations: number) => boolean,
    maxIterations: options.maxIterations ?? 10
  })

/**
 * A step that is run again, from its beginning, when it fails: `times` times more, 2 by default, at once or as `schedule`
 * says, and only after failures that `while` accepts. It fails as the last attempt does.
 *
 * @category steps
 * @since 0.1.0
 */
export const retry = <In, Out, E, R>(
  name: string,
  step: Workflow<In, Out, E, R>,
  options: {
    readonly times?: number | undefined
    readonly schedule?: Schedule.Schedule<unknown, NoInfer<E>> | undefined
    readonly while?: ((error: NoInfer<E>) => boolean) | undefined
  } = {}
): Workflow<In, Out, E, R> =>
  fromNode({
    ...common("retry", name),
    step: nodeOf(step),
    times: options.times ?? 2,
    // Errors are those of the step.
    schedule: options.schedule as Schedule.Schedule<unknown, unknown> | undefined,
    while: (options.while ?? (() => true)) as (error: unknown) => boolean
  })

/**
 * Up to four steps of which each is tried when the one before failed, all with the same input. It fails as the last does.
 *
 * @category steps
 * @since 0.1.0
 */
export const fallback: {
  <In, A, E1, R1, B, E2, R2>(
    name: string,
    step1: Workflow<In, A, E1, R1>,
    step2: Workflow<In, B, E2, R2>
  ): Workflow<In, A | B, E2, R1 | R2>
  <In, A, E1, R1, B, E2, R2, C, E3, R3>(
    name: string,
    step1: Workflow<In, A, E1, R1>,
    step2: Workflow<In, B, E2, R2>,
    step3: Workflow<In, C, E3, R3>
  ): Workflow<In, A | B | C, E3, R1 | R2 | R3>
  <In, A, E1, R1, B, E2, R2, C, E3, R3, D, E4, R4>(
    name: string,
    step1: Workflow<In, A, E1, R1>,
    step2: Workflow<In, B, E2, R2>,
    step3: Workflow<In, C, E3, R3>,
    step4: Workflow<In, D, E4, R4>
  ): Workflow<In, A | B | C | D, E4, R1 | R2 | R3 | R4>
} = (name: string, ...steps: ReadonlyArray<Any>) =>
  fromNode<never>({ ...common("fallback", name), steps: steps.map(nodeOf) })

/**
 * What a judge says of an answer; the schema can be an agent's `output`. With a `score`, the best answer is that with the
 * highest; otherwise it is the last.
 *
 * @category models
 * @since 0.1.0
 */
export const Verdict = Schema.Struct({
  accepted: Schema.Boolean,
  /** What has to be better. */
  feedback: Schema.String,
  score: Schema.optional(Schema.Finite)
})
export type Verdict = typeof Verdict.Type

/**
 * An answer for a judge, and what it answers.
 *
 * @category models
 * @since 0.1.0
 */
export interface Judged<out In, out Out> {
  readonly input: In
  readonly output: Out
}

/**
 * A step whose output is judged, and which is run again with the judge's feedback until it is accepted.
 *
 * **Details**
 *
 * `revise` makes the input of the next round of what was wrong with this one. There are `maxRounds` rounds, 3 by default.
 * When none was accepted, it fails with `AnswerRejected`; with `onLimit: "keepBest"` it puts out the best answer instead.
 * Several judges are a {@link parallel} with a {@link transform} behind that makes one verdict of theirs.
 *
 * @category steps
 * @since 0.1.0
 */
export const refine = <In, Out, E1, R1, V extends Verdict, E2, R2, const Limit extends "fail" | "keepBest" = "fail">(
  name: string,
  step: Workflow<In, Out, E1, R1>,
  options: {
    readonly judge: Workflow<Judged<NoInfer<In>, NoInfer<Out>>, V, E2, R2>
    /** `round` counts from 1. */
    readonly revise: (
      round: Judged<NoInfer<In>, NoInfer<Out>> & { readonly verdict: NoInfer<V>; readonly round: number }
    ) => NoInfer<In>
    readonly maxRounds?: number | undefined
    readonly onLimit?: Limit | undefined
  }
): Workflow<In, Out, E1 | E2 | (Limit extends "keepBest" ? never : AnswerRejected), R1 | R2> =>
  fromNode({
    ...common("refine", name),
    produce: nodeOf(step),
    judge: nodeOf(options.judge),
    // The rounds are those of these steps.
    revise: options.revise as unknown as (round: Nodes.Round) => unknown,
    maxRounds: options.maxRounds ?? 3,
    keepBest: options.onLimit === "keepBest"
  })

/**
 * Makes a workflow of steps: each gets what the one before put out. In another workflow it is one step with its own run
 * in the events. Without steps it puts out what it takes.
 *
 * **Details**
 *
 * Types line up for up to ten steps; more are a workflow of workflows, or steps that all have the same type. Throws
 * `InvalidWorkflow` when two steps have the same name, because records tell them apart by it.
 *
 * Each agent has a conversation of its own; see {@link withConversation}.
 *
 * **Example** (Steps of different kinds)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Workflow from "effect-agent-runtime/Workflow"
 *
 * const total = Workflow.make(
 *   "total",
 *   Workflow.transform("split", (list: string) => list.split(",")),
 *   Workflow.map("each", Workflow.effect("price", (item: string) => Effect.succeed(item.length))),
 *   Workflow.transform("sum", (prices) => prices.reduce((a, b) => a + b, 0))
 * )
 * const { output, run } = Effect.runSync(Workflow.run(total, "tea,milk"))
 * output // => 7
 * run.steps.map((step) => step.name) // => ["split", "each", "price", "price", "sum"]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: {
  <A, B, E1, R1>(name: string, step1: Workflow<A, B, E1, R1>): Workflow<A, B, E1, R1>
  <A, B, C, E1, R1, E2, R2>(
    name: string,
    step1: Workflow<A, B, E1, R1>,
    step2: Workflow<B, C, E2, R2>
  ): Workflow<A, C, E1 | E2, R1 | R2>
  <A, B, C, D, E1, R1, E2, R2, E3, R3>(
    name: string,
    step1: Workflow<A, B, E1, R1>,
    step2: Workflow<B, C, E2, R2>,
    step3: Workflow<C, D, E3, R3>
  ): Workflow<A, D, E1 | E2 | E3, R1 | R2 | R3>
  <A, B, C, D, E, E1, R1, E2, R2, E3, R3, E4, R4>(
    name: string,
    step1: Workflow<A, B, E1, R1>,
    step2: Workflow<B, C, E2, R2>,
    step3: Workflow<C, D, E3, R3>,
    step4: Workflow<D, E, E4, R4>
  ): Workflow<A, E, E1 | E2 | E3 | E4, R1 | R2 | R3 | R4>
  <A, B, C, D, E, F, E1, R1, E2, R2, E3, R3, E4, R4, E5, R5>(
    name: string,
    step1: Workflow<A, B, E1, R1>,
    step2: Workflow<B, C, E2, R2>,
    step3: Workflow<C, D, E3, R3>,
    step4: Workflow<D, E, E4, R4>,
    step5: Workflow<E, F, E5, R5>
  ): Workflow<A, F, E1 | E2 | E3 | E4 | E5, R1 | R2 | R3 | R4 | R5>
  <A, B, C, D, E, F, G, E1, R1, E2, R2, E3, R3, E4, R4, E5, R5, E6, R6>(
    name: string,
    step1: Workflow<A, B, E1, R1>,
    step2: Workflow<B, C, E2, R2>,
    step3: Workflow<C, D, E3, R3>,
    step4: Workflow<D, E, E4, R4>,
    step5: Workflow<E, F, E5, R5>,
    step6: Workflow<F, G, E6, R6>
  ): Workflow<A, G, E1 | E2 | E3 | E4 | E5 | E6, R1 | R2 | R3 | R4 | R5 | R6>
  <A, B, C, D, E, F, G, H, E1, R1, E2, R2, E3, R3, E4, R4, E5, R5, E6, R6, E7, R7>(
    name: string,
    step1: Workflow<A, B, E1, R1>,
    step2: Workflow<B, C, E2, R2>,
    step3: Workflow<C, D, E3, R3>,
    step4: Workflow<D, E, E4, R4>,
    step5: Workflow<E, F, E5, R5>,
    step6: Workflow<F, G, E6, R6>,
    step7: Workflow<G, H, E7, R7>
  ): Workflow<A, H, E1 | E2 | E3 | E4 | E5 | E6 | E7, R1 | R2 | R3 | R4 | R5 | R6 | R7>
  <A, B, C, D, E, F, G, H, I, E1, R1, E2, R2, E3, R3, E4, R4, E5, R5, E6, R6, E7, R7, E8, R8>(
    name: string,
    step1: Workflow<A, B, E1, R1>,
    step2: Workflow<B, C, E2, R2>,
    step3: Workflow<C, D, E3, R3>,
    step4: Workflow<D, E, E4, R4>,
    step5: Workflow<E, F, E5, R5>,
    step6: Workflow<F, G, E6, R6>,
    step7: Workflow<G, H, E7, R7>,
    step8: Workflow<H, I, E8, R8>
  ): Workflow<A, I, E1 | E2 | E3 | E4 | E5 | E6 | E7 | E8, R1 | R2 | R3 | R4 | R5 | R6 | R7 | R8>
  <A, B, C, D, E, F, G, H, I, J, E1, R1, E2, R2, E3, R3, E4, R4, E5, R5, E6, R6, E7, R7, E8, R8, E9, R9>(
    name: string,
    step1: Workflow<A, B, E1, R1>,
    step2: Workflow<B, C, E2, R2>,
    step3: Workflow<C, D, E3, R3>,
    step4: Workflow<D, E, E4, R4>,
    step5: Workflow<E, F, E5, R5>,
    step6: Workflow<F, G, E6, R6>,
    step7: Workflow<G, H, E7, R7>,
    step8: Workflow<H, I, E8, R8>,
    step9: Workflow<I, J, E9, R9>
  ): Workflow<A, J, E1 | E2 | E3 | E4 | E5 | E6 | E7 | E8 | E9, R1 | R2 | R3 | R4 | R5 | R6 | R7 | R8 | R9>
  <A, B, C, D, E, F, G, H, I, J, K, E1, R1, E2, R2, E3, R3, E4, R4, E5, R5, E6, R6, E7, R7, E8, R8, E9, R9, E10, R10>(
    name: string,
    step1: Workflow<A, B, E1, R1>,
    step2: Workflow<B, C, E2, R2>,
    step3: Workflow<C, D, E3, R3>,
    step4: Workflow<D, E, E4, R4>,
    step5: Workflow<E, F, E5, R5>,
    step6: Workflow<F, G, E6, R6>,
    step7: Workflow<G, H, E7, R7>,
    step8: Workflow<H, I, E8, R8>,
    step9: Workflow<I, J, E9, R9>,
    step10: Workflow<J, K, E10, R10>
  ): Workflow<A, K, E1 | E2 | E3 | E4 | E5 | E6 | E7 | E8 | E9 | E10, R1 | R2 | R3 | R4 | R5 | R6 | R7 | R8 | R9 | R10>
  <A, E, R>(name: string, ...steps: ReadonlyArray<Workflow<A, A, E, R>>): Workflow<A, A, E, R>
} = (name: string, ...steps: ReadonlyArray<Any>) =>
  fromNode<never>({ ...common("workflow", name), conversation: isolated, steps: steps.map(nodeOf) })

const isolated: ConversationNode = { kind: "isolated" }

/**
 * Says what a step is for, in a few words: for diagrams.
 *
 * @category combining
 * @since 0.1.0
 */
export const withDescription: {
  (description: string): <In, Out, E, R>(self: Workflow<In, Out, E, R>) => Workflow<In, Out, E, R>
  <In, Out, E, R>(self: Workflow<In, Out, E, R>, description: string): Workflow<In, Out, E, R>
} = dual(2, <In, Out, E, R>(self: Workflow<In, Out, E, R>, description: string): Workflow<In, Out, E, R> =>
  fromNode({ ...nodeOf(self), description })
)

/**
 * Which conversation the agents of a step have.
 *
 * - `"isolated"`: each has its own. The default of {@link make}.
 * - `"shared"`: that of the steps around it, or a new one if they have none. Each agent sees what the agents before it
 *   were asked, did and answered, by its own instructions. What it says is there for the next when it has ended, also if
 *   it failed; agents that run at the same time do not see each other.
 * - `forked`: a copy of that of the steps around it. In the end these get all that was said (`"append"`), nothing
 *   (`"discard"`), or a summary: see {@link Summarized}.
 *
 * Steps of other kinds than {@link make} have that of the steps around them unless told otherwise.
 *
 * @category models
 * @since 0.1.0
 */
export type Conversation = "isolated" | "shared" | { readonly forked: "append" | "discard" }

/**
 * A forked conversation of which an agent makes a summary, once the step has succeeded. The agent goes on with what was
 * said in the step: its prompt asks for the summary. What it answers is in the conversation as a user message.
 *
 * @category models
 * @since 0.1.0
 */
export interface Summarized<E, R> {
  readonly forked: {
    readonly summary: Agent<string, string, E, R>
    /** What the agent is asked. Default: to summarize the conversation. */
    readonly prompt?: string | undefined
  }
}

/**
 * Says which conversation the agents of a step have.
 *
 * **Example** (A writer that sees what the researcher did)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Agent from "effect-agent-runtime/Agent"
 * import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
 * import * as Workflow from "effect-agent-runtime/Workflow"
 *
 * const article = Workflow.make(
 *   "article",
 *   Workflow.agent(Agent.make("researcher")),
 *   Workflow.agent(Agent.make("writer"))
 * ).pipe(Workflow.withConversation("shared"))
 *
 * const program = Workflow.run(article, "Tea?").pipe(Effect.provide(ScriptedLlm.layer(["A leaf.", "Tea is a leaf."])))
 * Array.from(Effect.runSync(program).history, ({ role }) => role) // => ["user", "assistant", "user", "assistant"]
 * ```
 *
 * @category combining
 * @since 0.1.0
 */
export const withConversation: {
  (conversation: Conversation): <In, Out, E, R>(self: Workflow<In, Out, E, R>) => Workflow<In, Out, E, R>
  <E2, R2>(
    conversation: Summarized<E2, R2>
  ): <In, Out, E, R>(self: Workflow<In, Out, E, R>) => Workflow<In, Out, E | E2 | AgentError, R | R2 | Llm>
  <In, Out, E, R>(self: Workflow<In, Out, E, R>, conversation: Conversation): Workflow<In, Out, E, R>
  <In, Out, E, R, E2, R2>(
    self: Workflow<In, Out, E, R>,
    conversation: Summarized<E2, R2>
  ): Workflow<In, Out, E | E2 | AgentError, R | R2 | Llm>
} = dual(2, (self: Any, conversation: Conversation | Summarized<unknown, unknown>) =>
  fromNode<never>({ ...nodeOf(self), conversation: conversationNode(conversation) })
)

const conversationNode = (conversation: Conversation | Summarized<unknown, unknown>): ConversationNode => {
  if (typeof conversation === "string") return { kind: conversation }
  const { forked: merge } = conversation
  if (typeof merge === "string") return { kind: "forked", merge }
  const { prompt = "Summarize the conversation so far.", summary } = merge
  return { kind: "forked", merge: { agent: Agents.definitionOf(summary), prompt } }
}

/**
 * What a workflow looks like.
 *
 * @category getters
 * @since 0.1.0
 */
export const shape = (self: Any): StepShape => Nodes.shape(nodeOf(self))

/**
 * Draws a workflow as a Mermaid flowchart; with a run of it, also what each step has done: `Mermaid.flowchart` of its
 * {@link shape}.
 *
 * **Example**
 *
 * ```ts
 * import * as Workflow from "effect-agent-runtime/Workflow"
 *
 * const shout = Workflow.transform("shout", (text: string) => text.toUpperCase())
 * Workflow.toMermaid(Workflow.make("loud", shout)).split("\n")[0] // => "flowchart TD"
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const toMermaid = (self: Any, run?: WorkflowRun | undefined, options?: Mermaid.Options | undefined): string =>
  Mermaid.flowchart(shape(self), run, options)

/**
 * What a run results in.
 *
 * @category models
 * @since 0.1.0
 */
export interface WorkflowResult<out Out> {
  readonly output: Out
  /** What every step did. */
  readonly run: WorkflowRun
  /** The conversation that agents shared, to go on with. Empty when the workflow shares none with its surroundings. */
  readonly history: History
}

/**
 * How a workflow is run.
 *
 * @category models
 * @since 0.1.0
 */
export interface RunOptions<R = never> {
  /** The conversation so far, for a workflow that shares it. Default empty. */
  readonly history?: History | undefined
  /**
   * Receives the record when the run ends, however it ends. Success and failure have it anyway; it is for interruptions
   * and defects.
   */
  readonly onEnd?: ((run: WorkflowRun) => Effect.Effect<void, never, R>) | undefined
}

/**
 * Runs a workflow.
 *
 * **Details**
 *
 * Fails with a `WorkflowError` whose `reason` is the failure of the step, typed, and whose `run` is the record of what was
 * done. Interrupting the run interrupts the steps that are running. A run in a tool or in a step is a child of that run:
 * its events carry the parent's id, its usage counts there.
 *
 * @category running
 * @since 0.1.0
 */
export const run = <In, Out, E, R, R2 = never>(
  self: Workflow<In, Out, E, R>,
  input: In,
  options: RunOptions<R2> = {}
): Effect.Effect<WorkflowResult<Out>, WorkflowError<E>, R | R2> =>
  typed(interpret(nodeOf(self), input, { ...untyped(options), observe: undefined, resume: undefined }))

/** The engine knows nothing of the types of steps; the constructors do. */
const typed = <Out, E, R>(outcome: ReturnType<typeof interpret>): Effect.Effect<WorkflowResult<Out>, E, R> =>
  outcome as Effect.Effect<WorkflowResult<Out>, E, R>

const untyped = <R>({ history, onEnd }: RunOptions<R>) => ({
  history,
  // What it needs is in the `R` of the run.
  onEnd: onEnd as ((run: WorkflowRun) => Effect.Effect<void>) | undefined
})

/**
 * Runs a workflow and streams the events of all runs in it, those of agents included, as they happen. It ends or fails as
 * {@link run} does; a consumer that falls more than 1,024 events behind makes the run wait, and closing the stream
 * interrupts it.
 *
 * @category running
 * @since 0.1.0
 */
export const stream = <In, Out, E, R, R2 = never>(
  self: Workflow<In, Out, E, R>,
  input: In,
  options: RunOptions<R2> = {}
): Stream.Stream<RunEvent, WorkflowError<E>, R | R2> =>
  eventStream(isEvent, (observe) =>
    typed<Out, WorkflowError<E>, R | R2>(
      interpret(nodeOf(self), input, { ...untyped(options), observe, resume: undefined })
    )
  )

const isEvent = (delivery: Delivery): delivery is RunEvent => delivery._tag !== "Lagged"

/**
 * Goes on where a run ended: steps that are finished are not run again, their outputs are taken from the record.
 *
 * **Details**
 *
 * The record may come from another process: `Schema.toCodecJson(WorkflowRun)` writes and reads it. Outputs of agents are
 * read by the agent's `output` schema, those of other steps by the `schema` they were given; without one, they are the
 * JSON that is in the record. Finished elements of `map`, iterations of `loop`, branches of `parallel` and attempts of
 * `retry` are not run again; the step that failed is. An agent that failed goes on from its conversation, so that only the
 * model calls are made that are missing. Functions of `branch`, `loop` and `refine` are asked again, and have to say the
 * same of the same values.
 *
 * The result's record has what was done before, too, and its usage. Fails with `RecordMismatch` when the record is not one
 * of this workflow, before any step is run, or when an output in it cannot be read.
 *
 * `input` is used in place of the recorded one, for inputs that are not JSON. A `history` that the run began with is given
 * again: the record does not have it.
 *
 * @category running
 * @since 0.1.0
 */
export const resume = <In, Out, E, R, R2 = never>(
  self: Workflow<In, Out, E, R>,
  run: WorkflowRun,
  options: RunOptions<R2> & { readonly input?: In | undefined } = {}
): Effect.Effect<WorkflowResult<Out>, WorkflowError<E> | RecordMismatch, R | R2> => {
  const node = nodeOf(self)
  const past = Pasts.read(node, run)
  if (Result.isFailure(past)) return Effect.fail(past.failure)
  const input = options.input === undefined ? run.input : options.input
  const resumed = { past: past.success, usage: run.usage }
  return typed(interpret(node, input, { ...untyped(options), observe: undefined, resume: resumed }))
}

/**
 * A workflow as a tool: for a toolkit, and the layer with its handler.
 *
 * @category models
 * @since 0.1.0
 */
export interface WorkflowTool<Name extends string, Parameters extends Schema.Top, R> {
  readonly tool: Tool.Tool<
    Name,
    {
      readonly parameters: Parameters
      readonly success: typeof Schema.Unknown
      readonly failure: typeof Agents.SubAgentFailure
      readonly failureMode: "return"
    }
  >
  readonly layer: Layer.Layer<Tool.Handler<Name>, never, R>
}

/**
 * Makes a workflow a tool of agents, called by `name` with an input that `parameters` describes, a struct. The model is
 * told the output as records have it.
 *
 * **Details**
 *
 * As with `Agent.asTool`, the layer captures what the workflow needs, its events carry the run of the agent, its usage
 * counts there, it ends with it, and its failures go to the model as data.
 *
 * **Example** (A workflow as a tool)
 *
 * ```ts
 * import * as Schema from "effect/Schema"
 * import * as Toolkit from "effect/ai/Toolkit"
 * import * as Agent from "effect-agent-runtime/Agent"
 * import * as Workflow from "effect-agent-runtime/Workflow"
 *
 * const quote = Workflow.asTool(
 *   Workflow.transform("quote", ({ items }: { readonly items: ReadonlyArray<string> }) => items.length * 5),
 *   { name: "quote", description: "What items cost", parameters: Schema.Struct({ items: Schema.Array(Schema.String) }) }
 * )
 * const clerk = Agent.make("clerk", { toolkit: Toolkit.make(quote.tool) })
 * // run it with `quote.layer` among its layers
 * ```
 *
 * @category combining
 * @since 0.1.0
 */
export const asTool = <In, Out, E, R, const Name extends string, Parameters extends Schema.Codec<In, unknown>>(
  self: Workflow<In, Out, E, R>,
  options: { readonly name: Name; readonly description: string; readonly parameters: Parameters }
): WorkflowTool<Name, Parameters, R> => {
  const { description, name, parameters } = options
  const tool = Tool.make(name, {
    description,
    parameters,
    success: Schema.Unknown,
    failure: Agents.SubAgentFailure,
    failureMode: "return"
    // What is bounded is each step.
  }).annotate(Timeout, Duration.infinity)
  const handlers = Effect.map(Effect.context<R>(), (captured) => {
    const handler = (input: In) =>
      run(self, input).pipe(
        Effect.map((result) => withoutUndefined(result.run.output)),
        Effect.mapError(({ reason }) => describe(reason)),
        Effect.updateContext(withCaller(captured))
      )
    // A computed key loses its name in the type.
    return { [name]: handler } as never
  })
  return { tool, layer: Toolkit.make(tool).toLayer(handlers) as WorkflowTool<Name, Parameters, R>["layer"] }
}
