/**
 * A budget for a whole family of runs: an editor and its researchers draw from one account, nothing is spent beyond it,
 * and something is kept back for an answer.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Agent from "effect-agent-runtime/Agent"
import * as Budget from "effect-agent-runtime/Budget"
import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
import * as Toolkit from "effect/ai/Toolkit"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

const researcher = Agent.make("researcher", {
  instructions: "Find out what you are asked.",
  // What a call may write is reserved before it, so a smaller number lets more of them run at the same time.
  maxTokens: 200,
  // Each of its runs, as part of the budget around.
  budget: { modelCalls: 3 }
})
const research = Agent.asTool(researcher, { description: "Finds something out" })

const editor = Agent.make("editor", {
  instructions: "Write a short article.",
  maxTokens: 200,
  toolkit: Toolkit.make(research.tool)
})

const ask = (prompt: string): ScriptedLlm.ScriptedCall => ({ tool: "researcher", params: { prompt } })

export const program = Effect.gen(function* () {
  const { text } = yield* Agent.run(editor, "Write about rivers.")
  yield* Console.log(text)
  const budget = yield* Budget.current
  for (const { agent, modelCalls, tokens } of budget?.byAgent ?? []) {
    yield* Console.log(`${agent}: ${modelCalls} model calls, ${tokens} tokens`)
  }
  // Nothing is left but what comes now: the next run is refused before it asks the model.
  yield* Agent.run(editor, "Write about lakes.")
}).pipe(
  Budget.limit({
    name: "article",
    tokens: 10_000,
    costUsd: 0.5,
    modelCalls: 5,
    duration: "5 minutes",
    grace: { tokens: 1000, costUsd: 0.05 }
  }),
  Effect.catchReason("AgentError", "BudgetExceeded", (reason) =>
    Console.log(
      `${reason.message}\n${reason.breakdown.map(({ agent, spent }) => `  ${spent} by the ${agent}`).join("\n")}`
    )
  ),
  Effect.provide([
    Layer.provide(research.layer, ScriptedLlm.layer([], "The Danube flows through ten countries.")),
    ScriptedLlm.layer([
      [ask("Which river crosses most borders?"), ask("Where does it end?")],
      ask("How long is it?"),
      // The last model call that is left: it is told to answer without tools.
      "The Danube flows through ten countries. How long it is, I could not find out."
    ])
  ])
)

if (import.meta.main) NodeRuntime.runMain(program)
