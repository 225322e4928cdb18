/**
 * The remedies that change a directory in its place: what each would lose, and its work.
 *
 * Each step is durable before the next, and each remedy can be cut short anywhere: what is left is explained by
 * verify, and the same command goes on. What follows from the log (indexes, snapshots, epochs) is left to the recovery
 * of the store that is opened afterwards.
 */
import { join } from 'node:path'
import type { FileSystem } from '../fs/file-system.ts'
import { HOLES_FILE, type Hole, holesWithin, mergeHoles, readHoles, writeHoles } from '../log/holes.ts'
import { scanLogFile } from '../log/recovery-scan.ts'
import { LOG_SUFFIX, SNAPSHOT_SUFFIX, segmentFileName } from '../segment/file-names.ts'
import type { DataDirectory } from '../store/data-directory.ts'
import type { Clock } from '../util/clock.ts'
import { isLogError, LogError } from '../util/errors.ts'
import type { Finding, FindingCode } from './findings.ts'
import { markersOf } from './hole-markers.ts'
import { RemedyFolder } from './remedy-files.ts'
import type { LostRange, Survey } from './survey.ts'

/** What a remedy takes from one partition. */
export interface RemedyPlan {
  readonly remedy: 'rebuild' | 'truncate-after' | 'quarantine' | 'salvage'
  readonly partition: string
  /** As it is given to `--repair`. */
  readonly argument: string
  /** Offsets that nobody can read any more afterwards, those that are lost already included. */
  readonly lost: readonly LostRange[]
  /** Records of data that can be read now and could not be read any more. */
  readonly lostRecords: number
  readonly message: string
}

export interface RemedyContext {
  readonly fs: FileSystem
  readonly clock: Clock
  readonly directory: DataDirectory
  readonly survey: Survey
}

/** Findings that `rebuild` puts right: nothing of the log itself. */
const REBUILT: ReadonlySet<FindingCode> = new Set([
  'LEADER_EPOCH_WRONG',
  'LEADER_EPOCHS',
  'OFFSET_INDEX',
  'TIME_INDEX',
  'TRANSACTION_INDEX',
  'PRODUCER_SNAPSHOT',
  'CHECKPOINT',
  'WATERMARK',
  'MANIFEST',
  'HOLDS',
  'HOLES',
  'TOPICS_FILE'
])

export const isRebuilt = ({ code }: Finding): boolean => REBUILT.has(code)

export function planRebuild({ folder, checked }: Survey): RemedyPlan | undefined {
  const findings = checked.findings.filter(finding => finding.severity !== 'note' && isRebuilt(finding))
  const isBlocked = checked.findings.some(finding => finding.severity === 'corrupt' && !isRebuilt(finding))
  if (findings.length === 0 || isBlocked) return undefined
  const files = [...new Set(findings.map(({ file }) => file))].join(', ')
  const message = `Makes anew what follows from the log (${files}); what is there of these files now is kept in quarantine. No record is lost.`
  return { remedy: 'rebuild', partition: folder, argument: 'rebuild', lost: [], lostRecords: 0, message }
}

export async function rebuild({ fs, directory, survey }: RemedyContext): Promise<void> {
  const { folder, path, checked } = survey
  // Without it the next opening reads the whole log, and makes everything that follows from it.
  directory.checkpoint('recoveryPoint').set(folder, 0)
  await directory.saveCheckpoints()
  const remedy = await RemedyFolder.open(fs, path)
  if (checked.findings.some(({ code }) => code === 'LEADER_EPOCH_WRONG')) await remedy.forgetEpochs()
  const named = checked.findings.filter(finding => finding.severity !== 'note' && isRebuilt(finding))
  const names = new Set(named.map(({ file }) => file.slice(folder.length + 1)))
  for (const name of names) if (name !== '' && !name.endsWith(LOG_SUFFIX)) await remedy.moveAway(name)
}

interface CutPoint {
  readonly segment: number
  readonly position: number
  /** Behind the last batch that stays. */
  readonly nextOffset: number
  readonly lostRecords: number
}

/** Where a log is cut so that nothing above `offset` stays. Batches are not split. */
async function findCut(fs: FileSystem, survey: Survey, offset: number): Promise<CutPoint> {
  const { segments, checked } = survey
  const all = segments.flatMap(({ baseOffset, ranges }) => ranges.map(range => ({ baseOffset, ...range })))
  const at = all.findLastIndex(({ fromOffset }) => fromOffset <= offset)
  const range = all[at]
  const behind = all.slice(at + 1).reduce((sum, { records }) => sum + records, 0)
  if (range === undefined) {
    const first = segments[0]?.baseOffset ?? checked.logStartOffset ?? 0
    return { segment: first, position: 0, nextOffset: first, lostRecords: behind }
  }
  let [position, nextOffset, kept] = [range.position, range.fromOffset, 0]
  const handle = await fs.open(join(survey.path, segmentFileName(range.baseOffset, LOG_SUFFIX)), 'read')
  try {
    const options = { baseOffset: range.baseOffset, from: range.position, to: range.end, nextOffset: range.fromOffset }
    await scanLogFile(handle, {
      ...options,
      visit: (batch, start) => {
        if (batch.lastOffset > offset || position !== start) return
        const view = batch.view()
        position = start + batch.size
        nextOffset = batch.lastOffset + 1
        if (!view.isControl) kept += view.recordCount
      }
    })
  } finally {
    await handle.close()
  }
  return { segment: range.baseOffset, position, nextOffset, lostRecords: behind + range.records - kept }
}

export async function planTruncate(fs: FileSystem, survey: Survey, offset: number): Promise<RemedyPlan> {
  const { folder, knownEnd } = survey
  const { nextOffset, lostRecords } = await findCut(fs, survey, offset)
  const lost = nextOffset < knownEnd ? [{ fromOffset: nextOffset, toOffset: knownEnd }] : []
  const argument = `truncate-after=${folder}:${offset}`
  const message = `Ends the log at offset ${nextOffset}: ${lostRecords} records that can be read now go with what is behind it, into quarantine. Their offsets are given to new records.`
  return { remedy: 'truncate-after', partition: folder, argument, lost, lostRecords, message }
}

export async function truncateAfter({ fs, directory, survey }: RemedyContext, offset: number): Promise<void> {
  const { folder, path, checked } = survey
  const { segment, position, nextOffset } = await findCut(fs, survey, offset)
  const remedy = await RemedyFolder.open(fs, path)
  await remedy.forgetSegments(base => base >= segment)
  await remedy.setWatermark(segment, segment)
  for (const kind of ['recoveryPoint', 'logStart', 'highWatermark', 'cleaner'] as const) {
    const checkpoint = directory.checkpoint(kind)
    const limit = kind === 'recoveryPoint' ? segment : nextOffset
    if ((checkpoint.get(folder) ?? 0) > limit) checkpoint.set(folder, limit)
  }
  await directory.saveCheckpoints()
  const { bases, files, snapshots } = checked.listing
  // From the last one on: a crash in between leaves a log without a gap.
  for (const base of bases.filter(base => base > segment).reverse()) {
    for (const { name, offset: of, suffix } of files)
      if (of === base && suffix !== LOG_SUFFIX) await remedy.moveAway(name)
    await remedy.moveAway(segmentFileName(base, LOG_SUFFIX))
  }
  for (const at of snapshots) if (at > nextOffset) await remedy.moveAway(segmentFileName(at, SNAPSHOT_SUFFIX))
  await remedy.cutOff(segmentFileName(segment, LOG_SUFFIX), position)
  const holes = await knownHoles(fs, path)
  if (holes.length > 0)
    await writeHoles(fs, path, holesWithin(holes, 0, nextOffset), { permissions: remedy.modes.file })
}

/** @param file - `orders-0/00000000000000000217.log`. */
export function planQuarantine(survey: Survey, file: string): RemedyPlan {
  const { folder, segments } = survey
  const { base, toOffset } = segmentOf(survey, file)
  const ranges = segments.find(({ baseOffset }) => baseOffset === base)?.ranges ?? []
  const lostRecords = ranges.reduce((sum, { records }) => sum + records, 0)
  const lost = toOffset > base ? [{ fromOffset: base, toOffset }] : []
  const message = `Moves this segment into quarantine: ${lostRecords} records in it that can be read now go with it. Who reads there gets DATA_LOSS, and goes on at offset ${toOffset}.`
  return { remedy: 'quarantine', partition: folder, argument: `quarantine=${file}`, lost, lostRecords, message }
}

interface SegmentToTake {
  readonly base: number
  readonly toOffset: number
  readonly isFirst: boolean
  readonly isLast: boolean
}

function segmentOf({ folder, checked, knownEnd, holes }: Survey, file: string): SegmentToTake {
  const { bases } = checked.listing
  const named = (base: number): boolean => `${folder}/${segmentFileName(base, LOG_SUFFIX)}` === file
  const base = bases.find(named)
  // A remedy that was cut short may have come so far.
  const taken = holes.find(({ fromOffset }) => named(fromOffset))?.fromOffset
  if (base === undefined && taken !== undefined) return { base: taken, toOffset: taken, isFirst: false, isLast: false }
  if (base === undefined)
    throw new LogError('INVALID_REQUEST', `${file} is no segment's .log file of ${folder}`, { file })
  const next = bases.find(one => one > base)
  return { base, toOffset: next ?? Math.max(base, knownEnd), isFirst: base === bases[0], isLast: next === undefined }
}

export async function quarantineSegment(context: RemedyContext, file: string): Promise<void> {
  const { fs, clock, survey } = context
  const { path, checked } = survey
  const { base, toOffset, isFirst, isLast } = segmentOf(survey, file)
  const remedy = await RemedyFolder.open(fs, path)
  const modes = { permissions: remedy.modes.file }
  if (toOffset > base) {
    const reason = `segment ${base} was damaged and put into quarantine`
    const hole: Hole = { fromOffset: base, toOffset, markedMs: clock.now(), reason }
    await writeHoles(fs, path, mergeHoles([...(await knownHoles(fs, path)), hole]), modes)
  }
  // While the manifest tells whether the segment's transaction index is to be believed.
  const markers = await markersOf(fs, survey, base, clock.now())
  if (markers.undecided) await forgetStatesFrom(context, remedy, base)
  await remedy.forgetSegments(one => one === base)
  if (isLast && toOffset > base) {
    await remedy.createEmpty(segmentFileName(toOffset, LOG_SUFFIX))
    await remedy.setWatermark(toOffset, toOffset)
  }
  const log = segmentFileName(base, LOG_SUFFIX)
  // What stays of it before the index goes that tells of what was damaged.
  if (markers.bytes.length > 0) await remedy.leaveInPlace(log, markers.bytes)
  for (const { name, offset, suffix } of checked.listing.files) {
    if (offset === base && suffix !== LOG_SUFFIX) await remedy.moveAway(name)
  }
  if (markers.bytes.length > 0) return
  // The first one's name says where the log begins.
  if (isFirst) await remedy.leaveInPlace(log, Buffer.alloc(0))
  else await remedy.moveAway(log)
}

/**
 * Nothing tells how a transaction ended that was open there. Read anew it is still open: readers of committed records
 * wait in front of it until somebody decides, with `transactions abort`.
 */
async function forgetStatesFrom(
  { directory, survey: { folder, checked } }: RemedyContext,
  remedy: RemedyFolder,
  base: number
): Promise<void> {
  const recoveryPoint = directory.checkpoint('recoveryPoint')
  recoveryPoint.set(folder, Math.min(base, recoveryPoint.get(folder) ?? 0))
  await directory.saveCheckpoints()
  for (const at of checked.listing.snapshots) if (at > base) await remedy.moveAway(segmentFileName(at, SNAPSHOT_SUFFIX))
}

async function knownHoles(fs: FileSystem, path: string): Promise<readonly Hole[]> {
  try {
    return await readHoles(fs, path)
  } catch (error) {
    if (!isLogError(error, 'CORRUPT_FILE')) throw error
    const message = `${error.message}: "rebuild" first puts it aside.`
    throw new LogError('CORRUPT_FILE', message, { file: HOLES_FILE }, error)
  }
}
