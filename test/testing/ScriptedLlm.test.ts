import { assert, describe, it } from "@effect/vitest"
import * as History from "effect-agent-runtime/History"
import type { Delta, LlmRequest } from "effect-agent-runtime/Llm"
import { Llm } from "effect-agent-runtime/Llm"
import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
import * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"

const request: LlmRequest = {
  instructions: "",
  history: History.appendUser(History.empty, "hi"),
  tools: [],
  toolChoice: "auto",
  sampling: {},
  output: undefined
}

const overloaded = AiError.make({
  module: "Test",
  method: "generate",
  reason: new AiError.InternalProviderError({ description: "overloaded" })
})

/** The response to one call, and the deltas on the way. */
const streamed = Effect.fnUntraced(function* (llm: ScriptedLlm.ScriptedLlm) {
  const deltas: Array<Delta> = []
  const response = yield* llm.generate(request, (delta) => deltas.push(delta))
  return { response, deltas }
})

const contents = (llm: ScriptedLlm.ScriptedLlm, calls: number) =>
  Effect.map(Effect.replicateEffect(llm.generate(request), calls), (responses) =>
    responses.map((response) => response.content)
  )

const written = (delta: Delta): string => (delta.type === "restart" ? "" : delta.delta)

describe("a script", () => {
  it.effect("answers each call with its next turn", () =>
    Effect.gen(function* () {
      const llm = ScriptedLlm.make([
        "a",
        { tool: "search", params: { q: 1 } },
        [{ tool: "x" }, { tool: "y", id: "mine" }]
      ])
      assert.deepStrictEqual(yield* contents(llm, 3), [
        [{ type: "text", text: "a" }],
        [{ type: "tool-call", id: "call_1", name: "search", params: { q: 1 } }],
        [
          { type: "tool-call", id: "call_2", name: "x", params: {} },
          { type: "tool-call", id: "mine", name: "y", params: {} }
        ]
      ])
    })
  )

  it.effect("takes functions of the request, Effects, and what these return", () =>
    Effect.gen(function* () {
      const llm = ScriptedLlm.make([
        ({ history }) => `${history.length} messages`,
        () => Effect.delay(Effect.succeed("late"), "1 hour"),
        () => Effect.succeed(() => Effect.succeed({ tool: "x" }))
      ])
      const fiber = yield* Effect.forkChild(contents(llm, 3))
      yield* TestClock.adjust("1 hour")
      const [first, second, third] = yield* Fiber.join(fiber)
      assert.strictEqual(History.text(first!), "1 messages")
      assert.strictEqual(History.text(second!), "late")
      assert.strictEqual(History.toolCalls(third!)[0]!.name, "x")
    })
  )

  it.effect("fails where it says so, as a value, from a function, or in an Effect", () =>
    Effect.gen(function* () {
      const llm = ScriptedLlm.make([overloaded, () => overloaded, () => Effect.fail(overloaded), "recovered"])
      for (let i = 0; i < 3; i++) assert.strictEqual(yield* Effect.flip(llm.generate(request)), overloaded)
      assert.strictEqual(History.text((yield* llm.generate(request)).content), "recovered")
    })
  )

  it.effect("fails beyond its end, saying which call found nothing", () =>
    Effect.gen(function* () {
      const llm = ScriptedLlm.make(["only"])
      yield* llm.generate(request)
      const error = yield* Effect.flip(llm.generate(request))
      assert.isTrue(AiError.isAiError(error))
      assert.strictEqual(error.reason._tag, "UnknownError")
      assert.include(error.message, "no turn for model call 2")
    })
  )

  it.effect("goes on with another turn beyond its end, if there is one", () =>
    Effect.gen(function* () {
      const llm = ScriptedLlm.make(["first"], "then")
      assert.deepStrictEqual(
        (yield* contents(llm, 3)).map((content) => History.text(content)),
        ["first", "then", "then"]
      )
    })
  )

  it.effect("records every request, and counts the turns that are left", () =>
    Effect.gen(function* () {
      const llm = ScriptedLlm.make([overloaded, "a"])
      const other = { ...request, instructions: "Be kind" }
      const call = llm.generate(request)
      assert.deepStrictEqual([llm.requests.length, llm.remaining()], [0, 2])
      yield* Effect.ignore(call)
      yield* llm.generate(other)
      yield* Effect.ignore(call)
      assert.strictEqual(llm.remaining(), 0)
      assert.lengthOf(llm.requests, 3)
      for (const [i, expected] of [request, other, request].entries()) assert.strictEqual(llm.requests[i], expected)
    })
  )

  it.effect("is checked to be as long as the calls that were made", () =>
    Effect.gen(function* () {
      const llm = ScriptedLlm.make(["a", "b"])
      yield* llm.generate(request)
      const unused = yield* Effect.flip(ScriptedLlm.check(llm))
      assert.deepStrictEqual([unused.unused, unused.missing], [1, 0])
      assert.include(unused.message, "last 1 turns of the script were not used")
      yield* llm.generate(request)
      yield* ScriptedLlm.check(llm)
      yield* Effect.ignore(llm.generate(request))
      const missing = yield* Effect.flip(ScriptedLlm.check(llm))
      assert.deepStrictEqual([missing.unused, missing.missing], [0, 1])
      assert.include(missing.message, "no turns for the last 1 model calls")
      yield* ScriptedLlm.check(ScriptedLlm.make([], "again and again"))
    })
  )

  it.effect("that has to be used up ends in a defect if it is not, even where failures are passed over", () =>
    Effect.gen(function* () {
      const call = Effect.ignore(Effect.flatMap(Llm, (llm) => llm.generate(request)))
      const defect = (calls: number, script: ReadonlyArray<ScriptedLlm.Turn>) =>
        Effect.replicateEffect(call, calls).pipe(
          Effect.provide(ScriptedLlm.layerExact(script)),
          Effect.as(undefined),
          Effect.catchDefect((mismatch) => Effect.succeed(mismatch))
        )
      assert.deepStrictEqual(yield* defect(2, ["a", "b"]), undefined)
      assert.deepStrictEqual(yield* defect(1, ["a", "b"]), new ScriptedLlm.ScriptMismatch({ unused: 1, missing: 0 }))
      assert.deepStrictEqual(yield* defect(3, ["a", "b"]), new ScriptedLlm.ScriptMismatch({ unused: 0, missing: 1 }))
      const died = yield* Effect.exit(Effect.provide(Effect.die("first"), ScriptedLlm.layerExact(["a"])))
      assert.deepStrictEqual(died, Exit.die("first"))
    })
  )

  it.effect("begins anew with each layer that is built", () =>
    Effect.gen(function* () {
      const ask = Effect.flatMap(Llm, (llm) => llm.generate(request)).pipe(
        Effect.map((response) => History.text(response.content)),
        Effect.provide(ScriptedLlm.layer(["first", "second"]))
      )
      assert.deepStrictEqual([yield* ask, yield* ask], ["first", "first"])
    })
  )
})

describe("a response", () => {
  it.effect("says why it ended and what it cost, as scripted or as usual", () =>
    Effect.gen(function* () {
      const tokens = { inputTokens: 1, outputTokens: 2, cachedInputTokens: 0, cacheWriteTokens: 0, reasoningTokens: 1 }
      const usual = { inputTokens: 10, outputTokens: 5, cachedInputTokens: 0, cacheWriteTokens: 0, reasoningTokens: 0 }
      const text = { type: "text", text: "a" } as const
      const call = { type: "tool-call", id: "a", name: "x", params: {} } as const
      const llm = ScriptedLlm.make([
        "a",
        { tool: "x" },
        { content: [text] },
        { content: [text, call] },
        { content: [], finishReason: "length", tokens }
      ])
      const responses = yield* Effect.replicateEffect(llm.generate(request), 5)
      assert.deepStrictEqual(
        responses.map(({ finishReason, tokens: cost }) => [finishReason, cost]),
        [
          ["stop", usual],
          ["tool-calls", usual],
          ["stop", usual],
          ["tool-calls", usual],
          ["length", tokens]
        ]
      )
    })
  )

  it.effect.prop("comes in pieces that join to its text", [Schema.String, Schema.String], ([text, thought]) =>
    Effect.gen(function* () {
      const llm = ScriptedLlm.make([
        text,
        {
          content: [
            { type: "reasoning", text: thought },
            { type: "text", text }
          ]
        }
      ])
      const join = (deltas: ReadonlyArray<Delta>, type: Delta["type"]) =>
        deltas.map((delta) => (delta.type === type ? written(delta) : "")).join("")
      const first = yield* streamed(llm)
      assert.strictEqual(join(first.deltas, "text"), History.text(first.response.content))
      const second = yield* streamed(llm)
      assert.strictEqual(join(second.deltas, "text"), text)
      assert.strictEqual(join(second.deltas, "reasoning"), thought)
      assert.isTrue([...first.deltas, ...second.deltas].every((delta) => written(delta) !== ""))
    })
  )

  it.effect("comes word by word", () =>
    Effect.gen(function* () {
      const { deltas } = yield* streamed(ScriptedLlm.make(["one two  three"]))
      assert.deepStrictEqual(deltas.map(written), ["one ", "two ", " ", "three"])
    })
  )

  it.effect("streams arguments as the text that the model wrote", () =>
    Effect.gen(function* () {
      const { deltas, response } = yield* streamed(
        ScriptedLlm.make([[{ tool: "x", params: { a: [1] } }, { tool: "y", params: '{"a":' }, { tool: "z" }]])
      )
      assert.deepStrictEqual(
        deltas,
        History.toolCalls(response.content).map(({ id, name }, i) => ({
          type: "tool-params",
          id,
          name,
          delta: ['{"a":[1]}', '{"a":', "{}"][i]!
        }))
      )
    })
  )
})
