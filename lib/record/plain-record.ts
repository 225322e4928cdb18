import { assert } from '../util/assert.ts'
import { writeShortZigzag, writeZigzag, zigzagBytes } from '../util/varint.ts'
import { MAX_RECORD_OVERHEAD } from './batch-format.ts'

export type Bytes = Uint8Array | null | undefined

/** A method looked up once: of the ways to copy bytes, the one with the least around it, also for a few bytes. */
const setBytes = Uint8Array.prototype.set

/** Zigzag forms below this take one or two bytes. */
const SHORT_ZIGZAG = 1 << 14

/**
 * Writes a record without headers, whose size is known beforehand.
 *
 * A function of its own, not a method, and with a way of its own for records below 8 KiB: so V8 inlines all of it,
 * integers included, into the loop over an append, whose variables stay in registers. That halves what a record of
 * 100 B costs beside the copying of its bytes.
 *
 * @param limit - exclusive bound of what may be written.
 * @param timestampZigzag - zigzag form of the timestamp's delta.
 * @returns the position behind it.
 */
export function writePlainRecord(
  bytes: Uint8Array,
  at: number,
  limit: number,
  key: Bytes,
  value: Bytes,
  timestampZigzag: number,
  offsetZigzag: number
): number {
  const keyLength = key === null || key === undefined ? -1 : key.length
  const valueLength = value === null || value === undefined ? -1 : value.length
  assert(keyLength + valueLength <= limit - at - MAX_RECORD_OVERHEAD, 'the caller asked sizeBound() first')
  const keyZigzag = (keyLength << 1) ^ (keyLength >> 31)
  const valueZigzag = (valueLength << 1) ^ (valueLength >> 31)
  // Each takes a byte at least, and so do attributes and the count of headers. Halved, -1 (null) becomes 0.
  const secondBytes =
    over7Bits(timestampZigzag) + over7Bits(offsetZigzag) + over7Bits(keyZigzag) + over7Bits(valueZigzag)
  const length = 6 + secondBytes + (keyZigzag >>> 1) + (valueZigzag >>> 1)
  if ((timestampZigzag | offsetZigzag | keyZigzag | valueZigzag | (length << 1)) >>> 0 >= SHORT_ZIGZAG)
    return writeLongRecord(bytes, at, key, value, timestampZigzag, offsetZigzag)
  at = writeShortZigzag(bytes, length << 1, at)
  bytes[at] = 0
  at = writeShortZigzag(bytes, timestampZigzag, at + 1)
  at = writeShortZigzag(bytes, offsetZigzag, at)
  at = writeShortZigzag(bytes, keyZigzag, at)
  if (keyLength > 0) {
    setBytes.call(bytes, key as Uint8Array, at)
    at += keyLength
  }
  at = writeShortZigzag(bytes, valueZigzag, at)
  if (valueLength > 0) {
    setBytes.call(bytes, value as Uint8Array, at)
    at += valueLength
  }
  bytes[at] = 0
  return at + 1
}

/** 1 if a zigzag form of less than 31 bits takes more than one byte, else 0. */
function over7Bits(zigzag: number): number {
  return (0x7f - zigzag) >>> 31
}

/** As `writePlainRecord`, whatever the numbers are; the room has been checked. */
function writeLongRecord(
  bytes: Uint8Array,
  at: number,
  key: Bytes,
  value: Bytes,
  timestampZigzag: number,
  offsetZigzag: number
): number {
  const deltaBytes = zigzagBytes(timestampZigzag) + zigzagBytes(offsetZigzag)
  const length = 2 + deltaBytes + contentBytes(key) + contentBytes(value)
  at = writeZigzag(bytes, length << 1, at)
  bytes[at] = 0
  at = writeZigzag(bytes, timestampZigzag, at + 1)
  at = writeZigzag(bytes, offsetZigzag, at)
  at = writeContentBytes(bytes, key, at)
  at = writeContentBytes(bytes, value, at)
  bytes[at] = 0
  return at + 1
}

function contentBytes(content: Bytes): number {
  return content === null || content === undefined ? 1 : zigzagBytes(content.length << 1) + content.length
}

function writeContentBytes(bytes: Uint8Array, content: Bytes, at: number): number {
  if (content === null || content === undefined) {
    bytes[at] = 1 // -1, zigzag
    return at + 1
  }
  at = writeZigzag(bytes, content.length << 1, at)
  setBytes.call(bytes, content, at)
  return at + content.length
}
