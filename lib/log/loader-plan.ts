/**
 * Finds out what of a log's files is good, and decides what shall happen to the rest. Changes nothing.
 *
 * Clean: the indexes are trusted, only what lies behind the last index entry is read, to find the end; nothing is a
 * tail. Not clean: every batch from the recovery point's segment on is checked, or from within it (loader-start).
 */
import type { FileSystem } from '../fs/file-system.ts'
import type { BatchHead } from '../record/batch-head.ts'
import { filePath, LOG_SUFFIX, segmentFileName } from '../segment/file-names.ts'
import { IndexBuilder, type IndexLimits } from '../segment/index-builder.ts'
import type { Clock } from '../util/clock.ts'
import { LogError } from '../util/errors.ts'
import { MiB } from '../util/sizes.ts'
import type { LeaderEpochs } from './leader-epochs.ts'
import { lastIndexEntry } from './loader-indexes.ts'
import { applyBatch, type FoundAbort, producersAt, type ReplayRange } from './loader-producers.ts'
import { type ScanStart, startWithin } from './loader-start.ts'
import { compareManifest, type FoundSegment, type Manifest } from './manifest.ts'
import type { ProducerSnapshots } from './producer-snapshots.ts'
import type { ProducerStateManager } from './producer-state.ts'
import { findSoundBatch, isZerosBetween, searchFrom } from './recovery-damage.ts'
import { openForRecovery, type RecoverySource } from './recovery-device.ts'
import type { ReportBuilder } from './recovery-report.ts'
import { type Damage, type ScanOutcome, scanLogFile } from './recovery-scan.ts'
import type { Watermark } from './watermark-file.ts'

export interface PlanContext {
  readonly fs: FileSystem
  readonly clock: Clock
  readonly dir: string
  /** Base offsets of the segments, ascending; at least one. */
  readonly bases: readonly number[]
  readonly clean: boolean
  readonly recoveryPoint: number
  /** True if gaps between offsets are to be expected. */
  readonly compacted: boolean
  /** What was synced, where that is known: not after another engine wrote. */
  readonly watermark: Watermark | undefined
  /** Which files there were, where that is known. */
  readonly manifest: Manifest | undefined
  /** As far as the checkpoint says; 0 if it does not. */
  readonly logStartOffset: number
  /** As loaded; a scan adds what it finds. */
  readonly epochs: LeaderEpochs
  /** The epoch that wrote an offset by the checkpoint as it was found; `undefined` where it does not say. */
  readonly epochAt: (offset: number) => number | undefined
  readonly snapshots: ProducerSnapshots
  readonly snapshotOffsets: readonly number[]
  readonly report: ReportBuilder
  /** Lengths of `.log` files that were asked for already, by base offset. */
  readonly sizes: Map<number, number>
  /** For the indexes that a scan builds on its way. */
  readonly indexLimits: IndexLimits
}

export interface PlannedSegment {
  readonly baseOffset: number
  readonly fileBytes: number
  /** Bytes that stay. */
  readonly validBytes: number
  /** Its batches were checked, and its derived files are made anew. */
  readonly scanned: boolean
  /** Of the batches that stay, if there was room for them: see `MAX_PLANNED_INDEX_BYTES`. */
  readonly indexes?: IndexBuilder | undefined
}

/**
 * Indexes that a plan keeps in memory; those of further segments are built by reading once more. Of batches of 4 KiB or
 * less that is 3 GiB of log. More lies behind a recovery point only where another engine kept none.
 */
const MAX_PLANNED_INDEX_BYTES = 16 * MiB

export interface LoadPlan {
  /** Ascending; the last one will be active. */
  readonly kept: readonly PlannedSegment[]
  /** Whole segments behind the end of what is good, ascending. */
  readonly dropped: readonly PlannedSegment[]
  readonly logEndOffset: number
  /** Stored CRC of the last batch; `undefined` if the last segment is empty. */
  readonly lastBatchCrc: number | undefined
  readonly producers: ProducerStateManager
  /** Aborted transactions whose markers lie in scanned segments. */
  readonly aborted: readonly FoundAbort[]
}

/** @throws {LogError} CORRUPT_LOG `{ segment, position, fromOffset, toOffset }` if something durable is damaged. */
export async function planLoad(context: PlanContext): Promise<LoadPlan> {
  if (context.manifest !== undefined) await checkFiles(context, context.manifest)
  return context.clean ? planClean(context) : new UncleanPlan(context).run()
}

/** @throws {LogError} CORRUPT_LOG if a file is gone or has another length than it was sealed with. */
async function checkFiles(context: PlanContext, manifest: Manifest): Promise<void> {
  const { bases, clean, recoveryPoint, watermark, logStartOffset, dir } = context
  const found: FoundSegment[] = []
  for (const baseOffset of bases) found.push({ baseOffset, bytes: await sizeOf(context, baseOffset) })
  const upTo = watermark?.offset ?? (clean ? Number.POSITIVE_INFINITY : recoveryPoint)
  const mismatch = compareManifest(manifest, found, { upTo, logStartOffset })
  if (mismatch === undefined) return
  const { kind, baseOffset, position, fromOffset, toOffset } = mismatch
  const what = kind === 'missing' ? 'is missing' : `is ${kind} than it was when it was sealed`
  const message =
    `${logPath(dir, baseOffset)} ${what}; no record was changed. ` +
    'Restore the file from a backup, or open with onCorruption "read-prefix" to read what is sound in front of it.'
  throw new LogError('CORRUPT_LOG', message, { segment: baseOffset, position, fromOffset, toOffset })
}

/**
 * What of a corrupt log can be read: everything before the damage.
 *
 * @param error - as `planLoad` threw it.
 */
export async function planPrefix(context: PlanContext, error: LogError): Promise<LoadPlan | undefined> {
  const { segment, position, fromOffset } = error.details
  if (typeof segment !== 'number' || typeof position !== 'number' || typeof fromOffset !== 'number') return undefined
  const bases = context.bases.filter(base => base <= segment)
  if (bases.length === 0) return undefined
  const limitOf = (base: number): number | undefined => (base === segment ? position : undefined)
  const aborted: FoundAbort[] = []
  const producers = await producersAt({ ...replayRange(context), bases, limitOf }, fromOffset, {
    from: segment,
    aborted: found => aborted.push(found)
  })
  const kept: PlannedSegment[] = []
  for (const baseOffset of bases) {
    const fileBytes = await sizeOf(context, baseOffset)
    const validBytes = baseOffset === segment ? Math.min(position, fileBytes) : fileBytes
    kept.push({ baseOffset, fileBytes, validBytes, scanned: baseOffset === segment })
  }
  return { kept, dropped: [], logEndOffset: fromOffset, lastBatchCrc: undefined, producers, aborted }
}

async function planClean(context: PlanContext): Promise<LoadPlan> {
  const { bases, watermark } = context
  const last = bases.at(-1) as number
  const fileBytes = await sizeOf(context, last)
  const { scan, indexTrusted } = await findCleanEnd(context, last, fileBytes)
  if (scan.damage !== undefined)
    throw damaged(context, { segment: last, scan, damage: scan.damage, toOffset: undefined })
  if (watermark !== undefined) checkReached(context, { segment: last, scan, watermark })
  if (scan.nextOffset < context.recoveryPoint) noteMissingEnd(context, scan.nextOffset)
  const kept: PlannedSegment[] = []
  for (const baseOffset of bases) {
    const bytes = baseOffset === last ? fileBytes : await sizeOf(context, baseOffset)
    kept.push({ baseOffset, fileBytes: bytes, validBytes: bytes, scanned: baseOffset === last && !indexTrusted })
  }
  const aborted: FoundAbort[] = []
  const producers = await producersAt(replayRange(context), scan.nextOffset, {
    from: indexTrusted ? undefined : last,
    aborted: found => aborted.push(found)
  })
  return {
    kept,
    dropped: [],
    logEndOffset: scan.nextOffset,
    lastBatchCrc: scan.lastCrc,
    producers,
    aborted: indexTrusted ? [] : aborted.filter(found => found.segment === last)
  }
}

/** Reads from the last index entry on if that leads to a batch it describes, else the whole segment. */
async function findCleanEnd(
  context: PlanContext,
  base: number,
  to: number
): Promise<{ scan: ScanOutcome; indexTrusted: boolean }> {
  const { fs, dir, epochAt, watermark } = context
  const mark = watermark?.segmentBaseOffset === base ? watermark.position : undefined
  const handle = await fs.open(logPath(dir, base), 'read')
  try {
    const options = { baseOffset: base, to, nextOffset: base, epochAt, mark }
    const entry = await lastIndexEntry(fs, dir, base)
    if (typeof entry === 'object' && entry.position < to) {
      let firstLastOffset: number | undefined
      const visit = (batch: BatchHead): void => {
        firstLastOffset ??= batch.lastOffset
      }
      const scan = await scanLogFile(handle, { ...options, from: entry.position, visit })
      if (firstLastOffset === entry.offset) return { scan: count(context, scan), indexTrusted: true }
    }
    const scan = await scanLogFile(handle, { ...options, from: 0 })
    return { scan: count(context, scan), indexTrusted: entry === 'none' }
  } finally {
    await handle.close()
  }
}

/** Plans from a scan of everything from the recovery point's segment on. */
class UncleanPlan {
  readonly #context: PlanContext
  readonly #kept: PlannedSegment[] = []
  readonly #aborted: FoundAbort[] = []
  #next = 0
  #lastCrc: number | undefined
  #indexBytes = 0

  constructor(context: PlanContext) {
    this.#context = context
  }

  async run(): Promise<LoadPlan> {
    const { bases, recoveryPoint, watermark, logStartOffset } = this.#context
    // Of what lies wholly below the log start a crash may have left any part: a gap there is not the end of the log.
    const from = Math.max(recoveryPoint, logStartOffset)
    const start = Math.max(
      0,
      bases.findLastIndex(base => base <= from)
    )
    for (const base of bases.slice(0, start)) this.#keep(base, await sizeOf(this.#context, base))
    const first = bases[start] as number
    const begin = await startWithin(this.#context, first)
    this.#next = begin?.baseOffset ?? first
    const producers = await producersAt(replayRange(this.#context), begin?.closedAt ?? first)
    let dropFrom = bases.length
    for (let index = start; index < bases.length; index += 1) {
      if (index > start && (await this.#isBadJunction(index))) {
        dropFrom = index
        break
      }
      if (!(await this.#scanSegment(index, producers, index === start ? begin : undefined))) {
        dropFrom = index + 1
        break
      }
    }
    const dropped: PlannedSegment[] = []
    for (const baseOffset of bases.slice(dropFrom)) {
      dropped.push({ baseOffset, fileBytes: await sizeOf(this.#context, baseOffset), validBytes: 0, scanned: false })
    }
    if (watermark !== undefined && this.#next < watermark.offset) throw this.#endsBelow(watermark)
    producers.advanceTo(this.#next)
    return {
      kept: this.#kept,
      dropped,
      logEndOffset: this.#next,
      lastBatchCrc: this.#lastCrc,
      producers,
      aborted: this.#aborted
    }
  }

  /** @returns false if the log ends in this segment. */
  async #scanSegment(index: number, producers: ProducerStateManager, begin: ScanStart | undefined): Promise<boolean> {
    const { fs, dir, clock, bases, epochs, epochAt, watermark, report, indexLimits } = this.#context
    const base = bases[index] as number
    const source = await openForRecovery(fs, logPath(dir, base), { base, watermark, report, clock })
    try {
      const isWatermarked = watermark?.segmentBaseOffset === base && watermark.position > 0
      const made = this.#indexBytes < MAX_PLANNED_INDEX_BYTES ? IndexBuilder.empty(base) : undefined
      const indexes = begin?.indexes ?? made
      const scan = await scanLogFile(source, {
        baseOffset: base,
        from: begin?.position ?? 0,
        to: source.size,
        nextOffset: Math.max(base, this.#next),
        epochAt,
        mark: isWatermarked ? watermark.position : undefined,
        visit: (batch, position) => {
          // The snapshot may know of the first ones already.
          const isNew = batch.baseOffset >= producers.mapEndOffset
          const entry = isNew ? applyBatch(producers, batch) : undefined
          if (entry !== undefined) this.#aborted.push({ segment: base, entry })
          // What is recorded and fits stays: an epoch may have begun below what is scanned, and a later one is to come.
          if (epochs.epochAt(batch.baseOffset) !== batch.leaderEpoch) epochs.assign(batch.leaderEpoch, batch.baseOffset)
          indexes?.add(position, batch.lastOffset, batch.maxTimestamp, indexLimits)
        }
      })
      count(this.#context, scan)
      this.#noteGaps(base, scan)
      this.#refuseGap(base, scan)
      const isWhole = scan.damage === undefined || (await this.#isRoom(index, scan, source))
      if (scan.damage !== undefined && !isWhole) await this.#assertTail(index, scan, scan.damage)
      if (watermark !== undefined && isWatermarked && (index === bases.length - 1 || !this.#context.compacted)) {
        checkReached(this.#context, { segment: base, scan, watermark })
      }
      this.#next = scan.nextOffset
      this.#lastCrc = scan.lastCrc
      indexes?.finish()
      this.#keep(base, source.size, { validBytes: scan.soundEnd, indexes })
      return isWhole
    } finally {
      await source.close()
    }
  }

  #keep(
    baseOffset: number,
    fileBytes: number,
    scanned?: { validBytes: number; indexes: IndexBuilder | undefined }
  ): void {
    const { validBytes = fileBytes, indexes } = scanned ?? {}
    this.#indexBytes += (indexes?.offsets.memory ?? 0) + (indexes?.times.memory ?? 0)
    this.#kept.push({ baseOffset, fileBytes, validBytes, scanned: scanned !== undefined, indexes })
  }

  /**
   * Whether the log ends before this segment, because it does not continue what lies before it.
   *
   * @throws {LogError} CORRUPT_LOG if it cannot have been a crash that made it so.
   */
  async #isBadJunction(index: number): Promise<boolean> {
    const { bases, watermark, report } = this.#context
    const base = bases[index] as number
    const next = this.#next
    if (base === next) return false
    const previous = this.#kept.at(-1) as PlannedSegment
    const damage: Damage = {
      position: previous.validBytes,
      kind: 'incomplete',
      reason: base < next ? `the segment ${base} begins below its end` : `the next segment begins at ${base}`,
      declaredEnd: undefined,
      isWhole: false
    }
    const isBelow = watermark !== undefined && next < watermark.offset
    if (base > next) {
      // A rewrite by compaction may end before the next segment begins. Above the watermark nothing was rewritten yet,
      // so that what is missing there is what a crash took.
      if (watermark !== undefined && !isBelow) return true
      noteGap(report, { segment: previous.baseOffset, fromOffset: next, toOffset: base, count: 1 })
      return false
    }
    if (isBelow) throw this.#corrupt(index - 1, next, damage, watermark.offset)
    if (watermark === undefined) {
      const found = await this.#soundBehind(index, 0, next)
      if (found !== undefined) throw this.#corrupt(index - 1, next, damage, found)
    }
    return true
  }

  /** Whether what ends the scan is preallocated room that was not given back yet: the next segment goes on here. */
  async #isRoom(index: number, { damage, nextOffset }: ScanOutcome, source: RecoverySource): Promise<boolean> {
    if (damage?.kind !== 'zeros' || this.#context.bases[index + 1] !== nextOffset) return false
    return isZerosBetween(source, damage.position, source.size)
  }

  /** @throws {LogError} CORRUPT_LOG unless the damage is the end of what a crash left. */
  async #assertTail(index: number, scan: ScanOutcome, damage: Damage): Promise<void> {
    const { bases, watermark } = this.#context
    const base = bases[index] as number
    const { nextOffset } = scan
    if (watermark !== undefined) {
      const { segmentBaseOffset, position, offset } = watermark
      const isBelow =
        nextOffset < offset || base < segmentBaseOffset || (base === segmentBaseOffset && damage.position < position)
      if (!isBelow) return
      const found = await this.#soundBehind(index, searchFrom(damage), nextOffset)
      throw this.#corrupt(index, nextOffset, damage, found ?? Math.max(offset, nextOffset))
    }
    const found = await this.#soundBehind(index, searchFrom(damage), nextOffset)
    if (found !== undefined || damage.isWhole) throw this.#corrupt(index, nextOffset, damage, found)
  }

  /** Base offset of the first sound batch behind the damage, in this or a later segment. */
  async #soundBehind(index: number, from: number, nextOffset: number): Promise<number | undefined> {
    const { fs, dir, bases } = this.#context
    for (let i = index; i < bases.length; i += 1) {
      const base = bases[i] as number
      const handle = await fs.open(logPath(dir, base), 'read')
      try {
        const { size } = await handle.stat()
        const found = await findSoundBatch(handle, {
          from: i === index ? from : 0,
          to: size,
          nextOffset: i === index ? nextOffset : Math.max(nextOffset, base)
        })
        if (found !== undefined) return found.baseOffset
      } finally {
        await handle.close()
      }
    }
    return undefined
  }

  #noteGaps(segment: number, scan: ScanOutcome): void {
    const [first] = scan.gaps
    if (first === undefined) return
    const { fromOffset, toOffset } = first
    noteGap(this.#context.report, { segment, fromOffset, toOffset, count: scan.gapCount })
  }

  /** @throws {LogError} CORRUPT_LOG for a gap where the manifest says that there was none. */
  #refuseGap(segment: number, { gaps: [gap] }: ScanOutcome): void {
    const known = this.#context.manifest?.sealed.find(({ baseOffset }) => baseOffset === segment)
    if (gap === undefined || known?.state !== 'sealed') return
    const { position, fromOffset, toOffset } = gap
    const damage = { position, reason: `offsets ${fromOffset} up to ${toOffset} are missing` }
    throw damaged(this.#context, { segment, scan: { nextOffset: fromOffset }, damage, toOffset })
  }

  #corrupt(index: number, nextOffset: number, damage: Damage, toOffset: number | undefined): LogError {
    const segment = this.#context.bases[index] as number
    return damaged(this.#context, { segment, scan: { nextOffset }, damage, toOffset })
  }

  #endsBelow({ offset }: Watermark): LogError {
    const last = this.#kept.at(-1) as PlannedSegment
    return endsBelow(this.#context, {
      segment: last.baseOffset,
      position: last.validBytes,
      fromOffset: this.#next,
      toOffset: offset
    })
  }
}

function replayRange(context: PlanContext): ReplayRange {
  const { fs, dir, bases, logStartOffset, snapshots, snapshotOffsets, report } = context
  return { fs, dir, bases, logStartOffset, snapshots, snapshotOffsets, report }
}

function count({ report }: PlanContext, scan: ScanOutcome): ScanOutcome {
  report.scannedBytes += scan.scannedBytes
  report.scannedBatches += scan.batches
  return scan
}

/** Whoever closed the log without a watermark of ours has noted how far it went, and there the log does not go. */
function noteMissingEnd({ dir, report, recoveryPoint }: PlanContext, logEndOffset: number): void {
  const message =
    `${dir} ends at ${logEndOffset}, and records up to ${recoveryPoint} were on the disk when it was closed: ` +
    'its end is lost. Restore its newest segment from a backup if there is one.'
  report.note('LOG_END_MISSING', message, { fromOffset: logEndOffset, toOffset: recoveryPoint })
}

function noteGap(
  report: ReportBuilder,
  gap: { segment: number; fromOffset: number; toOffset: number; count: number }
): void {
  const more = gap.count > 1 ? `, and ${gap.count - 1} more` : ''
  const message = `No batch holds the offsets from ${gap.fromOffset} up to ${gap.toOffset}${more}: compaction leaves such gaps.`
  report.note('GAP', message, gap)
}

/** The segment that was synced up to the watermark ends there, or goes on there with the next batch. */
function checkReached(
  context: PlanContext,
  { segment, scan, watermark }: { segment: number; scan: ScanOutcome; watermark: Watermark }
): void {
  const { offset, position, segmentBaseOffset, lastBatchCrc } = watermark
  if (scan.nextOffset < offset) {
    throw endsBelow(context, { segment, position: scan.soundEnd, fromOffset: scan.nextOffset, toOffset: offset })
  }
  // A scan that began behind the watermark has not seen that place.
  if (segmentBaseOffset !== segment || position === 0 || scan.firstPosition >= position) return
  const { atMark } = scan
  if (atMark?.nextOffset === offset && atMark.crc === lastBatchCrc) return
  const damage = { position, reason: 'it does not follow the batch that was synced there' }
  throw damaged(context, {
    segment,
    scan: { nextOffset: Math.min(offset, scan.nextOffset) },
    damage,
    toOffset: undefined
  })
}

function endsBelow(
  { dir }: PlanContext,
  details: { segment: number; position: number; fromOffset: number; toOffset: number }
): LogError {
  const path = logPath(dir, details.segment)
  const message =
    `${path} ends at offset ${details.fromOffset}, but everything up to ${details.toOffset} was synced once. ` +
    'Restore the file from a backup, or open with onCorruption "read-prefix" to read what is sound in front of it.'
  return new LogError('CORRUPT_LOG', message, details)
}

function damaged(
  { dir }: PlanContext,
  found: {
    segment: number
    scan: { nextOffset: number }
    damage: Pick<Damage, 'position' | 'reason'>
    toOffset: number | undefined
  }
): LogError {
  const { segment, damage, toOffset } = found
  const fromOffset = found.scan.nextOffset
  const upTo = toOffset === undefined ? '' : ` up to ${toOffset}`
  const message =
    `${logPath(dir, segment)} is damaged at byte ${damage.position}: ${damage.reason}. ` +
    `Records from offset ${fromOffset}${upTo} are concerned; no record was changed. ` +
    'Restore the file from a backup, or open with onCorruption "read-prefix" to read what is sound in front of it.'
  return new LogError('CORRUPT_LOG', message, { segment, position: damage.position, fromOffset, toOffset })
}

async function sizeOf({ fs, dir, sizes }: PlanContext, base: number): Promise<number> {
  const known = sizes.get(base)
  if (known !== undefined) return known
  const path = logPath(dir, base)
  const stat = await fs.stat(path)
  if (stat === undefined) throw Object.assign(new Error(`ENOENT: ${path} is gone`), { code: 'ENOENT', path })
  sizes.set(base, stat.size)
  return stat.size
}

export function logPath(dir: string, base: number): string {
  return filePath(dir, segmentFileName(base, LOG_SUFFIX))
}
