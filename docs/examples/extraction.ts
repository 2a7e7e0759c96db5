/**
 * Data out of text: documents in, typed records out, several at a time. What each document says is a union, and the
 * record grows on the screen while the model writes it.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Agent from "effect-agent-runtime/Agent"
import * as Llm from "effect-agent-runtime/Llm"
import * as OutputTool from "effect-agent-runtime/middleware/OutputTool"
import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"

const Order = Schema.Struct({ kind: Schema.Literal("order"), item: Schema.String, count: Schema.Int })
const Complaint = Schema.Struct({ kind: Schema.Literal("complaint"), about: Schema.String, since: Schema.Date })

const reader = Agent.make("reader", {
  instructions: "Say what the customer wants.",
  output: Schema.Union([Order, Complaint])
})

const letters = ["Two teapots please.", "My kettle has been leaking since New Year!"]

const records = Effect.forEach(letters, (letter) => Agent.run(reader, letter), { concurrency: 2 }).pipe(
  Effect.flatMap((results) =>
    Effect.forEach(results, ({ output }) =>
      // The union is narrowed by its tag, and `since` is a Date.
      output.kind === "order"
        ? Console.log(`Order: ${output.count} × ${output.item}`)
        : Console.log(`Complaint: ${output.about}, since ${output.since.getUTCFullYear()}`)
    )
  ),
  Effect.provide(
    ScriptedLlm.layer([
      '{ "kind": "order", "item": "teapot", "count": 2 }',
      '{ "kind": "complaint", "about": "a leaking kettle", "since": "2026-01-01T00:00:00.000Z" }'
    ])
  )
)

/** A model without a response format answers by a tool instead: the agent is the same. */
const byTool = Agent.streamOutput(reader, letters[0]!).pipe(
  Stream.runForEach((record) => Console.log(JSON.stringify(record))),
  Effect.provide(
    ScriptedLlm.layer([{ tool: "final_answer", params: { answer: { kind: "order", item: "teapot", count: 2 } } }]).pipe(
      Llm.withMiddleware(OutputTool.make())
    )
  )
)

export const program = Effect.andThen(records, byTool)

if (import.meta.main) NodeRuntime.runMain(program)
