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
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type { BudgetExceeded } from "./AgentError.ts"
import { InvalidAgent } from "./AgentError.ts"
import type { ToolFailureKind } from "./AgentEvent.ts"
import type { Account } from "./internal/account.ts"
import { CurrentAccount } from "./internal/account.ts"
import * as Charge from "./internal/charge.ts"
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

const fiveMinutes = Duration.minutes(5)

/**
 * The longest a call of the tool may take, retries excluded: each attempt has this time. Default 5 minutes;
 * `Duration.infinity` for no limit.
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
export const Timeout = Context.Reference<Duration.Input>("effect-agent-runtime/Toolbox/Timeout", {
  defaultValue: () => fiveMinutes
})

/**
 * When to run the handler again after it failed or timed out, but not after it died. The model sees only the last
 * outcome. Default: never.
 *
 * @category annotations
 * @since 0.1.0
 */
export const Retry = Context.Reference<Schedule.Schedule<unknown> | undefined>("effect-agent-runtime/Toolbox/Retry", {
  defaultValue: () => undefined
})

/**
 * The longest text the model is told about a call, in characters: of the result as JSON, of the text that
 * `toModelOutput` makes of it, of a failure. Longer ones are cut, with a note that says so. Default 100,000.
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
/** How much the model is told of what is wrong with arguments, and of a name that it made up. */
const issueSize = 4000
const quoteSize = 200

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
      tools: bound.toolkit.tools,
      // What is raised is the failure of one of the toolkit's own tools.
      call: call.bind(undefined, bound) as Toolbox<Tool.HandlerError<Tools[keyof Tools]>>["call"]
    })
  })

const call = (...args: Parameters<typeof invoke>): Effect.Effect<ToolOutcome, unknown> =>
  Effect.flatMap(
    Effect.suspend(() => invoke(...args)),
    (outcome) =>
      outcome.isFailure && outcome.raised !== undefined ? Effect.fail(outcome.raised.error) : Effect.succeed(outcome)
  )

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

/** A toolkit whose tools are compiled when they are first called. @internal */
export interface Compiled {
  readonly tools: ReadonlyArray<Tool.Any>
  /** Those that have been called, by name; made with the first. */
  compiled: Map<string, CompiledTool> | undefined
}

/** A tool with its codecs and settings. @internal */
export interface CompiledTool extends Settings {
  readonly tool: Tool.Any
  /** Where the context has the handler. */
  readonly handler: Context.Key<unknown, Tool.Handler<string>>
  readonly decode: Codec
  readonly encodeSuccess: Codec
}

type Codec = (value: unknown) => Effect.Effect<unknown, Schema.SchemaError>

/** What the annotations of a tool say. */
interface Settings {
  readonly timeout: Duration.Duration
  readonly retry: Schedule.Schedule<unknown> | undefined
  readonly maxResultSize: number
  readonly loopRule: LoopDetector.Rule
}

/** A compiled toolkit with the context that its handlers run in. @internal */
export interface Bound {
  readonly toolkit: Compiled
  readonly context: Context.Context<never>
  readonly currentRun: (() => CurrentRun) | undefined
  /** What calls of a run with a budget draw from. */
  readonly account: Account | undefined
  /** The tools that may be called now; `undefined` for all. */
  offered: ReadonlyArray<Tool.Any> | undefined
  /** The contexts of the handlers merged with the run's, made when first needed. */
  merged: Map<Context.Context<never>, Context.Context<never>> | undefined
}

/** Throws `InvalidAgent` when the annotations of a tool are unusable. @internal */
export const compile = (toolkit: Toolkit.Any): Compiled => {
  const tools = Object.values(toolkit.tools)
  for (const tool of tools) settings(tool)
  return { tools, compiled: undefined }
}

/** The tool of a name, compiled; `undefined` when the toolkit has none. @internal */
export const lookup = (self: Compiled, name: string): CompiledTool | undefined => {
  const known = self.compiled?.get(name)
  if (known !== undefined) return known
  const tool = self.tools.find((tool) => tool.name === name)
  if (tool === undefined) return undefined
  const compiled = compileTool(tool)
  self.compiled ??= new Map()
  self.compiled.set(name, compiled)
  return compiled
}

const compileTool = (tool: Tool.Any): CompiledTool => ({
  ...settings(tool),
  tool,
  // Toolkits put handlers under the ids of their tools.
  handler: { key: tool.id } as Context.Key<unknown, Tool.Handler<string>>,
  decode: decoder(tool.parametersSchema),
  encodeSuccess: encoder(tool.successSchema)
})

const settings = (tool: Tool.Any): Settings => (tool.annotations.mapUnsafe.size === 0 ? plain : annotated(tool))

const annotated = (tool: Tool.Any): Settings => {
  const { annotations, name } = tool
  const timeout = Context.get(annotations, Timeout)
  const duration = Duration.fromInput(timeout)
  if (Option.isNone(duration)) {
    throw new InvalidAgent({ field: "toolkit", issue: `has a tool '${name}' with the timeout '${String(timeout)}'` })
  }
  const maxResultSize = Context.get(annotations, MaxResultSize)
  if (!(maxResultSize >= 1)) {
    throw new InvalidAgent({ field: "toolkit", issue: `has a tool '${name}' with the result size ${maxResultSize}` })
  }
  return {
    timeout: duration.value,
    retry: Context.get(annotations, Retry),
    maxResultSize,
    loopRule: LoopDetector.rule(tool)
  }
}

/** The settings of a tool without annotations. */
const plain = annotated(Tool.make("plain"))

/** Remembers a codec for as long as its schema lives, so that tools made anew from the same schemas compile once. */
const cached = (make: (schema: Schema.Codec<unknown, unknown>) => Codec) => {
  const codecs = new WeakMap<Schema.Top, Codec>()
  return (schema: Schema.Top): Codec => {
    let codec = codecs.get(schema)
    if (codec === undefined) {
      // A dynamic tool may have a plain JSON Schema: its handler takes the arguments as they are. The services that
      // a schema needs are in the `R` of `make`, and so in the context the codec runs in.
      codec = Schema.isSchema(schema) ? make(schema as Schema.Codec<unknown, unknown>) : Effect.succeed
      codecs.set(schema, codec)
    }
    return codec
  }
}

const decoder = cached((schema) => Schema.decodeUnknownEffect(Schema.toCodecJson(schema)))
/** A decoder that fails with all issues, not with the first. */
const explainer = cached((schema) => Schema.decodeUnknownEffect(Schema.toCodecJson(schema), { errors: "all" }))
const encoder = cached((schema) => Schema.encodeUnknownEffect(Schema.toCodecJson(schema)))

/** Puts a compiled toolkit into a context, and its handlers to work for a run. @internal */
export const bind = (
  toolkit: Compiled,
  context: Context.Context<never>,
  currentRun?: (() => CurrentRun) | undefined,
  account?: Account | undefined
): Bound => ({ toolkit, context, currentRun, account, offered: undefined, merged: undefined })

/**
 * One call: prepare, execute, finalize. Whatever goes wrong early joins the same path as a failed outcome.
 *
 * It begins at once and is to be called by the fiber that runs it. What need not wait is done when it returns.
 * @internal
 */
export const invoke = (
  self: Bound,
  call: ToolCall,
  onProgress?: ((result: unknown) => void) | undefined
): Effect.Effect<ToolOutcome> => {
  const compiled = lookup(self.toolkit, call.name)
  if (compiled === undefined || self.offered?.includes(compiled.tool) === false) {
    return Effect.succeed(unknownTool(self.offered ?? self.toolkit.tools, call.name))
  }
  const raw = readParams(call.params)
  if (Result.isFailure(raw)) return Effect.succeed(invalidParams(call.name, raw.failure))
  return whenDone(compiled.decode(raw.success), (params) =>
    Exit.isFailure(params)
      ? explain(compiled, raw.success)
      : self.account === undefined
        ? whenDone(execute(self, compiled, call, params.value, onProgress), (exit) => finalize(compiled, exit))
        : Effect.matchEffect(
            Charge.toolCall(self.account, () => execute(self, compiled, call, params.value, onProgress)),
            {
              onSuccess: (exit) => finalize(compiled, exit),
              onFailure: (refusal) => Effect.succeed(overBudget(call.name, refusal))
            }
          )
  )
}

/** Goes on with the exit of an effect, at once if it is already done. */
const whenDone = <A, E, B>(
  effect: Effect.Effect<A, E>,
  f: (exit: Exit.Exit<A, E>) => Effect.Effect<B>
): Effect.Effect<B> => (Exit.isExit(effect) ? f(effect as Exit.Exit<A, E>) : Effect.flatMap(Effect.exit(effect), f))

/** All that is wrong with arguments. The first look stops at the first issue, which is cheaper for good ones. */
const explain = ({ tool }: CompiledTool, params: unknown): Effect.Effect<ToolOutcome> =>
  whenDone(explainer(tool.parametersSchema)(params), (exit) =>
    Effect.succeed(invalidParams(tool.name, Exit.isFailure(exit) ? messageOf(exit.cause) : "they are not stable"))
  )

/** From the end of a handler to the outcome. */
const finalize = (compiled: CompiledTool, exit: Exit.Exit<unknown, unknown>): Effect.Effect<ToolOutcome> => {
  if (Exit.isSuccess(exit)) return succeeded(compiled, exit.value)
  const error = Cause.findError(exit.cause)
  if (Result.isFailure(error)) return Effect.succeed(defect(Cause.pretty(exit.cause)))
  if (error.success instanceof TimedOut) return Effect.succeed(timedOut(compiled.tool.name, error.success.after))
  return failed(compiled, error.success)
}

const succeeded = (compiled: CompiledTool, value: unknown): Effect.Effect<ToolOutcome> =>
  whenDone(compiled.encodeSuccess(value), (encoded): Effect.Effect<ToolOutcome> => {
    if (Exit.isFailure(encoded)) return Effect.succeed(defect(`Invalid result: ${messageOf(encoded.cause)}`))
    const limited = limit(encoded.value ?? null, compiled.maxResultSize)
    if (Result.isFailure(limited)) return Effect.succeed(defect(limited.failure))
    const result = limited.success
    const { toModelOutput } = compiled.tool
    if (toModelOutput === undefined) return Effect.succeed({ isFailure: false, result, modelOutput: undefined })
    return whenDone(
      Effect.suspend(() => encodeModelOutput(toModelOutput(value))),
      (shown): Effect.Effect<ToolOutcome> =>
        Effect.succeed(
          Exit.isSuccess(shown)
            ? { isFailure: false, result, modelOutput: limitText(shown.value, compiled.maxResultSize) }
            : defect(`Invalid model output: ${messageOf(shown.cause)}`)
        )
    )
  })

const encodeModelOutput = Schema.encodeEffect(Schema.Array(Prompt.ToolModelOutputPart))

const failed = (compiled: CompiledTool, error: unknown): Effect.Effect<ToolOutcome> => {
  const raised = compiled.tool.failureMode === "error" ? { error } : undefined
  if (AiError.isAiError(error) || AiError.isAiErrorReason(error)) {
    return Effect.succeed(failure("failure", { error: error.message }, undefined, raised))
  }
  return whenDone(encoder(compiled.tool.failureSchema)(error), (encoded) => {
    if (Exit.isFailure(encoded)) return Effect.succeed(defect(`Invalid failure: ${messageOf(encoded.cause)}`, raised))
    const limited = limit(encoded.value, compiled.maxResultSize)
    return Effect.succeed(
      Result.isFailure(limited)
        ? defect(limited.failure, raised)
        : failure("failure", limited.success, undefined, raised)
    )
  })
}

/** The handler's effect with its services, timeout and retries. */
const execute = (
  self: Bound,
  compiled: CompiledTool,
  call: ToolCall,
  params: unknown,
  onProgress: ((result: unknown) => void) | undefined
): Effect.Effect<unknown, unknown> => {
  const handler = Context.getOrUndefined(self.context, compiled.handler)
  if (handler === undefined) return Effect.die(`No handler for tool '${call.name}' in the context`)
  const handlerContext = {
    toolCallId: call.id,
    // Encoded though nobody may be watching: what a handler gets wrong must not depend on that.
    preliminary: (result: unknown) =>
      Effect.map(Effect.orDie(compiled.encodeSuccess(result)), (encoded) =>
        onProgress?.(Result.getOrElse(limit(encoded, compiled.maxResultSize), () => null))
      )
  }
  const { retry, timeout } = compiled
  if (retry === undefined) {
    const effect = start(handler, params, handlerContext)
    return Exit.isExit(effect)
      ? effect
      : contained(Effect.provideContext(effect, handlerServices(self, handler)), timeout)
  }
  const attempt = Effect.suspend(() => contained(start(handler, params, handlerContext), timeout))
  return Effect.provideContext(Effect.retry(attempt, retry), handlerServices(self, handler))
}

/**
 * Runs an effect in a fiber of its own, so that what it forks ends with it and not with the run's fiber, and for no
 * longer than it may take.
 * @internal
 */
export const contained = <A>(
  effect: Effect.Effect<A, unknown>,
  timeout: Duration.Duration
): Effect.Effect<A, unknown> =>
  // Interrupted at any moment, it leaves the fiber behind at none.
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(Effect.forkChild(effect, { startImmediately: true }), (fiber) => {
      const exit = fiber.pollUnsafe()
      if (exit !== undefined) return exit
      const joined = Fiber.join(fiber)
      const limited = Duration.isFinite(timeout)
        ? Effect.timeoutOrElse(joined, { duration: timeout, orElse: () => Effect.fail(new TimedOut(timeout)) })
        : joined
      return Effect.onExitPrimitive(restore(limited), () =>
        fiber.pollUnsafe() === undefined ? Fiber.interrupt(fiber) : undefined
      )
    })
  )

/** Calls a handler. One that throws before it returns its effect has died. */
const start = (
  handler: Tool.Handler<string>,
  params: unknown,
  context: { readonly toolCallId: string; readonly preliminary: (result: unknown) => Effect.Effect<void> }
): Effect.Effect<unknown, unknown> => {
  try {
    const effect = handler.handler(params, context)
    return Effect.isEffect(effect) ? effect : Effect.die("The handler returned no Effect")
  } catch (thrown) {
    return Effect.die(thrown)
  }
}

/** The services of a handler: those of the run, and those its Layer was built with. */
const handlerServices = (self: Bound, handler: Tool.Handler<string>): Context.Context<never> => {
  const known = (self.merged ??= new Map()).get(handler.context)
  if (known !== undefined) return known
  let merged = Context.merge(handler.context, self.context)
  if (self.currentRun !== undefined) {
    merged = Context.add(merged, CurrentRun, self.currentRun())
    // A handler whose Layer was built within a budget belongs to the run that calls it all the same.
    if (Context.get(merged, CurrentAccount) !== self.account) merged = Context.add(merged, CurrentAccount, self.account)
  }
  self.merged.set(handler.context, merged)
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

const unknownTool = (tools: ReadonlyArray<Tool.Any>, name: string): ToolOutcome => {
  const names = tools.map((tool) => tool.name)
  const known = names.length === 0 ? "There are no tools." : `The tools are: ${names.join(", ")}.`
  return failure("unknown-tool", `There is no tool '${cut(name, quoteSize)}'. ${known}`)
}

const invalidParams = (name: string, issue: string): ToolOutcome =>
  failure(
    "invalid-params",
    `Invalid arguments for tool '${name}': ${cut(issue, issueSize)}. Correct the arguments and call again.`
  )

const overBudget = (name: string, { limit }: BudgetExceeded): ToolOutcome =>
  failure(
    "over-budget",
    `Tool '${name}' was not run: all ${limit} tool calls that are allowed have been made. Answer with what you have.`
  )

const timedOut = (name: string, after: Duration.Duration): ToolOutcome =>
  failure("timeout", `Tool '${name}' gave no result within ${Duration.format(after)}.`)

/** The model learns only that it failed: the text of a defect may hold secrets. */
const defect = (detail: string, raised?: Raised) => failure("defect", "The tool failed unexpectedly.", detail, raised)

/** A result that the model may be told, cut if it is too large; a failure if it is too deep. */
const limit = (result: unknown, size: number): Result.Result<unknown, string> => {
  switch (typeof result === "object" ? look(result, size) : inspect(result, { depth: resultDepth, size })) {
    case "cannot be read":
      return Result.fail("Invalid result: it cannot be read")
    case "too deep":
      return Result.fail(`Invalid result: nested deeper than ${resultDepth}`)
    case "too large":
      return Result.mapBoth(
        Result.try(() => (typeof result === "string" ? result : JSON.stringify(result))),
        {
          onSuccess: (text) => cut(text, size),
          onFailure: notJson
        }
      )
    case "holds what is not JSON":
      // A schema that takes anything lets through what has a JSON form, such as dates, and what has none.
      return Result.flatMap(
        Result.mapError(
          Result.try(() => JSON.parse(JSON.stringify(result) ?? "null") as unknown),
          notJson
        ),
        (json) => limit(json, size)
      )
    default:
      return Result.succeed(result)
  }
}

/** Whatever a schema takes as it is may throw when it is looked at. */
const look = (result: unknown, size: number) => {
  try {
    return inspect(result, { depth: resultDepth, size })
  } catch {
    return "cannot be read"
  }
}

const notJson = (thrown: unknown): string => `Invalid result: it is not JSON: ${String(thrown)}`

type ModelOutput = ReadonlyArray<Prompt.TextPartEncoded | Prompt.FilePartEncoded>

/** Content for the model whose texts, each, are not too long. */
const limitText = (content: ModelOutput, size: number): ModelOutput =>
  content.map((part) => (part.type === "text" ? { ...part, text: cut(part.text, size) } : part))

/** A text, or its beginning if it is too long, never cut inside a character. */
const cut = (text: string, size: number): string => {
  if (text.length <= size) return text
  const end = /[\uD800-\uDBFF]/.test(text.charAt(size - 1)) ? size - 1 : size
  return `${text.slice(0, end)}… [cut: ${end} of ${text.length} characters]`
}
