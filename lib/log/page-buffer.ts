import type { ReadOptions } from './types.ts'

/** As `ReadOptions`, and where to put what is read; a fresh buffer for each read unless said otherwise. */
export interface PageOptions extends ReadOptions {
  readonly into?: PageBuffer
}

/**
 * Memory for one read after the other. A fresh MiB costs a page fault for each 4 KiB, which together take as long as
 * reading it.
 */
export class PageBuffer {
  #memory: Buffer = Buffer.alloc(0)

  /** So many bytes; what was taken before is overwritten. */
  take(bytes: number): Buffer {
    // Ranges differ by an index interval or so from read to read.
    if (bytes > this.#memory.length) this.#memory = Buffer.allocUnsafeSlow(bytes + (bytes >>> 3))
    return this.#memory.subarray(0, bytes)
  }
}
