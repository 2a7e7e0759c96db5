/** The plots of the report, as SVG, by Vega-Lite. */
import * as vega from "vega"
import type { TopLevelSpec } from "vega-lite"
import { compile } from "vega-lite"

/** One mark of a plot. */
export interface Point {
  readonly x: number
  readonly y: number
  readonly series: string
}

const size = { width: 560, height: 320 }

const toSvg = (spec: TopLevelSpec): Promise<string> =>
  new vega.View(vega.parse(compile(spec).spec), { renderer: "none" }).toSVG()

const schema = "https://vega.github.io/schema/vega-lite/v6.json"

/** Lines over two logarithmic axes. */
export const lines = (title: string, x: string, y: string, points: ReadonlyArray<Point>): Promise<string> =>
  toSvg({
    $schema: schema,
    title,
    background: "white",
    ...size,
    data: { values: [...points] },
    mark: { type: "line", point: true },
    encoding: {
      x: { field: "x", type: "quantitative", scale: { type: "log" }, title: x },
      y: { field: "y", type: "quantitative", scale: { type: "log" }, title: y },
      color: { field: "series", type: "nominal", title: null }
    }
  })

/** Horizontal bars over a logarithmic axis, the shortest on top. */
export const bars = (
  title: string,
  x: string,
  values: ReadonlyArray<{ readonly name: string; readonly value: number; readonly series: string }>
): Promise<string> =>
  toSvg({
    $schema: schema,
    title,
    background: "white",
    width: size.width,
    data: { values: values.map((bar) => ({ ...bar, from: 0.1 })) },
    mark: "bar",
    encoding: {
      y: { field: "name", type: "nominal", sort: { field: "value" }, title: null },
      yOffset: { field: "series", type: "nominal" },
      x: { field: "from", type: "quantitative", scale: { type: "log" }, title: x },
      x2: { field: "value" },
      color: { field: "series", type: "nominal", title: null }
    }
  })
