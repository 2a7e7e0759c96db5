/**
 * A workflow of several kinds of steps, with workflows in it: one in a branch, one for each element of a list. The record
 * of a run has all of their steps, and so has the stream of its events.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Agent from "effect-agent-runtime/Agent"
import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
import * as Workflow from "effect-agent-runtime/Workflow"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

class NotInStock extends Schema.TaggedError<NotInStock>()("NotInStock", { item: Schema.String }) {}

const stock = new Map([
  ["tea", 3],
  ["milk", 1]
])

const price = Workflow.make(
  "price",
  Workflow.effect("look up", (item: string) => {
    const each = stock.get(item)
    return each === undefined ? Effect.fail(new NotInStock({ item })) : Effect.succeed(each)
  }),
  Workflow.transform("with tax", (each) => each * 1.2)
)

const order = Workflow.make(
  "order",
  Workflow.transform("items", (mail: string) => mail.split("order: ")[1]?.split(", ") ?? []),
  Workflow.map("prices", price),
  Workflow.transform("sum", (prices) => `That is ${prices.reduce((a, b) => a + b, 0).toFixed(2)}.`)
)

const shop = Workflow.make(
  "shop",
  Workflow.branch("kind", (mail: string) => (mail.includes("order: ") ? "order" : "other"), {
    order,
    other: Workflow.agent(Agent.make("clerk"))
  })
)

export const program = Effect.gen(function* () {
  for (const mail of ["order: tea, milk", "When do you open?"]) {
    const { output, run } = yield* Workflow.run(shop, mail)
    yield* Console.log(`${mail} > ${output}`)
    for (const { branch, name, path, type } of run.steps) {
      const indent = "  ".repeat(path.length - 1)
      yield* Console.log(`${indent}${name} (${type})${branch === undefined ? "" : `: ${branch}`}`)
    }
  }
  const failed = yield* Effect.flip(Workflow.run(shop, "order: coffee"))
  yield* Console.log(`${failed.reason._tag} in ${failed.step?.path.join(" / ")}`)
}).pipe(Effect.provide(ScriptedLlm.layer(["At nine."])))

if (import.meta.main) NodeRuntime.runMain(program)
