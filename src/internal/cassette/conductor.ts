/**
 * Time and order of a program on a cassette. What reaches the program from outside (pieces and ends of calls, the end
 * of a sleep) is delivered one at a time, each when the program has come to rest after the one before, and the clock
 * only moves with a delivery. So the order and the times of deliveries are all that a replay has to repeat.
 */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { SchedulerDispatcher } from "effect/Scheduler"
import type * as Scope from "effect/Scope"

/** A delivery of a recording: when, in milliseconds from its start, and to which step. */
export interface Moment {
  readonly at: number
  readonly step: number
}

/** A call in progress. */
export interface Ticket {
  /** The recorded step that it repeats; `undefined` while it is live. */
  readonly recorded: number | undefined
  /** What it gets next from the recording. */
  next: (() => void) | undefined
}

type Deliver = (at: number) => void

export interface Conductor {
  readonly clock: Clock.Clock
  /** Has a live call get something when its turn comes; `at` is milliseconds from the start. */
  readonly arrive: (ticket: Ticket, deliver: Deliver) => void
  /** Has a recorded call get its next piece when the recording says. */
  readonly play: (ticket: Ticket, deliver: Deliver) => void
  /** Has a recorded call wait for the interruption that ended it. */
  readonly strand: (ticket: Ticket) => void
  /** A call has ended, or been interrupted. */
  readonly leave: (ticket: Ticket) => void
}

/** The turns of the scheduler in which nothing may be left to do before the program counts as at rest. */
const rest = 4

interface Sleeper {
  readonly due: number
  readonly wake: () => void
}

export interface Options {
  readonly dispatcher: SchedulerDispatcher
  /** Where the timers of a live clock run. */
  readonly scope: Scope.Scope
  /** The clock of live calls; `undefined` when there are none, and sleeps need not take time. */
  readonly live: Clock.Clock | undefined
  /** Milliseconds since the epoch, which `Moment.at` counts from. */
  readonly startedAt: number
  readonly timeline: ReadonlyArray<Moment>
  /** Nothing can happen any more but an interruption. */
  readonly onStuck: (step: number) => void
}

export const make = ({ dispatcher, live, onStuck, scope, startedAt, timeline }: Options): Conductor => {
  let now = startedAt
  /** The last wake was at this time: what comes after it comes later. */
  let wokeAt = -Infinity
  /** From the live clock to the recording's. */
  let shift = live === undefined ? 0 : startedAt - live.currentTimeMillisUnsafe()
  let scheduled = false
  const tickets = new Map<number, Ticket>()
  const stranded = new Set<Ticket>()
  const moments = timeline.slice()
  /** What is live arrives in the order of reality: deliveries, and the times up to which sleepers have slept. */
  const arrived: Array<{ readonly ticket: Ticket; readonly deliver: Deliver; readonly at: number } | number> = []
  const sleepers: Array<Sleeper> = []

  const kick = (): void => {
    if (scheduled) return
    scheduled = true
    hop(rest)
  }
  const hop = (left: number): void => {
    dispatcher.scheduleTask(left === 0 ? turn : () => hop(left - 1), 0)
  }

  const turn = (): void => {
    scheduled = false
    if (take()) return kick()
    const [ticket] = stranded
    if (live === undefined && ticket?.recorded !== undefined) onStuck(ticket.recorded)
  }

  /** Delivers what is next; `false` when there is nothing. */
  const take = (): boolean => {
    const head = arrived[0]
    const sleeper = sleepers[0]
    if (typeof head === "number") {
      if (sleeper !== undefined && sleeper.due <= head) wake(sleeper)
      else arrived.shift()
      return true
    }
    if (head !== undefined) {
      arrived.shift()
      // Sleepers that are due earlier than it arrived have slept on so far.
      advance(Math.min(Math.max(head.at, wokeAt + 1), sleeper?.due ?? Infinity))
      head.deliver(now - startedAt)
      return true
    }
    const index = moments.findIndex(({ step }) => tickets.get(step)?.next !== undefined)
    const moment = moments[index]
    if (sleeper !== undefined && (moment === undefined ? live === undefined : sleeper.due < moment.at + startedAt)) {
      wake(sleeper)
      return true
    }
    if (moment === undefined) return false
    moments.splice(index, 1)
    const ticket = tickets.get(moment.step)!
    const deliver = ticket.next!
    ticket.next = undefined
    advance(moment.at + startedAt)
    deliver()
    return true
  }

  const wake = (sleeper: Sleeper): void => {
    sleepers.shift()
    advance(sleeper.due)
    wokeAt = now
    sleeper.wake()
  }

  const advance = (to: number): void => {
    now = Math.max(now, to)
    if (live !== undefined) shift = Math.max(shift, now - live.currentTimeMillisUnsafe())
  }

  const read = Effect.sync(() => now)
  const nanos = () => BigInt(now) * 1_000_000n
  const readNanos = Effect.sync(nanos)
  const clock: Clock.Clock = {
    currentTimeMillisUnsafe: () => now,
    currentTimeMillis: read,
    currentTimeNanosUnsafe: nanos,
    currentTimeNanos: readNanos,
    monotonicTimeNanosUnsafe: nanos,
    monotonicTimeNanos: readNanos,
    sleep: (duration) =>
      Effect.suspend(() => {
        if (!Duration.isFinite(duration)) return Effect.never
        const millis = Math.max(0, Math.ceil(Duration.toMillis(duration)))
        const due = now + millis
        const sleep = Effect.callback<void>((resume) => {
          const sleeper: Sleeper = { due, wake: () => resume(Effect.void) }
          const later = sleepers.findIndex((other) => other.due > due)
          sleepers.splice(later === -1 ? sleepers.length : later, 0, sleeper)
          kick()
          return Effect.sync(() => {
            const at = sleepers.indexOf(sleeper)
            if (at !== -1) sleepers.splice(at, 1)
          })
        })
        if (live === undefined) return sleep
        const timer = Effect.andThen(
          live.sleep(duration),
          Effect.sync(() => {
            arrived.push(due)
            kick()
          })
        )
        // Nothing waits for the end of a timer: a replay has none.
        return Effect.flatMap(Effect.forkIn(timer, scope, { startImmediately: true }), (fiber) =>
          Effect.ensuring(
            sleep,
            Effect.sync(() => fiber.interruptUnsafe())
          )
        )
      })
  }

  return {
    clock,
    arrive: (ticket, deliver) => {
      const at = live === undefined ? now : Math.floor(live.currentTimeMillisUnsafe() + shift)
      arrived.push({ ticket, deliver, at })
      kick()
    },
    play: (ticket, deliver) => {
      ticket.next = () => deliver(now - startedAt)
      tickets.set(ticket.recorded!, ticket)
      kick()
    },
    strand: (ticket) => {
      stranded.add(ticket)
      kick()
    },
    leave: (ticket) => {
      stranded.delete(ticket)
      if (ticket.recorded !== undefined) tickets.delete(ticket.recorded)
      for (let i = arrived.length - 1; i >= 0; i--) {
        const one = arrived[i]
        if (typeof one === "object" && one.ticket === ticket) arrived.splice(i, 1)
      }
    }
  }
}
