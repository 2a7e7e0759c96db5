/** From samples to figures to a table. Pure, but for reading what machine it runs on. */
import * as os from "node:os"
import * as Schema from "effect/Schema"
import { quantileSorted, sampleWithReplacement } from "simple-statistics"
import type { Case } from "./Case.ts"
import type { Samples } from "./measure.ts"

/** The median of all batches with its 95 % bootstrap confidence interval, and the 99th percentile of the batches. */
export const Figure = Schema.Struct({
  median: Schema.Finite,
  low: Schema.Finite,
  high: Schema.Finite,
  p99: Schema.Finite
})
export type Figure = typeof Figure.Type

/** µs of CPU and wall time, and bytes allocated, per operation. */
export const Figures = Schema.Struct({ cpu: Figure, wall: Figure, bytes: Figure })
export type Figures = typeof Figures.Type

/** What a run of the suite writes with `--json`. */
export const Results = Schema.Struct({
  machine: Schema.Struct({
    cpu: Schema.String,
    cores: Schema.Finite,
    node: Schema.String,
    platform: Schema.String,
    effect: Schema.String
  }),
  rows: Schema.Array(
    Schema.Struct({
      name: Schema.String,
      ours: Figures,
      floor: Schema.optional(Figures),
      /** CPU time of ours over that of the floor: the median of the rounds. */
      toFloor: Schema.optional(Schema.Finite)
    })
  )
})
export type Results = typeof Results.Type

export interface Row {
  readonly case_: Case
  readonly ours: Figures
  readonly floor: Figures | undefined
  /** See {@link Results}. */
  readonly toFloor: number | undefined
}

/** The row of a case from the samples of its rounds. */
export const rowOf = (case_: Case, ours: ReadonlyArray<Samples>, floor: ReadonlyArray<Samples>): Row => ({
  case_,
  ours: summarize(ours),
  floor: floor.length === 0 ? undefined : summarize(floor),
  toFloor:
    floor.length === 0 ? undefined : medianOf(ours.map((own, round) => medianOf(own.cpu) / medianOf(floor[round]!.cpu)))
})

export const summarize = (samples: ReadonlyArray<Samples>): Figures => ({
  cpu: figure(samples.flatMap(({ cpu }) => cpu)),
  wall: figure(samples.flatMap(({ wall }) => wall)),
  bytes: figure(samples.flatMap(({ bytes }) => bytes))
})

const resamples = 1000

const figure = (values: ReadonlyArray<number>): Figure => {
  const sorted = values.toSorted((a, b) => a - b)
  const random = seeded()
  const medians = Array.from({ length: resamples }, () =>
    median(sampleWithReplacement([...values], values.length, random).toSorted((a, b) => a - b))
  ).toSorted((a, b) => a - b)
  return {
    median: median(sorted),
    low: quantileSorted(medians, 0.025),
    high: quantileSorted(medians, 0.975),
    p99: quantileSorted(sorted, 0.99)
  }
}

const median = (sorted: Array<number>): number => quantileSorted(sorted, 0.5)
const medianOf = (values: ReadonlyArray<number>): number => median(values.toSorted((a, b) => a - b))

/** The same resamples for the same figures: a linear congruential generator (Numerical Recipes' constants). */
const seeded = (): (() => number) => {
  let state = 1
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

export const machine = (effect: string): Results["machine"] => ({
  cpu: os.cpus()[0]?.model ?? "unknown",
  cores: os.cpus().length,
  node: process.version,
  platform: `${os.platform()} ${os.arch()}`,
  effect
})

export const number = (value: number): string => (value >= 100 ? value.toFixed(0) : value.toFixed(value >= 10 ? 1 : 2))

const interval = ({ high, low, median }: Figure): string => `${number(median)} (${number(low)}–${number(high)})`

const bytes = (value: number): string => (value >= 10_240 ? `${number(value / 1024)} kB` : `${Math.round(value)} B`)

/** The table that `npm run bench` prints; with earlier results, how the medians compare. */
export const table = (title: string, rows: ReadonlyArray<Row>, before?: Results | undefined): string => {
  const header = [
    "case",
    "cpu µs (95 % CI)",
    "p99",
    "wall µs",
    "allocated",
    "floor cpu µs",
    "ours/floor",
    "per unit",
    "report µs"
  ]
  const body = rows.map(({ case_, floor, ours, toFloor }) => [
    case_.name,
    interval(ours.cpu),
    number(ours.cpu.p99),
    number(ours.wall.median),
    bytes(ours.bytes.median),
    floor === undefined ? "–" : interval(floor.cpu),
    toFloor === undefined ? "–" : `${toFloor.toFixed(2)}×`,
    case_.per === undefined ? "–" : `${number(ours.cpu.median / case_.per.count)} / ${case_.per.unit}`,
    case_.published === undefined ? "–" : String(case_.published),
    ...(before === undefined ? [] : [compared(case_.name, ours, before)])
  ])
  const lines = [before === undefined ? header : [...header, "now/before"], ...body]
  const widths = lines[0]!.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)))
  const render = (line: ReadonlyArray<string>) =>
    line.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!))).join("  ")
  return [title, "", ...lines.map(render)].join("\n")
}

const compared = (name: string, now: Figures, before: Results): string => {
  const row = before.rows.find((candidate) => candidate.name === name)
  return row === undefined ? "new" : `${(now.cpu.median / row.ours.cpu.median).toFixed(2)}×`
}
