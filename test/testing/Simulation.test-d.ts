import * as Agent from "effect-agent-runtime/Agent"
import type { AgentError } from "effect-agent-runtime/AgentError"
import type { Llm } from "effect-agent-runtime/Llm"
import { Faults, ScriptedLlm, Simulation } from "effect-agent-runtime/testing"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { describe, expectTypeOf, it } from "vitest"

const agent = Agent.make("counter", { output: Schema.Struct({ count: Schema.Int }) })
const program = Agent.run(agent, "count").pipe(Effect.provide(ScriptedLlm.layer([])))

describe("Simulation", () => {
  it("keeps what a program succeeds and fails with, and adds that it is stuck", () => {
    const outcome = Simulation.run(program)
    expectTypeOf<Effect.Error<typeof outcome>>().toEqualTypeOf<never>()
    expectTypeOf<Effect.Services<typeof outcome>>().toEqualTypeOf<never>()
    expectTypeOf<Effect.Success<typeof outcome>["exit"]>().toEqualTypeOf<
      Exit.Exit<Agent.AgentResult<{ readonly count: number }>, AgentError | Simulation.Stuck>
    >()
  })

  it("takes no program that needs something", () => {
    const needy = Agent.run(agent, "count")
    expectTypeOf(program).toExtend<Parameters<typeof Simulation.run>[0]>()
    expectTypeOf(needy).not.toExtend<Parameters<typeof Simulation.run>[0]>()
  })

  it("gives an invariant the types of the program", () => {
    void Simulation.check(
      program,
      ({ exit }) => {
        expectTypeOf(exit).toEqualTypeOf<
          Exit.Exit<Agent.AgentResult<{ readonly count: number }>, AgentError | Simulation.Stuck>
        >()
        return []
      },
      { seeds: 1 }
    )
    void Simulation.check(program, Simulation.lawsOf(agent), { seeds: 1 })
    // @ts-expect-error the program is no run of an agent
    void Simulation.check(Effect.succeed(1), Simulation.lawsOf(agent), { seeds: 1 })
  })
})

describe("Faults.inject", () => {
  it("leaves a layer its types", () => {
    expectTypeOf(Faults.inject(ScriptedLlm.layer([]))).toEqualTypeOf<Layer.Layer<Llm>>()
  })
})
