/**
 * Keeps the durable watermark file up with the log without standing in the way of an append.
 *
 * After each sync the newest mark is written to the file (one write in flight, only the newest waits) and the file
 * itself is synced at most a second later: raising the watermark late is harmless, it only makes recovery scan more.
 * Lowering is not: it is durable before anything above the new mark is cut off the log.
 */
import type { Clock } from '../util/clock.ts'
import type { AckLevel } from './types.ts'
import type { Watermark, WatermarkFile } from './watermark-file.ts'
import type { WrittenMark } from './writer.ts'

/** Decision 13: the file is fdatasynced at most this long after a sync of the log. */
const SYNC_WITHIN_MS = 1_000

export class WatermarkKeeper {
  readonly #file: WatermarkFile
  readonly #clock: Clock
  readonly #failed: (error: unknown) => void
  #next: Watermark | undefined
  #last: Watermark | undefined
  #writing: Promise<void> | undefined
  #timer: { cancel(): void } | undefined

  constructor(file: WatermarkFile, clock: Clock, failed: (error: unknown) => void) {
    this.#file = file
    this.#clock = clock
    this.#failed = failed
  }

  raise(mark: WrittenMark, level: AckLevel): void {
    this.#next = { ...mark, level, syncFailed: false }
    this.#last = this.#next
    this.#writing ??= this.#writeNewest()
  }

  /** Durable when it resolves. */
  async lowerTo(mark: Watermark): Promise<void> {
    await this.settle()
    this.#last = mark
    await this.#file.lowerTo(mark)
  }

  /**
   * A sync of the log failed: recovery must know that above the durable mark the page cache proves nothing.
   *
   * @param fallback - where nothing was ever synced: the beginning of the active segment.
   */
  async noteFailedSync(fallback: Watermark): Promise<void> {
    await this.settle()
    const durable = this.#last ?? this.#file.read() ?? fallback
    await this.#file.lowerTo({ ...durable, syncFailed: true })
  }

  /** Durable when it resolves: what was raised last is in the file. */
  async settle(): Promise<void> {
    while (this.#writing !== undefined) await this.#writing
    this.#timer?.cancel()
    this.#timer = undefined
    await this.#file.sync()
  }

  async close(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    while (this.#writing !== undefined) await this.#writing
    await this.#file.close()
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
    this.#timer ??= this.#clock.setTimer(SYNC_WITHIN_MS, () => {
      this.#timer = undefined
      this.#file.sync().catch(this.#failed)
    })
  }
}
