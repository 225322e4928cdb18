/** What a child that appends and shrinks its logs has told, and what a log must hold when that child was killed. */
import type { LazyRecord } from '../../lib/record/lazy-record.ts'

export interface TopicRules {
  readonly configs: Readonly<Record<string, string>>
  readonly isCompacted: boolean
  /** Tombstones may go. */
  readonly forgets: boolean
  /** Offsets at the end that no retention takes; undefined where none is set. */
  readonly retained: number | undefined
}

const SMALL = { 'segment.bytes': '1500', 'heartwood.durability': 'batch' }

export const TOPICS: Readonly<Record<string, TopicRules>> = {
  table: {
    configs: {
      ...SMALL,
      'cleanup.policy': 'compact',
      'min.cleanable.dirty.ratio': '0.3',
      'file.delete.delay.ms': '10'
    },
    isCompacted: true,
    forgets: false,
    retained: undefined
  },
  both: {
    configs: {
      ...SMALL,
      'cleanup.policy': 'compact,delete',
      'min.cleanable.dirty.ratio': '0.1',
      'delete.retention.ms': '0',
      'file.delete.delay.ms': '0',
      'heartwood.retention.records': '600'
    },
    isCompacted: true,
    forgets: true,
    retained: 600
  },
  queue: {
    configs: { ...SMALL, 'file.delete.delay.ms': '60000', 'heartwood.retention.records': '300' },
    isCompacted: false,
    forgets: false,
    retained: 300
  }
}

interface Pair {
  readonly key: string
  readonly value: string | null
}

interface Found {
  readonly logStartOffset: number
  readonly logEndOffset: number
  readonly records: readonly LazyRecord[]
}

/** One topic, from kill to kill. */
export class ShrinkingModel {
  /** Records that compaction took, as far as openings found. */
  superseded = 0
  readonly #rules: TopicRules
  /** By offset: what was acknowledged, or found at an opening. */
  #known = new Map<number, Pair>()
  #sent: readonly Pair[] = []
  #end = 0
  #start = 0
  #mayStartAt = 0

  constructor(rules: TopicRules) {
    this.#rules = rules
  }

  sent(records: readonly (readonly [string, string | null])[]): void {
    this.#sent = records.map(([key, value]) => ({ key, value }))
  }

  acknowledged(at: number): void {
    if (at < this.#end) throw new Error(`offset ${at} was acknowledged after ${this.#end - 1}`)
    for (const [i, pair] of this.#sent.entries()) this.#known.set(at + i, pair)
    this.#end = at + this.#sent.length
    this.#sent = []
  }

  /** A deletion that may have happened; `isDone`: that did. */
  trim(to: number, isDone: boolean): void {
    this.#mayStartAt = Math.max(this.#mayStartAt, to)
    if (isDone) this.#start = Math.max(this.#start, to)
  }

  /** Holds what an opening found against all that was told, and goes on from there. */
  check(found: Found): string[] {
    const { logStartOffset: start, logEndOffset: end } = found
    const { retained, isCompacted } = this.#rules
    const wrong: string[] = []
    const latestStart = Math.max(this.#mayStartAt, retained === undefined ? 0 : end - retained)
    if (start < this.#start || start > latestStart)
      wrong.push(`begins at ${start}, not ${this.#start} to ${latestStart}`)
    if (end < this.#end || end > this.#end + this.#sent.length)
      wrong.push(`ends at ${end}, not ${this.#end} to ${this.#end + this.#sent.length}`)
    // What was under way at the end came whole, or not at all.
    if (end > this.#end) this.acknowledged(this.#end)
    const read = new Map<number, Pair>()
    let last = -1
    for (const { offset, key, value } of found.records) {
      const pair = { key: String(key), value: value === null ? null : value.toString() }
      const known = this.#known.get(offset)
      if (offset <= last || offset < start) wrong.push(`${offset} after ${last}, start ${start}`)
      if (known?.key !== pair.key || known.value !== pair.value)
        wrong.push(`${offset} has ${text(pair)}, not ${text(known)}`)
      read.set(offset, pair)
      last = offset
    }
    wrong.push(...(isCompacted ? this.#lostKeys(read, start) : this.#lost(read, start)))
    this.#known = read
    this.#end = end
    this.#start = start
    this.#sent = []
    return wrong.slice(0, 10)
  }

  #lost(read: ReadonlyMap<number, Pair>, start: number): string[] {
    const gone = [...this.#known].filter(([offset]) => offset >= start && !read.has(offset))
    return gone.map(([offset, pair]) => `${offset} is lost: ${text(pair)}`)
  }

  /** A record goes only if one of the same key is there after it; a tombstone also if none is before it. */
  #lostKeys(read: ReadonlyMap<number, Pair>, start: number): string[] {
    const wrong: string[] = []
    const first = new Map<string, number>()
    const last = new Map<string, number>()
    for (const [offset, { key }] of read) {
      if (!first.has(key)) first.set(key, offset)
      last.set(key, offset)
    }
    for (const [offset, pair] of this.#known) {
      const isSuperseded = (last.get(pair.key) ?? -1) > offset
      if (offset < start || read.has(offset)) continue
      this.superseded += 1
      if (isSuperseded) continue
      const isForgotten = this.#rules.forgets && pair.value === null && (first.get(pair.key) ?? offset) >= offset
      // A later tombstone may have taken it, and be gone itself.
      if (!isForgotten && !this.#isForgottenBy(offset, pair.key)) wrong.push(`${offset} is lost: ${text(pair)}`)
    }
    return wrong
  }

  #isForgottenBy(offset: number, key: string): boolean {
    const later = [...this.#known].filter(([at, pair]) => at > offset && pair.key === key)
    return this.#rules.forgets && later.length > 0 && later.at(-1)![1].value === null
  }
}

const text = (pair: Pair | undefined): string => (pair === undefined ? 'nothing' : `${pair.key}=${pair.value}`)
