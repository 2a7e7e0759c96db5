/**
 * The agent runtime for Effect apps. Each module is also an entry point of its own, such as
 * `effect-agent-runtime/Agent`, which keeps start-up and bundles smaller.
 *
 * @since 0.1.0
 */
export * as Agent from "./Agent.ts"
export * as AgentError from "./AgentError.ts"
export * as AgentEvent from "./AgentEvent.ts"
export * as Budget from "./Budget.ts"
export * as ContextWindow from "./ContextWindow.ts"
export * as EventHub from "./EventHub.ts"
export * as History from "./History.ts"
export * as Llm from "./Llm.ts"
export * as LoopDetector from "./LoopDetector.ts"
export * as Mermaid from "./Mermaid.ts"
export * as Session from "./Session.ts"
export * as SessionError from "./SessionError.ts"
export * as SessionStore from "./SessionStore.ts"
export * as StopCondition from "./StopCondition.ts"
export * as TokenEstimator from "./TokenEstimator.ts"
export * as Toolbox from "./Toolbox.ts"
export * as Usage from "./Usage.ts"
export * as Workflow from "./Workflow.ts"
export * as WorkflowError from "./WorkflowError.ts"
export * as WorkflowEvent from "./WorkflowEvent.ts"
export * as WorkflowRun from "./WorkflowRun.ts"
