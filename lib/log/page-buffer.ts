import type { Segment } from '../segment/segment.ts'
import type { ReadOptions } from './types.ts'

/** As `ReadOptions`, and where to put what is read; a fresh buffer for each read unless said otherwise. */
export interface PageOptions extends ReadOptions {
  readonly into?: PageBuffer
  /** Of one read after the other: each begins where the one before it ended. */
  readonly place?: StreamPlace
}

/**
 * Where a stream stands in the files: each of its reads says so to the next, which spares that one the index, and the
 * batch before the wanted one, to which an index entry leads.
 */
export class StreamPlace {
  #segment: Segment | undefined
  #position = 0
  #offset = -1
  #cuts = 0
  /** The last read was made on the calling thread: reading ahead would gain nothing. */
  isWarm = false

  /** The batch in front of `offset` ends at `position`, as the log was after so many cuts. */
  moveTo(segment: Segment, position: number, offset: number, cuts: number): void {
    this.#segment = segment
    this.#position = position
    this.#offset = offset
    this.#cuts = cuts
  }

  /** Where in the segment the batch of `offset` begins; `undefined` unless the last read ended there. */
  positionOf(segment: Segment, offset: number, cuts: number): number | undefined {
    const isHere = segment === this.#segment && offset === this.#offset && cuts === this.#cuts
    return isHere ? this.#position : undefined
  }
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
