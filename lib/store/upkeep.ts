/**
 * What a store does by itself, in the background: files that are out of use go, old active segments are rolled,
 * retention is applied, the dirtiest compacted log is cleaned.
 *
 * Decisions are made elsewhere (`log/retention.ts`, `disk-budget.ts`, `compaction/cleanable.ts`); this looks at the
 * clock and carries them out, never in the way of an append. Cleanings and erasures run one after the other; what
 * retention takes out (`retention-rounds.ts`) does not wait for a cleaning.
 *
 * Invariants:
 *   U1  What fails for one log is that log's: counted, told, tried again after a pause that doubles, while the others
 *       go on.
 *   U2  Nothing happens to a topic whose settings are unknown (decision 1).
 *   U3  After `stop` nothing is under way and nothing begins.
 *   U4  Retention goes on while a log is cleaned, however long that takes.
 */
import { type CleanerHost, InlineHost, WorkerHost } from '../compaction/cleaner-host.ts'
import type { CleaningProgress } from '../compaction/cleaning-types.ts'
import { nodeFileSystem } from '../fs/node-file-system.ts'
import type { EraseOptions, EraseReceipt } from '../log/erase-types.ts'
import { isCompacted, type LogConfig } from '../log/log-config.ts'
import type { PartitionLog } from '../log/partition-log.ts'
import type { Timer } from '../util/clock.ts'
import { publish } from '../util/diagnostics.ts'
import { isLogError, LogError } from '../util/errors.ts'
import { Turn } from '../util/turn.ts'
import { Breath } from './breath.ts'
import { ClockGuard } from './clock-guard.ts'
import { eraseKey } from './erasure.ts'
import { type CleaningReport, type CleanOptions, DEFAULT_MAP_BYTES, LogCleaner } from './log-cleaner.ts'
import type { LogSlot } from './log-table.ts'
import type { RetainOptions, RetainReport } from './retain.ts'
import { RetentionRounds } from './retention-rounds.ts'
import { Scrubber } from './scrubber.ts'
import { type Setback, Setbacks } from './setbacks.ts'
import { storeError } from './storage-errors.ts'
import type { CompactionDescription, VerificationDescription } from './types.ts'
import type {
  CompactedPartition,
  CompactOptions,
  CompactReport,
  FailedCompaction,
  UpkeepParts,
  UpkeepSetback,
  UpkeepStatus
} from './upkeep-types.ts'

/** As Kafka's `log.cleaner.backoff.ms`. */
const LOOK_EVERY_MS = 15_000
/** A log that is cut again each time it was looked at will be there next time too. */
const ATTEMPTS = 3

const GONE = ['SEGMENTS_CHANGED', 'LOG_CLOSED', 'UNKNOWN_TOPIC_OR_PARTITION', 'ABORTED'] as const

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
  readonly #retention: RetentionRounds
  /** Cleanings and erasures that are asked for or happen by themselves, one after the other. */
  readonly #turn = new Turn()
  readonly #stopping = new AbortController()
  readonly #breath: Breath
  #timer: Timer | undefined
  /** Looks at what retention takes; a round of cleanings. */
  #looking: Promise<void> | undefined
  #round: Promise<void> | undefined
  #cleaning: UpkeepStatus['cleaning']
  #cleanings = 0
  #cleanedAwayBytes = 0
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
    const settings = (topic: string): LogConfig | undefined => this.#settings(topic)
    this.#cleaner = new LogCleaner({ table, shared, host: this.#host, mapBytes, settings })
    this.#retention = new RetentionRounds(parts, {
      guard: this.#guard,
      isolated: (slot, setbacks, work) => this.#isolated(slot, setbacks, work),
      isCleaning: slot => this.#cleaner.isCleaning(slot)
    })
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
      this.#looking = this.#look().then(() => this.#lookLater())
    })
  }

  /** Cancels what is under way and waits for its end. */
  async stop(): Promise<void> {
    this.#timer?.cancel()
    this.#stopping.abort()
    // Who is paused would never come to the end.
    this.#host.resume()
    await this.#scrubber.stop()
    await this.#looking
    await this.#round
    await this.#turn.run(() => undefined)
    await this.#retention.inTurn(() => undefined)
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
    this.#retention.acknowledgeClock()
  }

  /** See `Store.retain`. */
  retain(options: RetainOptions): Promise<RetainReport> {
    return this.#retention.retain(options)
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
          partitions.push(await this.#cleanAsAsked(slot, cleanOptions))
        } catch (error) {
          if (isLogError(error, 'ABORTED')) throw error
          const { code, message } = storeError(error, 'compact', slot.folder.name)
          partitions.push({ topic, partition, error: { code, message } })
        }
      }
      return { dryRun: options.dryRun === true, partitions }
    })
  }

  /** Retention may take from the log meanwhile, which ends a cleaning. */
  async #cleanAsAsked(slot: LogSlot, options: CleanOptions): Promise<CleaningReport> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#clean(slot, await this.#open(slot), options)
      } catch (error) {
        if (attempt === ATTEMPTS || !isLogError(error, 'SEGMENTS_CHANGED')) throw error
      }
    }
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
      retention: this.#retention.status,
      clockJumpMs: this.#retention.clockJumpMs,
      reclaimableBytes: open.reduce((sum, { reclaimableBytes }) => sum + reclaimableBytes, 0),
      reclaimedBytes: open.reduce((sum, { reclaimedBytes }) => sum + reclaimedBytes, 0),
      scrub: this.#scrubber.status(),
      setbacks: [...this.#parts.table.slots()].flatMap(slot => [
        ...this.#told(slot, 'compaction', this.#compactionSetbacks.of(slot)),
        ...this.#told(slot, 'retention', this.#retention.setbacks.of(slot))
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
    await this.#retention.inTurn(() => this.#steps(this.#retention.steps))
    // What takes long is not waited for: the next look comes all the same.
    this.#round ??= this.#turn
      .run(() => this.#steps([this.#cleanDirtiest]))
      .finally(() => {
        this.#round = undefined
      })
  }

  async #steps(steps: readonly (() => Promise<void>)[]): Promise<void> {
    for (const step of steps) {
      if (this.#stopping.signal.aborted || this.#isPaused) return
      try {
        await step()
      } catch (error) {
        if (!this.#stopping.signal.aborted) publish('error', () => ({ error }))
      }
    }
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
      if (!this.#stopping.signal.aborted) await this.#retention.cleaned(slot)
    }
  }

  /** Of a clock that has jumped ahead, where it was to be: no tombstone may go before its time either. */
  #trustedNow(): number | undefined {
    const verdict = this.#guard.check()
    return verdict.trusted ? undefined : this.#parts.shared.clock.now() - verdict.jumpMs
  }

  /** In turn with cleanings: both write `.cleaned` files. And with retention: nothing goes while it is being proved. */
  #erase(log: PartitionLog, key: Uint8Array, options: EraseOptions): Promise<EraseReceipt> {
    const parts = { shared: this.#parts.shared, host: this.#host }
    return this.#turn.run(() =>
      this.#retention.inTurn(() => eraseKey(log, key, parts, { ...options, signal: this.#signal(options) }))
    )
  }

  #signal({ signal }: { readonly signal?: AbortSignal | undefined }): AbortSignal {
    return signal === undefined ? this.#stopping.signal : AbortSignal.any([this.#stopping.signal, signal])
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
