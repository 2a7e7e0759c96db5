/**
 * What every `Llm` must do, as checks that run against any of them: answers, tool calls, usage, failures as typed
 * reasons, cancellation, and nothing on the wire or in an error that does not belong there.
 *
 * A scenario says in no provider's words what the provider does. Whoever tests a model makes its provider, a server on
 * the loopback interface usually, say it in its own.
 *
 * @since 0.1.0
 */
import type * as Response from "effect/ai/Response"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Llm from "../Llm.ts"
import type { Tokens } from "../Usage.ts"

/**
 * A piece of an answer, in the order in which the model writes. Pieces of several calls may interleave. Where the
 * answer is not streamed, the provider joins them.
 *
 * @category models
 * @since 0.1.0
 */
export type Piece =
  | { readonly type: "text" | "reasoning"; readonly delta: string }
  | { readonly type: "call"; readonly index: number; readonly id: string; readonly name: string }
  | { readonly type: "params"; readonly index: number; readonly delta: string }

/**
 * A failure that the provider reports in place of an answer.
 *
 * @category models
 * @since 0.1.0
 */
export type Failure =
  | "authentication"
  | "rate-limit"
  | "quota"
  | "invalid-request"
  | "context-overflow"
  | "content-filter"
  | "overloaded"

/**
 * What the provider does.
 *
 * @category models
 * @since 0.1.0
 */
export type Scenario =
  | {
      readonly _tag: "Answer"
      readonly pieces: ReadonlyArray<Piece>
      readonly finishReason: Response.FinishReason
      readonly tokens: Tokens
      readonly model: string
    }
  /** A rate limit asks to wait {@link retryAfterSeconds}. */
  | { readonly _tag: "Failure"; readonly failure: Failure }
  /** The stream begins and ends before the model has finished. */
  | { readonly _tag: "Truncated"; readonly pieces: ReadonlyArray<Piece> }
  /** The connection breaks within the stream. */
  | { readonly _tag: "Reset"; readonly pieces: ReadonlyArray<Piece> }
  /** A success whose body is not what the protocol says. */
  | { readonly _tag: "Malformed" }
  /** The stream begins and goes silent. */
  | { readonly _tag: "Stalled"; readonly pieces: ReadonlyArray<Piece> }
  /** No response begins. */
  | { readonly _tag: "Silent" }

/**
 * How long a provider that plays a rate limit asks to wait.
 *
 * @category models
 * @since 0.1.0
 */
export const retryAfterSeconds = 7

/**
 * A request as the provider received it.
 *
 * @category models
 * @since 0.1.0
 */
export interface WireRequest {
  readonly headers: Readonly<Record<string, string | ReadonlyArray<string> | undefined>>
  readonly body: unknown
}

/**
 * A model whose provider plays a scenario.
 *
 * @category models
 * @since 0.1.0
 */
export interface Stage {
  readonly llm: Llm.Llm["Service"]
  /** The requests so far. */
  readonly requests: () => ReadonlyArray<WireRequest>
  /** Waits until the next request has arrived, and then until the client gave it up. */
  readonly givenUp: Effect.Effect<void>
}

/**
 * The model under test.
 *
 * @category models
 * @since 0.1.0
 */
export interface Subject {
  /** Makes the model, with timeouts of {@link timeoutMillis}, and a provider that plays the scenario. */
  readonly stage: (scenario: Scenario) => Effect.Effect<Stage, never, Scope.Scope>
  /** The API key that the model is made with. */
  readonly secret: string
  /** The fields of request bodies that the provider documents, as paths like `messages.content.type`. */
  readonly documented: ReadonlySet<string>
  readonly supports: {
    readonly reasoning: boolean
    readonly images: boolean
    /** A provider without its own word for it says `rate-limit` or `invalid-request`. */
    readonly failures: ReadonlyArray<Failure>
  }
}

/**
 * The timeouts of a model under test: long enough for a loopback server, short enough to wait for.
 *
 * @category models
 * @since 0.1.0
 */
export const timeoutMillis = 300
