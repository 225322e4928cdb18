/**
 * Batches that were looked into lately, for reading single records: one block of memory for all logs of a store.
 *
 * The block is a ring: a new batch overwrites the oldest ones, used or not, so that a hit costs no bookkeeping and a
 * miss no allocation. What is still wanted comes back from the page cache for a few microseconds. Compressed batches
 * lie here decompressed.
 *
 * A batch gets in when it is looked into for the second time. Where a log is much larger than the cache most batches
 * are not looked into again before they would go, and to put each in costs a third as much as reading it.
 *
 * Invariants:
 *   B1  A batch gets here only after its CRC was checked, and is not changed as long as it is found here.
 *   B2  No view of this memory leaves: callers get copies of records.
 *   B3  Nothing is found that was put in before the log was last cut.
 */
import { ATTRIBUTES_AT, COMPRESSION_MASK } from '../record/batch-format.ts'
import { BatchView } from '../record/batch-view.ts'
import type { RecordCursor } from '../record/record-cursor.ts'
import { assert } from '../util/assert.ts'
import { KiB, MiB } from '../util/sizes.ts'

export const DEFAULT_BATCH_CACHE_BYTES = 8 * MiB
const LEAST_BYTES = 1 * MiB
const MOST_BYTES = 32 * MiB
const LEAST_SCRATCH_BYTES = 32 * KiB
/** Batches held at once, however small they are. */
const MOST_BATCHES = 8192
/** One batch takes at most this share: what is larger is not kept. */
const LARGEST_SHARE = 1 / 8
/** How many of the batches that were looked into once are remembered. A power of two. */
const REMEMBERED = 4096
/** A batch is "looked into again" within as many misses as the cache holds batches of its size, times this. */
const PATIENCE = 2

interface CachedBatch {
  readonly owner: LogBatches
  readonly baseOffset: number
  readonly lastOffset: number
  readonly start: number
  readonly cursor: RecordCursor
}

export class BatchCache {
  readonly maxBytes: number
  /** Taken when the first batch comes: most programs never read a single record. */
  #memory: Buffer | undefined
  /** What is read is judged here: memory that is used for each miss is in the processor's cache. */
  #scratch: Buffer | undefined
  /** Of batches that were looked into once: base offsets, wherever their hash says, and the misses until then. */
  #seenBases: Float64Array | undefined
  #seenAt: Float64Array | undefined
  #misses = 0
  /** Where the next batch goes. */
  #head = 0
  /** By sequence number modulo their count; those from `#oldest` up to `#next` are held, in the order of the ring. */
  readonly #batches: (CachedBatch | undefined)[] = []
  #oldest = 0
  #next = 0

  /** @param options.maxBytes - of memory; 8 MiB by default, from 1 to 32 MiB. */
  constructor({ maxBytes = DEFAULT_BATCH_CACHE_BYTES }: { maxBytes?: number } = {}) {
    if (!Number.isInteger(maxBytes) || maxBytes < LEAST_BYTES || maxBytes > MOST_BYTES)
      throw new TypeError(`the cache of batches takes ${LEAST_BYTES} to ${MOST_BYTES} bytes, not ${maxBytes}`)
    this.maxBytes = maxBytes
  }

  /** Batches held now, those of logs that were cut since included. */
  get count(): number {
    return this.#next - this.#oldest
  }

  /** Memory to read a batch into before it is judged: valid until the next call. At most an eighth of the cache. */
  room(bytes: number): Buffer {
    assert(bytes <= this.maxBytes * LARGEST_SHARE, 'one read takes a small share of the cache')
    if (this.#scratch === undefined || this.#scratch.length < bytes)
      this.#scratch = Buffer.allocUnsafeSlow(Math.max(LEAST_SCRATCH_BYTES, bytes))
    return this.#scratch.subarray(0, bytes)
  }

  /**
   * Keeps a batch, if it is looked into again and is not too large.
   *
   * @param batch - sound (B1); lies in the last `room`, or anywhere else. Copied from there.
   * @returns a cursor over its records, valid until the next call.
   * @throws {LogError} UNSUPPORTED_COMPRESSION_TYPE, INVALID_RECORD, DECOMPRESSION_LIMIT, as `batch.records`.
   */
  keep(owner: LogBatches, batch: BatchView): RecordCursor {
    const { baseOffset } = batch
    const isPlain = batch.compression === 'none'
    // To decompress once more costs far more than to keep.
    if (isPlain && !this.#isSeenAgain(baseOffset, batch.size)) return batch.records({ checkCrc: false })
    const found = owner.find(baseOffset)
    if (found !== undefined) return found
    const plain = isPlain ? batch : decompressed(batch)
    const cursor = plain.size > this.maxBytes * LARGEST_SHARE ? undefined : this.#put(owner, plain)
    return cursor ?? plain.records({ checkCrc: false })
  }

  /** Two batches may share a place, and two logs a base offset: then one gets in late, or early. */
  #isSeenAgain(baseOffset: number, bytes: number): boolean {
    this.#seenBases ??= new Float64Array(REMEMBERED).fill(-1)
    this.#seenAt ??= new Float64Array(REMEMBERED)
    this.#misses += 1
    const place = (Math.imul(baseOffset, 0x9e3779b1) >>> 16) & (REMEMBERED - 1)
    const since = this.#misses - (this.#seenAt[place] as number)
    const isAgain = this.#seenBases[place] === baseOffset && since * bytes <= PATIENCE * this.maxBytes
    this.#seenBases[place] = baseOffset
    this.#seenAt[place] = this.#misses
    return isAgain
  }

  /** @internal For `LogBatches`: the batch of a sequence number that it was given. */
  at(sequence: number): CachedBatch {
    return this.#batches[sequence % MOST_BATCHES] as CachedBatch
  }

  #put(owner: LogBatches, batch: BatchView): RecordCursor {
    const { size } = batch
    const memory = this.#makeRoom(size)
    const start = this.#head
    batch.bytes.copy(memory, start, batch.start, batch.start + size) // may overlap: copy minds that
    const kept = new BatchView(memory, start)
    const cursor = kept.records({ checkCrc: false })
    const { baseOffset, lastOffset } = kept
    this.#batches[this.#next % MOST_BATCHES] = { owner, baseOffset, lastOffset, start, cursor }
    owner.add(baseOffset, this.#next)
    this.#next += 1
    this.#head = start + size
    return cursor
  }

  /** Overwritten from here on is `[#head, #head + bytes)`. */
  #makeRoom(bytes: number): Buffer {
    this.#memory ??= Buffer.allocUnsafeSlow(this.maxBytes)
    if (this.#head + bytes > this.maxBytes) {
      while (this.count > 0 && this.at(this.#oldest).start >= this.#head) this.#dropOldest()
      this.#head = 0
    }
    const end = this.#head + bytes
    while (this.count > 0 && this.at(this.#oldest).start >= this.#head && this.at(this.#oldest).start < end)
      this.#dropOldest()
    if (this.count === MOST_BATCHES) this.#dropOldest()
    return this.#memory
  }

  #dropOldest(): void {
    const { owner, baseOffset } = this.at(this.#oldest)
    owner.remove(baseOffset, this.#oldest)
    this.#batches[this.#oldest % MOST_BATCHES] = undefined
    this.#oldest += 1
  }
}

const NO_NUMBERS = new Float64Array(0)
const LEAST_NUMBERS = 16

/** What the cache holds of one log. */
export class LogBatches {
  readonly #cache: BatchCache
  #cuts = 0
  /** Base offsets in ascending order, and the sequence number of each in the cache. */
  #bases = NO_NUMBERS
  #sequences = NO_NUMBERS
  #count = 0

  constructor(cache: BatchCache) {
    this.#cache = cache
  }

  /** Called before anything is looked up or kept (B3). */
  seenCuts(cuts: number): void {
    if (cuts === this.#cuts) return
    this.#cuts = cuts
    this.#count = 0
  }

  /** A cursor over the batch that holds `offset`, standing anywhere; valid until the next batch is kept. */
  find(offset: number): RecordCursor | undefined {
    const at = this.#countAtOrBelow(offset) - 1
    if (at < 0) return undefined
    const batch = this.#cache.at(this.#sequences[at] as number)
    return offset <= batch.lastOffset ? batch.cursor : undefined
  }

  /** @internal For `BatchCache`. */
  add(baseOffset: number, sequence: number): void {
    if (this.#count === this.#bases.length) {
      this.#bases = doubled(this.#bases)
      this.#sequences = doubled(this.#sequences)
    }
    const at = this.#countAtOrBelow(baseOffset)
    this.#bases.copyWithin(at + 1, at, this.#count)
    this.#sequences.copyWithin(at + 1, at, this.#count)
    this.#bases[at] = baseOffset
    this.#sequences[at] = sequence
    this.#count += 1
  }

  /** @internal For `BatchCache`. */
  remove(baseOffset: number, sequence: number): void {
    const at = this.#countAtOrBelow(baseOffset) - 1
    // Forgotten already by a cut; another batch may have the offset now.
    if (at < 0 || this.#sequences[at] !== sequence) return
    this.#bases.copyWithin(at, at + 1, this.#count)
    this.#sequences.copyWithin(at, at + 1, this.#count)
    this.#count -= 1
  }

  #countAtOrBelow(offset: number): number {
    let low = 0
    let high = this.#count // [0, low) begin at or below offset; [high, count) begin above it
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#bases[middle] as number) <= offset) low = middle + 1
      else high = middle
    }
    return low
  }
}

function doubled(numbers: Float64Array<ArrayBuffer>): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(Math.max(LEAST_NUMBERS, numbers.length * 2))
  larger.set(numbers)
  return larger
}

/** The same batch with its records as they were before they were compressed. */
function decompressed(batch: BatchView): BatchView {
  const { bytes } = batch.records({ checkCrc: false })
  const plain = batch.copyWith(bytes, 0, bytes.length)
  plain.bytes.writeInt16BE(plain.attributes & ~COMPRESSION_MASK, ATTRIBUTES_AT)
  return plain
}
