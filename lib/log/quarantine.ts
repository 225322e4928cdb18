/**
 * Keeps what recovery cuts off the end of a log, for whoever wants to look at it later.
 *
 * Lies in `quarantine/` in the partition's folder, which Kafka leaves alone. Items:
 *
 *     <segment base, 20 digits>-<position>-<digest, 8 hex digits>.tail    cut off the end of a log
 *     anything else                                                       put there by a repair, never removed here
 *
 * An item holds the bytes as they lay in the file from `position` on. Runs of zeros are holes in it, and zeros at its
 * end are left out.
 *
 * Invariants:
 *   Q1  An item is whole and durable before its name is: it is written as `.tmp`, synced and renamed.
 *   Q2  Its name follows from what it holds, so that a recovery which is repeated keeps it once.
 *   Q3  Tail cuts take at most 256 MiB and 100 items together; the oldest go first, before the new one comes.
 */
import { join } from 'node:path'
import type { FileHandle, FileSystem } from '../fs/file-system.ts'
import { isSystemError } from '../fs/system-errors.ts'
import { writeFully } from '../fs/write-fully.ts'
import { crc32c } from '../util/crc32c.ts'
import { isLogError } from '../util/errors.ts'
import { MiB } from '../util/sizes.ts'
import { isZeros } from './recovery-damage.ts'
import type { ByteSource } from './recovery-scan.ts'

export const QUARANTINE_FOLDER = 'quarantine'
export const MAX_QUARANTINE_BYTES = 256 * MiB
export const MAX_QUARANTINE_ITEMS = 100

const TAIL_SUFFIX = '.tail'
const CHUNK_BYTES = 1 * MiB
/** Shorter runs of zeros are copied like anything else. */
const HOLE_BYTES = 4096

export interface QuarantineOptions {
  readonly fs: FileSystem
  /** The partition's folder. */
  readonly dir: string
  readonly permissions: { readonly file: number; readonly folder: number }
  readonly maxBytes?: number
  readonly maxItems?: number
}

export interface CutRange {
  /** Base offset of the segment. */
  readonly segment: number
  readonly source: ByteSource
  readonly from: number
  /** Exclusive. */
  readonly to: number
}

export interface CutOutcome {
  /** Name of the item; `undefined` if there was nothing but zeros, or no room. */
  readonly name: string | undefined
  readonly zeroBytes: number
  /** Bytes, zeros not counted, of which there is no copy. */
  readonly bytesNotKept: number
  readonly why: 'too-large' | 'no-space' | undefined
  /** Items that made room. */
  readonly removed: readonly string[]
}

interface Item {
  readonly name: string
  readonly size: number
  readonly modifiedMs: number
}

interface Survey {
  /** Position behind the last byte that is not zero. */
  readonly contentEnd: number
  readonly contentBytes: number
  readonly zeroBytes: number
  readonly digest: number
}

export class Quarantine {
  readonly #fs: FileSystem
  readonly #parent: string
  readonly #folder: string
  readonly #permissions: QuarantineOptions['permissions']
  readonly #maxBytes: number
  readonly #maxItems: number

  constructor(options: QuarantineOptions) {
    this.#fs = options.fs
    this.#parent = options.dir
    this.#folder = join(options.dir, QUARANTINE_FOLDER)
    this.#permissions = options.permissions
    this.#maxBytes = options.maxBytes ?? MAX_QUARANTINE_BYTES
    this.#maxItems = options.maxItems ?? MAX_QUARANTINE_ITEMS
  }

  /**
   * Copies a range that is about to be cut off. Durable when this resolves.
   *
   * @returns what was kept; a full volume is no error, because a tail was never promised to anybody.
   * @throws the system's error otherwise.
   */
  async keep(cut: CutRange): Promise<CutOutcome> {
    const survey = await surveyRange(cut)
    const { zeroBytes, contentBytes } = survey
    if (contentBytes === 0) return { name: undefined, zeroBytes, bytesNotKept: 0, why: undefined, removed: [] }
    const size = survey.contentEnd - cut.from
    const name = itemName(cut, survey.digest)
    if (size > this.#maxBytes) {
      return { name: undefined, zeroBytes, bytesNotKept: contentBytes, why: 'too-large', removed: [] }
    }
    const removed: string[] = []
    try {
      const items = await this.#prepare()
      if (!items.some(item => item.name === name && item.size === size)) {
        await this.#makeRoom(items, size, removed)
        await this.#copy(cut, survey.contentEnd, name)
      }
      return { name, zeroBytes, bytesNotKept: 0, why: undefined, removed }
    } catch (error) {
      if (!isNoSpace(error)) throw error
      return { name: undefined, zeroBytes, bytesNotKept: contentBytes, why: 'no-space', removed }
    }
  }

  /** Makes the folder where it is missing. @returns its tail cuts. */
  async #prepare(): Promise<Item[]> {
    const stat = await this.#fs.stat(this.#folder)
    if (stat === undefined) await this.#fs.makeDirectory(this.#folder, this.#permissions.folder)
    // Also when it was there: whoever made it may have crashed before this.
    await this.#fs.syncDirectory(this.#parent)
    const items: Item[] = []
    for (const { name, kind } of await this.#fs.readDirectory(this.#folder)) {
      if (kind !== 'file' || !name.endsWith(TAIL_SUFFIX)) continue
      const file = await this.#fs.stat(join(this.#folder, name))
      if (file !== undefined) items.push({ name, size: file.size, modifiedMs: file.modifiedMs })
    }
    return items.sort((a, b) => a.modifiedMs - b.modifiedMs || (a.name < b.name ? -1 : 1))
  }

  /** Q3. @param items - oldest first. */
  async #makeRoom(items: readonly Item[], size: number, removed: string[]): Promise<void> {
    let count = items.length + 1
    let bytes = items.reduce((sum, item) => sum + item.size, size)
    for (const item of items) {
      if (count <= this.#maxItems && bytes <= this.#maxBytes) break
      await this.#fs.unlink(join(this.#folder, item.name))
      removed.push(item.name)
      count -= 1
      bytes -= item.size
    }
  }

  async #copy(cut: CutRange, end: number, name: string): Promise<void> {
    const temporary = join(this.#folder, `${name}.tmp`)
    const handle = await this.#fs.open(temporary, 'truncate', this.#permissions.file)
    try {
      await copyContent(cut, end, handle)
      await handle.sync()
    } catch (error) {
      await handle.close()
      await this.#fs.unlink(temporary).catch(() => undefined)
      throw error
    }
    await handle.close()
    await this.#fs.rename(temporary, join(this.#folder, name))
    await this.#fs.syncDirectory(this.#folder)
  }
}

function itemName({ segment, from }: CutRange, digest: number): string {
  return `${String(segment).padStart(20, '0')}-${from}-${digest.toString(16).padStart(8, '0')}${TAIL_SUFFIX}`
}

/** Calls `take` with each stretch of at most 4 KiB, and whether it is all zeros. */
async function eachStretch(
  cut: CutRange,
  end: number,
  take: (bytes: Buffer, position: number, zeros: boolean) => void | Promise<void>
): Promise<void> {
  const buffer = Buffer.allocUnsafeSlow(Math.max(0, Math.min(CHUNK_BYTES, end - cut.from)))
  for (let at = cut.from; at < end; ) {
    const length = await cut.source.read(buffer.subarray(0, Math.min(buffer.length, end - at)), at)
    if (length === 0) return
    for (let start = 0; start < length; start += HOLE_BYTES) {
      const stretch = buffer.subarray(start, Math.min(length, start + HOLE_BYTES))
      await take(stretch, at + start, isZeros(stretch))
    }
    at += length
  }
}

async function surveyRange(cut: CutRange): Promise<Survey> {
  let contentEnd = cut.from
  let holeBytes = 0
  let holeBytesWithin = 0
  let digest = 0
  const link = Buffer.alloc(16)
  await eachStretch(cut, cut.to, (bytes, position, zeros) => {
    if (zeros) {
      holeBytes += bytes.length
      return
    }
    let length = bytes.length
    while (bytes[length - 1] === 0) length -= 1
    contentEnd = position + length
    holeBytesWithin = holeBytes
    // A chain over the stretches: where each lies, and what it holds.
    link.writeUInt32BE(digest, 0)
    link.writeUInt32BE(crc32c(bytes, 0, bytes.length), 4)
    link.writeDoubleBE(position, 8)
    digest = crc32c(link, 0, link.length)
  })
  const contentBytes = contentEnd - cut.from - holeBytesWithin
  return { contentEnd, contentBytes, zeroBytes: cut.to - cut.from - contentBytes, digest }
}

async function copyContent(cut: CutRange, end: number, handle: FileHandle): Promise<void> {
  let runStart = cut.from
  let run: Buffer[] = []
  const flush = async (): Promise<void> => {
    if (run.length > 0) await writeFully(handle, Buffer.concat(run), runStart - cut.from)
    run = []
  }
  let runBytes = 0
  await eachStretch(cut, end, async (bytes, position, zeros) => {
    if (zeros || runBytes >= CHUNK_BYTES) {
      await flush()
      runBytes = 0
    }
    if (zeros) return
    if (run.length === 0) runStart = position
    run.push(Buffer.from(bytes))
    runBytes += bytes.length
  })
  await flush()
}

function isNoSpace(error: unknown): boolean {
  return isSystemError(error, 'ENOSPC', 'EDQUOT') || isLogError(error, 'NO_SPACE')
}
