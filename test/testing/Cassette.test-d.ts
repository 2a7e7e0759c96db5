import type { Llm } from "effect-agent-runtime/Llm"
import * as OpenAiLlm from "effect-agent-runtime/llm/OpenAiLlm"
import { Cassette, ScriptedLlm } from "effect-agent-runtime/testing"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import type * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import type * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import { describe, expectTypeOf, it } from "vitest"

const Tools = Toolkit.make(Tool.make("search"))
const ToolsLayer = Tools.toLayer({ search: () => Effect.void })

describe("a cassette", () => {
  it("gives the model, and needs what the layer needs", () => {
    const live = OpenAiLlm.layerConfig({ model: "gpt" })
    expectTypeOf(live.pipe(Cassette.layer({ store: Cassette.memory("a") }))).toEqualTypeOf<
      Layer.Layer<Llm, Cassette.CassetteError | Config.ConfigError, HttpClient.HttpClient>
    >()
  })

  it("gives the handlers of its toolkit, and needs files to be one", () => {
    const live = Layer.mergeAll(ToolsLayer, ScriptedLlm.layer([]))
    expectTypeOf(live.pipe(Cassette.layer({ store: Cassette.file("a.json"), toolkit: Tools }))).toEqualTypeOf<
      Layer.Layer<Llm | Tool.Handler<"search">, Cassette.CassetteError | Config.ConfigError, FileSystem.FileSystem>
    >()
  })

  it("refuses a layer that lacks the handlers of its toolkit", () => {
    const cassette = Cassette.layer({ store: Cassette.memory("a"), toolkit: Tools })
    // @ts-expect-error The handler of `search` is missing.
    cassette(ScriptedLlm.layer([]))
  })

  it("adds its mismatch to the failures", () => {
    expectTypeOf(Cassette.failOnMismatch(Effect.fail("a" as const))).toEqualTypeOf<
      Effect.Effect<never, "a" | Cassette.CassetteMismatch>
    >()
  })
})
