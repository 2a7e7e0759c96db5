/**
 * The run that the current fiber works for, so that a run started by a tool knows its parent. Tool handlers inherit
 * it, and with it everything they call.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { Usage } from "../Usage.ts"
import type { RunEvent } from "../WorkflowEvent.ts"

/** Watches a run. */
export interface Observer {
  /** Receives events in order, in batches. Synchronous. */
  readonly publish: (events: ReadonlyArray<RunEvent>) => void
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
  readonly childEnded: (childRunId: string, childName: string, usage: Usage) => void
}

export const CurrentRun = Context.Reference<CurrentRun | undefined>("effect-agent-runtime/CurrentRun", {
  defaultValue: () => undefined
})

/** Both observers, if both are there. */
export const combine = (self: Observer | undefined, that: Observer | undefined): Observer | undefined => {
  if (self === undefined || that === undefined) return self ?? that
  return {
    publish: (events) => {
      self.publish(events)
      that.publish(events)
    },
    mayCongest: () => self.mayCongest() || that.mayCongest(),
    congestion: () => {
      const first = self.congestion()
      const second = that.congestion()
      return first === undefined || second === undefined ? (first ?? second) : Effect.andThen(first, second)
    }
  }
}

/** 62 random bits: unique among the runs of an application, and reproducible under a seeded `Random`. */
export const makeId = (random: { nextDoubleUnsafe(): number }): string => `run_${word(random)}${word(random)}`

// An integer of 31 bits is written three times as fast as one of 32.
const word = (random: { nextDoubleUnsafe(): number }): string =>
  Math.floor(random.nextDoubleUnsafe() * 2 ** 31)
    .toString(36)
    .padStart(6, "0")
