/**
 * Tools: what they take and give is a schema, what they do comes from a Layer, and what goes wrong is told to the model.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Agent from "effect-agent-runtime/Agent"
import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

class UnknownCity extends Schema.TaggedError<UnknownCity>()("UnknownCity", { known: Schema.Array(Schema.String) }) {}

const Temperature = Tool.make("temperature", {
  description: "The temperature in a city right now",
  parameters: Schema.Struct({ city: Schema.String }),
  success: Schema.Struct({ celsius: Schema.Finite }),
  failure: UnknownCity,
  // The model learns of the failure and can try something else. With "error" it would end the run.
  failureMode: "return"
})

const Weather = Toolkit.make(Temperature)

const celsius = new Map([
  ["Oslo", -4],
  ["Rome", 16]
])

// A handler that needs services gets them from an Effect: `Weather.toLayer(Effect.gen(function* () { ... }))`.
const WeatherLayer = Weather.toLayer({
  temperature: ({ city }) =>
    celsius.has(city)
      ? Effect.succeed({ celsius: celsius.get(city)! })
      : Effect.fail(new UnknownCity({ known: [...celsius.keys()] }))
})

const forecaster = Agent.make("forecaster", { instructions: "Answer questions about the weather.", toolkit: Weather })

export const program = Effect.gen(function* () {
  const { output, usage } = yield* Agent.run(forecaster, "Is it warmer in Rome or in Osl?")
  yield* Console.log(output)
  yield* Console.log(`${usage.modelCalls} model calls, ${usage.toolCalls} tool calls`)
}).pipe(
  Effect.provide([
    WeatherLayer,
    ScriptedLlm.layer([
      // Both calls of a turn run at the same time.
      [
        { tool: "temperature", params: { city: "Rome" } },
        { tool: "temperature", params: { city: "Osl" } }
      ],
      { tool: "temperature", params: { city: "Oslo" } },
      "In Rome: 16 °C, against -4 °C in Oslo."
    ])
  ])
)

if (import.meta.main) NodeRuntime.runMain(program)
