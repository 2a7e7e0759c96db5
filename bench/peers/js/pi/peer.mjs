/** pi: an `Agent` whose stream function is scripted. It always streams, so texts come word by word. */
import { Agent } from "@earendil-works/pi-agent-core"
import { createAssistantMessageEventStream } from "@earendil-works/pi-ai"
import { Type } from "typebox"

const parameters = Type.Object({ operation: Type.String(), a: Type.Number(), b: Type.Number() })

const model = {
  id: "scripted",
  name: "scripted",
  api: "scripted",
  provider: "scripted",
  baseUrl: "",
  reasoning: false,
  input: ["text"],
  cost: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 },
  contextWindow: 128_000,
  maxTokens: 16_384
}

const usage = {
  input: 10,
  output: 5,
  cacheRead: 0,
  cacheWrite: 0,
  totalTokens: 15,
  cost: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0, total: 0 }
}

const message = (content, stopReason) => ({
  role: "assistant",
  content,
  api: model.api,
  provider: model.provider,
  model: model.id,
  usage,
  stopReason,
  timestamp: Date.now()
})

const respond = (turn, stream) => {
  if (typeof turn === "string") {
    const partial = message([{ type: "text", text: "" }], "stop")
    stream.push({ type: "start", partial })
    stream.push({ type: "text_start", contentIndex: 0, partial })
    for (const delta of turn.match(/\S+\s*/g)) {
      partial.content[0].text += delta
      stream.push({ type: "text_delta", contentIndex: 0, delta, partial })
    }
    stream.push({ type: "text_end", contentIndex: 0, content: turn, partial })
    stream.push({ type: "done", reason: "stop", message: partial })
  } else {
    const content = turn.map(({ id, name, params }) => ({ type: "toolCall", id, name, arguments: params }))
    const partial = message(content, "toolUse")
    stream.push({ type: "start", partial })
    content.forEach((toolCall, contentIndex) => {
      stream.push({ type: "toolcall_start", contentIndex, partial })
      stream.push({ type: "toolcall_end", contentIndex, toolCall, partial })
    })
    stream.push({ type: "done", reason: "toolUse", message: partial })
  }
}

export const peer = {
  package: "@earendil-works/pi-agent-core",
  notes: [
    "0.87.1 is the newest version that installs: later ones (up to 1.5.2) depend on packages that were not found in the registry.",
    "Streams by design: words arrive as deltas, events are made for each."
  ],
  agent: ({ execute }) => {
    let script
    const agent = new Agent({
      initialState: {
        systemPrompt: "You are a test agent",
        model,
        tools:
          execute === undefined
            ? []
            : [
                {
                  name: "calculator",
                  label: "Calculator",
                  description: "Performs arithmetic operations",
                  parameters,
                  execute: async (_id, params) => {
                    const result = await execute(params)
                    return { content: [{ type: "text", text: JSON.stringify(result) }], details: result }
                  }
                }
              ]
      },
      streamFn: async () => {
        const turn = await script.next()
        const stream = createAssistantMessageEventStream()
        respond(turn, stream)
        return stream
      }
    })
    return async (next) => {
      script = next
      agent.reset()
      await agent.prompt("What is 5 + 3?")
      const last = agent.state.messages.at(-1)
      if (last.stopReason === "error") throw new Error(last.errorMessage)
      return last.content.map(({ text }) => text).join("")
    }
  }
}
