/** Carries a random history out, on a file system in memory. */
import { join } from 'node:path'
import fc from 'fast-check'
import { judgeCleanable } from '../../lib/compaction/cleanable.ts'
import { cleanLog } from '../../lib/compaction/cleaner.ts'
import type { CleaningInput } from '../../lib/compaction/cleaning-types.ts'
import type { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import type { LatestView } from '../../lib/log/latest-view.ts'
import { type LogConfig, logConfig } from '../../lib/log/log-config.ts'
import type { LogView } from '../../lib/log/maintenance.ts'
import { sharedParts } from '../../lib/log/open-log.ts'
import type { PartitionLog } from '../../lib/log/partition-log.ts'
import { decideRetention } from '../../lib/log/retention.ts'
import type { AppendOptions } from '../../lib/log/types.ts'
import { encodeBatch } from '../../lib/record/encode-batch.ts'
import type { LazyRecord } from '../../lib/record/lazy-record.ts'
import { openLog } from '../helpers/logs.ts'
import { ManualClock } from '../helpers/manual-clock.ts'
import { DIR, memoryFolder } from '../helpers/partition-folder.ts'
import { equal, KeyedModel, valuesOf } from './keyed-model.ts'

/** `bare`: killed, and without producer snapshots, so that the batches alone must tell who the producers are. */
type Reopening = 'clean' | 'kill' | 'power' | 'bare'

/** The numbers say key and value: see `Run.#push`. */
type Keys = readonly number[]

export type Operation =
  | { readonly kind: 'append' | 'produce' | 'transact' | 'lead'; readonly id: number; readonly keys: Keys }
  | { readonly kind: 'end'; readonly id: number; readonly type: 'commit' | 'abort' }
  | { readonly kind: 'repeat'; readonly id: number }
  | {
      readonly kind: 'clean'
      readonly roll: boolean
      readonly lag: boolean
      readonly stopAfter: number | undefined
      readonly beside: Keys
    }
  | { readonly kind: 'retain'; readonly records: number; readonly stopAfter: number | undefined }
  | { readonly kind: 'reopen'; readonly how: Reopening }
  | { readonly kind: 'advance'; readonly ms: number }
  | { readonly kind: 'roll' | 'check' | 'remove-deleted' }

// 0 is a record without a key; of the others, each third is a tombstone.
const keys = fc.array(fc.integer({ min: 0, max: 26 }), { minLength: 1, maxLength: 5 })
const id = fc.integer({ min: 1, max: 3 })
/** Calls that change the disk, after which the power goes; none for most. */
const stopAfter = fc.oneof(
  { weight: 3, arbitrary: fc.constant(undefined) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 60 }) }
)
const constant = <T extends string>(kind: T): fc.Arbitrary<T> => fc.constant(kind)

export const operation: fc.Arbitrary<Operation> = fc.oneof(
  {
    weight: 9,
    arbitrary: fc.record({
      kind: fc.constantFrom('append', 'append', 'produce', 'transact', 'transact', 'lead'),
      id,
      keys
    })
  },
  { weight: 3, arbitrary: fc.record({ kind: constant('end'), id, type: fc.constantFrom('commit', 'abort') }) },
  { weight: 2, arbitrary: fc.record({ kind: constant('repeat'), id }) },
  {
    weight: 4,
    arbitrary: fc.record({ kind: constant('clean'), roll: fc.boolean(), lag: fc.boolean(), stopAfter, beside: keys })
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: constant('retain'), records: fc.integer({ min: 0, max: 40 }), stopAfter })
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: constant('reopen'), how: fc.constantFrom('clean', 'kill', 'power', 'bare') })
  },
  { weight: 2, arbitrary: fc.record({ kind: constant('advance'), ms: fc.integer({ min: 1, max: 2000 }) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constantFrom('roll', 'roll', 'check', 'remove-deleted') }) }
)

export interface Settings {
  readonly segmentBytes: number
  readonly timestampType: 'CreateTime' | 'LogAppendTime'
  /** Tombstones go at once, after a while, or never. */
  readonly deleteRetentionMs: number
  /** For so many keys at most. */
  readonly mapBytes: number
}

export const settings: fc.Arbitrary<Settings> = fc.record({
  segmentBytes: fc.integer({ min: 300, max: 1500 }),
  timestampType: fc.constantFrom('CreateTime' as const, 'LogAppendTime' as const),
  deleteRetentionMs: fc.constantFrom(0, 1000, 2 ** 40),
  mapBytes: fc.constantFrom(24 * 4, 24 * 12, 24 * 1024)
})

class PowerGone extends Error {}

interface Producer {
  epoch: number
  nextSequence: number
  last?: { readonly options: AppendOptions; readonly records: Pair[]; readonly baseOffset: number }
}

interface Pair {
  readonly key: string | null
  readonly value: string | null
}

export class Run {
  readonly counts = { cleanings: 0, partial: 0, dropped: 0, crashes: 0, retained: 0 }
  readonly #settings: Settings
  readonly #config: LogConfig
  readonly #clock = new ManualClock()
  readonly #model = new KeyedModel()
  readonly #producers = new Map<number, Producer>()
  #fs = undefined as unknown as MemoryFileSystem
  #log = undefined as unknown as PartitionLog
  #view: LatestView<string, string> | undefined
  #recoveryPoint = 0
  #logStart = 0
  /** The cleaner's. */
  #checkpoint: number | undefined
  #number = 0
  /** Producer snapshots were removed: a recovery may begin where there is none. */
  #wasBare = false

  constructor(given: Settings) {
    this.#settings = given
    const { segmentBytes, timestampType, deleteRetentionMs } = given
    this.#config = logConfig({
      segmentBytes,
      indexIntervalBytes: 100,
      messageTimestampType: timestampType,
      messageTimestampAfterMaxMs: undefined,
      deleteRetentionMs,
      producerIdExpirationMs: 2 ** 45,
      // One that is compacted later: such a log has records without a key too.
      cleanupPolicy: ['delete']
    })
  }

  async run(operations: readonly Operation[]): Promise<void> {
    this.#fs = await memoryFolder({})
    await this.#open(false)
    for (const operation of operations) await this.#do(operation)
    await this.#check()
    await this.#reopen('power')
    await this.#check()
    await this.#close(true)
    await this.#noOrphans()
  }

  async #do(operation: Operation): Promise<unknown> {
    switch (operation.kind) {
      case 'append':
        return this.#append(operation.keys, {})
      case 'produce':
        return this.#produce(operation.id, operation.keys, false)
      case 'transact':
        return this.#produce(10 + operation.id, operation.keys, true)
      case 'lead':
        return this.#lead(operation.keys)
      case 'end':
        return this.#end(10 + operation.id, operation.type)
      case 'repeat':
        return this.#repeat(operation.id)
      case 'clean':
        return this.#stopping(operation.stopAfter, () => this.#clean(operation))
      case 'retain':
        return this.#stopping(operation.stopAfter, () => this.#retain(operation.records))
      case 'reopen':
        return this.#reopen(operation.how)
      case 'advance':
        return this.#clock.advanceAsync(operation.ms)
      case 'roll':
        return this.#log.roll()
      case 'remove-deleted':
        return this.#log.maintenance.removeDeleted()
      default:
        return this.#check()
    }
  }

  #pairs(numbers: Keys): Pair[] {
    return numbers.map(number => {
      this.#number += 1
      const value = number % 3 === 1 ? null : `${this.#number}:${'.'.repeat(number)}`
      return { key: number === 0 ? null : `key-${Math.floor(number / 3)}`, value }
    })
  }

  async #append(numbers: Keys, options: AppendOptions): Promise<{ records: Pair[]; baseOffset: number }> {
    const records = this.#pairs(numbers)
    const baseOffset = this.#model.end
    const isOpen = options.transactional === true
    this.#model.records.push(
      ...records.map(pair => ({ ...pair, ...(isOpen && { producer: options.producerId as number }) }))
    )
    const ack = await this.#log.append(records, { ownBatch: true, ...options })
    equal(ack.baseOffset, baseOffset, 'base offset')
    return { records, baseOffset }
  }

  async #produce(producerId: number, numbers: Keys, transactional: boolean): Promise<void> {
    const producer = this.#producers.get(producerId) ?? { epoch: 0, nextSequence: 0 }
    this.#producers.set(producerId, producer)
    const options = { producerId, producerEpoch: producer.epoch, baseSequence: producer.nextSequence, transactional }
    producer.nextSequence += numbers.length
    producer.last = { options, ...(await this.#append(numbers, options)) }
  }

  async #end(producerId: number, type: 'commit' | 'abort'): Promise<void> {
    const open = this.#model.records.filter(({ producer, outcome }) => producer === producerId && outcome === undefined)
    if (open.length === 0) return
    for (const record of open) record.outcome = type
    this.#model.records.push({ key: null, value: null, producer: producerId, outcome: type, isMarker: true })
    const { epoch } = this.#producers.get(producerId) as Producer
    await this.#log.appendEndTransaction({ type, producerId, producerEpoch: epoch })
  }

  /** The last batch of a producer once more, which the log must know after any cleaning and crash. */
  async #repeat(producerId: number): Promise<void> {
    const last = this.#producers.get(producerId)?.last
    // What retention took is forgotten.
    if (last === undefined || last.baseOffset < this.#model.start) return
    const ack = await this.#log.append(last.records, last.options)
    equal(ack.duplicate, true, 'the repeated batch is known')
    equal(ack.baseOffset, last.baseOffset, 'base offset of the repeated batch')
  }

  /** Another leader's batch; appends that follow bear its epoch. */
  async #lead(numbers: Keys): Promise<void> {
    const records = this.#pairs(numbers)
    const baseOffset = this.#model.end
    this.#model.records.push(...records)
    const options = { baseOffset, leaderEpoch: this.#log.leaderEpoch + 1, now: this.#clock.now() }
    await this.#log.appendAsFollower(encodeBatch(records, options))
  }

  /** With `stopAfter` the power goes in the middle of `work`. */
  async #stopping(stopAfter: number | undefined, work: () => Promise<void>): Promise<void> {
    if (stopAfter === undefined) return work()
    let left = stopAfter
    this.#recoveryPoint = this.#log.recoveryPoint
    this.#fs.onCall = ({ operation }) => {
      if (READING.has(operation)) return
      left -= 1
      if (left < 0) throw new PowerGone('the power is gone')
    }
    await work().catch(error => {
      if (left >= 0) throw error
    })
    await this.#log.close({ clean: false }).catch(() => undefined)
    this.#fs.onCall = undefined
    let state = stopAfter
    // Some of the names that no sync covered are there all the same.
    this.#fs.powerCut({ name: () => (state = (Math.imul(state, 1103515245) + 12345) >>> 0) % 65536 < 32768 })
    this.counts.crashes += 1
    await this.#view?.close()
    await this.#open(false)
    await this.#check()
  }

  async #clean({ roll, lag, stopAfter, beside }: Operation & { kind: 'clean' }): Promise<void> {
    const { maintenance } = this.#log
    if (roll) await this.#log.roll()
    const view = await maintenance.view()
    const now = this.#clock.now()
    const policy = {
      cleanupPolicy: ['compact'],
      minCompactionLagMs: lag ? 500 : 0,
      maxCompactionLagMs: undefined,
      minCleanableDirtyRatio: 0
    }
    const judgement = judgeCleanable({ ...view, checkpoint: this.#checkpoint }, policy, now)
    if (!judgement.due) return
    const { firstDirtyOffset, firstUncleanableOffset } = judgement
    const before = this.#model.dirty
    this.#model.dirty = Math.max(before, firstUncleanableOffset)
    this.#model.untouched = this.#model.dirty
    const reading = stopAfter === undefined ? this.#readBeside(beside) : undefined
    const result = await cleanLog(await this.#input(view, firstDirtyOffset, firstUncleanableOffset), {
      fs: this.#fs,
      clock: this.#clock,
      onGroup: group => maintenance.replace(view, group)
    })
    this.#checkpoint = result.endOffset
    this.#model.dirty = Math.max(before, result.endOffset)
    this.#model.clean = result.endOffset
    this.counts.cleanings += 1
    if (result.isPartial) this.counts.partial += 1
    this.counts.dropped += result.stats.recordsRead - result.stats.recordsKept
    await reading?.()
    await this.#check()
  }

  async #input(view: LogView, firstDirtyOffset: number, firstUncleanableOffset: number): Promise<CleaningInput> {
    const { maintenance } = this.#log
    const { segmentBytes, deleteRetentionMs, mapBytes } = this.#settings
    const { indexBytes, indexIntervalBytes } = this.#config
    const sealed = view.segments.filter(({ active }) => !active)
    return {
      dir: DIR,
      name: 't-0',
      segments: sealed,
      firstDirtyOffset,
      firstUncleanableOffset,
      now: this.#clock.now(),
      settings: { segmentBytes, indexBytes, indexIntervalBytes, deleteRetentionMs },
      producers: view.producers,
      abortedLater: await maintenance.abortedInActive(),
      mapBytes,
      hashSeeds: Uint32Array.of(1, 2, 3, 4),
      ...maintenance.attributes
    }
  }

  /**
   * Reads, batch by batch, and appends, while the log is being cleaned. @returns a check that no record was passed over
   * which is still there, and none came twice.
   */
  #readBeside(numbers: Keys): () => Promise<void> {
    const { start, end } = this.#model
    const read = (async () => {
      const offsets: number[] = []
      for await (const { offset } of this.#log.records({ to: end, maxBytes: 1 })) offsets.push(offset)
      return offsets
    })()
    const appended = this.#append(numbers, {})
    return async () => {
      await appended
      const offsets = await read
      const seen = new Set(offsets)
      equal(
        offsets.every((offset, i) => offset >= start && (i === 0 || offset > (offsets[i - 1] as number))),
        true,
        `in order: ${offsets}`
      )
      for await (const { offset } of this.#log.records({ to: end })) equal(seen.has(offset), true, `${offset} was read`)
    }
  }

  async #retain(records: number): Promise<void> {
    let view = await this.#log.maintenance.view()
    const limits = { ...this.#config, retentionMs: undefined, retentionBytes: undefined, retentionRecords: records }
    const plan = decideRetention(view, limits, this.#clock.now())
    if (plan.deletedSegments === 0) return
    if (plan.rollFirst) {
      await this.#log.roll()
      view = await this.#log.maintenance.view()
    }
    await this.#log.maintenance.raiseLogStart(plan.logStartOffset, view)
    equal(this.#log.logStartOffset, plan.logStartOffset, 'log start offset')
    this.#model.start = plan.logStartOffset
    this.counts.retained += 1
  }

  async #check(): Promise<void> {
    const model = this.#model
    const log = this.#log
    equal(log.logEndOffset, model.end, 'log end offset')
    equal(log.logStartOffset, model.start, 'log start offset')
    equal(log.highWatermark, model.end, 'high watermark')
    equal(log.lastStableOffset, model.stable, 'last stable offset')
    let some: LazyRecord | undefined
    for (const isolation of ['read_committed', 'read_uncommitted'] as const) {
      const read = await all(log.records({ isolation }))
      model.check(read, isolation)
      some = read[this.#number % Math.max(1, read.length)]
    }
    if (some !== undefined) equal(String((await log.get(some.offset))?.value), String(some.value), `get ${some.offset}`)
    const wanted = valuesOf(model.latest())
    equal(
      valuesOf((await all(log.latest())).map(({ key, value }) => [String(key), String(value)])),
      wanted,
      'log.latest()'
    )
    await this.#view?.caughtUp()
    equal(valuesOf(this.#view ?? []), wanted, 'the view')
    this.#checkTombstones(await all(log.records({ isolation: 'read_committed' })))
  }

  /** Nothing takes them before their time. */
  #checkTombstones(read: readonly LazyRecord[]): void {
    if (this.#settings.deleteRetentionMs < 2 ** 40) return
    const tombstones = new Set(read.filter(({ value }) => value === null).map(({ key }) => String(key)))
    for (const [key, value] of this.#model.latest())
      if (value === null) equal(tombstones.has(key), true, `tombstone of ${key}`)
  }

  async #reopen(how: Reopening): Promise<void> {
    await this.#close(how === 'clean')
    if (how === 'power') this.#fs.powerCut()
    if (how === 'bare') await this.#removeSnapshots()
    await this.#open(how === 'clean')
  }

  async #removeSnapshots(): Promise<void> {
    this.#recoveryPoint = 0
    this.#wasBare = true
    for (const { name } of await this.#fs.readDirectory(DIR))
      if (name.endsWith('.snapshot')) await this.#fs.unlink(join(DIR, name))
  }

  /** Of whom neither a batch nor a snapshot need tell the sequence any more: as in Kafka, they come again anew. */
  #renewProducers(): void {
    for (const producer of this.#producers.values()) {
      if (producer.last === undefined || producer.last.baseOffset >= this.#model.start) continue
      producer.epoch += 1
      producer.nextSequence = 0
      delete producer.last
    }
  }

  async #close(clean: boolean): Promise<void> {
    this.#recoveryPoint = clean ? this.#model.end : this.#log.recoveryPoint
    equal((await this.#log.close({ clean })).clean, clean, 'clean')
    await this.#view?.close()
  }

  async #open(clean: boolean): Promise<void> {
    if (this.#wasBare && !clean) this.#renewProducers()
    this.#log = await openLog('/data', {
      shared: sharedParts({ fs: this.#fs, clock: this.#clock }),
      clean,
      recoveryPoint: this.#recoveryPoint,
      logStartOffset: this.#logStart,
      persistLogStart: async offset => {
        // Durable before any file goes: from here on it is so, whatever comes.
        this.#logStart = offset
        this.#model.start = Math.max(this.#model.start, offset)
      },
      config: this.#config
    })
    this.#view = await this.#log.latest().follow({ values: String })
  }

  /** Nothing that is half done stays behind. */
  async #noOrphans(): Promise<void> {
    const names = (await this.#fs.readDirectory(DIR)).map(({ name }) => name)
    const bases = new Set(names.filter(name => name.endsWith('.log')).map(name => name.slice(0, 20)))
    for (const name of names) {
      const isOrphan =
        /\.(cleaned|swap|deleted)$/.test(name) ||
        (/\.(index|timeindex|txnindex)$/.test(name) && !bases.has(name.slice(0, 20)))
      equal(isOrphan, false, name)
    }
  }
}

const READING = new Set(['stat', 'handleStat', 'read', 'readDirectory', 'readPastCache', 'realPath', 'volume'])

async function all(records: AsyncIterable<LazyRecord>): Promise<LazyRecord[]> {
  const found: LazyRecord[] = []
  for await (const record of records) found.push(record)
  return found
}
