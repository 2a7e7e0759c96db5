/** JSON Schemas for OpenAI's strict mode, in which a model keeps to its schema, but which knows a part of them only. */
import type * as JsonSchema from "effect/JsonSchema"
import * as Predicate from "effect/Predicate"
import * as Rec from "effect/Record"

// Any other keyword makes the API refuse the request.
const keywords = new Set(
  [
    ["type", "title", "description", "enum", "const", "anyOf", "$ref", "$defs"],
    ["properties", "required", "additionalProperties", "items", "minItems", "maxItems"],
    ["pattern", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]
  ].flat()
)

/**
 * The schema with its objects closed, so that what matches it matches the original too. `undefined` for one that strict
 * mode refuses: with optional properties, objects with any keys, tuples, values of any type or lengths of strings.
 */
export const close = (schema: JsonSchema.JsonSchema): JsonSchema.JsonSchema | undefined => {
  let isStrict = schema.type === "object" && schema.anyOf === undefined

  const visit = (node: unknown): unknown => {
    isStrict &&= isRecord(node) && Object.keys(node).every((key) => keywords.has(key)) && isTyped(node)
    if (!isStrict || !isRecord(node)) return node
    const { $defs, anyOf, items, properties, type } = node
    if (type === "object") isStrict = isClosable(node)
    return {
      ...node,
      ...(type === "object" && { additionalProperties: false }),
      ...(type === "array" && { items: visit(items) }),
      ...(isRecord(properties) && { properties: Rec.map(properties, visit) }),
      ...(isRecord($defs) && { $defs: Rec.map($defs, visit) }),
      ...(Array.isArray(anyOf) && { anyOf: anyOf.map(visit) })
    }
  }

  const closed = visit(schema)
  return isStrict && isRecord(closed) ? closed : undefined
}

const isRecord = (u: unknown): u is Record<string, unknown> => Predicate.isObject(u)

const isTyped = (schema: Record<string, unknown>): boolean =>
  ["type", "enum", "const", "anyOf", "$ref"].some((key) => key in schema)

const isClosable = ({ additionalProperties, properties, required }: Record<string, unknown>): boolean => {
  const names = isRecord(properties) ? Object.keys(properties) : []
  const isComplete = names.every((name) => Array.isArray(required) && required.includes(name))
  // Without properties an object is closed already, or one with any keys.
  return isComplete && (names.length === 0 ? additionalProperties === false : !isRecord(additionalProperties))
}
