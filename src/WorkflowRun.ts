/**
 * The data of workflows: what a workflow looks like before it runs (`StepShape`), and what a run of it has done
 * (`WorkflowRun`): plain data that is drawn, stored, and resumed from.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import { History } from "./History.ts"
import { withoutUndefined } from "./internal/json.ts"
import { Usage } from "./Usage.ts"

/**
 * The kinds of steps.
 *
 * @category models
 * @since 0.1.0
 */
export const StepType = Schema.Literals([
  "agent",
  "effect",
  "transform",
  "branch",
  "parallel",
  "map",
  "loop",
  "retry",
  "fallback",
  "refine",
  "workflow"
])
export type StepType = typeof StepType.Type

/**
 * What a step looks like: its name, its kind and the steps inside it. Names are unique among the steps of a step.
 *
 * **Details**
 *
 * What `steps` means depends on the kind. None: `agent`, `effect`, `transform`. In order: `workflow`; `fallback`, until
 * one succeeds; `refine`, the step that answers, then the one that judges. One of them, by its label: `branch`, where a
 * child without a label comes first and decides. All, by their labels: `parallel`. One, again and again: `map`, `loop`,
 * `retry`.
 *
 * @category models
 * @since 0.1.0
 */
export interface StepShape {
  readonly name: string
  readonly type: StepType
  /** What it is for, in a few words. */
  readonly description: string | undefined
  readonly steps: ReadonlyArray<ChildShape>
}

/**
 * A step inside another.
 *
 * @category models
 * @since 0.1.0
 */
export interface ChildShape {
  /** The case of a branch, or the name of a parallel result. */
  readonly label: string | undefined
  readonly shape: StepShape
}

/**
 * How a step failed: the tag and message of its error, and what caused it, from the outside in.
 *
 * @category models
 * @since 0.1.0
 */
export const StepFailure = Schema.Struct({
  tag: Schema.String,
  message: Schema.String,
  causes: Schema.Array(Schema.Struct({ tag: Schema.String, message: Schema.String }))
})
export type StepFailure = typeof StepFailure.Type

/** What steps take and put out. As JSON, what is `undefined` in it is left out, or `null` where nothing can be left out. @internal */
export const Data = Schema.Unknown.pipe(
  Schema.decodeTo(
    Schema.Unknown,
    SchemaTransformation.transform<unknown, unknown>({ decode: (json) => json, encode: withoutUndefined })
  )
)

/**
 * What a step did. Steps are known by their place: the names of the steps around them and their own, and for steps that
 * are repeated which time it was.
 *
 * @category models
 * @since 0.1.0
 */
export const StepRecord = Schema.Struct({
  /** Counts the steps of a run in the order in which they began, from 0. */
  index: Schema.Finite,
  name: Schema.String,
  type: StepType,
  /** The names from the workflow to the step, both included. */
  path: Schema.Array(Schema.String),
  /** Which time it was, from 0, for each `map`, `loop`, `retry` and `refine` around it, from the outside in. */
  iterations: Schema.Array(Schema.Finite),
  status: Schema.Literals(["running", "completed", "failed", "interrupted"]),
  input: Data,
  /** If it completed, and put out something. */
  output: Schema.optionalKey(Data),
  /** If it failed. */
  failure: Schema.optional(StepFailure),
  /** The label of the branch that was taken. */
  branch: Schema.optional(Schema.String),
  /**
   * Messages to go on from: what the step added to a conversation that it shared; without one, the conversation of an
   * agent as far as it got, if the agent did not complete.
   */
  history: Schema.optional(History),
  /** Milliseconds since the epoch. */
  startedAt: Schema.Finite,
  durationMillis: Schema.Finite
})
export type StepRecord = typeof StepRecord.Type

/**
 * A run of a workflow, complete or as far as it got.
 *
 * @category models
 * @since 0.1.0
 */
export const WorkflowRun = Schema.Struct({
  runId: Schema.String,
  /** The run that started this one. */
  parentRunId: Schema.optional(Schema.String),
  workflow: Schema.String,
  status: Schema.Literals(["running", "completed", "failed", "interrupted"]),
  /** If there was one. */
  input: Schema.optionalKey(Data),
  /** If it completed, and put out something. */
  output: Schema.optionalKey(Data),
  /** If it failed. */
  failure: Schema.optional(StepFailure),
  /** The index of the step that the failure began in, however deep. */
  failedStep: Schema.optional(Schema.Finite),
  /** In the order in which they began, nested ones included. */
  steps: Schema.Array(StepRecord),
  /** Of all agents in it, sub-agents included. A run that goes on from another counts what that one used, too. */
  usage: Usage,
  startedAt: Schema.Finite,
  durationMillis: Schema.Finite
})
export type WorkflowRun = typeof WorkflowRun.Type
