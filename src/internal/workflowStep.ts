/**
 * Runs the steps of a workflow. What a kind of step does is one function here; recording, events and resuming are the
 * same for all.
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { PartialRun } from "../AgentError.ts"
import type { History } from "../History.ts"
import * as Histories from "../History.ts"
import type { Llm } from "../Llm.ts"
import { contained } from "../Toolbox.ts"
import type { Usage } from "../Usage.ts"
import * as Usages from "../Usage.ts"
import {
  AnswerRejected,
  InvalidWorkflow,
  IterationLimitReached,
  RecordMismatch,
  WorkflowError
} from "../WorkflowError.ts"
import type { StepRecord, WorkflowRun } from "../WorkflowRun.ts"
import type { Observer } from "./currentRun.ts"
import { CurrentRun } from "./currentRun.ts"
import { interpret as interpretAgent } from "./interpreter.ts"
import type { Definition } from "./run.ts"
import type { SharedHistory } from "./workflowConversation.ts"
import { append, asked, goingOn, hear, isApart, since } from "./workflowConversation.ts"
import type {
  AgentNode,
  BranchNode,
  Codec,
  EffectNode,
  FallbackNode,
  Leaf,
  LoopNode,
  MapNode,
  Node,
  ParallelNode,
  RefineNode,
  RetryNode,
  TransformNode,
  Verdict,
  WorkflowNode
} from "./workflowNode.ts"
import { children, isLeaf } from "./workflowNode.ts"
import type { Past } from "./workflowPast.ts"
import { key } from "./workflowPast.ts"
import type { Datum, Run } from "./workflowRun.ts"
import * as Runs from "./workflowRun.ts"

/** Where a step is. */
interface Place {
  readonly path: ReadonlyArray<string>
  readonly iterations: ReadonlyArray<number>
  /** What the run that this one goes on from did here. */
  readonly past: Past | undefined
  /** The conversation of the agents here; absent when each has its own. */
  readonly shared: SharedHistory | undefined
}

/** What steps need besides a model is in the `R` of the workflow, and so in the context that runs them. */
type Step = Effect.Effect<Datum, unknown, Llm>
type Steps = Effect.fn.Return<Datum, unknown, Llm>
type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/** How a workflow is run. */
export interface Options {
  readonly observe: Observer | undefined
  /** The conversation so far. */
  readonly history: History | undefined
  /** What to go on from. */
  readonly resume: { readonly past: Past; readonly usage: Usage } | undefined
  readonly onEnd: ((run: WorkflowRun) => Effect.Effect<void>) | undefined
}

/** What a run results in; `Workflow` gives it its types. */
export interface Outcome {
  readonly output: unknown
  readonly run: WorkflowRun
  readonly history: History
}

/** Runs a workflow from its beginning, or from where a record ends. */
export const interpret = (root: Node, value: unknown, options: Options): Effect.Effect<Outcome, unknown, Llm> =>
  Effect.withFiber((fiber) => {
    const input = plain(value)
    const before = options.resume?.usage ?? Usages.zero
    const run = Runs.make(root.name, fiber, options.observe)
    const shared: SharedHistory = { history: options.history ?? Histories.empty }
    const { conversation } = root
    const isShared = conversation === undefined ? options.history !== undefined : conversation.kind !== "isolated"
    const around: Place = {
      path: [],
      iterations: [],
      past: options.resume?.past,
      shared: isShared ? shared : undefined
    }
    const steps =
      root.type === "workflow"
        ? conversing(run, root, { ...around, path: [root.name] }, undefined, (place) =>
            sequence(run, root, input, place)
          )
        : Effect.suspend(() => step(run, root, input, inside(around, root.name)))
    const begun = Effect.suspend(() => {
      Runs.announce(run, input, before)
      return Effect.provideService(steps, CurrentRun, run.current)
    })
    let record: WorkflowRun | undefined
    return begun.pipe(
      Effect.onExit((exit) => {
        Runs.end(run, root.name, exit, before)
        record = Runs.recordOf(run, root.name, input, exit, before)
        return options.onEnd === undefined ? Effect.void : options.onEnd(record)
      }),
      Effect.matchCauseEffect({
        onSuccess: ({ value: output }) => Effect.succeed({ output, run: record!, history: shared.history }),
        onFailure: (cause) => Effect.failCause(wrap(cause, record!))
      })
    )
  })

/** The cause with the record in its error. A record that does not fit has no typed way through the steps. */
const wrap = (cause: Cause.Cause<unknown>, run: WorkflowRun): Cause.Cause<unknown> => {
  const defect = Cause.findDefect(cause)
  if (Result.isSuccess(defect) && defect.success instanceof RecordMismatch) return Cause.fail(defect.success)
  return Cause.map(cause, (reason) => new WorkflowError({ workflow: run.workflow, reason, run }))
}

const plain = (value: unknown): Datum => ({ value, encoded: value })

/** The place of a step in another. */
const inside = ({ iterations, past, path, shared }: Place, name: string, iteration?: number): Place => ({
  path: [...path, name],
  iterations: iteration === undefined ? iterations : [...iterations, iteration],
  past: past?.steps.get(key(name, iteration)),
  shared
})

/** Runs a step, or takes over what it did. Begins at once; to be called by the fiber that runs it. */
const step = (run: Run, node: Node, input: Datum, place: Place): Step => {
  const congested = Runs.congestion(run)
  return congested === undefined
    ? started(run, node, input, place)
    : Effect.flatMap(congested, () => {
        Runs.tick(run)
        return started(run, node, input, place)
      })
}

const started = (run: Run, node: Node, input: Datum, place: Place): Step => {
  const past = place.past?.record
  if (past?.status === "completed" && isLeaf(node)) return restored(run, node, past, place)
  const begin = () => Runs.beginStep(run, node, input, place.path, place.iterations)
  if (node.type === "transform" && node.codec === undefined && node.conversation === undefined) {
    const record = begin()
    const exit = transformed(node, input)
    Runs.endStep(run, node, record, exit)
    return exit
  }
  let record: Mutable<StepRecord> | undefined
  // It begins when nothing can keep it from being ended any more.
  const ran = Effect.suspend(() => {
    const begun = begin()
    record = begun
    return node.conversation === undefined
      ? perform(run, node, input, place, begun)
      : conversing(run, node, place, begun, (within) => perform(run, node, input, within, begun))
  })
  return Effect.onExitPrimitive(ran, (exit) =>
    record === undefined ? undefined : Runs.endStep(run, node, record, exit)
  )
}

/** Takes over what a step put out, and what it said. */
const restored = (run: Run, node: Leaf, past: StepRecord, { path, shared }: Place): Step => {
  const decode = node.type === "agent" ? answerOf(node.agent) : node.codec?.decode
  const decoded = decode === undefined ? Effect.succeed(past.output) : decode(past.output)
  return Effect.matchCauseEffect(decoded, {
    onFailure: (cause) => {
      const issue = Cause.findError(cause)
      if (Result.isFailure(issue)) return Effect.failCause(issue.failure)
      return Effect.die(new RecordMismatch({ path, issue: `its output cannot be read: ${issue.success.message}` }))
    },
    onSuccess: (value) => {
      hear(shared, node, past)
      Runs.restoreStep(run, past)
      return Effect.succeed({ value, encoded: past.output })
    }
  })
}

/** Takes over a step that was tried before the one that the run goes on with: its records, and what agents said in it. */
const restoreTried = (run: Run, node: Node, past: Past | undefined, around: SharedHistory | undefined): void => {
  if (past?.record === undefined) return
  hear(around, node, past.record)
  Runs.restoreStep(run, past.record)
  const shared = isApart(node) ? undefined : around
  const inner = children(node)
  for (const tried of past.steps.values()) {
    const child = inner.find((candidate) => candidate.node.name === tried.record?.name)
    if (child !== undefined) restoreTried(run, child.node, tried, shared)
  }
}

const perform = (run: Run, node: Node, input: Datum, place: Place, record: Mutable<StepRecord>): Step => {
  switch (node.type) {
    case "agent":
      return agent(run, node, input, place, record)
    case "effect":
      return effect(node, input)
    case "transform":
      return transform(node, input)
    case "branch":
      return Effect.gen(() => branch(run, node, input, place, record))
    case "parallel":
      return parallel(run, node, input, place)
    case "map":
      return map(run, node, input, place)
    case "loop":
      return Effect.gen(() => loop(run, node, input, place))
    case "retry":
      return retry(run, node, input, place)
    case "fallback":
      return Effect.gen(() => fallback(run, node, input, place))
    case "refine":
      return Effect.gen(() => refine(run, node, input, place))
    case "workflow":
      return nested(run, node, input, place)
  }
}

/** The output of a leaf as records have it. One that does not match its own schema is a mistake in the program. */
const encoded = (codec: Codec | undefined, value: unknown): Step =>
  codec === undefined
    ? Effect.succeed(plain(value))
    : Effect.matchEffect(codec.encode(value), {
        onFailure: ({ message }) => Effect.die(new Error(`The output does not match its schema: ${message}`)),
        onSuccess: (json) => Effect.succeed({ value, encoded: json })
      })

const transform = (node: TransformNode, input: Datum): Step =>
  Effect.flatMap(transformed(node, input), ({ value }) => encoded(node.codec, value))

/** The output of a function, which nobody has to wait for. */
const transformed = ({ f }: TransformNode, { value }: Datum): Exit.Exit<Datum> => {
  try {
    return Exit.succeed(plain(f(value)))
  } catch (thrown) {
    return Exit.die(thrown)
  }
}

const effect = ({ codec, f }: EffectNode, { value }: Datum): Step => {
  let begun: Effect.Effect<unknown, unknown>
  try {
    begun = f(value)
  } catch (thrown) {
    return Effect.die(thrown)
  }
  if (Exit.isExit(begun))
    return Exit.isSuccess(begun) ? encoded(codec, begun.value) : (begun as Exit.Exit<never, unknown>)
  return Effect.flatMap(contained(begun, Duration.infinity), (output) => encoded(codec, output))
}

/** Runs an agent, and keeps what it said: in the conversation that it shares, and in the record. */
const agent = (run: Run, node: AgentNode, { value }: Datum, place: Place, record: Mutable<StepRecord>): Step => {
  const { shared } = place
  const base = shared?.history ?? Histories.empty
  const keep = (history: History): void => {
    if (shared === undefined) {
      record.history = history
      return
    }
    record.history = since(history, base)
    if (shared.history === base) shared.history = history
    else append(shared, record.history)
  }
  const answering = Effect.suspend(() => {
    const past = goingOn(base, place.past?.record)
    let progress: (() => PartialRun) | undefined
    const running = interpretAgent(node.agent, past ?? asked(base, node.prompt(value)), undefined, (inspected) => {
      progress = inspected
    })
    return Effect.onExitPrimitive(running, (exit) => {
      // An agent that was interrupted before it began has said nothing.
      if (progress !== undefined && (shared !== undefined || Exit.isFailure(exit))) keep(progress().history)
      return undefined
    })
  })
  return Effect.map(answering, ({ output, text }): Datum => ({
    value: output,
    encoded: node.agent.output === undefined ? text : node.agent.output.json(text)
  }))
}

/** How an answer is read from a record. */
const answerOf = ({ output }: Definition): Codec["decode"] =>
  output === undefined ? Schema.decodeUnknownEffect(Schema.String) : (answer) => output.decode(JSON.stringify(answer))

/** Runs the inside of a step in the conversation that the step asks for. */
const conversing = (
  run: Run,
  node: Node,
  place: Place,
  record: Mutable<StepRecord> | undefined,
  inner: (place: Place) => Step
): Step => {
  const { conversation } = node
  const around = place.shared
  if (conversation === undefined) return inner(place)
  switch (conversation.kind) {
    case "isolated":
      return inner({ ...place, shared: undefined })
    case "shared":
      return inner(around === undefined ? { ...place, shared: { history: Histories.empty } } : place)
  }
  const { merge } = conversation
  const base = around?.history ?? Histories.empty
  const fork: SharedHistory = { history: base }
  const said = inner({ ...place, shared: fork })
  if (around === undefined || merge === "discard") return said
  if (merge === "append") {
    return Effect.onExitPrimitive(said, () => {
      append(around, since(fork.history, base))
      return undefined
    })
  }
  return Effect.flatMap(said, (output) => {
    const added = since(fork.history, base)
    if (added.length === 0) return Effect.succeed(output)
    const known = place.past?.record
    const summary =
      known?.status === "completed" && known.history !== undefined
        ? Effect.succeed(known.history)
        : Effect.map(interpretAgent(merge.agent, Histories.appendUser(added, merge.prompt)), ({ text }) =>
            Histories.appendUser(Histories.empty, text)
          )
    return Effect.map(summary, (summarized) => {
      if (record !== undefined) record.history = summarized
      append(around, summarized)
      return output
    })
  })
}

/** Runs steps one after the other. */
const sequence = (run: Run, { steps }: WorkflowNode, input: Datum, place: Place): Step =>
  Effect.gen(function* () {
    let datum = input
    for (const node of steps) datum = yield* step(run, node, datum, inside(place, node.name))
    return datum
  })

const nested = (run: Run, node: WorkflowNode, input: Datum, place: Place): Step =>
  Effect.suspend(() => {
    const within = Runs.makeNested(run, node.name)
    return Effect.onExitPrimitive(
      Effect.suspend(() => {
        Runs.announce(within, input, Usages.zero)
        return Effect.provideService(sequence(within, node, input, place), CurrentRun, within.current)
      }),
      (exit) => {
        Runs.end(within, node.name, exit, Usages.zero)
        run.current.childEnded("", node.name, within.usage)
        return undefined
      }
    )
  })

function* branch(run: Run, node: BranchNode, input: Datum, place: Place, record: Mutable<StepRecord>): Steps {
  const { cases, on } = node
  let label = place.past?.record?.branch
  if (typeof on !== "function") {
    // A step for this has one of the labels as its output.
    const decided = (yield* step(run, on, input, inside(place, on.name))).value as string
    label ??= decided
  } else label ??= on(input.value)
  const taken = cases.get(label)
  if (taken === undefined) {
    return yield* Effect.die(new InvalidWorkflow({ step: node.name, issue: `has no case '${label}'` }))
  }
  Runs.takeBranch(run, record, label)
  return yield* step(run, taken, input, inside(place, taken.name))
}

const parallel = (run: Run, { concurrency, steps }: ParallelNode, input: Datum, place: Place): Step =>
  Effect.map(
    Effect.forEach(steps, ([, node]) => Effect.suspend(() => step(run, node, input, inside(place, node.name))), {
      concurrency
    }),
    (outputs) => {
      const named = (field: keyof Datum) => Object.fromEntries(steps.map(([label], i) => [label, outputs[i]![field]]))
      return { value: named("value"), encoded: named("encoded") }
    }
  )

const map = (run: Run, { concurrency, step: node }: MapNode, input: Datum, place: Place): Step =>
  Effect.suspend(() => {
    const values = input.value as ReadonlyArray<unknown>
    const items = Array.isArray(input.encoded) ? (input.encoded as ReadonlyArray<unknown>) : values
    return Effect.map(
      Effect.forEach(
        values,
        (value, i) => Effect.suspend(() => step(run, node, { value, encoded: items[i] }, inside(place, node.name, i))),
        { concurrency }
      ),
      (outputs) => ({
        value: outputs.map((output) => output.value),
        encoded: outputs.map((output) => output.encoded)
      })
    )
  })

function* loop(run: Run, node: LoopNode, input: Datum, place: Place): Steps {
  const { maxIterations: limit, step: body, until } = node
  let datum = input
  for (let i = 0; i < limit; i++) {
    datum = yield* step(run, body, datum, inside(place, body.name, i))
    if (until(datum.value, i + 1)) return datum
  }
  return yield* Effect.fail(new IterationLimitReached({ step: node.name, limit }))
}

const retry = (run: Run, node: RetryNode, input: Datum, place: Place): Step =>
  Effect.suspend(() => {
    const { schedule, step: body, times } = node
    let attempt = 0
    // The attempts before the last one failed.
    while (place.past?.steps.has(key(body.name, attempt + 1)) === true) {
      restoreTried(run, body, place.past.steps.get(key(body.name, attempt++)), place.shared)
    }
    const left = Math.max(0, times - attempt)
    const attempts = Effect.suspend(() => {
      Runs.tick(run)
      return step(run, body, input, inside(place, body.name, attempt++))
    })
    return Effect.retry(attempts, {
      times: left,
      while: (error) => node.while(error),
      ...(schedule === undefined ? {} : { schedule })
    })
  })

function* fallback(run: Run, { steps }: FallbackNode, input: Datum, place: Place): Steps {
  const last = steps.findLastIndex((node) => place.past?.steps.has(key(node.name, undefined)) === true)
  for (const [i, node] of steps.entries()) {
    const within = inside(place, node.name)
    if (i < last) {
      restoreTried(run, node, within.past, place.shared)
      continue
    }
    const exit = yield* Effect.exit(step(run, node, input, within))
    if (Exit.isSuccess(exit)) return exit.value
    if (i === steps.length - 1 || Result.isFailure(Cause.findError(exit.cause))) return yield* exit
  }
  return input
}

function* refine(run: Run, node: RefineNode, input: Datum, place: Place): Steps {
  const { judge, keepBest, maxRounds, produce, revise } = node
  let asked = input
  let best: { readonly answer: Datum; readonly score: number } | undefined
  let feedback = ""
  for (let round = 1; round <= maxRounds; round++) {
    const answer = yield* step(run, produce, asked, inside(place, produce.name, round - 1))
    const judged: Datum = {
      value: { input: input.value, output: answer.value },
      encoded: { input: input.encoded, output: answer.encoded }
    }
    // The types of `Workflow.refine` ask this of a judge.
    const verdict = (yield* step(run, judge, judged, inside(place, judge.name, round - 1))).value as Verdict
    if (verdict.accepted) return answer
    const score = verdict.score ?? -Infinity
    // Of equals the later is better: it knew more.
    if (best === undefined || score >= best.score) best = { answer, score }
    feedback = verdict.feedback
    if (round < maxRounds) asked = plain(revise({ input: input.value, output: answer.value, verdict, round }))
  }
  if (keepBest && best !== undefined) return best.answer
  return yield* Effect.fail(new AnswerRejected({ step: node.name, rounds: maxRounds, feedback }))
}
