/**
 * Many runs at once, never more than a few at the same time. A run is an Effect, so this is `Effect.forEach`.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Agent from "effect-agent-runtime/Agent"
import * as History from "effect-agent-runtime/History"
import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
import * as Usage from "effect-agent-runtime/Usage"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"

const translator = Agent.make("translator", { instructions: "Translate into English." })

const words = ["Fuchs", "Hase", "Igel", "Dachs", "Eule"]

const english: Record<string, string> = { Fuchs: "fox", Hase: "hare", Igel: "hedgehog", Dachs: "badger", Eule: "owl" }

export const program = Effect.gen(function* () {
  let done = 0
  const results = yield* Effect.forEach(
    words,
    (word) =>
      Agent.run(translator, word).pipe(Effect.tap(() => Console.log(`${++done} of ${words.length} are translated`))),
    { concurrency: 2 }
  )
  // Results are in the order of the words, whichever run was faster. When one fails, the others are interrupted.
  yield* Console.log(results.map((result) => result.output).join(", "))
  const usage = Usage.combineAll(results.map((result) => result.usage))
  yield* Console.log(`${usage.modelCalls} model calls, ${Usage.totalTokens(usage)} tokens`)
}).pipe(
  Effect.provide(
    // No script, but a function that answers every request.
    ScriptedLlm.layer([], (request) => {
      const [message] = request.history
      return message?.role === "user" ? (english[History.userText(message.content)] ?? "?") : "?"
    })
  )
)

if (import.meta.main) NodeRuntime.runMain(program)
