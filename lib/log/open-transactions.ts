/**
 * Transactions that nobody has ended yet. While there is one, the last stable offset stands still: readers of
 * committed records and the cleaner wait. One whose producer is gone waits for ever, until somebody aborts it.
 */
import { BatchView } from '../record/batch-view.ts'
import { LogError } from '../util/errors.ts'
import type { AppendResult } from './acknowledgement.ts'
import type { LogState } from './log-state.ts'
import type { PartitionLog } from './partition-log.ts'

export interface OpenTransaction {
  readonly producerId: number
  readonly producerEpoch: number
  readonly firstOffset: number
  /** Largest timestamp in its first batch, ms; `undefined` where it has none. */
  readonly startedMs: number | undefined
  /** Of its producer's last batch, ms. */
  readonly lastActiveMs: number | undefined
}

/** Ascending by first offset. */
export async function openTransactions(log: PartitionLog, state: LogState): Promise<OpenTransaction[]> {
  const found: OpenTransaction[] = []
  for (const { producerId, firstOffset } of state.producers.ongoingTransactions) {
    const entry = state.producers.entries.get(producerId)
    if (entry === undefined) continue
    const { epoch: producerEpoch, lastTimestamp: lastActiveMs } = entry
    found.push({ producerId, producerEpoch, firstOffset, startedMs: await timestampAt(log, firstOffset), lastActiveMs })
  }
  return found
}

async function timestampAt(log: PartitionLog, offset: number): Promise<number | undefined> {
  // Deleted records may have been part of it.
  const { batches } = await log.read(Math.max(offset, log.logStartOffset), { maxBytes: 1 })
  if (batches.length === 0) return undefined
  const { maxTimestamp } = new BatchView(batches)
  return maxTimestamp < 0 ? undefined : maxTimestamp
}

/** See `PartitionLog.abortTransaction`. */
export function abortTransaction(log: PartitionLog, state: LogState, producerId: number): Promise<AppendResult> {
  // Looked up and handed in within one step: between the two nobody else ends it.
  const entry = state.acceptedProducers.entries.get(producerId)
  if (entry?.currentTxnFirstOffset === undefined) {
    const message = `producer ${producerId} has no open transaction in ${log.topic}-${log.partition}`
    return Promise.reject(new LogError('INVALID_TXN_STATE', message, { producerId }))
  }
  const { epoch: producerEpoch, coordinatorEpoch = 0 } = entry
  return log.appendEndTransaction(
    { type: 'abort', producerId, producerEpoch, coordinatorEpoch },
    { durability: 'batch' }
  )
}
