import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { Store } from '../../lib/store/store.ts'
import { tempDir } from '../helpers/paths.ts'
import { brokersDirectory, crashImage, values } from './helpers.ts'

type Test = Parameters<typeof tempDir>[0]

/** A directory of ours with `orders`, two partitions, several segments; 40 records in the first. */
async function ours(t: Test): Promise<string> {
  const dir = join(await tempDir(t), 'ours')
  const store = await Store.open(dir)
  await store.createTopic('orders', { partitions: 2, configs: { 'segment.bytes': '1000' } })
  const log = await store.openLog('orders', 0)
  for (let i = 0; i < 40; i += 1) await log.append([{ key: `k${i}`, value: `v${i}` }])
  await log.deleteRecordsBefore(5)
  await (await store.openLog('orders', 1)).append([{ value: 'other' }])
  await store.close()
  return dir
}

/** A broker's directory in which the broker made an empty topic `orders`, at leader epoch `epoch`. */
async function theirs(t: Test, { partitions = 2, epoch = 0 } = {}): Promise<string> {
  const dir = await brokersDirectory(t)
  await mkdir(join(dir, '__cluster_metadata-0'))
  for (let partition = 0; partition < partitions; partition += 1) {
    const folder = join(dir, `orders-${partition}`)
    await mkdir(folder)
    for (const suffix of ['log', 'index', 'timeindex'])
      await writeFile(join(folder, `00000000000000000000.${suffix}`), '')
    await writeFile(join(folder, 'partition.metadata'), 'version: 0\ntopic_id: q1AVZFFP-YJMErGkNo5xZw')
    await writeFile(join(folder, 'leader-epoch-checkpoint'), `0\n1\n${epoch} 0\n`)
  }
  return dir
}

t.test("a topic of ours becomes the broker's: its records, the broker's id, a clean directory", async t => {
  const [from, to] = [await ours(t), await theirs(t)]
  const report = await Store.handOver('orders', from, to)
  t.match(report, {
    topic: 'orders',
    partitions: [
      { partition: 0, logStartOffset: 5, logEndOffset: 40, epochsLowered: 0 },
      { partition: 1, logStartOffset: 0, logEndOffset: 1 }
    ]
  })
  t.equal(await readFile(join(to, '.kafka_cleanshutdown'), 'utf8'), '{"version":0,"brokerEpoch":158}')
  const checkpoint = async (name: string) => (await readFile(join(to, name), 'utf8')).split('\n')
  t.ok((await checkpoint('recovery-point-offset-checkpoint')).includes('orders 0 40'))
  t.ok((await checkpoint('replication-offset-checkpoint')).includes('orders 0 40'))
  t.ok((await checkpoint('log-start-offset-checkpoint')).includes('orders 0 5'))
  t.ok((await checkpoint('recovery-point-offset-checkpoint')).includes('plain 0 265'), "the broker's own lines stay")
  t.match(await readFile(join(to, 'orders-0', 'partition.metadata'), 'utf8'), /q1AVZFFP-YJMErGkNo5xZw/)
  t.notOk((await readdir(join(to, 'orders-0'))).some(name => name.includes('incoming') || name.includes('hand-over')))
  const store = await Store.open(to, { readOnly: true })
  t.same(
    await values(await store.openLog('orders', 0)),
    Array.from({ length: 35 }, (_, i) => `v${i + 5}`)
  )
  await store.close()
  const still = await Store.open(from)
  t.equal((await values(await still.openLog('orders', 0))).length, 35, 'ours keeps its copy')
  await still.close()
})

t.test('leader epochs above the one of the broker are lowered to it, others stay', async t => {
  const from = await ours(t)
  // As if another leader had written the second half: epoch 7.
  const [first] = (await readdir(join(from, 'orders-0')))
    .filter(name => name.endsWith('.log'))
    .sort()
    .reverse()
  const path = join(from, 'orders-0', first!)
  const bytes = await readFile(path)
  bytes.writeInt32BE(7, 12)
  await writeFile(path, bytes)
  const base = Number(first!.slice(0, 20))
  await writeFile(join(from, 'orders-0', 'leader-epoch-checkpoint'), `0\n2\n0 0\n7 ${base}\n`)
  await rm(join(from, 'heartwood-topics'))
  const to = await theirs(t, { epoch: 3 })
  const report = await Store.handOver('orders', from, to)
  t.ok(report.partitions[0]!.epochsLowered > 0)
  const epochs = await readFile(join(to, 'orders-0', 'leader-epoch-checkpoint'), 'utf8')
  t.notMatch(epochs, /^7 /m)
  const store = await Store.open(to, { readOnly: true })
  t.ok((await store.openLog('orders', 0)).leaderEpoch <= 3)
  await store.close()
})

t.test('a target that holds records, has other partitions or no such topic is refused, untouched', async t => {
  const from = await ours(t)
  const full = await theirs(t)
  const store = await Store.open(full)
  await (await store.openLog('orders', 1)).append([{ value: 'theirs' }])
  await store.close()
  await t.rejects(Store.handOver('orders', from, full), { code: 'INVALID_REQUEST', message: /not empty/ })
  await t.rejects(Store.handOver('orders', from, await theirs(t, { partitions: 3 })), { code: 'INVALID_REQUEST' })
  await t.rejects(Store.handOver('orders', from, await brokersDirectory(t)), { code: 'UNKNOWN_TOPIC_OR_PARTITION' })
  await t.rejects(Store.handOver('nothing', from, full), { code: 'UNKNOWN_TOPIC_OR_PARTITION' })
  await t.rejects(Store.handOver('orders', from, join(from, '..', 'missing')), { code: 'NOT_A_DATA_DIRECTORY' })
  const again = await Store.open(full)
  t.same(await values(await again.openLog('orders', 1)), ['theirs'])
  t.ok(again.status().directories[0]?.cleanAtOpen)
  await again.close()
})

t.test('a hand-over that was interrupted goes on when it is called again', async t => {
  const [from, to] = [await ours(t), await theirs(t)]
  await Store.handOver('orders', from, to)
  // As a crash leaves it in the midst of renaming: the note is there, some segments are not.
  const image = await crashImage(t, to)
  const folder = join(image, 'orders-0')
  await writeFile(join(folder, 'heartwood-hand-over'), '{"topic":"orders","partition":0,"leaderEpoch":0}\n')
  const [, second] = (await readdir(folder)).filter(name => name.endsWith('.log')).sort()
  await rm(join(folder, second!))
  await writeFile(join(folder, `${second}.heartwood-incoming`), 'half')
  await rm(join(image, '.kafka_cleanshutdown'))
  for (const name of await readdir(join(image, 'orders-1'))) {
    if (name !== 'partition.metadata') await rm(join(image, 'orders-1', name))
  }
  await rm(join(image, 'heartwood-topics'))
  const report = await Store.handOver('orders', from, image)
  t.match(report.partitions, [{ logEndOffset: 40 }, { logEndOffset: 1 }])
  const store = await Store.open(image, { readOnly: true })
  t.equal((await values(await store.openLog('orders', 0))).length, 35)
  await store.close()
})
