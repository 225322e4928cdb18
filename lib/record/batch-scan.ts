import { tryReadInt64 } from '../util/int64.ts'
import {
  CURRENT_MAGIC,
  HEADER_UP_TO_MAGIC,
  LENGTH_AT,
  LOG_OVERHEAD,
  MAGIC_AT,
  MAX_BATCH_BYTES,
  MIN_BATCH_LENGTH,
  MIN_OLDER_LENGTH
} from './batch-format.ts'

/**
 * What lies at a position of a log file.
 *
 * `end`: nothing, the file ends here. `incomplete`: the beginning of an entry whose rest is missing; with `need` bytes
 * from its start on, the question can be answered (`need` is the size of the entry once that is known, so it may ask
 * for more than there is memory: the caller has the bound). `corrupt`: no writer wrote this; `reason` is for people,
 * save for `'zeros'`, a header of nothing but zeros, which a crash leaves behind and recovery wants to tell apart.
 */
export type ScanResult =
  | { readonly kind: 'batch'; readonly size: number }
  | { readonly kind: 'end' }
  | { readonly kind: 'incomplete'; readonly need: number }
  | { readonly kind: 'corrupt'; readonly reason: string }

const END: ScanResult = { kind: 'end' }

/**
 * Judges the header of the entry at `start` for plausibility: length, magic, base offset. Reads 17 bytes and no more,
 * so a `batch` may still fail its CRC, and may be of magic 0 or 1.
 *
 * @param end - exclusive bound of the valid bytes.
 */
export function scanBatch(bytes: Buffer, start: number, end: number): ScanResult {
  if (start === end) return END
  if (end - start < HEADER_UP_TO_MAGIC) return { kind: 'incomplete', need: HEADER_UP_TO_MAGIC }
  const length = bytes.readInt32BE(start + LENGTH_AT)
  const magic = bytes[start + MAGIC_AT]!
  if (length <= 0 && isZeros(bytes, start)) return corrupt('zeros')
  if (magic > CURRENT_MAGIC) return corrupt(`unknown magic ${magic}`)
  const least = magic === CURRENT_MAGIC ? MIN_BATCH_LENGTH : MIN_OLDER_LENGTH
  if (length < least) return corrupt(`length ${length} is below ${least}, the least for magic ${magic}`)
  if (length > MAX_BATCH_BYTES - LOG_OVERHEAD) return corrupt(`length ${length} is more than a segment can hold`)
  const baseOffset = tryReadInt64(bytes, start)
  if (baseOffset === undefined || baseOffset < 0) {
    return corrupt(`base offset ${bytes.readBigInt64BE(start)} is outside 0 ... 2^53 - 1`)
  }
  const size = LOG_OVERHEAD + length
  return size > end - start ? { kind: 'incomplete', need: size } : { kind: 'batch', size }
}

function corrupt(reason: string): ScanResult {
  return { kind: 'corrupt', reason }
}

function isZeros(bytes: Buffer, start: number): boolean {
  for (let i = 0; i < HEADER_UP_TO_MAGIC; i++) {
    if (bytes[start + i] !== 0) return false
  }
  return true
}
