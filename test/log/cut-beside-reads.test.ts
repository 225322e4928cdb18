/** A cut takes its time; what is read meanwhile must find either the old end or the new one. */
import t from 'tap'
import type { FileHandle, OpenMode } from '../../lib/fs/file-system.ts'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { sharedParts } from '../../lib/log/open-log.ts'
import { openLog, valuesOf } from '../helpers/logs.ts'

/** The file is shorter a while before whoever shortened it hears of it, as with a thread pool. */
class SlowToTell extends MemoryFileSystem {
  override async open(path: string, mode: OpenMode): Promise<FileHandle> {
    const handle = await super.open(path, mode)
    const truncate = handle.truncate.bind(handle)
    handle.truncate = async length => {
      await truncate(length)
      for (let i = 0; i < 20; i += 1) await new Promise(resolve => setImmediate(resolve))
    }
    return handle
  }
}

t.test('a read during a cut comes to an end, with the batch that goes or without it', async t => {
  const fs = new SlowToTell({ now: () => 1_700_000_000_000 })
  await fs.makeDirectory('/data')
  const shared = sharedParts({ fs })
  const first = await openLog('/data', { shared })
  await first.append([{ value: 'stays' }])
  await first.append(
    Array.from({ length: 9 }, (_, i) => ({ value: `${i}` })),
    { ownBatch: true }
  )
  await first.close()
  await using log = await openLog('/data', { shared, clean: true, recoveryPoint: 10 })
  let isDone = false
  const cut = log.truncateTo(5).finally(() => {
    isDone = true
  })
  let reads = 0
  for (; !isDone; reads += 1) {
    // The batch that holds the cut goes as a whole, at once.
    const values = await valuesOf(log.records())
    if (values.join() !== 'stays' && values.join() !== 'stays,0,1,2,3,4,5,6,7,8') t.fail(values.join())
    await new Promise(resolve => setImmediate(resolve))
  }
  await cut
  t.ok(reads > 10, `${reads} reads`)
  t.same(await valuesOf(log.records()), ['stays'])
})
