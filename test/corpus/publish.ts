/** Writes the tables of docs/loop-detection.md: `npm run corpus`. */
import { readFileSync, writeFileSync } from "node:fs"
import { renew } from "./report.ts"

const page = new URL("../../docs/loop-detection.md", import.meta.url)

writeFileSync(page, renew(readFileSync(page, "utf8")))
