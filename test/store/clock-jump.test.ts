import t from 'tap'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { Store } from '../../lib/store/store.ts'
import { ManualClock } from '../helpers/manual-clock.ts'

t.test('a clock that jumped takes no tombstone before its time, until somebody says that it is right', async t => {
  const clock = new ManualClock()
  const fs = new MemoryFileSystem({ now: () => clock.now() })
  const store = await Store.open('/data', { fs, clock, upkeep: { background: false } })
  const configs = { 'cleanup.policy': 'compact', 'delete.retention.ms': '60000' }
  await store.createTopic('kept', { configs })
  const log = await store.openLog('kept', 0)
  const compacted = async (): Promise<(string | null)[]> => {
    await log.append([{ key: 'other', value: 'x' }])
    await log.roll()
    await store.compact({ force: true })
    const values: (string | null)[] = []
    for await (const { key, value } of log.records()) if (String(key) === 'gone') values.push(value && String(value))
    return values
  }
  await log.append([{ key: 'gone', value: 'y' }])
  await log.append([{ key: 'gone', value: null }])
  t.same(await compacted(), [null], 'its horizon is set')
  clock.jumpTo(clock.now() + 1e9)
  t.same(await compacted(), [null])
  store.acknowledgeClock()
  t.same(await compacted(), [])
  await store.close()
})
