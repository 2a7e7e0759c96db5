/**
 * Calls of `OpenAiLlm`, without a network or with one, and what its tests have in common whichever API they speak.
 */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import type * as AiError from "effect/ai/AiError"
import type * as Prompt from "effect/ai/Prompt"
import * as Tool from "effect/ai/Tool"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Schema from "effect/Schema"
import * as History from "../../src/History.ts"
import type * as Llm from "../../src/Llm.ts"
import * as OpenAiLlm from "../../src/llm/OpenAiLlm.ts"

export const request = (overrides: Partial<Llm.LlmRequest> = {}): Llm.LlmRequest => ({
  instructions: "",
  history: History.appendUser(History.empty, "Hi"),
  tools: [],
  toolChoice: "auto",
  sampling: {},
  output: undefined,
  ...overrides
})

export interface Sent {
  readonly url: string
  readonly headers: Record<string, string>
  readonly body: Record<string, unknown>
}

/** One call without a network: `respond` plays the server. */
export const call = (
  respond: (sent: Sent) => Response,
  options: {
    readonly request?: Partial<Llm.LlmRequest>
    readonly llm?: Partial<OpenAiLlm.ServerOptions>
    readonly onDelta?: (delta: Llm.Delta) => void
  } = {}
) => {
  const fetch = async (url: unknown, init?: RequestInit) =>
    respond({
      url: String(url),
      headers: { ...(init?.headers as Record<string, string>) },
      body: JSON.parse(Buffer.from(init?.body as Uint8Array).toString("utf8"))
    })
  const { baseUrl = "https://api.openai.com/v1", ...llm } = options.llm ?? {}
  return OpenAiLlm.make({ model: "gpt-test", baseUrl, ...llm }).pipe(
    Effect.flatMap((llm) => llm.generate(request(options.request), options.onDelta)),
    Effect.provide(FetchHttpClient.layer),
    // Only what `FetchHttpClient` calls of `fetch` is here.
    Effect.provideService(FetchHttpClient.Fetch, fetch as typeof globalThis.fetch)
  )
}

export const json = (body: unknown, init?: ResponseInit): Response =>
  new Response(typeof body === "string" ? body : JSON.stringify(body), {
    headers: { "content-type": "application/json" },
    ...init
  })

export const events = (...pieces: ReadonlyArray<string | Uint8Array>): Response =>
  new Response(
    new ReadableStream({
      start: (controller) => {
        for (const piece of pieces) controller.enqueue(typeof piece === "string" ? encoder.encode(piece) : piece)
        controller.close()
      }
    }),
    { headers: { "content-type": "text/event-stream; charset=utf-8" } }
  )

export const encoder = new TextEncoder()

export const sse = (...chunks: ReadonlyArray<unknown>): string =>
  chunks.map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`).join("")

/** The deltas with neighbours of one kind joined. */
export const join = (deltas: ReadonlyArray<Llm.Delta>): ReadonlyArray<Llm.Delta> => {
  const out: Array<Llm.Delta> = []
  for (const delta of deltas) {
    const last = out.at(-1)
    const same = last?.type === delta.type && (delta.type !== "tool-params" || ("id" in last && last.id === delta.id))
    if (same && "delta" in last && "delta" in delta) out[out.length - 1] = { ...last, delta: last.delta + delta.delta }
    else out.push(delta)
  }
  return out
}

export const clients = [FetchHttpClient.layer, NodeHttpClient.layerUndici, NodeHttpClient.layerNodeHttp]

export const reasonOf = <A, R>(effect: Effect.Effect<A, AiError.AiError, R>) =>
  Effect.map(Effect.flip(effect), (error) => error.reason)

export const Weather = Tool.make("weather", {
  description: "Tells the weather",
  parameters: Schema.Struct({ city: Schema.String })
})

export const weatherSchema = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: true
}

export const weather = (id: string, params: unknown): Prompt.ToolCallPartEncoded => ({
  type: "tool-call",
  id,
  name: "weather",
  params
})
