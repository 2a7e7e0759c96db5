/**
 * The benchmarks: each case beside a plain async/await floor and the figure that the original's report gives.
 *
 * Every variant runs in a fresh process per round, in rotated order, so that noise falls on all alike. The table
 * shows the median of all batches and their quartiles.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as ChildProcess from "effect/process/ChildProcess"
import * as ChildProcessSpawner from "effect/process/ChildProcessSpawner"
import * as Schema from "effect/Schema"
import type { Case } from "./Case.ts"
import { cases } from "./cases/index.ts"
import type { Effort } from "./measure.ts"
import { Samples } from "./measure.ts"
import { machine, type Row, summarize, table } from "./report.ts"

const quick: Effort = { batches: 5, batchMillis: 20, warmUpMillis: 150 }
const thorough: Effort = { batches: 20, batchMillis: 50, warmUpMillis: 600 }

const decodeSamples = Schema.decodeEffect(Schema.fromJsonString(Samples))

/** One variant of one case, measured in a process of its own. */
const measureApart = Effect.fnUntraced(function* (name: string, variant: "ours" | "floor", effort: Effort) {
  const spawner = yield* ChildProcessSpawner.ChildProcessSpawner
  const worker = new URL("worker.ts", import.meta.url).pathname
  const output = yield* spawner.string(
    ChildProcess.make(process.execPath, ["--expose-gc", worker, name, variant, JSON.stringify(effort)], {
      stderr: "inherit"
    })
  )
  return yield* decodeSamples(output.trim())
})

const run = Effect.fnUntraced(function* (selected: ReadonlyArray<Case>, effort: Effort, rounds: number) {
  const variants = selected.flatMap(({ floor, name }) => [
    { name, variant: "ours" as const },
    ...(floor === undefined ? [] : [{ name, variant: "floor" as const }])
  ])
  const samples = new Map<string, Array<Samples>>()
  const total = variants.length * rounds
  let done = 0
  for (let round = 0; round < rounds; round++) {
    const shift = Math.floor((round * variants.length) / rounds)
    for (const { name, variant } of [...variants.slice(shift), ...variants.slice(0, shift)]) {
      yield* progress(done++, total, `${name} ${variant}`)
      const key = `${name} ${variant}`
      samples.set(key, [...(samples.get(key) ?? []), yield* measureApart(name, variant, effort)])
    }
  }
  yield* progress(total, total, "")
  return selected.map((case_): Row => {
    const ours = summarize(samples.get(`${case_.name} ours`) ?? [])
    const floor = samples.get(`${case_.name} floor`)
    return { case_, ours, floor: floor === undefined ? undefined : summarize(floor) }
  })
})

/** A progress bar on terminals, nothing elsewhere. */
const progress = (done: number, total: number, what: string) =>
  Effect.sync(() => {
    if (!process.stderr.isTTY) return
    const width = 30
    const filled = Math.round((done / total) * width)
    const bar = "█".repeat(filled) + "░".repeat(width - filled)
    process.stderr.write(done === total ? "\r\u001b[K" : `\r\u001b[K${bar} ${done}/${total} ${what}`)
  })

const command = Command.make(
  "bench",
  {
    only: Flag.String("only").pipe(
      Flag.withDescription("Run only the cases whose name contains this text"),
      Flag.withDefault("")
    ),
    rounds: Flag.Int("rounds").pipe(Flag.withDescription("Processes per variant"), Flag.withDefault(3)),
    quick: Flag.Boolean("quick").pipe(
      Flag.withDescription("Short batches and one round: a first impression"),
      Flag.withDefault(false)
    ),
    json: Flag.String("json").pipe(Flag.withDescription("Write the results to this file"), Flag.optional)
  },
  Effect.fnUntraced(function* (flags) {
    const selected = cases.filter(({ name }) => name.includes(flags.only))
    if (selected.length === 0) return yield* Console.error(`No case contains '${flags.only}'`)
    const rows = yield* run(selected, flags.quick ? quick : thorough, flags.quick ? 1 : flags.rounds)
    yield* Console.log(table(rows))
    if (Option.isSome(flags.json)) {
      const fs = yield* FileSystem.FileSystem
      const results = {
        machine: machine(),
        rows: rows.map(({ case_, ...figures }) => ({ name: case_.name, ...figures }))
      }
      yield* fs.writeFileString(flags.json.value, `${JSON.stringify(results, undefined, 2)}\n`)
    }
  })
).pipe(Command.withDescription("Benchmarks of effect-agent-runtime, in µs per operation"))

Command.run(command, { version: "0.1.0" }).pipe(Effect.provide(NodeServices.layer), NodeRuntime.runMain)
