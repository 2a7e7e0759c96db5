import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { assert, describe, it } from "@effect/vitest"
import * as Agent from "effect-agent-runtime/Agent"
import type { AgentEvent } from "effect-agent-runtime/AgentEvent"
import * as AgentEvents from "effect-agent-runtime/AgentEvent"
import * as EventHub from "effect-agent-runtime/EventHub"
import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
import * as Simulation from "effect-agent-runtime/testing/Simulation"
import * as Toolkit from "effect/ai/Toolkit"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { calculate, MathTools, MathToolsLayer } from "./support/calculator.ts"

const delta = (offset: number, runId = "r"): AgentEvent => ({
  _tag: "TextDelta",
  runId,
  parentRunId: undefined,
  rootRunId: undefined,
  agent: "a",
  offset,
  timestamp: 0,
  turn: 1,
  delta: `${offset}`
})

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => delta(from + i))

const collectGarbage: () => void = (() => {
  setFlagsFromString("--expose-gc")
  return runInNewContext("gc") as () => void
})()

/** Offsets of events; how many are missing, negative, for a gap. */
const seen = (deliveries: Iterable<EventHub.Delivery>) =>
  Array.from(deliveries, (delivery) => (delivery._tag === "Lagged" ? -delivery.dropped : delivery.offset))

const publishEach = (hub: EventHub.EventHub, events: Iterable<AgentEvent>) => {
  for (const event of events) hub.publish([event])
}

describe("EventHub", () => {
  it.effect("delivers published events in order to every subscriber", () =>
    Effect.gen(function* () {
      const hub = yield* EventHub.make()
      const first = yield* hub.subscribe()
      const second = yield* hub.subscribe()
      hub.publish(range(0, 3))
      hub.publish(range(3, 5))
      assert.deepStrictEqual(seen(yield* first.take), [0, 1, 2, 3, 4])
      assert.deepStrictEqual(seen(yield* second.take), [0, 1, 2, 3, 4])
    })
  )

  it.effect("goes on where a subscriber stopped taking, however much had been kept for it", () =>
    Effect.gen(function* () {
      const hub = yield* EventHub.make()
      const slow = yield* hub.subscribe({ capacity: 10 })
      hub.publish(range(0, 8))
      assert.strictEqual((yield* slow.take).length, 8)
      publishEach(hub, range(8, 19))
      assert.strictEqual(slow.position(), 8)
      const next = yield* hub.subscribe({ from: slow.position() })
      assert.deepStrictEqual(seen(yield* next.take), [8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18])
      assert.strictEqual(next.position(), 19)
    })
  )

  it.effect("gives all of the past that it keeps, and counts what a subscriber with no capacity misses", () =>
    Effect.gen(function* () {
      const hub = yield* EventHub.make({ replay: 5000 })
      hub.publish(range(0, 3000))
      const late = yield* hub.subscribe({ from: 0 })
      hub.publish(range(3000, 3001))
      assert.deepStrictEqual(
        seen(yield* late.take),
        range(0, 3001).map(({ offset }) => offset)
      )
      const none = yield* hub.subscribe({ capacity: 0 })
      publishEach(hub, range(0, 5))
      assert.deepStrictEqual(seen(yield* none.take), [-5])
    })
  )

  it.effect("refuses a capacity that is none", () =>
    Effect.gen(function* () {
      const hub = yield* EventHub.make()
      for (const capacity of [-1, Number.NaN]) {
        const exit = yield* Effect.exit(hub.subscribe({ capacity }))
        assert.match(String(exit), /capacity must not be negative/)
      }
    })
  )

  it.effect("wakes a waiting subscriber", () =>
    Effect.gen(function* () {
      const hub = yield* EventHub.make()
      const { take } = yield* hub.subscribe()
      const fiber = yield* Effect.forkChild(take, { startImmediately: true })
      hub.publish(range(0, 1))
      assert.deepStrictEqual(seen(yield* Fiber.join(fiber)), [0])
    })
  )

  it.effect("delivers every event once, and lets nobody wait for ever, wherever a subscriber pauses", () =>
    Effect.gen(function* () {
      const program = Effect.gen(function* () {
        const hub = yield* EventHub.make()
        const { take } = yield* hub.subscribe({ capacity: 0, onOverflow: "backpressure" })
        const received: Array<number> = []
        const subscriber = yield* Effect.forkChild(
          Effect.gen(function* () {
            while (received.length < 4) received.push(...seen(yield* take))
          })
        )
        for (const event of range(0, 4)) {
          const congestion = hub.congestion()
          if (congestion !== undefined) yield* congestion
          hub.publish([event])
          yield* Effect.yieldNow
        }
        yield* Fiber.join(subscriber)
        return received
      }).pipe(Effect.scoped)
      for (let operation = 1; operation <= 60; operation++) {
        const schedule = [{ _tag: "Paused", fiber: 2, operation } as const]
        assert.deepStrictEqual((yield* Simulation.run(program, { schedule })).exit, Exit.succeed([0, 1, 2, 3]))
      }
    })
  )

  it.effect("delivers only future events unless asked for past ones", () =>
    Effect.gen(function* () {
      const hub = yield* EventHub.make()
      hub.publish(range(0, 3))
      const future = yield* hub.subscribe()
      const all = yield* hub.subscribe({ from: 0 })
      const some = yield* hub.subscribe({ from: 2 })
      hub.publish(range(3, 4))
      assert.deepStrictEqual(seen(yield* future.take), [3])
      assert.deepStrictEqual(seen(yield* all.take), [0, 1, 2, 3])
      assert.deepStrictEqual(seen(yield* some.take), [2, 3])
    })
  )

  it.effect("joins past and future without gap or duplicate while a writer is at work", () =>
    Effect.gen(function* () {
      const hub = yield* EventHub.make({ replay: 10_000 })
      const total = 2000
      const writer = yield* Effect.forkChild(
        Effect.forEach(range(0, total), (event) =>
          Effect.andThen(
            Effect.sync(() => hub.publish([event])),
            Effect.yieldNow
          )
        )
      )
      for (const from of [0, 1, 7, 500]) {
        const { take } = yield* hub.subscribe({ from, capacity: total })
        const received: Array<number> = []
        while (received.at(-1) !== total - 1) received.push(...seen(yield* take))
        assert.deepStrictEqual(
          received,
          Array.from({ length: total - from }, (_, i) => from + i)
        )
      }
      yield* Fiber.join(writer)
    })
  )

  it.effect("goes on at the position where another subscription stopped, whatever it filters", () =>
    Effect.gen(function* () {
      const hub = yield* EventHub.make()
      const first = yield* hub.subscribe({ runId: "mine" })
      for (let i = 0; i < 10; i++) hub.publish([delta(i, i % 2 === 0 ? "mine" : "other")])
      assert.deepStrictEqual(seen(yield* first.take), [0, 2, 4, 6, 8])
      const position = first.position()
      hub.publish([delta(10, "mine"), delta(11, "other")])
      const second = yield* hub.subscribe({ runId: "mine", from: position })
      hub.publish([delta(12, "mine")])
      assert.deepStrictEqual(seen(yield* second.take), [10, 12])
    })
  )

  it.effect("keeps a bounded number of past events and says how many are gone", () =>
    Effect.gen(function* () {
      const hub = yield* EventHub.make({ replay: 10 })
      publishEach(hub, range(0, 1000))
      const { take } = yield* hub.subscribe({ from: 0 })
      assert.deepStrictEqual(seen(yield* take), [-990, ...Array.from({ length: 10 }, (_, i) => 990 + i)])
      const recent = yield* hub.subscribe({ from: 995 })
      assert.deepStrictEqual(seen(yield* recent.take), [995, 996, 997, 998, 999])
    })
  )

  it.effect("drops the oldest for a slow subscriber and says how many, without bothering the others", () =>
    Effect.gen(function* () {
      const hub = yield* EventHub.make()
      const slow = yield* hub.subscribe({ capacity: 10 })
      const patient = yield* hub.subscribe({ capacity: 10_000 })
      publishEach(hub, range(0, 5000))
      assert.deepStrictEqual(seen(yield* slow.take), [-4990, ...Array.from({ length: 10 }, (_, i) => 4990 + i)])
      assert.strictEqual((yield* patient.take).length, 5000)
      hub.publish(range(5000, 5001))
      assert.deepStrictEqual(seen(yield* slow.take), [5000])
    })
  )

  it.effect("goes on with a waiting subscriber after it has been handed an event", () =>
    Effect.gen(function* () {
      const hub = yield* EventHub.make()
      const { take } = yield* hub.subscribe({ capacity: 2 })
      const fiber = yield* Effect.forkChild(take, { startImmediately: true })
      publishEach(hub, range(0, 6))
      assert.deepStrictEqual(seen(yield* Fiber.join(fiber)), [0])
      assert.deepStrictEqual(seen(yield* take), [-3, 4, 5])
    })
  )

  it.effect("counts only what the subscriber would have received", () =>
    Effect.gen(function* () {
      const hub = yield* EventHub.make()
      const { take } = yield* hub.subscribe({ runId: "mine", capacity: 2 })
      for (let i = 0; i < 100; i++) {
        hub.publish([delta(i, "other")])
        if (i % 10 === 0) hub.publish([delta(i, "mine")])
      }
      assert.deepStrictEqual(seen(yield* take), [-8, 80, 90])
    })
  )

  it.live("keeps nothing of what a subscriber does not want, however long it does not take", () =>
    Effect.gen(function* () {
      const hub = yield* EventHub.make({ replay: 0 })
      yield* hub.subscribe({ runId: "mine", capacity: 10 })
      const published = Array.from({ length: 1000 }, (_, i) => {
        const event = delta(i, "other")
        hub.publish([event])
        return new WeakRef(event)
      })
      // A weak reference is only cleared between two jobs.
      yield* Effect.sleep(1)
      collectGarbage()
      yield* Effect.sleep(1)
      assert.isBelow(published.filter((event) => event.deref() !== undefined).length, 20)
    })
  )

  it.effect("filters by scope, type and agent", () =>
    Effect.gen(function* () {
      const hub = yield* EventHub.make()
      const tools = yield* hub.subscribe({ scopes: ["tool"] })
      const ends = yield* hub.subscribe({ types: ["completed"], scopes: ["agent"] })
      const nobody = yield* hub.subscribe({ agent: "someone-else" })
      yield* Agent.run(Agent.make("bot", { toolkit: MathTools }), "1 + 2?").pipe(
        Effect.provide([MathToolsLayer, ScriptedLlm.layer([calculate("add", 1, 2), "3"])]),
        Effect.provideService(EventHub.EventHub, hub)
      )
      const tags = (deliveries: ReadonlyArray<EventHub.Delivery>) => deliveries.map((event) => event._tag)
      assert.deepStrictEqual(tags(yield* tools.take), ["ToolCallStarted", "ToolCallCompleted"])
      assert.deepStrictEqual(tags(yield* ends.take), ["RunCompleted"])
      const silent = yield* Effect.forkChild(nobody.take, { startImmediately: true })
      assert.strictEqual(silent.pollUnsafe(), undefined)
    })
  )

  it.effect("gives all events of a run and of the runs below it, and none of a run at the same time", () =>
    Effect.gen(function* () {
      const hub = yield* EventHub.make()
      const slowly = (...turns: ReadonlyArray<ScriptedLlm.Turn>) =>
        ScriptedLlm.layer(turns.map((turn) => () => Effect.as(Effect.yieldNow, turn)))
      const low = Agent.asTool(Agent.make("low", { toolkit: MathTools }), { description: "Calculates" })
      const middle = Agent.asTool(Agent.make("middle", { toolkit: Toolkit.make(low.tool) }), { description: "Asks" })
      const top = Agent.make("top", { toolkit: Toolkit.make(middle.tool) })
      const ask = (tool: string) => ({ tool, params: { prompt: "1 + 2?" } })
      const run = Agent.run(top, "1 + 2?").pipe(
        Effect.provide([
          Layer.provide(middle.layer, [
            Layer.provide(low.layer, [MathToolsLayer, slowly(calculate("add", 1, 2), "3")]),
            slowly(ask("low"), "3")
          ]),
          slowly(ask("middle"), "3")
        ]),
        Effect.provideService(EventHub.EventHub, hub)
      )
      yield* Effect.all([run, run], { concurrency: "unbounded" })
      const past = Effect.fnUntraced(function* (runId?: string) {
        const { take } = yield* hub.subscribe({ from: 0, runId })
        return (yield* take).filter((event) => event._tag !== "Lagged" && "agent" in event)
      })
      const all = yield* past()
      const started = all.filter((event) => event._tag === "RunStarted")
      const below = (runId: string): ReadonlyArray<string> => [
        runId,
        ...started.filter(({ parentRunId }) => parentRunId === runId).flatMap((event) => below(event.runId))
      ]
      assert.lengthOf(started, 6)
      for (const { agent, runId } of started) {
        const events = yield* past(runId)
        assert.deepStrictEqual(
          events,
          all.filter((event) => below(runId).includes(event.runId))
        )
        assert.hasAllKeys(
          Object.groupBy(events, (event) => event.agent),
          { top: ["top", "middle", "low"], middle: ["middle", "low"] }[agent] ?? ["low"]
        )
        assert.hasAllKeys(Object.groupBy(events, AgentEvents.scope), ["agent", "llm_request", "tool"])
      }
    })
  )

  it.effect("lets a run wait for a subscriber that asks for back-pressure, which then misses nothing", () =>
    Effect.gen(function* () {
      const hub = yield* EventHub.make()
      const { take } = yield* hub.subscribe({ capacity: 4, onOverflow: "backpressure" })
      const fiber = yield* Agent.run(Agent.make("bot", { toolkit: MathTools }), "go").pipe(
        Effect.provide([MathToolsLayer, ScriptedLlm.layer([calculate("add", 1, 1), "done"])]),
        Effect.provideService(EventHub.EventHub, hub),
        Effect.forkChild({ startImmediately: true })
      )
      // It waits before its second model call: the first turn alone is more than the subscriber takes.
      assert.strictEqual(fiber.pollUnsafe(), undefined)
      const received: Array<EventHub.Delivery> = []
      while (received.at(-1)?._tag !== "RunCompleted") received.push(...(yield* take))
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(
        seen(received),
        received.map((_, i) => i)
      )
    })
  )

  it.effect("releases waiting runs when the slow subscriber leaves", () =>
    Effect.gen(function* () {
      const hub = yield* EventHub.make()
      const scope = yield* Scope.make()
      yield* Scope.provide(hub.subscribe({ capacity: 1, onOverflow: "backpressure" }), scope)
      hub.publish(range(0, 2))
      const waiting = yield* Effect.forkChild(hub.congestion()!, { startImmediately: true })
      assert.strictEqual(waiting.pollUnsafe(), undefined)
      yield* Scope.close(scope, Exit.void)
      yield* Fiber.join(waiting)
      assert.strictEqual(hub.congestion(), undefined)
    })
  )

  it.effect("delivers what is left, then ends, when the hub closes", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const hub = yield* Scope.provide(EventHub.make(), scope)
      const { take } = yield* hub.subscribe()
      const collected = yield* Stream.fromPull(Effect.succeed(take)).pipe(Stream.runCollect, Effect.forkChild)
      hub.publish(range(0, 3))
      yield* Effect.yieldNow
      hub.publish(range(3, 4))
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(seen(yield* Fiber.join(collected)), [0, 1, 2, 3])
    })
  )

  it.effect("lets nobody wait for a closed hub", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const hub = yield* Scope.provide(EventHub.make(), scope)
      yield* hub.subscribe({ capacity: 1, onOverflow: "backpressure" })
      hub.publish(range(0, 2))
      const waiting = yield* Effect.forkChild(hub.congestion()!, { startImmediately: true })
      yield* Scope.close(scope, Exit.void)
      yield* Fiber.join(waiting)
      hub.publish(range(2, 5))
      assert.strictEqual(hub.congestion(), undefined)
    })
  )

  it.effect("takes a batch of nothing for nothing", () =>
    Effect.gen(function* () {
      const hub = yield* EventHub.make()
      const { take } = yield* hub.subscribe()
      const fiber = yield* Effect.forkChild(take, { startImmediately: true })
      hub.publish([])
      assert.strictEqual(fiber.pollUnsafe(), undefined)
      hub.publish(range(0, 1))
      assert.deepStrictEqual(seen(yield* Fiber.join(fiber)), [0])
    })
  )

  it.effect("streams the runs of a whole application through a layer", () =>
    Effect.gen(function* () {
      const ready = yield* Latch.make()
      const collector = yield* EventHub.stream({ scopes: ["agent"], types: ["completed"] }).pipe(
        Stream.onStart(ready.open),
        Stream.take(2),
        Stream.runCollect,
        Effect.forkChild({ startImmediately: true })
      )
      yield* ready.await
      yield* Effect.yieldNow
      const helper = Agent.make("helper")
      yield* Agent.run(helper, "a")
      yield* Agent.run(helper, "b")
      const completed = yield* Fiber.join(collector)
      assert.deepStrictEqual(
        completed.map((event) => (event._tag === "RunCompleted" ? event.text : event._tag)),
        ["A", "B"]
      )
    }).pipe(Effect.provide([EventHub.layer(), ScriptedLlm.layer(["A", "B"])]))
  )

  it.effect("has nothing to deliver without a hub", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* EventHub.EventHub, undefined)
      assert.deepStrictEqual(Array.from(yield* Stream.runCollect(EventHub.stream())), [])
    })
  )

  it.effect("keeps a run's order and offsets whatever publishes at the same time", () =>
    Effect.gen(function* () {
      const hub = yield* EventHub.make()
      const { take } = yield* hub.subscribe({ capacity: 100_000 })
      const agent = Agent.make("bot", { toolkit: MathTools })
      yield* Effect.forEach(
        Array.from({ length: 50 }),
        () =>
          Agent.run(agent, "go").pipe(
            Effect.provide(ScriptedLlm.layer([[calculate("add", 1, 1), calculate("add", 1, 2)], "done"]))
          ),
        { concurrency: "unbounded", discard: true }
      ).pipe(Effect.provide(MathToolsLayer), Effect.provideService(EventHub.EventHub, hub))
      const runs = new Map<string, Array<AgentEvent>>()
      for (const event of yield* take) {
        if (!("agent" in event)) return assert.fail(event._tag)
        runs.set(event.runId, [...(runs.get(event.runId) ?? []), event])
      }
      assert.strictEqual(runs.size, 50)
      for (const events of runs.values()) {
        assert.deepStrictEqual(
          seen(events),
          events.map((_, i) => i)
        )
        assert.strictEqual(events.filter(AgentEvents.isTerminal).length, 1)
        assert.isTrue(AgentEvents.isTerminal(events.at(-1)!))
      }
    })
  )
})
