import type { FileSystem } from '../fs/file-system.ts'
import { readWholeFile } from '../fs/replace-file.ts'
import { MiB } from '../util/sizes.ts'
import { filePath, segmentFileName, TRANSACTION_INDEX_SUFFIX } from './file-names.ts'

/** No transaction index is larger: that is two million aborted transactions in one segment. */
export const MAX_TRANSACTION_INDEX_BYTES = 64 * MiB

/** Of the segment with this base offset, in its folder. */
export function transactionIndexPath(dir: string, baseOffset: number): string {
  return filePath(dir, segmentFileName(baseOffset, TRANSACTION_INDEX_SUFFIX))
}

/**
 * The whole file; empty where there is none, as in a segment in which no transaction was aborted.
 *
 * @throws {LogError} for a file that is larger than one can be; else the system's error.
 */
export async function readTransactionIndexFile(fs: FileSystem, path: string): Promise<Buffer> {
  return (await readWholeFile(fs, path, MAX_TRANSACTION_INDEX_BYTES)) ?? Buffer.alloc(0)
}
