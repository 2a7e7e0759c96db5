import { assert, describe, it } from "@effect/vitest"
import * as Agent from "effect-agent-runtime/Agent"
import { Arbitraries, Cassette, Laws, ScriptedLlm } from "effect-agent-runtime/testing"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"

class Closed extends Schema.TaggedError<Closed>()("Closed", { since: Schema.Date }) {}

const Shop = Toolkit.make(
  Tool.make("price", {
    parameters: Schema.Struct({ item: Schema.String }),
    success: Schema.Struct({ at: Schema.Date, cents: Schema.Int })
  }),
  Tool.make("order", {
    parameters: Schema.Struct({ item: Schema.String, count: Schema.Int }),
    failure: Closed,
    failureMode: "return"
  }),
  Tool.make("visit", { success: Schema.Void, failure: Closed, failureMode: "error" })
)

const opened = new Date(0)

const ShopLayer = Shop.toLayer({
  price: Effect.fnUntraced(function* ({ item }, { preliminary }) {
    for (let cents = 0; cents < item.length % 3; cents++) yield* preliminary({ at: opened, cents })
    for (let i = 0; i < item.length % 5; i++) yield* Effect.yieldNow
    return { at: opened, cents: item.length }
  }),
  order: ({ count, item }) => {
    if (count % 3 === 0) return Effect.die(new TypeError(`No ${item}`))
    return count % 3 === 1 ? Effect.fail(new Closed({ since: opened })) : Effect.void
  },
  visit: () => Effect.suspend(() => Effect.void)
})

const clerk = Agent.make("clerk", { toolkit: Shop })

const text = (value: unknown) => JSON.stringify(value)

describe("a recording", () => {
  it.effect.prop("is played with the same events, to the byte", [Arbitraries.script(Shop)], ([script]) =>
    Effect.gen(function* () {
      const store = Cassette.memory("test")
      const run = Laws.record(Agent.run(clerk, "How much is tea?"))
      const live = Layer.mergeAll(ShopLayer, ScriptedLlm.layer(script))
      const recorded = yield* Effect.provide(run, live.pipe(Cassette.layer({ store, toolkit: Shop })))
      assert.deepStrictEqual(Laws.run(clerk, recorded), [])
      const dead = Layer.mergeAll(
        Shop.toLayer({
          price: () => Effect.die("live"),
          order: () => Effect.die("live"),
          visit: () => Effect.die("live")
        }),
        ScriptedLlm.layer([])
      )
      const before = store.text()
      const played = yield* Effect.provide(run, dead.pipe(Cassette.layer({ store, toolkit: Shop })))
      assert.strictEqual(text(played.events), text(recorded.events))
      assert.strictEqual(text(played.exit), text(recorded.exit))
      assert.strictEqual(store.text(), before)
    })
  )
})
