/**
 * A review loop: an agent writes, two others judge, and what they say goes back to the writer until both are content.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Agent from "effect-agent-runtime/Agent"
import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
import * as Workflow from "effect-agent-runtime/Workflow"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"

const judge = (name: string) => Agent.make(name, { output: Workflow.Verdict })

const asked = ({ input, output }: Workflow.Judged<string, string>) => `Asked: ${input}\nAnswered: ${output}`

const panel = Workflow.make(
  "panel",
  Workflow.parallel(
    "judges",
    {
      facts: Workflow.agent(judge("fact-checker"), { prompt: asked }),
      style: Workflow.agent(judge("stylist"), { prompt: asked })
    },
    { concurrency: 1 }
  ),
  Workflow.transform("verdict", ({ facts, style }) => ({
    accepted: facts.accepted && style.accepted,
    feedback: [facts, style].flatMap(({ accepted, feedback }) => (accepted ? [] : feedback)).join("; ")
  }))
)

const article = Workflow.refine("article", Workflow.agent(Agent.make("writer")), {
  judge: panel,
  revise: ({ input, output, verdict }) => `${input}\nYour draft: ${output}\nTo do better: ${verdict.feedback}`
})

export const program = Workflow.stream(article, "One sentence about the Danube").pipe(
  Stream.runForEach((event) => {
    if (event._tag !== "StepCompleted") return Effect.void
    if (event.name === "writer") return Console.log(`draft ${event.iterations[0]! + 1}: ${event.output}`)
    return event.name === "verdict" ? Console.log(`  ${JSON.stringify(event.output)}`) : Effect.void
  }),
  Effect.provide(
    ScriptedLlm.layer([
      "The Danube is quite long.",
      '{"accepted": true, "feedback": ""}',
      '{"accepted": false, "feedback": "say how long"}',
      "The Danube is 2,850 km long.",
      '{"accepted": true, "feedback": ""}',
      '{"accepted": true, "feedback": ""}'
    ])
  )
)

if (import.meta.main) NodeRuntime.runMain(program)
