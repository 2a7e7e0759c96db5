import { assert, describe, it } from "@effect/vitest"
import * as Agent from "effect-agent-runtime/Agent"
import { AgentError } from "effect-agent-runtime/AgentError"
import type { AgentEvent, ContextPruned } from "effect-agent-runtime/AgentEvent"
import * as ContextWindow from "effect-agent-runtime/ContextWindow"
import * as History from "effect-agent-runtime/History"
import type { LlmRequest } from "effect-agent-runtime/Llm"
import { Llm } from "effect-agent-runtime/Llm"
import * as StopCondition from "effect-agent-runtime/StopCondition"
import { Arbitraries, Laws, ScriptedLlm } from "effect-agent-runtime/testing"
import * as TokenEstimator from "effect-agent-runtime/TokenEstimator"
import * as Usage from "effect-agent-runtime/Usage"
import * as AiError from "effect/ai/AiError"
import type * as Prompt from "effect/ai/Prompt"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Arbitrary from "effect/Arbitrary"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"

/** A token for each character, and 4 for each message. */
const byCharacter = TokenEstimator.layer({ text: (text) => text.length })

const search = (id: string, result: unknown) =>
  [
    [{ type: "tool-call", id, name: "s", params: "" }],
    [{ type: "tool-result", id, name: "s", isFailure: false, result }]
  ] as const

/** Letters for what users say, words in brackets for answers, numbers for calls with a result of so many characters. */
const talk = (...said: ReadonlyArray<string | number>): History.History =>
  said.reduce<History.History>((history, text, i) => {
    if (typeof text === "number") return History.appendAssistant(history, ...search(`c${i}`, "x".repeat(text)))
    return text.startsWith("[")
      ? History.appendAssistant(history, [{ type: "text", text }])
      : History.appendUser(history, text)
  }, History.empty)

const short = ({ content }: Prompt.MessageEncoded): string | number => {
  if (typeof content === "string") return content
  const [part] = content
  if (part?.type === "text") return part.text
  if (part?.type === "tool-result") return typeof part.result === "string" ? part.result.length : -1
  return part?.type === "tool-call" ? "call" : "?"
}

/** What is left, without the calls that belong to results. */
const left = (history: History.History) => Array.from(history, short).filter((text) => text !== "call")

const prune = <E, R>(
  window: ContextWindow.ContextWindow<E, R>,
  history: History.History,
  surroundings?: ContextWindow.Surroundings
) => Effect.provide(ContextWindow.prune(window, history, surroundings), byCharacter)

const pruned = <E, R>(
  window: ContextWindow.ContextWindow<E, R>,
  history: History.History,
  surroundings?: ContextWindow.Surroundings
) => Effect.map(prune(window, history, surroundings), (result) => left(result.history))

const lastUser = (history: History.History) =>
  History.toMessages(history).findLast((message) => message.role === "user")

/** Any pure window, with a limit that the conversations below may or may not exceed. */
const pureWindows = (max: number): ReadonlyArray<ContextWindow.ContextWindow> => {
  const simple = [
    ContextWindow.lastTurns(Math.ceil(max / 50)),
    ContextWindow.tokenBudget(max),
    ContextWindow.tokenBudget({ total: max * 2, ratio: 1 }, { keep: 1 }),
    ContextWindow.slidingWindow(4 + Math.floor(max / 20)),
    ContextWindow.byPriority(max),
    ContextWindow.dropToolResults(max, { keepResults: 1 })
  ]
  return [...simple, ...simple.map((window, i) => ContextWindow.compose(window, simple[(i + 1) % simple.length]!))]
}

const numbers = (maximum: number) => Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum })))

/** Conversations with and without tools. */
const conversations = Arbitrary.map(
  Arbitrary.array(
    Arbitrary.map(Arbitrary.all([numbers(3), numbers(40)]), ([kind, size]): string | number =>
      kind === 0 ? "u".repeat(size) : kind === 1 ? `[${"a".repeat(size)}]` : size * 3
    ),
    { maxLength: 30 }
  ),
  (said) => talk(...said)
)

const lawsOf = Effect.fnUntraced(function* (
  window: ContextWindow.ContextWindow<never, Llm>,
  history: History.History,
  surroundings?: ContextWindow.Surroundings
) {
  const estimator = yield* TokenEstimator.TokenEstimator
  const result = yield* Effect.result(ContextWindow.prune(window, history, surroundings))
  const wasOver = yield* ContextWindow.shouldPrune(window, history, surroundings)
  if (Result.isFailure(result)) {
    assert.isTrue(wasOver)
    const { limit, used } = result.failure as { readonly limit?: number; readonly used: number }
    assert.strictEqual(result.failure._tag, "ContextOverflow")
    if (limit !== undefined) assert.isAbove(used, Math.min(window.maxTokens, limit, 1e9) - 1)
    return
  }
  const { after, before, history: shorter } = result.success
  const messages = History.toMessages(shorter)
  const original = History.toMessages(history)

  // Pairs stay whole.
  assert.deepStrictEqual(Laws.history(messages), [])
  // Within the limit.
  const { instructions = "", tools = [] } = surroundings ?? {}
  const tokens = TokenEstimator.request(estimator, { instructions, tools, history: shorter })
  assert.strictEqual(tokens, after.tokens + after.preamble)
  assert.isAtMost(tokens, window.maxTokens)
  assert.isFalse(yield* ContextWindow.shouldPrune(window, shorter, surroundings))
  // Again, it changes nothing; and it changes nothing where there is no need.
  assert.strictEqual((yield* ContextWindow.prune(window, shorter, surroundings)).history, shorter)
  if (!wasOver) assert.strictEqual(shorter, history)
  // It got no longer.
  assert.isAtMost(after.tokens, before.tokens)
  assert.isAtMost(after.messages, before.messages)
  // The newest user message and the newest message survive.
  assert.isTrue(lastUser(history) === undefined || messages.includes(lastUser(history)!))
  assert.strictEqual(messages.length === 0, original.length === 0)
  const newest = messages.at(-1)
  if (newest !== undefined && newest.role !== "tool") assert.strictEqual(newest, original.at(-1))
  // Nothing is duplicated or changes places. A summary is new, and cleared results follow the call they belong to.
  const places = messages.map((message, i) =>
    message.role === "tool" ? original.indexOf(messages[i - 1]!) + 1 : original.indexOf(message)
  )
  const known = places.filter((place) => place !== -1)
  assert.deepStrictEqual(
    known,
    Array.from(new Set(known)).toSorted((a, b) => a - b)
  )
  assert.isAtMost(places.length - known.length, 1)
  // It begins with the user if anything was left out and there is a user message.
  if (wasOver && messages.length < original.length && lastUser(history) !== undefined) {
    assert.strictEqual(messages[0]!.role, "user")
  }
})

describe("any window", () => {
  it.effect.prop(
    "keeps pairs, order, the newest and the limit, or fails with ContextOverflow",
    [conversations, numbers(400)],
    ([history, max]) =>
      Effect.forEach(pureWindows(max + 1), (window) => lawsOf(window, history), { discard: true }).pipe(
        Effect.provide([byCharacter, ScriptedLlm.layer([])])
      ),
    { arbitrary: { runs: 200 } }
  )

  it.effect.prop(
    "does so with any history, instructions, tools and limit of the provider",
    [Arbitraries.history, numbers(6000), numbers(6000)],
    ([history, max, limit]) =>
      Effect.forEach(
        pureWindows(max + 1),
        (window) => lawsOf(window, history, { instructions: "Be kind.", tools: [Tool.make("s")], limit }),
        { discard: true }
      ).pipe(Effect.provide(ScriptedLlm.layer([]))),
    { arbitrary: { runs: 200 } }
  )

  it.effect.prop(
    "does so with a summary in place of what is old",
    [conversations, numbers(400), numbers(200)],
    ([history, max, length]) => {
      const model = ScriptedLlm.layer([], "s".repeat(length + 1))
      const windows = [
        ContextWindow.summarize(max + 1),
        ContextWindow.compose(ContextWindow.summarize(max + 1), ContextWindow.tokenBudget(max + 1)),
        ContextWindow.compose(ContextWindow.dropToolResults(max + 1), ContextWindow.summarize(max + 1))
      ]
      return Effect.forEach(windows, (window) => lawsOf(window, history), { discard: true }).pipe(
        Effect.provide([byCharacter, model])
      )
    },
    { arbitrary: { runs: 200 } }
  )

  it("refuses limits that cannot work", () => {
    const invalid: ReadonlyArray<readonly [make: () => unknown, issue: RegExp]> = [
      [() => ContextWindow.lastTurns(0), /lastTurns has to keep at least one turn/],
      [() => ContextWindow.tokenBudget(0), /tokenBudget needs a positive number of tokens/],
      [() => ContextWindow.tokenBudget({ total: 10, ratio: 0 }), /tokenBudget needs a positive number of tokens/],
      [() => ContextWindow.tokenBudget(10, { keep: 0 }), /tokenBudget has to keep a share/],
      [() => ContextWindow.byPriority(10, { keep: 1.1 }), /byPriority has to keep a share/],
      [() => ContextWindow.slidingWindow(3), /slidingWindow has to keep at least 4 messages/],
      [() => ContextWindow.dropToolResults(10, { keepResults: -1 }), /dropToolResults cannot keep less/],
      [() => ContextWindow.summarize(0), /summarize needs a positive number of tokens/],
      [() => ContextWindow.compose(), /compose needs a window/]
    ]
    for (const [make, issue] of invalid) assert.throws(make, issue)
  })
})

describe("lastTurns", () => {
  it.effect("keeps the newest turns whole", () =>
    Effect.gen(function* () {
      const history = talk("a", "[1]", "b", 10, "[2]", "c", 20)
      assert.deepStrictEqual(yield* pruned(ContextWindow.lastTurns(2), history), ["b", 10, "[2]", "c", 20])
      assert.deepStrictEqual(yield* pruned(ContextWindow.lastTurns(1), history), ["c", 20])
      assert.deepStrictEqual(yield* pruned(ContextWindow.lastTurns(3), history), left(history))
    })
  )

  it.effect("keeps less of them when the provider takes less", () =>
    Effect.gen(function* () {
      const history = talk("a", "[1]", "b", 10, "[2]", 10, "[3]", "[4]")
      assert.deepStrictEqual(yield* pruned(ContextWindow.lastTurns(1), history, { limit: 40 }), ["b", "[3]", "[4]"])
    })
  )
})

describe("tokenBudget", () => {
  it("divides a total between input and output", () => {
    assert.strictEqual(ContextWindow.tokenBudget({ total: 24_000, ratio: 3 }).maxTokens, 18_000)
    assert.strictEqual(ContextWindow.tokenBudget({ total: 128_000 }).maxTokens, 102_400)
    assert.strictEqual(ContextWindow.tokenBudget({ total: 100, ratio: Infinity }).maxTokens, 100)
  })

  it("takes a total without a ratio for what it is", () => {
    assert.strictEqual(ContextWindow.tokenBudget({ total: 24_000 }).maxTokens, 19_200)
  })

  it.effect("leaves out the oldest, and more than it has to", () =>
    Effect.gen(function* () {
      const history = talk("aaaaaa", "[1111]", "bbbbbb", "[2222]", "cccccc", "[3333]", "dddddd")
      // 10 tokens each.
      assert.deepStrictEqual(yield* pruned(ContextWindow.tokenBudget(70), history), left(history))
      assert.deepStrictEqual(yield* pruned(ContextWindow.tokenBudget(69), history), [
        "bbbbbb",
        "[2222]",
        "cccccc",
        "[3333]",
        "dddddd"
      ])
      assert.deepStrictEqual(yield* pruned(ContextWindow.tokenBudget(40, { keep: 1 }), history), [
        "cccccc",
        "[3333]",
        "dddddd"
      ])
    })
  )

  it.effect("counts instructions and tools, which it cannot lose", () =>
    Effect.gen(function* () {
      const history = talk("aaaaaa", "[1111]", "bbbbbb")
      const window = ContextWindow.tokenBudget(50)
      assert.lengthOf(yield* pruned(window, history, { instructions: "x".repeat(16) }), 3)
      assert.lengthOf(yield* pruned(window, history, { instructions: "x".repeat(17) }), 1)
      const wide = ContextWindow.tokenBudget(90)
      assert.lengthOf(yield* pruned(wide, history), 3)
      assert.lengthOf(yield* pruned(wide, history, { tools: [Tool.make("s")] }), 1)
      const error = yield* Effect.flip(prune(window, history, { instructions: "x".repeat(37) }))
      assert.deepInclude(error, { _tag: "ContextOverflow", limit: 50, used: 51 })
    })
  )

  it.effect("does not prune in vain between a threshold and a limit", () =>
    Effect.gen(function* () {
      for (let words = 1; words < 60; words++) {
        const history = talk(...Array.from({ length: words }, (_, i) => (i % 2 === 0 ? "question" : "[answer]")))
        const window = ContextWindow.tokenBudget(100)
        const result = yield* Effect.exit(prune(window, history))
        if (Exit.isFailure(result)) assert.fail("does not fit")
        else assert.isFalse(window.isOver(result.value.after))
      }
    })
  )
})

describe("slidingWindow", () => {
  it.effect("keeps the newest messages, and never a result without its call", () =>
    Effect.gen(function* () {
      const history = talk("a", 1, 2, 3, 4, 5)
      // The prompt, and of ten more messages four.
      const { history: shorter } = yield* prune(ContextWindow.slidingWindow(6, { keep: 1 }), history)
      assert.deepStrictEqual(left(shorter), ["a", 4, 5])
      assert.strictEqual(shorter.length, 5)
      assert.deepStrictEqual(Laws.history(shorter), [])
    })
  )

  it.effect("keeps the user's message, however long the instructions", () =>
    Effect.gen(function* () {
      const instructions = "system ".repeat(1000)
      assert.deepStrictEqual(yield* pruned(ContextWindow.slidingWindow(4), talk("a"), { instructions }), ["a"])
      const many = talk("a", "[1]", "b", "[2]", "c")
      assert.deepStrictEqual(yield* pruned(ContextWindow.slidingWindow(4), many, { instructions }), ["b", "[2]", "c"])
    })
  )
})

describe("byPriority", () => {
  it.effect("leaves out calls first, then answers, then what users said, and the oldest of each", () =>
    Effect.gen(function* () {
      const history = talk("a", 1, "[1]", "b", 1, "[2]", "c")
      const tokens = (yield* prune(ContextWindow.lastTurns(9), history)).before.tokens
      const all = left(history)
      const steps = []
      for (let max = tokens; max >= 10; max--) {
        steps.push(JSON.stringify(yield* pruned(ContextWindow.byPriority(max, { keep: 1 }), history)))
      }
      assert.deepStrictEqual(
        Array.from(new Set(steps), (step) => JSON.parse(step)),
        [
          all,
          ["a", "[1]", "b", 1, "[2]", "c"],
          ["a", "[1]", "b", "[2]", "c"],
          ["a", "b", "[2]", "c"],
          ["a", "b", "c"],
          ["b", "c"]
        ]
      )
    })
  )

  it.effect("keeps the newest, in order, and no less than fits", () =>
    Effect.gen(function* () {
      // Eleven messages of 6 tokens, room for ten: the original kept the five oldest.
      const history = talk("a0", "[", "b0", "[", "c0", "[", "d0", "[", "e0", "[", "f0")
      const window = ContextWindow.byPriority(60, { keep: 1 })
      assert.deepStrictEqual(yield* pruned(window, history), ["a0", "b0", "[", "c0", "[", "d0", "[", "e0", "[", "f0"])
    })
  )

  it.effect("goes by another order of importance", () =>
    Effect.gen(function* () {
      const history = talk("a", 1, "[1]", "b", "[2]", "c")
      const window = ContextWindow.byPriority(33, {
        keep: 1,
        priority: ([, results]) => (results === undefined ? 0 : 1)
      })
      assert.deepStrictEqual(yield* pruned(window, history), ["a", 1, "b", "[2]", "c"])
      const usual = ContextWindow.byPriority(33, { keep: 1 })
      assert.deepStrictEqual(yield* pruned(usual, history), ["a", "[1]", "b", "[2]", "c"])
    })
  )
})

describe("dropToolResults", () => {
  it.effect("clears the oldest results and keeps their calls", () =>
    Effect.gen(function* () {
      const history = talk("a", 100, 101, 102, 103)
      const { history: shorter, after } = yield* prune(ContextWindow.dropToolResults(400, { keepResults: 2 }), history)
      assert.deepStrictEqual(left(shorter), ["a", 40, 40, 102, 103])
      assert.strictEqual(shorter.length, history.length)
      assert.isAtMost(after.tokens, 400)
    })
  )

  it.effect("keeps the newest results, and what a note would not make shorter", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(prune(ContextWindow.dropToolResults(100), talk("a", 50, 50, 50)))
      assert.strictEqual(error._tag, "ContextOverflow")
      const window = ContextWindow.dropToolResults(200, { keepResults: 0 })
      assert.deepStrictEqual(yield* pruned(window, talk("a", 10, 100, 100)), ["a", 10, 40, 100])
    })
  )
})

describe("compose", () => {
  it.effect("asks one window after the other, until the conversation fits", () =>
    Effect.gen(function* () {
      const window = ContextWindow.compose(
        ContextWindow.dropToolResults(200, { keepResults: 1 }),
        ContextWindow.tokenBudget(200)
      )
      assert.deepStrictEqual(yield* pruned(window, talk("a", "[1]", 200, 20)), ["a", "[1]", 40, 20])
      assert.deepStrictEqual(yield* pruned(window, talk("a", "[1]", 100, "[2]", 150)), ["a", 150])
      assert.strictEqual(window.name, "dropToolResults(200) + tokenBudget(200)")
    })
  )

  it.effect("keeps to the limits of all", () =>
    Effect.gen(function* () {
      const window = ContextWindow.compose(ContextWindow.lastTurns(2), ContextWindow.tokenBudget(30, { keep: 1 }))
      assert.deepStrictEqual(yield* pruned(window, talk("a", "b", "c")), ["b", "c"])
      assert.deepStrictEqual(yield* pruned(window, talk("a", "b", "[long answer]", "c")), ["b", "[long answer]", "c"])
      assert.deepStrictEqual(yield* pruned(window, talk("a", "b", "[the longest answer]", "c")), ["c"])
    })
  )
})

const Tools = Toolkit.make(
  Tool.make("read", { parameters: Schema.Struct({ page: Schema.Int }), success: Schema.String })
)
const ToolsLayer = Tools.toLayer({ read: ({ page }) => Effect.succeed(`${page}:`.padEnd(100, "x")) })

const read = (page: number): ScriptedLlm.ScriptedCall => ({ tool: "read", params: { page } })

const reading = (pages: number): ReadonlyArray<ScriptedLlm.Turn> => [
  ...Array.from({ length: pages }, (_, i) => read(i)),
  "done"
]

const stopWhen = StopCondition.maxTurns(200)

/** Records a run with a scripted model; checks the laws of runs. */
const play = Effect.fnUntraced(function* <Output, E, R>(
  agent: Agent.Agent<string, Output, E, R>,
  input: Agent.AgentInput,
  script: ReadonlyArray<ScriptedLlm.Turn>
) {
  const model = ScriptedLlm.make(script)
  const recording = yield* Laws.record(Agent.run(agent, input)).pipe(
    Effect.provideService(Llm, model),
    Effect.provide(byCharacter)
  )
  assert.deepStrictEqual(Laws.run(agent, recording), [])
  for (const { history } of model.requests) assert.deepStrictEqual(Laws.history(history), [])
  return { ...recording, requests: model.requests, prunings: prunings(recording.events) }
})

const prunings = (events: ReadonlyArray<AgentEvent>): ReadonlyArray<ContextPruned> =>
  events.filter((event) => event._tag === "ContextPruned")

const tokensOf = ({ history, instructions, tools }: LlmRequest) =>
  Effect.provide(
    Effect.map(TokenEstimator.TokenEstimator, (estimator) =>
      TokenEstimator.request(estimator, { history, instructions, tools })
    ),
    byCharacter
  )

const value = <A, E>(exit: Exit.Exit<A, E>): A => (Exit.isSuccess(exit) ? exit.value : assert.fail(String(exit.cause)))

const failureOf = (exit: Exit.Exit<unknown, unknown>): unknown =>
  Exit.isFailure(exit) ? Result.getOrThrow(Cause.findError(exit.cause)) : assert.fail("it has succeeded")

/** The model's refusal of a conversation that is too long, in words of Anthropic, OpenAI, or none. */
const tooLong = (description: string): AiError.AiError =>
  AiError.make({
    module: "Test",
    method: "generate",
    reason: new AiError.InvalidRequestError({
      description,
      metadata: { test: { errorCode: "context_length_exceeded" } }
    })
  })

/** Refuses what has more tokens than `limit`. */
const refusing =
  (limit: number, says: (used: number) => string, turn: ScriptedLlm.Turn): ScriptedLlm.Turn =>
  (request) =>
    Effect.map(tokensOf(request), (used) => (used > limit ? tooLong(says(used)) : turn))

describe("a run with a window", () => {
  it.effect("sends no more than the window lets through, and keeps all of its history", () =>
    Effect.gen(function* () {
      const agent = Agent.make("reader", {
        toolkit: Tools,
        stopWhen,
        contextWindow: ContextWindow.tokenBudget(1000)
      })
      const { events, exit, prunings: all, requests } = yield* play(agent, "Read it all", reading(50))
      const { history, usage } = value(exit)
      assert.strictEqual(history.length, 1 + 100 + 1)
      assert.deepStrictEqual(Agent.fold(agent, events).history.length, history.length)
      for (const request of requests) {
        assert.isAtMost(yield* tokensOf(request), 1000)
        assert.strictEqual(left(request.history)[0], "Read it all")
      }
      // Every tool exchange has about 125 tokens, and a quarter of the room is made each time.
      assert.isAtLeast(all.length, 10)
      assert.isAtMost(all.length, 25)
      for (const { after, before, trigger, usage: cost, window } of all) {
        assert.isAbove(before.tokens, 1000)
        assert.isAtMost(after.tokens, 1000)
        assert.isBelow(after.messages, before.messages)
        assert.deepInclude({ trigger, window }, { trigger: "threshold", window: "tokenBudget(1000)" })
        assert.deepStrictEqual(cost, Usage.zero)
      }
      assert.strictEqual(usage.modelCalls, 51)
    }).pipe(Effect.provide(ToolsLayer))
  )

  it.effect("sends the same beginning between two prunings, so that providers can cache it", () =>
    Effect.gen(function* () {
      const agent = Agent.make("reader", { toolkit: Tools, stopWhen, contextWindow: ContextWindow.slidingWindow(20) })
      const { prunings: all, requests } = yield* play(agent, "Read it all", reading(50))
      let changed = 0
      for (let i = 1; i < requests.length; i++) {
        const [before, after] = [requests[i - 1]!.history, requests[i]!.history].map(History.toMessages)
        if (before!.some((message, j) => message !== after![j])) changed++
      }
      assert.strictEqual(changed, all.length)
      assert.isBelow(all.length, 30)
    }).pipe(Effect.provide(ToolsLayer))
  )

  it.effect("prunes before each model call over a whole conversation of runs", () =>
    Effect.gen(function* () {
      const agent = Agent.make("chat", { contextWindow: ContextWindow.slidingWindow(5) })
      let history = History.empty
      for (let i = 0; i < 10; i++) {
        const { exit, requests } = yield* play(agent, { history, prompt: `question ${i}` }, ["answer"])
        history = value(exit).history
        assert.isAtMost(requests[0]!.history.length, 5)
        assert.strictEqual(left(requests[0]!.history).at(-1), `question ${i}`)
      }
      assert.strictEqual(history.length, 20)
    })
  )

  it.effect("sends the same beginning in the runs of a conversation, until it is over again", () =>
    Effect.gen(function* () {
      const agent = Agent.make("chat", { contextWindow: ContextWindow.tokenBudget(200) })
      const triggers: Array<string> = []
      let history = History.empty
      let sent: ReadonlyArray<Prompt.MessageEncoded> = []
      for (let i = 0; i < 40; i++) {
        const { exit, prunings: all, requests } = yield* play(agent, { history, prompt: `question ${i}` }, ["answer"])
        history = value(exit).history
        const messages = History.toMessages(requests[0]!.history)
        const isSame = sent.every((message, j) => message === messages[j])
        assert.strictEqual(
          isSame,
          all.every(({ trigger }) => trigger === "continuation")
        )
        if (all.length > 0) assert.strictEqual(all[0]!.before.messages, history.length - 1)
        triggers.push(...all.map(({ trigger }) => trigger))
        sent = messages
      }
      assert.isBelow(triggers.filter((trigger) => trigger === "threshold").length, 20)
      assert.isAbove(triggers.filter((trigger) => trigger === "continuation").length, 15)
      // Another history of the same beginning, or an older one, has all of it sent again.
      const fork = yield* play(agent, { history: History.takeTurns(history, 3), prompt: "question" }, ["answer"])
      assert.strictEqual(fork.requests[0]!.history.length, 7)
    })
  )

  it.effect("does the same again when it is run again", () =>
    Effect.gen(function* () {
      const agent = Agent.make("reader", { toolkit: Tools, stopWhen, contextWindow: ContextWindow.tokenBudget(1000) })
      const input = {
        history: talk(...Array.from({ length: 30 }, () => ["a".repeat(30), "[b]"]).flat(), "Read it all")
      }
      for (const pages of [0, 20]) {
        const first = yield* play(agent, input, reading(pages))
        const second = yield* play(agent, input, reading(pages))
        const sent = ({ requests }: typeof first) => requests.map(({ history }) => History.toMessages(history))
        assert.deepStrictEqual(sent(second), sent(first))
        assert.deepStrictEqual(
          second.prunings.map(({ after, before, trigger }) => [trigger, before, after]),
          first.prunings.map(({ after, before, trigger }) => [trigger, before, after])
        )
        assert.isNotEmpty(first.prunings)
      }
    }).pipe(Effect.provide(ToolsLayer))
  )

  it.effect("keeps what it was asked when its answer is sent back for correction", () =>
    Effect.gen(function* () {
      const agent = Agent.make("bot", {
        output: Schema.Struct({ n: Schema.Int }),
        contextWindow: ContextWindow.lastTurns(1)
      })
      const history = talk("old", "[old answer]")
      const { requests } = yield* play(agent, { history, prompt: "How many?" }, ["no", '{"n": 1}'])
      assert.deepStrictEqual(left(requests[0]!.history), ["How many?"])
      assert.deepStrictEqual(left(requests[1]!.history).slice(0, 2), ["How many?", "no"])
      assert.strictEqual(requests[1]!.history.length, 3)
    })
  )

  it.effect("always sends what it was asked, however many corrections came after", () =>
    Effect.gen(function* () {
      const agent = Agent.make("bot", {
        output: Schema.Struct({ n: Schema.Int }),
        outputRetries: 9,
        contextWindow: ContextWindow.tokenBudget(700)
      })
      const wrong = Array.from({ length: 9 }, () => "no".padEnd(100, "!"))
      const { prunings: all, requests } = yield* play(agent, "How many?", [...wrong, '{"n": 1}'])
      assert.isAbove(all.length, 1)
      for (const { history } of requests) assert.strictEqual(left(history)[0], "How many?")
    })
  )

  it.effect("counts what a window has cost, even in vain", () =>
    Effect.gen(function* () {
      const contextWindow: ContextWindow.ContextWindow = {
        name: "wasteful",
        maxTokens: 10,
        isOver: (size) => size.messages > 1,
        reduce: ({ entries }) =>
          Effect.succeed({ units: entries.map(({ unit }) => unit), usage: { ...Usage.zero, modelCalls: 1 } })
      }
      const { exit } = yield* play(Agent.make("bot", { contextWindow }), { history: talk("a"), prompt: "b" }, [])
      const { partial, reason } = failureOf(exit) as AgentError
      assert.strictEqual(reason._tag, "ContextOverflow")
      assert.strictEqual(partial.usage.modelCalls, 1)
    })
  )

  it.effect("counts the instructions and tools of each turn", () =>
    Effect.gen(function* () {
      const agent = Agent.make("bot", {
        contextWindow: ContextWindow.tokenBudget(100),
        prepareTurn: () => Effect.succeed({ instructions: "x".repeat(80) })
      })
      const { prunings: all, requests } = yield* play(agent, { history: talk("a", "[1]"), prompt: "question" }, ["yes"])
      assert.lengthOf(all, 1)
      assert.deepStrictEqual(left(requests[0]!.history), ["question"])
    })
  )

  it.effect("fails with ContextOverflow when not even the newest fits", () =>
    Effect.gen(function* () {
      const agent = Agent.make("bot", { contextWindow: ContextWindow.tokenBudget(50) })
      const { events, exit, requests } = yield* play(agent, { history: talk("a", "[1]"), prompt: "x".repeat(60) }, [
        "hi"
      ])
      const error = failureOf(exit)
      assert.instanceOf(error, AgentError)
      assert.deepInclude((error as AgentError).reason, {
        _tag: "ContextOverflow",
        limit: 50,
        used: 64
      })
      assert.isFalse("error" in (error as AgentError).reason)
      assert.strictEqual((error as AgentError).partial.history.length, 3)
      assert.lengthOf(requests, 0)
      assert.deepStrictEqual(events.at(-1)?._tag, "RunFailed")
    })
  )

  it.effect.prop(
    "obeys the laws of runs, whatever the model does",
    [Arbitraries.script(Tools), numbers(3), numbers(300)],
    ([script, kind, max]) => {
      const window = [
        ContextWindow.tokenBudget(max + 300),
        ContextWindow.slidingWindow(4),
        ContextWindow.compose(ContextWindow.dropToolResults(max + 300), ContextWindow.byPriority(max + 300)),
        ContextWindow.lastTurns(1)
      ][kind]!
      const agent = Agent.make("bot", { toolkit: Tools, contextWindow: window })
      return play(agent, { history: talk("a", "[1]", 100, "b", 50), prompt: "go" }, script).pipe(
        Effect.provide(ToolsLayer)
      )
    },
    { arbitrary: { runs: 200 } }
  )
})

describe("a provider that refuses the conversation as too long", () => {
  const history = talk("a", "[1]", 200, "b", 200, "[2]", "c", 200, "[3]")
  const says: ReadonlyArray<readonly [who: string, says: (used: number) => string]> = [
    ["says both numbers", (used) => `prompt is too long: ${used} tokens > 400 maximum`],
    ["says its limit", () => "This model's maximum context length is 400 tokens. Please reduce the length."],
    ["says nothing", () => "too long"]
  ]
  const windows: ReadonlyArray<ContextWindow.ContextWindow> = [
    ContextWindow.lastTurns(10),
    ContextWindow.tokenBudget(10_000),
    ContextWindow.slidingWindow(100),
    ContextWindow.byPriority(10_000),
    ContextWindow.compose(ContextWindow.dropToolResults(10_000), ContextWindow.tokenBudget(10_000))
  ]

  for (const [who, words] of says) {
    it.effect(`and ${who} gets less, and the run goes on with that`, () =>
      Effect.gen(function* () {
        for (const contextWindow of windows) {
          const agent = Agent.make("bot", { toolkit: Tools, contextWindow, stopWhen })
          const script = Array.from({ length: 30 }, (_, i) => refusing(400, words, i === 29 ? "done" : read(i)))
          const { events, exit, prunings: all, requests } = yield* play(agent, { history, prompt: "go" }, script)
          // Refusals take turns of the script, so that it may end in a call that has no turn.
          assert.isTrue(Exit.isSuccess(exit) || requests.length > 30)
          const refused = events.filter((event) => event._tag === "ModelCallFailed").length
          assert.isAtLeast(refused, 1)
          // It learns: later turns are cut before they are refused.
          assert.isAtMost(refused, 4, contextWindow.name)
          assert.isAtLeast(all.filter(({ trigger }) => trigger === "threshold").length, 1)
          assert.strictEqual(all[0]!.trigger, "overflow")
        }
      }).pipe(Effect.provide(ToolsLayer))
    )
  }

  it.effect("and never takes it gets it four times at most", () =>
    Effect.gen(function* () {
      const agent = Agent.make("bot", { contextWindow: ContextWindow.tokenBudget(10_000) })
      const refusal = tooLong("prompt is too long: 900 tokens > 800 maximum")
      const { exit, requests } = yield* play(
        agent,
        { history: talk(...Array.from({ length: 100 }, () => "again")), prompt: "go" },
        Array.from({ length: 9 }, () => refusal)
      )
      const error = failureOf(exit)
      assert.lengthOf(requests, 4)
      assert.deepInclude((error as AgentError).reason, {
        _tag: "ContextOverflow",
        limit: 800,
        used: 900,
        error: refusal
      })
    })
  )

  it.effect("and cannot get less of a single message ends the run with what the provider said", () =>
    Effect.gen(function* () {
      for (const contextWindow of windows) {
        const refusal = tooLong("too long")
        const { exit, requests } = yield* play(Agent.make("bot", { contextWindow }), "go", [refusal, refusal])
        assert.deepInclude((failureOf(exit) as AgentError).reason, { _tag: "ContextOverflow", error: refusal })
        assert.lengthOf(requests, 1)
      }
    })
  )

  it.effect("and a window that does not heed it ends the run, too", () =>
    Effect.gen(function* () {
      const contextWindow = { ...ContextWindow.lastTurns(10), isOver: () => false }
      const { exit, requests } = yield* play(Agent.make("bot", { contextWindow }), { history, prompt: "go" }, [
        tooLong("")
      ])
      assert.strictEqual((failureOf(exit) as AgentError).reason._tag, "ContextOverflow")
      assert.lengthOf(requests, 1)
    })
  )

  it.effect("and other failures end the run as without a window", () =>
    Effect.gen(function* () {
      const broken = AiError.make({ module: "Test", method: "generate", reason: new AiError.UnknownError({}) })
      const agent = Agent.make("bot", { contextWindow: ContextWindow.lastTurns(10) })
      const { exit } = yield* play(agent, { history, prompt: "go" }, [broken])
      assert.strictEqual((failureOf(exit) as AgentError).reason._tag, "ModelFailed")
    })
  )
})

describe("a summary", () => {
  const said = ["My name is Ada.", "[Hello Ada]", "I live in Rome.", "[Nice]", "I like tea.", "[Me too]"]
  const long = talk(...said, ...Array.from({ length: 5 }, () => ["question".padEnd(40), "[answer]".padEnd(40)]).flat())
  // A window remembers its summaries, so each test has its own.
  const makeAgent = () => Agent.make("chat", { contextWindow: ContextWindow.summarize(500), model: "large" })

  const talkOn = (history: History.History) =>
    Array.from({ length: 4 }, () => "and more".padEnd(40)).reduce(History.appendUser, history)

  it.effect("is written by the model, reaches it, and counts in the usage", () =>
    Effect.gen(function* () {
      const agent = makeAgent()
      const script = ["Ada lives in Rome.", "You are Ada."]
      const {
        events,
        exit,
        prunings: all,
        requests
      } = yield* play(agent, { history: long, prompt: "Who am I?" }, script)
      const [summarizing, answering] = requests
      assert.include(String(short(History.toMessages(summarizing!.history)[0]!)), "My name is Ada.")
      assert.include(String(short(History.toMessages(summarizing!.history)[0]!)), "Assistant: [Nice]")
      assert.deepStrictEqual(summarizing!.tools, [])
      assert.strictEqual(summarizing!.sampling.model, "large")
      const [summary, ...others] = left(answering!.history)
      assert.match(String(summary), /^Summary of the conversation so far.*\n\nAda lives in Rome\.$/s)
      assert.strictEqual(others.at(-1), "Who am I?")
      const { history, usage } = value(exit)
      assert.strictEqual(usage.modelCalls, 2)
      assert.strictEqual(usage.inputTokens, 20)
      assert.deepInclude(all[0]!.usage, { modelCalls: 1, inputTokens: 10 })
      assert.deepStrictEqual(Agent.fold(agent, events).usage, usage)
      // The history has what was said, and no summary.
      assert.strictEqual(history.length, long.length + 2)
    })
  )

  it.effect("takes the one before it in, so that there is never more than one", () =>
    Effect.gen(function* () {
      const reader = Agent.make("reader", {
        toolkit: Tools,
        stopWhen,
        contextWindow: ContextWindow.summarize(1000)
      })
      let written = 0
      const model = ScriptedLlm.make([], (request) => {
        const isSummary = request.tools.length === 0
        if (isSummary) return `summary ${++written}`
        return request.history.length > 0 && written < 5 ? read(model.requests.length) : "done"
      })
      const recording = yield* Laws.record(Agent.run(reader, "Read it all")).pipe(
        Effect.provideService(Llm, model),
        Effect.provide([byCharacter, ToolsLayer])
      )
      assert.deepStrictEqual(Laws.run(reader, recording), [])
      assert.strictEqual(written, 5)
      let summaries = 0
      for (const { history, tools } of model.requests) {
        const texts = Array.from(history, (message) => JSON.stringify(message))
        if (tools.length === 0) {
          // The transcript holds the last summary.
          if (summaries > 0) assert.include(texts[0], `summary ${summaries}`)
          summaries++
        } else if (summaries > 0) {
          const found = texts.filter((text) => text.includes("Summary of the conversation"))
          assert.lengthOf(found, 1)
          assert.include(found[0], `summary ${summaries}`)
          assert.include(texts[0], "Read it all")
        }
      }
    })
  )

  it.effect("of a large first message and a few short ones keeps no message twice", () =>
    Effect.gen(function* () {
      // The original's count went below zero here, and messages came twice.
      const history = talk("x".repeat(600), "b", "[c]", "d")
      const { history: shorter } = yield* Effect.provide(
        prune(ContextWindow.summarize(400), history),
        ScriptedLlm.layer(["s"])
      )
      const all = left(shorter)
      assert.match(String(all[0]), /^Summary/)
      assert.deepStrictEqual(all.slice(1), ["b", "[c]", "d"])
    })
  )

  it.effect("is not written again by the next run of the conversation", () =>
    Effect.gen(function* () {
      const agent = makeAgent()
      const first = yield* play(agent, { history: long, prompt: "Who am I?" }, ["Ada.", "You are Ada."])
      const { history } = value(first.exit)
      const second = yield* play(agent, { history, prompt: "Are you sure?" }, ["Yes."])
      assert.lengthOf(second.requests, 1)
      const sent = left(second.requests[0]!.history)
      assert.match(String(sent[0]), /^Summary.*Ada\.$/s)
      assert.deepStrictEqual(sent.slice(-3), ["Who am I?", "You are Ada.", "Are you sure?"])
      assert.deepInclude(second.prunings[0]!.usage, { modelCalls: 0 })
      // When it gets too long again, the summary goes into the next one.
      const more = talkOn(value(second.exit).history)
      const third = yield* play(agent, { history: more, prompt: "And now?" }, ["Ada, still.", "Yes."])
      assert.include(String(left(third.requests[0]!.history)[0]), "Summary of the conversation so far:\n\nAda.")
      const last = yield* play(agent, { history: value(third.exit).history, prompt: "Bye" }, ["Bye."])
      assert.lengthOf(last.requests, 1)
      assert.match(String(left(last.requests[0]!.history)[0]), /^Summary.*Ada, still\.$/s)
    })
  )

  it.effect("is not taken for one of a conversation that has begun in the same way", () =>
    Effect.gen(function* () {
      const agent = makeAgent()
      yield* play(agent, { history: talkOn(talkOn(talkOn(long))), prompt: "secret" }, [
        "Ada.",
        "Ada, secretly.",
        "Yes."
      ])
      yield* play(agent, { history: talkOn(talkOn(talkOn(long))), prompt: "other" }, ["Ada.", "Ada, openly.", "Yes."])
      const { requests } = yield* play(agent, { history: long, prompt: "Who am I?" }, ["Ada.", "You are Ada."])
      assert.lengthOf(requests, 2)
      assert.match(String(left(requests[1]!.history)[0]), /^Summary.*\n\nAda\.$/s)
    })
  )

  it.effect("of what is too long for one call is written piece by piece", () =>
    Effect.gen(function* () {
      const history = talk(...Array.from({ length: 40 }, (_, i) => `${i}`.padEnd(50, ".")))
      let written = 0
      const model = ScriptedLlm.make([], () => `part ${++written}`)
      const result = yield* Effect.provideService(prune(ContextWindow.summarize(500), history), Llm, model)
      assert.isAbove(written, 3)
      assert.strictEqual(result.usage.modelCalls, written)
      for (const [i, request] of model.requests.entries()) {
        if (i > 0) assert.include(left(request.history)[0], `part ${i}`)
        assert.isBelow(String(left(request.history)[0]).length, 700)
      }
      assert.include(left(result.history)[0], `part ${written}`)
    })
  )

  it.effect("that is too long is cut", () =>
    Effect.gen(function* () {
      const model = ScriptedLlm.layer(["y".repeat(5000)])
      const { after, history } = yield* Effect.provide(prune(ContextWindow.summarize(500), long), model)
      assert.isAtMost(after.tokens, 500)
      assert.include(left(history)[0], "yyy")
    })
  )

  it.effect("that cannot be written ends the run as a model call that fails", () =>
    Effect.gen(function* () {
      const overloaded = AiError.make({
        module: "Test",
        method: "generate",
        reason: new AiError.InternalProviderError({ description: "overloaded" })
      })
      for (const [turn, tag] of [
        [overloaded, "ModelFailed"],
        [tooLong("too long"), "ContextOverflow"],
        ["", "ModelFailed"]
      ] as const) {
        const agent = makeAgent()
        const { exit, requests } = yield* play(agent, { history: long, prompt: "Who am I?" }, [turn, "never"])
        const error = failureOf(exit)
        assert.instanceOf(error, AgentError)
        assert.strictEqual((error as AgentError).reason._tag, tag)
        assert.strictEqual((error as AgentError).partial.history.length, long.length + 1)
        assert.lengthOf(requests, 1)
      }
    })
  )

  it.effect("can be written by another agent, whose run is a child with its usage", () =>
    Effect.gen(function* () {
      const scribe = Agent.make("scribe")
      const chat = Agent.make("chat", {
        contextWindow: ContextWindow.summarize(500, {
          by: (transcript) => Effect.map(Agent.run(scribe, transcript), ({ text }) => text)
        })
      })
      const { events, exit, requests } = yield* play(chat, { history: long, prompt: "Who am I?" }, [
        "Ada.",
        "You are Ada."
      ])
      assert.strictEqual(value(exit).usage.modelCalls, 2)
      assert.include(left(requests[1]!.history)[0], "Ada.")
      assert.isTrue(events.some((event) => event._tag === "ChildRunEnded" && event.childAgent === "scribe"))
    })
  )

  it.effect("ends the run with the failure of whatever else writes it", () =>
    Effect.gen(function* () {
      const chat = Agent.make("chat", {
        contextWindow: ContextWindow.summarize(500, { by: () => Effect.fail("no scribe" as const) })
      })
      const { events, exit } = yield* play(chat, { history: long, prompt: "Who am I?" }, [])
      assert.strictEqual(failureOf(exit), "no scribe")
      assert.strictEqual(events.at(-1)?._tag, "RunFailed")
    })
  )

  it.effect("is given up when the run is interrupted", () =>
    Effect.gen(function* () {
      const agent = makeAgent()
      const started = yield* Deferred.make<void>()
      const waiting: ScriptedLlm.Turn = () => Effect.andThen(Deferred.succeed(started, undefined), Effect.never)
      const fiber = yield* Effect.forkChild(play(agent, { history: long, prompt: "Who am I?" }, [waiting]))
      yield* Deferred.await(started)
      yield* Fiber.interrupt(fiber)
      assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(fiber)))
    })
  )

  it.effect("of a part that is refused takes its place, too", () =>
    Effect.gen(function* () {
      const chat = Agent.make("chat", { contextWindow: ContextWindow.summarize(100_000) })
      const script = [tooLong("prompt is too long: 600 tokens > 550 maximum"), "Ada.", "You are Ada."]
      const { exit, prunings: all } = yield* play(chat, { history: long, prompt: "Who am I?" }, script)
      assert.strictEqual(value(exit).text, "You are Ada.")
      assert.deepStrictEqual(
        all.map(({ trigger }) => trigger),
        ["overflow"]
      )
    })
  )
})
