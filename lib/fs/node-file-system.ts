import fs from 'node:fs'
import type { DirectoryEntry, FileHandle, FileStat, FileSystem, OpenMode } from './file-system.ts'
import { callThrough, entryKind, NodeFileHandle, toFileStat } from './node-file-handle.ts'
import { type PoolGate, sharedPoolGate } from './pool-gate.ts'
import { QuickCalls } from './quick-calls.ts'
import { readPastCache } from './read-past-cache.ts'

const { O_RDONLY, O_RDWR, O_CREAT, O_EXCL, O_TRUNC, O_DIRECTORY } = fs.constants

/**
 * On every open: no symbolic link as last component, and no waiting at a pipe that somebody put where a file
 * should be (O_NONBLOCK means nothing for a regular file). libuv adds O_CLOEXEC. Windows knows neither flag.
 */
const ALWAYS = (fs.constants.O_NOFOLLOW ?? 0) | (fs.constants.O_NONBLOCK ?? 0)

const DEFAULT_FILE_MODE = 0o600
const DEFAULT_FOLDER_MODE = 0o700
/** Some 300 names of a segment's files. */
const QUICK_FOLDER_BYTES = 16 * 1024

/**
 * The operating system's files, through `node:fs`.
 *
 * At most half of libuv's thread pool is busy with calls from here, whatever the number of files (see `PoolGate`).
 * Short calls that are likely to be answered from memory do not go there (see `QuickCalls`).
 * Permissions are set as asked, whatever the process' umask says.
 */
export class NodeFileSystem implements FileSystem {
  readonly name = 'node'
  readonly #gate: PoolGate
  readonly #quick: QuickCalls | undefined

  /** @param quick - `undefined`: every call that has a promise goes through the thread pool. */
  constructor(gate: PoolGate = sharedPoolGate, quick?: QuickCalls) {
    this.#gate = gate
    this.#quick = quick
  }

  async open(path: string, mode: OpenMode, permissions = DEFAULT_FILE_MODE): Promise<FileHandle> {
    // Files that exist: making one, or emptying it, may wait for the journal.
    const isQuick = mode === 'read' || mode === 'write'
    const quick = isQuick ? this.#quick : undefined
    if (isQuick && quick?.allowed() === true) {
      const fd = quick.run(() => fs.openSync(path, openFlags(mode)))
      return this.#handle(path, fd, quick)
    }
    for (;;) {
      if (mode !== 'create') {
        try {
          return this.#handle(path, await this.#open(path, openFlags(mode)), quick)
        } catch (error) {
          if (!isMissing(error) || mode === 'read' || mode === 'write') throw error
        }
      }
      try {
        return await this.#create(path, permissions)
      } catch (error) {
        // Somebody else made it since: then it is there to be opened.
        if (mode === 'create' || (error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      }
    }
  }

  openSync(path: string, mode: OpenMode): FileHandle {
    for (;;) {
      try {
        if (mode !== 'create') return this.#handle(path, fs.openSync(path, openFlags(mode)))
      } catch (error) {
        if (!isMissing(error) || mode === 'read' || mode === 'write') throw error
      }
      try {
        return this.#handle(path, fs.openSync(path, O_RDWR | O_CREAT | O_EXCL | ALWAYS, DEFAULT_FILE_MODE))
      } catch (error) {
        if (mode === 'create' || (error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      }
    }
  }

  async stat(path: string): Promise<FileStat | undefined> {
    const quick = this.#quick
    if (quick?.allowed() === true) {
      const stats = quick.run(() => fs.lstatSync(path, { throwIfNoEntry: false }))
      return stats === undefined ? undefined : toFileStat(stats)
    }
    try {
      return toFileStat(await callThrough<fs.Stats>(this.#gate, done => fs.lstat(path, done)))
    } catch (error) {
      if (isMissing(error)) return undefined
      throw error
    }
  }

  async readDirectory(path: string): Promise<DirectoryEntry[]> {
    const entries = this.#listQuickly(path) ?? (await this.#list(path))
    return entries.map(entry => ({ name: entry.name, kind: entryKind(entry) }))
  }

  async makeDirectory(path: string, permissions = DEFAULT_FOLDER_MODE): Promise<void> {
    await callThrough<void>(this.#gate, done => fs.mkdir(path, permissions, done))
    await this.changeMode(path, permissions)
  }

  removeDirectory(path: string): Promise<void> {
    return callThrough(this.#gate, done => fs.rmdir(path, done))
  }

  rename(from: string, to: string): Promise<void> {
    return callThrough(this.#gate, done => fs.rename(from, to, done))
  }

  unlink(path: string): Promise<void> {
    return callThrough(this.#gate, done => fs.unlink(path, done))
  }

  link(existing: string, path: string): Promise<void> {
    return callThrough(this.#gate, done => fs.link(existing, path, done))
  }

  async syncDirectory(path: string): Promise<void> {
    // Windows has no such call; its file system journals names by itself.
    if (process.platform === 'win32') return
    await this.#withDescriptor(path, O_RDONLY | O_DIRECTORY | ALWAYS, (fd, done) => fs.fsync(fd, done))
  }

  async changeMode(path: string, permissions: number): Promise<void> {
    if (process.platform === 'win32') return
    // By descriptor, because chmod(2) follows a symbolic link. The set-group-id bit of a folder is inherited on
    // purpose (files below get its group), and chmod would drop it.
    await this.#withDescriptor<void>(path, O_RDONLY | ALWAYS, (fd, done) => {
      fs.fstat(fd, (error, stats) => {
        if (error !== null) done(error)
        else if ((stats.mode & 0o777) === permissions) done(null)
        else fs.fchmod(fd, (stats.mode & 0o7000) | permissions, done)
      })
    })
  }

  changeOwner(path: string, uid: number, gid: number): Promise<void> {
    return callThrough(this.#gate, done => fs.lchown(path, uid, gid, done))
  }

  setModifiedTime(path: string, milliseconds: number): Promise<void> {
    const seconds = milliseconds / 1000
    return callThrough(this.#gate, done => fs.lutimes(path, seconds, seconds, done))
  }

  async realPath(path: string): Promise<string> {
    const quick = this.#quick
    if (quick?.allowed() === true) return quick.run(() => fs.realpathSync.native(path))
    return callThrough(this.#gate, done => fs.realpath.native(path, done))
  }

  async volume(path: string): Promise<{ type: number; freeBytes: number }> {
    const quick = this.#quick
    const { type, bavail, bsize } =
      quick?.allowed() === true
        ? quick.run(() => fs.statfsSync(path))
        : await callThrough<fs.StatsFs>(this.#gate, done => fs.statfs(path, done))
    return { type, freeBytes: bavail * bsize }
  }

  readPastCache(path: string, position: number, length: number): Promise<Uint8Array | undefined> {
    return readPastCache(path, position, length, this.#gate)
  }

  watch(path: string, changed: (name: string | undefined) => void): { close(): void } {
    const watcher = fs.watch(path, (_event, name) => changed(name ?? undefined))
    // A watch that breaks is a hint that no longer comes. The follower polls as well.
    watcher.on('error', () => watcher.close())
    return watcher
  }

  #list(path: string): Promise<fs.Dirent[]> {
    return callThrough(this.#gate, done => fs.readdir(path, { withFileTypes: true }, done))
  }

  /** The length of a folder tells about how many names it holds, everywhere. */
  #listQuickly(path: string): fs.Dirent[] | undefined {
    const quick = this.#quick
    if (quick?.allowed() !== true) return undefined
    const size = quick.run(() => fs.lstatSync(path, { throwIfNoEntry: false })?.size ?? 0)
    if (size > QUICK_FOLDER_BYTES || !quick.allowed()) return undefined
    return quick.run(() => fs.readdirSync(path, { withFileTypes: true }))
  }

  #handle(path: string, fd: number, quick?: QuickCalls): NodeFileHandle {
    return new NodeFileHandle(path, fd, this.#gate, quick)
  }

  #open(path: string, flags: number, permissions = DEFAULT_FILE_MODE): Promise<number> {
    return callThrough(this.#gate, done => fs.open(path, flags, permissions, done))
  }

  async #create(path: string, permissions: number): Promise<FileHandle> {
    const fd = await this.#open(path, O_RDWR | O_CREAT | O_EXCL | ALWAYS, permissions)
    // umask can only take bits of group and others away, and only if some were asked for.
    if ((permissions & 0o077) !== 0) {
      try {
        await callThrough<void>(this.#gate, done => fs.fchmod(fd, permissions, done))
      } catch (error) {
        fs.closeSync(fd)
        throw error
      }
    }
    return this.#handle(path, fd)
  }

  /** Opens, calls, closes: in one slot of the pool. */
  #withDescriptor<T>(
    path: string,
    flags: number,
    use: (fd: number, done: (error: NodeJS.ErrnoException | null, value?: T) => void) => void
  ): Promise<T> {
    return callThrough(this.#gate, done => {
      fs.open(path, flags, (openError, fd) => {
        if (openError !== null) {
          done(openError)
          return
        }
        use(fd, (error, value) => {
          if (error !== null && !('path' in error)) Object.assign(error, { path })
          fs.close(fd, closeError => done(error ?? closeError ?? null, value))
        })
      })
    })
  }
}

/** The one that everybody shares who has no reason for another. */
export const nodeFileSystem = new NodeFileSystem(sharedPoolGate, new QuickCalls())

function openFlags(mode: Exclude<OpenMode, 'create'>): number {
  switch (mode) {
    case 'read':
      return O_RDONLY | ALWAYS
    case 'write':
    case 'create-or-open':
      return O_RDWR | ALWAYS
    case 'truncate':
      return O_RDWR | O_TRUNC | ALWAYS
  }
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT'
}
