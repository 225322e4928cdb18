/**
 * What a store takes out by itself and when asked: files that are out of use, old active segments, segments that
 * retention or a limit of the directory has decided against.
 *
 * In turn with one another and with erasures, which prove what lies in a folder; never behind a cleaning, which may
 * take hours: the disk would fill meanwhile. A log that is being cleaned has its turn when that is over, unless room is
 * wanted or somebody asks: then the cleaning gives way, and is tried again.
 */
import type { LogConfig } from '../log/log-config.ts'
import { isCompacted } from '../log/log-config.ts'
import { Turn } from '../util/turn.ts'
import { Breath } from './breath.ts'
import type { ClockGuard } from './clock-guard.ts'
import type { LogSlot } from './log-table.ts'
import { type RetainableLog, type RetainOptions, type RetainReport, retainableLogs, retainLogs } from './retain.ts'
import { Setbacks } from './setbacks.ts'
import type { UpkeepParts, UpkeepStatus } from './upkeep-types.ts'

/** As Kafka's `log.retention.check.interval.ms`, and its delay before the first time. */
const RETENTION_EVERY_MS = 300_000
const FIRST_RETENTION_MS = 30_000

export interface RetentionHooks {
  readonly guard: ClockGuard
  /** Runs it, and tells of a failure of this log among its setbacks. */
  readonly isolated: (slot: LogSlot, setbacks: Setbacks<LogSlot>, work: () => Promise<unknown>) => Promise<void>
  /** Whether a cleaning of the log is under way. */
  readonly isCleaning: (slot: LogSlot) => boolean
}

export class RetentionRounds {
  readonly setbacks: Setbacks<LogSlot>
  readonly #parts: UpkeepParts
  readonly #hooks: RetentionHooks
  readonly #turn = new Turn()
  readonly #breath: Breath
  /** Passed over because they were being cleaned. */
  readonly #leftOut = new Set<LogSlot>()
  #dueAt: number
  #done: UpkeepStatus['retention'] = { at: undefined, deletedSegments: 0, deletedBytes: 0 }
  #clockJumpMs: number | undefined

  constructor(parts: UpkeepParts, hooks: RetentionHooks) {
    const { shared, options } = parts
    this.#parts = parts
    this.#hooks = hooks
    this.#breath = new Breath(shared.clock)
    this.setbacks = new Setbacks(shared.clock)
    this.#dueAt = shared.clock.monotonic() + (options.firstRetentionMs ?? FIRST_RETENTION_MS)
  }

  get status(): UpkeepStatus['retention'] {
    return this.#done
  }

  /** By how much the wall clock was ahead when it was last asked. */
  get clockJumpMs(): number | undefined {
    return this.#clockJumpMs
  }

  acknowledgeClock(): void {
    this.#clockJumpMs = undefined
  }

  /** What a look does, one after the other. */
  get steps(): readonly (() => Promise<void>)[] {
    return [this.#removeOld, this.#rollOld, this.#retainWhenDue]
  }

  /** Nothing is taken out while `work` runs. It must not ask for `retain`. */
  inTurn<T>(work: () => Promise<T> | T): Promise<T> {
    return this.#turn.run(work)
  }

  /** See `Store.retain`. */
  retain(options: RetainOptions): Promise<RetainReport> {
    return this.#turn.run(() => this.#retain(this.#retainable(options.topics), options))
  }

  /** To be called when the cleaning of a log is over: what it was passed over for is made good. */
  async cleaned(slot: LogSlot): Promise<void> {
    if (!this.#leftOut.delete(slot)) return
    const { topic, partition } = slot.folder
    await this.#turn.run(async () => {
      if (this.#parts.table.slot(topic, partition) !== slot) return
      const logs = this.#retainable([topic]).filter(log => log.slot === slot && this.#mayRetain(log))
      await this.#retain(logs, { topics: [topic] })
    })
  }

  readonly #removeOld = async (): Promise<void> => {
    for (const slot of this.#parts.table.slots()) {
      const { log } = slot
      // Most have nothing that waits, and there may be thousands.
      if (log?.condition !== 'open' || log.maintenance.removalDueAt === undefined) continue
      await this.#hooks.isolated(slot, this.setbacks, () => log.maintenance.removeDeleted())
    }
  }

  /**
   * Kafka rolls by time only when something is appended; a log that nobody writes to any more would then keep its
   * last records from the cleaner for ever.
   */
  readonly #rollOld = async (): Promise<void> => {
    const { table, topics } = this.#parts
    for (const slot of table.slots()) {
      const { log } = slot
      const { topic } = slot.folder
      const settings = log?.condition === 'open' && topics.isManaged(topic) ? topics.config(topic) : undefined
      if (log === undefined || settings === undefined || !losesSegments(settings)) continue
      await this.#breath.take()
      await this.#hooks.isolated(slot, this.setbacks, () => log.maintenance.rollIfOld())
    }
  }

  readonly #retainWhenDue = async (): Promise<void> => {
    const { options, shared } = this.#parts
    if (shared.clock.monotonic() < this.#dueAt) return
    this.#dueAt = shared.clock.monotonic() + (options.retentionEveryMs ?? RETENTION_EVERY_MS)
    const hasLimits = options.diskBudgetBytes !== undefined || options.diskFreeMinBytes !== undefined
    const logs = this.#retainable(undefined).filter(log => hasLimits || (this.#mayRetain(log) && !this.#leaveOut(log)))
    await this.#retain(logs, {})
  }

  /** A log is not opened for a retention that cannot take anything. */
  #mayRetain({ topic, managed, slot }: RetainableLog): boolean {
    if (!managed || !this.setbacks.mayTry(slot)) return false
    return losesSegments(this.#parts.topics.config(topic))
  }

  #leaveOut({ slot }: RetainableLog): boolean {
    const isCleaning = this.#hooks.isCleaning(slot)
    if (isCleaning) this.#leftOut.add(slot)
    return isCleaning
  }

  async #retain(logs: readonly RetainableLog[], options: RetainOptions): Promise<RetainReport> {
    const { shared } = this.#parts
    const { diskBudgetBytes, diskFreeMinBytes } = this.#parts.options
    const verdict = this.#hooks.guard.check()
    this.#clockJumpMs = verdict.trusted ? undefined : verdict.jumpMs
    const clockJumpMs = options.now === undefined ? this.#clockJumpMs : undefined
    const report = await retainLogs(logs, shared, { diskBudgetBytes, diskFreeMinBytes, clockJumpMs, ...options })
    if (report.dryRun) return report
    const failed = new Map(
      report.partitions.flatMap(each => ('error' in each ? [[`${each.topic}-${each.partition}`, each.error]] : []))
    )
    for (const { slot } of logs) {
      const error = failed.get(slot.folder.name)
      if (error === undefined) this.setbacks.went(slot)
      else this.setbacks.failed(slot, error)
    }
    const { deletedSegments, deletedBytes } = this.#done
    this.#done = {
      at: shared.clock.now(),
      deletedSegments: deletedSegments + report.deletedSegments,
      deletedBytes: deletedBytes + report.deletedBytes
    }
    return report
  }

  #retainable(topics: readonly string[] | undefined): RetainableLog[] {
    return retainableLogs(this.#parts.table, this.#parts.topics, topics)
  }
}

/** Whether anything is ever taken out of such a log: else there is no need to look at it. */
export function losesSegments(config: LogConfig): boolean {
  const { cleanupPolicy, retentionMs, retentionBytes, retentionRecords } = config
  if (isCompacted(config)) return true
  const hasLimit = retentionMs !== undefined || retentionBytes !== undefined || retentionRecords !== undefined
  return hasLimit && cleanupPolicy.includes('delete')
}
