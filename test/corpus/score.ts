/** How well a detector does on the corpus. docs/loop-detection.md says what is counted, and why. */
import { canonical } from "../../src/internal/json.ts"
import type { Detector, Heard } from "./detectors.ts"
import { tools } from "./tools.ts"
import type { Call, Trace } from "./trace.ts"

/** Calls that a detector may let pass after the one from which on a human reader calls it a loop. */
export const grace = 4

export interface Outcome {
  readonly trace: Trace
  /** A loop that was noticed in time, and nothing before it was disturbed. */
  readonly isFound: boolean
  /** Work was disturbed: that of a trace without a loop, or what came before the loop. */
  readonly isDisturbed: boolean
  /** Work was commented on, harmlessly or not. */
  readonly isNoticed: boolean
}

/** What is heard of a call does not change what the model gets to know, nor what happens in the world. */
export const isHarmless = (call: Call, { given, verdict }: Heard): boolean =>
  verdict === "allow" || (verdict === "replay" && changesNothing(call) && given !== undefined && isSame(call, given))

/** The tool only reads; or there is no such tool. */
const changesNothing = ({ tool }: Call): boolean => (tools.get(tool)?.kind ?? "reads") === "reads"

const isSame = (a: Call, b: Call): boolean => a.isFailure === b.isFailure && canonical(a.result) === canonical(b.result)

export const judge = (detector: Detector, trace: Trace): Outcome => {
  const heard = detector(trace)
  const calls = trace.turns.flat()
  const from = trace.loopFrom ?? calls.length
  const before = heard.slice(0, from)
  const isDisturbed = before.some((one, i) => !isHarmless(calls[i]!, one))
  const isBlamed = heard.slice(from, from + grace + 1).some(({ verdict }) => verdict !== "allow")
  return {
    trace,
    isDisturbed,
    isNoticed: before.some(({ verdict }) => verdict !== "allow"),
    isFound: isBlamed && !isDisturbed
  }
}

/** Figures of a detector. With several detectors that differ by chance they are those of all their outcomes. */
export interface Score {
  readonly found: number
  readonly missed: number
  readonly disturbed: number
  readonly noticed: number
  /** Of what is called a loop, the share that is one. */
  readonly precision: number
  /** Of the loops, the share that is called one. */
  readonly recall: number
}

export const score = (outcomes: ReadonlyArray<Outcome>): Score => {
  const count = (is: (outcome: Outcome) => boolean) => outcomes.filter(is).length
  const loops = count(({ trace }) => trace.loopFrom !== undefined)
  const found = count(({ isFound }) => isFound)
  const disturbed = count(({ isDisturbed }) => isDisturbed)
  return {
    found,
    missed: loops - found,
    disturbed,
    noticed: count(({ isNoticed }) => isNoticed),
    precision: found / (found + disturbed),
    recall: found / loops
  }
}
