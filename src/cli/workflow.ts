/**
 * `agent-runtime workflow`: what workflows look like.
 */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Mermaid from "../Mermaid.ts"
import * as RuntimeConfig from "../RuntimeConfig.ts"
import * as Failure from "./failure.ts"
import { write } from "./run.ts"
import * as Setup from "./setup.ts"

const diagram = Command.make(
  "diagram",
  {
    name: Argument.String("workflow").pipe(Argument.withDescription("The workflow")),
    config: Setup.configFlag,
    set: Setup.setFlag,
    direction: Flag.Literals("direction", ["TD", "LR"]).pipe(
      Flag.withDescription("From the top down, or from left to right"),
      Flag.withDefault("TD")
    )
  },
  Effect.fnUntraced(function* ({ config, direction, name, set }) {
    const read = yield* Setup.read(yield* Setup.findFile(config), set)
    const shape = yield* RuntimeConfig.workflowShape(read, name)
    yield* write(`${Mermaid.flowchart(shape, undefined, { direction }).trimEnd()}\n`)
  }, Effect.mapError(Failure.from))
).pipe(Command.withDescription("Prints a workflow as a Mermaid diagram, without running anything."))

export const workflow = Command.make("workflow").pipe(
  Command.withDescription("Shows workflows."),
  Command.withSubcommands([diagram])
)
