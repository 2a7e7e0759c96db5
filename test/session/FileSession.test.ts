import { mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import * as Agent from "effect-agent-runtime/Agent"
import * as Session from "effect-agent-runtime/Session"
import * as FileSession from "effect-agent-runtime/session/FileSession"
import { ScriptedLlm } from "effect-agent-runtime/testing"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as PlatformError from "effect/PlatformError"
import * as TestClock from "effect/testing/TestClock"
import { check, stored } from "../support/sessionStores.ts"

const temporary = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "sessions-"))),
  (directory) => Effect.sync(() => rmSync(directory, { recursive: true }))
)

const open = (directory: string) => Effect.provide(FileSession.make({ directory }), NodeServices.layer)

describe("two processes on one directory", () => {
  check(
    Effect.flatMap(temporary, (directory) => Effect.all([open(directory), open(join(directory, "."))])),
    20
  )
})

describe("a directory of sessions", () => {
  it.effect("is made if it is not there, and has one readable file for each and nothing else", () =>
    Effect.gen(function* () {
      const directory = join(yield* temporary, "deep", "er")
      const { write } = yield* open(directory)
      yield* write(stored("ada-1", "r", 5, { said: "hi" }), undefined)
      yield* write(stored("Ada/é", "r"), undefined)
      assert.sameMembers(readdirSync(directory), ["session-ada-1.json", "session-%0041da%002f%00e9.json"])
      assert.deepStrictEqual(JSON.parse(readFileSync(join(directory, "session-ada-1.json"), "utf8")), {
        id: "ada-1",
        revision: "r",
        createdAt: 1,
        usedAt: 5,
        document: { said: "hi" }
      })
    })
  )

  it.effect("may hold files of others", () =>
    Effect.gen(function* () {
      const directory = yield* temporary
      writeFileSync(join(directory, "notes.json"), "mine")
      const { list, removeUnused } = yield* open(directory)
      yield* removeUnused(Infinity)
      assert.deepStrictEqual(yield* list(0, 9), [])
      assert.deepStrictEqual(readdirSync(directory), ["notes.json"])
    })
  )

  const broken: ReadonlyArray<readonly [name: string, text: string, issue: RegExp]> = [
    ["is cut off", '{"id":"a","revi', /session-a\.json: .*JSON/s],
    ["lacks something", '{"id":"a","revision":"r","createdAt":1,"document":{}}', /\["usedAt"\]/],
    ["is that of another session", '{"id":"b","revision":"r","createdAt":1,"usedAt":1,"document":{}}', /session 'b'/]
  ]

  it.effect.each(broken)("is told from a file that %s, which stays as it is", ([, text, issue]) =>
    Effect.gen(function* () {
      const directory = yield* temporary
      const file = join(directory, "session-a.json")
      writeFileSync(file, text)
      const { read, removeUnused, write } = yield* open(directory)
      for (const effect of [
        Effect.asVoid(read("a")),
        Effect.asVoid(write(stored("a", "s"), undefined)),
        Effect.asVoid(write(stored("a", "s"), "r"))
      ]) {
        const error = yield* Effect.flip(effect)
        assert.strictEqual(error.id, "a")
        assert.strictEqual(error.reason._tag, "Corrupt")
        assert.match(error.message, issue)
      }
      yield* removeUnused(0)
      assert.strictEqual(readFileSync(file, "utf8"), text)
      assert.deepStrictEqual(readdirSync(directory), ["session-a.json"])
    })
  )

  it.effect("does not stop the removal of others at a file that cannot be read", () =>
    Effect.gen(function* () {
      const directory = yield* temporary
      const { list, read, removeUnused, write } = yield* open(directory)
      for (const id of ["a", "c"]) yield* write(stored(id, "r"), undefined)
      writeFileSync(join(directory, "session-b.json"), "{")
      yield* removeUnused(1)
      assert.deepStrictEqual([yield* read("a"), yield* read("c")], [undefined, undefined])
      assert.match((yield* Effect.flip(list(0, 9))).message, /session-b\.json/)
    })
  )
})

/** Lets time pass until a fiber has ended. It waits for the disk too, which knows nothing of the test's clock. */
const ended = <A, E>(fiber: Fiber.Fiber<A, E>) =>
  Effect.gen(function* () {
    while (fiber.pollUnsafe() === undefined) {
      yield* TestClock.adjust("50 millis")
      yield* Effect.promise(() => new Promise(setImmediate))
    }
    return yield* Fiber.join(fiber)
  })

/** A store to whose file system something else happens: before it takes its first lock, or first moves a file. */
const openWith = (
  directory: string,
  moment: "makeDirectory" | "rename",
  happens: Effect.Effect<void, PlatformError.PlatformError>
) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    let happened = false
    const before = (method: typeof moment) => {
      if (happened || method !== moment) return Effect.void
      happened = true
      return happens
    }
    return yield* FileSession.make({ directory }).pipe(
      Effect.provideService(FileSystem.FileSystem, {
        ...fs,
        makeDirectory: (path, options) =>
          Effect.andThen(
            path.endsWith(".lock") ? before("makeDirectory") : Effect.void,
            fs.makeDirectory(path, options)
          ),
        rename: (from, to) => Effect.andThen(before("rename"), fs.rename(from, to))
      })
    )
  }).pipe(Effect.provide(NodeServices.layer))

describe("a session in a file", () => {
  const layer = (directory: string) => Layer.provide(FileSession.layer({ directory }), NodeServices.layer)

  it.effect("has what an interrupted run has done when the next process opens it", () =>
    Effect.gen(function* () {
      const directory = yield* temporary
      const Tools = Toolkit.make(Tool.make("hang"))
      const agent = Agent.make("agent", { toolkit: Tools })
      const hanging = yield* Deferred.make<void>()
      const tools = Tools.toLayer({ hang: () => Effect.andThen(Deferred.succeed(hanging, undefined), Effect.never) })
      const run = (prompt: string, script: ReadonlyArray<ScriptedLlm.Turn>) =>
        Session.run(agent, { id: "a", prompt }).pipe(
          Effect.provide([layer(directory), tools, ScriptedLlm.layer(script)])
        )
      const fiber = yield* Effect.forkChild(run("1", [{ tool: "hang" }]))
      yield* Deferred.await(hanging)
      yield* Fiber.interrupt(fiber)
      const { history } = yield* run("2", ["Done"])
      assert.deepStrictEqual(
        Array.from(history, ({ role }) => role),
        ["user", "assistant", "tool", "user", "assistant"]
      )
    })
  )

  it.effect("cannot be kept where no directory can be", () =>
    Effect.gen(function* () {
      const file = join(yield* temporary, "file")
      writeFileSync(file, "")
      const error = yield* Effect.flip(Layer.build(layer(file)))
      assert.match(error.message, /^Sessions: the store could not open: /)
    })
  )
})

describe("a write that fails", () => {
  it.effect("leaves what was there, and no lock", () =>
    Effect.gen(function* () {
      const directory = yield* temporary
      const full = PlatformError.systemError({
        _tag: "Unknown",
        module: "FileSystem",
        method: "rename",
        description: "disk full"
      })
      const { read, write } = yield* openWith(directory, "rename", Effect.fail(full))
      const error = yield* Effect.flip(write(stored("a", "1"), undefined))
      assert.match(error.message, /^Session 'a': the store could not write: .*disk full/)
      assert.isUndefined(yield* read("a"))
      assert.deepStrictEqual(readdirSync(directory), [])
      assert.isTrue(yield* write(stored("a", "1"), undefined))
    })
  )

  it.effect("because another process took the lock does not touch what that process wrote", () =>
    Effect.gen(function* () {
      const directory = yield* temporary
      const other = yield* open(directory)
      const lock = join(directory, "session-a.json.lock")
      // The process has slept for so long that the other one took it for dead.
      const overtaken = Effect.andThen(
        Effect.sync(() => renameSync(lock, `${lock}.old`)),
        Effect.orDie(other.write(stored("a", "other"), undefined))
      )
      const { read, write } = yield* openWith(directory, "rename", overtaken)
      const error = yield* Effect.flip(write(stored("a", "own"), undefined))
      assert.strictEqual(error.reason._tag, "StoreFailed")
      assert.strictEqual((yield* read("a"))?.revision, "other")
    })
  )
})

describe("the removal of what is not used", () => {
  it.effect("spares a session that another process uses just then", () =>
    Effect.gen(function* () {
      const directory = yield* temporary
      const other = yield* open(directory)
      yield* other.write(stored("a", "1", 5), undefined)
      const { read, removeUnused } = yield* openWith(
        directory,
        "makeDirectory",
        Effect.orDie(other.write(stored("a", "2", 20), "1"))
      )
      yield* removeUnused(10)
      assert.strictEqual((yield* read("a"))?.revision, "2")
    })
  )
})

describe("the lock of a session", () => {
  const lockOf = (directory: string) => join(directory, "session-a.json.lock")

  it.effect("is waited for, and waiting can be interrupted", () =>
    Effect.gen(function* () {
      const directory = yield* temporary
      const { read, write } = yield* open(directory)
      mkdirSync(lockOf(directory))
      const waiting = yield* Effect.forkChild(write(stored("a", "1"), undefined))
      const interrupted = yield* Effect.forkChild(write(stored("a", "2"), undefined))
      yield* Fiber.interrupt(interrupted)
      assert.isUndefined(yield* read("a"))
      rmSync(lockOf(directory), { recursive: true })
      assert.isTrue(yield* ended(waiting))
      assert.strictEqual((yield* read("a"))?.revision, "1")
    })
  )

  it.effect("is taken from a process that left it behind, with all that was in it", () =>
    Effect.gen(function* () {
      const directory = yield* temporary
      const { read, write } = yield* open(directory)
      mkdirSync(lockOf(directory))
      writeFileSync(join(lockOf(directory), "0.json"), "half a sess")
      assert.isTrue(yield* ended(yield* Effect.forkChild(write(stored("a", "1"), undefined))))
      assert.strictEqual((yield* read("a"))?.revision, "1")
      assert.deepStrictEqual(readdirSync(directory), ["session-a.json"])
    })
  )

  it.effect("is given up in the end when others are always faster", () =>
    Effect.gen(function* () {
      const directory = yield* temporary
      const fs = yield* FileSystem.FileSystem
      let holder = 0
      const busy = PlatformError.systemError({ _tag: "AlreadyExists", module: "FileSystem", method: "makeDirectory" })
      const { remove } = yield* FileSession.make({ directory }).pipe(
        Effect.provideService(FileSystem.FileSystem, {
          ...fs,
          makeDirectory: (path, options) =>
            path.endsWith(".lock") ? Effect.fail(busy) : fs.makeDirectory(path, options),
          // Whenever one looks, another process has it.
          readDirectory: () => Effect.sync(() => [`${holder++}.json`])
        })
      )
      const fiber = yield* Effect.forkChild(Effect.flip(remove("a")))
      yield* TestClock.adjust("30 seconds")
      const { id, message } = yield* Fiber.join(fiber)
      assert.strictEqual(id, "a")
      assert.match(message, /could not remove: .*session-a\.json\.lock is held by another process/)
    }).pipe(Effect.provide(NodeServices.layer))
  )
})
