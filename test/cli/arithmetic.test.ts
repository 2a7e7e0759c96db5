import { runInThisContext } from "node:vm"
import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import * as Arithmetic from "../../src/cli/arithmetic.ts"

/** An expression as a random mind writes it. What it means is up to whoever reads the text. */
type Tree =
  | number
  | { readonly inner: Tree; readonly negated: boolean }
  | { readonly left: Tree; readonly operator: keyof typeof glyphs; readonly glyph: number; readonly right: Tree }

const glyphs = { "+": ["+"], "-": ["-", "−"], "*": ["*", "×", "x", "X"], "/": ["/", "÷"] } as const

const upTo = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum }))

const Tree: Schema.Codec<Tree> = Schema.Union([
  upTo(20),
  Schema.Literals([0.1, 2.5, 1234, 1_000_000.25]),
  Schema.Struct({ inner: Schema.suspend(() => Tree), negated: Schema.Boolean }),
  Schema.Struct({
    left: Schema.suspend(() => Tree),
    operator: Schema.Literals(["+", "-", "*", "/"]),
    glyph: upTo(3),
    right: Schema.suspend(() => Tree)
  })
])

/** The text of a tree, for people or for JavaScript, which has one glyph per operator and no thousands. */
const write = (tree: Tree, forPeople: boolean): string => {
  if (typeof tree === "number") return forPeople ? tree.toLocaleString("en-US") : String(tree)
  if ("inner" in tree) return `${tree.negated ? "-" : ""}(${write(tree.inner, forPeople)})`
  const choice = glyphs[tree.operator]
  const glyph = forPeople ? choice[tree.glyph % choice.length]! : tree.operator
  return `${write(tree.left, forPeople)} ${glyph} ${write(tree.right, forPeople)}`
}

const operations = (tree: Tree): number => {
  if (typeof tree === "number") return 0
  return "inner" in tree ? operations(tree.inner) : 1 + operations(tree.left) + operations(tree.right)
}

const calculate = ({ a, b, operation }: Arithmetic.Calculation): number =>
  ({ add: a + b, subtract: a - b, multiply: a * b, divide: a / b })[operation]

/** The value of the only expression in a text, and how many rounds of calculations it took. */
const evaluate = (text: string) => {
  const found = Arithmetic.find(text)
  assert.lengthOf(found, 1)
  const known = new Map<string, number>()
  for (let rounds = 0; ; rounds++) {
    const next = Arithmetic.step(found[0]!.expression, (calculation) => known.get(JSON.stringify(calculation)))
    if (typeof next === "number") return { value: next, rounds, calculations: known.size }
    assert.isNotEmpty(next)
    for (const calculation of next) known.set(JSON.stringify(calculation), calculate(calculation))
  }
}

const texts = (text: string) => Arithmetic.find(text).map((found) => found.text)

describe("an expression", () => {
  it.prop("has the value that JavaScript gives it", [Tree], ([tree]) => {
    const count = operations(tree)
    if (count === 0) {
      assert.deepStrictEqual(texts(write(tree, true)), [])
      return
    }
    const expected = Number(runInThisContext(write(tree, false)))
    const { rounds, value } = evaluate(`So what is ${write(tree, true)}?`)
    assert.isAtMost(rounds, count)
    if (Number.isFinite(expected)) assert.equal(value, expected)
    else assert.isNotTrue(Number.isFinite(value))
  })

  it("is worked out in as few rounds as its depth", () => {
    assert.deepStrictEqual(evaluate("(5 + 3) * 2 - 4"), { value: 12, rounds: 3, calculations: 3 })
    assert.deepStrictEqual(evaluate("(1 + 2) * (3 + 4)"), { value: 21, rounds: 2, calculations: 3 })
  })

  it("asks for the same calculation once", () => {
    assert.deepStrictEqual(evaluate("(1 + 2) * (1 + 2)"), { value: 9, rounds: 2, calculations: 2 })
  })

  it("needs no calculation for a sign", () => {
    assert.deepStrictEqual(evaluate("-3 - -(2 * 2)"), { value: 1, rounds: 2, calculations: 2 })
  })
})

describe("find", () => {
  it.each([
    ["What is (5 + 3) * 2 - 4?", ["(5 + 3) * 2 - 4"]],
    ["Is 5+3=8? And 2x4?", ["5+3", "2x4"]],
    ["1,000 * 1.5e3 + .5.", ["1,000 * 1.5e3 + .5"]],
    ["A 3-year-old has 2\n  × 2 apples", ["2 × 2"]],
    ["10 km / 2 h", []],
    ["A4 - 2, x, 7, -7 and and/or", []],
    ["", []]
  ])("takes whole expressions from %j", (text, expected) => {
    assert.deepStrictEqual(texts(text), expected)
  })

  it.each([
    ["powers", "2^3 + 1"],
    ["percentages", "50% * 3 + 1"],
    ["decimal commas", "2,5 + 1"],
    ["open parentheses", "(5 + 3 * 2"],
    ["stray parentheses", "5 + 3) * 2"],
    ["double operators", "2 ** 3"],
    ["missing operands", "5 + 3 -"],
    ["numbers without an operator", "2 (3 + 4)"],
    ["numbers that are too large", `1${"0".repeat(400)} + 1`],
    ["texts that are too long", `${"(".repeat(100_000)}1 + 1${")".repeat(100_000)}`]
  ])("leaves %s alone instead of reading a half", (_, text) => {
    assert.deepStrictEqual(texts(text), [])
  })
})
