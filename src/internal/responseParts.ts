/**
 * Collects the pieces of a model's answer into content parts: text and reasoning joined per block, the pieces of
 * interleaved tool calls merged per call. One piece or a thousand, the parts are the same.
 */
import type * as Prompt from "effect/ai/Prompt"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import { isDeep } from "./json.ts"

type Part = Prompt.AssistantMessagePartEncoded

type Options = Prompt.ProviderOptions

/** What whoever listens to the answer is told: the `Delta` of `Llm`, which is above this module. */
export type Delta =
  | { readonly type: "text" | "reasoning"; readonly delta: string }
  | { readonly type: "tool-params"; readonly id: string; readonly name: string; readonly delta: string }

/** A piece of a tool call as providers stream it: any member may be missing from any piece. */
export interface CallPiece {
  readonly index?: number | null | undefined
  readonly id?: string | null | undefined
  readonly name?: string | null | undefined
  /** A piece of the JSON text of the arguments. */
  readonly params?: string | undefined
}

interface Block {
  readonly type: "text" | "reasoning"
  text: string
  options?: Options
}

interface Call {
  readonly index: number
  id: string
  name: string
  params: string
  /** How much of `params` has been passed on. */
  passed: number
}

export interface ResponseParts {
  /** Appends to the text or reasoning block `id`, which its first piece opens. */
  readonly append: (type: "text" | "reasoning", delta: string, id?: string, options?: Options) => void
  /** Ends the block `id`, so that the id can open another. */
  readonly close: (type: "text" | "reasoning", id: string) => void
  /** Merges a piece of a tool call and returns the arguments that can be passed on now: none before the name. */
  readonly call: (piece: CallPiece) => Delta | undefined
  /** Adds a part that came whole. */
  readonly push: (part: Part) => void
  /** The parts so far, in the order in which they began; the places of the merged tool calls go by their index. */
  readonly content: () => ReadonlyArray<Part>
}

/** `missingId` makes the id of the `n`th call of the answer when the provider gives none. */
export const make = (missingId = (n: number) => `call_${n}`): ResponseParts => {
  const parts: Array<Part | Call> = []
  const blocks = new Map<string, Block>()
  const calls: Array<Call> = []

  const open = (type: Block["type"], key: string): Block => {
    const block: Block = { type, text: "" }
    blocks.set(key, block)
    parts.push(block)
    return block
  }

  const find = ({ id, index, name }: CallPiece): Call | undefined => {
    // Servers that leave the index out send whole calls, or go on with the last one.
    if (typeof index !== "number") {
      return id || name ? calls.findLast((call) => call.id !== "" && call.id === id) : calls.at(-1)
    }
    const call = calls.findLast((call) => call.index === index)
    // Some give every call index 0, some every piece a new id: only id and name together begin another call.
    return call !== undefined && call.id !== "" && id && name && id !== call.id ? undefined : call
  }

  return {
    append: (type, delta, id = "", options) => {
      const key = `${type}:${id}`
      const block = blocks.get(key) ?? open(type, key)
      block.text += delta
      if (options !== undefined) block.options = merge(block.options, options)
    },
    close: (type, id) => {
      blocks.delete(`${type}:${id}`)
    },
    call: (piece) => {
      let call = find(piece)
      if (call !== undefined && isAnother(call, piece)) {
        // A server that says the whole call once more at its end must not have it made twice.
        if (call.id !== "" && call.id === piece.id && call.params === piece.params) return undefined
        call = undefined
      }
      if (call === undefined) {
        call = { index: piece.index ?? calls.length, id: "", name: "", params: "", passed: 0 }
        calls.push(call)
        parts.push(call)
      }
      call.id ||= piece.id ?? ""
      call.name ||= piece.name ?? ""
      call.params += piece.params ?? ""
      if (call.name === "" || call.params.length === call.passed) return undefined
      // An id that comes after this is too late: what is passed on and the part have to agree.
      call.id ||= missingId(calls.indexOf(call))
      const delta = call.params.slice(call.passed)
      call.passed = call.params.length
      return { type: "tool-params", id: call.id, name: call.name, delta }
    },
    push: (part) => {
      parts.push(part)
    },
    content: () => {
      const inOrder = calls.toSorted((a, b) => a.index - b.index).values()
      return parts.flatMap((part): ReadonlyArray<Part> => {
        if (isCall(part)) {
          // There are as many calls as places.
          const call = inOrder.next().value!
          const id = call.id || missingId(calls.indexOf(call))
          return [{ type: "tool-call", id, name: call.name, params: parseParams(call.params) }]
        }
        // A block may have come to nothing, but reasoning without text can carry what its provider wants back.
        return !isBlock(part) || part.text !== "" || (part.type === "reasoning" && part.options) ? [part] : []
      })
    }
  }
}

/** Whether the piece has a name and arguments behind arguments that are whole, and so cannot go on with the call. */
const isAnother = (call: Call, { name, params = "" }: CallPiece): boolean =>
  Boolean(name)
  && call.name !== ""
  && params.trim() !== ""
  && call.params.trimEnd().endsWith("}")
  && typeof parseParams(call.params) === "object"

const isCall = (part: Part | Call): part is Call => "passed" in part

const isBlock = (part: Part): part is Part & Block => part.type === "text" || part.type === "reasoning"

/** Each provider's options side by side, and those of one provider merged: its pieces add to each other. */
const merge = (left: Options = {}, right: Options): Options => {
  const merged: Record<string, Options[string]> = { ...left }
  for (const [provider, options] of Object.entries(right)) {
    const before = merged[provider]
    merged[provider] =
      Predicate.isObject(before) && Predicate.isObject(options) ? Object.assign({}, before, options) : options
  }
  return merged
}

/** The arguments of a call: no text means `{}`; text that is not JSON, or too deep to be written again, stays text. */
export const parseParams = (text: string): unknown => {
  if (text.trim() === "") return {}
  const parsed = Result.try((): unknown => JSON.parse(text))
  return Result.isFailure(parsed) || isDeep(parsed.success) ? text : parsed.success
}
