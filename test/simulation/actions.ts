/** Carries operations out on a life, and notes what was promised. */
import type { PartitionLog } from '../../lib/log/partition-log.ts'
import type { AckLevel, AppendOptions } from '../../lib/log/types.ts'
import { encodeBatch } from '../../lib/record/encode-batch.ts'
import { isLogError } from '../../lib/util/errors.ts'
import { Checker } from './checker.ts'
import { checkLookups } from './derived-checks.ts'
import { type Attempt, type History, type Producer, type SentRecord, Violation } from './history.ts'
import { DATA, type Life, Stopped, split } from './life.ts'
import { IDENTITY, MARKER_TIME, type Observation, observe } from './observation.ts'
import { Random } from './random.ts'
import type { Keys, Operation } from './schedule.ts'
import { checkClosed, checkCut, checkShown } from './x-ray.ts'

/** Later than any clock of a schedule, and than the time of any marker. */
export const T0 = 2_000_000_000_000

type Of<K extends Operation['kind']> = Extract<Operation, { kind: K }>

export class Actions {
  readonly #life: Life
  #nextAttempt: () => number

  constructor(life: Life, nextAttempt: () => number) {
    this.#life = life
    this.#nextAttempt = nextAttempt
  }

  async append({ keys, own, level, wait, kind }: Of<'append' | 'batch'>, history: History): Promise<void> {
    const log = await this.#life.log(history)
    if (log === undefined) return
    const attempt = this.#begin(history, 'plain', keys)
    const options: AppendOptions = { ownBatch: own, ...(level === undefined ? {} : { durability: level }) }
    const work = (): Promise<void> =>
      this.#send(history, attempt, () =>
        kind === 'batch'
          ? log.appendBatch(encodeBatch(attempt.records, { now: T0 }), options)
          : log.append(attempt.records, options)
      )
    await this.#now(wait, work)
  }

  /** An idempotent or transactional producer: what is not known to be there is sent again first, in order. */
  async produce({ kind, id, keys, again, wait }: Of<'produce' | 'transact'>, history: History): Promise<void> {
    const log = await this.#life.log(history)
    const transactional = kind === 'transact'
    const producer = history.producer(transactional ? 10 + id : id)
    if (log === undefined || !(await this.#ready(log, history, producer))) return
    if (again) await this.#sendWrongly(log, history, producer)
    const attempt = this.#begin(history, kind, keys, producer)
    producer.nextSequence += keys.length
    producer.unsure.push(attempt)
    const work = (): Promise<void> => this.#sendAs(log, history, attempt)
    const twice = again ? (): Promise<unknown> => Promise.all([work(), work()]) : work
    await this.#now(wait, twice)
  }

  /** What a producer must not send is refused, whatever became of the log since it last wrote. */
  async #sendWrongly(log: PartitionLog, history: History, { id, epoch, last, nextSequence }: Producer): Promise<void> {
    if (last === undefined || this.#life.mayFail) return
    // Whoever was silent for a day may be forgotten, and then begins anew.
    if (this.#life.schedule.operations.some(({ kind }) => kind === 'jump')) return
    const records = [{ key: 'wrong', value: 'wrong', timestamp: T0, headers: { [IDENTITY]: '0.0' } }]
    const wrong = [
      ['OUT_OF_ORDER_SEQUENCE', epoch, nextSequence + 1],
      ['OUT_OF_ORDER_SEQUENCE', epoch, nextSequence + records.length + 2 ** 20],
      ['INVALID_PRODUCER_EPOCH', epoch - 1, 0],
      // What was sent last, cut short, is no repetition.
      ['OUT_OF_ORDER_SEQUENCE', epoch, last.records.length > 1 && last.producerEpoch === epoch ? last.sequence : -1]
    ] as const
    for (const [code, producerEpoch, baseSequence] of wrong) {
      if (producerEpoch < 0 || baseSequence < 0) continue
      const options = { producerId: id, producerEpoch, baseSequence, transactional: last.kind === 'transact' }
      const what = `producer ${id} of ${history.name} sends ${baseSequence} in epoch ${producerEpoch}`
      const taken = await this.#life.attempt(what, () => log.append(records, options), [code])
      if (taken !== undefined) throw new Violation(`${what}, and is not refused`)
    }
  }

  async end({ id, commit }: Of<'end'>, history: History): Promise<void> {
    const log = await this.#life.log(history)
    const producer = history.producer(10 + id)
    if (log === undefined || !(await this.#ready(log, history, producer)) || !history.isOpen(producer.id)) return
    await this.#end(log, history, producer, commit ? 'commit' : 'abort')
  }

  /** As a follower, a batch of the next leader. */
  async lead({ keys }: Of<'lead'>, history: History): Promise<void> {
    await this.#life.settle()
    const log = await this.#life.log(history)
    if (log === undefined) return
    const attempt = this.#begin(history, 'lead', keys)
    const leaderEpoch = log.leaderEpoch + 1
    const bytes = encodeBatch(attempt.records, { baseOffset: log.logEndOffset, leaderEpoch, now: T0 })
    await this.#send(history, attempt, () => log.appendAsFollower(bytes))
  }

  async truncate({ at }: Of<'truncate'>, history: History): Promise<void> {
    await this.#life.settle()
    this.#life.sample()
    const log = await this.#life.log(history)
    const seen = log && (await this.#life.attempt('read', () => observe(log)))
    if (log === undefined || seen === undefined) return
    // Batches go as a whole: only where one begins is it known what stays.
    const bases = seen.batches.map(({ baseOffset }) => baseOffset).filter(base => base >= seen.start)
    const offset = bases[Math.floor(at * bases.length)]
    if (offset === undefined || history.wouldReopen(offset)) return
    history.cutAsked(offset)
    const isCut = await this.#life.attempt(`truncate ${history.name} to ${offset}`, async () => {
      await log.truncateTo(offset)
      return true
    })
    if (isCut === undefined) return
    if (log.logEndOffset !== offset) throw new Violation(`cut at ${offset}, the log ends at ${log.logEndOffset}`)
    if (!this.#life.mayFail) {
      const epochs = new Set(seen.batches.map(({ leaderEpoch }) => leaderEpoch))
      for (const epoch of epochs) {
        const { endOffset = 0 } = log.endOffsetFor(epoch) ?? {}
        if (endOffset > offset) throw new Violation(`R8: cut at ${offset}, epoch ${epoch} ends at ${endOffset}`)
      }
      await checkCut(this.#life.disk.fs.clone(), `${DATA}/${history.name}`, offset)
    }
    history.cutDone(offset)
    // What follows from the log is in its files once it is closed.
    if (offset % 2 === 0) await this.reopenLog(history)
  }

  async deleteRecords({ at }: Of<'delete'>, history: History): Promise<void> {
    const log = await this.#life.log(history)
    if (log === undefined) return
    const { logStartOffset, highWatermark } = log
    const offset = logStartOffset + Math.floor(at * (highWatermark - logStartOffset))
    const isHeld = history.hold !== undefined && history.hold < offset
    if (!isHeld && !history.topic.isCompacted) history.startHigh = Math.max(history.startHigh, offset)
    const what = `delete ${history.name} before ${offset}`
    const start = await this.#life.attempt(what, () => log.deleteRecordsBefore(offset), ['POLICY_VIOLATION'])
    if (start === undefined) return
    if (isHeld && offset > logStartOffset)
      throw new Violation(`${what}: it is held from ${history.hold} on, and was not refused`)
    if (start < offset) throw new Violation(`${what}: the log starts at ${start}`)
    history.startLow = Math.max(history.startLow, offset)
  }

  async hold({ at }: Of<'hold'>, history: History): Promise<void> {
    const log = await this.#life.log(history)
    if (log === undefined) return
    const { logStartOffset, highWatermark } = log
    const offset = Math.max(history.hold ?? 0, logStartOffset + Math.floor(at * (highWatermark - logStartOffset)))
    // Retention may come between the question and the order.
    const allowed = ['OFFSET_OUT_OF_RANGE', 'INVALID_REQUEST']
    const done = async (): Promise<true> => {
      await log.hold('reader', offset, { limitMs: 'none' })
      return true
    }
    if (history.hold !== undefined) history.hold = Math.max(history.hold, offset)
    if (await this.#life.attempt(`hold ${history.name} ${offset}`, done, allowed)) history.holdFrom(offset)
  }

  async release(history: History): Promise<void> {
    const log = await this.#life.log(history)
    history.hold = undefined
    if (log !== undefined) await this.#life.attempt(`release ${history.name}`, () => log.releaseHold('reader'))
  }

  async read({ at }: Of<'read'>, history: History): Promise<void> {
    const log = await this.#life.log(history)
    if (log === undefined) return
    const { logStartOffset, highWatermark } = log
    const offset = logStartOffset + Math.floor(at * (highWatermark - logStartOffset))
    const got = await this.#life.attempt(`get ${history.name} ${offset}`, () => log.get(offset), [
      'OFFSET_OUT_OF_RANGE'
    ])
    const entry = history.entries.get(offset)
    if (got == null || entry === undefined || entry.attempt.state !== 'acknowledged') return
    const wanted = entry.attempt.records[entry.index]?.value ?? null
    if ((got.value?.toString() ?? null) !== wanted) throw new Violation(`get ${offset} is ${got.value}, not ${wanted}`)
  }

  /** The whole log as it is now. */
  async check(history: History): Promise<void> {
    await this.#life.settle()
    if (this.#life.disk.isDead) return
    this.#life.sample()
    const log = await this.#life.log(history)
    const seen = log && (await this.#life.attempt(`read ${history.name}`, () => observe(log)))
    if (log === undefined || seen === undefined || this.#life.disk.isDead) return
    const least: AckLevel = this.#life.hadFault ? 'synced' : 'written'
    new Checker(history, seen, { least, isReopened: false, isLenient: this.#life.disk.hasLied }).check()
    if (this.#life.hadFault) return
    if (!this.#life.schedule.background)
      await checkShown(this.#life.disk.fs.clone(), `${DATA}/${history.name}`, { seen, upTo: log.writtenOffset })
    try {
      await this.#life.attempt(`look up in ${history.name}`, () => checkLookups(log, seen, new Random(seen.end)))
    } catch (error) {
      // The process may end in the middle of one; what it still answers then, nobody hears.
      if (!this.#life.disk.isDead) throw error
    }
  }

  /** A reader who stays: what it is shown is in order, and what somebody sent. */
  async follow(history: History): Promise<void> {
    const log = await this.#life.log(history)
    if (log === undefined || this.#life.followers.length >= 3) return
    const stop = new AbortController()
    this.#life.followers.push({ stop, name: history.name })
    void this.#follow(log, history, stop.signal).catch(error => {
      if (!(error instanceof Stopped)) this.#life.violation ??= error
    })
  }

  async #follow(log: PartitionLog, history: History, signal: AbortSignal): Promise<void> {
    let last = -1
    let { cuts } = history
    try {
      for await (const { offset, headers, value } of log.records({ follow: true, signal })) {
        if (signal.aborted || this.#life.disk.isDead) return
        const [id, index] = String(headers[0]?.[1]).split('.').map(Number) as [number, number]
        const attempt = history.attempts.get(id)
        if (attempt === undefined || (value?.toString() ?? null) !== attempt.records[index]?.value)
          throw new Violation(`${history.name}: a follower was shown ${id}.${index} at ${offset}, which nobody sent`)
        if (offset <= last && cuts === history.cuts)
          throw new Violation(`${history.name}: a follower was shown ${offset} after ${last}`)
        last = offset
        cuts = history.cuts
        const entry = history.entries.get(offset)
        const isSynced = history.topic.durability === 'batch'
        if (entry?.attempt === attempt && isSynced && history.pendingCut === undefined) entry.level = 'synced'
      }
    } catch (error) {
      // A log that is closed or cut under a reader ends it with a code.
      this.#life.refused(`follow ${history.name}`, error, ['LOG_CLOSED', 'OFFSET_OUT_OF_RANGE', 'ABORTED'])
    }
  }

  #begin(history: History, kind: Attempt['kind'], keys: Keys, producer?: Producer): Attempt {
    const id = this.#nextAttempt()
    const isCompacted = history.topic.isCompacted
    const records = keys.map((number, index): SentRecord => {
      const key = number === 0 && !isCompacted ? null : `k${Math.floor(number / 3)}`
      const value = number % 3 === 1 ? null : `${id}.${index}:`.padEnd(4 + ((number * 37) % 60), '.')
      return { key, value, timestamp: T0 + id, headers: { [IDENTITY]: `${id}.${index}` } }
    })
    const attempt: Attempt = {
      id,
      kind,
      records,
      producerId: producer?.id,
      producerEpoch: producer?.epoch ?? -1,
      sequence: producer?.nextSequence ?? -1,
      ends: undefined,
      state: 'unsure',
      baseOffset: undefined
    }
    history.attempts.set(id, attempt)
    return attempt
  }

  async #send(
    history: History,
    attempt: Attempt,
    send: () => Promise<{ baseOffset: number; level: AckLevel }>
  ): Promise<void> {
    const what = `attempt ${attempt.id} ${attempt.kind} ${history.name}`
    const log = this.#life.store.log(...split(history.name))
    const wasPoisoned = log !== undefined && this.#life.poisoned.has(log)
    try {
      const { baseOffset, level } = await send()
      // The call that it waited for was under way when the process ended: nobody was told.
      if (this.#life.disk.isDead) return
      if (wasPoisoned) throw new Violation(`${what}: taken at ${baseOffset}, after a sync of this log had failed`)
      this.#life.trace.add(`${what}: ${baseOffset} ${level}`)
      history.acknowledged(attempt, baseOffset, level)
      if (level === 'synced') this.#claimed(history, baseOffset, attempt)
      if (attempt.kind === 'end') history.decide()
    } catch (error) {
      if (log !== undefined && isLogError(error, 'SYNC_FAILED')) this.#life.poisoned.add(log)
      this.#life.refused(what, error)
    }
  }

  #claimed(history: History, baseOffset: number, { records }: Attempt): void {
    const { logStartOffset = 0 } = this.#life.store.log(...split(history.name)) ?? {}
    const upTo = baseOffset + Math.max(1, records.length)
    this.#life.claimed(history, { from: Math.max(logStartOffset, baseOffset), upTo })
  }

  #sendAs(log: PartitionLog, history: History, attempt: Attempt): Promise<void> {
    return this.#send(history, attempt, () => log.append(attempt.records, optionsOf(attempt)))
  }

  async #now(wait: boolean, work: () => Promise<unknown>): Promise<void> {
    if (wait) await this.#life.settled('append', work())
    else this.#life.later(work())
  }

  /** Brings a producer to where it can send on: R4 is about what this repeats. */
  async #ready(log: PartitionLog, history: History, producer: Producer): Promise<boolean> {
    if (producer.unsure.length > 0) await this.#life.settle()
    if (producer.mustBump) {
      const open = history.isOpen(producer.id)
      producer.epoch += 1
      Object.assign(producer, { nextSequence: 0, unsure: [], last: undefined, mustBump: false })
      if (open) await this.#end(log, history, producer, 'abort')
      if (open && history.isOpen(producer.id)) {
        producer.mustBump = true
        return false
      }
    }
    for (const attempt of [...producer.unsure]) {
      await this.#life.settled('repeat', this.#sendAs(log, history, attempt))
      if (producer.unsure.includes(attempt)) return false
    }
    return true
  }

  /** R4, asked: what a producer sent last is known, and what is out of order or of an earlier incarnation is refused. */
  async probeProducers(history: History): Promise<void> {
    const log = await this.#life.log(history)
    if (log === undefined || this.#life.mayFail) return
    for (const { last, mustBump, unsure, epoch } of history.producers.values()) {
      if (last === undefined || mustBump || unsure.length > 0 || last.producerEpoch !== epoch) continue
      await this.#life.settled('repeat', this.#sendAs(log, history, last))
      const baseSequence = last.sequence + last.records.length + 1
      await this.#mustRefuse(log, { ...last, sequence: baseSequence }, 'OUT_OF_ORDER_SEQUENCE')
      if (epoch > 0)
        await this.#mustRefuse(log, { ...last, producerEpoch: epoch - 1, sequence: 0 }, 'INVALID_PRODUCER_EPOCH')
    }
  }

  async #mustRefuse(log: PartitionLog, attempt: Attempt, wanted: string): Promise<void> {
    const { sequence, producerId, producerEpoch } = attempt
    const what = `${sequence} of producer ${producerId}, epoch ${producerEpoch}`
    const answer = log.append(attempt.records, optionsOf(attempt)).then(
      ({ baseOffset }) => `taken at ${baseOffset}`,
      error => error.code
    )
    const found = await this.#life.settled('refuse', answer)
    if (found !== wanted) throw new Violation(`R4: sequence ${what}, was to be refused: ${found}`)
  }

  async #end(log: PartitionLog, history: History, producer: Producer, ends: 'commit' | 'abort'): Promise<void> {
    const attempt = { ...this.#begin(history, 'end', [], producer), ends }
    history.attempts.set(attempt.id, attempt)
    const marker = {
      type: ends,
      producerId: producer.id,
      producerEpoch: producer.epoch,
      timestamp: MARKER_TIME + attempt.id
    }
    await this.#life.settled(
      'end',
      this.#send(history, attempt, () => log.appendEndTransaction(marker))
    )
  }

  /** Of one log, by closing it and opening it anew. */
  async reopenLog(history: History): Promise<void> {
    await this.#life.settle()
    const log = this.#life.store.log(...split(history.name))
    if (log === undefined) return
    const closed = await this.#life.attempt(`close ${history.name}`, () => log.close().then(() => true))
    this.#life.sample()
    if (closed && !this.#life.mayFail && !this.#life.disk.hasLied)
      await checkClosed(this.#life.disk.fs.clone(), `${DATA}/${history.name}`)
    const opened = await this.#life.log(history)
    // A close that failed before anything was given up leaves the log as it was.
    if (opened === undefined || opened === log) return
    // What a close that failed had still to write is gone.
    const { disk, hadFault } = this.#life
    const isClean = closed === true && !hadFault
    const least: AckLevel = isClean ? 'accepted' : disk.hasFailedSync ? 'synced' : 'written'
    const look = (): Promise<Observation | undefined> =>
      this.#life.attempt(`read ${history.name}`, () => observe(opened))
    let seen = await look()
    if (seen === undefined) {
      // Nothing can be said of what cannot be seen.
      disk.heal()
      seen = await look()
    }
    if (seen !== undefined && !disk.isDead)
      new Checker(history, seen, { least, isReopened: true, isLenient: disk.hasLied }).check()
  }
}

function optionsOf({ producerId, producerEpoch, sequence, kind }: Attempt): AppendOptions {
  return {
    producerId: producerId as number,
    producerEpoch,
    baseSequence: sequence,
    transactional: kind === 'transact'
  }
}
