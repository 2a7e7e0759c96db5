/**
 * The page that compares this runtime with the original claims much: every test it cites has to exist.
 */
import { existsSync, globSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { parseAst } from "vitest/node"

const root = fileURLToPath(new URL("../", import.meta.url))
const page = readFileSync(`${root}docs/from-rust.md`, "utf8")

/** The ids that the original's features, bugs and promises have, and how many there are of each letter. */
const counts: Readonly<Record<string, number>> = {
  A: 15,
  C: 10,
  S: 2,
  T: 8,
  M: 5,
  L: 7,
  E: 10,
  W: 11,
  K: 7,
  H: 5,
  R: 5,
  X: 4,
  G: 6,
  D: 4,
  Q: 4,
  O: 5,
  B: 67,
  P: 44
}
const ids = Object.entries(counts).flatMap(([letter, count]) =>
  Array.from({ length: count }, (_, i) => `${letter}${i + 1}`)
)

interface Row {
  readonly id: string
  readonly original: string
  readonly here: string
  readonly status: string
  readonly tests: ReadonlyArray<string>
}

const rows: ReadonlyArray<Row> = Array.from(page.matchAll(/^\| ([A-Z]\d+ \| .*) \|$/gm), ([, cells = ""]) => {
  const [id = "", original = "", here = "", status = "", tests = ""] = cells.split(" | ")
  return { id, original, here, status, tests: Array.from(tests.matchAll(/`([^`]+)`/g), ([, test = ""]) => test) }
})

type Node = Readonly<Record<string, unknown>>

const isNode = (u: unknown): u is Node => typeof u === "object" && u !== null

/** What a call is a call of, in words: `it effect each` of `it.effect.each([])("name")`. */
const calleeOf = (node: unknown): string => {
  if (!isNode(node)) return ""
  if (node["type"] === "Identifier") return String(node["name"])
  return `${calleeOf(node["object"] ?? node["callee"])} ${calleeOf(node["property"])}`.trim()
}

/** The tests of a file, each behind the names of the `describe`s around it. */
const testsIn = (file: string): ReadonlyArray<string> => {
  const found: Array<string> = []
  const visit = (u: unknown, path: string): void => {
    if (!isNode(u)) return
    let inside = path
    const [first] = u["type"] === "CallExpression" ? (u["arguments"] as ReadonlyArray<unknown>) : []
    if (isNode(first) && first["type"] === "Literal") {
      const name = `${path} › ${String(first["value"])}`
      const callee = calleeOf(u)
      // Who skips a test takes its claim away.
      if (/\b(skip|skipIf|runIf|todo|fails)\b/.test(callee)) return
      if (/^describe\b/.test(callee)) inside = name
      if (/^it\b/.test(callee)) found.push(name)
    }
    for (const child of Object.values(u)) visit(child, inside)
  }
  visit(parseAst(readFileSync(`${root}test/${file}`, "utf8"), { lang: "ts" }), file)
  return found
}

const tests = new Set(
  globSync("**/*.test{,-d}.ts", { cwd: `${root}test` }).flatMap((file) => testsIn(file.replaceAll("\\", "/")))
)

describe("the comparison with the original", () => {
  it("has each of its features, bugs and promises once", () => {
    assert.deepStrictEqual(rows.map(({ id }) => id).toSorted(), ids.toSorted())
  })

  it("says of each what became of it", () => {
    const statuses = /^(done|planned|deliberately not)$/
    assert.deepStrictEqual(
      rows.filter(({ here, original, status }) => !statuses.test(status) || here === "" || original === ""),
      []
    )
    assert.notInclude(page, "TODO(")
  })

  it("shows a test of each that is done", () => {
    assert.deepStrictEqual(
      rows.filter(({ status, tests }) => status === "done" && tests.length === 0),
      []
    )
  })

  it("cites tests that exist", () => {
    assert.isAbove(tests.size, 500)
    assert.deepStrictEqual(
      rows.flatMap((row) => row.tests).filter((test) => !tests.has(test)),
      []
    )
  })

  it("links to files that exist", () => {
    const links = Array.from(page.matchAll(/\]\(([^)#:]+)\)/g), ([, link = ""]) => link)
    assert.isNotEmpty(links)
    assert.deepStrictEqual(
      links.filter((link) => !existsSync(new URL(link, `file://${root}docs/`))),
      []
    )
  })
})
