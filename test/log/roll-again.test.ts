import t from 'tap'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { sharedParts } from '../../lib/log/open-log.ts'
import { numbered, openLog, valuesOf } from '../helpers/logs.ts'
import { ManualClock } from '../helpers/manual-clock.ts'

const SECOND = '/data/t-0/00000000000000000005.log'

for (const operation of ['truncate', 'syncDirectory'] as const) {
  t.test(
    `a roll that failed in ${operation} is made again, and what follows is in the file that has the name`,
    async t => {
      // The new segment's descriptor was still open: the second attempt's records went into the removed file.
      const fs = new MemoryFileSystem()
      await fs.makeDirectory('/data')
      const config = { preallocate: true, segmentBytes: 10_000, indexBytes: 4096 }
      const open = (clean: boolean) =>
        openLog('/data', { config, clean, shared: sharedParts({ fs, clock: new ManualClock() }) })
      const log = await open(false)
      // What is made with the log itself is not preallocated by these settings everywhere.
      await log.append(numbered(5))
      let failures = 0
      fs.onCall = call => {
        const isMade = operation === 'truncate' ? call.path === SECOND : call.path === '/data/t-0'
        if (failures > 0 || call.operation !== operation || !isMade) return
        failures += 1
        throw Object.assign(new Error('EIO'), { code: 'EIO' })
      }
      await t.rejects(log.roll())
      t.equal(failures, 1)
      await log.roll()
      await log.append(numbered(5, 5))
      await log.close({ clean: false })
      const again = await open(false)
      t.same(
        await valuesOf(again.records()),
        numbered(10).map(({ value }) => value)
      )
      t.equal(again.logEndOffset, 10)
      await again.close()
    }
  )
}

t.test('a log that was rolled behind a gap and cut to the gap goes on in it', async t => {
  const fs = new MemoryFileSystem()
  await fs.makeDirectory('/data')
  const open = () => openLog('/data', { shared: sharedParts({ fs, clock: new ManualClock() }) })
  const log = await open()
  await log.append(numbered(2))
  await log.truncateTo(1) // the batch of both goes, and the log goes on at 1
  await log.roll()
  await log.truncateTo(0)
  t.match(await log.append(numbered(1)), { baseOffset: 0 })
  await log.roll()
  t.match(await log.append(numbered(1, 1)), { baseOffset: 1 })
  await log.close()
  const again = await open()
  t.same(await valuesOf(again.records()), ['value-0', 'value-1'])
  await again.close()
})
