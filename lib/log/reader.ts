/**
 * Reads whole batches: from memory while the writer still holds them, else with one read of the segment file.
 *
 * A read never waits for a writer; what it may see is bounded by a watermark, taken once at its beginning. Bytes from
 * a file are handed out only after their CRC and their place in the offset chain were checked.
 */
import { scanBatch } from '../record/batch-scan.ts'
import { BatchView } from '../record/batch-view.ts'
import type { ReadRange, Segment } from '../segment/segment.ts'
import { isLogError, LogError } from '../util/errors.ts'
import { KiB, MiB } from '../util/sizes.ts'
import type { LogMetrics } from './log-metrics.ts'
import type { LogState } from './log-state.ts'
import type { PageBuffer, PageOptions } from './page-buffer.ts'
import type { AbortedRange, FetchResult } from './types.ts'
import { LARGEST_WARM_READ, type WarmReads } from './warm-reads.ts'

export const DEFAULT_MAX_BYTES = 1 * MiB
/** One read allocates at most this, whatever `maxBytes` says. */
const MAX_READ_BYTES = 64 * MiB

interface Found {
  readonly bytes: Buffer
  readonly baseOffset: number
  readonly nextOffset: number
}

interface Wanted {
  readonly offset: number
  readonly bound: number
  readonly maxBytes: number
  readonly checkCrc: boolean
  readonly into: PageBuffer | undefined
}

/** What was found in one read; or, without `found`, the range to read next: none without `needTo`. */
interface Slice {
  readonly found?: Found
  readonly needFrom: number
  readonly needTo?: number
}

export class Reader {
  readonly #state: LogState
  readonly #metrics: LogMetrics
  readonly #warmReads: WarmReads
  readonly #name: string
  #warmInARow = 0

  constructor(parts: { state: LogState; metrics: LogMetrics; warmReads: WarmReads; name: string }) {
    this.#state = parts.state
    this.#metrics = parts.metrics
    this.#warmReads = parts.warmReads
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
    const bound = Math.min(
      options.upTo ?? Number.POSITIVE_INFINITY,
      isolation === 'read_committed' ? lastStableOffset : highWatermark
    )
    const maxBytes = Math.min(MAX_READ_BYTES, Math.max(1, options.maxBytes ?? DEFAULT_MAX_BYTES))
    const { checkCrc = true, into } = options
    const found = offset < bound ? await this.#find({ offset, bound, maxBytes, checkCrc, into }) : undefined
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
    const { offset, maxBytes } = wanted
    const range = segment.locateSync(offset, maxBytes) ?? (await segment.locate(offset, maxBytes))
    try {
      return await this.#scanRange(segment, range, wanted)
    } catch (error) {
      // Derived data is no evidence against the log: what an entry of the index leads to may be wrong because the
      // entry is. The active segment's index was built by its writer, in memory.
      if (!isLogError(error, 'CORRUPT_LOG') || range.from === 0 || segment === this.#state.active) throw error
      await segment.distrustIndexes(error.message)
      return this.#scanRange(segment, await segment.locate(offset, maxBytes), wanted)
    }
  }

  async #scanRange(segment: Segment, located: ReadRange, wanted: Wanted): Promise<Found | undefined> {
    let range: Pick<ReadRange, 'from' | 'to'> = located
    let expected = located.lastOffset
    for (let step = MIN_STEP_BYTES; ; step *= 2) {
      if (range.to <= range.from) return undefined
      const buffer = wanted.into?.take(range.to - range.from) ?? Buffer.allocUnsafeSlow(range.to - range.from)
      const length = this.#readWarm(segment, buffer, range.from) ?? (await segment.read(buffer, range.from))
      const bytes = length === buffer.length ? buffer : buffer.subarray(0, length)
      const slice = this.#slice(segment, bytes, range.from, expected, wanted)
      if (slice.found !== undefined || slice.needTo === undefined) return slice.found
      // To pass over it would be a silent hole.
      if (slice.needTo > segment.size)
        throw this.#corrupt(segment, slice.needFrom, 'it is not all there', wanted.offset)
      // The batch that holds the offset is longer, or further behind its index entry, than expected.
      range = { from: slice.needFrom, to: Math.min(segment.size, Math.max(slice.needTo, slice.needFrom + step)) }
      expected = undefined
    }
  }

  /** A small read spares itself the hop to the thread pool, where that is most of its time. */
  #readWarm(segment: Segment, target: Buffer, position: number): number | undefined {
    this.#warmInARow += 1
    if (target.length > LARGEST_WARM_READ || this.#warmInARow > MOST_WARM_IN_A_ROW || !this.#warmReads.mayRead()) {
      this.#warmInARow = 0
      return undefined
    }
    return this.#warmReads.read(segment, target, position)
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
    let baseOffset = 0
    let nextOffset = 0
    let wrong: string | undefined
    while (at < bytes.length) {
      const scan = scanBatch(bytes, at, bytes.length)
      if (scan.kind === 'corrupt') wrong = scan.reason
      if (scan.kind !== 'batch') {
        if (start >= 0 || scan.kind !== 'incomplete') break
        return { needFrom: position + at, needTo: position + at + scan.need }
      }
      const batch = new BatchView(bytes, at)
      if (at === 0 && expected !== undefined && batch.lastOffset !== expected)
        wrong = 'it is not the one that the index names'
      else if (batch.lastOffset >= offset) {
        if (batch.baseOffset >= bound) break
        if (start >= 0 && at + batch.size - start > maxBytes) break
        if (start >= 0 && batch.baseOffset < nextOffset)
          wrong = `base offset ${batch.baseOffset} after ${nextOffset - 1}`
        else if (checkCrc && !batch.isSound()) wrong = 'its CRC does not match'
      }
      if (wrong !== undefined) break
      if (batch.lastOffset >= offset) {
        if (start < 0) {
          start = at
          baseOffset = batch.baseOffset
        }
        nextOffset = batch.lastOffset + 1
      }
      at = batch.end
    }
    // What is sound in front of damage is given out first; who goes on reading then meets the damage.
    if (start >= 0) return { found: { bytes: bytes.subarray(start, at), baseOffset, nextOffset }, needFrom: 0 }
    if (wrong !== undefined) throw this.#corrupt(segment, position + at, wrong, offset)
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
