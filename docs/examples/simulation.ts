/**
 * A race in a tool, found by simulation: the search goes over orders of events that a test would have to be lucky to see,
 * and shrinks what it finds to the decisions that matter.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Agent from "effect-agent-runtime/Agent"
import * as Llm from "effect-agent-runtime/Llm"
import * as Timeout from "effect-agent-runtime/middleware/Timeout"
import { Faults, ScriptedLlm, Simulation } from "effect-agent-runtime/testing"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Semaphore from "effect/Semaphore"

const Shop = Toolkit.make(
  Tool.make("reserve", { parameters: Schema.Struct({ guest: Schema.String }), success: Schema.String })
)
const clerk = Agent.make("clerk", { toolkit: Shop })

/** Reserves what is in stock, but reads and writes the number in two steps: others may come in between. */
const reserve = (stock: { left: number }) =>
  Effect.gen(function* () {
    const left = yield* Effect.sync(() => stock.left)
    if (left === 0) return "sold out"
    yield* Effect.sync(() => stock.left--)
    return "reserved"
  })

/** The model calls the tool twice at a time. There is one left. */
const sale = (isGuarded: boolean) =>
  Effect.gen(function* () {
    const stock = { left: 1 }
    const lock = yield* Semaphore.make(1)
    const ShopLayer = Shop.toLayer({ reserve: () => (isGuarded ? lock.withPermit(reserve(stock)) : reserve(stock)) })
    const Model = ScriptedLlm.layer([["Ada", "Bob"].map((guest) => ({ tool: "reserve", params: { guest } })), "Done."])
    const running = Agent.run(clerk, "Reserve two.").pipe(
      Effect.provide([Faults.inject(ShopLayer), Faults.inject(Model).pipe(Llm.withMiddleware(Timeout.make()))])
    )
    yield* Effect.exit(running)
    return stock.left
  })

const neverOversold: Simulation.Invariant<number, unknown> = ({ exit }) =>
  Exit.isSuccess(exit) && exit.value < 0 ? [`${-exit.value} sold that was not there`] : []

export const program = Effect.gen(function* () {
  const options = { seeds: 500, faults: Faults.all }
  const result = yield* Simulation.check(sale(false), neverOversold, options)
  if (result._tag === "Falsified") {
    yield* Console.log(`Found: ${result.violations.join()}`)
    // Which fibers, and where, is in `Simulation.report(result)`.
    const kinds = new Set(result.outcome.schedule.map(({ _tag }) => _tag))
    yield* Console.log(`It takes no more than fibers that are: ${[...kinds].join()}`)
    const again = yield* Simulation.run(sale(false), { seed: result.seed, schedule: result.outcome.schedule })
    yield* Console.log(`Once more: ${neverOversold(again).join()}`)
  }
  const guarded = yield* Simulation.check(sale(true), neverOversold, options)
  yield* Console.log(`With a lock: ${guarded._tag}`)
})

if (import.meta.main) NodeRuntime.runMain(program)
