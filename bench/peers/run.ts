/**
 * The peers: what the original and the frameworks that people would use instead take for the same scripted work, beside
 * ours in the same run.
 *
 * Installs what is missing (npm, pip in a virtual environment, cargo), runs each peer in a fresh process per round, one
 * after the other, and writes the results to `bench/results/peers.json`. A peer that cannot be installed or run says why.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import manifest from "effect/package.json" with { type: "json" }
import * as ChildProcess from "effect/process/ChildProcess"
import * as ChildProcessSpawner from "effect/process/ChildProcessSpawner"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Problem from "../problem.ts"
import { machine, number, summarize } from "../report.ts"
import { Checks, type Outcome, PeerResults, type Row } from "./results.ts"

// --- Peers -----------------------------------------------------------------------------------------------------------

interface Peer {
  readonly name: string
  readonly title: string
  readonly variant?: string
  /** Where it lives, below this folder. */
  readonly folder: string
  /** What has to be there once it is installed, and how to get there. */
  readonly installed: string
  readonly install: ReadonlyArray<readonly [command: string, ...args: Array<string>]>
  readonly command: (effort: string) => readonly [command: string, ...args: Array<string>]
}

const rust = (variant: string, runtime: "multi" | "current", profile: "release" | "lto"): Peer => ({
  name: "agent-runtime",
  title: "agent-runtime (Rust)",
  variant,
  folder: "rust",
  installed: `target/${profile}/peer-agent-runtime`,
  install: [["cargo", "build", "--locked", "--profile", profile]],
  command: (effort) => [`./target/${profile}/peer-agent-runtime`, runtime, variant, effort]
})

const javascript = (name: string, title: string): Peer => ({
  name,
  title,
  folder: `js/${name}`,
  installed: "node_modules",
  install: [["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]],
  command: (effort) => [process.execPath, "--expose-gc", "../suite.mjs", "peer.mjs", effort]
})

/** It has no manifest of its own: it is the `effect` that the library uses. */
const effectChat: Peer = { ...javascript("effect-chat", "effect/ai Chat loop"), installed: "peer.mjs", install: [] }

const python = (name: string, title: string): Peer => ({
  name: `${name}-python`,
  title: `${title} (Python)`,
  folder: `python/${name}`,
  installed: ".venv/installed",
  install: [
    ["python3", "-m", "venv", ".venv"],
    [".venv/bin/pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"],
    ["touch", ".venv/installed"]
  ],
  command: (effort) => [".venv/bin/python", "../suite.py", "peer.py", effort]
})

/** Ours twice: run by the benchmark's fiber, as an Effect app does, and through a promise, as the others are. */
const ours: ReadonlyArray<Peer> = [
  {
    name: "effect-agent-runtime",
    title: "effect-agent-runtime",
    folder: ".",
    installed: "ours.ts",
    install: [],
    command: (effort) => [process.execPath, "ours.ts", effort]
  },
  {
    ...javascript("effect-agent-runtime", "effect-agent-runtime"),
    variant: "as a promise",
    installed: "peer.mjs",
    install: []
  }
]

const peers: ReadonlyArray<Peer> = [
  ...ours,
  rust("multi-thread", "multi", "release"),
  rust("current-thread", "current", "release"),
  rust("multi-thread, LTO", "multi", "lto"),
  rust("current-thread, LTO", "current", "lto"),
  javascript("pi", "pi-agent-core"),
  javascript("ai-sdk", "AI SDK"),
  effectChat,
  javascript("openai-agents", "OpenAI Agents"),
  javascript("strands", "Strands"),
  javascript("voltagent", "VoltAgent"),
  javascript("langchain", "LangChain.js"),
  javascript("mastra", "Mastra"),
  python("autogen", "AutoGen"),
  python("agent-framework", "Agent Framework"),
  python("semantic-kernel", "Semantic Kernel"),
  python("pydantic-ai", "Pydantic AI"),
  python("langchain", "LangChain")
]

// --- Results ---------------------------------------------------------------------------------------------------------

/** What a peer prints per scenario: µs per operation and batch, bytes per suspended agent, or a failure. */
const Line = Schema.Struct({
  version: Schema.String,
  language: Schema.Literals(["rust", "javascript", "python"]),
  notes: Schema.optional(Schema.Array(Schema.String)),
  checks: Schema.optional(Checks),
  scenario: Schema.String,
  cpu: Schema.optional(Schema.Array(Schema.Finite)),
  wall: Schema.optional(Schema.Array(Schema.Finite)),
  operations: Schema.optional(Schema.Finite),
  bytes: Schema.optional(Schema.Finite),
  failure: Schema.optional(Schema.String)
})
type Line = typeof Line.Type

/** The figures of a scenario, from the lines of all rounds. */
const row = (scenario: string, lines: ReadonlyArray<Line>): typeof Row.Type => {
  const samples = lines.flatMap(({ cpu, operations, wall }) =>
    cpu === undefined || wall === undefined ? [] : [{ cpu, wall, bytes: [0], operations: operations ?? 1 }]
  )
  const { bytes, failure, operations } = lines[0]!
  if (samples.length === 0) {
    return { scenario, bytes, failure: failure === undefined ? undefined : anonymous(failure) }
  }
  const { cpu, wall } = summarize(samples)
  return { scenario, cpu, wall, batches: samples.flatMap((sample) => sample.cpu).length, operations }
}

// --- Running ---------------------------------------------------------------------------------------------------------

interface Effort {
  readonly batches: number
  readonly batchMillis: number
  readonly warmUpMillis: number
  /** No further batch once a scenario has taken this long, beyond three. */
  readonly budgetMillis: number
  /** Whether to measure memory, and the original's thousand turns. */
  readonly long: boolean
}

const quick: Effort = { batches: 5, batchMillis: 20, warmUpMillis: 100, budgetMillis: 1000, long: false }
const thorough: Effort = { batches: 8, batchMillis: 25, warmUpMillis: 600, budgetMillis: 1500, long: true }

const here = new URL(".", import.meta.url).pathname

/** Ends a process in a folder after a time limit; gives its lines, and why it failed if it did. */
const runIn = Effect.fnUntraced(function* (
  folder: string,
  [command, ...args]: readonly [command: string, ...args: Array<string>],
  seconds: number
) {
  const spawner = yield* ChildProcessSpawner.ChildProcessSpawner
  const name = command.slice(command.lastIndexOf("/") + 1)
  const lines: Array<string> = []
  let errors = ""
  const exited = Effect.gen(function* () {
    const handle = yield* spawner.spawn(
      ChildProcess.make(command, args, { cwd: `${here}${folder}`, stdin: "ignore", forceKillAfter: "2 seconds" })
    )
    const [, , code] = yield* Effect.all(
      [
        Stream.runForEach(Stream.splitLines(Stream.decodeText(handle.stdout)), (line) =>
          Effect.sync(() => lines.push(line))
        ),
        Stream.runForEach(Stream.decodeText(handle.stderr), (text) =>
          Effect.sync(() => {
            errors = (errors + text).slice(-2000)
          })
        ),
        handle.exitCode
      ],
      { concurrency: "unbounded" }
    )
    return code === 0 ? undefined : `${name} ended with ${code}: ${lastWords(errors)}`
  })
  const failure = yield* exited.pipe(
    Effect.scoped,
    Effect.catchTag("PlatformError", (error) => Effect.succeed(`${name}: ${anonymous(error.message)}`)),
    Effect.timeoutOrElse({
      duration: `${seconds} seconds`,
      orElse: () => Effect.succeed(`${name} took more than ${seconds} s`)
    })
  )
  return { lines, failure }
})

/** The last lines of an error output that mean something. */
const lastWords = (text: string): string => {
  const lines = anonymous(text)
    .split("\n")
    .map((line) => line.trim())
  return lines
    .filter((line) => line !== "" && !/log of this run|^at /.test(line))
    .slice(-3)
    .join(" | ")
    .slice(0, 400)
}

/** Without what belongs to the machine it ran on. */
const anonymous = (text: string): string =>
  text
    .replaceAll(here, "")
    .replaceAll(/https?:\/\/\S+/g, "<url>")
    .replaceAll(/(?<![\w.])\/[\w.@+-]+(\/[\w.@+-]+)+/g, (path) => path.slice(path.lastIndexOf("/") + 1))

const installed = Effect.fnUntraced(function* (peer: Peer) {
  const fs = yield* FileSystem.FileSystem
  if (yield* fs.exists(`${here}${peer.folder}/${peer.installed}`)) return undefined
  yield* Console.error(`Installing ${peer.title}`)
  for (const command of peer.install) {
    const { failure } = yield* runIn(peer.folder, command, 600)
    if (failure !== undefined) return `cannot be installed: ${failure}`
  }
  return undefined
})

const decodeLine = Schema.decodeUnknownOption(Schema.fromJsonString(Line))

/** What a peer has printed in all rounds so far, and what went wrong in the last. */
interface Heard {
  readonly lines: ReadonlyArray<Line>
  readonly failure: string | undefined
}

const measure = Effect.fnUntraced(function* (peer: Peer, effort: Effort, seconds: number, before: Heard | undefined) {
  const obstacle = yield* installed(peer)
  if (obstacle !== undefined) return { lines: [], failure: obstacle } satisfies Heard
  const { failure, lines } = yield* runIn(peer.folder, peer.command(JSON.stringify(effort)), seconds)
  const heard = lines.flatMap((line) => Option.toArray(decodeLine(line)))
  return { lines: [...(before?.lines ?? []), ...heard], failure: failure ?? before?.failure } satisfies Heard
})

const outcome = ({ name, title, variant }: Peer, { failure, lines }: Heard): Outcome => {
  const first = lines[0]
  const scenarios = Array.from(new Set(lines.map(({ scenario }) => scenario)))
  return {
    name,
    title,
    variant,
    language: first?.language,
    version: first?.version,
    notes: first?.notes?.join(" "),
    checks: first?.checks,
    failure,
    rows: scenarios.map((scenario) =>
      row(
        scenario,
        lines.filter((line) => line.scenario === scenario)
      )
    )
  }
}

const outcomesOf = (heard: ReadonlyMap<Peer, Heard>): ReadonlyArray<Outcome> =>
  Array.from(heard, ([peer, lines]) => outcome(peer, lines))

const versionOf = Effect.fnUntraced(function* (command: string) {
  const { failure, lines } = yield* runIn("", [command, "--version"], 10)
  return failure === undefined ? (lines[0] ?? "unknown").split(" ").slice(0, 2).join(" ") : "not there"
})

// --- Output ----------------------------------------------------------------------------------------------------------

const columns = [
  "no_tools",
  "one_tool",
  "three_tools",
  "ten_tools_one_turn",
  "hundred_turns",
  "concurrent_agents/10",
  "concurrent_agents/50",
  "one_tool/prepared",
  "three_tools/prepared"
]

const cell = (outcome: Outcome, scenario: string): string => {
  const found = outcome.rows.find((candidate) => candidate.scenario === scenario)
  return found?.cpu === undefined ? (found?.failure === undefined ? "–" : "fails") : number(found.cpu.median)
}

const kilobytes = (outcome: Outcome, scenario: string): string => {
  const bytes = outcome.rows.find((candidate) => candidate.scenario === scenario)?.bytes
  return bytes === undefined ? "–" : (bytes / 1000).toFixed(1)
}

const table = (outcomes: ReadonlyArray<Outcome>): string => {
  const header = ["peer", "version", ...columns, "kB/agent", "kB with tool", "tools", "parallel", "wrong arguments"]
  const body = outcomes.map((outcome) => [
    outcome.variant === undefined ? outcome.title : `${outcome.title}, ${outcome.variant}`,
    outcome.version ?? "–",
    ...columns.map((scenario) => cell(outcome, scenario)),
    kilobytes(outcome, "memory_no_tools"),
    kilobytes(outcome, "memory_one_tool"),
    outcome.checks === undefined ? "–" : outcome.checks.ranTools ? "run" : "do not run",
    outcome.checks === undefined ? "–" : outcome.checks.parallel ? "yes" : "no",
    outcome.checks?.invalid ?? "–"
  ])
  const lines = [header, ...body]
  const widths = header.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)))
  const failures = outcomes.flatMap(({ failure, title }) => (failure === undefined ? [] : [`${title}: ${failure}`]))
  return [
    "CPU µs per operation, the median of all batches",
    "",
    ...lines.map((line) =>
      line
        .map((text, column) => (column < 2 ? text.padEnd(widths[column]!) : text.padStart(widths[column]!)))
        .join("  ")
    ),
    ...failures
  ].join("\n")
}

const key = ({ name, variant }: { readonly name: string; readonly variant?: string | undefined }): string =>
  `${name} ${variant ?? ""}`

const decodeResults = Schema.decodeUnknownOption(Schema.fromJsonString(PeerResults))

/** Writes the outcomes; those of peers that did not run this time stay. */
const write = Effect.fnUntraced(function* (file: string, outcomes: ReadonlyArray<Outcome>) {
  const fs = yield* FileSystem.FileSystem
  const text = yield* Effect.orElseSucceed(fs.readFileString(file), () => "")
  const before = Option.match(decodeResults(text), { onNone: () => [], onSome: (results) => results.peers })
  const byKey = new Map([...before, ...outcomes].map((outcome) => [key(outcome), outcome]))
  const results: typeof PeerResults.Type = {
    machine: {
      ...machine(manifest.version),
      rust: yield* versionOf("rustc"),
      python: yield* versionOf("python3")
    },
    peers: peers.flatMap((peer) => byKey.get(key(peer)) ?? [])
  }
  yield* fs.writeFileString(file, `${JSON.stringify(results, undefined, 2)}\n`)
})

const command = Command.make(
  "bench:peers",
  {
    only: Flag.String("only").pipe(
      Flag.withDescription("Run only the peers whose name contains this text"),
      Flag.withDefault("")
    ),
    quick: Flag.Boolean("quick").pipe(
      Flag.withDescription("Short batches: a first impression; writes no results without --json"),
      Flag.withDefault(false)
    ),
    rounds: Flag.Int("rounds").pipe(Flag.withDescription("Processes per peer"), Flag.withDefault(2)),
    json: Flag.String("json").pipe(Flag.withDescription("Write the results to this file"), Flag.optional)
  },
  Effect.fnUntraced(function* (flags) {
    if (flags.rounds < 1) return yield* Problem.problem("--rounds has to be at least 1")
    const selected = peers.filter(({ name }) => name.includes(flags.only))
    if (selected.length === 0) return yield* Problem.problem(`No peer contains '${flags.only}'`)
    const recorded = flags.quick ? Option.none() : Option.some(`${here}../results/peers.json`)
    const file = Option.orElse(flags.json, () => recorded)
    const rounds = flags.quick ? 1 : flags.rounds
    const heard = new Map<Peer, Heard>()
    for (let round = 0; round < rounds; round++) {
      // Memory and other slow scenarios once: they do not vary.
      const effort = flags.quick ? quick : { ...thorough, long: round === 0 }
      for (const peer of selected) {
        yield* Console.error(`round ${round + 1} of ${rounds}: ${peer.title} ${peer.variant ?? ""}`)
        heard.set(peer, yield* measure(peer, effort, flags.quick ? 30 : 120, heard.get(peer)))
        if (Option.isSome(file)) yield* write(file.value, outcomesOf(heard))
      }
    }
    yield* Console.log(table(outcomesOf(heard)))
  })
).pipe(Command.withDescription("Benchmarks of the original and of other frameworks, in µs of CPU per operation"))

Command.run(command, { version: "0.1.0" }).pipe(
  Effect.provide([NodeServices.layer, Problem.layer]),
  NodeRuntime.runMain
)
