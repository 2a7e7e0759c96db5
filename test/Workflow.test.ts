import { assert, describe, it } from "@effect/vitest"
import * as Agent from "effect-agent-runtime/Agent"
import * as History from "effect-agent-runtime/History"
import { Llm } from "effect-agent-runtime/Llm"
import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
import * as Workflow from "effect-agent-runtime/Workflow"
import type { WorkflowRun } from "effect-agent-runtime/WorkflowRun"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { TestClock } from "effect/testing"

class Broken extends Schema.TaggedError<Broken>()("Broken", { at: Schema.Unknown }) {}

const increment = Workflow.transform("increment", (n: number) => n + 1)
const double = Workflow.effect("double", (n: number) => Effect.as(Effect.yieldNow, n * 2))
const broken = Workflow.effect("broken", (at: unknown) => new Broken({ at }))

/** Fails as often as it says, then gives its input. */
const flaky = (failures: number) => {
  let calls = 0
  const step = Workflow.effect("flaky", (n: number) =>
    Effect.suspend(() => (++calls <= failures ? Effect.fail(new Broken({ at: calls })) : Effect.succeed(n)))
  )
  return { step, calls: () => calls }
}

const outputOf = <In, Out, E, R>(workflow: Workflow.Workflow<In, Out, E, R>, input: In) =>
  Effect.map(Workflow.run(workflow, input), ({ output }) => output)

const places = (run: WorkflowRun) =>
  run.steps.map(({ iterations, path, status }) => [...path, ...iterations, status].join(" "))

describe("make", () => {
  it.effect("hands the output of each step to the next", () =>
    Effect.gen(function* () {
      const { output, run } = yield* Workflow.run(Workflow.make("sum", increment, double), 1)
      assert.strictEqual(output, 4)
      assert.deepStrictEqual(
        run.steps.map(({ index, input, name, output: put, status, type }) => [index, name, type, input, put, status]),
        [
          [0, "increment", "transform", 1, 2, "completed"],
          [1, "double", "effect", 2, 4, "completed"]
        ]
      )
    })
  )

  it.effect("puts out what it takes without steps", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* outputOf(Workflow.make<number, never, never>("nothing"), 5), 5)
    })
  )

  it.effect("runs a workflow twice with the same result", () =>
    Effect.gen(function* () {
      const workflow = Workflow.make("twice", increment, double)
      assert.strictEqual(yield* outputOf(workflow, 1), 4)
      assert.strictEqual(yield* outputOf(workflow, 1), 4)
    })
  )

  it("refuses two steps of one name, and none", () => {
    assert.throws(() => Workflow.make("w", increment, increment), "has two steps named 'increment'")
    assert.throws(() => Workflow.make("", increment), "has no name")
    assert.throws(() => Workflow.parallel("p", { a: increment, b: increment }), "has two steps named 'increment'")
  })

  it.effect("records the steps of nested workflows in the order in which they began", () =>
    Effect.gen(function* () {
      const workflow = Workflow.make(
        "outer",
        increment,
        Workflow.make("inner", double, Workflow.make("deep", increment))
      )
      const { output, run } = yield* Workflow.run(workflow, 1)
      assert.strictEqual(output, 5)
      assert.deepStrictEqual(places(run), [
        "outer increment completed",
        "outer inner completed",
        "outer inner double completed",
        "outer inner deep completed",
        "outer inner deep increment completed"
      ])
    })
  )
})

describe("agent", () => {
  it.effect("takes the prompt and puts out the answer as text, not in an envelope", () =>
    Effect.gen(function* () {
      const llm = ScriptedLlm.make(["first answer", "second answer"])
      const workflow = Workflow.make("w", Workflow.agent(Agent.make("first")), Workflow.agent(Agent.make("second")))
      const { output, run } = yield* Workflow.run(workflow, "question").pipe(Effect.provideService(Llm, llm))
      assert.strictEqual(output, "second answer")
      assert.deepStrictEqual(History.toMessages(llm.requests[1]!.history), [{ role: "user", content: "first answer" }])
      assert.strictEqual(run.usage.modelCalls, 2)
    })
  )

  it.effect("puts out what the output schema makes of the answer, and records the JSON", () =>
    Effect.gen(function* () {
      const dated = Agent.make("dated", { output: Schema.Struct({ at: Schema.Date }) })
      const workflow = Workflow.make(
        "w",
        Workflow.agent(dated),
        Workflow.transform("year", ({ at }) => at.getUTCFullYear())
      )
      const { output, run } = yield* Workflow.run(workflow, "When?").pipe(
        Effect.provide(ScriptedLlm.layer(['{"at":"2026-01-02T00:00:00.000Z"}']))
      )
      assert.strictEqual(output, 2026)
      assert.deepStrictEqual(run.steps[0]!.output, { at: "2026-01-02T00:00:00.000Z" })
      assert.deepStrictEqual(run.steps[1]!.input, { at: "2026-01-02T00:00:00.000Z" })
    })
  )

  it.effect("fails with InvalidInput when there is nothing to answer", () =>
    Effect.gen(function* () {
      const llm = ScriptedLlm.make([], "never")
      const asked = Workflow.agent(Agent.make("asked"), { prompt: (_: null) => undefined })
      const reason = yield* Workflow.run(asked, null).pipe(
        Effect.provideService(Llm, llm),
        Effect.catchReason("WorkflowError", "AgentError", ({ reason }) => Effect.succeed(reason._tag))
      )
      assert.strictEqual(reason, "InvalidInput")
      assert.lengthOf(llm.requests, 0)
    })
  )
})

describe("branch", () => {
  const sign = Workflow.branch("sign", (n: number) => (n < 0 ? "negative" : "other"), {
    negative: Workflow.transform("negate", (n) => -n),
    other: increment
  })

  it.effect("takes the branch that the data says, and records which", () =>
    Effect.gen(function* () {
      const { output, run } = yield* Workflow.run(sign, -3)
      assert.strictEqual(output, 3)
      assert.strictEqual(run.steps[0]!.branch, "negative")
      assert.strictEqual(yield* outputOf(sign, 3), 4)
    })
  )

  it.effect("takes the branch that an agent says", () =>
    Effect.gen(function* () {
      const router = Agent.make("router", { output: Schema.Literals(["code", "prose"]) })
      const routed = Workflow.route("route", Workflow.agent(router), {
        code: Workflow.agent(Agent.make("coder")),
        prose: Workflow.agent(Agent.make("poet"))
      })
      const llm = ScriptedLlm.make(['"prose"', "a poem"])
      const { output, run } = yield* Workflow.run(routed, "write").pipe(Effect.provideService(Llm, llm))
      assert.strictEqual(output, "a poem")
      assert.deepStrictEqual(
        run.steps.map(({ name }) => name),
        ["route", "router", "poet"]
      )
    })
  )
})

describe("parallel and map", () => {
  it.effect("give all steps the input, and name their outputs", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* outputOf(Workflow.parallel("both", { a: increment, b: double }), 5), {
        a: 6,
        b: 10
      })
    })
  )

  it.effect("map in order, and no more at a time than allowed", () =>
    Effect.gen(function* () {
      let running = 0
      let most = 0
      const slow = Workflow.effect("slow", (n: number) =>
        Effect.gen(function* () {
          most = Math.max(most, ++running)
          yield* Effect.sleep(100 - n)
          running--
          return n
        })
      )
      const input = [1, 2, 3, 4, 5, 6, 7]
      const fiber = yield* Effect.forkChild(outputOf(Workflow.map("all", slow, { concurrency: 3 }), input))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Fiber.join(fiber), input)
      assert.strictEqual(most, 3)
    })
  )

  it.effect("interrupt the others when one fails", () =>
    Effect.gen(function* () {
      const hanging = Latch.makeUnsafe(false)
      const hangs = Workflow.effect("hangs", () => Effect.andThen(hanging.open, Effect.never))
      const fails = Workflow.effect("fails", (at) => Effect.andThen(hanging.await, Effect.fail(new Broken({ at }))))
      const both = Workflow.parallel("both", { a: hangs, b: fails })
      const { run } = yield* Effect.flip(Workflow.run(both, 1))
      assert.deepStrictEqual(places(run), ["both failed", "both hangs interrupted", "both fails failed"])
    })
  )
})

describe("loop", () => {
  it.effect("repeats until the condition holds", () =>
    Effect.gen(function* () {
      const workflow = Workflow.loop("grow", increment, { until: (n) => n >= 5 })
      const { output, run } = yield* Workflow.run(workflow, 2)
      assert.strictEqual(output, 5)
      assert.deepStrictEqual(
        run.steps.slice(1).map(({ iterations }) => iterations),
        [[0], [1], [2]]
      )
    })
  )

  it.effect("fails at its bound", () =>
    Effect.gen(function* () {
      const workflow = Workflow.loop("grow", increment, { until: () => false })
      const error = yield* Effect.flip(Workflow.run(workflow, 0))
      assert.strictEqual(error.reason._tag, "IterationLimitReached")
      assert.strictEqual(error.reason.limit, 10)
      assert.strictEqual(error.step?.name, "grow")
    })
  )
})

describe("retry", () => {
  it.effect("tries again as often as it may", () =>
    Effect.gen(function* () {
      const twice = flaky(2)
      const { output, run } = yield* Workflow.run(Workflow.retry("again", twice.step), 7)
      assert.strictEqual(output, 7)
      assert.deepStrictEqual(places(run), [
        "again completed",
        "again flaky 0 failed",
        "again flaky 1 failed",
        "again flaky 2 completed"
      ])
      const thrice = flaky(3)
      const error = yield* Effect.flip(Workflow.run(Workflow.retry("again", thrice.step), 7))
      assert.strictEqual(error.reason.at, 3)
      assert.deepStrictEqual(error.step?.iterations, [2])
    })
  )

  it.effect("does not try again what it is told not to, and waits as it is told", () =>
    Effect.gen(function* () {
      const once = flaky(1)
      yield* Effect.flip(Workflow.run(Workflow.retry("again", once.step, { while: ({ at }) => at !== 1 }), 7))
      assert.strictEqual(once.calls(), 1)
      const waiting = flaky(1)
      const patient = Workflow.retry("again", waiting.step, { schedule: Schedule.spaced("1 second") })
      const fiber = yield* Effect.forkChild(Workflow.run(patient, 7))
      yield* TestClock.adjust("1 second")
      const { run } = yield* Fiber.join(fiber)
      assert.deepStrictEqual(
        run.steps.map(({ startedAt }) => startedAt),
        [0, 0, 1000]
      )
      assert.deepStrictEqual(
        run.steps.map(({ durationMillis }) => durationMillis),
        [1000, 0, 0]
      )
    })
  )
})

describe("fallback", () => {
  it.effect("tries one after the other, and fails as the last does", () =>
    Effect.gen(function* () {
      const { output, run } = yield* Workflow.run(Workflow.fallback("some", broken, increment, double), 1)
      assert.strictEqual(output, 2)
      assert.deepStrictEqual(places(run), ["some completed", "some broken failed", "some increment completed"])
      const error = yield* Effect.flip(Workflow.run(Workflow.fallback("none", flaky(9).step, broken), 3))
      assert.strictEqual(error.reason.at, 3)
      assert.strictEqual(error.step?.name, "broken")
    })
  )
})

describe("refine", () => {
  const longer = (onLimit?: "fail" | "keepBest") =>
    Workflow.refine(
      "longer",
      Workflow.transform("produce", (text: string) => `${text}!`),
      {
        judge: Workflow.transform("judge", ({ output }) => ({
          accepted: output.length >= 5,
          feedback: "longer",
          score: output.length
        })),
        revise: ({ output }) => output,
        onLimit: onLimit ?? "fail"
      }
    )

  it.effect("revises until the judge accepts", () =>
    Effect.gen(function* () {
      const { output, run } = yield* Workflow.run(longer(), "abc")
      assert.strictEqual(output, "abc!!")
      assert.deepStrictEqual(places(run), [
        "longer completed",
        "longer produce 0 completed",
        "longer judge 0 completed",
        "longer produce 1 completed",
        "longer judge 1 completed"
      ])
    })
  )

  it.effect("fails at its bound with what the judge said last, or keeps the best", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Workflow.run(longer(), ""))
      assert.deepInclude(error.reason, { _tag: "AnswerRejected", rounds: 3, feedback: "longer" })
      assert.strictEqual(yield* outputOf(longer("keepBest"), ""), "!!!")
    })
  )

  it.effect("keeps the answer with the highest score", () =>
    Effect.gen(function* () {
      const scores = [1, 3, 2]
      const workflow = Workflow.refine("best", increment, {
        judge: Workflow.transform("judge", ({ output }) => ({
          accepted: false,
          feedback: "",
          score: scores[output - 1] ?? 0
        })),
        revise: ({ output }) => output,
        onLimit: "keepBest"
      })
      assert.strictEqual(yield* outputOf(workflow, 0), 2)
    })
  )
})
