/**
 * The benchmarks: each case beside a plain async/await floor and the figure that the original's report gives.
 *
 * Every variant runs in a fresh process per round, in rotated order, so that noise falls on all alike. The table
 * shows the median of all batches with its 95 % bootstrap confidence interval.
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
import { agentsName, cases, find, named as allCases, turnsName } from "./cases/index.ts"
import type { Effort } from "./measure.ts"
import { Samples } from "./measure.ts"
import * as Problem from "./problem.ts"
import { machine, Results, rowOf, table } from "./report.ts"

const quick: Effort = { batches: 4, batchMillis: 15, warmUpMillis: 100 }
const thorough: Effort = { batches: 16, batchMillis: 50, warmUpMillis: 1000 }

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
  const variantsOf = ({ floor, name }: Case) => [
    { name, variant: "ours" as const },
    ...(floor === undefined ? [] : [{ name, variant: "floor" as const }])
  ]
  const samples = new Map<string, Array<Samples>>()
  const total = selected.flatMap(variantsOf).length * rounds
  let done = 0
  for (let round = 0; round < rounds; round++) {
    const shift = Math.floor((round * selected.length) / rounds)
    for (const { name, variant } of [...selected.slice(shift), ...selected.slice(0, shift)].flatMap(variantsOf)) {
      yield* progress(done++, total, `${name} ${variant}`)
      const key = `${name} ${variant}`
      samples.set(key, [...(samples.get(key) ?? []), yield* measureApart(name, variant, effort)])
    }
  }
  yield* progress(total, total, "")
  return selected.map((case_) =>
    rowOf(case_, samples.get(`${case_.name} ours`) ?? [], samples.get(`${case_.name} floor`) ?? [])
  )
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

const list = (text: string): ReadonlyArray<string> => text.split(",").filter((item) => item !== "")

/** The cases that flags ask for beyond those that have a name. */
const asked = (flags: { readonly agents: string; readonly concurrency: string; readonly turns: string }) => [
  ...list(flags.agents).map((agents) => agentsName(agents, flags.concurrency, "0")),
  ...list(flags.turns).map(turnsName)
]

const resultsFile = Schema.fromJsonString(Results)

const readResults = Effect.fnUntraced(function* (file: Option.Option<string>) {
  if (Option.isNone(file)) return undefined
  const fs = yield* FileSystem.FileSystem
  return yield* Schema.decodeEffect(resultsFile)(yield* fs.readFileString(file.value))
})

const effectVersion = Effect.map(
  Effect.flatMap(FileSystem.FileSystem, (fs) =>
    fs.readFileString(new URL("../node_modules/effect/package.json", import.meta.url).pathname)
  ),
  (text) => String((JSON.parse(text) as { readonly version: unknown }).version)
)

const command = Command.make(
  "bench",
  {
    only: Flag.String("only").pipe(
      Flag.withDescription("Run only the cases whose name contains this text"),
      Flag.withDefault("")
    ),
    agents: Flag.String("agents").pipe(
      Flag.withDescription("Also these numbers of concurrent agents, such as 1,5,10"),
      Flag.withDefault("")
    ),
    concurrency: Flag.String("concurrency").pipe(
      Flag.withDescription("How many of --agents run at a time: a number or unbounded"),
      Flag.withDefault("unbounded")
    ),
    turns: Flag.String("turns").pipe(
      Flag.withDescription("Also runs of these numbers of turns, such as 10,100"),
      Flag.withDefault("")
    ),
    rounds: Flag.Int("rounds").pipe(Flag.withDescription("Processes per variant"), Flag.withDefault(3)),
    quick: Flag.Boolean("quick").pipe(
      Flag.withDescription("Short batches and one round: a first impression"),
      Flag.withDefault(false)
    ),
    json: Flag.String("json").pipe(Flag.withDescription("Write the results to this file"), Flag.optional),
    compare: Flag.String("compare").pipe(Flag.withDescription("Compare with the results in this file"), Flag.optional)
  },
  Effect.fnUntraced(function* (flags) {
    if (flags.rounds < 1) return yield* Problem.problem("--rounds has to be at least 1")
    const extra = asked(flags)
    const named =
      flags.only !== "" ? allCases.filter(({ name }) => name.includes(flags.only)) : extra.length > 0 ? [] : cases
    const unknown = extra.filter((name) => find(name) === undefined)
    if (unknown.length > 0) return yield* Problem.problem(`Not a case: ${unknown.join(", ")}`)
    const selected = [...named, ...extra.flatMap((name) => find(name) ?? [])]
    if (selected.length === 0) return yield* Problem.problem(`No case contains '${flags.only}'`)
    const before = yield* readResults(flags.compare)
    const rows = yield* run(selected, flags.quick ? quick : thorough, flags.quick ? 1 : flags.rounds)
    const where = machine(yield* effectVersion)
    const title = `${where.cpu}, ${where.cores} cores, Node ${where.node}, effect ${where.effect}`
    yield* Console.log(table(title, rows, before))
    if (Option.isSome(flags.json)) {
      const fs = yield* FileSystem.FileSystem
      const results: Results = {
        machine: where,
        rows: rows.map(({ case_, ...figures }) => ({ name: case_.name, ...figures }))
      }
      yield* fs.writeFileString(flags.json.value, `${yield* Schema.encodeEffect(resultsFile)(results)}\n`)
    }
  })
).pipe(Command.withDescription("Benchmarks of effect-agent-runtime, in µs per operation"))

Command.run(command, { version: "0.1.0" }).pipe(
  Effect.provide([NodeServices.layer, Problem.layer]),
  NodeRuntime.runMain
)
