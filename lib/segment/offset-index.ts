/**
 * Offset index of one segment: finds where in the .log file to start reading.
 *
 * Format (big-endian), in `<base offset, 20 digits>.index`:
 *
 *     index := entry*
 *     entry := relativeOffset: int32   // last offset of a batch - base offset
 *              position:       int32   // byte at which that batch starts
 *
 * Invariants:
 *   I1  relativeOffset and position strictly increase; relativeOffset >= 0, position > 0.
 *   I2  Sparse: the index may lag the log, it never runs ahead of it.
 *   I3  Derived data: on any doubt it is rebuilt from the .log file, never patched.
 *
 * A position is never 0, because the first batch of a segment gets no entry (format notes 2.1). That is how the zeros
 * of a preallocated file are told from entries.
 *
 * Pure: no I/O here. SegmentIndexes owns the file. Same layout as Kafka's OffsetIndex (format notes 3.1).
 */
import { assert } from '../util/assert.ts'
import { LogError } from '../util/errors.ts'
import { EntryBytes } from './entry-bytes.ts'

export const OFFSET_ENTRY_BYTES = 8
const MAX_INT32 = 2 ** 31 - 1

export interface OffsetPosition {
  readonly offset: number
  readonly position: number
}

export interface ParseOptions {
  /** The file may go on with zeros behind its entries, as Kafka preallocates it; its rest is not looked at. */
  readonly preallocated?: boolean
}

export class OffsetIndex {
  readonly baseOffset: number
  readonly #entries: EntryBytes

  constructor(baseOffset: number, entries: EntryBytes = new EntryBytes(OFFSET_ENTRY_BYTES)) {
    this.baseOffset = baseOffset
    this.#entries = entries
  }

  /**
   * @param bytes - a whole file; taken over, not copied.
   * @throws {LogError} CORRUPT_FILE if I1 does not hold, or the bytes end within an entry.
   */
  static parse(bytes: Buffer, baseOffset: number, { preallocated = false }: ParseOptions = {}): OffsetIndex {
    let count = Math.floor(bytes.length / OFFSET_ENTRY_BYTES)
    if (preallocated) count = countUpToZeros(bytes, count)
    else if (bytes.length % OFFSET_ENTRY_BYTES !== 0) throw corrupt(baseOffset, `ends within entry ${count}`)
    let lastRelative = -1
    let lastPosition = 0
    for (let i = 0; i < count; i += 1) {
      const relative = bytes.readInt32BE(i * OFFSET_ENTRY_BYTES)
      const position = bytes.readInt32BE(i * OFFSET_ENTRY_BYTES + 4)
      if (relative <= lastRelative || position <= lastPosition)
        throw corrupt(baseOffset, `is not in order at entry ${i}`)
      lastRelative = relative
      lastPosition = position
    }
    return new OffsetIndex(baseOffset, new EntryBytes(OFFSET_ENTRY_BYTES, bytes, count))
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

  append(offset: number, position: number): void {
    const relative = offset - this.baseOffset
    assert(relative >= 0 && relative <= MAX_INT32, 'roll the segment before its offsets outgrow 32 bits')
    assert(position > 0 && position <= MAX_INT32, 'I1: a position lies behind the first batch, within 2 GiB')
    const { count } = this.#entries
    assert(
      count === 0 || (offset > this.offsetAt(count - 1) && position > this.positionAt(count - 1)),
      'I1: entries are appended in order'
    )
    const at = this.#entries.grow()
    this.#entries.bytes.writeInt32BE(relative, at)
    this.#entries.bytes.writeInt32BE(position, at + 4)
  }

  offsetAt(entry: number): number {
    return this.baseOffset + this.#entries.bytes.readInt32BE(entry * OFFSET_ENTRY_BYTES)
  }

  positionAt(entry: number): number {
    return this.#entries.bytes.readInt32BE(entry * OFFSET_ENTRY_BYTES + 4)
  }

  /** Last entry at or below `offset`; the start of the segment when there is none. */
  lookup(offset: number): OffsetPosition {
    const count = this.countAtOrBelow(offset)
    if (count === 0) return { offset: this.baseOffset, position: 0 }
    return { offset: this.offsetAt(count - 1), position: this.positionAt(count - 1) }
  }

  /** How many entries are at or below `offset`. */
  countAtOrBelow(offset: number): number {
    let low = 0
    let high = this.#entries.count // [0, low) are <= offset; [high, count) are > offset
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.offsetAt(middle) <= offset) low = middle + 1
      else high = middle
    }
    return low
  }

  /** Drops every entry at or above `offset`, so that I2 survives a truncation of the log. */
  truncateTo(offset: number): void {
    this.#entries.cutTo(this.countAtOrBelow(offset - 1))
  }

  /** Drops every entry of a batch that starts at or behind `position`: what is not in the log, by I2. */
  truncateToPosition(position: number): void {
    let count = this.#entries.count
    while (count > 0 && this.positionAt(count - 1) >= position) count -= 1
    this.#entries.cutTo(count)
  }

  /** Of every n-th entry, and of the last one. */
  sample(n: number): OffsetIndex {
    return new OffsetIndex(this.baseOffset, this.#entries.everyNth(n))
  }

  hasSameEntry(entry: number, other: OffsetIndex, otherEntry: number): boolean {
    return this.#entries.isSame(entry, other.#entries, otherEntry)
  }

  /** Copy of the entries from `fromEntry` on, as they are in the file. */
  bytes(fromEntry = 0): Buffer {
    return this.#entries.copyFrom(fromEntry)
  }
}

function countUpToZeros(bytes: Buffer, count: number): number {
  for (let i = 0; i < count; i += 1) {
    if (bytes.readInt32BE(i * OFFSET_ENTRY_BYTES + 4) === 0 && bytes.readInt32BE(i * OFFSET_ENTRY_BYTES) === 0) return i
  }
  return count
}

function corrupt(baseOffset: number, what: string): LogError {
  return new LogError('CORRUPT_FILE', `the offset index of segment ${baseOffset} ${what}`, { baseOffset })
}
