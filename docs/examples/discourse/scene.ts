/**
 * Plays a discourse: a moderator takes up what the player wants, then each character speaks, passes or leaves.
 */
import * as Agent from "effect-agent-runtime/Agent"
import * as Llm from "effect-agent-runtime/Llm"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type { Part } from "./files.ts"
import { Move } from "./files.ts"

/** A part and the model that plays it. */
export interface Player<Line> extends Part<Line> {
  readonly model: Llm.Llm["Service"]
}

export interface Play {
  readonly topic: string
  /** How many lines the players remember. */
  readonly memory: number
  readonly moderator: Player<string>
  readonly cast: ReadonlyArray<Player<Move>>
  /** What the player wants to happen in a round; nothing ends the scene. */
  readonly intent: (round: number) => Effect.Effect<string | undefined>
}

/** Plays until everybody has left or the player wants nothing more. Returns all that was said. */
export const play = Effect.fnUntraced(function* ({ cast, intent, memory, moderator, topic }: Play) {
  const lines: Array<string> = []
  const say = (line: string) => {
    lines.push(line)
    return Console.log(line)
  }
  const prompt = (wanted: string, duty: string) =>
    [`TOPIC: ${topic}`, "CURRENT SCENE:", ...lines.slice(-memory), "", `DM INTENT: ${wanted}`, "", duty].join("\n")

  let present = cast
  for (let round = 1; present.length > 0; round++) {
    const wanted = yield* intent(round)
    if (wanted === undefined) break
    const narrator = Agent.make(moderator.name, { instructions: moderator.instructions })
    yield* Agent.run(narrator, prompt(wanted, "Tell the table what happens.")).pipe(
      Effect.map(({ text }) => text),
      // Without its moderator the table hears the player.
      Effect.catchTag("AgentError", () => Effect.succeed(wanted)),
      Effect.flatMap((text) => say(`[${moderator.name}]: ${text}`)),
      Effect.provideService(Llm.Llm, moderator.model)
    )

    const count = { spoke: 0, left: 0 }
    for (const player of yield* Random.shuffle(present)) {
      const move = yield* decide(player, prompt(wanted, `You are ${player.name}. ${choices}`))
      if (move.action === "respond") {
        count.spoke++
        yield* say(`[${player.name}]: ${move.text}`)
      } else if (move.action === "leave") {
        count.left++
        present = present.filter((other) => other !== player)
        yield* say(`[${player.name} leaves the scene]`)
      }
    }
    yield* Console.log(`(${count.spoke} spoke, ${count.left} left, ${present.length} remain)\n`)
  }
  return lines
})

const choices =
  "Respond with your contribution, pass, or leave. Leave if you are done with the scene or have nothing more to add."

/** What a character does. One that fails has nothing to say this time. */
const decide = (player: Player<Move>, prompt: string): Effect.Effect<Move> =>
  Agent.run(Agent.make(player.name, { instructions: player.instructions, output: Move }), prompt).pipe(
    Effect.map(({ output }) => output),
    Effect.catchTag("AgentError", ({ reason }) =>
      Effect.as(Console.log(`(${player.name} says nothing: ${reason.message})`), { action: "pass" } as const)
    ),
    Effect.provideService(Llm.Llm, player.model)
  )
