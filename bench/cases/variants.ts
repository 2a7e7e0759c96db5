import * as Agent from "effect-agent-runtime/Agent"
import type { AgentEvent } from "effect-agent-runtime/AgentEvent"
import * as ContextWindow from "effect-agent-runtime/ContextWindow"
import * as EventHub from "effect-agent-runtime/EventHub"
import * as History from "effect-agent-runtime/History"
import * as Llms from "effect-agent-runtime/Llm"
import { Llm } from "effect-agent-runtime/Llm"
import * as LoopDetector from "effect-agent-runtime/LoopDetector"
import * as CircuitBreaker from "effect-agent-runtime/middleware/CircuitBreaker"
import * as Concurrency from "effect-agent-runtime/middleware/Concurrency"
import * as Fallback from "effect-agent-runtime/middleware/Fallback"
import * as RateLimit from "effect-agent-runtime/middleware/RateLimit"
import * as Retry from "effect-agent-runtime/middleware/Retry"
import * as Timeout from "effect-agent-runtime/middleware/Timeout"
import * as StopCondition from "effect-agent-runtime/StopCondition"
import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
import { noTokens } from "effect-agent-runtime/Usage"
import * as Usage from "effect-agent-runtime/Usage"
/** What users meet beyond the original's benchmarks: watched runs, many calls in one turn, long answers, many agents. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import { layerStoreMemory as circuits } from "effect/persistence/CircuitBreaker"
import * as RateLimiter from "effect/persistence/RateLimiter"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Case, Check, Variant } from "../Case.ts"
import { expect } from "../Case.ts"
import { call, floorAgent, floorCall, floorRun, floorTool, prepared, ran, runPrepared } from "./support.ts"

/** A hub with subscribers that take all they get; counts what they received. */
const watchedHub = (subscribers: number, options?: EventHub.SubscribeOptions) => {
  const scope = Scope.makeUnsafe()
  const hub = Effect.runSync(Scope.provide(EventHub.make(), scope))
  const counts = { received: 0 }
  for (let i = 0; i < subscribers; i++) {
    const { take } = Effect.runSync(Scope.provide(hub.subscribe(options), scope))
    Effect.runFork(drain(take, counts))
  }
  return { hub, counts, scope }
}

const drain = Effect.fnUntraced(function* (take: EventHub.Subscription["take"], counts: { received: number }) {
  while (true) {
    const { length } = yield* take
    counts.received += length
  }
})

const oneTool = [call(5, 3), "The result is 8"]

/** The events of a run with one tool call and a streamed answer of four words. */
const eventsOfRun = 17

/** The prepared one-tool run with a hub that subscribers take all from, and one that never takes. */
const watched = (subscribers: number, stalled: boolean) => (): Variant => {
  const agent = prepared()
  const { counts, hub, scope } = watchedHub(subscribers)
  if (stalled) Effect.runSync(Scope.provide(hub.subscribe(), scope))
  let runs = 0
  return {
    kind: "effect",
    operation: () => {
      runs++
      return Effect.provideService(runPrepared(agent, oneTool, "Calculate 5 + 3"), EventHub.EventHub, hub)
    },
    check: (result) =>
      ran("The result is 8", 1)(result)
      ?? expect(`${eventsOfRun} events each`, counts.received === runs * eventsOfRun * subscribers)
  }
}

const unwatched = (): Variant => {
  const agent = prepared()
  return {
    kind: "effect",
    operation: () => runPrepared(agent, oneTool, "Calculate 5 + 3"),
    check: ran("The result is 8", 1)
  }
}

const watchedRun = (subscribers: number): Case => ({
  name: `events/${subscribers}_subscribers`,
  describes: `the prepared one-tool run with a hub in the context and ${subscribers} subscribers that receive every event; beside it the run without a hub`,
  ours: watched(subscribers, false),
  floor: unwatched
})

const stalledRun: Case = {
  name: "events/1_subscribers_one_more_stalled",
  describes: "the run with one subscriber, and one more that never takes; beside it the run without that one",
  ours: watched(1, true),
  floor: watched(1, false)
}

/** A structured answer that is streamed while it is written, one word at a time. */
const streamedOutput = (count: number): Case => {
  const words = Array.from({ length: count }, (_, i) => `word${i}`)
  const text = JSON.stringify({ words })
  return {
    name: `streamed_output/${count}`,
    describes: `an answer of ${count} words as a JSON array through Agent.streamOutput, each word delivered on its own`,
    per: { unit: "token", count },
    ours: () => {
      const agent = Agent.make("talker", { output: Schema.Struct({ words: Schema.Array(Schema.String) }) })
      const generate: Llm["Service"]["generate"] = Effect.fnUntraced(function* (_, onDelta) {
        for (const piece of text.match(/[^,]+,?/g) ?? []) {
          onDelta?.({ type: "text", delta: piece })
          yield* Effect.yieldNow
        }
        return { content: [{ type: "text", text }], finishReason: "stop", tokens: noTokens, model: undefined }
      })
      return {
        kind: "effect",
        operation: () => Effect.provideService(Stream.runLast(Agent.streamOutput(agent, "Talk")), Llm, { generate }),
        check: (last) => expect("the answer", JSON.stringify(last).includes(`word${count - 1}`))
      }
    }
  }
}

/** A run that is pruned again and again, and one that is not. */
const windowTurns = (count: number): Case => {
  const run = (contextWindow?: ContextWindow.ContextWindow) => (): Variant => {
    const agent = prepared(StopCondition.maxTurns(count + 1), contextWindow)
    const script = [...Array.from({ length: count }, (_, i) => call(i, 1)), "done"]
    return {
      kind: "effect",
      operation: () => runPrepared(agent, script, "go"),
      check: ran("done", count)
    }
  }
  return {
    name: `context_window/${count}`,
    describes: `a run of ${count} tool turns with a window of 1,000 tokens; beside it the run without a window`,
    per: { unit: "turn", count },
    ours: run(ContextWindow.tokenBudget(1000)),
    floor: run()
  }
}

const parallelTools = (count: number): Case => {
  const calls = Array.from({ length: count }, (_, i) => call(i, 1))
  const floorCalls = Array.from({ length: count }, (_, i) => floorCall(i, 1)[0]!)
  return {
    name: `parallel_tools/${count}`,
    describes: `a run with ${count} tool calls in one turn`,
    per: { unit: "call", count },
    ours: () => {
      const agent = prepared()
      return {
        kind: "effect",
        operation: () => runPrepared(agent, [calls, "done"], "go"),
        check: ran("done", count)
      }
    },
    floor: () => {
      const agent = floorAgent([floorTool()])
      return {
        kind: "promise",
        operation: () => floorRun([floorCalls, "done"], "go", agent),
        check: ran("done", count)
      }
    }
  }
}

const streamedTokens = (count: number): Case => {
  const text = Array.from({ length: count }, (_, i) => `word${i}`).join(" ")
  return {
    name: `streamed_tokens/${count}`,
    describes: `an answer of ${count} words through Agent.stream to a consumer that joins them`,
    per: { unit: "token", count },
    ours: () => {
      const agent = Agent.make("talker")
      return {
        kind: "effect",
        operation: () =>
          Agent.stream(agent, "Talk").pipe(
            Stream.runFold(
              () => "",
              (all, event) => (event._tag === "TextDelta" ? all + event.delta : all)
            ),
            Effect.provideService(Llm, ScriptedLlm.make([text]))
          ),
        check: (result) => expect("the text", result === text)
      }
    }
  }
}

const answers =
  (agents: number): Check =>
  (result) =>
    expect(
      `${agents} answers`,
      (result as ReadonlyArray<{ output: string }>).every(({ output }) => output === "Hello")
        && (result as ReadonlyArray<unknown>).length === agents
    )

/** A model that answers at once, or after a millisecond. */
const answering = (millis: number): ScriptedLlm.Turn =>
  millis === 0 ? "Hello" : () => Effect.as(Effect.sleep(millis), "Hello")

export const manyAgents = (agents: number, concurrency: number | "unbounded", millis: number): Case => ({
  name: `agents/${agents}_${concurrency === "unbounded" ? "unbounded" : `by_${concurrency}`}_${millis}ms`,
  describes: `${agents} runs on fibers, ${concurrency === "unbounded" ? "all" : concurrency} at a time, model takes ${millis} ms`,
  per: { unit: "agent", count: agents },
  ours: () => {
    const agent = Agent.make("helper")
    const inputs = Array.from({ length: agents }, (_, i) => `Hi ${i}`)
    return {
      kind: "effect",
      operation: () =>
        Effect.forEach(inputs, (input) => Agent.run(agent, input), { concurrency }).pipe(
          Effect.provideService(Llm, ScriptedLlm.make([], answering(millis)))
        ),
      check: answers(agents)
    }
  }
})

const detectorAlone = (history: number): Case => ({
  name: `loop_detector/${history}`,
  describes: `the detector on one more distinct call, after ${history} of them: key, observe, settle`,
  ours: () => {
    const detector = LoopDetector.make()
    const state = LoopDetector.initial()
    let turn = 0
    const next = () => {
      turn++
      const observed = {
        tool: "search",
        key: LoopDetector.key("search", { page: turn, query: "tea", limit: 10 }),
        turn
      }
      const verdict = LoopDetector.observe(detector, state, observed)
      LoopDetector.settle(detector, state, observed, { isFailure: false, result: turn })
      return verdict
    }
    for (let i = 0; i < history; i++) next()
    return {
      kind: "effect",
      operation: () => Effect.succeed(next()),
      check: (verdict) => expect("allow", verdict === "allow" && state.calls.size <= 64)
    }
  }
})

const delta = (offset: number): AgentEvent => ({
  _tag: "TextDelta",
  runId: "r",
  parentRunId: undefined,
  rootRunId: undefined,
  agent: "a",
  offset,
  timestamp: 0,
  turn: 1,
  delta: "word "
})

const batch = Array.from({ length: 64 }, (_, i) => delta(i))

const hubThroughput = (subscribers: number, stalled: boolean): Case => ({
  name: `hub/${subscribers}_subscribers${stalled ? "_one_stalled" : ""}`,
  describes: `a batch of 64 events through a hub to ${subscribers} subscribers${stalled ? ", one of which never takes" : ""}`,
  per: { unit: "event", count: batch.length },
  ours: () => {
    const { counts, hub, scope } = watchedHub(stalled ? subscribers - 1 : subscribers)
    if (stalled) Effect.runSync(Scope.provide(hub.subscribe(), scope))
    let published = 0
    return {
      kind: "effect",
      operation: () =>
        Effect.sync(() => {
          hub.publish(batch)
          published += batch.length
        }),
      check: () => expect("all events", counts.received === published * (stalled ? subscribers - 1 : subscribers))
    }
  }
})

const hubLatency = (subscribers: number): Case => ({
  name: `hub_latency/${subscribers}_subscribers`,
  describes: `one event from publish until the last of ${subscribers} subscribers has received it; see its wall time`,
  per: { unit: "receipt", count: subscribers },
  ours: () => {
    const { counts, hub } = watchedHub(subscribers)
    const event = [delta(0)]
    let expected = 0
    return {
      kind: "effect",
      operation: Effect.fnUntraced(function* () {
        expected += subscribers
        hub.publish(event)
        while (counts.received < expected) yield* Effect.yieldNow
      }),
      check: () => expect("the event at all of them", counts.received === expected)
    }
  }
})

const answer: Llms.LlmResponse = {
  content: [{ type: "text", text: "Hello" }],
  finishReason: "stop",
  tokens: Usage.noTokens,
  model: "plain"
}

/** Answers at once, with one delta. */
const plainModel = Llms.layer((_request, onDelta) =>
  Effect.sync(() => {
    onDelta?.({ type: "text", delta: "Hello" })
    return answer
  })
)

const hello: Llms.LlmRequest = {
  instructions: "",
  history: History.appendUser(History.empty, "Hi"),
  tools: [],
  toolChoice: "auto",
  sampling: {},
  output: undefined
}

/** All reliability middleware in the recommended order, with limits that are never reached. */
const reliableModel = Fallback.layer([
  {
    name: "plain",
    llm: plainModel.pipe(
      Llms.withMiddleware(
        Timeout.make(),
        RateLimit.make({ key: "plain", requests: 1e9, tokens: 1e12, window: "1 second" }),
        Concurrency.make(100),
        Retry.make(),
        CircuitBreaker.make({ key: "plain" })
      )
    )
  },
  { name: "other", llm: plainModel }
]).pipe(Layer.provide([RateLimiter.layerStoreMemory, circuits()]))

const modelCall = (model: Layer.Layer<Llm>) => (): Variant => {
  const scope = Scope.makeUnsafe()
  const llm = Context.get(Effect.runSync(Layer.buildWithScope(model, scope)), Llm)
  let deltas = 0
  let calls = 0
  return {
    kind: "effect",
    operation: () => {
      calls++
      return llm.generate(hello, () => deltas++)
    },
    check: (result) => expect("the answer and its delta", result === answer && deltas === calls),
    close: Scope.close(scope, Exit.void)
  }
}

const middlewareStack: Case = {
  name: "middleware_stack",
  describes: "a streamed model call of one word through all reliability middleware; beside it the bare model",
  ours: modelCall(reliableModel),
  floor: modelCall(plainModel)
}

export const variants: ReadonlyArray<Case> = [
  ...[0, 1, 16].map(watchedRun),
  stalledRun,
  ...[10, 100].map(parallelTools),
  ...[1000, 10_000].map(streamedTokens),
  ...[1000, 10_000].map(streamedOutput),
  manyAgents(1000, "unbounded", 0),
  manyAgents(1000, 10, 0),
  manyAgents(1000, "unbounded", 1),
  manyAgents(10_000, "unbounded", 0),
  manyAgents(10_000, "unbounded", 1),
  ...[10, 1000, 100_000].map(detectorAlone),
  hubThroughput(1, false),
  hubThroughput(16, false),
  hubThroughput(100, false),
  hubThroughput(100, true),
  ...[1, 16, 100].map(hubLatency),
  middlewareStack,
  ...[100, 1000].map(windowTurns)
]
