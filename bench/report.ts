/** From samples to figures to a table. Pure, but for reading what machine it runs on. */
import * as os from "node:os"
import { quantile } from "simple-statistics"
import type { Case } from "./Case.ts"
import type { Samples } from "./measure.ts"

/** µs per operation: the median of all batches, and the quartiles as spread. */
export interface Figure {
  readonly median: number
  readonly low: number
  readonly high: number
}

export interface Figures {
  readonly cpu: Figure
  readonly wall: Figure
}

export interface Row {
  readonly case_: Case
  readonly ours: Figures
  readonly floor: Figures | undefined
}

export const summarize = (samples: ReadonlyArray<Samples>): Figures => ({
  cpu: figure(samples.flatMap(({ cpu }) => cpu)),
  wall: figure(samples.flatMap(({ wall }) => wall))
})

const figure = (values: ReadonlyArray<number>): Figure => {
  const [low, median, high] = quantile([...values], [0.25, 0.5, 0.75])
  return { median: median!, low: low!, high: high! }
}

export const machine = () => ({
  cpu: os.cpus()[0]?.model ?? "unknown",
  cores: os.cpus().length,
  node: process.version,
  platform: `${os.platform()} ${os.arch()}`
})

const number = (value: number): string => (value >= 100 ? value.toFixed(0) : value.toFixed(value >= 10 ? 1 : 2))

const spread = ({ high, low, median }: Figure): string => `${number(median)} (${number(low)}–${number(high)})`

/** The table that `npm run bench` prints: µs per operation, CPU time first. */
export const table = (rows: ReadonlyArray<Row>): string => {
  const header = ["case", "ours cpu µs", "wall µs", "floor cpu µs", "ours/floor", "per unit", "report µs"]
  const body = rows.map(({ case_, floor, ours }) => [
    case_.name,
    spread(ours.cpu),
    number(ours.wall.median),
    floor === undefined ? "–" : spread(floor.cpu),
    floor === undefined ? "–" : `${(ours.cpu.median / floor.cpu.median).toFixed(2)}×`,
    case_.per === undefined ? "–" : `${number(ours.cpu.median / case_.per.count)} / ${case_.per.unit}`,
    case_.published === undefined ? "–" : String(case_.published)
  ])
  const lines = [header, ...body]
  const widths = header.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)))
  const render = (line: ReadonlyArray<string>) =>
    line.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!))).join("  ")
  const { cores, cpu, node } = machine()
  return [`${cpu}, ${cores} cores, Node ${node}; median (quartiles)`, "", ...lines.map(render)].join("\n")
}
