/** Ours, called as the others are: an agent made once per call of `agent`, each run a promise. */
import * as Agent from "effect-agent-runtime/Agent"
import { Llm } from "effect-agent-runtime/Llm"
import manifest from "effect-agent-runtime/package.json" with { type: "json" }
import * as StopCondition from "effect-agent-runtime/StopCondition"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

const parameters = Schema.Struct({ operation: Schema.String, a: Schema.Finite, b: Schema.Finite })
const success = Schema.Struct({ result: Schema.Finite })

const tokens = { inputTokens: 10, outputTokens: 5, cachedInputTokens: 0, cacheWriteTokens: 0, reasoningTokens: 0 }

const response = (turn) =>
  typeof turn === "string"
    ? { content: [{ type: "text", text: turn }], finishReason: "stop", tokens, model: "scripted" }
    : {
        content: turn.map((call) => ({ type: "tool-call", ...call })),
        finishReason: "tool-calls",
        tokens,
        model: "scripted"
      }

export const peer = {
  version: manifest.version,
  agent: ({ execute, maxTurns }) => {
    const options = { instructions: "You are a test agent", stopWhen: StopCondition.maxTurns(maxTurns) }
    const llm = (script) => ({
      generate: () =>
        Effect.map(
          Effect.promise(async () => script.next()),
          response
        )
    })
    if (execute === undefined) {
      const agent = Agent.make("test_agent", options)
      return (script) =>
        Effect.runPromise(
          Effect.map(Effect.provideService(Agent.run(agent, "What is 5 + 3?"), Llm, llm(script)), ({ text }) => text)
        )
    }
    const toolkit = Toolkit.make(
      Tool.make("calculator", { description: "Performs arithmetic operations", parameters, success })
    )
    const agent = Agent.make("test_agent", { ...options, toolkit })
    const handlers = Effect.runSync(
      toolkit.toHandlers({ calculator: (params) => Effect.promise(() => execute(params)) })
    )
    return (script) =>
      Effect.runPromise(
        Agent.run(agent, "What is 5 + 3?").pipe(
          Effect.map(({ text }) => text),
          Effect.provideService(Llm, llm(script)),
          Effect.provideContext(handlers)
        )
      )
  }
}
