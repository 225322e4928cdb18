/**
 * The ceiling of reading: bare loops over the .log files of a directory, with nothing around them.
 *
 * A scan reads pieces of 1 MiB into one buffer with a synchronous read, hops from batch to batch, checks each CRC with
 * one native call and walks over the records. A point read finds the batch in a table of base offsets, which opening
 * has built from the headers, and reads it with one synchronous call. No watermark, no index files, no bounds checks,
 * no recovery, and records are good only until the next piece: whatever an engine does beyond this is what its
 * guarantees cost.
 */
import { closeSync, fstatSync, openSync, readdirSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { crc32c } from '@node-rs/crc32'
import type { PointReader, ScanKind, Scanner } from './engine.ts'

const PIECE_BYTES = 1024 * 1024
const HEADER_BYTES = 61
const LENGTH_AT = 8
const CRC_AT = 17
const CRC_FROM = 21
const BASE_TIMESTAMP_AT = 27
const RECORD_COUNT_AT = 57

/** Uncompressed segments below `directory`, in the order of their names, which is that of their offsets. */
function logFiles(directory: string): string[] {
  const files = readdirSync(directory, { recursive: true, encoding: 'utf8' })
  return files
    .filter(name => name.endsWith('.log'))
    .sort()
    .map(name => join(directory, name))
}

/** Exact below 2^53, without a bigint. */
function readOffset(bytes: Buffer, at: number): number {
  return bytes.readUInt32BE(at) * 2 ** 32 + bytes.readUInt32BE(at + 4)
}

/** One native call. @throws {Error} */
export function checkCrc(bytes: Buffer, start: number, end: number): void {
  if (crc32c(bytes.subarray(start + CRC_FROM, end)) !== bytes.readUInt32BE(start + CRC_AT)) throw new Error('bad CRC')
}

/** Positions of one record's parts, overwritten by each `next`. Believes what it reads. */
export class BareCursor {
  bytes: Buffer = Buffer.alloc(0)
  offset = 0
  timestamp = 0
  keyStart = 0
  keyEnd = 0
  valueStart = 0
  valueEnd = 0
  headersAt = 0
  #at = 0
  #left = 0
  #baseOffset = 0
  #baseTimestamp = 0

  begin(bytes: Buffer, start: number): void {
    this.bytes = bytes
    this.#at = start + HEADER_BYTES
    this.#left = bytes.readInt32BE(start + RECORD_COUNT_AT)
    this.#baseOffset = readOffset(bytes, start)
    this.#baseTimestamp = readOffset(bytes, start + BASE_TIMESTAMP_AT)
  }

  next(): boolean {
    if (this.#left === 0) return false
    this.#left -= 1
    const { bytes } = this
    let at = this.#at
    let byte = bytes[at++]!
    let zigzag = byte & 0x7f
    for (let shift = 7; byte >= 0x80; shift += 7) zigzag |= ((byte = bytes[at++]!) & 0x7f) << shift
    this.#at = at + (zigzag >>> 1)
    at += 1 // attributes
    byte = bytes[at++]!
    zigzag = byte & 0x7f
    for (let shift = 7; byte >= 0x80; shift += 7) zigzag |= ((byte = bytes[at++]!) & 0x7f) << shift
    this.timestamp = this.#baseTimestamp + ((zigzag >>> 1) ^ -(zigzag & 1))
    byte = bytes[at++]!
    zigzag = byte & 0x7f
    for (let shift = 7; byte >= 0x80; shift += 7) zigzag |= ((byte = bytes[at++]!) & 0x7f) << shift
    this.offset = this.#baseOffset + (zigzag >>> 1)
    byte = bytes[at++]!
    zigzag = byte & 0x7f
    for (let shift = 7; byte >= 0x80; shift += 7) zigzag |= ((byte = bytes[at++]!) & 0x7f) << shift
    this.keyStart = at
    at += zigzag === 1 ? 0 : zigzag >>> 1
    this.keyEnd = at
    byte = bytes[at++]!
    zigzag = byte & 0x7f
    for (let shift = 7; byte >= 0x80; shift += 7) zigzag |= ((byte = bytes[at++]!) & 0x7f) << shift
    this.valueStart = at
    at += zigzag === 1 ? 0 : zigzag >>> 1
    this.valueEnd = at
    this.headersAt = at
    return true
  }

  /** Passes over `count` records by their lengths alone. */
  skip(count: number): void {
    const { bytes } = this
    let at = this.#at
    for (let left = count; left > 0; left -= 1) {
      let byte = bytes[at++]!
      let zigzag = byte & 0x7f
      for (let shift = 7; byte >= 0x80; shift += 7) zigzag |= ((byte = bytes[at++]!) & 0x7f) << shift
      at += zigzag >>> 1
    }
    this.#at = at
    this.#left -= count
  }

  /** Names as strings, values as views, of the record that `next` came to. */
  headers(): [string, Buffer][] {
    const { bytes } = this
    const headers: [string, Buffer][] = []
    let at = this.headersAt
    // Counts and lengths below 64, as every shape here has them, take a byte each.
    for (let left = bytes[at++]! >>> 1; left > 0; left -= 1) {
      const nameEnd = at + 1 + (bytes[at]! >>> 1)
      const name = bytes.toString('utf8', at + 1, nameEnd)
      const valueEnd = nameEnd + 1 + (bytes[nameEnd]! >>> 1)
      headers.push([name, bytes.subarray(nameEnd + 1, valueEnd)])
      at = valueEnd
    }
    return headers
  }
}

/** One small object a record, decoded as it is asked. */
class BareRecord {
  readonly #bytes: Buffer
  readonly offset: number
  readonly timestamp: number
  readonly #keyStart: number
  readonly #keyEnd: number
  readonly #valueStart: number
  readonly #valueEnd: number

  constructor(cursor: BareCursor) {
    this.#bytes = cursor.bytes
    this.offset = cursor.offset
    this.timestamp = cursor.timestamp
    this.#keyStart = cursor.keyStart
    this.#keyEnd = cursor.keyEnd
    this.#valueStart = cursor.valueStart
    this.#valueEnd = cursor.valueEnd
  }

  get key(): Buffer {
    return this.#bytes.subarray(this.#keyStart, this.#keyEnd)
  }

  get value(): Buffer {
    return this.#bytes.subarray(this.#valueStart, this.#valueEnd)
  }
}

interface Tally {
  records: number
  bytes: number
  /** Offsets and timestamps, so that reading them is not optimised away. */
  sum: number
}

type BatchReader = (bytes: Buffer, start: number, cursor: BareCursor, tally: Tally) => void

const readers: Record<ScanKind, BatchReader> = {
  cursor(bytes, start, cursor, tally) {
    let size = 0
    let sum = 0
    let count = 0
    cursor.begin(bytes, start)
    while (cursor.next()) {
      count += 1
      sum += cursor.offset + cursor.timestamp
      size += cursor.keyEnd - cursor.keyStart + (cursor.valueEnd - cursor.valueStart)
    }
    tally.records += count
    tally.bytes += size
    tally.sum += sum
  },
  lazy(bytes, start, cursor, tally) {
    cursor.begin(bytes, start)
    while (cursor.next()) {
      const record = new BareRecord(cursor)
      tally.records += 1
      tally.bytes += record.key.length + record.value.length
      tally.sum += record.offset + record.timestamp
    }
  },
  eager(bytes, start, cursor, tally) {
    cursor.begin(bytes, start)
    while (cursor.next()) {
      const { offset, timestamp } = cursor
      const key = bytes.subarray(cursor.keyStart, cursor.keyEnd)
      const value = bytes.subarray(cursor.valueStart, cursor.valueEnd)
      const headers = bytes[cursor.headersAt] === 0 ? undefined : cursor.headers()
      const record = { offset, timestamp, key, value, headers }
      tally.records += 1
      tally.bytes += record.key.length + record.value.length
      tally.sum += record.offset + record.timestamp
    }
  }
}

/** Calls `visit` with each batch of the file, in order, whole and with its CRC checked. */
function forEachBatch(file: number, piece: Buffer, visit: (bytes: Buffer, start: number) => void): Buffer {
  let position = 0
  for (;;) {
    const length = readSync(file, piece, 0, piece.length, position)
    let at = 0
    while (length - at >= HEADER_BYTES) {
      const end = at + 12 + piece.readInt32BE(at + LENGTH_AT)
      if (end > length) break
      checkCrc(piece, at, end)
      visit(piece, at)
      at = end
    }
    if (at === 0 && length < piece.length) return piece
    if (at === 0) piece = Buffer.allocUnsafeSlow(piece.length * 2)
    position += at
  }
}

export function scanner(directory: string, kind: ScanKind): Scanner {
  const files = logFiles(directory).map(path => openSync(path, 'r'))
  const read = readers[kind]
  const cursor = new BareCursor()
  let piece: Buffer = Buffer.allocUnsafeSlow(PIECE_BYTES)
  return {
    scan() {
      const tally = { records: 0, bytes: 0, sum: 0 }
      for (const file of files) piece = forEachBatch(file, piece, (bytes, start) => read(bytes, start, cursor, tally))
      if (tally.sum < 0) throw new Error('offsets and timestamps are not negative')
      return { records: tally.records, bytes: tally.bytes }
    },
    close() {
      for (const file of files) closeSync(file)
    }
  }
}

/** All followers take turns with one buffer: a page is consumed before the next read. */
const followed = Buffer.alloc(PIECE_BYTES)

/** Follows the one file of a directory while it grows. */
export class BareFollower {
  readonly #file: number
  readonly #cursor = new BareCursor()
  #position = 0

  constructor(directory: string) {
    this.#file = openSync(logFiles(directory)[0]!, 'r')
  }

  /** Passes over the batches that end at or below `offset`. */
  skipTo(offset: number): void {
    for (;;) {
      if (readSync(this.#file, followed, 0, HEADER_BYTES, this.#position) < HEADER_BYTES) return
      if (readOffset(followed, 0) + followed.readInt32BE(RECORD_COUNT_AT) > offset) return
      this.#position += 12 + followed.readInt32BE(LENGTH_AT)
    }
  }

  /** What one read finds of the batches that begin below `bound`; `count` is 0 if there is none. */
  next(bound: number): { firstPosition: number; count: number; bytes: number } {
    const length = readSync(this.#file, followed, 0, followed.length, this.#position)
    const cursor = this.#cursor
    const page = { firstPosition: 0, count: 0, bytes: 0 }
    let at = 0
    while (length - at >= HEADER_BYTES) {
      const end = at + 12 + followed.readInt32BE(at + LENGTH_AT)
      const offset = readOffset(followed, at)
      if (end > length || offset >= bound) break
      checkCrc(followed, at, end)
      if (page.count === 0) page.firstPosition = offset
      cursor.begin(followed, at)
      while (cursor.next()) {
        page.count += 1
        page.bytes += followed.subarray(cursor.valueStart, cursor.valueEnd).length
      }
      at = end
    }
    this.#position += at
    return page
  }

  close(): void {
    closeSync(this.#file)
  }
}

/** Reads and nothing else, piece by piece: what no scan can be faster than. Returns the bytes read. */
export function rawScanner(directory: string): Scanner {
  const files = logFiles(directory).map(path => openSync(path, 'r'))
  const piece = Buffer.allocUnsafeSlow(PIECE_BYTES)
  return {
    scan() {
      let bytes = 0
      for (const file of files) {
        for (let position = 0, length = 1; length > 0; position += length) {
          length = readSync(file, piece, 0, piece.length, position)
          bytes += length
        }
      }
      return { records: 0, bytes }
    },
    close() {
      for (const file of files) closeSync(file)
    }
  }
}

/** Where every batch lies, in order of offsets. */
interface BatchTable {
  readonly files: number[]
  readonly baseOffsets: number[]
  readonly fileOf: number[]
  readonly positions: number[]
  readonly sizes: number[]
}

function tableOf(directory: string): BatchTable {
  const files = logFiles(directory).map(path => openSync(path, 'r'))
  const table: BatchTable = { files, baseOffsets: [], fileOf: [], positions: [], sizes: [] }
  const header = Buffer.alloc(HEADER_BYTES)
  for (const [index, file] of files.entries()) {
    const end = fstatSync(file).size
    for (let position = 0; position + HEADER_BYTES <= end; ) {
      readSync(file, header, 0, HEADER_BYTES, position)
      const size = 12 + header.readInt32BE(LENGTH_AT)
      table.baseOffsets.push(readOffset(header, 0))
      table.fileOf.push(index)
      table.positions.push(position)
      table.sizes.push(size)
      position += size
    }
  }
  return table
}

/** The last batch that begins at or below `offset`. */
export function find(baseOffsets: readonly number[], offset: number): number {
  let low = 0
  let high = baseOffsets.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (baseOffsets[middle]! <= offset) low = middle + 1
    else high = middle
  }
  return low - 1
}

function readBatch(table: BatchTable, entry: number, into: Buffer): void {
  readSync(table.files[table.fileOf[entry]!]!, into, 0, table.sizes[entry]!, table.positions[entry]!)
  checkCrc(into, 0, table.sizes[entry]!)
}

/** @param cacheBytes - 0: every read goes to the file; else decoded batches are kept, and all let go when it is full. */
export function pointReader(directory: string, { cacheBytes }: { cacheBytes: number }): PointReader {
  const table = tableOf(directory)
  const cursor = new BareCursor()
  const bytes = Buffer.allocUnsafeSlow(table.sizes.reduce((largest, size) => Math.max(largest, size), HEADER_BYTES))
  const close = (): void => {
    for (const file of table.files) closeSync(file)
  }
  if (cacheBytes > 0) return { get: cachedGet(table, cacheBytes), close }
  return {
    get(offset) {
      const entry = find(table.baseOffsets, offset)
      readBatch(table, entry, bytes)
      cursor.begin(bytes, 0)
      cursor.skip(offset - table.baseOffsets[entry]!)
      cursor.next()
      return bytes.subarray(cursor.valueStart, cursor.valueEnd).length
    },
    close
  }
}

function cachedGet(table: BatchTable, cacheBytes: number): (offset: number) => number {
  const cursor = new BareCursor()
  let held = 0
  /** A batch's bytes, and where the value of each of its records begins and ends. */
  let batches: ({ bytes: Buffer; bounds: Uint32Array } | undefined)[] = []
  return offset => {
    const entry = find(table.baseOffsets, offset)
    let batch = batches[entry]
    if (batch === undefined) {
      const bytes = Buffer.allocUnsafeSlow(table.sizes[entry]!)
      readBatch(table, entry, bytes)
      const bounds = new Uint32Array(bytes.readInt32BE(RECORD_COUNT_AT) * 2)
      cursor.begin(bytes, 0)
      for (let i = 0; cursor.next(); i += 2) bounds.set([cursor.valueStart, cursor.valueEnd], i)
      held += bytes.length + bounds.byteLength
      if (held > cacheBytes) {
        batches = []
        held = bytes.length + bounds.byteLength
      }
      batches[entry] = batch = { bytes, bounds }
    }
    const i = (offset - table.baseOffsets[entry]!) * 2
    return batch.bytes.subarray(batch.bounds[i], batch.bounds[i + 1]).length
  }
}
