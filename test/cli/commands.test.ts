import { fileURLToPath } from "node:url"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import * as RuntimeConfig from "effect-agent-runtime/RuntimeConfig"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Yaml from "yaml"
import * as OpenAiServer from "../support/openAiServer.ts"
import * as Program from "../support/program.ts"

const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url))

/** A folder of its own, with the configuration if there is one. */
const folder = Effect.fnUntraced(function* (files: Readonly<Record<string, object | string>> = {}) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* fs.makeTempDirectoryScoped()
  for (const [name, content] of Object.entries(files)) {
    yield* fs.writeFileString(`${path}/${name}`, typeof content === "string" ? content : Yaml.stringify(content))
  }
  return path
})

const start = Effect.fnUntraced(function* (
  args: ReadonlyArray<string>,
  options: Omit<NonNullable<Parameters<typeof Program.start>[1]>, "cwd"> & {
    readonly files?: Readonly<Record<string, object | string>>
  } = {}
) {
  const { files, ...rest } = options
  return yield* Program.start([main, ...args], { ...rest, cwd: yield* folder(files) })
})

const run = Effect.fnUntraced(function* (...args: Parameters<typeof start>) {
  return yield* (yield* start(...args)).ended
}, Effect.scoped)

const team = {
  models: {
    boss: { provider: "scripted", script: [{ tool: "clerk", params: { prompt: "6 * 7" } }, "The clerk says 42."] },
    other: { provider: "scripted", script: ["I am the other model."] }
  },
  agents: {
    boss: { model: "boss", agents: ["clerk"] },
    clerk: { model: "offline", tools: ["calculator"], description: "Calculates" }
  }
}

const loop = {
  models: { m: { provider: "scripted", script: [{ tool: "calculator", params: { operation: "add", a: 1, b: 1 } }] } },
  agents: { a: { tools: ["calculator"] } }
}

describe.concurrent("run", { timeout: 30_000 }, () => {
  it.live("runs an agent of the configuration in the folder, and its sub-agents", () =>
    Effect.gen(function* () {
      const { code, stderr, stdout } = yield* run(["run", "-a", "boss", "go"], {
        files: { "agent-runtime.yaml": team }
      })
      assert.include(stdout, '    clerk → calculator #2 {"operation":"multiply","a":6,"b":7}\n')
      assert.include(stdout, "\nAnswer: The clerk says 42.\n")
      assert.strictEqual(stderr, "")
      assert.strictEqual(code, 0)
    }).pipe(Effect.provide(NodeServices.layer))
  )

  it.live("lets flags win over the environment, and the environment over the file", () =>
    Effect.gen(function* () {
      const files = {
        "a.toml":
          'agents.x.model = "one"\n[models]\none = { provider = "scripted", script = ["one"] }\ntwo = { provider = "scripted", script = ["two"] }\nthree = { provider = "scripted", script = ["three"] }\n'
      }
      const env = { AGENT_RUNTIME__AGENTS__X__MODEL: "two" }
      const answer = (args: ReadonlyArray<string>, env: Record<string, string> = {}) =>
        Effect.map(
          run(["run", "-c", "a.toml", "--json", ...args, "hi"], { files, env }),
          ({ stdout }) => JSON.parse(stdout.trimEnd().split("\n").at(-1)!).text
        )
      assert.strictEqual(yield* answer([], env), "two")
      assert.strictEqual(yield* answer(["--model", "three"], env), "three")
    }).pipe(Effect.provide(NodeServices.layer))
  )

  it.live("takes tools from a module that the configuration names, and ends with code 1 when one ends the run", () =>
    Effect.gen(function* () {
      const files = {
        "agent-runtime.yaml": {
          tools: { module: "./tools.mjs" },
          models: {
            m: {
              provider: "scripted",
              script: [
                { tool: "shout", params: { text: "hi" } },
                { tool: "shout", params: { text: "ho" } }
              ]
            }
          },
          agents: { a: { tools: ["shout", "calculator"] } }
        },
        "tools.mjs": `
          import * as Effect from ${JSON.stringify(import.meta.resolve("effect/Effect"))}
          import * as Schema from ${JSON.stringify(import.meta.resolve("effect/Schema"))}
          import * as Tool from ${JSON.stringify(import.meta.resolve("effect/ai/Tool"))}
          import * as Toolkit from ${JSON.stringify(import.meta.resolve("effect/ai/Toolkit"))}
          export const toolkit = Toolkit.make(
            Tool.make("shout", {
              parameters: Schema.Struct({ text: Schema.String }),
              success: Schema.String,
              failure: Schema.String
            })
          )
          export const layer = toolkit.toLayer({
            shout: ({ text }) => (text === "hi" ? Effect.succeed(text.toUpperCase()) : Effect.fail("no voice"))
          })
        `
      }
      const { code, stderr, stdout } = yield* run(["run", "hi"], { files })
      assert.include(stdout, '← shout #1 "HI"')
      // Its failures end the run.
      assert.strictEqual(stderr, "Error: A tool failed: no voice\n")
      assert.strictEqual(code, 1)
      const broken = yield* run(["run", "hi"], { files: { ...files, "tools.mjs": "export const x = 1" } })
      assert.match(broken.stderr, /^Error: agent-runtime\.yaml:2:11: tools\.module: the module has to export/)
      assert.strictEqual(broken.code, 2)
    }).pipe(Effect.provide(NodeServices.layer))
  )

  it.live("ends with code 2 when it is asked for what is not there", () =>
    Effect.gen(function* () {
      const files = { "agent-runtime.yaml": team }
      const cases: ReadonlyArray<readonly [args: ReadonlyArray<string>, message: RegExp]> = [
        [["run", "hi"], /^Error: Which agent\? Say --agent with one of: boss, clerk/],
        [["run", "-a", "bos", "hi"], /^Error: there is no agent 'bos'\. Did you mean 'boss'\?/],
        [["run", "-c", "none.yaml", "hi"], /none\.yaml/],
        [["run", "--jsn", "hi"], /Unrecognized flag: --jsn/]
      ]
      yield* Effect.forEach(
        cases,
        Effect.fnUntraced(function* ([args, message]) {
          const { code, stderr } = yield* run(args, { files })
          assert.match(stderr, message)
          assert.strictEqual(code, 2, args.join(" "))
        }),
        { concurrency: 2 }
      )
    }).pipe(Effect.provide(NodeServices.layer))
  )

  it.live("ends with code 3 when the model fails, and 4 at a limit, and says so as JSON too", () =>
    Effect.gen(function* () {
      const model = yield* OpenAiServer.make({ status: 400, body: "{}" })
      const failing = { llm: { default_provider: "llama", default_model: "m", llama: { base_url: model.url } } }
      const refused = yield* run(["run", "hi"], { files: { "agent-runtime.yaml": failing } })
      assert.match(refused.stderr, /^Error: InvalidRequestError: .*or the configuration\.\n$/)
      assert.strictEqual(refused.code, 3)

      const limited = yield* run(["run", "--json", "hi"], { files: { "agent-runtime.yaml": loop } })
      assert.match(limited.stderr, /^Error: LoopDetected: .*loop_detection/)
      assert.deepInclude(JSON.parse(limited.stdout.trimEnd().split("\n").at(-1)!), {
        _tag: "Result",
        status: "failed",
        reason: "LoopDetected",
        exitCode: 4
      })
      assert.strictEqual(limited.code, 4)
    }).pipe(Effect.scoped, Effect.provide(NodeServices.layer))
  )

  it.live("ends with code 130 when it is interrupted, and says so as JSON too", () =>
    Effect.gen(function* () {
      const server = yield* OpenAiServer.make({ ending: "silence" })
      const file = { llm: { default_provider: "llama", default_model: "m", llama: { base_url: server.url } } }
      const program = yield* start(["run", "--json", "hi"], { files: { "agent-runtime.yaml": file } })
      yield* server.next
      program.signal("SIGINT")
      const { code, stdout } = yield* program.ended
      const tags = stdout
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line))
      assert.deepStrictEqual(tags.at(-1), { _tag: "Result", status: "interrupted" })
      assert.strictEqual(code, 130)
    }).pipe(Effect.scoped, Effect.provide(NodeServices.layer))
  )
})

const flow = {
  models: { m: { provider: "scripted", script: ["one"] } },
  agents: { a: { model: "m" }, sums: { model: "offline", tools: ["calculator"] } },
  workflows: {
    w: {
      input: "json",
      steps: [
        { type: "agent", agent: "sums", prompt: "{{input.sum}}" },
        {
          type: "parallel",
          name: "both",
          steps: { x: [{ type: "agent", agent: "a" }], y: [{ type: "template", text: "<{{input}}>" }] }
        }
      ]
    }
  }
}

describe.concurrent("a workflow", { timeout: 30_000 }, () => {
  it.live("runs, and shows its steps and the calls in them", () =>
    Effect.gen(function* () {
      const { code, stderr, stdout } = yield* run(["run", "-w", "w", '{ "sum": "6 * 7" }'], {
        files: { "agent-runtime.yaml": flow }
      })
      assert.include(stdout, '▶ sums (agent)\n    sums → calculator #1 {"operation":"multiply","a":6,"b":7}\n')
      assert.include(stdout, '✓ sums "6 * 7 is 42."\n▶ both (parallel)\n  ▶ x (agent)\n')
      assert.match(stdout, /Answer: \{\n {2}"x": "one",\n {2}"y": "<6 \* 7 is 42\.>"\n\}\n3 model calls, 1 tool call/)
      assert.strictEqual(stderr, "")
      assert.strictEqual(code, 0)
    }).pipe(Effect.provide(NodeServices.layer))
  )

  it.live("runs as JSON, and fails with the code of its step", () =>
    Effect.gen(function* () {
      const files = { "agent-runtime.yaml": { ...flow, limits: { turns: 1 } } }
      const { code, stderr, stdout } = yield* run(["run", "--json", "-w", "w", '{ "sum": "6 * 7" }'], { files })
      assert.match(stderr, /^Error: Step 'w \/ sums': TurnLimitReached: /)
      const lines = stdout
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line))
      assert.strictEqual(lines[0]._tag, "WorkflowStarted")
      assert.deepInclude(lines.at(-1), { _tag: "Result", status: "failed", reason: "TurnLimitReached", exitCode: 4 })
      assert.strictEqual(code, 4)
    }).pipe(Effect.provide(NodeServices.layer))
  )

  it.live("is drawn", () =>
    Effect.gen(function* () {
      const { code, stdout } = yield* run(["workflow", "diagram", "w"], { files: { "agent-runtime.yaml": flow } })
      assert.match(stdout, /^flowchart TD\n/)
      for (const name of ["sums", "both"]) assert.include(stdout, name)
      assert.strictEqual(code, 0)
    }).pipe(Effect.provide(NodeServices.layer))
  )
})

it.live(
  "a session goes on in another process",
  () =>
    Effect.gen(function* () {
      const done = (text: string) => ({
        body: [`data: {"choices":[{"delta":{"content":"${text}"},"finish_reason":"stop"}]}\n\n`]
      })
      const server = yield* OpenAiServer.make(done("One."), done("Two."))
      const file = { llm: { default_provider: "llama", default_model: "m", llama: { base_url: server.url } } }
      const cwd = yield* folder({ "agent-runtime.yaml": file })
      for (const [args, input] of [
        [["run", "--session", "ada", "first"], ""],
        [["chat", "--session", "ada"], "second\n"]
      ] as const) {
        const program = yield* Program.start([main, ...args], { cwd, input })
        assert.strictEqual((yield* program.ended).code, 0)
      }
      assert.deepStrictEqual(
        (server.requests[1]!.body as any).messages.slice(1).map(({ content }: any) => content),
        ["first", "One.", "second"]
      )
    }).pipe(Effect.scoped, Effect.provide(NodeServices.layer)),
  30_000
)

describe.concurrent("chat", { timeout: 30_000 }, () => {
  it.live("goes on with the conversation from line to line", () =>
    Effect.gen(function* () {
      const server = yield* OpenAiServer.make(
        { body: ['data: {"choices":[{"delta":{"content":"One."},"finish_reason":"stop"}]}\n\n'] },
        { status: 400, body: "{}" },
        { body: ['data: {"choices":[{"delta":{"content":"Three."},"finish_reason":"stop"}]}\n\n'] }
      )
      const file = { llm: { default_provider: "llama", default_model: "m", llama: { base_url: server.url } } }
      const { code, stdout } = yield* run(["chat"], {
        files: { "agent-runtime.yaml": file },
        input: "first\n\nsecond\nthird\n"
      })
      assert.match(stdout, /One\.\n[^]*InvalidRequestError: [^]*Three\.\n/)
      assert.deepStrictEqual(
        (server.requests[2]!.body as any).messages.slice(1).map(({ content }: any) => content),
        ["first", "One.", "second", "third"]
      )
      assert.strictEqual(code, 0)
    }).pipe(Effect.scoped, Effect.provide(NodeServices.layer))
  )

  it.live("is asked the next when an answer is interrupted", () =>
    Effect.gen(function* () {
      const server = yield* OpenAiServer.make(
        { ending: "silence" },
        { body: ['data: {"choices":[{"delta":{"content":"Here."},"finish_reason":"stop"}]}\n\n'] }
      )
      const file = { llm: { default_provider: "llama", default_model: "m", llama: { base_url: server.url } } }
      const program = yield* start(["chat"], { files: { "agent-runtime.yaml": file }, input: "first\nsecond\n" })
      yield* server.next
      program.signal("SIGINT")
      const { code, stdout } = yield* program.ended
      assert.match(stdout, /Interrupted\.\n[^]*Here\./)
      assert.strictEqual(code, 0)
    }).pipe(Effect.scoped, Effect.provide(NodeServices.layer))
  )
})

describe.concurrent("config", { timeout: 30_000 }, () => {
  it.live("check says that a configuration is right, without looking for secrets", () =>
    Effect.gen(function* () {
      const file = { ...team, models: { ...team.models, gpt: { provider: "openai", api_key: "${NOT_SET}" } } }
      const { code, stdout } = yield* run(["config", "check"], { files: { "agent-runtime.yaml": file } })
      assert.strictEqual(stdout, "agent-runtime.yaml is right.\nAgents: boss, clerk\nModels: boss, other, gpt\n")
      assert.strictEqual(code, 0)
    }).pipe(Effect.provide(NodeServices.layer))
  )

  it.live("check says all that is wrong, and where", () =>
    Effect.gen(function* () {
      const files = { "x.yaml": "agents:\n  a: { tools: [calculatr] }\n  b: { agents: [c] }\n" }
      const { code, stderr, stdout } = yield* run(["config", "check", "x.yaml"], { files })
      assert.strictEqual(
        stderr,
        "Error: 2 problems\n"
          + "x.yaml:2:16: agents.a.tools.0: there is no tool 'calculatr'. Did you mean 'calculator'?\n"
          + "x.yaml:3:17: agents.b.agents.0: there is no agent 'c'. Did you mean 'a'?\n"
      )
      assert.strictEqual(stdout, "")
      assert.strictEqual(code, 2)
    }).pipe(Effect.provide(NodeServices.layer))
  )

  it.live("schema prints the JSON Schema", () =>
    Effect.gen(function* () {
      const { stdout } = yield* run(["config", "schema"])
      assert.deepStrictEqual(JSON.parse(stdout), RuntimeConfig.jsonSchema())
    }).pipe(Effect.provide(NodeServices.layer))
  )
})

describe.concurrent("bench", { timeout: 30_000 }, () => {
  it.live("measures runs, a row for each number of them at a time", () =>
    Effect.gen(function* () {
      const { code, stdout } = yield* run(["bench", "--runs", "20", "--concurrency", "1,20"])
      const [, , head = "", ...rows] = stdout.trimEnd().split("\n")
      assert.match(stdout, /^20 runs of the agent 'assistant' for each row: What is \(5 \+ 3\) \* 2 - 4\?\n/)
      assert.match(head, /^at a time +runs +failed +runs\/s +model calls\/s +tool calls\/s +p50 ms +p95 ms +p99 ms$/)
      assert.deepStrictEqual(
        rows.map((row) => row.trim().split(/ +/).slice(0, 3)),
        [
          ["1", "20", "0"],
          ["20", "20", "0"]
        ]
      )
      assert.strictEqual(code, 0)
    }).pipe(Effect.provide(NodeServices.layer))
  )

  it.live("says what is wrong with the agent before it measures", () =>
    Effect.gen(function* () {
      const { code, stderr } = yield* run(["bench"], { files: { "agent-runtime.yaml": loop } })
      assert.match(stderr, /^Error: LoopDetected/)
      assert.strictEqual(code, 4)
    }).pipe(Effect.provide(NodeServices.layer))
  )
})

describe.concurrent("the program", { timeout: 30_000 }, () => {
  it.live("explains itself, and completes its commands in shells", () =>
    Effect.gen(function* () {
      const help = yield* run(["--help"])
      for (const command of ["run", "chat", "config", "bench"]) assert.include(help.stdout, `  ${command} `)
      assert.strictEqual(help.code, 0)
      for (const shell of ["bash", "fish"]) {
        const { code, stdout } = yield* run(["--completions", shell])
        for (const word of ["agent-runtime", "chat", "max-turns"]) assert.include(stdout, word)
        assert.strictEqual(code, 0)
      }
    }).pipe(Effect.provide(NodeServices.layer))
  )
})
