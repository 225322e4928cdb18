/** What a log shows of itself: every batch as stored, both views of its records, and its own offsets. */
import type { PartitionLog } from '../../lib/log/partition-log.ts'
import { BatchView } from '../../lib/record/batch-view.ts'
import { parseControlRecord } from '../../lib/record/control-record.ts'
import type { RecordCursor } from '../../lib/record/record-cursor.ts'

export interface SeenRecord {
  readonly offset: number
  /** `attempt.index`. */
  readonly identity: string
  readonly key: string | null
  readonly value: string | null
  readonly timestamp: number
}

export interface SeenBatch {
  readonly baseOffset: number
  readonly nextOffset: number
  readonly leaderEpoch: number
  readonly producerId: number
  readonly producerEpoch: number
  readonly baseSequence: number
  /** `sentAs`: what attempt it is, from its timestamp. */
  readonly marker: { readonly type: string; readonly sentAs: number } | undefined
  readonly records: readonly SeenRecord[]
}

export interface Observation {
  readonly start: number
  readonly end: number
  readonly highWatermark: number
  readonly stable: number
  readonly batches: readonly SeenBatch[]
  /** Offsets that a reader with `read_committed` gets. */
  readonly committed: readonly number[]
}

export const IDENTITY = 'i'
/** A marker bears this and its attempt's number as its time: below that of every record, so that no search by time finds
 * one, and late enough that its producer is not forgotten for having been silent. */
export const MARKER_TIME = 1_900_000_000_000

export async function observe(log: PartitionLog): Promise<Observation> {
  const batches: SeenBatch[] = []
  for await (const result of log.batches()) {
    for (let at = 0; at < result.batches.length; ) {
      const batch = new BatchView(result.batches, at)
      batches.push(seen(batch))
      at = batch.end
    }
  }
  const committed: number[] = []
  for await (const { offset } of log.records({ isolation: 'read_committed' })) committed.push(offset)
  return {
    start: log.logStartOffset,
    end: log.logEndOffset,
    highWatermark: log.highWatermark,
    stable: log.lastStableOffset,
    batches,
    committed
  }
}

function seen(batch: BatchView): SeenBatch {
  const records: SeenRecord[] = []
  let marker: SeenBatch['marker']
  const cursor = batch.records()
  while (cursor.next()) {
    if (batch.isControl) {
      const { type } = parseControlRecord(cursor.key(), cursor.value())
      marker = { type, sentAs: cursor.timestamp - MARKER_TIME }
    } else records.push(seenRecord(cursor))
  }
  return {
    baseOffset: batch.baseOffset,
    nextOffset: batch.nextOffset,
    leaderEpoch: batch.partitionLeaderEpoch,
    producerId: batch.hasProducerId ? batch.producerId : -1,
    producerEpoch: batch.producerEpoch,
    baseSequence: batch.baseSequence,
    marker,
    records
  }
}

function seenRecord(cursor: RecordCursor): SeenRecord {
  const [name, identity] = cursor.headers()[0] ?? []
  return {
    offset: cursor.offset,
    identity: name === IDENTITY ? String(identity) : '?',
    key: cursor.key()?.toString() ?? null,
    value: cursor.value()?.toString() ?? null,
    timestamp: cursor.timestamp
  }
}
