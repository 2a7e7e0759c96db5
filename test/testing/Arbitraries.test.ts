import { assert, describe, it } from "@effect/vitest"
import * as History from "effect-agent-runtime/History"
import * as LoopDetector from "effect-agent-runtime/LoopDetector"
import { Arbitraries, Laws } from "effect-agent-runtime/testing"
import type { ScriptedCall, Turn } from "effect-agent-runtime/testing/ScriptedLlm"
import * as AiError from "effect/ai/AiError"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"

const parameters = Schema.Struct({ at: Schema.Date, count: Schema.optionalKey(Schema.Int) })
const Tools = Toolkit.make(Tool.make("book", { parameters }))

/** The same samples every time, so that what is missing is missing for a reason. */
const sample = <A>(arbitrary: Arbitrary.Arbitrary<A>) =>
  Effect.runSync(Arbitrary.sampleEffect(arbitrary, { count: 1000, seed: "effect-agent-runtime" }))

/** That there are such values, and others. */
const some = <A>(values: ReadonlyArray<A>, what: string, is: (value: A) => boolean) => {
  const count = values.filter(is).length
  assert.isAbove(count, 0, `none is ${what}`)
  assert.isBelow(count, values.length, `all are ${what}`)
}

const depth = (value: unknown): number =>
  typeof value === "object" && value !== null ? 1 + Math.max(0, ...Object.values(value).map(depth)) : 0

describe("json", () => {
  const values = sample(Arbitraries.json)

  it("is ordinary and odd", () => {
    const text = (value: unknown) => JSON.stringify(value)
    some(values, "an object", (value) => typeof value === "object" && value !== null && !Array.isArray(value))
    some(values, "with a lone surrogate", (value) => /\\ud[89a-f]/i.test(text(value)))
    some(values, "with a prototype's key", (value) => text(value).includes('"__proto__":'))
    some(values, "negative zero", (value) => Object.is(value, -0))
    some(values, "beyond the integers", (value) => typeof value === "number" && !Number.isSafeInteger(value))
    some(values, "deeper than any tool takes", (value) => depth(value) > 64)
  })

  it("is JSON", () => {
    for (const value of values) assert.isTrue(Schema.is(Schema.Json)(value))
  })
})

describe("params", () => {
  it("are JSON, text that is none, or nothing", () => {
    const values = sample(Arbitraries.params)
    some(values, "text that is not JSON", (value) => value === '{"a":')
    some(values, "nothing", (value) => value === undefined || value === null || value === "")
    some(values, "an object", (value) => typeof value === "object" && value !== null)
  })
})

describe("script", () => {
  const scripts = sample(Arbitraries.script(Tools))
  const calls = (turn: Turn): ReadonlyArray<ScriptedCall> => {
    if (typeof turn !== "object" || AiError.isAiError(turn)) return []
    if (Array.isArray(turn)) return turn
    if ("tool" in turn) return [turn]
    if (!("content" in turn)) return []
    return History.toolCalls(turn.content).map(({ id, name, params }) => ({ tool: name, params, id }))
  }
  const every = scripts.map((turns) => turns.flatMap(calls))

  it("calls tools well, and in every wrong way", () => {
    const decode = Schema.decodeUnknownExit(Schema.toCodecJson(parameters))
    const matches = (params: unknown) => Exit.isSuccess(decode(params))
    some(every.flat(), "valid", ({ params, tool }) => tool === "book" && matches(params))
    some(every.flat(), "of an unknown tool", ({ tool }) => tool !== "book")
    some(every.flat(), "with arguments that do not match", ({ params, tool }) => tool === "book" && !matches(params))
    some(every.flat(), "with text for arguments", ({ params }) => typeof params === "string")
    some(every.flat(), "without an id", ({ id }) => id === undefined)
    some(every.flat(), "with an empty id", ({ id }) => id === "")
    const ids = every.map((all) => all.flatMap(({ id }) => id ?? []))
    some(ids, "with an id that comes twice", (all) => new Set(all).size < all.length)
  })

  it("has turns of all kinds, and an end", () => {
    const turns = scripts.flat()
    some(turns, "of several calls", (turn) => calls(turn).length > 1)
    some(turns, "of a call among other parts", (turn) => typeof turn === "object" && "content" in turn)
    some(scripts, "with a turn that comes again", (all) => {
      const seen = all.filter((turn) => calls(turn).length > 0).map((turn) => JSON.stringify(turn))
      return new Set(seen).size < seen.length
    })
    const ends = scripts.map((all) => all.at(-1)!)
    some(ends, "an answer", (end) => typeof end === "string" && end !== "")
    some(ends, "an empty answer", (end) => typeof end === "object" && "content" in end && end.content.length === 0)
    some(ends, "a failure", AiError.isAiError)
    assert.isTrue(ends.every((end) => calls(end).length === 0))
  })

  it("without a toolkit calls only tools that do not exist", () => {
    const names = sample(Arbitraries.call()).map(({ tool }) => tool)
    assert.isTrue(new Set(names).size > 1)
    assert.isFalse(names.includes("book"))
  })
})

describe("conversations", () => {
  it("are valid as a history, and anything as messages", () => {
    const histories = sample(Arbitraries.history)
    for (const history of histories) assert.deepStrictEqual(Laws.history(history), [])
    some(histories, "long", (history) => history.length > 8)
    some(histories, "with calls", (history) => Array.from(history).some(({ role }) => role === "tool"))
    const lists = sample(Arbitraries.messages)
    some(lists, "valid", (messages) => Laws.history(messages).length === 0)
    some(lists, "a repaired history away from valid", (messages) => History.fromMessages(messages).length > 2)
  })
})

describe("trace", () => {
  it("makes detectors say everything they can", () => {
    const verdicts = sample(Arbitraries.trace).map((trace) =>
      Laws.verdicts(LoopDetector.make({ maxFailures: 1, maxSameError: 1, replays: 1, refusals: 1 }), trace).flat()
    )
    for (const verdict of ["allow", "replay", "refuse", "stop"] as const) {
      some(verdicts, `about ${verdict}`, (all) => all.includes(verdict))
    }
  })
})
