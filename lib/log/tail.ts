/**
 * The newest batches of a log, in memory: those not yet written, and behind them those written last whose chunk has
 * not been reclaimed. Readers of the hot tail are served from here without touching the file.
 *
 * Invariants:
 *   T1  Batches are in offset order, without one missing between the first and the last.
 *   T2  What lies here is sealed: base offset, epoch and CRC are final.
 *   T3  Copies only leave this class, and `find`'s view, which does not outlive the call (A2 of arena.ts).
 */
import { BatchView } from '../record/batch-view.ts'
import type { Chunk } from './arena.ts'
import type { PageBuffer } from './page-buffer.ts'

/** A batch that has its offsets and its final bytes. */
export interface SealedBatch {
  readonly chunk: Chunk
  readonly start: number
  readonly size: number
  readonly baseOffset: number
  readonly lastOffset: number
  /** -1: none, as in the bytes. */
  readonly maxTimestamp: number
  readonly records: number
  /** True if the batch names a producer, whose state it changes. */
  readonly producer: boolean
  /** Where in the segment's file the writer puts it, or has; -1 before. */
  position: number
}

export class Tail {
  #batches: SealedBatch[] = []
  #head = 0

  /** First offset held here; `undefined` when empty. */
  get baseOffset(): number | undefined {
    return this.#batches[this.#head]?.baseOffset
  }

  push(batch: SealedBatch): void {
    this.#batches.push(batch)
  }

  /** Forgets the batches of a chunk, and anything older: they are read from the file from now on. */
  evict(chunk: Chunk): void {
    // Chunks go in the order they were filled, so that its batches are the first ones here; there may be many behind.
    let at = this.#head
    while (at < this.#batches.length && this.#batches[at]?.chunk !== chunk) at += 1
    if (at === this.#batches.length) return
    while (this.#batches[at]?.chunk === chunk) at += 1
    this.#dropUpTo(at)
  }

  /** Forgets the batches that begin below `offset`. */
  dropBelow(offset: number): void {
    let at = this.#head
    while (at < this.#batches.length && (this.#batches[at] as SealedBatch).baseOffset < offset) at += 1
    this.#dropUpTo(at)
  }

  #dropUpTo(head: number): void {
    this.#head = head
    // Moving the rest down only when half is gone keeps this O(1) per batch.
    if (head * 2 > this.#batches.length) {
      this.#batches = this.#batches.slice(head)
      this.#head = 0
    }
  }

  clear(): void {
    this.#batches = []
    this.#head = 0
  }

  /** Drops the batches that hold `offset` or anything above it. */
  truncateTo(offset: number): void {
    while (
      this.#batches.length > this.#head &&
      (this.#batches[this.#batches.length - 1] as SealedBatch).lastOffset >= offset
    ) {
      this.#batches.pop()
    }
  }

  /**
   * Copies whole batches, from the one that holds `offset` (or the next one, in a gap) up to but not including the
   * first that begins at or above `upTo`; at most `maxBytes`, but always one; into memory of the caller's, given or fresh.
   *
   * @returns `undefined` when the batch that holds `offset` may be older than what is here.
   */
  read(
    offset: number,
    upTo: number,
    maxBytes: number,
    into?: PageBuffer
  ): { bytes: Buffer; baseOffset: number; nextOffset: number } | undefined {
    const base = this.baseOffset
    if (base === undefined || offset < base) return undefined
    const first = this.#firstWithLastOffsetAtLeast(offset)
    let end = first
    let size = 0
    for (; end < this.#batches.length; end += 1) {
      const batch = this.#batches[end] as SealedBatch
      if (batch.baseOffset >= upTo || (end > first && size + batch.size > maxBytes)) break
      size += batch.size
    }
    if (end === first) return undefined
    const bytes = into?.take(size) ?? Buffer.allocUnsafeSlow(size)
    let at = 0
    for (let i = first; i < end; i += 1) {
      const batch = this.#batches[i] as SealedBatch
      at += batch.chunk.buffer.copy(bytes, at, batch.start, batch.start + batch.size)
    }
    return {
      bytes,
      baseOffset: (this.#batches[first] as SealedBatch).baseOffset,
      nextOffset: (this.#batches[end - 1] as SealedBatch).lastOffset + 1
    }
  }

  /** The batch that holds `offset`, where it lies: whoever asks copies what it needs at once (T3). */
  find(offset: number): BatchView | undefined {
    const base = this.baseOffset
    if (base === undefined || offset < base) return undefined
    const batch = this.#batches[this.#firstWithLastOffsetAtLeast(offset)]
    return batch === undefined || batch.baseOffset > offset ? undefined : new BatchView(batch.chunk.buffer, batch.start)
  }

  #firstWithLastOffsetAtLeast(offset: number): number {
    let low = this.#head
    let high = this.#batches.length // [head, low) end below offset; [high, length) end at or above it
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#batches[middle] as SealedBatch).lastOffset < offset) low = middle + 1
      else high = middle
    }
    return low
  }
}
