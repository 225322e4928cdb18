/** Where a log begins and ends, and which segments it has, held against everything that was noted of that. */
import { LEADER_EPOCH_FILE, type LeaderEpochEntry } from '../log/leader-epochs.ts'
import type { Manifest } from '../log/manifest.ts'
import { WATERMARK_FILE, type Watermark } from '../log/watermark-file.ts'
import { LOG_SUFFIX, segmentFileName } from '../segment/file-names.ts'
import { CHECKPOINT_FILES } from '../store/offset-checkpoints.ts'
import type { Findings } from './findings.ts'

/** What the directory's checkpoints say of one partition. */
export interface PartitionCheckpoints {
  readonly recoveryPoint: number | undefined
  readonly logStart: number | undefined
  readonly highWatermark: number | undefined
  readonly cleaner: number | undefined
}

export interface EndContext {
  readonly findings: Findings
  readonly clean: boolean
  readonly live: boolean
  readonly foreign: boolean
  readonly checkpoints: PartitionCheckpoints
  /** Base offsets of the segments, ascending. */
  readonly bases: readonly number[]
  /** Bytes of their `.log` files. */
  readonly sizes: ReadonlyMap<number, number>
  readonly names: ReadonlySet<string>
  /** Base offsets of segments that left an index and no log. */
  readonly orphans: readonly number[]
  readonly watermark: Watermark | undefined
  readonly manifest: Manifest | undefined
  readonly epochs: readonly LeaderEpochEntry[] | undefined
}

export interface LogEnd {
  readonly nextOffset: number
  /** The last segment that was walked. */
  readonly last: { readonly name: string; readonly baseOffset: number; soundEnd: number } | undefined
  /** Where each segment ends, exclusive. */
  readonly ends: readonly number[]
  /** Damage or a torn tail at the end, told of already. */
  readonly isExplained: boolean
  readonly atMark: { readonly nextOffset: number; readonly crc: number } | undefined
  readonly highestEpoch: number
}

const RESTORE = 'Restore the partition from a backup or a replica.'

export function checkEnd(context: EndContext, end: LogEnd): void {
  checkMissing(context, end)
  checkWatermark(context, end)
  checkManifest(context)
  checkCheckpoints(context, end)
  checkEpochs(context, end)
}

/** Segments of which the indexes are there and the log is not. */
function checkMissing(
  { findings, orphans, bases, clean, checkpoints }: EndContext,
  { ends, nextOffset }: LogEnd
): void {
  for (const base of orphans) {
    const before = bases.findLastIndex(one => one < base)
    const following = bases.find(one => one > base)
    const log = segmentFileName(base, LOG_SUFFIX)
    const isCovered = before >= 0 && (ends[before] ?? 0) > base
    const isDeleted = following !== undefined && following <= (checkpoints.logStart ?? 0)
    const mayBeNew = following === undefined && base >= nextOffset && !clean
    if (isCovered || isDeleted || mayBeNew) {
      findings.add(
        'note',
        'INTERRUPTED',
        segmentFileName(base, '.index'),
        `There are indexes of a segment ${base} and no log, and none is missing: the next opening for writing removes them.`
      )
      continue
    }
    const upTo = following === undefined ? 'on' : `up to ${following - 1}`
    const message = `This file is gone: its indexes are still here. Records from offset ${base} ${upTo} are lost. Restore it from a backup or a replica.`
    findings.add('corrupt', 'SEGMENT_MISSING', log, message, { offset: base })
  }
}

function checkWatermark({ findings, watermark, bases, checkpoints, live }: EndContext, end: LogEnd): void {
  if (watermark === undefined) return
  const { offset, position, segmentBaseOffset, lastBatchCrc } = watermark
  const { nextOffset, last, isExplained, atMark } = end
  const reached = Math.max(nextOffset, bases.length === 0 ? (checkpoints.logStart ?? 0) : 0)
  const name = last?.name ?? WATERMARK_FILE
  if (reached < offset) {
    if (isExplained) return
    const message = `The log ends at offset ${reached}, but everything up to ${offset - 1} was synced once: ${offset - reached} offsets that were acknowledged are lost. ${RESTORE}`
    findings.add('corrupt', 'ENDS_TOO_EARLY', name, message, {
      offset: reached,
      ...(last === undefined ? {} : { position: last.soundEnd })
    })
    return
  }
  // Only in the last segment: an older one may have been compacted since.
  if (
    position === 0 ||
    last?.baseOffset !== segmentBaseOffset ||
    bases.at(-1) !== segmentBaseOffset ||
    isExplained ||
    live
  )
    return
  if (atMark?.nextOffset === offset && atMark.crc === lastBatchCrc) return
  const message = `At byte ${position} this file does not hold what was synced there: a batch that ends at offset ${offset - 1}. It was exchanged for another, or changed. ${RESTORE}`
  findings.add('corrupt', 'NOT_WHAT_WAS_SYNCED', name, message, { position, offset })
}

function checkManifest(context: EndContext): void {
  const { findings, manifest, foreign, sizes, clean, watermark, checkpoints, live, orphans } = context
  if (manifest === undefined || foreign || live) return
  const upTo = watermark?.offset ?? (clean ? Number.POSITIVE_INFINITY : (checkpoints.recoveryPoint ?? 0))
  const start = Math.max(checkpoints.logStart ?? 0, manifest.logStartOffset)
  for (const { baseOffset, bytes, nextOffset } of manifest.sealed) {
    const present = sizes.get(baseOffset)
    if (nextOffset > upTo || present === bytes || (present === undefined && nextOffset <= start)) continue
    const log = segmentFileName(baseOffset, LOG_SUFFIX)
    if (present === undefined) {
      if (orphans.includes(baseOffset)) continue
      const message = `This file is gone: records from offset ${baseOffset} up to ${nextOffset - 1} are lost. Restore it from a backup or a replica.`
      findings.add('corrupt', 'SEGMENT_MISSING', log, message, { offset: baseOffset })
    } else {
      const message = `This file has ${present} bytes; it was closed with ${bytes}. Restore it from a backup or a replica.`
      const position = Math.min(present, bytes)
      findings.add('corrupt', 'SEGMENT_LENGTH', log, message, { position, offset: baseOffset })
    }
  }
}

function checkCheckpoints({ findings, checkpoints, watermark, live, bases }: EndContext, end: LogEnd): void {
  if (live) return
  const { recoveryPoint = 0, logStart = 0, highWatermark = 0, cleaner = 0 } = checkpoints
  const { last, isExplained } = end
  const nextOffset = bases.length === 0 ? logStart : end.nextOffset
  const at = { offset: nextOffset, ...(last === undefined ? {} : { position: last.soundEnd }) }
  let isTold = isExplained
  if (logStart > nextOffset) {
    const message = `${CHECKPOINT_FILES.logStart} says that the log begins at offset ${logStart}, but it ends at ${nextOffset}: either files are missing, or that line is wrong. ${RESTORE}`
    findings.add('corrupt', 'LOG_START_BEYOND_END', last?.name ?? '', message, at)
    isTold = true
  } else if (recoveryPoint > nextOffset && watermark === undefined && !isTold) {
    const message = `The log ends at offset ${nextOffset}, but ${CHECKPOINT_FILES.recoveryPoint} says that everything up to ${recoveryPoint - 1} was on the disk: ${recoveryPoint - nextOffset} offsets are lost. ${RESTORE}`
    findings.add('corrupt', 'ENDS_TOO_EARLY', last?.name ?? '', message, at)
    isTold = true
  }
  if (isTold) return
  for (const [name, offset] of [
    [CHECKPOINT_FILES.highWatermark, highWatermark],
    [CHECKPOINT_FILES.cleaner, cleaner]
  ] as const) {
    if (offset <= nextOffset) continue
    const message = `${name} has offset ${offset} for this partition, behind its end at ${nextOffset}. The next opening for writing puts it right.`
    findings.add('derived', 'CHECKPOINT', last?.name ?? '', message, { offset })
  }
}

function checkEpochs({ findings, epochs, live, names }: EndContext, { nextOffset, highestEpoch }: LogEnd): void {
  if (epochs === undefined) {
    if (names.has(LEADER_EPOCH_FILE) || highestEpoch < 0) return
    findings.add(
      'derived',
      'LEADER_EPOCHS',
      LEADER_EPOCH_FILE,
      'This file is missing. No record is concerned; it is made anew from the batches.'
    )
    return
  }
  const beyond = live ? undefined : epochs.find(({ startOffset }) => startOffset > nextOffset)
  if (beyond === undefined) return
  const message = `It says that leader epoch ${beyond.epoch} began at offset ${beyond.startOffset}, behind the end of the log at ${nextOffset}. The next opening for writing takes that out.`
  findings.add('derived', 'LEADER_EPOCHS', LEADER_EPOCH_FILE, message, { offset: beyond.startOffset })
}
