/**
 * What is laid over a file: variables of the environment and flags. Each sets one key, named by its path.
 */
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import type * as SchemaAST from "effect/SchemaAST"
import type { Path } from "./document.ts"
import { parseValue } from "./document.ts"
import * as Shape from "./shape.ts"

/** A key that is set, and where it was. */
export interface Setting {
  readonly path: Path
  readonly value: unknown
  /** The variable, or the flag. */
  readonly source: string
}

/** A name and a text, as variables and flags have them. */
export type Text = readonly [name: string, text: string]

const prefix = "AGENT_RUNTIME__"

/** The variables `AGENT_RUNTIME__…` of the environment, by name. */
export const variables: Effect.Effect<ReadonlyArray<Text>, ConfigProvider.SourceError> = Effect.gen(function* () {
  const provider = yield* ConfigProvider.ConfigProvider
  const found: Array<Text> = []
  // A provider of the environment splits names at every underscore.
  const walk = (path: ReadonlyArray<string>): Effect.Effect<void, ConfigProvider.SourceError> =>
    Effect.flatMap(provider.load(path), (node) => {
      const name = path.join("_")
      if (node?.value !== undefined && name.startsWith(prefix)) found.push([name, node.value])
      if (node === undefined || node._tag === "Value") return Effect.void
      const keys = node._tag === "Record" ? [...node.keys] : Array.from({ length: node.length }, (_, i) => String(i))
      return Effect.forEach(keys, (key) => walk([...path, key]), { discard: true })
    })
  yield* walk(["AGENT", "RUNTIME"])
  return found.toSorted(([a], [b]) => (a < b ? -1 : 1))
})

/**
 * Lays variables over data. Segments are separated by `__` and match the keys that the schema or the data has, whatever
 * their case, with an underscore for what a variable's name cannot have.
 */
export const fromEnvironment = (
  ast: SchemaAST.AST,
  data: unknown,
  variables: ReadonlyArray<Text>
): ReadonlyArray<Setting> => {
  let current = data
  return variables.map(([name, text]) => {
    const setting = resolve(ast, current, name.slice(prefix.length).split("__"), text, name, fuzzy)
    // What is in the environment is a secret that is in no file already: it is referred to.
    const isLiteralSecret = Shape.isSecret(ast, setting.path) && typeof setting.value === "string"
    const value = isLiteralSecret && !setting.value.startsWith("${") ? { env: name } : setting.value
    current = set(current, setting.path, value)
    return { ...setting, value }
  })
}

/** Lays flags over data. Segments are separated by dots. */
export const fromFlags = (ast: SchemaAST.AST, data: unknown, flags: ReadonlyArray<Text>): ReadonlyArray<Setting> => {
  let current = data
  return flags.map(([name, text]) => {
    const setting = resolve(ast, current, name.split("."), text, `--set ${name}`, (a, b) => a === b)
    current = set(current, setting.path, setting.value)
    return setting
  })
}

const resolve = (
  ast: SchemaAST.AST,
  data: unknown,
  segments: ReadonlyArray<string>,
  text: string,
  source: string,
  matches: (segment: string, key: string) => boolean
): Setting => {
  const path: Array<string | number> = []
  let value = data
  for (const segment of segments) {
    if (Array.isArray(value) && /^\d+$/.test(segment)) path.push(Number(segment))
    else {
      const keys = [...(Predicate.isObject(value) ? Object.keys(value) : []), ...Shape.keysAt(ast, path)]
      path.push(
        keys.find((key) => key === segment) ?? keys.find((key) => matches(segment, key)) ?? lowered(segment, matches)
      )
    }
    value = Predicate.isObject(value) || Array.isArray(value) ? Reflect.get(value, path.at(-1)!) : undefined
  }
  return { path, value: read(ast, path, text), source }
}

const lowered = (segment: string, matches: (segment: string, key: string) => boolean): string =>
  matches === fuzzy ? segment.toLowerCase() : segment

const fuzzy = (segment: string, key: string): boolean => normal(segment) === normal(key)

const normal = (name: string): string => name.toLowerCase().replace(/[^a-z0-9]/g, "_")

/** A text as the value that belongs to a path. */
const read = (ast: SchemaAST.AST, path: Path, text: string): unknown => {
  if (Shape.accepts(ast, path, text)) return text
  const value = parseValue(text)
  if (typeof value === "string" && Shape.isList(ast, path)) return value.split(",").map((part) => part.trim())
  return value
}

/** The data with the value at the path. What is on the way and no object becomes one. */
export const set = (data: unknown, [first, ...rest]: Path, value: unknown): unknown => {
  if (first === undefined) return value
  if (Array.isArray(data) && typeof first === "number") {
    const copy: Array<unknown> = [...data]
    copy[first] = set(copy[first], rest, value)
    return copy
  }
  const entries = new Map(Predicate.isObject(data) ? Object.entries(data) : [])
  entries.set(String(first), set(entries.get(String(first)), rest, value))
  // Defines keys and assigns none: `__proto__` is a key like any other.
  return Object.fromEntries(entries)
}

/** The data without the keys that have no value: in YAML a key whose section is empty or commented out. */
export const compact = (data: unknown): unknown => {
  if (Array.isArray(data)) return data.map(compact)
  // Not the dates of TOML, which are objects with methods.
  if (!Predicate.isObject(data) || data instanceof Date) return data
  return Object.fromEntries(
    Object.entries(data).flatMap(([key, value]) => (value === null ? [] : [[key, compact(value)]]))
  )
}
