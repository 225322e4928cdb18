/** From the path that somebody names to a folder that can be locked: resolved once, created when missing. */
import { dirname, resolve } from 'node:path'
import type { FileSystem } from '../fs/file-system.ts'
import { isSystemError } from '../fs/system-errors.ts'
import { assertSafeVolume } from '../fs/volume-kind.ts'
import { LogError } from '../util/errors.ts'
import { listDirectory, refuseOtherFolders } from './directory-listing.ts'
import { storeError } from './storage-errors.ts'

export interface LocateOptions {
  readonly fs: FileSystem
  readonly readOnly: boolean
  readonly createIfMissing: boolean
  readonly forceUnsafeFileSystem: boolean
}

/**
 * The folder's path with every symbolic link resolved. Nothing is written but the folder itself, and that only when
 * it is missing.
 *
 * @throws {LogError} NOT_A_DATA_DIRECTORY, UNSAFE_FILE_SYSTEM, PERMISSION_DENIED.
 */
export async function locateDirectory(path: string, options: LocateOptions): Promise<string> {
  const { fs, readOnly } = options
  try {
    const real = await resolveOrCreate(resolve(path), options)
    const stat = await fs.stat(real)
    if (stat?.kind !== 'directory') {
      const message = `${path} is a ${stat?.kind ?? 'missing folder'}, not a data directory`
      throw new LogError('NOT_A_DATA_DIRECTORY', message, { dir: path })
    }
    if (!readOnly) await assertSafeVolume(fs, real, { force: options.forceUnsafeFileSystem })
    const listing = await listDirectory(fs, real)
    refuseOtherFolders(real, listing)
    if (readOnly && listing.empty) {
      throw new LogError('NOT_A_DATA_DIRECTORY', `${path} is empty: there is nothing to read`, { dir: path })
    }
    return real
  } catch (error) {
    throw storeError(error, 'open', path)
  }
}

async function resolveOrCreate(path: string, options: LocateOptions): Promise<string> {
  const { fs, readOnly, createIfMissing } = options
  try {
    return await fs.realPath(path)
  } catch (error) {
    if (!isSystemError(error, 'ENOENT')) throw error
    if ((await fs.stat(path))?.kind === 'symlink') {
      const message = `${path} is a symbolic link to nothing`
      throw new LogError('NOT_A_DATA_DIRECTORY', message, { dir: path }, error)
    }
    if (readOnly || !createIfMissing) {
      throw new LogError('NOT_A_DATA_DIRECTORY', `${path} does not exist`, { dir: path }, error)
    }
  }
  await createFolder(fs, path)
  return fs.realPath(path)
}

/** With its parents; every name is durable when this resolves. */
async function createFolder(fs: FileSystem, path: string): Promise<void> {
  const parent = dirname(path)
  try {
    await fs.makeDirectory(path, 0o700)
  } catch (error) {
    if (isSystemError(error, 'EEXIST')) return
    if (!isSystemError(error, 'ENOENT') || parent === path) throw error
    await createFolder(fs, parent)
    return createFolder(fs, path)
  }
  await fs.syncDirectory(parent)
}
