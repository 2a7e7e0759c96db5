/**
 * A workflow: two agents work side by side, a third puts their answers together. The last step fails at first; the run
 * goes on from its record, without asking the agents again.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Agent from "effect-agent-runtime/Agent"
import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
import * as Workflow from "effect-agent-runtime/Workflow"
import { WorkflowRun } from "effect-agent-runtime/WorkflowRun"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

class MailboxFull extends Schema.TaggedError<MailboxFull>()("MailboxFull", {}) {}

let mailboxIsFull = true

const newsletter = Workflow.make(
  "newsletter",
  Workflow.parallel("research", {
    facts: Workflow.agent(Agent.make("historian")),
    recipe: Workflow.agent(Agent.make("cook"))
  }),
  Workflow.agent(Agent.make("editor"), { prompt: ({ facts, recipe }) => `Write a letter of:\n${facts}\n${recipe}` }),
  Workflow.effect("send", (letter) =>
    mailboxIsFull ? Effect.fail(new MailboxFull()) : Effect.succeed(`sent: ${letter}`)
  )
)

const RecordJson = Schema.fromJsonString(Schema.toCodecJson(WorkflowRun))

export const program = Effect.gen(function* () {
  const failed = yield* Effect.flip(Workflow.run(newsletter, "Tea"))
  for (const { name, status } of failed.run.steps) yield* Console.log(`${name}: ${status}`)

  const stored = yield* Schema.encodeEffect(RecordJson)(failed.run)
  mailboxIsFull = false
  const { output, run } = yield* Workflow.resume(newsletter, yield* Schema.decodeEffect(RecordJson)(stored))
  yield* Console.log(output)
  yield* Console.log(`${run.usage.modelCalls} model calls in all`)
}).pipe(
  Effect.provide(ScriptedLlm.layer(["From Yunnan.", "Leaves, hot water.", "Dear reader, tea comes from Yunnan …"]))
)

if (import.meta.main) NodeRuntime.runMain(program)
