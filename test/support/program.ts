/**
 * Programs as a user starts them: a process of their own, which ends with the scope of the test at the latest.
 */
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/** How a program ended, and what it wrote. */
export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface Program {
  readonly signal: (signal: NodeJS.Signals) => void
  /** Waits for the end, at most twenty seconds. */
  readonly ended: Effect.Effect<Ended>
}

/** The environment of the tests without what the program or its output depends on. */
const neutral = (): NodeJS.ProcessEnv =>
  Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) => !/^(AGENT_RUNTIME__|OPENAI_|ANTHROPIC_|LLAMA_|NO_COLOR$|FORCE_COLOR$|NODE_)/.test(name)
    )
  )

const compileCache = fileURLToPath(new URL("../../node_modules/.cache/compile", import.meta.url))

/** Starts a program with the Node that runs the tests. */
export const start = (
  args: ReadonlyArray<string>,
  options: { readonly env?: NodeJS.ProcessEnv; readonly input?: string; readonly cwd?: string } = {}
): Effect.Effect<Program, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const child = spawn(process.execPath, args, {
          cwd: options.cwd,
          // Half of a start is compilation.
          env: { ...neutral(), NODE_COMPILE_CACHE: compileCache, ...options.env },
          timeout: 20_000,
          killSignal: "SIGKILL"
        })
        child.stdin.end(options.input)
        return child
      }),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    ),
    (child) => {
      const chunks = { stdout: "", stderr: "" }
      for (const name of ["stdout", "stderr"] as const) {
        child[name].setEncoding("utf8").on("data", (chunk: string) => (chunks[name] += chunk))
      }
      // Events do not wait for listeners; a promise does.
      const closed = new Promise<Ended>((resolve, reject) => {
        child.on("error", reject)
        child.on("close", (code) => resolve({ code, ...chunks }))
      })
      return { signal: (signal) => void child.kill(signal), ended: Effect.promise(() => closed) }
    }
  )
