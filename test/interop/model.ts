/** What a partition must hold, by what was acknowledged to whoever wrote it: the judge over both engines. */
import type { Isolation, PartitionName, SeenRecord, TestRecord } from './agent.ts'

export type Fate = 'committed' | 'aborted' | 'open'

interface Entry {
  readonly offset: number
  readonly record: TestRecord
  fate: Fate
  /** As the first reader saw them; the same for every later one. */
  leaderEpoch: number | null | undefined
  timestamp: number | undefined
}

const MOST_DIFFERENCES = 10

export class PartitionModel {
  readonly name: PartitionName
  readonly #entries: Entry[] = []
  /** Sent, never acknowledged: each may turn up once, in this order, or not at all. */
  #unsure: TestRecord[] = []

  constructor(name: PartitionName) {
    this.name = name
  }

  get label(): string {
    return `${this.name.topic}-${this.name.partition}`
  }

  get size(): number {
    return this.#entries.length
  }

  /** Records by the offsets they were acknowledged with; those without an offset may or may not be there. */
  add(records: readonly TestRecord[], offsets: readonly (number | undefined)[], fate: Fate = 'committed'): void {
    for (const [index, record] of records.entries()) {
      const offset = offsets[index]
      if (offset === undefined) this.#unsure.push(record)
      else this.#insert({ offset, record, fate, leaderEpoch: undefined, timestamp: record.timestamp })
    }
  }

  /** The transaction that was left open has been ended. */
  endTransaction(fate: 'committed' | 'aborted'): void {
    for (const entry of this.#entries) if (entry.fate === 'open') entry.fate = fate
  }

  /** The log has been cut at its beginning. */
  startAt(offset: number): void {
    while (this.#entries[0] !== undefined && this.#entries[0].offset < offset) this.#entries.shift()
  }

  /** What lies there has been taken away. @param to - exclusive. */
  lose(from: number, to: number): void {
    const left = this.#entries.filter(({ offset }) => offset < from || offset >= to)
    this.#entries.splice(0, this.#entries.length, ...left)
  }

  /** What did not turn up in a whole reading after a crash must not turn up later. */
  settle(): void {
    this.#unsure = []
  }

  /** The records that a reader must see, oldest first; their `timestamp` is undefined until somebody saw it. */
  expected(isolation: Isolation): readonly { readonly offset: number; readonly record: TestRecord }[] {
    if (isolation === 'read_uncommitted') return this.#entries
    const stable = this.#entries.find(entry => entry.fate === 'open')?.offset ?? Number.POSITIVE_INFINITY
    return this.#entries.filter(entry => entry.fate === 'committed' && entry.offset < stable)
  }

  /** How what a reader saw differs from what it must see: lost, doubled, moved or changed records. */
  differences(seen: readonly SeenRecord[], isolation: Isolation): string[] {
    const expected = this.expected(isolation) as readonly Entry[]
    const differences: string[] = []
    const found: Entry[] = []
    let next = 0
    let unsureFrom = 0
    let previous = -1
    for (const record of seen) {
      if (record.offset <= previous) differences.push(`offset ${record.offset} comes after ${previous}`)
      previous = record.offset
      for (; (expected[next]?.offset ?? record.offset) < record.offset; next += 1) {
        differences.push(`lost: ${describe(expected[next])}`)
      }
      const entry = expected[next]
      if (entry?.offset === record.offset) {
        differences.push(...changes(entry, record))
        next += 1
        continue
      }
      const at = this.#unsure.findIndex(
        (unsure, index) => index >= unsureFrom && contentDiffers(unsure, record).length === 0
      )
      if (at === -1) differences.push(`nobody wrote: ${JSON.stringify(record).slice(0, 300)}`)
      else {
        found.push(newEntry(record))
        unsureFrom = at + 1
      }
    }
    for (; next < expected.length; next += 1) differences.push(`lost: ${describe(expected[next])}`)
    for (const entry of found) this.#insert(entry)
    this.#unsure.splice(0, unsureFrom)
    return differences.slice(0, MOST_DIFFERENCES).map(difference => `${this.label} ${isolation}: ${difference}`)
  }

  #insert(entry: Entry): void {
    let at = this.#entries.length
    while (at > 0 && (this.#entries[at - 1]?.offset ?? 0) > entry.offset) at -= 1
    if (this.#entries[at - 1]?.offset === entry.offset) {
      throw new Error(
        `${this.label}: offset ${entry.offset} was given twice, to ${describe(this.#entries[at - 1])} too`
      )
    }
    this.#entries.splice(at, 0, entry)
  }
}

function newEntry(seen: SeenRecord): Entry {
  return {
    offset: seen.offset,
    record: seen,
    fate: 'committed',
    leaderEpoch: seen.leaderEpoch,
    timestamp: seen.timestamp
  }
}

function changes(entry: Entry, seen: SeenRecord): string[] {
  const differences = contentDiffers(entry.record, seen)
  if (entry.leaderEpoch === undefined) entry.leaderEpoch = seen.leaderEpoch
  if (entry.leaderEpoch !== seen.leaderEpoch)
    differences.push(`leader epoch ${entry.leaderEpoch} -> ${seen.leaderEpoch}`)
  if (entry.timestamp === undefined) entry.timestamp = seen.timestamp
  if (entry.timestamp !== seen.timestamp) differences.push(`timestamp ${entry.timestamp} -> ${seen.timestamp}`)
  const type = entry.record.timestamp === undefined ? 'LogAppendTime' : 'CreateTime'
  if (seen.timestampType !== type) differences.push(`timestamp type ${seen.timestampType}`)
  return differences.map(difference => `offset ${entry.offset} has changed: ${difference}`)
}

function contentDiffers(written: TestRecord, seen: SeenRecord): string[] {
  const parts = ['key', 'value', 'headers'] as const
  const differ = parts.filter(part => JSON.stringify(written[part]) !== JSON.stringify(seen[part]))
  return differ.map(part => `${part} ${JSON.stringify(written[part])} -> ${JSON.stringify(seen[part])}`.slice(0, 300))
}

function describe(entry: Entry | undefined): string {
  return entry === undefined ? 'nothing' : `offset ${entry.offset}, ${JSON.stringify(entry.record).slice(0, 200)}`
}
