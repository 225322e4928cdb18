/**
 * Kafka's lock on a data directory: a POSIX record lock over the whole of the file `.lock`, as Java's FileChannel
 * takes it. It keeps a broker out of a directory that we write, and us out of a broker's.
 *
 * Invariants:
 *   K1  A record lock belongs to the process and is lost when *any* descriptor of the file is closed in it. So `.lock`
 *       is opened once, here, by whoever holds the socket lock, and nowhere else in the process: not to copy it, not
 *       to look at it.
 *   K2  The lock counts only on the file that has the name. A broker removes `.lock` on a clean stop, so after locking
 *       the two are compared, and the whole is done again when they differ.
 *   K3  `.lock` stays empty, and stays where it is on release: a broker that has opened it in the meantime would
 *       otherwise lock a file without a name, and somebody else the next one.
 */
import { closeSync, constants, fchmodSync, fstatSync, lstatSync, openSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { LogError } from '../util/errors.ts'
import { describeProcess, LOCK_FILE, type LockHolder, lockedError, recordLockHolder } from './lock-holder.ts'
import { isSystemError, systemCode, toLogError } from './system-errors.ts'

/**
 * - `fcntl`: through fs-ext.
 * - `sqlite`: through Node's own SQLite, which locks bytes of the file in the same way.
 * - `none`: neither is there. A broker that runs is seen; one that starts later is not kept out.
 */
export type RecordLockKind = 'fcntl' | 'sqlite' | 'none'

export interface RecordLock {
  readonly kind: RecordLockKind
  release(): void
}

export interface RecordLockOptions {
  /** Mode of `.lock` when it is made here. */
  readonly permissions?: number | undefined
  /** The ways that may be tried, best first; for tests. */
  readonly kinds?: readonly RecordLockKind[] | undefined
}

interface FsExt {
  fcntl(fd: number, command: 'setlk', type: number, done: (error: NodeJS.ErrnoException | null) => void): void
  readonly constants: { readonly F_WRLCK: number }
}

interface Sqlite {
  readonly DatabaseSync: new (path: string) => { exec(sql: string): void; close(): void }
}

/** `undefined`: this way is not to be had here. `'changed'`: K2, do it again. */
type Attempt = RecordLock | 'changed' | undefined

const ALL: readonly RecordLockKind[] = ['fcntl', 'sqlite', 'none']
/** Each new round needs a broker that stops at that very moment. */
const MAX_ROUNDS = 100
const SQLITE_BUSY = 5

/** @throws {LogError} LOCKED when another process has it. */
export async function acquireRecordLock(
  directory: string,
  { permissions = 0o600, kinds = ALL }: RecordLockOptions = {}
): Promise<RecordLock> {
  const path = join(directory, LOCK_FILE)
  for (let round = 0; round < MAX_ROUNDS; round += 1) {
    const attempt = await attemptLock(directory, path, permissions, kinds)
    if (attempt !== 'changed') return attempt
  }
  throw new LogError('LOCKED', `${path} is replaced again and again: what else works on this directory?`, { directory })
}

async function attemptLock(
  directory: string,
  path: string,
  permissions: number,
  kinds: readonly RecordLockKind[]
): Promise<RecordLock | 'changed'> {
  for (const kind of kinds) {
    const attempt: Attempt =
      kind === 'fcntl'
        ? await lockByFcntl(directory, path, permissions)
        : kind === 'sqlite'
          ? await lockBySqlite(directory, path, permissions)
          : await lookForBroker(directory, path)
    if (attempt !== undefined) return attempt
  }
  throw new LogError(
    'LOCKED',
    `${directory} cannot be kept from a Kafka broker that starts later: that needs fs-ext (npm rebuild fs-ext), ` +
      'or Node 22 or later; or allow a one-sided lock',
    { directory }
  )
}

async function lockByFcntl(directory: string, path: string, permissions: number): Promise<Attempt> {
  const extension = optional<FsExt>('fs-ext')
  if (extension === undefined) return undefined
  const fd = openLockFile(path, permissions)
  try {
    await new Promise<void>((resolve, reject) => {
      extension.fcntl(fd, 'setlk', extension.constants.F_WRLCK, error => (error == null ? resolve() : reject(error)))
    })
  } catch (error) {
    closeSync(fd)
    if (isSystemError(error, 'EAGAIN', 'EACCES')) throw lockedError(directory, await holderOf(path))
    // A file system without record locks; the other ways may still do.
    if (isSystemError(error, 'ENOLCK', 'EOPNOTSUPP', 'ENOTSUP', 'EINVAL')) return undefined
    throw toLogError(error, 'lock', path)
  }
  if (!isStill(path, fstatSync(fd, { bigint: true }))) {
    closeSync(fd)
    return 'changed'
  }
  return { kind: 'fcntl', release: once(() => closeSync(fd)) }
}

async function lockBySqlite(directory: string, path: string, permissions: number): Promise<Attempt> {
  const sqlite = optional<Sqlite>('node:sqlite')
  if (sqlite === undefined) return undefined
  // Made with our mode and checked to be no symbolic link, because SQLite would follow one. K1: nothing is locked yet.
  const fd = openLockFile(path, permissions)
  const before = fstatSync(fd, { bigint: true })
  closeSync(fd)
  // To SQLite a file with bytes in it is a damaged database. Kafka's never has any.
  if (before.size > 0n) return undefined
  const database = new sqlite.DatabaseSync(path)
  try {
    // No journal file beside it; nothing is ever written.
    database.exec('PRAGMA journal_mode = MEMORY')
    database.exec('BEGIN EXCLUSIVE')
  } catch (error) {
    database.close()
    if ((error as { errcode?: unknown }).errcode === SQLITE_BUSY) throw lockedError(directory, await holderOf(path))
    return undefined
  }
  // SQLite opened it by name. While it has the file open, no other can get its inode's number.
  if (!isStill(path, before)) {
    database.close()
    return 'changed'
  }
  return { kind: 'sqlite', release: once(() => database.close()) }
}

async function lookForBroker(directory: string, path: string): Promise<Attempt> {
  const pid = await recordLockHolder(path)
  if (pid !== undefined) throw lockedError(directory, await describeProcess(pid))
  return { kind: 'none', release: () => undefined }
}

async function holderOf(path: string): Promise<LockHolder> {
  const pid = await recordLockHolder(path)
  return pid === undefined ? { pid, kind: 'unknown', command: undefined } : describeProcess(pid)
}

function openLockFile(path: string, permissions: number): number {
  const { O_RDWR, O_CREAT, O_EXCL, O_NOFOLLOW = 0, O_NONBLOCK = 0 } = constants
  for (;;) {
    try {
      const fd = openSync(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, permissions)
      fchmodSync(fd, permissions)
      return fd
    } catch (error) {
      if (systemCode(error) !== 'EEXIST') throw toLogError(error, 'create', path)
    }
    try {
      const fd = openSync(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK)
      if (fstatSync(fd).isFile()) return fd
      closeSync(fd)
      throw new LogError('UNSAFE_PATH', `${path} is no regular file`, { path })
    } catch (error) {
      if (systemCode(error) === 'ELOOP') {
        throw new LogError('UNSAFE_PATH', `${path} is a symbolic link: remove it`, { path }, error)
      }
      if (systemCode(error) !== 'ENOENT') throw toLogError(error, 'open', path)
    }
  }
}

/** K2. */
function isStill(path: string, { dev, ino }: { dev: bigint; ino: bigint }): boolean {
  const now = lstatSync(path, { bigint: true, throwIfNoEntry: false })
  return now !== undefined && now.dev === dev && now.ino === ino
}

/** A module that may be missing, or built for another Node. */
function optional<T>(name: string): T | undefined {
  const { emitWarning } = process
  try {
    // Loading node:sqlite warns that it is experimental. What is used of it here is a file lock, and a library has
    // no business on its host's stderr. Nothing else can run until the next lines have.
    process.emitWarning = () => undefined
    return createRequire(import.meta.url)(name) as T
  } catch {
    return undefined
  } finally {
    process.emitWarning = emitWarning
  }
}

function once(f: () => void): () => void {
  let done = false
  return () => {
    if (done) return
    done = true
    f()
  }
}
