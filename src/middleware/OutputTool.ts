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
import * as Schema from "effect/Schema"
import type { AssistantContent } from "../History.ts"
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
 * - Text beside the answer is dropped. So a streamed response says its text in one piece, at the end.
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
        return Effect.map(
          llm.generate(asking(request, toolOf(request.output)), onDelta && withoutText(name, onDelta)),
          (response) => answered(name, response, onDelta)
        )
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

/** What is not text, and not the answer. */
const withoutText =
  (name: string, onDelta: (delta: Delta) => void) =>
  (delta: Delta): void => {
    if (delta.type !== "text" && (delta.type !== "tool-params" || delta.name !== name)) onDelta(delta)
  }

const answered = (name: string, response: LlmResponse, onDelta: ((delta: Delta) => void) | undefined): LlmResponse => {
  const content = withAnswer(name, response.content)
  for (const part of content) if (part.type === "text") onDelta?.({ type: "text", delta: part.text })
  const isDone = content.every((part) => part.type !== "tool-call") && response.finishReason === "tool-calls"
  return { ...response, content, finishReason: isDone ? "stop" : response.finishReason }
}

const withAnswer = (name: string, content: AssistantContent): AssistantContent => {
  const answer = content.find((part) => part.type === "tool-call" && part.name === name)
  if (answer?.type !== "tool-call") return content
  const others = content.filter((part) => part.type !== "tool-call" || part.name !== name)
  if (others.some((part) => part.type === "tool-call" && part.providerExecuted !== true)) return others
  return [...others.filter((part) => part.type !== "text"), { type: "text", text: textOf(answer.params) }]
}

/** The answer as JSON, or whatever the model wrote instead: the agent checks it. */
const textOf = (params: unknown): string => {
  if (typeof params === "string") return params
  return JSON.stringify(Predicate.hasProperty(params, "answer") ? params.answer : params) ?? "null"
}
