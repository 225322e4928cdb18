/**
 * Which thread a group is written by: the calling one, or one of libuv's pool.
 *
 * A small write into the page cache takes 2 to 10 us; handing it to the pool and hearing of its end takes 40 us more.
 * But where the page cache has to wait for the disk (too many dirty pages, a full journal, a network file system), a
 * write takes milliseconds, and the calling thread is the host program's event loop. So groups are written here as
 * long as that is quick: after one that was not, by the pool until several there were quick again.
 */
import { KiB } from '../util/sizes.ts'

/** Copying this much into fresh page-cache memory takes below a millisecond even where that is slow (0.4 GB/s). */
const LARGEST_HERE_BYTES = 256 * KiB
/** What a write may cost the event loop before the pool takes over. */
const SLOW_MS = 2
/** Quick writes of the pool in a row until the calling thread tries again: one stall for each disturbance. */
const PROBATION = 32

export class WriteThread {
  #probation = 0

  /** True if a group of so many bytes may be written on the calling thread. */
  mayWriteHere(bytes: number): boolean {
    return bytes <= LARGEST_HERE_BYTES && this.#probation === 0
  }

  wroteHere(milliseconds: number): void {
    if (milliseconds > SLOW_MS) this.#probation = PROBATION
  }

  wroteThere(milliseconds: number): void {
    if (this.#probation === 0) return
    this.#probation = milliseconds > SLOW_MS ? PROBATION : this.#probation - 1
  }
}
