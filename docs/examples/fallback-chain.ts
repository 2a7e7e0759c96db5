/**
 * A model that fails, and another that takes over: retries within each provider, fallback between them. The run tells of
 * every attempt, so that nobody reads words of an answer that was given up.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Agent from "effect-agent-runtime/Agent"
import * as Llm from "effect-agent-runtime/Llm"
import * as Fallback from "effect-agent-runtime/middleware/Fallback"
import * as Retry from "effect-agent-runtime/middleware/Retry"
import * as Timeout from "effect-agent-runtime/middleware/Timeout"
import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
import * as AiError from "effect/ai/AiError"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"

const overloaded = AiError.make({
  module: "Example",
  method: "generate",
  reason: new AiError.InternalProviderError({ description: "overloaded" })
})

// In place of these: OpenAiLlm.layerConfig() and AnthropicLlm.layerConfig().
const First = ScriptedLlm.layer([], overloaded)
const Second = ScriptedLlm.layer(["All is well here."])

const reliable = Llm.withMiddleware(Timeout.make(), Retry.make({ schedule: Schedule.recurs(1) }))

const Model = Fallback.layer([
  { name: "first", llm: First.pipe(reliable) },
  { name: "second", llm: Second.pipe(reliable) }
])

export const program = Agent.stream(Agent.make("helper"), "How are you?").pipe(
  Stream.runForEach((event) => {
    switch (event._tag) {
      case "ModelCallRetried":
        return Console.log(`${event.reason}: ${event.model === undefined ? "again" : `on to ${event.model}`}`)
      case "RunCompleted":
        return Console.log(event.text)
      default:
        return Effect.void
    }
  }),
  Effect.provide(Model)
)

if (import.meta.main) NodeRuntime.runMain(program)
