/**
 * How the programs of this folder refuse what they are asked: one line that says why, and the exit code 1.
 */
import * as CliError from "effect/cli/CliError"
import * as CliOutput from "effect/cli/CliOutput"

export const problem = (line: string): CliError.UserError => new CliError.UserError({ cause: line })

export const layer = CliOutput.layer({
  ...CliOutput.defaultFormatter(),
  formatError: (error) => `Error: ${error.message}`
})
