/**
 * Whatever a provider does, a run through the recommended middleware ends with the right answer, after exactly the
 * calls that the policies allow. What they allow is computed from the plan of faults by a model of its own.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Agent from "effect-agent-runtime/Agent"
import type { AgentEvent } from "effect-agent-runtime/AgentEvent"
import * as History from "effect-agent-runtime/History"
import type { AssistantContent } from "effect-agent-runtime/History"
import * as Llm from "effect-agent-runtime/Llm"
import * as CircuitBreaker from "effect-agent-runtime/middleware/CircuitBreaker"
import * as Concurrency from "effect-agent-runtime/middleware/Concurrency"
import * as Fallback from "effect-agent-runtime/middleware/Fallback"
import * as RateLimit from "effect-agent-runtime/middleware/RateLimit"
import * as Retry from "effect-agent-runtime/middleware/Retry"
import * as Timeout from "effect-agent-runtime/middleware/Timeout"
import * as Laws from "effect-agent-runtime/testing/Laws"
import * as Usage from "effect-agent-runtime/Usage"
import * as Arbitrary from "effect/Arbitrary"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Circuits from "effect/persistence/CircuitBreaker"
import * as RateLimiter from "effect/persistence/RateLimiter"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { MathTools, MathToolsLayer } from "../support/calculator.ts"
import { failures } from "../support/models.ts"

/** What the provider does in one call. Times in seconds, 0 for none; pieces are deltas that come before. */
const Fault = Schema.Union([
  Schema.Struct({ kind: Schema.Literals(["ok", "overloaded", "hang", "malformed", "authentication"]) }),
  Schema.Struct({ kind: Schema.Literal("rateLimit"), retryAfter: Schema.Literals([0, 1, 20, 55, 61, 200]) }),
  Schema.Struct({
    kind: Schema.Literals(["cut", "stall", "slow"]),
    pieces: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 4 }))
  })
])
type Fault = typeof Fault.Type

const plans = Arbitrary.array(Arbitrary.schema(Fault), { maxLength: 14 })

/** A run of seven turns: six calls of the calculator and the answer, each with a text. */
const script: ReadonlyArray<AssistantContent> = [
  ...[1, 2, 3, 4, 5, 6].map((n): AssistantContent => [
    { type: "text", text: `In step number ${n} I add ${n} to what there is.` },
    { type: "tool-call", id: `${n}`, name: "calculator", params: { operation: "add", a: (n * (n - 1)) / 2, b: n } }
  ]),
  [{ type: "text", text: "The result of it all is 21" }]
]

const words = (content: AssistantContent): ReadonlyArray<string> => History.text(content).split(/(?<= )/)

/** A provider that follows a plan, then does always the same; it counts its calls and those under way. */
const provider = (name: string, plan: ReadonlyArray<Fault>, otherwise: Fault) => {
  const state = { calls: 0, underWay: 0 }
  const llm = Llm.make((request, onDelta) =>
    Effect.gen(function* () {
      const fault: Fault = plan[state.calls++] ?? otherwise
      const content = script[History.toolResults(request.history).length]!
      let said = 0
      const say = (count: number) => {
        for (const delta of words(content).slice(said, (said += count))) onDelta?.({ type: "text", delta })
      }
      const answer = () => {
        say(Infinity)
        return { content, finishReason: "stop" as const, tokens: Usage.noTokens, model: name }
      }
      switch (fault.kind) {
        case "ok":
          return answer()
        case "rateLimit":
          return yield* failures.rateLimit(fault.retryAfter === 0 ? undefined : Duration.seconds(fault.retryAfter))
        case "hang":
          return yield* Effect.never
        case "cut":
          say(fault.pieces)
          return yield* failures.network
        case "stall":
          say(fault.pieces)
          // The words that come as it is given up come too late.
          return yield* Effect.onInterrupt(Effect.never, () => Effect.sync(() => say(2)))
        case "slow":
          for (let i = 0; i < fault.pieces; i++) {
            yield* Effect.sleep("4 seconds")
            say(1)
          }
          return answer()
        default:
          return yield* failures[fault.kind]
      }
    }).pipe((call) =>
      Effect.acquireUseRelease(
        Effect.sync(() => state.underWay++),
        () => call,
        () => Effect.sync(() => state.underWay--)
      )
    )
  )
  return { llm, state }
}

const stack = (name: string) =>
  Llm.withMiddleware(
    Timeout.make(Timeout.quick),
    RateLimit.make({ key: name }),
    Concurrency.make(1),
    Retry.make({
      schedule: Retry.backoff({
        maxRetries: 3,
        initialDelay: 100,
        maxDelay: "30 seconds",
        multiplier: 2,
        jitter: 0
      }),
      maxDuration: "60 seconds"
    }),
    CircuitBreaker.make({ key: name, tripPolicy: Circuits.consecutive(2), openDuration: "30 seconds" })
  )

/** The calls that the policies allow, from the plan alone. Times in milliseconds. */
const expected = (plan: ReadonlyArray<Fault>) => {
  let now = 0
  let pausedUntil = 0
  let refusals = 0
  let first = 0
  let second = 0
  let restarts = 0
  const circuit = { state: "closed" as "closed" | "open" | "half-open", failures: 0, openUntil: 0 }

  // It is slow, so that time passes while the circuit is open.
  const askSecond = () => {
    restarts++
    second++
    now += 16_000
  }

  /** How long an attempt takes, and how it fails. */
  const attempt = (fault: Fault): readonly [millis: number, failure?: "passing" | "lasting", retryAfter?: number] => {
    switch (fault.kind) {
      case "ok":
        return [0]
      case "slow":
        return [fault.pieces * 4000]
      case "hang":
      case "stall":
        return [5000, "passing"]
      case "authentication":
        return [0, "lasting"]
      case "rateLimit":
        return [0, "passing", fault.retryAfter * 1000]
      default:
        return [0, "passing", 0]
    }
  }

  for (let turn = 0; turn < script.length; turn++) {
    if (circuit.state === "open" && now < circuit.openUntil) {
      askSecond()
      continue
    }
    if (circuit.state === "open") circuit.state = "half-open"
    const begin = now
    let failure: "passing" | "lasting" | undefined
    let retryAfter = 0
    // A call that the limits refuse does not reach the provider, and says nothing about it.
    let isRefused = false
    for (let attempts = 1; ; attempts++) {
      const pause = Math.max(0, pausedUntil - now)
      isRefused = pause > 60_000
      if (isRefused) [failure, retryAfter] = ["passing", pause]
      else {
        now += pause
        const fault = plan[first++] ?? { kind: "ok" }
        const [millis, how, wanted = 0] = attempt(fault)
        now += millis
        failure = how
        retryAfter = wanted
        if (fault.kind === "rateLimit") {
          const guess = Math.min(1000 * 2 ** refusals++, 60_000)
          pausedUntil = Math.max(pausedUntil, now + (wanted > 0 ? wanted : guess))
        }
        if (how === undefined) refusals = 0
      }
      const delay = Math.max(100 * 2 ** (attempts - 1), retryAfter)
      if (failure !== "passing" || attempts > 3 || now + delay > begin + 60_000) break
      restarts++
      now += delay
    }
    if (failure === undefined) {
      circuit.state = "closed"
      circuit.failures = 0
      continue
    }
    const isFailure = failure === "passing" && !isRefused
    circuit.failures += isFailure ? 1 : 0
    if (isFailure && (circuit.state === "half-open" || circuit.failures === 2)) {
      circuit.state = "open"
      circuit.failures = 0
      circuit.openUntil = now + Math.max(30_000, retryAfter)
    }
    askSecond()
  }
  return { first, second, restarts, millis: now }
}

/** The text of each turn as the deltas since its last restart tell it, and as its response has it. */
const texts = (events: ReadonlyArray<AgentEvent>) => {
  const turns: Array<readonly [told: string, text: string]> = []
  let told = ""
  for (const event of events) {
    if (event._tag === "TextDelta") told += event.delta
    if (event._tag === "ModelCallRetried") told = ""
    if (event._tag === "ModelCallCompleted") {
      turns.push([told, History.text(event.content)])
      told = ""
    }
  }
  return turns
}

const agent = Agent.make("calculating", { toolkit: MathTools })

/** Counts the fibers that are alive. */
const counting = () => {
  const count = { alive: 0 }
  const service: Metric.FiberRuntimeMetricsService = {
    recordFiberStart: () => void count.alive++,
    recordFiberEnd: () => void count.alive--
  }
  return { count, service }
}

const runPlan = (plan: ReadonlyArray<Fault>) =>
  Effect.gen(function* () {
    const first = provider("first", plan, { kind: "ok" })
    const second = provider("second", [], { kind: "slow", pieces: 4 })
    const model = Fallback.layer([
      { name: "first", llm: Layer.succeed(Llm.Llm, first.llm).pipe(stack("first")) },
      { name: "second", llm: Layer.succeed(Llm.Llm, second.llm).pipe(stack("second")) }
    ])
    const { count, service } = counting()
    const run = Laws.record(Agent.run(agent, "What is 1 + 2 + 3 + 4 + 5 + 6?")).pipe(
      Effect.provideService(Metric.FiberRuntimeMetrics, service),
      Effect.zip(Clock.currentTimeMillis)
    )
    const fiber = yield* Effect.forkChild(
      Effect.provide(run, [
        MathToolsLayer,
        Layer.provide(model, [Circuits.layerStoreMemory(), RateLimiter.layerStoreMemory])
      ])
    )
    yield* TestClock.adjust("1 hour")
    const [recording, millis] = yield* Fiber.join(fiber)

    assert.deepStrictEqual(
      Exit.map(recording.exit, ({ output }) => output),
      Exit.succeed("The result of it all is 21")
    )
    assert.deepStrictEqual(
      texts(recording.events),
      script.map((content) => [History.text(content), History.text(content)] as const)
    )
    assert.deepStrictEqual(Laws.run(agent, recording), [])
    const restarts = recording.events.filter(({ _tag }) => _tag === "ModelCallRetried").length
    assert.deepStrictEqual({ first: first.state.calls, second: second.state.calls, restarts, millis }, expected(plan))
    assert.deepStrictEqual([first.state.underWay, second.state.underWay, count.alive], [0, 0, 0])
  })

describe("a run through faults", () => {
  it.effect.prop(
    "ends with the right answer after the calls that the policies allow",
    [plans],
    ([plan]) => runPlan(plan),
    {
      timeout: 60_000,
      arbitrary: { runs: 1000 }
    }
  )

  it.effect.each<readonly [string, ReadonlyArray<Fault>, ReturnType<typeof expected>]>([
    ["nothing", [], { first: 7, second: 0, restarts: 0, millis: 0 }],
    [
      "one of each that passes",
      [{ kind: "overloaded" }, { kind: "malformed" }, { kind: "cut", pieces: 3 }],
      { first: 10, second: 0, restarts: 3, millis: 700 }
    ],
    ["a wrong key", [{ kind: "authentication" }], { first: 7, second: 1, restarts: 1, millis: 16_000 }],
    ["a long pause", [{ kind: "rateLimit", retryAfter: 200 }], { first: 1, second: 7, restarts: 7, millis: 112_000 }],
    [
      "hanging for ever",
      Array.from({ length: 20 }, () => ({ kind: "hang" }) as const),
      { first: 16, second: 7, restarts: 19, millis: 194_800 }
    ]
  ])("of %s makes these calls", ([, plan, calls]) => {
    assert.deepStrictEqual(expected(plan), calls)
    return runPlan(plan)
  })
})
