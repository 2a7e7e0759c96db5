import { assert, describe, it } from "@effect/vitest"
import { nearest, unknown } from "../../src/config/problems.ts"

describe("the nearest name", () => {
  const known = ["model", "models", "max_tokens", "tool_concurrency", "tools"]

  it.each([
    ["modle", "model"],
    ["Model", "model"],
    ["mdels", "models"],
    ["max-tokens", "max_tokens"],
    ["toolConcurrency", "tool_concurrency"],
    ["tols", "tools"],
    ["temperature", undefined],
    ["x", undefined]
  ])("of %s is %s", (name, nearestName) => {
    assert.strictEqual(nearest(name, known), nearestName)
  })

  it("is the name itself if there is one", () => {
    for (const name of known) assert.strictEqual(nearest(name, known), name)
  })

  it("is told, or else all names", () => {
    assert.strictEqual(unknown("key", "modle", known), "there is no key 'modle'. Did you mean 'model'?")
    assert.strictEqual(unknown("key", "zzz", ["a", "b"]), "there is no key 'zzz'. Known: a, b")
    assert.strictEqual(unknown("agent", "zzz", []), "there is no agent 'zzz'. There are none")
  })
})
