/**
 * Keeps a log that another process writes up to date, for reading (decision 18).
 *
 * Woken by the folder's changes, with a poll every 250 ms as backstop, it takes in the sound batches that have come
 * behind what is known. A torn batch at the end is "end": the rest of it comes later. After a cut, retention or
 * compaction by the writer the log is loaded anew.
 */
import { join } from 'node:path'
import { isSystemError } from '../fs/system-errors.ts'
import { LOG_SUFFIX, parseSegmentFileName } from '../segment/file-names.ts'
import { BatchScanner } from '../segment/scan.ts'
import type { SegmentEnv } from '../segment/segment.ts'
import { type BatchFacts, Segment } from '../segment/segment.ts'
import { isLogError } from '../util/errors.ts'
import { Turn } from '../util/turn.ts'
import type { LoadedLog } from './loader-types.ts'
import type { LogState } from './log-state.ts'
import type { ReaderWaiters } from './offset-waiters.ts'
import type { SharedParts } from './open-log.ts'
import type { Isolation } from './types.ts'
import type { WatermarkFile } from './watermark-file.ts'

const POLL_MS = 250

export interface FollowerParts extends Pick<SharedParts, 'fs' | 'clock' | 'handles'> {
  readonly dir: string
  readonly env: SegmentEnv
  readonly state: LogState
  /** The writer's watermark, where it bounds what may be read: a `batch` log beside a live writer. */
  readonly watermark: WatermarkFile | undefined
  readonly reload: () => Promise<LoadedLog>
}

export class FileFollower {
  readonly #parts: FollowerParts
  readonly #turn = new Turn()
  #watcher: { close(): void } | undefined
  #timer: { cancel(): void } | undefined
  #failure: unknown
  #closed = false

  constructor(parts: FollowerParts) {
    this.#parts = parts
    this.#applyWatermark()
  }

  /** As `readers.wait`; while anybody waits, the folder is watched. */
  async wait(
    readers: ReaderWaiters,
    offset: number,
    isolation: Isolation,
    signal: AbortSignal | undefined
  ): Promise<void> {
    const waiting = readers.wait(offset, isolation, signal)
    this.#watch(readers)
    try {
      await waiting
    } finally {
      if (readers.size === 0) this.#unwatch()
    }
    const failure = this.#failure
    this.#failure = undefined
    if (failure !== undefined) throw failure
  }

  /** Takes in what has come since the last look. */
  refresh(begun?: () => void): Promise<void> {
    return this.#turn.run(async () => {
      begun?.()
      if (this.#closed) return
      try {
        await this.#extend()
      } catch (error) {
        if (!isVanished(error)) throw error
        await this.#reload()
      }
      await this.#parts.watermark?.reread()
      this.#applyWatermark()
      this.#parts.state.advanced()
    })
  }

  /** Loads the log anew: what was known of its files no longer holds. */
  reload(): Promise<void> {
    return this.#turn.run(() => this.#reload())
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#unwatch()
    await this.#turn.run(async () => this.#parts.watermark?.close())
  }

  #applyWatermark(): void {
    const { watermark, state } = this.#parts
    if (watermark !== undefined) state.readableUpTo = watermark.read()?.offset ?? state.logStartOffset
  }

  #watch(readers: ReaderWaiters): void {
    if (this.#watcher !== undefined || this.#closed) return
    let isComing = false
    const look = (): void => {
      // A busy writer makes thousands of changes a second: one look takes in all that came before it.
      if (isComing) return
      isComing = true
      const refreshed = this.refresh(() => {
        isComing = false
      })
      refreshed.catch((error: unknown) => {
        this.#failure = error
        readers.wakeAll()
      })
    }
    this.#watcher = this.#parts.fs.watch(this.#parts.dir, look)
    const poll = (): void => {
      this.#timer = this.#parts.clock.setTimer(POLL_MS, () => {
        look()
        if (this.#watcher !== undefined) poll()
      })
    }
    // What came between the last read and the watch is not told by the watch.
    look()
    poll()
  }

  #unwatch(): void {
    this.#watcher?.close()
    this.#watcher = undefined
    this.#timer?.cancel()
    this.#timer = undefined
  }

  async #extend(): Promise<void> {
    for (;;) {
      const { state } = this.#parts
      if (state.segments.length > 0) await this.#extendActive()
      const next = await this.#nextSegment()
      if (next === undefined) return
      // The writer may have finished the old segment between our look at it and the new one's appearance.
      if (state.segments.length > 0) await this.#extendActive()
      const segment = await Segment.open(this.#parts.env, this.#parts.dir, next, {
        readOnly: true,
        trustIndexes: false
      })
      const { size } = segment
      const fresh = await this.#openEmpty(segment, size)
      state.segments = [...state.segments, fresh]
    }
  }

  /** A new segment is taken in from its first byte on, whatever it has grown to already. */
  async #openEmpty(segment: Segment, size: number): Promise<Segment> {
    if (size > 0) await segment.rebuildIndexes(batch => this.#apply(batch, segment))
    const { state } = this.#parts
    state.writtenOffset = segment.nextOffset ?? Math.max(state.writtenOffset, segment.baseOffset)
    this.#publish()
    return segment
  }

  async #extendActive(): Promise<void> {
    const { state, fs, handles } = this.#parts
    const { active } = state
    const stat = await fs.stat(active.path)
    if (stat === undefined || stat.size < active.size) throw new Vanished()
    if (stat.size === active.size) return
    const lease = await handles.acquire(active.path, 'read')
    try {
      const scanner = new BatchScanner(lease.handle, { from: active.size, to: stat.size, reuseBuffer: true })
      while (await scanner.fill()) {
        const facts: BatchFacts[] = []
        for (let batch = scanner.next(); batch !== undefined; batch = scanner.next()) {
          const { size, baseOffset, lastOffset, maxTimestamp } = batch
          if (baseOffset < state.writtenOffset) throw new Vanished()
          facts.push({ position: scanner.position, size, baseOffset, lastOffset, maxTimestamp })
          await this.#apply(batch, active)
          state.writtenOffset = lastOffset + 1
        }
        if (facts.length > 0) await active.extend(facts)
        this.#publish()
      }
    } finally {
      lease.release()
    }
  }

  /** @param segment - where the batch lies: the marker of an aborted transaction goes to that one's index. */
  async #apply(batch: Parameters<LogState['producers']['apply']>[0], segment: Segment): Promise<void> {
    const { producers } = this.#parts.state
    const completed = producers.apply(batch)
    const aborted = completed === undefined ? undefined : producers.completeTransaction(completed)
    if (aborted !== undefined) await segment.appendAborted(aborted)
  }

  #publish(): void {
    const { state } = this.#parts
    state.logEndOffset = state.writtenOffset
    state.sealedOffset = state.writtenOffset
    state.durableOffset = state.writtenOffset
  }

  async #nextSegment(): Promise<number | undefined> {
    const { state, fs, dir } = this.#parts
    const known = state.segments[state.segments.length - 1]?.baseOffset ?? -1
    let next: number | undefined
    for (const { name } of await fs.readDirectory(dir)) {
      const parsed = parseSegmentFileName(name)
      if (parsed?.suffix !== LOG_SUFFIX || parsed.offset <= known) continue
      if (next === undefined || parsed.offset < next) next = parsed.offset
    }
    return next
  }

  async #reload(): Promise<void> {
    const { state, reload, handles, dir } = this.#parts
    const old = state.segments
    const end = state.logEndOffset
    for (const segment of old) await segment.close({ clean: false }).catch(() => undefined)
    await handles.forgetFolder(join(dir))
    const loaded = await reload()
    state.segments = loaded.segments
    state.producers = loaded.producers
    state.logStartOffset = Math.max(loaded.logStartOffset, loaded.segments[0]?.baseOffset ?? 0)
    state.writtenOffset = loaded.logEndOffset
    state.cuts += 1 // the same offsets may hold something else now
    if (loaded.logEndOffset < end) state.changes.truncated(loaded.logEndOffset)
    state.changes.replaced(Number.POSITIVE_INFINITY)
    this.#publish()
    state.advanced()
    state.readers.wakeAll()
  }
}

/** The files are not what they were when they were last looked at. */
class Vanished extends Error {}

function isVanished(error: unknown): boolean {
  return (
    error instanceof Vanished ||
    isSystemError(error, 'ENOENT') ||
    (isLogError(error) && error.details['system'] === 'ENOENT')
  )
}

/** True if a read failed because the writer took the file away, or rewrote it: worth another try after `reload`. */
export function isOvertaken(error: unknown): boolean {
  return isVanished(error) || isLogError(error, 'CORRUPT_LOG') || isLogError(error, 'CORRUPT_FILE')
}
