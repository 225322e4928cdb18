/**
 * Decides which calls run on the calling thread instead of in the thread pool.
 *
 * Opening a file that exists, looking at its length, reading a few KB and closing it take 2 to 5 us where the kernel
 * has them in memory. Through the thread pool each takes 40 us and as much work of two threads, so that a log that was
 * closed cleanly, which is opened with some 30 of them, took 2.4 ms instead of 0.3.
 *
 * What is not in memory keeps the calling thread waiting for the disk. So there is a bound on the time that is spent
 * in one turn of the event loop, beyond which calls go to the pool, and a call that was slow sends those after it
 * there: 4 of them, because the thread may just have lost its processor, and if the next ones are slow as well up to
 * 256, so that of a slow disk few calls wait here.
 */
export class QuickCalls {
  readonly #now: () => number
  #spentMs = 0
  #resetComes = false
  /** Calls that still go to the pool because one was slow. */
  #paused = 0
  /** How often one was, without many quick ones in between. */
  #slow = 0
  #quickInARow = 0

  /** @param now - a clock in ms, with fractions. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  /** Asks whether the next call is to run here, once for each call. */
  allowed(): boolean {
    if (this.#paused > 0) {
      this.#paused -= 1
      return false
    }
    return this.#spentMs < MS_PER_TURN
  }

  /** Runs a call on this thread. */
  run<T>(call: () => T): T {
    const began = this.#now()
    try {
      return call()
    } finally {
      const took = this.#now() - began
      this.#spentMs += took
      this.#note(took > SLOW_MS)
      if (!this.#resetComes) {
        this.#resetComes = true
        setImmediate(this.#reset)
      }
    }
  }

  #note(isSlow: boolean): void {
    if (isSlow) {
      this.#slow = Math.min(this.#slow + 1, MOST_SLOW)
      this.#paused = 4 ** this.#slow
      this.#quickInARow = 0
    } else if (this.#slow > 0) {
      this.#quickInARow += 1
      if (this.#quickInARow === QUICK_AGAIN) this.#slow = 0
    }
  }

  readonly #reset = (): void => {
    this.#spentMs = 0
    this.#resetComes = false
  }
}

const MS_PER_TURN = 1
const SLOW_MS = 1
/** Then 4 ** 4 calls go to the pool. */
const MOST_SLOW = 4
/** After so many the disk is not slow any more. */
const QUICK_AGAIN = 64
/** Reads up to this size may be quick ones. */
export const QUICK_READ_BYTES = 64 * 1024
