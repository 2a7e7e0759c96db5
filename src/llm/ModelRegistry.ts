/**
 * Models by name: one `Llm` that passes each call on to the model that the call names, so that an agent, or a turn of
 * it, chooses among providers.
 *
 * @since 0.1.0
 */
import * as AiError from "effect/ai/AiError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Llm from "../Llm.ts"

/**
 * A layer with a model for each name. A call goes to the one that `sampling.model` names, which then answers with its
 * own model, or to `otherwise`.
 *
 * **Details**
 *
 * All layers are built, so that a missing key is noticed at the start. A name that the registry does not have fails the
 * call with `InvalidRequestError`.
 *
 * **Example** (A cheap model for all turns but the first)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Agent from "effect-agent-runtime/Agent"
 * import * as ModelRegistry from "effect-agent-runtime/llm/ModelRegistry"
 * import * as ScriptedLlm from "effect-agent-runtime/testing/ScriptedLlm"
 *
 * const models = ModelRegistry.layer(
 *   { large: ScriptedLlm.layer(["from the large one"]), small: ScriptedLlm.layer(["from the small one"]) },
 *   "small"
 * )
 *
 * const agent = Agent.make("planner", {
 *   prepareTurn: ({ turn }) => Effect.succeed(turn === 1 ? { model: "large" } : {})
 * })
 * Effect.runSync(Effect.provide(Agent.run(agent, "Plan"), models)).text // => "from the large one"
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <const Models extends Readonly<Record<string, Layer.Layer<Llm.Llm, unknown, unknown>>>>(
  models: Models,
  otherwise: NoInfer<keyof Models & string>
): Layer.Layer<Llm.Llm, Layer.Error<Models[keyof Models]>, Layer.Services<Models[keyof Models]>> =>
  Layer.effect(
    Llm.Llm,
    Effect.gen(function* () {
      const built = new Map<string, Llm.Llm["Service"]>()
      for (const [name, model] of Object.entries(models)) {
        built.set(name, Context.get(yield* Layer.build(model as Own<Models>), Llm.Llm))
      }
      return route(built, otherwise)
    })
  )

/** The layers with what they fail with and need, which their record knows. */
type Own<Models extends Readonly<Record<string, Layer.Layer<Llm.Llm, unknown, unknown>>>> = Layer.Layer<
  Llm.Llm,
  Layer.Error<Models[keyof Models]>,
  Layer.Services<Models[keyof Models]>
>

const route = (models: ReadonlyMap<string, Llm.Llm["Service"]>, otherwise: string): Llm.Llm["Service"] =>
  Llm.make((request, onDelta) => {
    const { model: name = otherwise, ...sampling } = request.sampling
    const model = models.get(name)
    return model === undefined
      ? Effect.fail(unknown(name, [...models.keys()]))
      : model.generate({ ...request, sampling }, onDelta)
  })

const unknown = (name: string, names: ReadonlyArray<string>): AiError.AiError =>
  AiError.make({
    module: "ModelRegistry",
    method: "generate",
    reason: new AiError.InvalidRequestError({
      parameter: "model",
      description: `There is no model '${name}'. The models are: ${names.join(", ")}.`
    })
  })
