/**
 * The latest offset of each key, in memory that does not grow beyond a bound: a table with open addressing over one
 * typed array, 24 bytes a slot.
 *
 *     slot := hash: 4 x uint32        // of the key's bytes, with a random seed
 *             offset + 1: uint53      // high word, low word; 0 is a free slot
 *
 * Keys themselves are not kept, so two keys of one hash would be taken for one. With 128 bits and n keys the chance
 * is below n^2 / 2^129: for a billion keys 10^-21. The seed is new for each table, so that keys made to collide in one
 * run do not in the next.
 *
 * The hash is MurmurHash3 for x86, 128 bits (public domain), with a seed of four words instead of one. It is here and
 * not in a package because a call into WebAssembly costs more than hashing a key of usual length does.
 */
import { randomFillSync } from 'node:crypto'

const WORDS = 6
const SLOT_BYTES = 4 * WORDS
const FIRST_SLOTS = 1024
/** Beyond, what is looked for in vain takes long to be missed. */
const FULLEST = 0.75
const HIGH = 2 ** 32

export class KeyOffsets {
  readonly #most: number
  readonly #seed = randomFillSync(new Uint32Array(4))
  readonly #hash = new Uint32Array(4)
  #slots = FIRST_SLOTS
  #table = new Uint32Array(FIRST_SLOTS * WORDS)
  #used = 0
  #live = 0

  /** @param maxBytes - memory for the table. While it grows, half as much again is held for a moment. */
  constructor(maxBytes: number) {
    let most = FIRST_SLOTS
    // Growing to twice the slots holds the old table beside the new one.
    while (most * 2 * SLOT_BYTES <= maxBytes) most *= 2
    this.#most = most
  }

  /** Keys that have an offset. */
  get size(): number {
    return this.#live
  }

  /** So many keys always fit. */
  get capacity(): number {
    return Math.floor(this.#most * FULLEST)
  }

  /** Sets the offset of a key. False, and nothing done, if the key is new and there is no room. */
  set(bytes: Uint8Array, start: number, end: number, offset: number): boolean {
    hashKey(bytes, start, end, this.#seed, this.#hash)
    let at = this.#place()
    if (this.#isFree(at)) {
      if (this.#used >= this.#slots * FULLEST) {
        if (this.#slots === this.#most) return false
        this.#grow()
        hashKey(bytes, start, end, this.#seed, this.#hash)
        at = this.#place()
      }
      this.#table.set(this.#hash, at)
      this.#used += 1
      this.#live += 1
    } else if (this.#isForgotten(at)) this.#live += 1
    this.#put(at, offset)
    return true
  }

  /** The offset of a key; `undefined` if it has none. */
  get(bytes: Uint8Array, start: number, end: number): number | undefined {
    if (this.#live === 0) return undefined
    hashKey(bytes, start, end, this.#seed, this.#hash)
    const at = this.#place()
    return this.#isFree(at) || this.#isForgotten(at) ? undefined : this.#at(at)
  }

  /** As if the key had never been set; its slot stays taken until `clear`. */
  forget(bytes: Uint8Array, start: number, end: number): void {
    if (this.#live === 0) return
    hashKey(bytes, start, end, this.#seed, this.#hash)
    const at = this.#place()
    if (this.#isFree(at) || this.#isForgotten(at)) return
    this.#table[at + 4] = FORGOTTEN
    this.#live -= 1
  }

  clear(): void {
    if (this.#used > 0) this.#table.fill(0)
    this.#used = 0
    this.#live = 0
  }

  /** Where the key of `#hash` is, or would be put. */
  #place(): number {
    const table = this.#table
    const a = this.#hash[0]!
    const b = this.#hash[1]!
    const c = this.#hash[2]!
    const d = this.#hash[3]!
    const mask = this.#slots - 1
    for (let slot = a & mask; ; slot = (slot + 1) & mask) {
      const at = slot * WORDS
      if (this.#isFree(at)) return at
      if (table[at] === a && table[at + 1] === b && table[at + 2] === c && table[at + 3] === d) return at
    }
  }

  #isFree(at: number): boolean {
    return this.#table[at + 4] === 0 && this.#table[at + 5] === 0
  }

  #isForgotten(at: number): boolean {
    return this.#table[at + 4] === FORGOTTEN
  }

  #put(at: number, offset: number): void {
    this.#table[at + 4] = Math.floor((offset + 1) / HIGH)
    this.#table[at + 5] = (offset + 1) % HIGH
  }

  #at(at: number): number {
    return (this.#table[at + 4] as number) * HIGH + (this.#table[at + 5] as number) - 1
  }

  /** Uses `#hash`. */
  #grow(): void {
    const old = this.#table
    this.#slots *= 2
    this.#table = new Uint32Array(this.#slots * WORDS)
    for (let from = 0; from < old.length; from += WORDS) {
      if (old[from + 4] === 0 && old[from + 5] === 0) continue
      this.#hash.set(old.subarray(from, from + 4))
      this.#table.set(old.subarray(from, from + WORDS), this.#place())
    }
  }
}

/** As the high word of an offset it would be beyond 2^53. */
const FORGOTTEN = 0xffffffff

const C1 = 0x239b961b
const C2 = 0xab0e9789
const C3 = 0x38b34ae5
const C4 = 0xa1e38b93

/** MurmurHash3_x86_128 of bytes [start, end), begun with the four words of `seed`. */
export function hashKey(bytes: Uint8Array, start: number, end: number, seed: Uint32Array, into: Uint32Array): void {
  let h1 = seed[0]! | 0
  let h2 = seed[1]! | 0
  let h3 = seed[2]! | 0
  let h4 = seed[3]! | 0
  let at = start
  for (; at + 16 <= end; at += 16) {
    h1 ^= Math.imul(turn(Math.imul(word(bytes, at), C1), 15), C2)
    h1 = (Math.imul((turn(h1, 19) + h2) | 0, 5) + 0x561ccd1b) | 0
    h2 ^= Math.imul(turn(Math.imul(word(bytes, at + 4), C2), 16), C3)
    h2 = (Math.imul((turn(h2, 17) + h3) | 0, 5) + 0x0bcaa747) | 0
    h3 ^= Math.imul(turn(Math.imul(word(bytes, at + 8), C3), 17), C4)
    h3 = (Math.imul((turn(h3, 15) + h4) | 0, 5) + 0x96cd1c35) | 0
    h4 ^= Math.imul(turn(Math.imul(word(bytes, at + 12), C4), 18), C1)
    h4 = (Math.imul((turn(h4, 13) + h1) | 0, 5) + 0x32ac3b17) | 0
  }
  const left = end - at
  if (left > 12) h4 ^= Math.imul(turn(Math.imul(rest(bytes, at + 12, end), C4), 18), C1)
  if (left > 8) h3 ^= Math.imul(turn(Math.imul(rest(bytes, at + 8, end), C3), 17), C4)
  if (left > 4) h2 ^= Math.imul(turn(Math.imul(rest(bytes, at + 4, end), C2), 16), C3)
  if (left > 0) h1 ^= Math.imul(turn(Math.imul(rest(bytes, at, end), C1), 15), C2)
  const length = end - start
  h1 ^= length
  h2 ^= length
  h3 ^= length
  h4 ^= length
  h1 = (h1 + h2 + h3 + h4) | 0
  h2 = mixed((h2 + h1) | 0)
  h3 = mixed((h3 + h1) | 0)
  h4 = mixed((h4 + h1) | 0)
  h1 = mixed(h1)
  h1 = (h1 + h2 + h3 + h4) | 0
  into[0] = h1
  into[1] = h2 + h1
  into[2] = h3 + h1
  into[3] = h4 + h1
}

function word(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
}

/** The word at `at`, of bytes below `end` only. */
function rest(bytes: Uint8Array, at: number, end: number): number {
  if (at + 4 <= end) return word(bytes, at)
  let value = 0
  for (let i = end - 1; i >= at; i -= 1) value = (value << 8) | bytes[i]!
  return value
}

function turn(value: number, by: number): number {
  return (value << by) | (value >>> (32 - by))
}

function mixed(value: number): number {
  let h = value
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return h ^ (h >>> 16)
}
