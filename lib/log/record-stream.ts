/**
 * Records and batches as streams: from an offset on, to a bound or following the log's end.
 *
 * One read ahead at a time: nothing is read before the consumer asks for it. Control records are left out, and with
 * `read_committed` the records of aborted transactions, by the same rule that Kafka's consumers apply.
 */
import { BatchView } from '../record/batch-view.ts'
import { parseControlRecord } from '../record/control-record.ts'
import type { LazyRecord } from '../record/lazy-record.ts'
import type { RecordCursor } from '../record/record-cursor.ts'
import type { AbortedRange, FetchResult, Isolation, ReadOptions, StreamOptions } from './types.ts'

/** What a stream needs of its log. */
export interface StreamSource {
  readonly logStartOffset: number
  readonly isClosed: boolean
  bound(isolation: Isolation): number
  /** @throws {LogError} OFFSET_OUT_OF_RANGE */
  assertInRange(offset: number): void
  read(offset: number, options: ReadOptions): Promise<FetchResult>
  /** Resolves when something beyond `offset` can be read, or the log closes; rejects when the signal aborts. */
  waitBeyond(offset: number, isolation: Isolation, signal: AbortSignal | undefined): Promise<void>
}

/** Fetched batches, one result after the other; ends as `StreamOptions` says. */
export class BatchStream implements AsyncIterableIterator<FetchResult> {
  readonly #source: StreamSource
  readonly #options: StreamOptions
  readonly #isolation: Isolation
  #next: number | undefined
  #to: number | undefined
  #done = false

  constructor(source: StreamSource, options: StreamOptions) {
    this.#source = source
    this.#options = options
    this.#isolation = options.isolation ?? 'read_uncommitted'
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async next(): Promise<IteratorResult<FetchResult>> {
    const { signal, follow, maxBytes, checkCrc } = this.#options
    if (this.#next === undefined) this.#begin()
    for (;;) {
      const offset = this.#next as number
      const isOver = this.#to !== undefined && offset >= this.#to
      if (this.#done || isOver || isAborted(signal) || this.#source.isClosed) return this.return()
      try {
        const result = await this.#source.read(offset, {
          isolation: this.#isolation,
          ...(this.#to === undefined ? {} : { upTo: this.#to }),
          ...(maxBytes === undefined ? {} : { maxBytes }),
          ...(checkCrc === undefined ? {} : { checkCrc })
        })
        this.#next = result.nextOffset
        if (result.baseOffset !== undefined) return { value: result, done: false }
        // A bound that is not the log's own may lie in a gap that compaction left: nothing is there to come.
        if (follow !== true) return this.return()
        // Behind a gap there may be more at once.
        if (result.nextOffset === offset) await this.#source.waitBeyond(offset, this.#isolation, signal)
      } catch (error) {
        if (isAborted(signal) || this.#source.isClosed) return this.return()
        throw error
      }
    }
  }

  async return(): Promise<IteratorReturnResult<undefined>> {
    this.#done = true
    return { value: undefined, done: true }
  }

  #begin(): void {
    const { from, to, follow } = this.#options
    const bound = this.#source.bound(this.#isolation)
    if (from === undefined || from === 'earliest') this.#next = this.#source.logStartOffset
    else this.#next = from === 'latest' ? bound : from
    this.#to = to ?? (follow === true ? undefined : Math.max(bound, this.#next))
    // Asking for what does not exist is an error also where there would be nothing to read.
    this.#source.assertInRange(this.#next)
  }
}

/** A signal changes behind the compiler's back. */
function isAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true
}

/**
 * Records one by one, in offset order. `for await` over the stream itself is convenient; `pages()` gives arrays of
 * records and is faster where each record takes less than a microsecond to handle.
 */
export class RecordStream implements AsyncIterableIterator<LazyRecord> {
  readonly #batches: BatchStream
  readonly #from: () => number
  readonly #to: number
  readonly #filter: TransactionFilter | undefined
  #bytes: Buffer | undefined
  #at = 0
  #cursor: RecordCursor | undefined

  constructor(source: StreamSource, options: StreamOptions) {
    const isolation = options.isolation ?? 'read_uncommitted'
    const from = options.from
    const latest = from === 'latest' ? source.bound(isolation) : undefined
    this.#batches = new BatchStream(source, latest === undefined ? options : { ...options, from: latest })
    const first = latest ?? (typeof from === 'number' ? from : undefined)
    this.#from = () => first ?? source.logStartOffset
    this.#to = options.to ?? Number.POSITIVE_INFINITY
    this.#filter = isolation === 'read_committed' ? new TransactionFilter() : undefined
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  next(): Promise<IteratorResult<LazyRecord>> {
    try {
      const record = this.#nextInMemory()
      if (record !== undefined) return Promise.resolve({ value: record, done: false })
    } catch (error) {
      return Promise.reject(error)
    }
    return this.#nextFromLog()
  }

  async return(): Promise<IteratorReturnResult<undefined>> {
    this.#bytes = undefined
    this.#cursor = undefined
    return this.#batches.return()
  }

  /** The same records in arrays, one per read of the log: for consumers that take many at once. */
  async *pages(): AsyncGenerator<LazyRecord[], void, undefined> {
    for (;;) {
      const page: LazyRecord[] = []
      for (let record = this.#nextInMemory(); record !== undefined; record = this.#nextInMemory()) page.push(record)
      if (page.length > 0) yield page
      if (!(await this.#fetch())) return
    }
  }

  async #nextFromLog(): Promise<IteratorResult<LazyRecord>> {
    while (await this.#fetch()) {
      const record = this.#nextInMemory()
      if (record !== undefined) return { value: record, done: false }
    }
    return { value: undefined, done: true }
  }

  async #fetch(): Promise<boolean> {
    const result = await this.#batches.next()
    if (result.done === true) return false
    this.#bytes = result.value.batches
    this.#at = 0
    this.#filter?.fetched(result.value.abortedTransactions ?? [])
    return true
  }

  #nextInMemory(): LazyRecord | undefined {
    for (;;) {
      const cursor = this.#cursor
      if (cursor !== undefined) {
        while (cursor.next()) {
          if (cursor.offset < this.#from()) continue
          if (cursor.offset >= this.#to) return undefined
          return cursor.lazy()
        }
        this.#cursor = undefined
      }
      const bytes = this.#bytes
      if (bytes === undefined || this.#at >= bytes.length) return undefined
      const batch = new BatchView(bytes, this.#at)
      this.#at = batch.end
      // The read has checked the CRC (or was told not to).
      if (this.#filter === undefined ? !batch.isControl : this.#filter.admits(batch))
        this.#cursor = batch.records({ checkCrc: false })
    }
  }
}

/** Drops the data of aborted transactions, as Kafka's Fetcher does with the list that a fetch carries. */
export class TransactionFilter {
  #aborted: readonly AbortedRange[] = []
  #next = 0
  readonly #active = new Set<number>()

  fetched(aborted: readonly AbortedRange[]): void {
    this.#aborted = aborted
    this.#next = 0
  }

  /** False for control batches and for data of an aborted transaction. Batches come in offset order. */
  admits(batch: BatchView): boolean {
    while (this.#next < this.#aborted.length) {
      const range = this.#aborted[this.#next] as AbortedRange
      if (range.firstOffset > batch.lastOffset) break
      this.#active.add(range.producerId)
      this.#next += 1
    }
    if (batch.isControl) {
      if (this.#active.size > 0 && isAbortMarker(batch)) this.#active.delete(batch.producerId)
      return false
    }
    return !(batch.isTransactional && this.#active.has(batch.producerId))
  }
}

function isAbortMarker(batch: BatchView): boolean {
  const cursor = batch.records({ checkCrc: false })
  return cursor.next() && parseControlRecord(cursor.key(), cursor.value()).type === 'abort'
}
