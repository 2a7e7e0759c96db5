import { fileURLToPath } from "node:url"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import { AgentEvent } from "effect-agent-runtime/AgentEvent"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Schema from "effect/Schema"
import * as OpenAiServer from "../support/openAiServer.ts"
import * as Program from "../support/program.ts"

const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url))

// Nothing here has a configuration of its own.
const cwd = fileURLToPath(new URL("../support", import.meta.url))

const start = (args: ReadonlyArray<string>, options?: Parameters<typeof Program.start>[1]) =>
  Program.start([main, "run", ...args], { cwd, ...options })

const run = Effect.fnUntraced(function* (...args: Parameters<typeof start>) {
  return yield* (yield* start(...args)).ended
}, Effect.scoped)

const question = "What is (5 + 3) * 2 - 4?"

const decode = Schema.decodeEffect(Schema.fromJsonString(Schema.toCodecJson(AgentEvent)))

const parse = (stdout: string) => Effect.forEach(stdout.trimEnd().split("\n"), (line) => decode(line))

const chunk = (delta: unknown, finish_reason: string | null = null) =>
  `data: ${JSON.stringify({ model: "test-model", choices: [{ index: 0, delta, finish_reason }] })}\n\n`

const toolCall = (index: number, operation: string, a: number, b: number) => ({
  tool_calls: [
    { index, id: `call_${index}`, function: { name: "calculator", arguments: JSON.stringify({ operation, a, b }) } }
  ]
})

const key = "sk-very-secret-key"

const serverEnv = (server: OpenAiServer.OpenAiServer) => ({
  OPENAI_BASE_URL: server.url,
  OPENAI_API_KEY: key,
  OPENAI_MODEL: "test-model"
})

/** The program failed with a code, and said in one line why. */
const assertProblem = ({ code, stderr }: Program.Ended, expected: number, line: RegExp) => {
  assert.match(stderr, /^Error: [^\n]+\n$/)
  assert.match(stderr, line)
  assert.strictEqual(code, expected)
}

describe.concurrent("the program without a server", { timeout: 30_000 }, () => {
  it.live("answers an argument and shows the run", () =>
    Effect.gen(function* () {
      const { code, stderr, stdout } = yield* run([question])
      assert.match(stdout, /^Model: an offline stand-in/)
      assert.include(stdout, '  → calculator #1 {"operation":"add","a":5,"b":3}\n  ← calculator #1 {"result":8}\n')
      assert.match(stdout, /\nAnswer: \(5 \+ 3\) \* 2 - 4 is 12\.\n4 model calls, 3 tool calls, \d+ tokens [^\n]* ms/)
      assert.notInclude(stdout, "\u001b")
      assert.strictEqual(stderr, "")
      assert.strictEqual(code, 0)
    })
  )

  it.live("answers piped input", () =>
    Effect.gen(function* () {
      const { code, stdout } = yield* run([], { input: "6 * 7\n" })
      assert.include(stdout, "Answer: 6 * 7 is 42.\n")
      assert.strictEqual(code, 0)
    })
  )

  it.live("answers a question that begins with a dash, behind --", () =>
    Effect.gen(function* () {
      const { code, stdout } = yield* run(["--", "-5 + 3?"])
      assert.include(stdout, "Answer: -5 + 3 is -2.\n")
      assert.strictEqual(code, 0)
    })
  )

  it.live("answers the prompt in a file", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const file = yield* fs.makeTempFileScoped()
      yield* fs.writeFileString(file, "6 * 7\n")
      const { code, stdout } = yield* run(["--file", file])
      assert.include(stdout, "Answer: 6 * 7 is 42.\n")
      assert.strictEqual(code, 0)
    }).pipe(Effect.provide(NodeServices.layer))
  )

  it.live("writes events as JSON lines, the result behind them, and nothing else", () =>
    Effect.gen(function* () {
      const { stdout } = yield* run(["--json", "6", "*", "7"])
      const lines = stdout.trimEnd().split("\n")
      const result = JSON.parse(lines.pop()!)
      assert.deepInclude(result, { _tag: "Result", status: "completed", agent: "assistant", text: "6 * 7 is 42." })
      assert.strictEqual(result.usage.toolCalls, 1)
      const events = yield* parse(lines.join("\n"))
      assert.deepStrictEqual(
        events.map((event) => event.offset),
        events.map((_, index) => index)
      )
      const last = events.at(-1)!
      assert.strictEqual(last._tag === "RunCompleted" && last.text, "6 * 7 is 42.")
    })
  )

  it.live("explains itself", () =>
    Effect.gen(function* () {
      const { code, stdout } = yield* run(["--help"])
      for (const word of ["--json", "--max-turns", "prompt", "put -- before"]) assert.include(stdout, word)
      assert.strictEqual(code, 0)
    })
  )

  it.live("fails when it may not call the model often enough", () =>
    Effect.gen(function* () {
      assertProblem(yield* run(["--max-turns", "2", question]), 4, /TurnLimitReached: .* within 2 turns.*--max-turns/)
    })
  )

  it.live("fails without a prompt", () =>
    Effect.gen(function* () {
      assertProblem(yield* run([], { input: " \n" }), 2, /No prompt/)
    })
  )

  it.live.each([
    [{ OPENAI_BASE_URL: "http://127.0.0.1:1" }, /OPENAI_MODEL/],
    [{ OPENAI_API_KEY: key }, /OPENAI_MODEL/],
    [{ OPENAI_MODEL: "gpt-5" }, /OPENAI_API_KEY/],
    [{ LLAMA_BASE_URL: "http://127.0.0.1:1" }, /OPENAI_MODEL/],
    [{ OPENAI_BASE_URL: "not a url", OPENAI_MODEL: "m" }, /OPENAI_BASE_URL/]
  ] as const)("refuses the configuration %j", ([env, line]) =>
    Effect.gen(function* () {
      const ended = yield* run([question], { env })
      assertProblem(ended, 2, line)
      assert.strictEqual(ended.stdout, "")
      assert.notInclude(ended.stderr, key)
    })
  )

  it.live("says so when nobody serves the model", () =>
    Effect.gen(function* () {
      const server = yield* Effect.scoped(OpenAiServer.make({}))
      assertProblem(
        yield* run([question], { env: serverEnv(server) }),
        3,
        /NetworkError: .*ECONNREFUSED.*OPENAI_BASE_URL/
      )
    })
  )
})

describe.concurrent("the program with a server", { timeout: 30_000 }, () => {
  it.live("runs the tools that the model asks for", () =>
    Effect.gen(function* () {
      const server = yield* OpenAiServer.make(
        { body: [chunk(toolCall(0, "add", 5, 3)), chunk(toolCall(1, "multiply", 8, 2)), chunk({}, "tool_calls")] },
        { body: [chunk({ content: "That " }), chunk({ content: "is 12." }), chunk({}, "stop"), "data: [DONE]\n\n"] }
      )
      const { code, stderr, stdout } = yield* run([question], { env: serverEnv(server) })
      assert.match(stdout, /^Turn 1\n/)
      assert.include(stdout, '← calculator #2 {"result":16}')
      assert.match(stdout, /\nAnswer: That is 12\.\n2 model calls, 2 tool calls, .*test-model\n$/)
      assert.strictEqual(stderr, "")
      assert.strictEqual(code, 0)
      assert.lengthOf(server.requests, 2)
      assert.strictEqual(server.requests[0]!.headers.authorization, `Bearer ${key}`)
      assert.include(JSON.stringify(server.requests[1]!.body), '{\\"result\\":8}')
    })
  )

  it.live("names the reason when it is refused, and not the key", () =>
    Effect.gen(function* () {
      const body = JSON.stringify({ error: { message: `Incorrect API key provided: ${key}`, code: "invalid_api_key" } })
      const server = yield* OpenAiServer.make({ status: 401, body })
      const ended = yield* run([question], { env: serverEnv(server) })
      assertProblem(ended, 3, /AuthenticationError: Incorrect API key provided.*OPENAI_API_KEY/)
      assert.notInclude(ended.stdout + ended.stderr, key)
    })
  )

  it.live("stops at once when it is interrupted", () =>
    Effect.gen(function* () {
      const server = yield* OpenAiServer.make({ ending: "silence" })
      const program = yield* start([question], { env: serverEnv(server) })
      const { closedEarly } = yield* server.next
      program.signal("SIGINT")
      const ended = yield* program.ended.pipe(Effect.timeout("5 seconds"))
      assert.strictEqual(ended.stderr.trim(), "Interrupted.")
      assert.strictEqual(ended.code, 130)
      yield* Deferred.await(closedEarly)
    })
  )
})
