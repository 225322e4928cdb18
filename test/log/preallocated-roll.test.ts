/** A crash while a preallocated segment that was rolled still has its room: zeros behind what is full of records. */
import t from 'tap'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { sharedParts } from '../../lib/log/open-log.ts'
import { numbered, openLog, valuesOf } from '../helpers/logs.ts'
import { ManualClock } from '../helpers/manual-clock.ts'
import { readFile } from '../helpers/partition-folder.ts'

const LOG = '/data/t-0/00000000000000000005.log'
const ROOM = 10_000

async function rolledTwice() {
  const fs = new MemoryFileSystem()
  await fs.makeDirectory('/data')
  const config = { preallocate: true, segmentBytes: ROOM, indexBytes: 4096 }
  const open = (readOnly = false) =>
    openLog('/data', { config, clean: false, readOnly, shared: sharedParts({ fs, clock: new ManualClock() }) })
  const log = await open()
  await log.append(numbered(5))
  await log.roll()
  await log.append(numbered(5, 5))
  return { fs, open, log }
}

const lengthOf = async (fs: MemoryFileSystem): Promise<number> => (await readFile(fs, LOG)).length

t.test('a roll gives the room back before anything is written behind it, for Kafka would cut there', async t => {
  const { fs, log } = await rolledTwice()
  t.equal(await lengthOf(fs), ROOM)
  // Sealing goes on in the background and may take any time: a sync of the old segment that does not return.
  fs.onCall = call => (call.operation === 'sync' && call.path === LOG ? new Promise(() => {}) : undefined)
  await log.roll()
  t.ok((await lengthOf(fs)) < ROOM)
})

for (const readOnly of [false, true]) {
  t.test(
    `room that a crash left is no damage where the next segment goes on${readOnly ? ', read-only' : ''}`,
    async t => {
      const { fs, open, log } = await rolledTwice()
      await log.roll()
      await log.append(numbered(5, 10))
      await log.close({ clean: false })
      const valid = await lengthOf(fs)
      const handle = await fs.open(LOG, 'write')
      await handle.truncate(ROOM)
      await handle.close()
      const again = await open(readOnly)
      t.same(
        await valuesOf(again.records()),
        numbered(15).map(({ value }) => value)
      )
      const { zeroBytesDropped, quarantined } = again.recovery
      if (!readOnly) t.ok(zeroBytesDropped >= ROOM - valid, `${zeroBytesDropped} zeros given back`)
      t.equal(quarantined, undefined)
      await again.close()
      t.equal(await lengthOf(fs), readOnly ? ROOM : valid, 'Kafka would take it for the end of the log')
    }
  )
}

t.test('zeros in front of a segment that does not continue them are damage as before', async t => {
  const { fs, open, log } = await rolledTwice()
  await log.roll()
  await log.append(numbered(5, 10))
  await log.close({ clean: false })
  const handle = await fs.open(LOG, 'write')
  await handle.truncate(0)
  await handle.truncate(ROOM)
  await handle.close()
  await t.rejects(open(), { code: 'CORRUPT_LOG' })
})
