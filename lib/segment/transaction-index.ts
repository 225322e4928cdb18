/**
 * Transaction index of one segment: the aborted transactions whose marker lies in it.
 *
 * Format (big-endian), in `<base offset, 20 digits>.txnindex`, a file that exists only where there is an entry:
 *
 *     index := entry*
 *     entry := version:          int16   // 0
 *              producerId:       int64
 *              firstOffset:      int64   // of the transaction
 *              lastOffset:       int64   // of its abort marker
 *              lastStableOffset: int64   // of the log, right after the abort
 *
 * Invariants:
 *   X1  lastOffset strictly increases and is >= the base offset; firstOffset <= lastOffset.
 *   X2  Derived data, but not from this segment alone: it takes the producer state of what comes before.
 *
 * Pure: no I/O here. SegmentIndexes owns the file. Same layout as Kafka's TransactionIndex (format notes 3.3).
 */
import { assert } from '../util/assert.ts'
import { crc32c } from '../util/crc32c.ts'
import { LogError } from '../util/errors.ts'
import { readInt64, tryReadInt64, writeInt64 } from '../util/int64.ts'
import { EntryBytes } from './entry-bytes.ts'

export const TRANSACTION_ENTRY_BYTES = 34
const PRODUCER_ID_AT = 2
const FIRST_OFFSET_AT = 10
const LAST_OFFSET_AT = 18
const LAST_STABLE_OFFSET_AT = 26

/** One aborted transaction: its records lie in [firstOffset, lastOffset), the marker at lastOffset. */
export interface AbortedTransaction {
  readonly producerId: number
  readonly firstOffset: number
  readonly lastOffset: number
  /** Last stable offset of the log right after the abort. */
  readonly lastStableOffset: number
}

/** Of a whole file; one that is not there counts as empty. */
export interface TransactionsDigest {
  readonly bytes: number
  /** CRC-32C. */
  readonly crc: number
}

/** The file has no checksum of its own, and damage to it shows as committed what was aborted. */
export function transactionsDigest(bytes: Uint8Array): TransactionsDigest {
  return { bytes: bytes.length, crc: crc32c(bytes, 0, bytes.length) }
}

export function isSameDigest(one: TransactionsDigest | undefined, other: TransactionsDigest | undefined): boolean {
  return one?.bytes === other?.bytes && one?.crc === other?.crc
}

export interface AbortedInRange {
  readonly entries: readonly AbortedTransaction[]
  /** True when no later segment can have another one for this range. */
  readonly complete: boolean
}

export class TransactionIndex {
  readonly baseOffset: number
  readonly #entries: EntryBytes

  constructor(baseOffset: number, entries: EntryBytes = new EntryBytes(TRANSACTION_ENTRY_BYTES)) {
    this.baseOffset = baseOffset
    this.#entries = entries
  }

  /**
   * @param bytes - a whole file; taken over, not copied.
   * @throws {LogError} CORRUPT_FILE if X1 does not hold, a version is unknown, or the bytes end within an entry.
   */
  static parse(bytes: Buffer, baseOffset: number): TransactionIndex {
    const count = Math.floor(bytes.length / TRANSACTION_ENTRY_BYTES)
    if (bytes.length % TRANSACTION_ENTRY_BYTES !== 0) throw corrupt(baseOffset, `ends within entry ${count}`)
    let lastOffset = baseOffset - 1
    for (let i = 0; i < count; i += 1) {
      const at = i * TRANSACTION_ENTRY_BYTES
      const version = bytes.readInt16BE(at)
      // Kafka reads later versions as far as it knows them; there has never been one, so one is damage here.
      if (version !== 0) throw corrupt(baseOffset, `has version ${version} at entry ${i}`)
      const first = tryReadInt64(bytes, at + FIRST_OFFSET_AT)
      const last = tryReadInt64(bytes, at + LAST_OFFSET_AT)
      const stable = tryReadInt64(bytes, at + LAST_STABLE_OFFSET_AT)
      const producer = tryReadInt64(bytes, at + PRODUCER_ID_AT)
      const sound = first !== undefined && last !== undefined && stable !== undefined && producer !== undefined
      if (!sound || first < 0 || first > last || stable < 0) throw corrupt(baseOffset, `makes no sense at entry ${i}`)
      if (last <= lastOffset) throw corrupt(baseOffset, `is not in order at entry ${i}`)
      lastOffset = last
    }
    return new TransactionIndex(baseOffset, new EntryBytes(TRANSACTION_ENTRY_BYTES, bytes, count))
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

  /** Of the file that has these entries. */
  get digest(): TransactionsDigest {
    return transactionsDigest(this.#entries.bytes.subarray(0, this.byteLength))
  }

  append(entry: AbortedTransaction): void {
    const { count } = this.#entries
    assert(entry.firstOffset <= entry.lastOffset && entry.lastOffset >= this.baseOffset, 'X1: its marker lies here')
    assert(count === 0 || entry.lastOffset > this.#lastOffsetAt(count - 1), 'X1: entries are appended in order')
    const at = this.#entries.grow()
    const { bytes } = this.#entries
    bytes.writeInt16BE(0, at)
    writeInt64(bytes, entry.producerId, at + PRODUCER_ID_AT)
    writeInt64(bytes, entry.firstOffset, at + FIRST_OFFSET_AT)
    writeInt64(bytes, entry.lastOffset, at + LAST_OFFSET_AT)
    writeInt64(bytes, entry.lastStableOffset, at + LAST_STABLE_OFFSET_AT)
  }

  entryAt(entry: number): AbortedTransaction {
    const at = entry * TRANSACTION_ENTRY_BYTES
    const { bytes } = this.#entries
    return {
      producerId: readInt64(bytes, at + PRODUCER_ID_AT),
      firstOffset: readInt64(bytes, at + FIRST_OFFSET_AT),
      lastOffset: this.#lastOffsetAt(entry),
      lastStableOffset: readInt64(bytes, at + LAST_STABLE_OFFSET_AT)
    }
  }

  /**
   * The aborted transactions of this segment that concern records in [from, upper). Whoever fetches asks the segment
   * that holds `from` and then the later ones, until one answers `complete`: a transaction's entry lies where its
   * marker does, which may be long after its records.
   */
  collect(from: number, upper: number): AbortedInRange {
    const entries: AbortedTransaction[] = []
    for (let i = this.#countBelow(from); i < this.entryCount; i += 1) {
      const entry = this.entryAt(i)
      if (entry.firstOffset < upper) entries.push(entry)
      // What was stable up to here has no transaction that is decided later.
      if (entry.lastStableOffset >= upper) return { entries, complete: true }
    }
    return { entries, complete: false }
  }

  /** Drops every entry whose marker is at or above `offset`. */
  truncateTo(offset: number): void {
    this.#entries.cutTo(this.#countBelow(offset))
  }

  /** Copy of the entries from `fromEntry` on, as they are in the file. */
  bytes(fromEntry = 0): Buffer {
    return this.#entries.copyFrom(fromEntry)
  }

  #lastOffsetAt(entry: number): number {
    return readInt64(this.#entries.bytes, entry * TRANSACTION_ENTRY_BYTES + LAST_OFFSET_AT)
  }

  /** How many entries have their marker below `offset`. */
  #countBelow(offset: number): number {
    let low = 0
    let high = this.entryCount // [0, low) are < offset; [high, count) are >= offset
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#lastOffsetAt(middle) < offset) low = middle + 1
      else high = middle
    }
    return low
  }
}

function corrupt(baseOffset: number, what: string): LogError {
  return new LogError('CORRUPT_FILE', `the transaction index of segment ${baseOffset} ${what}`, { baseOffset })
}
