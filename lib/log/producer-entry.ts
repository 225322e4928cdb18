/**
 * What a partition remembers of one producer id: enough to recognise a repeated batch and to refuse a gap.
 *
 *   P1  At most the last five data batches of the present epoch are remembered (Kafka's clients have at most five
 *       requests under way); a new epoch forgets them.
 *   P2  Sequences count records and wrap: after 2^31-1 comes 0.
 *   P3  Of a batch only (last sequence, last offset, offset delta, timestamp) are kept; its first sequence and first
 *       offset follow from these, as they do for the one batch that a snapshot keeps.
 *
 * There may be a hundred thousand of these, so the batches lie in one array of numbers (160 bytes when full)
 * rather than in objects of their own.
 */
import type { BatchView } from '../record/batch-view.ts'

export const REMEMBERED_BATCHES = 5
const MAX_SEQUENCE = 2 ** 31 - 1

/**
 * A number wherever it can be one. Kafka's brokers count ids up from 0, but the format allows 64 bits, and an idempotent
 * producer of somebody else's may use them; a transaction of such a producer is refused.
 */
export type ProducerId = number | bigint

export interface RememberedBatch {
  readonly firstSequence: number
  readonly lastSequence: number
  readonly firstOffset: number
  readonly lastOffset: number
  /** Last offset - first offset. */
  readonly offsetDelta: number
  /** Largest timestamp in the batch, ms; `undefined` where it has none. */
  readonly timestamp: number | undefined
}

/** What `ProducerEntry` looks at in a data batch. */
export type ProducerData = Pick<
  BatchView,
  'producerEpoch' | 'lastSequence' | 'lastOffset' | 'lastOffsetDelta' | 'maxTimestamp'
>

/** The fields that a snapshot keeps. */
export interface ProducerFields {
  readonly producerId: ProducerId
  readonly epoch: number
  readonly lastBatch: Pick<RememberedBatch, 'lastSequence' | 'lastOffset' | 'offsetDelta' | 'timestamp'> | undefined
  readonly lastTimestamp: number | undefined
  readonly coordinatorEpoch: number | undefined
  readonly currentTxnFirstOffset: number | undefined
}

const NUMBERS_PER_BATCH = 4 // last sequence, last offset, offset delta, timestamp (NaN: none)

export class ProducerEntry {
  readonly producerId: ProducerId
  /** First offset of the transaction that is open, if one is. */
  currentTxnFirstOffset: number | undefined
  #epoch: number
  #lastTimestamp: number | undefined
  #coordinatorEpoch: number | undefined
  #numbers: number[] = []

  constructor(fields: ProducerFields) {
    this.producerId = fields.producerId
    this.currentTxnFirstOffset = fields.currentTxnFirstOffset
    this.#epoch = fields.epoch
    this.#lastTimestamp = fields.lastTimestamp
    this.#coordinatorEpoch = fields.coordinatorEpoch
    const last = fields.lastBatch
    if (last === undefined) return
    this.#numbers.push(last.lastSequence, last.lastOffset, last.offsetDelta, last.timestamp ?? Number.NaN)
  }

  /** Of the last batch or marker; -1 only where a batch said so itself. */
  get epoch(): number {
    return this.#epoch
  }

  /** Time of the last batch or marker, ms. */
  get lastTimestamp(): number | undefined {
    return this.#lastTimestamp
  }

  /** Of the last marker. */
  get coordinatorEpoch(): number | undefined {
    return this.#coordinatorEpoch
  }

  get batchCount(): number {
    return this.#numbers.length / NUMBERS_PER_BATCH
  }

  /** Oldest first. */
  get batches(): RememberedBatch[] {
    return Array.from({ length: this.batchCount }, (_, index) => this.#batch(index))
  }

  get lastBatch(): RememberedBatch | undefined {
    return this.batchCount === 0 ? undefined : this.#batch(this.batchCount - 1)
  }

  /** The remembered batch of this epoch with exactly these sequences, if there is one. */
  findRepeated(batch: ProducerData): RememberedBatch | undefined {
    if (batch.producerEpoch !== this.#epoch) return undefined
    const { lastSequence, lastOffsetDelta } = batch
    // The same last sequence and the same length: the same first sequence.
    for (let at = 0; at < this.#numbers.length; at += NUMBERS_PER_BATCH) {
      if (this.#numbers[at] === lastSequence && this.#numbers[at + 2] === lastOffsetDelta) {
        return this.#batch(at / NUMBERS_PER_BATCH)
      }
    }
    return undefined
  }

  /** Sequence that the next batch of the present epoch has to begin with. */
  get nextSequence(): number {
    const lastSequence = this.#numbers[this.#numbers.length - NUMBERS_PER_BATCH]
    return lastSequence === undefined ? 0 : addToSequence(lastSequence, 1)
  }

  addBatch(batch: ProducerData): void {
    this.#moveToEpoch(batch.producerEpoch)
    if (this.batchCount === REMEMBERED_BATCHES) this.#forgetOldest()
    const timestamp = batch.maxTimestamp < 0 ? undefined : batch.maxTimestamp
    this.#numbers.push(batch.lastSequence, batch.lastOffset, batch.lastOffsetDelta, timestamp ?? Number.NaN)
    this.#lastTimestamp = timestamp
  }

  endTransaction(marker: { epoch: number; coordinatorEpoch: number; timestamp: number | undefined }): void {
    this.#moveToEpoch(marker.epoch)
    this.#coordinatorEpoch = marker.coordinatorEpoch
    this.#lastTimestamp = marker.timestamp
    this.currentTxnFirstOffset = undefined
  }

  clone(): ProducerEntry {
    const { producerId, epoch, lastTimestamp, coordinatorEpoch, currentTxnFirstOffset } = this
    const lastBatch = undefined
    const copy = new ProducerEntry({
      producerId,
      epoch,
      lastBatch,
      lastTimestamp,
      coordinatorEpoch,
      currentTxnFirstOffset
    })
    copy.#numbers = this.#numbers.slice()
    return copy
  }

  #moveToEpoch(epoch: number): void {
    if (epoch === this.#epoch) return
    this.#epoch = epoch
    this.#numbers = []
  }

  /** By hand, because `splice` costs more than all the rest of a check. */
  #forgetOldest(): void {
    const numbers = this.#numbers
    const kept = numbers.length - NUMBERS_PER_BATCH
    for (let at = 0; at < kept; at += 1) numbers[at] = numbers[at + NUMBERS_PER_BATCH] as number
    numbers.length = kept
  }

  #batch(index: number): RememberedBatch {
    const at = index * NUMBERS_PER_BATCH
    const lastSequence = this.#numbers[at] as number
    const lastOffset = this.#numbers[at + 1] as number
    const offsetDelta = this.#numbers[at + 2] as number
    const timestamp = this.#numbers[at + 3] as number
    return {
      firstSequence: addToSequence(lastSequence, -offsetDelta),
      lastSequence,
      firstOffset: lastOffset - offsetDelta,
      lastOffset,
      offsetDelta,
      timestamp: Number.isNaN(timestamp) ? undefined : timestamp
    }
  }
}

/** P2: (2^31-1) + 1 = 0, and 0 - 1 = 2^31-1. */
function addToSequence(sequence: number, count: number): number {
  const sum = sequence + count
  if (sum > MAX_SEQUENCE) return sum - MAX_SEQUENCE - 1
  return sum < 0 ? sum + MAX_SEQUENCE + 1 : sum
}
