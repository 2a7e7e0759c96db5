/**
 * Everything that can be observed about a run of a workflow. The agents in it tell their own story, as `AgentEvent`s
 * with the run of the workflow as their parent.
 *
 * The events of a run are totally ordered with contiguous offsets, and together they are its record: {@link fold}.
 *
 * **Grammar of a run**
 *
 * ```text
 * run  = WorkflowStarted step* (WorkflowCompleted | WorkflowFailed | WorkflowInterrupted)
 * step = StepStarted BranchTaken? step* (StepCompleted | StepFailed | StepInterrupted) | StepRestored
 * ```
 *
 * Steps inside a step begin after it and end before it; those of `parallel` and `map` interleave. A nested workflow is a
 * run of its own, with its own `runId` and offsets, inside the step that it is in the outer one.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import type { AgentEvent, Scope as AgentScope, Status, Type } from "./AgentEvent.ts"
import * as AgentEvents from "./AgentEvent.ts"
import { Usage } from "./Usage.ts"
import * as Usages from "./Usage.ts"
import { Data, StepFailure, StepRecord } from "./WorkflowRun.ts"
import type { WorkflowRun } from "./WorkflowRun.ts"

/** What every event carries. */
const envelope = {
  /** The run that the event belongs to. */
  runId: Schema.String,
  /** The run that started this one: the outer workflow, or the agent whose tool it is. */
  parentRunId: Schema.optional(Schema.String),
  /** The run at the top of the tree, if another started this one. */
  rootRunId: Schema.optional(Schema.String),
  /** The run whose record has the steps of this one: itself, or for a nested workflow the outermost one. */
  recordRunId: Schema.String,
  /** The name of the workflow. */
  workflow: Schema.String,
  /** Position in the run: 0, 1, 2, … without gaps. */
  offset: Schema.Finite,
  /** Milliseconds since the epoch, from the run's `Clock`. */
  timestamp: Schema.Finite
}

const { index, iterations, name, path, type: stepType } = StepRecord.fields

/** What every event of a step carries: its place, as in its `StepRecord`. */
const step = { ...envelope, index, name, type: stepType, path, iterations }

/**
 * A run began. `usage` is what was used before by the run that this one goes on from.
 *
 * @category models
 * @since 0.1.0
 */
export const WorkflowStarted = Schema.TaggedStruct("WorkflowStarted", {
  ...envelope,
  input: Schema.optionalKey(Data),
  usage: Usage
})
export type WorkflowStarted = typeof WorkflowStarted.Type

/**
 * A step began.
 *
 * @category models
 * @since 0.1.0
 */
export const StepStarted = Schema.TaggedStruct("StepStarted", { ...step, input: Data })
export type StepStarted = typeof StepStarted.Type

/**
 * A `branch` has decided.
 *
 * @category models
 * @since 0.1.0
 */
export const BranchTaken = Schema.TaggedStruct("BranchTaken", { ...step, branch: Schema.String })
export type BranchTaken = typeof BranchTaken.Type

/**
 * A step succeeded.
 *
 * @category models
 * @since 0.1.0
 */
export const StepCompleted = Schema.TaggedStruct("StepCompleted", {
  ...step,
  output: Schema.optionalKey(Data),
  history: StepRecord.fields.history,
  durationMillis: Schema.Finite
})
export type StepCompleted = typeof StepCompleted.Type

/**
 * A step failed.
 *
 * @category models
 * @since 0.1.0
 */
export const StepFailed = Schema.TaggedStruct("StepFailed", {
  ...step,
  failure: StepFailure,
  history: StepRecord.fields.history,
  durationMillis: Schema.Finite
})
export type StepFailed = typeof StepFailed.Type

/**
 * A step was interrupted, with the run or because a step beside it failed.
 *
 * @category models
 * @since 0.1.0
 */
export const StepInterrupted = Schema.TaggedStruct("StepInterrupted", {
  ...step,
  history: StepRecord.fields.history,
  durationMillis: Schema.Finite
})
export type StepInterrupted = typeof StepInterrupted.Type

/**
 * A step was not run: its record was taken over from the run that this one goes on from.
 *
 * @category models
 * @since 0.1.0
 */
export const StepRestored = Schema.TaggedStruct("StepRestored", { ...envelope, ...StepRecord.fields })
export type StepRestored = typeof StepRestored.Type

/**
 * The run succeeded.
 *
 * @category models
 * @since 0.1.0
 */
export const WorkflowCompleted = Schema.TaggedStruct("WorkflowCompleted", {
  ...envelope,
  output: Schema.optionalKey(Data),
  usage: Usage,
  durationMillis: Schema.Finite
})
export type WorkflowCompleted = typeof WorkflowCompleted.Type

/**
 * The run failed. `failedStep` is the index of the step that the failure began in, however deep.
 *
 * @category models
 * @since 0.1.0
 */
export const WorkflowFailed = Schema.TaggedStruct("WorkflowFailed", {
  ...envelope,
  failure: StepFailure,
  failedStep: Schema.optional(Schema.Finite),
  usage: Usage,
  durationMillis: Schema.Finite
})
export type WorkflowFailed = typeof WorkflowFailed.Type

/**
 * The run was interrupted.
 *
 * @category models
 * @since 0.1.0
 */
export const WorkflowInterrupted = Schema.TaggedStruct("WorkflowInterrupted", {
  ...envelope,
  usage: Usage,
  durationMillis: Schema.Finite
})
export type WorkflowInterrupted = typeof WorkflowInterrupted.Type

/**
 * Schema of all events of workflows.
 *
 * @category schemas
 * @since 0.1.0
 */
export const WorkflowEvent = Schema.Union([
  WorkflowStarted,
  StepStarted,
  BranchTaken,
  StepCompleted,
  StepFailed,
  StepInterrupted,
  StepRestored,
  WorkflowCompleted,
  WorkflowFailed,
  WorkflowInterrupted
])

/**
 * An event of a workflow's run.
 *
 * @category models
 * @since 0.1.0
 */
export type WorkflowEvent = typeof WorkflowEvent.Type

/**
 * An event of any run: what flows through the hub.
 *
 * @category models
 * @since 0.1.0
 */
export type RunEvent = AgentEvent | WorkflowEvent

/**
 * Schema of {@link RunEvent}: `Schema.toCodecJson(RunEvent)` writes and reads logs of all there is.
 *
 * @category schemas
 * @since 0.1.0
 */
export const RunEvent = Schema.Union([...AgentEvents.AgentEvent.members, ...WorkflowEvent.members])

/**
 * Whether an event is one of a workflow.
 *
 * @category guards
 * @since 0.1.0
 */
export const isWorkflowEvent = (event: RunEvent): event is WorkflowEvent => "workflow" in event

/**
 * What an event is about.
 *
 * @category grammar
 * @since 0.1.0
 */
export type Scope = AgentScope | "workflow" | "workflow_step"

const types: { readonly [Tag in WorkflowEvent["_tag"]]: Type } = {
  WorkflowStarted: "started",
  StepStarted: "started",
  BranchTaken: "progress",
  StepCompleted: "completed",
  StepFailed: "failed",
  StepInterrupted: "canceled",
  StepRestored: "completed",
  WorkflowCompleted: "completed",
  WorkflowFailed: "failed",
  WorkflowInterrupted: "canceled"
}

/**
 * The scope of an event in the grammar of the original `agent-runtime`.
 *
 * @category grammar
 * @since 0.1.0
 */
export const scope = (event: RunEvent): Scope => {
  if (!isWorkflowEvent(event)) return AgentEvents.scope(event)
  return "index" in event ? "workflow_step" : "workflow"
}

/**
 * The type of an event in the grammar of the original.
 *
 * @category grammar
 * @since 0.1.0
 */
export const type = (event: RunEvent): Type => {
  if (!isWorkflowEvent(event)) return AgentEvents.type(event)
  if (event._tag !== "StepRestored" || event.status === "completed") return types[event._tag]
  return event.status === "failed" ? "failed" : "canceled"
}

/**
 * The status that an event leads to, in the grammar of the original.
 *
 * @category grammar
 * @since 0.1.0
 */
export const status = (event: RunEvent): Status => {
  const kind = type(event)
  return kind === "started" || kind === "progress" ? "running" : kind
}

/**
 * What the event is about, in the grammar of the original: `<workflow>` for a run, `<workflow>:step:<index>` for a
 * step, which is unambiguous whatever the name holds: the index is behind the last colon. For events of agents see
 * `AgentEvent.componentId`.
 *
 * @category grammar
 * @since 0.1.0
 */
export const componentId = (event: RunEvent): string => {
  if (!isWorkflowEvent(event)) return AgentEvents.componentId(event)
  return "index" in event ? `${event.workflow}:step:${event.index}` : event.workflow
}

/**
 * Whether the event is the last of its run.
 *
 * @category guards
 * @since 0.1.0
 */
export const isTerminal = (event: RunEvent): boolean => {
  if (!isWorkflowEvent(event)) return AgentEvents.isTerminal(event)
  return event._tag === "WorkflowCompleted" || event._tag === "WorkflowFailed" || event._tag === "WorkflowInterrupted"
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/**
 * The record that events describe, as far as they go: what was done when the last of them happened. After a crash, it
 * is what `Workflow.resume` goes on from.
 *
 * **Details**
 *
 * The record is that of the first workflow event; runs that are not part of it are passed over. Until its last event is
 * there, what the run has used is what its agents have that ended. `undefined` without a `WorkflowStarted`.
 *
 * @category folding
 * @since 0.1.0
 */
export const fold = (events: Iterable<RunEvent>): WorkflowRun | undefined => {
  let run: (Mutable<WorkflowRun> & { readonly steps: Array<Mutable<StepRecord>> }) | undefined
  /** The run and the workflows in it: whose agents count. */
  const runIds = new Set<string>()
  for (const event of events) {
    if (!isWorkflowEvent(event)) {
      if (run?.status === "running" && AgentEvents.isTerminal(event) && runIds.has(event.parentRunId ?? "")) {
        run.usage = Usages.combine(run.usage, event.usage)
      }
      continue
    }
    if (run === undefined) {
      if (event._tag === "WorkflowStarted") run = started(event)
    }
    if (run === undefined) continue
    const isOwn = event.recordRunId === run.runId
    // The agents of a workflow that a step runs by itself count, too.
    if (isOwn || runIds.has(event.parentRunId ?? "")) runIds.add(event.runId)
    if (!isOwn) continue
    apply(run, event)
  }
  return run
}

const started = ({ parentRunId, runId, timestamp, usage, workflow, ...event }: WorkflowStarted) => ({
  runId,
  ...(parentRunId === undefined ? {} : { parentRunId }),
  workflow,
  status: "running" as const,
  ...("input" in event ? { input: event.input } : {}),
  steps: [],
  usage,
  startedAt: timestamp,
  durationMillis: 0
})

const apply = (
  run: Mutable<WorkflowRun> & { readonly steps: Array<Mutable<StepRecord>> },
  event: WorkflowEvent
): void => {
  switch (event._tag) {
    case "StepStarted": {
      const { index, input, iterations, name, path, timestamp: startedAt, type } = event
      run.steps[index] = { index, name, type, path, iterations, status: "running", input, startedAt, durationMillis: 0 }
      return
    }
    case "StepRestored": {
      run.steps[event.index] = restored(event)
      return
    }
    case "WorkflowStarted":
      return
  }
  if ("index" in event) {
    const record = run.steps[event.index]
    if (record === undefined) return
    if (event._tag === "BranchTaken") {
      record.branch = event.branch
      return
    }
    if (event._tag === "StepCompleted" && "output" in event) record.output = event.output
    if (event._tag === "StepFailed") record.failure = event.failure
    if (event.history !== undefined) record.history = event.history
    record.status = statuses[event._tag]
    record.durationMillis = event.durationMillis
    return
  }
  if (event.runId !== run.runId) return
  if (event._tag === "WorkflowCompleted" && "output" in event) run.output = event.output
  if (event._tag === "WorkflowFailed") {
    run.failure = event.failure
    if (event.failedStep !== undefined) run.failedStep = event.failedStep
  }
  run.status = statuses[event._tag]
  run.usage = event.usage
  run.durationMillis = event.durationMillis
}

const restored = (event: StepRestored): StepRecord => {
  const { branch, durationMillis, failure, history, index, input, iterations, name, path, startedAt, status } = event
  const record = { index, name, type: event.type, path, iterations, status, input, startedAt, durationMillis }
  return {
    ...record,
    ...("output" in event ? { output: event.output } : {}),
    ...(failure === undefined ? {} : { failure }),
    ...(branch === undefined ? {} : { branch }),
    ...(history === undefined ? {} : { history })
  }
}

const statuses = {
  StepCompleted: "completed",
  StepFailed: "failed",
  StepInterrupted: "interrupted",
  WorkflowCompleted: "completed",
  WorkflowFailed: "failed",
  WorkflowInterrupted: "interrupted"
} as const
