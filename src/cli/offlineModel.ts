/**
 * A stand-in for a model, for those who have none at hand: it works out the arithmetic in a question with the
 * calculator, step by step, and tells the time. What it asks for next follows from the conversation alone.
 */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as History from "../History.ts"
import * as Llm from "../Llm.ts"
import * as Arithmetic from "./arithmetic.ts"

const name = "offline-stand-in"

const greeting =
  "I found no arithmetic in that. I am only an offline stand-in for a model: I can work out something like "
  + "(5 + 3) * 2 - 4, and tell the time."

/** What is known of a call: its result, or why it has none. */
type Outcome = { readonly value: unknown } | { readonly problem: string }

/** Answers the last question in the conversation, or asks for the tools that it takes. */
export const respond = (request: Llm.LlmRequest): Llm.LlmResponse => {
  const { outcomes, question } = read(request.history)
  const found = Arithmetic.find(question)
  const reply = found.length > 0 ? solve(found, outcomes) : /\btime\b/i.test(question) ? tellTime(outcomes) : greeting
  const content: History.AssistantContent =
    typeof reply === "string"
      ? [{ type: "text", text: reply }]
      : reply.map((call, index) => ({ type: "tool-call", id: `call_${request.history.length}_${index}`, ...call }))
  return {
    content,
    finishReason: typeof reply === "string" ? "stop" : "tool-calls",
    tokens: {
      inputTokens: estimate([request.instructions, ...request.history]),
      outputTokens: estimate(content),
      cachedInputTokens: 0,
      cacheWriteTokens: 0,
      reasoningTokens: 0
    },
    model: name
  }
}

/** A call as the stand-in thinks of it; the same call is never made twice. */
interface Call {
  readonly name: string
  readonly params: unknown
}

const keyOf = ({ name, params }: Call): string => `${name} ${JSON.stringify(params)}`

/** The last question, and what came of the calls made for it. */
const read = (history: History.History) => {
  let question = ""
  const outcomes = new Map<string, Outcome>()
  const calls = new Map<string, Call>()
  for (const message of history) {
    if (message.role === "user") {
      question = History.userText(message.content)
      outcomes.clear()
    } else if (message.role === "assistant" && typeof message.content !== "string") {
      for (const call of History.toolCalls(message.content)) calls.set(call.id, call)
    } else if (message.role === "tool") {
      for (const part of message.content) {
        const call = part.type === "tool-result" ? calls.get(part.id) : undefined
        if (part.type !== "tool-result" || call === undefined) continue
        outcomes.set(keyOf(call), part.isFailure ? { problem: explain(part.result) } : { value: part.result })
      }
    }
  }
  return { question, outcomes }
}

const explain = (failure: unknown): string =>
  Predicate.hasProperty(failure, "message") ? String(failure.message) : String(failure)

/** The sentence that answers, or the calls to make first. */
const solve = (
  found: ReadonlyArray<Arithmetic.Found>,
  outcomes: ReadonlyMap<string, Outcome>
): string | ReadonlyArray<Call> => {
  let problem: string | undefined
  const calls = new Map<string, Call>()
  const sentences = found.map(({ expression, text }) => {
    const next = Arithmetic.step(expression, (calculation) => {
      const outcome = outcomes.get(keyOf(calculator(calculation)))
      if (outcome === undefined) return undefined
      if ("value" in outcome && Predicate.hasProperty(outcome.value, "result")) return Number(outcome.value.result)
      problem ??= `I cannot work out ${text}: ${"problem" in outcome ? outcome.problem : "the calculator is broken"}.`
      return undefined
    })
    // 15 digits are what a double keeps of a decimal number: 0.1 + 0.2 is 0.3.
    if (typeof next === "number") return `${text} is ${Number(next.toPrecision(15))}.`
    for (const call of next.map(calculator)) calls.set(keyOf(call), call)
    return ""
  })
  return problem ?? (calls.size > 0 ? [...calls.values()] : sentences.join(" "))
}

const calculator = (params: Arithmetic.Calculation): Call => ({ name: "calculator", params })

const tellTime = (outcomes: ReadonlyMap<string, Outcome>): string | ReadonlyArray<Call> => {
  const call: Call = { name: "current_time", params: {} }
  const outcome = outcomes.get(keyOf(call))
  if (outcome === undefined) return [call]
  return "value" in outcome && Predicate.hasProperty(outcome.value, "time")
    ? `It is ${String(outcome.value.time)}.`
    : "I cannot tell the time."
}

/** Four characters to a token, as a rule of thumb. */
const estimate = (content: unknown): number => Math.ceil(JSON.stringify(content).length / 4)

export const generate: Llm.Generate = (request, onDelta) =>
  Effect.sync(() => {
    const response = respond(request)
    if (onDelta !== undefined) {
      for (const delta of History.text(response.content).match(/\S+\s*/g) ?? []) onDelta({ type: "text", delta })
    }
    return response
  })

export const layer = Llm.layer(generate)
