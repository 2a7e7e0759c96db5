/**
 * What every `Llm` must do, as checks that run against any of them: answers, tool calls, usage, failures as typed
 * reasons, cancellation, and nothing on the wire or in an error that does not belong there.
 *
 * A scenario says in no provider's words what the provider does. Whoever tests a model makes its provider, a server on
 * the loopback interface usually, say it in its own.
 *
 * @since 0.1.0
 */
import type * as AiError from "effect/ai/AiError"
import type * as Response from "effect/ai/Response"
import * as Tool from "effect/ai/Tool"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Formatter from "effect/Formatter"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import type { History } from "../History.ts"
import * as Histories from "../History.ts"
import { canonical } from "../internal/json.ts"
import type * as Llm from "../Llm.ts"
import type { Tokens } from "../Usage.ts"

/**
 * A piece of an answer, in the order in which the model writes. Pieces of several calls may interleave. Where the
 * answer is not streamed, the provider joins them.
 *
 * @category models
 * @since 0.1.0
 */
export type Piece =
  | { readonly type: "text" | "reasoning"; readonly delta: string }
  | { readonly type: "call"; readonly index: number; readonly id: string; readonly name: string }
  | { readonly type: "params"; readonly index: number; readonly delta: string }

/**
 * A failure that the provider reports in place of an answer.
 *
 * @category models
 * @since 0.1.0
 */
export type Failure =
  | "authentication"
  | "rate-limit"
  | "quota"
  | "invalid-request"
  | "context-overflow"
  | "content-filter"
  | "overloaded"

/**
 * What the provider does.
 *
 * @category models
 * @since 0.1.0
 */
export type Scenario =
  | {
      readonly _tag: "Answer"
      readonly pieces: ReadonlyArray<Piece>
      readonly finishReason: Response.FinishReason
      readonly tokens: Tokens
      readonly model: string
    }
  /** A rate limit asks to wait {@link retryAfterSeconds}. */
  | { readonly _tag: "Failure"; readonly failure: Failure }
  /** The stream begins and ends before the model has finished. */
  | { readonly _tag: "Truncated"; readonly pieces: ReadonlyArray<Piece> }
  /** The connection breaks within the stream. */
  | { readonly _tag: "Reset"; readonly pieces: ReadonlyArray<Piece> }
  /** A success whose body is not what the protocol says. */
  | { readonly _tag: "Malformed" }
  /** The stream begins and goes silent. */
  | { readonly _tag: "Stalled"; readonly pieces: ReadonlyArray<Piece> }
  /** No response begins. */
  | { readonly _tag: "Silent" }

/**
 * How long a provider that plays a rate limit asks to wait.
 *
 * @category models
 * @since 0.1.0
 */
export const retryAfterSeconds = 7

/**
 * A request as the provider received it.
 *
 * @category models
 * @since 0.1.0
 */
export interface WireRequest {
  readonly headers: Readonly<Record<string, string | ReadonlyArray<string> | undefined>>
  readonly body: unknown
}

/**
 * A model whose provider plays a scenario.
 *
 * @category models
 * @since 0.1.0
 */
export interface Stage {
  readonly llm: Llm.Llm["Service"]
  /** The requests so far. */
  readonly requests: () => ReadonlyArray<WireRequest>
  /** Waits until the next request has arrived, and then until the client gave it up. */
  readonly givenUp: Effect.Effect<void>
}

/**
 * The model under test.
 *
 * @category models
 * @since 0.1.0
 */
export interface Subject {
  /** Makes the model, with timeouts of {@link timeoutMillis}, and a provider that plays the scenario. */
  readonly stage: (scenario: Scenario) => Effect.Effect<Stage, never, Scope.Scope>
  /** The API key that the model is made with. */
  readonly secret: string
  /**
   * The fields of request bodies that the provider documents, as paths like `messages.content.type`; what is below the
   * last field of a path may be anything. `undefined` when the model sends no requests of its own.
   */
  readonly documented: ReadonlySet<string> | undefined
  readonly supports: {
    readonly reasoning: boolean
    readonly images: boolean
    /** The model has timeouts of its own. */
    readonly timeouts: boolean
    /** A provider without its own word for it says `rate-limit` or `invalid-request`. */
    readonly failures: ReadonlyArray<Failure>
  }
}

/**
 * The timeouts of a model under test: long enough for a loopback server, short enough to wait for.
 *
 * @category models
 * @since 0.1.0
 */
export const timeoutMillis = 900

/**
 * A check of a model: `violations` is empty when it holds.
 *
 * @category models
 * @since 0.1.0
 */
export interface Check {
  readonly name: string
  readonly violations: Effect.Effect<ReadonlyArray<string>>
}

const tokens: Tokens = {
  inputTokens: 30,
  outputTokens: 12,
  cachedInputTokens: 8,
  cacheWriteTokens: 0,
  reasoningTokens: 5
}
const model = "model-under-test"

const answer = (pieces: ReadonlyArray<Piece>, finishReason: Response.FinishReason = "stop"): Scenario => ({
  _tag: "Answer",
  pieces,
  finishReason,
  tokens,
  model
})

const text: ReadonlyArray<Piece> = ["Hel", "lo, w", "örld 😀", "!"].map((delta) => ({ type: "text", delta }))

const call = (index: number, name: string, ...params: ReadonlyArray<string>): ReadonlyArray<Piece> => [
  { type: "call", index, id: `call_${index + 1}`, name },
  ...params.map((delta): Piece => ({ type: "params", index, delta }))
]

const [firstCall, firstA, firstB] = call(0, "weather", '{"city":"B', 'ern"}') as [Piece, Piece, Piece]
const [secondCall, secondA, secondB] = call(1, "weather", '{"city":', '"Oslo"}') as [Piece, Piece, Piece]

const answers: ReadonlyArray<readonly [name: string, scenario: Scenario & { readonly _tag: "Answer" }]> = [
  ["a text", answer(text)],
  ["a tool call", answer([firstCall, firstA, firstB], "tool-calls")],
  [
    "a text and several tool calls",
    answer([...text, ...call(0, "weather", "{}"), ...call(1, "time", "{}")], "tool-calls")
  ],
  [
    "tool calls whose arguments interleave",
    answer([firstCall, secondCall, firstA, secondA, secondB, firstB], "tool-calls")
  ],
  ["a tool call without arguments", answer(call(0, "time"), "tool-calls")],
  ["an answer that was cut for its length", answer(text, "length")],
  ["an answer that was cut by a content filter", answer(text, "content-filter")]
].map(([name, scenario]) => [name as string, scenario as Scenario & { readonly _tag: "Answer" }])

const thinking = answer([{ type: "reasoning", delta: "Let me " }, { type: "reasoning", delta: "see." }, ...text])

/** The reason of each failure. */
const reasons: Readonly<Record<Failure, AiError.AiErrorReason["_tag"]>> = {
  authentication: "AuthenticationError",
  "rate-limit": "RateLimitError",
  quota: "QuotaExhaustedError",
  "invalid-request": "InvalidRequestError",
  "context-overflow": "InvalidRequestError",
  "content-filter": "ContentPolicyError",
  overloaded: "InternalProviderError"
}

// One white pixel.
const pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8/5+hHgAHggJ/PchI7wAAAABJRU5ErkJggg=="

const tools = [
  Tool.make("weather", { description: "Tells the weather", parameters: Schema.Struct({ city: Schema.String }) }),
  Tool.make("time", { description: "Tells the time" })
]

/** A conversation with all that a request can hold. */
const conversation = (images: boolean): History => {
  const asked = Histories.appendAssistant(
    Histories.appendUser(Histories.empty, "Weather in Bern?"),
    [
      { type: "text", text: "I look it up." },
      { type: "tool-call", id: "call_a", name: "weather", params: { city: "Bern" } },
      { type: "tool-call", id: "call_b", name: "time", params: {} }
    ],
    [
      { type: "tool-result", id: "call_a", name: "weather", isFailure: false, result: { sunny: true } },
      { type: "tool-result", id: "call_b", name: "time", isFailure: true, result: "no clock" }
    ]
  )
  const answered = Histories.appendAssistant(asked, [{ type: "text", text: "Sunny." }])
  const image = { type: "file", mediaType: "image/png", data: pixel } as const
  return Histories.appendUser(answered, [{ type: "text", text: "And here?" }, ...(images ? [image] : [])])
}

const request = (overrides: Partial<Llm.LlmRequest> = {}): Llm.LlmRequest => ({
  instructions: "You know the weather.",
  history: Histories.appendUser(Histories.empty, "Hi"),
  tools,
  toolChoice: "auto",
  sampling: {},
  output: undefined,
  ...overrides
})

/**
 * The checks of a model.
 *
 * Each has a name and an Effect of what is wrong, for a test of any runner; they wait in real time, for servers do.
 *
 * @category checks
 * @since 0.1.0
 */
export const checks = (subject: Subject): ReadonlyArray<Check> => {
  const { supports } = subject
  const modes = [false, true] as const
  const named = (isStream: boolean, name: string) => `${name}, ${isStream ? "streamed" : "whole"}`
  return [
    ...modes.flatMap((isStream) => [
      ...[...answers, ...(supports.reasoning ? ([["reasoning", thinking]] as const) : [])].map(([name, scenario]) => ({
        name: named(isStream, `reads ${name}`),
        violations: reads(subject, scenario as Scenario & { readonly _tag: "Answer" }, isStream)
      })),
      ...supports.failures.map((failure) => ({
        name: named(isStream, `fails by its reason: ${failure}`),
        violations: fails(subject, { _tag: "Failure", failure }, isStream, (error) => failsBy(error, failure))
      })),
      {
        name: named(isStream, "fails when the answer is malformed"),
        violations: fails(subject, { _tag: "Malformed" }, isStream, tagged("InvalidResponseError"))
      },
      {
        name: named(isStream, "gives the request up when it is interrupted"),
        violations: givesUp(subject, { _tag: "Silent" }, isStream)
      }
    ]),
    ...(["Truncated", "Reset"] as const).map((_tag) => ({
      name: `fails when the stream ends early: ${_tag}`,
      violations: fails(subject, { _tag, pieces: text }, true, tagged("NetworkError"))
    })),
    {
      name: "gives the request up when it is interrupted in the middle of a stream",
      violations: givesUp(subject, { _tag: "Stalled", pieces: text }, true)
    },
    ...(supports.timeouts
      ? [
          {
            name: "fails when no response begins",
            violations: fails(subject, { _tag: "Silent" }, true, tagged("NetworkError"))
          },
          {
            name: "fails when the stream goes silent",
            violations: fails(subject, { _tag: "Stalled", pieces: text }, true, tagged("NetworkError"))
          }
        ]
      : []),
    { name: "calls when it is run, and each time it is", violations: isLazy(subject) },
    ...(subject.documented === undefined
      ? []
      : [{ name: "sends what is documented, and nothing else", violations: sends(subject, subject.documented) }])
  ]
}

/** Runs a call on a provider that plays the scenario. */
const play = Effect.fnUntraced(function* (
  subject: Subject,
  scenario: Scenario,
  isStream: boolean,
  overrides?: Partial<Llm.LlmRequest>
) {
  const { llm, requests } = yield* subject.stage(scenario)
  const deltas: Array<Llm.Delta> = []
  const onDelta = isStream ? (delta: Llm.Delta) => void deltas.push(delta) : undefined
  const spans: Array<Tracer.NativeSpan> = []
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    }
  })
  const calling = Effect.withSpan(llm.generate(request(overrides), onDelta), "LlmConformance")
  const exit = yield* Effect.exit(Effect.withTracer(calling, tracer))
  return { exit, deltas, requests: requests(), leaks: leaks(subject, exit, spans) }
}, Effect.scoped)

/** What a text or the arguments of each call come to. */
const expected = (pieces: ReadonlyArray<Piece>) => {
  const written = { text: "", reasoning: "" }
  const calls: Array<{ readonly id: string; readonly name: string; params: string }> = []
  for (const piece of pieces) {
    if (piece.type === "call") calls[piece.index] = { id: piece.id, name: piece.name, params: "" }
    else if (piece.type === "params") calls[piece.index]!.params += piece.delta
    else written[piece.type] += piece.delta
  }
  return { ...written, calls: calls.map((call) => ({ ...call, params: JSON.parse(call.params || "{}") as unknown })) }
}

const reads = Effect.fnUntraced(function* (
  subject: Subject,
  scenario: Scenario & { readonly _tag: "Answer" },
  isStream: boolean
) {
  const { deltas, exit, leaks } = yield* play(subject, scenario, isStream)
  if (Exit.isFailure(exit)) return [`failed: ${Cause.pretty(exit.cause)}`]
  const { content, finishReason, tokens, model } = exit.value
  const is = expected(scenario.pieces)
  const calls = Histories.toolCalls(content).map(({ id, name, params }) => ({ id, name, params }))
  const reasoning = content.map((part) => (part.type === "reasoning" ? part.text : "")).join("")
  const violations = [
    ...leaks,
    ...differs("text", Histories.text(content), is.text),
    ...differs("reasoning", reasoning, is.reasoning),
    ...differs("tool calls", calls, is.calls),
    ...differs("finish reason", finishReason, scenario.finishReason),
    ...differs("tokens", tokens, scenario.tokens),
    ...differs("model", model, scenario.model)
  ]
  if (!isStream) return violations
  const since = deltas.findLastIndex(({ type }) => type === "restart") + 1
  const joined = (wanted: (delta: Llm.Delta) => boolean) =>
    deltas
      .slice(since)
      .map((delta) => (delta.type !== "restart" && wanted(delta) ? delta.delta : ""))
      .join("")
  return [
    ...violations,
    ...differs(
      "text deltas",
      joined(({ type }) => type === "text"),
      is.text
    ),
    ...differs(
      "reasoning deltas",
      joined(({ type }) => type === "reasoning"),
      is.reasoning
    ),
    ...is.calls.flatMap(({ id, params }) => {
      const json = joined((delta) => delta.type === "tool-params" && delta.id === id)
      return json === "" && canonical(params) === "{}" ? [] : differs(`deltas of ${id}`, parse(json), params)
    })
  ]
})

const parse = (json: string): unknown =>
  Result.getOrElse(
    Result.try(() => JSON.parse(json) as unknown),
    () => json
  )

const differs = (what: string, is: unknown, should: unknown): ReadonlyArray<string> =>
  canonical(is) === canonical(should) ? [] : [`${what}: ${canonical(is)} in place of ${canonical(should)}`]

const fails = Effect.fnUntraced(function* (
  subject: Subject,
  scenario: Scenario,
  isStream: boolean,
  check: (error: AiError.AiError) => ReadonlyArray<string>
) {
  const { exit, leaks } = yield* play(subject, scenario, isStream)
  if (Exit.isSuccess(exit)) return ["succeeded"]
  const [reason] = exit.cause.reasons
  if (reason === undefined || !Cause.isFailReason(reason)) return [`did not fail: ${Cause.pretty(exit.cause)}`]
  return [...check(reason.error), ...leaks]
})

const tagged =
  (tag: AiError.AiErrorReason["_tag"]) =>
  ({ reason }: AiError.AiError): ReadonlyArray<string> =>
    reason._tag === tag ? [] : [`${reason._tag} in place of ${tag}: ${reason.message}`]

const failsBy = (error: AiError.AiError, failure: Failure): ReadonlyArray<string> => {
  const violations = tagged(reasons[failure])(error)
  if (violations.length > 0) return violations
  if (error.reason._tag === "RateLimitError") {
    const { retryAfter } = error.reason
    return differs("retryAfter", retryAfter && Duration.toSeconds(retryAfter), retryAfterSeconds)
  }
  return failure === "context-overflow" && !saysOverflow(error.reason)
    ? ["has no errorCode 'context_length_exceeded' in its metadata"]
    : []
}

const saysOverflow = (reason: AiError.AiErrorReason): boolean =>
  "metadata" in reason
  && Object.values(reason.metadata).some(
    (of) => Predicate.hasProperty(of, "errorCode") && of.errorCode === "context_length_exceeded"
  )

/** Whether the API key is where somebody might look: in what the call ended with, or in its spans. */
const leaks = (
  { secret }: Subject,
  exit: Exit.Exit<Llm.LlmResponse, AiError.AiError>,
  spans: ReadonlyArray<Tracer.NativeSpan>
): ReadonlyArray<string> => {
  const shown = Exit.isSuccess(exit)
    ? [JSON.stringify(exit.value)]
    : [
        Cause.pretty(exit.cause),
        ...exit.cause.reasons
          .filter(Cause.isFailReason)
          .flatMap(({ error }) => [String(error), error.message, Formatter.format(error), JSON.stringify(error)])
      ]
  const traced = spans.map(({ attributes, events, name }) => Formatter.format([name, ...attributes, ...events]))
  return [
    ...(shown.some((text) => text.includes(secret)) ? ["shows the API key"] : []),
    ...(traced.some((text) => text.includes(secret)) ? ["shows the API key in a span"] : [])
  ]
}

const givesUp = Effect.fnUntraced(function* (subject: Subject, scenario: Scenario, isStream: boolean) {
  const { givenUp, llm } = yield* subject.stage(scenario)
  const fiber = yield* Effect.forkChild(llm.generate(request(), isStream ? () => {} : undefined), {
    startImmediately: true
  })
  const waiting = yield* Effect.forkChild(givenUp, { startImmediately: true })
  yield* Effect.sleep(timeoutMillis / 9)
  yield* Effect.forkChild(Fiber.interrupt(fiber), { startImmediately: true })
  // Well before the model's own timeout would close the connection.
  const noticed = yield* Effect.timeoutOption(Fiber.join(waiting), timeoutMillis / 2)
  return noticed._tag === "Some" ? [] : ["the provider was not told"]
}, Effect.scoped)

const isLazy = Effect.fnUntraced(function* (subject: Subject) {
  const { llm, requests } = yield* subject.stage(answer(text))
  const calling = llm.generate(request())
  const before = requests().length
  yield* Effect.exit(calling)
  yield* Effect.exit(calling)
  return [...differs("requests before it is run", before, 0), ...differs("requests of two runs", requests().length, 2)]
}, Effect.scoped)

const sends = Effect.fnUntraced(function* (subject: Subject, documented: ReadonlySet<string>) {
  const sampling = { temperature: 0.5, topP: 0.9, maxTokens: 100, stop: ["END"], seed: 7 }
  const talk = { history: conversation(subject.supports.images), sampling }
  const typed = { tools: [], output: { name: "answer", schema: Schema.Struct({ sunny: Schema.Boolean }) } }
  /** Requests, and what has to be in their bodies. */
  const requests: ReadonlyArray<readonly [Partial<Llm.LlmRequest>, ReadonlyArray<string>]> = [
    [
      talk,
      [...said, "Weather in Bern?", "I look it up.", "no clock", "Sunny.", ...(subject.supports.images ? [pixel] : [])]
    ],
    [{ toolChoice: "required" }, said],
    [{ toolChoice: { tool: "weather" } }, said],
    [{ toolChoice: "none" }, said.slice(0, 1)],
    [typed, [...said.slice(0, 1), "sunny"]]
  ]
  const violations: Array<string> = []
  for (const [overrides, words] of requests) {
    for (const isStream of [false, true]) {
      const { exit, requests: sent } = yield* play(subject, answer(text), isStream, overrides)
      if (Exit.isFailure(exit)) violations.push(`failed: ${Cause.pretty(exit.cause)}`)
      if (sent.length !== 1) violations.push(`${sent.length} requests in place of one`)
      for (const { body } of sent) {
        const json = JSON.stringify(body)
        violations.push(...undocumented(body, documented))
        violations.push(
          ...words.filter((word) => !json.includes(word)).map((word) => `did not send: ${word.slice(0, 40)}`)
        )
        if (json.includes(subject.secret)) violations.push("the body holds the API key")
      }
    }
  }
  return Array.from(new Set(violations))
})

/** What each request says: its instructions and its tools. */
const said = ["You know the weather.", "Tells the weather", "Tells the time"]

/** The paths in a body that are not documented, and those that are `null`. */
const undocumented = (body: unknown, documented: ReadonlySet<string>): ReadonlyArray<string> => {
  const violations: Array<string> = []
  const isBranch = (path: string) => Array.from(documented).some((known) => known.startsWith(`${path}.`))
  const visit = (value: unknown, path: string): void => {
    if (value === null) violations.push(`${path} is null`)
    else if (Array.isArray(value)) for (const item of value) visit(item, path)
    else if (typeof value === "object") {
      for (const [key, member] of Object.entries(value)) {
        const below = path === "" ? key : `${path}.${key}`
        if (!documented.has(below) && !isBranch(below)) violations.push(`${below} is not documented`)
        else if (isBranch(below)) visit(member, below)
      }
    }
  }
  visit(body, "")
  return violations
}
