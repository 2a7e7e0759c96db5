/**
 * How sessions fail: one `SessionError` with a tagged `reason`, and the run that could not be stored, if there was one.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { PartialRun } from "./AgentError.ts"

/**
 * Somebody else wrote to the session, or removed it, since it was read. What they wrote is what is stored.
 *
 * @category reasons
 * @since 0.1.0
 */
export class Conflict extends Schema.TaggedError<Conflict>()("Conflict", {}) {
  override get message(): string {
    return "it was changed elsewhere in the meantime"
  }
}

/**
 * The session is used from within its own run, such as by a tool, and would wait for itself.
 *
 * @category reasons
 * @since 0.1.0
 */
export class InUse extends Schema.TaggedError<InUse>()("InUse", {}) {
  override get message(): string {
    return "it is used from within its own run"
  }
}

/**
 * What is stored cannot be read as a conversation. It is left as it is.
 *
 * @category reasons
 * @since 0.1.0
 */
export class Corrupt extends Schema.TaggedError<Corrupt>()("Corrupt", {
  /** What is wrong, and where. */
  issue: Schema.String
}) {
  override get message(): string {
    return `what is stored cannot be read: ${this.issue}`
  }
}

/**
 * The newest turn alone is larger than a session may be. What is stored is left as it is.
 *
 * @category reasons
 * @since 0.1.0
 */
export class TooLarge extends Schema.TaggedError<TooLarge>()("TooLarge", {
  bytes: Schema.Finite,
  maxBytes: Schema.Finite
}) {
  override get message(): string {
    return `its newest turn has ${this.bytes} bytes, ${this.maxBytes} are allowed`
  }
}

/**
 * There is no such session, or it has fewer turns than asked for.
 *
 * @category reasons
 * @since 0.1.0
 */
export class NotFound extends Schema.TaggedError<NotFound>()("NotFound", {
  /** Turns that the session has. */
  turns: Schema.Finite
}) {
  override get message(): string {
    const { turns } = this
    return turns === 0
      ? "it does not exist"
      : `it has ${turns} ${turns === 1 ? "turn" : "turns"}, and no turn of that number`
  }
}

/**
 * There is already a session of this id.
 *
 * @category reasons
 * @since 0.1.0
 */
export class AlreadyExists extends Schema.TaggedError<AlreadyExists>()("AlreadyExists", {}) {
  override get message(): string {
    return "it already exists"
  }
}

/**
 * The store did not do what it was asked to: the disk is full, the database is away.
 *
 * @category reasons
 * @since 0.1.0
 */
export class StoreFailed extends Schema.TaggedError<StoreFailed>()("StoreFailed", {
  operation: Schema.Literals(["open", "read", "write", "remove", "list"]),
  issue: Schema.String,
  /** The store's own error. */
  cause: Schema.optional(Schema.Defect())
}) {
  override get message(): string {
    return `the store could not ${this.operation}: ${this.issue}`
  }
}

/**
 * Why a session failed.
 *
 * @category reasons
 * @since 0.1.0
 */
export const SessionErrorReason = Schema.Union([
  Conflict,
  InUse,
  Corrupt,
  TooLarge,
  NotFound,
  AlreadyExists,
  StoreFailed
])
export type SessionErrorReason = typeof SessionErrorReason.Type

/**
 * The failure of a session.
 *
 * @category errors
 * @since 0.1.0
 */
export class SessionError extends Schema.TaggedError<SessionError>()("SessionError", {
  /** The session; absent when all are concerned. */
  id: Schema.optional(Schema.String),
  reason: SessionErrorReason,
  /** A run that has ended and could not be stored: whole, with what was stored before it. */
  unsaved: Schema.optional(PartialRun)
}) {
  override get message(): string {
    const { id, reason } = this
    return `${id === undefined ? "Sessions" : `Session '${id}'`}: ${reason.message}`
  }
}
