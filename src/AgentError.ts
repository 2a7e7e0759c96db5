/**
 * How a run fails by itself: one `AgentError` with a tagged `reason`, and the run as far as it got.
 *
 * Failures of tools with `failureMode: "error"` are not wrapped: they appear in the run's `E` as the tool declares
 * them.
 *
 * @since 0.1.0
 */
import * as AiError from "effect/ai/AiError"
import * as Schema from "effect/Schema"
import { History } from "./History.ts"
import { overflowOf } from "./internal/contextOverflow.ts"
import { Usage } from "./Usage.ts"

/**
 * The definition of an agent is unusable. Thrown where the definition is made (`Agent.make`, `Budget.limit`,
 * `StopCondition`, `LoopDetector.make`, `Toolbox.merge`), because it is a mistake in the program and not a state of a run.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidAgent extends Schema.TaggedError<InvalidAgent>()("InvalidAgent", {
  /** The option that is wrong. */
  field: Schema.String,
  issue: Schema.String
}) {
  override get message(): string {
    return `Invalid agent: ${this.field} ${this.issue}`
  }
}

/**
 * The input gives the model nothing to answer: no prompt, and a history that is empty or already answered.
 *
 * @category reasons
 * @since 0.1.0
 */
export class InvalidInput extends Schema.TaggedError<InvalidInput>()("InvalidInput", { issue: Schema.String }) {
  override get message(): string {
    return `Invalid input: ${this.issue}`
  }
}

/**
 * A model call failed, after whatever the model's layer does about it. `error.reason` says how.
 *
 * @category reasons
 * @since 0.1.0
 */
export class ModelFailed extends Schema.TaggedError<ModelFailed>()("ModelFailed", { error: AiError.AiError }) {
  override get message(): string {
    return `The model call failed: ${this.error.message}`
  }
}

/**
 * The conversation is too long: the provider refused it, or the agent's `contextWindow` cannot make it short enough.
 *
 * @category reasons
 * @since 0.1.0
 */
export class ContextOverflow extends Schema.TaggedError<ContextOverflow>()("ContextOverflow", {
  /** Tokens that the model takes, if the provider says; those of the `contextWindow` if it has refused. */
  limit: Schema.optional(Schema.Finite),
  /** Tokens that the conversation has, if the provider says; an estimate if the `contextWindow` has refused. */
  used: Schema.optional(Schema.Finite),
  /** What the provider said; absent if the `contextWindow` has refused. */
  error: Schema.optional(AiError.AiError)
}) {
  override get message(): string {
    const { limit, used } = this
    const numbers = used === undefined ? "" : ` of ${used} tokens`
    const whom = this.error === undefined ? "context window" : "model"
    return `The conversation${numbers} is too long for the ${whom}${limit === undefined ? "" : `, which takes ${limit}`}`
  }
}

/**
 * Why a run fails whose model call failed.
 *
 * @category reasons
 * @since 0.1.0
 */
export const failureOf = (error: AiError.AiError): ModelFailed | ContextOverflow => {
  const overflow = overflowOf(error)
  return overflow === undefined ? new ModelFailed({ error }) : new ContextOverflow({ ...overflow, error })
}

/**
 * The run used up its turns without a final answer.
 *
 * @category reasons
 * @since 0.1.0
 */
export class TurnLimitReached extends Schema.TaggedError<TurnLimitReached>()("TurnLimitReached", {
  /** Model calls allowed, and made. */
  limit: Schema.Finite
}) {
  override get message(): string {
    return `No final answer within ${this.limit} ${this.limit === 1 ? "turn" : "turns"}`
  }
}

/**
 * The run used more tokens than `StopCondition.tokensAbove` allows.
 *
 * @category reasons
 * @since 0.1.0
 */
export class TokenLimitReached extends Schema.TaggedError<TokenLimitReached>()("TokenLimitReached", {
  limit: Schema.Finite,
  /** Input plus output tokens used. */
  used: Schema.Finite
}) {
  override get message(): string {
    return `Used ${this.used} tokens of ${this.limit} without a final answer`
  }
}

/**
 * The run took longer than `StopCondition.after` allows.
 *
 * @category reasons
 * @since 0.1.0
 */
export class TimeLimitReached extends Schema.TaggedError<TimeLimitReached>()("TimeLimitReached", {
  limitMillis: Schema.Finite,
  elapsedMillis: Schema.Finite
}) {
  override get message(): string {
    return `No final answer within ${this.limitMillis} ms`
  }
}

/**
 * The model kept repeating itself after every answer of the loop detector.
 *
 * @category reasons
 * @since 0.1.0
 */
export class LoopDetected extends Schema.TaggedError<LoopDetected>()("LoopDetected", {
  tool: Schema.String,
  /** The arguments of the call that ended the run. */
  params: Schema.Unknown,
  kind: Schema.Literals(["repeat", "failing", "same-error"])
}) {
  override get message(): string {
    return `The model is going in circles with tool '${this.tool}' (${this.kind})`
  }
}

/**
 * The final answer still did not match the agent's `output` schema after all corrections.
 *
 * @category reasons
 * @since 0.1.0
 */
export class OutputInvalid extends Schema.TaggedError<OutputInvalid>()("OutputInvalid", {
  /** The model's last answer, as it was written. */
  text: Schema.String,
  issue: Schema.String,
  /** Answers that were tried, the first one included. */
  attempts: Schema.Finite
}) {
  override get message(): string {
    return `The answer does not match the output schema after ${this.attempts} attempts: ${this.issue}`
  }
}

/**
 * A budget (`Budget.limit`, or the `budget` of an agent) has not enough left.
 *
 * **Details**
 *
 * `limit`, `spent`, `reserved` and `requested` are tokens, US dollars, calls, milliseconds, or runs in each other, as
 * `budget` says. `reserved` is what calls in flight may still spend and what is kept back for a last answer, and
 * `requested` the least that was needed.
 *
 * @category reasons
 * @since 0.1.0
 */
export class BudgetExceeded extends Schema.TaggedError<BudgetExceeded>()("BudgetExceeded", {
  budget: Schema.Literals(["tokens", "costUsd", "modelCalls", "toolCalls", "duration", "depth"]),
  /** The names of the budget's account and those around it, the outermost first. */
  account: Schema.Array(Schema.String),
  limit: Schema.Finite,
  spent: Schema.Finite,
  reserved: Schema.Finite,
  requested: Schema.Finite,
  /** Where it went, the most first; empty for `duration` and `depth`. */
  breakdown: Schema.Array(Schema.Struct({ agent: Schema.String, spent: Schema.Finite }))
}) {
  override get message(): string {
    const { account, budget, limit, requested, reserved, spent } = this
    const where = `budget '${account.join(" / ")}'`
    switch (budget) {
      case "duration":
        return `The ${where} allows ${limit} ms, which are over`
      case "depth":
        return `The ${where} allows ${limit} ${limit === 1 ? "run" : "runs"} in each other`
      default: {
        const held = reserved === 0 ? "" : ` and ${reserved} reserved`
        return `The ${where} has not enough ${units[budget]} left: ${requested} needed, ${spent} of ${limit} spent${held}`
      }
    }
  }
}

const units = { tokens: "tokens", costUsd: "USD", modelCalls: "model calls", toolCalls: "tool calls" }

/**
 * Why a run failed.
 *
 * @category reasons
 * @since 0.1.0
 */
export const AgentErrorReason = Schema.Union([
  InvalidInput,
  ModelFailed,
  ContextOverflow,
  TurnLimitReached,
  TokenLimitReached,
  TimeLimitReached,
  LoopDetected,
  OutputInvalid,
  BudgetExceeded
])
export type AgentErrorReason = typeof AgentErrorReason.Type

/**
 * A run as far as it got. `history` is valid and complete: give it to the next run to go on from here.
 *
 * @category models
 * @since 0.1.0
 */
export const PartialRun = Schema.Struct({
  history: History,
  usage: Usage,
  /** Model calls that were answered. */
  turns: Schema.Finite,
  /** The text of the model's last answer; `""` if it never gave one. */
  text: Schema.String
})
export type PartialRun = typeof PartialRun.Type

/**
 * The failure of a run.
 *
 * **Example**
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Agent from "effect-agent-runtime/Agent"
 *
 * const agent = Agent.make("helper")
 *
 * const program = Agent.run(agent, "Hello").pipe(
 *   Effect.map((result) => result.text),
 *   Effect.catchReason("AgentError", "TurnLimitReached", (_, error) => Effect.succeed(error.partial.text))
 * )
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export class AgentError extends Schema.TaggedError<AgentError>()("AgentError", {
  agent: Schema.String,
  reason: AgentErrorReason,
  partial: PartialRun
}) {
  override get message(): string {
    return `Agent '${this.agent}': ${this.reason.message}`
  }
}
