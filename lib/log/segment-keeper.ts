/**
 * Changes which segments a log has: rolling, cutting the end off, starting anew, dropping the beginning.
 *
 * Everything here but sealing runs inside the log's turn, with no write in flight. The list of segments is replaced, never
 * changed in place, so that a read that took it keeps what it took.
 */
import { join } from 'node:path'
import type { FileSystem } from '../fs/file-system.ts'
import { isSystemError, toLogError } from '../fs/system-errors.ts'
import { LOG_SUFFIX, OFFSET_INDEX_SUFFIX, segmentFileName, TIME_INDEX_SUFFIX } from '../segment/file-names.ts'
import { Segment, type SegmentEnv, type TransactionsDigest } from '../segment/segment.ts'
import type { LogError } from '../util/errors.ts'
import { producersAt } from './loader-producers.ts'
import type { LogMetrics } from './log-metrics.ts'
import type { LogState } from './log-state.ts'
import type { ManifestKeeper } from './manifest-keeper.ts'
import type { ProducerSnapshots } from './producer-snapshots.ts'
import { ProducerStateManager } from './producer-state.ts'
import { ReportBuilder } from './recovery-report.ts'
import { ackLevelOf } from './types.ts'
import type { WatermarkKeeper } from './watermark-keeper.ts'

export interface KeeperParts {
  readonly state: LogState
  readonly env: SegmentEnv
  readonly fs: FileSystem
  readonly dir: string
  readonly snapshots: ProducerSnapshots
  readonly watermark: WatermarkKeeper | undefined
  readonly manifest: ManifestKeeper | undefined
  /** See `LoadedLog.isFinal`. */
  readonly wasFinal: boolean
  readonly metrics: LogMetrics
  readonly failed: (error: unknown) => void
  readonly poison: (error: LogError) => Promise<void>
  /** From outside the turn, where a write may be under way: when that has ended. */
  readonly poisonInTurn: (error: LogError) => void
  readonly persistLogStart: (offset: number) => Promise<void>
  readonly rolled: (baseOffset: number, previousBaseOffset: number, reason: string) => void
}

export class SegmentKeeper {
  readonly #parts: KeeperParts
  /** Rolled, but not durable yet with all its derived files; oldest first. */
  #unsealed: { readonly segment: Segment; readonly endOffset: number }[] = []
  /** Making them so goes on in the background; each one ends by raising the recovery point. */
  #sealing: Promise<void> = Promise.resolve()
  readonly #endAtOpening: number

  constructor(parts: KeeperParts) {
    this.#parts = parts
    this.#endAtOpening = parts.state.logEndOffset
  }

  /**
   * Closes the active segment and begins one at `baseOffset`, whose name is durable when this resolves. When it fails
   * the log is as before, and it can be tried again.
   */
  async roll(baseOffset: number, cause: string): Promise<void> {
    const { state, metrics } = this.#parts
    const old = state.active
    if (old.size === 0 && old.baseOffset === baseOffset) return
    // Made durable with the segment that it closes, off the way of the append.
    await this.#parts.snapshots.take(baseOffset, state.producers, { sync: false })
    // Before there is anything behind it: Kafka's recovery takes zeros for the end of the log, and deletes what follows.
    await old.trim()
    const next = await this.#create(baseOffset)
    if (endOf(old) < baseOffset) await this.#settleGap(next)
    old.nextOffset = baseOffset
    state.segments = [...state.segments, next]
    metrics.rolls += 1
    this.#parts.rolled(baseOffset, old.baseOffset, cause)
    this.#unsealed.push({ segment: old, endOffset: baseOffset })
    this.#sealing = this.#sealing.then(() => this.#sealRolled()).catch(this.#parts.failed)
  }

  /** Resolves when what was rolled so far is durable, derived files included, or could not be made so. */
  async settled(): Promise<void> {
    await this.#sealing
  }

  /** Makes everything derived final, the active segment too, so that the next opening need not scan; then the manifest. */
  async finish(): Promise<void> {
    const { state, snapshots, watermark, fs, dir } = this.#parts
    await this.settled()
    if (this.#isFinal()) return this.#parts.manifest?.settle()
    await this.#sealRolled()
    await this.#poisoning(() => state.active.seal())
    state.producers.advanceTo(state.logEndOffset)
    await snapshots.take(state.logEndOffset, state.producers)
    await this.#dropLastClosing()
    if (state.epochs.dirty) await state.epochs.persist()
    await watermark?.settle()
    await fs.syncDirectory(dir)
    state.recoveryPoint = state.logEndOffset
    const { baseOffset } = state.active
    const transactions = await digestOf(state.active)
    await this.#parts.manifest?.settle({ baseOffset, nextOffset: state.logEndOffset, transactions })
  }

  /** The snapshot of the closing before this one: nobody asks for it any more, and each closing would leave one. */
  async #dropLastClosing(): Promise<void> {
    const { state, snapshots } = this.#parts
    const isNamed = state.segments.some(({ baseOffset }) => baseOffset === this.#endAtOpening)
    if (!isNamed && this.#endAtOpening !== state.logEndOffset) await snapshots.delete(this.#endAtOpening)
  }

  /** The files are as closing left them: nothing was written, cut or rolled since, nor an index built anew. */
  #isFinal(): boolean {
    const { state, metrics, wasFinal } = this.#parts
    const { epochs, cuts, logEndOffset, recoveryPoint } = state
    const sameEnd = logEndOffset === this.#endAtOpening && recoveryPoint === logEndOffset
    const untouched = cuts + metrics.groups + metrics.rolls === 0 && !epochs.dirty
    return wasFinal && sameEnd && untouched && state.segments.every(segment => segment.isFinished)
  }

  /**
   * A segment that does not begin where the one before ends, because a leader's batches have a gap there, or a cut took
   * the batch that held its offset: recovery takes that for a loss, unless the watermark says that it was so. The watermark
   * may not say it before the segment is there: a log that ends below its watermark does not open.
   */
  async #settleGap(next: Segment): Promise<void> {
    const { state, dir, poison } = this.#parts
    try {
      for (const segment of state.segments) if (segment.isDirty) await segment.datasync()
      await this.#moveWatermark(next.baseOffset)
    } catch (error) {
      // Whether the watermark speaks of it is not known: its file stays, and a loading makes sense of either.
      await next.close({ clean: false }).catch(() => undefined)
      await poison(toLogError(error, 'begin a segment behind a gap in', dir))
      throw error
    }
  }

  /** Not used for anything that is acknowledged before the directory knows it. */
  async #create(baseOffset: number): Promise<Segment> {
    const { env, dir, fs } = this.#parts
    let segment: Segment | undefined
    try {
      segment = await Segment.create(env, dir, baseOffset)
      await fs.syncDirectory(dir)
      return segment
    } catch (error) {
      // Its descriptor would be the next attempt's as well, which makes another file of that name.
      await segment?.close({ clean: false }).catch(() => undefined)
      await this.#removeHalfMade(baseOffset)
      throw error
    }
  }

  /**
   * The next batch may be small enough for the old segment. An empty one of that batch's offset must not lie behind it
   * then: it would be taken for the end of the log.
   */
  async #removeHalfMade(baseOffset: number): Promise<void> {
    const { dir, fs } = this.#parts
    try {
      for (const suffix of [OFFSET_INDEX_SUFFIX, TIME_INDEX_SUFFIX, LOG_SUFFIX]) {
        await fs.unlink(join(dir, segmentFileName(baseOffset, suffix))).catch(error => {
          if (!isSystemError(error, 'ENOENT')) throw error
        })
      }
    } catch (error) {
      await this.#parts.poison(toLogError(error, 'remove a half-made segment from', dir))
    }
  }

  /** Oldest first, and none is left out: the recovery point passes a segment only when all before it are durable. */
  async #sealRolled(): Promise<void> {
    const { state, snapshots, fs, dir } = this.#parts
    for (let next = this.#unsealed[0]; next !== undefined; next = this.#unsealed[0]) {
      const { segment, endOffset } = next
      await this.#poisoning(() => segment.seal())
      const transactions = await digestOf(segment)
      await snapshots.sync(endOffset)
      await fs.syncDirectory(dir)
      this.#unsealed.shift()
      if (state.condition !== 'open') return
      // The file was synced, and so were those before it.
      state.durableOffset = Math.max(state.durableOffset, endOffset)
      state.recoveryPoint = Math.max(state.recoveryPoint, endOffset)
      state.advanced()
      const { baseOffset, size: bytes } = segment
      this.#parts.manifest?.sealed([{ baseOffset, bytes, nextOffset: endOffset, transactions }])
    }
  }

  /** A log file whose sync failed is never asked again: see W2 of writer.ts. */
  async #poisoning(work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      if (this.#parts.state.segments.some(segment => segment.isBroken)) {
        this.#parts.poisonInTurn(toLogError(error, 'sync', this.#parts.dir))
      }
      throw error
    }
  }

  /** Drops everything at or above `offset`. The caller has checked the range and holds appends back. */
  async truncateTo(offset: number): Promise<void> {
    const { state } = this.#parts
    await this.settled()
    if (offset < (state.segments[0] as Segment).baseOffset) return this.startAt(offset)
    const at = state.segmentIndexFor(offset)
    const keep = state.segments[at] as Segment
    const gone = state.segments.slice(at + 1)
    // The batch that holds `offset` goes as a whole, so the log may end below it: the segment's base is safe.
    await this.#moveWatermark(keep.baseOffset)
    await this.#parts.manifest?.forget(base => base >= keep.baseOffset)
    await this.#cutting(async () => {
      this.#hide(offset)
      state.segments = state.segments.slice(0, at + 1)
      this.#unsealed = this.#unsealed.filter(({ segment }) => state.segments.includes(segment) && segment !== keep)
      // From the newest on: a crash in between leaves a log without a gap.
      for (const segment of gone.reverse()) await segment.delete()
      if (gone.length > 0) await this.#parts.fs.syncDirectory(this.#parts.dir)
      await keep.truncateTo(offset)
      await this.#parts.snapshots.deleteAfter(offset)
      const bases = state.segments.map(segment => segment.baseOffset)
      const report = new ReportBuilder({ clean: true, foreign: false })
      const logStartOffset = Math.min(state.logStartOffset, offset)
      state.logStartOffset = logStartOffset
      await this.#endAt(offset, await producersAt({ ...this.#parts, bases, logStartOffset, report }, offset))
    })
    // The batch that went held the log start too. Files that end below it look like those of a log that lost its end.
    if (endOf(keep) < state.logStartOffset) await this.startAt(offset)
  }

  /** Empties the log: it goes on at `offset`, as a follower does whose leader has nothing older. */
  async startAt(offset: number): Promise<void> {
    const { state, snapshots } = this.#parts
    await this.settled()
    await this.#moveWatermark(0)
    await this.#parts.manifest?.forget(() => true)
    await this.#cutting(async () => {
      this.#hide(Math.min(offset, state.logStartOffset))
      this.#unsealed = []
      for (const segment of [...state.segments].reverse()) await segment.delete()
      // They speak of batches that are gone; none of these producers has ever been here.
      for (const taken of await snapshots.offsets()) await snapshots.delete(taken)
      await this.#parts.fs.syncDirectory(this.#parts.dir)
      state.segments = [await Segment.create(this.#parts.env, this.#parts.dir, offset)]
      await this.#parts.fs.syncDirectory(this.#parts.dir)
      state.epochs.clear()
      state.logStartOffset = offset
      await this.#endAt(offset, new ProducerStateManager([], offset))
    })
  }

  /** Every segment but the active one is made final: files, indexes, folder. One that was sealed costs nothing. */
  async sealOld(): Promise<void> {
    const { state } = this.#parts
    await this.settled()
    await this.#sealRolled()
    for (const segment of state.segments)
      if (segment !== state.active && !segment.isFinished) await this.#poisoning(() => segment.seal())
  }

  /** Raises the log start offset, durably, if it lies below `offset`; files are as before. */
  async raiseStart(offset: number): Promise<void> {
    const { state, persistLogStart } = this.#parts
    if (offset > state.logStartOffset) {
      await persistLogStart(offset)
      state.logStartOffset = offset
      state.cuts += 1
      state.epochs.truncateFromStart(offset)
      await this.#fitHoles()
    }
    if (state.epochs.dirty) await state.epochs.persist()
  }

  /** Removes whole segments that lie below the log start offset, which is durable already. */
  async dropBelowStart(): Promise<number> {
    const { state } = this.#parts
    const wasShedding = state.isShedding
    const gone = await this.takeBelowStart()
    for (const segment of gone) await segment.delete()
    if (gone.length > 0) await this.#parts.fs.syncDirectory(this.#parts.dir)
    state.isShedding = wasShedding
    return gone.length
  }

  /** As `dropBelowStart`; what to do with the segments, which nobody reads any more, is the caller's. */
  async takeBelowStart(): Promise<readonly Segment[]> {
    const { state } = this.#parts
    const { segments } = state
    let count = 0
    while (count + 1 < segments.length && (segments[count + 1] as Segment).baseOffset <= state.logStartOffset)
      count += 1
    if (count === 0) return []
    await this.settled()
    const first = (segments[count] as Segment).baseOffset
    await this.#assureSnapshot(first)
    await this.#parts.manifest?.forget(base => base < first)
    state.isShedding = true
    state.segments = segments.slice(count)
    state.cuts += 1
    this.#unsealed = this.#unsealed.filter(({ segment }) => state.segments.includes(segment))
    await this.#parts.snapshots.deleteBefore((state.segments[0] as Segment).baseOffset)
    return segments.slice(0, count)
  }

  /**
   * What producers wrote last must outlive the batches that tell it. The snapshot was taken when the segment was begun, but
   * a crash may have taken it.
   */
  async #assureSnapshot(baseOffset: number): Promise<void> {
    const { state, snapshots } = this.#parts
    if (state.producers.entries.size === 0) return
    try {
      if ((await snapshots.latest(baseOffset))?.offset === baseOffset) return
      const bases = state.segments.map(segment => segment.baseOffset)
      const report = new ReportBuilder({ clean: true, foreign: false })
      const range = { ...this.#parts, bases, logStartOffset: state.logStartOffset, report }
      await snapshots.take(baseOffset, await producersAt(range, baseOffset))
    } catch (error) {
      // Neither a full disk nor damage to what is about to go may keep it from going.
      if (error instanceof TypeError || error instanceof RangeError) throw error
    }
  }

  /** A cut that stops half-way leaves files that only a loading can make sense of. */
  async #cutting(work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      const cause = toLogError(error, 'cut the log in', this.#parts.dir)
      await this.#parts.poison(cause)
      throw cause
    } finally {
      this.#parts.state.cuts += 1
    }
  }

  /** Readers do not see any more what is about to go, whatever comes of it. */
  #hide(offset: number): void {
    const { state } = this.#parts
    state.cuts += 1
    state.changes.truncated(offset)
    state.lowestCut = Math.min(state.lowestCut, offset)
    state.endCuts += 1
    state.writtenOffset = Math.min(state.writtenOffset, offset)
    state.durableOffset = Math.min(state.durableOffset, offset)
    state.recoveryPoint = Math.min(state.recoveryPoint, offset)
    state.sealedOffset = Math.min(state.sealedOffset, offset)
    state.tail.truncateTo(offset)
  }

  async #endAt(offset: number, producers: ProducerStateManager): Promise<void> {
    const { state } = this.#parts
    state.epochs.truncateFromEnd(offset)
    await state.epochs.persist()
    state.producers = producers
    state.writtenOffset = offset
    state.takeBackTo(offset)
    // The cut itself was synced by the segment, and what remains below it too.
    state.durableOffset = offset
    // The batch that held `offset` went as a whole: up to now what lies before `offset` could be read.
    state.changes.truncated(Math.min(offset, endOf(state.active)))
    state.advanced()
    await this.#fitHoles()
    // Who waits for what comes behind the old end would pass over what takes the place of what went.
    state.readers.wakeAll()
  }

  /** What is appended from here on is no part of a hole. Durable when it resolves. */
  async #fitHoles(): Promise<void> {
    const { holes, logStartOffset, logEndOffset } = this.#parts.state
    holes?.fit(logStartOffset, logEndOffset)
    await holes?.persist()
  }

  /** Durable when it resolves. Nothing of the segment at `offset` need be there. */
  async #moveWatermark(offset: number): Promise<void> {
    const level = ackLevelOf(this.#parts.state.config.durability)
    await this.#parts.watermark?.lowerTo({
      offset,
      segmentBaseOffset: offset,
      position: 0,
      lastBatchCrc: 0,
      level,
      syncFailed: false
    })
  }
}

/** What cannot be read now is not noted: there are fewer checks then. */
function digestOf(segment: Segment): Promise<TransactionsDigest | undefined> {
  return segment.digestOfTransactions().catch(() => undefined)
}

function endOf(segment: Segment): number {
  return segment.nextOffset ?? segment.baseOffset
}
