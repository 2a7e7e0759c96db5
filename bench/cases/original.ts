import type { AgentEvent } from "effect-agent-runtime/AgentEvent"
import * as EventHub from "effect-agent-runtime/EventHub"
import * as Toolbox from "effect-agent-runtime/Toolbox"
/**
 * The benchmarks of the original's report, by their names, with the same contents in the timed region: model, tools,
 * agent and input are built in each operation, loop detection is on, texts are streamed word by word. A tool's schemas
 * are types and its handler comes from a Layer; both are made once.
 */
import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import * as Scope from "effect/Scope"
import type { Case } from "../Case.ts"
import { expect } from "../Case.ts"
import {
  call,
  floorAgent,
  floorCall,
  floorRun,
  floorTool,
  Handlers,
  makeToolkit,
  prepared,
  ran,
  runPlain,
  runPrepared,
  runWithTool
} from "./support.ts"

const noTools: Case = {
  name: "agent_execution_no_tools",
  describes: "build and run an agent without tools: one model call, four words",
  published: 2.37,
  ours: () => ({
    kind: "effect",
    operation: () => runPlain("Test response from agent", "Test input"),
    check: ran("Test response from agent", 0)
  }),
  floor: () => ({
    kind: "promise",
    operation: () => floorRun(["Test response from agent"], "Test input", floorAgent([])),
    check: ran("Test response from agent", 0)
  })
}

const singleTool: Case = {
  name: "agent_execution_single_tool",
  describes: "build and run an agent with one tool: two model calls, one tool call",
  published: 19.38,
  ours: () => ({
    kind: "effect",
    operation: () => runWithTool([call(5, 3), "The result is 8"], "Calculate 5 + 3"),
    check: ran("The result is 8", 1)
  }),
  floor: () => ({
    kind: "promise",
    operation: () => floorRun([floorCall(5, 3), "The result is 8"], "Calculate 5 + 3", floorAgent([floorTool()])),
    check: ran("The result is 8", 1)
  })
}

const singleToolPrepared: Case = {
  name: "agent_execution_single_tool/prepared",
  describes: "the same run of an agent and tools made once, as an application has them: model and input are built",
  ours: () => {
    const agent = prepared()
    return {
      kind: "effect",
      operation: () => runPrepared(agent, [call(5, 3), "The result is 8"], "Calculate 5 + 3"),
      check: ran("The result is 8", 1)
    }
  },
  floor: () => {
    const agent = floorAgent([floorTool()])
    return {
      kind: "promise",
      operation: () => floorRun([floorCall(5, 3), "The result is 8"], "Calculate 5 + 3", agent),
      check: ran("The result is 8", 1)
    }
  }
}

const multipleTools: Case = {
  name: "agent_execution_multiple_tools",
  describes: "the same with three tool calls in three turns: four model calls",
  published: 44.33,
  ours: () => ({
    kind: "effect",
    operation: () => runWithTool([call(5, 3), call(8, 2), call(10, 4), "All calculations are done now"], "Calculate"),
    check: ran("All calculations are done now", 3)
  }),
  floor: () => ({
    kind: "promise",
    operation: () =>
      floorRun(
        [floorCall(5, 3), floorCall(8, 2), floorCall(10, 4), "All calculations are done now"],
        "Calculate",
        floorAgent([floorTool()])
      ),
    check: ran("All calculations are done now", 3)
  })
}

const toolOverhead: Case = {
  name: "tool_execution_overhead",
  describes: "build a toolkit and its toolbox, look the tool up and run it once, arguments and result validated",
  published: 0.462,
  ours: () => ({
    kind: "effect",
    operation: () => {
      const toolkit = makeToolkit()
      const params = { operation: "add", a: 5, b: 3 }
      return Effect.flatMap(Toolbox.make(toolkit), (toolbox) =>
        toolbox.call({ id: "call_1", name: "calculator", params })
      )
    },
    check: (result) => expect("8", (result as { result: { result: number } }).result.result === 8)
  }),
  floor: () => ({
    kind: "promise",
    operation: async () => {
      const tools = new Map([["calculator", floorTool()]])
      const tool = tools.get("calculator")!
      const params = { operation: "add", a: 5, b: 3 }
      return tool.validate(params) === undefined ? tool.execute(params) : undefined
    },
    check: (result) => expect("8", (result as { result: number }).result === 8)
  })
}

let offset = 0

/** One event, like the original's: what happened, to whom, when. */
const event = (): AgentEvent => ({
  _tag: "TextDelta",
  runId: "run_1",
  parentRunId: undefined,
  rootRunId: undefined,
  agent: "agent",
  offset: offset++,
  timestamp: Date.now(),
  turn: 1,
  delta: "Test message"
})

const isEvent = (result: unknown) => expect("the event", (result as ReadonlyArray<AgentEvent>)[0]?._tag === "TextDelta")

const toolPrepared: Case = {
  name: "tool_execution_overhead/prepared",
  describes: "look a tool of a toolbox up and run it once, arguments and result validated",
  ours: () => {
    const toolbox = Effect.runSync(Effect.provide(Toolbox.make(makeToolkit()), Handlers))
    return {
      kind: "effect",
      operation: () => toolbox.call({ id: "call_1", name: "calculator", params: { operation: "add", a: 5, b: 3 } }),
      check: (result) => expect("8", (result as { result: { result: number } }).result.result === 8)
    }
  }
}

const eventEmission: Case = {
  name: "event_emission",
  describes:
    "make a channel of 100, build an event, send and receive it (the original's shape: a new channel each time)",
  published: 1.07,
  ours: () => ({
    kind: "effect",
    operation: () =>
      Effect.scoped(
        Effect.gen(function* () {
          const pubsub = yield* PubSub.bounded<AgentEvent>(100)
          const subscription = yield* PubSub.subscribe(pubsub)
          yield* PubSub.publish(pubsub, event())
          return yield* PubSub.takeAll(subscription)
        })
      ),
    check: isEvent
  }),
  floor: () => ({
    kind: "promise",
    operation: async () => {
      const queue: Array<AgentEvent> = []
      const subscribers = [(received: AgentEvent) => queue.push(received)]
      for (const subscriber of subscribers) subscriber(event())
      return queue
    },
    check: isEvent
  })
}

const eventHub: Case = {
  name: "event_emission_hub",
  describes: "build an event, publish it to a standing EventHub and receive it in a subscription",
  ours: () => {
    const scope = Scope.makeUnsafe()
    const hub = Effect.runSync(Scope.provide(EventHub.make(), scope))
    const { take } = Effect.runSync(Scope.provide(hub.subscribe(), scope))
    return {
      kind: "effect",
      operation: () =>
        Effect.suspend(() => {
          hub.publish([event()])
          return take
        }),
      check: isEvent
    }
  }
}

const concurrentAgents = (agents: number, published: number): Case => {
  const names = Array.from({ length: agents }, (_, i) => i)
  const check = (result: unknown) => {
    const outputs = (result as ReadonlyArray<{ output: string }>).map(({ output }) => output)
    return expect(
      `${agents} answers, each to its agent`,
      outputs.length === agents && outputs.every((output, i) => output === `Response from agent ${i}`)
    )
  }
  return {
    name: `concurrent_agents/${agents}`,
    describes: `fork ${agents} fibers, each building and running an agent without tools, and join them`,
    published,
    per: { unit: "agent", count: agents },
    ours: () => ({
      kind: "effect",
      operation: () =>
        Effect.forEach(names, (i) => runPlain(`Response from agent ${i}`, "Test input", `agent_${i}`), {
          concurrency: "unbounded"
        }),
      check
    }),
    floor: () => ({
      kind: "promise",
      operation: () =>
        Promise.all(names.map((i) => floorRun([`Response from agent ${i}`], "Test input", floorAgent([])))),
      check
    })
  }
}

const loopDetection: Case = {
  name: "tool_loop_detection",
  describes: "a run whose model makes the same call twice: three model calls, the repeated call is answered, not run",
  published: 18.99,
  ours: () => ({
    kind: "effect",
    operation: () => runWithTool([call(5, 3), call(5, 3), "Result"], "Calculate 5 + 3"),
    check: ran("Result", 1)
  }),
  floor: () => ({
    kind: "promise",
    operation: () =>
      floorRun([floorCall(5, 3), floorCall(5, 3), "Result"], "Calculate 5 + 3", floorAgent([floorTool()])),
    check: ran("Result", 1)
  })
}

export const original: ReadonlyArray<Case> = [
  noTools,
  singleTool,
  singleToolPrepared,
  multipleTools,
  toolOverhead,
  toolPrepared,
  eventEmission,
  eventHub,
  concurrentAgents(1, 12.88),
  concurrentAgents(5, 21.09),
  concurrentAgents(10, 28.54),
  concurrentAgents(20, 42.2),
  concurrentAgents(50, 68.46),
  loopDetection
]
