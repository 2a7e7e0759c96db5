/**
 * A run as a stream of events: text appears while the model writes it.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Agent from "effect-agent-runtime/Agent"
import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"

const poet = Agent.make("poet", { instructions: "Write a haiku." })

const write = (text: string) => Effect.sync(() => process.stdout.write(text))

export const program = Agent.stream(poet, "About rain").pipe(
  Stream.runForEach((event) => {
    switch (event._tag) {
      case "TextDelta":
        return write(event.delta)
      case "RunCompleted":
        return Console.log(`\n-- ${event.usage.outputTokens} tokens`)
      default:
        return Effect.void
    }
  }),
  Effect.provide(ScriptedLlm.layer(["Rain on the tin roof,\na thousand small drummers play\nuntil I can sleep."]))
)

if (import.meta.main) NodeRuntime.runMain(program)
