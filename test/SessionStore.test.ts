import { assert, describe, it } from "@effect/vitest"
import * as SessionStore from "effect-agent-runtime/SessionStore"
import * as Effect from "effect/Effect"
import { check, stored } from "./support/sessionStores.ts"

describe("memory", () => {
  check(
    Effect.sync(() => {
      const store = SessionStore.memory(100)
      return [store, store]
    }),
    100
  )

  it.effect("keeps the sessions that were used last", () =>
    Effect.gen(function* () {
      const { list, read, write } = SessionStore.memory(2)
      yield* write(stored("a", "1"), undefined)
      yield* write(stored("b", "1"), undefined)
      yield* read("a")
      yield* write(stored("c", "1"), undefined)
      assert.sameMembers(
        (yield* list(0, 9)).map(({ id }) => id),
        ["a", "c"]
      )
    })
  )
})
