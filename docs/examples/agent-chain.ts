/**
 * A chain of two agents. Each has a conversation of its own, and the second gets what the first answered; in the second
 * run they share one, and the second sees what the first was asked, too.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Agent from "effect-agent-runtime/Agent"
import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
import * as Workflow from "effect-agent-runtime/Workflow"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"

const article = Workflow.make(
  "article",
  Workflow.agent(Agent.make("researcher", { instructions: "List facts." }), {
    prompt: (topic: string) => `What is there to know about ${topic}?`
  }),
  Workflow.agent(Agent.make("writer", { instructions: "Write a sentence." }))
)

const script = ["A leaf. From Yunnan.", "Tea is a leaf from Yunnan."]

export const program = Effect.gen(function* () {
  const { output, run } = yield* Workflow.run(article, "tea")
  for (const step of run.steps) yield* Console.log(`${step.name} < ${step.input}`)
  yield* Console.log(output)

  const shared = yield* Workflow.run(Workflow.withConversation(article, "shared"), "tea")
  const roles = Array.from(shared.history, ({ role }) => role)
  yield* Console.log(`${shared.output} (${roles.join(", ")})`)
}).pipe(Effect.provide(ScriptedLlm.layer([...script, ...script])))

if (import.meta.main) NodeRuntime.runMain(program)
