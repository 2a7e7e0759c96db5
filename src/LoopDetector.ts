/**
 * Notices that a model is going in circles, and answers it on a ladder: the previous result with a hint, then a
 * refusal, then a typed stop of the run.
 *
 * A deterministic state machine without I/O: {@link observe} sees each call the model asks for and returns a
 * verdict, {@link settle} sees how an allowed call ended. The same sequence always gives the same verdicts, which
 * makes the detector a thing to property-test (`effect-agent-runtime/testing` has its laws) and to bench alone.
 *
 * **What counts as a loop**
 *
 * - *Repeat*: a call that has already succeeded, with no new effect since. Two calls are the same when tool and
 *   canonical arguments are: key order never matters, numbers count by value. A tool not marked
 *   `Tool.Readonly` that succeeds with arguments never seen before is a new effect. So is each success of a
 *   {@link Repeatable} one, which moves something on, unless it only reads: then only a new result is. So reading a
 *   file again after editing it is fine, while A-A and A-B-A-B are not.
 * - *Failing*: the same call that has failed `maxFailures` times in a row.
 * - *Same error*: a tool that has failed in `maxSameError` turns in a row with the same error, whatever the arguments
 *   and what of them the error repeats. After each time the model was told so, arguments that it has not tried before
 *   get one more chance.
 *
 * A call that succeeds for the first time is progress: the ladder and the failure counts start again. A result is only
 * given again while it is fresh: once any other call may have changed something, the answer is a refusal instead.
 *
 * **Laws**
 *
 * 1. Key order of arguments never changes a verdict.
 * 2. Distinct calls are never blamed as long as they succeed.
 * 3. A cycle of any period `p <= window` of succeeding calls is blamed at its `2p`-th call or before.
 * 4. A model that has only `k <= window` distinct calls is stopped after at most {@link bound} turns.
 * 5. State holds at most `window` calls, tools and polls each, whatever the model does.
 *
 * Laws 3 and 4 are about models that call no {@link Repeatable} tools, which are never blamed.
 *
 * Observing and settling cost O(1), canonicalising the arguments aside.
 *
 * @since 0.1.0
 */
import * as Tool from "effect/ai/Tool"
import * as Context from "effect/Context"
import * as Result from "effect/Result"
import { InvalidAgent } from "./AgentError.ts"
import { canonical } from "./internal/json.ts"

/**
 * The settings of a detector, all with a default.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Distinct calls remembered; also the longest cycle found. Default 64. */
  readonly window?: number | undefined
  /** Times in a row that the same call may fail before it counts as a loop. Default 3. */
  readonly maxFailures?: number | undefined
  /** Turns in a row in which one tool may fail with the same error before it counts as a loop. Default 5. */
  readonly maxSameError?: number | undefined
  /** Looping turns answered with the previous result, if it is fresh. Default 2. */
  readonly replays?: number | undefined
  /** Looping turns after those that are answered with a refusal. The next one stops the run. Default 2. */
  readonly refusals?: number | undefined
  /**
   * The text of a replay. `{tool_name}` and `{previous_result}` are replaced, the latter by the previous result as
   * JSON (a text as it is). Default {@link defaultMessage}.
   */
  readonly message?: string | undefined
}

/**
 * A detector: settings, no state.
 *
 * @category models
 * @since 0.1.0
 */
export interface LoopDetector {
  readonly window: number
  readonly maxFailures: number
  readonly maxSameError: number
  readonly replays: number
  readonly refusals: number
  readonly message: string
}

/**
 * A call as the detector sees it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Call {
  readonly tool: string
  /** The identity of the call, see {@link key}. */
  readonly key: string
  /** Which turn asks. All loops of one turn climb the ladder together, by one rung. */
  readonly turn: number
  /** The tool is meant to be called again and again (polling): never blamed. */
  readonly repeatable?: boolean | undefined
  /** The tool changes nothing, so its success is no new effect. */
  readonly readOnly?: boolean | undefined
}

/**
 * Why a call counts as a loop.
 *
 * @category models
 * @since 0.1.0
 */
export type LoopKind = "repeat" | "failing" | "same-error"

/**
 * What to do with a call.
 *
 * @category models
 * @since 0.1.0
 */
export type Verdict = "allow" | "replay" | "refuse" | "stop"

/**
 * The state of a detector during one run. Owned by its run: {@link observe} and {@link settle} change it in place.
 *
 * @category models
 * @since 0.1.0
 */
export interface State {
  readonly calls: Map<string, CallRecord>
  /** What is remembered of tools; made with the first failure. */
  tools: Map<string, ToolRecord> | undefined
  /** The last results of repeatable calls that only read; made with the first. */
  polls: Map<string, { result: unknown }> | undefined
  /** Counts new effects. A success is repeated only while no new effect has happened since. */
  effects: number
  /** Counts successes that may have changed something, first or not. A result is fresh until the next one. */
  changes: number
  /** Allowed calls that may be changing something right now. */
  changing: number
  /** Counts first successes. Failure counts from before the last one no longer matter. */
  progress: number
  /** Looping turns since the last progress. */
  rung: number
  /** The turn that climbed last. */
  climbedAt: number
  /** Why the last call that was not allowed counted as a loop. */
  kind: LoopKind
}

/** How a call ended. */
interface Outcome {
  readonly isFailure: boolean
  readonly result: unknown
}

/** What is remembered of one call. */
interface CallRecord {
  /** `effects` when the call last succeeded; -1 before. */
  succeededAt: number
  /** `changes` when the call last succeeded: its result is fresh while that has not moved on. */
  freshAt: number
  running: boolean
  failures: number
  failedAt: number
  isFailure: boolean
  result: unknown
}

/** What is remembered of one tool. */
interface ToolRecord {
  /** The last error, and the call that had it. */
  error: string
  key: string
  result: unknown
  /** Turns in a row that ended with `error`, and the last of them. */
  sameErrors: number
  turn: number
  failedAt: number
  /** The model has been told since the last failure. */
  told: boolean
}

/**
 * Marks a tool that is meant to be called again and again with the same arguments: a status poll, a scroll, a step of a
 * debugger.
 *
 * **Details**
 *
 * Such calls are never blamed. Each success counts as a new effect, so that a look at the screen between two scrolls
 * is no repeat. A poll changes nothing: mark it `Tool.Readonly` too, and only what it newly reports counts.
 *
 * **Example**
 *
 * ```ts
 * import * as Tool from "effect/ai/Tool"
 * import * as LoopDetector from "effect-agent-runtime/LoopDetector"
 *
 * const JobStatus = Tool.make("job_status").annotate(LoopDetector.Repeatable, true).annotate(Tool.Readonly, true)
 * const ScrollDown = Tool.make("scroll_down").annotate(LoopDetector.Repeatable, true)
 * ```
 *
 * @category annotations
 * @since 0.1.0
 */
export const Repeatable = Context.Reference<boolean>("effect-agent-runtime/LoopDetector/Repeatable", {
  defaultValue: () => false
})

/**
 * Gives a tool its own idea of when two calls are the same: the function maps the arguments the model sent to the
 * value that counts, for example to leave out a free-text comment.
 *
 * @category annotations
 * @since 0.1.0
 */
export const Identity = Context.Reference<((params: unknown) => unknown) | undefined>(
  "effect-agent-runtime/LoopDetector/Identity",
  { defaultValue: () => undefined }
)

/**
 * How the detector is to see the calls of a tool, from the tool's annotations.
 *
 * @category models
 * @since 0.1.0
 */
export interface Rule {
  readonly repeatable: boolean
  readonly readOnly: boolean
  readonly identity: ((params: unknown) => unknown) | undefined
}

/**
 * The rule of a tool, from its annotations {@link Repeatable}, {@link Identity} and `Tool.Readonly`.
 *
 * @category getters
 * @since 0.1.0
 */
export const rule = (tool: Tool.Any): Rule => ({
  repeatable: Context.get(tool.annotations, Repeatable),
  readOnly: Context.get(tool.annotations, Tool.Readonly),
  identity: Context.get(tool.annotations, Identity)
})

/**
 * The text of a replay unless another is set: the message of the original `agent-runtime`.
 *
 * @category constants
 * @since 0.1.0
 */
export const defaultMessage: string =
  "You already called the tool '{tool_name}' with these exact parameters and received a response: {previous_result}. "
  + "Please use the previous result instead of calling it again. "
  + "If you need different information, try calling with different parameters."

/**
 * Makes a detector.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: Options = {}): LoopDetector => ({
  window: setting("window", 1, options.window ?? 64),
  maxFailures: setting("maxFailures", 1, options.maxFailures ?? 3),
  maxSameError: setting("maxSameError", 1, options.maxSameError ?? 5),
  replays: setting("replays", 0, options.replays ?? 2),
  refusals: setting("refusals", 0, options.refusals ?? 2),
  message: options.message ?? defaultMessage
})

const setting = (field: string, least: number, value: number): number => {
  if (Number.isInteger(value) && value >= least) return value
  throw new InvalidAgent({
    field: `loopDetector.${field}`,
    issue: `must be an integer of at least ${least}, is ${value}`
  })
}

/**
 * The state at the beginning of a run.
 *
 * @category constructors
 * @since 0.1.0
 */
export const initial = (): State => ({
  calls: new Map(),
  tools: undefined,
  polls: undefined,
  effects: 0,
  changes: 0,
  changing: 0,
  progress: 0,
  rung: 0,
  climbedAt: -1,
  kind: "repeat"
})

/**
 * The identity of a call: the tool's name and its canonical arguments.
 *
 * **Details**
 *
 * Arguments that are not JSON (text, as the model wrote it) are told apart by that text, so a malformed call is
 * never mistaken for a correct one; missing arguments, `""` and `null` are `{}`.
 *
 * @category getters
 * @since 0.1.0
 */
export const key = (tool: string, params: unknown): string => {
  if (params === undefined || params === null || params === "") return `${tool}:{}`
  return `${tool}:${canonical(typeof params === "string" ? parsed(params) : params)}`
}

/** Arguments that came as JSON text, or the text if it is not JSON. */
const parsed = (text: string): unknown =>
  Result.getOrElse(
    Result.try(() => JSON.parse(text) as unknown),
    () => text
  )

/**
 * The identity of a call of a tool with its own idea of it, see {@link Identity}. Arguments that the tool's function
 * cannot read, because the model got them wrong, stand for themselves.
 *
 * @category getters
 * @since 0.1.0
 */
export const keyOf = (rule: Rule | undefined, tool: string, params: unknown): string => {
  const { identity } = rule ?? {}
  if (identity === undefined || typeof params === "string") return key(tool, params)
  return Result.getOrElse(
    Result.try(() => `${tool}:${canonical(identity(params))}`),
    () => key(tool, params)
  )
}

/**
 * Judges a call that the model asks for.
 *
 * **Details**
 *
 * - `"allow"`: run it, then {@link settle} it.
 * - `"replay"`, `"refuse"`: do not run it; answer with {@link answer}.
 * - `"stop"`: end the run.
 *
 * @category operations
 * @since 0.1.0
 */
export const observe = (self: LoopDetector, state: State, call: Call): Verdict => {
  if (call.repeatable === true) {
    if (call.readOnly !== true) state.changing++
    return "allow"
  }
  const record = recall(state.calls, call.key, self.window, newCallRecord)
  const tool = state.tools?.get(call.tool)
  const kind = blame(self, state, record, tool)
  if (kind === undefined) {
    record.running = true
    if (call.readOnly !== true) state.changing++
    return "allow"
  }
  if (kind === "same-error") tool!.told = true
  state.kind = kind
  if (state.climbedAt !== call.turn) {
    state.climbedAt = call.turn
    state.rung++
  }
  if (state.rung > self.replays + self.refusals) return "stop"
  return state.rung <= self.replays && isFresh(state, record, kind) ? "replay" : "refuse"
}

const blame = (
  self: LoopDetector,
  state: State,
  record: CallRecord,
  tool: ToolRecord | undefined
): LoopKind | undefined => {
  if (record.running || record.succeededAt === state.effects) return "repeat"
  const tried = record.failedAt === state.progress
  if (tried && record.failures >= self.maxFailures) return "failing"
  if (tool === undefined || tool.failedAt !== state.progress || tool.sameErrors < self.maxSameError) return undefined
  return tried || !tool.told ? "same-error" : undefined
}

/** Whether the result of a call may be given again. Errors always may, and what is still running is about to come. */
const isFresh = (state: State, record: CallRecord, kind: LoopKind): boolean =>
  kind !== "repeat" || record.running || (record.freshAt === state.changes && state.changing === 0)

/**
 * Tells the detector how an allowed call ended: with a result, or with an error to compare with earlier ones.
 *
 * @category operations
 * @since 0.1.0
 */
export const settle = (self: LoopDetector, state: State, call: Call, outcome: Outcome): void => {
  if (call.repeatable === true) {
    settleRepeatable(self, state, call, outcome)
    return
  }
  const record = state.calls.get(call.key) ?? recall(state.calls, call.key, self.window, newCallRecord)
  record.running = false
  if (call.readOnly !== true) state.changing--
  record.isFailure = outcome.isFailure
  record.result = outcome.result
  if (outcome.isFailure) {
    failed(self, state, call, record)
    return
  }
  if (call.readOnly !== true) state.changes++
  if (record.succeededAt === -1) {
    state.progress++
    state.rung = 0
    if (call.readOnly !== true) state.effects++
  }
  record.succeededAt = state.effects
  record.freshAt = state.changes
}

/** Once a repeatable call has moved something on or has something new to say, other calls may say more too. */
const settleRepeatable = (self: LoopDetector, state: State, call: Call, { isFailure, result }: Outcome): void => {
  if (call.readOnly !== true) state.changing--
  if (isFailure) return
  if (call.readOnly !== true) {
    state.changes++
    state.effects++
    return
  }
  const polls = (state.polls ??= new Map())
  const isNew = !polls.has(call.key)
  const poll = recall(polls, call.key, self.window, () => ({ result }))
  if (!isNew && isSame(poll.result, result)) return
  poll.result = result
  state.effects++
}

const isSame = (a: unknown, b: unknown): boolean => canonical(a) === canonical(b)

const failed = (self: LoopDetector, state: State, call: Call, record: CallRecord): void => {
  const tool = recall((state.tools ??= new Map()), call.tool, self.window, newToolRecord)
  const error = canonical(record.result)
  const isAgain = tool.failedAt === state.progress && isSameError(tool, { error, key: call.key })
  // Calls of one turn were made before the model could learn from any of them.
  if (!isAgain) tool.sameErrors = 1
  else if (tool.turn !== call.turn) tool.sameErrors++
  tool.error = error
  tool.key = call.key
  tool.result = record.result
  tool.turn = call.turn
  tool.failedAt = state.progress
  tool.told = false
  record.failures = record.failedAt === state.progress ? record.failures + 1 : 1
  record.failedAt = state.progress
}

interface Failure {
  readonly error: string
  readonly key: string
}

/** Longer errors are logs rather than messages: they are compared as they are. */
const longestMessage = 2000

/** Errors are the same if they differ only in words that the arguments hold: "no file a" of a and "no file b" of b. */
const isSameError = (a: Failure, b: Failure): boolean => {
  if (a.error === b.error) return true
  if (Math.max(a.error.length, b.error.length) > longestMessage) return false
  const echoes = new Set([...words(argumentsIn(a.key)), ...words(argumentsIn(b.key))])
  const gist = ({ error }: Failure) => words(error).filter((word) => !echoes.has(word))
  return gist(a).join() === gist(b).join()
}

const words = (text: string): ReadonlyArray<string> => text.match(/[\p{L}\p{N}_]+/gu) ?? []

/** The beginning of what follows the tool's name in a key, without the names of members. */
const argumentsIn = (key: string): string => {
  const start = key.indexOf(":")
  return key.slice(start, start + longestMessage).replaceAll(/"[^"\\]*":/g, "")
}

const newCallRecord = (): CallRecord => ({
  succeededAt: -1,
  freshAt: -1,
  running: false,
  failures: 0,
  failedAt: -1,
  isFailure: false,
  result: undefined
})

const newToolRecord = (): ToolRecord => ({
  error: "",
  key: "",
  result: undefined,
  sameErrors: 0,
  turn: -1,
  failedAt: -1,
  told: false
})

/** The record of a key, made the newest; the oldest is forgotten when there are more than the window holds. */
const recall = <A>(records: Map<string, A>, key: string, window: number, make: () => A): A => {
  const known = records.get(key)
  if (known !== undefined) {
    records.delete(key)
    records.set(key, known)
    return known
  }
  const record = make()
  records.set(key, record)
  if (records.size > window) records.delete(records.keys().next().value!)
  return record
}

/**
 * What the model is told in place of a result.
 *
 * @category models
 * @since 0.1.0
 */
export interface Answer {
  readonly message: string
  /** The call counts as failed: everything but a result that is given again. */
  readonly isFailure: boolean
}

/**
 * The answer to a call that is not allowed. A replay gives the call's previous result in the words of the template, or
 * the tool's last error in words of its own; anything else is a refusal.
 *
 * @category getters
 * @since 0.1.0
 */
export const answer = (self: LoopDetector, state: State, call: Call, verdict: Verdict, kind: LoopKind): Answer => {
  if (verdict !== "replay") return { message: refusal(call), isFailure: true }
  if (kind === "same-error") return { message: lastError(call, state.tools?.get(call.tool)), isFailure: true }
  const record = state.calls.get(call.key)
  // Functions, because `$` in a result must not act as a replacement pattern.
  const message = self.message
    .replaceAll("{tool_name}", () => call.tool)
    .replaceAll("{previous_result}", () => plain(record?.result))
  return { message, isFailure: record?.isFailure ?? false }
}

const plain = (result: unknown): string =>
  typeof result === "string" ? result : (JSON.stringify(result) ?? "no result")

const lastError = (call: Call, tool: ToolRecord | undefined): string =>
  `The tool '${call.tool}' was not run: it has failed again and again with the same error: ${plain(tool?.result)}. `
  + "Find out what is wrong before you call it again, or do without it."

const refusal = (call: Call): string =>
  `The call of '${call.tool}' was refused: you are repeating calls without making progress. `
  + "Answer with what you know, or do something different. The run is stopped if the repetition goes on."

/**
 * The most turns that a model with only `distinctCalls` distinct calls (at most `window`) can take before the
 * detector stops it, the turn that is stopped included.
 *
 * **Details**
 *
 * For k calls it is `k² · maxFailures + (k + 1) · (replays + refusals) + 1`. The first success of each call ends a
 * stretch, so there are k + 1 of them. In a stretch every call runs at most `maxFailures` times before it is blamed
 * (the call whose success began the stretch not at all), and at most `replays + refusals` looping turns are answered.
 * For k > 1 there is a model that takes this long.
 *
 * @category getters
 * @since 0.1.0
 */
export const bound = (self: LoopDetector, distinctCalls: number): number =>
  distinctCalls ** 2 * self.maxFailures + (distinctCalls + 1) * (self.replays + self.refusals) + 1
