import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import t, { type Test } from 'tap'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import type { LatestView } from '../../lib/log/latest-view.ts'
import { sharedParts } from '../../lib/log/open-log.ts'
import { cleanByHand } from '../helpers/hand-cleaned.ts'
import { openLog } from '../helpers/logs.ts'
import { tempDir } from '../helpers/paths.ts'

function text(view: LatestView<string, Buffer | string>): string {
  return [...view].map(([key, value]) => `${key}=${value}`).join(' ')
}

t.test('a view is a Map of the current values, and follows the log', async t => {
  await using log = await openLog(await tempDir(t))
  await log.append([
    { key: 'a', value: '1' },
    { key: 'b', value: '1' },
    { key: 'a', value: '2', timestamp: 77 },
    { value: 'x' }
  ])
  await using view = await log.latest().follow({ values: String })
  t.equal(text(view), 'a=2 b=1')
  t.equal(view.offset, 4)
  t.equal(view.get('a'), '2')
  t.equal(view.get('c'), undefined)
  t.same(view.entry('a'), { value: '2', offset: 2, timestamp: 77 })
  t.equal(view.entry('c'), undefined)
  t.equal(view.has('b'), true)
  t.equal(view.size, 2)
  const { lastOffset } = await log.append([
    { key: 'b', value: null },
    { key: 'c', value: '3' }
  ])
  await view.reached(lastOffset)
  t.equal(view.has('b'), false)
  t.equal(text(view), 'a=2 c=3')
  t.same([...view.keys()], ['a', 'c'])
  t.same([...view.values()], ['2', '3'])
  t.same(new Map(view), new Map(view.entries()))
  const seen: unknown[] = []
  view.forEach((value, key, map) => void seen.push([value, key, map === view]))
  t.same(seen, [
    ['2', 'a', true],
    ['3', 'c', true]
  ])
})

t.test('without a decoder values are buffers, a copy for whoever asks; large ones too', async t => {
  await using log = await openLog(await tempDir(t))
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i))
  const large = Buffer.alloc(50_000, bytes)
  await log.append([
    { key: 'a', value: bytes },
    { key: 'b', value: large }
  ])
  await using view = await log.latest().follow()
  const value = view.get('a')
  t.same(value, bytes)
  value?.fill(0)
  view.get('b')?.fill(0)
  t.same(view.get('a'), bytes)
  t.same(view.get('b'), large)
})

t.test('a value is decoded once, when it is first asked for', async t => {
  await using log = await openLog(await tempDir(t))
  await log.append([
    { key: 'a', value: '{"on":true}' },
    { key: 'b', value: '{' }
  ])
  let decoded = 0
  const values = (value: Buffer): { on: boolean } => {
    decoded += 1
    return JSON.parse(String(value)) as { on: boolean }
  }
  await using view = await log.latest().follow({ values })
  t.equal(decoded, 0)
  t.equal(view.get('a')?.on, true)
  t.equal(view.get('a'), view.get('a'))
  t.equal(decoded, 1)
  // One bad value is an error of its key, and nothing else.
  t.throws(() => view.get('b'), { code: 'INVALID_RECORD', details: { offset: 1 } })
  t.throws(() => [...view], { code: 'INVALID_RECORD' })
  t.equal(view.has('b'), true)
  await view.reached((await log.append([{ key: 'b', value: '{"on":false}' }])).lastOffset)
  t.equal(view.get('b')?.on, false)
})

t.test('keys of any bytes stay apart where a key function keeps them apart', async t => {
  await using log = await openLog(await tempDir(t))
  await log.append([
    { key: Buffer.from([0xff]), value: '1' },
    { key: Buffer.from([0xfe]), value: '2' }
  ])
  await using view = await log.latest().follow({ keys: key => key.toString('hex'), values: String })
  t.equal(text(view), 'ff=1 fe=2')
  await using numbers = await log.latest().follow({ keys: key => key.readUInt8(), values: String })
  t.equal(numbers.get(255), '1')
  // As text both would be U+FFFD.
  await t.rejects(log.latest().follow(), { code: 'INVALID_RECORD', message: /offset 0 .*keys/ })
})

t.test('a key that cannot be decoded ends the following, loudly', async t => {
  await using log = await openLog(await tempDir(t))
  await log.append([{ key: 'a', value: '1' }])
  await using view = await log.latest().follow()
  const heard: unknown[] = []
  const hear = (message: unknown): void => void heard.push(message)
  subscribe('heartwood:error', hear)
  t.teardown(() => unsubscribe('heartwood:error', hear))
  const failure = { code: 'INVALID_RECORD', details: { offset: 1 } }
  const refused = t.rejects(view.reached(100), failure)
  await log.append([{ key: Buffer.from([0xff]), value: '2' }])
  await refused
  t.equal(view.condition, 'failed')
  t.match(view.failure, failure)
  t.match(heard, [{ topic: 't', partition: 0, error: failure }])
  for (const ask of [() => view.get('a'), () => view.has('a'), () => view.size, () => view.keys(), () => [...view]])
    t.throws(ask, failure)
  await t.rejects(view.reached(0), failure)
  await view.close()
})

t.test('reached waits, is called off by its signal, and knows when nothing will come', async t => {
  const log = await openLog(await tempDir(t))
  const view = await log.latest().follow()
  await view.reached(-1)
  await view.caughtUp()
  await t.rejects(view.reached(Number.NaN), { code: 'OFFSET_OUT_OF_RANGE' })
  const stop = new AbortController()
  const given = view.reached(0, { signal: stop.signal })
  stop.abort(new Error('enough'))
  await t.rejects(given, /enough/)
  const refused = t.rejects(view.reached(1), { code: 'LOG_CLOSED' })
  await log.append([{ key: 'a', value: '1' }])
  await view.reached(0)
  await log.close()
  await refused
  // It keeps what it has.
  t.equal(view.condition, 'closed')
  t.equal(String(view.get('a')), '1')
  await view.reached(0)
  await view.close()
})

t.test('a closed view keeps what it had, whatever becomes of the log', async t => {
  await using log = await openLog(await tempDir(t), { config: { segmentBytes: 200 } })
  for (let i = 0; i < 10; i += 1) await log.append([{ key: `k${i}`, value: `${i}` }])
  const stop = new AbortController()
  const aborted = await log.latest({ signal: stop.signal }).follow()
  const closed = await log.latest().follow()
  stop.abort()
  await closed.close()
  await aborted.close()
  await log.append([{ key: 'k10', value: '10' }])
  await log.deleteRecordsBefore(8)
  await log.truncateTo(9)
  for (const view of [closed, aborted]) t.equal(view.size, 10)
  await t.rejects(log.latest({ signal: stop.signal }).follow(), { name: 'AbortError' })
})

t.test('records below a raised log start are gone from the view at once', async t => {
  await using log = await openLog(await tempDir(t), { config: { segmentBytes: 200 } })
  for (let i = 0; i < 10; i += 1) await log.append([{ key: `k${i % 5}`, value: `${i}` }])
  await using view = await log.latest().follow({ values: String })
  await log.deleteRecordsBefore(7)
  t.equal(view.get('k1'), undefined)
  t.equal(view.has('k1'), false)
  t.equal(view.get('k2'), '7')
  t.equal(text(view), 'k2=7 k3=8 k4=9')
  await view.reached((await log.append([{ key: 'k1', value: '10' }])).lastOffset)
  t.equal(view.size, 4)
})

t.test('a cut of the log’s end: the view refuses at once, then shows what the log has', async t => {
  await using log = await openLog(await tempDir(t), { config: { segmentBytes: 200 } })
  for (let i = 0; i < 10; i += 1) await log.append([{ key: `k${i % 5}`, value: `${i}` }])
  await using view = await log.latest().follow({ values: String })
  const cut = log.truncateTo(7)
  let refused = 0
  const done = cut.then(() => true)
  while (!(await Promise.race([done, new Promise<false>(resolve => setImmediate(resolve, false))]))) {
    try {
      view.get('k4')
    } catch (error) {
      t.match(error, { code: 'OFFSET_OUT_OF_RANGE' })
      refused += 1
    }
  }
  t.ok(refused > 0)
  t.not(view.offset, 10)
  await view.caughtUp()
  t.equal(text(view), 'k0=5 k1=6 k2=2 k3=3 k4=4')
  t.equal(view.offset, 7)
  // And what comes in the place of what went is not passed over, also when the view was waiting behind it.
  for (let i = 0; i < 5; i += 1) await log.append([{ key: `n${i}`, value: `${i}` }])
  await view.caughtUp()
  t.equal(text(view), 'k0=5 k1=6 k2=2 k3=3 k4=4 n0=0 n1=1 n2=2 n3=3 n4=4')
  await log.startAt(50)
  await view.caughtUp()
  t.equal(text(view), '')
  await view.reached((await log.append([{ key: 'a', value: 'new' }])).lastOffset)
  t.equal(text(view), 'a=new')
})

t.test('a view that is opened during a cut shows nothing of the batch that goes', async t => {
  // A batch goes as a whole. Until its file was cut, what lies in it before the cut could still be read.
  await using log = await openLog(await tempDir(t))
  await log.append([{ key: 'first', value: '0' }])
  await log.append(
    Array.from({ length: 9 }, (_, i) => ({ key: `k${i}`, value: '1' })),
    { ownBatch: true }
  )
  const views: LatestView<string, string>[] = []
  let isDone = false
  const cut = log.truncateTo(5).finally(() => {
    isDone = true
  })
  while (!isDone) {
    const opened = log.latest().follow({ values: String })
    await new Promise(resolve => setImmediate(resolve))
    views.push(await opened)
  }
  await cut
  for (const view of views) {
    await view.caughtUp()
    t.equal(text(view), 'first=0')
    t.equal(view.offset, 5)
    await view.close()
  }
})

for (const turns of [0, 1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30]) {
  t.test(`compaction beneath a view that has been reading for ${turns} turns leaves it as a new one would be`, t =>
    compactedBeneath(t, turns)
  )
}

async function compactedBeneath(t: Test, turns: number): Promise<void> {
  const fs = new MemoryFileSystem()
  await fs.makeDirectory('/data')
  await using log = await openLog('/data', { shared: sharedParts({ fs }), config: { visibility: 'written' } })
  // Rounds of a value and its tombstone, of which compaction later takes both.
  for (let i = 0; i < 300; i += 1) {
    await log.append([{ key: `stays${i % 7}`, value: `${i}`.padEnd(9000, '.') }], { ownBatch: true })
    await log.append([{ key: `goes${i}`, value: `${i}`.padEnd(9000, '.') }], { ownBatch: true })
    if (i % 100 === 99) await log.roll()
  }
  for (let i = 0; i < 300; i += 1) await log.append([{ key: `goes${i}`, value: null }], { ownBatch: true })
  await log.roll()
  await log.append([{ key: 'active', value: 'x' }])
  await using before = await log.latest().follow()
  const { maintenance } = log
  const view = await maintenance.view()
  const cleaned = await cleanByHand(
    fs,
    '/data/t-0',
    view,
    ({ baseOffset }) => baseOffset >= 586 && baseOffset % 2 === 0 && baseOffset < 600
  )
  // It has taken in some of the values, and none of the tombstones, when both go.
  const opening = log.latest().follow()
  const iterator = log.latest()[Symbol.asyncIterator]()
  const first = iterator.next()
  for (let i = 0; i < turns; i += 1) await new Promise(resolve => setImmediate(resolve))
  await maintenance.replace(view, cleaned)
  await using during = await opening
  await using after = await log.latest().follow()
  const wanted = ['active', ...Array.from({ length: 7 }, (_, i) => `stays${i}`)]
  for (const shown of [before, during, after]) {
    t.same([...shown.keys()].sort(), wanted)
    for (const key of wanted) t.same(shown.get(key), after.get(key))
  }
  const keys: string[] = []
  for (let { value: record } = await first; record !== undefined; { value: record } = await iterator.next())
    keys.push(String(record.key))
  t.same(keys.sort(), wanted)
}

t.test('a view sees a transaction when it is decided, and as a whole', async t => {
  await using log = await openLog(await tempDir(t))
  const producer = { producerId: 7, producerEpoch: 0, transactional: true }
  await using view = await log.latest().follow({ values: String })
  await using early = await log.latest({ isolation: 'read_uncommitted' }).follow({ values: String })
  await log.append(
    [
      { key: 'a', value: '1' },
      { key: 'b', value: '1' }
    ],
    { ...producer, baseSequence: 0 }
  )
  const { lastOffset } = await log.append([{ key: 'c', value: 'of another' }])
  await early.reached(lastOffset)
  t.equal(text(early), 'a=1 b=1 c=of another')
  t.equal(text(view), '')
  const marker = await log.appendEndTransaction({ type: 'commit', producerId: 7, producerEpoch: 0 })
  await view.reached(marker.lastOffset)
  t.equal(text(view), 'a=1 b=1 c=of another')
  await log.append([{ key: 'a', value: '2' }, { key: 'b' }], { ...producer, baseSequence: 2 })
  const aborted = await log.appendEndTransaction({ type: 'abort', producerId: 7, producerEpoch: 0 })
  await view.reached(aborted.lastOffset)
  t.equal(view.offset, 7)
  t.equal(text(view), 'a=1 b=1 c=of another')
})

t.test('damage that following meets is the view’s failure, not an end', async t => {
  const fs = new MemoryFileSystem({ now: () => 1_700_000_000_000 })
  await fs.makeDirectory('/data')
  const shared = sharedParts({ fs })
  const log = await openLog('/data', { shared, config: { segmentBytes: 500 } })
  for (let i = 0; i < 20; i += 1) await log.append([{ key: `k${i}`, value: 'x'.repeat(100) }])
  await log.close()
  const handle = await fs.open('/data/t-0/00000000000000000000.log', 'write')
  await handle.write(Buffer.from([1, 2, 3]), 80)
  await handle.close()
  await using again = await openLog('/data', { shared, clean: true, recoveryPoint: 20, config: { segmentBytes: 500 } })
  await t.rejects(again.latest().follow(), { code: 'CORRUPT_LOG' })
})
