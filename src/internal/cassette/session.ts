/**
 * One program on a cassette: which recorded step a call repeats, what is recorded of the others, and where the program
 * first leaves the recording.
 */
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import type { Delta } from "../../Llm.ts"
import { canonical } from "../json.ts"
import * as JsonDiff from "../jsonDiff.ts"
import * as Secrets from "../secrets.ts"
import type { Conductor, Moment, Ticket } from "./conductor.ts"
import type { Asked, Outcome, Step, Tape } from "./tape.ts"

/** Where a program leaves the recording. */
export interface Divergence {
  readonly reason: "Changed" | "Unexpected" | "Unused" | "Interrupted" | "NotInterrupted" | "Unreadable"
  /** The recorded step. */
  readonly step: number
  readonly call: string
  readonly path: string
  readonly expected: unknown
  readonly actual: unknown
  readonly diff: string
}

/** A step of this program, as far as it has come. */
interface Taken {
  readonly id: number
  readonly asked: Asked
  readonly pieces: Array<unknown>
  outcome: Outcome | undefined
  /** As it is written, with this many secrets known. */
  written: { readonly secrets: number; readonly step: Step } | undefined
}

export interface Session {
  /** Every call has to be in the recording. */
  readonly strict: boolean
  readonly conductor: Conductor
  /** Where live calls run. */
  readonly scope: Scope.Scope
  /** Takes secrets out of JSON. */
  readonly redact: (value: unknown) => unknown
  /** What is known to be secret so far. */
  readonly secrets: ReadonlySet<string>
  /** Recorded steps that nothing has repeated yet, by what they ask. */
  readonly unused: Map<string, Array<Step>>
  readonly taken: Array<Taken>
  readonly timeline: Array<Moment>
  /** Makes the error of a divergence. */
  readonly toError: (divergence: Divergence) => Error
  /** The first divergence. All calls since die of it, so nothing can pass it over. */
  mismatch: Error | undefined
  /** The first call that was interrupted before its recorded end. Whether that matters is known when the program ends. */
  interrupted: Divergence | undefined
  /** Calls that have to hear of a divergence. */
  readonly waiting: Set<() => void>
  /** Something came to an end. */
  readonly onStep: () => void
}

export const make = (
  options: Pick<Session, "strict" | "conductor" | "scope" | "redact" | "secrets" | "toError" | "onStep">,
  tape: Tape | undefined
): Session => {
  const unused = new Map<string, Array<Step>>()
  for (const step of tape?.steps ?? []) {
    // It has nothing to play, and this time the program may wait for it.
    if (!options.strict && "interrupted" in step.outcome) continue
    const key = canonical(step.asked)
    const same = unused.get(key)
    if (same === undefined) unused.set(key, [step])
    else same.push(step)
  }
  return {
    ...options,
    unused,
    taken: [],
    timeline: [],
    mismatch: undefined,
    interrupted: undefined,
    waiting: new Set()
  }
}

/** What a call of a model or a tool has of its own. */
export interface Port<A, E, R> {
  /** Makes the call. What comes before its end goes through `push`, which has it delivered in its turn. */
  readonly live: (push: (piece: unknown, deliver: () => void) => void) => Effect.Effect<A, E, R>
  readonly encode: (exit: Exit.Exit<A, E>) => Effect.Effect<Outcome, never, R>
  /** Delivers a piece that was recorded. */
  readonly play: (piece: unknown) => Effect.Effect<void, Unreadable, R>
  /** Ends as recorded; while recording, too, so that both see the same. */
  readonly restore: (outcome: Outcome) => Effect.Effect<A, E | Unreadable, R>
}

/** What is recorded is not what it has to be. */
export class Unreadable {
  readonly _tag = "Unreadable"
  readonly issue: string
  constructor(issue: string) {
    this.issue = issue
  }
}

/** Makes a call, or repeats one that was recorded. */
export const perform = <A, E, R>(session: Session, asked: unknown, port: Port<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    if (session.mismatch !== undefined) return Effect.die(session.mismatch)
    // It is one of the two kinds before and after the redaction.
    const clean = JSON.parse(canonical(session.redact(asked))) as Asked
    const step = session.unused.get(canonical(clean))?.shift()
    if (step === undefined && session.strict) return diverge(session, unexpected(session, clean))
    const taken: Taken = {
      id: session.taken.length + 1,
      asked: clean,
      pieces: [],
      outcome: undefined,
      written: undefined
    }
    session.taken.push(taken)
    const ticket: Ticket = { recorded: step?.id, next: undefined }
    const call = { session, taken, ticket }
    return Effect.onExit(step === undefined ? record(call, port) : replay(call, port, step), () => {
      session.conductor.leave(ticket)
      if (taken.outcome !== undefined) return Effect.void
      taken.outcome = { interrupted: true }
      if (step !== undefined && !("interrupted" in step.outcome)) session.interrupted ??= tooEarly(step)
      return Effect.void
    })
  })

interface Call {
  readonly session: Session
  readonly taken: Taken
  readonly ticket: Ticket
}

const record = Effect.fnUntraced(function* <A, E, R>(call: Call, port: Port<A, E, R>): Effect.fn.Return<A, E, R> {
  const push = (piece: unknown, deliver: () => void) =>
    call.session.conductor.arrive(call.ticket, (at) => {
      // A provider may go on calling after its end.
      if (call.taken.outcome !== undefined) return
      note(call, at, piece)
      deliver()
    })
  // In a fiber of its own, so that whoever interrupts the call need not wait for the end of what is live, as in a replay.
  const fiber = yield* Effect.forkIn(Effect.flatMap(Effect.exit(port.live(push)), port.encode), call.session.scope, {
    startImmediately: true
  })
  const outcome = yield* Effect.onInterrupt(Fiber.join(fiber), () => Effect.sync(() => fiber.interruptUnsafe()))
  yield* turn(call, "arrive", (at) => end(call, at, outcome))
  call.session.onStep()
  return yield* readable(call, port.restore(outcome), call.taken.id)
})

const replay = Effect.fnUntraced(function* <A, E, R>(
  call: Call,
  port: Port<A, E, R>,
  step: Step
): Effect.fn.Return<A, E, R> {
  for (const piece of step.pieces) {
    yield* turn(call, "play", (at) => note(call, at, piece))
    yield* readable<void, E, R>(call, port.play(piece), step.id)
  }
  if ("interrupted" in step.outcome) yield* turn(call, "strand", () => {})
  yield* turn(call, "play", (at) => end(call, at, step.outcome))
  call.session.onStep()
  return yield* readable(call, port.restore(step.outcome), step.id)
})

const note = ({ session, taken }: Call, at: number, piece: unknown): void => {
  taken.pieces.push(piece)
  session.timeline.push({ at, step: taken.id })
}

const end = ({ session, taken }: Call, at: number, outcome: Outcome): void => {
  taken.outcome = outcome
  session.timeline.push({ at, step: taken.id })
}

/** Waits for the turn of a call, or for a divergence. */
const turn = ({ session, ticket }: Call, how: "arrive" | "play" | "strand", then: (at: number) => void) =>
  Effect.callback<void>((resume) => {
    const fail = () => resume(Effect.die(session.mismatch))
    if (session.mismatch !== undefined) return fail()
    session.waiting.add(fail)
    session.conductor[how](ticket, (at) => {
      session.waiting.delete(fail)
      then(at)
      resume(Effect.void)
    })
    return Effect.sync(() => session.waiting.delete(fail))
  })

const readable = <A, E, R>(
  { session, taken }: Call,
  effect: Effect.Effect<A, E | Unreadable, R>,
  step: number
): Effect.Effect<A, E, R> =>
  Effect.catch(effect, (error): Effect.Effect<never, E> => {
    // Neither a model nor a tool fails with this.
    if (!(error instanceof Unreadable)) return Effect.fail(error as E)
    const what = { path: "outcome", expected: undefined, actual: undefined, diff: `  ${error.issue}` }
    return diverge(session, { reason: "Unreadable", step, call: nameOf(taken.asked), ...what })
  })

const diverge = (session: Session, divergence: Divergence): Effect.Effect<never> =>
  Effect.die(remember(session, divergence))

/** Keeps the first divergence, of which all calls die from now on. */
const remember = (session: Session, divergence: Divergence): Error => {
  const mismatch = (session.mismatch ??= session.toError(divergence))
  for (const fail of Array.from(session.waiting)) fail()
  session.waiting.clear()
  return mismatch
}

const tooEarly = ({ asked, id, outcome }: Step): Divergence => {
  const actual = { interrupted: true }
  const what = { path: "outcome", expected: outcome, actual }
  return { reason: "Interrupted", step: id, call: nameOf(asked), ...what, diff: JsonDiff.render([what]) }
}

/** Nothing can happen any more but an interruption that was recorded, and the program does not interrupt. */
export const stuck = (session: Session, step: number): void => {
  const asked = session.taken.find((taken) => taken.outcome === undefined)?.asked
  const call = asked === undefined ? "call" : nameOf(asked)
  const diff = `  - interrupted\n  + still waiting for an answer`
  remember(session, { reason: "NotInterrupted", step, call, path: "", expected: undefined, actual: undefined, diff })
}

/** Why a call is not in the recording: the closest step that is left. */
const unexpected = (session: Session, asked: Asked): Divergence => {
  const call = nameOf(asked)
  const actual = contentOf(asked)
  let closest: { readonly step: Step; readonly all: ReadonlyArray<JsonDiff.Difference> } | undefined
  for (const step of leftOver(session)) {
    if (nameOf(step.asked) !== call) continue
    const all = JsonDiff.differences(contentOf(step.asked), actual)
    if (closest === undefined || all.length < closest.all.length) closest = { step, all }
  }
  if (closest === undefined) {
    const step = session.taken.length + 1
    const diff = `  - (nothing)\n  + ${JsonDiff.show(actual)}`
    return { reason: "Unexpected", step, call, path: "", expected: undefined, actual, diff }
  }
  const { all, step } = closest
  return { reason: "Changed", step: step.id, call, ...all[0]!, diff: JsonDiff.render(all) }
}

/** The recorded steps that nothing has repeated, in order. */
export const leftOver = (session: Session): ReadonlyArray<Step> =>
  Array.from(session.unused.values())
    .flat()
    .toSorted((a, b) => a.id - b.id)

/** What a program that has come to its end has left out of the recording, or `undefined`. */
export const leftOut = (session: Session): Divergence | undefined => {
  if (session.interrupted !== undefined) return session.interrupted
  const left = leftOver(session)
  const [first] = left
  if (first === undefined) return undefined
  const diff = JsonDiff.render(
    left.map(({ asked, id }) => ({
      path: `step ${id}, ${nameOf(asked)}`,
      expected: contentOf(asked),
      actual: undefined
    }))
  )
  const { asked, id: step } = first
  return {
    reason: "Unused",
    step,
    call: nameOf(asked),
    path: "",
    expected: contentOf(asked),
    actual: undefined,
    diff
  }
}

const nameOf = (asked: Asked): string => (asked.kind === "model" ? "model call" : `tool "${asked.tool}"`)

const contentOf = (asked: Asked): unknown => (asked.kind === "model" ? asked.request : asked.params)

/**
 * The recording as far as it goes: the steps of this program that have ended, and behind them, as long as it is not
 * complete, those of the tape that may still be repeated.
 */
export const toTape = (session: Session, tape: Omit<Tape, "steps">): Tape => {
  // In a program that was cut short, it may have been the program that was interrupted.
  const ended = session.taken.filter(
    ({ outcome }) => outcome !== undefined && (tape.complete || !("interrupted" in outcome))
  )
  const rest = tape.complete ? [] : leftOver(session)
  const ids = new Map(rest.map((step, i) => [step.id, session.taken.length + 1 + i]))
  const isEnded = new Set(ended.map((step) => step.id))
  return {
    ...tape,
    steps: [
      ...ended.map((taken) => written(session, taken)),
      ...rest.map((step) => ({ ...step, id: ids.get(step.id)! }))
    ],
    timeline: [
      ...session.timeline.filter(({ step }) => isEnded.has(step)),
      ...tape.timeline.flatMap(({ at, step }) => (ids.has(step) ? [{ at, step: ids.get(step)! }] : []))
    ]
  }
}

/** The step of a call that has ended. It is redacted again when more secrets are known. */
const written = (session: Session, taken: Taken): Step => {
  const secrets = session.secrets.size
  if (taken.written?.secrets === secrets) return taken.written.step
  const { asked, id, outcome, pieces } = taken
  const step: Step = {
    id,
    // Redaction keeps what is no secret as it is.
    asked: session.redact(asked) as Asked,
    pieces: asked.kind === "model" ? cleanDeltas(session, pieces as ReadonlyArray<Delta>) : pieces.map(session.redact),
    outcome: session.redact(outcome) as Outcome
  }
  taken.written = { secrets, step }
  return step
}

/** A secret may be spread over several pieces of a text. Then the last of them has all that may be shown. */
const cleanDeltas = (session: Session, deltas: ReadonlyArray<Delta>): ReadonlyArray<Delta> => {
  const groups = new Map<string, Array<number>>()
  let attempt = 0
  for (const [i, delta] of deltas.entries()) {
    if (delta.type === "restart") attempt++
    const key = `${attempt} ${delta.type} ${"id" in delta ? delta.id : ""}`
    groups.set(key, [...(groups.get(key) ?? []), i])
  }
  const cleaned = deltas.slice()
  for (const indices of groups.values()) {
    const pieces = indices.map((i) => deltas[i]!)
    const text = pieces.map((delta) => (delta.type === "restart" ? "" : delta.delta)).join("")
    const clean = session.redact(text)
    for (const i of indices) {
      const delta = deltas[i]!
      if (delta.type === "restart") cleaned[i] = session.redact(delta) as Delta
      else if (clean !== text) cleaned[i] = { ...delta, delta: i === indices.at(-1) ? String(clean) : "" }
    }
  }
  return cleaned
}

/** Redacts by shape and name, then known secrets, then what the user says. */
export const redactor = (secrets: ReadonlySet<string>, hook: (text: string) => string) => {
  const redactText = (text: string): string => {
    if (secrets.has(text)) return Secrets.redacted
    let clean = Secrets.redactText(text)
    // What is shorter may be part of an ordinary word.
    for (const secret of secrets) if (secret.length >= 8) clean = clean.replaceAll(secret, Secrets.redacted)
    return hook(clean)
  }
  return (value: unknown): unknown => Secrets.redactJson(value, redactText)
}
