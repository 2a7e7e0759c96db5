/**
 * Answers a request that has been answered before without asking the model: for tests, development, and requests that
 * users repeat.
 *
 * @since 0.1.0
 */
import type * as AiError from "effect/ai/AiError"
import * as Cache from "effect/Cache"
import * as Context from "effect/Context"
import * as Digest from "effect/crypto/Digest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Persistable from "effect/persistence/Persistable"
import * as Persistence from "effect/persistence/Persistence"
import * as PrimaryKey from "effect/PrimaryKey"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { OnDelta } from "../internal/attempt.ts"
import * as Attempt from "../internal/attempt.ts"
import * as Json from "../internal/json.ts"
import * as LlmJson from "../internal/llmJson.ts"
import * as Llm from "../Llm.ts"
import * as Usage from "../Usage.ts"

/**
 * What is kept in memory.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The number of responses; the one that was not used for longest makes room. Default: 256. */
  readonly capacity?: number | undefined
  /** Default: an hour. */
  readonly timeToLive?: Duration.Input | undefined
}

/**
 * Keeps responses in memory.
 *
 * **Details**
 *
 * - Two requests are the same if all of these are: instructions, messages (with ids, metadata and the bytes of files),
 *   names, descriptions and schemas of the tools and their order, tool choice, sampling, and name and schema of the
 *   output format.
 *   The key is the SHA-256 of their canonical JSON.
 * - Requests that come while the same one is being answered wait for that answer. Interrupting one leaves the others
 *   waiting; the
 *   call to the model is interrupted with the last of them.
 * - A repeated response says that it took no tokens. `onDelta` gets its texts and reasoning, each in one piece.
 * - Failures are not kept.
 *
 * **Gotchas**
 *
 * A model that samples gives the same answer each time. Belongs outside all other middleware, so that what is known
 * waits for nothing.
 *
 * @category middleware
 * @since 0.1.0
 */
export const make = ({ capacity = 256, timeToLive = "1 hour" }: Options = {}): Llm.Middleware =>
  cached(ask, { capacity, timeToLive })

/**
 * What is kept in a store.
 *
 * @category models
 * @since 0.1.0
 */
export interface PersistedOptions {
  /** Names the store: one for each model, because a request does not say which model answers by default. */
  readonly storeId: string
  /** Default: a day. */
  readonly timeToLive?: Duration.Input | undefined
}

/**
 * Keeps responses in a `Persistence` store: SQL, Redis, a key-value store or memory, by its layer.
 *
 * **Details**
 *
 * As {@link make}, but a response is looked up in the store each time. While the store cannot be reached, or holds
 * what is not a response,
 * the model is asked and a warning logged. The bytes of a file come back as base64.
 *
 * @category middleware
 * @since 0.1.0
 */
export const makePersisted =
  ({ storeId, timeToLive = "1 day" }: PersistedOptions): Llm.Middleware<Persistence.Persistence | Scope.Scope> =>
  (llm) =>
    Effect.gen(function* () {
      const persistence = yield* Persistence.Persistence
      const store = yield* persistence.make({ storeId, timeToLive: () => timeToLive })
      // Not a `PersistedCache`, for which a store that cannot be reached is a failed call. Nothing is kept in memory
      // beyond the call.
      return yield* cached((call) => throughStore(store, call), { capacity: Infinity, timeToLive: Duration.zero })(llm)
    })

/** A call that may have to be made for all who wait for its response. */
class Call extends Context.Service<
  Call,
  {
    readonly llm: Llm.Llm["Service"]
    readonly key: string
    readonly request: Llm.LlmRequest
    readonly onDelta: OnDelta
    /** Whether this call was the one to ask. */
    asked: boolean
    /** Responses that nobody has accounted for yet. */
    readonly unpaid: WeakSet<Llm.LlmResponse>
  }
>()("effect-agent-runtime/middleware/ResponseCache/Call") {}

const cached =
  (
    lookUp: (call: Call["Service"]) => Effect.Effect<Llm.LlmResponse, AiError.AiError>,
    { capacity, timeToLive }: { readonly capacity: number; readonly timeToLive: Duration.Input }
  ): Llm.Middleware =>
  (llm) =>
    Effect.gen(function* () {
      const { digestHex } = yield* Effect.provide(Digest.Digest, Digest.layerWebCrypto)
      const cache = yield* Cache.makeWith((_key: string) => Effect.flatMap(Call, lookUp), {
        capacity,
        timeToLive: (exit) => (Exit.isSuccess(exit) ? timeToLive : Duration.zero),
        requireServicesAt: "lookup"
      })
      const unpaid = new WeakSet<Llm.LlmResponse>()
      return Llm.make(
        Effect.fnUntraced(function* (request, onDelta) {
          const text = Result.try(() => Json.canonical(LlmJson.ofRequest(request)))
          // A provider that cannot write the request as JSON either says so better.
          if (Result.isFailure(text)) return yield* llm.generate(request, onDelta)
          const key = yield* digestHex(Digest.sha256, new TextEncoder().encode(text.success))
          const attempt = Attempt.begin(onDelta)
          const call = { llm, key, request, onDelta: attempt.onDelta, asked: false, unpaid }
          const response = yield* Cache.get(cache, key).pipe(
            Effect.provideService(Call, call),
            Effect.ensuring(Effect.sync(attempt.end))
          )
          if (!call.asked) replay(response, onDelta)
          // Whoever asked may have been interrupted meanwhile: the first to have the response says what it took.
          return unpaid.delete(response) ? response : { ...response, tokens: Usage.noTokens }
        })
      )
    })

const ask = (call: Call["Service"]) =>
  Effect.suspend(() => {
    call.asked = true
    return Effect.tap(call.llm.generate(call.request, call.onDelta), (response) =>
      Effect.sync(() => call.unpaid.add(response))
    )
  })

const throughStore = Effect.fnUntraced(function* (store: Persistence.PersistenceStore, call: Call["Service"]) {
  const entry = new Entry(call.key)
  const known = yield* Effect.catch(store.get(entry), warn)
  if (known !== undefined && Exit.isSuccess(known)) return known.value
  const response = yield* ask(call)
  yield* Effect.catch(store.set(entry, Exit.succeed(response)), warn)
  return response
})

const warn = (error: Persistence.PersistenceError | Schema.SchemaError) =>
  Effect.as(Effect.logWarning("The cache of model responses cannot be used", error), undefined)

class Entry implements Persistable.Persistable<typeof LlmJson.LlmResponseJson, typeof Schema.Never> {
  readonly [Persistable.symbol] = { success: LlmJson.LlmResponseJson, error: Schema.Never }
  readonly key: string
  constructor(key: string) {
    this.key = key
  }
  [PrimaryKey.symbol]() {
    return this.key
  }
}

const replay = ({ content }: Llm.LlmResponse, onDelta: OnDelta): void => {
  if (onDelta === undefined) return
  for (const part of content) {
    if (part.type === "text" || part.type === "reasoning") onDelta({ type: part.type, delta: part.text })
  }
}
