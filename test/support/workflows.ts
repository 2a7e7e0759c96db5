/** Workflows of any shape, and what their runs may have done. */
import * as Usage from "effect-agent-runtime/Usage"
import type { ChildShape, StepRecord, StepShape, StepType, WorkflowRun } from "effect-agent-runtime/WorkflowRun"
import * as Arbitrary from "effect/Arbitrary"
import * as Schema from "effect/Schema"

type Status = StepRecord["status"]

export const step = (
  type: StepType,
  name: string,
  children: ReadonlyArray<StepShape> | Readonly<Record<string, StepShape>> = [],
  description?: string
): StepShape => ({
  name,
  type,
  description,
  steps: Array.isArray(children)
    ? children.map((shape): ChildShape => ({ label: undefined, shape }))
    : Object.entries(children).map(([label, shape]): ChildShape => ({ label, shape }))
})

const oddNames = [
  "",
  " ",
  "  two  spaces ",
  `a"b]c|d[e{f}(g)>h\\`,
  "C:\\new",
  "two\nlines\r\nand three",
  "#35; &lt; &amp; a;b",
  "end",
  "subgraph",
  "`code` *em* **strong** _a_ [link](to) ~~gone~~",
  "<b>bold</b><script>alert(1)</script>",
  "ünïcödé 日本語 👩‍👩‍👧",
  "\uD800 and \uDC00",
  "ﬂ°°35¶ß",
  "1. First",
  "- item",
  "$$x$$ fa:fa-car",
  "%%{init: {}}%% %% comment",
  "style: #a; classDef b:#c;",
  "x:::agentStyle --> y",
  "v1.2.3-beta_1",
  "__proto__",
  "\u0000\u0007\u007F\u0085\uFFFF",
  "\u202Eright to left"
]

const literal = <A>(values: ReadonlyArray<A>): Arbitrary.Arbitrary<A> =>
  Arbitrary.map(
    // `Literals` wants to know that there is at least one.
    Arbitrary.schema(Schema.Literals(Array.from(values.keys()) as [number, ...Array<number>])),
    (index) => values[index]!
  )

const text: Arbitrary.Arbitrary<string> = Arbitrary.flatMap(
  literal([literal(["a", "b", "step"]), literal(oddNames), Arbitrary.schema(Schema.String)]),
  (arbitrary) => arbitrary
)

const leaves = ["agent", "effect", "transform"] as const
const composites = ["branch", "parallel", "map", "loop", "retry", "fallback", "refine", "workflow"] as const

const shapeOf = (depth: number, types: ReadonlyArray<StepType>): Arbitrary.Arbitrary<StepShape> =>
  Arbitrary.flatMap(literal(types), (type) => {
    const labelled = type === "branch" || type === "parallel"
    const children = leaves.some((leaf) => leaf === type)
      ? Arbitrary.Constant([])
      : Arbitrary.array(Arbitrary.all({ label: text, shape: shapeOf(depth - 1, typesAt(depth - 1)) }), { maxLength: 3 })
    return Arbitrary.map(
      Arbitrary.all({ name: text, description: text, children, decides: Arbitrary.schema(Schema.Boolean) }),
      ({ children: all, decides, description, name }): StepShape => ({
        name,
        type,
        description: description === "" ? undefined : description,
        // Names and labels are unique among the steps of a step.
        steps: all
          .filter((child, index) => all.findIndex(({ shape }) => shape.name === child.shape.name) === index)
          .filter((child, index, named) => !labelled || named.findIndex(({ label }) => label === child.label) === index)
          .map(({ label, shape }, index) => ({
            label: !labelled || (type === "branch" && decides && index === 0) ? undefined : label,
            shape
          }))
      })
    )
  })

const typesAt = (depth: number): ReadonlyArray<StepType> => (depth > 0 ? [...leaves, ...composites] : leaves)

/** Workflows of all kinds of steps, nested up to four deep, whose names are meant to break what they are written into. */
export const workflow: Arbitrary.Arbitrary<StepShape> = shapeOf(4, ["workflow"])

const statuses: ReadonlyArray<Status> = [
  "completed",
  "completed",
  "completed",
  "completed",
  "failed",
  "interrupted",
  "running"
]

const worst = (all: ReadonlyArray<Status>): Status =>
  (["failed", "interrupted", "running"] as const).find((status) => all.includes(status)) ?? "completed"

/** What a run of the workflow has done if it met these choices: which branches, how many items, what fails. */
const runOf = (root: StepShape, choices: ReadonlyArray<number>): WorkflowRun => {
  const steps: Array<StepRecord> = []
  let made = 0
  const choose = (among: number): number => (choices[made++ % choices.length] ?? 0) % among

  const inOrder = (shape: StepShape, path: ReadonlyArray<string>, iterations: ReadonlyArray<number>): Status => {
    for (const child of shape.steps) {
      const status = perform(child.shape, path, iterations)
      if (status !== "completed") return status
    }
    return "completed"
  }

  const performed = (
    shape: StepShape,
    path: ReadonlyArray<string>,
    iterations: ReadonlyArray<number>
  ): readonly [status: Status, branch?: string | undefined] => {
    switch (shape.type) {
      case "agent":
      case "effect":
      case "transform":
        return [statuses[choose(statuses.length)]!]
      case "workflow":
        return [inOrder(shape, path, iterations)]
      case "branch": {
        const deciding = shape.steps.filter(({ label }) => label === undefined)
        const decided = inOrder({ ...shape, steps: deciding }, path, iterations)
        const cases = shape.steps.filter(({ label }) => label !== undefined)
        const taken = cases[choose(Math.max(cases.length, 1))]
        if (taken === undefined || decided !== "completed") return [decided]
        return [perform(taken.shape, path, iterations), taken.label]
      }
      case "parallel":
        return [worst(shape.steps.map((child) => perform(child.shape, path, iterations)))]
      case "map":
        return [worst(Array.from({ length: choose(4) }, (_, item) => inOrder(shape, path, [...iterations, item])))]
      case "loop":
      case "refine":
      case "retry": {
        let status: Status = "completed"
        for (let time = 0, times = 1 + choose(3); time < times; time++) {
          status = inOrder(shape, path, [...iterations, time])
          if ((status === "failed") !== (shape.type === "retry")) break
        }
        return [status]
      }
      case "fallback":
        for (const child of shape.steps) {
          const status = perform(child.shape, path, iterations)
          if (status !== "failed") return [status]
        }
        return [shape.steps.length === 0 ? "completed" : "failed"]
    }
  }

  const perform = (shape: StepShape, around: ReadonlyArray<string>, iterations: ReadonlyArray<number>): Status => {
    const path = [...around, shape.name]
    const index = steps.length
    const startedAt = made
    const begun: StepRecord = {
      index,
      name: shape.name,
      type: shape.type,
      path,
      iterations,
      status: "running",
      input: undefined,
      startedAt,
      durationMillis: 0
    }
    steps.push(begun)
    const [status, branch] = performed(shape, path, iterations)
    steps[index] = {
      ...begun,
      status,
      ...(status === "failed" ? { failure: { tag: "Broken", message: "broken", causes: [] } } : undefined),
      ...(branch === undefined ? undefined : { branch }),
      durationMillis: (made - startedAt) * 1.5
    }
    return status
  }

  const status = inOrder(root, [root.name], [])
  return {
    runId: "run",
    workflow: root.name,
    status,
    input: undefined,
    steps,
    usage: Usage.zero,
    startedAt: 0,
    durationMillis: made
  }
}

/** Workflows and what a run of them has done. */
export const run: Arbitrary.Arbitrary<readonly [shape: StepShape, run: WorkflowRun]> = Arbitrary.map(
  Arbitrary.all([
    workflow,
    Arbitrary.array(Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 99 }))), {
      minLength: 1,
      maxLength: 20
    })
  ]),
  ([shape, choices]) => [shape, runOf(shape, choices)] as const
)
