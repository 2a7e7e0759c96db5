import { readdirSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Program from "./support/program.ts"

const directory = fileURLToPath(new URL("../docs/examples/", import.meta.url))

/** What each example prints. */
const printed: Readonly<Record<string, string>> = {
  "agent-chain": `
researcher < tea
writer < A leaf. From Yunnan.
Tea is a leaf from Yunnan.
Tea is a leaf from Yunnan. (user, assistant, user, assistant)
`,
  batch: `
█████░░░░░░░░░░░░░░░ 250/1000
██████████░░░░░░░░░░ 500/1000
███████████████░░░░░ 750/1000
████████████████████ 1000/1000

500 are odd; 1000 model calls, 750 of them reached the provider
`,
  budget: `
The Danube flows through ten countries. How long it is, I could not find out.
editor: 3 model calls, 45 tokens
researcher: 2 model calls, 30 tokens
The budget 'article' has not enough model calls left: 1 needed, 5 of 5 spent
  3 by the editor
  2 by the researcher
`,
  cassette: `
Recorded: Tea is 3.
Played: Tea is 3.
Changed: step 1, messages[0].content
  messages[0].content
    - "How much is tea?"
    + "How much is coffee?"
`,
  "context-window": `
A whale swims.
It swims on.
And on.
I was sent: user, user, assistant, tool.
The history has 16 messages. What was sent:
434 → 290 tokens, threshold, 0 model calls
453 → 309 tokens, continuation, 0 model calls
483 → 339 tokens, threshold, 0 model calls
645 → 357 tokens, continuation, 0 model calls
531 → 275 tokens, threshold, 1 model calls
`,
  conversation: `
> My name is Ada.
Nice to meet you, Ada.
> What is my name?
Your name is Ada.
> Spell it.
A, D, A.
`,
  "errors-and-limits": `
No final answer within 2 turns, after 2 pages. Going on.
It is about a whale.
`,
  events: `
0 RunStarted
1 TurnStarted
5 ToolCallStarted roll
6 ToolCallCompleted roll
7 TurnCompleted
8 TurnStarted
15 TurnCompleted
16 RunCompleted
You rolled a four.
`,
  extraction: `
Order: 2 × teapot
Complaint: a leaking kettle, since 2026
{"kind":"order","item":"teapot","count":2}
`,
  "fallback-chain": `
InternalProviderError: again
InternalProviderError: on to second
All is well here.
`,
  "hello-agent": `
Hello Ada, good to see you!
`,
  "local-model": `
Nobody answers there: start a server, and set LLAMA_BASE_URL to where it is.
`,
  "nested-workflow": `
order: tea, milk > That is 4.80.
  kind (branch): order
    order (workflow)
      items (transform)
      prices (map)
        price (workflow)
          look up (effect)
          with tax (transform)
        price (workflow)
          look up (effect)
          with tax (transform)
      sum (transform)
When do you open? > At nine.
  kind (branch): other
    clerk (agent)
NotInStock in shop / kind / order / prices / price / look up
`,
  "parallel-agents": `
1 of 5 are translated
2 of 5 are translated
3 of 5 are translated
4 of 5 are translated
5 of 5 are translated
fox, hare, hedgehog, badger, owl
5 model calls, 75 tokens
`,
  "property-testing-a-detector": `
The laws: Passed
No replays: Falsified
  turn 1: read{}, read{}
`,
  "retries-and-timeouts": `
search: three results (attempt 3)
crawl: timeout: Tool 'crawl' gave no result within 50ms.
I found three results.
`,
  "review-loop": `
draft 1: The Danube is quite long.
  {"accepted":false,"feedback":"say how long"}
draft 2: The Danube is 2,850 km long.
  {"accepted":true,"feedback":""}
`,
  sessions: `
dinner > Something with rice.
Risotto ai funghi.
dinner > And without mushrooms?
Risotto with saffron, then.
lunch > Make it a lunch.
Arancini.
dinner: 4 messages
lunch: 4 messages
`,
  simulation: `
Found: 1 sold that was not there
It takes no more than fibers that are: Paused
Once more: 1 sold that was not there
With a lock: Passed
`,
  "streaming-to-browser": `
text/event-stream
RunStarted
TurnStarted
ModelCallStarted
TextDelta A${" "}
TextDelta blue${" "}
TextDelta question
ModelCallCompleted
TurnCompleted
RunCompleted
`,
  "streaming-to-terminal": `
Rain on the tin roof,
a thousand small drummers play
until I can sleep.
-- 5 tokens
`,
  "structured-output": `
Omelette, 10 minutes: eggs, butter
It took 2 turns to get the format right.
`,
  "sub-agent": `
No river in the world crosses more borders than the Danube, which flows through ten countries.
3 model calls, one of them by the researcher
`,
  "testing-an-agent": `
It tells the price.
Whatever the model does: Passed
`,
  tools: `
In Rome: 16 °C, against -4 °C in Oslo.
3 model calls, 3 tool calls
`,
  workflow: `
research: completed
historian: completed
cook: completed
editor: completed
send: failed
sent: Dear reader, tea comes from Yunnan …
3 model calls in all
`
}

// Nobody listens there.
const env = { LLAMA_BASE_URL: "http://127.0.0.1:1" }

const run = Effect.fnUntraced(function* (args: ReadonlyArray<string>) {
  return yield* (yield* Program.start(args, { env })).ended
}, Effect.scoped)

describe.concurrent("the examples", { timeout: 30_000 }, () => {
  it("are all in this test", () => {
    assert.deepStrictEqual(
      // That of several files has a test of its own.
      readdirSync(directory)
        .filter((name) => name !== "discourse")
        .toSorted(),
      Object.keys(printed)
        .map((name) => `${name}.ts`)
        .toSorted()
    )
  })

  it.live.each(Object.entries(printed))("%s", ([name, stdout]) =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* run([`${directory}${name}.ts`]), { code: 0, stdout: stdout.slice(1), stderr: "" })
    })
  )

  it.live("run only when they are the program", () =>
    Effect.gen(function* () {
      const script = `
        import * as Effect from "effect/Effect"
        for (const name of ${JSON.stringify(Object.keys(printed))}) {
          const { program } = await import("${new URL("../docs/examples/", import.meta.url).href}" + name + ".ts")
          if (!Effect.isEffect(program)) throw new Error(name + " exports no program")
        }`
      const ended = yield* run(["--input-type=module", "--eval", script])
      assert.deepStrictEqual(ended, { code: 0, stdout: "", stderr: "" })
    })
  )
})
