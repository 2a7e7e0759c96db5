/**
 * The characters of a discourse, as their files describe them, and the system prompt that a description makes.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

const list = Schema.Array(Schema.String).pipe(Schema.withDecodingDefaultKey(Effect.succeed([])))

const optional = Schema.optionalKey(Schema.String)

/** How much of each emotion a character feels for whom, from 0 to 1. */
const Emotions = Schema.Record(
  Schema.String,
  Schema.Record(Schema.String, Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 })))
)

/** A character in detail. Lists that are left out are empty. */
export const Actor = Schema.Struct({
  id: Schema.String,
  type: Schema.String,
  identity: Schema.Struct({ name: Schema.NonEmptyString, role: Schema.String, archetype: Schema.String }),
  system_context: Schema.Struct({
    world: Schema.String,
    scene: Schema.String,
    mood: Schema.String,
    known_threats: list,
    party_members: list
  }),
  voice: Schema.Struct({ tone: Schema.String, style: Schema.String, speech_patterns: list }),
  goals: Schema.Struct({ primary: list, secondary: list }),
  behavior: Schema.Struct({
    initiative: optional,
    risk_tolerance: optional,
    cooperation: optional,
    emotional_control: optional
  }),
  activation: Schema.optionalKey(Schema.Struct({ speak_when: list, silent_when: list })),
  knowledge: Schema.optionalKey(Schema.Struct({ public: list, private: list })),
  memory: Schema.optionalKey(
    Schema.Struct({ persistent: Schema.Boolean, remembered: list, emotional_memory: Schema.optionalKey(Emotions) })
  ),
  capabilities: Schema.optionalKey(Schema.Struct({ skills: list }))
})
export type Actor = typeof Actor.Type

/** The system prompt of a character: a line for everything that is said of it. */
export const toSystemPrompt = (actor: Actor): string => {
  const { activation, behavior, capabilities, goals, identity, knowledge, memory, system_context, voice } = actor
  const sentence = (intro: string, items: ReadonlyArray<string> | undefined, separator = ", ") =>
    items === undefined || items.length === 0 ? [] : [`${intro}: ${items.join(separator)}.`]
  const traits = Object.entries(behavior).map(([trait, degree]) => `${degree} ${trait.replaceAll("_", " ")}`)
  return [
    `You are ${identity.name}, a ${identity.role} (${identity.archetype}) in a ${system_context.world} world.`,
    `Current scene: ${system_context.scene}. Mood: ${system_context.mood}.`,
    ...sentence("Known threats", system_context.known_threats),
    ...sentence("Party members present", system_context.party_members),
    `Your voice is ${voice.tone} and ${voice.style}.`,
    ...sentence("Speech patterns", voice.speech_patterns, "; "),
    ...sentence("Primary goals", goals.primary),
    ...sentence("Secondary goals", goals.secondary),
    ...sentence("Behavioral traits", traits),
    ...sentence("Speak when", activation?.speak_when),
    ...sentence("Remain silent when", activation?.silent_when),
    ...sentence("Public knowledge", knowledge?.public, "; "),
    ...sentence("Private knowledge (known only to you)", knowledge?.private, "; "),
    ...(memory?.persistent === true ? sentence("You remember", memory.remembered) : []),
    ...sentence("Skills", capabilities?.skills)
  ].join("\n")
}
