import { dirname } from 'node:path'
import { LogError } from '../util/errors.ts'
import type { FileHandle, FileSystem } from './file-system.ts'
import { isSystemError } from './system-errors.ts'
import { writeFully } from './write-fully.ts'

export interface ReplaceOptions {
  /** Of the new file; 0600 unless said otherwise. */
  readonly permissions?: number | undefined
  /** Who shall own the new file; the process' user unless said otherwise. Needs root. */
  readonly owner?: { readonly uid: number; readonly gid: number } | undefined
}

/**
 * Gives the file at `path` new content in one step: after a crash at any point it has its old content or the new
 * one, and once this resolves, the new one. Steps as Kafka takes them: write `path.tmp`, fsync it, rename it,
 * fsync the folder.
 *
 * Two calls for one path are the caller's to order, because both use `path.tmp`.
 *
 * @throws the system's error. The file at `path` is the old one then, or, when only the last step failed, either.
 */
export async function replaceFile(
  fs: FileSystem,
  path: string,
  bytes: Uint8Array,
  { permissions, owner }: ReplaceOptions = {}
): Promise<void> {
  const temporary = `${path}.tmp`
  const handle = await createAfresh(fs, temporary, permissions)
  try {
    try {
      await writeFully(handle, bytes, 0)
      if (owner !== undefined) await fs.changeOwner(temporary, owner.uid, owner.gid)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await fs.rename(temporary, path)
  } catch (error) {
    // Whether this works changes nothing: a left-over is overwritten next time.
    await fs.unlink(temporary).catch(() => undefined)
    throw error
  }
  await fs.syncDirectory(dirname(path))
}

/**
 * The content of a small file, `undefined` when there is none.
 *
 * @param maxBytes - bound, checked before memory is allocated.
 * @throws {LogError} CORRUPT_FILE when the file is larger, or is no regular file.
 */
export async function readWholeFile(fs: FileSystem, path: string, maxBytes: number): Promise<Buffer | undefined> {
  let handle: FileHandle
  try {
    handle = await fs.open(path, 'read')
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return undefined
    throw error
  }
  try {
    const { kind, size } = await handle.stat()
    if (kind !== 'file') throw new LogError('CORRUPT_FILE', `${path} is no regular file`, { path, kind })
    if (size > maxBytes) {
      const message = `${path} has ${size} bytes, more than the ${maxBytes} that such a file can have`
      throw new LogError('CORRUPT_FILE', message, { path, size, maxBytes })
    }
    const bytes = Buffer.allocUnsafeSlow(size)
    // Fewer when somebody cut the file since: what was never read must not be handed out.
    const count = await handle.read(bytes, 0)
    return bytes.subarray(0, count)
  } finally {
    await handle.close()
  }
}

/**
 * A fresh file, even where a crash left one of that name. Unlinked and created, not emptied: what lies there may
 * be a symbolic link, or a second name of a file that matters.
 */
async function createAfresh(fs: FileSystem, path: string, permissions: number | undefined): Promise<FileHandle> {
  try {
    return await fs.open(path, 'create', permissions)
  } catch (error) {
    if (!isSystemError(error, 'EEXIST')) throw error
  }
  await fs.unlink(path)
  return fs.open(path, 'create', permissions)
}
