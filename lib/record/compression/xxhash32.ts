/**
 * xxHash, 32 bits, seed 0: the checksum of LZ4 frames. Plain JavaScript, because the packages that have it need an
 * asynchronous start, and a frame's descriptor is only a few bytes.
 *
 * @see https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md
 */
const P1 = 0x9e3779b1 | 0
const P2 = 0x85ebca77 | 0
const P3 = 0xc2b2ae3d | 0
const P4 = 0x27d4eb2f | 0
const P5 = 0x165667b1 | 0
const STRIPE_BYTES = 16

/** The hash of `bytes[from, to)`, unsigned. */
export function xxHash32(bytes: Buffer, from: number, to: number): number {
  return new XxHash32().update(bytes, from, to).digest()
}

/** The same over bytes that come in pieces. */
export class XxHash32 {
  #a = (P1 + P2) | 0
  #b = P2
  #c = 0
  #d = -P1 | 0
  #total = 0
  /** What is left of the pieces so far: fewer bytes than a stripe. */
  readonly #rest = Buffer.alloc(STRIPE_BYTES)
  #restBytes = 0

  update(bytes: Buffer, from: number, to: number): this {
    this.#total += to - from
    if (this.#restBytes > 0) {
      const taken = Math.min(STRIPE_BYTES - this.#restBytes, to - from)
      bytes.copy(this.#rest, this.#restBytes, from, from + taken)
      this.#restBytes += taken
      from += taken
      if (this.#restBytes < STRIPE_BYTES) return this
      this.#stripes(this.#rest, 0, STRIPE_BYTES)
      this.#restBytes = 0
    }
    const whole = to - ((to - from) % STRIPE_BYTES)
    this.#stripes(bytes, from, whole)
    bytes.copy(this.#rest, 0, whole, to)
    this.#restBytes = to - whole
    return this
  }

  #stripes(bytes: Buffer, from: number, to: number): void {
    let a = this.#a
    let b = this.#b
    let c = this.#c
    let d = this.#d
    for (let at = from; at < to; at += STRIPE_BYTES) {
      a = round(a, read32(bytes, at))
      b = round(b, read32(bytes, at + 4))
      c = round(c, read32(bytes, at + 8))
      d = round(d, read32(bytes, at + 12))
    }
    this.#a = a
    this.#b = b
    this.#c = c
    this.#d = d
  }

  /** The hash of all pieces so far; more may follow. */
  digest(): number {
    const long = this.#total >= STRIPE_BYTES
    let hash = long ? rotate(this.#a, 1) + rotate(this.#b, 7) + rotate(this.#c, 12) + rotate(this.#d, 18) : P5
    hash = (hash + this.#total) | 0
    let at = 0
    for (; at + 4 <= this.#restBytes; at += 4) {
      hash = Math.imul(rotate((hash + Math.imul(read32(this.#rest, at), P3)) | 0, 17), P4)
    }
    for (; at < this.#restBytes; at++) {
      hash = Math.imul(rotate((hash + Math.imul(this.#rest[at]!, P5)) | 0, 11), P1)
    }
    hash = Math.imul(hash ^ (hash >>> 15), P2)
    hash = Math.imul(hash ^ (hash >>> 13), P3)
    return (hash ^ (hash >>> 16)) >>> 0
  }
}

function round(lane: number, input: number): number {
  return Math.imul(rotate((lane + Math.imul(input, P2)) | 0, 13), P1)
}

function rotate(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits))
}

function read32(bytes: Buffer, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
}
