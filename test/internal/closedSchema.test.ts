import { assert, describe, it } from "@effect/vitest"
import type * as JsonSchema from "effect/JsonSchema"
import * as Schema from "effect/Schema"
import * as ClosedSchema from "../../src/internal/closedSchema.ts"
import * as JsonSchemas from "../../src/internal/jsonSchema.ts"

const close = (schema: Schema.Top): JsonSchema.JsonSchema | undefined => ClosedSchema.close(JsonSchemas.of(schema))

class Place extends Schema.Class<Place>("Place")({ city: Schema.String }) {}

interface Tree {
  readonly children: ReadonlyArray<Tree>
}
const Tree: Schema.Codec<Tree> = Schema.Struct({
  children: Schema.Array(Schema.suspend((): Schema.Codec<Tree> => Tree))
}).annotate({ identifier: "Tree" })

const place = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false
}

describe("close", () => {
  it("closes objects, wherever they are", () => {
    const ref = { $ref: "#/$defs/PlaceEncoded" }
    assert.deepStrictEqual(
      close(
        Schema.Struct({
          home: Schema.NullOr(Place),
          others: Schema.Array(Place),
          kind: Schema.Literals(["a", "b"]),
          note: Schema.optionalKey(Schema.String)
        })
      ),
      {
        type: "object",
        properties: {
          home: { anyOf: [ref, { type: "null" }] },
          others: { type: "array", items: ref },
          kind: { type: "string", enum: ["a", "b"] },
          note: { type: "string" }
        },
        required: ["home", "others", "kind"],
        additionalProperties: false,
        $defs: { PlaceEncoded: place }
      }
    )
  })

  it("leaves out definitions that nothing refers to", () => {
    assert.deepStrictEqual(close(Place), place)
  })

  it("says bounds in words", () => {
    const Age = Schema.Int.annotate({ description: "In years" }).check(Schema.isBetween({ minimum: 1, maximum: 120 }))
    assert.deepStrictEqual(close(Schema.Struct({ age: Age, name: Schema.NonEmptyString })), {
      type: "object",
      properties: {
        age: { type: "integer", description: `In years\n{"minimum":1,"maximum":120}` },
        name: { type: "string", description: `{"minLength":1}` }
      },
      required: ["age", "name"],
      additionalProperties: false
    })
  })

  it("says of an array how long it is, in words", () => {
    assert.deepStrictEqual(close(Schema.NonEmptyArray(Schema.Finite)), {
      type: "array",
      description: `{"minItems":1}`,
      items: { type: "number" }
    })
  })

  it.each<readonly [string, Schema.Top]>([
    ["recursion", Tree],
    ["a dictionary", Schema.Record(Schema.String, Schema.Finite)],
    ["a dictionary within an object", Schema.Struct({ counts: Schema.Record(Schema.String, Schema.Finite) })],
    ["a tuple", Schema.Tuple([Schema.String, Schema.Finite])],
    ["a value of any kind", Schema.Struct({ value: Schema.Unknown })],
    ["a choice with such a value", Schema.Union([Schema.String, Schema.Tuple([Schema.String])])]
  ])("cannot say %s", (_, schema) => {
    assert.isUndefined(close(schema))
  })

  it.each([
    { type: "object", patternProperties: { "^a": { type: "string" } }, properties: {} },
    { type: "array" },
    { type: "object" },
    { $ref: "#/$defs/missing" },
    { $ref: "https://example.com/schema" }
  ])("cannot say %j", (schema) => {
    assert.isUndefined(ClosedSchema.close(schema))
  })

  it("takes names as they come", () => {
    const schema = JSON.parse(`{
      "type": "object",
      "properties": { "__proto__": { "$ref": "#/$defs/__proto__" }, "x": { "$ref": "#/$defs/a~1b~0c" } },
      "$defs": { "__proto__": { "type": "string" }, "a/b~c": { "type": "number" } }
    }`)
    const closed = JSON.stringify(ClosedSchema.close(schema))
    assert.deepStrictEqual(JSON.parse(closed), { ...schema, required: [], additionalProperties: false })
  })
})
