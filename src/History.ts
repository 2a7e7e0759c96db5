/**
 * The conversation of an agent: an opaque, immutable sequence of messages in which every tool call has its result.
 *
 * A call and its result enter together, as one unit, so no edit, trim, fork or cancellation can yield a call
 * without a result or a result without a call: providers reject such histories. Appending and taking a snapshot
 * are O(1): values share one growing log, and a second append to the same value copies (a fork).
 *
 * @since 0.1.0
 */
import * as Prompt from "effect/ai/Prompt"
import * as Base64 from "effect/encoding/Base64"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"

const TypeId = "~effect-agent-runtime/History"

/**
 * A conversation without its system prompt, which belongs to the agent.
 *
 * @category models
 * @since 0.1.0
 */
export interface History extends Iterable<Prompt.MessageEncoded> {
  readonly [TypeId]: typeof TypeId
  /** The number of messages. An assistant message with tool calls and the message with their results are two. */
  readonly length: number
}

/**
 * What a user message may hold: text, or text and file parts (images, documents).
 *
 * @category models
 * @since 0.1.0
 */
export type UserContent = string | ReadonlyArray<Prompt.UserMessagePartEncoded>

/**
 * The parts of an assistant message: text, reasoning, files and tool calls.
 *
 * @category models
 * @since 0.1.0
 */
export type AssistantContent = ReadonlyArray<Prompt.AssistantMessagePartEncoded>

class HistoryImpl implements History {
  readonly [TypeId] = TypeId
  readonly length: number
  /** Shared by all snapshots of one line of appends; only the longest snapshot may push to it. */
  readonly log: Array<Prompt.MessageEncoded>

  constructor(log: Array<Prompt.MessageEncoded>, length: number) {
    this.log = log
    this.length = length
  }

  *[Symbol.iterator](): Iterator<Prompt.MessageEncoded> {
    for (let i = 0; i < this.length; i++) yield this.log[i]!
  }

  toJSON() {
    return { _id: "History", messages: toMessages(this) }
  }
}

// The only implementation of the opaque interface.
const impl = (self: History): HistoryImpl => self as HistoryImpl

/** The log to push to: the shared one, or a copy when another value has already grown it. */
const writable = (self: History): Array<Prompt.MessageEncoded> => {
  const { length, log } = impl(self)
  return log.length === length ? log : log.slice(0, length)
}

/**
 * Whether a value is a {@link History}.
 *
 * @category guards
 * @since 0.1.0
 */
export const isHistory = (u: unknown): u is History => Predicate.hasProperty(u, TypeId)

/**
 * A conversation without messages.
 *
 * @category constructors
 * @since 0.1.0
 */
export const empty: History = new HistoryImpl([], 0)
// An append to `empty` must not grow the log that all empty histories share.
Object.freeze(impl(empty).log)

const append = (self: History, message: Prompt.MessageEncoded): History => {
  // A log of one message takes a tenth of what an array has that grew by `push`.
  if (self.length === 0) return new HistoryImpl([message], 1)
  const log = writable(self)
  log.push(message)
  return new HistoryImpl(log, log.length)
}

/**
 * Appends what the user says.
 *
 * @category combining
 * @since 0.1.0
 */
export const appendUser = (self: History, content: UserContent): History => append(self, { role: "user", content })

/**
 * Appends an assistant message together with the results of its tool calls.
 *
 * **Details**
 *
 * Total: a call without a result gets a failed `interrupted` result, a result without a call is dropped, and
 * results are put into call order. Of calls that share an id all but the first get another. Empty content appends
 * nothing.
 *
 * @category combining
 * @since 0.1.0
 */
export const appendAssistant = (
  self: History,
  content: AssistantContent,
  results: ReadonlyArray<Prompt.ToolResultPartEncoded> = []
): History => {
  if (isTangled(content)) return appendAssistant(self, ...untangle(content, results))
  if (content.length === 0) return self
  const answers = pair(content, results)
  const log = self.length === 0 ? [] : writable(self)
  log.push({ role: "assistant", content })
  if (answers.length > 0) log.push({ role: "tool", content: answers })
  return new HistoryImpl(log, log.length)
}

/** A call that the application answers; one that the provider ran itself is the provider's affair. */
const isCall = (part: AssistantContent[number]): part is Prompt.ToolCallPartEncoded =>
  part.type === "tool-call" && part.providerExecuted !== true

/** A result that the application gave. */
const isResult = (part: AssistantContent[number]): part is Prompt.ToolResultPartEncoded =>
  part.type === "tool-result" && part.providerExecuted !== true

/** Whether results stand among their calls, or calls share an id. */
const isTangled = (content: AssistantContent): boolean => {
  for (let i = 0; i < content.length; i++) {
    const part = content[i]!
    if (isResult(part)) return true
    if (!isCall(part)) continue
    for (let j = 0; j < i; j++) {
      const other = content[j]!
      if (isCall(other) && other.id === part.id) return true
    }
  }
  return false
}

/** The content with unique call ids and without results, and the results of its calls, first come first served. */
const untangle = (
  content: AssistantContent,
  results: ReadonlyArray<Prompt.ToolResultPartEncoded>
): [content: AssistantContent, results: ReadonlyArray<Prompt.ToolResultPartEncoded>] => {
  const left = [...content.filter(isResult), ...results]
  const parts: Array<AssistantContent[number]> = []
  const answers: Array<Prompt.ToolResultPartEncoded> = []
  const ids = new Set<string>()
  for (const part of content) {
    if (!isCall(part)) {
      if (!isResult(part)) parts.push(part)
      continue
    }
    let { id } = part
    for (let n = 2; ids.has(id); n++) id = `${part.id}_${n}`
    ids.add(id)
    parts.push({ ...part, id })
    const index = left.findIndex((result) => result.id === part.id)
    if (index !== -1) answers.push(...left.splice(index, 1).map((result) => ({ ...result, id })))
  }
  return [parts, answers]
}

/** The results of the calls in `content`, one for each, in call order. */
const pair = (
  content: AssistantContent,
  results: ReadonlyArray<Prompt.ToolResultPartEncoded>
): ReadonlyArray<Prompt.ToolResultPartEncoded> => {
  const answers: Array<Prompt.ToolResultPartEncoded> = []
  let inOrder = true
  for (const part of content) {
    if (!isCall(part)) continue
    let answer = results[answers.length]
    if (answer === undefined || answer.id !== part.id) {
      inOrder = false
      answer = results.find((result) => result.id === part.id) ?? interrupted(part)
    }
    answers.push(answer)
  }
  return inOrder && answers.length === results.length ? results : answers
}

/**
 * The tool calls of an assistant message that the application has to answer (not those the provider ran itself).
 *
 * @category getters
 * @since 0.1.0
 */
export const toolCalls = (content: AssistantContent): ReadonlyArray<Prompt.ToolCallPartEncoded> =>
  content.filter(isCall)

/**
 * The result that stands in for a call which was never answered.
 *
 * @category constructors
 * @since 0.1.0
 */
export const interrupted = (call: { readonly id: string; readonly name: string }): Prompt.ToolResultPartEncoded => ({
  type: "tool-result",
  id: call.id,
  name: call.name,
  isFailure: true,
  result: "The call was interrupted. Whether it took effect is unknown."
})

/**
 * Makes a history from messages of any origin.
 *
 * **Details**
 *
 * Total, and the identity on the messages of a history. System messages are dropped (the agent has its own), tool
 * results are moved behind the assistant message that asked for them, unanswered calls get an `interrupted`
 * result, orphaned results and empty assistant messages disappear.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromMessages = (messages: Iterable<Prompt.MessageEncoded>): History => {
  const entries: Array<Prompt.UserMessageEncoded | AssistantTurn> = []
  /** The turns that wait for a result, by the id of the call, newest last. */
  const waiting = new Map<string, Array<AssistantTurn>>()
  const answer = (result: Prompt.ToolResultPartEncoded) => waiting.get(result.id)?.pop()?.results.push(result)
  for (const message of messages) {
    switch (message.role) {
      case "user": {
        entries.push(message)
        break
      }
      case "assistant": {
        const content = typeof message.content === "string" ? textContent(message.content) : message.content
        const turn: AssistantTurn = {
          role: "assistant",
          content: content.filter((part) => !isResult(part)),
          results: []
        }
        entries.push(turn)
        for (const { id } of toolCalls(content)) {
          const turns = waiting.get(id)
          if (turns === undefined) waiting.set(id, [turn])
          else turns.push(turn)
        }
        for (const part of content) if (isResult(part)) answer(part)
        break
      }
      case "tool": {
        for (const part of message.content) if (part.type === "tool-result") answer(part)
        break
      }
    }
  }
  return entries.reduce<History>(
    (history, entry) =>
      entry.role === "user" ? append(history, entry) : appendAssistant(history, entry.content, entry.results),
    empty
  )
}

/** An assistant message with the results found for its calls. */
interface AssistantTurn {
  readonly role: "assistant"
  readonly content: AssistantContent
  readonly results: Array<Prompt.ToolResultPartEncoded>
}

const textContent = (text: string): AssistantContent => (text === "" ? [] : [{ type: "text", text }])

/**
 * Makes a history from an `effect/ai` prompt, by the rules of {@link fromMessages}.
 *
 * @category conversions
 * @since 0.1.0
 */
export const fromPrompt = (prompt: Prompt.RawInput): History => fromMessages(encodePrompt(Prompt.make(prompt)).content)

const encodePrompt = Schema.encodeSync(Prompt.Prompt)

/**
 * The conversation as an `effect/ai` prompt, with the system prompt in front if one is given.
 *
 * A message is decoded once, however many histories it is in.
 *
 * @category conversions
 * @since 0.1.0
 */
export const toPrompt = (self: History, instructions = ""): Prompt.Prompt => {
  const messages = Array.from(self, decoded)
  return Prompt.fromMessages(
    instructions === "" ? messages : [Prompt.systemMessage({ content: instructions }), ...messages]
  )
}

const decodedMessages = new WeakMap<Prompt.MessageEncoded, Prompt.Message>()

const decoded = (message: Prompt.MessageEncoded): Prompt.Message => {
  const known = decodedMessages.get(message)
  if (known !== undefined) return known
  const made = decodeMessage(message)
  decodedMessages.set(message, made)
  return made
}

const decodeMessage = Schema.decodeSync(Prompt.Message)

/**
 * A copy of the messages, oldest first.
 *
 * @category conversions
 * @since 0.1.0
 */
export const toMessages = (self: History): ReadonlyArray<Prompt.MessageEncoded> => impl(self).log.slice(0, self.length)

/**
 * The newest message, or `undefined` when there is none.
 *
 * @category getters
 * @since 0.1.0
 */
export const last = (self: History): Prompt.MessageEncoded | undefined => impl(self).log[self.length - 1]

/**
 * The results of tools, oldest first: what the model was told about its calls.
 *
 * @category getters
 * @since 0.1.0
 */
export const toolResults = (self: History): ReadonlyArray<Prompt.ToolResultPartEncoded> => {
  const results: Array<Prompt.ToolResultPartEncoded> = []
  for (const message of self) {
    if (message.role !== "tool") continue
    for (const part of message.content) if (part.type === "tool-result") results.push(part)
  }
  return results
}

/**
 * Keeps the newest `n` turns. A turn begins with a user message and holds all that follows up to the next one, so
 * a call is never parted from its result.
 *
 * @category filtering
 * @since 0.1.0
 */
export const takeTurns = (self: History, n: number): History => {
  const { log } = impl(self)
  let start = self.length
  for (let turns = 0; start > 0 && turns < n;) {
    start--
    if (log[start]!.role === "user") turns++
  }
  return start === 0 ? self : new HistoryImpl(log.slice(start, self.length), self.length - start)
}

/**
 * The number of turns: that of user messages.
 *
 * @category getters
 * @since 0.1.0
 */
export const turns = (self: History): number => {
  let count = 0
  for (const message of self) if (message.role === "user") count++
  return count
}

/**
 * Drops the newest `n` turns, as {@link takeTurns} counts them: the conversation as it was before them.
 *
 * @category filtering
 * @since 0.1.0
 */
export const dropTurns = (self: History, n: number): History => {
  const { log } = impl(self)
  let { length } = self
  for (let dropped = 0; length > 0 && dropped < n;) {
    length--
    if (log[length]!.role === "user") dropped++
  }
  if (length === self.length) return self
  return length === 0 ? empty : new HistoryImpl(log, length)
}

/**
 * What stays together when a history is taken apart: a user message, or an assistant message with the results of its
 * calls.
 *
 * @category models
 * @since 0.1.0
 */
export type Unit =
  | readonly [user: Prompt.UserMessageEncoded]
  | readonly [assistant: Prompt.AssistantMessageEncoded, results?: Prompt.ToolMessageEncoded]

/**
 * The units of a history, oldest first; with `from` those that begin at that message or behind it.
 *
 * @category getters
 * @since 0.1.0
 */
export const units = (self: History, from = 0): ReadonlyArray<Unit> => {
  const { log } = impl(self)
  const out: Array<Unit> = []
  for (let i = from; i < self.length; i++) {
    const message = log[i]!
    if (message.role === "user") out.push([message])
    if (message.role !== "assistant") continue
    const results = i + 1 < self.length ? log[i + 1] : undefined
    out.push(results?.role === "tool" ? [message, results] : [message])
  }
  return out
}

/**
 * What a history shares with those it grows into, and with no other: as long as a later one has the same line, it begins
 * with all messages of this one.
 * @internal
 */
export const lineOf = (self: History): object => impl(self).log

/**
 * Appends units of this or another history. What is not right about one that was made by hand is mended as by
 * {@link appendAssistant}.
 *
 * @category combining
 * @since 0.1.0
 */
export const appendUnits = (self: History, added: Iterable<Unit>): History => {
  let history = self
  for (const [message, results] of added) {
    history = message.role === "user" ? append(history, message) : appendTurn(history, message, results)
  }
  return history
}

/** Keeps the messages as they are if they belong together, because caches know them by their identity. */
const appendTurn = (
  self: History,
  message: Prompt.AssistantMessageEncoded,
  results: Prompt.ToolMessageEncoded | undefined
): History => {
  const content = typeof message.content === "string" ? textContent(message.content) : message.content
  const given = results?.content.filter((part) => part.type === "tool-result") ?? []
  const isWhole =
    content === message.content
    && content.length > 0
    && given.length === (results?.content.length ?? 0)
    && !isTangled(content)
    && pair(content, given) === given
    && (results === undefined) === (given.length === 0)
  if (!isWhole) return appendAssistant(self, content, given)
  const history = append(self, message)
  return results === undefined ? history : append(history, results)
}

/**
 * The text of an assistant message: its text parts, joined.
 *
 * @category getters
 * @since 0.1.0
 */
export const text = (content: AssistantContent): string => {
  let out = ""
  for (const part of content) if (part.type === "text") out += part.text
  return out
}

/**
 * The text of a user message: its text parts, joined.
 *
 * @category getters
 * @since 0.1.0
 */
export const userText = (content: UserContent): string => {
  if (typeof content === "string") return content
  let out = ""
  for (const part of content) if (part.type === "text") out += part.text
  return out
}

/** A message with the bytes and URLs of its files in the form that `effect/ai` has for JSON. */
const portable = (message: Prompt.MessageEncoded): Prompt.MessageEncoded =>
  (message.role === "user" || message.role === "assistant")
  && typeof message.content !== "string"
  && message.content.some((part) => part.type === "file" && typeof part.data === "object")
    ? ({ ...message, content: message.content.map(portablePart) } as Prompt.MessageEncoded)
    : message

const portablePart = <Part extends AssistantContent[number]>(part: Part): Part => {
  if (part.type !== "file") return part
  if (part.data instanceof URL) return { ...part, data: { _tag: "URL", href: part.data.href } }
  if (part.data instanceof Uint8Array)
    return { ...part, data: { _tag: "Uint8Array", base64: Base64.encode(part.data) } }
  return part
}

const Messages = Schema.Array(Schema.toEncoded(Prompt.Message))

const restored = SchemaTransformation.transform<History, ReadonlyArray<Prompt.MessageEncoded>>({
  decode: fromMessages,
  encode: (history) => Array.from(history, portable)
})

/**
 * Schema of {@link History}: encoded as the array of its messages, files as base64 or URL. Decoding repairs by the
 * rules of {@link fromMessages}.
 *
 * @category schemas
 * @since 0.1.0
 */
export const History: Schema.Codec<History, ReadonlyArray<Prompt.MessageEncoded>> = Messages.pipe(
  Schema.decodeTo(
    Schema.declare(isHistory, {
      identifier: "History",
      toCodecArbitrary: () => Schema.link<History>()(Messages, restored)
    }),
    restored
  )
)
