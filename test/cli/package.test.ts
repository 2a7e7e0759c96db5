import { readFileSync, rmSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Program from "../support/program.ts"

const root = fileURLToPath(new URL("../../", import.meta.url))

// Where Node finds the packages that are not in the bundle.
const folder = "node_modules/.cache/cli"

const run = Effect.fnUntraced(function* (...args: Parameters<typeof Program.start>) {
  return yield* (yield* Program.start(...args)).ended
}, Effect.scoped)

describe("the program of the package", { timeout: 30_000 }, () => {
  it.live("is one file that needs no more than the library does, and runs", () =>
    Effect.gen(function* () {
      const bundled = yield* run([".ci/cli.mjs", folder], { cwd: root })
      assert.deepStrictEqual(bundled, { code: 0, stdout: "", stderr: "" })
      const text = readFileSync(`${root}${folder}/main.js`, "utf8")
      assert.match(text, /^#!\/usr\/bin\/env node\n/)
      const packages = Array.from(
        text.matchAll(/\bimport\b[^;"']*?["']((?:@[^/"']+\/)?[^/"':]+)[^"']*["']/g),
        ([, name]) => name!
      )
      const manifest = JSON.parse(readFileSync(`${root}package.json`, "utf8"))
      const installed = Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies })
      assert.deepStrictEqual([...new Set(packages)].filter((name) => name !== "node").toSorted(), installed.toSorted())
      assert.include(readFileSync(`${root}${folder}/LICENSES.txt`, "utf8"), "undici")
      assert.strictEqual(manifest.bin["agent-runtime"], "dist/cli/main.js")

      const ended = yield* run([`${root}${folder}/main.js`, "run", "6 * 7"], { cwd: `${root}test/support` })
      assert.include(ended.stdout, "Answer: 6 * 7 is 42.")
      assert.strictEqual(ended.code, 0)
      rmSync(`${root}${folder}`, { recursive: true })
    })
  )
})
