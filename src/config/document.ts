/**
 * A configuration file as data, with the places where its keys and values stand.
 */
import * as Result from "effect/Result"
import * as Toml from "smol-toml"
import * as Yaml from "yaml"
import * as TomlPositions from "./tomlPositions.ts"

export type Format = "yaml" | "toml"

/** From the top of the document to a key or an element. */
export type Path = ReadonlyArray<string | number>

/** A place in a text, both counted from 1. */
export interface Place {
  readonly line: number
  readonly column: number
}

export interface Document {
  /** Whatever the file says: usually an object. */
  readonly value: unknown
  /** Where the path's key or value is; `undefined` for what the document does not have. */
  readonly locate: (path: Path, what: "key" | "value") => Place | undefined
}

/** What a parser does not understand. */
export interface SyntaxProblem extends Place {
  readonly message: string
}

/** The format of a file, by its extension. */
export const formatOf = (file: string): Format | undefined => {
  const extension = /\.(\w+)$/.exec(file)?.[1]?.toLowerCase()
  return extension === "toml" ? "toml" : extension === "yaml" || extension === "yml" ? "yaml" : undefined
}

export const parse = (text: string, format: Format): Result.Result<Document, ReadonlyArray<SyntaxProblem>> =>
  format === "yaml" ? parseYaml(text) : parseToml(text)

const parseYaml = (text: string): Result.Result<Document, ReadonlyArray<SyntaxProblem>> => {
  const lines = new Yaml.LineCounter()
  const document = Yaml.parseDocument(text, { lineCounter: lines, prettyErrors: false, merge: true })
  const place = (offset: number): Place => {
    const { col, line } = lines.linePos(offset)
    return { line, column: col }
  }
  if (document.errors.length > 0) {
    return Result.fail(document.errors.map(({ message, pos }) => ({ message, ...place(pos[0]) })))
  }
  const circle = circleIn(document)
  if (circle !== undefined) {
    const message = `'*${circle.source}' stands for what it is a part of`
    return Result.fail([{ message, ...place(circle.range?.[0] ?? 0) }])
  }
  return Result.mapError(
    Result.try(() => ({
      value: document.toJS() as unknown,
      locate: (path: Path, what: "key" | "value") => {
        const offset = yamlOffset(document, path, what)
        return offset === undefined ? undefined : place(offset)
      }
    })),
    // Aliases that stand for too much.
    (thrown) => [{ message: thrown instanceof Error ? thrown.message : String(thrown), line: 1, column: 1 }]
  )
}

/** An alias that is a part of what it stands for, which would never end. */
const circleIn = (document: Yaml.Document.Parsed): Yaml.Alias | undefined => {
  let circle: Yaml.Alias | undefined
  Yaml.visit(document, {
    Alias: (_, alias, around) => {
      const whole: unknown = alias.resolve(document)
      if (!around.some((node) => node === whole)) return undefined
      circle = alias
      return Yaml.visit.BREAK
    }
  })
  return circle
}

const yamlOffset = (document: Yaml.Document.Parsed, path: Path, what: "key" | "value"): number | undefined => {
  let node: unknown = document.contents
  let key: unknown = node
  for (const segment of path) {
    if (Yaml.isAlias(node)) node = node.resolve(document)
    if (Yaml.isMap(node)) {
      const pair = node.items.find(({ key }) => String(Yaml.isScalar(key) ? key.value : key) === String(segment))
      if (pair === undefined) return undefined
      key = pair.key
      node = pair.value
    } else if (Yaml.isSeq(node)) {
      key = node = node.items[Number(segment)]
    } else return undefined
  }
  const offsetOf = (node: unknown) => (Yaml.isNode(node) ? node.range?.[0] : undefined)
  return (what === "value" ? offsetOf(node) : undefined) ?? offsetOf(key)
}

const parseToml = (text: string): Result.Result<Document, ReadonlyArray<SyntaxProblem>> =>
  Result.mapBoth(
    Result.try(() => Toml.parse(text)),
    {
      onSuccess: (value) => {
        let positions: ReadonlyMap<string, TomlPositions.Position> | undefined
        return {
          value,
          locate: (path, what) => {
            positions ??= TomlPositions.scan(text)
            const position = positions.get(JSON.stringify(path))
            return position === undefined ? undefined : placeIn(text, position[what])
          }
        }
      },
      onFailure: (thrown) => {
        if (!(thrown instanceof Toml.TomlError)) return [{ message: String(thrown), line: 1, column: 1 }]
        // The first line says what is wrong, the others show where.
        const [first = ""] = thrown.message.replace(/^Invalid TOML document: /, "").split("\n")
        return [{ message: first, line: thrown.line, column: thrown.column }]
      }
    }
  )

const placeIn = (text: string, offset: number): Place => {
  const before = text.slice(0, offset)
  return { line: before.split("\n").length, column: offset - before.lastIndexOf("\n") }
}

/** What a text means as a YAML value: `10` is a number, `[a, b]` a list. The text itself if it is no YAML. */
export const parseValue = (text: string): unknown => {
  const document = Yaml.parseDocument(text, { prettyErrors: false })
  if (document.errors.length > 0 || circleIn(document) !== undefined) return text
  // Aliases that stand for nothing, or for too much.
  return Result.getOrElse(
    Result.try(() => document.toJS() as unknown),
    () => text
  )
}
