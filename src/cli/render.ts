/**
 * What a run looks like in a terminal: each event becomes a piece of text.
 */
import type { AgentEvent } from "../AgentEvent.ts"
import type { Usage } from "../Usage.ts"
import { costUsd, totalTokens } from "../Usage.ts"
import type { RunEvent, WorkflowEvent } from "../WorkflowEvent.ts"
import { isWorkflowEvent } from "../WorkflowEvent.ts"

/** What has been written so far, as far as the next piece depends on it. */
export interface State {
  /** What the unfinished line holds. */
  readonly open: "text" | "reasoning" | undefined
  /** The ids of the tool calls, in the order of their numbers on the screen. */
  readonly calls: ReadonlyArray<string>
  /** The model that answered last. */
  readonly model: string | undefined
}

export const initial: State = { open: undefined, calls: [], model: undefined }

export interface Options {
  /** Whether ANSI escapes are allowed. */
  readonly color: boolean
  /** A single run is shown with its turns and its answer; in a chat the answer is what was streamed. */
  readonly style: "run" | "chat"
}

/** The next piece of text, and the state behind it. */
export const step =
  ({ color, style }: Options) =>
  (state: State, event: RunEvent): readonly [State, ReadonlyArray<string>] => {
    if (isWorkflowEvent(event)) return [state, workflowLines(event, color)]
    const isNested = event.parentRunId !== undefined
    if (isNested && !shownOfSubAgents.has(event._tag)) return [state, []]
    const indent = isNested ? `    ${printable(event.agent)} ` : "  "
    const paint = color ? painted : plain
    const line = (text: string, next: Partial<State> = {}) =>
      [{ ...state, ...next, open: undefined }, [`${state.open === undefined ? "" : "\n"}${text}\n`]] as const
    const toolLine = (mark: string, shade: Color, id: string, name: string, value: unknown, calls = state.calls) =>
      line(`${indent}${paint(shade, mark)} ${printable(name)} #${calls.indexOf(id) + 1} ${brief(value)}`, { calls })
    const piece = (open: "text" | "reasoning", delta: string) => {
      const start = state.open === open ? "" : state.open === undefined ? "  " : "\n  "
      const text = printable(delta).replaceAll("\n", "\n  ")
      return [{ ...state, open }, [start + (open === "text" ? text : paint("dim", text))]] as const
    }

    switch (event._tag) {
      case "TurnStarted":
        return style === "chat" ? [state, []] : line(paint("dim", `Turn ${event.turn}`))
      case "ContextPruned": {
        const { after, before, window } = event
        const what = `${window}: ${before.tokens} → ${after.tokens} tokens, ${before.messages} → ${after.messages} messages`
        return line(`${indent}${paint("yellow", "✂")} ${printable(what)}`)
      }
      case "TextDelta":
        return piece("text", event.delta)
      case "ReasoningDelta":
        return piece("reasoning", event.delta)
      case "ModelCallRetried":
        return line(`  ${paint("yellow", "↻")} ${printable(event.message)}`)
      case "ModelCallCompleted":
        return [{ ...state, model: event.model }, []]
      case "ToolCallStarted":
        return toolLine("→", "cyan", event.id, event.name, event.params, [...state.calls, event.id])
      case "ToolCallProgressed":
        return toolLine("…", "dim", event.id, event.name, event.result)
      case "ToolCallCompleted":
        return toolLine("←", "green", event.id, event.name, event.result)
      case "ToolCallFailed":
        return toolLine("✗", "red", event.id, event.name, event.result)
      case "LoopDetected":
        return line(`${indent}${paint("yellow", "↻")} ${printable(event.name)} ${brief(event.message)}`)
      case "RunCompleted": {
        if (style === "chat") return line(paint("dim", `  ${summary(event, state.model)}`))
        const answer = `\n${paint("bold", `Answer: ${printable(event.text)}`)}`
        return line(`${answer}\n${paint("dim", summary(event, state.model))}`)
      }
      case "RunFailed":
        return line(paint("dim", `\n${summary(event, state.model)}`))
      default:
        return [state, []]
    }
  }

/** Steps begin and end on lines of their own, because those of a `parallel` interleave. */
const workflowLines = (event: WorkflowEvent, color: boolean): ReadonlyArray<string> => {
  const paint = color ? painted : plain
  const stepLine = (mark: string, shade: Color, text: string) => {
    if (!("path" in event)) return []
    return [
      `${"  ".repeat(Math.max(0, event.path.length - 2))}${paint(shade, mark)} ${printable(event.name)} ${text}`.trimEnd()
        + "\n"
    ]
  }
  switch (event._tag) {
    case "StepStarted":
      return stepLine("▶", "cyan", paint("dim", `(${event.type})`))
    case "BranchTaken":
      return stepLine("◆", "cyan", printable(event.branch))
    case "StepCompleted":
      return stepLine("✓", "green", brief(event.output))
    case "StepFailed":
      return stepLine("✗", "red", brief(`${event.failure.tag}: ${event.failure.message}`))
    case "WorkflowCompleted": {
      if (event.parentRunId !== undefined) return []
      const { output } = event
      const text = printable(typeof output === "string" ? output : (JSON.stringify(output, null, 2) ?? ""))
      return [`\n${paint("bold", `Answer: ${text}`)}\n${paint("dim", summary(event, undefined))}\n`]
    }
    case "WorkflowFailed":
      return event.parentRunId === undefined ? [paint("dim", `\n${summary(event, undefined)}\n`)] : []
    default:
      return []
  }
}

/** What is shown of the runs that a tool started: their calls, not their answers, which are results of the tool. */
const shownOfSubAgents: ReadonlySet<AgentEvent["_tag"]> = new Set<AgentEvent["_tag"]>([
  "ToolCallStarted",
  "ToolCallProgressed",
  "ToolCallCompleted",
  "ToolCallFailed",
  "LoopDetected"
])

type Color = "bold" | "dim" | "red" | "green" | "yellow" | "cyan"

const codes: Readonly<Record<Color, number>> = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 }

const painted = (color: Color, text: string): string => `\u001b[${codes[color]}m${text}\u001b[0m`

const plain = (_color: Color, text: string): string => text

/** Text without control characters: what a model or a tool says must not steer the terminal. */
export const printable = (text: string): string => text.replace(/(?![\n\t])\p{Cc}/gu, "")

const maxWidth = 200

const brief = (value: unknown): string => {
  const json = printable(JSON.stringify(value) ?? "")
  return json.length <= maxWidth ? json : `${json.slice(0, maxWidth)}…`
}

const summary = (
  { durationMillis, usage }: { readonly usage: Usage; readonly durationMillis: number },
  model: string | undefined
): string =>
  [
    count(usage.modelCalls, "model call"),
    count(usage.toolCalls, "tool call"),
    `${totalTokens(usage)} tokens (${usage.inputTokens} in, ${usage.outputTokens} out)`,
    ...(usage.costNanoUsd === 0 ? [] : [`$${costUsd(usage).toFixed(4)}`]),
    durationMillis < 10_000 ? `${Math.round(durationMillis)} ms` : `${(durationMillis / 1000).toFixed(1)} s`,
    ...(model === undefined ? [] : [printable(model)])
  ].join(", ")

const count = (n: number, noun: string): string => `${n} ${noun}${n === 1 ? "" : "s"}`
