/**
 * Diagrams of workflows, in the language of Mermaid: what a workflow looks like, and what a run of it has done. The text
 * is shown as a picture by GitHub, by editors and by the `mermaid` package; nothing of it is needed to make the text.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import type { ChildShape, StepRecord, StepShape, StepType, WorkflowRun } from "./WorkflowRun.ts"

/**
 * How a diagram is laid out.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Where the steps go: `"TD"`, from the top down, which is the default, or `"LR"`, from left to right. */
  readonly direction?: "TD" | "LR"
}

/** The longest name that is shown in full, in characters: five lines of a box. */
const maxLength = 100

/** What a step is drawn with: the brackets of its shape, and its class while there is no run. */
const drawn: Readonly<Record<Exclude<StepType, "workflow">, readonly [open: string, close: string, style: Style]>> = {
  agent: ["[", "]", "agentStyle"],
  effect: ["(", ")", "effectStyle"],
  transform: ["[/", "/]", "transformStyle"],
  branch: ["{{", "}}", "conditionalStyle"],
  parallel: ["[/", "\\]", "controlStyle"],
  map: ["[[", "]]", "controlStyle"],
  loop: ["[\\", "/]", "controlStyle"],
  retry: ["[\\", "\\]", "controlStyle"],
  fallback: [">", "]", "controlStyle"],
  refine: ["{", "}", "controlStyle"]
}

/** Why the steps inside a step run again. */
const repetitions = { map: "next item", loop: "again", retry: "on failure", refine: "revise" }

// Text is black in every theme, because the fills are light in every theme.
const styles = {
  agentStyle: "fill:#e1f5ff,stroke:#01579b,stroke-width:2px,color:#000",
  effectStyle: "fill:#fffde7,stroke:#f57f17,stroke-width:2px,color:#000",
  transformStyle: "fill:#f3e5f5,stroke:#4a148c,stroke-width:2px,color:#000",
  conditionalStyle: "fill:#fff3e0,stroke:#e65100,stroke-width:2px,color:#000",
  controlStyle: "fill:#e8eaf6,stroke:#283593,stroke-width:2px,color:#000",
  subworkflowStyle: "fill:#e8f5e9,stroke:#1b5e20,stroke-width:2px,color:#000",
  convergeStyle: "fill:#f5f5f5,stroke:#757575,stroke-width:1px,color:#000",
  successStyle: "fill:#c8e6c9,stroke:#2e7d32,stroke-width:3px,color:#000",
  failureStyle: "fill:#ffcdd2,stroke:#c62828,stroke-width:3px,color:#000",
  interruptedStyle: "fill:#ffe0b2,stroke:#ef6c00,stroke-width:3px,color:#000",
  runningStyle: "fill:#bbdefb,stroke:#1565c0,stroke-width:3px,color:#000",
  skippedStyle: "fill:#fafafa,stroke:#9e9e9e,stroke-width:1px,stroke-dasharray:4 4,color:#757575"
}
type Style = keyof typeof styles

type Status = StepRecord["status"] | "not run"

const styleOf: Readonly<Record<Status, Style>> = {
  completed: "successStyle",
  failed: "failureStyle",
  interrupted: "interruptedStyle",
  running: "runningStyle",
  "not run": "skippedStyle"
}

/** What a run has done at one place of the workflow, and at the places inside it. */
interface Place {
  readonly records: Array<StepRecord>
  readonly steps: Map<string, Place>
}

/** What became of a step, all its times together. */
interface Outcome {
  readonly status: Status
  /** What is said about it under its name. */
  readonly notes: ReadonlyArray<string>
}

/**
 * The diagram of a workflow, or of a run of it, as a Mermaid flowchart.
 *
 * **Details**
 *
 * Each kind of step has a shape of its own, and workflows inside the workflow are boxes around their steps. Dotted edges
 * are taken only if needed. With a run, steps show their kind and time, how often they ran, and the tag of their failure;
 * colours say how they ended, thick edges were taken, dotted ones were not. A step that ran several times shows its time
 * in total. What is retried, revised or done in a loop shows how its last time ended, and what was done to many items
 * shows the worst of them: `failed` before `interrupted`.
 *
 * Any name gives a valid diagram and is shown as it is, up to its first 100 characters. Control characters are shown by
 * their symbols. The same input gives the same text.
 *
 * **Gotchas**
 *
 * Mermaid itself refuses diagrams of more than 500 edges or 50,000 characters, unless `maxEdges` and `maxTextSize` are
 * raised where it is configured.
 *
 * **Example**
 *
 * ```ts
 * import * as Mermaid from "effect-agent-runtime/Mermaid"
 *
 * const diagram = Mermaid.flowchart({
 *   name: "reporter",
 *   type: "workflow",
 *   description: undefined,
 *   steps: [
 *     { label: undefined, shape: { name: "research", type: "agent", description: undefined, steps: [] } },
 *     { label: undefined, shape: { name: "write", type: "agent", description: undefined, steps: [] } }
 *   ]
 * })
 * const lines = diagram.split("\n")
 * lines[0] // => "flowchart TD"
 * lines[2] // => '    N0["research"]:::agentStyle'
 * lines.filter((line) => line.includes("-->")) // => ["    Start --> N0", "    N0 --> N1", "    N1 --> End"]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const flowchart = (shape: StepShape, run?: WorkflowRun, { direction = "TD" }: Options = {}): string => {
  const nodes: Array<string> = []
  const edges: Array<string> = []
  // Behind the edges, because an edge to a box makes Mermaid forget the class that it had before.
  const boxes: Array<string> = []
  const used = new Set<Style>()
  let ids = 0
  let indent = "    "

  const styled = (style: Style): string => {
    used.add(style)
    return style
  }

  const declare = (id: string, brackets: string, style: Style | undefined): string => {
    nodes.push(`${indent}${id}${brackets}${style === undefined ? "" : `:::${styled(style)}`}`)
    return id
  }

  /** `taken` counts if there is a run, and `detour` if there is none. */
  const connect = (from: string, to: string, taken: boolean, label?: string, detour = false): void => {
    const arrow = run === undefined ? (detour ? "-.->" : "-->") : taken ? "==>" : "-.->"
    const text = label === undefined || label === "" ? "" : `|"${named(label)}"|`
    edges.push(`    ${from} ${arrow}${text} ${to}`)
  }

  /** One node for the ends of steps side by side, so that one edge goes on; without any, it goes on from `id`. */
  const converge = (id: string, ends: ReadonlyArray<readonly [id: string, taken: boolean]>): string => {
    if (ends.length === 0) return id
    const join = declare(`N${ids++}`, "(( ))", "convergeStyle")
    for (const [end, taken] of ends) connect(end, join, taken)
    return join
  }

  /**
   * Draws a step and says which node it ends at. `enter` draws the edge to the node it begins with; `repeats` are the
   * steps around it that repeat it, from the outside in.
   */
  const draw = (
    step: StepShape,
    place: Place,
    repeats: ReadonlyArray<StepType>,
    enter: (entry: string) => void
  ): string => {
    const outcome = outcomeOf(place.records, repeats)
    const notes = run === undefined ? (step.description === undefined ? [] : [step.description]) : outcome.notes
    if (step.type === "workflow") return drawNested(step, place, repeats, outcome.status, notes, enter)
    const [open, close, style] = drawn[step.type]
    const below = run === undefined ? notes : [kindOf(step), ...notes]
    const lines = [named(step.name), ...below.map((note) => `<i>${named(note)}</i>`)]
    const id = declare(
      `N${ids++}`,
      `${open}"${lines.join("<br/>")}"${close}`,
      run === undefined ? style : styleOf[outcome.status]
    )
    enter(id)
    switch (step.type) {
      case "agent":
      case "effect":
      case "transform":
        return id
      case "branch":
      case "parallel": {
        // What decides about a branch has no label.
        const isCase = ({ label }: ChildShape) => step.type === "parallel" || label !== undefined
        const fork = drawInOrder(
          step.steps.filter((child) => !isCase(child)),
          place,
          id,
          repeats
        )
        return converge(
          fork,
          step.steps.filter(isCase).map((child) => {
            const inner = placeIn(place, child)
            const taken =
              hasRun(inner) || place.records.some(({ branch }) => branch !== undefined && branch === child.label)
            const end = draw(child.shape, inner, repeats, (entry) => connect(fork, entry, taken, child.label))
            return [end, hasCompleted(inner)]
          })
        )
      }
      case "fallback": {
        let last = id
        return converge(
          id,
          step.steps.map((child, index) => {
            const inner = placeIn(place, child)
            const before = last
            last = draw(child.shape, inner, repeats, (entry) =>
              connect(before, entry, hasRun(inner), index === 0 ? undefined : "on failure", index > 0)
            )
            return [last, hasCompleted(inner)]
          })
        )
      }
      case "map":
      case "loop":
      case "retry":
      case "refine": {
        const end = drawInOrder(step.steps, place, id, [...repeats, step.type])
        const again = step.steps.some((child) =>
          placeIn(place, child).records.some(({ iterations }) => (iterations[repeats.length] ?? 0) > 0)
        )
        if (end !== id) connect(end, id, again, repetitions[step.type], true)
        return end
      }
    }
  }

  /** Draws steps one behind the other. */
  const drawInOrder = (
    steps: ReadonlyArray<ChildShape>,
    place: Place,
    start: string,
    repeats: ReadonlyArray<StepType>
  ): string =>
    steps.reduce((last, child) => {
      const inner = placeIn(place, child)
      return draw(child.shape, inner, repeats, (entry) => connect(last, entry, hasRun(inner)))
    }, start)

  const drawNested = (
    step: StepShape,
    place: Place,
    repeats: ReadonlyArray<StepType>,
    status: Status,
    notes: ReadonlyArray<string>,
    enter: (entry: string) => void
  ): string => {
    const id = `SUB${ids++}`
    const around = indent
    const style = run === undefined ? undefined : styleOf[status]
    const title = [step.name, ...notes].map(named).join(" · ")
    nodes.push(`${around}subgraph ${id}["📦 ${title}"]`)
    indent += "    "
    nodes.push(`${indent}direction ${direction}`)
    enter(id)
    const start = declare(`N${ids++}`, "([Start])", style)
    const last = drawInOrder(step.steps, place, start, repeats)
    const end = declare(`N${ids++}`, "([End])", style)
    connect(last, end, hasCompleted(place))
    indent = around
    nodes.push(`${around}end`)
    boxes.push(`    class ${id} ${styled(style ?? "subworkflowStyle")}`)
    return id
  }

  const root = placesOf(run?.steps ?? [])
  const style = run && styleOf[run.status]
  const start = declare("Start", "([Start])", style)
  // The diagram itself is the box around the steps of the outermost workflow.
  const last =
    shape.type === "workflow"
      ? drawInOrder(shape.steps, root.steps.get(shape.name) ?? nowhere, start, [])
      : drawInOrder([{ label: undefined, shape }], root, start, [])
  const end = declare("End", "([End])", style)
  connect(last, end, run?.status === "completed")

  return [
    `flowchart ${direction}`,
    ...nodes,
    ...edges,
    ...boxes,
    "",
    ...Array.from(used, (name) => `    classDef ${name} ${styles[name]}`),
    ""
  ].join("\n")
}

const nowhere: Place = { records: [], steps: new Map() }

const placesOf = (records: ReadonlyArray<StepRecord>): Place => {
  const root: Place = { records: [], steps: new Map() }
  for (const record of records) {
    let place = root
    for (const name of record.path) {
      const inner = place.steps.get(name) ?? { records: [], steps: new Map() }
      place.steps.set(name, inner)
      place = inner
    }
    place.records.push(record)
  }
  return root
}

const placeIn = (place: Place, { shape }: ChildShape): Place => place.steps.get(shape.name) ?? nowhere

const hasRun = ({ records }: Place): boolean => records.length > 0

const hasCompleted = ({ records }: Place): boolean => records.some(({ status }) => status === "completed")

/** What counts of the records of one step: all items of a `map`, and the last time of everything else that repeats. */
const latest = (
  records: ReadonlyArray<StepRecord>,
  repeats: ReadonlyArray<StepType>,
  depth = 0
): ReadonlyArray<StepRecord> => {
  if (depth === repeats.length) return records
  const times = Map.groupBy(records, ({ iterations }) => iterations[depth] ?? 0)
  const last = records.reduce((time, { iterations }) => Math.max(time, iterations[depth] ?? 0), 0)
  const counting = repeats[depth] === "map" ? Array.from(times.values()) : [times.get(last) ?? []]
  return counting.flatMap((some) => latest(some, repeats, depth + 1))
}

/** From the worst. */
const statuses = ["failed", "interrupted", "running", "completed"] as const

const outcomeOf = (records: ReadonlyArray<StepRecord>, repeats: ReadonlyArray<StepType>): Outcome => {
  const counting = latest(records, repeats)
  const status = statuses.find((status) => counting.some((record) => record.status === status))
  if (status === undefined) return { status: "not run", notes: ["not run"] }
  const failure = status === "failed" ? counting.find((record) => record.failure !== undefined)?.failure : undefined
  const failures = records.filter((record) => record.status === "failed").length
  const millis = records.reduce((total, { durationMillis }) => total + durationMillis, 0)
  return {
    status,
    notes: [
      ...(status === "completed" ? [] : [failure === undefined ? status : `${status}: ${failure.tag}`]),
      ...(records.length === 1 ? [] : [`${records.length}×${failures === 0 ? "" : `, ${failures} failed`}`]),
      formatted(millis)
    ]
  }
}

const formatted = (exact: number): string => {
  const millis = Math.round(exact)
  return millis === 0 ? "0ms" : Duration.format(Duration.millis(millis))
}

const kindOf = ({ type }: StepShape): string => type.charAt(0).toUpperCase() + type.slice(1)

/** A name in a label, which must not be empty. */
const named = (name: string): string => {
  const characters = Array.from(name)
  return escaped(characters.length > maxLength ? `${characters.slice(0, maxLength - 1).join("")}…` : name || " ")
}

/**
 * What does not stand for itself in a quoted label. Letters, digits and pictures do, and punctuation where no Markdown,
 * HTML, icon or directive of Mermaid's begins with it.
 */
const special =
  /[^\p{L}\p{M}\p{N}\p{Extended_Pictographic} ,()?!'/_.-]|^ | $| (?= )|(?<![\p{L}\p{N}])[_-]|[_-](?![\p{L}\p{N}])|(?<!\d)\.|\.(?!\d)/gu

/**
 * What Mermaid takes for something else even if it is written in codes: a line break, a formula, an icon, and `ﬂ°` and
 * `¶ß`, which are its own signs for the beginning and the end of a code.
 */
const misread = /\\(?=n)|\$(?=\$)|:(?=fa-)|ﬂ(?=°)|¶(?=ß)/g

/** What HTML and XML cannot contain. */
const unprintable = /[\p{Cc}\p{Noncharacter_Code_Point}]/gu

const symbolOf = (character: string): string => {
  const code = character.codePointAt(0)!
  if (code < 0x20) return String.fromCodePoint(0x2400 + code)
  return code === 0x7f ? "\u2421" : "\uFFFD"
}

const codeOf = (character: string): string => `#${character.codePointAt(0)};`

const escaped = (text: string): string =>
  text
    .toWellFormed()
    .split(/\r\n|\r|\n/)
    .map((line) =>
      // A word joiner cannot be seen.
      line.replaceAll(unprintable, symbolOf).replaceAll(misread, "$&\u2060").replaceAll(special, codeOf)
    )
    .join("<br/>")
