/**
 * The workflows of a configuration.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Llm from "../Llm.ts"
import * as Workflow from "../Workflow.ts"
import type { StepShape } from "../WorkflowRun.ts"
import * as Agents from "./agents.ts"
import type { Path } from "./document.ts"
import type { Finding } from "./problems.ts"
import { unknown } from "./problems.ts"
import type * as Schemas from "./schema.ts"

type Steps = ReadonlyArray<Schemas.Step>
/** The conversation of the agents in a step. */
type Talk = NonNullable<Schemas.Step["conversation"]>

/** A workflow whose data is whatever its steps make of it. */
export type Any = Workflow.Workflow<unknown, unknown, unknown, Llm.Llm>

const workflowsOf = ({ settings }: Agents.Source) => settings.workflows ?? {}

/** The lists of steps in a step, with their names, if they have any, and where they are. */
const listsIn = (step: Schemas.Step): ReadonlyArray<readonly [name: string | undefined, path: Path, steps: Steps]> => {
  switch (step.type) {
    case "branch":
      return [
        ...Object.entries(step.cases).map(([name, steps]) => [name, ["cases", name], steps] as const),
        ...(step.otherwise === undefined ? [] : [["otherwise", ["otherwise"], step.otherwise] as const])
      ]
    case "parallel":
      return Object.entries(step.steps).map(([name, steps]) => [name, ["steps", name], steps] as const)
    case "fallback":
      return step.attempts.map((steps, index) => [`attempt ${index + 1}`, ["attempts", index], steps] as const)
    case "map":
    case "loop":
    case "retry":
      return [[undefined, ["steps"], step.steps]]
    default:
      return []
  }
}

const nameOf = (step: Schemas.Step, index: number): string =>
  step.name
  ?? (step.type === "agent" ? step.agent : step.type === "workflow" ? step.workflow : `${step.type} ${index + 1}`)

/** All steps in a list, those inside others too, with where they are. */
const all = (steps: Steps, path: Path): ReadonlyArray<readonly [step: Schemas.Step, path: Path]> =>
  steps.flatMap((step, index) => {
    const at = [...path, index]
    return [[step, at] as const, ...listsIn(step).flatMap(([, within, inner]) => all(inner, [...at, ...within]))]
  })

/** What is wrong with the workflows. */
export const findings = (source: Agents.Source): ReadonlyArray<Finding> => {
  const workflows = workflowsOf(source)
  const agents = Object.keys(source.settings.agents ?? {})
  const found: Array<Finding> = []
  const wrong = (path: Path, message: string) => found.push({ path, at: "value", message })

  const checkList = (steps: Steps, path: Path) => {
    if (steps.length === 0) wrong(path, "has no steps")
    const names = steps.map(nameOf)
    for (const [index, name] of names.entries()) {
      if (names.indexOf(name) < index)
        wrong([...path, index], `there is a step '${name}' before: give it another 'name'`)
    }
  }
  for (const [name, { steps }] of Object.entries(workflows)) {
    const top = ["workflows", name, "steps"]
    checkList(steps, top)
    for (const [step, path] of all(steps, top)) {
      const lists = listsIn(step)
      for (const [, within, inner] of lists) checkList(inner, [...path, ...within])
      if (lists.length === 0 && (step.type === "branch" || step.type === "parallel")) wrong(path, "has no steps")
      if (step.type === "fallback" && lists.length < 2)
        wrong([...path, "attempts"], "needs at least two lists of steps")
      const router = step.type === "branch" && "agent" in step.on ? [step.on.agent] : []
      const names = [
        ...router,
        ...lists.map(([label = "", , inner]) => (inner.length === 1 && inner[0]!.name) || label)
      ]
      for (const name of new Set(names.filter((name, index) => names.indexOf(name) < index))) {
        wrong(path, `has two steps named '${name}': give one another name`)
      }
      const agent = step.type === "agent" ? step.agent : undefined
      if (agent !== undefined && !agents.includes(agent)) wrong([...path, "agent"], unknown("agent", agent, agents))
      if (step.type === "branch") {
        if ("field" in step.on && step.otherwise === undefined) {
          wrong(path, "a branch on a field needs steps 'otherwise', for values that have no case")
        }
        if ("agent" in step.on && !agents.includes(step.on.agent)) {
          wrong([...path, "on", "agent"], unknown("agent", step.on.agent, agents))
        }
        if (Object.hasOwn(step.cases, "otherwise")) wrong([...path, "cases", "otherwise"], "is a key beside 'cases'")
      }
      if (step.type === "workflow") {
        const others = Object.keys(workflows).filter((other) => other !== name)
        const at = [...path, "workflow"]
        if (!Object.hasOwn(workflows, step.workflow)) wrong(at, unknown("workflow", step.workflow, others))
        else if (reaches(source, step.workflow, name, new Set()))
          wrong(at, `'${step.workflow}' leads back to '${name}'`)
      }
    }
  }
  return found
}

const reaches = (source: Agents.Source, from: string, to: string, seen: Set<string>): boolean => {
  if (from === to) return true
  if (seen.has(from)) return false
  seen.add(from)
  return all(workflowsOf(source)[from]?.steps ?? [], []).some(
    ([step]) => step.type === "workflow" && reaches(source, step.workflow, to, seen)
  )
}

/** The agents that a workflow needs. */
export const agentsIn = (source: Agents.Source, name: string): ReadonlyArray<string> =>
  all(workflowsOf(source)[name]?.steps ?? [], []).flatMap(([step]) => {
    if (step.type === "agent") return [step.agent]
    if (step.type === "branch" && "agent" in step.on) return [step.on.agent]
    return step.type === "workflow" ? agentsIn(source, step.workflow) : []
  })

/** What a workflow looks like, which depends on no model. */
export const shape = (source: Agents.Source, name: string): StepShape => {
  const services = Context.make(
    Llm.Llm,
    Llm.make(() => Effect.never)
  )
  const ready = new Map(
    agentsIn(source, name).map((agent) => [agent, { agent: Agents.placeholder(agent), services }] as const)
  )
  return Workflow.shape(make(source, ready, name))
}

/** The services of agents together: handlers of one name are the same everywhere. */
export const servicesOf = (ready: Iterable<Agents.Ready>, services: Context.Context<Llm.Llm>) =>
  Array.from(ready).reduce((all, { services }) => Context.merge(all, services), services)

/** Makes a workflow of a configuration without findings. */
export const make = (source: Agents.Source, ready: ReadonlyMap<string, Agents.Ready>, name: string): Any => {
  const defaultConcurrency = source.settings.workflow?.max_concurrent

  /** A list as one step. Labels tell several lists apart, so a list of one step takes its label for a name. */
  const list = (name: string, steps: Steps, around: Talk): Any => {
    const [only] = steps
    return steps.length === 1 && only !== undefined ? one({ name, ...only }, 0, around) : compose(name, steps, around)
  }

  const compose = (name: string, steps: Steps, around: Talk): Any =>
    wrap(
      name,
      steps.map((step, index) => one(step, index, around)),
      around
    )

  // What a step takes is what the one before puts out: `unknown`, all of it. `make` would begin a conversation of its own.
  const wrap = (name: string, steps: ReadonlyArray<Any>, around: Talk): Any =>
    Workflow.withConversation(Workflow.make<unknown, unknown, Llm.Llm>(name, ...steps), around)

  /** The list inside a step that has only one. */
  const inner = (name: string, steps: Steps, around: Talk): Any =>
    steps.length === 1 ? one(steps[0]!, 0, around) : compose(name, steps, around)

  const one = (step: Schemas.Step, index: number, around: Talk): Any => {
    const name = nameOf(step, index)
    let made = kind(step, name, step.conversation ?? around)
    if (step.description !== undefined) made = Workflow.withDescription(made, step.description)
    return step.conversation === undefined ? made : Workflow.withConversation(made, step.conversation)
  }

  const kind = (step: Schemas.Step, name: string, talk: Talk): Any => {
    const lists = (): Record<string, Any> =>
      Object.fromEntries(listsIn(step).map(([label = "steps", , steps]) => [label, list(label, steps, talk)]))
    switch (step.type) {
      case "agent":
        return Workflow.agent(ready.get(step.agent)!.agent, { name, prompt: fill(step.prompt) })
      case "template":
        return Workflow.transform(name, fill(step.text))
      case "branch": {
        const { on } = step
        if ("field" in on) {
          const label = (input: unknown) => {
            const value = textOf(fieldOf(input, on.field))
            return Object.hasOwn(step.cases, value) ? value : "otherwise"
          }
          // Labels are known when the file is read.
          return Workflow.branch(name, label as () => never, lists()) as Any
        }
        const router = Agents.router(source, on.agent, Object.keys(lists()))
        const choose = Workflow.agent(router, { name: on.agent, prompt: fill(on.prompt) })
        // As above.
        return Workflow.route(name, choose as Workflow.Workflow<unknown, never, unknown, Llm.Llm>, lists()) as Any
      }
      case "parallel":
        return Workflow.parallel(name, lists(), { concurrency: step.concurrency ?? defaultConcurrency })
      case "map": {
        const each = Workflow.map(name, inner("each", step.steps, talk), {
          concurrency: step.concurrency ?? defaultConcurrency
        })
        const { field } = step
        const elements = Workflow.transform(`${name}: list`, (input: unknown) =>
          asList(field === undefined ? input : fieldOf(input, field))
        )
        // What is mapped is a list: `elements` makes one.
        return wrap(name, [elements, each as Any], talk)
      }
      case "loop": {
        const { max_iterations: maxIterations, until } = step
        const done = (output: unknown) =>
          "contains" in until
            ? textOf(output).includes(until.contains)
            : JSON.stringify(fieldOf(output, until.field)) === JSON.stringify(until.equals)
        return Workflow.loop(name, inner("again", step.steps, talk), { until: done, maxIterations })
      }
      case "retry":
        return Workflow.retry(name, inner("attempt", step.steps, talk), { times: step.times })
      case "fallback": {
        const [first, second, ...others] = Object.values(lists())
        return Workflow.fallback(name, first!, second!, ...(others as []))
      }
      case "workflow": {
        const other = make(source, ready, step.workflow)
        if (step.name === undefined) return other
        const own = step.conversation === undefined ? other : Workflow.withConversation(other, step.conversation)
        return wrap(name, [own], talk)
      }
    }
  }

  const { conversation, description, steps } = workflowsOf(source)[name]!
  const made = compose(name, steps, conversation ?? "isolated")
  return description === undefined ? made : Workflow.withDescription(made, description)
}

/** A text with what its places stand for. */
const fill =
  (template = "{{input}}") =>
  (input: unknown): string =>
    template.replace(/\{\{\s*input(?:\.([\w.-]+))?\s*\}\}/g, (_, field?: string) =>
      textOf(field === undefined ? input : fieldOf(input, field))
    )

const fieldOf = (value: unknown, path: string): unknown =>
  path
    .split(".")
    .reduce<unknown>(
      (value, key) =>
        Predicate.isObjectOrArray(value) && Object.hasOwn(value, key) ? Reflect.get(value, key) : undefined,
      value
    )

const textOf = (value: unknown): string =>
  typeof value === "string" ? value : value === undefined ? "" : JSON.stringify(value)

/** A list as it is, a text by its lines, anything else as its only element. */
const asList = (value: unknown): ReadonlyArray<unknown> => {
  if (Array.isArray(value)) return value
  if (typeof value === "string") return value.split("\n").filter((line) => line.trim() !== "")
  return value === undefined ? [] : [value]
}
