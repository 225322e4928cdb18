/** Segments that rewritten ones replace, and segments that a log no longer needs. */
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { MemoryFileSystem, type PowerCutOptions } from '../../lib/fs/memory-file-system.ts'
import { nodeFileSystem } from '../../lib/fs/node-file-system.ts'
import type { LogConfig } from '../../lib/log/log-config.ts'
import { sharedParts } from '../../lib/log/open-log.ts'
import type { PartitionLog } from '../../lib/log/partition-log.ts'
import { isLogError } from '../../lib/util/errors.ts'
import { cleanByHand } from '../helpers/hand-cleaned.ts'
import { numbered, openLog, valuesOf } from '../helpers/logs.ts'
import { ManualClock } from '../helpers/manual-clock.ts'
import { IS_LONG_RUN } from '../helpers/seed.ts'

t.setTimeout(200_000)

const DIR = '/data/t-0'
const SEALED = 30
const RECORDS = 33

interface Made {
  readonly fs: MemoryFileSystem
  readonly clock: ManualClock
  readonly log: PartitionLog
}

const reopen = (fs: MemoryFileSystem, clock = new ManualClock(), config: Partial<LogConfig> = {}) =>
  openLog('/data', { config, clean: false, recoveryPoint: 0, shared: sharedParts({ fs, clock }) })

/** Three sealed segments of ten batches of one record, and an active one; the last thing done is a roll if `rolled`. */
async function made({ rolled = false } = {}): Promise<Made> {
  const fs = new MemoryFileSystem()
  await fs.makeDirectory('/data')
  await fs.syncDirectory('/')
  const clock = new ManualClock()
  const log = await reopen(fs, clock)
  for (let i = 0; i < (rolled ? SEALED : RECORDS); i += 1) {
    if (i > 0 && i % 10 === 0) await log.roll()
    await log.append(numbered(1, i), { ownBatch: true })
  }
  if (rolled) await log.roll()
  return { fs, clock, log }
}

const VALUES = numbered(RECORDS).map(({ value }) => value)
/** What is left when every third of the sealed ones is kept. */
const THIRDS = VALUES.filter((_, i) => i >= SEALED || i % 3 === 2)
const isThird = ({ baseOffset }: { baseOffset: number }): boolean => baseOffset % 3 === 2

async function swapThirds({ fs, log }: Pick<Made, 'fs' | 'log'>): Promise<void> {
  const { maintenance } = log
  const view = await maintenance.view()
  await maintenance.replace(view, await cleanByHand(fs, DIR, view, isThird))
}

const namesIn = async (fs: MemoryFileSystem, suffix: string): Promise<string[]> =>
  (await fs.readDirectory(DIR)).map(({ name }) => name).filter(name => name.endsWith(suffix))

t.test('rewritten segments take the place of what they were made from', async t => {
  const { fs, clock, log } = await made()
  const before = log.stats().bytesOnDisk
  const stream = log.records({ maxBytes: 1 })
  t.equal((await stream.next()).value?.value?.toString(), VALUES[0])
  await swapThirds({ fs, log })
  t.same(await valuesOf(log.records()), THIRDS)
  t.same(await valuesOf(stream), THIRDS, 'a stream that stood at the beginning goes on with what is there')
  t.same(
    log.segments().map(({ baseOffset }) => baseOffset),
    [0, 30]
  )
  t.equal((await log.get(5))?.value?.toString(), VALUES[5])
  t.equal(await log.get(4), undefined)
  t.same(await namesIn(fs, '.swap'), [])
  t.equal((await namesIn(fs, '.log.deleted')).length, 3)
  const { maintenance } = log
  t.equal(maintenance.reclaimableBytes + log.stats().bytesOnDisk, before + (log.segments()[0]?.bytes ?? 0))
  t.equal(await maintenance.removeDeleted(), 0, 'file.delete.delay.ms is not over')
  clock.advance(60_000)
  const reclaimable = maintenance.reclaimableBytes
  t.equal(await maintenance.removeDeleted(), reclaimable)
  t.equal(maintenance.reclaimedBytes, reclaimable)
  t.equal(maintenance.reclaimableBytes, 0)
  t.same(await namesIn(fs, '.deleted'), [])
  t.same(await namesIn(fs, '.snapshot'), ['00000000000000000030.snapshot'], 'those of segments that are no more went')
  await log.append(numbered(1, RECORDS))
  await log.close()
  const again = await reopen(fs)
  t.same(await valuesOf(again.records()), [...THIRDS, `value-${RECORDS}`])
  await again.close()
})

t.test('a clean close leaves no file that is out of use', async t => {
  const { fs, log } = await made()
  await swapThirds({ fs, log })
  await log.close()
  t.same(await namesIn(fs, '.deleted'), [])
})

t.test('a log that was cut meanwhile keeps what it has, and the cleaned files go', async t => {
  const { fs, log } = await made()
  const view = await log.maintenance.view()
  const group = await cleanByHand(fs, DIR, view, isThird)
  await log.truncateTo(25)
  await t.rejects(log.maintenance.replace(view, group), { code: 'SEGMENTS_CHANGED' })
  t.same(await valuesOf(log.records()), VALUES.slice(0, 25))
  t.same(await namesIn(fs, '.cleaned'), [])
  t.same(await namesIn(fs, '.swap'), [])
  await log.append(numbered(1))
  t.equal(log.condition, 'open')
})

t.test('the same group is not put in place twice', async t => {
  const { fs, log } = await made()
  const view = await log.maintenance.view()
  const group = await cleanByHand(fs, DIR, view, isThird)
  await log.maintenance.replace(view, group)
  await t.rejects(log.maintenance.replace(view, group), { code: 'SEGMENTS_CHANGED' })
  t.same(await valuesOf(log.records()), THIRDS)
})

t.test('a log that begins later: durable first, then its files go by and by', async t => {
  const { fs, clock, log } = await made()
  const { maintenance } = log
  const stream = log.records({ maxBytes: 1 })
  t.equal((await stream.next()).value?.offset, 0)
  await t.rejects(maintenance.raiseLogStart(RECORDS + 1), { code: 'OFFSET_OUT_OF_RANGE' })
  t.match(await maintenance.raiseLogStart(25), { segments: 2 })
  t.match(await maintenance.raiseLogStart(3), { segments: 0 }, 'the start never falls')
  t.equal(log.logStartOffset, 25)
  t.same(await valuesOf(log.records()), VALUES.slice(25))
  await t.rejects(valuesOf(stream), { code: 'OFFSET_OUT_OF_RANGE', details: { logStartOffset: 25 } })
  t.equal((await namesIn(fs, '.log.deleted')).length, 2)
  clock.advance(60_000)
  await maintenance.removeDeleted()
  t.same((await namesIn(fs, '.log')).sort(), ['00000000000000000020.log', '00000000000000000030.log'])
})

t.test('what is known of segments', async t => {
  const { log } = await made()
  const { segments, ...offsets } = await log.maintenance.view()
  t.match(offsets, { logStartOffset: 0, logEndOffset: RECORDS, highWatermark: RECORDS, lastStableOffset: RECORDS })
  t.same(
    segments.map(({ baseOffset, nextOffset, active }) => [baseOffset, nextOffset, active]),
    [
      [0, 10, false],
      [10, 20, false],
      [20, 30, false],
      [30, RECORDS, true]
    ]
  )
  for (const { bytes, largestTimestamp, firstTimestamp, timeIndexBytes, active } of segments) {
    t.ok(bytes > 0 && largestTimestamp !== undefined && firstTimestamp !== undefined)
    t.ok(active ? timeIndexBytes === 0 : timeIndexBytes > 0)
  }
})

/** Lets others have the event loop: readers that never wait would keep the rest from happening. */
const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

class Stopped extends Error {}

/** Stops for good at the n-th call that changes something; undefined if there were fewer. */
function stopAt(fs: MemoryFileSystem, n: number): { stopped: () => boolean } {
  let calls = 0
  fs.onCall = ({ operation }) => {
    if (['read', 'stat', 'fstat', 'readDirectory'].includes(operation)) return
    calls += 1
    if (calls >= n) throw new Stopped()
  }
  return { stopped: () => calls >= n }
}

const CUTS: readonly [string, ((seed: number) => PowerCutOptions) | undefined][] = [
  ['the process is killed', undefined],
  ['the power goes and takes all that was not synced', () => ({})],
  ['the power goes and leaves all names', () => ({ name: () => true })],
  [
    'the power goes and leaves some names',
    seed => {
      let state = seed
      return { name: () => (state = (Math.imul(state, 1103515245) + 12345) >>> 0) % 65536 < 32768 }
    }
  ]
]

t.test('wherever it ends, the old segments are there or the new ones', async t => {
  for (const [what, cut] of CUTS) {
    for (const rolled of [false, true]) {
      await t.test(`${what}${rolled ? ', after a roll' : ''}`, async t => {
        const outcomes = { old: 0, new: 0 }
        let isOver = false
        for (let n = 1; !isOver; n += 1) {
          for (let seed = 1; seed <= (what.includes('some') && IS_LONG_RUN ? 5 : 1); seed += 1) {
            const { fs, log } = await made({ rolled })
            const { maintenance } = log
            const view = await maintenance.view()
            const group = await cleanByHand(fs, DIR, view, isThird)
            const end = stopAt(fs, n)
            const replaced = await maintenance.replace(view, group).then(
              () => true,
              () => false
            )
            isOver = !end.stopped()
            fs.onCall = undefined
            if (cut !== undefined) fs.powerCut(cut(n * 100 + seed))
            const again = await reopen(fs)
            const values = await valuesOf(again.records())
            const isNew = values.length < (rolled ? SEALED : RECORDS)
            outcomes[isNew ? 'new' : 'old'] += 1
            const all = isNew ? THIRDS : VALUES
            t.same(values, rolled ? all.filter(value => VALUES.indexOf(value) < SEALED) : all, `after call ${n}`)
            t.ok(isNew || !replaced, 'what was said to be in place is')
            for (const suffix of ['.cleaned', '.swap', '.deleted']) t.same(await namesIn(fs, suffix), [], suffix)
            t.equal(again.logEndOffset, rolled ? SEALED : RECORDS)
            await again.append(numbered(1))
            await again.close()
          }
        }
        t.ok(outcomes.old > 0 && outcomes.new > 0, JSON.stringify(outcomes))
      })
    }
  }
})

t.test('a call that fails leaves a log that goes on, or one that says it cannot; never one that is wrong', async t => {
  let isOver = false
  for (let n = 1; !isOver; n += 1) {
    for (const once of [true, false]) {
      const { fs, log } = await made()
      const view = await log.maintenance.view()
      const group = await cleanByHand(fs, DIR, view, isThird)
      let calls = 0
      fs.onCall = ({ operation }) => {
        if (['read', 'stat', 'fstat', 'readDirectory'].includes(operation)) return
        calls += 1
        if (calls === n || (!once && calls > n)) throw Object.assign(new Error('EIO: made to fail'), { code: 'EIO' })
      }
      const problem: unknown = await log.maintenance.replace(view, group).then(
        () => undefined,
        error => error
      )
      isOver = calls < n
      fs.onCall = undefined
      t.ok(problem === undefined || isLogError(problem), `call ${n}: ${String(problem)}`)
      const values = await valuesOf(log.records())
      t.same(values, values.length < RECORDS ? THIRDS : VALUES)
      if (problem === undefined) t.same(values, THIRDS)
      let appended = 0
      if (log.condition === 'open') {
        // Whatever a failed exchange left must not come back over what is written from now on.
        await log.truncateTo(5)
        await log.append(numbered(1, 77))
        appended = 1
      }
      const expected = appended === 0 ? undefined : await valuesOf(log.records())
      await log.close({ clean: false })
      const again = await reopen(fs)
      const found = await valuesOf(again.records())
      if (expected !== undefined) t.same(found, expected, `call ${n}, ${once ? 'once' : 'from then on'}`)
      else t.same(found, found.length < RECORDS ? THIRDS : VALUES)
      await again.close()
    }
  }
})

t.test('reads beside it neither fail nor repeat nor skip what is kept', async t => {
  const data = await mkdtemp(join(tmpdir(), 'heartwood-test-'))
  t.teardown(() => rm(data, { recursive: true, force: true }))
  const log = await openLog(data, { config: { segmentBytes: 1500, fileDeleteDelayMs: 0 } })
  let next = 0
  const append = async (count: number): Promise<void> => {
    for (const record of numbered(count, next)) await log.append([record], { ownBatch: true, durability: 'none' })
    next += count
  }
  let done = false
  let rounds = 0
  const reading = async (maxBytes: number): Promise<void> => {
    while (!done) {
      let last = -1
      // What every round keeps.
      let expected = 0
      for await (const { offset, value } of log.records({ maxBytes })) {
        if (offset <= last) throw new Error(`offset ${offset} after ${last}`)
        last = offset
        if (value?.toString() !== `value-${offset}`) throw new Error(`offset ${offset} has ${value}`)
        if (offset % 16 === 0) await turn()
        if (offset % 64 !== 0) continue
        if (offset !== expected) throw new Error(`offset ${offset} where ${expected} is`)
        expected += 64
      }
      rounds += 1
    }
  }
  const points = async (): Promise<void> => {
    for (let i = 0; !done; i += 1) {
      await turn()
      const offset = (i % Math.floor(next / 64)) * 64
      const found = await log.get(offset)
      if (found?.value?.toString() !== `value-${offset}`) throw new Error(`${offset} is gone`)
    }
  }
  await append(320)
  const readers = [reading(1), reading(700), reading(1 << 20), points()]
  // Each round takes half of what the one before has left.
  for (const step of [2, 4, 8, 16, 32, 64, 64, 64]) {
    await append(160)
    await log.roll()
    const view = await log.maintenance.view()
    const group = await cleanByHand(nodeFileSystem, join(data, 't-0'), view, batch => batch.baseOffset % step === 0)
    await log.maintenance.replace(view, group)
    await log.maintenance.removeDeleted()
  }
  done = true
  await Promise.all(readers)
  t.ok(rounds > 3, `${rounds} passes`)
  await log.close()
  const names = await readdir(join(data, 't-0'))
  t.notOk(names.some(name => /\.(?:deleted|swap|cleaned)$/.test(name)))
})

for (const [durability, writers] of [
  ['batch', 1],
  ['batch', 5],
  ['interval', 5]
] as const) {
  t.test(`${writers} that append one after the other, ${durability}, leave a turn to others`, async t => {
    const most = 3000
    const fs = new MemoryFileSystem()
    await fs.makeDirectory('/data')
    const log = await reopen(fs, undefined, { durability })
    let appended = 0
    let isOver = false
    const write = async (): Promise<void> => {
      for (; appended < most && !isOver; appended += 1) await log.append(numbered(1), { ownBatch: true })
    }
    const done = Promise.all(Array.from({ length: writers }, write))
    for (let times = 1; times <= 3; times += 1) {
      const before = appended
      await log.maintenance.view()
      t.ok(appended - before < 100, `it came after ${appended - before} appends`)
    }
    isOver = true
    await done
    t.equal((await valuesOf(log.records({ from: 'earliest' }))).length, log.logEndOffset)
    await log.close()
  })
}
