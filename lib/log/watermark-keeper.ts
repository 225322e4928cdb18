/**
 * Keeps the durable watermark file up with the log without standing in the way of an append.
 *
 * After a sync the newest mark is written to the file, at most every 10 ms (each write also puts the file's times into
 * the journal that the log's next fdatasync has to wait for: with one writer that costs a tenth of its rate) or when
 * the log has nothing else to do, and the
 * file itself is synced at most a second later. Raising the watermark late is harmless: it only makes recovery scan
 * more, and readers in other processes wait so much longer. Lowering is not: it is durable before anything above the
 * new mark is cut off the log.
 */
import type { Clock } from '../util/clock.ts'
import type { AckLevel } from './types.ts'
import type { Watermark, WatermarkFile } from './watermark-file.ts'
import type { WrittenMark } from './writer.ts'

/** Decision 13: the file is fdatasynced at most this long after a sync of the log. */
const SYNC_WITHIN_MS = 1_000
const WRITE_EVERY_MS = 10
/** How long after a failed attempt it is tried again to note that a sync of the log failed. */
const NOTE_EVERY_MS = 1_000

export class WatermarkKeeper {
  readonly #file: WatermarkFile
  readonly #clock: Clock
  readonly #failed: (error: unknown) => void
  #next: Watermark | undefined
  #last: Watermark | undefined
  #writing: Promise<void> | undefined
  #timer: { cancel(): void } | undefined
  #pause: { cancel(): void } | undefined
  /** To be noted, and not in the file yet. */
  #doubt: Watermark | undefined
  #retry: { cancel(): void } | undefined

  constructor(file: WatermarkFile, clock: Clock, failed: (error: unknown) => void) {
    this.#file = file
    this.#clock = clock
    this.#failed = failed
  }

  raise(mark: WrittenMark, level: AckLevel): void {
    this.#next = { ...mark, level, syncFailed: false }
    this.#last = this.#next
    if (this.#pause === undefined) this.#startWriting()
  }

  /** The mark that the file has, or will have. */
  get latest(): Watermark | undefined {
    return this.#last ?? this.#file.read()
  }

  /** True if a mark was raised that is not on its way to the file. */
  get lags(): boolean {
    return this.#next !== undefined && this.#writing === undefined
  }

  /** The log has nothing to do: the newest mark need not wait for its time. */
  catchUp(): void {
    this.#startWriting()
  }

  /** Durable when it resolves. */
  async lowerTo(mark: Watermark): Promise<void> {
    await this.settle()
    this.#last = mark
    await this.#file.lowerTo(mark)
  }

  /**
   * A sync of the log failed: recovery must know that above the durable mark the page cache proves nothing. Where that
   * cannot be noted it is tried again, every second and at closing: who opens the log meanwhile takes for durable what
   * a power cut takes away, with what is appended behind it.
   *
   * @param activeBase - base offset of the active segment: where nothing was ever synced, it is doubted from there on.
   * @throws the system's error, of the first attempt.
   */
  async noteFailedSync(activeBase: number, level: AckLevel): Promise<void> {
    // The disk that failed the log may fail here as well: the flag is to be in the file all the same.
    await this.settle().catch(this.#failed)
    const durable = this.latest ?? {
      offset: activeBase,
      segmentBaseOffset: activeBase,
      position: 0,
      lastBatchCrc: 0,
      level
    }
    this.#doubt = { ...durable, syncFailed: true }
    await this.#noteDoubt()
  }

  async #noteDoubt(): Promise<void> {
    const doubt = this.#doubt
    if (doubt === undefined) return
    try {
      await this.#file.lowerTo(doubt)
      this.#doubt = undefined
    } catch (error) {
      this.#retry ??= this.#clock.setTimer(NOTE_EVERY_MS, () => {
        this.#retry = undefined
        this.#noteDoubt().catch(this.#failed)
      })
      throw error
    }
  }

  /** Durable when it resolves: what was raised last is in the file. */
  async settle(): Promise<void> {
    await this.#written()
    this.#timer?.cancel()
    this.#timer = undefined
    await this.#file.sync()
  }

  async close(): Promise<void> {
    await this.#written()
    this.#timer?.cancel()
    this.#timer = undefined
    this.#pause?.cancel()
    this.#pause = undefined
    await this.#noteDoubt().catch(this.#failed)
    this.#retry?.cancel()
    this.#retry = undefined
    await this.#file.close()
  }

  /** Resolves when what was raised last is in the file, or could not be written. */
  async #written(): Promise<void> {
    this.#startWriting()
    while (this.#writing !== undefined) await this.#writing
  }

  #startWriting(): void {
    const mark = this.#next
    if (mark === undefined || this.#writing !== undefined) return
    this.#pause?.cancel()
    const next = (): void => {
      this.#pause = undefined
      this.#startWriting()
    }
    // A program that ends without closing its log still leaves the mark that readers of other processes go by.
    this.#pause = this.#clock.setTimer(WRITE_EVERY_MS, next, { keepsProcess: true })
    if (this.#tryWriteSync(mark)) this.#armTimer()
    else this.#writing = this.#writeNewest()
  }

  /** @returns false when it takes the thread pool. */
  #tryWriteSync(mark: Watermark): boolean {
    try {
      if (!this.#file.tryWriteSync(mark)) return false
    } catch (error) {
      this.#failed(error)
    }
    this.#next = undefined
    return true
  }

  async #writeNewest(): Promise<void> {
    try {
      for (let mark = this.#next; mark !== undefined; mark = this.#next) {
        this.#next = undefined
        await this.#file.write(mark)
      }
    } catch (error) {
      // A watermark that stays low costs recovery time, not data: told, not thrown.
      this.#next = undefined
      this.#failed(error)
    } finally {
      this.#writing = undefined
    }
    this.#armTimer()
  }

  #armTimer(): void {
    this.#timer ??= this.#clock.setTimer(SYNC_WITHIN_MS, () => {
      this.#timer = undefined
      this.#file.sync().catch(this.#failed)
    })
  }
}
