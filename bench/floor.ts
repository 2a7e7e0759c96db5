/**
 * The floor: an agent loop in plain async/await with nothing of Effect, doing what the benchmarks ask for and no more.
 * It has a scripted model that streams words, a tool registry, validated arguments, a conversation, a turn limit and
 * exact loop detection. It has no events, typed errors, cancellation, concurrency bound, timeouts or schemas.
 */

export interface Message {
  readonly role: "system" | "user" | "assistant" | "tool"
  readonly content: string
  readonly toolCalls?: ReadonlyArray<ToolCall>
  readonly toolCallId?: string
}

export interface ToolCall {
  readonly id: string
  readonly name: string
  readonly params: Record<string, unknown>
}

export interface Response {
  readonly content: string
  readonly toolCalls: ReadonlyArray<ToolCall>
  readonly tokens: { readonly input: number; readonly output: number }
}

export interface Tool {
  readonly name: string
  readonly validate: (params: Record<string, unknown>) => string | undefined
  readonly execute: (params: Record<string, unknown>) => Promise<unknown>
}

export interface Agent {
  readonly name: string
  readonly systemPrompt: string
  readonly tools: ReadonlyMap<string, Tool>
  readonly maxTurns: number
}

/** A model that follows a script, records requests and streams its texts word by word. */
export const scriptedModel = (script: ReadonlyArray<string | ReadonlyArray<Omit<ToolCall, "id">>>) => {
  const requests: Array<ReadonlyArray<Message>> = []
  let used = 0
  let ids = 0
  return {
    requests,
    chat: async (messages: ReadonlyArray<Message>, onChunk: (chunk: string) => void): Promise<Response> => {
      requests.push(messages)
      const turn = script[used++]
      if (turn === undefined) throw new Error("script exhausted")
      const tokens = { input: 10, output: 5 }
      if (typeof turn !== "string") {
        return { content: "", toolCalls: turn.map((call) => ({ id: `call_${++ids}`, ...call })), tokens }
      }
      for (const word of turn.match(/\S+\s*/g) ?? []) onChunk(word)
      return { content: turn, toolCalls: [], tokens }
    }
  }
}

const canonical = (params: Record<string, unknown>): string => {
  const sorted: Record<string, unknown> = {}
  for (const key of Object.keys(params).toSorted()) sorted[key] = params[key]
  return JSON.stringify(sorted)
}

const noop = () => {}

export const run = async (agent: Agent, model: ReturnType<typeof scriptedModel>, input: string) => {
  const messages: Array<Message> = [
    { role: "system", content: agent.systemPrompt },
    { role: "user", content: input }
  ]
  const seen = new Map<string, string>()
  const usage = { input: 0, output: 0, modelCalls: 0, toolCalls: 0 }
  for (let turn = 1; turn <= agent.maxTurns; turn++) {
    const response = await model.chat(messages, noop)
    usage.input += response.tokens.input
    usage.output += response.tokens.output
    usage.modelCalls++
    messages.push({ role: "assistant", content: response.content, toolCalls: response.toolCalls })
    if (response.toolCalls.length === 0) return { output: response.content, messages, usage, turns: turn }
    for (const call of response.toolCalls) {
      const key = `${call.name}:${canonical(call.params)}`
      const previous = seen.get(key)
      let content: string
      if (previous !== undefined) {
        content = `You already called the tool '${call.name}' and received: ${previous}`
      } else {
        const tool = agent.tools.get(call.name)
        const invalid = tool === undefined ? "unknown tool" : tool.validate(call.params)
        if (tool === undefined || invalid !== undefined) {
          content = `Error: ${invalid}`
        } else {
          usage.toolCalls++
          content = JSON.stringify(await tool.execute(call.params))
          seen.set(key, content)
        }
      }
      messages.push({ role: "tool", content, toolCallId: call.id })
    }
  }
  throw new Error("turn limit reached")
}
