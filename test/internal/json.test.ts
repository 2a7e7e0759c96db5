import { assert, describe, it } from "@effect/vitest"
import { Arbitraries } from "effect-agent-runtime/testing"
import * as Schema from "effect/Schema"
import { canonical, inspect, isDeep, isDeepText, withoutUndefined } from "../../src/internal/json.ts"

type Json = Schema.Json

/** So few values that two of them are often equal. Keys that look like indices have an order of their own. */
const Tiny: Schema.Codec<unknown> = Schema.Union([
  Schema.Null,
  Schema.Literals([0, 1, "0", "", true]),
  Schema.Array(Schema.suspend(() => Tiny)).check(Schema.isMaxLength(2)),
  Schema.Struct({
    b: Schema.optionalKey(Schema.suspend(() => Tiny)),
    a: Schema.optionalKey(Schema.suspend(() => Tiny)),
    "10": Schema.optionalKey(Schema.Literals([0, 1])),
    "9": Schema.optionalKey(Schema.Literals([0, 1]))
  })
])

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** Equality of JSON values, the slow way. */
const equal = (a: unknown, b: unknown): boolean => {
  if (Array.isArray(a)) return Array.isArray(b) && a.length === b.length && a.every((item, i) => equal(item, b[i]))
  if (!isObject(a)) return a === b
  return (
    isObject(b)
    && Object.keys(a).length === Object.keys(b).length
    && Object.keys(a).every((key) => Object.hasOwn(b, key) && equal(a[key], b[key]))
  )
}

/** The value with the keys of its objects turned around. */
const mirror = (value: Json): Json => {
  if (Array.isArray(value)) return value.map(mirror)
  if (!isObject(value)) return value
  const entries = Object.entries(value).map(([key, member]) => [key, mirror(member as Json)] as const)
  return Object.fromEntries(entries.toReversed())
}

const nest = (depth: number, wrap: (value: unknown) => unknown, core: unknown = 0): unknown => {
  let value = core
  for (let i = 0; i < depth; i++) value = wrap(value)
  return value
}

/** Counts how often members are looked at. */
const counted = (value: unknown): { readonly value: unknown; readonly reads: () => number } => {
  let reads = 0
  const watch = (node: unknown): unknown =>
    typeof node === "object" && node !== null
      ? new Proxy(node, {
          get: (target, key, receiver) => {
            if (key !== "toJSON") reads++
            return watch(Reflect.get(target, key, receiver))
          }
        })
      : node
  return { value: watch(value), reads: () => reads }
}

describe("canonical", () => {
  it.prop(
    "gives two values the same text exactly when they are equal up to the order of keys",
    [Tiny, Tiny],
    ([a, b]) => {
      assert.strictEqual(canonical(a) === canonical(b), equal(a, b))
    },
    { arbitrary: { runs: 5000, size: 3 } }
  )

  it.prop(
    "does not change with the order of keys, nor the value it is given",
    [Arbitraries.json],
    ([value]) => {
      const before = JSON.stringify(value)
      assert.strictEqual(canonical(value), canonical(mirror(value)))
      assert.isTrue(equal(JSON.parse(canonical(value)), value))
      assert.strictEqual(JSON.stringify(value), before)
    },
    { arbitrary: { runs: 1000 } }
  )

  it("counts numbers by value and leaves out what JSON leaves out", () => {
    assert.strictEqual(canonical(-0), "0")
    assert.strictEqual(canonical(1e2), "100")
    assert.strictEqual(canonical({ b: undefined, a: 1 }), canonical({ a: 1 }))
    assert.strictEqual(canonical(undefined), "null")
  })

  it("keeps keys that name a prototype", () => {
    const text = '{"b":1,"__proto__":{"x":1}}'
    assert.strictEqual(canonical(JSON.parse(text)), '{"__proto__":{"x":1},"b":1}')
    assert.strictEqual(canonical(JSON.parse(`{"b":[${text}],"a":0}`)), '{"a":0,"b":[{"__proto__":{"x":1},"b":1}]}')
  })

  it("looks at each member a bounded number of times, however deep the disorder", () => {
    const reads = (depth: number) => {
      const { value, reads: read } = counted(nest(depth, (inner) => ({ inner }), { b: 1, a: 2 }))
      canonical(value)
      return read()
    }
    assert.strictEqual(reads(18) - reads(17), reads(10) - reads(9))
  })

  it("takes any depth, and tells values apart down to 512 levels", () => {
    const deep = (depth: number, core: unknown) => canonical(nest(depth, (inner) => [inner], core))
    assert.notStrictEqual(deep(512, 1), deep(512, 2))
    assert.strictEqual(deep(100_000, 1), deep(100_000, 2))
    assert.doesNotThrow(() => canonical(nest(100_000, (inner) => ({ inner, a: 0 }))))
  })
})

describe("inspect", () => {
  const generous = { depth: 1000, size: 1_000_000 }

  it("counts the levels of arrays and objects", () => {
    for (const wrap of [(inner: unknown) => [inner], (inner: unknown) => ({ inner })]) {
      for (const depth of [0, 1, 7]) {
        assert.isUndefined(inspect(nest(depth, wrap), { ...generous, depth }))
        assert.strictEqual(inspect(nest(depth + 1, wrap), { ...generous, depth }), "too deep")
      }
    }
    assert.strictEqual(
      inspect(
        nest(100_000, (inner) => [inner]),
        generous
      ),
      "too deep"
    )
  })

  it.prop(
    "takes what is small enough, and nothing that is much too large",
    [Arbitraries.json, Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 200 }))],
    ([value, size]) => {
      const found = inspect(JSON.parse(JSON.stringify(value)), { ...generous, size })
      if (found === "has a forbidden key") return
      // One digit counts as four characters, and an escape of six characters as one.
      const { length } = JSON.stringify(value)
      if (length * 4 <= size) assert.isUndefined(found)
      if (length > size * 6 + 24) assert.strictEqual(found, "too large")
    },
    { arbitrary: { runs: 1000 } }
  )

  it.prop("finds a forbidden key wherever it is", [Tiny, Tiny], ([before, after]) => {
    const proto: unknown = JSON.parse('{"__proto__":{}}')
    for (const forbidden of [proto, { constructor: { prototype: 1 } }]) {
      assert.isUndefined(inspect({ before, after }, generous))
      assert.strictEqual(inspect([before, { x: [forbidden] }, after], generous), "has a forbidden key")
    }
  })

  it("allows the names alone", () => {
    assert.isUndefined(inspect({ constructor: "Renault", prototype: "Twingo", toString: 1 }, generous))
    assert.isUndefined(inspect(["__proto__"], generous))
  })

  it("reads no further than its limits", () => {
    const endless: Array<unknown> = []
    for (let i = 0; i < 3; i++) endless.push(endless)
    const limits = { depth: 1000, size: 10_000 }
    for (const [value, expected] of [
      [Array.from({ length: 1_000_000 }, () => 0), "too large"],
      [Object.fromEntries(Array.from({ length: 100_000 }, (_, i) => [i, 0])), "too large"],
      [endless, "too deep"],
      ["x".repeat(10_001), "too large"]
    ] as const) {
      const { reads, value: watched } = counted(value)
      assert.strictEqual(inspect(watched, limits), expected)
      assert.isAtMost(reads(), limits.size)
    }
  })
})

describe("withoutUndefined", () => {
  const Holes: Schema.Codec<unknown> = Schema.Union([
    Schema.Undefined,
    Schema.Null,
    Schema.Literals([0, "", false]),
    Schema.Array(Schema.suspend(() => Holes)).check(Schema.isMaxLength(3)),
    Schema.Struct({
      a: Schema.optional(Schema.suspend(() => Holes)),
      b: Schema.optional(Schema.suspend(() => Holes))
    })
  ])

  it.prop("is what is read again of the JSON text", [Holes], ([value]) => {
    assert.deepStrictEqual(withoutUndefined(value), JSON.parse(JSON.stringify(value) ?? "null"))
  })

  it("leaves what is no JSON for others to refuse", () => {
    const circle: { self?: unknown } = {}
    circle.self = circle
    const shared = { big: 1n }
    for (const value of [circle, new Date(0), new Map(), 1n, Number.NaN, [shared, shared]]) {
      assert.isFalse(Schema.is(Schema.Json)(withoutUndefined(value)))
    }
  })

  it("keeps the names of members as they are", () => {
    const value: unknown = JSON.parse('{"__proto__":{"a":1}}')
    assert.deepStrictEqual(withoutUndefined(value), value)
  })
})

describe("isDeep", () => {
  /** Brackets, braces and quotes within texts nest nothing. */
  const odd = ["[[[[", '{"', "\\", '\\"[', "]]]]"]

  it.each([1, 511, 512, 513, 5000])("tells %i levels, of a value as of its text", (depth) => {
    const texts = odd.map((text) => JSON.stringify(text)).join()
    for (const [open, close] of [
      ["[", "]"],
      ['{"[":', "}"]
    ] as const) {
      const text = `${open.repeat(depth - 1)}[${texts}]${close.repeat(depth - 1)}`
      assert.strictEqual(isDeep(JSON.parse(text)), depth > 512)
      assert.strictEqual(isDeepText(text), depth > 512)
      assert.strictEqual(isDeepText(`${texts},${text}`), depth > 512)
    }
  })

  it("does not count what is side by side", () => {
    const wide = Array.from({ length: 2000 }, () => [{ a: [] }])
    assert.isFalse(isDeep(wide))
    assert.isFalse(isDeepText(JSON.stringify(wide)))
  })
})
