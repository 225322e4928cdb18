/**
 * A reference workload for a log on a file system in memory, which notes what was promised for which record, and a
 * check of what a later opening finds against these promises.
 */
import type { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import type { Durability, LogConfig } from '../../lib/log/log-config.ts'
import { logConfig } from '../../lib/log/log-config.ts'
import { sharedParts } from '../../lib/log/open-log.ts'
import { PartitionLog } from '../../lib/log/partition-log.ts'
import { ACK_LEVELS, type AckLevel, type AppendOptions } from '../../lib/log/types.ts'
import { BatchView } from '../../lib/record/batch-view.ts'
import { encodeBatch } from '../../lib/record/encode-batch.ts'
import { ManualClock } from './manual-clock.ts'
import { DIR } from './partition-folder.ts'

/** What the data directory's checkpoints would say. */
export interface Checkpoints {
  recoveryPoint: number
  logStartOffset: number
}

interface Promised {
  readonly value: string
  readonly level: AckLevel
}

interface ProducerAppend {
  readonly options: AppendOptions
  readonly values: readonly string[]
  readonly baseOffset: number
  readonly level: AckLevel
}

/** All that the outside world has been told of a log. */
export class History {
  /** By offset; markers have no entry. */
  readonly promised = new Map<number, Promised>()
  /** Values of appends that failed or were cut: they may be there or not. */
  readonly uncertain = new Set<string>()
  readonly committed = new Set<string>()
  readonly aborted = new Set<string>()
  /** The newest promised batch of an idempotent producer. */
  producer: ProducerAppend | undefined
  readonly errors: unknown[] = []
  clean = false
  readonly checkpoints: Checkpoints = { recoveryPoint: 0, logStartOffset: 0 }

  append(values: readonly string[], baseOffset: number, level: AckLevel): void {
    for (const [i, value] of values.entries()) {
      const before = this.promised.get(baseOffset + i)
      if (before !== undefined) throw new Error(`offset ${baseOffset + i} was given to ${before.value} and ${value}`)
      this.promised.set(baseOffset + i, { value, level })
    }
  }

  /** From the moment that a cut is asked for, nothing above it is promised. */
  cut(offset: number): void {
    for (const [at, { value }] of this.promised) {
      if (at < offset) continue
      this.promised.delete(at)
      this.uncertain.add(value)
    }
    if (this.producer !== undefined && this.producer.baseOffset + this.producer.values.length > offset)
      this.producer = undefined
  }
}

export interface RunOptions {
  readonly fs: MemoryFileSystem
  readonly durability: Durability
  readonly clean?: boolean
}

export function faultConfig(durability: Durability): LogConfig {
  const thresholds = durability === 'interval' || durability === 'buffered'
  return logConfig({
    segmentBytes: 1024,
    indexIntervalBytes: 128,
    durability,
    producerIdExpirationMs: 2 ** 40,
    messageTimestampAfterMaxMs: undefined,
    ...(thresholds ? { flushMessages: 7, flushMs: 1000, flushBytes: 4096 } : {})
  })
}

export function openFaulty(
  fs: MemoryFileSystem,
  durability: Durability,
  checkpoints: Checkpoints,
  clean: boolean
): Promise<PartitionLog> {
  return PartitionLog.open({
    dir: DIR,
    topic: 't',
    partition: 0,
    config: faultConfig(durability),
    clean,
    recoveryPoint: checkpoints.recoveryPoint,
    logStartOffset: checkpoints.logStartOffset,
    persistLogStart: async offset => {
      checkpoints.logStartOffset = offset
    },
    shared: sharedParts({ fs, clock: new ManualClock() })
  })
}

/** A promise that does not settle is a fault of its own. */
async function settled<T>(what: string, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} never settles`)), 5000)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

class Workload {
  readonly #log: PartitionLog
  readonly #history: History
  #number = 0
  /** Where a batch begins: a cut in the middle of one leaves a gap. */
  #boundary = 0
  readonly #sequences = new Map<number, number>()

  constructor(log: PartitionLog, history: History) {
    this.#log = log
    this.#history = history
  }

  async run(): Promise<void> {
    const history = this.#history
    const log = this.#log
    await Promise.all([this.#plain(1), this.#plain(2), this.#plain(1, { ownBatch: true })])
    await this.#produce(7, 2)
    await this.#transaction(9, 'abort')
    const racing = [this.#plain(3), this.#produce(7, 1), this.#plain(4)]
    await Promise.resolve()
    racing.push(this.#plain(2, { ownBatch: true }), this.#produce(7, 3))
    await Promise.all(racing)
    await this.#plain(9, { durability: 'batch' })
    await this.#transaction(9, 'commit')
    await this.#foreign(3)
    await this.#try('truncateTo', async () => {
      const boundary = this.#boundary
      history.cut(boundary)
      this.#sequences.clear()
      await log.truncateTo(boundary)
    })
    await this.#plain(5)
    await Promise.all([this.#plain(6, { ownBatch: true }), this.#produce(11, 2), this.#plain(6, { ownBatch: true })])
    await this.#try('deleteRecordsBefore', async () => {
      await log.sync()
      await log.deleteRecordsBefore(Math.min(8, log.highWatermark))
    })
    await Promise.all([this.#plain(7), this.#produce(11, 2), this.#plain(7, { ownBatch: true })])
    await this.#try('roll', () => log.roll())
    await this.#plain(1)
    await this.#produce(11, 1)
    await this.#try('close', async () => {
      history.clean = (await log.close()).clean
    })
  }

  async #try(what: string, f: () => Promise<void>): Promise<void> {
    try {
      await settled(what, f())
    } catch (error) {
      this.#history.errors.push(error)
    }
    this.#history.checkpoints.recoveryPoint = this.#log.recoveryPoint
  }

  #values(count: number): string[] {
    return Array.from({ length: count }, () => `v${this.#number++}-`.padEnd(40, '.'))
  }

  async #append(values: string[], options: AppendOptions): Promise<void> {
    const history = this.#history
    await this.#try('append', async () => {
      for (const value of values) history.uncertain.add(value)
      const ack = await this.#log.append(
        values.map(value => ({ key: 'k', value })),
        options
      )
      for (const value of values) history.uncertain.delete(value)
      history.append(values, ack.baseOffset, ack.level)
      if (options.ownBatch === true) this.#boundary = ack.baseOffset
      if (options.producerId !== undefined && options.transactional !== true) {
        history.producer = { options, values, baseOffset: ack.baseOffset, level: ack.level }
      }
    })
  }

  #plain(count: number, options: AppendOptions = {}): Promise<void> {
    return this.#append(this.#values(count), options)
  }

  #produce(producerId: number, count: number): Promise<void> {
    const baseSequence = this.#sequences.get(producerId) ?? 0
    this.#sequences.set(producerId, baseSequence + count)
    return this.#append(this.#values(count), { producerId, producerEpoch: 0, baseSequence })
  }

  async #transaction(producerId: number, type: 'commit' | 'abort'): Promise<void> {
    const values = this.#values(2)
    const baseSequence = this.#sequences.get(producerId) ?? 0
    this.#sequences.set(producerId, baseSequence + 2)
    await this.#append(values, { producerId, producerEpoch: 0, baseSequence, transactional: true })
    await this.#plain(1)
    await this.#try('endTransaction', async () => {
      await this.#log.appendEndTransaction({ type, producerId, producerEpoch: 0 }, { durability: 'batch' })
      for (const value of values) (type === 'abort' ? this.#history.aborted : this.#history.committed).add(value)
    })
  }

  /** As a follower, of a new leader epoch. */
  async #foreign(count: number): Promise<void> {
    const values = this.#values(count)
    await this.#try('appendAsFollower', async () => {
      for (const value of values) this.#history.uncertain.add(value)
      const records = values.map(value => ({ key: 'k', value }))
      const baseOffset = this.#log.logEndOffset
      const ack = await this.#log.appendAsFollower(encodeBatch(records, { baseOffset, leaderEpoch: 5, now: 1 }))
      for (const value of values) this.#history.uncertain.delete(value)
      this.#history.append(values, ack.baseOffset, ack.level)
      this.#boundary = ack.baseOffset
    })
  }
}

/** Runs the workload to its end, whatever fails on the way. */
export async function runWorkload({ fs, durability }: RunOptions): Promise<History> {
  const history = new History()
  let log: PartitionLog
  try {
    log = await settled('open', openFaulty(fs, durability, history.checkpoints, false))
  } catch (error) {
    history.errors.push(error)
    return history
  }
  await new Workload(log, history).run()
  if (!log.condition.startsWith('closed')) {
    await settled('close unclean', log.close({ clean: false })).catch(error => history.errors.push(error))
  }
  return history
}

/**
 * Opens what is left, reads all of it and compares it with what was promised.
 *
 * @param least - what must have survived: everything of this level and above.
 * @returns what is wrong; nothing if all is well.
 */
export async function broken(
  fs: MemoryFileSystem,
  durability: Durability,
  history: History,
  least: AckLevel,
  clean: boolean
): Promise<string | undefined> {
  const log = await settled('reopen', openFaulty(fs, durability, history.checkpoints, clean))
  try {
    return (await wrongContent(log, history, least)) ?? (await wrongProducer(log, history, least))
  } finally {
    await log.close()
  }
}

async function wrongContent(log: PartitionLog, history: History, least: AckLevel): Promise<string | undefined> {
  const found = new Map<number, string>()
  const values = new Set<string>()
  let next = log.logStartOffset
  for await (const { batches } of log.batches()) {
    for (let at = 0; at < batches.length; ) {
      const batch = new BatchView(batches, at)
      if (batch.baseOffset > next) return `a gap from ${next} to ${batch.baseOffset}`
      next = batch.nextOffset
      at = batch.end
      if (batch.isControl) continue
      const cursor = batch.records()
      while (cursor.next()) {
        if (cursor.offset < log.logStartOffset) continue
        const value = String(cursor.value())
        if (values.has(value)) return `${value} is there twice, the second time at ${cursor.offset}`
        values.add(value)
        found.set(cursor.offset, value)
      }
    }
  }
  if (next !== log.logEndOffset) return `the last batch ends at ${next}, the log at ${log.logEndOffset}`
  for (const [offset, { value, level }] of history.promised) {
    const there = found.get(offset)
    if (there === undefined) {
      if (offset < log.logStartOffset || !covers(level, least)) continue
      return `${value} at ${offset} was acknowledged as ${level} and is gone; the log ends at ${log.logEndOffset}`
    }
    if (there !== value && covers(level, least)) return `offset ${offset} was given to ${value} and holds ${there}`
  }
  for (const [offset, value] of found) {
    const promised = history.promised.get(offset)
    if (promised?.value !== value && !history.uncertain.has(value)) return `${value} at ${offset} is none of ours`
  }
  for await (const record of log.records({ isolation: 'read_committed' })) {
    const value = String(record.value)
    if (history.aborted.has(value)) return `${value} of an aborted transaction is shown as committed`
  }
  return undefined
}

async function wrongProducer(log: PartitionLog, history: History, least: AckLevel): Promise<string | undefined> {
  const { producer } = history
  if (producer === undefined || !covers(producer.level, least)) return undefined
  const { options, values, baseOffset } = producer
  const ack = await log.append(
    values.map(value => ({ key: 'k', value })),
    options
  )
  if (ack.duplicate && ack.baseOffset === baseOffset) return undefined
  return `a repeated batch at ${baseOffset} got ${ack.baseOffset}, ${ack.duplicate ? 'as a duplicate' : 'as a new one'}`
}

function covers(level: AckLevel, least: AckLevel): boolean {
  return ACK_LEVELS.indexOf(level) >= ACK_LEVELS.indexOf(least)
}
