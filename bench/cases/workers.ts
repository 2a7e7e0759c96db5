/**
 * Agents over all cores: a pool of worker threads, each an Effect runtime that runs its share of the agents. This file
 * is the program of the workers too.
 */
import { availableParallelism } from "node:os"
import { isMainThread, Worker } from "node:worker_threads"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeWorker from "@effect/platform-node/NodeWorker"
import * as NodeWorkerRunner from "@effect/platform-node/NodeWorkerRunner"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcClient from "effect/rpc/RpcClient"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as RpcServer from "effect/rpc/RpcServer"
import * as Schema from "effect/Schema"
import type { Case } from "../Case.ts"
import { expect } from "../Case.ts"
import { runPlain } from "./support.ts"

const Agents = RpcGroup.make(
  Rpc.make("runAgents", { payload: { count: Schema.Finite }, success: Schema.Array(Schema.String) })
)

/** Builds and runs agents without tools, all at the same time. */
const runAgents = (count: number) =>
  Effect.map(
    Effect.forEach(Array.from({ length: count }), (_, i) => runPlain(`Response from agent ${i}`, "Test input"), {
      concurrency: "unbounded"
    }),
    (results) => results.map(({ output }) => output)
  )

const server = RpcServer.layer(Agents).pipe(
  Layer.provide(Agents.toLayer({ runAgents: ({ count }) => Effect.orDie(runAgents(count)) })),
  Layer.provide(RpcServer.layerProtocolWorkerRunner),
  Layer.provide(NodeWorkerRunner.layer)
)

if (!isMainThread && process.argv.includes("agents")) NodeRuntime.runMain(Layer.launch(server))

const pool = (size: number) =>
  RpcClient.layerProtocolWorker({ size }).pipe(
    Layer.provide(NodeWorker.layer(() => new Worker(new URL(import.meta.url), { argv: ["agents"] })))
  )

export const workerThreads = (agents: number): Case => {
  const cores = availableParallelism()
  const share = Math.ceil(agents / cores)
  return {
    name: `worker_threads/${agents}`,
    describes: `${agents} agents without tools, built and run on a pool of one worker thread per core; see its wall time`,
    per: { unit: "agent", count: share * cores },
    ours: () => {
      const runtime = ManagedRuntime.make(pool(cores))
      const operation = Effect.scoped(
        Effect.flatMap(RpcClient.make(Agents), (client) =>
          Effect.forEach(Array.from({ length: cores }), () => client.runAgents({ count: share }), {
            concurrency: "unbounded"
          })
        )
      )
      return {
        kind: "effect",
        operation: () => Effect.flatMap(runtime.contextEffect, (context) => Effect.provideContext(operation, context)),
        check: (result) => {
          const outputs = (result as ReadonlyArray<ReadonlyArray<string>>).flat()
          return expect(
            `${share * cores} answers`,
            outputs.length === share * cores && outputs.every((output) => output.startsWith("Response from agent"))
          )
        },
        close: runtime.disposeEffect
      }
    }
  }
}
