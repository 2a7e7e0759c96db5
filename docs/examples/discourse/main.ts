/**
 * Several agents at one table: a moderator and characters from YAML files, on any provider, or without one: then they
 * play what their files have for a rehearsal.
 *
 *     node docs/examples/discourse/main.ts
 *
 * `DISCOURSE_CONFIG` names another configuration than the one beside this file.
 */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Llm from "effect-agent-runtime/Llm"
import * as AnthropicLlm from "effect-agent-runtime/llm/AnthropicLlm"
import * as OpenAiLlm from "effect-agent-runtime/llm/OpenAiLlm"
import * as Retry from "effect-agent-runtime/middleware/Retry"
import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
import * as Config from "effect/Config"
import * as Console from "effect/Console"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Path from "effect/Path"
import * as Pull from "effect/Pull"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import type { Part } from "./files.ts"
import { load } from "./files.ts"
import { play } from "./scene.ts"

const here = Effect.flatMap(Path.Path, (path) => path.fromFileUrl(new URL("discourse.yaml", import.meta.url)))

/** Asks for a line at a time. An empty one is none. */
const typed = Effect.gen(function* () {
  const { stdin } = yield* Stdio.Stdio
  const next = yield* stdin.pipe(Stream.decodeText, Stream.splitLines, Stream.rechunk(1), Stream.toPull)
  return (question: string) =>
    Effect.andThen(Console.log(question), next).pipe(
      Effect.map(([line]) => line.trim() || undefined),
      Pull.catchDone(() => Effect.undefined),
      Effect.orDie
    )
})

/** What a part plays without a model. When that is used up, its calls fail, and it has nothing more to say. */
const rehearse = <Line>({ rehearsal }: Part<Line>) =>
  ScriptedLlm.make(rehearsal.map((line) => (typeof line === "string" ? line : JSON.stringify(line))))

export const program = Effect.gen(function* () {
  const path = yield* Config.String("DISCOURSE_CONFIG").pipe(Config.withDefault(yield* here))
  const { cast, discussion, llm, moderator } = yield* load(path)
  const options = {
    ...(llm.model === undefined ? {} : { model: llm.model }),
    ...(llm.base_url === undefined ? {} : { baseUrl: llm.base_url })
  }
  // Everybody shares the connection and the limits of one model.
  const shared =
    llm.provider === "rehearsal"
      ? undefined
      : yield* Layer.build(
          (llm.provider === "anthropic" ? AnthropicLlm.layerConfig(options) : OpenAiLlm.layerConfig(options)).pipe(
            Llm.withMiddleware(Retry.make()),
            Layer.provide(NodeHttpClient.layerUndici)
          )
        )
  const withModel = <Line>(part: Part<Line>) => ({
    ...part,
    model: shared === undefined ? rehearse(part) : Context.get(shared, Llm.Llm)
  })

  const ask = yield* typed
  const lines = yield* play({
    topic: discussion.topic,
    memory: discussion.memory,
    moderator: withModel(moderator),
    cast: cast.map(withModel),
    intent: (round) => ask(`DM intent for round ${round} >`)
  })
  yield* Console.log(`The scene:\n${lines.map((line) => `  ${line}`).join("\n")}`)
}).pipe(Effect.scoped, Effect.provide(NodeServices.layer))

if (import.meta.main) NodeRuntime.runMain(program)
