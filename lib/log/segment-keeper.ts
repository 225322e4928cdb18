/**
 * Changes which segments a log has: rolling, cutting the end off, starting anew, dropping the beginning.
 *
 * Everything here runs inside the log's turn, with no write in flight. The list of segments is replaced, never
 * changed in place, so that a read that took it keeps what it took.
 */
import type { FileSystem } from '../fs/file-system.ts'
import { Segment, type SegmentEnv } from '../segment/segment.ts'
import { producersAt } from './loader-producers.ts'
import type { LogMetrics } from './log-metrics.ts'
import type { LogState } from './log-state.ts'
import type { ProducerSnapshots } from './producer-snapshots.ts'
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
  readonly metrics: LogMetrics
  readonly failed: (error: unknown) => void
  readonly rolled: (baseOffset: number, previousBaseOffset: number, reason: string) => void
}

export class SegmentKeeper {
  readonly #parts: KeeperParts
  /** Syncing what was rolled goes on in the background; each one ends by raising the recovery point. */
  #sealing: Promise<void> = Promise.resolve()

  constructor(parts: KeeperParts) {
    this.#parts = parts
  }

  /** Closes the active segment and begins one at `baseOffset`, whose name is durable when this resolves. */
  async roll(baseOffset: number, cause: string): Promise<void> {
    const { state, metrics } = this.#parts
    const old = state.active
    if (old.size === 0 && old.baseOffset === baseOffset) return
    // Made durable with the segment that it closes, off the way of the append.
    await this.#parts.snapshots.take(baseOffset, state.producers, { sync: false })
    const next = await Segment.create(this.#parts.env, this.#parts.dir, baseOffset)
    // Not used for anything that is acknowledged before the directory knows it.
    await this.#parts.fs.syncDirectory(this.#parts.dir)
    old.nextOffset = baseOffset
    state.segments = [...state.segments, next]
    metrics.rolls += 1
    this.#parts.rolled(baseOffset, old.baseOffset, cause)
    this.#sealing = this.#sealing.then(() => this.#seal(old, baseOffset)).catch(this.#parts.failed)
  }

  /** Resolves when what was rolled so far is durable, derived files included. */
  async settled(): Promise<void> {
    await this.#sealing
  }

  async #seal(old: Segment, baseOffset: number): Promise<void> {
    const { state } = this.#parts
    await old.seal()
    await this.#parts.snapshots.sync(baseOffset)
    await this.#parts.fs.syncDirectory(this.#parts.dir)
    if (state.condition !== 'open' || state.recoveryPoint >= baseOffset) return
    // Only a segment that is durable up to its end moves the recovery point past it.
    if (state.durableOffset >= baseOffset) state.recoveryPoint = baseOffset
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
    await this.#lowerWatermark(keep.baseOffset)
    state.segments = state.segments.slice(0, at + 1)
    // From the newest on: a crash in between leaves a log without a gap.
    for (const segment of gone.reverse()) await segment.delete()
    if (gone.length > 0) await this.#parts.fs.syncDirectory(this.#parts.dir)
    await keep.truncateTo(offset)
    await this.#endAt(offset)
    state.logStartOffset = Math.min(state.logStartOffset, offset)
  }

  /** Empties the log: it goes on at `offset`, as a follower does whose leader has nothing older. */
  async startAt(offset: number): Promise<void> {
    const { state } = this.#parts
    await this.settled()
    await this.#lowerWatermark(0)
    const gone = state.segments
    // The new one first, unless the name is taken: a log is never without a segment.
    const clash = gone.find(segment => segment.baseOffset === offset)
    for (const segment of [...gone].reverse()) if (segment !== clash) await segment.delete()
    if (clash !== undefined) await clash.delete()
    state.segments = [await Segment.create(this.#parts.env, this.#parts.dir, offset)]
    await this.#parts.fs.syncDirectory(this.#parts.dir)
    state.epochs.clear()
    await this.#endAt(offset)
    state.logStartOffset = offset
  }

  /** Removes whole segments that lie below the log start offset, which is durable already. */
  async dropBelowStart(): Promise<number> {
    const { state } = this.#parts
    const { segments } = state
    let count = 0
    while (count + 1 < segments.length && (segments[count + 1] as Segment).baseOffset <= state.logStartOffset)
      count += 1
    if (count === 0) return 0
    await this.settled()
    state.segments = segments.slice(count)
    for (const segment of segments.slice(0, count)) await segment.delete()
    await this.#parts.snapshots.deleteBefore((state.segments[0] as Segment).baseOffset)
    await this.#parts.fs.syncDirectory(this.#parts.dir)
    return count
  }

  async #endAt(offset: number): Promise<void> {
    const { state } = this.#parts
    state.writtenOffset = offset
    state.durableOffset = Math.min(state.durableOffset, offset)
    state.recoveryPoint = Math.min(state.recoveryPoint, offset)
    state.epochs.truncateFromEnd(offset)
    await state.epochs.persist()
    await this.#parts.snapshots.deleteAfter(offset)
    const bases = state.segments.map(segment => segment.baseOffset)
    const report = new ReportBuilder({ clean: true, foreign: false })
    state.producers = await producersAt({ ...this.#parts, bases, report }, offset)
    state.takeBackTo(offset)
    // The cut itself was synced by the segment, and what remains below it too.
    state.durableOffset = offset
    state.advanced()
  }

  async #lowerWatermark(offset: number): Promise<void> {
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
