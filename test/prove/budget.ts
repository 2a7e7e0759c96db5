/**
 * Proves that budgets hold: trees of agents with budgets at any level, whose models, tools and sub-agents take time, fail,
 * run into limits and are interrupted. At every step nothing has spent more than it may, and in the end nothing is
 * reserved, and what each agent has spent adds up to what its budget says, to the token.
 *
 *     node test/prove/budget.ts [--runs 2000] [--seed 1]
 */
import { parseArgs } from "node:util"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Agent from "effect-agent-runtime/Agent"
import { AgentError } from "effect-agent-runtime/AgentError"
import type { AgentEvent } from "effect-agent-runtime/AgentEvent"
import * as Budget from "effect-agent-runtime/Budget"
import * as Llm from "effect-agent-runtime/Llm"
import * as Prices from "effect-agent-runtime/Prices"
import * as Laws from "effect-agent-runtime/testing/Laws"
import * as TokenEstimator from "effect-agent-runtime/TokenEstimator"
import * as Usage from "effect-agent-runtime/Usage"
import * as AiError from "effect/ai/AiError"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Arbitrary from "effect/Arbitrary"
import * as Cause from "effect/Cause"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import type { Account, Amounts } from "../../src/internal/account.ts"
import { chain, CurrentAccount, dimensions, nothing } from "../../src/internal/account.ts"

/** An agent and its sub-agents. All that it does is read off the numbers, over and over, so that it shrinks to little. */
interface Node {
  readonly numbers: ReadonlyArray<number>
  readonly children: ReadonlyArray<Node>
}

/** Trees that run at the same time on one budget. */
export interface Plan {
  readonly numbers: ReadonlyArray<number>
  readonly trees: ReadonlyArray<Node>
}

const numbers: Arbitrary.Arbitrary<ReadonlyArray<number>> = Arbitrary.array(
  Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 9999 }))),
  { minLength: 24, maxLength: 24 }
)

const node = (depth: number, fanOut: number): Arbitrary.Arbitrary<Node> =>
  Arbitrary.flatMap(
    // Most have few sub-agents, or trees would hardly get deep.
    Arbitrary.schema(Schema.Literals([0, 0, 1, 1, 2, 3, 5, fanOut])),
    (most) => {
      const length = depth === 1 ? 0 : Math.min(most, fanOut)
      return Arbitrary.all({
        numbers,
        children:
          length === 0
            ? Arbitrary.Constant([])
            : Arbitrary.array(node(depth - 1, fanOut), {
                minLength: length >> 1,
                maxLength: length
              })
      })
    }
  )

/** Plans of trees so deep, whose agents have so many sub-agents. */
export const plan = (depth: number, fanOut: number): Arbitrary.Arbitrary<Plan> =>
  Arbitrary.all({ numbers, trees: Arbitrary.array(node(depth, fanOut), { minLength: 1, maxLength: 3 }) })

/** Reads decisions off numbers. */
const decisions = (from: ReadonlyArray<number>) => {
  let read = 0
  // Numbers are often the smallest or the largest that there are, and agents decide more than there are numbers.
  const next = () => (Math.imul(from[read % from.length]! + Math.imul(read++, 0x9e3779b1), 0x85ebca6b) >>> 8) % 10_007
  return {
    below: (n: number) => next() % n,
    /** True in so many of a hundred cases. */
    chance: (percent: number) => next() % 100 < percent
  }
}

type Decisions = ReturnType<typeof decisions>

const sizeOf = ({ children }: Node): number => children.reduce((size, child) => size + sizeOf(child), 1)

/** Limits that so many agents run into now and then. */
const limitsOf = ({ below, chance }: Decisions, agents: number): Budget.Limits => {
  const tokens = 100 + below(6000 * agents)
  const costUsd = (100 + below(8000 * agents)) / 1_000_000
  const modelCalls = 2 + below(4 * agents)
  return {
    ...(chance(60) && { tokens }),
    ...(chance(30) && { costUsd }),
    ...(chance(30) && { modelCalls }),
    ...(chance(30) && { toolCalls: below(5 * agents) }),
    ...(chance(20) && { depth: 1 + below(4) }),
    ...(chance(20) && { duration: 1 + below(200) }),
    ...(chance(30) && { grace: { tokens: Math.ceil(tokens / 3), costUsd: costUsd / 3 } })
  }
}

const prices = Prices.make({
  plain: { input: 0.37, output: 1.91 },
  cached: { input: 2.3, output: 0, cacheWrite: 3.1, cachedInput: 0.17 }
})

const broken = AiError.make({
  module: "Test",
  method: "generate",
  reason: new AiError.InternalProviderError({ description: "broken" })
})

const parameters = Schema.Struct({ n: Schema.Int })
const Work = Tool.make("work", { parameters, success: Schema.Int, failure: Schema.String, failureMode: "return" })

/** An agent that may have any tools, with what it needs besides a model. */
interface Built {
  readonly agent: Agent.Agent<string, string, never, never>
  readonly layer: Layer.Layer<never, never, Llm.Llm>
}

/** Plays a plan, and says what went wrong. */
export const play = Effect.fnUntraced(function* ({ numbers: setting, trees }: Plan) {
  const violations: Array<string> = []
  const accounts = new Set<Account>()
  let hangs = false
  const agents = new Map<string, { readonly node: Node; readonly decide: Decisions }>()

  /** Looks at all accounts that have been seen. */
  const look = (when: string): void => {
    for (const account of accounts) {
      const { limits, name, reserved, spent } = account
      for (const dimension of dimensions) {
        const total = spent[dimension] + reserved[dimension]
        if (limits !== undefined && total > limits[dimension]) {
          violations.push(`${when}: ${name} has ${total} ${dimension} of ${limits[dimension]}`)
        }
        if (reserved[dimension] < 0)
          violations.push(`${when}: ${name} has given back ${dimension} that it did not have`)
      }
    }
  }
  const enter = Effect.withFiber((fiber) => {
    for (const account of chain(fiber.getRef(CurrentAccount))) {
      accounts.add(account)
      const { isRun, name, parent } = account
      const around = name.includes(".") ? name.slice(0, name.lastIndexOf(".")) : "budget"
      if (isRun && parent?.name !== around) violations.push(`${name} draws from ${parent?.name}`)
    }
    look("begin")
    return Effect.void
  })

  const build = (self: Node, name: string): Built => {
    const decide = decisions(self.numbers)
    agents.set(name, { node: self, decide })
    const children = self.children.map((child, i) => build(child, `${name}.${i}`))
    const subs = children.map(({ agent }) => Agent.asTool(agent, { description: "Helps" }))
    const agent = Agent.make(name, {
      instructions: () => Effect.as(enter, name),
      toolkit: Toolkit.make(Work, ...subs.map(({ tool }) => tool)),
      toolConcurrency: 1 + decide.below(16),
      loopDetector: false,
      model: decide.chance(70) ? "plain" : "cached",
      maxTokens: decide.chance(50) ? 1 + decide.below(200) : undefined,
      budget: decide.chance(25) ? limitsOf(decide, sizeOf(self)) : undefined
    })
    const work = Toolkit.make(Work).toLayer({
      work: ({ n }) =>
        Effect.gen(function* () {
          look("tool")
          const millis = n % 5
          if (millis > 0) yield* Effect.sleep(millis)
          if (n % 11 === 7) return yield* Effect.fail("no")
          if (n % 13 === 7) return yield* Effect.die("oh")
          return n
        })
    })
    // The names of tools are not known before the tree is, so neither are their types.
    const layers = [work, ...subs.map((sub, i) => Layer.provide(sub.layer, children[i]!.layer))] as never
    return { agent: agent as never, layer: Layer.mergeAll(...(layers as [Layer.Layer<never, never, Llm.Llm>])) }
  }

  const generate: Llm.Generate = Effect.fnUntraced(function* (request) {
    look("call")
    const { decide, node: self } = agents.get(request.instructions.split("\n")[0]!)!
    const { below, chance } = decide
    const most = request.sampling.maxTokens ?? 300
    const millis = below(6)
    if (millis > 0) yield* Effect.sleep(millis)
    if (chance(3)) return yield* Effect.fail(broken)
    if (chance(1)) {
      hangs = true
      return yield* Effect.never
    }
    const estimate = TokenEstimator.request(yield* TokenEstimator.TokenEstimator, request)
    // The first turn is that in which sub-agents are called.
    const isFirst = request.history.length === 1
    const isLast = chance(isFirst ? 15 : 60)
    const works = Array.from({ length: below(3) }, () => ({ name: "work", params: { n: below(1000) } }))
    const helps = (isFirst ? request.tools : []).flatMap(({ name }) =>
      name === "work" ? [] : [{ name, params: { prompt: "Go" } }]
    )
    // Now and then a tool is called though none may be.
    const calls = isLast && self.numbers.length > 0 ? [] : [...helps, ...works]
    const parts = calls.map((call) => ({ type: "tool-call", id: "", ...call }) as const)
    look("answer")
    const inputTokens = chance(50) ? estimate : below(estimate + 1)
    return {
      content: [{ type: "text", text: "Well" } as const, ...parts],
      finishReason: "stop" as const,
      tokens: {
        inputTokens,
        outputTokens: chance(10) ? most : Math.min(most, below(200)),
        cachedInputTokens: 0,
        cacheWriteTokens: chance(50) ? inputTokens : 0,
        reasoningTokens: 0
      },
      model: request.sampling.model
    }
  })

  const around = decisions(setting)
  const limits = limitsOf(
    around,
    trees.reduce((size, tree) => size + sizeOf(tree), 0)
  )
  const built = trees.map((tree, i) => build(tree, `agent${i}`))
  const runs = Effect.forEach(
    built,
    ({ agent, layer }) =>
      Effect.andThen(enter, Agent.run(agent, "Go")).pipe(
        Effect.provide(layer),
        Effect.tapCause((cause) => Effect.sync(() => violations.push(...untyped(cause)))),
        Effect.exit
      ),
    { concurrency: "unbounded" }
  )
  // Something hangs in some plans, so that all of them are cut short at last.
  const end = around.chance(30) ? 1 + around.below(100) : 60_000
  const program = Effect.timeoutOption(runs, end).pipe(
    Budget.limit(limits),
    Effect.provideService(Prices.Prices, prices),
    Effect.provide(Llm.layer(generate))
  )
  const fiber = yield* Effect.forkChild(Laws.record(program), { startImmediately: true })
  for (let seconds = 0; fiber.pollUnsafe() === undefined && seconds < 120; seconds++)
    yield* TestClock.adjust("1 second")
  const exit = fiber.pollUnsafe()
  if (exit === undefined) return [...violations, "it hangs"]
  if (Exit.isFailure(exit)) return [...violations, Cause.pretty(exit.cause)]
  const { events, exit: ended } = exit.value
  if (Exit.isFailure(ended)) return [...violations, Cause.pretty(ended.cause)]
  if (Option.isNone(ended.value) && end === 60_000 && !hangs) violations.push("somebody waits for nothing")
  look("end")
  for (const { name, reserved, waiting } of accounts) {
    if (dimensions.some((dimension) => reserved[dimension] !== 0))
      violations.push(`${name} has reserved something for ever`)
    if (waiting.size > 0) violations.push(`${name} has somebody waiting for ever`)
  }
  return [...violations, ...Laws.events(events), ...sums(accounts, events)]
})

/** A run that fails does it in a typed way. */
const untyped = (cause: Cause.Cause<unknown>): ReadonlyArray<string> => {
  if (Cause.hasInterruptsOnly(cause)) return []
  const error = Cause.squash(cause)
  const reason = error instanceof AgentError ? error.reason : error
  const expected = ["BudgetExceeded", "ModelFailed", "TurnLimitReached"]
  return error instanceof AgentError && expected.includes(error.reason._tag) ? [] : [`fails with ${String(reason)}`]
}

/** What accounts have adds up, and is what agents have told. */
const sums = (accounts: ReadonlySet<Account>, events: ReadonlyArray<AgentEvent>): ReadonlyArray<string> => {
  const violations: Array<string> = []
  const root = Array.from(accounts).find(({ parent }) => parent === undefined)!
  const within = new Map<Account | undefined, Array<Account>>()
  for (const account of accounts) within.set(account.parent, [...(within.get(account.parent) ?? []), account])
  const told = tellings(events)
  const cut = new Set(events.filter(isCut).map(({ agent }) => agent))
  for (const dimension of dimensions) {
    const leaves = new Map<string, number>()
    for (const account of accounts) {
      // What the run has spent itself. A budget around runs spends nothing.
      const own = account.spent[dimension] - sum(within.get(account) ?? [], dimension)
      if (own < 0 || (own > 0 && !account.isRun)) violations.push(`${account.name} is off by ${own} ${dimension}`)
      leaves.set(account.name, (leaves.get(account.name) ?? 0) + own)
    }
    for (const [name, spent] of leaves) {
      const booked = root.byAgent.get(name)?.[dimension] ?? 0
      if (booked !== spent) violations.push(`${name} has spent ${spent} ${dimension}, ${booked} are booked`)
      const expected = told.get(name)?.[dimension] ?? 0
      // What ends in the moment in which its run is cut short is booked, but the run does not get to tell.
      if (cut.has(name) ? booked < expected : booked !== expected) {
        violations.push(`${name} tells of ${expected} ${dimension}, ${booked} are booked`)
      }
    }
    const total = Array.from(leaves.values()).reduce((all, spent) => all + spent, 0)
    if (total !== root.spent[dimension])
      violations.push(`the leaves have ${total} ${dimension}, the root another number`)
  }
  return violations
}

/** The run may have been stopped in the middle of something. */
const isCut = (event: AgentEvent): boolean =>
  event._tag === "RunInterrupted" || (event._tag === "RunFailed" && event.message.includes("ms, which are over"))

/** What agents have told that they have spent themselves. */
const tellings = (events: ReadonlyArray<AgentEvent>): ReadonlyMap<string, Amounts> => {
  const told = new Map<string, Amounts>()
  const add = (agent: string, amounts: Partial<Amounts>) => {
    const { costNanoUsd, modelCalls, tokens, toolCalls } = told.get(agent) ?? nothing
    told.set(agent, {
      tokens: tokens + (amounts.tokens ?? 0),
      costNanoUsd: costNanoUsd + (amounts.costNanoUsd ?? 0),
      modelCalls: modelCalls + (amounts.modelCalls ?? 0),
      toolCalls: toolCalls + (amounts.toolCalls ?? 0)
    })
  }
  const notRun = ["unknown-tool", "invalid-params", "over-budget"]
  for (const event of events) {
    const { agent } = event
    if (event._tag === "ModelCallCompleted") {
      const { costNanoUsd, tokens } = event
      add(agent, { tokens: Usage.totalTokens(tokens), costNanoUsd, modelCalls: 1 })
    }
    if (event._tag === "ToolCallCompleted" || (event._tag === "ToolCallFailed" && !notRun.includes(event.kind))) {
      add(agent, { toolCalls: 1 })
    }
  }
  return told
}

const sum = (accounts: ReadonlyArray<Account>, dimension: keyof Amounts): number =>
  accounts.reduce((total, { spent }) => total + spent[dimension], 0)

/** Checks so many plans of full size: trees four deep, of agents with up to 16 sub-agents. */
export const prove = (options: { readonly runs: number; readonly seed?: number | undefined }) =>
  Arbitrary.checkEffect(
    plan(4, 16),
    (self) =>
      Effect.flatMap(play(self), (violations) =>
        violations.length === 0 ? Effect.succeed(true) : Effect.fail(violations)
      ),
    { runs: options.runs, seed: options.seed, size: 16 }
  ).pipe(Effect.provide(TestClock.layer()))

const program = Effect.gen(function* () {
  const { values } = parseArgs({
    options: { runs: { type: "string", default: "2000" }, seed: { type: "string", default: "1" } }
  })
  const result = yield* prove({ runs: Number(values.runs), seed: Number(values.seed) })
  yield* Console.log(JSON.stringify(result, undefined, 2))
  if (result._tag !== "Passed") process.exitCode = 1
})

if (import.meta.main) NodeRuntime.runMain(program)
