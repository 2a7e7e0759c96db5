/**
 * What a configuration file may say. Each key is described here, once: the descriptions become those of the JSON Schema.
 */
import * as Schema from "effect/Schema"
import { secretId } from "./shape.ts"

const described = <S extends Schema.Top>(schema: S, description: string) =>
  Schema.optionalKey(schema).pipe(Schema.annotateKey({ description }))

const atLeast = (minimum: number) => Schema.Int.check(Schema.isGreaterThanOrEqualTo(minimum))

const Count = atLeast(1)
const Millis = atLeast(0)
const Text = Schema.String
const NonEmpty = Schema.String.check(Schema.isNonEmpty({ message: "must not be empty" }))
const Names = Schema.Array(NonEmpty)

const Url = Schema.String.check(
  Schema.isPattern(/^https?:\/\/[^/]/, { message: "has to begin with http:// or https://" })
)

const literalSecret =
  "a secret does not belong into a file: put it into a variable of the environment, and write { env: NAME } or ${NAME}"

/** A secret is only referred to: its value is in the environment. */
export const Secret = Schema.Union([
  Schema.Struct({
    env: Schema.String.check(Schema.isPattern(/^[A-Za-z_]\w*$/, { message: literalSecret })).annotate({
      description: "The name of the variable that holds the secret."
    })
  }),
  Schema.String.check(Schema.isPattern(/^\$\{[A-Za-z_]\w*\}$/, { message: literalSecret }))
]).annotate({
  identifier: secretId,
  description: "The variable of the environment that holds the secret: { env: NAME } or ${NAME}.",
  message: literalSecret
})
export type Secret = typeof Secret.Type

const Temperature = Schema.Finite.check(
  Schema.isBetween({ minimum: 0, maximum: 2 }, { message: "the temperature has to be between 0 and 2" })
)

const Retry = Schema.Union([
  Schema.Literals(["default", "none", "aggressive", "conservative"]),
  Schema.Struct({
    max_attempts: described(Millis, "How often a failed call is made again. Default 3."),
    initial_delay_ms: described(Millis, "The wait before the first retry. Default 100."),
    max_delay_ms: described(Millis, "The longest wait. Default 30000."),
    backoff_multiplier: described(
      Schema.Finite.check(Schema.isGreaterThanOrEqualTo(1, { message: "the backoff multiplier has to be at least 1" })),
      "By how much each wait is longer than the one before. Default 2."
    ),
    jitter_factor: described(
      Schema.Finite.check(
        Schema.isBetween({ minimum: 0, maximum: 1 }, { message: "the jitter factor has to be between 0 and 1" })
      ),
      "The random part that is added to a wait, at most. Default 0.1."
    ),
    total_ms: described(Millis, "How long after a call began another attempt may begin. Default 60000.")
  })
]).annotate({ identifier: "Retry", description: "When model calls that failed are made again: a preset, or numbers." })
export type Retry = typeof Retry.Type

const Timeout = Schema.Union([
  Schema.Literals(["default", "none", "quick", "long"]),
  Schema.Struct({
    total_ms: described(Count, "From a call to its whole answer. Default 300000."),
    first_response_ms: described(Count, "From a call to the first piece of a streamed answer. Default 30000."),
    idle_ms: described(Count, "From one piece of a streamed answer to the next. Default 30000.")
  })
]).annotate({ identifier: "Timeout", description: "How long model calls may take: a preset, or numbers." })
export type Timeout = typeof Timeout.Type

const Llm = Schema.Struct({
  default_provider: described(
    Schema.Literals(["openai", "anthropic", "llama"]),
    "Whose model the default model is. Not needed if only one provider has a section here."
  ),
  default_model: described(
    NonEmpty,
    "The model of agents that name none: a name in 'models', or what the default provider calls it."
  ),
  default_temperature: described(Temperature, "The temperature of agents that set none. Default: the provider's."),
  default_max_tokens: described(
    Count,
    "The longest answer, in tokens, of agents that set none. Default: the provider's."
  ),
  openai: described(
    Schema.Struct({
      api_key: described(Secret, "Default ${OPENAI_API_KEY}."),
      api_base: described(Url, "The server. Default ${OPENAI_BASE_URL}, or OpenAI."),
      organization: described(NonEmpty, "The organization that is billed."),
      project: described(NonEmpty, "The project that is billed.")
    }),
    "OpenAI, or a server that is compatible with it."
  ),
  anthropic: described(
    Schema.Struct({
      api_key: described(Secret, "Default ${ANTHROPIC_API_KEY}."),
      base_url: described(Url, "The server. Default ${ANTHROPIC_BASE_URL}, or Anthropic.")
    }),
    "Anthropic, or a server that speaks its Messages API."
  ),
  llama: described(
    Schema.Struct({
      base_url: described(Url, "The server. Default ${LLAMA_BASE_URL}."),
      insecure: described(Schema.Boolean, "Whether an invalid certificate of the server is accepted. Default false."),
      api_key: described(Secret, "Most local servers need none.")
    }),
    "A local server that speaks Chat Completions: llama.cpp, LM Studio, Ollama, vLLM."
  )
})
export type Llm = typeof Llm.Type

const Call = Schema.Struct({
  tool: NonEmpty.annotate({ description: "The tool to call." }),
  params: described(Schema.Record(Text, Schema.Json), "Its arguments.")
})

const Model = Schema.Struct({
  provider: described(
    Schema.Literals(["openai", "anthropic", "llama", "scripted"]),
    "Whose model it is; 'scripted' answers from its script. Default: the default provider."
  ),
  model: described(NonEmpty, "What the provider calls it. Default: the name it has here."),
  base_url: described(Url, "The server. Default: that of the provider's section in 'llm'."),
  api_key: described(Secret, "Default: that of the provider's section in 'llm'."),
  api: described(
    Schema.Literals(["chat", "responses"]),
    "Which of OpenAI's APIs is spoken: Chat Completions, or Responses. Default chat."
  ),
  reasoning_effort: described(
    Schema.Literals(["none", "minimal", "low", "medium", "high", "xhigh", "max"]),
    "How much a model of OpenAI's reasons. Default: the server's."
  ),
  script: described(
    Schema.Array(Schema.Union([Text, Call])),
    "What a scripted model answers, call by call: texts, and calls of tools. Then it begins again."
  ),
  temperature: described(Temperature, "Default: default_temperature in 'llm'."),
  max_tokens: described(Count, "The longest answer, in tokens. Default: default_max_tokens in 'llm'."),
  retry: described(Retry, "Default: the section 'retry' of the file."),
  timeout: described(Timeout, "Default: the section 'timeout' of the file."),
  rate_limit: described(
    Schema.Struct({
      requests: described(Count, "Model calls per window."),
      tokens: described(Count, "Input and output tokens per window."),
      window_ms: described(Count, "Default 60000."),
      max_wait_ms: described(Millis, "The longest that a call waits for its turn. Default 60000.")
    }),
    "Limits that calls wait for."
  ),
  max_concurrent: described(Count, "How many calls are under way at a time. Default: no limit."),
  cache: described(
    Schema.Union([
      Schema.Boolean,
      Schema.Struct({
        capacity: described(Count, "Answers that are kept. Default 256."),
        ttl_ms: described(Count, "How long. Default 3600000.")
      })
    ]),
    "Whether a request that was answered before is answered from memory. Default false."
  ),
  fallback: described(Names, "The models that are asked, in order, when this one has failed.")
})
export type Model = typeof Model.Type

const Limits = Schema.Struct({
  turns: described(Count, "Model calls of a run. Default 10."),
  tokens: described(Count, "Input and output tokens of a run. Default: no limit."),
  duration_ms: described(Count, "How long a run may take; checked before each model call. Default: no limit.")
})
export type Limits = typeof Limits.Type

const LoopDetection = Schema.Union([
  Schema.Boolean,
  Schema.Struct({
    window: described(Count, "Distinct calls remembered. Default 64."),
    max_failures: described(Count, "Times in a row that the same call may fail. Default 3."),
    max_same_error: described(Count, "Turns in a row in which a tool may fail with the same error. Default 5."),
    replays: described(Millis, "Looping turns answered with the previous result. Default 2."),
    refusals: described(Millis, "Looping turns after those that are answered with a refusal. Default 2."),
    message: described(NonEmpty, "What the model is told, with {tool_name} and {previous_result}.")
  })
]).annotate({ identifier: "LoopDetection", description: "How loops of tool calls are noticed; false for not at all." })
export type LoopDetection = typeof LoopDetection.Type

const Agent = Schema.Struct({
  description: described(NonEmpty, "What it is for. Models of other agents read it, if it is a sub-agent."),
  instructions: described(NonEmpty, "The system prompt."),
  model: described(NonEmpty, "A name in 'models', or of a model that the program has. Default: the default model."),
  tools: described(Names, "The tools it may use, by their names."),
  agents: described(Names, "Other agents of this file that it may call as tools."),
  tool_choice: described(
    Schema.Union([
      Schema.Literals(["auto", "none", "required"]),
      Schema.Struct({ tool: NonEmpty.annotate({ description: "The tool that has to be called first." }) })
    ]),
    "Which tools the model may or must call. Default auto."
  ),
  tool_concurrency: described(Count, "How many calls of one turn run at the same time. Default 8."),
  temperature: described(Temperature, "Default: that of the model."),
  top_p: described(Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 })), "Default: the provider's."),
  max_tokens: described(Count, "The longest answer, in tokens. Default: that of the model."),
  stop: described(Schema.Array(NonEmpty), "Texts that end an answer."),
  seed: described(Schema.Int, "Makes sampling repeatable, with providers that can."),
  limits: described(Limits, "When a run ends without an answer. Default: the section 'limits' of the file."),
  loop_detection: described(LoopDetection, "Default: 'loop_detection' of the file."),
  context_window: described(
    Schema.Struct({
      turns: described(Count, "The newest turns of the conversation that are sent. Default: all."),
      tokens: described(Count, "The input tokens that are sent; the oldest messages are left out. Default: no limit.")
    }),
    "What of a long conversation is sent to the model. Default: all of it."
  ),
  streaming: described(Schema.Boolean, "Whether model calls are streamed even when nobody watches. Default false."),
  output: described(
    Schema.Record(Text, Schema.Json),
    "The JSON Schema (draft 2020-12) of its answer, which then is JSON. Default: the answer is text."
  )
})
export type Agent = typeof Agent.Type

/** The keys of any step. */
interface StepKeys {
  readonly name?: string
  readonly description?: string
  readonly conversation?: "isolated" | "shared"
}

/** A step of a workflow. Steps inside are lists, run in order. */
export type Step = StepKeys
  & (
    | { readonly type: "agent"; readonly agent: string; readonly prompt?: string }
    | { readonly type: "template"; readonly text: string }
    | {
        readonly type: "branch"
        readonly on: { readonly agent: string; readonly prompt?: string } | { readonly field: string }
        readonly cases: Readonly<Record<string, ReadonlyArray<Step>>>
        readonly otherwise?: ReadonlyArray<Step>
      }
    | {
        readonly type: "parallel"
        readonly steps: Readonly<Record<string, ReadonlyArray<Step>>>
        readonly concurrency?: number
      }
    | {
        readonly type: "map"
        readonly field?: string
        readonly steps: ReadonlyArray<Step>
        readonly concurrency?: number
      }
    | {
        readonly type: "loop"
        readonly steps: ReadonlyArray<Step>
        readonly until: Until
        readonly max_iterations?: number
      }
    | { readonly type: "retry"; readonly steps: ReadonlyArray<Step>; readonly times?: number }
    | { readonly type: "fallback"; readonly attempts: ReadonlyArray<ReadonlyArray<Step>> }
    | { readonly type: "workflow"; readonly workflow: string }
  )

/** When a loop ends. */
type Until = { readonly contains: string } | { readonly field: string; readonly equals: Schema.Json }

const stepKeys = {
  name: described(
    NonEmpty,
    "Its name in records and diagrams. Default: that of its agent or workflow, or its type and place."
  ),
  description: described(NonEmpty, "What it is for, in a few words: for diagrams."),
  conversation: described(
    Schema.Literals(["isolated", "shared"]),
    "Whether its agents have a conversation of their own, or that of the workflow. Default: as around it."
  )
}

const required = <S extends Schema.Top>(schema: S, description: string) =>
  schema.pipe(Schema.annotateKey({ description }))

const prompt = described(
  NonEmpty,
  "What the agent is asked: {{input}} is what the step before put out, {{input.x}} a field of it. Default: {{input}}."
)

const concurrency = described(Count, "How many at a time. Default: workflow.max_concurrent of the file, or 8.")

const typed = <const Type extends string>(type: Type, description: string) =>
  required(Schema.Literal(type), description)

const Steps = Schema.Array(Schema.suspend((): Schema.Codec<Step> => Step))

const Step: Schema.Codec<Step> = Schema.Union([
  Schema.Struct({
    type: typed("agent", "Runs an agent; puts out its answer."),
    agent: required(NonEmpty, "The agent."),
    prompt,
    ...stepKeys
  }),
  Schema.Struct({
    type: typed("template", "Puts out a text."),
    text: required(Text, "The text: {{input}} is what the step before put out, {{input.x}} a field of it."),
    ...stepKeys
  }),
  Schema.Struct({
    type: typed("branch", "Runs one of several lists of steps, with its own input."),
    on: required(
      Schema.Union([
        Schema.Struct({
          agent: required(NonEmpty, "The agent that chooses: it answers with the name of a case."),
          prompt
        }),
        Schema.Struct({ field: required(NonEmpty, "The field of the input whose value is the name of a case.") })
      ]),
      "What chooses."
    ),
    cases: required(Schema.Record(Text, Steps), "The steps by the names of the cases."),
    otherwise: described(Steps, "The steps for a field that has no case. Has to be there for a field."),
    ...stepKeys
  }),
  Schema.Struct({
    type: typed("parallel", "Runs lists of steps at the same time; puts out an object with what each puts out."),
    steps: required(Schema.Record(Text, Steps), "The steps by the names of their outputs."),
    concurrency,
    ...stepKeys
  }),
  Schema.Struct({
    type: typed("map", "Runs steps for each element of a list; puts out the list of what they put out."),
    field: described(NonEmpty, "The field of the input that is the list. Default: the input is."),
    steps: required(Steps, "The steps, run in order."),
    concurrency,
    ...stepKeys
  }),
  Schema.Struct({
    type: typed("loop", "Runs steps again with their own output, until a condition holds."),
    steps: required(Steps, "The steps, run in order."),
    until: required(
      Schema.Union([
        Schema.Struct({ contains: required(NonEmpty, "Ends when the output, as text, contains this.") }),
        Schema.Struct({
          field: required(NonEmpty, "A field of the output."),
          equals: required(Schema.Json, "Ends when the field has this value.")
        })
      ]),
      "When it ends."
    ),
    max_iterations: described(Count, "After which it fails. Default 10."),
    ...stepKeys
  }),
  Schema.Struct({
    type: typed("retry", "Runs steps again when they fail."),
    steps: required(Steps, "The steps, run in order."),
    times: described(Millis, "How often, at most. Default 2."),
    ...stepKeys
  }),
  Schema.Struct({
    type: typed("fallback", "Runs lists of steps, each when the one before has failed, with the same input."),
    attempts: required(Schema.Array(Steps), "The lists."),
    ...stepKeys
  }),
  Schema.Struct({
    type: typed("workflow", "Runs another workflow of this file."),
    workflow: required(NonEmpty, "The workflow."),
    ...stepKeys
  })
]).annotate({ identifier: "Step", description: "A step of a workflow." })

const Workflow = Schema.Struct({
  description: described(NonEmpty, "What it is for, in a few words: for diagrams."),
  input: described(
    Schema.Literals(["text", "json"]),
    "What the command line makes of its prompt: a text, or the JSON value that it is. Default text."
  ),
  conversation: described(
    Schema.Literals(["isolated", "shared"]),
    "Whether each of its agents has a conversation of its own, or all share one. Default isolated."
  ),
  steps: Steps.pipe(
    Schema.annotateKey({ description: "The steps, run in order: each gets what the one before put out." })
  )
})
export type Workflow = typeof Workflow.Type

/** The file. */
export const ConfigFile = Schema.Struct({
  $schema: described(Text, "Where the JSON Schema of this file is, for editors."),
  llm: described(Llm, "Providers, and the model of agents that name none."),
  models: described(Schema.Record(Text, Model), "Models by name."),
  agents: described(Schema.Record(Text, Agent), "Agents by name."),
  workflows: described(Schema.Record(Text, Workflow), "Workflows by name."),
  tools: described(
    Schema.Struct({
      module: described(
        NonEmpty,
        "For the command line: a module, relative to this file, that exports a 'toolkit' and the 'layer' with its handlers. "
          + "A program brings its own."
      )
    }),
    "Where tools come from."
  ),
  retry: described(Retry, "For models that have no 'retry' of their own. Default: default."),
  timeout: described(Timeout, "For models that have no 'timeout' of their own. Default: default."),
  limits: described(Limits, "For agents that have no limits of their own."),
  loop_detection: described(LoopDetection, "For agents that have none of their own. Default true."),
  workflow: described(
    Schema.Struct({
      max_concurrent: described(Count, "How many runs of agents are under way at a time. Default: no limit."),
      max_tool_iterations: described(Count, "Model calls of a run: the older name of 'limits.turns', which wins.")
    }),
    "Bounds of all runs."
  ),
  events: described(
    Schema.Struct({
      replay: described(Millis, "How many events are kept for those who subscribe later. Default 1024."),
      file: described(NonEmpty, "A file, relative to this one, that events are appended to, one JSON value per line.")
    }),
    "What becomes of the events of runs."
  ),
  logging: described(
    Schema.Struct({
      level: described(
        Schema.Literals(["trace", "debug", "info", "warn", "error", "off"]),
        "What is logged: runs at info, model and tool calls at debug, failures at warn. Default info."
      ),
      directory: described(
        NonEmpty,
        "A folder, relative to this file, for agent-runtime.log, which is appended to. Default: the program's log."
      ),
      json_format: described(Schema.Boolean, "Whether each entry is a JSON value. Default false.")
    }),
    "What is logged, and where."
  )
})
export type ConfigFile = typeof ConfigFile.Type
