/**
 * The tools of the command-line agent.
 */
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as LoopDetector from "../LoopDetector.ts"

export class DivisionByZero extends Schema.TaggedError<DivisionByZero>()("DivisionByZero", {
  message: Schema.String
}) {}

export class ResultTooLarge extends Schema.TaggedError<ResultTooLarge>()("ResultTooLarge", {
  message: Schema.String
}) {}

export const Calculator = Tool.make("calculator", {
  description: "Performs one arithmetic operation on two numbers.",
  parameters: Schema.Struct({
    operation: Schema.Literals(["add", "subtract", "multiply", "divide"]),
    a: Schema.Finite,
    b: Schema.Finite
  }),
  success: Schema.Struct({ result: Schema.Finite }),
  failure: Schema.Union([DivisionByZero, ResultTooLarge]),
  failureMode: "return"
}).annotate(Tool.Readonly, true)

export class UnknownTimeZone extends Schema.TaggedError<UnknownTimeZone>()("UnknownTimeZone", {
  message: Schema.String
}) {}

export const CurrentTime = Tool.make("current_time", {
  description: "Tells the current date and time.",
  parameters: Schema.Struct({
    timeZone: Schema.optionalKey(
      Schema.String.annotate({ description: "An IANA time zone such as Europe/Berlin. UTC when it is absent." })
    )
  }),
  success: Schema.Struct({ time: Schema.String }),
  failure: UnknownTimeZone,
  failureMode: "return"
})
  .annotate(LoopDetector.Repeatable, true)
  .annotate(Tool.Readonly, true)

export const toolkit = Toolkit.make(Calculator, CurrentTime)

const calculate = ({ a, b, operation }: (typeof Calculator.parametersSchema)["Type"]): number => {
  switch (operation) {
    case "add":
      return a + b
    case "subtract":
      return a - b
    case "multiply":
      return a * b
    case "divide":
      return a / b
  }
}

export const layer = toolkit.toLayer({
  calculator: (params) => {
    if (params.operation === "divide" && params.b === 0) {
      return Effect.fail(new DivisionByZero({ message: `${params.a} cannot be divided by zero` }))
    }
    const result = calculate(params)
    return Number.isFinite(result)
      ? Effect.succeed({ result })
      : Effect.fail(new ResultTooLarge({ message: "the result is too large" }))
  },
  current_time: Effect.fnUntraced(function* ({ timeZone = "UTC" }) {
    const now = DateTime.setZoneNamed(yield* DateTime.now, timeZone)
    if (Option.isSome(now)) return { time: DateTime.formatIsoZoned(now.value) }
    return yield* new UnknownTimeZone({ message: `there is no time zone ${timeZone}` })
  })
})
