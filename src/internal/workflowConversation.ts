/**
 * What the agents of a workflow see of each other: how a conversation goes on, and what of it is heard around a step.
 */
import type { History, UserContent } from "../History.ts"
import * as Histories from "../History.ts"
import type { StepRecord } from "../WorkflowRun.ts"
import type { Node } from "./workflowNode.ts"

/** The messages of a conversation that a step shares; replaced as a whole when a step has ended. */
export interface SharedHistory {
  history: History
}

/** Adds to a conversation. Agents beside the one that did may have said something meanwhile. */
export const append = (shared: SharedHistory, said: History): void => {
  shared.history = Histories.appendUnits(shared.history, Histories.units(said))
}

/** What a conversation has more than an earlier state of itself. */
export const since = (history: History, earlier: History): History =>
  Histories.appendUnits(Histories.empty, Histories.units(history, earlier.length))

/** Whether what the steps in a step say is not heard around it, or only as a summary. */
export const isApart = ({ conversation }: Node): boolean =>
  conversation?.kind === "isolated" || (conversation?.kind === "forked" && conversation.merge !== "append")

/** Adds what a step itself said, by its record, to the conversation around it. */
export const hear = (around: SharedHistory | undefined, node: Node, { history, status }: StepRecord): void => {
  if (around === undefined || history === undefined) return
  const { conversation } = node
  const isSummary = conversation?.kind === "forked" && typeof conversation.merge === "object" && status === "completed"
  if (isSummary || (node.type === "agent" && !isApart(node))) append(around, history)
}

/** The conversation of an agent that did not complete, if it can be gone on from. */
export const goingOn = (base: History, past: StepRecord | undefined): History | undefined => {
  if (past?.history === undefined) return undefined
  const role = Histories.last(past.history)?.role
  return role === "user" || role === "tool" ? Histories.appendUnits(base, Histories.units(past.history)) : undefined
}

/**
 * What an agent answers: what was said before, and its prompt. What the conversation ends with is not said again: neither
 * an answer, which the next agent is only pointed to, nor a question that is still open.
 */
export const asked = (history: History, prompt: UserContent | undefined): History => {
  // A program without types may give `null`.
  if (prompt === undefined || prompt === null) return history
  if (typeof prompt !== "string") return Histories.appendUser(history, prompt)
  const last = Histories.last(history)
  if (last?.role === "assistant") {
    const said = typeof last.content === "string" ? last.content : Histories.text(last.content)
    return Histories.appendUser(history, said === prompt ? handover : prompt)
  }
  return last !== undefined && openQuestion(history) === prompt ? history : Histories.appendUser(history, prompt)
}

/** The user turn in place of an answer that the agent can see already. */
const handover = "Go on from the last message, by your own instructions."

const openQuestion = (history: History): string | undefined => {
  const asked = Histories.toMessages(history).findLast(({ role }) => role === "user")
  return asked?.role === "user" ? Histories.userText(asked.content) : undefined
}
