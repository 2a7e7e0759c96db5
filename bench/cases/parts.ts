import * as LoopDetector from "effect-agent-runtime/LoopDetector"
/**
 * What the parts cost that a run is made of, or was kept free of: the figures of docs/design/performance.md. They are not
 * in the suite; `npm run bench -- --only parts/` measures them.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as JitCompiler from "effect/schema/SchemaJITCompiler"
import * as Stream from "effect/Stream"
import type { Case } from "../Case.ts"
import { expect } from "../Case.ts"
import { makeToolkit } from "./support.ts"

const part = (name: string, describes: string, make: () => () => Effect.Effect<unknown, unknown>): Case => ({
  name: `parts/${name}`,
  describes,
  ours: () => ({ kind: "effect", operation: make(), check: (result) => expect("a result", result !== undefined) })
})

class Port extends Context.Service<Port, number>()("bench/Port") {}

const suspended = Effect.suspend(() => Effect.succeed(1))
const six = [1, 2, 3, 4, 5, 6]
const params = { operation: "add", a: 5, b: 3 }

const makeParameters = () =>
  Schema.toCodecJson(Schema.Struct({ operation: Schema.String, a: Schema.Finite, b: Schema.Finite }))

const top = Effect.fnUntraced(function* () {
  return yield* Effect.succeed(1)
})

export const parts: ReadonlyArray<Case> = [
  part("suspend", "a suspended effect", () => () => suspended),
  part(
    "generator_closure",
    "Effect.gen with a generator function made anew",
    () => () =>
      // @effect-diagnostics-next-line unnecessaryEffectGen:off
      Effect.gen(function* () {
        return yield* Effect.succeed(1)
      })
  ),
  part("generator_function", "the same generator function each time", () => () => top()),
  part("exit", "Effect.exit of a suspended effect", () => () => Effect.exit(suspended)),
  part(
    "fork_join",
    "fork a fiber that starts at once, and join it",
    () => () => Effect.flatMap(Effect.forkChild(suspended, { startImmediately: true }), Fiber.join)
  ),
  part(
    "stream_run",
    "run a Stream of six elements",
    () => () =>
      Effect.map(
        Stream.runFold(
          Stream.fromArray(six),
          () => 0,
          (sum, n) => sum + n
        ),
        (sum) => sum
      )
  ),
  part(
    "stream_pull",
    "pull six elements out of a Stream in a scope of its own",
    () => () => Effect.scoped(Effect.flatMap(Stream.toPull(Stream.fromArray(six)), (pull) => pull))
  ),
  part(
    "provide_context",
    "provide a context of one service",
    () => () => Effect.provideContext(suspended, Context.make(Port, 1))
  ),
  part("provide_service", "provide one service", () => () => Effect.provideService(suspended, Port, 1)),
  part(
    "clock",
    "read the clock",
    () => () => Effect.withFiber((fiber) => Effect.succeed(fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()))
  ),
  part(
    "key",
    "the key of a call with three arguments",
    () => () => Effect.succeed(LoopDetector.key("calculator", params))
  ),
  part("toolkit_make", "Tool.make and Toolkit.make of effect/ai", () => () => Effect.succeed(makeToolkit())),
  part("decode", "decode three arguments", () => {
    const decode = Schema.decodeUnknownEffect(makeParameters())
    return () => decode(params)
  }),
  part("decode_compiled", "the same with a compiled decoder", () => {
    const schema = makeParameters()
    JitCompiler.enable(schema.ast)
    const decode = Schema.decodeUnknownEffect(schema)
    return () => decode(params)
  })
]
