/**
 * What a trace of the corpus is: the tool calls of one run, turn by turn, with what each call returned, and the mark
 * of a human reader on the call from which on it is a loop.
 */

/** What a tool is in truth, and so how it is annotated by someone who has read the guide. */
export type Kind =
  /** Changes nothing. `Tool.Readonly`. */
  | "reads"
  /** Changes something, or nobody has said that it does not. No annotation. */
  | "acts"
  /** Is meant to be called again and again with the same arguments, and changes nothing: a poll. `Repeatable`, `Readonly`. */
  | "polls"
  /** The same, but each call moves something on: a scroll, a step. `Repeatable`. */
  | "steps"

export interface Tool {
  readonly kind: Kind
  /** The tool's own idea of when two calls are the same. */
  readonly identity?: (params: unknown) => unknown
}

export interface Call {
  readonly tool: string
  /** As the model wrote them: a value, or the text if it was not JSON. */
  readonly params: unknown
  readonly isFailure: boolean
  readonly result: unknown
  /** From here on a human reader would say: this is a loop. */
  readonly isLoop: boolean
}

/** The calls of one turn: one, or several made at once. */
export type Turn = Call | ReadonlyArray<Call>

export interface Trace {
  readonly name: string
  readonly shape: string
  readonly why: string
  /**
   * A shape with the other label, of which one trace is the same when the words are taken away, see `form.ts`: no
   * detector of form gets both right.
   */
  readonly looksLike: string | undefined
  readonly turns: ReadonlyArray<ReadonlyArray<Call>>
  /** The call, counted from 0 over all turns, from which on it is a loop; `undefined` for work. */
  readonly loopFrom: number | undefined
}

/** A call that succeeds. */
export const ok = (tool: string, params: unknown, result: unknown = "ok"): Call => ({
  tool,
  params,
  isFailure: false,
  result,
  isLoop: false
})

/** A call that fails. */
export const no = (tool: string, params: unknown, error: unknown): Call => ({
  ...ok(tool, params, error),
  isFailure: true
})

/** The mark of the human reader. */
export const here = (call: Call): Call => ({ ...call, isLoop: true })

export const times = <A>(n: number, make: (i: number) => A): ReadonlyArray<A> =>
  Array.from({ length: n }, (_, i) => make(i))

/** The same call, with the first key of its arguments written last. */
export const reordered = (call: Call): Call => {
  const [first, ...rest] = Object.entries(call.params as object)
  return { ...call, params: Object.fromEntries(first === undefined ? [] : [...rest, first]) }
}

/** The call so many times, one per turn, with the keys in another order each time; the human's mark on one of them. */
export const again = (n: number, call: Call, mark?: number): ReadonlyArray<Call> => {
  const calls: Array<Call> = []
  let next = call
  for (let i = 0; i < n; i++) {
    calls.push(i === mark ? here(next) : next)
    next = reordered(next)
  }
  return calls
}

/** A cycle of calls, so many rounds; the human's mark on one call of the whole. */
export const rounds = (n: number, cycle: ReadonlyArray<Call>, mark?: number): ReadonlyArray<Call> =>
  times(n * cycle.length, (i) => {
    const call = cycle[i % cycle.length]!
    return i === mark ? here(call) : call
  })

/** Traces of one shape. They differ in tools, arguments, results and lengths; why they are labelled so they share. */
export const shape = (
  name: string,
  why: string,
  members: Readonly<Record<string, ReadonlyArray<Turn>>>,
  looksLike?: string
) =>
  Object.entries(members).map(([member, given]): Trace => {
    const turns = given.map((turn) => ("tool" in turn ? [turn] : turn))
    const mark = turns.flat().findIndex((call) => call.isLoop)
    const loopFrom = mark === -1 ? undefined : mark
    return { name: `${name}: ${member}`, shape: name, why, looksLike, turns, loopFrom }
  })
