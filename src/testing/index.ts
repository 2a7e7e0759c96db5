/**
 * What tests of agents need: a scripted model, arbitraries, and the laws that runs and detectors obey.
 *
 * @since 0.1.0
 */
export * as Arbitraries from "./Arbitraries.ts"
export * as Laws from "./Laws.ts"
export * as ScriptedLlm from "./ScriptedLlm.ts"
