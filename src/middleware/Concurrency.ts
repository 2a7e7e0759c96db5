/**
 * Bounds how many model calls are under way at a time, whoever makes them.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import * as Llm from "../Llm.ts"

/**
 * Lets at most `limit` calls of this model run at a time. The others wait in order, and can be interrupted while they
 * wait.
 *
 * **Gotchas**
 *
 * - Throws a `RangeError` unless `limit` is an integer of at least 1.
 * - Outside `Retry`, a call would hold its place while it waits for its next attempt.
 *
 * @category middleware
 * @since 0.1.0
 */
export const make = (limit: number): Llm.Middleware => {
  if (!Number.isInteger(limit) || limit < 1) throw new RangeError(`Concurrency.make: ${limit} is not an integer >= 1`)
  return (llm) =>
    Effect.map(Semaphore.make(limit), (semaphore) =>
      Llm.make((request, onDelta) => semaphore.withPermit(llm.generate(request, onDelta)))
    )
}
