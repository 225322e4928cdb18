import { assert } from '../util/assert.ts'
import { crc32c } from '../util/crc32c.ts'
import { LogError } from '../util/errors.ts'
import { writeInt64 } from '../util/int64.ts'
import { varintBytes, varlongBytes, writeVarint, writeVarlong } from '../util/varint.ts'
import {
  ATTRIBUTES_AT,
  BASE_SEQUENCE_AT,
  BASE_TIMESTAMP_AT,
  CONTROL_BIT,
  CRC_AT,
  CURRENT_MAGIC,
  DELETE_HORIZON_BIT,
  HEADER_BYTES,
  LAST_OFFSET_DELTA_AT,
  LEADER_EPOCH_AT,
  LENGTH_AT,
  LOG_OVERHEAD,
  MAGIC_AT,
  MAX_BATCH_BYTES,
  MAX_RECORD_OVERHEAD,
  MAX_TIMESTAMP_AT,
  PRODUCER_EPOCH_AT,
  PRODUCER_ID_AT,
  RECORD_COUNT_AT,
  TIMESTAMP_TYPE_BIT,
  type TimestampType,
  TRANSACTIONAL_BIT
} from './batch-format.ts'
import type { RecordInput } from './record.ts'
import { contentBound, contentEstimate, headersBound, writeContent, writeHeaders } from './record-content.ts'
import type { RecordCursor } from './record-cursor.ts'

/** What the header of a batch says beside its records. */
export interface BatchFields {
  readonly baseOffset: number
  /** -1 unknown. */
  readonly leaderEpoch: number
  readonly timestampType: TimestampType
  /** Milliseconds: timestamp of records that bring none, and of the batch under LogAppendTime. */
  readonly now: number
  /** Default none. A bigint where a number does not hold it exactly. */
  readonly producerId?: number | bigint
  readonly producerEpoch?: number
  readonly baseSequence?: number
  readonly transactional?: boolean
  readonly control?: boolean
  /** What timestamp deltas count from. Default: the first record's timestamp. */
  readonly baseTimestamp?: number | bigint
  /** Set by compaction; takes the place of the base timestamp. */
  readonly deleteHorizonMs?: number
}

/** What compaction keeps of a batch though its records are gone. */
export interface FinishOptions {
  /** Default: that of the last record. */
  readonly lastOffset?: number
  /** Default: the largest of the records' timestamps, `now` under LogAppendTime. */
  readonly maxTimestamp?: number | bigint
}

/** Where a builder was; for its `rollbackTo`. */
export interface BuilderMark {
  readonly position: number
  readonly recordCount: number
  readonly lastOffsetDelta: number
  readonly maxTimestamp: number
  readonly maxTimestampExact: bigint | undefined
}

const MIN_INT64 = -(2n ** 63n)
const MAX_INT64 = 2n ** 63n - 1n
const MAX_INT32 = 2 ** 31 - 1

/**
 * Encodes one batch of magic 2, uncompressed, straight into a buffer of the caller's:
 *
 *     builder.begin(buffer, at, fields)
 *     for (const record of records) builder.add(record)
 *     const size = builder.finish()
 *
 * The caller guarantees room by asking `BatchBuilder.sizeBound` first. One builder serves any number of batches, one
 * after the other. Layout: batch-format.ts.
 */
export class BatchBuilder {
  #bytes: Buffer = Buffer.alloc(0)
  #start = 0
  #fields: BatchFields | undefined
  #now = 0
  #at = 0
  #recordCount = 0
  #lastOffsetDelta = -1
  /** NaN where a number does not hold it exactly; then the bigint does. */
  #baseTimestamp = Number.NaN
  #baseTimestampExact: bigint | undefined
  #hasBaseTimestamp = false
  #maxTimestamp = Number.NEGATIVE_INFINITY
  #maxTimestampExact: bigint | undefined

  /**
   * Upper bound of the bytes that a batch of these records takes, header included: 3 bytes per UTF-16 unit of a
   * string, everything else nearly exact.
   *
   * @throws {TypeError} if a record has a part of the wrong type; the message names record and part.
   * @throws {LogError} RECORD_BATCH_TOO_LARGE if no batch can be that large.
   */
  static sizeBound(records: readonly RecordInput[]): number {
    let bound = HEADER_BYTES
    for (let i = 0; i < records.length; i++) bound += recordBound(records[i]!, i)
    if (bound > MAX_BATCH_BYTES) {
      const message = `${records.length} records may take ${bound} bytes; a batch holds at most ${MAX_BATCH_BYTES}`
      throw new LogError('RECORD_BATCH_TOO_LARGE', message, { bound, records: records.length, limit: MAX_BATCH_BYTES })
    }
    return bound
  }

  /** Begins a batch at `at` in `buffer`, which the builder writes to until `finish`. */
  begin(buffer: Buffer, at: number, fields: BatchFields): void {
    assert(Number.isSafeInteger(fields.baseOffset) && fields.baseOffset >= 0, 'a base offset is an integer from 0 on')
    assert(buffer.length - at >= HEADER_BYTES, 'there is room for the header')
    this.#bytes = buffer
    this.#start = at
    this.#fields = fields
    this.#now = fields.now
    this.#at = at + HEADER_BYTES
    this.#recordCount = 0
    this.#lastOffsetDelta = -1
    this.#maxTimestamp = Number.NEGATIVE_INFINITY
    this.#maxTimestampExact = undefined
    this.#hasBaseTimestamp = false
    const base = fields.deleteHorizonMs ?? fields.baseTimestamp
    if (base !== undefined) this.#setBaseTimestamp(base)
  }

  /** Records added since `begin`. */
  get recordCount(): number {
    return this.#recordCount
  }

  /** Position behind the last record added. */
  get position(): number {
    return this.#at
  }

  /** Offset of the last record added; one less than the base offset before the first. */
  get lastOffset(): number {
    return this.#begun().baseOffset + this.#lastOffsetDelta
  }

  /** Largest timestamp of the records, the nearest number; `undefined` before the first. */
  get maxTimestamp(): number | undefined {
    if (this.#recordCount === 0) return undefined
    return this.#begun().timestampType === 'LogAppendTime' ? this.#now : this.#maxTimestamp
  }

  /** What the timestamp deltas count from, the nearest number: the first record's timestamp, as a rule. */
  get firstTimestamp(): number | undefined {
    if (!this.#hasBaseTimestamp) return undefined
    return this.#baseTimestampExact === undefined ? this.#baseTimestamp : Number(this.#baseTimestampExact)
  }

  /**
   * Adds a record at the next offset, or at `offset`. An error leaves the batch as it was.
   *
   * @throws {TypeError} if a part of it has the wrong type.
   * @throws {LogError} INVALID_TIMESTAMP if the timestamp is not a whole number of 64 bits.
   */
  add(record: RecordInput, offset?: number): void {
    const delta = this.#offsetDelta(offset)
    const timestamp = record.timestamp ?? this.#now
    const timestampDelta = this.#timestampDelta(timestamp)
    const { key, value, headers } = record
    const bytes = this.#bytes
    const start = this.#at
    // The length comes first and depends on what strings and headers become, so it is guessed, and what follows it
    // is moved in the rare case that the guess has the wrong number of bytes.
    const guess = 12 + contentEstimate(key) + contentEstimate(value) + (headers === undefined ? 0 : 32)
    const bodyStart = start + varintBytes(guess)
    const room = bytes.length - start - MAX_RECORD_OVERHEAD
    assert(room >= contentBound(key, 'key') + contentBound(value, 'value'), 'the caller asked sizeBound() first')
    bytes[bodyStart] = 0
    let at = writeVarlong(bytes, timestampDelta, bodyStart + 1)
    at = writeVarint(bytes, delta, at)
    at = writeContent(bytes, key, at)
    at = writeContent(bytes, value, at)
    if (headers === undefined) bytes[at++] = 0
    else at = writeHeaders(bytes, headers, at)
    this.#accept(this.#writeLength(start, bodyStart, at), delta, timestamp)
  }

  /**
   * Adds the record that a cursor stands at, keeping its offset, timestamp and every byte of its content.
   */
  copy(cursor: RecordCursor): void {
    const delta = this.#offsetDelta(cursor.offset)
    const nearest = cursor.timestamp
    const timestamp = Number.isSafeInteger(nearest) ? nearest : cursor.timestampExact
    const timestampDelta = this.#timestampDelta(timestamp)
    const bytes = this.#bytes
    const content = cursor.recordEnd - cursor.contentStart
    const length = 1 + varlongBytes(timestampDelta) + varintBytes(delta) + content
    assert(bytes.length - this.#at >= varintBytes(length) + length, 'there is room for the record')
    let at = writeVarint(bytes, length, this.#at)
    bytes[at] = 0
    at = writeVarlong(bytes, timestampDelta, at + 1)
    at = writeVarint(bytes, delta, at)
    cursor.bytes.copy(bytes, at, cursor.contentStart, cursor.recordEnd)
    this.#accept(at + content, delta, timestamp)
  }

  /** Where the batch is now, to come back to with `rollbackTo`. */
  mark(): BuilderMark {
    return {
      position: this.#at,
      recordCount: this.#recordCount,
      lastOffsetDelta: this.#lastOffsetDelta,
      maxTimestamp: this.#maxTimestamp,
      maxTimestampExact: this.#maxTimestampExact
    }
  }

  /** Drops every record added since `mark`, which is of this batch. */
  rollbackTo(mark: BuilderMark): void {
    assert(mark.position <= this.#at && mark.recordCount <= this.#recordCount, 'a mark lies behind')
    this.#at = mark.position
    this.#recordCount = mark.recordCount
    this.#lastOffsetDelta = mark.lastOffsetDelta
    this.#maxTimestamp = mark.maxTimestamp
    this.#maxTimestampExact = mark.maxTimestampExact
    const { deleteHorizonMs, baseTimestamp } = this.#begun()
    if (mark.recordCount === 0) this.#hasBaseTimestamp = deleteHorizonMs !== undefined || baseTimestamp !== undefined
  }

  /**
   * Fills in header and CRC.
   *
   * @returns the size of the whole batch, bytes.
   * @throws {LogError} RECORD_BATCH_TOO_LARGE past 2^31 - 1 bytes.
   */
  finish(options: FinishOptions = {}): number {
    const fields = this.#begun()
    const size = this.#at - this.#start
    if (size > MAX_BATCH_BYTES) {
      const message = `a batch of ${size} bytes; at most ${MAX_BATCH_BYTES} are possible`
      throw new LogError('RECORD_BATCH_TOO_LARGE', message, { size, limit: MAX_BATCH_BYTES })
    }
    const lastOffset = options.lastOffset ?? this.lastOffset
    const lastOffsetDelta = lastOffset - fields.baseOffset
    assert(lastOffsetDelta >= Math.max(0, this.#lastOffsetDelta), 'a batch has a record, or is told its last offset')
    assert(lastOffsetDelta <= MAX_INT32 && Number.isSafeInteger(lastOffset), 'the last offset can be written')
    this.#writeHeader(fields, size, lastOffsetDelta, options.maxTimestamp ?? this.#finalMaxTimestamp())
    this.#fields = undefined
    return size
  }

  #writeHeader(fields: BatchFields, size: number, lastOffsetDelta: number, maxTimestamp: number | bigint): void {
    const { producerId = -1 } = fields
    const bytes = this.#bytes
    const start = this.#start
    writeInt64(bytes, fields.baseOffset, start)
    bytes.writeInt32BE(size - LOG_OVERHEAD, start + LENGTH_AT)
    bytes.writeInt32BE(fields.leaderEpoch, start + LEADER_EPOCH_AT)
    bytes[start + MAGIC_AT] = CURRENT_MAGIC
    bytes.writeInt16BE(attributesOf(fields), start + ATTRIBUTES_AT)
    bytes.writeInt32BE(lastOffsetDelta, start + LAST_OFFSET_DELTA_AT)
    const base = this.#hasBaseTimestamp ? (this.#baseTimestampExact ?? this.#baseTimestamp) : -1
    writeAnyInt64(bytes, base, start + BASE_TIMESTAMP_AT)
    writeAnyInt64(bytes, maxTimestamp, start + MAX_TIMESTAMP_AT)
    writeAnyInt64(bytes, producerId, start + PRODUCER_ID_AT)
    bytes.writeInt16BE(fields.producerEpoch ?? -1, start + PRODUCER_EPOCH_AT)
    bytes.writeInt32BE(fields.baseSequence ?? -1, start + BASE_SEQUENCE_AT)
    bytes.writeInt32BE(this.#recordCount, start + RECORD_COUNT_AT)
    bytes.writeUInt32BE(crc32c(bytes, start + ATTRIBUTES_AT, start + size), start + CRC_AT)
  }

  #finalMaxTimestamp(): number | bigint {
    if (this.#begun().timestampType === 'LogAppendTime') return this.#now
    return this.#recordCount === 0 ? -1 : (this.#maxTimestampExact ?? this.#maxTimestamp)
  }

  #offsetDelta(offset: number | undefined): number {
    const delta = offset === undefined ? this.#lastOffsetDelta + 1 : offset - this.#begun().baseOffset
    assert(delta > this.#lastOffsetDelta && delta <= MAX_INT32, 'offsets of a batch increase, within 2^31 - 1')
    return delta
  }

  /** From the base timestamp, which the first record sets. Wraps around 64 bits, as reading it does. */
  #timestampDelta(timestamp: number | bigint): number | bigint {
    if (!this.#hasBaseTimestamp || this.#recordCount === 0) checkTimestamp(timestamp)
    if (!this.#hasBaseTimestamp) return 0
    const delta = typeof timestamp === 'number' ? timestamp - this.#baseTimestamp : Number.NaN
    if (Number.isSafeInteger(delta) && Number.isSafeInteger(timestamp)) return delta
    checkTimestamp(timestamp)
    return BigInt.asIntN(64, BigInt(timestamp) - (this.#baseTimestampExact ?? BigInt(this.#baseTimestamp)))
  }

  #writeLength(start: number, bodyStart: number, end: number): number {
    const length = end - bodyStart
    const lengthBytes = varintBytes(length)
    if (start + lengthBytes !== bodyStart) {
      assert(start + lengthBytes + length <= this.#bytes.length, 'the caller asked sizeBound() first')
      this.#bytes.copyWithin(start + lengthBytes, bodyStart, end)
    }
    writeVarint(this.#bytes, length, start)
    return start + lengthBytes + length
  }

  #accept(end: number, offsetDelta: number, timestamp: number | bigint): void {
    this.#at = end
    this.#recordCount += 1
    this.#lastOffsetDelta = offsetDelta
    if (!this.#hasBaseTimestamp) this.#setBaseTimestamp(timestamp)
    if (timestamp > (this.#maxTimestampExact ?? this.#maxTimestamp)) {
      this.#maxTimestamp = Number(timestamp)
      this.#maxTimestampExact = Number.isSafeInteger(this.#maxTimestamp) ? undefined : BigInt(timestamp)
    }
  }

  #setBaseTimestamp(timestamp: number | bigint): void {
    const nearest = Number(timestamp)
    const exact = Number.isSafeInteger(nearest)
    this.#baseTimestamp = exact ? nearest : Number.NaN
    this.#baseTimestampExact = exact ? undefined : BigInt(timestamp)
    this.#hasBaseTimestamp = true
  }

  #begun(): BatchFields {
    assert(this.#fields !== undefined, 'begin() comes first')
    return this.#fields
  }
}

function recordBound(record: RecordInput, index: number): number {
  if (typeof record !== 'object' || record === null) throw new TypeError(`record ${index} is not an object`)
  return (
    MAX_RECORD_OVERHEAD +
    contentBound(record.key, 'key') +
    contentBound(record.value, 'value') +
    headersBound(record.headers)
  )
}

function checkTimestamp(timestamp: number | bigint): void {
  if (typeof timestamp === 'bigint' ? timestamp >= MIN_INT64 && timestamp <= MAX_INT64 : isInt64(timestamp)) return
  if (typeof timestamp !== 'number' && typeof timestamp !== 'bigint') {
    throw new TypeError(`a timestamp is a number or a bigint of milliseconds, not ${typeof timestamp}`)
  }
  throw new LogError('INVALID_TIMESTAMP', `timestamp ${timestamp} is not a whole number of 64 bits`, { timestamp })
}

function isInt64(value: number): boolean {
  return Number.isInteger(value) && value >= -(2 ** 63) && value < 2 ** 63
}

function attributesOf(fields: BatchFields): number {
  return (
    (fields.timestampType === 'LogAppendTime' ? TIMESTAMP_TYPE_BIT : 0) |
    (fields.transactional === true ? TRANSACTIONAL_BIT : 0) |
    (fields.control === true ? CONTROL_BIT : 0) |
    (fields.deleteHorizonMs === undefined ? 0 : DELETE_HORIZON_BIT)
  )
}

function writeAnyInt64(bytes: Buffer, value: number | bigint, at: number): void {
  if (Number.isSafeInteger(value)) writeInt64(bytes, Number(value), at)
  else bytes.writeBigInt64BE(BigInt(value), at)
}
