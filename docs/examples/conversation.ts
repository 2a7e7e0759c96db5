/**
 * A conversation: the history of a run is the beginning of the next one. It is a value, so it can also be kept, sent
 * elsewhere, or gone on with in two ways.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Agent from "effect-agent-runtime/Agent"
import * as History from "effect-agent-runtime/History"
import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

const assistant = Agent.make("assistant", { instructions: "Be helpful." })

const HistoryJson = Schema.fromJsonString(History.History)

export const program = Effect.gen(function* () {
  let history = History.empty
  for (const prompt of ["My name is Ada.", "What is my name?"]) {
    const result = yield* Agent.run(assistant, { history, prompt })
    yield* Console.log(`> ${prompt}\n${result.output}`)
    history = result.history
  }

  const saved = yield* Schema.encodeEffect(HistoryJson)(history)
  const restored = yield* Schema.decodeEffect(HistoryJson)(saved)
  const { output } = yield* Agent.run(assistant, { history: restored, prompt: "Spell it." })
  yield* Console.log(`> Spell it.\n${output}`)
}).pipe(Effect.provide(ScriptedLlm.layer(["Nice to meet you, Ada.", "Your name is Ada.", "A, D, A."])))

if (import.meta.main) NodeRuntime.runMain(program)
