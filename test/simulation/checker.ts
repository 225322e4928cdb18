/**
 * Holds what a log shows against what was promised of it: the guarantees R1 to R9 of ARCHITECTURE.md, in plain code that
 * shares nothing with the engine.
 *
 *   R1, R6  nothing promised is missing; what may be missing is missing from the end on
 *   R2      a log that was never cleaned has no gaps; a cleaned one only those that cleaning may leave
 *   R3      an offset holds what was acknowledged for it
 *   R4      nothing is there twice, an append is there whole or not at all
 *   R5      every byte of key, value, timestamp and identity is what was sent
 *   R8      lookups by offset and time agree with a scan
 */
import type { AckLevel } from '../../lib/log/types.ts'
import { type Attempt, covers, type Entry, type History, Violation } from './history.ts'
import type { Observation, SeenBatch, SeenRecord } from './observation.ts'
import { FLUSH_BYTES, FLUSH_MESSAGES } from './schedule.ts'

export interface Expectation {
  /** What must be there: everything of this level and above. */
  readonly least: AckLevel
  /** The log was opened anew: what is missing is gone for good, and what is there is durable. */
  readonly isReopened: boolean
  /** The device was not honest: promises do not hold, but nothing that is served may be wrong. */
  readonly isLenient: boolean
  /** What the watermark file said before the log was opened: a log that ends below it has lost what was durable. */
  readonly watermark?: number | undefined
}

interface Found {
  readonly attempt: Attempt
  readonly index: number
}

export class Checker {
  readonly #history: History
  readonly #seen: Observation
  readonly #expected: Expectation
  readonly #found = new Map<number, Found>()

  constructor(history: History, seen: Observation, expected: Expectation) {
    this.#history = history
    this.#seen = seen
    this.#expected = expected
  }

  /** @throws {Violation} */
  check(): void {
    this.#checkChain()
    this.#checkSequences()
    for (const batch of this.#seen.batches) this.#readBatch(batch)
    this.#checkWhole()
    if (!this.#expected.isLenient) {
      this.#checkOffsets()
      this.#checkPromises()
    }
    if (this.#expected.isReopened) this.#adopt()
    else this.#note()
    this.#checkTransactions()
  }

  #checkChain(): void {
    const { start, end, highWatermark, batches } = this.#seen
    const { isCompacted } = this.#history.topic
    let next = batches[0]?.baseOffset ?? highWatermark
    let epoch = -1
    if (next > start && !isCompacted) this.#fail(`the first batch is at ${next}, the log starts at ${start}`)
    for (const { baseOffset, nextOffset, leaderEpoch } of batches) {
      if (baseOffset < next) this.#fail(`a batch at ${baseOffset} follows one that ends at ${next}`)
      if (baseOffset > next && !isCompacted) this.#fail(`R2: a gap from ${next} to ${baseOffset}`)
      if (leaderEpoch < epoch) this.#fail(`leader epoch ${leaderEpoch} at ${baseOffset} after ${epoch}`)
      next = nextOffset
      epoch = leaderEpoch
    }
    const { watermark = 0 } = this.#expected
    if (end < watermark) this.#fail(`R6: the log ends at ${end}, and was durable up to ${watermark}`)
    if (next > end || highWatermark > end || start > end) this.#fail(`batches end at ${next}, the log at ${end}`)
    if (next < highWatermark && !isCompacted)
      this.#fail(`batches end at ${next}, the high watermark is ${highWatermark}`)
  }

  /** R4: what an incarnation of a producer sent is there in a row. */
  #checkSequences(): void {
    if (this.#history.topic.isCompacted) return
    const next = new Map<number, { epoch: number; sequence: number }>()
    for (const { baseOffset, producerId, producerEpoch, baseSequence, marker, records } of this.#seen.batches) {
      if (producerId < 0 || marker !== undefined) continue
      const known = next.get(producerId)
      if (known !== undefined && producerEpoch < known.epoch)
        this.#fail(`producer ${producerId} is back at epoch ${producerEpoch} after ${known.epoch}, at ${baseOffset}`)
      if (known?.epoch === producerEpoch && baseSequence !== known.sequence)
        this.#fail(`R4: producer ${producerId} goes on at ${baseOffset} with ${baseSequence}, not ${known.sequence}`)
      next.set(producerId, { epoch: producerEpoch, sequence: baseSequence + records.length })
    }
  }

  #readBatch(batch: SeenBatch): void {
    if (batch.marker !== undefined) {
      const attempt = this.#history.attempts.get(batch.marker.sentAs)
      const isRight = attempt?.ends === batch.marker.type && attempt?.producerId === batch.producerId
      if (attempt === undefined || !isRight) this.#fail(`nobody sent the marker at ${batch.baseOffset}`)
      this.#notGone(attempt, batch.baseOffset)
      this.#found.set(batch.baseOffset, { attempt, index: 0 })
    }
    for (const record of batch.records) this.#readRecord(batch, record)
  }

  #readRecord(batch: SeenBatch, { offset, identity, key, value, timestamp }: SeenRecord): void {
    const [id, index] = identity.split('.').map(Number) as [number, number]
    const attempt = this.#history.attempts.get(id)
    const sent = attempt?.records[index]
    if (attempt === undefined || sent === undefined) this.#fail(`nobody sent what is at ${offset} (${identity})`)
    if (key !== sent.key || value !== sent.value || timestamp !== sent.timestamp)
      this.#fail(`R5: ${identity} at ${offset} is ${key}=${value} (${timestamp}), not ${sent.key}=${sent.value}`)
    const { producerId = -1, producerEpoch, sequence } = attempt
    const isProducers = producerId === batch.producerId && (producerId < 0 || producerEpoch === batch.producerEpoch)
    if (!isProducers || (producerId >= 0 && sequence !== batch.baseSequence))
      this.#fail(`${identity} at ${offset} bears producer ${batch.producerId}, sequence ${batch.baseSequence}`)
    // A batch may begin below the log start.
    if (offset >= this.#seen.start) this.#notGone(attempt, offset)
    this.#found.set(offset, { attempt, index })
  }

  #notGone(attempt: Attempt, offset: number): void {
    if (attempt.state === 'gone') this.#fail(`R1: attempt ${attempt.id} at ${offset} was gone, and is back`)
  }

  /** R4: each attempt once, whole, its records in a row. */
  #checkWhole(): void {
    const bases = new Map<Attempt, number>()
    const counts = new Map<Attempt, number>()
    for (const [offset, { attempt, index }] of this.#found) {
      const base = bases.get(attempt)
      if (base !== undefined && base !== offset - index)
        this.#fail(`R4: attempt ${attempt.id} is at ${base} and at ${offset - index}`)
      bases.set(attempt, offset - index)
      counts.set(attempt, (counts.get(attempt) ?? 0) + 1)
    }
    const { start, highWatermark } = this.#seen
    for (const [attempt, count] of counts) {
      const base = bases.get(attempt) as number
      const isCut = base < start || this.#history.topic.isCompacted || base + attempt.records.length > highWatermark
      if (attempt.kind !== 'end' && count !== attempt.records.length && !isCut)
        this.#fail(`R4: of attempt ${attempt.id} at ${base} there are ${count} records of ${attempt.records.length}`)
    }
  }

  #checkOffsets(): void {
    const { start, end, stable, highWatermark } = this.#seen
    const history = this.#history
    if (!(start <= stable && stable <= highWatermark && highWatermark <= end))
      this.#fail(`Y1: start ${start}, stable ${stable}, high watermark ${highWatermark}, end ${end}`)
    const low = Math.min(history.startLow, history.pendingCut ?? history.startLow)
    if (start < low) this.#fail(`the log starts at ${start}, and was to start at ${low}`)
    if (start > history.highestStart())
      this.#fail(`the log starts at ${start}; nothing from ${history.highestStart()} on may be gone`)
  }

  #checkPromises(): void {
    const { start, end, highWatermark } = this.#seen
    const { least, isReopened } = this.#expected
    const missing: Entry[] = []
    for (const [offset, entry] of this.#history.entries) {
      const found = this.#found.get(offset)
      if (found !== undefined && found.attempt === entry.attempt && found.index === entry.index) continue
      if (offset < start || this.#history.mayLack(offset, entry)) continue
      // Not shown yet.
      if (!isReopened && offset >= highWatermark && offset < end) continue
      const what = `attempt ${entry.attempt.id}.${entry.index} at ${offset}, ${entry.level}`
      if (covers(entry.level, least) && !(offset >= (this.#history.pendingCut ?? offset + 1)))
        this.#fail(`R1: ${what}, is ${found === undefined ? 'gone' : 'replaced'}; the log has ${start} to ${end}`)
      if (offset < end && found === undefined)
        this.#fail(`R6: ${what}, was dropped from the middle; ${start} to ${end}`)
      if (found?.attempt.state === 'acknowledged' && found.attempt.baseOffset !== offset - found.index)
        this.#fail(
          `R3: ${offset} holds attempt ${found.attempt.id}, which was acknowledged at ${found.attempt.baseOffset}`
        )
      missing.push(entry)
    }
    if (isReopened && this.#history.pendingCut === undefined) this.#checkLoss(missing)
  }

  /** `interval` and `buffered` bound what a crash may take: twice the thresholds. */
  #checkLoss(missing: readonly Entry[]): void {
    const { durability, name } = this.#history.topic
    if (durability !== 'interval' && !(durability === 'buffered' && this.#expected.least === 'written')) return
    const bytes = missing.reduce((sum, { attempt, index }) => sum + (attempt.records[index]?.value?.length ?? 0), 0)
    const attempts = new Set(missing.map(({ attempt }) => attempt))
    const largest = Math.max(0, ...[...attempts].map(({ records }) => records.length))
    if (missing.length > 2 * FLUSH_MESSAGES + largest || bytes > 2 * FLUSH_BYTES)
      this.#fail(
        `${missing.length} acknowledged records, ${bytes} bytes, of ${name} are gone: more than "${durability}" lets`
      )
  }

  /** From here on the log is what it shows, and nothing else. */
  #adopt(): void {
    const history = this.#history
    const { start, end } = this.#seen
    const below = [...history.entries].filter(([offset]) => offset < start)
    const before = history.entries
    history.entries = new Map()
    const there = new Set<Attempt>()
    for (const [offset, entry] of below) {
      history.entries.set(offset, entry)
      there.add(entry.attempt)
    }
    for (const [offset, { attempt, index }] of this.#found) {
      there.add(attempt)
      const old = before.get(offset)
      const isSame = old?.attempt === attempt && old.index === index
      const known = isSame ? old : { attempt, index, outcome: undefined, decidedAt: 0, wasCleaned: false }
      history.entries.set(offset, { ...known, level: 'synced', wasCleaned: false })
      attempt.state = 'acknowledged'
      attempt.baseOffset = offset - index
    }
    history.highestEnd = end
    history.startLow = start
    history.startHigh = start
    history.pendingCut = undefined
    for (const attempt of history.attempts.values()) {
      if (there.has(attempt)) continue
      // What was cleaned away stays where it was.
      if (history.mayBeCleaned && attempt.state === 'acknowledged' && (attempt.baseOffset ?? end) < end) continue
      attempt.state = 'gone'
    }
    history.decide()
    for (const producer of history.producers.values()) this.#adoptProducer(producer.id, there)
  }

  #adoptProducer(id: number, there: ReadonlySet<Attempt>): void {
    const producer = this.#history.producer(id)
    const { last } = producer
    const mine = [...this.#history.attempts.values()].filter(
      ({ producerId, producerEpoch, kind }) => producerId === id && producerEpoch === producer.epoch && kind !== 'end'
    )
    // Of what it was told is there, something is not: it cannot go on where it was.
    const present = mine.filter(attempt => there.has(attempt))
    const newest = present.at(-1)
    const isKnown = newest !== undefined && (newest.baseOffset as number) >= this.#seen.start
    if (last !== undefined && !there.has(last)) producer.mustBump = true
    if (!isKnown || this.#history.mayBeCleaned) producer.mustBump ||= mine.length > 0
    producer.last = isKnown && !producer.mustBump ? newest : undefined
    producer.unsure = producer.unsure.filter(attempt => !there.has(attempt))
    // What is sent again is not gone for good.
    if (!producer.mustBump) for (const attempt of producer.unsure) attempt.state = 'unsure'
    else producer.unsure = []
  }

  /** What readers were shown of a log that lives on. */
  #note(): void {
    const { durability } = this.#history.topic
    const level: AckLevel = durability === 'batch' ? 'synced' : durability === 'buffered' ? 'accepted' : 'written'
    for (const [offset, { attempt, index }] of this.#found) {
      if (offset >= this.#seen.start) this.#history.place(offset, attempt, index, level)
    }
    this.#history.decide()
  }

  /** T1: a reader with `read_committed` sees what was committed, all of it, and nothing else. */
  #checkTransactions(): void {
    const { start, stable, highWatermark, committed } = this.#seen
    const history = this.#history
    const stableAt = (undecided = highWatermark): number => Math.max(start, Math.min(undecided, highWatermark))
    const wanted = stableAt(history.firstUndecided())
    const forgottenBelow = Math.max(0, ...history.missingBefore.filter(base => base <= start))
    const wantedWithout = stableAt(history.firstUndecided(forgottenBelow))
    // Where both are the same, what is seen later tells.
    if (stable !== wanted && stable === wantedWithout) history.forget(forgottenBelow)
    else if (stable === wanted && stable !== wantedWithout) history.missingBefore = []
    else if (stable !== wanted && !this.#expected.isLenient)
      this.#fail(`the last stable offset is ${stable}, not ${wanted} (high watermark ${highWatermark})`)
    const expected = [...this.#found]
      .filter(([offset, { attempt }]) => {
        const isShown = offset >= start && offset < stable && attempt.kind !== 'end'
        return isShown && this.#history.entries.get(offset)?.outcome !== 'abort'
      })
      .map(([offset]) => offset)
      .sort((a, b) => a - b)
    if (expected.join() !== committed.join() && !this.#expected.isLenient)
      this.#fail(`T1: committed are ${expected.join()}, shown are ${committed.join()}`)
  }

  #fail(message: string): never {
    throw new Violation(`${this.#history.name}: ${message}`)
  }
}
