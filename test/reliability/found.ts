/** What a log holds, as an independent reader sees it: every batch, and what a `read_committed` consumer is shown. */
import type { PartitionLog } from '../../lib/log/partition-log.ts'
import { BatchView } from '../../lib/record/batch-view.ts'
import { parseControlRecord } from '../../lib/record/control-record.ts'

/** Header that says which append a record is of, and its place in it: `17.0`. A marker's coordinator epoch says it. */
export const NUMBER_HEADER = 'n'

export interface FoundRecord {
  readonly offset: number
  readonly key: string | null
  readonly value: string | null
  /** Of the append; -1 where the header is missing. */
  readonly number: number
  readonly place: number
}

export interface FoundBatch {
  readonly base: number
  /** Inclusive. */
  readonly last: number
  readonly producerId: number
  readonly transactional: boolean
  readonly marker: { readonly type: string; readonly number: number } | undefined
  readonly records: readonly FoundRecord[]
}

export interface FoundLog {
  readonly start: number
  /** Exclusive: what a reader may see. */
  readonly end: number
  readonly lastStableOffset: number
  readonly batches: readonly FoundBatch[]
  /** Offsets of what a `read_committed` stream gives. */
  readonly committed: readonly number[]
}

export async function readWhole(log: PartitionLog): Promise<FoundLog> {
  const { logStartOffset: start, highWatermark: end, lastStableOffset } = log
  const batches: FoundBatch[] = []
  for await (const page of log.batches({ from: start, to: end })) {
    for (let at = 0; at < page.batches.length; ) {
      const view = new BatchView(page.batches, at)
      batches.push(foundBatch(view, start))
      at = view.end
    }
  }
  const committed: number[] = []
  for await (const { offset } of log.records({ from: start, to: lastStableOffset, isolation: 'read_committed' }))
    committed.push(offset)
  return { start, end, lastStableOffset, batches, committed }
}

function foundBatch(view: BatchView, start: number): FoundBatch {
  const { baseOffset: base, lastOffset: last, producerId, isTransactional: transactional } = view
  if (view.isControl) {
    const cursor = view.records()
    const control = cursor.next() ? parseControlRecord(cursor.key(), cursor.value()) : undefined
    const marker = { type: control?.type ?? 'empty', number: control?.coordinatorEpoch ?? -1 }
    return { base, last, producerId, transactional, marker, records: [] }
  }
  const records: FoundRecord[] = []
  const cursor = view.records()
  while (cursor.next()) {
    if (cursor.offset < start) continue
    const header =
      cursor
        .headers()
        .find(([name]) => name === NUMBER_HEADER)?.[1]
        ?.toString() ?? '-1.0'
    const [number = -1, place = 0] = header.split('.').map(Number)
    const value = cursor.value()?.toString() ?? null
    records.push({ offset: cursor.offset, key: cursor.key()?.toString() ?? null, value, number, place })
  }
  return { base, last, producerId, transactional, marker: undefined, records }
}
