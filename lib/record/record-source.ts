import { viewOf } from '../util/buffer-view.ts'
import { readVarlong, shortZigzag } from '../util/varint.ts'
import type { BatchView } from './batch-view.ts'

/**
 * What the records of one batch share: their bytes, decompressed, and what their deltas count from. One a batch, held
 * by its cursor and by every lazy record, and never changed.
 */
export class RecordSource {
  readonly batch: BatchView
  readonly bytes: Buffer
  /** Exclusive bound of the records in `bytes`. */
  readonly end: number
  readonly baseOffset: number
  /** Where `bytes` lies: asking it each time takes longer than making a view. */
  readonly #memory: ArrayBufferLike
  readonly #memoryAt: number
  readonly #baseTimestamp: number

  /**
   * @param baseOffset - the batch's, as its cursor knows it: to ask a header costs as much as to copy a record.
   * @param usualBaseTimestamp - likewise.
   */
  constructor(batch: BatchView, bytes: Buffer, end: number, baseOffset: number, usualBaseTimestamp: number) {
    this.batch = batch
    this.bytes = bytes
    this.end = end
    this.baseOffset = baseOffset
    this.#memory = bytes.buffer
    this.#memoryAt = bytes.byteOffset
    this.#baseTimestamp = usualBaseTimestamp
  }

  /** A view of `bytes[start, end)`; null where there is nothing, which is a start of -1. */
  view(start: number, end: number): Buffer | null {
    return start < 0 ? null : viewOf(this.#memory, this.#memoryAt + start, end - start)
  }

  /** Timestamp, the nearest number, of the record whose timestamp delta lies at `deltaAt`. */
  timestamp(deltaAt: number): number {
    const zigzag = shortZigzag(this.bytes, deltaAt)
    const sum = this.#baseTimestamp + ((zigzag >>> 1) ^ -(zigzag & 1))
    return zigzag < 0 || Number.isNaN(sum) ? this.#unusualTimestamp(deltaAt) : sum
  }

  #unusualTimestamp(deltaAt: number): number {
    return this.batch.isLogAppendTime ? this.batch.maxTimestamp : Number(this.timestampExact(deltaAt))
  }

  timestampExact(deltaAt: number): bigint {
    if (this.batch.isLogAppendTime) return this.batch.maxTimestampExact
    // Deltas wrap around as Kafka's do, so that any pair of 64-bit timestamps may share a batch.
    return BigInt.asIntN(64, this.batch.baseTimestampExact + readVarlong(this.bytes, deltaAt, this.end))
  }
}

/**
 * What timestamp deltas count from; NaN where it does not decide the timestamp, or where a sum with a delta may not be
 * held exactly. Every such sum is NaN too, so that one comparison tells all odd cases from the usual one.
 */
export function usualBaseTimestamp(batch: BatchView): number {
  const { baseTimestamp } = batch
  return !batch.isLogAppendTime && Math.abs(baseTimestamp) <= LARGEST_USUAL_TIMESTAMP ? baseTimestamp : Number.NaN
}

/** Any delta of up to four bytes added to it gives a sum that a number holds exactly. */
const LARGEST_USUAL_TIMESTAMP = Number.MAX_SAFE_INTEGER - 2 ** 28
