/** What is wrong with a sealed segment, judged by what was noted of it when it was sealed and what its file is now. */
import type { FileSystem } from '../fs/file-system.ts'
import { isSameDigest, type TransactionsDigest, transactionsDigest } from '../segment/transaction-index.ts'
import { readTransactionIndexFile, transactionIndexPath } from '../segment/transaction-index-file.ts'
import { LogError } from '../util/errors.ts'
import type { SealedSegment } from './manifest.ts'
import type { DigestedFile } from './segment-digest.ts'

/** What is known of a segment; of one that no manifest names, its place in the log and the length that it is read with. */
export type ExpectedSegment = Pick<SealedSegment, 'baseOffset' | 'bytes' | 'nextOffset'> & Partial<SealedSegment>

/**
 * @param path - of the `.log` file, for messages.
 * @returns CORRUPT_LOG `{ path, segment, position, fromOffset, toOffset }`; `undefined` if nothing is wrong.
 */
export function whatIsWrong(path: string, expected: ExpectedSegment, found: DigestedFile): LogError | undefined {
  const { baseOffset, bytes, nextOffset, digest, state } = expected
  const { scan } = found
  const corrupt = (reason: string, position: number, fromOffset: number): LogError => {
    const message = `${path}: ${reason}. Records from offset ${fromOffset} up to ${nextOffset} are concerned; nothing was changed.`
    const details = { path, segment: baseOffset, position, fromOffset, toOffset: nextOffset }
    return new LogError('CORRUPT_LOG', message, details)
  }
  if (scan.damage !== undefined) {
    const { position, reason } = scan.damage
    return corrupt(`it is damaged at byte ${position}: ${reason}`, position, scan.nextOffset)
  }
  if (found.bytes < bytes)
    return corrupt(`it has ${found.bytes} bytes, ${bytes} when it was sealed`, found.bytes, scan.nextOffset)
  if (scan.nextOffset > nextOffset) {
    return corrupt(`its offsets go up to ${scan.nextOffset}, beyond its end`, 0, baseOffset)
  }
  const [gap] = scan.gaps
  if (gap !== undefined && state === 'sealed') {
    const reason = `offsets ${gap.fromOffset} up to ${gap.toOffset} are missing at byte ${gap.position}, where none were`
    return corrupt(reason, gap.position, gap.fromOffset)
  }
  if (found.bytes > bytes) return corrupt(`it has ${found.bytes} bytes, ${bytes} when it was sealed`, bytes, nextOffset)
  const isSame = digest === undefined || found.digest === undefined || found.digest.hash === digest.hash
  if (isSame) return undefined
  const reason =
    'every CRC is right, but the file is not the one that was sealed: a base offset or leader epoch was damaged, ' +
    "or it is another segment's file"
  return corrupt(reason, 0, baseOffset)
}

/**
 * @param noted - of the segment's transaction index, as it was when the segment was sealed; `undefined`: not known.
 * @returns CORRUPT_FILE `{ path, segment }` if its file is another one, or gone.
 * @throws {LogError} as the system says.
 */
export async function changedTransactions(
  fs: FileSystem,
  dir: string,
  baseOffset: number,
  noted: TransactionsDigest | undefined
): Promise<LogError | undefined> {
  if (noted === undefined) return undefined
  const path = transactionIndexPath(dir, baseOffset)
  const bytes = await readTransactionIndexFile(fs, path)
  if (isSameDigest(transactionsDigest(bytes), noted)) return undefined
  const message =
    `${path}: it is not what it was when its segment was sealed. It says which transactions were aborted; no record is ` +
    'damaged. Opening the log anew builds it again.'
  return new LogError('CORRUPT_FILE', message, { path, segment: baseOffset })
}
