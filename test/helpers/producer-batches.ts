import type { ProducerBatch } from '../../lib/log/producer-state.ts'
import { BatchView } from '../../lib/record/batch-view.ts'
import { encodeEndTransactionMarker } from '../../lib/record/control-record.ts'
import { LogError } from '../../lib/util/errors.ts'

export interface DataFields {
  readonly producerId?: number | bigint
  readonly epoch?: number
  readonly sequence?: number
  readonly offset?: number
  readonly count?: number
  readonly timestamp?: number
  readonly transactional?: boolean
}

/** The header of a data batch as the producer state sees it, without bytes. */
export function dataBatch(fields: DataFields = {}): ProducerBatch {
  const { producerId = -1, epoch = producerId < 0 ? -1 : 0, sequence = producerId < 0 ? -1 : 0 } = fields
  const { offset = 0, count = 1, timestamp = 1_000, transactional = false } = fields
  return {
    hasProducerId: producerId >= 0,
    // As BatchView does, throws for what a number cannot hold.
    get producerId(): number {
      if (typeof producerId === 'bigint') throw new LogError('CORRUPT_MESSAGE', 'beyond 2^53 - 1')
      return producerId
    },
    producerIdExact: BigInt(producerId),
    producerEpoch: epoch,
    baseSequence: sequence,
    lastSequence: producerId < 0 ? -1 : (sequence + count - 1) % 2 ** 31,
    baseOffset: offset,
    lastOffset: offset + count - 1,
    lastOffsetDelta: count - 1,
    nextOffset: offset + count,
    maxTimestamp: timestamp,
    isTransactional: transactional,
    isControl: false,
    records: () => {
      throw new Error('the records of a data batch are none of the producer state’s business')
    }
  }
}

export interface MarkerFields {
  readonly type: 'commit' | 'abort'
  readonly producerId: number
  readonly epoch?: number
  readonly offset?: number
  readonly coordinatorEpoch?: number
  readonly timestamp?: number
}

/** A real marker batch. */
export function markerBatch(fields: MarkerFields): BatchView {
  const { type, producerId, epoch = 0, offset = 0, coordinatorEpoch = 0, timestamp = 1_000 } = fields
  const bytes = encodeEndTransactionMarker({
    type,
    producerId,
    producerEpoch: epoch,
    coordinatorEpoch,
    baseOffset: offset,
    leaderEpoch: 0,
    timestamp
  })
  return new BatchView(bytes)
}
