/**
 * One partition: an append-only sequence of record batches in segment files, as Kafka lays it out.
 * Start reading here. What it consists of:
 *   appends.ts          checks an append and gives it offsets, synchronously
 *   batch-arena.ts      the memory that batches are built in
 *   writer.ts           group commit: memory to file, fdatasync, acknowledgements
 *   reader.ts           whole batches by offset; record-stream.ts: records, following the end
 *   point-reader.ts     one record by its offset
 *   latest-records.ts   the latest record of each key; latest-view.ts: a Map of them that follows the log
 *   log-engine.ts       puts these together and runs them in turn
 *   maintenance.ts      what retention and compaction ask of a log and order it to do
 *   segment-keeper.ts   roll, truncate, drop the beginning
 *   loader.ts           opening and recovery
 *   log-state.ts        the offsets and lists all of them share, with their invariants
 *
 * This class answers callers.
 */
import type { LazyRecord } from '../record/lazy-record.ts'
import type { RecordInput } from '../record/record.ts'
import { publish } from '../util/diagnostics.ts'
import { LogError } from '../util/errors.ts'
import type { AppendResult } from './acknowledgement.ts'
import { CLIENT_BATCH, END_TRANSACTION, FOLLOWER_BATCHES, RECORDS } from './append-kinds.ts'
import type { EraseOptions, EraseReceipt } from './erase-types.ts'
import type { Hold, HoldOptions } from './holds.ts'
import { type LatestOptions, LatestRecords } from './latest-records.ts'
import type { LogConfig } from './log-config.ts'
import { LogEngine } from './log-engine.ts'
import type { LogStats } from './log-metrics.ts'
import type { LogCondition } from './log-state.ts'
import type { LogMaintenance } from './maintenance.ts'
import { type OpenLogOptions, openParts } from './open-log.ts'
import { abortTransaction, type OpenTransaction, openTransactions } from './open-transactions.ts'
import { BatchScan, BatchStream, RecordStream } from './record-stream.ts'
import type { RecoveryReport } from './recovery-report.ts'
import { offsetForTimestamp, offsetOfMaxTimestamp } from './time-lookup.ts'
import type {
  AppendOptions,
  EndTransactionOptions,
  FetchResult,
  GetOptions,
  Isolation,
  ReadOptions,
  SegmentInfo,
  StreamOptions,
  TimestampedOffset
} from './types.ts'

export class PartitionLog implements AsyncDisposable {
  readonly topic: string
  readonly partition: number
  /** The partition's folder. */
  readonly dir: string
  readonly readOnly: boolean
  readonly #engine: LogEngine

  /**
   * Opens the partition in `options.dir`, recovering it when it was not closed cleanly.
   *
   * Programs use `Store.openLog`, which knows the directory's lock, settings and checkpoints.
   *
   * @throws {LogError} CORRUPT_LOG when what was durable is damaged and `onCorruption` is `fail`.
   */
  static async open(options: OpenLogOptions): Promise<PartitionLog> {
    return new PartitionLog(new LogEngine(await openParts(options)))
  }

  private constructor(engine: LogEngine) {
    const { topic, partition, dir, readOnly } = engine.parts
    this.topic = topic
    this.partition = partition
    this.dir = dir
    this.readOnly = readOnly
    this.#engine = engine
  }

  get config(): LogConfig {
    return this.#engine.state.config
  }

  /** First offset a reader may ask for. Inclusive. */
  get logStartOffset(): number {
    return this.#engine.state.logStartOffset
  }

  /** Offset the next record will get. Exclusive. */
  get logEndOffset(): number {
    return this.#engine.state.logEndOffset
  }

  /** First offset that readers do not see yet. Exclusive. */
  get highWatermark(): number {
    return this.#engine.bound('read_uncommitted')
  }

  /** First offset of an undecided transaction, or the high watermark. Exclusive. */
  get lastStableOffset(): number {
    return this.#engine.bound('read_committed')
  }

  /** Everything below is handed to the system. Exclusive. */
  get writtenOffset(): number {
    return this.#engine.state.writtenOffset
  }

  /** Everything below survives a power cut. Exclusive. */
  get durableOffset(): number {
    return this.#engine.state.durableOffset
  }

  /** Recovery after a crash begins here. */
  get recoveryPoint(): number {
    return this.#engine.state.recoveryPoint
  }

  /** Epoch of the newest batch; 0 in a log that has none. */
  get leaderEpoch(): number {
    return this.#engine.state.leaderEpoch
  }

  /** What opening found and did. */
  get recovery(): RecoveryReport {
    return this.#engine.parts.report
  }

  get condition(): LogCondition {
    return this.#engine.state.condition
  }

  /**
   * Appends records as one atomic group: all get consecutive offsets, or none is kept.
   *
   * Keys and values are strings (UTF-8), bytes, or null; they are copied before this returns. Appends that wait
   * together may share a batch on disk; their offsets are in the order of the calls.
   *
   * @returns what the log's durability promises (`batch`: after fdatasync), or more if `options.durability` asks.
   * @throws {LogError} WRONG_EXPECTED_OFFSET: something was appended since `options.expectedEndOffset`;
   *   RECORD_BATCH_TOO_LARGE, RECORD_LIST_TOO_LARGE, INVALID_RECORD, INVALID_TIMESTAMP; with a
   *   producer OUT_OF_ORDER_SEQUENCE, INVALID_PRODUCER_EPOCH, INVALID_TXN_STATE; NO_SPACE (the log goes on when there
   *   is room again); SYNC_FAILED, STORAGE_FAILED, LOG_POISONED, LOG_CLOSED, READ_ONLY.
   */
  append(records: readonly RecordInput[], options: AppendOptions = {}): Promise<AppendResult> {
    return this.#engine.submit(RECORDS, records, options)
  }

  /**
   * Appends one ready-made v2 batch as a producer sends it: base offset 0, no control bit. It is validated whole; the
   * log assigns offsets and leader epoch, everything else stays as it is unless the topic's settings say otherwise
   * (`compression.type`, LogAppendTime). `bytes` is not modified and may be reused when this returns.
   *
   * @throws {LogError} as `append`, and CORRUPT_MESSAGE, INVALID_RECORD, UNSUPPORTED_COMPRESSION_TYPE.
   * @see Kafka: LogValidator, and the format notes section 2.
   */
  appendBatch(bytes: Uint8Array, options: AppendOptions = {}): Promise<AppendResult> {
    return this.#engine.submit(CLIENT_BATCH, bytes, options)
  }

  /**
   * Appends batches that a leader has already given offsets and epochs: bytes are kept as they are.
   *
   * @throws {LogError} INVALID_RECORD unless offsets ascend from the log end offset on; CORRUPT_MESSAGE.
   */
  appendAsFollower(bytes: Uint8Array, options: AppendOptions = {}): Promise<AppendResult> {
    return this.#engine.submit(FOLLOWER_BATCHES, bytes, options)
  }

  /** Ends a producer's transaction in this partition with a commit or abort marker. */
  appendEndTransaction(marker: EndTransactionOptions, options: AppendOptions = {}): Promise<AppendResult> {
    return this.#engine.submit(END_TRANSACTION, { ...marker }, options)
  }

  /** Transactions that nobody has ended: they hold `lastStableOffset` back. Ascending by first offset. */
  openTransactions(): Promise<OpenTransaction[]> {
    return openTransactions(this, this.#engine.state)
  }

  /** Ends one with an abort marker; durable when it resolves. @throws {LogError} INVALID_TXN_STATE if none is open. */
  abortTransaction(producerId: number): Promise<AppendResult> {
    return abortTransaction(this, this.#engine.state, producerId)
  }

  /**
   * Reads whole record batches, beginning with the batch that contains `offset`.
   *
   * The first batch may therefore start below `offset`; the consumer skips. An `offset` at the bound gives an empty
   * result: nothing to read *yet*.
   *
   * @param offset - first wanted offset, in [logStartOffset, logEndOffset].
   * @throws {LogError} OFFSET_OUT_OF_RANGE if `offset` is outside that range.
   * @throws {LogError} CORRUPT_LOG if a batch is damaged. Reading stops, nothing is dropped.
   * @see Kafka protocol, Fetch: isolation_level and max_bytes.
   */
  read(offset: number, options: ReadOptions = {}): Promise<FetchResult> {
    return this.#engine.read(offset, options)
  }

  /**
   * The record at `offset`, in memory of its own; `undefined` where there is none: nothing yet at the bound, a control
   * record, a gap that compaction left, with `read_committed` a record of an aborted transaction.
   *
   * A batch that was looked into stays in a cache that all logs of a store share. From the page cache a small batch is
   * read on the calling thread, as long as such reads prove to be fast: a cold one may hold the event loop for as long
   * as the device takes.
   *
   * @param offset - in [logStartOffset, logEndOffset].
   * @throws {LogError} OFFSET_OUT_OF_RANGE, CORRUPT_LOG as `read`; what the records of its batch are refused for.
   */
  get(offset: number, options: GetOptions = {}): Promise<LazyRecord | undefined> {
    return this.#engine.get(offset, options)
  }

  /** Records one by one: see RecordStream. Nothing is read before the first `next`. */
  records(options: StreamOptions = {}): RecordStream {
    this.#engine.assertNotClosed()
    return new RecordStream(this.#engine, options)
  }

  /**
   * Cursors over the batches, in memory that is used again: see BatchScan. The quickest way through a log.
   *
   * Like every stream it reads on the calling thread as long as such reads prove to be fast, and lets the event loop
   * turn every 2 ms: a cold read may hold it for as long as the device takes, and sends those after it to the pool.
   */
  scan(options: StreamOptions = {}): BatchScan {
    this.#engine.assertNotClosed()
    return new BatchScan(this.#engine, options)
  }

  /**
   * The current value of each key, as an iterator or as a Map that follows the log: see LatestRecords. For logs of any
   * `cleanup.policy`; one that is compacted costs less to read.
   *
   * @throws {LogError} LOG_CLOSED
   */
  latest(options: LatestOptions = {}): LatestRecords {
    this.#engine.assertNotClosed()
    const { name, topic, partition } = this.#engine.parts
    const { changes } = this.#engine.state
    const failed = (error: unknown): void => publish('error', () => ({ topic, partition, error }))
    return new LatestRecords({ log: this.#engine, changes, name, failed }, options)
  }

  /** Batches as stored, one read at a time: what a server sends on. */
  batches(options: StreamOptions = {}): BatchStream {
    this.#engine.assertNotClosed()
    return new BatchStream(this.#engine, options)
  }

  /**
   * The first record whose timestamp is at or after `timestamp` (ms), as Kafka's ListOffsets answers; `undefined` when
   * there is none below the isolation's bound.
   */
  async offsetForTimestamp(
    timestamp: number | bigint,
    options: { isolation?: Isolation } = {}
  ): Promise<TimestampedOffset | undefined> {
    this.#engine.assertNotClosed()
    await this.#engine.writeGathered()
    return offsetForTimestamp(
      this.#engine.state,
      this.#engine.reader,
      timestamp,
      options.isolation ?? 'read_uncommitted'
    )
  }

  /** The first record with the largest timestamp; `undefined` in a log without one. */
  async offsetOfMaxTimestamp(): Promise<TimestampedOffset | undefined> {
    this.#engine.assertNotClosed()
    await this.#engine.writeGathered()
    return offsetOfMaxTimestamp(this.#engine.state, this.#engine.reader)
  }

  /**
   * Where the given leader epoch ends in this log, as OffsetForLeaderEpoch answers.
   *
   * @returns the largest known epoch at or below `epoch` and its end offset; `undefined` when that is unknown.
   */
  endOffsetFor(epoch: number): { readonly epoch: number; readonly endOffset: number } | undefined {
    return this.#engine.state.epochs.endOffsetFor(epoch, this.#engine.state.logEndOffset)
  }

  /**
   * Drops the suffix: every batch that holds `offset` or anything above it. Durable when it resolves.
   *
   * @throws {LogError} OFFSET_OUT_OF_RANGE for a negative offset.
   */
  async truncateTo(offset: number): Promise<void> {
    assertOffset(offset, this.#engine.parts.name)
    await this.#engine.alone(async () => {
      if (offset >= this.#engine.state.logEndOffset) return
      await this.#lowerLogStart(offset)
      await this.#engine.parts.lowerRecoveryPoint(offset)
      await this.#engine.keeper.truncateTo(offset)
      await this.#lowerHolds()
    })
  }

  /** Empties the log and lets it begin at `offset`, as a follower does that has nothing its leader still has. */
  async startAt(offset: number): Promise<void> {
    assertOffset(offset, this.#engine.parts.name)
    // Before anything is appended: under a start above it, what comes would be taken for the rest of a lost log.
    await this.#engine.alone(async () => {
      await this.#lowerLogStart(offset)
      await this.#engine.parts.lowerRecoveryPoint(offset)
      await this.#engine.keeper.startAt(offset)
      await this.#lowerHolds()
      await this.#engine.parts.persistLogStart(offset)
    })
  }

  /** What is appended from here on is held like what was there. */
  async #lowerHolds(): Promise<void> {
    const { parts, state } = this.#engine
    parts.holds.cutTo(state.logEndOffset)
    await parts.holds.persist()
  }

  /** Durably, before the log is cut below its start. */
  async #lowerLogStart(offset: number): Promise<void> {
    if (offset < this.#engine.state.logStartOffset) await this.#engine.parts.persistLogStart(offset)
  }

  /**
   * Drops the prefix: raises the log start offset to `offset`. Durable when it resolves (Kafka's is only after up to a
   * minute); files that lie wholly below it are removed.
   *
   * @returns the log start offset from now on.
   * @throws {LogError} OFFSET_OUT_OF_RANGE unless 0 <= offset <= highWatermark; POLICY_VIOLATION on a topic that is
   *   only compacted, and above a hold.
   */
  async deleteRecordsBefore(offset: number): Promise<number> {
    const { config } = this.#engine.state
    assertOffset(offset, this.#engine.parts.name)
    this.#assertBelowHighWatermark(offset)
    if (!config.cleanupPolicy.includes('delete') && config.cleanupPolicy.includes('compact')) {
      throw new LogError(
        'POLICY_VIOLATION',
        `${this.#engine.parts.name}: records of a compacted topic go by their keys, not by offset.`
      )
    }
    await this.#engine.alone(async () => {
      const { state } = this.#engine
      if (offset > state.logStartOffset) {
        // Once more: the log may have been cut while we waited.
        this.#assertBelowHighWatermark(offset)
        this.#engine.parts.holds.assertFree(offset, this.#engine.parts.name)
      }
      await this.#engine.keeper.raiseStart(offset)
      await this.#engine.keeper.dropBelowStart()
    })
    return this.#engine.state.logStartOffset
  }

  /**
   * Keeps everything from `offset` on until the same name moves its hold forward or releases it: "keep it until nobody
   * needs it". Retention and compaction stop before it, whatever their settings say, and `deleteRecordsBefore` is
   * refused. Only `eraseKey` does not ask.
   *
   * A reader that never comes back does not keep the log for ever: a hold that is not moved for 7 days, or as
   * `options` say, is broken by the next retention, which `heartwood:hold-broken` tells; the next call of this finds
   * out by what it returns.
   *
   * @param offset - in [logStartOffset, logEndOffset], and not below the hold's own.
   * @returns the hold before; `undefined` for a new one, which is durable when this resolves. A moved one is within a
   *   minute: after a crash it may hold more than it must.
   * @throws {LogError} OFFSET_OUT_OF_RANGE: what is asked for is gone, or not there yet; INVALID_REQUEST, READ_ONLY.
   */
  hold(name: string, offset: number, options: HoldOptions = {}): Promise<Hold | undefined> {
    const { parts } = this.#engine
    return this.#engine.inTurn(() => {
      this.#engine.assertInRange(offset)
      return parts.holds.hold(name, { offset, now: parts.clock.now() }, options)
    })
  }

  /** Takes a hold back. Resolves to whether there was one. */
  releaseHold(name: string): Promise<boolean> {
    return this.#engine.inTurn(() => this.#engine.parts.holds.release(name))
  }

  /** By name; those that were broken stay until their reader comes or they are released. */
  holds(): Hold[] {
    return this.#engine.parts.holds.list()
  }

  #assertBelowHighWatermark(offset: number): void {
    const { parts, state } = this.#engine
    const { highWatermark } = state
    if (offset <= highWatermark) return
    const message = `${parts.name}: cannot delete records before ${offset}, the high watermark is ${highWatermark}.`
    throw new LogError('OFFSET_OUT_OF_RANGE', message, { offset, highWatermark })
  }

  /**
   * Takes every record of a key out of the log's files, now, and proves it: for those who must forget a person. A
   * tombstone is appended first, and the active segment closed behind it; records of other keys stay as they are,
   * whatever the cleanup policy. A hold does not stand in the way of it.
   *
   * What a disk's controller keeps of blocks that were freed, backups, and files that another process has open are
   * beyond it.
   *
   * @param key - text (UTF-8) or bytes.
   * @returns a receipt; `proof.holds` says whether two scans over all files found nothing.
   * @throws {LogError} INVALID_TXN_STATE while a transaction is open; INVALID_REQUEST in a log without a store;
   *   CORRUPT_LOG; what appending throws. It can be done again.
   */
  async eraseKey(key: string | Uint8Array, options: EraseOptions = {}): Promise<EraseReceipt> {
    this.#engine.assertNotClosed()
    const { eraseKey, name } = this.#engine.parts
    if (eraseKey === undefined)
      throw new LogError('INVALID_REQUEST', `${name} was opened without a store, which erases keys.`)
    return eraseKey(this, typeof key === 'string' ? Buffer.from(key) : key, options)
  }

  /** For retention, compaction and stores: see LogMaintenance. */
  get maintenance(): LogMaintenance {
    return this.#engine.maintenance
  }

  /** New settings from now on; thresholds and rolling follow them with the next append. */
  updateConfig(config: LogConfig): void {
    this.#engine.configure(config)
  }

  /** Resolves when everything appended before the call is synced, in a log of any durability. */
  async sync(): Promise<void> {
    this.#engine.assertNotClosed()
    await this.#engine.syncAll()
  }

  /** Forgets idempotent producers that have been silent for long, and writes index entries out. A store does it every minute. */
  upkeep(): Promise<void> {
    return this.#engine.upkeep()
  }

  /** Closes the active segment, if it holds anything, and begins a new one. */
  async roll(): Promise<void> {
    await this.#engine.alone(() => this.#engine.keeper.roll(this.#engine.state.logEndOffset, 'asked'))
  }

  /** Counters since opening, and sizes now. */
  stats(): LogStats {
    return this.#engine.stats()
  }

  segments(): SegmentInfo[] {
    const { segments } = this.#engine.state
    // Read-only, a folder may have no segment yet.
    const active = segments[segments.length - 1]
    return segments.map(segment => ({
      baseOffset: segment.baseOffset,
      bytes: segment.size,
      maxTimestamp: segment.maxTimestamp,
      active: segment === active
    }))
  }

  /**
   * Writes and syncs what is left, makes the derived files final and lets go of everything. Streams that follow the
   * log end; what waits is refused with LOG_CLOSED. Idempotent.
   *
   * @param options.clean - false leaves the files as a crash would, for tests of recovery.
   * @returns `clean`: true if the next opening need not scan.
   * @throws {LogError} NO_SPACE or another error if what is left cannot be written; the log then stays open.
   */
  close(options: { clean?: boolean } = {}): Promise<{ clean: boolean }> {
    return this.#engine.close(options.clean ?? true)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

function assertOffset(offset: number, name: string): void {
  if (Number.isSafeInteger(offset) && offset >= 0) return
  throw new LogError('OFFSET_OUT_OF_RANGE', `${name}: ${offset} is no offset; they are whole numbers from 0 on.`, {
    offset
  })
}
