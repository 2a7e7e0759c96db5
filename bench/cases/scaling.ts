/** How cost grows: the same run with ever more turns. */
import * as StopCondition from "effect-agent-runtime/StopCondition"
import type { Case } from "../Case.ts"
import { call, floorAgent, floorCall, floorRun, floorTool, prepared, ran, runPrepared } from "./support.ts"

export const turns = (count: number): Case => ({
  name: `turns/${count}`,
  describes: `a run of ${count} tool turns, one call each, all different`,
  per: { unit: "turn", count },
  ours: () => {
    const agent = prepared(StopCondition.maxTurns(count + 1))
    const script = [...Array.from({ length: count }, (_, i) => call(i, 1)), "done"]
    return {
      kind: "effect",
      operation: () => runPrepared(agent, script, "go"),
      check: ran("done", count)
    }
  },
  floor: () => {
    const script = [...Array.from({ length: count }, (_, i) => floorCall(i, 1)), "done"]
    const agent = floorAgent([floorTool()], count + 1)
    return {
      kind: "promise",
      operation: () => floorRun(script, "go", agent),
      check: ran("done", count)
    }
  }
})

export const scaling: ReadonlyArray<Case> = [10, 100, 1000, 10_000].map(turns)
