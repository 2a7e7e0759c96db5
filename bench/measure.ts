/**
 * Times one variant of a case in this process: warm-up, batches calibrated to a length, CPU and wall time of each.
 *
 * CPU time is that of the whole process, so garbage collection on helper threads counts.
 */
import { getHeapStatistics } from "node:v8"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Services, Variant } from "./Case.ts"

/** µs per operation, one figure per batch. */
export const Samples = Schema.Struct({
  cpu: Schema.Array(Schema.Finite),
  wall: Schema.Array(Schema.Finite),
  /** Bytes allocated on the heap per operation. */
  bytes: Schema.Array(Schema.Finite),
  operations: Schema.Finite
})
export type Samples = typeof Samples.Type

export class WrongResult extends Schema.TaggedError<WrongResult>()("WrongResult", { issue: Schema.String }) {}

export interface Effort {
  readonly batches: number
  /** The length to which batches are calibrated. */
  readonly batchMillis: number
  readonly warmUpMillis: number
}

export const measure = Effect.fnUntraced(function* (variant: Variant, effort: Effort) {
  yield* verify(variant)
  const batch = batchOf(variant)
  let operations = 1
  for (let spent = 0; spent < effort.warmUpMillis;) {
    const { wall } = yield* time(batch, operations)
    spent += wall / 1000
    if (wall / 1000 < effort.batchMillis) operations *= 2
  }
  const { wall: trial } = yield* time(batch, operations)
  operations = Math.max(1, Math.round((operations * effort.batchMillis * 1000) / trial))
  const samples = {
    cpu: [] as Array<number>,
    wall: [] as Array<number>,
    bytes: [] as Array<number>,
    operations
  }
  for (let i = 0; i < effort.batches; i++) {
    const { bytes, cpu, wall } = yield* time(batch, operations)
    samples.cpu.push(cpu / operations)
    samples.wall.push(wall / operations)
    samples.bytes.push(bytes / operations)
  }
  yield* verify(variant)
  if (variant.kind === "effect" && variant.close !== undefined) yield* variant.close
  return samples
})

/** A case whose result is wrong has no time. */
const verify = Effect.fnUntraced(function* (variant: Variant) {
  const result = yield* variant.kind === "effect" ? variant.operation() : Effect.promise(variant.operation)
  const issue = variant.check(result)
  if (issue !== undefined) return yield* new WrongResult({ issue })
})

type Batch = (operations: number) => Effect.Effect<void, unknown, Services>

const batchOf = (variant: Variant): Batch => {
  if (variant.kind === "effect") {
    const { operation } = variant
    return Effect.fnUntraced(function* (operations: number) {
      for (let i = 0; i < operations; i++) yield* operation()
    })
  }
  const { operation } = variant
  return (operations) =>
    Effect.promise(async () => {
      for (let i = 0; i < operations; i++) await operation()
    })
}

/** µs of CPU and wall time that a batch takes, and the bytes that it allocates. */
const time = Effect.fnUntraced(function* (batch: Batch, operations: number) {
  const allocated = allocatedBytes()
  const cpuBefore = process.cpuUsage()
  const before = process.hrtime.bigint()
  yield* batch(operations)
  const wall = Number(process.hrtime.bigint() - before) / 1000
  const cpu = process.cpuUsage(cpuBefore)
  return { cpu: cpu.user + cpu.system, wall, bytes: allocatedBytes() - allocated }
})

/** All that has ever been allocated on the heap. Node has the figure, its types do not yet. */
const allocatedBytes = (): number =>
  (getHeapStatistics() as unknown as { readonly total_allocated_bytes: number }).total_allocated_bytes
