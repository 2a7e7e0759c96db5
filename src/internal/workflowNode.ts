/**
 * A workflow as data: the tree of its steps, without their types, which `Workflow` has.
 */
import type * as Effect from "effect/Effect"
import type * as Schedule from "effect/Schedule"
import type { UserContent } from "../History.ts"
import { InvalidWorkflow } from "../WorkflowError.ts"
import type { StepShape, StepType } from "../WorkflowRun.ts"
import type { Definition } from "./run.ts"

/** From outputs to what records hold, and back. */
export interface Codec {
  readonly encode: (output: unknown) => Effect.Effect<unknown, { readonly message: string }>
  readonly decode: (encoded: unknown) => Effect.Effect<unknown, { readonly message: string }>
}

/** Which conversation the agents of a step have. */
export type Conversation =
  | { readonly kind: "isolated" }
  | { readonly kind: "shared" }
  | { readonly kind: "forked"; readonly merge: "append" | "discard" | Summarize }

/** An agent that makes a summary, and what it is asked. */
export interface Summarize {
  readonly agent: Definition
  readonly prompt: string
}

interface Common<Type extends StepType> {
  readonly type: Type
  readonly name: string
  readonly description: string | undefined
  /** That of the steps around it if absent. */
  readonly conversation: Conversation | undefined
}

export interface AgentNode extends Common<"agent"> {
  readonly prompt: (input: unknown) => UserContent | undefined
  readonly agent: Definition
}

export interface EffectNode extends Common<"effect"> {
  readonly f: (input: unknown) => Effect.Effect<unknown, unknown>
  readonly codec: Codec | undefined
}

export interface TransformNode extends Common<"transform"> {
  readonly f: (input: unknown) => unknown
  readonly codec: Codec | undefined
}

export interface BranchNode extends Common<"branch"> {
  readonly on: ((input: unknown) => string) | Node
  readonly cases: ReadonlyMap<string, Node>
}

export interface ParallelNode extends Common<"parallel"> {
  readonly steps: ReadonlyArray<readonly [label: string, step: Node]>
  readonly concurrency: number
}

export interface MapNode extends Common<"map"> {
  readonly step: Node
  readonly concurrency: number
}

export interface LoopNode extends Common<"loop"> {
  readonly step: Node
  readonly until: (output: unknown, iterations: number) => boolean
  readonly maxIterations: number
}

export interface RetryNode extends Common<"retry"> {
  readonly step: Node
  readonly times: number
  readonly schedule: Schedule.Schedule<unknown, unknown> | undefined
  readonly while: (error: unknown) => boolean
}

export interface FallbackNode extends Common<"fallback"> {
  readonly steps: ReadonlyArray<Node>
}

export interface RefineNode extends Common<"refine"> {
  readonly produce: Node
  readonly judge: Node
  readonly revise: (round: Round) => unknown
  readonly maxRounds: number
  readonly keepBest: boolean
}

export interface WorkflowNode extends Common<"workflow"> {
  readonly steps: ReadonlyArray<Node>
}

/** An answer that was not accepted. */
export interface Round {
  readonly input: unknown
  readonly output: unknown
  readonly verdict: Verdict
  /** Counted from 1. */
  readonly round: number
}

export interface Verdict {
  readonly accepted: boolean
  readonly feedback: string
  readonly score?: number | undefined
}

/** A step that does something itself, and not by other steps. */
export type Leaf = AgentNode | EffectNode | TransformNode

export type Node =
  | Leaf
  | BranchNode
  | ParallelNode
  | MapNode
  | LoopNode
  | RetryNode
  | FallbackNode
  | RefineNode
  | WorkflowNode

export const isLeaf = (node: Node): node is Leaf =>
  node.type === "agent" || node.type === "effect" || node.type === "transform"

/** Whether the steps in it run again and again, so that their place has one more number. */
export const isIterating = (node: Node): boolean =>
  node.type === "map" || node.type === "loop" || node.type === "retry" || node.type === "refine"

interface Child {
  readonly label: string | undefined
  readonly node: Node
}

export const children = (node: Node): ReadonlyArray<Child> => {
  switch (node.type) {
    case "agent":
    case "effect":
    case "transform":
      return []
    case "branch": {
      const cases = Array.from(node.cases, ([label, step]): Child => ({ label, node: step }))
      return typeof node.on === "function" ? cases : [{ label: undefined, node: node.on }, ...cases]
    }
    case "parallel":
      return node.steps.map(([label, step]) => ({ label, node: step }))
    case "map":
    case "loop":
    case "retry":
      return [{ label: undefined, node: node.step }]
    case "refine":
      return [node.produce, node.judge].map(unlabelled)
    case "fallback":
    case "workflow":
      return node.steps.map(unlabelled)
  }
}

const unlabelled = (node: Node): Child => ({ label: undefined, node })

export const shape = (node: Node): StepShape => ({
  name: node.name,
  type: node.type,
  description: node.description,
  steps: children(node).map((child) => ({ label: child.label, shape: shape(child.node) }))
})

/** Throws `InvalidWorkflow` when records of the step would be ambiguous, or a bound is none. */
export const checked = <N extends Node>(node: N): N => {
  invalidIf(node, node.name === "", "has no name")
  const names = new Set<string>()
  for (const { node: child } of children(node)) {
    invalidIf(node, names.has(child.name), `has two steps named '${child.name}'`)
    names.add(child.name)
  }
  switch (node.type) {
    case "branch":
      invalidIf(node, node.cases.size === 0, "has no cases")
      break
    case "parallel":
    case "map":
      invalidIf(node, !(node.concurrency >= 1), `has the concurrency ${node.concurrency}`)
      break
    case "loop":
      invalidIf(node, !(node.maxIterations >= 1), `has ${node.maxIterations} iterations`)
      break
    case "retry":
      invalidIf(node, !(node.times >= 0), `has ${node.times} retries`)
      break
    case "refine":
      invalidIf(node, !(node.maxRounds >= 1), `has ${node.maxRounds} rounds`)
      break
  }
  return node
}

const invalidIf = (node: Node, wrong: boolean, issue: string): void => {
  if (wrong) throw new InvalidWorkflow({ step: node.name, issue })
}
