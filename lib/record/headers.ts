import { LogError } from '../util/errors.ts'
import { readVarint, shortZigzag, skipVarint, zigzagBytes } from '../util/varint.ts'
import type { Header } from './record.ts'

/** An empty name and a null value take a byte each. */
const MIN_HEADER_BYTES = 2

const NO_HEADERS: readonly Header[] = Object.freeze([])

/**
 * Position behind the headers that start with their count at `at`, or -1 if that takes a closer look. Never throws.
 *
 * @param end - exclusive bound of the record.
 */
export function skipHeadersQuickly(bytes: Uint8Array, at: number, end: number): number {
  const count = shortZigzag(bytes, at)
  if ((count & 1) !== 0) return -1
  at += zigzagBytes(count)
  for (let left = count >>> 1; left > 0; left--) {
    const name = shortZigzag(bytes, at)
    if ((name & 1) !== 0) return -1
    at += zigzagBytes(name) + (name >>> 1)
    if (at >= end) return -1
    const value = shortZigzag(bytes, at)
    if ((value & 1) !== 0 && value !== 1) return -1
    at += zigzagBytes(value) + (value >>> 1) // -1, null, is 1 and so adds nothing
    if (at > end) return -1
  }
  return at
}

/**
 * Checks the headers that start with their count at `at`. Allocates nothing, whatever the count claims.
 *
 * @param end - exclusive bound of the record.
 * @returns the position behind them.
 * @throws {LogError} INVALID_RECORD
 */
export function checkHeaders(bytes: Uint8Array, at: number, end: number): number {
  const count = readVarint(bytes, at, end)
  at = skipVarint(bytes, at, end)
  if (count < 0) throw invalid(`header count ${count}`)
  if (count * MIN_HEADER_BYTES > end - at) throw invalid(`${count} headers in ${end - at} bytes`)
  for (let i = 0; i < count; i++) {
    const nameLength = readVarint(bytes, at, end)
    at = skipVarint(bytes, at, end)
    if (nameLength < 0) throw invalid(`header ${i} without a name`)
    if (nameLength > end - at) throw invalid(`header ${i} whose name runs past the record's end`)
    at += nameLength
    const valueLength = readVarint(bytes, at, end)
    at = skipVarint(bytes, at, end)
    if (valueLength < -1) throw invalid(`header ${i} of length ${valueLength}`)
    if (valueLength > end - at) throw invalid(`header ${i} whose value runs past the record's end`)
    if (valueLength > 0) at += valueLength
  }
  return at
}

/** Decodes the headers that start with their count at `at`, which a cursor has checked. Values are views. */
export function readHeaders(bytes: Buffer, at: number, end: number): readonly Header[] {
  if (bytes[at] === 0) return NO_HEADERS // as most records have it
  const count = readVarint(bytes, at, end)
  if (count === 0) return NO_HEADERS
  at = skipVarint(bytes, at, end)
  const headers: Header[] = []
  for (let i = 0; i < count; i++) {
    const nameLength = readVarint(bytes, at, end)
    at = skipVarint(bytes, at, end)
    const name = bytes.toString('utf8', at, at + nameLength)
    at += nameLength
    const valueLength = readVarint(bytes, at, end)
    at = skipVarint(bytes, at, end)
    if (valueLength < 0) {
      headers.push([name, null])
    } else {
      headers.push([name, bytes.subarray(at, at + valueLength)])
      at += valueLength
    }
  }
  return headers
}

function invalid(what: string): LogError {
  return new LogError('INVALID_RECORD', what)
}
