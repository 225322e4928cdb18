/**
 * Small reads on the calling thread, as long as they prove to be fast.
 *
 * A read of a few KiB from the page cache takes 2 to 10 us; by way of the thread pool it takes 40 more. But whether
 * the bytes are in the page cache is not known before, and while they come from the device the event loop stands
 * still: 0.1 ms on an SSD, 10 ms on a spinning disk. So each read is timed. After a slow one the next four go through
 * the thread pool, after another slow one eight, up to 4,096: a device that is slow costs the event loop one of its
 * reads in so many. After a hundred fast ones in a row it begins with four again: a process that shares its
 * processor now and then loses it in the middle of a read.
 */
import type { Segment } from '../segment/segment.ts'
import type { Clock } from '../util/clock.ts'
import { KiB } from '../util/sizes.ts'

/** A longer read takes so long that the hop to the thread pool no longer counts. */
export const LARGEST_WARM_READ = 128 * KiB
/** No read from memory takes so long; most devices with moving parts, and those across a network, do. */
const SLOW_MS = 0.5
const LEAST_PAUSE = 4
const LONGEST_PAUSE = 4096
const FAST_IN_A_ROW = 100

export class WarmReads {
  readonly #clock: Clock
  readonly #fastInARow: number
  /** Reads that are still to go through the thread pool. */
  #paused = 0
  #nextPause = LEAST_PAUSE
  #fastOnes = 0

  /** @param options.fastInARow - after which it takes the device for a fast one again. */
  constructor(clock: Clock, { fastInARow = FAST_IN_A_ROW }: { fastInARow?: number } = {}) {
    this.#clock = clock
    this.#fastInARow = fastInARow
  }

  /** Whether the next small read may be made here. Each question is taken for a read. */
  mayRead(): boolean {
    if (this.#paused === 0) return true
    this.#paused -= 1
    return false
  }

  /**
   * Fills `target` as `Segment.read` does, if the file is open; else answers `undefined`.
   *
   * @param target - at most `LARGEST_WARM_READ` bytes; a page of a stream may have more, up to 1.25 MiB.
   * @throws {LogError} as `Segment.read`.
   */
  read(segment: Segment, target: Buffer, position: number): number | undefined {
    const begun = this.#clock.monotonic()
    const count = segment.readOpenSync(target, position)
    if (count !== undefined) this.#took(this.#clock.monotonic() - begun)
    return count
  }

  /** Makes another kind of small read, for which `mayRead` was asked. */
  timed<T>(read: () => T): T {
    const begun = this.#clock.monotonic()
    const result = read()
    this.#took(this.#clock.monotonic() - begun)
    return result
  }

  #took(ms: number): void {
    if (ms > SLOW_MS) this.#wasSlow()
    else if (this.#nextPause > LEAST_PAUSE) this.#wasFast()
  }

  #wasSlow(): void {
    this.#paused = this.#nextPause
    this.#nextPause = Math.min(LONGEST_PAUSE, this.#nextPause * 2)
    this.#fastOnes = 0
  }

  #wasFast(): void {
    this.#fastOnes += 1
    if (this.#fastOnes < this.#fastInARow) return
    this.#fastOnes = 0
    this.#nextPause = LEAST_PAUSE
  }
}
