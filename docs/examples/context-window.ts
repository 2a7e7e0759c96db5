/**
 * A conversation that outgrows its window: old results of tools are cleared first, then the model summarizes what is old.
 * Tokens are counted by a real tokenizer. The history keeps everything.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Agent from "effect-agent-runtime/Agent"
import * as ContextWindow from "effect-agent-runtime/ContextWindow"
import * as EventHub from "effect-agent-runtime/EventHub"
import * as History from "effect-agent-runtime/History"
import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
import * as TokenEstimator from "effect-agent-runtime/TokenEstimator"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { countTokens } from "gpt-tokenizer/encoding/o200k_base"

const Library = Toolkit.make(
  Tool.make("read_chapter", { parameters: Schema.Struct({ chapter: Schema.Int }), success: Schema.String })
)

const LibraryLayer = Library.toLayer({
  read_chapter: ({ chapter }) => Effect.succeed(`Chapter ${chapter}. ${"The whale swims on. ".repeat(30)}`)
})

// 360 tokens of input leave 120 for the answer; a real model has a hundred thousand and more.
const budget = { total: 480, ratio: 3 }

const reader = Agent.make("reader", {
  instructions: "Answer questions about the book.",
  toolkit: Library,
  contextWindow: ContextWindow.compose(
    ContextWindow.dropToolResults(budget, { keepResults: 1 }),
    ContextWindow.summarize(budget)
  )
})

const read = (chapter: number) => ({ tool: "read_chapter", params: { chapter } })

const model = ScriptedLlm.layer([
  read(1),
  "A whale swims.",
  read(2),
  "It swims on.",
  read(3),
  "And on.",
  read(4),
  // This answers the request for a summary, which the next question makes necessary.
  "The user reads a book with the reader. Chapters 1 to 4: a whale swims on and on.",
  (request) => `I was sent: ${Array.from(request.history, (message) => message.role).join(", ")}.`
])

export const program = Effect.gen(function* () {
  const { take } = yield* EventHub.subscribe({ scopes: ["system"] })
  let history = History.empty
  for (const chapter of [1, 2, 3, 4]) {
    const result = yield* Agent.run(reader, { history, prompt: `What happens in chapter ${chapter}?` })
    yield* Console.log(result.output)
    history = result.history
  }
  yield* Console.log(`The history has ${history.length} messages. What was sent:`)
  for (const event of yield* take) {
    if (event._tag !== "ContextPruned") continue
    const { after, before, trigger, usage } = event
    yield* Console.log(`${before.tokens} → ${after.tokens} tokens, ${trigger}, ${usage.modelCalls} model calls`)
  }
}).pipe(
  Effect.scoped,
  Effect.provide([LibraryLayer, model, EventHub.layer(), TokenEstimator.layer({ text: (text) => countTokens(text) })])
)

if (import.meta.main) NodeRuntime.runMain(program)
