/** What a store does by itself: retention, compaction, removing what is out of use. */
import { readdirSync, readFileSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { getPriority } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import type { PartitionLog } from '../../lib/log/partition-log.ts'
import { Store } from '../../lib/store/store.ts'
import { manifestWith } from '../helpers/manifests.ts'
import { ManualClock } from '../helpers/manual-clock.ts'
import { tempDir } from '../helpers/paths.ts'
import { values } from './helpers.ts'

t.setTimeout(120_000)

const LOOK_MS = 15_000
const COMPACTED = { 'cleanup.policy': 'compact', 'segment.bytes': '1048576' }

async function made(): Promise<{ fs: MemoryFileSystem; clock: ManualClock; open: () => Promise<Store> }> {
  const fs = new MemoryFileSystem()
  const clock = new ManualClock()
  await fs.makeDirectory('/data')
  await fs.syncDirectory('/')
  return { fs, clock, open: () => Store.open('/data', { fs, clock }) }
}

/** Time passes, with what happens in it. */
async function pass(clock: ManualClock, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= LOOK_MS) {
    await clock.advanceAsync(Math.min(left, LOOK_MS))
    for (let i = 0; i < 2000; i += 1) await new Promise(resolve => setImmediate(resolve))
  }
}

/** `count` records of keys in turn, then a new segment. */
async function fill(log: PartitionLog, count: number, keys: number): Promise<void> {
  for (let i = 0; i < count; i += 1) await log.append([{ key: `k${i % keys}`, value: `v${i}` }], { ownBatch: true })
  await log.roll()
}

const namesIn = async (fs: MemoryFileSystem, folder: string, suffix: string): Promise<string[]> =>
  (await fs.readDirectory(folder)).map(({ name }) => name).filter(name => name.endsWith(suffix))

t.test('retention happens by itself, and its files go when their time is over', async t => {
  const { fs, clock, open } = await made()
  const store = await open()
  await store.createTopic('orders', { configs: { 'retention.ms': '20000', 'file.delete.delay.ms': '60000' } })
  const log = await store.openLog('orders', 0)
  await fill(log, 5, 5)
  await pass(clock, LOOK_MS)
  t.equal(log.logStartOffset, 0, 'not asked yet')
  await pass(clock, LOOK_MS)
  t.equal(log.logStartOffset, 5)
  t.match(store.status().upkeep, { retention: { deletedSegments: 1 }, reclaimedBytes: 0 })
  t.ok(store.status().upkeep.reclaimableBytes > 0)
  t.equal((await namesIn(fs, '/data/orders-0', '.log.deleted')).length, 1)
  await pass(clock, 75_000)
  t.same(await namesIn(fs, '/data/orders-0', '.deleted'), [])
  t.match(store.status().upkeep, { reclaimableBytes: 0 })
  t.ok(store.status().upkeep.reclaimedBytes > 0)
  await store.close()
})

t.test('a log that nobody has opened is looked after as well', async t => {
  const { clock, open } = await made()
  const before = await open()
  await before.createTopic('orders', { configs: { 'retention.ms': '1000' } })
  await fill(await before.openLog('orders', 0), 5, 5)
  await before.close()
  const store = await open()
  await pass(clock, 2 * LOOK_MS)
  t.equal((await store.openLog('orders', 0)).logStartOffset, 5)
  await store.close()
})

t.test('the dirtiest log is cleaned first, and the checkpoint says how far', async t => {
  const { fs, clock, open } = await made()
  const store = await open()
  for (const topic of ['a', 'b', 'c']) await store.createTopic(topic, { configs: COMPACTED })
  await store.createTopic('plain')
  for (const topic of ['a', 'b', 'c', 'plain']) await fill(await store.openLog(topic, 0), 12, 3)
  // A part of `a` is clean already.
  await store.compact({ topics: ['a'] })
  await fill(await store.openLog('a', 0), 24, 3)
  const order: string[] = []
  const { subscribe, unsubscribe } = await import('node:diagnostics_channel')
  const note = (message: unknown): void => void order.push((message as { topic: string }).topic)
  subscribe('heartwood:compaction', note)
  t.teardown(() => unsubscribe('heartwood:compaction', note))
  await pass(clock, LOOK_MS)
  t.same(order.at(-1), 'a')
  t.equal(order.length, 3, order.join())
  for (const topic of ['b', 'c']) t.same(await values(await store.openLog(topic, 0)), ['v9', 'v10', 'v11'])
  t.same(await values(await store.openLog('a', 0)), ['v21', 'v22', 'v23'])
  t.equal((await values(await store.openLog('plain', 0))).length, 12)
  t.match(store.status().upkeep, { cleanings: 4, setbacks: [], cleanerHost: 'inline', cleaning: undefined })
  t.ok(store.status().upkeep.cleanedAwayBytes > 0)
  const checkpoint = await fs.open('/data/cleaner-offset-checkpoint', 'read')
  const bytes = Buffer.alloc(200)
  const lines = bytes.subarray(0, await checkpoint.read(bytes, 0)).toString()
  await checkpoint.close()
  t.match(lines, /^0\n3\n/)
  t.match(lines, /\nb 0 12\n/)
  t.match(lines, /\na 0 36\n/)
  const { partitions } = await store.describe('b')
  t.match(partitions[0], { compaction: { firstDirtyOffset: 12, due: false, reason: 'nothing-dirty', failures: 0 } })
  await store.close()
})

t.test('a log whose cleaning fails is told of and tried again later; the others go on', async t => {
  const { fs, clock, open } = await made()
  const store = await open()
  for (const topic of ['bad', 'good']) await store.createTopic(topic, { configs: COMPACTED })
  for (const topic of ['bad', 'good']) await fill(await store.openLog(topic, 0), 12, 3)
  const handle = await fs.open('/data/bad-0/00000000000000000000.log', 'write')
  const one = Buffer.alloc(1)
  await handle.read(one, 200)
  const flip = async (): Promise<void> => {
    one[0] = (one[0] as number) ^ 1
    await handle.write(one, 200)
  }
  await flip()
  await pass(clock, LOOK_MS)
  t.same(await values(await store.openLog('good', 0)), ['v9', 'v10', 'v11'])
  t.match(store.status().upkeep.setbacks, [
    { topic: 'bad', partition: 0, what: 'compaction', failures: 1, error: { code: 'CORRUPT_LOG' } }
  ])
  const described = async () => (await store.describe('bad')).partitions[0]
  t.match(await described(), { compaction: { due: true, failures: 1, lastError: { code: 'CORRUPT_LOG' } } })
  t.same(await namesIn(fs, '/data/bad-0', '.cleaned'), [], 'nothing is left of the attempt')
  await pass(clock, LOOK_MS)
  t.match(store.status().upkeep.setbacks, [{ failures: 2 }])
  await pass(clock, LOOK_MS)
  t.match(store.status().upkeep.setbacks, [{ failures: 2 }], 'the pauses double')
  await flip()
  await pass(clock, LOOK_MS)
  t.same(store.status().upkeep.setbacks, [])
  t.match(await described(), { compaction: { due: false, failures: 0, lastError: null } })
  t.same(await values(await store.openLog('bad', 0)), ['v9', 'v10', 'v11'])
  await handle.close()
  await store.close()
})

t.test('a topic whose settings nobody has stated is left alone', async t => {
  const { fs, clock, open } = await made()
  const before = await open()
  await before.createTopic('orders', { configs: { ...COMPACTED, 'retention.ms': '1' } })
  await fill(await before.openLog('orders', 0), 12, 3)
  await before.close()
  await fs.unlink('/data/heartwood-topics')
  const store = await open()
  await pass(clock, 4 * LOOK_MS)
  t.equal((await values(await store.openLog('orders', 0))).length, 12)
  const { partitions } = await store.compact({ force: true })
  t.match(partitions, [{ judgement: { due: false, reason: 'unknown-settings' }, cleaned: undefined }])
  t.match((await store.retain({ dryRun: true })).deletedSegments, 0)
  await store.alterTopic('orders', { set: { 'cleanup.policy': 'compact' } })
  await pass(clock, LOOK_MS)
  t.same(await values(await store.openLog('orders', 0)), ['v9', 'v10', 'v11'], 'now they are stated')
  await store.close()
})

t.test('an active segment that is old is closed, so that the cleaner gets to it', async t => {
  const { clock, open } = await made()
  const store = await open()
  await store.createTopic('orders', { configs: { ...COMPACTED, 'max.compaction.lag.ms': '60000' } })
  const log = await store.openLog('orders', 0)
  for (const value of ['a', 'b']) await log.append([{ key: 'k', value, timestamp: clock.now() }], { ownBatch: true })
  await pass(clock, 2 * LOOK_MS)
  t.equal(log.segments().length, 1)
  await pass(clock, 4 * LOOK_MS)
  t.equal(log.segments().length, 2)
  t.same(await values(log), ['b'])
  await store.close()
})

t.test('paused, nothing begins; resumed, it goes on', async t => {
  const { clock, open } = await made()
  const store = await open()
  await store.createTopic('orders', { configs: COMPACTED })
  const log = await store.openLog('orders', 0)
  await fill(log, 12, 3)
  store.pauseUpkeep()
  t.equal(store.status().upkeep.paused, true)
  await pass(clock, 3 * LOOK_MS)
  t.equal((await values(log)).length, 12)
  store.resumeUpkeep()
  await pass(clock, LOOK_MS)
  t.equal((await values(log)).length, 3)
  await store.close()
})

t.test('what a named reader holds is not cleaned before it has moved on', async t => {
  const { open } = await made()
  const store = await open()
  await store.createTopic('orders', { configs: COMPACTED })
  const log = await store.openLog('orders', 0)
  for (let round = 0; round < 3; round += 1) await fill(log, 6, 3)
  await log.hold('billing', 7)
  const held = { firstUncleanableOffset: 6, heldBackBy: 'hold' }
  t.match((await store.compact()).partitions, [{ judgement: { due: true, ...held }, cleaned: { endOffset: 6 } }])
  t.equal((await values(log)).length, 3 + 12)
  t.match((await store.compact()).partitions, [{ judgement: { due: false, reason: 'held-back', ...held } }])
  await log.releaseHold('billing')
  await store.compact()
  t.equal((await values(log)).length, 3)
  await store.close()
})

t.test('a log that is cut behind what was cleaned is dirty again from there on', async t => {
  const { open } = await made()
  const store = await open()
  await store.createTopic('orders', { configs: COMPACTED })
  const log = await store.openLog('orders', 0)
  await fill(log, 12, 3)
  await store.compact()
  await log.truncateTo(10)
  await fill(log, 6, 3)
  await store.checkpoint()
  t.match((await store.describe('orders')).partitions[0], { compaction: { firstDirtyOffset: 10 } })
  // A segment that both parts share counts for both: just half of it is dirty.
  await store.compact({ force: true })
  t.same(await values(log), ['v3', 'v4', 'v5'])
  await store.close()
})

for (const [what, change] of [
  ['its beginning is deleted', (log: PartitionLog) => log.deleteRecordsBefore(24)],
  ['its end is cut off', (log: PartitionLog) => log.truncateTo(5)],
  ['the end of a segment is cut off', (log: PartitionLog) => log.truncateTo(20)]
] as const) {
  t.test(`a log of which a part goes while it is cleaned: ${what}`, async t => {
    const { fs, clock, open } = await made()
    const store = await open()
    const configs = { ...COMPACTED, 'cleanup.policy': 'compact,delete', 'file.delete.delay.ms': '0' }
    await store.createTopic('orders', { configs })
    const log = await store.openLog('orders', 0)
    for (let i = 0; i < 3; i += 1) await fill(log, 12, 3)
    // What was sealed is read for its digest, once.
    await manifestWith(fs, '/data/orders-0', clock, 3)
    let changes = 0
    fs.onCall = async ({ operation, path }) => {
      if (operation !== 'open' || !path.endsWith('0012.log')) return
      fs.onCall = undefined
      changes += 1
      await change(log)
    }
    await pass(clock, LOOK_MS)
    t.equal(changes, 1, 'in the middle of it')
    t.same(store.status().upkeep.setbacks, [], 'is no failure')
    t.equal(store.status().upkeep.cleanings, 0)
    for (let i = 0; i < 3; i += 1) await fill(log, 12, 3)
    await pass(clock, LOOK_MS)
    t.equal(store.status().upkeep.cleanings, 1, 'and the next look finds it as it is then')
    t.same(await namesIn(fs, '/data/orders-0', '.cleaned'), [])
    t.equal(new Set(await values(log)).size, (await values(log)).length)
    await store.close()
  })
}

t.test('closing a store stops a cleaning in its worker thread, and leaves nothing behind', async t => {
  const dir = join(await tempDir(t), 'data')
  const upkeep = { background: false, cleanerBytesPerSecond: 20_000 }
  const store = await Store.open(dir, { upkeep })
  t.equal(store.status().upkeep.cleanerHost, 'worker')
  await store.createTopic('orders', { configs: COMPACTED })
  const log = await store.openLog('orders', 0)
  const records = Array.from({ length: 2000 }, (_, i) => ({ key: `k${i % 10}`, value: Buffer.alloc(100, i) }))
  await log.append(records)
  await log.roll()
  const cleaning = store.compact()
  const refused = t.rejects(cleaning, { code: 'ABORTED' })
  if (process.platform === 'linux') {
    const [own, behind] = [getPriority(), Math.min(getPriority() + 10, 19)]
    await until(() => nicenessOfThreads().includes(behind))
    t.equal(nicenessOfThreads()[0], own, 'the thread of the program is where it was')
  }
  await new Promise(resolve => setTimeout(resolve, 400))
  const begun = performance.now()
  await store.close()
  t.ok(performance.now() - begun < 10_000, 'at this rate it would have taken 20 s')
  await refused
  t.notOk((await readdir(join(dir, 'orders-0'))).some(name => /\.(?:cleaned|swap)$/.test(name)))
  const again = await Store.open(dir, { upkeep: { background: false } })
  t.equal((await values(await again.openLog('orders', 0))).length, 2000)
  const controller = new AbortController()
  controller.abort()
  await t.rejects(again.compact({ signal: controller.signal }), { code: 'ABORTED' })
  const { partitions } = await again.compact()
  t.match(partitions, [{ cleaned: { rounds: 1, stats: { recordsRead: 2000, recordsKept: 10 } } }])
  t.equal((await values(await again.openLog('orders', 0))).length, 10)
  await again.close()
})

/** Of this process, its own thread first. */
function nicenessOfThreads(): number[] {
  const folder = '/proc/self/task'
  const ids = readdirSync(folder).sort((a, b) => Number(a) - Number(b))
  return ids.map(id =>
    Number(
      readFileSync(join(folder, id, 'stat'), 'utf8')
        .replace(/^.*\) /, '')
        .split(' ')[16]
    )
  )
}

async function until(isSo: () => boolean): Promise<void> {
  for (let tries = 0; !isSo(); tries += 1) {
    if (tries === 3000) throw new Error('it did not come to be so')
    await new Promise(resolve => setTimeout(resolve, 10))
  }
}

t.test('keys that do not fit into the map take several rounds', async t => {
  const { fs, clock } = await made()
  const store = await Store.open('/data', { fs, clock, upkeep: { cleanerMapBytes: 24 * 64 } })
  await store.createTopic('orders', { configs: COMPACTED })
  const log = await store.openLog('orders', 0)
  for (let round = 0; round < 2; round += 1) await fill(log, 300, 300)
  const { partitions } = await store.compact()
  const [{ cleaned }] = partitions as unknown as [{ cleaned: { rounds: number } }]
  t.ok(cleaned.rounds > 5, `${cleaned.rounds} rounds`)
  t.equal((await values(log)).length, 300)
  await store.close()
})

t.test('a dry run says what would go and changes nothing, read-only too', async t => {
  const { fs, clock, open } = await made()
  const store = await open()
  await store.createTopic('orders', { configs: COMPACTED })
  const log = await store.openLog('orders', 0)
  await fill(log, 12, 3)
  const expected = [{ cleaned: { stats: { recordsRead: 12, recordsKept: 3, superseded: 9 } } }]
  t.match((await store.compact({ dryRun: true })).partitions, expected)
  t.equal((await values(log)).length, 12)
  await store.close()
  const reader = await Store.open('/data', { fs, clock, readOnly: true })
  t.match((await reader.compact({ dryRun: true })).partitions, expected)
  await t.rejects(reader.compact(), { code: 'READ_ONLY' })
  await reader.close()
  const again = await open()
  t.match((await again.compact()).partitions, expected)
  await again.close()
})

async function firstDirty(store: Store): Promise<number> {
  const [partition] = (await store.describe('a')).partitions
  if (partition === undefined || !('compaction' in partition)) throw new Error('a compacted partition is described so')
  return partition.compaction?.firstDirtyOffset ?? Number.NaN
}

t.test('a log that was cut is cleaned from there on once, not for ever', async t => {
  const { open } = await made()
  const store = await open()
  await store.createTopic('a', { configs: COMPACTED })
  const log = await store.openLog('a', 0)
  await fill(log, 12, 3)
  await store.compact()
  t.equal(await firstDirty(store), 12)
  await log.truncateTo(6)
  t.equal(await firstDirty(store), 6, 'at once')
  await fill(log, 12, 3)
  await store.compact({ force: true })
  const end = log.logEndOffset
  t.equal(await firstDirty(store), end)
  await store.checkpoint()
  t.equal(await firstDirty(store), end, 'the cut was taken into account already')
  await store.close()
})

t.test('a cut beside a cleaning leaves dirty what comes behind it', async t => {
  const { fs, open } = await made()
  const store = await open()
  await store.createTopic('a', { configs: COMPACTED })
  const log = await store.openLog('a', 0)
  await fill(log, 12, 3)
  await fill(log, 12, 3)
  let isCut = false
  fs.onCall = ({ operation, path }) => {
    if (isCut || operation !== 'rename' || !path.endsWith('.log.swap')) return
    isCut = true
    void log.truncateTo(6)
  }
  await store.compact({ force: true })
  fs.onCall = undefined
  t.ok(isCut)
  t.ok((await firstDirty(store)) <= 6, 'whichever came first')
  await store.close()
})

t.test('a transaction index that an ended cleaning has left does not become that of the next one', async t => {
  const { fs, open } = await made()
  const store = await open()
  await store.createTopic('a', { configs: COMPACTED })
  const log = await store.openLog('a', 0)
  await fill(log, 12, 3)
  const stale = await fs.open('/data/a-0/00000000000000000000.txnindex.cleaned', 'truncate')
  await stale.write(Buffer.alloc(34), 0)
  await stale.close()
  await store.compact({ force: true })
  t.same(await namesIn(fs, '/data/a-0', '.txnindex'), [])
  await store.close()
})

t.test('retention does not wait for a cleaning, however slow it is', async t => {
  const { fs, clock } = await made()
  const upkeep = { retentionEveryMs: 60_000, cleanerBytesPerSecond: 10 }
  const store = await Store.open('/data', { fs, clock, upkeep })
  const short = { 'retention.ms': '100000', 'file.delete.delay.ms': '1000' }
  await store.createTopic('table', {
    configs: { ...COMPACTED, 'cleanup.policy': 'compact,delete', 'retention.ms': '-1' }
  })
  await store.createTopic('both', { configs: { ...COMPACTED, ...short, 'cleanup.policy': 'compact,delete' } })
  await store.createTopic('orders', { configs: short })
  await fill(await store.openLog('both', 0), 18, 3)
  await pass(clock, LOOK_MS)
  t.match(store.status().upkeep.cleaning, { topic: 'both' })
  const log = await store.openLog('orders', 0)
  await fill(log, 12, 3)
  await fill(await store.openLog('table', 0), 12, 3)
  const table = t.rejects(store.compact({ topics: ['table'] }), { code: 'ABORTED' })
  await pass(clock, 3 * 60_000)
  t.match(store.status().upkeep, { cleaning: { topic: 'both' }, cleanings: 0 }, 'it goes on')
  t.equal(log.logStartOffset, 12)
  t.same(await namesIn(fs, '/data/orders-0', '.deleted'), [])
  const both = await store.openLog('both', 0)
  t.equal(both.logStartOffset, 0, 'what is being cleaned is passed over')
  await pass(clock, 3 * 60_000)
  t.match(store.status().upkeep.cleaning, { topic: 'table' })
  t.equal(both.logStartOffset, 18, 'and has its turn at once when that is over')
  await store.close()
  await table
})

t.test('retention that is asked for does not wait for a cleaning that is asked for, which begins again', async t => {
  const { fs, clock, open } = await made()
  const store = await open()
  const configs = { ...COMPACTED, 'cleanup.policy': 'compact,delete', 'retention.ms': '3600000' }
  await store.createTopic('orders', { configs })
  const log = await store.openLog('orders', 0)
  await fill(log, 12, 3)
  const firstAt = clock.now()
  await clock.advanceAsync(1000)
  for (let i = 0; i < 2; i += 1) await fill(log, 12, 3)
  await manifestWith(fs, '/data/orders-0', clock, 3)
  let retained: unknown
  fs.onCall = async ({ operation, path }) => {
    if (operation !== 'open' || !path.endsWith('0000.log')) return
    fs.onCall = undefined
    retained = await store.retain({ now: firstAt + 3_600_001 })
  }
  const { partitions } = await store.compact()
  t.match(retained, { deletedSegments: 1 }, 'in the middle of it')
  t.match(partitions, [{ judgement: { due: true }, cleaned: { stats: { recordsRead: 24 } } }])
  t.same(await values(log), ['v9', 'v10', 'v11'])
  await store.close()
})
