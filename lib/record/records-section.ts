import { isLogError, LogError } from '../util/errors.ts'
import { MiB } from '../util/sizes.ts'
import { HEADER_BYTES } from './batch-format.ts'
import type { BatchView } from './batch-view.ts'
import { decompress } from './compression/index.ts'

/** How to read the records of a batch. */
export interface DecodeOptions {
  /** Whether to check the batch's CRC first. Default true; false only where it has just been checked. */
  readonly checkCrc?: boolean
  /** Bytes that a batch may have once decompressed. Default 128 MiB. Checked before memory is allocated. */
  readonly maxDecompressedBytes?: number
  /** Bytes out per byte in, applied only above 16 MiB of output: a sound batch of zeros exceeds any small ratio. */
  readonly maxRatio?: number
}

export const DEFAULT_MAX_DECOMPRESSED_BYTES = 128 * MiB

/** The records of a batch, decompressed: `bytes[start, end)`. */
export interface RecordsSection {
  readonly bytes: Buffer
  readonly start: number
  readonly end: number
}

/**
 * The records of a batch: in place if they are plain, else decompressed into a fresh buffer, which nobody else holds.
 *
 * @throws {LogError} UNSUPPORTED_COMPRESSION_TYPE, INVALID_RECORD (not a stream of that codec), DECOMPRESSION_LIMIT
 */
export function recordsSection(batch: BatchView, options: DecodeOptions = {}): RecordsSection {
  const codec = batch.compression
  const start = batch.start + HEADER_BYTES
  // A batch that compaction has emptied keeps its compression bits and has no stream at all.
  if (codec === 'none' || start === batch.end) return { bytes: batch.bytes, start, end: batch.end }
  const { maxDecompressedBytes: maxBytes = DEFAULT_MAX_DECOMPRESSED_BYTES, maxRatio } = options
  try {
    const limits = maxRatio === undefined ? { maxBytes } : { maxBytes, maxRatio }
    const bytes = decompress(codec, batch.bytes.subarray(start, batch.end), limits)
    return { bytes, start: 0, end: bytes.length }
  } catch (error) {
    if (!isLogError(error)) throw error
    const message = `batch ${batch.baseOffset}: ${error.message}`
    throw new LogError(error.code, message, { ...error.details, baseOffset: batch.baseOffset }, error)
  }
}
