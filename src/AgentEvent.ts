/**
 * Everything that can be observed about a run, as one tagged union with Schemas.
 *
 * The events of a run are totally ordered with contiguous offsets, and they are the run: its state is a fold of
 * them (`Agent.fold`). Names are facts in the past participle; pieces of something end in `Delta`.
 *
 * **Grammar of a run**
 *
 * ```text
 * run        = RunStarted (ChildRunEnded* turn)* (RunCompleted | RunFailed | RunInterrupted)
 * turn       = TurnStarted pruning? ModelCallStarted delta* (ModelCallFailed pruning ModelCallStarted delta*)*
 *              (ModelCallCompleted (tool-call* TurnCompleted | OutputRejected? TurnCompleted)
 *              | ModelCallFailed | ModelCallInterrupted)
 * pruning    = ChildRunEnded* ContextPruned
 * delta      = TextDelta | ReasoningDelta | ToolParamsDelta | ModelCallRetried
 * tool-call  = ToolCallStarted (ToolCallProgressed | ChildRunEnded)*
 *              (ToolCallCompleted | ToolCallFailed | ToolCallInterrupted)
 *              | LoopDetected | ToolCallInterrupted
 * ```
 *
 * Tool calls of one turn interleave. A run that fails or is interrupted during a turn ends every call of it, those
 * that never started too, and leaves out `TurnCompleted`; it may end before its model call, and within `pruning`. Events of sub-agents carry their own `runId` and the parent's `parentRunId`.
 *
 * @since 0.1.0
 */
import * as Prompt from "effect/ai/Prompt"
import * as Response from "effect/ai/Response"
import * as Schema from "effect/Schema"
import { History } from "./History.ts"
import { Tokens, Usage } from "./Usage.ts"

/** What every event carries. */
const envelope = {
  /** The run that the event belongs to. */
  runId: Schema.String,
  /** The run whose tool call started this run, for sub-agents. */
  parentRunId: Schema.optional(Schema.String),
  /** The run at the top of the tree, for sub-agents at any depth. */
  rootRunId: Schema.optional(Schema.String),
  /** The name of the agent. */
  agent: Schema.String,
  /** Position in the run: 0, 1, 2, … without gaps. */
  offset: Schema.Finite,
  /** Milliseconds since the epoch, from the run's `Clock`. */
  timestamp: Schema.Finite
}

/** What every event of a turn carries. */
const turn = {
  ...envelope,
  /** Counts the model calls of the run from 1. */
  turn: Schema.Finite
}

/** What every event of a tool call carries. */
const toolCall = {
  ...turn,
  /** The id of the call, unique within the run. */
  id: Schema.String,
  /** The tool that the model named, which need not exist. */
  name: Schema.String
}

/**
 * A run began. `history` is the conversation with the new user message.
 *
 * @category models
 * @since 0.1.0
 */
export const RunStarted = Schema.TaggedStruct("RunStarted", { ...envelope, history: History })
export type RunStarted = typeof RunStarted.Type

/**
 * A turn began: one model call and the tool calls it asks for.
 *
 * @category models
 * @since 0.1.0
 */
export const TurnStarted = Schema.TaggedStruct("TurnStarted", turn)
export type TurnStarted = typeof TurnStarted.Type

/** How long what is sent is, by the estimate of the `TokenEstimator`. */
const Extent = Schema.Struct({
  messages: Schema.Finite,
  /** Tokens of messages, instructions and tools. */
  tokens: Schema.Finite
})

/**
 * The `contextWindow` made what is sent shorter. The history of the run has all of it still.
 *
 * @category models
 * @since 0.1.0
 */
export const ContextPruned = Schema.TaggedStruct("ContextPruned", {
  ...turn,
  /** The name of the window. */
  window: Schema.String,
  /**
   * Why: the window found the conversation too long (`threshold`), the provider refused it (`overflow`), or the run goes
   * on with what an earlier run of the conversation has sent (`continuation`).
   */
  trigger: Schema.Literals(["threshold", "overflow", "continuation"]),
  before: Extent,
  after: Extent,
  /** What it has cost: the model calls of a summary. */
  usage: Usage
})
export type ContextPruned = typeof ContextPruned.Type

/**
 * The request goes out. `messages` counts the messages in it, `tools` names the tools offered.
 *
 * @category models
 * @since 0.1.0
 */
export const ModelCallStarted = Schema.TaggedStruct("ModelCallStarted", {
  ...turn,
  messages: Schema.Finite,
  tools: Schema.Array(Schema.String)
})
export type ModelCallStarted = typeof ModelCallStarted.Type

/**
 * A piece of the model's text.
 *
 * @category models
 * @since 0.1.0
 */
export const TextDelta = Schema.TaggedStruct("TextDelta", { ...turn, delta: Schema.String })
export type TextDelta = typeof TextDelta.Type

/**
 * A piece of the model's reasoning.
 *
 * @category models
 * @since 0.1.0
 */
export const ReasoningDelta = Schema.TaggedStruct("ReasoningDelta", { ...turn, delta: Schema.String })
export type ReasoningDelta = typeof ReasoningDelta.Type

/**
 * A piece of the JSON text of a tool call's arguments.
 *
 * @category models
 * @since 0.1.0
 */
export const ToolParamsDelta = Schema.TaggedStruct("ToolParamsDelta", { ...toolCall, delta: Schema.String })
export type ToolParamsDelta = typeof ToolParamsDelta.Type

/**
 * An attempt to call the model failed and another follows, by a retry or with another model: the deltas of the turn so
 * far count no more.
 *
 * @category models
 * @since 0.1.0
 */
export const ModelCallRetried = Schema.TaggedStruct("ModelCallRetried", {
  ...turn,
  /** The tag of the `AiError` reason that the attempt failed with. */
  reason: Schema.String,
  message: Schema.String,
  /** How long the next attempt waits. */
  delayMillis: Schema.Finite,
  /** What answers next, if it is not the same model again. */
  model: Schema.optional(Schema.String)
})
export type ModelCallRetried = typeof ModelCallRetried.Type

/**
 * The model answered. `durationMillis` is 0 for unobserved runs.
 *
 * @category models
 * @since 0.1.0
 */
export const ModelCallCompleted = Schema.TaggedStruct("ModelCallCompleted", {
  ...turn,
  content: Schema.Array(Schema.toEncoded(Prompt.AssistantMessagePart)),
  finishReason: Response.FinishReason,
  /** Tokens of this call alone. */
  tokens: Tokens,
  model: Schema.optional(Schema.String),
  /** What the call cost by the `Prices` of the run, in billionths of a US dollar. */
  costNanoUsd: Schema.Finite,
  durationMillis: Schema.Finite
})
export type ModelCallCompleted = typeof ModelCallCompleted.Type

/**
 * The model call failed: the tag of the `AiError` reason and its message.
 *
 * @category models
 * @since 0.1.0
 */
export const ModelCallFailed = Schema.TaggedStruct("ModelCallFailed", {
  ...turn,
  reason: Schema.String,
  message: Schema.String
})
export type ModelCallFailed = typeof ModelCallFailed.Type

/**
 * The run was interrupted, or its budget of time was over, during a model call; the request was aborted.
 *
 * @category models
 * @since 0.1.0
 */
export const ModelCallInterrupted = Schema.TaggedStruct("ModelCallInterrupted", turn)
export type ModelCallInterrupted = typeof ModelCallInterrupted.Type

/**
 * A tool is about to run. `params` are the arguments as the model sent them.
 *
 * @category models
 * @since 0.1.0
 */
export const ToolCallStarted = Schema.TaggedStruct("ToolCallStarted", { ...toolCall, params: Schema.Unknown })
export type ToolCallStarted = typeof ToolCallStarted.Type

/**
 * A tool reported a preliminary result.
 *
 * @category models
 * @since 0.1.0
 */
export const ToolCallProgressed = Schema.TaggedStruct("ToolCallProgressed", { ...toolCall, result: Schema.Unknown })
export type ToolCallProgressed = typeof ToolCallProgressed.Type

/**
 * A tool succeeded. `result` is what the model is told.
 *
 * @category models
 * @since 0.1.0
 */
export const ToolCallCompleted = Schema.TaggedStruct("ToolCallCompleted", {
  ...toolCall,
  result: Schema.Unknown,
  modelOutput: Schema.optional(Schema.Array(Schema.toEncoded(Prompt.ToolModelOutputPart))),
  durationMillis: Schema.Finite
})
export type ToolCallCompleted = typeof ToolCallCompleted.Type

/**
 * Why a tool call failed.
 *
 * - `unknown-tool`: the agent has no such tool.
 * - `invalid-params`: arguments that are not JSON, do not match the schema, or are unsafe to take.
 * - `over-budget`: a `Budget` has no tool call left. The tool was not run.
 * - `failure`: the handler failed.
 * - `timeout`: the handler took longer than `Toolbox.Timeout`.
 * - `defect`: the handler died, or its result does not match its schema. `detail` says how; the model is not told.
 *
 * @category models
 * @since 0.1.0
 */
export const ToolFailureKind = Schema.Literals([
  "unknown-tool",
  "invalid-params",
  "over-budget",
  "failure",
  "timeout",
  "defect"
])
export type ToolFailureKind = typeof ToolFailureKind.Type

/**
 * A tool call failed. `result` is what the model is told.
 *
 * @category models
 * @since 0.1.0
 */
export const ToolCallFailed = Schema.TaggedStruct("ToolCallFailed", {
  ...toolCall,
  kind: ToolFailureKind,
  result: Schema.Unknown,
  detail: Schema.optional(Schema.String),
  durationMillis: Schema.Finite
})
export type ToolCallFailed = typeof ToolCallFailed.Type

/**
 * The run ended while the tool was running; the tool was interrupted.
 *
 * @category models
 * @since 0.1.0
 */
export const ToolCallInterrupted = Schema.TaggedStruct("ToolCallInterrupted", toolCall)
export type ToolCallInterrupted = typeof ToolCallInterrupted.Type

/**
 * A run that this run started has ended: one of a sub-agent, or one that writes a summary. Its usage counts in this run's.
 *
 * @category models
 * @since 0.1.0
 */
export const ChildRunEnded = Schema.TaggedStruct("ChildRunEnded", {
  ...envelope,
  childRunId: Schema.String,
  childAgent: Schema.String,
  usage: Usage
})
export type ChildRunEnded = typeof ChildRunEnded.Type

/**
 * The loop detector answered a call in place of the tool: with the previous result (`replay`), a refusal
 * (`refuse`), or by stopping the run (`stop`). `message` is what the model is told.
 *
 * @category models
 * @since 0.1.0
 */
export const LoopDetected = Schema.TaggedStruct("LoopDetected", {
  ...toolCall,
  params: Schema.Unknown,
  verdict: Schema.Literals(["replay", "refuse", "stop"]),
  kind: Schema.Literals(["repeat", "failing", "same-error"]),
  message: Schema.String,
  /** The answer counts as a failed result: everything but a result that is given again. */
  isFailure: Schema.Boolean
})
export type LoopDetected = typeof LoopDetected.Type

/**
 * The final answer did not match the agent's `output` schema. `feedback` went back to the model.
 *
 * @category models
 * @since 0.1.0
 */
export const OutputRejected = Schema.TaggedStruct("OutputRejected", {
  ...turn,
  issue: Schema.String,
  feedback: Schema.String
})
export type OutputRejected = typeof OutputRejected.Type

/**
 * A turn ended: its tool calls are answered, or there were none.
 *
 * @category models
 * @since 0.1.0
 */
export const TurnCompleted = Schema.TaggedStruct("TurnCompleted", turn)
export type TurnCompleted = typeof TurnCompleted.Type

/**
 * The run succeeded. `usage` includes sub-agents; `output` is the answer: JSON if the agent has an
 * `output` schema, otherwise the text.
 *
 * @category models
 * @since 0.1.0
 */
export const RunCompleted = Schema.TaggedStruct("RunCompleted", {
  ...envelope,
  text: Schema.String,
  output: Schema.Unknown,
  usage: Usage,
  turns: Schema.Finite,
  durationMillis: Schema.Finite
})
export type RunCompleted = typeof RunCompleted.Type

/**
 * The run failed: the tag of the reason (of `AgentError`, or the tool's failure) and its message.
 *
 * @category models
 * @since 0.1.0
 */
export const RunFailed = Schema.TaggedStruct("RunFailed", {
  ...envelope,
  reason: Schema.String,
  message: Schema.String,
  usage: Usage,
  turns: Schema.Finite,
  durationMillis: Schema.Finite
})
export type RunFailed = typeof RunFailed.Type

/**
 * The run was interrupted. Every call of its last turn has an answer, `interrupted` for those cut short.
 *
 * @category models
 * @since 0.1.0
 */
export const RunInterrupted = Schema.TaggedStruct("RunInterrupted", {
  ...envelope,
  usage: Usage,
  turns: Schema.Finite,
  durationMillis: Schema.Finite
})
export type RunInterrupted = typeof RunInterrupted.Type

/**
 * Schema of all events. `Schema.toCodecJson(AgentEvent)` writes and reads logs.
 *
 * @category schemas
 * @since 0.1.0
 */
export const AgentEvent = Schema.Union([
  RunStarted,
  TurnStarted,
  ContextPruned,
  ModelCallStarted,
  TextDelta,
  ReasoningDelta,
  ToolParamsDelta,
  ModelCallRetried,
  ModelCallCompleted,
  ModelCallFailed,
  ModelCallInterrupted,
  ToolCallStarted,
  ToolCallProgressed,
  ToolCallCompleted,
  ToolCallFailed,
  ToolCallInterrupted,
  ChildRunEnded,
  LoopDetected,
  OutputRejected,
  TurnCompleted,
  RunCompleted,
  RunFailed,
  RunInterrupted
])

/**
 * An event of a run.
 *
 * @category models
 * @since 0.1.0
 */
export type AgentEvent = typeof AgentEvent.Type

/**
 * What an event is about.
 *
 * @category grammar
 * @since 0.1.0
 */
export type Scope = "agent" | "llm_request" | "tool" | "system"

/**
 * What happened to it.
 *
 * @category grammar
 * @since 0.1.0
 */
export type Type = "started" | "progress" | "completed" | "failed" | "canceled"

/**
 * The state it is in afterwards.
 *
 * @category grammar
 * @since 0.1.0
 */
export type Status = "running" | "completed" | "failed" | "canceled"

const grammar: { readonly [Tag in AgentEvent["_tag"]]: readonly [Scope, Type] } = {
  RunStarted: ["agent", "started"],
  TurnStarted: ["agent", "progress"],
  ContextPruned: ["system", "progress"],
  ModelCallStarted: ["llm_request", "started"],
  TextDelta: ["llm_request", "progress"],
  ReasoningDelta: ["llm_request", "progress"],
  ToolParamsDelta: ["llm_request", "progress"],
  ModelCallRetried: ["llm_request", "progress"],
  ModelCallCompleted: ["llm_request", "completed"],
  ModelCallFailed: ["llm_request", "failed"],
  ModelCallInterrupted: ["llm_request", "canceled"],
  ToolCallStarted: ["tool", "started"],
  ToolCallProgressed: ["tool", "progress"],
  ToolCallCompleted: ["tool", "completed"],
  ToolCallFailed: ["tool", "failed"],
  ToolCallInterrupted: ["tool", "canceled"],
  ChildRunEnded: ["agent", "progress"],
  LoopDetected: ["system", "progress"],
  OutputRejected: ["agent", "progress"],
  TurnCompleted: ["agent", "progress"],
  RunCompleted: ["agent", "completed"],
  RunFailed: ["agent", "failed"],
  RunInterrupted: ["agent", "canceled"]
}

/**
 * The scope of an event in the grammar of the original `agent-runtime`.
 *
 * @category grammar
 * @since 0.1.0
 */
export const scope = (event: AgentEvent): Scope => grammar[event._tag][0]

/**
 * The type of an event in the grammar of the original.
 *
 * @category grammar
 * @since 0.1.0
 */
export const type = (event: AgentEvent): Type => grammar[event._tag][1]

/**
 * The status that an event leads to, in the grammar of the original.
 *
 * @category grammar
 * @since 0.1.0
 */
export const status = (event: AgentEvent): Status => {
  const kind = type(event)
  return kind === "started" || kind === "progress" ? "running" : kind
}

/**
 * What the event is about, in the grammar of the original: `<agent>` for a run, `<agent>:llm:<turn>` for a model
 * call, `<tool>:<call id>` for a tool call (the original had the bare tool name, which cannot tell concurrent
 * calls apart), `system:tool_loop_detection` for a verdict, `system:context_window` for what a window does.
 *
 * @category grammar
 * @since 0.1.0
 */
export const componentId = (event: AgentEvent): string => {
  switch (scope(event)) {
    case "agent":
      return event.agent
    case "llm_request":
      return `${event.agent}:llm:${"turn" in event ? event.turn : 0}`
    case "tool":
      return "id" in event ? `${event.name}:${event.id}` : event.agent
    case "system":
      return event._tag === "ContextPruned" ? "system:context_window" : "system:tool_loop_detection"
  }
}

/**
 * Whether the event is the last of its run.
 *
 * @category guards
 * @since 0.1.0
 */
export const isTerminal = (event: AgentEvent): event is RunCompleted | RunFailed | RunInterrupted =>
  event._tag === "RunCompleted" || event._tag === "RunFailed" || event._tag === "RunInterrupted"
