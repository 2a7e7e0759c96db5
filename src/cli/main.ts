#!/usr/bin/env node
/**
 * The program `agent-runtime`.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Cause from "effect/Cause"
import * as CliConfig from "effect/cli/CliConfig"
import * as CliError from "effect/cli/CliError"
import * as CliOutput from "effect/cli/CliOutput"
import * as Command from "effect/cli/Command"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Runtime from "effect/Runtime"
import { bench } from "./bench.ts"
import { chat } from "./chat.ts"
import { config } from "./config.ts"
import { exitCodes } from "./failure.ts"
import { run } from "./run.ts"
import { workflow } from "./workflow.ts"

const formatter: CliOutput.Formatter = {
  ...CliOutput.defaultFormatter(),
  formatError: (error) => `Error: ${error.message}`
}

const program = Command.make("agent-runtime").pipe(
  Command.withDescription("Runs agents that are declared in a file, or one with a calculator and a clock."),
  Command.withSubcommands([run, chat, workflow, config, bench])
)

/** As usual, but wrong arguments have a code of their own. */
const teardown: Runtime.Teardown = (exit, onExit) => {
  const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
  if (CliError.isCliError(error) && error._tag === "ShowHelp" && error.errors.length > 0) {
    return onExit(exitCodes.usage)
  }
  Runtime.defaultTeardown(exit, onExit)
}

Command.run(program, { version: "0.1.0" }).pipe(
  Effect.onInterrupt(() => Console.error("\nInterrupted.")),
  Effect.provide([
    NodeServices.layer,
    CliOutput.layer(formatter),
    CliConfig.layer({ builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions] })
  ]),
  NodeRuntime.runMain({ teardown })
)
