import { HEADER_BYTES } from '../record/batch-format.ts'
import { isLogError } from '../util/errors.ts'
import { MiB } from '../util/sizes.ts'
import { IndexBuilder, maxTimestampAt } from './index-builder.ts'
import type { LogFile } from './log-file.ts'
import type { OffsetIndex } from './offset-index.ts'
import type { SegmentIndexes } from './segment-indexes.ts'
import { type BatchVisitor, buildFromLog, type RebuildResult, walkBatches } from './segment-rebuild.ts'
import type { BatchFacts, ReadRange, SegmentEnv } from './segment-types.ts'
import type { TimeIndex, Timestamp, TimestampOffset } from './time-index.ts'

/** Behind the last entry no range is longer than this, unless more was asked for. An index that lags more is none. */
const LARGEST_UNINDEXED_BYTES = 8 * MiB

/** In place of a timestamp, where there is none: as opposed to `undefined`, which is "not known yet". */
type None = 'none'

/**
 * What a segment knows about its log file without reading it: indexes, largest and first timestamp.
 *
 * Invariants:
 *   K1  An index is taken from its file only if that was closed in good order, or by a reader who may find it lagging.
 *       In any doubt both are built anew from the log, once, however many ask.
 *   K2  While there is a builder, its indexes are the ones in memory, and nothing else changes them.
 *   K3  What a file says of a batch is held against that batch before anybody goes by it, also where entries are added
 *       behind it.
 */
export class SegmentLookup {
  readonly #env: SegmentEnv
  readonly #log: LogFile
  readonly #makeIndexes: () => SegmentIndexes
  readonly #baseOffset: number
  readonly #readOnly: boolean
  #closedWell: boolean
  #builder: IndexBuilder | undefined
  #first: number | None | undefined
  #largest: TimestampOffset | None | undefined
  /** The entry of the time index that was last found to be true. */
  #trueTime: TimestampOffset | undefined
  #rebuilding: Promise<void> | undefined

  constructor(
    env: SegmentEnv,
    parts: { log: LogFile; indexes: () => SegmentIndexes; baseOffset: number; readOnly: boolean; closedWell: boolean }
  ) {
    this.#env = env
    this.#log = parts.log
    this.#makeIndexes = parts.indexes
    this.#baseOffset = parts.baseOffset
    this.#readOnly = parts.readOnly
    this.#closedWell = parts.closedWell
  }

  get #indexes(): SegmentIndexes {
    return this.#makeIndexes()
  }

  /** Present while entries are added: in an active segment, and after a rebuild until it is sealed. */
  get builder(): IndexBuilder | undefined {
    return this.#builder
  }

  /** The builder, unless another one is being made from the log, which may be past what is added now. */
  get steadyBuilder(): IndexBuilder | undefined {
    return this.#rebuilding === undefined ? this.#builder : undefined
  }

  /** As far as it is known without reading. */
  get largestKnown(): TimestampOffset | undefined {
    const largest = this.#builder === undefined ? this.#largest : this.#builder.largest
    return largest === 'none' ? undefined : largest
  }

  /**
   * `undefined` when the index is to be read first.
   *
   * With entries k (the last at or below the offset), k+1 and k+2, that batch starts at or behind entry k's and not
   * behind entry k+1's, so it ends where entry k+2's starts at the latest. Only if the index lags far behind may a
   * range be too short; whoever scans it reads on then.
   */
  rangeSync(offset: number, maxBytes: number): ReadRange | undefined {
    const index = this.#indexes.offsetsNear(offset)
    return index === undefined ? undefined : this.#range(index, offset, maxBytes)
  }

  /** `undefined` when the index is to be read first, or has no such entry. See `Segment.locateEntrySync`. */
  entryRangeSync(offset: number): ReadRange | undefined {
    const index = this.#indexes.offsetsNear(offset - 1)
    if (index === undefined) return undefined
    const entry = index.countAtOrBelow(offset - 1)
    if (entry === index.entryCount) return undefined
    const isLast = entry + 1 === index.entryCount
    const to = isLast ? this.#log.size : Math.min(this.#log.size, index.positionAt(entry + 1))
    return { from: index.positionAt(entry), to, lastOffset: index.offsetAt(entry) }
  }

  async range(offset: number, maxBytes: number): Promise<ReadRange> {
    return this.#range(await this.#offsetsNear(offset), offset, maxBytes)
  }

  async #offsetsNear(offset: number): Promise<OffsetIndex> {
    const here = this.#indexes.offsetsNear(offset)
    if (here !== undefined) return here
    try {
      return (await this.#indexes.loadOffsetsNear(offset)) ?? (await this.offsets())
    } catch (error) {
      if (!isLogError(error, 'CORRUPT_FILE')) throw error
      await this.rebuildDamaged(error.message)
    }
    return (this.#builder as IndexBuilder).offsets
  }

  /** The time index, or the part of it in which to look up `timestamp`; read or rebuilt if need be. */
  async timesNear(timestamp: Timestamp): Promise<TimeIndex> {
    const here = this.#indexes.timesNear(timestamp)
    if (here !== undefined) return here
    try {
      return (await this.#indexes.loadTimesNear(timestamp)) ?? (await this.times())
    } catch (error) {
      if (!isLogError(error, 'CORRUPT_FILE')) throw error
      await this.rebuildDamaged(error.message)
    }
    return (this.#builder as IndexBuilder).times
  }

  /**
   * See `Segment.offsetBeforeTimestamp`. An entry of the very time is passed over: that its batch is the first of it
   * cannot be seen from the batch.
   */
  async offsetBefore(timestamp: Timestamp): Promise<number> {
    const earlier = typeof timestamp === 'bigint' ? timestamp - 1n : timestamp - 1
    for (;;) {
      const times = await this.timesNear(earlier)
      const count = times.countAtOrBelow(earlier)
      if (count === 0) return this.#baseOffset
      const entry = { timestamp: times.timestampAt(count - 1), offset: times.offsetAt(count - 1) }
      const isOurs = times === this.#builder?.times && count > this.#builder.taken
      if (isOurs || (await this.#isTrue(entry))) return entry.offset
      // An index is cut before its log is: the entry may be gone, and rightly so.
      if (times.entryCount < count) continue
      await this.rebuildDamaged(`an entry of the time index names a batch that is not of ${entry.timestamp}`)
    }
  }

  /**
   * Whether the batch that an entry of the time index names has the timestamp that the entry says: the file has no
   * checksum, and the wrong one would hide records from whoever looks for a time, or age a segment before its time (K3).
   *
   * @param from - where a batch at or before it begins, if that is known.
   */
  async #isTrue({ timestamp, offset }: TimestampOffset, from?: number): Promise<boolean> {
    const known = this.#trueTime
    if (known?.offset === offset && known.timestamp === timestamp) return true
    let found: Timestamp | undefined
    from ??= (await this.range(offset, 0)).from
    const visit = ({ baseOffset, lastOffset }: BatchFacts, maxTimestamp: Timestamp): boolean => {
      if (lastOffset >= offset && baseOffset <= offset) found = maxTimestamp
      return lastOffset < offset
    }
    await walkBatches(this.#log, from, visit, this.#env.config().indexIntervalBytes).catch(() => undefined)
    if (found !== timestamp) return false
    this.#trueTime = { timestamp, offset }
    return true
  }

  #range(index: OffsetIndex, offset: number, maxBytes: number): ReadRange {
    const { size } = this.#log
    const count = index.countAtOrBelow(offset)
    const from = count === 0 ? 0 : index.positionAt(count - 1)
    const startsAtLatest = count < index.entryCount ? index.positionAt(count) : from
    const isBounded = count + 1 < index.entryCount
    const endsAtLatest = isBounded ? index.positionAt(count + 1) : from + LARGEST_UNINDEXED_BYTES
    const to = Math.min(size, Math.max(endsAtLatest, startsAtLatest + maxBytes))
    return { from, to: Math.max(from, to), lastOffset: count === 0 ? undefined : index.offsetAt(count - 1) }
  }

  /** The offset index, read or rebuilt if need be. */
  async offsets(): Promise<OffsetIndex> {
    return this.#indexes.offsets ?? (await this.#loadOffsets())
  }

  /** The time index, read or rebuilt if need be. */
  async times(): Promise<TimeIndex> {
    return this.#indexes.times ?? (await this.#loadTimes())
  }

  /** Whether `largest` answers without reading, as `largestKnown` does then. */
  get knowsLargest(): boolean {
    return this.#builder !== undefined || this.#largest !== undefined
  }

  async largest(): Promise<TimestampOffset | undefined> {
    if (this.knowsLargest) return this.largestKnown
    const lastOfMany = this.#trust === 'closed' ? await this.#indexes.lastTime() : undefined
    // Where it has to be rebuilt, its last entry is the largest timestamp as well.
    const last = lastOfMany ?? (await this.times()).last
    // Small indexes are read whole in any case.
    const from = lastOfMany && (await this.#indexes.positionNearEnd(lastOfMany.offset))
    if (this.#builder === undefined) await this.#checkLast(last, from)
    if (this.#builder !== undefined) return this.largestKnown
    this.#largest = last ?? 'none'
    return last
  }

  /** Largest timestamp of the first batch; `undefined` when it has none, or there is no batch. */
  async firstTimestamp(): Promise<number | undefined> {
    if (this.#log.size === 0) return undefined
    if (this.#first === undefined) {
      const header = Buffer.alloc(HEADER_BYTES)
      if ((await this.#log.read(header, 0)) < HEADER_BYTES) return undefined
      this.noteFirst(Number(maxTimestampAt(header, 0)))
    }
    return this.#first === 'none' ? undefined : this.#first
  }

  firstTimestampSync(): number | undefined {
    if (this.#log.size === 0) return undefined
    if (this.#first === undefined) {
      const header = Buffer.alloc(HEADER_BYTES)
      if (this.#log.readSync(header, 0) < HEADER_BYTES) return undefined
      this.noteFirst(Number(maxTimestampAt(header, 0)))
    }
    return this.#first === 'none' ? undefined : this.#first
  }

  noteFirst(maxTimestamp: number): void {
    this.#first = maxTimestamp < 0 ? 'none' : maxTimestamp
  }

  /** Gets ready for adding entries: both indexes in memory, for good. */
  async activate(): Promise<IndexBuilder> {
    if (this.#builder !== undefined) return this.#builder
    const offsets = await this.offsets()
    const times = await this.times()
    // Either may have had to be rebuilt, and then there is a builder.
    if (this.#builder !== undefined) return this.#builder
    await this.#checkLast(times.last)
    return this.#builder ?? this.startBuilding(new IndexBuilder(offsets, times), { rebuilt: false })
  }

  /** Unless the last entry is true, both indexes are built anew: what is added goes by that entry. */
  async #checkLast(last: TimestampOffset | undefined, from?: number): Promise<void> {
    if (last === undefined || (await this.#isTrue(last, from))) return
    await this.rebuildDamaged(`the last entry of the time index names a batch that is not of ${last.timestamp}`)
  }

  startBuilding(builder: IndexBuilder, options: { rebuilt: boolean }): IndexBuilder {
    this.#indexes.hold(builder, options)
    this.#builder = builder
    return builder
  }

  /** The files have everything now: from here on the cache decides what stays in memory. */
  stopBuilding(): void {
    if (this.#builder !== undefined) this.#largest = this.#builder.largest ?? 'none'
    this.#builder = undefined
    this.#closedWell = true
    this.#indexes.lend()
  }

  /** Forgets what was built, written or not. */
  drop(): void {
    this.#builder = undefined
    this.#largest = undefined
  }

  /**
   * The log was cut, and the indexes with it: what is known about its end is found out anew.
   *
   * @returns one past the last offset that is left.
   */
  async wasCut(): Promise<number> {
    const left = this.#builder as IndexBuilder
    if (this.#log.size === 0) this.#first = undefined
    this.#trueTime = undefined
    // The one that is last now may be a file's word that nobody has gone by before.
    if (left.taken === left.times.entryCount) await this.#checkLast(left.times.last)
    const { offsets, times, taken } = this.#builder as IndexBuilder
    // The time index knows the largest timestamp only up to the last entry; the batches behind it are looked at.
    const shorter = new IndexBuilder(offsets, times, taken)
    const from = offsets.entryCount === 0 ? 0 : offsets.positionAt(offsets.entryCount - 1)
    let nextOffset = this.#baseOffset
    await walkBatches(this.#log, from, ({ lastOffset }, timestamp) => {
      shorter.noteTimestamp(timestamp, lastOffset)
      nextOffset = lastOffset + 1
      return true
    })
    this.startBuilding(shorter, { rebuilt: false })
    return nextOffset
  }

  /** Builds both indexes anew, in memory; the files get them with the next flush. */
  async rebuild({ checkCrc, visit }: { checkCrc: boolean; visit?: BatchVisitor | undefined }): Promise<RebuildResult> {
    const limits = this.#env.config()
    const options = { baseOffset: this.#baseOffset, limits, checkCrc, visit }
    const { builder, result } = await buildFromLog(this.#log, options)
    this.startBuilding(builder, { rebuilt: true })
    return result
  }

  /** As `rebuild`, because of damage found on the way; once, however many find it (K1). */
  async rebuildDamaged(reason: string): Promise<void> {
    this.#rebuilding ??= this.#rebuildAndTell(reason).finally(() => {
      this.#rebuilding = undefined
    })
    await this.#rebuilding
  }

  /** What an entry says of the batch it points to must be so, else the indexes are built anew. */
  async checkEntry(position: number, lastOffset: number): Promise<void> {
    let found: number | undefined
    await walkBatches(this.#log, position, batch => {
      found = batch.lastOffset
      return false
    }).catch(() => undefined)
    if (found === lastOffset) return
    await this.rebuildDamaged(`an entry leads to ${found ?? 'no batch'}, not ${lastOffset}`)
  }

  async #rebuildAndTell(reason: string): Promise<void> {
    await this.rebuild({ checkCrc: false })
    this.#env.indexRebuilt?.({ path: this.#log.path, baseOffset: this.#baseOffset, reason })
    // What cannot be written now stays in memory, and goes with the next flush.
    if (!this.#readOnly) await this.#indexes.flush().catch(() => undefined)
  }

  async #loadOffsets(): Promise<OffsetIndex> {
    try {
      const index = await this.#indexes.loadOffsets(this.#log.size, this.#trust)
      const covered = index.entryCount === 0 ? 0 : index.positionAt(index.entryCount - 1)
      const lag = this.#log.size - covered
      if (lag <= Math.max(LARGEST_UNINDEXED_BYTES, 4 * this.#env.config().indexIntervalBytes)) return index
      await this.rebuildDamaged(`the offset index lags ${lag} bytes behind its log`)
    } catch (error) {
      if (!isLogError(error, 'CORRUPT_FILE')) throw error
      await this.rebuildDamaged(error.message)
    }
    return (this.#builder as IndexBuilder).offsets
  }

  async #loadTimes(): Promise<TimeIndex> {
    try {
      const index = await this.#indexes.loadTimes(this.#log.size, this.#trust)
      // Before it is closed an index need not have the largest timestamp yet.
      const lacking = index.entryCount === 0 && (await this.firstTimestamp()) !== undefined
      if (this.#closedWell && !lacking) return index
      await this.rebuildDamaged('the time index may lack the largest timestamp')
    } catch (error) {
      if (!isLogError(error, 'CORRUPT_FILE')) throw error
      await this.rebuildDamaged(error.message)
    }
    return (this.#builder as IndexBuilder).times
  }

  get #trust(): 'closed' | 'live' {
    return this.#closedWell && !this.#readOnly ? 'closed' : 'live'
  }
}
