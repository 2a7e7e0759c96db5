/** AI SDK: a `ToolLoopAgent` on the SDK's own mock model. */
import { isStepCount, tool, ToolLoopAgent } from "ai"
import { MockLanguageModelV4 } from "ai/test"
import { z } from "zod"

const inputSchema = z.object({ operation: z.string(), a: z.number(), b: z.number() })

const usage = {
  inputTokens: { total: 10, noCache: 10, cacheRead: undefined, cacheWrite: undefined },
  outputTokens: { total: 5, text: 5, reasoning: undefined }
}

const response = (turn) =>
  typeof turn === "string"
    ? {
        content: [{ type: "text", text: turn }],
        finishReason: { unified: "stop", raw: undefined },
        usage,
        warnings: []
      }
    : {
        content: turn.map(({ id, name, params }) => ({
          type: "tool-call",
          toolCallId: id,
          toolName: name,
          input: JSON.stringify(params)
        })),
        finishReason: { unified: "tool-calls", raw: undefined },
        usage,
        warnings: []
      }

export const peer = {
  package: "ai",
  agent: ({ execute, maxTurns }) => {
    let script
    const agent = new ToolLoopAgent({
      model: new MockLanguageModelV4({ doGenerate: async () => response(await script.next()) }),
      instructions: "You are a test agent",
      stopWhen: isStepCount(maxTurns),
      ...(execute === undefined
        ? {}
        : { tools: { calculator: tool({ description: "Performs arithmetic operations", inputSchema, execute }) } })
    })
    return async (next) => {
      script = next
      const { text } = await agent.generate({ prompt: "What is 5 + 3?" })
      return text
    }
  }
}
