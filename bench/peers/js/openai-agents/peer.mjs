/** OpenAI Agents: an `Agent` on a `Model` of our own; tracing off. */
import { Agent, run, setTracingDisabled, tool, Usage } from "@openai/agents"
import { z } from "zod"

setTracingDisabled(true)

const parameters = z.object({ operation: z.string(), a: z.number(), b: z.number() })

const output = (turn) =>
  typeof turn === "string"
    ? [{ type: "message", role: "assistant", status: "completed", content: [{ type: "output_text", text: turn }] }]
    : turn.map(({ id, name, params }) => ({
        type: "function_call",
        callId: id,
        name,
        status: "completed",
        arguments: JSON.stringify(params)
      }))

export const peer = {
  package: "@openai/agents",
  agent: ({ execute, maxTurns }) => {
    let script
    const agent = new Agent({
      name: "test_agent",
      instructions: "You are a test agent",
      model: {
        getResponse: async () => ({
          usage: new Usage({ requests: 1, inputTokens: 10, outputTokens: 5, totalTokens: 15 }),
          output: output(await script.next())
        }),
        getStreamedResponse: () => {
          throw new Error("not scripted")
        }
      },
      tools:
        execute === undefined
          ? []
          : [tool({ name: "calculator", description: "Performs arithmetic operations", parameters, execute })]
    })
    return async (next) => {
      script = next
      const result = await run(agent, "What is 5 + 3?", { maxTurns })
      return result.finalOutput
    }
  }
}
