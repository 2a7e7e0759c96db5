/** LangChain: `createAgent` (a LangGraph graph) on a chat model of our own; no tracer. */
import { BaseChatModel } from "@langchain/core/language_models/chat_models"
import { AIMessage } from "@langchain/core/messages"
import { createAgent, tool } from "langchain"
import { z } from "zod"

const schema = z.object({ operation: z.string(), a: z.number(), b: z.number() })

class ScriptedChatModel extends BaseChatModel {
  script
  _llmType() {
    return "scripted"
  }
  bindTools() {
    return this
  }
  async _generate() {
    const turn = await this.script.next()
    const message =
      typeof turn === "string"
        ? new AIMessage({ content: turn })
        : new AIMessage({
            content: "",
            tool_calls: turn.map(({ id, name, params }) => ({ type: "tool_call", id, name, args: params }))
          })
    return { generations: [{ text: typeof turn === "string" ? turn : "", message }] }
  }
}

export const peer = {
  package: "langchain",
  agent: ({ execute, maxTurns }) => {
    const model = new ScriptedChatModel({})
    const agent = createAgent({
      model,
      systemPrompt: "You are a test agent",
      tools:
        execute === undefined
          ? []
          : [tool(execute, { name: "calculator", description: "Performs arithmetic operations", schema })]
    })
    return async (next) => {
      model.script = next
      const { messages } = await agent.invoke(
        { messages: [{ role: "user", content: "What is 5 + 3?" }] },
        { recursionLimit: 2 * maxTurns + 5 }
      )
      return messages.at(-1).content
    }
  }
}
