import { LogError } from '../../util/errors.ts'
import type { CompressionName } from '../batch-format.ts'
import { compressGzip, decompressGzip, decompressGzipStream } from './gzip.ts'
import { assertCompressionLevel } from './levels.ts'
import { type DecompressionLimits, outputLimit } from './limits.ts'
import { compressLz4, decompressLz4, decompressLz4Stream } from './lz4.ts'
import { pieceSource } from './pieces.ts'
import { compressSnappy, decompressSnappy, decompressSnappyStream } from './snappy.ts'
import { compressZstd, decompressZstd, decompressZstdStream } from './zstd.ts'

export { assertCompressionLevel, COMPRESSION_LEVELS } from './levels.ts'
export { DEFAULT_DECOMPRESSION_LIMITS, type DecompressionLimits } from './limits.ts'

/**
 * Compresses what follows a batch's header, in the form that Kafka's Java client writes.
 *
 * @param bytes - any number, none included; not changed.
 * @param level - within Kafka's bounds for the codec; its default when left out. lz4: all levels give the same.
 * @returns bytes of the caller's own; for `none` `bytes` itself. Never empty, except for `none`.
 * @throws {LogError} INVALID_CONFIG if the codec has no such level.
 * @throws {LogError} UNSUPPORTED_COMPRESSION_TYPE if the codec is unknown, or zstd is missing here.
 * @see lib/FORMAT.md, compression of the records section
 */
export function compress(name: CompressionName, bytes: Buffer, level?: number): Buffer {
  assertCompressionLevel(name, level)
  switch (name) {
    case 'none':
      return bytes
    case 'gzip':
      return compressGzip(bytes, level)
    case 'snappy':
      return compressSnappy(bytes)
    case 'lz4':
      return compressLz4(bytes)
    case 'zstd':
      return compressZstd(bytes, level)
    default:
      throw unknownCodec(name)
  }
}

/**
 * Decompresses a batch's payload, all of it: what any Kafka client writes is read, and anything behind the end of the
 * compressed stream is refused.
 *
 * Memory is taken for output that is there, or of which at most 4 MiB are claimed; never for a claim above the bound.
 *
 * @param limits - bounds on the output, inclusive.
 * @returns bytes of the caller's own; for `none` `bytes` itself, unbounded: it is in memory already.
 * @throws {LogError} DECOMPRESSION_LIMIT {codec, limit} if the output is, or says that it is, above the bound; also if a
 *   zstd frame needs a window above 128 MiB.
 * @throws {LogError} INVALID_RECORD {codec, reason} if the bytes are broken, cut off, empty, or more than a stream.
 * @throws {LogError} UNSUPPORTED_COMPRESSION_TYPE if the codec is unknown, or zstd is missing here.
 */
export function decompress(name: CompressionName, bytes: Buffer, limits: DecompressionLimits): Buffer {
  const limit = outputLimit(bytes.length, limits)
  switch (name) {
    case 'none':
      return bytes
    case 'gzip':
      return decompressGzip(bytes, limit)
    case 'snappy':
      return decompressSnappy(bytes, limit)
    case 'lz4':
      return decompressLz4(bytes, limit)
    case 'zstd':
      return decompressZstd(bytes, limit)
    default:
      throw unknownCodec(name)
  }
}

export interface StreamOptions {
  /**
   * Lends each piece until the next is asked for, then overwrites it, so that any stream takes the memory of one piece.
   * Otherwise pieces are the caller's own, and Node may let a hundred megabytes of them gather before it collects.
   */
  readonly reuse?: boolean
}

/**
 * The same in pieces, none of them empty, decoded as they are asked for: 64 KiB for gzip and zstd, a block for lz4 and
 * snappy. Two exceptions hold the whole output, within the bound: a bare snappy block, and zstd on Node < 22.15.
 *
 * Errors come when decoding gets to them, so pieces before them have been handed out; checksums come last. Whoever
 * stops early must end the iteration (`break` in `for...of` does).
 *
 * @throws {LogError} as `decompress`, while iterating.
 */
export function decompressStream(
  name: CompressionName,
  bytes: Buffer,
  limits: DecompressionLimits,
  { reuse = false }: StreamOptions = {}
): Iterable<Buffer> {
  const limit = outputLimit(bytes.length, limits)
  const source = pieceSource(reuse)
  switch (name) {
    case 'none':
      return bytes.length === 0 ? [] : [bytes]
    case 'gzip':
      return decompressGzipStream(bytes, limit, source)
    case 'snappy':
      return decompressSnappyStream(bytes, limit, source)
    case 'lz4':
      return decompressLz4Stream(bytes, limit, source)
    case 'zstd':
      return decompressZstdStream(bytes, limit, source)
    default:
      throw unknownCodec(name)
  }
}

function unknownCodec(name: never): LogError {
  return new LogError('UNSUPPORTED_COMPRESSION_TYPE', `unknown compression codec ${String(name)}`, {
    codec: String(name)
  })
}
