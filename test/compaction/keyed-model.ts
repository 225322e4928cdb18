/** What was appended to a log, and what it has to say after any cleaning and retention: plain code over a plain list. */
import type { LazyRecord } from '../../lib/record/lazy-record.ts'

export interface ModelRecord {
  readonly key: string | null
  readonly value: string | null
  /** Of a transaction. */
  readonly producer?: number
  /** How its transaction ended; `undefined` while that is open. A marker has it, and no key. */
  outcome?: 'commit' | 'abort'
  readonly isMarker?: boolean
  /** As it was first read: it must stay so. */
  seen?: string
}

export class KeyedModel {
  readonly records: ModelRecord[] = []
  start = 0
  /** A cleaning takes records at or above only if their transaction was aborted, */
  dirty = 0
  /** and at or above this nothing. */
  untouched = 0
  /** Below, a cleaning has left at most one record of a key. */
  clean = 0

  get end(): number {
    return this.records.length
  }

  /** First offset of an open transaction, or the end. */
  get stable(): number {
    const first = this.records.findIndex(({ producer, outcome }) => producer !== undefined && outcome === undefined)
    return Math.max(this.start, first < 0 ? this.end : first)
  }

  /** Which a consumer with read_committed must not see, or has not yet. */
  #isVisible({ key, isMarker, outcome }: ModelRecord, offset: number): boolean {
    return isMarker !== true && outcome !== 'abort' && offset < this.stable && (key !== null || offset >= this.start)
  }

  /** The current value of each key, of what lies below `to`; tombstones are null. */
  latest(to = this.stable): Map<string, string | null> {
    const values = new Map<string, string | null>()
    for (const [offset, record] of this.records.slice(0, to).entries())
      if (offset >= this.start && record.key !== null && this.#isVisible(record, offset))
        values.set(record.key, record.value)
    return values
  }

  /** Holds what a reader got from the log start on against all that must be so. */
  check(read: readonly LazyRecord[], isolation: 'read_committed' | 'read_uncommitted'): void {
    const isCommitted = isolation === 'read_committed'
    const offsets = new Set<number>()
    const keys = new Set<string>()
    let last = -1
    for (const { offset, key, value, timestamp, leaderEpoch, headers } of read) {
      const record = this.records[offset]
      const seen = `${key}=${value} at ${timestamp}, epoch ${leaderEpoch}, ${headers.join()}`
      if (record === undefined || record.isMarker === true) throw new Error(`nothing was appended at ${offset}`)
      if (offset <= last || offset < this.start) throw new Error(`offset ${offset} after ${last}, start ${this.start}`)
      if (text(key) !== record.key || text(value) !== record.value)
        throw new Error(`${seen} at ${offset}, not ${record.key}=${record.value}`)
      if (isCommitted && !this.#isVisible(record, offset)) throw new Error(`${offset} is not committed`)
      record.seen ??= seen
      if (record.seen !== seen) throw new Error(`${offset} was ${record.seen}, and is ${seen}`)
      if (offset < this.clean && (record.key === null || keys.has(record.key)))
        throw new Error(`${record.key} at ${offset} is superseded`)
      keys.add(`${record.key}`)
      offsets.add(offset)
      last = offset
    }
    for (const [offset, record] of this.records.entries()) {
      if (offset < Math.max(this.start, this.dirty) || record.isMarker === true || offsets.has(offset)) continue
      if (record.outcome === 'abort' && offset < this.untouched) continue
      if (!isCommitted || this.#isVisible(record, offset)) throw new Error(`${offset} is missing, ${isolation}`)
    }
    if (isCommitted) this.#checkLatest(read)
  }

  #checkLatest(read: readonly LazyRecord[]): void {
    const found = new Map<string, string | null>()
    for (const { key, value } of read) if (key !== null) found.set(String(key), text(value))
    equal(valuesOf(found), valuesOf(this.latest()), 'latest values')
  }
}

function text(bytes: Buffer | null): string | null {
  return bytes === null ? null : bytes.toString()
}

/** In the order of the keys, without tombstones. */
export function valuesOf(values: Iterable<readonly [string, string | null]>): string {
  return [...values]
    .filter(([, value]) => value !== null)
    .map(([key, value]) => `${key}=${value}`)
    .sort()
    .join()
}

export function equal(found: unknown, wanted: unknown, what: string): void {
  if (found !== wanted) throw new Error(`${what}: ${String(found)}, not ${String(wanted)}`)
}
