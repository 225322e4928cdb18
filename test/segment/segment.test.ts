import { join } from 'node:path'
import t from 'tap'
import { HandleCache } from '../../lib/fs/handle-cache.ts'
import { segmentFileName } from '../../lib/segment/file-names.ts'
import { OffsetIndex } from '../../lib/segment/offset-index.ts'
import { Segment } from '../../lib/segment/segment.ts'
import { TimeIndex } from '../../lib/segment/time-index.ts'
import { KiB, MiB } from '../../lib/util/sizes.ts'
import { tempDir } from '../helpers/paths.ts'
import { batchOf, content, factsOf, memoryEnv, put, segmentEnv } from '../helpers/segments.ts'

const DIR = '/data/orders-0'
const file = (baseOffset: number, suffix: string): string => join(DIR, segmentFileName(baseOffset, suffix))

async function memory(options: Parameters<typeof memoryEnv>[0] = {}) {
  const made = memoryEnv({ indexIntervalBytes: 200, ...options })
  await made.fs.makeDirectory('/data')
  await made.fs.makeDirectory(DIR)
  return made
}

/** Batches of `count` records each, from `baseOffset` on, back to back. */
function batches(number: number, { baseOffset = 0, count = 3, timestamp = 1000 } = {}): Buffer {
  const made: Buffer[] = []
  for (let i = 0; i < number; i += 1) {
    made.push(batchOf({ baseOffset: baseOffset + i * count, count, timestamp: timestamp + i * 10 }))
  }
  return Buffer.concat(made)
}

async function written(env: Parameters<typeof Segment.create>[0], bytes: Buffer, baseOffset = 0): Promise<Segment> {
  const segment = await Segment.create(env, DIR, baseOffset)
  await segment.write(bytes, factsOf(bytes))
  return segment
}

t.test('a new segment has an empty log and two empty indexes, and no transaction index', async t => {
  const { env, fs } = await memory()
  const segment = await Segment.create(env, DIR, 42)
  t.same((await fs.readDirectory(DIR)).map(({ name }) => name).sort(), [
    '00000000000000000042.index',
    '00000000000000000042.log',
    '00000000000000000042.timeindex'
  ])
  t.equal(segment.size, 0)
  t.equal(segment.nextOffset, 42)
  t.equal(segment.maxTimestamp, undefined)
  t.equal(await segment.largestTimestamp(), undefined)
  t.same(await segment.locate(42), { from: 0, to: 0, lastOffset: undefined })
  t.equal(await segment.findBatch(42), undefined)
})

t.test('a log that holds something is never taken for a new one', async t => {
  const { env, fs } = await memory()
  await put(fs, file(42, '.log'), Buffer.from('somebody else’s'))
  await t.rejects(Segment.create(env, DIR, 42), { code: 'STORAGE_FAILED' })
  t.equal((await content(fs, file(42, '.log'))).length, 17)
})

t.test('what an earlier attempt left behind does not stop a new one', async t => {
  const { env, fs } = await memory()
  await put(fs, file(42, '.log'), Buffer.alloc(0))
  await put(fs, file(42, '.index'), Buffer.alloc(16, 1))
  await put(fs, file(42, '.txnindex'), Buffer.alloc(34, 1))
  const segment = await Segment.create(env, DIR, 42)
  t.equal((await content(fs, file(42, '.index'))).length, 0)
  t.same(await segment.collectAborted(0, 100), { entries: [], complete: false })
})

t.test('index entries stay in memory until they are flushed, and files hold just what was flushed', async t => {
  const { env, fs } = await memory()
  const bytes = batches(20)
  const segment = await written(env, bytes)
  t.equal((await content(fs, file(0, '.index'))).length, 0)
  await segment.flushIndexes()
  const first = await content(fs, file(0, '.index'))
  t.ok(first.length > 0 && first.length % 8 === 0)
  const more = batches(20, { baseOffset: 60, timestamp: 5000 })
  await segment.write(more, factsOf(more, segment.size))
  await segment.flushIndexes()
  const second = await content(fs, file(0, '.index'))
  t.ok(second.length > first.length)
  t.ok(second.subarray(0, first.length).equals(first))
})

t.test('closing adds the largest timestamp to the time index, and reopening knows it', async t => {
  const { env, fs, close } = await memory()
  const segment = await written(env, batches(20))
  t.equal(segment.maxTimestamp, 1192)
  await segment.close({ clean: true })
  const times = TimeIndex.parse(await content(fs, file(0, '.timeindex')), 0)
  t.same(times.last, { timestamp: 1192, offset: 59 })
  const again = await Segment.open(env, DIR, 0, { readOnly: false, trustIndexes: true })
  t.equal(await again.largestTimestamp(), 1192)
  t.equal(await again.offsetOfLargestTimestamp(), 59)
  t.equal(await again.firstBatchMaxTimestamp, 1002)
  t.equal(await again.findNextOffset(), 60)
  await close()
})

t.test('a segment that goes on after reopening has the offset index of one that never stopped', async t => {
  const all = batches(60)
  const { env, fs } = await memory()
  await (await written(env, all)).close({ clean: true })
  const expected = await content(fs, file(0, '.index'))

  const other = await memory()
  let segment = await Segment.create(other.env, DIR, 0)
  for (const [i, fact] of factsOf(all).entries()) {
    await segment.write(all.subarray(fact.position, fact.position + fact.size), [fact])
    if (i % 11 !== 10) continue
    await segment.close({ clean: true })
    segment = await Segment.open(other.env, DIR, 0, { readOnly: false, trustIndexes: true })
    segment.nextOffset = fact.lastOffset + 1
  }
  await segment.close({ clean: true })
  t.ok((await content(other.fs, file(0, '.index'))).equals(expected))
  t.ok((await content(other.fs, file(0, '.log'))).equals(all))
})

t.test('opening costs one look at the log file, and no descriptor', async t => {
  const { env, fs } = await memory()
  await (await written(env, batches(20))).close({ clean: true })
  const calls: string[] = []
  fs.onCall = call => calls.push(`${call.operation} ${call.path}`)
  const segment = await Segment.open(env, DIR, 0, { readOnly: false, trustIndexes: true })
  t.same(calls, [`stat ${file(0, '.log')}`])
  t.equal(env.handles.stats.open, 0)
  await segment.close({ clean: true })
  t.equal(calls.length, 1, 'closing what was never used costs nothing')
})

t.test('what is not there, or no file, or too large, does not open', async t => {
  const { env, fs } = await memory()
  const open = (baseOffset: number) => Segment.open(env, DIR, baseOffset, { readOnly: true, trustIndexes: true })
  await t.rejects(open(7), { code: 'STORAGE_FAILED', details: { system: 'ENOENT' } })
  await fs.makeDirectory(file(8, '.log'))
  await t.rejects(open(8), { code: 'UNSAFE_PATH' })
  fs.makeSymlink(file(7, '.log'), file(9, '.log'))
  await t.rejects(open(9), { code: 'UNSAFE_PATH' })
})

t.test('one read of the located range gives the batch, and about as much more as was asked for', async t => {
  const { env } = await memory()
  const bytes = batches(100)
  const segment = await written(env, bytes)
  const facts = factsOf(bytes)
  for (const { position, size, baseOffset, lastOffset } of facts) {
    const range = segment.locateSync(lastOffset)
    t.ok(range !== undefined && range.from <= position && position + size <= range.to)
    t.ok(range !== undefined && range.to - range.from < 1000, 'no more than a few intervals')
    const wide = segment.locateSync(baseOffset, 2000)
    t.ok(wide !== undefined && wide.to >= Math.min(bytes.length, position + 2000))
    t.ok(wide !== undefined && wide.to <= bytes.length)
  }
  const target = Buffer.alloc(bytes.length)
  t.equal(await segment.read(target, 0), bytes.length)
  t.ok(target.equals(bytes))
  t.equal(segment.readOpenSync(target, 100), bytes.length - 100)
  t.equal(await segment.read(target, bytes.length), 0)
})

t.test('a lookup needs the index once; then it is in memory until others need the room', async t => {
  const { env, fs } = await memory()
  await (await written(env, batches(50))).close({ clean: true })
  const segment = await Segment.open(env, DIR, 0, { readOnly: false, trustIndexes: true })
  t.equal(segment.locateSync(10), undefined)
  const calls: string[] = []
  fs.onCall = call => calls.push(call.operation)
  const [a, b] = await Promise.all([segment.locate(10), segment.locate(10)])
  t.same(a, b)
  t.same(segment.locateSync(10), a)
  calls.length = 0
  await segment.locate(20)
  t.same(calls, [])
  for (let i = 0; i < 3; i += 1) env.indexCache.add(env.indexCache.maxBytes, () => undefined)
  t.equal(segment.locateSync(10), undefined)
  t.same(await segment.locate(10), a)
})

t.test('time lookup leads to an offset before which no record is that late', async t => {
  const { env } = await memory()
  const bytes = batches(100)
  const segment = await written(env, bytes)
  for (let time = 990; time < 2100; time += 7) {
    const from = await segment.offsetBeforeTimestamp(time)
    const skipped = factsOf(bytes).filter(fact => fact.lastOffset < from)
    t.ok(skipped.every(fact => fact.maxTimestamp < time))
  }
})

t.test('truncating takes the whole batch that holds the offset, and the indexes with it', async t => {
  const { env, fs } = await memory()
  const bytes = batches(40)
  const facts = factsOf(bytes)
  const segment = await written(env, bytes)
  await segment.flushIndexes()
  const cut = facts[25]!
  t.equal(await segment.truncateTo(cut.baseOffset + 1), cut.position)
  t.equal(segment.nextOffset, cut.baseOffset)
  t.equal((await content(fs, file(0, '.log'))).length, cut.position)
  t.equal(segment.maxTimestamp, facts[24]!.maxTimestamp, 'also where the time index has no entry for it')
  const index = OffsetIndex.parse(await content(fs, file(0, '.index')), 0)
  t.ok(index.entryCount > 0 && index.lookup(1000).offset < cut.baseOffset)
  // What comes then is as if the batches behind had never been.
  const rest = bytes.subarray(cut.position)
  await segment.write(rest, factsOf(rest, cut.position))
  await segment.close({ clean: true })
  const other = await memory()
  await (await written(other.env, bytes)).close({ clean: true })
  for (const suffix of ['.log', '.index', '.timeindex']) {
    t.ok((await content(fs, file(0, suffix))).equals(await content(other.fs, file(0, suffix))), suffix)
  }
})

t.test('truncating behind the end cuts nothing; to the base offset, everything', async t => {
  const { env, clock } = await memory()
  const bytes = batches(10)
  const segment = await written(env, bytes)
  t.equal(await segment.truncateTo(30), bytes.length)
  t.equal(await segment.truncateTo(0), 0)
  t.equal(await segment.largestTimestamp(), undefined)
  t.equal(await segment.firstBatchMaxTimestamp, undefined)
  t.equal(segment.shouldRoll({ size: 100, maxTimestamp: 9e12, lastOffset: 1 }, clock.now()), undefined)
  await segment.write(bytes, factsOf(bytes))
  t.equal(segment.maxTimestamp, 1092)
})

t.test('a cut survives a power cut before anything is written behind it', async t => {
  const { env, fs } = await memory()
  const bytes = batches(10)
  const segment = await written(env, bytes)
  await segment.flushAll()
  for (const folder of ['/', '/data']) await fs.syncDirectory(folder)
  await fs.syncDirectory(DIR)
  const size = await segment.truncateTo(15)
  fs.powerCut()
  t.equal((await content(fs, file(0, '.log'))).length, size)
})

t.test('aborted transactions go to a file of their own, which comes with the first one', async t => {
  const { env, fs } = await memory()
  const segment = await written(env, batches(10))
  const entry = { producerId: 5, firstOffset: 3, lastOffset: 20, lastStableOffset: 21 }
  await segment.appendAborted(entry)
  t.same(await segment.collectAborted(0, 30), { entries: [entry], complete: false })
  t.equal(await fs.stat(file(0, '.txnindex')), undefined)
  await segment.close({ clean: true })
  t.equal((await content(fs, file(0, '.txnindex'))).length, 34)
  const again = await Segment.open(env, DIR, 0, { readOnly: false, trustIndexes: true })
  const second = { producerId: 6, firstOffset: 22, lastOffset: 29, lastStableOffset: 30 }
  await again.appendAborted(second)
  t.same(await again.collectAborted(0, 30), { entries: [entry, second], complete: true })
  await again.truncateTo(29)
  t.same(await again.collectAborted(0, 30), { entries: [entry], complete: false })
  await again.close({ clean: true })
  t.equal((await content(fs, file(0, '.txnindex'))).length, 34)
})

t.test('a damaged transaction index is said to be, until it is built anew', async t => {
  const { env, fs } = await memory()
  await (await written(env, batches(10))).close({ clean: true })
  await put(fs, file(0, '.txnindex'), Buffer.alloc(33))
  const segment = await Segment.open(env, DIR, 0, { readOnly: false, trustIndexes: true })
  await t.rejects(segment.collectAborted(0, 10), { code: 'CORRUPT_FILE' })
  const entry = { producerId: 5, firstOffset: 3, lastOffset: 20, lastStableOffset: 21 }
  await segment.appendAborted(entry)
  await t.rejects(segment.collectAborted(0, 10), { code: 'CORRUPT_FILE' }, 'half an answer would be a wrong one')
  segment.resetTransactions()
  await segment.appendAborted(entry)
  await segment.flushIndexes()
  t.equal((await content(fs, file(0, '.txnindex'))).length, 34)
})

t.test('preallocated room is zeros behind the data, and gone once the segment is closed', async t => {
  const { env, fs } = await memory({ preallocate: true, segmentBytes: 100_000, indexBytes: 1000 })
  const bytes = batches(20)
  const segment = await written(env, bytes)
  await segment.flushIndexes()
  t.equal((await content(fs, file(0, '.log'))).length, 100_000)
  t.equal((await content(fs, file(0, '.index'))).length, 1000)
  t.equal((await content(fs, file(0, '.timeindex'))).length, 996)
  t.equal(segment.size, bytes.length)
  t.ok(await segment.indexesAreLongerThanEntries())

  const crashed = await Segment.open(env, DIR, 0, { readOnly: true, trustIndexes: false })
  const found = await crashed.rebuildIndexes()
  t.match(found, { validBytes: bytes.length, end: 'corrupt', reason: 'zeros', zerosToEnd: true, nextOffset: 60 })

  await segment.close({ clean: true })
  t.equal((await content(fs, file(0, '.log'))).length, bytes.length)
  t.ok((await content(fs, file(0, '.index'))).length < 1000)
  const closed = await Segment.open(env, DIR, 0, { readOnly: false, trustIndexes: true })
  t.notOk(await closed.indexesAreLongerThanEntries())
  t.equal((await closed.rebuildIndexes()).end, 'end')
})

t.test('a full index lets the segment roll, and a batch too many costs an entry, not the batch', async t => {
  const { env, clock } = await memory({ indexBytes: 48, indexIntervalBytes: 0 })
  const segment = await Segment.create(env, DIR, 0)
  const bytes = batches(10)
  t.equal(segment.indexRoom, 3, 'the time index keeps its last place')
  await segment.write(bytes, factsOf(bytes))
  t.equal(segment.indexRoom, 0)
  t.equal(segment.shouldRoll({ size: 100, maxTimestamp: 2000, lastOffset: 31 }, clock.now()), 'index-full')
  t.equal(segment.size, bytes.length)
  await segment.seal()
  t.equal(await segment.largestTimestamp(), 1092)
})

t.test('a reopened segment rolls by the time of its first batch', async t => {
  const { env, clock } = await memory({ segmentMs: 1000 })
  await (await written(env, batches(2))).close({ clean: true })
  const segment = await Segment.open(env, DIR, 0, { readOnly: false, trustIndexes: true })
  t.equal(segment.shouldRoll({ size: 100, maxTimestamp: 2002, lastOffset: 9 }, clock.now()), undefined)
  t.equal(segment.shouldRoll({ size: 100, maxTimestamp: 2003, lastOffset: 9 }, clock.now()), 'time')
})

t.test('writing what does not fit is a defect, found before anything is written', async t => {
  const { env } = await memory()
  const bytes = batches(2)
  const facts = factsOf(bytes)
  const segment = await Segment.create(env, DIR, 0)
  const refused = (buffer: Buffer, given: typeof facts): Promise<unknown> =>
    t.rejects(segment.write(buffer, given), { name: 'AssertionError' })
  await refused(bytes, [])
  await refused(bytes, facts.slice(0, 1))
  await refused(bytes, factsOf(bytes, 10))
  await refused(bytes, [facts[1]!, facts[0]!])
  await segment.write(bytes, facts)
  await refused(bytes, factsOf(bytes, segment.size))
  t.equal(segment.size, bytes.length)
  const [first, second] = [batches(1, { baseOffset: 6 }), batches(1, { baseOffset: 9 })]
  const one = segment.write(first, factsOf(first, segment.size))
  await refused(second, factsOf(second, segment.size))
  await one
})

t.test('a read-only segment is not written to', async t => {
  const { env, fs } = await memory()
  const bytes = batches(3)
  await (await written(env, bytes)).close({ clean: true })
  const before = (await fs.readDirectory(DIR)).length
  const segment = await Segment.open(env, DIR, 0, { readOnly: true, trustIndexes: false })
  await t.rejects(segment.write(bytes, factsOf(bytes)), { name: 'AssertionError' })
  await t.rejects(segment.truncateTo(0), { name: 'AssertionError' })
  await t.rejects(segment.delete(), { name: 'AssertionError' })
  await t.rejects(segment.renameTo('.deleted'), { name: 'AssertionError' })
  fs.onCall = call => {
    if (['write', 'truncate', 'rename', 'unlink'].includes(call.operation)) t.fail(`${call.operation} ${call.path}`)
  }
  await segment.rebuildIndexes()
  await segment.flushIndexes()
  await segment.close({ clean: true })
  t.equal((await fs.readDirectory(DIR)).length, before)
})

t.test('a reader beside a writer takes over what the other one wrote', async t => {
  const { env } = await memory()
  const bytes = batches(30)
  const facts = factsOf(bytes)
  const writer = await Segment.create(env, DIR, 0)
  const half = facts[15]!.position
  await writer.write(bytes.subarray(0, half), facts.slice(0, 15))
  const reader = await Segment.open(env, DIR, 0, { readOnly: true, trustIndexes: false })
  t.equal(reader.size, half)
  await writer.write(bytes.subarray(half), facts.slice(15))
  await reader.extend(facts.slice(15))
  t.equal(reader.size, bytes.length)
  t.equal(await reader.largestTimestamp(), 1292)
  const range = await reader.locate(facts[29]!.lastOffset)
  t.ok(range.from <= facts[29]!.position && range.to === bytes.length)
  const target = Buffer.alloc(bytes.length)
  t.equal(await reader.read(target, 0), bytes.length)
})

t.test('a segment opened up to its valid bytes shows nothing behind them', async t => {
  const { env, fs } = await memory()
  const bytes = batches(10)
  await put(fs, file(0, '.log'), Buffer.concat([bytes, Buffer.alloc(777, 0xff)]))
  const options = { readOnly: true, trustIndexes: false, validBytes: bytes.length }
  const segment = await Segment.open(env, DIR, 0, options)
  t.equal(segment.size, bytes.length)
  t.equal(await segment.read(Buffer.alloc(5000), 0), bytes.length)
  t.equal((await segment.rebuildIndexes()).end, 'end')
})

t.test('a torn tail is found by rebuilding and cut off for good', async t => {
  const { env, fs } = await memory()
  const bytes = batches(10)
  await put(fs, file(0, '.log'), bytes.subarray(0, bytes.length - 5))
  const segment = await Segment.open(env, DIR, 0, { readOnly: false, trustIndexes: false })
  const seen: number[] = []
  const result = await segment.rebuildIndexes(batch => {
    seen.push(batch.baseOffset)
  })
  const { position } = factsOf(bytes)[9]!
  t.match(result, { validBytes: position, end: 'incomplete', nextOffset: 27, zerosToEnd: false })
  t.equal(seen.length, 9)
  await segment.cutTail(result.validBytes)
  await segment.close({ clean: true })
  t.equal((await content(fs, file(0, '.log'))).length, position)
  t.equal((await content(fs, file(0, '.timeindex'))).length > 0, true)
})

t.test('a base offset that goes back ends the rebuild, though no CRC covers it', async t => {
  const { env, fs } = await memory()
  const bytes = batches(5)
  const { position } = factsOf(bytes)[3]!
  bytes.writeUInt32BE(1, position + 4)
  await put(fs, file(0, '.log'), bytes)
  const segment = await Segment.open(env, DIR, 0, { readOnly: false, trustIndexes: false })
  t.match(await segment.rebuildIndexes(), { validBytes: position, end: 'corrupt', nextOffset: 9 })
})

t.test('nanoseconds are in the index as they are in the batch', async t => {
  const { env, fs } = await memory({ indexIntervalBytes: 0 })
  const first = batchOf({ baseOffset: 0, timestamp: 1_700_000_000_000_000_001n })
  const second = batchOf({ baseOffset: 1, timestamp: 1_700_000_000_000_000_003n })
  const bytes = Buffer.concat([first, second])
  const segment = await written(env, bytes)
  t.equal(await segment.offsetBeforeTimestamp(1_700_000_000_000_000_002n), 0)
  t.equal(await segment.offsetBeforeTimestamp(1_700_000_000_000_000_003n), 0)
  t.equal(await segment.offsetBeforeTimestamp(1_700_000_000_000_000_004n), 1)
  await segment.close({ clean: true })
  t.equal((await content(fs, file(0, '.timeindex'))).readBigInt64BE(0), 1_700_000_000_000_000_003n)
})

t.test('a renamed segment is read on, by the old descriptor and by a new one', async t => {
  const { env, fs } = await memory()
  const bytes = batches(10)
  const segment = await written(env, bytes)
  await segment.appendAborted({ producerId: 5, firstOffset: 3, lastOffset: 20, lastStableOffset: 21 })
  await segment.seal()
  const target = Buffer.alloc(bytes.length)
  const reading = segment.read(target, 0)
  await segment.renameTo('.deleted')
  t.equal(await reading, bytes.length)
  t.equal(await segment.read(target, 0), bytes.length)
  t.ok((await fs.readDirectory(DIR)).every(({ name }) => name.endsWith('.deleted')))
  t.equal((await fs.readDirectory(DIR)).length, 4)
  await segment.delete()
  t.equal((await fs.readDirectory(DIR)).length, 0)
  t.ok(segment.isDeleted)
})

t.test('a segment of the cleaner’s is created under its suffix and renamed into use', async t => {
  const { env, fs } = await memory()
  const segment = await Segment.create(env, DIR, 0, '.cleaned')
  const bytes = batches(10)
  await segment.write(bytes, factsOf(bytes))
  await segment.seal()
  await segment.renameTo('.swap')
  await segment.renameTo('')
  t.ok((await fs.readDirectory(DIR)).every(({ name }) => /^\d{20}\.(log|index|timeindex)$/.test(name)))
  t.same(await segment.locate(5), await segment.locate(5))
})

t.test('many segments share few descriptors, and unsynced ones keep theirs only within the budget', async t => {
  const dir = await tempDir(t)
  const handles = new HandleCache(segmentEnv({}).env.fs, { maxOpen: 8 })
  const { env } = segmentEnv({ handles })
  const bytes = batchOf({ baseOffset: 0 })
  const segments: Segment[] = []
  for (let i = 0; i < 30; i += 1) {
    const folder = join(dir, `t-${i}`)
    await env.fs.makeDirectory(folder)
    const segment = await Segment.create(env, folder, 0)
    await segment.write(bytes, factsOf(bytes))
    segments.push(segment)
  }
  t.ok(handles.stats.open <= 8, `${handles.stats.open} open`)
  for (const segment of segments) {
    t.ok(segment.isDirty)
    await segment.datasync()
    t.notOk(segment.isDirty)
    t.equal(await segment.read(Buffer.alloc(bytes.length), 0), bytes.length)
  }
  for (const segment of segments) await segment.close({ clean: true })
  t.equal(handles.stats.leased, 0)
  await handles.close()
  t.equal(handles.stats.open, 0)
})

t.test('small synced writes into preallocated room go to blocks that zeros were written to before', async t => {
  const made = await memory({ preallocate: true, segmentBytes: 2 * MiB, indexBytes: 1000 })
  const { fs } = made
  const [first, second, third] = [batches(2), batches(3, { baseOffset: 6 }), batches(1, { baseOffset: 15 })] as const
  const segment = await written(made.env, first)
  for (const folder of ['/', '/data', DIR]) await fs.syncDirectory(folder)
  const writes: [number, number][] = []
  fs.onCall = call => {
    if (call.operation === 'write' && call.path.endsWith('.log')) writes.push([call.position ?? -1, call.length ?? -1])
  }
  const append = (bytes: Buffer): boolean => segment.tryWriteSync(bytes, factsOf(bytes, segment.size))
  t.ok(append(second), 'before the first sync nobody knows that there will be any')
  t.same(writes.splice(0), [[first.length, second.length]])
  await segment.datasync()
  const { size } = segment
  t.ok(append(third))
  t.same(writes.splice(0), [
    [size, 256 * KiB],
    [size, third.length]
  ])
  await segment.datasync()
  const more = batches(20, { baseOffset: 18 })
  t.ok(append(more))
  t.same(writes, [[size + third.length, more.length]])
  fs.powerCut()
  const { env } = segmentEnv({ fs, preallocate: true })
  const crashed = await Segment.open(env, DIR, 0, { readOnly: true, trustIndexes: false })
  t.match(await crashed.rebuildIndexes(), { validBytes: size + third.length, zerosToEnd: true, nextOffset: 18 })
})

t.test('zeros that find no space do not keep a batch from being written', async t => {
  const { env, fs } = await memory({ preallocate: true, segmentBytes: 2 * MiB, indexBytes: 1000 })
  const [first, second] = [batches(2), batches(3, { baseOffset: 6 })] as const
  const segment = await written(env, first)
  await segment.datasync()
  fs.onCall = call => {
    if (call.operation === 'write' && call.length === 256 * KiB)
      throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' })
  }
  t.ok(segment.tryWriteSync(second, factsOf(second, first.length)))
  await segment.close({ clean: true })
  t.ok((await content(fs, file(0, '.log'))).equals(Buffer.concat([first, second])))
})

t.test('without preallocation no byte is written but batches', async t => {
  const { env, fs } = await memory()
  const [first, second] = [batches(2), batches(3, { baseOffset: 6 })] as const
  const segment = await written(env, first)
  await segment.datasync()
  t.ok(segment.tryWriteSync(second, factsOf(second, first.length)))
  t.equal((await content(fs, file(0, '.log'))).length, first.length + second.length)
  await segment.close({ clean: true })
})

t.test('a name that another segment had before leads to the file that has it now', async t => {
  const { env, fs } = await memory()
  const first = await written(env, batches(2))
  await first.seal()
  await first.renameTo('.deleted')
  const target = Buffer.alloc(first.size)
  await first.read(target, 0) // its descriptor is kept, under that name
  const second = await written(env, batches(3, { timestamp: 9000 }))
  await second.seal()
  await second.renameTo('.deleted')
  t.same(await content(fs, file(0, '.log.deleted')), batches(3, { timestamp: 9000 }))
  const seen = Buffer.alloc(second.size)
  await second.read(seen, 0)
  t.same(seen, batches(3, { timestamp: 9000 }))
  await first.close({ clean: false })
  await second.close({ clean: false })
})
