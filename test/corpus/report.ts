/** The tables of docs/loop-detection.md. */
import { corpus } from "./corpus.ts"
import type { Detector } from "./detectors.ts"
import { counting, exact, ours, sorted, unsorted } from "./detectors.ts"
import type { Outcome } from "./score.ts"
import { judge, score } from "./score.ts"
import type { Trace } from "./trace.ts"

export const isByForm = ({ looksLike }: Trace): boolean => looksLike === undefined

/** How the original does depends on chance, so it is played so many times. */
const draws = 20

/** Marsaglia's xorshift: the same numbers each time. */
const randomOf = (seed: number) => {
  let state = seed
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32
  }
}

const detectors: ReadonlyArray<readonly [name: string, played: ReadonlyArray<Detector>]> = [
  ["`LoopDetector`, tools annotated", [ours("annotated")]],
  ["`LoopDetector`, no annotations", [ours("bare")]],
  [
    "exact matching, unsorted keys (the original)",
    Array.from({ length: draws }, (_, i) => exact(unsorted(randomOf(i + 1))))
  ],
  ["exact matching, sorted keys", [exact(sorted)]],
  ["counting: third in a row, or third of the last 10", [counting({ inARow: 2, total: 2, window: 10 })]],
  ["counting: second in a row, or sixth of the last 10", [counting({ inARow: 1, total: 5, window: 10 })]]
]

const outcomesOf = (played: ReadonlyArray<Detector>): ReadonlyArray<Outcome> =>
  played.flatMap((detector) => corpus.map((trace) => judge(detector, trace)))

/** What our detector, with its defaults and annotated tools, makes of each trace. */
export const outcomes = outcomesOf([ours("annotated")])

const isRight = ({ isDisturbed, isFound, trace }: Outcome): boolean =>
  trace.loopFrom === undefined ? !isDisturbed : isFound

const table = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): string =>
  [head, head.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n")

const share = (x: number) => x.toFixed(3)

const comparison = () =>
  table(
    ["detector", "loops found", "traces disturbed", "precision", "recall", "by form: precision", "recall"],
    detectors.map(([name, played]) => {
      const all = outcomesOf(played)
      const whole = score(all)
      const byForm = score(all.filter(({ trace }) => isByForm(trace)))
      return [
        name,
        `${Math.round(whole.found / played.length)} of ${(whole.found + whole.missed) / played.length}`,
        String(Math.round(whole.disturbed / played.length)),
        ...[whole.precision, whole.recall, byForm.precision, byForm.recall].map(share)
      ]
    })
  )

const shapes = (which: (trace: Trace) => boolean) => Map.groupBy(corpus.filter(which), ({ shape }) => shape)

const labelOf = ({ loopFrom }: Trace) => (loopFrom === undefined ? "work" : "loop")

const shapeTable = (which: (trace: Trace) => boolean) => {
  const rightOf = (detector: Detector, traces: ReadonlyArray<Trace>) =>
    String(traces.filter((trace) => isRight(judge(detector, trace))).length)
  const columns = [ours("annotated"), exact(sorted), counting({ inARow: 2, total: 2, window: 10 })]
  return table(
    ["shape", "label", "why", "traces", "ours", "exact", "counting"],
    Array.from(shapes(which), ([shape, traces]) => [
      shape,
      labelOf(traces[0]!),
      traces[0]!.why,
      String(traces.length),
      ...columns.map((detector) => rightOf(detector, traces))
    ])
  )
}

const lookAlikes = () =>
  table(
    ["shape", "label", "why", "looks like", "traces", "ours"],
    Array.from(
      shapes((trace) => !isByForm(trace)),
      ([shape, traces]) => [
        shape,
        labelOf(traces[0]!),
        traces[0]!.why,
        traces[0]!.looksLike!,
        String(traces.length),
        String(outcomes.filter((outcome) => outcome.trace.shape === shape && isRight(outcome)).length)
      ]
    )
  )

const wrong = () =>
  outcomes
    .filter((outcome) => !isRight(outcome) && isByForm(outcome.trace))
    .map(({ isDisturbed, trace }) => `- ${isDisturbed ? "disturbed" : "missed"}: ${trace.name}`)
    .join("\n")

export const report = (): string => {
  const loops = corpus.filter((trace) => labelOf(trace) === "loop").length
  const calls = corpus.reduce((sum, { turns }) => sum + turns.flat().length, 0)
  const harmless = outcomes.filter(
    ({ isDisturbed, isNoticed, trace }) => isNoticed && !isDisturbed && labelOf(trace) === "work"
  )
  const { disturbed, found } = score(outcomes)
  return [
    `${corpus.length} traces of ${shapes(() => true).size} shapes with ${calls} calls: ${loops} loops and `
      + `${corpus.length - loops} runs that work. ${corpus.filter(isByForm).length} of them can be told by form.`,
    comparison(),
    `Ours answered ${harmless.length} traces of work with harmless replays only. As false alarms they would make its precision `
      + `${share(found / (found + disturbed + harmless.length))}.`,
    "### What can be told by form",
    `How many traces of each shape ours, exact matching with sorted keys, and counting to three get right.`,
    shapeTable(isByForm),
    "Ours gets wrong:",
    wrong(),
    "### What only the words tell",
    lookAlikes()
  ].join("\n\n")
}

const begin = "<!-- corpus -->"
const end = "<!-- /corpus -->"

/** The page with the tables as they are now. */
export const renew = (page: string): string =>
  page.slice(0, page.indexOf(begin) + begin.length) + `\n\n${report()}\n\n` + page.slice(page.indexOf(end))
