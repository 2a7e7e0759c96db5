/**
 * What a user is told when a run is not possible or has failed: one line that says why, and what to do.
 */
import type * as Config from "effect/Config"
import type { PlatformError } from "effect/PlatformError"
import type { AgentError, AgentErrorReason } from "../AgentError.ts"
import { printable } from "./render.ts"

export const describe = (error: AgentError | Config.ConfigError | PlatformError): string =>
  printable(lineOf(error).replace(/\s*\n\s*/g, " "))

const lineOf = (error: AgentError | Config.ConfigError | PlatformError): string => {
  switch (error._tag) {
    case "AgentError":
      return reasonOf(error.reason)
    case "ConfigError":
      return `Configuration: ${error.cause.message}`
    case "PlatformError":
      return `Input or output: ${error.message}`
  }
}

const reasonOf = (reason: AgentErrorReason): string => {
  switch (reason._tag) {
    case "ModelFailed": {
      const cause = reason.error.reason
      const description = ("description" in cause && cause.description) || cause.message
      const url = cause._tag === "NetworkError" ? ` (${cause.url})` : ""
      return `${cause._tag}: ${description.replace(/\.$/, "")}${url}.${advice[cause._tag] ?? ""}`
    }
    case "TurnLimitReached":
      return `${reason._tag}: ${reason.message}. Allow more with --max-turns.`
    default:
      return `${reason._tag}: ${reason.message}`
  }
}

const advice: Readonly<Record<string, string>> = {
  AuthenticationError: " Check OPENAI_API_KEY.",
  InternalProviderError: " Try again later.",
  InvalidRequestError: " Check OPENAI_MODEL and OPENAI_BASE_URL.",
  InvalidResponseError: " Check OPENAI_BASE_URL.",
  NetworkError: " Check OPENAI_BASE_URL, and that the server runs.",
  RateLimitError: " Wait a moment and try again."
}
