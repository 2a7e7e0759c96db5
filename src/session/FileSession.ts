/**
 * Sessions as JSON files in a directory, one for each, through the `FileSystem` in the context.
 *
 * A file is written beside its place and moved there. Whoever writes holds a lock of the session, a directory, and
 * writes inside it: a process that has lost its lock to another, which took it for dead, has nothing left to move.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Hex from "effect/encoding/Hex"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Path from "effect/Path"
import type { PlatformError } from "effect/PlatformError"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import * as Session from "../Session.ts"
import { Corrupt, SessionError, StoreFailed } from "../SessionError.ts"
import type { SessionStore, Stored } from "../SessionStore.ts"
import { newestFirst } from "../SessionStore.ts"

const File = Schema.fromJsonString(
  Schema.Struct({
    id: Schema.String,
    revision: Schema.String,
    createdAt: Schema.Finite,
    usedAt: Schema.Finite,
    document: Schema.Json
  })
)
const parse = Schema.decodeUnknownEffect(File, { errors: "all" })
const utf8 = new TextEncoder()

/** How often a lock is looked at, and how often it may be found with the same process before it counts as left behind. */
const lockPoll = "50 millis"
const lockPatience = 100
/** How often a lock is looked at in all: half a minute. */
const lockAttempts = 600

/**
 * Makes a store in a directory, which is created if it is not there.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (options: {
  readonly directory: string
}): Effect.fn.Return<SessionStore, SessionError, FileSystem.FileSystem | Path.Path> {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const { directory } = options
  yield* failing("open")(fs.makeDirectory(directory, { recursive: true }))

  const fileOf = (id: string): Effect.Effect<string> =>
    Effect.map(nameOf(id), (name) => path.join(directory, `${name}.json`))

  const readFile = Effect.fnUntraced(function* (file: string, id?: string) {
    const text = yield* fs.readFileString(file).pipe(
      Effect.catchReason("PlatformError", "NotFound", () => Effect.succeed(undefined)),
      failing("read", id)
    )
    if (text === undefined) return undefined
    const stored: Stored = yield* Effect.mapError(parse(text), ({ message }) => corrupt(file, message, id))
    if (id !== undefined && stored.id !== id) return yield* corrupt(file, `it is that of session '${stored.id}'`, id)
    return stored
  })

  const read = (id: string) => Effect.flatMap(fileOf(id), (file) => readFile(file, id))

  /** The files there are. Another process may remove one at any time. */
  const files = Effect.map(failing("list")(fs.readDirectory(directory)), (names) =>
    names.filter((name) => /^session-.*\.json$/.test(name)).map((name) => path.join(directory, name))
  )

  const removeFile = (file: string) => fs.remove(file, { force: true })

  return {
    read,
    write: Effect.fnUntraced(function* (session, expected) {
      const { id, revision } = session
      const file = yield* fileOf(id)
      const bytes = utf8.encode(JSON.stringify(session))
      return yield* locked(fs, file, "write", id, (lock) =>
        Effect.gen(function* () {
          const present = yield* readFile(file, id)
          if (present?.revision !== expected) return false
          const next = path.join(lock, `${revision}.json`)
          yield* failing("write", id)(Effect.andThen(writeThrough(fs, next, bytes), fs.rename(next, file)))
          return true
        })
      )
    }),
    remove: Effect.fnUntraced(function* (id) {
      const file = yield* fileOf(id)
      yield* locked(fs, file, "remove", id, () => failing("remove", id)(removeFile(file)))
    }),
    removeUnused: Effect.fnUntraced(function* (before) {
      for (const file of yield* files) {
        // What cannot be read is nobody's to remove.
        const stored = yield* Effect.catchReason(readFile(file), "SessionError", "Corrupt", () =>
          Effect.succeed(undefined)
        )
        if (stored === undefined || stored.usedAt >= before) continue
        // It may have been used since.
        const removeIfUnused = Effect.flatMap(readFile(file), (now) =>
          now === undefined || now.usedAt >= before ? Effect.void : failing("remove", now.id)(removeFile(file))
        )
        yield* locked(fs, file, "remove", stored.id, () => removeIfUnused)
      }
    }),
    list: Effect.fnUntraced(function* (since, limit) {
      const sessions = yield* Effect.forEach(yield* files, (file) => readFile(file), { concurrency: 8 })
      return newestFirst(
        sessions.filter((session) => session !== undefined),
        since,
        limit
      )
    })
  }
})

/**
 * Writes a file that only its owner may read, and waits until it is on the disk: a move may be there earlier than what
 * was moved.
 */
const writeThrough = (fs: FileSystem.FileSystem, file: string, bytes: Uint8Array) =>
  Effect.scoped(
    Effect.flatMap(fs.open(file, { flag: "wx", mode: 0o600 }), (opened) =>
      Effect.andThen(opened.writeAll(bytes), opened.sync)
    )
  )

/** Runs an effect as the only one of all processes that has the lock of a file. Only waiting can be interrupted. */
const locked = <A>(
  fs: FileSystem.FileSystem,
  file: string,
  operation: StoreFailed["operation"],
  id: string,
  effect: (lock: string) => Effect.Effect<A, SessionError>
): Effect.Effect<A, SessionError> => {
  const lock = `${file}.lock`
  const acquire = Effect.fnUntraced(function* (wait: Effect.Effect<void>) {
    let seen: string | undefined
    let patience = lockPatience
    for (let attempt = 0; attempt < lockAttempts; attempt++) {
      const acquired = yield* fs.makeDirectory(lock).pipe(
        Effect.as(true),
        Effect.catchReason("PlatformError", "AlreadyExists", () => Effect.succeed(false)),
        failing(operation, id)
      )
      if (acquired) return
      const holder = yield* fs.readDirectory(lock).pipe(
        Effect.map((names) => names.join()),
        Effect.orElseSucceed(() => undefined)
      )
      patience = holder === seen ? patience - 1 : lockPatience
      seen = holder
      if (patience === 0) yield* breakLock(fs, lock)
      else yield* wait
    }
    return yield* failed(operation, `${lock} is held by another process`, id)
  })
  return Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(acquire(restore(Effect.sleep(lockPoll))), () =>
      Effect.ensuring(effect(lock), Effect.ignore(fs.remove(lock, { recursive: true, force: true })))
    )
  )
}

/** Takes a lock away from a process that seems to be gone. Of several that do, one succeeds. */
const breakLock = Effect.fnUntraced(function* (fs: FileSystem.FileSystem, lock: string) {
  const random = yield* Random.Random
  const broken = `${lock}.${random.nextDoubleUnsafe().toString(36).slice(2)}`
  yield* Effect.ignore(Effect.andThen(fs.rename(lock, broken), fs.remove(broken, { recursive: true, force: true })))
})

/**
 * The name of a session's file: its id, with all but small letters, digits, `-` and `_` escaped, because file systems
 * differ in what they allow and in whether `A` is `a`. Of a long one the beginning, and a hash of the whole.
 */
const nameOf = (id: string): Effect.Effect<string> => {
  const escaped = id.replaceAll(/[^a-z0-9_-]/g, (unit) => `%${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
  if (escaped.length <= 150) return Effect.succeed(`session-${escaped}`)
  return Effect.map(
    Effect.promise(() => crypto.subtle.digest("SHA-256", utf8.encode(escaped))),
    (hash) => `session-${escaped.slice(0, 80)}~${Hex.encode(new Uint8Array(hash))}`
  )
}

const failed = (operation: StoreFailed["operation"], issue: string, id?: string, cause?: unknown): SessionError =>
  new SessionError({ id, reason: new StoreFailed({ operation, issue, cause }) })

const corrupt = (file: string, issue: string, id?: string): SessionError =>
  new SessionError({ id, reason: new Corrupt({ issue: `${file}: ${issue}` }) })

const failing = (operation: StoreFailed["operation"], id?: string) =>
  Effect.mapError((error: PlatformError) => failed(operation, error.message, id, error))

/**
 * Keeps sessions in files of a directory.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options: Session.Options & { readonly directory: string }
): Layer.Layer<Session.Session, SessionError, FileSystem.FileSystem | Path.Path> =>
  Layer.effect(
    Session.Session,
    Effect.flatMap(make(options), (store) => Session.make(store, options))
  )
