import { assert, it } from "@effect/vitest"
import * as Agent from "effect-agent-runtime/Agent"
import * as StopCondition from "effect-agent-runtime/StopCondition"
import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
import * as Workflow from "effect-agent-runtime/Workflow"
import * as Effect from "effect/Effect"
import * as PlatformError from "effect/PlatformError"
import * as Failure from "../../src/cli/failure.ts"

const writing = (code: string, message: string) =>
  Failure.from(
    PlatformError.systemError({
      _tag: "Unknown",
      module: "Stdio",
      method: "stdout",
      cause: Object.assign(new Error(message), { code })
    })
  ).message

it("tells a pipe that was closed from a disk that is full", () => {
  assert.strictEqual(writing("EPIPE", "write EPIPE"), "Nobody reads the output any more.")
  assert.match(writing("ENOSPC", "no space left on device"), /^Input or output: .*no space left on device$/)
})

it.effect("advises no flag that a workflow does not take", () =>
  Effect.gen(function* () {
    const agent = Agent.make("a", { stopWhen: StopCondition.maxTurns(1) })
    const llm = ScriptedLlm.layer([], [{ tool: "none" }])
    const ofAgent = Failure.from(yield* Agent.run(agent, "hi").pipe(Effect.provide(llm), Effect.flip))
    const ofWorkflow = Failure.from(
      yield* Workflow.run(Workflow.make("w", Workflow.agent(agent)), "hi").pipe(Effect.provide(llm), Effect.flip)
    )
    assert.include(ofAgent.message, "Allow more with --max-turns, or 'limits.turns' of the agent.")
    assert.include(ofWorkflow.message, "Allow more with 'limits.turns' of the agent.")
    assert.strictEqual(ofWorkflow.exitCode, ofAgent.exitCode)
  })
)
