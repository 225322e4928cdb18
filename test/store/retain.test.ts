/** Retention of a store, carried out: what goes, exactly when, and what readers and other logs notice of it. */

import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import type { PartitionLog } from '../../lib/log/partition-log.ts'
import type { RetainedPartition, RetainOptions, RetainReport } from '../../lib/store/retain.ts'
import { Store } from '../../lib/store/store.ts'
import { isLogError } from '../../lib/util/errors.ts'
import { numbered } from '../helpers/logs.ts'
import { ManualClock } from '../helpers/manual-clock.ts'
import { tempDir } from '../helpers/paths.ts'
import { brokersDirectory, values } from './helpers.ts'

t.setTimeout(200_000)

interface Made {
  readonly fs: MemoryFileSystem
  readonly clock: ManualClock
  readonly store: Store
}

async function made(configs: Record<string, string>, topics: readonly string[] = ['orders']): Promise<Made> {
  const clock = new ManualClock()
  const fs = new MemoryFileSystem({ now: () => clock.now() })
  const store = await Store.open('/data', { fs, clock })
  for (const topic of topics) {
    await store.createTopic(topic, { configs: { 'message.timestamp.after.max.ms': '9223372036854775807', ...configs } })
  }
  return { fs, clock, store }
}

/** Ten records, each with this timestamp, as a segment of their own. */
async function segment(log: PartitionLog, timestamp?: number): Promise<void> {
  const from = log.logEndOffset
  await log.append(numbered(10, from).map(record => (timestamp === undefined ? record : { ...record, timestamp })))
  await log.roll()
}

function only(report: RetainReport): RetainedPartition {
  const [partition] = report.partitions
  if (partition === undefined || 'error' in partition) throw new Error(JSON.stringify(report.partitions))
  return partition
}

const rules = (report: RetainReport): string[] =>
  only(report).decisions.map(({ decision, rule }) => `${decision === 'delete' ? '-' : '+'} ${rule}`)

const bases = (log: PartitionLog): number[] => log.segments().map(({ baseOffset }) => baseOffset)

t.test('each segment goes in the first millisecond beyond its limit, and not before', async t => {
  const { clock, store } = await made({ 'retention.ms': '1000' })
  const log = await store.openLog('orders', 0)
  const t0 = clock.now()
  await segment(log, t0)
  // Two of the same age, one from the future, then one that is older than what stands before it.
  for (const timestamp of [t0 + 500, t0 + 500, t0 + 5000, t0 + 600]) await segment(log, timestamp)
  const expected: [now: number, bases: number[]][] = [
    [t0 + 1000, [0, 10, 20, 30, 40, 50]],
    [t0 + 1001, [10, 20, 30, 40, 50]],
    [t0 + 1500, [10, 20, 30, 40, 50]],
    [t0 + 1501, [30, 40, 50]],
    [t0 + 6000, [30, 40, 50]],
    [t0 + 6001, [50]]
  ]
  for (const [at, left] of expected) {
    clock.advance(at - clock.now())
    await store.retain()
    t.same(bases(log), left, `${at - t0} ms after the first record`)
    t.equal(log.logStartOffset, left[0])
  }
  t.equal((await values(log)).length, 0)
  await store.close()
})

t.test('without timestamps the time at which the file was written counts', async t => {
  const { clock, store } = await made({ 'retention.ms': '1000' })
  const log = await store.openLog('orders', 0)
  await segment(log, -1)
  const written = clock.now()
  clock.advance(400)
  await segment(log, -1)
  const rolled = clock.now()
  clock.advance(written + 1000 - clock.now())
  await store.retain()
  t.same(bases(log), [0, 10, 20])
  clock.advance(1)
  const report = await store.retain()
  t.same(bases(log), [10, 20])
  t.match(only(report).decisions[0]?.because, { modifiedMs: written })
  clock.advance(rolled + 1000 - clock.now())
  await store.retain()
  t.same(bases(log), [10, 20])
  clock.advance(1)
  await store.retain()
  t.same(bases(log), [20])
  await store.close()
})

t.test('how old a segment is survives closing, crashing and the loss of every index', async t => {
  const { fs, clock, store } = await made({ 'retention.ms': '100000' })
  const log = await store.openLog('orders', 0)
  const t0 = clock.now()
  for (const age of [900, 700, 800, 0]) await segment(log, t0 - age)
  await log.append(numbered(1, 40).map(record => ({ ...record, timestamp: t0 - 1 })))
  // Were the time of the file taken for that of its records, this would show.
  clock.advance(5000)
  const ages = async (from: Store): Promise<unknown> => {
    const report = await from.retain({ dryRun: true, now: t0 })
    return only(report).decisions.map(({ because }) => because['largestTimestamp'])
  }
  const before = await ages(store)
  t.same(before, [t0 - 900, t0 - 700, t0 - 800, t0, t0 - 1])
  await store.close()
  const closed = await Store.open('/data', { fs, clock })
  t.same(await ages(closed), before, 'after closing')
  await (await closed.openLog('orders', 0)).append([{ value: 'x', timestamp: t0 - 1 }])
  fs.powerCut()
  for (const { name } of await fs.readDirectory('/data/orders-0')) {
    if (/index$/.test(name)) await fs.unlink(`/data/orders-0/${name}`)
  }
  const crashed = await Store.open('/data', { fs, clock })
  t.same(await ages(crashed), before, 'after a power cut, without indexes')
  await crashed.close()
})

t.test('the active segment goes too when all are to go: the log is empty and its offsets go on', async t => {
  const { clock, store } = await made({ 'retention.ms': '1000' })
  const log = await store.openLog('orders', 0)
  await segment(log)
  await log.append(numbered(3, 10))
  clock.advance(1001)
  const report = await store.retain()
  t.same(rules(report), ['- retention.ms', '- retention.ms'])
  t.match(only(report), { logStartOffset: 13, deletedSegments: 2 })
  t.same(bases(log), [13])
  t.equal((await log.append(numbered(1))).baseOffset, 13)
  await store.close()
  t.pass()
})

t.test('records that come while all segments are to go keep the segment that they are in', async t => {
  const { fs, clock, store } = await made({ 'retention.ms': '1000' })
  const log = await store.openLog('orders', 0)
  await log.append(numbered(10))
  clock.advance(1001)
  // The record slips in between the decision and the new segment.
  let appended: Promise<unknown> | undefined
  fs.onCall = ({ operation, path }) => {
    if (operation === 'stat' && path.endsWith('.log')) appended ??= log.append(numbered(1, 10))
  }
  const report = await store.retain()
  await appended
  t.same(rules(report), ['+ retention.ms'])
  t.same(bases(log), [0, 11], 'a new segment was begun, and nothing went')
  t.equal((await values(log)).length, 11)
  t.equal(log.logStartOffset, 0)
  await store.close()
})

t.test('a dry run says what is done without it, and changes nothing', async t => {
  const step = fc.record({
    kind: fc.constantFrom('append', 'append', 'append', 'roll', 'wait', 'hold', 'delete-records', 'retain'),
    n: fc.integer({ min: 0, max: 40 })
  })
  const settings = fc.record({
    'retention.ms': fc.constantFrom('-1', '50', '200'),
    'retention.bytes': fc.constantFrom('-1', '0', '300', '1000'),
    'heartwood.retention.records': fc.constantFrom('-1', '5', '20'),
    'cleanup.policy': fc.constantFrom('delete', 'delete', 'delete', 'compact', '')
  })
  let deleted = 0
  await fc.assert(
    fc.asyncProperty(settings, fc.array(step, { minLength: 5, maxLength: 25 }), async (configs, steps) => {
      const { clock, store } = await made({ ...configs, 'segment.bytes': '300' })
      const log = await store.openLog('orders', 0)
      const agree = async (): Promise<void> => {
        const before = { bases: bases(log), start: log.logStartOffset, holds: log.holds() }
        const said = await store.retain({ dryRun: true })
        t.same({ bases: bases(log), start: log.logStartOffset, holds: log.holds() }, before)
        const done = await store.retain()
        t.same(only(done), only(said))
        const { decisions, logStartOffset, deletedSegments } = only(said)
        const kept = decisions.filter(({ decision }) => decision === 'keep').map(each => each.segment)
        t.same(bases(log), kept.length === 0 ? [log.logEndOffset] : kept)
        t.equal(log.logStartOffset, logStartOffset)
        deleted += deletedSegments
        const again = await store.retain()
        t.equal(again.deletedSegments, 0)
      }
      for (const { kind, n } of steps) {
        if (kind === 'append') await log.append(numbered(1 + (n % 5), n), { durability: 'none' })
        else if (kind === 'roll') await log.roll()
        else if (kind === 'wait') clock.advance(n * 10)
        else if (kind === 'hold') {
          const offset = Math.max(log.logStartOffset, log.logEndOffset - n)
          await log.hold(`r${n % 3}`, offset, { limitMs: 150, limitBytes: 600 }).catch(error => {
            if (!isLogError(error, 'INVALID_REQUEST')) throw error
          })
        } else if (kind === 'delete-records') {
          await log.deleteRecordsBefore(Math.max(0, log.logEndOffset - n)).catch(error => {
            if (!isLogError(error, 'POLICY_VIOLATION')) throw error
          })
        } else await agree()
      }
      await agree()
      await store.close()
    }),
    { numRuns: 150 }
  )
  t.ok(deleted > 30, `${deleted} segments went`)
})

t.test('nothing goes from a topic whose settings are unknown, whatever time it is', async t => {
  const dir = await brokersDirectory(t)
  const store = await Store.open(dir)
  const report = await store.retain({ now: 4e12 })
  t.equal(report.deletedSegments, 0)
  t.ok(report.partitions.length > 3)
  for (const partition of report.partitions) {
    if ('error' in partition) throw new Error(partition.error.message)
    t.ok(partition.decisions.every(({ rule }) => rule === 'unknown-settings'))
  }
  await store.alterTopic('plain', { set: { 'cleanup.policy': 'delete' } })
  t.same(rules(await store.retain({ now: 4e12, topics: ['plain'] })).at(0), '+ no-limit')
  await store.alterTopic('plain', { set: { 'retention.ms': '1000' } })
  t.ok((await store.retain({ now: 4e12, topics: ['plain'] })).deletedSegments > 0)
  await t.rejects(store.retain({ topics: ['nope'] }), { code: 'UNKNOWN_TOPIC_OR_PARTITION' })
  await store.close()
  const reader = await Store.open(dir, { readOnly: true })
  await t.rejects(reader.retain(), { code: 'READ_ONLY' })
  await reader.close()
})

t.test("one log's failure is its own, and the next pass makes up for it", async t => {
  const { fs, clock, store } = await made({ 'retention.ms': '1000' }, ['bad', 'good'])
  for (const topic of ['bad', 'good']) await segment(await store.openLog(topic, 0))
  clock.advance(1001)
  fs.onCall = ({ operation, path }) => {
    if (operation === 'rename' && path.startsWith('/data/bad-0/')) {
      throw Object.assign(new Error('EIO: i/o error'), { code: 'EIO' })
    }
  }
  const [bad, good] = (await store.retain()).partitions
  t.match(bad, { topic: 'bad', error: { code: 'STORAGE_FAILED' } })
  t.match(good, { topic: 'good', deletedSegments: 1 })
  fs.onCall = undefined
  const report = await store.retain()
  t.equal(report.partitions.filter(each => 'error' in each).length, store.log('bad', 0)?.condition === 'open' ? 0 : 1)
  await store.close().catch(() => undefined)
  const again = await Store.open('/data', { fs, clock })
  await again.retain()
  t.same(bases(await again.openLog('bad', 0)), [10])
  await again.close()
})

t.test('a hold keeps what its reader needs, until it is silent for too long: that is told', async t => {
  const { clock, store } = await made({ 'retention.ms': '1000' })
  const log = await store.openLog('orders', 0)
  for (let i = 0; i < 3; i += 1) await segment(log)
  await log.hold('billing', 10, { limitMs: 5000 })
  const messages: unknown[] = []
  const listener = (message: unknown): void => void messages.push(message)
  subscribe('heartwood:hold-broken', listener)
  clock.advance(5000)
  const first = await store.retain()
  t.same(rules(first), ['- retention.ms', '+ hold', '+ hold', '+ empty-active-segment'])
  t.match(only(first).decisions[1]?.because, { hold: 'billing', holdOffset: 10, reached: 'retention.ms' })
  t.same(messages, [])
  clock.advance(1)
  t.match(only(await store.retain({ dryRun: true })), { brokenHolds: [{ name: 'billing' }], deletedSegments: 2 })
  t.match(log.holds(), [{ brokenMs: undefined }])
  t.match(only(await store.retain()), { brokenHolds: [{ name: 'billing', limit: 'limitMs' }], deletedSegments: 2 })
  unsubscribe('heartwood:hold-broken', listener)
  t.match(messages, [{ topic: 'orders', partition: 0, hold: 'billing', offset: 10, allowed: 5000, found: 5001 }])
  t.same(bases(log), [30])
  await t.rejects(log.hold('billing', 10), { code: 'OFFSET_OUT_OF_RANGE', details: { logStartOffset: 30 } })
  t.match(await log.hold('billing', 30), { brokenMs: clock.now() }, 'the reader learns that it was broken')
  await store.close()
})

t.test('a clock that jumped takes nothing by time', async t => {
  const { clock, store } = await made({ 'retention.ms': '1000' })
  const log = await store.openLog('orders', 0)
  await segment(log)
  await log.hold('billing', 0, { limitMs: 1 })
  clock.jumpTo(clock.now() + 1e9)
  t.same(rules(await store.retain())[0], '+ hold')
  await log.releaseHold('billing')
  t.same(rules(await store.retain())[0], '+ clock-jump')
  t.equal(store.status().upkeep.clockJumpMs, 1e9)
  t.equal((await store.retain({ now: clock.now() })).deletedSegments, 1, 'who says what time it is, knows')
  await store.close()
})

t.test('a jump that somebody vouches for counts as time that passed', async t => {
  const { clock, store } = await made({ 'retention.ms': '1000' })
  await segment(await store.openLog('orders', 0))
  clock.jumpTo(clock.now() + 1e9)
  t.equal((await store.retain()).deletedSegments, 0)
  store.acknowledgeClock()
  t.equal(store.status().upkeep.clockJumpMs, undefined)
  t.equal((await store.retain()).deletedSegments, 1)
  await store.close()
})

t.test('a budget for the directory, and a floor of free space, take the oldest of the largest topic', async t => {
  const { fs, store } = await made({}, ['large', 'small'])
  const large = await store.openLog('large', 0)
  const small = await store.openLog('small', 0)
  for (let i = 0; i < 6; i += 1) await segment(large)
  await segment(small)
  const [one] = large.segments()
  const size = one?.bytes ?? 0
  const used = 7 * size
  const budget: RetainOptions = { diskBudgetBytes: used - size }
  const said = await store.retain({ ...budget, dryRun: true })
  const [first] = said.partitions
  t.match(first, { topic: 'large', deletedSegments: 2, logStartOffset: 20 })
  if (first !== undefined && !('error' in first)) {
    t.same(
      first.decisions.slice(0, 3).map(({ rule }) => rule),
      ['heartwood.disk.budget.bytes', 'heartwood.disk.budget.bytes', 'no-limit']
    )
  }
  t.same((await store.retain(budget)).partitions, said.partitions)
  t.same([bases(large)[0], bases(small)[0]], [20, 0])
  t.ok((await store.retain(budget)).deletedSegments === 0)
  fs.capacityBytes = (await usedBytes(fs, '/data')) + 1000
  const files = (await fs.readDirectory('/data/large-0')).length
  const report = await store.retain({ diskFreeMinBytes: 1000 + size })
  t.equal(report.reclaimableBytes, 0, 'room is wanted now: no file waits for its delay')
  t.ok((await fs.readDirectory('/data/large-0')).length < files)
  t.ok((await fs.volume('/data')).freeBytes >= 1000 + size)
  t.equal(report.missingBytes, 0)
  fs.capacityBytes = Number.POSITIVE_INFINITY
  await small.append(numbered(1))
  t.equal((await store.retain({ diskBudgetBytes: 0 })).missingBytes, small.segments().at(-1)?.bytes, 'active ones stay')
  await store.close()
})

async function usedBytes(fs: MemoryFileSystem, dir: string): Promise<number> {
  let sum = 0
  for (const { name, kind } of await fs.readDirectory(dir)) {
    const path = join(dir, name)
    sum += kind === 'directory' ? await usedBytes(fs, path) : ((await fs.stat(path))?.size ?? 0)
  }
  return sum
}

/** What `du` says: blocks of 512 bytes. */
async function du(dir: string): Promise<number> {
  let sum = 0
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) sum += 512 * (await stat(join(entry.parentPath, entry.name))).blocks
  }
  return sum
}

t.test('the disk has the room again, once the delay is over; what waits and what came back is counted', async t => {
  const dir = await tempDir(t)
  const clock = new ManualClock(Date.now())
  const store = await Store.open(dir, { clock })
  await store.createTopic('orders', { configs: { 'retention.ms': '1000', 'file.delete.delay.ms': '60000' } })
  const log = await store.openLog('orders', 0)
  const value = Buffer.alloc(100_000, 'x')
  for (let i = 0; i < 8; i += 1) {
    await log.append([{ value }, { value }])
    await log.roll()
  }
  clock.advance(1001)
  const before = await du(join(dir, 'orders-0'))
  const report = await store.retain()
  t.equal(report.deletedSegments, 8)
  t.ok(report.deletedBytes > 1_600_000)
  t.equal(report.reclaimableBytes, report.deletedBytes)
  t.equal(report.reclaimedBytes, 0)
  t.ok(before - (await du(join(dir, 'orders-0'))) < 100_000, 'nothing is gone yet')
  clock.advance(60_000)
  const after = await store.retain()
  t.match(after, { deletedSegments: 0, reclaimableBytes: 0, reclaimedBytes: report.deletedBytes })
  const fell = before - (await du(join(dir, 'orders-0')))
  t.ok(fell >= report.deletedBytes, `${fell} bytes of ${before} are free again`)
  await store.close()
})

t.test('a reader whose segment goes finishes what it holds, then is told where the log begins', async t => {
  const dir = await tempDir(t)
  const clock = new ManualClock(Date.now())
  const store = await Store.open(dir, { clock })
  await store.createTopic('orders', { configs: { 'heartwood.retention.records': '200', 'file.delete.delay.ms': '0' } })
  const log = await store.openLog('orders', 0)
  let done = false
  let passes = 0
  let overtaken = 0
  const isOvertaken = (error: unknown, next: number): boolean => {
    if (!isLogError(error, 'OFFSET_OUT_OF_RANGE')) return false
    const { logStartOffset } = error.details
    return typeof logStartOffset === 'number' && logStartOffset > next
  }
  const reading = async (maxBytes: number): Promise<void> => {
    while (!done) {
      const from = log.logStartOffset
      let next = from
      try {
        for await (const { offset, value } of log.records({ from, maxBytes })) {
          if (offset !== next) throw new Error(`offset ${offset} where ${next} is`)
          if (value?.toString() !== `value-${offset}`) throw new Error(`offset ${offset} has ${value}`)
          next += 1
          if (next % 8 === 0) await new Promise(resolve => setImmediate(resolve))
        }
      } catch (error) {
        if (!isOvertaken(error, next - 1)) throw error
        overtaken += 1
      }
      passes += 1
      await new Promise(resolve => setImmediate(resolve))
    }
  }
  const points = async (): Promise<void> => {
    for (let i = 0; !done; i += 1) {
      const offset = log.logStartOffset + (i % 50)
      try {
        const record = await log.get(offset)
        if (record?.value?.toString() !== `value-${offset}`) throw new Error(`${offset} is gone`)
      } catch (error) {
        if (!isOvertaken(error, offset)) throw error
        overtaken += 1
      }
      await new Promise(resolve => setImmediate(resolve))
    }
  }
  for (let i = 0; i < 10; i += 1) await segment(log)
  const readers = [reading(1), reading(500), reading(1 << 20), points()]
  // One that stands still is overtaken, whatever the others' luck is.
  const slow = log.records({ from: log.logStartOffset, maxBytes: 1 })[Symbol.asyncIterator]()
  let next = (await slow.next()).value!.offset + 1
  for (let round = 0; round < 15; round += 1) {
    for (let i = 0; i < 10; i += 1) await segment(log)
    await store.retain()
  }
  done = true
  await Promise.all(readers)
  t.ok(passes > 10, `${passes} passes, ${overtaken} of them overtaken`)
  const finishing = async (): Promise<void> => {
    for (let each = await slow.next(); each.done !== true; each = await slow.next()) {
      if (each.value.offset !== next) throw new Error(`offset ${each.value.offset} where ${next} is`)
      next += 1
    }
  }
  const error = await finishing().catch(error => error)
  t.ok(isOvertaken(error, next - 1), `${error}, after offset ${next - 1}`)
  t.ok(log.logStartOffset > 1000)
  await store.close()
})

t.test('where there is no room for the indexes of what was rolled, retention makes some', async t => {
  const { clock, fs, store } = await made({ 'retention.ms': '1000', 'segment.bytes': '1048576' })
  const log = await store.openLog('orders', 0)
  await segment(log)
  const sealed = log.logEndOffset
  fs.onCall = ({ operation, path }) => {
    if (operation !== 'write' || !/\.(?:time)?index$/.test(path)) return
    throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' })
  }
  await log.append(numbered(10, sealed))
  // The rolling itself goes well; closing what was rolled does not.
  await log.roll().catch(() => undefined)
  t.equal(bases(log).length, 3)
  clock.advance(2000)
  t.match(only(await store.retain()), { deletedSegments: 2 })
  t.equal(bases(log).length, 1)
  fs.onCall = undefined
  await store.close()
})

t.test('where a log begins stays written down until the files below are gone for good', async t => {
  const { fs, store } = await made({ 'segment.bytes': '1048576' }, ['first', 'second'])
  const first = await store.openLog('first', 0)
  const second = await store.openLog('second', 0)
  for (const log of [first, second]) for (let i = 0; i < 2; i += 1) await segment(log)
  const going = new Map<string, () => void>()
  fs.onCall = ({ operation, path }) => {
    if (operation !== 'rename' || !path.endsWith('000.log')) return undefined
    return new Promise<void>(resolve => {
      going.set(path, resolve)
    })
  }
  const turns = async (): Promise<void> => {
    for (let i = 0; i < 1000; i += 1) await new Promise(resolve => setImmediate(resolve))
  }
  // The checkpoint has passed the first log and waits for the second; then the first begins to let go of a segment.
  const raisings = [second.maintenance.raiseLogStart(10)]
  await turns()
  const written = store.checkpoint()
  await turns()
  raisings.push(first.maintenance.raiseLogStart(10))
  await turns()
  t.equal(going.size, 2)
  going.get('/data/second-0/00000000000000000000.log')?.()
  await written
  fs.onCall = undefined
  const handle = await fs.open('/data/log-start-offset-checkpoint', 'read')
  const bytes = Buffer.alloc(200)
  t.match(bytes.subarray(0, await handle.read(bytes, 0)).toString(), /\nfirst 0 10\n/)
  await handle.close()
  for (const goOn of going.values()) goOn()
  await Promise.all(raisings)
  await store.close()
})
