/**
 * The model of the command-line agent: a server that speaks OpenAI's Chat Completions when the environment names one,
 * the offline stand-in otherwise.
 */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as OpenAiLlm from "../llm/OpenAiLlm.ts"
import * as OfflineModel from "./offlineModel.ts"

const server = Layer.provide(OpenAiLlm.layerConfig(), NodeHttpClient.layerUndici)

/** Whether there is nothing in the environment that asks for a server. */
export const isOffline = Config.map(
  Config.all(
    ["OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_MODEL", "LLAMA_BASE_URL"].map((name) =>
      Config.option(Config.Redacted(name))
    )
  ),
  (settings) => settings.every(Option.isNone)
)

export const layer = Layer.unwrap(Effect.map(isOffline, (offline) => (offline ? OfflineModel.layer : server)))
