import { assert, describe, it } from "@effect/vitest"
import * as Agent from "effect-agent-runtime/Agent"
import * as Llm from "effect-agent-runtime/Llm"
import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"
import type * as Scope from "effect/Scope"

/** Puts a name before and behind what the model is asked. */
const naming =
  (name: string): Llm.Middleware =>
  (llm) =>
    Effect.succeed({
      generate: (request, onDelta) =>
        llm.generate({ ...request, instructions: `${name}(${request.instructions})` }, onDelta)
    })

describe("withMiddleware", () => {
  it.effect("wraps from the provider outwards, in the order of the list", () =>
    Effect.gen(function* () {
      let asked = ""
      const layer = ScriptedLlm.layer([
        ({ instructions }) => {
          asked = instructions
          return "Hello"
        }
      ]).pipe(Llm.withMiddleware(naming("inner"), naming("outer")))
      const agent = Agent.make("helper", { instructions: "x" })
      assert.strictEqual((yield* Effect.provide(Agent.run(agent, "Hi"), layer)).text, "Hello")
      assert.strictEqual(asked, "inner(outer(x))")
    })
  )

  it.effect("gives middleware a scope that lives as long as the layer", () =>
    Effect.gen(function* () {
      const log = yield* Ref.make<ReadonlyArray<string>>([])
      const note = (line: string) => Ref.update(log, (lines) => [...lines, line])
      const scoped: Llm.Middleware<Scope.Scope> = (llm) =>
        Effect.as(
          Effect.acquireRelease(note("open"), () => note("closed")),
          llm
        )
      const layer = ScriptedLlm.layer(["Hello"]).pipe(Llm.withMiddleware(scoped))
      yield* Effect.provide(Effect.andThen(Agent.run(Agent.make("helper"), "Hi"), note("ran")), layer)
      assert.deepStrictEqual(yield* Ref.get(log), ["open", "ran", "closed"])
    })
  )
})
