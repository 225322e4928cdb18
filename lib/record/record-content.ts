/**
 * The parts of a record that the caller supplies, as bytes: `length varint, content`, -1 for null.
 */
import { isUint8Array } from 'node:util/types'
import { assert } from '../util/assert.ts'
import { varintBytes, writeVarint } from '../util/varint.ts'
import type { HeadersInput } from './record.ts'

type Content = string | Uint8Array | null | undefined

/** UTF-8 of one UTF-16 unit takes at most this much; a surrogate pair takes less than twice. */
const MAX_UTF8_BYTES_PER_UNIT = 3
const MAX_LENGTH_BYTES = 5
/** Up to here a loop beats the call into the string writer. */
const SHORT_STRING = 12

/**
 * Most bytes that the content takes without its length.
 *
 * @throws {TypeError} if it is neither string, Uint8Array (of any realm), null nor undefined.
 */
export function contentBound(content: Content, what: string): number {
  if (content instanceof Uint8Array) return content.length
  if (content === null || content === undefined) return 0
  if (typeof content === 'string') return content.length * MAX_UTF8_BYTES_PER_UNIT
  if (isUint8Array(content)) return (content as Uint8Array).length
  throw new TypeError(`a ${what} is a string, a Uint8Array or null, not ${describe(content)}`)
}

/** Bytes that the content most likely takes: exact but for strings that are not ASCII. */
export function contentEstimate(content: Content): number {
  return content === null || content === undefined ? 0 : content.length
}

/** Writes length and content; `contentBound` bytes and 5 more are there. Returns the position behind. */
export function writeContent(bytes: Buffer, content: Content, at: number): number {
  if (content === null || content === undefined) {
    bytes[at] = 1 // -1, zigzag
    return at + 1
  }
  if (typeof content === 'string') return writeString(bytes, content, at)
  at = writeVarint(bytes, content.length, at)
  bytes.set(content, at)
  return at + content.length
}

function writeString(bytes: Buffer, text: string, at: number): number {
  const { length } = text
  // The length in bytes is known only once the text is written. It is taken to be ASCII and moved where the length
  // turns out to need more room.
  const textAt = at + varintBytes(length)
  const written = length <= SHORT_STRING ? writeShort(bytes, text, textAt) : bytes.write(text, textAt)
  const shift = varintBytes(written) - (textAt - at)
  if (shift !== 0) bytes.copyWithin(textAt + shift, textAt, textAt + written)
  writeVarint(bytes, written, at)
  return textAt + shift + written
}

function writeShort(bytes: Buffer, text: string, at: number): number {
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit >= 0x80) return bytes.write(text, at)
    bytes[at + i] = unit
  }
  return text.length
}

/**
 * Most bytes that the headers take, without their count.
 *
 * @throws {TypeError} if they are neither an iterable of pairs nor an object, can be iterated only once, or a name or
 *   value has the wrong type.
 */
export function headersBound(headers: HeadersInput | undefined): number {
  if (headers === undefined) return 0
  let bound = 0
  for (const [name, value] of entriesOf(headers)) {
    if (typeof name !== 'string') throw new TypeError(`a header's name is a string, not ${describe(name)}`)
    bound += 2 * MAX_LENGTH_BYTES + name.length * MAX_UTF8_BYTES_PER_UNIT + contentBound(value, 'header value')
  }
  return bound
}

/** Writes count and headers, in order. Returns the position behind. */
export function writeHeaders(bytes: Buffer, headers: HeadersInput, at: number): number {
  const start = at
  let count = 0
  at += 1 // enough for the count up to 63
  for (const [name, value] of entriesOf(headers)) {
    if (typeof name !== 'string') throw new TypeError(`a header's name is a string, not ${describe(name)}`)
    const bound = 2 * MAX_LENGTH_BYTES + name.length * MAX_UTF8_BYTES_PER_UNIT + contentBound(value, 'header value')
    assert(bound <= bytes.length - at, 'the caller asked sizeBound() first')
    at = writeString(bytes, name, at)
    at = writeContent(bytes, value, at)
    count += 1
  }
  const shift = varintBytes(count) - 1
  if (shift !== 0) {
    assert(shift <= bytes.length - at, 'the caller asked sizeBound() first')
    bytes.copyWithin(start + 1 + shift, start + 1, at)
  }
  writeVarint(bytes, count, start)
  return at + shift
}

type HeaderEntry = readonly [string, string | Uint8Array | null]

function entriesOf(headers: HeadersInput): Iterable<HeaderEntry> {
  if (typeof headers !== 'object' || headers === null) {
    throw new TypeError(`headers are pairs of name and value, or an object, not ${describe(headers)}`)
  }
  if (!(Symbol.iterator in headers)) return Object.entries(headers)
  const iterable = headers as Iterable<HeaderEntry>
  // Size first, bytes afterwards: an iterator that gives its pairs only once would lose them silently.
  if (!Array.isArray(headers) && (iterable[Symbol.iterator]() as unknown) === headers) {
    throw new TypeError('headers are iterated twice: give an array, a Map or an object, not an iterator')
  }
  return iterable
}

function describe(value: unknown): string {
  if (value === null) return 'null'
  if (typeof value !== 'object') return typeof value
  return value.constructor?.name ?? 'object'
}
