/**
 * Small mistakes that one could make in `src`, most of them races: each is a replacement of text that has to be there.
 */
export interface Mutant {
  readonly name: string
  readonly file: string
  readonly from: string
  readonly to: string
}

export const mutants: ReadonlyArray<Mutant> = [
  {
    name: "results go to calls in the order in which they come",
    file: "internal/machine.ts",
    from: "if (call?.id !== result.id || call.answer !== undefined) {",
    to: "if (call === undefined) {"
  },
  {
    name: "one call more than may run",
    file: "internal/toolBatch.ts",
    from: "{ concurrency: run.definition.toolConcurrency, discard: true }",
    to: "{ concurrency: run.definition.toolConcurrency + 1, discard: true }"
  },
  {
    name: "progress of a call that is answered",
    file: "internal/toolBatch.ts",
    from: "    if (call.answer !== undefined) return\n",
    to: ""
  },
  {
    name: "a call that is given up runs on",
    file: "Toolbox.ts",
    from: "        fiber.pollUnsafe() === undefined ? Fiber.interrupt(fiber) : undefined\n",
    to: "        undefined\n"
  },
  {
    name: "the events of a child before older ones of its parent",
    file: "internal/run.ts",
    from: "  run.parent?.flush()\n",
    to: ""
  },
  {
    name: "calls without an answer when a run is interrupted",
    file: "internal/interpreter.ts",
    from: `turn: turns + 1 })
  endCalls(run)
  emit(run, { ...run.envelope, _tag: "RunInterrupted"`,
    to: `turn: turns + 1 })
  emit(run, { ...run.envelope, _tag: "RunInterrupted"`
  },
  {
    name: "a run that is interrupted before it begins",
    file: "internal/interpreter.ts",
    from: ` || run.offset === 0 ? undefined : cutShort`,
    to: ` ? undefined : cutShort`
  },
  {
    name: "runs wait for a subscriber that has left",
    file: "EventHub.ts",
    from: "if (subscriber.backpressure) backpressured--\n        release()\n",
    to: "if (subscriber.backpressure) backpressured--\n"
  },
  {
    name: "past events again as future ones",
    file: "EventHub.ts",
    from: "    if (first < subscriber.position) continue\n",
    to: ""
  },
  {
    name: "a subscriber that is not woken by what came just before it slept",
    file: "EventHub.ts",
    from: "      Latch.closeUnsafe(subscriber.arrived)\n      return Effect.andThen(subscriber.arrived.await, take)",
    to: "      return Effect.andThen(Effect.andThen(subscriber.arrived.close, subscriber.arrived.await), take)"
  },
  {
    name: "two runs of a session at a time",
    file: "Session.ts",
    from: "(lane) => lane.semaphore.withPermit(hold(lane, held, effect)),",
    to: "(lane) => hold(lane, held, effect),"
  },
  {
    name: "a session is written over",
    file: "SessionStore.ts",
    from: "if (sessions.get(session.id)?.revision !== expected) return false",
    to: ""
  },
  {
    name: "pieces of an attempt that was given up",
    file: "internal/attempt.ts",
    from: "if (!ended) onDelta(delta)",
    to: "onDelta(delta)"
  },
  {
    name: "a place is kept by a call that failed",
    file: "middleware/Concurrency.ts",
    from: "semaphore.withPermit(llm.generate(request, onDelta))",
    to: "Effect.flatMap(semaphore.take(1), () => Effect.tap(llm.generate(request, onDelta), () => semaphore.release(1)))"
  }
]
