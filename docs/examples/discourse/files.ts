/**
 * Reads a discourse: its configuration, its moderator and its cast, from YAML files.
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Path from "effect/Path"
import * as Schema from "effect/Schema"
import { parse } from "yaml"
import { Actor, toSystemPrompt } from "./actor.ts"

/** What a character does when it is its turn. */
export const Move = Schema.Union([
  Schema.Struct({ action: Schema.Literal("respond"), text: Schema.NonEmptyString }),
  Schema.Struct({ action: Schema.Literal("pass") }),
  Schema.Struct({ action: Schema.Literal("leave") })
])
export type Move = typeof Move.Type

const orEmpty = <S extends Schema.Top>(line: S) =>
  Schema.Array(line).pipe(Schema.withDecodingDefaultKey(Effect.succeed([])))

const Discourse = Schema.Struct({
  discussion: Schema.Struct({
    topic: Schema.String,
    memory: Schema.Int.check(Schema.isGreaterThanOrEqualTo(1)).pipe(Schema.withDecodingDefaultKey(Effect.succeed(40)))
  }),
  llm: Schema.Struct({
    provider: Schema.Literals(["rehearsal", "openai", "anthropic"]),
    model: Schema.optionalKey(Schema.String),
    base_url: Schema.optionalKey(Schema.String)
  }),
  moderator: Schema.String,
  agents_dir: Schema.String.pipe(Schema.withDecodingDefaultKey(Effect.succeed("./agents")))
})

const Moderator = Schema.Struct({
  name: Schema.NonEmptyString,
  system_prompt: Schema.NonEmptyString,
  rehearsal: orEmpty(Schema.String)
})

const Character = Schema.Union([
  Schema.Struct({ ...Moderator.fields, rehearsal: orEmpty(Move) }),
  Schema.Struct({ version: Schema.Literal(1), actor: Actor, rehearsal: orEmpty(Move) })
])

/** A file that does not say what it should. */
export class InvalidFile extends Data.TaggedError("InvalidFile")<{ readonly path: string; readonly issue: string }> {
  override get message(): string {
    return `${this.path}: ${this.issue}`
  }
}

/** Who takes part: a name, instructions for a model, and what to say when there is none. */
export interface Part<Line> {
  readonly name: string
  readonly instructions: string
  readonly rehearsal: ReadonlyArray<Line>
}

const read = Effect.fnUntraced(function* <S extends Schema.ConstraintDecoder<unknown>>(path: string, schema: S) {
  const fs = yield* FileSystem.FileSystem
  const text = yield* fs.readFileString(path)
  return yield* Effect.try({ try: (): unknown => parse(text), catch: String }).pipe(
    Effect.flatMap(Schema.decodeUnknownEffect(schema, { onExcessProperty: "error", errors: "all" })),
    Effect.mapError((error) => new InvalidFile({ path, issue: typeof error === "string" ? error : error.message }))
  )
})

/** A discourse as `path` and the files it names describe it. */
export const load = Effect.fnUntraced(function* (path: string) {
  const fs = yield* FileSystem.FileSystem
  const { dirname, resolve } = yield* Path.Path
  const { agents_dir, discussion, llm, moderator } = yield* read(path, Discourse)
  const near = (file: string) => resolve(dirname(path), file)

  const leader = yield* read(near(moderator), Moderator)
  const directory = near(agents_dir)
  const files = (yield* fs.readDirectory(directory)).filter((file) => /\.ya?ml$/.test(file)).toSorted()
  if (files.length === 0) return yield* new InvalidFile({ path: directory, issue: "has no YAML file of an agent" })
  const characters = yield* Effect.forEach(files, (file) => read(resolve(directory, file), Character))

  const cast = characters.map((character): Part<Move> =>
    "actor" in character
      ? {
          name: character.actor.identity.name,
          instructions: toSystemPrompt(character.actor),
          rehearsal: character.rehearsal
        }
      : { name: character.name, instructions: character.system_prompt, rehearsal: character.rehearsal }
  )
  const { name, rehearsal, system_prompt: instructions } = leader
  return { discussion, llm, moderator: { name, instructions, rehearsal } satisfies Part<string>, cast }
})
