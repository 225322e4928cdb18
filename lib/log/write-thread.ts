/**
 * Which thread a group is written by: the calling one, or one of libuv's pool. One for all logs of a process.
 *
 * A small write into the page cache takes 2 to 10 us; handing it to the pool and hearing of its end takes 40 us more.
 * But the calling thread is the host program's event loop, so groups are written here only as long as
 *   - they are small, and writes are quick: where the page cache has to wait for the disk (too many dirty pages, a
 *     full journal), a write takes milliseconds, and the pool does the next ones;
 *   - the event loop turns: a program that awaits one append after the other goes on in microtasks for ever, and its
 *     own timers and sockets would never have their turn. A write by the pool ends outside of the microtasks. (What is
 *     answered from memory, an append under `buffered` or a read of the tail, asks here too.)
 */
import { KiB } from '../util/sizes.ts'

/** Copying this much into fresh page-cache memory takes below a millisecond even where that is slow (0.4 GB/s). */
export const LARGEST_HERE_BYTES = 256 * KiB
/** What a write may cost the event loop before the pool takes over. */
const SLOW_MS = 2
/**
 * Writes of the pool until the calling thread tries again. It may have been slow because it lost its processor for a
 * moment, and a trip to the pool may lose it twice: beside a busy thread that takes milliseconds where a write takes 0.1.
 * So few at first, and four times as many each time that it is slow again, up to one stall in 256 writes. How long the
 * pool took says nothing of the write: most of it is the way there and back.
 */
const LEAST_PROBATION = 4
const MOST_PROBATION = 256
/** After so many quick writes in a row what was slow is forgotten. */
const QUICK_AGAIN = 64
/**
 * How long the event loop may stand still for appends; to let it turn takes 1 % of that. What was begun is finished:
 * eight appends of 100 KB, and the collection of what they leave, can take three times as long once more.
 */
const LONGEST_STANDSTILL_MS = 1

export class WriteThread {
  /** Groups written so far: another number tells that something was appended. */
  writes = 0
  #probation = 0
  #nextProbation = LEAST_PROBATION
  #quickInARow = 0
  /** When the first call was answered here since the event loop turned last; `undefined` if none was. */
  #since: number | undefined
  readonly #turned = (): void => {
    this.#since = undefined
  }

  /**
   * True if a group of so many bytes may be written on the calling thread.
   *
   * @param now - monotonic, ms.
   */
  mayWriteHere(bytes: number, now: number): boolean {
    return bytes <= LARGEST_HERE_BYTES && this.#probation === 0 && !this.standsStill(now)
  }

  /**
   * True if the event loop has not turned for 1 ms of calls that were answered without it: then the answer to this
   * one is to wait for `turned`.
   */
  standsStill(now: number): boolean {
    if (this.#since === undefined) {
      this.#since = now
      setImmediate(this.#turned)
    }
    return now - this.#since >= LONGEST_STANDSTILL_MS
  }

  /** Resolves once the event loop has turned. */
  turned(): Promise<void> {
    return new Promise(resolve => {
      setImmediate(resolve)
    })
  }

  wroteHere(milliseconds: number): void {
    this.writes += 1
    if (milliseconds > SLOW_MS) this.#wasSlow()
    else if (this.#nextProbation > LEAST_PROBATION) {
      this.#quickInARow += 1
      if (this.#quickInARow >= QUICK_AGAIN) this.#nextProbation = LEAST_PROBATION
    }
  }

  wroteThere(): void {
    this.writes += 1
    if (this.#probation > 0) this.#probation -= 1
  }

  #wasSlow(): void {
    this.#probation = this.#nextProbation
    this.#nextProbation = Math.min(4 * this.#nextProbation, MOST_PROBATION)
    this.#quickInARow = 0
  }
}
