/**
 * Structured output for models without a response format of their own: the answer is asked for as the arguments of a
 * tool, which nearly all models fill in well, and comes back as the text of the response. The agent sees no difference.
 *
 * @since 0.1.0
 */
import * as AiError from "effect/ai/AiError"
import * as Tool from "effect/ai/Tool"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { AssistantContent } from "../History.ts"
import * as History from "../History.ts"
import { canonical } from "../internal/json.ts"
import type { Delta, LlmRequest, LlmResponse, Middleware, OutputFormat } from "../Llm.ts"

/**
 * How to ask for the answer.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The name of the tool, which no tool of an agent may have. Default `final_answer`. */
  readonly name?: string | undefined
  readonly description?: string | undefined
}

/**
 * Makes the middleware. It does nothing to requests without `output`.
 *
 * **Details**
 *
 * - Any schema will do, a union or an array as well as an object: it is one member of the tool's arguments.
 * - The model has to call some tool in each turn, so that it cannot answer in words instead.
 * - An answer beside calls of other tools is premature and dropped.
 * - Text beside the answer is dropped. In a stream the answer becomes text while the model writes it, so that it can be
 *   shown as it grows (`Agent.streamOutput`).
 *
 * @category middleware
 * @since 0.1.0
 */
export const make = (options: Options = {}): Middleware => {
  const { description = "Gives the final answer. Call it once, when the answer is known.", name = "final_answer" } =
    options
  const toolOf = memoized(({ schema }) =>
    // The handler never runs: the runtime sees the answer as text.
    Tool.make(name, { description, parameters: Schema.Struct({ answer: schema }) })
  )
  return (llm) =>
    Effect.succeed({
      generate: (request, onDelta) => {
        if (request.output === undefined) return llm.generate(request, onDelta)
        if (request.tools.some((tool) => tool.name === name)) return Effect.fail(taken(name))
        const asked = asking(request, toolOf(request.output))
        return Effect.suspend(() => {
          const writing = onDelta && makeWriting(name, onDelta)
          return Effect.map(llm.generate(asked, writing?.pass), (response) => answered(name, response, writing))
        })
      }
    })
}

const memoized = (make: (output: OutputFormat) => Tool.Any) => {
  const made = new WeakMap<Schema.Top, Tool.Any>()
  return (output: OutputFormat): Tool.Any => {
    const tool = made.get(output.schema) ?? make(output)
    made.set(output.schema, tool)
    return tool
  }
}

const taken = (name: string): AiError.AiError =>
  AiError.make({
    module: "OutputTool",
    method: "generate",
    reason: new AiError.InvalidRequestError({
      parameter: "tools",
      description: `The agent has a tool '${name}' of its own: give OutputTool.make another 'name'.`
    })
  })

const asking = (request: LlmRequest, tool: Tool.Any): LlmRequest => ({
  ...request,
  output: undefined,
  // Without a choice the model may not call tools: only this one is left.
  tools: request.toolChoice === "none" ? [tool] : [...request.tools, tool],
  toolChoice: typeof request.toolChoice === "object" ? request.toolChoice : "required"
})

/** An answer that is being written, as the arguments of the tool. */
interface Writing {
  readonly pass: (delta: Delta) => void
  /** The response has this text: says what has not been said of it, and returns it as it was said. */
  readonly end: (text: string) => string
}

const makeWriting = (name: string, onDelta: (delta: Delta) => void): Writing => {
  let raw = ""
  let start = 0
  /** What of `raw` has been said, from `start` on: the answer without the object around it. */
  let said = 0

  const say = (): void => {
    if (start === 0) {
      start = /^\s*\{\s*"answer"\s*:\s*/.exec(raw)?.[0].length ?? 0
      said = start
      if (start === 0) return
    }
    const end = withoutBrace(raw)
    if (end <= said) return
    onDelta({ type: "text", delta: raw.slice(said, end) })
    said = end
  }

  return {
    pass: (delta) => {
      if (delta.type === "text") return
      if (delta.type !== "tool-params" || delta.name !== name) {
        if (delta.type === "restart") raw = ""
        if (raw === "") start = said = 0
        return onDelta(delta)
      }
      raw += delta.delta
      say()
    },
    end: (text) => {
      const told = raw.slice(start, said)
      if (told !== "" && isSame(told, text)) return told
      // The model said more than its answer, or it was not the answer yet.
      if (told !== "") onDelta(takenBack)
      if (text !== "") onDelta({ type: "text", delta: text })
      return text
    }
  }
}

/** Behind the text, without the brace at its end, which may be that of the object around the answer. */
const withoutBrace = (text: string): number => {
  let end = text.length
  while (end > 0 && /\s/.test(text.charAt(end - 1))) end--
  if (text.charAt(end - 1) !== "}") return end
  end--
  while (end > 0 && /\s/.test(text.charAt(end - 1))) end--
  return end
}

const isSame = (told: string, text: string): boolean =>
  Result.getOrElse(
    Result.try(() => canonical(JSON.parse(told)) === canonical(JSON.parse(text))),
    () => false
  )

const takenBack: Delta = {
  type: "restart",
  reason: "InvalidResponseError",
  message: "What was streamed is not the answer",
  delayMillis: 0,
  model: undefined
}

const answered = (name: string, response: LlmResponse, writing: Writing | undefined): LlmResponse => {
  const { answer, rest } = split(name, response.content)
  const text = answer ?? History.text(rest)
  const said = writing === undefined ? text : writing.end(text)
  if (answer === undefined) return { ...response, content: rest }
  return {
    ...response,
    content: [...rest, { type: "text", text: said }],
    finishReason: response.finishReason === "tool-calls" ? "stop" : response.finishReason
  }
}

/** The answer as text, if there is one, and what goes with it: calls of other tools come first, and then it is not yet one. */
const split = (
  name: string,
  content: AssistantContent
): { readonly answer: string | undefined; readonly rest: AssistantContent } => {
  const answer = content.find((part) => part.type === "tool-call" && part.name === name)
  const rest = content.filter((part) => part.type !== "tool-call" || part.name !== name)
  const isPremature = rest.some((part) => part.type === "tool-call" && part.providerExecuted !== true)
  if (answer?.type !== "tool-call" || isPremature) return { answer: undefined, rest }
  return { answer: textOf(answer.params), rest: rest.filter((part) => part.type !== "text") }
}

/** The answer as JSON, or whatever the model wrote instead: the agent checks it. */
const textOf = (params: unknown): string => {
  if (typeof params === "string") return params
  return JSON.stringify(Predicate.hasProperty(params, "answer") ? params.answer : params) ?? "null"
}
