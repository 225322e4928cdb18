/**
 * Reads whole batches: from memory while the writer still holds them, else with one read of the segment file.
 *
 * A read never waits for a writer; what it may see is bounded by a watermark, taken once at its beginning. Bytes from
 * a file are handed out only after their CRC and their place in the offset chain were checked.
 */
import { scanBatch } from '../record/batch-scan.ts'
import { BatchView } from '../record/batch-view.ts'
import type { Segment } from '../segment/segment.ts'
import { LogError } from '../util/errors.ts'
import { MiB } from '../util/sizes.ts'
import type { LogMetrics } from './log-metrics.ts'
import type { LogState } from './log-state.ts'
import type { AbortedRange, FetchResult, ReadOptions } from './types.ts'

export const DEFAULT_MAX_BYTES = 1 * MiB
/** One read allocates at most this, whatever `maxBytes` says. */
const MAX_READ_BYTES = 64 * MiB

interface Found {
  readonly bytes: Buffer
  readonly baseOffset: number
  readonly nextOffset: number
}

export class Reader {
  readonly #state: LogState
  readonly #metrics: LogMetrics
  readonly #name: string

  constructor(state: LogState, metrics: LogMetrics, name: string) {
    this.#state = state
    this.#metrics = metrics
    this.#name = name
  }

  /** See `PartitionLog.read`. */
  async read(offset: number, options: ReadOptions): Promise<FetchResult> {
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
    const found = offset < bound ? await this.#find(offset, bound, maxBytes, options.checkCrc ?? true) : undefined
    this.#metrics.reads += 1
    this.#metrics.readBytes += found?.bytes.length ?? 0
    const nextOffset = found?.nextOffset ?? offset
    const aborted = isolation === 'read_committed' ? await this.#aborted(offset, nextOffset) : undefined
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

  async #find(offset: number, bound: number, maxBytes: number, checkCrc: boolean): Promise<Found | undefined> {
    const fromMemory = this.#state.tail.read(offset, bound, maxBytes)
    if (fromMemory !== undefined) {
      this.#metrics.readsFromMemory += 1
      return fromMemory
    }
    // The list is replaced, never changed in place, so what was taken here stays whole while we wait.
    const { segments } = this.#state
    for (let i = this.#state.segmentIndexFor(offset); i < segments.length; i += 1) {
      const segment = segments[i] as Segment
      if (segment.baseOffset >= bound) return undefined
      const found = await this.#findInSegment(segment, Math.max(offset, segment.baseOffset), bound, maxBytes, checkCrc)
      if (found !== undefined) return found
      const later = this.#state.tail.read(offset, bound, maxBytes)
      if (later !== undefined) return later
    }
    return undefined
  }

  async #findInSegment(
    segment: Segment,
    offset: number,
    bound: number,
    maxBytes: number,
    checkCrc: boolean
  ): Promise<Found | undefined> {
    let range = segment.locateSync(offset, maxBytes) ?? (await segment.locate(offset, maxBytes))
    for (;;) {
      if (range.to <= range.from) return undefined
      const buffer = Buffer.allocUnsafeSlow(range.to - range.from)
      const length = await segment.read(buffer, range.from)
      const bytes = length === buffer.length ? buffer : buffer.subarray(0, length)
      const slice = this.#slice(segment, bytes, range.from, offset, bound, maxBytes, checkCrc)
      if (slice.found !== undefined || slice.needTo === undefined) return slice.found
      if (slice.needTo > segment.size) return undefined
      // The batch that holds the offset is longer than the index let us expect.
      range = { from: slice.needFrom, to: slice.needTo }
    }
  }

  /** Finds the wanted batches in what was read from `position` on. */
  #slice(
    segment: Segment,
    bytes: Buffer,
    position: number,
    offset: number,
    bound: number,
    maxBytes: number,
    checkCrc: boolean
  ): { found?: Found; needFrom: number; needTo?: number } {
    let at = 0
    let start = -1
    let baseOffset = 0
    let nextOffset = 0
    while (at < bytes.length) {
      const scan = scanBatch(bytes, at, bytes.length)
      if (scan.kind === 'corrupt') throw this.#corrupt(segment, position + at, scan.reason, offset)
      if (scan.kind !== 'batch') {
        if (start >= 0 || scan.kind === 'end') break
        return { needFrom: position + at, needTo: position + at + Math.max(scan.need, MIN_NEED) }
      }
      const batch = new BatchView(bytes, at)
      if (batch.lastOffset >= offset) {
        if (batch.baseOffset >= bound) break
        if (start >= 0 && at + batch.size - start > maxBytes) break
        if (start >= 0 && batch.baseOffset < nextOffset) {
          throw this.#corrupt(segment, position + at, `base offset ${batch.baseOffset} after ${nextOffset - 1}`, offset)
        }
        if (checkCrc && !batch.isSound()) throw this.#corrupt(segment, position + at, 'CRC mismatch', offset)
        if (start < 0) {
          start = at
          baseOffset = batch.baseOffset
        }
        nextOffset = batch.lastOffset + 1
      }
      at = batch.end
    }
    if (start < 0)
      return at >= bytes.length && position + at < segment.size
        ? { needFrom: position + at, needTo: Math.min(segment.size, position + at + MIN_NEED) }
        : { needFrom: 0 }
    return { found: { bytes: bytes.subarray(start, at), baseOffset, nextOffset }, needFrom: 0 }
  }

  #corrupt(segment: Segment, position: number, reason: string, offset: number): LogError {
    return new LogError(
      'CORRUPT_LOG',
      `${segment.path}: the batch at byte ${position} is damaged (${reason}). Reading stops here; "heartwood verify" tells how much is lost.`,
      { segment: segment.baseOffset, position, offset }
    )
  }

  /** Aborted transactions that concern [from, upper), ascending by first offset. */
  async #aborted(from: number, upper: number): Promise<readonly AbortedRange[]> {
    const { segments } = this.#state
    const ranges: AbortedRange[] = []
    if (upper <= from) return ranges
    for (let i = this.#state.segmentIndexFor(from); i < segments.length; i += 1) {
      const { entries, complete } = await (segments[i] as Segment).collectAborted(from, upper)
      for (const entry of entries) ranges.push({ producerId: entry.producerId, firstOffset: entry.firstOffset })
      if (complete) break
    }
    return ranges.sort((a, b) => a.firstOffset - b.firstOffset)
  }
}

const EMPTY = Buffer.alloc(0)
/** Where a batch's length is not known yet, at least this much is read. */
const MIN_NEED = 4096
