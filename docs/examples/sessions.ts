/**
 * Conversations that outlive the process: a session is kept in a file, goes on where it ended, and branches.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Agent from "effect-agent-runtime/Agent"
import * as Session from "effect-agent-runtime/Session"
import * as FileSession from "effect-agent-runtime/session/FileSession"
import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"

const chef = Agent.make("chef", { instructions: "Plan meals." })

const say = Effect.fnUntraced(function* (id: string, prompt: string) {
  const { text } = yield* Session.run(chef, { id, prompt })
  yield* Console.log(`${id} > ${prompt}\n${text}`)
})

/** Each use of the layer is what a process of its own would see. */
const inDirectory = (directory: string) => FileSession.layer({ directory, ttl: "30 days" })

export const program = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const directory = yield* fs.makeTempDirectoryScoped()

  yield* say("dinner", "Something with rice.").pipe(Effect.provide(inDirectory(directory)))

  yield* Effect.gen(function* () {
    yield* say("dinner", "And without mushrooms?")
    yield* Session.branch("dinner", { to: "lunch", at: 1 })
    yield* say("lunch", "Make it a lunch.")
    for (const id of ["dinner", "lunch"]) {
      const { length } = yield* Session.history(id)
      yield* Console.log(`${id}: ${length} messages`)
    }
  }).pipe(Effect.provide(inDirectory(directory)))
}).pipe(
  Effect.scoped,
  Effect.provide([
    ScriptedLlm.layer(["Risotto ai funghi.", "Risotto with saffron, then.", "Arancini."]),
    NodeServices.layer
  ])
)

if (import.meta.main) NodeRuntime.runMain(program)
