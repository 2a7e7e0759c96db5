/**
 * A model on your own machine: any server that speaks Chat Completions, such as llama.cpp, Ollama, LM Studio or vLLM.
 *
 *     LLAMA_BASE_URL=http://localhost:11434 OPENAI_MODEL=qwen3:8b node docs/examples/local-model.ts
 */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Agent from "effect-agent-runtime/Agent"
import * as Llm from "effect-agent-runtime/Llm"
import * as OpenAiLlm from "effect-agent-runtime/llm/OpenAiLlm"
import * as OutputTool from "effect-agent-runtime/middleware/OutputTool"
import * as ThinkBlocks from "effect-agent-runtime/middleware/ThinkBlocks"
import * as Config from "effect/Config"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"

const baseUrl = Config.String("LLAMA_BASE_URL").pipe(Config.withDefault("http://127.0.0.1:8080"))
const model = Config.String("OPENAI_MODEL").pipe(Config.withDefault("default"))

const Local = Layer.unwrap(
  Effect.map(Config.all({ baseUrl, model }), (options) =>
    OpenAiLlm.layer(options).pipe(
      // Small models write their reasoning into the text, and follow a tool better than a format.
      Llm.withMiddleware(ThinkBlocks.make(), OutputTool.make())
    )
  )
).pipe(Layer.provide(NodeHttpClient.layerUndici))

const guide = Agent.make("guide", {
  instructions: "Answer about cities.",
  output: Schema.Struct({ city: Schema.String, river: Schema.String })
})

export const program = Agent.run(guide, "Which river flows through Bern?").pipe(
  Effect.flatMap(({ output }) => Console.log(`The ${output.river} flows through ${output.city}.`)),
  Effect.catchReason("AgentError", "ModelFailed", ({ error }) =>
    error.reason._tag === "NetworkError"
      ? Console.log("Nobody answers there: start a server, and set LLAMA_BASE_URL to where it is.")
      : Effect.fail(error)
  ),
  Effect.provide(Local)
)

if (import.meta.main) NodeRuntime.runMain(program)
