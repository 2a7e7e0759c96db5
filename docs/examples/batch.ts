/**
 * A thousand prompts, sixteen at a time and within the provider's rate limit. Equal prompts share one call, and a bar
 * shows how far it is.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Agent from "effect-agent-runtime/Agent"
import * as History from "effect-agent-runtime/History"
import * as Llm from "effect-agent-runtime/Llm"
import * as RateLimit from "effect-agent-runtime/middleware/RateLimit"
import * as ResponseCache from "effect-agent-runtime/middleware/ResponseCache"
import * as Retry from "effect-agent-runtime/middleware/Retry"
import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
import * as Usage from "effect-agent-runtime/Usage"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as RateLimiter from "effect/persistence/RateLimiter"

const sorter = Agent.make("sorter", { instructions: "Answer with `even` or `odd`.", temperature: 0 })

// A thousand reviews, tickets or rows of yours; a quarter of them are there twice.
const prompts = Array.from({ length: 1000 }, (_, i) => `Is ${i % 750} even or odd?`)

let calls = 0

/** In place of a provider: answers what it is asked, after a while. */
const Provider = ScriptedLlm.layer([], (request) => {
  calls++
  const message = History.last(request.history)
  const digits = message?.role === "user" ? /\d+/.exec(History.userText(message.content))?.[0] : undefined
  return Effect.delay(Effect.succeed(Number(digits) % 2 === 0 ? "even" : "odd"), "1 millis")
})

const Model = Provider.pipe(
  Llm.withMiddleware(
    RateLimit.make({ key: "account", requests: 10_000, window: "1 second" }),
    Retry.make(),
    ResponseCache.make({ capacity: 1000 })
  ),
  Layer.provide(RateLimiter.layerStoreMemory)
)

/** A line that is written over on a terminal, and a line for each quarter elsewhere. */
const progress = (done: number): Effect.Effect<void> => {
  const bar = "█".repeat(Math.floor((done / prompts.length) * 20)).padEnd(20, "░")
  if (process.stdout.isTTY) return Effect.sync(() => process.stdout.write(`\r${bar} ${done}/${prompts.length}`))
  return done % (prompts.length / 4) === 0 ? Console.log(`${bar} ${done}/${prompts.length}`) : Effect.void
}

export const program = Effect.gen(function* () {
  let done = 0
  const results = yield* Effect.forEach(
    prompts,
    (prompt) => Effect.tap(Agent.run(sorter, prompt), () => progress(++done)),
    { concurrency: 16 }
  )
  const odd = results.filter((result) => result.output === "odd").length
  const usage = Usage.combineAll(results.map((result) => result.usage))
  yield* Console.log(`\n${odd} are odd; ${usage.modelCalls} model calls, ${calls} of them reached the provider`)
}).pipe(Effect.provide(Model))

if (import.meta.main) NodeRuntime.runMain(program)
