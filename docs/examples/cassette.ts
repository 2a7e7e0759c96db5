/**
 * A run that is recorded once and played from then on: the second time neither the model nor the tool is asked. When the
 * program asks something else than it did, the replay says where. The file would be kept with the tests; here it goes
 * with the temporary folder.
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Agent from "effect-agent-runtime/Agent"
import { Cassette, ScriptedLlm } from "effect-agent-runtime/testing"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"

const Shop = Toolkit.make(
  Tool.make("price", { parameters: Schema.Struct({ item: Schema.String }), success: Schema.Int })
)
const clerk = Agent.make("clerk", { instructions: "Tell prices.", toolkit: Shop })

/** Stands for a real model and real tools, such as `OpenAiLlm.layerConfig()`. */
const live = Layer.mergeAll(
  Shop.toLayer({ price: ({ item }) => Effect.succeed(item.length) }),
  ScriptedLlm.layerExact([{ tool: "price", params: { item: "tea" } }, "Tea is 3."])
)

/** Nothing of what is played is built. */
const absent: typeof live = Layer.unwrap(Effect.die("There is no model here"))

export const program = Effect.gen(function* () {
  const folder = yield* (yield* FileSystem.FileSystem).makeTempDirectoryScoped()
  const cassette = Cassette.layer({ store: Cassette.file(`${folder}/tea.json`), toolkit: Shop })

  const recorded = yield* Effect.provide(Agent.run(clerk, "How much is tea?"), cassette(live))
  yield* Console.log(`Recorded: ${recorded.output}`)

  const played = yield* Effect.provide(Agent.run(clerk, "How much is tea?"), cassette(absent))
  yield* Console.log(`Played: ${played.output}`)

  yield* Agent.run(clerk, "How much is coffee?").pipe(
    Effect.provide(cassette(absent)),
    Cassette.failOnMismatch,
    Effect.catchTag("CassetteMismatch", ({ diff, path, step }) =>
      Console.log(`Changed: step ${step}, ${path}\n${diff}`)
    )
  )
}).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer))

if (import.meta.main) NodeRuntime.runMain(program)
