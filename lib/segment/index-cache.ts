import { MiB } from '../util/sizes.ts'

export const DEFAULT_INDEX_CACHE_BYTES = 32 * MiB

/** What an object in memory costs beside its bytes, so that a million small indexes count for something. */
const OVERHEAD_BYTES = 256

/** One index in memory. Whoever uses it sets `used`; that is all a hit costs. */
export interface CachedIndex {
  used: boolean
}

interface Entry extends CachedIndex {
  readonly bytes: number
  readonly evict: () => void
}

/**
 * Indexes of sealed segments in memory, at most so many bytes at once, however many segments there are. They are read
 * from their files when somebody first looks something up, and let go of when others need the room.
 *
 * Invariants:
 *   C1  The bytes held exceed the budget only by the one index that was added last.
 *   C2  Each entry is evicted or removed once; after that the cache holds no reference to it.
 *
 * What goes is close to the least recently used: one round's grace for what was used since the last search.
 */
export class IndexCache {
  readonly maxBytes: number
  /** In the order of the search: the next to look at comes first. */
  readonly #entries = new Set<Entry>()
  #bytes = 0

  constructor({ maxBytes = DEFAULT_INDEX_CACHE_BYTES }: { maxBytes?: number } = {}) {
    if (!(maxBytes >= 0)) throw new TypeError(`maxBytes must be 0 or more, not ${maxBytes}`)
    this.maxBytes = maxBytes
  }

  /** Held now. */
  get bytes(): number {
    return this.#bytes
  }

  get count(): number {
    return this.#entries.size
  }

  /** @param evict - lets go of the index; is called at most once, and not after `remove`. */
  add(bytes: number, evict: () => void): CachedIndex {
    const entry: Entry = { bytes: bytes + OVERHEAD_BYTES, evict, used: true }
    this.#bytes += entry.bytes
    this.#makeRoom()
    this.#entries.add(entry)
    return entry
  }

  /** Forgets an index that its owner lets go of. */
  remove(cached: CachedIndex): void {
    const entry = cached as Entry
    if (this.#entries.delete(entry)) this.#bytes -= entry.bytes
  }

  #makeRoom(): void {
    // Two rounds at most: the first takes the grace of what was used lately, the second finds it.
    for (let left = this.#entries.size * 2; left > 0 && this.#bytes > this.maxBytes; left -= 1) {
      const entry = firstOf(this.#entries)
      if (entry === undefined) return
      this.#entries.delete(entry)
      if (entry.used) {
        entry.used = false
        this.#entries.add(entry)
      } else {
        this.#bytes -= entry.bytes
        entry.evict()
      }
    }
  }
}

function firstOf(entries: Set<Entry>): Entry | undefined {
  for (const entry of entries) return entry
  return undefined
}
