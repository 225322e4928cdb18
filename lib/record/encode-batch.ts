import { LogError } from '../util/errors.ts'
import { BatchBuilder, type BatchFields } from './batch-builder.ts'
import { updateCrc } from './batch-edit.ts'
import {
  ATTRIBUTES_AT,
  COMPRESSION_MASK,
  COMPRESSION_NAMES,
  type CompressionName,
  HEADER_BYTES,
  LENGTH_AT,
  LOG_OVERHEAD,
  MAX_BATCH_BYTES
} from './batch-format.ts'
import { BatchView } from './batch-view.ts'
import { compress } from './compression/index.ts'
import type { RecordInput } from './record.ts'
import { type DecodeOptions, recordsSection } from './records-section.ts'

/** Like BatchFields, with what a producer sends as the defaults: base offset 0, leader epoch 0, CreateTime. */
export interface EncodeOptions extends Partial<Omit<BatchFields, 'now'>> {
  readonly now: number
  /** Default none. */
  readonly compression?: CompressionName
  /** Of the codec; its default otherwise. */
  readonly level?: number
}

/**
 * Encodes one batch into a buffer of its own.
 *
 * @throws {TypeError} for records with parts of the wrong type, or none at all.
 * @throws {LogError} RECORD_BATCH_TOO_LARGE, INVALID_TIMESTAMP, INVALID_CONFIG (level).
 */
export function encodeBatch(records: readonly RecordInput[], options: EncodeOptions): Buffer {
  if (records.length === 0) throw new TypeError('a batch has at least one record')
  const { compression = 'none', level, ...given } = options
  const bytes = Buffer.allocUnsafeSlow(BatchBuilder.sizeBound(records))
  const builder = new BatchBuilder()
  builder.begin(bytes, 0, { baseOffset: 0, leaderEpoch: 0, timestampType: 'CreateTime', ...given })
  builder.addAll(records)
  const size = builder.finish()
  const plain = bytes.subarray(0, size)
  return compression === 'none' ? plain : compressBatch(new BatchView(plain), compression, level)
}

/**
 * The same batch under another codec: same header fields, same records byte for byte, CRC computed anew. Always a
 * buffer of its own; `batch` stays as it is, and its own CRC is the caller's to have checked.
 *
 * @throws {LogError} INVALID_RECORD, DECOMPRESSION_LIMIT, UNSUPPORTED_COMPRESSION_TYPE if `batch` is compressed and
 *   cannot be decompressed; RECORD_BATCH_TOO_LARGE if the result would not be a batch.
 */
export function compressBatch(
  batch: BatchView,
  compression: CompressionName,
  level?: number,
  options?: DecodeOptions
): Buffer {
  const section = recordsSection(batch, options)
  const plain = section.bytes.subarray(section.start, section.end)
  // A batch that compaction has emptied has no stream under any codec.
  const records = compression === 'none' || plain.length === 0 ? plain : compress(compression, plain, level)
  const size = HEADER_BYTES + records.length
  if (size > MAX_BATCH_BYTES) {
    const message = `a batch of ${size} bytes; at most ${MAX_BATCH_BYTES} are possible`
    throw new LogError('RECORD_BATCH_TOO_LARGE', message, { size, limit: MAX_BATCH_BYTES })
  }
  const bytes = Buffer.allocUnsafeSlow(size)
  batch.bytes.copy(bytes, 0, batch.start, batch.start + HEADER_BYTES)
  records.copy(bytes, HEADER_BYTES)
  bytes.writeInt32BE(size - LOG_OVERHEAD, LENGTH_AT)
  const attributes = (batch.attributes & ~COMPRESSION_MASK) | COMPRESSION_NAMES.indexOf(compression)
  bytes.writeInt16BE(attributes, ATTRIBUTES_AT)
  updateCrc(bytes, 0)
  return bytes
}
