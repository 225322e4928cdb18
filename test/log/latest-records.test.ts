import t from 'tap'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import type { LatestOptions } from '../../lib/log/latest-records.ts'
import { sharedParts } from '../../lib/log/open-log.ts'
import type { PartitionLog } from '../../lib/log/partition-log.ts'
import { cleanByHand } from '../helpers/hand-cleaned.ts'
import { openLog } from '../helpers/logs.ts'
import { tempDir } from '../helpers/paths.ts'

/** `key=value` of each record that the iterator gives. */
async function latest(log: PartitionLog, options: LatestOptions = {}): Promise<string> {
  const found: string[] = []
  for await (const { key, value } of log.latest(options)) found.push(`${key}=${value}`)
  return found.join(' ')
}

t.test('each key comes once, with its latest value, in offset order', async t => {
  await using log = await openLog(await tempDir(t))
  t.equal(await latest(log), '')
  await log.append([{ key: 'a', value: '1' }, { key: 'b', value: '1' }, { value: 'of no key' }])
  await log.append([
    { key: 'c', value: '1' },
    { key: 'a', value: '2' },
    { key: '', value: 'empty key' }
  ])
  t.equal(await latest(log), 'b=1 c=1 a=2 =empty key')
  await log.append([{ key: 'b' }, { key: 'd', value: '' }, { key: 'c' }, { key: 'c', value: '3' }])
  t.equal(await latest(log), 'a=2 =empty key d= c=3')
})

t.test('a record that came is the consumer’s: it stays when the iterator goes on', async t => {
  await using log = await openLog(await tempDir(t))
  for (let i = 0; i < 50; i += 1) await log.append([{ key: `k${i}`, value: `${i}`.repeat(2000) }])
  const records = []
  for await (const record of log.latest()) records.push(record)
  for (const [i, { key, value, offset }] of records.entries()) {
    t.equal(`${key} ${value} ${offset}`, `k${i} ${`${i}`.repeat(2000)} ${i}`)
  }
})

t.test('what comes during the iteration is left out', async t => {
  await using log = await openLog(await tempDir(t))
  await log.append([
    { key: 'a', value: '1' },
    { key: 'b', value: '1' }
  ])
  const found: string[] = []
  for await (const { key, value } of log.latest()) {
    await log.append([
      { key: 'b', value: '2' },
      { key: 'c', value: '2' }
    ])
    found.push(`${key}=${value}`)
  }
  t.equal(found.join(' '), 'a=1 b=1')
})

t.test('more keys than fit the map: each comes once, in offset order', async t => {
  await using log = await openLog(await tempDir(t), { config: { segmentBytes: 100_000 } })
  // The smallest map holds 768 keys.
  const model = new Map<string, string>()
  for (let i = 0; i < 6000; ) {
    const records = Array.from({ length: 100 }, () => {
      const key = `key-${(i * 7919) % 3000}`
      const value = i % 11 === 0 ? null : `value-${i}`
      i += 1
      model.delete(key)
      if (value !== null) model.set(key, value)
      return { key, value }
    })
    await log.append(records)
  }
  const wanted = [...model].map(entry => entry.join('=')).join(' ')
  t.equal(await latest(log, { mapBytes: 0 }), wanted)
  t.equal(await latest(log), wanted)
})

t.test('by default what is undecided or aborted is no current value', async t => {
  await using log = await openLog(await tempDir(t))
  await log.append([
    { key: 'a', value: 'old' },
    { key: 'b', value: 'old' }
  ])
  const producer = { producerId: 7, producerEpoch: 0, transactional: true }
  await log.append([{ key: 'a', value: 'aborted' }], { ...producer, baseSequence: 0 })
  t.equal(await latest(log), 'a=old b=old')
  t.equal(await latest(log, { isolation: 'read_uncommitted' }), 'b=old a=aborted')
  await log.appendEndTransaction({ type: 'abort', producerId: 7, producerEpoch: 0 })
  await log.append([{ key: 'b' }], { ...producer, baseSequence: 1 })
  t.equal(await latest(log), 'a=old b=old')
  await log.appendEndTransaction({ type: 'commit', producerId: 7, producerEpoch: 0 })
  t.equal(await latest(log), 'a=old')
})

t.test('records below the log start are no values any more, also when it is raised meanwhile', async t => {
  await using log = await openLog(await tempDir(t), { config: { segmentBytes: 2000 } })
  for (let i = 0; i < 100; i += 1) await log.append([{ key: `k${i}`, value: 'x'.repeat(100) }])
  await log.deleteRecordsBefore(90)
  t.equal((await latest(log)).match(/k\d+/g)?.join(), 'k90,k91,k92,k93,k94,k95,k96,k97,k98,k99')
  const found: string[] = []
  for await (const { key } of log.latest()) {
    if (found.length === 0) await log.deleteRecordsBefore(98)
    found.push(String(key))
  }
  // What was read before the start was raised may still come; nothing is an error.
  t.equal(found[0], 'k90')
  t.same(found.slice(-2), ['k98', 'k99'])
})

t.test('a cut of the log’s end during the iteration is an error, not a mixture', async t => {
  await using log = await openLog(await tempDir(t), { config: { segmentBytes: 1_000_000 } })
  for (let i = 0; i < 100; i += 1) await log.append([{ key: `k${i}`, value: 'x'.repeat(40_000) }])
  const iterator = log.latest({ mapBytes: 0 })[Symbol.asyncIterator]()
  t.equal((await iterator.next()).value?.offset, 0)
  await log.truncateTo(50)
  for (let i = 0; i < 60; i += 1) await log.append([{ key: `n${i}`, value: 'y'.repeat(40_000) }])
  const readOn = async (): Promise<void> => {
    while ((await iterator.next()).done !== true);
  }
  await t.rejects(readOn(), { code: 'OFFSET_OUT_OF_RANGE' })
})

t.test(
  'a key whose record compaction takes during the iteration comes with the record that took its place',
  async t => {
    const fs = new MemoryFileSystem()
    await fs.makeDirectory('/data')
    await using log = await openLog('/data', { shared: sharedParts({ fs }) })
    const value = 'x'.repeat(9000)
    for (let i = 0; i < 400; i += 1) await log.append([{ key: `k${i}`, value }], { ownBatch: true })
    const iterator = log.latest()[Symbol.asyncIterator]()
    t.equal(String((await iterator.next()).value?.key), 'k0')
    // Behind what the iterator has in memory: one gets a new value, one a tombstone.
    await log.append([{ key: 'k398', value: 'new' }], { ownBatch: true })
    await log.append([{ key: 'k399', value: null }], { ownBatch: true })
    await log.roll()
    const view = await log.maintenance.view()
    await log.maintenance.replace(
      view,
      await cleanByHand(fs, '/data/t-0', view, ({ baseOffset }) => baseOffset < 398 || baseOffset >= 400)
    )
    const found: string[] = []
    for await (const { key, offset } of iterator) found.push(`${key}@${offset}`)
    t.same(found, [...Array.from({ length: 397 }, (_, i) => `k${i + 1}@${i + 1}`), 'k398@400'])
  }
)

t.test('aborting or closing ends it quietly; a closed log has none', async t => {
  const log = await openLog(await tempDir(t))
  await log.append([{ key: 'a', value: '1' }])
  const stop = new AbortController()
  stop.abort()
  t.equal(await latest(log, { signal: stop.signal }), '')
  const records = log.latest()
  await log.close()
  for await (const _ of records) t.fail('nothing is read of a closed log')
  t.throws(() => log.latest(), { code: 'LOG_CLOSED' })
})
