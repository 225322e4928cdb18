import { join } from 'node:path'
import type { FileSystem } from '../fs/file-system.ts'
import { isSystemError } from '../fs/system-errors.ts'

/**
 * Removes a folder and all in it; none is no error. Symbolic links are removed, never followed. Not durable by
 * itself: names come back after a power cut until the parent is synced.
 */
export async function removeTree(fs: FileSystem, path: string): Promise<void> {
  let entries: Awaited<ReturnType<FileSystem['readDirectory']>>
  try {
    entries = await fs.readDirectory(path)
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return
    throw error
  }
  for (const { name, kind } of entries) {
    const child = join(path, name)
    if (kind === 'directory') await removeTree(fs, child)
    else await fs.unlink(child)
  }
  await fs.removeDirectory(path)
}
