import { assert, describe, it } from "@effect/vitest"
import * as Agent from "effect-agent-runtime/Agent"
import type { AgentError } from "effect-agent-runtime/AgentError"
import type { AgentEvent } from "effect-agent-runtime/AgentEvent"
import * as History from "effect-agent-runtime/History"
import type { Delta } from "effect-agent-runtime/Llm"
import { Llm } from "effect-agent-runtime/Llm"
import { Faults, ScriptedLlm, Simulation } from "effect-agent-runtime/testing"
import type { Schedule } from "effect-agent-runtime/testing/Decision"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { calculate, MathTools, MathToolsLayer } from "../support/calculator.ts"

const agent = Agent.make("math-bot", { toolkit: MathTools })
const program = Agent.run(agent, "Add!").pipe(
  Effect.provide([
    Faults.inject(MathToolsLayer),
    Faults.inject(ScriptedLlm.layer([[calculate("add", 1, 1), calculate("add", 1, 2)], "done"]))
  ])
)

const runWith = (...schedule: Schedule) => Simulation.run(program, { schedule })

const failure = ({ exit }: Simulation.Outcome<unknown, AgentError>) =>
  Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined

const tags = ({ events }: Simulation.Outcome<unknown, unknown>) => events.map(({ _tag }) => _tag)

const endOf = (name: AgentEvent["_tag"], { events }: Simulation.Outcome<unknown, unknown>) =>
  events.filter(({ _tag }) => _tag === name)

describe("a model", () => {
  it.effect.each<readonly [Faults.FailureReason, string]>([
    ["RateLimitError", "ModelFailed RateLimitError"],
    ["InternalProviderError", "ModelFailed InternalProviderError"],
    ["NetworkError", "ModelFailed NetworkError"],
    ["InvalidResponseError", "ModelFailed InvalidResponseError"],
    ["AuthenticationError", "ModelFailed AuthenticationError"],
    ["QuotaExhaustedError", "ModelFailed QuotaExhaustedError"],
    ["ContentPolicyError", "ModelFailed ContentPolicyError"],
    ["InvalidRequestError", "ModelFailed InvalidRequestError"],
    ["ContextOverflow", "ContextOverflow InvalidRequestError"]
  ])("fails with %s", ([reason, expected]) =>
    Effect.gen(function* () {
      const error = failure(yield* runWith({ _tag: "ModelFault", call: 1, fault: { _tag: "Fails", reason } }))
      // The program fails with nothing else.
      const { reason: why } = error as AgentError
      const model = "error" in why ? why.error?.reason._tag : undefined
      assert.strictEqual(`${why._tag} ${model}`, expected)
    })
  )

  it.effect("breaks after pieces that it made up, and sends one more too late", () =>
    Effect.gen(function* () {
      const deltas: Array<string> = []
      const asking = Effect.gen(function* () {
        const { generate } = yield* Llm
        const request = {
          instructions: "",
          history: History.empty,
          tools: [],
          toolChoice: "auto",
          sampling: {}
        } as const
        const onDelta = (delta: Delta) => void (delta.type === "text" && deltas.push(delta.delta))
        const error = yield* Effect.flip(generate({ ...request, output: undefined }, onDelta))
        deltas.push(error.reason._tag)
      }).pipe(Effect.provide(Faults.inject(ScriptedLlm.layer([]))))
      yield* Simulation.run(asking, {
        schedule: [{ _tag: "ModelFault", call: 1, fault: { _tag: "Breaks", pieces: 2 } }]
      })
      assert.deepStrictEqual(deltas, ["piece 1 ", "piece 2 ", "NetworkError", "late piece"])
    })
  )

  it.effect("takes its time", () =>
    Effect.gen(function* () {
      const outcome = yield* runWith({ _tag: "ModelFault", call: 2, fault: { _tag: "IsSlow", seconds: 20 } })
      assert.isTrue(Exit.isSuccess(outcome.exit))
      assert.strictEqual(Duration.toSeconds(outcome.duration), 20)
    })
  )

  it.effect("hangs", () =>
    Effect.gen(function* () {
      const outcome = yield* runWith({ _tag: "ModelFault", call: 2, fault: { _tag: "Hangs" } })
      assert.instanceOf(failure(outcome), Simulation.Stuck)
      assert.strictEqual(tags(outcome).at(-1), "ModelCallStarted")
    })
  )

  it.effect("goes on with its script after a call that failed", () =>
    Effect.gen(function* () {
      const retried = Effect.retry(program, { times: 1 })
      const { exit } = yield* Simulation.run(retried, {
        schedule: [{ _tag: "ModelFault", call: 1, fault: { _tag: "Fails", reason: "NetworkError" } }]
      })
      assert.deepStrictEqual(
        Exit.map(exit, ({ output, turns }) => [output, turns]),
        Exit.succeed(["done", 2])
      )
    })
  )
})

describe("a tool", () => {
  it.effect("dies", () =>
    Effect.gen(function* () {
      const outcome = yield* runWith({ _tag: "ToolFault", call: 1, fault: { _tag: "Dies" } })
      const [event] = endOf("ToolCallFailed", outcome)
      assert.deepInclude(event, { id: "call_1", kind: "defect", detail: "Error: a simulated defect" })
      assert.lengthOf(endOf("ToolCallCompleted", outcome), 1)
    })
  )

  it.effect("takes its time", () =>
    Effect.gen(function* () {
      const outcome = yield* runWith({ _tag: "ToolFault", call: 1, fault: { _tag: "IsSlow", seconds: 5 } })
      const [first, second] = endOf("ToolCallCompleted", outcome)
      assert.deepInclude(first, { id: "call_2", durationMillis: 0 })
      assert.deepInclude(second, { id: "call_1", durationMillis: 5000 })
    })
  )

  it.effect("hangs until its time is up", () =>
    Effect.gen(function* () {
      const outcome = yield* runWith({ _tag: "ToolFault", call: 2, fault: { _tag: "Hangs" } })
      assert.deepInclude(endOf("ToolCallFailed", outcome)[0], { id: "call_2", kind: "timeout" })
      assert.strictEqual(Duration.toMinutes(outcome.duration), 5)
    })
  )
})

describe("a subscriber", () => {
  it.effect("makes runs wait, and leaves", () =>
    Effect.gen(function* () {
      const outcome = yield* runWith({ _tag: "SubscriberFault", fault: { takes: 1, seconds: 60 } })
      assert.isTrue(Exit.isSuccess(outcome.exit))
      assert.strictEqual(Duration.toSeconds(outcome.duration), 60)
      assert.strictEqual(outcome.alive, 0)
    })
  )
})

describe("what is drawn", () => {
  it.effect("is everything there is, and nothing at a rate of 0", () =>
    Effect.gen(function* () {
      const rates = { model: 0.5, tool: 0.5, subscriber: 0.5, interruption: 0.5 }
      const drawn = new Set<string>()
      for (let seed = 0; seed < 500; seed++) {
        const { schedule } = yield* Simulation.run(program, { seed, faults: rates })
        for (const decision of schedule) {
          const fault = "fault" in decision && "_tag" in decision.fault ? ` ${decision.fault._tag}` : ""
          const reason = "fault" in decision && "reason" in decision.fault ? ` ${decision.fault.reason}` : ""
          drawn.add(`${decision._tag}${fault}${reason}`)
        }
        const without = yield* Simulation.run(program, { seed })
        assert.isTrue(Exit.isSuccess(without.exit))
        assert.isTrue(without.schedule.every(({ _tag }) => _tag === "Picked" || _tag === "Paused"))
      }
      assert.deepStrictEqual([...drawn].toSorted(), [
        "Interrupted",
        "ModelFault Breaks",
        "ModelFault Fails AuthenticationError",
        "ModelFault Fails ContentPolicyError",
        "ModelFault Fails ContextOverflow",
        "ModelFault Fails InternalProviderError",
        "ModelFault Fails InvalidRequestError",
        "ModelFault Fails InvalidResponseError",
        "ModelFault Fails NetworkError",
        "ModelFault Fails QuotaExhaustedError",
        "ModelFault Fails RateLimitError",
        "ModelFault Hangs",
        "ModelFault IsSlow",
        "Paused",
        "Picked",
        "SubscriberFault",
        "ToolFault Dies",
        "ToolFault Hangs",
        "ToolFault IsSlow"
      ])
    })
  )
})

describe("without a simulation", () => {
  it.effect("nothing goes wrong", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* program).output, "done")
    })
  )
})
