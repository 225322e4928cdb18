/**
 * Which segments of a log retention takes, and why each of the others is still there.
 *
 * The order is Kafka's (UnifiedLog.deleteOldSegments, format notes 9.4). Each rule takes segments from the oldest that
 * is left, for as long as its condition holds:
 *
 *     1. log-start-offset              the next base is at or below the log start; never the last segment
 *     2. retention.bytes               what the log has above the limit is at least the segment: the rest is enough
 *     3. heartwood.retention.records   at least so many offsets lie behind the segment (markers and gaps are counted)
 *     4. retention.ms                  now - largest timestamp > limit; the file's mtime where no record has one
 *
 * Rule 3 is ours. It stands before time because what time takes depends on which segment is the first.
 * Rules 2 to 4 are for logs whose `cleanup.policy` has `delete`. What they may not take, whatever the limits say:
 * anything above the high watermark, and, beyond Kafka, what an open transaction or a hold needs.
 *
 * Invariants:
 *   R1  What goes is a prefix of the log, and the new log start offset is the base of what follows it.
 *   R2  Nothing at or above the high watermark goes, and an empty last segment never goes.
 *   R3  Nothing goes from a log whose settings are unknown: decision 1.
 *   R4  Once carried out, the same question at the same moment takes nothing more.
 *
 * Pure: scheduler, `--dry-run` and `--explain` ask the same function.
 */
import type { LogConfig } from './log-config.ts'

export interface RetentionSegment {
  readonly baseOffset: number
  /** Of the .log file. */
  readonly bytes: number
  /** Of any record in it, ms, the nearest number; `undefined` (or negative) where no record has one. */
  readonly largestTimestamp: number | undefined
  /** Of the .log file, ms. */
  readonly modifiedMs: number
}

/** "Everything from this offset on is still needed." */
export interface RetentionHold {
  readonly name: string
  readonly offset: number
}

export interface RetentionFacts {
  /** Ascending; the last one is the active segment. None in an empty folder that is only read. */
  readonly segments: readonly RetentionSegment[]
  readonly logStartOffset: number
  readonly highWatermark: number
  /** First offset of an open transaction, or the high watermark. */
  readonly lastStableOffset: number
  readonly logEndOffset: number
  /** Those in force. */
  readonly holds?: readonly RetentionHold[]
  /** Time proves nothing at present, because the clock has jumped ahead by so much: see `store/clock-guard.ts`. */
  readonly clockJumpMs?: number | undefined
}

export type RetentionSettings = Pick<LogConfig, 'cleanupPolicy' | 'retentionMs' | 'retentionBytes' | 'retentionRecords'>

/** What a segment goes by. */
export type DeletionRule = 'log-start-offset' | 'retention.bytes' | 'retention.ms' | 'heartwood.retention.records'

/** What a segment stays by: a limit that is not reached yet, or what stands in the way of one that is. */
export type KeepingRule =
  | Exclude<DeletionRule, 'log-start-offset'>
  | 'unknown-settings'
  | 'cleanup.policy'
  | 'no-limit'
  | 'high-watermark'
  | 'open-transaction'
  | 'hold'
  | 'clock-jump'
  | 'segment-in-front'
  | 'empty-active-segment'

/** The numbers (offsets, bytes, ms) and names that decided. */
export type Because = Readonly<Record<string, number | string>>

export type RetentionDecision =
  | { readonly segment: number; readonly decision: 'delete'; readonly rule: DeletionRule; readonly because: Because }
  | { readonly segment: number; readonly decision: 'keep'; readonly rule: KeepingRule; readonly because: Because }

export interface RetentionPlan {
  /** One for each segment, in their order; `segment` is its base offset. */
  readonly decisions: readonly RetentionDecision[]
  /** How many segments go, from the first on. */
  readonly deletedSegments: number
  /** Of their .log files. */
  readonly deletedBytes: number
  /** The log start offset once they are gone; the present one when it is higher, or nothing goes. */
  readonly logStartOffset: number
  /** All are to go: the log needs a new active segment at its end first. */
  readonly rollFirst: boolean
  /** The moment (ms) from which `retention.ms` takes the first segment that is kept, if nothing else stands in the way. */
  readonly nextDueMs: number | undefined
}

/** A limit that is set. */
interface Limit {
  readonly rule: Exclude<DeletionRule, 'log-start-offset'>
  /** Whether the limit takes this segment once all before it are gone. */
  takes(index: number): boolean
  because(index: number): Because
}

/** Offsets from which on the limits take nothing. */
interface Bound {
  readonly rule: 'high-watermark' | 'open-transaction' | 'hold'
  readonly offset: number
  readonly because: Because
}

/**
 * Decides for every segment of a log.
 *
 * @param settings - `undefined`: unknown, so nothing goes.
 * @param now - ms.
 */
export function decideRetention(
  facts: RetentionFacts,
  settings: RetentionSettings | undefined,
  now: number
): RetentionPlan {
  return new Decider(facts, settings, now).plan()
}

/** The timestamp that `retention.ms` goes by: whole milliseconds, though files have fractions of them. */
export function retentionTimestamp({ largestTimestamp, modifiedMs }: RetentionSegment): number {
  return isTimestamp(largestTimestamp) ? largestTimestamp : Math.floor(modifiedMs)
}

/**
 * What may not go for want of space either: the first offset that is needed, by the high watermark, an open transaction
 * or a hold. A segment may go if the next one begins at or below it.
 */
export function firstNeededOffset(facts: RetentionFacts): number {
  return boundsOf(facts)[0]!.offset
}

class Decider {
  readonly #facts: RetentionFacts
  readonly #settings: RetentionSettings | undefined
  readonly #now: number
  readonly #limits: readonly Limit[]
  readonly #bounds: readonly Bound[]
  /** Segments that go, from the first on. */
  #taken = 0
  /** Bytes of the .log files behind each segment. */
  readonly #bytesBehindEach: Float64Array
  /** What the first segment that stays waits for: all behind it wait for the same. */
  #inFront: RetentionDecision | undefined

  constructor(facts: RetentionFacts, settings: RetentionSettings | undefined, now: number) {
    this.#facts = facts
    this.#settings = settings
    this.#now = now
    this.#bytesBehindEach = bytesBehindEach(facts.segments)
    this.#limits = settings?.cleanupPolicy.includes('delete') ? this.#limitsOf(settings) : []
    this.#bounds = boundsOf(facts)
  }

  plan(): RetentionPlan {
    const { segments, logStartOffset, logEndOffset } = this.#facts
    const decisions: RetentionDecision[] = []
    const take = (rule: DeletionRule, because: Because): void => {
      decisions.push({ segment: this.#segment(this.#taken).baseOffset, decision: 'delete', rule, because })
      this.#taken += 1
    }
    while (this.#isBelowStart()) {
      take('log-start-offset', { logStartOffset, nextBaseOffset: this.#upper(this.#taken) })
    }
    for (const limit of this.#limits) {
      while (this.#mayTake(limit)) take(limit.rule, limit.because(this.#taken))
    }
    for (let index = this.#taken; index < segments.length; index += 1) decisions.push(this.#kept(index))
    const rollFirst = this.#taken > 0 && this.#taken === segments.length
    return {
      decisions,
      deletedSegments: this.#taken,
      deletedBytes: segments.slice(0, this.#taken).reduce((sum, { bytes }) => sum + bytes, 0),
      logStartOffset: Math.max(logStartOffset, segments[this.#taken]?.baseOffset ?? (rollFirst ? logEndOffset : 0)),
      rollFirst,
      nextDueMs: this.#nextDueMs()
    }
  }

  #isBelowStart(): boolean {
    const { segments, logStartOffset, highWatermark } = this.#facts
    if (this.#settings === undefined || this.#taken >= segments.length - 1) return false
    const upper = this.#upper(this.#taken)
    return upper <= logStartOffset && upper <= highWatermark
  }

  #mayTake(limit: Limit): boolean {
    const index = this.#taken
    if (index === this.#facts.segments.length || this.#isEmptyLast(index)) return false
    return this.#boundAt(index) === undefined && !this.#isSuspended(limit) && limit.takes(index)
  }

  #isSuspended({ rule }: Limit): boolean {
    return rule === 'retention.ms' && this.#facts.clockJumpMs !== undefined
  }

  #isEmptyLast(index: number): boolean {
    return index === this.#facts.segments.length - 1 && this.#segment(index).bytes === 0
  }

  /** The lowest bound that this segment reaches above. */
  #boundAt(index: number): Bound | undefined {
    const upper = this.#upper(index)
    return this.#bounds.find(({ offset }) => upper > offset)
  }

  #kept(index: number): RetentionDecision {
    const segment = this.#segment(index).baseOffset
    const keep = (rule: KeepingRule, because: Because): RetentionDecision => ({
      segment,
      decision: 'keep',
      rule,
      because
    })
    if (this.#settings === undefined) {
      return keep('unknown-settings', { remedy: 'state cleanup.policy with "topics alter"' })
    }
    const policy = this.#settings.cleanupPolicy
    if (!policy.includes('delete')) return keep('cleanup.policy', { cleanupPolicy: policy.join(',') || 'none' })
    const reached = this.#limits.find(limit => limit.takes(index))
    if (reached === undefined) return keep(...this.#limitsNotReached(index))
    const because = { ...reached.because(index), reached: reached.rule }
    if (this.#isEmptyLast(index)) return keep('empty-active-segment', because)
    const bound = this.#boundAt(index)
    if (bound !== undefined)
      return keep(bound.rule, { ...because, nextBaseOffset: this.#upper(index), ...bound.because })
    if (this.#isSuspended(reached)) return keep('clock-jump', { ...because, clockJumpMs: this.#facts.clockJumpMs ?? 0 })
    this.#inFront ??= this.#kept(this.#taken)
    const { segment: segmentInFront, rule: itsRule, because: its } = this.#inFront
    const waits = its['leftMs'] === undefined ? {} : { waitsMs: its['leftMs'] }
    return keep('segment-in-front', { ...because, segmentInFront, itsRule, ...waits })
  }

  /** Time gives its name where it is set, for it passes by itself; the numbers are those of all limits. */
  #limitsNotReached(index: number): [KeepingRule, Because] {
    const because = Object.assign({}, ...this.#limits.map(limit => limit.because(index))) as Because
    return [this.#limits.at(-1)?.rule ?? 'no-limit', because]
  }

  #nextDueMs(): number | undefined {
    const retentionMs = this.#limits.some(({ rule }) => rule === 'retention.ms')
      ? this.#settings?.retentionMs
      : undefined
    if (retentionMs === undefined || this.#taken === this.#facts.segments.length) return undefined
    return dueAt(this.#segment(this.#taken), retentionMs)
  }

  #limitsOf(settings: RetentionSettings): Limit[] {
    const { retentionBytes, retentionMs, retentionRecords } = settings
    const limits: Limit[] = []
    if (retentionBytes !== undefined) limits.push(this.#sizeLimit(retentionBytes))
    if (retentionRecords !== undefined) limits.push(this.#recordLimit(retentionRecords))
    if (retentionMs !== undefined) limits.push(this.#timeLimit(retentionMs))
    return limits
  }

  /** Kafka's "excess - segment >= 0", said of what stays: total - segments up to this one - limit >= 0. */
  #sizeLimit(retentionBytes: number): Limit {
    return {
      rule: 'retention.bytes',
      takes: index => this.#bytesBehind(index) >= retentionBytes,
      because: index => ({ retentionBytes, bytesBehind: this.#bytesBehind(index) })
    }
  }

  #timeLimit(retentionMs: number): Limit {
    const now = this.#now
    return {
      rule: 'retention.ms',
      takes: index => now - retentionTimestamp(this.#segment(index)) > retentionMs,
      because: index => {
        const segment = this.#segment(index)
        const since = retentionTimestamp(segment)
        const from = isTimestamp(segment.largestTimestamp) ? { largestTimestamp: since } : { modifiedMs: since }
        const goesAtMs = dueAt(segment, retentionMs)
        return { retentionMs, ...from, now, goesAtMs, leftMs: Math.max(0, goesAtMs - now) }
      }
    }
  }

  #recordLimit(retentionRecords: number): Limit {
    const behind = (index: number): number => this.#facts.logEndOffset - this.#upper(index)
    return {
      rule: 'heartwood.retention.records',
      takes: index => behind(index) >= retentionRecords,
      because: index => ({ retentionRecords, offsetsBehind: behind(index) })
    }
  }

  #bytesBehind(index: number): number {
    return this.#bytesBehindEach[index]!
  }

  #segment(index: number): RetentionSegment {
    return this.#facts.segments[index]!
  }

  /** First offset behind a segment. */
  #upper(index: number): number {
    return this.#facts.segments[index + 1]?.baseOffset ?? this.#facts.logEndOffset
  }
}

const isTimestamp = (timestamp: number | undefined): timestamp is number => timestamp !== undefined && timestamp >= 0

function bytesBehindEach(segments: readonly RetentionSegment[]): Float64Array {
  const behind = new Float64Array(segments.length)
  for (let i = segments.length - 2; i >= 0; i -= 1) behind[i] = behind[i + 1]! + segments[i + 1]!.bytes
  return behind
}

/** The first millisecond at which more than `retentionMs` have passed. */
const dueAt = (segment: RetentionSegment, retentionMs: number): number => retentionTimestamp(segment) + retentionMs + 1

/** Lowest first. */
function boundsOf({ highWatermark, lastStableOffset, holds = [] }: RetentionFacts): Bound[] {
  const bounds: Bound[] = [{ rule: 'high-watermark', offset: highWatermark, because: { highWatermark } }]
  if (lastStableOffset < highWatermark) {
    bounds.push({ rule: 'open-transaction', offset: lastStableOffset, because: { lastStableOffset } })
  }
  for (const { name, offset } of holds) {
    bounds.push({ rule: 'hold', offset, because: { hold: name, holdOffset: offset } })
  }
  return bounds.sort((a, b) => a.offset - b.offset)
}
