import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Toml from "smol-toml"
import * as Yaml from "yaml"
import type { Document, Format, Path, Place } from "../../src/config/document.ts"
import { formatOf, parse, parseValue } from "../../src/config/document.ts"

const read = (text: string, format: Format): Document => Result.getOrThrow(parse(text, format))

/** The rest of the line from a place on. */
const textAt = (text: string, place: Place | undefined): string | undefined =>
  place && text.split("\n")[place.line - 1]!.slice(place.column - 1)

/** Every path into a value. */
const paths = (value: unknown, path: Path = []): ReadonlyArray<Path> => {
  if (typeof value !== "object" || value === null || value instanceof Date) return [path]
  const entries = Array.isArray(value) ? value.map((item, i) => [i, item] as const) : Object.entries(value)
  return [path, ...entries.flatMap(([key, item]) => paths(item, [...path, key]))]
}

const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value))

// Half a character cannot be written to a file.
const Text = Schema.String.check(Schema.makeFilter((text) => text.isWellFormed()))
const Leaf = Schema.Union([Text, Schema.Boolean, Schema.Int])
const Key = Schema.Union([Schema.Literals(["a", "b_c", "d-e"]), Text])
const Table = Schema.Record(Key, Leaf)
const Data = Schema.Record(
  Key,
  Schema.Union([Leaf, Schema.Array(Leaf), Table, Schema.Record(Key, Table), Schema.Array(Table)])
)

const writers: Readonly<Record<Format, (data: Record<string, unknown>) => string>> = {
  yaml: (data) => Yaml.stringify(data),
  toml: (data) => Toml.stringify(data)
}

describe.each(["yaml", "toml"] as const)("a %s document", (format) => {
  it.prop("reads what was written, and knows where each key is", { data: Data }, ({ data }) => {
    const text = writers[format](data)
    const document = read(text, format)
    // The objects of TOML have no prototype, and YAML has no zero below zero.
    assert.deepStrictEqual(plain(document.value), plain(data))
    for (const path of paths(data).slice(1)) {
      const place = document.locate(path, "key")
      const key = path.at(-1)
      // A table of tables without a heading of its own has no place.
      if (place === undefined) continue
      const found = textAt(text, place)!
      if (typeof key === "string" && /^[a-z][a-z_-]*$/.test(key)) {
        assert.match(found, new RegExp(`^["']?${key}`), `${JSON.stringify(path)} in\n${text}`)
      }
    }
  })

  it("knows no place of what it does not have", () => {
    const document = read(format === "yaml" ? "a: { b: 1 }" : "a = { b = 1 }", format)
    assert.isUndefined(document.locate(["a", "c"], "key"))
    assert.isUndefined(document.locate(["a", "b", "c"], "value"))
  })
})

describe("a YAML document", () => {
  it("knows the places of keys, values, elements, and of what stands behind an alias", () => {
    const text = `a: &one\n  b: 1\nc: [x, { d: 2 }]\ne: *one\n"f g": 3\n`
    const { locate, value } = read(text, "yaml")
    assert.deepStrictEqual(value, { a: { b: 1 }, c: ["x", { d: 2 }], e: { b: 1 }, "f g": 3 })
    assert.deepStrictEqual(locate(["a", "b"], "key"), { line: 2, column: 3 })
    assert.deepStrictEqual(locate(["a", "b"], "value"), { line: 2, column: 6 })
    assert.deepStrictEqual(locate(["c", 1, "d"], "value"), { line: 3, column: 13 })
    assert.deepStrictEqual(locate(["e", "b"], "key"), { line: 2, column: 3 })
    assert.deepStrictEqual(locate(["f g"], "key"), { line: 5, column: 1 })
  })

  it("says where it is broken, and that a key is there twice", () => {
    assert.deepInclude(Result.getOrThrow(Result.flip(parse("a: 1\na: 2\n", "yaml")))[0], { line: 2, column: 1 })
    assert.deepInclude(Result.getOrThrow(Result.flip(parse("a: [1\n", "yaml")))[0], { line: 2, column: 1 })
  })

  it("does not fall for aliases of aliases", () => {
    const levels = Array.from(
      { length: 12 },
      (_, i) => `a${i}: &a${i} [${Array(10).fill(i === 0 ? "x" : `*a${i - 1}`)}]`
    )
    assert.isTrue(Result.isFailure(parse(levels.join("\n"), "yaml")))
  })
})

describe("an alias in what it stands for", () => {
  it.each([
    ["a: &x\n  b: *x\n", 2, 6],
    ["a: &x { b: [{ c: *x }] }\n", 1, 18],
    ["&x\na: *x\n", 2, 4],
    ["a: &x\n  <<: *x\n", 2, 7]
  ])("is a problem with a place: %j", (text, line, column) => {
    assert.deepStrictEqual(Result.getOrThrow(Result.flip(parse(text, "yaml"))), [
      { message: "'*x' stands for what it is a part of", line, column }
    ])
  })

  it("is the text that it is in a variable or a flag, and so is one that stands for nothing", () => {
    for (const text of ["&x { a: *x }", "*x", "{ a: *x }"]) assert.strictEqual(parseValue(text), text)
    assert.deepStrictEqual(parseValue("{ a: &x [1], b: *x }"), { a: [1], b: [1] })
  })
})

describe("a TOML document", () => {
  const text = `# comment [not.a.table]
title = """
[x]
y = 1
"""
"quoted key" = 'a # b'
dotted.key.inside = [ 1, # one
  { k = "}" , l.m = 2 },
  '''
[z]''' ]
[table . sub]
a = 2020-01-01 # ] }
[[list]]
b = 1
[[list]]
b = 2
[list.deep]
c = { d = { e = true } }
`

  it.each([
    [["title"], 2, 1, 9],
    [["quoted key"], 6, 1, 16],
    [["dotted", "key", "inside"], 7, 12, 21],
    [["dotted", "key", "inside", 0], 7, 23, 23],
    [["dotted", "key", "inside", 1, "l", "m"], 8, 17, 21],
    [["dotted", "key", "inside", 2], 9, 3, 3],
    [["table", "sub"], 11, 10, 10],
    [["table", "sub", "a"], 12, 1, 5],
    [["list", 0, "b"], 14, 1, 5],
    [["list", 1], 15, 1, 1],
    [["list", 1, "b"], 16, 1, 5],
    [["list", 1, "deep", "c", "d", "e"], 18, 13, 17]
  ] as const)("knows where %j is", (path, line, key, value) => {
    const { locate } = read(text, "toml")
    assert.deepStrictEqual(locate(path, "key"), { line, column: key })
    assert.deepStrictEqual(locate(path, "value"), { line, column: value })
  })

  it("says where it is broken", () => {
    assert.deepStrictEqual(Result.getOrThrow(Result.flip(parse("[a]\nb = \n", "toml"))), [
      { line: 2, column: 5, message: "invalid value" }
    ])
  })
})

it("tells formats by the ends of names", () => {
  assert.deepStrictEqual(["a.yaml", "b.YML", "c.d.toml", "e.json", "yaml"].map(formatOf), [
    "yaml",
    "yaml",
    "toml",
    undefined,
    undefined
  ])
})
