/**
 * Reads a `.log` file from a batch boundary on and says how far it is sound.
 *
 * A batch is sound if
 *   R1  its header is plausible, it lies wholly in the file, and its CRC is right;
 *   R2  its base offset is at or above the one that the batch before it promised (chain), and its offsets can be
 *       written relative to the segment's base (31 bits);
 *   R3  its leader epoch, which no CRC covers, is the one that the epochs known say its offset has.
 * A larger base offset than promised is a gap: compaction makes them, so that the caller has to judge them.
 *
 * The end of the file is a value, and so is damage: only what the file system throws is thrown.
 */
import { crc32 } from 'node:zlib'
import { CURRENT_MAGIC, LENGTH_AT, LOG_OVERHEAD, MAGIC_AT, MIN_BATCH_LENGTH } from '../record/batch-format.ts'
import { BatchHead } from '../record/batch-head.ts'
import { scanBatch } from '../record/batch-scan.ts'
import { BatchView } from '../record/batch-view.ts'
import { assert } from '../util/assert.ts'
import { LogError } from '../util/errors.ts'
import { ReadAhead } from './read-ahead.ts'

const UNKNOWN_EPOCH = -1
const MAX_RELATIVE_OFFSET = 2 ** 31 - 1
/** More are counted, not listed. */
const MAX_GAPS_LISTED = 100

/** Where bytes come from: a file handle, or a segment. */
export interface ByteSource {
  /** As `FileHandle.read`. */
  read(target: Uint8Array, position: number): Promise<number>
  /** As `read`, on the calling thread; `undefined` where `read` is the better choice, and nothing was read. */
  tryReadSync?(target: Uint8Array, position: number): number | undefined
}

/** What is wrong at a position. */
export interface Damage {
  readonly position: number
  /** `incomplete`: the file ends inside an entry. `zeros`: nothing was ever written here, or it was lost. */
  readonly kind: 'incomplete' | 'zeros' | 'corrupt'
  /** For people. */
  readonly reason: string
  /** Where the damaged batch ends if its length field can be believed; `undefined` if that is impossible. */
  readonly declaredEnd: number | undefined
  /** True if the CRC is right, and it is the batch's place or epoch that is wrong: no torn write looks so. */
  readonly isWhole: boolean
}

/** A range of offsets that no batch covers. */
export interface Gap {
  readonly position: number
  /** First offset missing. */
  readonly fromOffset: number
  /** First offset after the gap. */
  readonly toOffset: number
}

export interface ScanOptions {
  /** The segment's. */
  readonly baseOffset: number
  /** A batch boundary. */
  readonly from: number
  /** Exclusive: the file's size. */
  readonly to: number
  /** Least base offset that the first batch may have. */
  readonly nextOffset: number
  /** Leader epoch of an offset, where it is known. */
  readonly epochAt?: ((offset: number) => number | undefined) | undefined
  /** Sees every sound batch, in order. One object shows them all, and its bytes are reused. */
  readonly visit?: ((batch: BatchHead, position: number) => void) | undefined
  /** Position of a batch boundary that is asked about. */
  readonly mark?: number | undefined
}

export interface ScanOutcome {
  /** Where it began. */
  readonly firstPosition: number
  /** Bytes of sound batches. */
  readonly scannedBytes: number
  /** Position behind the last sound batch. */
  readonly soundEnd: number
  /** Offset behind the last sound batch. */
  readonly nextOffset: number
  readonly batches: number
  readonly lastCrc: number | undefined
  readonly damage: Damage | undefined
  readonly gaps: readonly Gap[]
  readonly gapCount: number
  /** The batch that ends at `options.mark`, if one does. */
  readonly atMark: { readonly nextOffset: number; readonly crc: number } | undefined
}

/** @throws the system's error; {LogError} UNSUPPORTED_FOR_MESSAGE_FORMAT for batches of magic 0 and 1. */
export async function scanLogFile(source: ByteSource, options: ScanOptions): Promise<ScanOutcome> {
  return new LogFileScan(source, options).run()
}

class LogFileScan {
  readonly #options: ScanOptions
  readonly #ahead: ReadAhead
  readonly #head = new BatchHead()
  #position: number
  #nextOffset: number
  #batches = 0
  #lastCrc: number | undefined
  #gaps: Gap[] = []
  #gapCount = 0
  #atMark: ScanOutcome['atMark']

  constructor(source: ByteSource, options: ScanOptions) {
    this.#ahead = new ReadAhead(source, options)
    this.#options = options
    this.#position = options.from
    this.#nextOffset = options.nextOffset
  }

  async run(): Promise<ScanOutcome> {
    let damage: Damage | undefined
    try {
      damage = await this.#takeAll()
    } finally {
      await this.#ahead.settle()
    }
    return {
      firstPosition: this.#options.from,
      scannedBytes: this.#position - this.#options.from,
      soundEnd: this.#position,
      nextOffset: this.#nextOffset,
      batches: this.#batches,
      lastCrc: this.#lastCrc,
      damage,
      gaps: this.#gaps,
      gapCount: this.#gapCount,
      atMark: this.#atMark
    }
  }

  async #takeAll(): Promise<Damage | undefined> {
    let need = 1
    while (this.#position < this.#options.to) {
      if (!(await this.#ahead.fill(this.#position, need))) {
        const nothing = this.#ahead.bytes.length === this.#position - this.#ahead.from
        return this.#damage('incomplete', nothing ? 'the file is shorter than it was' : 'the file ends inside it')
      }
      const taken = this.#takeBuffered()
      if (typeof taken !== 'number') return taken
      need = taken
    }
    return undefined
  }

  /**
   * Takes batches for as long as they lie in memory.
   *
   * @returns what is damaged, or how many bytes of the next batch it takes to go on.
   */
  #takeBuffered(): Damage | number {
    const { bytes, from } = this.#ahead
    const head = this.#head
    head.lieIn(bytes)
    for (;;) {
      const start = this.#position - from
      // A batch of which nothing is to be said goes by here; what is wrong with another one is worth a second look.
      if (!head.take(start) || !head.hasRightCrc()) return this.#judge(bytes, start)
      const misplaced = this.#misplaced(head)
      if (misplaced !== undefined) return { ...this.#damage('corrupt', misplaced), isWhole: true }
      this.#take(head)
    }
  }

  /** Says why what lies at `start` is no sound batch. */
  #judge(bytes: Buffer, start: number): Damage | number {
    const scan = scanBatch(bytes, start, bytes.length)
    if (scan.kind === 'end') return 1
    if (scan.kind === 'incomplete') return scan.need
    if (scan.kind === 'corrupt') return this.#damage(scan.reason === 'zeros' ? 'zeros' : 'corrupt', scan.reason)
    const batch = view(bytes, start)
    if (!(batch instanceof BatchView)) return this.#damage('corrupt', batch)
    assert(!batch.isSound(), 'a batch is refused for a reason')
    return this.#damage('corrupt', 'its CRC is wrong')
  }

  /** R2 and R3. */
  #misplaced(batch: BatchHead): string | undefined {
    const { baseOffset, lastOffset, leaderEpoch: epoch } = batch
    if (baseOffset < this.#nextOffset) return `base offset ${baseOffset} where ${this.#nextOffset} is next`
    if (lastOffset - this.#options.baseOffset > MAX_RELATIVE_OFFSET) {
      return `offset ${lastOffset} does not fit into the segment of ${this.#options.baseOffset}`
    }
    if (epoch < UNKNOWN_EPOCH) return `leader epoch ${epoch}`
    const known = epoch === UNKNOWN_EPOCH ? undefined : this.#options.epochAt?.(baseOffset)
    if (known !== undefined && known !== epoch) return `leader epoch ${epoch} where ${known} is recorded`
    return undefined
  }

  #take(batch: BatchHead): void {
    const { baseOffset } = batch
    if (baseOffset > this.#nextOffset) {
      this.#gapCount += 1
      if (this.#gaps.length < MAX_GAPS_LISTED) {
        this.#gaps.push({ position: this.#position, fromOffset: this.#nextOffset, toOffset: baseOffset })
      }
    }
    this.#options.visit?.(batch, this.#position)
    this.#position += batch.size
    this.#nextOffset = batch.lastOffset + 1
    this.#lastCrc = batch.crc
    this.#batches += 1
    if (this.#position === this.#options.mark) this.#atMark = { nextOffset: this.#nextOffset, crc: this.#lastCrc }
  }

  #damage(kind: Damage['kind'], reason: string): Damage {
    return { position: this.#position, kind, reason, declaredEnd: this.#declaredEnd(), isWhole: false }
  }

  /** Decision on damage: a length that leads out of the file, or is less than a header, is impossible. */
  #declaredEnd(): number | undefined {
    const { bytes, from } = this.#ahead
    const start = this.#position - from
    if (bytes.length - start < LOG_OVERHEAD) return undefined
    const length = bytes.readInt32BE(start + LENGTH_AT)
    const end = this.#position + LOG_OVERHEAD + length
    return length < MIN_BATCH_LENGTH || end > this.#options.to ? undefined : end
  }
}

function view(bytes: Buffer, start: number): BatchView | string {
  const magic = bytes[start + MAGIC_AT] as number
  if (magic < CURRENT_MAGIC && !isOlderMessage(bytes, start)) return `magic ${magic} and a wrong CRC`
  try {
    return new BatchView(bytes, start)
  } catch (error) {
    if (error instanceof LogError && error.code === 'CORRUPT_MESSAGE') return error.message
    throw error
  }
}

/** Where the CRC of a message of magic 0 or 1 lies; it covers everything behind it. */
const OLDER_CRC_AT = 12

/** True for a real message of magic 0 or 1; one flipped bit makes a batch of magic 2 look like one. */
function isOlderMessage(bytes: Buffer, start: number): boolean {
  const end = start + LOG_OVERHEAD + bytes.readInt32BE(start + LENGTH_AT)
  return crc32(bytes.subarray(start + OLDER_CRC_AT + 4, end)) === bytes.readUInt32BE(start + OLDER_CRC_AT)
}
