/** Walks the batches of a log file from a position on, a large read at a time. */
import { CURRENT_MAGIC, MAGIC_AT } from '../record/batch-format.ts'
import { scanBatch } from '../record/batch-scan.ts'
import { BatchView } from '../record/batch-view.ts'
import { MiB } from '../util/sizes.ts'

/** Where the bytes come from: a `Segment`, a file handle. */
export interface ScanSource {
  /** Fills `target` from `position` on; less only at the end of the file. */
  read(target: Buffer, position: number): Promise<number>
}

export interface ScanOptions {
  /** Position of the first batch; 0 unless said otherwise. */
  readonly from?: number
  /** Exclusive bound, usually the length of the file. */
  readonly to: number
  /** Read at a time, bytes; a batch that is larger is read whole all the same. */
  readonly chunkBytes?: number
  /** True unless said otherwise. */
  readonly checkCrc?: boolean
  /** A batch is valid only until the next one is asked for then; spares memory where nobody keeps one. */
  readonly reuseBuffer?: boolean
}

/**
 * How a scan ended. End of file is no error, and neither is damage: what it means is the caller's to say.
 *
 * - `end`: all bytes up to the bound are batches.
 * - `incomplete`: the bytes end within the batch that begins at `position`.
 * - `corrupt`: what begins at `position` is no sound batch, for `reason`.
 */
export interface ScanEnd {
  readonly kind: 'end' | 'incomplete' | 'corrupt'
  /** Behind the last sound batch. */
  readonly position: number
  /** For people; `'zeros'` for a header of nothing but zeros. */
  readonly reason?: string
}

export const SCAN_CHUNK_BYTES = 1 * MiB

/**
 * The walk itself, in two steps, so that a batch costs no promise: `next` gives what lies in memory already, `fill`
 * brings more.
 *
 *     while (await scanner.fill()) for (let b = scanner.next(); b !== undefined; b = scanner.next()) …
 */
export class BatchScanner {
  readonly #source: ScanSource
  readonly #chunkBytes: number
  readonly #checkCrc: boolean
  readonly #reuse: boolean
  #to: number
  #buffer: Buffer = NOTHING
  /** Position in the file of the buffer's first byte. */
  #bufferPosition: number
  #filled = 0
  #at = 0
  #need = 0
  #position = 0
  #end: ScanEnd | undefined

  constructor(
    source: ScanSource,
    { from = 0, to, chunkBytes = SCAN_CHUNK_BYTES, checkCrc = true, reuseBuffer = false }: ScanOptions
  ) {
    this.#source = source
    this.#chunkBytes = chunkBytes
    this.#checkCrc = checkCrc
    this.#reuse = reuseBuffer
    this.#bufferPosition = from
    this.#to = Math.max(from, to)
  }

  /** Set once `fill` has answered false. */
  get end(): ScanEnd | undefined {
    return this.#end
  }

  /** Where in the file the batch lies that `next` gave last. */
  get position(): number {
    return this.#position
  }

  /** Reads on. False when the scan has ended. */
  async fill(): Promise<boolean> {
    if (this.#end !== undefined) return false
    const carried = this.#filled - this.#at
    const start = this.#bufferPosition + this.#at
    // What a damaged header claims cannot make this larger than the file.
    const length = Math.min(Math.max(this.#chunkBytes, this.#need), this.#to - start)
    if (length <= carried) return this.#stop(carried === 0 ? 'end' : 'incomplete', start)
    const buffer = this.#reuse && this.#buffer.length >= length ? this.#buffer : Buffer.allocUnsafeSlow(length)
    this.#buffer.copy(buffer, 0, this.#at, this.#filled)
    const count = await this.#source.read(buffer.subarray(carried, length), start + carried)
    // Somebody cut the file meanwhile: then it ends here.
    if (count < length - carried) this.#to = start + carried + count
    this.#buffer = buffer
    this.#bufferPosition = start
    this.#filled = carried + count
    this.#at = 0
    return true
  }

  /** The next batch that lies in memory whole; `undefined` when there is none and `fill` must be asked. */
  next(): BatchView | undefined {
    if (this.#end !== undefined) return undefined
    const start = this.#at
    const scan = scanBatch(this.#buffer, start, this.#filled)
    if (scan.kind === 'end') return undefined
    if (scan.kind === 'incomplete') {
      this.#need = scan.need
      return undefined
    }
    const position = this.#bufferPosition + start
    if (scan.kind === 'corrupt') return this.#corrupt(position, scan.reason)
    const magic = this.#buffer[start + MAGIC_AT]
    if (magic !== CURRENT_MAGIC) return this.#corrupt(position, `message format ${magic} of before Kafka 0.11`)
    const batch = new BatchView(this.#buffer, start)
    if (this.#checkCrc && !batch.isSound()) return this.#corrupt(position, 'the CRC does not match')
    this.#position = position
    this.#at = batch.end
    return batch
  }

  /** Ends the scan before the batch that `next` gave last, which the caller found to be wrong. */
  refuse(reason: string): void {
    this.#end = { kind: 'corrupt', position: this.#position, reason }
  }

  #stop(kind: ScanEnd['kind'], position: number): false {
    this.#end = { kind, position }
    return false
  }

  #corrupt(position: number, reason: string): undefined {
    this.#end = { kind: 'corrupt', position, reason }
    return undefined
  }
}

const NOTHING = Buffer.alloc(0)

/**
 * Every sound batch from a position on, in order.
 *
 * @returns how the scan ended; with `for await` that is lost, so who needs it asks the iterator, or uses a
 *   `BatchScanner`.
 */
export async function* scanSegment(
  source: ScanSource,
  options: ScanOptions
): AsyncGenerator<{ batch: BatchView; position: number }, ScanEnd> {
  const scanner = new BatchScanner(source, options)
  while (await scanner.fill()) {
    for (let batch = scanner.next(); batch !== undefined; batch = scanner.next()) {
      yield { batch, position: scanner.position }
    }
  }
  return scanner.end as ScanEnd
}

/** Whether a range of a file holds nothing but zeros: preallocated room, or what a power cut left. */
export async function isZeroFilled(source: ScanSource, from: number, to: number): Promise<boolean> {
  const buffer = Buffer.allocUnsafeSlow(Math.min(SCAN_CHUNK_BYTES, Math.max(0, to - from)))
  const zeros = Buffer.alloc(buffer.length)
  for (let at = from; at < to; ) {
    const count = await source.read(buffer.subarray(0, Math.min(buffer.length, to - at)), at)
    if (count === 0) return true
    if (buffer.compare(zeros, 0, count, 0, count) !== 0) return false
    at += count
  }
  return true
}
