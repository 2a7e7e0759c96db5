import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { corpus } from "./corpus/corpus.ts"
import type { Detector } from "./corpus/detectors.ts"
import { excludes } from "./corpus/form.ts"
import { isByForm, outcomes, renew } from "./corpus/report.ts"
import { judge, score } from "./corpus/score.ts"
import type { Call, Trace } from "./corpus/trace.ts"
import { here, no, ok, shape } from "./corpus/trace.ts"

describe("the corpus", () => {
  it("has at least 300 traces, each with a name and calls of its own", () => {
    assert.isAtLeast(corpus.length, 300)
    assert.strictEqual(new Set(corpus.map(({ name }) => name)).size, corpus.length)
    assert.strictEqual(new Set(corpus.map(({ turns }) => JSON.stringify(turns))).size, corpus.length)
    assert.isAtLeast(corpus.filter(({ loopFrom }) => loopFrom === undefined).length, 150)
    assert.isAtLeast(corpus.filter(({ loopFrom }) => loopFrom !== undefined).length, 150)
  })

  it("gives all traces of a shape the same label", () => {
    for (const [shape, traces] of Map.groupBy(corpus, (trace) => trace.shape)) {
      assert.lengthOf(new Set(traces.map(({ loopFrom }) => loopFrom !== undefined)), 1, shape)
    }
  })

  it.each(corpus.filter((trace) => !isByForm(trace)))(
    "has a twin with the other label for what cannot be told by form: $name",
    (trace) => {
      const twins = corpus.filter(({ looksLike, shape }) => shape === trace.looksLike && looksLike === undefined)
      const isLoop = trace.loopFrom !== undefined
      const others = twins.filter(({ loopFrom }) => (loopFrom === undefined) === isLoop)
      assert.isTrue(others.some((twin) => (isLoop ? excludes(trace, twin) : excludes(twin, trace))))
    }
  )
})

describe("the loop detector", () => {
  it("does no worse than it did, on what can be told by form", () => {
    const { precision, recall } = score(outcomes.filter(({ trace }) => isByForm(trace)))
    assert.isAtLeast(precision, 0.97)
    assert.isAtLeast(recall, 0.98)
  })

  it("does no worse than it did, on everything", () => {
    const { precision, recall } = score(outcomes)
    assert.isAtLeast(precision, 0.94)
    assert.isAtLeast(recall, 0.88)
  })

  it("has its results in the documentation: `npm run corpus` renews them", () => {
    const page = readFileSync(new URL("../docs/loop-detection.md", import.meta.url), "utf8")
    assert.strictEqual(page, renew(page))
  })
})

describe("scoring", () => {
  const read = (result: string) => ok("read_file", { path: "a" }, result)
  const [loop, work, fails] = shape("s", "w", {
    loop: [
      ...Array.from({ length: 3 }, () => read("1")),
      here(read("1")),
      ...Array.from({ length: 9 }, () => read("1"))
    ],
    work: [read("1"), read("2"), ok("send_email", {}), ok("send_email", {})],
    fails: [no("read_file", { path: "a" }, "1"), read("1")]
  })
  const blaming =
    (index: number, verdict: "replay" | "refuse", given?: Call): Detector =>
    ({ turns }) =>
      turns.flat().map((_, i) => (i === index ? { verdict, given } : { verdict: "allow" }))
  const judged = (trace: Trace | undefined, detector: Detector) => {
    const { isDisturbed, isFound, isNoticed } = judge(detector, trace!)
    return [isFound, isDisturbed, isNoticed]
  }

  it("takes a loop as found from its call on, and four calls later, not after", () => {
    for (const index of [3, 4, 7]) assert.deepStrictEqual(judged(loop, blaming(index, "refuse")), [true, false, false])
    for (const index of [8, 99]) assert.deepStrictEqual(judged(loop, blaming(index, "refuse")), [false, false, false])
  })

  it("takes whatever disturbs what comes before as a false alarm", () => {
    assert.deepStrictEqual(judged(loop, blaming(2, "refuse")), [false, true, true])
    assert.deepStrictEqual(judged(work, blaming(0, "refuse")), [false, true, true])
  })

  it("takes a replay as harmless only if nothing changes by it", () => {
    assert.deepStrictEqual(judged(work, blaming(1, "replay", read("2"))), [false, false, true])
    assert.deepStrictEqual(judged(work, blaming(1, "replay", read("1"))), [false, true, true])
    assert.deepStrictEqual(judged(work, blaming(1, "replay")), [false, true, true])
    assert.deepStrictEqual(judged(work, blaming(3, "replay", ok("send_email", {}))), [false, true, true])
    assert.deepStrictEqual(judged(fails, blaming(1, "replay", no("read_file", {}, "1"))), [false, true, true])
  })
})
