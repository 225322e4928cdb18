import { assert } from '../util/assert.ts'

const NOTHING = Buffer.alloc(0)
const FIRST_ENTRIES = 16

/**
 * Entries of one fixed size, back to back, in memory that grows as they come: an index file's content.
 *
 * Memory doubles from 16 entries on, so an index costs at most twice its file, and none while it is empty.
 */
export class EntryBytes {
  readonly entryBytes: number
  #bytes: Buffer
  #count: number

  /** @param bytes - holds `count` entries; taken over. */
  constructor(entryBytes: number, bytes: Buffer = NOTHING, count = 0) {
    assert(count * entryBytes <= bytes.length, 'there are as many bytes as entries need')
    this.entryBytes = entryBytes
    this.#bytes = bytes
    this.#count = count
  }

  /** The memory itself: valid up to `byteLength`, and until the next `grow`. */
  get bytes(): Buffer {
    return this.#bytes
  }

  get count(): number {
    return this.#count
  }

  get byteLength(): number {
    return this.#count * this.entryBytes
  }

  get memory(): number {
    return this.#bytes.length
  }

  /** Makes room for one entry more, counts it, and gives the position to write it at. */
  grow(): number {
    const at = this.byteLength
    if (at + this.entryBytes > this.#bytes.length) {
      const grown = Buffer.alloc(Math.max(FIRST_ENTRIES, this.#count * 2) * this.entryBytes)
      this.#bytes.copy(grown, 0, 0, at)
      this.#bytes = grown
    }
    this.#count += 1
    return at
  }

  cutTo(count: number): void {
    assert(count >= 0 && count <= this.#count, 'a cut leaves no more than there is')
    this.#count = count
  }

  /** Copy of entries 0, n, 2n, ... and of the last one. */
  everyNth(n: number): EntryBytes {
    const { entryBytes } = this
    const count = this.#count === 0 ? 0 : Math.ceil((this.#count - 1) / n) + 1
    const bytes = Buffer.allocUnsafeSlow(count * entryBytes)
    for (let i = 0; i < count; i += 1) {
      const at = Math.min(i * n, this.#count - 1) * entryBytes
      this.#bytes.copy(bytes, i * entryBytes, at, at + entryBytes)
    }
    return new EntryBytes(entryBytes, bytes, count)
  }

  isSame(entry: number, other: EntryBytes, otherEntry: number): boolean {
    const { entryBytes } = this
    const at = entry * entryBytes
    const otherAt = otherEntry * entryBytes
    return this.#bytes.compare(other.#bytes, otherAt, otherAt + entryBytes, at, at + entryBytes) === 0
  }

  copyFrom(entry: number): Buffer {
    return Buffer.from(this.#bytes.subarray(entry * this.entryBytes, this.byteLength))
  }
}
