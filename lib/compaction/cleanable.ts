/**
 * What of a log the cleaner may work on, and whether it should: Kafka's choice (format notes 9.5), as a pure function.
 * The scheduler, `--dry-run` and `--explain` ask it alike, so that what is explained is what happens.
 *
 *     firstDirty        := the cleaner's checkpoint; the log start where that is lower, or the checkpoint is beyond the end
 *     firstUncleanable  := the least of: last stable offset, base of the active segment,
 *                          what the first hold keeps (ours, not Kafka's),
 *                          base of the first dirty segment with a timestamp younger than min.compaction.lag.ms;
 *                          then the base of the segment that holds it, and no less than firstDirty
 *     ratio             := bytes of segments in [firstDirty, firstUncleanable) / bytes of those and of all before;
 *                          a segment that firstDirty lies in counts on both sides
 *     due               := ratio > min.cleanable.dirty.ratio, or something cleanable is older than max.compaction.lag.ms
 *
 * A log whose settings are not known is never due.
 */

/** What is known of one segment of a log. */
export interface CleanableSegment {
  readonly baseOffset: number
  /** Bytes of its `.log` file. */
  readonly bytes: number
  /** Largest timestamp of its records, ms; `undefined` when they have none: then the file's time counts. */
  readonly largestTimestamp: number | undefined
  /** Largest timestamp of its first batch, ms; `undefined` when there is none. */
  readonly firstTimestamp: number | undefined
  readonly modifiedMs: number
}

export interface CleanableFacts {
  /** All of the log's, ascending; the last one is the active one. */
  readonly segments: readonly CleanableSegment[]
  readonly logStartOffset: number
  readonly logEndOffset: number
  readonly lastStableOffset: number
  /** First dirty offset by the cleaner's checkpoint; `undefined` where there is none. */
  readonly checkpoint: number | undefined
  /** From here on a named reader still needs every record; `undefined` where none does. */
  readonly firstHeldOffset?: number | undefined
}

export interface CleanableSettings {
  readonly cleanupPolicy: readonly string[]
  readonly minCompactionLagMs: number
  /** `undefined`: no limit. */
  readonly maxCompactionLagMs: number | undefined
  /** In 0 ... 1. */
  readonly minCleanableDirtyRatio: number
}

/**
 * Why a log is due or not.
 *
 * - `unknown-settings`: nobody has said what is to become of this topic's records.
 * - `not-compacted`: its cleanup policy does not have `compact`.
 * - `nothing-dirty`: all sealed segments are clean, or there are none; the active one is never cleaned.
 * - `held-back`: sealed segments are dirty, and none of them may be cleaned yet; `heldBackBy` says why.
 * - `below-ratio`: too little of it is dirty.
 * - `ratio`, `max-lag`: due, for this reason.
 */
export type CleanableReason =
  | 'unknown-settings'
  | 'not-compacted'
  | 'nothing-dirty'
  | 'held-back'
  | 'below-ratio'
  | 'ratio'
  | 'max-lag'

/** What set the first uncleanable offset. */
export type CleanableBound = 'active-segment' | 'last-stable-offset' | 'hold' | 'min-compaction-lag'

export interface CleanableJudgement {
  /** Whether the scheduler cleans it now. */
  readonly due: boolean
  readonly reason: CleanableReason
  readonly firstDirtyOffset: number
  /** Exclusive; the base of a segment, or `firstDirtyOffset` where nothing is cleanable. */
  readonly firstUncleanableOffset: number
  /** What lies in front of `firstUncleanableOffset`. */
  readonly heldBackBy: CleanableBound
  /** The checkpoint is of no use and should be written anew. */
  readonly checkpointIsInvalid: boolean
  readonly cleanBytes: number
  readonly cleanableBytes: number
  /** Bytes of dirty segments that may not be cleaned yet, the active one included. */
  readonly uncleanableBytes: number
  /** Of those, what lies in sealed segments. */
  readonly heldBackBytes: number
  /** In 0 ... 1; 0 when there is nothing. */
  readonly dirtyRatio: number
  readonly minCleanableDirtyRatio: number
  /** How long something has waited beyond `max.compaction.lag.ms`, ms; 0 when nothing has. */
  readonly overdueMs: number
  /** When `max.compaction.lag.ms` alone makes it due, ms since 1970; `undefined` when it never does as it stands. */
  readonly dueAtMs: number | undefined
}

/** @param settings - `undefined` where nothing is known of the topic's settings. */
export function judgeCleanable(
  facts: CleanableFacts,
  settings: CleanableSettings | undefined,
  now: number
): CleanableJudgement {
  const { firstDirtyOffset, checkpointIsInvalid } = firstDirty(facts)
  const { firstUncleanableOffset, heldBackBy } = firstUncleanable(facts, settings, firstDirtyOffset, now)
  const bytes = bytesOf(facts, firstDirtyOffset, firstUncleanableOffset)
  const { cleanBytes, cleanableBytes, uncleanableBytes, heldBackBytes } = bytes
  const total = cleanBytes + cleanableBytes
  const dirtyRatio = total === 0 ? 0 : cleanableBytes / total
  const minCleanableDirtyRatio = settings?.minCleanableDirtyRatio ?? 0.5
  const dueAtMs = dueAt(facts, settings, firstDirtyOffset)
  const overdueMs = dueAtMs === undefined ? 0 : Math.max(0, now - dueAtMs)
  const reason = reasonOf()
  return {
    due: reason === 'ratio' || reason === 'max-lag',
    reason,
    firstDirtyOffset,
    firstUncleanableOffset,
    heldBackBy,
    checkpointIsInvalid,
    cleanBytes,
    cleanableBytes,
    uncleanableBytes,
    heldBackBytes,
    dirtyRatio,
    minCleanableDirtyRatio,
    overdueMs,
    dueAtMs
  }

  function reasonOf(): CleanableReason {
    if (settings === undefined) return 'unknown-settings'
    if (!settings.cleanupPolicy.includes('compact')) return 'not-compacted'
    if (cleanableBytes === 0) return heldBackBytes > 0 ? 'held-back' : 'nothing-dirty'
    if (dirtyRatio > minCleanableDirtyRatio) return 'ratio'
    return overdueMs > 0 ? 'max-lag' : 'below-ratio'
  }
}

function firstDirty({ checkpoint, logStartOffset, logEndOffset }: CleanableFacts): {
  firstDirtyOffset: number
  checkpointIsInvalid: boolean
} {
  if (checkpoint === undefined) return { firstDirtyOffset: logStartOffset, checkpointIsInvalid: false }
  // Beyond the end: the log has lost its tail since. What was cleaned is unknown then, so all of it counts as dirty.
  const checkpointIsInvalid = checkpoint < logStartOffset || checkpoint > logEndOffset
  return { firstDirtyOffset: checkpointIsInvalid ? logStartOffset : checkpoint, checkpointIsInvalid }
}

function firstUncleanable(
  facts: CleanableFacts,
  settings: CleanableSettings | undefined,
  firstDirtyOffset: number,
  now: number
): { firstUncleanableOffset: number; heldBackBy: CleanableBound } {
  const { segments, lastStableOffset, logStartOffset } = facts
  const activeBase = segments.at(-1)?.baseOffset ?? logStartOffset
  let bound = activeBase
  let heldBackBy: CleanableBound = 'active-segment'
  const lag = Math.max(0, settings?.minCompactionLagMs ?? 0)
  const young = lag > 0 ? dirtySealed(facts, firstDirtyOffset).find(s => largestOf(s) > now - lag) : undefined
  if (young !== undefined && young.baseOffset < bound) {
    bound = young.baseOffset
    heldBackBy = 'min-compaction-lag'
  }
  if (lastStableOffset < bound) {
    bound = lastStableOffset
    heldBackBy = 'last-stable-offset'
  }
  const { firstHeldOffset } = facts
  if (firstHeldOffset !== undefined && firstHeldOffset < bound) {
    bound = firstHeldOffset
    heldBackBy = 'hold'
  }
  // A segment is cleaned as a whole or not at all: the one that holds the bound is not.
  const from = Math.max(bound, firstDirtyOffset)
  const base = sealed(facts).find((_, i) => behind(facts, i) > from)?.baseOffset ?? activeBase
  return { firstUncleanableOffset: Math.max(firstDirtyOffset, base), heldBackBy }
}

function bytesOf(
  { segments }: CleanableFacts,
  firstDirtyOffset: number,
  firstUncleanableOffset: number
): { cleanBytes: number; cleanableBytes: number; uncleanableBytes: number; heldBackBytes: number } {
  let cleanBytes = 0
  let cleanableBytes = 0
  let uncleanableBytes = 0
  let heldBackBytes = 0
  segments.forEach(({ baseOffset, bytes }, i) => {
    const isActive = i === segments.length - 1
    const holdsDirty = isActive || segments[i + 1]!.baseOffset > firstDirtyOffset
    if (baseOffset < firstDirtyOffset) cleanBytes += bytes
    if (!holdsDirty) return
    const isCleanable = firstUncleanableOffset > firstDirtyOffset && baseOffset < firstUncleanableOffset
    if (isCleanable) cleanableBytes += bytes
    else uncleanableBytes += bytes
    if (!isCleanable && !isActive) heldBackBytes += bytes
  })
  return { cleanBytes, cleanableBytes, uncleanableBytes, heldBackBytes }
}

function dueAt(
  facts: CleanableFacts,
  settings: CleanableSettings | undefined,
  firstDirtyOffset: number
): number | undefined {
  if (settings?.maxCompactionLagMs === undefined) return undefined
  let earliest: number | undefined
  for (const { firstTimestamp } of dirtySealed(facts, firstDirtyOffset)) {
    const counts = firstTimestamp !== undefined && firstTimestamp > 0
    if (counts && (earliest === undefined || firstTimestamp < earliest)) earliest = firstTimestamp
  }
  return earliest === undefined ? undefined : earliest + Math.max(0, settings.maxCompactionLagMs)
}

function sealed({ segments }: CleanableFacts): readonly CleanableSegment[] {
  return segments.slice(0, -1)
}

/** Sealed segments from the one on that holds the first dirty offset. */
function dirtySealed(facts: CleanableFacts, firstDirtyOffset: number): readonly CleanableSegment[] {
  return sealed(facts).filter((_, i) => behind(facts, i) > firstDirtyOffset)
}

/** The offset from which on the next segment has what comes. */
function behind({ segments }: CleanableFacts, index: number): number {
  return segments[index + 1]?.baseOffset ?? Number.POSITIVE_INFINITY
}

function largestOf({ largestTimestamp, modifiedMs }: CleanableSegment): number {
  return largestTimestamp ?? modifiedMs
}
