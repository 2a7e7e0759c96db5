import * as Agent from "effect-agent-runtime/Agent"
import type { AgentError, BudgetExceeded } from "effect-agent-runtime/AgentError"
import * as Budget from "effect-agent-runtime/Budget"
import type { Llm } from "effect-agent-runtime/Llm"
import * as Effect from "effect/Effect"
import { describe, expectTypeOf, it } from "vitest"

const agent = Agent.make("helper", { budget: { tokens: 1000, duration: "1 minute" } })
const run = Agent.run(agent, "Hi")

describe("limit", () => {
  it("leaves the type of the effect as it is, before and after it", () => {
    expectTypeOf(run.pipe(Budget.limit({ tokens: 1000 }))).toEqualTypeOf<
      Effect.Effect<Agent.AgentResult<string>, AgentError, Llm>
    >()
    expectTypeOf(
      Budget.limit(
        Effect.forEach(["a"], () => run),
        { modelCalls: 2 }
      )
    ).toEqualTypeOf<Effect.Effect<Array<Agent.AgentResult<string>>, AgentError, Llm>>()
  })

  it("refuses in a way that can be caught alone", () => {
    const caught = run.pipe(
      Effect.catchReason("AgentError", "BudgetExceeded", (reason) => {
        expectTypeOf(reason).toEqualTypeOf<BudgetExceeded>()
        return Effect.succeed(reason.breakdown)
      })
    )
    expectTypeOf<Effect.Error<typeof caught>>().toEqualTypeOf<AgentError>()
  })

  it("takes no limits that there are not", () => {
    // @ts-expect-error -- a name that is not one of a limit
    Budget.limit({ token: 1000 })
    // @ts-expect-error -- the name of an agent's budget is the agent's
    Agent.make("helper", { budget: { name: "other" } })
  })
})

describe("current", () => {
  it("needs nothing and does not fail", () => {
    expectTypeOf(Budget.current).toEqualTypeOf<Effect.Effect<Budget.View | undefined>>()
  })
})
