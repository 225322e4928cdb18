import t from 'tap'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { Store } from '../../lib/store/store.ts'
import { values } from './helpers.ts'

t.test('a cut that takes the batch in which the log begins leaves a log that opens again', async t => {
  // Batches of three records: the start lies within the first or the second one, or at its beginning.
  const cases = [
    { start: 2, cut: 2 },
    { start: 2, cut: 1 },
    { start: 1, cut: 2 },
    { start: 4, cut: 4 },
    { start: 4, cut: 5 },
    { start: 3, cut: 3 }
  ]
  for (const { start, cut } of cases) {
    const fs = new MemoryFileSystem()
    const store = await Store.open('/data', { fs })
    const log = await store.openLog('orders', 0)
    for (const batch of ['abc', 'def']) {
      await log.append([...batch].map(value => ({ value })), { ownBatch: true }) // biome-ignore format: one line
    }
    await log.deleteRecordsBefore(start)
    await log.truncateTo(cut)
    await store.close()
    const again = await Store.open('/data', { fs })
    const reopened = await again.openLog('orders', 0)
    t.same([reopened.recovery.clean, reopened.logStartOffset, reopened.logEndOffset], [true, cut, cut])
    t.match(await reopened.append([{ value: 'x' }]), { baseOffset: cut })
    t.same(await values(reopened), ['x'], `from ${start}, cut at ${cut}`)
    fs.powerCut()
    const third = await Store.open('/data', { fs })
    t.same(await values(await third.openLog('orders', 0)), ['x'], 'after a power cut')
    await third.close()
  }
})
