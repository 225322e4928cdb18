/** A segment begun behind a gap: the watermark has to say that nothing was lost there, and not before the segment is there. */
import t from 'tap'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { sharedParts } from '../../lib/log/open-log.ts'
import type { PartitionLog } from '../../lib/log/partition-log.ts'
import { WATERMARK_FILE } from '../../lib/log/watermark-file.ts'
import { numbered, openLog, valuesOf } from '../helpers/logs.ts'
import { ManualClock } from '../helpers/manual-clock.ts'

const open = (fs: MemoryFileSystem): Promise<PartitionLog> =>
  openLog('/data', { clean: false, recoveryPoint: 0, shared: sharedParts({ fs, clock: new ManualClock() }) })

/** The log ends at 5 and its file at 3: the batch of 3 to 5 went as a whole, and only 5 was asked to go. */
async function cutWithinBatch(): Promise<{ fs: MemoryFileSystem; log: PartitionLog }> {
  const fs = new MemoryFileSystem()
  await fs.makeDirectory('/data')
  await fs.syncDirectory('/')
  const log = await open(fs)
  await log.append(numbered(3), { ownBatch: true })
  await log.append(numbered(3, 3), { ownBatch: true })
  await log.truncateTo(5)
  t.equal(log.logEndOffset, 5)
  return { fs, log }
}

for (const how of ['the power goes', 'a call fails'] as const) {
  t.test(`a log opens wherever ${how} while a segment is begun behind a gap`, async t => {
    let isOver = false
    for (let at = 1; !isOver; at += 1) {
      const { fs, log } = await cutWithinBatch()
      let calls = 0
      fs.onCall = () => {
        calls += 1
        const fails = how === 'the power goes' ? calls >= at : calls === at
        if (fails) throw Object.assign(new Error('EIO: made to fail'), { code: 'EIO' })
      }
      await log.roll().catch(() => undefined)
      isOver = calls < at
      const left = fs.clone()
      // The watermark's own file may be written back early.
      left.powerCut({ sector: ({ path }) => (path.endsWith(WATERMARK_FILE) ? 'keep' : 'drop') })
      const again = await open(left)
      t.same(await valuesOf(again.records()), ['value-0', 'value-1', 'value-2'], `call ${at}`)
      await again.append(numbered(1, 9))
      await again.close()
      fs.onCall = undefined
      await log.close({ clean: false })
    }
  })
}

t.test('what is appended behind such a gap is there after a crash', async t => {
  const { fs, log } = await cutWithinBatch()
  await log.roll()
  t.equal((await log.append(numbered(1, 5))).baseOffset, 5)
  fs.powerCut()
  const again = await open(fs)
  t.same(await valuesOf(again.records()), ['value-0', 'value-1', 'value-2', 'value-5'])
  await again.close()
})
