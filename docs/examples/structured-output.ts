/**
 * An answer that is data: the model is asked for JSON, the schema checks it, and a wrong answer goes back to the model.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Agent from "effect-agent-runtime/Agent"
import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

const Recipe = Schema.Struct({
  name: Schema.String,
  minutes: Schema.Int,
  ingredients: Schema.Array(Schema.String)
})

const cook = Agent.make("cook", { instructions: "Suggest a recipe.", output: Recipe })

export const program = Effect.gen(function* () {
  const { output, turns } = yield* Agent.run(cook, "Something quick with eggs")
  //      ^ { readonly name: string; readonly minutes: number; readonly ingredients: ReadonlyArray<string> }
  yield* Console.log(`${output.name}, ${output.minutes} minutes: ${output.ingredients.join(", ")}`)
  yield* Console.log(`It took ${turns} turns to get the format right.`)
}).pipe(
  Effect.provide(
    ScriptedLlm.layer([
      '{ "name": "Omelette", "minutes": "ten" }',
      '{ "name": "Omelette", "minutes": 10, "ingredients": ["eggs", "butter"] }'
    ])
  )
)

if (import.meta.main) NodeRuntime.runMain(program)
