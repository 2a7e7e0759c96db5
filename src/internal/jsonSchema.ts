/** JSON Schemas as model APIs want them, made once for each tool and schema. */
import * as LanguageModel from "effect/ai/LanguageModel"
import * as Tool from "effect/ai/Tool"
import type * as JsonSchema from "effect/JsonSchema"
import type * as Schema from "effect/Schema"

// Unlike no transformer, it puts an object at the root where the schema is a reference to one.
const transformer = LanguageModel.defaultCodecTransformer

const memoize = <K extends object>(make: (key: K) => JsonSchema.JsonSchema) => {
  const made = new WeakMap<K, JsonSchema.JsonSchema>()
  return (key: K): JsonSchema.JsonSchema => {
    let schema = made.get(key)
    if (schema === undefined) {
      schema = make(key)
      made.set(key, schema)
    }
    return schema
  }
}

/** The schema of a tool's arguments, as an object with `properties`: OpenAI refuses a tool without them. */
export const ofTool = memoize((tool: Tool.Any) => {
  const schema = Tool.getJsonSchema(tool, { transformer })
  // `Schema.Struct({})` is any value but null; as arguments it is an object.
  if (schema.type === undefined && "not" in schema) return { type: "object", properties: {} }
  return schema.type === "object" ? { properties: {}, ...schema } : schema
})

/** The schema of the encoded side of a value. */
export const of = memoize((schema: Schema.Top) => Tool.getJsonSchemaFromSchema(schema, { transformer }))

/** The instructions with the format of the answer, for where there is no other way to ask for it. */
export const inWords = (instructions: string, schema: JsonSchema.JsonSchema): string => {
  const format = `Give the final answer as JSON only, without code fences, that matches this JSON Schema:\n${JSON.stringify(schema)}`
  return instructions === "" ? format : `${instructions}\n\n${format}`
}
