/** What `npm run bench:peers` writes and `npm run bench:report` reads. */
import * as Schema from "effect/Schema"
import { Figure } from "../report.ts"

/** The peers' scenarios, the cases of the suite that do the same, and what to call them. */
export const scenarios: ReadonlyArray<readonly [scenario: string, name: string, title: string]> = [
  ["no_tools", "agent_execution_no_tools", "no tools"],
  ["one_tool", "agent_execution_single_tool", "one tool"],
  ["three_tools", "agent_execution_multiple_tools", "three tools"],
  ["ten_tools_one_turn", "parallel_tools/10", "10 calls, one turn"],
  ["hundred_turns", "turns/100", "100 turns"],
  ["concurrent_agents/1", "concurrent_agents/1", "1 agent"],
  ["concurrent_agents/5", "concurrent_agents/5", "5 agents"],
  ["concurrent_agents/10", "concurrent_agents/10", "10 agents"],
  ["concurrent_agents/20", "concurrent_agents/20", "20 agents"],
  ["concurrent_agents/50", "concurrent_agents/50", "50 agents"],
  ["one_tool/prepared", "agent_execution_single_tool/prepared", "one tool, agent made once"],
  ["tool_loop_detection", "tool_loop_detection", "loop detection"],
  ["tool_execution_overhead", "tool_execution_overhead", "tool overhead"],
  ["event_emission", "event_emission", "event emission"],
  ["thousand_turns", "turns/1000", "1,000 turns"]
]

export const Checks = Schema.Struct({
  ranTools: Schema.Boolean,
  /** Whether two tools of one turn, 20 ms each, overlap, and how long the run takes. */
  parallel: Schema.Boolean,
  parallelMillis: Schema.Finite,
  /** Whether arguments of a wrong type stay away from the tool, and what becomes of the run. */
  validated: Schema.Boolean,
  invalid: Schema.Literals(["told to the model", "run fails", "tool ran"])
})

export const Row = Schema.Struct({
  scenario: Schema.String,
  cpu: Schema.optional(Figure),
  wall: Schema.optional(Figure),
  batches: Schema.optional(Schema.Finite),
  /** Operations per batch. */
  operations: Schema.optional(Schema.Finite),
  /** Bytes that a suspended agent holds. */
  bytes: Schema.optional(Schema.Finite),
  failure: Schema.optional(Schema.String)
})

export const Outcome = Schema.Struct({
  name: Schema.String,
  title: Schema.String,
  variant: Schema.optional(Schema.String),
  language: Schema.optional(Schema.String),
  version: Schema.optional(Schema.String),
  notes: Schema.optional(Schema.String),
  checks: Schema.optional(Checks),
  /** Why there are no rows, or not all. */
  failure: Schema.optional(Schema.String),
  rows: Schema.Array(Row)
})
export type Outcome = typeof Outcome.Type

/** What this program writes. */
export const PeerResults = Schema.Struct({
  machine: Schema.Struct({
    cpu: Schema.String,
    cores: Schema.Finite,
    node: Schema.String,
    platform: Schema.String,
    effect: Schema.String,
    rust: Schema.String,
    python: Schema.String
  }),
  peers: Schema.Array(Outcome)
})
