import { assert, describe, it } from "@effect/vitest"
import type { BudgetExceeded } from "effect-agent-runtime/AgentError"
import * as Prices from "effect-agent-runtime/Prices"
import * as Arbitrary from "effect/Arbitrary"
import * as Schema from "effect/Schema"
import * as Accounts from "../../src/internal/account.ts"

const unlimited: Accounts.Limits = {
  tokens: Infinity,
  costNanoUsd: Infinity,
  modelCalls: Infinity,
  toolCalls: Infinity,
  depth: Infinity,
  millis: Infinity,
  grace: Accounts.nothing
}

const budget = (limits: Partial<Accounts.Limits>, parent?: Accounts.Account) =>
  Accounts.open({ name: "budget", parent, isRun: false, limits: { ...unlimited, ...limits }, startedAt: 0 })

const run = (name: string, parent: Accounts.Account) =>
  Accounts.open({ name, parent, isRun: true, limits: undefined, startedAt: 0 })

const demand = (inputTokens: number, outputTokens: number, price?: Prices.Price): Accounts.Demand => ({
  inputTokens,
  outputTokens,
  leastOutput: Math.min(16, outputTokens),
  price
})

/** What is granted, at once. */
const granted = (account: Accounts.Account, wanted: Accounts.Demand): Accounts.Grant => {
  const answer = Accounts.reserve(account, wanted, false)
  assert.strictEqual(answer._tag, "Grant")
  return answer as Accounts.Grant
}

const spend = (account: Accounts.Account, tokens: number): void =>
  Accounts.settle(account, granted(account, demand(tokens, 0)), { ...Accounts.nothing, tokens, modelCalls: 1 })

const whole = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum }))

describe("reserve", () => {
  it.prop(
    "grants what fits, as much of it as fits, and refuses what does not",
    [
      Arbitrary.schema(
        Schema.Struct({
          input: whole(500),
          output: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 500 })),
          tokens: whole(1000),
          costNanoUsd: whole(1_000_000),
          prices: Schema.Array(whole(9999)).check(Schema.isMinLength(3))
        })
      )
    ],
    ([{ costNanoUsd, input, output, prices, tokens }]) => {
      const [inputPrice, outputPrice, cacheWrite] = prices.map((price) => price / 777) as [number, number, number]
      const price = { input: inputPrice, output: outputPrice, cacheWrite }
      const costOf = (written: number) =>
        Math.ceil((input * Math.max(inputPrice, cacheWrite) + written * outputPrice) * 1000)
      const fits = (written: number) => input + written <= tokens && costOf(written) <= costNanoUsd
      const account = run("bot", budget({ tokens, costNanoUsd }))
      const answer = Accounts.reserve(account, demand(input, output, price), false)
      if (answer._tag === "Grant") {
        const { amounts, outputTokens } = answer
        assert.isTrue(fits(outputTokens))
        assert.isTrue(outputTokens === output || !fits(outputTokens + 1))
        assert.deepStrictEqual(amounts, {
          tokens: input + outputTokens,
          costNanoUsd: costOf(outputTokens),
          modelCalls: 1,
          toolCalls: 0
        })
        assert.deepStrictEqual({ ...account.parent!.reserved }, amounts)
      } else {
        assert.strictEqual(answer._tag, "BudgetExceeded")
        assert.isFalse(fits(Math.min(16, output)))
        assert.deepStrictEqual({ ...account.parent!.reserved }, Accounts.nothing)
      }
    },
    { arbitrary: { runs: 2000 } }
  )

  it("waits for what is only reserved, and refuses what is spent", () => {
    const account = run("bot", budget({ modelCalls: 2 }))
    const first = granted(account, demand(10, 10))
    granted(account, demand(10, 10))
    assert.strictEqual(Accounts.reserve(account, demand(10, 10), false)._tag, "Wait")
    Accounts.settle(account, first, Accounts.nothing)
    granted(account, demand(10, 10))
    const spent = run("bot", budget({ modelCalls: 1 }))
    spend(spent, 10)
    assert.strictEqual(Accounts.reserve(spent, demand(10, 10), false)._tag, "BudgetExceeded")
  })
})

describe("a line", () => {
  it("is called one after the other, the first first, also before they sleep", () => {
    const outer = budget({ modelCalls: 1 })
    const account = run("bot", outer)
    const grant = granted(account, demand(10, 10))
    const called: Array<string> = []
    const first = Accounts.join(outer)
    const second = Accounts.join(outer)
    second.resume = () => called.push("second")
    Accounts.settle(account, grant, Accounts.nothing)
    assert.deepStrictEqual([first.isCalled, second.isCalled, called], [true, false, []])
    Accounts.leave(first)
    assert.deepStrictEqual([second.isCalled, called], [true, ["second"]])
    Accounts.leave(second)
    assert.strictEqual(outer.waiting.size, 0)
  })
})

describe("a refusal", () => {
  it("says where it went, the most first, and leaves out who has spent nothing of it", () => {
    const outer = budget({ tokens: 100 })
    spend(run("little", outer), 10)
    spend(run("much", outer), 50)
    spend(run("nothing", outer), 0)
    const { breakdown } = Accounts.reserve(run("next", outer), demand(60, 20), false) as BudgetExceeded
    assert.deepStrictEqual(breakdown, [
      { agent: "much", spent: 50 },
      { agent: "little", spent: 10 }
    ])
  })

  it("counts what is kept back as reserved, as long as it is there", () => {
    const outer = budget({ tokens: 100, grace: { ...Accounts.nothing, tokens: 30 } })
    spend(run("bot", outer), 60)
    const next = run("next", outer)
    const refusal = Accounts.reserve(next, demand(5, 16), false) as BudgetExceeded
    assert.deepStrictEqual([refusal.limit, refusal.spent, refusal.reserved, refusal.requested], [100, 60, 30, 21])
    const last = Accounts.reserve(next, demand(5, 35), true) as Accounts.Grant
    Accounts.settle(next, last, { ...Accounts.nothing, tokens: 40 })
    assert.strictEqual((Accounts.reserve(next, demand(5, 16), true) as BudgetExceeded).reserved, 0)
  })
})

describe("an account", () => {
  it("tells a thousand agents apart, and loses nothing of the others", () => {
    const outer = budget({ tokens: 1e9 })
    for (let i = 0; i < 1500; i++) spend(run(`agent ${i}`, outer), 1)
    assert.strictEqual(outer.byAgent.size, 1001)
    assert.strictEqual(outer.byAgent.get("…")!.tokens, 500)
    assert.strictEqual(outer.spent.tokens, 1500)
  })

  it("remembers the dearest price of input and of output", () => {
    const outer = budget({ costNanoUsd: 100 })
    const account = run("bot", outer)
    const prices = Prices.make({ a: { input: 5, output: 1, cacheWrite: 6 }, b: { input: 1, output: 9 } })
    for (const model of ["a", "b", undefined, "unknown"]) Accounts.learnPrice(account, prices, model)
    assert.deepStrictEqual(outer.dearest, { input: 6, output: 9 })
  })
})
