/**
 * Memory that batches are encoded into, and from which the newest ones are read.
 *
 * A log fills one chunk after the other. A chunk whose bytes are all in the file is *retained*: readers of the tail
 * are served from it until the pool needs the memory. Fresh memory is what costs (its pages are touched for the
 * first time), so buffers go round.
 *
 * Invariants:
 *   A1  A chunk's bytes do not change between the moment a batch in it is sealed and the chunk's release.
 *   A2  Nobody outside the log ever holds a view of a chunk: readers get copies. So a released buffer can be reused.
 *   A3  The pool retains at most `maxRetainedBytes`; the oldest retained chunk goes first, whoever owns it.
 */
import { KiB, MiB } from '../util/sizes.ts'

export const SMALL_CHUNK_BYTES = 64 * KiB
export const LARGE_CHUNK_BYTES = 1 * MiB

export class Chunk {
  readonly buffer: Buffer
  /** Bytes in use. */
  used = 0
  /** True once everything in it is in the file and the owner has moved on or gone idle. */
  retained = false

  constructor(buffer: Buffer) {
    this.buffer = buffer
  }

  get room(): number {
    return this.buffer.length - this.used
  }
}

export class ArenaPool {
  readonly maxRetainedBytes: number
  readonly #free = new Map<number, Buffer[]>()
  readonly #retained = new Map<Chunk, (chunk: Chunk) => void>()
  #retainedBytes = 0
  #freeBytes = 0

  constructor(options: { maxRetainedBytes?: number } = {}) {
    this.maxRetainedBytes = options.maxRetainedBytes ?? 16 * MiB
  }

  get retainedBytes(): number {
    return this.#retainedBytes
  }

  /** A chunk with room for at least `bytes`; of one of the two pooled sizes where that is enough. */
  take(bytes: number, preferLarge: boolean): Chunk {
    const size =
      bytes > LARGE_CHUNK_BYTES
        ? bytes
        : preferLarge || bytes > SMALL_CHUNK_BYTES
          ? LARGE_CHUNK_BYTES
          : SMALL_CHUNK_BYTES
    const buffer = this.#free.get(size)?.pop()
    if (buffer !== undefined) this.#freeBytes -= size
    return new Chunk(buffer ?? Buffer.allocUnsafeSlow(size))
  }

  /** Keeps a fully written chunk for readers; `evicted` is called, once, when its memory is taken away. */
  retain(chunk: Chunk, evicted: (chunk: Chunk) => void): void {
    chunk.retained = true
    this.#retained.set(chunk, evicted)
    this.#retainedBytes += chunk.buffer.length
    for (const [oldest, tell] of this.#retained) {
      if (this.#retainedBytes <= this.maxRetainedBytes) return
      this.unretain(oldest)
      tell(oldest)
      this.release(oldest)
    }
  }

  /** Takes a chunk back into use by its owner; false if it was not retained. */
  unretain(chunk: Chunk): boolean {
    if (!this.#retained.delete(chunk)) return false
    chunk.retained = false
    this.#retainedBytes -= chunk.buffer.length
    return true
  }

  /** Gives the memory back. The chunk must not be used again (A1). */
  release(chunk: Chunk): void {
    const size = chunk.buffer.length
    const pooled = size === SMALL_CHUNK_BYTES || size === LARGE_CHUNK_BYTES
    if (!pooled || this.#freeBytes + size > this.maxRetainedBytes / 2) return
    this.#freeBytes += size
    const list = this.#free.get(size)
    if (list === undefined) this.#free.set(size, [chunk.buffer])
    else list.push(chunk.buffer)
  }
}
