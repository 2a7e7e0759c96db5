/**
 * Arithmetic in prose: finds the expressions in a text, and works them out one operation at a time.
 */

/** One operation on two numbers. */
export interface Calculation {
  readonly operation: "add" | "subtract" | "multiply" | "divide"
  readonly a: number
  readonly b: number
}

export type Expression =
  | { readonly _tag: "Number"; readonly value: number }
  | { readonly _tag: "Negation"; readonly operand: Expression }
  | {
      readonly _tag: "Binary"
      readonly operation: Calculation["operation"]
      readonly left: Expression
      readonly right: Expression
    }

/** An expression, and how the text has it. */
export interface Found {
  readonly text: string
  readonly expression: Expression
}

/** A number, an operator, a parenthesis, or a character of arithmetic that nobody here understands. */
type Token = number | string

const number = /(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)(?:e[+-]?\d+)?/
// `^`, `%` and a comma between digits belong to expressions that must not be mistaken for a part of them.
const symbol = /[-−+*×/÷()^%]|,(?=\d)/
const times = /x(?=\s*[-−(.\d])/
const word = /[\p{L}_][\p{L}\p{N}_]*/u

const lexer = new RegExp(
  `(?<number>${number.source})|(?<symbol>${symbol.source})|(?<times>${times.source})|(?<space>\\s+)|${word.source}|.`,
  "giu"
)

const aliases: Readonly<Record<string, string>> = { "−": "-", "×": "*", "÷": "/" }

/** Bounds the depth of the parser. */
const maxTokens = 500

/**
 * Finds the expressions with at least one operation. What cannot be read completely is left out: half of an
 * expression has another value.
 */
export const find = (text: string): ReadonlyArray<Found> => {
  const found: Array<Found> = []
  let tokens: Array<Token> = []
  let start = 0
  let end = 0

  const close = () => {
    const expression = tokens.length > maxTokens ? undefined : parse(tokens)
    if (expression !== undefined && hasOperation(expression)) {
      found.push({ text: text.slice(start, end).replace(/\s+/g, " "), expression })
    }
    tokens = []
  }
  const add = (token: Token, match: RegExpExecArray) => {
    if (tokens.length === 0) start = match.index
    end = match.index + match[0].length
    tokens.push(token)
  }

  for (const match of text.matchAll(lexer)) {
    const { number, space, symbol, times } = match.groups!
    const last = tokens.at(-1)
    if (number !== undefined) add(Number(number.replaceAll(",", "")), match)
    else if (symbol !== undefined) add(aliases[symbol] ?? symbol, match)
    else if (times !== undefined && (typeof last === "number" || last === ")")) add("*", match)
    else if (space === undefined) close()
  }
  close()
  return found
}

/** Loosest first. */
const precedence: ReadonlyArray<Readonly<Record<Token, Calculation["operation"]>>> = [
  { "+": "add", "-": "subtract" },
  { "*": "multiply", "/": "divide" }
]

/** The expression that the tokens are, all of them, or `undefined`. */
const parse = (tokens: ReadonlyArray<Token>): Expression | undefined => {
  let at = 0

  const binary = (level: number): Expression | undefined => {
    const operators = precedence[level]
    if (operators === undefined) return unary()
    let left = binary(level + 1)
    while (left !== undefined) {
      const operation = operators[tokens[at] ?? ""]
      if (operation === undefined) break
      at++
      const right = binary(level + 1)
      left = right && { _tag: "Binary", operation, left, right }
    }
    return left
  }

  const unary = (): Expression | undefined => {
    const token = tokens[at++]
    if (typeof token === "number") return Number.isFinite(token) ? { _tag: "Number", value: token } : undefined
    if (token === "-") {
      const operand = unary()
      return operand && { _tag: "Negation", operand }
    }
    if (token !== "(") return undefined
    const inner = binary(0)
    return tokens[at++] === ")" ? inner : undefined
  }

  const expression = binary(0)
  return at === tokens.length ? expression : undefined
}

const hasOperation = (expression: Expression): boolean =>
  expression._tag === "Binary" || (expression._tag === "Negation" && hasOperation(expression.operand))

/**
 * The value of an expression, or the calculations that can be made next: those whose operands are known, in reading
 * order. `result` tells what is known of a calculation.
 */
export const step = (
  expression: Expression,
  result: (calculation: Calculation) => number | undefined
): number | ReadonlyArray<Calculation> => {
  switch (expression._tag) {
    case "Number":
      return expression.value
    case "Negation": {
      const operand = step(expression.operand, result)
      // Not `-operand`: a zero has no sign here.
      return typeof operand === "number" ? 0 - operand : operand
    }
    case "Binary": {
      const left = step(expression.left, result)
      const right = step(expression.right, result)
      if (typeof left !== "number") return typeof right === "number" ? left : [...left, ...right]
      if (typeof right !== "number") return right
      const calculation = { operation: expression.operation, a: left, b: right }
      return result(calculation) ?? [calculation]
    }
  }
}
