import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import * as JsonSchema from "../../src/internal/jsonSchema.ts"
import { close } from "../../src/internal/strictSchema.ts"

const closed = (schema: Schema.Top) => close(JsonSchema.of(schema))

const object = (properties: Record<string, unknown>) => ({
  type: "object",
  properties,
  required: Object.keys(properties),
  additionalProperties: false
})

describe("close", () => {
  it("closes objects wherever they are", () => {
    class Place extends Schema.Class<Place>("Place")({ city: Schema.String }) {}
    const schema = Schema.Struct({
      list: Schema.Array(Schema.Struct({ n: Schema.Finite })),
      either: Schema.NullOr(Schema.Struct({ b: Schema.Boolean })),
      place: Place,
      // A property with the name of a keyword.
      properties: Schema.Struct({ type: Schema.Literals(["a", "b"]) })
    })
    const place = object({ city: { type: "string" } })
    const { $defs, properties, ...rest } = closed(schema)!
    assert.deepStrictEqual(rest, {
      type: "object",
      required: ["list", "either", "place", "properties"],
      additionalProperties: false
    })
    assert.deepInclude(properties, {
      list: { type: "array", items: object({ n: { type: "number" } }) },
      either: { anyOf: [object({ b: { type: "boolean" } }), { type: "null" }] },
      properties: object({ type: { type: "string", enum: ["a", "b"] } })
    })
    assert.include(JSON.stringify({ $defs, properties }), JSON.stringify(place))
    assert.notInclude(JSON.stringify({ $defs, properties }), `"additionalProperties":true`)
  })

  it("takes an object that is empty and closed", () => {
    const schema = { type: "object", properties: {}, additionalProperties: false }
    assert.deepStrictEqual(close(schema), schema)
  })

  it.each([
    ["an optional property", Schema.Struct({ a: Schema.optionalKey(Schema.String) })],
    ["any keys", Schema.Struct({ a: Schema.Record(Schema.String, Schema.String) })],
    ["any value", Schema.Struct({ a: Schema.Unknown })],
    ["a tuple", Schema.Struct({ a: Schema.Tuple([Schema.String]) })],
    ["a length of a string", Schema.Struct({ a: Schema.NonEmptyString })],
    ["such a thing deep inside", Schema.Struct({ a: Schema.Array(Schema.NullOr(Schema.NonEmptyString)) })],
    ["no object at all", Schema.String],
    ["a choice in place of an object", Schema.Union([Schema.Struct({ a: Schema.String }), Schema.Struct({})])]
  ])("refuses %s", (_, schema) => {
    assert.isUndefined(closed(schema))
  })

  it.each([[{ type: "object" }], [{ type: "object", properties: { a: true } }], [{ type: "array" }]])(
    "refuses %j",
    (schema) => {
      assert.isUndefined(close(schema))
    }
  )

  it("leaves the original as it was", () => {
    const schema = {
      type: "object",
      properties: { a: { type: "string" } },
      required: ["a"],
      additionalProperties: true
    }
    close(schema)
    assert.isTrue(schema.additionalProperties)
  })
})
