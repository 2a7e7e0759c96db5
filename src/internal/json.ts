/**
 * Small total functions over JSON values that come from models: canonical text, and a bounded check that never
 * recurses deeper or reads further than its limits.
 */

/**
 * The canonical text of a JSON value: object keys sorted, numbers by value (`-0` is `0`), `undefined` members
 * dropped. Equal values have equal texts whatever order their keys were written in.
 */
export const canonical = (value: unknown): string => {
  if (typeof value === "string") return JSON.stringify(value)
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null"
  if (Array.isArray(value)) {
    let out = "["
    for (let i = 0; i < value.length; i++) out += (i === 0 ? "" : ",") + canonical(value[i])
    return out + "]"
  }
  const keys = Object.keys(value)
  if (keys.length > 1) keys.sort()
  let out = "{"
  for (const key of keys) {
    const member = (value as Record<string, unknown>)[key]
    if (member === undefined) continue
    out += (out.length === 1 ? "" : ",") + JSON.stringify(key) + ":" + canonical(member)
  }
  return out + "}"
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
