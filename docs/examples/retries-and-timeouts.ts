/**
 * Tools that take too long or fail now and then: annotations say how often to try, and for how long.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Agent from "effect-agent-runtime/Agent"
import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
import * as Toolbox from "effect-agent-runtime/Toolbox"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"

class Busy extends Schema.TaggedError<Busy>()("Busy", {}) {}

const Search = Tool.make("search", { success: Schema.String, failure: Busy, failureMode: "return" })
  // Two more attempts. Exponential backoff is `Schedule.exponential("100 millis").pipe(Schedule.upTo({ times: 2 }))`.
  .annotate(Toolbox.Retry, Schedule.recurs(2))

const Crawl = Tool.make("crawl", { success: Schema.String }).annotate(Toolbox.Timeout, "50 millis")

const Web = Toolkit.make(Search, Crawl)

let attempts = 0

const WebLayer = Web.toLayer({
  search: () => (++attempts < 3 ? Effect.fail(new Busy()) : Effect.succeed("three results")),
  crawl: () => Effect.never
})

export const program = Agent.stream(Agent.make("scout", { toolkit: Web }), "Find something").pipe(
  Stream.runForEach((event) => {
    switch (event._tag) {
      case "ToolCallCompleted":
        return Console.log(`${event.name}: ${event.result} (attempt ${attempts})`)
      case "ToolCallFailed":
        return Console.log(`${event.name}: ${event.kind}: ${event.result}`)
      case "RunCompleted":
        return Console.log(event.text)
      default:
        return Effect.void
    }
  }),
  Effect.provide([WebLayer, ScriptedLlm.layer([{ tool: "search" }, { tool: "crawl" }, "I found three results."])])
)

if (import.meta.main) NodeRuntime.runMain(program)
