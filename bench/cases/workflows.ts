/** What a workflow adds to the work of its steps: beside it the steps called in a loop that keeps the same records. */
import * as EventHub from "effect-agent-runtime/EventHub"
import * as Workflow from "effect-agent-runtime/Workflow"
import type { StepRecord } from "effect-agent-runtime/WorkflowRun"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import type { Case, Check, Variant } from "../Case.ts"
import { expect } from "../Case.ts"

const add = (n: number): number => n + 1

const reached =
  (count: number): Check =>
  (result) => {
    const { output, run } = result as Workflow.WorkflowResult<number>
    return expect(`${count} and as many records`, output === count && run.steps.length === count)
  }

const workflowOf = (steps: ReadonlyArray<Workflow.Workflow<number, number>>): Workflow.Workflow<number, number> =>
  Workflow.make("count", ...steps)

/** Steps that compute. */
const transforms = (count: number): Workflow.Workflow<number, number> =>
  workflowOf(Array.from({ length: count }, (_, i) => Workflow.transform(`add${i}`, add)))

/** Steps that wait. */
const effects = (count: number): Workflow.Workflow<number, number> =>
  workflowOf(
    Array.from({ length: count }, (_, i) =>
      Workflow.effect(`add${i}`, (n: number) => Effect.as(Effect.yieldNow, n + 1))
    )
  )

const running = (workflow: Workflow.Workflow<number, number>, count: number): Variant => ({
  kind: "effect",
  operation: () => Workflow.run(workflow, 0),
  check: reached(count)
})

const floorOf = (count: number, wait: boolean) => (): Variant => ({
  kind: "promise",
  operation: async () => {
    const steps: Array<StepRecord> = []
    let output = 0
    for (let index = 0; index < count; index++) {
      const name = `add${index}`
      const startedAt = Date.now()
      const input = output
      if (wait) await new Promise((resolve) => setImmediate(resolve))
      output = await Promise.resolve(add(input))
      const path = ["count", name]
      const durationMillis = Date.now() - startedAt
      const record = { index, name, type: "transform", path, iterations: [], status: "completed" } as const
      steps.push({ ...record, input, output, startedAt, durationMillis })
    }
    return { output, run: { steps } }
  },
  check: reached(count)
})

const steps = (count: number): Case => ({
  name: `workflow_steps/${count}`,
  describes: `a workflow of ${count} steps that compute, recorded`,
  per: { unit: "step", count },
  ours: () => running(transforms(count), count),
  floor: floorOf(count, false)
})

const waitingSteps = (count: number): Case => ({
  name: `workflow_effects/${count}`,
  describes: `a workflow of ${count} steps that wait for their turn, each in a fiber of its own, recorded`,
  per: { unit: "step", count },
  ours: () => running(effects(count), count),
  floor: floorOf(count, true)
})

const watchedSteps = (count: number): Case => ({
  name: `workflow_watched/${count}`,
  describes: `the workflow of ${count} steps that compute with a hub in the context; beside it without one`,
  per: { unit: "step", count },
  ours: () => {
    const workflow = transforms(count)
    const hub = Effect.runSync(Scope.provide(EventHub.make(), Scope.makeUnsafe()))
    return {
      kind: "effect",
      operation: () => Effect.provideService(Workflow.run(workflow, 0), EventHub.EventHub, hub),
      check: reached(count)
    }
  },
  floor: () => running(transforms(count), count)
})

const mapped = (count: number): Case => {
  const workflow = Workflow.map("all", Workflow.transform("add", add))
  const input = Array.from({ length: count }, (_, i) => i)
  return {
    name: `workflow_map/${count}`,
    describes: `a step mapped over ${count} elements, 8 at a time, recorded`,
    per: { unit: "step", count },
    ours: () => ({
      kind: "effect",
      operation: () => Workflow.run(workflow, input),
      check: (result) => {
        const { output } = result as Workflow.WorkflowResult<ReadonlyArray<number>>
        return expect(`${count} outputs`, output.length === count && output[count - 1] === count)
      }
    })
  }
}

export const workflows: ReadonlyArray<Case> = [
  ...[10, 1000].flatMap((count) => [steps(count), waitingSteps(count), watchedSteps(count)]),
  mapped(1000)
]
