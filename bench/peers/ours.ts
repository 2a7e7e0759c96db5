/**
 * Ours beside the peers: the cases of the suite that do what the peers' scenarios do, each in a process of its own.
 * Prints a JSON line per scenario, as a peer does.
 */
import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import manifest from "../../package.json" with { type: "json" }
import { scenarios } from "./results.ts"

const [effort = "{}"] = process.argv.slice(2)
const worker = fileURLToPath(new URL("../worker.ts", import.meta.url))

for (const [scenario, name] of scenarios) {
  const { status, stderr, stdout } = spawnSync(process.execPath, [worker, name, "ours", effort])
  const figures = status === 0 ? JSON.parse(stdout.toString()) : { failure: stderr.toString().slice(-300) }
  const { cpu, failure, operations, wall } = figures
  const line = { version: manifest.version, language: "javascript", scenario, cpu, wall, operations, failure }
  process.stdout.write(`${JSON.stringify(line)}\n`)
}
