/**
 * Producer snapshot: the state of all producers of a partition up to an offset, which is the file's name.
 *
 * Format (big-endian), in `<offset, 20 digits>.snapshot`:
 *
 *     snapshot := version: int16            // 1
 *                 crc:     uint32           // CRC-32C of everything behind this field
 *                 count:   int32
 *                 entry * count             // in no particular order
 *     entry    := producerId:            int64
 *                 epoch:                 int16
 *                 lastSequence:          int32   // -1 no batch of this epoch
 *                 lastOffset:            int64   // of the last data batch; -1 none
 *                 offsetDelta:           int32   // its last offset - its first offset; 0 where there is none
 *                 timestamp:             int64   // of the last batch or marker; -1 none
 *                 coordinatorEpoch:      int32   // of the last marker; -1 none
 *                 currentTxnFirstOffset: int64   // -1 no transaction is open
 *
 * Invariants:
 *   S1  Of the remembered batches only the last survives; its timestamp is taken to be the entry's.
 *   S2  Derived data: whatever is wrong with a snapshot, an older one and the log replace it.
 *
 * Pure: no I/O here. Same bytes as Kafka's ProducerSnapshot version 1 (format notes, "Producer snapshot").
 */
import { crc32c } from '../util/crc32c.ts'
import { type ErrorDetails, LogError } from '../util/errors.ts'
import { nearestInt64, readInt64, tryReadInt64, writeInt64 } from '../util/int64.ts'
import { ProducerEntry, type ProducerId } from './producer-entry.ts'

const VERSION = 1
const HEADER_BYTES = 10
const ENTRY_BYTES = 46
const CRC_AT = 2
const COUNT_AT = 6
/** Where what the CRC covers begins. */
const COVERED_FROM = 6

/** Five million producers. A larger file is refused before it is read. */
export const MAX_SNAPSHOT_BYTES = 256 * 1024 * 1024

/**
 * @throws {LogError} UNSUPPORTED_VERSION if it is of a version that this library does not know.
 * @throws {LogError} CORRUPT_FILE if the CRC is wrong, bytes are missing or left over, or numbers are impossible.
 */
export function parseProducerSnapshot(bytes: Buffer): ProducerEntry[] {
  if (bytes.length < HEADER_BYTES) throw corrupt('is shorter than its header', { bytes: bytes.length })
  const version = bytes.readInt16BE(0)
  if (version !== VERSION) {
    throw new LogError('UNSUPPORTED_VERSION', `a producer snapshot of version ${version} cannot be read`, { version })
  }
  const stored = bytes.readUInt32BE(CRC_AT)
  const computed = crc32c(bytes, COVERED_FROM, bytes.length)
  if (stored !== computed) throw corrupt('has a wrong CRC', { stored, computed })
  const count = bytes.readInt32BE(COUNT_AT)
  if (count < 0 || HEADER_BYTES + count * ENTRY_BYTES !== bytes.length) {
    throw corrupt('is not as long as its number of entries says', { count, bytes: bytes.length })
  }
  const entries = new Map<ProducerId, ProducerEntry>()
  for (let at = HEADER_BYTES; at < bytes.length; at += ENTRY_BYTES) {
    const entry = parseEntry(bytes, at)
    if (entries.has(entry.producerId)) throw corrupt('has a producer id twice', { producerId: entry.producerId })
    entries.set(entry.producerId, entry)
  }
  return [...entries.values()]
}

export function formatProducerSnapshot(entries: Iterable<ProducerEntry>): Buffer {
  const all = [...entries]
  const bytes = Buffer.alloc(HEADER_BYTES + all.length * ENTRY_BYTES)
  bytes.writeInt16BE(VERSION, 0)
  bytes.writeInt32BE(all.length, COUNT_AT)
  all.forEach((entry, index) => {
    writeEntry(bytes, HEADER_BYTES + index * ENTRY_BYTES, entry)
  })
  bytes.writeUInt32BE(crc32c(bytes, COVERED_FROM, bytes.length), CRC_AT)
  return bytes
}

function parseEntry(bytes: Buffer, at: number): ProducerEntry {
  const producerId = tryReadInt64(bytes, at) ?? bytes.readBigInt64BE(at)
  const currentTxnFirstOffset = notNegative(exact(bytes, at + 38))
  const lastSequence = bytes.readInt32BE(at + 10)
  const lastOffset = exact(bytes, at + 14)
  const offsetDelta = bytes.readInt32BE(at + 22)
  const timestamp = notNegative(nearestInt64(bytes, at + 26))
  const openTransaction = currentTxnFirstOffset !== undefined
  const badId = producerId < 0 || (openTransaction && typeof producerId === 'bigint')
  if (badId || offsetDelta < 0 || (lastOffset >= 0 && lastOffset < offsetDelta)) {
    throw corrupt('has an impossible entry', { producerId, lastOffset, offsetDelta })
  }
  return new ProducerEntry({
    producerId,
    epoch: bytes.readInt16BE(at + 8),
    lastBatch: lastOffset < 0 ? undefined : { lastSequence, lastOffset, offsetDelta, timestamp },
    lastTimestamp: timestamp,
    coordinatorEpoch: notNegative(bytes.readInt32BE(at + 34)),
    currentTxnFirstOffset
  })
}

function writeEntry(bytes: Buffer, at: number, entry: ProducerEntry): void {
  const last = entry.lastBatch
  bytes.writeBigInt64BE(BigInt(entry.producerId), at)
  bytes.writeInt16BE(entry.epoch, at + 8)
  bytes.writeInt32BE(last?.lastSequence ?? -1, at + 10)
  writeInt64(bytes, last?.lastOffset ?? -1, at + 14)
  bytes.writeInt32BE(last?.offsetDelta ?? 0, at + 22)
  writeTimestamp(bytes, entry.lastTimestamp, at + 26)
  bytes.writeInt32BE(entry.coordinatorEpoch ?? -1, at + 34)
  writeInt64(bytes, entry.currentTxnFirstOffset ?? -1, at + 38)
}

/** A timestamp may be beyond 2^53 (nanoseconds); it serves expiry only, so that the nearest number will do. */
function writeTimestamp(bytes: Buffer, timestamp: number | undefined, at: number): void {
  if (timestamp === undefined || Number.isSafeInteger(timestamp)) writeInt64(bytes, timestamp ?? -1, at)
  else bytes.writeBigInt64BE(clampToInt64(BigInt(timestamp)), at)
}

const clampToInt64 = (value: bigint): bigint => (value >= 1n << 63n ? (1n << 63n) - 1n : value)

const notNegative = (value: number): number | undefined => (value < 0 ? undefined : value)

function exact(bytes: Buffer, at: number): number {
  try {
    return readInt64(bytes, at)
  } catch (cause) {
    throw corrupt('has a number beyond 2^53 - 1', { at }, cause)
  }
}

function corrupt(what: string, details: ErrorDetails, cause?: unknown): LogError {
  return new LogError('CORRUPT_FILE', `the producer snapshot ${what}`, details, cause)
}
