/**
 * Puts rewritten segments in the place of those they were made from, as Kafka's cleaner does, and takes segments out
 * of use that a log no longer needs.
 *
 * Invariants:
 *   X1  Wherever the process ends or the power goes, the next loading finds the old segments or the new ones, whole:
 *       the steps are `.cleaned` to `.swap`, the old files to `.deleted`, `.swap` to the final names, and the folder
 *       is synced between any two that must not change places.
 *   X2  The watermark never speaks of a place in a file that is replaced, nor of one below it: recovery takes a gap
 *       above the watermark for the end of the log. It never speaks of what may not be durable.
 *   X3  What is replaced is exactly what was looked at: the same segments, not cut since, next to each other, none of
 *       them active.
 *
 * Runs in the log's turn. Reads go on beside it: they read on from what they have open, or begin again.
 */
import { join } from 'node:path'
import type { FileSystem } from '../fs/file-system.ts'
import { isSystemError, toLogError } from '../fs/system-errors.ts'
import {
  CLEANED_SUFFIX,
  DELETED_SUFFIX,
  LOG_SUFFIX,
  OFFSET_INDEX_SUFFIX,
  parseSegmentFileName,
  SWAP_SUFFIX,
  segmentFileName,
  TIME_INDEX_SUFFIX,
  TRANSACTION_INDEX_SUFFIX
} from '../segment/file-names.ts'
import { Segment, type SegmentEnv, type TransactionsDigest } from '../segment/segment.ts'
import type { Clock } from '../util/clock.ts'
import { LogError } from '../util/errors.ts'
import type { DeferredDeletes } from './deferred-deletes.ts'
import type { LogState } from './log-state.ts'
import type { ManifestKeeper } from './manifest-keeper.ts'
import type { ProducerSnapshots } from './producer-snapshots.ts'
import { ackLevelOf } from './types.ts'
import type { WatermarkKeeper } from './watermark-keeper.ts'

export interface SwapParts {
  readonly state: LogState
  readonly env: SegmentEnv
  readonly fs: FileSystem
  readonly clock: Clock
  readonly dir: string
  /** For messages: `orders-0`. */
  readonly name: string
  readonly snapshots: ProducerSnapshots
  readonly watermark: WatermarkKeeper | undefined
  readonly manifest: ManifestKeeper | undefined
  readonly deferred: DeferredDeletes
  readonly poison: (error: LogError) => Promise<void>
  readonly failed: (error: unknown) => void
}

/** A segment that the cleaner has written: complete, synced, named `.cleaned`. */
export interface CleanedSegment {
  readonly baseOffset: number
  /** Of the log file. */
  readonly bytes: number
  /** One past the last offset of its last batch; its base offset if it has none. */
  readonly nextOffset: number
  /** Of its transaction index. */
  readonly transactions: TransactionsDigest
}

export class SegmentSwap {
  readonly #parts: SwapParts

  constructor(parts: SwapParts) {
    this.#parts = parts
  }

  /**
   * Replaces `sources` by `cleaned`, whose files lie beside them. Durable when it resolves.
   *
   * @param sources - X3: segments of this log.
   * @param cleaned - ascending; the first has the first source's base offset, the last ends below the one that follows.
   * @throws {LogError} SEGMENTS_CHANGED if the log has been cut since they were looked at: its files are as before,
   *   the cleaned ones gone. Other errors likewise, unless the log is poisoned then.
   */
  async replace(sources: readonly Segment[], cleaned: readonly CleanedSegment[]): Promise<void> {
    const { state, fs, dir } = this.#parts
    let fresh: readonly Segment[] = []
    try {
      const at = this.#placeOf(sources, cleaned)
      fresh = await this.#open(cleaned)
      const end = (state.segments[at + sources.length] as Segment).baseOffset
      await this.#moveWatermark(end)
      await this.#removeStrays(cleaned)
      const isReplaced = new Set(sources.map(({ baseOffset }) => baseOffset))
      await this.#parts.manifest?.forget(base => isReplaced.has(base))
      // From the highest down, one durable before the next: what is still `.cleaned` tells a loading that the `.swap`
      // files above it are not all there is.
      for (const segment of [...fresh].reverse()) {
        await segment.renameTo(SWAP_SUFFIX)
        await fs.syncDirectory(dir)
      }
      await this.#exchange(sources, fresh, at)
      this.#parts.manifest?.sealed(cleaned)
    } catch (error) {
      if (state.condition === 'open') await this.#discard(fresh, cleaned)
      throw toLogError(error, 'put compacted segments into', dir)
    }
    await this.#dropSnapshots(sources, cleaned).catch(this.#parts.failed)
  }

  /**
   * Takes segments that are no longer in the list out of use. Their files go after `file.delete.delay.ms`.
   *
   * @returns whether all have lost their names, durably.
   */
  async retire(segments: readonly Segment[]): Promise<boolean> {
    if (segments.length === 0) return true
    const { fs, dir, deferred, failed } = this.#parts
    deferred.add(segments, this.#dueAt())
    // One that keeps its name is removed when it is due all the same.
    let isDone = true
    for (const segment of segments) {
      await segment.renameTo(DELETED_SUFFIX).catch(error => {
        isDone = false
        failed(error)
      })
    }
    await fs.syncDirectory(dir)
    return isDone
  }

  #dueAt(): number {
    const { clock, state } = this.#parts
    return clock.monotonic() + state.config.fileDeleteDelayMs
  }

  #placeOf(sources: readonly Segment[], cleaned: readonly CleanedSegment[]): number {
    const { segments, active } = this.#parts.state
    const first = sources[0]
    const at = first === undefined ? -1 : segments.indexOf(first)
    const isHere = at >= 0 && sources.every((source, i) => segments[at + i] === source && source !== active)
    if (!isHere) throw this.#changed('the log was cut, or its settings took segments away')
    const end = (segments[at + sources.length] as Segment).baseOffset
    let next = sources[0]?.baseOffset ?? 0
    const fits = cleaned.every(({ baseOffset, nextOffset }, i) => {
      const isInOrder = i === 0 ? baseOffset === next : baseOffset >= next
      next = nextOffset
      return isInOrder && nextOffset >= baseOffset && nextOffset <= end
    })
    if (cleaned.length === 0 || !fits) throw this.#changed(`what was written does not fit in front of offset ${end}`)
    return at
  }

  async #open(cleaned: readonly CleanedSegment[]): Promise<readonly Segment[]> {
    const { env, dir } = this.#parts
    const fresh: Segment[] = []
    for (const { baseOffset, bytes, nextOffset, transactions } of cleaned) {
      const options = { readOnly: false, trustIndexes: true, suffix: CLEANED_SUFFIX, transactions }
      const segment = await Segment.open(env, dir, baseOffset, options)
      fresh.push(segment)
      if (segment.size !== bytes) throw this.#changed(`${segment.path} has ${segment.size} bytes, not ${bytes}`)
      segment.nextOffset = nextOffset
    }
    return fresh
  }

  /** X2: all below the first segment that stays is durable, so that its beginning may be spoken of instead. */
  async #moveWatermark(end: number): Promise<void> {
    const { state, watermark } = this.#parts
    // The file may lag behind what is known here.
    await watermark?.settle()
    const mark = watermark?.latest
    if (watermark === undefined || mark === undefined || mark.segmentBaseOffset >= end) return
    await watermark.lowerTo({
      offset: end,
      segmentBaseOffset: end,
      position: 0,
      lastBatchCrc: 0,
      level: ackLevelOf(state.config.durability),
      syncFailed: false
    })
  }

  /** What a cleaning left that ended before its time: below this group's, a loading would undo this group for it. */
  async #removeStrays(cleaned: readonly CleanedSegment[]): Promise<void> {
    const { fs, dir } = this.#parts
    const own = new Set(cleaned.map(({ baseOffset }) => baseOffset))
    for (const { name } of await fs.readDirectory(dir)) {
      if (!name.endsWith(CLEANED_SUFFIX) || own.has(parseSegmentFileName(name)?.offset ?? -1)) continue
      await fs.unlink(join(dir, name))
    }
  }

  /** From the first renaming of an old file on only a loading could make sense of the folder. */
  async #exchange(sources: readonly Segment[], fresh: readonly Segment[], at: number): Promise<void> {
    const { state, fs, dir, deferred, poison } = this.#parts
    const freshEnd = fresh.at(-1)?.nextOffset ?? 0
    try {
      let isLeftAlone = false
      for (const source of sources) {
        // Behind the last new batch nothing tells a loading that this is replaced: it keeps what still has its name. That
        // must be the end of them, never an older record without what supersedes it.
        if (isLeftAlone) await fs.syncDirectory(dir)
        await source.renameTo(DELETED_SUFFIX)
        isLeftAlone = source.baseOffset >= freshEnd
      }
      await fs.syncDirectory(dir)
      for (const segment of fresh) await segment.renameTo('')
      await fs.syncDirectory(dir)
    } catch (error) {
      const cause = toLogError(error, 'exchange segments of', dir)
      await poison(cause)
      throw cause
    }
    // A roll adds to the list at its end only.
    const { segments } = state
    state.segments = [...segments.slice(0, at), ...fresh, ...segments.slice(at + sources.length)]
    state.cuts += 1
    state.changes.replaced((state.segments[at + fresh.length] as Segment).baseOffset)
    // What lies in memory is of before.
    state.tail.dropBelow((state.segments[at + fresh.length] as Segment).baseOffset)
    deferred.add(sources, this.#dueAt())
  }

  /** Of segments that are no more. Those of the others stay, as Kafka keeps them. */
  async #dropSnapshots(sources: readonly Segment[], cleaned: readonly CleanedSegment[]): Promise<void> {
    const kept = new Set(cleaned.map(({ baseOffset }) => baseOffset))
    for (const { baseOffset } of sources) if (!kept.has(baseOffset)) await this.#parts.snapshots.delete(baseOffset)
  }

  /** A `.swap` file that stays would replace, at the next loading, what the log has by then. */
  async #discard(fresh: readonly Segment[], cleaned: readonly CleanedSegment[]): Promise<void> {
    const { fs, dir, poison, failed } = this.#parts
    try {
      // As long as the lowest is `.cleaned`, a loading undoes all of them.
      for (const segment of fresh) if (segment.path.endsWith(SWAP_SUFFIX)) await segment.renameTo(CLEANED_SUFFIX)
      await fs.syncDirectory(dir)
      for (const suffix of [SWAP_SUFFIX, CLEANED_SUFFIX]) {
        for (const { baseOffset } of [...cleaned].reverse()) await this.#removeFiles(baseOffset, suffix)
        await fs.syncDirectory(dir)
      }
    } catch (error) {
      await poison(toLogError(error, 'remove unfinished segments from', dir))
    } finally {
      for (const segment of fresh) await segment.close({ clean: false }).catch(failed)
    }
  }

  async #removeFiles(baseOffset: number, onTop: string): Promise<void> {
    const { fs, dir } = this.#parts
    for (const suffix of [LOG_SUFFIX, OFFSET_INDEX_SUFFIX, TIME_INDEX_SUFFIX, TRANSACTION_INDEX_SUFFIX]) {
      await fs.unlink(join(dir, segmentFileName(baseOffset, suffix) + onTop)).catch(error => {
        if (!isSystemError(error, 'ENOENT')) throw error
      })
    }
  }

  #changed(reason: string): LogError {
    return new LogError('SEGMENTS_CHANGED', `${this.#parts.name}: nothing was replaced, because ${reason}.`)
  }
}
