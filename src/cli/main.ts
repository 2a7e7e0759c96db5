/**
 * The program behind `npm start`.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as CliConfig from "effect/cli/CliConfig"
import * as CliOutput from "effect/cli/CliOutput"
import * as Command from "effect/cli/Command"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { ask } from "./ask.ts"

const formatter: CliOutput.Formatter = {
  ...CliOutput.defaultFormatter(),
  formatError: (error) => `Error: ${error.message}`
}

Command.run(ask, { version: "0.1.0" }).pipe(
  Effect.onInterrupt(() => Console.error("\nInterrupted.")),
  Effect.provide([
    NodeServices.layer,
    CliOutput.layer(formatter),
    CliConfig.layer({ builtIns: [GlobalFlag.Help, GlobalFlag.Version] })
  ]),
  NodeRuntime.runMain
)
