import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Scheduler from "effect/Scheduler"
import * as Schema from "effect/Schema"
import * as Conductor from "../../src/internal/cassette/conductor.ts"

/** A clock whose timers fire late, in the order in which they are due. */
const makeLate = (lateness: number) => {
  let now = 1_000
  const timers: Array<{ readonly at: number; readonly fire: () => void }> = []
  const nanos = () => BigInt(now) * 1_000_000n
  const clock: Clock.Clock = {
    currentTimeMillisUnsafe: () => now,
    currentTimeMillis: Effect.sync(() => now),
    currentTimeNanosUnsafe: nanos,
    currentTimeNanos: Effect.sync(nanos),
    monotonicTimeNanosUnsafe: nanos,
    monotonicTimeNanos: Effect.sync(nanos),
    sleep: (duration) =>
      Effect.callback((resume) => {
        timers.push({ at: now + Duration.toMillis(duration) + lateness, fire: () => resume(Effect.void) })
      })
  }
  const advance = (millis: number) => {
    now += millis
    const due = timers.filter((timer) => timer.at <= now).toSorted((a, b) => a.at - b.at)
    for (const timer of due) {
      timers.splice(timers.indexOf(timer), 1)
      timer.fire()
    }
  }
  return { clock, advance }
}

const rest = Effect.forEach(Array.from({ length: 50 }), () => Effect.yieldNow, { discard: true })

const millis = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 4 }))

/** What a call finds: how long it takes after the one before, whether the program has come to rest, how long it then sleeps. */
const call = Schema.Struct({ after: millis, rested: Schema.Boolean, sleep: millis })

describe("a conductor", () => {
  it.effect.prop(
    "repeats the order and the times of what was delivered, between sleeps, whatever the timers do",
    [
      Arbitrary.array(Arbitrary.schema(call), { minLength: 1, maxLength: 8 }),
      Arbitrary.array(Arbitrary.schema(millis), { maxLength: 4 }),
      Arbitrary.schema(millis)
    ],
    ([calls, sleeps, lateness]) =>
      Effect.gen(function* () {
        const scheduler = yield* Scheduler.Scheduler
        const run = Effect.fnUntraced(function* (timeline: ReadonlyArray<Conductor.Moment> | undefined) {
          const late = makeLate(lateness)
          const log: Array<readonly [what: string, at: number]> = []
          const moments: Array<Conductor.Moment> = []
          const conductor = Conductor.make({
            scope: yield* Effect.scope,
            dispatcher: scheduler.makeDispatcher(),
            live: timeline === undefined ? late.clock : undefined,
            startedAt: 1_000,
            timeline: timeline ?? [],
            onStuck: () => assert.fail("stuck")
          })
          const { clock } = conductor
          const sleep = (name: string, duration: number) =>
            Effect.forkChild(
              Effect.andThen(
                clock.sleep(Duration.millis(duration)),
                Effect.sync(() => log.push([name, clock.currentTimeMillisUnsafe()]))
              ),
              { startImmediately: true }
            )
          for (const [i, duration] of sleeps.entries()) yield* sleep(`sleep ${i}`, duration)
          const begin = (i: number) =>
            Effect.callback<void>((resume) => {
              const recorded = timeline === undefined ? undefined : i + 1
              conductor[timeline === undefined ? "arrive" : "play"]({ recorded, next: undefined }, (at) => {
                moments.push({ at, step: i + 1 })
                log.push([`call ${i}`, clock.currentTimeMillisUnsafe()])
                resume(Effect.void)
              })
            }).pipe(
              Effect.andThen(sleep(`sleep after ${i}`, calls[i]!.sleep)),
              Effect.forkChild({ startImmediately: true })
            )
          for (const [i, { after, rested }] of calls.entries()) {
            if (timeline === undefined) late.advance(after)
            yield* begin(i)
            if (timeline === undefined && rested) yield* rest
          }
          for (let i = 0; i < 20; i++) {
            late.advance(1)
            yield* rest
          }
          return { log, moments }
        })
        const recorded = yield* run(undefined)
        assert.lengthOf(recorded.moments, calls.length)
        assert.deepStrictEqual(yield* run(recorded.moments), recorded)
        const times = recorded.log.map(([, at]) => at)
        assert.deepStrictEqual(
          times,
          times.toSorted((a, b) => a - b)
        )
      })
  )
})
