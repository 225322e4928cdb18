/**
 * Where the scan of the first segment that is not known to be good may begin: at its start, or further on.
 *
 * A clean close syncs the segment and its indexes, and leaves a snapshot of the producers at the log's end; a cut below
 * that end removes it, durably. So while there is one inside the segment, at or below the recovery point, everything
 * below it is what it was at that close: batches, leader epochs, index entries (index files grow at their end, or are
 * replaced in one step). A segment below the recovery point is trusted for the same reasons. What lies above has to be
 * scanned, from a batch boundary on, and the last index entry below the snapshot knows one.
 *
 * In any doubt the scan begins at the start: without a watermark (another engine wrote) or epochs, after a failed sync,
 * in a compacted log, where transactions were aborted (whose index is made anew from all of the segment), or where an
 * index is not in order or its last entry does not describe what is there. The largest timestamp below the beginning is
 * taken from the time index, which has no checksum: the batches from the one that has it on are looked at, as long as
 * these are no more than 8 MiB.
 */
import { join } from 'node:path'
import type { FileSystem } from '../fs/file-system.ts'
import { readWholeFile } from '../fs/replace-file.ts'
import { HEADER_BYTES, LENGTH_AT, LOG_OVERHEAD } from '../record/batch-format.ts'
import { BatchHead } from '../record/batch-head.ts'
import {
  LOG_SUFFIX,
  OFFSET_INDEX_SUFFIX,
  segmentFileName,
  TIME_INDEX_SUFFIX,
  TRANSACTION_INDEX_SUFFIX
} from '../segment/file-names.ts'
import { IndexBuilder, maxTimestampAt } from '../segment/index-builder.ts'
import { OffsetIndex } from '../segment/offset-index.ts'
import { BatchScanner } from '../segment/scan.ts'
import { TimeIndex } from '../segment/time-index.ts'
import { isLogError } from '../util/errors.ts'
import { MiB } from '../util/sizes.ts'
import type { PlanContext } from './loader-plan.ts'

export interface ScanStart {
  /** Of the first batch to be scanned. */
  readonly position: number
  readonly baseOffset: number
  /** Of the last clean close: the state of the producers as of this offset is in a snapshot. */
  readonly closedAt: number
  /** What the files have up to that batch, and of it. */
  readonly indexes: IndexBuilder
}

const MAX_INDEX_BYTES = 64 * MiB
/** Looked at to find out whether the time index tells the truth: by far less than a scan from the start costs. */
const MAX_LOOKED_AT_BYTES = 8 * MiB

/**
 * @param base - of the segment that holds the recovery point.
 * @returns `undefined` for its start.
 * @throws the system's error.
 */
export async function startWithin(context: PlanContext, base: number): Promise<ScanStart | undefined> {
  const { fs, dir, recoveryPoint, watermark, compacted, epochs, snapshotOffsets, manifest } = context
  if (watermark === undefined || watermark.syncFailed || compacted) return undefined
  if (epochs.epochAt(base) === undefined) return undefined
  const closedAt = Math.max(...snapshotOffsets.filter(offset => offset <= recoveryPoint))
  if (closedAt <= base) return undefined
  const path = (suffix: string): string => join(dir, segmentFileName(base, suffix))
  if ((await fs.stat(path(TRANSACTION_INDEX_SUFFIX))) !== undefined) return undefined
  const noted = manifest?.active?.baseOffset === base ? manifest.active.transactions : undefined
  if (noted !== undefined && noted.bytes > 0) return undefined
  try {
    const offsetBytes = await readWholeFile(fs, path(OFFSET_INDEX_SUFFIX), MAX_INDEX_BYTES)
    const timeBytes = await readWholeFile(fs, path(TIME_INDEX_SUFFIX), MAX_INDEX_BYTES)
    if (offsetBytes === undefined || timeBytes === undefined) return undefined
    const offsets = OffsetIndex.parse(offsetBytes, base)
    const times = TimeIndex.parse(timeBytes, base)
    const count = offsets.countAtOrBelow(closedAt - 1)
    if (count === 0) return undefined
    const position = offsets.positionAt(count - 1)
    const lastOffset = offsets.offsetAt(count - 1)
    const batch = await soundBatch(fs, path(LOG_SUFFIX), position)
    if (batch?.lastOffset !== lastOffset) return undefined
    offsets.truncateTo(lastOffset + 1)
    // Behind the entries of this batch and those before it there may be one with which the segment was closed.
    times.truncateTo(lastOffset + 1)
    if (!(await isLargest(fs, path(LOG_SUFFIX), { offsets, times, end: position + batch.size }))) return undefined
    return { position, baseOffset: batch.baseOffset, closedAt, indexes: new IndexBuilder(offsets, times) }
  } catch (error) {
    if (isLogError(error, 'CORRUPT_FILE')) return undefined
    throw error
  }
}

/**
 * Whether the last entry of the time index has the largest timestamp of all batches from the one that it names up to
 * `end`, exclusive, and names the first that has it.
 */
async function isLargest(
  fs: FileSystem,
  path: string,
  { offsets, times, end }: { offsets: OffsetIndex; times: TimeIndex; end: number }
): Promise<boolean> {
  const { offset: named = -1, timestamp: least = -1 } = times.last ?? {}
  const before = offsets.countAtOrBelow(named)
  const from = before === 0 ? 0 : offsets.positionAt(before - 1)
  if (end - from > MAX_LOOKED_AT_BYTES) return false
  const handle = await fs.open(path, 'read')
  try {
    const scanner = new BatchScanner(handle, { from, to: end, checkCrc: false, reuseBuffer: true })
    let isNamed = times.entryCount === 0
    while (await scanner.fill()) {
      for (let batch = scanner.next(); batch !== undefined; batch = scanner.next()) {
        const timestamp = maxTimestampAt(batch.bytes, batch.start)
        if (batch.lastOffset === named) isNamed = timestamp === least
        else if (timestamp > least) return false
      }
    }
    return isNamed && scanner.end?.kind === 'end'
  } finally {
    await handle.close()
  }
}

/** The batch at `position`, if there is one. */
async function soundBatch(fs: FileSystem, path: string, position: number): Promise<BatchHead | undefined> {
  const handle = await fs.open(path, 'read')
  try {
    const { size } = await handle.stat()
    const header = Buffer.alloc(HEADER_BYTES)
    if ((await handle.read(header, position)) < HEADER_BYTES) return undefined
    const length = header.readInt32BE(LENGTH_AT) + LOG_OVERHEAD
    if (length < HEADER_BYTES || position + length > size) return undefined
    const bytes = Buffer.allocUnsafeSlow(length)
    const head = new BatchHead()
    head.lieIn(bytes.subarray(0, await handle.read(bytes, position)))
    return head.take(0) && head.hasRightCrc() ? head : undefined
  } finally {
    await handle.close()
  }
}
