/**
 * What one log must hold, from what its writer told: plain code, which shares nothing with the engine.
 *
 * R1  What is found is what was sent, in that order; nothing that came before a found append is missing.
 * R2  No gaps where nothing is compacted.
 * R3  What was acknowledged at a level that survives is found at the offset that was told. What was found lost, or was
 *     cut off, never comes back.
 * R4  Nothing is found twice.
 * R6, R7 follow: they are these, after recoveries that were themselves ended, one after the other.
 */
import { ACK_LEVELS, type AckLevel } from '../../lib/log/types.ts'
import type { FoundBatch, FoundLog } from './found.ts'
import type { Line, Resume, SentLine } from './lines.ts'
import type { TopicRules } from './topics.ts'

/** What may be lost: nothing, what was in memory, what was not synced. */
export type Ending = 'close' | 'kill' | 'power'

const SURVIVES: Readonly<Record<Ending, AckLevel>> = { close: 'accepted', kill: 'written', power: 'synced' }
const MOST_WRONG = 8
/** Kafka's bound on batches that are remembered of a producer. */
const REMEMBERED = 5

interface Append {
  line: SentLine
  /** Offsets that it takes. */
  readonly count: number
  at: number | undefined
  level: AckLevel | undefined
  /** `maybe`: refused in a way that leaves open what is on the disk. `gone`: it must not be found any more. */
  fate: 'sent' | 'refused' | 'maybe' | 'gone'
  /** Tried again, so that its place says nothing of the order. */
  retried: boolean
}

/** Refused before anything was written, or taken back. */
const TAKEN_BACK = new Set(['NO_SPACE', 'TOO_MANY_OPEN_FILES', 'OUT_OF_ORDER_SEQUENCE'])

export interface SavedModel {
  readonly appends: readonly Append[]
  readonly start: number
  readonly mayStartAt: number
  readonly highestEnd: number
}

export class LogModel {
  readonly name: string
  readonly #rules: TopicRules
  /** In the order in which they were sent. */
  #appends = new Map<number, Append>()
  #start = 0
  #mayStartAt = 0
  /** Retention may have gone by an end that was lost later. */
  #highestEnd = 0
  /** Where a cut is under way. */
  #cutTo: number | undefined
  /** The lowest place of a cut that was refused: it may have been made nevertheless. */
  #mayBeCutFrom: number | undefined
  /** Acknowledged appends, held against what was found so far. */
  held = 0

  constructor(name: string, rules: TopicRules, saved?: SavedModel) {
    this.name = name
    this.#rules = rules
    if (saved === undefined) return
    this.#appends = new Map(saved.appends.map(append => [append.line.sent, append]))
    this.#start = saved.start
    this.#mayStartAt = saved.mayStartAt
    this.#highestEnd = saved.highestEnd
  }

  save(): SavedModel {
    const [start, mayStartAt, highestEnd] = [this.#start, this.#mayStartAt, this.#highestEnd]
    return { appends: [...this.#appends.values()], start, mayStartAt, highestEnd }
  }

  has(number: number): boolean {
    return this.#appends.has(number)
  }

  tell(line: Line): void {
    if ('sent' in line) this.#sent(line)
    else if ('acked' in line) this.#acked(line)
    else if ('safe' in line) this.#raise(this.#append(line.safe), 'synced')
    else if ('refused' in line) this.#refused(this.#append(line.refused), line.code)
    else if ('cutting' in line) this.#cutting(line.to)
    else if ('cut' in line) this.#cut()
    else if ('trimming' in line) this.#mayStartAt = Math.max(this.#mayStartAt, line.to)
    else if ('trimmed' in line) this.#start = Math.max(this.#start, line.to)
    else if ('closed' in line) {
      for (const append of this.#appends.values()) if (append.level !== undefined) append.level = 'synced'
    }
  }

  /**
   * The writer has ended so, and the next one goes on without anybody having looked: what that may have cost is
   * neither demanded nor refused from now on.
   */
  ended(ending: Ending): void {
    const survives = ACK_LEVELS.indexOf(SURVIVES[ending])
    for (const append of this.#appends.values()) {
      const isCut = this.#mayBeCut(append.at ?? -1)
      const isAtRisk = append.level !== undefined && ACK_LEVELS.indexOf(append.level) < survives
      if (append.fate === 'sent' && (isCut || isAtRisk)) append.fate = 'maybe'
    }
    this.#forgetCuts()
  }

  #append(number: number): Append {
    const append = this.#appends.get(number)
    if (append === undefined) throw new Error(`${this.name}: append ${number} was not announced`)
    return append
  }

  #sent(line: SentLine): void {
    const before = this.#appends.get(line.sent)
    if (before !== undefined) {
      // What was found lost may be there again from now on.
      if (before.fate === 'gone' && before.level === undefined) before.fate = 'sent'
      before.retried = true
      return
    }
    const count = line.marker === undefined ? line.records.length : 1
    this.#appends.set(line.sent, { line, count, at: undefined, level: undefined, fate: 'sent', retried: false })
  }

  #acked({ acked, at, level, duplicate }: { acked: number; at: number; level: AckLevel; duplicate: boolean }): void {
    const append = this.#append(acked)
    if (append.at !== undefined && (append.at !== at || !duplicate)) {
      const how = duplicate ? 'acknowledged again' : 'appended again'
      throw new Error(`${this.name}: append ${acked} was at ${append.at}, and is ${how} at ${at}`)
    }
    append.at = at
    append.fate = 'sent'
    this.#raise(append, level)
    this.#highestEnd = Math.max(this.#highestEnd, at + append.count)
  }

  #refused(append: Append, code: string): void {
    // What is not tried for the first time may be there already.
    if (append.retried) return
    append.fate = TAKEN_BACK.has(code) && this.#rules.keepsRefused !== true ? 'refused' : 'maybe'
  }

  #raise(append: Append, level: AckLevel): void {
    if (append.level === undefined || ACK_LEVELS.indexOf(append.level) < ACK_LEVELS.indexOf(level)) append.level = level
  }

  #cutting(to: number): void {
    // The one before was not told as made.
    if (this.#cutTo !== undefined) this.#mayBeCutFrom = Math.min(this.#cutTo, this.#mayBeCutFrom ?? this.#cutTo)
    this.#cutTo = to
  }

  #cut(): void {
    const to = this.#cutTo!
    for (const append of this.#appends.values()) if ((append.at ?? -1) >= to) append.fate = 'gone'
    this.#cutTo = undefined
  }

  #mayBeCut(at: number): boolean {
    return at >= Math.min(this.#cutTo ?? Number.POSITIVE_INFINITY, this.#mayBeCutFrom ?? Number.POSITIVE_INFINITY)
  }

  #forgetCuts(): void {
    this.#cutTo = undefined
    this.#mayBeCutFrom = undefined
  }

  /**
   * Holds what an opening found against all that was told.
   *
   * @param ending - how the writer ended.
   * @param isRecovered - false: only looked at, by a reader that changes nothing and may see less.
   */
  check(found: FoundLog, ending: Ending, isRecovered: boolean): string[] {
    const wrong = [...this.#wrongBounds(found), ...(this.#rules.isCompacted ? [] : gaps(found))]
    const present = this.#match(found, wrong)
    wrong.push(...wrongVisibility(found, this.#rules.isCompacted))
    if (isRecovered) {
      this.#missing(found, ending, present, wrong)
      this.#settle(found, present)
    }
    return wrong.slice(0, MOST_WRONG).map(each => `${this.name}: ${each}`)
  }

  #wrongBounds({ start, end }: FoundLog): string[] {
    const { retained } = this.#rules
    const pending = [...this.#appends.values()].filter(({ fate, level }) => fate === 'sent' && level === undefined)
    const highest = pending.reduce((sum, { count }) => sum + count, Math.max(this.#highestEnd, end))
    const latest = Math.max(this.#mayStartAt, retained === undefined ? 0 : highest - retained, this.#start)
    if (start >= this.#start && start <= latest && start <= end) return []
    return [`begins at ${start} and ends at ${end}; it may begin at ${this.#start} to ${latest}`]
  }

  /** R1, R3, R4: every append that is found, at its place. Notes those whose place was not known. */
  #match(found: FoundLog, wrong: string[]): Set<number> {
    const present = new Set<number>()
    let lastOrder = -1
    const order = new Map([...this.#appends.keys()].map((number, i) => [number, i]))
    for (const group of groupsOf(found.batches)) {
      const append = this.#appends.get(group.number)
      const what = `append ${group.number} at ${group.at}`
      if (append === undefined) wrong.push(`${what} was never sent, or is below the start`)
      else if (append.fate === 'gone' || append.fate === 'refused')
        wrong.push(`${what} is back: it had been ${append.fate}`)
      else if (present.has(group.number)) wrong.push(`${what} is there twice`)
      else {
        const problem = this.#unlike(append, group, found.start)
        if (problem !== undefined) wrong.push(`${what} ${problem}`)
        present.add(group.number)
        append.at ??= group.at - group.first
        const place = order.get(group.number)!
        if (append.retried) continue
        if (place < lastOrder) wrong.push(`${what} comes after one that was sent later`)
        lastOrder = place
      }
    }
    return present
  }

  /** How a group of records is not the append that its number names; `undefined`: it is. */
  #unlike(append: Append, group: Group, start: number): string | undefined {
    const { line, at, count } = append
    if (at !== undefined && group.at - group.first !== at) return `was acknowledged at ${at}`
    if (line.marker !== undefined)
      return group.marker === line.marker ? undefined : `is a ${group.marker}, sent was a ${line.marker}`
    for (const [i, [key, value]] of group.records) {
      const sent = line.records[i]
      if (sent === undefined || sent[0] !== key || sent[1] !== value) return `has another content at ${i}`
    }
    const whole = group.records.size === count
    if (!whole && !this.#rules.isCompacted && group.at >= start && group.first === 0) return 'is not whole'
    return undefined
  }

  /** R1, R3: what has to be there and is not; and how much was lost that might be. */
  #missing(found: FoundLog, ending: Ending, present: ReadonlySet<number>, wrong: string[]): void {
    const survives = ACK_LEVELS.indexOf(SURVIVES[ending])
    const later = this.#rules.isCompacted ? latestByKey(found) : undefined
    let atRisk = 0
    for (const append of this.#appends.values()) {
      const { at, count, level, fate, line } = append
      if (fate !== 'sent' || at === undefined || level === undefined) continue
      const isCut = this.#mayBeCut(at)
      if (at + count <= found.start || isCut) continue
      this.held += 1
      const isThere = later === undefined ? present.has(line.sent) : isKept(append, later)
      if (isThere) continue
      if (ACK_LEVELS.indexOf(level) >= survives || at < found.end)
        wrong.push(`append ${line.sent} was acknowledged as ${level} at ${at} and is lost; the end is ${found.end}`)
      atRisk += count
    }
    const { atRiskInMemory, atRiskOnDisk } = this.#rules
    const most =
      ending === 'power' && atRiskInMemory === 0 ? atRiskOnDisk : ending === 'kill' ? atRiskInMemory : undefined
    if (most !== undefined && atRisk > most) wrong.push(`${atRisk} acknowledged records are lost, ${most} may be`)
  }

  /** Goes on from what was found: what is not there is gone for good. */
  #settle(found: FoundLog, present: ReadonlySet<number>): void {
    this.#start = found.start
    this.#forgetCuts()
    const goneFrom = [...this.#appends.values()]
    for (const append of goneFrom) {
      const { at, count, line } = append
      if (at !== undefined && at + count <= found.start) this.#appends.delete(line.sent)
      else if (present.has(line.sent)) append.level = 'synced'
      else if (append.fate !== 'refused') {
        append.fate = 'gone'
        append.level = undefined
        append.at = undefined
      }
    }
    const gone = goneFrom.filter(({ fate }) => fate === 'gone' || fate === 'refused')
    // Some generations of what is gone suffice.
    for (const { line } of gone.slice(0, -2000)) this.#appends.delete(line.sent)
  }

  /** For the next writer, which tries the last appends of this log's producer again. */
  resume(): Resume | undefined {
    const own = [...this.#appends.values()].filter(
      ({ line, fate }) => line.producer !== undefined && fate !== 'refused'
    )
    const last = own.at(-1)?.line.producer
    if (last === undefined) return undefined
    const ofEpoch = own.filter(({ line }) => line.producer!.epoch === last.epoch && line.marker === undefined)
    const acked = ofEpoch.filter(({ level }) => level !== undefined).slice(-2)
    const unknown = ofEpoch.filter(({ level }) => level === undefined)
    // A sequence that may be taken is not given to another batch: it would be answered as a duplicate.
    if (unknown.length > REMEMBERED - 2)
      return { log: this.name, id: last.id, epoch: last.epoch + 1, nextSequence: 0, retries: [] }
    const retries = [...acked, ...unknown].map(({ line }) => line)
    const end = retries.at(-1)
    const nextSequence = end === undefined ? 0 : end.producer!.sequence + end.records.length
    return { log: this.name, id: last.id, epoch: last.epoch, nextSequence, retries }
  }
}

interface Group {
  readonly number: number
  /** Offset of the first record that was found of it. */
  readonly at: number
  /** The place of that record in its append. */
  readonly first: number
  /** Content by place in the append. */
  readonly records: Map<number, readonly [string | null, string | null]>
  readonly marker: string | undefined
}

/** Records that follow each other and come from one append. */
function groupsOf(batches: readonly FoundBatch[]): Group[] {
  const groups: Group[] = []
  for (const batch of batches) {
    if (batch.marker !== undefined) {
      const { number, type } = batch.marker
      groups.push({ number, at: batch.base, first: 0, records: new Map(), marker: type })
    }
    for (const { offset, key, value, number, place } of batch.records) {
      let group = groups.at(-1)
      if (group?.number !== number || group.marker !== undefined || group.records.has(place)) {
        group = { number, at: offset, first: place, records: new Map(), marker: undefined }
        groups.push(group)
      }
      if (offset - group.at === place - group.first) group.records.set(place, [key, value])
      else groups.push({ number: -1, at: offset, first: 0, records: new Map(), marker: undefined })
    }
  }
  return groups
}

function gaps({ start, end, batches }: FoundLog): string[] {
  const wrong: string[] = []
  let next = batches[0]?.base ?? end
  if (next > start) wrong.push(`begins at ${start}, and its first batch at ${next}`)
  for (const { base, last } of batches) {
    if (base !== next) wrong.push(`after ${next - 1} comes ${base}`)
    next = last + 1
  }
  if (next !== end) wrong.push(`ends at ${end}, and its last batch before ${next}`)
  return wrong
}

function latestByKey({ batches }: FoundLog): Map<string | null, number> {
  return new Map(batches.flatMap(({ records }) => records.map(({ key, offset }) => [key, offset] as const)))
}

/** Each record of the append is there, or a later one of its key is. */
function isKept({ at, line }: Append, latest: ReadonlyMap<string | null, number>): boolean {
  return line.records.every(([key], i) => (latest.get(key) ?? -1) >= at! + i)
}

/** What a `read_committed` consumer sees is what the markers say. */
function wrongVisibility({ batches, committed, lastStableOffset, end }: FoundLog, isCompacted: boolean): string[] {
  if (isCompacted) return []
  const decided = new Map<number, string>()
  const expected: number[] = []
  let stable = end
  for (const batch of [...batches].reverse()) {
    if (batch.marker !== undefined) decided.set(batch.producerId, batch.marker.type)
    const fate = batch.transactional && batch.marker === undefined ? decided.get(batch.producerId) : 'commit'
    if (fate === undefined) stable = batch.base
    if (fate === 'commit') for (const { offset } of batch.records) expected.push(offset)
  }
  expected.sort((a, b) => a - b)
  const visible = expected.filter(offset => offset < stable)
  const wrong: string[] = []
  if (lastStableOffset !== stable) wrong.push(`the last stable offset is ${lastStableOffset}, not ${stable}`)
  if (committed.join() !== visible.join()) {
    const missing = visible.filter(offset => !committed.includes(offset))
    const extra = committed.filter(offset => !visible.includes(offset))
    wrong.push(`a read_committed reader misses ${missing.join()} and sees ${extra.join()} that it should not`)
  }
  return wrong
}
