/**
 * An agent as a tool of another one. Each has its own model; usage adds up in the parent.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Agent from "effect-agent-runtime/Agent"
import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
import * as Toolkit from "effect/ai/Toolkit"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

const researcher = Agent.asTool(Agent.make("researcher", { instructions: "Find facts. Be brief." }), {
  description: "Finds facts about a topic"
})

const writer = Agent.make("writer", {
  instructions: "Write one sentence. Let the researcher find the facts.",
  toolkit: Toolkit.make(researcher.tool)
})

const Researcher = Layer.provide(researcher.layer, ScriptedLlm.layer(["The Danube flows through ten countries."]))

const WriterLlm = ScriptedLlm.layer([
  { tool: "researcher", params: { prompt: "The Danube" } },
  "No river in the world crosses more borders than the Danube, which flows through ten countries."
])

export const program = Effect.gen(function* () {
  const { output, usage } = yield* Agent.run(writer, "Something about the Danube, please")
  yield* Console.log(output)
  yield* Console.log(`${usage.modelCalls} model calls, one of them by the researcher`)
}).pipe(Effect.provide([Researcher, WriterLlm]))

if (import.meta.main) NodeRuntime.runMain(program)
