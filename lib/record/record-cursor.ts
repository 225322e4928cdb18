import { isLogError, LogError } from '../util/errors.ts'
import {
  MAX_VARLONG_BYTES,
  readVarint,
  readVarlong,
  shortZigzag,
  shortZigzagBytes,
  skipVarint
} from '../util/varint.ts'
import type { BatchView } from './batch-view.ts'
import { checkHeaders, readHeaders, skipHeadersQuickly } from './headers.ts'
import { LazyRecord } from './lazy-record.ts'
import type { EagerRecord, Header } from './record.ts'
import { RecordSource, usualBaseTimestamp } from './record-source.ts'
import { type DecodeOptions, recordsSection } from './records-section.ts'

/**
 * Walks over the records of one batch without allocating anything per record:
 *
 *     const cursor = batch.records()
 *     while (cursor.next()) use(cursor.offset, cursor.value())
 *
 * What it shows belongs to the record that the last `next()` came to. Positions are positions in `bytes`.
 *
 * A record is read twice over at most: quickly, which knows only the forms that practically every record has (lengths
 * below 2^27, short deltas), and carefully where the quick way has any doubt. Only the careful way refuses, and it
 * says why.
 */
export class RecordCursor {
  readonly batch: BatchView
  /** The bytes that hold the records: the batch's own, or what they were decompressed to. */
  readonly bytes: Buffer
  /** Of the batch, as the cursor found them: its header may have left the processor's cache since. */
  readonly isControl: boolean
  readonly isTransactional: boolean
  /** Made when somebody takes a record along: see `#source`. */
  #madeSource: RecordSource | undefined
  readonly #baseOffset: number
  /** NaN: see `usualBaseTimestamp`. */
  readonly #baseTimestamp: number
  readonly #start: number
  readonly #end: number
  readonly #count: number
  readonly #lastOffsetDelta: number
  #header: BatchView | undefined
  /** Where every sixteenth record begins, as far as a `seek` came by; 0 where none did. */
  #marks: Int32Array | undefined
  #index = 0
  #at: number
  #timestampAt = -1
  // Worked out with the rest: a getter that decoded it is too large for the compiler to inline it into every loop, and
  // a call takes 10 ns, and memory for the number that it answers.
  #timestamp = -1
  #offsetDelta = -1
  #keyStart = -1
  #keyEnd = -1
  #valueStart = -1
  #valueEnd = -1

  /**
   * @throws {LogError} CORRUPT_MESSAGE if the batch fails its CRC, unless `checkCrc` is false.
   * @throws {LogError} UNSUPPORTED_COMPRESSION_TYPE, INVALID_RECORD, DECOMPRESSION_LIMIT if its records cannot be
   *   decompressed, or not within the limits.
   */
  constructor(batch: BatchView, options: DecodeOptions = {}) {
    if (options.checkCrc !== false) batch.verify()
    const { bytes, start, end } = recordsSection(batch, options)
    this.batch = batch
    this.bytes = bytes
    this.isControl = batch.isControl
    this.isTransactional = batch.isTransactional
    this.#baseOffset = batch.baseOffset
    this.#baseTimestamp = usualBaseTimestamp(batch)
    this.#at = start
    this.#start = start
    this.#end = end
    this.#count = batch.recordCount
    this.#lastOffsetDelta = batch.lastOffsetDelta
    if (this.#count < 0) throw this.#invalid(`record count ${this.#count}`)
  }

  /**
   * Goes on to the next record. False behind the last one: then as many have been there as the header says, and
   * nothing is left.
   *
   * @throws {LogError} INVALID_RECORD
   */
  next(): boolean {
    if (this.#index === this.#count) return this.#finish()
    const bytes = this.bytes
    const start = this.#at
    // A byte behind the end of `bytes` reads as undefined, which fails every comparison and ends in the careful way.
    let zigzag = shortZigzag(bytes, start)
    let at = start + shortZigzagBytes(zigzag)
    const recordEnd = at + (zigzag >>> 1)
    if ((zigzag & 1) !== 0 || recordEnd > this.#end) return this.#nextCarefully()

    const timestampAt = at + 1 // behind the attributes, which mean nothing yet
    zigzag = shortZigzag(bytes, timestampAt)
    if (zigzag < 0) return this.#nextCarefully()
    at = timestampAt + shortZigzagBytes(zigzag)
    const timestamp = this.#baseTimestamp + ((zigzag >>> 1) ^ -(zigzag & 1))

    zigzag = shortZigzag(bytes, at)
    at += shortZigzagBytes(zigzag)
    const offsetDelta = zigzag >>> 1
    if ((zigzag & 1) !== 0 || offsetDelta <= this.#offsetDelta || offsetDelta > this.#lastOffsetDelta) {
      return this.#nextCarefully()
    }

    zigzag = shortZigzag(bytes, at)
    at += shortZigzagBytes(zigzag)
    let keyStart = -1
    if (zigzag !== 1) {
      if ((zigzag & 1) !== 0) return this.#nextCarefully()
      keyStart = at
      at += zigzag >>> 1
    }
    const keyEnd = at

    zigzag = shortZigzag(bytes, at)
    at += shortZigzagBytes(zigzag)
    let valueStart = -1
    if (zigzag !== 1) {
      if ((zigzag & 1) !== 0) return this.#nextCarefully()
      valueStart = at
      at += zigzag >>> 1
    }
    const valueEnd = at

    if (bytes[at] === 0) at += 1
    else at = skipHeadersQuickly(bytes, at, recordEnd)
    if (at !== recordEnd) return this.#nextCarefully()

    this.#at = recordEnd
    this.#timestampAt = timestampAt
    this.#timestamp = Number.isNaN(timestamp) ? this.#source.timestamp(timestampAt) : timestamp
    this.#offsetDelta = offsetDelta
    this.#keyStart = keyStart
    this.#keyEnd = keyEnd
    this.#valueStart = valueStart
    this.#valueEnd = valueEnd
    this.#index += 1
    return true
  }

  /**
   * Goes to the record of `offset`, wherever the cursor stands, and back if need be. False if the batch has no such
   * record: the cursor then stands at the next one that it has, or behind the last.
   *
   * Where no record is missing it hops over the lengths of those before, which takes a tenth of reading them, and
   * leaves them unchecked.
   *
   * @throws {LogError} INVALID_RECORD
   */
  seek(offset: number): boolean {
    const delta = offset - this.#baseOffset
    if (this.#offsetDelta >= delta) this.#rewind()
    const isWhole = this.#count === this.#lastOffsetDelta + 1
    if (isWhole && delta >= 0 && this.#hopTo(delta) && this.next()) {
      if (this.#offsetDelta === delta) return true
      this.#rewind() // its lengths lied: the careful way says what is wrong
    }
    while (this.next()) if (this.#offsetDelta >= delta) return this.#offsetDelta === delta
    return false
  }

  /**
   * Lets `next` begin with the first record at or above `offset`.
   *
   * @throws {LogError} INVALID_RECORD
   */
  startAt(offset: number): void {
    const isThere = this.seek(offset)
    // One step back: a record is remembered by what follows it.
    const end = isThere || this.#offsetDelta >= offset - this.#baseOffset ? this.#index - 1 : this.#index
    this.#rewind()
    while (this.#index < end) this.next()
  }

  get offset(): number {
    return this.#baseOffset + this.#offsetDelta
  }

  get offsetDelta(): number {
    return this.#offsetDelta
  }

  /** Milliseconds, the nearest number; -1 none. That of the batch under LogAppendTime. */
  get timestamp(): number {
    return this.#timestamp
  }

  get timestampExact(): bigint {
    return this.#source.timestampExact(this.#timestampAt)
  }

  get hasKey(): boolean {
    return this.#keyStart >= 0
  }

  /** -1 if the key is null. */
  get keyStart(): number {
    return this.#keyStart
  }

  get keyEnd(): number {
    return this.#keyEnd
  }

  get hasValue(): boolean {
    return this.#valueStart >= 0
  }

  /** -1 if the value is null. */
  get valueStart(): number {
    return this.#valueStart
  }

  get valueEnd(): number {
    return this.#valueEnd
  }

  get headerCount(): number {
    return readVarint(this.bytes, this.#valueEnd, this.#at)
  }

  /** Where key, value and headers start, with the key's length: what stays when the record moves to another batch. */
  get contentStart(): number {
    const offsetDeltaAt = skipVarint(this.bytes, this.#timestampAt, this.#at, MAX_VARLONG_BYTES)
    return skipVarint(this.bytes, offsetDeltaAt, this.#at)
  }

  /** Position behind the record. */
  get recordEnd(): number {
    return this.#at
  }

  /** A view of `bytes`. */
  key(): Buffer | null {
    return this.#source.view(this.#keyStart, this.#keyEnd)
  }

  /** A view of `bytes`. Null is a tombstone. */
  value(): Buffer | null {
    return this.#source.view(this.#valueStart, this.#valueEnd)
  }

  headers(): readonly Header[] {
    return readHeaders(this.bytes, this.#valueEnd, this.#at)
  }

  /** The record as one small object, decoded as far as one asks. It stays valid when the cursor goes on. */
  lazy(): LazyRecord {
    return new LazyRecord(
      this.#source,
      this.#offsetDelta,
      this.#timestampAt,
      this.#keyStart,
      this.#keyEnd,
      this.#valueStart,
      this.#valueEnd
    )
  }

  /** As `lazy`, in memory of its own: it neither keeps the batch in memory, nor changes when that is overwritten. */
  copy(): LazyRecord {
    // Many records may be copied from one batch: its header is copied once.
    this.#header ??= this.batch.copyWith(this.bytes, 0, 0)
    const from = this.#timestampAt
    const bytes = Buffer.allocUnsafe(this.#at - from)
    bytes.set(this.bytes.subarray(from, this.#at))
    const shift = -from
    return new LazyRecord(
      new RecordSource(this.#header, bytes, bytes.length, this.#baseOffset, this.#baseTimestamp),
      this.#offsetDelta,
      0,
      this.#keyStart < 0 ? -1 : this.#keyStart + shift,
      this.#keyEnd + shift,
      this.#valueStart < 0 ? -1 : this.#valueStart + shift,
      this.#valueEnd + shift
    )
  }

  /** The record as a plain object, all of it decoded. */
  toRecord(): EagerRecord {
    const { offset, timestamp } = this
    const record = { offset, timestamp, key: this.key(), value: this.value(), headers: this.headers() }
    return Number.isSafeInteger(timestamp) ? record : { ...record, timestampExact: this.timestampExact }
  }

  get #source(): RecordSource {
    this.#madeSource ??= new RecordSource(this.batch, this.bytes, this.#end, this.#baseOffset, this.#baseTimestamp)
    return this.#madeSource
  }

  #rewind(): void {
    this.#index = 0
    this.#at = this.#start
    this.#offsetDelta = -1
    // Who comes back will come again. Hopping from a mark on takes two thirds of hopping from the start in a batch of
    // 100 records, a third in one of 1,000. A count that the bytes cannot hold is none to take memory for.
    const isPlausible = this.#count > MARKED_EVERY && this.#count <= this.#end - this.#start
    if (isPlausible) this.#marks ??= new Int32Array(Math.ceil(this.#count / MARKED_EVERY))
  }

  /** Goes in front of the record of that number, at or behind the next one; false, and nowhere, where lengths are odd. */
  #hopTo(index: number): boolean {
    const { bytes } = this
    const end = this.#end
    const marks = this.#marks
    let i = this.#index
    let at = this.#at
    if (marks !== undefined) {
      let mark = Math.floor(index / MARKED_EVERY)
      while (mark > 0 && !(marks[mark]! > 0)) mark -= 1
      if (mark * MARKED_EVERY > i) {
        i = mark * MARKED_EVERY
        at = marks[mark]!
      }
    }
    for (; i < index; i += 1) {
      if (marks !== undefined && i % MARKED_EVERY === 0) marks[i / MARKED_EVERY] = at
      const zigzag = shortZigzag(bytes, at)
      at += shortZigzagBytes(zigzag) + (zigzag >>> 1)
      if ((zigzag & 1) !== 0 || !(at < end)) return false
    }
    this.#index = index
    this.#at = at
    return true
  }

  #nextCarefully(): boolean {
    try {
      return this.#readCarefully()
    } catch (error) {
      throw isLogError(error, 'INVALID_RECORD') ? this.#invalid(error.message) : error
    }
  }

  #readCarefully(): boolean {
    const { bytes } = this
    const start = this.#at
    if (start === this.#end) throw new LogError('INVALID_RECORD', `the records end after ${this.#index}`)
    const length = readVarint(bytes, start, this.#end)
    let at = skipVarint(bytes, start, this.#end)
    if (length < 0 || length > this.#end - at) {
      throw new LogError('INVALID_RECORD', `a length of ${length} bytes where ${this.#end - at} are left`)
    }
    const end = at + length
    const timestampAt = at + 1
    readVarlong(bytes, timestampAt, end)
    at = skipVarint(bytes, timestampAt, end, MAX_VARLONG_BYTES)
    const offsetDelta = readVarint(bytes, at, end)
    at = skipVarint(bytes, at, end)
    if (offsetDelta <= this.#offsetDelta || offsetDelta > this.#lastOffsetDelta) {
      const range = `${this.#offsetDelta + 1} ... ${this.#lastOffsetDelta}`
      throw new LogError('INVALID_RECORD', `an offset delta of ${offsetDelta}, outside ${range}`)
    }
    const keyLength = this.#lengthOf('key', at, end)
    at = skipVarint(bytes, at, end)
    const keyStart = keyLength < 0 ? -1 : at
    at += Math.max(0, keyLength)
    const keyEnd = at
    const valueLength = this.#lengthOf('value', at, end)
    at = skipVarint(bytes, at, end)
    const valueStart = valueLength < 0 ? -1 : at
    at += Math.max(0, valueLength)
    const valueEnd = at
    at = checkHeaders(bytes, at, end)
    if (at !== end) throw new LogError('INVALID_RECORD', `${end - at} bytes behind the headers`)

    this.#at = end
    this.#timestampAt = timestampAt
    this.#timestamp = this.#source.timestamp(timestampAt)
    this.#offsetDelta = offsetDelta
    this.#keyStart = keyStart
    this.#keyEnd = keyEnd
    this.#valueStart = valueStart
    this.#valueEnd = valueEnd
    this.#index += 1
    return true
  }

  #lengthOf(what: string, at: number, end: number): number {
    const length = readVarint(this.bytes, at, end)
    if (length < -1 || length > end - skipVarint(this.bytes, at, end)) {
      throw new LogError('INVALID_RECORD', `a ${what} of ${length} bytes, which the record cannot hold`)
    }
    return length
  }

  #finish(): boolean {
    const left = this.#end - this.#at
    if (left !== 0) throw this.#invalid(`${left} bytes behind the last of ${this.#count} records`)
    return false
  }

  #invalid(reason: string): LogError {
    const { baseOffset } = this.batch
    const message = `batch ${baseOffset}, record ${this.#index}: ${reason}`
    return new LogError('INVALID_RECORD', message, { baseOffset, index: this.#index })
  }
}

const MARKED_EVERY = 16
