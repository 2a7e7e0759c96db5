/**
 * Questions to a schema about one of its paths: which keys there are, and what may stand there.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as SchemaAST from "effect/SchemaAST"
import type { Path } from "./document.ts"

/** The alternatives that a node is made of. */
const alternatives = (ast: SchemaAST.AST): ReadonlyArray<SchemaAST.AST> => {
  if (ast._tag === "Union") return ast.types.flatMap(alternatives)
  return ast._tag === "Suspend" ? alternatives(ast.thunk()) : [ast]
}

const childrenOf = (ast: SchemaAST.AST, segment: string | number): ReadonlyArray<SchemaAST.AST> => {
  if (ast._tag === "Arrays") return ast.rest
  if (ast._tag !== "Objects") return []
  const property = ast.propertySignatures.find(({ name }) => name === String(segment))
  return property === undefined ? ast.indexSignatures.map(({ type }) => type) : [property.type]
}

/** What may stand at a path, before it is taken apart. */
const nodesAt = (ast: SchemaAST.AST, path: Path): ReadonlyArray<SchemaAST.AST> => {
  let nodes: ReadonlyArray<SchemaAST.AST> = [ast]
  for (const segment of path) nodes = nodes.flatMap(alternatives).flatMap((node) => childrenOf(node, segment))
  return nodes
}

/** The keys that the schema names at a path. */
export const keysAt = (ast: SchemaAST.AST, path: Path): ReadonlyArray<string> =>
  nodesAt(ast, path)
    .flatMap(alternatives)
    .flatMap((node) => (node._tag === "Objects" ? node.propertySignatures.map(({ name }) => String(name)) : []))

export const accepts = (ast: SchemaAST.AST, path: Path, value: unknown): boolean =>
  nodesAt(ast, path).some((node) =>
    Result.isSuccess(Schema.decodeUnknownResult(Schema.make<Schema.Decoder<unknown>>(node))(value))
  )

export const isList = (ast: SchemaAST.AST, path: Path): boolean =>
  nodesAt(ast, path)
    .flatMap(alternatives)
    .some(({ _tag }) => _tag === "Arrays")

/** Marks the schema of what must not stand in a file itself. */
export const secretId = "Secret"

export const isSecret = (ast: SchemaAST.AST, path: Path): boolean =>
  nodesAt(ast, path).some((node) => node.annotations?.identifier === secretId)
