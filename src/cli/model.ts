/**
 * The models that the command line has besides those of a configuration: `environment`, a server that speaks OpenAI's
 * Chat Completions and is named by the environment, and `offline`, the stand-in.
 */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Llm from "../Llm.ts"
import * as OpenAiLlm from "../llm/OpenAiLlm.ts"
import * as OfflineModel from "./offlineModel.ts"

const environment = Layer.provide(OpenAiLlm.layerConfig(), NodeHttpClient.layerUndici)

/** Whether there is nothing in the environment that asks for a server. */
const isOffline = Config.map(
  Config.all(
    ["OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_MODEL", "LLAMA_BASE_URL"].map((name) =>
      Config.option(Config.Redacted(name))
    )
  ),
  (settings) => settings.every(Option.isNone)
)

/** The one of them that agents get that name none. */
export const defaultModel = Effect.map(isOffline, (offline) => (offline ? "offline" : "environment"))

/** Both. `onOffline` is run when the stand-in is used. */
export const models = (onOffline: Effect.Effect<void>) => ({
  environment,
  offline: Layer.effect(Llm.Llm, Effect.as(onOffline, Llm.make(OfflineModel.generate)))
})
