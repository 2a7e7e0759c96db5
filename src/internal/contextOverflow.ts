/**
 * Knows a prompt that was too long from the other requests that providers refuse, and reads the numbers out of what
 * they say about it.
 */
import type * as AiError from "effect/ai/AiError"
import * as Predicate from "effect/Predicate"

/** Tokens of the prompt and of the model's window, as far as the provider says. */
export interface Overflow {
  readonly limit: number | undefined
  readonly used: number | undefined
}

/** What is known of an overflow, or `undefined` when the error is another. */
export const overflowOf = ({ reason }: AiError.AiError): Overflow | undefined => {
  if (reason._tag !== "InvalidRequestError" || !errorCodes(reason).includes("context_length_exceeded")) return undefined
  const text = reason.message
  return { limit: number(limit.exec(text)), used: number(used.exec(text)) }
}

/** A number behind any of these words of providers, unless it counts the tokens of the answer. */
const behind = (...words: ReadonlyArray<string>) =>
  new RegExp(`(?:${words.join("|")}) \\(?(\\d[\\d,]*)(?![\\d,]* output)`, "i")

const limit = behind(
  "context (?:size|window|length)(?: is| of| of only)?",
  "model length of",
  ">",
  "tokens allowed",
  "max size:",
  "limit"
)

const used = behind(
  "resulted in",
  "total of(?: at least)?",
  "too long:",
  "context limit:",
  "the request",
  "requested",
  "prompt \\(length",
  "prompt length of",
  "token count",
  "keep the first"
)

/** The codes that a provider gave, under whatever name. */
export const errorCodes = (reason: AiError.InvalidRequestError): ReadonlyArray<string> =>
  Object.values(reason.metadata).flatMap((of) =>
    Predicate.hasProperty(of, "errorCode") && typeof of.errorCode === "string" ? [of.errorCode] : []
  )

const number = (match: RegExpExecArray | null): number | undefined => {
  const digits = match?.[1]
  return digits === undefined ? undefined : Number(digits.replaceAll(",", ""))
}
