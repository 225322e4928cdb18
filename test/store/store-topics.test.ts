import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { Store } from '../../lib/store/store.ts'
import { fixture, tempDir } from '../helpers/paths.ts'
import { brokersDirectory, crashImage, values } from './helpers.ts'

t.test(
  'a created topic has an id in every folder, settings, and keeps its records for ever unless told otherwise',
  async t => {
    const dir = join(await tempDir(t), 'data')
    const store = await Store.open(dir)
    const created = await store.createTopic('orders', { partitions: 2, configs: { 'segment.bytes': '2000' } })
    t.match(created, {
      topic: 'orders',
      internal: false,
      configs: { 'retention.ms': '-1', 'segment.bytes': '2000' },
      partitions: [{ partition: 0 }, { partition: 1 }]
    })
    for (const partition of [0, 1]) {
      const metadata = await readFile(join(dir, `orders-${partition}`, 'partition.metadata'), 'utf8')
      t.equal(metadata, `version: 0\ntopic_id: ${created.topicId}`)
    }
    t.equal((await store.openLog('orders', 1)).config.segmentBytes, 2000)
    await store.close()
    const again = await Store.open(dir)
    t.same((await again.describe('orders')).configs, created.configs)
    t.equal((await again.describe('orders')).topicId, created.topicId)
    await again.close()
  }
)

t.test('a topic is refused by name, number and settings, and then leaves nothing behind', async t => {
  const dir = join(await tempDir(t), 'data')
  const store = await Store.open(dir)
  await store.createTopic('a.b')
  const before = await readdir(dir)
  await t.rejects(store.createTopic('a.b'), { code: 'TOPIC_ALREADY_EXISTS' })
  await t.rejects(store.createTopic('a_b'), { code: 'INVALID_TOPIC' })
  await t.rejects(store.createTopic('..'), { code: 'INVALID_TOPIC' })
  await t.rejects(store.createTopic('x/y'), { code: 'INVALID_TOPIC' })
  await t.rejects(store.createTopic('x', { partitions: 0 }), { code: 'INVALID_REQUEST' })
  await t.rejects(store.createTopic('x', { partitions: 1e9 }), { code: 'INVALID_REQUEST' })
  await t.rejects(store.createTopic('x', { configs: { 'no.such': '1' } }), { code: 'INVALID_CONFIG' })
  await t.rejects(store.createTopic('x', { configs: { 'segment.bytes': '-1' } }), { code: 'INVALID_CONFIG' })
  t.same(await readdir(dir), before)
  await store.close()
})

t.test('settings change at once, in open logs too, and stay', async t => {
  const dir = join(await tempDir(t), 'data')
  const store = await Store.open(dir)
  const log = await store.openLog('orders', 0)
  const altered = await store.alterTopic('orders', { set: { 'segment.bytes': '5000' }, delete: ['retention.ms'] })
  t.same(altered.configs, { 'segment.bytes': '5000' })
  t.equal(log.config.segmentBytes, 5000)
  await t.rejects(store.alterTopic('orders', { set: { 'cleanup.policy': 'none' } }), { code: 'INVALID_CONFIG' })
  await t.rejects(store.alterTopic('other', { set: { 'segment.bytes': '5000' } }), {
    code: 'UNKNOWN_TOPIC_OR_PARTITION'
  })
  await store.close()
  const again = await Store.open(dir)
  t.equal((await again.openLog('orders', 0)).config.segmentBytes, 5000)
  await again.close()
})

t.test('the logs of a topic share one configuration: settings are read once, not at every opening', async t => {
  const store = await Store.open('/data', { fs: new MemoryFileSystem() })
  await store.createTopic('orders', { partitions: 2, configs: { 'segment.bytes': '2000' } })
  const [one, other] = [await store.openLog('orders', 0), await store.openLog('orders', 1)]
  t.equal(one.config, other.config)
  await store.alterTopic('orders', { set: { 'segment.bytes': '3000' } })
  t.equal(one.config.segmentBytes, 3000)
  t.equal(one.config, other.config)
  await store.close()
})

t.test('partitions can be added, never taken away', async t => {
  const store = await Store.open(await tempDir(t))
  await store.createTopic('orders')
  t.same((await store.alterTopic('orders', { partitions: 3 })).partitions, [0, 1, 2])
  await (await store.openLog('orders', 2)).append([{ value: 'a' }])
  await t.rejects(store.alterTopic('orders', { partitions: 2 }), { code: 'INVALID_REQUEST' })
  t.same(
    (await store.describe('orders')).partitions.map(({ partition }) => partition),
    [0, 1, 2]
  )
  await store.close()
})

t.test('a deleted topic is gone from folders, checkpoints and settings, and can be made anew', async t => {
  const dir = join(await tempDir(t), 'data')
  const store = await Store.open(dir)
  const log = await store.openLog('orders', 1)
  await log.append([{ value: 'old' }])
  await (await store.openLog('kept', 0)).append([{ value: 'a' }])
  await store.checkpoint()
  const { topicId } = await store.describe('orders')
  await store.deleteTopic('orders')
  t.equal(log.condition, 'closed')
  t.same(
    store.topics().map(({ topic }) => topic),
    ['kept']
  )
  t.notOk((await readdir(dir)).some(name => name.includes('orders')))
  t.notMatch(await readFile(join(dir, 'recovery-point-offset-checkpoint'), 'utf8'), /orders/)
  await t.rejects(store.deleteTopic('orders'), { code: 'UNKNOWN_TOPIC_OR_PARTITION' })
  const anew = await store.openLog('orders', 0)
  t.same(await values(anew), [])
  t.not((await store.describe('orders')).topicId, topicId)
  await store.close()
})

t.test("in a broker's directory topics are read and appended to, but neither created nor deleted", async t => {
  const dir = await brokersDirectory(t)
  await mkdir(join(dir, '__cluster_metadata-0'))
  await writeFile(join(dir, '__cluster_metadata-0', '00000000000000000000.log'), 'untouched')
  const store = await Store.open(dir)
  t.ok(store.brokerOwned)
  await t.rejects(store.createTopic('mine'), { code: 'POLICY_VIOLATION', message: /__cluster_metadata-0/ })
  await t.rejects(store.deleteTopic('plain'), { code: 'POLICY_VIOLATION' })
  await t.rejects(store.alterTopic('plain', { partitions: 2 }), { code: 'POLICY_VIOLATION' })
  await t.rejects(store.openLog('mine', 0), { code: 'UNKNOWN_TOPIC_OR_PARTITION' })
  const log = await store.openLog('plain', 0)
  const { baseOffset } = await log.append([{ value: 'ours' }])
  t.equal(baseOffset, 265)
  await store.close()
  t.same(await readdir(join(dir, '__cluster_metadata-0')), ['00000000000000000000.log'])
  t.match(await readFile(join(dir, 'recovery-point-offset-checkpoint'), 'utf8'), /^plain 0 266$/m)
})

t.test("a broker's topic has unknown settings until somebody states them", async t => {
  const dir = await brokersDirectory(t)
  const store = await Store.open(dir)
  const summary = () => store.topics().find(({ topic }) => topic === 'compacted')
  t.match(summary(), { configs: undefined, managed: false })
  t.equal((await store.describe('compacted')).configs, null)
  t.match((await store.openLog('compacted', 0)).config, {
    retentionMs: undefined,
    retentionBytes: undefined,
    cleanupPolicy: ['delete']
  })
  await store.alterTopic('compacted', { set: { 'segment.bytes': '16384' } })
  t.match(summary(), { configs: { 'segment.bytes': '16384' }, managed: false })
  await store.alterTopic('compacted', { set: { 'cleanup.policy': 'compact' } })
  t.match(summary(), { managed: true })
  await store.close()
  const again = await Store.open(dir, { readOnly: true })
  t.match(
    again.topics().find(({ topic }) => topic === 'compacted'),
    { managed: true }
  )
  t.equal(
    again.topics().some(({ internal }) => internal),
    false
  )
  t.equal(again.topics({ internal: true }).filter(({ internal }) => internal).length, 2)
  await again.close()
})

t.test('settings stated for a topic do not pass to one that its broker made anew under that name', async t => {
  const dir = await brokersDirectory(t)
  const store = await Store.open(dir)
  await store.alterTopic('plain', { set: { 'cleanup.policy': 'delete', 'retention.ms': '1' } })
  await store.close()
  await writeFile(join(dir, 'plain-0', 'partition.metadata'), 'version: 0\ntopic_id: q1AVZFFP-YJMErGkNo5xZw')
  const again = await Store.open(dir)
  await again.openLog('plain', 0)
  t.match(
    again.topics().find(({ topic }) => topic === 'plain'),
    { configs: undefined, managed: false }
  )
  t.match(again.status().warnings, [/made anew/])
  await again.close()
})

t.test('describe gives what a consumer of the broker saw', async t => {
  const store = await Store.open(await brokersDirectory(t), { readOnly: true })
  for (const topic of ['plain', 'segments', 'transactions', 'open-transaction', 'trimmed', 'empty', 'compacted']) {
    const expected = JSON.parse(await readFile(fixture('golden', 'kafka-4.3.1', 'expect', `${topic}.json`), 'utf8'))
    const { logStartOffset, highWatermark, lastStableOffset } = expected
    t.match((await store.describe(topic)).partitions, [{ logStartOffset, highWatermark, lastStableOffset }], topic)
  }
  await store.close()
})

t.test('folders on their way out that are not ours stay as they are', async t => {
  const dir = await brokersDirectory(t)
  const name = `plain-7.${'0'.repeat(32)}-delete`
  await mkdir(join(dir, name))
  await (await Store.open(dir)).close()
  t.ok((await readdir(dir)).includes(name))
})

/** Runs `change` with a power cut after each of its calls, then looks at what the next open finds. */
async function cutEverywhere(
  prepare: (store: Store) => Promise<unknown>,
  change: (store: Store) => Promise<unknown>,
  look: (store: Store, names: string[], at: number) => Promise<void>
): Promise<number> {
  for (let at = 0; ; at += 1) {
    const fs = new MemoryFileSystem()
    const store = await Store.open('/data', { fs })
    await prepare(store)
    let calls = 0
    let cut = false
    fs.onCall = () => {
      calls += 1
      cut ||= calls > at
      if (cut) throw Object.assign(new Error('EIO: power is gone'), { code: 'EIO' })
    }
    const failed = await change(store).then(
      () => false,
      () => true
    )
    fs.onCall = undefined
    if (!failed) {
      await store.close()
      return at
    }
    fs.powerCut()
    const again = await Store.open('/data', { fs })
    await look(
      again,
      (await fs.readDirectory('/data')).map(({ name }) => name),
      at
    )
    await again.close()
  }
}

t.test(
  'wherever the power goes while a topic is created, it is there whole with its settings, or not at all',
  async t => {
    let whole = 0
    let none = 0
    const points = await cutEverywhere(
      store => store.createTopic('other'),
      store => store.createTopic('orders', { partitions: 3, configs: { 'segment.bytes': '2000' } }),
      async (store, names, at) => {
        const topic = store.topics().find(({ topic }) => topic === 'orders')
        if (topic === undefined) {
          none += 1
          t.notOk(
            names.some(name => name.startsWith('orders')),
            `cut ${at}`
          )
          return
        }
        whole += 1
        t.same(topic.partitions, [0, 1, 2], `cut ${at}`)
        t.match(topic.configs, { 'segment.bytes': '2000' }, `cut ${at}`)
        for (const partition of topic.partitions) await store.openLog('orders', partition)
        t.ok((await store.describe('orders')).topicId)
      }
    )
    t.ok(points > 20, `${points} points`)
    t.ok(whole > 0 && none > 0, `${whole} whole, ${none} none`)
  }
)

t.test('whichever call fails while a topic is created, nothing of it stays, and trying again works', async t => {
  for (let at = 0; ; at += 1) {
    const fs = new MemoryFileSystem()
    const store = await Store.open('/data', { fs })
    let calls = 0
    fs.onCall = () => {
      calls += 1
      if (calls === at + 1) throw Object.assign(new Error('ENOSPC: full'), { code: 'ENOSPC' })
    }
    const failed = await store.createTopic('orders', { partitions: 2 }).then(
      () => false,
      error => error.code as string
    )
    fs.onCall = undefined
    if (failed !== false) {
      t.equal(failed, 'NO_SPACE', `call ${at}`)
      const names = (await fs.readDirectory('/data')).map(({ name }) => name)
      const listed = store.topics().length
      // The very last writing only clears the note that something is pending: the topic is there then.
      if (listed === 0) {
        t.notOk(
          names.some(name => name.startsWith('orders')),
          `call ${at}: ${names}`
        )
        await store.createTopic('orders', { partitions: 2 })
      }
      t.same(store.topics()[0]?.partitions, [0, 1])
    }
    await store.close()
    const again = await Store.open('/data', { fs })
    t.same(again.topics()[0]?.partitions, [0, 1], `call ${at}`)
    await again.close()
    if (failed === false) break
  }
})

t.test('wherever the power goes while partitions are added, all of them are there, or none', async t => {
  await cutEverywhere(
    store => store.createTopic('orders', { partitions: 2 }),
    store => store.alterTopic('orders', { partitions: 4 }),
    async (store, _names, at) => {
      const count = store.topics()[0]?.partitions.length
      t.ok(count === 2 || count === 4, `cut ${at}: ${count}`)
    }
  )
})

t.test('wherever the power goes while a topic is deleted, it is there whole, or gone', async t => {
  const outcomes = new Set<string>()
  await cutEverywhere(
    async store => {
      await store.createTopic('orders', { partitions: 2 })
      for (const partition of [0, 1]) await (await store.openLog('orders', partition)).append([{ value: 'a' }])
      await store.checkpoint()
    },
    store => store.deleteTopic('orders'),
    async (store, names, at) => {
      const topic = store.topics().find(({ topic }) => topic === 'orders')
      outcomes.add(topic === undefined ? 'gone' : 'whole')
      if (topic === undefined) {
        t.notOk(
          names.some(name => name.startsWith('orders')),
          `cut ${at}: ${names}`
        )
        return
      }
      t.same(topic.partitions, [0, 1], `cut ${at}`)
      for (const partition of [0, 1]) t.same(await values(await store.openLog('orders', partition)), ['a'], `cut ${at}`)
    }
  )
  t.same([...outcomes].sort(), ['gone', 'whole'])
})

t.test('a topic whose deletion failed half-way can be made anew, and no end of the process mixes the two', async t => {
  for (let at = 0; ; at += 1) {
    const fs = new MemoryFileSystem()
    const store = await Store.open('/data', { fs })
    await store.createTopic('orders', { partitions: 2 })
    await (await store.openLog('orders', 0)).append([{ value: 'old' }])
    let calls = 0
    fs.onCall = ({ operation, path }) => {
      const isOfTopics = path.endsWith('heartwood-topics.tmp') || path === '/data' || operation === 'rename'
      if (isOfTopics && calls++ === at) throw Object.assign(new Error('EIO: broken'), { code: 'EIO' })
    }
    await store.deleteTopic('orders').catch(() => undefined)
    if (calls <= at) break
    const ends: MemoryFileSystem[] = []
    fs.onCall = ({ operation }) => void (/^(sync|rename)/.test(operation) && ends.push(fs.clone()))
    await store.createTopic('orders', { partitions: 2 })
    t.same(await values(await store.openLog('orders', 0)), [], `call ${at}`)
    await store.close()
    for (const [number, end] of ends.entries()) {
      const again = await Store.open('/data', { fs: end })
      t.same(again.status().failed, [], `call ${at}, the process ends at call ${number} of the creation`)
      await again.close()
    }
  }
})

t.test('a topic whose folders another process took away is simply gone', async t => {
  const dir = join(await tempDir(t), 'data')
  const store = await Store.open(dir)
  await store.createTopic('orders')
  await store.createTopic('kept')
  const image = await crashImage(t, dir)
  await store.close()
  const { rm } = await import('node:fs/promises')
  await rm(join(image, 'orders-0'), { recursive: true })
  const again = await Store.open(image)
  t.same(
    again.topics().map(({ topic }) => topic),
    ['kept']
  )
  await again.createTopic('orders', { partitions: 2 })
  await again.close()
})
