import { cp, mkdir, readdir, readFile, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { readManifest } from '../../lib/log/manifest.ts'
import { Store } from '../../lib/store/store.ts'
import { numbered } from '../helpers/logs.ts'
import { manifestWith, untruths } from '../helpers/manifests.ts'
import { ManualClock } from '../helpers/manual-clock.ts'
import { tempDir } from '../helpers/paths.ts'
import { brokersDirectory, photograph, values } from './helpers.ts'

t.test(
  'a backup taken while appends go on opens clean and holds a prefix with all that was acknowledged before',
  async t => {
    const dir = await tempDir(t)
    const store = await Store.open(join(dir, 'data'))
    await store.createTopic('orders', { partitions: 2, configs: { 'segment.bytes': '3000' } })
    const log = await store.openLog('orders', 0)
    let acknowledged = 0
    let stop = false
    const writer = (async () => {
      while (!stop) {
        await log.append([{ value: `v${acknowledged}` }])
        acknowledged += 1
      }
    })()
    while (acknowledged < 150) await new Promise(resolve => setImmediate(resolve))
    const before = acknowledged
    const report = await store.backup(join(dir, 'copy'))
    const after = acknowledged
    stop = true
    await writer
    t.ok(after > before, 'appends went on')
    t.ok(report.linkedFiles > 0)
    t.same(report.skipped, [])
    t.equal(report.partitions, 2)
    await store.close()

    const copy = await Store.open(join(dir, 'copy'))
    t.ok(copy.status().directories[0]?.cleanAtOpen)
    t.equal(copy.status().directories[0]?.otherEngine, undefined)
    t.same((await copy.describe('orders')).configs, { 'retention.ms': '-1', 'segment.bytes': '3000' })
    const copied = await copy.openLog('orders', 0)
    t.ok(copied.recovery.clean)
    const found = await values(copied)
    t.ok(found.length >= before && found.length <= after + 1, `${before} <= ${found.length} <= ${after}`)
    t.same(
      found,
      Array.from({ length: found.length }, (_, i) => `v${i}`)
    )
    // What is written to the copy is not written to the original, and the other way round.
    await copied.append([{ value: 'only here' }])
    await copy.close()
    const original = await Store.open(join(dir, 'data'))
    t.same(
      await values(await original.openLog('orders', 0)),
      Array.from({ length: acknowledged }, (_, i) => `v${i}`)
    )
    await original.close()
  }
)

t.test('a backup has the holds of its logs: what readers still need stays needed', async t => {
  const dir = await tempDir(t)
  const store = await Store.open(join(dir, 'data'))
  const log = await store.openLog('orders', 0)
  for (let i = 0; i < 3; i += 1) await log.append([{ value: `v${i}` }])
  await log.hold('billing', 1)
  await store.backup(join(dir, 'copy'))
  await store.close()
  const copy = await Store.open(join(dir, 'copy'))
  t.match((await copy.openLog('orders', 0)).holds(), [{ name: 'billing', offset: 1 }])
  await copy.close()
})

t.test('with copy, nothing is shared', async t => {
  const dir = await tempDir(t)
  const store = await Store.open(join(dir, 'data'))
  const log = await store.openLog('orders', 0, { segmentBytes: 500 })
  for (let i = 0; i < 20; i += 1) await log.append([{ value: `v${i}` }])
  const report = await store.backup(join(dir, 'copy'), { copy: true })
  t.equal(report.linkedFiles, 0)
  for (const name of await readdir(join(dir, 'copy', 'orders-0'))) {
    t.equal((await stat(join(dir, 'copy', 'orders-0', name))).nlink, 1, name)
  }
  await store.close()
  const copy = await Store.open(join(dir, 'copy'), { readOnly: true })
  t.equal((await values(await copy.openLog('orders', 0))).length, 20)
  await copy.close()
})

t.test('recovering and closing the copy changes nothing in the original, whose files are in use', async t => {
  const dir = await tempDir(t)
  const store = await Store.open(join(dir, 'data'))
  const log = await store.openLog('orders', 0, { segmentBytes: 500 })
  for (let i = 0; i < 50; i += 1) await log.append([{ value: `v${i}` }])
  await log.deleteRecordsBefore(7)
  await store.checkpoint()
  const content = async () =>
    new Map([...(await photograph(join(dir, 'data')))].map(([path, photo]) => [path, photo.split(' ').slice(2).join()]))
  const before = await content()
  await store.backup(join(dir, 'copy'))
  t.same(await content(), before)
  await store.close()
  const copy = await Store.open(join(dir, 'copy'))
  t.equal((await copy.openLog('orders', 0)).logStartOffset, 7)
  await copy.close()
})

t.test("a broker's directory is copied with its metadata and its identity", async t => {
  const dir = await brokersDirectory(t)
  await mkdir(join(dir, '__cluster_metadata-0'))
  await writeFile(join(dir, '__cluster_metadata-0', '00000000000000000000.log'), 'the broker knows')
  const to = join(await tempDir(t), 'copy')
  const store = await Store.open(dir, { readOnly: true })
  const report = await store.backup(to)
  t.equal(report.partitions, 19)
  const described = new Map<string, unknown>()
  for (const { topic } of store.topics({ internal: true }))
    described.set(topic, (await store.describe(topic)).partitions)
  await store.close()
  t.equal(await readFile(join(to, '.kafka_cleanshutdown'), 'utf8'), '{"version":0,"brokerEpoch":158}')
  t.same(await readFile(join(to, 'meta.properties')), await readFile(join(dir, 'meta.properties')))
  t.equal(await readFile(join(to, '__cluster_metadata-0', '00000000000000000000.log'), 'utf8'), 'the broker knows')
  const copy = await Store.open(to)
  t.ok(copy.brokerOwned)
  t.ok(copy.status().directories[0]?.cleanAtOpen)
  for (const [topic, partitions] of described) t.same((await copy.describe(topic)).partitions, partitions, topic)
  await copy.close()
})

t.test('a backup goes to a new or empty folder outside the store, or nowhere', async t => {
  const dir = await tempDir(t)
  const store = await Store.open(join(dir, 'data'))
  await store.createTopic('orders')
  await mkdir(join(dir, 'full'))
  await writeFile(join(dir, 'full', 'x'), '')
  await mkdir(join(dir, 'empty'))
  for (const to of [
    join(dir, 'full'),
    join(dir, 'data'),
    join(dir, 'data', 'inside'),
    dir,
    join(dir, 'no', 'parent')
  ]) {
    await t.rejects(store.backup(to), { code: 'INVALID_REQUEST' }, to)
  }
  await store.backup(join(dir, 'empty'))
  await mkdir(join(dir, 'other.incomplete'))
  await t.rejects(store.backup(join(dir, 'other')), { code: 'INVALID_REQUEST', message: /other\.incomplete/ })
  t.same((await readdir(dir)).sort(), ['data', 'empty', 'full', 'other.incomplete'])
  await store.close()
})

t.test('a log that is corrupt is left out, and the report says so', async t => {
  const dir = await tempDir(t)
  const first = await Store.open(join(dir, 'data'))
  for (const topic of ['a', 'b']) await (await first.openLog(topic, 0)).append([{ value: topic }])
  await first.close()
  await truncate(join(dir, 'data', 'a-0', '00000000000000000000.log'), 30)
  const store = await Store.open(join(dir, 'data'))
  await t.rejects(store.openLog('a', 0), { code: 'CORRUPT_LOG' })
  const report = await store.backup(join(dir, 'copy'))
  t.match(report, { partitions: 1, skipped: [{ partition: 'a-0', error: { code: 'CORRUPT_LOG' } }] })
  await store.close()
})

t.test('from outside, only a log that acknowledges after syncing can be copied beside its writer', async t => {
  const dir = await tempDir(t)
  const writer = await Store.open(join(dir, 'data'))
  const log = await writer.openLog('orders', 0)
  for (let i = 0; i < 10; i += 1) await log.append([{ value: `v${i}` }])
  const reader = await Store.open(join(dir, 'data'), { readOnly: true })
  await reader.backup(join(dir, 'copy'))
  await reader.close()
  const copy = await Store.open(join(dir, 'copy'), { readOnly: true })
  t.equal((await values(await copy.openLog('orders', 0))).length, 10)
  await copy.close()

  await writer.createTopic('loose', { configs: { 'heartwood.durability': 'none' } })
  const second = await Store.open(join(dir, 'data'), { readOnly: true })
  await t.rejects(second.backup(join(dir, 'copy2')), { code: 'LOCKED', message: /durability none/ })
  await second.close()
  await writer.close()
})

t.test('a backup of what a crash left is recovered in the copy alone', async t => {
  const dir = await tempDir(t)
  const store = await Store.open(join(dir, 'data'))
  const log = await store.openLog('orders', 0)
  for (let i = 0; i < 5; i += 1) await log.append([{ value: `v${i}` }])
  await cp(join(dir, 'data', 'orders-0'), join(dir, 'crashed', 'orders-0'), { recursive: true })
  await store.close()
  const path = join(dir, 'crashed', 'orders-0', '00000000000000000000.log')
  await writeFile(path, Buffer.concat([await readFile(path), Buffer.from('torn')]))
  const before = await photograph(join(dir, 'crashed'))
  const reader = await Store.open(join(dir, 'crashed'), { readOnly: true })
  await reader.backup(join(dir, 'copy'))
  await reader.close()
  t.same(await photograph(join(dir, 'crashed')), before)
  const copy = await Store.open(join(dir, 'copy'))
  t.equal((await values(await copy.openLog('orders', 0))).length, 5)
  t.ok(copy.status().directories[0]?.cleanAtOpen)
  await copy.close()
})

t.test('segments that are just being exchanged for compacted ones are in the copy all the same', async t => {
  const fs = new MemoryFileSystem()
  const options = { fs, clock: new ManualClock(), upkeep: { background: false } }
  await fs.makeDirectory('/data')
  await fs.syncDirectory('/')
  const store = await Store.open('/data', options)
  await store.createTopic('orders', { configs: { 'cleanup.policy': 'compact' } })
  const log = await store.openLog('orders', 0)
  for (let i = 0; i < 12; i += 1) await log.append([{ key: `k${i % 3}`, value: `v${i}` }], { ownBatch: true })
  await log.roll()
  let goOn = (): void => undefined
  const held = new Promise<void>(resolve => {
    goOn = resolve
  })
  // The old names are gone, and the new ones not there yet.
  const isThere = new Promise<void>(resolve => {
    fs.onCall = ({ operation, path }) => {
      if (operation !== 'rename' || !path.endsWith('.log.swap')) return undefined
      resolve()
      return held
    }
  })
  const compacted = store.compact({ force: true })
  await isThere
  const backup = store.backup('/copy')
  for (let i = 0; i < 2000; i += 1) await new Promise(resolve => setImmediate(resolve))
  goOn()
  await Promise.all([compacted, backup])
  await store.close()
  const copy = await Store.open('/copy', options)
  t.same(await values(await copy.openLog('orders', 0)), ['v9', 'v10', 'v11'])
  await copy.close()
})

t.test('the manifest of a copy names the sealed segments whose digests are known, and is true', async t => {
  const clock = new ManualClock()
  const fs = new MemoryFileSystem()
  const store = await Store.open('/data', { fs, clock, upkeep: { background: false } })
  await store.createTopic('orders')
  const log = await store.openLog('orders', 0)
  for (let i = 0; i < 3; i += 1) {
    await log.append(numbered(5, 5 * i))
    await log.roll()
    if (i < 2) await manifestWith(fs, '/data/orders-0', clock, i + 1)
  }
  await store.backup('/copy')
  const copied = await readManifest(fs, '/copy/orders-0')
  t.match(copied?.sealed, [{ baseOffset: 0, state: 'sealed', digest: { batches: 1 } }, { baseOffset: 5 }])
  t.same(await untruths(fs, '/copy/orders-0', 0), [])
  await store.close()
  const copy = await Store.open('/copy', { fs, clock, upkeep: { background: false } })
  t.equal((await copy.openLog('orders', 0)).logEndOffset, 15)
  await copy.close()
})
