/**
 * A benchmark case: the same work done by the library and by a plain async/await floor, each checked.
 */
import type * as Tool from "effect/ai/Tool"
import type * as Effect from "effect/Effect"

/** What operations find in their context: the tool handler, from a Layer that the program provides once. */
export type Services = Tool.Handler<"calculator">

/** One way to do the work of a case: a single operation, and what its result has to be. */
export type Variant =
  /** Runs inside one Effect runtime, `yield*`ed in a loop. */
  | {
      readonly kind: "effect"
      readonly operation: () => Effect.Effect<unknown, unknown, Services>
      readonly check: Check
      /** What to do when the case is over. */
      readonly close?: Effect.Effect<void>
    }
  /** Runs as a plain promise, `await`ed in a loop. */
  | { readonly kind: "promise"; readonly operation: () => Promise<unknown>; readonly check: Check }

/** Why a result is wrong, or `undefined`. */
export type Check = (result: unknown) => string | undefined

export interface Case {
  readonly name: string
  /** What one operation is. */
  readonly describes: string
  /** The figure in the original's report, in µs; absent where the report has none. */
  readonly published?: number | undefined
  /** By how much to divide a figure to get the cost of one unit, and the unit's name. */
  readonly per?: { readonly unit: string; readonly count: number } | undefined
  readonly ours: () => Variant
  readonly floor?: (() => Variant) | undefined
}

export const expect = (what: string, holds: boolean): string | undefined => (holds ? undefined : `expected ${what}`)
