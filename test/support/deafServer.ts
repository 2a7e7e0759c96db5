/**
 * A server whose queue of connections is full: who connects to it waits for ever. The kernel completes handshakes by
 * itself up to the length of the queue, so a thread listens, is kept from accepting, and the queue is filled.
 */
import { connect } from "node:net"
import { Worker } from "node:worker_threads"
import * as Effect from "effect/Effect"

const source = `
  const { parentPort } = require("node:worker_threads")
  const server = require("node:net").createServer().listen({ port: 0, host: "127.0.0.1", backlog: 1 }, () => {
    parentPort.postMessage(server.address().port)
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
  })
`

/** The address of the server, which is there until the scope closes. */
export const make = Effect.gen(function* () {
  const worker = yield* Effect.acquireRelease(
    Effect.sync(() => new Worker(source, { eval: true })),
    (worker) => Effect.promise(() => worker.terminate())
  )
  const port = yield* Effect.promise(() => new Promise<number>((resolve) => worker.once("message", resolve)))
  yield* Effect.acquireRelease(
    Effect.sync(() => Array.from({ length: 8 }, () => connect(port, "127.0.0.1").on("error", () => {}))),
    (sockets) => Effect.sync(() => sockets.forEach((socket) => socket.destroy()))
  )
  return `http://127.0.0.1:${port}`
})
