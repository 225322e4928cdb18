import type { EntryKind, FileHandle, FileStat, OpenMode } from './file-system.ts'
import { MemoryFile } from './memory-file.ts'
import { MemoryFolder, type MemoryNode, systemError } from './memory-tree.ts'

export type FileSystemOperation =
  | 'open'
  | 'stat'
  | 'readDirectory'
  | 'makeDirectory'
  | 'removeDirectory'
  | 'rename'
  | 'unlink'
  | 'link'
  | 'syncDirectory'
  | 'changeMode'
  | 'changeOwner'
  | 'setModifiedTime'
  | 'realPath'
  | 'volume'
  | 'readPastCache'
  | 'read'
  | 'write'
  | 'truncate'
  | 'datasync'
  | 'sync'
  | 'handleStat'
  | 'close'

/** One call, as the fault hook sees it before anything has happened. */
export interface FileSystemCall {
  readonly operation: FileSystemOperation
  readonly path: string
  /** Second path of `rename` and `link`. */
  readonly to?: string | undefined
  /** Of `open`. */
  readonly mode?: OpenMode | undefined
  /** Of `read`, `write`, `truncate` (the new length) and `readPastCache`. */
  readonly position?: number | undefined
  /** Of `read`, `write` and `readPastCache`: bytes asked for. */
  readonly length?: number | undefined
}

const DEVICE = 1

/** What a handle may do with the file system behind it. */
export interface Access {
  enter(call: FileSystemCall): Promise<unknown>
  enterSync(call: FileSystemCall): unknown
  isDead(): boolean
  write(source: Uint8Array, position: number, path: string, isLost: boolean): number
  truncate(length: number, path: string): void
  closed(): void
}

export class MemoryFileHandle implements FileHandle {
  readonly path: string
  readonly #file: MemoryFile
  readonly #writable: boolean
  readonly #access: Access
  #closed = false

  constructor(path: string, file: MemoryFile, writable: boolean, access: Access) {
    this.path = path
    this.#file = file
    this.#writable = writable
    this.#access = access
  }

  async read(target: Uint8Array, position: number): Promise<number> {
    this.#alive('read')
    await this.#access.enter({ operation: 'read', path: this.path, position, length: target.byteLength })
    this.#refuseDead('read')
    return this.#file.read(target, position)
  }

  readSync(target: Uint8Array, position: number): number {
    this.#alive('read')
    this.#access.enterSync({ operation: 'read', path: this.path, position, length: target.byteLength })
    return this.#file.read(target, position)
  }

  async write(source: Uint8Array, position: number): Promise<number> {
    this.#mayWrite('write')
    const call: FileSystemCall = { operation: 'write', path: this.path, position, length: source.byteLength }
    return this.#write(source, position, await this.#access.enter(call))
  }

  writeSync(source: Uint8Array, position: number): number {
    this.#mayWrite('write')
    const call: FileSystemCall = { operation: 'write', path: this.path, position, length: source.byteLength }
    return this.#write(source, position, this.#access.enterSync(call))
  }

  async truncate(length: number): Promise<void> {
    this.#mayWrite('ftruncate')
    await this.#access.enter({ operation: 'truncate', path: this.path, position: length })
    this.#refuseDead('ftruncate')
    this.#access.truncate(length, this.path)
  }

  datasync(): Promise<void> {
    return this.#sync('datasync')
  }

  sync(): Promise<void> {
    return this.#sync('sync')
  }

  async stat(): Promise<FileStat> {
    this.#alive('fstat')
    await this.#access.enter({ operation: 'handleStat', path: this.path })
    return toStat(this.#file)
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.#access.enter({ operation: 'close', path: this.path })
    if (!this.#access.isDead()) this.#access.closed()
  }

  closeSync(): void {
    if (this.#closed) return
    this.#closed = true
    this.#access.enterSync({ operation: 'close', path: this.path })
    if (!this.#access.isDead()) this.#access.closed()
  }

  #write(source: Uint8Array, position: number, verdict: unknown): number {
    this.#refuseDead('write')
    if (verdict === 'lie') return source.byteLength
    const wanted = typeof verdict === 'number' ? source.subarray(0, verdict) : source
    return this.#access.write(wanted, position, this.path, verdict === 'lose')
  }

  async #sync(operation: 'datasync' | 'sync'): Promise<void> {
    this.#alive('fsync')
    const scope = this.#file.beginSync()
    try {
      await this.#access.enter({ operation, path: this.path })
    } catch (error) {
      if (!this.#access.isDead()) this.#file.failSync()
      throw error
    }
    this.#refuseDead('fsync')
    this.#file.endSync(scope)
  }

  #mayWrite(call: string): void {
    this.#alive(call)
    if (!this.#writable) throw systemError('EBADF', call, this.path)
  }

  #alive(call: string): void {
    if (this.#closed) throw systemError('EBADF', call, this.path)
    this.#refuseDead(call)
  }

  /** Asked again after waiting: the power may be gone by then. */
  #refuseDead(call: string): void {
    if (this.#access.isDead()) throw systemError('EBADF', call, this.path)
  }
}

export function toStat(node: MemoryNode): FileStat {
  const size = node instanceof MemoryFile ? node.size : 0
  const { modifiedMs, mode, uid, gid, inode } = node
  return { kind: kindOf(node), size, modifiedMs, mode, uid, gid, device: DEVICE, inode }
}

export function kindOf(node: MemoryNode): EntryKind {
  if (node instanceof MemoryFile) return 'file'
  return node instanceof MemoryFolder ? 'directory' : 'symlink'
}
