/** Random workflows over numbers, of all kinds of steps, and what they have to put out. */
import * as Agent from "effect-agent-runtime/Agent"
import * as History from "effect-agent-runtime/History"
import { Llm } from "effect-agent-runtime/Llm"
import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
import * as Workflow from "effect-agent-runtime/Workflow"
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

/** What a workflow is made of: data, so that it can be shown and made smaller. */
export type Plan =
  | { readonly kind: "transform" | "effect" | "agent"; readonly k: number }
  | { readonly kind: "branch" | "route" | "parallel" | "fallback" | "workflow"; readonly plans: readonly [Plan, Plan] }
  | { readonly kind: "map" | "loop" | "retry" | "refine"; readonly plan: Plan; readonly k: number }

const small = Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 9 })))

const oneOf = <const A>(values: ReadonlyArray<A>): Arbitrary.Arbitrary<A> =>
  Arbitrary.map(
    Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: values.length - 1 }))),
    (i) => values[i]!
  )

const leaf: Arbitrary.Arbitrary<Plan> = Arbitrary.map(
  Arbitrary.all([oneOf(["transform", "effect", "agent"]), small]),
  ([kind, k]): Plan => ({ kind, k })
)

const planOf = (depth: number): Arbitrary.Arbitrary<Plan> => {
  if (depth === 0) return leaf
  const inner = planOf(depth - 1)
  const two = Arbitrary.map(
    Arbitrary.all([oneOf(["branch", "route", "parallel", "fallback", "workflow"]), inner, inner]),
    ([kind, first, second]): Plan => ({ kind, plans: [first, second] })
  )
  const one = Arbitrary.map(
    Arbitrary.all([oneOf(["map", "loop", "retry", "refine"]), inner, small]),
    ([kind, plan, k]): Plan => ({ kind, plan, k })
  )
  return Arbitrary.flatMap(oneOf([leaf, one, two, two]), (arbitrary) => arbitrary)
}

export const plan: Arbitrary.Arbitrary<Plan> = planOf(3)

export class Unlucky extends Schema.TaggedError<Unlucky>()("Unlucky", { n: Schema.Finite }) {}

const bounded = (n: number): number => n % 1000
/** Effects fail for some numbers, so that `retry` and `fallback` have something to do. */
const isUnlucky = (n: number): boolean => n % 11 === 5

const leafOutput = (kind: "transform" | "effect" | "agent", k: number, n: number): number =>
  bounded(kind === "effect" ? n * 2 + k : n + k)

const spread = (n: number): ReadonlyArray<number> => [n, n + 1, n + 2]
const sum = (numbers: ReadonlyArray<number>): number => bounded(numbers.reduce((a, b) => a + b, 0))
const rounds = 2

/** What a workflow puts out, or `undefined` if it fails. */
export const direct = (self: Plan, n: number): number | undefined => {
  switch (self.kind) {
    case "transform":
    case "agent":
      return leafOutput(self.kind, self.k, n)
    case "effect":
      return isUnlucky(n) ? undefined : leafOutput("effect", self.k, n)
    case "branch":
    case "route":
      return direct(self.plans[n % 2]!, n)
    case "parallel": {
      const outputs = self.plans.map((inner) => direct(inner, n))
      return outputs.includes(undefined) ? undefined : sum(outputs as ReadonlyArray<number>)
    }
    case "fallback":
      return direct(self.plans[0], n) ?? direct(self.plans[1], n)
    case "workflow": {
      const first = direct(self.plans[0], n)
      return first === undefined ? undefined : direct(self.plans[1], first)
    }
    case "map": {
      const outputs = spread(n).map((item) => direct(self.plan, item))
      return outputs.includes(undefined) ? undefined : sum(outputs as ReadonlyArray<number>)
    }
    case "loop": {
      let output: number | undefined = n
      for (let i = 0; i <= self.k % 3; i++) if (output !== undefined) output = direct(self.plan, output)
      return output
    }
    case "retry":
      return direct(self.plan, n)
    case "refine": {
      let asked = n
      let output: number | undefined
      for (let round = 1; round <= rounds; round++) {
        output = direct(self.plan, asked)
        if (output === undefined || output % 3 === 0) return output
        asked = output
      }
      return output
    }
  }
}

/** Where things can go wrong from outside: what happens when an effect or a model call begins. */
export interface World {
  readonly before: Effect.Effect<void>
}

type Step = Workflow.Workflow<number, number, unknown, Llm>

/** The workflow of a plan. */
export const build = (self: Plan, world: World, name = "root"): Step => {
  const inner = (nested: Plan, at: string) => build(nested, world, at)
  switch (self.kind) {
    case "transform":
      return Workflow.transform(name, (n) => leafOutput("transform", self.k, n))
    case "effect":
      return Workflow.effect(name, (n) =>
        world.before.pipe(
          Effect.andThen(Effect.yieldNow),
          Effect.andThen(isUnlucky(n) ? new Unlucky({ n }) : Effect.succeed(leafOutput("effect", self.k, n)))
        )
      )
    case "agent":
      return Workflow.agent(Agent.make("adder", { output: Schema.Finite, instructions: String(self.k) }), {
        name,
        prompt: (n: number) => String(n)
      })
    case "branch":
      return Workflow.branch(name, (n: number) => (n % 2 === 0 ? "even" : "odd"), {
        even: inner(self.plans[0], "first"),
        odd: inner(self.plans[1], "second")
      })
    case "route":
      return Workflow.route(
        name,
        Workflow.effect("on", (n: number) => Effect.as(world.before, n % 2 === 0 ? "even" : "odd")),
        { even: inner(self.plans[0], "first"), odd: inner(self.plans[1], "second") }
      )
    case "parallel":
      return Workflow.make(
        name,
        Workflow.parallel("both", { a: inner(self.plans[0], "first"), b: inner(self.plans[1], "second") }),
        Workflow.transform("sum", ({ a, b }) => sum([a, b]))
      )
    case "fallback":
      return Workflow.fallback(name, inner(self.plans[0], "first"), inner(self.plans[1], "second"))
    case "workflow":
      return Workflow.make(name, inner(self.plans[0], "first"), inner(self.plans[1], "second"))
    case "map":
      return Workflow.make(
        name,
        Workflow.transform("spread", spread),
        Workflow.map("each", inner(self.plan, "item"), { concurrency: 1 + (self.k % 3) }),
        Workflow.transform("sum", sum)
      )
    case "loop":
      return Workflow.loop(name, inner(self.plan, "body"), { until: (_, iterations) => iterations > self.k % 3 })
    case "retry":
      return Workflow.retry(name, inner(self.plan, "body"), { times: self.k % 3 })
    case "refine":
      return Workflow.refine(name, inner(self.plan, "produce"), {
        judge: Workflow.transform("judge", ({ output }) => ({ accepted: output % 3 === 0, feedback: "" })),
        revise: ({ output }) => output,
        maxRounds: rounds,
        onLimit: "keepBest"
      })
  }
}

/** A model that adds what its instructions say to the number in the prompt. */
export const model = (world: World) =>
  ScriptedLlm.make([], ({ history, instructions }) => {
    const [asked] = History.toMessages(history)
    const n = asked?.role === "user" ? Number(History.userText(asked.content)) : NaN
    return Effect.as(Effect.andThen(world.before, Effect.yieldNow), String(bounded(n + Number(instructions))))
  })

export { Llm }
