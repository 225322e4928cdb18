/**
 * The bytes of a file in order, a piece at a time. Where they come quickly, each piece is read on the calling thread
 * just before it is looked at, and the event loop turns once in between. Where they do not, the next piece is being
 * read by the thread pool while the present one is looked at.
 *
 * A recovery is bound by the checksum of what it reads. Reading a piece out of the page cache takes about as long as
 * checking it. Done at the same time it would cost nothing, but two threads have to be woken for each piece, and the
 * bytes come from the cache of another processor: on a machine with two of them that do other things as well, batches
 * of 110 KB went by at 1.1 GB/s that way, and at 2.1 GB/s on one thread. From a disk a piece takes several times as
 * long as checking it, and nobody may wait for that here.
 *
 * Two pieces are in memory at most, and the end of the one before them; or one batch that is larger, and a piece.
 */
import { KiB } from '../util/sizes.ts'
import type { ByteSource } from './recovery-scan.ts'

const PIECE_BYTES = 512 * KiB
/** Room in front of a piece for the beginning of a batch that goes on in it. */
const HEAD_BYTES = 128 * KiB
const NOTHING = Buffer.alloc(0)

interface Piece {
  readonly memory: Buffer
  /** Bytes asked for, and of those the ones that the file had. */
  readonly wanted: number
  readonly count: number
}

export class ReadAhead {
  readonly #source: ByteSource
  /** Exclusive. */
  readonly #to: number
  /** Reused in turn. */
  #spare: Buffer | undefined
  #present: Buffer | undefined
  #bytes: Buffer = NOTHING
  /** Position in the file of the first and behind the last of `bytes`. */
  #from: number
  #end: number
  /** Of the piece that begins at `#end`. */
  #coming: Promise<Piece> | undefined
  /** The thread pool has read the last piece. */
  #isSlow = true

  /** Reads nothing yet. */
  constructor(source: ByteSource, { from, to }: { readonly from: number; readonly to: number }) {
    this.#source = source
    this.#to = to
    this.#from = from
    this.#end = from
  }

  /** What is in memory; overwritten by the next `fill`. */
  get bytes(): Buffer {
    return this.#bytes
  }

  /** Position in the file of the first of `bytes`. */
  get from(): number {
    return this.#from
  }

  /**
   * Brings `need` bytes from `position` on into memory, which lies in `bytes` or right behind; what is before them may
   * be dropped.
   *
   * @returns false if the file ends before; what there is of them is in memory then.
   * @throws the system's error.
   */
  async fill(position: number, need: number): Promise<boolean> {
    for (;;) {
      const left = this.#end - position
      if (left >= need) return true
      if (position + need > this.#to) return false
      if (left + PIECE_BYTES < need) return this.#fillLarge(position, need)
      const piece = await (this.#coming ?? this.#read())
      this.#coming = undefined
      this.#join(position, piece)
      // Somebody cut the file since it was measured: it ends here.
      if (piece.count < piece.wanted) return this.#end - position >= need
      if (this.#isSlow && this.#end < this.#to) this.#expect()
    }
  }

  /** Waits for what is being read, so that the source may be closed; what became of it does not matter any more. */
  async settle(): Promise<void> {
    const coming = this.#coming
    this.#coming = undefined
    await coming?.catch(() => undefined)
  }

  #expect(): void {
    this.#coming = this.#read()
    // Its error is for whoever asks for the piece; nobody may come to do so.
    this.#coming.catch(() => undefined)
  }

  async #read(): Promise<Piece> {
    const wanted = Math.min(PIECE_BYTES, this.#to - this.#end)
    const memory = this.#takeMemory(wanted)
    const target = memory.subarray(memory.length - wanted)
    const quick = this.#source.tryReadSync?.(target, this.#end)
    this.#isSlow = quick === undefined
    // Whatever else there is to do shall not wait for the end of the file.
    if (quick !== undefined) await new Promise(resolve => setImmediate(resolve))
    const count = quick ?? (await this.#source.read(target, this.#end))
    return { memory, wanted, count }
  }

  /** As large as needed for a file of one piece: opening a log reads a few KB of it. */
  #takeMemory(wanted: number): Buffer {
    const needed = this.#bytes.length === 0 && this.#end + wanted === this.#to ? wanted : HEAD_BYTES + PIECE_BYTES
    const memory = this.#spare !== undefined && this.#spare.length >= needed ? this.#spare : undefined
    if (memory === undefined) return Buffer.allocUnsafeSlow(needed)
    this.#spare = undefined
    return memory
  }

  /** Puts what is left from `position` on in front of the piece. */
  #join(position: number, { memory, wanted, count }: Piece): void {
    const left = this.#bytes.subarray(position - this.#from, this.#end - this.#from)
    const start = memory.length - wanted
    if (left.length <= start) {
      left.copy(memory, start - left.length)
      this.#spare = this.#present ?? this.#spare
      this.#present = memory
      this.#bytes = memory.subarray(start - left.length, start + count)
    } else {
      this.#bytes = Buffer.concat([left, memory.subarray(start, start + count)])
      this.#spare = memory
    }
    this.#from = position
    this.#end += count
  }

  /** A batch that is larger than a piece is read in one go, into memory of its own. */
  async #fillLarge(position: number, need: number): Promise<boolean> {
    await this.settle()
    const bytes = Buffer.allocUnsafeSlow(need)
    const left = this.#bytes.copy(bytes, 0, position - this.#from, this.#end - this.#from)
    const count = await this.#source.read(bytes.subarray(left), position + left)
    this.#bytes = bytes.subarray(0, left + count)
    this.#from = position
    this.#end = position + left + count
    return left + count >= need
  }
}
