/**
 * When a batch gets index entries: Kafka's rule (format notes 2.1), in one place for writing and for rebuilding.
 *
 *     for each batch, in order:
 *       if its largest timestamp exceeds all before it, remember that timestamp and the batch's last offset
 *       if more than index.interval.bytes lie between the start of the last indexed batch and this one:
 *         offset index += (last offset, position of the batch)
 *         time index   += (largest timestamp so far, last offset of the batch that has it), if it grew
 *
 * So the first batch never gets an entry, and an entry's offset is a batch's last one while its position is the
 * batch's start. Distances are counted from the position of the last entry, also after reopening, so that the offset
 * index is a function of the log file alone (where the interval did not change).
 */
import { nearestInt64 } from '../util/int64.ts'
import { OFFSET_ENTRY_BYTES, OffsetIndex } from './offset-index.ts'
import type { BatchFacts } from './segment-types.ts'
import { TIME_ENTRY_BYTES, TimeIndex, type Timestamp, type TimestampOffset } from './time-index.ts'

/** Of what a segment has the largest timestamp at the end of a batch's header. */
const MAX_TIMESTAMP_AT = 35

export interface IndexLimits {
  readonly indexIntervalBytes: number
  /** Bound of each index, bytes. */
  readonly indexBytes: number
}

export class IndexBuilder {
  readonly offsets: OffsetIndex
  readonly times: TimeIndex
  /** Entries of the time index that came from a file. */
  readonly #taken: number
  #largest: TimestampOffset | undefined
  #lastIndexedPosition: number
  /** Of the batch added last, as far as known. */
  #lastPosition: number

  /**
   * Goes on with what files hold, or with nothing. What the time index says of the largest timestamp is taken for true:
   * the caller has held its last entry against the log.
   *
   * @param taken - how many of the first entries of the time index are a file's; all by default.
   */
  constructor(offsets: OffsetIndex, times: TimeIndex, taken = times.entryCount) {
    this.offsets = offsets
    this.times = times
    this.#taken = taken
    this.#largest = times.last
    this.#lastIndexedPosition = offsets.entryCount === 0 ? 0 : offsets.positionAt(offsets.entryCount - 1)
    this.#lastPosition = offsets.entryCount === 0 ? -1 : this.#lastIndexedPosition
  }

  static empty(baseOffset: number): IndexBuilder {
    return new IndexBuilder(new OffsetIndex(baseOffset), new TimeIndex(baseOffset))
  }

  /** The largest timestamp so far and the last offset of its batch. */
  get largest(): TimestampOffset | undefined {
    return this.#largest
  }

  /** How many of the first entries of the time index are a file's word: they may be damaged, and were not looked at. */
  get taken(): number {
    return Math.min(this.#taken, this.times.entryCount)
  }

  /** Entries that still fit into the fuller of the two. The time index keeps its last place for `finish`. */
  room({ indexBytes }: IndexLimits): number {
    const offsets = Math.floor(indexBytes / OFFSET_ENTRY_BYTES) - this.offsets.entryCount
    const times = Math.floor(indexBytes / TIME_ENTRY_BYTES) - 1 - this.times.entryCount
    return Math.min(offsets, times)
  }

  /**
   * Takes a batch into account that is in the file already. Where an index is full, it lags behind, which is allowed:
   * the bytes cannot be taken back. One that was added already is passed over: a rebuild beside a write may come
   * upon the batch before the writer tells of it.
   */
  add(position: number, lastOffset: number, maxTimestamp: Timestamp, limits: IndexLimits): void {
    if (position <= this.#lastPosition) return
    this.#lastPosition = position
    this.noteTimestamp(maxTimestamp, lastOffset)
    if (position - this.#lastIndexedPosition <= limits.indexIntervalBytes || this.room(limits) <= 0) return
    this.offsets.append(lastOffset, position)
    if (this.#largest !== undefined) this.times.maybeAppend(this.#largest.timestamp, this.#largest.offset)
    this.#lastIndexedPosition = position
  }

  /**
   * Adds batches that were just written, back to back.
   *
   * @returns the offset behind the last one.
   */
  addWritten(bytes: Buffer, batches: readonly BatchFacts[], limits: IndexLimits): number {
    const start = (batches[0] as BatchFacts).position
    let next = 0
    for (const { position, lastOffset, maxTimestamp } of batches) {
      const exact = Number.isSafeInteger(maxTimestamp) ? maxTimestamp : maxTimestampAt(bytes, position - start)
      this.add(position, lastOffset, exact, limits)
      next = lastOffset + 1
    }
    return next
  }

  /** As `add`, for a batch that stays without an entry. */
  noteTimestamp(timestamp: Timestamp, offset: number): void {
    if (timestamp < 0 || (this.#largest !== undefined && timestamp <= this.#largest.timestamp)) return
    this.#largest = { timestamp, offset }
  }

  /** The entry with which a segment is closed: its largest timestamp. It has a place even in a full index. */
  finish(): void {
    if (this.#largest !== undefined) this.times.maybeAppend(this.#largest.timestamp, this.#largest.offset)
  }
}

/** The largest timestamp in the header of the batch at `start`, exact; -1 none. */
export function maxTimestampAt(bytes: Buffer, start: number): Timestamp {
  const nearest = nearestInt64(bytes, start + MAX_TIMESTAMP_AT)
  return Number.isSafeInteger(nearest) ? nearest : bytes.readBigInt64BE(start + MAX_TIMESTAMP_AT)
}
