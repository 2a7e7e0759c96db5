/**
 * Small total functions over JSON values that come from models: canonical text, and a bounded check that never
 * recurses deeper or reads further than its limits.
 */

/** Levels of nesting that are looked at: `JSON.stringify` and most parsers give up a few thousand further down. */
const deepest = 512

/**
 * The canonical text of a JSON value: object keys sorted, numbers by value (`-0` is `0`), `undefined` members
 * dropped. Equal values have equal texts whatever order their keys were written in, and different ones different
 * texts, but for what is nested deeper than 512 levels.
 */
export const canonical = (value: unknown): string => JSON.stringify(sorted(value, 1)) ?? "null"

/** The value with all keys in order; itself if they are already. */
const sorted = (value: unknown, depth: number): unknown => {
  if (typeof value !== "object" || value === null) return value
  if (depth > deepest) return "…"
  return Array.isArray(value) ? sortedArray(value, depth) : sortedObject(value as Record<string, unknown>, depth)
}

const sortedArray = (value: ReadonlyArray<unknown>, depth: number): ReadonlyArray<unknown> => {
  let copy: Array<unknown> | undefined
  for (let i = 0; i < value.length; i++) {
    const item = sorted(value[i], depth + 1)
    if (copy === undefined && item !== value[i]) copy = value.slice()
    if (copy !== undefined) copy[i] = item
  }
  return copy ?? value
}

const sortedObject = (value: Record<string, unknown>, depth: number): Record<string, unknown> => {
  let keys = Object.keys(value)
  let copy: Record<string, unknown> | undefined
  for (let i = 1; i < keys.length && copy === undefined; i++) if (keys[i - 1]! > keys[i]!) copy = {}
  if (copy !== undefined) keys = inOrder(keys)
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i]!
    const member = sorted(value[key], depth + 1)
    if (copy === undefined && member !== value[key]) {
      copy = {}
      for (let j = 0; j < i; j++) put(copy, keys[j]!, value[keys[j]!])
    }
    if (copy !== undefined) put(copy, key, member)
  }
  return copy ?? value
}

/** Sorts keys. A few, as nearly all objects have, are sorted by insertion: the general sort allocates a lot. */
const inOrder = (keys: Array<string>): Array<string> => {
  if (keys.length > 16) return keys.toSorted()
  for (let i = 1; i < keys.length; i++) {
    const key = keys[i]!
    let at = i
    for (; at > 0 && keys[at - 1]! > key; at--) keys[at] = keys[at - 1]!
    keys[at] = key
  }
  return keys
}

const put = (object: Record<string, unknown>, key: string, value: unknown): void => {
  // An assignment to this key would set the prototype.
  if (key === "__proto__") Object.defineProperty(object, key, { value, enumerable: true })
  else object[key] = value
}

/** Whether a JSON value is nested deeper than 512 levels, so that it may be too deep to be written again. */
export const isDeep = (value: unknown, depth = 1): boolean => {
  if (typeof value !== "object" || value === null) return false
  if (depth > deepest) return true
  if (Array.isArray(value)) return value.some((item) => isDeep(item, depth + 1))
  for (const key in value) if (isDeep((value as Record<string, unknown>)[key], depth + 1)) return true
  return false
}

/** Whether a text, read as JSON, is nested deeper than 512 levels. */
export const isDeepText = (text: string): boolean => {
  if (text.length <= deepest) return false
  let depth = 0
  let inString = false
  for (let i = 0; i < text.length; i++) {
    const character = text[i]
    if (inString) {
      if (character === "\\") i++
      else if (character === '"') inString = false
    } else if (character === '"') inString = true
    else if (character === "[" || character === "{") {
      if (++depth > deepest) return true
    } else if (character === "]" || character === "}") depth--
  }
  return false
}

/** Why a JSON value from outside is not taken. */
export type Unsafe = "too deep" | "too large" | "has a forbidden key" | "holds what is not JSON"

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
    else if (typeof node === "bigint" || typeof node === "function" || typeof node === "symbol") found = notJson
    else if (typeof node !== "object" || node === null) left -= 4
    else if (depth > limits.depth) found = "too deep"
    else if (Array.isArray(node)) {
      left -= 2
      for (let i = 0; i < node.length && found === undefined && left >= 0; i++) visit(node[i], depth + 1)
    } else if ("toJSON" in node) found = notJson
    else {
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

const notJson = "holds what is not JSON"

const hasPrototype = (value: unknown): boolean =>
  typeof value === "object" && value !== null && Object.hasOwn(value, "prototype")

/**
 * The value as JSON has it where something is `undefined`: members of objects are left out, anything else is `null`. What
 * else is no JSON stays as it is, and so does what holds itself.
 */
export const withoutUndefined = (value: unknown): unknown => defined(value, new Map())

const defined = (value: unknown, known: Map<object, unknown>): unknown => {
  if (value === undefined) return null
  if (typeof value !== "object" || value === null) return value
  if (known.has(value)) return known.get(value)
  known.set(value, value)
  const copy = Array.isArray(value) ? Array.from(value, (item) => defined(item, known)) : definedMembers(value, known)
  known.set(value, copy)
  return copy
}

const definedMembers = (value: object, known: Map<object, unknown>): object => {
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) return value
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, member]) => (member === undefined ? [] : [[key, defined(member, known)]]))
  )
}
