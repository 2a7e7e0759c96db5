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
  if (reason._tag !== "InvalidRequestError" || !saysSo(reason)) return undefined
  const text = reason.message
  return {
    limit: number(/maximum context length is (\d[\d,]*)|> (\d[\d,]*) maximum|context size \(?(\d[\d,]*)/i.exec(text)),
    used: number(
      /resulted in (\d[\d,]*)|too long: (\d[\d,]*)|request \(?(\d[\d,]*) tokens|requested (\d[\d,]*)/i.exec(text)
    )
  }
}

const code = "context_length_exceeded"

/** Providers put their code into the metadata under their own name. */
const saysSo = (reason: AiError.InvalidRequestError): boolean =>
  Object.values(reason.metadata).some((of) => Predicate.hasProperty(of, "errorCode") && of.errorCode === code)

const number = (match: RegExpExecArray | null): number | undefined => {
  const digits = match?.slice(1).find((group) => group !== undefined)
  return digits === undefined ? undefined : Number(digits.replaceAll(",", ""))
}
