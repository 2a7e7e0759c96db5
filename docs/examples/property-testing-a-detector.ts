/**
 * The loop detector with settings of your own, on random sequences of calls: the laws hold for it, or there is a
 * smallest sequence for which they do not.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as LoopDetector from "effect-agent-runtime/LoopDetector"
import { Arbitraries, Laws } from "effect-agent-runtime/testing"
import * as Tool from "effect/ai/Tool"
import * as Arbitrary from "effect/Arbitrary"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"

const detector = LoopDetector.make({ maxFailures: 5, replays: 1, refusals: 3 })

/** The tools that are not like others, by name. */
const rules = new Map([
  ["poll", LoopDetector.rule(Tool.make("poll").annotate(LoopDetector.Repeatable, true).annotate(Tool.Readonly, true))],
  ["read", LoopDetector.rule(Tool.make("read").annotate(Tool.Readonly, true))]
])

const options = { runs: 200, seed: "reproducible" }

export const program = Effect.gen(function* () {
  const laws = yield* Arbitrary.checkEffect(
    Arbitraries.trace,
    (trace) => Laws.detector(detector, trace, rules).length === 0,
    options
  )
  yield* Console.log(`The laws: ${laws._tag}`)

  // And something that does not hold: that nothing is ever answered with the previous result.
  const claim = yield* Arbitrary.checkEffect(
    Arbitraries.trace,
    (trace) => !Laws.verdicts(detector, trace, rules).flat().includes("replay"),
    options
  )
  yield* Console.log(`No replays: ${claim._tag}`)
  if (claim._tag === "Falsified") {
    for (const [turn, calls] of claim.shrunkInput.entries()) {
      yield* Console.log(
        `  turn ${turn + 1}: ${calls.map((call) => call.tool + JSON.stringify(call.params)).join(", ")}`
      )
    }
  }
})

if (import.meta.main) NodeRuntime.runMain(program)
