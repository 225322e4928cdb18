/**
 * Reads single records by their offset.
 *
 * The quick way never leaves the calling thread: from the tail, from the cache of batches, or with one small read of
 * what is expected in the page cache. It knows only the case in which all is well. Whatever is missing, too long,
 * slow or odd goes the way of `Reader.read`, which knows what to make of it.
 */
import { CURRENT_MAGIC, MAGIC_AT } from '../record/batch-format.ts'
import { scanBatch } from '../record/batch-scan.ts'
import { BatchView } from '../record/batch-view.ts'
import type { LazyRecord } from '../record/lazy-record.ts'
import type { RecordCursor } from '../record/record-cursor.ts'
import type { ReadRange, Segment } from '../segment/segment.ts'
import { type BatchCache, LogBatches } from './batch-cache.ts'
import type { LogMetrics } from './log-metrics.ts'
import type { LogState } from './log-state.ts'
import type { Reader } from './reader.ts'
import type { FetchResult, GetOptions, ReadOptions } from './types.ts'
import { LARGEST_WARM_READ, type WarmReads } from './warm-reads.ts'

export interface PointReaderParts {
  readonly state: LogState
  readonly reader: Reader
  readonly metrics: LogMetrics
  readonly batchCache: BatchCache
  readonly warmReads: WarmReads
  /** The careful way: as `PartitionLog.read`. */
  readonly read: (offset: number, options: ReadOptions) => Promise<FetchResult>
}

export class PointReader {
  readonly #parts: PointReaderParts
  readonly #batches: LogBatches
  #guessesToSkip = 0
  #sinceYield = 0

  constructor(parts: PointReaderParts) {
    this.#parts = parts
    this.#batches = new LogBatches(parts.batchCache)
  }

  /** See `PartitionLog.get`. */
  get(offset: number, options: GetOptions): Promise<LazyRecord | undefined> {
    const { state, reader, metrics } = this.#parts
    const isolation = options.isolation ?? 'read_uncommitted'
    try {
      reader.assertInRange(offset)
      this.#sinceYield += 1
      if (this.#sinceYield > GETS_WITHOUT_YIELD) return this.#getLater(offset, options)
      if (offset >= state.bound(isolation)) return NOTHING
      state.holes?.assertNone(offset)
      const cursor = this.#find(offset)
      if (cursor === undefined) {
        this.#sinceYield = 0
        return this.#getCarefully(offset, options)
      }
      metrics.pointReads += 1
      if (cursor.isControl || !cursor.seek(offset)) return NOTHING
      const record = cursor.copy()
      if (isolation === 'read_committed' && cursor.isTransactional) return this.#ifCommitted(record, options)
      return Promise.resolve(record)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** A promise that is kept at once lets nothing but promises run: a loop of such reads would stop all else. */
  async #getLater(offset: number, options: GetOptions): Promise<LazyRecord | undefined> {
    this.#sinceYield = 0
    await new Promise(resolve => setImmediate(resolve))
    return this.get(offset, options)
  }

  /** The batch that holds `offset`, or the next one in a gap; `undefined` where the quick way does not find it. */
  #find(offset: number): RecordCursor | undefined {
    const { state, metrics } = this.#parts
    const inTail = state.tail.find(offset)
    if (inTail !== undefined) {
      metrics.pointReadsFromMemory += 1
      return inTail.records({ checkCrc: false })
    }
    this.#batches.seenCuts(state.cuts)
    const cached = this.#batches.find(offset)
    if (cached !== undefined) metrics.pointReadsFromMemory += 1
    return cached ?? this.#fetch(offset)
  }

  /** Reads the batch from a file that is open and, as it seems, in the page cache. */
  #fetch(offset: number): RecordCursor | undefined {
    const { state, warmReads, batchCache } = this.#parts
    if (!warmReads.mayRead()) return undefined
    const segment = state.segments[state.segmentIndexFor(offset)] as Segment
    const batch = this.#readLikely(segment, offset) ?? this.#readSound(segment, segment.locateSync(offset), offset)
    return batch === undefined ? undefined : batchCache.keep(this.#batches, batch)
  }

  /** Of large batches each has an index entry. To read that one alone is half the bytes: 4.1 us instead of 6.4. */
  #readLikely(segment: Segment, offset: number): BatchView | undefined {
    if (this.#guessesToSkip > 0) {
      this.#guessesToSkip -= 1
      return undefined
    }
    const range = segment.locateEntrySync(offset)
    if (range === undefined) return undefined
    const batch = this.#readSound(segment, range, offset)
    if (batch !== undefined && batch.baseOffset <= offset) return batch
    this.#guessesToSkip = SKIPPED_GUESSES
    return undefined
  }

  #readSound(segment: Segment, range: ReadRange | undefined, offset: number): BatchView | undefined {
    if (range === undefined) return undefined
    const length = range.to - range.from
    if (length <= 0 || length > LARGEST_WARM_READ) return undefined
    const bytes = this.#parts.batchCache.room(length)
    if (this.#parts.warmReads.read(segment, bytes, range.from) !== length) return undefined
    return soundBatch(bytes, offset, range.lastOffset)
  }

  async #getCarefully(offset: number, options: GetOptions): Promise<LazyRecord | undefined> {
    const { state, metrics, batchCache, read } = this.#parts
    const { cuts } = state
    const { isolation = 'read_uncommitted' } = options
    metrics.pointReads += 1
    const { batches, baseOffset, abortedTransactions } = await read(offset, { isolation, maxBytes: 1 })
    if (baseOffset === undefined || baseOffset > offset) return undefined
    const batch = new BatchView(batches)
    let cursor: RecordCursor
    if (cuts === state.cuts) {
      this.#batches.seenCuts(cuts)
      cursor = batchCache.keep(this.#batches, batch)
    } else cursor = batch.records({ checkCrc: false })
    if (batch.isControl || !cursor.seek(offset)) return undefined
    const isAborted = abortedTransactions?.some(range => range.producerId === batch.producerId)
    return batch.isTransactional && isAborted === true ? undefined : cursor.copy()
  }

  async #ifCommitted(record: LazyRecord, options: GetOptions): Promise<LazyRecord | undefined> {
    const { state, reader } = this.#parts
    const { cuts } = state
    const aborted = await reader.aborted(record.offset, record.offset + 1)
    if (cuts !== state.cuts) return this.get(record.offset, options)
    return aborted.some(({ producerId }) => producerId === record.producerId) ? undefined : record
  }
}

/** The batch that holds `offset`, or the next one; `undefined` if it is not there whole, or not what it should be. */
function soundBatch(bytes: Buffer, offset: number, expected: number | undefined): BatchView | undefined {
  for (let at = 0; ; ) {
    if (scanBatch(bytes, at, bytes.length).kind !== 'batch' || bytes[at + MAGIC_AT] !== CURRENT_MAGIC) return undefined
    const batch = new BatchView(bytes, at)
    if (at === 0 && expected !== undefined && batch.lastOffset !== expected) return undefined
    // Where a gap seems to be, one of those before may be damaged: the careful way finds out.
    if (batch.lastOffset >= offset)
      return batch.isSound() && (at === 0 || batch.baseOffset <= offset) ? batch : undefined
    at = batch.end
  }
}

/** After a guess that failed, which costs a read: where batches are small, nearly all fail. */
const SKIPPED_GUESSES = 32
/** Take a millisecond or two. */
const GETS_WITHOUT_YIELD = 256
const NOTHING: Promise<undefined> = Promise.resolve(undefined)
