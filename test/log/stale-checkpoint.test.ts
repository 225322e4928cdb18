/**
 * The directory's checkpoint of recovery points is written once a minute; a cut in between makes it speak of what is
 * gone. Recovery must check what was written there since.
 */
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { KiB } from '../../lib/util/sizes.ts'
import { numbered, openLog, valuesOf } from '../helpers/logs.ts'
import { tempDir } from '../helpers/paths.ts'

t.test('after a cut, recovery begins below a recovery point that was saved before it', async t => {
  const dir = await tempDir(t)
  const config = { durability: 'none', segmentBytes: 2 * KiB } as const
  const log = await openLog(dir, { config })
  for (let i = 0; i < 400; i += 5) await log.append(numbered(5, i), { ownBatch: true })
  await log.sync()
  await log.truncateTo(100)
  for (let i = 100; i < 400; i += 5) await log.append(numbered(5, i), { ownBatch: true })
  const rewritten = log.segments().find(segment => segment.baseOffset > 100)
  await log.close({ clean: false })
  // What a power cut may do to what was never synced: zeros in the middle, sound batches behind.
  const file = await open(join(dir, 't-0', `${String(rewritten?.baseOffset).padStart(20, '0')}.log`), 'r+')
  await file.write(Buffer.alloc(300), 0, 300, 400)
  await file.close()
  const again = await openLog(dir, { config, clean: false, recoveryPoint: 399 })
  t.teardown(() => again.close())
  t.ok(again.logEndOffset < 200, `the log ends where the zeros begin: ${again.logEndOffset}`)
  t.same(
    await valuesOf(again.records()),
    Array.from({ length: again.logEndOffset }, (_, i) => `value-${i}`)
  )
})
