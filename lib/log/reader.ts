/**
 * Reads whole batches: from memory while the writer still holds them, else with one read of the segment file.
 *
 * A read never waits for a writer; what it may see is bounded by a watermark, taken once at its beginning. Bytes from
 * a file are handed out only after their CRC and their place in the offset chain were checked.
 */
import { scanBatch } from '../record/batch-scan.ts'
import { BatchView } from '../record/batch-view.ts'
import type { ReadRange, Segment } from '../segment/segment.ts'
import type { Clock } from '../util/clock.ts'
import { isLogError, LogError } from '../util/errors.ts'
import { KiB, MiB } from '../util/sizes.ts'
import type { LogMetrics } from './log-metrics.ts'
import type { LogState } from './log-state.ts'
import type { PageBuffer, PageOptions, StreamPlace } from './page-buffer.ts'
import type { AbortedRange, FetchResult } from './types.ts'
import { LARGEST_WARM_READ, WarmReads } from './warm-reads.ts'

export const DEFAULT_MAX_BYTES = 1 * MiB
/** One read allocates at most this, whatever `maxBytes` says. */
const MAX_READ_BYTES = 64 * MiB
/** What a batch is said to be where an index led to the middle of one. */
const DAMAGE = ['CORRUPT_LOG', 'UNSUPPORTED_FOR_MESSAGE_FORMAT'] as const

interface Found {
  readonly bytes: Buffer
  readonly baseOffset: number
  readonly nextOffset: number
}

interface FoundInFile extends Found {
  /** Position in the file behind the last batch. */
  readonly end: number
}

interface Wanted {
  readonly offset: number
  readonly bound: number
  readonly maxBytes: number
  readonly checkCrc: boolean
  readonly into: PageBuffer | undefined
  readonly place: StreamPlace | undefined
  /** The log's count when the read began. */
  readonly cuts: number
  /** Read on the calling thread what is not larger. */
  readonly mostHere: number
}

/** What was found in one read; or, without `found`, the range to read next: none without `needTo`. */
interface Slice {
  readonly found?: FoundInFile
  readonly needFrom: number
  readonly needTo?: number
}

export class Reader {
  readonly #state: LogState
  readonly #metrics: LogMetrics
  readonly #warmReads: WarmReads
  /** Apart from single reads of all logs: a scan of what is not in the page cache must not make those slow. */
  readonly #warmPages: WarmReads
  readonly #name: string
  #warmInARow = 0

  constructor(parts: { state: LogState; metrics: LogMetrics; warmReads: WarmReads; clock: Clock; name: string }) {
    this.#state = parts.state
    this.#metrics = parts.metrics
    this.#warmReads = parts.warmReads
    this.#warmPages = new WarmReads(parts.clock, { fastInARow: FAST_PAGES_IN_A_ROW })
    this.#name = parts.name
  }

  /** See `PartitionLog.read`. */
  async read(offset: number, options: PageOptions): Promise<FetchResult> {
    for (;;) {
      const { cuts } = this.#state
      try {
        const result = await this.#read(offset, options)
        if (cuts === this.#state.cuts) return result
      } catch (error) {
        if (cuts === this.#state.cuts) throw error
      }
      // The log was cut meanwhile, at one end or the other: what was found, or not found, may be of before or after.
    }
  }

  async #read(offset: number, options: PageOptions): Promise<FetchResult> {
    const state = this.#state
    this.assertInRange(offset)
    const isolation = options.isolation ?? 'read_uncommitted'
    const highWatermark = state.highWatermark
    const lastStableOffset = state.lastStableOffset
    let bound = Math.min(
      options.upTo ?? Number.POSITIVE_INFINITY,
      isolation === 'read_committed' ? lastStableOffset : highWatermark
    )
    const hole = offset < bound ? state.holes?.next(offset) : undefined
    if (hole !== undefined) {
      state.holes?.assertNone(offset)
      // What is before it is given out first; who goes on reading then meets it.
      bound = Math.min(bound, hole.fromOffset)
    }
    const { checkCrc = true, into, place } = options
    const mostHere = this.#mostHere(place)
    const maxBytes = Math.min(MAX_READ_BYTES, Math.max(1, options.maxBytes ?? DEFAULT_MAX_BYTES))
    const wanted = { offset, bound, maxBytes, checkCrc, into, place, cuts: state.cuts, mostHere }
    const found = offset < bound ? await this.#find(wanted) : undefined
    this.#metrics.reads += 1
    this.#metrics.readBytes += found?.bytes.length ?? 0
    // Where no batch is, up to the bound, there is none to come either.
    const nextOffset = found?.nextOffset ?? Math.max(offset, bound)
    const aborted = isolation === 'read_committed' ? await this.aborted(offset, nextOffset) : undefined
    return {
      batches: found?.bytes ?? EMPTY,
      baseOffset: found?.baseOffset,
      nextOffset,
      logStartOffset: state.logStartOffset,
      highWatermark,
      lastStableOffset,
      abortedTransactions: aborted
    }
  }

  /** @throws {LogError} OFFSET_OUT_OF_RANGE */
  assertInRange(offset: number): void {
    const { logStartOffset, logEndOffset } = this.#state
    if (Number.isSafeInteger(offset) && offset >= logStartOffset && offset <= logEndOffset) return
    throw new LogError(
      'OFFSET_OUT_OF_RANGE',
      `${this.#name}: offset ${offset} is outside the log, which holds ${logStartOffset} up to ${logEndOffset}. Read from one of these.`,
      { offset, logStartOffset, logEndOffset }
    )
  }

  async #find(wanted: Wanted): Promise<Found | undefined> {
    const { offset, bound, maxBytes, into } = wanted
    const fromMemory = this.#state.tail.read(offset, bound, maxBytes, into)
    if (fromMemory !== undefined) {
      this.#metrics.readsFromMemory += 1
      return fromMemory
    }
    // The list is replaced, never changed in place, so what was taken here stays whole while we wait.
    const { segments } = this.#state
    for (let i = this.#state.segmentIndexFor(offset); i < segments.length; i += 1) {
      const segment = segments[i] as Segment
      if (segment.baseOffset >= bound) return undefined
      const found = await this.#findInSegment(segment, { ...wanted, offset: Math.max(offset, segment.baseOffset) })
      if (found !== undefined) return found
      const later = this.#state.tail.read(offset, bound, maxBytes, into)
      if (later !== undefined) return later
    }
    return undefined
  }

  async #findInSegment(segment: Segment, wanted: Wanted): Promise<Found | undefined> {
    const { offset, maxBytes, place, cuts } = wanted
    const position = place?.positionOf(segment, offset, cuts)
    if (position !== undefined) {
      const found = await this.#findBehind(segment, position, wanted)
      if (found !== undefined) return found
    }
    const range = segment.locateSync(offset, maxBytes) ?? (await segment.locate(offset, maxBytes))
    try {
      return await this.#scanRange(segment, range, wanted)
    } catch (error) {
      // Derived data is no evidence against the log: what an entry of the index leads to may be wrong because the
      // entry is. The active segment's index was built by its writer, in memory.
      const isOfBytes = DAMAGE.some(code => isLogError(error, code))
      if (!isOfBytes || range.from === 0 || segment === this.#state.active) throw error
      await segment.distrustIndexes((error as LogError).message)
      return this.#scanRange(segment, await segment.locate(offset, maxBytes), wanted)
    }
  }

  /** `undefined` where the log does not simply go on there: then the index knows better. */
  async #findBehind(segment: Segment, from: number, wanted: Wanted): Promise<Found | undefined> {
    const to = Math.min(segment.size, from + wanted.maxBytes)
    try {
      const found = await this.#scanRange(segment, { from, to, lastOffset: undefined }, wanted)
      return found?.baseOffset === wanted.offset ? found : undefined
    } catch (error) {
      if (!DAMAGE.some(code => isLogError(error, code))) throw error
      return undefined
    }
  }

  async #scanRange(segment: Segment, located: ReadRange, wanted: Wanted): Promise<Found | undefined> {
    let range: Pick<ReadRange, 'from' | 'to'> = located
    let expected = located.lastOffset
    for (let step = MIN_STEP_BYTES; ; step *= 2) {
      if (range.to <= range.from) return undefined
      const buffer = wanted.into?.take(range.to - range.from) ?? Buffer.allocUnsafeSlow(range.to - range.from)
      const length = this.#readHere(segment, buffer, range.from, wanted) ?? (await segment.read(buffer, range.from))
      const bytes = length === buffer.length ? buffer : buffer.subarray(0, length)
      const slice = this.#slice(segment, bytes, range.from, expected, wanted)
      if (slice.found !== undefined) wanted.place?.moveTo(segment, slice.found.end, slice.found.nextOffset, wanted.cuts)
      if (slice.found !== undefined || slice.needTo === undefined) return slice.found
      // To pass over it would be a silent hole; and a file that ends early has no more to give, however often one asks.
      const isShort = length < buffer.length && range.from + length < segment.size
      if (slice.needTo > segment.size || isShort)
        throw this.#corrupt(segment, slice.needFrom, 'it is not all there', wanted.offset)
      // The batch that holds the offset is longer, or further behind its index entry, than expected.
      range = { from: slice.needFrom, to: Math.min(segment.size, Math.max(slice.needTo, slice.needFrom + step)) }
      expected = undefined
    }
  }

  /**
   * How large a read may be to be made on the calling thread: a small one, and a page of a stream whose last ones
   * proved to be in the page cache, spare themselves the hop to the thread pool.
   */
  #mostHere(place: StreamPlace | undefined): number {
    this.#warmInARow += 1
    const mayRead = place === undefined ? this.#warmReads.mayRead() : this.#warmPages.mayRead()
    if (mayRead && this.#warmInARow <= MOST_WARM_IN_A_ROW)
      return place === undefined ? LARGEST_WARM_READ : LARGEST_WARM_PAGE
    this.#warmInARow = 0
    return 0
  }

  #readHere(segment: Segment, target: Buffer, position: number, { mostHere, place }: Wanted): number | undefined {
    const warm = place === undefined ? this.#warmReads : this.#warmPages
    const count = target.length > mostHere ? undefined : warm.read(segment, target, position)
    if (place !== undefined) place.isWarm = count !== undefined
    return count
  }

  /** Finds the wanted batches in what was read from `position` on. */
  #slice(
    segment: Segment,
    bytes: Buffer,
    position: number,
    expected: number | undefined,
    { offset, bound, maxBytes, checkCrc }: Wanted
  ): Slice {
    let at = 0
    let start = -1
    let skipped = -1
    let firstOffset = 0
    let nextOffset = 0
    let wrong: string | undefined
    // Batches below the offset are passed over unchecked. If none has the offset, the last of them may have had it;
    // that is looked into even where the caller checks the others, for it never sees this one.
    const isHidden = (): boolean =>
      start < 0 && skipped >= 0 && !this.#batchAt(segment, bytes, skipped, position).isSound()
    while (at < bytes.length) {
      const scan = scanBatch(bytes, at, bytes.length)
      if (scan.kind === 'corrupt') wrong = scan.reason
      if (scan.kind !== 'batch') {
        if (start >= 0 || scan.kind !== 'incomplete' || isHidden()) break
        return { needFrom: position + at, needTo: position + at + scan.need }
      }
      const batch = this.#batchAt(segment, bytes, at, position)
      const { baseOffset, lastOffset } = batch
      if (at === 0 && expected !== undefined && lastOffset !== expected)
        wrong = 'it is not the one that the index names'
      // In the middle of what is handed out, a batch that seems to end below it is damaged, not passed over.
      else if (lastOffset >= offset || start >= 0) {
        if (baseOffset >= bound || (start < 0 && baseOffset > offset && isHidden())) break
        if (start >= 0 && at + batch.size - start > maxBytes) break
        if (start >= 0 && baseOffset < nextOffset) wrong = `base offset ${baseOffset} after ${nextOffset - 1}`
        else if (checkCrc && !batch.isSound()) wrong = 'its CRC does not match'
      }
      if (wrong !== undefined) break
      if (lastOffset >= offset || start >= 0) {
        if (start < 0) {
          start = at
          firstOffset = baseOffset
        }
        nextOffset = lastOffset + 1
      } else skipped = at
      at = batch.end
    }
    // What is sound in front of damage is given out first; who goes on reading then meets the damage.
    if (start >= 0)
      return {
        found: { bytes: bytes.subarray(start, at), baseOffset: firstOffset, nextOffset, end: position + at },
        needFrom: 0
      }
    if (wrong !== undefined) throw this.#corrupt(segment, position + at, wrong, offset)
    if (isHidden()) throw this.#corrupt(segment, position + skipped, 'its CRC does not match', offset)
    const isEnd = at < bytes.length || position + at >= segment.size
    return isEnd ? { needFrom: 0 } : { needFrom: position + at, needTo: position + at + 1 }
  }

  #corrupt(segment: Segment, position: number, reason: string, offset: number): LogError {
    return new LogError(
      'CORRUPT_LOG',
      `${segment.path}: the batch at byte ${position} is damaged (${reason}). Reading stops here; "heartwood dump" shows what is sound behind it.`,
      { segment: segment.baseOffset, position, offset }
    )
  }

  /** @throws {LogError} UNSUPPORTED_FOR_MESSAGE_FORMAT, where damage makes it look so, too. */
  #batchAt(segment: Segment, bytes: Buffer, at: number, position: number): BatchView {
    try {
      return new BatchView(bytes, at)
    } catch (error) {
      if (!isLogError(error)) throw error
      const where = { segment: segment.baseOffset, position: position + at }
      const message = `${segment.path}: the batch at byte ${position + at}: ${error.message}`
      throw new LogError(error.code, message, where, error)
    }
  }

  /** Aborted transactions that concern [from, upper), ascending by first offset. */
  async aborted(from: number, upper: number): Promise<readonly AbortedRange[]> {
    const { segments } = this.#state
    const ranges: AbortedRange[] = []
    if (upper <= from) return ranges
    for (let i = this.#state.segmentIndexFor(from); i < segments.length; i += 1) {
      const { entries, complete } = await (segments[i] as Segment).collectAborted(from, upper)
      for (const entry of entries) ranges.push({ producerId: entry.producerId, firstOffset: entry.firstOffset })
      if (complete) break
    }
    for (const { producerId, firstOffset, lastOffset } of this.#state.unwrittenAborts) {
      if (lastOffset >= from && firstOffset < upper) ranges.push({ producerId, firstOffset })
    }
    return ranges.sort((a, b) => a.firstOffset - b.firstOffset)
  }
}

const EMPTY = Buffer.alloc(0)
/** Where the first read was too short, at least this much is read next, and then twice that. */
const MIN_STEP_BYTES = 64 * KiB
/** A loop of reads that never wait would keep the event loop from everything else: after so many one waits. */
const MOST_WARM_IN_A_ROW = 128
/**
 * Of a stream's reads on the calling thread: a page, and what an index may be behind where a stream begins. Takes 0.1 ms
 * out of the page cache. Smaller pages stay in the processor's second-level cache, which gained nothing measurable:
 * what a read costs beside the copying takes it back.
 */
const LARGEST_WARM_PAGE = DEFAULT_MAX_BYTES + 256 * KiB
/** 32 MiB: more than what systems read ahead of a scan, so that a file which comes from a slow device is known for it. */
const FAST_PAGES_IN_A_ROW = 32
