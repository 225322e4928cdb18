/**
 * The least that writes v2 record batches: records go into a reused arena, one native CRC call a batch, and nothing is
 * checked. Offsets begin at 0 and count up; all records are dated with the clock of their append.
 */
import { crc32c } from '@node-rs/crc32'
import type { Rec } from './engine.ts'

export const ARENA_BYTES = 4 * 1024 * 1024
/** An append is at most this large; `flush` first where less is left. */
export const MAX_APPEND_BYTES = 2 * 1024 * 1024
/** Appends that wait together share a batch until it has this size, so that single records do not each pay a header. */
const SHARED_BATCH_BYTES = 8 * 1024
const HEADER_BYTES = 61

/** A buffer with the batches of one group. */
export class Arena {
  readonly bytes = Buffer.alloc(ARENA_BYTES)
  used = 0
}

/** A method looked up once: the cheapest way to copy bytes. */
const copy = Uint8Array.prototype.set

export class BareEncoder {
  #arena = new Arena()
  #nextOffset = 0
  #batchStart = -1
  #batchCount = 0
  #baseTimestamp = 0

  get isFull(): boolean {
    return ARENA_BYTES - this.#arena.used < MAX_APPEND_BYTES
  }

  get hasWork(): boolean {
    return this.#arena.used > 0
  }

  /** What was encoded so far, sealed; encoding goes on in `next`. */
  swap(next: Arena): Arena {
    this.#seal()
    const full = this.#arena
    next.used = 0
    this.#arena = next
    return full
  }

  add(records: readonly Rec[]): void {
    const now = Date.now()
    if (this.#batchStart < 0) this.#begin(now)
    const bytes = this.#arena.bytes
    const delta = (now - this.#baseTimestamp) << 1
    let at = this.#arena.used
    for (let i = 0; i < records.length; i += 1) at = writeRecord(bytes, at, records[i]!, delta, this.#batchCount + i)
    this.#batchCount += records.length
    this.#arena.used = at
    if (at - this.#batchStart >= SHARED_BATCH_BYTES) this.#seal()
  }

  #begin(now: number): void {
    this.#batchStart = this.#arena.used
    this.#arena.used += HEADER_BYTES
    this.#batchCount = 0
    this.#baseTimestamp = now
  }

  #seal(): void {
    if (this.#batchStart < 0) return
    const { bytes, used } = this.#arena
    const start = this.#batchStart
    const count = this.#batchCount
    bytes.writeUIntBE(this.#nextOffset, start + 2, 6)
    bytes.writeUInt16BE(0, start)
    bytes.writeInt32BE(used - start - 12, start + 8)
    bytes.writeInt32BE(0, start + 12) // leader epoch
    bytes[start + 16] = 2
    bytes.writeInt16BE(0, start + 21)
    bytes.writeInt32BE(count - 1, start + 23)
    bytes.writeUInt16BE(0, start + 27)
    bytes.writeUIntBE(this.#baseTimestamp, start + 29, 6)
    bytes.writeUInt16BE(0, start + 35)
    bytes.writeUIntBE(this.#baseTimestamp, start + 37, 6)
    bytes.fill(0xff, start + 43, start + 57) // no producer
    bytes.writeInt32BE(count, start + 57)
    bytes.writeUInt32BE(crc32c(bytes.subarray(start + 21, used)), start + 17)
    this.#nextOffset += count
    this.#batchStart = -1
  }
}

/** @param delta - of the timestamp, zigzag. */
function writeRecord(bytes: Buffer, at: number, record: Rec, delta: number, offsetDelta: number): number {
  const { key, value, headers } = record
  const headersLength = headers === undefined ? 1 : headersSize(headers)
  const length =
    1 +
    varintSize(delta) +
    varintSize(offsetDelta << 1) +
    varintSize(key.length << 1) +
    key.length +
    varintSize(value.length << 1) +
    value.length +
    headersLength
  at = writeVarint(bytes, length << 1, at)
  bytes[at] = 0
  at = writeVarint(bytes, delta, at + 1)
  at = writeVarint(bytes, offsetDelta << 1, at)
  at = writeVarint(bytes, key.length << 1, at)
  copy.call(bytes, key, at)
  at = writeVarint(bytes, value.length << 1, at + key.length)
  copy.call(bytes, value, at)
  at += value.length
  if (headers !== undefined) return writeHeaders(bytes, headers, at)
  bytes[at] = 0
  return at + 1
}

function headersSize(headers: NonNullable<Rec['headers']>): number {
  let size = varintSize(headers.length << 1)
  for (const [name, value] of headers) {
    // Names are ASCII here: a byte a character.
    size += varintSize(name.length << 1) + name.length + varintSize(value.length << 1) + value.length
  }
  return size
}

function writeHeaders(bytes: Buffer, headers: NonNullable<Rec['headers']>, at: number): number {
  at = writeVarint(bytes, headers.length << 1, at)
  for (const [name, value] of headers) {
    at = writeVarint(bytes, name.length << 1, at)
    at += bytes.write(name, at, 'latin1')
    at = writeVarint(bytes, value.length << 1, at)
    copy.call(bytes, value, at)
    at += value.length
  }
  return at
}

function varintSize(zigzag: number): number {
  return zigzag < 0x80 ? 1 : zigzag < 0x4000 ? 2 : zigzag < 0x200000 ? 3 : zigzag < 0x10000000 ? 4 : 5
}

function writeVarint(bytes: Buffer, zigzag: number, at: number): number {
  while (zigzag >= 0x80) {
    bytes[at++] = (zigzag & 0x7f) | 0x80
    zigzag >>>= 7
  }
  bytes[at] = zigzag
  return at + 1
}
