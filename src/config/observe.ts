/**
 * What a configuration makes of the events of runs: a hub that keeps some, a file, log entries.
 */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import type * as LogLevel from "effect/LogLevel"
import * as Path from "effect/Path"
import type { PlatformError } from "effect/PlatformError"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as EventHub from "../EventHub.ts"
import { RunEvent } from "../WorkflowEvent.ts"
import * as Events from "../WorkflowEvent.ts"
import type { ConfigFile } from "./schema.ts"

const levels: Readonly<Record<NonNullable<NonNullable<ConfigFile["logging"]>["level"]>, LogLevel.LogLevel>> = {
  trace: "Trace",
  debug: "Debug",
  info: "Info",
  warn: "Warn",
  error: "Error",
  off: "None"
}

/** Logs as the section `logging` says; as the program does without it. */
export const logging = (
  { logging }: ConfigFile,
  folder: string
): Layer.Layer<never, PlatformError, FileSystem.FileSystem | Path.Path> => {
  if (logging === undefined) return Layer.empty
  const level = Layer.succeed(References.MinimumLogLevel, levels[logging.level ?? "info"])
  const { directory, json_format: isJson = false } = logging
  if (directory === undefined) return isJson ? Layer.merge(level, Logger.layer([Logger.consoleJson])) : level
  const file = Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const target = path.resolve(folder, directory)
    yield* fs.makeDirectory(target, { recursive: true })
    const format = isJson ? Logger.formatJson : Logger.formatLogFmt
    return yield* Logger.toFile(format, path.join(target, "agent-runtime.log"), { flag: "a" })
  })
  return Layer.merge(level, Logger.layer([file]))
}

/** A hub whose events are written to the file and the log, all of them before it closes. */
export const events = (
  settings: ConfigFile,
  folder: string
): Layer.Layer<never, PlatformError, FileSystem.FileSystem | Path.Path> => {
  if (settings.events === undefined && settings.logging === undefined) return Layer.empty
  return Layer.effect(
    EventHub.EventHub,
    Effect.gen(function* () {
      const sinks: Array<(events: ReadonlyArray<RunEvent>) => Effect.Effect<void, PlatformError>> = []
      if (settings.events?.file !== undefined) sinks.push(yield* appendTo(settings.events.file, folder))
      if (settings.logging !== undefined) sinks.push((events) => Effect.forEach(events, log, { discard: true }))
      const open = yield* Scope.make()
      const hub = yield* Scope.provide(
        EventHub.make({ replay: settings.events === undefined ? 0 : settings.events.replay }),
        open
      )
      if (sinks.length === 0) {
        yield* Effect.addFinalizer((exit) => Scope.close(open, exit))
        return hub
      }
      const { take } = yield* hub.subscribe({ onOverflow: "backpressure" })
      const write = Effect.flatMap(take, (deliveries) => {
        // A subscriber with back-pressure misses nothing.
        const events = deliveries.filter((one): one is RunEvent => one._tag !== "Lagged")
        // Runs wait for whoever writes, so it has to go on whatever happens.
        return Effect.forEach(sinks, (sink) => Effect.catchCause(sink(events), warn), { discard: true })
      })
      // Ends with the hub.
      const writer = yield* Effect.forkScoped(Effect.ignore(Effect.forever(write)))
      yield* Effect.addFinalizer((exit) => Effect.andThen(Scope.close(open, exit), Fiber.join(writer)))
      return hub
    })
  )
}

const warn = (cause: Cause.Cause<PlatformError>) => Effect.logWarning("Events cannot be written", cause)

const encode = Schema.encodeEffect(Schema.fromJsonString(Schema.toCodecJson(RunEvent)))

const appendTo = Effect.fnUntraced(function* (name: string, folder: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const target = path.resolve(folder, name)
  yield* fs.makeDirectory(path.dirname(target), { recursive: true })
  const file = yield* fs.open(target, { flag: "a" })
  const utf8 = new TextEncoder()
  return (events: ReadonlyArray<RunEvent>) =>
    Effect.flatMap(Effect.orDie(Effect.forEach(events, (event) => encode(event))), (lines) =>
      file.writeAll(utf8.encode(lines.map((line) => `${line}\n`).join("")))
    )
})

/** Runs are logged at info, calls at debug, failures at warn. Deltas are not. */
const log = (event: RunEvent): Effect.Effect<void> => {
  const kind = Events.type(event)
  if (kind === "progress" && event._tag !== "LoopDetected") return Effect.void
  const fields: Record<string, unknown> = { run: event.runId }
  for (const key of ["agent", "workflow", "turn", "name", "reason", "message", "durationMillis"] as const) {
    if (key in event) fields[key] = Reflect.get(event, key)
  }
  const entry =
    kind === "failed" || event._tag === "LoopDetected"
      ? Effect.logWarning(event._tag)
      : Events.scope(event) === "agent" || Events.scope(event) === "workflow"
        ? Effect.logInfo(event._tag)
        : Effect.logDebug(event._tag)
  return Effect.annotateLogs(entry, fields)
}
