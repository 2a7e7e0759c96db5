/**
 * A model behind an HTTP API: sends one request per call, reads the answer whole or as server-sent events, bounded in
 * time and size, and turns whatever goes wrong into reasons of `AiError`. What requests and answers look like is the
 * provider's {@link Dialect}.
 */
import * as AiError from "effect/ai/AiError"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Sse from "effect/encoding/Sse"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as UrlParams from "effect/http/UrlParams"
import * as Redacted from "effect/Redacted"
import type * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Llm from "../Llm.ts"
import * as HttpAiError from "./httpAiError.ts"
import { isDeepText } from "./json.ts"

/** How long to wait; what the options of all providers have in common. */
export interface Timeouts {
  /**
   * The longest wait for a response to begin, the connection included. Default: 5 minutes, because an answer that is
   * not streamed begins when it is complete, and local servers read the whole prompt first.
   */
  readonly firstByteTimeout?: Duration.Input | undefined
  /** The longest silence within a response. Default: 2 minutes. */
  readonly idleTimeout?: Duration.Input | undefined
  /** The longest that a whole call may take. Default: no limit. */
  readonly totalTimeout?: Duration.Input | undefined
}

/** An answer that is being read. */
export interface Answer {
  /** Takes in a whole response or the data of one event; returns what is wrong with it. */
  readonly read: (data: string) => AiError.AiErrorReason | undefined
  /** Whether the model has finished, so that what follows can add nothing but counts. */
  readonly isComplete: () => boolean
  readonly end: () => Result.Result<Llm.LlmResponse, AiError.AiErrorReason>
}

/** What an {@link Answer} is made with. */
export interface AnswerOptions {
  readonly origin: HttpAiError.Origin
  readonly onDelta: ((delta: Llm.Delta) => void) | undefined
  /** The id of the `n`th tool call if the server gives it none. */
  readonly missingId: (n: number) => string
}

/** An API. */
export interface Dialect extends Timeouts {
  /** The module that speaks it, for errors. */
  readonly module: string
  /** The key of the provider in the metadata of parts and errors. */
  readonly provider: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  /** Goes into the header that {@link authorize} makes. */
  readonly apiKey: Redacted.Redacted | undefined
  readonly authorize: (apiKey: string) => Readonly<Record<string, string>>
  /** The body of a request, to be written as JSON: what is `undefined` is absent. */
  readonly body: (request: Llm.LlmRequest, isStream: boolean) => unknown
  readonly answer: (options: AnswerOptions) => Answer
}

// More than any answer has: a server that never stops must not fill the memory.
const maxResponseBytes = 64 * 1024 * 1024

interface Connection {
  readonly dialect: Dialect
  readonly client: HttpClient.HttpClient.With<HttpClientError.HttpClientError, Scope.Scope>
  readonly template: HttpClientRequest.HttpClientRequest
  readonly origin: HttpAiError.Origin
  readonly firstByteTimeout: Duration.Duration
  readonly idleTimeout: Duration.Duration
  readonly totalTimeout: Duration.Duration
}

export const make = (dialect: Dialect): Effect.Effect<Llm.Llm["Service"], never, HttpClient.HttpClient> =>
  Effect.map(HttpClient.HttpClient, (client) => {
    const { url } = dialect
    const apiKey = dialect.apiKey === undefined ? "" : Redacted.value(dialect.apiKey).trim()
    const headers = { ...(apiKey !== "" && dialect.authorize(apiKey)), ...dialect.headers }
    const connection: Connection = {
      dialect,
      // A request ends with the scope of its call, however that ends.
      client: HttpClient.withScope(discreet(url.includes("?") ? withoutQuery(client) : client)),
      template: HttpClientRequest.post(url, { headers }),
      origin: HttpAiError.origin(dialect.provider, url, apiKey),
      firstByteTimeout: Duration.fromInputUnsafe(dialect.firstByteTimeout ?? "5 minutes"),
      idleTimeout: Duration.fromInputUnsafe(dialect.idleTimeout ?? "2 minutes"),
      totalTimeout: Duration.fromInputUnsafe(dialect.totalTimeout ?? Duration.infinity)
    }
    // Clients do not agree on what to make of a header that cannot be sent; some die.
    const isSendable = /^[\x21-\x7e]*$/.test(apiKey)
    return Llm.make((request, onDelta) =>
      Effect.mapError(
        isSendable
          ? generate(connection, request, onDelta)
          : Effect.fail(new AiError.AuthenticationError({ kind: "InvalidKey", description: badKey })),
        (reason) => AiError.make({ module: dialect.module, method: "generate", reason })
      )
    )
  })

/** Keeps traces at home: providers know no trace headers. */
const discreet = HttpClient.transformResponse(Effect.provideService(HttpClient.TracerPropagationEnabled, false))

/** Keeps the query out of spans: some servers have the key there. */
const withoutQuery = HttpClient.transformResponse(Effect.provideService(UrlParams.CurrentRedactedNames, [/^/]))

const badKey = "The API key has characters that cannot be sent in a header"

const generate = (
  connection: Connection,
  request: Llm.LlmRequest,
  onDelta: ((delta: Llm.Delta) => void) | undefined
): Effect.Effect<Llm.LlmResponse, AiError.AiErrorReason> => {
  const { origin, totalTimeout } = connection
  const call = Effect.scoped(exchange(connection, request, onDelta))
  return Duration.isFinite(totalTimeout)
    ? Effect.timeoutOrElse(call, {
        duration: totalTimeout,
        orElse: () => Effect.fail(silence(origin, "totalTimeout: no complete answer", totalTimeout))
      })
    : call
}

const exchange = Effect.fnUntraced(function* (
  connection: Connection,
  request: Llm.LlmRequest,
  onDelta: ((delta: Llm.Delta) => void) | undefined
): Effect.fn.Return<Llm.LlmResponse, AiError.AiErrorReason, Scope.Scope> {
  const { dialect, origin } = connection
  const response = yield* send(connection, request, onDelta !== undefined)
  if (response.status < 200 || response.status > 299) return yield* refuse(connection, response)

  // Ids are unique within the conversation, not only within the answer.
  const missingId = (n: number) => `call_${request.history.length}_${n}`
  const answer = dialect.answer({ origin, onDelta, missingId })
  const type = response.headers["content-type"] ?? ""
  // Some servers ignore `stream`, some forget to say that they do not.
  if (type.includes("event-stream") || (onDelta !== undefined && !/json|html/.test(type))) {
    yield* readEvents(connection, response, answer)
  } else {
    const failure = readJson(answer, yield* readText(connection, response))
    if (failure !== undefined) return yield* failure
  }
  return yield* Effect.fromResult(answer.end())
})

const send = Effect.fnUntraced(function* (
  { client, dialect, firstByteTimeout, origin, template }: Connection,
  request: Llm.LlmRequest,
  isStream: boolean
) {
  const httpRequest = yield* Effect.try({
    try: () => HttpClientRequest.bodyJsonUnsafe(template, dialect.body(request, isStream)),
    catch: (cause) =>
      new AiError.InvalidRequestError({ description: `The request cannot be written as JSON: ${String(cause)}` })
  })
  return yield* client.execute(httpRequest).pipe(
    Effect.mapError((error) => HttpAiError.fromHttpClient(origin, error)),
    Effect.timeoutOrElse({
      duration: firstByteTimeout,
      orElse: () => Effect.fail(silence(origin, "firstByteTimeout: no response began", firstByteTimeout))
    })
  )
})

const silence = (origin: HttpAiError.Origin, what: string, duration: Duration.Duration) =>
  HttpAiError.transport(origin, `${what} within ${Duration.format(duration)}`)

/** Reads a response piece by piece, bounded in silence and in size. */
const read = (
  { idleTimeout, origin }: Connection,
  response: HttpClientResponse.HttpClientResponse,
  onText: (text: string) => AiError.AiErrorReason | undefined
): Effect.Effect<void, AiError.AiErrorReason> => {
  // Keeps the head of a character that two chunks share.
  const decoder = new TextDecoder()
  let size = 0
  return response.stream.pipe(
    Stream.mapError((error): AiError.AiErrorReason => HttpAiError.fromHttpClient(origin, error)),
    Stream.timeoutOrElse({
      duration: idleTimeout,
      orElse: () => Stream.fail(silence(origin, "idleTimeout: no further data came", idleTimeout))
    }),
    Stream.runForEach((bytes) => {
      size += bytes.length
      const failure = size > maxResponseBytes ? tooLarge() : onText(decoder.decode(bytes, { stream: true }))
      return failure === undefined ? Effect.void : Effect.fail(failure)
    })
  )
}

/** JSON that is too deep cannot be written again, and not even be put into an error. */
const readJson = (answer: Answer, data: string): AiError.AiErrorReason | undefined =>
  isDeepText(data)
    ? new AiError.InvalidResponseError({ description: "The response is nested too deep" })
    : answer.read(data)

const tooLarge = () =>
  new AiError.InvalidResponseError({ description: `The response is larger than ${maxResponseBytes} bytes` })

const readText = Effect.fnUntraced(function* (connection: Connection, response: HttpClientResponse.HttpClientResponse) {
  let text = ""
  yield* read(connection, response, (piece) => void (text += piece))
  return text
})

const readEvents = Effect.fnUntraced(function* (
  connection: Connection,
  response: HttpClientResponse.HttpClientResponse,
  answer: Answer
) {
  let failure: AiError.AiErrorReason | undefined
  const parser = Sse.makeParser((event) => {
    if (event._tag === "Event") failure ??= readJson(answer, event.data)
  })
  const reading = read(connection, response, (piece) => (parser.feed(piece) === undefined ? failure : tooLarge()))
  // What goes wrong behind a complete answer does not matter any more.
  yield* Effect.catchIf(reading, answer.isComplete, () => Effect.void)
  if (!answer.isComplete()) {
    return yield* HttpAiError.transport(connection.origin, "The stream ended before the model had finished")
  }
})

/** Fails with what the server says about the request, or with as much of it as can be read. */
const refuse = Effect.fnUntraced(function* (connection: Connection, response: HttpClientResponse.HttpClientResponse) {
  let body = ""
  yield* Effect.ignore(read(connection, response, (piece) => void (body += piece)))
  return yield* HttpAiError.fromResponse(connection.origin, response, body, yield* Clock.currentTimeMillis)
})
