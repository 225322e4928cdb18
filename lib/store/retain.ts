/**
 * Retention of a store's logs, carried out. What goes is decided by pure functions (`log/retention.ts`, `disk-budget.ts`,
 * `overdueHolds`); this asks them for each log and does what they say:
 *
 *     holds over their limit are broken, durably -> where all segments go, a new one is begun, and asked again
 *     -> the log start offset is raised, durably -> files are renamed `.deleted` -> those that waited long enough go
 *
 * Invariants:
 *   T1  One log's failure is that log's: it is told in the report, and the others go on.
 *   T2  With `dryRun` nothing changes, and the decisions are those that are followed without it.
 */
import type { FileSystem } from '../fs/file-system.ts'
import { type OverdueHold, overdueHolds } from '../log/holds.ts'
import type { LogConfig } from '../log/log-config.ts'
import type { LogView } from '../log/maintenance.ts'
import type { PartitionLog } from '../log/partition-log.ts'
import { type Because, decideRetention, type RetentionDecision, type RetentionFacts } from '../log/retention.ts'
import type { Clock } from '../util/clock.ts'
import { publish } from '../util/diagnostics.ts'
import { isLogError, LogError } from '../util/errors.ts'
import { Breath } from './breath.ts'
import { type DiskDeletion, type DiskRule, decideDiskBudget } from './disk-budget.ts'
import { forEachLimited } from './for-each-limited.ts'
import type { LogSlot, LogTable } from './log-table.ts'
import { storeError } from './storage-errors.ts'
import type { Topics } from './topics.ts'

export interface RetainOptions {
  /** Only these topics; all by default. Limits of the directory are looked at only where all topics are. */
  readonly topics?: readonly string[]
  /** Decides, and changes nothing. */
  readonly dryRun?: boolean
  /** Wall clock, ms; the store's by default. */
  readonly now?: number
  /** The wall clock is ahead by so much and proves nothing: see ClockGuard. */
  readonly clockJumpMs?: number | undefined
  /** `heartwood.disk.budget.bytes`: what the segment files of a data directory may take up. */
  readonly diskBudgetBytes?: number | undefined
  /** `heartwood.disk.free.min.bytes`: what the volume of a data directory shall have left. */
  readonly diskFreeMinBytes?: number | undefined
}

export type SegmentDecision =
  | RetentionDecision
  | { readonly segment: number; readonly decision: 'delete'; readonly rule: DiskRule; readonly because: Because }

export interface RetainedPartition {
  readonly topic: string
  readonly partition: number
  /** One for each segment, in their order. */
  readonly decisions: readonly SegmentDecision[]
  /** With `dryRun` those that would be broken. */
  readonly brokenHolds: readonly OverdueHold[]
  /** Afterwards; with `dryRun` as it would be. */
  readonly logStartOffset: number
  readonly deletedSegments: number
  /** Of their .log files. */
  readonly deletedBytes: number
}

/** A log that could not be opened, looked at or shortened. */
export interface FailedRetention {
  readonly topic: string
  readonly partition: number
  readonly error: { readonly code: string; readonly message: string }
}

export interface RetainReport {
  readonly dryRun: boolean
  /** By topic and partition. */
  readonly partitions: readonly (RetainedPartition | FailedRetention)[]
  readonly deletedSegments: number
  readonly deletedBytes: number
  /** Of files that are out of use and wait for `file.delete.delay.ms`. */
  readonly reclaimableBytes: number
  /** Of files that are gone since their logs were opened. */
  readonly reclaimedBytes: number
  /** By how much the limits of the directories are missed all the same: nothing more may go. */
  readonly missingBytes: number
}

/** A log of the store, open or not. */
export interface RetainableLog {
  readonly topic: string
  readonly partition: number
  readonly internal: boolean
  /** The topic's settings are known: decision 1. */
  readonly managed: boolean
  /** The data directory it lies in. */
  readonly dir: string
  readonly slot: LogSlot
  open(): Promise<PartitionLog>
}

/** @throws {LogError} UNKNOWN_TOPIC_OR_PARTITION */
export function retainableLogs(table: LogTable, topics: Topics, names: readonly string[] | undefined): RetainableLog[] {
  return (names ?? [...table.topicNames()].sort()).flatMap(topic => {
    const slots = table.topic(topic)
    if (slots === undefined) throw new LogError('UNKNOWN_TOPIC_OR_PARTITION', `there is no topic ${topic}`, { topic })
    const { internal, managed, partitions } = topics.summary(topic)
    return partitions.map((partition): RetainableLog => {
      const slot = slots.get(partition)!
      const open = (): Promise<PartitionLog> => table.open(slot, () => topics.config(topic))
      return { topic, partition, internal, managed, dir: slot.directory.path, slot, open }
    })
  })
}

export interface RetainParts {
  readonly fs: FileSystem
  readonly clock: Clock
}

interface Looked {
  readonly source: RetainableLog
  readonly log: PartitionLog
  readonly settings: LogConfig | undefined
  readonly view: LogView
  readonly facts: RetentionFacts
  readonly overdue: readonly OverdueHold[]
  readonly plan: Plan
}

interface Plan {
  readonly decisions: readonly SegmentDecision[]
  readonly deletedSegments: number
  readonly deletedBytes: number
  readonly logStartOffset: number
  readonly rollFirst: boolean
}

type Deleted = Pick<Plan, 'deletedSegments' | 'deletedBytes'>

const NOTHING: Deleted = { deletedSegments: 0, deletedBytes: 0 }
const LOGS_AT_A_TIME = 4
/** A log that is cut again each time it was looked at will be there next time too. */
const ATTEMPTS = 3

/** Decides for the given logs, and carries it out unless `dryRun`. */
export function retainLogs(
  logs: readonly RetainableLog[],
  parts: RetainParts,
  options: RetainOptions
): Promise<RetainReport> {
  return new RetentionPass(logs, parts, options).run()
}

class RetentionPass {
  readonly #logs: readonly RetainableLog[]
  readonly #parts: RetainParts
  readonly #options: RetainOptions
  readonly #now: number
  readonly #breath: Breath
  readonly #outcomes = new Map<RetainableLog, RetainedPartition | FailedRetention>()
  readonly #looked = new Map<RetainableLog, Looked>()
  #missingBytes = 0
  /** Room is wanted at once: files that are out of use do not wait. */
  #inNeed = false

  constructor(logs: readonly RetainableLog[], parts: RetainParts, options: RetainOptions) {
    this.#logs = logs
    this.#parts = parts
    this.#options = options
    this.#now = options.now ?? parts.clock.now()
    this.#breath = new Breath(parts.clock)
  }

  async run(): Promise<RetainReport> {
    await forEachLimited(this.#logs, LOGS_AT_A_TIME, source =>
      this.#isolated(source, async () => {
        this.#looked.set(source, await this.#look(source))
      })
    )
    if (this.#options.topics === undefined) await this.#applyDiskLimits()
    await forEachLimited([...this.#looked.values()], LOGS_AT_A_TIME, looked =>
      this.#isolated(looked.source, async () => {
        const done = this.#options.dryRun === true ? looked : await this.#carryOut(looked)
        this.#outcomes.set(looked.source, outcomeOf(done))
      })
    )
    return this.#report()
  }

  /** T1 */
  async #isolated(source: RetainableLog, work: () => Promise<void>): Promise<void> {
    await this.#breath.take()
    try {
      await work()
    } catch (error) {
      const { topic, partition } = source
      const failure = storeError(error, 'apply retention to', `${topic}-${partition}`)
      this.#outcomes.set(source, { topic, partition, error: { code: failure.code, message: failure.message } })
      publish('error', () => ({ topic, partition, error: failure }))
    }
  }

  async #look(source: RetainableLog): Promise<Looked> {
    const log = await source.open()
    const settings = source.managed ? log.config : undefined
    const view = await log.maintenance.view({ final: false })
    const { clockJumpMs } = this.#options
    const { holds } = log.maintenance
    const overdue = settings === undefined ? [] : overdueHolds(holds.list(), { ...view, clockJumpMs }, this.#now)
    const broken = new Set(overdue.map(({ name }) => name))
    const facts = { ...view, holds: holds.inForce().filter(({ name }) => !broken.has(name)), clockJumpMs }
    return { source, log, settings, view, facts, overdue, plan: decideRetention(facts, settings, this.#now) }
  }

  async #applyDiskLimits(): Promise<void> {
    const { diskBudgetBytes, diskFreeMinBytes } = this.#options
    if (diskBudgetBytes === undefined && diskFreeMinBytes === undefined) return
    for (const dir of new Set(this.#logs.map(source => source.dir))) {
      const here = [...this.#looked.values()].filter(({ source }) => source.dir === dir)
      const free = diskFreeMinBytes === undefined ? undefined : (await this.#parts.fs.volume(dir)).freeBytes
      const plan = decideDiskBudget(
        here.map(({ source, settings, facts, view }) => ({
          ...source,
          settings,
          facts: { ...facts, segments: view.segments },
          plan: decideRetention(facts, settings, this.#now)
        })),
        {
          budgetBytes: diskBudgetBytes,
          freeMinBytes: diskFreeMinBytes,
          freeBytes: free,
          reclaimableBytes: here.reduce((sum, { log }) => sum + log.maintenance.reclaimableBytes, 0)
        }
      )
      this.#missingBytes += plan.missingBytes
      this.#inNeed ||= free !== undefined && free < (diskFreeMinBytes ?? 0)
      for (const looked of here) {
        const own = plan.deletions.filter(each => isOf(each, looked.source))
        if (own.length > 0) this.#looked.set(looked.source, { ...looked, plan: withDeletions(looked, own) })
      }
    }
  }

  async #carryOut(looked: Looked): Promise<Looked> {
    let freed = NOTHING
    for (let attempt = 1; ; attempt += 1) {
      try {
        const done = await this.#tryToCarryOut(looked)
        return { ...done, plan: withDeleted(done.plan, freed) }
      } catch (error) {
        const isFull = isLogError(error, 'NO_SPACE') && !this.#inNeed
        if (attempt === ATTEMPTS || !(isFull || isLogError(error, 'SEGMENTS_CHANGED'))) throw error
        if (isFull) freed = await this.#makeRoom(looked)
        else looked = await this.#look(looked.source)
      }
    }
  }

  /** What is out of use goes at once, and what has to go anyway before the new segment that it all waits for. */
  async #makeRoom({ log, plan, view }: Looked): Promise<Deleted> {
    this.#inNeed = true
    for (const other of this.#looked.values()) await other.log.maintenance.removeDeleted({ all: true })
    if (!plan.rollFirst) return NOTHING
    const { segments, bytes } = await log.maintenance.raiseLogStart(view.segments.at(-1)?.baseOffset ?? 0, view)
    await log.maintenance.removeDeleted({ all: true })
    return { deletedSegments: segments, deletedBytes: bytes }
  }

  async #tryToCarryOut(looked: Looked): Promise<Looked> {
    const { log, overdue } = looked
    await log.maintenance.holds.break(overdue, this.#now)
    for (const { name: hold, ...facts } of overdue) {
      const { topic, partition } = looked.source
      publish('hold-broken', () => ({ topic, partition, hold, ...facts }))
    }
    const decided = looked.plan.rollFirst ? await this.#rolled(looked) : looked
    const { plan, view } = decided
    if (plan.deletedSegments > 0) await log.maintenance.raiseLogStart(plan.logStartOffset, view)
    await log.maintenance.removeDeleted({ all: this.#inNeed })
    return { ...decided, overdue }
  }

  /** The records that came meanwhile may keep the segment: it is asked again, now that nothing is added to it. */
  async #rolled(looked: Looked): Promise<Looked> {
    await looked.log.roll()
    const again = await this.#look(looked.source)
    const before = new Set(looked.view.segments.map(({ baseOffset }) => baseOffset))
    const asked = again.plan.decisions.filter(({ segment }) => before.has(segment))
    // Where it comes to the same, the reasons are those that were told.
    const isSame = asked.every(({ decision }) => decision === 'delete')
    const decisions = isSame ? looked.plan.decisions : asked
    return { ...again, plan: { ...again.plan, decisions } }
  }

  #report(): RetainReport {
    const partitions = this.#logs.flatMap(source => this.#outcomes.get(source) ?? [])
    const done = partitions.flatMap(each => ('error' in each ? [] : [each]))
    const logs = [...this.#looked.values()].map(({ log }) => log.maintenance)
    return {
      dryRun: this.#options.dryRun === true,
      partitions,
      deletedSegments: sum(done.map(({ deletedSegments }) => deletedSegments)),
      deletedBytes: sum(done.map(({ deletedBytes }) => deletedBytes)),
      reclaimableBytes: sum(logs.map(({ reclaimableBytes }) => reclaimableBytes)),
      reclaimedBytes: sum(logs.map(({ reclaimedBytes }) => reclaimedBytes)),
      missingBytes: this.#missingBytes
    }
  }
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, each) => total + each, 0)

const isOf = (deletion: DiskDeletion, { topic, partition }: RetainableLog): boolean =>
  deletion.topic === topic && deletion.partition === partition

/** The segments that have to make room lie behind those that go in any case. */
function withDeletions({ plan, view }: Looked, deletions: readonly DiskDeletion[]): Plan {
  const bySegment = new Map(deletions.map(each => [each.segment, each]))
  const decisions = plan.decisions.map((decision): SegmentDecision => {
    const taken = bySegment.get(decision.segment)
    if (taken === undefined) return decision
    return { segment: taken.segment, decision: 'delete', rule: taken.rule, because: taken.because }
  })
  const deletedSegments = plan.deletedSegments + deletions.length
  const gone = view.segments.slice(0, deletedSegments)
  return {
    decisions,
    deletedSegments,
    deletedBytes: sum(gone.map(({ bytes }) => bytes)),
    logStartOffset: Math.max(plan.logStartOffset, gone.at(-1)?.nextOffset ?? 0),
    rollFirst: false
  }
}

const withDeleted = (plan: Plan, more: Deleted): Plan => ({
  ...plan,
  deletedSegments: plan.deletedSegments + more.deletedSegments,
  deletedBytes: plan.deletedBytes + more.deletedBytes
})

function outcomeOf({ source: { topic, partition }, overdue, plan }: Looked): RetainedPartition {
  const { decisions, logStartOffset, deletedSegments, deletedBytes } = plan
  return { topic, partition, decisions, brokenHolds: overdue, logStartOffset, deletedSegments, deletedBytes }
}
