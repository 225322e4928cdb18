/**
 * Time index of one segment: finds the offset from which on to look for a time.
 *
 * Format (big-endian), in `<base offset, 20 digits>.timeindex`:
 *
 *     index := entry*
 *     entry := timestamp:      int64   // largest timestamp of the segment up to here
 *              relativeOffset: int32   // last offset of the batch that has it - base offset
 *
 * An entry says: every record with a larger timestamp comes after this offset.
 *
 * Invariants:
 *   T1  timestamp strictly increases and is >= 0; relativeOffset never falls and is >= 0.
 *   T2  Sparse, and never ahead of the log, until the segment is closed: then the last entry is the segment's largest
 *       timestamp.
 *   T3  Derived data: on any doubt it is rebuilt from the .log file, never patched.
 *
 * Timestamps are numbers; one beyond 2^53 (nanoseconds) may be handed in as a bigint, is stored exactly, and is
 * compared exactly.
 *
 * Pure: no I/O here. SegmentIndexes owns the file. Same layout as Kafka's TimeIndex (format notes 3.2).
 */
import { assert } from '../util/assert.ts'
import { LogError } from '../util/errors.ts'
import { nearestInt64, writeInt64 } from '../util/int64.ts'
import { EntryBytes } from './entry-bytes.ts'
import type { ParseOptions } from './offset-index.ts'

export const TIME_ENTRY_BYTES = 12
const OFFSET_AT = 8
const MAX_INT32 = 2 ** 31 - 1

/** A timestamp, ms; a bigint where a number cannot hold it. */
export type Timestamp = number | bigint

export interface TimestampOffset {
  readonly timestamp: Timestamp
  readonly offset: number
}

export class TimeIndex {
  readonly baseOffset: number
  readonly #entries: EntryBytes

  constructor(baseOffset: number, entries: EntryBytes = new EntryBytes(TIME_ENTRY_BYTES)) {
    this.baseOffset = baseOffset
    this.#entries = entries
  }

  /**
   * @param bytes - a whole file; taken over, not copied.
   * @throws {LogError} CORRUPT_FILE if T1 does not hold, or the bytes end within an entry.
   */
  static parse(bytes: Buffer, baseOffset: number, { preallocated = false }: ParseOptions = {}): TimeIndex {
    let count = Math.floor(bytes.length / TIME_ENTRY_BYTES)
    if (preallocated) count = countUpToZeros(bytes, count)
    else if (bytes.length % TIME_ENTRY_BYTES !== 0) throw corrupt(baseOffset, `ends within entry ${count}`)
    const index = new TimeIndex(baseOffset, new EntryBytes(TIME_ENTRY_BYTES, bytes, count))
    let lastTimestamp: Timestamp = -1
    let lastOffset = baseOffset
    for (let i = 0; i < count; i += 1) {
      const timestamp = index.timestampAt(i)
      const offset = index.offsetAt(i)
      if (timestamp <= lastTimestamp || offset < lastOffset) throw corrupt(baseOffset, `is not in order at entry ${i}`)
      lastTimestamp = timestamp
      lastOffset = offset
    }
    return index
  }

  get entryCount(): number {
    return this.#entries.count
  }

  /** Bytes of the entries, which is the length of the file. */
  get byteLength(): number {
    return this.#entries.byteLength
  }

  /** Bytes held in memory. */
  get memory(): number {
    return this.#entries.memory
  }

  /** The largest timestamp and the last offset of its batch; `undefined` in an empty index. */
  get last(): TimestampOffset | undefined {
    const { count } = this.#entries
    return count === 0 ? undefined : { timestamp: this.timestampAt(count - 1), offset: this.offsetAt(count - 1) }
  }

  /**
   * Adds an entry, unless its timestamp is the last one's, which says nothing new.
   *
   * @returns false when nothing was added.
   */
  maybeAppend(timestamp: Timestamp, offset: number): boolean {
    const relative = offset - this.baseOffset
    assert(relative >= 0 && relative <= MAX_INT32, 'roll the segment before its offsets outgrow 32 bits')
    const { count } = this.#entries
    if (count > 0) {
      const last = this.timestampAt(count - 1)
      assert(timestamp >= last, 'T1: the largest timestamp so far never falls')
      if (timestamp <= last) return false
      assert(offset >= this.offsetAt(count - 1), 'T1: entries are appended in order')
    }
    const at = this.#entries.grow()
    if (typeof timestamp === 'bigint') this.#entries.bytes.writeBigInt64BE(timestamp, at)
    else writeInt64(this.#entries.bytes, timestamp, at)
    this.#entries.bytes.writeInt32BE(relative, at + OFFSET_AT)
    return true
  }

  /** Exact: a bigint where a number cannot hold it. */
  timestampAt(entry: number): Timestamp {
    const at = entry * TIME_ENTRY_BYTES
    const nearest = nearestInt64(this.#entries.bytes, at)
    return Number.isSafeInteger(nearest) ? nearest : this.#entries.bytes.readBigInt64BE(at)
  }

  offsetAt(entry: number): number {
    return this.baseOffset + this.#entries.bytes.readInt32BE(entry * TIME_ENTRY_BYTES + OFFSET_AT)
  }

  /**
   * Offset from which on to look for the first record at or after `timestamp`: that of the last entry at or below
   * it, or the base offset. The batch that ends there may itself hold the record.
   */
  lookup(timestamp: Timestamp): number {
    const count = this.countAtOrBelow(timestamp)
    return count === 0 ? this.baseOffset : this.offsetAt(count - 1)
  }

  /** How many entries are at or below `timestamp`. */
  countAtOrBelow(timestamp: Timestamp): number {
    let low = 0
    let high = this.#entries.count // [0, low) are <= timestamp; [high, count) are > timestamp
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.timestampAt(middle) <= timestamp) low = middle + 1
      else high = middle
    }
    return low
  }

  /** Drops every entry at or above `offset`, so that T2 survives a truncation of the log. */
  truncateTo(offset: number): void {
    let low = 0
    let high = this.#entries.count // [0, low) are < offset; [high, count) are >= offset
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.offsetAt(middle) < offset) low = middle + 1
      else high = middle
    }
    this.#entries.cutTo(low)
  }

  /** Of every n-th entry, and of the last one. */
  sample(n: number): TimeIndex {
    return new TimeIndex(this.baseOffset, this.#entries.everyNth(n))
  }

  hasSameEntry(entry: number, other: TimeIndex, otherEntry: number): boolean {
    return this.#entries.isSame(entry, other.#entries, otherEntry)
  }

  /** Copy of the entries from `fromEntry` on, as they are in the file. */
  bytes(fromEntry = 0): Buffer {
    return this.#entries.copyFrom(fromEntry)
  }
}

/**
 * Entry 0 may really be zeros: a record of time 0 alone at the base offset. Behind it, zeros are never an entry. An
 * entry 0 of zeros with only zeros behind it is taken for none, which costs a lookup nothing.
 */
function countUpToZeros(bytes: Buffer, count: number): number {
  for (let i = 0; i < count; i += 1) {
    if (!isZeros(bytes, i)) continue
    if (i > 0) return i
    if (count > 1 && isZeros(bytes, 1)) return 0
  }
  return count
}

function isZeros(bytes: Buffer, entry: number): boolean {
  const at = entry * TIME_ENTRY_BYTES
  return bytes.readInt32BE(at) === 0 && bytes.readInt32BE(at + 4) === 0 && bytes.readInt32BE(at + OFFSET_AT) === 0
}

function corrupt(baseOffset: number, what: string): LogError {
  return new LogError('CORRUPT_FILE', `the time index of segment ${baseOffset} ${what}`, { baseOffset })
}
