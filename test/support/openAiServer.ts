/**
 * A model server on the loopback interface that answers by script, and remembers what it was asked. It lives as long
 * as its scope and closes every connection with it.
 */
import * as Http from "node:http"
import type { AddressInfo } from "node:net"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"

/** What the server does with one request. */
export interface Reply {
  readonly status?: number
  /** Default: JSON for a body of one piece, server-sent events for one of several. */
  readonly headers?: Readonly<Record<string, string>>
  /** Each piece is written on its own. */
  readonly body?: string | ReadonlyArray<string | Uint8Array>
  /** What comes after the body. `"silence"` sends nothing at all, not even headers. Default: `"end"`. */
  readonly ending?: "end" | "hang" | "destroy" | "silence"
}

/** A request as it arrived. */
export interface Received {
  readonly method: string | undefined
  readonly path: string | undefined
  readonly headers: Http.IncomingHttpHeaders
  readonly body: unknown
  /** Done when the client closes the connection before the response has ended. */
  readonly closedEarly: Deferred.Deferred<void>
}

export interface OpenAiServer {
  /** The root, without a trailing slash. */
  readonly url: string
  /** All requests so far. */
  readonly requests: ReadonlyArray<Received>
  /** Waits for the next request. */
  readonly next: Effect.Effect<Received>
  /** How many TCP connections have been made. */
  readonly connections: () => number
}

const maxRequestBytes = 4 * 1024 * 1024

/** Answers the requests with the replies in turn, and with the last one ever after. */
export const make = Effect.fnUntraced(function* (
  ...replies: ReadonlyArray<Reply | ((request: Received) => Reply)>
): Effect.fn.Return<OpenAiServer, never, Scope.Scope> {
  const requests: Array<Received> = []
  const arrivals = yield* Queue.unbounded<Received>()

  const server = Http.createServer((incoming, outgoing) => {
    const chunks: Array<Buffer> = []
    let size = 0
    incoming.on("data", (chunk: Buffer) => {
      size += chunk.length
      if (size > maxRequestBytes) incoming.destroy()
      chunks.push(chunk)
    })
    incoming.on("end", () => {
      const closedEarly = Deferred.makeUnsafe<void>()
      outgoing.on("close", () => {
        if (!outgoing.writableFinished) Deferred.doneUnsafe(closedEarly, Effect.void)
      })
      const received: Received = {
        method: incoming.method,
        path: incoming.url,
        headers: incoming.headers,
        body: JSON.parse(Buffer.concat(chunks).toString("utf8")),
        closedEarly
      }
      requests.push(received)
      Queue.offerUnsafe(arrivals, received)
      const reply = replies[Math.min(requests.length, replies.length) - 1] ?? {}
      void answer(typeof reply === "function" ? reply(received) : reply, outgoing)
    })
  })
  server.maxConnections = 64
  let connections = 0
  server.on("connection", () => connections++)

  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => {
      server.listen(0, "127.0.0.1", () => resume(Effect.void))
    }),
    () =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        server.closeAllConnections()
      })
  )
  // A TCP server has an address object.
  const { port } = server.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}`, requests, next: Queue.take(arrivals), connections: () => connections }
})

const answer = async (reply: Reply, outgoing: Http.ServerResponse): Promise<void> => {
  const { body = [], ending = "end" } = reply
  if (ending === "silence") return
  const type = typeof body === "string" ? "application/json" : "text/event-stream"
  outgoing.writeHead(reply.status ?? 200, { "content-type": type, ...reply.headers })
  outgoing.flushHeaders()
  for (const piece of typeof body === "string" ? [body] : body) {
    await new Promise<void>((resolve) => {
      outgoing.write(piece, () => setImmediate(resolve))
    })
    if (outgoing.destroyed) return
  }
  if (ending === "end") outgoing.end()
  if (ending === "destroy") outgoing.destroy()
}
