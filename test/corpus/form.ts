/**
 * What is left of a trace when the words are taken away: which tools, calls and outcomes are equal, what failed, and how
 * the tools are annotated. A detector of form sees no more.
 */
import { canonical } from "../../src/internal/json.ts"
import { keyOf, ruleOf } from "./detectors.ts"
import { grace, isHarmless } from "./score.ts"
import type { Trace } from "./trace.ts"

/** Numbers values in the order in which they first appear. */
const numbering = () => {
  const known = new Map<string, number>()
  return (value: string) => known.get(value) ?? (known.set(value, known.size), known.size - 1)
}

/** What a detector knows when it has to judge the call: the calls up to it, and how those of earlier turns ended. */
const form = ({ turns }: Trace, index: number): string => {
  const tool = numbering()
  const key = numbering()
  const result = numbering()
  const seen: Array<unknown> = []
  let count = 0
  for (const calls of turns) {
    for (const call of calls) {
      const { identity: _, ...annotations } = ruleOf(call.tool)
      seen.push(annotations, tool(call.tool), key(keyOf(call)))
      if (count++ === index) return JSON.stringify(seen)
    }
    for (const call of calls) seen.push(call.isFailure, result(canonical(call.result)))
  }
  return "no such call"
}

/** Whether it would do no harm to answer the call with what the same call has returned before. */
const isReplayable = (trace: Trace, index: number): boolean => {
  const calls = trace.turns.flat()
  const call = calls[index]!
  return calls
    .slice(0, index)
    .some((given) => keyOf(given) === keyOf(call) && isHarmless(call, { verdict: "replay", given }))
}

/** Whether a detector of form that finds the loop must disturb the work. */
export const excludes = (loop: Trace, work: Trace): boolean => {
  const from = loop.loopFrom!
  const last = Math.min(from + grace, loop.turns.flat().length - 1)
  if (work.turns.flat().length <= last) return false
  const places = Array.from({ length: last - from + 1 }, (_, i) => from + i)
  return places.every((index) => form(loop, index) === form(work, index) && !isReplayable(work, index))
}
