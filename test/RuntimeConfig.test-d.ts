import { describe, expectTypeOf, it } from "@effect/vitest"
import type { AgentResult } from "effect-agent-runtime/Agent"
import type { AgentError } from "effect-agent-runtime/AgentError"
import type * as Llm from "effect-agent-runtime/Llm"
import * as RuntimeConfig from "effect-agent-runtime/RuntimeConfig"
import type * as AiError from "effect/ai/AiError"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import type * as HttpClient from "effect/http/HttpClient"
import type * as Layer from "effect/Layer"
import type * as Path from "effect/Path"
import * as Schema from "effect/Schema"

class Broken extends Schema.TaggedError<Broken>()("Broken", {}) {}
class Fuel extends Context.Service<Fuel, number>()("Fuel") {}
class Offline extends Schema.TaggedError<Offline>()("Offline", {}) {}

const Tools = Toolkit.make(
  Tool.make("safe", { failureMode: "return" }),
  Tool.make("fragile", { failure: Broken, dependencies: [Fuel] })
)

class Bots extends Context.Service<Bots, RuntimeConfig.Agents<typeof Tools.tools>>()("Bots") {}
class Plain extends Context.Service<Plain, RuntimeConfig.Agents>()("Plain") {}

type Platform = HttpClient.HttpClient | FileSystem.FileSystem | Path.Path

describe("a layer", () => {
  it("needs the platform, and no more without tools", () => {
    expectTypeOf(RuntimeConfig.layer(Plain, "agents.yaml")).toEqualTypeOf<
      Layer.Layer<Plain, RuntimeConfig.InvalidConfig, Platform>
    >()
  })

  it("needs the handlers of the tools and their services", () => {
    expectTypeOf(RuntimeConfig.layer(Bots, "agents.yaml", { toolkit: Tools })).toEqualTypeOf<
      Layer.Layer<Bots, RuntimeConfig.InvalidConfig, Platform | Tool.Handler<"safe"> | Tool.Handler<"fragile"> | Fuel>
    >()
  })

  it("fails and needs as the program's models do", () => {
    const house = null as unknown as Layer.Layer<Llm.Llm, Offline, Fuel>
    expectTypeOf(RuntimeConfig.layer(Plain, "agents.yaml", { models: { house } })).toEqualTypeOf<
      Layer.Layer<Plain, RuntimeConfig.InvalidConfig | Offline, Platform | Fuel>
    >()
  })
})

describe("a run", () => {
  it("needs nothing, and fails as its tools do", () => {
    const bots = null as unknown as RuntimeConfig.Agents<typeof Tools.tools>
    expectTypeOf(bots.run("a", "x")).toEqualTypeOf<
      Effect.Effect<AgentResult<Schema.Json>, AgentError | RuntimeConfig.UnknownAgent | Broken | AiError.AiError>
    >()
  })
})
