import { join } from 'node:path'
import t from 'tap'
import { segmentFileName } from '../../lib/segment/file-names.ts'
import { IndexCache } from '../../lib/segment/index-cache.ts'
import { OffsetIndex } from '../../lib/segment/offset-index.ts'
import { LARGEST_WHOLE_INDEX } from '../../lib/segment/paged-index.ts'
import { Segment } from '../../lib/segment/segment.ts'
import { TimeIndex } from '../../lib/segment/time-index.ts'
import { batchOf, content, factsOf, memoryEnv, put } from '../helpers/segments.ts'

/* Indexes that are too large to be read for one lookup: pages of them must say what the whole would. */

const DIR = '/t-0'
const BATCHES = 9000
const path = (suffix: string): string => join(DIR, segmentFileName(0, suffix))
const log = Buffer.concat(
  Array.from({ length: BATCHES }, (_, i) => batchOf({ baseOffset: i * 2, count: 2, timestamp: 1000 + i * 10 }))
)
const facts = factsOf(log)
/** Counts reads on the calling thread. */
const rule = () => {
  const made = { reads: 0, mayRead: () => true, timed: <T>(read: () => T): T => read() }
  made.timed = read => {
    made.reads += 1
    return read()
  }
  return made
}

async function closedSegment({ maxBytes, here }: { maxBytes?: number; here: boolean }) {
  const warmReads = rule()
  const indexCache = new IndexCache(maxBytes === undefined ? {} : { maxBytes })
  const made = memoryEnv({ indexIntervalBytes: 1, indexCache })
  const env = here ? { ...made.env, warmReads } : made.env
  await made.fs.makeDirectory(DIR)
  const segment = await Segment.create(env, DIR, 0)
  await segment.write(log, facts)
  await segment.seal()
  const offsets = await content(made.fs, path('.index'))
  const times = await content(made.fs, path('.timeindex'))
  return { ...made, env, warmReads, indexCache, segment, offsets, times }
}

const reopen = (env: Parameters<typeof Segment.open>[0]): Promise<Segment> =>
  Segment.open(env, DIR, 0, { readOnly: false, trustIndexes: true })

/** As a whole index would say. */
function expectedRange(index: OffsetIndex, offset: number) {
  const count = index.countAtOrBelow(offset)
  const at = (entry: number): number => (entry < index.entryCount ? index.positionAt(entry) : log.length)
  return { from: count === 0 ? 0 : at(count - 1), to: count === 0 ? at(1) : at(count + 1) }
}

for (const here of [true, false]) {
  for (const maxBytes of [undefined, 20_000]) {
    t.test(`pages find what the whole finds, cache of ${maxBytes} bytes, read here: ${here}`, async t => {
      const { env, segment, offsets, times, indexCache, warmReads } = await closedSegment({
        here,
        ...(maxBytes === undefined ? {} : { maxBytes })
      })
      t.ok(offsets.length > LARGEST_WHOLE_INDEX && times.length > LARGEST_WHOLE_INDEX, 'there are pages')
      const whole = OffsetIndex.parse(Buffer.from(offsets), 0)
      const wholeTimes = TimeIndex.parse(Buffer.from(times), 0)
      let entriesHere = 0
      for (const each of [segment, await reopen(env)]) {
        // Around each border of a page, and at both ends.
        for (let i = 0; i < BATCHES; i += i % 512 < 4 || i % 512 > 507 || i > BATCHES - 5 ? 1 : 31) {
          for (const offset of [i * 2, i * 2 + 1]) {
            const { from, to } = await each.locate(offset)
            t.ok(indexCache.bytes <= (maxBytes ?? indexCache.maxBytes) + 20_000, 'within the budget')
            const expected = expectedRange(whole, offset)
            if (from !== expected.from || (to !== expected.to && i < BATCHES - 3)) t.same({ from, to }, expected)
            const entry = each.locateEntrySync(offset)
            const likely = facts[Math.max(1, i)]
            if (entry !== undefined) entriesHere += 1
            if (entry !== undefined && entry.from !== likely?.position) t.equal(entry.from, likely?.position)
          }
          for (const time of [1000 + i * 10, 1005 + i * 10]) {
            const found = await each.offsetBeforeTimestamp(time)
            if (found !== wholeTimes.lookup(time)) t.equal(found, wholeTimes.lookup(time))
          }
        }
        t.equal((await each.locate(-1)).from, 0)
        t.equal(await each.findNextOffset(), BATCHES * 2)
        t.equal(await each.largestTimestamp(), 1000 + (BATCHES - 1) * 10 + 1)
      }
      t.equal(warmReads.reads > 0, here)
      t.ok(entriesHere > 500, `${entriesHere} entries were found on the calling thread`)
      await segment.close({ clean: true })
    })
  }
}

t.test('the largest timestamp of a large index costs the ends of both indexes and a look at its batch', async t => {
  const { env, fs, segment } = await closedSegment({ here: true })
  await segment.close({ clean: true })
  const opened = await reopen(env)
  let bytes = 0
  fs.onCall = call => {
    if (call.operation === 'read') bytes += call.length ?? 0
  }
  t.equal(await opened.largestTimestamp(), 1000 + (BATCHES - 1) * 10 + 1)
  t.ok(bytes > 0 && bytes <= 16384, `${bytes} bytes were read`)
  t.ok(opened.knowsMaxTimestamp)
})

for (const here of [true, false]) {
  t.test(`with any byte of a page changed every batch is found, read here: ${here}`, async t => {
    const { env, fs, segment, offsets, rebuilt } = await closedSegment({ here })
    await segment.close({ clean: true })
    let found = 0
    for (const mask of [0x01, 0x80, 0xff]) {
      for (let n = 0; n < 40; n += 1) {
        const entry = 1024 + ((n * 13) % 512)
        const damaged = Buffer.from(offsets)
        const at = entry * 8 + (n % 8)
        damaged[at] = damaged[at]! ^ mask
        await put(fs, path('.index'), offsets)
        const opened = await reopen(env)
        await opened.locate(0) // The sample is taken of a sound file.
        await put(fs, path('.index'), damaged)
        const before = rebuilt.length
        for (const { position, lastOffset } of facts.slice(entry - 1, entry + 5)) {
          if ((await opened.findBatch(lastOffset))?.position !== position) t.fail(`${lastOffset} is lost`)
        }
        if (rebuilt.length > before) found += 1
        await opened.close({ clean: false })
      }
    }
    t.ok(found > 60, `${found} of 120 were found out`)
  })
}

t.test('a file that was cut or is gone behind its sample is built anew', async t => {
  const { env, fs, segment, offsets, times, rebuilt } = await closedSegment({ here: true })
  await segment.close({ clean: true })
  for (const change of ['cut', 'gone']) {
    await put(fs, path('.index'), offsets)
    await put(fs, path('.timeindex'), times)
    const opened = await reopen(env)
    await opened.locate(0)
    await opened.offsetBeforeTimestamp(0)
    for (const [suffix, bytes] of [['.index', offsets] as const, ['.timeindex', times] as const]) {
      if (change === 'cut') await put(fs, path(suffix), bytes.subarray(0, 5000))
      else await fs.unlink(path(suffix))
    }
    const before = rebuilt.length
    const last = facts[BATCHES - 1]
    t.equal((await opened.findBatch(last!.lastOffset))?.position, last!.position, change)
    t.equal(await opened.offsetBeforeTimestamp(1e9), last!.lastOffset)
    t.ok(rebuilt.length > before, change)
    await opened.close({ clean: true })
  }
})

t.test('a segment with pages that is written to again knows its whole index', async t => {
  const { env, segment, fs } = await closedSegment({ here: true })
  await segment.close({ clean: true })
  const opened = await reopen(env)
  await opened.locate(5000)
  t.equal(await opened.truncateTo(facts[8000]!.baseOffset), facts[8000]!.position)
  t.same((await opened.findBatch(facts[7999]!.lastOffset))?.position, facts[7999]!.position)
  t.equal(await opened.findBatch(facts[8000]!.lastOffset), undefined)
  await opened.close({ clean: true })
  const index = OffsetIndex.parse(await content(fs, path('.index')), 0)
  t.equal(index.entryCount, 7999)
})
