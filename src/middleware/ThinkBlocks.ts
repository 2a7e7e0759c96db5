/**
 * Takes the reasoning out of a model's text: local models often write it into their answer, between `<think>` and
 * `</think>`. It becomes reasoning, in the response as in the deltas; the text is what is left.
 *
 * @since 0.1.0
 */
import type * as Prompt from "effect/ai/Prompt"
import * as Effect from "effect/Effect"
import type { AssistantContent } from "../History.ts"
import type { Delta, LlmResponse, Middleware } from "../Llm.ts"

/**
 * What marks reasoning. The case of ASCII letters in a mark does not matter: `<THINK>` is one, too.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Default `<think>`. */
  readonly open?: string | undefined
  /** Default `</think>`. Whitespace behind it is dropped. */
  readonly close?: string | undefined
  /** The answer begins within the reasoning, as that of models whose prompt ends in the opening mark. Default false. */
  readonly startsOpen?: boolean | undefined
}

interface Marks {
  readonly open: string
  readonly close: string
  readonly startsOpen: boolean
}

/**
 * Makes the middleware. Reasoning that is never closed goes on to the end of the answer. The `options` of a text, which
 * its provider wants back, stay with what is left of it.
 *
 * @category middleware
 * @since 0.1.0
 */
export const make =
  ({ close = "</think>", open = "<think>", startsOpen = false }: Options = {}): Middleware =>
  (llm) => {
    const marks = { open, close, startsOpen }
    return Effect.succeed({
      generate: (request, onDelta) =>
        Effect.suspend(() => {
          const deltas = onDelta === undefined ? undefined : splitDeltas(marks, onDelta)
          return Effect.map(llm.generate(request, deltas?.pass), (response): LlmResponse => {
            deltas?.end()
            return { ...response, content: splitContent(marks, response.content) }
          })
        })
    })
  }

type Piece = { readonly type: "text" | "reasoning"; readonly text: string }

/**
 * The text with its ASCII letters in lower case. Of others the length may change with the case, and a position in one text
 * would be another in the other.
 */
const lowerCase = (text: string): string => text.replaceAll(/[A-Z]+/g, (letters) => letters.toLowerCase())

/** Reads text piece by piece. Holds back what may be the beginning of a mark until it is clear that it is not. */
const splitter = (marks: Marks) => {
  const open = lowerCase(marks.open)
  const close = lowerCase(marks.close)
  let inside = marks.startsOpen
  let held = ""
  /** The mark is behind, whitespace may follow. */
  let closing = false

  const take = (text: string, out: Array<Piece>): void => {
    const piece = closing ? text.trimStart() : text
    if (piece === "") return
    closing = false
    out.push({ type: inside ? "reasoning" : "text", text: piece })
  }

  return {
    feed: (text: string): ReadonlyArray<Piece> => {
      const out: Array<Piece> = []
      const whole = held + text
      const lower = lowerCase(whole)
      let from = 0
      while (true) {
        const mark = inside ? close : open
        const at = lower.indexOf(mark, from)
        if (at === -1) {
          const safe = whole.length - overlap(lower.slice(from), mark)
          take(whole.slice(from, safe), out)
          held = whole.slice(safe)
          return out
        }
        take(whole.slice(from, at), out)
        from = at + mark.length
        closing = inside
        inside = !inside
      }
    },
    end: (): ReadonlyArray<Piece> => {
      const out: Array<Piece> = []
      take(held, out)
      held = ""
      return out
    }
  }
}

/** How much of the end of a text is the beginning of a mark. */
const overlap = (text: string, mark: string): number => {
  for (let n = Math.min(text.length, mark.length - 1); n > 0; n--) if (mark.startsWith(text.slice(-n))) return n
  return 0
}

const splitDeltas = (marks: Marks, onDelta: (delta: Delta) => void) => {
  let split = splitter(marks)
  const tell = (pieces: ReadonlyArray<Piece>) => {
    for (const { text, type } of pieces) onDelta({ type, delta: text })
  }
  return {
    pass: (delta: Delta): void => {
      if (delta.type === "text") return tell(split.feed(delta.delta))
      if (delta.type === "restart") split = splitter(marks)
      else tell(split.end())
      onDelta(delta)
    },
    end: () => tell(split.end())
  }
}

const splitContent = (marks: Marks, content: AssistantContent): AssistantContent => {
  const split = splitter(marks)
  const parts: Array<AssistantContent[number]> = []
  /** The last part, while pieces may be appended to it: none that the model gave, which may be signed. */
  let last: Part | undefined
  const add = (pieces: ReadonlyArray<Piece>, options?: Part["options"]) => {
    for (const piece of pieces) {
      const own = piece.type === "text" ? options : undefined
      if (last?.type === piece.type && last.options === own) {
        last.text += piece.text
      } else {
        last = { ...piece, ...(own && { options: own }) }
        parts.push(last)
      }
    }
  }
  let options: Part["options"]
  for (const part of content) {
    if (part.type === "text") {
      options = part.options
      add(split.feed(part.text), options)
    } else {
      add(split.end(), options)
      parts.push(part)
      last = undefined
    }
  }
  add(split.end(), options)
  return parts
}

type Part = { readonly type: Piece["type"]; text: string; options?: Prompt.TextPartEncoded["options"] }
