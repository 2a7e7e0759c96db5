// Makes the command line one file, with what it takes from @effect/platform-node: whoever uses the library does not have
// to install that. What the library itself needs stays outside.
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { build } from "esbuild"

const root = new URL("../", import.meta.url)
const at = (path) => fileURLToPath(new URL(path, root))
const folder = process.argv[2] ?? "dist/cli"

rmSync(at(folder), { recursive: true, force: true })
const { metafile } = await build({
  absWorkingDir: at("."),
  entryPoints: ["src/cli/main.ts"],
  outfile: `${folder}/main.js`,
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node22",
  external: ["effect", "smol-toml", "yaml"],
  // For the CommonJS in it.
  banner: { js: 'import { createRequire } from "node:module"\nconst require = createRequire(import.meta.url)' },
  minifySyntax: true,
  minifyWhitespace: true,
  metafile: true,
  logLevel: "warning"
})

const packages = new Set(
  Object.keys(metafile.inputs).flatMap((input) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input)?.[0] ?? [])
)
const licenses = Array.from(packages, (path) => {
  const file = ["LICENSE", "LICENSE.md"].map((name) => at(`${path}/${name}`)).find(existsSync)
  if (file === undefined) throw new Error(`${path} has no license`)
  return `${path.replace(/^.*node_modules\//, "")}\n\n${readFileSync(file, "utf8").trim()}\n`
})
writeFileSync(at(`${folder}/LICENSES.txt`), licenses.join(`\n${"-".repeat(80)}\n\n`))
