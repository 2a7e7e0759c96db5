/**
 * Deterministic simulation: a program runs under a scheduler, a clock and a source of random numbers that are all drawn
 * from one seed, while things go wrong as the same seed says. The same seed gives the same run, event by event.
 *
 * So a search over seeds is a search for an order of events that breaks an invariant, and what it finds can be played
 * again, and shrunk to the few decisions that matter.
 *
 * **Example** (An agent, whatever happens in whatever order)
 *
 * ```ts
 * import * as Schema from "effect/Schema"
 * import * as Tool from "effect/ai/Tool"
 * import * as Toolkit from "effect/ai/Toolkit"
 * import * as Effect from "effect/Effect"
 * import * as Agent from "effect-agent-runtime/Agent"
 * import * as Llm from "effect-agent-runtime/Llm"
 * import * as Timeout from "effect-agent-runtime/middleware/Timeout"
 * import { Faults, ScriptedLlm, Simulation } from "effect-agent-runtime/testing"
 *
 * const Tools = Toolkit.make(
 *   Tool.make("weather", { parameters: Schema.Struct({ city: Schema.String }), success: Schema.String })
 * )
 * const ToolsLayer = Tools.toLayer({ weather: ({ city }) => Effect.succeed(`Sunny in ${city}`) })
 * const Model = ScriptedLlm.layer([{ tool: "weather", params: { city: "Bern" } }, "No."])
 * const agent = Agent.make("forecaster", { toolkit: Tools })
 *
 * const program = Agent.run(agent, "Will it rain?").pipe(
 *   Effect.provide([Faults.inject(ToolsLayer), Faults.inject(Model).pipe(Llm.withMiddleware(Timeout.make()))])
 * )
 * const check = Simulation.check(program, Simulation.lawsOf(agent), { seeds: 100, faults: Faults.all })
 * const result = await Effect.runPromise(check)
 * result._tag // => "Passed"
 * ```
 *
 * @since 0.1.0
 */
import type * as Toolkit from "effect/ai/Toolkit"
import * as Arbitrary from "effect/Arbitrary"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import type { Agent, AgentResult } from "../Agent.ts"
import type { AgentEvent } from "../AgentEvent.ts"
import type { EventHub as Hub } from "../EventHub.ts"
import * as Hubs from "../EventHub.ts"
import type { Chosen } from "../internal/simulator.ts"
import { generator, randomOf, simulate } from "../internal/simulator.ts"
import { Llm } from "../Llm.ts"
import type { RunEvent } from "../WorkflowEvent.ts"
import { isWorkflowEvent } from "../WorkflowEvent.ts"
import * as Arbitraries from "./Arbitraries.ts"
import type { Decision, Schedule } from "./Decision.ts"
import * as Decisions from "./Decision.ts"
import type { Rates, SubscriberFault } from "./Faults.ts"
import * as Faults from "./Faults.ts"
import type { Violations } from "./Laws.ts"
import * as Laws from "./Laws.ts"
import * as ScriptedLlm from "./ScriptedLlm.ts"

/**
 * How to run.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Decides everything, if there is no `schedule`; random numbers of the program always. An integer. Default 0. */
  readonly seed?: number | undefined
  /** What goes wrong, and how often. Default: nothing. */
  readonly faults?: Rates | undefined
  /** Decisions to be made again, or thought up, in place of drawn ones. What no longer fits is passed over. */
  readonly schedule?: Schedule | undefined
  /** After how many steps a program is given up. Default 100,000. */
  readonly maxSteps?: number | undefined
}

/**
 * The program came to no end: `"deadlock"` when nothing was ready and nobody asleep, `"step limit"` when it went on and
 * on.
 *
 * @category errors
 * @since 0.1.0
 */
export class Stuck extends Schema.TaggedError<Stuck>()("Stuck", {
  why: Schema.Literals(["deadlock", "step limit"]),
  steps: Schema.Finite,
  /** Fibers that were alive. */
  fibers: Schema.Finite
}) {
  override get message(): string {
    return `The program did not end (${this.why} after ${this.steps} steps, ${this.fibers} fibers alive)`
  }
}

/**
 * What came of a run.
 *
 * @category models
 * @since 0.1.0
 */
export interface Outcome<out A, out E> {
  readonly exit: Exit.Exit<A, E | Stuck>
  /** The events of all runs in it, in the order in which they were published. */
  readonly events: ReadonlyArray<RunEvent>
  /** How long it took, in the time of the simulation. */
  readonly duration: Duration.Duration
  readonly steps: number
  /** Fibers that were still alive after the program, and all that could go on without time passing, had ended. */
  readonly alive: number
  /** What was decided: with the same seed it gives the same run again. */
  readonly schedule: Schedule
}

/**
 * Runs a program in a simulation.
 *
 * **Details**
 *
 * - The order of ready tasks, and where fibers pause, come from the seed: some seeds disturb the default order little,
 *   some much.
 * - The time begins at 0 and passes only when nothing is ready: then the next sleepers wake.
 * - `Random` comes from the seed, and with it the ids of runs. Errors have no stack traces.
 * - There is an `EventHub` in the context, which records the events.
 *
 * **Gotchas**
 *
 * The program must do all it does anew in each run: provide layers inside it. It gets nothing of the context it is run in.
 *
 * What is not of Effect is not simulated: a promise may be waited for if it depends on nothing but other promises;
 * timers, files and the network are not waited for, and a program that is waiting for them is stuck.
 *
 * A hub that the program itself installs takes the events away from the recording.
 *
 * @category running
 * @since 0.1.0
 */
export const run = <A, E>(program: Effect.Effect<A, E>, options: Options = {}): Effect.Effect<Outcome<A, E>> =>
  Effect.suspend(() => {
    const { maxSteps = 100_000, seed = 0 } = options
    const decided: Array<Decision> = []
    const { choices, faults, subscriber } =
      options.schedule === undefined ? Decisions.drawn(seed, options.faults ?? {}) : Decisions.given(options.schedule)
    const events: Array<RunEvent> = []
    if (subscriber !== undefined) decided.push({ _tag: "SubscriberFault", fault: subscriber })
    return Effect.map(
      simulate(observed(program, events, subscriber), {
        choices,
        maxSteps,
        onChosen: (chosen: Chosen) => void decided.push(chosen),
        random: randomOf(generator(seed, Decisions.streams.program)),
        context: Context.make(Faults.Plan, Decisions.recordFaults(faults, decided))
      }),
      ({ alive, exit, giveUp, millis, steps }): Outcome<A, E> => {
        const why = steps < maxSteps ? "deadlock" : "step limit"
        const outcome = {
          exit: exit ?? Exit.fail(new Stuck({ why, steps, fibers: alive })),
          events: events.slice(),
          duration: Duration.millis(millis),
          steps,
          alive,
          schedule: decided.slice()
        }
        if (exit === undefined) giveUp()
        return outcome
      }
    )
  })

/** The program with a hub that records, and a subscriber that behaves badly. */
const observed = <A, E>(
  program: Effect.Effect<A, E>,
  events: Array<RunEvent>,
  subscriber: SubscriberFault | undefined
): Effect.Effect<A, E> =>
  Effect.scoped(
    Effect.gen(function* () {
      const hub = yield* Hubs.make()
      if (subscriber !== undefined) yield* Effect.forkScoped(behaveBadly(hub, subscriber), { startImmediately: true })
      const recording: Hub = {
        ...hub,
        publish: (published) => {
          for (const event of published) events.push(event)
          hub.publish(published)
        }
      }
      return yield* Effect.provideService(program, Hubs.EventHub, recording)
    })
  )

const behaveBadly = (hub: Hub, { seconds, takes }: SubscriberFault): Effect.Effect<void> =>
  Effect.gen(function* () {
    const { take } = yield* hub.subscribe({ capacity: 0, onOverflow: "backpressure" })
    for (let i = 0; i < takes; i++) yield* take
    yield* Effect.sleep(Duration.seconds(seconds))
  }).pipe(Effect.scoped, Effect.ignore)

/**
 * The log of a run: one line of JSON for each event. The same seed gives the same bytes, in any process.
 *
 * @category running
 * @since 0.1.0
 */
export const log = (events: Iterable<RunEvent>): string =>
  Array.from(events, (event) => `${JSON.stringify(event)}\n`).join("")

/**
 * What has to be true of every outcome: returns what is violated, in words. It is asked once, right after each run, so it
 * may also look at what the program left elsewhere.
 *
 * @category models
 * @since 0.1.0
 */
export type Invariant<in A, in E> = (outcome: Outcome<A, E>) => Violations

/**
 * What holds for every program: it ends, nothing outlives it, and the events of its runs obey `Laws.events`.
 *
 * @category invariants
 * @since 0.1.0
 */
export const laws: Invariant<unknown, unknown> = (outcome) => [
  ...ends(outcome),
  ...(isStuck(outcome) ? [] : Laws.events(outcome.events.filter(isOfAgent)))
]

/**
 * What holds for every `Agent.run` of an agent: {@link laws}, and `Laws.run`.
 *
 * @category invariants
 * @since 0.1.0
 */
export const lawsOf =
  (agent: Agent<string, unknown, unknown, unknown>): Invariant<AgentResult<unknown>, unknown> =>
  (outcome) => {
    const { exit, schedule } = outcome
    const events = outcome.events.filter(isOfAgent)
    // The exit is that of the program, which may have been interrupted before or after the run.
    const interrupted = schedule.some(({ _tag }) => _tag === "Interrupted")
    if (isStuck(outcome) || (interrupted && Exit.isFailure(exit))) {
      return [...laws(outcome), ...Laws.fold(agent, events)]
    }
    return [...ends(outcome), ...Laws.run(agent, { exit, events })]
  }

const isOfAgent = (event: RunEvent): event is AgentEvent => !isWorkflowEvent(event)

const stuckOf = ({ exit }: Outcome<unknown, unknown>): Stuck | undefined => {
  const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
  return error instanceof Stuck ? error : undefined
}

const isStuck = (outcome: Outcome<unknown, unknown>): boolean => stuckOf(outcome) !== undefined

const ends = (outcome: Outcome<unknown, unknown>): Violations => {
  const stuck = stuckOf(outcome)
  if (stuck !== undefined) return [stuck.message]
  return outcome.alive === 0 ? [] : [`${outcome.alive} fibers outlive the program`]
}

/**
 * How to search.
 *
 * @category models
 * @since 0.1.0
 */
export interface CheckOptions extends Pick<Options, "faults" | "maxSteps"> {
  /** How many seeds are tried. */
  readonly seeds: number
  /** The first seed; the others follow. Default 0. */
  readonly firstSeed?: number | undefined
  /** How often the program is run again, at most, to shrink what was found. Default 1,000. */
  readonly maxReplays?: number | undefined
}

/**
 * What a search came to.
 *
 * @category models
 * @since 0.1.0
 */
export type CheckResult<A, E> = { readonly _tag: "Passed"; readonly seeds: number } | Falsified<A, E>

/**
 * A run that breaks an invariant. `run(program, { seed, schedule: outcome.schedule })` plays it again.
 *
 * @category models
 * @since 0.1.0
 */
export interface Falsified<out A, out E> {
  readonly _tag: "Falsified"
  readonly seed: number
  /** How many seeds were tried, this one included. */
  readonly seeds: number
  /** The run, shrunk: its schedule has none but the decisions that matter. */
  readonly outcome: Outcome<A, E>
  readonly violations: Violations
  /** What the seed had decided. */
  readonly drawn: Schedule
  /**
   * Whether the decisions of the seed gave the same log again. If not, the program depends on something that is not
   * simulated, and nothing was shrunk.
   */
  readonly reproducible: boolean
}

/**
 * Looks for a seed that breaks an invariant, and shrinks what it decided: fewer changes of order, fewer pauses, fewer
 * faults.
 *
 * @category running
 * @since 0.1.0
 */
export const check = Effect.fnUntraced(function* <A, E>(
  program: Effect.Effect<A, E>,
  invariant: Invariant<A, E>,
  options: CheckOptions
): Effect.fn.Return<CheckResult<A, E>> {
  const { faults, firstSeed = 0, maxReplays = 1000, maxSteps, seeds } = options
  const attempt = (seed: number, schedule?: Schedule) =>
    Effect.map(run(program, { seed, faults, schedule, maxSteps }), (outcome): Tried<A, E> => ({
      outcome,
      violations: invariant(outcome)
    }))
  for (let seed = firstSeed; seed < firstSeed + seeds; seed++) {
    const first = yield* attempt(seed)
    if (first.violations.length === 0) continue
    const drawn = first.outcome.schedule
    const again = yield* attempt(seed, drawn)
    const reproducible = again.violations.length > 0 && log(again.outcome.events) === log(first.outcome.events)
    const found = reproducible ? yield* shrink(again, (schedule) => attempt(seed, schedule), maxReplays) : first
    return { _tag: "Falsified", seed, seeds: seed - firstSeed + 1, ...found, drawn, reproducible }
  }
  return { _tag: "Passed", seeds }
})

interface Tried<out A, out E> {
  readonly outcome: Outcome<A, E>
  readonly violations: Violations
}

/** Leaves decisions out, many at a time, then fewer, for as long as what remains still fails. */
const shrink = Effect.fnUntraced(function* <A, E>(
  found: Tried<A, E>,
  replay: (schedule: Schedule) => Effect.Effect<Tried<A, E>>,
  maxReplays: number
) {
  let best = found
  let replays = 0
  const decisions = () => best.outcome.schedule
  let size = decisions().length
  while (size > 0) {
    let removed = false
    // From the end: nothing that comes before changes.
    for (let end = decisions().length; end > 0;) {
      const start = Math.max(0, end - size)
      for (const candidate of Decisions.without(decisions(), start, end)) {
        if (replays++ === maxReplays) return best
        const tried = yield* replay(candidate)
        // Its schedule has only what came into effect.
        if (tried.violations.length === 0 || tried.outcome.schedule.length >= decisions().length) continue
        best = tried
        removed = true
        break
      }
      end = Math.min(start, decisions().length)
    }
    size = removed ? Math.min(size, decisions().length) : Math.floor(size / 2)
  }
  return best
})

/**
 * What was found, for people: the violations, the decisions that lead to them, the events, and how to see it again.
 *
 * @category running
 * @since 0.1.0
 */
export const report = ({
  drawn,
  outcome,
  reproducible,
  seed,
  seeds,
  violations
}: Falsified<unknown, unknown>): string =>
  [
    `Falsified by seed ${seed}, the ${seeds}. tried:`,
    ...violations.map((violation) => `  ${violation}`),
    reproducible
      ? `${outcome.schedule.length} decisions lead there, of ${drawn.length} that the seed made:`
      : `It cannot be reproduced: the program depends on what is not simulated. The seed decided:`,
    ...outcome.schedule.map((decision) => `  ${Decisions.describe(decision)}`),
    `${outcome.events.length} events in ${Duration.format(outcome.duration)}:`,
    ...outcome.events.map((event) => `  ${event.timestamp} ms ${event.runId} ${event._tag}${subject(event)}`),
    `To see it again: { seed: ${seed}, schedule: ${JSON.stringify(outcome.schedule)} }`
  ].join("\n")

const subject = (event: RunEvent): string => ("name" in event ? ` ${event.name}` : "")

/**
 * A model whose script comes from the seed, by `Arbitraries.script`: calls of the toolkit's tools, right and wrong, and
 * an end.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerModel = (toolkit?: Toolkit.Any): Layer.Layer<Llm> =>
  Layer.effect(
    Llm,
    Effect.gen(function* () {
      const seed = yield* Random.nextInt
      const [script = []] = yield* Arbitrary.sampleEffect(Arbitraries.script(toolkit), { count: 1, seed })
      return ScriptedLlm.make(script, "done")
    }).pipe(Effect.orDie)
  )
