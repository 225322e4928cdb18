/**
 * How long a drain waits for more to be appended: until a microtask has gone by without an append.
 *
 * A producer that has several appends under way, and awaits the oldest before its next, hands them in one by one, each
 * in a microtask of its own. One write for all of them costs half of what it costs to write each, and a batch of them
 * is smaller, too. Whoever awaits every append loses one microtask, a hundredth of what the write takes. No timer: the
 * event loop does not turn meanwhile.
 */
import { KiB } from '../util/sizes.ts'

/** What is worth a write of its own. */
const ENOUGH_BYTES = 256 * KiB
/** In microtasks: nobody who appends for ever holds the write back for ever. */
const LONGEST = 64

export class Linger {
  #left = 0
  #end = -1

  /** The first append of a group has come. */
  begin(): void {
    this.#left = LONGEST
    this.#end = -1
  }

  /**
   * Asked once in each microtask.
   *
   * @param logEndOffset - of what is accepted.
   */
  isOver(logEndOffset: number, unwrittenBytes: number): boolean {
    if (logEndOffset === this.#end || unwrittenBytes >= ENOUGH_BYTES || this.#left === 0) return true
    this.#end = logEndOffset
    this.#left -= 1
    return false
  }
}
