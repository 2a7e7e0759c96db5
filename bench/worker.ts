/**
 * Measures one variant of one case in a process of its own, so that no case is timed with another's optimised code.
 *
 *     node bench/worker.ts agent_execution_no_tools ours '{"batches":10,"batchMillis":50,"warmUpMillis":300}'
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { find } from "./cases/index.ts"
import { Handlers } from "./cases/support.ts"
import { measure } from "./measure.ts"

const [name, variant, effort] = process.argv.slice(2)
const found = find(name ?? "")
const make = variant === "ours" ? found?.ours : found?.floor

const program =
  make === undefined || effort === undefined
    ? Effect.die(`No variant '${variant}' of case '${name}'`)
    : measure(make(), JSON.parse(effort))

NodeRuntime.runMain(
  program.pipe(
    Effect.flatMap((samples) => Console.log(JSON.stringify(samples))),
    Effect.provide(Handlers)
  )
)
