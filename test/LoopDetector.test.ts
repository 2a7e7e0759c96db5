import { assert, describe, it } from "@effect/vitest"
import { InvalidAgent } from "effect-agent-runtime/AgentError"
import * as LoopDetector from "effect-agent-runtime/LoopDetector"
import { Arbitraries, Laws } from "effect-agent-runtime/testing"
import * as Tool from "effect/ai/Tool"
import * as Arbitrary from "effect/Arbitrary"
import * as Schema from "effect/Schema"

const int = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

const Settings = Arbitrary.map(
  Arbitrary.schema(
    Schema.Struct({
      window: int(1, 20),
      maxFailures: int(1, 3),
      maxSameError: int(1, 4),
      replays: int(0, 2),
      refusals: int(0, 2)
    })
  ),
  LoopDetector.make
)

const rule = (annotate: (tool: Tool.Any) => Tool.Any) => LoopDetector.rule(annotate(Tool.make("any")))

/** Rules for some of the tools in `Arbitraries.trace`. */
const Rules = Arbitrary.map(
  Arbitrary.schema(Schema.Struct({ readOnly: Schema.Boolean, repeatable: Schema.Boolean, own: Schema.Boolean })),
  ({ own, readOnly, repeatable }): Laws.Rules =>
    new Map([
      ["read", rule((tool) => tool.annotate(Tool.Readonly, readOnly))],
      ["poll", rule((tool) => tool.annotate(LoopDetector.Repeatable, repeatable))],
      // Throws for arguments that are no object.
      [
        "write",
        rule((tool) => (own ? tool.annotate(LoopDetector.Identity, (params: any) => params.path.length) : tool))
      ]
    ])
)

const done = { isFailure: false, result: "done" }
const failed = (result: unknown = "broken") => ({ isFailure: true, result })
const step = (tool: string, params: unknown = {}, outcome: Laws.Step["outcome"] = done): Laws.Step => ({
  tool,
  params,
  outcome
})

/** The verdicts about one call per turn. */
const about = (
  detector: LoopDetector.LoopDetector,
  steps: ReadonlyArray<Laws.Step>,
  rules?: Laws.Rules
): ReadonlyArray<LoopDetector.Verdict> =>
  Laws.verdicts(
    detector,
    steps.map((one) => [one]),
    rules
  ).flat()

const repeat = <const A>(times: number, ...items: ReadonlyArray<A>): ReadonlyArray<A> =>
  Array.from({ length: times }, () => items).flat()

const standard = LoopDetector.make()

describe("the laws", () => {
  it.prop(
    "hold for any settings, tools and calls",
    [Settings, Rules, Arbitraries.trace],
    ([detector, rules, trace]) => {
      assert.deepStrictEqual(Laws.detector(detector, trace, rules), [])
    },
    { timeout: 30_000, arbitrary: { runs: 3000, size: 20 } }
  )

  it.prop(
    "hold in whatever order the calls of a turn end",
    [Settings, Schema.Array(int(0, 5)), Schema.Array(int(0, 5)).check(Schema.isMinLength(2))],
    ([detector, before, cycle]) => {
      const state = LoopDetector.initial()
      const call = (index: number, turn: number) => ({ tool: "t", key: `k${index}`, turn })
      const play = (indices: ReadonlyArray<number>, turn: number) => {
        const calls = indices.map((index) => call(index, turn))
        const verdicts = calls.map((one) => LoopDetector.observe(detector, state, one))
        const allowed = calls.filter((_, i) => verdicts[i] === "allow")
        for (const one of allowed.toReversed()) LoopDetector.settle(detector, state, one, done)
        return verdicts
      }
      play(before, 1)
      const distinct = Array.from(new Set(cycle)).slice(0, detector.window)
      const verdicts = [...play(distinct, 2), ...play(distinct, 3)]
      assert.isTrue(verdicts.some((verdict) => verdict !== "allow"))
      assert.isAtMost(state.calls.size, detector.window)
    },
    { arbitrary: { runs: 1000 } }
  )
})

describe("a result", () => {
  it.prop(
    "is given again only while nothing may have changed since",
    [Rules, Arbitraries.trace],
    ([rules, trace]) => {
      const detector = LoopDetector.make({ replays: 100 })
      const state = LoopDetector.initial()
      const freshAt = new Map<string, number>()
      const reported = new Map<string, unknown>()
      let changes = 0
      for (const [turn, steps] of trace.entries()) {
        const allowed = new Map<LoopDetector.Call, Laws.Step["outcome"]>()
        for (const { outcome, params, tool } of steps) {
          const { readOnly, repeatable } = rules.get(tool) ?? {}
          const key = LoopDetector.keyOf(rules.get(tool), tool, params)
          const call = { tool, key, turn, readOnly, repeatable }
          const verdict = LoopDetector.observe(detector, state, call)
          const running = Array.from(allowed.keys())
          const runs = running.some((other) => other.key === key)
          const changing = running.some((other) => other.readOnly !== true)
          if (verdict === "allow") allowed.set(call, outcome)
          else if (state.kind === "repeat" && !runs) {
            assert.strictEqual(verdict, freshAt.get(key) === changes && !changing ? "replay" : "refuse")
          }
        }
        for (const [call, outcome] of allowed) {
          LoopDetector.settle(detector, state, call, outcome)
          const isNews = reported.get(call.key) !== outcome.result
          if (outcome.isFailure) continue
          if (call.readOnly !== true || (call.repeatable === true && isNews)) changes++
          reported.set(call.key, outcome.result)
          freshAt.set(call.key, changes)
        }
      }
    },
    { arbitrary: { runs: 1000, size: 20 } }
  )
})

/** The most turns that any model with `k` distinct calls takes, found by trying everything it can do. */
const longest = (detector: LoopDetector.LoopDetector, k: number, callsPerTurn: number): number => {
  const known = new Map<string, number>()
  const choices: Array<ReadonlyArray<number>> = []
  const choose = (chosen: ReadonlyArray<number>) => {
    if (chosen.length > 0) choices.push(chosen)
    if (chosen.length < callsPerTurn) for (let i = 0; i < k; i++) choose([...chosen, i])
  }
  choose([])
  /** What of a state matters for verdicts to come. */
  const essence = ({ calls, effects, progress, rung }: LoopDetector.State) =>
    JSON.stringify([
      rung,
      Array.from({ length: k }, (_, i) => {
        const { failedAt = -1, failures = 0, succeededAt = -1 } = calls.get(`k${i}`) ?? {}
        return [succeededAt === effects, succeededAt === -1, failedAt === progress ? failures : 0]
      })
    ])
  const from = (state: LoopDetector.State, turn: number): number => {
    const name = essence(state)
    const most = known.get(name)
    assert.notStrictEqual(most, 0, "a model can go round for ever")
    if (most !== undefined) return most
    known.set(name, 0)
    let turns = 1
    for (const chosen of choices) {
      const calls = chosen.map((i) => ({ tool: `t${i}`, key: `k${i}`, turn }))
      for (let outcomes = 0; outcomes < 2 ** calls.length; outcomes++) {
        const next = structuredClone(state)
        const verdicts = calls.map((call) => LoopDetector.observe(detector, next, call))
        if (verdicts.includes("stop")) continue
        for (const [i, call] of calls.entries()) {
          if (verdicts[i] !== "allow") continue
          LoopDetector.settle(detector, next, call, (outcomes >> i) % 2 === 0 ? done : failed(turn))
        }
        turns = Math.max(turns, 1 + from(next, turn + 1))
      }
    }
    known.set(name, turns)
    return turns
  }
  return from(LoopDetector.initial(), 1)
}

describe("bound", () => {
  const settings = [1, 2, 3].flatMap((maxFailures) =>
    [0, 1, 2].map((replays) => LoopDetector.make({ maxFailures, replays, refusals: 0 }))
  )

  it.each(settings)("is the most turns any model takes: $maxFailures failures, $replays replays", (detector) => {
    assert.isAtMost(longest(detector, 1, 2), LoopDetector.bound(detector, 1))
    assert.strictEqual(longest(detector, 2, 2), LoopDetector.bound(detector, 2))
  })

  it("counts replays and refusals alike, and grows with the square of the calls", () => {
    const detector = LoopDetector.make({ maxFailures: 2, replays: 0, refusals: 1 })
    assert.strictEqual(longest(detector, 3, 1), LoopDetector.bound(detector, 3))
    assert.strictEqual(LoopDetector.bound(standard, 1), 12)
    assert.strictEqual(LoopDetector.bound(standard, 10), 345)
  })
})

describe("a repeated call", () => {
  it("is caught 200 times out of 200, whatever the order of its three keys", () => {
    const orders = [
      { operation: "add", a: 5, b: 3 },
      { b: 3, a: 5, operation: "add" },
      { a: 5, operation: "add", b: 3 }
    ]
    for (let i = 0; i < 200; i++) {
      const steps = [step("calculator", orders[i % 3]), step("calculator", orders[(i + 1) % 3])]
      assert.deepStrictEqual(about(standard, steps), ["allow", "replay"])
    }
  })

  it("is a loop only if it succeeded", () => {
    assert.deepStrictEqual(about(standard, [step("search", {}, failed()), step("search")]), ["allow", "allow"])
  })

  it("is no loop after something has changed", () => {
    const read = step("read", { path: "a" })
    const write = (text: string) => step("write", { path: "a", text })
    const rules = new Map([["read", rule((tool) => tool.annotate(Tool.Readonly, true))]])
    assert.deepStrictEqual(about(standard, [read, write("1"), read, write("2"), read], rules), repeat(5, "allow"))
    // Reading changes nothing, and neither does writing the same again.
    assert.deepStrictEqual(about(standard, [read, step("read", { path: "b" }), read], rules).at(-1), "replay")
    assert.deepStrictEqual(about(standard, [read, write("1"), read, write("1"), read], rules), [
      "allow",
      "allow",
      "allow",
      "replay",
      "replay"
    ])
  })

  it("is a loop in company too: A-B-A-B, and a result that may be out of date is not given again", () => {
    const [a, b] = [step("read", "a"), step("read", "b")]
    assert.deepStrictEqual(about(standard, [a, b, a, b]), ["allow", "allow", "allow", "refuse"])
    const rules = new Map([["read", rule((tool) => tool.annotate(Tool.Readonly, true))]])
    assert.deepStrictEqual(about(standard, [a, b, a], rules), ["allow", "allow", "replay"])
  })

  it("is not answered with what a call of the same turn may be changing", () => {
    const rules = new Map([["read", rule((tool) => tool.annotate(Tool.Readonly, true))]])
    const [read, write] = [step("read", "a"), step("write", "a")]
    assert.deepStrictEqual(Laws.verdicts(standard, [[read], [write, read], [read]], rules), [
      ["allow"],
      ["allow", "refuse"],
      ["allow"]
    ])
  })

  it("is no loop after a poll has reported something new", () => {
    const rules = new Map([
      ["poll", rule((tool) => tool.annotate(LoopDetector.Repeatable, true).annotate(Tool.Readonly, true))]
    ])
    const read = step("read", "file")
    const poll = (result: string) => step("poll", {}, { isFailure: false, result })
    assert.deepStrictEqual(about(standard, [poll("busy"), read, poll("busy"), read, poll("done"), read, read], rules), [
      "allow",
      "allow",
      "allow",
      "replay",
      "allow",
      "allow",
      "replay"
    ])
  })

  it("is no loop after a repeatable call that may have changed something, whatever it says", () => {
    const rules = new Map([
      ["scroll", rule((tool) => tool.annotate(LoopDetector.Repeatable, true))],
      ["look", rule((tool) => tool.annotate(Tool.Readonly, true))]
    ])
    const [scroll, look] = [step("scroll"), step("look")]
    assert.deepStrictEqual(about(standard, [look, scroll, look, scroll, look], rules), repeat(5, "allow"))
    assert.strictEqual(about(standard, [scroll, look, look], rules)[2], "replay")
    assert.strictEqual(about(standard, [look, step("scroll", {}, failed()), look], rules)[2], "replay")
    // What it shows at the time is not known yet.
    assert.deepStrictEqual(Laws.verdicts(standard, [[look], [scroll, look]], rules)[1], ["allow", "refuse"])
  })

  it("is caught within a turn, while the first still runs", () => {
    const a = step("read", "a")
    assert.deepStrictEqual(Laws.verdicts(standard, [[a, a, step("read", "b"), a]]), [
      ["allow", "replay", "allow", "replay"]
    ])
  })

  it("is remembered even if the window has moved on while it ran", () => {
    const narrow = LoopDetector.make({ window: 1 })
    const state = LoopDetector.initial()
    const call = (key: string, turn: number) => ({ tool: "read", key, turn })
    for (const key of ["a", "b"]) LoopDetector.observe(narrow, state, call(key, 1))
    for (const key of ["b", "a"]) LoopDetector.settle(narrow, state, call(key, 1), done)
    assert.strictEqual(LoopDetector.observe(narrow, state, call("a", 2)), "replay")
  })

  it("is wanted of a tool for polling", () => {
    const rules = new Map([["poll", rule((tool) => tool.annotate(LoopDetector.Repeatable, true))]])
    assert.deepStrictEqual(about(standard, repeat(50, step("poll")), rules), repeat(50, "allow"))
  })
})

describe("a failing call", () => {
  it("may be tried again, so many times in a row", () => {
    const detector = LoopDetector.make({ maxFailures: 2 })
    const failing = (n: number) => step("search", "a", failed(n))
    assert.deepStrictEqual(about(detector, [1, 2, 3].map(failing)), ["allow", "allow", "replay"])
  })

  it("is forgiven with the first success of another", () => {
    const detector = LoopDetector.make({ maxFailures: 2 })
    const failing = (n: number) => step("search", "a", failed(n))
    const steps = [failing(1), failing(2), step("read"), failing(3), failing(4), failing(5)]
    assert.deepStrictEqual(about(detector, steps), [...repeat(5, "allow"), "replay"])
  })

  it("is a loop of its tool when the error stays the same, whatever the arguments", () => {
    const detector = LoopDetector.make({ maxSameError: 3 })
    const failing = (n: number, error: unknown = { code: 7, reason: "no" }) => step("search", n, failed(error))
    assert.deepStrictEqual(
      about(
        detector,
        [1, 2, 3, 4].map((n) => failing(n))
      ),
      [...repeat(3, "allow"), "replay"]
    )
    // In another order of keys it is the same error; another one begins to count anew.
    assert.strictEqual(
      about(detector, [failing(1), failing(2), failing(3, { reason: "no", code: 7 }), failing(4)])[3],
      "replay"
    )
    assert.strictEqual(about(detector, [failing(1), failing(2), failing(3, "other"), failing(4)])[3], "allow")
    // Another tool is not to blame, and its progress forgives.
    const steps = [...[1, 2, 3].map((n) => failing(n)), step("read"), ...[4, 5, 6, 7].map((n) => failing(n))]
    assert.deepStrictEqual(about(detector, steps), [...repeat(7, "allow"), "replay"])
  })
})

describe("an error", () => {
  const detector = LoopDetector.make({ maxSameError: 3 })
  const verdict = (failures: ReadonlyArray<readonly [params: unknown, error: unknown]>) =>
    about(detector, [
      ...failures.map(([params, error]) => step("open", params, failed(error))),
      step("open", "other")
    ]).at(-1)

  it("is the same if only what it repeats of the arguments differs", () => {
    const paths = ["a.ts", "src/a.ts", "src/no such/b.ts"]
    assert.strictEqual(verdict(paths.map((path) => [{ path }, `no such file: '${path}'`])), "replay")
    assert.strictEqual(verdict([7, 8, 9].map((id) => [{ id }, { code: 7, message: `no ${id}` }])), "replay")
    assert.strictEqual(verdict(["{", "{a", "{b"].map((text) => [text, `${text} is not JSON`])), "replay")
  })

  it("is another if it says something else", () => {
    const fields = ["name", "zip", "city"]
    const params = (i: number) => ({ name: "Kim", zip: i, city: "Linz" })
    assert.strictEqual(verdict(fields.map((field, i) => [params(i), `${field} is missing`])), "allow")
    assert.strictEqual(verdict([3, 2, 1].map((left, i) => [{ attempt: `x${i}` }, `${left} errors`])), "allow")
    // The end of a long log may be what matters.
    const log = "compiling\n".repeat(300)
    assert.strictEqual(verdict(["a", "b", "c"].map((path) => [{ path }, `${log}${path} failed`])), "allow")
    assert.strictEqual(verdict(["a", "b", "c"].map((path) => [{ path }, log])), "replay")
  })
})

describe("a tool that fails with the same error", () => {
  const detector = LoopDetector.make({ maxSameError: 3 })
  const failing = (n: number) => step("open", n, failed("not found"))

  it("is not condemned for the calls of one turn", () => {
    const turn = [1, 2, 3, 4, 5].map(failing)
    assert.deepStrictEqual(Laws.verdicts(detector, [turn, [step("open", "right")]]), [repeat(5, "allow"), ["allow"]])
  })

  it("gets another chance with new arguments each time the model was told", () => {
    const steps = [1, 2, 3, 4, 5, 6, 7].map(failing)
    assert.deepStrictEqual(about(detector, [...steps, step("open", "right"), step("open", "other")]), [
      ...repeat(3, "allow"),
      "replay",
      "allow",
      "replay",
      "allow",
      "refuse",
      "allow"
    ])
  })

  it("is stopped in the end", () => {
    const verdicts = about(
      detector,
      Array.from({ length: 30 }, (_, n) => failing(n))
    )
    assert.strictEqual(verdicts.at(-1), "stop")
    assert.strictEqual(verdicts.length, 3 + 4 * 2 + 1)
  })
})

describe("the ladder", () => {
  const a = step("read", "a")

  it("goes from replay to refusal to the end, one rung per turn", () => {
    assert.deepStrictEqual(about(standard, repeat(9, a)), ["allow", "replay", "replay", "refuse", "refuse", "stop"])
    const twice = Laws.verdicts(standard, [[a], ...repeat(5, [a, a])])
    assert.deepStrictEqual(
      twice.slice(1),
      (["replay", "replay", "refuse", "refuse", "stop"] as const).map((verdict) => [verdict, verdict])
    )
  })

  it("starts again with the first success of a call", () => {
    const steps = [a, a, a, a, step("read", "b"), a, a, a]
    assert.deepStrictEqual(about(standard, steps).slice(4), ["allow", "allow", "replay", "replay"])
  })

  it("has the length it is given", () => {
    const lengths = (replays: number, refusals: number) =>
      about(LoopDetector.make({ replays, refusals }), repeat(9, a)).slice(1)
    assert.deepStrictEqual(lengths(0, 0), ["stop"])
    assert.deepStrictEqual(lengths(1, 0), ["replay", "stop"])
    assert.deepStrictEqual(lengths(0, 2), ["refuse", "refuse", "stop"])
  })
})

describe("key", () => {
  it.prop("is the same for the same arguments only, malformed ones included", [Arbitraries.params], ([params]) => {
    const absent = params === undefined || params === null || params === ""
    assert.strictEqual(LoopDetector.key("t", params), LoopDetector.key("t", structuredClone(params)))
    assert.strictEqual(LoopDetector.key("t", params) === LoopDetector.key("t", {}), absent || isEmpty(params))
    assert.notStrictEqual(LoopDetector.key("t", params), LoopDetector.key("u", params))
    assert.notStrictEqual(LoopDetector.key("t", params), LoopDetector.key("t", [params]))
  })

  const isEmpty = (params: unknown) =>
    typeof params === "object" && params !== null && !Array.isArray(params) && Object.keys(params).length === 0

  it("tells malformed arguments from none, and from each other", () => {
    assert.deepStrictEqual(about(standard, [step("t", "{"), step("t", {}), step("t", '{"a"')]), repeat(3, "allow"))
    assert.deepStrictEqual(about(standard, [step("t", undefined), step("t", {})]), ["allow", "replay"])
  })

  it("is the tool's own idea, if it has one and can read the arguments", () => {
    const own = rule((tool) => tool.annotate(LoopDetector.Identity, (params: any) => params.query.toLowerCase()))
    const same = [step("t", { query: "Tea", why: "thirst" }), step("t", { query: "tea", why: "for a friend" })]
    assert.deepStrictEqual(about(standard, same), ["allow", "allow"])
    assert.deepStrictEqual(about(standard, same, new Map([["t", own]])), ["allow", "replay"])
    const unreadable = [step("t", { q: 1 }), step("t", { q: 2 }), step("t", "{"), step("t", { q: 1 })]
    assert.deepStrictEqual(about(standard, unreadable, new Map([["t", own]])), repeat(4, "allow"))
    // It never gets to see what is not JSON.
    const blind = new Map([["t", rule((tool) => tool.annotate(LoopDetector.Identity, () => "same"))]])
    const malformed = ["{", "[", { q: 1 }].map((params) => step("t", params))
    assert.deepStrictEqual(about(standard, malformed, blind), repeat(3, "allow"))
  })
})

describe("messages", () => {
  const call = { tool: "search", key: LoopDetector.key("search", { q: "tea" }), turn: 1 }
  const after = (...outcomes: ReadonlyArray<Laws.Step["outcome"]>) => {
    const state = LoopDetector.initial()
    for (const outcome of outcomes) {
      LoopDetector.observe(standard, state, call)
      LoopDetector.settle(standard, state, call, outcome)
    }
    return state
  }

  const told = (
    detector: LoopDetector.LoopDetector,
    state: LoopDetector.State,
    kind: LoopDetector.LoopKind = "repeat"
  ) => LoopDetector.answer(detector, state, call, "replay", kind)

  it("of a replay are the original's, with the result in plain JSON", () => {
    assert.deepStrictEqual(told(standard, after({ isFailure: false, result: { result: 8 } })), {
      message:
        "You already called the tool 'search' with these exact parameters and received a response: "
        + '{"result":8}. Please use the previous result instead of calling it again. If you need different '
        + "information, try calling with different parameters.",
      isFailure: false
    })
  })

  it("can be given, and every placeholder is replaced, by the text as it is", () => {
    const detector = LoopDetector.make({ message: "{tool_name}, {tool_name}: {previous_result}!" })
    const result = "$& {tool_name} $1"
    assert.strictEqual(
      told(detector, after({ isFailure: false, result })).message,
      "search, search: $& {tool_name} $1!"
    )
  })

  it("show the call's own result, `null` too", () => {
    const detector = LoopDetector.make({ message: "{previous_result}" })
    const state = after(failed("old"), { isFailure: false, result: null })
    assert.deepStrictEqual(told(detector, state), { message: "null", isFailure: false })
    assert.strictEqual(told(detector, LoopDetector.initial()).message, "no result")
  })

  it("of an error that is given again are failed results", () => {
    assert.isTrue(told(standard, after(failed("broken")), "failing").isFailure)
    const same = told(standard, after(failed({ code: 7 })), "same-error")
    assert.isTrue(same.isFailure)
    assert.match(same.message, /'search' was not run.*same error: \{"code":7\}/)
  })

  it("of a refusal name the tool and say what comes next", () => {
    const { isFailure, message } = LoopDetector.answer(standard, after(done), call, "refuse", "repeat")
    assert.isTrue(isFailure)
    assert.match(message, /'search' was refused.*stopped if the repetition goes on/)
  })
})

describe("make", () => {
  it("has the documented defaults", () => {
    const { message: _, ...settings } = standard
    assert.deepStrictEqual(settings, { window: 64, maxFailures: 3, maxSameError: 5, replays: 2, refusals: 2 })
  })

  it.each([
    ["window", 0],
    ["maxFailures", 0],
    ["maxSameError", 1.5],
    ["replays", -1],
    ["refusals", Number.NaN],
    ["window", Infinity]
  ] as const)("refuses %s: %d, naming the field", (field, value) => {
    try {
      LoopDetector.make({ [field]: value })
    } catch (error) {
      assert.instanceOf(error, InvalidAgent)
      assert.strictEqual(error.field, `loopDetector.${field}`)
      return
    }
    assert.fail("it was made")
  })
})

describe("rule", () => {
  it("reads the annotations of a tool", () => {
    const same = (params: unknown) => params
    assert.deepStrictEqual(
      rule((tool) => tool),
      { repeatable: false, readOnly: false, identity: undefined }
    )
    assert.deepStrictEqual(
      LoopDetector.rule(
        Tool.make("t")
          .annotate(LoopDetector.Repeatable, true)
          .annotate(LoopDetector.Identity, same)
          .annotate(Tool.Readonly, true)
      ),
      { repeatable: true, readOnly: true, identity: same }
    )
  })
})
