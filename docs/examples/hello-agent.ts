/**
 * The smallest agent: a name, instructions, and a model to run on.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Agent from "effect-agent-runtime/Agent"
import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"

const greeter = Agent.make("greeter", { instructions: "Greet people, in one sentence." })

export const program = Effect.gen(function* () {
  const result = yield* Agent.run(greeter, "Hi, I am Ada.")
  yield* Console.log(result.output)
}).pipe(
  // Examples run on a script. `OpenAiLlm.layerConfig()` and an HTTP client in its place give you a real model.
  Effect.provide(ScriptedLlm.layer(["Hello Ada, good to see you!"]))
)

if (import.meta.main) NodeRuntime.runMain(program)
