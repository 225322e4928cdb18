/** Producer state from the newest usable snapshot and the batches behind it. */
import { join } from 'node:path'
import type { FileSystem } from '../fs/file-system.ts'
import type { BatchHead } from '../record/batch-head.ts'
import { LOG_SUFFIX, segmentFileName } from '../segment/file-names.ts'
import { LogError } from '../util/errors.ts'
import type { ProducerSnapshots } from './producer-snapshots.ts'
import { type AbortedTransaction, ProducerStateManager } from './producer-state.ts'
import type { ReportBuilder } from './recovery-report.ts'
import { scanLogFile } from './recovery-scan.ts'

export interface ReplayRange {
  readonly fs: FileSystem
  readonly dir: string
  /** Base offsets of all segments, ascending. */
  readonly bases: readonly number[]
  readonly logStartOffset: number
  readonly snapshots: ProducerSnapshots
  /** Offsets of the snapshots there are, where the caller has listed them. */
  readonly snapshotOffsets?: readonly number[] | undefined
  readonly report: ReportBuilder
  /** Bytes of a segment that may be read, where that is not the whole file. */
  readonly limitOf?: ((baseOffset: number) => number | undefined) | undefined
}

/** An aborted transaction, with the segment that its marker lies in. */
export interface FoundAbort {
  readonly segment: number
  readonly entry: AbortedTransaction
}

/** Applies a batch and says what the transaction index has to know of it. */
export function applyBatch(producers: ProducerStateManager, batch: BatchHead): AbortedTransaction | undefined {
  if (!batch.hasProducerId) {
    producers.advanceTo(batch.lastOffset + 1)
    return undefined
  }
  const completed = producers.apply(batch.view())
  return completed === undefined ? undefined : producers.completeTransaction(completed)
}

/**
 * The state as of `offset`.
 *
 * @param aborted - hears of the transactions that the batches read have ended by aborting them.
 * @param from - read at least from this segment's base offset on, however new a snapshot there is.
 * @throws {LogError} CORRUPT_LOG if a batch that has to be read is damaged.
 */
export async function producersAt(
  range: ReplayRange,
  offset: number,
  { aborted, from }: { aborted?: ((found: FoundAbort) => void) | undefined; from?: number | undefined } = {}
): Promise<ProducerStateManager> {
  const { snapshots, snapshotOffsets, report, bases, logStartOffset } = range
  const first = bases[0] ?? offset
  const found = await snapshots.latest(Math.min(offset, from ?? offset), {
    offsets: snapshotOffsets,
    skipped: (at, error) => {
      const message = `The producer snapshot at ${at} cannot be read; an older one and the log replace it.`
      report.note('CORRUPT_FILE', message, { snapshot: at, reason: error instanceof Error ? error.message : '' })
    }
  })
  let producers = new ProducerStateManager(found?.entries ?? [], found?.offset ?? first)
  for (const [index, base] of bases.entries()) {
    if (producers.mapEndOffset >= offset) break
    const next = bases[index + 1] ?? Number.POSITIVE_INFINITY
    if (next <= producers.mapEndOffset || base > offset) continue
    if (base > producers.mapEndOffset && base <= logStartOffset) producers = withoutTransactions(producers, base)
    if (base === offset) break
    await replaySegment(range, base, offset, producers, aborted)
  }
  producers.advanceTo(offset)
  return producers
}

/**
 * Files below the log start go in no order that a crash would keep. In front of one that is missing nothing tells how its
 * transactions ended: none of their records can be read any more, and one that seems open would hold up the readers of
 * committed data for ever. What producers wrote last is kept, as Kafka keeps it in an older snapshot.
 */
function withoutTransactions(producers: ProducerStateManager, mapEndOffset: number): ProducerStateManager {
  const entries = [...producers.entries.values()]
  for (const entry of entries) entry.currentTxnFirstOffset = undefined
  return new ProducerStateManager(entries, mapEndOffset)
}

async function replaySegment(
  { fs, dir, limitOf, report }: ReplayRange,
  base: number,
  offset: number,
  producers: ProducerStateManager,
  aborted: ((found: FoundAbort) => void) | undefined
): Promise<void> {
  const path = join(dir, segmentFileName(base, LOG_SUFFIX))
  const handle = await fs.open(path, 'read')
  try {
    const { size } = await handle.stat()
    const from = producers.mapEndOffset
    const visit = (batch: BatchHead): void => {
      if (batch.baseOffset < from || batch.baseOffset >= offset) return
      const entry = applyBatch(producers, batch)
      if (entry !== undefined) aborted?.({ segment: base, entry })
    }
    const to = Math.min(size, limitOf?.(base) ?? size)
    const scan = await scanLogFile(handle, { baseOffset: base, from: 0, to, nextOffset: base, visit })
    report.scannedBytes += scan.soundEnd
    report.scannedBatches += scan.batches
    if (scan.damage !== undefined && scan.nextOffset < offset) {
      const { position, reason } = scan.damage
      const message = `${path} is damaged at byte ${position}: ${reason}.`
      const details = { segment: base, position, fromOffset: scan.nextOffset, toOffset: offset }
      throw new LogError('CORRUPT_LOG', message, details)
    }
  } finally {
    await handle.close()
  }
}
