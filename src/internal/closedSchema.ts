/**
 * JSON Schemas for models that write by a grammar: every object closed, and only keywords that grammars know. Bounds
 * become part of the description, so whoever asked still checks the answer.
 */
import type * as JsonSchema from "effect/JsonSchema"
import * as Predicate from "effect/Predicate"

type Json = JsonSchema.JsonSchema

const kept = ["type", "title", "description", "enum", "const"]

const bound = /^(minimum|maximum|exclusiveMinimum|exclusiveMaximum|multipleOf|(min|max)(Length|Items)|pattern|format)$/

/** The schema closed; `undefined` for one with recursion, dictionaries, tuples or values of any kind. */
export const close = (schema: Json): Json | undefined => {
  const definitions = Predicate.isObject(schema.$defs) ? schema.$defs : {}
  const closed = new Map<string, Json>()
  const open = new Set<string>()

  /** Closes the definition that a reference is to, once; `false` for one that cannot be, or is within itself. */
  const define = (ref: string): boolean => {
    const name = /^#\/\$defs\/([^/]+)$/.exec(ref)?.[1]?.replaceAll("~1", "/").replaceAll("~0", "~")
    if (name === undefined || open.has(name)) return false
    if (closed.has(name)) return true
    open.add(name)
    const definition = node(definitions[name])
    open.delete(name)
    if (definition !== undefined) closed.set(name, definition)
    return definition !== undefined
  }

  const all = (schemas: ReadonlyArray<unknown>): ReadonlyArray<Json> | undefined => {
    const nodes = schemas.map(node)
    return nodes.every(Predicate.isNotUndefined) ? nodes : undefined
  }

  const node = (schema: unknown): Json | undefined => {
    if (!Predicate.isObject(schema)) return undefined
    if (typeof schema["$ref"] === "string") return define(schema["$ref"]) ? { $ref: schema["$ref"] } : undefined
    const out: Record<string, unknown> = {}
    for (const key of kept) if (schema[key] !== undefined) out[key] = schema[key]
    const bounds = Object.entries(schema).filter(([key]) => bound.test(key))
    if (bounds.length > 0) {
      out["description"] = [schema["description"] ?? [], JSON.stringify(Object.fromEntries(bounds))].flat().join("\n")
    }
    const anyOf = schema["anyOf"] ?? schema["oneOf"]
    if (Array.isArray(anyOf)) {
      const members = all(anyOf)
      return members && { ...out, anyOf: members }
    }
    switch (schema["type"]) {
      case "object": {
        const { additionalProperties, patternProperties, properties, required = [] } = schema
        const isDictionary = Predicate.isObject(additionalProperties) || patternProperties !== undefined
        if (isDictionary || !Predicate.isObject(properties)) return undefined
        const names = Object.keys(properties)
        const values = all(names.map((name) => properties[name]))
        if (values === undefined) return undefined
        // Not by assignment, which would do something else for `__proto__`.
        const entries = names.map((name, i) => [name, values[i]] as const)
        return { ...out, properties: Object.fromEntries(entries), required, additionalProperties: false }
      }
      case "array": {
        const { items, prefixItems = [] } = schema
        // An array that is not empty is written as a tuple with more of the same.
        const isTuple = [prefixItems].flat().some((item) => JSON.stringify(item) !== JSON.stringify(items))
        const item = isTuple ? undefined : node(items)
        return item && { ...out, items: item }
      }
      default: {
        const says = typeof schema["type"] === "string" || "enum" in out || "const" in out
        return says ? out : undefined
      }
    }
  }

  const root = node(schema)
  return root === undefined || closed.size === 0 ? root : { ...root, $defs: Object.fromEntries(closed) }
}
