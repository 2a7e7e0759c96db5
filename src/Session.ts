/**
 * Conversations that are kept by id: a run in a session goes on where the last one ended, and what it adds is stored,
 * also when it fails or is interrupted.
 *
 * Runs of one session go one after the other. Two processes on one store cannot lose each other's messages: whoever
 * comes second gets a typed conflict.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type * as Stream from "effect/Stream"
import type { Agent, AgentResult } from "./Agent.ts"
import { definitionOf, eventsOf } from "./Agent.ts"
import type { AgentError, PartialRun } from "./AgentError.ts"
import { InvalidAgent } from "./AgentError.ts"
import type { AgentEvent } from "./AgentEvent.ts"
import type { History, UserContent } from "./History.ts"
import * as Histories from "./History.ts"
import type { Observer } from "./internal/currentRun.ts"
import { interpret } from "./internal/interpreter.ts"
import type { Llm } from "./Llm.ts"
import type { SessionErrorReason } from "./SessionError.ts"
import {
  AlreadyExists,
  Conflict,
  Corrupt,
  InUse,
  NotFound,
  SessionError,
  StoreFailed,
  TooLarge
} from "./SessionError.ts"
import type { SessionStore, Summary } from "./SessionStore.ts"
import * as Stores from "./SessionStore.ts"

/**
 * How long sessions live, and how large they get.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /**
   * How long a session lives after it was last written; more than a run takes, or the session may be gone when it ends.
   * One that is older counts as not there, and is removed within the same time again. Default: until it is removed.
   */
  readonly ttl?: Duration.Input | undefined
  /**
   * Bytes that a session may have, as JSON in UTF-8. Beyond that its oldest turns are dropped, whole, so that a call is
   * never parted from its result. Default 16 MiB: text of many context windows, or a few images.
   */
  readonly maxBytes?: number | undefined
}

/**
 * A session that was read: its conversation, and what is needed to write it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Opened {
  readonly id: string
  readonly history: History
  /** The revision that is stored, `undefined` for none. */
  readonly revision: string | undefined
  /** When it was created; `undefined` if it is new. */
  readonly createdAt: number | undefined
}

/**
 * The sessions of an application.
 *
 * @category services
 * @since 0.1.0
 */
export class Session extends Context.Service<
  Session,
  {
    /** Reads a session. One that is not there, or has expired, is empty. */
    readonly open: (id: string) => Effect.Effect<Opened, SessionError>
    /** Stores a conversation in place of the one that was read; fails with `Conflict` if another one is stored by now. */
    readonly save: (opened: Opened, history: History) => Effect.Effect<void, SessionError>
    /** Runs an effect when no other one holds the session, in order of arrival. Waiting can be interrupted. */
    readonly exclusively: (
      id: string
    ) => <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | SessionError, R>
    readonly remove: (id: string) => Effect.Effect<void, SessionError>
    readonly list: (limit: number) => Effect.Effect<ReadonlyArray<Summary>, SessionError>
  }
>()("effect-agent-runtime/Session") {}

/** A session in use, from the first that asks for it to the last. */
interface Lane {
  readonly semaphore: Semaphore.Semaphore
  users: number
  /** Whoever holds it. */
  holder: object | undefined
}

/** What the current fiber, or one that it comes from, holds or has held. */
const Held = Context.Reference<ReadonlyArray<object>>("effect-agent-runtime/Session/Held", { defaultValue: () => [] })

/** What a document says. A change of its form gets another version. */
const Document = Schema.toCodecJson(Schema.Struct({ version: Schema.Literal(1), messages: Histories.History }))
/** What the schema encodes to. */
type DocumentJson = {
  readonly version: 1
  readonly messages: ReadonlyArray<{ readonly role: string; readonly content: string | ReadonlyArray<Schema.Json> }>
}
const decodeDocument = Schema.decodeUnknownEffect(Document, { errors: "all" })
const encodeDocument = Schema.encodeEffect(Document)

/**
 * Makes sessions of a store, for stores of one's own; see {@link layerMemory} and the modules of `session`.
 *
 * **Gotchas**
 *
 * Throws `InvalidAgent` when an option is unusable.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  store: SessionStore,
  options: Options = {}
): Effect.Effect<Session["Service"], never, Scope.Scope> => {
  const maxBytes = options.maxBytes ?? 16 * 1024 * 1024
  const ttl = Duration.toMillis(options.ttl ?? Duration.infinity)
  require("maxBytes", maxBytes >= 1, "must be at least 1")
  require("ttl", ttl > 0, "must be positive")
  const lanes = new Map<string, Lane>()
  const recent = makeRecent()
  /** Whoever was used before this time has expired. */
  const aliveSince = Effect.map(Clock.currentTimeMillis, (now) => Math.max(0, Math.floor(now - ttl) + 1))

  const enter = (id: string): Lane => {
    const lane = lanes.get(id) ?? { semaphore: Semaphore.makeUnsafe(1), users: 0, holder: undefined }
    lane.users++
    lanes.set(id, lane)
    return lane
  }

  const leave = (id: string, lane: Lane): void => {
    if (--lane.users === 0) lanes.delete(id)
  }

  const exclusively: Session["Service"]["exclusively"] =
    (id) =>
    <A, E, R>(effect: Effect.Effect<A, E, R>) =>
      Effect.flatMap(Held, (held): Effect.Effect<A, E | SessionError, R> => {
        const holder = lanes.get(id)?.holder
        if (holder !== undefined && held.includes(holder)) return fail(id, new InUse())
        return Effect.acquireUseRelease(
          Effect.sync(() => enter(id)),
          (lane) => lane.semaphore.withPermit(hold(lane, held, effect)),
          (lane) => Effect.sync(() => leave(id, lane))
        )
      })

  const open: Session["Service"]["open"] = Effect.fnUntraced(function* (id) {
    const stored = yield* store.read(id)
    if (stored === undefined) return { id, history: Histories.empty, revision: undefined, createdAt: undefined }
    const { createdAt, document, revision, usedAt } = stored
    const expired = (yield* Clock.currentTimeMillis) - usedAt >= ttl
    if (expired) return { id, history: Histories.empty, revision, createdAt: undefined }
    return { id, history: recent.get(id, revision) ?? (yield* decode(id, document)), revision, createdAt }
  })

  const save: Session["Service"]["save"] = Effect.fnUntraced(function* ({ createdAt, id, revision }, history) {
    const { document, kept } = yield* encodeWithin(maxBytes, id, history)
    const usedAt = yield* Clock.currentTimeMillis
    const next = { id, revision: yield* newRevision, createdAt: createdAt ?? usedAt, usedAt, document }
    if (!(yield* store.write(next, revision))) return yield* fail(id, new Conflict())
    recent.set(id, next.revision, kept)
  })

  const sessions: Session["Service"] = {
    open,
    save,
    exclusively,
    remove: (id) => exclusively(id)(store.remove(id)),
    list: (limit) => Effect.flatMap(aliveSince, (since) => store.list(since, limit))
  }
  if (ttl === Infinity) return Effect.succeed(sessions)
  const removeExpired = Effect.flatMap(aliveSince, store.removeUnused).pipe(
    // They count as not there anyway, and whoever uses the store hears of its failures.
    Effect.ignore,
    Effect.repeat(Schedule.spaced(ttl))
  )
  return Effect.as(Effect.forkScoped(removeExpired), sessions)
}

/**
 * The conversations that were stored last, at most 64: what is unchanged in the store need not be decoded, and the next
 * run goes on with what the context window of the last one has sent.
 */
const makeRecent = () => {
  const known = new Map<string, { readonly revision: string; readonly history: History }>()
  return {
    get: (id: string, revision: string): History | undefined => {
      const found = known.get(id)
      return found?.revision === revision ? found.history : undefined
    },
    set: (id: string, revision: string, history: History): void => {
      known.delete(id)
      known.set(id, { revision, history })
      for (const oldest of known.keys()) {
        if (known.size <= 64) break
        known.delete(oldest)
      }
    }
  }
}

/** Runs an effect as the holder of a session. */
const hold = <A, E, R>(lane: Lane, held: ReadonlyArray<object>, effect: Effect.Effect<A, E, R>) =>
  Effect.acquireUseRelease(
    Effect.sync(() => (lane.holder = {})),
    (holder) => Effect.provideService(effect, Held, [...held, holder]),
    () => Effect.sync(() => (lane.holder = undefined))
  )

const require = (field: string, holds: boolean, issue: string): void => {
  if (!holds) throw new InvalidAgent({ field, issue })
}

const fail = (id: string, reason: SessionErrorReason): Effect.Effect<never, SessionError> =>
  Effect.fail(new SessionError({ id, reason }))

/** A number of its own would come again when a session is removed and made anew. */
const newRevision = Effect.map(Random.Random, (random) => random.nextDoubleUnsafe().toString(36).slice(2))

const decode = Effect.fnUntraced(function* (id: string, document: Schema.Json) {
  const { messages } = yield* Effect.catchTag(decodeDocument(document), "SchemaError", ({ message }) =>
    fail(id, new Corrupt({ issue: message }))
  )
  // It has the form, or it would not have been decoded.
  const { messages: stored } = document as DocumentJson
  // Decoding a history repairs it. There is nothing to repair in what was stored by `save`.
  if (sizeOf(messages) === sizeOf(stored)) return messages
  return yield* fail(id, new Corrupt({ issue: 'the messages are not those of a conversation\n  at ["messages"]' }))
})

/** Messages and their parts, which a repair would change. */
const sizeOf = (messages: Iterable<{ readonly content: string | ReadonlyArray<unknown> }>): number => {
  let size = 0
  for (const { content } of messages) size += 1 + (typeof content === "string" ? 1 : content.length)
  return size
}

/** The document of a conversation, without its oldest turns if it would be too large with them. */
const encodeWithin = Effect.fnUntraced(function* (maxBytes: number, id: string, history: History) {
  const document = yield* encode(id, history)
  if (bytesOf(document) <= maxBytes) return { document, kept: history }
  let bytes = bytesOf({ ...document, messages: [] })
  let turns = 0
  for (const message of document.messages.toReversed()) {
    bytes += bytesOf(message) + 1
    if (bytes > maxBytes) break
    if (message.role === "user") turns++
  }
  if (turns > 0) {
    const kept = Histories.takeTurns(history, turns)
    return { document: yield* encode(id, kept), kept }
  }
  const newest = yield* encode(id, Histories.takeTurns(history, 1))
  return yield* fail(id, new TooLarge({ bytes: bytesOf(newest), maxBytes }))
})

const encode = (id: string, messages: History) =>
  encodeDocument({ version: 1, messages }).pipe(
    Effect.map((document) => document as DocumentJson),
    Effect.mapError(
      ({ message: issue }) => new SessionError({ id, reason: new StoreFailed({ operation: "write", issue }) })
    )
  )

const bytesOf = (json: unknown): number => utf8.encode(JSON.stringify(json)).byteLength
const utf8 = new TextEncoder()

/**
 * Keeps sessions in memory: for tests, and for what may be forgotten when the process ends.
 *
 * **Details**
 *
 * It keeps the `maxSessions` sessions (default 1,000) that were used last.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerMemory = (
  options: Options & { readonly maxSessions?: number | undefined } = {}
): Layer.Layer<Session> => {
  const maxSessions = options.maxSessions ?? 1000
  require("maxSessions", maxSessions >= 1, "must be at least 1")
  return Layer.effect(
    Session,
    Effect.suspend(() => make(Stores.memory(maxSessions), options))
  )
}

/**
 * A run in a session: its id, and what the user says. Without a prompt, the run answers what a run before it left
 * unanswered.
 *
 * @category models
 * @since 0.1.0
 */
export interface SessionInput {
  readonly id: string
  readonly prompt?: UserContent | undefined
}

/**
 * Runs an agent in a session: as `Agent.run`, with the conversation so far, and what the run adds is stored.
 *
 * **Details**
 *
 * A run that fails or is interrupted is stored as far as it got, tool results included: a run without a prompt goes on
 * from there, and one with a prompt adds it behind. A run that the model answered not once leaves the session as it
 * was, so that it can be tried again with the same prompt.
 *
 * Fails with `SessionError` when the session cannot be read (no model is called), or the run cannot be stored: then the
 * error carries the run as `unsaved`, and the cause has the run's own failure too, if it failed.
 *
 * **Example** (Two runs of a conversation)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Agent from "effect-agent-runtime/Agent"
 * import * as Session from "effect-agent-runtime/Session"
 * import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
 *
 * const helper = Agent.make("helper")
 *
 * const program = Effect.gen(function* () {
 *   yield* Session.run(helper, { id: "ada", prompt: "My name is Ada." })
 *   const { history, text } = yield* Session.run(helper, { id: "ada", prompt: "What is my name?" })
 *   return [text, history.length]
 * }).pipe(
 *   Effect.provide([Session.layerMemory(), ScriptedLlm.layer(["Nice to meet you.", "Ada."])])
 * )
 * Effect.runSync(program) // => ["Ada.", 4]
 * ```
 *
 * @category running
 * @since 0.1.0
 */
export const run = <Name extends string, Output, E, R>(
  agent: Agent<Name, Output, E, R>,
  input: SessionInput
): Effect.Effect<AgentResult<Output>, AgentError | SessionError | E, Llm | Session | R> =>
  runObserved(agent, input, undefined)

/**
 * Runs an agent in a session, as {@link run}, and streams its events, as `Agent.stream`. The run is stored when the
 * stream ends, and also when it is closed before.
 *
 * @category running
 * @since 0.1.0
 */
export const stream = <Name extends string, Output, E, R>(
  agent: Agent<Name, Output, E, R>,
  input: SessionInput
): Stream.Stream<AgentEvent, AgentError | SessionError | E, Llm | Session | R> =>
  eventsOf((observer) => runObserved(agent, input, observer))

const runObserved = <Name extends string, Output, E, R>(
  agent: Agent<Name, Output, E, R>,
  { id, prompt }: SessionInput,
  observer: Observer | undefined
): Effect.Effect<AgentResult<Output>, AgentError | SessionError | E, Llm | Session | R> =>
  Effect.flatMap(Session, (sessions) =>
    Effect.flatMap(sessions.open(id), (opened) => {
      const history = prompt === undefined ? opened.history : Histories.appendUser(opened.history, prompt)
      let progress: (() => PartialRun) | undefined
      // As in `Agent.run`.
      const running = interpret(definitionOf(agent), history, observer, (inspected) => {
        progress = inspected
      }) as Effect.Effect<AgentResult<Output>, AgentError | E, Llm | R>
      return Effect.onExitPrimitive(running, () => {
        const ended = progress?.()
        return ended === undefined || ended.turns === 0 ? undefined : keep(sessions, opened, ended)
      })
    }).pipe(sessions.exclusively(id))
  )

/** Stores a run that has ended. If that fails, the error has it. */
const keep = (sessions: Session["Service"], opened: Opened, ended: PartialRun) =>
  Effect.mapError(
    sessions.save(opened, ended.history),
    ({ id, reason }) => new SessionError({ id, reason, unsaved: ended })
  )

/**
 * The conversation of a session; empty if there is none, or it has expired.
 *
 * @category running
 * @since 0.1.0
 */
export const history = (id: string): Effect.Effect<History, SessionError, Session> =>
  Effect.flatMap(Session, (sessions) => Effect.map(sessions.open(id), (opened) => opened.history))

/**
 * Makes another session with the first `at` turns of this one (default: all). A turn begins with a user message and
 * holds all that follows up to the next one.
 *
 * **Details**
 *
 * From then on the two have nothing to do with each other. Fails with `NotFound` when the session does not have so many
 * turns, and with `AlreadyExists` when `to` is taken.
 *
 * @category running
 * @since 0.1.0
 */
export const branch = Effect.fnUntraced(function* (
  id: string,
  options: { readonly to: string; readonly at?: number | undefined }
): Effect.fn.Return<void, SessionError, Session> {
  const { open, save, exclusively } = yield* Session
  const { history: from } = yield* open(id)
  const turns = Histories.turns(from)
  const at = options.at ?? turns
  if (!(Number.isInteger(at) && at >= 1 && at <= turns)) return yield* fail(id, new NotFound({ turns }))
  const { to } = options
  const taken = fail(to, new AlreadyExists())
  yield* Effect.gen(function* () {
    const target = yield* open(to)
    if (target.createdAt !== undefined) return yield* taken
    yield* Effect.catchReason(
      save(target, Histories.dropTurns(from, turns - at)),
      "SessionError",
      "Conflict",
      () => taken
    )
  }).pipe(exclusively(to))
})

/**
 * Removes a session, after the runs that use it. Nothing happens if there is none.
 *
 * @category running
 * @since 0.1.0
 */
export const remove = (id: string): Effect.Effect<void, SessionError, Session> =>
  Effect.flatMap(Session, (sessions) => sessions.remove(id))

/**
 * The sessions there are, the last used first, at most `limit` (default 100).
 *
 * @category running
 * @since 0.1.0
 */
export const list = (
  options: { readonly limit?: number | undefined } = {}
): Effect.Effect<ReadonlyArray<Summary>, SessionError, Session> =>
  Effect.flatMap(Session, (sessions) => sessions.list(options.limit ?? 100))
