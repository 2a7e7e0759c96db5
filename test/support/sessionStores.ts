/** What every store of sessions has to do. */
import { assert, describe, it } from "@effect/vitest"
import type { SessionError } from "effect-agent-runtime/SessionError"
import type { SessionStore, Stored } from "effect-agent-runtime/SessionStore"
import { Arbitraries } from "effect-agent-runtime/testing"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"

export const stored = (id: string, revision: string, usedAt = 0, document: Schema.Json = revision): Stored => ({
  id,
  revision,
  createdAt: 1,
  usedAt,
  document
})

/** Ids that are made to be taken for something else, or for each other. */
const oddIds = [
  "",
  "a",
  "A",
  "../a",
  "a/b",
  "con",
  ".",
  "%0041",
  "\0",
  "\uD800",
  "\uFFFD",
  '"',
  "'; --",
  "é",
  "x".repeat(300)
]

const Operation = Schema.Struct({
  store: Schema.Literals([0, 1]),
  id: Schema.Literals(["a", "b", "A"]),
  what: Schema.Literals(["read", "write", "write", "write blindly", "remove"])
})

/** `make` makes two stores on one place, which is empty. */
export const check = (
  make: Effect.Effect<readonly [SessionStore, SessionStore], SessionError, Scope.Scope>,
  runs: number
): void => {
  describe("a store", () => {
    it.effect.prop(
      "gives back what was written",
      [Schema.String, Arbitraries.json],
      ([id, json]) =>
        Effect.gen(function* () {
          const [one, two] = yield* make
          // As it is after any store that writes JSON.
          const document = JSON.parse(JSON.stringify(json))
          const session = stored(id, "r", 2, document)
          assert.isTrue(yield* one.write(session, undefined))
          assert.deepStrictEqual(yield* two.read(id), session)
        }).pipe(Effect.scoped),
      { arbitrary: { runs } }
    )

    it.effect("keeps ids apart, whatever they contain", () =>
      Effect.gen(function* () {
        const [store] = yield* make
        for (const [index, id] of oddIds.entries()) assert.isTrue(yield* store.write(stored(id, `${index}`), undefined))
        for (const [index, id] of oddIds.entries()) assert.strictEqual((yield* store.read(id))?.revision, `${index}`)
        const ids = (yield* store.list(0, 100)).map((session) => session.id)
        assert.sameMembers(ids, oddIds)
      })
    )

    it.effect.prop(
      "writes only over what was expected, whoever writes",
      [Schema.Array(Operation)],
      ([operations]) =>
        Effect.gen(function* () {
          const stores = yield* make
          const present = new Map<string, string>()
          let writes = 0
          for (const { id, store, what } of operations) {
            const { read, remove, write } = stores[store]
            switch (what) {
              case "read":
                assert.strictEqual((yield* read(id))?.revision, present.get(id))
                break
              case "remove":
                yield* remove(id)
                present.delete(id)
                break
              default: {
                const expected = what === "write" ? present.get(id) : "another"
                const revision = `${writes++}`
                assert.strictEqual(yield* write(stored(id, revision), expected), expected !== "another")
                if (expected !== "another") present.set(id, revision)
              }
            }
          }
        }).pipe(Effect.scoped),
      { arbitrary: { runs } }
    )

    it.live("loses nothing of writers at the same time", () =>
      Effect.gen(function* () {
        const stores = yield* make
        const append = Effect.fnUntraced(function* (entry: number) {
          const store = stores[entry % 2]!
          while (true) {
            const before = yield* store.read("a")
            const entries = (before?.document ?? []) as ReadonlyArray<number>
            if (yield* store.write(stored("a", `${entry}`, 0, [...entries, entry]), before?.revision)) return
          }
        })
        const entries = Array.from({ length: 12 }, (_, entry) => entry)
        yield* Effect.forEach(entries, append, { concurrency: "unbounded" })
        assert.sameMembers((yield* stores[0].read("a"))!.document as Array<number>, entries)
      })
    )

    it.effect("lists what was used since a time, the last used first", () =>
      Effect.gen(function* () {
        const [one, two] = yield* make
        for (const [id, usedAt] of [
          ["a", 10],
          ["b", 30],
          ["c", 20],
          ["d", 30]
        ] as const)
          yield* one.write(stored(id, "r", usedAt), undefined)
        const ids = (since: number, limit: number) =>
          Effect.map(two.list(since, limit), (sessions) => sessions.map(({ id }) => id).join(""))
        assert.strictEqual(yield* ids(0, 9), "bdca")
        assert.strictEqual(yield* ids(20, 9), "bdc")
        assert.strictEqual(yield* ids(0, 2), "bd")
        assert.deepStrictEqual(yield* two.list(30, 1), [{ id: "b", createdAt: 1, usedAt: 30 }])
      })
    )

    it.effect("removes what was last used before a time", () =>
      Effect.gen(function* () {
        const [one, two] = yield* make
        yield* one.write(stored("old", "r", 9), undefined)
        yield* one.write(stored("new", "r", 10), undefined)
        yield* two.removeUnused(10)
        assert.isUndefined(yield* one.read("old"))
        assert.isDefined(yield* one.read("new"))
      })
    )
  })
}
