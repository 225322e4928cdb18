/**
 * What the outside world was told of one log, in plain code: every attempt to append, what was acknowledged for it, what
 * was ordered to go. `observation.ts` reads a log, `checker.ts` holds one against the other.
 */
import { ACK_LEVELS, type AckLevel } from '../../lib/log/types.ts'
import type { SimulatedTopic } from './schedule.ts'

export interface SentRecord {
  readonly key: string | null
  readonly value: string | null
  readonly timestamp: number
  /** Who the record is, tombstones too: the attempt's number and its place there. */
  readonly headers: Readonly<Record<string, string>>
}

export interface Producer {
  readonly id: number
  epoch: number
  nextSequence: number
  /** Sent in this epoch and not known to be in the log, in order. */
  unsure: Attempt[]
  last: Attempt | undefined
  /** What it sent last may be gone: it has to come back as a new incarnation. */
  mustBump: boolean
}

/** One append. */
export interface Attempt {
  readonly id: number
  readonly kind: 'plain' | 'produce' | 'transact' | 'end' | 'lead'
  readonly records: readonly SentRecord[]
  readonly producerId: number | undefined
  readonly producerEpoch: number
  readonly sequence: number
  /** Of `end`. */
  readonly ends: 'commit' | 'abort' | undefined
  /** `unsure`: it failed, or nobody was told; it may be there. `gone`: it was not there, and must not come back. */
  state: 'unsure' | 'acknowledged' | 'gone'
  baseOffset: number | undefined
}

export interface Entry {
  readonly attempt: Attempt
  /** Place in the attempt; 0 of a marker. */
  readonly index: number
  level: AckLevel
  /** Of a record of a transaction: how it ended, and where the marker is. */
  outcome: 'commit' | 'abort' | undefined
  decidedAt: number
  /** Cleaning may have taken it, before a hold or a cut asked for more to stay. */
  wasCleaned: boolean
}

export const covers = (level: AckLevel, least: AckLevel): boolean =>
  ACK_LEVELS.indexOf(level) >= ACK_LEVELS.indexOf(least)

export class Violation extends Error {
  override readonly name = 'Violation'
}

export class History {
  readonly topic: SimulatedTopic
  readonly name: string
  /** By offset, markers too; what went by order is not in it. */
  entries = new Map<number, Entry>()
  attempts = new Map<number, Attempt>()
  producers = new Map<number, Producer>()
  /** The log start offset is at least this, */
  startLow = 0
  /** and at most this, save for what retention may do. */
  startHigh = 0
  /** Highest end that the log ever had in this incarnation. */
  highestEnd = 0
  /** A cut that was asked for and not answered: the log ends anywhere from here on. */
  pendingCut: number | undefined
  hold: number | undefined
  /** Base offsets of segments in front of which one was missing when the log was opened. Of an open transaction, what lies
   * in front of the last of them that is not above the log start may have been forgotten then: nothing tells any more how
   * it ended. Empty once it is known what became of it. */
  missingBefore: readonly number[] = []
  /** Cuts that were asked for. */
  cuts = 0
  /** A cleaning may have been here. */
  mayBeCleaned = false
  epoch = 0

  constructor(topic: SimulatedTopic, partition: number) {
    this.topic = topic
    this.name = `${topic.name}-${partition}`
  }

  /** For trying several ends of one story. Attempts are copied as well: their state is part of it. */
  clone(): History {
    const twin = new History(this.topic, 0)
    Object.assign(twin, this)
    const attempts = new Map<Attempt, Attempt>()
    for (const attempt of this.attempts.values()) attempts.set(attempt, { ...attempt })
    twin.attempts = new Map([...this.attempts].map(([id, attempt]) => [id, attempts.get(attempt) as Attempt]))
    twin.entries = new Map(
      [...this.entries].map(([at, entry]) => [at, { ...entry, attempt: attempts.get(entry.attempt) as Attempt }])
    )
    twin.producers = new Map(
      [...this.producers].map(([id, producer]) => [
        id,
        {
          ...producer,
          unsure: producer.unsure.map(attempt => attempts.get(attempt) as Attempt),
          last: producer.last && attempts.get(producer.last)
        }
      ])
    )
    return twin
  }

  producer(id: number): Producer {
    let producer = this.producers.get(id)
    if (producer === undefined) {
      producer = { id, epoch: 0, nextSequence: 0, unsure: [], last: undefined, mustBump: false }
      this.producers.set(id, producer)
    }
    return producer
  }

  acknowledged(attempt: Attempt, baseOffset: number, level: AckLevel): void {
    const count = Math.max(1, attempt.records.length)
    if (attempt.state === 'acknowledged' && attempt.baseOffset !== baseOffset)
      throw new Violation(
        `${this.name}: attempt ${attempt.id} is at ${attempt.baseOffset}, a repetition got ${baseOffset}`
      )
    attempt.state = 'acknowledged'
    attempt.baseOffset = baseOffset
    for (let index = 0; index < count; index += 1) this.place(baseOffset + index, attempt, index, level)
    if (attempt.producerId === undefined || attempt.kind === 'end') return
    const producer = this.producer(attempt.producerId)
    producer.unsure = producer.unsure.filter(other => other !== attempt)
    if (attempt.producerEpoch === producer.epoch) producer.last = attempt
  }

  /** R3: an offset means one record. */
  place(offset: number, attempt: Attempt, index: number, level: AckLevel): void {
    const before = this.entries.get(offset)
    if (before === undefined) {
      this.entries.set(offset, { attempt, index, level, outcome: undefined, decidedAt: 0, wasCleaned: false })
      this.highestEnd = Math.max(this.highestEnd, offset + 1)
    } else if (before.attempt !== attempt || before.index !== index) {
      const was = `${before.attempt.id}.${before.index}`
      throw new Violation(`${this.name}: offset ${offset} was given to ${was} and to ${attempt.id}.${index}`)
    } else if (covers(level, before.level)) {
      before.level = level
    }
  }

  /** Everything below `offset` has reached a level. */
  reached(offset: number, level: AckLevel): void {
    for (const [at, entry] of this.entries) if (at < offset && !covers(entry.level, level)) entry.level = level
  }

  /** From the moment that a cut is asked for, nothing from `offset` on is promised. */
  cutAsked(offset: number): void {
    this.pendingCut = offset
    this.cuts += 1
    for (const [at, entry] of this.entries) if (at >= offset) entry.level = 'accepted'
    for (const producer of this.producers.values()) producer.mustBump = true
  }

  /** It is durable: what was there must not come back. */
  cutDone(offset: number): void {
    this.pendingCut = undefined
    // Retention may have gone by the end that is no more.
    const highestStart = this.highestStart()
    this.#noteCleaned()
    for (const [at, { attempt }] of this.entries) {
      if (at < offset) continue
      this.entries.delete(at)
      attempt.state = 'gone'
    }
    for (const attempt of this.attempts.values()) if (attempt.state === 'unsure') attempt.state = 'gone'
    for (const producer of this.producers.values()) this.#goBack(producer)
    this.hold = this.hold === undefined ? undefined : Math.min(this.hold, offset)
    this.startLow = Math.min(this.startLow, offset)
    this.startHigh = Math.min(highestStart, offset)
    this.highestEnd = Math.min(this.highestEnd, offset)
    this.decide()
  }

  /** After a cut a producer goes on behind what is left of it; where nothing is, as a new incarnation. */
  #goBack(producer: Producer): void {
    const { id, epoch } = producer
    let newest: Attempt | undefined
    for (const { attempt } of this.entries.values()) {
      if (attempt.producerId !== id || attempt.producerEpoch !== epoch || attempt.kind === 'end') continue
      if (attempt.sequence >= (newest?.sequence ?? 0)) newest = attempt
    }
    Object.assign(producer, { unsure: [], last: undefined, mustBump: true })
    if (newest?.state !== 'acknowledged' || this.mayBeCleaned) return
    if ((newest.baseOffset ?? 0) < this.highestStart()) return
    producer.nextSequence = newest.sequence + newest.records.length
    Object.assign(producer, { last: newest, mustBump: false })
  }

  /**
   * Whether a cut at `offset` opens a transaction again of which cleaning may have taken the records: whether it is open
   * then depends on what snapshots there are, in Kafka too.
   */
  wouldReopen(offset: number): boolean {
    if (!this.mayBeCleaned) return false
    for (const [at, { outcome, decidedAt }] of this.entries)
      if (at < offset && outcome !== undefined && decidedAt >= offset) return true
    return false
  }

  /** Goes through the log once and notes how each transaction ended. */
  decide(): void {
    const open = new Map<number, Entry[]>()
    for (const entry of this.entries.values()) {
      if (entry.decidedAt > 0 && !this.entries.has(entry.decidedAt) && entry.decidedAt >= this.highestEnd)
        entry.outcome = undefined
    }
    for (const [offset, entry] of this.inOrder()) {
      const { kind, producerId, ends } = entry.attempt
      if (kind === 'transact') {
        const mine = open.get(producerId as number) ?? []
        mine.push(entry)
        open.set(producerId as number, mine)
      } else if (kind === 'end') {
        for (const other of open.get(producerId as number) ?? [])
          Object.assign(other, { outcome: ends, decidedAt: offset })
        open.delete(producerId as number)
      }
    }
  }

  /** Who opened the log forgot the records of open transactions in front of a segment that is missing. */
  forget(below: number): void {
    for (const [offset, { attempt, outcome }] of this.entries)
      if (offset < below && attempt.kind === 'transact' && outcome === undefined) this.entries.delete(offset)
    this.missingBefore = []
  }

  /** A hold keeps what is there when it is made. */
  holdFrom(offset: number): void {
    if (this.hold === undefined) this.#noteCleaned()
    this.hold = Math.max(this.hold ?? 0, offset)
  }

  /** Before more has to stay than had to: what cleaning has taken by then does not come back. */
  #noteCleaned(): void {
    for (const [at, entry] of this.entries) entry.wasCleaned ||= this.mayLack(at, entry)
  }

  /** Whether cleaning may have taken a record: superseded, of an aborted transaction, or a tombstone over its time. */
  mayLack(offset: number, { attempt, index, outcome, wasCleaned }: Entry): boolean {
    if (wasCleaned) return true
    if (!this.mayBeCleaned) return false
    if (offset >= Math.min(this.firstUndecided() ?? offset + 1, this.hold ?? offset + 1)) return false
    if (attempt.kind === 'end' || outcome === 'abort') return true
    const key = attempt.records[index]?.key
    const isTombstone = attempt.records[index]?.value === null
    if (isTombstone && this.topic.configs['delete.retention.ms'] === '0') return true
    for (const [at, other] of this.entries)
      if (at > offset && other.outcome !== 'abort' && other.attempt.records[other.index]?.key === key) return true
    return false
  }

  inOrder(): [number, Entry][] {
    return [...this.entries].sort(([a], [b]) => a - b)
  }

  /** First offset, of those from `from` on, of a transaction that is not decided; `undefined` without one. */
  firstUndecided(from = 0): number | undefined {
    let first: number | undefined
    for (const [offset, { attempt, outcome }] of this.entries) {
      const isUndecided = attempt.kind === 'transact' && outcome === undefined
      if (isUndecided && offset >= from && offset < (first ?? offset + 1)) first = offset
    }
    return first
  }

  isOpen(producerId: number): boolean {
    for (const { attempt, outcome } of this.entries.values())
      if (attempt.kind === 'transact' && attempt.producerId === producerId && outcome === undefined) return true
    return false
  }

  /** The highest start that deletions and retention can have led to. */
  highestStart(): number {
    const { retentionRecords } = this.topic
    const retained = retentionRecords === undefined ? 0 : this.highestEnd - retentionRecords
    const needed = Math.min(this.firstUndecided() ?? this.highestEnd, this.hold ?? this.highestEnd)
    return Math.max(this.startHigh, Math.min(retained, needed))
  }
}
