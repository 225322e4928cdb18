import { join } from 'node:path'
import t from 'tap'
import { previewCleaning } from '../../lib/compaction/cleaner.ts'
import type { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { BatchView } from '../../lib/record/batch-view.ts'
import { encodeBatch } from '../../lib/record/encode-batch.ts'
import type { RecordInput } from '../../lib/record/record.ts'
import { type AbortedTransaction, TransactionIndex } from '../../lib/segment/transaction-index.ts'
import { cleanAndSwap, type InputOptions, inputFor, sourcesIn } from '../helpers/cleaning.ts'
import { ManualClock } from '../helpers/manual-clock.ts'
import { DIR, file, imageOf, marker, memoryFolder, readFile } from '../helpers/partition-folder.ts'

const NOW = 1_800_000_000_000

type Options = Partial<Parameters<typeof encodeBatch>[1]>

/** A batch of `key=value` records, or `key` alone for a tombstone; `=value` has no key. */
function kv(baseOffset: number, texts: string, options: Options = {}): Buffer {
  const records = texts.split(' ').map((text, i): RecordInput => {
    const [key, value] = text.split('=')
    return { key: key === '' ? null : key!, value: value ?? null, timestamp: 1_700_000_000_000 + baseOffset + i }
  })
  return encodeBatch(records, { now: 1_700_000_000_000 + baseOffset, baseOffset, ...options })
}

const transactional = (producerId: number, baseSequence = 0): Options => ({
  producerId,
  producerEpoch: 0,
  baseSequence,
  transactional: true
})

/** Segments by base offset, each of these batches; one more, the active one, behind them. */
async function folderOf(
  segments: Readonly<Record<number, readonly Buffer[]>>,
  aborted: Readonly<Record<number, readonly AbortedTransaction[]>> = {}
): Promise<MemoryFileSystem> {
  const files: Record<string, Buffer> = {}
  for (const [base, batches] of Object.entries(segments)) {
    const baseOffset = Number(base)
    files[file(baseOffset)] = Buffer.concat(batches)
    const index = new TransactionIndex(baseOffset)
    for (const entry of aborted[baseOffset] ?? []) index.append(entry)
    if (index.entryCount > 0) files[file(baseOffset, '.txnindex')] = index.bytes()
  }
  return memoryFolder(files)
}

function textOf(batch: BatchView): string {
  const cursor = batch.records()
  const records: string[] = []
  while (cursor.next()) {
    if (batch.isControl) records.push(cursor.key()?.[3] === 1 ? 'commit' : 'abort')
    else records.push(`${cursor.offset}:${cursor.key() ?? ''}${cursor.hasValue ? `=${cursor.value()}` : ''}`)
  }
  return `[${batch.baseOffset}-${batch.lastOffset}${batch.deleteHorizonMs === undefined ? '' : ' horizon'}] ${records.join(' ')}`.trim()
}

/** Every batch of every segment, as text. */
async function contentOf(fs: MemoryFileSystem): Promise<Record<number, string[]>> {
  const content: Record<number, string[]> = {}
  for (const { baseOffset } of await sourcesIn(fs)) {
    const bytes = await readFile(fs, join(DIR, file(baseOffset)))
    const texts: string[] = (content[baseOffset] = [])
    for (let at = 0; at < bytes.length; ) {
      const batch = new BatchView(bytes, at)
      texts.push(textOf(batch))
      at = batch.end
    }
  }
  return content
}

async function clean(
  fs: MemoryFileSystem,
  more: Partial<InputOptions> = {}
): Promise<Awaited<ReturnType<typeof cleanAndSwap>>> {
  return cleanAndSwap(fs, await inputFor({ fs, now: NOW, ...more }))
}

t.test('the last value of each key stays where it was; whole batches are copied (B1, B2, B3)', async t => {
  const whole = kv(4, 'c=5 d=6', { leaderEpoch: 7 })
  const fs = await folderOf({
    0: [kv(0, 'a=1 b=2', { leaderEpoch: 3 }), kv(2, 'a=3 c=4')],
    4: [whole],
    6: [kv(6, 'b=7')],
    7: [kv(7, 'd=active')]
  })
  const { endOffset, stats, all } = await clean(fs)
  // All three fit into one segment. b=2 and c=4 went, and so did the batch that had nothing else.
  t.same(await contentOf(fs), { 0: ['[2-3] 2:a=3', '[4-5] 4:c=5 5:d=6', '[6-6] 6:b=7'], 7: ['[7-7] 7:d=active'] })
  t.equal(endOffset, 7)
  t.match(stats, { recordsRead: 7, recordsKept: 4, superseded: 3, batchesRead: 4, batchesKept: 3, batchesCopied: 2 })
  t.same(
    all.map(({ sources }) => sources),
    [[0, 4, 6]]
  )
  const bytes = await readFile(fs, join(DIR, file(0)))
  const first = new BatchView(bytes)
  t.match(first, { baseOffset: 2, lastOffset: 3, partitionLeaderEpoch: 0, recordCount: 1 })
  t.equal(first.maxTimestamp, 1_700_000_000_002)
  t.ok(bytes.subarray(first.end, first.end + whole.length).equals(whole))
})

t.test('a tombstone gets a delete horizon when it is first kept, and goes when that has come', async t => {
  const fs = await folderOf({ 0: [kv(0, 'a=1'), kv(1, 'a b=2'), kv(3, 'c=3')], 4: [kv(4, 'x=active')] })
  await clean(fs)
  const kept = ['[1-2 horizon] 1:a 2:b=2', '[3-3] 3:c=3']
  t.same((await contentOf(fs))[0], kept)
  const batch = new BatchView(await readFile(fs, join(DIR, file(0))))
  t.match(batch, { deleteHorizonMs: NOW + 1000, maxTimestamp: 1_700_000_000_002 })
  const cursor = batch.records()
  const times: number[] = []
  while (cursor.next()) times.push(cursor.timestamp)
  t.same(times, [1_700_000_000_001, 1_700_000_000_002])

  const again = { firstDirtyOffset: 4, now: NOW + 999 }
  const { stats } = await clean(fs, again)
  t.same((await contentOf(fs))[0], kept)
  t.equal(stats.batchesCopied, 2)
  await clean(fs, { ...again, now: NOW + 1000 })
  t.same((await contentOf(fs))[0], ['[1-2 horizon] 2:b=2', '[3-3] 3:c=3'])
})

t.test('records without a key go where the cleaning has been, and stay behind it (C3)', async t => {
  const fs = await folderOf({ 0: [kv(0, '=1 a=2')], 2: [kv(2, '=3 b=4')], 4: [kv(4, '=active')] })
  const { stats } = await clean(fs, { firstUncleanableOffset: 2 })
  t.same(await contentOf(fs), { 0: ['[0-1] 1:a=2'], 2: ['[2-3] 2:=3 3:b=4'], 4: ['[4-4] 4:=active'] })
  t.equal(stats.withoutKeyDropped, 1)
})

t.test('a segment that lies on both sides of the first uncleanable offset is no input (C2)', async t => {
  const fs = await folderOf({ 0: [kv(0, 'a=1'), kv(1, 'a=2')], 2: [kv(2, 'x=active')] })
  const before = await imageOf(fs)
  await t.rejects(clean(fs, { firstUncleanableOffset: 1 }), { name: 'AssertionError' })
  t.same(await imageOf(fs), before)
})

t.test('records of an aborted transaction go at once, its marker two cleanings later', async t => {
  const entry = { producerId: 9, firstOffset: 1, lastOffset: 3, lastStableOffset: 4 }
  const fs = await folderOf(
    {
      0: [kv(0, 'a=1'), kv(1, 'a=2 b=3', transactional(9)), marker('abort', 3, 9), kv(4, 'c=4')],
      5: [kv(5, 'x=active')]
    },
    { 0: [entry] }
  )
  const { stats } = await clean(fs)
  t.same((await contentOf(fs))[0], ['[0-0] 0:a=1', '[3-3] abort', '[4-4] 4:c=4'])
  t.equal(stats.abortedDropped, 2)
  const index = TransactionIndex.parse(await readFile(fs, join(DIR, file(0, '.txnindex'))), 0)
  t.same([index.entryCount, index.entryAt(0)], [1, entry])

  const later = { firstDirtyOffset: 5 }
  await clean(fs, later)
  t.same((await contentOf(fs))[0], ['[0-0] 0:a=1', '[3-3 horizon] abort', '[4-4] 4:c=4'])
  t.equal(await fs.stat(join(DIR, file(0, '.txnindex'))), undefined)
  await clean(fs, { ...later, now: NOW + 1000 })
  t.same((await contentOf(fs))[0], ['[0-0] 0:a=1', '[4-4] 4:c=4'])
})

t.test('the marker of a commit stays as long as a record of its transaction', async t => {
  const fs = await folderOf({
    0: [kv(0, 'a=1 b=2', transactional(9)), marker('commit', 2, 9)],
    3: [kv(3, 'a=3')],
    4: [kv(4, 'b=4')],
    5: [kv(5, 'x=active')]
  })
  await clean(fs, { firstUncleanableOffset: 4 })
  t.same((await contentOf(fs))[0], ['[0-1] 1:b=2', '[2-2] commit', '[3-3] 3:a=3'])
  await clean(fs, { firstDirtyOffset: 4 })
  t.same((await contentOf(fs))[0], ['[2-2] commit', '[3-3] 3:a=3', '[4-4] 4:b=4'])
  await clean(fs, { firstDirtyOffset: 5 })
  t.same((await contentOf(fs))[0]?.[0], '[2-2 horizon] commit')
  await clean(fs, { firstDirtyOffset: 5, now: NOW + 5000 })
  t.same((await contentOf(fs))[0], ['[3-3] 3:a=3', '[4-4] 4:b=4'])
})

t.test('a transaction whose marker lies in the active segment is known from what the caller says', async t => {
  const fs = await folderOf({
    0: [kv(0, 'a=1'), kv(1, 'a=2', transactional(9))],
    2: [kv(2, 'b=3'), marker('abort', 3, 9)]
  })
  const abortedLater = [{ producerId: 9, firstOffset: 1, lastOffset: 3, lastStableOffset: 4 }]
  await clean(fs, { abortedLater })
  t.same((await contentOf(fs))[0], ['[0-0] 0:a=1', '[1-1]'])
})

t.test('the last batch of a producer that is remembered stays, if only its header (B4)', async t => {
  const fs = await folderOf({
    0: [kv(0, 'a=1', { ...transactional(1, 5), transactional: false }), kv(1, 'a=2 b=3', transactional(2, 8))],
    3: [marker('commit', 3, 2), kv(4, 'a=5 b=6')],
    6: [kv(6, 'x=active')]
  })
  const producers = [
    { producerId: 1, producerEpoch: 0, lastDataOffset: 0 },
    { producerId: 2, producerEpoch: 0, lastDataOffset: undefined }
  ]
  await clean(fs, { producers })
  t.same((await contentOf(fs))[0], ['[0-0]', '[3-3] commit', '[4-5] 4:a=5 5:b=6'])
  const header = new BatchView(await readFile(fs, join(DIR, file(0))))
  header.verify()
  t.match(header, { size: 61, producerId: 1, baseSequence: 5, lastSequence: 5, baseTimestamp: -1, recordCount: 0 })
  t.equal(header.maxTimestamp, 1_700_000_000_000)
  // Forgotten since: it goes. The marker is the last that is known of the other, and stays though its time has come.
  const forgotten = { firstDirtyOffset: 6, producers: producers.slice(1) }
  await clean(fs, forgotten)
  await clean(fs, { ...forgotten, now: NOW + 5000 })
  t.same((await contentOf(fs))[0], ['[3-3]', '[4-5] 4:a=5 5:b=6'])
})

t.test('the last batch in front of the first uncleanable offset stays, if only its header (C3)', async t => {
  const entry = { producerId: 9, firstOffset: 1, lastOffset: 4, lastStableOffset: 5 }
  const fs = await folderOf(
    { 0: [kv(0, 'a=1'), kv(1, 'b=2 c=3', transactional(9))], 3: [kv(3, 'a=4'), marker('abort', 4, 9)], 5: [] },
    { 3: [entry] }
  )
  await clean(fs, { firstUncleanableOffset: 3 })
  t.same((await contentOf(fs))[0], ['[0-0] 0:a=1', '[1-2]'])
})

t.test('keys that do not fit into the map take several rounds, with the same outcome as one', async t => {
  const build = (): Promise<MemoryFileSystem> =>
    folderOf({
      0: [kv(0, 'a=1 b=2 c=3 d=4'), kv(4, 'e=5 a=6'), kv(6, 'f=7')],
      7: [kv(7, 'b=8 g'), kv(9, 'c=10 d e=11')],
      12: [kv(12, 'x=active')]
    })
  const once = await build()
  await clean(once)
  const fs = await build()
  let firstDirtyOffset = 0
  const ends: number[] = []
  for (let rounds = 0; firstDirtyOffset < 12 && rounds < 20; rounds += 1) {
    const { endOffset, isPartial, mapBytes } = await clean(fs, { firstDirtyOffset, mapBytes: 3 * 24 })
    t.equal(mapBytes, 72)
    t.equal(isPartial, endOffset < 12)
    firstDirtyOffset = endOffset
    ends.push(endOffset)
  }
  t.same(ends, [2, 4, 6, 7, 9, 11, 12])
  t.same(Object.values(await contentOf(fs)).flat(), Object.values(await contentOf(once)).flat())
})

t.test('neighbours are joined as long as bytes, indexes and offsets fit, and bear the time of the last', async t => {
  const sizes = [kv(0, 'a=1').length, kv(1, 'b=2').length]
  const fs = await folderOf({
    0: [kv(0, 'a=1')],
    1: [kv(1, 'b=2')],
    2: [kv(2, 'c=3')],
    10: [],
    [2 ** 31 + 20]: [kv(2 ** 31 + 20, 'd=4')],
    [2 ** 31 + 21]: [kv(2 ** 31 + 21, 'x=active')]
  })
  await fs.setModifiedTime(join(DIR, file(1)), 123_000)
  const { all } = await clean(fs, { settings: { segmentBytes: sizes[0]! + sizes[1]! } })
  t.same(
    all.map(({ sources, cleaned }) => [sources, cleaned.map(({ baseOffset, nextOffset }) => [baseOffset, nextOffset])]),
    [
      [[0, 1], [[0, 2]]],
      [[2, 10], [[2, 3]]],
      [[2 ** 31 + 20], [[2 ** 31 + 20, 2 ** 31 + 21]]]
    ]
  )
  t.equal((await fs.stat(join(DIR, file(0))))?.modifiedMs, 123_000)
  t.equal((await fs.stat(join(DIR, file(0, '.timeindex'))))?.size, 12)
})

t.test('compressed batches keep their codec when they are built anew', async t => {
  for (const compression of ['gzip', 'snappy', 'lz4', 'zstd'] as const) {
    const fs = await folderOf({
      0: [kv(0, 'a=1 b=2 c', { compression }), kv(3, 'a=3', { compression })],
      4: [kv(4, 'x=active')]
    })
    await clean(fs)
    t.same((await contentOf(fs))[0], ['[0-2 horizon] 1:b=2 2:c', '[3-3] 3:a=3'])
    const batch = new BatchView(await readFile(fs, join(DIR, file(0))))
    batch.verify()
    t.equal(batch.compression, compression)
  }
})

t.test('under LogAppendTime the time of a batch stays, whatever records are left', async t => {
  const options: Options = { timestampType: 'LogAppendTime', now: 1_700_000_009_000 }
  const fs = await folderOf({ 0: [kv(0, 'a=1 b=2 c', options), kv(3, 'a=3 b=4')], 5: [kv(5, 'x=active')] })
  await clean(fs)
  const batch = new BatchView(await readFile(fs, join(DIR, file(0))))
  t.match(batch, { recordCount: 1, maxTimestamp: 1_700_000_009_000, timestampType: 'LogAppendTime' })
  const cursor = batch.records()
  t.ok(cursor.next())
  t.equal(cursor.timestamp, 1_700_000_009_000)
})

t.test('keys to be erased go wherever they are, the latest too; their tombstones do not', async t => {
  const fs = await folderOf({
    0: [kv(0, 'a=1 b=2'), kv(2, 'b')],
    3: [kv(3, 'b=3 c=4')],
    5: [kv(5, 'b=active')]
  })
  const { stats } = await clean(fs, { firstDirtyOffset: 5, eraseKeys: [Buffer.from('b')] })
  t.same(await contentOf(fs), {
    0: ['[0-1] 0:a=1', '[2-2 horizon] 2:b', '[3-4] 4:c=4'],
    5: ['[5-5] 5:b=active']
  })
  t.equal(stats.erased, 2)
})

t.test('a preview tells what a cleaning then does, and writes nothing', async t => {
  const fs = await folderOf({
    0: [kv(0, 'a=1 b=2 c', { compression: 'gzip' }), kv(3, 'a=3 d')],
    5: [kv(5, '=no b=4')],
    7: [kv(7, 'x=active')]
  })
  const input = await inputFor({ fs, now: NOW })
  const before = await imageOf(fs)
  const clock = new ManualClock()
  const preview = await previewCleaning(input, { fs, clock })
  t.same(await imageOf(fs), before)
  const { all, ...result } = await cleanAndSwap(fs, input)
  t.same(preview, result)
  t.equal(all[0]?.cleaned[0]?.bytes, preview.stats.bytesKept)
})
