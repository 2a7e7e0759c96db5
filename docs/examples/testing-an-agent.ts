/**
 * Two ways to test an agent without a model: a script for what it does in one case, laws for what it does in all.
 * With `it.effect` of `@effect/vitest`, each of the two is a test.
 */
import { deepStrictEqual, strictEqual } from "node:assert/strict"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Agent from "effect-agent-runtime/Agent"
import * as History from "effect-agent-runtime/History"
import { Llm } from "effect-agent-runtime/Llm"
import { Arbitraries, Laws, ScriptedLlm } from "effect-agent-runtime/testing"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Arbitrary from "effect/Arbitrary"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

const Shop = Toolkit.make(
  Tool.make("price", { parameters: Schema.Struct({ item: Schema.String }), success: Schema.Int })
)
const ShopLayer = Shop.toLayer({ price: ({ item }) => Effect.succeed(item.length) })

const clerk = Agent.make("clerk", { instructions: "Tell prices.", toolkit: Shop })

const tellsThePrice = Effect.gen(function* () {
  const model = ScriptedLlm.make([{ tool: "price", params: { item: "tea" } }, "Tea is 3."])
  const { output } = yield* Agent.run(clerk, "How much is tea?").pipe(Effect.provideService(Llm, model))

  strictEqual(output, "Tea is 3.")
  strictEqual(model.remaining(), 0)
  // What the model was told after the tool call.
  const told = History.last(model.requests[1]!.history)
  deepStrictEqual(told?.role === "tool" && told.content.map((part) => part.type === "tool-result" && part.result), [3])
}).pipe(Effect.provide(ShopLayer))

const obeysTheLaws = Arbitrary.checkEffect(
  Arbitraries.script(Shop),
  (script) =>
    Laws.record(Agent.run(clerk, "How much is tea?")).pipe(
      Effect.provide([ShopLayer, ScriptedLlm.layer(script)]),
      Effect.map((recording) => Laws.run(clerk, recording).length === 0)
    ),
  { runs: 200, seed: "reproducible" }
)

export const program = Effect.gen(function* () {
  yield* tellsThePrice
  yield* Console.log("It tells the price.")
  const result = yield* obeysTheLaws
  yield* Console.log(`Whatever the model does: ${result._tag}`)
})

if (import.meta.main) NodeRuntime.runMain(program)
