/**
 * The code in documentation, treated as what readers take it for: programs of a project that has this package
 * installed. Each fence is type-checked and run, and a line `expression // => value` has to be true.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { parseAst } from "vitest/node"
import * as Program from "./program.ts"

export interface Fence {
  readonly file: string
  /** The line of the opening fence, counted from 1. */
  readonly line: number
  readonly code: string
}

export const labelOf = (fence: Fence): string => `${fence.file}:${fence.line}`

/** The fences marked `ts` in Markdown, or in the doc comments of a module. */
export const extract = (file: string, text: string): ReadonlyArray<Fence> => {
  const fences: Array<Fence> = []
  const lines = text.split("\n")
  for (let i = 0; i < lines.length; i++) {
    const prefix = /^(\s*(?:\* )?)```ts\b/.exec(lines[i]!)?.[1]
    if (prefix === undefined) continue
    const line = i + 1
    const code: Array<string> = []
    while (++i < lines.length && lines[i] !== `${prefix}\`\`\``) {
      code.push(lines[i]!.startsWith(prefix) ? lines[i]!.slice(prefix.length) : "")
    }
    if (i === lines.length) throw new Error(`${file}:${line}: the fence has no end`)
    fences.push({ file, line, code: code.join("\n") })
  }
  return fences
}

/** What is wrong with each fence, by label. */
export type Problems = ReadonlyMap<string, ReadonlyArray<string>>

const root = fileURLToPath(new URL("../../", import.meta.url))

/** Checks all fences in one project, with one compilation and one process. */
export const check = Effect.fnUntraced(function* (
  fences: ReadonlyArray<Fence>
): Effect.fn.Return<Problems, never, Scope.Scope> {
  const problems = new Map(fences.map((fence): [string, Array<string>] => [labelOf(fence), []]))
  const directory = yield* project
  const written = fences.flatMap((fence, index) => {
    const name = `fence${index}.ts`
    const program = instrument(fence)
    problems.get(labelOf(fence))!.push(...program.problems)
    if (program.code === undefined) return []
    writeFileSync(join(directory, name), program.code)
    return [{ name, fence, claims: program.claims }]
  })
  const files = new Map(written.map((file) => [file.name, file]))
  const note = (name: string, problem: string) => {
    const file = files.get(name)
    if (file !== undefined) problems.get(labelOf(file.fence))!.push(problem)
  }

  const start = (...args: ReadonlyArray<string>) =>
    Effect.flatMap(Program.start(args, { cwd: directory }), (program) => program.ended)
  const [compiled, ran] = yield* Effect.all(
    [
      start(join(root, "node_modules/typescript/bin/tsc"), "--pretty", "false"),
      start("run.ts", JSON.stringify(written.map(({ name }) => name)))
    ],
    { concurrency: 2 }
  )

  for (const [, name, line, issue] of compiled.stdout.matchAll(/^(\w+\.ts)\((\d+),\d+\): error (.*(?:\n .*)*)/gm)) {
    note(name!, `${origin(files.get(name!)?.fence, Number(line))}: ${issue}`)
  }
  const report = ran.stdout.split("\n").filter((line) => line.startsWith(marker))
  const reached = new Set<string>()
  for (const line of report) {
    const { claim, name, problem } = JSON.parse(line.slice(marker.length))
    if (claim !== undefined) reached.add(`${name} ${claim}`)
    if (problem !== undefined) note(name, claim === undefined ? problem : `${claim}: ${problem}`)
  }
  for (const { claims, name } of written) {
    for (const claim of claims) if (!reached.has(`${name} ${claim}`)) note(name, `${claim}: the line was not reached`)
  }
  if (compiled.code === null) for (const name of files.keys()) note(name, `tsc did not end: ${compiled.stderr}`)
  if (ran.code !== 0) for (const name of files.keys()) note(name, `the programs did not end: ${ran.stderr}`)
  return problems
})

const origin = (fence: Fence | undefined, line: number): string =>
  fence === undefined ? "" : `${fence.file}:${fence.line + line}`

interface Instrumented {
  /** The program, line by line where it was, or `undefined` when it is none. */
  readonly code: string | undefined
  /** Where it claims something. */
  readonly claims: ReadonlyArray<string>
  readonly problems: ReadonlyArray<string>
}

/** A node of the syntax tree, as far as it matters here. */
interface Node {
  readonly type: string
  readonly start: number
  readonly end: number
  /** Of an identifier; behind it may be its type. */
  readonly name?: string
  readonly expression?: Node
  readonly declarations?: ReadonlyArray<{ readonly id: Node }>
}

/** Turns `expression // => value` into a check. */
const instrument = (fence: Fence): Instrumented => {
  const source = fence.code
  const claims: Array<string> = []
  const edits: Array<{ readonly start: number; readonly end: number; readonly text: string }> = []

  const visit = (node: unknown): void => {
    if (Array.isArray(node)) return node.forEach(visit)
    if (typeof node !== "object" || node === null) return
    if ("type" in node && "end" in node) claim(node as Node)
    Object.values(node).forEach(visit)
  }
  const claim = (node: Node): void => {
    const subject = node.type === "ExpressionStatement" ? node.expression! : node.declarations?.[0]?.id
    if (subject === undefined || (subject !== node.expression && subject.type !== "Identifier")) return
    const value = /^;?[ \t]*\/\/ => (.*)/.exec(source.slice(node.end))?.[1]
    if (value === undefined) return
    const at = origin(fence, source.slice(0, node.end).split("\n").length)
    const expression = subject.name ?? source.slice(subject.start, subject.end)
    const text = `$check(import.meta.url, ${JSON.stringify(at)}, ${expression}, ${value})`
    claims.push(at)
    if (subject === node.expression) edits.push({ start: subject.start, end: subject.end, text })
    else edits.push({ start: node.end, end: node.end, text: `; ${text}` })
  }

  const unreadable = parsing(source, visit)
  if (unreadable !== undefined) return { code: undefined, claims: [], problems: [unreadable] }
  const written = source.match(/\/\/ =>/g)?.length ?? 0
  const problems = written === claims.length ? [] : ["a `// =>` is not behind an expression or a constant"]
  let code = source
  // From the end, so that positions stay what they are.
  for (const { end, start, text } of edits.toSorted((a, b) => b.start - a.start)) {
    code = code.slice(0, start) + text + code.slice(end)
  }
  code = `import { $check } from "./check.ts"; ${code}\nexport {}\n`
  // Behind one syntax error, tsc does not look for other errors.
  const invalid = parsing(code, () => {})
  return invalid === undefined
    ? { code, claims, problems }
    : {
        code: undefined,
        claims: [],
        problems: [...problems, `a \`// =>\` is not in front of an expression: ${invalid}`]
      }
}

/** Why a program cannot be parsed, or `undefined`. */
const parsing = (code: string, visit: (tree: unknown) => void): string | undefined => {
  try {
    visit(parseAst(code, { lang: "ts" }))
    return undefined
  } catch (error) {
    return `it cannot be parsed: ${String(error)}`
  }
}

const marker = "@fence "

/** What the programs have in common. */
const checker = `
import { deepStrictEqual } from "node:assert/strict"
import { basename } from "node:path"
import { inspect } from "node:util"

export const tell = (message: { name: string; claim?: string; problem?: string }) =>
  process.stdout.write("\\n${marker}" + JSON.stringify(message) + "\\n")

export const $check = (url: string, claim: string, actual: unknown, expected: unknown): void => {
  const name = basename(url)
  try {
    deepStrictEqual(actual, expected)
    tell({ name, claim })
  } catch {
    tell({ name, claim, problem: "is " + inspect(actual, { depth: 10 }) })
  }
}
`

/** Runs the fences one after the other, and tells of each what went wrong. */
const runner = `
import { inspect } from "node:util"
import { tell } from "./check.ts"

let current = ""
const fail = (error: unknown) => tell({ name: current, problem: inspect(error) })
process.on("uncaughtException", fail)
for (const name of JSON.parse(process.argv[2]!) as Array<string>) {
  current = name
  const slow = new Promise((_, reject) => setTimeout(reject, 5_000, "it takes longer than 5 seconds"))
  await Promise.race([import("./" + name), slow]).catch(fail)
  // Rejections that nobody handles come up between turns of the event loop.
  await new Promise((resolve) => setImmediate(resolve))
}
// What fences leave running has another second.
setTimeout(() => process.exit(), 1_000)
`

/** A project outside of this one, with this package and all that it has installed. */
const project = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "fences-"))),
    (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
  ),
  (directory) => {
    const modules = join(directory, "node_modules")
    mkdirSync(modules)
    symlinkSync(root, join(modules, "effect-agent-runtime"), "junction")
    for (const name of readdirSync(join(root, "node_modules"))) {
      if (!name.startsWith(".")) symlinkSync(join(root, "node_modules", name), join(modules, name), "junction")
    }
    const options = JSON.parse(readFileSync(join(root, "tsconfig.json"), "utf8")).compilerOptions
    // An example may name something without using it.
    const tsconfig = { compilerOptions: { ...options, noUnusedLocals: false, plugins: [] }, include: ["*.ts"] }
    writeFileSync(join(directory, "tsconfig.json"), JSON.stringify(tsconfig))
    writeFileSync(join(directory, "package.json"), JSON.stringify({ private: true, type: "module" }))
    writeFileSync(join(directory, "check.ts"), checker)
    writeFileSync(join(directory, "run.ts"), runner)
    return directory
  }
)
