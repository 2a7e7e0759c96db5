/**
 * The run that the current fiber works for, so that a run started by a tool knows its parent. Tool handlers inherit
 * it, and with it everything they call.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { AgentEvent } from "../AgentEvent.ts"
import type { Usage } from "../Usage.ts"

/** Watches a run. */
export interface Observer {
  /** Receives events in order, in batches. Synchronous. */
  readonly publish: (events: ReadonlyArray<AgentEvent>) => void
  /** Whether a run may have to wait for this observer at all. */
  readonly mayCongest: () => boolean
  /** What to wait for before going on when the observer cannot keep up; `undefined` when it can. */
  readonly congestion: () => Effect.Effect<void> | undefined
}

/** What a child run needs of its parent. */
export interface CurrentRun {
  /** `undefined` when nobody watches the run. */
  readonly id: string | undefined
  /** The run at the top of the tree: itself, unless another started it. */
  readonly rootId: string | undefined
  /** Receives the events of child runs too; absent when nobody watches the parent. */
  readonly observer: Observer | undefined
  /** Hands over the parent's events that wait. */
  readonly flush: () => void
  /** Tells the parent that a child has ended. */
  readonly childEnded: (childRunId: string, childAgent: string, usage: Usage) => void
}

export const CurrentRun = Context.Reference<CurrentRun | undefined>("effect-agent-runtime/CurrentRun", {
  defaultValue: () => undefined
})
