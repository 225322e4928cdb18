import { crc32c } from '../util/crc32c.ts'
import {
  ATTRIBUTES_AT,
  CRC_AT,
  CURRENT_MAGIC,
  HEADER_BYTES,
  LAST_OFFSET_DELTA_AT,
  LEADER_EPOCH_AT,
  LENGTH_AT,
  LOG_OVERHEAD,
  MAGIC_AT,
  MAX_TIMESTAMP_AT,
  MIN_BATCH_LENGTH,
  PRODUCER_ID_AT,
  RECORD_COUNT_AT
} from './batch-format.ts'
import { BatchView } from './batch-view.ts'

const TWO_32 = 2 ** 32
const NOTHING = Buffer.alloc(0)

/**
 * What a scan of whole files asks of each batch, in one object for all of them: `take` moves it to the next one.
 *
 * A `BatchView` for each, which checks and reads field by field, took longer than the checksum of a batch of a
 * kilobyte. This says yes or no, in one pass; why it said no is for `scanBatch` and `BatchView` to find out, which
 * refuse whatever is refused here and nothing else.
 */
export class BatchHead {
  #bytes: Buffer = NOTHING
  #fields: DataView = new DataView(new ArrayBuffer(0))
  /** Position of the batch's first byte in the bytes. */
  start = 0
  /** Bytes of the whole batch. */
  size = 0
  baseOffset = 0
  /** Inclusive. */
  lastOffset = 0

  /** Bytes that the following batches lie in; not copied. */
  lieIn(bytes: Buffer): void {
    if (bytes === this.#bytes) return
    this.#bytes = bytes
    this.#fields = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  }

  /**
   * Moves to the batch at `start`.
   *
   * @returns whether there is a whole batch of magic 2 whose numbers can be what they say. The checksum is `hasRightCrc`'s.
   */
  take(start: number): boolean {
    const fields = this.#fields
    const available = fields.byteLength - start
    if (available < HEADER_BYTES || fields.getInt8(start + MAGIC_AT) !== CURRENT_MAGIC) return false
    const length = fields.getInt32(start + LENGTH_AT)
    if (length < MIN_BATCH_LENGTH || length + LOG_OVERHEAD > available) return false
    const baseOffset = fields.getInt32(start) * TWO_32 + fields.getUint32(start + 4)
    const lastOffsetDelta = fields.getInt32(start + LAST_OFFSET_DELTA_AT)
    const lastOffset = baseOffset + lastOffsetDelta
    if (baseOffset < 0 || lastOffsetDelta < 0 || !Number.isSafeInteger(lastOffset)) return false
    if (fields.getInt32(start + RECORD_COUNT_AT) < 0) return false
    this.start = start
    this.size = length + LOG_OVERHEAD
    this.baseOffset = baseOffset
    this.lastOffset = lastOffset
    return true
  }

  hasRightCrc(): boolean {
    return crc32c(this.#bytes, this.start + ATTRIBUTES_AT, this.start + this.size) === this.crc
  }

  get crc(): number {
    return this.#fields.getUint32(this.start + CRC_AT)
  }

  /** -1 unknown. */
  get leaderEpoch(): number {
    return this.#fields.getInt32(this.start + LEADER_EPOCH_AT)
  }

  /** Exact: a bigint where a number cannot hold it; -1 none. */
  get maxTimestamp(): number | bigint {
    const at = this.start + MAX_TIMESTAMP_AT
    const nearest = this.#fields.getInt32(at) * TWO_32 + this.#fields.getUint32(at + 4)
    return Number.isSafeInteger(nearest) ? nearest : this.#fields.getBigInt64(at)
  }

  get hasProducerId(): boolean {
    return this.#fields.getInt32(this.start + PRODUCER_ID_AT) >= 0
  }

  /** All else, of the same bytes. */
  view(): BatchView {
    return new BatchView(this.#bytes, this.start)
  }
}
