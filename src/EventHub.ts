/**
 * The hub that the events of all runs flow through: an Effect `PubSub` that runs publish to and that any number of
 * subscribers read, each with its own filter, buffer and overflow policy.
 *
 * The hub is a tap: nothing flows back into a run. Publishing is synchronous and never waits for a subscriber,
 * unless that subscriber asked for back-pressure. Without a hub in the context, runs build no events at all.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as PubSub from "effect/PubSub"
import type * as Pull from "effect/Pull"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { AgentEvent, Scope as EventScope, Type as EventType } from "./AgentEvent.ts"
import * as AgentEvents from "./AgentEvent.ts"

/**
 * Stands where events are missing because the subscriber was too slow: how many that it would have received.
 *
 * @category models
 * @since 0.1.0
 */
export interface Lagged {
  readonly _tag: "Lagged"
  readonly dropped: number
}

/**
 * What a subscriber receives.
 *
 * @category models
 * @since 0.1.0
 */
export type Delivery = AgentEvent | Lagged

/**
 * What to receive, and what happens when the subscriber is too slow.
 *
 * @category models
 * @since 0.1.0
 */
export interface SubscribeOptions {
  /** Only events of these scopes. */
  readonly scopes?: ReadonlyArray<EventScope> | undefined
  /** Only events of these types. */
  readonly types?: ReadonlyArray<EventType> | undefined
  /** Only events of this run and of the runs it started. */
  readonly runId?: string | undefined
  /** Only events of this agent. */
  readonly agent?: string | undefined
  /**
   * Receive past events too, as far as the replay buffer goes back, from this offset within their run: `0` for all.
   * Past and future events join without gap or duplicate. Default: future events only.
   */
  readonly from?: number | undefined
  /** Events that may wait for the subscriber. Default 1024. */
  readonly capacity?: number | undefined
  /**
   * What happens beyond `capacity`: `"dropOldest"` forgets the oldest and delivers a {@link Lagged} in their place;
   * `"backpressure"` lets runs wait at their next seam (before a model call, after a turn) until the subscriber has
   * caught up. Default `"dropOldest"`.
   */
  readonly onOverflow?: "dropOldest" | "backpressure" | undefined
}

/**
 * A subscription: `take` waits for events and returns all there are. It ends (`Cause.Done`) with the hub.
 *
 * @category models
 * @since 0.1.0
 */
export interface Subscription {
  readonly take: Pull.Pull<Arr.NonEmptyReadonlyArray<Delivery>>
}

/**
 * The hub.
 *
 * @category models
 * @since 0.1.0
 */
export interface EventHub {
  /** Publishes events, in order. Synchronous; never waits. */
  readonly publish: (events: ReadonlyArray<AgentEvent>) => void
  /** Waits while a subscriber with back-pressure is behind; `undefined` when none is. */
  readonly congestion: () => Effect.Effect<void> | undefined
  readonly subscribe: (options?: SubscribeOptions) => Effect.Effect<Subscription, never, Scope.Scope>
}

/**
 * The hub that runs publish to. Default: `undefined`, no observers and no cost.
 *
 * @category services
 * @since 0.1.0
 */
export const EventHub = Context.Reference<EventHub | undefined>("effect-agent-runtime/EventHub", {
  defaultValue: () => undefined
})

/** Events published together; `first` is the position of the first in all that the hub has published. */
interface Batch {
  readonly first: number
  readonly events: ReadonlyArray<AgentEvent>
}

/** A subscription as the hub keeps it. */
interface Subscriber {
  readonly subscription: PubSub.Subscription<Batch>
  readonly wants: ((event: AgentEvent) => boolean) | undefined
  readonly capacity: number
  readonly backpressure: boolean
  /** Events that wait. */
  backlog: number
  /** Events dropped since the last take. */
  dropped: number
}

/**
 * Makes a hub. It ends its subscriptions when the scope closes.
 *
 * `replay` is how many events it keeps for subscriptions with `from`. Default 1024.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  options: { readonly replay?: number | undefined } = {}
): Effect.fn.Return<EventHub, never, Scope.Scope> {
  const replay = options.replay ?? 1024
  const pubsub = yield* Effect.acquireRelease(PubSub.unbounded<Batch>(), (hub) =>
    Effect.sync(() => PubSub.endUnsafe(hub, { first: position, events: [] }))
  )
  const subscribers = new Set<Subscriber>()
  const clear = Latch.makeUnsafe(true)
  let position = 0
  let past: Array<AgentEvent> = []

  const publish = (events: ReadonlyArray<AgentEvent>): void => {
    if (replay > 0) {
      for (const event of events) past.push(event)
      // Trimmed at twice the size, so that keeping the last `replay` events costs O(1) each.
      if (past.length > replay * 2) past = past.slice(-replay)
    }
    if (subscribers.size > 0) {
      // Room first: a waiting subscriber runs, and takes, while the batch is being published.
      for (const subscriber of subscribers) makeRoom(subscriber, events)
      const first = position
      position += events.length
      PubSub.publishUnsafe(pubsub, { first, events })
    } else {
      position += events.length
    }
  }

  const makeRoom = (subscriber: Subscriber, events: ReadonlyArray<AgentEvent>): void => {
    subscriber.backlog += wanted(subscriber, events)
    if (subscriber.backlog <= subscriber.capacity) return
    if (subscriber.backpressure) {
      Latch.closeUnsafe(clear)
      return
    }
    while (subscriber.backlog > subscriber.capacity) {
      // The oldest that waits; there is none when the new batch alone is more than the capacity.
      const [oldest] = subscriber.subscription.subscription.pollUpTo(1)
      if (oldest === undefined) return
      const count = wanted(subscriber, oldest.events)
      subscriber.backlog -= count
      subscriber.dropped += count
    }
  }

  const release = (): void => {
    for (const subscriber of subscribers) {
      if (subscriber.backpressure && subscriber.backlog > subscriber.capacity) return
    }
    Latch.openUnsafe(clear)
  }

  const subscribe = Effect.fnUntraced(function* (
    request: SubscribeOptions = {}
  ): Effect.fn.Return<Subscription, never, Scope.Scope> {
    const subscriber: Subscriber = {
      subscription: yield* PubSub.subscribe(pubsub),
      wants: predicate(request),
      capacity: request.capacity ?? 1024,
      backpressure: request.onOverflow === "backpressure",
      backlog: 0,
      dropped: 0
    }
    // From here to the return nothing can be published: what is in `past` is what live events begin after.
    subscribers.add(subscriber)
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        subscribers.delete(subscriber)
        release()
      })
    )
    const start = position
    let next = start
    let replayed = request.from === undefined ? [] : past.slice(-replay).filter(subscriber.wants ?? (() => true))

    const collect = (batches: ReadonlyArray<Batch>): Array<Delivery> => {
      const deliveries: Array<Delivery> = []
      for (const batch of batches) {
        if (batch.first < start) continue
        if (batch.first > next && subscriber.dropped > 0) {
          deliveries.push({ _tag: "Lagged", dropped: subscriber.dropped })
          subscriber.dropped = 0
        }
        next = batch.first + batch.events.length
        for (const event of batch.events) {
          if (subscriber.wants === undefined || subscriber.wants(event)) deliveries.push(event)
        }
      }
      subscriber.backlog = 0
      if (subscriber.backpressure) release()
      return deliveries
    }

    const take: Subscription["take"] = Effect.suspend(() => {
      const pending = replayed
      replayed = []
      if (Arr.isReadonlyArrayNonEmpty(pending)) return Effect.succeed(pending)
      return Effect.flatMap(PubSub.takeAll(subscriber.subscription), (batches) => {
        const deliveries = collect(batches)
        if (Arr.isReadonlyArrayNonEmpty(deliveries)) return Effect.succeed(deliveries)
        return Arr.lastNonEmpty(batches).events.length === 0 ? Cause.done() : take
      })
    })
    return { take }
  })

  return {
    publish,
    subscribe,
    congestion: () => (clear.isOpen() ? undefined : clear.await)
  }
})

const wanted = (subscriber: Subscriber, events: ReadonlyArray<AgentEvent>): number => {
  const { wants } = subscriber
  if (wants === undefined) return events.length
  let count = 0
  for (const event of events) if (wants(event)) count++
  return count
}

/** The filter of a subscription, or `undefined` when it takes everything. */
const predicate = (options: SubscribeOptions): ((event: AgentEvent) => boolean) | undefined => {
  const { agent, from, runId, scopes, types } = options
  const tests: Array<(event: AgentEvent) => boolean> = []
  if (scopes !== undefined) tests.push((event) => scopes.includes(AgentEvents.scope(event)))
  if (types !== undefined) tests.push((event) => types.includes(AgentEvents.type(event)))
  if (runId !== undefined) tests.push((event) => event.runId === runId || event.parentRunId === runId)
  if (agent !== undefined) tests.push((event) => event.agent === agent)
  if (from !== undefined && from > 0) tests.push((event) => event.offset >= from)
  return tests.length === 0 ? undefined : (event) => tests.every((test) => test(event))
}

/**
 * A layer that installs a hub for everything it is provided to.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: { readonly replay?: number | undefined }): Layer.Layer<never> =>
  Layer.effect(EventHub, make(options))

/**
 * Subscribes to the hub in the context, for as long as the scope is open. Without a hub there is nothing to receive
 * and the subscription ends at once.
 *
 * @category operations
 * @since 0.1.0
 */
export const subscribe = (options?: SubscribeOptions): Effect.Effect<Subscription, never, Scope.Scope> =>
  Effect.flatMap(EventHub, (hub) =>
    hub === undefined ? Effect.succeed({ take: Cause.done() }) : hub.subscribe(options)
  )

/**
 * The events of the hub in the context as a stream. It ends with the hub.
 *
 * **Gotchas**
 *
 * It is subscribed when the stream starts. A stream in a forked fiber may start after the run it is meant to watch:
 * use {@link subscribe} before the run, or `from: 0` to receive what has happened already.
 *
 * @category operations
 * @since 0.1.0
 */
export const stream = (options?: SubscribeOptions): Stream.Stream<Delivery> =>
  Stream.unwrap(Effect.map(subscribe(options), ({ take }) => Stream.fromPull(Effect.succeed(take))))
