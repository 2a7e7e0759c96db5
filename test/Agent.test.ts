import { assert, describe, it } from "@effect/vitest"
import * as Agent from "effect-agent-runtime/Agent"
import type { AgentError } from "effect-agent-runtime/AgentError"
import type { AgentEvent } from "effect-agent-runtime/AgentEvent"
import * as AgentEvents from "effect-agent-runtime/AgentEvent"
import * as EventHub from "effect-agent-runtime/EventHub"
import * as History from "effect-agent-runtime/History"
import { Llm } from "effect-agent-runtime/Llm"
import * as LoopDetector from "effect-agent-runtime/LoopDetector"
import * as Prices from "effect-agent-runtime/Prices"
import * as StopCondition from "effect-agent-runtime/StopCondition"
import { ScriptedLlm, Simulation } from "effect-agent-runtime/testing"
import * as Toolbox from "effect-agent-runtime/Toolbox"
import * as Usage from "effect-agent-runtime/Usage"
import * as AiError from "effect/ai/AiError"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { calculate, MathTools, MathToolsLayer } from "./support/calculator.ts"

const mathBot = Agent.make("math-bot", { instructions: "Use tools.", toolkit: MathTools })

/** Runs with a scripted model that the test can look at afterwards. */
const scripted = (script: ReadonlyArray<ScriptedLlm.Turn>, otherwise?: ScriptedLlm.Turn) => {
  const model = ScriptedLlm.make(script, otherwise)
  return { ...model, requests: model.requests, layer: Layer.succeed(Llm, model) }
}

const tags = (events: Iterable<AgentEvent>) => Array.from(events, (event) => event._tag)

/** The error that a run fails with. */
const failure = <A, E, R>(run: Effect.Effect<A, E, R>) => Effect.flip(run)

const overloaded = AiError.make({
  module: "Test",
  method: "generate",
  reason: new AiError.InternalProviderError({ description: "overloaded" })
})

describe("run", () => {
  it.effect("answers without tools in one turn", () =>
    Effect.gen(function* () {
      const model = scripted(["Hello, world"])
      const result = yield* Agent.run(Agent.make("helper", { instructions: "Be kind." }), "Hi").pipe(
        Effect.provide(model.layer)
      )
      assert.strictEqual(result.output, "Hello, world")
      assert.strictEqual(result.text, "Hello, world")
      assert.strictEqual(result.turns, 1)
      assert.strictEqual(result.finishReason, "stop")
      assert.deepStrictEqual(result.usage, { ...Usage.zero, inputTokens: 10, outputTokens: 5, modelCalls: 1 })
      assert.isTrue(Duration.isDuration(result.duration))
      assert.deepStrictEqual(History.toMessages(result.history), [
        { role: "user", content: "Hi" },
        { role: "assistant", content: [{ type: "text", text: "Hello, world" }] }
      ])
      assert.strictEqual(model.requests[0]!.instructions, "Be kind.")
    })
  )

  it.effect("runs tools and feeds their results back", () =>
    Effect.gen(function* () {
      const model = scripted([calculate("add", 5, 3), calculate("multiply", 8, 2), "It is 16"])
      const result = yield* Agent.run(mathBot, "(5 + 3) * 2?").pipe(Effect.provide([MathToolsLayer, model.layer]))
      assert.strictEqual(result.output, "It is 16")
      assert.strictEqual(result.turns, 3)
      assert.strictEqual(result.usage.toolCalls, 2)
      assert.strictEqual(result.usage.modelCalls, 3)
      assert.deepStrictEqual(
        History.toolResults(result.history).map((part) => part.result),
        [{ result: 8 }, { result: 16 }]
      )
      // The second request sees the first call with its result, not what came later.
      assert.strictEqual(model.requests[1]!.history.length, 3)
      assert.strictEqual(History.last(model.requests[1]!.history)!.role, "tool")
      assert.deepStrictEqual(
        model.requests[0]!.tools.map((tool) => tool.name),
        ["calculator"]
      )
    })
  )

  it.effect("goes on with a conversation", () =>
    Effect.gen(function* () {
      const agent = Agent.make("helper")
      const model = scripted(["Hi Ada", "You are Ada"])
      const program = Effect.gen(function* () {
        const first = yield* Agent.run(agent, "I am Ada")
        return yield* Agent.run(agent, { history: first.history, prompt: "Who am I?" })
      })
      const result = yield* Effect.provide(program, model.layer)
      assert.strictEqual(result.output, "You are Ada")
      assert.deepStrictEqual(
        History.toMessages(model.requests[1]!.history).map((message) => message.role),
        ["user", "assistant", "user"]
      )
    })
  )

  it.effect("takes files in a prompt", () =>
    Effect.gen(function* () {
      const model = scripted(["A cat"])
      const image = { type: "file", mediaType: "image/png", data: "AAAA" } as const
      yield* Agent.run(Agent.make("helper"), [{ type: "text", text: "What is it?" }, image]).pipe(
        Effect.provide(model.layer)
      )
      assert.deepStrictEqual(History.toMessages(model.requests[0]!.history), [
        { role: "user", content: [{ type: "text", text: "What is it?" }, image] }
      ])
    })
  )

  it.effect("refuses an input that leaves nothing to answer", () =>
    Effect.gen(function* () {
      const agent = Agent.make("helper")
      const answered = History.appendAssistant(History.appendUser(History.empty, "Hi"), [
        { type: "text", text: "Hello" }
      ])
      for (const input of ["", [], {}, { prompt: "" }, { history: History.empty }, { history: answered }]) {
        const model = scripted(["never"])
        const error = yield* failure(Agent.run(agent, input)).pipe(Effect.provide(model.layer))
        assert.strictEqual(error.reason._tag, "InvalidInput")
        assert.strictEqual(model.requests.length, 0)
      }
    })
  )

  it.effect("resumes a failed run from its partial history", () =>
    Effect.gen(function* () {
      const model = scripted([calculate("add", 1, 2), overloaded, "It is 3"])
      const program = Effect.gen(function* () {
        const error = yield* failure(Agent.run(mathBot, "1 + 2?"))
        return yield* Agent.run(mathBot, { history: error.partial.history })
      })
      const result = yield* Effect.provide(program, [MathToolsLayer, model.layer])
      assert.strictEqual(result.output, "It is 3")
      assert.strictEqual(model.requests.length, 3)
      assert.strictEqual(History.toolResults(result.history).length, 1)
    })
  )

  it.effect("computes instructions from the prompt", () =>
    Effect.gen(function* () {
      const model = scripted(["ok"])
      const agent = Agent.make("helper", { instructions: (prompt) => Effect.succeed(`Answer: ${prompt}`) })
      yield* Agent.run(agent, "Hi").pipe(Effect.provide(model.layer))
      assert.strictEqual(model.requests[0]!.instructions, "Answer: Hi")
    })
  )

  it.effect("prepares each turn: its instructions, tools, choice and model", () =>
    Effect.gen(function* () {
      const model = scripted([calculate("add", 1, 1), calculate("add", 2, 2), "Done"])
      const views: Array<Agent.TurnView> = []
      const agent = Agent.make("helper", {
        instructions: "Always.",
        toolkit: MathTools,
        temperature: 0.5,
        prepareTurn: (view) => {
          views.push(view)
          return Effect.succeed(
            view.turn === 2
              ? { instructions: "Once.", tools: [], toolChoice: "none" as const, model: "large", temperature: 0 }
              : {}
          )
        }
      })
      const events: Array<AgentEvent> = []
      const result = yield* Agent.stream(agent, "Hi").pipe(
        Stream.runForEach((event) => Effect.sync(() => void events.push(event))),
        Effect.provide([MathToolsLayer, model.layer])
      )
      assert.strictEqual(result, undefined)
      assert.deepStrictEqual(
        model.requests.map(({ instructions, sampling, toolChoice, tools }) => [
          instructions,
          tools.length,
          toolChoice,
          sampling.model,
          sampling.temperature
        ]),
        [
          ["Always.", 1, "auto", undefined, 0.5],
          ["Once.", 0, "none", "large", 0],
          ["Always.", 1, "auto", undefined, 0.5]
        ]
      )
      assert.deepStrictEqual(
        views.map(({ history, lastCalls, turn, usage }) => [turn, history.length, lastCalls.length, usage.modelCalls]),
        [
          [1, 1, 0, 0],
          [2, 3, 1, 1],
          [3, 5, 1, 2]
        ]
      )
      // The call of a tool that was not on offer has not run.
      const [refused] = events.filter((event) => event._tag === "ToolCallFailed")
      assert.strictEqual(refused?.kind, "unknown-tool")
      assert.strictEqual(refused?.result, "There is no tool 'calculator'. There are no tools.")
      assert.deepStrictEqual(
        events.flatMap((event) => (event._tag === "ModelCallStarted" ? [event.tools] : [])),
        [["calculator"], [], ["calculator"]]
      )
    })
  )

  it.effect("offers only what it chooses, and chooses only what it offers", () =>
    Effect.gen(function* () {
      const model = scripted(["Done", "Done", "Done"])
      const run = (options: {
        readonly toolChoice: "required" | { readonly tool: "calculator" }
        readonly turn: Agent.TurnSettings<"calculator">
      }) =>
        Agent.run(
          Agent.make("helper", {
            toolkit: MathTools,
            toolChoice: options.toolChoice,
            prepareTurn: () => Effect.succeed(options.turn)
          }),
          "Hi"
        ).pipe(Effect.provide([MathToolsLayer, model.layer]))
      yield* run({ toolChoice: { tool: "calculator" }, turn: { tools: [] } })
      yield* run({ toolChoice: "required", turn: { tools: [] } })
      yield* run({ toolChoice: "required", turn: {} })
      assert.deepStrictEqual(
        model.requests.map(({ toolChoice, tools }) => [toolChoice, tools.length]),
        [
          ["auto", 0],
          ["auto", 0],
          ["required", 1]
        ]
      )
      for (const turn of [
        { tools: ["nope" as "calculator"] },
        { tools: [], toolChoice: { tool: "calculator" } }
      ] as const) {
        const exit = yield* Effect.exit(run({ toolChoice: "required", turn }))
        assert.match(String(exit), /prepareTurn names no tool on offer/)
      }
    })
  )

  it.effect("leaves nothing behind that its instructions or the preparation of a turn have forked", () =>
    Effect.gen(function* () {
      let alive = 0
      const heartbeat = Effect.acquireUseRelease(
        Effect.sync(() => void alive++),
        () => Effect.never,
        () => Effect.sync(() => void alive--)
      )
      const forking = Effect.forkChild(heartbeat, { startImmediately: true })
      const agent = Agent.make("helper", {
        instructions: () => Effect.as(forking, "Help."),
        prepareTurn: () => Effect.as(forking, {})
      })
      yield* Effect.provide(Agent.run(agent, "Hi"), scripted(["Hello"]).layer)
      assert.strictEqual(alive, 0)
    })
  )

  it.effect("fails with the failure of the preparation of a turn", () =>
    Effect.gen(function* () {
      const agent = Agent.make("helper", { prepareTurn: () => Effect.fail("no plan" as const) })
      const error: "no plan" | AgentError = yield* failure(
        Effect.provide(Agent.run(agent, "Hi"), scripted(["never"]).layer)
      )
      assert.strictEqual(error, "no plan")
    })
  )

  it.effect("says that the conversation is too long for the model, in numbers", () =>
    Effect.gen(function* () {
      const tooLong = AiError.make({
        module: "Test",
        method: "generate",
        reason: new AiError.InvalidRequestError({
          description: "prompt is too long: 210045 tokens > 200000 maximum",
          metadata: { test: { errorCode: "context_length_exceeded" } }
        })
      })
      const error = yield* failure(Effect.provide(Agent.run(Agent.make("helper"), "Hi"), scripted([tooLong]).layer))
      assert.strictEqual(error.reason._tag, "ContextOverflow")
      assert.deepInclude(error.reason, { limit: 200_000, used: 210_045 })
      assert.match(error.message, /of 210045 tokens is too long for the model, which takes 200000/)
    })
  )

  it.effect("tells of attempts that start over", () =>
    Effect.gen(function* () {
      const llm: Llm["Service"] = {
        generate: (_, onDelta) =>
          Effect.sync(() => {
            onDelta?.({ type: "text", delta: "Hel" })
            onDelta?.({ type: "restart", reason: "NetworkError", message: "cut", delayMillis: 100, model: "other" })
            onDelta?.({ type: "text", delta: "Hello" })
            const content = [{ type: "text", text: "Hello" }] as const
            return { content, finishReason: "stop", tokens: Usage.noTokens, model: "other" } as const
          })
      }
      const events = yield* Agent.stream(Agent.make("helper"), "Hi").pipe(
        Stream.runCollect,
        Effect.provideService(Llm, llm)
      )
      assert.deepStrictEqual(tags(events).slice(3, 6), ["TextDelta", "ModelCallRetried", "TextDelta"])
      assert.deepInclude(events[4], { reason: "NetworkError", message: "cut", delayMillis: 100, model: "other" })
    })
  )

  it.effect("fails with the failure of its instructions", () =>
    Effect.gen(function* () {
      const agent = Agent.make("helper", { instructions: () => Effect.fail("no template" as const) })
      const error = yield* failure(Agent.run(agent, "Hi")).pipe(Effect.provide(ScriptedLlm.layer(["never"])))
      assert.strictEqual(error, "no template")
    })
  )

  it.effect("sends the sampling it was given, and nothing else", () =>
    Effect.gen(function* () {
      const model = scripted(["a", "b"])
      const sampling = { model: "m", temperature: 0.7, topP: 0.9, maxTokens: 100, stop: ["END"], seed: 7 }
      yield* Agent.run(Agent.make("set", sampling), "Hi").pipe(Effect.provide(model.layer))
      yield* Agent.run(Agent.make("unset"), "Hi").pipe(Effect.provide(model.layer))
      assert.deepStrictEqual(model.requests[0]!.sampling, sampling)
      assert.deepStrictEqual(
        Object.values(model.requests[1]!.sampling).filter((value) => value !== undefined),
        []
      )
    })
  )

  it.effect("forces a tool on the first turn only, so that the model can answer", () =>
    Effect.gen(function* () {
      const model = scripted([calculate("add", 1, 1), "2"])
      const agent = Agent.make("forced", { toolkit: MathTools, toolChoice: { tool: "calculator" } })
      yield* Agent.run(agent, "1 + 1?").pipe(Effect.provide([MathToolsLayer, model.layer]))
      assert.deepStrictEqual(
        model.requests.map((request) => request.toolChoice),
        [{ tool: "calculator" }, "auto"]
      )
    })
  )

  it.effect("tells an answer that was cut for its length from a whole one", () =>
    Effect.gen(function* () {
      const content = [{ type: "text", text: "To be or" }] as const
      const cut = scripted([{ content, finishReason: "length" }])
      const result = yield* Effect.provide(Agent.run(Agent.make("poet"), "Hi"), cut.layer)
      assert.deepStrictEqual([result.text, result.finishReason], ["To be or", "length"])
    })
  )

  it.effect("streams unobserved model calls only when asked to", () =>
    Effect.gen(function* () {
      const streamed: Array<boolean> = []
      const model = Layer.succeed(Llm, {
        generate: (_, onDelta) => {
          streamed.push(onDelta !== undefined)
          return ScriptedLlm.make(["ok"]).generate(_, onDelta)
        }
      })
      yield* Agent.run(Agent.make("quiet"), "Hi").pipe(Effect.provide(model))
      yield* Agent.run(Agent.make("loud", { streaming: true }), "Hi").pipe(Effect.provide(model))
      yield* Stream.runDrain(Agent.stream(Agent.make("watched"), "Hi")).pipe(Effect.provide(model))
      assert.deepStrictEqual(streamed, [false, true, true])
    })
  )
})

describe("limits", () => {
  const endless = () => scripted([], (request) => calculate("add", 0, request.history.length))

  it.effect("stops after 10 turns by default, with the run so far", () =>
    Effect.gen(function* () {
      const model = endless()
      const error = yield* failure(Agent.run(mathBot, "go")).pipe(Effect.provide([MathToolsLayer, model.layer]))
      assert.isTrue(error._tag === "AgentError" && error.reason._tag === "TurnLimitReached")
      assert.strictEqual(error.partial.turns, 10)
      assert.strictEqual(error.partial.usage.toolCalls, 10)
      assert.strictEqual(History.toolResults(error.partial.history).length, 10)
      assert.strictEqual(model.requests.length, 10)
    })
  )

  it.effect("has the same limit for every way to run", () =>
    Effect.gen(function* () {
      const run = endless()
      yield* Effect.ignore(Agent.run(mathBot, "go")).pipe(Effect.provide([MathToolsLayer, run.layer]))
      const stream = endless()
      yield* Effect.ignore(Stream.runDrain(Agent.stream(mathBot, "go"))).pipe(
        Effect.provide([MathToolsLayer, stream.layer])
      )
      const child = endless()
      const sub = Agent.asTool(mathBot, { description: "Calculates" })
      const parent = Agent.make("parent", { toolkit: Toolkit.make(sub.tool) })
      yield* Agent.run(parent, "go").pipe(
        Effect.provide([
          Layer.provide(sub.layer, [MathToolsLayer, child.layer]),
          ScriptedLlm.layer([{ tool: "math-bot", params: { prompt: "go" } }, "gave up"])
        ])
      )
      assert.deepStrictEqual(
        [run, stream, child].map((model) => model.requests.length),
        [10, 10, 10]
      )
    })
  )

  it.effect("bounds the turns of a goal that is never reached", () =>
    Effect.gen(function* () {
      const agent = Agent.make("seeker", { toolkit: MathTools, stopWhen: StopCondition.hasToolCall("submit") })
      const error = yield* failure(Agent.run(agent, "go")).pipe(Effect.provide([MathToolsLayer, endless().layer]))
      assert.isTrue(error._tag === "AgentError" && error.reason._tag === "TurnLimitReached")
    })
  )

  it.effect("completes when a goal is reached", () =>
    Effect.gen(function* () {
      const agent = Agent.make("seeker", { toolkit: MathTools, stopWhen: StopCondition.hasToolCall("calculator") })
      const result = yield* Agent.run(agent, "go").pipe(Effect.provide([MathToolsLayer, endless().layer]))
      assert.strictEqual(result.turns, 1)
      assert.strictEqual(History.toolResults(result.history).length, 1)
    })
  )

  it.effect("stops on tokens and on time", () =>
    Effect.gen(function* () {
      const tokens = Agent.make("frugal", { toolkit: MathTools, stopWhen: StopCondition.tokensAbove(40) })
      const spent = yield* failure(Agent.run(tokens, "go")).pipe(Effect.provide([MathToolsLayer, endless().layer]))
      assert.isTrue(spent._tag === "AgentError" && spent.reason._tag === "TokenLimitReached")
      assert.strictEqual(Usage.totalTokens(spent.partial.usage), 45)

      const hurried = Agent.make("hurried", { toolkit: MathTools, stopWhen: StopCondition.after("1 second") })
      const slow = scripted([], () => Effect.as(TestClock.adjust("400 millis"), calculate("add", 1, Math.PI)))
      const late = yield* failure(Agent.run(hurried, "go")).pipe(Effect.provide([MathToolsLayer, slow.layer]))
      assert.isTrue(late._tag === "AgentError" && late.reason._tag === "TimeLimitReached")
      assert.strictEqual(late.partial.turns, 3)
    })
  )

  it.effect("refuses unusable definitions, naming the field", () =>
    Effect.gen(function* () {
      const field = (make: () => unknown) =>
        Result.match(Result.try(make), {
          onSuccess: () => "none",
          onFailure: (error) => (error as { field: string }).field
        })
      assert.strictEqual(
        field(() => Agent.make("")),
        "name"
      )
      assert.strictEqual(
        field(() => Agent.make("a", { toolConcurrency: 0 })),
        "toolConcurrency"
      )
      assert.strictEqual(
        field(() => Agent.make("a", { toolConcurrency: Number.NaN })),
        "toolConcurrency"
      )
      assert.strictEqual(
        field(() => Agent.make("a", { outputRetries: -1 })),
        "outputRetries"
      )
      assert.strictEqual(
        field(() => Agent.make("a", { maxTokens: 0 })),
        "maxTokens"
      )
      assert.strictEqual(
        field(() => Agent.make("a", { stopWhen: StopCondition.maxTurns(0) })),
        "maxTurns"
      )
      // @ts-expect-error the toolkit has no such tool
      const forced = () => Agent.make("a", { toolkit: MathTools, toolChoice: { tool: "x" } })
      assert.strictEqual(field(forced), "toolChoice")
      assert.strictEqual(
        field(() => Toolbox.merge(MathTools, MathTools)),
        "toolkit"
      )
      assert.strictEqual(
        field(() => LoopDetector.make({ window: 0 })),
        "loopDetector.window"
      )
    })
  )
})

describe("tools", () => {
  const run = (script: ReadonlyArray<ScriptedLlm.Turn>) =>
    Agent.run(mathBot, "go").pipe(Effect.provide([MathToolsLayer, ScriptedLlm.layer(script)]))

  it.effect("returns an unknown tool to the model as a failed result", () =>
    Effect.gen(function* () {
      const result = yield* run([{ tool: "nope" }, "ok"])
      const [part] = History.toolResults(result.history)
      assert.isTrue(part!.isFailure)
      assert.strictEqual(part!.result, "There is no tool 'nope'. The tools are: calculator.")
      assert.strictEqual(result.usage.toolCalls, 0)
    })
  )

  it.effect("runs the calls of a turn at the same time, within the bound, and commits them in call order", () =>
    Effect.gen(function* () {
      const Wait = Tool.make("wait", { parameters: Schema.Struct({ millis: Schema.Finite }), success: Schema.Finite })
      const toolkit = Toolkit.make(Wait)
      let running = 0
      let most = 0
      const finished: Array<number> = []
      const layer = toolkit.toLayer({
        wait: Effect.fnUntraced(function* ({ millis }) {
          most = Math.max(most, ++running)
          yield* Effect.sleep(millis)
          running--
          finished.push(millis)
          return millis
        })
      })
      const agent = Agent.make("waiter", { toolkit, toolConcurrency: 3 })
      const delays = [50, 40, 30, 20, 10, 5]
      const fiber = yield* Agent.run(agent, "go").pipe(
        Effect.provide([
          layer,
          ScriptedLlm.layer([delays.map((millis) => ({ tool: "wait", params: { millis } })), "ok"])
        ]),
        Effect.forkChild
      )
      yield* TestClock.adjust("1 second")
      const result = yield* Fiber.join(fiber)
      assert.strictEqual(most, 3)
      assert.notDeepEqual(finished, delays)
      assert.deepStrictEqual(
        History.toolResults(result.history).map((part) => part.result),
        delays
      )
    })
  )

  it.effect("gives a repeated or missing call id one of its own", () =>
    Effect.gen(function* () {
      const call = (id: string, a: number) => ({ ...calculate("add", a, 0), id })
      const result = yield* run([[call("x", 1), call("x", 2), call("", 3)], call("x", 4), "ok"])
      const ids = History.toolResults(result.history).map((part) => part.id)
      assert.strictEqual(new Set(ids).size, 4)
      assert.deepStrictEqual(
        History.toolResults(result.history).map((part) => part.result),
        [{ result: 1 }, { result: 2 }, { result: 3 }, { result: 4 }]
      )
    })
  )

  it.effect("tells the model how a tool failed in the tool's own words, and observers that it failed", () =>
    Effect.gen(function* () {
      const Save = Tool.make("save", { failure: Schema.String, failureMode: "return" })
      const toolkit = Toolkit.make(Save)
      const model = scripted([{ tool: "save" }, "ok"])
      const events = yield* Agent.stream(Agent.make("saver", { toolkit }), "go").pipe(
        Stream.runCollect,
        Effect.provide([toolkit.toLayer({ save: () => Effect.fail("Operation failed") }), model.layer])
      )
      const [part] = History.toolResults(model.requests[1]!.history)
      assert.deepInclude(part, { isFailure: true, result: "Operation failed" })
      assert.deepStrictEqual(
        events.flatMap((event) => (AgentEvents.scope(event) === "tool" ? [event._tag] : [])),
        ["ToolCallStarted", "ToolCallFailed"]
      )
    })
  )

  it.effect("leaves tools that the provider runs to the provider", () =>
    Effect.gen(function* () {
      const result = yield* run([
        {
          content: [
            { type: "tool-call", id: "s1", name: "web_search", params: { query: "x" }, providerExecuted: true },
            {
              type: "tool-result",
              id: "s1",
              name: "web_search",
              isFailure: false,
              result: "found",
              providerExecuted: true
            },
            { type: "text", text: "Found it" }
          ],
          finishReason: "stop"
        }
      ])
      assert.strictEqual(result.output, "Found it")
      assert.strictEqual(result.turns, 1)
    })
  )

  describe("with failureMode error", () => {
    class Broken extends Schema.TaggedError<Broken>()("Broken", { message: Schema.String }) {}
    const Strict = Tool.make("strict", { failure: Broken })
    const Slow = Tool.make("slow", {})
    const toolkit = Toolkit.make(Strict, Slow)
    const agent = Agent.make("strict-bot", { toolkit })

    it.effect("ends the run with the tool's own failure, and interrupts its siblings", () =>
      Effect.gen(function* () {
        const interrupted = yield* Deferred.make<void>()
        const layer = toolkit.toLayer({
          strict: () => Effect.fail(new Broken({ message: "snapped" })),
          slow: () => Effect.onInterrupt(Effect.never, () => Deferred.succeed(interrupted, undefined))
        })
        const model = scripted([[{ tool: "slow" }, { tool: "strict" }, { tool: "slow" }], "never"])
        const events: Array<AgentEvent> = []
        const error = yield* Agent.stream(agent, "go").pipe(
          Stream.runForEach((event) => Effect.sync(() => events.push(event))),
          failure,
          Effect.provide([layer, model.layer])
        )
        assert.isTrue(error._tag === "Broken" && error.message === "snapped")
        yield* Deferred.await(interrupted)
        assert.strictEqual(model.requests.length, 1)
        assert.strictEqual(events.at(-1)!._tag, "RunFailed")
        const { history } = Agent.fold(agent, events)
        assert.deepStrictEqual(
          History.toolResults(history).map((part) => part.isFailure),
          [true, true, true]
        )
      })
    )
  })
})

describe("loops", () => {
  const agent = Agent.make("looper", { toolkit: MathTools, stopWhen: StopCondition.maxTurns(50) })

  it.effect("answers a repeated call with the previous result in the original's words, without running the tool", () =>
    Effect.gen(function* () {
      let executed = 0
      const layer = MathTools.toLayer({
        calculator: ({ a, b }) => Effect.sync(() => ({ result: (executed++, a + b) }))
      })
      const swapped = { tool: "calculator", params: { b: 3, operation: "add", a: 5 } }
      const result = yield* Agent.run(agent, "go").pipe(
        Effect.provide([layer, ScriptedLlm.layer([calculate("add", 5, 3), swapped, "It is 8"])])
      )
      assert.strictEqual(executed, 1)
      assert.strictEqual(result.usage.toolCalls, 1)
      assert.strictEqual(
        History.toolResults(result.history)[1]!.result,
        "You already called the tool 'calculator' with these exact parameters and received a response: "
          + '{"result":8}. Please use the previous result instead of calling it again. '
          + "If you need different information, try calling with different parameters."
      )
    })
  )

  it.effect("answers a call repeated within one turn", () =>
    Effect.gen(function* () {
      const twice = [calculate("add", 5, 3), calculate("add", 5, 3)]
      const result = yield* Agent.run(agent, "go").pipe(
        Effect.provide([MathToolsLayer, ScriptedLlm.layer([twice, "It is 8"])])
      )
      assert.strictEqual(result.usage.toolCalls, 1)
      assert.include(String(History.toolResults(result.history)[1]!.result), '{"result":8}')
    })
  )

  it.effect("refuses, then stops the run with a typed failure", () =>
    Effect.gen(function* () {
      const model = scripted([], calculate("add", 5, 3))
      const events: Array<AgentEvent> = []
      const error = yield* Agent.stream(agent, "go").pipe(
        Stream.runForEach((event) => Effect.sync(() => events.push(event))),
        failure,
        Effect.provide([MathToolsLayer, model.layer])
      )
      assert.isTrue(error._tag === "AgentError" && error.reason._tag === "LoopDetected")
      assert.deepStrictEqual(
        events.flatMap((event) => (event._tag === "LoopDetected" ? [event.verdict] : [])),
        ["replay", "replay", "refuse", "refuse", "stop"]
      )
      assert.strictEqual(error.partial.usage.toolCalls, 1)
      assert.strictEqual(History.toolResults(error.partial.history).length, 6)
      assert.deepStrictEqual(
        History.toMessages(Agent.fold(agent, events).history),
        History.toMessages(error.partial.history)
      )
    })
  )

  it.effect("lets a failed call be tried again", () =>
    Effect.gen(function* () {
      const Flaky = Tool.make("flaky", { success: Schema.String, failure: Schema.String, failureMode: "return" })
      let attempts = 0
      const toolkit = Toolkit.make(Flaky)
      const layer = toolkit.toLayer({
        flaky: () => Effect.suspend(() => (++attempts < 3 ? Effect.fail("busy") : Effect.succeed("done")))
      })
      const flaky = { tool: "flaky" }
      const result = yield* Agent.run(Agent.make("patient", { toolkit }), "go").pipe(
        Effect.provide([layer, ScriptedLlm.layer([flaky, flaky, flaky, "ok"])])
      )
      assert.strictEqual(attempts, 3)
      assert.deepStrictEqual(
        History.toolResults(result.history).map((part) => part.result),
        ["busy", "busy", "done"]
      )
    })
  )

  it.effect("can be switched off", () =>
    Effect.gen(function* () {
      const free = Agent.make("free", { toolkit: MathTools, loopDetector: false })
      const again = calculate("add", 5, 3)
      const result = yield* Agent.run(free, "go").pipe(
        Effect.provide([MathToolsLayer, ScriptedLlm.layer([again, again, again, "ok"])])
      )
      assert.strictEqual(result.usage.toolCalls, 3)
    })
  )
})

describe("model failures", () => {
  it.effect("fail the run with the AiError, and keep what was done", () =>
    Effect.gen(function* () {
      const error = yield* failure(Agent.run(mathBot, "go")).pipe(
        Effect.provide([MathToolsLayer, ScriptedLlm.layer([calculate("add", 1, 2), overloaded])])
      )
      assert.isTrue(error._tag === "AgentError" && error.reason._tag === "ModelFailed")
      assert.strictEqual(
        error.reason._tag === "ModelFailed" ? error.reason.error.reason._tag : "",
        "InternalProviderError"
      )
      assert.strictEqual(error.partial.turns, 1)
      assert.strictEqual(History.toolResults(error.partial.history).length, 1)
    })
  )

  it.effect("can be caught by reason", () =>
    Effect.gen(function* () {
      const answer = yield* Agent.run(mathBot, "go").pipe(
        Effect.map((result) => result.text),
        Effect.catchReason("AgentError", "ModelFailed", (reason) => Effect.succeed(reason.error.reason._tag)),
        Effect.provide([MathToolsLayer, ScriptedLlm.layer([overloaded])])
      )
      assert.strictEqual(answer, "InternalProviderError")
    })
  )

  it.effect("come after all that was heard before, and nothing is heard after", () =>
    Effect.gen(function* () {
      let say: (() => void) | undefined
      const generate: Llm["Service"]["generate"] = Effect.fnUntraced(function* (_, onDelta) {
        say = () => onDelta?.({ type: "text", delta: "word " })
        for (let i = 0; i < 50; i++) {
          say()
          if (i % 10 === 0) yield* Effect.yieldNow
        }
        return yield* overloaded
      })
      const hub = yield* EventHub.make()
      const { take } = yield* hub.subscribe()
      yield* failure(Agent.run(Agent.make("helper"), "go")).pipe(
        Effect.provideService(Llm, { generate }),
        Effect.provideService(EventHub.EventHub, hub)
      )
      say!()
      yield* Effect.yieldNow
      const heard = (yield* take).map((event) => event._tag)
      assert.deepStrictEqual(heard.slice(3), [
        ...Array.from({ length: 50 }, () => "TextDelta" as const),
        "ModelCallFailed",
        "RunFailed"
      ])
    })
  )

  it.effect("a provider that dies is a defect, after a terminal event", () =>
    Effect.gen(function* () {
      const events: Array<AgentEvent> = []
      const exit = yield* Agent.stream(Agent.make("helper"), "go").pipe(
        Stream.runForEach((event) => Effect.sync(() => events.push(event))),
        Effect.exit,
        Effect.provide(Layer.succeed(Llm, { generate: () => Effect.die(new Error("bug")) }))
      )
      assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
      assert.strictEqual(events.at(-1)!._tag, "RunFailed")
    })
  )
})

describe("events", () => {
  const script = [calculate("add", 5, 3), "It is 8"]
  const order = [
    "RunStarted",
    "TurnStarted",
    "ModelCallStarted",
    "ToolParamsDelta",
    "ModelCallCompleted",
    "ToolCallStarted",
    "ToolCallCompleted",
    "TurnCompleted",
    "TurnStarted",
    "ModelCallStarted",
    "TextDelta",
    "TextDelta",
    "TextDelta",
    "ModelCallCompleted",
    "TurnCompleted",
    "RunCompleted"
  ]

  it.effect("are all there when the run returns, in order and without gaps, 1000 times out of 1000", () =>
    Effect.gen(function* () {
      const hub = yield* EventHub.make()
      const { take } = yield* hub.subscribe()
      for (let i = 0; i < 1000; i++) {
        yield* Agent.run(mathBot, "5 + 3?").pipe(
          Effect.provide([MathToolsLayer, ScriptedLlm.layer(script)]),
          Effect.provideService(EventHub.EventHub, hub)
        )
        const events = yield* take
        assert.deepStrictEqual(
          events.map((event) => [event._tag, event._tag === "Lagged" ? -1 : event.offset]),
          order.map((tag, offset) => [tag, offset])
        )
      }
    })
  )

  it.effect("are all there for agents and tools whose names contain colons", () =>
    Effect.gen(function* () {
      const Daily = Tool.make("etl:daily", { success: Schema.Finite })
      const toolkit = Toolkit.make(Daily)
      const events = yield* Agent.stream(Agent.make("a:b", { toolkit }), "go").pipe(
        Stream.runCollect,
        Effect.provide([
          toolkit.toLayer({ "etl:daily": () => Effect.succeed(1) }),
          ScriptedLlm.layer([{ tool: "etl:daily" }, "It is 8"])
        ])
      )
      assert.deepStrictEqual(
        events.map(({ _tag, offset }) => [_tag, offset]),
        order.map((tag, offset) => [tag, offset])
      )
    })
  )

  it.effect("of a model call tell all of the answer, its model, reason, tokens, cost and time", () =>
    Effect.gen(function* () {
      const content = [{ type: "text", text: "x".repeat(1000) }] as const
      const tokens = { ...Usage.noTokens, inputTokens: 100, outputTokens: 10 }
      const generate = () =>
        Effect.as(TestClock.adjust("250 millis"), { content, finishReason: "length", tokens, model: "m" } as const)
      const events = yield* Agent.stream(Agent.make("poet", { toolkit: MathTools }), "Sing").pipe(
        Stream.runCollect,
        Effect.provide([MathToolsLayer, Layer.succeed(Llm, { generate })]),
        Effect.provideService(Prices.Prices, Prices.make({ m: { input: 1, output: 2 } }))
      )
      assert.deepInclude(events[2], { _tag: "ModelCallStarted", messages: 1, tools: ["calculator"] })
      assert.deepInclude(events[3], {
        _tag: "ModelCallCompleted",
        content,
        finishReason: "length",
        tokens,
        model: "m",
        costNanoUsd: 120_000,
        durationMillis: 250
      })
    })
  )
})

describe("output", () => {
  const Answer = Schema.Struct({ city: Schema.String, people: Schema.Finite })
  const agent = Agent.make("extractor", { output: Answer })

  it.effect("decodes the final answer", () =>
    Effect.gen(function* () {
      const model = scripted(['```json\n{ "city": "Bern", "people": 134000 }\n```'])
      const result = yield* Agent.run(agent, "Bern?").pipe(Effect.provide(model.layer))
      assert.deepStrictEqual(result.output, { city: "Bern", people: 134000 })
      assert.strictEqual(model.requests[0]!.output!.schema, Answer)
    })
  )

  it.effect("sends an invalid answer back with what is wrong", () =>
    Effect.gen(function* () {
      const model = scripted(["Bern", '{ "city": "Bern" }', '{ "city": "Bern", "people": 134000 }'])
      const result = yield* Agent.run(agent, "Bern?").pipe(Effect.provide(model.layer))
      assert.strictEqual(result.turns, 3)
      const feedback = History.last(model.requests[2]!.history)!
      assert.strictEqual(feedback.role, "user")
      assert.include(String(feedback.content), "people")
    })
  )

  it.effect("a schema that dies ends the run, and the model is told nothing of it", () =>
    Effect.gen(function* () {
      const Fragile = Schema.Finite.check(
        Schema.makeFilter(() => {
          throw new Error("secret")
        })
      )
      const model = scripted(["1", "2"])
      const exit = yield* Effect.exit(Agent.run(Agent.make("fragile", { output: Fragile }), "go")).pipe(
        Effect.provide(model.layer)
      )
      assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
      assert.strictEqual(model.requests.length, 1)
    })
  )

  it.effect("gives up after a bounded number of corrections, keeping the text", () =>
    Effect.gen(function* () {
      const model = scripted([], "no idea")
      const error = yield* failure(Agent.run(agent, "Bern?")).pipe(Effect.provide(model.layer))
      assert.strictEqual(error.reason._tag, "OutputInvalid")
      assert.deepInclude(error.reason, { text: "no idea", attempts: 3 })
      assert.strictEqual(model.requests.length, 3)
    })
  )
})

describe("interruption", () => {
  it.effect("during a model call aborts the request and ends the run with canceled events", () =>
    Effect.gen(function* () {
      const started = yield* Latch.make()
      const aborted = yield* Deferred.make<void>()
      const model = Layer.succeed(Llm, {
        generate: () =>
          Effect.andThen(started.open, Effect.never).pipe(
            Effect.onInterrupt(() => Deferred.succeed(aborted, undefined))
          )
      })
      const hub = yield* EventHub.make()
      const { take } = yield* hub.subscribe()
      const fiber = yield* Agent.run(Agent.make("helper"), "Hi").pipe(
        Effect.provide(model),
        Effect.provideService(EventHub.EventHub, hub),
        Effect.forkChild
      )
      yield* started.await
      yield* Fiber.interrupt(fiber)
      yield* Deferred.await(aborted)
      const deliveries = yield* take
      assert.deepStrictEqual(
        deliveries.map((event) => event._tag),
        ["RunStarted", "TurnStarted", "ModelCallStarted", "ModelCallInterrupted", "RunInterrupted"]
      )
    })
  )

  it.effect("of a run that has not begun leaves no event, and of any other exactly one that is its last", () =>
    Effect.gen(function* () {
      const run = Agent.run(mathBot, "3 times?").pipe(
        Effect.provide([MathToolsLayer, ScriptedLlm.layer([calculate("multiply", 3, 3), "9"])])
      )
      const endings = new Set<string>()
      for (let operation = 1; operation <= 300; operation++) {
        const schedule = [{ _tag: "Paused", fiber: 1, operation } as const, { _tag: "Interrupted", step: 2 } as const]
        const outcome = yield* Simulation.run(run, { schedule })
        assert.deepStrictEqual(Simulation.laws(outcome), [], `before operation ${operation}`)
        endings.add(outcome.events.at(-1)?._tag ?? "nothing")
      }
      assert.deepStrictEqual([...endings], ["nothing", "RunInterrupted", "RunCompleted"])
    })
  )

  it.effect("leaves no tool at work, at whatever moment it comes", () =>
    Effect.gen(function* () {
      const Work = Toolkit.make(Tool.make("work", { success: Schema.Void }))
      const worker = Agent.make("worker", { toolkit: Work })
      let working = 0
      let left = 0
      const WorkLayer = Work.toLayer({
        work: () =>
          Effect.acquireUseRelease(
            Effect.sync(() => working++),
            () => Effect.sleep("1 second"),
            () => Effect.sync(() => working--)
          )
      })
      const run = Effect.onExit(Agent.run(worker, "go"), () => Effect.sync(() => (left += working))).pipe(
        Effect.provide([WorkLayer, ScriptedLlm.layer([{ tool: "work" }, "done"])])
      )
      for (const fiber of [1, 2, 3]) {
        for (let operation = 1; operation <= 120; operation++) {
          const schedule = [{ _tag: "Paused", fiber, operation } as const, { _tag: "Interrupted", step: 2 } as const]
          yield* Simulation.run(run, { schedule })
          assert.strictEqual(left, 0, `before operation ${operation} of fiber ${fiber}`)
        }
      }
    })
  )

  it.effect("during tools interrupts them and leaves a history with every call answered", () =>
    Effect.gen(function* () {
      const Hang = Tool.make("hang", {})
      const Quick = Tool.make("quick", { success: Schema.String })
      const toolkit = Toolkit.make(Hang, Quick)
      const agent = Agent.make("hanger", { toolkit })
      const hanging = yield* Latch.make()
      let interrupted = 0
      const layer = toolkit.toLayer({
        hang: () =>
          Effect.andThen(hanging.open, Effect.never).pipe(Effect.onInterrupt(() => Effect.sync(() => interrupted++))),
        quick: () => Effect.succeed("done")
      })
      const hub = yield* EventHub.make()
      const { take } = yield* hub.subscribe()
      const fiber = yield* Agent.run(agent, "go").pipe(
        Effect.provide([layer, ScriptedLlm.layer([[{ tool: "quick" }, { tool: "hang" }, { tool: "nope" }]])]),
        Effect.provideService(EventHub.EventHub, hub),
        Effect.forkChild
      )
      yield* hanging.await
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(interrupted, 1)
      const events = (yield* take).filter((event) => event._tag !== "Lagged")
      assert.strictEqual(events.at(-1)!._tag, "RunInterrupted")
      const { history } = Agent.fold(agent, events)
      assert.deepStrictEqual(
        History.toolResults(history).map((part) => [part.name, part.isFailure]),
        [
          ["quick", false],
          ["hang", true],
          ["nope", true]
        ]
      )
      assert.include(String(History.toolResults(history)[1]!.result), "interrupted")
    })
  )

  it.effect("closing a stream interrupts its run", () =>
    Effect.gen(function* () {
      const aborted = yield* Deferred.make<void>()
      const model = Layer.succeed(Llm, {
        generate: () => Effect.onInterrupt(Effect.never, () => Deferred.succeed(aborted, undefined))
      })
      const events = yield* Agent.stream(Agent.make("helper"), "Hi").pipe(
        Stream.take(2),
        Stream.runCollect,
        Effect.provide(model)
      )
      assert.deepStrictEqual(tags(events), ["RunStarted", "TurnStarted"])
      yield* Deferred.await(aborted)
    })
  )

  it.effect("a late delta of a provider that ignores interruption is not part of the run", () =>
    Effect.gen(function* () {
      let late: (() => void) | undefined
      const started = yield* Latch.make()
      const model = Layer.succeed(Llm, {
        generate: (_, onDelta) => {
          late = () => onDelta?.({ type: "text", delta: "too late" })
          return Effect.andThen(started.open, Effect.never)
        }
      })
      const hub = yield* EventHub.make()
      const { take } = yield* hub.subscribe()
      const fiber = yield* Agent.run(Agent.make("helper"), "Hi").pipe(
        Effect.provide(model),
        Effect.provideService(EventHub.EventHub, hub),
        Effect.forkChild
      )
      yield* started.await
      yield* Fiber.interrupt(fiber)
      late!()
      assert.strictEqual((yield* take).at(-1)!._tag, "RunInterrupted")
    })
  )
})

describe("streamOutput", () => {
  const Dish = Schema.Struct({ dish: Schema.String, steps: Schema.Array(Schema.String), ready: Schema.Date })
  const cook = Agent.make("cook", { output: Dish, toolkit: MathTools })
  const whole = { dish: "pasta al pesto", steps: ["boil the water", "mix"], ready: "2026-01-01T00:00:00.000Z" }

  /** A model that waits after each word, so that each is a batch of its own. */
  const slowly = (text: string): Llm["Service"]["generate"] =>
    Effect.fnUntraced(function* (_, onDelta) {
      for (const word of text.match(/\S+\s*|\s+/g) ?? []) {
        onDelta?.({ type: "text", delta: word })
        yield* Effect.yieldNow
      }
      const content = [{ type: "text", text }] as const
      return { content, finishReason: "stop", tokens: Usage.noTokens, model: undefined } as const
    })

  const collect = (...turns: ReadonlyArray<Llm["Service"]["generate"]>) => {
    let turn = 0
    const llm: Llm["Service"] = { generate: (request, onDelta) => turns[turn++]!(request, onDelta) }
    return Agent.streamOutput(cook, "Cook").pipe(
      Stream.runCollect,
      Effect.provide(MathToolsLayer),
      Effect.provideService(Llm, llm)
    )
  }

  it.effect("grows with the answer, beside tools, and ends with all of it", () =>
    Effect.gen(function* () {
      const calling = ScriptedLlm.make([calculate("add", 1, 1)]).generate
      const parts = yield* collect(calling, slowly(`\`\`\`json\n${JSON.stringify(whole)}\n\`\`\``))
      assert.deepStrictEqual(parts.at(-1), whole)
      assert.deepStrictEqual(parts.slice(0, 2), [{ dish: "pasta" }, { dish: "pasta al" }])
      assert.isAtLeast(parts.length, 5)
    })
  )

  it.effect("is told in ever larger steps, so that its cost stays linear in its length", () =>
    Effect.gen(function* () {
      const steps = Array.from({ length: 5000 }, (_, i) => `step ${i}`)
      const parts = yield* collect(slowly(JSON.stringify({ ...whole, steps })))
      assert.deepStrictEqual(parts.at(-1), { ...whole, steps })
      // Once per 64th part of 60,000 characters, and with every word of the first few.
      assert.isBelow(parts.length, 600)
    })
  )

  it.effect("starts over with a correction", () =>
    Effect.gen(function* () {
      const parts = yield* collect(slowly('{"dish": "soup of the day"}'), slowly(JSON.stringify(whole)))
      assert.deepInclude(parts, { dish: "soup of the" })
      assert.deepInclude(parts, { dish: "pasta" })
      assert.deepStrictEqual(parts.at(-1), whole)
    })
  )

  it.effect("fails when the run does, after what it has told", () =>
    Effect.gen(function* () {
      const error = yield* failure(collect(...[1, 2, 3].map(() => slowly('{"dish": "soup"}'))))
      assert.strictEqual(error.reason._tag, "OutputInvalid")
    })
  )
})

describe("asTool", () => {
  const researcher = Agent.make("researcher", { instructions: "Find out.", toolkit: MathTools })
  const sub = Agent.asTool(researcher, { description: "Finds things out" })
  const writer = Agent.make("writer", { toolkit: Toolkit.make(sub.tool) })
  const ask = { tool: "researcher", params: { prompt: "6 * 7?" } }

  it.effect("runs the sub-agent with its own model and tools, and counts its usage in the parent's", () =>
    Effect.gen(function* () {
      const own = scripted([calculate("multiply", 6, 7), "It is 42"])
      const parent = scripted([ask, "The answer is 42"])
      const result = yield* Agent.run(writer, "Write").pipe(
        Effect.provide([Layer.provide(sub.layer, [MathToolsLayer, own.layer]), parent.layer])
      )
      assert.strictEqual(result.output, "The answer is 42")
      assert.strictEqual(History.toolResults(result.history)[0]!.result, "It is 42")
      assert.strictEqual(own.requests.length, 2)
      assert.strictEqual(parent.requests.length, 2)
      assert.strictEqual(result.usage.modelCalls, 4)
      assert.strictEqual(result.usage.toolCalls, 2)
      assert.strictEqual(Usage.totalTokens(result.usage), 60)
    })
  )

  it.effect("shows its events in the parent's stream, with the parent's run id", () =>
    Effect.gen(function* () {
      const events = yield* Agent.stream(writer, "Write").pipe(
        Stream.runCollect,
        Effect.provide([
          Layer.provide(sub.layer, [MathToolsLayer, ScriptedLlm.layer(["It is 42"])]),
          ScriptedLlm.layer([ask, "The answer is 42"])
        ])
      )
      const started = events.filter((event) => event._tag === "RunStarted")
      assert.deepStrictEqual(
        started.map((event) => event.agent),
        ["writer", "researcher"]
      )
      assert.strictEqual(started[0]!.parentRunId, undefined)
      assert.strictEqual(started[1]!.parentRunId, started[0]!.runId)
      assert.strictEqual(events.find((event) => event._tag === "ChildRunEnded")!.runId, started[0]!.runId)
      const { usage } = Agent.fold(
        writer,
        events.filter((event) => event.runId === started[0]!.runId)
      )
      assert.strictEqual(usage.modelCalls, 3)
    })
  )

  it.effect("returns its failure to the parent's model as data", () =>
    Effect.gen(function* () {
      const result = yield* Agent.run(writer, "Write").pipe(
        Effect.provide([
          Layer.provide(sub.layer, [MathToolsLayer, ScriptedLlm.layer([overloaded])]),
          ScriptedLlm.layer([ask, "Could not find out"])
        ])
      )
      const [part] = History.toolResults(result.history)
      assert.isTrue(part!.isFailure)
      assert.strictEqual((part!.result as { reason: string }).reason, "ModelFailed")
    })
  )

  it.effect("has the services its layer was given, not those of its caller", () =>
    Effect.gen(function* () {
      class Place extends Context.Service<Place, string>()("test/Place") {}
      const local = Agent.make("local", { instructions: () => Effect.map(Place, (place) => `You are in ${place}.`) })
      const tool = Agent.asTool(local, { description: "Knows the place" })
      const own = scripted(["here"])
      yield* Agent.run(Agent.make("p", { toolkit: Toolkit.make(tool.tool) }), "go").pipe(
        Effect.provide([
          Layer.provide(tool.layer, [Layer.succeed(Place, "Bern"), own.layer]),
          ScriptedLlm.layer([{ tool: "local", params: { prompt: "Where?" } }, "ok"])
        ]),
        Effect.provideService(Place, "elsewhere")
      )
      assert.strictEqual(own.requests[0]!.instructions, "You are in Bern.")
    })
  )

  it.effect("is a child of the run whose instructions start it, too", () =>
    Effect.gen(function* () {
      const clerk = Agent.make("clerk")
      const boss = Agent.make("boss", {
        instructions: () => Effect.map(Agent.run(clerk, "Look it up"), (result) => result.text)
      })
      const events = yield* Agent.stream(boss, "go").pipe(
        Stream.runCollect,
        Effect.provide(ScriptedLlm.layer(["Be brief.", "ok"]))
      )
      const [first, second] = events.filter((event) => event._tag === "RunStarted")
      assert.deepStrictEqual([first!.agent, second!.agent], ["boss", "clerk"])
      assert.strictEqual(second!.parentRunId, first!.runId)
      assert.strictEqual(second!.rootRunId, first!.runId)
      assert.strictEqual(Agent.fold(boss, events).usage.modelCalls, 2)
    })
  )

  it.effect("is interrupted with its parent, and its usage is not lost", () =>
    Effect.gen(function* () {
      const hanging = yield* Latch.make()
      const own = scripted([calculate("add", 1, 1), () => Effect.andThen(hanging.open, Effect.never)])
      const hub = yield* EventHub.make()
      const { take } = yield* hub.subscribe()
      const fiber = yield* Agent.run(writer, "Write").pipe(
        Effect.provide([Layer.provide(sub.layer, [MathToolsLayer, own.layer]), ScriptedLlm.layer([ask])]),
        Effect.provideService(EventHub.EventHub, hub),
        Effect.forkChild
      )
      yield* hanging.await
      yield* Fiber.interrupt(fiber)
      const events = (yield* take).filter((event) => event._tag !== "Lagged")
      const ended = events.filter((event) => event._tag === "RunInterrupted")
      assert.deepStrictEqual(
        ended.map((event) => [event.agent, event.usage.modelCalls]),
        [
          ["researcher", 1],
          ["writer", 2]
        ]
      )
    })
  )

  it.effect("decodes structured output for the parent", () =>
    Effect.gen(function* () {
      const typed = Agent.asTool(Agent.make("typed", { output: Schema.Struct({ n: Schema.Finite }) }), {
        description: "Counts"
      })
      const result = yield* Agent.run(Agent.make("p", { toolkit: Toolkit.make(typed.tool) }), "go").pipe(
        Effect.provide([
          Layer.provide(typed.layer, ScriptedLlm.layer(['{"n":3}'])),
          ScriptedLlm.layer([{ tool: "typed", params: { prompt: "count" } }, "three"])
        ])
      )
      assert.deepStrictEqual(History.toolResults(result.history)[0]!.result, { n: 3 })
    })
  )
})

describe("what comes too late", () => {
  it.effect("is not part of the run: deltas after the answer, progress after the result", () =>
    Effect.gen(function* () {
      const Chatty = Tool.make("chatty", { success: Schema.String })
      const toolkit = Toolkit.make(Chatty)
      let report: (() => Effect.Effect<void>) | undefined
      let delta: (() => void) | undefined
      const layer = toolkit.toLayer({
        chatty: (_, context) => {
          report = () => context.preliminary("late")
          return Effect.succeed("done")
        }
      })
      const script = ScriptedLlm.make([{ tool: "chatty" }, "ok"])
      const model = Layer.succeed(Llm, {
        generate: (request, onDelta) =>
          Effect.suspend(() => {
            delta?.()
            delta = () => onDelta?.({ type: "text", delta: "late" })
            return Effect.andThen(report?.() ?? Effect.void, script.generate(request))
          })
      })
      const events = yield* Agent.stream(Agent.make("bot", { toolkit }), "go").pipe(
        Stream.runCollect,
        Effect.provide([layer, model])
      )
      assert.deepStrictEqual(
        events.filter((event) => event._tag === "TextDelta" || event._tag === "ToolCallProgressed"),
        []
      )
      assert.deepStrictEqual(
        events.map((event) => event.offset),
        events.map((_, i) => i)
      )
    })
  )

  it.effect("deltas of a call whose id was taken before carry the id that it gets", () =>
    Effect.gen(function* () {
      const again = (a: number) => ({ ...calculate("add", a, 0), id: "same" })
      const events = yield* Agent.stream(mathBot, "go").pipe(
        Stream.runCollect,
        Effect.provide([MathToolsLayer, ScriptedLlm.layer([again(1), again(2), "ok"])])
      )
      const deltas = events.flatMap((event) => (event._tag === "ToolParamsDelta" ? [event.id] : []))
      const started = events.flatMap((event) => (event._tag === "ToolCallStarted" ? [event.id] : []))
      assert.deepStrictEqual(deltas, started)
    })
  )
})

describe("concurrency", () => {
  it.effect("runs many agents on fibers without mixing them", () =>
    Effect.gen(function* () {
      const hub = yield* EventHub.make()
      const { take } = yield* hub.subscribe({ capacity: 100_000 })
      const echo: ScriptedLlm.Turn = (request) =>
        Effect.as(Effect.yieldNow, History.userText(History.toMessages(request.history)[0]!.content as string))
      const results = yield* Effect.forEach(
        Array.from({ length: 200 }, (_, i) => i),
        (i) => Agent.run(Agent.make(`agent-${i}`), `prompt ${i}`),
        { concurrency: 50 }
      ).pipe(Effect.provide(ScriptedLlm.layer([], echo)), Effect.provideService(EventHub.EventHub, hub))
      assert.deepStrictEqual(
        results.map((result) => result.output),
        Array.from({ length: 200 }, (_, i) => `prompt ${i}`)
      )
      const offsets = new Map<string, Array<number>>()
      for (const event of yield* take) {
        if (event._tag === "Lagged") return assert.fail("lagged")
        offsets.set(event.runId, [...(offsets.get(event.runId) ?? []), event.offset])
      }
      assert.strictEqual(offsets.size, 200)
      for (const run of offsets.values())
        assert.deepStrictEqual(
          run,
          run.map((_, i) => i)
        )
    })
  )

  it.effect("works with the combinators of Effect", () =>
    Effect.gen(function* () {
      const slow = Layer.succeed(Llm, { generate: () => Effect.never })
      const fiber = yield* Agent.run(Agent.make("slow"), "Hi").pipe(
        Effect.timeout("1 second"),
        Effect.provide(slow),
        failure,
        Effect.forkChild
      )
      yield* TestClock.adjust("2 seconds")
      const error: AgentError | Cause.TimeoutError = yield* Fiber.join(fiber)
      assert.strictEqual(error._tag, "TimeoutError")
    })
  )
})
