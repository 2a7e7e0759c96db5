import { assert, describe, it } from "@effect/vitest"
import * as History from "effect-agent-runtime/History"
import type { LlmRequest, LlmResponse } from "effect-agent-runtime/Llm"
import * as ResponseCache from "effect-agent-runtime/middleware/ResponseCache"
import * as Usage from "effect-agent-runtime/Usage"
import * as Prompt from "effect/ai/Prompt"
import * as Tool from "effect/ai/Tool"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Persistence from "effect/persistence/Persistence"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import type { Step } from "../support/models.ts"
import { answers, failures, fails, model, request, response, streamed, textOf, told, wrap } from "../support/models.ts"

const said: LlmResponse = {
  content: [
    { type: "reasoning", text: "Let me see.", options: { test: { signature: "s" } } },
    { type: "text", text: "Hello you" },
    { type: "tool-call", id: "1", name: "search", params: { q: [1, null, "x"] } }
  ],
  finishReason: "tool-calls",
  tokens: { inputTokens: 10, outputTokens: 5, cachedInputTokens: 1, cacheWriteTokens: 0, reasoningTokens: 2 },
  model: undefined
}

const says: Step = (sink) =>
  Effect.sync(() => {
    for (const word of ["Hello ", "you"]) sink({ type: "text", delta: word })
    return said
  })

describe("a request", () => {
  it.effect("that was answered is not sent again, takes no tokens and streams the answer", () =>
    Effect.gen(function* () {
      const subject = model(says)
      const llm = yield* wrap(subject.llm, ResponseCache.make())
      const first = yield* streamed(llm)
      assert.deepStrictEqual(first.exit, Exit.succeed(said))
      assert.deepStrictEqual(told(first.deltas), ["Hello ", "you"])
      const second = yield* streamed(llm)
      assert.deepStrictEqual(second.exit, Exit.succeed({ ...said, tokens: Usage.noTokens }))
      assert.deepStrictEqual(second.deltas, [
        { type: "reasoning", delta: "Let me see." },
        { type: "text", delta: "Hello you" }
      ])
      assert.deepStrictEqual(yield* llm.generate(request), { ...said, tokens: Usage.noTokens })
      assert.lengthOf(subject.calls, 1)
    }).pipe(Effect.scoped)
  )

  it.effect("is the same whoever built it, in whatever order its members were written", () =>
    Effect.gen(function* () {
      const subject = model(says)
      const llm = yield* wrap(subject.llm, ResponseCache.make())
      const make = (sampling: LlmRequest["sampling"]): LlmRequest => ({
        ...request,
        history: History.appendUser(History.empty, "hi"),
        sampling,
        tools: [Tool.make("search", { parameters: Schema.Struct({ q: Schema.String }) })]
      })
      yield* llm.generate(make({ temperature: 0, seed: 1 }))
      yield* llm.generate(make({ seed: 1, temperature: 0, model: undefined }))
      assert.lengthOf(subject.calls, 1)
    }).pipe(Effect.scoped)
  )

  const Search = Tool.make("search", { parameters: Schema.Struct({ q: Schema.String }) })
  const user = (content: History.UserContent) => ({ history: History.appendUser(History.empty, content) })
  const image = (data: string | Uint8Array | URL) => user([{ type: "file", mediaType: "image/png", data }])
  const output = (schema: Schema.Top, name = "answer") => ({ output: { name, schema } })
  const withTool = { tools: [Search] }

  it.effect.each<readonly [string, Partial<LlmRequest>, Partial<LlmRequest>]>([
    ["instructions", {}, { instructions: "Be brief" }],
    ["messages", user("hi"), user("ho")],
    ["a message more", user("hi"), { history: History.appendUser(user("hi").history, "hi") }],
    ["the bytes of a file", image(new Uint8Array([1])), image(new Uint8Array([2]))],
    ["the URL of a file", image(new URL("http://a/")), image(new URL("http://b/"))],
    ["a tool", {}, withTool],
    ["a tool's name", withTool, { tools: [Tool.make("find", { parameters: Search.parametersSchema })] }],
    [
      "a tool's description",
      withTool,
      { tools: [Tool.make("search", { description: "Searches", parameters: Search.parametersSchema })] }
    ],
    [
      "a tool's parameters",
      withTool,
      { tools: [Tool.make("search", { parameters: Schema.Struct({ p: Schema.String }) })] }
    ],
    ["a tool's strictness", withTool, { tools: [Search.annotate(Tool.Strict, true)] }],
    ["the tool choice", {}, { toolChoice: "required" }],
    ["the tool that is chosen", { toolChoice: { tool: "a" } }, { toolChoice: { tool: "b" } }],
    ["the model", {}, { sampling: { model: "large" } }],
    ["the temperature", { sampling: { temperature: 0 } }, { sampling: { temperature: 1 } }],
    ["an output format", {}, output(Schema.String)],
    ["the output's schema", output(Schema.String), output(Schema.Finite)],
    ["the output's name", output(Schema.String), output(Schema.String, "other")]
  ])("is another with other %s", ([, one, other]) =>
    Effect.gen(function* () {
      const subject = model(says)
      const llm = yield* wrap(subject.llm, ResponseCache.make())
      yield* llm.generate({ ...request, ...one })
      yield* llm.generate({ ...request, ...other })
      assert.lengthOf(subject.calls, 2)
      yield* llm.generate({ ...request, ...one })
      yield* llm.generate({ ...request, ...other })
      assert.lengthOf(subject.calls, 2)
    }).pipe(Effect.scoped)
  )

  it.effect("that is not JSON goes to the model each time", () =>
    Effect.gen(function* () {
      const subject = model(says)
      const llm = yield* wrap(subject.llm, ResponseCache.make())
      const history = History.appendAssistant(History.empty, [
        { type: "tool-call", id: "1", name: "t", params: { big: 1n } }
      ])
      yield* llm.generate({ ...request, history })
      yield* llm.generate({ ...request, history })
      assert.lengthOf(subject.calls, 2)
    }).pipe(Effect.scoped)
  )
})

describe("a response", () => {
  it.effect("is kept for its time", () =>
    Effect.gen(function* () {
      const subject = model(says)
      const llm = yield* wrap(subject.llm, ResponseCache.make({ timeToLive: "10 minutes" }))
      yield* llm.generate(request)
      yield* TestClock.adjust("599 seconds")
      yield* llm.generate(request)
      assert.lengthOf(subject.calls, 1)
      yield* TestClock.adjust("1 second")
      yield* llm.generate(request)
      assert.lengthOf(subject.calls, 2)
    }).pipe(Effect.scoped)
  )

  it.effect("makes room when it was not used for longest", () =>
    Effect.gen(function* () {
      const subject = model(says)
      const llm = yield* wrap(subject.llm, ResponseCache.make({ capacity: 2 }))
      const ask = (seed: number) => llm.generate({ ...request, sampling: { seed } })
      yield* Effect.forEach([1, 2, 1, 3, 1], ask)
      assert.lengthOf(subject.calls, 3)
      yield* ask(2)
      assert.lengthOf(subject.calls, 4)
    }).pipe(Effect.scoped)
  )

  it.effect("that is a failure is not kept", () =>
    Effect.gen(function* () {
      const subject = model(fails(failures.overloaded), () => Effect.die("bug"), says)
      const llm = yield* wrap(subject.llm, ResponseCache.make())
      assert.strictEqual(yield* Effect.flip(llm.generate(request)), failures.overloaded)
      assert.isTrue(Exit.hasDies(yield* Effect.exit(llm.generate(request))))
      assert.deepStrictEqual(yield* llm.generate(request), said)
    }).pipe(Effect.scoped)
  )
})

/** A model whose first call answers when it is told to. */
const gated = Effect.gen(function* () {
  const gate = yield* Deferred.make<void>()
  const asked = yield* Deferred.make<void>()
  const state = { interrupted: false }
  const subject = model(
    (sink) =>
      Effect.gen(function* () {
        sink({ type: "text", delta: "Hello " })
        yield* Deferred.succeed(asked, undefined)
        yield* Deferred.await(gate)
        sink({ type: "text", delta: "you" })
        return response("Hello you", 10)
      }).pipe(Effect.onInterrupt(() => Effect.sync(() => (state.interrupted = true)))),
    answers("again")
  )
  return { ...subject, asked: Deferred.await(asked), open: Deferred.succeed(gate, undefined), state }
})

/** Lets fibers do what they can, the digests of their keys too, which take real time. */
const settle = Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 20)))

describe("requests at the same time", () => {
  it.effect("are sent once, and counted once", () =>
    Effect.gen(function* () {
      const subject = yield* gated
      const llm = yield* wrap(subject.llm, ResponseCache.make())
      const first = yield* Effect.forkChild(streamed(llm))
      yield* subject.asked
      const others = yield* Effect.forkChild(Effect.all([streamed(llm), streamed(llm)], { concurrency: "unbounded" }))
      yield* settle
      yield* subject.open
      const one = yield* Fiber.join(first)
      assert.deepStrictEqual(one.exit, Exit.succeed(response("Hello you", 10)))
      assert.deepStrictEqual(told(one.deltas), ["Hello ", "you"])
      for (const other of yield* Fiber.join(others)) {
        assert.deepStrictEqual(other.exit, Exit.succeed(response("Hello you")))
        assert.deepStrictEqual(told(other.deltas), ["Hello you"])
      }
      assert.lengthOf(subject.calls, 1)
    }).pipe(Effect.scoped)
  )

  it.effect("go on when the one that was sent is interrupted, which hears nothing more", () =>
    Effect.gen(function* () {
      const subject = yield* gated
      const llm = yield* wrap(subject.llm, ResponseCache.make())
      const heard: Array<unknown> = []
      const first = yield* Effect.forkChild(llm.generate(request, (delta) => heard.push(delta)))
      yield* subject.asked
      const second = yield* Effect.forkChild(llm.generate(request))
      yield* settle
      yield* Fiber.interrupt(first)
      yield* subject.open
      // It is the one who has to say what the call took.
      assert.deepStrictEqual(yield* Fiber.join(second), response("Hello you", 10))
      assert.lengthOf(heard, 1)
      assert.lengthOf(subject.calls, 1)
      assert.isFalse(subject.state.interrupted)
    }).pipe(Effect.scoped)
  )

  it.effect("interrupt the call to the model with the last of them, and it can be made again", () =>
    Effect.gen(function* () {
      const subject = yield* gated
      const llm = yield* wrap(subject.llm, ResponseCache.make())
      const first = yield* Effect.forkChild(llm.generate(request))
      yield* subject.asked
      const second = yield* Effect.forkChild(llm.generate(request))
      yield* settle
      yield* Fiber.interruptAll([first, second])
      assert.isTrue(subject.state.interrupted)
      assert.strictEqual(textOf(yield* llm.generate(request)), "again")
    }).pipe(Effect.scoped)
  )
})

describe("a store", () => {
  const Store = Persistence.layer.pipe(Layer.provideMerge(Persistence.layerBackingMemory))

  it.effect("has the responses of models that are gone, as JSON", () =>
    Effect.gen(function* () {
      const backing = yield* (yield* Persistence.BackingPersistence).make("gpt")
      const subject = model(says)
      const persisted = ResponseCache.makePersisted({ storeId: "gpt", timeToLive: "10 minutes" })
      const one = yield* wrap(subject.llm, persisted)
      assert.deepStrictEqual((yield* streamed(one)).exit, Exit.succeed(said))
      const other = yield* wrap(subject.llm, persisted)
      const { deltas, exit } = yield* streamed(other)
      assert.deepStrictEqual(exit, Exit.succeed({ ...said, tokens: Usage.noTokens }))
      assert.deepStrictEqual(told(deltas), ["Let me see.", "Hello you"])
      assert.lengthOf(subject.calls, 1)
      yield* TestClock.adjust("10 minutes")
      yield* other.generate(request)
      assert.lengthOf(subject.calls, 2)
      yield* backing.clear
      yield* other.generate(request)
      assert.lengthOf(subject.calls, 3)
    }).pipe(Effect.scoped, Effect.provide(Store))
  )

  it.effect("has nothing of another model, and no failures", () =>
    Effect.gen(function* () {
      const subject = model(fails(failures.overloaded), says)
      const one = yield* wrap(subject.llm, ResponseCache.makePersisted({ storeId: "one" }))
      const other = yield* wrap(subject.llm, ResponseCache.makePersisted({ storeId: "other" }))
      yield* Effect.flip(one.generate(request))
      yield* one.generate(request)
      yield* other.generate(request)
      assert.lengthOf(subject.calls, 3)
    }).pipe(Effect.scoped, Effect.provide(Store))
  )

  it.effect("shares a call between requests at the same time", () =>
    Effect.gen(function* () {
      const subject = yield* gated
      const llm = yield* wrap(subject.llm, ResponseCache.makePersisted({ storeId: "gpt" }))
      const calls = yield* Effect.forkChild(
        Effect.all([llm.generate(request), llm.generate(request)], { concurrency: "unbounded" })
      )
      yield* subject.asked
      yield* settle
      yield* subject.open
      assert.deepStrictEqual((yield* Fiber.join(calls)).map(textOf), ["Hello you", "Hello you"])
      assert.lengthOf(subject.calls, 1)
    }).pipe(Effect.scoped, Effect.provide(Store))
  )

  const Content = Schema.Array(Schema.toEncoded(Prompt.AssistantMessagePart))
  const toJson = Schema.encodeSync(Schema.fromJsonString(Schema.toCodecJson(Content)))

  /** A store that keeps the text of JSON, as all do but the one in memory. */
  const textual = (broken: { readonly get?: boolean; readonly set?: boolean } = {}) => {
    const texts = new Map<string, string>()
    const error = Effect.fail(new Persistence.PersistenceError({ message: "unreachable" }))
    const backing: Persistence.BackingPersistenceStore = {
      get: (key) =>
        broken.get ? error : Effect.sync(() => (texts.has(key) ? JSON.parse(texts.get(key)!) : undefined)),
      getMany: () => error,
      set: (key, value) => (broken.set ? error : Effect.sync(() => texts.set(key, JSON.stringify(value)))),
      setMany: () => error,
      remove: () => Effect.void,
      clear: Effect.void
    }
    const layer = Persistence.layer.pipe(
      Layer.provide(Layer.succeed(Persistence.BackingPersistence, { make: () => Effect.succeed(backing) }))
    )
    return { layer, texts }
  }

  it.effect.prop(
    "gives back what was put in",
    [Content],
    ([content]) =>
      Effect.gen(function* () {
        const subject = model(() => Effect.succeed({ ...said, content, model: "m" }))
        const llm = yield* wrap(subject.llm, ResponseCache.makePersisted({ storeId: "gpt" }))
        const first = yield* llm.generate(request)
        const second = yield* llm.generate(request)
        assert.lengthOf(subject.calls, 1)
        assert.deepStrictEqual(
          { ...second, content: toJson(second.content) },
          { ...first, content: toJson(content), tokens: Usage.noTokens }
        )
      }).pipe(Effect.scoped, Effect.provide(textual().layer)),
    { arbitrary: { runs: 100 } }
  )

  it.effect("gives back the bytes of a file as base64", () =>
    Effect.gen(function* () {
      const file = { type: "file", mediaType: "image/png", data: new Uint8Array([1, 2, 3]) } as const
      const subject = model(() => Effect.succeed({ ...said, content: [file] }))
      const llm = yield* wrap(subject.llm, ResponseCache.makePersisted({ storeId: "gpt" }))
      yield* llm.generate(request)
      assert.deepStrictEqual((yield* llm.generate(request)).content, [{ ...file, data: "AQID" }])
    }).pipe(Effect.scoped, Effect.provide(textual().layer))
  )

  it.effect.each<"get" | "set">(["get", "set"])("that cannot be reached (%s) leaves the model to answer", (what) =>
    Effect.gen(function* () {
      const subject = model(says)
      const llm = yield* wrap(subject.llm, ResponseCache.makePersisted({ storeId: "gpt" }))
      assert.deepStrictEqual(yield* llm.generate(request), said)
      assert.deepStrictEqual(yield* llm.generate(request), said)
      assert.lengthOf(subject.calls, 2)
    }).pipe(Effect.scoped, Effect.provide(textual({ [what]: true }).layer))
  )

  it.effect("that holds something else leaves the model to answer, and is mended", () => {
    const { layer, texts } = textual()
    return Effect.gen(function* () {
      const subject = model(says)
      const llm = yield* wrap(subject.llm, ResponseCache.makePersisted({ storeId: "gpt" }))
      yield* llm.generate(request)
      for (const key of texts.keys()) texts.set(key, `{"old":"format"}`)
      assert.deepStrictEqual(yield* llm.generate(request), said)
      yield* llm.generate(request)
      assert.lengthOf(subject.calls, 2)
    }).pipe(Effect.scoped, Effect.provide(layer))
  })
})
