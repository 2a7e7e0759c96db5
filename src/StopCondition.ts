/**
 * When a run ends before the model says so. Conditions are values, checked before each model call, the same for
 * every way to start a run, and combined with {@link or} and {@link and}.
 *
 * A limit ({@link maxTurns}, {@link tokensAbove}, {@link after}) ends the run as a failure that carries the partial
 * run; a goal ({@link hasToolCall}, {@link goal}) ends it as a success with the text so far.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import { dual } from "effect/Function"
import * as Pipeable from "effect/Pipeable"
import type { AgentErrorReason } from "./AgentError.ts"
import { InvalidAgent, TimeLimitReached, TokenLimitReached, TurnLimitReached } from "./AgentError.ts"
import type { Usage } from "./Usage.ts"
import { totalTokens } from "./Usage.ts"

/**
 * What a condition may look at: the run before its next model call.
 *
 * @category models
 * @since 0.1.0
 */
export interface RunView {
  /** Model calls answered so far. */
  readonly turns: number
  /** Usage so far, sub-agents included. */
  readonly usage: Usage
  /** The calls that the model asked for in the last turn. */
  readonly lastCalls: ReadonlyArray<{ readonly name: string; readonly params: unknown }>
  /** Milliseconds since the run began, if any part of the condition is {@link after}; otherwise 0. */
  readonly elapsedMillis: number
}

/**
 * How a run is ended: `"goal"` as a success, a reason as a failure.
 *
 * @category models
 * @since 0.1.0
 */
export type Stop = "goal" | AgentErrorReason

/**
 * A condition that ends runs.
 *
 * @category models
 * @since 0.1.0
 */
export interface StopCondition extends Pipeable.Pipeable {
  /** Whether the run is to end now, and how. Pure. */
  readonly check: (run: RunView) => Stop | undefined
  /** The condition limits the number of turns; one that does not is combined with the default limit. */
  readonly boundsTurns: boolean
  /** The condition needs `elapsedMillis`, so the run reads the clock. */
  readonly usesClock: boolean
}

const make = (condition: Omit<StopCondition, "pipe">): StopCondition =>
  Object.assign(Object.create(Pipeable.Prototype), condition)

const require = (field: string, holds: boolean, issue: string): void => {
  if (!holds) throw new InvalidAgent({ field, issue })
}

/**
 * Fails the run with `TurnLimitReached` when `limit` model calls did not lead to a final answer.
 *
 * @category constructors
 * @since 0.1.0
 */
export const maxTurns = (limit: number): StopCondition => {
  require("maxTurns", limit >= 1, `must be at least 1, is ${limit}`)
  return make({
    check: (run) => (run.turns >= limit ? new TurnLimitReached({ limit }) : undefined),
    boundsTurns: true,
    usesClock: false
  })
}

/**
 * The condition of agents that set none: 10 turns.
 *
 * @category constructors
 * @since 0.1.0
 */
export const defaultLimit: StopCondition = maxTurns(10)

/**
 * No limit of turns at all: use with care, a model can loop for ever at your expense.
 *
 * @category constructors
 * @since 0.1.0
 */
export const unlimited: StopCondition = make({ check: () => undefined, boundsTurns: true, usesClock: false })

/**
 * Fails the run with `TokenLimitReached` once input and output tokens together exceed `limit`. A soft limit: the
 * call that exceeds it has been paid for.
 *
 * @category constructors
 * @since 0.1.0
 */
export const tokensAbove = (limit: number): StopCondition => {
  require("tokensAbove", limit > 0, `must be positive, is ${limit}`)
  return make({
    check: (run) => {
      const used = totalTokens(run.usage)
      return used > limit ? new TokenLimitReached({ limit, used }) : undefined
    },
    boundsTurns: false,
    usesClock: false
  })
}

/**
 * Fails the run with `TimeLimitReached` if it is still going after `duration`. It is checked between model calls;
 * use `Effect.timeout` to cut a call short.
 *
 * @category constructors
 * @since 0.1.0
 */
export const after = (duration: Duration.Input): StopCondition => {
  const limitMillis = Duration.toMillis(Duration.fromInputUnsafe(duration))
  require("after", limitMillis > 0, `must be positive, is ${limitMillis} ms`)
  return make({
    check: (run) =>
      run.elapsedMillis >= limitMillis
        ? new TimeLimitReached({ limitMillis, elapsedMillis: run.elapsedMillis })
        : undefined,
    boundsTurns: false,
    usesClock: true
  })
}

/**
 * Ends the run as a success when a predicate holds.
 *
 * **Details**
 *
 * The model's last text is the answer. If the agent has an `output` schema that it does not match, the run fails with
 * `OutputInvalid`: a run that is to end asks for no correction.
 *
 * @category constructors
 * @since 0.1.0
 */
export const goal = (predicate: (run: RunView) => boolean): StopCondition =>
  make({ check: (run) => (predicate(run) ? "goal" : undefined), boundsTurns: false, usesClock: false })

/**
 * Ends the run as a success after a turn that called the tool.
 *
 * @category constructors
 * @since 0.1.0
 */
export const hasToolCall = (tool: string): StopCondition =>
  goal((run) => run.lastCalls.some((call) => call.name === tool))

/**
 * Ends the run when either condition holds, the way of the first that does.
 *
 * @category combining
 * @since 0.1.0
 */
export const or: {
  (that: StopCondition): (self: StopCondition) => StopCondition
  (self: StopCondition, that: StopCondition): StopCondition
} = dual(2, (self: StopCondition, that: StopCondition): StopCondition =>
  make({
    check: (run) => self.check(run) ?? that.check(run),
    boundsTurns: self.boundsTurns || that.boundsTurns,
    usesClock: self.usesClock || that.usesClock
  })
)

/**
 * Ends the run when both conditions hold, the way of the first.
 *
 * @category combining
 * @since 0.1.0
 */
export const and: {
  (that: StopCondition): (self: StopCondition) => StopCondition
  (self: StopCondition, that: StopCondition): StopCondition
} = dual(2, (self: StopCondition, that: StopCondition): StopCondition =>
  make({
    check: (run) => {
      const stop = self.check(run)
      return stop !== undefined && that.check(run) !== undefined ? stop : undefined
    },
    boundsTurns: self.boundsTurns && that.boundsTurns,
    usesClock: self.usesClock || that.usesClock
  })
)

/**
 * The condition with a limit of turns: itself if it has one, otherwise combined with {@link defaultLimit}.
 *
 * @category combining
 * @since 0.1.0
 */
export const bounded = (self: StopCondition): StopCondition => (self.boundsTurns ? self : or(self, defaultLimit))
