/**
 * Durable watermark of one partition: up to where the log is known to have been synced, so that damage below it is
 * told from a torn tail above it.
 *
 * Format (big-endian), in `heartwood-watermark`, 1024 bytes: two slots, each in a sector of its own.
 *
 *     slot := magic:             "hwwm"
 *             crc:               uint32   // CRC-32C of bytes 8 to 511 of the slot, in every version
 *             version:           uint16   // 1
 *             level:             uint8    // 0 accepted, 1 written, 2 synced
 *             flags:             uint8    // bit 0: a sync has failed since
 *             lastBatchCrc:      uint32   // as stored in the last batch below `offset`; 0 where position is 0
 *             sequence:          int64    // the higher one is the newer slot
 *             offset:            int64    // first offset above the watermark
 *             segmentBaseOffset: int64    // of the segment that ends or goes on there
 *             position:          int64    // byte in that segment's .log file
 *             zeros              up to 512 bytes
 *
 * Example, first 48 bytes of a slot: sequence 7, offset 300, segment 256, position 4096, last CRC 0xe641a44b, synced:
 *
 *     6877776d 0a9623a3 0001 02 00 e641a44b 0000000000000007
 *     000000000000012c 0000000000000100 0000000000001000
 *
 * Invariants:
 *   W1  A slot that a sync has covered is not touched until the other one has been written and synced, so that at any
 *       moment one slot is whole, whatever tears.
 *   W2  The newer sound slot counts. A slot of zeros is empty; anything else that fails its CRC is torn.
 *   W3  After `lowerTo` both slots are at or below the new watermark, and durable: even the loss of one of them does
 *       not bring a watermark back that a truncation has undercut.
 */
import { dirname, join } from 'node:path'
import type { FileHandle, FileSystem } from '../fs/file-system.ts'
import type { HandleCache } from '../fs/handle-cache.ts'
import { type LeasableHandle, LeasedHandle, ownHandle } from '../fs/leased-handle.ts'
import { isSystemError } from '../fs/system-errors.ts'
import { writeFully } from '../fs/write-fully.ts'
import { assert } from '../util/assert.ts'
import { crc32c } from '../util/crc32c.ts'
import { isLogError, LogError } from '../util/errors.ts'
import { tryReadInt64, writeInt64 } from '../util/int64.ts'
import { Turn } from '../util/turn.ts'
import { ACK_LEVELS, type AckLevel } from './types.ts'

export const WATERMARK_FILE = 'heartwood-watermark'
export const SLOT_BYTES = 512
const FILE_BYTES = 2 * SLOT_BYTES
const MAGIC = Buffer.from('hwwm')
const VERSION = 1
const CRC_AT = 4
const COVERED_FROM = 8
const SYNC_FAILED = 1
/** A reader beside a writer may catch a slot half written; the next look finds it whole. */
const LOOKS = 3

export interface Watermark {
  /** First offset above it. */
  readonly offset: number
  readonly segmentBaseOffset: number
  /** Byte in that segment's .log file up to which it was synced. */
  readonly position: number
  /** Stored CRC of the last batch below it; 0 where `position` is 0. */
  readonly lastBatchCrc: number
  readonly level: AckLevel
  /** A sync has failed: what the page cache shows above this watermark need not be on the disk. */
  readonly syncFailed: boolean
}

/** What one slot says. */
export type SlotContent =
  | { readonly kind: 'empty' }
  | { readonly kind: 'torn' }
  | { readonly kind: 'sound'; readonly sequence: number; readonly watermark: Watermark }

export interface WatermarkOptions {
  /** Make the file when it is missing. */
  readonly create?: boolean
  /** Only `read` and `reread`. */
  readonly readOnly?: boolean
  readonly permissions?: number | undefined
  readonly owner?: { readonly uid: number; readonly gid: number } | undefined
  /** Where descriptors are borrowed from; without it the file keeps one of its own. */
  readonly handles?: HandleCache | undefined
}

type SlotIndex = 0 | 1

export class WatermarkFile {
  readonly #handle: LeasableHandle
  readonly #turn = new Turn()
  #slots: readonly [SlotContent, SlotContent] = [{ kind: 'empty' }, { kind: 'empty' }]
  /** The slot that W1 protects. */
  #safe: SlotIndex = 0
  #unsynced = false
  #takenOver = false
  #failure: unknown

  private constructor(handle: LeasableHandle) {
    this.#handle = handle
  }

  /**
   * Opens the file and reads both slots.
   *
   * @returns `undefined` when there is no such file and `create` is not set.
   * @throws {LogError} UNSUPPORTED_VERSION if a newer heartwood has written it; else the system's error.
   */
  static async open(fs: FileSystem, dir: string, options: WatermarkOptions = {}): Promise<WatermarkFile | undefined> {
    const path = join(dir, WATERMARK_FILE)
    const { handles, create = false, readOnly = false } = options
    const mode = readOnly ? 'read' : 'write'
    const leased = (): LeasedHandle | undefined => handles && new LeasedHandle(handles, path, mode)
    try {
      return await WatermarkFile.#over(leased() ?? ownHandle(await fs.open(path, mode)))
    } catch (error) {
      if (!isSystemError(error, 'ENOENT')) throw error
    }
    if (!create || readOnly) return undefined
    const created = await createFile(fs, path, options)
    if (handles !== undefined) await created.close()
    return WatermarkFile.#over(leased() ?? ownHandle(created))
  }

  static async #over(handle: LeasableHandle): Promise<WatermarkFile> {
    try {
      const file = new WatermarkFile(handle)
      await file.#readSlots()
      return file
    } catch (error) {
      await handle.close()
      throw error
    }
  }

  /** The watermark as last read or written; `undefined` when there is none, or both slots are torn (`damaged`). */
  read(): Watermark | undefined {
    const newest = this.#slots[this.#newest()]
    return newest.kind === 'sound' ? newest.watermark : undefined
  }

  /** True if a slot is torn: it failed its checksum when the file was read, or what was written to it got lost. */
  get damaged(): boolean {
    return this.#slots.some(slot => slot.kind === 'torn')
  }

  /** Reads the file again, for those who watch another process write it. */
  reread(): Promise<Watermark | undefined> {
    return this.#turn.run(async () => {
      await this.#readSlots()
      return this.read()
    })
  }

  /** Writes a watermark. It survives the end of the process, and a power cut once `sync` has resolved. */
  write(watermark: Watermark): Promise<void> {
    return this.#turn.run(() => this.#write(watermark))
  }

  /**
   * As `write`, on the calling thread: 512 bytes into the page cache, where a hop to the thread pool costs ten times
   * as much.
   *
   * @returns false when the file is not at hand or busy: `write` is to be called.
   * @throws the system's error.
   */
  tryWriteSync(watermark: Watermark): boolean {
    if (!this.#takenOver || !this.#turn.idle || this.#failure !== undefined) return false
    const target = this.#target
    const sequence = this.#nextSequence
    const bytes = formatSlot(sequence, watermark)
    this.#unsynced = true
    try {
      const written = this.#handle.tryWriteSync(bytes, target * SLOT_BYTES)
      if (written !== bytes.length) {
        // Not at hand, or half of it is there; `write` puts it into the same slot.
        if (written !== undefined) this.#note(target, { kind: 'torn' })
        return false
      }
      this.#note(target, { kind: 'sound', sequence, watermark })
      return true
    } catch (error) {
      this.#note(target, { kind: 'torn' })
      throw error
    }
  }

  /** Makes what is in the file durable; free when nothing was written since the last time. */
  sync(): Promise<void> {
    return this.#turn.run(async () => {
      await this.#takeOver()
      await this.#sync()
    })
  }

  /** Writes a watermark that may be below the present one, durable when this resolves: before any truncation. */
  lowerTo(watermark: Watermark): Promise<void> {
    return this.#turn.run(async () => {
      // W3: twice, because the slots take turns.
      for (let slot = 0; slot < 2; slot += 1) {
        await this.#write(watermark)
        await this.#sync()
      }
    })
  }

  /** Waits for what is under way; writes nothing. Idempotent. */
  close(): Promise<void> {
    return this.#turn.run(() => this.#handle.close())
  }

  async #write(watermark: Watermark): Promise<void> {
    await this.#takeOver()
    const target = this.#target
    const sequence = this.#nextSequence
    const bytes = formatSlot(sequence, watermark)
    this.#unsynced = true
    try {
      await writeFully(this.#handle, bytes, target * SLOT_BYTES)
      this.#note(target, { kind: 'sound', sequence, watermark })
    } catch (error) {
      this.#note(target, { kind: 'torn' })
      throw error
    }
  }

  /** W1 also holds for what a process before this one has written and perhaps not synced. */
  async #takeOver(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure
    if (this.#takenOver) return
    try {
      await this.#handle.datasync()
      this.#takenOver = true
    } catch (error) {
      // Which of the two slots is on the disk is unknown from now on, so both stay as they are. Without a descriptor
      // nothing was asked of the disk yet.
      if (!isLogError(error, 'TOO_MANY_OPEN_FILES')) this.#failure = error
      throw error
    }
  }

  async #sync(): Promise<void> {
    if (!this.#unsynced) return
    try {
      await this.#handle.datasync()
    } catch (error) {
      // A later sync would succeed without having written anything, so that what was to be synced now is gone.
      this.#note(this.#safe === 0 ? 1 : 0, { kind: 'torn' })
      this.#unsynced = false
      throw error
    }
    this.#safe = this.#newest()
    this.#unsynced = false
  }

  #note(slot: SlotIndex, content: SlotContent): void {
    const [first, second] = this.#slots
    this.#slots = slot === 0 ? [content, second] : [first, content]
  }

  async #readSlots(): Promise<void> {
    for (let look = 0; look < LOOKS; look += 1) {
      const bytes = Buffer.alloc(FILE_BYTES)
      const count = await this.#handle.read(bytes, 0)
      // It has its full length from the start: a slot that is not there was lost, as one that fails its checksum was.
      const slotAt = (end: number): SlotContent =>
        count < end ? { kind: 'torn' } : parseSlot(bytes.subarray(end - SLOT_BYTES, end))
      this.#slots = [slotAt(SLOT_BYTES), slotAt(FILE_BYTES)]
      if (!this.damaged) break
    }
    this.#safe = this.#newest()
  }

  /** W1: the slot that may be written. */
  get #target(): SlotIndex {
    return this.#safe === 0 ? 1 : 0
  }

  get #nextSequence(): number {
    return Math.max(sequenceOf(this.#slots[0]), sequenceOf(this.#slots[1])) + 1
  }

  #newest(): SlotIndex {
    return sequenceOf(this.#slots[1]) > sequenceOf(this.#slots[0]) ? 1 : 0
  }
}

export function formatSlot(sequence: number, watermark: Watermark): Buffer {
  const { offset, segmentBaseOffset, position, lastBatchCrc, level, syncFailed } = watermark
  assert(offset >= segmentBaseOffset && position >= 0, 'a watermark lies in its segment')
  const bytes = Buffer.alloc(SLOT_BYTES)
  MAGIC.copy(bytes)
  bytes.writeUInt16BE(VERSION, 8)
  bytes.writeUInt8(ACK_LEVELS.indexOf(level), 10)
  bytes.writeUInt8(syncFailed ? SYNC_FAILED : 0, 11)
  bytes.writeUInt32BE(lastBatchCrc, 12)
  writeInt64(bytes, sequence, 16)
  writeInt64(bytes, offset, 24)
  writeInt64(bytes, segmentBaseOffset, 32)
  writeInt64(bytes, position, 40)
  bytes.writeUInt32BE(crc32c(bytes, COVERED_FROM, SLOT_BYTES), CRC_AT)
  return bytes
}

/**
 * @param bytes - the 512 bytes of a slot.
 * @throws {LogError} UNSUPPORTED_VERSION for a sound slot of a newer version.
 */
export function parseSlot(bytes: Buffer): SlotContent {
  if (bytes.every(byte => byte === 0)) return { kind: 'empty' }
  const sound = bytes.subarray(0, MAGIC.length).equals(MAGIC)
  if (!sound || crc32c(bytes, COVERED_FROM, SLOT_BYTES) !== bytes.readUInt32BE(CRC_AT)) return { kind: 'torn' }
  const version = bytes.readUInt16BE(8)
  if (version > VERSION) {
    const message = `${WATERMARK_FILE} is of version ${version}; this release knows ${VERSION}`
    throw new LogError('UNSUPPORTED_VERSION', message, { version, known: VERSION })
  }
  const level = ACK_LEVELS[bytes.readUInt8(10)]
  const [sequence, offset, segmentBaseOffset, position] = [16, 24, 32, 40].map(at => tryReadInt64(bytes, at) ?? -1)
  if (level === undefined || !isCount(sequence) || !isCount(offset)) return { kind: 'torn' }
  if (!isCount(segmentBaseOffset) || !isCount(position) || offset < segmentBaseOffset) return { kind: 'torn' }
  const syncFailed = (bytes.readUInt8(11) & SYNC_FAILED) !== 0
  const lastBatchCrc = bytes.readUInt32BE(12)
  return {
    kind: 'sound',
    sequence,
    watermark: { offset, segmentBaseOffset, position, lastBatchCrc, level, syncFailed }
  }
}

const isCount = (value: number | undefined): value is number => value !== undefined && value >= 0

const sequenceOf = (slot: SlotContent): number => (slot.kind === 'sound' ? slot.sequence : 0)

async function createFile(fs: FileSystem, path: string, options: WatermarkOptions): Promise<FileHandle> {
  const handle = await fs.open(path, 'create', options.permissions)
  try {
    if (options.owner !== undefined) await fs.changeOwner(path, options.owner.uid, options.owner.gid)
    // Its full length from the start: what is written later needs no new space and no new length.
    await writeFully(handle, Buffer.alloc(FILE_BYTES), 0)
    await handle.sync()
    await fs.syncDirectory(dirname(path))
    return handle
  } catch (error) {
    await handle.close()
    throw error
  }
}
