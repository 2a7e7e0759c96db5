/**
 * Draws the diagrams of docs/guide/diagrams.md with Mermaid in a headless Chromium: `docs/diagrams/<name>.svg`, and with
 * `--png <directory>` a picture of each there.
 *
 *     npm run docs:diagrams
 *
 * Takes the Chromium of `CHROMIUM_PATH`, or `chromium` on the path.
 */
import { execFileSync } from "node:child_process"
import { mkdirSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import * as Mermaid from "effect-agent-runtime/Mermaid"
import * as Usage from "effect-agent-runtime/Usage"
import type { ChildShape, StepRecord, StepShape, StepType, WorkflowRun } from "effect-agent-runtime/WorkflowRun"
import type { Mermaid as MermaidApi } from "mermaid"
import { launch } from "puppeteer-core"

type Children = ReadonlyArray<StepShape> | Readonly<Record<string, StepShape>>

const step = (type: StepType, name: string, children: Children = [], description?: string): StepShape => ({
  name,
  type,
  description,
  steps: Array.isArray(children)
    ? children.map((shape): ChildShape => ({ label: undefined, shape }))
    : Object.entries(children).map(([label, shape]): ChildShape => ({ label, shape }))
})

const kinds = step("workflow", "kinds", [
  step("agent", "agent"),
  step("effect", "effect"),
  step("transform", "transform"),
  step("branch", "branch", { yes: step("agent", "one way"), no: step("agent", "other way") }),
  step("parallel", "parallel", { facts: step("agent", "facts"), figures: step("agent", "figures") }),
  step("map", "map", [step("agent", "each item")]),
  step("loop", "loop", [step("agent", "until done")]),
  step("retry", "retry", [step("effect", "until it succeeds")]),
  step("fallback", "fallback", [step("agent", "first choice"), step("agent", "second choice")]),
  step("refine", "refine", [step("agent", "answer"), step("agent", "judge")]),
  step("workflow", "workflow", [step("agent", "inner step")])
])

const review = step("workflow", "review", [
  step("parallel", "look from all sides", {
    style: step("agent", "read for style"),
    facts: step("agent", "check facts")
  }),
  step("agent", "merge"),
  step("workflow", "publish", [step("retry", "try hard", [step("effect", "upload")])])
])

const support = step("workflow", "support", [
  step("transform", "read mail"),
  step("branch", "what it is about", {
    order: step("workflow", "find order", [
      step("retry", "while it is down", [step("effect", "ask the shop")]),
      step("agent", "summarize order")
    ]),
    refund: step("agent", "check policy")
  }),
  step("refine", "reply", [step("agent", "write"), step("agent", "review")]),
  step("effect", "send")
])

let startedAt = 0
const record = (type: StepType, path: string, durationMillis: number, more: Partial<StepRecord> = {}): StepRecord => {
  const names = ["support", ...path.split("/")]
  const name = names.at(-1) ?? ""
  const index = startedAt++
  const status = "completed"
  return { index, name, type, path: names, iterations: [], status, input: "", startedAt, durationMillis, ...more }
}

const unavailable = { tag: "ShopUnavailable", message: "503", causes: [] }
const rejected = { tag: "MailRejected", message: "unknown recipient", causes: [] }
const order = "what it is about/find order"

const supportRun: WorkflowRun = {
  runId: "run-1",
  workflow: "support",
  status: "failed",
  input: "",
  steps: [
    record("transform", "read mail", 1),
    record("branch", "what it is about", 2430, { branch: "order" }),
    record("workflow", order, 2428),
    record("retry", `${order}/while it is down`, 1210),
    record("effect", `${order}/while it is down/ask the shop`, 800, {
      iterations: [0],
      status: "failed",
      failure: unavailable
    }),
    record("effect", `${order}/while it is down/ask the shop`, 210, { iterations: [1] }),
    record("agent", `${order}/summarize order`, 1216),
    record("refine", "reply", 4100),
    ...[0, 1].flatMap((time) => [
      record("agent", "reply/write", 1400, { iterations: [time] }),
      record("agent", "reply/review", 650, { iterations: [time] })
    ]),
    record("effect", "send", 95, { status: "failed", failure: rejected })
  ],
  usage: Usage.zero,
  startedAt: 0,
  durationMillis: 6626
}

const diagrams: Readonly<Record<string, string>> = {
  kinds: Mermaid.flowchart(kinds),
  run: Mermaid.flowchart(support, supportRun),
  "left-to-right": Mermaid.flowchart(review, undefined, { direction: "LR" })
}

declare const mermaid: MermaidApi

const { values } = parseArgs({ options: { png: { type: "string" } } })
const directory = fileURLToPath(new URL("diagrams/", import.meta.url))
const chromium = process.env["CHROMIUM_PATH"] ?? execFileSync("which", ["chromium"], { encoding: "utf8" }).trim()
const script = createRequire(import.meta.url).resolve("mermaid/dist/mermaid.min.js")

const browser = await launch({
  executablePath: chromium,
  // Chromium has no sandbox for root.
  args: process.getuid?.() === 0 ? ["--no-sandbox"] : []
})
try {
  const studio = await browser.newPage()
  await studio.addScriptTag({ path: script })
  const gallery = await browser.newPage()
  for (const [name, text] of Object.entries(diagrams)) {
    const drawn = await studio.evaluate(
      async (id, text) => {
        // Hand-drawn shapes have seeds, the others are made by the same code.
        mermaid.initialize({ startOnLoad: false, handDrawnSeed: 1 })
        return (await mermaid.render(id, text)).svg
      },
      name,
      text
    )
    // What Mermaid returns is HTML.
    const html = `new DOMParser().parseFromString(${JSON.stringify(drawn)}, "text/html")`
    const xml = String(await studio.evaluate(`new XMLSerializer().serializeToString(${html}.querySelector("svg"))`))
    const svg = xml
      // The lines are dark, and the page that shows them may be too.
      .replace('style="', 'style="background-color: white; ')
      // Tenths of a pixel are enough, at half the size.
      .replaceAll(/-?\d+\.\d{2,}/g, (number) => String(Math.round(Number(number) * 10) / 10))
    writeFileSync(join(directory, `${name}.svg`), `${svg}\n`)
    process.stdout.write(`docs/diagrams/${name}.svg\n`)
    if (values.png === undefined) continue
    mkdirSync(values.png, { recursive: true })
    await gallery.setContent(svg)
    const picture = await gallery.$("svg")
    await picture?.screenshot({ path: `${join(values.png, name)}.png` })
  }
} finally {
  await browser.close()
}
