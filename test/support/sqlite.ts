/** An `effect/sql` client on Node's own SQLite: one connection to a database file, or to a database in memory. */
import { DatabaseSync } from "node:sqlite"
import type { SQLInputValue } from "node:sqlite"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Reactivity from "effect/reactivity/Reactivity"
import * as Semaphore from "effect/Semaphore"
import * as SqlClient from "effect/sql/SqlClient"
import type { Connection } from "effect/sql/SqlConnection"
import { classifySqliteError, SqlError } from "effect/sql/SqlError"
import * as Statement from "effect/sql/Statement"
import * as Stream from "effect/Stream"

const make = Effect.fnUntraced(function* (filename: string) {
  const database = yield* Effect.acquireRelease(
    Effect.sync(() => new DatabaseSync(filename, { timeout: 5000 })),
    (opened) => Effect.sync(() => opened.close())
  )
  const all = (sql: string, params: ReadonlyArray<unknown>, asArrays = false) =>
    Effect.try({
      try: () => {
        const statement = database.prepare(sql)
        statement.setReturnArrays(asArrays)
        // The compiler makes values of parameters that SQLite takes, or it says so.
        return statement.all(...(params as ReadonlyArray<SQLInputValue>)) as ReadonlyArray<any>
      },
      catch: (cause) => new SqlError({ reason: classifySqliteError(cause) })
    })
  const connection: Connection = {
    execute: (sql, params, transformRows) =>
      Effect.map(all(sql, params), (rows) => (transformRows === undefined ? rows : transformRows(rows))),
    executeRaw: (sql, params) => all(sql, params),
    executeStream: (sql, params) => Stream.unwrap(Effect.map(all(sql, params), Stream.fromIterable)),
    executeValues: (sql, params) => all(sql, params, true),
    executeValuesUnprepared: (sql, params) => all(sql, params, true),
    executeUnprepared: (sql, params) => all(sql, params)
  }
  const acquirers = SqlClient.makeSqliteAcquirers({
    connection: Effect.succeed(connection),
    semaphore: Semaphore.makeUnsafe(1)
  })
  return yield* SqlClient.make({
    ...acquirers,
    compiler: Statement.makeCompilerSqlite(),
    driver: "node-sqlite",
    spanAttributes: []
  })
})

export const layer = (filename: string): Layer.Layer<SqlClient.SqlClient> =>
  Layer.effect(SqlClient.SqlClient, make(filename)).pipe(Layer.provide(Reactivity.layer))
