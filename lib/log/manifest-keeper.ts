/**
 * Keeps the manifest of a log that is open for writing.
 *
 *     a segment is sealed, durably        -> noted here; in the file some time later
 *     before its files change or go       -> out of the file, durably: `forget`
 *
 * So the file may lack segments, which costs checks, and never says what is not so (M2 of manifest.ts): a crash at any
 * point leaves a file that is right.
 *
 * Nothing here is on the way of an append or of a roll. A second after the last sealing the new segments are read once,
 * which gives their digests, and the file is replaced. While anything is appended that reading goes at 4 MiB/s, one
 * segment at a time for all logs that share parts: a MiB takes about a millisecond of the thread. Else it goes as fast
 * as it can. What is still to be read when the log closes gets its digest from the scrubber, save for 16 MiB.
 */
import { join } from 'node:path'
import type { FileSystem } from '../fs/file-system.ts'
import { type ReplaceOptions, replaceFile } from '../fs/replace-file.ts'
import { isSystemError, toLogError } from '../fs/system-errors.ts'
import { filePath, LOG_SUFFIX, segmentFileName } from '../segment/file-names.ts'
import { isSameDigest } from '../segment/transaction-index.ts'
import type { Clock, Timer } from '../util/clock.ts'
import { LogError } from '../util/errors.ts'
import { MiB } from '../util/sizes.ts'
import { Turn } from '../util/turn.ts'
import type { LogState } from './log-state.ts'
import { type ActiveSegment, formatManifest, MANIFEST_FILE, type Manifest, type SealedSegment } from './manifest.ts'
import { whatIsWrong } from './segment-check.ts'
import { type DigestedFile, digestOf } from './segment-digest.ts'
import type { WriteThread } from './write-thread.ts'

const WRITE_WITHIN_MS = 1_000
/** Between two pieces of 512 KiB, while anything is appended. */
const REST_MS = 125
/** What closing may read: about 10 ms. */
const AT_CLOSING_BYTES = 16 * MiB

/** What the manifests of all logs that share parts do in the background: one thing of each kind at a time. */
export class ManifestLimits {
  readonly reads = new Turn()
  readonly writes = new Turn()
}

export interface ManifestParts {
  readonly fs: FileSystem
  readonly clock: Clock
  readonly dir: string
  /** Of the file. */
  readonly replace: ReplaceOptions
  readonly limits: ManifestLimits
  readonly writeThread: WriteThread
  readonly state: LogState
  readonly failed: (error: unknown) => void
}

/** A segment that is durable, and of which nothing more will be written. */
export type NewlySealed = Pick<SealedSegment, 'baseOffset' | 'bytes' | 'nextOffset' | 'transactions'>

export class ManifestKeeper {
  readonly #parts: ManifestParts
  readonly #known = new Map<number, SealedSegment>()
  /** Base offsets that the file may name: those of the last writing, and of one that failed. */
  #inFile: ReadonlySet<number>
  /** As the last clean close left it. */
  #active: ActiveSegment | undefined
  /** Known, and not read yet since they were sealed. */
  readonly #unread = new Set<number>()
  readonly #writing = new Turn()
  #stopped = false
  /** Ends the rest that a reading takes. */
  #wake: (() => void) | undefined
  /** What is under way in the background. */
  readonly #jobs = new Set<Promise<void>>()
  #isReading = false
  #dirty = false
  #timer: Timer | undefined

  /** @param found - as the file is, and true to the files of the log. */
  constructor(parts: ManifestParts, found: Manifest | undefined) {
    this.#parts = parts
    for (const segment of found?.sealed ?? []) this.#known.set(segment.baseOffset, segment)
    this.#inFile = new Set(this.#known.keys())
    this.#active = found?.active
  }

  /** What is noted of a sealed segment. */
  of(baseOffset: number): SealedSegment | undefined {
    return this.#known.get(baseOffset)
  }

  /** Notes segments that are durable with this length. They are in the file some time later. */
  sealed(segments: readonly NewlySealed[]): void {
    for (const { baseOffset, bytes, nextOffset, transactions } of segments) {
      // Until it was read, nobody knows whether offsets are missing.
      const state = { state: 'compacted', digest: undefined, verifiedMs: undefined } as const
      this.#known.set(baseOffset, { baseOffset, bytes, nextOffset, transactions, ...state })
      this.#unread.add(baseOffset)
    }
    if (segments.length > 0) this.#changed()
  }

  /** Notes that all of a segment's file was read and found sound. It is in the file some time later. */
  verified({ baseOffset, nextOffset, transactions }: NewlySealed, { bytes, scan, digest }: DigestedFile): void {
    const state = scan.gapCount === 0 ? 'sealed' : 'compacted'
    this.#unread.delete(baseOffset)
    const verifiedMs = this.#parts.clock.now()
    this.#known.set(baseOffset, { baseOffset, bytes, nextOffset, state, digest, verifiedMs, transactions })
    this.#changed()
  }

  /**
   * Takes the segments with these base offsets out of the manifest: their files are about to change or to go. Durable
   * when it resolves, and no I/O where the file does not name them.
   *
   * @throws {LogError} as the system says, if the file can neither be replaced nor removed: nothing may change then.
   */
  async forget(isGone: (baseOffset: number) => boolean): Promise<void> {
    const gone = (baseOffset: number): void => {
      if (!isGone(baseOffset)) return
      this.#known.delete(baseOffset)
      this.#unread.delete(baseOffset)
    }
    for (const baseOffset of [...this.#known.keys()]) gone(baseOffset)
    if (this.#active !== undefined && isGone(this.#active.baseOffset)) this.#active = undefined
    await this.#writing.run(async () => {
      if (![...this.#inFile].some(isGone)) return
      try {
        await this.#write()
      } catch {
        // A full disk must not keep retention from making room. Without the file there are fewer checks.
        await this.#remove().catch(error => {
          throw toLogError(error, 'remove', join(this.#parts.dir, MANIFEST_FILE))
        })
        this.#changed()
      }
    })
  }

  /**
   * The file has all that is known, digests of what is quickly read included, or it could not be written.
   *
   * @param active - how the log's last segment will be found, if that is not as it was found.
   */
  async settle(active?: ActiveSegment): Promise<void> {
    if (active !== undefined) this.#closes(active)
    if (!this.#dirty && this.#unread.size === 0) return
    await this.stop()
    let left = AT_CLOSING_BYTES
    for (const baseOffset of [...this.#unread]) {
      left -= this.#known.get(baseOffset)?.bytes ?? 0
      if (left >= 0) await this.#read(baseOffset)
    }
    await this.#writing.run(() => this.#write()).catch(this.#parts.failed)
  }

  #closes(active: ActiveSegment): void {
    const { baseOffset, nextOffset, transactions } = this.#active ?? {}
    const isNoted = baseOffset === active.baseOffset && nextOffset === active.nextOffset
    this.#active = active
    if (isNoted && isSameDigest(transactions, active.transactions)) return
    // That no transaction was aborted is not worth a writing at each closing.
    if ((active.transactions?.bytes ?? 0) > 0) this.#dirty = true
  }

  /** Ends what is under way; what is not in the file yet stays out of it. */
  async stop(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#stopped = true
    this.#wake?.()
    await Promise.all(this.#jobs)
    await this.#writing.run(() => undefined)
  }

  #changed(): void {
    this.#dirty = true
    if (this.#timer !== undefined || this.#stopped) return
    this.#timer = this.#parts.clock.setTimer(WRITE_WITHIN_MS, () => {
      this.#timer = undefined
      this.#catchUp()
    })
  }

  #catchUp(): void {
    const { reads, writes } = this.#parts.limits
    const startsReading = this.#unread.size > 0 && !this.#isReading
    if (startsReading) {
      this.#isReading = true
      this.#inBackground(reads, () => this.#readAll())
    }
    // Lengths do not wait for what takes long.
    const unreadBytes = [...this.#unread].reduce((sum, base) => sum + (this.#known.get(base)?.bytes ?? 0), 0)
    if (startsReading && unreadBytes <= AT_CLOSING_BYTES) return
    this.#inBackground(writes, () => this.#writing.run(() => this.#write()))
  }

  /** Whoever stops need not wait for the turn, only for what has begun. */
  #inBackground(turn: Turn, job: () => Promise<void>): void {
    void turn.run(async () => {
      if (this.#stopped) return
      const running = job().catch(this.#parts.failed)
      this.#jobs.add(running)
      await running
      this.#jobs.delete(running)
    })
  }

  async #readAll(): Promise<void> {
    for (const baseOffset of this.#unread) {
      if (this.#stopped) break
      await this.#read(baseOffset, this.#givingWay())
    }
    this.#isReading = false
  }

  async #read(baseOffset: number, spend?: () => Promise<void>): Promise<void> {
    const { fs, dir, state, failed } = this.#parts
    const noted = this.#known.get(baseOffset)
    if (noted === undefined) return
    const path = filePath(dir, segmentFileName(baseOffset, LOG_SUFFIX))
    let found: DigestedFile | LogError
    try {
      found = await digestOf(fs, path, { epochAt: offset => state.epochs.epochAt(offset), spend })
    } catch (error) {
      if (this.#stopped && spend !== undefined) return
      found = toLogError(error, 'read', path)
    }
    // Its file was cut, replaced or removed meanwhile.
    if (this.#known.get(baseOffset) !== noted) return
    this.#unread.delete(baseOffset)
    const problem = found instanceof LogError ? found : whatIsWrong(path, noted, found)
    if (problem === undefined) this.verified(noted, found as DigestedFile)
    else failed(problem)
  }

  #givingWay(): () => Promise<void> {
    const { writeThread } = this.#parts
    let seen = writeThread.writes
    return async () => {
      const now = writeThread.writes
      if (now !== seen && !this.#stopped) await this.#rest()
      seen = now
      if (this.#stopped) throw new LogError('ABORTED', 'the log is being closed')
    }
  }

  #rest(): Promise<void> {
    return new Promise(resolve => {
      const timer = this.#parts.clock.setTimer(REST_MS, resolve)
      this.#wake = () => {
        timer.cancel()
        resolve()
      }
    })
  }

  /** In the turn of writing. */
  async #write(): Promise<void> {
    if (!this.#dirty && [...this.#inFile].every(base => this.#known.has(base))) return
    const { fs, dir, replace, state } = this.#parts
    const sealed = [...this.#known.values()].sort((a, b) => a.baseOffset - b.baseOffset)
    const { logStartOffset } = state
    const { baseOffset } = state.active
    const nothing = { baseOffset, nextOffset: undefined, transactions: undefined }
    const active = this.#active?.baseOffset === baseOffset ? this.#active : nothing
    this.#dirty = false
    this.#inFile = new Set([...this.#inFile, ...this.#known.keys()])
    const named = new Set(this.#known.keys())
    try {
      const bytes = formatManifest({ logStartOffset, sealed, active })
      await replaceFile(fs, join(dir, MANIFEST_FILE), bytes, replace)
      this.#inFile = named
    } catch (error) {
      this.#dirty = true
      throw error
    }
  }

  async #remove(): Promise<void> {
    const { fs, dir } = this.#parts
    await fs.unlink(join(dir, MANIFEST_FILE)).catch(error => {
      if (!isSystemError(error, 'ENOENT')) throw error
    })
    await fs.syncDirectory(dir)
    this.#inFile = new Set()
  }
}
