/** What recovery accepts above the watermark is on the disk before anybody is served, whatever a sync before it did. */
import t from 'tap'
import type { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import type { PlannedSegment } from '../../lib/log/loader-plan.ts'
import { syncAccepted } from '../../lib/log/recovery-sync.ts'
import { closeLoaded, eachBatch, load } from '../helpers/loading.ts'
import {
  batches,
  DIR,
  file,
  markBehind,
  memoryFolder,
  putWatermark,
  readWatermark
} from '../helpers/partition-folder.ts'

const written = batches(0, 6, { valueBytes: 12 })
const bytes = Buffer.concat(written)
const EPOCHS = { 'leader-epoch-checkpoint': '0\n1\n0 0\n' }

function positionOf(index: number): number {
  return written.slice(0, index).reduce((sum, one) => sum + one.length, 0)
}

t.test('what a failed sync left in the page cache, and nobody noted, is on the disk before it is served', async t => {
  // A batch of more than is written at a time.
  const [large] = batches(6, 1, { valueBytes: 2_500_000 }) as [Buffer]
  const all = Buffer.concat([bytes, large])
  for (const rolledAt of [undefined, 4]) {
    const fs = await memoryFolder({ ...EPOCHS, [file(0)]: bytes.subarray(0, positionOf(3)) })
    await putWatermark(fs, markBehind(0, written.slice(0, 3)))
    const cut = rolledAt === undefined ? all.length : positionOf(rolledAt)
    const files: [name: string, bytes: Buffer, from: number][] = [[file(0), all.subarray(0, cut), positionOf(3)]]
    if (rolledAt !== undefined) files.push([file(rolledAt), all.subarray(cut), 0])
    fs.onCall = call => {
      if (call.operation === 'datasync') throw Object.assign(new Error('made to fail'), { code: 'EIO' })
    }
    for (const [name, content, from] of files) {
      const handle = await fs.open(`${DIR}/${name}`, 'create-or-open')
      await handle.write(content.subarray(from), from)
      await t.rejects(handle.datasync())
      await handle.close()
    }
    await fs.syncDirectory(DIR)
    const changed: number[] = []
    fs.onCall = ({ operation, path, position = 0 }) => {
      if (operation === 'write' && path.endsWith(file(0))) changed.push(position)
    }
    const log = await load({ fs, dir: DIR })
    t.equal(log.logEndOffset, 7)
    t.equal(Math.min(...changed), positionOf(3), 'nothing is written below the watermark')
    await closeLoaded(log, false)
    fs.onCall = undefined
    fs.powerCut()
    const again = await load({ fs, dir: DIR })
    t.equal(again.logEndOffset, 7)
    let next = 0
    await eachBatch(again, batch => {
      t.ok(batch.isSound())
      next = batch.lastOffset + 1
    })
    t.equal(next, 7)
    await closeLoaded(again)
  }
})

t.test('what has gone from the page cache since it was judged is not served', async t => {
  // Of a batch in the middle only the base offset, which no CRC covers, or all that lies behind the watermark.
  for (const [from, to] of [
    [positionOf(4), positionOf(4) + 8],
    [positionOf(3), bytes.length]
  ] as const) {
    const fs = await memoryFolder({ ...EPOCHS, [file(0)]: bytes })
    await putWatermark(fs, markBehind(0, written.slice(0, 3)))
    const gone = await fs.open(`${DIR}/${file(0)}`, 'write')
    let opens = 0
    fs.onCall = ({ operation, path, mode }) => {
      // Recovery opens it for writing only once it knows what is good.
      if (operation !== 'open' || mode !== 'write' || !path.endsWith('.log') || opens++ > 0) return
      gone.writeSync(Buffer.alloc(to - from), from)
    }
    await t.rejects(load({ fs, dir: DIR }), { code: 'SYNC_FAILED' })
    t.equal(opens, 1)
    t.match(await readWatermark(fs), { offset: 3, syncFailed: true })
    await gone.close()
    const log = await load({ fs, dir: DIR })
    t.equal(log.logEndOffset, from === positionOf(3) ? 3 : 4)
    await closeLoaded(log)
  }
})

t.test('without a watermark, recovery writes no byte of another engine again', async t => {
  const fs = await memoryFolder({ ...EPOCHS, [file(0)]: bytes })
  let least = Number.POSITIVE_INFINITY
  fs.onCall = ({ operation, path, position = 0 }) => {
    if (operation === 'write' && path.endsWith('.log')) least = Math.min(least, position)
  }
  await closeLoaded(await load({ fs, dir: DIR }), false)
  t.ok(least >= bytes.length, `${least}`)
})

t.test(
  'what a log that nobody asked to sync has above its watermark is held against the device up to a bound',
  async t => {
    for (const [mostBytes, isLookedAt] of [
      [bytes.length - positionOf(3), true],
      [bytes.length - positionOf(3) - 1, false]
    ] as const) {
      const fs = await memoryFolder({
        ...EPOCHS,
        [file(0)]: bytes.subarray(0, positionOf(5)),
        [file(5)]: bytes.subarray(positionOf(5))
      })
      const watermark = markBehind(0, written.slice(0, 3))
      let looks = 0
      let syncs = 0
      fs.onCall = ({ operation }) => {
        if (operation === 'readPastCache') looks += 1
        if (operation === 'datasync') syncs += 1
      }
      const kept = [
        { baseOffset: 0, validBytes: positionOf(5), scanned: true },
        { baseOffset: 5, validBytes: bytes.length - positionOf(5), scanned: true }
      ] as unknown as PlannedSegment[]
      await syncAccepted({ fs, dir: DIR, watermark }, kept, mostBytes)
      t.equal(looks > 0, isLookedAt)
      t.equal(syncs, 2)
    }
  }
)

/** The page cache shows all of it, and the device what lies below the watermark. */
async function afterFailedSync(): Promise<MemoryFileSystem> {
  const fs = await memoryFolder({ ...EPOCHS, [file(0)]: bytes.subarray(0, positionOf(3)) })
  await putWatermark(fs, markBehind(0, written.slice(0, 3)))
  fs.onCall = call => {
    if (call.operation === 'datasync') throw Object.assign(new Error('made to fail'), { code: 'EIO' })
  }
  const handle = await fs.open(`${DIR}/${file(0)}`, 'write')
  await handle.write(bytes.subarray(positionOf(3)), positionOf(3))
  await t.rejects(handle.datasync())
  await handle.close()
  fs.onCall = undefined
  return fs
}

t.test('where what was found cannot be written again, the next recovery asks the device', async t => {
  const fs = await afterFailedSync()
  fs.onCall = ({ operation, path }) => {
    if (operation === 'write' && path.endsWith('.log')) throw Object.assign(new Error('full'), { code: 'ENOSPC' })
  }
  await t.rejects(load({ fs, dir: DIR }), { code: 'SYNC_FAILED' })
  t.match(await readWatermark(fs), { offset: 3, syncFailed: true })
  fs.onCall = undefined
  const log = await load({ fs, dir: DIR })
  t.equal(log.logEndOffset, 3)
  await closeLoaded(log)
})

t.test('what the device has is not written again; what it cannot be asked for is', async t => {
  for (const isAsked of [true, false]) {
    const fs = await memoryFolder({ ...EPOCHS, [file(0)]: bytes })
    await putWatermark(fs, markBehind(0, written.slice(0, 3)))
    if (!isAsked) fs.readPastCache = async () => undefined
    const positions: (number | undefined)[] = []
    fs.onCall = ({ operation, path, position }) => {
      if (operation === 'write' && path.endsWith(file(0))) positions.push(position)
    }
    const log = await load({ fs, dir: DIR })
    t.equal(log.logEndOffset, 6)
    t.equal(positions.includes(positionOf(3)), !isAsked)
    await closeLoaded(log)
  }
})
