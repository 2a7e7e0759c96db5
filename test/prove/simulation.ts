/**
 * Proves that simulation finds races: it plants mistakes in copies of `src`, one at a time, and searches for a schedule that
 * shows them; the same search finds nothing in `src` as it is. It says how many schedules it tries in a minute, whether
 * two processes do the same byte by byte, and whether schedules that are played again do.
 *
 *     node test/prove/simulation.ts [--seeds 10000] [--reports] [--json]
 */
import { execFile } from "node:child_process"
import { cpSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { parseArgs, promisify } from "node:util"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Simulation from "effect-agent-runtime/testing/Simulation"
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import type { Mutant } from "./mutants.ts"
import { mutants } from "./mutants.ts"
import type { Found, hunt } from "./scenarios.ts"
import * as Scenarios from "./scenarios.ts"

const root = fileURLToPath(new URL("../../", import.meta.url))
const hunters = "test/prove/scenarios.ts"

/** A copy of the package with a mistake in it, for as long as the scope is open. */
const plant = ({ file, from, name, to }: Mutant) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const copy = realpathSync(mkdtempSync(join(tmpdir(), "mutant-")))
      for (const part of ["package.json", "src", hunters])
        cpSync(join(root, part), join(copy, part), { recursive: true })
      symlinkSync(join(root, "node_modules"), join(copy, "node_modules"))
      const path = join(copy, "src", file)
      const source = readFileSync(path, "utf8")
      if (source.split(from).length !== 2) throw new Error(`'${name}' does not fit src/${file} any more`)
      writeFileSync(
        path,
        source.replace(from, () => to)
      )
      return copy
    }),
    (copy) => Effect.sync(() => rmSync(copy, { recursive: true }))
  )

/** Searches for a mistake that is planted. */
const find = Effect.fnUntraced(function* (mutant: Mutant, seeds: number, maxReplays: number) {
  const copy = yield* plant(mutant)
  // The copy of a module has its type.
  const planted = (yield* Effect.promise(() => import(pathToFileURL(join(copy, hunters)).href))) as {
    readonly hunt: typeof hunt
  }
  return yield* planted.hunt(seeds, maxReplays)
}, Effect.scoped)

/** What was found out. */
export interface Proof {
  readonly seeds: number
  /** For each mutant what showed it, if anything did. */
  readonly mutants: ReadonlyArray<{ readonly name: string; readonly found: Found | undefined }>
  /** For each scenario, with `src` as it is: how many schedules a minute, and what was found. */
  readonly scenarios: ReadonlyArray<{
    readonly name: string
    readonly perMinute: number
    readonly found: string | undefined
  }>
  /** What the first seeds do here and in another process. */
  readonly digests: readonly [string, string]
  /** How many of the runs of these seeds do something else when their schedule is played again. */
  readonly unfaithful: number
}

const digestInAnotherProcess = (seeds: number) =>
  Effect.promise(async () => {
    const args = [fileURLToPath(import.meta.url), "--digest", "--seeds", String(seeds)]
    const { stdout } = await promisify(execFile)(process.execPath, args)
    return stdout.trim()
  })

/**
 * The whole proof, with so many seeds for each search, a tenth of them for what is done twice, and so many replays to
 * shrink what shows a mutant.
 */
export const prove = Effect.fnUntraced(function* (seeds: number, maxReplays: number): Effect.fn.Return<Proof> {
  const found = yield* Effect.forEach(mutants, (mutant) =>
    Effect.map(find(mutant, seeds, maxReplays), (it) => ({ name: mutant.name, found: it }))
  )
  const scenarios = yield* Effect.forEach(Scenarios.scenarios, ({ name, search }) =>
    Effect.gen(function* () {
      const begin = yield* Clock.monotonicTimeNanos
      const result = yield* search({ seeds })
      const minutes = Number((yield* Clock.monotonicTimeNanos) - begin) / 60e9
      return {
        name,
        perMinute: Math.round(result.seeds / minutes),
        found: result._tag === "Passed" ? undefined : Simulation.report(result)
      }
    })
  )
  const some = Math.ceil(seeds / 10)
  const digests = yield* Effect.all([Scenarios.digest(some), digestInAnotherProcess(some)])
  return { seeds, mutants: found, scenarios, digests, unfaithful: yield* Scenarios.unfaithful(some) }
})

/** Whether the proof holds. */
export const holds = ({ digests, mutants: planted, scenarios, unfaithful }: Proof): boolean =>
  planted.every(({ found }) => found !== undefined)
  && scenarios.every(({ found }) => found === undefined)
  && digests[0] === digests[1]
  && unfaithful === 0

const render = ({ digests, mutants: planted, scenarios, seeds, unfaithful }: Proof, reports: boolean): string =>
  [
    "Planted:",
    ...planted.map(({ found, name }) =>
      found === undefined
        ? `  ${name}: NOT FOUND within ${seeds} seeds`
        : `  ${name}: found by seed ${found.seed} in ${found.scenario}${reports ? `\n${found.report}\n` : ""}`
    ),
    `As it is, within ${seeds} seeds:`,
    ...scenarios.map(
      ({ found, name, perMinute }) => `  ${name}: ${found ?? "nothing found"}, ${perMinute} schedules per minute`
    ),
    `Two processes: ${digests[0] === digests[1] ? "the same" : "NOT the same"}, byte by byte`,
    `Schedules that did something else when they were played again: ${unfaithful}`
  ].join("\n")

const program = Effect.gen(function* () {
  const { values } = parseArgs({
    options: {
      seeds: { type: "string", default: "10000" },
      reports: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      digest: { type: "boolean", default: false }
    }
  })
  const seeds = Number(values.seeds)
  if (values.digest) return yield* Console.log(yield* Scenarios.digest(seeds))
  const proof = yield* prove(seeds, values.reports ? 1000 : 0)
  yield* Console.log(values.json ? JSON.stringify(proof) : render(proof, values.reports))
  if (!holds(proof)) process.exitCode = 1
})

if (import.meta.main) NodeRuntime.runMain(program)
