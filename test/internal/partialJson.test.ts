import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import { parsePartial } from "../../src/internal/partialJson.ts"

describe("parsePartial", () => {
  it.each([
    ["", undefined],
    ["Hello", undefined],
    ["{", {}],
    ['{"a', {}],
    ['{"a"', {}],
    ['{"a":', {}],
    ['{"a": 1', {}],
    ['{"a": 1,', { a: 1 }],
    ['{"a": "x', { a: "x" }],
    ['{"a": "x\\', { a: "x" }],
    ['{"a": "x\\u00e', { a: "x" }],
    ['{"a": "x\\ud83d', { a: "x" }],
    ['{"a": "x\\ud83d\\ude00', { a: "x😀" }],
    ['{"a": "\\\\', { a: "\\" }],
    ['{"a": [1, 2', { a: [1] }],
    ['{"a": [{"b": tr', { a: [{}] }],
    ['{"a": [{"b": true}, ', { a: [{ b: true }] }],
    ['["a", "b', ["a", "b"]],
    ['"tex', "tex"],
    ["12", undefined],
    ["-1.5e", undefined],
    ["12\n", 12],
    ["tru", undefined],
    ["true", true],
    ['{"a": 1} and more', undefined],
    ['{"a": }', undefined],
    ['{"__proto__": {"x": 1', JSON.parse('{"__proto__": {}}')]
  ])("reads %s", (text, value) => {
    assert.deepStrictEqual(parsePartial(text), value)
  })

  it.prop("reads all of what is whole", [Schema.Json], ([value]) => {
    // Behind a number something has to say that it is.
    assert.deepStrictEqual(parsePartial(`${JSON.stringify(value)}\n`), JSON.parse(JSON.stringify(value)))
  })

  it.prop("only ever adds to what it has read of an object or array", [Schema.Array(Schema.Json)], ([value]) => {
    for (const text of [JSON.stringify(value), JSON.stringify({ value, more: value }, undefined, 1)]) {
      let before: unknown
      for (let end = 1; end <= text.length; end++) {
        const now = parsePartial(text.slice(0, end))
        assert.notStrictEqual(now, undefined, text.slice(0, end))
        assert.isTrue(before === undefined || isBeginningOf(before, now), text.slice(0, end))
        before = now
      }
      assert.deepStrictEqual(before, JSON.parse(text))
    }
  })
})

/** Whether one value can become the other by going on to write. */
const isBeginningOf = (a: unknown, b: unknown): boolean => {
  if (typeof a === "string" && typeof b === "string") return b.startsWith(a)
  if (Array.isArray(a) && Array.isArray(b))
    return a.length <= b.length && a.every((item, i) => isBeginningOf(item, b[i]))
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return Object.is(a, b)
  return Object.entries(a).every(([key, member]) => {
    const other = Object.getOwnPropertyDescriptor(b, key)
    return other !== undefined && isBeginningOf(member, other.value)
  })
}
