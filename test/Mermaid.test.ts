// @vitest-environment jsdom
import { assert, describe, it } from "@effect/vitest"
import * as Mermaid from "effect-agent-runtime/Mermaid"
import * as Usage from "effect-agent-runtime/Usage"
import * as Workflow from "effect-agent-runtime/Workflow"
import type { StepRecord, StepShape, StepType, WorkflowRun } from "effect-agent-runtime/WorkflowRun"
import * as Effect from "effect/Effect"
import * as Flowchart from "./support/flowchart.ts"
import * as Workflows from "./support/workflows.ts"
import { step } from "./support/workflows.ts"

const parsed = (...args: Parameters<typeof Mermaid.flowchart>) =>
  Effect.promise(() => Flowchart.parse(Mermaid.flowchart(...args)))

/** One step of a workflow where it is drawn. */
interface Drawn {
  readonly shape: StepShape
  readonly id: string
  /** The box it is in. */
  readonly box: string | undefined
  readonly path: ReadonlyArray<string>
}

/** The steps of a workflow with the ids of what they are drawn as: ids are counted in the order of the steps. */
const drawnIn = (root: StepShape, { boxes, nodes }: Flowchart.Flowchart): ReadonlyArray<Drawn> => {
  const isStep = (id: string) => {
    const { classes = [], shape } = nodes.get(id) ?? {}
    return boxes.has(id) || (shape !== "stadium" && !classes.includes("convergeStyle"))
  }
  const numberOf = (id: string) => Number(/\d+$/.exec(id)?.[0])
  const ids = [...nodes.keys(), ...boxes.keys()].filter(isStep).toSorted((a, b) => numberOf(a) - numberOf(b))
  const drawn: Array<Drawn> = []
  const walk = (shape: StepShape, around: ReadonlyArray<string>, box: string | undefined): void => {
    const path = [...around, shape.name]
    for (const child of shape.steps) {
      const id = ids[drawn.length] ?? "missing"
      drawn.push({ shape: child.shape, id, box, path: [...path, child.shape.name] })
      walk(child.shape, path, child.shape.type === "workflow" ? id : box)
    }
  }
  walk(root, [], undefined)
  assert.lengthOf(ids, drawn.length)
  return drawn
}

/** Whether the text is the name, but for characters that cannot be written, which have symbols. */
const shows = (text: string, name: string): boolean => {
  const wanted = Array.from(name.replaceAll(/\r\n?/g, "\n").replaceAll("\u2060", ""))
  const shown = Array.from(text)
  return (
    shown.length === wanted.length
    && wanted.every((character, index) =>
      character !== "\n" && /[\p{Cc}\p{Cs}\p{Noncharacter_Code_Point}]/u.test(character)
        ? /[\u2400-\u2421\uFFFD]/.test(shown[index]!)
        : shown[index] === character
    )
  )
}

const titleOf = ({ boxes, nodes }: Flowchart.Flowchart, id: string): string =>
  nodes.get(id)?.label ?? boxes.get(id)?.title.slice("📦 ".length) ?? ""

const classesOf = ({ boxes, nodes }: Flowchart.Flowchart, id: string): ReadonlyArray<string> =>
  nodes.get(id)?.classes ?? boxes.get(id)?.classes ?? []

/** The ids that are reached from `from`. One is in a box by its Start, and out of it by its End. */
const reached = (from: string, chart: Flowchart.Flowchart, ends: readonly ["from" | "to", "from" | "to"]) => {
  const next = Map.groupBy(chart.edges, (edge) => edge[ends[0]])
  const found = new Set<string>()
  const visit = (id: string): void => {
    if (found.has(id)) return
    found.add(id)
    for (const edge of next.get(id) ?? []) visit(edge[ends[1]])
    for (const member of chart.boxes.get(id)?.members ?? []) {
      if (chart.nodes.get(member)?.shape === "stadium") visit(member)
    }
  }
  visit(from)
  return found
}

/** Mermaid needs milliseconds for a diagram. */
const runs = { arbitrary: { runs: 40 } }

describe("the diagram of any workflow", () => {
  it.effect.prop(
    "is valid, and declares every id once",
    [Workflows.workflow],
    Effect.fnUntraced(function* ([shape]) {
      const declared = Array.from(
        Mermaid.flowchart(shape).matchAll(/^ *(?:subgraph )?(\w+)(?=[[({>])/gm),
        ([, id]) => id!
      )
      const { boxes, edges, nodes } = yield* parsed(shape)
      assert.lengthOf(new Set(declared), declared.length)
      // Mermaid makes a node of whatever an edge or a class names.
      assert.sameMembers([...nodes.keys(), ...boxes.keys()], declared)
      for (const { from, to } of edges) assert.includeMembers(declared, [from, to])
      const members = Array.from(boxes.values()).flatMap((box) => box.members)
      assert.lengthOf(new Set(members), members.length)
    }),
    runs
  )

  it.effect.prop(
    "shows every name as it is, in the box of its workflow",
    [Workflows.workflow],
    Effect.fnUntraced(function* ([shape]) {
      const chart = yield* parsed(shape)
      for (const { box, id, shape: inner } of drawnIn(shape, chart)) {
        // The title of a box says what its workflow is for, too.
        const wanted = [inner.name || " ", ...(chart.boxes.has(id) ? [inner.description ?? []].flat() : [])]
        if (wanted.every((text) => Array.from(text).length <= 100)) {
          const name = wanted.join(" · ")
          assert.isTrue(shows(titleOf(chart, id), name), JSON.stringify([titleOf(chart, id), name]))
        }
        for (const [other, { members }] of chart.boxes) assert.strictEqual(members.includes(id), other === box)
      }
    }),
    runs
  )

  it.effect.prop(
    "leads from Start to every step, and from every step to End",
    [Workflows.workflow],
    Effect.fnUntraced(function* ([shape]) {
      const chart = yield* parsed(shape)
      const all = [...chart.nodes.keys(), ...chart.boxes.keys()]
      assert.sameMembers(Array.from(reached("Start", chart, ["from", "to"])), all)
      assert.sameMembers(Array.from(reached("End", chart, ["to", "from"])), all)
    }),
    runs
  )

  it.prop("is the same each time, and turned by its direction", [Workflows.run], ([[shape, run]]) => {
    const diagram = Mermaid.flowchart(shape, run)
    assert.strictEqual(Mermaid.flowchart(structuredClone(shape), structuredClone(run)), diagram)
    const turned = Mermaid.flowchart(shape, run, { direction: "LR" })
    assert.strictEqual(
      turned.replaceAll(/^flowchart LR$|^( +)direction LR$/gm, (line) => line.replace("LR", "TD")),
      diagram
    )
  })
})

const styleOf = {
  completed: "successStyle",
  failed: "failureStyle",
  interrupted: "interruptedStyle",
  running: "runningStyle"
}

describe("the diagram of any run", () => {
  it.effect.prop(
    "shows which steps it came to, by which way",
    [Workflows.run],
    Effect.fnUntraced(function* ([[shape, run]]) {
      const chart = yield* parsed(shape, run)
      for (const { stroke } of chart.edges) assert.include(["thick", "dotted"], stroke)
      for (const { id, path } of drawnIn(shape, chart)) {
        const records = run.steps.filter((record) => JSON.stringify(record.path) === JSON.stringify(path))
        const taken = chart.edges.some(({ stroke, to }) => to === id && stroke === "thick")
        assert.strictEqual(taken, records.length > 0)
        assert.strictEqual(classesOf(chart, id).includes("skippedStyle"), records.length === 0)
        const [only, ...others] = records
        if (only !== undefined && others.length === 0) assert.include(classesOf(chart, id), styleOf[only.status])
      }
      for (const id of ["Start", "End"]) assert.deepStrictEqual(classesOf(chart, id), [styleOf[run.status]])
    }),
    runs
  )

  it.effect.prop(
    "has the nodes and edges of the workflow",
    [Workflows.run],
    Effect.fnUntraced(function* ([[shape, run]]) {
      const still = yield* parsed(shape)
      const done = yield* parsed(shape, run)
      const nodes = ({ nodes }: Flowchart.Flowchart) =>
        Array.from(nodes.values(), (node) => [node.id, node.label, node.shape])
      const edges = (chart: Flowchart.Flowchart) => chart.edges.map(({ from, label, to }) => [from, label, to])
      assert.deepStrictEqual(nodes(done), nodes(still))
      assert.deepStrictEqual(edges(done), edges(still))
    }),
    runs
  )
})

/** The edges as `from to`, with the label and what is not an ordinary line. */
const edgesOf = ({ edges }: Flowchart.Flowchart): ReadonlyArray<string> =>
  edges.map(({ from, label, stroke, to }) =>
    [from, to, ...(label === "" ? [] : [label]), ...(stroke === "normal" ? [] : [stroke])].join(" ")
  )

const agent = (name: string) => step("agent", name)
const workflow = (...steps: ReadonlyArray<StepShape>) => step("workflow", "main", steps)

describe("the diagram of a workflow", () => {
  it.effect("of no steps goes from Start to End", () =>
    Effect.gen(function* () {
      const chart = yield* parsed(workflow())
      assert.deepStrictEqual(Array.from(chart.nodes.keys()), ["Start", "End"])
      assert.deepStrictEqual(edgesOf(chart), ["Start End"])
      assert.strictEqual(chart.direction, "TB")
    })
  )

  it.effect("has a shape and a style for each kind of step", () =>
    Effect.gen(function* () {
      const kinds: ReadonlyArray<readonly [StepType, shape: string, style: string]> = [
        ["agent", "square", "agentStyle"],
        ["effect", "round", "effectStyle"],
        ["transform", "lean_right", "transformStyle"],
        ["branch", "hexagon", "conditionalStyle"],
        ["parallel", "trapezoid", "controlStyle"],
        ["map", "subroutine", "controlStyle"],
        ["loop", "inv_trapezoid", "controlStyle"],
        ["retry", "lean_left", "controlStyle"],
        ["fallback", "odd", "controlStyle"],
        ["refine", "diamond", "controlStyle"]
      ]
      const chart = yield* parsed(workflow(...kinds.map(([type]) => step(type, type)), step("workflow", "inner")))
      kinds.forEach(([type, shape, style], index) => {
        const node = chart.nodes.get(`N${index}`)
        assert.deepStrictEqual([node?.label, node?.shape, node?.classes], [type, shape, [style]])
        assert.isTrue(chart.styles.has(style))
      })
      assert.deepStrictEqual(
        Array.from(chart.boxes.values(), ({ classes, title }) => [title, classes]),
        [["📦 inner", ["subworkflowStyle"]]]
      )
    })
  )

  it.effect("is of one step as well", () =>
    Effect.gen(function* () {
      const chart = yield* parsed(agent("alone"))
      assert.strictEqual(chart.nodes.get("N0")?.label, "alone")
      assert.deepStrictEqual(edgesOf(chart), ["Start N0", "N0 End"])
    })
  )

  it.effect("says what steps are for", () =>
    Effect.gen(function* () {
      const chart = yield* parsed(workflow(step("agent", "a", [], "finds <b>sources</b>")))
      assert.deepStrictEqual(chart.nodes.get("N0")?.notes, ["finds <b>sources</b>"])
    })
  )

  it.effect("splits at a branch and at parallel steps, and joins behind them", () =>
    Effect.gen(function* () {
      for (const type of ["branch", "parallel"] as const) {
        const chart = yield* parsed(workflow(step(type, "which", { yes: agent("a"), no: agent("b") }), agent("c")))
        assert.deepStrictEqual(edgesOf(chart), [
          "Start N0",
          "N0 N1 yes",
          "N0 N2 no",
          "N1 N3",
          "N2 N3",
          "N3 N4",
          "N4 End"
        ])
        assert.deepStrictEqual(
          [chart.nodes.get("N3")?.shape, chart.nodes.get("N3")?.classes],
          ["circle", ["convergeStyle"]]
        )
      }
    })
  )

  it.effect("splits behind the step that decides about a branch", () =>
    Effect.gen(function* () {
      const cases = step("branch", "which", { yes: agent("a"), no: agent("b") })
      const decided = { ...cases, steps: [{ label: undefined, shape: agent("judge") }, ...cases.steps] }
      const chart = yield* parsed(workflow(decided))
      assert.deepStrictEqual(edgesOf(chart), ["Start N0", "N0 N1", "N1 N2 yes", "N1 N3 no", "N2 N4", "N3 N4", "N4 End"])
    })
  )

  it.effect("goes back to what repeats its steps", () =>
    Effect.gen(function* () {
      const labels = { map: "next item", loop: "again", retry: "on failure", refine: "revise" }
      for (const [type, label] of Object.entries(labels)) {
        const chart = yield* parsed(workflow(step(type as keyof typeof labels, "it", [agent("a"), agent("b")])))
        assert.deepStrictEqual(edgesOf(chart), ["Start N0", "N0 N1", "N1 N2", `N2 N0 ${label} dotted`, "N2 End"])
      }
    })
  )

  it.effect("goes from one fallback to the next on failure, and from each on", () =>
    Effect.gen(function* () {
      const chart = yield* parsed(workflow(step("fallback", "any", [agent("a"), agent("b"), agent("c")])))
      assert.deepStrictEqual(edgesOf(chart), [
        "Start N0",
        "N0 N1",
        "N1 N2 on failure dotted",
        "N2 N3 on failure dotted",
        "N1 N4",
        "N2 N4",
        "N3 N4",
        "N4 End"
      ])
    })
  )

  it.effect("keeps steps before and behind a nested workflow out of its box", () =>
    Effect.gen(function* () {
      const inner = step("workflow", "inner", [agent("b"), step("workflow", "innermost", [agent("c")])])
      const chart = yield* parsed(workflow(agent("a"), inner, agent("d")), undefined, { direction: "LR" })
      assert.deepStrictEqual(
        Array.from(chart.boxes.values(), ({ direction, id, members }) => [id, direction, members.toSorted()]),
        [
          ["SUB4", "LR", ["N5", "N6", "N7"]],
          ["SUB1", "LR", ["N2", "N3", "N8", "SUB4"]]
        ]
      )
      assert.deepStrictEqual(edgesOf(chart), [
        "Start N0",
        "N0 SUB1",
        "N2 N3",
        "N3 SUB4",
        "N5 N6",
        "N6 N7",
        "SUB4 N8",
        "SUB1 N9",
        "N9 End"
      ])
      assert.strictEqual(chart.direction, "LR")
    })
  )

  it.effect("may be nested deeper than any reader follows", () =>
    Effect.gen(function* () {
      const deep = Array.from({ length: 60 }).reduce<StepShape>(
        (inner) => step("workflow", "deeper", [inner]),
        agent("a")
      )
      const chart = yield* parsed(deep)
      assert.strictEqual(chart.boxes.size, 59)
    })
  )
})

describe("a label", () => {
  const labelOf = (name: string) => Effect.map(parsed(workflow(agent(name))), ({ nodes }) => nodes.get("N0")?.label)

  it.effect("ends after 100 characters", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* labelOf("👍".repeat(100)), "👍".repeat(100))
      assert.strictEqual(yield* labelOf("👍".repeat(101)), `${"👍".repeat(99)}…`)
      assert.strictEqual(yield* labelOf("x".repeat(100_000)), `${"x".repeat(99)}…`)
    })
  )

  it.effect("has symbols for what a picture cannot contain", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* labelOf("a\u0000\t\u001B\u007Fb"), "a␀␉␛␡b")
      assert.strictEqual(yield* labelOf("a\u0085\uFFFE\uDC00b\uD800"), "a���b�")
    })
  )

  it.effect("of a branch may say anything", () =>
    Effect.gen(function* () {
      const chart = yield* parsed(workflow(step("branch", "which", { '|"<b> #1;': agent("a"), "": agent("b") })))
      assert.deepStrictEqual(edgesOf(chart).slice(1, 3), ['N0 N1 |"<b> #1;', "N0 N2"])
    })
  )

  it("is not taken for a break, a formula, an icon or a code when Mermaid draws it", () => {
    const diagram = Mermaid.flowchart(workflow(agent("\\n $$x$$ fa:fa-car ﬂ°°35¶ß")))
    const drawn = diagram.replaceAll(/#(\d+);/g, (_, code) => String.fromCodePoint(Number(code)))
    assert.notMatch(drawn, /\\n|\$\$|fa:fa-|ﬂ°|¶ß/)
  })
})

const record = (type: StepType, path: string, more: Partial<StepRecord> = {}): StepRecord => {
  const names = ["main", ...path.split("/")]
  return {
    index: 0,
    name: names.at(-1)!,
    type,
    path: names,
    iterations: [],
    status: "completed",
    input: undefined,
    startedAt: 0,
    durationMillis: 10,
    ...more
  }
}

const failed = (tag: string) => ({ status: "failed", failure: { tag, message: "", causes: [] } }) as const

const runWith = (status: WorkflowRun["status"], ...steps: ReadonlyArray<StepRecord>): WorkflowRun => ({
  runId: "run",
  workflow: "main",
  status,
  input: undefined,
  steps,
  usage: Usage.zero,
  startedAt: 0,
  durationMillis: 10
})

/** What is said about the steps, with their styles. */
const notesOf = ({ nodes }: Flowchart.Flowchart): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Array.from(nodes.values())
      .filter(({ notes }) => notes.length > 0)
      .map(({ classes, label, notes }) => [label, [...notes, ...classes].join("; ")])
  )

describe("the diagram of a run", () => {
  it.effect("says how each step ended, and how long it took", () =>
    Effect.gen(function* () {
      const shape = workflow(agent("a"), step("effect", "b"), step("transform", "c"), agent("d"), agent("e"))
      const run = runWith(
        "failed",
        record("agent", "a", { durationMillis: 61_234 }),
        record("effect", "b", { status: "interrupted", durationMillis: 0.4 }),
        record("transform", "c", { status: "running", durationMillis: 999.6 }),
        record("agent", "d", failed('No "such" <thing>'))
      )
      assert.deepStrictEqual(notesOf(yield* parsed(shape, run)), {
        a: "Agent; 1m 1s 234ms; successStyle",
        b: "Effect; interrupted; 0ms; interruptedStyle",
        c: "Transform; running; 1s; runningStyle",
        d: 'Agent; failed: No "such" <thing>; 10ms; failureStyle',
        e: "Agent; not run; skippedStyle"
      })
    })
  )

  it.effect("shows the branch that was taken", () =>
    Effect.gen(function* () {
      const shape = workflow(step("branch", "which", { yes: agent("a"), no: agent("b") }), agent("c"))
      const taken = record("branch", "which", { branch: "no" })
      const chart = yield* parsed(shape, runWith("running", taken, record("agent", "which/b")))
      assert.deepStrictEqual(edgesOf(chart), [
        "Start N0 thick",
        "N0 N1 yes dotted",
        "N0 N2 no thick",
        "N1 N3 dotted",
        "N2 N3 thick",
        "N3 N4 dotted",
        "N4 End dotted"
      ])
      // The run may have got no further than to the decision.
      const decided = yield* parsed(shape, runWith("interrupted", taken))
      assert.deepStrictEqual(edgesOf(decided).slice(1, 3), ["N0 N1 yes dotted", "N0 N2 no thick"])
    })
  )

  it.effect("counts what was retried, and shows how it ended", () =>
    Effect.gen(function* () {
      const shape = workflow(step("retry", "try", [agent("a")]))
      const first = record("agent", "try/a", { iterations: [0], ...failed("Down") })
      const retried = yield* parsed(
        shape,
        runWith("completed", record("retry", "try"), first, record("agent", "try/a", { iterations: [1] }))
      )
      assert.strictEqual(notesOf(retried)["a"], "Agent; 2×, 1 failed; 20ms; successStyle")
      assert.include(edgesOf(retried), "N1 N0 on failure thick")
      const once = yield* parsed(shape, runWith("failed", record("retry", "try", failed("Down")), first))
      assert.strictEqual(notesOf(once)["a"], "Agent; failed: Down; 10ms; failureStyle")
      assert.include(edgesOf(once), "N1 N0 on failure dotted")
    })
  )

  it.effect("shows the worst that became of any item", () =>
    Effect.gen(function* () {
      const shape = workflow(step("map", "all", [step("retry", "try", [agent("a")])]))
      const inner = (item: number, time: number, more: Partial<StepRecord> = {}) =>
        record("agent", "all/try/a", { iterations: [item, time], ...more })
      const run = (...steps: ReadonlyArray<StepRecord>) => runWith("running", record("map", "all"), ...steps)
      const recovered = yield* parsed(shape, run(inner(0, 0, failed("Down")), inner(0, 1), inner(1, 0)))
      assert.strictEqual(notesOf(recovered)["a"], "Agent; 3×, 1 failed; 30ms; successStyle")
      const lost = yield* parsed(
        shape,
        run(
          inner(0, 0),
          inner(1, 0, failed("Down")),
          inner(1, 1, failed("Gone")),
          inner(2, 0, { status: "interrupted" })
        )
      )
      assert.strictEqual(notesOf(lost)["a"], "Agent; failed: Gone; 4×, 2 failed; 40ms; failureStyle")
    })
  )

  it.effect("shows how a nested workflow ended on its box, its Start and its End", () =>
    Effect.gen(function* () {
      const shape = workflow(step("workflow", "inner", [agent("a")]))
      const run = runWith(
        "failed",
        record("workflow", "inner", failed("Down")),
        record("agent", "inner/a", failed("Down"))
      )
      const chart = yield* parsed(shape, run)
      const box = chart.boxes.get("SUB0")
      assert.deepStrictEqual([box?.title, box?.classes], ["📦 inner · failed: Down · 10ms", ["failureStyle"]])
      for (const id of ["N1", "N3"]) assert.deepStrictEqual(chart.nodes.get(id)?.classes, ["failureStyle"])
      assert.deepStrictEqual(edgesOf(chart), ["Start SUB0 thick", "N1 N2 thick", "N2 N3 dotted", "SUB0 End dotted"])
    })
  )

  it.effect("finds the steps of a workflow that has run", () =>
    Effect.gen(function* () {
      let asked = 0
      const ask = Workflow.effect("ask", (item: string) => {
        asked++
        return asked === 1 ? Effect.fail("busy" as const) : Effect.succeed(item.length)
      })
      const main = Workflow.make(
        "main",
        Workflow.transform("split", (list: string) => list.split(",")),
        Workflow.make(
          "inner",
          Workflow.map("each", Workflow.retry("patiently", ask, { times: 2 }), { concurrency: 1 })
        ),
        Workflow.branch("how many", (sizes) => (sizes.length > 1 ? "many" : "one"), {
          one: Workflow.transform("first", (sizes) => sizes[0]),
          many: Workflow.transform("sum", (sizes: ReadonlyArray<number>) => sizes.reduce((a, b) => a + b, 0))
        })
      )
      const { run } = yield* Workflow.run(main, "tea,milk")
      const chart = yield* parsed(Workflow.shape(main), run)
      assert.strictEqual(Workflow.toMermaid(main, run), Mermaid.flowchart(Workflow.shape(main), run))
      assert.deepStrictEqual(notesOf(chart), {
        split: "Transform; 0ms; successStyle",
        each: "Map; 0ms; successStyle",
        patiently: "Retry; 2×; 0ms; successStyle",
        ask: "Effect; 3×, 1 failed; 0ms; successStyle",
        "how many": "Branch; 0ms; successStyle",
        first: "Transform; not run; skippedStyle",
        sum: "Transform; 0ms; successStyle"
      })
      assert.deepStrictEqual(
        Array.from(chart.boxes.values(), ({ classes, title }) => [title, classes]),
        [["📦 inner · 0ms", ["successStyle"]]]
      )
      const untaken = edgesOf(chart).filter((edge) => edge.endsWith("dotted"))
      assert.deepStrictEqual(untaken, ["N7 N8 one dotted", "N8 N10 dotted"])
    })
  )

  it.effect("is not disturbed by records of steps that the workflow no longer has", () =>
    Effect.gen(function* () {
      const chart = yield* parsed(
        workflow(agent("a")),
        runWith("completed", record("agent", "gone"), record("agent", "a"))
      )
      assert.deepStrictEqual(notesOf(chart), { a: "Agent; 10ms; successStyle" })
    })
  )
})
