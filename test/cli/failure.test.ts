import { assert, it } from "@effect/vitest"
import * as PlatformError from "effect/PlatformError"
import * as Failure from "../../src/cli/failure.ts"

const writing = (code: string, message: string) =>
  Failure.from(
    PlatformError.systemError({
      _tag: "Unknown",
      module: "Stdio",
      method: "stdout",
      cause: Object.assign(new Error(message), { code })
    })
  ).message

it("tells a pipe that was closed from a disk that is full", () => {
  assert.strictEqual(writing("EPIPE", "write EPIPE"), "Nobody reads the output any more.")
  assert.match(writing("ENOSPC", "no space left on device"), /^Input or output: .*no space left on device$/)
})
