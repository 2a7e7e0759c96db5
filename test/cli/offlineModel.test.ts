import { assert, describe, it } from "@effect/vitest"
import * as Agent from "effect-agent-runtime/Agent"
import type { AgentEvent } from "effect-agent-runtime/AgentEvent"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as OfflineModel from "../../src/cli/offlineModel.ts"
import * as Tools from "../../src/cli/tools.ts"

const agent = Agent.make("assistant", { toolkit: Tools.toolkit })

const layer = Layer.merge(OfflineModel.layer, Tools.layer)

const run = (input: Agent.AgentInput) => Agent.run(agent, input).pipe(Effect.provide(layer))

/** The tool calls of a run, turn by turn. */
const callsByTurn = (events: ReadonlyArray<AgentEvent>) => {
  const turns: Array<Array<unknown>> = []
  for (const event of events) {
    if (event._tag === "TurnStarted") turns.push([])
    if (event._tag === "ToolCallStarted") turns.at(-1)!.push(event.params)
  }
  return turns
}

const events = (question: string) => Stream.runCollect(Agent.stream(agent, question)).pipe(Effect.provide(layer))

describe("the offline model", () => {
  it.effect("works out an expression with one call after the other", () =>
    Effect.gen(function* () {
      const all = yield* events("What is (5 + 3) * 2 - 4?")
      assert.deepStrictEqual(callsByTurn(all), [
        [{ operation: "add", a: 5, b: 3 }],
        [{ operation: "multiply", a: 8, b: 2 }],
        [{ operation: "subtract", a: 16, b: 4 }],
        []
      ])
      const deltas = all.flatMap((event) => (event._tag === "TextDelta" ? [event.delta] : []))
      assert.isAbove(deltas.length, 1)
      assert.strictEqual(deltas.join(""), "(5 + 3) * 2 - 4 is 12.")
    })
  )

  it.effect("asks for independent parts in the same turn", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(callsByTurn(yield* events("(1 + 2) * (3 + 4) and 5 - 6")), [
        [
          { operation: "add", a: 1, b: 2 },
          { operation: "add", a: 3, b: 4 },
          { operation: "subtract", a: 5, b: 6 }
        ],
        [{ operation: "multiply", a: 3, b: 7 }],
        []
      ])
    })
  )

  it.effect.each([
    ["(2 + 3) * (2 + 3)", "(2 + 3) * (2 + 3) is 25."],
    ["1 + 2, and 3 * 4?", "1 + 2 is 3. 3 * 4 is 12."],
    ["0.1 + 0.2", "0.1 + 0.2 is 0.3."],
    ["6 / (3 - 3)", "I cannot work out 6 / (3 - 3): 6 cannot be divided by zero."],
    ["1e308 * 10", "I cannot work out 1e308 * 10: the result is too large."],
    ["What time is it?", "It is 1970-01-01T00:00:00.000+00:00[UTC]."]
  ] as const)("answers %j", ([question, answer]) =>
    Effect.gen(function* () {
      assert.strictEqual((yield* run(question)).output, answer)
    })
  )

  it.effect("says what it can do when there is nothing to work out", () =>
    Effect.gen(function* () {
      const { output, usage } = yield* run("Who are you?")
      assert.include(output, "offline stand-in")
      assert.strictEqual(usage.toolCalls, 0)
    })
  )

  it.effect("answers the last question of a conversation", () =>
    Effect.gen(function* () {
      const { history } = yield* run("1 / 0")
      assert.strictEqual((yield* run({ history, prompt: "And 1 + 1?" })).output, "1 + 1 is 2.")
    })
  )
})
