/**
 * Entries of the three indexes of a segment, held against its batches as these go by. Nothing is kept of the batches:
 * entries are in the order of the log, so each is looked at once.
 */

import type { CompletedTransaction } from '../log/producer-state.ts'
import type { BatchView } from '../record/batch-view.ts'
import { maxTimestampAt } from '../segment/index-builder.ts'
import { OFFSET_ENTRY_BYTES, OffsetIndex } from '../segment/offset-index.ts'
import { TIME_ENTRY_BYTES, TimeIndex, type Timestamp } from '../segment/time-index.ts'
import { TRANSACTION_ENTRY_BYTES, TransactionIndex } from '../segment/transaction-index.ts'
import { isLogError } from '../util/errors.ts'

/** What is wrong with an index, of the first entry that is. */
export interface IndexFault {
  readonly position: number
  readonly offset: number | undefined
  readonly reason: string
}

abstract class IndexCheck {
  /** An entry speaks of what lies behind the end of the log. */
  runsAhead = false
  #fault: IndexFault | undefined
  #faults = 0

  /** The first fault, and how many there are. */
  get outcome(): { readonly fault: IndexFault; readonly count: number } | undefined {
    return this.#fault === undefined ? undefined : { fault: this.#fault, count: this.#faults }
  }

  protected wrong(position: number, reason: string, offset?: number): void {
    this.#fault ??= { position, offset, reason }
    this.#faults += 1
  }

  /** `undefined`, and a fault, where the file is no index. */
  protected parse<T>(parse: () => T): T | undefined {
    try {
      return parse()
    } catch (error) {
      if (!isLogError(error, 'CORRUPT_FILE')) throw error
      this.wrong(0, error.message)
      return undefined
    }
  }

  /** Behind the entries of a preallocated file there are zeros and nothing else. */
  protected assertZerosBehind(bytes: Buffer, from: number): void {
    for (let at = from; at < bytes.length; at += 1) {
      if (bytes[at] === 0) continue
      this.wrong(at, 'behind its entries there should be nothing, or zeros')
      return
    }
  }
}

export class OffsetIndexCheck extends IndexCheck {
  readonly #index: OffsetIndex | undefined
  #entry = 0

  constructor(bytes: Buffer, baseOffset: number) {
    super()
    const preallocated = endsInZeros(bytes, OFFSET_ENTRY_BYTES)
    this.#index = this.parse(() => OffsetIndex.parse(bytes, baseOffset, { preallocated }))
    if (this.#index !== undefined) this.assertZerosBehind(bytes, this.#index.byteLength)
  }

  /** @returns what the entry of the batch at `position` says that its last offset is. */
  see({ lastOffset }: BatchView, position: number): number | undefined {
    const index = this.#index
    if (index === undefined) return undefined
    while (this.#entry < index.entryCount && index.positionAt(this.#entry) < position) {
      this.#misses(index, this.#entry)
      this.#entry += 1
    }
    if (this.#entry >= index.entryCount || index.positionAt(this.#entry) !== position) return undefined
    const offset = index.offsetAt(this.#entry)
    if (offset !== lastOffset) {
      const reason = `its entry ${this.#entry} says ${offset} of the batch at byte ${position}, whose last offset is ${lastOffset}`
      this.wrong(this.#entry * OFFSET_ENTRY_BYTES, reason, lastOffset)
    }
    this.#entry += 1
    return offset
  }

  /** Entries that lead into a damaged range are no fault of the index. */
  pass(end: number): void {
    const index = this.#index
    while (index !== undefined && this.#entry < index.entryCount && index.positionAt(this.#entry) < end)
      this.#entry += 1
  }

  finish(): void {
    const index = this.#index
    if (index === undefined || this.#entry >= index.entryCount) return
    this.runsAhead = true
    const reason = `its entry ${this.#entry} leads to byte ${index.positionAt(this.#entry)}, behind the last batch`
    this.wrong(this.#entry * OFFSET_ENTRY_BYTES, reason)
  }

  #misses(index: OffsetIndex, entry: number): void {
    const reason = `its entry ${entry} leads to byte ${index.positionAt(entry)}, where no batch begins`
    this.wrong(entry * OFFSET_ENTRY_BYTES, reason, index.offsetAt(entry))
  }
}

export class TimeIndexCheck extends IndexCheck {
  readonly #index: TimeIndex | undefined
  #entry = 0
  #largest: Timestamp = -1

  constructor(bytes: Buffer, baseOffset: number) {
    super()
    const preallocated = endsInZeros(bytes, TIME_ENTRY_BYTES)
    this.#index = this.parse(() => TimeIndex.parse(bytes, baseOffset, { preallocated }))
    if (this.#index !== undefined) this.assertZerosBehind(bytes, this.#index.byteLength)
  }

  see(batch: BatchView): void {
    const timestamp = maxTimestampAt(batch.bytes, batch.start)
    const before = this.#largest
    if (timestamp > this.#largest) this.#largest = timestamp
    const index = this.#index
    if (index === undefined) return
    for (; this.#entry < index.entryCount && index.offsetAt(this.#entry) <= batch.lastOffset; this.#entry += 1) {
      const said = index.timestampAt(this.#entry)
      const isThis = index.offsetAt(this.#entry) >= batch.baseOffset
      if (isThis && said === timestamp && timestamp > before) continue
      const reason = `its entry ${this.#entry} says that ${said} is the largest timestamp up to offset ${index.offsetAt(this.#entry)}, which is not so`
      this.wrong(this.#entry * TIME_ENTRY_BYTES, reason, index.offsetAt(this.#entry))
    }
  }

  /** @param isClosed - the segment was closed, which adds an entry with its largest timestamp. */
  finish(isClosed: boolean): void {
    const index = this.#index
    if (index === undefined) return
    if (this.#entry < index.entryCount) {
      this.runsAhead = true
      const reason = `its entry ${this.#entry} is of offset ${index.offsetAt(this.#entry)}, behind the last batch`
      this.wrong(this.#entry * TIME_ENTRY_BYTES, reason, index.offsetAt(this.#entry))
    } else if (isClosed && this.#largest >= 0 && index.last?.timestamp !== this.#largest) {
      const reason = `it lacks the entry of its largest timestamp, ${this.#largest}`
      this.wrong(index.byteLength, reason)
    }
  }
}

export class TransactionIndexCheck extends IndexCheck {
  readonly #index: TransactionIndex | undefined
  #entry = 0

  /** @param bytes - `undefined`: there is no such file, which is the rule. */
  constructor(bytes: Buffer | undefined, baseOffset: number) {
    super()
    this.#index = this.parse(() => TransactionIndex.parse(bytes ?? Buffer.alloc(0), baseOffset))
  }

  /**
   * Sees each control batch.
   *
   * @param completed - the transaction that it ended, as far as the batches before it tell.
   * @param isExact - the log is here from its first record on, without a gap: then everything must agree.
   */
  see(batch: BatchView, completed: CompletedTransaction | undefined, isExact: boolean): void {
    const index = this.#index
    if (index === undefined) return
    for (; this.#entry < index.entryCount; this.#entry += 1) {
      const entry = index.entryAt(this.#entry)
      if (entry.lastOffset > batch.baseOffset) break
      if (entry.lastOffset === batch.baseOffset && entry.producerId === batch.producerId) {
        this.#compare(entry, completed, isExact)
        this.#entry += 1
        return
      }
      this.wrong(
        this.#at,
        `its entry ${this.#entry} names a marker at offset ${entry.lastOffset}, where none is`,
        entry.lastOffset
      )
    }
    if (completed?.aborted !== true) return
    const { producerId, firstOffset, lastOffset } = completed
    const reason = `it lacks the transaction of producer ${producerId} from offset ${firstOffset}, aborted at ${lastOffset}`
    this.wrong(this.#at, reason, firstOffset)
  }

  finish(): void {
    const index = this.#index
    if (index === undefined || this.#entry >= index.entryCount) return
    const { lastOffset } = index.entryAt(this.#entry)
    this.wrong(this.#at, `its entry ${this.#entry} names a marker at offset ${lastOffset}, where none is`, lastOffset)
  }

  get #at(): number {
    return this.#entry * TRANSACTION_ENTRY_BYTES
  }

  #compare(
    entry: { readonly firstOffset: number; readonly lastStableOffset: number; readonly lastOffset: number },
    completed: CompletedTransaction | undefined,
    isExact: boolean
  ): void {
    if (completed !== undefined && !completed.aborted) {
      this.wrong(this.#at, `its entry ${this.#entry} calls a committed transaction aborted`, entry.firstOffset)
      return
    }
    const first = completed?.firstOffset
    const stable = completed?.lastStableOffset
    const agrees = isExact
      ? entry.firstOffset === first && entry.lastStableOffset === stable
      : entry.firstOffset <= (first ?? entry.lastOffset) && entry.lastStableOffset <= entry.lastOffset + 1
    if (agrees) return
    const reason = `its entry ${this.#entry} has first offset ${entry.firstOffset} and last stable offset ${entry.lastStableOffset}, the log says ${first ?? 'none'} and ${stable ?? 'none'}`
    this.wrong(this.#at, reason, entry.firstOffset)
  }
}

/** As a file is that was preallocated and not cut to its entries. */
function endsInZeros(bytes: Buffer, entryBytes: number): boolean {
  if (bytes.length < 2 * entryBytes) return false
  return bytes.subarray(bytes.length - entryBytes).every(byte => byte === 0)
}
