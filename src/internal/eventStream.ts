/**
 * A run as the stream of its events.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as EventHub from "../EventHub.ts"
import type { Delivery } from "../EventHub.ts"
import type { RunEvent } from "../WorkflowEvent.ts"
import type { Observer } from "./currentRun.ts"

/**
 * Runs what is given an observer, and streams those events that the observer gets and that are wanted. Ends after the last
 * event, or fails as the run does; a consumer that is far behind makes the run wait, and closing the stream interrupts it.
 */
export const eventStream = <Event extends RunEvent, A, E, R>(
  isWanted: (delivery: Delivery) => delivery is Event,
  run: (observer: Observer) => Effect.Effect<A, E, R>
): Stream.Stream<Event, E, R> =>
  Stream.unwrap(
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const hub = yield* Scope.provide(EventHub.make({ replay: 0 }), scope)
      const { take } = yield* hub.subscribe({ onOverflow: "backpressure" })
      const fiber = yield* Effect.forkScoped(Effect.onExit(run(hub), () => Scope.close(scope, Exit.void)))
      return Stream.fromPull(Effect.succeed(take)).pipe(
        Stream.filter(isWanted),
        Stream.concat(Stream.drain(Stream.fromEffect(Fiber.join(fiber))))
      )
    })
  )
