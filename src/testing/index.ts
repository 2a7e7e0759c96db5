/**
 * What tests of agents need: a scripted model, cassettes that record a real one, arbitraries, the laws that runs and
 * detectors obey, and the checks that a model has to pass.
 *
 * @since 0.1.0
 */
export * as Arbitraries from "./Arbitraries.ts"
export * as Cassette from "./Cassette.ts"
export * as Laws from "./Laws.ts"
export * as LlmConformance from "./LlmConformance.ts"
export * as ScriptedLlm from "./ScriptedLlm.ts"
