import { test } from 'tap'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { ProducerSnapshots } from '../../lib/log/producer-snapshots.ts'
import { ProducerStateManager } from '../../lib/log/producer-state.ts'
import { segmentFileName } from '../../lib/segment/file-names.ts'
import { dataBatch } from '../helpers/producer-batches.ts'

const DIR = '/p'
const path = (offset: number): string => `${DIR}/${segmentFileName(offset, '.snapshot')}`

async function folder(): Promise<MemoryFileSystem> {
  const fs = new MemoryFileSystem()
  await fs.makeDirectory(DIR)
  await fs.syncDirectory('/')
  return fs
}

function stateAt(offset: number): ProducerStateManager {
  const state = new ProducerStateManager()
  state.apply(dataBatch({ producerId: 7, offset: offset - 1 }))
  return state
}

async function write(fs: MemoryFileSystem, file: string, text: string): Promise<void> {
  const handle = await fs.open(file, 'truncate')
  await handle.write(Buffer.from(text), 0)
  await handle.close()
}

test('a snapshot is durable once it is taken, and the newest at or below an offset is found', async t => {
  const fs = await folder()
  const snapshots = new ProducerSnapshots(fs, DIR)
  t.equal(await snapshots.latest(100), undefined)
  for (const offset of [10, 20, 30]) await snapshots.take(offset, stateAt(offset))
  fs.powerCut()
  t.strictSame(await snapshots.offsets(), [10, 20, 30])
  for (const [atMost, expected] of [
    [9, undefined],
    [10, 10],
    [29, 20],
    [99, 30]
  ] as const) {
    const found = await snapshots.latest(atMost)
    t.equal(found?.offset, expected)
    t.equal(found?.entries[0]?.lastBatch?.lastOffset, expected && expected - 1)
  }
})

test('taken without a sync, a snapshot survives the process, and once synced a power cut', async t => {
  const fs = await folder()
  const snapshots = new ProducerSnapshots(fs, DIR)
  await snapshots.take(10, stateAt(10), { sync: false })
  t.equal((await snapshots.latest(10))?.offset, 10)
  await snapshots.sync(10)
  await fs.syncDirectory(DIR)
  await snapshots.take(20, stateAt(20), { sync: false })
  fs.powerCut({ name: () => true, sector: () => 'zero', length: file => file.present })
  const skipped: number[] = []
  const found = await snapshots.latest(99, { skipped: offset => skipped.push(offset) })
  t.equal(found?.offset, 10)
  t.strictSame(skipped, [20], 'the torn one is passed over')
})

test('a snapshot that cannot be read gives way to an older one', async t => {
  const fs = await folder()
  const snapshots = new ProducerSnapshots(fs, DIR)
  await snapshots.take(10, stateAt(10))
  await write(fs, path(20), '')
  await write(fs, path(30), '\0\u0002 of another version')
  const skipped: [number, string][] = []
  const found = await snapshots.latest(99, {
    skipped: (offset, error) => skipped.push([offset, (error as { code: string }).code])
  })
  t.equal(found?.offset, 10)
  t.strictSame(skipped, [
    [30, 'UNSUPPORTED_VERSION'],
    [20, 'CORRUPT_FILE']
  ])
  fs.onCall = ({ operation }) => {
    if (operation === 'read') throw Object.assign(new Error('EIO'), { code: 'EIO' })
  }
  await t.rejects(snapshots.latest(99), { code: 'EIO' }, 'what the machine cannot do is no damage')
})

test('only files of that name count', async t => {
  const fs = await folder()
  const snapshots = new ProducerSnapshots(fs, DIR)
  await snapshots.take(10, stateAt(10))
  for (const name of ['00000000000000000020.log', '00000000000000000030.snapshot.deleted', '40.snapshot']) {
    await write(fs, `${DIR}/${name}`, 'x')
  }
  await fs.makeDirectory(path(50))
  t.strictSame(await snapshots.offsets(), [10])
})

test('those above an offset are removed durably, those below it, and single ones', async t => {
  const fs = await folder()
  const snapshots = new ProducerSnapshots(fs, DIR)
  for (const offset of [10, 20, 30, 40]) await snapshots.take(offset, stateAt(offset))
  t.equal(await snapshots.deleteAfter(30), 1)
  t.equal(await snapshots.deleteAfter(30), 0)
  fs.powerCut()
  t.strictSame(await snapshots.offsets(), [10, 20, 30], 'one that came back would speak of batches that are gone')
  t.equal(await snapshots.deleteBefore(20), 1)
  t.strictSame(await snapshots.offsets(), [20, 30])
  await snapshots.delete(20)
  await snapshots.delete(20)
  t.strictSame(await snapshots.offsets(), [30])
})

test('those without a segment are removed, but for one at a clean close', async t => {
  const cases: [bases: number[], offsets: number[], left: number[]][] = [
    [
      [0, 20],
      [10, 20, 30],
      [20, 30]
    ],
    [[0, 20], [10, 15, 20], [20]],
    [
      [0, 20],
      [20, 30, 40],
      [20, 40]
    ],
    [[0], [5], [5]],
    [[10], [5], []]
  ]
  for (const [bases, offsets, left] of cases) {
    const snapshots = new ProducerSnapshots(await folder(), DIR)
    for (const offset of offsets) await snapshots.take(offset, stateAt(offset))
    await snapshots.deleteStrays(bases)
    t.strictSame(await snapshots.offsets(), left, `segments ${bases}, snapshots ${offsets}`)
  }
})

test('new snapshots have the mode and the owner asked for', async t => {
  const fs = await folder()
  const snapshots = new ProducerSnapshots(fs, DIR, { permissions: 0o640, owner: { uid: 5, gid: 6 } })
  await snapshots.take(10, stateAt(10))
  await snapshots.take(20, stateAt(20), { sync: false })
  for (const offset of [10, 20]) t.match(await fs.stat(path(offset)), { mode: 0o640, uid: 5, gid: 6 })
})
