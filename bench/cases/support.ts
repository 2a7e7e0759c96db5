import * as Agent from "effect-agent-runtime/Agent"
import type * as ContextWindow from "effect-agent-runtime/ContextWindow"
import { Llm } from "effect-agent-runtime/Llm"
import type * as StopCondition from "effect-agent-runtime/StopCondition"
import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
/** What the cases share: the tool of the original's benchmarks, in the library's terms and in the floor's. */
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Check } from "../Case.ts"
import { expect } from "../Case.ts"
import * as Floor from "../floor.ts"

/** The tool's schemas are its types, so they are made once; everything else is made in each operation. */
const parameters = Schema.Struct({ operation: Schema.String, a: Schema.Finite, b: Schema.Finite })
const success = Schema.Struct({ result: Schema.Finite })

export const makeToolkit = () =>
  Toolkit.make(Tool.make("calculator", { description: "Performs arithmetic operations", parameters, success }))

/**
 * The handler. Tools come from Layers, and an application builds and provides its Layers once. It serves every toolkit
 * made by {@link makeToolkit}, because a handler is found by the tool's name.
 */
export const Handlers = makeToolkit().toLayer({ calculator: ({ a, b }) => Effect.succeed({ result: a + b }) })

export const call = (a: number, b: number): ScriptedLlm.ScriptedCall => ({
  tool: "calculator",
  params: { operation: "add", a, b }
})

const instructions = "You are a test agent"

/** Builds model and agent and runs it, without tools. */
export const runPlain = (text: string, input: string, name = "test_agent") => {
  const agent = Agent.make(name, { instructions, streaming: true })
  return Effect.provideService(Agent.run(agent, input), Llm, ScriptedLlm.make([text]))
}

/** Builds model, tool, toolkit and agent and runs it. */
export const runWithTool = (script: ReadonlyArray<ScriptedLlm.Turn>, input: string) => {
  const toolkit = makeToolkit()
  const agent = Agent.make("test_agent", { instructions, toolkit, streaming: true })
  return Effect.provideService(Agent.run(agent, input), Llm, ScriptedLlm.make(script))
}

/** An agent with a tool, made once, as an application has it. */
export const prepared = (stopWhen?: StopCondition.StopCondition, contextWindow?: ContextWindow.ContextWindow) =>
  Agent.make("test_agent", { instructions, toolkit: makeToolkit(), streaming: true, stopWhen, contextWindow })

/** Builds a model and runs a prepared agent on it. */
export const runPrepared = (
  agent: ReturnType<typeof prepared>,
  script: ReadonlyArray<ScriptedLlm.Turn>,
  input: string
) => Effect.provideService(Agent.run(agent, input), Llm, ScriptedLlm.make(script))

/** A run's answer and the number of tools it ran. */
export const ran =
  (output: string, toolCalls: number): Check =>
  (result) => {
    const { output: actual, usage } = result as { output: string; usage: { toolCalls: number } }
    return expect(`"${output}" and ${toolCalls} tool calls`, actual === output && usage.toolCalls === toolCalls)
  }

export const floorTool = (): Floor.Tool => ({
  name: "calculator",
  validate: (params) =>
    typeof params["operation"] === "string" && Number.isFinite(params["a"]) && Number.isFinite(params["b"])
      ? undefined
      : "invalid arguments",
  execute: async (params) => ({ result: (params["a"] as number) + (params["b"] as number) })
})

export const floorCall = (a: number, b: number) => [{ name: "calculator", params: { operation: "add", a, b } }]

export const floorAgent = (tools: ReadonlyArray<Floor.Tool>, maxTurns = 10): Floor.Agent => ({
  name: "test_agent",
  systemPrompt: instructions,
  tools: new Map(tools.map((tool) => [tool.name, tool])),
  maxTurns
})

export const floorRun = (script: Parameters<typeof Floor.scriptedModel>[0], input: string, agent: Floor.Agent) =>
  Floor.run(agent, Floor.scriptedModel(script), input)
