/**
 * Puts the parts of a log together and runs them in turn.
 *
 * Who may do what when:
 *   E1  Accepting an append is synchronous (appends.ts), so accepted appends are ordered without a lock.
 *   E2  All I/O on the active segment, and every change to the list of segments, happens inside the turn: one drain,
 *       roll, cut or close at a time.
 *   E3  A cut first raises the gate (no append is accepted), then drains, then cuts: nothing is in memory that it
 *       would have to know of.
 *   E4  A read takes no turn.
 */

import { toLogError } from '../fs/system-errors.ts'
import type { LazyRecord } from '../record/lazy-record.ts'
import { publish } from '../util/diagnostics.ts'
import { LogError } from '../util/errors.ts'
import { Turn } from '../util/turn.ts'
import { Acknowledgement, type AppendResult } from './acknowledgement.ts'
import { AppendGate } from './append-gate.ts'
import type { AppendKind } from './append-kinds.ts'
import { Appends } from './appends.ts'
import { BatchArena } from './batch-arena.ts'
import { isOvertaken } from './file-follower.ts'
import { FlushPolicy } from './flush-policy.ts'
import { Linger } from './linger.ts'
import type { LogConfig } from './log-config.ts'
import { LogMetrics, type LogStats } from './log-metrics.ts'
import { type LogState, notWritable } from './log-state.ts'
import { LogMaintenance } from './maintenance.ts'
import type { LogParts } from './open-log.ts'
import type { PageOptions } from './page-buffer.ts'
import { PointReader } from './point-reader.ts'
import { Reader } from './reader.ts'
import type { StreamSource } from './record-stream.ts'
import { SegmentKeeper } from './segment-keeper.ts'
import type { Isolation } from './types.ts'
import {
  type AckLevel,
  type AppendOptions,
  ackLevelOf,
  type FetchResult,
  type GetOptions,
  type ReadOptions,
  strongest
} from './types.ts'
import { Writer, type WrittenMark } from './writer.ts'

const SETTLED = Promise.resolve()

export class LogEngine implements StreamSource {
  readonly parts: LogParts
  readonly state: LogState
  readonly reader: Reader
  readonly #points: PointReader
  readonly keeper: SegmentKeeper
  readonly maintenance: LogMaintenance
  readonly #metrics = new LogMetrics()
  readonly #turn = new Turn()
  readonly #flush: FlushPolicy
  readonly #arena: BatchArena
  readonly #writer: Writer
  readonly #appends: Appends
  readonly #gate: AppendGate
  #scheduled = false
  readonly #linger = new Linger()
  /** The drain that is scheduled writes what thresholds would hold back. */
  #forced = false
  #watchesForIdle = false
  #timer: { cancel(): void } | undefined
  #closing: Promise<{ clean: boolean }> | undefined

  constructor(parts: LogParts) {
    const { state, clock, name, warmReads, batchCache } = parts
    const metrics = this.#metrics
    this.parts = parts
    this.state = state
    this.#flush = new FlushPolicy(clock, state.config)
    this.#arena = new BatchArena(parts.arena, state.tail)
    this.reader = new Reader({ state, metrics, warmReads, clock, name })
    const read = (offset: number, options: ReadOptions): Promise<FetchResult> => this.read(offset, options)
    this.#points = new PointReader({ state, metrics, warmReads, batchCache, reader: this.reader, read })
    this.keeper = new SegmentKeeper({
      ...parts,
      metrics,
      failed: error => this.note(error),
      poison: error => this.poison(error),
      poisonInTurn: error => {
        this.#turn.run(() => this.poison(error)).catch(failed => this.note(failed))
      },
      rolled: (baseOffset, previousBaseOffset, reason) =>
        this.#publish('roll', { baseOffset, previousBaseOffset, reason })
    })
    this.#writer = new Writer({
      state,
      arena: this.#arena,
      flush: this.#flush,
      metrics,
      clock,
      writeThread: parts.writeThread,
      hooks: {
        roll: (baseOffset, cause) => this.keeper.roll(baseOffset, cause),
        synced: (mark, milliseconds) => this.#synced(mark, milliseconds),
        roomMade: () => this.#gate.release(),
        poisoned: error => this.#poisoned(error)
      }
    })
    this.#appends = new Appends({
      state,
      arena: this.#arena,
      writer: this.#writer,
      flush: this.#flush,
      metrics,
      clock,
      name
    })
    this.maintenance = new LogMaintenance(this)
    this.#gate = new AppendGate(
      () => this.#writer.blockedBy === undefined && this.#flush.appendMustWait(this.#arena.unwrittenBytes)
    )
  }

  get isClosed(): boolean {
    return this.state.condition === 'closed'
  }

  get cuts(): number {
    return this.state.cuts
  }

  get logStartOffset(): number {
    return this.state.logStartOffset
  }

  bound(isolation: Isolation): number {
    this.#sealGathered()
    return this.state.bound(isolation)
  }

  assertInRange(offset: number): void {
    this.reader.assertInRange(offset)
  }

  /**
   * Accepts an append when its turn comes and acknowledges it at the level asked for.
   *
   * @param given - the caller's, looked at before this returns; copied where the append has to wait.
   */
  submit<T>(kind: AppendKind<T>, given: T, options: AppendOptions): Promise<AppendResult> {
    try {
      if (this.#gate.isOpen) return this.#accept(kind, given, options)
      if (this.#closing === undefined) this.#assertWritable()
      // The caller may use its memory again when we return, and we have not looked at it yet.
      const owned = kind.copy(given)
      const waiting = this.#gate.pass(() => this.#accept(kind, owned, options), options.signal)
      this.#kick()
      return waiting
    } catch (error) {
      return Promise.reject(error)
    }
  }

  async read(offset: number, options: PageOptions): Promise<FetchResult> {
    this.assertNotClosed()
    this.#sealGathered()
    try {
      const result = await this.reader.read(offset, options)
      const { writeThread, clock } = this.parts
      if (writeThread.standsStill(clock.monotonic())) await writeThread.turned()
      return result
    } catch (error) {
      this.assertNotClosed()
      const { follow } = this.parts
      if (follow === undefined || !isOvertaken(error)) throw error
      await follow.reload()
      return this.reader.read(offset, options)
    }
  }

  get(offset: number, options: GetOptions): Promise<LazyRecord | undefined> {
    this.assertNotClosed()
    this.#sealGathered()
    return this.#points.get(offset, options)
  }

  waitBeyond(offset: number, isolation: Isolation, signal: AbortSignal | undefined): Promise<void> {
    // What came since the caller looked is not announced again.
    if (this.isClosed || this.state.bound(isolation) > offset) return Promise.resolve()
    return this.parts.follow === undefined
      ? this.state.readers.wait(offset, isolation, signal)
      : this.parts.follow.wait(this.state.readers, offset, isolation, signal)
  }

  /** Resolves when everything up to and including `lastOffset` has reached `level`. */
  reached(lastOffset: number, level: AckLevel): Promise<void> {
    const { state } = this
    if (level === 'accepted' || (level === 'written' ? state.writtenOffset : state.durableOffset) > lastOffset)
      return Promise.resolve()
    try {
      this.#assertWritable()
      if (lastOffset >= state.logEndOffset) throw this.#cutAway(lastOffset)
    } catch (error) {
      return Promise.reject(error)
    }
    return new Promise((resolve, reject) => {
      const queue = level === 'written' ? this.#writer.writtenAcks : this.#writer.syncedAcks
      queue.push(lastOffset, resolve, reject, undefined)
      this.#kick()
    })
  }

  /** Resolves when all that was appended before the call is synced, appends that still wait to be accepted too. */
  syncAll(): Promise<void> {
    const { state, parts } = this
    if (parts.readOnly) return Promise.resolve()
    const sync = (): Promise<void> => this.reached(state.logEndOffset - 1, 'synced')
    return this.#gate.length === 0 || this.#closing !== undefined ? sync() : this.#gate.pass(sync, undefined)
  }

  /** Runs with nothing in flight and nothing in memory, while appends wait (E3). */
  async alone<T>(work: () => Promise<T>): Promise<T> {
    this.#assertWritable()
    this.#gate.raise()
    try {
      return await this.#turn.run(async () => {
        this.#assertWritable()
        await this.#writer.drain(true)
        this.#assertDrained()
        return await work()
      })
    } catch (error) {
      throw toLogError(error, 'change', this.parts.dir)
    } finally {
      this.#gate.lower()
    }
  }

  /** Runs in the log's turn, beside appends that wait in memory: for what changes nothing at the log's end. */
  inTurn<T>(work: () => Promise<T>): Promise<T> {
    return this.#turn.run(() => {
      this.#assertWritable()
      return work()
    })
  }

  /** Under `buffered`, what was accepted is visible at once. */
  #sealGathered(): void {
    if (this.state.config.durability === 'buffered') this.#writer.sealOpen()
  }

  /** Under `buffered`, what is only in memory goes to the file, where it can be searched by time. */
  async writeGathered(): Promise<void> {
    const { config, writtenOffset, logEndOffset } = this.state
    // What a drain has taken out of the arena is on its way to the file, and readers see it.
    if (config.durability !== 'buffered' || this.parts.readOnly || writtenOffset >= logEndOffset) return
    await this.#turn.run(async () => {
      if (this.state.condition === 'open') await this.#writer.drain(true)
    })
  }

  configure(config: LogConfig): void {
    this.state.config = config
    this.#flush.configure(config)
    // It was set by the old thresholds; the drain sets the next one.
    this.#timer?.cancel()
    this.#timer = undefined
    this.state.advanced()
    this.#kick()
  }

  /** What no append should wait for: see `PartitionLog.upkeep`. */
  async upkeep(): Promise<void> {
    const { state, parts } = this
    if (parts.readOnly || state.condition !== 'open') return
    await this.#turn.run(async () => {
      if (state.condition !== 'open') return
      const now = parts.clock.now()
      // Both views of the producers forget the same ones: neither has an open transaction of theirs.
      for (const producers of [state.producers, state.acceptedProducers])
        producers.removeExpired(now, state.config.producerIdExpirationMs)
      await this.#writer.flushIndexes()
      await parts.holds.persist()
    })
  }

  assertNotClosed(): void {
    if (this.isClosed) throw notWritable(this.parts.name, 'closed')
  }

  stats(): LogStats {
    const { segments } = this.state
    return this.#metrics.snapshot({
      unwrittenBytes: this.#arena.unwrittenBytes,
      segments: segments.length,
      bytesOnDisk: segments.reduce((sum, segment) => sum + segment.size, 0)
    })
  }

  close(clean: boolean): Promise<{ clean: boolean }> {
    this.#closing ??= this.#close(clean)
    return this.#closing
  }

  #accept<T>(kind: AppendKind<T>, given: T, options: AppendOptions): Promise<AppendResult> {
    this.#assertWritable()
    const { state } = this
    if (this.#writer.blockedBy !== undefined && this.#flush.appendMustWait(this.#arena.unwrittenBytes)) {
      this.#kick(true)
      throw this.#writer.blockedBy
    }
    const accepted = kind.accept(this.#appends, given, options)
    const own = ackLevelOf(state.config.durability)
    const level = options.durability === undefined ? own : strongest(own, ackLevelOf(options.durability))
    const result = new Acknowledgement(accepted, level, state.logStartOffset, this)
    if (level === 'accepted') {
      this.#kick()
      const { writeThread, clock } = this.parts
      return writeThread.standsStill(clock.monotonic())
        ? writeThread.turned().then(() => result)
        : Promise.resolve(result)
    }
    const passed = level === 'written' ? state.writtenOffset : state.durableOffset
    if (accepted.lastOffset < passed) return Promise.resolve(result)
    return new Promise<AppendResult>((resolve, reject) => {
      const queue = level === 'written' ? this.#writer.writtenAcks : this.#writer.syncedAcks
      queue.push(accepted.lastOffset, resolve, reject, result)
      this.#kick()
    })
  }

  /** Starts a drain unless one is coming; what is appended in the same tick joins its first group. */
  #kick(force = false): void {
    if (this.#scheduled || this.parts.readOnly) return
    this.#forced = force
    this.#scheduled = true
    this.#linger.begin()
    // A microtask, without the bookkeeping of `queueMicrotask`.
    SETTLED.then(force ? this.#drainInTurn : this.#drainWhenQuiet)
  }

  readonly #drainWhenQuiet = (): void => {
    if (this.#linger.isOver(this.state.logEndOffset, this.#arena.unwrittenBytes)) this.#drainHere()
    else SETTLED.then(this.#drainWhenQuiet)
  }

  /** What is small is written at once, if nothing of this log is under way. */
  readonly #drainHere = (): void => {
    const { writeThread, clock } = this.parts
    if (this.#turn.idle && writeThread.standsStill(clock.monotonic())) setImmediate(this.#drainHere)
    else if (!this.#turn.idle || this.state.condition !== 'open' || !this.#writer.drainSync()) this.#drainInTurn()
    else this.#drained()
  }

  readonly #drainInTurn = (): void => {
    // Not within the turn: what is scheduled next is to find it idle.
    this.#turn.run(this.#drain).then(this.#drained, error => {
      this.note(error)
      this.#drained()
    })
  }

  readonly #drain = async (): Promise<void> => {
    if (this.state.condition === 'open') await this.#writer.drain(this.#forced, () => this.#turn.isAwaited)
  }

  readonly #drained = (): void => {
    // From here on an append schedules the next drain itself; one that came since the last look did not.
    this.#scheduled = false
    this.#gate.release()
    if (this.state.condition === 'open' && this.#writer.isDue) this.#kick()
    this.#armTimer()
    if (this.parts.watermark?.lags !== true || this.#watchesForIdle) return
    this.#watchesForIdle = true
    setImmediate(this.#whenIdle)
  }

  /** Whoever waited for an acknowledgement has had the time to go on: if nobody did, the log is idle. */
  readonly #whenIdle = (): void => {
    this.#watchesForIdle = false
    if (!this.#scheduled && this.#turn.idle) this.parts.watermark?.catchUp()
  }

  #armTimer(): void {
    const ms = this.#flush.dueInMs()
    if (ms === undefined || this.#timer !== undefined || this.state.condition !== 'open') return
    this.#timer = this.parts.clock.setTimer(ms, () => {
      this.#timer = undefined
      this.#kick()
    })
  }

  #synced(mark: WrittenMark, milliseconds: number): void {
    this.parts.watermark?.raise(mark, ackLevelOf(this.state.config.durability))
    this.#publish('flush', { durableOffset: mark.offset, milliseconds })
  }

  async #poisoned(error: LogError): Promise<void> {
    this.#gate.shut(error)
    this.#publish('error', { error })
    const { state, watermark } = this.parts
    try {
      // Recovery must know that the page cache cannot be trusted above this point.
      await watermark?.noteFailedSync(state.active.baseOffset, ackLevelOf(state.config.durability))
    } catch (second) {
      this.note(second)
    }
  }

  poison(error: LogError): Promise<void> {
    return this.#writer.poison(error)
  }

  /** Of what failed and nobody awaits. */
  note(error: unknown): void {
    const known = toLogError(error, 'work on', this.parts.dir)
    this.#metrics.failed(known)
    this.#publish('error', { error: known })
  }

  #publish(name: 'roll' | 'flush' | 'error', facts: Record<string, unknown>): void {
    publish(name, () => ({ topic: this.parts.topic, partition: this.parts.partition, ...facts }))
  }

  #assertWritable(): void {
    const { condition } = this.state
    if (condition === 'open' && !this.parts.readOnly && this.#closing === undefined) return
    throw notWritable(this.parts.name, this.#closing === undefined ? condition : 'closed')
  }

  #assertDrained(): void {
    if (this.state.condition === 'poisoned') this.#assertWritable()
    if (this.#arena.hasWork)
      throw (
        this.#writer.blockedBy ??
        new LogError('STORAGE_FAILED', `${this.parts.name}: what was accepted could not be written.`)
      )
  }

  async #close(clean: boolean): Promise<{ clean: boolean }> {
    const { parts, state } = this
    const wasWritable = state.condition === 'open' && !parts.readOnly
    this.#gate.raise()
    try {
      return await this.#turn.run(async () => {
        const finishes = clean && wasWritable
        if (finishes) {
          await this.#writer.drain(true)
          if (state.condition === 'open') this.#assertDrained()
          if (state.condition === 'open') await this.keeper.finish()
          await parts.holds.persist()
        }
        const wasClean = finishes && state.condition === 'open'
        await this.#letGo(wasClean)
        return { clean: wasClean }
      })
    } catch (error) {
      // Before those who wait are let in: they are appending to an open log.
      this.#closing = undefined
      throw toLogError(error, 'close', parts.dir)
    } finally {
      this.#gate.lower()
    }
  }

  async #letGo(clean: boolean): Promise<void> {
    const { parts, state } = this
    const closed = new LogError('LOG_CLOSED', `${parts.name} was closed.`)
    await this.keeper.settled()
    state.condition = 'closed'
    this.#timer?.cancel()
    this.#gate.shut(closed)
    this.#writer.writtenAcks.rejectFrom(0, closed)
    this.#writer.syncedAcks.rejectFrom(0, closed)
    this.#arena.close()
    state.readers.wakeAll()
    // Nobody waits for anything any more. What fails now has no consequence: everything that counts is in the files.
    const note = (error: unknown): void => this.note(error)
    await this.maintenance.close({ clean }).catch(note)
    await parts.manifest?.stop().catch(note)
    await parts.watermark?.close().catch(note)
    await parts.follow?.close().catch(note)
    for (const segment of state.segments) await segment.close({ clean }).catch(note)
  }

  #cutAway(lastOffset: number): LogError {
    const { logEndOffset } = this.state
    const message = `${this.parts.name}: what was appended at offset ${lastOffset} was cut off since.`
    return new LogError('OFFSET_OUT_OF_RANGE', message, { offset: lastOffset, logEndOffset })
  }
}
