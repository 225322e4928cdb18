/**
 * Compacts the logs of a store: looks at one, judges, has it cleaned, puts the result in place, notes how far it got.
 *
 * One cleaning a log at a time. The judgement is `judgeCleanable`'s, for the scheduler and the command alike; this
 * file carries it out and counts what came of it.
 */
import { type CleanableJudgement, judgeCleanable } from '../compaction/cleanable.ts'
import { previewCleaning } from '../compaction/cleaner.ts'
import type { CleanerHost } from '../compaction/cleaner-host.ts'
import {
  addStats,
  type CleaningProgress,
  type CleaningResult,
  type CleaningStats,
  noStats
} from '../compaction/cleaning-types.ts'
import type { LogConfig } from '../log/log-config.ts'
import type { LogView } from '../log/maintenance.ts'
import type { SharedParts } from '../log/open-log.ts'
import type { PartitionLog } from '../log/partition-log.ts'
import { LogError } from '../util/errors.ts'
import { MiB } from '../util/sizes.ts'
import { cleaningInput } from './cleaning-input.ts'
import { type LogSlot, type LogTable, noteCut } from './log-table.ts'

/** As Kafka's `log.cleaner.dedupe.buffer.size`. */
export const DEFAULT_MAP_BYTES = 128 * MiB

export interface CleanOptions {
  /** In place of the clock, ms since 1970: what lags and delete horizons are judged by. */
  readonly now?: number | undefined
  /** Cleans what can be cleaned, whatever `min.cleanable.dirty.ratio` says. */
  readonly force?: boolean | undefined
  /** Reads all that a cleaning would read, and changes nothing. */
  readonly dryRun?: boolean | undefined
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((progress: CleaningProgress) => void) | undefined
}

/** What was decided for a log, by which numbers, and what came of it. */
export interface CleaningReport {
  readonly topic: string
  readonly partition: number
  readonly judgement: CleanableJudgement
  /** `undefined` where nothing was cleaned. */
  readonly cleaned: CleanedLog | undefined
}

export interface CleanedLog {
  /** First offset that is dirty from now on. */
  readonly endOffset: number
  /** Rounds it took: more than one where the keys did not fit into the map. */
  readonly rounds: number
  /** Segments of the log, and their bytes, before and after; of a dry run the bytes as they would be. */
  readonly segmentsBefore: number
  readonly segmentsAfter: number
  readonly bytesBefore: number
  readonly bytesAfter: number
  readonly milliseconds: number
  readonly stats: CleaningStats
}

export interface LogCleanerParts {
  readonly table: LogTable
  readonly shared: SharedParts
  readonly host: CleanerHost
  /** Memory for the map of keys, bytes. */
  readonly mapBytes: number
  /** `undefined` where nothing is known of the topic's settings. */
  readonly settings: (topic: string) => LogConfig | undefined
}

export class LogCleaner {
  readonly #parts: LogCleanerParts
  readonly #busy = new Set<LogSlot>()
  /** The segments of logs that had nothing dirty when they were last looked at. */
  readonly #cleanAt = new WeakMap<LogSlot, object>()

  constructor(parts: LogCleanerParts) {
    this.#parts = parts
  }

  /** Whether a cleaning of the log is under way. */
  isCleaning(slot: LogSlot): boolean {
    return this.#busy.has(slot)
  }

  /** Whether nothing can have become dirty since the last judgement: a store may have thousands of logs to ask. */
  isSurelyClean(slot: LogSlot, log: PartitionLog): boolean {
    return this.#cleanAt.get(slot) === log.maintenance.segmentList
  }

  /** Whether the log is due, and why. */
  async judge(slot: LogSlot, log: PartitionLog, options: Pick<CleanOptions, 'now'> = {}): Promise<CleanableJudgement> {
    // Taken before the look: what comes in between is looked at next time.
    const { segmentList } = log.maintenance
    const judgement = this.#judge(slot, log, await log.maintenance.view(), options)
    // Nothing but a new segment, or a cut, makes it dirty.
    if (judgement.reason === 'nothing-dirty') this.#cleanAt.set(slot, segmentList)
    else this.#cleanAt.delete(slot)
    return judgement
  }

  /**
   * Cleans a log if it is due.
   *
   * @throws {LogError} INVALID_REQUEST while the log is being cleaned already; CORRUPT_LOG for damage in a segment,
   *   which stays in place; SEGMENTS_CHANGED when the log was cut meanwhile; ABORTED; NO_SPACE and the like. What was
   *   put in place before stays, and the log is sound.
   */
  async clean(slot: LogSlot, log: PartitionLog, options: CleanOptions = {}): Promise<CleaningReport> {
    const { topic, partition } = slot.folder
    if (this.#busy.has(slot))
      throw new LogError('INVALID_REQUEST', `${slot.folder.name} is being cleaned already`, { topic, partition })
    this.#busy.add(slot)
    try {
      const view = await log.maintenance.view()
      const judgement = this.#judge(slot, log, view, options)
      const isForced = options.force === true && judgement.reason === 'below-ratio'
      const isDue = judgement.due || isForced
      const cleaned = isDue ? await this.#clean(slot, log, { view, judgement }, options) : undefined
      return { topic, partition, judgement, cleaned }
    } finally {
      this.#busy.delete(slot)
    }
  }

  #judge(slot: LogSlot, log: PartitionLog, view: LogView, { now }: Pick<CleanOptions, 'now'>): CleanableJudgement {
    const { settings, shared } = this.#parts
    const { directory, folder } = slot
    noteCut(slot, log)
    const held = log.maintenance.holds.inForce().map(({ offset }) => offset)
    const firstHeldOffset = held.length === 0 ? undefined : Math.min(...held)
    const checkpoint = directory.checkpoint('cleaner').get(folder.name)
    const config = settings(folder.topic)
    const known = config && { ...config, maxCompactionLagMs: config.maxCompactionLagMs }
    return judgeCleanable({ ...view, checkpoint, firstHeldOffset }, known, now ?? shared.clock.now())
  }

  async #clean(
    slot: LogSlot,
    log: PartitionLog,
    first: { view: LogView; judgement: CleanableJudgement },
    options: CleanOptions
  ): Promise<CleanedLog> {
    const { clock } = this.#parts.shared
    const begun = clock.monotonic()
    const before = log.segments()
    const stats = noStats()
    let { view, judgement } = first
    for (let rounds = 1; ; rounds += 1) {
      const result = await this.#round(log, view, judgement, options)
      addStats(stats, result.stats)
      if (options.dryRun !== true) {
        // What lies behind a cut was not there when this looked.
        if (!log.maintenance.isCutSince(view))
          slot.directory.checkpoint('cleaner').set(slot.folder.name, result.endOffset)
        await slot.directory.saveCheckpoints()
      }
      const isOver = !result.isPartial || result.endOffset <= judgement.firstDirtyOffset
      if (isOver || options.dryRun === true) {
        const after = log.segments()
        return {
          endOffset: result.endOffset,
          rounds,
          segmentsBefore: before.length,
          segmentsAfter: after.length,
          bytesBefore: sum(before),
          bytesAfter: sum(after) - (options.dryRun === true ? stats.bytesRead - stats.bytesKept : 0),
          milliseconds: clock.monotonic() - begun,
          stats
        }
      }
      view = await log.maintenance.view()
      judgement = this.#judge(slot, log, view, options)
    }
  }

  async #round(
    log: PartitionLog,
    view: LogView,
    judgement: CleanableJudgement,
    { now, dryRun, signal, onProgress }: CleanOptions
  ): Promise<CleaningResult> {
    const { shared, host, mapBytes } = this.#parts
    const { maintenance } = log
    const { firstDirtyOffset, firstUncleanableOffset } = judgement
    const task = { firstDirtyOffset, firstUncleanableOffset, now: now ?? shared.clock.now(), mapBytes }
    const input = await cleaningInput(log, view, task)
    // Records go because a transaction was committed or aborted: a power cut must not make that undecided again.
    if (dryRun !== true) await log.sync()
    return maintenance.goingBy(view, () =>
      dryRun === true
        ? previewCleaning(input, { fs: shared.fs, clock: shared.clock, signal, onProgress })
        : host.clean(input, { signal, onProgress, onGroup: group => maintenance.replace(view, group) })
    )
  }
}

const sum = (segments: readonly { readonly bytes: number }[]): number =>
  segments.reduce((total, { bytes }) => total + bytes, 0)
