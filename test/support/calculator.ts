import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

export class DivisionByZero extends Schema.TaggedError<DivisionByZero>()("DivisionByZero", {}) {
  override get message() {
    return "Division by zero"
  }
}

/** The calculator of the original: four operations, and a failure that goes back to the model. */
export const Calculator = Tool.make("calculator", {
  description: "Performs arithmetic",
  parameters: Schema.Struct({
    operation: Schema.Literals(["add", "subtract", "multiply", "divide"]),
    a: Schema.Finite,
    b: Schema.Finite
  }),
  success: Schema.Struct({ result: Schema.Finite }),
  failure: DivisionByZero,
  failureMode: "return"
})

export const MathTools = Toolkit.make(Calculator)

export const MathToolsLayer = MathTools.toLayer({
  calculator: ({ a, b, operation }) => {
    switch (operation) {
      case "add":
        return Effect.succeed({ result: a + b })
      case "subtract":
        return Effect.succeed({ result: a - b })
      case "multiply":
        return Effect.succeed({ result: a * b })
      case "divide":
        return b === 0 ? Effect.fail(new DivisionByZero()) : Effect.succeed({ result: a / b })
    }
  }
})

/** A call of the calculator for a script. */
export const calculate = (operation: string, a: number, b: number) =>
  ({ tool: "calculator", params: { operation, a, b } }) as const
