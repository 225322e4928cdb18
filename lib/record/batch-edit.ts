/**
 * The fields of a batch that a log sets after its producer has encoded it. All of these change the bytes in place,
 * so the caller owns them.
 */
import { crc32c } from '../util/crc32c.ts'
import { writeInt64 } from '../util/int64.ts'
import {
  ATTRIBUTES_AT,
  BASE_OFFSET_AT,
  CRC_AT,
  LEADER_EPOCH_AT,
  LENGTH_AT,
  LOG_OVERHEAD,
  MAX_TIMESTAMP_AT,
  TIMESTAMP_TYPE_BIT,
  type TimestampType
} from './batch-format.ts'

/** Not under the CRC. @throws {RangeError} if `offset` is not an integer that a number holds exactly. */
export function setBaseOffset(bytes: Buffer, start: number, offset: number): void {
  writeInt64(bytes, offset, start + BASE_OFFSET_AT)
}

/** Not under the CRC. @param epoch - 0 or more, -1 unknown. */
export function setPartitionLeaderEpoch(bytes: Buffer, start: number, epoch: number): void {
  bytes.writeInt32BE(epoch, start + LEADER_EPOCH_AT)
}

/**
 * Sets who dated the batch and its largest timestamp, and computes the CRC again if either changes.
 *
 * @param maxTimestamp - milliseconds, -1 none; a bigint where a number does not hold it exactly.
 */
export function setMaxTimestampAndType(
  bytes: Buffer,
  start: number,
  maxTimestamp: number | bigint,
  timestampType: TimestampType
): void {
  const wanted = BigInt(maxTimestamp)
  const before = bytes.readInt16BE(start + ATTRIBUTES_AT)
  const attributes = timestampType === 'LogAppendTime' ? before | TIMESTAMP_TYPE_BIT : before & ~TIMESTAMP_TYPE_BIT
  if (attributes === before && bytes.readBigInt64BE(start + MAX_TIMESTAMP_AT) === wanted) return
  bytes.writeInt16BE(attributes, start + ATTRIBUTES_AT)
  bytes.writeBigInt64BE(wanted, start + MAX_TIMESTAMP_AT)
  updateCrc(bytes, start)
}

/** Computes the CRC of the batch at `start` again, after whatever was changed under it. */
export function updateCrc(bytes: Buffer, start: number): void {
  const end = start + LOG_OVERHEAD + bytes.readInt32BE(start + LENGTH_AT)
  bytes.writeUInt32BE(crc32c(bytes, start + ATTRIBUTES_AT, end), start + CRC_AT)
}
