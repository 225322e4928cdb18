/** Random histories of a keyed log, with views that follow it, held against a fold over a plain list. */
import fc from 'fast-check'
import t from 'tap'
import type { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import type { LatestView } from '../../lib/log/latest-view.ts'
import { sharedParts } from '../../lib/log/open-log.ts'
import type { PartitionLog } from '../../lib/log/partition-log.ts'
import type { Isolation } from '../../lib/log/types.ts'
import { isLogError } from '../../lib/util/errors.ts'
import { openLog } from '../helpers/logs.ts'
import { ManualClock } from '../helpers/manual-clock.ts'
import { memoryFolder } from '../helpers/partition-folder.ts'
import { IS_LONG_RUN, SEED } from '../helpers/seed.ts'

type View = LatestView<string, string>

/** `outcome` is that of its transaction, `undefined` while undecided. A marker has no key. */
interface ModelRecord {
  readonly key: string | null
  readonly value: string | null
  readonly producer?: number
  outcome?: 'commit' | 'abort'
}

type Operation =
  | { readonly kind: 'append'; readonly keys: readonly number[]; readonly wait: boolean }
  | { readonly kind: 'transact'; readonly id: number; readonly keys: readonly number[] }
  | { readonly kind: 'end'; readonly id: number; readonly type: 'commit' | 'abort' }
  | { readonly kind: 'truncate' | 'delete'; readonly at: number }
  | { readonly kind: 'roll' | 'reopen' | 'iterate' | 'catch-up' | 'turn' }

// 0 stands for no key; an odd number of a key for a tombstone.
const keys = fc.array(fc.integer({ min: 0, max: 24 }), { minLength: 1, maxLength: 6 })
const id = fc.integer({ min: 1, max: 3 })
const at = fc.double({ min: 0, max: 1, noNaN: true })
const constant = <T extends string>(kind: T): fc.Arbitrary<T> => fc.constant(kind)
const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: constant('append'), keys, wait: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ kind: constant('transact'), id, keys }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: constant('end'), id, type: fc.constantFrom('commit' as const, 'abort' as const) })
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom('truncate' as const, 'delete' as const), at }) },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        'roll' as const,
        'reopen' as const,
        'iterate' as const,
        'catch-up' as const,
        'turn' as const
      )
    })
  }
)

class Run {
  readonly #clock = new ManualClock()
  #fs = undefined as unknown as MemoryFileSystem
  #log = undefined as unknown as PartitionLog
  #views: { readonly isolation: Isolation; readonly view: View }[] = []
  #records: ModelRecord[] = []
  #start = 0
  #number = 0
  #epoch = 0
  /** Since the views last caught up. */
  #wasCut = false
  readonly #sequences = new Map<number, number>()
  readonly #open = new Map<number, number>()
  #pending: Promise<unknown>[] = []

  async run(operations: readonly Operation[]): Promise<void> {
    this.#fs = await memoryFolder({})
    await this.#reopen()
    for (const operation of operations) {
      await this.#do(operation)
      this.#compareViews()
    }
    await this.#catchUp()
    await this.#iterate()
    await this.#closeAll()
  }

  async #do(operation: Operation): Promise<void> {
    switch (operation.kind) {
      case 'append':
        this.#pending.push(this.#log.append(this.#push(operation.keys)))
        return operation.wait ? this.#settle() : undefined
      case 'transact':
        return this.#transact(operation.id, operation.keys)
      case 'end':
        return this.#end(operation.id, operation.type)
      case 'truncate':
        return this.#truncate(operation.at)
      case 'delete':
        return this.#delete(operation.at)
      case 'roll':
        return this.#log.roll()
      case 'reopen':
        return this.#reopen()
      case 'iterate':
        return this.#iterate()
      case 'catch-up':
        return this.#catchUp()
      default:
        return new Promise(resolve => setImmediate(resolve))
    }
  }

  #push(numbers: readonly number[], producer?: number): { key: string | null; value: string | null }[] {
    const records = numbers.map(number => {
      const value = number % 2 === 1 ? null : `${(this.#number += 1)}:${'.'.repeat(number)}`
      return { key: number === 0 ? null : `key-${Math.floor(number / 2)}`, value }
    })
    this.#records.push(...records.map(record => ({ ...record, ...(producer !== undefined && { producer }) })))
    return records
  }

  async #settle(): Promise<void> {
    await Promise.all(this.#pending.splice(0))
  }

  async #transact(id: number, keys: readonly number[]): Promise<void> {
    const producerId = 10 + id
    const baseSequence = this.#sequences.get(producerId) ?? 0
    this.#sequences.set(producerId, baseSequence + keys.length)
    if (!this.#open.has(producerId)) this.#open.set(producerId, this.#records.length)
    const records = this.#push(keys, producerId)
    await this.#log.append(records, { producerId, producerEpoch: this.#epoch, baseSequence, transactional: true })
  }

  async #end(id: number, type: 'commit' | 'abort'): Promise<void> {
    const producerId = 10 + id
    if (!this.#open.delete(producerId)) return
    for (const record of this.#records)
      if (record.producer === producerId && record.outcome === undefined) record.outcome = type
    this.#records.push({ key: null, value: null, outcome: type })
    await this.#log.appendEndTransaction({ type, producerId, producerEpoch: this.#epoch })
  }

  /** Only behind the last marker: decided transactions would be open again, which other tests are about. */
  async #truncate(at: number): Promise<void> {
    await this.#settle()
    const lowest = Math.max(this.#start, this.#records.findLastIndex(({ key, outcome }) => key === null && outcome) + 1)
    this.#wasCut = true
    await this.#log.truncateTo(lowest + Math.floor(at * (this.#records.length - lowest)))
    // A batch goes as a whole, and what was written together may share one.
    const kept = await this.#endOfRecords(lowest)
    // The log would go on at the offset asked for, but only until it is opened anew.
    if (kept < this.#log.logEndOffset) await this.#log.truncateTo(kept)
    this.#records = this.#records.slice(0, kept)
    this.#start = Math.min(this.#start, kept)
    for (const [producer, first] of this.#open) if (first >= kept) this.#open.delete(producer)
    // Where the batch that held the log start went, the log begins anew and knows no producer.
    const { segments } = await this.#log.maintenance.view()
    if (segments.every(({ bytes }) => bytes === 0)) this.#open.clear()
    this.#epoch += 1
    this.#sequences.clear()
    while (this.#records.length < this.#log.logEndOffset) this.#records.push({ key: null, value: null })
  }

  async #endOfRecords(lowest: number): Promise<number> {
    let end = lowest
    for await (const { offset } of this.#log.records({ from: Math.max(lowest, this.#log.logStartOffset) }))
      end = offset + 1
    return end
  }

  async #delete(at: number): Promise<void> {
    await this.#settle()
    const offset = this.#start + Math.floor(at * at * (this.#log.highWatermark - this.#start))
    this.#start = await this.#log.deleteRecordsBefore(offset)
  }

  /** In the order of the first value, or of the latest one. */
  #latest(isolation: Isolation, to: number, order: 'first' | 'latest'): string {
    const values = new Map<string, string>()
    for (const [offset, { key, value, outcome }] of this.#records.slice(0, to).entries()) {
      if (offset < this.#start || key === null || (isolation === 'read_committed' && outcome === 'abort')) continue
      if (value === null || order === 'latest') values.delete(key)
      if (value !== null) values.set(key, value)
    }
    return [...values].map(entry => entry.join('=')).join(' ')
  }

  /** At any moment a view shows what the log says up to the view's offset. */
  #compareViews(): void {
    for (const { isolation, view } of this.#views) {
      if (this.#wasCut && refuses(view)) continue
      const shown = [...view].map(entry => entry.join('='))
      const wanted = this.#latest(isolation, view.offset, 'first')
      // A key whose first value went by retention has another place.
      equal(shown.sort().join(' '), wanted.split(' ').sort().join(' '), `${isolation}, up to ${view.offset}`)
      for (const [key, value] of view) equal(view.get(key), value, key)
    }
  }

  async #catchUp(): Promise<void> {
    await this.#settle()
    for (const { isolation, view } of this.#views) {
      await view.caughtUp()
      if (refuses(view)) throw new Error('a view that has caught up refuses')
      const stable = Math.min(this.#records.length, ...this.#open.values())
      const bound = isolation === 'read_committed' ? Math.max(stable, this.#start) : this.#records.length
      equal(view.offset, bound, `offset of the view, ${isolation}`)
    }
    this.#wasCut = false
    this.#compareViews()
  }

  async #iterate(): Promise<void> {
    await this.#settle()
    for (const isolation of ['read_committed', 'read_uncommitted'] as const) {
      const bound = isolation === 'read_committed' ? this.#log.lastStableOffset : this.#log.highWatermark
      const found: string[] = []
      for await (const { key, value } of this.#log.latest({ isolation })) found.push(`${key}=${value}`)
      equal(found.join(' '), this.#latest(isolation, bound, 'latest'), `latest, ${isolation}`)
    }
  }

  async #closeAll(): Promise<void> {
    await this.#settle()
    await this.#log?.close()
    for (const { view } of this.#views) {
      await view.close()
      equal(view.condition, 'closed', 'condition')
    }
  }

  async #reopen(): Promise<void> {
    await this.#closeAll()
    const shared = sharedParts({ fs: this.#fs, clock: this.#clock })
    const end = this.#records.length
    const config = { segmentBytes: 1200, indexIntervalBytes: 100 }
    this.#log = await openLog('/data', { shared, clean: true, recoveryPoint: end, logStartOffset: this.#start, config })
    equal(this.#log.logEndOffset, end, 'log end offset')
    this.#views = []
    for (const isolation of ['read_committed', 'read_uncommitted'] as const)
      this.#views.push({ isolation, view: await this.#log.latest({ isolation }).follow({ values: String }) })
  }
}

/** It may, until it has read a log anew whose end was cut. */
function refuses(view: View): boolean {
  try {
    return view.size < 0
  } catch (error) {
    if (isLogError(error, 'OFFSET_OUT_OF_RANGE')) return true
    throw error
  }
}

function equal(found: unknown, wanted: unknown, what: string): void {
  if (found !== wanted) throw new Error(`${what}: ${String(found)}, not ${String(wanted)}`)
}

t.test(`after any history each key has the value that a plain list says (seed ${SEED})`, async t => {
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { minLength: 5, maxLength: 60 }), operations => new Run().run(operations)),
    IS_LONG_RUN
      ? { numRuns: 3000, seed: SEED, interruptAfterTimeLimit: 40_000 }
      : { numRuns: 150, seed: 1, interruptAfterTimeLimit: 8000 }
  )
  t.pass()
})
