/**
 * What stays of a segment that is taken away: the markers of transactions, at their offsets.
 *
 * A transaction may begin in front of the segment and end in it. Without its marker nothing of the log tells how it
 * ended, and its records in front of the hole show as committed: the transaction index, which had it, goes with the
 * segment. So sound markers stay. For one that was damaged the index stands in, which names what was aborted.
 */
import { join } from 'node:path'
import type { FileSystem } from '../fs/file-system.ts'
import { LeaderEpochs } from '../log/leader-epochs.ts'
import { producersAt } from '../log/loader-producers.ts'
import { readManifest } from '../log/manifest.ts'
import { ProducerSnapshots } from '../log/producer-snapshots.ts'
import type { ProducerStateManager } from '../log/producer-state.ts'
import { ReportBuilder } from '../log/recovery-report.ts'
import { scanLogFile } from '../log/recovery-scan.ts'
import { encodeEndTransactionMarker } from '../record/control-record.ts'
import { LOG_SUFFIX, segmentFileName } from '../segment/file-names.ts'
import {
  type AbortedTransaction,
  isSameDigest,
  TransactionIndex,
  transactionsDigest
} from '../segment/transaction-index.ts'
import { readTransactionIndexFile, transactionIndexPath } from '../segment/transaction-index-file.ts'
import { isLogError } from '../util/errors.ts'
import type { Survey } from './survey.ts'

export interface KeptMarkers {
  /** Batches, back to back, ascending. */
  readonly bytes: Buffer
  /** There is a transaction that begins in front of the segment, and nothing tells whether it ends there, and how. */
  readonly undecided: boolean
}

interface Marker {
  readonly offset: number
  readonly producerId: number
  readonly bytes: Buffer
}

/**
 * @param base - of the segment.
 * @param now - wall clock, ms.
 */
export async function markersOf(fs: FileSystem, survey: Survey, base: number, now: number): Promise<KeptMarkers> {
  const markers = await soundMarkers(fs, survey, base)
  const before = await stateAt(fs, survey, base)
  const open = [...(before?.entries.values() ?? [])].flatMap(({ producerId, epoch, currentTxnFirstOffset }) =>
    currentTxnFirstOffset === undefined ? [] : [{ producerId: Number(producerId), epoch, from: currentTxnFirstOffset }]
  )
  const index = await trustedIndex(fs, survey, base)
  const epochs = await LeaderEpochs.load(fs, survey.path).catch(() => undefined)
  let undecided = false
  for (const { producerId, epoch, from } of open) {
    if (markers.some(marker => marker.producerId === producerId)) continue
    const entry = index?.find(aborted => aborted.producerId === producerId && aborted.firstOffset === from)
    if (entry === undefined) {
      if (index === undefined) undecided = true
      continue
    }
    const bytes = encodeEndTransactionMarker({
      type: 'abort',
      producerId,
      producerEpoch: epoch,
      coordinatorEpoch: 0,
      baseOffset: entry.lastOffset,
      leaderEpoch: epochs?.epochAt(entry.lastOffset) ?? 0,
      timestamp: now
    })
    markers.push({ offset: entry.lastOffset, producerId, bytes })
  }
  markers.sort((a, b) => a.offset - b.offset)
  return { bytes: Buffer.concat(markers.map(({ bytes }) => bytes)), undecided }
}

async function soundMarkers(fs: FileSystem, { path, segments }: Survey, base: number): Promise<Marker[]> {
  const ranges = segments.find(({ baseOffset }) => baseOffset === base)?.ranges ?? []
  const markers: Marker[] = []
  if (ranges.length === 0) return markers
  const handle = await fs.open(join(path, segmentFileName(base, LOG_SUFFIX)), 'read')
  try {
    for (const { position, end, fromOffset } of ranges)
      await scanLogFile(handle, {
        baseOffset: base,
        from: position,
        to: end,
        nextOffset: fromOffset,
        visit: head => {
          const batch = head.view()
          if (!batch.isControl) return
          const bytes = Buffer.from(batch.bytes.subarray(batch.start, batch.end))
          markers.push({ offset: batch.baseOffset, producerId: Number(batch.producerId), bytes })
        }
      })
  } finally {
    await handle.close()
  }
  return markers
}

/** `undefined` where something in front of it is damaged too. */
async function stateAt(
  fs: FileSystem,
  { path, checked }: Survey,
  base: number
): Promise<ProducerStateManager | undefined> {
  const bases = checked.listing.bases.filter(one => one < base)
  const report = new ReportBuilder({ clean: false, foreign: false })
  const logStartOffset = checked.logStartOffset ?? 0
  const range = { fs, dir: path, bases, logStartOffset, snapshots: new ProducerSnapshots(fs, path), report }
  try {
    return await producersAt(range, base)
  } catch (error) {
    if (isLogError(error, 'CORRUPT_LOG')) return undefined
    throw error
  }
}

/** What the segment's transaction index says, unless it is known to be wrong. */
async function trustedIndex(
  fs: FileSystem,
  { path }: Survey,
  base: number
): Promise<readonly AbortedTransaction[] | undefined> {
  try {
    const manifest = await readManifest(fs, path)
    const noted = manifest?.sealed.find(({ baseOffset }) => baseOffset === base)?.transactions
    const bytes = await readTransactionIndexFile(fs, transactionIndexPath(path, base))
    if (noted !== undefined && !isSameDigest(transactionsDigest(bytes), noted)) return undefined
    const index = TransactionIndex.parse(bytes, base)
    return Array.from({ length: index.entryCount }, (_, i) => index.entryAt(i))
  } catch (error) {
    if (isLogError(error)) return undefined
    throw error
  }
}
