import { globSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { assert, beforeAll, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fences from "./support/fences.ts"

const root = fileURLToPath(new URL("../", import.meta.url))

const fences = globSync(["README.md", "docs/**/*.md", "src/**/*.ts"], { cwd: root })
  .toSorted()
  .flatMap((file) => Fences.extract(file.replaceAll("\\", "/"), readFileSync(`${root}${file}`, "utf8")))

/** Fences that must not pass, with what has to be said about them. */
const broken: ReadonlyArray<readonly [name: string, problem: RegExp, code: string]> = [
  ["a type error", /:2: TS2322/, "\nconst n: number = 'x'"],
  ["an unknown module", /:1: TS2307/, 'import * as Gone from "effect-agent-runtime/Gone"\nGone'],
  ["a private module", /:1: TS2307/, 'import { decide } from "effect-agent-runtime/internal/machine"\ndecide'],
  ["an exception", /Error: no/, 'throw new Error("no")'],
  ["a rejection that nobody awaits", /Error: no/, 'void Promise.reject(new Error("no"))'],
  ["a false claim", /:1: is 2/, "1 + 1 // => 3"],
  ["a false claim about a constant", /:2: is \{ a: 1 \}/, "\nconst x = { a: 1 } // => { a: 2 }"],
  ["a false claim over several lines", /:3: is 2/, "Math.max(\n  1, 2\n) // => 3"],
  ["a claim that is not reached", /:2: the line was not reached/, "const f = () => {\n  1 // => 1\n}"],
  ["a claim about nothing", /is not behind/, "// => 1"],
  ["a claim that is no value", /is not in front of an expression/, "1 // => the number 1"],
  ["a syntax error", /cannot be parsed/, "const = 1"]
]

const wrong = broken.map(([name, , code]): Fences.Fence => ({ file: name, line: 0, code }))

const right: Fences.Fence = {
  file: "right",
  line: 0,
  code: 'const x: number = await Promise.resolve(1) // => 1\nArray.of(x, 2).map((a) =>\n  `${a}`\n) // => ["1", "2"]'
}

let problems: Fences.Problems

beforeAll(async () => {
  problems = await Effect.runPromise(Effect.scoped(Fences.check([...fences, ...wrong, right])))
}, 60_000)

const problemsOf = (fence: Fences.Fence) => problems.get(Fences.labelOf(fence))

describe("the code in the documentation", () => {
  it("is there", () => {
    assert.isNotEmpty(fences)
  })

  it.each(fences.map((fence) => [Fences.labelOf(fence), fence] as const))("%s compiles and runs", (_, fence) => {
    assert.deepStrictEqual(problemsOf(fence), [])
  })
})

describe("the check of a fence", () => {
  it("accepts what is right", () => {
    assert.deepStrictEqual(problemsOf(right), [])
  })

  it.each(broken.map(([name, problem], index) => [name, problem, wrong[index]!] as const))(
    "notices %s",
    (_, problem, fence) => {
      assert.match(problemsOf(fence)!.join("\n"), problem)
    }
  )

  it("finds fences in Markdown and in doc comments", () => {
    const markdown = "# A\n\n```ts\na\n\n  b\n```\n\n```sh\nc\n```\n- d\n  ```ts\n  e\n  ```\n"
    assert.deepStrictEqual(Fences.extract("a.md", markdown), [
      { file: "a.md", line: 3, code: "a\n\n  b" },
      { file: "a.md", line: 13, code: "e" }
    ])
    const comment = "/**\n * ```ts\n * a\n *\n *   b\n * ```\n */\n"
    assert.deepStrictEqual(Fences.extract("a.ts", comment), [{ file: "a.ts", line: 2, code: "a\n\n  b" }])
  })

  it("refuses a fence without an end", () => {
    assert.throws(() => Fences.extract("a.md", "```ts\na\n"), "a.md:1: the fence has no end")
  })
})
