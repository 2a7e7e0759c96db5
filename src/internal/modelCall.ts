/**
 * The model call of a turn: what the request has in it, and how the answer and its pieces become events.
 */
import type * as AiError from "effect/ai/AiError"
import type * as Tool from "effect/ai/Tool"
import * as Effect from "effect/Effect"
import type { BudgetExceeded } from "../AgentError.ts"
import { InvalidAgent } from "../AgentError.ts"
import type { AssistantContent, History } from "../History.ts"
import type { Delta, Llm, LlmRequest, LlmResponse, Sampling, ToolChoice } from "../Llm.ts"
import * as Prices from "../Prices.ts"
import type { Payer } from "./charge.ts"
import * as Charge from "./charge.ts"
import { isDeep } from "./json.ts"
import type { State } from "./machine.ts"
import type { Definition, Run, TurnSettings, TurnView } from "./run.ts"
import { emit, tick } from "./run.ts"

export const unchanged: TurnSettings = {}

export const viewOf = ({ history, lastCalls, turns, usage }: State): TurnView => ({
  turn: turns + 1,
  history,
  usage: { ...usage },
  lastCalls
})

/** The tools of a turn, in the order of the toolkit; `undefined` for all. */
export const offered = (
  { toolkit }: Definition,
  { toolChoice, tools }: TurnSettings
): ReadonlyArray<Tool.Any> | undefined => {
  const offers = tools === undefined ? toolkit.tools : toolkit.tools.filter((tool) => tools.includes(tool.name))
  const named = [...(tools ?? []), ...(typeof toolChoice === "object" ? [toolChoice.tool] : [])]
  const unknown = named.find((name) => offers.every((tool) => tool.name !== name))
  // The types of `Agent` rule out what no toolkit has, but not a choice of what the turn does not offer.
  if (unknown !== undefined)
    throw new InvalidAgent({ field: "prepareTurn", issue: `names no tool on offer: '${unknown}'` })
  return tools === undefined ? undefined : offers
}

/** The tools of the turn. */
export const offers = ({ definition, toolbox }: Run): ReadonlyArray<Tool.Any> =>
  toolbox.offered ?? definition.toolkit.tools

export const announceTurn = (run: Run): void => {
  if (run.observer === undefined) return
  tick(run)
  emit(run, { ...run.envelope, _tag: "TurnStarted", turn: run.state.turns + 1 })
}

const announceCall = (run: Run, messages: number, offers: ReadonlyArray<Tool.Any>): void => {
  const tools = offers.map((tool) => tool.name)
  emit(run, { ...run.envelope, _tag: "ModelCallStarted", turn: run.state.turns + 1, messages, tools })
}

/** Calls the model with a history: the run's, or what a window lets through. */
export const requestModel = (
  run: Run,
  llm: Llm["Service"],
  instructions: string,
  settings: TurnSettings,
  history: History
): Effect.Effect<LlmResponse, AiError.AiError | BudgetExceeded> => {
  const { definition, state } = run
  const turn = state.turns + 1
  const tools = offers(run)
  const request: LlmRequest = {
    instructions: settings.instructions ?? instructions,
    history,
    tools,
    toolChoice: settings.toolChoice ?? choiceOf(definition.toolChoice, tools, turn),
    sampling: settings === unchanged ? definition.sampling : override(definition.sampling, settings),
    output: definition.output?.format
  }
  return run.payer === undefined ? send(run, llm, request) : charged(run, run.payer, llm, request)
}

const send = (run: Run, llm: Llm["Service"], request: LlmRequest): Effect.Effect<LlmResponse, AiError.AiError> => {
  run.calling = true
  if (run.observer === undefined) return llm.generate(request, run.definition.streaming ? ignore : undefined)
  const turn = run.state.turns + 1
  run.calledAt = run.now
  announceCall(run, request.history.length, request.tools)
  return llm.generate(request, (delta) => emitDelta(run, turn, delta))
}

/** A model call within a budget: when that is used up, the last one, if something was kept back for it. */
const charged = (
  run: Run,
  payer: Payer,
  llm: Llm["Service"],
  request: LlmRequest
): Effect.Effect<LlmResponse, AiError.AiError | BudgetExceeded> => {
  if (payer.refusal !== undefined) return Effect.fail(payer.refusal)
  const call = (bounded: LlmRequest) => {
    // It may have waited.
    if (run.observer !== undefined) tick(run)
    return send(run, llm, bounded)
  }
  return Effect.catchTag(Charge.modelCall(payer, request, false, call), "BudgetExceeded", (refusal) => {
    payer.refusal = refusal
    // Providers want the tools of calls in the history to be there.
    const last: LlmRequest = {
      ...request,
      instructions: request.instructions === "" ? lastCall : `${request.instructions}\n\n${lastCall}`,
      toolChoice: "none"
    }
    const answering = Charge.modelCall(payer, last, true, (bounded) => {
      run.toolbox.offered = []
      return call(bounded)
    })
    return Effect.mapError(answering, (error) => (error._tag === "BudgetExceeded" ? refusal : error))
  })
}

const lastCall =
  "The budget of this task is used up, and this is your last turn. Do not call tools. "
  + "Give your final answer now, with what you know, and say what is missing."

/** The agent's choice in a turn. Forced, it holds for the first only, or the model could never answer. */
const choiceOf = (choice: ToolChoice, tools: ReadonlyArray<Tool.Any>, turn: number): ToolChoice => {
  if (choice === "auto" || choice === "none") return choice
  const isOffered = choice === "required" ? tools.length > 0 : tools.some((tool) => tool.name === choice.tool)
  return turn === 1 && isOffered ? choice : "auto"
}

const override = (sampling: Sampling, settings: Sampling): Sampling => ({
  model: settings.model ?? sampling.model,
  temperature: settings.temperature ?? sampling.temperature,
  topP: settings.topP ?? sampling.topP,
  maxTokens: settings.maxTokens ?? sampling.maxTokens,
  stop: settings.stop ?? sampling.stop,
  seed: settings.seed ?? sampling.seed
})

export const modelAnswered = (run: Run, response: LlmResponse): void => {
  const { finishReason, model, tokens } = response
  const turn = run.state.turns + 1
  run.calling = false
  const content = ownCalls(run, turn, response.content)
  const durationMillis = run.observer === undefined ? 0 : tick(run) - run.calledAt
  emit(run, {
    ...run.envelope,
    _tag: "ModelCallCompleted",
    turn,
    content,
    finishReason,
    tokens,
    model,
    costNanoUsd: Prices.costNanoUsd(run.prices, model, tokens),
    durationMillis
  })
}

const ignore = () => {}

const emitDelta = (run: Run, turn: number, piece: Delta): void => {
  // A provider may go on calling after its answer, or after it was given up.
  if (!run.calling || turn !== run.state.turns + 1) return
  if (run.buffer === undefined) tick(run)
  switch (piece.type) {
    case "text":
      return emit(run, { ...run.envelope, _tag: "TextDelta", turn, delta: piece.delta })
    case "reasoning":
      return emit(run, { ...run.envelope, _tag: "ReasoningDelta", turn, delta: piece.delta })
    case "restart": {
      const { delayMillis, message, model, reason } = piece
      tick(run)
      return emit(run, { ...run.envelope, _tag: "ModelCallRetried", turn, reason, message, delayMillis, model })
    }
    case "tool-params":
      return emit(run, {
        ...run.envelope,
        _tag: "ToolParamsDelta",
        turn,
        id: run.callIds?.has(piece.id) === true ? renamed(piece.id, turn) : piece.id,
        name: piece.name,
        delta: piece.delta
      })
  }
}

/**
 * Models repeat call ids, or leave them out: within a run they are unique. Arguments that are too deep to be written as
 * JSON, and so to be sent or stored, become a text that is none.
 */
const ownCalls = (run: Run, turn: number, content: AssistantContent): AssistantContent => {
  let own: Array<AssistantContent[number]> | undefined
  for (let i = 0; i < content.length; i++) {
    const part = content[i]!
    if (part.type !== "tool-call" || part.providerExecuted === true) continue
    const ids = (run.callIds ??= new Set())
    let { id } = part
    if (id === "" || ids.has(id)) {
      const stem = renamed(id, turn)
      id = stem
      for (let n = 2; ids.has(id); n++) id = `${stem}_${n}`
    }
    ids.add(id)
    const tooDeep = isDeep(part.params)
    if (id === part.id && !tooDeep) continue
    own ??= content.slice()
    own[i] = { ...part, id, params: tooDeep ? "nested too deep" : part.params }
  }
  return own ?? content
}

const renamed = (id: string, turn: number): string => `${id || "call"}_${turn}`
