/**
 * The current value of each key of a log, in memory, kept up to date: a `Map` that follows the log.
 *
 * Invariants:
 *   V1  The view shows what reading the log up to `offset` gives: for each key the value of its last record below
 *       `offset`; nothing for tombstones, nor of what lies below the log start.
 *   V2  Nothing is shown that the log has not: after a cut of the log's end below `offset` the view refuses until it has
 *       read the log anew. Records below a raised log start are gone from it at once.
 *   V3  A view whose following failed shows nothing any more: whoever asks gets the failure.
 *
 * Compaction takes away only what the view has replaced already. Where it overtook the view, which lags behind by more
 * than `delete.retention.ms` then, tombstones that the view has not seen may be gone: the log is read anew beside what
 * is shown, and then takes its place.
 */
import { LogError } from '../util/errors.ts'
import { type FollowOptions, type LatestSource, LatestTable, type ViewKey } from './latest-table.ts'
import { ReaderWaiters } from './offset-waiters.ts'
import type { Isolation } from './types.ts'

/** What a view knows of a key. */
export interface ViewEntry<V> {
  readonly value: V
  /** Of the record that holds the value. */
  readonly offset: number
  /** Of that record, ms; -1 none. */
  readonly timestamp: number
}

/** `closed`: by its own `close`, its signal, or because the log closed. It keeps what it had at that moment. */
export type ViewCondition = 'following' | 'closed' | 'failed'

export class LatestView<K extends ViewKey = string, V = Buffer> implements ReadonlyMap<K, V>, AsyncDisposable {
  readonly #source: LatestSource
  readonly #isolation: Isolation
  readonly #newTable: () => LatestTable<K, V>
  readonly #stop = new AbortController()
  readonly #waiting = new ReaderWaiters()
  #shown: LatestTable<K, V>
  /** Read anew, to take the place of what is shown. */
  #next: LatestTable<K, V> | undefined
  #condition: ViewCondition = 'following'
  #failure: unknown
  /** As they were when following ended. */
  #lastStart = 0
  #wasCut = false
  #following: Promise<void> = Promise.resolve()

  /** See `LatestRecords.follow`. */
  static async open<K extends ViewKey, V>(
    source: LatestSource,
    from: { isolation: Isolation; signal: AbortSignal | undefined },
    options: FollowOptions<K, V>
  ): Promise<LatestView<K, V>> {
    const { isolation, signal } = from
    signal?.throwIfAborted()
    const view = new LatestView(source, isolation, () => new LatestTable(source, isolation, options))
    const abort = (): void => view.#stop.abort()
    signal?.addEventListener('abort', abort, { once: true })
    view.#following = view.#follow().finally(() => signal?.removeEventListener('abort', abort))
    try {
      await view.caughtUp(signal === undefined ? {} : { signal })
      return view
    } catch (error) {
      await view.close()
      throw error
    }
  }

  private constructor(source: LatestSource, isolation: Isolation, newTable: () => LatestTable<K, V>) {
    this.#source = source
    this.#isolation = isolation
    this.#newTable = newTable
    this.#shown = newTable()
  }

  /** Everything below is in the view. Exclusive. */
  get offset(): number {
    return this.#isCut ? this.#start : Math.max(this.#shown.offset, this.#start)
  }

  get condition(): ViewCondition {
    return this.#condition
  }

  /** What ended the following, where that failed. */
  get failure(): unknown {
    return this.#failure
  }

  /**
   * The value of a key; `undefined` if it has none.
   *
   * @throws {LogError} INVALID_RECORD if `values` cannot decode it; other keys are not affected.
   * @throws {LogError} OFFSET_OUT_OF_RANGE while the log is being read anew after a cut of its end: `caughtUp` waits.
   * @throws what ended the following, if it failed.
   */
  get(key: K): V | undefined {
    const table = this.#table()
    const held = table.entry(key, this.#start)
    return held === undefined ? undefined : table.valueOf(held)
  }

  /** The value of a key, with offset and timestamp of its record. @throws as `get`. */
  entry(key: K): ViewEntry<V> | undefined {
    const table = this.#table()
    const held = table.entry(key, this.#start)
    if (held === undefined) return undefined
    return { value: table.valueOf(held), offset: held.offset, timestamp: held.timestamp }
  }

  /** @throws as `get`, but for INVALID_RECORD. */
  has(key: K): boolean {
    return this.#table().entry(key, this.#start) !== undefined
  }

  /** Keys that have a value. @throws as `has`. */
  get size(): number {
    return this.#table().entries(this.#start).size
  }

  /** In the order in which the keys first got a value. The view may change between two steps, as any Map may. */
  keys(): MapIterator<K> {
    return this.#table().entries(this.#start).keys()
  }

  /** As `keys`. @throws as `get`. */
  *values(): MapIterator<V> {
    const table = this.#table()
    for (const held of table.entries(this.#start).values()) yield table.valueOf(held)
  }

  /** As `keys`. @throws as `get`. */
  *entries(): MapIterator<[K, V]> {
    const table = this.#table()
    for (const [key, held] of table.entries(this.#start)) yield [key, table.valueOf(held)]
  }

  [Symbol.iterator](): MapIterator<[K, V]> {
    return this.entries()
  }

  forEach(callback: (value: V, key: K, map: ReadonlyMap<K, V>) => void, thisArg?: unknown): void {
    for (const [key, value] of this) callback.call(thisArg, value, key, this)
  }

  /**
   * Resolves when the record at `offset` is in the view: to read what one wrote, one waits for the `lastOffset` of its
   * acknowledgement.
   *
   * @throws {LogError} LOG_CLOSED if view or log close first; what ended the following, if it failed.
   * @throws the signal's reason when it aborts first.
   */
  async reached(offset: number, { signal }: { signal?: AbortSignal } = {}): Promise<void> {
    if (!Number.isSafeInteger(offset))
      throw new LogError('OFFSET_OUT_OF_RANGE', `${this.#source.name}: ${offset} is no offset.`, { offset })
    while (this.#condition === 'failed' || this.#isCut || this.offset <= offset) {
      this.#assertFollows()
      await this.#waiting.wait(offset, this.#isolation, signal)
    }
  }

  /** Resolves when all that readers of the log can see at the moment is in the view. @throws as `reached`. */
  caughtUp(options: { signal?: AbortSignal } = {}): Promise<void> {
    return this.reached(this.#source.log.bound(this.#isolation) - 1, options)
  }

  /** Stops following. The view keeps what it has. Idempotent. */
  async close(): Promise<void> {
    this.#stop.abort()
    await this.#following
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  get #start(): number {
    return this.#condition === 'following' ? this.#source.log.logStartOffset : this.#lastStart
  }

  get #isCut(): boolean {
    return this.#condition === 'following' ? this.#shown.isCut : this.#wasCut
  }

  /** V2, V3. */
  #table(): LatestTable<K, V> {
    if (this.#condition === 'failed') throw this.#failure
    if (!this.#isCut) return this.#shown
    const { name, log } = this.#source
    const { logStartOffset } = log
    const message = `${name} was cut below what this view had taken in, and is being read anew. "await view.caughtUp()" waits until that is done.`
    throw new LogError('OFFSET_OUT_OF_RANGE', message, { offset: this.#shown.offset, logStartOffset })
  }

  #assertFollows(): void {
    if (this.#condition === 'failed') throw this.#failure
    if (this.#condition === 'following') return
    throw new LogError('LOG_CLOSED', `${this.#source.name}: this view closed at offset ${this.offset}.`)
  }

  async #follow(): Promise<void> {
    try {
      await this.#takeInAll()
      this.#end('closed')
    } catch (error) {
      this.#failure = error
      this.#end('failed')
      this.#source.failed(error)
    }
  }

  #end(condition: ViewCondition): void {
    this.#lastStart = this.#source.log.logStartOffset
    this.#wasCut = this.#shown.isCut
    this.#condition = condition
    this.#waiting.wakeAll()
  }

  async #takeInAll(): Promise<void> {
    const { log } = this.#source
    const { signal } = this.#stop
    while (!signal.aborted && !log.isClosed) {
      const table = this.#next ?? this.#shown
      const bound = log.bound(this.#isolation)
      if (table.isCut || table.isOvertaken) this.#next = this.#newTable()
      else if (table.offset < bound) await table.takeIn(bound, signal)
      else if (table === this.#next) {
        this.#shown = table
        this.#next = undefined
      } else {
        await this.#waitBeyond(table.offset)
        continue
      }
      if (this.#waiting.size > 0) this.#waiting.notify(() => (this.#shown.isCut ? -1 : this.#shown.offset))
    }
  }

  async #waitBeyond(offset: number): Promise<void> {
    const { signal } = this.#stop
    try {
      await this.#source.log.waitBeyond(offset, this.#isolation, signal)
    } catch (error) {
      if (!signal.aborted) throw error
    }
  }
}
