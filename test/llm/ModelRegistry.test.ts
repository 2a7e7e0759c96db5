import { assert, describe, it } from "@effect/vitest"
import * as Agent from "effect-agent-runtime/Agent"
import * as Llm from "effect-agent-runtime/Llm"
import * as ModelRegistry from "effect-agent-runtime/llm/ModelRegistry"
import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"

const asks = (model: string | undefined) => Agent.make("helper", { model })

const run = (agent: ReturnType<typeof asks>) => {
  const large = ScriptedLlm.make([], "large")
  const small = ScriptedLlm.make([], "small")
  const layer = ModelRegistry.layer(
    { large: Layer.succeed(Llm.Llm, large), small: Layer.succeed(Llm.Llm, small) },
    "small"
  )
  return Effect.map(Effect.exit(Effect.provide(Agent.run(agent, "Hi"), layer)), (exit) => ({ exit, large, small }))
}

describe("a registry", () => {
  it.effect("asks the model of the name, which answers with its own model", () =>
    Effect.gen(function* () {
      const { exit, large, small } = yield* run(asks("large"))
      assert.isTrue(Exit.isSuccess(exit) && exit.value.text === "large")
      assert.strictEqual(large.requests[0]!.sampling.model, undefined)
      assert.strictEqual(small.requests.length, 0)
    })
  )

  it.effect("asks the default when no name is given", () =>
    Effect.gen(function* () {
      const { exit } = yield* run(asks(undefined))
      assert.isTrue(Exit.isSuccess(exit) && exit.value.text === "small")
    })
  )

  it.effect("refuses a name it does not have, and names those it has", () =>
    Effect.gen(function* () {
      const { exit } = yield* run(asks("huge"))
      assert.isTrue(Exit.isFailure(exit))
      assert.match(String(exit), /There is no model 'huge'. The models are: large, small/)
    })
  )

  it.effect("fails to build with any of its layers", () =>
    Effect.gen(function* () {
      const broken = Layer.effect(Llm.Llm, Effect.fail("no key" as const))
      const layer = ModelRegistry.layer({ good: ScriptedLlm.layer([]), broken }, "good")
      const error: "no key" = yield* Effect.flip(Effect.scoped(Layer.build(layer)))
      assert.strictEqual(error, "no key")
    })
  )
})
