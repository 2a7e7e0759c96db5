/**
 * Small total functions over JSON values that come from models: canonical text, and a bounded check that never
 * recurses deeper or reads further than its limits.
 */

/**
 * The canonical text of a JSON value: object keys sorted, numbers by value (`-0` is `0`), `undefined` members
 * dropped. Equal values have equal texts whatever order their keys were written in.
 */
export const canonical = (value: unknown): string => JSON.stringify(sorted(value)) ?? "null"

/** The value with all keys in order; itself if they are already. */
const sorted = (value: unknown): unknown => {
  if (typeof value !== "object" || value === null) return value
  return Array.isArray(value) ? sortedArray(value) : sortedObject(value as Record<string, unknown>)
}

const sortedArray = (value: ReadonlyArray<unknown>): ReadonlyArray<unknown> => {
  let copy: Array<unknown> | undefined
  for (let i = 0; i < value.length; i++) {
    const item = sorted(value[i])
    if (copy === undefined && item !== value[i]) copy = value.slice()
    if (copy !== undefined) copy[i] = item
  }
  return copy ?? value
}

const sortedObject = (value: Record<string, unknown>): Record<string, unknown> => {
  const keys = Object.keys(value)
  let same = true
  for (let i = 1; i < keys.length && same; i++) same = keys[i - 1]! < keys[i]!
  for (let i = 0; i < keys.length && same; i++) same = sorted(value[keys[i]!]) === value[keys[i]!]
  if (same) return value
  const copy: Record<string, unknown> = {}
  for (const key of keys.toSorted()) {
    // An assignment to this key would set the prototype.
    if (key === "__proto__") Object.defineProperty(copy, key, { value: sorted(value[key]), enumerable: true })
    else copy[key] = sorted(value[key])
  }
  return copy
}

/** Why a JSON value from outside is not taken. */
export type Unsafe = "too deep" | "too large" | "has a forbidden key"

/** Bounds for {@link inspect}. */
export interface Limits {
  /** Levels of arrays and objects. */
  readonly depth: number
  /** Roughly the characters of the JSON text. */
  readonly size: number
}

/**
 * Looks through a JSON value and says why it must not be taken, or `undefined` when it may. Forbidden are own
 * keys that could reach a prototype: `__proto__`, and `constructor` holding a `prototype`.
 */
export const inspect = (value: unknown, limits: Limits): Unsafe | undefined => {
  let left = limits.size
  let found: Unsafe | undefined
  const visit = (node: unknown, depth: number): boolean => {
    if (typeof node === "string") left -= node.length + 2
    else if (typeof node !== "object" || node === null) left -= 4
    else if (depth > limits.depth) found = "too deep"
    else if (Array.isArray(node)) {
      left -= 2
      for (let i = 0; i < node.length && found === undefined && left >= 0; i++) visit(node[i], depth + 1)
    } else {
      left -= 2
      for (const key in node) {
        const member = (node as Record<string, unknown>)[key]
        if (key === "__proto__" || (key === "constructor" && hasPrototype(member))) found = "has a forbidden key"
        left -= key.length + 4
        if (found !== undefined || left < 0) break
        visit(member, depth + 1)
      }
    }
    return found === undefined && left >= 0
  }
  if (visit(value, 1)) return undefined
  return found ?? "too large"
}

const hasPrototype = (value: unknown): boolean =>
  typeof value === "object" && value !== null && Object.hasOwn(value, "prototype")
