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
import { dirname, join } from 'node:path'
import { isSystemError, toLogError } from '../fs/system-errors.ts'
import { HEADER_BYTES } from '../record/batch-format.ts'
import type { BatchView } from '../record/batch-view.ts'
import { assert } from '../util/assert.ts'
import { isLogError, LogError } from '../util/errors.ts'
import { MiB } from '../util/sizes.ts'
import { LOG_SUFFIX, segmentFileName } from './file-names.ts'
import { IndexBuilder, maxTimestampAt } from './index-builder.ts'
import { LogFile } from './log-file.ts'
import type { OffsetIndex } from './offset-index.ts'
import { type NextBatch, rollCause } from './roll-rule.ts'
import { BatchScanner, isZeroFilled, type ScanEnd } from './scan.ts'
import { SegmentIndexes } from './segment-indexes.ts'
import type { BatchFacts, ReadRange, RollCause, SegmentEnv } from './segment-types.ts'
import type { TimeIndex, Timestamp } from './time-index.ts'
import type { AbortedInRange, AbortedTransaction } from './transaction-index.ts'

export type { NextBatch } from './roll-rule.ts'
export type { BatchFacts, IndexRebuilt, ReadRange, RollCause, SegmentConfig, SegmentEnv } from './segment-types.ts'
export type { AbortedInRange, AbortedTransaction } from './transaction-index.ts'

const MAX_INT32 = 2 ** 31 - 1
/** A range is never longer than this beyond what was asked for, whatever an index lags behind. */
const LARGEST_RANGE_BYTES = 8 * MiB
/** Read at a time where only a few headers are wanted. */
const LOOK_BYTES = 64 * 1024

export interface OpenSegmentOptions {
  /** Nothing is written, whatever is called. */
  readonly readOnly: boolean
  /** The log was closed in good order, so its index files hold just the right entries. */
  readonly trustIndexes: boolean
  /** What the files' names end in beside `.log`, `.index`: `.swap`, `.cleaned`. */
  readonly suffix?: string
}

export interface RebuildResult {
  /** Bytes from the start that are sound batches in order. */
  readonly validBytes: number
  readonly end: ScanEnd['kind']
  /** What is wrong behind them. */
  readonly reason?: string
  /** Where the scan ended: `validBytes`. */
  readonly position: number
  /** One past the last offset; the base offset of an empty segment. */
  readonly nextOffset: number
  /** Whatever lies behind `validBytes` is zeros: preallocated room, or what a power cut leaves of a tail. */
  readonly zerosToEnd: boolean
}

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
  readonly #log: LogFile
  readonly #indexes: SegmentIndexes
  /** Whether the index files can be believed as they are. */
  #trustFiles: boolean
  /** Present while entries are added: in the active segment, and after a rebuild until it is sealed. */
  #builder: IndexBuilder | undefined
  /** Largest timestamp of the first batch; `undefined` unknown, `'none'` when it has none. */
  #firstTimestamp: number | 'none' | undefined
  #largest: { timestamp: Timestamp; offset: number } | 'none' | undefined
  #rebuilding: Promise<void> | undefined
  #writing = false
  #deleted = false

  private constructor(env: SegmentEnv, dir: string, baseOffset: number, size: number, options: OpenSegmentOptions) {
    const onTop = options.suffix ?? ''
    this.baseOffset = baseOffset
    this.createdAt = env.clock.now()
    this.#env = env
    this.#dir = dir
    this.#readOnly = options.readOnly
    this.#trustFiles = options.trustIndexes
    this.#jitter = env.random?.() ?? 0
    const stem = join(dir, segmentFileName(baseOffset, ''))
    this.#log = new LogFile(env, stem + LOG_SUFFIX + onTop, size)
    this.#indexes = new SegmentIndexes(env, stem, baseOffset, onTop)
  }

  /**
   * Creates the files of an empty segment. Their names are durable only once the caller has synced the folder.
   *
   * @throws {LogError} STORAGE_FAILED if a log of that name exists and is not empty.
   */
  static async create(env: SegmentEnv, dir: string, baseOffset: number, suffix = ''): Promise<Segment> {
    const segment = new Segment(env, dir, baseOffset, 0, { readOnly: false, trustIndexes: true, suffix })
    segment.nextOffset = baseOffset
    segment.#largest = 'none'
    try {
      await createLogFile(env, segment.path)
      await segment.#indexes.create()
      const { preallocate, segmentBytes } = env.config()
      if (preallocate) await segment.#log.preallocate(segmentBytes)
    } catch (error) {
      throw toLogError(error, 'create', segment.path)
    }
    segment.#startBuilding(IndexBuilder.empty(baseOffset), { rebuilt: false })
    return segment
  }

  /**
   * @throws {LogError} STORAGE_FAILED when there is no such file; UNSAFE_PATH when it is no regular one; CORRUPT_FILE
   *   when it is longer than a segment can be.
   */
  static async open(env: SegmentEnv, dir: string, baseOffset: number, options: OpenSegmentOptions): Promise<Segment> {
    const path = join(dir, segmentFileName(baseOffset, LOG_SUFFIX) + (options.suffix ?? ''))
    const stat = await env.fs.stat(path).catch(error => {
      throw toLogError(error, 'open', path)
    })
    if (stat === undefined) throw new LogError('STORAGE_FAILED', `${path} is missing`, { path, system: 'ENOENT' })
    if (stat.kind !== 'file') throw new LogError('UNSAFE_PATH', `${path} is no regular file`, { path, kind: stat.kind })
    if (stat.size > MAX_INT32) {
      throw new LogError('CORRUPT_FILE', `${path} has ${stat.size} bytes: more than a segment can have`, { path })
    }
    return new Segment(env, dir, baseOffset, stat.size, options)
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

  get isDeleted(): boolean {
    return this.#deleted
  }

  /** Index entries that still fit; each batch takes one at most. 0 while that is unknown, before the first write. */
  get indexRoom(): number {
    return this.#builder?.room(this.#env.config()) ?? 0
  }

  /** Largest timestamp as far as it is known without reading: see `largestTimestamp`. */
  get maxTimestamp(): number | undefined {
    const largest = this.#builder?.largest ?? this.#largest
    return largest === undefined || largest === 'none' ? undefined : Number(largest.timestamp)
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
    assert(!this.#writing, 'G4: one write at a time')
    const start = this.size
    this.#assertFits(bytes, batches)
    this.#writing = true
    try {
      const builder = this.#builder ?? (await this.#activate())
      await this.#log.append(bytes)
      if (start === 0) this.#noteFirst((batches[0] as BatchFacts).maxTimestamp)
      const limits = this.#env.config()
      for (const { position, lastOffset, maxTimestamp } of batches) {
        const exact = Number.isSafeInteger(maxTimestamp) ? maxTimestamp : maxTimestampAt(bytes, position - start)
        builder.add(position, lastOffset, exact, limits)
      }
      this.nextOffset = (batches[batches.length - 1] as BatchFacts).lastOffset + 1
    } finally {
      this.#writing = false
    }
  }

  /** Takes batches into account that another process has written behind `size`. For read-only segments. */
  async extend(batches: readonly BatchFacts[]): Promise<void> {
    assert(this.#readOnly, 'only what another process writes is taken over')
    const builder = this.#builder ?? (await this.#activate())
    for (const batch of batches) {
      assert(batch.position === this.size, 'batches lie back to back')
      this.#log.grewTo(batch.position + batch.size)
      builder.add(batch.position, batch.lastOffset, batch.maxTimestamp, this.#env.config())
      this.nextOffset = batch.lastOffset + 1
    }
  }

  #assertFits(bytes: Buffer, batches: readonly BatchFacts[]): void {
    let position = this.size
    let offset = this.nextOffset ?? this.baseOffset
    assert(batches.length > 0 && position + bytes.length <= MAX_INT32, 'a segment file stays below 2 GiB')
    for (const batch of batches) {
      assert(batch.position === position, 'batches are written at the end of the file, back to back')
      assert(batch.baseOffset >= offset && batch.lastOffset >= batch.baseOffset, 'offsets increase')
      position += batch.size
      offset = batch.lastOffset + 1
    }
    assert(position === this.size + bytes.length, 'the batches are all there is')
    assert(offset - 1 - this.baseOffset <= MAX_INT32, 'roll the segment before its offsets outgrow 32 bits')
  }

  /** Whether the next batch goes to a new segment, and why. May read the first batch's header, once. */
  shouldRoll(batch: NextBatch, now: number): RollCause | undefined {
    const config = this.#env.config()
    const firstTimestamp = this.size === 0 ? undefined : this.#firstTimestampSync()
    const state = {
      baseOffset: this.baseOffset,
      size: this.size,
      createdAt: this.createdAt,
      firstTimestamp,
      jitter: this.#jitter,
      indexRoom: this.#builder?.room(config) ?? Number.POSITIVE_INFINITY
    }
    return rollCause(state, batch, now, config)
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
    return this.#readOnly ? Promise.resolve() : this.#indexes.flush()
  }

  /** Everything that is in memory goes to the files, and the files to the disk. */
  async flushAll(): Promise<void> {
    this.#assertWritable()
    await this.#log.sync()
    await this.#syncIndexes({ trim: false })
  }

  /**
   * Closes the segment for writing: last time index entry, no preallocated room, everything durable. After that its
   * indexes are in memory only as long as they are used. May be called again after a failure.
   */
  async seal(): Promise<void> {
    this.#assertWritable()
    const builder = this.#builder ?? (await this.#activate())
    builder.finish()
    this.#largest = builder.largest ?? 'none'
    await this.#log.trim()
    await this.#log.sync()
    await this.#syncIndexes({ trim: true })
    this.#log.letGo()
    this.#trustFiles = true
    this.#builder = undefined
    this.#indexes.lend()
  }

  async #syncIndexes(options: { trim: boolean }): Promise<void> {
    const newName = await this.#indexes.flushAndSync(options)
    if (newName) await this.#env.fs.syncDirectory(this.#dir)
  }

  // ---- looking up and reading

  /**
   * Where to read for `offset`: one read of the range gives the batch that holds it, or the next one where compaction
   * took it away, and then about `maxBytes` more. `undefined` when the index must be read first: see `locate`.
   *
   * With entries k (the last at or below the offset), k+1 and k+2, that batch starts at or behind entry k's and not
   * behind entry k+1's, so it ends where entry k+2's starts at the latest. Only if the index lags far behind may a
   * range be too short; whoever scans it reads on then.
   */
  locateSync(offset: number, maxBytes = 0): ReadRange | undefined {
    const index = this.#indexes.offsets
    return index === undefined ? undefined : this.#range(index, offset, maxBytes)
  }

  async locate(offset: number, maxBytes = 0): Promise<ReadRange> {
    return this.#range(this.#indexes.offsets ?? (await this.#loadOffsets()), offset, maxBytes)
  }

  #range(index: OffsetIndex, offset: number, maxBytes: number): ReadRange {
    const { size } = this
    const count = index.countAtOrBelow(offset)
    const from = count === 0 ? 0 : index.positionAt(count - 1)
    const atLatest = count < index.entryCount ? index.positionAt(count) : undefined
    const surely = count + 1 < index.entryCount ? index.positionAt(count + 1) : size
    const wanted = Math.max(surely, (atLatest ?? from) + maxBytes)
    const to = Math.min(size, wanted, from + Math.max(LARGEST_RANGE_BYTES, maxBytes))
    return { from, to: Math.max(from, to), lastOffset: count === 0 ? undefined : index.offsetAt(count - 1) }
  }

  /** Fills `target` from `position` on, as far as there are valid bytes. Resolves to how many. */
  read(target: Buffer, position: number): Promise<number> {
    return this.#log.read(target, position)
  }

  /** As `read`, on the calling thread: for what is expected in the page cache. */
  readSync(target: Buffer, position: number): number {
    return this.#log.readSync(target, position)
  }

  /** Largest timestamp of any record; `undefined` where no record has one. */
  async largestTimestamp(): Promise<number | undefined> {
    const largest = await this.#loadLargest()
    return largest === 'none' ? undefined : Number(largest.timestamp)
  }

  /** Last offset of the batch that holds the record with the largest timestamp. */
  async offsetOfLargestTimestamp(): Promise<number | undefined> {
    const largest = await this.#loadLargest()
    return largest === 'none' ? undefined : largest.offset
  }

  /** From where on to look for the first record at or after a time: no record before this offset is. */
  async offsetBeforeTimestamp(timestamp: number | bigint): Promise<number> {
    const times = this.#indexes.times ?? (await this.#loadTimes())
    return times.lookup(timestamp)
  }

  /** Largest timestamp of the first batch, from which a segment's age counts. */
  get firstBatchMaxTimestamp(): Promise<number | undefined> {
    return this.#loadFirstTimestamp()
  }

  /**
   * The aborted transactions that concern records in [from, upper) and whose marker lies here.
   *
   * @throws {LogError} CORRUPT_FILE when the transaction index is damaged: it takes the producer state to rebuild it.
   */
  async collectAborted(from: number, upper: number): Promise<AbortedInRange> {
    return (await this.#indexes.loadTransactions()).collect(from, upper)
  }

  /**
   * The batch that holds `offset`, or the next one; `undefined` when there is none. Headers only, no CRC.
   *
   * @throws {LogError} CORRUPT_LOG when what lies there is no batch.
   */
  async findBatch(offset: number): Promise<BatchFacts | undefined> {
    const { from } = await this.locate(offset)
    let found: BatchFacts | undefined
    await this.#walk(from, batch => {
      if (batch.lastOffset < offset) return true
      found = batch
      return false
    })
    return found
  }

  /** One past the last offset, read from the last index entry on. The base offset of an empty segment. */
  async findNextOffset(): Promise<number> {
    if (this.nextOffset !== undefined) return this.nextOffset
    const index = this.#indexes.offsets ?? (await this.#loadOffsets())
    let next = this.baseOffset
    await this.#walk(index.entryCount === 0 ? 0 : index.positionAt(index.entryCount - 1), batch => {
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
    assert(!this.#writing, 'G4: nothing is cut while something is written')
    await this.#activate()
    await this.#indexes.loadTransactions()
    const batch = await this.findBatch(offset)
    await this.#indexes.truncateTo(offset) // G2
    if (batch !== undefined) await this.#cut(batch.position, batch.baseOffset)
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

  async #cut(position: number, baseOffset: number): Promise<void> {
    const builder = this.#builder as IndexBuilder
    await this.#log.cutTo(position)
    await this.#log.sync()
    if (position === 0) this.#firstTimestamp = undefined
    // The time index knows the largest timestamp only up to the last entry; the batches behind it are looked at.
    const { offsets, times } = builder
    const shorter = new IndexBuilder(offsets, times)
    const from = offsets.entryCount === 0 ? 0 : offsets.positionAt(offsets.entryCount - 1)
    await this.#walk(from, ({ lastOffset }, timestamp) => {
      shorter.noteTimestamp(timestamp, lastOffset)
      return true
    })
    this.#startBuilding(shorter, { rebuilt: false })
    this.nextOffset = baseOffset
  }

  /**
   * Reads the whole log, checks every CRC and that offsets increase, and builds the offset and time index anew, in
   * memory. The files get them with `flushIndexes` or `seal`. What does not hold ends the scan; nothing is cut.
   *
   * @param visit - sees each sound batch, valid until its promise resolves. The transaction index is not touched: a
   *   visitor that knows the producers calls `resetTransactions` before, and `appendAborted`.
   */
  async rebuildIndexes(visit?: (batch: BatchView, position: number) => void | Promise<void>): Promise<RebuildResult> {
    return this.#rebuild({ checkCrc: true, visit })
  }

  /** Begins the transaction index anew. */
  resetTransactions(): void {
    this.#indexes.resetTransactions()
  }

  /**
   * An index entry led to something else than it said: both indexes are rebuilt from the log. Their damage costs
   * time, never data. Look up again afterwards.
   */
  async distrustIndexes(reason: string): Promise<void> {
    this.#rebuilding ??= this.#rebuildDamaged(reason).finally(() => {
      this.#rebuilding = undefined
    })
    await this.#rebuilding
  }

  /**
   * An index file goes on with zeros behind its entries: it was preallocated and never trimmed. If we do not
   * preallocate, another engine was here.
   */
  indexesAreLongerThanEntries(): Promise<boolean> {
    return this.#indexes.haveRoomBehindEntries()
  }

  /** @param clean - as `seal`, for a segment that was written to; otherwise files stay as they are. */
  async close({ clean }: { clean: boolean }): Promise<void> {
    if (clean && !this.#readOnly && !this.#deleted && (this.#builder !== undefined || this.isDirty)) await this.seal()
    this.#log.letGo()
    await this.#env.handles.forget(this.path)
    await this.#indexes.close()
    this.#builder = undefined
  }

  /** Removes the files. Reads under way finish; later ones fail. The caller syncs the folder. */
  async delete(): Promise<void> {
    assert(!this.#readOnly, 'a read-only segment is not removed')
    this.#deleted = true
    this.#log.letGo()
    try {
      await this.#env.fs.unlink(this.path)
    } catch (error) {
      if (!isSystemError(error, 'ENOENT')) throw toLogError(error, 'remove', this.path)
    }
    await this.#env.handles.forget(this.path)
    await this.#indexes.unlink()
    this.#builder = undefined
  }

  /**
   * Renames the files, so that their names end in `suffix` beside `.log`, `.index`; `''` for a segment in use. Reads
   * go on. The caller syncs the folder.
   */
  async renameTo(suffix: string): Promise<void> {
    assert(!this.#readOnly, 'a read-only segment is not renamed')
    const from = this.path
    const stem = join(dirname(from), segmentFileName(this.baseOffset, ''))
    const to = stem + LOG_SUFFIX + suffix
    try {
      await this.#env.fs.rename(from, to)
    } catch (error) {
      throw toLogError(error, 'rename', from)
    }
    this.#log.movedTo(to)
    await this.#env.handles.forget(from)
    await this.#indexes.renameTo(stem, suffix)
  }

  // ---- indexes in memory

  /** Gets ready for adding entries: both indexes in memory, for good. */
  async #activate(): Promise<IndexBuilder> {
    if (this.#builder !== undefined) return this.#builder
    const offsets = this.#indexes.offsets ?? (await this.#loadOffsets())
    const times = this.#indexes.times ?? (await this.#loadTimes())
    // Either may have been damaged, and rebuilding has made a builder.
    if (this.#builder !== undefined) return this.#builder
    return this.#startBuilding(new IndexBuilder(offsets, times), { rebuilt: false })
  }

  #startBuilding(builder: IndexBuilder, options: { rebuilt: boolean }): IndexBuilder {
    this.#indexes.hold(builder, options)
    this.#builder = builder
    return builder
  }

  async #loadOffsets(): Promise<OffsetIndex> {
    try {
      const index = await this.#indexes.loadOffsets(this.size, this.#trust)
      const covered = index.entryCount === 0 ? 0 : index.positionAt(index.entryCount - 1)
      const lag = this.size - covered
      if (lag <= Math.max(LARGEST_RANGE_BYTES, 4 * this.#env.config().indexIntervalBytes)) return index
      await this.distrustIndexes(`the offset index lags ${lag} bytes behind its log`)
    } catch (error) {
      if (!isLogError(error, 'CORRUPT_FILE')) throw error
      await this.distrustIndexes(error.message)
    }
    return (this.#builder as IndexBuilder).offsets
  }

  async #loadTimes(): Promise<TimeIndex> {
    try {
      const index = await this.#indexes.loadTimes(this.size, this.#trust)
      // Until it is closed, an index need not have the largest timestamp yet.
      const doubt = !this.#trustFiles || (index.entryCount === 0 && (await this.#loadFirstTimestamp()) !== undefined)
      if (!doubt) return index
      await this.distrustIndexes('the time index has no entry for the largest timestamp')
    } catch (error) {
      if (!isLogError(error, 'CORRUPT_FILE')) throw error
      await this.distrustIndexes(error.message)
    }
    return (this.#builder as IndexBuilder).times
  }

  get #trust(): 'closed' | 'live' {
    return this.#trustFiles && !this.#readOnly ? 'closed' : 'live'
  }

  async #loadLargest(): Promise<{ timestamp: Timestamp; offset: number } | 'none'> {
    const known = this.#builder === undefined ? this.#largest : (this.#builder.largest ?? 'none')
    if (known !== undefined) return known
    // Where it has to be rebuilt, its last entry is the largest timestamp as well.
    const times = this.#indexes.times ?? (await this.#loadTimes())
    const largest = times.last ?? 'none'
    this.#largest = largest
    return largest
  }

  async #rebuildDamaged(reason: string): Promise<void> {
    await this.#rebuild({ checkCrc: false })
    this.#env.indexRebuilt?.({ path: this.path, baseOffset: this.baseOffset, reason })
    // What cannot be written now stays in memory, and goes with the next flush.
    await this.flushIndexes().catch(() => undefined)
  }

  async #rebuild(options: {
    checkCrc: boolean
    visit?: ((batch: BatchView, position: number) => void | Promise<void>) | undefined
  }): Promise<RebuildResult> {
    const builder = IndexBuilder.empty(this.baseOffset)
    const limits = this.#env.config()
    const { size } = this
    const scanner = new BatchScanner(this.#log, { to: size, checkCrc: options.checkCrc, reuseBuffer: true })
    let nextOffset = this.baseOffset
    while (await scanner.fill()) {
      for (let batch = scanner.next(); batch !== undefined; batch = scanner.next()) {
        const wrong = whatIsWrong(batch, nextOffset, this.baseOffset)
        if (wrong !== undefined) {
          scanner.refuse(wrong)
          break
        }
        if (scanner.position === 0) this.#noteFirst(batch.maxTimestamp)
        builder.add(scanner.position, batch.lastOffset, maxTimestampAt(batch.bytes, batch.start), limits)
        nextOffset = batch.lastOffset + 1
        const visited = options.visit?.(batch, scanner.position)
        if (visited !== undefined) await visited
      }
    }
    builder.finish()
    this.#startBuilding(builder, { rebuilt: true })
    const { kind, position, reason } = scanner.end as ScanEnd
    if (kind === 'end') this.nextOffset = nextOffset
    const zerosToEnd = reason === 'zeros' && (await isZeroFilled(this.#log, position, size))
    const result = { validBytes: position, end: kind, position, nextOffset, zerosToEnd }
    return reason === undefined ? result : { ...result, reason }
  }

  // ---- headers

  /** Hands out the batches from `from` on, without checking CRCs, until `visit` answers false. */
  async #walk(from: number, visit: (batch: BatchFacts, timestamp: Timestamp) => boolean): Promise<void> {
    const options = { from, to: this.size, chunkBytes: LOOK_BYTES, checkCrc: false, reuseBuffer: true }
    const scanner = new BatchScanner(this.#log, options)
    while (await scanner.fill()) {
      for (let batch = scanner.next(); batch !== undefined; batch = scanner.next()) {
        const { size, baseOffset, lastOffset, maxTimestamp } = batch
        const facts = { position: scanner.position, size, baseOffset, lastOffset, maxTimestamp }
        if (!visit(facts, maxTimestampAt(batch.bytes, batch.start))) return
      }
    }
    const end = scanner.end as ScanEnd
    if (end.kind === 'end') return
    const reason = end.reason ?? 'the file ends within it'
    const message = `${this.path}: what begins at byte ${end.position} is no sound batch (${reason})`
    throw new LogError('CORRUPT_LOG', message, { segment: this.baseOffset, position: end.position })
  }

  #noteFirst(maxTimestamp: number): void {
    this.#firstTimestamp = maxTimestamp < 0 ? 'none' : maxTimestamp
  }

  #firstTimestampSync(): number | undefined {
    if (this.#firstTimestamp === undefined) {
      const header = Buffer.alloc(HEADER_BYTES)
      if (this.readSync(header, 0) < HEADER_BYTES) return undefined
      this.#noteFirst(Number(maxTimestampAt(header, 0)))
    }
    return this.#firstTimestamp === 'none' ? undefined : this.#firstTimestamp
  }

  async #loadFirstTimestamp(): Promise<number | undefined> {
    if (this.size === 0) return undefined
    if (this.#firstTimestamp === undefined) {
      const header = Buffer.alloc(HEADER_BYTES)
      if ((await this.read(header, 0)) < HEADER_BYTES) return undefined
      this.#noteFirst(Number(maxTimestampAt(header, 0)))
    }
    return this.#firstTimestamp === 'none' ? undefined : this.#firstTimestamp
  }

  #assertWritable(): void {
    assert(!this.#readOnly, 'a read-only segment is not written to')
    assert(!this.#deleted, 'a removed segment is not written to')
  }
}

function whatIsWrong(batch: BatchView, nextOffset: number, segmentBase: number): string | undefined {
  if (batch.baseOffset < nextOffset) return `base offset ${batch.baseOffset} where ${nextOffset} is the least`
  if (batch.lastOffset < batch.baseOffset) return `last offset ${batch.lastOffset} below the base offset`
  if (batch.lastOffset - segmentBase > MAX_INT32) return `offset ${batch.lastOffset} is too far from the segment's base`
  return undefined
}

/** A file of that name with content is somebody's data; an empty one is what a crash left of an earlier attempt. */
async function createLogFile({ fs, permissions, owner }: SegmentEnv, path: string): Promise<void> {
  const handle = await fs.open(path, 'create-or-open', permissions)
  try {
    const { size } = await handle.stat()
    if (size > 0) throw new LogError('STORAGE_FAILED', `${path} exists already, with ${size} bytes`, { path, size })
    if (owner !== undefined) await fs.changeOwner(path, owner.uid, owner.gid)
  } finally {
    await handle.close()
  }
}
