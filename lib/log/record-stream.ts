/**
 * Records and batches as streams: from an offset on, to a bound or following the log's end.
 *
 * Nothing is read before the consumer asks for it. What is in the page cache is read on this thread, and is still in the
 * processor's cache when it is decoded; else, from the second page on, one read goes on ahead, so that the thread pool
 * reads while this thread decodes. CRCs are checked where a batch is about to be decoded, while that takes it into the
 * processor's cache anyway. Control records are left out, and with `read_committed` the records of aborted
 * transactions, by the same rule that Kafka's consumers apply.
 */
import { BatchView } from '../record/batch-view.ts'
import { parseControlRecord } from '../record/control-record.ts'
import type { LazyRecord } from '../record/lazy-record.ts'
import type { RecordCursor } from '../record/record-cursor.ts'
import { PageBuffer, type PageOptions, StreamPlace } from './page-buffer.ts'
import type { AbortedRange, FetchResult, Isolation, StreamOptions } from './types.ts'

/** What a stream needs of its log. */
export interface StreamSource {
  readonly logStartOffset: number
  readonly isClosed: boolean
  /** Counts what takes something away that a read may have looked at. */
  readonly cuts: number
  bound(isolation: Isolation): number
  /** @throws {LogError} OFFSET_OUT_OF_RANGE */
  assertInRange(offset: number): void
  read(offset: number, options: PageOptions): Promise<FetchResult>
  /** Resolves when something beyond `offset` can be read, or the log closes; rejects when the signal aborts. */
  waitBeyond(offset: number, isolation: Isolation, signal: AbortSignal | undefined): Promise<void>
}

interface ReadAhead {
  readonly offset: number
  readonly cuts: number
  /** `undefined` when it failed: whoever needs it reads again, and meets the error. */
  readonly result: Promise<FetchResult | undefined>
}

/** Fetched batches, one result after the other; ends as `StreamOptions` says. */
export class BatchStream implements AsyncIterableIterator<FetchResult> {
  readonly #source: StreamSource
  readonly #options: StreamOptions
  readonly #isolation: Isolation
  readonly #reuse: boolean
  #next: number | undefined
  #to: number | undefined
  #done = false
  #pages = 0
  #ahead: ReadAhead | undefined
  readonly #place = new StreamPlace()
  /** With `reuse`: what the consumer looks at, and what is read into meanwhile. */
  #shown = new PageBuffer()
  #spare = new PageBuffer()

  /** @param reuse - a result is valid until the next one is asked for; none is the caller's. */
  constructor(source: StreamSource, options: StreamOptions, { reuse = false } = {}) {
    this.#source = source
    this.#options = options
    this.#isolation = options.isolation ?? 'read_uncommitted'
    this.#reuse = reuse
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async next(): Promise<IteratorResult<FetchResult>> {
    const { signal, follow } = this.#options
    if (this.#next === undefined) this.#begin()
    for (;;) {
      const offset = this.#next as number
      const isOver = this.#to !== undefined && offset >= this.#to
      if (this.#done || isOver || isAborted(signal) || this.#source.isClosed) return this.return()
      try {
        const result = await this.#take(offset)
        this.#next = result.nextOffset
        if (result.baseOffset !== undefined) {
          this.#pages += 1
          if (this.#pages > 1 && !this.#place.isWarm) this.#readAhead(result.nextOffset)
          return { value: result, done: false }
        }
        // Behind a gap that compaction left there may be more at once, or a marked hole that has to be told.
        if (result.nextOffset > offset) continue
        if (follow !== true) return this.return()
        await this.#source.waitBeyond(offset, this.#isolation, signal)
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

  /** Reads from `offset` on once more, checking every CRC: what came last did not hold. */
  async again(offset: number): Promise<FetchResult> {
    await this.#ahead?.result // a read under way is still writing to its memory
    this.#ahead = undefined
    const result = await this.#read(offset, true)
    this.#next = result.nextOffset
    return result
  }

  async #take(offset: number): Promise<FetchResult> {
    const ahead = this.#ahead
    this.#ahead = undefined
    const early = await ahead?.result
    if (ahead?.offset === offset && ahead.cuts === this.#source.cuts && early?.baseOffset !== undefined) return early
    return this.#read(offset, this.#options.checkCrc)
  }

  #readAhead(offset: number): void {
    if (offset >= Math.min(this.#to ?? Number.POSITIVE_INFINITY, this.#source.bound(this.#isolation))) return
    const { cuts } = this.#source
    const result = this.#read(offset, this.#options.checkCrc).catch(() => undefined)
    this.#ahead = { offset, cuts, result }
  }

  #read(offset: number, checkCrc: boolean | undefined): Promise<FetchResult> {
    const { maxBytes } = this.#options
    const into = this.#reuse ? this.#spare : undefined
    this.#spare = this.#shown
    if (into !== undefined) this.#shown = into
    return this.#source.read(offset, {
      isolation: this.#isolation,
      place: this.#place,
      ...(this.#to === undefined ? {} : { upTo: this.#to }),
      ...(maxBytes === undefined ? {} : { maxBytes }),
      ...(checkCrc === undefined ? {} : { checkCrc }),
      ...(into === undefined ? {} : { into })
    })
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
 * The batches of a log one by one, as cursors over their records: the quickest way through a log, without an object
 * for each record.
 *
 *     while (await scan.fill())
 *       for (let cursor = scan.next(); cursor !== undefined; cursor = scan.next())
 *         while (cursor.next()) use(cursor.offset, cursor.bytes, cursor.valueStart, cursor.valueEnd)
 *
 * A cursor, and whatever it shows, is valid until the next `fill`, which reads into the same memory: what is to be
 * kept is copied. Batches come whole: records in front of `from` are passed over, but the last batch may go on behind
 * `to`. Control batches are left out, and with `read_committed` those of aborted transactions.
 */
export class BatchScan {
  readonly #batches: BatchStream
  readonly #source: StreamSource
  readonly #from: StreamOptions['from']
  readonly #checkCrc: boolean
  readonly #filter: TransactionFilter | undefined
  #bytes: Buffer | undefined
  #at = 0
  /** Where to read on if what comes now is not sound. */
  #resume: number | undefined
  #isDamaged = false
  /** The re-read page was checked already. */
  #isChecked = false

  constructor(source: StreamSource, options: StreamOptions, { reuse = true } = {}) {
    const isolation = options.isolation ?? 'read_uncommitted'
    this.#source = source
    this.#from = options.from === 'latest' ? source.bound(isolation) : options.from
    const from = this.#from
    this.#batches = new BatchStream(
      source,
      { ...options, ...(from !== undefined && { from }), checkCrc: false },
      { reuse }
    )
    this.#checkCrc = options.checkCrc ?? true
    this.#filter = isolation === 'read_committed' ? new TransactionFilter() : undefined
  }

  /**
   * Reads on. False at the end: see `StreamOptions`.
   *
   * @throws {LogError} as `PartitionLog.read`.
   */
  async fill(): Promise<boolean> {
    let page: FetchResult
    this.#isChecked = this.#isDamaged
    if (this.#isDamaged) {
      this.#isDamaged = false
      page = await this.#batches.again(this.#resume as number)
    } else {
      const { value, done } = await this.#batches.next()
      if (done === true) return false
      page = value as FetchResult
    }
    this.#bytes = page.batches
    this.#at = 0
    this.#resume ??= this.#first
    this.#filter?.fetched(page.abortedTransactions ?? [])
    return true
  }

  /**
   * The next batch in memory; `undefined` when `fill` must be asked.
   *
   * @throws {LogError} what its records are refused for: see `BatchView.records`.
   */
  next(): RecordCursor | undefined {
    const bytes = this.#bytes
    if (bytes === undefined) return undefined
    while (this.#at < bytes.length) {
      const batch = new BatchView(bytes, this.#at)
      if (this.#checkCrc && !this.#isChecked && !batch.isSound()) {
        // Damage, or an index that leads astray. The careful way finds out, and says so.
        this.#isDamaged = true
        this.#bytes = undefined
        return undefined
      }
      this.#at = batch.end
      this.#resume = batch.nextOffset
      if (this.#filter === undefined ? batch.isControl : !this.#filter.admits(batch)) continue
      const cursor = batch.records({ checkCrc: false })
      const first = this.#first
      if (batch.baseOffset < first) cursor.startAt(first)
      return cursor
    }
    return undefined
  }

  async return(): Promise<void> {
    this.#bytes = undefined
    this.#isDamaged = false
    await this.#batches.return()
  }

  get #first(): number {
    return typeof this.#from === 'number' ? this.#from : this.#source.logStartOffset
  }
}

/**
 * Records one by one, in offset order. `for await` over the stream itself is convenient; `pages()` gives arrays of
 * records and is faster where each record takes less than a microsecond to handle.
 */
export class RecordStream implements AsyncIterableIterator<LazyRecord> {
  readonly #scan: BatchScan
  readonly #to: number
  #cursor: RecordCursor | undefined

  constructor(source: StreamSource, options: StreamOptions) {
    // Records are the consumer's, and so is the memory they lie in.
    this.#scan = new BatchScan(source, options, { reuse: false })
    this.#to = options.to ?? Number.POSITIVE_INFINITY
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
    this.#cursor = undefined
    await this.#scan.return()
    return { value: undefined, done: true }
  }

  /** The same records in arrays, some thousand at a time: for consumers that take many at once. */
  async *pages(): AsyncGenerator<LazyRecord[], void, undefined> {
    for (;;) {
      const page: LazyRecord[] = []
      for (let record = this.#nextInMemory(); record !== undefined; record = this.#nextInMemory()) {
        page.push(record)
        if (page.length === RECORDS_OF_A_PAGE) break
      }
      if (page.length > 0) yield page
      if (page.length < RECORDS_OF_A_PAGE && !(await this.#scan.fill())) return
    }
  }

  async #nextFromLog(): Promise<IteratorResult<LazyRecord>> {
    while (await this.#scan.fill()) {
      const record = this.#nextInMemory()
      if (record !== undefined) return { value: record, done: false }
    }
    return { value: undefined, done: true }
  }

  #nextInMemory(): LazyRecord | undefined {
    for (;;) {
      const cursor = this.#cursor
      if (cursor !== undefined) {
        if (cursor.next()) return cursor.offset < this.#to ? cursor.lazy() : undefined
        this.#cursor = undefined
      }
      this.#cursor = this.#scan.next()
      if (this.#cursor === undefined) return undefined
    }
  }
}

/** Few enough to be garbage before the collector first comes by. */
const RECORDS_OF_A_PAGE = 2000

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
