/**
 * What the AI SDK and its providers throw, or report within a stream, as reasons of `AiError`. Errors are known by
 * their name: an application may have several copies of the package that defines them. What servers answered and what
 * errors say goes into a reason, never a request, its headers, or the error itself, which holds both.
 */
import * as AiError from "effect/ai/AiError"
import * as Headers from "effect/http/Headers"
import * as Predicate from "effect/Predicate"
import * as HttpAiError from "./httpAiError.ts"

/** Where a failure comes from. */
export interface Source {
  /** The name that the provider has in the AI SDK, such as `openai.chat`. */
  readonly provider: string
  /** What must not get into a reason. */
  readonly secrets: ReadonlyArray<string>
}

const origin = ({ provider, secrets }: Source, url = provider): HttpAiError.Origin =>
  HttpAiError.origin(provider.replace(/\..*/, ""), url, ...secrets)

/** The connection broke off or stayed silent. */
export const transport = (source: Source, description: string): AiError.NetworkError =>
  HttpAiError.transport(origin(source), description)

/** The reason for whatever was thrown or reported. */
export const fromUnknown = (source: Source, error: unknown, now: number): AiError.AiErrorReason => {
  const failure: Failure = Predicate.isObject(error) ? error : { message: error }
  const { message, name, statusCode } = failure
  if (name === "AI_APICallError" || typeof statusCode === "number") return fromCall(source, failure, now)
  const make = typeof name === "string" ? reasons.get(name) : undefined
  const { scrub } = origin(source)
  if (make !== undefined) return make(scrub(describe(failure)), source)
  if (!(error instanceof Error)) return HttpAiError.fromBody(origin(source), report(failure))
  // What `fetch` throws has the name of a mistake in the program; runtimes do not agree on the words.
  return name === "TypeError" && /fetch|network|terminated|load failed/i.test(String(message))
    ? transport(source, scrub(describe(failure)))
    : new AiError.UnknownError({ description: scrub(`${String(name)}: ${describe(failure)}`) })
}

/** Any error, or any object that stands for one. */
interface Failure {
  readonly name?: unknown
  readonly message?: unknown
  readonly cause?: unknown
  readonly error?: unknown
  readonly statusCode?: unknown
  readonly url?: unknown
  readonly responseHeaders?: unknown
  readonly responseBody?: unknown
  readonly isRetryable?: unknown
  readonly type?: unknown
  readonly code?: unknown
  readonly param?: unknown
}

/** The failure of a call to an API. */
const fromCall = (source: Source, failure: Failure, now: number): AiError.AiErrorReason => {
  const { isRetryable, responseBody, responseHeaders, statusCode, url } = failure
  const from = origin(source, typeof url === "string" ? url : source.provider)
  const status = typeof statusCode === "number" ? statusCode : 0
  if (status >= 300) {
    const body =
      typeof responseBody === "string" && responseBody !== "" ? responseBody : JSON.stringify(report(failure))
    return HttpAiError.fromResponse(from, { status, headers: headers(responseHeaders) }, body, now)
  }
  const description = from.scrub(describe(failure))
  // A success that is no answer broke off if it is worth another try.
  return status === 0 || isRetryable === true
    ? HttpAiError.transport(from, description)
    : invalidResponse(description, source)
}

const headers = (u: unknown): Headers.Headers =>
  Headers.fromInput(
    Predicate.isObject(u)
      ? Object.entries(u).flatMap(([name, value]) => (typeof value === "string" ? [[name, value] as const] : []))
      : []
  )

/** What a server reported, without whatever else the provider put beside it. */
const report = (failure: Failure) => {
  const { code, message, param, type }: Failure = Predicate.isObject(failure.error) ? failure.error : failure
  return { code: word(code), message: word(message ?? failure.error), param: word(param), type: word(type) }
}

const word = (u: unknown) => (typeof u === "string" || typeof u === "number" ? u : undefined)

// Errors of validation repeat the whole answer.
const maxDescription = 400

const describe = ({ cause, message }: Failure): string =>
  HttpAiError.messages(cause)
    .reduce((text, more) => (text.includes(more) ? text : `${text}: ${more}`), String(message))
    .slice(0, maxDescription)

type Make = (description: string, source: Source) => AiError.AiErrorReason

const invalidRequest: Make = (description) => new AiError.InvalidRequestError({ description })

const invalidResponse: Make = (description) => new AiError.InvalidResponseError({ description })

const noModel: Make = (description) => new AiError.InvalidRequestError({ parameter: "model", description })

const noKey: Make = (description) => new AiError.AuthenticationError({ kind: "MissingKey", description })

const broken: Make = (description, source) => transport(source, description)

const reasons = new Map<string, Make>([
  ["AI_LoadAPIKeyError", noKey],
  ["AI_LoadSettingError", invalidRequest],
  ["AI_NoSuchModelError", noModel],
  ["AI_NoSuchProviderError", noModel],
  ["AI_NoSuchProviderReferenceError", invalidRequest],
  ["AI_InvalidArgumentError", invalidRequest],
  ["AI_InvalidPromptError", invalidRequest],
  ["AI_UnsupportedFunctionalityError", invalidRequest],
  ["AI_EmptyResponseBodyError", invalidResponse],
  ["AI_JSONParseError", invalidResponse],
  ["AI_NoContentGeneratedError", invalidResponse],
  ["AI_TypeValidationError", invalidResponse],
  // Also what the OpenAI-compatible provider makes of a stream that was cut.
  ["AI_InvalidResponseDataError", (text, of) => (/stream ended/i.test(text) ? broken : invalidResponse)(text, of)],
  ["AbortError", broken],
  ["ResponseAborted", broken],
  ["TimeoutError", broken]
])
