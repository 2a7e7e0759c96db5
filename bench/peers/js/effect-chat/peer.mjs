/** `effect/ai`: the agent loop on `Chat` that Effect's own docs show, with a hand-made `LanguageModel`. */
import * as Chat from "effect/ai/Chat"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"

const parameters = Schema.Struct({ operation: Schema.String, a: Schema.Finite, b: Schema.Finite })
const success = Schema.Struct({ result: Schema.Finite })

const usage = {
  inputTokens: { uncached: 10, total: 10, cacheRead: undefined, cacheWrite: undefined },
  outputTokens: { total: 5, text: 5, reasoning: undefined }
}

const finish = (reason) => ({ type: "finish", reason, usage, response: undefined })

const parts = (turn) =>
  typeof turn === "string"
    ? [{ type: "text", text: turn }, finish("stop")]
    : [...turn.map(({ id, name, params }) => ({ type: "tool-call", id, name, params })), finish("tool-calls")]

const agent = Effect.fn("agent")(function* (toolkit, question) {
  const session = yield* Chat.fromPrompt([
    { role: "system", content: "You are a test agent" },
    { role: "user", content: question }
  ])
  while (true) {
    const response = yield* session.generateText({ prompt: [], ...(toolkit === undefined ? {} : { toolkit }) })
    if (response.toolCalls.length > 0) continue
    return response.text
  }
})

export const peer = {
  package: "effect",
  notes: ["A loop of building blocks: it has no turn limit. Same version of Effect as ours."],
  agent: ({ execute }) => {
    let script
    const model = LanguageModel.make({
      generateText: () =>
        Effect.map(
          Effect.promise(async () => script.next()),
          parts
        ),
      streamText: () => Stream.die("not scripted")
    })
    const toolkit =
      execute === undefined
        ? undefined
        : Toolkit.make(Tool.make("calculator", { description: "Performs arithmetic operations", parameters, success }))
    const handlers = toolkit?.toLayer({ calculator: (params) => Effect.promise(() => execute(params)) })
    const question = "What is 5 + 3?"
    const program =
      toolkit === undefined
        ? agent(undefined, question)
        : Effect.provide(
            Effect.flatMap(toolkit, (tools) => agent(tools, question)),
            handlers
          )
    return (next) => {
      script = next
      return Effect.runPromise(Effect.provideServiceEffect(program, LanguageModel.LanguageModel, model))
    }
  }
}
