/** VoltAgent: an `Agent` on the AI SDK's mock model, without memory or observability export. */
import { Agent, createTool } from "@voltagent/core"
import { MockLanguageModelV3 } from "ai/test"
import { z } from "zod"

// It passes its instructions in a way that AI SDK 6 prints a warning about, at every run.
globalThis.AI_SDK_LOG_WARNINGS = false

const parameters = z.object({ operation: z.string(), a: z.number(), b: z.number() })

const usage = {
  inputTokens: { total: 10, noCache: 10, cacheRead: undefined, cacheWrite: undefined },
  outputTokens: { total: 5, text: 5, reasoning: undefined }
}

const response = (turn) => ({
  content:
    typeof turn === "string"
      ? [{ type: "text", text: turn }]
      : turn.map(({ id, name, params }) => ({
          type: "tool-call",
          toolCallId: id,
          toolName: name,
          input: JSON.stringify(params)
        })),
  finishReason: { unified: typeof turn === "string" ? "stop" : "tool-calls", raw: undefined },
  usage,
  warnings: []
})

export const peer = {
  package: "@voltagent/core",
  notes: ["Runs on AI SDK 6.", "Its spans are kept in memory, as by default."],
  agent: ({ execute, maxTurns }) => {
    let script
    const agent = new Agent({
      name: "test_agent",
      instructions: "You are a test agent",
      model: new MockLanguageModelV3({ doGenerate: async () => response(await script.next()) }),
      memory: false,
      maxSteps: maxTurns,
      tools:
        execute === undefined
          ? []
          : [createTool({ name: "calculator", description: "Performs arithmetic operations", parameters, execute })]
    })
    return async (next) => {
      script = next
      const { text } = await agent.generateText("What is 5 + 3?")
      return text
    }
  }
}
