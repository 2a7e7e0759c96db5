/**
 * Arbitrary models, users and stores: what may reach a run from outside, the ugly included. They are arbitraries of
 * `effect/Arbitrary`, so they shrink, and work with `Arbitrary.checkEffect` as well as with `it.prop` of
 * `@effect/vitest`. What has to hold for all of it is in `effect-agent-runtime/testing/Laws`.
 *
 * @since 0.1.0
 */
import * as AiError from "effect/ai/AiError"
import type * as Prompt from "effect/ai/Prompt"
import type * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Arbitrary from "effect/Arbitrary"
import * as Schema from "effect/Schema"
import type { AssistantContent, History, UserContent } from "../History.ts"
import * as Histories from "../History.ts"
import type { Step, Trace } from "./Laws.ts"
import type { ScriptedCall, ScriptedResponse, Turn } from "./ScriptedLlm.ts"

/** One of some values, the first being the simplest. */
const element = <const A>(values: ReadonlyArray<A>): Arbitrary.Arbitrary<A> =>
  Arbitrary.map(
    Arbitrary.schema(Schema.Literals(Array.from(values.keys()) as [number, ...Array<number>])),
    (index) => values[index]!
  )

/** One of some arbitraries, each as often as it is named. */
const oneOf = <A>(...arbitraries: ReadonlyArray<Arbitrary.Arbitrary<A>>): Arbitrary.Arbitrary<A> =>
  Arbitrary.flatMap(element(arbitraries), (arbitrary) => arbitrary)

const text = Arbitrary.schema(Schema.String)

/** Texts that are made to be taken for something else. */
const oddTexts = ["", "\uD800", "😀", "\u2028", "$&", "{previous_result}", "</think>", "null", "[object Object]"]

const oddNumbers = [0, -0, 1, -1, 0.1, 1e21, 5e-324, 2 ** 53, -(2 ** 53), Number.MAX_VALUE]

/** As `JSON.parse` gives them: the keys are the objects' own. */
const oddObjects: ReadonlyArray<Schema.Json> = [
  '{"__proto__":{"polluted":true}}',
  '{"constructor":{"prototype":{"polluted":true}}}',
  '{"toString":1,"hasOwnProperty":2,"then":3,"length":-1}',
  '{"":"","0":0,"b":1,"a":2}'
].map((json) => JSON.parse(json))

const nested: Arbitrary.Arbitrary<Schema.Json> = Arbitrary.map(
  Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 100 }))),
  (depth) => {
    let value: Schema.Json = depth
    for (let i = 0; i < depth; i++) value = i % 2 === 0 ? [value] : { value }
    return value
  }
)

/**
 * JSON values: ordinary ones, odd texts (lone surrogates) and numbers (`-0`, beyond 2⁵³), objects with keys such as
 * `__proto__`, and up to 100 levels of nesting.
 *
 * @category values
 * @since 0.1.0
 */
export const json: Arbitrary.Arbitrary<Schema.Json> = oneOf<Schema.Json>(
  Arbitrary.schema(Schema.Json),
  Arbitrary.schema(Schema.Json),
  element<Schema.Json>([...oddTexts, ...oddNumbers, ...oddObjects, null, true, false, [], {}]),
  nested
)

/** What models write when they try to write JSON. */
const notJson = ["{", '{"a":', "{'a': 1}", '{"a":1,}', "{}{}", "undefined", "NaN", "```json\n{}\n```", "a=1"]

/**
 * Arguments as models send them to tools they do not know: JSON of any kind, text that is not JSON, and nothing.
 *
 * @category values
 * @since 0.1.0
 */
export const params: Arbitrary.Arbitrary<unknown> = oneOf<unknown>(
  Arbitrary.schema(Schema.Record(Schema.String, Schema.Json)),
  json,
  element([...notJson, "", null, undefined])
)

/**
 * Calls of the tools of a toolkit: about half with arguments that match the tool's schema, the others with any
 * {@link params}, of tools that do not exist, and with ids that are empty or taken.
 *
 * @category scripts
 * @since 0.1.0
 */
export const call = (toolkit: Toolkit.Any = Toolkit.empty): Arbitrary.Arbitrary<ScriptedCall> => {
  const tools = Object.values(toolkit.tools)
  const names = tools.map((tool) => tool.name)
  const wrongNames = ["nope", "", "__proto__", "constructor", ...names.map((name) => `${name} `)]
  const valid = tools.map((tool) => asked(Arbitrary.Constant(tool.name), validParams(tool)))
  const known = names.length === 0 ? [] : [asked(element(names), params)]
  return oneOf<ScriptedCall>(...valid, ...valid, ...valid, ...known, asked(element(wrongNames), params))
}

const callIds = element([undefined, undefined, undefined, "", "a", "a_1_1", "call_1", "__proto__"])

const asked = (tool: Arbitrary.Arbitrary<string>, args: Arbitrary.Arbitrary<unknown>) =>
  Arbitrary.map(Arbitrary.all([tool, args, callIds]), ([name, value, id]): ScriptedCall => ({
    tool: name,
    params: value,
    id
  }))

/** Arguments that match a tool's schema, in JSON. A dynamic tool may have a JSON Schema, which says nothing here. */
const validParams = (tool: Tool.Any): Arbitrary.Arbitrary<unknown> => {
  const schema: unknown = tool.parametersSchema
  if (!Schema.isSchema(schema)) return params
  // A schema that needs services cannot be encoded here, and throws.
  const encode = Schema.encodeUnknownSync(Schema.toCodecJson(schema as Schema.Codec<unknown, unknown>))
  return Arbitrary.map(Arbitrary.schema(schema), (value) => encode(value))
}

/** How a script ends: the model answers, says nothing, or fails. */
const ending: Arbitrary.Arbitrary<Turn> = oneOf<Turn>(
  text,
  text,
  element<Turn>([
    "",
    { content: [], finishReason: "length" },
    { content: [{ type: "reasoning", text: "hm" }], finishReason: "content-filter" },
    AiError.make({ module: "Arbitraries", method: "generate", reason: new AiError.RateLimitError({}) }),
    AiError.make({ module: "Arbitraries", method: "generate", reason: new AiError.UnknownError({}) })
  ])
)

/**
 * Scripts for a `ScriptedLlm`: turns with one or many calls of the toolkit's tools (see {@link call}), text and
 * reasoning beside them, calls that the provider ran itself, turns that come again word for word; at the end an
 * answer, an empty one, or a failure.
 *
 * @category scripts
 * @since 0.1.0
 */
export const script = (toolkit?: Toolkit.Any): Arbitrary.Arbitrary<ReadonlyArray<Turn>> => {
  const one = call(toolkit)
  const several = Arbitrary.array(one, { minLength: 1, maxLength: 4 })
  const turn = oneOf<Turn | Again>(one, several, Arbitrary.map(several, respond), again)
  return Arbitrary.map(Arbitrary.all([Arbitrary.array(turn, { maxLength: 12 }), ending]), ([turns, end]) => {
    const resolved: Array<Turn> = []
    for (const next of turns) {
      // Without an earlier turn there is nothing to come again.
      const repeated = isAgain(next) ? resolved.at(-next.again) : next
      if (repeated !== undefined) resolved.push(repeated)
    }
    return [...resolved, end]
  })
}

/** Stands for the turn so many turns ago. */
interface Again {
  readonly again: number
}

const again: Arbitrary.Arbitrary<Again> = Arbitrary.map(element([1, 1, 2, 3]), (turns) => ({ again: turns }))

const isAgain = (turn: Turn | Again): turn is Again => typeof turn === "object" && "again" in turn

/** The calls in a full response, among parts of other kinds. */
const respond = (calls: ReadonlyArray<ScriptedCall>): ScriptedResponse => {
  const search = { id: "search", name: "web_search", providerExecuted: true }
  return {
    content: [
      { type: "reasoning", text: "Let me see" },
      { type: "text", text: "I call" },
      { type: "tool-call", params: {}, ...search },
      { type: "tool-result", isFailure: false, result: [], ...search },
      ...calls.map(({ id = "", params: args = {}, tool }) => toolCall(id, tool, args))
    ]
  }
}

const toolCall = (id: string, name: string, args: unknown) => ({ type: "tool-call", id, name, params: args }) as const

const toolResult = (id: string, isFailure: boolean, result: unknown) =>
  ({ type: "tool-result", id, name: "search", isFailure, result }) as const

// Few ids, so that calls and results meet, by right and by mistake.
const ids = element(["a", "b", "c", ""])

const results: Arbitrary.Arbitrary<Array<Prompt.ToolResultPartEncoded>> = Arbitrary.array(
  Arbitrary.map(Arbitrary.all([ids, element([false, true]), json]), (result) => toolResult(...result)),
  { maxLength: 5 }
)

const assistantContent: Arbitrary.Arbitrary<AssistantContent> = Arbitrary.array(
  oneOf<AssistantContent[number]>(
    Arbitrary.map(text, (words) => ({ type: "text", text: words })),
    Arbitrary.map(Arbitrary.all([ids, params]), ([id, args]) => toolCall(id, "search", args ?? {})),
    Arbitrary.map(ids, (id) => toolCall(id, "search", {})),
    element<AssistantContent[number]>([
      { type: "reasoning", text: "hm" },
      { ...toolCall("a", "web_search", {}), providerExecuted: true },
      { ...toolResult("a", false, []), providerExecuted: true },
      toolResult("a", false, "out of place"),
      { type: "file", mediaType: "image/png", data: "AAAA" }
    ])
  ),
  { maxLength: 5 }
)

const userContent: Arbitrary.Arbitrary<UserContent> = oneOf<UserContent>(
  text,
  Arbitrary.array(
    element<Prompt.UserMessagePartEncoded>([
      { type: "text", text: "look" },
      { type: "file", mediaType: "image/png", data: "AAAA" }
    ]),
    { maxLength: 3 }
  )
)

const messageOf = <const Role extends string, Content>(role: Role, content: Arbitrary.Arbitrary<Content>) =>
  Arbitrary.map(content, (value) => ({ role, content: value }))

/**
 * Messages that are anything but a conversation: roles in any order, calls without results, results without calls,
 * ids used twice, system messages. Food for `History.fromMessages`; for valid conversations see {@link history}.
 *
 * @category conversations
 * @since 0.1.0
 */
export const messages: Arbitrary.Arbitrary<ReadonlyArray<Prompt.MessageEncoded>> = Arbitrary.array(
  oneOf<Prompt.MessageEncoded>(
    messageOf("user", userContent),
    messageOf("assistant", assistantContent),
    messageOf("assistant", text),
    messageOf("tool", results),
    messageOf("system", text),
    Arbitrary.Constant({
      role: "tool",
      content: [{ type: "tool-approval-response", approvalId: "a", approved: true }]
    })
  )
)

/**
 * Conversations as they come about: users and assistants in any order, the results of calls complete, partial or of
 * other calls. Valid by construction.
 *
 * @category conversations
 * @since 0.1.0
 */
export const history: Arbitrary.Arbitrary<History> = Arbitrary.map(
  Arbitrary.array(
    oneOf<(history: History) => History>(
      Arbitrary.map(userContent, (content) => (self) => Histories.appendUser(self, content)),
      Arbitrary.map(
        Arbitrary.all([assistantContent, results]),
        ([content, answers]) =>
          (self) =>
            Histories.appendAssistant(self, content, answers)
      )
    )
  ),
  (edits) => edits.reduce((self, edit) => edit(self), Histories.empty)
)

const step: Arbitrary.Arbitrary<Step> = Arbitrary.map(
  Arbitrary.all([
    element(["read", "write", "poll"]),
    // Few calls, so that they come again.
    element<unknown>([
      {},
      { path: "a", from: 1, to: 2 },
      '{ "to": 2, "from": 1, "path": "a" }',
      { path: "b", from: 1, to: 2 },
      [{ y: 1, x: 2 }],
      "{"
    ]),
    element<{ readonly isFailure: boolean; readonly result: unknown }>([
      { isFailure: false, result: "done" },
      { isFailure: false, result: null },
      { isFailure: true, result: { code: 1, reason: "busy" } },
      { isFailure: true, result: "not found" }
    ])
  ]),
  ([tool, args, outcome]) => ({ tool, params: args, outcome })
)

/**
 * What a loop detector may get to see: turns of one to three calls out of 15 distinct ones, of the tools `read`,
 * `write` and `poll`, each with the outcome it has if it is allowed.
 *
 * @category detectors
 * @since 0.1.0
 */
export const trace: Arbitrary.Arbitrary<Trace> = Arbitrary.array(Arbitrary.array(step, { minLength: 1, maxLength: 3 }))
