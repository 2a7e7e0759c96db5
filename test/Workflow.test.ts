import { assert, describe, it } from "@effect/vitest"
import * as Agent from "effect-agent-runtime/Agent"
import * as EventHub from "effect-agent-runtime/EventHub"
import * as History from "effect-agent-runtime/History"
import type { LlmRequest } from "effect-agent-runtime/Llm"
import { Llm } from "effect-agent-runtime/Llm"
import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
import * as Simulation from "effect-agent-runtime/testing/Simulation"
import * as Workflow from "effect-agent-runtime/Workflow"
import { RecordMismatch } from "effect-agent-runtime/WorkflowError"
import type { RunEvent } from "effect-agent-runtime/WorkflowEvent"
import * as WorkflowEvent from "effect-agent-runtime/WorkflowEvent"
import type { StepShape } from "effect-agent-runtime/WorkflowRun"
import { WorkflowRun } from "effect-agent-runtime/WorkflowRun"
import * as AiError from "effect/ai/AiError"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
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

describe("an interruption", () => {
  it.effect("leaves no run and no step open, at whatever moment it comes", () =>
    Effect.gen(function* () {
      const inner = Workflow.make(
        "inner",
        double,
        Workflow.effect("slow", (n: number) => Effect.delay(Effect.succeed(n), 1))
      )
      const program = Workflow.run(Workflow.make("outer", inner, Workflow.parallel("both", { a: inner, b: double })), 1)
      for (const fiber of [1, 2, 3, 4]) {
        for (let operation = 1; operation <= 100; operation++) {
          const schedule = [{ _tag: "Paused", fiber, operation } as const, { _tag: "Interrupted", step: 2 } as const]
          const { events } = yield* Simulation.run(program, { schedule })
          for (const run of Map.groupBy(events, ({ runId }) => runId).values()) {
            const tags = run.map(({ _tag }) => _tag.replace(/Completed|Interrupted/, "Ended"))
            const where = `before operation ${operation} of fiber ${fiber}`
            assert.deepStrictEqual([tags[0], tags.at(-1)], ["WorkflowStarted", "WorkflowEnded"], where)
            assert.strictEqual(
              tags.filter((tag) => tag === "StepStarted").length,
              tags.filter((tag) => tag === "StepEnded").length,
              where
            )
          }
        }
      }
    })
  )
})

describe("an agent that is interrupted before it begins", () => {
  it.effect("has said nothing", () =>
    Effect.gen(function* () {
      const workflow = Workflow.make("w", Workflow.agent(Agent.make("a")))
      for (const conversation of ["isolated", "shared"] as const) {
        const program = Workflow.run(Workflow.withConversation(workflow, conversation), "hi").pipe(
          Effect.provide(ScriptedLlm.layer(["hello"]))
        )
        for (let operation = 1; operation <= 200; operation++) {
          const schedule = [{ _tag: "Paused", fiber: 1, operation } as const, { _tag: "Interrupted", step: 2 } as const]
          const { exit } = yield* Simulation.run(program, { schedule })
          const isClean = Exit.isSuccess(exit) || Cause.hasInterruptsOnly(exit.cause)
          assert.isTrue(isClean, `before operation ${operation}, ${conversation}: ${String(exit)}`)
        }
      }
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

const rate = AiError.make({ module: "test", method: "generate", reason: new AiError.RateLimitError({}) })

/** What a request says, message by message. */
const said = ({ history }: LlmRequest) =>
  Array.from(history, (message) => [
    message.role,
    typeof message.content === "string"
      ? message.content
      : message.content.map((part) => ("text" in part ? part.text : part.type)).join()
  ])

const Search = Tool.make("search", { parameters: Schema.Struct({ for: Schema.String }), success: Schema.String })
const Tools = Toolkit.make(Search)
const ToolsLayer = Tools.toLayer({ search: ({ for: words }) => Effect.succeed(`found ${words}`) })
const searching = (words: string): ScriptedLlm.Turn => ({ tool: "search", params: { for: words } })

const codec = Schema.toCodecJson(WorkflowRun)
const throughJson = (run: WorkflowRun): WorkflowRun =>
  Schema.decodeUnknownSync(codec)(JSON.parse(JSON.stringify(Schema.encodeSync(codec)(run))))

describe("a conversation", () => {
  const step = (name: string) => Workflow.agent(Agent.make(name, { instructions: `I am ${name}.` }))

  it.effect("is each agent's own by default", () =>
    Effect.gen(function* () {
      const llm = ScriptedLlm.make(["one", "two"])
      const { history } = yield* Effect.provideService(
        Workflow.run(Workflow.make("w", step("a"), step("b")), "hi"),
        Llm,
        llm
      )
      assert.deepStrictEqual(llm.requests.map(said), [[["user", "hi"]], [["user", "one"]]])
      assert.strictEqual(history.length, 0)
    })
  )

  it.effect("that is shared shows the next agent what was said, the answer once, by its own instructions", () =>
    Effect.gen(function* () {
      const llm = ScriptedLlm.make(["one", "two"])
      const workflow = Workflow.make("w", step("a"), step("b")).pipe(Workflow.withConversation("shared"))
      const { history } = yield* Effect.provideService(Workflow.run(workflow, "hi"), Llm, llm)
      const [, second] = llm.requests
      assert.deepStrictEqual(said(second!), [
        ["user", "hi"],
        ["assistant", "one"],
        ["user", "Go on from the last message, by your own instructions."]
      ])
      assert.strictEqual(second!.instructions, "I am b.")
      assert.strictEqual(history.length, 4)
    })
  )

  it.effect("goes on from one that is given, and takes a prompt in place of the answer", () =>
    Effect.gen(function* () {
      const llm = ScriptedLlm.make(["two"])
      const shared = Workflow.agent(Agent.make("a"), { prompt: (_: null) => "And now?" })
      const history = History.appendAssistant(History.appendUser(History.empty, "hi"), [{ type: "text", text: "one" }])
      yield* Effect.provideService(Workflow.run(shared, null, { history }), Llm, llm)
      assert.deepStrictEqual(said(llm.requests[0]!), [
        ["user", "hi"],
        ["assistant", "one"],
        ["user", "And now?"]
      ])
    })
  )

  it.effect("keeps what both of two agents say that run at the same time", () =>
    Effect.gen(function* () {
      const llm = ScriptedLlm.make([], ({ instructions }) =>
        Effect.as(Effect.yieldNow, instructions === "I am c." ? "three" : `by ${instructions}`)
      )
      const workflow = Workflow.make(
        "w",
        Workflow.parallel("both", { a: step("a"), b: step("b") }),
        Workflow.transform("ask", () => "which?"),
        step("c")
      ).pipe(Workflow.withConversation("shared"))
      yield* Effect.provideService(Workflow.run(workflow, "hi"), Llm, llm)
      assert.deepStrictEqual(llm.requests.slice(0, 2).map(said), [[["user", "hi"]], [["user", "hi"]]])
      assert.deepStrictEqual(said(llm.requests[2]!), [
        ["user", "hi"],
        ["assistant", "by I am a."],
        ["user", "hi"],
        ["assistant", "by I am b."],
        ["user", "which?"]
      ])
    })
  )

  it.effect("keeps what an agent did that failed, and does not ask the open question again", () =>
    Effect.gen(function* () {
      const llm = ScriptedLlm.make([searching("tea"), rate, "it is tea"])
      const shared = Workflow.make(
        "w",
        Workflow.fallback(
          "some",
          Workflow.agent(Agent.make("first", { toolkit: Tools })),
          Workflow.agent(Agent.make("second", { toolkit: Tools }))
        )
      ).pipe(Workflow.withConversation("shared"))
      const { output } = yield* Workflow.run(shared, "tea?").pipe(
        Effect.provideService(Llm, llm),
        Effect.provide(ToolsLayer)
      )
      assert.strictEqual(output, "it is tea")
      assert.deepStrictEqual(said(llm.requests[2]!), [
        ["user", "tea?"],
        ["assistant", "tool-call"],
        ["tool", "tool-result"]
      ])
    })
  )

  const forked = (merge: "append" | "discard") =>
    Workflow.make(
      "w",
      step("a"),
      Workflow.make("aside", step("b")).pipe(Workflow.withConversation({ forked: merge })),
      Workflow.transform("ask", () => "and?"),
      step("c")
    ).pipe(Workflow.withConversation("shared"))

  it.effect("that is forked begins with what was said, and ends in it or not", () =>
    Effect.gen(function* () {
      for (const [merge, heard] of [
        ["append", 5],
        ["discard", 3]
      ] as const) {
        const llm = ScriptedLlm.make(["one", "two", "three"])
        yield* Effect.provideService(Workflow.run(forked(merge), "hi"), Llm, llm)
        assert.lengthOf(said(llm.requests[1]!), 3)
        assert.lengthOf(said(llm.requests[2]!), heard)
      }
    })
  )

  it.effect("that is forked ends in a summary, by an agent, which a resumed run does not make again", () =>
    Effect.gen(function* () {
      const summary = Agent.make("summarizer")
      const workflow = Workflow.make(
        "w",
        step("a"),
        Workflow.make("aside", step("b")).pipe(Workflow.withConversation({ forked: { summary } })),
        Workflow.transform("ask", () => "and?"),
        step("c")
      ).pipe(Workflow.withConversation("shared"))
      const llm = ScriptedLlm.make(["one", "two", "in short: two", rate])
      const error = yield* Workflow.run(workflow, "hi").pipe(Effect.provideService(Llm, llm), Effect.flip)
      const expected = [
        ["user", "hi"],
        ["assistant", "one"],
        ["user", "in short: two"],
        ["user", "and?"]
      ]
      assert.deepStrictEqual(said(llm.requests[3]!), expected)
      assert.strictEqual(error.run.usage.modelCalls, 3)
      const again = ScriptedLlm.make(["three"])
      const { output } = yield* Workflow.resume(workflow, throughJson(error.run)).pipe(
        Effect.provideService(Llm, again)
      )
      assert.strictEqual(output, "three")
      assert.deepStrictEqual(again.requests.map(said), [expected])
    })
  )

  it.effect("without anything said in it needs no summary", () =>
    Effect.gen(function* () {
      const summary = Agent.make("summarizer")
      const workflow = Workflow.make("w", increment.pipe(Workflow.withConversation({ forked: { summary } }))).pipe(
        Workflow.withConversation("shared")
      )
      const { run } = yield* Effect.provide(Workflow.run(workflow, 1), ScriptedLlm.layer([]))
      assert.strictEqual(run.output, 2)
    })
  )

  it.effect("is the same in a run that goes on, with what was tried in vain and without what was said aside", () =>
    Effect.gen(function* () {
      const tools = Agent.make("first", { toolkit: Tools })
      const workflow = Workflow.make(
        "w",
        Workflow.fallback("some", Workflow.agent(tools), step("second")),
        step("aside").pipe(Workflow.withConversation({ forked: "discard" })),
        step("alone").pipe(Workflow.withConversation("isolated")),
        Workflow.transform("ask", () => "and?"),
        step("last")
      ).pipe(Workflow.withConversation("shared"))
      const llm = ScriptedLlm.make([searching("tea"), rate, "one", "two", "three", rate])
      const error = yield* Workflow.run(workflow, "tea?").pipe(
        Effect.provideService(Llm, llm),
        Effect.provide(ToolsLayer),
        Effect.flip
      )
      const again = ScriptedLlm.make(["four"])
      const { history } = yield* Workflow.resume(workflow, throughJson(error.run)).pipe(
        Effect.provideService(Llm, again),
        Effect.provide(ToolsLayer)
      )
      assert.deepStrictEqual(again.requests.map(said), [said(llm.requests[5]!)])
      assert.deepStrictEqual(
        Array.from(history, ({ role }) => role),
        ["user", "assistant", "tool", "assistant", "user", "assistant"]
      )
    })
  )

  it.effect("is one through all levels of nested workflows that share it", () =>
    Effect.gen(function* () {
      const llm = ScriptedLlm.make(["one", "two", "three", "four"])
      const shared = Workflow.withConversation("shared")
      const inner = shared(Workflow.make("inner", step("c")))
      const middle = shared(Workflow.make("middle", step("b"), inner))
      const outer = shared(Workflow.make("outer", step("a"), middle, step("d")))
      const { history } = yield* Effect.provideService(Workflow.run(outer, "hi"), Llm, llm)
      const answers = (messages: ReturnType<typeof said>) =>
        messages.flatMap(([role, text]) => (role === "assistant" ? [text] : []))
      assert.deepStrictEqual(
        llm.requests.map((request) => answers(said(request))),
        [[], ["one"], ["one", "two"], ["one", "two", "three"]]
      )
      assert.strictEqual(history.length, 8)
    })
  )

  it.effect("of a nested workflow is its own unless it says otherwise", () =>
    Effect.gen(function* () {
      const llm = ScriptedLlm.make(["one", "two"])
      const workflow = Workflow.make("w", step("a"), Workflow.make("alone", step("b"))).pipe(
        Workflow.withConversation("shared")
      )
      yield* Effect.provideService(Workflow.run(workflow, "hi"), Llm, llm)
      assert.deepStrictEqual(said(llm.requests[1]!), [["user", "one"]])
    })
  )
})

describe("a failed run", () => {
  const nested = Workflow.make(
    "outer",
    increment,
    Workflow.make("middle", Workflow.make("inner", double, Workflow.agent(Agent.make("asked"), { prompt: String })))
  )

  it.effect("tells which step failed, with what input, and why, through all levels", () =>
    Effect.gen(function* () {
      const error = yield* Workflow.run(nested, 1).pipe(Effect.provide(ScriptedLlm.layer([rate])), Effect.flip)
      assert.strictEqual(error.reason._tag, "AgentError")
      assert.deepInclude(error.step, { index: 4, name: "asked", input: 4, status: "failed" })
      assert.deepStrictEqual(error.step?.path, ["outer", "middle", "inner", "asked"])
      assert.deepStrictEqual(
        error.step?.failure?.causes.map(({ tag }) => tag),
        ["ModelFailed", "AiError", "RateLimitError"]
      )
      assert.include(error.message, "outer / middle / inner / asked")
      assert.deepStrictEqual(places(error.run), [
        "outer increment completed",
        "outer middle failed",
        "outer middle inner failed",
        "outer middle inner double completed",
        "outer middle inner asked failed"
      ])
    })
  )

  it.effect("tells why a workflow failed that a step runs itself", () =>
    Effect.gen(function* () {
      const itself = Workflow.effect("itself", (n: number) => Workflow.run(nested, n))
      const { run } = yield* Workflow.run(Workflow.make("w", itself), 1).pipe(
        Effect.provide(ScriptedLlm.layer([rate])),
        Effect.flip
      )
      assert.strictEqual(run.failure?.tag, "WorkflowError")
      assert.include(run.failure?.message, "outer / middle / inner / asked")
      assert.deepStrictEqual(
        run.failure?.causes.map(({ tag }) => tag),
        ["AgentError", "ModelFailed", "AiError", "RateLimitError"]
      )
    })
  )

  it.effect("can be caught by what the step failed with", () =>
    Effect.gen(function* () {
      const caught = yield* Workflow.run(Workflow.make("w", increment, broken), 1).pipe(
        Effect.catchReason("WorkflowError", "Broken", ({ at }, { run }) => Effect.succeed([at, run.status]))
      )
      assert.deepStrictEqual(caught, [2, "failed"])
    })
  )

  it.effect("has its record also beside a defect", () =>
    Effect.gen(function* () {
      const cause = Cause.combine(Cause.fail(new Broken({ at: 1 })), Cause.die("oops"))
      const both = Workflow.effect("both", () => Effect.failCause(cause))
      const exit = yield* Effect.exit(Workflow.run(both, 1))
      assert.isTrue(Exit.hasDies(exit))
      assert.deepInclude(Option.getOrThrow(Exit.findErrorOption(exit)), { _tag: "WorkflowError", workflow: "both" })
    })
  )

  it.effect("of a function that throws is a defect, and its record is there", () =>
    Effect.gen(function* () {
      let record: WorkflowRun | undefined
      const throws = Workflow.transform("throws", (): number => {
        throw new Error("oops")
      })
      const exit = yield* Workflow.run(Workflow.make("w", increment, throws), 1, {
        onEnd: (run) => Effect.sync(() => (record = run))
      }).pipe(Effect.exit)
      assert.isTrue(Exit.hasDies(exit))
      assert.deepStrictEqual(record?.failure, { tag: "Defect", message: "oops", causes: [] })
      assert.strictEqual(record?.failedStep, 1)
    })
  )
})

describe("an output that does not match the schema of its step", () => {
  it.effect("is a defect of that step", () =>
    Effect.gen(function* () {
      const half = Workflow.transform("half", (n: number) => n / 2, { schema: Schema.Int })
      let record: WorkflowRun | undefined
      const exit = yield* Workflow.run(Workflow.make("w", half), 1, {
        onEnd: (run) => Effect.sync(() => (record = run))
      }).pipe(Effect.exit)
      assert.isTrue(Exit.hasDies(exit))
      assert.include(record?.failure?.message, "The output does not match its schema")
      assert.strictEqual(record?.steps[record.failedStep ?? -1]?.name, "half")
    })
  )
})

describe("a function that throws", () => {
  const oops = (): never => {
    throw new Error("oops")
  }
  const judge = Workflow.transform("judge", () => ({ accepted: false, feedback: "" }))
  const throwing: ReadonlyArray<readonly [string, Workflow.Workflow<number, unknown, unknown, Llm>]> = [
    ["an effect", Workflow.effect("s", oops)],
    ["a prompt", Workflow.agent(Agent.make("s"), { prompt: oops })],
    ["the choice of a branch", Workflow.branch("s", (_: number): "x" => oops(), { x: increment })],
    ["the condition of a loop", Workflow.loop("s", increment, { until: oops })],
    ["the condition of a retry", Workflow.retry("s", broken, { while: oops })],
    ["the revision of a refinement", Workflow.refine("s", increment, { judge, revise: oops })]
  ]

  it.effect.each(throwing)("for %s is a defect of that step", ([, workflow]) =>
    Effect.gen(function* () {
      let record: WorkflowRun | undefined
      const exit = yield* Workflow.run(Workflow.make("w", workflow), 1, {
        onEnd: (run) => Effect.sync(() => (record = run))
      }).pipe(Effect.provide(ScriptedLlm.layer([])), Effect.exit)
      assert.isTrue(Exit.hasDies(exit))
      assert.strictEqual(record?.failure?.message, "oops")
      assert.deepInclude(record?.steps[record.failedStep ?? -1], { name: "s", status: "failed" })
    })
  )
})

describe("an interrupted run", () => {
  it.effect("leaves a record, and nothing that runs, forked or not", () =>
    Effect.gen(function* () {
      const hanging = Latch.makeUnsafe(false)
      const ended: Array<string> = []
      const ending = (name: string) => Effect.onInterrupt(Effect.never, () => Effect.sync(() => void ended.push(name)))
      const forks = Workflow.effect("forks", () =>
        Effect.gen(function* () {
          yield* Effect.forkChild(ending("forked"), { startImmediately: true })
          yield* hanging.open
          return yield* ending("step")
        })
      )
      let record: WorkflowRun | undefined
      const fiber = yield* Workflow.run(Workflow.make("w", increment, forks), 1, {
        onEnd: (run) => Effect.sync(() => (record = run))
      }).pipe(Effect.forkChild)
      yield* hanging.await
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(ended.toSorted(), ["forked", "step"])
      assert.strictEqual(record?.status, "interrupted")
      assert.deepStrictEqual(places(record!), ["w increment completed", "w forks interrupted"])
    })
  )

  it.effect("does not let what a step forks outlive the step", () =>
    Effect.gen(function* () {
      let ended = false
      const forks = Workflow.effect("forks", (n: number) =>
        Effect.as(
          Effect.forkChild(
            Effect.onInterrupt(Effect.never, () => Effect.sync(() => (ended = true))),
            { startImmediately: true }
          ),
          n
        )
      )
      const seen = Workflow.transform("seen", () => ended)
      assert.isTrue(yield* outputOf(Workflow.make("w", forks, seen), 1))
    })
  )
})

describe("events", () => {
  const recorded = Effect.fnUntraced(function* <A, E, R>(effect: Effect.Effect<A, E, R>) {
    const events: Array<RunEvent> = []
    const hub = { ...(yield* EventHub.make()), publish: (batch: ReadonlyArray<RunEvent>) => void events.push(...batch) }
    yield* Effect.exit(Effect.provideService(effect, EventHub.EventHub, hub))
    return events
  })

  const tell = (events: ReadonlyArray<RunEvent>) =>
    events.map((event) => `${WorkflowEvent.componentId(event)} ${WorkflowEvent.type(event)}`)

  it.effect("are all there for names with colons, without holes", () =>
    Effect.gen(function* () {
      const workflow = Workflow.make("etl:daily", Workflow.agent(Agent.make("a:b")))
      const events = yield* recorded(Effect.provide(Workflow.run(workflow, "hi"), ScriptedLlm.layer(["ho"])))
      assert.deepStrictEqual(
        tell(events).filter((line) => !line.endsWith("progress")),
        [
          "etl:daily started",
          "etl:daily:step:0 started",
          "a:b started",
          "a:b:llm:1 started",
          "a:b:llm:1 completed",
          "a:b completed",
          "etl:daily:step:0 completed",
          "etl:daily completed"
        ]
      )
      for (const runId of new Set(events.map((event) => event.runId))) {
        const offsets = events.filter((event) => event.runId === runId).map(({ offset }) => offset)
        assert.deepStrictEqual(offsets, Array.from(offsets.keys()))
      }
    })
  )

  it.effect("of a failing step are in the original's order", () =>
    Effect.gen(function* () {
      const workflow = Workflow.make("w", Workflow.agent(Agent.make("a")))
      const events = yield* recorded(Effect.provide(Workflow.run(workflow, "hi"), ScriptedLlm.layer([rate])))
      assert.deepStrictEqual(
        tell(events).filter((line) => line.endsWith("failed")),
        ["a:llm:1 failed", "a failed", "w:step:0 failed", "w failed"]
      )
    })
  )

  it.effect("of a workflow in a branch reach the same hub, with the outer run as their parent", () =>
    Effect.gen(function* () {
      const inner = Workflow.make("inner", Workflow.agent(Agent.make("a"), { prompt: String }))
      const workflow = Workflow.make(
        "outer",
        Workflow.branch("which", (_: number) => "in", { in: inner })
      )
      const events = yield* recorded(Effect.provide(Workflow.run(workflow, 1), ScriptedLlm.layer(["ho"])))
      const idOf = (name: string) =>
        events.find((event) => ("workflow" in event ? event.workflow === name : event.agent === name))!
      const [outer, nested, agent] = ["outer", "inner", "a"].map(idOf)
      assert.deepStrictEqual([outer!.parentRunId, outer!.rootRunId], [undefined, undefined])
      assert.deepStrictEqual([nested!.parentRunId, nested!.rootRunId], [outer!.runId, outer!.runId])
      assert.deepStrictEqual([agent!.parentRunId, agent!.rootRunId], [nested!.runId, outer!.runId])
    })
  )

  it.effect("can be subscribed to by scope, type and agent", () =>
    Effect.gen(function* () {
      const hub = yield* EventHub.make()
      const steps = yield* hub.subscribe({ scopes: ["workflow_step"], types: ["completed"] })
      const agents = yield* hub.subscribe({ agent: "a" })
      yield* Workflow.run(Workflow.make("w", Workflow.agent(Agent.make("a"))), "hi").pipe(
        Effect.provide(ScriptedLlm.layer(["ho"])),
        Effect.provideService(EventHub.EventHub, hub)
      )
      assert.deepStrictEqual(
        (yield* steps.take).map(({ _tag }) => _tag),
        ["StepCompleted"]
      )
      assert.isFalse((yield* agents.take).some((event) => "workflow" in event))
    })
  )

  it.effect(
    "of one run are found by its id, with those of its agents and tools, and none of a run at the same time",
    () =>
      Effect.gen(function* () {
        const hub = yield* EventHub.make()
        const searcher = Workflow.agent(Agent.make("searcher", { toolkit: Tools }))
        const workflow = Workflow.make("outer", Workflow.make("inner", searcher))
        const found = yield* Effect.forEach(
          ["tea", "milk"],
          (prompt) =>
            Workflow.run(workflow, prompt).pipe(Effect.provide(ScriptedLlm.layer([searching(prompt), `${prompt}!`]))),
          { concurrency: "unbounded" }
        ).pipe(Effect.provide(ToolsLayer), Effect.provideService(EventHub.EventHub, hub))
        const past = yield* hub.subscribe({ from: 0 })
        const all = (yield* past.take).filter((event) => event._tag !== "Lagged")
        for (const { output, run } of found) {
          const { take } = yield* hub.subscribe({ from: 0, runId: run.runId })
          const own = (yield* take).filter((event) => event._tag !== "Lagged")
          assert.lengthOf(own, all.length / found.length)
          assert.hasAllKeys(Object.groupBy(own, WorkflowEvent.scope), [
            "workflow",
            "workflow_step",
            "agent",
            "llm_request",
            "tool"
          ])
          assert.deepStrictEqual(
            own.flatMap((event) => (event._tag === "WorkflowCompleted" ? [event.output] : [])),
            [output, output]
          )
        }
      })
  )

  it.effect("are all there when the run returns, though no step waits for anything", () =>
    Effect.gen(function* () {
      const hub = yield* EventHub.make()
      yield* Effect.provideService(Workflow.run(Workflow.make("w", increment), 1), EventHub.EventHub, hub)
      const { take } = yield* hub.subscribe({ from: 0 })
      assert.deepStrictEqual(
        (yield* take).map(({ _tag }) => _tag),
        ["WorkflowStarted", "StepStarted", "StepCompleted", "WorkflowCompleted"]
      )
    })
  )

  it.effect("of a step that runs a workflow itself, and is called one, have its run as their parent", () =>
    Effect.gen(function* () {
      const inner = Workflow.make("inner", increment)
      const called = Workflow.effect("workflow", (n: number) =>
        Effect.map(Workflow.run(inner, n), ({ output }) => output * 10)
      )
      let record: WorkflowRun | undefined
      const events = yield* recorded(
        Workflow.run(Workflow.make("outer", called), 1, { onEnd: (run) => Effect.sync(() => (record = run)) })
      )
      assert.strictEqual(record?.output, 20)
      assert.deepStrictEqual(
        record?.steps.map(({ name, type }) => [name, type]),
        [["workflow", "effect"]]
      )
      const nested = events.filter((event) => "workflow" in event && event.workflow === "inner")
      assert.lengthOf(nested, 4)
      assert.isTrue(
        nested.every(({ parentRunId, rootRunId }) => parentRunId === record?.runId && rootRunId === parentRunId)
      )
    })
  )

  it.effect("of a run that ends early have the usage of workflows that steps run by themselves", () =>
    Effect.gen(function* () {
      const inner = Workflow.make("inner", Workflow.agent(Agent.make("a")))
      const outer = Workflow.make(
        "outer",
        Workflow.effect("by itself", (text: string) => Workflow.run(inner, text)),
        Workflow.agent(Agent.make("b"), { prompt: ({ output }) => output })
      )
      const events = yield* recorded(Effect.provide(Workflow.run(outer, "hi"), ScriptedLlm.layer(["one", "two"])))
      assert.strictEqual(WorkflowEvent.fold(events)?.usage.modelCalls, 2)
      assert.strictEqual(WorkflowEvent.fold(events.slice(0, -1))?.usage.modelCalls, 2)
    })
  )

  it.effect("of concurrent runs do not mix", () =>
    Effect.gen(function* () {
      const workflow = Workflow.make("w", increment, double)
      const events = yield* recorded(
        Effect.forEach([1, 2, 3], (n) => Workflow.run(workflow, n), { concurrency: "unbounded" })
      )
      const runs = Map.groupBy(events, (event) => event.runId)
      assert.deepStrictEqual(
        Array.from(runs.values(), (own) => WorkflowEvent.fold(own)?.output),
        [4, 6, 8]
      )
    })
  )

  it.effect("are streamed with those of the agents, and the stream fails as the run does", () =>
    Effect.gen(function* () {
      const workflow = Workflow.make("w", Workflow.agent(Agent.make("a")), broken)
      const tags: Array<string> = []
      const error = yield* Workflow.stream(workflow, "hi").pipe(
        Stream.runForEach(({ _tag }) => Effect.sync(() => void tags.push(_tag))),
        Effect.provide(ScriptedLlm.layer(["ho"])),
        Effect.flip
      )
      assert.strictEqual(error.reason._tag, "Broken")
      assert.includeMembers(tags, ["WorkflowStarted", "RunStarted", "RunCompleted", "StepFailed"])
      assert.strictEqual(tags.at(-1), "WorkflowFailed")
    })
  )

  it.effect("hold a run back whose consumer is behind", () =>
    Effect.gen(function* () {
      let iterations = 0
      const endless = Workflow.loop(
        "endless",
        Workflow.transform("count", (n: number) => (iterations = n + 1)),
        { until: () => false, maxIterations: 100_000 }
      )
      yield* Workflow.stream(endless, 0).pipe(Stream.take(10), Stream.runDrain)
      assert.isBelow(iterations, 5000)
    })
  )
})

describe("resume", () => {
  it.effect("makes only the model calls that are missing", () =>
    Effect.gen(function* () {
      const workflow = Workflow.make(
        "w",
        increment,
        Workflow.agent(Agent.make("a", { toolkit: Tools }), { prompt: String }),
        Workflow.agent(Agent.make("b"))
      )
      const llm = ScriptedLlm.make([searching("one"), searching("two"), rate])
      const error = yield* Workflow.run(workflow, 1).pipe(
        Effect.provideService(Llm, llm),
        Effect.provide(ToolsLayer),
        Effect.flip
      )
      const again = ScriptedLlm.make(["found both", "the end"])
      const { output, run } = yield* Workflow.resume(workflow, throughJson(error.run)).pipe(
        Effect.provideService(Llm, again),
        Effect.provide(ToolsLayer)
      )
      assert.strictEqual(output, "the end")
      assert.deepStrictEqual(
        said(again.requests[0]!).map(([role]) => role),
        ["user", "assistant", "tool", "assistant", "tool"]
      )
      assert.lengthOf(again.requests, 2)
      assert.strictEqual(run.usage.modelCalls, 4)
      assert.deepStrictEqual(places(run), ["w increment completed", "w a completed", "w b completed"])
    })
  )

  it.effect("reads outputs by their schemas", () =>
    Effect.gen(function* () {
      let fails = true
      const dated = Agent.make("dated", { output: Schema.Struct({ at: Schema.Date }) })
      const workflow = Workflow.make(
        "w",
        Workflow.parallel("both", {
          told: Workflow.agent(dated),
          known: Workflow.transform("known", () => new Date(0), { schema: Schema.Date })
        }),
        Workflow.effect("compare", ({ known, told }) =>
          fails ? Effect.fail(new Broken({ at: 0 })) : Effect.succeed(told.at.getTime() - known.getTime())
        )
      )
      const llm = ScriptedLlm.make(['{"at":"1970-01-01T00:00:01.000Z"}'])
      const error = yield* Workflow.run(workflow, "When?").pipe(Effect.provideService(Llm, llm), Effect.flip)
      assert.deepStrictEqual(error.step?.input, {
        told: { at: "1970-01-01T00:00:01.000Z" },
        known: "1970-01-01T00:00:00.000Z"
      })
      fails = false
      const { output } = yield* Workflow.resume(workflow, throughJson(error.run)).pipe(Effect.provideService(Llm, llm))
      assert.strictEqual(output, 1000)
    })
  )

  it.effect("takes up a retry where it was given up", () =>
    Effect.gen(function* () {
      const twice = flaky(2)
      const once = Workflow.retry("again", twice.step, { times: 0 })
      const error = yield* Effect.flip(Workflow.run(once, 7))
      const more = Workflow.retry("again", twice.step, { times: 1 })
      const { run } = yield* Workflow.resume(more, error.run)
      assert.deepStrictEqual(places(run), ["again completed", "again flaky 0 failed", "again flaky 1 completed"])
    })
  )

  const asked = (name: string) => Workflow.agent(Agent.make(name, { toolkit: Tools }))
  const talks = (...steps: ReadonlyArray<ReturnType<typeof asked>>) =>
    Workflow.make("w", asked("first"), ...steps, asked("last")).pipe(Workflow.withConversation("shared"))
  const conversations = {
    "a retry": talks(Workflow.retry("r", asked("a"), { times: 1 })),
    "a fallback": talks(Workflow.fallback("f", asked("a"), asked("b"))),
    "a retry of several steps": talks(
      Workflow.retry("r", Workflow.make("two", asked("a"), asked("b")).pipe(Workflow.withConversation("shared")))
    ),
    "a fallback from a copy that is merged": talks(
      Workflow.fallback("f", asked("a").pipe(Workflow.withConversation({ forked: "append" })), asked("b"))
    ),
    "a fallback from a copy that is thrown away": talks(
      Workflow.fallback("f", asked("a").pipe(Workflow.withConversation({ forked: "discard" })), asked("b"))
    ),
    "a retry of an agent alone": talks(
      Workflow.retry("r", Workflow.make("alone", asked("a"), asked("b")), { times: 1 })
    ),
    "an agent with a copy that is merged": talks(asked("a").pipe(Workflow.withConversation({ forked: "append" }))),
    "an agent with a copy that is thrown away": talks(
      asked("a").pipe(Workflow.withConversation({ forked: "discard" }))
    ),
    "an agent alone": talks(asked("a").pipe(Workflow.withConversation("isolated")))
  }

  it.effect.each(Object.entries(conversations))(
    "asks on in a shared conversation with %s as if never stopped",
    ([, w]) =>
      Effect.gen(function* () {
        // Of three calls of an agent the first asks for a tool, so that there is something that must not be done again.
        const turns = (from: number, to: number) => {
          let call = from
          return ScriptedLlm.make([], () => (call++ < to ? (call % 3 === 1 ? searching(`${call}`) : `${call}`) : rate))
        }
        for (let works = 0; works < 8; works++) {
          const llm = turns(0, works)
          const stopped = yield* Workflow.run(w, "tea?").pipe(
            Effect.provideService(Llm, llm),
            Effect.provide(ToolsLayer),
            Effect.result
          )
          if (Result.isSuccess(stopped)) return
          const again = turns(works, 100)
          yield* Workflow.resume(w, throughJson(stopped.failure.run)).pipe(
            Effect.provideService(Llm, again),
            Effect.provide(ToolsLayer)
          )
          assert.deepStrictEqual(said(again.requests[0]!), said(llm.requests.at(-1)!), `after ${works} calls`)
        }
      })
  )

  it.effect("takes another input than the recorded one", () =>
    Effect.gen(function* () {
      const fails = flaky(1)
      const workflow = Workflow.make("w", fails.step, Workflow.transform("text", String))
      const { run } = yield* Effect.flip(Workflow.run(workflow, 1))
      assert.strictEqual((yield* Workflow.resume(workflow, run, { input: 2 })).output, "2")
    })
  )

  const workflow = Workflow.make("w", increment, Workflow.make("inner", double))
  const changed: ReadonlyArray<readonly [string, Workflow.Workflow<number, unknown, unknown>, ReadonlyArray<string>]> =
    [
      ["another name", Workflow.make("v", increment), ["w"]],
      ["a step less", Workflow.make("w", increment), ["w", "inner"]],
      ["another kind of step", Workflow.make("w", Workflow.retry("increment", double)), ["w", "increment"]],
      [
        "another step inside",
        Workflow.make("w", increment, Workflow.make("inner", increment)),
        ["w", "inner", "double"]
      ]
    ]

  it.effect.each(changed)("refuses the record of a workflow with %s, before anything runs", ([, other, path]) =>
    Effect.gen(function* () {
      const { run } = yield* Workflow.run(workflow, 1)
      const error = yield* Effect.flip(Workflow.resume(other, run))
      assert.instanceOf(error, RecordMismatch)
      assert.deepStrictEqual(error.path, path)
    })
  )

  it.effect("keeps what is undefined out of records and events, and gives it back", () =>
    Effect.gen(function* () {
      let online = false
      const seen: Array<unknown> = []
      const saved = Workflow.make(
        "w",
        Workflow.parallel("both", {
          nothing: Workflow.effect("save", (_: void) => Effect.void),
          some: Workflow.transform("find", (_: void) => ({ found: [undefined, 1], note: undefined }))
        }),
        Workflow.effect("send", (both) =>
          Effect.suspend(() => {
            seen.push(both)
            return online ? Effect.void : Effect.fail(new Broken({ at: 0 }))
          })
        )
      )
      const { run } = yield* Effect.flip(Workflow.run(saved, undefined))
      online = true
      const events = yield* Workflow.stream(saved, undefined).pipe(Stream.runCollect)
      const written = yield* Schema.encodeEffect(Schema.toCodecJson(Schema.Array(WorkflowEvent.RunEvent)))(events)
      assert.lengthOf(JSON.parse(JSON.stringify(written)), events.length)
      const resumed = yield* Workflow.resume(saved, throughJson(run))
      assert.isUndefined(resumed.output)
      assert.notProperty(throughJson(resumed.run), "output")
      const both = { nothing: undefined, some: { found: [undefined, 1], note: undefined } }
      assert.deepStrictEqual(seen, [both, both, { nothing: undefined, some: { found: [null, 1] } }])
    })
  )

  it.effect("refuses the record of a branch whose cases are others, before anything runs", () =>
    Effect.gen(function* () {
      const taking = (label: string, cases: Record<string, typeof increment>) =>
        Workflow.make(
          "w",
          // Labels that are no literals are what another version of a program has.
          Workflow.branch("which", (_: number) => label as "a", cases as { readonly a: typeof increment })
        )
      const { run } = yield* Workflow.run(taking("a", { a: increment, b: double }), 1)
      for (const cases of [
        { c: increment, b: double },
        { a: double, b: increment }
      ]) {
        const error = yield* Effect.flip(Workflow.resume(taking("a", cases), run))
        assert.instanceOf(error, RecordMismatch)
      }
    })
  )

  it.effect("refuses an output that its schema cannot read", () =>
    Effect.gen(function* () {
      const text = Workflow.make(
        "w",
        Workflow.transform("text", (words: string) => words)
      )
      const { run } = yield* Workflow.run(text, "tea")
      const dated = Workflow.make(
        "w",
        Workflow.retry(
          "r",
          Workflow.transform("text", () => new Date(0), { schema: Schema.Date })
        )
      )
      const steps = [
        { ...run.steps[0]!, name: "r", type: "retry" as const, path: ["w", "r"], status: "running" as const },
        { ...run.steps[0]!, index: 1, path: ["w", "r", "text"], iterations: [0] }
      ]
      const error = yield* Effect.flip(Workflow.resume(dated, { ...run, steps }))
      assert.instanceOf(error, RecordMismatch)
      assert.deepStrictEqual(error.path, ["w", "r", "text"])
    })
  )
})

describe("asTool", () => {
  const counted = Workflow.asTool(
    Workflow.make(
      "count",
      Workflow.transform("words", ({ text }: { readonly text: string }) => text.split(" ")),
      Workflow.agent(Agent.make("counter"), { prompt: (words: ReadonlyArray<string>) => String(words.length) })
    ),
    { name: "count_words", description: "Counts words", parameters: Schema.Struct({ text: Schema.String }) }
  )
  const boss = Agent.make("boss", { toolkit: Toolkit.make(counted.tool) })
  const asking: ScriptedLlm.Turn = { tool: "count_words", params: { text: "a b c" } }

  it.effect("runs as a child of the agent, whose usage has the workflow's", () =>
    Effect.gen(function* () {
      const events = yield* Agent.stream(boss, "How many?").pipe(
        Stream.runCollect,
        Effect.provide(Layer.provideMerge(counted.layer, ScriptedLlm.layer([asking, "three", "It is three."])))
      )
      const result = Array.from(events).find((event) => event._tag === "ToolCallCompleted")
      assert.strictEqual(result?._tag === "ToolCallCompleted" ? result.result : undefined, "three")
      const last = events.at(-1)
      assert.strictEqual(last?._tag === "RunCompleted" ? last.usage.modelCalls : undefined, 3)
      assert.isTrue(events.every((event) => "agent" in event))
      const ended = Array.from(events).find((event) => event._tag === "ChildRunEnded")
      assert.strictEqual(ended?._tag === "ChildRunEnded" ? ended.childAgent : undefined, "count")
    })
  )

  it.effect("tells the model of an output with members that are undefined", () =>
    Effect.gen(function* () {
      const lookup = Workflow.asTool(
        Workflow.transform("lookup", (_: {}) => ({ name: "Ada", phone: undefined })),
        { name: "lookup", description: "Looks somebody up", parameters: Schema.Struct({}) }
      )
      const { history } = yield* Agent.run(Agent.make("clerk", { toolkit: Toolkit.make(lookup.tool) }), "Who?").pipe(
        Effect.provide([lookup.layer, ScriptedLlm.layer([{ tool: "lookup", params: {} }, "Ada."])])
      )
      assert.deepStrictEqual(
        History.toolResults(history).map(({ result }) => result),
        [{ name: "Ada" }]
      )
    })
  )

  it.effect("tells the model of its failure", () =>
    Effect.gen(function* () {
      const { history } = yield* Agent.run(boss, "How many?").pipe(
        Effect.provide(Layer.provideMerge(counted.layer, ScriptedLlm.layer([asking, rate, "No idea."])))
      )
      const [result] = History.toolResults(history)
      assert.isTrue(result?.isFailure)
      assert.deepInclude(result?.result, { reason: "ModelFailed" })
    })
  )
})

describe("shape", () => {
  it("tells names, kinds and labels", () => {
    const workflow = Workflow.make(
      "w",
      Workflow.parallel("p", { a: increment, b: double }).pipe(Workflow.withDescription("both")),
      Workflow.transform("pick", ({ a }) => a),
      Workflow.route(
        "r",
        Workflow.transform("on", () => "x" as const),
        { x: increment }
      )
    )
    const told = ({ description, name, steps, type }: StepShape): unknown => [
      name,
      type,
      ...(description === undefined ? [] : [description]),
      ...steps.map(({ label, shape }) => [label, told(shape)])
    ]
    assert.deepStrictEqual(told(Workflow.shape(workflow)), [
      "w",
      "workflow",
      [undefined, ["p", "parallel", "both", ["a", ["increment", "transform"]], ["b", ["double", "effect"]]]],
      [undefined, ["pick", "transform"]],
      [undefined, ["r", "branch", [undefined, ["on", "transform"]], ["x", ["increment", "transform"]]]]
    ])
  })
})
