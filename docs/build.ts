/**
 * Writes docs/api.md: every public module with what it is, and its exports by category with their first sentence, read
 * from the doc comments of src. Writes docs/agent-runtime.schema.json: the JSON Schema of configuration files, for
 * editors. `node docs/build.ts --check` fails when a file is not up to date.
 */
import { globSync, readFileSync, writeFileSync } from "node:fs"
import * as RuntimeConfig from "../src/RuntimeConfig.ts"

const root = new URL("../", import.meta.url)

interface Export {
  readonly name: string
  readonly summary: string
  readonly category: string
}

/** The text of a doc comment without its frame. */
const unframe = (comment: string): string => comment.replaceAll(/^\s*\* ?/gm, "").trim()

/** The first sentence of a doc comment, links as code. */
const firstSentence = (comment: string): string => {
  const [paragraph = ""] = unframe(comment).split(/\n\s*\n|\n@/)
  const text = paragraph.replaceAll(/\s+/g, " ").replaceAll(/\{@link (\w+)\}/g, "`$1`")
  return /^.*?[.](?=\s|$)/.exec(text)?.[0] ?? text
}

const exportsOf = (source: string): ReadonlyArray<Export> => {
  const documented =
    /\/\*\*((?:[^*]|\*(?!\/))*)\*\/\n(?:\/\/.*\n)*export (?:declare )?(?:const|class|interface|type|function\*?) (\w+)/g
  return Array.from(source.matchAll(documented), ([, comment = "", name = ""]) => ({
    name,
    summary: firstSentence(comment),
    category: /@category (.+)/.exec(comment)?.[1] ?? "other"
  })).filter(({ category }) => category !== "other")
}

const render = (module: string): string => {
  const source = readFileSync(new URL(`src/${module}.ts`, root), "utf8")
  const header = /^\/\*\*((?:[^*]|\*(?!\/))*)\*\//.exec(source)?.[1] ?? ""
  const [summary = ""] = unframe(header).split(/\n\s*\n/)
  const byCategory = Map.groupBy(exportsOf(source), ({ category }) => category)
  const tables = Array.from(byCategory, ([category, exports]) =>
    [`**${category}**`, "", ...exports.map(({ name, summary: what }) => `- \`${name}\`: ${what}`)].join("\n")
  )
  return [`## ${module}`, summary.replaceAll(/\s+/g, " "), ...tables].join("\n\n")
}

const modules = globSync("**/*.ts", { cwd: new URL("src/", root) })
  .map((file) => file.replace(/\.ts$/, ""))
  .filter((module) => !/^(internal|cli|config)\/|(^|\/)index$/.test(module))
  .toSorted()

const page = `# API\n\nMade from the doc comments by \`npm run docs\`.\n\n${modules.map(render).join("\n\n")}\n`

const files = {
  "docs/api.md": page,
  "docs/agent-runtime.schema.json": `${JSON.stringify(RuntimeConfig.jsonSchema(), null, 2)}\n`
}

for (const [name, text] of Object.entries(files)) {
  const file = new URL(name, root)
  if (!process.argv.includes("--check")) writeFileSync(file, text)
  else if (readFileSync(file, "utf8") !== text) {
    process.stderr.write(`${name} is not up to date: run \`npm run docs\`\n`)
    process.exitCode = 1
  }
}
