/**
 * One writer for a data directory: first among heartwoods (`socket-lock.ts`), then against Kafka's broker
 * (`record-lock.ts`). In this order, because the record lock is the process', and a second opener in the same process
 * must be turned away before it touches `.lock`.
 */
import { join } from 'node:path'
import { describeProcess, LOCK_FILE, type LockHolder, recordLockHolder } from './lock-holder.ts'
import { nodeFileSystem } from './node-file-system.ts'
import { acquireRecordLock, type RecordLockKind } from './record-lock.ts'
import { acquireSocketLock, probeSocketLock } from './socket-lock.ts'
import { toLogError } from './system-errors.ts'

/** `socket-only`: a broker that starts later is not kept out (no fs-ext, no `node:sqlite`). */
export type DirectoryLockKind = 'fcntl' | 'sqlite' | 'socket-only'

export interface DirectoryLock {
  readonly kind: DirectoryLockKind
  /** Symbolic links resolved. */
  readonly directory: string
  /** Idempotent. Another heartwood, or a broker, can have the directory afterwards. */
  release(): Promise<void>
}

export interface DirectoryLockOptions {
  /** Whether to go on where a later broker cannot be kept out; default true. */
  readonly allowOneSided?: boolean | undefined
  /** Mode of `.lock` when it is made here; default 0600. */
  readonly permissions?: number | undefined
  /** The ways to Kafka's lock that may be tried, best first; for tests. */
  readonly recordLocks?: readonly RecordLockKind[] | undefined
}

/**
 * Locks an existing directory for this opener alone: no other process, thread or copy of this module can.
 *
 * The lock ends with `release` or with the process, however that ends. It does not keep the process running.
 *
 * @throws {LogError} LOCKED, with pid and kind of who has it; UNSAFE_PATH when `.lock` is a symbolic link;
 *   PERMISSION_DENIED, NO_SPACE, TOO_MANY_OPEN_FILES, STORAGE_FAILED.
 */
export async function lockDirectory(path: string, options: DirectoryLockOptions = {}): Promise<DirectoryLock> {
  const { allowOneSided = true, permissions, recordLocks = ['fcntl', 'sqlite', 'none'] } = options
  const directory = await resolveDirectory(path)
  const socketLock = await acquireSocketLock(directory)
  try {
    const kinds = recordLocks.filter(kind => allowOneSided || kind !== 'none')
    const recordLock = await acquireRecordLock(directory, { permissions, kinds })
    let released: Promise<void> | undefined
    return {
      kind: recordLock.kind === 'none' ? 'socket-only' : recordLock.kind,
      directory,
      release: () => {
        released ??= (async () => {
          recordLock.release()
          await socketLock.release()
        })()
        return released
      }
    }
  } catch (error) {
    await socketLock.release()
    throw error
  }
}

/**
 * Who writes in a directory, found without taking or touching any lock; `undefined` when nobody is seen.
 *
 * A hint for messages and for readers: the answer may be out of date when it arrives. A broker is seen only where there
 * is /proc, and in the same container.
 */
export async function probeHolder(path: string): Promise<LockHolder | undefined> {
  const directory = await resolveDirectory(path)
  const heartwood = await probeSocketLock(directory)
  if (heartwood !== undefined) return heartwood
  const pid = await recordLockHolder(join(directory, LOCK_FILE))
  return pid === undefined ? undefined : describeProcess(pid)
}

async function resolveDirectory(path: string): Promise<string> {
  try {
    return await nodeFileSystem.realPath(path)
  } catch (error) {
    throw toLogError(error, 'open', path)
  }
}
