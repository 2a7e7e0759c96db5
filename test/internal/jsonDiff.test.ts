import { assert, describe, it } from "@effect/vitest"
import * as JsonDiff from "../../src/internal/jsonDiff.ts"
import * as Arbitraries from "../../src/testing/Arbitraries.ts"

describe("differences", () => {
  it("have their paths and both sides", () => {
    assert.deepStrictEqual(
      JsonDiff.differences({ a: [1, { b: 2 }], c: 3, "d e": 4 }, { a: [1, { b: 3 }, 5], "d e": [], f: null }),
      [
        { path: "a[1].b", expected: 2, actual: 3 },
        { path: "a[2]", expected: undefined, actual: 5 },
        { path: "c", expected: 3, actual: undefined },
        { path: `["d e"]`, expected: 4, actual: [] },
        { path: "f", expected: undefined, actual: null }
      ]
    )
  })

  it("see nothing in prototypes", () => {
    assert.deepStrictEqual(JsonDiff.differences({}, JSON.parse(`{"__proto__":{"a":1}}`)), [
      { path: "__proto__", expected: undefined, actual: { a: 1 } }
    ])
  })

  it.prop(
    "of values are none if they are the same, and some if not",
    [Arbitraries.json, Arbitraries.json],
    ([a, b]) => {
      assert.deepStrictEqual(JsonDiff.differences(a, structuredClone(a)), [])
      const same = JSON.stringify(a) === JSON.stringify(b)
      if (JsonDiff.differences(a, b).length === 0 && !same) assert.deepStrictEqual(b, a)
    }
  )

  it("are shown with the place where long texts part, and no more than a few", () => {
    const text = "x".repeat(500)
    const all = JsonDiff.differences({ a: `${text}old`, b: 1, c: 2 }, { a: `${text}new`, c: 3 })
    assert.strictEqual(
      JsonDiff.render(all, 2),
      `  a
    - …"${"x".repeat(30)}old"
    + …"${"x".repeat(30)}new"
  b
    - 1
    + (nothing)
  … and 1 more`
    )
  })
})
