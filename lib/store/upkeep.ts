/**
 * What a store does by itself, in the background: files that are out of use go, old active segments are rolled,
 * retention is applied, the dirtiest compacted log is cleaned.
 *
 * Decisions are made elsewhere (`log/retention.ts`, `disk-budget.ts`, `compaction/cleanable.ts`); this looks at the
 * clock and carries them out, one thing after the other, never in the way of an append.
 *
 * Invariants:
 *   U1  What fails for one log is that log's: counted, told, tried again after a pause that doubles, while the others
 *       go on.
 *   U2  Nothing happens to a topic whose settings are unknown (decision 1).
 *   U3  After `stop` nothing is under way and nothing begins.
 */
import { type CleanerHost, InlineHost, WorkerHost } from '../compaction/cleaner-host.ts'
import type { CleaningProgress } from '../compaction/cleaning-types.ts'
import { nodeFileSystem } from '../fs/node-file-system.ts'
import type { EraseOptions, EraseReceipt } from '../log/erase-types.ts'
import { isCompacted, type LogConfig } from '../log/log-config.ts'
import type { SharedParts } from '../log/open-log.ts'
import type { PartitionLog } from '../log/partition-log.ts'
import type { Timer } from '../util/clock.ts'
import { publish } from '../util/diagnostics.ts'
import { isLogError, LogError } from '../util/errors.ts'
import { Turn } from '../util/turn.ts'
import { Breath } from './breath.ts'
import { ClockGuard } from './clock-guard.ts'
import { eraseKey } from './erasure.ts'
import { type CleaningReport, type CleanOptions, DEFAULT_MAP_BYTES, LogCleaner } from './log-cleaner.ts'
import type { LogSlot, LogTable } from './log-table.ts'
import { type RetainableLog, type RetainOptions, type RetainReport, retainableLogs, retainLogs } from './retain.ts'
import { Scrubber } from './scrubber.ts'
import { type Setback, Setbacks } from './setbacks.ts'
import { storeError } from './storage-errors.ts'
import type { Topics } from './topics.ts'
import type { CompactionDescription, VerificationDescription } from './types.ts'
import type {
  CompactedPartition,
  CompactOptions,
  CompactReport,
  FailedCompaction,
  UpkeepOptions,
  UpkeepSetback,
  UpkeepStatus
} from './upkeep-types.ts'

/** As Kafka's `log.cleaner.backoff.ms`. */
const LOOK_EVERY_MS = 15_000
/** As Kafka's `log.retention.check.interval.ms`, and its delay before the first time. */
const RETENTION_EVERY_MS = 300_000
const FIRST_RETENTION_MS = 30_000

const GONE = ['SEGMENTS_CHANGED', 'LOG_CLOSED', 'UNKNOWN_TOPIC_OR_PARTITION', 'ABORTED'] as const

export interface UpkeepParts {
  readonly table: LogTable
  readonly topics: Topics
  readonly shared: SharedParts
  readonly options: UpkeepOptions
}

interface Candidate {
  readonly slot: LogSlot
  readonly log: PartitionLog
  readonly dirtyRatio: number
}

export class Upkeep {
  readonly #parts: UpkeepParts
  readonly #host: CleanerHost
  readonly #cleaner: LogCleaner
  readonly #guard: ClockGuard
  readonly #scrubber: Scrubber
  readonly #compactionSetbacks: Setbacks<LogSlot>
  readonly #retentionSetbacks: Setbacks<LogSlot>
  /** What is asked for and what happens by itself, one after the other. */
  readonly #turn = new Turn()
  readonly #stopping = new AbortController()
  readonly #breath: Breath
  #timer: Timer | undefined
  #retentionDueAt: number
  #retention: UpkeepStatus['retention'] = { at: undefined, deletedSegments: 0, deletedBytes: 0 }
  #cleaning: UpkeepStatus['cleaning']
  #cleanings = 0
  #cleanedAwayBytes = 0
  #clockJumpMs: number | undefined
  #isPaused = false

  constructor(parts: UpkeepParts) {
    const { shared, options, table } = parts
    const { cleanerBytesPerSecond: bytesPerSecond, cleanerMapBytes: mapBytes = DEFAULT_MAP_BYTES } = options
    const inWorker = options.cleanerThread !== false && shared.fs === nodeFileSystem
    this.#parts = parts
    this.#host = inWorker ? new WorkerHost({ bytesPerSecond }) : new InlineHost({ ...shared, bytesPerSecond })
    this.#breath = new Breath(shared.clock)
    this.#guard = new ClockGuard(shared.clock)
    this.#scrubber = new Scrubber(table, shared, options)
    this.#compactionSetbacks = new Setbacks(shared.clock)
    this.#retentionSetbacks = new Setbacks(shared.clock)
    this.#retentionDueAt = shared.clock.monotonic() + (options.firstRetentionMs ?? FIRST_RETENTION_MS)
    const settings = (topic: string): LogConfig | undefined => this.#settings(topic)
    this.#cleaner = new LogCleaner({ table, shared, host: this.#host, mapBytes, settings })
    table.eraseKey = (log, key, options) => this.#erase(log, key, options)
  }

  /** Begins to look, and looks again and again until `stop`. */
  start(): void {
    const { options } = this.#parts
    if (options.background === false || this.#stopping.signal.aborted) return
    this.#scrubber.start(options.lookEveryMs ?? LOOK_EVERY_MS)
    this.#lookLater()
  }

  #lookLater(): void {
    const { options, shared } = this.#parts
    if (this.#stopping.signal.aborted) return
    this.#timer = shared.clock.setTimer(options.lookEveryMs ?? LOOK_EVERY_MS, () => {
      void this.#turn.run(() => this.#look()).then(() => this.#lookLater())
    })
  }

  /** Cancels what is under way and waits for its end. */
  async stop(): Promise<void> {
    this.#timer?.cancel()
    this.#stopping.abort()
    // Who is paused would never come to the end.
    this.#host.resume()
    await this.#scrubber.stop()
    await this.#turn.run(() => undefined)
  }

  /** A cleaning stops where it is; nothing begins by itself. */
  pause(): void {
    this.#isPaused = true
    this.#host.pause()
    this.#scrubber.pause()
  }

  resume(): void {
    this.#isPaused = false
    this.#host.resume()
    this.#scrubber.resume()
  }

  /** See `Store.acknowledgeClock`. */
  acknowledgeClock(): void {
    this.#guard.acknowledge()
    this.#clockJumpMs = undefined
  }

  /** See `Store.retain`. */
  retain(options: RetainOptions): Promise<RetainReport> {
    return this.#turn.run(() => this.#retain(this.#retainable(options.topics), options))
  }

  /** See `Store.compact`. */
  compact(options: CompactOptions): Promise<CompactReport> {
    const { topics, partition, ...cleanOptions } = options
    const slots = this.#slots(topics).filter(({ folder }) => partition === undefined || folder.partition === partition)
    return this.#turn.run(async () => {
      const partitions: (CompactedPartition | FailedCompaction)[] = []
      for (const slot of slots) {
        const { topic, partition } = slot.folder
        try {
          partitions.push(await this.#clean(slot, await this.#open(slot), cleanOptions))
        } catch (error) {
          if (isLogError(error, 'ABORTED')) throw error
          const { code, message } = storeError(error, 'compact', slot.folder.name)
          partitions.push({ topic, partition, error: { code, message } })
        }
      }
      return { dryRun: options.dryRun === true, partitions }
    })
  }

  /** How far a log is verified, and a compacted one cleaned. */
  async describe(
    slot: LogSlot
  ): Promise<{ verification?: VerificationDescription; compaction?: CompactionDescription }> {
    const sealed = (await this.#open(slot)).maintenance.sealedSegments()
    const times = sealed.flatMap(({ verifiedMs }) => verifiedMs ?? [])
    const damage = this.#scrubber.damageOf(slot)
    if (times.length === 0 && damage.length === 0) return this.#describeCompaction(slot)
    const verification = {
      sealedSegments: sealed.length,
      verifiedSegments: times.length,
      oldestMs: times.length === 0 ? null : times.reduce((least, ms) => Math.min(least, ms)),
      damage
    }
    return { verification, ...(await this.#describeCompaction(slot)) }
  }

  async #describeCompaction(slot: LogSlot): Promise<{ compaction?: CompactionDescription }> {
    const settings = this.#settings(slot.folder.topic)
    if (settings === undefined || !isCompacted(settings)) return {}
    const { firstDirtyOffset, firstUncleanableOffset, dirtyRatio, due, reason, overdueMs } = await this.#cleaner.judge(
      slot,
      await this.#open(slot)
    )
    const setback = this.#compactionSetbacks.of(slot)
    const failures = setback?.failures ?? 0
    const lastError = setback?.error ?? null
    return {
      compaction: { firstDirtyOffset, firstUncleanableOffset, dirtyRatio, due, reason, overdueMs, failures, lastError }
    }
  }

  status(): UpkeepStatus {
    const open = [...this.#parts.table.slots()].flatMap(({ log }) => log?.maintenance ?? [])
    return {
      background: this.#parts.options.background !== false,
      paused: this.#isPaused,
      cleanerHost: this.#host.kind,
      cleaning: this.#cleaning,
      cleanings: this.#cleanings,
      cleanedAwayBytes: this.#cleanedAwayBytes,
      retention: this.#retention,
      clockJumpMs: this.#clockJumpMs,
      reclaimableBytes: open.reduce((sum, { reclaimableBytes }) => sum + reclaimableBytes, 0),
      reclaimedBytes: open.reduce((sum, { reclaimedBytes }) => sum + reclaimedBytes, 0),
      scrub: this.#scrubber.status(),
      setbacks: [...this.#parts.table.slots()].flatMap(slot => [
        ...this.#told(slot, 'compaction', this.#compactionSetbacks.of(slot)),
        ...this.#told(slot, 'retention', this.#retentionSetbacks.of(slot))
      ])
    }
  }

  #told({ folder }: LogSlot, what: UpkeepSetback['what'], setback: Setback | undefined): UpkeepSetback[] {
    if (setback === undefined) return []
    const { topic, partition } = folder
    const { failures, failedAt, retryAt, error } = setback
    const retryInMs = Math.max(0, retryAt - this.#parts.shared.clock.monotonic())
    return [
      { topic, partition, what, failures, failedAt, retryInMs, error: { code: error.code, message: error.message } }
    ]
  }

  async #look(): Promise<void> {
    for (const step of [this.#removeOld, this.#rollOld, this.#retainWhenDue, this.#cleanDirtiest]) {
      if (this.#stopping.signal.aborted || this.#isPaused) return
      try {
        await step()
      } catch (error) {
        if (!this.#stopping.signal.aborted) publish('error', () => ({ error }))
      }
    }
  }

  readonly #removeOld = async (): Promise<void> => {
    for (const slot of this.#parts.table.slots()) {
      const { log } = slot
      // Most have nothing that waits, and there may be thousands.
      if (log?.condition !== 'open' || log.maintenance.removalDueAt === undefined) continue
      await this.#isolated(slot, this.#retentionSetbacks, () => log.maintenance.removeDeleted())
    }
  }

  /**
   * Kafka rolls by time only when something is appended; a log that nobody writes to any more would then keep its
   * last records from the cleaner for ever.
   */
  readonly #rollOld = async (): Promise<void> => {
    for (const slot of this.#parts.table.slots()) {
      const { log } = slot
      const settings = log?.condition === 'open' ? this.#settings(slot.folder.topic) : undefined
      if (log === undefined || settings === undefined || !losesSegments(settings)) continue
      await this.#breath.take()
      await this.#isolated(slot, this.#retentionSetbacks, () => log.maintenance.rollIfOld())
    }
  }

  readonly #retainWhenDue = async (): Promise<void> => {
    const { options, shared } = this.#parts
    if (shared.clock.monotonic() < this.#retentionDueAt) return
    this.#retentionDueAt = shared.clock.monotonic() + (options.retentionEveryMs ?? RETENTION_EVERY_MS)
    const hasLimits = options.diskBudgetBytes !== undefined || options.diskFreeMinBytes !== undefined
    const logs = this.#retainable(undefined).filter(log => hasLimits || this.#mayRetain(log))
    await this.#retain(logs, {})
  }

  /** A log is not opened for a retention that cannot take anything. */
  #mayRetain({ topic, managed, slot }: RetainableLog): boolean {
    if (!managed || !this.#retentionSetbacks.mayTry(slot)) return false
    return losesSegments(this.#parts.topics.config(topic))
  }

  /** The dirtiest of the logs that are due, one after the other, each looked at anew. */
  readonly #cleanDirtiest = async (): Promise<void> => {
    const done = new Set<LogSlot>()
    for (;;) {
      const candidates: Candidate[] = []
      for (const slot of this.#slots(undefined)) {
        if (!this.#mayClean(slot) || done.has(slot)) continue
        await this.#breath.take()
        await this.#isolated(slot, this.#compactionSetbacks, async () => {
          const log = await this.#open(slot)
          if (this.#cleaner.isSurelyClean(slot, log)) return
          const { due, dirtyRatio } = await this.#cleaner.judge(slot, log)
          if (due) candidates.push({ slot, log, dirtyRatio })
        })
      }
      const dirtiest = candidates.sort((a, b) => b.dirtyRatio - a.dirtyRatio)[0]
      if (dirtiest === undefined || this.#stopping.signal.aborted || this.#isPaused) return
      const { slot, log } = dirtiest
      done.add(slot)
      await this.#isolated(slot, this.#compactionSetbacks, () => this.#clean(slot, log, {}))
    }
  }

  #mayClean(slot: LogSlot): boolean {
    const settings = this.#settings(slot.folder.topic)
    return settings !== undefined && isCompacted(settings) && this.#compactionSetbacks.mayTry(slot)
  }

  /** U1 */
  async #isolated(slot: LogSlot, setbacks: Setbacks<LogSlot>, work: () => Promise<unknown>): Promise<void> {
    try {
      await work()
    } catch (error) {
      // Cut, closed or deleted while it was being looked at: the next look finds it as it is then.
      if (GONE.some(code => isLogError(error, code)) || this.#stopping.signal.aborted) return
      const { topic, partition, name } = slot.folder
      const failure = storeError(error, 'look after', name)
      setbacks.failed(slot, { code: failure.code, message: failure.message })
      publish('error', () => ({ topic, partition, error: failure }))
    }
  }

  async #clean(slot: LogSlot, log: PartitionLog, options: CleanOptions): Promise<CleaningReport> {
    const { topic, partition } = slot.folder
    const since = this.#parts.shared.clock.now()
    const onProgress = (progress: CleaningProgress): void => {
      this.#cleaning = { topic, partition, since, ...progress }
      options.onProgress?.(progress)
    }
    try {
      const now = options.now ?? this.#trustedNow()
      const report = await this.#cleaner.clean(slot, log, {
        ...options,
        now,
        onProgress,
        signal: this.#signal(options)
      })
      if (report.cleaned !== undefined && options.dryRun !== true) {
        this.#compactionSetbacks.went(slot)
        this.#cleanings += 1
        this.#cleanedAwayBytes += report.cleaned.bytesBefore - report.cleaned.bytesAfter
        publish('compaction', () => ({ topic, partition, ...report.cleaned }))
      }
      return report
    } finally {
      this.#cleaning = undefined
    }
  }

  /** Of a clock that has jumped ahead, where it was to be: no tombstone may go before its time either. */
  #trustedNow(): number | undefined {
    const verdict = this.#guard.check()
    return verdict.trusted ? undefined : this.#parts.shared.clock.now() - verdict.jumpMs
  }

  /** In turn with cleanings: both write `.cleaned` files. */
  #erase(log: PartitionLog, key: Uint8Array, options: EraseOptions): Promise<EraseReceipt> {
    return this.#turn.run(() =>
      eraseKey(
        log,
        key,
        { shared: this.#parts.shared, host: this.#host },
        { ...options, signal: this.#signal(options) }
      )
    )
  }

  #signal({ signal }: { readonly signal?: AbortSignal | undefined }): AbortSignal {
    return signal === undefined ? this.#stopping.signal : AbortSignal.any([this.#stopping.signal, signal])
  }

  async #retain(logs: readonly RetainableLog[], options: RetainOptions): Promise<RetainReport> {
    const { shared } = this.#parts
    const { diskBudgetBytes, diskFreeMinBytes } = this.#parts.options
    const verdict = this.#guard.check()
    this.#clockJumpMs = verdict.trusted ? undefined : verdict.jumpMs
    const clockJumpMs = options.now === undefined ? this.#clockJumpMs : undefined
    const report = await retainLogs(logs, shared, { diskBudgetBytes, diskFreeMinBytes, clockJumpMs, ...options })
    if (report.dryRun) return report
    const failed = new Map(
      report.partitions.flatMap(each => ('error' in each ? [[`${each.topic}-${each.partition}`, each.error]] : []))
    )
    for (const { slot } of logs) {
      const error = failed.get(slot.folder.name)
      if (error === undefined) this.#retentionSetbacks.went(slot)
      else this.#retentionSetbacks.failed(slot, error)
    }
    const { deletedSegments, deletedBytes } = this.#retention
    this.#retention = {
      at: shared.clock.now(),
      deletedSegments: deletedSegments + report.deletedSegments,
      deletedBytes: deletedBytes + report.deletedBytes
    }
    return report
  }

  #retainable(topics: readonly string[] | undefined): RetainableLog[] {
    return retainableLogs(this.#parts.table, this.#parts.topics, topics)
  }

  /** U2 */
  #settings(topic: string): LogConfig | undefined {
    const { topics } = this.#parts
    return topics.isManaged(topic) ? topics.config(topic) : undefined
  }

  #open(slot: LogSlot): Promise<PartitionLog> {
    return this.#parts.table.open(slot, () => this.#parts.topics.config(slot.folder.topic))
  }

  /** @throws {LogError} UNKNOWN_TOPIC_OR_PARTITION */
  #slots(topics: readonly string[] | undefined): LogSlot[] {
    const { table } = this.#parts
    return (topics ?? [...table.topicNames()].sort()).flatMap(topic => {
      const slots = table.topic(topic)
      if (slots === undefined) throw new LogError('UNKNOWN_TOPIC_OR_PARTITION', `there is no topic ${topic}`, { topic })
      return [...slots.values()].sort((a, b) => a.folder.partition - b.folder.partition)
    })
  }
}

/** Whether anything is ever taken out of such a log: else there is no need to look at it. */
function losesSegments(config: LogConfig): boolean {
  const { cleanupPolicy, retentionMs, retentionBytes, retentionRecords } = config
  if (isCompacted(config)) return true
  const hasLimit = retentionMs !== undefined || retentionBytes !== undefined || retentionRecords !== undefined
  return hasLimit && cleanupPolicy.includes('delete')
}
