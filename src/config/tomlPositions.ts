/**
 * Where the keys and values of a TOML document stand. The parser tells values but not positions, so this reads the
 * document a second time: it takes for granted that the document is valid, and looks at no value.
 */

/** The offsets of a key and of its value. An element of an array has no key: both are the same. */
export interface Position {
  readonly key: number
  readonly value: number
}

/** The positions by path, the path as JSON. */
export const scan = (text: string): ReadonlyMap<string, Position> => {
  const positions = new Map<string, Position>()
  /** The number of tables in each array of tables. */
  const counts = new Map<string, number>()
  let at = 0

  const note = (path: ReadonlyArray<string | number>, key: number, value = key) => {
    const name = JSON.stringify(path)
    if (!positions.has(name)) positions.set(name, { key, value })
  }
  const skip = (pattern: RegExp): string => {
    pattern.lastIndex = at
    const [found = ""] = pattern.exec(text) ?? []
    at += found.length
    return found
  }
  /** Past a text in any of the four kinds of quotes, if there is one. */
  const quoted = () => skip(/"""(?:[^\\]|\\[^])*?"""+|'''[^]*?'''+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'/y)

  /** A dotted key, as names with their offsets. */
  const key = () => {
    const names: Array<readonly [name: string, offset: number]> = []
    do {
      skip(/[ \t]+/y)
      const offset = at
      const text = quoted()
      // A quoted key has the escapes of JSON, and two more that are rare enough to be found by their parent.
      const name = text === "" ? skip(/[\w-]+/y) : text.startsWith('"') ? unescape(text) : text.slice(1, -1)
      names.push([name, offset])
      skip(/[ \t]+/y)
    } while (skip(/\./y) !== "")
    return names
  }

  const assignment = (base: ReadonlyArray<string | number>) => {
    const names = key()
    skip(/[ \t]*=[ \t]*/y)
    let path = base
    for (const [name, offset] of names) {
      path = [...path, name]
      note(path, offset, at)
    }
    value(path)
  }

  const value = (path: ReadonlyArray<string | number>) => {
    if (skip(/\[/y) !== "") {
      for (let index = 0; ; index++) {
        skip(filler)
        if (at >= text.length || skip(/\]/y) !== "") return
        note([...path, index], at)
        value([...path, index])
      }
    }
    if (skip(/\{/y) !== "") {
      while (true) {
        skip(filler)
        if (at >= text.length || skip(/\}/y) !== "") return
        assignment(path)
      }
    }
    if (quoted() === "") skip(/[^,\]}#\n]*/y)
  }

  let table: ReadonlyArray<string | number> = []
  while (true) {
    skip(filler)
    if (at >= text.length) return positions
    const start = at
    const brackets = skip(/\[\[?/y)
    if (brackets === "") assignment(table)
    else {
      const names = key()
      skip(/[ \t]*\]\]?/y)
      table = []
      for (const [index, [name, offset]] of names.entries()) {
        table = [...table, name]
        note(table, offset)
        const array = JSON.stringify(table)
        const isLast = index === names.length - 1
        if (isLast && brackets === "[[") counts.set(array, (counts.get(array) ?? 0) + 1)
        const count = counts.get(array)
        if (count !== undefined) {
          table = [...table, count - 1]
          note(table, start)
        }
      }
    }
    // Whatever it may be, it has been valid: never stand still.
    if (at === start) at++
  }
}

const filler = /(?:[\s,]|#[^\n]*)+/y

const unescape = (text: string): string => {
  try {
    return String(JSON.parse(text))
  } catch {
    return text.slice(1, -1)
  }
}
