import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import * as Agent from "effect-agent-runtime/Agent"
import type { AgentEvent } from "effect-agent-runtime/AgentEvent"
import * as Llm from "effect-agent-runtime/Llm"
import { Arbitraries, Cassette, Laws, ScriptedLlm } from "effect-agent-runtime/testing"
import * as Toolbox from "effect-agent-runtime/Toolbox"
import * as AiError from "effect/ai/AiError"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Clock from "effect/Clock"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"

class Closed extends Schema.TaggedError<Closed>()("Closed", { since: Schema.Date }) {}

const Shop = Toolkit.make(
  Tool.make("price", {
    parameters: Schema.Struct({ item: Schema.String }),
    success: Schema.Struct({ at: Schema.Date, cents: Schema.Int })
  }),
  Tool.make("order", {
    parameters: Schema.Struct({ item: Schema.String, count: Schema.Int }),
    failure: Closed,
    failureMode: "return"
  }),
  Tool.make("visit", { success: Schema.Void, failure: Closed, failureMode: "error" })
)

const opened = new Date(0)

/** Tools that report, wait, fail and die, as their arguments say. */
const ShopLayer = Shop.toLayer({
  price: Effect.fnUntraced(function* ({ item }, { preliminary }) {
    for (let cents = 0; cents < item.length % 3; cents++) yield* preliminary({ at: opened, cents })
    for (let i = 0; i < item.length % 5; i++) yield* Effect.yieldNow
    return { at: opened, cents: item.length }
  }),
  order: ({ count, item }) => {
    if (count % 3 === 0) return Effect.die(new TypeError(`No ${item}`))
    return count % 3 === 1 ? Effect.fail(new Closed({ since: opened })) : Effect.void
  },
  visit: () => Effect.suspend(() => (opened.getTime() === 0 ? Effect.void : Effect.fail(new Closed({ since: opened }))))
})

const clerk = Agent.make("clerk", { toolkit: Shop })

/** Nothing that is played may be built. */
const dead: Layer.Layer<Llm.Llm | Tool.HandlersFor<typeof Shop.tools>> = Layer.unwrap(
  Effect.die("The live layer was built")
)

const text = (value: unknown) => JSON.stringify(value)

/** Time goes on with every look at the clock, and sleeping takes no time, but longer than a tool. */
const restless = (): Clock.Clock => {
  let now = 1_000
  const millis = () => (now += 7)
  const nanos = () => BigInt(millis()) * 1_000_000n
  return {
    currentTimeMillisUnsafe: millis,
    currentTimeMillis: Effect.sync(millis),
    currentTimeNanosUnsafe: nanos,
    currentTimeNanos: Effect.sync(nanos),
    monotonicTimeNanosUnsafe: nanos,
    monotonicTimeNanos: Effect.sync(nanos),
    sleep: Effect.fnUntraced(function* (duration) {
      for (let i = 0; i < 200; i++) yield* Effect.yieldNow
      now += Duration.toMillis(duration)
    })
  }
}

/** Records a program. */
const record = <A, E, R, E2, R2>(
  program: Effect.Effect<A, E, R>,
  live: Layer.Layer<Llm.Llm | Tool.HandlersFor<typeof Shop.tools>, E2, R2>,
  store: Cassette.Store = Cassette.memory("test")
) =>
  program.pipe(
    Effect.provide(live.pipe(Cassette.layer({ store, toolkit: Shop }))),
    Effect.provideService(Clock.Clock, restless())
  )

/** Plays what is in the store, and nothing else. */
const play = <A, E, R>(program: Effect.Effect<A, E, R>, store: Cassette.Store) =>
  Effect.provide(program, dead.pipe(Cassette.layer({ store, toolkit: Shop, mode: "none" })))

const scripted = (script: ReadonlyArray<ScriptedLlm.Turn>) => Layer.mergeAll(ShopLayer, ScriptedLlm.layer(script))

const ask = (prompt: string, agent = clerk) => Effect.map(Agent.run(agent, prompt), (result) => result.text)

/** A store with the recording of a program. */
const recording = Effect.fnUntraced(function* <A, E, R>(
  program: Effect.Effect<A, E, R>,
  script: ReadonlyArray<ScriptedLlm.Turn>
) {
  const store = Cassette.memory("test")
  yield* record(program, scripted(script), store)
  return store
})

/** How a program differs from a recording. */
const mismatch = <A, E, R>(program: Effect.Effect<A, E, R>, store: Cassette.Store) =>
  play(program, store).pipe(
    Cassette.failOnMismatch,
    Effect.flip,
    Effect.map((error) => {
      assert.instanceOf(error, Cassette.CassetteMismatch)
      return error
    })
  )

const steps = (store: Cassette.Memory): ReadonlyArray<{ readonly [key: string]: unknown }> =>
  JSON.parse(store.text()!).steps

const overloaded = AiError.make({
  module: "Test",
  method: "generate",
  reason: new AiError.RateLimitError({ retryAfter: Duration.seconds(1) })
})

const calls: ReadonlyArray<ScriptedLlm.Turn> = [
  [
    { tool: "price", params: { item: "tea" } },
    { tool: "order", params: { item: "tea", count: 2 } }
  ],
  "Tea is 3."
]

describe("a recording", () => {
  it.effect.prop("is played with the same events and results, to the byte", [Arbitraries.script(Shop)], ([script]) =>
    Effect.gen(function* () {
      const store = Cassette.memory("test")
      const program = Laws.record(Agent.run(clerk, "How much is tea?"))
      const recorded = yield* record(program, scripted(script), store)
      assert.deepStrictEqual(Laws.run(clerk, recorded), [])
      const file = store.text()
      const played = yield* play(program, store)
      assert.strictEqual(text(played.events), text(recorded.events))
      assert.strictEqual(text(played.exit), text(recorded.exit))
      assert.strictEqual(store.text(), file)
    })
  )

  it.effect("is played in the order in which concurrent runs came on", () =>
    Effect.gen(function* () {
      const store = Cassette.memory("test")
      const agents = ["a", "bb", "ccc", "dddd", "eeeee"].map((name) => Agent.make(name, { toolkit: Shop }))
      const program = Laws.record(
        Effect.forEach(agents, (agent, i) => Agent.run(agent, `Item ${i % 3}`), { concurrency: "unbounded" })
      )
      // The later runs are answered first.
      const model = Llm.layer((request, onDelta) =>
        Effect.gen(function* () {
          const asked = text(Array.from(request.history))
          const waits =
            request.history.length > 1 ? asked.length % 7 : 40 - (asked.charCodeAt(asked.indexOf("Item ") + 5) % 5)
          for (let i = 0; i < waits; i++) yield* Effect.yieldNow
          return yield* ScriptedLlm.make(request.history.length > 1 ? ["Done that."] : calls).generate(request, onDelta)
        })
      )
      const recorded = yield* record(program, Layer.mergeAll(ShopLayer, model), store)
      const played = yield* play(program, store)
      assert.strictEqual(text(played.events), text(recorded.events))
      assert.deepStrictEqual(Laws.events(recorded.events), [])
      const ends = recorded.events.filter((event: AgentEvent) => event._tag === "RunCompleted")
      assert.lengthOf(ends, 5)
    })
  )

  it.effect.prop(
    "is played with the same events where runs that ask the same go on at once, and are cut short",
    [Arbitraries.script(Shop), Arbitraries.script(Shop)],
    ([one, other]) =>
      Effect.gen(function* () {
        const store = Cassette.memory("test")
        const run = Agent.run(clerk, "How much is tea?")
        const program = Laws.record(
          Effect.all([run, Effect.timeoutOption(run, "1 minute"), Effect.exit(run)], {
            concurrency: "unbounded",
            mode: "result"
          })
        )
        const recorded = yield* record(program, scripted([...one, ...other]), store)
        const played = yield* play(program, store)
        assert.strictEqual(text(played.events), text(recorded.events))
        assert.strictEqual(text(played.exit), text(recorded.exit))
      })
  )

  it.effect("has sub-agents that run again", () =>
    Effect.gen(function* () {
      const store = Cassette.memory("test")
      const helper = Agent.asTool(clerk, { description: "Helps" })
      const boss = Agent.make("boss", { toolkit: Toolkit.make(helper.tool) })
      const program = Laws.record(Effect.provide(Agent.run(boss, "Go"), helper.layer))
      const recorded = yield* record(
        program,
        scripted([{ tool: "clerk", params: { prompt: "tea" } }, ...calls, "Bought."]),
        store
      )
      const played = yield* play(program, store)
      assert.strictEqual(text(played.events), text(recorded.events))
      assert.isTrue(Exit.isSuccess(played.exit))
      assert.deepStrictEqual(new Set(played.events.map((event) => event.agent)), new Set(["boss", "clerk"]))
    })
  )

  it.effect("has the time, also of sleeps and timeouts, and random numbers", () =>
    Effect.gen(function* () {
      const store = Cassette.memory("test")
      let asked = 0
      const model = Llm.layer(() =>
        // The first call hangs, the second fails.
        Effect.suspend(() => {
          asked++
          if (asked === 1) return Effect.never
          return asked === 2
            ? Effect.fail(overloaded)
            : Effect.delay(ScriptedLlm.make(["At last."]).generate(undefined as never), "1 second")
        })
      )
      const program = Effect.gen(function* () {
        const before = yield* Clock.currentTimeMillis
        yield* Effect.sleep("1 hour")
        const answer = yield* Agent.run(clerk, "Hello").pipe(
          Effect.timeout("30 seconds"),
          Effect.retry(Schedule.exponential("10 minutes"))
        )
        return [
          before,
          yield* Clock.currentTimeMillis,
          answer.text,
          yield* Random.next,
          Duration.toMillis(answer.duration)
        ]
      })
      const live = Layer.mergeAll(ShopLayer, model)
      const recorded = yield* record(program, live, store)
      assert.strictEqual(asked, 3)
      assert.isAtLeast(Number(recorded[1]) - Number(recorded[0]), Duration.toMillis("90 minutes"))
      assert.deepStrictEqual(yield* play(program, store), recorded)
    })
  )

  it.effect("is the same text for the same program", () =>
    Effect.gen(function* () {
      const same = Effect.provideService(recording(ask("tea"), calls), Random.Random, {
        nextIntUnsafe: () => 1,
        nextDoubleUnsafe: () => 0.5
      })
      assert.strictEqual((yield* same).text(), (yield* same).text())
    })
  )

  it.effect("has of a conversation that goes on only what is new", () =>
    Effect.gen(function* () {
      const store = yield* recording(ask("tea"), [...calls.slice(0, 1), ...calls.slice(0, 1), "Tea is 3."])
      const models = steps(store).flatMap((step) => ("model" in step ? [step.model as Record<string, unknown>] : []))
      assert.deepStrictEqual(
        models.map((model) => Object.keys(model)),
        [
          ["instructions", "tools", "toolChoice", "sampling", "messages"],
          ["continues", "messages"],
          ["continues", "messages"]
        ]
      )
    })
  )

  it.effect("needs none of the live layer to be played", () =>
    Effect.gen(function* () {
      const store = yield* recording(ask("tea"), calls)
      const program = Effect.provide(ask("tea"), dead.pipe(Cassette.layer({ store, toolkit: Shop })))
      assert.strictEqual(yield* program, "Tea is 3.")
    })
  )
})

describe("a divergence", () => {
  const told = Effect.fnUntraced(function* <A, E, R>(program: Effect.Effect<A, E, R>) {
    const { actual, expected, path, reason, step } = yield* mismatch(program, yield* recording(ask("tea"), calls))
    return { reason, step, path, expected, actual }
  })

  it.effect("is told by step and field, with both sides", () =>
    Effect.gen(function* () {
      const error = yield* mismatch(ask("coffee"), yield* recording(ask("tea"), calls))
      assert.strictEqual(
        error.message,
        `Cassette 'test', step 1, model call: it asks something else than was recorded
  messages[0].content
    - "tea"
    + "coffee"`
      )
      assert.deepStrictEqual(
        [error.reason, error.step, error.path, error.expected, error.actual],
        ["Changed", 1, "messages[0].content", "tea", "coffee"]
      )
    })
  )

  it.effect("is told of instructions, sampling, tools, schemas and output", () =>
    Effect.gen(function* () {
      const to = (options: Parameters<typeof Agent.make<"clerk", typeof Shop.tools>>[1]) =>
        told(Agent.run(Agent.make("clerk", { toolkit: Shop, ...options }), "tea"))
      assert.include(yield* to({ instructions: "Be brief" }), {
        path: "instructions",
        expected: "",
        actual: "Be brief"
      })
      assert.include(yield* to({ temperature: 0.5 }), { path: "sampling.temperature", actual: 0.5 })
      assert.include(yield* to({ toolChoice: "none" }), { path: "toolChoice", expected: "auto", actual: "none" })
      const Described = Toolkit.make(Shop.tools.price.annotate(Tool.Strict, true), Shop.tools.order, Shop.tools.visit)
      assert.include(yield* told(Agent.run(Agent.make("clerk", { toolkit: Described }), "tea")), {
        path: "tools[0].strict",
        actual: true
      })
      const typed = Agent.make("clerk", { toolkit: Shop, output: Schema.Struct({ cents: Schema.Int }) })
      assert.include(yield* told(Agent.run(typed, "tea")), { path: "output", expected: undefined })
    })
  )

  it.effect("is a call that the recording has nothing like", () =>
    Effect.gen(function* () {
      const error = yield* told(Effect.andThen(ask("tea"), ask("tea")))
      assert.include(error, { reason: "Unexpected", step: 5, path: "", expected: undefined })
    })
  )

  it.effect("is a step that is not used", () =>
    Effect.gen(function* () {
      const both = Effect.andThen(ask("tea"), ask("coffee"))
      const error = yield* mismatch(ask("tea"), yield* recording(both, [...calls, "Coffee is 6."]))
      assert.include({ ...error }, { reason: "Unused", step: 5 })
      assert.include(error.message, "the program has ended without it\n  step 5, model call\n    - {")
    })
  )

  it.effect("is a tool call, though its failure would be data for the model", () =>
    Effect.gen(function* () {
      const store = Cassette.memory("test")
      // Its tools are live.
      const outside = ask("tea").pipe(Effect.provide(ShopLayer))
      yield* Effect.provide(outside, ScriptedLlm.layer(calls).pipe(Cassette.layer({ store })))
      const error = yield* mismatch(ask("tea"), store)
      assert.include({ ...error }, { reason: "Unexpected", call: `tool "price"` })
    })
  )

  it.effect("cannot be passed over by retries, fallbacks, or whoever catches everything", () =>
    Effect.gen(function* () {
      const store = yield* recording(ask("tea"), calls)
      const careless = ask("coffee").pipe(
        Effect.retry({ times: 3 }),
        Effect.catchCause(() => ask("milk")),
        Effect.catchCause(() => Effect.succeed("whatever"))
      )
      const error = yield* mismatch(careless, store)
      assert.include(error.message, `+ "coffee"`)
      // Unhandled, it is the defect that the program ends with.
      const exit = yield* Effect.exit(play(careless, store))
      assert.deepStrictEqual(exit, Exit.die(error))
    })
  )

  it.effect("ends the calls in flight", () =>
    Effect.gen(function* () {
      const hanging = Effect.andThen(
        Effect.exit(Effect.timeout(ask("tea"), "1 minute")),
        Effect.sync(() => "given up")
      )
      const store = Cassette.memory("test")
      const silent = Layer.mergeAll(
        ShopLayer,
        Llm.layer(() => Effect.never)
      )
      assert.strictEqual(yield* record(hanging, silent, store), "given up")
      assert.strictEqual(yield* play(hanging, store), "given up")
      const both = Effect.all([ask("tea"), ask("coffee")], { concurrency: "unbounded" })
      assert.strictEqual((yield* mismatch(both, store)).reason, "Unexpected")
    })
  )

  it.effect("is a call that is not interrupted any more", () =>
    Effect.gen(function* () {
      const store = Cassette.memory("test")
      const silent = Layer.mergeAll(
        ShopLayer,
        Llm.layer(() => Effect.never)
      )
      yield* record(Effect.timeoutOption(ask("tea"), "1 minute"), silent, store)
      const error = yield* mismatch(ask("tea"), store)
      assert.include({ ...error }, { reason: "NotInterrupted", step: 1, call: "model call" })
    })
  )

  it.effect("is a call that is interrupted before the end it had", () =>
    Effect.gen(function* () {
      const store = yield* recording(ask("tea"), calls)
      const hurried = Effect.timeoutOption(ask("tea"), "0 seconds")
      const error = yield* mismatch(hurried, store)
      assert.include({ ...error }, { reason: "Interrupted", step: 1, path: "outcome" })
      // A program that is interrupted as a whole has not diverged.
      const fiber = yield* Effect.forkChild(play(ask("tea"), store), { startImmediately: true })
      yield* Effect.yieldNow
      assert.deepStrictEqual(yield* Effect.asVoid(Fiber.interrupt(fiber)), undefined)
    })
  )

  it.effect("is a result that the tool's schema does not take", () =>
    Effect.gen(function* () {
      const store = yield* recording(ask("tea"), calls)
      const edited = Cassette.memory("test", store.text()!.replace(`"cents":3`, `"cents":"three"`))
      const error = yield* mismatch(ask("tea"), edited)
      assert.include({ ...error }, { reason: "Unreadable", step: 2, path: "outcome" })
    })
  )

  it.effect("compares with the step that is closest", () =>
    Effect.gen(function* () {
      const each = (prompts: ReadonlyArray<string>) => Effect.forEach(prompts, (prompt) => ask(prompt))
      const store = yield* recording(each(["one", "two", "three"]), ["1", "2", "3"])
      const others = Agent.make("clerk", { toolkit: Shop, instructions: "Be brief" })
      const error = yield* mismatch(ask("two", others as typeof clerk), store)
      assert.deepStrictEqual([error.step, error.path], [2, "instructions"])
    })
  )
})

describe("a mode", () => {
  const live = Effect.fnUntraced(function* (mode: Cassette.Mode | undefined, store: Cassette.Store, prompts: string) {
    const model = ScriptedLlm.make([], (request) => `${text(Array.from(request.history)).length}`)
    yield* Effect.forEach(prompts.split(" "), (prompt) => ask(prompt)).pipe(
      Effect.provide(
        Layer.mergeAll(ShopLayer, Layer.succeed(Llm.Llm, model)).pipe(Cassette.layer({ store, toolkit: Shop, mode }))
      )
    )
    return model.requests.length
  })

  it.effect("`once` records what is not there, and plays what is", () =>
    Effect.gen(function* () {
      const store = Cassette.memory("test")
      assert.strictEqual(yield* live("once", store, "a b"), 2)
      assert.strictEqual(yield* live("once", store, "a b"), 0)
      assert.instanceOf(yield* mismatch(Effect.void, store), Cassette.CassetteMismatch)
      const exit = yield* Effect.exit(live("once", store, "a b c"))
      assert.isTrue(Exit.isFailure(exit))
    })
  )

  it.effect("`newEpisodes` plays what is there, records the rest, and drops what is not used", () =>
    Effect.gen(function* () {
      const store = Cassette.memory("test")
      assert.strictEqual(yield* live("newEpisodes", store, "a b"), 2)
      assert.strictEqual(yield* live("newEpisodes", store, "a c b"), 1)
      assert.strictEqual(yield* live("none", store, "a c b"), 0)
      assert.strictEqual(yield* live("newEpisodes", store, "c d"), 1)
      assert.strictEqual(yield* live("none", store, "c d"), 0)
      assert.lengthOf(steps(store), 2)
    })
  )

  it.effect("`newEpisodes` asks again what was interrupted", () =>
    Effect.gen(function* () {
      const store = Cassette.memory("test")
      const silent = Layer.mergeAll(
        ShopLayer,
        Llm.layer(() => Effect.never)
      )
      yield* record(Effect.timeoutOption(ask("a"), "1 minute"), silent, store)
      assert.strictEqual(yield* live("newEpisodes", store, "a"), 1)
      assert.strictEqual(yield* live("none", store, "a"), 0)
    })
  )

  it.effect("`none` needs a recording", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(live("none", Cassette.memory("nowhere"), "a"))
      assert.instanceOf(error, Cassette.CassetteError)
      assert.strictEqual(error.reason._tag, "CassetteMissing")
      assert.strictEqual(error.message, "Cassette 'nowhere': there is no recording, and the mode `none` makes none")
    })
  )

  it.effect("comes from the configuration unless it is given", () =>
    Effect.gen(function* () {
      const store = Cassette.memory("test")
      const configured = (mode: string, own?: Cassette.Mode) =>
        live(own, store, "a").pipe(
          Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown({ CASSETTE_MODE: mode }))
        )
      const missing = yield* Effect.flip(configured("none"))
      assert.strictEqual(missing._tag, "CassetteError")
      assert.strictEqual(yield* configured("none", "once"), 1)
      assert.strictEqual(yield* configured("none"), 0)
      assert.strictEqual((yield* Effect.flip(configured("sometimes")))._tag, "ConfigError")
    })
  )

  it.effect("refuses what is no recording", () =>
    Effect.gen(function* () {
      const good = JSON.parse((yield* recording(ask("tea"), calls)).text()!)
      const bad: ReadonlyArray<readonly [string, string]> = [
        ["", "JSON"],
        ["{}", "version"],
        [text({ ...good, version: 2 }), "version"],
        [text({ ...good, timeline: good.timeline.slice(1) }), "step 1 is"],
        [text({ ...good, steps: [good.steps[0], ...good.steps] }), "two steps are step 1"],
        [text({ ...good, steps: good.steps.slice(1) }), "continues step 1"]
      ]
      for (const [file, issue] of bad) {
        const error = yield* Effect.flip(live("once", Cassette.memory("test", file), "a"))
        assert.instanceOf(error, Cassette.CassetteError)
        assert.strictEqual(error.reason._tag, "CassetteInvalid")
        assert.include(error.message, issue)
      }
    })
  )
})

describe("a recording that is cut short", () => {
  it.effect("is what there was so far, and is gone on with", () =>
    Effect.gen(function* () {
      const store = Cassette.memory("test")
      const hung = yield* Deferred.make<void>()
      const two = Effect.all([ask("tea"), ask("coffee")])
      const stalls = Layer.mergeAll(
        ShopLayer,
        ScriptedLlm.layer([...calls, () => Effect.andThen(Deferred.succeed(hung, undefined), Effect.never)])
      )
      const fiber = yield* Effect.forkChild(record(two, stalls, store))
      yield* Deferred.await(hung)
      yield* Fiber.interrupt(fiber)
      assert.isFalse(JSON.parse(store.text()!).complete)
      assert.lengthOf(steps(store), 4)
      const error = yield* mismatch(two, store)
      assert.include({ ...error }, { reason: "Unexpected", step: 5 })

      const rest = ScriptedLlm.make(["Coffee is 6."])
      const answers = yield* record(two, Layer.mergeAll(ShopLayer, Layer.succeed(Llm.Llm, rest)), store)
      assert.deepStrictEqual(answers, ["Tea is 3.", "Coffee is 6."])
      assert.lengthOf(rest.requests, 1)
      assert.isTrue(JSON.parse(store.text()!).complete)
      assert.deepStrictEqual(yield* play(two, store), answers)
    })
  )

  it.effect("keeps what may still be repeated", () =>
    Effect.gen(function* () {
      const store = yield* recording(Effect.all([ask("one"), ask("two")]), ["1", "2"])
      const died = Effect.andThen(ask("three"), Effect.die("broken"))
      const live = scripted(["3"]).pipe(Cassette.layer({ store, toolkit: Shop, mode: "newEpisodes" }))
      assert.deepStrictEqual(yield* Effect.exit(Effect.provide(died, live)), Exit.die("broken"))
      const all = Effect.all([ask("one"), ask("two"), ask("three")])
      assert.deepStrictEqual(yield* play(all, store), ["1", "2", "3"])
    })
  )
})

describe("a secret", () => {
  const key = "sk-live-0123456789abcdef"

  const Vault = Toolkit.make(
    Tool.make("login", {
      parameters: Schema.Struct({ password: Schema.String }),
      success: Schema.Struct({ session: Schema.Redacted(Schema.String), apiKey: Schema.String })
    })
  )
  const seen: Array<unknown> = []
  const VaultLayer = Vault.toLayer({
    login: ({ password }) =>
      Effect.sync(() => {
        seen.push(password)
        return { session: Redacted.make("tuna-sandwich"), apiKey: "plain" }
      })
  })
  const agent = Agent.make("keeper", { toolkit: Vault })

  it.effect("is neither in the recording nor in what is compared with it", () =>
    Effect.gen(function* () {
      const store = Cassette.memory("vault")
      const program = Effect.map(Agent.run(agent, `My key is ${key}, my name is Ada`), (result) => result.text)
      const script: ReadonlyArray<ScriptedLlm.Turn> = [
        { tool: "login", params: { password: "hunter2" } },
        `Your key is ${key} and your session tuna-sandwich`
      ]
      const options = { store, toolkit: Vault, redact: (words: string) => words.replaceAll("Ada", "<name>") }
      const live = Layer.mergeAll(VaultLayer, ScriptedLlm.layer(script)).pipe(Cassette.layer(options))
      assert.strictEqual(yield* Effect.provide(program, live), `Your key is ${key} and your session tuna-sandwich`)
      assert.deepStrictEqual(seen, ["hunter2"])
      for (const secret of [key, "sk-live", "hunter2", "tuna-sandwich", "sandwich", "plain", "Ada"]) {
        assert.notInclude(store.text()!, secret)
      }
      const played = Layer.mergeAll(VaultLayer, ScriptedLlm.layer([])).pipe(
        Cassette.layer({ ...options, mode: "none" })
      )
      assert.strictEqual(yield* Effect.provide(program, played), "Your key is <redacted> and your session <redacted>")
      assert.lengthOf(seen, 1)
    })
  )

  it.effect("is taken out of failures and defects", () =>
    Effect.gen(function* () {
      const leaky = AiError.make({
        module: "Test",
        method: "generate",
        reason: new AiError.UnknownError({ description: `Wrong key ${key}` })
      })
      const program = Effect.all([Effect.exit(ask("a")), Effect.exit(ask("b"))])
      const store = yield* recording(program, [leaky, () => Effect.die(`Dead of ${key}`)])
      assert.notInclude(store.text()!, key)
      assert.include(store.text()!, "Wrong key <redacted>")
      assert.include(store.text()!, "Dead of <redacted>")
    })
  )
})

describe("a file", () => {
  it.effect("is made with its folders, in one go, and played", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const folder = yield* fs.makeTempDirectoryScoped()
      const store = Cassette.file(`${folder}/deep/er/tea.json`)
      const live = scripted(calls).pipe(Cassette.layer({ store, toolkit: Shop }))
      assert.strictEqual(yield* Effect.provide(ask("tea"), live), "Tea is 3.")
      assert.deepStrictEqual(yield* fs.readDirectory(`${folder}/deep/er`), ["tea.json"])
      const played = dead.pipe(Cassette.layer({ store, toolkit: Shop }))
      assert.strictEqual(yield* Effect.provide(ask("tea"), played), "Tea is 3.")
    }).pipe(Effect.provide(NodeFileSystem.layer))
  )

  it.effect("that cannot be written or read is told", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const folder = yield* fs.makeTempDirectoryScoped()
      // The temporary file cannot be written.
      yield* fs.makeDirectory(`${folder}/tea.json.tmp`)
      const unwritable = scripted(calls).pipe(
        Cassette.layer({ store: Cassette.file(`${folder}/tea.json`), toolkit: Shop })
      )
      const defect = yield* Effect.provide(ask("tea"), unwritable).pipe(
        Effect.as(undefined),
        Effect.catchDefect((error) => Effect.succeed(error))
      )
      assert.instanceOf(defect, Cassette.CassetteError)
      assert.strictEqual(defect.reason._tag, "CassetteUnavailable")
      const unreadable = scripted(calls).pipe(Cassette.layer({ store: Cassette.file(folder), toolkit: Shop }))
      const error = yield* Effect.flip(Effect.provide(ask("tea"), unreadable))
      assert.instanceOf(error, Cassette.CassetteError)
      assert.strictEqual(error.reason._tag, "CassetteUnavailable")
    }).pipe(Effect.provide(NodeFileSystem.layer))
  )
})

describe("a tool on a cassette", () => {
  it.effect("is retried by its annotation, each attempt as recorded", () =>
    Effect.gen(function* () {
      const Flaky = Toolkit.make(
        Tool.make("search", { success: Schema.String, failure: Schema.String, failureMode: "return" }).annotate(
          Toolbox.Retry,
          Schedule.spaced("1 minute")
        )
      )
      let attempts = 0
      const live = Layer.mergeAll(
        Flaky.toLayer({
          search: () => Effect.suspend(() => (++attempts < 3 ? Effect.fail("busy") : Effect.succeed("found")))
        }),
        ScriptedLlm.layer([{ tool: "search" }, "Found."])
      )
      const store = Cassette.memory("test")
      const program = Laws.record(Agent.run(Agent.make("finder", { toolkit: Flaky }), "Find"))
      const recorded = yield* Effect.provide(program, live.pipe(Cassette.layer({ store, toolkit: Flaky }))).pipe(
        Effect.provideService(Clock.Clock, restless())
      )
      const played = yield* Effect.provide(program, live.pipe(Cassette.layer({ store, toolkit: Flaky })))
      assert.strictEqual(attempts, 3)
      assert.strictEqual(text(played.events), text(recorded.events))
    })
  )
})
