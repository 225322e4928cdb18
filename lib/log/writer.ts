/**
 * Carries sealed batches to the files: group commit.
 *
 * One group is in flight; whatever arrives meanwhile is the next group. That is the whole batching policy: no timer
 * holds an append back, except where the log's durability says that thresholds decide.
 *
 * A group goes: leader epochs (if a new one begins) -> one write per segment it touches -> publish `written` ->
 * fdatasync if anybody waits for it or a threshold is met -> publish `synced`. `await` ends every guarantee, so each
 * publishing is one synchronous step after the I/O it reports.
 *
 * What fails:
 *   W1  A write that fails is rolled back by the segment; the group and all that came after it are taken back: their
 *       appends are refused with the error, offsets and producer state are as before. Under `buffered` nothing is
 *       taken back, for it was acknowledged: it stays in memory, and the write is tried again.
 *   W2  A sync that fails poisons the log: nobody can know what is on the disk. No retry, no further append.
 */
import { toLogError } from '../fs/system-errors.ts'
import { ATTRIBUTES_AT, CONTROL_BIT, CRC_AT } from '../record/batch-format.ts'
import { BatchView } from '../record/batch-view.ts'
import type { NextBatch, Segment } from '../segment/segment.ts'
import type { Clock } from '../util/clock.ts'
import { LogError } from '../util/errors.ts'
import { MiB } from '../util/sizes.ts'
import type { BatchArena } from './batch-arena.ts'
import type { FlushPolicy } from './flush-policy.ts'
import type { LogMetrics } from './log-metrics.ts'
import type { LogState } from './log-state.ts'
import { AckQueue } from './offset-waiters.ts'
import type { AbortedTransaction } from './producer-state.ts'
import type { SealedBatch } from './tail.ts'
import { LARGEST_HERE_BYTES, type WriteThread } from './write-thread.ts'

/** One write is at most this large, so that a group's latency and the memory it holds stay bounded. */
const MAX_GROUP_BYTES = 4 * MiB
/** A reader elsewhere scans about this much of the active segment at most. */
const INDEX_FLUSH_BYTES = 4 * MiB

export interface WriterHooks {
  /** Closes the active segment and begins a new one at `baseOffset`; its name is durable when this resolves. */
  roll(baseOffset: number, cause: string): Promise<void>
  /** Everything up to `last` is durable; the sync took so long. */
  synced(last: WrittenMark, milliseconds: number): void
  /** Memory was freed, or unsynced data became less: appends that wait may go on. */
  roomMade(): void
  poisoned(error: LogError): Promise<void>
}

/** Where a written batch ends, as the durable watermark records it. */
export interface WrittenMark {
  readonly offset: number
  readonly segmentBaseOffset: number
  readonly position: number
  readonly lastBatchCrc: number
}

export class Writer {
  readonly #state: LogState
  readonly #arena: BatchArena
  readonly #flush: FlushPolicy
  readonly #metrics: LogMetrics
  readonly #clock: Clock
  readonly #hooks: WriterHooks
  readonly writtenAcks = new AckQueue()
  readonly syncedAcks = new AckQueue()
  #lastWritten: WrittenMark | undefined
  readonly #thread: WriteThread
  #unindexedBytes = 0
  /** Why the last group could not be written, under `buffered`: appends beyond the bound fail with it. */
  blockedBy: LogError | undefined

  constructor(from: {
    state: LogState
    arena: BatchArena
    flush: FlushPolicy
    metrics: LogMetrics
    clock: Clock
    writeThread: WriteThread
    hooks: WriterHooks
  }) {
    this.#state = from.state
    this.#arena = from.arena
    this.#flush = from.flush
    this.#metrics = from.metrics
    this.#clock = from.clock
    this.#thread = from.writeThread
    this.#hooks = from.hooks
  }

  /**
   * Writes and syncs until nothing is due. Runs inside the log's turn.
   *
   * @param all - write what thresholds would still hold back.
   * @param isAwaited - somebody else wants the turn. Whoever appends again as soon as he is acknowledged would keep it
   *   for ever, so that what is due then is left for the next drain; never with `all`.
   */
  async drain(all: boolean, isAwaited: () => boolean = () => false): Promise<void> {
    for (;;) {
      if (this.#unindexedBytes >= INDEX_FLUSH_BYTES) await this.flushIndexes()
      this.sealOpen()
      if (this.#writeDue(all)) {
        if (!this.#tryWriteSync() && !(await this.#writeGroup(this.#arena.take(MAX_GROUP_BYTES)))) return
      } else if (!this.#syncDue(all)) {
        return
      }
      if (this.#syncDue(all && !this.#arena.hasWork)) {
        if (!(await this.#sync())) return
      }
      if (!all && isAwaited()) return
    }
  }

  /**
   * Writes what is due on the calling thread, in small pieces, as long as nothing has to be waited for. Only while
   * nobody has the log's turn: being synchronous, it takes the turn and gives it back in one step.
   *
   * A hop to the thread pool costs ten times what a small write into the page cache does.
   *
   * @returns false when something is left that `drain` has to do.
   */
  drainSync(): boolean {
    for (;;) {
      this.sealOpen()
      if (this.#unindexedBytes >= INDEX_FLUSH_BYTES) return false
      if (!this.#writeDue(false)) return !this.isDue
      if (!this.#tryWriteSync()) return false
    }
  }

  #tryWriteSync(): boolean {
    const { active, epochs } = this.#state
    const group = this.#arena.queued
    const first = group[0] as SealedBatch
    const began = this.#clock.monotonic()
    if (epochs.dirty || this.blockedBy !== undefined || !this.#thread.mayWriteHere(first.size, began)) return false
    const now = this.#clock.now()
    if (!staysIn(active, first, now)) return false
    const count = this.#placeRun(active, group, 0, LARGEST_HERE_BYTES, now)
    const run = count === group.length ? group : group.slice(0, count)
    const last = run[count - 1] as SealedBatch
    const size = last.start + last.size - first.start
    // Reading the transaction index may fail, so a marker takes the other way.
    if (run.some(isControl)) return false
    if (!active.tryWriteSync(first.chunk.buffer.subarray(first.start, first.start + size), run)) return false
    this.#thread.wroteHere(this.#clock.monotonic() - began)
    const written = this.#arena.take(size)
    this.#applyProducers(written)
    this.#noteWritten(written[written.length - 1] as SealedBatch, active)
    this.#publishWritten(written)
    return true
  }

  /** Index entries go to their files now and then, for readers in other processes. Inside the log's turn. */
  async flushIndexes(): Promise<void> {
    this.#unindexedBytes = 0
    // They are in memory still, and go with the next attempt; the log itself needs none of it.
    await this.#state.active.flushIndexes().catch((error: unknown) => {
      this.#metrics.failed(toLogError(error, 'write the indexes of', this.#state.active.path))
    })
  }

  /** Makes what was appended visible as sealed; under `buffered` that is what readers see. */
  sealOpen(): void {
    const batch = this.#arena.seal()
    if (batch === undefined) return
    this.#state.sealedOffset = batch.lastOffset + 1
    this.#state.advanced()
  }

  /** True if a drain would find something to do. */
  get isDue(): boolean {
    // A full disk has refused all who waited; whoever waits now came later, and is owed another try.
    if (this.blockedBy !== undefined) return this.syncedAcks.length > 0 || this.writtenAcks.length > 0
    return this.#writeDue(false) || this.#syncDue(false)
  }

  #writeDue(all: boolean): boolean {
    if (!this.#arena.hasWork) return false
    const isAwaited = this.syncedAcks.length > 0 || this.writtenAcks.length > 0
    return all || isAwaited || this.#flush.writeDue(this.#arena.unwrittenBytes)
  }

  #syncDue(all: boolean): boolean {
    const state = this.#state
    if (state.durableOffset >= state.writtenOffset) return false
    return all || this.syncedAcks.length > 0 || this.#flush.syncDue(state.config.durability)
  }

  /** @returns false when the group could not be written. */
  async #writeGroup(group: readonly SealedBatch[]): Promise<boolean> {
    const state = this.#state
    let done = 0
    try {
      if (state.epochs.dirty) await state.epochs.persist()
      while (done < group.length) {
        done = await this.#writeRun(group, done)
      }
    } catch (error) {
      await this.#writeFailed(group, done, error)
      return false
    }
    this.blockedBy = undefined
    this.#publishWritten(group)
    return true
  }

  /** Writes as many batches from `from` on as go to the active segment in one piece of memory. */
  async #writeRun(group: readonly SealedBatch[], from: number): Promise<number> {
    const first = group[from] as SealedBatch
    const now = this.#clock.now()
    const cause = this.#state.active.shouldRoll(nextBatch(first, first.size), now)
    if (cause !== undefined) await this.#hooks.roll(first.baseOffset, cause)
    const segment = this.#state.active
    const to = from + this.#placeRun(segment, group, from, MAX_GROUP_BYTES, now)
    const run = group.slice(from, to)
    const last = group[to - 1] as SealedBatch
    // Reading the transaction index may fail, and once the marker is in the file nothing may.
    if (run.some(isControl)) await segment.prepareAborted()
    await segment.write(first.chunk.buffer.subarray(first.start, last.start + last.size), run)
    this.#thread.wroteThere()
    const aborted = this.#applyProducers(run)
    this.#noteWritten(last, segment)
    for (const transaction of aborted) await segment.appendAborted(transaction)
    if (aborted.length > 0) this.#state.abortsWritten()
    return to
  }

  /**
   * Gives as many batches from `from` on their positions as go to the segment in one piece of at most `maxBytes`. The
   * first one is known to go there, whatever its size.
   *
   * @returns how many.
   */
  #placeRun(segment: Segment, group: readonly SealedBatch[], from: number, maxBytes: number, now: number): number {
    let size = 0
    let at = from
    for (; at < group.length; at += 1) {
      const batch = group[at] as SealedBatch
      if (at > from && size + batch.size > maxBytes) break
      if (at > from && !this.#continuesRun(segment, batch, group[at - 1] as SealedBatch, size, at - from, now)) break
      batch.position = segment.size + size
      size += batch.size
    }
    return at - from
  }

  /**
   * The producers' state follows the file, so that a snapshot taken at a roll holds just what lies below it. In one
   * step with `writtenOffset`: where that bounds readers, none may see a transaction that is not known to be open.
   */
  #applyProducers(run: readonly SealedBatch[]): AbortedTransaction[] {
    const { producers } = this.#state
    const aborted: AbortedTransaction[] = []
    for (const batch of run) {
      if (!batch.producer) continue
      const completed = producers.apply(new BatchView(batch.chunk.buffer, batch.start))
      const transaction = completed === undefined ? undefined : producers.completeTransaction(completed)
      if (transaction !== undefined) aborted.push(transaction)
    }
    return aborted
  }

  #continuesRun(
    segment: Segment,
    batch: SealedBatch,
    previous: SealedBatch,
    size: number,
    count: number,
    now: number
  ): boolean {
    if (batch.chunk !== previous.chunk || batch.start !== previous.start + previous.size) return false
    // The rules of rolling look at what is in the segment: an empty one has no first timestamp yet, and each batch
    // of the run may take an index entry. In doubt the run ends and the rules are asked again.
    if (segment.size === 0 || segment.indexRoom <= count + 1) return false
    return segment.shouldRoll(nextBatch(batch, size + batch.size), now) === undefined
  }

  #noteWritten(batch: SealedBatch, segment: Segment): void {
    // A later failure in the same group must not take back what this write already put into the file.
    this.#state.writtenOffset = batch.lastOffset + 1
    this.#lastWritten = {
      offset: batch.lastOffset + 1,
      segmentBaseOffset: segment.baseOffset,
      position: segment.size,
      lastBatchCrc: batch.chunk.buffer.readUInt32BE(batch.start + CRC_AT)
    }
  }

  #publishWritten(group: readonly SealedBatch[]): void {
    const state = this.#state
    let bytes = 0
    let records = 0
    for (const batch of group) {
      bytes += batch.size
      records += batch.records
    }
    this.#arena.written(group)
    this.#flush.wrote(records, bytes)
    this.#unindexedBytes += bytes
    this.#metrics.groupWritten(group.length, records, bytes)
    state.advanced()
    this.writtenAcks.passed(state.writtenOffset)
    this.#hooks.roomMade()
  }

  async #writeFailed(group: readonly SealedBatch[], done: number, cause: unknown): Promise<void> {
    const state = this.#state
    const error = toLogError(cause, 'append to', state.active.path)
    this.#metrics.failed(error)
    const isBroken = state.segments.some(segment => segment.isBroken)
    const isKept = !isBroken && (state.config.durability === 'buffered' || this.blockedBy !== undefined)
    // First, so that no chunk with an unwritten batch in it is taken for written and given away.
    if (isKept) this.#arena.putBack(group.slice(done))
    if (done > 0) this.#publishWritten(group.slice(0, done))
    if (isBroken) return this.poison(error)
    if (isKept) {
      this.blockedBy = error
      this.#flush.postponed()
      this.writtenAcks.rejectFrom(state.writtenOffset, error)
      this.syncedAcks.rejectFrom(state.writtenOffset, error)
      return
    }
    this.#takeBack(error)
  }

  /** @returns false when the sync failed: the log is poisoned then. */
  async #sync(): Promise<boolean> {
    const state = this.#state
    const upTo = state.writtenOffset
    const mark = this.#lastWritten
    const began = this.#clock.monotonic()
    try {
      await this.syncSegments()
    } catch (error) {
      const reason = toLogError(error, 'sync', state.active.path)
      await this.poison(new LogError('SYNC_FAILED', reason.message, reason.details, error))
      return false
    }
    const milliseconds = this.#clock.monotonic() - began
    this.#metrics.synced(milliseconds)
    state.durableOffset = Math.max(state.durableOffset, upTo)
    this.#flush.synced()
    if (mark !== undefined) this.#hooks.synced(mark, milliseconds)
    state.advanced()
    this.syncedAcks.passed(upTo)
    this.#hooks.roomMade()
    return true
  }

  /** fdatasync of every segment that was written since its last one, oldest first: no gap can be left behind. */
  async syncSegments(): Promise<void> {
    const { segments } = this.#state
    let first = segments.length - 1
    while (first > 0 && (segments[first - 1] as Segment).isDirty) first -= 1
    for (let i = first; i < segments.length; i += 1) {
      const segment = segments[i] as Segment
      if (segment.isDirty) await segment.datasync()
    }
  }

  #takeBack(error: LogError): void {
    const end = this.#state.writtenOffset
    this.#arena.dropUnwritten()
    this.#flush.dropped()
    this.#state.takeBackTo(end)
    this.writtenAcks.rejectFrom(end, error)
    this.syncedAcks.rejectFrom(end, error)
  }

  /** Nobody can know any more what is in the files: nothing more is appended, and all who wait are told. */
  async poison(error: LogError): Promise<void> {
    const state = this.#state
    if (state.condition !== 'open') return
    state.condition = 'poisoned'
    this.#metrics.failed(error)
    const poison = new LogError(
      error.code,
      `${error.message} The log takes no further append until it is reopened.`,
      error.details,
      error
    )
    this.#takeBack(poison)
    this.writtenAcks.rejectFrom(0, poison)
    this.syncedAcks.rejectFrom(0, poison)
    await this.#hooks.poisoned(poison)
  }
}

function nextBatch({ maxTimestamp, lastOffset }: SealedBatch, size: number): NextBatch {
  return { size, maxTimestamp, lastOffset }
}

/** Telling may take a read of the first batch's header. Where that fails, `#writeGroup` meets it again, and refuses. */
function staysIn(segment: Segment, batch: SealedBatch, now: number): boolean {
  try {
    return segment.shouldRoll(nextBatch(batch, batch.size), now) === undefined
  } catch {
    return false
  }
}

function isControl({ producer, chunk, start }: SealedBatch): boolean {
  return producer && (chunk.buffer.readInt16BE(start + ATTRIBUTES_AT) & CONTROL_BIT) !== 0
}
