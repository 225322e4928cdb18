/**
 * The latest record of each key: what a log is that one keeps current values in.
 *
 *     for await (const record of log.latest()) …              each key once, in offset order
 *     const view = await log.latest().follow()                a Map that follows the log: latest-view.ts
 *
 * How the iterator finds them in bounded memory: it notes the latest offset of each key in a table (key-offsets.ts),
 * reading the log from its start until it is at the bound or the table is full; that part is a window. Then it reads
 * on to the bound and strikes out keys that have a later record there. What is left is given out with a second look at
 * the window, and the next window begins. A log whose keys fit is read twice; each further window costs two readings
 * of its own and one of all that lies behind it.
 */
import type { LazyRecord } from '../record/lazy-record.ts'
import type { RecordCursor } from '../record/record-cursor.ts'
import { isLogError, LogError } from '../util/errors.ts'
import { MiB } from '../util/sizes.ts'
import { KeyOffsets } from './key-offsets.ts'
import type { FollowOptions, LatestSource, ViewKey } from './latest-table.ts'
import { LatestView } from './latest-view.ts'
import { BatchScan } from './record-stream.ts'
import type { Isolation } from './types.ts'

export interface LatestOptions {
  /**
   * `read_committed` by default, unlike elsewhere: a record of an undecided transaction is no current value yet, and one
   * of an aborted transaction never was.
   */
  readonly isolation?: Isolation
  /** Memory of the iterator for keys, bytes: 32 for each key; 64 MiB by default, taken as it is needed. */
  readonly mapBytes?: number
  /** Aborting ends the iterator, or the following of a view, quietly. */
  readonly signal?: AbortSignal
}

const DEFAULT_MAP_BYTES = 64 * MiB
const DEFAULT_ISOLATION: Isolation = 'read_committed'

export class LatestRecords implements AsyncIterable<LazyRecord> {
  readonly #source: LatestSource
  readonly #options: LatestOptions

  constructor(source: LatestSource, options: LatestOptions) {
    this.#source = source
    this.#options = options
  }

  /**
   * The latest record of each key as of the moment the iteration begins, in offset order. Tombstones, and records
   * without a key, are left out. A record's memory is the consumer's own, and does not keep its batch in memory.
   *
   * Each key that has a value all the while comes exactly once, also when compaction or retention take records away
   * meanwhile: where compaction took the noted record because there is a later one, that later one comes, behind the
   * others. What retention took does not come. (Where the keys do not fit `mapBytes` and compaction goes on
   * meanwhile, a key may come twice, its later value last.)
   *
   * @throws {LogError} OFFSET_OUT_OF_RANGE if the log's end is cut meanwhile; otherwise as `PartitionLog.read`.
   */
  [Symbol.asyncIterator](): AsyncGenerator<LazyRecord, void, undefined> {
    return new LatestPass(this.#source, this.#options).records()
  }

  /**
   * A view that holds the current value of each key in memory and follows the log: see LatestView. Resolves when all
   * that can be read at the moment is in it.
   *
   * @param options.keys - what to find a key by: text by default (UTF-8). It must give different keys different
   *   results: `key => key.toString('hex')` does for bytes of any kind.
   * @param options.values - decodes a value when it is first asked for, and remembers what it made: `String`, or
   *   `value => JSON.parse(String(value)) as Config`. Without it values are buffers, a copy for whoever asks.
   * @throws {LogError} INVALID_RECORD for a key that `keys` cannot decode; otherwise as `PartitionLog.read`.
   */
  follow<K extends ViewKey = string, V = Buffer>(options: FollowOptions<K, V> = {}): Promise<LatestView<K, V>> {
    const { isolation = DEFAULT_ISOLATION, signal } = this.#options
    return LatestView.open(this.#source, { isolation, signal }, options)
  }
}

/** One reading, from the start of the log to the bound of the moment it begins. */
class LatestPass {
  readonly #source: LatestSource
  readonly #options: LatestOptions
  readonly #isolation: Isolation
  readonly #latest: KeyOffsets
  /** Of the log's changes, those that are known. */
  #known = 0

  constructor(source: LatestSource, options: LatestOptions) {
    this.#source = source
    this.#options = options
    this.#isolation = options.isolation ?? DEFAULT_ISOLATION
    this.#latest = new KeyOffsets(options.mapBytes ?? DEFAULT_MAP_BYTES)
  }

  async *records(): AsyncGenerator<LazyRecord, void, undefined> {
    const { log, changes } = this.#source
    this.#known = changes.count
    let from = log.logStartOffset
    for (;;) {
      const before = changes.count
      const end = log.bound(this.#isolation)
      let windows = 0
      for (; from < end && !this.#isOver; windows += 1) {
        const next = await this.#gather(from, end)
        if (next < end) await this.#strikeOut(next, end)
        yield* this.#noted(from, next)
        from = next
        if (windows > 0 || next < end) this.#latest.clear()
      }
      if (windows === 1) yield* this.#replaced(end)
      // A record that struck out an earlier one may have been replaced in turn before its window came.
      if (windows < 2 || changes.since(before).replacedUpTo === undefined) return
    }
  }

  /** Notes the latest offset of each key from `from` on. @returns where the table was full, or `end`. */
  async #gather(from: number, end: number): Promise<number> {
    const latest = this.#latest
    for await (const cursor of this.#batches(from, end)) {
      while (nextKeyed(cursor, end))
        if (!latest.set(cursor.bytes, cursor.keyStart, cursor.keyEnd, cursor.offset)) return cursor.offset
    }
    return end
  }

  /** Forgets keys that have a later record in [from, end). */
  async #strikeOut(from: number, end: number): Promise<void> {
    const latest = this.#latest
    for await (const cursor of this.#batches(from, end)) {
      while (nextKeyed(cursor, end)) latest.forget(cursor.bytes, cursor.keyStart, cursor.keyEnd)
      if (latest.size === 0) return
    }
  }

  /** The records of [from, end) that were noted and have a value; what was met is not looked for any more. */
  async *#noted(from: number, end: number): AsyncGenerator<LazyRecord, void, undefined> {
    const latest = this.#latest
    for await (const cursor of this.#batches(from, end)) {
      while (nextKeyed(cursor, end)) {
        const { bytes, keyStart, keyEnd } = cursor
        if (latest.get(bytes, keyStart, keyEnd) !== cursor.offset) continue
        latest.forget(bytes, keyStart, keyEnd)
        if (cursor.hasValue) yield cursor.copy()
      }
      if (latest.size === 0) return
    }
  }

  /**
   * What was noted and not met is gone: by retention, or because compaction found a later record, which then lies
   * behind the bound of the pass. That one may be overtaken in turn while we look for it.
   */
  async *#replaced(end: number): AsyncGenerator<LazyRecord, void, undefined> {
    const latest = this.#latest
    for (let from = end; latest.size > 0 && !this.#isOver; ) {
      const bound = this.#source.log.bound(this.#isolation)
      if (bound <= from) return
      for await (const cursor of this.#batches(from, bound)) {
        while (nextKeyed(cursor, bound)) {
          const { bytes, keyStart, keyEnd, offset } = cursor
          if (latest.get(bytes, keyStart, keyEnd) !== undefined) latest.set(bytes, keyStart, keyEnd, offset)
        }
      }
      yield* this.#noted(from, bound)
      from = bound
    }
  }

  async *#batches(from: number, end: number): AsyncGenerator<RecordCursor, void, undefined> {
    const { log } = this.#source
    const { signal } = this.#options
    const options = { to: end, isolation: this.#isolation, ...(signal !== undefined && { signal }) }
    let at = from
    while (!this.#isOver) {
      this.#assertNotCut(end)
      at = Math.max(at, log.logStartOffset)
      if (at >= end) return
      const scan = new BatchScan(log, { ...options, from: at })
      try {
        while (await scan.fill()) {
          this.#assertNotCut(end)
          for (let cursor = scan.next(); cursor !== undefined; cursor = scan.next()) {
            at = cursor.batch.nextOffset
            yield cursor
          }
        }
        return
      } catch (error) {
        // What lay here went by retention: it is no value any more.
        if (!isLogError(error, 'OFFSET_OUT_OF_RANGE') || at >= log.logStartOffset) throw error
      } finally {
        await scan.return()
      }
    }
  }

  get #isOver(): boolean {
    return this.#source.log.isClosed || this.#options.signal?.aborted === true
  }

  /** @throws {LogError} OFFSET_OUT_OF_RANGE */
  #assertNotCut(end: number): void {
    const { changes, name } = this.#source
    if (changes.count === this.#known) return
    const { truncatedTo } = changes.since(this.#known)
    this.#known = changes.count
    if (truncatedTo === undefined || truncatedTo >= end) return
    const message = `${name} was cut at offset ${truncatedTo} while its latest records up to ${end} were being read. Begin again.`
    throw new LogError('OFFSET_OUT_OF_RANGE', message, { offset: end, truncatedTo })
  }
}

/** Goes on to the next record below `end` that has a key. */
function nextKeyed(cursor: RecordCursor, end: number): boolean {
  while (cursor.next()) {
    if (cursor.offset >= end) return false
    if (cursor.hasKey) return true
  }
  return false
}
