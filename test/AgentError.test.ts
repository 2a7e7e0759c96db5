import { assert, describe, it } from "@effect/vitest"
import * as AgentError from "effect-agent-runtime/AgentError"
import * as History from "effect-agent-runtime/History"
import * as Usage from "effect-agent-runtime/Usage"
import * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

const codec = Schema.toCodecJson(AgentError.AgentError)
const throughJson = (error: AgentError.AgentError): AgentError.AgentError =>
  Schema.decodeUnknownSync(codec)(JSON.parse(JSON.stringify(Schema.encodeSync(codec)(error))))

const aiError = AiError.make({
  module: "Test",
  method: "generate",
  reason: new AiError.RateLimitError({})
})

const exceeded = (
  fields: Pick<AgentError.BudgetExceeded, "budget" | "limit" | "spent" | "reserved" | "requested">
): AgentError.BudgetExceeded =>
  new AgentError.BudgetExceeded({ account: ["nightly", "bot"], breakdown: [{ agent: "bot", spent: 1 }], ...fields })

/** Each reason with what it says. */
const reasons: ReadonlyArray<readonly [AgentError.AgentErrorReason, string]> = [
  [new AgentError.InvalidInput({ issue: "no prompt" }), "Invalid input: no prompt"],
  [new AgentError.ModelFailed({ error: aiError }), `The model call failed: ${aiError.message}`],
  [new AgentError.ContextOverflow({ error: aiError }), "The conversation is too long for the model"],
  [
    new AgentError.ContextOverflow({ error: aiError, limit: 100, used: 120 }),
    "The conversation of 120 tokens is too long for the model, which takes 100"
  ],
  [
    new AgentError.ContextOverflow({ limit: 100, used: 120 }),
    "The conversation of 120 tokens is too long for the context window, which takes 100"
  ],
  [new AgentError.TurnLimitReached({ limit: 1 }), "No final answer within 1 turn"],
  [new AgentError.TurnLimitReached({ limit: 10 }), "No final answer within 10 turns"],
  [new AgentError.TokenLimitReached({ limit: 10, used: 12 }), "Used 12 tokens of 10 without a final answer"],
  [new AgentError.TimeLimitReached({ limitMillis: 500, elapsedMillis: 600 }), "No final answer within 500 ms"],
  [
    new AgentError.LoopDetected({ tool: "search", params: { q: 1 }, kind: "failing" }),
    "The model is going in circles with tool 'search' (failing)"
  ],
  [
    new AgentError.OutputInvalid({ text: "x", issue: "Expected a number", attempts: 3 }),
    "The answer does not match the output schema after 3 attempts: Expected a number"
  ],
  [
    exceeded({ budget: "tokens", limit: 1000, spent: 700, reserved: 200, requested: 300 }),
    "The budget 'nightly / bot' has not enough tokens left: 300 needed, 700 of 1000 spent and 200 reserved"
  ],
  [
    exceeded({ budget: "costUsd", limit: 0.5, spent: 0.4, reserved: 0, requested: 0.25 }),
    "The budget 'nightly / bot' has not enough USD left: 0.25 needed, 0.4 of 0.5 spent"
  ],
  [
    exceeded({ budget: "duration", limit: 500, spent: 500, reserved: 0, requested: 0 }),
    "The budget 'nightly / bot' allows 500 ms, which are over"
  ],
  [
    exceeded({ budget: "depth", limit: 2, spent: 2, reserved: 0, requested: 3 }),
    "The budget 'nightly / bot' allows 2 runs in each other"
  ]
]

const partial = {
  history: History.appendUser(History.empty, "hi"),
  usage: { ...Usage.zero, modelCalls: 1 },
  turns: 1,
  text: "so far"
}
const failing = (reason: AgentError.AgentErrorReason) => new AgentError.AgentError({ agent: "bot", reason, partial })
const byTag = reasons.map((row) => [row[0]._tag, ...row] as const)

describe("a reason", () => {
  it("of each tag is in the table above", () => {
    const tags = AgentError.AgentErrorReason.members.map((member) => member.fields._tag.schema.literal)
    assert.deepStrictEqual(new Set(byTag.map(([tag]) => tag)), new Set(tags))
  })

  it.each(byTag)("%s says what happened, and the error says to whom", (_, reason, message) => {
    assert.strictEqual(reason.message, message)
    assert.strictEqual(failing(reason).message, `Agent 'bot': ${message}`)
  })
})

describe("AgentError", () => {
  it.each(byTag)("survives JSON with the reason %s and the partial run", (tag, reason) => {
    const error = throughJson(failing(reason))
    assert.instanceOf(error, AgentError.AgentError)
    assert.strictEqual(error.message, failing(reason).message)
    assert.strictEqual(error.reason._tag, tag)
    assert.isTrue(History.isHistory(error.partial.history))
    assert.deepStrictEqual(
      { ...error.partial, history: History.toMessages(error.partial.history) },
      { ...partial, history: History.toMessages(partial.history) }
    )
  })

  it.prop(
    "survives JSON, whatever is in it",
    [AgentError.AgentError],
    ([error]) => {
      const stored = (value: AgentError.AgentError) => JSON.stringify(Schema.encodeSync(codec)(value))
      assert.strictEqual(stored(throughJson(error)), stored(error))
    },
    { arbitrary: { runs: 300, size: 4 } }
  )

  it.effect("is caught by its tag and by its reason", () =>
    Effect.gen(function* () {
      const run: Effect.Effect<string, AgentError.AgentError> = failing(new AgentError.TurnLimitReached({ limit: 3 }))
      assert.strictEqual(yield* Effect.catchTag(run, "AgentError", (error) => Effect.succeed(error.agent)), "bot")
      assert.strictEqual(
        yield* Effect.catchReason(run, "AgentError", "TurnLimitReached", (reason, error) =>
          Effect.succeed(`${reason.limit}: ${error.partial.text}`)
        ),
        "3: so far"
      )
      const other = Effect.catchReason(run, "AgentError", "LoopDetected", () => Effect.succeed("caught"))
      assert.strictEqual((yield* Effect.flip(other))._tag, "AgentError")
    })
  )
})

describe("InvalidAgent", () => {
  it("names the option that is wrong, and is no failure of a run", () => {
    const error = new AgentError.InvalidAgent({ field: "maxTurns", issue: "must be at least 1, is 0" })
    assert.strictEqual(error.message, "Invalid agent: maxTurns must be at least 1, is 0")
    assert.isFalse(Schema.is(AgentError.AgentErrorReason)(error))
  })
})
