/** What `npm run bench:peers` writes and `npm run bench:report` reads. */
import * as Schema from "effect/Schema"
import { Figure } from "../report.ts"

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
