import * as Cause from "effect/Cause"
/**
 * `agent-runtime chat`: a conversation with an agent. Ctrl-C stops an answer; at the prompt it ends the conversation.
 */
import * as Command from "effect/cli/Command"
import * as Prompt from "effect/cli/Prompt"
import * as TerminalCapabilities from "effect/cli/TerminalCapabilities"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as Agent from "../Agent.ts"
import type { AgentEvent } from "../AgentEvent.ts"
import * as History from "../History.ts"
import * as Failure from "./failure.ts"
import * as Render from "./render.ts"
import { offlineNotice, write } from "./run.ts"
import * as Setup from "./setup.ts"

/** What a user says, until there is no more: lines of the terminal, or of standard input. */
const lines = Effect.gen(function* () {
  const { canPrompt } = yield* TerminalCapabilities.TerminalCapabilities
  if (canPrompt) {
    const ask = Prompt.run(Prompt.String({ message: "you" }))
    // Ctrl-C and Ctrl-D end the conversation.
    return Stream.fromEffectRepeat(ask).pipe(Stream.catchTag("QuitError", () => Stream.empty))
  }
  const { stdin } = yield* Stdio.Stdio
  return Stream.splitLines(Stream.decodeText(stdin))
})

/** Runs an effect so that Ctrl-C interrupts it, and not the program. */
const interruptible = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<Exit.Exit<A, E>, never, R> =>
  Effect.acquireUseRelease(
    Effect.sync(() => {
      const others = process.listeners("SIGINT")
      process.removeAllListeners("SIGINT")
      return others
    }),
    () =>
      Effect.gen(function* () {
        const fiber = yield* Effect.forkChild(effect)
        process.on("SIGINT", () => fiber.interruptUnsafe())
        return yield* Fiber.await(fiber)
      }),
    (others) =>
      Effect.sync(() => {
        process.removeAllListeners("SIGINT")
        for (const listener of others) process.on("SIGINT", listener)
      })
  )

export const chat = Command.make(
  "chat",
  { session: Setup.sessionFlag, ...Setup.agentFlags },
  Effect.fnUntraced(function* ({ session, ...flags }) {
    const stdio = yield* Stdio.Stdio
    const notice = Effect.ignore(Effect.provideService(write(offlineNotice), Stdio.Stdio, stdio))
    const { agent: name, layer } = yield* Setup.prepare(flags, notice)
    const { canColor } = yield* TerminalCapabilities.TerminalCapabilities
    const show = Render.step({ color: canColor, style: "chat" })

    yield* Effect.gen(function* () {
      const agents = yield* Setup.Agents
      const { agent } = yield* agents.get(name)
      let history = History.empty

      /** One answer. What was said is kept however it ends. */
      const answer = Effect.fnUntraced(function* (prompt: string) {
        const events: Array<AgentEvent> = []
        // A session keeps the conversation itself.
        const stream = Option.isSome(session)
          ? Setup.streamOf(name, session, prompt)
          : agents.stream(name, { history, prompt })
        const run = stream.pipe(
          Stream.tap((event) => Effect.sync(() => events.push(event))),
          Stream.mapAccum(() => Render.initial, show),
          Stream.runForEach(write)
        )
        const exit = yield* interruptible(run)
        if (events.length > 0) history = Agent.fold(agent, events).history
        if (Exit.isSuccess(exit)) return
        if (Cause.hasInterruptsOnly(exit.cause)) return yield* write("\n  Interrupted.\n")
        const { message } = Failure.from(Cause.squash(exit.cause))
        yield* write(`  ${message}\n`)
      })

      yield* Stream.runForEach(yield* lines, (line) => (line.trim() === "" ? Effect.void : answer(line.trim())))
    }).pipe(Effect.provide(layer))
  }, Effect.mapError(Failure.from))
).pipe(
  Command.withDescription(
    "Talks with an agent. Ctrl-C stops an answer; at the prompt, Ctrl-C or Ctrl-D ends the conversation. Without a "
      + "terminal, each line of standard input is a message."
  )
)
