/** A partition as a repair needs to know it: what is sound, where it lies, and which offsets are lost. */
import type { FileSystem } from '../fs/file-system.ts'
import { type Hole, readHoles } from '../log/holes.ts'
import { isLogError } from '../util/errors.ts'
import { Findings } from './findings.ts'
import { type CheckedPartition, checkPartition } from './partition-check.ts'
import { readWatermark } from './partition-files.ts'
import { type DirectoryFacts, partitionContext } from './verify.ts'

/** Bytes of a `.log` file that are sound batches, back to back. */
export interface SoundRange {
  readonly position: number
  end: number
  readonly fromOffset: number
  toOffset: number
  /** Without control records. */
  records: number
}

export interface SurveyedSegment {
  readonly baseOffset: number
  /** Ascending; a new one begins behind damage. */
  readonly ranges: SoundRange[]
}

export interface LostRange {
  readonly fromOffset: number
  /** Exclusive. */
  readonly toOffset: number
}

export interface Survey {
  readonly folder: string
  readonly path: string
  readonly checked: CheckedPartition
  /** Those with something sound in them, ascending. */
  readonly segments: readonly SurveyedSegment[]
  /** Ascending. Gaps that compaction left are none. */
  readonly lost: readonly LostRange[]
  /** Marked before. */
  readonly holes: readonly Hole[]
  /** Behind everything that was ever acknowledged here, as far as anything tells. */
  readonly knownEnd: number
}

export async function surveyPartition(
  fs: FileSystem,
  dir: string,
  of: { readonly facts: DirectoryFacts; readonly folder: string }
): Promise<Survey> {
  const segments: SurveyedSegment[] = []
  const context = partitionContext(fs, dir, { ...of, findings: new Findings(of.folder) })
  const checked = await checkPartition({
    ...context,
    sound: (baseOffset, position, batch, records) => {
      let segment = segments.at(-1)
      if (segment?.baseOffset !== baseOffset) segments.push((segment = { baseOffset, ranges: [] }))
      const last = segment.ranges.at(-1)
      if (last === undefined || last.end !== position) {
        const { baseOffset: fromOffset, nextOffset: toOffset } = batch
        segment.ranges.push({ position, end: position + batch.size, fromOffset, toOffset, records })
        return
      }
      last.end += batch.size
      last.toOffset = batch.nextOffset
      last.records += records
    }
  })
  const holes = await readHoles(fs, context.path).catch((error: unknown) => {
    if (isLogError(error)) return []
    throw error
  })
  const watermark = context.foreign ? undefined : await readWatermark({ ...context, findings: new Findings(of.folder) })
  const { recoveryPoint = 0, logStart = 0 } = context.checkpoints
  const sound = segments.at(-1)?.ranges.at(-1)?.toOffset ?? checked.logStartOffset ?? 0
  const noted = Math.max(watermark?.offset ?? recoveryPoint, sound, logStart)
  const isCorrupt = checked.findings.some(({ severity }) => severity === 'corrupt')
  const knownEnd = isCorrupt ? Math.max(noted, checked.logEndOffset ?? 0) : sound
  return {
    folder: of.folder,
    path: context.path,
    checked,
    segments,
    lost: lostRanges(checked, segments, knownEnd),
    holes,
    knownEnd
  }
}

/** Offsets that no sound batch holds, where something corrupt is the reason. */
function lostRanges(checked: CheckedPartition, segments: readonly SurveyedSegment[], knownEnd: number): LostRange[] {
  const corrupt = checked.findings.filter(({ severity }) => severity === 'corrupt')
  const lost: LostRange[] = []
  const note = (fromOffset: number, toOffset: number): void => {
    const isExplained = corrupt.some(({ offset }) => offset !== null && offset >= fromOffset && offset <= toOffset)
    if (toOffset > fromOffset && isExplained) lost.push({ fromOffset, toOffset })
  }
  let next = checked.logStartOffset ?? 0
  for (const { ranges } of segments) {
    for (const range of ranges) {
      note(next, range.fromOffset)
      next = Math.max(next, range.toOffset)
    }
  }
  note(next, knownEnd)
  return lost
}
