import { assert, describe, it } from "@effect/vitest"
import * as Agent from "effect-agent-runtime/Agent"
import type { AgentErrorReason } from "effect-agent-runtime/AgentError"
import { AgentError, InvalidAgent } from "effect-agent-runtime/AgentError"
import * as Budget from "effect-agent-runtime/Budget"
import * as ContextWindow from "effect-agent-runtime/ContextWindow"
import * as History from "effect-agent-runtime/History"
import * as Llm from "effect-agent-runtime/Llm"
import * as Prices from "effect-agent-runtime/Prices"
import * as Laws from "effect-agent-runtime/testing/Laws"
import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
import * as TokenEstimator from "effect-agent-runtime/TokenEstimator"
import * as Workflow from "effect-agent-runtime/Workflow"
import * as AiError from "effect/ai/AiError"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { CurrentAccount } from "../src/internal/account.ts"
import { plan, play } from "./prove/budget.ts"
import { calculate, MathTools, MathToolsLayer } from "./support/calculator.ts"

/** A model that the test can look at afterwards. */
const scripted = (script: ReadonlyArray<ScriptedLlm.Turn>, otherwise?: ScriptedLlm.Turn) => {
  const model = ScriptedLlm.make(script, otherwise)
  return { ...model, requests: model.requests, layer: Layer.succeed(Llm.Llm, model) }
}

const helper = Agent.make("helper", { maxTokens: 100 })
const mathBot = Agent.make("math-bot", { toolkit: MathTools, maxTokens: 100 })

const tokens = (inputTokens: number, outputTokens: number) => ({
  inputTokens,
  outputTokens,
  cachedInputTokens: 0,
  cacheWriteTokens: 0,
  reasoningTokens: 0
})

/** A turn that says something and reports so many tokens. */
const saying = (text: string, inputTokens: number, outputTokens: number): ScriptedLlm.ScriptedResponse => ({
  content: [{ type: "text", text }],
  tokens: tokens(inputTokens, outputTokens)
})

/** The refusal that a run fails with. */
const refused = <A, E, R>(run: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(run), (failure) => {
    assert.instanceOf(failure, AgentError)
    const error = failure as AgentError
    assert.strictEqual(error.reason._tag, "BudgetExceeded")
    return { ...error, reason: error.reason as Extract<AgentErrorReason, { readonly _tag: "BudgetExceeded" }> }
  })

const sent = ({ requests }: { readonly requests: ReadonlyArray<Llm.LlmRequest> }) =>
  requests.map(({ sampling }) => sampling.maxTokens)

const inputOf = (request: Llm.LlmRequest): number => TokenEstimator.request(TokenEstimator.make(), request)

const broken = AiError.make({
  module: "Test",
  method: "generate",
  reason: new AiError.InternalProviderError({ description: "broken" })
})

const view = Effect.map(Budget.current, (found) => found!)

describe("tokens", () => {
  it.effect("are reserved before a call and settled after it", () =>
    Effect.gen(function* () {
      const during: Array<Budget.View> = []
      const look = Effect.map(view, (found) => during.push(found))
      const model = Llm.layer(() =>
        Effect.as(Effect.sleep("1 second"), {
          content: [{ type: "text", text: "Well" }],
          finishReason: "stop",
          tokens: tokens(10, 5),
          model: "m"
        } as const)
      )
      const fiber = yield* Effect.all([Agent.run(helper, "Hi"), Effect.andThen(Effect.sleep("500 millis"), look)], {
        concurrency: 2
      }).pipe(Effect.andThen(view), Budget.limit({ tokens: 1000 }), Effect.provide(model), Effect.forkChild)
      yield* TestClock.adjust("1 second")
      const after = yield* Fiber.join(fiber)
      assert.isAbove(during[0]!.reserved.tokens, 100)
      assert.strictEqual(during[0]!.left.tokens, 1000 - during[0]!.reserved.tokens)
      assert.strictEqual(during[0]!.spent.tokens, 0)
      assert.deepStrictEqual(after, {
        account: ["budget"],
        spent: { tokens: 15, costUsd: 0, modelCalls: 1, toolCalls: 0 },
        reserved: { tokens: 0, costUsd: 0, modelCalls: 0, toolCalls: 0 },
        left: { tokens: 985, costUsd: Infinity, modelCalls: Infinity, toolCalls: Infinity },
        byAgent: [{ agent: "helper", tokens: 15, costUsd: 0, modelCalls: 1, toolCalls: 0 }]
      })
    })
  )

  it.effect("are what the model may still write when less is left than the agent allows, or it allows any", () =>
    Effect.gen(function* () {
      const model = scripted([], "Well")
      const run = (agent: Agent.Agent<string>) => Agent.run(agent, "Hi").pipe(Effect.provide(model.layer))
      yield* run(helper).pipe(Budget.limit({ tokens: 1000 }))
      const [input] = model.requests.map(inputOf)
      yield* run(helper).pipe(Budget.limit({ tokens: input! + 20 }))
      yield* run(Agent.make("free")).pipe(Budget.limit({ tokens: input! + 30 }))
      yield* run(Agent.make("free")).pipe(Budget.limit({ tokens: 1_000_000 }))
      yield* run(Agent.make("free")).pipe(Budget.limit({ modelCalls: 1 }))
      assert.deepStrictEqual(sent(model), [100, 20, 30, 8192, undefined])
    })
  )

  it.effect("that are used up end the run, with where they went and the run so far", () =>
    Effect.gen(function* () {
      const model = scripted([calculate("add", 1, 2), calculate("add", 3, 4)])
      const { partial, reason } = yield* refused(
        Agent.run(mathBot, "Go").pipe(
          Budget.limit({ name: "nightly", tokens: 125 }),
          Effect.provide([MathToolsLayer, model.layer])
        )
      )
      const { requested } = reason
      assert.isAbove(requested, 125 - 15)
      assert.deepStrictEqual({ ...reason }, {
        _tag: "BudgetExceeded",
        budget: "tokens",
        account: ["nightly"],
        limit: 125,
        spent: 15,
        reserved: 0,
        requested,
        breakdown: [{ agent: "math-bot", spent: 15 }]
      } as never)
      assert.strictEqual(
        reason.message,
        `The budget 'nightly' has not enough tokens left: ${requested} needed, 15 of 125 spent`
      )
      assert.strictEqual(partial.usage.modelCalls, 1)
      assert.deepStrictEqual(Laws.history(partial.history), [])
      assert.strictEqual(History.toolResults(partial.history).length, 1)
    })
  )

  it.effect("that others have only reserved are waited for", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      let inFlight = 0
      let most = 0
      const model = scripted([], () =>
        Effect.gen(function* () {
          most = Math.max(most, ++inFlight)
          yield* Deferred.await(gate)
          inFlight--
          return "Well" as const
        })
      )
      const fiber = yield* Effect.forEach([1, 2, 3, 4, 5], () => Agent.run(helper, "Hi"), {
        concurrency: "unbounded"
      }).pipe(Budget.limit({ tokens: 250 }), Effect.provide(model.layer), Effect.forkChild({ startImmediately: true }))
      yield* Effect.yieldNow
      assert.strictEqual(inFlight, 2)
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(fiber)
      assert.strictEqual(most, 2)
      assert.deepStrictEqual(sent(model), [100, 100, 100, 100, 100])
    })
  )

  it.effect("are waited for without a trace in how long a call takes, or in the account when the run ends", () =>
    Effect.gen(function* () {
      const model = scripted([], () => Effect.as(Effect.sleep("1 second"), "Well"))
      const recorded = yield* Effect.gen(function* () {
        const account = (yield* CurrentAccount)!
        const first = yield* Effect.forkChild(Agent.run(helper, "Hi"), { startImmediately: true })
        const waiting = yield* Effect.forkChild(Agent.run(helper, "Waits"), { startImmediately: true })
        const next = yield* Effect.forkChild(Agent.run(helper, "Waits, too"), { startImmediately: true })
        assert.strictEqual(account.waiting.size, 2)
        yield* Fiber.interrupt(waiting)
        assert.strictEqual(account.waiting.size, 1)
        yield* TestClock.adjust("2 seconds")
        yield* Fiber.join(first)
        yield* Fiber.join(next)
      }).pipe(Budget.limit({ tokens: 150 }), Effect.provide(model.layer), Laws.record)
      assert.isTrue(Exit.isSuccess(recorded.exit))
      assert.deepStrictEqual(Laws.events(recorded.events), [])
      assert.deepStrictEqual(
        recorded.events.flatMap((event) => (event._tag === "ModelCallCompleted" ? [event.durationMillis] : [])),
        [1000, 1000]
      )
    })
  )

  it.effect.each([
    ["the whole history", undefined],
    ["what a window sends", ContextWindow.tokenBudget(200)]
  ] as const)("are counted in %s, each message once", ([, contextWindow]) =>
    Effect.gen(function* () {
      const limit = 5000
      let looks = 0
      const rough = TokenEstimator.make()
      const estimator: TokenEstimator.TokenEstimator = {
        ...rough,
        message: (message) => {
          looks++
          return rough.message(message)
        }
      }
      const model = scripted(
        [1, 2, 3, 4, 5].map((n) => calculate("add", n, n)),
        "Done"
      )
      const agent = Agent.make("free", { toolkit: MathTools, contextWindow })
      const { history } = yield* Agent.run(agent, "Go").pipe(
        Budget.limit({ tokens: limit }),
        Effect.provide([MathToolsLayer, model.layer]),
        Effect.provideService(TokenEstimator.TokenEstimator, estimator)
      )
      // The agent allows any number of tokens, so it is told all that are left.
      assert.deepStrictEqual(
        sent(model),
        model.requests.map((request, calls) => limit - 15 * calls - inputOf(request))
      )
      if (contextWindow === undefined) assert.strictEqual(looks, history.length - 1)
      else assert.isBelow(model.requests.at(-1)!.history.length, history.length - 1)
    })
  )

  it.effect("may be fewer than 16 if the agent wants no more", () =>
    Effect.gen(function* () {
      const model = scripted([], "Well")
      const brief = Agent.make("brief", { maxTokens: 5 })
      const run = (tokens: number) => Agent.run(brief, "Hi").pipe(Budget.limit({ tokens }), Effect.provide(model.layer))
      yield* run(1000)
      yield* run(inputOf(model.requests[0]!) + 5)
      assert.strictEqual((yield* refused(run(inputOf(model.requests[0]!) + 4))).reason.budget, "tokens")
    })
  )

  it.effect("come back when a call fails or is interrupted, and waiting ends with the run", () =>
    Effect.gen(function* () {
      const model = scripted([broken, () => Effect.never], "Well")
      const after = yield* Effect.gen(function* () {
        yield* Effect.flip(Agent.run(helper, "Fails"))
        const hanging = yield* Effect.forkChild(Agent.run(helper, "Hangs"), { startImmediately: true })
        const waiting = yield* Effect.forkChild(Agent.run(helper, "Waits"), { startImmediately: true })
        const next = yield* Effect.forkChild(Agent.run(helper, "Waits, too"), { startImmediately: true })
        assert.isAbove((yield* view).reserved.tokens, 100)
        assert.strictEqual(model.requests.length, 2)
        yield* Fiber.interrupt(waiting)
        yield* Fiber.interrupt(hanging)
        assert.strictEqual((yield* Fiber.join(next)).text, "Well")
        return yield* view
      }).pipe(Budget.limit({ tokens: 150 }), Effect.provide(model.layer))
      assert.deepStrictEqual([after.spent.tokens, after.spent.modelCalls, after.reserved.tokens], [15, 1, 0])
    })
  )

  it.effect("that a provider reports beyond the reservation are booked, and the estimate learns from it", () =>
    Effect.gen(function* () {
      const model = scripted([saying("Well", 500, 100), "unreached"])
      const { left, spent } = yield* Agent.run(helper, "Hi").pipe(
        Effect.andThen(Effect.flip(Agent.run(helper, "Again"))),
        Effect.andThen(view),
        Budget.limit({ tokens: 400 }),
        Effect.provide(model.layer)
      )
      assert.deepStrictEqual([spent.tokens, left.tokens], [600, -200])
      const turns = scripted([
        (request) => ({
          content: [{ type: "tool-call", id: "", name: "calculator", params: { operation: "add", a: 1, b: 2 } }],
          tokens: tokens(3 * inputOf(request), 1)
        })
      ])
      const { reason } = yield* refused(
        Agent.run(mathBot, "Go").pipe(Budget.limit({ tokens: 450 }), Effect.provide([MathToolsLayer, turns.layer]))
      )
      // The history has grown since, so the second call needs more than three times the first estimate.
      assert.isAbove(reason.requested, 3 * inputOf(turns.requests[0]!))
    })
  )

  it.effect("that are no numbers are not booked", () =>
    Effect.gen(function* () {
      const odd = scripted([saying("Well", Number.NaN, -5), saying("Well", Infinity, 7)])
      const { spent } = yield* Agent.run(helper, "Hi").pipe(
        Effect.andThen(Agent.run(helper, "Hi")),
        Effect.andThen(view),
        Budget.limit({ tokens: 1000 }),
        Effect.provide(odd.layer)
      )
      assert.strictEqual(spent.tokens, 7)
    })
  )

  it.effect("of a summary are drawn from the budget, too", () =>
    Effect.gen(function* () {
      const long = "All work and no play makes Jack a dull boy. ".repeat(20)
      const history = Array.from({ length: 6 }).reduce<History.History>(
        (self) => History.appendAssistant(History.appendUser(self, long), [{ type: "text", text: long }]),
        History.empty
      )
      const agent = Agent.make("rambler", { maxTokens: 50, contextWindow: ContextWindow.summarize(900) })
      const input = { history, prompt: "Go on" }
      const model = scripted([], "Jack is dull.")
      const result = yield* Agent.run(agent, input).pipe(
        Effect.zip(view),
        Budget.limit({ tokens: 100_000 }),
        Effect.provide(model.layer)
      )
      assert.isAbove(result[0].usage.modelCalls, 1)
      assert.strictEqual(result[1].spent.modelCalls, result[0].usage.modelCalls)
      const { reason } = yield* refused(
        Agent.run(agent, input).pipe(Budget.limit({ tokens: 500 }), Effect.provide(scripted([]).layer))
      )
      assert.strictEqual(reason.budget, "tokens")
    })
  )
})

describe("money", () => {
  const prices = Prices.make({ scripted: { input: 10, output: 100 }, cheap: { input: 1, output: 1 } })
  const withPrices = Effect.provideService(Prices.Prices, prices)

  it.effect("is reserved at the price of the model that the agent names", () =>
    Effect.gen(function* () {
      const model = scripted([], "Well")
      const named = Agent.make("named", { model: "scripted", maxTokens: 100 })
      const run = (costUsd: number) =>
        Agent.run(named, "Hi").pipe(
          Effect.andThen(view),
          Budget.limit({ costUsd }),
          Effect.provide(model.layer),
          withPrices
        )
      const { spent } = yield* run(1)
      assert.strictEqual(spent.costUsd, (10 * 10 + 5 * 100) / 1_000_000)
      const input = inputOf(model.requests[0]!)
      yield* run((input * 10 + 40 * 100) / 1_000_000)
      assert.deepStrictEqual(sent(model), [100, 40])
      const { reason } = yield* refused(run((input * 10 + 15 * 100) / 1_000_000))
      assert.strictEqual(reason.budget, "costUsd")
      assert.strictEqual(reason.requested, (input * 10 + 16 * 100) / 1_000_000)
    })
  )

  it.effect("is reserved at the dearest price that was answered for when the agent names no model", () =>
    Effect.gen(function* () {
      const model = scripted([], "Well")
      const { reason } = yield* refused(
        Agent.run(helper, "Hi").pipe(
          Effect.andThen(Agent.run(helper, "Hi")),
          Budget.limit({ costUsd: 0.001 }),
          Effect.provide(model.layer),
          withPrices
        )
      )
      assert.strictEqual(reason.spent, 0.0006)
      assert.deepStrictEqual(sent(model), [100])
    })
  )
})

describe("tool calls", () => {
  it.effect("beyond the limit are not run, and the model is told", () =>
    Effect.gen(function* () {
      const call = (n: number) => calculate("add", n, n)
      const model = scripted([[call(1), { tool: "nothing" }, call(2), call(3)], "Enough"])
      const recording = yield* Laws.record(
        Agent.run(mathBot, "Go").pipe(Budget.limit({ toolCalls: 2 }), Effect.provide([MathToolsLayer, model.layer]))
      )
      assert.deepStrictEqual(Laws.run(mathBot, recording), [])
      assert.isTrue(Exit.isSuccess(recording.exit))
      if (Exit.isFailure(recording.exit)) return
      const { history, usage } = recording.exit.value
      assert.deepStrictEqual(
        History.toolResults(history).map(({ isFailure }) => isFailure),
        [false, true, false, true]
      )
      assert.strictEqual(
        History.toolResults(history)[3]!.result,
        "Tool 'calculator' was not run: all 2 tool calls that are allowed have been made. Answer with what you have."
      )
      assert.deepStrictEqual(
        recording.events.flatMap((event) => (event._tag === "ToolCallFailed" ? [event.kind] : [])),
        ["unknown-tool", "over-budget"]
      )
      assert.strictEqual(usage.toolCalls, 2)
    })
  )

  it.effect("are not run at all with a limit of none", () =>
    Effect.gen(function* () {
      const model = scripted([calculate("add", 1, 2), "Enough"])
      const result = yield* Agent.run(mathBot, "Go").pipe(
        Budget.limit({ toolCalls: 0 }),
        Effect.provide([MathToolsLayer, model.layer])
      )
      assert.strictEqual(result.usage.toolCalls, 0)
    })
  )
})

const Slow = Toolkit.make(Tool.make("slow", { parameters: Schema.Struct({}), success: Schema.Void }))
const slowBot = Agent.make("slow-bot", { toolkit: Slow })

describe("time", () => {
  const never = { slow: () => Effect.never }

  it.effect.each([
    ["a model call", [() => Effect.never], "ModelCallInterrupted"],
    ["a tool call", [{ tool: "slow" }], "ToolCallInterrupted"]
  ] as const)("that is over interrupts %s, and the run fails", ([, script, tag]) =>
    Effect.gen(function* () {
      const fiber = yield* Laws.record(
        Agent.run(slowBot, "Go").pipe(
          Budget.limit({ duration: "10 seconds" }),
          Effect.provide([Slow.toLayer(never), ScriptedLlm.layer(script)])
        )
      ).pipe(Effect.forkChild({ startImmediately: true }))
      yield* TestClock.adjust("9999 millis")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      const recording = yield* Fiber.join(fiber)
      assert.deepStrictEqual(Laws.run(slowBot, recording), [])
      assert.include(
        recording.events.map((event) => event._tag),
        tag
      )
      const { partial, reason } = yield* refused(recording.exit)
      assert.strictEqual(reason.message, "The budget 'budget' allows 10000 ms, which are over")
      assert.deepStrictEqual(Laws.history(partial.history), [])
    })
  )

  it.effect("of one budget is shared by runs one after the other", () =>
    Effect.gen(function* () {
      const model = scripted([() => Effect.as(Effect.sleep("6 seconds"), "Well")], "Well")
      const fiber = yield* Effect.gen(function* () {
        yield* Agent.run(helper, "Hi")
        yield* Effect.sleep("4 seconds")
        return yield* Effect.exit(Agent.run(helper, "Hi"))
      }).pipe(Budget.limit({ duration: "10 seconds" }), Effect.provide(model.layer), Effect.forkChild)
      yield* TestClock.adjust("10 seconds")
      const { reason } = yield* refused(yield* Fiber.join(fiber))
      assert.strictEqual(reason.budget, "duration")
      assert.strictEqual(model.requests.length, 1)
    })
  )

  it.effect("does not matter to a run that ends before", () =>
    Effect.gen(function* () {
      const result = yield* Agent.run(helper, "Hi").pipe(
        Budget.limit({ duration: "1 second" }),
        Effect.provide(ScriptedLlm.layer(["Well"]))
      )
      assert.strictEqual(result.text, "Well")
    })
  )
})

describe("sub-agents", () => {
  const inner = Agent.make("inner", { maxTokens: 50, budget: { modelCalls: 1 }, toolkit: MathTools })
  const sub = Agent.asTool(inner, { description: "Helps" })
  const outer = Agent.make("outer", { maxTokens: 50, toolkit: Toolkit.make(sub.tool) })
  const ask = { tool: "inner", params: { prompt: "Please" } }

  const ran = (limits: Budget.Options, own: ReadonlyArray<ScriptedLlm.Turn>, script: ReadonlyArray<ScriptedLlm.Turn>) =>
    Agent.run(outer, "Go").pipe(
      Effect.zip(view),
      Budget.limit(limits),
      Effect.provide([Layer.provide(sub.layer, [MathToolsLayer, ScriptedLlm.layer(own)]), ScriptedLlm.layer(script)])
    )

  it.effect("draw from the budget around their parent, and are told apart", () =>
    Effect.gen(function* () {
      const [result, { byAgent, spent }] = yield* ran({ tokens: 5000 }, ["Here"], [ask, "Done"])
      assert.strictEqual(result.text, "Done")
      assert.deepStrictEqual(
        byAgent.map(({ agent, modelCalls, toolCalls, tokens: sum }) => [agent, sum, modelCalls, toolCalls]),
        [
          ["outer", 30, 2, 1],
          ["inner", 15, 1, 0]
        ]
      )
      assert.strictEqual(spent.tokens, 45)
    })
  )

  it.effect("have their own budget as part of it, and fail to their parent's model", () =>
    Effect.gen(function* () {
      const [{ history }] = yield* ran({ tokens: 5000 }, [calculate("add", 1, 2)], [ask, "Done without"])
      assert.deepStrictEqual(History.toolResults(history)[0]!.result, {
        reason: "BudgetExceeded",
        message: "The budget 'budget / outer / inner' has not enough model calls left: 1 needed, 1 of 1 spent"
      })
    })
  )

  it.effect("that are too deep fail to their parent's model, and call none themselves", () =>
    Effect.gen(function* () {
      const [{ history, usage }] = yield* ran({ depth: 1 }, ["unreached"], [ask, "Done without"])
      assert.deepStrictEqual(History.toolResults(history)[0]!.result, {
        reason: "BudgetExceeded",
        message: "The budget 'budget' allows 1 run in each other"
      })
      assert.strictEqual(usage.modelCalls, 2)
      yield* ran({ depth: 2 }, ["Here"], [ask, "Done"])
    })
  )

  it.effect("do not take what is kept back for their parent's answer", () =>
    Effect.gen(function* () {
      const agent = Agent.make("inner", { toolkit: MathTools })
      const greedy = Agent.asTool(agent, { description: "Helps" })
      const boss = Agent.make("outer", { toolkit: Toolkit.make(greedy.tool) })
      const model = scripted([ask, "Here is what I know"])
      const own = scripted([calculate("add", 1, 2), calculate("add", 3, 4), "unreached"])
      const { history, text } = yield* Agent.run(boss, "Go").pipe(
        Budget.limit({ modelCalls: 4, grace: {} }),
        Effect.provide([Layer.provide(greedy.layer, [MathToolsLayer, own.layer]), model.layer])
      )
      assert.strictEqual(text, "Here is what I know")
      assert.strictEqual(own.requests.length, 2)
      assert.include(JSON.stringify(History.toolResults(history)[0]!.result), "BudgetExceeded")
    })
  )
})

describe("grace", () => {
  const spend = (grace: Budget.Limits["grace"], last: ScriptedLlm.Turn) => {
    const model = scripted([calculate("add", 1, 2), calculate("add", 3, 4), last])
    const recorded = Laws.record(
      Agent.run(mathBot, "Go").pipe(
        Budget.limit({ modelCalls: 3, tokens: 2000, grace }),
        Effect.provide([MathToolsLayer, model.layer])
      )
    )
    return Effect.map(recorded, (recording) => {
      assert.deepStrictEqual(Laws.run(mathBot, recording), [])
      return { model, exit: recording.exit }
    })
  }

  it.effect("is one more call, told to answer without tools", () =>
    Effect.gen(function* () {
      const { exit, model } = yield* spend({ tokens: 600 }, "It is 3, as far as I know")
      assert.isTrue(Exit.isSuccess(exit))
      const last = model.requests.at(-1)!
      assert.strictEqual(last.toolChoice, "none")
      assert.include(last.instructions, "this is your last turn")
      assert.strictEqual(model.requests.length, 3)
    })
  )

  it.effect("runs no tools, and is not given twice", () =>
    Effect.gen(function* () {
      const { exit, model } = yield* spend({ tokens: 600 }, calculate("add", 5, 6))
      const { partial, reason } = yield* refused(exit)
      assert.strictEqual(reason.budget, "modelCalls")
      assert.strictEqual(partial.usage.toolCalls, 2)
      assert.isTrue(History.toolResults(partial.history)[2]!.isFailure)
      assert.strictEqual(model.requests.length, 3)
    })
  )

  it.effect("does not make a budget larger", () =>
    Effect.gen(function* () {
      // A call needs more than was kept back.
      const { exit } = yield* spend({ tokens: 1990 }, "unreached")
      const { reason } = yield* refused(exit)
      assert.strictEqual(reason.limit, 2000)
      assert.strictEqual(reason.budget, "tokens")
    })
  )

  it.effect("leaves everything to calls when there is none", () =>
    Effect.gen(function* () {
      const { exit, model } = yield* spend(undefined, "Three calls are three calls")
      assert.isTrue(Exit.isSuccess(exit))
      assert.strictEqual(model.requests.at(-1)!.toolChoice, "auto")
    })
  )
})

describe("a budget", () => {
  it.effect("within another is part of it", () =>
    Effect.gen(function* () {
      const model = scripted([], "Well")
      const twice = Agent.run(helper, "Hi").pipe(Effect.andThen(Agent.run(helper, "Hi")))
      const { reason } = yield* refused(
        twice.pipe(
          Budget.limit({ name: "inner", modelCalls: 5 }),
          Effect.andThen(twice),
          Budget.limit({ name: "outer", modelCalls: 3 }),
          Effect.provide(model.layer)
        )
      )
      assert.deepStrictEqual(reason.account, ["outer"])
      assert.strictEqual(reason.spent, 3)
    })
  )

  it.effect("is whole each time the effect is run", () =>
    Effect.gen(function* () {
      const limited = Agent.run(helper, "Hi").pipe(
        Budget.limit({ modelCalls: 1 }),
        Effect.provide(scripted([], "Well").layer)
      )
      yield* limited
      yield* limited
    })
  )

  it.effect("is drawn from by streams and workflows as by runs", () =>
    Effect.gen(function* () {
      const streamed = Agent.stream(helper, "Hi").pipe(Stream.runCollect)
      const step = (name: string) => Workflow.agent(helper, { name })
      const workflow = Workflow.run(Workflow.parallel("both", { one: step("one"), two: step("two") }), "Hi")
      const { spent } = yield* streamed.pipe(
        Effect.andThen(workflow),
        Effect.andThen(view),
        Budget.limit({ tokens: 5000 }),
        Effect.provide(scripted([], "Well").layer)
      )
      assert.deepStrictEqual([spent.tokens, spent.modelCalls], [45, 3])
    })
  )

  it.effect("can be looked at by tools and before a turn", () =>
    Effect.gen(function* () {
      const seen: Array<readonly [number, number]> = []
      const look = Effect.map(view, ({ left }) => {
        seen.push([left.modelCalls, left.toolCalls])
      })
      const agent = Agent.make("careful", { toolkit: Slow, prepareTurn: () => Effect.as(look, {}) })
      yield* Agent.run(agent, "Go").pipe(
        Budget.limit({ modelCalls: 5, toolCalls: 5 }),
        Effect.provide([Slow.toLayer({ slow: () => look }), ScriptedLlm.layer([{ tool: "slow" }, "Done"])])
      )
      assert.deepStrictEqual(seen, [
        [5, 5],
        [4, 4],
        [4, 4]
      ])
      assert.isUndefined(yield* Budget.current)
    })
  )

  it.effect("is that of the caller, wherever the layer of a tool was built", () =>
    Effect.gen(function* () {
      const sub = Agent.asTool(helper, { description: "Helps" })
      const boss = Agent.make("boss", { toolkit: Toolkit.merge(Toolkit.make(sub.tool), Slow) })
      const seen: Array<Budget.View | undefined> = []
      const handlers = Layer.mergeAll(
        Layer.provide(sub.layer, ScriptedLlm.layer(["Here"])),
        Slow.toLayer({ slow: () => Effect.map(Budget.current, (found) => void seen.push(found)) })
      )
      const context = yield* Layer.build(handlers).pipe(Budget.limit({ modelCalls: 1, name: "where it was built" }))
      yield* Agent.run(boss, "Go").pipe(
        Effect.provide(context),
        Effect.provide(
          ScriptedLlm.layer([
            { tool: "helper", params: { prompt: "Hi" } },
            { tool: "helper", params: { prompt: "Ho" } },
            { tool: "slow" },
            "Done"
          ])
        )
      )
      assert.deepStrictEqual(seen, [undefined])
    })
  )

  it.effect("does not wait for itself when a model runs agents", () =>
    Effect.gen(function* () {
      const nested = Llm.layer(() =>
        Agent.run(helper, "Deeper").pipe(
          Effect.provide(ScriptedLlm.layer(["Deep"])),
          Effect.map(({ text }) => ({
            content: [{ type: "text", text } as const],
            finishReason: "stop" as const,
            tokens: tokens(20, 10),
            model: undefined
          })),
          Effect.mapError(() => broken)
        )
      )
      const { spent } = yield* Agent.run(helper, "Hi").pipe(
        Effect.andThen(view),
        Budget.limit({ tokens: 120 }),
        Effect.provide(nested)
      )
      assert.deepStrictEqual([spent.tokens, spent.modelCalls], [30, 1])
    })
  )

  it.each([
    [{ tokens: 0 }, "budget.tokens"],
    [{ tokens: Number.NaN }, "budget.tokens"],
    [{ costUsd: -1 }, "budget.costUsd"],
    [{ modelCalls: 0 }, "budget.modelCalls"],
    [{ toolCalls: -1 }, "budget.toolCalls"],
    [{ duration: 0 }, "budget.duration"],
    [{ depth: 0 }, "budget.depth"],
    [{ tokens: 10, grace: {} }, "budget.grace"],
    [{ tokens: 10, grace: { tokens: 10 } }, "budget.grace"],
    [{ costUsd: 1, grace: { tokens: 1 } }, "budget.grace"],
    [{ modelCalls: 1, grace: {} }, "budget.grace"]
  ] as const)("of %o cannot be made", (limits, field) => {
    for (const make of [() => Budget.limit(Effect.void, limits), () => Agent.make("broken", { budget: limits })]) {
      try {
        make()
        assert.fail("it was made")
      } catch (error) {
        assert.instanceOf(error, InvalidAgent)
        assert.strictEqual((error as InvalidAgent).field, field)
      }
    }
  })

  it.effect.prop(
    "holds whatever trees of agents do: nothing spends more than it may, and leaves add up to the root",
    [plan(4, 4)],
    ([self]) => Effect.map(play(self), (violations) => assert.deepStrictEqual(violations, [])),
    { timeout: 60_000, arbitrary: { runs: 300, size: 8 } }
  )
})
