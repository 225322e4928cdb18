/** Random operations on a log, held against a plain list of records. A failure prints the seed. */
import fc from 'fast-check'
import t from 'tap'
import type { Durability } from '../../lib/log/log-config.ts'
import { sharedParts } from '../../lib/log/open-log.ts'
import type { PartitionLog } from '../../lib/log/partition-log.ts'
import { BatchView } from '../../lib/record/batch-view.ts'
import { openLog } from '../helpers/logs.ts'
import { ManualClock } from '../helpers/manual-clock.ts'
import { memoryFolder } from '../helpers/partition-folder.ts'
import { IS_LONG_RUN, SEED } from '../helpers/seed.ts'

interface ModelRecord {
  readonly value: string
  readonly producer?: number
  /** Undecided while absent. */
  outcome?: 'commit' | 'abort'
}

type Operation =
  | { readonly kind: 'append'; readonly sizes: readonly number[]; readonly own: boolean; readonly wait: boolean }
  | { readonly kind: 'produce'; readonly id: number; readonly count: number; readonly again: boolean }
  | { readonly kind: 'transact'; readonly id: number; readonly count: number }
  | { readonly kind: 'end'; readonly id: number; readonly type: 'commit' | 'abort' }
  | { readonly kind: 'read'; readonly at: number; readonly maxBytes: number }
  | { readonly kind: 'truncate' | 'delete'; readonly at: number }
  | { readonly kind: 'reopen'; readonly how: 'clean' | 'kill' | 'power' }
  | { readonly kind: 'roll' | 'sync' | 'check' }

const small = fc.integer({ min: 1, max: 4 })
const id = fc.integer({ min: 1, max: 3 })
const at = fc.double({ min: 0, max: 1, noNaN: true })
const operation: fc.Arbitrary<Operation> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('append' as const),
      sizes: fc.array(fc.integer({ min: 0, max: 150 }), { minLength: 1, maxLength: 5 }),
      own: fc.boolean(),
      wait: fc.boolean()
    })
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('produce' as const), id, count: small, again: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('transact' as const), id, count: small }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('end' as const),
      id,
      type: fc.constantFrom('commit' as const, 'abort' as const)
    })
  },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant('read' as const), at, maxBytes: fc.integer({ min: 1, max: 2000 }) })
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('truncate' as const, 'delete' as const), at }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('reopen' as const),
      how: fc.constantFrom('clean' as const, 'kill' as const, 'power' as const)
    })
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom('roll' as const, 'sync' as const, 'check' as const) }) }
)

class Run {
  readonly #durability: Durability
  #fs = undefined as unknown as Awaited<ReturnType<typeof memoryFolder>>
  #log = undefined as unknown as PartitionLog
  readonly #clock = new ManualClock()
  /** By offset; `undefined` is a marker. */
  #records: (ModelRecord | undefined)[] = []
  /** Where each append begins: what a cut may cut at. */
  #bases: number[] = []
  #start = 0
  #number = 0
  #recoveryPoint = 0
  #epoch = 0
  #sequences = new Map<number, number>()
  #open = new Map<number, number>()
  #pending: Promise<unknown>[] = []

  constructor(durability: Durability) {
    this.#durability = durability
  }

  async run(operations: readonly Operation[]): Promise<void> {
    this.#fs = await memoryFolder({})
    await this.#reopen('kill')
    for (const operation of operations) await this.#do(operation)
    await this.#check()
    await this.#log.close()
  }

  async #do(operation: Operation): Promise<void> {
    switch (operation.kind) {
      case 'append':
        return this.#append(operation)
      case 'produce':
        return this.#produce(operation.id, operation.count, operation.again)
      case 'transact':
        return this.#transact(operation.id, operation.count)
      case 'end':
        return this.#end(operation.id, operation.type)
      case 'read':
        return this.#read(operation.at, operation.maxBytes)
      case 'truncate':
        return this.#truncate(operation.at)
      case 'delete':
        return this.#delete(operation.at)
      case 'reopen':
        return this.#reopen(operation.how)
      case 'roll':
        return this.#log.roll()
      case 'sync':
        await this.#log.sync()
        equal(this.#log.durableOffset, this.#records.length, 'durable offset')
        return
      default:
        return this.#check()
    }
  }

  #value(size = 10): string {
    return `${this.#number++}:`.padEnd(size, '.')
  }

  #push(records: readonly ModelRecord[]): number {
    const base = this.#records.length
    this.#bases.push(base)
    this.#records.push(...records)
    return base
  }

  async #append({ sizes, own, wait }: { sizes: readonly number[]; own: boolean; wait: boolean }): Promise<void> {
    const records = sizes.map(size => ({ value: this.#value(size) }))
    const base = this.#push(records)
    // Merged appends share a batch, so only the first of a tick begins one for sure.
    if (!own && this.#pending.length > 0) this.#bases.pop()
    const ack = this.#log.append(records, { ownBatch: own }).then(ack => equal(ack.baseOffset, base, 'base offset'))
    this.#pending.push(ack)
    if (wait) await this.#settle()
  }

  async #settle(): Promise<void> {
    await Promise.all(this.#pending.splice(0))
  }

  async #produce(producerId: number, count: number, again: boolean): Promise<void> {
    if (this.#open.has(producerId)) return
    const baseSequence = this.#sequences.get(producerId) ?? 0
    this.#sequences.set(producerId, baseSequence + count)
    const records = Array.from({ length: count }, () => ({ value: this.#value() }))
    const options = { producerId, producerEpoch: this.#epoch, baseSequence }
    const base = this.#push(records)
    const first = this.#log.append(records, options)
    const second = again ? this.#log.append(records, options) : undefined
    equal((await first).baseOffset, base, 'base offset')
    const repeated = await second
    if (repeated === undefined) return
    equal(repeated.baseOffset, base, 'base offset of the repeated batch')
    equal(repeated.duplicate, true, 'the repeated batch is a duplicate')
  }

  async #transact(id: number, count: number): Promise<void> {
    const producerId = 10 + id
    const baseSequence = this.#sequences.get(producerId) ?? 0
    this.#sequences.set(producerId, baseSequence + count)
    const records = Array.from({ length: count }, () => ({ value: this.#value(), producer: producerId }))
    const base = this.#push(records)
    if (!this.#open.has(producerId)) this.#open.set(producerId, base)
    const given = records.map(({ value }) => ({ value }))
    const ack = await this.#log.append(given, {
      producerId,
      producerEpoch: this.#epoch,
      baseSequence,
      transactional: true
    })
    equal(ack.baseOffset, base, 'base offset')
  }

  async #end(id: number, type: 'commit' | 'abort'): Promise<void> {
    const producerId = 10 + id
    if (!this.#open.delete(producerId)) return
    for (const record of this.#records) {
      if (record?.producer === producerId && record.outcome === undefined) record.outcome = type
    }
    this.#bases.push(this.#records.length)
    this.#records.push(undefined)
    await this.#log.appendEndTransaction({ type, producerId, producerEpoch: this.#epoch })
  }

  async #read(at: number, maxBytes: number): Promise<void> {
    await this.#settle()
    const { highWatermark } = this.#log
    const offset = this.#start + Math.floor(at * (this.#records.length - this.#start))
    const { batches, baseOffset, nextOffset } = await this.#log.read(offset, { maxBytes })
    if (baseOffset === undefined) return equal(offset >= highWatermark, true, `nothing at ${offset}`)
    equal(baseOffset <= offset && nextOffset > offset, true, `${baseOffset} to ${nextOffset} holds ${offset}`)
    for (let at = 0; at < batches.length; ) {
      const batch = new BatchView(batches, at)
      at = batch.end
      if (batch.isControl) continue
      const cursor = batch.records()
      while (cursor.next()) equal(String(cursor.value()), this.#records[cursor.offset]?.value, `at ${cursor.offset}`)
    }
  }

  async #truncate(at: number): Promise<void> {
    await this.#settle()
    const bases = this.#bases.filter(base => base >= this.#start)
    const offset = bases[Math.floor(at * bases.length)]
    // Decided transactions would be open again, and sequences go back: the model leaves that to other tests.
    if (offset === undefined || this.#records.slice(offset).some(record => record === undefined)) return
    await this.#log.truncateTo(offset)
    this.#cutModel(offset)
  }

  #cutModel(offset: number): void {
    this.#records = this.#records.slice(0, offset)
    this.#bases = this.#bases.filter(base => base < offset)
    for (const [id, first] of this.#open) if (first >= offset) this.#open.delete(id)
    // What the producers sent last may be gone: they go on as new incarnations, from sequence 0 on.
    this.#epoch += 1
    this.#sequences.clear()
  }

  async #delete(at: number): Promise<void> {
    await this.#settle()
    await this.#log.sync()
    const offset = this.#start + Math.floor(at * (this.#records.length - this.#start))
    equal(await this.#log.deleteRecordsBefore(offset), offset, 'log start offset')
    this.#start = offset
  }

  async #reopen(how: 'clean' | 'kill' | 'power'): Promise<void> {
    if (this.#log !== undefined) {
      await this.#settle()
      if (how !== 'clean' && this.#durability === 'buffered') await this.#log.sync()
      if (how === 'power') await this.#log.sync()
      this.#recoveryPoint = this.#log.recoveryPoint
      equal((await this.#log.close({ clean: how === 'clean' })).clean, how === 'clean', 'clean')
      if (how === 'power') this.#fs.powerCut()
    }
    this.#log = await openLog('/data', {
      shared: sharedParts({ fs: this.#fs, clock: this.#clock }),
      clean: how === 'clean',
      recoveryPoint: how === 'clean' ? this.#records.length : this.#recoveryPoint,
      logStartOffset: this.#start,
      config: {
        durability: this.#durability,
        segmentBytes: 1200,
        indexIntervalBytes: 100,
        ...(this.#durability === 'batch' ? { preallocate: true, indexBytes: 4096 } : {}),
        ...(this.#durability === 'interval' || this.#durability === 'buffered'
          ? { flushMessages: 9, flushMs: 1000, flushBytes: 3000 }
          : {})
      }
    })
    equal(this.#log.logEndOffset, this.#records.length, `log end offset after reopening (${how})`)
    equal(this.#log.logStartOffset, this.#start, 'log start offset')
  }

  async #check(): Promise<void> {
    await this.#settle()
    await this.#log.sync()
    const wanted: string[] = []
    const committed: string[] = []
    const stable = Math.min(this.#records.length, ...this.#open.values())
    for (const [offset, record] of this.#records.entries()) {
      if (record === undefined || offset < this.#start) continue
      wanted.push(record.value)
      if (offset < stable && record.outcome !== 'abort') committed.push(record.value)
    }
    equal(await this.#values('read_uncommitted'), wanted.join(), 'all records')
    equal(await this.#values('read_committed'), committed.join(), 'committed records')
    equal(this.#log.lastStableOffset, Math.max(this.#start, stable), 'last stable offset')
  }

  async #values(isolation: 'read_committed' | 'read_uncommitted'): Promise<string> {
    const values: string[] = []
    for await (const { value } of this.#log.records({ isolation })) values.push(String(value))
    return values.join()
  }
}

function equal(found: unknown, wanted: unknown, what: string): void {
  if (found !== wanted) throw new Error(`${what}: ${String(found)}, not ${String(wanted)}`)
}

for (const [index, durability] of (['batch', 'interval', 'none', 'buffered'] as const).entries()) {
  t.test(`under "${durability}" any sequence of operations leaves what a plain list has (seed ${SEED})`, async t => {
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { minLength: 5, maxLength: 60 }), operations =>
        new Run(durability).run(operations)
      ),
      IS_LONG_RUN
        ? { numRuns: 3000, seed: SEED + index, interruptAfterTimeLimit: 20_000 }
        : { numRuns: 120, seed: 1000 + index, interruptAfterTimeLimit: 5000 }
    )
    t.pass()
  })
}
