/** Opens the segments that a loading has found good. */
import type { FileSystem } from '../fs/file-system.ts'
import { isSystemError } from '../fs/system-errors.ts'
import { segmentFileName, TRANSACTION_INDEX_SUFFIX } from '../segment/file-names.ts'
import { Segment, type SegmentEnv } from '../segment/segment.ts'
import { isLogError, LogError } from '../util/errors.ts'
import { doubtIndexes, type IndexDoubts } from './loader-indexes.ts'
import type { LoadPlan, PlannedSegment } from './loader-plan.ts'
import { type FoundAbort, producersAt } from './loader-producers.ts'
import type { ProducerSnapshots } from './producer-snapshots.ts'
import type { ReportBuilder } from './recovery-report.ts'

const ALL_DOUBTS: IndexDoubts = { offsetIndex: true, timeIndex: true, transactionIndex: true }

export interface SegmentsContext {
  readonly fs: FileSystem
  readonly dir: string
  readonly env: SegmentEnv
  readonly readOnly: boolean
  /** What the folder held when it was listed. */
  readonly names: ReadonlySet<string>
  readonly logStartOffset: number
  readonly snapshots: ProducerSnapshots
  readonly report: ReportBuilder
}

/**
 * Opens what stays of a log, and builds anew what cannot be relied on.
 *
 * @param segments - gets them, ascending, as they are opened: whoever fails on the way can close them.
 * @returns false if rebuilt indexes of closed segments are in memory only, for want of space.
 */
export async function openSegments(context: SegmentsContext, plan: LoadPlan, segments: Segment[]): Promise<boolean> {
  const { env, dir, fs, names, readOnly, report } = context
  let isStored = true
  for (const [index, { baseOffset, fileBytes, validBytes, scanned, indexes }] of plan.kept.entries()) {
    const isLast = index === plan.kept.length - 1
    const trustIndexes = !scanned
    // What was scanned may have been cut since its length was taken.
    const known = scanned ? {} : { length: fileBytes }
    const segment = await Segment.open(env, dir, baseOffset, { readOnly, trustIndexes, validBytes, ...known })
    segments.push(segment)
    const next = isLast ? plan.logEndOffset : (plan.kept[index + 1] as PlannedSegment).baseOffset
    const doubted = scanned ? ALL_DOUBTS : doubtIndexes(fs, dir, { baseOffset, names })
    // There may be thousands of segments, and nearly none has anything to wait for.
    const doubts = doubted instanceof Promise ? await doubted : doubted
    if (indexes !== undefined) segment.replaceIndexes(indexes)
    else if (doubts.offsetIndex || doubts.timeIndex) await rebuildIndexes(segment)
    if (doubts.offsetIndex) report.rebuilt('offset-index', baseOffset)
    if (doubts.timeIndex) report.rebuilt('time-index', baseOffset)
    if (doubts.transactionIndex) {
      const found = scanned ? plan.aborted : await findAborted(context, plan, { baseOffset, next })
      const aborted = found.filter(({ segment }) => segment === baseOffset)
      // Most segments have no such file, and get none.
      const exists = names.has(segmentFileName(baseOffset, TRANSACTION_INDEX_SUFFIX))
      if (exists || aborted.length > 0) await rebuildTransactions(context, segment, aborted)
    }
    segment.nextOffset = next
    const isRebuilt = doubts.offsetIndex || doubts.timeIndex || doubts.transactionIndex
    if (isRebuilt && !readOnly && !(await store(segment, isLast))) isStored = false
  }
  return isStored
}

async function rebuildIndexes(segment: Segment): Promise<void> {
  const { baseOffset, path, size } = segment
  const { end, position, reason, nextOffset } = await segment.rebuildIndexes()
  if (end === 'end' && position === size) return
  const message = `${path} is damaged at byte ${position}: ${reason ?? 'the file ends inside a batch'}.`
  throw new LogError('CORRUPT_LOG', message, { segment: baseOffset, position, fromOffset: nextOffset })
}

async function findAborted(
  { fs, dir, logStartOffset, snapshots, report }: SegmentsContext,
  plan: LoadPlan,
  { baseOffset, next }: { baseOffset: number; next: number }
): Promise<FoundAbort[]> {
  const aborted: FoundAbort[] = []
  const bases = plan.kept.map(segment => segment.baseOffset)
  const range = { fs, dir, bases, logStartOffset, snapshots, report }
  await producersAt(range, next, { from: baseOffset, aborted: found => aborted.push(found) })
  return aborted
}

async function rebuildTransactions(
  { report }: SegmentsContext,
  segment: Segment,
  aborted: readonly FoundAbort[]
): Promise<void> {
  segment.resetTransactions()
  for (const { entry } of aborted) await segment.appendAborted(entry)
  report.rebuilt('transaction-index', segment.baseOffset)
}

/** Puts rebuilt indexes into their files: for good in a closed segment, for now in the active one. */
async function store(segment: Segment, isActive: boolean): Promise<boolean> {
  try {
    if (isActive) await segment.flushIndexes()
    else await segment.seal()
    return true
  } catch (error) {
    // They are in memory; what is not in the files is rebuilt once more by the next recovery.
    if (!isLogError(error, 'NO_SPACE') && !isSystemError(error, 'ENOSPC', 'EDQUOT')) throw error
    // The active one is scanned by the next recovery in any case.
    return isActive
  }
}
