import { crc32 } from 'node:zlib'
import { LogError } from '../util/errors.ts'
import { readInt64 } from '../util/int64.ts'
import {
  COMPRESSION_MASK,
  COMPRESSION_NAMES,
  LENGTH_AT,
  LOG_OVERHEAD,
  MAGIC_AT,
  MIN_OLDER_LENGTH,
  TIMESTAMP_TYPE_BIT,
  type TimestampType
} from './batch-format.ts'

/**
 * Message entries of magic 0 and 1, as logs from before Kafka 0.11 hold them. Only their headers, for those who look
 * at such a log; nothing else here reads them, and nothing writes them.
 *
 *     entry := offset int64      // of a compressed entry: that of its last inner message
 *              length int32      // bytes behind this field
 *              crc uint32        // CRC-32 (IEEE) of everything behind it
 *              magic int8  attributes int8
 *              timestamp int64   // magic 1 only
 *              key, value        // int32 length, -1 null; content
 *
 * @see Kafka, org.apache.kafka.common.record.LegacyRecord
 */
export interface OlderEntry {
  readonly magic: 0 | 1
  readonly offset: number
  /** Bytes of the whole entry. */
  readonly size: number
  readonly crc: number
  readonly isSound: boolean
  readonly attributes: number
  /** Name of the codec, or its number where that has no name. */
  readonly compression: string
  /** Of magic 1. */
  readonly timestamp: bigint | undefined
  readonly timestampType: TimestampType | undefined
  /** Bytes; `undefined` if null, or nonsense. */
  readonly keyBytes: number | undefined
  readonly valueBytes: number | undefined
}

const CRC_AT = LOG_OVERHEAD
const ATTRIBUTES_AT = MAGIC_AT + 1

/**
 * Reads the header of the entry at `start`, which lies wholly below `end`, as scanBatch has said.
 *
 * @throws {LogError} CORRUPT_MESSAGE if it is not an entry of magic 0 or 1, or runs past `end`.
 */
export function readOlderEntry(bytes: Buffer, start: number, end: number): OlderEntry {
  const least = LOG_OVERHEAD + MIN_OLDER_LENGTH
  if (end - start < least) throw corrupt(`${end - start} bytes are no message: it takes ${least}`, start)
  const size = LOG_OVERHEAD + bytes.readInt32BE(start + LENGTH_AT)
  const magic = bytes.readInt8(start + MAGIC_AT)
  if (magic !== 0 && magic !== 1) throw corrupt(`magic ${magic} is not 0 or 1`, start)
  const headBytes = least + (magic === 1 ? 8 : 0)
  if (size < headBytes || size > end - start) throw corrupt(`a message of ${size} bytes in ${end - start}`, start)
  const attributes = bytes.readInt8(start + ATTRIBUTES_AT)
  const crc = bytes.readUInt32BE(start + CRC_AT)
  const computed = crc32(bytes.subarray(start + MAGIC_AT, start + size))
  const codec = attributes & COMPRESSION_MASK
  const keyAt = start + ATTRIBUTES_AT + 1 + (magic === 1 ? 8 : 0)
  const keyBytes = lengthAt(bytes, keyAt, start + size)
  return {
    magic,
    offset: readInt64(bytes, start),
    size,
    crc,
    isSound: computed === crc,
    attributes,
    compression: COMPRESSION_NAMES[codec] ?? String(codec),
    timestamp: magic === 1 ? bytes.readBigInt64BE(start + ATTRIBUTES_AT + 1) : undefined,
    timestampType: magic === 0 ? undefined : typeOf(attributes),
    keyBytes,
    valueBytes: lengthAt(bytes, keyAt + 4 + (keyBytes ?? 0), start + size)
  }
}

function typeOf(attributes: number): TimestampType {
  return (attributes & TIMESTAMP_TYPE_BIT) === 0 ? 'CreateTime' : 'LogAppendTime'
}

function lengthAt(bytes: Buffer, at: number, end: number): number | undefined {
  if (end - at < 4) return undefined
  const length = bytes.readInt32BE(at)
  return length >= 0 && length <= end - at - 4 ? length : undefined
}

function corrupt(reason: string, start: number): LogError {
  return new LogError('CORRUPT_MESSAGE', reason, { start })
}
