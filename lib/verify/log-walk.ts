/**
 * Walks the batches of one `.log` file from beginning to end, past any damage, in bounded memory.
 *
 * It trusts no length: memory for a batch is taken once its header is plausible, it lies wholly in the file, and it is
 * no larger than 256 MiB, which no engine writes.
 */
import { crc32 } from 'node:zlib'
import { findSoundBatch } from '../log/recovery-damage.ts'
import {
  CURRENT_MAGIC,
  HEADER_BYTES,
  LENGTH_AT,
  LOG_OVERHEAD,
  MAGIC_AT,
  MIN_BATCH_LENGTH
} from '../record/batch-format.ts'
import { scanBatch } from '../record/batch-scan.ts'
import { BatchView } from '../record/batch-view.ts'
import { isLogError, LogError } from '../util/errors.ts'
import { MiB } from '../util/sizes.ts'

const WINDOW_BYTES = 1 * MiB
export const MAX_BATCH_READ = 256 * MiB
/** Behind damage, so many declared lengths are followed before every byte is looked at. */
const MAX_HOPS = 64
const OLDER_CRC_AT = 12

export interface WalkSource {
  read(target: Uint8Array, position: number): Promise<number>
}

/** A stretch of the file that holds no sound batch. */
export interface DamagedRange {
  readonly position: number
  /** Where the next sound batch begins, or the end of the file. */
  readonly end: number
  readonly reason: string
  readonly kind: 'incomplete' | 'zeros' | 'corrupt' | 'older-format'
  /** True if a sound batch follows in this file. */
  readonly isFollowed: boolean
}

export interface WalkOptions {
  /** Exclusive: bytes of the file that are looked at. */
  readonly to: number
  /** First offset that is missing so far: where the walk stands, asked for when there is damage. */
  readonly nextOffset: () => number
  /** Sees each batch whose CRC is right, valid until it returns. */
  readonly batch: (batch: BatchView, position: number) => void
  /** Sees each damaged range, in order with the batches. @returns false to end the walk. */
  readonly damage: (range: DamagedRange) => boolean | Promise<boolean>
  readonly signal?: AbortSignal | undefined
}

/** @throws the system's error; {LogError} ABORTED. */
export function walkLog(source: WalkSource, options: WalkOptions): Promise<void> {
  return new LogWalk(source, options).run()
}

type Look =
  | { readonly kind: 'batch'; readonly batch: BatchView }
  | { readonly kind: DamagedRange['kind']; readonly reason: string }

class LogWalk {
  readonly #source: WalkSource
  readonly #options: WalkOptions
  #window: Buffer = Buffer.alloc(0)
  #memory: Buffer
  #from = 0
  #to: number

  constructor(source: WalkSource, options: WalkOptions) {
    this.#source = source
    this.#options = options
    this.#to = options.to
    this.#memory = Buffer.allocUnsafeSlow(Math.min(WINDOW_BYTES, options.to))
  }

  async run(): Promise<void> {
    let position = 0
    while (position < this.#to) {
      const { signal, batch: visit, damage } = this.#options
      if (signal?.aborted === true) throw new LogError('ABORTED', 'the check was interrupted')
      const look = await this.#lookAt(position)
      if (look.kind === 'batch') {
        visit(look.batch, position)
        position += look.batch.size
        position = this.#takeWindow(position)
        continue
      }
      const next = await this.#nextSound(position)
      const end = next ?? this.#to
      const range = { position, end, reason: look.reason, kind: look.kind, isFollowed: next !== undefined }
      if (!(await damage(range))) return
      position = end
    }
  }

  /** Visits what lies in memory whole, without waiting. @returns the position behind it. */
  #takeWindow(from: number): number {
    let position = from
    for (;;) {
      const start = position - this.#from
      const scan = scanBatch(this.#window, start, this.#window.length)
      if (scan.kind !== 'batch' || this.#window[start + MAGIC_AT] !== CURRENT_MAGIC) return position
      const batch = soundBatch(this.#window, start)
      if (typeof batch === 'string') return position
      this.#options.batch(batch, position)
      position += scan.size
    }
  }

  async #lookAt(position: number): Promise<Look> {
    await this.#bring(position, Math.min(HEADER_BYTES, this.#to - position))
    const start = position - this.#from
    let scan = scanBatch(this.#window, start, this.#window.length)
    if (scan.kind === 'incomplete') {
      const { need } = scan
      if (position + need > this.#to) return { kind: 'incomplete', reason: 'the file ends inside this batch' }
      if (need > MAX_BATCH_READ) return { kind: 'corrupt', reason: `it claims to have ${need} bytes` }
      await this.#bring(position, need)
      scan = scanBatch(this.#window, position - this.#from, this.#window.length)
    }
    if (scan.kind === 'corrupt') {
      return scan.reason === 'zeros'
        ? { kind: 'zeros', reason: 'there are only zeros where a batch should begin' }
        : { kind: 'corrupt', reason: scan.reason }
    }
    if (scan.kind !== 'batch') return { kind: 'incomplete', reason: 'the file is shorter than it was' }
    const at = position - this.#from
    if (this.#window[at + MAGIC_AT] !== CURRENT_MAGIC) return older(this.#window, at, scan.size)
    const batch = soundBatch(this.#window, at)
    return typeof batch === 'string' ? { kind: 'corrupt', reason: batch } : { kind: 'batch', batch }
  }

  /** Makes the window begin at or before `position` and hold `need` bytes from there on, if the file has them. */
  async #bring(position: number, need: number): Promise<void> {
    const end = this.#from + this.#window.length
    if (position >= this.#from && position + need <= end) return
    const length = Math.min(this.#to - position, Math.max(need, WINDOW_BYTES))
    if (this.#memory.length < length) this.#memory = Buffer.allocUnsafeSlow(length)
    else if (this.#memory.length > WINDOW_BYTES && length <= WINDOW_BYTES)
      this.#memory = Buffer.allocUnsafeSlow(WINDOW_BYTES)
    const count = await this.#source.read(this.#memory.subarray(0, length), position)
    if (count < length) this.#to = Math.min(this.#to, position + count)
    this.#window = this.#memory.subarray(0, count)
    this.#from = position
  }

  /** Position of the next sound batch behind what is damaged at `position`. */
  async #nextSound(position: number): Promise<number | undefined> {
    // A damaged batch whose length can be believed ends where the next one begins.
    let hop = await this.#declaredEnd(position)
    for (let hops = 1; hop !== undefined && hops <= MAX_HOPS; hops += 1) {
      if (hop >= this.#to) break
      const look = await this.#lookAt(hop)
      if (look.kind === 'batch' && this.#isPlausible(look.batch)) {
        if (hops === 1) return hop
        const searched = await this.#search(position + 1, hop)
        return searched ?? hop
      }
      hop = await this.#declaredEnd(hop)
    }
    return this.#search(position + 1, this.#to)
  }

  async #search(from: number, to: number): Promise<number | undefined> {
    const found = await findSoundBatch(this.#source, { from, to, nextOffset: this.#options.nextOffset() })
    return found?.position
  }

  #isPlausible({ baseOffset }: BatchView): boolean {
    const next = this.#options.nextOffset()
    return baseOffset >= next && baseOffset < next + 2 ** 31
  }

  async #declaredEnd(position: number): Promise<number | undefined> {
    await this.#bring(position, Math.min(HEADER_BYTES, this.#to - position))
    const start = position - this.#from
    if (this.#window.length - start < LOG_OVERHEAD) return undefined
    const length = this.#window.readInt32BE(start + LENGTH_AT)
    const end = position + LOG_OVERHEAD + length
    return length < MIN_BATCH_LENGTH || end > this.#to ? undefined : end
  }
}

/** Why it is none, else. */
function soundBatch(bytes: Buffer, start: number): BatchView | string {
  try {
    const batch = new BatchView(bytes, start)
    return batch.isSound() ? batch : 'its CRC does not match its content'
  } catch (error) {
    if (isLogError(error, 'CORRUPT_MESSAGE')) return error.message
    throw error
  }
}

function older(bytes: Buffer, start: number, size: number): Look {
  const magic = bytes[start + MAGIC_AT]
  const covered = bytes.subarray(start + OLDER_CRC_AT + 4, start + size)
  const isOlder = crc32(covered) === bytes.readUInt32BE(start + OLDER_CRC_AT)
  if (isOlder) return { kind: 'older-format', reason: `messages of format ${magic}, from before Kafka 0.11` }
  return { kind: 'corrupt', reason: `its format byte says ${magic} and its CRC does not match` }
}
