/**
 * The command: asks an agent with a calculator, and shows its run.
 */
import * as Argument from "effect/cli/Argument"
import * as CliError from "effect/cli/CliError"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Prompt from "effect/cli/Prompt"
import * as TerminalCapabilities from "effect/cli/TerminalCapabilities"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as Agent from "../Agent.ts"
import { AgentEvent } from "../AgentEvent.ts"
import * as StopCondition from "../StopCondition.ts"
import * as Model from "./model.ts"
import * as Problem from "./problem.ts"
import * as Render from "./render.ts"
import * as Tools from "./tools.ts"

const question = Argument.String("question").pipe(
  Argument.withDescription(
    "What to ask; put -- before one that begins with a dash. Without it the question is read from standard input, or "
      + "asked for"
  ),
  Argument.variadic(),
  Argument.map((words) => words.join(" ").trim())
)

const json = Flag.Boolean("json").pipe(
  Flag.withDescription("Print the events of the run, one JSON value per line"),
  Flag.withDefault(false)
)

const maxTurns = Flag.Int("max-turns").pipe(
  Flag.withDescription("How often the model may be called (default 20)"),
  Flag.withSchema(Schema.Int.check(Schema.isGreaterThanOrEqualTo(1))),
  Flag.withDefault(20)
)

const stdin = Effect.gen(function* () {
  const { canPrompt } = yield* TerminalCapabilities.TerminalCapabilities
  if (canPrompt) return yield* Prompt.String({ message: "What do you want to know?" })
  const stdio = yield* Stdio.Stdio
  if (yield* stdio.stdinIsTerminal) return ""
  return yield* Stream.mkString(Stream.decodeText(stdio.stdin))
})

const assistant = (maxTurns: number) =>
  Agent.make("assistant", {
    instructions:
      "You are a helpful assistant. Use the calculator for all arithmetic, one operation per call; make independent "
      + "calls at the same time. Answer in one short sentence.",
    toolkit: Tools.toolkit,
    stopWhen: StopCondition.maxTurns(maxTurns)
  })

const encode = Schema.encodeEffect(Schema.fromJsonString(Schema.toCodecJson(AgentEvent)))

const toJson = <E, R>(events: Stream.Stream<AgentEvent, E, R>) =>
  Stream.mapEffect(events, (event) => Effect.map(Effect.orDie(encode(event)), (line) => `${line}\n`))

const notice =
  "Model: an offline stand-in that does arithmetic and tells the time. For a real one, set OPENAI_MODEL and\n"
  + "OPENAI_BASE_URL (any server that speaks Chat Completions) or OPENAI_API_KEY.\n\n"

export const ask = Command.make(
  "ask",
  { question, json, maxTurns },
  Effect.fnUntraced(
    function* ({ json, maxTurns, question }) {
      const prompt = question === "" ? (yield* stdin).trim() : question
      if (prompt === "") {
        return yield* new CliError.UserError({ cause: 'No question. Ask one like this: npm start -- "What is 6 * 7?"' })
      }
      const events = Agent.stream(assistant(maxTurns), prompt)
      const { stdout } = yield* Stdio.Stdio
      if (json) return yield* Stream.run(toJson(events), stdout())

      const { canColor } = yield* TerminalCapabilities.TerminalCapabilities
      const text = Stream.mapAccum(events, () => Render.initial, Render.step(canColor))
      yield* Stream.run((yield* Model.isOffline) ? Stream.prepend(text, [notice]) : text, stdout())
    },
    Effect.provide([Model.layer, Tools.layer]),
    Effect.catchTag(["AgentError", "ConfigError", "PlatformError"], (cause) =>
      Effect.fail(new CliError.UserError({ cause, userMessage: Problem.describe(cause) }))
    )
  )
).pipe(Command.withDescription("Asks an agent that has a calculator and a clock, and shows what it does."))
