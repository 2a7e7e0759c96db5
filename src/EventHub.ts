/**
 * The hub that the events of all runs flow through, those of agents and of workflows: an Effect `PubSub` that runs publish
 * to and that any number of subscribers read, each with its own filter, buffer and overflow policy.
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
import { InvalidAgent } from "./AgentError.ts"
import type { Type as EventType } from "./AgentEvent.ts"
import type { Scope as EventScope, RunEvent } from "./WorkflowEvent.ts"
import * as Events from "./WorkflowEvent.ts"

/**
 * Stands where events are missing: how many were dropped that the subscriber would have received, because it was too
 * slow or because the replay buffer does not go back far enough. (Of the latter the hub no longer knows which it would
 * have received, and counts all.)
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
export type Delivery = RunEvent | Lagged

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
  /** Only events of this run and of the runs it started; of a run that nobody started, of the whole tree below it. */
  readonly runId?: string | undefined
  /** Only events of this agent. */
  readonly agent?: string | undefined
  /**
   * Receive past events too, from this position of the hub on: `0` for all, or what {@link Subscription.position} said,
   * to go on where an earlier subscription stopped. Past and future events join without gap or duplicate. Default:
   * future events only.
   */
  readonly from?: number | undefined
  /** Events that may wait for the subscriber, besides the batch that is being delivered. Default 1024. */
  readonly capacity?: number | undefined
  /**
   * What happens beyond `capacity`: `"dropOldest"` forgets the oldest and delivers a {@link Lagged} in their place;
   * `"backpressure"` lets runs wait before their next model call until the subscriber has caught up. Such a subscriber
   * must not take in a fiber that the run waits for, such as a handler of one of its tools. Default `"dropOldest"`.
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
  /** The position of the hub behind all that has been taken: where another subscription can go on. */
  readonly position: () => number
}

/**
 * The hub.
 *
 * @category models
 * @since 0.1.0
 */
export interface EventHub {
  /** Publishes events, in order. Synchronous; never waits. */
  readonly publish: (events: ReadonlyArray<RunEvent>) => void
  /** Whether a subscriber asks for back-pressure. If none does, events may be published at leisure. */
  readonly mayCongest: () => boolean
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
  readonly events: ReadonlyArray<RunEvent>
}

/** A subscription as the hub keeps it. */
interface Subscriber {
  readonly subscription: PubSub.Subscription<Batch>
  readonly wants: ((event: RunEvent) => boolean) | undefined
  readonly capacity: number
  readonly backpressure: boolean
  /** What was kept for it before it came: bounded by the replay buffer, not by its capacity. */
  past: ReadonlyArray<Delivery>
  /** Open when something may have arrived since it was closed. */
  readonly arrived: Latch.Latch
  /** Events that wait in the `PubSub`, wanted or not. */
  waiting: number
  /** Wanted events that were taken out of the `PubSub` to bound it: older than those in it. */
  kept: Array<RunEvent>
  /** Wanted events dropped since the last take: older than those kept. */
  dropped: number
  /** The position behind all that was taken out of the `PubSub`. */
  position: number
  /** The position behind all that the subscriber has taken. */
  taken: number
}

/**
 * Makes a hub. When the scope closes its subscriptions end, and what is published after that is lost.
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
  const pubsub = yield* PubSub.unbounded<Batch>()
  const subscribers = new Set<Subscriber>()
  const clear = Latch.makeUnsafe(true)
  let closed = false
  let backpressured = 0
  let position = 0
  let past: Array<RunEvent> = []

  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      closed = true
      Latch.openUnsafe(clear)
      for (const { arrived } of subscribers) Latch.openUnsafe(arrived)
      subscribers.clear()
    })
  )

  const publish = (events: ReadonlyArray<RunEvent>): void => {
    if (closed || events.length === 0) return
    if (replay > 0) {
      for (const event of events) past.push(event)
      // Trimmed at twice the size, so that keeping the last `replay` events costs O(1) each.
      if (past.length > replay * 2) past = past.slice(-replay)
    }
    const first = position
    position += events.length
    if (subscribers.size === 0) return
    for (const subscriber of subscribers) subscriber.waiting += events.length
    PubSub.publishUnsafe(pubsub, { first, events })
    for (const subscriber of subscribers) {
      // One that waits runs now, and takes.
      Latch.openUnsafe(subscriber.arrived)
      if (subscriber.waiting > subscriber.capacity) bound(subscriber)
    }
  }

  /** Takes what waits for a subscriber out of the `PubSub`, keeps what it wants, and no more than its capacity. */
  const bound = (subscriber: Subscriber): void => {
    absorb(subscriber, subscriber.subscription.subscription.pollUpTo(Infinity))
    const { capacity, kept } = subscriber
    if (kept.length <= capacity) return
    if (subscriber.backpressure) {
      Latch.closeUnsafe(clear)
      return
    }
    subscriber.dropped += kept.length - capacity
    subscriber.kept = kept.slice(kept.length - capacity)
  }

  const release = (): void => {
    for (const { backpressure, capacity, kept } of subscribers) if (backpressure && kept.length > capacity) return
    Latch.openUnsafe(clear)
  }

  const subscribe = Effect.fnUntraced(function* (
    request: SubscribeOptions = {}
  ): Effect.fn.Return<Subscription, never, Scope.Scope> {
    const { capacity = 1024 } = request
    if (!(capacity >= 0)) {
      return yield* Effect.die(new InvalidAgent({ field: "capacity", issue: `must not be negative, is ${capacity}` }))
    }
    const subscription = yield* PubSub.subscribe(pubsub)
    // Nothing can be published in between: what is in `past` is what live events begin after.
    const subscriber = yield* Effect.sync(() => {
      const made: Subscriber = {
        subscription,
        wants: predicate(request),
        capacity,
        backpressure: request.onOverflow === "backpressure",
        past: [],
        arrived: Latch.makeUnsafe(),
        waiting: 0,
        kept: [],
        dropped: 0,
        position,
        taken: Math.min(request.from ?? position, position)
      }
      if (request.from !== undefined) recall(made, request.from)
      if (!closed) subscribers.add(made)
      if (made.backpressure) backpressured++
      return made
    })
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        subscribers.delete(subscriber)
        if (subscriber.backpressure) backpressured--
        release()
      })
    )

    const deliver = (): ReadonlyArray<Delivery> => {
      const { dropped, kept, past } = subscriber
      subscriber.past = []
      subscriber.kept = []
      subscriber.dropped = 0
      subscriber.taken = subscriber.position
      if (subscriber.backpressure) release()
      return past.length === 0 && dropped === 0 ? kept : [...past, ...lagged(dropped), ...kept]
    }

    const take: Subscription["take"] = Effect.suspend(() => {
      bound(subscriber)
      const deliveries = deliver()
      if (Arr.isReadonlyArrayNonEmpty(deliveries)) return Effect.succeed(deliveries)
      if (closed) return Cause.done()
      // What arrives before it waits opens the latch again, and nothing is out of the `PubSub` and not yet here.
      Latch.closeUnsafe(subscriber.arrived)
      return Effect.andThen(subscriber.arrived.await, take)
    })
    return { take, position: () => subscriber.taken }
  })

  /** Gives a new subscriber what is kept of the past, and says what is not. */
  const recall = (subscriber: Subscriber, from: number): void => {
    const kept = past.slice(-replay)
    const oldest = position - (replay > 0 ? kept.length : 0)
    const start = Math.max(0, from)
    const events = replay > 0 ? kept.slice(Math.max(0, start - oldest)) : []
    const wanted = subscriber.wants === undefined ? events : events.filter(subscriber.wants)
    subscriber.past = [...lagged(Math.max(0, oldest - start)), ...wanted]
  }

  return {
    publish,
    subscribe,
    mayCongest: () => backpressured > 0,
    congestion: () => (clear.isOpen() ? undefined : clear.await)
  }
})

const lagged = (dropped: number): ReadonlyArray<Lagged> => (dropped === 0 ? [] : [{ _tag: "Lagged", dropped }])

/** Takes over batches that have left the `PubSub`. Those from before the subscription are in its past already. */
const absorb = (subscriber: Subscriber, batches: ReadonlyArray<Batch>): void => {
  const { wants } = subscriber
  for (const { events, first } of batches) {
    if (first < subscriber.position) continue
    subscriber.position = first + events.length
    for (const event of events) if (wants === undefined || wants(event)) subscriber.kept.push(event)
  }
  subscriber.waiting = 0
}

/** The filter of a subscription, or `undefined` when it takes everything. */
const predicate = (options: SubscribeOptions): ((event: RunEvent) => boolean) | undefined => {
  const { agent, runId, scopes, types } = options
  const tests: Array<(event: RunEvent) => boolean> = []
  if (scopes !== undefined) tests.push((event) => scopes.includes(Events.scope(event)))
  if (types !== undefined) tests.push((event) => types.includes(Events.type(event)))
  if (runId !== undefined) {
    tests.push((event) => event.runId === runId || event.parentRunId === runId || event.rootRunId === runId)
  }
  if (agent !== undefined) tests.push((event) => !Events.isWorkflowEvent(event) && event.agent === agent)
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

const nothing: Subscription = { take: Cause.done(), position: () => 0 }

/**
 * Subscribes to the hub in the context, for as long as the scope is open. Without a hub there is nothing to receive
 * and the subscription ends at once.
 *
 * @category operations
 * @since 0.1.0
 */
export const subscribe = (options?: SubscribeOptions): Effect.Effect<Subscription, never, Scope.Scope> =>
  Effect.flatMap(EventHub, (hub) => (hub === undefined ? Effect.succeed(nothing) : hub.subscribe(options)))

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
