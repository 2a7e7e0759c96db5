/**
 * What a user is told when a command fails: one line for each thing that is wrong and what to do, and an exit code by the
 * kind of failure.
 */
import type * as AiError from "effect/ai/AiError"
import * as CliError from "effect/cli/CliError"
import * as Config from "effect/Config"
import { PlatformError } from "effect/PlatformError"
import * as Predicate from "effect/Predicate"
import * as Runtime from "effect/Runtime"
import * as Schema from "effect/Schema"
import { AgentError } from "../AgentError.ts"
import { InvalidConfig, UnknownAgent, UnknownWorkflow } from "../RuntimeConfig.ts"
import { WorkflowError } from "../WorkflowError.ts"
import { printable } from "./render.ts"

/** The codes that a process ends with, besides 0. */
export const exitCodes = {
  /** The run failed, for a reason that has no code of its own. */
  failed: 1,
  /** Wrong arguments, or a configuration that cannot be used: nothing was run. */
  usage: 2,
  /** The model could not be reached, refused, or gave no usable answer. */
  model: 3,
  /** A limit or the loop detector ended the run. */
  limit: 4,
  /** Ctrl-C. */
  interrupted: 130
} as const

/** How a command fails. */
export class Failure extends Schema.TaggedError<Failure>()("Failure", {
  /** The tag of what went wrong. */
  reason: Schema.String,
  message: Schema.String,
  exitCode: Schema.Finite
}) {
  // The command line has said it already.
  override readonly [Runtime.errorReported] = false
  override get [Runtime.errorExitCode](): number {
    return this.exitCode
  }
  override get [CliError.userMessage](): string {
    return this.message
  }
}

/** A command that cannot be carried out as it was given. */
export const usage = (message: string): Failure =>
  new Failure({ reason: "InvalidUsage", message, exitCode: exitCodes.usage })

/** Any failure as that of a command. */
export const from = (error: unknown): Failure => {
  if (error instanceof Failure) return error
  if (error instanceof AgentError) return ofRun(error)
  if (error instanceof InvalidConfig) {
    const message = error.problems.length === 1 ? error.message : `${error.problems.length} problems\n${error.message}`
    return new Failure({ reason: error._tag, message: clean(message), exitCode: exitCodes.usage })
  }
  if (error instanceof WorkflowError) {
    // Flags are about the one agent of a command.
    const cause = error.reason
    const { exitCode, message, reason } = cause instanceof AgentError ? ofRun(cause, "") : from(cause)
    const step = error.step?.path.join(" / ") ?? error.workflow
    return new Failure({ reason, message: line(`Step '${step}': ${message}`), exitCode })
  }
  if (error instanceof UnknownAgent || error instanceof UnknownWorkflow) return usage(clean(error.message))
  if (error instanceof Config.ConfigError) {
    return usage(`Configuration: ${line(error.cause.message)}`)
  }
  if (error instanceof PlatformError) {
    const cause = "cause" in error.reason ? error.reason.cause : undefined
    // Such as `| head`.
    const isClosed = Predicate.hasProperty(cause, "code") && closed.has(cause.code)
    const said = Predicate.hasProperty(cause, "message") ? `${error.message}: ${String(cause.message)}` : error.message
    const message = isClosed ? "Nobody reads the output any more." : `Input or output: ${line(said)}`
    return new Failure({ reason: error._tag, message, exitCode: exitCodes.failed })
  }
  const tag = Predicate.hasProperty(error, "_tag") ? String(error._tag) : undefined
  const message = Predicate.hasProperty(error, "message") ? String(error.message) : String(error)
  return new Failure({
    reason: tag ?? "ToolFailed",
    message: line(tag === undefined ? `A tool failed: ${message}` : `${tag}: ${message}`),
    exitCode: exitCodes.failed
  })
}

/** What systems call a pipe or a terminal that is no longer there. */
const closed: ReadonlySet<unknown> = new Set(["EPIPE", "EOF", "EIO", "ERR_STREAM_DESTROYED"])

const clean = (text: string): string => text.split("\n").map(printable).join("\n")

const line = (text: string): string => printable(text.replace(/\s*\n\s*/g, " "))

const ofRun = ({ reason }: AgentError, turnsFlag = "--max-turns, or "): Failure => {
  const failure = (message: string, exitCode: number) =>
    new Failure({ reason: reason._tag, message: line(message), exitCode })
  const message = `${reason._tag}: ${reason.message}`
  switch (reason._tag) {
    case "ModelFailed":
      return failure(ofModel(reason.error), exitCodes.model)
    case "ContextOverflow":
      return failure(`${message}. Start a new conversation, or use a model that takes more.`, exitCodes.model)
    case "TurnLimitReached":
      return failure(`${message}. Allow more with ${turnsFlag}'limits.turns' of the agent.`, exitCodes.limit)
    case "TokenLimitReached":
      return failure(`${message}. Allow more with 'limits.tokens' of the agent.`, exitCodes.limit)
    case "TimeLimitReached":
      return failure(`${message}. Allow more with 'limits.duration_ms' of the agent.`, exitCodes.limit)
    case "LoopDetected":
      return failure(`${message}. See 'loop_detection' of the agent.`, exitCodes.limit)
    default:
      return failure(message, exitCodes.failed)
  }
}

const ofModel = ({ reason }: AiError.AiError): string => {
  const description = ("description" in reason && reason.description) || reason.message
  const url = reason._tag === "NetworkError" ? ` (${reason.url})` : ""
  return `${reason._tag}: ${description.replace(/\.$/, "")}${url}.${advice[reason._tag] ?? ""}`
}

const advice: Readonly<Record<string, string>> = {
  AuthenticationError: " Check the key of the model: OPENAI_API_KEY, or 'api_key' in the configuration.",
  InternalProviderError: " Try again later.",
  InvalidRequestError: " Check model and server: OPENAI_MODEL and OPENAI_BASE_URL, or the configuration.",
  InvalidResponseError: " Check the server: OPENAI_BASE_URL, or the configuration.",
  NetworkError: " Check that the server runs, and where it is: OPENAI_BASE_URL, or the configuration.",
  RateLimitError: " Wait a moment and try again."
}
