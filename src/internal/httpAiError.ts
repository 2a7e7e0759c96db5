/**
 * What goes wrong between a provider and its HTTP API, as reasons of `AiError`. No request headers go into them, and
 * what servers and transports say is scrubbed of the API key first: both have been seen to repeat it.
 */
import * as AiError from "effect/ai/AiError"
import * as Duration from "effect/Duration"
import * as Headers from "effect/http/Headers"
import type * as HttpClientError from "effect/http/HttpClientError"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import { keyShaped, redacted } from "./secrets.ts"

/** Where a failure comes from. */
export interface Origin {
  /** The key of the provider in the metadata of reasons. */
  readonly provider: string
  /** Without credentials and query. */
  readonly url: string
  /** Takes the secrets out of a text. */
  readonly scrub: (text: string) => string
}

export const origin = (provider: string, url: string, ...keys: ReadonlyArray<string>): Origin => {
  const [, scheme = "", credentials = "", address = url, query = ""] =
    /^(\w+:\/\/)(?:([^/]*)@)?([^?]*)\??(.*)$/.exec(url) ?? []
  // Servers repeat the values of a query by themselves, as they are written or as they are read.
  const written = query.split("&").map((parameter) => parameter.slice(parameter.indexOf("=") + 1))
  const values = [...written, ...new URLSearchParams(query).values()]
  // What is shorter than a secret can be is a placeholder like `none`, and an ordinary word.
  const secrets = [...keys, credentials, ...credentials.split(":"), query, ...values]
    .filter(({ length }) => length >= 8)
    // JSON may have slashes escaped.
    .flatMap((secret) => [secret, secret.replaceAll("/", "\\/")])
  return {
    provider,
    url: scheme + address,
    scrub: (text) =>
      // The keys that are not known here are told by their shape.
      secrets.reduce((text, secret) => text.replaceAll(secret, redacted), text).replaceAll(keyShaped, redacted)
  }
}

/** The connection failed, broke off or stayed silent: worth a retry. */
export const transport = (origin: Origin, description: string): AiError.NetworkError =>
  new AiError.NetworkError({ reason: "TransportError", method: "POST", url: origin.url, description })

/** A failure of the HTTP client. It does not become the `cause`, for it holds the request with its headers. */
export const fromHttpClient = (origin: Origin, { reason }: HttpClientError.HttpClientError): AiError.NetworkError =>
  new AiError.NetworkError({
    reason: reason._tag === "EncodeError" || reason._tag === "InvalidUrlError" ? reason._tag : "TransportError",
    method: "POST",
    url: origin.url,
    description: origin.scrub([reason.description, ...messages(reason.cause)].filter(Boolean).join(": "))
  })

// `fetch` and undici say what happened in the cause of the error; an `AggregateError` has a code but no message.
export const messages = (cause: unknown, depth = 3): ReadonlyArray<string> =>
  depth > 0 && cause instanceof Error
    ? [cause.message || (member(cause, "code") ?? cause.name), ...messages(cause.cause, depth - 1)]
    : []

/** A response whose status is not a success. */
export const fromResponse = (
  origin: Origin,
  response: { readonly status: number; readonly headers: Headers.Headers },
  body: string,
  now: number
): AiError.AiErrorReason => {
  const { headers, status } = response
  const scrubbed = origin.scrub(body)
  return reasonOf(origin, problemOf(parse(scrubbed)), {
    status,
    requestId: headers["x-request-id"] ?? headers["request-id"],
    retryAfter: retryAfter(headers, now),
    http: {
      response: {
        status,
        headers: Object.fromEntries(Object.entries(headers).filter(([name]) => harmless.test(name)))
      },
      body: scrubbed.slice(0, maxBody)
    }
  })
}

const maxBody = 4_000

// A list of what may be shown is safer than one of what may not.
const harmless = /^(content-type|date|retry-after|retry-after-ms|(x-)?request-id|(x|anthropic)-ratelimit-.*)$/

/** An error that a server reports within a response that began as a success. */
export const fromBody = (origin: Origin, body: unknown): AiError.AiErrorReason => {
  const problem = problemOf(parse(origin.scrub(JSON.stringify(body))))
  return reasonOf(origin, problem, { status: statusOf(problem) })
}

interface Problem {
  readonly message: string | undefined
  readonly code: string | undefined
  readonly type: string | undefined
  readonly parameter: string | undefined
  readonly requestId: string | undefined
}

/** Reads `{ error: { message, type, code, param }, request_id }` and what others make of it. */
const problemOf = (body: unknown): Problem => {
  // Gemini puts it into an array.
  const answer: unknown = Array.isArray(body) ? body[0] : body
  const error = Predicate.hasProperty(answer, "error") ? answer.error : answer
  return {
    message: typeof error === "string" ? error : (member(error, "message") ?? member(error, "detail")),
    code: member(error, "code"),
    type: member(error, "type"),
    parameter: member(error, "param"),
    requestId: member(answer, "request_id")
  }
}

const member = (u: unknown, key: string): string | undefined => {
  const value = Predicate.hasProperty(u, key) ? u[key] : undefined
  return typeof value === "string" || typeof value === "number" ? String(value) : undefined
}

const parse = (json: string): unknown => Result.getOrUndefined(Result.try((): unknown => JSON.parse(json)))

/** The status that an error within a response would have had. */
const statusOf = ({ code, message, type }: Problem): number => {
  const status = Number(code)
  if (status >= 400 && status < 600) return status
  const words = `${type} ${code}`
  return statuses.find(([pattern]) => pattern.test(words))?.[1] ?? (isOverflow(`${message}`) ? 400 : 500)
}

const statuses: ReadonlyArray<readonly [RegExp, number]> = [
  [/rate_limit|quota|too_many_requests/, 429],
  [/authentication|api_key/, 401],
  [/permission/, 403],
  [/not_found/, 404],
  [/too_large/, 413],
  [/invalid|image|mismatch|context_(size|length)/, 400],
  [/overloaded/, 529]
]

/** What servers say of a prompt that is too long: their codes, then their sentences. */
const overflow = new RegExp(
  [
    "context_length_exceeded|exceed_context_size",
    "maximum context length is|(prompt|input) is too long|input token count .*exceeds",
    "(exceed|(greater|larger|longer) than|too large for)[^.]* (context (size|window|limit|length)|model length)",
    "context (size|window|limit|length)[^.]* (exceeds|not enough)|context the overflows",
    // The tokens that an account may send at once: waiting does not help, a shorter prompt does.
    "request (body )?too large for .*tokens"
  ].join("|"),
  "i"
)

// Behind the first words some servers repeat the request, which may be about anything.
const isOverflow = (words: string): boolean => overflow.test(words.slice(0, 1000))

const reasonOf = (
  origin: Origin,
  problem: Problem,
  details: {
    readonly status: number
    readonly requestId?: string | undefined
    readonly retryAfter?: Duration.Duration | undefined
    readonly http?: typeof AiError.HttpContext.Type
  }
): AiError.AiErrorReason => {
  const { http, retryAfter, status } = details
  const { message, parameter, type } = problem
  const requestId = details.requestId ?? problem.requestId
  // Local servers repeat the status as the code, and each has its own words for the one error worth a reaction.
  const named = /^\d*$/.test(problem.code ?? "") ? (type ?? problem.code) : problem.code
  const isRequest = status >= 400 && status < 500 && ![401, 402, 403, 408, 429].includes(status)
  const code = isRequest && isOverflow(`${named} ${message}`) ? "context_length_exceeded" : named
  const common = {
    ...(http !== undefined && { http }),
    description: AiError.buildErrorDescription({
      status,
      message,
      method: "POST",
      url: origin.url,
      errorCode: code,
      requestId,
      body: http?.body
    }),
    metadata: {
      [origin.provider]: { errorCode: code ?? null, errorType: type ?? null, requestId: requestId ?? null }
    }
  }
  // Anthropic has the words only.
  const isBlocked =
    /content_policy|content_filter|bio_policy/.test(`${code}`) || /content filtering policy/i.test(`${message}`)
  const isExhausted = /insufficient_quota|billing/.test(`${code}`) || /credit balance is too low/i.test(`${message}`)
  if (isBlocked) return new AiError.ContentPolicyError(common)
  if (status === 402 || isExhausted) return new AiError.QuotaExhaustedError(common)
  if (status === 429) return new AiError.RateLimitError({ ...common, retryAfter })
  if (isRequest) return new AiError.InvalidRequestError({ ...common, parameter })
  return AiError.reasonFromHttpStatus({ ...common, status: status === 408 ? 500 : status })
}

/** How long a server asks to wait: `retry-after-ms`, or `retry-after` in seconds or as a date. */
const retryAfter = (headers: Headers.Headers, now: number): Duration.Duration | undefined => {
  const millis = Number.parseFloat(headers["retry-after-ms"] ?? "")
  if (millis >= 0 && millis < Infinity) return Duration.millis(millis)
  const parsed = Headers.parseRetryAfter(headers["retry-after"] ?? "")
  return Result.isSuccess(parsed) ? Headers.retryAfterDelay(parsed.success, now) : undefined
}
