/**
 * A run as server-sent events: a browser reads them with `new EventSource("/answers?question=...")`, and closes that at
 * the last event, or it would connect and ask again. When it goes away, the run is interrupted, and with it the model's
 * request and the tools.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Agent from "effect-agent-runtime/Agent"
import { AgentEvent } from "effect-agent-runtime/AgentEvent"
import type { Llm } from "effect-agent-runtime/Llm"
import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Sse from "effect/encoding/Sse"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"

const poet = Agent.make("poet", { instructions: "Answer in one line." })

const toJson = Schema.encodeEffect(Schema.fromJsonString(Schema.toCodecJson(AgentEvent)))

/** The events of a run in the format of server-sent events; a failure is the last of them. */
const sse = (question: string) =>
  Agent.stream(poet, question).pipe(
    // `RunFailed` has told the browser already.
    Stream.catchTag("AgentError", () => Stream.empty),
    Stream.mapEffect((event) =>
      Effect.map(Effect.orDie(toJson(event)), (data) =>
        Sse.encoder.write({ _tag: "Event", event: event._tag, id: String(event.offset), data })
      )
    ),
    Stream.encodeText
  )

const Answers = HttpRouter.add(
  "GET",
  "/answers",
  Effect.gen(function* () {
    const { question } = yield* HttpServerRequest.schemaSearchParams(Schema.Struct({ question: Schema.String }))
    const context = yield* Effect.context<Llm>()
    return HttpServerResponse.stream(Stream.provideContext(sse(question), context), {
      contentType: "text/event-stream",
      headers: { "cache-control": "no-cache" }
    })
  })
)

const Server = HttpRouter.serve(Answers, { disableLogger: true, disableListenLog: true })

/** What a browser would do: it reads the events as they arrive. */
const browser = Effect.gen(function* () {
  const response = yield* HttpClient.get("/answers", { urlParams: { question: "What is the sea?" } })
  yield* Console.log(response.headers["content-type"])
  yield* response.stream.pipe(
    Stream.decodeText,
    Stream.pipeThroughChannel(Sse.decode()),
    Stream.runForEach(({ data, event }) =>
      event === "TextDelta" ? Console.log(event, JSON.parse(data).delta) : Console.log(event)
    )
  )
})

// An application has `NodeHttpServer.layer(createServer, { port: 3000 })` in place of `layerTest`, and `Layer.launch`.
const Application = Server.pipe(
  Layer.provideMerge(NodeHttpServer.layerTest),
  Layer.provide(ScriptedLlm.layer(["A blue question"]))
)

export const program = Effect.provide(browser, Application)

if (import.meta.main) NodeRuntime.runMain(program)
