/**
 * Takes secrets out of texts and JSON: what looks like a key, and what stands under a name that says so.
 */

/** What stands in place of a secret. */
export const redacted = "<redacted>"

/** What looks like a key: the prefixes that providers give them, and bearer tokens. */
export const keyShaped =
  /\b(?:sk|pk|rk|gsk|hf|xai|nvapi|csk|fw)[-_][\w-]{16,}|\bAIza[\w-]{30,}|(?<=\bBearer )[\w.~+/-]{16,}=*/g

/** Names of secrets, in lower case and without separators. `tokens` is a count, `token` a secret. */
const names =
  "apikey|secret|secretkey|password|passwd|passphrase|authorization|credentials?|privatekey|accesskey|(?:^|access|refresh|id|auth|bearer|session|api)token|cookie"

const secretName = new RegExp(`(?:${names})$`)

const isSecretName = (name: string): boolean => secretName.test(name.toLowerCase().replaceAll(/[-_\s]/g, ""))

/** A member of an object in JSON text, closed or cut off, whose value is a string; within strings, quotes are escaped. */
const jsonMember = /((\\{0,7}")([\w -]{1,64})\2\s*:\s*\2)((?:(?!\2)(?:\\.|[^]))+)/g

/** The text without what looks like a key, and without what stands under the name of a secret in JSON. */
export const redactText = (text: string): string => redactMembers(text.replaceAll(keyShaped, redacted))

const redactMembers = (text: string): string =>
  text.replaceAll(
    jsonMember,
    (_, start: string, _quote, name: string, value: string) =>
      start + (isSecretName(name) ? redacted : redactMembers(value))
  )

/** A JSON value with `text` applied to its strings, and without the strings under names of secrets. */
export const redactJson = (value: unknown, text: (text: string) => string): unknown => {
  if (typeof value === "string") return text(value)
  if (typeof value !== "object" || value === null) return value
  if (Array.isArray(value)) return value.map((item) => redactJson(item, text))
  const members = Object.entries(value).map(([name, member]) => [
    name,
    typeof member === "string" && member !== "" && isSecretName(name) ? redacted : redactJson(member, text)
  ])
  // Unlike an assignment, this makes `__proto__` a member like any other.
  return Object.fromEntries(members)
}
