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
export const isOffline = Config.all({
  baseUrl: Config.option(Config.String("OPENAI_BASE_URL")),
  apiKey: Config.option(Config.Redacted("OPENAI_API_KEY"))
}).pipe(Config.map(({ apiKey, baseUrl }) => Option.isNone(apiKey) && Option.isNone(baseUrl)))

export const layer = Layer.unwrap(Effect.map(isOffline, (offline) => (offline ? OfflineModel.layer : server)))
