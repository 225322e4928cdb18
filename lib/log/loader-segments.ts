/** Opens the segments that a loading has found good. */
import type { FileSystem } from '../fs/file-system.ts'
import { isSystemError } from '../fs/system-errors.ts'
import { segmentFileName, TRANSACTION_INDEX_SUFFIX } from '../segment/file-names.ts'
import { Segment, type SegmentEnv, type TransactionsDigest } from '../segment/segment.ts'
import { isLogError, LogError } from '../util/errors.ts'
import { doubtIndexes, type IndexDoubts } from './loader-indexes.ts'
import type { LoadPlan, PlannedSegment } from './loader-plan.ts'
import { type FoundAbort, producersAt } from './loader-producers.ts'
import type { Manifest } from './manifest.ts'
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
  readonly clean: boolean
  /** True to the files that stay, as far as it goes. */
  readonly manifest: Manifest | undefined
  readonly snapshots: ProducerSnapshots
  readonly report: ReportBuilder
}

export interface OpenedSegments {
  /** False if rebuilt indexes of closed segments are in memory only, for want of space. */
  readonly isStored: boolean
  /** Of transaction indexes that were noted in the manifest and have been built anew, by base offset. */
  readonly transactions: ReadonlyMap<number, TransactionsDigest>
}

/**
 * Opens what stays of a log, and builds anew what cannot be relied on.
 *
 * @param segments - gets them, ascending, as they are opened: whoever fails on the way can close them.
 */
export async function openSegments(
  context: SegmentsContext,
  plan: LoadPlan,
  segments: Segment[]
): Promise<OpenedSegments> {
  const { env, dir, fs, names, readOnly, report } = context
  const notes = notedTransactions(context, plan)
  const transactions = new Map<number, TransactionsDigest>()
  let isStored = true
  for (const [index, { baseOffset, fileBytes, validBytes, scanned, indexes }] of plan.kept.entries()) {
    const isLast = index === plan.kept.length - 1
    const trustIndexes = !scanned
    // What was scanned may have been cut since its length was taken.
    const known = scanned ? {} : { length: fileBytes }
    const noted = notes.get(baseOffset)
    const opened = { readOnly, trustIndexes, validBytes, transactions: scanned ? undefined : noted, ...known }
    const segment = await Segment.open(env, dir, baseOffset, opened)
    segments.push(segment)
    const next = isLast ? plan.logEndOffset : (plan.kept[index + 1] as PlannedSegment).baseOffset
    const doubted = scanned ? ALL_DOUBTS : doubtIndexes(fs, dir, { baseOffset, names, noted })
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
      const name = segmentFileName(baseOffset, TRANSACTION_INDEX_SUFFIX)
      if (!scanned && noted !== undefined) noteChanged(report, name)
      const wasThere = names.has(name) || (noted !== undefined && noted.bytes > 0)
      if (wasThere || aborted.length > 0) await rebuildTransactions(context, segment, aborted)
      const digest = noted && (await segment.digestOfTransactions())
      if (digest !== undefined) transactions.set(baseOffset, digest)
    }
    segment.nextOffset = next
    const isRebuilt = doubts.offsetIndex || doubts.timeIndex || doubts.transactionIndex
    if (isRebuilt && !readOnly && !(await store(segment, isLast))) isStored = false
  }
  return { isStored, transactions }
}

/** What the manifest says of transaction indexes, by base offset; of the active segment's only as a clean close left it. */
function notedTransactions({ manifest, clean }: SegmentsContext, plan: LoadPlan): Map<number, TransactionsDigest> {
  const { sealed = [], active } = manifest ?? {}
  const notes = new Map<number, TransactionsDigest>()
  for (const { baseOffset, transactions } of sealed) if (transactions !== undefined) notes.set(baseOffset, transactions)
  const last = plan.kept.at(-1)?.baseOffset
  const isCurrent = clean && active?.baseOffset === last && active?.nextOffset === plan.logEndOffset
  if (isCurrent && active?.transactions !== undefined) notes.set(active.baseOffset, active.transactions)
  return notes
}

function noteChanged(report: ReportBuilder, name: string): void {
  const message = `${name} was damaged or missing; which transactions were aborted was found out from the log again.`
  report.note('CORRUPT_FILE', message, { file: name })
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
