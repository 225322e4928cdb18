/**
 * Memory that batches are encoded into, and from which the newest ones are read.
 *
 * A log fills one chunk after the other. A chunk whose bytes are all in the file is *retained*: readers of the tail
 * are served from it until the pool needs the memory. Fresh memory is what costs (its pages are touched for the
 * first time), so buffers go round, the one released last first: what is still in the processor's cache takes new
 * bytes fastest.
 *
 * Invariants:
 *   A1  A chunk's bytes do not change between the moment a batch in it is sealed and the chunk's release.
 *   A2  Nobody outside the log ever holds a view of a chunk: readers get copies. So a released buffer can be reused.
 *   A3  The pool retains at most `maxRetainedBytes`, but for chunks that are being written to; the oldest retained chunk
 *       goes first, whoever owns it.
 */
import { KiB, MiB } from '../util/sizes.ts'

export const SMALL_CHUNK_BYTES = 64 * KiB
/** What a busy log writes to and what it keeps for readers fit into a processor's second-level cache together. */
export const LARGE_CHUNK_BYTES = 512 * KiB
/** For batches that fit into no large one: the next power of two up to here, so that this memory goes round, too. */
export const MAX_POOLED_BYTES = 4 * MiB

export class Chunk {
  readonly buffer: Buffer
  /** Bytes in use. */
  used = 0
  /** True once everything in it is in the file and the owner has moved on or gone idle. */
  retained = false
  /** Retained, and its owner has come back to write on: not to be taken away just now. */
  held = false

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

  /** A chunk with room for at least `bytes`; of one of the pooled sizes where that is enough. */
  take(bytes: number, preferLarge: boolean): Chunk {
    const size = preferLarge ? Math.max(LARGE_CHUNK_BYTES, pooledSize(bytes)) : pooledSize(bytes)
    const buffer = this.#free.get(size)?.pop()
    if (buffer !== undefined) this.#freeBytes -= size
    return new Chunk(buffer ?? Buffer.allocUnsafeSlow(size))
  }

  /**
   * Keeps a fully written chunk for readers; `evicted` is called, once, when its memory is taken away. Between two
   * appends a log is idle, so this comes after each of them: a chunk that is retained already costs nothing.
   */
  retain(chunk: Chunk, evicted: (chunk: Chunk) => void): void {
    chunk.held = false
    if (chunk.retained) return
    chunk.retained = true
    this.#retained.set(chunk, evicted)
    this.#retainedBytes += chunk.buffer.length
    for (const [oldest, tell] of this.#retained) {
      if (this.#retainedBytes <= this.maxRetainedBytes) return
      if (oldest.held) continue
      this.unretain(oldest)
      tell(oldest)
      this.release(oldest)
    }
  }

  /** Gives a chunk that is not held back to its owner, who has no further use for it; false if it was not retained. */
  unretain(chunk: Chunk): boolean {
    if (!this.#retained.delete(chunk)) return false
    chunk.retained = false
    this.#retainedBytes -= chunk.buffer.length
    return true
  }

  /** Gives the memory back. The chunk must not be used again (A1). */
  release(chunk: Chunk): void {
    const size = chunk.buffer.length
    if (size > MAX_POOLED_BYTES || this.#freeBytes + size > this.maxRetainedBytes / 2) return
    this.#freeBytes += size
    const list = this.#free.get(size)
    if (list === undefined) this.#free.set(size, [chunk.buffer])
    else list.push(chunk.buffer)
  }
}

function pooledSize(bytes: number): number {
  if (bytes <= SMALL_CHUNK_BYTES) return SMALL_CHUNK_BYTES
  if (bytes <= LARGE_CHUNK_BYTES) return LARGE_CHUNK_BYTES
  return bytes > MAX_POOLED_BYTES ? bytes : 2 ** Math.ceil(Math.log2(bytes))
}
