/**
 * Records what a program gets from outside (its model, its tools, the time, random numbers) to one file, and plays the
 * file in place of the outside: the same run again, to the byte of its events, without network, keys, or waiting.
 *
 * **Details**
 *
 * - **Steps.** Each call of the model or of a recorded tool is a step. A call repeats the first step not yet repeated
 *   that asks exactly the same: of the model, instructions, messages, tools with their schemas, choice, sampling and
 *   output format; of a tool, its name and arguments. So concurrent runs are told apart by what they say, and those that say
 *   the same take their turns in the order of the recording.
 * - **Order and time.** Pieces and ends of calls reach the program one at a time, in recorded order, each when the
 *   program has come to rest. Its `Clock` moves only with them and with sleeps, while recording too, which is why a
 *   replay sees the same times. In a replay sleeps, timeouts and backoff take no time. `Random` is seeded, and the seed
 *   recorded. Live models and tools have the real clock and random numbers.
 * - **Strictness.** A call that is not in the recording, and a recording that is not used up at the end, is a
 *   {@link CassetteMismatch}. It is a defect, so that no retry or fallback takes it for a failure of the model. Every
 *   call since dies of it, and so does the end of the layer's scope. {@link failOnMismatch} makes it a typed failure.
 * - **Secrets.** Before anything is written or compared, `<redacted>` replaces what looks like an API key, what stands
 *   under names such as `password`, `apiKey` or `token`, and the contents of `Redacted` values that tools get or return.
 *   The program itself sees the real values while it is recorded.
 *
 * **Gotchas**
 *
 * What is not in the layer that is recorded runs for real in a replay. That is meant for sub-agents: provide them on top of
 * the cassette, so that they run again, on recorded models and tools. Whatever else a program waits for, such as its own
 * files, may come in another order than it did.
 *
 * While it is recorded, the model always streams.
 *
 * **Example** (Recorded once, then played)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Agent from "effect-agent-runtime/Agent"
 * import { Cassette, ScriptedLlm } from "effect-agent-runtime/testing"
 *
 * const store = Cassette.memory("greeting")
 * const greet = Agent.run(Agent.make("greeter"), "Hello").pipe(Effect.map((result) => result.text))
 *
 * // With a file: `Cassette.file("test/cassettes/greeting.json")`. And a real model.
 * const recorded = greet.pipe(Effect.provide(ScriptedLlm.layer(["Hi!"]).pipe(Cassette.layer({ store }))))
 * await Effect.runPromise(recorded) // => "Hi!"
 *
 * // This model would say nothing: it is not asked.
 * const played = greet.pipe(Effect.provide(ScriptedLlm.layer([]).pipe(Cassette.layer({ store }))))
 * await Effect.runPromise(played) // => "Hi!"
 * ```
 *
 * @since 0.1.0
 */
import type * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import type * as PlatformError from "effect/PlatformError"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Scheduler from "effect/Scheduler"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Conductor from "../internal/cassette/conductor.ts"
import * as Ports from "../internal/cassette/ports.ts"
import type { Session } from "../internal/cassette/session.ts"
import * as Sessions from "../internal/cassette/session.ts"
import type { Tape } from "../internal/cassette/tape.ts"
import * as Tapes from "../internal/cassette/tape.ts"
import * as Llm from "../Llm.ts"

/**
 * Where a program left its recording.
 *
 * - `Changed`: a call asks something else than the step of the recording that is closest to it;
 * - `Unexpected`: a call that nothing left in the recording is like;
 * - `Unused`: the program ended, and the recording has further steps;
 * - `Interrupted`: the program interrupted a call that was answered when it was recorded;
 * - `NotInterrupted`: the program waits for a call that it interrupted when it was recorded;
 * - `Unreadable`: what was recorded does not fit the schema of the tool, or was edited by hand.
 *
 * @category errors
 * @since 0.1.0
 */
export class CassetteMismatch extends Schema.TaggedError<CassetteMismatch>()("CassetteMismatch", {
  cassette: Schema.String,
  reason: Schema.Literals(["Changed", "Unexpected", "Unused", "Interrupted", "NotInterrupted", "Unreadable"]),
  /** The number of the recorded step; of an unexpected call, of the step that it would be. */
  step: Schema.Int,
  /** `model call`, or the tool. */
  call: Schema.String,
  /** The first field that differs, such as `messages[0].content`; `""` when it is all of it. */
  path: Schema.String,
  /** What was recorded there; `undefined` for nothing. */
  expected: Schema.Unknown,
  actual: Schema.Unknown,
  /** All fields that differ, `-` as recorded and `+` as asked now. */
  diff: Schema.String
}) {
  override get message(): string {
    const { call, cassette, diff, reason, step } = this
    return `Cassette '${cassette}', step ${step}, ${call}: ${said[reason]}\n${diff}`
  }
}

const said = {
  Changed: "it asks something else than was recorded",
  Unexpected: "it is not in the recording",
  Unused: "it was recorded, but the program has ended without it",
  Interrupted: "it is interrupted now, but was answered when it was recorded",
  NotInterrupted: "it was interrupted when it was recorded",
  Unreadable: "what was recorded cannot be read"
}

/**
 * There is no recording, and the mode is `"none"`.
 *
 * @category reasons
 * @since 0.1.0
 */
export class CassetteMissing extends Schema.TaggedError<CassetteMissing>()("CassetteMissing", {}) {
  override get message(): string {
    return "there is no recording, and the mode `none` makes none"
  }
}

/**
 * What is in the store is no recording.
 *
 * @category reasons
 * @since 0.1.0
 */
export class CassetteInvalid extends Schema.TaggedError<CassetteInvalid>()("CassetteInvalid", {
  issue: Schema.String
}) {
  override get message(): string {
    return `it is no recording: ${this.issue}`
  }
}

/**
 * The file cannot be read or written.
 *
 * @category reasons
 * @since 0.1.0
 */
export class CassetteUnavailable extends Schema.TaggedError<CassetteUnavailable>()("CassetteUnavailable", {
  issue: Schema.String
}) {
  override get message(): string {
    return this.issue
  }
}

/**
 * A cassette cannot be used.
 *
 * @category errors
 * @since 0.1.0
 */
export class CassetteError extends Schema.TaggedError<CassetteError>()("CassetteError", {
  cassette: Schema.String,
  reason: Schema.Union([CassetteMissing, CassetteInvalid, CassetteUnavailable])
}) {
  override get message(): string {
    return `Cassette '${this.cassette}': ${this.reason.message}`
  }
}

/**
 * When a program is recorded, and when its recording is played.
 *
 * - `"once"`: recorded if there is no recording, otherwise played. One that was cut short is continued.
 * - `"newEpisodes"`: plays what is in the recording and records what is not. Steps that are not used any more are
 *   dropped when the program succeeds.
 * - `"none"`: played only; without a recording the layer fails.
 *
 * @category models
 * @since 0.1.0
 */
export type Mode = "once" | "newEpisodes" | "none"

/**
 * Where a recording is kept, as one text.
 *
 * @category models
 * @since 0.1.0
 */
export interface Store<out R = never> {
  /** For messages. */
  readonly name: string
  /** `undefined` when there is no recording yet. */
  readonly read: Effect.Effect<string | undefined, PlatformError.PlatformError, R>
  /** Replaces the recording, at once or not at all. */
  readonly write: (text: string) => Effect.Effect<void, PlatformError.PlatformError, R>
}

/**
 * A cassette in memory.
 *
 * @category models
 * @since 0.1.0
 */
export interface Memory extends Store {
  readonly text: () => string | undefined
}

/**
 * What is recorded, and where to.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<Tools extends Record<string, Tool.Any>, R> {
  readonly store: Store<R>
  /** The tools whose handlers are recorded, and not run in a replay. For several toolkits, `Toolbox.merge`. */
  readonly toolkit?: Toolkit.Toolkit<Tools> | undefined
  /** Default: `CASSETTE_MODE` of the configuration, such as the environment; without it, `"once"`. On CI, say `none`. */
  readonly mode?: Mode | undefined
  /**
   * Takes further secrets out of each text, of recordings and of what is compared with them. Applied to its own result, it
   * has to change nothing.
   */
  readonly redact?: ((text: string) => string) | undefined
}

/**
 * A recording in a file of JSON, written to a temporary file beside it that then takes its place. Missing folders are made.
 *
 * @category constructors
 * @since 0.1.0
 */
export const file = (path: string): Store<FileSystem.FileSystem> => ({
  name: path,
  read: Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    return (yield* fs.exists(path)) ? yield* fs.readFileString(path) : undefined
  }),
  write: Effect.fnUntraced(function* (text) {
    const fs = yield* FileSystem.FileSystem
    const [folder] = /^.*(?=[\\/])/.exec(path) ?? []
    if (folder !== undefined && folder !== "") yield* fs.makeDirectory(folder, { recursive: true })
    yield* fs.writeFileString(`${path}.tmp`, text)
    yield* fs.rename(`${path}.tmp`, path)
  })
})

/**
 * A recording in memory, empty unless it is given.
 *
 * @category constructors
 * @since 0.1.0
 */
export const memory = (name: string, recording?: string): Memory => {
  let text = recording
  return {
    name,
    text: () => text,
    read: Effect.sync(() => text),
    write: (next) => Effect.sync(() => void (text = next))
  }
}

/**
 * Puts a cassette around a layer with a model, and with the handlers of the toolkit if there is one.
 *
 * **Details**
 *
 * The layer is built only if something may be recorded, so a replay needs neither keys nor servers. A recording is
 * written after each step and at the end of the layer's scope, with all that has come to an end; until then it says that it
 * is not complete. A program that dies or is interrupted leaves it incomplete, to be continued the next time.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer =
  <Tools extends Record<string, Tool.Any> = {}, R = never>(options: Options<Tools, R>) =>
  <E, RIn>(
    live: Layer.Layer<Llm.Llm | Tool.HandlersFor<Tools>, E, RIn>
  ): Layer.Layer<Llm.Llm | Tool.HandlersFor<Tools>, E | CassetteError | Config.ConfigError, R | RIn> =>
    Layer.unwrap(
      Effect.gen(function* (): Effect.fn.Return<
        Layer.Layer<Llm.Llm | Tool.HandlersFor<Tools>, E, R | RIn>,
        CassetteError | Config.ConfigError,
        R
      > {
        const { store } = options
        const mode = options.mode ?? (yield* configuredMode)
        const unusable = (reason: CassetteError["reason"]) => new CassetteError({ cassette: store.name, reason })
        const text = yield* Effect.mapError(store.read, (error) =>
          unusable(new CassetteUnavailable({ issue: error.message }))
        )
        if (text === undefined && mode === "none") return yield* unusable(new CassetteMissing())
        const parsed = text === undefined ? undefined : Tapes.parse(text)
        if (parsed !== undefined && Result.isFailure(parsed)) {
          return yield* unusable(new CassetteInvalid({ issue: parsed.failure }))
        }
        const tape = parsed?.success
        if (mode === "none" || (mode === "once" && tape?.complete === true)) {
          return Layer.effectContext(open(options, tape, undefined))
        }
        const recorder = Effect.contextWith((context: Context.Context<Llm.Llm | Tool.HandlersFor<Tools>>) =>
          open(options, tape, context)
        )
        return Layer.provide(Layer.effectContext(recorder), live)
      })
    )

const configuredMode = Config.withDefault(
  Config.Literals(["once", "newEpisodes", "none"], "CASSETTE_MODE"),
  "once" as const
)

/**
 * Makes the mismatch of a cassette, which is a defect, a failure.
 *
 * **When to use**
 *
 * Around an effect that has its cassette provided, to handle or test for the mismatch. Otherwise leave it a defect: tests
 * that die show the same message.
 *
 * @category running
 * @since 0.1.0
 */
export const failOnMismatch = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | CassetteMismatch, R> =>
  Effect.catchCause(self, (cause): Effect.Effect<never, E | CassetteMismatch> => {
    const mismatch = cause.reasons
      .filter(Cause.isDieReason)
      .map(({ defect }) => defect)
      .find((defect) => defect instanceof CassetteMismatch)
    return mismatch === undefined ? Effect.failCause(cause) : Effect.fail(mismatch)
  })

/** The services of a program on a cassette; without a context of live ones, all is played. */
const open = Effect.fnUntraced(function* <Tools extends Record<string, Tool.Any>, R>(
  { redact = (text) => text, store, toolkit }: Options<Tools, R>,
  tape: Tape | undefined,
  context: Context.Context<Llm.Llm | Tool.HandlersFor<Tools>> | undefined
): Effect.fn.Return<Context.Context<Llm.Llm | Tool.HandlersFor<Tools>>, never, R | Scope.Scope> {
  const scope = yield* Effect.scope
  const realTime = yield* Clock.Clock
  const realRandom = yield* Random.Random
  const seed = tape?.seed ?? `${realRandom.nextIntUnsafe()}`
  const startedAt = tape?.startedAt ?? Math.floor(realTime.currentTimeMillisUnsafe())
  const secrets = new Set<string>()
  const steps = yield* Queue.sliding<void>(1)
  const conductor = Conductor.make({
    scope,
    dispatcher: (yield* Scheduler.Scheduler).makeDispatcher(),
    live: context === undefined ? undefined : realTime,
    startedAt,
    timeline: tape?.timeline ?? [],
    onStuck: (step) => Sessions.stuck(session, step)
  })
  const session: Session = Sessions.make(
    {
      strict: context === undefined,
      conductor,
      scope,
      redact: Sessions.redactor(secrets, redact),
      secrets,
      toError: (divergence) => new CassetteMismatch({ cassette: store.name, ...divergence }),
      onStep: () => Queue.offerUnsafe(steps, undefined)
    },
    tape
  )
  const save = (complete: boolean) =>
    Effect.suspend(() =>
      store.write(Tapes.format(Sessions.toTape(session, { complete, startedAt, seed, timeline: tape?.timeline ?? [] })))
    )
  const recorded = (exit: Exit.Exit<unknown, unknown>) =>
    Effect.orDie(
      Effect.mapError(
        save(!isCutShort(exit)),
        (error) =>
          new CassetteError({ cassette: store.name, reason: new CassetteUnavailable({ issue: error.message }) })
      )
    )
  yield* Effect.addFinalizer((exit) => (context === undefined ? played(session, exit) : recorded(exit)))
  if (context !== undefined) {
    // A write that fails is told of by the last one.
    const saving = Effect.andThen(Queue.take(steps), Effect.uninterruptible(Effect.ignore(save(false))))
    yield* Effect.forkScoped(Effect.forever(saving))
  }
  const real = <A, E, R1>(effect: Effect.Effect<A, E, R1>): Effect.Effect<A, E, R1> =>
    Effect.provideService(Effect.provideService(effect, Clock.Clock, realTime), Random.Random, realRandom)
  let services = Context.make(Llm.Llm, Ports.model(session, context && Context.get(context, Llm.Llm), real)).pipe(
    Context.add(Clock.Clock, conductor.clock),
    Context.add(Random.Random, yield* Random.withSeed(Random.Random, seed))
  )
  for (const tool of Object.values((toolkit ?? Toolkit.empty).tools) as ReadonlyArray<Tool.Any>) {
    // Toolkits put handlers under the ids of their tools.
    const key = { key: tool.id } as Context.Key<never, Tool.Handler<string>>
    const handler = context && Context.getOrUndefined(context as Context.Context<never>, key)
    if (context !== undefined && handler === undefined) continue
    services = Context.add(services, key, Ports.tool(session, secrets, tool, handler, real))
  }
  // It has the handlers of all tools of the toolkit.
  return services as Context.Context<Llm.Llm | Tool.HandlersFor<Tools>>
})

/** Whether a program was ended, rather than came to its end. */
const isCutShort = (exit: Exit.Exit<unknown, unknown>): boolean =>
  Exit.isFailure(exit) && (Cause.hasInterrupts(exit.cause) || Cause.hasDies(exit.cause))

/** At the end of a replay, nothing has been passed over and nothing is left. */
const played = (session: Session, exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> => {
  if (session.mismatch !== undefined) return Effect.die(session.mismatch)
  const left = isCutShort(exit) ? undefined : Sessions.leftOut(session)
  return left === undefined ? Effect.void : Effect.die(session.toError(left))
}
