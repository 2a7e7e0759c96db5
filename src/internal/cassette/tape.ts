/**
 * What a cassette's file says: the steps of a program, and when each got its answers. A model call that goes on with
 * the conversation of an earlier one has only what is new, so the file grows with the conversation and not with its square.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { canonical } from "../json.ts"
import type { Moment } from "./conductor.ts"

/** A model request as JSON. */
export interface Request {
  readonly instructions: unknown
  readonly messages: ReadonlyArray<unknown>
  readonly tools: unknown
  readonly toolChoice: unknown
  readonly sampling: unknown
  readonly output?: unknown
}

/** What a call asks: of the model, or of a tool. */
export type Asked =
  | { readonly kind: "model"; readonly request: Request }
  | { readonly kind: "tool"; readonly tool: string; readonly params: unknown }

const { Literal, Struct, Union, Unknown } = Schema

/** How a call ended. */
export const Outcome = Union([
  Struct({ success: Unknown }),
  Struct({ failure: Unknown }),
  /** A failure that is not of the tool's own type. */
  Struct({ aiError: Unknown }),
  /** The text of a defect. */
  Struct({ defect: Schema.String }),
  Struct({ interrupted: Literal(true) })
])
export type Outcome = typeof Outcome.Type

/** A call with what came of it. */
export interface Step {
  readonly id: number
  readonly asked: Asked
  /** What came before the end: deltas of a model, preliminary results of a tool. */
  readonly pieces: ReadonlyArray<unknown>
  readonly outcome: Outcome
}

export interface Tape {
  /** The program came to its end. */
  readonly complete: boolean
  /** Milliseconds since the epoch. */
  readonly startedAt: number
  readonly seed: string
  readonly steps: ReadonlyArray<Step>
  readonly timeline: ReadonlyArray<Moment>
}

const Id = Schema.Int.check(Schema.isGreaterThan(0))

const Entry = Union([
  Struct({
    step: Id,
    model: Struct({
      continues: Schema.optionalKey(Id),
      instructions: Schema.optionalKey(Unknown),
      messages: Schema.Array(Unknown),
      tools: Schema.optionalKey(Unknown),
      toolChoice: Schema.optionalKey(Unknown),
      sampling: Schema.optionalKey(Unknown),
      output: Schema.optionalKey(Unknown)
    }),
    deltas: Schema.Array(Unknown),
    outcome: Outcome
  }),
  Struct({
    step: Id,
    tool: Schema.String,
    params: Unknown,
    progress: Schema.Array(Unknown),
    outcome: Outcome
  })
])
type Entry = typeof Entry.Type

/** The version of what is written here. */
const version = 1

const File = Struct({
  version: Literal(version),
  complete: Schema.Boolean,
  startedAt: Schema.Int,
  seed: Schema.String,
  steps: Schema.Array(Entry),
  timeline: Schema.Array(Schema.Tuple([Schema.Int, Id]))
})

const decodeFile = Schema.decodeUnknownResult(Schema.fromJsonString(File))

/** Reads a file, or says what is wrong with it. */
export const parse = (text: string): Result.Result<Tape, string> => {
  const decoded = decodeFile(text)
  if (Result.isFailure(decoded)) return Result.fail(decoded.failure.message)
  const { complete, seed, startedAt, steps: entries, timeline } = decoded.success
  const steps = new Map<number, Step>()
  for (const entry of entries) {
    const { outcome, step: id } = entry
    if (steps.has(id)) return Result.fail(`two steps are step ${id}`)
    if ("tool" in entry) {
      const { params, progress, tool } = entry
      steps.set(id, { id, asked: { kind: "tool", tool, params }, pieces: progress, outcome })
      continue
    }
    const { continues, ...own } = entry.model
    const earlier = continues === undefined ? undefined : steps.get(continues)?.asked
    if (continues !== undefined && earlier?.kind !== "model") {
      return Result.fail(`step ${id} continues step ${continues}, which is no model call before it`)
    }
    const base = earlier?.kind === "model" ? earlier.request : empty
    const request = { ...base, ...own, messages: [...base.messages, ...own.messages] }
    steps.set(id, { id, asked: { kind: "model", request }, pieces: entry.deltas, outcome })
  }
  const moments = timeline.map(([at, step]) => ({ at, step }))
  for (const { id, outcome, pieces } of steps.values()) {
    const due = pieces.length + ("interrupted" in outcome ? 0 : 1)
    const found = moments.filter((moment) => moment.step === id).length
    if (found !== due) return Result.fail(`step ${id} is ${found} times in the timeline, not ${due} times`)
  }
  return Result.succeed({ complete, seed, startedAt, steps: Array.from(steps.values()), timeline: moments })
}

const empty: Request = { instructions: "", messages: [], tools: [], toolChoice: "auto", sampling: {} }

/** The text of a file. What is asked has its keys in order, what is answered in the order in which it came. */
export const format = ({ complete, seed, startedAt, steps, timeline }: Tape): string => {
  const earlier: Array<{ readonly id: number; readonly request: Request; readonly texts: ReadonlyArray<string> }> = []
  const entries = steps.map(({ asked, id, outcome, pieces }): Entry => {
    if (asked.kind === "tool") {
      const { params, tool } = asked
      return { step: id, tool, params: sorted(params), progress: pieces, outcome }
    }
    const { request } = asked
    const texts = textsOf(request)
    // The last that came this far is most often the one.
    const base = earlier.reduceRight<(typeof earlier)[number] | undefined>(
      (best, one) =>
        one.texts.length > (best?.texts.length ?? 0)
        && one.texts.at(-1) === texts[one.texts.length - 1]
        && one.texts.every((text, i) => text === texts[i])
          ? one
          : best,
      undefined
    )
    earlier.push({ id, request, texts })
    return { step: id, model: shorten(request, base), deltas: pieces, outcome }
  })
  const moments = timeline.map(({ at, step }) => [at, step])
  return `${print({ version, complete, startedAt, seed, steps: entries, timeline: moments })}\n`
}

/** The messages of a request as text, kept because a recording is written after each step. */
const textsOf = (request: Request): ReadonlyArray<string> => {
  let texts = known.get(request)
  if (texts === undefined) known.set(request, (texts = request.messages.map(canonical)))
  return texts
}

const known = new WeakMap<Request, ReadonlyArray<string>>()

/** How long a line may be that has a whole object or array. */
const width = 100

/** JSON that is easy to read and to compare: what fits into a line is in one. */
const print = (value: unknown, indent = ""): string => {
  const line = JSON.stringify(value)
  if (typeof value !== "object" || value === null || (indent !== "" && line.length + indent.length <= width))
    return line
  const inner = `${indent}  `
  const [open, close, items] = Array.isArray(value)
    ? ["[", "]", value.map((item) => print(item, inner))]
    : ["{", "}", Object.entries(value).map(([key, item]) => `${JSON.stringify(key)}: ${print(item, inner)}`)]
  return items.length === 0
    ? open + close
    : `${open}\n${items.map((item) => inner + item).join(",\n")}\n${indent}${close}`
}

/** The request without what is as in the one that it continues. */
const shorten = (request: Request, base: { readonly id: number; readonly request: Request } | undefined) => {
  const { instructions, messages, output, sampling, toolChoice, tools } = request
  const rest = { instructions, tools, toolChoice, sampling, ...(output !== undefined && { output }) }
  if (base === undefined) return { ...rest, messages: messages.map(sorted) }
  // What is absent is as before: a request that drops the output format of another does not continue it.
  if (output === undefined && base.request.output !== undefined) return { ...rest, messages: messages.map(sorted) }
  const changed = Object.entries(rest).filter(
    ([name, value]) => canonical(value) !== canonical(base.request[name as keyof Request])
  )
  return {
    continues: base.id,
    ...Object.fromEntries(changed),
    messages: messages.slice(base.request.messages.length).map(sorted)
  }
}

// A JSON value stays of its type.
const sorted = <A>(value: A): A => JSON.parse(canonical(value)) as A
