import type { BatchView } from '../record/batch-view.ts'
import { parseControlRecord } from '../record/control-record.ts'
import type { AbortedTransaction } from '../segment/transaction-index.ts'
import { LogError } from '../util/errors.ts'

interface OpenAborted {
  readonly transaction: AbortedTransaction
  /** A batch of it has been seen in this pass. */
  seen: boolean
}

/** What a marker says, and what may be done with it. */
export interface MarkerVerdict {
  /** No batch of its transaction is left: it may go once its delete horizon has passed. */
  readonly mayGo: boolean
  /** Of the transaction index: batches of this aborted transaction are still there, so its entry stays. */
  readonly stays?: AbortedTransaction
}

const MAY_GO: MarkerVerdict = { mayGo: true }
const STAYS: MarkerVerdict = { mayGo: false }

/**
 * Which transactions are under way while a pass goes through a log, batch by batch: Kafka's rule
 * (CleanedTransactionMetadata, format notes 9.5). Records of an aborted transaction may go at once; a marker only when
 * nothing of its transaction was seen before it.
 */
export class TransactionTracker {
  /** Not begun yet, the earliest last. */
  #coming: AbortedTransaction[] = []
  readonly #aborted = new Map<number, OpenAborted>()
  /** Producers of which batches were seen that no entry calls aborted. */
  readonly #committed = new Set<number>()

  /** Some may have been told before: those of a transaction that reaches into several segments. */
  expect(transactions: readonly AbortedTransaction[]): void {
    if (transactions.length === 0) return
    this.#coming.push(...transactions)
    this.#coming.sort((a, b) => b.firstOffset - a.firstOffset)
  }

  /** @returns whether the batch, one of records, belongs to an aborted transaction. */
  onData(batch: BatchView): boolean {
    this.#begin(batch.lastOffset)
    if (!batch.isTransactional) return false
    const { producerId } = batch
    const open = this.#aborted.get(producerId)
    if (open === undefined) {
      this.#committed.add(producerId)
      return false
    }
    open.seen = true
    return true
  }

  /**
   * @param batch - a control batch.
   * @throws {LogError} CORRUPT_FILE for an abort of which records were seen and the transaction index knows nothing:
   *   they would be taken for committed, and take the place of committed ones.
   */
  onMarker(batch: BatchView): MarkerVerdict {
    this.#begin(batch.lastOffset)
    const { producerId } = batch
    const cursor = batch.records({ checkCrc: false })
    if (!cursor.next()) return MAY_GO // emptied by an earlier cleaning
    const { type } = parseControlRecord(cursor.key(), cursor.value())
    if (type === 'commit') return this.#committed.delete(producerId) ? STAYS : MAY_GO
    if (type !== 'abort') return STAYS
    const open = this.#aborted.get(producerId)
    this.#aborted.delete(producerId)
    if (open === undefined && this.#committed.has(producerId)) throw unknownAbort(batch)
    return open?.seen === true ? { mayGo: false, stays: open.transaction } : MAY_GO
  }

  #begin(upTo: number): void {
    const coming = this.#coming
    for (let next = coming.at(-1); next !== undefined && next.firstOffset <= upTo; next = coming.at(-1)) {
      coming.pop()
      if (!this.#aborted.has(next.producerId)) this.#aborted.set(next.producerId, { transaction: next, seen: false })
    }
  }
}

function unknownAbort({ producerId, baseOffset }: BatchView): LogError {
  const message =
    `the marker at offset ${baseOffset} aborts a transaction of producer ${producerId} that no transaction index has: ` +
    'its records would be taken for committed'
  return new LogError('CORRUPT_FILE', message, { producerId, baseOffset })
}
