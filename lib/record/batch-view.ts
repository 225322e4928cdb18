import { crc32c } from '../util/crc32c.ts'
import { LogError } from '../util/errors.ts'
import { nearestInt64, readInt64, tryReadInt64 } from '../util/int64.ts'
import {
  ATTRIBUTES_AT,
  BASE_OFFSET_AT,
  BASE_SEQUENCE_AT,
  BASE_TIMESTAMP_AT,
  COMPRESSION_MASK,
  COMPRESSION_NAMES,
  CONTROL_BIT,
  type CompressionName,
  CRC_AT,
  CURRENT_MAGIC,
  DELETE_HORIZON_BIT,
  HEADER_BYTES,
  HEADER_UP_TO_MAGIC,
  LAST_OFFSET_DELTA_AT,
  LEADER_EPOCH_AT,
  LENGTH_AT,
  LOG_OVERHEAD,
  MAGIC_AT,
  MAX_TIMESTAMP_AT,
  MIN_BATCH_LENGTH,
  PRODUCER_EPOCH_AT,
  PRODUCER_ID_AT,
  RECORD_COUNT_AT,
  TIMESTAMP_TYPE_BIT,
  type TimestampType,
  TRANSACTIONAL_BIT
} from './batch-format.ts'
import { RecordCursor } from './record-cursor.ts'
import type { DecodeOptions } from './records-section.ts'

const MAX_INT32 = 2 ** 31 - 1

/**
 * The header of one whole record batch of magic 2, read where it lies. Copies nothing, keeps a reference to `bytes`,
 * and shows the fields as they are at the moment of asking: those that batch-edit.ts sets show at once.
 *
 * Until `verify` or `isSound` has said so, every field is a claim: the constructor checks only what it takes to find
 * the batch's end, and that its base offset is one.
 */
export class BatchView {
  readonly bytes: Buffer
  /** Position of the batch's first byte in `bytes`. */
  readonly start: number
  /** Bytes of the whole batch. */
  readonly size: number

  /**
   * @param bytes - holds the batch; may hold more, before and behind it.
   * @throws {LogError} CORRUPT_MESSAGE if these are not 61 bytes or more with a plausible length, magic and base
   *   offset, or the batch runs past the end of `bytes`.
   * @throws {LogError} UNSUPPORTED_FOR_MESSAGE_FORMAT if the entry is of magic 0 or 1.
   */
  constructor(bytes: Buffer, start = 0) {
    this.bytes = bytes
    this.start = start
    const available = bytes.length - start
    if (available >= HEADER_UP_TO_MAGIC && bytes[start + MAGIC_AT] !== CURRENT_MAGIC) throw wrongMagic(bytes, start)
    if (available < HEADER_BYTES) {
      const message = `${available} bytes are no record batch: the header alone takes ${HEADER_BYTES}`
      throw new LogError('CORRUPT_MESSAGE', message, { start, available })
    }
    const length = bytes.readInt32BE(start + LENGTH_AT)
    if (length < MIN_BATCH_LENGTH) {
      const message = `a batch of length ${length} cannot hold its own header (${MIN_BATCH_LENGTH})`
      throw new LogError('CORRUPT_MESSAGE', message, { start, length })
    }
    this.size = LOG_OVERHEAD + length
    if (this.size > available) {
      const message = `a batch of ${this.size} bytes runs past the end: ${available} are there`
      throw new LogError('CORRUPT_MESSAGE', message, { start, size: this.size, available })
    }
    const baseOffset = tryReadInt64(bytes, start)
    if (baseOffset === undefined || baseOffset < 0) {
      const exact = bytes.readBigInt64BE(start)
      const message = `base offset ${exact} is outside 0 ... 2^53 - 1`
      throw new LogError('CORRUPT_MESSAGE', message, { start, baseOffset: exact })
    }
  }

  /** Position behind the batch's last byte. */
  get end(): number {
    return this.start + this.size
  }

  get baseOffset(): number {
    return readInt64(this.bytes, this.start + BASE_OFFSET_AT)
  }

  /** Last offset that the batch occupies, inclusive; compaction may have removed the record itself. */
  get lastOffset(): number {
    return this.baseOffset + this.lastOffsetDelta
  }

  get lastOffsetDelta(): number {
    return this.bytes.readInt32BE(this.start + LAST_OFFSET_DELTA_AT)
  }

  /** Base offset of the batch that follows in a log without gaps. */
  get nextOffset(): number {
    return this.lastOffset + 1
  }

  /** Records present. May be smaller than the range of offsets after compaction, and 0. */
  get recordCount(): number {
    return this.bytes.readInt32BE(this.start + RECORD_COUNT_AT)
  }

  /** -1 unknown. */
  get partitionLeaderEpoch(): number {
    return this.bytes.readInt32BE(this.start + LEADER_EPOCH_AT)
  }

  get magic(): number {
    return this.bytes.readInt8(this.start + MAGIC_AT)
  }

  /** The checksum that the batch carries, unsigned. */
  get crc(): number {
    return this.bytes.readUInt32BE(this.start + CRC_AT)
  }

  get attributes(): number {
    return this.bytes.readInt16BE(this.start + ATTRIBUTES_AT)
  }

  /** @throws {LogError} UNSUPPORTED_COMPRESSION_TYPE for the three numbers that mean nothing. */
  get compression(): CompressionName {
    const id = this.attributes & COMPRESSION_MASK
    const name = COMPRESSION_NAMES[id]
    if (name !== undefined) return name
    const message = `batch ${this.baseOffset} has compression type ${id}, which does not exist`
    throw new LogError('UNSUPPORTED_COMPRESSION_TYPE', message, { baseOffset: this.baseOffset, compressionType: id })
  }

  get timestampType(): TimestampType {
    return this.isLogAppendTime ? 'LogAppendTime' : 'CreateTime'
  }

  get isLogAppendTime(): boolean {
    return (this.attributes & TIMESTAMP_TYPE_BIT) !== 0
  }

  get isTransactional(): boolean {
    return (this.attributes & TRANSACTIONAL_BIT) !== 0
  }

  get isControl(): boolean {
    return (this.attributes & CONTROL_BIT) !== 0
  }

  /** Wall-clock milliseconds after which compaction may drop the tombstones and markers of this batch. */
  get deleteHorizonMs(): number | undefined {
    return (this.attributes & DELETE_HORIZON_BIT) === 0 ? undefined : this.baseTimestamp
  }

  /** What timestamp deltas count from, as the nearest number. The delete horizon where there is one; -1 none. */
  get baseTimestamp(): number {
    return nearestInt64(this.bytes, this.start + BASE_TIMESTAMP_AT)
  }

  get baseTimestampExact(): bigint {
    return this.bytes.readBigInt64BE(this.start + BASE_TIMESTAMP_AT)
  }

  /** As the nearest number; -1 none. */
  get maxTimestamp(): number {
    return nearestInt64(this.bytes, this.start + MAX_TIMESTAMP_AT)
  }

  get maxTimestampExact(): bigint {
    return this.bytes.readBigInt64BE(this.start + MAX_TIMESTAMP_AT)
  }

  /**
   * -1 none.
   *
   * @throws {LogError} CORRUPT_MESSAGE if it is beyond 2^53 - 1, where two ids could look like one.
   */
  get producerId(): number {
    return readInt64(this.bytes, this.start + PRODUCER_ID_AT)
  }

  /** -1 none. */
  get producerIdExact(): bigint {
    return this.bytes.readBigInt64BE(this.start + PRODUCER_ID_AT)
  }

  get hasProducerId(): boolean {
    return nearestInt64(this.bytes, this.start + PRODUCER_ID_AT) > -1
  }

  /** -1 none. */
  get producerEpoch(): number {
    return this.bytes.readInt16BE(this.start + PRODUCER_EPOCH_AT)
  }

  /** -1 none. */
  get baseSequence(): number {
    return this.bytes.readInt32BE(this.start + BASE_SEQUENCE_AT)
  }

  /** Sequence of the last record; 0 follows 2^31 - 1. -1 none. */
  get lastSequence(): number {
    const base = this.baseSequence
    if (base === -1) return -1
    const delta = this.lastOffsetDelta
    return base > MAX_INT32 - delta ? delta - (MAX_INT32 - base) - 1 : base + delta
  }

  /** Whether `verify` would pass. */
  isSound(): boolean {
    return this.#computeCrc() === this.crc && this.#nonsense() === undefined
  }

  /**
   * Checks the CRC, and that the numbers under it can be what they say.
   *
   * @param position - where the batch lies in its file, for the message; where it lies in `bytes` by default.
   * @throws {LogError} CORRUPT_MESSAGE
   */
  verify(position: number = this.start): void {
    const { baseOffset, crc: expected } = this
    const computed = this.#computeCrc()
    if (computed !== expected) {
      const message =
        `batch ${baseOffset} at position ${position} fails its CRC: ` +
        `${hex(computed)} computed, ${hex(expected)} stored`
      throw new LogError('CORRUPT_MESSAGE', message, { position, baseOffset, expected, computed })
    }
    const nonsense = this.#nonsense()
    if (nonsense !== undefined) {
      const message = `batch ${baseOffset} at position ${position} has ${nonsense}`
      throw new LogError('CORRUPT_MESSAGE', message, { position, baseOffset, expected, computed })
    }
  }

  /** The whole batch as a view of `bytes`. */
  payload(): Buffer {
    return this.bytes.subarray(this.start, this.end)
  }

  /**
   * A batch of the same header and of `bytes[from, to)` in place of the records, in memory of its own. What the header
   * says of the records (count, CRC, codec) is as it was.
   */
  copyWith(bytes: Buffer, from: number, to: number): BatchView {
    const size = HEADER_BYTES + to - from
    const copy = Buffer.allocUnsafe(size)
    this.bytes.copy(copy, 0, this.start, this.start + HEADER_BYTES)
    bytes.copy(copy, HEADER_BYTES, from, to)
    copy.writeInt32BE(size - LOG_OVERHEAD, LENGTH_AT)
    return new BatchView(copy)
  }

  /**
   * The records. Checks the CRC and decompresses at once, unless told otherwise.
   *
   * @throws {LogError} CORRUPT_MESSAGE, UNSUPPORTED_COMPRESSION_TYPE, INVALID_RECORD, DECOMPRESSION_LIMIT
   */
  records(options?: DecodeOptions): RecordCursor {
    return new RecordCursor(this, options)
  }

  #computeCrc(): number {
    return crc32c(this.bytes, this.start + ATTRIBUTES_AT, this.end)
  }

  /** What no writer writes, though the CRC is right; `undefined` if there is no such thing. */
  #nonsense(): string | undefined {
    const { lastOffsetDelta, recordCount } = this
    if (lastOffsetDelta < 0) return `last offset delta ${lastOffsetDelta}`
    if (recordCount < 0) return `record count ${recordCount}`
    if (!Number.isSafeInteger(this.lastOffset)) return 'a last offset beyond 2^53 - 1'
    return undefined
  }
}

function hex(crc: number): string {
  return `0x${crc.toString(16).padStart(8, '0')}`
}

function wrongMagic(bytes: Buffer, start: number): LogError {
  const magic = bytes.readInt8(start + MAGIC_AT)
  if (magic === 0 || magic === 1) {
    const message =
      `this is message format v${magic} (magic ${magic}), written by Kafka before 0.11; only v2 is supported. ` +
      'To convert, read the topic with a Kafka 3 broker and produce it to a new one: every current client writes v2'
    return new LogError('UNSUPPORTED_FOR_MESSAGE_FORMAT', message, { start, magic })
  }
  return new LogError('CORRUPT_MESSAGE', `no record batch has magic ${magic}`, { start, magic })
}
