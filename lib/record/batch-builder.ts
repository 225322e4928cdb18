import { assert } from '../util/assert.ts'
import { crc32c } from '../util/crc32c.ts'
import { LogError } from '../util/errors.ts'
import { writeInt16, writeInt32, writeInt64 } from '../util/int64.ts'
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
import { type Bytes, writePlainRecord } from './plain-record.ts'
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
  readonly maxShortDelta: number
  readonly maxLongTimestamp: number | bigint | undefined
}

const MIN_INT64 = -(2n ** 63n)
const MAX_INT64 = 2n ** 63n - 1n
const MAX_INT32 = 2 ** 31 - 1
/** With a base timestamp up to here, every sum with a delta of 32 bits is held exactly. */
const MAX_SHORT_BASE = Number.MAX_SAFE_INTEGER - 2 ** 31

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
  /** Where the batch must end: with its buffer, or where it would be larger than any batch. */
  #limit = 0
  #recordCount = 0
  #lastOffsetDelta = -1
  /** What deltas count from. Set anew by each record that is the first, unless the caller has fixed it. */
  #base: number | bigint = -1
  #baseIsFixed = false
  /** The same as a number, NaN where it is too large for the quick way. */
  #shortBase = Number.NaN
  /** `now` less the base, NaN likewise. */
  #nowDelta = Number.NaN
  /** Largest delta that went the quick way, and largest timestamp that did not. */
  #maxShortDelta = Number.NEGATIVE_INFINITY
  #maxLongTimestamp: number | bigint | undefined

  /**
   * Upper bound of the bytes that a batch of these records takes, header included: 3 bytes per UTF-16 unit of a
   * string, 36 bytes around each record.
   *
   * @throws {TypeError} if a record has a part of the wrong type; the message names record and part.
   * @throws {LogError} RECORD_BATCH_TOO_LARGE if no batch can be that large.
   */
  static sizeBound(records: readonly RecordInput[]): number {
    let bound = HEADER_BYTES
    for (let i = 0; i < records.length; i++) {
      const record = records[i]!
      if (typeof record !== 'object' || record === null) throw new TypeError(`record ${i} is not an object`)
      const { key, value, headers } = record
      bound += MAX_RECORD_OVERHEAD
      bound += key instanceof Uint8Array ? key.length : contentBound(key, 'key')
      bound += value instanceof Uint8Array ? value.length : contentBound(value, 'value')
      if (headers !== undefined) bound += headersBound(headers)
    }
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
    this.#limit = Math.min(buffer.length, at + MAX_BATCH_BYTES)
    this.#recordCount = 0
    this.#lastOffsetDelta = -1
    this.#maxShortDelta = Number.NEGATIVE_INFINITY
    this.#maxLongTimestamp = undefined
    const base = fields.deleteHorizonMs ?? fields.baseTimestamp
    this.#baseIsFixed = base !== undefined
    this.#setBase(base ?? -1)
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
    return this.#recordCount === 0 ? undefined : Number(this.#maxTimestamp())
  }

  /** What the timestamp deltas count from, the nearest number: the first record's timestamp, as a rule. */
  get firstTimestamp(): number | undefined {
    return this.#recordCount === 0 && !this.#baseIsFixed ? undefined : Number(this.#base)
  }

  /**
   * Adds a record at the next offset, or at `offset`. An error leaves the batch as it was.
   *
   * @throws {TypeError} if a part of it has the wrong type.
   * @throws {LogError} INVALID_TIMESTAMP if the timestamp is not a whole number of 64 bits.
   */
  add(record: RecordInput, offset?: number): void {
    const { key, value, headers, timestamp } = record
    const offsetDelta = offset === undefined ? this.#lastOffsetDelta + 1 : this.#deltaOf(offset)
    if (this.#recordCount === 0 && !this.#baseIsFixed) this.#setBase(timestamp ?? this.#now)
    // Practically every record is bytes without headers, dated by the log or not far from the first of the batch.
    let delta = this.#nowDelta
    if (timestamp !== undefined) delta = typeof timestamp === 'number' ? timestamp - this.#shortBase : Number.NaN
    if (headers === undefined && delta === (delta | 0) && isBytes(key) && isBytes(value)) {
      const timestampZigzag = (delta << 1) ^ (delta >> 31)
      this.#at = writePlainRecord(this.#bytes, this.#at, this.#limit, key, value, timestampZigzag, offsetDelta << 1)
      this.#recordCount += 1
      this.#lastOffsetDelta = offsetDelta
      if (delta > this.#maxShortDelta) this.#maxShortDelta = delta
    } else {
      this.#addAny(record, offsetDelta)
    }
  }

  /**
   * Adds all records at the next offsets, or none of them.
   *
   * The same as `add` for each, at two thirds of the cost (86 ns became 56 for one of 100 B): in one loop the
   * builder's fields are local variables, which V8 keeps in registers.
   *
   * @param maxBytes - if the batch would become larger than this, nothing is added.
   * @param now - milliseconds: timestamp of those that bring none, in place of the one that `begin` was given. For a
   *   batch of CreateTime.
   * @returns the size of the batch with the records, header included.
   * @throws as `add`.
   */
  addAll(records: readonly RecordInput[], maxBytes: number = MAX_BATCH_BYTES, now: number = this.#now): number {
    const mark = this.mark()
    this.#now = now
    this.#nowDelta = now - this.#shortBase
    let size = Number.NaN // an error takes all of them back, too
    try {
      this.#addEach(records)
      size = this.#at - this.#start
    } finally {
      if (!(size <= maxBytes)) this.rollbackTo(mark)
    }
    return size
  }

  #addEach(records: readonly RecordInput[]): void {
    if (this.#recordCount === 0 && !this.#baseIsFixed) this.#setBase(records[0]?.timestamp ?? this.#now)
    const recordCount = this.#recordCount + records.length
    const bytes = this.#bytes
    const limit = this.#limit
    const shortBase = this.#shortBase
    const nowDelta = this.#nowDelta
    let at = this.#at
    let offsetDelta = this.#lastOffsetDelta
    let maxDelta = this.#maxShortDelta
    for (let i = 0; i < records.length; i++) {
      const record = records[i]!
      const { key, value, headers, timestamp } = record
      offsetDelta += 1
      let delta = nowDelta
      if (timestamp !== undefined) delta = typeof timestamp === 'number' ? timestamp - shortBase : Number.NaN
      if (headers === undefined && delta === (delta | 0) && isBytes(key) && isBytes(value)) {
        at = writePlainRecord(bytes, at, limit, key, value, (delta << 1) ^ (delta >> 31), offsetDelta << 1)
        if (delta > maxDelta) maxDelta = delta
      } else {
        this.#at = at
        this.#addAny(record, offsetDelta)
        at = this.#at
      }
    }
    this.#at = at
    this.#recordCount = recordCount
    this.#lastOffsetDelta = offsetDelta
    this.#maxShortDelta = maxDelta
  }

  /** Adds the record that a cursor stands at, keeping its offset, timestamp and every byte of its content. */
  copy(cursor: RecordCursor): void {
    const offsetDelta = this.#deltaOf(cursor.offset)
    const nearest = cursor.timestamp
    const timestamp = Number.isSafeInteger(nearest) ? nearest : cursor.timestampExact
    if (this.#recordCount === 0 && !this.#baseIsFixed) this.#setBase(timestamp)
    const { contentStart, recordEnd } = cursor
    const shortDelta = nearest - this.#shortBase
    const isShort = shortDelta === (shortDelta | 0) // then a varint of 32 bits is the same bytes, and written faster
    const timestampDelta = isShort ? shortDelta : this.#timestampDelta(timestamp)
    const deltaBytes = isShort ? varintBytes(shortDelta) : varlongBytes(timestampDelta)
    const bytes = this.#bytes
    const length = 1 + deltaBytes + varintBytes(offsetDelta) + recordEnd - contentStart
    assert(this.#limit - this.#at >= varintBytes(length) + length, 'there is room for the record')
    let at = writeVarint(bytes, length, this.#at)
    bytes[at] = 0
    at = isShort ? writeVarint(bytes, shortDelta, at + 1) : writeVarlong(bytes, timestampDelta, at + 1)
    at = writeVarint(bytes, offsetDelta, at)
    const { buffer, byteOffset } = cursor.bytes
    // A plain array, as in crc32c.ts: it is made in half the time of a Buffer.
    bytes.set(new Uint8Array(buffer, byteOffset + contentStart, recordEnd - contentStart), at)
    at += recordEnd - contentStart
    if (!isShort) {
      this.#accept(at, offsetDelta, timestamp)
      return
    }
    this.#at = at
    this.#recordCount += 1
    this.#lastOffsetDelta = offsetDelta
    if (shortDelta > this.#maxShortDelta) this.#maxShortDelta = shortDelta
  }

  /** Where the batch is now, to come back to with `rollbackTo`. */
  mark(): BuilderMark {
    return {
      position: this.#at,
      recordCount: this.#recordCount,
      lastOffsetDelta: this.#lastOffsetDelta,
      maxShortDelta: this.#maxShortDelta,
      maxLongTimestamp: this.#maxLongTimestamp
    }
  }

  /** Drops every record added since `mark`, which is of this batch. */
  rollbackTo(mark: BuilderMark): void {
    assert(mark.position <= this.#at && mark.recordCount <= this.#recordCount, 'a mark lies behind')
    this.#at = mark.position
    this.#recordCount = mark.recordCount
    this.#lastOffsetDelta = mark.lastOffsetDelta
    this.#maxShortDelta = mark.maxShortDelta
    this.#maxLongTimestamp = mark.maxLongTimestamp
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
    this.#writeHeader(fields, size, lastOffsetDelta, options.maxTimestamp ?? this.#maxTimestamp())
    this.#fields = undefined
    return size
  }

  #writeHeader(fields: BatchFields, size: number, lastOffsetDelta: number, maxTimestamp: number | bigint): void {
    const { producerId = -1 } = fields
    const bytes = this.#bytes
    const start = this.#start
    writeInt64(bytes, fields.baseOffset, start)
    writeInt32(bytes, size - LOG_OVERHEAD, start + LENGTH_AT)
    writeInt32(bytes, fields.leaderEpoch, start + LEADER_EPOCH_AT)
    bytes[start + MAGIC_AT] = CURRENT_MAGIC
    writeInt16(bytes, attributesOf(fields), start + ATTRIBUTES_AT)
    writeInt32(bytes, lastOffsetDelta, start + LAST_OFFSET_DELTA_AT)
    const hasBase = this.#recordCount > 0 || this.#baseIsFixed
    writeAnyInt64(bytes, hasBase ? this.#base : -1, start + BASE_TIMESTAMP_AT)
    writeAnyInt64(bytes, maxTimestamp, start + MAX_TIMESTAMP_AT)
    writeAnyInt64(bytes, producerId, start + PRODUCER_ID_AT)
    writeInt16(bytes, fields.producerEpoch ?? -1, start + PRODUCER_EPOCH_AT)
    writeInt32(bytes, fields.baseSequence ?? -1, start + BASE_SEQUENCE_AT)
    writeInt32(bytes, this.#recordCount, start + RECORD_COUNT_AT)
    writeInt32(bytes, crc32c(bytes, start + ATTRIBUTES_AT, start + size), start + CRC_AT)
  }

  #maxTimestamp(): number | bigint {
    if (this.#begun().timestampType === 'LogAppendTime') return this.#now
    if (this.#recordCount === 0) return -1
    const short = this.#shortBase + this.#maxShortDelta
    const long = this.#maxLongTimestamp
    return long === undefined || short >= long ? short : long
  }

  /** Writes a record with strings, headers or a timestamp far from the first. */
  #addAny(record: RecordInput, offsetDelta: number): void {
    const { key, value, headers, timestamp = this.#now } = record
    const timestampDelta = this.#timestampDelta(timestamp)
    const bytes = this.#bytes
    const start = this.#at
    // The length comes first and depends on what strings and headers become, so it is guessed, and what follows it
    // is moved in the rare case that the guess has the wrong number of bytes.
    const guess = 12 + contentEstimate(key) + contentEstimate(value) + (headers === undefined ? 0 : 32)
    const bodyStart = start + varintBytes(guess)
    const room = this.#limit - start - MAX_RECORD_OVERHEAD
    assert(room >= contentBound(key, 'key') + contentBound(value, 'value'), 'the caller asked sizeBound() first')
    bytes[bodyStart] = 0
    let at = writeVarlong(bytes, timestampDelta, bodyStart + 1)
    at = writeVarint(bytes, offsetDelta, at)
    at = writeContent(bytes, key, at)
    at = writeContent(bytes, value, at)
    if (headers === undefined) bytes[at++] = 0
    else at = writeHeaders(bytes, headers, at)
    this.#accept(this.#writeLength(start, bodyStart, at), offsetDelta, timestamp)
  }

  #writeLength(start: number, bodyStart: number, end: number): number {
    const length = end - bodyStart
    const lengthBytes = varintBytes(length)
    if (start + lengthBytes !== bodyStart) {
      assert(start + lengthBytes + length <= this.#limit, 'the caller asked sizeBound() first')
      this.#bytes.copyWithin(start + lengthBytes, bodyStart, end)
    }
    writeVarint(this.#bytes, length, start)
    return start + lengthBytes + length
  }

  #accept(end: number, offsetDelta: number, timestamp: number | bigint): void {
    this.#at = end
    this.#recordCount += 1
    this.#lastOffsetDelta = offsetDelta
    const max = this.#maxLongTimestamp
    if (max === undefined || timestamp > max) this.#maxLongTimestamp = timestamp
  }

  #deltaOf(offset: number): number {
    const delta = offset - this.#begun().baseOffset
    assert(delta > this.#lastOffsetDelta && delta <= MAX_INT32, 'offsets of a batch increase, within 2^31 - 1')
    return delta
  }

  /** Wraps around 64 bits, as reading it does. */
  #timestampDelta(timestamp: number | bigint): number | bigint {
    checkTimestamp(timestamp)
    if (Number.isSafeInteger(timestamp) && Number.isSafeInteger(this.#base)) {
      const delta = Number(timestamp) - Number(this.#base)
      if (Number.isSafeInteger(delta)) return delta
    }
    return BigInt.asIntN(64, BigInt(timestamp) - BigInt(this.#base))
  }

  #setBase(timestamp: number | bigint): void {
    checkTimestamp(timestamp)
    this.#base = timestamp
    const isShort = typeof timestamp === 'number' && Math.abs(timestamp) <= MAX_SHORT_BASE
    this.#shortBase = isShort ? timestamp : Number.NaN
    this.#nowDelta = this.#now - this.#shortBase
  }

  #begun(): BatchFields {
    assert(this.#fields !== undefined, 'begin() comes first')
    return this.#fields
  }
}

function isBytes(content: RecordInput['key']): content is Bytes {
  return content instanceof Uint8Array || content === undefined || content === null
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
