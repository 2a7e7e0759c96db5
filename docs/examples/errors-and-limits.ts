/**
 * How runs fail: one `AgentError` with a reason, and the run as far as it got.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Agent from "effect-agent-runtime/Agent"
import * as StopCondition from "effect-agent-runtime/StopCondition"
import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

const Pages = Toolkit.make(
  Tool.make("read_page", { parameters: Schema.Struct({ page: Schema.Int }), success: Schema.String })
)

const reader = Agent.make("reader", {
  toolkit: Pages,
  // Whichever comes first. An agent without conditions stops after 10 turns.
  stopWhen: StopCondition.or(StopCondition.maxTurns(2), StopCondition.tokensAbove(10_000))
})

export const program = Effect.gen(function* () {
  const output = yield* Agent.run(reader, "What is the book about?").pipe(
    Effect.map((result) => result.output),
    // One reason: here, go on from where the run stopped. The history of a failed run is complete.
    Effect.catchReason("AgentError", "TurnLimitReached", (reason, { partial }) =>
      Effect.gen(function* () {
        yield* Console.log(`${reason.message}, after ${partial.usage.toolCalls} pages. Going on.`)
        const resumed = yield* Agent.run(reader, { history: partial.history })
        return resumed.output
      })
    ),
    // All others.
    Effect.catchTag("AgentError", (error) => Effect.succeed(`Failed: ${error.message}`))
  )
  yield* Console.log(output)
}).pipe(
  Effect.provide([
    Pages.toLayer({ read_page: ({ page }) => Effect.succeed(`The text of page ${page}`) }),
    ScriptedLlm.layer([
      { tool: "read_page", params: { page: 1 } },
      { tool: "read_page", params: { page: 2 } },
      "It is about a whale."
    ])
  ])
)

if (import.meta.main) NodeRuntime.runMain(program)
