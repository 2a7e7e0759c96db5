import * as Agent from "effect-agent-runtime/Agent"
import type { AgentError } from "effect-agent-runtime/AgentError"
import type { AgentEvent } from "effect-agent-runtime/AgentEvent"
import type { Llm } from "effect-agent-runtime/Llm"
import * as Session from "effect-agent-runtime/Session"
import * as FileSession from "effect-agent-runtime/session/FileSession"
import * as SqlSession from "effect-agent-runtime/session/SqlSession"
import type { SessionError } from "effect-agent-runtime/SessionError"
import type * as AiError from "effect/ai/AiError"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import type * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import type * as Layer from "effect/Layer"
import type * as Path from "effect/Path"
import * as Schema from "effect/Schema"
import type * as SqlClient from "effect/sql/SqlClient"
import type * as Stream from "effect/Stream"
import { describe, expectTypeOf, it } from "vitest"

class Broken extends Schema.TaggedError<Broken>()("Broken", {}) {}

const agent = Agent.make("agent", {
  toolkit: Toolkit.make(Tool.make("raises", { failure: Broken })),
  output: Schema.Struct({ at: Schema.Date })
})
const input = { id: "a", prompt: "Hi" }

describe("a run in a session", () => {
  it("has the output, failures and services of the agent's, and those of the session", () => {
    expectTypeOf(Session.run(agent, input)).toEqualTypeOf<
      Effect.Effect<
        Agent.AgentResult<{ readonly at: Date }>,
        AgentError | SessionError | Broken | AiError.AiError,
        Llm | Session.Session | Tool.Handler<"raises">
      >
    >()
    expectTypeOf(Session.stream(agent, input)).toEqualTypeOf<
      Stream.Stream<
        AgentEvent,
        AgentError | SessionError | Broken | AiError.AiError,
        Llm | Session.Session | Tool.Handler<"raises">
      >
    >()
  })
})

describe("the layers", () => {
  it("need what they keep sessions in", () => {
    expectTypeOf(Session.layerMemory()).toEqualTypeOf<Layer.Layer<Session.Session>>()
    expectTypeOf(FileSession.layer({ directory: "." })).toEqualTypeOf<
      Layer.Layer<Session.Session, SessionError, FileSystem.FileSystem | Path.Path>
    >()
    expectTypeOf(SqlSession.layer()).toEqualTypeOf<Layer.Layer<Session.Session, SessionError, SqlClient.SqlClient>>()
  })
})
