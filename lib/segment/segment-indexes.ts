import { toLogError } from '../fs/system-errors.ts'
import { isLogError, LogError } from '../util/errors.ts'
import { MiB } from '../util/sizes.ts'
import { Turn } from '../util/turn.ts'
import { CacheSlot } from './cache-slot.ts'
import { OFFSET_INDEX_SUFFIX, TIME_INDEX_SUFFIX, TRANSACTION_INDEX_SUFFIX } from './file-names.ts'
import type { IndexBuilder } from './index-builder.ts'
import { IndexFile } from './index-file.ts'
import { OFFSET_ENTRY_BYTES, OffsetIndex } from './offset-index.ts'
import { LARGEST_WHOLE_INDEX, PagedIndex } from './paged-index.ts'
import type { SegmentEnv } from './segment-types.ts'
import { TIME_ENTRY_BYTES, TimeIndex, type Timestamp, type TimestampOffset } from './time-index.ts'
import {
  type AbortedTransaction,
  isSameDigest,
  TRANSACTION_ENTRY_BYTES,
  TransactionIndex,
  type TransactionsDigest,
  transactionsDigest
} from './transaction-index.ts'

/** An index file can have entries for batches of the least size only. */
const LEAST_BATCH_BYTES = 61
/** Kafka preallocates 10 MiB; of a longer file no more is looked at. */
const LEAST_LOAD_BOUND = 16 * MiB

/** How far the files can be believed. */
export type IndexTrust =
  /** Closed in good order: just the entries, all of them. Anything else is damage. */
  | 'closed'
  /** Of a log that is being written, or was when its writer died: may lag, and go on with zeros. */
  | 'live'

/**
 * The three indexes of a segment: in memory when needed, in their files when told.
 *
 * Invariants:
 *   S1  What changes is in memory for good until its file has it; only then the cache may drop it.
 *   S2  Calls that touch the files take turns; lookups in memory wait for nobody.
 *   S3  A transaction index whose file was complete once, and was not written to since, is what it was then, or
 *       damaged: no checksum is in the file.
 */
export class SegmentIndexes {
  readonly #env: SegmentEnv
  readonly #baseOffset: number
  readonly #offsetFile: IndexFile
  readonly #timeFile: IndexFile
  readonly #transactionFile: IndexFile
  readonly #offsets = new CacheSlot<OffsetIndex>()
  readonly #times = new CacheSlot<TimeIndex>()
  readonly #transactions = new CacheSlot<TransactionIndex>()
  /** Of large indexes whose files were closed in good order. While one is in memory as a whole, its pages are not. */
  readonly #offsetPages: PagedIndex<number, OffsetIndex>
  readonly #timePages: PagedIndex<Timestamp, TimeIndex>
  /** Of the file, while nothing is to be written to it; `undefined` when that is not known. */
  #transactionsDigest: TransactionsDigest | undefined
  #turn: Turn | undefined

  /**
   * @param stem - path of the segment's files without their suffix.
   * @param digest - of the transaction index, as it was noted.
   */
  constructor(env: SegmentEnv, stem: string, baseOffset: number, onTop: string, digest?: TransactionsDigest) {
    this.#transactionsDigest = digest
    this.#env = env
    this.#baseOffset = baseOffset
    this.#offsetFile = new IndexFile(env, stem + OFFSET_INDEX_SUFFIX + onTop, OFFSET_ENTRY_BYTES)
    this.#timeFile = new IndexFile(env, stem + TIME_INDEX_SUFFIX + onTop, TIME_ENTRY_BYTES)
    this.#transactionFile = new IndexFile(env, stem + TRANSACTION_INDEX_SUFFIX + onTop, TRANSACTION_ENTRY_BYTES, true)
    this.#offsetPages = new PagedIndex(env, this.#offsetFile, OFFSET_ENTRY_BYTES, bytes =>
      OffsetIndex.parse(bytes, baseOffset)
    )
    this.#timePages = new PagedIndex(env, this.#timeFile, TIME_ENTRY_BYTES, bytes => TimeIndex.parse(bytes, baseOffset))
  }

  get #files(): readonly IndexFile[] {
    return [this.#offsetFile, this.#timeFile, this.#transactionFile]
  }

  /** In memory as a whole, or `undefined`. */
  get offsets(): OffsetIndex | undefined {
    return this.#offsets.get()
  }

  get times(): TimeIndex | undefined {
    return this.#times.get()
  }

  /**
   * The offset index, or that part of it which has what a lookup of `offset` needs: the last entry at or below it and
   * the next two, as far as there are. From memory or with a small read on the calling thread; else `undefined`.
   */
  offsetsNear(offset: number): OffsetIndex | undefined {
    return this.#offsets.get() ?? this.#offsetPages.near(offset)
  }

  /** As `offsetsNear`, of the time index and a time. */
  timesNear(timestamp: Timestamp): TimeIndex | undefined {
    return this.#times.get() ?? this.#timePages.near(timestamp)
  }

  /**
   * As `offsetsNear`, by way of the thread pool. `undefined` when the index has to be read as a whole first.
   *
   * @throws {LogError} CORRUPT_FILE when the file is not what it was.
   */
  loadOffsetsNear(offset: number): Promise<OffsetIndex | undefined> {
    return this.#offsetPages.load(offset)
  }

  /** As `loadOffsetsNear`. */
  loadTimesNear(timestamp: Timestamp): Promise<TimeIndex | undefined> {
    return this.#timePages.load(timestamp)
  }

  /**
   * The last entry of a large time index that was closed in good order, at the cost of one small read. `undefined`
   * when the index is small, or damaged there: load it.
   */
  async lastTime(): Promise<TimestampOffset | undefined> {
    const end = await this.#timeFile.lastBytes(LAST_ENTRIES * TIME_ENTRY_BYTES)
    if (end === undefined || end.size <= LARGEST_WHOLE_INDEX || end.size % TIME_ENTRY_BYTES !== 0) return undefined
    try {
      return TimeIndex.parse(end.bytes, this.#baseOffset).last
    } catch (error) {
      if (isLogError(error, 'CORRUPT_FILE')) return undefined
      throw error
    }
  }

  /**
   * Where to begin to look for the batch of `offset`, which lies near the end, by the last entries of a large offset
   * index. `undefined` when the index is small, damaged there, or these lie behind the offset: load it.
   */
  async positionNearEnd(offset: number): Promise<number | undefined> {
    const end = await this.#offsetFile.lastBytes(LAST_ENTRIES * OFFSET_ENTRY_BYTES)
    if (end === undefined || end.size <= LARGEST_WHOLE_INDEX || end.size % OFFSET_ENTRY_BYTES !== 0) return undefined
    try {
      const index = OffsetIndex.parse(end.bytes, this.#baseOffset)
      const count = index.countAtOrBelow(offset)
      return count === 0 ? undefined : index.positionAt(count - 1)
    } catch (error) {
      if (isLogError(error, 'CORRUPT_FILE')) return undefined
      throw error
    }
  }

  /** Creates the files of a new segment, empty. A transaction index of that name is none of ours and goes. */
  async create(): Promise<void> {
    const { preallocate, indexBytes } = this.#env.config()
    const room = (entryBytes: number): number => (preallocate ? Math.floor(indexBytes / entryBytes) * entryBytes : 0)
    await this.#offsetFile.create(room(OFFSET_ENTRY_BYTES))
    await this.#timeFile.create(room(TIME_ENTRY_BYTES))
    await this.#transactionFile.unlink()
    this.#transactions.hold(new TransactionIndex(this.#baseOffset), this.#env.indexCache)
  }

  /**
   * The offset index, from memory or its file.
   *
   * @param logBytes - length of the log: what points behind it is no entry of it.
   * @throws {LogError} CORRUPT_FILE when it cannot be believed, for whatever reason: rebuild it.
   */
  async loadOffsets(logBytes: number, trust: IndexTrust): Promise<OffsetIndex> {
    const present = this.#offsets.get()
    if (present !== undefined) return present
    const file = this.#offsetFile
    const bytes = await file.load(loadBound(logBytes, OFFSET_ENTRY_BYTES), { cut: trust === 'live' })
    if (bytes === undefined) throw missing(file.path)
    const index = OffsetIndex.parse(bytes, this.#baseOffset, { preallocated: trust === 'live' })
    file.loaded(index.byteLength, index.byteLength < bytes.length)
    const before = index.entryCount
    index.truncateToPosition(logBytes)
    if (index.entryCount < before && trust === 'closed') {
      throw new LogError('CORRUPT_FILE', `${file.path} points behind the end of its log`, { logBytes })
    }
    // While we read, somebody else may have loaded or rebuilt it: there is one of each.
    const meanwhile = this.#offsets.get()
    if (meanwhile !== undefined) return meanwhile
    if (trust !== 'closed' || !this.#offsetPages.take(index)) this.#offsets.lend(index, this.#env.indexCache)
    return index
  }

  /** As `loadOffsets`. */
  async loadTimes(logBytes: number, trust: IndexTrust): Promise<TimeIndex> {
    const present = this.#times.get()
    if (present !== undefined) return present
    const file = this.#timeFile
    const bytes = await file.load(loadBound(logBytes, TIME_ENTRY_BYTES), { cut: trust === 'live' })
    if (bytes === undefined) throw missing(file.path)
    const index = TimeIndex.parse(bytes, this.#baseOffset, { preallocated: trust === 'live' })
    file.loaded(index.byteLength, index.byteLength < bytes.length)
    const meanwhile = this.#times.get()
    if (meanwhile !== undefined) return meanwhile
    if (trust !== 'closed' || !this.#timePages.take(index)) this.#times.lend(index, this.#env.indexCache)
    return index
  }

  /** @throws {LogError} CORRUPT_FILE when the file is damaged: only the log's producer state can rebuild it. */
  async loadTransactions(): Promise<TransactionIndex> {
    const present = this.#transactions.get()
    if (present !== undefined) return present
    const file = this.#transactionFile
    const expected = this.#transactionsDigest
    const bytes = await file.load(LARGEST_TRANSACTION_INDEX, { cut: false })
    const index = TransactionIndex.parse(bytes ?? NOTHING, this.#baseOffset)
    // While we read, somebody may have written what we read half of.
    const isExpected = expected !== undefined && expected === this.#transactionsDigest
    if (isExpected && !isSameDigest(transactionsDigest(bytes ?? NOTHING), expected)) throw changed(file.path, expected)
    if (bytes !== undefined) file.loaded(index.byteLength, false)
    const meanwhile = this.#transactions.get()
    if (meanwhile !== undefined) return meanwhile
    this.#transactions.lend(index, this.#env.indexCache)
    return index
  }

  /**
   * Adds an aborted transaction, in memory (S1). Where the file is damaged nothing is added: the index stays damaged,
   * for everyone to see, until it is rebuilt, and that brings this transaction too.
   */
  async appendAborted(entry: AbortedTransaction): Promise<void> {
    ;(await this.#heldTransactions())?.append(entry)
  }

  get transactionsDigest(): TransactionsDigest | undefined {
    return this.#transactionsDigest
  }

  /**
   * What the file of a segment that was closed in good order has, or should have.
   *
   * @returns `undefined` if the index is damaged.
   */
  async digestOfTransactions(): Promise<TransactionsDigest | undefined> {
    if (this.#transactionsDigest !== undefined) return this.#transactionsDigest
    try {
      return (await this.loadTransactions()).digest
    } catch (error) {
      if (isLogError(error, 'CORRUPT_FILE')) return undefined
      throw error
    }
  }

  /** In memory for good, unless it is damaged. */
  async holdTransactions(): Promise<void> {
    await this.#heldTransactions()
  }

  async #heldTransactions(): Promise<TransactionIndex | undefined> {
    try {
      const index = await this.loadTransactions()
      this.#transactions.hold(index, this.#env.indexCache)
      this.#transactionsDigest = undefined
      return index
    } catch (error) {
      if (isLogError(error, 'CORRUPT_FILE')) return undefined
      throw error
    }
  }

  /** Begins the transaction index anew: what follows is told by `appendAborted`. */
  resetTransactions(): void {
    this.#transactionFile.willBeReplaced()
    this.#transactionsDigest = undefined
    this.#transactions.hold(new TransactionIndex(this.#baseOffset), this.#env.indexCache)
  }

  /** The indexes being built are these from now on. `rebuilt`: they have nothing to do with the files. */
  hold(builder: IndexBuilder, { rebuilt }: { rebuilt: boolean }): void {
    this.#offsetPages.clear()
    this.#timePages.clear()
    this.#offsets.hold(builder.offsets, this.#env.indexCache)
    this.#times.hold(builder.times, this.#env.indexCache)
    if (!rebuilt) return
    this.#offsetFile.willBeReplaced()
    this.#timeFile.willBeReplaced()
  }

  /** Lets the cache decide from now on, of what the files have. */
  lend(): void {
    const { indexCache } = this.#env
    const offsets = this.#offsets.get()
    const times = this.#times.get()
    const transactions = this.#transactions.get()
    if (offsets !== undefined && !this.#offsetFile.isBehind(offsets)) {
      if (this.#offsetPages.take(offsets)) this.#offsets.clear(indexCache)
      else this.#offsets.lend(offsets, indexCache)
    }
    if (times !== undefined && !this.#timeFile.isBehind(times)) {
      if (this.#timePages.take(times)) this.#times.clear(indexCache)
      else this.#times.lend(times, indexCache)
    }
    if (transactions === undefined || this.#transactionFile.isBehind(transactions)) return
    this.#transactionsDigest = transactions.digest
    this.#transactions.lend(transactions, indexCache)
  }

  /** Writes to the files what they lack. Not synced. */
  flush(): Promise<void> {
    return this.#inTurn(() => this.#flushFiles())
  }

  /** As `flush`, takes preallocated room back when `trim`, and syncs. True when a name in the folder is new. */
  flushAndSync({ trim }: { trim: boolean }): Promise<boolean> {
    return this.#inTurn(async () => {
      await this.#flushFiles()
      let newName = false
      for (const file of this.#files) {
        if (trim) await file.trim()
        if (await file.sync()) newName = true
      }
      return newName
    })
  }

  async #flushFiles(): Promise<void> {
    const offsets = this.#offsets.get()
    const times = this.#times.get()
    const transactions = this.#transactions.get()
    if (offsets !== undefined) await this.#offsetFile.flush(offsets)
    if (times !== undefined) await this.#timeFile.flush(times)
    if (transactions !== undefined) await this.#transactionFile.flush(transactions)
  }

  /** Drops everything at or above `offset`, in memory and in the files. All three are loaded. */
  truncateTo(offset: number): Promise<void> {
    return this.#inTurn(async () => {
      this.#transactionsDigest = undefined
      const indexes = [this.#offsets.get(), this.#times.get(), this.#transactions.get()]
      for (const [i, index] of indexes.entries()) {
        index?.truncateTo(offset)
        if (index !== undefined) await this.#files[i]?.cutTo(index.byteLength)
      }
    })
  }

  /**
   * Whether the offset or the time index file goes on behind its entries, as one does that Kafka had preallocated
   * and did not live to trim.
   */
  async haveRoomBehindEntries(): Promise<boolean> {
    const offsets = await this.#offsetFile.lastBytes(OFFSET_ENTRY_BYTES)
    if (offsets?.bytes.every(isZero) === true) return true
    // A single entry of zeros is one: time 0 at the base offset.
    const times = await this.#timeFile.lastBytes(TIME_ENTRY_BYTES)
    return times !== undefined && times.size > TIME_ENTRY_BYTES && times.bytes.every(isZero)
  }

  async unlink(): Promise<void> {
    await this.#inTurn(async () => {
      for (const file of this.#files) await file.unlink()
    })
    this.drop()
  }

  renameTo(stem: string, onTop: string): Promise<void> {
    return this.#inTurn(async () => {
      await this.#offsetFile.renameTo(stem + OFFSET_INDEX_SUFFIX + onTop)
      await this.#timeFile.renameTo(stem + TIME_INDEX_SUFFIX + onTop)
      await this.#transactionFile.renameTo(stem + TRANSACTION_INDEX_SUFFIX + onTop)
    })
  }

  /** Lets go of memory and descriptors, without writing anything. */
  async close(): Promise<void> {
    this.drop()
    for (const file of this.#files) await file.forget()
  }

  drop(): void {
    const { indexCache } = this.#env
    this.#offsets.clear(indexCache)
    this.#times.clear(indexCache)
    this.#transactions.clear(indexCache)
    this.#offsetPages.clear()
    this.#timePages.clear()
  }

  #inTurn<T>(f: () => Promise<T>): Promise<T> {
    // Most segments of a large store are never changed: they need no queue.
    this.#turn ??= new Turn()
    return this.#turn.run(f)
  }
}

const NOTHING = Buffer.alloc(0)
/** Read to know the last one: damage there is likely to show in their order. */
const LAST_ENTRIES = 512
const LARGEST_TRANSACTION_INDEX = 512 * MiB

function loadBound(logBytes: number, entryBytes: number): number {
  return Math.max(LEAST_LOAD_BOUND, (Math.ceil(logBytes / LEAST_BATCH_BYTES) + 1) * entryBytes)
}

function isZero(byte: number): boolean {
  return byte === 0
}

function changed(path: string, { bytes }: TransactionsDigest): LogError {
  const message =
    `${path} is not what it was when its segment was closed (${bytes} bytes): which transactions were aborted is not ` +
    'known. The log is whole; opening it anew builds this file again.'
  return new LogError('CORRUPT_FILE', message, { path, bytes })
}

function missing(path: string): LogError {
  return toLogError(new LogError('CORRUPT_FILE', `${path} is missing`, { path }), 'open', path)
}
