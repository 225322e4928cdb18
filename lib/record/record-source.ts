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
  readonly isLogAppendTime: boolean
  /** As a number, NaN where a number does not hold it exactly, so that every sum with it asks for the exact way. */
  readonly baseTimestamp: number
  readonly maxTimestamp: number

  constructor(batch: BatchView, bytes: Buffer, end: number) {
    this.batch = batch
    this.bytes = bytes
    this.end = end
    this.baseOffset = batch.baseOffset
    this.isLogAppendTime = batch.timestampType === 'LogAppendTime'
    const baseTimestamp = batch.baseTimestamp
    this.baseTimestamp = Number.isSafeInteger(baseTimestamp) ? baseTimestamp : Number.NaN
    this.maxTimestamp = batch.maxTimestamp
  }

  /** Timestamp, the nearest number, of the record whose timestamp delta lies at `deltaAt`. */
  timestamp(deltaAt: number): number {
    if (this.isLogAppendTime) return this.maxTimestamp
    const zigzag = shortZigzag(this.bytes, deltaAt)
    if (zigzag < 0) return Number(this.timestampExact(deltaAt))
    const sum = this.baseTimestamp + ((zigzag >>> 1) ^ -(zigzag & 1))
    return Number.isSafeInteger(sum) ? sum : Number(this.timestampExact(deltaAt))
  }

  timestampExact(deltaAt: number): bigint {
    if (this.isLogAppendTime) return this.batch.maxTimestampExact
    // Deltas wrap around as Kafka's do, so that any pair of 64-bit timestamps may share a batch.
    return BigInt.asIntN(64, this.batch.baseTimestampExact + readVarlong(this.bytes, deltaAt, this.end))
  }
}
