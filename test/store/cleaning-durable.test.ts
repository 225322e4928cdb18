/** A cleaning takes records away because of what was decided behind them: that must outlast a power cut as they did. */
import t from 'tap'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { Store } from '../../lib/store/store.ts'
import { ManualClock } from '../helpers/manual-clock.ts'

for (const type of ['commit', 'abort'] as const) {
  t.test(`a ${type} that a cleaning went by is not undone by a power cut`, async t => {
    const clock = new ManualClock()
    const fs = new MemoryFileSystem({ now: () => clock.now() })
    await fs.makeDirectory('/data')
    await fs.syncDirectory('/')
    const open = (): Promise<Store> => Store.open('/data', { fs, clock, upkeep: { background: false } })
    const store = await open()
    await store.createTopic('t', { configs: { 'cleanup.policy': 'compact', 'heartwood.durability': 'none' } })
    const log = await store.openLog('t', 0)
    await log.append([{ key: 'k', value: 'old' }])
    await log.sync()
    const producer = { producerId: 7, producerEpoch: 0 }
    await log.append([{ key: 'k', value: 'new' }], { ...producer, baseSequence: 0, transactional: true })
    // What is sealed is durable; the marker is not.
    await log.roll()
    await log.appendEndTransaction({ ...producer, type })
    t.match(await store.compact({ force: true }), { partitions: [{ cleaned: { stats: { recordsKept: 1 } } }] })
    fs.powerCut()
    const again = await open()
    const recovered = await again.openLog('t', 0)
    t.equal(recovered.lastStableOffset, 3, 'the transaction is decided')
    const values: string[] = []
    for await (const { value } of recovered.records({ isolation: 'read_committed' })) values.push(`${value}`)
    t.same(values, [type === 'commit' ? 'new' : 'old'])
    await again.close()
  })
}
