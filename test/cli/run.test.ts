import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, it } from "@effect/vitest"
import type * as Cause from "effect/Cause"
import * as Command from "effect/cli/Command"
import { TerminalCapabilities } from "effect/cli/TerminalCapabilities"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Terminal from "effect/Terminal"
import { run } from "../../src/cli/run.ts"

it.effect("is interrupted by Ctrl-C where it asks what to ask", () =>
  Effect.gen(function* () {
    const keys = yield* Queue.make<Terminal.UserInput, Cause.Done>()
    yield* Queue.offer(keys, { input: Option.none(), key: { name: "c", ctrl: true, meta: false, shift: false } })
    yield* Queue.end(keys)
    const terminal = Terminal.make({
      columns: Effect.succeed(80),
      rows: Effect.succeed(24),
      size: Queue.make<Terminal.Size, Cause.Done>(),
      readInput: Effect.succeed(keys),
      readLine: Effect.never,
      display: () => Effect.void
    })
    const exit = yield* Command.runWith(run, { version: "0.0.0" })(["--model", "offline"]).pipe(
      Effect.provideService(Terminal.Terminal, terminal),
      Effect.provideService(TerminalCapabilities, { canColor: false, canAnimate: false, canPrompt: true }),
      Effect.provide(NodeServices.layer),
      Effect.exit
    )
    assert.isTrue(Exit.hasInterrupts(exit) && !Exit.hasFails(exit))
  })
)
