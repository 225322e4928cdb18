/** What remedies do to files: nothing is removed, everything goes into the partition's `quarantine/`. */
import { join } from 'node:path'
import type { FileSystem } from '../fs/file-system.ts'
import { readWholeFile, replaceFile } from '../fs/replace-file.ts'
import { isSystemError } from '../fs/system-errors.ts'
import { writeFully } from '../fs/write-fully.ts'
import { LEADER_EPOCH_FILE } from '../log/leader-epochs.ts'
import { formatManifest, MANIFEST_FILE, readManifest } from '../log/manifest.ts'
import { QUARANTINE_FOLDER } from '../log/quarantine.ts'
import { type Watermark, WatermarkFile } from '../log/watermark-file.ts'
import { attributesFrom } from '../store/data-directory.ts'
import { isLogError } from '../util/errors.ts'
import { MiB } from '../util/sizes.ts'

const COPY_BYTES = 1 * MiB

/** A partition's folder, in the hands of a remedy. The directory is locked. */
export class RemedyFolder {
  readonly fs: FileSystem
  readonly path: string
  readonly #quarantine: string
  readonly #modes: { readonly file: number; readonly folder: number }

  private constructor(fs: FileSystem, path: string, modes: RemedyFolder['modes']) {
    this.fs = fs
    this.path = path
    this.#quarantine = join(path, QUARANTINE_FOLDER)
    this.#modes = modes
  }

  /** Makes the quarantine where it is missing. */
  static async open(fs: FileSystem, path: string): Promise<RemedyFolder> {
    const stat = await fs.stat(path)
    const { filePermissions: file, folderPermissions: folder } =
      stat === undefined ? { filePermissions: 0o600, folderPermissions: 0o700 } : attributesFrom(stat)
    const opened = new RemedyFolder(fs, path, { file, folder })
    if ((await fs.stat(opened.#quarantine)) === undefined) await fs.makeDirectory(opened.#quarantine, folder)
    await fs.syncDirectory(path)
    return opened
  }

  get modes(): { readonly file: number; readonly folder: number } {
    return this.#modes
  }

  /** Moves a file away; durable when it resolves. One that is not there has been moved before. */
  async moveAway(name: string): Promise<void> {
    try {
      await this.fs.rename(join(this.path, name), await this.#freeName(name))
    } catch (error) {
      if (!isSystemError(error, 'ENOENT')) throw error
    }
    await this.fs.syncDirectory(this.#quarantine)
    await this.fs.syncDirectory(this.path)
  }

  /** Leaves these bytes in the place of a file that is kept, in one step. */
  async leaveInPlace(name: string, bytes: Buffer): Promise<void> {
    const path = join(this.path, name)
    const size = (await this.fs.stat(path))?.size
    if (size === bytes.length && (await readWholeFile(this.fs, path, size))?.equals(bytes) === true) return
    await this.#copy(name, 0, await this.#freeName(name))
    await replaceFile(this.fs, path, bytes, { permissions: this.#modes.file })
  }

  /** Keeps what lies at and behind `position`, and cuts it off. Durable when it resolves. */
  async cutOff(name: string, position: number): Promise<void> {
    const path = join(this.path, name)
    const size = (await this.fs.stat(path))?.size ?? 0
    if (size <= position) return
    await this.#copy(name, position, await this.#freeName(name.replace(/\.log$/, `-${position}.cut`)))
    const handle = await this.fs.open(path, 'write')
    try {
      await handle.truncate(position)
      await handle.sync()
    } finally {
      await handle.close()
    }
  }

  /** Makes a file that is not there; durable when it resolves. */
  async createEmpty(name: string): Promise<void> {
    const path = join(this.path, name)
    if ((await this.fs.stat(path)) === undefined)
      await replaceFile(this.fs, path, Buffer.alloc(0), { permissions: this.#modes.file })
  }

  /** Takes segments out of the manifest before anything happens to them. One that cannot be read is moved away. */
  async forgetSegments(isGone: (baseOffset: number) => boolean): Promise<void> {
    try {
      const manifest = await readManifest(this.fs, this.path)
      if (manifest === undefined || !manifest.sealed.some(({ baseOffset }) => isGone(baseOffset))) return
      const sealed = manifest.sealed.filter(({ baseOffset }) => !isGone(baseOffset))
      const bytes = formatManifest({ ...manifest, sealed, active: undefined })
      await replaceFile(this.fs, join(this.path, MANIFEST_FILE), bytes, { permissions: this.#modes.file })
    } catch (error) {
      if (!isLogError(error, 'CORRUPT_FILE')) throw error
      await this.moveAway(MANIFEST_FILE)
    }
  }

  /** Says anew up to where the log was synced; durable when it resolves. Where there is no watermark none is made. */
  async setWatermark(offset: number, segmentBaseOffset: number): Promise<void> {
    const file = await WatermarkFile.open(this.fs, this.path)
    if (file === undefined) return
    try {
      const target: Watermark = {
        offset,
        segmentBaseOffset,
        position: 0,
        lastBatchCrc: 0,
        level: 'synced',
        syncFailed: false
      }
      const present = file.read()
      if (present !== undefined && present.offset > offset) await file.lowerTo({ ...target, level: present.level })
      else {
        await file.write({ ...target, level: present?.level ?? 'synced' })
        await file.sync()
      }
    } finally {
      await file.close()
    }
  }

  async forgetEpochs(): Promise<void> {
    await this.moveAway(LEADER_EPOCH_FILE)
  }

  async #freeName(name: string): Promise<string> {
    for (let count = 0; ; count += 1) {
      const path = join(this.#quarantine, count === 0 ? name : `${name}.${count}`)
      if ((await this.fs.stat(path)) === undefined) return path
    }
  }

  async #copy(name: string, from: number, to: string): Promise<void> {
    const temporary = `${to}.tmp`
    const source = await this.fs.open(join(this.path, name), 'read')
    try {
      const target = await this.fs.open(temporary, 'truncate', this.#modes.file)
      try {
        await copyRange(source, { from, to: (await source.stat()).size }, target, 0)
        await target.sync()
      } finally {
        await target.close()
      }
    } finally {
      await source.close()
    }
    await this.fs.rename(temporary, to)
    await this.fs.syncDirectory(this.#quarantine)
  }
}

type Reading = Pick<Awaited<ReturnType<FileSystem['open']>>, 'read'>
type Writing = Awaited<ReturnType<FileSystem['open']>>

/** @returns the position behind what was written. */
export async function copyRange(
  source: Reading,
  { from, to }: { readonly from: number; readonly to: number },
  target: Writing,
  at: number
): Promise<number> {
  const buffer = Buffer.allocUnsafeSlow(Math.min(COPY_BYTES, Math.max(0, to - from)))
  let position = from
  while (position < to) {
    const count = await source.read(buffer.subarray(0, Math.min(buffer.length, to - position)), position)
    if (count === 0) break
    await writeFully(target, buffer.subarray(0, count), at + position - from)
    position += count
  }
  return at + position - from
}
