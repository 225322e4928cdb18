import type { FileHandle, FileSystem } from '../fs/file-system.ts'
import { toLogError } from '../fs/system-errors.ts'
import { BatchHead } from '../record/batch-head.ts'
import { scanBatch } from '../record/batch-scan.ts'
import { BatchView } from '../record/batch-view.ts'
import { filePath, LOG_SUFFIX, segmentFileName } from '../segment/file-names.ts'
import { isLogError, LogError } from '../util/errors.ts'
import { KiB } from '../util/sizes.ts'
import type { CleaningInput, SourceSegment } from './cleaning-types.ts'

/** Read at a time. What is done with it takes some milliseconds, which is how long the event loop has to wait. */
export const PIECE_BYTES = 512 * KiB
const MAX_INT32 = 2 ** 31 - 1
const NOTHING = Buffer.alloc(0)

/**
 * The batches of one sealed segment, each checked before it is shown: header, CRC, that offsets go up and stay within
 * the segment, and that the file has the length it is said to have. Input that fails stops the cleaning; nothing is
 * skipped, for what is skipped here would be gone.
 *
 *     while (await reader.fill()) while (reader.next()) use(reader.head, reader.position)
 *
 * Holds one piece, or one batch that is larger; both are overwritten by the next `fill`.
 */
export class SourceReader {
  readonly path: string
  /** The batch that `next` came to. */
  readonly head = new BatchHead()
  readonly #name: string
  readonly #segment: SourceSegment
  readonly #handle: FileHandle
  readonly #buffers: PieceBuffer
  #filled = 0
  #at = 0
  #need = 0
  /** Of the first byte in memory. */
  #bufferPosition = 0
  #position = 0
  #nextOffset: number

  private constructor(name: string, path: string, segment: SourceSegment, handle: FileHandle, buffers: PieceBuffer) {
    this.#name = name
    this.path = path
    this.#segment = segment
    this.#handle = handle
    this.#buffers = buffers
    this.#nextOffset = segment.baseOffset
  }

  /** @param buffers - shared by readers that come one after the other. */
  static async open(
    fs: FileSystem,
    { dir, name }: Pick<CleaningInput, 'dir' | 'name'>,
    segment: SourceSegment,
    buffers: PieceBuffer
  ): Promise<SourceReader> {
    const path = filePath(dir, segmentFileName(segment.baseOffset, LOG_SUFFIX))
    try {
      return new SourceReader(name, path, segment, await fs.open(path, 'read'), buffers)
    } catch (error) {
      throw toLogError(error, 'open', path)
    }
  }

  /** Where in the file the batch begins that `next` came to. */
  get position(): number {
    return this.#position
  }

  /** What `head` lies in. */
  get bytes(): Buffer {
    return this.#buffers.bytes
  }

  /**
   * Reads on.
   *
   * @returns bytes that were read; 0 when all of the segment has been shown.
   * @throws {LogError} CORRUPT_LOG if the file ends before it should.
   */
  async fill(): Promise<number> {
    const carried = this.#filled - this.#at
    const start = this.#bufferPosition + this.#at
    const left = this.#segment.bytes - start
    if (left === 0) return 0
    if (this.#need > left) throw this.#corrupt(start, 'the segment ends within it')
    const length = Math.min(Math.max(PIECE_BYTES, this.#need), left)
    const buffer = this.#buffers.take(length, this.#at, carried)
    let count: number
    try {
      count = await this.#handle.read(buffer.subarray(carried, length), start + carried)
    } catch (error) {
      throw toLogError(error, 'read', this.path)
    }
    this.#bufferPosition = start
    this.#filled = carried + count
    this.#at = 0
    if (count < length - carried) {
      throw this.#corrupt(start + this.#filled, `the file ends there, at ${this.#segment.bytes} bytes it should`)
    }
    this.head.lieIn(buffer)
    return count
  }

  /**
   * Moves `head` to the next batch in memory.
   *
   * @returns false when there is none, and `fill` must be asked.
   * @throws {LogError} CORRUPT_LOG, UNSUPPORTED_FOR_MESSAGE_FORMAT
   */
  next(): boolean {
    const { head } = this
    const start = this.#at
    if (start === this.#filled) {
      this.#need = 0
      return false
    }
    this.#position = this.#bufferPosition + start
    if (!head.take(start) || head.start + head.size > this.#filled) return this.#nextCarefully(start)
    if (!head.hasRightCrc()) throw this.#corrupt(this.#position, 'its CRC does not match')
    const { baseOffset, lastOffset } = head
    if (baseOffset < this.#nextOffset) {
      throw this.#corrupt(this.#position, `its base offset is ${baseOffset}, at least ${this.#nextOffset} is due`)
    }
    const { nextOffset, baseOffset: base } = this.#segment
    if (lastOffset >= nextOffset || lastOffset - base > MAX_INT32) {
      throw this.#corrupt(this.#position, `its last offset is ${lastOffset}, the segment ends before ${nextOffset}`)
    }
    this.#nextOffset = lastOffset + 1
    this.#at = start + head.size
    return true
  }

  /** What to throw where the batch that `next` came to could not be cleaned, for this reason. */
  failed(error: unknown): LogError {
    return isLogError(error) ? this.#refused(error) : toLogError(error, 'clean', this.path)
  }

  async close(): Promise<void> {
    // A descriptor that was only read has nothing to lose, and what it fails with must not hide another error.
    await this.#handle.close().catch(() => undefined)
  }

  /** `head` has said no: whether because more bytes are needed, or because this is no batch. */
  #nextCarefully(start: number): false {
    const { bytes } = this.#buffers
    const scan = scanBatch(bytes, start, this.#filled)
    if (scan.kind === 'incomplete') {
      this.#need = scan.need
      return false
    }
    if (scan.kind === 'corrupt') throw this.#corrupt(this.#position, scan.reason)
    try {
      new BatchView(bytes.subarray(0, this.#filled), start).verify(this.#position)
    } catch (error) {
      throw isLogError(error) ? this.#refused(error) : error
    }
    throw this.#corrupt(this.#position, 'its header makes no sense')
  }

  #refused(error: LogError): LogError {
    const isDamage = error.code === 'INVALID_RECORD' || error.code === 'CORRUPT_MESSAGE'
    if (isDamage) return this.#corrupt(this.#position, error.message, error)
    return this.#error(error.code, this.#position, `the batch at byte ${this.#position}: ${error.message}`, error)
  }

  #corrupt(position: number, reason: string, cause?: unknown): LogError {
    return this.#error('CORRUPT_LOG', position, `what begins at byte ${position} is no sound batch: ${reason}`, cause)
  }

  #error(code: LogError['code'], position: number, reason: string, cause: unknown): LogError {
    const { baseOffset } = this.#segment
    const message = `${this.#name}: cannot clean ${this.path}, which stays as it is: ${reason}`
    return new LogError(code, message, { path: this.path, baseOffset, position }, cause)
  }
}

/** Memory for one piece, used by one reader after the other. */
export class PieceBuffer {
  #bytes: Buffer = NOTHING

  get bytes(): Buffer {
    return this.#bytes
  }

  /** Room for `length` bytes, which begins with the `carried` ones that lie at `from`. */
  take(length: number, from: number, carried: number): Buffer {
    const before = this.#bytes
    // Memory for a batch that was larger than a piece is not kept for those that follow.
    const needed = Math.max(length, PIECE_BYTES)
    const isFitting =
      before.length === PIECE_BYTES ? needed <= PIECE_BYTES : before.length >= needed && needed > PIECE_BYTES
    if (isFitting) {
      before.copyWithin(0, from, from + carried)
    } else {
      this.#bytes = Buffer.allocUnsafeSlow(needed)
      before.copy(this.#bytes, 0, from, from + carried)
    }
    return this.#bytes
  }
}
