/**
 * Where sessions are kept: a store of documents by id, written by compare-and-set. What the documents say, how long
 * they live and how large they get is the affair of `Session`.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type { SessionError } from "./SessionError.ts"

/**
 * What is known of a session without reading its conversation.
 *
 * @category models
 * @since 0.1.0
 */
export interface Summary {
  readonly id: string
  /** Milliseconds since 1970. */
  readonly createdAt: number
  /** When it was last written, in milliseconds since 1970. */
  readonly usedAt: number
}

/**
 * A session as it is stored.
 *
 * @category models
 * @since 0.1.0
 */
export interface Stored extends Summary {
  /** Names this state of the session: every write has another. Letters and digits. */
  readonly revision: string
  readonly document: Schema.Json
}

/**
 * A store of sessions. Its failures are `StoreFailed`, and `Corrupt` for what is there and cannot be read.
 *
 * **Gotchas**
 *
 * `write` is the promise that no message is lost: comparing and writing are one atomic step, also for other processes
 * on the same store. A reader sees a session as it was before or after a write, never in between.
 *
 * @category models
 * @since 0.1.0
 */
export interface SessionStore {
  /** The session, or `undefined`. */
  readonly read: (id: string) => Effect.Effect<Stored | undefined, SessionError>
  /**
   * Stores a session if its present revision is `expected` (`undefined`: there is none). Returns whether it was.
   */
  readonly write: (session: Stored, expected: string | undefined) => Effect.Effect<boolean, SessionError>
  /** Removes a session, if it is there. */
  readonly remove: (id: string) => Effect.Effect<void, SessionError>
  /** Removes the sessions that were last used before a time. */
  readonly removeUnused: (before: number) => Effect.Effect<void, SessionError>
  /** At most `limit` sessions used at or after a time, the last used first. */
  readonly list: (since: number, limit: number) => Effect.Effect<ReadonlyArray<Summary>, SessionError>
}

/**
 * Makes a store in memory. It keeps the `maxSessions` sessions that were read or written last.
 *
 * @category constructors
 * @since 0.1.0
 */
export const memory = (maxSessions: number): SessionStore => {
  /** In order of use, the oldest first. */
  const sessions = new Map<string, Stored>()

  const touch = (session: Stored): void => {
    sessions.delete(session.id)
    sessions.set(session.id, session)
  }

  return {
    read: (id) =>
      Effect.sync(() => {
        const session = sessions.get(id)
        if (session !== undefined) touch(session)
        return session
      }),
    write: (session, expected) =>
      Effect.sync(() => {
        if (sessions.get(session.id)?.revision !== expected) return false
        touch(session)
        for (const id of sessions.keys()) {
          if (sessions.size <= maxSessions) break
          sessions.delete(id)
        }
        return true
      }),
    remove: (id) => Effect.sync(() => void sessions.delete(id)),
    removeUnused: (before) =>
      Effect.sync(() => {
        for (const { id, usedAt } of sessions.values()) if (usedAt < before) sessions.delete(id)
      }),
    list: (since, limit) => Effect.sync(() => newestFirst(sessions.values(), since, limit))
  }
}

/** What `list` returns, of all sessions. @internal */
export const newestFirst = (sessions: Iterable<Summary>, since: number, limit: number): ReadonlyArray<Summary> =>
  Array.from(sessions, ({ createdAt, id, usedAt }) => ({ id, createdAt, usedAt }))
    .filter(({ usedAt }) => usedAt >= since)
    .toSorted((a, b) => b.usedAt - a.usedAt || (a.id < b.id ? -1 : 1))
    .slice(0, limit)
