import { globSync, readFileSync } from "node:fs"
import { dirname, join } from "node:path/posix"
import { assert, describe, it } from "@effect/vitest"

/**
 * A module imports lower levels and `effect`; from its own level it takes types only.
 * An exact name wins over a `*` pattern.
 */
const levels: ReadonlyArray<readonly [level: number, modules: ReadonlyArray<string>]> = [
  // helpers that know nothing of agents
  [-1, ["internal/*"]],
  // data
  [0, ["History", "Usage"]],
  [1, ["AgentError", "AgentEvent", "WorkflowRun"]],
  [2, ["SessionError"]],
  // pure policy
  [2, ["WorkflowError", "WorkflowEvent"]],
  [2, ["LoopDetector", "Mermaid", "Prices", "StopCondition", "TokenEstimator"]],
  [3, ["internal/account", "internal/machine"]],
  // ports
  [4, ["Approval", "Budget", "EventHub", "Llm", "SessionStore", "internal/charge", "internal/currentRun"]],
  [5, ["Toolbox", "internal/attempt", "internal/eventStream", "internal/httpLlm", "internal/llmJson"]],
  [5, ["internal/subRun", "internal/summary"]],
  // engine
  [6, ["ContextWindow", "internal/run", "internal/wire/*", "internal/cassette/conductor"]],
  [7, ["internal/cassette/*", "internal/modelCall", "internal/sentHistory", "internal/toolBatch"]],
  [7, ["internal/asChild"]],
  [8, ["internal/cassette/ports", "internal/ending"]],
  [9, ["internal/windowedCall"]],
  [10, ["internal/interpreter"]],
  // facade
  [11, ["Agent"]],
  [12, ["Session", "internal/workflowNode"]],
  [13, ["internal/workflowConversation", "internal/workflowPast", "internal/workflowRun"]],
  [14, ["internal/workflowStep"]],
  [15, ["Workflow"]],
  // edges
  [16, ["AgentTelemetry", "McpToolbox", "cli/*", "llm/*", "middleware/*", "session/*", "testing/*"]],
  // what brings the edges together
  [17, ["config/tomlPositions"]],
  [18, ["config/document"]],
  [19, ["config/shape"]],
  [20, ["config/overlay", "config/problems", "config/schema"]],
  [21, ["config/models", "config/observe"]],
  [22, ["config/agents"]],
  [23, ["config/workflows"]],
  [24, ["RuntimeConfig"]],
  [25, ["index"]]
]

/** What may be imported besides `effect/*` and relative modules. */
const packages: Readonly<Record<string, RegExp>> = {
  "cli/*": /^(@effect\/platform-node\/|node:)/,
  "config/document": /^(smol-toml|yaml)$/
}

interface Import {
  readonly specifier: string
  readonly typeOnly: boolean
}

type Sources = Readonly<Record<string, string>>

// Anchored to the line start, so that the examples in doc comments do not count.
const importPattern = (() => {
  const bindings = String.raw`(?:[\w$]+\s*,\s*)?(?:\*(?:\s*as\s+[\w$]+)?|\{[^}]*\}|[\w$]+)`
  return new RegExp(String.raw`^(?:(?:import|export)\s+(type\s+)?${bindings}\s*from|import)\s*"([^"]+)"`, "gm")
})()

const parseImports = (source: string): ReadonlyArray<Import> =>
  Array.from(source.matchAll(importPattern), ([, type, specifier]) => ({
    specifier: specifier!,
    typeOnly: type !== undefined
  }))

const placeOf = (module: string): readonly [level: number, group: string] | undefined => {
  const directory = `${dirname(module)}/*`
  for (const name of [module, directory]) {
    const row = levels.find(([, modules]) => modules.includes(name))
    if (row !== undefined) return [row[0], name]
  }
  return undefined
}

const target = (module: string, specifier: string): string | undefined =>
  specifier.startsWith(".") ? join(dirname(module), specifier).replace(/\.ts$/, "") : undefined

const isIndex = (module: string) => /(^|\/)index$/.test(module)

/** Why `module` may not have this import, or `undefined`. */
const objection = (module: string, { specifier, typeOnly }: Import): string | undefined => {
  const from = placeOf(module)
  if (from === undefined) return undefined
  const [level, group] = from
  const imported = target(module, specifier)
  if (imported === undefined) {
    if (specifier === "effect") return "is the barrel, import a module of effect"
    return specifier.startsWith("effect/") || packages[group]?.test(specifier) ? undefined : "is not effect"
  }
  const to = placeOf(imported)
  if (to === undefined) return "is in no level"
  if (isIndex(imported)) return group === "cli/*" || module === "index" ? undefined : "is an index"
  if (group === "testing/*" || group === "cli/*") return undefined
  if (group === "llm/*" && (to[1] === "llm/*" || imported === "Agent")) return "is closed to llm/*"
  if (group === "middleware/*" && imported === "Agent") return "is closed to middleware/*"
  if (level === -1 ? to[0] === -1 : to[0] < level) return undefined
  if (to[0] > level) return `is on level ${to[0]}, above level ${level}`
  return typeOnly ? undefined : `is on the same level ${level}, only \`import type\` may reach it`
}

const objections = (sources: Sources): ReadonlyArray<string> =>
  Object.entries(sources).flatMap(([module, source]) =>
    parseImports(source).flatMap((import_) => {
      const reason = objection(module, import_)
      return reason === undefined ? [] : [`${module}.ts: "${import_.specifier}" ${reason}`]
    })
  )

const unplaced = (sources: Sources): ReadonlyArray<string> =>
  Object.keys(sources)
    .filter((module) => placeOf(module) === undefined)
    .map((module) => `src/${module}.ts is in no level: add it to the table in test/architecture.test.ts`)

const cycle = (sources: Sources): ReadonlyArray<string> => {
  const done = new Set<string>()
  const visit = (module: string, path: ReadonlyArray<string>): ReadonlyArray<string> => {
    if (path.includes(module)) return [...path.slice(path.indexOf(module)), module]
    if (done.has(module)) return []
    for (const { specifier } of parseImports(sources[module] ?? "")) {
      const next = target(module, specifier)
      const found = next === undefined ? [] : visit(next, [...path, module])
      if (found.length > 0) return found
    }
    done.add(module)
    return []
  }
  for (const module of Object.keys(sources)) {
    const found = visit(module, [])
    if (found.length > 0) return found
  }
  return []
}

const src = new URL("../src/", import.meta.url)

const sources: Sources = Object.fromEntries(
  globSync("**/*.ts", { cwd: src }).map((file) => {
    const module = file.replaceAll("\\", "/").replace(/\.ts$/, "")
    return [module, readFileSync(new URL(`${module}.ts`, src), "utf8")]
  })
)

describe("src", () => {
  it("has modules", () => {
    assert.isAbove(Object.keys(sources).length, 0)
  })

  it("places every module on a level", () => {
    assert.deepStrictEqual(unplaced(sources), [])
  })

  it("imports downwards only", () => {
    assert.deepStrictEqual(objections(sources), [])
  })

  it("has no cycle", () => {
    assert.deepStrictEqual(cycle(sources), [])
  })

  it("imports every package that whoever installs it has to install", () => {
    const { dependencies, peerDependencies } = JSON.parse(
      readFileSync(new URL("../package.json", import.meta.url), "utf8")
    ) as Readonly<Record<string, object | undefined>>
    const imported = Object.values(sources).flatMap(parseImports)
    assert.deepStrictEqual(
      Object.keys({ ...dependencies, ...peerDependencies }).filter((name) =>
        imported.every(({ specifier }) => specifier !== name && !specifier.startsWith(`${name}/`))
      ),
      []
    )
  })
})

describe("the rules", () => {
  const refused: ReadonlyArray<readonly [name: string, module: string, source: string]> = [
    ["a higher level", "History", `import type { Agent } from "./Agent.ts"`],
    ["a value of the same level", "History", `import * as Usage from "./Usage.ts"`],
    ["an inline type of the same level", "History", `import { type Usage } from "./Usage.ts"`],
    ["a re-export from a higher level", "Usage", `export * from "./Budget.ts"`],
    ["a side effect of a higher level", "Usage", `import "./Budget.ts"`],
    ["an import over several lines", "Usage", `import {\n  a,\n  b\n} from "./Budget.ts"`],
    ["a level from a leaf helper", "internal/json", `import * as Usage from "../Usage.ts"`],
    ["the barrel of effect", "Usage", `import { Effect } from "effect"`],
    ["another package", "Usage", `import { z } from "zod"`],
    ["node outside the cli", "Usage", `import * as fs from "node:fs"`],
    ["the package by its own name", "cli/main", `import * as Agent from "effect-agent-runtime/Agent"`],
    ["an index", "testing/ScriptedLlm", `import { Agent } from "../index.ts"`],
    ["a provider from a provider", "llm/OpenAi", `import type * as Anthropic from "./Anthropic.ts"`],
    ["the agent from a provider", "llm/OpenAi", `import * as Agent from "../Agent.ts"`],
    ["a middleware from a middleware", "middleware/Retry", `import * as Timeout from "./Timeout.ts"`],
    ["a provider from a middleware", "middleware/Retry", `import * as OpenAi from "../llm/OpenAi.ts"`],
    ["the agent from a middleware", "middleware/Retry", `import type * as Agent from "../Agent.ts"`],
    ["a module that is in no level", "Agent", `import * as Mystery from "./Mystery.ts"`]
  ]
  const allowed: ReadonlyArray<readonly [name: string, module: string, source: string]> = [
    ["a lower level", "Agent", `import * as History from "./History.ts"`],
    ["a type of the same level", "History", `import type * as Usage from "./Usage.ts"`],
    ["a type of a middleware in another", "middleware/Retry", `import type * as Timeout from "./Timeout.ts"`],
    ["a leaf helper from a leaf helper", "internal/canonical", `import * as json from "./json.ts"`],
    ["a module of effect", "Usage", `import * as Effect from "effect/Effect"`],
    ["anything in testing", "testing/ScriptedLlm", `import * as Workflow from "../Workflow.ts"`],
    ["the index and the platform in the cli", "cli/main", `import "../index.ts"\nimport "node:fs"`],
    ["everything in the index", "index", `export * as Agent from "./Agent.ts"`],
    ["an example in a comment", "Usage", `/**\n * import * as Agent from "./Agent.ts"\n */`]
  ]

  it.each(refused)("refuse %s", (_, module, source) => {
    assert.lengthOf(objections({ [module]: source }), 1)
  })

  it.each(allowed)("allow %s", (_, module, source) => {
    assert.deepStrictEqual(objections({ [module]: source }), [])
  })

  it("refuse a file in no level", () => {
    assert.lengthOf(unplaced({ Mystery: "", "internal/anything": "", "deep/er/Thing": "" }), 2)
  })

  it("refuse a cycle, of types too", () => {
    const a = `import type { B } from "./b.ts"`
    assert.deepStrictEqual(cycle({ a, b: `import "./c.ts"`, c: `export * from "./b.ts"` }), ["b", "c", "b"])
    assert.deepStrictEqual(cycle({ a, b: `import "./c.ts"`, c: "" }), [])
  })
})
