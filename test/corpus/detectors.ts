/**
 * The detectors that are compared: ours, the original's exact matching, and counting. Each plays a trace as a run does,
 * and says of each call what it does with it; the trace goes on as recorded, as from a model that does not listen.
 */
import * as LoopDetector from "effect-agent-runtime/LoopDetector"
import * as Tool from "effect/ai/Tool"
import { tools } from "./tools.ts"
import type { Call, Trace } from "./trace.ts"

export interface Heard {
  readonly verdict: LoopDetector.Verdict
  /** What a replay gives in place of the call's own outcome. */
  readonly given?: Call | undefined
}

/** What is heard of each call; nothing any more of those after the end of a run that is stopped. */
export type Detector = (trace: Trace) => ReadonlyArray<Heard>

/** The annotations of a tool, as the guide asks for them. */
export const ruleOf = (tool: string): LoopDetector.Rule => {
  const { identity, kind } = tools.get(tool) ?? {}
  return LoopDetector.rule(
    Tool.make(tool)
      .annotate(Tool.Readonly, kind === "reads" || kind === "polls")
      .annotate(LoopDetector.Repeatable, kind === "polls" || kind === "steps")
      .annotate(LoopDetector.Identity, identity)
  )
}

const bareRuleOf = (tool: string): LoopDetector.Rule => LoopDetector.rule(Tool.make(tool))

/** Our detector with its defaults; tools carry the annotations that the guide asks for, or none. */
export const ours =
  (annotations: "annotated" | "bare"): Detector =>
  ({ turns }) => {
    const detector = LoopDetector.make()
    const state = LoopDetector.initial()
    const last = new Map<string, Call>()
    const heard: Array<Heard> = []
    for (const [turn, calls] of turns.entries()) {
      const seen = calls.map((call): LoopDetector.Call => {
        const rule = annotations === "annotated" ? ruleOf(call.tool) : bareRuleOf(call.tool)
        const { readOnly, repeatable } = rule
        return { tool: call.tool, key: LoopDetector.keyOf(rule, call.tool, call.params), turn, readOnly, repeatable }
      })
      const verdicts = seen.map((call) => LoopDetector.observe(detector, state, call))
      for (const [i, call] of calls.entries()) {
        if (verdicts[i] !== "allow") continue
        LoopDetector.settle(detector, state, seen[i]!, call)
        last.set(seen[i]!.key, call)
      }
      // After the turn, because a call may repeat one of the same turn.
      heard.push(...verdicts.map((verdict, i): Heard => ({ verdict, given: last.get(seen[i]!.key) })))
      if (verdicts.includes("stop")) break
    }
    return heard
  }

/** The identity of a call of an annotated tool. */
export const keyOf = ({ params, tool }: Call): string => LoopDetector.keyOf(ruleOf(tool), tool, params)

/**
 * Exact matching, as in the Rust original: a call that was made before, whatever came of it, is answered with the
 * first answer and a hint. Calls are the same when `identity` is.
 */
export const exact =
  (identity: (call: Call) => string): Detector =>
  ({ turns }) => {
    const first = new Map<string, Call>()
    return turns.flat().map((call): Heard => {
      const key = identity(call)
      const given = first.get(key)
      if (given !== undefined) return { verdict: "replay", given }
      first.set(key, call)
      return { verdict: "allow" }
    })
  }

/** Tool and canonical arguments. */
export const sorted = ({ params, tool }: Call): string => LoopDetector.key(tool, params)

/**
 * As the original computes it: the text of a map whose order of keys is another for each map. What is not an object
 * counts as `{}`.
 */
export const unsorted =
  (random: () => number) =>
  (call: Call): string => {
    const { params, tool } = call
    const entries = typeof params === "object" && params !== null ? Object.entries(params) : []
    const drawn = entries.map((entry) => ({ entry, at: random() })).toSorted((a, b) => a.at - b.at)
    return `${tool}:${JSON.stringify(drawn.map(({ entry: [name, value] }) => [name, LoopDetector.key("", value)]))}`
  }

/**
 * Counting: blames a call that is made more than `inARow` times in a row, or more than `total` times among the last
 * `window` calls. Read favourably: it answers with the last outcome of the call and lets the run go on.
 */
export const counting =
  (options: { readonly inARow: number; readonly total: number; readonly window: number }): Detector =>
  ({ turns }) => {
    const calls = turns.flat()
    const keys = calls.map(sorted)
    const last = new Map<string, Call>()
    let run = 0
    return calls.map((call, i): Heard => {
      const key = keys[i]!
      run = key === keys[i - 1] ? run + 1 : 1
      const recent = keys.slice(Math.max(0, i + 1 - options.window), i + 1).filter((other) => other === key)
      if (run > options.inARow || recent.length > options.total) return { verdict: "replay", given: last.get(key) }
      last.set(key, call)
      return { verdict: "allow" }
    })
  }
