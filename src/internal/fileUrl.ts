/** Files of messages as URLs. */
import type * as Prompt from "effect/ai/Prompt"
import * as Base64 from "effect/encoding/Base64"

/** A file as a URL: its own, or a `data:` URL of its bytes. */
export const of = ({ data, mediaType }: Prompt.FilePartEncoded): string => {
  if (data instanceof URL) return data.href
  if (data instanceof Uint8Array) return dataUrl(mediaType, Base64.encode(data))
  if (typeof data === "string") return /^(data|https?):/i.test(data) ? data : dataUrl(mediaType, data)
  return data._tag === "URL" ? data.href : dataUrl(mediaType, data.base64)
}

const dataUrl = (mediaType: string, base64: string): string =>
  // A data URL needs a concrete type; decoders look at the bytes anyway.
  `data:${mediaType === "image/*" ? "image/jpeg" : mediaType};base64,${base64}`
