import { assert } from '../util/assert.ts'
import { type HashSeeds, type KeyHash, makeKeyHash } from './key-hash.ts'

const WORDS_PER_SLOT = 6
export const SLOT_BYTES = 4 * WORDS_PER_SLOT
/** Of the slots at most this part is used: what is looked for lies five slots on, on average, when it is. */
export const LOAD_FACTOR = 0.9
const TWO_32 = 2 ** 32

export interface OffsetMapOptions {
  /** Memory for the slots. At least one is made, whatever this says. */
  readonly memoryBytes: number
  /** No more keys than this can come: a small log takes a small map. */
  readonly mostKeys?: number
  readonly seeds: HashSeeds
}

/**
 * The last offset of each key, in memory of a fixed size: what compaction decides with.
 *
 *     slot := hash 128 bits, offset + 1 (low word, high word)     // all zeros: free
 *
 * Open addressing, one slot after the other from the one that the hash names, in one typed array; no key is kept and
 * nothing is allocated for one. Two keys of one hash would be one key here: native-notes/compaction.md does the sum.
 *
 * Invariants:
 *   M1  A key that was put is found, with the largest offset it was put with.
 *   M2  At most LOAD_FACTOR of the slots are taken, so that every search meets a free one.
 */
export class OffsetMap {
  readonly #hash: KeyHash
  readonly #words: Uint32Array
  readonly #slots: number
  readonly #most: number
  #size = 0

  private constructor(hash: KeyHash, slots: number) {
    this.#hash = hash
    this.#slots = slots
    this.#words = new Uint32Array(slots * WORDS_PER_SLOT)
    this.#most = Math.max(1, Math.floor(slots * LOAD_FACTOR))
  }

  static async create({
    memoryBytes,
    mostKeys = Number.MAX_SAFE_INTEGER,
    seeds
  }: OffsetMapOptions): Promise<OffsetMap> {
    const wanted = Math.min(Math.floor(memoryBytes / SLOT_BYTES), Math.ceil(mostKeys / LOAD_FACTOR) + 1)
    return new OffsetMap(await makeKeyHash(seeds), Math.max(2, wanted))
  }

  /** Keys that are in it. */
  get size(): number {
    return this.#size
  }

  /** Keys that it takes. */
  get capacity(): number {
    return this.#most
  }

  /** Memory of the slots, bytes. */
  get memoryBytes(): number {
    return this.#words.byteLength
  }

  /**
   * Notes that `bytes[start, end)` is the key of the record at `offset`, which is no smaller than those before.
   *
   * @returns false, and nothing is noted, if that would be one key too many.
   */
  put(bytes: Uint8Array, start: number, end: number, offset: number): boolean {
    this.#hash.hash(bytes, start, end)
    const at = this.#find()
    const words = this.#words
    if (words[at + 4] === 0 && words[at + 5] === 0) {
      if (this.#size >= this.#most) return false
      assert(this.#size < this.#slots - 1, 'M2: a slot stays free')
      const hash = this.#hash.words
      words[at] = hash[0]!
      words[at + 1] = hash[1]!
      words[at + 2] = hash[2]!
      words[at + 3] = hash[3]!
      this.#size += 1
    }
    const stored = offset + 1
    words[at + 4] = stored >>> 0
    words[at + 5] = Math.floor(stored / TWO_32)
    return true
  }

  /** The last offset of a key; -1 if it has none here. */
  get(bytes: Uint8Array, start: number, end: number): number {
    this.#hash.hash(bytes, start, end)
    const at = this.#find()
    return this.#words[at + 5]! * TWO_32 + this.#words[at + 4]! - 1
  }

  /** The first word of the slot that has the hash, or of the free one where the search ends. */
  #find(): number {
    const words = this.#words
    const hash = this.#hash.words
    const w0 = hash[0]!
    const w1 = hash[1]!
    const w2 = hash[2]!
    const w3 = hash[3]!
    const end = words.length
    let at = Math.floor((w0 / TWO_32) * this.#slots) * WORDS_PER_SLOT
    for (;;) {
      if (words[at] === w0 && words[at + 1] === w1 && words[at + 2] === w2 && words[at + 3] === w3) break
      if (words[at + 4] === 0 && words[at + 5] === 0) break
      at += WORDS_PER_SLOT
      if (at === end) at = 0
    }
    return at
  }
}
