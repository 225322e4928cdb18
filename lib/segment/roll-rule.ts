import type { RollCause, SegmentConfig } from './segment-types.ts'

const MAX_INT32 = 2 ** 31 - 1

/** What the rule looks at in the active segment. */
export interface RollState {
  readonly baseOffset: number
  /** Bytes. */
  readonly size: number
  /** Wall clock at creation or opening, ms. */
  readonly createdAt: number
  /** Largest timestamp of the first batch; `undefined` when it has none. */
  readonly firstTimestamp: number | undefined
  /** Of this segment: a fraction of `segmentJitterMs`, in [0, 1). */
  readonly jitter: number
  /** Entries that still fit into the fuller of the two indexes. */
  readonly indexRoom: number
}

export interface NextBatch {
  readonly size: number
  /** -1 none. */
  readonly maxTimestamp: number
  readonly lastOffset: number
}

/**
 * Whether the next batch goes to a new segment, by Kafka's rule (LogSegment.shouldRoll).
 *
 * Time is the batches' own where they have one: what counts is the distance from the first batch to the next. There
 * is no timer; a segment rolls by time only when something is appended.
 */
export function rollCause(
  state: RollState,
  batch: NextBatch,
  now: number,
  config: SegmentConfig
): RollCause | undefined {
  if (state.size > config.segmentBytes - batch.size) return 'size'
  if (state.size > 0 && waitedMs(state, batch, now) > maxSegmentMs(config) - jitterMs(state, config)) return 'time'
  if (state.indexRoom <= 0) return 'index-full'
  if (batch.lastOffset - state.baseOffset > MAX_INT32) return 'offset-overflow'
  return undefined
}

function waitedMs(state: RollState, batch: NextBatch, now: number): number {
  return state.firstTimestamp === undefined ? now - state.createdAt : batch.maxTimestamp - state.firstTimestamp
}

/** A compacted log must roll in time for the cleaner to see what is in it. */
function maxSegmentMs({ segmentMs, cleanupPolicy, maxCompactionLagMs }: SegmentConfig): number {
  const compacted = cleanupPolicy?.includes('compact') === true
  return compacted && maxCompactionLagMs !== undefined ? Math.min(segmentMs, maxCompactionLagMs) : segmentMs
}

function jitterMs(state: RollState, { segmentJitterMs, segmentMs }: SegmentConfig): number {
  return Math.floor(state.jitter * Math.min(segmentJitterMs, segmentMs))
}
