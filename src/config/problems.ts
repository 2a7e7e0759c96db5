/**
 * What is wrong with a configuration: each problem with the path, the reason in words, and what was meant.
 */
import * as Predicate from "effect/Predicate"
import type * as SchemaAST from "effect/SchemaAST"
import * as SchemaIssue from "effect/SchemaIssue"
import type { Path } from "./document.ts"
import * as Shape from "./shape.ts"

/** What is wrong at a path. */
export interface Finding {
  readonly path: Path
  /** What it is about: the name of a key, or what stands behind it. */
  readonly at: "key" | "value"
  readonly message: string
}

/** The findings in an issue of the schema. */
export const fromIssue = (ast: SchemaAST.AST, issue: SchemaIssue.Issue, path: Path = []): ReadonlyArray<Finding> => {
  switch (issue._tag) {
    case "Pointer":
      // Keys of JSON are no symbols.
      return fromIssue(ast, issue.issue, [...path, ...(issue.path as Path)])
    case "Composite":
      return issue.issues.flatMap((one) => fromIssue(ast, one, path))
    case "Encoding":
      return fromIssue(ast, issue.issue, path)
    case "AnyOf": {
      const within = issue.issues.filter((one) => one._tag !== "AnyOf" || one.issues.length > 0)
      const types = variants(issue.ast)
      if (within.length === 0 && types.length > 0 && Predicate.isObject(issue.input)) {
        const { type } = issue.input
        if (type === undefined) return [{ path, at: "key", message: "the key 'type' is missing" }]
        return [{ path: [...path, "type"], at: "value", message: unknown("type", String(type), types) }]
      }
      const findings = within.flatMap((one) => fromIssue(ast, one, path))
      return findings.length > 0 ? findings : [{ path, at: "value", message: describe(issue) }]
    }
    case "UnexpectedKey": {
      const name = String(path.at(-1))
      return [{ path, at: "key", message: unknown("key", name, Shape.keysAt(ast, path.slice(0, -1))) }]
    }
    case "MissingKey":
      return [{ path: path.slice(0, -1), at: "key", message: `the key '${String(path.at(-1))}' is missing` }]
    default:
      return [{ path, at: "value", message: describe(issue) }]
  }
}

const format = SchemaIssue.makeFormatterDefault()

const kinds: Readonly<Record<string, string>> = {
  Objects: "keys with values",
  Arrays: "a list",
  String: "a text",
  Number: "a number",
  Boolean: "true or false",
  Literal: "one of the choices"
}

const describe = (issue: SchemaIssue.Issue): string => {
  if (issue._tag === "InvalidType" && issue.ast.annotations?.message === undefined) {
    const expected = kinds[issue.ast._tag]
    // A text in place of a section may be the secret that belongs into it.
    const found = issue.ast._tag === "Objects" && typeof issue.input === "string" ? "a text" : show(issue.input)
    if (expected !== undefined) return `has to be ${expected}, is ${found}`
  }
  if (issue._tag === "AnyOf") {
    const choices = literals(issue.ast)
    if (choices.length > 0 && typeof issue.input === "string") return unknown("choice", issue.input, choices)
    const message = issue.ast.annotations?.message
    if (message === undefined) {
      const expected = [...new Set(issue.ast.types.map(({ _tag }) => kinds[_tag] ?? "one of the choices"))]
      return `has to be ${expected.join(" or ")}, is ${show(issue.input)}`
    }
  }
  const text = format(issue)
  return text.charAt(0).toLowerCase() + text.slice(1)
}

const show = (value: unknown): string => {
  if (Array.isArray(value)) return "a list"
  if (typeof value === "object" && value !== null) return "keys with values"
  return typeof value === "string" ? `the text ${JSON.stringify(value)}` : String(value)
}

const literals = (ast: SchemaAST.AST): ReadonlyArray<string> => {
  if (ast._tag === "Union") return ast.types.flatMap(literals)
  return ast._tag === "Literal" ? [String(ast.literal)] : []
}

/** The names of the members of a union that are told apart by their `type`. */
const variants = (ast: SchemaAST.Union): ReadonlyArray<string> =>
  ast.types.flatMap((member) =>
    member._tag === "Objects"
      ? member.propertySignatures.flatMap(({ name, type }) => (name === "type" ? literals(type) : []))
      : []
  )

/** Says that a name is unknown, which one was meant if that is clear, and which there are. */
export const unknown = (kind: string, name: string, known: ReadonlyArray<string>): string => {
  const names = [...new Set(known)]
  const meant = nearest(name, names)
  const help =
    meant !== undefined
      ? `Did you mean '${meant}'?`
      : names.length === 0
        ? "There are none"
        : `Known: ${names.join(", ")}`
  return `there is no ${kind} '${name}'. ${help}`
}

/** The known name that a misspelt one is most like, if it is like one at all. */
export const nearest = (name: string, known: ReadonlyArray<string>): string | undefined => {
  const [best] = known
    .map((one) => ({ one, distance: distance(normal(name), normal(one)) }))
    .filter(({ distance, one }) => distance <= Math.max(1, Math.floor(Math.max(name.length, one.length) / 3)))
    .toSorted((a, b) => a.distance - b.distance)
  return best?.one
}

const normal = (name: string): string => name.toLowerCase().replaceAll("-", "_")

/** How many letters have to be put in, taken out, replaced or swapped with their neighbour (optimal string alignment). */
const distance = (a: string, b: string): number => {
  let before: ReadonlyArray<number> = []
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      let cost = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (same ? 0 : 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) cost = Math.min(cost, before[j - 2]! + 1)
      next.push(cost)
    }
    before = row
    row = next
  }
  return row[b.length]!
}
