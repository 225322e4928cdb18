import type { HandleMode, Lease } from '../fs/handle-cache.ts'
import { isSystemError, toLogError } from '../fs/system-errors.ts'
import { writeFully, writeFullySync } from '../fs/write-fully.ts'
import { LogError } from '../util/errors.ts'
import { KiB } from '../util/sizes.ts'
import type { SegmentEnv } from './segment-types.ts'

/** Zeros that are written at a time in front of small writes: some thirty groups of sixty appends. */
const ZEROS = Buffer.alloc(256 * KiB)
/** Of a larger write the sync takes longer than the file system's journal does. */
const LARGEST_SMALL_WRITE = 32 * KiB

/**
 * The .log file of a segment: bytes at its end, bytes from anywhere, syncs.
 *
 * Invariants:
 *   B1  `size` counts whole writes only. A write that fails is cut off again; where even that fails, the file is
 *       broken: it takes no more, and what lies behind `size` is never read.
 *   B2  After a failed sync nothing is known about the bytes since the last good one, and a later sync that succeeds
 *       says nothing about them: so no later one is tried.
 *   B3  While there are unsynced bytes the descriptor that wrote them is kept open, as far as the budget of open files
 *       allows, so that the sync reports what went wrong with them. A new descriptor may not know.
 *
 * One writer at a time, which is the owner's to see to. Reads go on beside it.
 */
export class LogFile {
  readonly #env: SegmentEnv
  #path: string
  /** Valid bytes. */
  #size: number
  /** Bytes that the file system has, preallocated ones included. */
  #length: number
  /** Up to here the file system has given the file its blocks: what is written there changes content only. */
  #filled = 0
  /** `#synced` as of the last zeros. */
  #syncedAtFill = 0
  #held: Lease | undefined
  /** Counts changes, and those of them that a sync has covered. */
  #changes = 0
  #synced = 0
  #broken: LogError | undefined
  #syncFailed: LogError | undefined
  /** Of the sync under way; never rejects. */
  #syncing: Promise<void> | undefined
  /** Of the renaming under way; never rejects. */
  #moving: Promise<void> | undefined

  /**
   * @param size - valid bytes.
   * @param length - bytes that the file has; behind the valid ones is nothing that anyone shall read.
   */
  constructor(env: SegmentEnv, path: string, { size, length }: { size: number; length: number }) {
    this.#env = env
    this.#path = path
    this.#size = size
    this.#length = length
  }

  get path(): string {
    return this.#path
  }

  get size(): number {
    return this.#size
  }

  /** Something was written or cut since the last successful sync. */
  get isDirty(): boolean {
    return this.#changes > this.#synced
  }

  get isBroken(): boolean {
    return this.#broken !== undefined || this.#syncFailed !== undefined
  }

  /** As many bytes of `target` as there are valid ones from `position` on. */
  read(target: Buffer, position: number): Promise<number> {
    const wanted = Math.min(target.length, this.#size - position)
    if (wanted <= 0) return Promise.resolve(0)
    const into = wanted === target.length ? target : target.subarray(0, wanted)
    // The way of the active segment: no lease to take.
    if (this.#held !== undefined) return this.#held.handle.read(into, position).catch(this.#readFailed)
    return this.#readLeased(into, position)
  }

  /** As `read`, on the calling thread: for what is expected in the page cache. */
  readSync(target: Buffer, position: number): number {
    const count = this.readOpenSync(target, position)
    return count ?? this.#readSyncBy(this.#env.handles.acquireSync(this.#path, 'read'), target, position)
  }

  /** As `readSync`, if the file is open already; `undefined` if it is not, and nothing was read. */
  readOpenSync(target: Buffer, position: number): number | undefined {
    if (Math.min(target.length, this.#size - position) <= 0) return 0
    const lease = this.#held ?? this.#env.handles.tryAcquire(this.#path, 'read')
    return lease === undefined ? undefined : this.#readSyncBy(lease, target, position)
  }

  #readSyncBy(lease: Lease, target: Buffer, position: number): number {
    const wanted = Math.min(target.length, this.#size - position)
    const into = wanted === target.length ? target : target.subarray(0, wanted)
    try {
      return lease.handle.readSync(into, position)
    } catch (error) {
      throw toLogError(error, 'read', this.#path)
    } finally {
      if (lease !== this.#held) lease.release()
    }
  }

  /**
   * @throws {LogError} NO_SPACE and others as the system says; nothing was appended then. STORAGE_FAILED once broken.
   */
  async append(bytes: Buffer): Promise<void> {
    this.#refuseBroken('append to')
    const position = this.#size
    const lease = await this.#lease('write', 'append to')
    this.#changes += 1
    try {
      await writeFully(lease.handle, bytes, position)
    } catch (error) {
      await this.#takeBack(lease, position)
      throw toLogError(error, 'append to', this.#path)
    } finally {
      this.#keep(lease)
    }
    this.#size = position + bytes.length
    this.#length = Math.max(this.#length, this.#size)
  }

  /**
   * As `append`, on the calling thread, where the file is open already.
   *
   * @returns false when it is not, or when the write failed: `append` then writes the same bytes to the same place,
   *   and deals with what goes wrong. Until it has, or the segment is sealed, what is behind `size` is anything.
   */
  tryAppendSync(bytes: Buffer): boolean {
    if (this.isBroken) return false
    const lease = this.#held ?? this.#env.handles.tryAcquire(this.#path, 'write')
    if (lease === undefined) return false
    const position = this.#size
    this.#changes += 1
    try {
      if (position + bytes.length > this.#filled) this.#fill(lease, bytes.length)
      writeFullySync(lease.handle, bytes, position)
    } catch {
      // Whoever comes next must be able to cut off what is there: so he gets the descriptor, and `trim` looks behind us.
      this.#held ??= lease
      this.#length = Math.max(this.#length, position + bytes.length)
      return false
    } finally {
      this.#keep(lease)
    }
    this.#size = position + bytes.length
    this.#length = Math.max(this.#length, this.#size)
    return true
  }

  /**
   * Writes zeros into preallocated room, in front of a write to it that is small and will be synced: a sync of bytes
   * that only take the place of others has nothing to wait for in the file system's journal. (What that gains differs from
   * disk to disk: a third of a sync in one series of measurements, nothing in another.) The room that `preallocate`
   * makes is none yet: it has no blocks.
   */
  #fill(lease: Lease, bytes: number): void {
    const from = Math.max(this.#size, this.#filled)
    const room = Math.min(ZEROS.length, this.#length - from)
    const isSynced = this.#synced > this.#syncedAtFill
    this.#syncedAtFill = this.#synced
    // Whoever does not sync, or fills the room at once, would write everything twice for nothing.
    if (!isSynced || bytes > LARGEST_SMALL_WRITE || room < bytes) return
    try {
      this.#filled = from + lease.handle.writeSync(room === ZEROS.length ? ZEROS : ZEROS.subarray(0, room), from)
    } catch {
      // There were zeros before. What keeps the file system from writing them, the write behind us will tell.
    }
  }

  /** Half a batch must not stay: the next one would be written over it, and a shorter one leave a rest. */
  async #takeBack(lease: Lease, size: number): Promise<void> {
    try {
      await lease.handle.truncate(size)
      this.#length = size
      this.#filled = Math.min(this.#filled, size)
    } catch (error) {
      const cause = toLogError(error, 'cut a failed write off', this.#path)
      const message = `${cause.message} This segment takes no more until it is opened anew.`
      this.#broken = new LogError('STORAGE_FAILED', message, cause.details, error)
    }
  }

  /** fdatasync: content and length. */
  datasync(): Promise<void> {
    return this.#sync('datasync')
  }

  /** fsync: also times, which retention looks at where records have none. */
  sync(): Promise<void> {
    return this.#sync('sync')
  }

  async #sync(call: 'datasync' | 'sync'): Promise<void> {
    // One at a time: of two that are under way when the disk fails, the system tells only one.
    while (this.#syncing !== undefined) await this.#syncing
    if (this.#syncFailed !== undefined) throw this.#syncFailed
    if (call === 'datasync' && !this.isDirty) return
    let ended = (): void => undefined
    this.#syncing = new Promise(resolve => {
      ended = resolve
    })
    try {
      await this.#syncAlone(call)
    } finally {
      this.#syncing = undefined
      ended()
    }
  }

  async #syncAlone(call: 'datasync' | 'sync'): Promise<void> {
    const covers = this.#changes
    const lease = this.#held ?? (await this.#lease('write', 'sync'))
    try {
      await lease.handle[call]()
    } catch (error) {
      const cause = toLogError(error, 'sync', this.#path)
      this.#syncFailed ??= new LogError('SYNC_FAILED', cause.message, cause.details, error)
      throw this.#syncFailed
    } finally {
      if (lease !== this.#held) lease.release()
    }
    if (covers > this.#synced) this.#synced = covers
    if (!this.isDirty) this.letGo()
  }

  /** Cuts the file to `size` valid bytes. Not synced. */
  async cutTo(size: number): Promise<void> {
    this.#refuseBroken('cut')
    const lease = await this.#lease('write', 'cut')
    this.#changes += 1
    const before = this.#size
    // First: a reader that sees the shorter file must not take it for damage.
    this.#size = size
    try {
      await lease.handle.truncate(size)
    } catch (error) {
      this.#size = before
      throw toLogError(error, 'cut', this.#path)
    } finally {
      this.#keep(lease)
    }
    this.#length = size
    this.#filled = Math.min(this.#filled, size)
  }

  /** Gives the file its full length in advance. The room is zeros, which are no batch. */
  async preallocate(length: number): Promise<void> {
    if (length <= this.#length) return
    const lease = await this.#lease('write', 'preallocate')
    this.#changes += 1
    try {
      await lease.handle.truncate(length)
      this.#length = length
    } catch (error) {
      throw toLogError(error, 'preallocate', this.#path)
    } finally {
      this.#keep(lease)
    }
  }

  /** Takes preallocated room back. */
  async trim(): Promise<void> {
    this.#refuseBroken('close')
    if (this.#length > this.#size) await this.cutTo(this.#size)
  }

  /** Another process wrote on: the file has `size` valid bytes now. */
  grewTo(size: number): void {
    this.#size = size
    this.#length = Math.max(this.#length, size)
  }

  /** Gives the descriptor back to the cache. */
  letGo(): void {
    const held = this.#held
    this.#held = undefined
    held?.release()
  }

  /** Renames the file. Reads go on: one that has to open the file waits until it has its new name. */
  async moveTo(path: string): Promise<void> {
    const from = this.#path
    // A file that had this name before may still be open under it: H4 of the handle cache.
    const moved = this.#env.fs.rename(from, path).then(() => this.#env.handles.forget(path))
    this.#moving = moved.catch(() => undefined)
    try {
      await moved
      this.letGo()
      this.#path = path
    } catch (error) {
      throw toLogError(error, 'rename', from)
    } finally {
      this.#moving = undefined
    }
    await this.#env.handles.forget(from)
  }

  readonly #readFailed = (error: unknown): never => {
    throw toLogError(error, 'read', this.#path)
  }

  async #readLeased(target: Buffer, position: number): Promise<number> {
    const lease = await this.#lease('read', 'read')
    try {
      return await lease.handle.read(target, position)
    } catch (error) {
      throw toLogError(error, 'read', this.#path)
    } finally {
      lease.release()
    }
  }

  async #lease(mode: HandleMode, what: string): Promise<Lease> {
    for (;;) {
      if (mode === 'write' && this.#held !== undefined) return this.#held
      await this.#moving
      const path = this.#path
      try {
        return await this.#env.handles.acquire(path, mode)
      } catch (error) {
        // Renamed while we waited: the file is there, under its new name.
        const hasMoved = path !== this.#path || this.#moving !== undefined
        if (!hasMoved || !isSystemError(error, 'ENOENT')) throw toLogError(error, what, path)
      }
    }
  }

  /** Keeps a lease that wrote (B3), unless unsynced files already hold most of the budget. */
  #keep(lease: Lease): void {
    if (lease === this.#held) return
    const { handles } = this.#env
    if (this.#held === undefined && handles.stats.leased <= handles.maxOpen * LARGEST_HELD_SHARE) this.#held = lease
    else lease.release()
  }

  #refuseBroken(what: string): void {
    const reason = this.#broken ?? this.#syncFailed
    if (reason === undefined) return
    throw new LogError('STORAGE_FAILED', `cannot ${what} ${this.#path}: ${reason.message}`, reason.details, reason)
  }
}

/** The rest is for readers. */
const LARGEST_HELD_SHARE = 0.75

/**
 * Makes an empty log file. A file of that name with content is somebody's data; an empty one is what a crash left of
 * an earlier attempt.
 *
 * @throws {LogError} STORAGE_FAILED if a file with content is there.
 */
export async function createLogFile({ fs, permissions, owner }: SegmentEnv, path: string): Promise<void> {
  const handle = await fs.open(path, 'create-or-open', permissions)
  try {
    const { size } = await handle.stat()
    if (size > 0) throw new LogError('STORAGE_FAILED', `${path} exists already, with ${size} bytes`, { path, size })
    if (owner !== undefined) await fs.changeOwner(path, owner.uid, owner.gid)
  } finally {
    await handle.close()
  }
}

/** @throws {LogError} STORAGE_FAILED if it is missing, UNSAFE_PATH if it is no file. */
/** @throws {LogError} as the system says, but not if there is no such file. */
export async function removeLogFile({ fs }: SegmentEnv, path: string): Promise<void> {
  try {
    await fs.unlink(path)
  } catch (error) {
    if (!isSystemError(error, 'ENOENT')) throw toLogError(error, 'remove', path)
  }
}

export async function lengthOf({ fs }: SegmentEnv, path: string): Promise<number> {
  const stat = await fs.stat(path).catch(error => {
    throw toLogError(error, 'open', path)
  })
  if (stat === undefined) throw new LogError('STORAGE_FAILED', `${path} is missing`, { path, system: 'ENOENT' })
  if (stat.kind !== 'file') throw new LogError('UNSAFE_PATH', `${path} is no regular file`, { path, kind: stat.kind })
  return stat.size
}
