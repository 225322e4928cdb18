/**
 * Takes away what recovery does not accept.
 *
 * In this order, so that a crash at any point leaves what the next recovery judges in the same way:
 *   1. everything is copied to quarantine, durably;
 *   2. later segments go, the last one first, and the folder is synced: were the damage cut off before, they would
 *      look like the continuation of the log;
 *   3. the damage is cut off, and that is synced: a cut that came undone would bring old bytes back behind new ones.
 */
import { join } from 'node:path'
import type { FileSystem } from '../fs/file-system.ts'
import { isSystemError, toLogError } from '../fs/system-errors.ts'
import {
  LOG_SUFFIX,
  OFFSET_INDEX_SUFFIX,
  segmentFileName,
  TIME_INDEX_SUFFIX,
  TRANSACTION_INDEX_SUFFIX
} from '../segment/file-names.ts'
import { LogError } from '../util/errors.ts'
import { logPath, type PlannedSegment } from './loader-plan.ts'
import type { Quarantine } from './quarantine.ts'
import type { ReportBuilder } from './recovery-report.ts'

/** The log last: an index without a log is removed by the next loading, a log without its index made whole. */
const REMOVED_SUFFIXES = [OFFSET_INDEX_SUFFIX, TIME_INDEX_SUFFIX, TRANSACTION_INDEX_SUFFIX]

export interface CutContext {
  readonly fs: FileSystem
  readonly dir: string
  readonly quarantine: Quarantine
  readonly report: ReportBuilder
}

export interface CutPlan {
  readonly kept: readonly PlannedSegment[]
  readonly dropped: readonly PlannedSegment[]
  readonly logEndOffset: number
}

/** Durable when it resolves. */
export async function cutTail(context: CutContext, plan: CutPlan): Promise<void> {
  const { report } = context
  const last = plan.kept.at(-1)
  const cutBytes = last === undefined ? 0 : last.fileBytes - last.validBytes
  if (last !== undefined && cutBytes > 0) {
    await quarantineRange(context, { segment: last.baseOffset, from: last.validBytes, to: last.fileBytes })
  }
  for (const { baseOffset, fileBytes } of plan.dropped) {
    await quarantineRange(context, { segment: baseOffset, from: 0, to: fileBytes })
  }
  await removeSegments(context, plan.dropped)
  if (last !== undefined && cutBytes > 0)
    await cutFile(context.fs, logPath(context.dir, last.baseOffset), last.validBytes)
  for (const { baseOffset, fileBytes, validBytes } of plan.kept.slice(0, -1)) {
    if (validBytes === fileBytes) continue
    // Zeros: preallocated room of a segment that is full.
    await cutFile(context.fs, logPath(context.dir, baseOffset), validBytes)
    report.zeroBytesDropped += fileBytes - validBytes
  }
  const bytes = plan.dropped.reduce((sum, segment) => sum + segment.fileBytes, cutBytes)
  if (last === undefined || (bytes === 0 && plan.dropped.length === 0)) return
  report.truncatedBytes += bytes
  report.truncatedFrom = { segment: last.baseOffset, position: last.validBytes, offset: plan.logEndOffset }
}

export async function quarantineRange(
  { fs, dir, quarantine, report }: CutContext,
  range: { segment: number; from: number; to: number }
): Promise<void> {
  const handle = await fs.open(logPath(dir, range.segment), 'read')
  try {
    const outcome = await quarantine.keep({ ...range, source: handle })
    report.zeroBytesDropped += outcome.zeroBytes
    report.quarantined ??= outcome.name
    if (outcome.removed.length > 0) {
      const message = `To make room in quarantine, the oldest items were removed: ${outcome.removed.join(', ')}.`
      report.note('QUARANTINE_TRIMMED', message, { items: outcome.removed.length })
    }
    if (outcome.bytesNotKept > 0) {
      const why = outcome.why === 'no-space' ? 'there is no space on the volume' : 'it is more than quarantine holds'
      const message = `Bytes ${range.from} to ${range.to} of segment ${range.segment} were dropped without a copy: ${why}.`
      report.note('NOT_QUARANTINED', message, { ...range, bytes: outcome.bytesNotKept })
    }
  } finally {
    await handle.close()
  }
}

/** Removes whole segments, the last one first. Durable when it resolves. */
export async function removeSegments(
  { fs, dir, report }: Pick<CutContext, 'fs' | 'dir' | 'report'>,
  segments: readonly PlannedSegment[]
): Promise<void> {
  for (const { baseOffset } of [...segments].reverse()) {
    for (const suffix of [...REMOVED_SUFFIXES, LOG_SUFFIX]) {
      const name = segmentFileName(baseOffset, suffix)
      try {
        await fs.unlink(join(dir, name))
        report.deleted(name)
      } catch (error) {
        if (!isSystemError(error, 'ENOENT')) throw error
      }
    }
    // One by one: were a later one left behind without the one before it, that would look like a gap.
    await fs.syncDirectory(dir)
  }
}

/** Durable when it resolves. */
async function cutFile(fs: FileSystem, path: string, length: number): Promise<void> {
  const handle = await fs.open(path, 'write')
  try {
    await handle.truncate(length)
    await orSyncFailed(path, handle.sync())
  } finally {
    await handle.close()
  }
}

/** A failed sync is not like other failures: from here on the page cache cannot be believed. */
export async function orSyncFailed(path: string, work: Promise<void>, what = 'sync'): Promise<void> {
  try {
    await work
  } catch (error) {
    const { message, details } = toLogError(error, what, path)
    throw new LogError('SYNC_FAILED', message, details, error)
  }
}
