import type { FileHandle } from '../fs/file-system.ts'
import type { Lease } from '../fs/handle-cache.ts'
import { replaceFile } from '../fs/replace-file.ts'
import { isSystemError, toLogError } from '../fs/system-errors.ts'
import { writeFully } from '../fs/write-fully.ts'
import { LogError } from '../util/errors.ts'
import type { SegmentEnv } from './segment-types.ts'

/** An index in memory, as far as its file is concerned. */
export interface IndexContent {
  /** Bytes of all entries. */
  readonly byteLength: number
  /** Copy of the entries from this one on. */
  bytes(fromEntry: number): Buffer
}

/**
 * One index file: the entries of an index, written behind those that are in the file already.
 *
 * Invariants:
 *   D1  The first `flushedBytes` bytes of the file are the index's first ones, as long as no call has failed.
 *   D2  An index that is no longer the file's continuation (rebuilt) replaces the file in one step: half of a new
 *       index, which looks like a whole one, is never there.
 *
 * One call at a time, which is the owner's to see to.
 */
export class IndexFile {
  readonly #env: SegmentEnv
  readonly #entryBytes: number
  #path: string
  #flushedBytes = 0
  #replace = false
  #mayBeMissing: boolean
  /** The file may be longer than its entries: preallocated, or a write to it failed half-way. */
  #hasRest = false
  #unsynced = false
  #newName = false
  /** Of the renaming under way; never rejects. */
  #moving: Promise<void> | undefined

  /** @param optional - the file exists only where there is an entry. */
  constructor(env: SegmentEnv, path: string, entryBytes: number, optional = false) {
    this.#env = env
    this.#path = path
    this.#entryBytes = entryBytes
    this.#mayBeMissing = optional
  }

  get path(): string {
    return this.#path
  }

  /** The index in memory has entries that the file lacks, or is another one. */
  isBehind(index: IndexContent): boolean {
    return this.#replace || index.byteLength > this.#flushedBytes
  }

  /** A new, empty file; one that a crash left under this name is emptied. */
  async create(preallocatedBytes: number): Promise<void> {
    const { fs, permissions, owner } = this.#env
    const handle = await fs.open(this.#path, 'truncate', permissions)
    try {
      if (owner !== undefined) await fs.changeOwner(this.#path, owner.uid, owner.gid)
      if (preallocatedBytes > 0) await handle.truncate(preallocatedBytes)
    } finally {
      await handle.close()
    }
    this.#hasRest = preallocatedBytes > 0
    this.#flushedBytes = 0
    this.#unsynced = true
  }

  /**
   * The content; `undefined` when there is no file.
   *
   * @param maxBytes - bound. With `cut`, more than that is not looked at.
   * @throws {LogError} CORRUPT_FILE when the file is larger than `maxBytes`, unless `cut`.
   */
  load(maxBytes: number, { cut }: { cut: boolean }): Promise<Buffer | undefined> {
    return this.#readOnce(async handle => {
      const { size } = await handle.stat()
      if (size > maxBytes && !cut) {
        const message = `${this.#path} has ${size} bytes, more than its log can have entries for`
        throw new LogError('CORRUPT_FILE', message, { path: this.#path, size, maxBytes })
      }
      const bytes = Buffer.allocUnsafeSlow(Math.min(size, maxBytes))
      return bytes.subarray(0, await handle.read(bytes, 0))
    })
  }

  /**
   * Fills `target` from `position` on, as far as the file goes: 0 bytes where there is none. The descriptor is kept:
   * others like it will follow.
   */
  async read(target: Buffer, position: number): Promise<number> {
    const lease = await this.#leaseForReading()
    try {
      return (await lease?.handle.read(target, position)) ?? 0
    } catch (error) {
      throw toLogError(error, 'read', this.#path)
    } finally {
      lease?.release()
    }
  }

  /** As `read`, on the calling thread. `undefined` if the file is not open. */
  readOpenSync(target: Buffer, position: number): number | undefined {
    const lease = this.#env.handles.tryAcquire(this.#path, 'read')
    try {
      return lease?.handle.readSync(target, position)
    } catch (error) {
      throw toLogError(error, 'read', this.#path)
    } finally {
      lease?.release()
    }
  }

  /** The last `length` bytes; `undefined` when there is no file, or a shorter one. */
  lastBytes(length: number): Promise<{ size: number; bytes: Buffer } | undefined> {
    return this.#readOnce(async handle => {
      const { size } = await handle.stat()
      if (size < length) return undefined
      const bytes = Buffer.alloc(length)
      await handle.read(bytes, size - length)
      return { size, bytes }
    })
  }

  /** The descriptor is not kept: an index is read whole once. */
  async #readOnce<T>(use: (handle: FileHandle) => Promise<T>): Promise<T | undefined> {
    const lease = await this.#leaseForReading()
    if (lease === undefined) return undefined
    try {
      return await use(lease.handle)
    } catch (error) {
      throw toLogError(error, 'read', this.#path)
    } finally {
      lease.release()
      await this.#env.handles.forget(this.#path)
    }
  }

  /** The file was found to hold `byteLength` bytes of entries, with zeros behind them if `preallocated`. */
  loaded(byteLength: number, preallocated: boolean): void {
    this.#flushedBytes = byteLength
    this.#hasRest = preallocated
    this.#mayBeMissing = false
  }

  /** What is in memory now has nothing to do with the file (D2). */
  willBeReplaced(): void {
    this.#replace = true
  }

  async flush(index: IndexContent): Promise<void> {
    if (!this.isBehind(index)) return
    try {
      if (this.#replace) await this.#writeAnew(index)
      else await this.#writeBehind(index)
    } catch (error) {
      throw toLogError(error, 'write', this.#path)
    }
  }

  async #writeBehind(index: IndexContent): Promise<void> {
    const from = this.#flushedBytes
    const bytes = index.bytes(from / this.#entryBytes)
    if (this.#mayBeMissing) await this.#createMissing()
    const lease = await this.#env.handles.acquire(this.#path, 'write')
    try {
      this.#unsynced = true
      await writeFully(lease.handle, bytes, from)
    } catch (error) {
      this.#hasRest = true
      throw error
    } finally {
      lease.release()
    }
    this.#flushedBytes = from + bytes.length
  }

  async #createMissing(): Promise<void> {
    const { fs, permissions, owner } = this.#env
    const handle = await fs.open(this.#path, 'create-or-open', permissions)
    await handle.close()
    if (owner !== undefined) await fs.changeOwner(this.#path, owner.uid, owner.gid)
    this.#mayBeMissing = false
    this.#newName = true
  }

  async #writeAnew(index: IndexContent): Promise<void> {
    const { fs, handles, permissions, owner } = this.#env
    const bytes = index.bytes(0)
    await replaceFile(fs, this.#path, bytes, { permissions, owner })
    await handles.forget(this.#path)
    this.#replace = false
    this.#mayBeMissing = false
    this.#hasRest = false
    this.#flushedBytes = bytes.length
    this.#unsynced = false
  }

  /** Cuts the file to at most this many bytes of entries, before the log itself is cut. */
  async cutTo(byteLength: number): Promise<void> {
    if (this.#replace || this.#flushedBytes <= byteLength) return
    await this.#truncate(byteLength)
    this.#flushedBytes = byteLength
  }

  /** Takes back what the file has behind its entries. */
  async trim(): Promise<void> {
    if (this.#hasRest && !this.#replace) await this.#truncate(this.#flushedBytes)
  }

  async #truncate(length: number): Promise<void> {
    try {
      const lease = await this.#env.handles.acquire(this.#path, 'write')
      try {
        this.#unsynced = true
        await lease.handle.truncate(length)
      } finally {
        lease.release()
      }
    } catch (error) {
      throw toLogError(error, 'cut', this.#path)
    }
    this.#hasRest = false
  }

  /** Makes what was flushed durable. True when the file's name is new, and its folder must be synced too. */
  async sync(): Promise<boolean> {
    const isNew = this.#newName
    if (this.#unsynced) {
      try {
        const lease = await this.#env.handles.acquire(this.#path, 'write')
        try {
          await lease.handle.datasync()
        } finally {
          lease.release()
        }
      } catch (error) {
        // What the disk has of it is unknown now, and a later sync would not tell: it is written anew.
        this.#replace = true
        throw toLogError(error, 'sync', this.#path)
      }
      this.#unsynced = false
    }
    this.#newName = false
    return isNew
  }

  async unlink(): Promise<void> {
    try {
      await this.#env.fs.unlink(this.#path)
    } catch (error) {
      if (!isSystemError(error, 'ENOENT')) throw toLogError(error, 'remove', this.#path)
    }
    await this.#env.handles.forget(this.#path)
  }

  async renameTo(path: string): Promise<void> {
    const from = this.#path
    const moved = this.#env.fs.rename(from, path).then(() => this.#env.handles.forget(path))
    this.#moving = moved.catch(() => undefined)
    try {
      await moved
    } catch (error) {
      if (!isSystemError(error, 'ENOENT')) throw toLogError(error, 'rename', from)
    } finally {
      this.#moving = undefined
    }
    this.#path = path
    await this.#env.handles.forget(from)
  }

  /** `undefined` where there is no such file. */
  async #leaseForReading(): Promise<Lease | undefined> {
    for (;;) {
      await this.#moving
      const path = this.#path
      try {
        return await this.#env.handles.acquire(path, 'read')
      } catch (error) {
        if (!isSystemError(error, 'ENOENT')) throw toLogError(error, 'open', path)
        // Renamed while we waited: it is there, under its new name.
        if (path === this.#path && this.#moving === undefined) return undefined
      }
    }
  }

  /** Lets go of the descriptor. */
  forget(): Promise<void> {
    return this.#env.handles.forget(this.#path)
  }
}
