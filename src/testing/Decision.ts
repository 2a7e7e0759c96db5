/**
 * What a `Simulation` decides: who runs next, who pauses, what goes wrong. All that it decided in a run is a schedule,
 * which gives that run again.
 *
 * @since 0.1.0
 */
import type { Choices } from "../internal/simulator.ts"
import { generator } from "../internal/simulator.ts"
import type { ModelFault, Plan, Rates, SubscriberFault, ToolFault } from "./Faults.ts"
import * as Faults from "./Faults.ts"

/**
 * Something that was decided other than by default. A step is what happens between two choices of the scheduler; steps,
 * fibers, operations and calls count from 1.
 *
 * - `Picked`: in this step a task ran though `task` others had been ready for longer. Default: the oldest.
 * - `Paused`: a fiber let others go first before this one of its operations. Default: only after Effect's
 *   `MaxOpsBeforeYield`. Fibers are numbered in the order in which they begin.
 * - `Interrupted`: the program was interrupted in this step.
 * - `ModelFault`, `ToolFault`: the call of this number, of the models or of the tools that `Faults.inject` wraps, went
 *   wrong.
 * - `SubscriberFault`: there was a bad subscriber from the beginning.
 *
 * @category models
 * @since 0.1.0
 */
export type Decision =
  | { readonly _tag: "Picked"; readonly step: number; readonly task: number }
  | { readonly _tag: "Paused"; readonly fiber: number; readonly operation: number }
  | { readonly _tag: "Interrupted"; readonly step: number }
  | { readonly _tag: "ModelFault"; readonly call: number; readonly fault: ModelFault }
  | { readonly _tag: "ToolFault"; readonly call: number; readonly fault: ToolFault }
  | { readonly _tag: "SubscriberFault"; readonly fault: SubscriberFault }

/**
 * All decisions of a run, in any order. It is JSON. Everything that it does not mention went by default.
 *
 * @category models
 * @since 0.1.0
 */
export type Schedule = ReadonlyArray<Decision>

/** Streams of random numbers that have nothing to do with each other. @internal */
export const streams = { schedule: 0, faults: 1, program: 2 }

/** What decides, in a run. @internal */
export interface Decisions {
  readonly choices: Choices
  readonly faults: {
    readonly model: (call: number) => ModelFault | undefined
    readonly tool: (call: number) => ToolFault | undefined
  }
  readonly subscriber: SubscriberFault | undefined
}

/** Asks what goes wrong with the next call, and notes the answer. @internal */
export const recordFaults = ({ model, tool }: Decisions["faults"], decided: Array<Decision>): Plan["Service"] => {
  let modelCalls = 0
  let toolCalls = 0
  return {
    model: () => {
      const call = ++modelCalls
      const fault = model(call)
      if (fault !== undefined) decided.push({ _tag: "ModelFault", call, fault })
      return fault
    },
    tool: () => {
      const call = ++toolCalls
      const fault = tool(call)
      if (fault !== undefined) decided.push({ _tag: "ToolFault", call, fault })
      return fault
    }
  }
}

/** How often a seed takes another task than the oldest, and how many operations it lets a fiber have between pauses. */
const disorders = [0, 0.1, 0.5, 1]
const operationsBetweenPauses = [Infinity, 300, 60, 12, 3]

/** Decides by drawing. @internal */
export const drawn = (seed: number, rates: Rates): Decisions => {
  const random = generator(seed, streams.schedule)
  const disorder = disorders[Math.floor(random() * disorders.length)]!
  const between = operationsBetweenPauses[Math.floor(random() * operationsBetweenPauses.length)]!
  /** Geometrically distributed, so that each operation is as likely as any other. */
  const gap = () => (between === Infinity ? Infinity : 1 + Math.floor(-Math.log(1 - random()) * between))
  let left = gap()
  const faults = Faults.draw(generator(seed, streams.faults), rates)
  // Without pauses there are few steps.
  const interruption = faults.interruption(between === Infinity ? 64 : 4096)
  return {
    choices: {
      pick: (_, ready) => (random() < disorder ? Math.floor(random() * ready) : 0),
      pause: () => {
        if (--left > 0) return false
        left = gap()
        return true
      },
      interruption
    },
    faults,
    subscriber: faults.subscriber()
  }
}

/** Decides what a schedule says. @internal */
export const given = (schedule: Schedule): Decisions => {
  const picks = new Map<number, number>()
  const pauses = new Set<string>()
  const models = new Map<number, ModelFault>()
  const tools = new Map<number, ToolFault>()
  let interruption = Infinity
  let subscriber: SubscriberFault | undefined
  for (const decision of schedule) {
    switch (decision._tag) {
      case "Picked":
        picks.set(decision.step, decision.task)
        break
      case "Paused":
        pauses.add(`${decision.fiber} ${decision.operation}`)
        break
      case "Interrupted":
        interruption = decision.step
        break
      case "ModelFault":
        models.set(decision.call, decision.fault)
        break
      case "ToolFault":
        tools.set(decision.call, decision.fault)
        break
      case "SubscriberFault":
        subscriber = decision.fault
    }
  }
  return {
    choices: {
      pick: (step, ready) => Math.min(picks.get(step) ?? 0, ready - 1),
      pause: (fiber, operation) => pauses.size > 0 && pauses.has(`${fiber} ${operation}`),
      interruption
    },
    faults: { model: (call) => models.get(call), tool: (call) => tools.get(call) },
    subscriber
  }
}

/**
 * A schedule without some of its decisions. Those behind them may mean other steps and fibers now: each pause, and an
 * interruption, makes a step of its own, and a fiber that has to wait may make another one necessary.
 * @internal
 */
export const without = (schedule: Schedule, start: number, end: number): ReadonlyArray<Schedule> => {
  const before = schedule.slice(0, start)
  const after = schedule.slice(end)
  const steps = schedule.slice(start, end).filter(({ _tag }) => _tag === "Paused" || _tag === "Interrupted").length
  const kept = [...before, ...after]
  if (steps === 0 || after.length === 0) return [kept]
  const moved = (fibers: number) => [
    ...before,
    ...after.map((decision) => {
      if ("step" in decision) return { ...decision, step: decision.step - steps }
      return decision._tag === "Paused" ? { ...decision, fiber: decision.fiber - fibers } : decision
    })
  ]
  return [moved(0), kept, moved(1)]
}

/** A decision in words. @internal */
export const describe = (decision: Decision): string => {
  switch (decision._tag) {
    case "Picked":
      return `step ${decision.step}: passes over ${decision.task} older tasks`
    case "Paused":
      return `fiber ${decision.fiber} pauses before its operation ${decision.operation}`
    case "Interrupted":
      return `step ${decision.step}: interrupts the program`
    case "ModelFault":
      return `model call ${decision.call}: ${describeFault(decision.fault)}`
    case "ToolFault":
      return `tool call ${decision.call}: ${describeFault(decision.fault)}`
    case "SubscriberFault":
      return `a subscriber takes ${decision.fault.takes} times, stalls for ${decision.fault.seconds} s, and leaves`
  }
}

const describeFault = (fault: ModelFault | ToolFault): string => {
  switch (fault._tag) {
    case "Fails":
      return `fails with ${fault.reason}`
    case "Breaks":
      return `breaks after ${fault.pieces} pieces`
    case "IsSlow":
      return `takes ${fault.seconds} s`
    case "Hangs":
      return "hangs"
    case "Dies":
      return "dies"
  }
}
