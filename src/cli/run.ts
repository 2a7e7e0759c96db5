/**
 * `agent-runtime run`: runs an agent once, and shows what it does.
 */
import * as Cause from "effect/Cause"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Prompt from "effect/cli/Prompt"
import * as TerminalCapabilities from "effect/cli/TerminalCapabilities"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import { Usage } from "../Usage.ts"
import { RunEvent } from "../WorkflowEvent.ts"
import * as Failure from "./failure.ts"
import * as Render from "./render.ts"
import * as Setup from "./setup.ts"

const prompt = Argument.String("prompt").pipe(
  Argument.withDescription(
    "What to ask; put -- before one that begins with a dash. Without it the prompt is read from standard input, or asked "
      + "for"
  ),
  Argument.variadic(),
  Argument.map((words) => words.join(" ").trim())
)

const file = Flag.File("file", { mustExist: true }).pipe(
  Flag.withAlias("f"),
  Flag.withDescription("A file with the prompt"),
  Flag.optional
)

const json = Flag.Boolean("json").pipe(
  Flag.withDescription("Print the events of the run, one JSON value per line, and in the end its result"),
  Flag.withDefault(false)
)

/** The prompt, from wherever it comes. */
const readPrompt = Effect.fnUntraced(function* (words: string, file: Option.Option<string>) {
  if (words !== "") return words
  if (Option.isSome(file)) {
    const fs = yield* FileSystem.FileSystem
    return (yield* fs.readFileString(file.value)).trim()
  }
  const { canPrompt } = yield* TerminalCapabilities.TerminalCapabilities
  if (canPrompt) {
    const ask = Prompt.run(Prompt.String({ message: "What do you want to know?" }))
    // Ctrl-C and Ctrl-D.
    return (yield* Effect.catchTag(ask, "QuitError", () => Effect.interrupt)).trim()
  }
  const stdio = yield* Stdio.Stdio
  if (yield* stdio.stdinIsTerminal) return ""
  return (yield* Stream.mkString(Stream.decodeText(stdio.stdin))).trim()
})

/** The last line of `--json`. */
export const Result = Schema.Union([
  Schema.TaggedStruct("Result", {
    status: Schema.Literal("completed"),
    agent: Schema.String,
    text: Schema.String,
    output: Schema.Unknown,
    turns: Schema.Finite,
    usage: Usage
  }),
  Schema.TaggedStruct("Result", {
    status: Schema.Literal("completed"),
    workflow: Schema.String,
    output: Schema.Unknown,
    usage: Usage
  }),
  Schema.TaggedStruct("Result", {
    status: Schema.Literal("failed"),
    reason: Schema.String,
    message: Schema.String,
    exitCode: Schema.Finite
  }),
  Schema.TaggedStruct("Result", { status: Schema.Literal("interrupted") })
])

const encodeEvent = Schema.encodeEffect(Schema.fromJsonString(Schema.toCodecJson(RunEvent)))
const encodeResult = Schema.encodeEffect(Schema.fromJsonString(Schema.toCodecJson(Result)))

export const write = Effect.fnUntraced(function* (text: string) {
  const { stdout } = yield* Stdio.Stdio
  yield* Stream.run(Stream.make(text), stdout({ endOnDone: false }))
})

const writeResult = (result: typeof Result.Type) =>
  Effect.flatMap(Effect.orDie(encodeResult(result)), (line) => write(`${line}\n`))

const asJson = <E, R>(events: Stream.Stream<RunEvent, E, R>) =>
  Stream.runForEach(events, (event) =>
    Effect.gen(function* () {
      yield* write(`${yield* Effect.orDie(encodeEvent(event))}\n`)
      if (event.parentRunId !== undefined) return
      if (event._tag === "RunCompleted") {
        const { agent, output, text, turns, usage } = event
        yield* writeResult({ _tag: "Result", status: "completed", agent, text, output, turns, usage })
      } else if (event._tag === "WorkflowCompleted") {
        const { output, usage, workflow } = event
        yield* writeResult({ _tag: "Result", status: "completed", workflow, output, usage })
      }
    })
  )

const ended = (cause: Cause.Cause<Failure.Failure>): typeof Result.Type => {
  if (Cause.hasInterruptsOnly(cause)) return { _tag: "Result", status: "interrupted" }
  const { exitCode, message, reason } = Failure.from(Cause.squash(cause))
  return { _tag: "Result", status: "failed", reason, message, exitCode }
}

export const offlineNotice =
  "Model: an offline stand-in that does arithmetic and tells the time. For a real one, set OPENAI_MODEL and\n"
  + "OPENAI_BASE_URL (any server that speaks Chat Completions) or OPENAI_API_KEY, or name one in a configuration.\n\n"

const workflow = Flag.String("workflow").pipe(
  Flag.withAlias("w"),
  Flag.withDescription("The workflow to run, in place of an agent"),
  Flag.optional
)

const show = Effect.fnUntraced(function* <E, R>(events: Stream.Stream<RunEvent, E, R>, json: boolean) {
  if (json) return yield* asJson(events)
  const { canColor } = yield* TerminalCapabilities.TerminalCapabilities
  const shown = Stream.mapAccum(events, () => Render.initial, Render.step({ color: canColor, style: "run" }))
  yield* Stream.runForEach(shown, write)
})

const jsonInput = (text: string) =>
  Effect.mapError(Schema.decodeEffect(Schema.fromJsonString(Schema.Json))(text), () =>
    Failure.usage("The input of this workflow has to be JSON.")
  )

export const run = Command.make(
  "run",
  { prompt, file, json, workflow, session: Setup.sessionFlag, ...Setup.agentFlags },
  Effect.fnUntraced(
    function* ({ file, json, prompt, session, workflow, ...flags }) {
      const stdio = yield* Stdio.Stdio
      const notice = Effect.ignore(Effect.provideService(write(offlineNotice), Stdio.Stdio, stdio))
      const onOffline = json ? Effect.void : notice
      const read = Effect.filterOrFail(
        readPrompt(prompt, file),
        (text) => text !== "",
        () => Failure.usage('No prompt. Give one like this: agent-runtime run "What is 6 * 7?"')
      )
      if (Option.isSome(workflow)) {
        const { value: name } = workflow
        if ([flags.agent, flags.model, flags.maxTurns, session].some((flag) => flag._tag === "Some")) {
          return yield* Failure.usage(
            "--workflow does not go together with --agent, --model, --max-turns and --session."
          )
        }
        const { isJson, layer } = yield* Setup.prepareWorkflow(name, flags, onOffline)
        const text = yield* read
        const input = isJson ? yield* jsonInput(text) : text
        const events = Stream.unwrap(Effect.map(Setup.Agents, (agents) => agents.streamWorkflow(name, input)))
        return yield* Effect.provide(show(events, json), layer)
      }
      const { agent, layer } = yield* Setup.prepare(flags, onOffline)
      const events = Setup.streamOf(agent, session, yield* read)
      yield* Effect.provide(show(events, json), layer)
    },
    (effect, { json }) =>
      effect.pipe(
        Effect.mapError(Failure.from),
        Effect.onError((cause) => (json ? Effect.ignore(writeResult(ended(cause))) : Effect.void))
      )
  )
).pipe(
  Command.withDescription("Runs an agent or a workflow, and shows what it does."),
  Command.withExamples([
    { command: 'agent-runtime run "What is (5 + 3) * 2 - 4?"', description: "Ask the built-in agent" },
    { command: "agent-runtime run -c agents.yaml -a reviewer -f change.diff", description: "Run an agent of a file" },
    { command: "agent-runtime run -w support < mail.txt", description: "Run a workflow of agent-runtime.yaml" },
    { command: "agent-runtime run --json 'Hi' | jq .", description: "Read the events of a run" }
  ])
)
