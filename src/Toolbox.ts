/**
 * Runs the tools of an `effect/ai` toolkit, one call at a time, with everything a model can get wrong turned into
 * data: unknown names, malformed or unsafe arguments, failures, defects, timeouts, oversized results.
 *
 * A toolbox is a toolkit with its handlers captured from their Layers and its codecs compiled once.
 *
 * @since 0.1.0
 */
import * as AiError from "effect/ai/AiError"
import * as Prompt from "effect/ai/Prompt"
import type * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import type * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { InvalidAgent } from "./AgentError.ts"
import type { ToolFailureKind } from "./AgentEvent.ts"
import { CurrentRun } from "./internal/currentRun.ts"
import { inspect } from "./internal/json.ts"
import * as LoopDetector from "./LoopDetector.ts"

/**
 * A call of a tool, as the model made it.
 *
 * @category models
 * @since 0.1.0
 */
export interface ToolCall {
  readonly id: string
  readonly name: string
  /** Decoded JSON, or the raw text of arguments that are not JSON. `""`, `null` and nothing mean `{}`. */
  readonly params: unknown
}

/**
 * How a call ended. `result` is JSON, and what the model is told.
 *
 * @category models
 * @since 0.1.0
 */
export type ToolOutcome =
  | {
      readonly isFailure: false
      readonly result: unknown
      /** Content for the model in place of `result`, from the tool's `toModelOutput`. */
      readonly modelOutput: ReadonlyArray<Prompt.TextPartEncoded | Prompt.FilePartEncoded> | undefined
    }
  | {
      readonly isFailure: true
      readonly kind: ToolFailureKind
      readonly result: unknown
      /** What the model is not told, for events and logs. */
      readonly detail: string | undefined
      /** The failure of a tool whose `failureMode` is `"error"`: it ends the run. */
      readonly raised: { readonly error: unknown } | undefined
    }

/**
 * The tools of an agent, ready to run.
 *
 * @category models
 * @since 0.1.0
 */
export interface Toolbox<out E = never> {
  /** The tools, in the order in which the toolkit has them. */
  readonly tools: ReadonlyArray<Tool.Any>
  /**
   * Runs a call. Fails only with the failure of a tool whose `failureMode` is `"error"`.
   *
   * `onProgress` receives the preliminary results of the handler, encoded.
   */
  readonly call: (call: ToolCall, onProgress?: ((result: unknown) => void) | undefined) => Effect.Effect<ToolOutcome, E>
}

/**
 * The longest a call of the tool may take, retries excluded: each attempt has this time. Default: no limit.
 *
 * **Example**
 *
 * ```ts
 * import * as Tool from "effect/ai/Tool"
 * import * as Toolbox from "effect-agent-runtime/Toolbox"
 *
 * const Search = Tool.make("search").annotate(Toolbox.Timeout, "10 seconds")
 * ```
 *
 * @category annotations
 * @since 0.1.0
 */
export const Timeout = Context.Reference<Duration.Input | undefined>("effect-agent-runtime/Toolbox/Timeout", {
  defaultValue: () => undefined
})

/**
 * When to run the handler again after it failed or timed out. The model sees only the last outcome. Default: never.
 *
 * @category annotations
 * @since 0.1.0
 */
export const Retry = Context.Reference<Schedule.Schedule<unknown> | undefined>("effect-agent-runtime/Toolbox/Retry", {
  defaultValue: () => undefined
})

/**
 * The longest result the model is sent, in characters of JSON. Longer ones are cut, with a note that says so.
 * Default 100,000.
 *
 * @category annotations
 * @since 0.1.0
 */
export const MaxResultSize = Context.Reference<number>("effect-agent-runtime/Toolbox/MaxResultSize", {
  defaultValue: () => 100_000
})

/** Bounds of arguments from a model: deeper or larger ones are refused unread. */
const paramsLimits = { depth: 64, size: 1_000_000 }
/** Bounds of results: JSON any deeper is refused by most parsers. */
const resultDepth = 512

/**
 * Captures the handlers and services of a toolkit from the context.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <Tools extends Record<string, Tool.Any>>(
  toolkit: Toolkit.Toolkit<Tools>
): Effect.Effect<
  Toolbox<Tool.HandlerError<Tools[keyof Tools]>>,
  never,
  Tool.HandlersFor<Tools> | Tool.HandlerServices<Tools[keyof Tools]>
> =>
  Effect.contextWith((context: Context.Context<never>) => {
    const bound = bind(compile(toolkit), context)
    return Effect.succeed({
      tools: bound.compiled.tools,
      // What is raised is the failure of one of the toolkit's own tools.
      call: Effect.fnUntraced(call.bind(undefined, bound)) as Toolbox<Tool.HandlerError<Tools[keyof Tools]>>["call"]
    })
  })

function* call(...args: Parameters<typeof invoke>): Effect.fn.Return<ToolOutcome, unknown> {
  const outcome = yield* invoke(...args)
  return outcome.isFailure && outcome.raised !== undefined ? yield* Effect.fail(outcome.raised.error) : outcome
}

/**
 * Merges toolkits like `Toolkit.merge`, but throws `InvalidAgent` when two tools have the same name, of which one
 * would silently never be called.
 *
 * @category combining
 * @since 0.1.0
 */
export const merge = <const Toolkits extends ReadonlyArray<Toolkit.Any>>(
  ...toolkits: Toolkits
): Toolkit.Toolkit<Toolkit.MergedTools<Toolkits>> => {
  const names = new Set<string>()
  for (const name of toolkits.flatMap((toolkit) => Object.keys(toolkit.tools))) {
    if (names.has(name)) throw new InvalidAgent({ field: "toolkit", issue: `has two tools named '${name}'` })
    names.add(name)
  }
  return Toolkit.merge(...toolkits)
}

/** A tool with its codecs and settings. */
interface CompiledTool {
  readonly tool: Tool.Any
  readonly decode: (params: unknown) => Effect.Effect<unknown, Schema.SchemaError>
  readonly encodeSuccess: (result: unknown) => Effect.Effect<unknown, Schema.SchemaError>
  readonly encodeFailure: (error: unknown) => Effect.Effect<unknown, Schema.SchemaError>
  readonly timeout: Duration.Duration | undefined
  readonly retry: Schedule.Schedule<unknown> | undefined
  readonly maxResultSize: number
}

/** A toolkit, compiled. @internal */
export interface Compiled {
  readonly tools: ReadonlyArray<Tool.Any>
  readonly names: ReadonlyArray<string>
  readonly byName: ReadonlyMap<string, CompiledTool>
  readonly rules: ReadonlyMap<string, LoopDetector.Rule>
}

/** A compiled toolkit with the context that its handlers run in. @internal */
export interface Bound {
  readonly compiled: Compiled
  readonly context: Context.Context<never>
  readonly currentRun: (() => CurrentRun) | undefined
  /** The contexts of the handlers merged with the run's, made when first needed. */
  readonly merged: Map<Context.Context<never>, Context.Context<never>>
}

const compiledToolkits = new WeakMap<Toolkit.Any, Compiled>()

/** Compiles a toolkit, once. @internal */
export const compile = (toolkit: Toolkit.Any): Compiled => {
  const known = compiledToolkits.get(toolkit)
  if (known !== undefined) return known
  const tools = Object.values(toolkit.tools)
  const compiled: Compiled = {
    tools,
    names: tools.map((tool) => tool.name),
    byName: new Map(tools.map((tool) => [tool.name, compileTool(tool)])),
    rules: new Map(tools.map((tool) => [tool.name, LoopDetector.rule(tool)]))
  }
  compiledToolkits.set(toolkit, compiled)
  return compiled
}

const compileTool = (tool: Tool.Any): CompiledTool => {
  const timeout = Context.get(tool.annotations, Timeout)
  return {
    tool,
    // A dynamic tool may have a plain JSON Schema: its handler takes the arguments as they are.
    decode: Schema.isSchema(tool.parametersSchema) ? decoder(tool.parametersSchema) : Effect.succeed,
    encodeSuccess: encoder(tool.successSchema),
    encodeFailure: encoder(tool.failureSchema),
    timeout: timeout === undefined ? undefined : Duration.fromInputUnsafe(timeout),
    retry: Context.get(tool.annotations, Retry),
    maxResultSize: Context.get(tool.annotations, MaxResultSize)
  }
}

type Codec = (value: unknown) => Effect.Effect<unknown, Schema.SchemaError>

/** Remembers a codec for as long as its schema lives, so that tools made anew from the same schemas compile once. */
const cached = (make: (schema: Schema.Codec<unknown, unknown>) => Codec) => {
  const codecs = new WeakMap<Schema.Top, Codec>()
  return (schema: Schema.Top): Codec => {
    let codec = codecs.get(schema)
    if (codec === undefined) {
      // The services a schema needs are in the `R` of `make`, and so in the context the codec runs in.
      codec = make(schema as Schema.Codec<unknown, unknown>)
      codecs.set(schema, codec)
    }
    return codec
  }
}

const decoder = cached((schema) => Schema.decodeUnknownEffect(Schema.toCodecJson(schema), { errors: "all" }))
const encoder = cached((schema) => Schema.encodeUnknownEffect(Schema.toCodecJson(schema)))

/** Puts a compiled toolkit into a context, and its handlers to work for a run. @internal */
export const bind = (
  compiled: Compiled,
  context: Context.Context<never>,
  currentRun?: (() => CurrentRun) | undefined
): Bound => ({ compiled, context, currentRun, merged: new Map() })

/**
 * One call, as a generator so that the loop can run it without an Effect of its own.
 *
 * Prepare, execute, finalize: whatever goes wrong early joins the same path as a failed outcome. @internal
 */
export function* invoke(
  self: Bound,
  call: ToolCall,
  onProgress?: ((result: unknown) => void) | undefined
): Effect.fn.Return<ToolOutcome> {
  const compiled = self.compiled.byName.get(call.name)
  if (compiled === undefined) return unknownTool(self, call.name)
  const raw = readParams(call.params)
  if (Result.isFailure(raw)) return invalidParams(call.name, raw.failure)
  const params = yield* exitOf(compiled.decode(raw.success))
  if (Exit.isFailure(params)) return invalidParams(call.name, messageOf(params.cause))

  const exit = yield* exitOf(execute(self, compiled, call, params.value, onProgress))

  if (Exit.isSuccess(exit)) {
    const encoded = yield* exitOf(compiled.encodeSuccess(exit.value))
    if (Exit.isFailure(encoded)) return defect(`Invalid result: ${messageOf(encoded.cause)}`)
    const unfit = limitResult(encoded.value, compiled.maxResultSize)
    if (unfit !== undefined) return unfit
    const shown = yield* exitOf(modelOutput(compiled.tool, exit.value))
    if (Exit.isFailure(shown)) return defect(`Invalid model output: ${messageOf(shown.cause)}`)
    return { isFailure: false, result: encoded.value ?? null, modelOutput: shown.value }
  }
  const error = Cause.findError(exit.cause)
  if (Result.isFailure(error)) return defect(Cause.pretty(exit.cause))
  if (error.success instanceof TimedOut) return timedOut(call.name, error.success.after)
  const raised = compiled.tool.failureMode === "error" ? { error: error.success } : undefined
  if (AiError.isAiError(error.success) || AiError.isAiErrorReason(error.success)) {
    return failure("failure", { error: error.success.message }, undefined, raised)
  }
  const encoded = yield* exitOf(compiled.encodeFailure(error.success))
  if (Exit.isFailure(encoded)) return defect(`Invalid failure: ${messageOf(encoded.cause)}`, raised)
  const unfit = limitResult(encoded.value, compiled.maxResultSize)
  return failure("failure", unfit === undefined ? encoded.value : unfit.result, undefined, raised)
}

/** `Effect.exit`, free of charge for effects that are already done. */
const exitOf = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<Exit.Exit<A, E>> =>
  Exit.isExit(effect) ? Effect.succeed(effect as Exit.Exit<A, E>) : Effect.exit(effect)

/** What the model is shown in place of a result, encoded; `undefined` for the result itself. */
const modelOutput = (
  tool: Tool.Any,
  result: unknown
): Effect.Effect<ReadonlyArray<Prompt.TextPartEncoded | Prompt.FilePartEncoded> | undefined, Schema.SchemaError> => {
  const { toModelOutput } = tool
  return toModelOutput === undefined
    ? Effect.succeed(undefined)
    : Effect.suspend(() => encodeModelOutput(toModelOutput(result)))
}

const encodeModelOutput = Schema.encodeEffect(Schema.Array(Prompt.ToolModelOutputPart))

/** The handler's effect with its services, timeout and retries. */
const execute = (
  self: Bound,
  compiled: CompiledTool,
  call: ToolCall,
  params: unknown,
  onProgress: ((result: unknown) => void) | undefined
): Effect.Effect<unknown, unknown> => {
  const handler = self.context.mapUnsafe.get(compiled.tool.id) as Tool.Handler<string> | undefined
  if (handler === undefined) return Effect.die(`No handler for tool '${call.name}' in the context`)
  const handlerContext = {
    toolCallId: call.id,
    preliminary: (result: unknown) =>
      onProgress === undefined
        ? Effect.void
        : Effect.map(Effect.orDie(compiled.encodeSuccess(result)), (encoded) => onProgress(encoded))
  }
  const { retry, timeout } = compiled
  if (timeout === undefined && retry === undefined) {
    const effect = start(handler, params, handlerContext)
    return Exit.isExit(effect) ? effect : Effect.provideContext(effect, handlerServices(self, handler))
  }
  let effect = Effect.suspend(() => handler.handler(params, handlerContext))
  if (timeout !== undefined) {
    effect = Effect.timeoutOrElse(effect, { duration: timeout, orElse: () => Effect.fail(new TimedOut(timeout)) })
  }
  if (retry !== undefined) effect = Effect.retry(effect, retry)
  return Effect.provideContext(effect, handlerServices(self, handler))
}

/** Calls a handler. One that throws before it returns its effect has died. */
const start = (
  handler: Tool.Handler<string>,
  params: unknown,
  context: { readonly toolCallId: string; readonly preliminary: (result: unknown) => Effect.Effect<void> }
): Effect.Effect<unknown, unknown> => {
  try {
    return handler.handler(params, context)
  } catch (thrown) {
    return Effect.die(thrown)
  }
}

/** The services of a handler: those of the run, and those its Layer was built with. */
const handlerServices = (self: Bound, handler: Tool.Handler<string>): Context.Context<never> => {
  let merged = self.merged.get(handler.context)
  if (merged === undefined) {
    merged = Context.merge(handler.context, self.context)
    if (self.currentRun !== undefined) merged = Context.add(merged, CurrentRun, self.currentRun())
    self.merged.set(handler.context, merged)
  }
  return merged
}

/** Ends an attempt that took too long. */
class TimedOut {
  readonly after: Duration.Duration
  constructor(after: Duration.Duration) {
    this.after = after
  }
}

/** The arguments as a JSON value that is safe to look at, or why there is none. */
const readParams = (params: unknown): Result.Result<unknown, string> => {
  if (params === undefined || params === null || params === "") return Result.succeed({})
  if (typeof params === "string") {
    if (params.length > paramsLimits.size) return Result.fail("they are too large")
    const parsed = parseJson(params)
    return Result.isFailure(parsed)
      ? Result.fail(`they are not valid JSON (${parsed.failure})`)
      : checked(parsed.success)
  }
  return checked(params)
}

const checked = (params: unknown): Result.Result<unknown, string> => {
  const unsafe = inspect(params, paramsLimits)
  return unsafe === undefined ? Result.succeed(params ?? {}) : Result.fail(`the JSON ${unsafe}`)
}

const parseJson = (text: string): Result.Result<unknown, string> =>
  Result.try({
    try: (): unknown => JSON.parse(text),
    catch: (error) => (error instanceof Error ? error.message : String(error))
  })

const messageOf = (cause: Cause.Cause<Schema.SchemaError>): string => {
  const error = Cause.findError(cause)
  return Result.isSuccess(error) ? error.success.message : Cause.pretty(cause)
}

type Raised = { readonly error: unknown } | undefined

const failure = (kind: ToolFailureKind, result: unknown, detail?: string, raised?: Raised) =>
  ({ isFailure: true, kind, result, detail, raised }) as const

const unknownTool = (self: Bound, name: string): ToolOutcome => {
  const { names } = self.compiled
  const known = names.length === 0 ? "There are no tools." : `The tools are: ${names.join(", ")}.`
  return failure("unknown-tool", `There is no tool '${name}'. ${known}`)
}

const invalidParams = (name: string, issue: string): ToolOutcome =>
  failure("invalid-params", `Invalid arguments for tool '${name}': ${issue}. Correct the arguments and call again.`)

const timedOut = (name: string, after: Duration.Duration): ToolOutcome =>
  failure("timeout", `Tool '${name}' gave no result within ${Duration.format(after)}.`)

/** The model learns only that it failed: the text of a defect may hold secrets. */
const defect = (detail: string, raised?: Raised) => failure("defect", "The tool failed unexpectedly.", detail, raised)

/** What to answer in place of a result that is too large or too deep, or `undefined` if it is neither. */
const limitResult = (result: unknown, size: number): ToolOutcome | undefined => {
  const unfit = inspect(result, { depth: resultDepth, size })
  if (unfit === "too deep") return defect(`Invalid result: nested deeper than ${resultDepth}`)
  if (unfit !== "too large") return undefined
  const text = typeof result === "string" ? result : JSON.stringify(result)
  if (text.length <= size) return undefined
  return { isFailure: false, result: cut(text, size), modelOutput: undefined }
}

/** The beginning of a text that is too long, never cut inside a character. */
const cut = (text: string, size: number): string => {
  const end = /[\uD800-\uDBFF]/.test(text.charAt(size - 1)) ? size - 1 : size
  return `${text.slice(0, end)}… [cut: ${end} of ${text.length} characters]`
}
