/**
 * What the library weighs: heap per suspended agent, size of a bundle, and start-up beside bare Node.
 *
 * `npm run bench:footprint` measures all of it, each in a process of its own, and writes bench/results/footprint.json.
 */
import { spawnSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { gzipSync } from "node:zlib"
import * as Agent from "effect-agent-runtime/Agent"
import { Llm } from "effect-agent-runtime/Llm"
import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { build } from "esbuild"
import { median } from "simple-statistics"
import { call, Handlers, prepared } from "./cases/support.ts"

/** Heap bytes per agent that waits for its model: at once, or after a turn with a tool call. */
const memory = Effect.fnUntraced(function* (agents: number, withTool: boolean) {
  const calculator = prepared()
  const plain = Agent.make("helper", { instructions: "You are a test agent" })
  const start = () =>
    withTool
      ? Effect.provideService(
          Agent.run(calculator, "Calculate"),
          Llm,
          ScriptedLlm.make([call(5, 3), () => Effect.never])
        )
      : Effect.provideService(Agent.run(plain, "Hi"), Llm, ScriptedLlm.make([() => Effect.never]))
  const fork = (count: number) =>
    Effect.forEach(Array.from({ length: count }), () => Effect.forkChild(start(), { startImmediately: true }))
  // Compiled code and caches are there before the first measurement.
  yield* Effect.flatMap(fork(100), Fiber.interruptAll)
  const before = yield* heap
  const fibers = yield* fork(agents)
  const after = yield* heap
  yield* Fiber.interruptAll(fibers)
  return (after - before) / agents
})

const heap = Effect.sync(() => {
  globalThis.gc!()
  globalThis.gc!()
  return process.memoryUsage().heapUsed
})

const entry = `
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Agent from "effect-agent-runtime/Agent"
import { Llm } from "effect-agent-runtime/Llm"

const Tools = Toolkit.make(Tool.make("echo", { parameters: Schema.Struct({ text: Schema.String }), success: Schema.String }))
const agent = Agent.make("echo", { toolkit: Tools })
const tokens = { inputTokens: 1, outputTokens: 1, cachedInputTokens: 0, cacheWriteTokens: 0, reasoningTokens: 0 }
const contents = [
  [{ type: "tool-call", id: "1", name: "echo", params: { text: "hi" } }],
  [{ type: "text", text: "done" }]
]
const generate = () =>
  Effect.sync(() => ({ content: contents.shift(), finishReason: "stop", tokens, model: undefined }))
const run = Agent.run(agent, "Hi").pipe(
  Effect.provide(Tools.toLayer({ echo: ({ text }) => Effect.succeed(text) })),
  Effect.provideService(Llm, { generate })
)
if (Effect.runSync(run).output !== "done") throw new Error("wrong")
`

/** Bundles a program that makes an agent with a tool and runs it, and times it beside an empty program. */
const start = Effect.fnUntraced(function* (rounds: number) {
  const directory = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-agent-runtime-"))),
    (path) => Effect.sync(() => rmSync(path, { recursive: true }))
  )
  const bundled = yield* Effect.promise(() =>
    build({
      stdin: { contents: entry, resolveDir: fileURLToPath(new URL("../", import.meta.url)), loader: "ts" },
      bundle: true,
      minify: true,
      write: false,
      format: "esm",
      platform: "node"
    })
  )
  const code = bundled.outputFiles[0]!.contents
  writeFileSync(join(directory, "agent.mjs"), code)
  writeFileSync(join(directory, "empty.mjs"), "")
  const times = { agent: [] as Array<number>, empty: [] as Array<number> }
  for (let round = 0; round < rounds; round++) {
    for (const program of ["empty", "agent"] as const) {
      const before = process.hrtime.bigint()
      const { status } = spawnSync(process.execPath, [join(directory, `${program}.mjs`)])
      if (status !== 0) return yield* Effect.die(`${program}.mjs failed`)
      times[program].push(Number(process.hrtime.bigint() - before) / 1e6)
    }
  }
  return {
    bundleBytes: code.length,
    gzipBytes: gzipSync(code, { level: 9 }).length,
    agentMillis: median(times.agent),
    bareNodeMillis: median(times.empty)
  }
})

/** All of it. */
const all = Effect.fnUntraced(function* () {
  const apart = (...args: ReadonlyArray<string>) =>
    JSON.parse(spawnSync(process.execPath, ["--expose-gc", fileURLToPath(import.meta.url), ...args]).stdout.toString())
  const memories = [1000, 100_000].flatMap((agents) =>
    (["none", "tool"] as const).map((variant) => ({ agents, variant, ...apart("memory", String(agents), variant) }))
  )
  return { memories, ...(yield* Effect.scoped(start(11))) }
})

const [what, count, variant] = process.argv.slice(2)

const program: Effect.Effect<unknown> =
  what === "memory"
    ? memory(Number(count), variant === "tool").pipe(
        Effect.map((bytesPerAgent) => ({ bytesPerAgent })),
        Effect.provide(Handlers)
      )
    : all()

Effect.runPromise(program).then((result) => {
  const text = `${JSON.stringify(result, undefined, 2)}\n`
  if (what !== "memory") writeFileSync(new URL("results/footprint.json", import.meta.url), text)
  process.stdout.write(text)
})
