/**
 * One run in progress: its state, and the way its events take. `emit` applies an event to the state and hands it to
 * whoever watches, in batches: a batch goes out when the run suspends, and at the latest when it ends.
 */
import type * as Clock from "effect/Clock"
import type * as Effect from "effect/Effect"
import type { SchedulerDispatcher } from "effect/Scheduler"
import type { AgentEvent } from "../AgentEvent.ts"
import type { ContextWindow } from "../ContextWindow.ts"
import type { History } from "../History.ts"
import type { OutputFormat, Sampling, ToolChoice } from "../Llm.ts"
import type { PriceTable } from "../Prices.ts"
import type { Bound, Compiled } from "../Toolbox.ts"
import type { Usage } from "../Usage.ts"
import type { Limits } from "./account.ts"
import type { Payer } from "./charge.ts"
import type { CurrentRun, Observer } from "./currentRun.ts"
import type { PendingCall, Policy, State } from "./machine.ts"
import { evolve } from "./machine.ts"

/** An agent, as the engine needs it. */
export interface Definition {
  readonly name: string
  readonly instructions: string | ((prompt: string) => Effect.Effect<string, unknown>)
  readonly prepareTurn: ((turn: TurnView) => Effect.Effect<TurnSettings, unknown>) | undefined
  readonly toolkit: Compiled
  readonly policy: Policy
  readonly toolConcurrency: number
  readonly sampling: Sampling
  readonly toolChoice: ToolChoice
  readonly output: Output | undefined
  /** Stream model calls even when nobody watches. */
  readonly streaming: boolean
  /** What of the history is sent; `undefined` for all. */
  readonly contextWindow: ContextWindow<unknown> | undefined
  /** What each run may spend; `undefined` for what is around it. */
  readonly budget: Limits | undefined
}

/** What is known before a turn; `Agent` has the documented type. */
export interface TurnView {
  readonly turn: number
  readonly history: History
  readonly usage: Usage
  readonly lastCalls: ReadonlyArray<PendingCall>
}

/** What is different in one turn. */
export interface TurnSettings extends Sampling {
  readonly instructions?: string | undefined
  readonly tools?: ReadonlyArray<string> | undefined
  readonly toolChoice?: ToolChoice | undefined
}

/** The format of the final answer and its decoder. */
export interface Output {
  readonly format: OutputFormat
  readonly decode: (text: string) => Effect.Effect<unknown, { readonly message: string }>
  /** The answer before it is decoded; for texts that `decode` has accepted. */
  readonly json: (text: string) => unknown
}

/** A run in progress. */
export interface Run {
  readonly definition: Definition
  readonly state: State
  readonly toolbox: Bound
  readonly parent: CurrentRun | undefined
  /** `""` when nobody watches. */
  readonly id: string
  readonly observer: Observer | undefined
  /** Hands events over when the run suspends; `undefined` when nobody watches. */
  readonly dispatcher: SchedulerDispatcher | undefined
  readonly clock: Clock.Clock
  readonly prices: PriceTable
  /** `undefined` when there is no budget. */
  readonly payer: Payer | undefined
  readonly startedAt: number
  /** The time of the events that are emitted, in milliseconds; {@link tick} brings it up to date. */
  now: number
  /** What every event of the run begins with; `emit` gives it its offset and time. */
  readonly envelope: Envelope
  offset: number
  /** Events that have not gone out yet. */
  buffer: Array<AgentEvent> | undefined
  /** A model call is in flight. */
  calling: boolean
  /** When the last model call began; 0 when nobody watches. */
  calledAt: number
  /** The call ids of this run; made with the first. */
  callIds: Set<string> | undefined
}

interface Envelope {
  readonly runId: string
  readonly parentRunId: string | undefined
  readonly rootRunId: string | undefined
  readonly agent: string
  readonly offset: number
  readonly timestamp: number
}

/** Reads the clock: where something took time, and not for each of the events in between. */
export const tick = (run: Run): number => (run.now = run.clock.currentTimeMillisUnsafe())

/** Applies an event and passes it on. Nothing happens to a run that has ended: a late delta of a provider is lost. */
export const emit = (run: Run, event: AgentEvent): void => {
  if (run.state.phase === "ended") return
  // The event was made for this call, and nobody has seen it yet.
  const own = event as { -readonly [K in "offset" | "timestamp"]: AgentEvent[K] }
  own.offset = run.offset++
  own.timestamp = run.now
  evolve(run.definition.policy, run.state, event)
  if (run.observer === undefined) return
  if (run.buffer !== undefined) {
    run.buffer.push(event)
    return
  }
  run.buffer = [event]
  run.dispatcher!.scheduleTask(() => flush(run), 0)
}

/** Hands over the events that wait, those of the parent first: they are older. */
export const flush = (run: Run): void => {
  run.parent?.flush()
  const events = run.buffer
  if (events === undefined) return
  run.buffer = undefined
  run.observer!.publish(events)
}
