/**
 * Hooks of a run (instructions, the preparation of a turn, a window that asks a model): what they start belongs to the
 * run.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { contained } from "../Toolbox.ts"
import { CurrentAccount } from "./account.ts"
import { CurrentRun } from "./currentRun.ts"
import type { Run } from "./run.ts"

/** A run that instructions or the preparation of a turn start is a child of this one, as one that a tool starts. */
export const asChild = <A>(run: Run, effect: Effect.Effect<A, unknown>): Effect.Effect<A, unknown> =>
  Exit.isExit(effect)
    ? effect
    : contained(Effect.provideService(onAccount(run, effect), CurrentRun, run.toolbox.currentRun!()), Duration.infinity)

const onAccount = <A>(run: Run, effect: Effect.Effect<A, unknown>): Effect.Effect<A, unknown> =>
  run.payer === undefined ? effect : Effect.provideService(effect, CurrentAccount, run.payer.account)
