/**
 * Producer state of one partition: which batches of idempotent producers are repeats or leave a gap, which
 * transactions are open, and up to where every transaction is decided.
 *
 *   M1  The state is a function of the batches applied, in order of their offsets, up to `mapEndOffset`.
 *   M2  `check` changes nothing; `apply` never fails on a sound batch, whatever `check` would have said: what is in
 *       the log is a fact.
 *   M3  `ongoing` is in ascending order of first offset, and a producer has at most one transaction in it.
 *   M4  A transaction holds the last stable offset back until its marker is below the high watermark: a reader must
 *       not see a decision that a crash or a new leader can take back.
 *
 * State moves when a batch is applied, which may be before it is written, so that the batches of one group are checked
 * against each other. If the write fails the owner puts a `clone` back, or builds the state anew from a snapshot and
 * the log.
 *
 * Pure: no I/O here. Rules as in Kafka's ProducerStateManager and ProducerAppendInfo.
 */
import type { BatchView } from '../record/batch-view.ts'
import { parseControlRecord } from '../record/control-record.ts'
import { isLogError, LogError } from '../util/errors.ts'
import { type ProducerData, ProducerEntry, type ProducerId } from './producer-entry.ts'
import { UndecidedTransactions } from './undecided-transactions.ts'

/** What is looked at in a batch; `records` only in a control batch. */
export type ProducerBatch = ProducerData &
  Pick<
    BatchView,
    | 'hasProducerId'
    | 'producerId'
    | 'producerIdExact'
    | 'baseSequence'
    | 'baseOffset'
    | 'nextOffset'
    | 'isTransactional'
    | 'isControl'
  > &
  Pick<BatchView, 'records'>

/**
 * Who made the batch: a producer, whose sequences count; the transaction coordinator, whose markers do; or another
 * replica (also: this log itself, when it is replayed), which has checked already.
 */
export type AppendOrigin = 'client' | 'coordinator' | 'replica'

export type ProducerCheck =
  | { readonly kind: 'accept' }
  | {
      readonly kind: 'duplicate'
      readonly baseOffset: number
      readonly lastOffset: number
      /** Largest timestamp in the original, ms; `undefined` where it has none. */
      readonly timestamp: number | undefined
    }

/** A transaction that a marker has ended. */
export interface CompletedTransaction {
  readonly producerId: number
  readonly firstOffset: number
  /** Offset of the marker. */
  readonly lastOffset: number
  readonly aborted: boolean
  /** First offset of the earliest other open transaction at that moment, else the marker's offset + 1. */
  readonly lastStableOffset: number
}

/** Entry for the transaction index. */
export interface AbortedTransaction {
  readonly producerId: number
  readonly firstOffset: number
  readonly lastOffset: number
  readonly lastStableOffset: number
}

interface EndTransactionMarker {
  readonly type: 'commit' | 'abort'
  readonly coordinatorEpoch: number
  readonly timestamp: number | undefined
}

const ACCEPT: ProducerCheck = { kind: 'accept' }

/** Of the many logs that no producer writes to by name; never written to. */
const NO_ENTRIES = new Map<ProducerId, ProducerEntry>()

export class ProducerStateManager {
  #entries = NO_ENTRIES
  readonly #undecided = new UndecidedTransactions()
  #mapEndOffset: number

  /**
   * @param entries - as of a snapshot; owned by the new object.
   * @param mapEndOffset - first offset that they do not cover.
   */
  constructor(entries: Iterable<ProducerEntry> = [], mapEndOffset = 0) {
    this.#mapEndOffset = mapEndOffset
    for (const entry of entries) this.#remember(entry)
    if (this.#entries === NO_ENTRIES) return
    const open = [...this.#entries.values()].flatMap(({ producerId, currentTxnFirstOffset: firstOffset }) =>
      firstOffset === undefined ? [] : [{ producerId: Number(producerId), firstOffset }]
    )
    open.sort((one, other) => one.firstOffset - other.firstOffset)
    for (const transaction of open) this.#undecided.begin(transaction.producerId, transaction.firstOffset)
  }

  /** First offset that the state does not cover yet. */
  get mapEndOffset(): number {
    return this.#mapEndOffset
  }

  get entries(): ReadonlyMap<ProducerId, ProducerEntry> {
    return this.#entries
  }

  /** Open transactions, ascending by first offset. */
  get ongoingTransactions(): { readonly producerId: number; readonly firstOffset: number }[] {
    return this.#undecided.ongoing()
  }

  /** First offset of a transaction that is open, or whose marker is not yet below the high watermark. */
  get firstUnstableOffset(): number | undefined {
    return this.#undecided.firstOffset
  }

  /** First offset that a reader of committed data may not see: the high watermark, or less. Exclusive. */
  lastStableOffset(highWatermark: number): number {
    const first = this.#undecided.firstOffset
    return first !== undefined && first < highWatermark ? first : highWatermark
  }

  /**
   * Whether a batch may be appended next.
   *
   * @returns `duplicate` with the offsets of the original if it is in the log already and must not be written again.
   * @throws {LogError} OUT_OF_ORDER_SEQUENCE `{ producerId, expected, got }` for a gap, or a repeat of a batch older
   *   than the last five.
   * @throws {LogError} INVALID_PRODUCER_EPOCH if a newer incarnation of the producer has written.
   * @throws {LogError} INVALID_TXN_STATE for a batch outside a transaction while the producer has one open.
   * @throws {LogError} TRANSACTION_COORDINATOR_FENCED for a marker of an older coordinator than the last one.
   * @throws {LogError} INVALID_RECORD for a control batch from a client, or one that is no transaction marker.
   * @throws {LogError} CORRUPT_MESSAGE for a transaction of a producer id beyond 2^53 - 1.
   */
  check(batch: ProducerBatch, origin: AppendOrigin): ProducerCheck {
    if (origin === 'replica') return ACCEPT
    if (batch.isControl) {
      if (origin === 'client') throw new LogError('INVALID_RECORD', 'a client may not write control records')
      this.#checkMarker(batch)
      return ACCEPT
    }
    return batch.hasProducerId ? this.#checkData(batch) : ACCEPT
  }

  /**
   * Takes in a batch that has its offsets. Batches are applied once each, in order.
   *
   * @returns the transaction that this batch has ended, if it is a marker and one was open.
   */
  apply(batch: ProducerBatch): CompletedTransaction | undefined {
    this.#mapEndOffset = batch.nextOffset
    if (!batch.hasProducerId) return undefined
    if (batch.isControl) return this.#applyMarker(batch)
    const begins = batch.isTransactional ? batch.producerId : undefined
    const entry = this.#entryOf(batch)
    entry.addBatch(batch)
    if (begins !== undefined && entry.currentTxnFirstOffset === undefined) {
      entry.currentTxnFirstOffset = batch.baseOffset
      this.#undecided.begin(begins, batch.baseOffset)
    }
    return undefined
  }

  /** As `apply` for batches without a producer id, when the owner knows that and has no view of them. */
  advanceTo(nextOffset: number): void {
    this.#mapEndOffset = nextOffset
  }

  /** What the transaction index has to say of a transaction that `apply` reported; nothing if it was committed. */
  completeTransaction(completed: CompletedTransaction): AbortedTransaction | undefined {
    if (!completed.aborted) return undefined
    const { producerId, firstOffset, lastOffset, lastStableOffset } = completed
    return { producerId, firstOffset, lastOffset, lastStableOffset }
  }

  /** Lets go of transactions whose markers are below the high watermark. */
  onHighWatermark(highWatermark: number): void {
    this.#undecided.onHighWatermark(highWatermark)
  }

  /** The log now begins at `logStartOffset`: what was decided below it is settled. */
  onLogStartOffset(logStartOffset: number): void {
    this.#undecided.onHighWatermark(logStartOffset)
    this.#mapEndOffset = Math.max(this.#mapEndOffset, logStartOffset)
  }

  /**
   * Forgets producers that have been silent for `afterMs` or longer and have no transaction open.
   *
   * @param now - wall clock, ms.
   * @returns how many.
   */
  removeExpired(now: number, afterMs: number): number {
    const before = this.#entries.size
    for (const entry of this.#entries.values()) {
      const silent = entry.lastTimestamp === undefined || now - entry.lastTimestamp >= afterMs
      if (silent && entry.currentTxnFirstOffset === undefined) this.#entries.delete(entry.producerId)
    }
    return before - this.#entries.size
  }

  /** A copy that shares nothing with this one. */
  clone(): ProducerStateManager {
    const copy = new ProducerStateManager([], this.#mapEndOffset)
    for (const entry of this.#entries.values()) copy.#remember(entry.clone())
    copy.#undecided.copyFrom(this.#undecided)
    return copy
  }

  #checkData(batch: ProducerBatch): ProducerCheck {
    // The transaction index and its readers count on a number.
    const entry = this.#entries.get(batch.isTransactional ? batch.producerId : producerIdOf(batch))
    // Unknown, or forgotten since (retention, expiry): any sequence may be the first one.
    if (entry === undefined) return ACCEPT
    const original = entry.findRepeated(batch)
    if (original !== undefined) {
      const { firstOffset: baseOffset, lastOffset, timestamp } = original
      return { kind: 'duplicate', baseOffset, lastOffset, timestamp }
    }
    checkEpoch(entry, batch.producerEpoch)
    checkSequence(entry, batch.producerEpoch, batch.baseSequence)
    const { producerId, currentTxnFirstOffset } = entry
    if (currentTxnFirstOffset !== undefined && !batch.isTransactional) {
      const message =
        `producer ${producerId} has a transaction open since offset ${currentTxnFirstOffset} ` +
        'and may not write outside it'
      throw new LogError('INVALID_TXN_STATE', message, { producerId, currentTxnFirstOffset })
    }
    return ACCEPT
  }

  #checkMarker(batch: ProducerBatch): void {
    const marker = batch.hasProducerId ? readMarker(batch) : undefined
    if (marker === undefined) throw new LogError('INVALID_RECORD', 'this control batch is no transaction marker')
    const entry = this.#entries.get(batch.producerId)
    if (entry === undefined) return
    checkEpoch(entry, batch.producerEpoch)
    const { producerId, coordinatorEpoch: known = -1 } = entry
    const { coordinatorEpoch } = marker
    if (coordinatorEpoch < known) {
      const message = `coordinator epoch ${coordinatorEpoch} is fenced: producer ${producerId} has seen ${known}`
      throw new LogError('TRANSACTION_COORDINATOR_FENCED', message, { producerId, coordinatorEpoch, known })
    }
  }

  #applyMarker(batch: ProducerBatch): CompletedTransaction | undefined {
    const marker = readMarker(batch)
    // Compaction leaves a marker's batch without its record once nothing is left of the transaction. One that cannot be
    // read decides nothing: its transaction stays open, for all to see, rather than the log stay shut.
    if (marker === undefined) return undefined
    const { producerId } = batch
    const entry = this.#entryOf(batch)
    const firstOffset = entry.currentTxnFirstOffset
    entry.endTransaction({ ...marker, epoch: batch.producerEpoch })
    if (firstOffset === undefined) return undefined
    const lastOffset = batch.baseOffset
    this.#undecided.end(producerId, lastOffset)
    const lastStableOffset = this.#undecided.firstOngoingOffset ?? lastOffset + 1
    return { producerId, firstOffset, lastOffset, aborted: marker.type === 'abort', lastStableOffset }
  }

  #entryOf(batch: ProducerBatch): ProducerEntry {
    const producerId = producerIdOf(batch)
    const known = this.#entries.get(producerId)
    if (known !== undefined) return known
    const entry = new ProducerEntry({
      producerId,
      epoch: batch.producerEpoch,
      lastBatch: undefined,
      lastTimestamp: undefined,
      coordinatorEpoch: undefined,
      currentTxnFirstOffset: undefined
    })
    this.#remember(entry)
    return entry
  }

  #remember(entry: ProducerEntry): void {
    if (this.#entries === NO_ENTRIES) this.#entries = new Map()
    this.#entries.set(entry.producerId, entry)
  }
}

function producerIdOf(batch: ProducerBatch): ProducerId {
  try {
    return batch.producerId
  } catch {
    return batch.producerIdExact
  }
}

function checkEpoch(entry: ProducerEntry, epoch: number): void {
  if (epoch >= entry.epoch) return
  const { producerId, epoch: known } = entry
  const message = `producer ${producerId} has epoch ${known} already, so that ${epoch} is an old incarnation`
  throw new LogError('INVALID_PRODUCER_EPOCH', message, { producerId, epoch, known })
}

function checkSequence(entry: ProducerEntry, epoch: number, got: number): void {
  // An entry without an epoch says nothing of what came before.
  if (entry.epoch < 0) return
  const expected = epoch === entry.epoch ? entry.nextSequence : 0
  if (got === expected) return
  const { producerId } = entry
  const message = `producer ${producerId} continues with sequence ${got} where ${expected} is next`
  throw new LogError('OUT_OF_ORDER_SEQUENCE', message, { producerId, epoch, expected, got })
}

/** `undefined` for a batch without records, for control records of other kinds, and for what cannot be read (M2). */
function readMarker(batch: ProducerBatch): EndTransactionMarker | undefined {
  try {
    // Whoever hands a batch in has checked its CRC.
    const cursor = batch.records({ checkCrc: false })
    if (!cursor.next()) return undefined
    const { type, coordinatorEpoch } = parseControlRecord(cursor.key(), cursor.value())
    if ((type !== 'commit' && type !== 'abort') || coordinatorEpoch === undefined) return undefined
    return { type, coordinatorEpoch, timestamp: cursor.timestamp < 0 ? undefined : cursor.timestamp }
  } catch (error) {
    if (isLogError(error)) return undefined
    throw error
  }
}
