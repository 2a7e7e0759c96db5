/**
 * Measures one JavaScript peer in this process: `node --expose-gc suite.mjs <peer file> <effort as JSON>` prints a JSON
 * line per scenario.
 *
 * A peer file exports `peer`:
 *
 * - `package`: the package whose version counts, or `version`.
 * - `agent({ execute, maxTurns })`: builds model, tool and agent as the framework's docs do, with the tool `calculator`
 *   if `execute` is there, and returns `(script) => Promise<string>`, which runs the agent on a script. Only the tool's
 *   parameter schema is made once, as users make it.
 * - `reusable`: false if an agent cannot run again with a clean conversation.
 * - `notes`: what a reader has to know.
 *
 * `script.next()` is the model's next turn: a text, or a list of calls `{ id, name, params }`. It is a promise that never
 * resolves where the model stays silent.
 */
import { existsSync, readFileSync } from "node:fs"
import { pathToFileURL } from "node:url"

const [file, effortText] = process.argv.slice(2)
const effort = JSON.parse(effortText)

// Nothing leaves the machine: no telemetry, no look-ups of model lists.
globalThis.fetch = () => Promise.reject(new Error("offline"))
Object.assign(process.env, { MASTRA_OFFLINE: "true", MASTRA_TELEMETRY_DISABLED: "1", LANGSMITH_TRACING: "false" })

const url = pathToFileURL(file)
const { peer } = await import(url.href)

const versionOf = (name) => {
  for (let folder = new URL("./", url); ; folder = new URL("../", folder)) {
    const manifest = new URL(`node_modules/${name}/package.json`, folder)
    if (existsSync(manifest)) return JSON.parse(readFileSync(manifest, "utf8")).version
    if (folder.pathname === "/") return "unknown"
  }
}
const version = peer.version ?? versionOf(peer.package)

// --- Scripts -------------------------------------------------------------------------------------------------------

/** Turns are functions, so that each operation builds its own. */
const scripted = (turns) => {
  let used = 0
  return {
    next: () => {
      const turn = turns[used++]
      if (turn === undefined) throw new Error("script exhausted")
      return turn
    }
  }
}

let ids = 0
const call = (a, b, operation = "add") => ({ id: `call_${++ids}`, name: "calculator", params: { operation, a, b } })

const noTools = () => scripted(["Test response from agent"])
const oneTool = () => scripted([[call(5, 3)], "The result is 8"])
const threeTools = () =>
  scripted([[call(5, 3)], [call(8, 2, "multiply")], [call(16, 4, "subtract")], "All calculations are done now"])
const tenInOneTurn = () => scripted([Array.from({ length: 10 }, (_, i) => call(i, 1)), "The result is 8"])
const turns = (count) => () => scripted([...Array.from({ length: count }, (_, i) => [call(i, 1)]), "done"])

// --- Tools ---------------------------------------------------------------------------------------------------------

let ran = 0
const calculate = async ({ a, b, operation }) => {
  ran++
  return { result: operation === "multiply" ? a * b : operation === "subtract" ? a - b : a + b }
}

const sleep = (millis) => new Promise((resolve) => setTimeout(resolve, millis))

/** What holds the runs that wait for ever. */
const held = []
const never = () => new Promise((resolve) => held.push(resolve))

// --- Checks --------------------------------------------------------------------------------------------------------

const checks = async () => {
  ran = 0
  await peer.agent({ execute: calculate, maxTurns: 10 })(threeTools())
  const ranTools = ran === 3
  ran = 0
  const wrong = { id: "call_wrong", name: "calculator", params: { operation: "add", a: "five", b: 3 } }
  const failure = await peer
    .agent({ execute: calculate, maxTurns: 10 })(scripted([[wrong], "done"]))
    .then(
      () => undefined,
      (error) => error
    )
  const invalid = ran > 0 ? "tool ran" : failure === undefined ? "told to the model" : "run fails"
  let waiting = 0
  let most = 0
  const waits = async () => {
    most = Math.max(most, ++waiting)
    await sleep(20)
    waiting--
    return { result: 0 }
  }
  // Two waits of 20 ms: seen to overlap; the time of the whole run, 40 ms and more one after the other, is there to see.
  let parallelMillis = Infinity
  for (let i = 0; i < 5; i++) {
    const start = performance.now()
    await peer.agent({ execute: waits, maxTurns: 10 })(scripted([[call(1, 1), call(2, 1)], "done"]))
    parallelMillis = Math.min(parallelMillis, Math.round(performance.now() - start))
  }
  return { ranTools, parallel: most === 2, parallelMillis, validated: ran === 0, invalid }
}

// --- Scenarios -----------------------------------------------------------------------------------------------------

const expectText = (expected, tools) => (text) => text === expected && ran === tools

const built = (script, execute, maxTurns) => () => peer.agent({ execute, maxTurns })(script())

const prepared = (script, execute, maxTurns) => {
  const run = peer.agent({ execute, maxTurns })
  return () => run(script())
}

const concurrent = (agents) => () =>
  Promise.all(
    Array.from({ length: agents }, (_, i) =>
      peer.agent({ execute: undefined, maxTurns: 10 })(scripted([`Response from agent ${i}`]))
    )
  )

const scenarios = [
  { name: "no_tools", make: () => built(noTools, undefined, 10), holds: expectText("Test response from agent", 0) },
  { name: "one_tool", make: () => built(oneTool, calculate, 10), holds: expectText("The result is 8", 1) },
  {
    name: "three_tools",
    make: () => built(threeTools, calculate, 10),
    holds: expectText("All calculations are done now", 3)
  },
  {
    name: "ten_tools_one_turn",
    make: () => built(tenInOneTurn, calculate, 10),
    holds: expectText("The result is 8", 10)
  },
  { name: "hundred_turns", make: () => built(turns(100), calculate, 102), holds: expectText("done", 100) },
  ...[10, 50].map((agents) => ({
    name: `concurrent_agents/${agents}`,
    make: () => concurrent(agents),
    holds: (texts) => texts.length === agents && texts.every((text, i) => text === `Response from agent ${i}`)
  })),
  ...(peer.reusable === false
    ? []
    : [
        {
          name: "no_tools/prepared",
          make: () => prepared(noTools, undefined, 10),
          holds: expectText("Test response from agent", 0)
        },
        {
          name: "one_tool/prepared",
          make: () => prepared(oneTool, calculate, 10),
          holds: expectText("The result is 8", 1)
        },
        {
          name: "three_tools/prepared",
          make: () => prepared(threeTools, calculate, 10),
          holds: expectText("All calculations are done now", 3)
        }
      ])
]

// --- Measuring -----------------------------------------------------------------------------------------------------

/** µs of CPU (of the whole process, so collector threads count) and of wall time that a batch takes. */
const time = async (operation, operations) => {
  const before = process.cpuUsage()
  const start = performance.now()
  for (let i = 0; i < operations; i++) await operation()
  const wall = (performance.now() - start) * 1000
  const { system, user } = process.cpuUsage(before)
  return { cpu: user + system, wall }
}

const verify = async (name, operation, holds) => {
  ran = 0
  const result = await operation()
  if (!holds(result)) throw new Error(`${name} gives a wrong result: ${JSON.stringify(result)}, ${ran} tools ran`)
}

const measure = async ({ holds, make, name }) => {
  const operation = make()
  await verify(name, operation, holds)
  let operations = 1
  for (let spent = 0; spent < effort.warmUpMillis;) {
    const { wall } = await time(operation, operations)
    spent += wall / 1000
    if (wall / 1000 < effort.batchMillis) operations *= 2
  }
  const { wall: trial } = await time(operation, operations)
  operations = Math.max(1, Math.ceil((operations * effort.batchMillis * 1000) / trial))
  const samples = { cpu: [], wall: [], operations }
  const start = performance.now()
  while (
    samples.cpu.length < effort.batches
    && (samples.cpu.length < 3 || performance.now() - start < effort.budgetMillis)
  ) {
    const { cpu, wall } = await time(operation, operations)
    samples.cpu.push(cpu / operations)
    samples.wall.push(wall / operations)
  }
  await verify(name, operation, holds)
  return samples
}

/** Bytes of heap that a suspended agent holds: 500 of them, waiting for their model or their tool. */
const memory = async (start) => {
  const count = 500
  start()
  await sleep(200)
  globalThis.gc()
  const before = process.memoryUsage()
  const runs = Array.from({ length: count }, start)
  const settled = Promise.race(runs).then(
    () => "an agent finished",
    (error) => String(error)
  )
  const early = await Promise.race([settled, sleep(500)])
  if (early !== undefined) throw new Error(early)
  globalThis.gc()
  const after = process.memoryUsage()
  return { bytes: Math.round((after.heapUsed + after.external - before.heapUsed - before.external) / count) }
}

const memories = [
  { name: "memory_no_tools", start: () => peer.agent({ execute: undefined, maxTurns: 10 })({ next: never }) },
  { name: "memory_one_tool", start: () => peer.agent({ execute: never, maxTurns: 10 })(oneTool()) }
]

// --- Report --------------------------------------------------------------------------------------------------------

const common = { version, language: "javascript", notes: peer.notes ?? [], checks: await checks() }

const report = async (scenario, figures) => {
  const result = await figures().catch((error) => ({ failure: String(error?.stack ?? error).slice(0, 300) }))
  process.stdout.write(`${JSON.stringify({ ...common, scenario, ...result })}\n`)
}

for (const scenario of scenarios) await report(scenario.name, () => measure(scenario))
for (const { name, start } of effort.long ? memories : []) await report(name, () => memory(start))
process.exit(0)
