/**
 * Finds offsets by time, as Kafka's ListOffsets answers (format notes 9.2).
 *
 * Control records count, as they do there. Unlike Kafka, a segment whose index promises a match that compaction took
 * away does not end the search: the next one is looked into.
 */
import { BatchView } from '../record/batch-view.ts'
import type { Segment } from '../segment/segment.ts'
import type { LogHoles } from './holes.ts'
import type { LogState } from './log-state.ts'
import type { Reader } from './reader.ts'
import type { Isolation, TimestampedOffset } from './types.ts'

/** Batches looked at in one read. */
const LOOKUP_BYTES = 64 * 1024

/** The first record at or after `timestamp` that a reader of this isolation may fetch. */
export async function offsetForTimestamp(
  state: LogState,
  reader: Reader,
  timestamp: number | bigint,
  isolation: Isolation
): Promise<TimestampedOffset | undefined> {
  const wanted = BigInt(timestamp)
  // Segments know their largest timestamp as a number: compared with what a number can hold.
  const least = Number(wanted)
  const bound = state.bound(isolation)
  const { segments } = state
  for (let i = 0; i < segments.length; i += 1) {
    const segment = segments[i] as Segment
    // Without a promise for each of the hundreds of segments that a lookup near the end passes over.
    const largest = segment.knowsMaxTimestamp ? segment.maxTimestamp : await segment.largestTimestamp()
    if (largest === undefined || largest < least) continue
    const exact = Number.isSafeInteger(least) ? least : wanted
    const from = Math.max(await segment.offsetBeforeTimestamp(exact), state.logStartOffset)
    const to = Math.min(bound, segments[i + 1]?.baseOffset ?? bound)
    const found = await firstAtOrAfter(reader, { from, to, least: state.logStartOffset, holes: state.holes }, wanted)
    if (found !== undefined) return found
  }
  return undefined
}

/** The first record with the largest timestamp of the log; `undefined` in a log without timestamps. */
export async function offsetOfMaxTimestamp(state: LogState, reader: Reader): Promise<TimestampedOffset | undefined> {
  let best: { segment: Segment; timestamp: number } | undefined
  for (const [i, segment] of state.segments.entries()) {
    const { baseOffset } = segment
    // Of one that was taken away markers may be left.
    const isLost = (state.holes?.pass(baseOffset) ?? baseOffset) >= (state.segments[i + 1]?.baseOffset ?? Infinity)
    if (isLost) continue
    const timestamp = await segment.largestTimestamp()
    if (timestamp !== undefined && timestamp >= 0 && (best === undefined || timestamp > best.timestamp))
      best = { segment, timestamp }
  }
  if (best === undefined) return undefined
  const lastOffsetOfBatch = await best.segment.offsetOfLargestTimestamp()
  const result = await reader.read(Math.max(lastOffsetOfBatch ?? best.segment.baseOffset, state.logStartOffset), {
    maxBytes: 1
  })
  if (result.baseOffset === undefined) return undefined
  const batch = new BatchView(result.batches)
  return firstInBatch(batch, batch.maxTimestampExact, state.logStartOffset)
}

/**
 * Looks in the batches from the one that holds `from` up to `to`, exclusive. The index names a batch by its last
 * offset, so records of that batch below `from` count too, down to `least`.
 */
async function firstAtOrAfter(
  reader: Reader,
  { from, to, least, holes }: { from: number; to: number; least: number; holes: LogHoles | undefined },
  wanted: bigint
): Promise<TimestampedOffset | undefined> {
  let offset = holes?.pass(from) ?? from
  while (offset < to) {
    const result = await reader.read(offset, { upTo: to, maxBytes: LOOKUP_BYTES })
    // In front of a hole there may be none, and some behind it.
    if (result.nextOffset === offset) return undefined
    for (let at = 0; at < result.batches.length; ) {
      const batch = new BatchView(result.batches, at)
      at = batch.end
      if (batch.maxTimestampExact < wanted) continue
      const found = firstInBatch(batch, wanted, least)
      if (found !== undefined) return found.offset < to ? found : undefined
    }
    offset = holes?.pass(result.nextOffset) ?? result.nextOffset
  }
  return undefined
}

function firstInBatch(batch: BatchView, wanted: bigint, from: number): TimestampedOffset | undefined {
  const cursor = batch.records({ checkCrc: false })
  while (cursor.next()) {
    if (cursor.offset < from || cursor.timestampExact < wanted) continue
    return {
      offset: cursor.offset,
      timestamp: cursor.timestamp,
      timestampExact: cursor.timestampExact,
      leaderEpoch: batch.partitionLeaderEpoch < 0 ? undefined : batch.partitionLeaderEpoch
    }
  }
  return undefined
}
