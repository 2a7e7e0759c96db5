import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import * as History from "effect-agent-runtime/History"
import type { LlmRequest } from "effect-agent-runtime/Llm"
import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
import * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import { load } from "../docs/examples/discourse/files.ts"
import type { Player } from "../docs/examples/discourse/scene.ts"
import { play } from "../docs/examples/discourse/scene.ts"
import * as Program from "./support/program.ts"

const directory = fileURLToPath(new URL("../docs/examples/discourse/", import.meta.url))

/** A directory with these files, for as long as the test runs. */
const files = (contents: Readonly<Record<string, string>>) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const root = mkdtempSync(join(tmpdir(), "discourse-"))
      mkdirSync(join(root, "agents"))
      for (const [name, text] of Object.entries(contents)) writeFileSync(join(root, name), text)
      return root
    }),
    (root) => Effect.sync(() => rmSync(root, { recursive: true }))
  )

const config = "{ discussion: { topic: Tea }, llm: { provider: rehearsal }, moderator: m.yaml }"
const person = (name: string) => `{ name: ${name}, system_prompt: "You are ${name}." }`

const failsToLoad = Effect.fnUntraced(function* (contents: Readonly<Record<string, string>>) {
  const root = yield* files(contents)
  const error = yield* Effect.flip(load(join(root, "d.yaml")))
  return error.message.replaceAll(root, "")
}, Effect.provide(NodeServices.layer))

describe("the files of a discourse", () => {
  it.effect("are a configuration, a moderator, and a cast in the order of its files", () =>
    Effect.gen(function* () {
      const { cast, discussion, llm, moderator } = yield* load(`${directory}discourse.yaml`)
      assert.deepStrictEqual(discussion, { topic: "Whether to cross the old bridge tonight", memory: 40 })
      assert.deepStrictEqual(llm, { provider: "rehearsal" })
      assert.strictEqual(moderator.name, "Dungeon Master")
      assert.deepStrictEqual(
        cast.map(({ name }) => name),
        ["Sir Rowan", "Puck", "Mabel"]
      )
    }).pipe(Effect.provide(NodeServices.layer))
  )

  it.effect("describe a character line by line, and leave out what they do not say", () =>
    Effect.gen(function* () {
      const { cast } = yield* load(`${directory}discourse.yaml`)
      assert.deepStrictEqual(cast[1]?.instructions.split("\n"), [
        "You are Puck, a trickster (fool) in a half-forgotten fairy-tale world.",
        "Current scene: An old rope bridge over a gorge. Mood: uneasy.",
        "Known threats: the wind, whoever swings the lantern.",
        "Party members present: Sir Rowan, Mabel.",
        "Your voice is mocking and in riddles.",
        "Speech patterns: answers a question with a question.",
        "Primary goals: get across without paying the toll.",
        "Secondary goals: annoy Sir Rowan.",
        "Behavioral traits: high initiative, high risk tolerance, low cooperation, low emotional control.",
        "Speak when: somebody is being solemn.",
        "Remain silent when: it would help.",
        "Public knowledge: the bridge is old.",
        "Private knowledge (known only to you): the lantern is a signal to smugglers.",
        "You remember: the last bridge that he burned.",
        "Skills: juggling, running away."
      ])
      assert.deepStrictEqual(cast[2]?.instructions.split("\n"), [
        "You are Mabel, a hedge witch (sage) in a half-forgotten fairy-tale world.",
        "Current scene: An old rope bridge over a gorge. Mood: uneasy.",
        "Your voice is dry and short sentences.",
        "Primary goals: keep everybody alive until morning.",
        "Behavioral traits: low initiative, low risk tolerance, high cooperation, high emotional control."
      ])
    }).pipe(Effect.provide(NodeServices.layer))
  )

  it.effect.each([
    ["no cast", {}, "/agents: has no YAML file of an agent"],
    ["a key that nobody knows", { "agents/a.yml": "{ name: A, system_prompt: x, mood: sad }" }, "mood"],
    ["a character without a name", { "agents/a.yaml": "{ system_prompt: x }" }, "name"],
    ["a feeling beyond all measure", { "agents/a.yaml": "{ version: 1, actor: { memory: 5 } }" }, "memory"],
    ["what is not YAML", { "agents/a.yaml": "{ name: [" }, "/agents/a.yaml"]
  ] as const)("with %s are refused", ([, contents, said]) =>
    Effect.gen(function* () {
      assert.include(yield* failsToLoad({ "d.yaml": config, "m.yaml": person("M"), ...contents }), said)
    })
  )
})

/** What a model was told: the last user message of each request. */
const heard = (requests: ReadonlyArray<LlmRequest>) =>
  requests.map(({ history }) => {
    const last = History.last(history)
    return last?.role === "user" ? History.userText(last.content) : ""
  })

const speaks = (text: string) => JSON.stringify({ action: "respond", text })
const passes = JSON.stringify({ action: "pass" })
const leaves = JSON.stringify({ action: "leave" })

/** Plays rounds with scripted models. */
const stage = (scripts: Readonly<Record<string, ReadonlyArray<ScriptedLlm.Turn>>>, rounds: number, memory = 40) => {
  const models = Object.entries(scripts).map(([name, turns]) => ({ name, model: ScriptedLlm.make(turns) }))
  const asked: Array<number> = []
  const [moderator, ...cast] = models.map(({ model, name }): Player<never> => ({
    name,
    instructions: `You are ${name}.`,
    rehearsal: [],
    model
  }))
  return Effect.map(
    play({
      topic: "Tea",
      memory,
      moderator: moderator!,
      cast,
      intent: (round) =>
        Effect.sync(() => {
          asked.push(round)
          return round > rounds ? undefined : `intent ${round}`
        })
    }),
    (lines) => ({ lines, asked, heard: new Map(models.map(({ model, name }) => [name, heard(model.requests)])) })
  )
}

const broken = AiError.make({
  module: "Test",
  method: "generate",
  reason: new AiError.InternalProviderError({ description: "out of order" })
})

describe("a scene", () => {
  it.effect("goes on until the player wants nothing more", () =>
    Effect.gen(function* () {
      const { asked, lines } = yield* stage({ M: ["Tea is served.", "It is cold."], A: [speaks("Ah."), passes] }, 2)
      assert.deepStrictEqual(lines, ["[M]: Tea is served.", "[A]: Ah.", "[M]: It is cold."])
      assert.deepStrictEqual(asked, [1, 2, 3])
    })
  )

  it.effect("ends when everybody has left", () =>
    Effect.gen(function* () {
      const { asked, lines } = yield* stage({ M: ["Tea is served."], A: [leaves], B: [leaves] }, 9)
      assert.sameMembers(lines.slice(1), ["[A leaves the scene]", "[B leaves the scene]"])
      assert.deepStrictEqual(asked, [1])
    })
  )

  it.effect("takes a short answer for a contribution", () =>
    Effect.map(stage({ M: ["Tea?"], A: [speaks("No.")] }, 1), ({ lines }) => assert.include(lines, "[A]: No."))
  )

  it.effect("goes on when a model fails, that of the moderator too", () =>
    Effect.gen(function* () {
      const { lines } = yield* stage({ M: [broken], A: [broken, passes], B: [speaks("I am here."), passes] }, 1)
      assert.deepStrictEqual(lines, ["[M]: intent 1", "[B]: I am here."])
    })
  )

  it.effect("lets everybody hear who spoke before, in any order", () =>
    Effect.gen(function* () {
      for (let i = 0; i < 10; i++) {
        const { heard, lines } = yield* stage({ M: ["Tea?"], A: [speaks("a")], B: [speaks("b")], C: [speaks("c")] }, 1)
        for (const [name, [said]] of heard) {
          const earlier = lines.slice(0, name === "M" ? 0 : lines.findIndex((line) => line.startsWith(`[${name}]`)))
          for (const line of lines) assert.strictEqual(said?.split("\n").includes(line), earlier.includes(line))
          assert.include(said, "DM INTENT: intent 1")
        }
      }
    })
  )

  it.effect("is remembered as far as its memory goes", () =>
    Effect.gen(function* () {
      const rounds = 30
      const { heard } = yield* stage(
        { M: Array.from({ length: rounds }, (_, i) => `event ${i}.`), A: Array.from({ length: rounds }, () => passes) },
        rounds,
        5
      )
      const last = heard.get("A")?.at(-1)
      assert.deepStrictEqual(
        last?.match(/event \d+/g),
        [25, 26, 27, 28, 29].map((i) => `event ${i}`)
      )
    })
  )
})

it.live("the discourse plays from its files, without a model", () =>
  Effect.gen(function* () {
    const program = yield* Program.start([`${directory}main.ts`], { input: "They reach the bridge\nA signal\n" })
    const { code, stderr, stdout } = yield* program.ended
    assert.deepStrictEqual({ code, stderr }, { code: 0, stderr: "" })
    assert.include(stdout, "[Dungeon Master]: Night has fallen over the gorge.")
    assert.include(stdout, "(2 spoke, 0 left, 3 remain)")
    assert.include(stdout, "(2 spoke, 1 left, 2 remain)")
    const [, summary] = stdout.split("The scene:\n")
    assert.lengthOf(summary!.trimEnd().split("\n"), 7)
    assert.include(summary, "  [Puck leaves the scene]")
  }).pipe(Effect.scoped)
)
