/**
 * Takes old bytes away that lie on the disk behind the end of the active segment.
 *
 * A power cut can bring a file back shorter than it was written, and leave what was written in its last block, behind
 * the end. Were the log to go on there, the new bytes would be over the old ones in the page cache only. No new block is
 * needed for them, so ext4 (even with `data=ordered`) may note the new length in its journal before it writes the
 * content; after another power cut the old batch, whose checksum is right, would stand where the new one was.
 *
 * So, before anything is served or appended: zeros up to the end of the block, synced; then the file is cut again, and
 * that is synced. A crash in between leaves either the old bytes, of which nobody was served since the first power cut,
 * or zeros, which the next recovery cuts off as it does every torn end. The opening is not over then, so that no marker
 * of a clean close can be there.
 */
import type { FileHandle, FileSystem } from '../fs/file-system.ts'
import { toLogError } from '../fs/system-errors.ts'
import { writeFully } from '../fs/write-fully.ts'
import { KiB } from '../util/sizes.ts'
import { orSyncFailed } from './recovery-apply.ts'

/** ext4's block on all but tiny volumes. With a smaller one the rest of these bytes are in blocks of their own: no harm. */
const BLOCK_BYTES = 4 * KiB

/**
 * Durable when it resolves. Where there is no space for the zeros, it does without them: where there could be old bytes
 * in a block, the block is there already.
 *
 * @param end - where what is good ends, which is the length of the file. Where a block ends there, nothing is done.
 * @throws {LogError} SYNC_FAILED, STORAGE_FAILED, PERMISSION_DENIED, TOO_MANY_OPEN_FILES
 */
export async function clearBehindEnd(fs: FileSystem, path: string, end: number): Promise<void> {
  const rest = end % BLOCK_BYTES
  if (rest === 0) return
  const handle = await fs.open(path, 'write')
  try {
    if (await writeZeros(handle, end, BLOCK_BYTES - rest)) await orSyncFailed(path, handle.datasync())
    await handle.truncate(end)
    await orSyncFailed(path, handle.sync())
  } catch (error) {
    throw toLogError(error, 'clear what is behind the end of', path)
  } finally {
    await handle.close()
  }
}

/** False if there was no space; some of the zeros may be written then. */
async function writeZeros(handle: FileHandle, position: number, count: number): Promise<boolean> {
  try {
    await writeFully(handle, Buffer.alloc(count), position)
    return true
  } catch (error) {
    if (toLogError(error, 'write to', handle.path).code !== 'NO_SPACE') throw error
    return false
  }
}
