import { readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import type { PartitionLog } from '../../lib/log/partition-log.ts'
import { Store } from '../../lib/store/store.ts'
import { tempDir } from '../helpers/paths.ts'
import { photograph, values } from './helpers.ts'

type Test = Parameters<typeof tempDir>[0]

/** A store that was closed cleanly, with one log of three batches. */
async function closedStore(t: Test): Promise<{ dir: string; folder: string }> {
  const dir = join(await tempDir(t), 'data')
  const store = await Store.open(dir)
  await store.createTopic('orders')
  const log = await store.openLog('orders', 0)
  for (const value of ['a', 'b', 'c']) await log.append([{ value }], { ownBatch: true })
  await store.close()
  return { dir, folder: join(dir, 'orders-0') }
}

async function use(dir: string, work: (log: PartitionLog) => Promise<unknown>): Promise<void> {
  const store = await Store.open(dir)
  const log = await store.openLog('orders', 0)
  t.ok(log.recovery.clean)
  await work(log)
  await store.close()
}

t.test('a log that was only read is closed without a byte written', async t => {
  const { dir, folder } = await closedStore(t)
  const before = await photograph(folder)
  await use(dir, async log => {
    t.same(await values(log), ['a', 'b', 'c'])
    await log.offsetForTimestamp(0)
    await log.sync()
  })
  t.same([...(await photograph(folder))], [...before])
  await use(dir, async log => t.same(await values(log), ['a', 'b', 'c']))
})

t.test('an empty log is closed so too', async t => {
  const dir = await tempDir(t)
  const store = await Store.open(dir)
  await store.createTopic('orders')
  await store.openLog('orders', 0)
  await store.close()
  const before = await photograph(join(dir, 'orders-0'))
  await use(dir, async log => t.equal(log.logEndOffset, 0))
  t.same([...(await photograph(join(dir, 'orders-0')))], [...before])
})

t.test('after any change closing leaves what the next opening needs', async t => {
  const changes: Record<string, (log: PartitionLog) => Promise<unknown>> = {
    append: log => log.append([{ value: 'd' }]),
    roll: log => log.roll(),
    cut: log => log.truncateTo(2),
    'cut and append': async log => {
      await log.truncateTo(2)
      await log.append([{ value: 'd' }])
    },
    'delete records': log => log.deleteRecordsBefore(2)
  }
  for (const [name, change] of Object.entries(changes)) {
    const { dir, folder } = await closedStore(t)
    let end = 0
    let content: string[] = []
    await use(dir, async log => {
      await change(log)
      end = log.logEndOffset
      content = await values(log)
    })
    const names = await readdir(folder)
    t.ok(names.includes(`${String(end).padStart(20, '0')}.snapshot`), `${name}: the producers as of the end`)
    await use(dir, async log => {
      t.same(await values(log), content, name)
      t.equal(log.logEndOffset, end)
      t.same(log.recovery.rebuilt, [])
    })
  }
})

t.test('closings leave one snapshot, and those of segments, not one each', async t => {
  const { dir, folder } = await closedStore(t)
  const snapshots = async (): Promise<number[]> => {
    const names = (await readdir(folder)).filter(name => name.endsWith('.snapshot'))
    return names.map(name => Number.parseInt(name, 10)).sort((a, b) => a - b)
  }
  for (let i = 0; i < 3; i += 1) await use(dir, log => log.append([{ value: 'd' }]))
  t.same(await snapshots(), [6])
  await use(dir, log => log.roll())
  t.same(await snapshots(), [6])
  await use(dir, log => log.append([{ value: 'e' }]))
  t.same(await snapshots(), [6, 7], 'that of a segment stays')
})

t.test('what was missing of a clean log is there after the next close', async t => {
  const { dir, folder } = await closedStore(t)
  const snapshot = `${'3'.padStart(20, '0')}.snapshot`
  await rm(join(folder, snapshot))
  await use(dir, async () => undefined)
  t.ok((await readdir(folder)).includes(snapshot))
  // Torn, but of a whole number of entries: found out when it is looked up.
  const index = join(folder, `${'0'.padStart(20, '0')}.timeindex`)
  await writeFile(index, Buffer.alloc(24, 7))
  await use(dir, async log => t.equal((await log.offsetForTimestamp(0))?.offset, 0))
  t.not((await photograph(folder)).get(index.slice(folder.length))?.includes(' 24 '), true)
  await use(dir, async log => t.equal((await log.offsetForTimestamp(0))?.offset, 0))
})
