import type { Case } from "../Case.ts"
import { original } from "./original.ts"
import { scaling } from "./scaling.ts"
import { variants } from "./variants.ts"

export const cases: ReadonlyArray<Case> = [...original, ...scaling, ...variants]
