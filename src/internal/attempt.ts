/**
 * What middleware shares that calls a model more than once: a sink that goes deaf when its attempt is given up, the
 * piece that says so, and which failures may pass by themselves.
 */
import type * as AiError from "effect/ai/AiError"
import type * as Llm from "../Llm.ts"

export type OnDelta = ((delta: Llm.Delta) => void) | undefined

export interface Attempt {
  /** Passes pieces on until the attempt ends. */
  readonly onDelta: OnDelta
  readonly end: () => void
}

const unwatched: Attempt = { onDelta: undefined, end: () => {} }

export const begin = (onDelta: OnDelta): Attempt => {
  if (onDelta === undefined) return unwatched
  let ended = false
  return {
    onDelta: (delta) => {
      // A provider may go on calling after it has failed.
      if (!ended) onDelta(delta)
    },
    end: () => {
      ended = true
    }
  }
}

/** Ends a failed attempt and says that another follows. */
export const restart = (
  onDelta: OnDelta,
  attempt: Attempt,
  { message, reason }: AiError.AiError,
  next: { readonly delayMillis: number; readonly model: string | undefined }
): void => {
  attempt.end()
  onDelta?.({ type: "restart", reason: reason._tag, message, ...next })
}

/**
 * Whether the same request may succeed later: a rate limit, a failing provider, a broken connection, and an answer that
 * is not what it should be, for the next one is another. Not a wrong key, an empty account, a request that is refused.
 */
export const isTransient = (error: AiError.AiError): boolean =>
  error.isRetryable || error.reason._tag === "InvalidResponseError"

/** Whether middleware refused the call: the provider has not heard of it. */
export const isOwnRefusal = ({ module }: AiError.AiError): boolean => module === rateLimitModule

/** The module that the refusals of `RateLimit` name. */
export const rateLimitModule = "RateLimit"
