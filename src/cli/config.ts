/**
 * `agent-runtime config`: whether a configuration is right, and what may stand in one.
 */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as RuntimeConfig from "../RuntimeConfig.ts"
import * as Failure from "./failure.ts"
import { write } from "./run.ts"
import * as Setup from "./setup.ts"

const check = Command.make(
  "check",
  {
    file: Argument.File("file").pipe(
      Argument.withDescription("The configuration. Default: agent-runtime.yaml, .yml or .toml in this folder"),
      Argument.optional
    ),
    set: Setup.setFlag
  },
  Effect.fnUntraced(function* ({ file, set }) {
    const found = yield* Setup.findFile(file)
    if (found === undefined) {
      return yield* Failure.usage("There is no agent-runtime.yaml, .yml or .toml in this folder: name a file.")
    }
    const config = yield* RuntimeConfig.load(found, { set })
    const tools = yield* Setup.toolsOf(config)
    const problems = RuntimeConfig.check(config, yield* Setup.options(tools.toolkit, Effect.void))
    if (problems.length > 0) return yield* new RuntimeConfig.InvalidConfig({ problems })
    const { agents = {}, models = {}, workflows = {} } = config.settings
    const list = (what: string, named: object) =>
      Object.keys(named).length === 0 ? "" : `${what}: ${Object.keys(named).join(", ")}\n`
    yield* write(
      `${found} is right.\n${list("Agents", agents)}${list("Workflows", workflows)}${list("Models", models)}`
    )
  }, Effect.mapError(Failure.from))
).pipe(Command.withDescription("Says what is wrong with a configuration, and where. Secrets are not looked up."))

const schema = Command.make(
  "schema",
  {},
  Effect.fnUntraced(function* () {
    yield* write(`${JSON.stringify(RuntimeConfig.jsonSchema(), null, 2)}\n`)
  })
).pipe(Command.withDescription("Prints the JSON Schema of configurations, for editors."))

export const config = Command.make("config").pipe(
  Command.withDescription("Checks configurations."),
  Command.withSubcommands([check, schema])
)
