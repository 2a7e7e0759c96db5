/**
 * Programs of our own for simulations, and what has to be true of each: between them they go through all that may be
 * under way at the same time. They find the package by its name, so a copy of them beside a copy of `src` tests that.
 */
import { createHash } from "node:crypto"
import * as Agent from "effect-agent-runtime/Agent"
import type { AgentEvent } from "effect-agent-runtime/AgentEvent"
import * as EventHub from "effect-agent-runtime/EventHub"
import * as History from "effect-agent-runtime/History"
import * as Llm from "effect-agent-runtime/Llm"
import * as Concurrency from "effect-agent-runtime/middleware/Concurrency"
import * as Retry from "effect-agent-runtime/middleware/Retry"
import * as Timeout from "effect-agent-runtime/middleware/Timeout"
import * as Session from "effect-agent-runtime/Session"
import * as SessionStore from "effect-agent-runtime/SessionStore"
import type { Schedule } from "effect-agent-runtime/testing/Decision"
import * as Faults from "effect-agent-runtime/testing/Faults"
import type * as Laws from "effect-agent-runtime/testing/Laws"
import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
import * as Simulation from "effect-agent-runtime/testing/Simulation"
import * as Toolbox from "effect-agent-runtime/Toolbox"
import * as Workflow from "effect-agent-runtime/Workflow"
import type { RunEvent, WorkflowEvent } from "effect-agent-runtime/WorkflowEvent"
import { isWorkflowEvent } from "effect-agent-runtime/WorkflowEvent"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"

/** A program and its invariant, which may look at what the latest run of the program left behind. */
export interface Scenario<A, E> {
  readonly program: Effect.Effect<A, E>
  readonly invariant: Simulation.Invariant<A, E>
  readonly faults: Faults.Rates
}

const eventsOf = ({ events }: Simulation.Outcome<unknown, unknown>): ReadonlyArray<AgentEvent> =>
  events.filter((event): event is AgentEvent => !isWorkflowEvent(event))

const calm = Llm.withMiddleware(Timeout.make(Timeout.quick), Retry.make(Retry.aggressive))

const Parameters = Schema.Struct({ n: Schema.Int })
const Work = Tool.make("work", { parameters: Parameters, success: Schema.Int }).annotate(Toolbox.Timeout, "5 seconds")
const Report = Tool.make("report", { parameters: Parameters, success: Schema.Int })
const Raise = Tool.make("raise", { parameters: Parameters, success: Schema.Int, failure: Schema.String })

const helper = Agent.asTool(Agent.make("helper", { toolkit: Toolkit.make(Report) }), { description: "Helps" })
const Tools = Toolkit.make(Work, Report, Raise, helper.tool)
const boss = Agent.make("boss", { toolkit: Tools, toolConcurrency: 2 })

/** Model, parallel tools that report and fail, a sub-agent. */
const team = (): Scenario<Agent.AgentResult, unknown> => {
  let working = 0
  let violations: Array<string> = []

  const OwnTools = Toolkit.make(Work, Report, Raise).toLayer({
    // Nearly as long as it may take: a little more, and its time is up.
    work: ({ n }) =>
      Effect.acquireUseRelease(
        Effect.sync(() => working++),
        () => Effect.as(Effect.sleep("4800 millis"), n),
        () => Effect.sync(() => working--)
      ),
    // What it leaves behind is not waited for.
    report: ({ n }, { preliminary }) =>
      Effect.as(Effect.forkDetach(Effect.andThen(preliminary(1), preliminary(2)), { startImmediately: true }), n),
    raise: ({ n }) => (n > 0 ? Effect.delay(Effect.fail("raised"), `${n} seconds`) : Effect.succeed(n))
  })
  const noted =
    (turn: ScriptedLlm.Turn): ScriptedLlm.Turn =>
    () => {
      if (working > 0) violations.push(`${working} calls are at work while the model is called`)
      return turn
    }
  const Model = ScriptedLlm.layer(
    [
      noted([
        { tool: "work", params: { n: 1 } },
        { tool: "report", params: { n: 2 } },
        { tool: "helper", params: { prompt: "help" } },
        { tool: "work", params: { n: 3 } }
      ]),
      noted({ tool: "work", params: { n: 4 } }),
      noted([
        { tool: "report", params: { n: 5 } },
        { tool: "raise", params: { n: 2 } },
        { tool: "work", params: { n: 6 } }
      ])
    ],
    noted("done")
  )
  const HelperModel = ScriptedLlm.layer([{ tool: "report", params: { n: 7 } }], "helped")
  const FaultyTools = Faults.inject(OwnTools)
  return {
    program: Effect.suspend(() => {
      working = 0
      violations = []
      return Effect.onExit(Agent.run(boss, "go"), () =>
        Effect.sync(() => {
          if (working > 0) violations.push(`${working} calls are at work when the run has ended`)
        })
      )
    }).pipe(
      Effect.provide([
        Layer.merge(FaultyTools, Layer.provide(helper.layer, [FaultyTools, calm(Faults.inject(HelperModel))])),
        calm(Faults.inject(Model))
      ])
    ),
    invariant: (outcome) => [
      ...Simulation.lawsOf(boss)(outcome),
      ...violations,
      ...atMost(2, eventsOf(outcome)),
      ...streamsMatch(eventsOf(outcome))
    ],
    faults: Faults.all
  }
}

/** No run has more calls under way than it may. */
const atMost = (limit: number, events: ReadonlyArray<AgentEvent>): Laws.Violations => {
  const running = new Map<string, number>()
  const violations: Array<string> = []
  for (const { _tag, runId } of events) {
    const now = running.get(runId) ?? 0
    if (_tag === "ToolCallStarted") running.set(runId, now + 1)
    if (_tag === "ToolCallCompleted" || _tag === "ToolCallFailed") running.set(runId, now - 1)
    if (_tag === "ToolCallStarted" && now >= limit) violations.push(`${now + 1} calls at a time`)
  }
  return violations
}

/** The text of an answer is that of its pieces since the model started over. */
const streamsMatch = (events: ReadonlyArray<AgentEvent>): Laws.Violations => {
  const told = new Map<string, string>()
  const violations: Array<string> = []
  for (const event of events) {
    if (event._tag === "ModelCallStarted" || event._tag === "ModelCallRetried") told.set(event.runId, "")
    if (event._tag === "TextDelta") told.set(event.runId, (told.get(event.runId) ?? "") + event.delta)
    if (event._tag === "ModelCallCompleted" && told.get(event.runId) !== History.text(event.content)) {
      violations.push(`'${told.get(event.runId)}' was streamed of '${History.text(event.content)}'`)
    }
  }
  return violations
}

const nameOf = ({ offset, runId }: RunEvent): string => `${runId} ${offset}`

/** Two runs at a time, and whoever comes late to watch them. */
const watchers = (): Scenario<ReadonlyArray<string>, unknown> => {
  const worker = Agent.make("worker", { toolkit: Toolkit.make(Work) })
  const Handlers = Toolkit.make(Work).toLayer({ work: ({ n }) => Effect.as(Effect.sleep("1 second"), n) })
  const script = [{ tool: "work", params: { n: 1 } }, "one two three"]
  const working = Agent.run(worker, "go").pipe(Effect.provide([Handlers, ScriptedLlm.layer(script)]))
  return {
    program: Effect.gen(function* () {
      const received: Array<string> = []
      const watch = Effect.scoped(
        Effect.gen(function* () {
          const { take } = yield* EventHub.subscribe({ from: 0, capacity: 1000 })
          while (true) {
            for (const event of yield* take) {
              received.push(event._tag === "Lagged" ? `${event.dropped} are missing` : nameOf(event))
            }
          }
        })
      )
      const late = Effect.scoped(
        Effect.gen(function* () {
          const { take } = yield* EventHub.subscribe({ capacity: 1, onOverflow: "backpressure" })
          while (true) yield* take
        })
      )
      const watching = yield* Effect.forkChild(Effect.all([watch, late], { concurrency: 2 }))
      yield* Effect.all([working, working], { concurrency: 2 })
      yield* Effect.sleep("1 second")
      yield* Fiber.interrupt(watching)
      return received
    }),
    invariant: (outcome) => {
      const violations = Simulation.laws(outcome)
      if (violations.length > 0 || Exit.isFailure(outcome.exit)) return violations
      const published = outcome.events.map(nameOf)
      const received = outcome.exit.value
      return received.join() === published.join()
        ? []
        : [`${received.length} events were received of ${published.length} published`]
    },
    faults: { subscriber: 0.5 }
  }
}

const promptsOf = (history: History.History): ReadonlyArray<string> =>
  History.toMessages(history).flatMap((message) =>
    message.role === "user" ? [History.userText(message.content as History.UserContent)] : []
  )

/** Runs in one session, of one process and of several: no prompt that was answered is lost, none is there twice. */
const sessions = (
  processes: number
): Scenario<{ readonly told: Array<string>; readonly kept: Array<string> }, unknown> => {
  const talker = Agent.make("talker")
  const Model = ScriptedLlm.layer([], () => Effect.as(Effect.sleep("1 second"), "ok"))
  return {
    program: Effect.gen(function* () {
      const store = SessionStore.memory(10)
      const told: Array<string> = []
      const process = (prompts: ReadonlyArray<string>) =>
        Effect.forEach(
          prompts,
          (prompt) =>
            Session.run(talker, { id: "s", prompt }).pipe(
              Effect.tap(() => Effect.sync(() => told.push(prompt))),
              // Only somebody else's process may come in between.
              processes > 1
                ? Effect.catchReason("SessionError", "Conflict", () => Effect.void)
                : (answering) => answering
            ),
          { concurrency: "unbounded", discard: true }
        ).pipe(Effect.provide(Layer.effect(Session.Session, Session.make(store))))
      const all = Array.from({ length: processes }, (_, n) => process([`a${n}`, `b${n}`]))
      yield* Effect.all(all, { concurrency: "unbounded", discard: true })
      const kept = yield* Session.history("s").pipe(Effect.provide(Layer.effect(Session.Session, Session.make(store))))
      return { told: told.toSorted(), kept: promptsOf(kept).toSorted() }
    }).pipe(Effect.provide(Model)),
    invariant: (outcome) => {
      const violations = Simulation.laws(outcome)
      if (violations.length > 0) return violations
      if (Exit.isFailure(outcome.exit)) return [`failed: ${String(outcome.exit.cause)}`]
      const { kept, told } = outcome.exit.value
      return kept.join() === told.join() ? [] : [`[${kept.join()}] are kept of [${told.join()}]`]
    },
    faults: {}
  }
}

/** Several runs share a model that takes one call at a time; one of them gives up early. */
const queue = (): Scenario<unknown, unknown> => {
  const asker = Agent.make("asker")
  let underWay = 0
  let violations: Array<string> = []
  const Provider = ScriptedLlm.layer([], () =>
    Effect.acquireUseRelease(
      Effect.sync(() => {
        if (++underWay > 1) violations.push(`${underWay} model calls at a time`)
      }),
      () => Effect.as(Effect.sleep("1 second"), "a b c"),
      () => Effect.sync(() => underWay--)
    )
  )
  const Model = Faults.inject(Provider).pipe(
    Llm.withMiddleware(Timeout.make(Timeout.quick), Concurrency.make(1), Retry.make(Retry.aggressive))
  )
  const asking = Effect.exit(Agent.run(asker, "why?"))
  return {
    program: Effect.suspend(() => {
      underWay = 0
      violations = []
      return Effect.all([asking, Effect.timeoutOption(asking, "500 millis"), asking], { concurrency: 3 })
    }).pipe(Effect.provide(Model)),
    invariant: (outcome) => [...Simulation.laws(outcome), ...violations, ...streamsMatch(eventsOf(outcome))],
    faults: { model: 0.3, interruption: 0.5 }
  }
}

/** A workflow with agents side by side, one of them in a workflow of its own. */
const plan = (): Scenario<unknown, unknown> => {
  const Handlers = Toolkit.make(Work).toLayer({ work: ({ n }) => Effect.as(Effect.sleep("1 second"), n) })
  const worker = Agent.make("worker", { toolkit: Toolkit.make(Work) })
  const flow = Workflow.make(
    "plan",
    Workflow.parallel("both", {
      alone: Workflow.agent(worker, { name: "alone" }),
      inside: Workflow.make(
        "inner",
        Workflow.effect("waiting", (prompt: string) => Effect.delay(Effect.succeed(prompt), "1 second")),
        Workflow.agent(worker, { name: "nested" })
      )
    }),
    Workflow.transform("joined", ({ alone, inside }) => `${alone} ${inside}`)
  )
  return {
    program: Effect.suspend(() => Workflow.run(flow, "go")).pipe(
      Effect.provide([
        Faults.inject(Handlers),
        calm(Faults.inject(ScriptedLlm.layer([{ tool: "work", params: { n: 1 } }], "done")))
      ])
    ),
    invariant: (outcome) => {
      const { events } = outcome
      const violations = Simulation.laws(outcome)
      return violations.length > 0 ? violations : whole(events.filter(isWorkflowEvent))
    },
    faults: Faults.all
  }
}

/** Runs of workflows begin, and end once; so do their steps; offsets have no gaps. */
const whole = (events: ReadonlyArray<WorkflowEvent>): Laws.Violations => {
  const violations: Array<string> = []
  for (const run of Map.groupBy(events, ({ runId }) => runId).values()) {
    const begins = run.findIndex(({ _tag }) => _tag === "WorkflowStarted")
    const ends = run.filter(({ _tag }) => /^Workflow(Completed|Failed|Interrupted)$/.test(_tag))
    const stepsBegun = run.filter(({ _tag }) => _tag === "StepStarted").length
    const stepsEnded = run.filter(({ _tag }) => /^Step(Completed|Failed|Interrupted)$/.test(_tag)).length
    const { workflow } = run[0]!
    if (begins !== 0) violations.push(`${workflow} does not begin with its beginning`)
    if (ends.length !== 1 || run.at(-1) !== ends[0]) violations.push(`${workflow} ends ${ends.length} times`)
    if (stepsBegun !== stepsEnded) violations.push(`${workflow} ends ${stepsEnded} steps of ${stepsBegun}`)
    if (run.some(({ offset }, i) => offset !== i)) violations.push(`${workflow} has gaps in its offsets`)
  }
  return violations
}

/** A scenario without its types, which differ. */
export interface Hunted {
  readonly name: string
  readonly search: (
    options: Omit<Simulation.CheckOptions, "faults">
  ) => Effect.Effect<Simulation.CheckResult<unknown, unknown>>
  /** The run of a seed: its log and its schedule. */
  readonly trace: (seed: number, schedule?: Schedule) => Effect.Effect<Trace>
}

export interface Trace {
  readonly log: string
  readonly schedule: Schedule
}

const hunted = <A, E>(name: string, { faults, invariant, program }: Scenario<A, E>): Hunted => ({
  name,
  search: (options) => Simulation.check(program, invariant, { ...options, faults }),
  trace: (seed, schedule) =>
    Effect.map(Simulation.run(program, { seed, faults, schedule }), (outcome) => ({
      log: Simulation.log(outcome.events),
      schedule: outcome.schedule
    }))
})

export const scenarios: ReadonlyArray<Hunted> = [
  hunted("a team with a sub-agent", team()),
  hunted("watchers of two runs", watchers()),
  hunted("a session in one process", sessions(1)),
  hunted("a session in three processes", sessions(3)),
  hunted("a queue before a model", queue()),
  hunted("a workflow of agents", plan())
]

export interface Found {
  readonly scenario: string
  readonly seed: number
  readonly report: string
}

/** Tries the seeds one by one, each with every scenario. Shrinking takes longer than finding. */
export const hunt = Effect.fnUntraced(function* (
  seeds: number,
  maxReplays: number
): Effect.fn.Return<Found | undefined> {
  for (let seed = 0; seed < seeds; seed++) {
    for (const { name, search } of scenarios) {
      const result = yield* search({ firstSeed: seed, seeds: 1, maxReplays })
      if (result._tag === "Falsified") return { scenario: name, seed, report: Simulation.report(result) }
    }
  }
  return undefined
})

/** What all scenarios do with these seeds, every byte of it, in 64 digits. */
export const digest = Effect.fnUntraced(function* (seeds: number) {
  const hash = createHash("sha256")
  for (const { trace } of scenarios) {
    for (let seed = 0; seed < seeds; seed++) hash.update(JSON.stringify(yield* trace(seed)))
  }
  return hash.digest("hex")
})

/** How many runs do something else when their schedule is played again. */
export const unfaithful = Effect.fnUntraced(function* (seeds: number) {
  let count = 0
  for (const { trace } of scenarios) {
    for (let seed = 0; seed < seeds; seed++) {
      const first = yield* trace(seed)
      const again = yield* trace(seed, first.schedule)
      if (JSON.stringify(again) !== JSON.stringify(first)) count++
    }
  }
  return count
})
