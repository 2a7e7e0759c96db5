import * as Agent from "effect-agent-runtime/Agent"
import type { AgentError, TurnLimitReached } from "effect-agent-runtime/AgentError"
import type { AgentEvent } from "effect-agent-runtime/AgentEvent"
import * as ContextWindow from "effect-agent-runtime/ContextWindow"
import type { Llm } from "effect-agent-runtime/Llm"
import type * as AiError from "effect/ai/AiError"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import { describe, expectTypeOf, it } from "vitest"

class Broken extends Schema.TaggedError<Broken>()("Broken", {}) {}
class Lost extends Schema.TaggedError<Lost>()("Lost", {}) {}
class Database extends Context.Service<Database, { readonly get: () => string }>()("test/Database") {}

const Returns = Tool.make("returns", { failure: Broken, failureMode: "return" })
const Raises = Tool.make("raises", { failure: Broken })
const RaisesToo = Tool.make("raises_too", { failure: Lost, dependencies: [Database] })

const plain = Agent.make("plain")
const returning = Agent.make("returning", { toolkit: Toolkit.make(Returns) })
const raising = Agent.make("raising", { toolkit: Toolkit.make(Returns, Raises) })
const both = Agent.make("both", { toolkit: Toolkit.make(Raises, RaisesToo) })
const typed = Agent.make("typed", {
  toolkit: Toolkit.make(Returns),
  output: Schema.Struct({ at: Schema.Date })
})
const instructed = Agent.make("instructed", {
  instructions: (prompt) => Effect.flatMap(Database, (db) => (prompt === "" ? new Lost() : Effect.succeed(db.get())))
})

describe("run", () => {
  it("needs only a model, and fails only with AgentError, without tools", () => {
    expectTypeOf(Agent.run(plain, "Hi")).toEqualTypeOf<Effect.Effect<Agent.AgentResult<string>, AgentError, Llm>>()
  })

  it("needs the handlers of its tools, whose returned failures are not in E", () => {
    expectTypeOf(Agent.run(returning, "Hi")).toEqualTypeOf<
      Effect.Effect<Agent.AgentResult<string>, AgentError, Llm | Tool.Handler<"returns">>
    >()
  })

  it("fails with the failures of tools that raise them", () => {
    expectTypeOf(Agent.run(raising, "Hi")).toEqualTypeOf<
      Effect.Effect<
        Agent.AgentResult<string>,
        AgentError | Broken | AiError.AiError,
        Llm | Tool.Handler<"returns"> | Tool.Handler<"raises">
      >
    >()
  })

  it("adds up the failures and services of several tools", () => {
    expectTypeOf(Agent.run(both, "Hi")).toEqualTypeOf<
      Effect.Effect<
        Agent.AgentResult<string>,
        AgentError | Broken | Lost | AiError.AiError,
        Llm | Tool.Handler<"raises"> | Tool.Handler<"raises_too"> | Database
      >
    >()
  })

  it("fails with what its context window fails with, and needs what that needs", () => {
    const pure = Agent.make("pure", {
      contextWindow: ContextWindow.compose(ContextWindow.lastTurns(3), ContextWindow.tokenBudget(1000))
    })
    const summarizing = Agent.make("summarizing", { contextWindow: ContextWindow.summarize(1000) })
    const own = Agent.make("own", {
      contextWindow: ContextWindow.compose(
        ContextWindow.dropToolResults(1000),
        ContextWindow.summarize(1000, {
          by: (text) => Effect.flatMap(Database, (db) => (text === "" ? new Lost() : Effect.succeed(db.get())))
        })
      )
    })
    type Plain<E, R> = Effect.Effect<Agent.AgentResult<string>, AgentError | E, Llm | R>
    expectTypeOf(Agent.run(pure, "Hi")).toEqualTypeOf<Plain<never, never>>()
    expectTypeOf(Agent.run(summarizing, "Hi")).toEqualTypeOf<Plain<never, never>>()
    expectTypeOf(Agent.run(own, "Hi")).toEqualTypeOf<Plain<Lost, Database>>()
    expectTypeOf(ContextWindow.lastTurns(3)).toEqualTypeOf<ContextWindow.ContextWindow>()
    expectTypeOf(ContextWindow.summarize(9)).toEqualTypeOf<ContextWindow.ContextWindow<never, Llm>>()
  })

  it("has the output of its schema", () => {
    expectTypeOf(Agent.run(typed, "Hi")).toEqualTypeOf<
      Effect.Effect<Agent.AgentResult<{ readonly at: Date }>, AgentError, Llm | Tool.Handler<"returns">>
    >()
  })

  it("has the failures and services of the preparation of its turns, and knows the names of its tools", () => {
    const prepared = Agent.make("prepared", {
      toolkit: Toolkit.make(Returns),
      instructions: () => Effect.succeed(""),
      prepareTurn: ({ turn }) =>
        Effect.flatMap(Database, () => (turn > 5 ? new Lost() : Effect.succeed({ tools: ["returns"] as const })))
    })
    expectTypeOf(Agent.run(prepared, "Hi")).toEqualTypeOf<
      Effect.Effect<Agent.AgentResult<string>, AgentError | Lost, Llm | Tool.Handler<"returns"> | Database>
    >()
    Agent.make("wrong", {
      toolkit: Toolkit.make(Returns),
      // @ts-expect-error there is no such tool
      prepareTurn: () => Effect.succeed({ tools: ["nope"] as const })
    })
  })

  it("has the failures and services of its instructions", () => {
    expectTypeOf(Agent.run(instructed, "Hi")).toEqualTypeOf<
      Effect.Effect<Agent.AgentResult<string>, AgentError | Lost, Llm | Database>
    >()
  })

  it("narrows by tag and by reason", () => {
    const caught = Agent.run(raising, "Hi").pipe(Effect.catchTag("Broken", () => Effect.succeed("mended" as const)))
    expectTypeOf<Effect.Error<typeof caught>>().toEqualTypeOf<AgentError | AiError.AiError>()
    const limited = Agent.run(plain, "Hi").pipe(
      Effect.catchReason("AgentError", "TurnLimitReached", (reason) => {
        expectTypeOf(reason).toEqualTypeOf<TurnLimitReached>()
        return Effect.succeed(reason.limit)
      })
    )
    expectTypeOf<Effect.Success<typeof limited>>().toEqualTypeOf<Agent.AgentResult<string> | number>()
  })

  it("takes no tool choice that the toolkit does not have", () => {
    // @ts-expect-error there is no such tool
    Agent.make("wrong", { toolkit: Toolkit.make(Returns), toolChoice: { tool: "retruns" } })
  })
})

describe("utility types", () => {
  it("take an agent apart", () => {
    expectTypeOf<Agent.OutputOf<typeof typed>>().toEqualTypeOf<{ readonly at: Date }>()
    expectTypeOf<Agent.ErrorOf<typeof raising>>().toEqualTypeOf<Broken | AiError.AiError>()
    expectTypeOf<Agent.ServicesOf<typeof instructed>>().toEqualTypeOf<Database>()
    expectTypeOf(both).toExtend<Agent.Any>()
  })

  it("a tool choice does not make up a toolkit", () => {
    // @ts-expect-error there is no toolkit
    Agent.make("wrong", { toolChoice: { tool: "anything" } })
  })
})

describe("stream", () => {
  it("has the failures and services of run", () => {
    expectTypeOf(Agent.stream(raising, "Hi")).toEqualTypeOf<
      Stream.Stream<
        AgentEvent,
        AgentError | Broken | AiError.AiError,
        Llm | Tool.Handler<"returns"> | Tool.Handler<"raises">
      >
    >()
  })
})

describe("asTool", () => {
  it("is a tool that fails with data, and a layer that needs what the agent needs", () => {
    const sub = Agent.asTool(typed, { description: "Says when" })
    expectTypeOf(sub.layer).toEqualTypeOf<Layer.Layer<Tool.Handler<"typed">, never, Llm | Tool.Handler<"returns">>>()
    const parent = Agent.make("parent", { toolkit: Toolkit.make(sub.tool) })
    expectTypeOf(Agent.run(parent, "Hi")).toEqualTypeOf<
      Effect.Effect<Agent.AgentResult<string>, AgentError, Llm | Tool.Handler<"typed">>
    >()
    expectTypeOf<Tool.Success<typeof sub.tool>>().toEqualTypeOf<{ readonly at: Date }>()
  })
})
