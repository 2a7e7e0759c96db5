import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { Variant } from "../bench/Case.ts"
import { agentsName, cases, find, named, turnsName } from "../bench/cases/index.ts"
import { Handlers } from "../bench/cases/support.ts"
import { measure } from "../bench/measure.ts"
import { machine, rowOf, summarize, table } from "../bench/report.ts"
import * as Program from "./support/program.ts"

const run = (variant: Variant) => (variant.kind === "effect" ? variant.operation() : Effect.promise(variant.operation))

describe("every bench case", () => {
  for (const { floor, name, ours } of named) {
    // Live, because some models take a millisecond.
    it.live(`${name} does what it says`, () =>
      Effect.gen(function* () {
        for (const make of floor === undefined ? [ours] : [ours, floor]) {
          const variant = make()
          // Twice, because a case must not depend on being the first.
          assert.strictEqual(variant.check(yield* run(variant)), undefined)
          assert.strictEqual(variant.check(yield* run(variant)), undefined)
          if (variant.kind === "effect" && variant.close !== undefined) yield* variant.close
        }
      }).pipe(Effect.provide(Handlers))
    )
  }

  it("has a name of its own", () => {
    assert.strictEqual(new Set(named.map(({ name }) => name)).size, named.length)
  })
})

describe("measuring", () => {
  const variant = (check: Variant["check"]): Variant => ({ kind: "effect", operation: () => Effect.succeed(1), check })
  const effort = { batches: 3, batchMillis: 1, warmUpMillis: 1 }

  it.effect("gives the cost of an operation per batch", () =>
    Effect.gen(function* () {
      const samples = yield* measure(
        variant(() => undefined),
        effort
      )
      assert.strictEqual(samples.cpu.length, 3)
      assert.strictEqual(samples.wall.length, 3)
      assert.isTrue(samples.wall.every((micros) => micros > 0))
    }).pipe(Effect.provide(Handlers))
  )

  it.effect("refuses a case whose result is wrong", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        measure(
          variant(() => "expected 2"),
          effort
        )
      )
      assert.deepInclude(error, { _tag: "WrongResult", issue: "expected 2" })
    }).pipe(Effect.provide(Handlers))
  )
})

describe("the table", () => {
  const flat = (micros: number) => [{ cpu: [micros, micros, micros], wall: [micros], bytes: [2048], operations: 1 }]

  it("shows medians, intervals, ratios, units and the original's figures", () => {
    const case_ = { ...cases[0]!, name: "a case", published: 12.88, per: { unit: "agent", count: 2 } }
    const lines = table("title", [rowOf(case_, flat(4), flat(2))]).split("\n")
    assert.strictEqual(
      lines.at(-1)!.replaceAll(/ {2,}/g, " | "),
      "a case | 4.00 (4.00–4.00) | 4.00 | 4.00 | 2048 B | 2.00 (2.00–2.00) | 2.00× | 2.00 / agent | 12.88"
    )
  })

  it("gives the median of the rounds' ratios, whatever the rounds themselves were like", () => {
    const row = rowOf(cases[0]!, [...flat(4), ...flat(40), ...flat(9)], [...flat(2), ...flat(20), ...flat(2)])
    assert.strictEqual(row.toFloor, 2)
  })

  it("compares with earlier results", () => {
    const before = { machine: machine("4.1.0"), rows: [{ name: cases[0]!.name, ours: summarize(flat(8)) }] }
    const rows = [rowOf(cases[0]!, flat(4), []), rowOf(cases[1]!, flat(4), [])]
    const [, , , first, second] = table("title", rows, before).split("\n")
    assert.match(first!, /0\.50×$/)
    assert.match(second!, /new$/)
  })
})

describe("figures", () => {
  it("have an interval around the median and the slowest percentile", () => {
    const cpu = Array.from({ length: 101 }, (_, i) => i)
    const figure = summarize([{ cpu, wall: cpu, bytes: cpu, operations: 1 }]).cpu
    assert.strictEqual(figure.median, 50)
    assert.isTrue(figure.low < 50 && figure.low > 30 && figure.high > 50 && figure.high < 70)
    assert.strictEqual(figure.p99, 99)
  })
})

describe("cases by numbers", () => {
  it("exist for any number of agents and turns", () => {
    assert.strictEqual(find(agentsName("7", "unbounded", "0"))!.name, "agents/7_unbounded_0ms")
    assert.strictEqual(find(agentsName("7", "2", "1"))!.name, "agents/7_by_2_1ms")
    assert.strictEqual(find(turnsName("12"))!.name, "turns/12")
    for (const name of ["turns/0", "turns/x", "agents/0_unbounded_0ms", "agents/5_by_0_0ms", "nope"]) {
      assert.strictEqual(find(name), undefined)
    }
  })
})

describe.concurrent("the programs", { timeout: 30_000 }, () => {
  it.live.each([
    ["main.ts", ["--only", "nosuch"], "No case contains 'nosuch'"],
    ["main.ts", ["--agents", "abc"], "Not a case: agents/abc_unbounded_0ms"],
    ["main.ts", ["--agents", "5", "--concurrency", "0"], "Not a case: agents/5_by_0_0ms"],
    ["main.ts", ["--turns", "0"], "Not a case: turns/0"],
    ["main.ts", ["--rounds", "0"], "--rounds has to be at least 1"],
    ["peers/run.ts", ["--only", "nosuch"], "No peer contains 'nosuch'"],
    ["peers/run.ts", ["--rounds", "0"], "--rounds has to be at least 1"]
  ] as const)("refuse what they cannot do: %s %j", ([program, args, line]) =>
    Effect.gen(function* () {
      const path = fileURLToPath(new URL(`../bench/${program}`, import.meta.url))
      const ended = yield* (yield* Program.start([path, ...args])).ended
      assert.deepStrictEqual(ended, { code: 1, stdout: "", stderr: `Error: ${line}\n` })
    })
  )
})
