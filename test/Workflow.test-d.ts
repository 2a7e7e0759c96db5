import * as Agent from "effect-agent-runtime/Agent"
import type { AgentError } from "effect-agent-runtime/AgentError"
import type { Llm } from "effect-agent-runtime/Llm"
import * as Workflow from "effect-agent-runtime/Workflow"
import type {
  AnswerRejected,
  IterationLimitReached,
  RecordMismatch,
  WorkflowError
} from "effect-agent-runtime/WorkflowError"
import type { RunEvent } from "effect-agent-runtime/WorkflowEvent"
import type { WorkflowRun } from "effect-agent-runtime/WorkflowRun"
import type * as AiError from "effect/ai/AiError"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import { describe, expectTypeOf, it } from "vitest"

class Broken extends Schema.TaggedError<Broken>()("Broken", { at: Schema.Finite }) {}
class Lost extends Schema.TaggedError<Lost>()("Lost", {}) {}
class Database extends Context.Service<Database, { readonly get: () => string }>()("test/Database") {}

const length = Workflow.transform("length", (text: string) => text.length)
const check = Workflow.effect("check", (n: number) => (n > 0 ? Effect.succeed(n) : new Broken({ at: n })))
const read = Workflow.effect("read", (n: number) =>
  Effect.flatMap(Database, (db) => (n > 0 ? Effect.succeed(db.get()) : new Lost()))
)
const Raises = Tool.make("raises", { failure: Broken })
const raising = Agent.make("raising", { toolkit: Toolkit.make(Raises), output: Schema.Struct({ at: Schema.Date }) })

declare const record: WorkflowRun

describe("make", () => {
  it("has the input of the first step, the output of the last, and what all fail with and need", () => {
    expectTypeOf(Workflow.make("w", length, check, read)).toEqualTypeOf<
      Workflow.Workflow<string, string, Broken | Lost, Database>
    >()
    expectTypeOf(Workflow.make("w", Workflow.make("v", length), check)).toEqualTypeOf<
      Workflow.Workflow<string, number, Broken>
    >()
    expectTypeOf(Workflow.make("w", ...Array.of(check, check))).toEqualTypeOf<
      Workflow.Workflow<number, number, Broken>
    >()
  })

  it("takes only steps that line up", () => {
    // @ts-expect-error a number is no string
    Workflow.make("w", length, length)
    // @ts-expect-error text is no number
    Workflow.make("w", length, check, read, check)
  })

  it("tells a step what the one before puts out", () => {
    const workflow = Workflow.make(
      "w",
      length,
      Workflow.transform("list", (n) => Array.from({ length: n }, String)),
      Workflow.map(
        "each",
        Workflow.transform("one", (text) => text.length)
      ),
      Workflow.parallel("both", {
        count: Workflow.transform("count", (all) => all.length),
        first: Workflow.effect("first", (all) => Effect.succeed(String(all[0])))
      }),
      Workflow.branch("which", ({ count }) => (count > 1 ? "many" : "one"), {
        many: Workflow.transform("many", ({ count }) => count),
        one: Workflow.transform("one", ({ first }) => first)
      })
    )
    expectTypeOf(workflow).toEqualTypeOf<Workflow.Workflow<string, string | number>>()
  })
})

describe("agent", () => {
  it("has the agent's output, failures and services", () => {
    expectTypeOf(Workflow.agent(Agent.make("plain"))).toEqualTypeOf<
      Workflow.Workflow<string, string, AgentError, Llm>
    >()
    expectTypeOf(Workflow.agent(raising, { prompt: (n: number) => String(n) })).toEqualTypeOf<
      Workflow.Workflow<
        number,
        { readonly at: Date },
        AgentError | Broken | AiError.AiError,
        Llm | Tool.Handler<"raises">
      >
    >()
  })

  it("does not take what is no prompt", () => {
    // @ts-expect-error a number is no prompt
    Workflow.make("w", length, Workflow.agent(Agent.make("plain")))
  })
})

describe("branch and route", () => {
  it("put out what one of the cases does", () => {
    const sign = Workflow.branch("sign", (n: number) => (n > 0 ? "plus" : "minus"), { plus: check, minus: read })
    expectTypeOf(sign).toEqualTypeOf<Workflow.Workflow<number, number | string, Broken | Lost, Database>>()
    const router = Agent.make("router", { output: Schema.Literals(["code", "prose"]) })
    const routed = Workflow.route("route", Workflow.agent(router), {
      code: Workflow.agent(Agent.make("coder")),
      prose: length
    })
    expectTypeOf<Workflow.OutputOf<typeof routed>>().toEqualTypeOf<string | number>()
    expectTypeOf<Workflow.ErrorOf<typeof routed>>().toEqualTypeOf<AgentError>()
    expectTypeOf<Workflow.ServicesOf<typeof routed>>().toEqualTypeOf<Llm>()
  })

  it("need a case for each label", () => {
    // @ts-expect-error there is no case for "minus"
    Workflow.branch("sign", (n: number) => (n > 0 ? "plus" : "minus"), { plus: check })
    // @ts-expect-error any text may be the label
    Workflow.branch("sign", (text: string) => text, { plus: length })
    // @ts-expect-error any text may be the label
    Workflow.route("sign", Workflow.agent(Agent.make("router")), { plus: Workflow.agent(Agent.make("a")) })
  })
})

describe("the other kinds", () => {
  it("have the failures of their bounds", () => {
    const grow = Workflow.transform("grow", (n: number) => n + 1)
    expectTypeOf(Workflow.loop("l", grow, { until: (n) => n > 3 })).toEqualTypeOf<
      Workflow.Workflow<number, number, IterationLimitReached>
    >()
    const judge = Workflow.transform("judge", ({ output }: Workflow.Judged<number, number>) => ({
      accepted: output > 1,
      feedback: ""
    }))
    const refine = <const L extends "fail" | "keepBest">(onLimit: L) =>
      Workflow.refine("r", grow, { judge, revise: ({ output }) => output, onLimit })
    expectTypeOf(refine("fail")).toEqualTypeOf<Workflow.Workflow<number, number, AnswerRejected>>()
    expectTypeOf(refine("keepBest")).toEqualTypeOf<Workflow.Workflow<number, number>>()
  })

  it("have the failures of their steps", () => {
    expectTypeOf(Workflow.map("m", check)).toEqualTypeOf<
      Workflow.Workflow<ReadonlyArray<number>, ReadonlyArray<number>, Broken>
    >()
    expectTypeOf(Workflow.retry("r", check, { while: ({ at }) => at > 0 })).toEqualTypeOf<
      Workflow.Workflow<number, number, Broken>
    >()
    expectTypeOf(Workflow.fallback("f", check, read)).toEqualTypeOf<
      Workflow.Workflow<number, number | string, Lost, Database>
    >()
    expectTypeOf(Workflow.parallel("p", { a: check, b: read })).toEqualTypeOf<
      Workflow.Workflow<number, { readonly a: number; readonly b: string }, Broken | Lost, Database>
    >()
  })

  it("of a conversation that is summarized need a model", () => {
    const summary = Agent.make("summary")
    expectTypeOf(length.pipe(Workflow.withConversation("shared"))).toEqualTypeOf<Workflow.Workflow<string, number>>()
    expectTypeOf(length.pipe(Workflow.withConversation({ forked: { summary } }))).toEqualTypeOf<
      Workflow.Workflow<string, number, AgentError, Llm>
    >()
  })
})

describe("running", () => {
  it("fails with what a step fails with, as the reason", () => {
    const workflow = Workflow.make("w", check, read)
    expectTypeOf(Workflow.run(workflow, 1)).toEqualTypeOf<
      Effect.Effect<Workflow.WorkflowResult<string>, WorkflowError<Broken | Lost>, Database>
    >()
    expectTypeOf(Workflow.stream(workflow, 1)).toEqualTypeOf<
      Stream.Stream<RunEvent, WorkflowError<Broken | Lost>, Database>
    >()
    expectTypeOf(Workflow.resume(workflow, record)).toEqualTypeOf<
      Effect.Effect<Workflow.WorkflowResult<string>, WorkflowError<Broken | Lost> | RecordMismatch, Database>
    >()
    void Workflow.run(workflow, 1).pipe(
      Effect.catchReason("WorkflowError", "Broken", ({ at }, { run }) => {
        expectTypeOf(at).toEqualTypeOf<number>()
        expectTypeOf(run).toEqualTypeOf<WorkflowRun>()
        return Effect.void
      })
    )
    // @ts-expect-error a text is no number
    void Workflow.run(workflow, "1")
  })

  it("as a tool takes what its parameters say", () => {
    const { layer, tool } = Workflow.asTool(
      Workflow.make(
        "w",
        Workflow.transform("n", ({ n }: { readonly n: number }) => n),
        read
      ),
      { name: "read", description: "Reads", parameters: Schema.Struct({ n: Schema.Finite }) }
    )
    expectTypeOf(tool.name).toEqualTypeOf<"read">()
    expectTypeOf(layer).toEqualTypeOf<Layer.Layer<Tool.Handler<"read">, never, Database>>()
    // @ts-expect-error the workflow takes a text
    Workflow.asTool(length, { name: "length", description: "", parameters: Schema.Struct({ n: Schema.Finite }) })
  })
})
