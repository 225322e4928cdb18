/**
 * Tells a torn tail from corruption.
 *
 * With a durable watermark that is simple: what lies at or above it was never promised, what lies below was. Without
 * one (only another engine wrote here) the bytes behind the damage decide. A crash leaves nothing sound behind the
 * place where it struck, so a sound batch there means that the damage happened to what was complete once.
 *
 * "A sound batch behind the damage"
 *   D1  starts at any later byte: the damage may have shifted or cut the bytes;
 *   D2  has magic 2, a right CRC, and a base offset above the last sound one and below that + 2^31;
 *   D3  is followed by another such batch or by the end of the file (zeros up to the end count as the end), because
 *       a record's value may itself hold the bytes of a batch;
 *   D4  does not lie inside the extent that the damaged batch declares, unless the length it declares is impossible,
 *       for the same reason.
 */
import {
  HEADER_BYTES,
  LAST_OFFSET_DELTA_AT,
  LENGTH_AT,
  LOG_OVERHEAD,
  MAGIC_AT,
  MIN_BATCH_LENGTH,
  RECORD_COUNT_AT
} from '../record/batch-format.ts'
import { BatchView } from '../record/batch-view.ts'
import { tryReadInt64 } from '../util/int64.ts'
import { GiB, MiB } from '../util/sizes.ts'
import type { ByteSource, Damage } from './recovery-scan.ts'

const WINDOW_BYTES = 1 * MiB
const OFFSET_RANGE = 2 ** 31
/** Candidates are checksummed up to this many bytes beyond a multiple of what is searched. */
const CHECKED_BYTES_FLOOR = 1 * GiB
const CHECKED_BYTES_FACTOR = 16

export interface SoundBatch {
  readonly position: number
  readonly baseOffset: number
  readonly lastOffset: number
}

export interface SearchOptions {
  /** First byte that a candidate may start at. */
  readonly from: number
  /** Exclusive: the file's size. */
  readonly to: number
  /** Least base offset of a candidate. */
  readonly nextOffset: number
}

/** First byte behind the damage at which a sound batch would count (D4). */
export function searchFrom(damage: Damage): number {
  return damage.declaredEnd ?? damage.position + 1
}

/**
 * The first sound batch (D1-D3) in a range of a file.
 *
 * The work is bounded: bytes made to look like ever new candidates are not checked for ever. When the bound is met the
 * next candidate is taken at its word, because what cannot be told from a sound batch must not be cut off.
 */
export async function findSoundBatch(source: ByteSource, options: SearchOptions): Promise<SoundBatch | undefined> {
  return new Search(source, options).run()
}

class Search {
  readonly #source: ByteSource
  readonly #options: SearchOptions
  #budget: number

  constructor(source: ByteSource, options: SearchOptions) {
    this.#source = source
    this.#options = options
    this.#budget = CHECKED_BYTES_FLOOR + CHECKED_BYTES_FACTOR * Math.max(0, options.to - options.from)
  }

  async run(): Promise<SoundBatch | undefined> {
    const { from, to } = this.#options
    const window = Buffer.allocUnsafeSlow(Math.max(0, Math.min(WINDOW_BYTES, to - from)))
    for (let at = from; at + HEADER_BYTES <= to; ) {
      const wanted = Math.min(window.length, to - at)
      const length = await this.#source.read(window.subarray(0, wanted), at)
      const last = length - HEADER_BYTES
      for (let start = nextMagic(window, 0, last); start >= 0; start = nextMagic(window, start + 1, last)) {
        if (!this.#isPlausible(window, start, at + start, this.#options.nextOffset)) continue
        const found = await this.#confirm(at + start)
        if (found !== undefined) return found
      }
      if (length < wanted || last < 0) return undefined
      at += last + 1
    }
    return undefined
  }

  /** Header checks that need no checksum. */
  #isPlausible(bytes: Buffer, start: number, position: number, nextOffset: number): boolean {
    const length = bytes.readInt32BE(start + LENGTH_AT)
    if (length < MIN_BATCH_LENGTH || position + LOG_OVERHEAD + length > this.#options.to) return false
    if (bytes.readInt32BE(start + LAST_OFFSET_DELTA_AT) < 0 || bytes.readInt32BE(start + RECORD_COUNT_AT) < 0)
      return false
    const baseOffset = tryReadInt64(bytes, start)
    return baseOffset !== undefined && baseOffset >= nextOffset && baseOffset < nextOffset + OFFSET_RANGE
  }

  async #confirm(position: number): Promise<SoundBatch | undefined> {
    const batch = await this.#soundAt(position, this.#options.nextOffset)
    if (batch === undefined) return undefined
    const end = position + batch.size
    const followed = (await this.#isEnd(end)) || (await this.#soundAt(end, batch.nextOffset)) !== undefined
    return followed ? { position, baseOffset: batch.baseOffset, lastOffset: batch.lastOffset } : undefined
  }

  async #soundAt(position: number, nextOffset: number): Promise<BatchView | undefined> {
    const header = await this.#readAll(position, HEADER_BYTES)
    if (header === undefined || header[MAGIC_AT] !== 2) return undefined
    if (!this.#isPlausible(header, 0, position, nextOffset)) return undefined
    const size = LOG_OVERHEAD + header.readInt32BE(LENGTH_AT)
    const bytes = await this.#readAll(position, size)
    if (bytes === undefined) return undefined
    const batch = new BatchView(bytes)
    this.#budget -= size
    return this.#budget < 0 || batch.isSound() ? batch : undefined
  }

  /** True if nothing but zeros lies from `position` on. */
  async #isEnd(position: number): Promise<boolean> {
    return isZerosBetween(this.#source, position, this.#options.to)
  }

  async #readAll(position: number, length: number): Promise<Buffer | undefined> {
    if (position + length > this.#options.to) return undefined
    const bytes = Buffer.allocUnsafeSlow(length)
    const count = await this.#source.read(bytes, position)
    return count === length ? bytes : undefined
  }
}

/** Start of the next 61 bytes that have magic 2 in their place; -1 if there are none up to `last`. */
function nextMagic(bytes: Buffer, from: number, last: number): number {
  if (from > last) return -1
  const at = bytes.indexOf(2, from + MAGIC_AT)
  const start = at - MAGIC_AT
  return at < 0 || start > last ? -1 : start
}

/** True if there are bytes up to `to`, and all of them are zeros. */
export async function isZerosBetween(source: ByteSource, from: number, to: number): Promise<boolean> {
  const window = Buffer.allocUnsafeSlow(Math.max(0, Math.min(WINDOW_BYTES, to - from)))
  for (let at = from; at < to; at += window.length) {
    const wanted = window.subarray(0, Math.min(window.length, to - at))
    if ((await source.read(wanted, at)) !== wanted.length || !isZeros(wanted)) return false
  }
  return true
}

const ZEROS = Buffer.alloc(64 * 1024)

/** True if `bytes` holds nothing but zeros. */
export function isZeros(bytes: Buffer): boolean {
  for (let at = 0; at < bytes.length; at += ZEROS.length) {
    const part = bytes.subarray(at, at + ZEROS.length)
    if (!part.equals(part.length === ZEROS.length ? ZEROS : ZEROS.subarray(0, part.length))) return false
  }
  return true
}
