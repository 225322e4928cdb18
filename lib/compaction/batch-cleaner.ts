/**
 * What becomes of one batch: Kafka's rules (Cleaner.cleanInto, MemoryRecords.filterTo; format notes 9.5).
 *
 * A batch is copied byte for byte where all of its records stay and it needs no delete horizon. Else it is built anew
 * from the records that stay.
 *
 * Invariants:
 *   B1  No record changes: offset, timestamp, key, value and headers of those that stay are what they were.
 *   B2  A batch that stays keeps base offset, last offset, leader epoch, producer fields, codec and flags.
 *   B3  A record that no later one supersedes stays, unless it is a tombstone past its delete horizon, belongs to an
 *       aborted transaction, has no key, or its key is to be erased.
 *   B4  The last batch of a producer that the log remembers stays, though it be empty: its sequence and epoch are in it.
 */
import { BatchBuilder } from '../record/batch-builder.ts'
import { HEADER_BYTES, MAX_RECORD_OVERHEAD } from '../record/batch-format.ts'
import { BatchView } from '../record/batch-view.ts'
import { compressBatch } from '../record/encode-batch.ts'
import type { RecordCursor } from '../record/record-cursor.ts'
import type { AbortedTransaction } from '../segment/transaction-index.ts'
import { type CleaningInput, type CleaningStats, type LiveProducer, noStats } from './cleaning-types.ts'
import { ErasedKeys } from './erased-keys.ts'
import { KEYS_AT_ONCE } from './key-hash.ts'
import { KeyPlaces, type OffsetMap } from './offset-map.ts'
import type { TransactionTracker } from './transaction-tracker.ts'

/** `bytes[start, end)` is a batch that goes into the cleaned segment. */
export interface CleanedBatch {
  readonly bytes: Buffer
  readonly start: number
  readonly end: number
  /** Of the transaction index: goes with the marker that this batch is. */
  readonly aborted: AbortedTransaction | undefined
}

/** As far as the map goes; records behind are kept unseen. */
export interface CleaningMap {
  readonly map: OffsetMap
  readonly latestOffset: number
}

interface BatchVerdict {
  /** All of its records may go. */
  readonly dropsRecords: boolean
  /** The batch stays, though it be empty. */
  readonly staysEmpty: boolean
  /** A marker of a transaction of which no batch is left: it goes once its horizon has passed. */
  readonly isSpentMarker: boolean
  readonly aborted: AbortedTransaction | undefined
}

const GOES = 0
const VALUE = 1
const TOMBSTONE = 2

const DATA: BatchVerdict = { dropsRecords: false, staysEmpty: false, isSpentMarker: false, aborted: undefined }

export class BatchCleaner {
  readonly #tracker: TransactionTracker
  readonly #input: CleaningInput
  readonly #map: OffsetMap
  readonly #latestOffset: number
  readonly #decode: { readonly checkCrc: false; readonly maxDecompressedBytes?: number }
  readonly #producers: ReadonlyMap<number, LiveProducer>
  readonly #erased: ErasedKeys
  readonly #horizonMs: number
  /** Nothing goes but records of the erased keys. */
  readonly #erasesOnly: boolean
  readonly #builder = new BatchBuilder()
  #scratch = Buffer.allocUnsafeSlow(64 * 1024)
  /** For each record of the batch at hand: whether it stays, and what it is. */
  #stays = new Uint8Array(1024)
  /** Records that wait to be looked up, the number of each in its batch, and what was found. */
  readonly #places = new KeyPlaces()
  readonly #numbers = new Uint32Array(KEYS_AT_ONCE)
  readonly #lastOffsets = new Float64Array(KEYS_AT_ONCE)
  #kept = 0
  #keptTombstones = 0
  stats: CleaningStats = noStats()

  constructor(input: CleaningInput, { map, latestOffset }: CleaningMap, tracker: TransactionTracker) {
    this.#tracker = tracker
    const { settings, now, producers, eraseKeys = [], eraseOnly } = input
    const { maxDecompressedBytes } = settings
    this.#input = input
    this.#map = map
    this.#latestOffset = latestOffset
    this.#decode = maxDecompressedBytes === undefined ? { checkCrc: false } : { checkCrc: false, maxDecompressedBytes }
    this.#producers = new Map(producers.map(producer => [producer.producerId, producer]))
    this.#erased = new ErasedKeys(eraseKeys)
    this.#erasesOnly = eraseOnly !== undefined
    // Kafka's would wrap around to the past, and be left out; this one never comes.
    this.#horizonMs = Math.min(now + settings.deleteRetentionMs, Number.MAX_SAFE_INTEGER)
  }

  /**
   * @param batch - checked; valid until the answer has been used.
   * @returns what to write; `undefined` where nothing of it stays. Valid until the next call.
   * @throws {LogError} INVALID_RECORD, DECOMPRESSION_LIMIT and the like for a batch whose records cannot be read.
   */
  clean(batch: BatchView): CleanedBatch | undefined {
    const { stats } = this
    stats.batchesRead += 1
    stats.bytesRead += batch.size
    const judged = this.#judge(batch)
    const verdict = this.#erasesOnly ? { ...judged, dropsRecords: false, isSpentMarker: false } : judged
    const count = batch.recordCount
    stats.recordsRead += count
    if (verdict.dropsRecords && !verdict.staysEmpty) {
      this.#noteDropped(batch, count)
      return undefined
    }
    const cursor = verdict.dropsRecords ? undefined : this.#choose(batch)
    if (cursor === undefined) this.#noteDropped(batch, count)
    const cleaned = this.#write(batch, cursor, verdict)
    if (cleaned !== undefined) {
      stats.batchesKept += 1
      stats.recordsKept += this.#kept
      stats.bytesKept += cleaned.end - cleaned.start
      if (cleaned.bytes === batch.bytes) stats.batchesCopied += 1
    }
    return cleaned
  }

  #noteDropped(batch: BatchView, count: number): void {
    this.#kept = 0
    this.#keptTombstones = 0
    if (batch.isControl) this.stats.markersDropped += count
    else this.stats.abortedDropped += count
  }

  #judge(batch: BatchView): BatchVerdict {
    const isControl = batch.isControl
    const hasProducer = batch.hasProducerId
    if (!isControl && !hasProducer) {
      this.#tracker.onData(batch)
      return batch.nextOffset === this.#input.firstUncleanableOffset ? { ...DATA, staysEmpty: true } : DATA
    }
    const staysEmpty =
      (hasProducer && this.#isLastOfProducer(batch)) || batch.nextOffset === this.#input.firstUncleanableOffset
    if (!isControl) {
      return { dropsRecords: this.#tracker.onData(batch), staysEmpty, isSpentMarker: false, aborted: undefined }
    }
    this.stats.markersRead += batch.recordCount
    const { mayGo, stays } = this.#tracker.onMarker(batch)
    const horizon = batch.deleteHorizonMs
    const dropsRecords = mayGo && horizon !== undefined && horizon <= this.#input.now
    return { dropsRecords, staysEmpty, isSpentMarker: mayGo, aborted: stays }
  }

  /** B4. */
  #isLastOfProducer(batch: BatchView): boolean {
    const producer = this.#producers.get(batch.producerId)
    if (producer === undefined) return false
    const { lastDataOffset, producerEpoch } = producer
    if (lastDataOffset !== undefined) return batch.lastOffset === lastDataOffset
    return batch.isControl && batch.producerEpoch === producerEpoch
  }

  /** Notes for each record whether it stays. */
  #choose(batch: BatchView): RecordCursor {
    const cursor = batch.records(this.#decode)
    const count = batch.recordCount
    if (this.#stays.length < count) this.#stays = new Uint8Array(count * 2)
    this.#kept = 0
    this.#keptTombstones = 0
    if (batch.isControl) this.#keepAll(cursor)
    else this.#chooseRecords(cursor, batch)
    return cursor
  }

  #keepAll(cursor: RecordCursor): void {
    let i = 0
    while (cursor.next()) this.#keep(i++, cursor.hasValue ? VALUE : TOMBSTONE)
  }

  #chooseRecords(cursor: RecordCursor, batch: BatchView): void {
    const { stats } = this
    const { bytes } = cursor
    const stays = this.#stays
    const places = this.#places
    const latestOffset = this.#latestOffset
    const erased = this.#erased
    const erases = erased.size > 0
    const horizon = batch.deleteHorizonMs
    const keepsTombstones = horizon === undefined || this.#input.now < horizon
    places.count = 0
    for (let i = 0; cursor.next(); i += 1) {
      const { keyStart, keyEnd, offset, hasValue } = cursor
      const own = hasValue ? VALUE : TOMBSTONE
      if (erases && hasValue && keyStart >= 0 && erased.has(bytes, keyStart, keyEnd)) {
        stats.erased += 1
        stays[i] = GOES
      } else if (offset > latestOffset) {
        this.#keep(i, own)
      } else if (keyStart < 0) {
        stats.withoutKeyDropped += 1
        stays[i] = GOES
      } else {
        if (places.isFull) this.#lookUp(bytes, keepsTombstones)
        stays[i] = own
        this.#numbers[places.count] = i
        places.add(keyStart, keyEnd, offset)
      }
    }
    this.#lookUp(bytes, keepsTombstones)
  }

  #keep(i: number, own: number): void {
    this.#stays[i] = own
    this.#kept += 1
    if (own === TOMBSTONE) this.#keptTombstones += 1
  }

  /** Decides about the records that have gathered. */
  #lookUp(bytes: Buffer, keepsTombstones: boolean): void {
    const { stats } = this
    const stays = this.#stays
    const { count, offsets } = this.#places
    this.#map.getAll(bytes, this.#places, this.#lastOffsets)
    for (let j = 0; j < count; j += 1) {
      const i = this.#numbers[j]!
      const own = stays[i]!
      if (offsets[j]! >= this.#lastOffsets[j]!) {
        if (own === VALUE || keepsTombstones) {
          this.#keep(i, own)
          continue
        }
        stats.tombstonesDropped += 1
      } else {
        stats.superseded += 1
      }
      stays[i] = GOES
    }
    this.#places.count = 0
  }

  /** @param cursor - `undefined`: none of its records stays. */
  #write(batch: BatchView, cursor: RecordCursor | undefined, verdict: BatchVerdict): CleanedBatch | undefined {
    const { aborted } = verdict
    if (this.#kept === 0 || cursor === undefined) {
      return verdict.staysEmpty ? { ...this.#emptied(batch), aborted } : undefined
    }
    const isDue = !this.#erasesOnly && (this.#keptTombstones > 0 || verdict.isSpentMarker)
    const needsHorizon = isDue && batch.deleteHorizonMs === undefined
    if (this.#kept === batch.recordCount && !needsHorizon) {
      return { bytes: batch.bytes, start: batch.start, end: batch.end, aborted }
    }
    const horizon = needsHorizon ? this.#horizonMs : batch.deleteHorizonMs
    return { ...this.#rebuilt(batch, cursor, horizon), aborted }
  }

  /** The header alone, with what it says of its last offset, sequence and largest timestamp. */
  #emptied(batch: BatchView): Omit<CleanedBatch, 'aborted'> {
    this.#begin(batch, HEADER_BYTES, undefined)
    const end = this.#builder.finish({ lastOffset: batch.lastOffset, maxTimestamp: batch.maxTimestampExact })
    return { bytes: this.#scratch, start: 0, end }
  }

  #rebuilt(batch: BatchView, cursor: RecordCursor, horizon: number | undefined): Omit<CleanedBatch, 'aborted'> {
    const builder = this.#builder
    cursor.startAt(batch.baseOffset)
    const content = cursor.bytes === batch.bytes ? batch.size : cursor.bytes.length
    this.#begin(batch, HEADER_BYTES + content + this.#kept * MAX_RECORD_OVERHEAD, horizon)
    for (let i = 0; cursor.next(); i += 1) if (this.#stays[i] !== GOES) builder.copy(cursor)
    const { lastOffset } = batch
    // Under LogAppendTime it is the log's clock, whatever records are left.
    const end = builder.finish(
      batch.isLogAppendTime ? { lastOffset, maxTimestamp: batch.maxTimestampExact } : { lastOffset }
    )
    const { compression } = batch
    if (compression === 'none') return { bytes: this.#scratch, start: 0, end }
    const bytes = compressBatch(new BatchView(this.#scratch.subarray(0, end)), compression)
    return { bytes, start: 0, end: bytes.length }
  }

  #begin(batch: BatchView, room: number, horizon: number | undefined): void {
    if (this.#scratch.length < room || this.#scratch.length > 4 * Math.max(room, KEPT_SCRATCH_BYTES)) {
      this.#scratch = Buffer.allocUnsafeSlow(Math.max(room, KEPT_SCRATCH_BYTES))
    }
    const fields = {
      baseOffset: batch.baseOffset,
      leaderEpoch: batch.partitionLeaderEpoch,
      timestampType: batch.timestampType,
      now: batch.maxTimestamp,
      producerId: batch.hasProducerId ? batch.producerId : -1,
      producerEpoch: batch.producerEpoch,
      baseSequence: batch.baseSequence,
      transactional: batch.isTransactional,
      control: batch.isControl
    }
    this.#builder.begin(this.#scratch, 0, horizon === undefined ? fields : { ...fields, deleteHorizonMs: horizon })
  }
}

const KEPT_SCRATCH_BYTES = 1024 * 1024
