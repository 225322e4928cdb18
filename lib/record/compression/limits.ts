import { LogError } from '../../util/errors.ts'
import { KiB, MiB } from '../../util/sizes.ts'
import type { CompressionName } from '../batch-format.ts'

/**
 * What a decompressor may produce from one payload.
 *
 * `maxBytes` - bytes of output, inclusive.
 * `maxRatio` - output bytes per input byte. Applies only to what lies above 16 MiB of output, because sound
 * batches of zeros exceed any small ratio; none when left out.
 */
export interface DecompressionLimits {
  readonly maxBytes: number
  readonly maxRatio?: number | undefined
}

/** 128 MiB a batch, no ratio. */
export const DEFAULT_DECOMPRESSION_LIMITS: DecompressionLimits = Object.freeze({ maxBytes: 128 * MiB })

/** Output up to here is never refused for its ratio. */
const RATIO_FREE_BYTES = 16 * MiB

/**
 * Memory that a payload may claim on its word. Above it a first pass, which keeps nothing, finds the true size of the
 * output before memory is taken for it, so that a lie costs time in proportion to the input but no memory.
 */
export const TRUSTED_CLAIM_BYTES = 4 * MiB

/** Size of the pieces in which streams are decompressed, bytes. */
export const CHUNK_BYTES = 64 * KiB

/** The bound in bytes that `limits` puts on the output of `inputBytes`. */
export function outputLimit(inputBytes: number, limits: DecompressionLimits): number {
  const { maxBytes, maxRatio } = limits
  if (!(maxBytes >= 0)) throw new TypeError(`maxBytes must be a number of bytes, not ${maxBytes}`)
  if (maxRatio === undefined) return Math.floor(maxBytes)
  if (!(maxRatio > 0)) throw new TypeError(`maxRatio must be above 0, not ${maxRatio}`)
  return Math.floor(Math.min(maxBytes, Math.max(RATIO_FREE_BYTES, inputBytes * maxRatio)))
}

/** The output would be, or claims to be, larger than `limit` bytes. */
export function tooLarge(codec: CompressionName, limit: number): LogError {
  return new LogError('DECOMPRESSION_LIMIT', `${codec} payload decompresses to more than ${limit} bytes`, {
    codec,
    limit
  })
}

/** The bytes are not what the codec's format asks for. */
export function invalid(codec: CompressionName, reason: string, cause?: unknown): LogError {
  return new LogError('INVALID_RECORD', `invalid ${codec} payload: ${reason}`, { codec, reason }, cause)
}
