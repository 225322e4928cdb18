/** First looks at index files, before anything relies on them. */
import type { FileSystem } from '../fs/file-system.ts'
import { isSystemError } from '../fs/system-errors.ts'
import {
  filePath,
  OFFSET_INDEX_SUFFIX,
  segmentFileName,
  TIME_INDEX_SUFFIX,
  TRANSACTION_INDEX_SUFFIX
} from '../segment/file-names.ts'
import { OFFSET_ENTRY_BYTES } from '../segment/offset-index.ts'
import {
  isSameDigest,
  TRANSACTION_ENTRY_BYTES,
  TransactionIndex,
  type TransactionsDigest,
  transactionsDigest
} from '../segment/transaction-index.ts'
import { MAX_TRANSACTION_INDEX_BYTES } from '../segment/transaction-index-file.ts'
import { isLogError } from '../util/errors.ts'
import { KiB } from '../util/sizes.ts'
import { isZeros } from './recovery-damage.ts'

/** A power cut leaves zeros at the end of a file that was growing, but not this many at the end of an index. */
const PREALLOCATED_BYTES = 64 * KiB

export interface LastEntry {
  /** Last offset of the batch. */
  readonly offset: number
  readonly position: number
}

/** Which derived files of a segment are missing or cannot be what they should be. */
export interface IndexDoubts {
  readonly offsetIndex: boolean
  readonly timeIndex: boolean
  readonly transactionIndex: boolean
}

/**
 * What is missing, and whether the transaction index is the right one: nobody else could make that one anew. The others
 * are judged when they are used, which costs nothing now.
 *
 * @param names - what the folder holds.
 * @param noted - of the transaction index, where the manifest tells.
 */
export function doubtIndexes(
  fs: FileSystem,
  dir: string,
  {
    baseOffset,
    names,
    noted
  }: { baseOffset: number; names: ReadonlySet<string>; noted?: TransactionsDigest | undefined }
): IndexDoubts | Promise<IndexDoubts> {
  const stem = segmentFileName(baseOffset, '')
  const offsetIndex = !names.has(stem + OFFSET_INDEX_SUFFIX)
  const timeIndex = !names.has(stem + TIME_INDEX_SUFFIX)
  const transactions = stem + TRANSACTION_INDEX_SUFFIX
  // A segment in which no transaction was aborted has no such file. Where the offset index is gone, it may be gone too.
  if (!names.has(transactions)) {
    const isLost = noted === undefined ? offsetIndex : noted.bytes > 0
    return { offsetIndex, timeIndex, transactionIndex: isLost }
  }
  const doubted = doubtTransactionIndex(fs, filePath(dir, transactions), baseOffset, noted)
  return doubted.then(transactionIndex => ({ offsetIndex, timeIndex, transactionIndex }))
}

async function doubtTransactionIndex(
  fs: FileSystem,
  path: string,
  baseOffset: number,
  noted: TransactionsDigest | undefined
): Promise<boolean> {
  const stat = await fs.stat(path)
  if (stat === undefined) return noted !== undefined && noted.bytes > 0
  if (stat.size % TRANSACTION_ENTRY_BYTES !== 0 || stat.size > MAX_TRANSACTION_INDEX_BYTES) return true
  const bytes = await readRange(fs, path, 0, stat.size)
  if (noted !== undefined && !isSameDigest(transactionsDigest(bytes), noted)) return true
  try {
    TransactionIndex.parse(bytes, baseOffset)
    return false
  } catch (error) {
    if (isLogError(error)) return true
    throw error
  }
}

/** The last entry of an offset index; `none` if it is empty or missing, `doubtful` if that is no entry. */
export async function lastIndexEntry(
  fs: FileSystem,
  dir: string,
  baseOffset: number
): Promise<LastEntry | 'none' | 'doubtful'> {
  const path = filePath(dir, segmentFileName(baseOffset, OFFSET_INDEX_SUFFIX))
  const stat = await fs.stat(path)
  if (stat === undefined || stat.size === 0) return 'none'
  if (stat.size % OFFSET_ENTRY_BYTES !== 0) return 'doubtful'
  const bytes = await readRange(fs, path, stat.size - OFFSET_ENTRY_BYTES, OFFSET_ENTRY_BYTES)
  if (bytes.length < OFFSET_ENTRY_BYTES) return 'doubtful'
  const relative = bytes.readInt32BE(0)
  const position = bytes.readInt32BE(4)
  return relative < 0 || position <= 0 ? 'doubtful' : { offset: baseOffset + relative, position }
}

/**
 * True if the offset index of the active segment is longer than its entries in the way that Kafka leaves it when it
 * has the log open, or had when it crashed: preallocated with zeros. We never do that.
 *
 * @param indexBytes - `segment.index.bytes`.
 */
export async function isPreallocatedIndex(
  fs: FileSystem,
  dir: string,
  { baseOffset, indexBytes }: { baseOffset: number; indexBytes: number }
): Promise<boolean> {
  const path = filePath(dir, segmentFileName(baseOffset, OFFSET_INDEX_SUFFIX))
  const stat = await fs.stat(path)
  if (stat === undefined || stat.size < OFFSET_ENTRY_BYTES) return false
  const whole = indexBytes - (indexBytes % OFFSET_ENTRY_BYTES)
  const tail = stat.size === whole ? OFFSET_ENTRY_BYTES : PREALLOCATED_BYTES
  if (stat.size < tail) return false
  const bytes = await readRange(fs, path, stat.size - tail, tail)
  return bytes.length === tail && isZeros(bytes)
}

async function readRange(fs: FileSystem, path: string, position: number, length: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafeSlow(length)
  try {
    const handle = await fs.open(path, 'read')
    try {
      return bytes.subarray(0, await handle.read(bytes, position))
    } finally {
      await handle.close()
    }
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return bytes.subarray(0, 0)
    throw error
  }
}
