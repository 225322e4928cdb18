/**
 * An index of a closed segment that is too large to be read for one lookup: every 512th entry is in memory, and tells
 * which page of the file holds the entry that is looked for. The pages that were used are in memory too, as long as
 * the cache has room for them.
 *
 * The indexes of 100 GB take 190 MB. Reading a whole one took 3 to 10 ms; a page takes some microseconds.
 *
 * Invariants:
 *   P1  The sample was taken from a whole index in good order that is in the file.
 *   P2  A page is used only if it is in order and agrees with the sample at both ends. So no entry of it leads out of
 *       the log. What an entry says of its batch is for the reader to check, as with a whole index.
 */
import { isLogError, LogError } from '../util/errors.ts'
import { KiB } from '../util/sizes.ts'
import { CacheSlot } from './cache-slot.ts'
import type { IndexFile } from './index-file.ts'
import type { SegmentEnv } from './segment-types.ts'

/** An index of at most so many bytes is read and kept as a whole. */
export const LARGEST_WHOLE_INDEX = 64 * KiB
const ENTRIES_PER_PAGE = 512
/** A lookup needs the entry it finds and the next two: with two more each page is enough for its lookups. */
const ENTRIES_READ = ENTRIES_PER_PAGE + 2

/** An index or a part of one, with entries in the order of their keys. */
interface Entries<K, T> {
  readonly entryCount: number
  readonly byteLength: number
  /** Bytes held in memory. */
  readonly memory: number
  countAtOrBelow(key: K): number
  sample(n: number): T
  hasSameEntry(entry: number, other: T, otherEntry: number): boolean
}

interface Sampled<T extends { readonly memory: number }> {
  readonly sample: T
  readonly entryCount: number
  readonly pages: (CacheSlot<T> | undefined)[]
  readonly memory: number
}

export class PagedIndex<K, T extends Entries<K, T>> {
  readonly #env: SegmentEnv
  readonly #file: IndexFile
  readonly #entryBytes: number
  readonly #parse: (bytes: Buffer) => T
  readonly #sampled = new CacheSlot<Sampled<T>>()

  /** @param parse - checks the order of entries; throws CORRUPT_FILE. */
  constructor(env: SegmentEnv, file: IndexFile, entryBytes: number, parse: (bytes: Buffer) => T) {
    this.#env = env
    this.#file = file
    this.#entryBytes = entryBytes
    this.#parse = parse
  }

  /** Nothing is in memory before `take`, and after the cache had to let go of it. */
  get isKnown(): boolean {
    return this.#sampled.get() !== undefined
  }

  /** Takes a sample of an index that the file holds (P1). False for a small one, which is better kept whole. */
  take(whole: T): boolean {
    if (whole.byteLength <= LARGEST_WHOLE_INDEX) return false
    const { indexCache } = this.#env
    this.clear()
    const sample = whole.sample(ENTRIES_PER_PAGE)
    const pages = new Array<CacheSlot<T> | undefined>(Math.ceil(whole.entryCount / ENTRIES_PER_PAGE)).fill(undefined)
    const memory = sample.memory + 8 * pages.length
    this.#sampled.lend({ sample, entryCount: whole.entryCount, pages, memory }, indexCache)
    return true
  }

  /**
   * The part of the index in which to look up `key`: from memory, or with a small read on the calling thread.
   * `undefined` where neither will do: see `load`.
   */
  near(key: K): T | undefined {
    const sampled = this.#sampled.get()
    if (sampled === undefined) return undefined
    const page = pageOf(sampled, key)
    return sampled.pages[page]?.get() ?? this.#readHere(sampled, page)
  }

  /**
   * As `near`, by way of the thread pool. `undefined` without a sample.
   *
   * @throws {LogError} CORRUPT_FILE when what the file holds there is not what it held before.
   */
  async load(key: K): Promise<T | undefined> {
    const sampled = this.#sampled.get()
    if (sampled === undefined) return undefined
    const page = pageOf(sampled, key)
    const bytes = this.#room(sampled, page)
    return this.#admit(sampled, page, bytes, await this.#file.read(bytes, this.#positionOf(page)))
  }

  /** Forgets everything. */
  clear(): void {
    const { indexCache } = this.#env
    for (const page of this.#sampled.get()?.pages ?? []) page?.clear(indexCache)
    this.#sampled.clear(indexCache)
  }

  #readHere(sampled: Sampled<T>, page: number): T | undefined {
    const { warmReads } = this.#env
    if (warmReads === undefined || !warmReads.mayRead()) return undefined
    const bytes = this.#room(sampled, page)
    try {
      const count = warmReads.timed(() => this.#file.readOpenSync(bytes, this.#positionOf(page)))
      return count === undefined ? undefined : this.#admit(sampled, page, bytes, count)
    } catch (error) {
      // `load` meets it again, and its caller knows what to make of it.
      if (isLogError(error, 'CORRUPT_FILE')) return undefined
      throw error
    }
  }

  #admit(sampled: Sampled<T>, page: number, bytes: Buffer, count: number): T {
    const { sample, pages } = sampled
    if (count !== bytes.length) throw this.#changed(page)
    const part = this.#parse(bytes)
    const last = Math.min(ENTRIES_PER_PAGE, part.entryCount - 1)
    const agrees = part.hasSameEntry(0, sample, page) && (last === 0 || part.hasSameEntry(last, sample, page + 1))
    if (!agrees) throw this.#changed(page)
    // Of what was forgotten meanwhile nothing is kept.
    if (this.#sampled.get() !== sampled) return part
    pages[page] ??= new CacheSlot<T>()
    pages[page].lend(part, this.#env.indexCache)
    return part
  }

  #changed(page: number): LogError {
    const { path } = this.#file
    return new LogError('CORRUPT_FILE', `${path} is not what it was, at entry ${page * ENTRIES_PER_PAGE}`, { path })
  }

  #positionOf(page: number): number {
    return page * ENTRIES_PER_PAGE * this.#entryBytes
  }

  #room({ entryCount }: Sampled<T>, page: number): Buffer {
    const entries = Math.min(ENTRIES_READ, entryCount - page * ENTRIES_PER_PAGE)
    return Buffer.allocUnsafeSlow(entries * this.#entryBytes)
  }
}

/** What lies below the first entry is looked up in the first page. */
function pageOf<K, T extends Entries<K, T>>({ sample, pages }: Sampled<T>, key: K): number {
  return Math.min(pages.length - 1, Math.max(0, sample.countAtOrBelow(key) - 1))
}
