import { assert, describe, it } from "@effect/vitest"
import * as Agent from "effect-agent-runtime/Agent"
import * as History from "effect-agent-runtime/History"
import * as Llm from "effect-agent-runtime/Llm"
import * as OutputTool from "effect-agent-runtime/middleware/OutputTool"
import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { calculate, MathTools, MathToolsLayer } from "../support/calculator.ts"

const Shape = Schema.Union([
  Schema.Struct({ kind: Schema.Literal("circle"), radius: Schema.Finite }),
  Schema.Struct({ kind: Schema.Literal("square"), side: Schema.Finite })
])

const answer = (params: unknown): ScriptedLlm.ScriptedCall => ({ tool: "final_answer", params })

const scripted = (...script: ReadonlyArray<ScriptedLlm.Turn>) => {
  const model = ScriptedLlm.make(script)
  return { model, layer: Layer.succeed(Llm.Llm, model).pipe(Llm.withMiddleware(OutputTool.make())) }
}

const drawer = Agent.make("drawer", { output: Shape, toolkit: MathTools })
const circle = { kind: "circle", radius: 2 } as const

describe("an answer by tool", () => {
  it.effect("is the output of the agent, of any schema, beside tools", () =>
    Effect.gen(function* () {
      const { layer, model } = scripted(calculate("add", 1, 1), answer({ answer: circle }))
      const result = yield* Agent.run(drawer, "Draw").pipe(Effect.provide([MathToolsLayer, layer]))
      assert.deepStrictEqual(result.output, circle)
      assert.strictEqual(result.finishReason, "stop")
      assert.deepStrictEqual(History.toMessages(result.history).at(-1), {
        role: "assistant",
        content: [{ type: "text", text: JSON.stringify(circle) }]
      })
      const [request] = model.requests
      assert.deepStrictEqual(
        request!.tools.map((tool) => tool.name),
        ["calculator", "final_answer"]
      )
      assert.strictEqual(request!.toolChoice, "required")
      assert.strictEqual(request!.output, undefined)
      assert.strictEqual(model.requests[1]!.tools[1], request!.tools[1])
    })
  )

  it.effect("goes back to the model when it does not match, in whatever shape it came", () =>
    Effect.gen(function* () {
      const { layer } = scripted(
        answer({ answer: { kind: "circle" } }),
        answer("{ not json"),
        answer({ answer: { kind: "square", side: 1 } })
      )
      const result = yield* Agent.run(drawer, "Draw").pipe(Effect.provide([MathToolsLayer, layer]))
      assert.deepStrictEqual(result.output, { kind: "square", side: 1 })
      assert.strictEqual(result.turns, 3)
    })
  )

  it.effect("is taken without its wrapper, too", () =>
    Effect.gen(function* () {
      const { layer } = scripted(answer(circle))
      const result = yield* Agent.run(drawer, "Draw").pipe(Effect.provide([MathToolsLayer, layer]))
      assert.deepStrictEqual(result.output, circle)
    })
  )

  it.effect("is premature beside other calls, which run first", () =>
    Effect.gen(function* () {
      const { layer } = scripted(
        [calculate("add", 1, 1), answer({ answer: { kind: "square", side: 9 } })],
        answer({ answer: circle })
      )
      const result = yield* Agent.run(drawer, "Draw").pipe(Effect.provide([MathToolsLayer, layer]))
      assert.deepStrictEqual(result.output, circle)
      assert.strictEqual(result.usage.toolCalls, 1)
    })
  )

  it.effect("drops words beside it, from the stream as well", () =>
    Effect.gen(function* () {
      const call = { type: "tool-call", id: "1", name: "final_answer", params: { answer: circle } } as const
      const { layer } = scripted({ content: [{ type: "text", text: "Here you are:" }, call] })
      const events = yield* Agent.stream(drawer, "Draw").pipe(
        Stream.runCollect,
        Effect.provide([MathToolsLayer, layer])
      )
      const text = events.map((event) => (event._tag === "TextDelta" ? event.delta : "")).join("")
      assert.strictEqual(text, JSON.stringify(circle))
      assert.isFalse(events.some((event) => event._tag === "ToolParamsDelta"))
    })
  )

  it.effect("is streamed while it is written, without the object around it", () =>
    Effect.gen(function* () {
      const pieces = ['{"an', 'swer" : {"kind":"cir', 'cle","rad', 'ius":2', "}", " }"]
      const llm = ScriptedLlm.make([answer({ answer: circle })])
      const slow: Llm.Llm["Service"] = {
        generate: (request, onDelta) =>
          Effect.flatMap(llm.generate(request), (response) =>
            Effect.as(
              Effect.forEach(pieces, (delta) =>
                Effect.andThen(
                  Effect.sync(() => onDelta?.({ type: "tool-params", id: "call_1", name: "final_answer", delta })),
                  Effect.yieldNow
                )
              ),
              response
            )
          )
      }
      const layer = Layer.succeed(Llm.Llm, slow).pipe(Llm.withMiddleware(OutputTool.make()))
      const parts = yield* Agent.streamOutput(drawer, "Draw").pipe(
        Stream.runCollect,
        Effect.provide([MathToolsLayer, layer])
      )
      assert.deepStrictEqual(parts, [{ kind: "cir" }, { kind: "circle" }, circle])
    })
  )

  it.effect("is taken back when it was not the answer", () =>
    Effect.gen(function* () {
      // Beside another call, and with more than the answer in it.
      const { layer } = scripted(
        [calculate("add", 1, 1), answer({ answer: { kind: "square", side: 9 } })],
        answer({ answer: circle, note: "done" })
      )
      const events = yield* Agent.stream(drawer, "Draw").pipe(
        Stream.runCollect,
        Effect.provide([MathToolsLayer, layer])
      )
      const lastRestart = events.findLastIndex((event) => event._tag === "ModelCallRetried")
      assert.lengthOf(
        events.filter((event) => event._tag === "ModelCallRetried"),
        2
      )
      const text = events
        .slice(lastRestart)
        .map((event) => (event._tag === "TextDelta" ? event.delta : ""))
        .join("")
      assert.strictEqual(text, JSON.stringify(circle))
    })
  )

  it.effect("leaves agents without a schema alone", () =>
    Effect.gen(function* () {
      const { layer, model } = scripted("Hello")
      const result = yield* Agent.run(Agent.make("helper"), "Hi").pipe(Effect.provide(layer))
      assert.strictEqual(result.output, "Hello")
      assert.strictEqual(model.requests[0]!.tools.length, 0)
    })
  )

  it.effect("respects a choice", () =>
    Effect.gen(function* () {
      const { layer, model } = scripted(answer({ answer: circle }))
      const silent = Agent.make("silent", { output: Shape, toolkit: MathTools, toolChoice: "none" })
      yield* Agent.run(silent, "Draw").pipe(Effect.provide([MathToolsLayer, layer]))
      assert.deepStrictEqual(
        model.requests[0]!.tools.map((tool) => tool.name),
        ["final_answer"]
      )
    })
  )

  it.effect("fails for an agent that has a tool of the same name", () =>
    Effect.gen(function* () {
      const { layer, model } = scripted(answer({ answer: circle }))
      const Tools = Toolkit.make(Tool.make("final_answer"))
      const error = yield* Agent.run(Agent.make("drawer", { output: Shape, toolkit: Tools }), "Draw").pipe(
        Effect.flip,
        Effect.provide([Tools.toLayer({ final_answer: () => Effect.void }), layer])
      )
      assert(error._tag === "AgentError" && error.reason._tag === "ModelFailed")
      assert.strictEqual(error.reason.error.reason._tag, "InvalidRequestError")
      assert.include(error.message, "give OutputTool.make another 'name'")
      assert.strictEqual(model.requests.length, 0)
    })
  )
})
