import { assert, describe, it } from "@effect/vitest"
import * as Agent from "effect-agent-runtime/Agent"
import * as AgentError from "effect-agent-runtime/AgentError"
import * as ContextWindow from "effect-agent-runtime/ContextWindow"
import * as History from "effect-agent-runtime/History"
import * as Llm from "effect-agent-runtime/Llm"
import * as Session from "effect-agent-runtime/Session"
import * as SessionError from "effect-agent-runtime/SessionError"
import * as SessionStore from "effect-agent-runtime/SessionStore"
import { Arbitraries, Laws, ScriptedLlm } from "effect-agent-runtime/testing"
import * as AiError from "effect/ai/AiError"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { stored } from "./support/sessionStores.ts"

const overloaded = AiError.make({
  module: "Test",
  method: "generate",
  reason: new AiError.InternalProviderError({ description: "overloaded" })
})

const helper = Agent.make("helper")

class Broken extends Schema.TaggedError<Broken>()("Broken", {}) {}

const Tools = Toolkit.make(
  Tool.make("look", { parameters: Schema.Struct({ n: Schema.Finite }), success: Schema.String }),
  Tool.make("hang"),
  Tool.make("fail", { failure: Broken })
)
const ToolsLayer = Tools.toLayer({
  look: ({ n }) => Effect.succeed(`saw ${n}`),
  hang: () => Effect.never,
  fail: () => Effect.fail(new Broken())
})
const worker = Agent.make("worker", { toolkit: Tools })
const look = (n: number) => ({ tool: "look", params: { n } })

/** What is said, in short: `u` user, `a` assistant, `t` tools. */
const said = (history: History.History) =>
  Array.from(history, (message) => {
    if (message.role === "user") return `u:${History.userText(message.content)}`
    if (message.role !== "assistant" || typeof message.content === "string") return "t"
    const calls = History.toolCalls(message.content).map((call) => call.name)
    return `a:${[History.text(message.content), ...calls].filter((part) => part !== "").join("+")}`
  }).join(" ")

const saidIn = (id: string) => Effect.map(Session.history(id), said)

/** Answers each prompt with "re: " and the prompt, after a time. */
const echo = (delay = 0) =>
  ScriptedLlm.layer([], ({ history }) => {
    const last = History.last(history)
    const answer = last?.role === "user" ? `re: ${History.userText(last.content)}` : "re: tools"
    return delay === 0 ? answer : Effect.as(Effect.sleep(delay), answer)
  })

const provided = ({ generate }: ScriptedLlm.ScriptedLlm) => Llm.layer(generate)

const memory = Session.layerMemory()

describe("a model that nests its arguments without end", () => {
  const nested = (depth: number): unknown => JSON.parse(`{"n":${"[".repeat(depth)}${"]".repeat(depth)}}`)

  it.effect("is told so, and its run goes on and can be stored", () =>
    Effect.gen(function* () {
      const { history, text } = yield* Session.run(worker, { id: "deep", prompt: "Look" })
      assert.strictEqual(text, "done")
      const [result] = History.toolResults(history)
      assert.isTrue(result?.isFailure)
      assert.include(String(result?.result), "nested too deep")
      assert.strictEqual((yield* Session.history("deep")).length, history.length)
    }).pipe(
      Effect.provide([
        ToolsLayer,
        Session.layerMemory(),
        ScriptedLlm.layer([
          { content: [{ type: "tool-call", id: "a", name: "look", params: nested(100_000) }] },
          "done"
        ])
      ])
    )
  )
})

describe("run", () => {
  it.effect("goes on where the last run of the session ended", () =>
    Effect.gen(function* () {
      const llm = ScriptedLlm.make(["Hi Ada", "Ada", "Who?"])
      yield* Effect.gen(function* () {
        yield* Session.run(helper, { id: "ada", prompt: "I am Ada" })
        const { history, text } = yield* Session.run(helper, { id: "ada", prompt: "My name?" })
        assert.strictEqual(text, "Ada")
        assert.strictEqual(said(history), "u:I am Ada a:Hi Ada u:My name? a:Ada")
        assert.strictEqual(yield* saidIn("ada"), said(history))
        yield* Session.run(helper, { id: "bob", prompt: "My name?" })
      }).pipe(Effect.provide([memory, provided(llm)]))
      assert.deepStrictEqual(
        llm.requests.map((request) => request.history.length),
        [1, 3, 1]
      )
    })
  )

  it.effect("goes on with the summary of the last run, instead of paying for another", () =>
    Effect.gen(function* () {
      const chat = Agent.make("chat", { contextWindow: ContextWindow.summarize(1000) })
      const isSummary = (request: Llm.LlmRequest) => request.instructions.includes("summar")
      const llm = ScriptedLlm.make([], (request) => (isSummary(request) ? "They talked." : "ok"))
      const talk = (prompt: string) =>
        Effect.map(Session.run(chat, { id: "ada", prompt }), ({ usage }) => usage.modelCalls)
      yield* Effect.gen(function* () {
        const calls = yield* Effect.forEach(["word ".repeat(600), "word ".repeat(600), "Hi", "Ho"], talk)
        assert.deepStrictEqual(calls, [1, 2, 1, 1])
      }).pipe(Effect.provide([memory, provided(llm)]))
    })
  )

  it.effect("keeps what a failed run has done, and without a prompt makes only the missing calls", () =>
    Effect.gen(function* () {
      const llm = ScriptedLlm.make([look(1), look(2), overloaded, look(3), "Done"])
      yield* Effect.gen(function* () {
        const error = yield* Effect.flip(Session.run(worker, { id: "a", prompt: "Look" }))
        assert.strictEqual(error._tag === "AgentError" ? error.reason._tag : error._tag, "ModelFailed")
        assert.strictEqual(yield* saidIn("a"), "u:Look a:look t a:look t")
        const { history } = yield* Session.run(worker, { id: "a" })
        assert.strictEqual(said(history), "u:Look a:look t a:look t a:look t a:Done")
        assert.strictEqual(yield* saidIn("a"), said(history))
      }).pipe(Effect.provide([memory, ToolsLayer, provided(llm)]))
      assert.lengthOf(llm.requests, 5)
    })
  )

  it.effect("puts a prompt behind what a failed run has left", () =>
    Effect.gen(function* () {
      yield* Effect.exit(Session.run(worker, { id: "a", prompt: "Look" }))
      yield* Session.run(worker, { id: "a", prompt: "And?" })
      assert.strictEqual(yield* saidIn("a"), "u:Look a:look t u:And? a:Done")
    }).pipe(Effect.provide([memory, ToolsLayer, ScriptedLlm.layer([look(1), overloaded, "Done"])]))
  )

  it.effect("keeps what was done before a tool raised its failure", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Session.run(worker, { id: "a", prompt: "Look" }))
      assert.strictEqual(error._tag, "Broken")
      const history = yield* Session.history("a")
      assert.strictEqual(said(history), "u:Look a:look t a:look+fail t")
      assert.deepStrictEqual(
        History.toolResults(history).map(({ result }) => result),
        ["saw 1", "saw 2", { _tag: "Broken" }]
      )
    }).pipe(Effect.provide([memory, ToolsLayer, ScriptedLlm.layer([look(1), [look(2), { tool: "fail" }]])]))
  )

  it.effect("keeps what was done before it was interrupted", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(Session.run(worker, { id: "a", prompt: "Look" }))
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(fiber)
      const history = yield* Session.history("a")
      assert.strictEqual(said(history), "u:Look a:look t a:look+hang t")
      assert.deepStrictEqual(
        History.toolResults(history).map(({ isFailure }) => isFailure),
        [false, false, true]
      )
      const { text } = yield* Session.run(worker, { id: "a" })
      assert.strictEqual(text, "Done")
    }).pipe(Effect.provide([memory, ToolsLayer, ScriptedLlm.layer([look(1), [look(2), { tool: "hang" }], "Done"])]))
  )

  it.effect("keeps what was done before the model broke", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(Session.run(worker, { id: "a", prompt: "Look" }))
      assert.isTrue(Exit.hasDies(exit))
      assert.strictEqual(yield* saidIn("a"), "u:Look a:look t")
    }).pipe(Effect.provide([memory, ToolsLayer, ScriptedLlm.layer([look(1), () => Effect.die("bug")])]))
  )

  it.effect("leaves the session as it was when the model has not answered, so that it can be tried again", () =>
    Effect.gen(function* () {
      yield* Session.run(helper, { id: "a", prompt: "One" })
      const { text } = yield* Effect.retry(Session.run(helper, { id: "a", prompt: "Two" }), { times: 1 })
      assert.strictEqual(text, "2")
      assert.strictEqual(yield* saidIn("a"), "u:One a:1 u:Two a:2")
    }).pipe(Effect.provide([memory, ScriptedLlm.layer(["1", overloaded, "2"])]))
  )

  it.effect("leaves the session as it was when there is nothing to answer", () =>
    Effect.gen(function* () {
      yield* Session.run(helper, { id: "a", prompt: "One" })
      for (const input of [{ id: "a" }, { id: "a", prompt: "" }, { id: "b" }, { id: "b", prompt: "" }]) {
        const error = yield* Effect.flip(Session.run(helper, input))
        assert.strictEqual(error._tag === "AgentError" ? error.reason._tag : error._tag, "InvalidInput")
      }
      assert.strictEqual(yield* saidIn("a"), "u:One a:re: One")
      assert.deepStrictEqual(
        (yield* Session.list()).map(({ id }) => id),
        ["a"]
      )
    }).pipe(Effect.provide([memory, echo()]))
  )
})

describe("stream", () => {
  it.effect("has the events of the run, which is stored when it ends", () =>
    Effect.gen(function* () {
      const tags = (stream: Stream.Stream<{ readonly _tag: string }, unknown, any>) =>
        Effect.map(Stream.runCollect(stream), (events) => events.map((event) => event._tag))
      const events = yield* tags(Session.stream(helper, { id: "a", prompt: "One" }))
      assert.deepStrictEqual(events, yield* tags(Agent.stream(helper, "One")))
      assert.strictEqual(yield* saidIn("a"), "u:One a:re: One")
    }).pipe(Effect.provide([memory, echo()]))
  )

  it.effect("stores the run as far as it got when it is closed early", () =>
    Effect.gen(function* () {
      yield* Session.stream(worker, { id: "a", prompt: "Look" }).pipe(
        Stream.takeUntil((event) => event._tag === "ToolCallCompleted"),
        Stream.runDrain
      )
      const history = yield* Session.history("a")
      assert.strictEqual(said(history), "u:Look a:look+hang t")
      assert.deepStrictEqual(
        History.toolResults(history).map(({ isFailure }) => isFailure),
        [false, true]
      )
    }).pipe(Effect.provide([memory, ToolsLayer, ScriptedLlm.layer([[look(1), { tool: "hang" }]])]))
  )

  it.effect("fails when the session cannot be read", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Stream.runDrain(Session.stream(helper, { id: "a", prompt: "Hi" })))
      assert.strictEqual(error._tag, "SessionError")
    }).pipe(Effect.provide([layerOf(withDocument({ version: 2, messages: [] })), echo()]))
  )
})

describe("runs of one session", () => {
  it.effect("go one after the other, in the order they came, and keep all messages", () =>
    Effect.gen(function* () {
      const prompts = ["1", "2", "3", "4", "5"]
      const runs = yield* Effect.forEach(prompts, (prompt) =>
        Effect.forkChild(Session.run(helper, { id: "a", prompt }), { startImmediately: true })
      )
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.joinAll(runs)
      assert.strictEqual(yield* saidIn("a"), prompts.map((prompt) => `u:${prompt} a:re: ${prompt}`).join(" "))
    }).pipe(Effect.provide([memory, echo(1000)]))
  )

  it.effect("do not wait for those of another", () =>
    Effect.gen(function* () {
      const runs = yield* Effect.forEach(["a", "b", "c"], (id) =>
        Effect.forkChild(Session.run(helper, { id, prompt: id }))
      )
      yield* TestClock.adjust("1 second")
      assert.isTrue(runs.every((fiber) => fiber.pollUnsafe() !== undefined))
    }).pipe(Effect.provide([memory, echo(1000)]))
  )

  it.effect("can be interrupted while they wait, without the model being called", () =>
    Effect.gen(function* () {
      const llm = ScriptedLlm.make([() => Effect.as(Effect.sleep("1 second"), "1"), "3"])
      yield* Effect.gen(function* () {
        const [first, second, third] = yield* Effect.forEach(["1", "2", "3"], (prompt) =>
          Effect.forkChild(Session.run(helper, { id: "a", prompt }), { startImmediately: true })
        )
        yield* Fiber.interrupt(second!)
        yield* TestClock.adjust("1 second")
        yield* Fiber.joinAll([first!, third!])
        assert.strictEqual(yield* saidIn("a"), "u:1 a:1 u:3 a:3")
      }).pipe(Effect.provide([memory, provided(llm)]))
      assert.lengthOf(llm.requests, 2)
    })
  )

  it.effect("are refused in a tool of a run of that session, which they would wait for", () =>
    Effect.gen(function* () {
      const Ask = Toolkit.make(
        Tool.make("ask", { parameters: Schema.Struct({ id: Schema.String }), success: Schema.String })
      )
      const asker = Agent.make("asker", { toolkit: Ask })
      const sessions = yield* Session.Session
      const asking = Ask.toLayer({
        ask: ({ id }) =>
          Session.run(helper, { id, prompt: "Psst" }).pipe(
            Effect.map(({ text }) => text),
            Effect.catchReason("SessionError", "InUse", (reason) => Effect.succeed(reason.message)),
            Effect.orDie,
            Effect.provide(echo()),
            Effect.provideService(Session.Session, sessions)
          )
      })
      const ask = (id: string) => ({ tool: "ask", params: { id } })
      const { history } = yield* Session.run(asker, { id: "a", prompt: "Hi" }).pipe(
        Effect.provide([asking, ScriptedLlm.layer([[ask("a"), ask("b")], "Done"])])
      )
      assert.deepStrictEqual(
        History.toolResults(history).map(({ result }) => result),
        ["it is used from within its own run", "re: Psst"]
      )
      assert.strictEqual(yield* saidIn("b"), "u:Psst a:re: Psst")
      // It is over: whoever comes from it may use the session again.
      yield* Session.run(helper, { id: "a", prompt: "Again" }).pipe(Effect.provide(echo()))
    }).pipe(Effect.provide(memory))
  )
})

/** The services of a store, as those of several processes. */
const layerOf = (store: SessionStore.SessionStore, options?: Session.Options) =>
  Layer.effect(Session.Session, Session.make(store, options))

const process = (store: SessionStore.SessionStore) =>
  Effect.map(
    Layer.build(Layer.merge(layerOf(store), echo(1000))),
    (context) =>
      <A, E>(
        effect: Effect.Effect<
          A,
          E,
          Layer.Success<ReturnType<typeof layerOf> | typeof memory> | Layer.Success<ReturnType<typeof echo>>
        >
      ) =>
        Effect.provideContext(effect, context)
  )

describe("runs of two processes", () => {
  it.effect("conflict when they overlap: the second to end has its run in the error, the first is stored", () =>
    Effect.gen(function* () {
      const store = SessionStore.memory(9)
      const [one, two] = [yield* process(store), yield* process(store)]
      const first = yield* Effect.forkChild(one(Session.run(helper, { id: "a", prompt: "1" })))
      yield* TestClock.adjust(500)
      const second = yield* Effect.forkChild(two(Effect.flip(Session.run(helper, { id: "a", prompt: "2" }))))
      yield* TestClock.adjust(2000)
      yield* Fiber.join(first)
      const error = yield* Fiber.join(second)
      assert.instanceOf(error, SessionError.SessionError)
      assert.strictEqual(error.message, "Session 'a': it was changed elsewhere in the meantime")
      assert.strictEqual(said(error.unsaved!.history), "u:2 a:re: 2")
      assert.strictEqual(error.unsaved!.usage.modelCalls, 1)
      assert.strictEqual(yield* two(saidIn("a")), "u:1 a:re: 1")
    })
  )

  it.effect("conflict when the session was removed and made anew in the meantime", () =>
    Effect.gen(function* () {
      const store = SessionStore.memory(9)
      const [one, two] = [yield* process(store), yield* process(store)]
      const say = (prompt: string) => Session.run(helper, { id: "a", prompt })
      const first = yield* Effect.forkChild(one(say("0")))
      yield* TestClock.adjust(1000)
      yield* Fiber.join(first)
      const late = yield* Effect.forkChild(one(Effect.flip(say("late"))))
      yield* TestClock.adjust(500)
      yield* two(Session.remove("a"))
      yield* store.write(stored("a", "other", 0, { version: 1, messages: [] }), undefined)
      yield* TestClock.adjust(500)
      const error = yield* Fiber.join(late)
      assert.strictEqual(error._tag === "SessionError" ? error.reason._tag : error._tag, "Conflict")
      assert.strictEqual((yield* store.read("a"))?.revision, "other")
    })
  )

  const Turn = Schema.Struct({
    process: Schema.Literals([0, 1]),
    id: Schema.Literals(["a", "a", "b"]),
    startsAt: Schema.Literals([0, 300, 600, 1000, 1500, 2100]),
    cutAfter: Schema.Literals([100, 900, 5000, 5000, 5000])
  })

  it.effect.prop(
    "lose no message and mix none up, whenever they start and end",
    [Schema.Array(Turn).check(Schema.isMaxLength(8))],
    ([turns]) =>
      Effect.gen(function* () {
        const store = SessionStore.memory(9)
        const processes = [yield* process(store), yield* process(store)]
        const fibers = yield* Effect.forEach(turns, ({ cutAfter, id, process, startsAt }, index) =>
          Session.run(helper, { id, prompt: `${index}` }).pipe(
            Effect.delay(startsAt),
            Effect.timeoutOption(startsAt + cutAfter),
            processes[process]!,
            Effect.result,
            Effect.forkChild
          )
        )
        yield* TestClock.adjust("1 minute")
        const results = yield* Fiber.joinAll(fibers)
        for (const id of ["a", "b"] as const) {
          const kept = results.flatMap((result, index) =>
            turns[index]!.id === id && Result.isSuccess(result) && result.success._tag === "Some"
              ? [`u:${index} a:re: ${index}`]
              : []
          )
          const history = said(yield* processes[0]!(Session.history(id)))
          // In which order is theirs to decide; but each is there once, and whole.
          assert.sameMembers(history.match(/u:\d+ a:re: \d+/g) ?? [], kept)
          assert.strictEqual(history.length, kept.join(" ").length)
        }
        for (const [index, result] of results.entries()) {
          if (Result.isSuccess(result)) continue
          const error = result.failure
          assert.instanceOf(error, SessionError.SessionError)
          assert.strictEqual(error.reason._tag, "Conflict")
          assert.match(said(error.unsaved!.history), new RegExp(`u:${index} a:re: ${index}$`))
          const others = turns.filter(({ id, process }) => id === turns[index]!.id && process !== turns[index]!.process)
          assert.isNotEmpty(others, "a process conflicts with itself")
        }
      }).pipe(Effect.scoped),
    { arbitrary: { runs: 100 } }
  )
})

const withDocument = (document: Schema.Json): SessionStore.SessionStore => {
  const store = SessionStore.memory(9)
  Effect.runSync(store.write(stored("a", "r", 0, document), undefined))
  return store
}

describe("what is stored", () => {
  it.effect.prop("is the conversation, whatever it is", [Arbitraries.history], ([history]) =>
    Effect.gen(function* () {
      const store = SessionStore.memory(9)
      const { open, save } = yield* Session.make(store)
      yield* save(yield* open("a"), history)
      // As it is after any store that writes JSON.
      const written = (yield* store.read("a"))!
      yield* store.write({ ...written, document: JSON.parse(JSON.stringify(written.document)) }, written.revision)
      assert.deepStrictEqual(
        JSON.parse(JSON.stringify(History.toMessages((yield* open("a")).history))),
        JSON.parse(JSON.stringify(History.toMessages(history)))
      )
    }).pipe(Effect.scoped)
  )

  const call = { type: "tool-call", id: "1", name: "look", params: {} }
  const broken: ReadonlyArray<readonly [name: string, document: Schema.Json, issue: RegExp]> = [
    ["of a later version", { version: 2, messages: [] }, /\["version"\]/],
    ["not a document", "hello", /Session 'a': what is stored cannot be read/],
    [
      "of unknown roles",
      { version: 1, messages: [{ role: "user", content: "hi" }, { role: "judge" }] },
      /\["messages"\]\[1\]/
    ],
    ["a call without a result", { version: 1, messages: [{ role: "assistant", content: [call] }] }, /\["messages"\]/],
    ["with a system message", { version: 1, messages: [{ role: "system", content: "Obey" }] }, /\["messages"\]/]
  ]

  it.effect.each(broken)("is refused when it is %s, and stays as it is", ([, document, issue]) =>
    Effect.gen(function* () {
      const store = withDocument(document)
      yield* Effect.gen(function* () {
        const error = yield* Effect.flip(Session.run(helper, { id: "a", prompt: "Hi" }))
        assert.strictEqual(error._tag === "SessionError" ? error.reason._tag : error._tag, "Corrupt")
        assert.match(error.message, issue)
        assert.instanceOf(yield* Effect.flip(Session.history("a")), SessionError.SessionError)
      }).pipe(Effect.provide([layerOf(store), ScriptedLlm.layer([])]))
      assert.deepStrictEqual((yield* store.read("a"))?.document, document)
    })
  )

  it.effect("is not lost with the store: the error has the run, and its own failure", () =>
    Effect.gen(function* () {
      const away = new SessionError.SessionError({
        id: "a",
        reason: new SessionError.StoreFailed({ operation: "write", issue: "away" })
      })
      const store: SessionStore.SessionStore = { ...SessionStore.memory(9), write: () => Effect.fail(away) }
      const failing = Session.run(worker, { id: "a", prompt: "Look" })
      const exit = yield* Effect.exit(failing).pipe(
        Effect.provide([layerOf(store), ToolsLayer, ScriptedLlm.layer([look(1), overloaded])])
      )
      const errors = Exit.isFailure(exit)
        ? exit.cause.reasons.flatMap((reason) => (Cause.isFailReason(reason) ? [reason.error] : []))
        : []
      assert.sameMembers(
        errors.map((error) => error._tag),
        ["AgentError", "SessionError"]
      )
      const unsaved = errors.find((error) => error instanceof SessionError.SessionError)!.unsaved!
      assert.strictEqual(said(unsaved.history), "u:Look a:look t")
      assert.isTrue(errors.some((error) => error instanceof AgentError.AgentError))
    })
  )
})

describe("ttl", () => {
  const say = (prompt: string) => Effect.map(Session.run(helper, { id: "a", prompt }), ({ history }) => said(history))

  it.effect("counts from the last use, and begins a new conversation after it", () =>
    Effect.gen(function* () {
      yield* say("1")
      yield* TestClock.adjust("59 minutes")
      assert.strictEqual(yield* say("2"), "u:1 a:re: 1 u:2 a:re: 2")
      yield* TestClock.adjust("59 minutes")
      assert.lengthOf(yield* Session.list(), 1)
      assert.strictEqual(yield* saidIn("a"), "u:1 a:re: 1 u:2 a:re: 2")
      yield* TestClock.adjust("1 minute")
      assert.lengthOf(yield* Session.list(), 0)
      assert.strictEqual(yield* saidIn("a"), "")
      assert.strictEqual(yield* say("3"), "u:3 a:re: 3")
      assert.strictEqual((yield* Session.list())[0]?.createdAt, 2 * 59 * 60_000 + 60_000)
    }).pipe(Effect.provide([Session.layerMemory({ ttl: "1 hour" }), echo()]))
  )

  it.effect("removes what has expired, while others live on", () =>
    Effect.gen(function* () {
      const store = SessionStore.memory(9)
      yield* Effect.gen(function* () {
        yield* Session.run(helper, { id: "a", prompt: "1" })
        yield* TestClock.adjust("30 minutes")
        yield* Session.run(helper, { id: "b", prompt: "1" })
        yield* TestClock.adjust("30 minutes")
      }).pipe(Effect.provide([layerOf(store, { ttl: "1 hour" }), echo()]))
      assert.deepStrictEqual(
        (yield* store.list(0, 9)).map(({ id }) => id),
        ["b"]
      )
    })
  )

  it.effect("goes on when the store could not remove what has expired", () =>
    Effect.gen(function* () {
      let attempts = 0
      const removeUnused = () => {
        attempts++
        return Effect.fail(
          new SessionError.SessionError({
            reason: new SessionError.StoreFailed({ operation: "remove", issue: "away" })
          })
        )
      }
      yield* TestClock.adjust("3 hours").pipe(
        Effect.provide(layerOf({ ...SessionStore.memory(9), removeUnused }, { ttl: "1 hour" }))
      )
      assert.strictEqual(attempts, 4)
    })
  )
})

describe("maxBytes", () => {
  it.effect.prop(
    "keeps the newest turns that fit, whole",
    [Arbitraries.history, Schema.Int.check(Schema.isBetween({ minimum: 30, maximum: 2000 }))],
    ([history, maxBytes]) =>
      Effect.gen(function* () {
        const store = SessionStore.memory(9)
        const { open, save } = yield* Session.make(store, { maxBytes })
        const saved = yield* Effect.result(save(yield* open("a"), history))
        const document = (yield* store.read("a"))?.document
        if (Result.isFailure(saved)) {
          assert.strictEqual(saved.failure.reason._tag, "TooLarge")
          assert.isUndefined(document)
          return
        }
        assert.isAtMost(Buffer.byteLength(JSON.stringify(document)), maxBytes)
        const kept = (yield* open("a")).history
        assert.deepStrictEqual(Laws.history(kept), [])
        const suffix = History.toMessages(history).slice(history.length - kept.length)
        assert.strictEqual(JSON.stringify(History.toMessages(kept)), JSON.stringify(suffix))
        if (kept.length < history.length) assert.strictEqual(suffix[0]?.role, "user")
      }).pipe(Effect.scoped)
  )

  it.effect("drops the oldest turns of a conversation that grows", () =>
    Effect.gen(function* () {
      for (const prompt of ["1", "2", "3"]) yield* Session.run(helper, { id: "a", prompt })
      assert.strictEqual(yield* saidIn("a"), "u:2 a:re: 2 u:3 a:re: 3")
    }).pipe(Effect.provide([Session.layerMemory({ maxBytes: 300 }), echo()]))
  )

  it.effect("refuses a turn that is larger, and has it in the error", () =>
    Effect.gen(function* () {
      yield* Session.run(helper, { id: "a", prompt: "1" })
      const error = yield* Effect.flip(Session.run(helper, { id: "a", prompt: "é".repeat(150) }))
      assert.instanceOf(error, SessionError.SessionError)
      assert.match(error.message, /^Session 'a': its newest turn has \d+ bytes, 300 are allowed$/)
      assert.lengthOf(Array.from(error.unsaved!.history), 4)
      assert.strictEqual(yield* saidIn("a"), "u:1 a:re: 1")
    }).pipe(Effect.provide([Session.layerMemory({ maxBytes: 300 }), echo()]))
  )
})

describe("branch", () => {
  const talk = Effect.forEach(["1", "2", "3"], (prompt) => Session.run(helper, { id: "a", prompt }))

  it.effect("goes on at any turn, apart from the session it comes from", () =>
    Effect.gen(function* () {
      yield* talk
      yield* Session.branch("a", { to: "one", at: 1 })
      yield* Session.branch("a", { to: "all" })
      yield* Session.run(helper, { id: "one", prompt: "x" })
      yield* Session.run(helper, { id: "a", prompt: "4" })
      assert.strictEqual(yield* saidIn("one"), "u:1 a:re: 1 u:x a:re: x")
      assert.strictEqual(yield* saidIn("all"), "u:1 a:re: 1 u:2 a:re: 2 u:3 a:re: 3")
      assert.strictEqual(yield* saidIn("a"), `${yield* saidIn("all")} u:4 a:re: 4`)
    }).pipe(Effect.provide([memory, echo()]))
  )

  it.effect("fails when there is no such session, or no such turn", () =>
    Effect.gen(function* () {
      yield* talk
      const messageOf = (id: string, at?: number) =>
        Effect.map(Effect.flip(Session.branch(id, { to: "b", at })), ({ message }) => message)
      assert.strictEqual(yield* messageOf("nobody"), "Session 'nobody': it does not exist")
      for (const at of [0, 4, -1, 1.5, NaN])
        assert.strictEqual(yield* messageOf("a", at), "Session 'a': it has 3 turns, and no turn of that number")
      assert.strictEqual(yield* saidIn("b"), "")
    }).pipe(Effect.provide([memory, echo()]))
  )

  it.effect("overwrites no session, itself included, unless that one has expired", () =>
    Effect.gen(function* () {
      yield* Session.run(helper, { id: "old", prompt: "old" })
      yield* TestClock.adjust("30 minutes")
      yield* talk
      for (const to of ["a", "old"]) {
        const error = yield* Effect.flip(Session.branch("a", { to, at: 1 }))
        assert.deepStrictEqual([error.id, error.reason._tag], [to, "AlreadyExists"])
      }
      yield* TestClock.adjust("30 minutes")
      yield* Session.branch("a", { to: "old", at: 1 })
      assert.strictEqual(yield* saidIn("old"), "u:1 a:re: 1")
    }).pipe(Effect.provide([Session.layerMemory({ ttl: "1 hour" }), echo()]))
  )

  it.effect("waits for a run that begins the session it makes", () =>
    Effect.gen(function* () {
      yield* Effect.provide(talk, echo())
      const begun = yield* Deferred.make<void>()
      const slow = ScriptedLlm.layer([
        () => Effect.as(Effect.andThen(Deferred.succeed(begun, undefined), Effect.sleep(1000)), "1")
      ])
      const running = yield* Effect.forkChild(Effect.provide(Session.run(helper, { id: "b", prompt: "b" }), slow))
      yield* Deferred.await(begun)
      const branching = yield* Effect.forkChild(Effect.flip(Session.branch("a", { to: "b" })))
      yield* TestClock.adjust(1000)
      yield* Fiber.join(running)
      assert.strictEqual((yield* Fiber.join(branching)).reason._tag, "AlreadyExists")
    }).pipe(Effect.provide(memory))
  )
})

describe("list and remove", () => {
  it.effect("tell of the sessions there are, and forget one", () =>
    Effect.gen(function* () {
      for (const id of ["a", "b", "a", "c"]) {
        yield* Session.run(helper, { id, prompt: "Hi" })
        yield* TestClock.adjust(1000)
      }
      assert.deepStrictEqual(yield* Session.list({ limit: 2 }), [
        { id: "c", createdAt: 3000, usedAt: 3000 },
        { id: "a", createdAt: 0, usedAt: 2000 }
      ])
      yield* Session.remove("a")
      yield* Session.remove("nobody")
      assert.strictEqual(yield* saidIn("a"), "")
      assert.deepStrictEqual(
        (yield* Session.list()).map(({ id }) => id),
        ["c", "b"]
      )
    }).pipe(Effect.provide([memory, echo()]))
  )

  it.effect("removes a session after the run that uses it", () =>
    Effect.gen(function* () {
      const running = yield* Effect.forkChild(Session.run(helper, { id: "a", prompt: "1" }), { startImmediately: true })
      const removing = yield* Effect.forkChild(Session.remove("a"), { startImmediately: true })
      yield* TestClock.adjust(1000)
      yield* Fiber.joinAll([running, removing])
      assert.strictEqual(yield* saidIn("a"), "")
    }).pipe(Effect.provide([memory, echo(1000)]))
  )
})

describe("options", () => {
  it("that are unusable are refused by name", () => {
    const store = SessionStore.memory(1)
    for (const [field, make] of [
      ["maxBytes", () => Session.make(store, { maxBytes: 0 })],
      ["ttl", () => Session.make(store, { ttl: 0 })],
      ["maxSessions", () => Session.layerMemory({ maxSessions: 0 })]
    ] as const)
      assert.throws(make, `Invalid agent: ${field}`)
  })
})
