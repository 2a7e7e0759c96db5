/**
 * What Mermaid's own parser reads in a flowchart. It cleans labels as browsers do, so tests that import this need a DOM:
 * `@vitest-environment jsdom`.
 */
import mermaid from "mermaid"

export interface Node {
  readonly id: string
  /** What is written in it, line by line, as a reader sees it. */
  readonly label: string
  /** The lines in italics below. */
  readonly notes: ReadonlyArray<string>
  readonly shape: string
  readonly classes: ReadonlyArray<string>
}

export interface Edge {
  readonly from: string
  readonly to: string
  readonly label: string
  readonly stroke: string
}

export interface Box {
  readonly id: string
  readonly title: string
  readonly direction: string
  readonly members: ReadonlyArray<string>
  readonly classes: ReadonlyArray<string>
}

export interface Flowchart {
  readonly direction: string
  readonly nodes: ReadonlyMap<string, Node>
  readonly edges: ReadonlyArray<Edge>
  readonly boxes: ReadonlyMap<string, Box>
  readonly styles: ReadonlyMap<string, ReadonlyArray<string>>
}

/** The part of Mermaid's database of a flowchart that is read here: it has no public type. */
interface Database {
  readonly getDirection: () => string
  readonly getVertices: () => ReadonlyMap<
    string,
    { readonly id: string; readonly text: string; readonly type?: string; readonly classes: ReadonlyArray<string> }
  >
  readonly getEdges: () => ReadonlyArray<{
    readonly start: string
    readonly end: string
    readonly text: string
    readonly stroke: string
  }>
  readonly getSubGraphs: () => ReadonlyArray<{
    readonly id: string
    readonly title: string
    readonly dir: string
    readonly nodes: ReadonlyArray<string>
    readonly classes: ReadonlyArray<string>
  }>
  readonly getClasses: () => ReadonlyMap<string, { readonly styles: ReadonlyArray<string> }>
}

/** Until it draws, Mermaid keeps `#35;` as `ﬂ°°35¶ß`. Word joiners cannot be seen. */
const seen = (text: string): string =>
  text
    .replaceAll("<br>", "\n")
    .replaceAll(/ﬂ°°(\d+)¶ß/g, (_, code) => String.fromCodePoint(Number(code)))
    .replaceAll("\u2060", "")

// Mermaid learns the kinds of diagrams when it is asked for the first time.
await mermaid.parse("flowchart TD")

export const parse = async (text: string): Promise<Flowchart> => {
  const diagram = await mermaid.mermaidAPI.getDiagramFromText(text)
  // The type of the diagram has been parsed from its first line: it is a flowchart.
  const db = diagram.db as unknown as Database
  const vertices = db.getVertices()
  const boxes = new Map(
    db.getSubGraphs().map((box): [string, Box] => {
      // An edge to a box makes it a vertex too, whose classes are drawn in place of those of the box.
      const { classes } = vertices.get(box.id) ?? box
      return [box.id, { id: box.id, title: seen(box.title), direction: box.dir, members: box.nodes, classes }]
    })
  )
  const nodes = Array.from(vertices.values())
    .filter(({ id }) => !boxes.has(id))
    .map(({ classes, id, text: html, type = "none" }): [string, Node] => {
      const [label = "", ...notes] = html.split(/(?:<br>)?<i>(.*?)<\/i>/).filter((part) => part !== "")
      return [id, { id, label: seen(label), notes: notes.map(seen), shape: type, classes }]
    })
  return {
    direction: db.getDirection(),
    nodes: new Map(nodes),
    edges: db
      .getEdges()
      .map(({ end, start, stroke, text: label }) => ({ from: start, to: end, label: seen(label), stroke })),
    boxes,
    styles: new Map(Array.from(db.getClasses(), ([name, { styles }]) => [name, styles]))
  }
}
