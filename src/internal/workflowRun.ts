/**
 * A run of a workflow in progress: its record, which is always kept, and its events, which are made when somebody
 * watches. Nested workflows are runs of their own in the events; record and order are those of the outermost.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Predicate from "effect/Predicate"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import type { SchedulerDispatcher } from "effect/Scheduler"
import { EventHub } from "../EventHub.ts"
import type { Usage } from "../Usage.ts"
import * as Usages from "../Usage.ts"
import type { RunEvent, WorkflowEvent } from "../WorkflowEvent.ts"
import type { StepFailure, StepRecord, WorkflowRun } from "../WorkflowRun.ts"
import type { Observer } from "./currentRun.ts"
import { combine, CurrentRun, makeId } from "./currentRun.ts"
import type { Node } from "./workflowNode.ts"
import { isLeaf } from "./workflowNode.ts"

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/** A value as a step has it, and as records have it. */
export interface Datum {
  readonly value: unknown
  readonly encoded: unknown
}

/** What a run shares with the workflows nested in it. */
interface Book {
  /** The id of the outermost run. */
  readonly runId: string
  readonly observer: Observer | undefined
  readonly local: Observer | undefined
  readonly dispatcher: SchedulerDispatcher | undefined
  readonly outer: CurrentRun | undefined
  readonly clock: Clock.Clock
  readonly random: { nextDoubleUnsafe(): number }
  /** The time, in milliseconds; {@link tick} brings it up to date. */
  now: number
  readonly steps: Array<Mutable<StepRecord>>
  /** Events that have not gone out yet. */
  buffer: Array<RunEvent> | undefined
  /** The failure that is on its way, and the step it began in. */
  failed: { readonly error: unknown; readonly index: number } | undefined
}

/** A run in progress. */
export interface Run {
  readonly book: Book
  /** What steps start has this run as its parent. */
  readonly current: CurrentRun
  /** What every event of the run begins with; `undefined` when nobody watches. */
  readonly envelope: Envelope | undefined
  readonly startedAt: number
  usage: Usage
  offset: number
  /** Whether it has been announced: a run that is interrupted before that has not begun. */
  begun: boolean
}

interface Envelope {
  readonly runId: string
  readonly parentRunId: string | undefined
  readonly rootRunId: string | undefined
  readonly recordRunId: string
  readonly workflow: string
  readonly offset: number
  readonly timestamp: number
}

/** Makes the outermost run, which is to be {@link announce}d by an effect whose end is that of the run. */
export const make = (name: string, fiber: Fiber.Fiber<unknown, unknown>, observe: Observer | undefined): Run => {
  const outer = fiber.getRef(CurrentRun)
  const local = combine(outer?.observer, observe)
  const observer = combine(fiber.getRef(EventHub), local)
  const clock = fiber.getRef(Clock.Clock)
  const random = fiber.getRef(Random.Random)
  const book: Book = {
    runId: makeId(random),
    observer,
    local,
    dispatcher: observer === undefined ? undefined : fiber.currentDispatcher,
    outer,
    clock,
    random,
    now: clock.currentTimeMillisUnsafe(),
    steps: [],
    buffer: undefined,
    failed: undefined
  }
  return open(book, book.runId, outer, name)
}

/** Makes a run inside another. */
export const makeNested = (run: Run, name: string): Run => {
  const { book } = run
  return open(book, book.observer === undefined ? "" : makeId(book.random), run.current, name)
}

const open = (book: Book, id: string, parent: CurrentRun | undefined, workflow: string): Run => {
  const run: Run = {
    book,
    current: {
      id: id || undefined,
      rootId: parent?.rootId ?? (id || undefined),
      observer: book.local,
      flush: () => flush(book),
      childEnded: (_id, _name, usage) => {
        run.usage = Usages.combine(run.usage, usage)
      }
    },
    envelope:
      book.observer === undefined
        ? undefined
        : {
            runId: id,
            parentRunId: parent?.id,
            rootRunId: parent?.rootId,
            recordRunId: book.runId,
            workflow,
            offset: 0,
            timestamp: 0
          },
    startedAt: book.now,
    usage: Usages.zero,
    offset: 0,
    begun: false
  }
  return run
}

/** Begins a run. `before` is what was used by the run that it goes on from. */
export const announce = (run: Run, input: Datum, before: Usage): void => {
  run.begun = true
  if (run.envelope !== undefined) {
    emit(run, { ...run.envelope, _tag: "WorkflowStarted", ...inputOf(input), usage: before })
  }
}

// What is not there is not there in JSON either, and is not `null` when it is read again.
const inputOf = ({ encoded: input }: Datum) => (input === undefined ? {} : { input })
const outputOf = ({ encoded: output }: Datum) => (output === undefined ? {} : { output })

/** Reads the clock: where something may have taken time. */
export const tick = ({ book }: Run): number => (book.now = book.clock.currentTimeMillisUnsafe())

const emit = (run: Run, event: WorkflowEvent): void => {
  const { book } = run
  // The event was made for this call, and nobody has seen it yet.
  const own = event as Mutable<Pick<WorkflowEvent, "offset" | "timestamp">>
  own.offset = run.offset++
  own.timestamp = book.now
  if (book.buffer !== undefined) {
    book.buffer.push(event)
    return
  }
  book.buffer = [event]
  // There are events only when somebody watches, and then there is a dispatcher.
  book.dispatcher!.scheduleTask(() => flush(book), 0)
}

const flush = (book: Book): void => {
  book.outer?.flush()
  const events = book.buffer
  if (events === undefined) return
  book.buffer = undefined
  book.observer!.publish(events)
}

/** What to wait for before the next step when an observer cannot keep up. */
export const congestion = ({ book }: Run): Effect.Effect<void> | undefined => {
  if (book.observer?.mayCongest() !== true) return undefined
  flush(book)
  return book.observer.congestion()
}

/** Begins the record of a step. */
export const beginStep = (
  run: Run,
  { name, type }: Node,
  input: Datum,
  path: ReadonlyArray<string>,
  iterations: ReadonlyArray<number>
): Mutable<StepRecord> => {
  const { book, envelope } = run
  const record: Mutable<StepRecord> = {
    index: book.steps.length,
    name,
    type,
    path,
    iterations,
    status: "running",
    input: input.encoded,
    startedAt: book.now,
    durationMillis: 0
  }
  book.steps.push(record)
  if (envelope !== undefined) {
    emit(run, { ...envelope, ...place(record), _tag: "StepStarted", input: record.input })
  }
  return record
}

const place = ({ index, iterations, name, path, type }: StepRecord) => ({ index, name, type, path, iterations })

/** Ends the record of a step as the step has ended. */
export const endStep = (
  run: Run,
  node: Node,
  record: Mutable<StepRecord>,
  exit: Exit.Exit<Datum, unknown>
): undefined => {
  const { book, envelope } = run
  record.durationMillis = tick(run) - record.startedAt
  const { durationMillis, history } = record
  const ended = { ...(history === undefined ? {} : { history }), durationMillis }
  if (Exit.isSuccess(exit)) {
    record.status = "completed"
    if (exit.value.encoded !== undefined) record.output = exit.value.encoded
    if (envelope === undefined) return
    emit(run, { ...envelope, ...place(record), _tag: "StepCompleted", ...outputOf(exit.value), ...ended })
    return
  }
  const error = errorOf(exit.cause)
  if (error === undefined) {
    record.status = "interrupted"
    if (envelope !== undefined) emit(run, { ...envelope, ...place(record), _tag: "StepInterrupted", ...ended })
    return
  }
  record.status = "failed"
  record.failure = failureOf(error)
  // The steps around one that failed fail with the same error; the same step may fail with it again.
  if (isLeaf(node) || book.failed?.error !== error.error) book.failed = { error: error.error, index: record.index }
  if (envelope === undefined) return
  emit(run, { ...envelope, ...place(record), _tag: "StepFailed", failure: record.failure, ...ended })
}

/** Takes a record over from the run that this one goes on from. */
export const restoreStep = (run: Run, past: StepRecord): void => {
  const { book, envelope } = run
  const record = { ...past, index: book.steps.length }
  book.steps.push(record)
  if (envelope !== undefined) emit(run, { ...envelope, ...record, _tag: "StepRestored" })
}

/** Says which way a branch goes. */
export const takeBranch = (run: Run, record: Mutable<StepRecord>, branch: string): void => {
  record.branch = branch
  if (run.envelope !== undefined) emit(run, { ...run.envelope, ...place(record), _tag: "BranchTaken", branch })
}

/** Ends a run, and tells the one that started it. */
export const end = (run: Run, name: string, exit: Exit.Exit<Datum, unknown>, before: Usage): void => {
  if (!run.begun) return
  const { book, current, envelope, usage: own } = run
  const durationMillis = tick(run) - run.startedAt
  const error = Exit.isFailure(exit) ? errorOf(exit.cause) : undefined
  if (envelope !== undefined) {
    const usage = Usages.combine(before, own)
    if (Exit.isSuccess(exit)) {
      emit(run, { ...envelope, _tag: "WorkflowCompleted", ...outputOf(exit.value), usage, durationMillis })
    } else if (error === undefined) {
      emit(run, { ...envelope, _tag: "WorkflowInterrupted", usage, durationMillis })
    } else {
      const failedStep = failedIn(run, error)
      const failure = failureOf(error)
      emit(run, {
        ...envelope,
        _tag: "WorkflowFailed",
        failure,
        ...(failedStep === undefined ? {} : { failedStep }),
        usage,
        durationMillis
      })
    }
    if (current.id === book.runId) flush(book)
  }
  const parent = current.id === book.runId ? book.outer : undefined
  parent?.childEnded(book.runId, name, own)
}

/** The record of the outermost run when it has ended. */
export const recordOf = (
  run: Run,
  name: string,
  input: Datum,
  exit: Exit.Exit<Datum, unknown>,
  before: Usage
): WorkflowRun => {
  const { book } = run
  const error = Exit.isFailure(exit) ? errorOf(exit.cause) : undefined
  const failedStep = error === undefined ? undefined : failedIn(run, error)
  return {
    runId: book.runId,
    ...(book.outer?.id === undefined ? {} : { parentRunId: book.outer.id }),
    workflow: name,
    status: Exit.isSuccess(exit) ? "completed" : error === undefined ? "interrupted" : "failed",
    ...inputOf(input),
    ...(Exit.isSuccess(exit) ? outputOf(exit.value) : {}),
    ...(error === undefined ? {} : { failure: failureOf(error) }),
    ...(failedStep === undefined ? {} : { failedStep }),
    steps: book.steps,
    usage: Usages.combine(before, run.usage),
    startedAt: run.startedAt,
    durationMillis: book.now - run.startedAt
  }
}

const failedIn = ({ book: { failed } }: Run, { error }: Failed): number | undefined =>
  failed?.error === error ? failed?.index : undefined

interface Failed {
  readonly error: unknown
  readonly isDefect: boolean
}

/** What a cause is about: a failure, otherwise a defect, otherwise nothing but an interruption. */
const errorOf = (cause: Cause.Cause<unknown>): Failed | undefined => {
  const failure = Cause.findError(cause)
  if (Result.isSuccess(failure)) return { error: failure.success, isDefect: false }
  const defect = Cause.findDefect(cause)
  return Result.isSuccess(defect) ? { error: defect.success, isDefect: true } : undefined
}

/** How far a chain of causes is followed. */
const causesDepth = 8

const failureOf = ({ error, isDefect }: Failed): StepFailure => {
  const causes: Array<StepFailure["causes"][number]> = []
  for (let inner = innerOf(error); inner !== undefined && causes.length < causesDepth; inner = innerOf(inner)) {
    causes.push(tell(inner, "Error"))
  }
  return { ...tell(error, isDefect ? "Defect" : "Error"), causes }
}

const tell = (error: unknown, otherwise: string) => ({
  tag: Predicate.hasProperty(error, "_tag") ? String(error._tag) : otherwise,
  message: Predicate.hasProperty(error, "message") ? String(error.message) : String(error)
})

/** What an error says it comes from: its reason, the error in it, or its cause. */
const innerOf = (error: unknown): unknown => {
  for (const field of ["reason", "error", "cause"] as const) {
    if (!Predicate.hasProperty(error, field)) continue
    const inner = error[field]
    if (Predicate.hasProperty(inner, "_tag") || inner instanceof Error) return inner
  }
  return undefined
}
