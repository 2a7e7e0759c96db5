import { readFileSync } from "node:fs"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import * as Agent from "effect-agent-runtime/Agent"
import * as EventHub from "effect-agent-runtime/EventHub"
import * as RuntimeConfig from "effect-agent-runtime/RuntimeConfig"
import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FileSystem from "effect/FileSystem"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Toml from "smol-toml"
import * as Yaml from "yaml"
import * as CommandLine from "../src/cli/tools.ts"
import { calculate, MathTools, MathToolsLayer } from "./support/calculator.ts"

const environment = (env: Record<string, string>) =>
  Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromEnv({ env }))

/** A configuration as data, read as YAML. */
const parse = (data: object, set: Record<string, string> = {}) =>
  RuntimeConfig.parse(Yaml.stringify(data), { format: "yaml", set })

const settings = (data: object, env: Record<string, string> = {}, set: Record<string, string> = {}) =>
  Effect.runSync(parse(data, set).pipe(environment(env))).settings

const problems = (text: string, format: "yaml" | "toml" = "yaml", set: Record<string, string> = {}) =>
  Effect.runSync(
    RuntimeConfig.parse(text, { format, name: `c.${format}`, set }).pipe(Effect.flip, environment({}))
  ).message.split("\n")

const sample = (format: "yaml" | "toml") =>
  readFileSync(new URL(`support/config/original.${format}`, import.meta.url), "utf8")

class Bots extends Context.Service<Bots, RuntimeConfig.Agents<typeof MathTools.tools>>()("test/Bots") {}

interface Sent {
  readonly url: string
  readonly headers: Record<string, string>
  readonly body: Record<string, any>
}

const answer = (content: string): Response =>
  Response.json({ model: "m", choices: [{ message: { content }, finish_reason: "stop" }] })

/** Everything that a configuration needs besides itself; `sent` are the requests. */
const platform = (respond: (sent: Sent) => Response | Promise<Response> = () => answer("ok")) => {
  const sent: Array<Sent> = []
  const fetch: typeof globalThis.fetch = async (input, init) => {
    const request = new Request(input, init)
    const one = {
      url: request.url,
      headers: Object.fromEntries(request.headers),
      body: (await request.json()) as Record<string, any>
    }
    sent.push(one)
    return respond(one)
  }
  const client = Layer.provide(FetchHttpClient.layer, Layer.succeed(FetchHttpClient.Fetch, fetch))
  return { sent, layer: Layer.mergeAll(client, NodeServices.layer, MathToolsLayer) }
}

/** The agents of a configuration, and the requests that they send. */
const start = Effect.fnUntraced(function* (
  data: object,
  options: RuntimeConfig.Options<typeof MathTools.tools> = {},
  respond?: Parameters<typeof platform>[0]
) {
  const { layer, sent } = platform(respond)
  const config = yield* parse(data)
  const context = yield* Layer.build(
    Layer.provide(RuntimeConfig.layer(Bots, config, { toolkit: MathTools, ...options }), layer)
  )
  return { bots: Context.get(context, Bots), context, sent }
})

const scripted = (...script: ReadonlyArray<unknown>) => ({ models: { m: { provider: "scripted", script } } })

const llama = { default_provider: "llama", default_model: "q", llama: { base_url: "http://llama.test" } }

const never = () => new Promise<Response>(() => {})

describe("a file", () => {
  it("of the original loads, the same from YAML and TOML", () => {
    const read = (format: "yaml" | "toml") =>
      Effect.runSync(RuntimeConfig.parse(sample(format), { format }).pipe(environment({}))).settings
    const config = read("yaml")
    assert.deepStrictEqual(JSON.stringify(read("toml")), JSON.stringify(config))
    assert.strictEqual(config.llm?.llama?.base_url, "http://localhost:1234/v1")
    assert.strictEqual(config.workflow?.max_concurrent, 10)
  })

  const full: RuntimeConfig.Settings = {
    llm: { default_model: "a", openai: { api_key: { env: "KEY" }, api_base: "https://x" }, default_temperature: 0.5 },
    models: {
      a: { provider: "openai", retry: "none", timeout: { idle_ms: 5 }, rate_limit: { requests: 1 }, fallback: ["b"] },
      b: { provider: "scripted", script: ["one", { tool: "t", params: { n: 1, deep: { x: [true] } } }], cache: true }
    },
    agents: { x: { tools: ["t"], limits: { turns: 3 }, loop_detection: { window: 4 }, tool_choice: { tool: "t" } } },
    retry: { max_attempts: 1, backoff_multiplier: 1.5 },
    loop_detection: false,
    events: { replay: 0, file: "e.ndjson" }
  }

  it.each([
    ["yaml", Yaml.stringify(full)],
    ["toml", Toml.stringify(full)]
  ] as const)("says the same after it was written as %s", (format, text) => {
    const read = Effect.runSync(RuntimeConfig.parse(text, { format }).pipe(environment({}))).settings
    // The objects of TOML have no prototype.
    assert.deepStrictEqual(JSON.parse(JSON.stringify(read)), full)
  })

  it("may have parts that are used again", () => {
    const text = "agents:\n  a: &a { tools: [x] }\n  b: { <<: *a, streaming: true }\n  c: *a\n"
    const { agents } = Effect.runSync(RuntimeConfig.parse(text, { format: "yaml" }).pipe(environment({}))).settings
    assert.deepStrictEqual(agents, { a: { tools: ["x"] }, b: { tools: ["x"], streaming: true }, c: { tools: ["x"] } })
  })

  it("may be empty, and have keys without a value", () => {
    assert.deepStrictEqual(
      Effect.runSync(RuntimeConfig.parse("", { format: "yaml" }).pipe(environment({}))).settings,
      {}
    )
    assert.deepStrictEqual(settings({ retry: null, agents: { a: { tools: null } } }), { agents: { a: {} } })
  })

  it.effect("is read by its extension, and its folder is known", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const folder = yield* fs.makeTempDirectoryScoped()
      for (const [name, text] of [
        ["a.yml", "limits: { turns: 3 }"],
        ["a.toml", "limits.turns = 3"]
      ] as const) {
        yield* fs.writeFileString(`${folder}/${name}`, text)
        const config = yield* RuntimeConfig.load(`${folder}/${name}`)
        assert.deepStrictEqual(JSON.stringify(config.settings), '{"limits":{"turns":3}}')
        assert.strictEqual(config.folder, folder)
      }
      const message = (file: string) => Effect.map(Effect.flip(RuntimeConfig.load(file)), ({ message }) => message)
      assert.strictEqual(yield* message("no/such.yaml"), "no/such.yaml: there is no such file")
      assert.match(yield* message("a.json"), /^a\.json: a configuration file is called \.yaml, \.yml or \.toml/)
    }).pipe(Effect.provide(NodeServices.layer))
  )

  it("has a JSON Schema that describes every key, as it is published", () => {
    const schema = RuntimeConfig.jsonSchema()
    const published = readFileSync(new URL("../docs/agent-runtime.schema.json", import.meta.url), "utf8")
    assert.strictEqual(published, `${JSON.stringify(schema, null, 2)}\n`, "run `npm run docs`")
    const undescribed: Array<string> = []
    const visit = (node: unknown, path: string): void => {
      if (typeof node !== "object" || node === null) return
      for (const [key, child] of Object.entries(node)) {
        if (key === "properties") {
          for (const [name, property] of Object.entries(child as object)) {
            if (!("description" in property)) undescribed.push(`${path}.${name}`)
          }
        }
        visit(child, `${path}.${key}`)
      }
    }
    visit(schema, "")
    assert.deepStrictEqual(undescribed, [])
  })
})

it.effect("the workflow in the guide runs", () =>
  Effect.gen(function* () {
    const page = readFileSync(new URL("../docs/guide/configuration.md", import.meta.url), "utf8")
    const file = Array.from(page.matchAll(/^```yaml\n(.*?)^```/gms), ([, text = ""]) => text).find((text) =>
      text.includes("workflows:")
    )
    const { bots } = yield* start(Yaml.parse(file!) as object)
    const { output } = yield* bots.runWorkflow("mails", { mails: ["It leaks.", "It is late."] })
    assert.deepStrictEqual(output, ["You get your money back.", "You get your money back."])
  })
)

it.each(["README.md", "docs/guide/configuration.md"])("the files in %s are right", (page) => {
  const text = readFileSync(new URL(`../${page}`, import.meta.url), "utf8")
  const files = Array.from(text.matchAll(/^```yaml\n(.*?)^```$/gms), ([, file]) => file!)
  assert.isNotEmpty(files)
  for (const file of files) {
    const config = Effect.runSync(RuntimeConfig.parse(file, { format: "yaml" }).pipe(environment({})))
    assert.deepStrictEqual(RuntimeConfig.check(config, { toolkit: CommandLine.toolkit }), [])
  }
})

describe("problems", () => {
  it("are all reported, each with its place and what was meant", () => {
    const text = `llm:
  default_provder: llama
  default_temperature: 2.5
retry: agressive
agents:
  helper:
    limits: { turns: 0 }
    instructions: ""
    tools: calculator
`
    assert.deepStrictEqual(problems(text), [
      "c.yaml:2:3: llm.default_provder: there is no key 'default_provder'. Did you mean 'default_provider'?",
      "c.yaml:3:24: llm.default_temperature: the temperature has to be between 0 and 2",
      "c.yaml:4:8: retry: there is no choice 'agressive'. Did you mean 'aggressive'?",
      "c.yaml:7:22: agents.helper.limits.turns: expected a value greater than or equal to 1, got 0",
      "c.yaml:8:19: agents.helper.instructions: must not be empty",
      'c.yaml:9:12: agents.helper.tools: has to be a list, is the text "calculator"'
    ])
  })

  it("have places in TOML too", () => {
    assert.deepStrictEqual(problems("[retry]\njitter_factor = 1.5\nbackoff_multiplier = 0.5\n[loging]\n", "toml"), [
      "c.toml:2:17: retry.jitter_factor: the jitter factor has to be between 0 and 1",
      "c.toml:3:22: retry.backoff_multiplier: the backoff multiplier has to be at least 1",
      "c.toml:4:2: loging: there is no key 'loging'. Did you mean 'logging'?"
    ])
  })

  it("name the variable or the flag that a wrong value came from", () => {
    const { message } = Effect.runSync(
      parse({}, { "limits.turns": "many" }).pipe(
        Effect.flip,
        environment({ AGENT_RUNTIME__LLM__DEFALT_MODEL: "x", AGENT_RUNTIME__RETRY__JITTER_FACTOR: "7" })
      )
    )
    assert.deepStrictEqual(message.split("\n"), [
      '--set limits.turns: limits.turns: has to be a number, is the text "many"',
      "AGENT_RUNTIME__LLM__DEFALT_MODEL: llm.defalt_model: there is no key 'defalt_model'. Did you mean 'default_model'?",
      "AGENT_RUNTIME__RETRY__JITTER_FACTOR: retry.jitter_factor: the jitter factor has to be between 0 and 1"
    ])
  })

  it.each(["sk-secret-1", { env: "sk-secret-1" }, { value: "sk-secret-1" }, ["sk-secret-1"], 5])(
    "refuse a secret in the file without repeating it: %j",
    (api_key) => {
      const [first = ""] = problems(Yaml.stringify({ llm: { openai: { api_key } } }))
      assert.match(first, /^c\.yaml:\d+:\d+: llm\.openai\.api_key/)
      assert.notInclude(first, "sk-secret-1")
    }
  )

  it("do not repeat a secret that stands in place of its section", () => {
    assert.deepStrictEqual(problems("llm:\n  openai: sk-secret-1\n"), [
      "c.yaml:2:11: llm.openai: has to be keys with values, is a text"
    ])
  })

  it("are files that have no keys, whatever is laid over them", () => {
    const found = (text: string) => problems(text, "yaml", { "limits.turns": "3" })
    assert.deepStrictEqual(found("- a"), ["c.yaml: has to be keys with values, is a list"])
    assert.deepStrictEqual(found("text"), ["c.yaml: has to be keys with values, is a text"])
  })

  it("say where the syntax is broken", () => {
    assert.match(problems("a: [1")[0]!, /^c\.yaml:1:6: /)
    assert.deepStrictEqual(problems("[a\n", "toml")[0]!.split(": ")[0], "c.toml:1:3")
  })

  it("are found in what names other things", () => {
    const config = Effect.runSync(
      parse({
        models: { a: { provider: "openai", fallback: ["b"] }, b: { provider: "llama", fallback: ["a", "c"] } },
        agents: {
          one: { model: "aa", tools: ["calculatr"], agents: ["two", "too"] },
          two: { model: "a", agents: ["one"] },
          "three!": {}
        }
      }).pipe(environment({}))
    )
    assert.deepStrictEqual(
      RuntimeConfig.check(config, { toolkit: MathTools })
        .map(({ message, path }) => `${path}: ${message}`)
        .toSorted(),
      [
        ": there is no default model: set 'llm.default_model', or 'model' of each agent",
        "agents.one.agents.0: 'two' leads back to 'one'",
        "agents.one.agents.1: there is no agent 'too'. Did you mean 'two'?",
        "agents.one.model: there is no model 'aa'. Did you mean 'a'?",
        "agents.one.tools.0: there is no tool 'calculatr'. Did you mean 'calculator'?",
        "agents.three!: the name of an agent has up to 64 letters, digits, hyphens and underscores: models may call it as a tool",
        "agents.two.agents.0: 'one' leads back to 'two'",
        "models.a.fallback.0: 'b' falls back to 'a' itself",
        "models.b.fallback.0: 'a' falls back to 'b' itself",
        "models.b.fallback.1: there is no model 'c'. Did you mean 'a'?"
      ]
    )
  })

  it.effect("keep a layer from being built", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(start({ ...scripted("x"), agents: { a: { tools: ["none"] } } }))
      assert.strictEqual(error._tag, "InvalidConfig")
      assert.match(error.message, /agents\.a\.tools\.0: there is no tool 'none'\. Known: calculator/)
    })
  )

  it.effect("are secrets that are not in the environment", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        start({ llm: { ...llama, llama: { ...llama.llama, api_key: "${MY_KEY}" } }, agents: { a: {} } })
      )
      assert.match(error.message, /llm\.llama\.api_key: the variable MY_KEY of the environment is not set/)
      const openai = yield* Effect.flip(
        start({ models: { g: { provider: "openai", model: "gpt-5" } }, agents: { a: {} } })
      )
      assert.match(openai.message, /^config\.yaml:2:3: models\.g: .*OPENAI_API_KEY/)
    }).pipe(environment({}))
  )
})

describe("what wins", () => {
  it("is a flag over the environment over the file, key by key", () => {
    const merged = settings(
      { retry: { max_attempts: 1, max_delay_ms: 10, total_ms: 100 }, limits: { turns: 1 } },
      { AGENT_RUNTIME__RETRY__MAX_ATTEMPTS: "2", AGENT_RUNTIME__RETRY__MAX_DELAY_MS: "20" },
      { "retry.max_attempts": "3" }
    )
    assert.deepStrictEqual(merged, {
      retry: { max_attempts: 3, max_delay_ms: 20, total_ms: 100 },
      limits: { turns: 1 }
    })
  })

  it("replaces lists and values of another kind", () => {
    assert.deepStrictEqual(
      settings(
        { agents: { a: { tools: ["x", "y"] } }, retry: "none" },
        { AGENT_RUNTIME__AGENTS__A__TOOLS: "z", AGENT_RUNTIME__RETRY__MAX_ATTEMPTS: "2" }
      ),
      { agents: { a: { tools: ["z"] } }, retry: { max_attempts: 2 } }
    )
  })
})

describe("an agent of a file", () => {
  it.effect("runs, with the tools that it names and handlers from a Layer", () =>
    Effect.gen(function* () {
      const { bots } = yield* start({
        ...scripted({ tool: "calculator", params: calculate("add", 5, 3).params }, "It is 8."),
        agents: { maths: { instructions: "Be exact.", tools: ["calculator"] }, idle: {} }
      })
      assert.deepStrictEqual(bots.names, ["maths", "idle"])
      const result = yield* bots.run("maths", "5 + 3?")
      assert.strictEqual(result.text, "It is 8.")
      assert.strictEqual(result.usage.toolCalls, 1)
      const events = yield* Stream.runCollect(bots.stream("maths", "5 + 3?"))
      assert.strictEqual(events.at(-1)?._tag, "RunCompleted")
    })
  )

  it.effect("stops when its stream is closed, and publishes to the hub of whoever runs it", () =>
    Effect.gen(function* () {
      const interrupted = yield* Deferred.make<void>()
      const house = ScriptedLlm.layer([], () =>
        Effect.onInterrupt(Effect.never, () => Deferred.succeed(interrupted, undefined))
      )
      const { bots } = yield* start({ agents: { a: {} } }, { models: { house }, defaultModel: "house" })
      const { take } = yield* EventHub.subscribe()
      yield* Stream.runDrain(Stream.take(bots.stream("a", "x"), 3))
      yield* Deferred.await(interrupted)
      const events = yield* take
      assert.strictEqual(events.at(-1)?._tag, "RunInterrupted")
    }).pipe(Effect.provide(EventHub.layer()))
  )

  it.effect("is a value, for all that takes an agent", () =>
    Effect.gen(function* () {
      const { bots } = yield* start({
        ...scripted(calculate("add", 1, 2), "3"),
        agents: { a: { tools: ["calculator"] } }
      })
      const { agent, services } = yield* bots.get("a")
      const result = yield* Effect.provideContext(Agent.run(agent, "x"), services)
      assert.strictEqual(result.text, "3")
    })
  )

  it.effect("is asked for by its name", () =>
    Effect.gen(function* () {
      const { bots } = yield* start({ ...scripted("x"), agents: { maths: {} } })
      const error = yield* Effect.flip(bots.run("math", "x"))
      assert.strictEqual(error.message, "there is no agent 'math'. Did you mean 'maths'?")
      const streamed = yield* Effect.flip(Stream.runDrain(bots.stream("math", "x")))
      assert.strictEqual(streamed._tag, "UnknownAgent")
    })
  )

  it.effect("calls other agents as tools, in any order of the file", () =>
    Effect.gen(function* () {
      const { bots } = yield* start({
        models: {
          boss: { provider: "scripted", script: [{ tool: "clerk", params: { prompt: "add" } }, "done"] },
          clerk: { provider: "scripted", script: [calculate("add", 1, 2), "it is 3"] }
        },
        agents: {
          boss: { model: "boss", agents: ["clerk"] },
          clerk: { model: "clerk", description: "Adds", tools: ["calculator"] }
        }
      })
      const events = yield* Stream.runCollect(bots.stream("boss", "go"))
      const completed = events.filter((event) => event._tag === "ToolCallCompleted")
      assert.deepStrictEqual(
        completed.map(({ agent, name, result }) => [agent, name, result]),
        [
          ["clerk", "calculator", { result: 3 }],
          ["boss", "clerk", "it is 3"]
        ]
      )
    })
  )

  it.effect("keeps to limits: its own, the file's, and those of the original", () =>
    Effect.gen(function* () {
      const loop = scripted(
        calculate("add", 1, 1),
        calculate("add", 1, 2),
        calculate("add", 1, 3),
        calculate("add", 1, 4)
      )
      const limitOf = Effect.fnUntraced(function* (data: object) {
        const { bots } = yield* start({ ...loop, ...data })
        const error = yield* Effect.flip(bots.run("a", "x"))
        return error._tag === "AgentError" && error.reason._tag === "TurnLimitReached" ? error.reason.limit : error
      })
      const tools = ["calculator"]
      const workflow = { max_tool_iterations: 4 }
      assert.strictEqual(yield* limitOf({ agents: { a: { tools } } }), 10)
      assert.strictEqual(yield* limitOf({ agents: { a: { tools } }, workflow }), 4)
      assert.strictEqual(yield* limitOf({ agents: { a: { tools } }, workflow, limits: { turns: 3 } }), 3)
      assert.strictEqual(
        yield* limitOf({ agents: { a: { tools, limits: { turns: 2 } } }, workflow, limits: { turns: 3 } }),
        2
      )
      const { bots } = yield* start({ ...loop, agents: { a: { tools, limits: { tokens: 20 } } } })
      const error = yield* Effect.flip(bots.run("a", "x"))
      assert.strictEqual(error._tag === "AgentError" && error.reason._tag, "TokenLimitReached")
    })
  )

  it.effect("is sent what its window lets through", () =>
    Effect.gen(function* () {
      const messages = Effect.fnUntraced(function* (window: object) {
        const data = { llm: llama, agents: { a: { context_window: window } } }
        const { bots, sent } = yield* start(data, {}, () => answer("x".repeat(4000)))
        const first = yield* bots.run("a", "one")
        yield* bots.run("a", { history: first.history, prompt: "two" })
        return sent[1]?.body.messages.length
      })
      assert.deepStrictEqual(
        [
          yield* messages({}),
          yield* messages({ turns: 1 }),
          yield* messages({ tokens: 500 }),
          yield* messages({ turns: 2, tokens: 5000 })
        ],
        [3, 1, 1, 3]
      )
    })
  )

  it.effect("has its loops detected as the file says", () =>
    Effect.gen(function* () {
      const same = scripted(calculate("add", 1, 1))
      const reasonOf = Effect.fnUntraced(function* (data: object) {
        const { bots } = yield* start({ ...same, ...data })
        const error = yield* Effect.flip(bots.run("a", "x"))
        return error._tag === "AgentError" ? [error.reason._tag, error.partial.turns] : []
      })
      const agent = { tools: ["calculator"] }
      assert.deepStrictEqual(yield* reasonOf({ agents: { a: agent } }), ["LoopDetected", 6])
      assert.deepStrictEqual(yield* reasonOf({ agents: { a: agent }, loop_detection: false }), ["TurnLimitReached", 10])
      assert.deepStrictEqual(
        yield* reasonOf({
          agents: { a: { ...agent, loop_detection: { replays: 0, refusals: 0 } } },
          loop_detection: false
        }),
        ["LoopDetected", 2]
      )
    })
  )
})

describe("a model of a file", () => {
  it.effect("gets what the file says of it in its requests", () =>
    Effect.gen(function* () {
      const { bots, sent } = yield* start({
        llm: { ...llama, default_temperature: 0.3, default_max_tokens: 2048 },
        models: {
          big: { provider: "openai", model: "gpt-5", api_key: "${KEY}", base_url: "http://big.test/v1", max_tokens: 7 }
        },
        agents: {
          plain: { instructions: "Be brief." },
          own: { model: "big", temperature: 1, top_p: 0.5, stop: ["END"], seed: 4, max_tokens: 9 },
          half: { model: "big", tools: ["calculator"], tool_choice: "required" }
        }
      })
      yield* bots.run("plain", "Hi")
      yield* bots.run("own", "Hi")
      yield* bots.run("half", "Hi")
      const [plain, own, half] = sent
      assert.strictEqual(plain?.url, "http://llama.test/v1/chat/completions")
      assert.notProperty(plain?.headers, "authorization")
      assert.deepInclude(plain?.body, { model: "q", temperature: 0.3, max_tokens: 2048 })
      assert.strictEqual(plain?.body.messages[0].content, "Be brief.")
      assert.strictEqual(own?.headers.authorization, "Bearer sk-1")
      assert.deepInclude(own?.body, { model: "gpt-5", temperature: 1, top_p: 0.5, seed: 4, max_tokens: 9 })
      assert.deepStrictEqual(own?.body.stop, ["END"])
      assert.deepInclude(half?.body, { temperature: 0.3, max_tokens: 7, tool_choice: "required" })
      assert.strictEqual(half?.body.tools[0].function.name, "calculator")
    }).pipe(environment({ KEY: "sk-1", OPENAI_API_KEY: "sk-not-for-llama" }))
  )

  it.effect("is found by the variables that providers are known by", () =>
    Effect.gen(function* () {
      const { bots, sent } = yield* start({
        retry: "none",
        models: { o: { provider: "openai" }, l: { provider: "llama" }, a: { provider: "anthropic" } },
        agents: { o: { model: "o" }, l: { model: "l" }, a: { model: "a" } }
      })
      for (const name of bots.names) yield* Effect.exit(bots.run(name, "Hi"))
      assert.deepStrictEqual(
        sent.map(({ url, headers }) => [url, headers.authorization ?? headers["x-api-key"]]),
        [
          ["http://o.test/v1/chat/completions", "Bearer sk-o"],
          ["http://l.test/v1/chat/completions", undefined],
          ["https://api.anthropic.com/v1/messages", "sk-a"]
        ]
      )
    }).pipe(
      environment({
        OPENAI_BASE_URL: "http://o.test",
        OPENAI_API_KEY: "sk-o",
        LLAMA_BASE_URL: "http://l.test",
        ANTHROPIC_API_KEY: "sk-a"
      })
    )
  )

  it.effect("is retried, and times out, as the file says", () =>
    Effect.gen(function* () {
      const failing = () => new Response("{}", { status: 500 })
      const attempts = Effect.fnUntraced(function* (data: object, respond: () => Response | Promise<Response>) {
        const { bots, sent } = yield* start({ llm: llama, agents: { a: {} }, ...data }, {}, respond)
        const fiber = yield* Effect.forkChild(Effect.flip(bots.run("a", "x")))
        // Responses come by promises, which no clock waits for.
        while (fiber.pollUnsafe() === undefined) {
          yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
          yield* TestClock.adjust("250 millis")
        }
        const error = yield* Fiber.join(fiber)
        return [sent.length, error.message] as const
      })
      assert.strictEqual((yield* attempts({}, failing))[0], 4)
      assert.strictEqual((yield* attempts({ retry: "none" }, failing))[0], 1)
      assert.strictEqual((yield* attempts({ retry: { max_attempts: 1 } }, failing))[0], 2)
      assert.strictEqual((yield* attempts({ retry: { total_ms: 1 } }, failing))[0], 1)
      const own = { llm: { ...llama, default_model: "m" }, models: { m: { provider: "llama", retry: "conservative" } } }
      assert.strictEqual((yield* attempts({ ...own, retry: "none" }, failing))[0], 3)
      const [, message] = yield* attempts({ timeout: { total_ms: 1500 }, retry: "none" }, never)
      assert.match(message, /no complete answer came within 1s 500ms/)
      assert.match((yield* attempts({ timeout: "quick", retry: "none" }, never))[1], /within 30s/)
    })
  )

  it.effect("falls back, is cached, and waits for its limits", () =>
    Effect.gen(function* () {
      const respond = ({ body }: Sent) => (body.model === "bad" ? new Response("{}", { status: 500 }) : answer("fine"))
      const { bots, sent } = yield* start(
        {
          llm: llama,
          retry: "none",
          models: {
            bad: { provider: "llama", fallback: ["good"] },
            good: { provider: "llama", rate_limit: { requests: 1, window_ms: 10_000 } },
            kept: { provider: "llama", cache: { capacity: 2 }, max_concurrent: 1 }
          },
          agents: { bad: { model: "bad" }, good: { model: "good" }, kept: { model: "kept" } }
        },
        {},
        respond
      )
      assert.strictEqual((yield* bots.run("bad", "x")).text, "fine")
      // The model that is fallen back to is the same as the one with that name: its limit is used up.
      const waiting = yield* Effect.forkChild(bots.run("good", "x"))
      yield* TestClock.adjust("9 seconds")
      assert.isUndefined(waiting.pollUnsafe())
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(waiting)
      yield* bots.run("kept", "x")
      yield* bots.run("kept", "x")
      assert.deepStrictEqual(
        sent.map(({ body }) => body.model),
        ["bad", "good", "good", "kept"]
      )
    })
  )

  it.effect("may be one of the program's", () =>
    Effect.gen(function* () {
      const models = { house: ScriptedLlm.layer(["from the house"]) }
      const file = { ...scripted("from the file"), agents: { a: { model: "house" }, b: { model: "m" } } }
      const { bots } = yield* start(file, { models })
      assert.strictEqual((yield* bots.run("a", "x")).text, "from the house")
      assert.strictEqual((yield* bots.run("b", "x")).text, "from the file")
      const otherwise = yield* start({ agents: { a: {} } }, { models, defaultModel: "house" })
      assert.strictEqual((yield* otherwise.bots.run("a", "x")).text, "from the house")
    })
  )

  it.effect("is not built for agents that are not asked for", () =>
    Effect.gen(function* () {
      const file = { ...scripted("ok"), agents: { a: { model: "m" }, b: { model: "o" } } }
      const data = { ...file, models: { ...file.models, o: { provider: "openai" } } }
      const { bots } = yield* start(data, { only: { agents: ["a"] } })
      assert.deepStrictEqual(bots.names, ["a"])
      assert.strictEqual((yield* bots.run("a", "x")).text, "ok")
      assert.strictEqual((yield* Effect.flip(start(data)))._tag, "InvalidConfig")
    }).pipe(environment({}))
  )

  it.effect("with an invalid certificate needs a client that accepts it", () =>
    Effect.gen(function* () {
      const file = {
        llm: { ...llama, llama: { base_url: "https://llama.test", insecure: true } },
        agents: { a: {} }
      }
      const error = yield* Effect.flip(start(file))
      assert.match(error.message, /llm\.llama\.insecure: .*insecureClient/)
      const insecureClient = Layer.provide(
        FetchHttpClient.layer,
        Layer.succeed(FetchHttpClient.Fetch, async () => answer("insecurely"))
      )
      const { bots, sent } = yield* start(file, { insecureClient })
      assert.strictEqual((yield* bots.run("a", "x")).text, "insecurely")
      assert.lengthOf(sent, 0)
    })
  )
})

describe("a workflow of a file", () => {
  const agents = {
    triage: { model: "triage" },
    writer: { model: "writer", instructions: "Write." },
    sums: { model: "sums", tools: ["calculator"] }
  }
  const models = {
    triage: { provider: "scripted", script: ['"sums"'] },
    writer: { provider: "scripted", script: ["one", "two", "DONE three", "four"] },
    sums: { provider: "scripted", script: [calculate("add", 1, 2), "3"] }
  }
  const output = Effect.fnUntraced(function* (
    steps: ReadonlyArray<object>,
    input: unknown,
    more: Record<string, object> = {}
  ) {
    const { bots } = yield* start({ models, agents, workflows: { w: { steps }, ...more } })
    return (yield* bots.runWorkflow("w", input)).output
  })
  const writer = { type: "agent", agent: "writer" }

  it.effect("runs agents in order, with prompts made of what came before", () =>
    Effect.gen(function* () {
      const { bots, sent } = yield* start(
        {
          llm: llama,
          agents: { a: {}, b: {} },
          workflows: {
            w: {
              steps: [
                { type: "agent", agent: "a", prompt: "About {{input.topic}}, {{ input.no }}: {{input}}" },
                { type: "template", text: "So: {{input}}" },
                { type: "agent", agent: "b" }
              ]
            }
          }
        },
        {},
        ({ body }) => answer(`re: ${body.messages.at(-1).content}`)
      )
      const { output, run } = yield* bots.runWorkflow("w", { topic: "tea" })
      assert.strictEqual(output, 're: So: re: About tea, : {"topic":"tea"}')
      assert.deepStrictEqual(
        run.steps.map(({ name, type }) => [name, type]),
        [
          ["a", "agent"],
          ["template 2", "transform"],
          ["b", "agent"]
        ]
      )
      assert.lengthOf(sent, 2)
      const events = yield* Stream.runCollect(bots.streamWorkflow("w", { topic: "tea" }))
      assert.strictEqual(events.at(-1)?._tag, "WorkflowCompleted")
      assert.isTrue(events.some((event) => event._tag === "RunCompleted" && event.agent === "b"))
    })
  )

  it.effect("branches on an agent's choice", () =>
    Effect.gen(function* () {
      const branch = {
        type: "branch",
        on: { agent: "triage" },
        cases: { sums: [{ type: "agent", agent: "sums" }], other: [writer] }
      }
      assert.strictEqual(yield* output([branch], "1 + 2"), "3")
    })
  )

  it.effect("branches on a field", () =>
    Effect.gen(function* () {
      const text = (text: string) => [{ type: "template", text }]
      const branch = {
        type: "branch",
        on: { field: "a.b" },
        cases: { x: text("is x"), 1: text("is one") },
        otherwise: text("is {{input.a.b}}")
      }
      assert.strictEqual(yield* output([branch], { a: { b: "x" } }), "is x")
      assert.strictEqual(yield* output([branch], { a: { b: 1 } }), "is one")
      assert.strictEqual(yield* output([branch], { a: { b: "constructor" } }), "is constructor")
      assert.strictEqual(yield* output([branch], "text"), "is ")
    })
  )

  it.effect("runs steps in parallel, for each element, and other workflows", () =>
    Effect.gen(function* () {
      const steps = { x: [writer], y: [writer, { type: "template", text: "<{{input}}>" }] }
      assert.deepStrictEqual(yield* output([{ type: "parallel", steps, concurrency: 1 }], "go"), {
        x: "one",
        y: "<two>"
      })
      const each = { type: "map", steps: [{ type: "workflow", workflow: "wrap" }] }
      const wrap = { wrap: { steps: [{ type: "template", text: "[{{input}}]" }] } }
      assert.deepStrictEqual(yield* output([each], ["a", "b"], wrap), ["[a]", "[b]"])
      assert.deepStrictEqual(yield* output([each], "a\n\nb\n", wrap), ["[a]", "[b]"])
      assert.deepStrictEqual(yield* output([{ ...each, field: "of" }], { of: [1] }, wrap), ["[1]"])
    })
  )

  it.effect("loops until a condition holds, and no longer than it may", () =>
    Effect.gen(function* () {
      const loop = (until: object, more: object = {}) => ({ type: "loop", steps: [writer], until, ...more })
      assert.strictEqual(yield* output([loop({ contains: "DONE" })], "x"), "DONE three")
      const error = yield* Effect.flip(output([loop({ contains: "never" }, { max_iterations: 2 })], "x"))
      assert.match(error.message, /IterationLimitReached/)
      const done = {
        type: "loop",
        steps: [{ type: "map", field: "list", steps: [writer] }],
        until: { field: "0", equals: "one" }
      }
      assert.deepStrictEqual(yield* output([done], { list: [1] }), ["one"])
    })
  )

  it.effect("tries again, and something else", () =>
    Effect.gen(function* () {
      let calls = 0
      const house = ScriptedLlm.layer([], () => (calls++ < 2 ? [{ tool: "none" }] : "at last"))
      const flaky = { type: "agent", agent: "flaky" }
      const run = Effect.fnUntraced(function* (step: object) {
        calls = 0
        const { bots } = yield* start(
          {
            models,
            agents: { ...agents, flaky: { model: "house", limits: { turns: 1 } } },
            workflows: { w: { steps: [step] } }
          },
          { models: { house } }
        )
        return (yield* bots.runWorkflow("w", "x")).output
      })
      assert.strictEqual(yield* run({ type: "retry", steps: [flaky] }), "at last")
      const error = yield* Effect.flip(run({ type: "retry", steps: [flaky], times: 1 }))
      assert.strictEqual(error._tag === "WorkflowError" && error.step?.name, "flaky")
      assert.strictEqual(yield* run({ type: "fallback", attempts: [[flaky], [writer]] }), "one")
    })
  )

  it.effect("shares a conversation if it is told to", () =>
    Effect.gen(function* () {
      const messages = Effect.fnUntraced(function* (conversation: string) {
        const workflow = {
          conversation,
          steps: [
            { type: "agent", agent: "a" },
            { type: "agent", agent: "b", prompt: "Next" }
          ]
        }
        const { bots, sent } = yield* start({ llm: llama, agents: { a: {}, b: {} }, workflows: { w: workflow } })
        yield* bots.runWorkflow("w", "First")
        return sent[1]?.body.messages.map(({ content }: { readonly content: string }) => content)
      })
      assert.deepStrictEqual(yield* messages("shared"), ["First", "ok", "Next"])
      assert.deepStrictEqual(yield* messages("isolated"), ["Next"])
    })
  )

  it.effect("shares a conversation with the steps inside of steps, however many there are", () =>
    Effect.gen(function* () {
      const [first, a, b] = ["first", "a", "b"].map((agent) => ({ type: "agent", agent }))
      const other = { type: "workflow", workflow: "other" }
      for (const step of [
        { type: "retry", steps: [a, b] },
        { type: "fallback", attempts: [[a, b], [a]] },
        { type: "map", steps: [a, b] },
        { type: "loop", steps: [a, b], until: { contains: "ok" } },
        { type: "branch", on: { field: "x" }, cases: {}, otherwise: [a, b] },
        { type: "branch", on: { field: "x" }, cases: {}, otherwise: [{ type: "map", steps: [a, b] }] },
        { ...other, name: "inside" },
        other
      ]) {
        const messages = Effect.fnUntraced(function* (conversation: string, own: object) {
          const { bots, sent } = yield* start({
            llm: llama,
            agents: { first: {}, a: {}, b: {} },
            workflows: {
              w: { conversation, steps: [first, { ...step, ...own }] },
              other: { conversation, steps: [a, b] }
            }
          })
          yield* bots.runWorkflow("w", "First")
          return sent.map(({ body }) => body.messages.length)
        })
        const of = JSON.stringify(step)
        assert.deepStrictEqual(yield* messages("shared", {}), [1, 3, 5], of)
        assert.deepStrictEqual(yield* messages("isolated", {}), [1, 1, 1], of)
        assert.deepStrictEqual(yield* messages("shared", { conversation: "isolated" }), [1, 1, 1], of)
      }
    })
  )

  it.effect("makes data of an agent with an output schema", () =>
    Effect.gen(function* () {
      const { bots } = yield* start({
        models: { m: { provider: "scripted", script: ['{"kind":7}', '{"kind":"b"}'] } },
        agents: {
          a: { output: { type: "object", properties: { kind: { type: "string" } }, required: ["kind"] } }
        },
        workflows: {
          w: {
            steps: [
              { type: "agent", agent: "a" },
              { type: "template", text: "{{input.kind}}" }
            ]
          }
        }
      })
      assert.strictEqual((yield* bots.runWorkflow("w", "x")).output, "b")
      const wrong = yield* Effect.flip(start({ ...scripted("x"), agents: { a: { output: { contains: {} } } } }))
      assert.match(wrong.message, /agents\.a\.output: .*contains/)
    })
  )

  it.effect("is asked for by its name", () =>
    Effect.gen(function* () {
      const { bots } = yield* start(
        { models, agents, workflows: { w: { steps: [writer] } } },
        { only: { workflows: ["w"] } }
      )
      assert.deepStrictEqual([bots.workflows, bots.names], [["w"], ["writer"]])
      assert.strictEqual(
        (yield* Effect.flip(bots.runWorkflow("v", ""))).message,
        "there is no workflow 'v'. Did you mean 'w'?"
      )
    })
  )

  it("has a shape without any model, or says what is wrong with it", () => {
    const shape = (workflows: object) =>
      parse({ agents: { a: {} }, workflows }).pipe(
        Effect.flatMap((config) => RuntimeConfig.workflowShape(config, "w")),
        environment({})
      )
    const steps = [
      { type: "agent", agent: "a", description: "asks" },
      {
        type: "parallel",
        name: "both",
        steps: { x: [{ type: "agent", agent: "a" }], y: [{ type: "agent", agent: "a" }] }
      }
    ]
    const { steps: shapes } = Effect.runSync(shape({ w: { steps } }))
    assert.deepStrictEqual(
      shapes.map(({ shape }) => [shape.name, shape.type, shape.description]),
      [
        ["a", "agent", "asks"],
        ["both", "parallel", undefined]
      ]
    )
    const messages = Effect.runSync(
      Effect.flip(
        shape({
          w: {
            steps: [
              { type: "agent", agent: "b" },
              { type: "agent", agent: "b" },
              { type: "branch", on: { field: "x" }, cases: { y: [] } },
              { type: "fallback", attempts: [[{ type: "agent", agent: "a" }]] },
              { type: "workflow", workflow: "v" },
              { type: "branch", on: { agent: "c" }, cases: {} },
              { type: "branch", on: { agent: "a" }, cases: { a: [{ type: "template", text: "" }] } }
            ]
          },
          v: { steps: [{ type: "retry", steps: [{ type: "workflow", workflow: "w" }] }] }
        })
      )
    )
      .message.split("\n")
      .map((line) => line.replace(/^\S+ /, ""))
    assert.deepStrictEqual(messages.toSorted(), [
      "workflows.v.steps.0.steps.0.workflow: 'w' leads back to 'v'",
      "workflows.w.steps.0.agent: there is no agent 'b'. Did you mean 'a'?",
      "workflows.w.steps.1.agent: there is no agent 'b'. Did you mean 'a'?",
      "workflows.w.steps.1: there is a step 'b' before: give it another 'name'",
      "workflows.w.steps.2.cases.y: has no steps",
      "workflows.w.steps.2: a branch on a field needs steps 'otherwise', for values that have no case",
      "workflows.w.steps.3.attempts: needs at least two lists of steps",
      "workflows.w.steps.4.workflow: 'v' leads back to 'w'",
      "workflows.w.steps.5.on.agent: there is no agent 'c'. Did you mean 'a'?",
      "workflows.w.steps.5: has no steps",
      "workflows.w.steps.6: has two steps named 'a': give one another name"
    ])
  })

  it("has steps whose keys are checked by their type", () => {
    const text =
      "workflows:\n  w:\n    steps:\n      - type: agnt\n      - { type: agent, agnt: x }\n      - { agent: x }\n"
    assert.deepStrictEqual(problems(text), [
      "c.yaml:4:15: workflows.w.steps.0.type: there is no type 'agnt'. Did you mean 'agent'?",
      "c.yaml:5:9: workflows.w.steps.1: the key 'agent' is missing",
      "c.yaml:5:24: workflows.w.steps.1.agnt: there is no key 'agnt'. Did you mean 'agent'?",
      "c.yaml:6:9: workflows.w.steps.2: the key 'type' is missing"
    ])
  })
})

describe("the program", () => {
  it.effect("runs no more agents at a time than the file allows", () =>
    Effect.gen(function* () {
      const opened = yield* Deferred.make<void>()
      let running = 0
      let most = 0
      const house = ScriptedLlm.layer([], () =>
        Effect.gen(function* () {
          most = Math.max(most, ++running)
          yield* Deferred.await(opened)
          running--
          return "ok"
        })
      )
      const { bots } = yield* start(
        { agents: { a: {} }, workflow: { max_concurrent: 2 } },
        { models: { house }, defaultModel: "house" }
      )
      const all = Effect.all(
        [bots.run("a", "1"), bots.run("a", "2"), Stream.runDrain(bots.stream("a", "3")), bots.run("a", "4")],
        { concurrency: "unbounded" }
      )
      const fiber = yield* Effect.forkChild(all)
      yield* TestClock.adjust(0)
      assert.strictEqual(running, 2)
      yield* Deferred.succeed(opened, undefined)
      yield* Fiber.join(fiber)
      assert.strictEqual(most, 2)
    })
  )

  it.effect("writes events and logs where the file says, all of them before it ends", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const folder = yield* fs.makeTempDirectoryScoped()
      yield* fs.writeFileString(
        `${folder}/agents.yaml`,
        Yaml.stringify({
          ...scripted(calculate("divide", 1, 0), "no"),
          agents: { a: { tools: ["calculator"] } },
          events: { file: "out/events.ndjson" },
          logging: { level: "debug", directory: "logs", json_format: true }
        })
      )
      const layer = RuntimeConfig.layer(Bots, `${folder}/agents.yaml`, { toolkit: MathTools })
      const run = Effect.flatMap(Bots, (bots) => bots.run("a", "x"))
      yield* Effect.provide(run, Layer.provide(layer, platform().layer))

      const lines = (text: string) =>
        text
          .trimEnd()
          .split("\n")
          .map((line) => JSON.parse(line))
      const events = lines(yield* fs.readFileString(`${folder}/out/events.ndjson`))
      assert.deepStrictEqual(
        events.map(({ offset }) => offset),
        events.map((_, index) => index)
      )
      assert.strictEqual(events.at(-1)._tag, "RunCompleted")
      const entries = lines(yield* fs.readFileString(`${folder}/logs/agent-runtime.log`))
      assert.deepStrictEqual(
        entries.map(({ level, message }) => `${level} ${message}`),
        [
          "INFO RunStarted",
          "DEBUG ModelCallStarted",
          "DEBUG ModelCallCompleted",
          "DEBUG ToolCallStarted",
          "WARN ToolCallFailed",
          "DEBUG ModelCallStarted",
          "DEBUG ModelCallCompleted",
          "INFO RunCompleted"
        ]
      )
    }).pipe(Effect.provide(NodeServices.layer))
  )

  it.effect("goes on when events cannot be written", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const folder = yield* fs.makeTempDirectoryScoped()
      const full = yield* fs.exists("/dev/full")
      const { bots } = yield* start({
        ...scripted("ok"),
        agents: { a: {} },
        events: { file: full ? "/dev/full" : `${folder}/events` }
      })
      for (let i = 0; i < 300; i++) yield* bots.run("a", "x")
      assert.strictEqual((yield* bots.run("a", "x")).text, "ok")
    }).pipe(Effect.provide([NodeServices.layer, Logger.layer([])]))
  )

  it.effect("is told when a log cannot be written", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const file = yield* fs.makeTempFileScoped()
      const error = yield* Effect.flip(start({ ...scripted("x"), agents: { a: {} }, logging: { directory: file } }))
      assert.match(error.message, /^config\.yaml:\d+:1: logging: /)
    }).pipe(Effect.provide(NodeServices.layer))
  )

  it.effect("sees the failures of tools that do not go to the model", () =>
    Effect.gen(function* () {
      const Fragile = Toolkit.make(Tool.make("fragile", { failure: Schema.Literal("broken") }))
      class Fragiles extends Context.Service<Fragiles, RuntimeConfig.Agents<typeof Fragile.tools>>()("test/Fragiles") {}
      const config = yield* parse({ ...scripted({ tool: "fragile" }), agents: { a: { tools: ["fragile"] } } })
      const layer = RuntimeConfig.layer(Fragiles, config, { toolkit: Fragile })
      const handlers = Fragile.toLayer({ fragile: () => Effect.fail("broken" as const) })
      const run = Effect.flatMap(Fragiles, (bots) => bots.run("a", "x"))
      const provided = Effect.provide(run, Layer.provide(layer, Layer.merge(handlers, platform().layer)))
      assert.strictEqual(yield* Effect.flip(provided), "broken")
    })
  )
})
