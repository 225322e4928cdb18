import { chown, mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { Store } from '../../lib/store/store.ts'
import { ManualClock } from '../helpers/manual-clock.ts'
import { tempDir } from '../helpers/paths.ts'
import { brokersDirectory, crashImage, photograph, values } from './helpers.ts'

const MARKER = '.kafka_cleanshutdown'

t.test('what was appended is there after closing and opening again', async t => {
  const dir = await tempDir(t)
  const store = await Store.open(join(dir, 'data'))
  const log = await store.openLog('orders', 2)
  for (let i = 0; i < 10; i += 1) await log.append([{ value: `v${i}` }])
  await store.close()
  t.ok((await readdir(join(dir, 'data'))).includes(MARKER))

  const again = await Store.open(join(dir, 'data'))
  t.same(
    again.topics().map(topic => [topic.topic, topic.partitions, topic.managed]),
    [['orders', [0, 1, 2], true]]
  )
  const reopened = await again.openLog('orders', 2)
  t.ok(reopened.recovery.clean, 'not scanned')
  t.same(await values(reopened), ['v0', 'v1', 'v2', 'v3', 'v4', 'v5', 'v6', 'v7', 'v8', 'v9'])
  await again.close()
})

t.test('directories and files that heartwood makes are readable by their owner alone', async t => {
  const dir = join(await tempDir(t), 'data')
  const store = await Store.open(dir)
  await (await store.openLog('orders', 0)).append([{ value: 'a' }])
  await store.close()
  t.equal((await stat(dir)).mode & 0o777, 0o700)
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    t.equal((await stat(path)).mode & 0o777, entry.isDirectory() ? 0o700 : 0o600, path)
  }
})

t.test('the checkpoints after a close are those that Kafka would read', async t => {
  const dir = await tempDir(t)
  const store = await Store.open(join(dir, 'data'))
  await (await store.openLog('orders', 0)).append([{ value: 'a' }, { value: 'b' }])
  await store.close()
  const read = (name: string) => readFile(join(dir, 'data', name), 'utf8')
  t.equal(await read('recovery-point-offset-checkpoint'), '0\n1\norders 0 2\n')
  t.equal(await read('replication-offset-checkpoint'), '0\n1\norders 0 2\n')
  t.equal(await read(MARKER), '{"version":0,"brokerEpoch":-1}')
  await t.rejects(read('log-start-offset-checkpoint'), { code: 'ENOENT' }, 'nothing to say')
})

t.test('a directory has one writer; others are told who it is', async t => {
  const dir = await tempDir(t)
  const store = await Store.open(dir)
  await t.rejects(Store.open(dir), { code: 'LOCKED' })
  t.match(store.status().directories, [{ lock: /fcntl|sqlite|socket-only/ }])
  await store.close()
  await (await Store.open(dir)).close()
})

t.test('several directories are locked all or not at all, and share the partitions', async t => {
  const dir = await tempDir(t)
  const [a, b] = [join(dir, 'a'), join(dir, 'b')]
  const other = await Store.open(b)
  await t.rejects(Store.open([a, b]), { code: 'LOCKED' })
  await other.close()
  const store = await Store.open([a, b])
  await store.createTopic('orders', { partitions: 5 })
  await (await store.openLog('orders', 4)).append([{ value: 'x' }])
  await store.close()
  const folders = async (path: string) => (await readdir(path)).filter(name => name.startsWith('orders-')).length
  t.same([await folders(a), await folders(b)], [3, 2])
  const again = await Store.open([a, b])
  t.same(await values(await again.openLog('orders', 4)), ['x'])
  t.ok(again.status().directories.every(directory => directory.cleanAtOpen))
  await again.close()
  await t.rejects(Store.open([a, a]), { code: 'INVALID_REQUEST' })
  await t.rejects(Store.open([]), TypeError)
})

t.test('a partition that lies in two directories stops the opening, and nothing stays locked', async t => {
  const dir = await tempDir(t)
  for (const name of ['a', 'b']) {
    const store = await Store.open(join(dir, name))
    await store.createTopic('orders')
    await store.close()
  }
  await t.rejects(Store.open([join(dir, 'a'), join(dir, 'b')]), { code: 'CORRUPT_FILE', message: /two directories/ })
  await (await Store.open(join(dir, 'a'))).close()
})

t.test('opened read-only, not a byte changes, beside a writer and alone', async t => {
  const dir = await tempDir(t)
  const writer = await Store.open(join(dir, 'data'))
  const log = await writer.openLog('orders', 0)
  await log.append([{ value: 'a' }])
  await writer.createTopic('empty')
  const before = await photograph(join(dir, 'data'))
  const reader = await Store.open(join(dir, 'data'), { readOnly: true })
  t.equal(reader.status().directories[0]?.holder?.kind, 'heartwood')
  t.same(await values(await reader.openLog('orders', 0)), ['a'])
  await reader.describe('orders')
  await reader.describe('empty')
  await reader.checkpoint()
  await t.rejects(reader.createTopic('more'), { code: 'READ_ONLY' })
  await t.rejects(reader.alterTopic('orders', { set: { 'retention.ms': '5' } }), { code: 'READ_ONLY' })
  await t.rejects(reader.deleteTopic('orders'), { code: 'READ_ONLY' })
  await t.rejects(reader.openLog('unknown', 0), { code: 'UNKNOWN_TOPIC_OR_PARTITION' })
  await t.rejects((await reader.openLog('orders', 0)).append([{ value: 'b' }]), { code: 'READ_ONLY' })
  await reader.close()
  t.same(await photograph(join(dir, 'data')), before)
  await log.append([{ value: 'b' }])
  await writer.close()

  const closed = await photograph(join(dir, 'data'))
  const alone = await Store.open(join(dir, 'data'), { readOnly: true })
  t.equal(alone.status().directories[0]?.holder, undefined)
  t.same(await values(await alone.openLog('orders', 0)), ['a', 'b'])
  t.match(await alone.describe('empty'), { partitions: [{ partition: 0, logEndOffset: 0 }] })
  await alone.close()
  t.same(await photograph(join(dir, 'data')), closed)
})

t.test('what a crash left is readable without being repaired', async t => {
  const dir = join(await tempDir(t), 'data')
  const writer = await Store.open(dir)
  await (await writer.openLog('orders', 0)).append([{ value: 'a' }])
  const image = await crashImage(t, dir)
  await writer.close()
  const before = await photograph(image)
  const reader = await Store.open(image, { readOnly: true })
  t.same(await values(await reader.openLog('orders', 0)), ['a'])
  await reader.close()
  t.same(await photograph(image), before)
})

t.test('one log object for one partition, opened anew after it was closed', async t => {
  const store = await Store.open(await tempDir(t))
  const [first, second] = await Promise.all([store.openLog('orders', 0), store.openLog('orders', 0)])
  t.equal(first, second)
  t.equal(store.log('orders', 0), first)
  await first.append([{ value: 'a' }])
  await first.close()
  t.equal(store.log('orders', 0), undefined)
  const third = await store.openLog('orders', 0)
  t.not(third, first)
  t.same(await values(third), ['a'])
  await store.close()
})

t.test('two first uses of a topic at once make one topic', async t => {
  const store = await Store.open(await tempDir(t))
  const logs = await Promise.all(Array.from({ length: 8 }, () => store.openLog('orders', 0)))
  t.equal(new Set(logs).size, 1)
  await t.rejects(store.openLog('orders', 1), { code: 'UNKNOWN_TOPIC_OR_PARTITION', message: /has no partition 1/ })
  await t.rejects(store.openLog('orders', -1), { code: 'UNKNOWN_TOPIC_OR_PARTITION' })
  await t.rejects(store.openLog('orders', 1.5), { code: 'UNKNOWN_TOPIC_OR_PARTITION' })
  await t.rejects(store.openLog('../evil', 0), { code: 'INVALID_TOPIC' })
  await t.rejects(store.openLog('__cluster_metadata', 0), { code: 'INVALID_TOPIC' })
  await store.close()
})

t.test('a symbolic link in the place of a partition is never followed', async t => {
  const dir = await tempDir(t)
  const elsewhere = await tempDir(t)
  await mkdir(join(elsewhere, 'x'))
  await writeFile(join(dir, 'meta.properties'), 'version=1\nnode.id=1\n')
  await symlink(join(elsewhere, 'x'), join(dir, 'orders-0'))
  const store = await Store.open(dir)
  await t.rejects(store.openLog('orders', 0), { code: 'UNSAFE_PATH' })
  t.match(store.status().warnings, [/symbolic link/])
  await store.close()
  t.same(await readdir(join(elsewhere, 'x')), [])
})

t.test('after close everything is refused, and closing again is no error', async t => {
  const store = await Store.open(await tempDir(t))
  const log = await store.openLog('orders', 0)
  await Promise.all([store.close(), store.close()])
  await store.close()
  await t.rejects(store.openLog('orders', 0), { code: 'STORE_CLOSED' })
  await t.rejects(store.createTopic('more'), { code: 'STORE_CLOSED' })
  await t.rejects(store.describe('orders'), { code: 'STORE_CLOSED' })
  await t.rejects(store.checkpoint(), { code: 'STORE_CLOSED' })
  t.throws(() => store.topics(), { code: 'STORE_CLOSED' })
  await t.rejects(log.append([{ value: 'a' }]), { code: 'LOG_CLOSED' })
})

t.test('checkpoints are written in the background, and only when something changed', async t => {
  const dir = join(await tempDir(t), 'data')
  const clock = new ManualClock()
  const store = await Store.open(dir, { clock, checkpointIntervalMs: 1000 })
  const log = await store.openLog('orders', 0)
  await log.append([{ value: 'a' }])
  const path = join(dir, 'replication-offset-checkpoint')
  await t.rejects(stat(path), { code: 'ENOENT' })
  clock.advance(1000)
  await store.checkpoint()
  t.equal(await readFile(path, 'utf8'), '0\n1\norders 0 1\n')
  const { mtimeMs, ino } = await stat(path)
  await store.checkpoint()
  t.same({ mtimeMs: (await stat(path)).mtimeMs, ino: (await stat(path)).ino }, { mtimeMs, ino })
  await store.close()
  t.equal(clock.pendingTimers, 0)
})

t.test("the store's defaults hold for topics that say nothing themselves", async t => {
  const store = await Store.open(await tempDir(t), { defaults: { segmentBytes: 4096, durability: 'none' } })
  await store.createTopic('own', { configs: { 'heartwood.durability': 'batch' } })
  t.match((await store.openLog('own', 0)).config, { segmentBytes: 4096, durability: 'batch' })
  t.match((await store.openLog('other', 0)).config, { segmentBytes: 4096, durability: 'none' })
  t.match((await store.openLog('third', 0, { segmentBytes: 8192 })).config, { segmentBytes: 8192, durability: 'none' })
  await store.close()
  await t.rejects(Store.open(await tempDir(t), { defaults: { segmentBytes: 1 } }), { code: 'INVALID_CONFIG' })
})

t.test('records deleted before an offset stay deleted after a crash', async t => {
  const dir = join(await tempDir(t), 'data')
  const store = await Store.open(dir)
  const log = await store.openLog('orders', 0)
  for (let i = 0; i < 5; i += 1) await log.append([{ value: `v${i}` }])
  t.equal(await log.deleteRecordsBefore(3), 3)
  t.equal(await readFile(join(dir, 'log-start-offset-checkpoint'), 'utf8'), '0\n1\norders 0 3\n')
  const image = await crashImage(t, dir)
  await store.close()
  for (const path of [image, dir]) {
    const again = await Store.open(path)
    t.same(await values(await again.openLog('orders', 0)), ['v3', 'v4'])
    await again.close()
  }
})

t.test(
  "files in somebody else's directory are theirs, in mode and as root in owner",
  { skip: process.getuid?.() !== 0 },
  async t => {
    const dir = await brokersDirectory(t)
    const everything = async () => {
      const entries = await readdir(dir, { recursive: true, withFileTypes: true })
      return [dir, ...entries.map(entry => join(entry.parentPath, entry.name))]
    }
    for (const path of await everything()) await chown(path, 12345, 23456)
    const store = await Store.open(dir)
    const log = await store.openLog('plain', 0)
    await log.append([{ value: 'a' }])
    await log.roll()
    await log.append([{ value: 'b' }])
    await log.deleteRecordsBefore(10)
    await store.alterTopic('plain', { set: { 'segment.bytes': '5000' } })
    await store.createTopic('new', { partitions: 2 })
    await store.openLog('new', 1)
    t.equal((await stat(join(dir, '.lock'))).uid, 12345, 'a broker that is no root can lock it')
    await store.close()
    for (const path of await everything()) {
      const { uid, gid, mode } = await stat(path)
      t.same([uid, gid], [12345, 23456], path)
      t.equal(mode & 0o777, (await stat(path)).isDirectory() ? 0o755 : 0o644, path)
    }
  }
)
