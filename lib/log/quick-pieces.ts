/**
 * Decides which pieces of a file that is read whole are read on the calling thread: see read-ahead.ts.
 *
 * Nobody can know before whether a piece is in the page cache, so each read is timed. After a slow one the next two go
 * through the thread pool, after another slow one four, up to 64: of a slow disk the calling thread waits for one
 * piece in so many. Each quick one halves that again, because a thread that shares its processor loses it now and then
 * in the middle of a read.
 */
import type { Clock } from '../util/clock.ts'

/** 512 KiB from memory take 0.05 to 0.2 ms; from an SSD 0.3 ms and more, and the first of them longer. */
const SLOW_MS = 0.6
const LEAST_PAUSE = 2
const LONGEST_PAUSE = 64

export class QuickPieces {
  readonly #clock: Clock
  /** Pieces that are still to go through the thread pool. */
  #paused = 0
  #nextPause = LEAST_PAUSE

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Runs `read`, or answers `undefined` where the thread pool should. */
  tryRead(read: () => number): number | undefined {
    if (this.#paused > 0) {
      this.#paused -= 1
      return undefined
    }
    const begun = this.#clock.monotonic()
    const count = read()
    if (this.#clock.monotonic() - begun > SLOW_MS) {
      this.#paused = this.#nextPause
      this.#nextPause = Math.min(LONGEST_PAUSE, this.#nextPause * 2)
    } else {
      this.#nextPause = Math.max(LEAST_PAUSE, this.#nextPause / 2)
    }
    return count
  }
}
