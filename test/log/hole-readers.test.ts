/** Cleaning a log with a marked hole, and what those who read it then meet. */
import { join } from 'node:path'
import t from 'tap'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import type { PartitionLog } from '../../lib/log/partition-log.ts'
import { Store } from '../../lib/store/store.ts'
import { isLogError } from '../../lib/util/errors.ts'
import { repairDirectory } from '../../lib/verify/repair.ts'
import { verifyDirectory } from '../../lib/verify/verify.ts'
import { ManualClock } from '../helpers/manual-clock.ts'
import { change, FILE, flip, within } from '../verify/transactions-directory.ts'

t.setTimeout(200_000)

const clock = new ManualClock()

function open(fs: MemoryFileSystem): Promise<Store> {
  return Store.open('/data', { fs, clock, upkeep: { background: false } })
}

/** Segments 0, 4 and 8 of four keys each, of which 4 is in quarantine, and an active one at 12. */
async function withHole(policy: string): Promise<MemoryFileSystem> {
  const fs = new MemoryFileSystem({ now: () => clock.now() })
  const store = await open(fs)
  await store.createTopic('t', { configs: { 'cleanup.policy': policy } })
  const log = await store.openLog('t', 0)
  for (let segment = 0; segment < 4; segment += 1) {
    if (segment > 0) await log.roll()
    for (let i = 0; i < 4; i += 1) {
      const timestamp = clock.now() - 1_000_000 + 4 * segment + i
      await log.append([{ key: `k${i}`, value: `v${segment}.${i}`, timestamp }], { ownBatch: true })
    }
  }
  await store.close()
  await change(
    fs,
    join('/data', FILE),
    flip(bytes => within(bytes, 1))
  )
  const { verified } = await repairDirectory('/data', { kind: 'quarantine', file: FILE }, { fs, clock })
  t.ok(verified.sound)
  return fs
}

/** Offsets as they come; a hole as its end. */
async function readAll(log: PartitionLog): Promise<(number | string)[]> {
  const found: (number | string)[] = []
  for (let from = log.logStartOffset; ; )
    try {
      for await (const { offset } of log.records({ from })) found.push(offset)
      return found
    } catch (error) {
      if (!isLogError(error, 'DATA_LOSS')) throw error
      from = error.details['to'] as number
      found.push(`up to ${from}`)
    }
}

t.test('where cleaning has left nothing in front of a hole, readers still meet it, and what is behind it', async t => {
  // They took it for the end of the log, without a word: streams ended, and a search by time found nothing.
  const fs = await withHole('compact')
  const store = await open(fs)
  const log = await store.openLog('t', 0)
  t.same(await readAll(log), [0, 1, 2, 3, 'up to 8', 8, 9, 10, 11, 12, 13, 14, 15])
  await store.compact({ topics: ['t'], force: true })
  const rest = ['up to 8', 8, 9, 10, 11, 12, 13, 14, 15]
  t.same(await readAll(log), rest)
  await t.rejects(
    async () => {
      for await (const record of log.latest()) t.ok(record)
    },
    { code: 'DATA_LOSS' }
  )
  t.equal((await log.offsetForTimestamp(0))?.offset, 8)
  t.equal((await log.offsetForTimestamp(clock.now() - 1_000_000 + 9))?.offset, 9)
  const follower = log.records({ from: 0, follow: true })
  await t.rejects(follower.next(), { code: 'DATA_LOSS', details: { from: 4, to: 8 } })
  await store.close()
  const again = await open(fs)
  t.same(await readAll(await again.openLog('t', 0)), rest)
  await again.close()
  t.ok((await verifyDirectory('/data', { fs })).sound)
})

t.test('retention takes what lies in front of a hole, and then the hole', async t => {
  const fs = await withHole('delete')
  const store = await open(fs)
  const log = await store.openLog('t', 0)
  await log.deleteRecordsBefore(2)
  t.same(await readAll(log), [2, 3, 'up to 8', 8, 9, 10, 11, 12, 13, 14, 15])
  await log.deleteRecordsBefore(6)
  t.same(await readAll(log), ['up to 8', 8, 9, 10, 11, 12, 13, 14, 15])
  await log.deleteRecordsBefore(8)
  t.same(await readAll(log), [8, 9, 10, 11, 12, 13, 14, 15])
  await store.close()
  t.ok((await verifyDirectory('/data', { fs })).sound)
})
