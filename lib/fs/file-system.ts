/**
 * The file system as the engine sees it, and what an implementation promises.
 *
 * Promises (each held by a test of `conformance.ts`, which any implementation can run):
 *   F1  `write` may write less than it was given and says how much; it never claims more.
 *   F2  `read` fills the target unless the file ends first; 0 means end of file, which is no error.
 *   F3  What `datasync` or `sync` covered when it resolved survives a power cut, content and length.
 *   F4  A new, renamed or removed name survives a power cut once `syncDirectory` of its folder resolved,
 *       and not before.
 *   F5  `rename` replaces its target in one step: a reader sees the old file or the new one.
 *   F6  A failed `datasync` or `sync` says nothing about a later one: after it, only re-reading with the
 *       cache out of the way tells what is on the disk.
 *   F7  A missing path is `undefined` from `stat`, and an error with `code` ENOENT elsewhere. Errors carry
 *       the system's `code` (ENOENT, EEXIST, ENOSPC, EMFILE, EACCES, EIO, EROFS, ENOTDIR, EISDIR …).
 *   F8  Calls on different handles may run at once; two writes to one handle are the caller's to order.
 */
export interface FileSystem {
  /** Short name for messages and statistics: `node`, `memory`. */
  readonly name: string
  open(path: string, mode: OpenMode, permissions?: number): Promise<FileHandle>
  /** As `open`, on the calling thread: only for a file that is expected in the page cache. */
  openSync(path: string, mode: OpenMode): FileHandle
  /** Does not follow a symbolic link. `undefined` when nothing has that name. */
  stat(path: string): Promise<FileStat | undefined>
  /** Names in a folder, in no particular order, without `.` and `..`. */
  readDirectory(path: string): Promise<DirectoryEntry[]>
  makeDirectory(path: string, permissions?: number): Promise<void>
  /** Removes an empty folder. */
  removeDirectory(path: string): Promise<void>
  rename(from: string, to: string): Promise<void>
  unlink(path: string): Promise<void>
  /** Hard link; EXDEV or EPERM where the file system has none. */
  link(existing: string, path: string): Promise<void>
  /** Makes names created, renamed or removed in this folder durable. */
  syncDirectory(path: string): Promise<void>
  changeMode(path: string, permissions: number): Promise<void>
  changeOwner(path: string, uid: number, gid: number): Promise<void>
  setModifiedTime(path: string, milliseconds: number): Promise<void>
  /** The path with every symbolic link resolved. */
  realPath(path: string): Promise<string>
  /** What the path lies on: type as in statfs(2), and the bytes free for this user. */
  volume(path: string): Promise<{ type: number; freeBytes: number }>
  /**
   * Bytes of a file as the device has them, not as the page cache remembers them (see F6): from `position` on,
   * fewer than `length` only at the end of the file. `undefined` where the file system cannot read so; then
   * nothing is known about them.
   */
  readPastCache(path: string, position: number, length: number): Promise<Uint8Array | undefined>
  /** Calls `changed` with a name in the folder, or `undefined` when the name is unknown; a hint, not a promise. */
  watch(path: string, changed: (name: string | undefined) => void): { close(): void }
}

/**
 * - `read`: must exist; read only.
 * - `write`: must exist; read and write.
 * - `create`: must not exist; read and write.
 * - `create-or-open`: read and write, created empty when missing.
 * - `truncate`: read and write, created or emptied.
 * Every mode refuses a symbolic link as last component (ELOOP).
 */
export type OpenMode = 'read' | 'write' | 'create' | 'create-or-open' | 'truncate'

export interface FileHandle {
  readonly path: string
  /** Fills `target` from `position` on; resolves to the bytes read, less than asked only at the end of the file. */
  read(target: Uint8Array, position: number): Promise<number>
  /** As `read`, on the calling thread: what is warm in the page cache is 10 to 30 times faster this way. */
  readSync(target: Uint8Array, position: number): number
  /** Resolves to the bytes written, which may be fewer than given: see `writeFully`. */
  write(source: Uint8Array, position: number): Promise<number>
  /** As `write`, on the calling thread: for a few bytes into the page cache, where a thread-pool hop costs more. */
  writeSync(source: Uint8Array, position: number): number
  truncate(length: number): Promise<void>
  /** fdatasync(2): content and length. */
  datasync(): Promise<void>
  /** fsync(2): also times and permissions. */
  sync(): Promise<void>
  stat(): Promise<FileStat>
  /** Waits for the calls under way, then closes. Idempotent; what is called later fails with EBADF. */
  close(): Promise<void>
  /** As `close`, on the calling thread: only while no call is under way, which is the caller's to know. */
  closeSync(): void
}

export interface FileStat {
  readonly kind: EntryKind
  readonly size: number
  readonly modifiedMs: number
  /** Permission bits only. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly device: number
  readonly inode: number
}

export type EntryKind = 'file' | 'directory' | 'symlink' | 'other'

export interface DirectoryEntry {
  readonly name: string
  readonly kind: EntryKind
}
