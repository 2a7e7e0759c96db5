/**
 * Writes docs/benchmarks.md and its plots from the results in bench/results. No figure is typed by hand.
 *
 *     npm run bench -- --json bench/results/suite.json
 *     npm run bench:footprint
 *     npm run bench:peers
 *     npm run bench:report
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import * as Schema from "effect/Schema"
import type { Case } from "./Case.ts"
import { cases, find } from "./cases/index.ts"
import { type Outcome, PeerResults, scenarios } from "./peers/results.ts"
import type { Point } from "./plots.ts"
import { bars, lines } from "./plots.ts"
import { number, Results } from "./report.ts"

const results = new URL("results/", import.meta.url)
const docs = new URL("../docs/", import.meta.url)

const read = <A>(file: string, schema: Schema.Codec<A, unknown>): A | undefined => {
  const url = new URL(file, results)
  return existsSync(url) ? Schema.decodeUnknownSync(schema)(JSON.parse(readFileSync(url, "utf8"))) : undefined
}

const Footprint = Schema.Struct({
  memories: Schema.Array(
    Schema.Struct({ agents: Schema.Finite, variant: Schema.Literals(["none", "tool"]), bytesPerAgent: Schema.Finite })
  ),
  bundleBytes: Schema.Finite,
  gzipBytes: Schema.Finite,
  agentMillis: Schema.Finite,
  bareNodeMillis: Schema.Finite
})

const suite = read("suite.json", Results)
const footprint = read("footprint.json", Footprint)
const peers = read("peers.json", PeerResults)
if (suite === undefined)
  throw new Error("No bench/results/suite.json: run `npm run bench -- --json bench/results/suite.json`")

const ours = (name: string) => suite.rows.find((row) => row.name === name)
const oursMicros = (name: string) => ours(name)?.ours.cpu.median

const outcomes = peers?.peers ?? []
const titleOf = ({ title, variant }: Outcome) => (variant === undefined ? title : `${title}, ${variant}`)
const micros = (outcome: Outcome, scenario: string) =>
  outcome.rows.find((row) => row.scenario === scenario)?.cpu?.median

const isOriginal = ({ language }: Outcome) => language === "rust"
const isOurs = ({ name }: Outcome) => name === "effect-agent-runtime"

/** Ours in the same run as the peers, in the Effect runtime. */
const oursBeside = (scenario: string) => {
  const own = outcomes.find((outcome) => isOurs(outcome) && outcome.variant === undefined)
  return own === undefined ? undefined : micros(own, scenario)
}

/** The best of the original's runtimes and profiles. */
const bestOriginal = (scenario: string) => {
  const figures = outcomes.filter(isOriginal).flatMap((outcome) => micros(outcome, scenario) ?? [])
  return figures.length === 0 ? undefined : Math.min(...figures)
}

const show = (value: number | undefined) => (value === undefined ? "–" : number(value))
const ratio = (a: number | undefined, b: number | undefined) =>
  a === undefined || b === undefined ? "–" : `${(a / b).toFixed(2)}×`

/** The median of the ratios of all rounds: in each, one ran right after the other. */
const ratioToFloor = (row: Results["rows"][number] | undefined) =>
  row?.toFloor === undefined ? "–" : `${row.toFloor.toFixed(2)}×`

const markdownTable = (header: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>) =>
  [header, header.map((_, i) => (i === 0 ? "---" : "--:")), ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n")

const originals: Record<string, string> = Object.fromEntries(scenarios.map(([scenario, name]) => [name, scenario]))

const originalTable = () => {
  const rows = cases.filter(({ published }) => published !== undefined)
  return markdownTable(
    [
      "benchmark",
      "ours",
      "95 % interval",
      "Rust, best here",
      "ours beside it",
      "ours / Rust",
      "floor",
      "ours / floor",
      "Rust, its report"
    ],
    rows.map((case_) => {
      const row = ours(case_.name)
      const rust = bestOriginal(originals[case_.name] ?? case_.name)
      return [
        `\`${case_.name}\``,
        show(row?.ours.cpu.median),
        row === undefined ? "–" : `${number(row.ours.cpu.low)}–${number(row.ours.cpu.high)}`,
        show(rust),
        show(oursBeside(originals[case_.name] ?? case_.name)),
        ratio(oursBeside(originals[case_.name] ?? case_.name), rust),
        show(row?.floor?.cpu.median),
        ratioToFloor(row),
        String(case_.published)
      ]
    })
  )
}

/** Ours is checked once, as a promise. */
const checksOf = (outcome: Outcome) =>
  outcome.checks ?? (isOurs(outcome) ? outcomes.find((other) => isOurs(other) && other.checks)?.checks : undefined)

/** The scenarios that all peers have. */
const compared = scenarios.filter(([scenario]) =>
  outcomes.every((outcome) => outcome.rows.length === 0 || outcome.rows.some((row) => row.scenario === scenario))
)

const peerTable = () =>
  markdownTable(
    ["framework", "version", ...compared.map(([, , title]) => title), "parallel tools", "wrong arguments"],
    outcomes.map((outcome) => {
      const strong = isOurs(outcome) ? "**" : ""
      return [
        `${strong}${titleOf(outcome)}${strong}`,
        outcome.version ?? "–",
        ...compared.map(([scenario]) => `${strong}${show(micros(outcome, scenario))}${strong}`),
        checksOf(outcome) === undefined ? "–" : checksOf(outcome)!.parallel ? "yes" : "no",
        checksOf(outcome)?.invalid ?? "–"
      ]
    })
  )

const kilobytes = (outcome: Outcome, scenario: string) => {
  const bytes = outcome.rows.find((row) => row.scenario === scenario)?.bytes
  return bytes === undefined ? "–" : number(bytes / 1000)
}

const memoryTable = () =>
  markdownTable(
    ["framework", "kB per agent that waits for its model", "kB after a turn with a tool"],
    outcomes
      .filter((outcome) => kilobytes(outcome, "memory_no_tools") !== "–")
      .map((outcome) => [
        titleOf(outcome),
        kilobytes(outcome, "memory_no_tools"),
        kilobytes(outcome, "memory_one_tool")
      ])
  )

const caseTable = (selected: ReadonlyArray<Case>) =>
  markdownTable(
    ["case", "what one operation is", "cpu µs", "p99", "wall µs", "allocated", "per unit", "beside it cpu µs", "ratio"],
    selected.flatMap((case_) => {
      const row = ours(case_.name)
      if (row === undefined) return []
      const { bytes, cpu, wall } = row.ours
      return [
        [
          `\`${case_.name}\``,
          case_.describes,
          show(cpu.median),
          show(cpu.p99),
          show(wall.median),
          `${number(bytes.median / 1024)} kB`,
          case_.per === undefined ? "–" : `${number(cpu.median / case_.per.count)} µs / ${case_.per.unit}`,
          show(row.floor?.cpu.median),
          ratioToFloor(row)
        ]
      ]
    })
  )

const points = (prefix: RegExp, variant: "ours" | "floor", series: string, perUnit: boolean): ReadonlyArray<Point> =>
  suite.rows.flatMap((row) => {
    const [, x] = prefix.exec(row.name) ?? []
    const figures = row[variant]
    if (x === undefined || figures === undefined) return []
    return [{ x: Number(x), y: figures.cpu.median / (perUnit ? Number(x) : 1), series }]
  })

const rustPoints = (prefix: RegExp, perUnit: boolean): ReadonlyArray<Point> => {
  const names = Array.from(new Set(outcomes.flatMap(({ rows }) => rows.map((row) => row.scenario))))
  return names.flatMap((scenario) => {
    const [, x] = prefix.exec(scenario) ?? []
    const y = bestOriginal(scenario)
    return x === undefined || y === undefined
      ? []
      : [{ x: Number(x), y: y / (perUnit ? Number(x) : 1), series: "Rust original" }]
  })
}

const plots = {
  turns: () =>
    lines("Cost per turn", "turns", "µs of CPU per turn", [
      ...points(/^turns\/(\d+)$/, "ours", "effect-agent-runtime", true),
      ...points(/^turns\/(\d+)$/, "floor", "plain async/await", true)
    ]),
  agents: () =>
    lines("Concurrent agents, cost of each", "agents", "µs of CPU per agent", [
      ...points(/^concurrent_agents\/(\d+)$/, "ours", "effect-agent-runtime", true),
      ...points(/^agents\/(\d+)_unbounded_0ms$/, "ours", "effect-agent-runtime", true),
      ...points(/^concurrent_agents\/(\d+)$/, "floor", "plain async/await", true),
      ...rustPoints(/^concurrent_agents\/(\d+)$/, true)
    ]),
  agents_total: () =>
    lines("Concurrent agents, all together", "agents", "µs of CPU", [
      ...points(/^concurrent_agents\/(\d+)$/, "ours", "effect-agent-runtime", false),
      ...points(/^agents\/(\d+)_unbounded_0ms$/, "ours", "effect-agent-runtime", false),
      ...points(/^concurrent_agents\/(\d+)$/, "floor", "plain async/await", false),
      ...rustPoints(/^concurrent_agents\/(\d+)$/, false)
    ]),
  events: () =>
    lines(
      "Events: a batch of 64 through the hub",
      "subscribers",
      "µs of CPU per event",
      points(/^hub\/(\d+)_subscribers$/, "ours", "effect-agent-runtime", false).map((point) => ({
        ...point,
        y: point.y / 64
      }))
    ),
  peers: () =>
    bars(
      "A run with tools, by framework",
      "µs of CPU (logarithmic)",
      ["one_tool", "three_tools"].flatMap((scenario) => {
        const series = scenario.replace("_", " ")
        return outcomes.flatMap((outcome) => {
          const value = micros(outcome, scenario)
          return value === undefined ? [] : [{ name: titleOf(outcome), value, series }]
        })
      })
    )
}

const fastestFramework = (scenario: string) =>
  outcomes
    .filter((outcome) => !isOriginal(outcome) && !isOurs(outcome))
    .flatMap((outcome) => {
      const value = micros(outcome, scenario)
      return value === undefined ? [] : [{ peer: titleOf(outcome), value }]
    })
    .toSorted((a, b) => a.value - b.value)[0]

const summary = () =>
  ["one_tool", "three_tools"].flatMap((scenario) => {
    const fastest = fastestFramework(scenario)
    const own = oursBeside(scenario)
    if (fastest === undefined || own === undefined) return []
    const { peer, value } = fastest
    return [
      `- ${scenario.replace("_", " ")}: ${(value / own).toFixed(1)} times as fast as ${peer}, the fastest of them`
    ]
  })

const footprintSection = () => {
  if (footprint === undefined) return "Not measured: run `npm run bench:footprint`."
  const { agentMillis, bareNodeMillis, bundleBytes, gzipBytes, memories } = footprint
  return [
    markdownTable(
      ["suspended agents", "without tools", "after a turn with a tool"],
      [1000, 100_000].map((agents) => [
        String(agents),
        ...(["none", "tool"] as const).map(
          (variant) =>
            `${Math.round(memories.find((row) => row.agents === agents && row.variant === variant)?.bytesPerAgent ?? 0)} B`
        )
      ])
    ),
    `A bundle of an agent with a tool, Effect included: ${number(bundleBytes / 1024)} kB, ${number(gzipBytes / 1024)} kB gzipped. `
      + `Starting it and running the agent takes ${number(agentMillis)} ms, an empty program ${number(bareNodeMillis)} ms.`
  ].join("\n\n")
}

/** A target, what was measured, and whether it holds. */
const target = (what: string, measured: number | undefined, holds: (measured: number) => boolean, unit: string) => [
  what,
  measured === undefined ? "–" : `${number(measured)}${unit}`,
  measured === undefined ? "not measured" : holds(measured) ? "yes" : "no"
]

const over = (a: number | undefined, b: number | undefined) => (a === undefined || b === undefined ? undefined : a / b)

const perUnit = (name: string) => over(oursMicros(name), find(name)?.per?.count)

const targetTable = () => {
  const toRust = (name: string, share: number, says: string) =>
    target(
      `\`${name}\` at most ${says} of Rust's best`,
      over(oursBeside(originals[name] ?? name), bestOriginal(originals[name] ?? name)),
      (measured) => measured <= share,
      "×"
    )
  const toFrameworks = (scenario: string) =>
    target(
      `${scenario.replace("_", " ")}: 20 times as fast as the fastest framework`,
      over(fastestFramework(scenario)?.value, oursBeside(scenario)),
      (measured) => measured >= 20,
      "×"
    )
  const stack = ours("middleware_stack")
  const scenariosOfOriginal = cases
    .filter(({ published }) => published !== undefined)
    .map(({ name }) => originals[name] ?? name)
  const faster = scenariosOfOriginal.filter((scenario) => (over(oursBeside(scenario), bestOriginal(scenario)) ?? 1) < 1)
  const memory = footprint?.memories.find(({ agents, variant }) => agents === 100_000 && variant === "none")
  return markdownTable(
    ["target", "measured", "holds"],
    [
      [
        "every benchmark of the original under Rust's best",
        `${faster.length} of ${scenariosOfOriginal.length}`,
        faster.length === scenariosOfOriginal.length ? "yes" : "no"
      ],
      toRust("agent_execution_no_tools", 1 / 3, "a third"),
      toRust("agent_execution_single_tool", 1 / 3, "a third"),
      toRust("agent_execution_multiple_tools", 1 / 3, "a third"),
      toRust("tool_loop_detection", 1 / 3, "a third"),
      toRust("tool_execution_overhead", 2 / 3, "two thirds"),
      toRust("event_emission", 2 / 3, "two thirds"),
      toRust("concurrent_agents/50", 1 / 2, "half"),
      target(
        "50 concurrent agents under the report's 68.46 µs",
        oursMicros("concurrent_agents/50"),
        (n) => n < 68.46,
        " µs"
      ),
      target(
        "1,000 turns at most a fiftieth of Rust's best",
        over(oursBeside("thousand_turns"), bestOriginal("thousand_turns")),
        (n) => n <= 1 / 50,
        "×"
      ),
      toFrameworks("one_tool"),
      toFrameworks("three_tools"),
      target("a watched run at most twice an unwatched one", ours("events/1_subscribers")?.toFloor, (n) => n <= 2, "×"),
      target(
        "an event at most 0.3 µs from publish to receipt, in batches",
        perUnit("hub/1_subscribers"),
        (n) => n <= 0.3,
        " µs"
      ),
      target("the same, one by one", oursMicros("event_emission_hub"), (n) => n <= 0.3, " µs"),
      target(
        "a run of 1,000 turns at most twice as much per turn as one of 10",
        over(perUnit("turns/1000"), perUnit("turns/10")),
        (n) => n <= 2,
        "×"
      ),
      target(
        "a context window at most twice as much per turn in 1,000 turns as in 100",
        over(perUnit("context_window/1000"), perUnit("context_window/100")),
        (n) => n <= 2,
        "×"
      ),
      target(
        "10,000 agents at most twice as much each as 1,000",
        over(perUnit("agents/10000_unbounded_0ms"), perUnit("agents/1000_unbounded_0ms")),
        (n) => n <= 2,
        "×"
      ),
      target(
        "a structured answer of 10,000 words at most twice as much per word as one of 1,000",
        over(perUnit("streamed_output/10000"), perUnit("streamed_output/1000")),
        (n) => n <= 2,
        "×"
      ),
      target(
        "a stalled subscriber costs a run less than 2 %",
        ours("events/1_subscribers_one_more_stalled")?.toFloor,
        (n) => n < 1.02,
        "×"
      ),
      target(
        "all reliability middleware at most 5 µs per model call over the bare model",
        stack?.floor === undefined ? undefined : stack.ours.cpu.median - stack.floor.cpu.median,
        (n) => n <= 5,
        " µs"
      ),
      target(
        "a prepared one-tool run at most four times its floor",
        ours("agent_execution_single_tool/prepared")?.toFloor,
        (n) => n <= 4,
        "×"
      ),
      target(
        "a one-tool run, agent and tools built in each, at most four times its floor",
        ours("agent_execution_single_tool")?.toFloor,
        (n) => n <= 4,
        "×"
      ),
      target("at most 4 kB (4,096 B) per suspended agent", memory?.bytesPerAgent, (n) => n <= 4096, " B"),
      target("at most 70 kB gzipped", over(footprint?.gzipBytes, 1024), (n) => n <= 70, " kB"),
      target(
        "start-up within 60 ms of bare Node",
        footprint === undefined ? undefined : footprint.agentMillis - footprint.bareNodeMillis,
        (n) => n <= 60,
        " ms"
      )
    ]
  )
}

const failures = () =>
  outcomes
    .flatMap((outcome) => (outcome.failure === undefined ? [] : [`- ${titleOf(outcome)}: ${outcome.failure}`]))
    .join("\n")

const notes = () =>
  outcomes
    .flatMap((outcome) => (outcome.notes ? [`- ${titleOf(outcome)}: ${outcome.notes}`] : []))
    .filter((line, i, all) => all.indexOf(line) === i)
    .join("\n")

const page = `# Benchmarks

Written by \`npm run bench:report\` from the results in \`bench/results\`; no figure is typed by hand.

${suite.machine.cpu}, ${suite.machine.cores} cores, ${suite.machine.platform}, Node ${suite.machine.node}, effect ${suite.machine.effect}.

## Method

All figures are µs of CPU time per operation, garbage collection on helper threads included, unless a unit says
otherwise: the median of all batches. Every variant runs in a fresh process per round, in rotated order, is warmed up, and
has its result checked before and after it is timed. The interval is that of 1,000 bootstrap resamples of the median, p99
the slowest percentile of the batches. The floor is the same work in plain async/await, without events, typed errors,
cancellation, bounds, timeouts or schemas (\`bench/floor.ts\`).

\`npm run bench\` measures ours and the floor, one right after the other in each
round; their ratio is the median of those of the rounds. \`npm run bench:peers\` measures Rust, the frameworks, and ours once
more beside them. \`npm run bench:peers -- --only\` renews some of its rows and
keeps the others, as was done last for ours and Rust's, after the frameworks. On a busy machine even so a ratio can be far off: record more than once.
Record with \`npm run bench -- --json bench/results/suite.json\`; without \`--json\` nothing is kept.

## The original's benchmarks

The contents of the timed region are those of the original: model, tools, agent and input are built in each operation,
loop detection is on, texts are streamed word by word. The tools' Schemas are types and their handlers come from a Layer:
both are made once. "Rust, best here" is the published crate on this machine, the best of its runtimes and profiles; "its report" is what its own report says.

${originalTable()}

What is not comparable: the original's concurrent agents use all cores and their CPU time is that of all of them; its
event benchmark is a raw channel, as is ours of that name, while \`event_emission_hub\` is a real hub; its loop detector misses
half of the repeats in its own benchmark, where ours catches all.

## Targets

${targetTable()}

What does not hold, and what it would take: [performance](design/performance.md).

## Frameworks

${peers === undefined ? "Not measured: run `npm run bench:peers`." : peerTable()}

${summary().join("\n")}

![Frameworks](benchmarks/peers.svg)

${failures() === "" ? "" : `Not measured:\n\n${failures()}\n`}
All frameworks play the same script in memory, with validation as they do it by default, network and telemetry off; each
has its results checked. Figures of Rust are those of its whole process too. Memory is heap and external memory of 500
agents in JavaScript, traced allocations of 200 in Python, the allocator's figure for 10,000 in Rust.

${memoryTable()}

${notes()}

## Scaling

![Cost per turn](benchmarks/turns.svg)

![Agents, each](benchmarks/agents.svg)

![Agents, together](benchmarks/agents_total.svg)

![Events](benchmarks/events.svg)

## All cases

Beside a case stands its floor, or what its description names.

${caseTable(suite.rows.flatMap((row) => find(row.name) ?? []))}

## Footprint

${footprintSection()}
`

mkdirSync(new URL("benchmarks/", docs), { recursive: true })
for (const [name, plot] of Object.entries(plots)) {
  writeFileSync(new URL(`benchmarks/${name}.svg`, docs), await plot())
}
writeFileSync(new URL("benchmarks.md", docs), page)
