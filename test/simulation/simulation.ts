/**
 * Carries a schedule out on the whole engine: lives of a store that end in a close or a crash. After each crash every
 * outcome is tried on a copy of the disk: recovered (now and then with a crash in the middle of it), checked, used,
 * closed and opened again. One of them becomes the next life.
 */
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import type { PartitionLog } from '../../lib/log/partition-log.ts'
import type { AckLevel } from '../../lib/log/types.ts'
import { Actions } from './actions.ts'
import { Checker, type Expectation } from './checker.ts'
import { checkDerived, checkLookups } from './derived-checks.ts'
import { SimulatedDisk, Trace } from './disk.ts'
import { GuestTopic } from './guest.ts'
import { History, Violation } from './history.ts'
import { checkDamaged } from './hurt.ts'
import { claimOf, DATA, Life, Stopped, split, turn } from './life.ts'
import { noteMissing } from './missing-segments.ts'
import { observe } from './observation.ts'
import { anyhow, type CrashOutcome, DROP_ALL, KEEP_ALL, KILL, ZEROS } from './outcomes.ts'
import { Random, seedBelow } from './random.ts'
import { checkReport, durableUpTo, logSizes } from './report-check.ts'
import { GUEST, type Operation, type Schedule, type SimulatedTopic } from './schedule.ts'
import { warmUp } from './warm-up.ts'
import { checkClosed, checkNoGap, checkNotClosed } from './x-ray.ts'

export interface SimulationResult {
  /** What was wrong; `undefined`: nothing. */
  readonly failure: Error | undefined
  /** Where: the operation's number and the outcome of the crash, for people. */
  readonly where: string
  readonly digest: string
  readonly lines: readonly string[]
  /** Ends of the schedule, or of a part of it, that were recovered and checked each on its own. */
  readonly schedules: number
  readonly crashesInRecovery: number
  /** Calls that changed a disk. */
  readonly changes: number
  /** The end or the fault that was armed last came. */
  readonly wasReached: boolean
}

export interface SimulationOptions {
  /** Numbers of the operations to carry out; all by default. */
  readonly path?: readonly number[] | undefined
  readonly keepsLines?: boolean
  /** False: nothing is written down of what happens, and there is no digest. */
  readonly isTraced?: boolean
  /** The first crash is the end. */
  readonly endsAtCrash?: boolean
  /** Of each crash; by default a kill, four extremes, and five by the seed. */
  readonly outcomes?: readonly CrashOutcome[] | undefined
}

const RANDOM_OUTCOMES = 5
/** Of crashes, how many are also looked at with something damaged. */
const DAMAGED_PERCENT = 60
const WALL = 1_700_000_000_000

export async function simulate(schedule: Schedule, options: SimulationOptions = {}): Promise<SimulationResult> {
  await warmUp()
  return new Simulation(schedule, options).run()
}

class Simulation {
  readonly #schedule: Schedule
  readonly #path: ReadonlySet<number> | undefined
  readonly #options: SimulationOptions
  #isOver = false
  #wasReached = false
  readonly #trace: Trace
  #life = undefined as unknown as Life
  #actions = undefined as unknown as Actions
  #attempts = 0
  #schedules = 0
  #crashesInRecovery = 0
  #changes = 0
  #where = 'the beginning'
  #guest = new GuestTopic()
  /** Of `alter`: values that the setting may have. */
  #segmentMs: ReadonlySet<string | undefined> = new Set([undefined])

  constructor(schedule: Schedule, options: SimulationOptions) {
    const { path, keepsLines = false, isTraced = true } = options
    this.#schedule = schedule
    this.#options = options
    this.#path = path && new Set(path)
    this.#trace = new Trace({ keepsLines, isOff: !isTraced })
  }

  async run(): Promise<SimulationResult> {
    let failure: Error | undefined
    try {
      await this.#begin()
      for (const [number, operation] of this.#schedule.operations.entries()) {
        if (this.#path !== undefined && !this.#path.has(number)) continue
        this.#where = `operation ${number}, ${JSON.stringify(operation)}`
        this.#trace.add(this.#where)
        await this.#step(operation, number)
        if (this.#isOver) break
      }
      const end = this.#schedule.operations.length
      this.#where = 'the last crash'
      if (!this.#isOver) await this.#crash(end)
      this.#where = 'the last close'
      await this.#reopen()
      await this.#life.store.close()
    } catch (error) {
      failure = error instanceof Error ? error : new Error(String(error))
    }
    this.#life?.endFollowers()
    const digest = this.#trace.digest()
    return {
      failure,
      where: this.#where,
      digest,
      lines: this.#trace.lines ?? [],
      schedules: this.#schedules,
      crashesInRecovery: this.#crashesInRecovery,
      changes: this.#changes,
      wasReached: this.#wasReached
    }
  }

  async #begin(): Promise<void> {
    const histories = new Map<string, History>()
    this.#live(this.#disk(new MemoryFileSystem({ now: () => WALL })), histories, WALL)
    await this.#life.open()
    for (const topic of this.#schedule.topics) {
      await this.#life.store.createTopic(topic.name, { partitions: topic.partitions, configs: topic.configs })
      for (let partition = 0; partition < topic.partitions; partition += 1) {
        const history = new History(topic, partition)
        histories.set(history.name, history)
      }
    }
  }

  #disk(fs: MemoryFileSystem): SimulatedDisk {
    const { isSlow, seed } = this.#schedule
    return new SimulatedDisk(fs, this.#trace, isSlow ? seedBelow(seed, this.#schedules) : undefined)
  }

  #live(disk: SimulatedDisk, histories: Map<string, History>, wall: number): void {
    this.#life = new Life(this.#schedule, disk, { histories, trace: this.#trace, wall })
    this.#actions = new Actions(this.#life, () => (this.#attempts += 1))
  }

  async #step(operation: Operation, number: number): Promise<void> {
    const life = this.#life
    try {
      await this.#do(operation)
      // Not from one timer to the next: what was begun may still be under way.
      await life.advance(1)
      if (life.violation !== undefined) throw life.violation
      if (life.notDurable !== undefined) throw life.notDurable
    } catch (error) {
      if (!(error instanceof Stopped)) throw error
    }
    if (!life.disk.isDead) life.sample()
    if (life.disk.isDead) await this.#crash(number)
  }

  async #do(operation: Operation): Promise<unknown> {
    const life = this.#life
    const actions = this.#actions
    if ('log' in operation) {
      const histories = [...life.histories.values()]
      const history = histories[operation.log % histories.length] as History
      return this.#doOn(operation, history)
    }
    switch (operation.kind) {
      case 'retain':
        return life.attempt('retain', () => life.store.retain())
      case 'compact':
        for (const history of life.histories.values()) if (history.topic.isCompacted) history.mayBeCleaned = true
        return life.attempt('compact', () => life.store.compact())
      case 'checkpoint':
        return life.attempt('checkpoint', () => life.store.checkpoint())
      case 'settle':
        return life.settle()
      case 'advance':
        return life.advance(operation.ms)
      case 'jump':
        return life.clock.jumpTo(life.clock.now() + operation.ms)
      case 'fault':
        life.hadFault = true
        return life.disk.fail(operation.fault, operation.after, operation.forever, operation.endsAfter)
      case 'heal':
        return life.disk.heal()
      case 'alter':
        return this.#alter()
      case 'recreate':
        return this.#guest.change(life, actions)
      case 'crash':
        return life.disk.dieAfter(operation.after)
      case 'end-now':
        for (let left = operation.turns; left > 0; left -= 1) await turn()
        life.sample()
        return life.disk.die()
      case 'reopen':
        return this.#reopen()
    }
  }

  async #doOn(operation: Extract<Operation, { log: number }>, history: History): Promise<unknown> {
    const actions = this.#actions
    const life = this.#life
    switch (operation.kind) {
      case 'append':
      case 'batch':
        return actions.append(operation, history)
      case 'produce':
      case 'transact':
        return actions.produce(operation, history)
      case 'end':
        return actions.end(operation, history)
      case 'lead':
        return actions.lead(operation, history)
      case 'truncate':
        return actions.truncate(operation, history)
      case 'delete':
        return actions.deleteRecords(operation, history)
      case 'hold':
        return actions.hold(operation, history)
      case 'release':
        return actions.release(history)
      case 'read':
        return actions.read(operation, history)
      case 'check':
        return actions.check(history)
      case 'follow':
        return actions.follow(history)
      case 'reopen-log':
        return actions.reopenLog(history)
      case 'roll':
      case 'sync': {
        const log = await life.log(history)
        return log && life.attempt(`${operation.kind} ${history.name}`, () => log[operation.kind]())
      }
    }
  }

  async #alter(): Promise<void> {
    const topic = this.#schedule.topics[0] as SimulatedTopic
    const before = this.#life.store.topics().find(each => each.topic === topic.name)?.configs?.['segment.ms']
    const value = before === '3600000' ? '7200000' : '3600000'
    this.#segmentMs = new Set([...this.#segmentMs, value])
    const done = await this.#life.attempt('alter', () =>
      this.#life.store.alterTopic(topic.name, { set: { 'segment.ms': value } })
    )
    if (done !== undefined) this.#segmentMs = new Set([value])
  }

  /** A clean close, and what is found afterwards. Under faults it may fail; then it is a process that ended. */
  async #reopen(): Promise<void> {
    const life = this.#life
    await life.settle()
    for (const history of life.histories.values())
      if (this.#schedule.background) history.mayBeCleaned ||= history.topic.isCompacted
    const isPoisoned = [...life.histories.keys()].some(name => life.store.log(...split(name))?.condition === 'poisoned')
    const closed = await life.attempt('close', async () => {
      await life.store.close()
      return true
    })
    if (life.disk.isDead) throw new Stopped('close')
    life.endFollowers()
    const isClean = closed === true && !life.hadFault
    this.#wasReached ||= life.disk.wasReached
    const left = life.disk.die()
    const { hasFailedSync, hasLied } = life.disk
    if (life.notDurable !== undefined) throw life.notDurable
    if (isPoisoned) await checkNotClosed(left.clone(), DATA)
    if (isClean && !hasLied) {
      for (const name of life.histories.keys()) await checkClosed(left.clone(), `${DATA}/${name}`)
      const where = this.#where
      this.#where = `${where}, then damage`
      await checkDamaged(left, [...life.histories.keys()], {
        schedule: this.#schedule,
        seed: seedBelow(this.#schedule.seed, -4 - this.#schedules),
        wall: life.clock.now(),
        isClosed: true
      })
      this.#where = where
    }
    const least: AckLevel = isClean ? 'accepted' : hasFailedSync ? 'synced' : 'written'
    await this.#next(left, life.histories, { least, isLenient: hasLied, isClean })
  }

  /** The life is over: every outcome is tried, and one is gone on with. */
  async #crash(number: number): Promise<void> {
    const life = this.#life
    this.#wasReached ||= life.disk.wasReached
    if (!life.disk.isDead) life.sample()
    life.disk.die()
    life.endFollowers()
    // What was looked at in the last step has been by then.
    await turn()
    if (life.notDurable !== undefined) throw life.notDurable
    if (!life.hadFault && !life.disk.hasLied)
      for (const history of life.histories.values())
        if (!history.topic.isCompacted)
          await checkNoGap(life.disk.die().clone(), `${DATA}/${history.name}`, history.highestStart())
    this.#changes += life.disk.changes
    const seed = seedBelow(this.#schedule.seed, number)
    const random = new Random(seed)
    const outcomes = [...(this.#options.outcomes ?? [KILL, DROP_ALL, KEEP_ALL, ZEROS])]
    const more = this.#options.outcomes === undefined ? RANDOM_OUTCOMES : 0
    for (let n = 0; n < more; n += 1) outcomes.push(anyhow(seedBelow(seed, n)))
    this.#isOver = this.#options.endsAtCrash === true
    const chosen = random.below(outcomes.length)
    const where = this.#where
    const { histories, disk } = life
    if (!disk.hasLied && !disk.hasFailedSync && new Random(seedBelow(seed, -2)).chance(DAMAGED_PERCENT)) {
      this.#where = `${where}, then a kill and damage`
      const wall = life.clock.now()
      await checkDamaged(disk.die(), [...histories.keys()], {
        schedule: this.#schedule,
        seed: seedBelow(seed, -3),
        wall,
        isClosed: false
      })
    }
    const guest = this.#guest
    for (const [n, outcome] of outcomes.entries()) {
      if (n === chosen) continue
      await this.#try(outcome, disk, { histories, guest, random, where })
    }
    await this.#try(outcomes[chosen] as CrashOutcome, disk, { histories, guest, random, where })
  }

  async #try(
    outcome: CrashOutcome,
    disk: SimulatedDisk,
    from: { histories: Map<string, History>; guest: GuestTopic; random: Random; where: string }
  ): Promise<void> {
    const { random } = from
    this.#where = `${from.where}, then ${outcome.name}`
    this.#trace.add(this.#where)
    const copies = new Map([...from.histories].map(([name, history]) => [name, history.clone()]))
    this.#guest = from.guest.clone()
    const left = disk.die()
    let fs = left.clone()
    outcome.apply(fs)
    let { isPowerCut } = outcome
    if (random.chance(25)) {
      const again = random.pick([KILL, DROP_ALL, KEEP_ALL, anyhow(random.below(2 ** 30))])
      fs = await this.#crashInRecovery(fs, random.below(60), again)
      isPowerCut ||= again.isPowerCut
    }
    const mayBeLost = isPowerCut || disk.hasFailedSync
    const least = mayBeLost ? 'synced' : 'written'
    await this.#next(fs, copies, { least, isLenient: disk.hasLied, isClean: false })
    if (random.chance(30)) {
      await this.#useLogs()
      await this.#reopen()
    }
  }

  /** R7: whatever a recovery has done when it is cut short, the next one comes to the same. */
  async #crashInRecovery(fs: MemoryFileSystem, at: number, outcome: CrashOutcome): Promise<MemoryFileSystem> {
    this.#crashesInRecovery += 1
    const disk = new SimulatedDisk(fs, this.#trace)
    disk.dieAfter(at)
    this.#where += `, a crash at change ${at} of its recovery, then ${outcome.name}`
    this.#trace.add(this.#where)
    const life = new Life(this.#schedule, disk, {
      histories: new Map(),
      trace: this.#trace,
      wall: this.#life.clock.now()
    })
    life.hadFault = true
    await life.open().catch(error => {
      if (!(error instanceof Stopped)) life.refused('open', error)
    })
    const left = disk.die().clone()
    outcome.apply(left)
    return left
  }

  /** Opens what is left and checks it: from here on it is the life. */
  async #next(
    fs: MemoryFileSystem,
    histories: Map<string, History>,
    expected: { least: AckLevel; isLenient: boolean; isClean: boolean }
  ): Promise<void> {
    this.#schedules += 1
    const { isClean, isLenient } = expected
    const sizes = await logSizes(fs)
    const watermarks = new Map<string, number | undefined>()
    for (const name of histories.keys()) watermarks.set(name, await durableUpTo(fs, `${DATA}/${name}`))
    for (const history of histories.values()) await noteMissing(history, fs, `${DATA}/${history.name}`)
    this.#live(this.#disk(fs), histories, this.#life.clock.now())
    const life = this.#life
    life.hadFault = isLenient
    life.disk.hasLied = isLenient
    await life.open()
    const { failed, recoveries } = life.store.status()
    if (failed.length > 0 && !isLenient) throw failed[0]?.error
    for (const history of histories.values()) {
      const log = await life.log(history)
      if (log === undefined) continue
      await this.#checkLog(log, history, { ...expected, watermark: watermarks.get(history.name) })
    }
    if (!isLenient) {
      for (const { topic, partition, report } of recoveries)
        await checkReport(fs, { name: `${topic}-${partition}`, report, sizes, isClean })
      const { configs } = life.store.topics().find(({ topic }) => topic === this.#schedule.topics[0]?.name) ?? {}
      if (!this.#segmentMs.has(configs?.['segment.ms']))
        throw new Violation(`segment.ms is ${configs?.['segment.ms']}, not one of ${[...this.#segmentMs].join()}`)
      await this.#guest.check(life)
    }
  }

  async #checkLog(log: PartitionLog, history: History, expected: Omit<Expectation, 'isReopened'>): Promise<void> {
    const seen = await this.#life.attempt(`read ${history.name}`, () => observe(log))
    if (seen === undefined) return
    this.#trace.add(`${history.name} ${seen.start} ${seen.stable} ${seen.end} ${seen.committed.join()}`)
    new Checker(history, seen, { ...expected, isReopened: true }).check()
    if (!history.topic.isCompacted) this.#life.claimed(history, claimOf(log, history), true)
    if (expected.isLenient) return
    await checkDerived(log, history, seen)
    await checkLookups(log, seen, new Random(seen.end))
  }

  /** A log that was recovered takes appends, at its end. */
  async #useLogs(): Promise<void> {
    for (const history of this.#life.histories.values()) {
      if (history.topic.name === GUEST) continue
      await this.#actions.probeProducers(history)
      const operation = { kind: 'append', log: 0, keys: [2, 6], own: true, level: undefined, wait: true } as const
      const before = history.attempts.size
      await this.#actions.append(operation, history)
      const attempt = [...history.attempts.values()][before]
      if (this.#life.mayFail) continue
      if (attempt?.state !== 'acknowledged') throw new Violation(`${history.name} takes nothing after its recovery`)
    }
  }
}
