/**
 * What runs that are tools of an agent have in common: where their services come from, and how they fail.
 */
import * as Context from "effect/Context"
import * as Predicate from "effect/Predicate"
import * as Tracer from "effect/Tracer"
import { AgentError } from "../AgentError.ts"
import { EventHub } from "../EventHub.ts"
import { CurrentAccount } from "./account.ts"
import { CurrentRun } from "./currentRun.ts"

/** What it shares with the run that calls it. All else is what its layer was given. */
const shared = [CurrentRun.key, CurrentAccount.key, EventHub.key, Tracer.ParentSpan.key]

export const withCaller =
  <R>(captured: Context.Context<R>) =>
  (caller: Context.Context<never>): Context.Context<R> => {
    const services = new Map([...caller.mapUnsafe, ...captured.mapUnsafe])
    for (const key of shared) {
      if (caller.mapUnsafe.has(key)) services.set(key, caller.mapUnsafe.get(key))
      else services.delete(key)
    }
    return Context.makeUnsafe(services)
  }

/** What the model of the caller is told of a failure. */
export const describe = (error: unknown): { readonly reason: string; readonly message: string } => {
  const cause = error instanceof AgentError ? error.reason : error
  return {
    reason: Predicate.hasProperty(cause, "_tag") ? String(cause._tag) : "Error",
    message: Predicate.hasProperty(cause, "message") ? String(cause.message) : String(cause)
  }
}
