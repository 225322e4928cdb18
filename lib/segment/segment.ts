/**
 * One segment of a log: a .log file of batches, and the indexes derived from it.
 *
 * Invariants:
 *   G1  A batch is counted in `size` only when all its bytes were taken by the system; a failed write leaves no part.
 *   G2  Index entries come after the bytes they point to, and go before them when the log is cut.
 *   G3  Opening costs one stat. Indexes are read when something is looked up, and believed only if they were closed
 *       in good order or rebuilt here; damage in one costs a scan, never data.
 *   G4  Writing, cutting, sealing and rebuilding are the owner's to order, one at a time. Reading and looking up go
 *       on beside them.
 *
 * The bytes are those of Kafka's LogSegment (format notes 2.1, 3, 4).
 */
import { toLogError } from '../fs/system-errors.ts'
import { assert } from '../util/assert.ts'
import { assertFits, checkLength } from './batch-fit.ts'
import { filePath, LOG_SUFFIX, segmentFileName } from './file-names.ts'
import { IndexBuilder } from './index-builder.ts'
import { createLogFile, LogFile, lengthOf, removeLogFile } from './log-file.ts'
import { type NextBatch, rollCause } from './roll-rule.ts'
import { SegmentIndexes } from './segment-indexes.ts'
import { SegmentLookup } from './segment-lookup.ts'
import { type BatchVisitor, type RebuildResult, walkBatches } from './segment-rebuild.ts'
import type { BatchFacts, OpenSegmentOptions, ReadRange, RollCause, SegmentEnv } from './segment-types.ts'
import type { AbortedInRange, AbortedTransaction, TransactionsDigest } from './transaction-index.ts'

export type { NextBatch } from './roll-rule.ts'
export type { BatchVisitor, RebuildResult } from './segment-rebuild.ts'
export type * from './segment-types.ts'
export type { AbortedInRange, AbortedTransaction, TransactionsDigest } from './transaction-index.ts'

export class Segment {
  readonly baseOffset: number
  /** Wall clock when this segment was created or opened, ms. */
  readonly createdAt: number
  /** One past the last offset, where that is known: the writer sets it, the owner does for sealed segments. */
  nextOffset: number | undefined
  readonly #env: SegmentEnv
  readonly #dir: string
  readonly #readOnly: boolean
  readonly #jitter: number
  readonly #noted: TransactionsDigest | undefined
  readonly #log: LogFile
  /** On top of `.log`, `.index`. */
  #suffix: string
  /** Made when something is looked up or written: most segments of a large store just lie there. */
  #madeIndexes: SegmentIndexes | undefined
  readonly #lookup: SegmentLookup
  #writing = false
  #deleted = false
  #cuts = 0

  private constructor(env: SegmentEnv, dir: string, baseOffset: number, length: number, options: OpenSegmentOptions) {
    const { readOnly, trustIndexes, suffix = '', validBytes = length } = options
    assert(validBytes <= length, 'valid bytes are bytes of the file')
    this.baseOffset = baseOffset
    this.createdAt = env.clock.now()
    this.#env = env
    this.#dir = dir
    this.#readOnly = readOnly
    this.#jitter = env.random?.() ?? 0
    this.#suffix = suffix
    this.#noted = options.transactions
    const path = filePath(dir, segmentFileName(baseOffset, LOG_SUFFIX) + suffix)
    const log = new LogFile(env, path, { size: validBytes, length })
    const indexes = (): SegmentIndexes => this.#indexes
    this.#log = log
    this.#lookup = new SegmentLookup(env, { log, indexes, baseOffset, readOnly, closedWell: trustIndexes })
  }

  /**
   * Creates the files of an empty segment. Their names are durable only once the caller has synced the folder.
   *
   * @throws {LogError} STORAGE_FAILED if a log of that name exists and is not empty.
   */
  static async create(env: SegmentEnv, dir: string, baseOffset: number, suffix = ''): Promise<Segment> {
    const segment = new Segment(env, dir, baseOffset, 0, { readOnly: false, trustIndexes: true, suffix })
    segment.nextOffset = baseOffset
    try {
      await createLogFile(env, segment.path)
      await segment.#indexes.create()
      const { preallocate, segmentBytes } = env.config()
      if (preallocate) await segment.#log.preallocate(segmentBytes)
    } catch (error) {
      await segment.close({ clean: false }).catch(() => undefined) // its descriptors are not the next attempt's
      throw toLogError(error, 'create', segment.path)
    }
    segment.#lookup.startBuilding(IndexBuilder.empty(baseOffset), { rebuilt: false })
    return segment
  }

  /**
   * @throws {LogError} STORAGE_FAILED when there is no such file; UNSAFE_PATH when it is no regular one; CORRUPT_FILE
   *   when it is longer than a segment can be.
   */
  static async open(env: SegmentEnv, dir: string, baseOffset: number, options: OpenSegmentOptions): Promise<Segment> {
    const path = (): string => filePath(dir, segmentFileName(baseOffset, LOG_SUFFIX) + (options.suffix ?? ''))
    const length = options.length ?? (await lengthOf(env, path()))
    checkLength(path(), length)
    return new Segment(env, dir, baseOffset, length, options)
  }

  get #indexes(): SegmentIndexes {
    this.#madeIndexes ??= new SegmentIndexes(this.#env, this.#stem, this.baseOffset, this.#suffix, this.#noted)
    return this.#madeIndexes
  }

  /** Path of the files without `.log`, `.index` and what is on top. */
  get #stem(): string {
    return filePath(this.#dir, segmentFileName(this.baseOffset, ''))
  }

  /** Of the .log file. */
  get path(): string {
    return this.#log.path
  }

  /** Valid bytes of the .log file. */
  get size(): number {
    return this.#log.size
  }

  /** Something was written or cut since the last successful sync. */
  get isDirty(): boolean {
    return this.#log.isDirty
  }

  /** A write could not be taken back, or a sync failed: nothing more is written until the segment is opened anew. */
  get isBroken(): boolean {
    return this.#log.isBroken
  }

  /** Its files have all that is known of it, durably: it need not be sealed. */
  get isFinished(): boolean {
    return this.#lookup.builder === undefined && !this.isDirty && !this.isBroken
  }

  get isDeleted(): boolean {
    return this.#deleted
  }

  /** How often its end was cut off: what lies there since may be something else. */
  get cuts(): number {
    return this.#cuts
  }

  /** Index entries that still fit; each batch takes one at most. 0 while that is unknown, before the first write. */
  get indexRoom(): number {
    return this.#lookup.builder?.room(this.#env.config()) ?? 0
  }

  /** Largest timestamp as far as it is known without reading: see `largestTimestamp`. */
  get maxTimestamp(): number | undefined {
    const largest = this.#lookup.largestKnown
    return largest === undefined ? undefined : Number(largest.timestamp)
  }

  /** Whether `maxTimestamp` is final: it is `undefined` only where no record has a timestamp. */
  get knowsMaxTimestamp(): boolean {
    return this.#lookup.knowsLargest
  }

  // ---- writing

  /**
   * Appends batches in one write, then gives them index entries, in memory.
   *
   * @param bytes - the batches back to back; not kept.
   * @param batches - one for each, positions counted from the start of the file.
   * @throws {LogError} NO_SPACE and others as the system says: nothing was appended. `isBroken` tells whether the
   *   segment can go on.
   */
  async write(bytes: Buffer, batches: readonly BatchFacts[]): Promise<void> {
    this.#assertWritable()
    assertFits(this, bytes, batches)
    this.#writing = true
    try {
      if (this.#lookup.builder === undefined) await this.#lookup.activate()
      await this.#log.append(bytes)
      // Asked for only now: a rebuild may have put another one in place while we wrote.
      this.#written(this.#lookup.builder ?? (await this.#lookup.activate()), bytes, batches)
    } finally {
      this.#writing = false
    }
  }

  /**
   * As `write`, on the calling thread: for what is small enough that a hop to the thread pool would cost more. False
   * when it cannot be done so, or failed: nothing was appended, and `write` is to be called.
   */
  tryWriteSync(bytes: Buffer, batches: readonly BatchFacts[]): boolean {
    this.#assertWritable()
    const builder = this.#lookup.steadyBuilder
    assertFits(this, bytes, batches)
    if (builder === undefined || !this.#log.tryAppendSync(bytes)) return false
    this.#written(builder, bytes, batches)
    return true
  }

  #written(builder: IndexBuilder, bytes: Buffer, batches: readonly BatchFacts[]): void {
    const first = batches[0] as BatchFacts
    if (first.position === 0) this.#lookup.noteFirst(first.maxTimestamp)
    this.nextOffset = builder.addWritten(bytes, batches, this.#env.config())
  }

  /** Takes batches into account that another process has written behind `size`. For read-only segments. */
  async extend(batches: readonly BatchFacts[]): Promise<void> {
    assert(this.#readOnly, 'only what another process writes is taken over')
    const builder = await this.#lookup.activate()
    for (const { position, size, lastOffset, maxTimestamp } of batches) {
      assert(position === this.size, 'batches lie back to back')
      if (position === 0) this.#lookup.noteFirst(maxTimestamp)
      this.#log.grewTo(position + size)
      builder.add(position, lastOffset, maxTimestamp, this.#env.config())
      this.nextOffset = lastOffset + 1
    }
  }

  /** Whether the next batch goes to a new segment, and why. May read the first batch's header, once. */
  shouldRoll(batch: NextBatch, now: number): RollCause | undefined {
    const config = this.#env.config()
    const { baseOffset, size, createdAt } = this
    const firstTimestamp = this.#lookup.firstTimestampSync()
    const indexRoom = this.#lookup.builder?.room(config) ?? Number.POSITIVE_INFINITY
    const state = { baseOffset, size, createdAt, firstTimestamp, jitter: this.#jitter, indexRoom }
    return rollCause(state, batch, now, config)
  }

  /**
   * Gets the transaction index into memory, for good: after that `appendAborted` cannot fail. A damaged one stays
   * damaged, for its readers to see.
   */
  prepareAborted(): Promise<void> {
    return this.#indexes.holdTransactions()
  }

  /** Adds an aborted transaction whose marker lies here. In memory; never fails for want of space. */
  appendAborted(entry: AbortedTransaction): Promise<void> {
    return this.#indexes.appendAborted(entry)
  }

  /** fdatasync of the .log file: its indexes are derived, and never on the way of an acknowledgement. */
  datasync(): Promise<void> {
    return this.#log.datasync()
  }

  /** Writes the index entries that are in memory only to their files. Not synced; a failure harms nothing. */
  flushIndexes(): Promise<void> {
    return this.#readOnly || this.#madeIndexes === undefined ? Promise.resolve() : this.#madeIndexes.flush()
  }

  /** Everything that is in memory goes to the files, and the files to the disk. */
  async flushAll(): Promise<void> {
    this.#assertWritable()
    await this.#log.sync()
    await this.#syncIndexes({ trim: false })
  }

  /** Gives preallocated room back. Not synced. */
  trim(): Promise<void> {
    return this.#log.trim()
  }

  /**
   * Closes the segment for writing: last time index entry, no preallocated room, everything durable. After that its
   * indexes are in memory only as long as they are used. May be called again after a failure; a later write opens
   * the segment again.
   */
  async seal(): Promise<void> {
    this.#assertWritable()
    const builder = await this.#lookup.activate()
    builder.finish()
    await this.#log.trim()
    await this.#log.sync()
    await this.#syncIndexes({ trim: true })
    this.#log.letGo()
    this.#lookup.stopBuilding()
  }

  async #syncIndexes(options: { trim: boolean }): Promise<void> {
    const newName = await this.#indexes.flushAndSync(options)
    if (newName) await this.#env.fs.syncDirectory(this.#dir)
  }

  // ---- looking up and reading

  /**
   * Where to read for `offset`: one read of the range gives the batch that holds it, or the next one where compaction
   * took it away, and then about `maxBytes` more. `undefined` when the index must be read first: see `locate`.
   */
  locateSync(offset: number, maxBytes = 0): ReadRange | undefined {
    return this.#lookup.rangeSync(offset, maxBytes)
  }

  /** The batch of the first index entry at or above `offset`: the one that holds it, where each batch has an entry. */
  locateEntrySync(offset: number): ReadRange | undefined {
    return this.#lookup.entryRangeSync(offset)
  }

  /** As `locateSync`, reading the index if need be. */
  locate(offset: number, maxBytes = 0): Promise<ReadRange> {
    return this.#lookup.range(offset, maxBytes)
  }

  /** Fills `target` from `position` on, as far as there are valid bytes. Resolves to how many. */
  read(target: Buffer, position: number): Promise<number> {
    return this.#log.read(target, position)
  }

  /** As `read`, on the calling thread: for what is expected in the page cache. `undefined` if the file is not open. */
  readOpenSync(target: Buffer, position: number): number | undefined {
    return this.#log.readOpenSync(target, position)
  }

  /** Largest timestamp of any record, the nearest number; `undefined` where no record has one. */
  async largestTimestamp(): Promise<number | undefined> {
    const largest = await this.#lookup.largest()
    return largest === undefined ? undefined : Number(largest.timestamp)
  }

  /** Last offset of the batch that holds the record with the largest timestamp. */
  async offsetOfLargestTimestamp(): Promise<number | undefined> {
    return (await this.#lookup.largest())?.offset
  }

  /** From where on to look for the first record at or after a time: no record before the batch of this offset is. */
  offsetBeforeTimestamp(timestamp: number | bigint): Promise<number> {
    return this.#lookup.offsetBefore(timestamp)
  }

  /** Largest timestamp of the first batch, from which a segment's age counts. */
  get firstBatchMaxTimestamp(): Promise<number | undefined> {
    return this.#lookup.firstTimestamp()
  }

  /**
   * The aborted transactions that concern records in [from, upper) and whose marker lies here.
   *
   * @throws {LogError} CORRUPT_FILE when the transaction index is damaged: it takes the producer state to rebuild it.
   */
  async collectAborted(from: number, upper: number): Promise<AbortedInRange> {
    return (await this.#indexes.loadTransactions()).collect(from, upper)
  }

  /** Of the transaction index's file as it must be; `undefined` where that is not known, or the segment written to. */
  get knownTransactions(): TransactionsDigest | undefined {
    return this.#madeIndexes === undefined ? this.#noted : this.#madeIndexes.transactionsDigest
  }

  /** The same, found out if need be. `undefined` where the index is damaged. */
  digestOfTransactions(): Promise<TransactionsDigest | undefined> {
    return this.#indexes.digestOfTransactions()
  }

  /**
   * The batch that holds `offset`, or the next one; `undefined` when there is none. Headers only, no CRC.
   *
   * @throws {LogError} CORRUPT_LOG when what lies there is no batch.
   */
  async findBatch(offset: number): Promise<BatchFacts | undefined> {
    const { from, lastOffset } = await this.locate(offset)
    if (lastOffset !== undefined) await this.#lookup.checkEntry(from, lastOffset)
    let found: BatchFacts | undefined
    await walkBatches(this.#log, (await this.locate(offset)).from, batch => {
      if (batch.lastOffset >= offset) found = batch
      return found === undefined
    })
    return found
  }

  /** One past the last offset, read from the last index entry on. The base offset of an empty segment. */
  async findNextOffset(): Promise<number> {
    if (this.nextOffset !== undefined) return this.nextOffset
    const { from, lastOffset } = await this.locate(Number.MAX_SAFE_INTEGER)
    if (lastOffset !== undefined) await this.#lookup.checkEntry(from, lastOffset)
    let next = this.baseOffset
    await walkBatches(this.#log, (await this.locate(Number.MAX_SAFE_INTEGER)).from, batch => {
      next = batch.lastOffset + 1
      return true
    })
    this.nextOffset = next
    return next
  }

  // ---- cutting, rebuilding, closing

  /**
   * Cuts the log before the batch that holds `offset`, or before the next one, and the indexes below `offset`.
   * Durable when this resolves.
   *
   * @returns the new size, bytes.
   */
  async truncateTo(offset: number): Promise<number> {
    this.#assertWritable()
    await this.#lookup.activate()
    await this.#indexes.loadTransactions()
    const batch = await this.findBatch(offset)
    await this.#indexes.truncateTo(offset) // G2
    if (batch === undefined) {
      // It may have been rolled behind a gap: what comes next may lie in that gap.
      if (this.nextOffset !== undefined) this.nextOffset = Math.min(this.nextOffset, Math.max(offset, this.baseOffset))
      return this.size
    }
    this.#cuts += 1
    await this.#log.cutTo(batch.position)
    await this.#log.sync()
    this.nextOffset = await this.#lookup.wasCut()
    return this.size
  }

  /**
   * Cuts off what lies behind `position`, which no batch straddles: a torn tail, found by `rebuildIndexes`, whose
   * indexes reach no further. Durable when this resolves.
   */
  async cutTail(position: number): Promise<void> {
    this.#assertWritable()
    assert(position <= this.size, 'a tail is cut within the file')
    await this.#log.cutTo(position)
    await this.#log.sync()
  }

  /**
   * Reads the whole log, checks every CRC and that offsets increase, and builds the offset and time index anew, in
   * memory. The files get them with `flushIndexes` or `seal`. What does not hold ends the scan; nothing is cut.
   *
   * @param visit - sees each sound batch, valid until its promise resolves. The transaction index is not touched: a
   *   visitor that knows the producers calls `resetTransactions` before, and `appendAborted`.
   */
  async rebuildIndexes(visit?: BatchVisitor): Promise<RebuildResult> {
    const result = await this.#lookup.rebuild({ checkCrc: true, visit })
    this.nextOffset = result.nextOffset
    return result
  }

  /** As `rebuildIndexes`, for whoever has read and checked all batches up to `size`; `builder` is taken over. */
  replaceIndexes(builder: IndexBuilder): void {
    this.#lookup.startBuilding(builder, { rebuilt: true })
  }

  /** Begins the transaction index anew. */
  resetTransactions(): void {
    this.#indexes.resetTransactions()
  }

  /**
   * An index entry led to something else than it said: both indexes are rebuilt from the log. Their damage costs
   * time, never data. Look up again afterwards.
   */
  distrustIndexes(reason: string): Promise<void> {
    return this.#lookup.rebuildDamaged(reason)
  }

  /** An index file goes on with zeros behind its entries: preallocated and never trimmed, by another engine or by us. */
  indexesAreLongerThanEntries(): Promise<boolean> {
    return this.#indexes.haveRoomBehindEntries()
  }

  /** @param clean - seals the segment first if anything changed in it; otherwise files stay as they are. */
  async close({ clean }: { clean: boolean }): Promise<void> {
    try {
      if (clean && !this.#readOnly && !this.#deleted && !this.isFinished) await this.seal()
    } finally {
      this.#log.letGo()
      await this.#env.handles.forget(this.path)
      await this.#madeIndexes?.close()
      this.#lookup.drop()
    }
  }

  /** Removes the files. Reads under way finish; later ones fail. The caller syncs the folder. */
  async delete(): Promise<void> {
    assert(!this.#readOnly, 'a read-only segment is not removed')
    await removeLogFile(this.#env, this.path)
    this.#deleted = true
    this.#log.letGo()
    await this.#env.handles.forget(this.path)
    await this.#indexes.unlink()
    this.#lookup.drop()
  }

  /**
   * Renames the files, so that their names end in `suffix` beside `.log`, `.index`; `''` for a segment in use. Reads
   * go on. The caller syncs the folder.
   */
  async renameTo(suffix: string): Promise<void> {
    assert(!this.#readOnly, 'a read-only segment is not renamed')
    const indexes = this.#indexes // still under the old names
    await this.#log.moveTo(this.#stem + LOG_SUFFIX + suffix)
    this.#suffix = suffix
    await indexes.renameTo(this.#stem, suffix)
  }

  #assertWritable(): void {
    assert(!this.#readOnly, 'a read-only segment is not written to')
    assert(!this.#deleted, 'a removed segment is not written to')
    assert(!this.#writing, 'G4: one change at a time')
  }
}
