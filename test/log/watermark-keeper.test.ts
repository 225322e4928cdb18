import { join } from 'node:path'
import t from 'tap'
import { HandleCache } from '../../lib/fs/handle-cache.ts'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { nodeFileSystem } from '../../lib/fs/node-file-system.ts'
import { type Watermark, WatermarkFile } from '../../lib/log/watermark-file.ts'
import { WatermarkKeeper } from '../../lib/log/watermark-keeper.ts'
import { openLog } from '../helpers/logs.ts'
import { ManualClock } from '../helpers/manual-clock.ts'
import { tempDir } from '../helpers/paths.ts'

async function keeper() {
  const fs = new MemoryFileSystem()
  await fs.makeDirectory('/p')
  const handles = new HandleCache(fs)
  const file = (await WatermarkFile.open(fs, '/p', { create: true, handles })) as WatermarkFile
  // The first write of a process syncs what the one before may have left.
  await file.sync()
  const clock = new ManualClock()
  const failures: unknown[] = []
  const made = new WatermarkKeeper(file, clock, error => failures.push(error))
  const inFile = async () => (await WatermarkFile.open(fs, '/p', { readOnly: true }))?.read()?.offset
  const raise = (offset: number) =>
    made.raise({ offset, segmentBaseOffset: 0, position: offset * 100, lastBatchCrc: 7 }, 'synced')
  return { fs, clock, keeper: made, raise, inFile, failures }
}

const settled = () => new Promise(resolve => setImmediate(resolve))

t.test(
  'the first mark is written at once, of those within 10 ms the newest, and each is synced in a second',
  async t => {
    const { fs, clock, raise, inFile, keeper: made } = await keeper()
    let writes = 0
    let syncs = 0
    fs.onCall = ({ operation }) => {
      if (operation === 'write') writes += 1
      if (operation === 'datasync') syncs += 1
      return undefined
    }
    raise(1)
    await settled()
    t.equal(await inFile(), 1)
    for (let offset = 2; offset < 100; offset += 1) raise(offset)
    await settled()
    t.equal(await inFile(), 1)
    t.equal(writes, 1)
    clock.advance(10)
    await settled()
    t.equal(await inFile(), 99)
    t.equal(writes, 2)
    clock.advance(1_000)
    await settled()
    t.equal(syncs, 1)
    await made.close()
  }
)

t.test('settling and closing wait for no timer', async t => {
  const { clock, raise, inFile, keeper: made } = await keeper()
  raise(1)
  raise(2)
  await made.settle()
  t.equal(await inFile(), 2)
  raise(3)
  await made.close()
  t.equal(await inFile(), 3)
  t.equal(clock.pendingTimers, 0)
})

t.test('a mark that cannot be written is told, and the next one is tried', async t => {
  const { fs, clock, raise, inFile, failures } = await keeper()
  fs.onCall = ({ operation }) => {
    if (operation === 'write') throw Object.assign(new Error('EIO: made to fail'), { code: 'EIO' })
    return undefined
  }
  raise(1)
  await settled()
  t.equal(failures.length, 1)
  fs.onCall = undefined
  raise(2)
  clock.advance(10)
  await settled()
  t.equal(await inFile(), 2)
})

t.test('that a sync of the log failed is in the file, even if the first sync of the file fails as well', async t => {
  const { fs, raise, failures, keeper: made } = await keeper()
  raise(5)
  let syncs = 0
  fs.onCall = ({ operation }) => {
    if (operation !== 'datasync') return undefined
    syncs += 1
    if (syncs === 1) throw Object.assign(new Error('EIO: made to fail'), { code: 'EIO' })
    return undefined
  }
  await made.noteFailedSync(0, 'synced')
  t.equal(failures.length, 1)
  const read = (await WatermarkFile.open(fs, '/p', { readOnly: true }))?.read()
  t.match(read, { offset: 5, syncFailed: true })
})

t.test('that a sync of the log failed gets into the file once the disk lets it, or at closing', async t => {
  for (const atClosing of [false, true]) {
    const { fs, clock, raise, failures, keeper: made } = await keeper()
    const inFile = async () => (await WatermarkFile.open(fs, '/p', { readOnly: true }))?.read()
    raise(5)
    await made.settle()
    fs.onCall = ({ operation }) => {
      if (operation === 'write' || operation === 'datasync')
        throw Object.assign(new Error('EIO: made to fail'), { code: 'EIO' })
      return undefined
    }
    await t.rejects(made.noteFailedSync(0, 'synced'), { code: 'EIO' })
    for (let second = 0; second < 3; second += 1) {
      clock.advance(1000)
      await settled()
    }
    t.match(await inFile(), { offset: 5, syncFailed: false })
    t.equal(failures.length, 3, 'each attempt is told of')
    fs.onCall = undefined
    if (!atClosing) clock.advance(1000)
    else await made.close()
    await settled()
    t.match(await inFile(), { offset: 5, syncFailed: true })
    await made.close()
    t.equal(clock.pendingTimers, 0)
  }
})

t.test('a shortage of descriptors at the first mark does not keep later ones out of the file', async t => {
  const fs = new MemoryFileSystem()
  await fs.makeDirectory('/p')
  const handles = new HandleCache(fs)
  const file = (await WatermarkFile.open(fs, '/p', { create: true, handles })) as WatermarkFile
  await handles.forgetFolder('/p')
  fs.onCall = ({ operation }) => {
    if (operation === 'open') throw Object.assign(new Error('EMFILE: made to fail'), { code: 'EMFILE' })
    return undefined
  }
  const mark = { offset: 1, segmentBaseOffset: 0, position: 100, lastBatchCrc: 7, level: 'synced', syncFailed: false }
  await t.rejects(file.write(mark as Watermark), { code: 'TOO_MANY_OPEN_FILES' })
  fs.onCall = undefined
  await file.write(mark as Watermark)
  t.match((await WatermarkFile.open(fs, '/p', { readOnly: true }))?.read(), { offset: 1 })
})

t.test('an idle log has its last mark in the file as soon as the event loop turns', async t => {
  const dir = await tempDir(t)
  const log = await openLog(dir)
  t.teardown(() => log.close())
  for (let round = 1; round <= 5; round += 1) {
    for (let i = 0; i < 3; i += 1) await log.append([{ value: 'x' }])
    await settled()
    await settled()
    const { offset } = (await WatermarkFile.open(nodeFileSystem, join(dir, 't-0'), { readOnly: true }))?.read() ?? {}
    // The first mark of a log takes the thread pool, and may be on its way.
    if (round > 1) t.equal(offset, 3 * round)
  }
})
