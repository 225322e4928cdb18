import { assert } from '../util/assert.ts'
import { type HashSeeds, KEYS_AT_ONCE, type KeyHash, makeKeyHash } from './key-hash.ts'

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

/** Where up to KEYS_AT_ONCE keys lie in some bytes, in ascending order, and the offset of the record of each. */
export class KeyPlaces {
  readonly starts = new Int32Array(KEYS_AT_ONCE)
  readonly ends = new Int32Array(KEYS_AT_ONCE)
  readonly offsets = new Float64Array(KEYS_AT_ONCE)
  count = 0

  get isFull(): boolean {
    return this.count === KEYS_AT_ONCE
  }

  add(start: number, end: number, offset: number): void {
    const { count } = this
    this.starts[count] = start
    this.ends[count] = end
    this.offsets[count] = offset
    this.count = count + 1
  }
}

/**
 * The last offset of each key, in memory of a fixed size: what compaction decides with.
 *
 *     slot := hash 128 bits, offset + 1 (low word, high word)     // all zeros: free
 *
 * Keys are put and looked up many at a time: a slot is a place in memory that is seldom in a cache, and while the
 * processor waits for one it can fetch those of the next keys.
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
  readonly #scale: number
  #size = 0

  private constructor(hash: KeyHash, slots: number) {
    this.#hash = hash
    this.#slots = slots
    this.#scale = slots / TWO_32
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
   * Notes that the records at these offsets, which are no smaller than any before, have these keys.
   *
   * @returns how many were noted: fewer than all if one more would be too many.
   */
  putAll(bytes: Uint8Array, { starts, ends, offsets, count }: KeyPlaces): number {
    this.#hash.hashAll(bytes, starts, ends, count)
    const words = this.#words
    const hashes = this.#hash.words
    this.#fetch(hashes, count)
    for (let i = 0; i < count; i += 1) {
      const at = this.#find(hashes, 4 * i)
      if (words[at + 4] === 0 && words[at + 5] === 0) {
        if (this.#size >= this.#most) return i
        assert(this.#size < this.#slots - 1, 'M2: a slot stays free')
        for (let j = 0; j < 4; j += 1) words[at + j] = hashes[4 * i + j]!
        this.#size += 1
      }
      const stored = offsets[i]! + 1
      words[at + 4] = stored >>> 0
      words[at + 5] = (stored / TWO_32) >>> 0
    }
    return count
  }

  /** For each of these keys its last offset; -1 if it has none here. */
  getAll(bytes: Uint8Array, { starts, ends, count }: KeyPlaces, lastOffsets: Float64Array): void {
    this.#hash.hashAll(bytes, starts, ends, count)
    const words = this.#words
    const hashes = this.#hash.words
    this.#fetch(hashes, count)
    for (let i = 0; i < count; i += 1) {
      const at = this.#find(hashes, 4 * i)
      lastOffsets[i] = words[at + 5]! * TWO_32 + words[at + 4]! - 1
    }
  }

  /** Brings the slots into the cache: loads that do not wait for one another. */
  #fetch(hashes: Uint32Array, count: number): void {
    const words = this.#words
    const scale = this.#scale
    let high = 0
    for (let i = 0; i < count; i += 1) high |= words[((hashes[4 * i]! * scale) >>> 0) * WORDS_PER_SLOT + 5]!
    assert(high < 2 ** 22, 'offsets are below 2^53') // what was loaded is used, or the compiler might leave the loads out
  }

  /** The first word of the slot that has the hash, or of the free one where the search ends. */
  #find(hashes: Uint32Array, i: number): number {
    const words = this.#words
    const w0 = hashes[i]!
    const w1 = hashes[i + 1]!
    const w2 = hashes[i + 2]!
    const w3 = hashes[i + 3]!
    const end = words.length
    let at = ((w0 * this.#scale) >>> 0) * WORDS_PER_SLOT
    for (;;) {
      if (words[at] === w0 && words[at + 1] === w1 && words[at + 2] === w2 && words[at + 3] === w3) break
      if (words[at + 4] === 0 && words[at + 5] === 0) break
      at += WORDS_PER_SLOT
      if (at === end) at = 0
    }
    return at
  }
}
