/**
 * Room on the disk that is kept for the moment when there is none: a full disk is emptied by raising log start offsets,
 * and to note these durably takes a new file.
 *
 * Invariants:
 *   R1  It is given up only for what could not be written without it.
 *   R2  What it holds tells nothing: whoever deletes it loses the room, and nothing else.
 */
import { dirname, join } from 'node:path'
import type { FileSystem } from '../fs/file-system.ts'
import type { ReplaceOptions } from '../fs/replace-file.ts'
import { isSystemError } from '../fs/system-errors.ts'
import { writeFully } from '../fs/write-fully.ts'

export const DISK_RESERVE = 'heartwood-reserve'

/** The checkpoints of a thousand partitions, and what their logs have to note beside them. */
export const DISK_RESERVE_BYTES = 64 * 1024

export class DiskReserve {
  readonly #fs: FileSystem
  readonly #path: string
  readonly #options: ReplaceOptions
  #isThere = false

  /** @param dir - data directory. */
  constructor(fs: FileSystem, dir: string, options: ReplaceOptions) {
    this.#fs = fs
    this.#path = join(dir, DISK_RESERVE)
    this.#options = options
  }

  /** Takes the room if it is not taken yet and there is some. Without it everything goes on. */
  async take(): Promise<void> {
    if (this.#isThere) return
    try {
      const found = await this.#fs.stat(this.#path)
      this.#isThere = found?.kind === 'file' && found.size === DISK_RESERVE_BYTES
      if (this.#isThere) return
      if (found !== undefined) await this.#fs.unlink(this.#path)
      await this.#create()
      this.#isThere = true
    } catch {
      // Half of it would be no use, and another time will come.
      await this.#fs.unlink(this.#path).catch(() => undefined)
    }
  }

  /** Does `work`, which can be done again; where the disk is full, with the room that was kept (R1). */
  async using<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      if (!isSystemError(error, 'ENOSPC', 'EDQUOT') || !(await this.#giveUp())) throw error
      return work()
    }
  }

  /** @returns whether there was any. */
  async #giveUp(): Promise<boolean> {
    this.#isThere = false
    try {
      await this.#fs.unlink(this.#path)
      // Some file systems hand blocks out again only after what freed them is on the disk.
      await this.#fs.syncDirectory(dirname(this.#path))
      return true
    } catch {
      return false
    }
  }

  async #create(): Promise<void> {
    const { permissions, owner } = this.#options
    const handle = await this.#fs.open(this.#path, 'create', permissions)
    try {
      // Written, for a hole has no room.
      await writeFully(handle, Buffer.alloc(DISK_RESERVE_BYTES), 0)
      if (owner !== undefined) await this.#fs.changeOwner(this.#path, owner.uid, owner.gid)
      await handle.sync()
    } finally {
      await handle.close()
    }
  }
}
