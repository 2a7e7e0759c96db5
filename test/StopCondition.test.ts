import { assert, describe, it } from "@effect/vitest"
import { InvalidAgent } from "effect-agent-runtime/AgentError"
import * as StopCondition from "effect-agent-runtime/StopCondition"
import * as Usage from "effect-agent-runtime/Usage"
import * as Arbitrary from "effect/Arbitrary"
import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"

const small = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 6 }))

const View: Arbitrary.Arbitrary<StopCondition.RunView> = Arbitrary.map(
  Arbitrary.schema(
    Schema.Struct({
      turns: small,
      inputTokens: small,
      outputTokens: small,
      lastToolCalls: Schema.Array(Schema.Literals(["search", "answer"])),
      elapsedMillis: small
    })
  ),
  ({ elapsedMillis, inputTokens, lastToolCalls, outputTokens, turns }) => ({
    turns,
    lastCalls: lastToolCalls.map((name) => ({ name, params: {} })),
    elapsedMillis,
    usage: { ...Usage.zero, inputTokens, outputTokens, cachedInputTokens: 99, cacheWriteTokens: 0, reasoningTokens: 99 }
  })
)

const conditions = {
  turns: StopCondition.maxTurns(3),
  manyTurns: StopCondition.maxTurns(5),
  tokens: StopCondition.tokensAbove(4),
  time: StopCondition.after("3 millis"),
  goal: StopCondition.hasToolCall("answer"),
  odd: StopCondition.goal((run) => run.turns % 2 === 1),
  unlimited: StopCondition.unlimited
}
const Condition = Arbitrary.map(
  Arbitrary.schema(Schema.Literals(Object.keys(conditions) as [keyof typeof conditions])),
  (name) => conditions[name]
)

/** What a condition says, in a form that can be compared. */
const said = (condition: StopCondition.StopCondition, view: StopCondition.RunView): unknown => {
  const stop = condition.check(view)
  return stop === undefined || stop === "goal" ? stop : { ...stop }
}

const is = (self: StopCondition.StopCondition, that: StopCondition.StopCondition, view: StopCondition.RunView) => {
  assert.deepStrictEqual(said(self, view), said(that, view))
  assert.deepStrictEqual([self.boundsTurns, self.usesClock], [that.boundsTurns, that.usesClock])
}

describe("a condition", () => {
  it.prop("ends the run exactly when its limit is reached, with a reason that says so", [View], ([view]) => {
    const { elapsedMillis, lastCalls, turns, usage } = view
    const used = usage.inputTokens + usage.outputTokens
    const expect = (name: keyof typeof conditions, stop: unknown) =>
      assert.deepStrictEqual(said(conditions[name], view), stop, name)
    expect("turns", turns >= 3 ? { _tag: "TurnLimitReached", limit: 3 } : undefined)
    expect("tokens", used > 4 ? { _tag: "TokenLimitReached", limit: 4, used } : undefined)
    expect("time", elapsedMillis >= 3 ? { _tag: "TimeLimitReached", limitMillis: 3, elapsedMillis } : undefined)
    expect("goal", lastCalls.some(({ name }) => name === "answer") ? "goal" : undefined)
    expect("odd", turns % 2 === 1 ? "goal" : undefined)
    expect("unlimited", undefined)
  })

  it("says what it needs", () => {
    assert.deepStrictEqual(
      Object.entries(conditions).map(([name, { boundsTurns, usesClock }]) => [name, boundsTurns, usesClock]),
      [
        ["turns", true, false],
        ["manyTurns", true, false],
        ["tokens", false, false],
        ["time", false, true],
        ["goal", false, false],
        ["odd", false, false],
        ["unlimited", true, false]
      ]
    )
  })

  it("refuses a limit that lets nothing happen, naming the field", () => {
    const field = (make: () => unknown) => {
      try {
        make()
        return undefined
      } catch (error) {
        assert.instanceOf(error, InvalidAgent)
        return error.field
      }
    }
    for (const limit of [0, -1, Number.NaN]) {
      assert.strictEqual(
        field(() => StopCondition.maxTurns(limit)),
        "maxTurns"
      )
      assert.strictEqual(
        field(() => StopCondition.tokensAbove(limit)),
        "tokensAbove"
      )
      assert.strictEqual(
        field(() => StopCondition.after(limit)),
        "after"
      )
    }
    assert.isUndefined(field(() => [StopCondition.maxTurns(1), StopCondition.after(Duration.infinity)]))
  })
})

describe("or", () => {
  it.prop(
    "ends the run when one condition does, the way of the first",
    [Condition, Condition, View],
    ([a, b, view]) => {
      const either = StopCondition.or(a, b)
      assert.deepStrictEqual(said(either, view), said(a, view) ?? said(b, view))
      assert.strictEqual(either.boundsTurns, a.boundsTurns || b.boundsTurns)
      assert.strictEqual(either.usesClock, a.usesClock || b.usesClock)
    }
  )
})

describe("and", () => {
  it.prop(
    "ends the run when both conditions do, the way of the first",
    [Condition, Condition, View],
    ([a, b, view]) => {
      const both = StopCondition.and(a, b)
      assert.deepStrictEqual(said(both, view), said(b, view) === undefined ? undefined : said(a, view))
      assert.strictEqual(both.boundsTurns, a.boundsTurns && b.boundsTurns)
      assert.strictEqual(both.usesClock, a.usesClock || b.usesClock)
    }
  )
})

describe("or and and", () => {
  it.prop("are associative, idempotent, and distribute", [Condition, Condition, Condition, View], ([a, b, c, view]) => {
    const { and, or } = StopCondition
    is(or(or(a, b), c), or(a, or(b, c)), view)
    is(and(and(a, b), c), and(a, and(b, c)), view)
    is(or(a, a), a, view)
    is(and(a, a), a, view)
    is(and(a, or(b, c)), or(and(a, b), and(a, c)), view)
    is(a.pipe(or(b)), or(a, b), view)
  })
})

describe("bounded", () => {
  it.prop("adds the default limit to a condition that limits no turns", [Condition, View], ([condition, view]) => {
    const limited = StopCondition.bounded(condition)
    assert.isTrue(limited.boundsTurns)
    if (condition.boundsTurns) assert.strictEqual(limited, condition)
    is(StopCondition.bounded(limited), limited, view)
    const late = { ...view, turns: 10 }
    assert.deepStrictEqual(said(limited, view), said(condition, view))
    if (!condition.boundsTurns) {
      assert.deepStrictEqual(said(limited, late), said(condition, late) ?? { _tag: "TurnLimitReached", limit: 10 })
    }
  })
})
