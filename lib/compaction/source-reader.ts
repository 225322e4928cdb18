import type { FileHandle, FileSystem } from '../fs/file-system.ts'
import { toLogError } from '../fs/system-errors.ts'
import { ReadAhead } from '../log/read-ahead.ts'
import { BatchHead } from '../record/batch-head.ts'
import { scanBatch } from '../record/batch-scan.ts'
import { BatchView } from '../record/batch-view.ts'
import { filePath, LOG_SUFFIX, segmentFileName } from '../segment/file-names.ts'
import { isLogError, LogError } from '../util/errors.ts'
import type { CleaningInput, SourceSegment } from './cleaning-types.ts'

const MAX_INT32 = 2 ** 31 - 1
const NOTHING = Buffer.alloc(0)

/**
 * The batches of one sealed segment, each checked before it is shown: header, CRC, that offsets go up and stay within
 * the segment, and that the file has the length it is said to have. Input that fails stops the cleaning; nothing is
 * skipped, for what is skipped here would be gone.
 *
 *     while (await reader.fill()) while (reader.next()) use(reader.head, reader.position)
 *
 * The next piece is being read while the present one is looked at; what is shown is overwritten by the next `fill`.
 */
export class SourceReader {
  readonly path: string
  /** The batch that `next` came to. */
  readonly head = new BatchHead()
  readonly #name: string
  readonly #segment: SourceSegment
  readonly #handle: FileHandle
  readonly #ahead: ReadAhead
  #bytes: Buffer = NOTHING
  /** Position in the file of the first of `#bytes`, and behind the last. */
  #from = 0
  #end = 0
  #at = 0
  #need = 1
  #position = 0
  #nextOffset: number

  private constructor(name: string, path: string, segment: SourceSegment, handle: FileHandle) {
    this.#name = name
    this.path = path
    this.#segment = segment
    this.#handle = handle
    this.#ahead = new ReadAhead(handle, { from: 0, to: segment.bytes })
    this.#nextOffset = segment.baseOffset
  }

  static async open(
    fs: FileSystem,
    { dir, name }: Pick<CleaningInput, 'dir' | 'name'>,
    segment: SourceSegment
  ): Promise<SourceReader> {
    const path = filePath(dir, segmentFileName(segment.baseOffset, LOG_SUFFIX))
    try {
      return new SourceReader(name, path, segment, await fs.open(path, 'read'))
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
    return this.#bytes
  }

  /**
   * Reads on.
   *
   * @returns bytes that have come; 0 when all of the segment has been shown.
   * @throws {LogError} CORRUPT_LOG if the file ends before it should.
   */
  async fill(): Promise<number> {
    const start = this.#from + this.#at
    const left = this.#segment.bytes - start
    if (left === 0) return 0
    if (this.#need > left) throw this.#corrupt(start, 'the segment ends within it')
    const isThere = await this.#ahead.fill(start, this.#need).catch(error => {
      throw toLogError(error, 'read', this.path)
    })
    this.#bytes = this.#ahead.bytes
    this.#from = this.#ahead.from
    this.#at = start - this.#from
    const end = this.#from + this.#bytes.length
    if (!isThere) throw this.#corrupt(end, `the file ends there, at ${this.#segment.bytes} bytes it should`)
    const count = end - this.#end
    this.#end = end
    this.head.lieIn(this.#bytes)
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
    if (start === this.#bytes.length) {
      this.#need = 1
      return false
    }
    this.#position = this.#from + start
    if (!head.take(start)) return this.#nextCarefully(start)
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
    await this.#ahead.settle()
    // A descriptor that was only read has nothing to lose, and what it fails with must not hide another error.
    await this.#handle.close().catch(() => undefined)
  }

  /** `head` has said no: whether because more bytes are needed, or because this is no batch. */
  #nextCarefully(start: number): false {
    const bytes = this.#bytes
    const scan = scanBatch(bytes, start, bytes.length)
    if (scan.kind === 'incomplete') {
      this.#need = scan.need
      return false
    }
    if (scan.kind === 'corrupt') throw this.#corrupt(this.#position, scan.reason)
    try {
      new BatchView(bytes, start).verify(this.#position)
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
