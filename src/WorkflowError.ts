/**
 * How workflows fail: the failure of a step, as the step has it, together with the record of the run.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import type { StepRecord } from "./WorkflowRun.ts"
import { WorkflowRun } from "./WorkflowRun.ts"

/**
 * The definition of a workflow is unusable. Thrown where the definition is made, because it is a mistake in the program
 * and not a state of a run.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidWorkflow extends Schema.TaggedError<InvalidWorkflow>()("InvalidWorkflow", {
  /** The step that is wrong. */
  step: Schema.String,
  issue: Schema.String
}) {
  override get message(): string {
    return `Invalid workflow step '${this.step}': ${this.issue}`
  }
}

/**
 * A `loop` did not reach its condition.
 *
 * @category reasons
 * @since 0.1.0
 */
export class IterationLimitReached extends Schema.TaggedError<IterationLimitReached>()("IterationLimitReached", {
  step: Schema.String,
  /** Iterations allowed, and made. */
  limit: Schema.Finite
}) {
  override get message(): string {
    return `Step '${this.step}' did not reach its condition within ${this.limit} iterations`
  }
}

/**
 * The judge of a `refine` accepted none of the answers.
 *
 * @category reasons
 * @since 0.1.0
 */
export class AnswerRejected extends Schema.TaggedError<AnswerRejected>()("AnswerRejected", {
  step: Schema.String,
  /** Rounds allowed, and made. */
  rounds: Schema.Finite,
  /** What the judge said last. */
  feedback: Schema.String
}) {
  override get message(): string {
    return `No answer of step '${this.step}' was accepted in ${this.rounds} rounds: ${this.feedback}`
  }
}

/**
 * A record is not one of this workflow: it was made by another, or by a version of it that had other steps.
 *
 * @category errors
 * @since 0.1.0
 */
export class RecordMismatch extends Schema.TaggedError<RecordMismatch>()("RecordMismatch", {
  /** The names from the workflow to the step that does not fit. */
  path: Schema.Array(Schema.String),
  issue: Schema.String
}) {
  override get message(): string {
    return `The record does not fit the workflow at '${this.path.join(" / ")}': ${this.issue}`
  }
}

/**
 * The failure of a run: `reason` is the failure of the step, with the step's own type, and `run` is what was done.
 *
 * **Details**
 *
 * `Effect.catchReason` and `Effect.catchReasons` catch single failures of steps; `Workflow.resume` goes on from `run`.
 *
 * **Example** (Catching what a step fails with)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Schema from "effect/Schema"
 * import * as Workflow from "effect-agent-runtime/Workflow"
 *
 * class OutOfStock extends Schema.TaggedError<OutOfStock>()("OutOfStock", { item: Schema.String }) {}
 *
 * const order = Workflow.make(
 *   "order",
 *   Workflow.transform("trim", (item: string) => item.trim()),
 *   Workflow.effect("reserve", (item) => Effect.fail(new OutOfStock({ item })))
 * )
 * const program = Workflow.run(order, " tea ").pipe(
 *   Effect.catchReason("WorkflowError", "OutOfStock", ({ item }, { run }) =>
 *     Effect.succeed(`no ${item}; ${run.steps[0]?.name} was done`)
 *   )
 * )
 * Effect.runSync(program) // => "no tea; trim was done"
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export class WorkflowError<out E = unknown> extends Schema.TaggedError<WorkflowError>()("WorkflowError", {
  workflow: Schema.String,
  reason: Schema.Unknown,
  run: WorkflowRun
}) {
  declare readonly reason: E

  /** The step that the failure began in, however deep. */
  get step(): StepRecord | undefined {
    return this.run.failedStep === undefined ? undefined : this.run.steps[this.run.failedStep]
  }

  override get message(): string {
    const { failure } = this.run
    const step = this.step?.path.join(" / ") ?? this.workflow
    return `Workflow step '${step}': ${failure?.tag}: ${failure?.message}`
  }
}
