/**
 * A recorded run as a tree that a resumed run looks its steps up in.
 */
import * as Result from "effect/Result"
import { RecordMismatch } from "../WorkflowError.ts"
import type { StepRecord, WorkflowRun } from "../WorkflowRun.ts"
import type { Node } from "./workflowNode.ts"
import { children, isIterating } from "./workflowNode.ts"

/** A step that was recorded, and those in it. */
export interface Past {
  /** Absent for the workflow itself. */
  readonly record: StepRecord | undefined
  readonly steps: Map<string, Past>
}

/** What a step is called among those of the step around it: by its name, and by which time it was if that repeats it. */
export const key = (name: string, iteration: number | undefined): string =>
  iteration === undefined ? name : `${iteration}:${name}`

/** The tree of a record, if it is one of this workflow. */
export const read = (root: Node, run: WorkflowRun): Result.Result<Past, RecordMismatch> => {
  if (run.workflow !== root.name) return mismatch([run.workflow], `the workflow is named '${root.name}'`)
  const past: Past = { record: undefined, steps: new Map() }
  const known = new Map<Node, ReadonlyMap<string, Node>>()
  const childOf = (node: Node, name: string): Node | undefined => {
    let byName = known.get(node)
    if (byName === undefined) {
      byName = new Map(children(node).map((child) => [child.node.name, child.node]))
      known.set(node, byName)
    }
    return byName.get(name)
  }
  for (const record of run.steps) {
    const issue = insert(root, past, record, childOf)
    if (issue !== undefined) return mismatch(record.path, issue)
  }
  return Result.succeed(past)
}

const mismatch = (path: ReadonlyArray<string>, issue: string) => Result.fail(new RecordMismatch({ path, issue }))

/** Puts a record where it belongs; returns why it cannot be there. */
const insert = (
  root: Node,
  past: Past,
  record: StepRecord,
  childOf: (node: Node, name: string) => Node | undefined
): string | undefined => {
  const { iterations, path } = record
  if (path[0] !== root.name) return `the workflow is named '${root.name}'`
  // A workflow has no record of its own: the run is. Any other step that is run as one has.
  let node = root
  let place = past
  let used = 0
  let depth = 1
  if (root.type !== "workflow") {
    if (path.length === 1) return settle(root, place, key(root.name, undefined), record, iterations.length)
    const own = place.steps.get(root.name)
    if (own === undefined) return "the step around it has no record"
    place = own
  }
  for (; depth < path.length; depth++) {
    const name = path[depth]!
    const child = childOf(node, name)
    if (child === undefined) return `there is no step '${name}'`
    const taken = place.record?.branch
    if (node.type === "branch" && taken !== undefined && child !== node.on && child !== node.cases.get(taken)) {
      return `it is not the case '${taken}', which was taken`
    }
    const iteration = isIterating(node) ? iterations[used++] : undefined
    if (isIterating(node) && iteration === undefined) return "it does not say which iteration it was"
    const at = key(name, iteration)
    if (depth === path.length - 1) return settle(child, place, at, record, iterations.length - used)
    const next = place.steps.get(at)
    if (next === undefined) return "the step around it has no record"
    node = child
    place = next
  }
  return "it is the workflow itself"
}

const settle = (node: Node, place: Past, at: string, record: StepRecord, unused: number): string | undefined => {
  if (record.type !== node.type) return `the step is of type '${node.type}', not '${record.type}'`
  const { branch } = record
  if (branch !== undefined && !(node.type === "branch" && node.cases.has(branch))) return `there is no case '${branch}'`
  if (unused !== 0) return "it was in more iterations than there are"
  if (place.steps.has(at)) return "it is recorded twice"
  place.steps.set(at, { record, steps: new Map() })
  return undefined
}
