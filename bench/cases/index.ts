import type { Case } from "../Case.ts"
import { original } from "./original.ts"
import { parts } from "./parts.ts"
import { scaling, turns } from "./scaling.ts"
import { manyAgents, variants } from "./variants.ts"
import { workerThreads } from "./workers.ts"
import { workflows } from "./workflows.ts"

/** The suite. */
export const cases: ReadonlyArray<Case> = [...original, ...scaling, ...variants, ...workflows, workerThreads(10_000)]

/** All cases that have a name. */
export const named: ReadonlyArray<Case> = [...cases, ...parts]

export const agentsName = (agents: string, concurrency: string, millis: string): string =>
  `agents/${agents}_${concurrency === "unbounded" ? concurrency : `by_${concurrency}`}_${millis}ms`

export const turnsName = (count: string): string => `turns/${count}`

/** The case of a name; those of agents and turns exist for any numbers. */
export const find = (name: string): Case | undefined => {
  const known = named.find((candidate) => candidate.name === name)
  if (known !== undefined) return known
  const [, count] = /^turns\/([1-9]\d*)$/.exec(name) ?? []
  if (count !== undefined) return turns(Number(count))
  const [, agents, by, millis] = /^agents\/([1-9]\d*)_(?:unbounded|by_([1-9]\d*))_(\d+)ms$/.exec(name) ?? []
  if (agents === undefined) return undefined
  return manyAgents(Number(agents), by === undefined ? "unbounded" : Number(by), Number(millis))
}
