import { assert, describe, it } from "@effect/vitest"
import * as History from "effect-agent-runtime/History"
import { Arbitraries, Laws } from "effect-agent-runtime/testing"
import type * as Prompt from "effect/ai/Prompt"
import * as Schema from "effect/Schema"

const call = (id: string) => ({ type: "tool-call", id, name: "search", params: {} }) as const
const result = (id: string, value: unknown = `result of ${id}`) =>
  ({ type: "tool-result", id, name: "search", isFailure: false, result: value }) as const
const text = (words: string) => ({ type: "text", text: words }) as const

const codec = Schema.toCodecJson(History.History)
const throughJson = (history: History.History): History.History =>
  Schema.decodeUnknownSync(codec)(JSON.parse(JSON.stringify(Schema.encodeSync(codec)(history))))

const roles = (history: History.History) => Array.from(history, (message) => message.role)

/** The results of a history by the id of their call. */
const answers = (history: History.History) =>
  History.toMessages(history).flatMap((message) =>
    message.role === "tool"
      ? message.content.map((part) => (part.type === "tool-result" ? [part.id, part.result] : []))
      : []
  )

const Ids = Schema.Array(Schema.Literals(["a", "b", "c"])).check(Schema.isMaxLength(4))
const nth = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 3 }))

/** A change of the `nth` newest of all histories so far: an append to any but the newest forks. */
const Edit = Schema.Union([
  Schema.TaggedStruct("AppendUser", { nth }),
  Schema.TaggedStruct("AppendAssistant", { nth, calls: Ids, results: Ids }),
  Schema.TaggedStruct("TakeTurns", { nth, turns: Schema.Int.check(Schema.isBetween({ minimum: -1, maximum: 4 })) }),
  Schema.TaggedStruct("Damage", { nth, drop: nth }),
  Schema.TaggedStruct("Store", { nth })
])

const apply = (edit: typeof Edit.Type, base: History.History): History.History => {
  switch (edit._tag) {
    case "AppendUser":
      return History.appendUser(base, "hi")
    case "AppendAssistant":
      return History.appendAssistant(base, edit.calls.map(call), edit.results.map(result))
    case "TakeTurns":
      return History.takeTurns(base, edit.turns)
    case "Damage":
      // Without one of its messages it is any list of messages.
      return History.fromMessages(History.toMessages(base).toSpliced(edit.drop, 1))
    case "Store":
      return throughJson(base)
  }
}

describe("any edits", () => {
  // About 10^5 of them.
  it.prop(
    "never yield an unpaired call, and never change an earlier snapshot",
    [Schema.Array(Edit)],
    ([edits]) => {
      const histories = [History.empty]
      const snapshots = ["[]"]
      for (const edit of edits) {
        const base = histories.at(-1 - edit.nth) ?? History.empty
        const history = apply(edit, base)
        const messages = History.toMessages(history)
        if (edit._tag === "AppendUser" || edit._tag === "AppendAssistant") {
          const added = messages.length - base.length
          assert.isTrue(History.toMessages(base).every((message, i) => message === messages[i]))
          assert.strictEqual(added, edit._tag === "AppendUser" ? 1 : Math.min(2, edit.calls.length * 2))
        }
        assert.deepStrictEqual(Laws.history(messages), [])
        assert.strictEqual(history.length, messages.length)
        histories.push(history)
        snapshots.push(JSON.stringify(messages))
      }
      assert.deepStrictEqual(
        histories.map((history) => JSON.stringify(History.toMessages(history))),
        snapshots
      )
    },
    { timeout: 30_000, arbitrary: { runs: 5000, size: 80 } }
  )
})

describe("append", () => {
  it("costs no copy until a history forks", () => {
    const log = (history: History.History): unknown => Reflect.get(history, "log")
    const grow = (history: History.History) => History.appendAssistant(History.appendUser(history, "?"), [text("!")])
    const line = [History.appendUser(History.empty, "hi")]
    for (let i = 0; i < 1000; i++) line.push(grow(line.at(-1)!))
    assert.strictEqual(new Set(line.map(log)).size, 1)
    const forks = [grow(line[500]!), grow(line[500]!)]
    assert.strictEqual(new Set([...line, ...forks, ...forks.map(grow)].map(log)).size, 3)
  })

  it("does not show an iteration what came later", () => {
    const before = History.appendUser(History.empty, "hi")
    const iterator = before[Symbol.iterator]()
    History.appendAssistant(before, [text("hello")])
    assert.deepStrictEqual(Array.from({ [Symbol.iterator]: () => iterator }), [{ role: "user", content: "hi" }])
  })
})

describe("appendAssistant", () => {
  const after = (...turn: Parameters<typeof History.appendAssistant> extends [infer _, ...infer Rest] ? Rest : never) =>
    History.appendAssistant(History.empty, ...turn)

  it("answers a call without a result as interrupted", () => {
    const history = after([call("a"), call("b")], [result("b")])
    assert.deepStrictEqual(History.last(history), {
      role: "tool",
      content: [History.interrupted({ id: "a", name: "search" }), result("b")]
    })
  })

  it("puts results into call order, and drops those of other calls and second ones", () => {
    const history = after([call("a"), call("b")], [result("b"), result("x"), result("a"), result("a", "again")])
    assert.deepStrictEqual(answers(history), [
      ["a", "result of a"],
      ["b", "result of b"]
    ])
  })

  it("gives calls that share an id ids of their own, each with its result", () => {
    const history = after(
      [call("a"), call("a"), call("a_2"), call("a")],
      [result("a", 1), result("a_2", 2), result("a", 3)]
    )
    assert.deepStrictEqual(Laws.history(history), [])
    assert.deepStrictEqual(
      answers(history).map(([, value]) => value),
      [1, 3, 2, History.interrupted(call("a")).result]
    )
  })

  it("takes results out from among their calls", () => {
    const history = after([call("a"), result("a"), text("so"), result("b")])
    assert.deepStrictEqual(History.toMessages(history), [
      { role: "assistant", content: [call("a"), text("so")] },
      { role: "tool", content: [result("a")] }
    ])
  })

  it("leaves calls that the provider ran to the provider", () => {
    const own = { providerExecuted: true }
    const content = [{ ...call("a"), ...own }, { ...result("a"), ...own }, { ...call("a"), ...own }, call("a")]
    const history = after(content, [result("a")])
    assert.deepStrictEqual(History.toMessages(history), [
      { role: "assistant", content },
      { role: "tool", content: [result("a")] }
    ])
    assert.deepStrictEqual(History.toolCalls(content), [call("a")])
  })

  it("appends nothing for an empty message", () => {
    const history = History.appendUser(History.empty, "hi")
    assert.strictEqual(History.appendAssistant(history, [], [result("a")]), history)
  })
})

describe("takeTurns", () => {
  it.prop(
    "keeps the newest turns, each from its user message on",
    [Arbitraries.history, Schema.Int.check(Schema.isBetween({ minimum: -1, maximum: 6 }))],
    ([history, n]) => {
      const messages = History.toMessages(history)
      const starts = messages.flatMap((message, index) => (message.role === "user" ? [index] : []))
      const kept = n <= 0 ? [] : messages.slice(starts.at(-n) ?? 0)
      assert.deepStrictEqual(History.toMessages(History.takeTurns(history, n)), kept)
      assert.deepStrictEqual(Laws.history(kept), [])
    }
  )
})

describe("dropTurns", () => {
  it.prop(
    "drops the newest turns, and may be gone on with apart from them",
    [Arbitraries.history, Schema.Int.check(Schema.isBetween({ minimum: -1, maximum: 6 }))],
    ([history, n]) => {
      const messages = History.toMessages(history)
      const starts = messages.flatMap((message, index) => (message.role === "user" ? [index] : []))
      const kept = n <= 0 ? messages : messages.slice(0, n > starts.length ? 0 : starts.at(-n))
      const dropped = History.dropTurns(history, n)
      assert.deepStrictEqual(History.toMessages(dropped), kept)
      assert.deepStrictEqual(Laws.history(kept), [])
      assert.strictEqual(History.turns(dropped), Math.max(0, starts.length - Math.max(0, n)))
      History.appendUser(dropped, "another way")
      assert.deepStrictEqual(History.toMessages(history), messages)
    }
  )
})

describe("fromMessages", () => {
  it.prop(
    "makes a valid history of anything, keeping what users said and every result that has its call",
    [Arbitraries.messages],
    ([messages]) => {
      const history = History.fromMessages(messages)
      assert.deepStrictEqual(Laws.history(history), [])
      const said = (all: Iterable<Prompt.MessageEncoded>) =>
        Array.from(all).filter((message) => message.role === "user")
      assert.deepStrictEqual(said(history), said(messages))
      const missing = JSON.stringify(History.interrupted(call("a")).result)
      assert.deepStrictEqual(
        usable(history).filter((value) => value !== missing),
        usable(messages)
      )
    },
    { arbitrary: { runs: 2000 } }
  )

  it.prop("is the identity on the messages of a history", [Arbitraries.history], ([history]) => {
    const messages = History.toMessages(history)
    assert.deepStrictEqual(History.toMessages(History.fromMessages(messages)), messages)
  })

  it("moves a result behind the newest message that asked for it", () => {
    const history = History.fromMessages([
      { role: "assistant", content: [call("a"), call("b")] },
      { role: "user", content: "Well?" },
      { role: "assistant", content: [call("a")] },
      { role: "assistant", content: "Wait" },
      { role: "tool", content: [result("b", 1), result("a", 2), result("a", 3), result("a", 4)] }
    ])
    assert.deepStrictEqual(roles(history), ["assistant", "tool", "user", "assistant", "tool", "assistant"])
    assert.deepStrictEqual(answers(history), [
      ["a", 3],
      ["b", 1],
      ["a", 2]
    ])
  })

  it("drops system messages, approvals, and results before their call", () => {
    const history = History.fromMessages([
      { role: "system", content: "Be evil" },
      { role: "tool", content: [{ type: "tool-approval-response", approvalId: "x", approved: true }, result("a")] },
      { role: "assistant", content: [call("a")] },
      { role: "assistant", content: "" }
    ])
    assert.deepStrictEqual(roles(history), ["assistant", "tool"])
    assert.deepStrictEqual(answers(history), [["a", History.interrupted(call("a")).result]])
  })
})

/** The results that find their call, each the newest that waits for one. */
const usable = (messages: Iterable<Prompt.MessageEncoded>): ReadonlyArray<string> => {
  const open: Array<string> = []
  const used: Array<string> = []
  for (const message of messages) {
    if (message.role !== "assistant" && message.role !== "tool") continue
    const parts = typeof message.content === "string" ? [] : message.content
    for (const part of parts) if (part.type === "tool-call" && part.providerExecuted !== true) open.push(part.id)
    for (const part of parts) {
      if (part.type !== "tool-result" || part.providerExecuted === true) continue
      const index = open.lastIndexOf(part.id)
      if (index !== -1) used.push(...open.splice(index, 1).map(() => JSON.stringify(part.result)))
    }
  }
  return used.toSorted()
}

describe("conversions", () => {
  it.prop("survive JSON", [Arbitraries.history], ([history]) => {
    assert.deepStrictEqual(
      JSON.parse(JSON.stringify(History.toMessages(throughJson(history)))),
      JSON.parse(JSON.stringify(History.toMessages(history)))
    )
  })

  it("keep files, as base64 or as a URL", () => {
    const files = [new URL("https://example.com/cat.png"), new Uint8Array([1, 2, 3]), "AQID"].map(
      (data) => ({ type: "file", mediaType: "image/png", data }) as const
    )
    const history = History.appendAssistant(History.appendUser(History.empty, files), files)
    const stored = throughJson(history)
    assert.deepStrictEqual(History.toPrompt(stored), History.toPrompt(history))
    assert.deepStrictEqual(History.toMessages(throughJson(stored)), History.toMessages(stored))
  })

  it("repair what was stored without its results", () => {
    const history = Schema.decodeUnknownSync(codec)([{ role: "assistant", content: [call("a")] }])
    assert.deepStrictEqual(roles(history), ["assistant", "tool"])
  })

  it("refuse what is no message", () => {
    assert.throws(() => Schema.decodeUnknownSync(codec)([{ role: "robot", content: "beep" }]))
    assert.throws(() => Schema.decodeUnknownSync(codec)("hi"))
  })

  it.prop(
    "lose nothing but an empty answer on the way through a prompt",
    [Arbitraries.history],
    ([history]) => {
      const prompt = History.toPrompt(history)
      assert.strictEqual(prompt.content.length, history.length)
      const isEmpty = ({ content, role }: Prompt.Message) =>
        role === "assistant" && content.every((part) => part.type === "text" && part.text === "") && content.length < 2
      assert.deepStrictEqual(
        History.toPrompt(History.fromPrompt(prompt)).content,
        prompt.content.filter((message) => !isEmpty(message))
      )
    },
    { arbitrary: { runs: 500 } }
  )

  it("put the instructions in front of a prompt, and drop them again", () => {
    const history = History.appendUser(History.empty, "hi")
    const prompt = History.toPrompt(history, "Be kind")
    assert.deepStrictEqual(
      prompt.content.map((message) => message.role),
      ["system", "user"]
    )
    assert.deepStrictEqual(roles(History.fromPrompt(prompt)), ["user"])
    assert.deepStrictEqual(roles(History.fromPrompt("hi")), ["user"])
  })

  it("show the messages as JSON", () => {
    const history = History.appendUser(History.empty, "hi")
    assert.deepStrictEqual(JSON.parse(JSON.stringify({ history })).history.messages, History.toMessages(history))
  })
})

describe("getters", () => {
  it("join the text of a message", () => {
    const reasoning = { type: "reasoning", text: "hm" } as const
    assert.strictEqual(History.text([text("a"), reasoning, call("x"), text("b")]), "ab")
    assert.strictEqual(History.userText("hi"), "hi")
    assert.strictEqual(
      History.userText([text("a"), { type: "file", mediaType: "image/png", data: "AAAA" }, text("b")]),
      "ab"
    )
  })

  it("find the newest message", () => {
    assert.isUndefined(History.last(History.empty))
    assert.strictEqual(History.last(History.appendUser(History.empty, "hi"))!.role, "user")
  })

  it("know a history when they see one", () => {
    assert.isTrue(History.isHistory(History.empty))
    assert.isFalse(History.isHistory([]))
  })
})

describe("units", () => {
  const flat = (units: ReadonlyArray<History.Unit>) =>
    units.flatMap((unit) => unit as ReadonlyArray<Prompt.MessageEncoded>)

  it.prop(
    "are whole, and put together again they are the history, message by message",
    [Arbitraries.history],
    ([history]) => {
      const units = History.units(history)
      assert.deepStrictEqual(flat(units), Array.from(history))
      const again = Array.from(History.appendUnits(History.empty, units))
      assert.isTrue(again.every((message, i) => message === flat(units)[i]))
      for (const unit of units) assert.deepStrictEqual(Laws.history(flat([unit])), [])
    }
  )

  it.prop("of the end begin with the first whole one", [Arbitraries.history, nth], ([history, from]) => {
    const ends = flat(History.units(history, from))
    const expected = Array.from(history).slice(from)
    assert.deepStrictEqual(ends, expected[0]?.role === "tool" ? expected.slice(1) : expected)
  })

  it("that were made by hand are mended", () => {
    const asks = { role: "assistant", content: [call("a"), call("b")] } as const
    const cases: ReadonlyArray<History.Unit> = [
      [asks],
      [asks, { role: "tool", content: [result("b"), result("a")] }],
      [asks, { role: "tool", content: [result("a")] }],
      [{ role: "assistant", content: "text" }],
      [{ role: "assistant", content: [] }],
      [
        { role: "assistant", content: [text("hi")] },
        { role: "tool", content: [result("a")] }
      ],
      [
        { role: "assistant", content: [text("hi")] },
        { role: "tool", content: [] }
      ],
      [{ role: "assistant", content: [call("a"), result("a")] }]
    ]
    for (const unit of cases) assert.deepStrictEqual(Laws.history(History.appendUnits(History.empty, [unit])), [])
  })
})
