import { LogError } from '../util/errors.ts'
import type { FileHandle } from './file-system.ts'

/**
 * Writes all of `bytes` at `position`.
 *
 * A write may do less than it was asked and call that success: on a full volume the first call fits what it can,
 * and only the next one fails. So what was written is looked at, and the rest is written again.
 *
 * On failure some of the bytes may be in the file: whoever must not have half of them there cuts them off.
 *
 * @throws the system's error, or {LogError} STORAGE_FAILED when a write gets nowhere without saying why.
 */
export async function writeFully(
  handle: Pick<FileHandle, 'path' | 'write'>,
  bytes: Uint8Array,
  position: number
): Promise<void> {
  let written = await handle.write(bytes, position)
  while (written < bytes.byteLength) {
    const more = await handle.write(bytes.subarray(written), position + written)
    if (more === 0) throw noProgress(handle.path, position + written, bytes.byteLength - written)
    written += more
  }
}

/** As `writeFully`, on the calling thread. */
export function writeFullySync(handle: FileHandle, bytes: Uint8Array, position: number): void {
  let written = handle.writeSync(bytes, position)
  while (written < bytes.byteLength) {
    const more = handle.writeSync(bytes.subarray(written), position + written)
    if (more === 0) throw noProgress(handle.path, position + written, bytes.byteLength - written)
    written += more
  }
}

function noProgress(path: string, position: number, bytesLeft: number): LogError {
  return new LogError('STORAGE_FAILED', `cannot write to ${path}: the system takes no more bytes and gives no reason`, {
    path,
    position,
    bytesLeft
  })
}
