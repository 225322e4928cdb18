/** One life of the simulated program: a store on a disk, from opening to its end, whatever that is. */
import type { PartitionLog } from '../../lib/log/partition-log.ts'
import { Store } from '../../lib/store/store.ts'
import { isLogError } from '../../lib/util/errors.ts'
import { ManualClock } from '../helpers/manual-clock.ts'
import type { SimulatedDisk, Trace } from './disk.ts'
import { type History, Violation } from './history.ts'
import { noteMissing } from './missing-segments.ts'
import type { Schedule } from './schedule.ts'
import { type Claim, checkDurable } from './x-ray.ts'

export const DATA = '/data'

/** Of the claims that something is durable, which are held against the disk: each costs a copy of it. */
const LOOKED_AT = 3

export interface Follower {
  readonly stop: AbortController
  readonly name: string
}

export class Life {
  readonly disk: SimulatedDisk
  readonly clock: ManualClock
  readonly trace: Trace
  readonly schedule: Schedule
  readonly histories: Map<string, History>
  store = undefined as unknown as Store
  readonly #pending = new Set<Promise<unknown>>()
  readonly followers: Follower[] = []
  /** A fault was armed in this life: from then on anything may fail, with a typed error. */
  hadFault = false
  /** The first thing that was wrong, wherever it was found. */
  violation: Error | undefined
  /** Something was said to be durable, and was not. */
  notDurable: Error | undefined
  #claims = 0
  /** Logs of which somebody was told that a sync failed: they take nothing more. */
  readonly poisoned = new WeakSet<PartitionLog>()

  constructor(
    schedule: Schedule,
    disk: SimulatedDisk,
    given: { histories: Map<string, History>; trace: Trace; wall: number }
  ) {
    this.schedule = schedule
    this.disk = disk
    this.trace = given.trace
    this.histories = given.histories
    this.clock = new ManualClock(given.wall)
  }

  get mayFail(): boolean {
    return this.hadFault || this.disk.isDead
  }

  async open(): Promise<void> {
    this.store = await this.settled(
      'open',
      Store.open(DATA, {
        fs: this.disk.fs,
        clock: this.clock,
        // As little as it takes: memory that a store asks for costs more than all it does here.
        batchCacheBytes: 2 ** 20,
        upkeep: { background: this.schedule.background, cleanerMapBytes: 24 * 512 }
      })
    )
  }

  /** The log of a history, opened if need be; `undefined` if it cannot be, which only a fault may bring about. */
  async log(history: History): Promise<PartitionLog | undefined> {
    const [topic, partition] = split(history.name)
    const open = this.store.log(topic, partition)
    if (open !== undefined) return open
    await noteMissing(history, this.disk.fs, `${DATA}/${history.name}`)
    return this.attempt(`open ${history.name}`, () => this.store.openLog(topic, partition))
  }

  /** Does what may fail only where faults are, and only with a typed error. */
  async attempt<T>(what: string, work: () => Promise<T>, allowed: readonly string[] = []): Promise<T | undefined> {
    try {
      return await this.settled(what, work())
    } catch (error) {
      this.refused(what, error, allowed)
      return undefined
    }
  }

  refused(what: string, error: unknown, allowed: readonly string[] = []): void {
    if (error instanceof Violation || error instanceof Stopped) throw error
    // The end itself, which nobody is told of.
    if (!isLogError(error) && this.disk.isDead) throw new Stopped(what)
    if (!isLogError(error)) throw new Violation(`${what}: an error without a code: ${(error as Error)?.stack}`)
    this.trace.add(`${what}: ${error.code}`)
    if (!this.mayFail && !allowed.includes(error.code))
      throw new Violation(`${what} failed though nothing was amiss: ${error.stack}`)
  }

  /** Remembers work that nobody waits for now. */
  later(work: Promise<unknown>): void {
    const done = work.catch(error => {
      if (!(error instanceof Stopped)) this.violation ??= error as Error
    })
    this.#pending.add(done)
    void done.then(() => this.#pending.delete(done))
  }

  /** Waits for all that was left to be done later. */
  async settle(): Promise<void> {
    await this.settled('what was begun', Promise.all([...this.#pending]))
    if (this.violation !== undefined) throw this.violation
  }

  /** Waits, and lets simulated time pass when nothing happens any more. What never settles is a failure. */
  async settled<T>(what: string, work: Promise<T>): Promise<T> {
    let state: 'waiting' | 'done' = 'waiting'
    const begun = performance.now()
    const done = (): void => {
      state = 'done'
    }
    work.then(done, done)
    for (let turns = 1; state === 'waiting'; turns += 1) {
      await turn()
      if (state === 'waiting' && turns % 40 === 0) {
        // The dead answer nothing: who waited for them goes on.
        if (this.disk.isDead) throw new Stopped(what)
        this.clock.advance(turns < 2000 ? 10 : 1000)
      }
      if (turns > 6000 && performance.now() - begun > 10_000) throw new Violation(`${what} never settles`)
    }
    const result = await work
    // What was under way when the process ended may still end here; nobody was told.
    if (this.disk.isDead) throw new Stopped(what)
    return result
  }

  async advance(ms: number): Promise<void> {
    for (let left = ms; left > 0 && !this.disk.isDead; left -= 1000) {
      this.clock.advance(Math.min(left, 1000))
      await turn()
    }
    await turn()
  }

  /** Takes note of what the open logs say has reached the disk, which they must then keep. */
  sample(): void {
    for (const history of this.histories.values()) {
      const [topic, partition] = split(history.name)
      const log = this.store?.log(topic, partition)
      if (log === undefined || log.condition === 'closed') continue
      history.reached(log.durableOffset, 'synced')
      if (!history.topic.isCompacted && log.condition === 'open') this.claimed(history, claimOf(log, history))
      if (log.condition === 'open') history.reached(log.writtenOffset, 'written')
      if (this.schedule.background && history.topic.isCompacted) history.mayBeCleaned = true
    }
  }

  /** Somebody was told that this is durable: now and then, or `always`, that is looked at. */
  claimed(history: History, { from, upTo }: Claim, always = false): void {
    const { disk } = this
    if (this.hadFault || disk.hasLied || disk.isDead || from >= upTo) return
    this.#claims += 1
    if (!always && this.schedule.looksAtAll !== true && this.#claims % LOOKED_AT !== 0) return
    const claim = { from, upTo, isWhole: !history.topic.isCompacted }
    // Of a copy: nobody waits for it, and nothing goes another way because of it.
    checkDurable(disk.fs.clone(), `${DATA}/${history.name}`, claim).catch(error => {
      this.notDurable ??= error
    })
  }

  endFollowers(): void {
    for (const { stop } of this.followers.splice(0)) stop.abort()
  }
}

/** What a log that nobody has cleaned says of itself; readers of a `batch` log are shown what is durable only. */
export function claimOf(log: PartitionLog, { topic }: History): Claim {
  const shown = topic.durability === 'batch' ? log.highWatermark : 0
  return { from: log.logStartOffset, upTo: Math.max(log.durableOffset, shown) }
}

/** The process is dead, and somebody still waited for it. */
export class Stopped extends Error {}

export function split(name: string): [topic: string, partition: number] {
  const at = name.lastIndexOf('-')
  return [name.slice(0, at), Number(name.slice(at + 1))]
}

/** One turn of the event loop: everything that can happen without it has. */
export function turn(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve))
}
