/** All traces, in the order of the files. */
import { cycling } from "./cycling.ts"
import { erring } from "./erring.ts"
import { paging } from "./paging.ts"
import { polling } from "./polling.ts"
import { repeating } from "./repeating.ts"
import { retrying } from "./retrying.ts"
import { searching } from "./searching.ts"
import type { Trace } from "./trace.ts"
import { working } from "./working.ts"

export const corpus: ReadonlyArray<Trace> = [
  ...repeating,
  ...paging,
  ...polling,
  ...retrying,
  ...searching,
  ...cycling,
  ...erring,
  ...working
]
