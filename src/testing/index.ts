/**
 * What tests of agents need: a scripted model, cassettes that record a real one, arbitraries, the laws that runs and
 * detectors obey, the checks that a model has to pass, and simulations in which things go wrong.
 *
 * @since 0.1.0
 */
export * as Arbitraries from "./Arbitraries.ts"
export * as Cassette from "./Cassette.ts"
export type * as Decision from "./Decision.ts"
export * as Faults from "./Faults.ts"
export * as Laws from "./Laws.ts"
export * as LlmConformance from "./LlmConformance.ts"
export * as ScriptedLlm from "./ScriptedLlm.ts"
export * as Simulation from "./Simulation.ts"
