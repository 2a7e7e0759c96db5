/**
 * `agent-runtime bench`: how many runs of an agent there are in a second, and how long each takes.
 */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Usage from "../Usage.ts"
import * as Failure from "./failure.ts"
import { write } from "./run.ts"
import * as Setup from "./setup.ts"

const Count = Schema.Int.check(Schema.isGreaterThanOrEqualTo(1))

const flags = {
  prompt: Argument.String("prompt").pipe(
    Argument.withDescription("What each run is asked. Default: What is (5 + 3) * 2 - 4?"),
    Argument.variadic(),
    Argument.map((words) => words.join(" ").trim() || "What is (5 + 3) * 2 - 4?")
  ),
  runs: Flag.Int("runs").pipe(
    Flag.withAlias("n"),
    Flag.withDescription("How many runs for each row (default 1000)"),
    Flag.withSchema(Count),
    Flag.withDefault(1000)
  ),
  concurrency: Flag.String("concurrency").pipe(
    Flag.withDescription("How many runs at a time, a row for each number (default 1,10,100)"),
    Flag.withDefault("1,10,100")
  ),
  ...Setup.agentFlags
}

interface Row {
  readonly concurrency: number
  readonly seconds: number
  readonly failed: number
  readonly usage: Usage.Usage
  /** How long each run took, in milliseconds, shortest first. */
  readonly millis: ReadonlyArray<number>
}

const measure = Effect.fnUntraced(function* (
  run: Effect.Effect<{ readonly usage: Usage.Usage }, unknown>,
  runs: number,
  concurrency: number
) {
  const clock = yield* Clock.Clock
  const now = () => Number(clock.currentTimeNanosUnsafe()) / 1e6
  const millis: Array<number> = []
  let failed = 0
  let usage = Usage.zero
  const startedAt = now()
  const one = Effect.suspend(() => {
    const begun = now()
    return Effect.map(Effect.exit(run), (exit) => {
      millis.push(now() - begun)
      if (Exit.isSuccess(exit)) usage = Usage.combine(usage, exit.value.usage)
      else failed++
    })
  })
  yield* Effect.forEach(Array.from({ length: runs }), () => one, { concurrency, discard: true })
  const row: Row = {
    concurrency,
    seconds: (now() - startedAt) / 1000,
    failed,
    usage,
    millis: millis.toSorted((a, b) => a - b)
  }
  return row
})

const columns: ReadonlyArray<readonly [title: string, value: (row: Row) => string]> = [
  ["at a time", ({ concurrency }) => String(concurrency)],
  ["runs", ({ millis }) => String(millis.length)],
  ["failed", ({ failed }) => String(failed)],
  ["runs/s", ({ millis, seconds }) => rounded(millis.length / seconds)],
  ["model calls/s", ({ seconds, usage }) => rounded(usage.modelCalls / seconds)],
  ["tool calls/s", ({ seconds, usage }) => rounded(usage.toolCalls / seconds)],
  ...[50, 95, 99].map((share) => [`p${share} ms`, ({ millis }: Row) => percentile(millis, share).toFixed(2)] as const)
]

const rounded = (n: number): string => (n < 100 ? n.toFixed(1) : Math.round(n).toString())

/** The smallest value that so many percent are not above (nearest rank). */
const percentile = (sorted: ReadonlyArray<number>, share: number): number =>
  sorted[Math.max(0, Math.ceil((share / 100) * sorted.length) - 1)] ?? 0

const table = (rows: ReadonlyArray<Row>): string => {
  const cells = [columns.map(([title]) => title), ...rows.map((row) => columns.map(([, value]) => value(row)))]
  const widths = columns.map((_, index) => Math.max(...cells.map((row) => row[index]!.length)))
  return cells.map((row) => `${row.map((cell, index) => cell.padStart(widths[index]!)).join("  ")}\n`).join("")
}

export const bench = Command.make(
  "bench",
  flags,
  Effect.fnUntraced(function* ({ concurrency, prompt, runs, ...flags }) {
    const levels = concurrency.split(",").map(Number)
    if (!levels.every((level) => Number.isInteger(level) && level >= 1)) {
      return yield* Failure.usage(`--concurrency has to be numbers from 1, separated by commas: ${concurrency}`)
    }
    const { agent, layer } = yield* Setup.prepare(flags, Effect.void)
    const rows = yield* Effect.gen(function* () {
      const agents = yield* Setup.Agents
      const run = agents.run(agent, prompt)
      // What is wrong with all runs is said before they are measured; and this one warms up.
      yield* run
      return yield* Effect.forEach(levels, (level) => measure(run, runs, level))
    }).pipe(Effect.provide(layer))
    yield* write(`${runs} runs of the agent '${agent}' for each row: ${prompt}\n\n${table(rows)}`)
  }, Effect.mapError(Failure.from))
).pipe(
  Command.withDescription(
    "Measures runs of an agent, so many at a time: of the runtime alone with the offline stand-in (--model offline), or of "
      + "your agent with its model, which costs what its calls cost."
  )
)
