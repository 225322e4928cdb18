/**
 * What retention, compaction and a store need of a log and programs do not: which segments it has and what is known
 * of them, taking the oldest out of use, putting rewritten ones in the place of others.
 *
 * It decides nothing. Who does (retention.ts, the layer `compaction/`) asks for the facts and hands back an order.
 */
import { join } from 'node:path'
import { toLogError } from '../fs/system-errors.ts'
import { OFFSET_INDEX_SUFFIX, segmentFileName, TIME_INDEX_SUFFIX } from '../segment/file-names.ts'
import type { AbortedTransaction, Segment, SegmentEnv, TransactionsDigest } from '../segment/segment.ts'
import { isLogError, LogError } from '../util/errors.ts'
import { DeferredDeletes } from './deferred-deletes.ts'
import type { LogHolds } from './holds.ts'
import type { LogEngine } from './log-engine.ts'
import { changedTransactions, whatIsWrong } from './segment-check.ts'
import { type DigestedFile, digestOf } from './segment-digest.ts'
import { type CleanedSegment, SegmentSwap } from './segment-swap.ts'

/** Of a file that is not there, or shorter than it was. */
const FILE_ERRORS = ['STORAGE_FAILED', 'CORRUPT_LOG', 'CORRUPT_FILE'] as const

export interface SegmentFacts {
  readonly baseOffset: number
  /** Base offset of the next segment; the log end offset for the active one. Exclusive. */
  readonly nextOffset: number
  /** Of the log file. */
  readonly bytes: number
  readonly indexBytes: number
  readonly timeIndexBytes: number
  /** Of its transaction index, where that is known: another one is damaged. */
  readonly transactions: TransactionsDigest | undefined
  /** Of any record, ms; `undefined` where none has a timestamp. */
  readonly largestTimestamp: number | undefined
  /** Largest of the first batch, ms. */
  readonly firstTimestamp: number | undefined
  /** When the log file was last written, ms. */
  readonly modifiedMs: number
  readonly active: boolean
}

/** What the log remembers of a producer that the cleaner must not make it forget. */
export interface ProducerTail {
  readonly producerId: number
  readonly producerEpoch: number
  /** Of its last data batch; `undefined` where only a marker is known. */
  readonly lastDataOffset: number | undefined
}

/** A log at one moment. Data only, so that it can be sent to another thread. */
export interface LogView {
  readonly segments: readonly SegmentFacts[]
  readonly logStartOffset: number
  readonly logEndOffset: number
  readonly highWatermark: number
  readonly lastStableOffset: number
  readonly producers: readonly ProducerTail[]
}

/** Of a group of segments that became others. */
export interface ReplacedSegments {
  /** Base offsets, ascending: neighbours in the view. */
  readonly sources: readonly number[]
  readonly cleaned: readonly CleanedSegment[]
}

/** What a view, which is data, cannot say. */
interface Look {
  /** The very segments that it speaks of, but those replaced: one of the same name may be another by now. */
  readonly segments: Map<number, { readonly segment: Segment; readonly cuts: number }>
  /** As `LogState` had them. */
  readonly cuts: number
  readonly endCuts: number
}

export class LogMaintenance {
  readonly #engine: LogEngine
  readonly #deferred: DeferredDeletes
  readonly #swap: SegmentSwap
  readonly #looks = new WeakMap<LogView, Look>()

  constructor(engine: LogEngine) {
    const { fs, dir, name, env, clock, snapshots, watermark, manifest, state } = engine.parts
    this.#engine = engine
    this.#deferred = new DeferredDeletes(fs, dir)
    this.#swap = new SegmentSwap({
      state,
      env,
      fs,
      clock,
      dir,
      name,
      snapshots,
      watermark,
      manifest,
      deferred: this.#deferred,
      poison: error => engine.poison(error),
      failed: error => engine.note(error)
    })
  }

  /** What named readers still need. */
  get holds(): LogHolds {
    return this.#engine.parts.holds
  }

  /** Bytes of files that are out of use and still there. */
  get reclaimableBytes(): number {
    return this.#deferred.reclaimableBytes
  }

  /** Bytes of files that were out of use and are gone, since the log was opened. */
  get reclaimedBytes(): number {
    return this.#deferred.reclaimedBytes
  }

  /** When the next file may go, on the monotonic clock; `undefined` if none waits. */
  get removalDueAt(): number | undefined {
    return this.#deferred.dueAt
  }

  /**
   * The log as it is now: one look at three files for each segment, and one small read where a timestamp is not known.
   * Everything but the active segment is durable and final, derived files included, unless the log is read-only.
   *
   * @param options.final - false: unless there is no room for their indexes. Who takes segments away must be able to then.
   * @throws {LogError} LOG_CLOSED, LOG_POISONED.
   */
  async view({ final = true }: { final?: boolean } = {}): Promise<LogView> {
    const { keeper, parts } = this.#engine
    this.#engine.assertNotClosed()
    if (parts.readOnly) return this.#look()
    return this.#engine.inTurn(async () => {
      await keeper.sealOld().catch((error: unknown) => {
        if (final || !isLogError(error, 'NO_SPACE')) throw error
      })
      return this.#look()
    })
  }

  async #look(): Promise<LogView> {
    const { state } = this.#engine
    const { segments, logStartOffset } = state
    const end = state.writtenOffset
    const facts: SegmentFacts[] = []
    for (const [i, segment] of segments.entries()) {
      facts.push(await this.#factsOf(segment, segments[i + 1]?.baseOffset ?? end, i + 1 === segments.length))
    }
    const view: LogView = {
      segments: facts,
      logStartOffset,
      logEndOffset: end,
      highWatermark: Math.min(end, state.highWatermark),
      lastStableOffset: Math.min(end, state.lastStableOffset),
      producers: [...state.producers.entries.values()].map(({ producerId, epoch, lastBatch }) => ({
        producerId: Number(producerId),
        producerEpoch: epoch,
        lastDataOffset: lastBatch?.lastOffset
      }))
    }
    const { cuts, endCuts } = state
    const viewed = new Map(segments.map(segment => [segment.baseOffset, { segment, cuts: segment.cuts }]))
    this.#looks.set(view, { segments: viewed, cuts, endCuts })
    return view
  }

  /**
   * Aborted transactions whose markers lie in the active segment, which the indexes of the others do not have.
   *
   * @throws {LogError} CORRUPT_FILE when that segment's transaction index is damaged.
   */
  async abortedInActive(): Promise<readonly AbortedTransaction[]> {
    const { state } = this.#engine
    const inFile = await state.active.collectAborted(0, Number.MAX_SAFE_INTEGER)
    return [...inFile.entries, ...state.unwrittenAborts]
  }

  /** Segments that nothing more is written to, and when each was last found sound, ms; ascending. Takes no I/O. */
  sealedSegments(): { readonly baseOffset: number; readonly verifiedMs: number | undefined }[] {
    const { state, parts } = this.#engine
    const found = new Map(parts.foundManifest?.sealed.map(segment => [segment.baseOffset, segment]))
    return state.segments.slice(0, -1).map(({ baseOffset }) => {
      const noted = parts.manifest === undefined ? found.get(baseOffset) : parts.manifest.of(baseOffset)
      return { baseOffset, verifiedMs: noted?.verifiedMs }
    })
  }

  /**
   * Reads all of a sealed segment and compares it with what the manifest says. If it is sound, that is noted there.
   *
   * @param options.spend - awaited before each piece is read; what it throws ends the reading.
   * @returns what is wrong with it, if anything is; `undefined` if there is no such segment, or it was cut, replaced or
   *   removed meanwhile.
   * @throws {LogError} as the system says, if the file cannot be read.
   */
  async verifySegment(
    baseOffset: number,
    options: { readonly spend?: (bytes: number) => Promise<void> } = {}
  ): Promise<{ readonly bytes: number; readonly error: LogError | undefined } | undefined> {
    const { state, parts } = this.#engine
    const segment = state.segments.find(each => each.baseOffset === baseOffset)
    if (segment === undefined || segment === state.active || !segment.isFinished) return undefined
    const { cuts, path, size, nextOffset = baseOffset } = segment
    const known = parts.manifest?.of(baseOffset) ?? { baseOffset, bytes: size, nextOffset, transactions: undefined }
    const transactions = known.transactions ?? (await segment.digestOfTransactions())
    const expected = { ...known, transactions }
    const isSame = (): boolean =>
      state.condition === 'open' && state.segments.includes(segment) && segment.cuts === cuts && segment.path === path
    let found: DigestedFile
    try {
      found = await digestOf(parts.fs, path, { ...options, epochAt: offset => state.epochs.epochAt(offset) })
    } catch (error) {
      if (!isSame()) return undefined
      throw toLogError(error, 'read', path)
    }
    // In turn: where it is being cut or replaced, it is another one afterwards.
    return this.#engine.inTurn(async () => {
      if (!isSame()) return undefined
      const error =
        whatIsWrong(path, expected, found) ?? (await changedTransactions(parts.fs, parts.dir, baseOffset, transactions))
      if (error === undefined) parts.manifest?.verified(expected, found)
      return { bytes: found.bytes, error }
    })
  }

  /** Mode and owner of new files in the folder. */
  get attributes(): {
    readonly permissions: SegmentEnv['permissions'] | undefined
    readonly owner: SegmentEnv['owner'] | undefined
  } {
    const { permissions, owner } = this.#engine.parts.env
    return { permissions, owner }
  }

  /** Files below the log start are on their way out: until they are gone for good, their names do not tell where it is. */
  get isShedding(): boolean {
    return this.#engine.state.isShedding
  }

  /**
   * The lowest offset that the log's end was cut to since this was last asked, or the log was opened; infinity if it was
   * not. Asked once: what is cleaned again afterwards is clean.
   */
  takeLowestCut(): number {
    const { state } = this.#engine
    const { lowestCut } = state
    state.lowestCut = Number.POSITIVE_INFINITY
    return lowestCut
  }

  /** Whether the log's end was cut since `view`, one of this log's. */
  isCutSince(view: LogView): boolean {
    return this.#looks.get(view)?.endCuts !== this.#engine.state.endCuts
  }

  /** Another object whenever the log has got other segments: to see whether there is anything new. */
  get segmentList(): object {
    return this.#engine.state.segments
  }

  /**
   * Closes the active segment when its time is over (`segment.ms`, `max.compaction.lag.ms`) and it holds anything.
   *
   * @returns whether it did.
   */
  async rollIfOld(): Promise<boolean> {
    const { state, parts, keeper } = this.#engine
    // As if the next batch came now, and took no room.
    const isOld = (): boolean => {
      const now = parts.clock.now()
      const { active } = state
      return active.shouldRoll({ size: 0, maxTimestamp: now, lastOffset: active.baseOffset }, now) === 'time'
    }
    if (state.active.size === 0) return false
    await state.active.firstBatchMaxTimestamp // or it would be read on the calling thread
    if (!isOld()) return false
    return this.#engine.alone(async () => {
      if (!isOld()) return false
      await keeper.roll(state.logEndOffset, 'time')
      return true
    })
  }

  /**
   * Lets the log begin at `offset`, durably, and takes the segments below it out of use. Their files are renamed
   * `.deleted` and go with `removeDeleted` when `file.delete.delay.ms` is over.
   *
   * @param offset - at most the high watermark; below the log start offset nothing happens.
   * @param view - what was decided by: given, nothing happens if the log was cut since, at either end.
   * @returns how many segments went, and their bytes.
   * @throws {LogError} OFFSET_OUT_OF_RANGE above the high watermark; POLICY_VIOLATION above a hold; SEGMENTS_CHANGED.
   */
  raiseLogStart(offset: number, view?: LogView): Promise<{ readonly segments: number; readonly bytes: number }> {
    const { state, parts, keeper } = this.#engine
    return this.#engine.inTurn(async () => {
      if (offset > state.highWatermark) {
        const message = `${parts.name}: cannot begin at ${offset}, the high watermark is ${state.highWatermark}.`
        throw new LogError('OFFSET_OUT_OF_RANGE', message, { offset, highWatermark: state.highWatermark })
      }
      if (view !== undefined && this.#looks.get(view)?.cuts !== state.cuts) {
        throw new LogError('SEGMENTS_CHANGED', `${parts.name} was cut since it was decided what goes.`, { offset })
      }
      if (offset > state.logStartOffset) parts.holds.assertFree(offset, parts.name)
      await keeper.raiseStart(offset)
      const wasShedding = state.isShedding
      const gone = await keeper.takeBelowStart()
      if (await this.#swap.retire(gone)) state.isShedding = wasShedding
      return { segments: gone.length, bytes: gone.reduce((sum, segment) => sum + segment.size, 0) }
    })
  }

  /**
   * Puts what the cleaner has written in the place of what it was made from. Durable when it resolves; the old files
   * are removed later, as in `raiseLogStart`.
   *
   * @param view - what the cleaner went by.
   * @throws {LogError} SEGMENTS_CHANGED if the log was cut since: nothing has changed then, and the written files are
   *   gone.
   */
  async replace(view: LogView, { sources, cleaned }: ReplacedSegments): Promise<void> {
    const viewed = this.#looks.get(view)?.segments
    await this.#engine.inTurn(() => {
      // One that was cut and rolled again is the same object with other records in it.
      const isWhole = sources.every(base => viewed?.get(base)?.segment.cuts === viewed?.get(base)?.cuts)
      // None, as `replace` refuses, where a part of them was replaced already.
      const segments = isWhole ? sources.flatMap(base => viewed?.get(base)?.segment ?? []) : []
      return this.#swap.replace(segments, cleaned)
    })
    for (const base of sources) viewed?.delete(base)
  }

  /**
   * Runs what reads the files of a view beside the log, as the cleaner does. Where it fails because some of them were
   * taken out of use or cut meanwhile, which is nobody's fault, it says so.
   *
   * @throws {LogError} SEGMENTS_CHANGED then; else what `work` throws.
   */
  async goingBy<T>(view: LogView, work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      const isOfFiles = FILE_ERRORS.some(code => isLogError(error, code))
      if (!isOfFiles || this.#isWhole(view)) throw error
      const message = `${this.#engine.parts.name} was cut while its segments were read: ${(error as LogError).message}`
      throw new LogError('SEGMENTS_CHANGED', message, {}, error)
    }
  }

  /** The sealed segments that `view` speaks of are as they were then, or were replaced. */
  #isWhole(view: LogView): boolean {
    const here = new Set(this.#engine.state.segments)
    return view.segments.every(({ baseOffset, active }) => {
      const viewed = this.#looks.get(view)?.segments.get(baseOffset)
      return active || viewed === undefined || (here.has(viewed.segment) && viewed.segment.cuts === viewed.cuts)
    })
  }

  /**
   * Removes files that are out of use for long enough.
   *
   * @param options.all - whether they are or not.
   * @returns bytes of log files that went.
   */
  removeDeleted({ all = false }: { all?: boolean } = {}): Promise<number> {
    return this.#deferred.remove(all ? Number.POSITIVE_INFINITY : this.#engine.parts.clock.monotonic())
  }

  /** @param options.clean - false leaves the files as a crash would. */
  close(options: { clean: boolean }): Promise<void> {
    return this.#deferred.close(options)
  }

  async #factsOf(segment: Segment, nextOffset: number, active: boolean): Promise<SegmentFacts> {
    const { fs, dir } = this.#engine.parts
    const sizeOf = async (suffix: string): Promise<number> =>
      (await fs.stat(join(dir, segmentFileName(segment.baseOffset, suffix))))?.size ?? 0
    return {
      baseOffset: segment.baseOffset,
      nextOffset,
      bytes: segment.size,
      indexBytes: await sizeOf(OFFSET_INDEX_SUFFIX),
      timeIndexBytes: await sizeOf(TIME_INDEX_SUFFIX),
      transactions: segment.knownTransactions,
      largestTimestamp: await segment.largestTimestamp(),
      firstTimestamp: await segment.firstBatchMaxTimestamp,
      modifiedMs: (await fs.stat(segment.path))?.modifiedMs ?? this.#engine.parts.clock.now(),
      active
    }
  }
}
