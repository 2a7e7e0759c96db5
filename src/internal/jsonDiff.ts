/**
 * Where two JSON values differ, and how to show it.
 */

/** A place where two values differ; `undefined` where one has nothing. */
export interface Difference {
  /** Such as `messages[1].content`; `""` for the values themselves. */
  readonly path: string
  readonly expected: unknown
  readonly actual: unknown
}

/** All places where two JSON values differ, in the order of their keys. */
export const differences = (expected: unknown, actual: unknown, path = ""): ReadonlyArray<Difference> => {
  if (Object.is(expected, actual)) return []
  if (Array.isArray(expected) && Array.isArray(actual)) {
    const length = Math.max(expected.length, actual.length)
    return Array.from({ length }).flatMap((_, i) => differences(expected[i], actual[i], `${path}[${i}]`))
  }
  if (isRecord(expected) && isRecord(actual)) {
    const keys = new Set([...Object.keys(expected), ...Object.keys(actual)])
    return Array.from(keys).flatMap((key) => differences(own(expected, key), own(actual, key), member(path, key)))
  }
  return [{ path, expected, actual }]
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const own = (record: Readonly<Record<string, unknown>>, key: string): unknown =>
  Object.hasOwn(record, key) ? record[key] : undefined

const member = (path: string, key: string): string => {
  if (!/^[\w$-]+$/.test(key)) return `${path}[${JSON.stringify(key)}]`
  return path === "" ? key : `${path}.${key}`
}

/** How much of a value is shown. */
const shownLength = 120
/** How much of two texts is shown before the place where they part. */
const leadLength = 30

/** The first differences as text, each with both of its sides. */
export const render = (all: ReadonlyArray<Difference>, most = 5): string => {
  const lines = all.slice(0, most).flatMap(({ actual, expected, path }) => {
    const from = parting(expected, actual)
    return [`  ${path || "(all of it)"}`, `    - ${show(expected, from)}`, `    + ${show(actual, from)}`]
  })
  return [...lines, ...(all.length > most ? [`  … and ${all.length - most} more`] : [])].join("\n")
}

/** Where to begin to show two values: near the place where they part, if they are long texts. */
const parting = (expected: unknown, actual: unknown): number => {
  if (typeof expected !== "string" || typeof actual !== "string") return 0
  let at = 0
  while (at < expected.length && expected[at] === actual[at]) at++
  return Math.max(0, at - leadLength)
}

/** A value as JSON, or the part of it that matters. */
export const show = (value: unknown, from = 0): string => {
  if (value === undefined) return "(nothing)"
  const text = JSON.stringify(typeof value === "string" ? value.slice(from) : value)
  const shown = text.length > shownLength ? `${text.slice(0, shownLength)}…` : text
  return from > 0 ? `…${shown}` : shown
}
