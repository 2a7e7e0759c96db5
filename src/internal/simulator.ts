/**
 * Runs an effect on a scheduler and a clock of its own: which of the tasks that are ready runs next, and where a fiber
 * pauses, is for somebody else to choose; time passes only when nothing is ready.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import * as Random from "effect/Random"
import * as Scheduler from "effect/Scheduler"

/** What happens where more than one thing can. A step is the run of one task; steps count from 1. */
export interface Choices {
  /** Which of the tasks that are ready runs, the one that waits for longest being 0. */
  readonly pick: (step: number, ready: number) => number
  /** Whether a fiber pauses before an operation. Fibers are numbered from 1 as they begin, and so are their operations. */
  readonly pause: (fiber: number, operation: number) => boolean
  /** In which step, at the earliest, the effect is interrupted from outside; `Infinity` for never. */
  readonly interruption: number
}

/** Chosen other than by default. */
export type Chosen =
  | { readonly _tag: "Picked"; readonly step: number; readonly task: number }
  | { readonly _tag: "Paused"; readonly fiber: number; readonly operation: number }
  | { readonly _tag: "Interrupted"; readonly step: number }

export interface Settings {
  readonly choices: Choices
  readonly onChosen: (chosen: Chosen) => void
  readonly random: Random.Random
  readonly maxSteps: number
  /** More services for the effect. */
  readonly context: Context.Context<never>
}

export interface Simulated<A, E> {
  /** `undefined` if the effect did not end. */
  readonly exit: Exit.Exit<A, E> | undefined
  readonly millis: number
  readonly steps: number
  /** Fibers that are alive when nothing is ready any more. */
  readonly alive: number
  /** Interrupts an effect that did not end, so that it can release what it holds. */
  readonly giveUp: () => void
}

/** How far a fiber has got. */
interface Operations {
  readonly number: number
  operation: number
  resuming: number
}

interface Task {
  readonly run: () => void
  readonly priority: number
}

/** 32 bits of a seed and of what it is for, mixed as MurmurHash3 does in the end. */
const mix = (seed: number, purpose: number): number => {
  let hash = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(purpose + 1, 0xc2b2ae35)
  // Beyond 32 bits, too, seeds differ.
  hash ^= Math.imul(Math.floor(seed / 2 ** 32), 0x27d4eb2f)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return hash ^ (hash >>> 16)
}

/** Mulberry32 by Tommy Ettinger: numbers from 0 (included) to 1 (excluded). */
export const generator = (seed: number, purpose: number): (() => number) => {
  let state = mix(seed, purpose)
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Random numbers for the effect. */
export const randomOf = (next: () => number): Random.Random => {
  const nextDoubleUnsafe = () => (Math.floor(next() * 2 ** 26) * 2 ** 27 + Math.floor(next() * 2 ** 27)) / 2 ** 53
  return {
    nextDoubleUnsafe,
    nextIntUnsafe: () =>
      Math.floor(nextDoubleUnsafe() * (Number.MAX_SAFE_INTEGER - Number.MIN_SAFE_INTEGER + 1)) + Number.MIN_SAFE_INTEGER
  }
}

/** Time that stands still until it is moved to the next sleeper. */
const makeClock = (wake: (resume: () => void) => void) => {
  const sleepers: Array<{ readonly at: number; readonly resume: () => void }> = []
  let now = 0
  const currentTimeNanosUnsafe = () => BigInt(Math.round(now * 1_000_000))
  const currentTimeNanos = Effect.sync(currentTimeNanosUnsafe)
  const clock: Clock.Clock = {
    currentTimeMillisUnsafe: () => now,
    currentTimeMillis: Effect.sync(() => now),
    currentTimeNanosUnsafe,
    currentTimeNanos,
    monotonicTimeNanosUnsafe: currentTimeNanosUnsafe,
    monotonicTimeNanos: currentTimeNanos,
    sleep: (duration) => {
      const millis = Duration.toMillis(duration)
      if (millis <= 0) return Effect.yieldNow
      if (millis === Infinity) return Effect.never
      return Effect.callback((resume) => {
        const sleeper = { at: now + millis, resume: () => resume(Effect.void) }
        const later = sleepers.findIndex(({ at }) => at > sleeper.at)
        sleepers.splice(later === -1 ? sleepers.length : later, 0, sleeper)
        return Effect.sync(() => {
          const index = sleepers.indexOf(sleeper)
          if (index !== -1) sleepers.splice(index, 1)
        })
      })
    }
  }
  /** Moves the time to the next sleepers and wakes them; `false` if there are none. */
  const advance = (): boolean => {
    if (sleepers.length === 0) return false
    now = sleepers[0]!.at
    while (sleepers[0]?.at === now) wake(sleepers.shift()!.resume)
    return true
  }
  return { clock, advance, now: () => now }
}

const makeScheduler = ({ choices, maxSteps, onChosen }: Settings, interrupt: () => boolean) => {
  const ready: Array<Task> = []
  const known = new WeakMap<Fiber.Fiber<unknown, unknown>, Operations>()
  let fibers = 0
  let step = 0
  let interruption = choices.interruption

  const scheduleTask = (run: () => void, priority: number): void => {
    let index = ready.length
    while (index > 0 && ready[index - 1]!.priority > priority) index--
    ready.splice(index, 0, { run, priority })
  }

  const dispatcher: Scheduler.SchedulerDispatcher = { scheduleTask, flush: () => {} }
  const scheduler: Scheduler.Scheduler = {
    executionMode: "async",
    makeDispatcher: () => dispatcher,
    shouldYield: (fiber) => {
      let one = known.get(fiber)
      if (one === undefined) known.set(fiber, (one = { number: ++fibers, operation: 0, resuming: 0 }))
      // To go on takes an operation, and the one before which it paused comes again: pauses change no numbers.
      if (one.resuming > 0) {
        one.resuming--
        return false
      }
      one.operation++
      const pauses = choices.pause(one.number, one.operation)
      if (pauses) onChosen({ _tag: "Paused", fiber: one.number, operation: one.operation })
      const yields = pauses || fiber.currentOpCount >= fiber.cache.maxOpsBeforeYield
      if (yields) one.resuming = 2
      return yields
    }
  }

  /** The task of a step: one of those of the lowest priority number. */
  const next = (): Task => {
    let among = 1
    while (ready[among]?.priority === ready[0]!.priority) among++
    const task = among === 1 ? 0 : choices.pick(step, among)
    if (task !== 0) onChosen({ _tag: "Picked", step, task })
    return ready.splice(task, 1)[0]!
  }

  /** Runs tasks until none is ready; `false` if there are too many. */
  const drain = (): boolean => {
    while (ready.length > 0) {
      if (step >= maxSteps) return false
      step++
      if (step >= interruption) {
        const at = step
        interruption = Infinity
        if (interrupt()) {
          onChosen({ _tag: "Interrupted", step: at })
          continue
        }
      }
      next().run()
    }
    return true
  }

  return { scheduler, scheduleTask, drain, isIdle: () => ready.length === 0, steps: () => step }
}

/** Runs an effect to its end, and what it leaves behind for as long as no time passes. */
export const simulate = <A, E>(effect: Effect.Effect<A, E>, settings: Settings): Effect.Effect<Simulated<A, E>> =>
  Effect.suspend(() => {
    let root: Fiber.Fiber<A, E> | undefined
    let alive = 0
    const isRunning = () => root === undefined || root.pollUnsafe() === undefined
    const { drain, isIdle, scheduler, scheduleTask, steps } = makeScheduler(settings, () => {
      if (root === undefined || !isRunning()) return false
      root.interruptUnsafe()
      return true
    })
    const { advance, clock, now } = makeClock((resume) => scheduleTask(resume, 0))
    const context = settings.context.pipe(
      Context.add(Scheduler.Scheduler, scheduler),
      Context.add(Clock.Clock, clock),
      Context.add(Random.Random, settings.random),
      Context.add(Metric.FiberRuntimeMetrics, {
        recordFiberStart: () => void alive++,
        recordFiberEnd: () => void alive--
      })
    )
    const fork = Effect.runForkWith(context)
    scheduleTask(() => {
      root = fork(effect)
    }, 0)

    return Effect.gen(function* () {
      while (withoutStacks(drain) && isRunning()) {
        // What waits for a promise goes on before time passes.
        yield* Effect.yieldNow
        if (isIdle() && !advance()) break
      }
      return {
        exit: root?.pollUnsafe(),
        millis: now(),
        steps: steps(),
        alive,
        giveUp: () => {
          root?.interruptUnsafe()
          drain()
        }
      }
    })
  })

/** Stacks name files, and begin wherever the simulation was called from: nothing that a seed determines. */
const withoutStacks = <A>(f: () => A): A => {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 0
  try {
    return f()
  } finally {
    Error.stackTraceLimit = stackTraceLimit
  }
}
