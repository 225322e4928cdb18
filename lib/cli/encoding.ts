/** Keys, values and header values as text, in and out. */
import { isUtf8 } from 'node:buffer'
import { LogError } from '../util/errors.ts'

export const ENCODINGS = ['utf8', 'hex', 'base64'] as const
export type Encoding = (typeof ENCODINGS)[number]

/** A value in JSON output: text, null, or base64 where the text would not give the bytes back. */
export type EncodedValue = string | null | { readonly base64: string }

/** For JSON output. With `utf8`, bytes that are not valid UTF-8 become `{"base64":"…"}`: never mangled. */
export function encodeValue(bytes: Buffer | null, encoding: Encoding): EncodedValue {
  if (bytes === null) return null
  if (encoding !== 'utf8') return bytes.toString(encoding)
  return isUtf8(bytes) ? bytes.toString('utf8') : { base64: bytes.toString('base64') }
}

/**
 * For plain output: the bytes to print.
 *
 * @throws {LogError} INVALID_RECORD for bytes that are no text, with the way out.
 */
export function plainValue(bytes: Buffer | null, encoding: Encoding, what: string): string | Buffer {
  if (bytes === null) return 'null'
  if (encoding !== 'utf8') return bytes.toString(encoding)
  if (isUtf8(bytes)) return bytes
  throw new LogError('INVALID_RECORD', `${what} is not valid UTF-8; choose --encoding hex or base64, or --json.`)
}

/**
 * Text to bytes.
 *
 * @throws {TypeError} saying what is wrong with the text.
 */
export function decodeText(text: string, encoding: Encoding): Buffer {
  if (encoding === 'utf8') return utf8Bytes(text)
  if (encoding === 'hex') {
    if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text))
      throw new TypeError('is not hex (an even number of digits 0-9, a-f)')
    return Buffer.from(text, 'hex')
  }
  // A single digit behind groups of four has six bits of a byte: what was meant has been cut.
  if (!/^[A-Za-z0-9+/_-]*={0,2}$/.test(text) || text.replace(/=+$/, '').length % 4 === 1)
    throw new TypeError('is not base64')
  return Buffer.from(text, 'base64')
}

const REPLACEMENT = Buffer.from('\ufffd')

/**
 * UTF-8 has no bytes for half of a surrogate pair, which JSON can write as `\ud800`: another character would be stored.
 *
 * @throws {TypeError}
 */
export function utf8Bytes(text: string): Buffer {
  const bytes = Buffer.from(text)
  // Looked for in the bytes first, which is quicker than to look at each character.
  if (bytes.includes(REPLACEMENT) && /\p{Surrogate}/u.test(text))
    throw new TypeError('is not Unicode (half of a surrogate pair); use {"base64":"…"} for bytes')
  return bytes
}

/** As in JSON input: text in the chosen encoding, null, or `{"base64":"…"}`. */
export function decodeValue(value: unknown, encoding: Encoding): Buffer | null {
  if (value === null || value === undefined) return null
  if (typeof value === 'string') return decodeText(value, encoding)
  if (
    typeof value === 'object' &&
    typeof (value as { base64?: unknown }).base64 === 'string' &&
    Object.keys(value).length === 1
  ) {
    return decodeText((value as { base64: string }).base64, 'base64')
  }
  throw new TypeError('must be a string, null or {"base64":"…"}')
}
