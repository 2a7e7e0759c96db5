/**
 * Reads JSON that is still being written: what is there so far, with open strings, arrays and objects closed. A number
 * or word that may go on, a key without a value and a character that is cut are left out until they are whole.
 */
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"

/** The value so far; `undefined` when there is none yet, or when the text is not the beginning of JSON. */
export const parsePartial = (text: string): Schema.Json | undefined =>
  Result.getOrUndefined(Result.try(() => JSON.parse(closed(text)) as Schema.Json))

/** The text up to where it makes sense, with whatever is open closed; JSON if the text is the beginning of some. */
const closed = (text: string): string => {
  const closers: Array<string> = []
  /** Where the text makes sense if it ends there; nothing was opened or closed since. */
  let safe = 0
  let isKey = false
  for (let i = 0; i < text.length; i++) {
    const character = text[i]
    if (character === '"') {
      const end = endOfString(text, i)
      if (end === undefined) {
        if (isKey) break
        return `${wholeCharacters(text.slice(0, lastWhole(text, i)))}"${closers.toReversed().join("")}`
      }
      if (!isKey) safe = end
      i = end - 1
    } else if (character === "{" || character === "[") {
      isKey = character === "{"
      closers.push(isKey ? "}" : "]")
      safe = i + 1
    } else if (character === "}" || character === "]") {
      closers.pop()
      isKey = false
      safe = i + 1
    } else if (character === ",") {
      isKey = closers.at(-1) === "}"
      safe = i
    } else if (character === ":") {
      isKey = false
    }
  }
  // Behind the last container there is nothing left to wait for; a number without one may always go on.
  if (/^\s*-?\d\S*$/.test(text)) return ""
  return text.slice(0, closers.length === 0 ? text.length : safe) + closers.toReversed().join("")
}

/** Behind the closing quote of the string that begins at `start`; `undefined` when it is open. */
const endOfString = (text: string, start: number): number | undefined => {
  for (let i = start + 1; i < text.length; i++) {
    if (text[i] === "\\") i++
    else if (text[i] === '"') return i + 1
  }
  return undefined
}

/** Behind the last whole character or escape of the open string that begins at `start`. */
const lastWhole = (text: string, start: number): number => {
  let i = start + 1
  while (i < text.length) {
    const length = text[i] !== "\\" ? 1 : text[i + 1] === "u" ? 6 : 2
    if (i + length > text.length) break
    i += length
  }
  return i
}

/** Without the first half of a character that takes two. */
const wholeCharacters = (text: string): string => text.replace(/(?:[\ud800-\udbff]|\\ud[89ab][\da-f]{2})$/i, "")
