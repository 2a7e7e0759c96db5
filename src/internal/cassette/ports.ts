/**
 * Models and tools on a cassette: how their calls become JSON, and JSON their calls.
 */
import * as AiError from "effect/ai/AiError"
import type * as Tool from "effect/ai/Tool"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Delta } from "../../Llm.ts"
import * as Llm from "../../Llm.ts"
import * as LlmJson from "../llmJson.ts"
import type { Port, Session } from "./session.ts"
import { perform, Unreadable } from "./session.ts"
import type { Outcome } from "./tape.ts"

/** Gives an effect the clock and the random numbers of reality. */
export type Real = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** What is played has no live side. */
const noLive = Effect.die("A replay makes no live calls")

/** A schema of a tool; its services are in the context that the tool is called in. */
type Codec = Schema.Codec<unknown, unknown>

const encodeWith = (schema: Codec) => Schema.encodeUnknownEffect(Schema.toCodecJson(schema))
const decodeWith = <A>(schema: Schema.Codec<A, unknown>) => {
  const decode = Schema.decodeUnknownEffect(Schema.toCodecJson(schema))
  return (value: unknown) => Effect.mapError(decode(value), (error) => new Unreadable(error.message))
}

const AiFailure = Schema.Union([AiError.AiError, AiError.AiErrorReason])
const isAiFailure = (error: unknown): error is typeof AiFailure.Type =>
  AiError.isAiError(error) || AiError.isAiErrorReason(error)

const responses = { encode: encodeWith(LlmJson.LlmResponseJson), decode: decodeWith(LlmJson.LlmResponseJson) }
const failures = { encode: encodeWith(AiFailure), decode: decodeWith(AiFailure) }

/** The outcome with the JSON of a value, or the defect that there is none. */
const encoded = <R>(
  effect: Effect.Effect<unknown, Schema.SchemaError, R>,
  toOutcome: (json: unknown) => Outcome
): Effect.Effect<Outcome, never, R> =>
  Effect.match(effect, {
    onFailure: (error) => ({ defect: `Invalid result: ${error.message}` }),
    onSuccess: (value) =>
      Result.match(
        Result.try(() => JSON.parse(JSON.stringify(value ?? null)) as unknown),
        { onFailure: (thrown) => ({ defect: `Invalid result: ${String(thrown)}` }), onSuccess: toOutcome }
      )
  })

/** The text of a defect, without the places in the code, which differ from machine to machine. */
const defect = (cause: Cause.Cause<unknown>): Outcome => {
  const error = Cause.squash(cause)
  if (error instanceof Error) return { defect: `${error.name}: ${error.message}` }
  return { defect: typeof error === "string" ? error : (Cause.prettyErrors(cause)[0]?.message ?? "Unknown defect") }
}

const aiFailure = (error: unknown) => encoded(failures.encode(error), (json) => ({ aiError: json }))

/** A model on a cassette; all is played when there is no live one. */
export const model = (session: Session, live: Llm.Llm["Service"] | undefined, real: Real): Llm.Llm["Service"] =>
  Llm.make((request, onDelta) => {
    const port: Port<Llm.LlmResponse, AiError.AiError, never> = {
      live: (push) =>
        live === undefined ? noLive : real(live.generate(request, (delta) => push(delta, () => onDelta?.(delta)))),
      encode: (exit) => {
        if (Exit.isSuccess(exit)) return encoded(responses.encode(exit.value), (json) => ({ success: json }))
        const error = Cause.findError(exit.cause)
        return Result.isSuccess(error) ? aiFailure(error.success) : Effect.succeed(defect(exit.cause))
      },
      play: (piece) => Effect.map(decodeDelta(piece), (delta) => onDelta?.(delta)),
      restore: (outcome) => {
        if ("success" in outcome) return responses.decode(outcome.success)
        if ("aiError" in outcome) {
          return Effect.flatMap(failures.decode(outcome.aiError), (error) =>
            Effect.fail(AiError.isAiError(error) ? error : new Unreadable("a model fails with an AiError"))
          )
        }
        return "defect" in outcome ? Effect.die(outcome.defect) : unreadable(outcome)
      }
    }
    return Effect.suspend(() => perform(session, { kind: "model", request: LlmJson.ofRequest(request) }, port))
  })

const unreadable = (outcome: Outcome) => Effect.fail(new Unreadable(`no call ends with ${JSON.stringify(outcome)}`))

const text = { delta: Schema.String }
const DeltaJson = Schema.Union([
  Schema.Struct({ type: Schema.Literal("text"), ...text }),
  Schema.Struct({ type: Schema.Literal("reasoning"), ...text }),
  Schema.Struct({ type: Schema.Literal("tool-params"), id: Schema.String, name: Schema.String, ...text }),
  Schema.Struct({
    type: Schema.Literal("restart"),
    reason: Schema.String,
    message: Schema.String,
    delayMillis: Schema.Finite,
    model: Schema.optionalKey(Schema.String)
  })
])

const decodeDelta = (piece: unknown): Effect.Effect<Delta, Unreadable> =>
  Effect.map(decodeWith(DeltaJson)(piece), (delta) =>
    delta.type === "restart" ? { model: undefined, ...delta } : delta
  )

/** What a toolkit gives a handler beside the arguments. */
interface HandlerContext {
  readonly toolCallId?: string | undefined
  readonly preliminary: (result: unknown) => Effect.Effect<void>
}

/** The handler of a tool on a cassette; all is played when there is no live one. */
export const tool = (
  session: Session,
  secrets: Set<string>,
  { failureSchema, name, parametersSchema, successSchema }: Tool.Any,
  live: Tool.Handler<string> | undefined,
  real: Real
): Tool.Handler<string> => {
  const parameters = codecOf(parametersSchema)
  const success = codecOf(successSchema)
  const failure = codecOf(failureSchema)
  const learn = (value: unknown) => Effect.sync(() => collectSecrets(value, secrets))
  const encodeResult = (value: unknown, toOutcome: (json: unknown) => Outcome = (json) => ({ success: json })) =>
    Effect.andThen(learn(value), encoded(success.encode(value), toOutcome))

  const handler = (params: unknown, context: HandlerContext) => {
    const port: Port<unknown, unknown, never> = {
      live: (push) => {
        if (live === undefined) return noLive
        const preliminary = (value: unknown) =>
          Effect.flatMap(Effect.andThen(learn(value), Effect.orDie(success.encode(value))), (json) =>
            Effect.andThen(
              Effect.callback<void>((resume) => push(json ?? null, () => resume(Effect.void))),
              context.preliminary(value)
            )
          )
        return real(Effect.suspend(() => live.handler(params, { ...context, preliminary })))
      },
      encode: (exit) => {
        if (Exit.isSuccess(exit)) return encodeResult(exit.value)
        const error = Cause.findError(exit.cause)
        if (Result.isFailure(error)) return Effect.succeed(defect(exit.cause))
        return isAiFailure(error.success)
          ? aiFailure(error.success)
          : Effect.andThen(
              learn(error.success),
              encoded(failure.encode(error.success), (json) => ({ failure: json }))
            )
      },
      play: (piece) => Effect.flatMap(success.decode(piece), context.preliminary),
      restore: (outcome) => {
        if ("success" in outcome) return success.decode(outcome.success)
        if ("failure" in outcome) return Effect.flatMap(failure.decode(outcome.failure), Effect.fail)
        if ("aiError" in outcome) return Effect.flatMap(failures.decode(outcome.aiError), Effect.fail)
        return "defect" in outcome ? Effect.die(outcome.defect) : unreadable(outcome)
      }
    }
    return Effect.andThen(
      learn(params),
      // They were decoded by the same schema.
      Effect.flatMap(Effect.orDie(parameters.encode(params)), (json) =>
        perform(session, { kind: "tool", tool: name, params: json ?? null }, port)
      )
    )
  }
  // The brand of a handler only carries its type.
  return { name, context: live?.context ?? Context.empty(), handler } as Tool.Handler<string>
}

const codecOf = (schema: Schema.Top) =>
  Schema.isSchema(schema)
    ? // The services of the tool's schemas are in the context that its handler is called in.
      { encode: encodeWith(schema as Codec), decode: decodeWith(schema as Codec) }
    : // A dynamic tool may have a plain JSON Schema.
      { encode: (value: unknown) => Effect.succeed(value), decode: (value: unknown) => Effect.succeed(value) }

/** Levels in which `Redacted` values are looked for. */
const deepest = 32

const collectSecrets = (value: unknown, secrets: Set<string>, depth = 0): void => {
  if (Redacted.isRedacted(value)) {
    const secret = Redacted.value(value)
    if (typeof secret === "string" && secret !== "") secrets.add(secret)
    else collectSecrets(secret, secrets, depth + 1)
  } else if (Predicate.isObjectOrArray(value) && depth < deepest) {
    for (const member of Object.values(value)) collectSecrets(member, secrets, depth + 1)
  }
}
