import type { FileHandle, FileSystem } from '../fs/file-system.ts'
import { isSystemError } from '../fs/system-errors.ts'
import { writeFully } from '../fs/write-fully.ts'
import { LogError } from '../util/errors.ts'
import { MiB } from '../util/sizes.ts'
import type { FileAttributes } from './data-directory.ts'

/**
 * Copies the first `length` bytes of a file into a new one, content durable when it resolves; its name is not.
 *
 * @throws {LogError} STORAGE_FAILED when the file has become shorter meanwhile.
 */
export async function copyFile(
  fs: FileSystem,
  paths: { readonly from: string; readonly to: string },
  length: number,
  { filePermissions, owner }: FileAttributes
): Promise<void> {
  const source = await fs.open(paths.from, 'read')
  let target: FileHandle | undefined
  try {
    target = await fs.open(paths.to, 'create', filePermissions)
    if (owner !== undefined) await fs.changeOwner(paths.to, owner.uid, owner.gid)
    const buffer = Buffer.allocUnsafe(Math.max(1, Math.min(length, MiB)))
    for (let position = 0; position < length; ) {
      const wanted = buffer.subarray(0, Math.min(buffer.length, length - position))
      const count = await source.read(wanted, position)
      if (count === 0) {
        const message = `${paths.from} became shorter while it was copied: ${position} bytes of ${length}`
        throw new LogError('STORAGE_FAILED', message, { path: paths.from, position, length })
      }
      await writeFully(target, wanted.subarray(0, count), position)
      position += count
    }
    await target.sync()
  } finally {
    await target?.close()
    await source.close()
  }
}

/** What a file system says that has no hard links, or not to this place. */
const NO_LINK = ['EXDEV', 'EPERM', 'EMLINK', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EACCES']

/** A second name for a file; false where the file system has none to give, so that the caller copies. */
export async function tryLink(fs: FileSystem, from: string, to: string): Promise<boolean> {
  try {
    await fs.link(from, to)
    return true
  } catch (error) {
    if (isSystemError(error, ...NO_LINK)) return false
    throw error
  }
}
