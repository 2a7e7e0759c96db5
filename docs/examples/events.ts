/**
 * Watching runs from elsewhere in the application: everything that a run does goes through the hub in its context.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Agent from "effect-agent-runtime/Agent"
import * as EventHub from "effect-agent-runtime/EventHub"
import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"

const Dice = Toolkit.make(Tool.make("roll", { description: "Rolls a die", success: Schema.Int }))

const player = Agent.make("player", { toolkit: Dice })

/** What happens to agents and tools until the first run has ended. `from: 0` includes what has happened already. */
const audit = EventHub.stream({ scopes: ["agent", "tool"], from: 0 }).pipe(
  Stream.takeUntil((event) => event._tag === "RunCompleted"),
  Stream.runForEach((event) =>
    // A subscriber that is too slow is told how much it has missed. It never slows a run down.
    event._tag === "Lagged"
      ? Console.log(`missed ${event.dropped} events`)
      : Console.log(`${event.offset} ${event._tag}${"name" in event ? ` ${event.name}` : ""}`)
  )
)

export const program = Effect.gen(function* () {
  const auditing = yield* Effect.forkChild(audit)
  const { output } = yield* Agent.run(player, "Roll the die")
  yield* Fiber.join(auditing)
  yield* Console.log(output)
}).pipe(
  Effect.provide([
    EventHub.layer(),
    Dice.toLayer({ roll: () => Effect.succeed(4) }),
    ScriptedLlm.layer([{ tool: "roll" }, "You rolled a four."])
  ])
)

if (import.meta.main) NodeRuntime.runMain(program)
