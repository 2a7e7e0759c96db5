/**
 * Sessions in a SQL database, SQLite or PostgreSQL, by the `effect/sql` client in the context.
 *
 * A session is one row, its conversation a JSON text, so that a write is one statement and needs no transaction.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import * as Session from "../Session.ts"
import { Corrupt, SessionError, StoreFailed } from "../SessionError.ts"
import type { SessionStore, Summary } from "../SessionStore.ts"

/**
 * Makes a store in a table, which is created if it is not there. Within a transaction of the caller's, a session is
 * written with that transaction.
 *
 * `table` is the table's name. Default `"agent_sessions"`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  options: { readonly table?: string | undefined } = {}
): Effect.fn.Return<SessionStore, SessionError, SqlClient.SqlClient> {
  // The names of the columns are ours, whatever the client makes of those of the application.
  const sql = (yield* SqlClient.SqlClient).withoutTransforms()
  const name = options.table ?? "agent_sessions"
  const table = sql(name)
  const index = sql(`${name}_used_at`)

  yield* sql`CREATE TABLE IF NOT EXISTS ${table} (
    id TEXT PRIMARY KEY,
    revision TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    used_at BIGINT NOT NULL,
    document TEXT NOT NULL
  )`.pipe(
    Effect.andThen(sql`CREATE INDEX IF NOT EXISTS ${index} ON ${table} (used_at)`),
    // PostgreSQL refuses one of two that create the same table at the same time.
    Effect.retry({ times: 2 }),
    failing("open")
  )

  return {
    read: Effect.fnUntraced(function* (id) {
      const rows = yield* failing("read", id)(sql<Row>`SELECT * FROM ${table} WHERE id = ${keyOf(id)}`)
      const row = rows[0]
      if (row === undefined) return undefined
      const document = yield* Effect.mapError(
        parse(row.document),
        ({ message: issue }) => new SessionError({ id, reason: new Corrupt({ issue }) })
      )
      return { ...summary(row), id, revision: row.revision, document }
    }),
    write: ({ createdAt, document, id, revision, usedAt }, expected) => {
      const row = {
        id: keyOf(id),
        revision,
        created_at: createdAt,
        used_at: usedAt,
        document: JSON.stringify(document)
      }
      const statement =
        expected === undefined
          ? sql`INSERT INTO ${table} ${sql.insert(row)} ON CONFLICT (id) DO NOTHING RETURNING id`
          : sql`UPDATE ${table} SET ${sql.update(row, ["id"])}
              WHERE id = ${row.id} AND revision = ${expected} RETURNING id`
      return Effect.map(failing("write", id)(statement), (rows) => rows.length === 1)
    },
    remove: (id) => failing("remove", id)(Effect.asVoid(sql`DELETE FROM ${table} WHERE id = ${keyOf(id)}`)),
    removeUnused: (before) => failing("remove")(Effect.asVoid(sql`DELETE FROM ${table} WHERE used_at < ${before}`)),
    list: (since, limit) =>
      failing("list")(
        sql<Row>`SELECT id, created_at, used_at FROM ${table}
          WHERE used_at >= ${since} ORDER BY used_at DESC, id LIMIT ${limit}`
      ).pipe(Effect.map((rows) => rows.map(summary)))
  }
})

/** A row as drivers give it: PostgreSQL's writes large integers as text. */
interface Row {
  readonly id: string
  readonly revision: string
  readonly created_at: number | bigint | string
  readonly used_at: number | bigint | string
  readonly document: string
}

const summary = (row: Row): Summary => ({
  id: JSON.parse(`"${row.id}"`),
  createdAt: Number(row.created_at),
  usedAt: Number(row.used_at)
})

/** The id as a database can store it: PostgreSQL takes no NUL, and UTF-8 no lone surrogates. Other ids are themselves. */
const keyOf = (id: string): string => JSON.stringify(id).slice(1, -1)

const parse = Schema.decodeUnknownEffect(Schema.fromJsonString(Schema.Json))

const failing = (operation: StoreFailed["operation"], id?: string) =>
  Effect.mapError(
    (error: SqlError) =>
      new SessionError({ id, reason: new StoreFailed({ operation, issue: describe(error), cause: error }) })
  )

/** What the database says stands in the error of the driver. */
const describe = ({ message, reason }: SqlError): string =>
  Predicate.hasProperty(reason.cause, "message") ? `${message}: ${String(reason.cause.message)}` : message

/**
 * Keeps sessions in a table of the database in the context.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options: Session.Options & { readonly table?: string | undefined } = {}
): Layer.Layer<Session.Session, SessionError, SqlClient.SqlClient> =>
  Layer.effect(
    Session.Session,
    Effect.flatMap(make(options), (store) => Session.make(store, options))
  )
