// npm ignores `publishConfig.exports`: `prepack` points the exports at dist/, `postpack` back at src/.
import { readFileSync, writeFileSync } from "node:fs"

const file = new URL("../package.json", import.meta.url)
const manifest = readFileSync(file, "utf8")
writeFileSync(
  file,
  process.argv[2] === "dist"
    ? manifest.replace(/"\.\/src\/(.+)\.ts"/g, '"./dist/$1.js"')
    : manifest.replace(/"\.\/dist\/(.+)\.js"/g, '"./src/$1.ts"')
)
