import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { Variant } from "../bench/Case.ts"
import { cases } from "../bench/cases/index.ts"
import { measure } from "../bench/measure.ts"
import { summarize, table } from "../bench/report.ts"

const run = (variant: Variant) => (variant.kind === "effect" ? variant.operation() : Effect.promise(variant.operation))

describe("every bench case", () => {
  for (const { floor, name, ours } of cases) {
    // Live, because some models take a millisecond.
    it.live(`${name} does what it says`, () =>
      Effect.gen(function* () {
        for (const make of floor === undefined ? [ours] : [ours, floor]) {
          const variant = make()
          // Twice, because a case must not depend on being the first.
          assert.strictEqual(variant.check(yield* run(variant)), undefined)
          assert.strictEqual(variant.check(yield* run(variant)), undefined)
        }
      })
    )
  }

  it("has a name of its own", () => {
    assert.strictEqual(new Set(cases.map(({ name }) => name)).size, cases.length)
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
    })
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
    })
  )
})

describe("the table", () => {
  it("shows medians, quartiles, ratios, units and the original's figures", () => {
    const flat = (micros: number) => summarize([{ cpu: [micros, micros, micros], wall: [micros], operations: 1 }])
    const case_ = { ...cases[0]!, name: "a case", published: 12.88, per: { unit: "agent", count: 2 } }
    const [, , header, row] = table([{ case_, ours: flat(4), floor: flat(2) }]).split("\n")
    assert.match(header!, /^case\s+ours cpu µs\s+wall µs\s+floor cpu µs\s+ours\/floor\s+per unit\s+report µs$/)
    assert.match(
      row!,
      /^a case\s+4\.00 \(4\.00–4\.00\)\s+4\.00\s+2\.00 \(2\.00–2\.00\)\s+2\.00×\s+2\.00 \/ agent\s+12\.88$/
    )
  })
})
