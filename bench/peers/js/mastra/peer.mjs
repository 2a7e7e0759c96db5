/** Mastra: an `Agent` on a hand-made AI SDK model, without memory. */
import { Agent } from "@mastra/core/agent"
import { createTool } from "@mastra/core/tools"
import { z } from "zod"

const inputSchema = z.object({ operation: z.string(), a: z.number(), b: z.number() })

const usage = { inputTokens: 10, outputTokens: 5, totalTokens: 15 }

const content = (turn) =>
  typeof turn === "string"
    ? [{ type: "text", text: turn }]
    : turn.map(({ id, name, params }) => ({
        type: "tool-call",
        toolCallId: id,
        toolName: name,
        input: JSON.stringify(params)
      }))

export const peer = {
  package: "@mastra/core",
  agent: ({ execute, maxTurns }) => {
    let script
    const agent = new Agent({
      id: "test_agent",
      name: "test_agent",
      instructions: "You are a test agent",
      model: {
        specificationVersion: "v2",
        provider: "scripted",
        modelId: "scripted",
        supportedUrls: {},
        doGenerate: async () => {
          const turn = await script.next()
          return {
            content: content(turn),
            finishReason: typeof turn === "string" ? "stop" : "tool-calls",
            usage,
            warnings: []
          }
        },
        doStream: async () => {
          throw new Error("not scripted")
        }
      },
      ...(execute === undefined
        ? {}
        : {
            tools: {
              calculator: createTool({
                id: "calculator",
                description: "Performs arithmetic operations",
                inputSchema,
                execute: (params) => execute(params)
              })
            }
          })
    })
    return async (next) => {
      script = next
      const { text } = await agent.generate("What is 5 + 3?", { maxSteps: maxTurns })
      return text
    }
  }
}
