/**
 * What goes when all logs of a data directory together take up too much, or its volume has too little room left.
 *
 * Two limits: `heartwood.disk.budget.bytes`, for all segment files of the directory together, and
 * `heartwood.disk.free.min.bytes`, for what the file system still has. They are looked at after retention, with what
 * that takes already taken off. The rule:
 *
 *   - Never touched: topics whose settings are unknown, Kafka's internal ones, those without `delete` in their
 *     `cleanup.policy`, those with `heartwood.disk.budget.exempt`; active segments; what the high watermark, an open
 *     transaction or a hold needs.
 *   - What is left for the other topics is divided evenly: that is a topic's share.
 *   - Of the topic most over its share the oldest segment that may go is taken, until the limit is met or every topic
 *     is within its share or has nothing that may go. A topic within its share never pays for another one.
 *
 * Invariants:
 *   D1  Of each log a prefix goes.
 *   D2  Nothing goes that is not needed to meet the limit: without the last segment taken it would be missed.
 *
 * Pure: the scheduler and `--explain` ask the same function.
 */
import type { LogConfig } from '../log/log-config.ts'
import {
  type Because,
  firstNeededOffset,
  type RetentionFacts,
  type RetentionPlan,
  type RetentionSegment,
  type RetentionSettings,
  retentionTimestamp
} from '../log/retention.ts'

export type DiskRule = 'heartwood.disk.budget.bytes' | 'heartwood.disk.free.min.bytes'

export interface DiskSegment extends RetentionSegment {
  readonly indexBytes?: number
  readonly timeIndexBytes?: number
}

export interface DiskPartition {
  readonly topic: string
  readonly partition: number
  readonly internal: boolean
  /** `undefined`: unknown. */
  readonly settings: (RetentionSettings & Pick<LogConfig, 'diskBudgetExempt'>) | undefined
  readonly facts: RetentionFacts & { readonly segments: readonly DiskSegment[] }
  /** What retention takes in any case. */
  readonly plan: RetentionPlan
}

export interface DiskLimits {
  readonly budgetBytes?: number | undefined
  readonly freeMinBytes?: number | undefined
  /** What the file system has left; without it `freeMinBytes` decides nothing. */
  readonly freeBytes?: number | undefined
  /** Of files that are removed already and only wait for their delay: free soon. */
  readonly reclaimableBytes?: number
}

export interface DiskDeletion {
  readonly topic: string
  readonly partition: number
  /** Base offset. */
  readonly segment: number
  readonly bytes: number
  readonly rule: DiskRule
  readonly because: Because
}

export interface DiskPlan {
  /** In the order in which they go. */
  readonly deletions: readonly DiskDeletion[]
  /** Of all segment files, once retention has taken its part. */
  readonly usedBytes: number
  /** What they may be; `undefined` without a limit. */
  readonly allowedBytes: number | undefined
  /** Of one topic among those that may be touched. */
  readonly shareBytes: number | undefined
  /** By how much the limit is missed all the same: nothing more may go. */
  readonly missingBytes: number
}

interface Candidate {
  readonly topic: string
  readonly partition: number
  readonly segment: number
  readonly bytes: number
  readonly timestamp: number
}

interface TopicUse {
  readonly topic: string
  bytes: number
  /** Of each partition what may go, oldest first. */
  readonly queues: Candidate[][]
}

export function decideDiskBudget(partitions: readonly DiskPartition[], limits: DiskLimits): DiskPlan {
  const topics = new Map<string, TopicUse>()
  let usedBytes = 0
  let untouchable = 0
  for (const partition of partitions) {
    const bytes = sumOf(leftOf(partition))
    usedBytes += bytes
    if (!mayTouch(partition)) {
      untouchable += bytes
      continue
    }
    const use = topics.get(partition.topic) ?? { topic: partition.topic, bytes: 0, queues: [] }
    topics.set(partition.topic, use)
    use.bytes += bytes
    use.queues.push(candidatesOf(partition))
  }
  const limit = limitOf(usedBytes, limits)
  if (limit === undefined) {
    return { deletions: [], usedBytes, allowedBytes: undefined, shareBytes: undefined, missingBytes: 0 }
  }
  const { rule, allowedBytes } = limit
  const shareBytes = topics.size === 0 ? undefined : Math.floor(Math.max(0, allowedBytes - untouchable) / topics.size)
  const deletions: DiskDeletion[] = []
  let left = usedBytes
  while (left > allowedBytes && shareBytes !== undefined) {
    const most = mostOver([...topics.values()], shareBytes)
    if (most === undefined) break
    const { timestamp, ...candidate } = takeOldest(most)
    const because = { usedBytes: left, allowedBytes, topicBytes: most.bytes, shareBytes, timestamp }
    deletions.push({ ...candidate, rule, because })
    most.bytes -= candidate.bytes
    left -= candidate.bytes
  }
  return { deletions, usedBytes, allowedBytes, shareBytes, missingBytes: Math.max(0, left - allowedBytes) }
}

/** The tighter one of the two limits. */
function limitOf(usedBytes: number, limits: DiskLimits): { rule: DiskRule; allowedBytes: number } | undefined {
  const { budgetBytes, freeMinBytes, freeBytes, reclaimableBytes = 0 } = limits
  const byBudget = budgetBytes ?? Number.POSITIVE_INFINITY
  const isFloor = freeMinBytes !== undefined && freeBytes !== undefined
  const byFloor = isFloor ? usedBytes - (freeMinBytes - freeBytes - reclaimableBytes) : Number.POSITIVE_INFINITY
  if (!isFloor && budgetBytes === undefined) return undefined
  if (byFloor < byBudget) return { rule: 'heartwood.disk.free.min.bytes', allowedBytes: Math.max(0, byFloor) }
  return { rule: 'heartwood.disk.budget.bytes', allowedBytes: byBudget }
}

function mayTouch({ internal, settings }: DiskPartition): boolean {
  if (internal || settings === undefined || settings.diskBudgetExempt) return false
  return settings.cleanupPolicy.includes('delete')
}

const leftOf = ({ facts, plan }: DiskPartition): readonly DiskSegment[] => facts.segments.slice(plan.deletedSegments)

const bytesOf = ({ bytes, indexBytes = 0, timeIndexBytes = 0 }: DiskSegment): number =>
  bytes + indexBytes + timeIndexBytes

const sumOf = (segments: readonly DiskSegment[]): number => segments.reduce((sum, each) => sum + bytesOf(each), 0)

function candidatesOf(partition: DiskPartition): Candidate[] {
  const { topic, facts } = partition
  const needed = firstNeededOffset(facts)
  const left = leftOf(partition)
  const candidates: Candidate[] = []
  // The last one is active.
  for (const [index, segment] of left.slice(0, -1).entries()) {
    if (left[index + 1]!.baseOffset > needed) break
    const timestamp = retentionTimestamp(segment)
    const { baseOffset } = segment
    candidates.push({
      topic,
      partition: partition.partition,
      segment: baseOffset,
      bytes: bytesOf(segment),
      timestamp
    })
  }
  return candidates
}

/** Of topics equally far over the one with the older segment, then by name. */
function mostOver(topics: readonly TopicUse[], shareBytes: number): TopicUse | undefined {
  const over = topics.filter(use => use.bytes > shareBytes && use.queues.some(queue => queue.length > 0))
  return over.reduce<TopicUse | undefined>((best, use) => {
    if (best === undefined || use.bytes > best.bytes) return use
    if (use.bytes < best.bytes) return best
    const [a, b] = [oldestQueue(use)[0]!.timestamp, oldestQueue(best)[0]!.timestamp]
    return a < b || (a === b && use.topic < best.topic) ? use : best
  }, undefined)
}

function takeOldest(use: TopicUse): Candidate {
  return oldestQueue(use).shift()!
}

/** The partition whose first segment is the oldest; only the first one of each may go, whatever lies behind it. */
function oldestQueue({ queues }: TopicUse): Candidate[] {
  const order = (a: Candidate, b: Candidate): number => a.timestamp - b.timestamp || a.partition - b.partition
  return queues
    .filter(queue => queue.length > 0)
    .reduce((best, queue) => (order(queue[0]!, best[0]!) < 0 ? queue : best))
}
