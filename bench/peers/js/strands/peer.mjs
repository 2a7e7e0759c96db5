/** Strands: an `Agent` on a `Model` of our own, which streams by design; nothing printed. */
import { Agent, Model, tool } from "@strands-agents/sdk"
import { z } from "zod"

const inputSchema = z.object({ operation: z.string(), a: z.number(), b: z.number() })

class ScriptedModel extends Model {
  script
  updateConfig() {}
  getConfig() {
    return { modelId: "scripted" }
  }
  async *stream() {
    const turn = await this.script.next()
    yield { type: "modelMessageStartEvent", role: "assistant" }
    if (typeof turn === "string") {
      yield { type: "modelContentBlockStartEvent" }
      for (const text of turn.match(/\S+\s*/g)) {
        yield { type: "modelContentBlockDeltaEvent", delta: { type: "textDelta", text } }
      }
      yield { type: "modelContentBlockStopEvent" }
      yield { type: "modelMessageStopEvent", stopReason: "endTurn" }
    } else {
      for (const { id, name, params } of turn) {
        yield { type: "modelContentBlockStartEvent", start: { type: "toolUseStart", name, toolUseId: id } }
        yield {
          type: "modelContentBlockDeltaEvent",
          delta: { type: "toolUseInputDelta", input: JSON.stringify(params) }
        }
        yield { type: "modelContentBlockStopEvent" }
      }
      yield { type: "modelMessageStopEvent", stopReason: "toolUse" }
    }
    yield { type: "modelMetadataEvent", usage: { inputTokens: 10, outputTokens: 5, totalTokens: 15 } }
  }
}

export const peer = {
  package: "@strands-agents/sdk",
  notes: ["Streams by design: words arrive as deltas, events are made for each."],
  agent: ({ execute }) => {
    const model = new ScriptedModel()
    const agent = new Agent({
      model,
      systemPrompt: "You are a test agent",
      printer: false,
      tools:
        execute === undefined
          ? []
          : [
              tool({
                name: "calculator",
                description: "Performs arithmetic operations",
                inputSchema,
                callback: execute
              })
            ]
    })
    return async (next) => {
      model.script = next
      agent.messages.length = 0
      const { lastMessage } = await agent.invoke("What is 5 + 3?")
      return lastMessage.content.map(({ text }) => text).join("")
    }
  }
}
