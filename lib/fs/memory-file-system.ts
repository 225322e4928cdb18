import { posix } from 'node:path'
import type { DirectoryEntry, FileHandle, FileStat, FileSystem, OpenMode } from './file-system.ts'
import { MemoryFile, SECTOR_BYTES, type SectorOutcome } from './memory-file.ts'
import { type Access, type FileSystemCall, kindOf, MemoryFileHandle, toStat } from './memory-file-handle.ts'
import {
  MemoryFolder,
  type MemoryNode,
  MemorySymlink,
  MemoryTree,
  type PendingChange,
  systemError
} from './memory-tree.ts'

export type { FileSystemCall, FileSystemOperation } from './memory-file-handle.ts'

export interface MemoryFileSystemOptions {
  /**
   * Called before every call takes effect. What it throws, the call fails with, and nothing else happens, except
   * that a failed `datasync` or `sync` loses what it was to cover (promise F6). A number, for a `write`, is how many
   * bytes of it are written (promise F1); `lie` makes it report success and write nothing; `lose` makes it a write that
   * readers see and syncs cover, but which the device never has. A promise is waited for first, except in a call on the
   * caller's thread.
   */
  readonly onCall?: ((call: FileSystemCall) => unknown) | undefined
  /** Room for the content of files, bytes. A write that meets the end fits what it can, the next fails with ENOSPC. */
  readonly capacityBytes?: number | undefined
  /** Wall clock of modification times, ms. */
  readonly now?: (() => number) | undefined
}

export interface ChangedSector {
  readonly path: string
  /** In units of `sectorBytes`. */
  readonly index: number
  /** No byte of it was durable. A device that writes sectors whole may leave anything only here. */
  readonly isNew: boolean
}

/** Of a file, in bytes. */
export interface FileLengths {
  readonly path: string
  /** As of the last sync, and now. */
  readonly durable: number
  readonly present: number
  /** The shortest and the longest that it was since the last sync. */
  readonly least: number
  readonly most: number
}

export interface PowerCutOptions {
  /** What becomes of each sector changed since the last sync of its file; `drop` unless said. */
  readonly sector?: ((sector: ChangedSector) => SectorOutcome) | undefined
  /** What the device writes as a whole: 512, or 4096. */
  readonly sectorBytes?: 512 | 4096 | undefined
  /** The length that a file comes back with, between the least and the most; `durable` unless said. */
  readonly length?: ((file: FileLengths) => number) | undefined
  /** Whether a change of names that no `syncDirectory` covered survives; `false` unless said. */
  readonly name?: ((change: PendingChange) => boolean) | undefined
}

/** tmpfs, as statfs(2) has it. */
const VOLUME_TYPE = 0x01021994

/**
 * Files in memory which remember what a disk would have of them: the ground for tests of crashes and faults.
 *
 * `powerCut()` forgets what was not made durable: content by `datasync` or `sync` of its file, names by
 * `syncDirectory` of their folder. Owner, mode and times are durable at once. Paths are POSIX and absolute.
 */
export class MemoryFileSystem implements FileSystem {
  readonly name = 'memory'
  /** May be changed at any time. */
  onCall: MemoryFileSystemOptions['onCall']
  capacityBytes: number
  readonly #now: () => number
  #tree: MemoryTree
  readonly #watchers = new Map<string, Set<(name: string | undefined) => void>>()
  #nextInode = 2
  #usedBytes = 0
  /** Handles of an earlier one are dead. */
  #powerCycle = 0

  constructor({ onCall, capacityBytes = Number.MAX_SAFE_INTEGER, now = Date.now }: MemoryFileSystemOptions = {}) {
    this.onCall = onCall
    this.capacityBytes = capacityBytes
    this.#now = now
    this.#tree = new MemoryTree(new MemoryFolder({ inode: 1, mode: 0o755, modifiedMs: now() }))
  }

  /** Changes of names that a power cut may take back, in order. */
  get pendingChanges(): readonly PendingChange[] {
    return this.#tree.pending
  }

  /**
   * A file system in the same state, what is not durable included, that goes its own way from here: for trying several
   * ends of one story. Handles, watchers and `onCall` stay with this one.
   */
  clone(): MemoryFileSystem {
    const twin = new MemoryFileSystem({ capacityBytes: this.capacityBytes, now: this.#now })
    twin.#tree = this.#tree.clone()
    twin.#nextInode = this.#nextInode
    const files = new Set<MemoryFile>()
    for (const { node } of twin.#tree.walk()) if (node instanceof MemoryFile) files.add(node)
    for (const file of files) twin.#usedBytes += file.size
    return twin
  }

  /** Forgets what is not durable; handles opened before are dead (EBADF). */
  powerCut({ sector, sectorBytes = SECTOR_BYTES, length, name }: PowerCutOptions = {}): void {
    this.#powerCycle += 1
    this.#tree.powerCut(name ?? (() => false))
    const done = new Set<MemoryFile>()
    this.#usedBytes = 0
    for (const { path, node } of this.#tree.walk()) {
      if (!(node instanceof MemoryFile) || done.has(node)) continue
      done.add(node)
      const { durableSize: durable, size: present } = node
      const size = length?.({ path, durable, present, ...node.possibleSizes }) ?? durable
      const outcomes = new Map<number, SectorOutcome>()
      node.powerCut(unit => {
        const index = Math.floor((unit * SECTOR_BYTES) / sectorBytes)
        let outcome = outcomes.get(index)
        if (outcome === undefined) {
          outcome = sector?.({ path, index, isNew: index * sectorBytes >= durable }) ?? 'drop'
          outcomes.set(index, outcome)
        }
        return outcome
      }, size)
      node.handles = 0
      this.#usedBytes += size
    }
  }

  /** A symbolic link: nothing in the engine makes one, so only tests need this. */
  makeSymlink(target: string, path: string): void {
    const { folder, name } = this.#vacant(path, 'symlink')
    const node = new MemorySymlink(target, { inode: this.#nextInode++, modifiedMs: this.#now() })
    this.#change(`symlink ${path}`, path, { folder, name, node })
  }

  async open(path: string, mode: OpenMode, permissions = 0o600): Promise<FileHandle> {
    await this.#enter({ operation: 'open', path, mode })
    return this.#open(path, mode, permissions)
  }

  openSync(path: string, mode: OpenMode): FileHandle {
    this.#enterSync({ operation: 'open', path, mode })
    return this.#open(path, mode, 0o600)
  }

  async stat(path: string): Promise<FileStat | undefined> {
    await this.#enter({ operation: 'stat', path })
    try {
      const { node } = this.#tree.locate(path, 'lstat')
      return node === undefined ? undefined : toStat(node)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw error
    }
  }

  async readDirectory(path: string): Promise<DirectoryEntry[]> {
    await this.#enter({ operation: 'readDirectory', path })
    return [...this.#tree.folder(path, 'scandir').live].map(([name, node]) => ({ name, kind: kindOf(node) }))
  }

  async makeDirectory(path: string, permissions = 0o700): Promise<void> {
    await this.#enter({ operation: 'makeDirectory', path })
    const { folder, name } = this.#vacant(path, 'mkdir')
    const node = new MemoryFolder({ inode: this.#nextInode++, mode: permissions, modifiedMs: this.#now() })
    this.#change(`mkdir ${path}`, path, { folder, name, node })
  }

  async removeDirectory(path: string): Promise<void> {
    await this.#enter({ operation: 'removeDirectory', path })
    const { folder, name, node } = this.#existing(path, 'rmdir')
    if (!(node instanceof MemoryFolder)) throw systemError('ENOTDIR', 'rmdir', path)
    if (node.live.size > 0) throw systemError('ENOTEMPTY', 'rmdir', path)
    this.#change(`rmdir ${path}`, path, { folder, name, node: undefined })
  }

  async rename(from: string, to: string): Promise<void> {
    await this.#enter({ operation: 'rename', path: from, to })
    const source = this.#existing(from, 'rename')
    const target = this.#tree.locate(to, 'rename')
    if (source.node === target.node) return
    const [sourceIsFolder, targetIsFolder] = [isFolder(source.node), isFolder(target.node)]
    if (sourceIsFolder && isInside(to, from)) throw systemError('EINVAL', 'rename', from)
    if (targetIsFolder && !sourceIsFolder) throw systemError('EISDIR', 'rename', from)
    if (target.node !== undefined && sourceIsFolder && !targetIsFolder) throw systemError('ENOTDIR', 'rename', from)
    if (target.node instanceof MemoryFolder && target.node.live.size > 0) throw systemError('ENOTEMPTY', 'rename', to)
    this.#change(
      `rename ${from} ${to}`,
      to,
      { folder: source.folder, name: source.name, node: undefined },
      { folder: target.folder, name: target.name, node: source.node }
    )
    this.#giveBack(target.node)
    this.#notify(from)
  }

  async unlink(path: string): Promise<void> {
    await this.#enter({ operation: 'unlink', path })
    const { folder, name, node } = this.#existing(path, 'unlink')
    if (node instanceof MemoryFolder) throw systemError('EISDIR', 'unlink', path)
    this.#change(`unlink ${path}`, path, { folder, name, node: undefined })
    this.#giveBack(node)
  }

  async link(existing: string, path: string): Promise<void> {
    await this.#enter({ operation: 'link', path: existing, to: path })
    const { node } = this.#existing(existing, 'link')
    if (node instanceof MemoryFolder) throw systemError('EPERM', 'link', existing)
    const { folder, name } = this.#vacant(path, 'link')
    this.#change(`link ${path}`, path, { folder, name, node })
  }

  async syncDirectory(path: string): Promise<void> {
    await this.#enter({ operation: 'syncDirectory', path })
    this.#tree.sync(this.#tree.folder(path, 'fsync'))
  }

  async changeMode(path: string, permissions: number): Promise<void> {
    await this.#enter({ operation: 'changeMode', path })
    const { node } = this.#existing(path, 'chmod')
    if (node instanceof MemorySymlink) throw systemError('ELOOP', 'chmod', path)
    node.mode = permissions
  }

  async changeOwner(path: string, uid: number, gid: number): Promise<void> {
    await this.#enter({ operation: 'changeOwner', path })
    Object.assign(this.#existing(path, 'chown').node, { uid, gid })
  }

  async setModifiedTime(path: string, milliseconds: number): Promise<void> {
    await this.#enter({ operation: 'setModifiedTime', path })
    this.#existing(path, 'utime').node.modifiedMs = milliseconds
  }

  async realPath(path: string): Promise<string> {
    await this.#enter({ operation: 'realPath', path })
    return this.#tree.realPath(path)
  }

  async volume(path: string): Promise<{ type: number; freeBytes: number }> {
    await this.#enter({ operation: 'volume', path })
    this.#existing(path, 'statfs')
    return { type: VOLUME_TYPE, freeBytes: Math.max(0, this.capacityBytes - this.#usedBytes) }
  }

  async readPastCache(path: string, position: number, length: number): Promise<Uint8Array | undefined> {
    await this.#enter({ operation: 'readPastCache', path, position, length })
    const { node } = this.#existing(path, 'read')
    if (node instanceof MemoryFile) return node.readPastCache(position, length)
    throw systemError(node instanceof MemoryFolder ? 'EISDIR' : 'ELOOP', 'read', path)
  }

  watch(path: string, changed: (name: string | undefined) => void): { close(): void } {
    this.#tree.folder(path, 'watch')
    const key = posix.resolve('/', path)
    const watchers = this.#watchers.get(key) ?? new Set()
    this.#watchers.set(key, watchers)
    watchers.add(changed)
    return { close: () => watchers.delete(changed) }
  }

  #open(path: string, mode: OpenMode, permissions: number): FileHandle {
    let { folder, name, node } = this.#tree.locate(path, 'open')
    if (node === undefined) {
      if (mode === 'read' || mode === 'write') throw systemError('ENOENT', 'open', path)
      node = new MemoryFile({ inode: this.#nextInode++, mode: permissions, modifiedMs: this.#now() })
      this.#change(`create ${path}`, path, { folder, name, node })
    } else if (mode === 'create') {
      throw systemError('EEXIST', 'open', path)
    }
    if (node instanceof MemorySymlink) throw systemError('ELOOP', 'open', path)
    if (node instanceof MemoryFolder) throw systemError('EISDIR', 'open', path)
    if (mode === 'truncate') this.#resize(node, 0)
    node.handles += 1
    return new MemoryFileHandle(path, node, mode !== 'read', this.#access(node))
  }

  /** What a handle may do with the file system behind it. */
  #access(file: MemoryFile): Access {
    const cycle = this.#powerCycle
    return {
      enter: call => this.#enter(call),
      enterSync: call => this.#enterSync(call),
      isDead: () => cycle !== this.#powerCycle,
      write: (source, position, path, isLost) => this.#write(file, source, { position, path, isLost }),
      truncate: (length, path) => {
        if (length - file.size > this.capacityBytes - this.#usedBytes) throw systemError('ENOSPC', 'ftruncate', path)
        this.#resize(file, length)
        this.#notify(path)
      },
      closed: () => {
        file.handles -= 1
        this.#giveBack(file)
      }
    }
  }

  #write(
    file: MemoryFile,
    source: Uint8Array,
    { position, path, isLost }: { position: number; path: string; isLost: boolean }
  ): number {
    const room = Math.max(0, this.capacityBytes - this.#usedBytes)
    const fits = Math.min(source.byteLength, file.size + room - position)
    if (fits <= 0 && source.byteLength > 0) throw systemError('ENOSPC', 'write', path)
    const before = file.size
    file.write(source.subarray(0, fits), position, isLost)
    file.modifiedMs = this.#now()
    this.#usedBytes += file.size - before
    this.#notify(path)
    return fits
  }

  #resize(file: MemoryFile, length: number): void {
    this.#usedBytes += length - file.size
    file.truncate(length)
    file.modifiedMs = this.#now()
  }

  #change(what: string, path: string, ...assignments: Parameters<MemoryTree['change']>[1][]): void {
    this.#tree.change(what, ...assignments)
    for (const { folder } of assignments) folder.modifiedMs = this.#now()
    this.#notify(path)
  }

  /** Room of a file that nobody can reach any more. */
  #giveBack(node: MemoryNode | undefined): void {
    if (node instanceof MemoryFile && node.names === 0 && node.handles === 0) this.#usedBytes -= node.size
  }

  #existing(path: string, call: string): { folder: MemoryFolder; name: string; node: MemoryNode } {
    const { folder, name, node } = this.#tree.locate(path, call)
    if (node === undefined) throw systemError('ENOENT', call, path)
    return { folder, name, node }
  }

  #vacant(path: string, call: string): { folder: MemoryFolder; name: string } {
    const { folder, name, node } = this.#tree.locate(path, call)
    if (node !== undefined) throw systemError('EEXIST', call, path)
    return { folder, name }
  }

  #notify(path: string): void {
    const watchers = this.#watchers.get(posix.dirname(posix.resolve('/', path)))
    if (watchers === undefined) return
    const name = posix.basename(path)
    for (const changed of watchers) queueMicrotask(() => watchers.has(changed) && changed(name))
  }

  async #enter(call: FileSystemCall): Promise<unknown> {
    return this.onCall?.(call)
  }

  #enterSync(call: FileSystemCall): unknown {
    return this.onCall?.(call)
  }
}

function isFolder(node: MemoryNode | undefined): boolean {
  return node instanceof MemoryFolder
}

function isInside(path: string, folder: string): boolean {
  return posix.resolve('/', path).startsWith(`${posix.resolve('/', folder)}/`)
}
