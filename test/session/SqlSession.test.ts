import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Agent from "effect-agent-runtime/Agent"
import * as Session from "effect-agent-runtime/Session"
import * as SqlSession from "effect-agent-runtime/session/SqlSession"
import { ScriptedLlm } from "effect-agent-runtime/testing"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { SqlClient } from "effect/sql/SqlClient"
import { check, stored } from "../support/sessionStores.ts"
import * as Sqlite from "../support/sqlite.ts"

const database = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "sessions-"))),
    (directory) => Effect.sync(() => rmSync(directory, { recursive: true }))
  ),
  (directory) => join(directory, "sessions.db")
)

const open = (file: string) =>
  Effect.flatMap(Layer.build(Sqlite.layer(file)), (context) => Effect.provideContext(SqlSession.make(), context))

const agent = Agent.make("helper")

describe("two connections to one database", () => {
  check(
    Effect.flatMap(database, (file) => Effect.all([open(file), open(file)])),
    20
  )
})

describe("a table of sessions", () => {
  it.effect("has the name it was given, and is there only once", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient
      yield* SqlSession.make({ table: "chats" })
      const { write } = yield* SqlSession.make({ table: "chats" })
      yield* write(stored("a", "r"), undefined)
      assert.deepStrictEqual(yield* sql`SELECT id FROM chats`, [{ id: "a" }])
    }).pipe(Effect.provide(Sqlite.layer(":memory:")))
  )

  it.effect("is written with the transaction of the caller, or not at all", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const { read, write } = yield* SqlSession.make()
      yield* Effect.exit(sql.withTransaction(Effect.andThen(write(stored("a", "r"), undefined), Effect.fail("undo"))))
      assert.isUndefined(yield* read("a"))
    }).pipe(Effect.provide(Sqlite.layer(":memory:")))
  )

  it.effect("tells which session cannot be read, and leaves it as it is", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient
      yield* Session.run(agent, { id: "a", prompt: "Hello" })
      yield* sql`UPDATE agent_sessions SET document = '{"version":1,'`
      const error = yield* Effect.flip(Session.run(agent, { id: "a", prompt: "Hello?" }))
      assert.match(error.message, /^Session 'a': what is stored cannot be read/)
      assert.deepStrictEqual(yield* sql`SELECT document FROM agent_sessions`, [{ document: '{"version":1,' }])
    }).pipe(
      Effect.provide(
        Layer.mergeAll(SqlSession.layer().pipe(Layer.provideMerge(Sqlite.layer(":memory:"))), ScriptedLlm.layer(["Hi"]))
      )
    )
  )

  it.effect("says what the database says when it is not there", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const { list, read, remove, removeUnused, write } = yield* SqlSession.make()
      yield* sql`DROP TABLE agent_sessions`
      const failures = yield* Effect.forEach(
        [
          read("a"),
          write(stored("a", "r"), undefined),
          write(stored("a", "r"), "q"),
          remove("a"),
          removeUnused(1),
          list(0, 1)
        ],
        (effect) =>
          Effect.map(Effect.flip(Effect.asVoid(effect)), ({ id, reason }) => [
            id,
            reason._tag,
            reason.message.includes("no such table")
          ])
      )
      const of = (id: string | undefined) => [id, "StoreFailed", true]
      assert.deepStrictEqual(failures, [of("a"), of("a"), of("a"), of("a"), of(undefined), of(undefined)])
    }).pipe(Effect.provide(Sqlite.layer(":memory:")))
  )
})
