import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import * as Agent from "effect-agent-runtime/Agent"
import * as EventHub from "effect-agent-runtime/EventHub"
import * as Llm from "effect-agent-runtime/Llm"
import * as Retry from "effect-agent-runtime/middleware/Retry"
import * as Timeout from "effect-agent-runtime/middleware/Timeout"
import { Faults, ScriptedLlm, Simulation } from "effect-agent-runtime/testing"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import { mutants } from "../prove/mutants.ts"
import * as Scenarios from "../prove/scenarios.ts"
import type { Proof } from "../prove/simulation.ts"
import { calculate, MathTools, MathToolsLayer } from "../support/calculator.ts"

/** What a program that only notes things has noted. */
const noting = (program: (note: (what: string) => Effect.Effect<void>) => Effect.Effect<void>): Effect.Effect<string> =>
  Effect.suspend(() => {
    const notes: Array<string> = []
    return Effect.as(
      program((what) => Effect.sync(() => void notes.push(what))),
      notes
    )
  }).pipe(Effect.map((notes) => notes.join(" ")))

const all = (...effects: ReadonlyArray<Effect.Effect<void>>) =>
  Effect.all(effects, { concurrency: "unbounded", discard: true })

/** What comes of a program, over some seeds. */
const results = <A, E>(program: Effect.Effect<A, E>, seeds = 100) =>
  Effect.map(
    Effect.forEach(Array.from({ length: seeds }).keys(), (seed) => Simulation.run(program, { seed })),
    (outcomes) => new Set(outcomes.map(({ exit }) => (Exit.isSuccess(exit) ? exit.value : Cause.pretty(exit.cause))))
  )

const stuck = ({ exit }: Simulation.Outcome<unknown, unknown>) => {
  const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
  return error instanceof Simulation.Stuck ? error.why : undefined
}

describe("run", () => {
  it.effect("lets ready fibers go in any order, and in the default order without a decision", () =>
    Effect.gen(function* () {
      const program = noting((note) =>
        Effect.flatMap(
          Effect.forEach(["a", "b", "c"], (what) => Effect.forkChild(note(what))),
          Fiber.awaitAll
        )
      )
      assert.strictEqual((yield* results(program)).size, 6)
      const { exit, schedule } = yield* Simulation.run(program, { schedule: [] })
      assert.deepStrictEqual([exit, schedule], [Exit.succeed("a b c"), []])
    })
  )

  it.effect("lets a fiber pause between any two operations", () =>
    Effect.gen(function* () {
      const program = noting((note) => all(Effect.andThen(note("a"), note("b")), note("c")))
      assert.deepStrictEqual(yield* results(program), new Set(["a b c", "a c b", "c a b"]))
    })
  )

  it.effect("passes time only when nothing is ready, and then at once", () =>
    Effect.gen(function* () {
      const program = noting((note) =>
        all(
          Effect.delay(note("2 h"), "2 hours"),
          Effect.delay(note("1 h"), "1 hour"),
          Effect.andThen(Effect.yieldNow, note("now"))
        )
      )
      const { duration, exit } = yield* Simulation.run(program)
      assert.deepStrictEqual(exit, Exit.succeed("now 1 h 2 h"))
      assert.strictEqual(Duration.toHours(duration), 2)
    })
  )

  it.effect("wakes those who sleep until the same time in any order", () =>
    Effect.gen(function* () {
      const asleep = (millis: number) => Effect.sleep(Duration.millis(millis))
      const program = noting((note) =>
        all(Effect.andThen(asleep(5), note("a")), Effect.andThen(asleep(2).pipe(Effect.andThen(asleep(3))), note("b")))
      )
      assert.deepStrictEqual(yield* results(program), new Set(["a b", "b a"]))
    })
  )

  it.effect("does not wait for a sleeper that was interrupted", () =>
    Effect.gen(function* () {
      const program = Effect.andThen(Effect.timeoutOption(Effect.sleep("1 hour"), "1 second"), Clock.currentTimeMillis)
      const { duration, exit } = yield* Simulation.run(program)
      assert.deepStrictEqual([exit, Duration.toMillis(duration)], [Exit.succeed(1000), 1000])
    })
  )

  it.effect("fails a program in which everybody waits for somebody else", () =>
    Effect.gen(function* () {
      const program = Effect.gen(function* () {
        const never = yield* Deferred.make<void>()
        yield* all(Deferred.await(never), Effect.never)
      })
      assert.strictEqual(stuck(yield* Simulation.run(program)), "deadlock")
      assert.strictEqual(stuck(yield* Simulation.run(Effect.sleep(Duration.infinity))), "deadlock")
    })
  )

  it.effect("fails a program that goes on and on, asleep or not", () =>
    Effect.gen(function* () {
      for (const step of [Effect.yieldNow, Effect.sleep("1 day")]) {
        const outcome = yield* Simulation.run(Effect.forever(step), { maxSteps: 1000 })
        assert.strictEqual(stuck(outcome), "step limit")
        assert.strictEqual(outcome.steps, 1000)
      }
    })
  )

  it.effect("lets a program that it gives up release what it holds", () =>
    Effect.gen(function* () {
      let released = 0
      const program = Effect.onExit(Effect.never, () => Effect.sync(() => released++))
      yield* Simulation.run(program)
      assert.strictEqual(released, 1)
    })
  )

  it.effect("waits for promises that depend on nothing outside", () =>
    Effect.gen(function* () {
      const promised = Effect.promise(async () => {
        for (let i = 0; i < 20; i++) await Promise.resolve()
        return "kept"
      })
      const { duration, exit } = yield* Simulation.run(Effect.timeout(promised, "1 second"))
      assert.deepStrictEqual([exit, Duration.toMillis(duration)], [Exit.succeed("kept"), 0])
    })
  )

  it.effect("counts the fibers that outlive the program", () =>
    Effect.gen(function* () {
      const aliveAfter = (effect: Effect.Effect<void>) =>
        Effect.map(Simulation.run(Effect.forkDetach(effect)), ({ alive }) => alive)
      assert.strictEqual(yield* aliveAfter(Effect.sleep("1 second")), 1)
      assert.strictEqual(yield* aliveAfter(Effect.yieldNow), 0)
    })
  )

  it.effect("gives other random numbers for another seed, and the same for the same, whatever the schedule", () =>
    Effect.gen(function* () {
      const program = Effect.all([Random.next, Random.nextInt, Random.next])
      const first = yield* Simulation.run(program, { seed: 7 })
      assert.deepStrictEqual((yield* Simulation.run(program, { seed: 7, schedule: [] })).exit, first.exit)
      assert.notDeepEqual((yield* Simulation.run(program, { seed: 8 })).exit, first.exit)
      assert.strictEqual((yield* results(Random.next, 1000)).size, 1000)
      for (const next of yield* results(Random.next, 1000)) assert.isTrue(Number(next) >= 0 && Number(next) < 1)
    })
  )

  it.effect("makes errors without stack traces, which no seed determines", () =>
    Effect.gen(function* () {
      const { exit } = yield* Simulation.run(Effect.sync(() => new Error("no").stack))
      assert.deepStrictEqual(exit, Exit.succeed("Error: no"))
      assert.include(new Error("yes").stack, "Simulation.test")
    })
  )

  it.effect("records the events of a hub that the program can watch, too", () =>
    Effect.gen(function* () {
      const program = Effect.scoped(
        Effect.gen(function* () {
          const { take } = yield* EventHub.subscribe()
          yield* Agent.run(Agent.make("a"), "hi")
          return (yield* take).length
        })
      ).pipe(Effect.provide(ScriptedLlm.layer(["hello"])))
      const { events, exit } = yield* Simulation.run(program)
      assert.strictEqual(events[0]!._tag, "RunStarted")
      assert.deepStrictEqual(exit, Exit.succeed(events.length))
    })
  )
})

describe("the same seed", () => {
  it.effect("gives the same bytes again, after many others, and so does its schedule", () =>
    Effect.gen(function* () {
      const first = yield* Scenarios.digest(20)
      assert.strictEqual(yield* Scenarios.unfaithful(100), 0)
      assert.strictEqual(yield* Scenarios.digest(20), first)
    })
  )

  it.effect("takes what it decided back from JSON", () =>
    Effect.gen(function* () {
      const { trace } = Scenarios.scenarios[0]!
      const first = yield* trace(6)
      assert.isAbove(first.schedule.length, 100)
      assert.deepStrictEqual(yield* trace(6, JSON.parse(JSON.stringify(first.schedule))), first)
    })
  )
})

/** Two fibers that add one to the same number, each in two operations. */
const lostUpdate = Effect.gen(function* () {
  let count = 0
  const add = Effect.flatMap(
    Effect.sync(() => count),
    (read) => Effect.sync(() => void (count = read + 1))
  )
  yield* all(add, add, add)
  return count
})

const counts: Simulation.Invariant<number, never> = ({ exit }) =>
  Exit.isSuccess(exit) && exit.value === 3 ? [] : [`counted ${Exit.isSuccess(exit) ? exit.value : "nothing"}`]

describe("check", () => {
  it.effect("finds a schedule that breaks an invariant, and shrinks it to what matters", () =>
    Effect.gen(function* () {
      const result = yield* Simulation.check(lostUpdate, counts, { seeds: 100 })
      if (result._tag === "Passed") return assert.fail("not found")
      const { drawn, outcome, reproducible, seed, violations } = result
      assert.isTrue(reproducible)
      assert.isAbove(drawn.length, 1)
      assert.deepStrictEqual(
        outcome.schedule.map(({ _tag }) => _tag),
        ["Paused"]
      )
      assert.lengthOf(violations, 1)
      const again = yield* Simulation.run(lostUpdate, { seed, schedule: outcome.schedule })
      assert.deepStrictEqual(counts(again), violations)
      const report = Simulation.report(result)
      assert.match(report, /^Falsified by seed \d+, the \d+\. tried:\n {2}counted 2\n1 decisions lead there/)
      assert.match(report, /\n {2}fiber \d pauses before its operation \d+\n0 events in 0/)
      assert.include(report, `{ seed: ${seed}, schedule: [{"_tag":"Paused",`)
    })
  )

  it.effect("passes what no schedule breaks, and begins at the seed it is told to", () =>
    Effect.gen(function* () {
      const never = yield* Simulation.check(lostUpdate, () => [], { seeds: 10 })
      assert.deepStrictEqual(never, { _tag: "Passed", seeds: 10 })
      const result = yield* Simulation.check(lostUpdate, () => ["always"], { seeds: 10, firstSeed: 5 })
      assert.include(result, { _tag: "Falsified", seed: 5, seeds: 1 })
    })
  )

  it.effect("shrinks no longer than it may", () =>
    Effect.gen(function* () {
      const options = { seeds: 1, firstSeed: 4 }
      const [whole, shrunk] = yield* Effect.all(
        [0, 1000].map((maxReplays) => Simulation.check(lostUpdate, () => ["always"], { ...options, maxReplays }))
      )
      if (whole?._tag !== "Falsified" || shrunk?._tag !== "Falsified") return assert.fail("not found")
      assert.deepStrictEqual(whole.outcome.schedule, whole.drawn)
      assert.deepStrictEqual(shrunk.outcome.schedule, [])
    })
  )

  it.effect("says when a program depends on what is not simulated", () =>
    Effect.gen(function* () {
      let runs = 0
      const program = Effect.sync(() => ++runs)
      const result = yield* Simulation.check(
        program,
        ({ exit }) => (Exit.isSuccess(exit) && exit.value === 3 ? ["3"] : []),
        {
          seeds: 10
        }
      )
      if (result._tag === "Passed") return assert.fail("not found")
      assert.isFalse(result.reproducible)
      assert.include(Simulation.report(result), "It cannot be reproduced")
    })
  )
})

const mathBot = Agent.make("math-bot", { toolkit: MathTools })
const script = [[calculate("add", 1, 1), calculate("add", 1, 2)], "done"] as const
const asking = Agent.run(mathBot, "Add!")

describe("lawsOf", () => {
  const withstanding = asking.pipe(
    Effect.provide([
      Faults.inject(MathToolsLayer),
      Faults.inject(ScriptedLlm.layer(script)).pipe(Llm.withMiddleware(Timeout.make(), Retry.make()))
    ])
  )

  it.effect("hold for an agent, whatever goes wrong in whatever order", () =>
    Effect.gen(function* () {
      const options = { seeds: 300, faults: Faults.all }
      const result = yield* Simulation.check(withstanding, Simulation.lawsOf(mathBot), options)
      assert.strictEqual(result._tag, "Passed", result._tag === "Falsified" ? Simulation.report(result) : "")
    })
  )

  it.effect("hold for an agent, whatever the model calls", () =>
    Effect.gen(function* () {
      const program = asking.pipe(Effect.provide([MathToolsLayer, Simulation.layerModel(MathTools)]))
      const result = yield* Simulation.check(program, Simulation.lawsOf(mathBot), { seeds: 300 })
      assert.strictEqual(result._tag, "Passed", result._tag === "Falsified" ? Simulation.report(result) : "")
      const { events } = yield* Simulation.run(program, { seed: 1 })
      const { events: others } = yield* Simulation.run(program, { seed: 2 })
      assert.notStrictEqual(Simulation.log(events), Simulation.log(others))
    })
  )

  it.effect("are broken by a model that nobody stops when it hangs, and by what outlives the run", () =>
    Effect.gen(function* () {
      const unprotected = asking.pipe(Effect.provide([MathToolsLayer, Faults.inject(ScriptedLlm.layer(script))]))
      const hung = yield* Simulation.check(unprotected, Simulation.lawsOf(mathBot), {
        seeds: 100,
        faults: { model: 1 }
      })
      if (hung._tag === "Passed") return assert.fail("not found")
      assert.match(hung.violations.join(), /^The program did not end \(deadlock/)
      assert.deepStrictEqual(hung.outcome.schedule, [{ _tag: "ModelFault", call: 1, fault: { _tag: "Hangs" } }])

      const leaking = Effect.andThen(Effect.forkDetach(Effect.sleep("1 second")), withstanding)
      const result = yield* Simulation.run(leaking, { schedule: [] })
      assert.deepStrictEqual(Simulation.lawsOf(mathBot)(result), ["1 fibers outlive the program"])
    })
  )
})

describe("the proof", () => {
  it.live(
    "finds each planted mistake within 1000 seeds and nothing else, and does the same in another process",
    () =>
      Effect.gen(function* () {
        const prover = fileURLToPath(new URL("../prove/simulation.ts", import.meta.url))
        const { stdout } = yield* Effect.promise(() =>
          promisify(execFile)(process.execPath, [prover, "--seeds", "1000", "--json"])
        )
        const proof = JSON.parse(stdout) as Proof
        assert.deepStrictEqual(
          proof.mutants.flatMap(({ found, name }) => (found === undefined ? [] : [name])),
          mutants.map(({ name }) => name)
        )
        assert.deepStrictEqual(
          proof.scenarios.map(({ found }) => found).filter((found) => found !== undefined),
          []
        )
        assert.strictEqual(proof.digests[0], proof.digests[1])
        assert.strictEqual(yield* Scenarios.digest(100), proof.digests[0])
        assert.strictEqual(proof.unfaithful, 0)
      }),
    120_000
  )
})
