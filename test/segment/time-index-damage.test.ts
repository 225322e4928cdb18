import { join } from 'node:path'
import t from 'tap'
import { segmentFileName } from '../../lib/segment/file-names.ts'
import { Segment } from '../../lib/segment/segment.ts'
import { batchOf, content, factsOf, memoryEnv, put } from '../helpers/segments.ts'

const DIR = '/data/orders-0'

t.test('a time index that names the wrong time is held against the log, and made anew', async t => {
  const made = Array.from({ length: 100 }, (_, i) => batchOf({ baseOffset: 3 * i, count: 3, timestamp: 1000 + 10 * i }))
  const bytes = Buffer.concat(made)
  const facts = factsOf(bytes)
  const latest = facts.reduce((most, fact) => (fact.maxTimestamp > most.maxTimestamp ? fact : most))
  // The file has no checksum: any bit of a time or of an offset may be another, as long as they still go up.
  for (const bit of [0, 3, 9, 33, 64, 66]) {
    for (const isLast of [true, false]) {
      const { env, fs } = memoryEnv({ indexIntervalBytes: 200 })
      await fs.makeDirectory('/data')
      await fs.makeDirectory(DIR)
      const segment = await Segment.create(env, DIR, 0)
      await segment.write(bytes, facts)
      await segment.close({ clean: true })
      const path = join(DIR, segmentFileName(0, '.timeindex'))
      const index = await content(fs, path)
      const entry = isLast ? index.length / 12 - 1 : Math.floor(index.length / 24)
      const at = entry * 12 + (bit < 64 ? 7 - (bit >> 3) : 11 - ((bit - 64) >> 3))
      index[at] = (index[at] as number) ^ (1 << (bit % 8))
      await put(fs, path, index)
      const opened = await Segment.open(env, DIR, 0, { readOnly: false, trustIndexes: true })
      t.equal(await opened.largestTimestamp(), latest.maxTimestamp, `bit ${bit}, ${isLast}`)
      for (const { maxTimestamp } of facts) {
        const from = await opened.offsetBeforeTimestamp(maxTimestamp)
        const first = facts.find(fact => fact.maxTimestamp >= maxTimestamp) as { lastOffset: number }
        if (from > first.lastOffset) t.fail(`bit ${bit}: from ${from}, ${first.lastOffset} is of ${maxTimestamp}`)
      }
      await opened.close({ clean: true })
    }
  }
})

t.test('neither are batches added, nor is the segment cut, on the word of a damaged time index', async t => {
  const made = Array.from({ length: 60 }, (_, i) => batchOf({ baseOffset: 3 * i, count: 3, timestamp: 1000 + 10 * i }))
  const bytes = Buffer.concat(made)
  const all = factsOf(bytes)
  const late = batchOf({ baseOffset: 180, timestamp: 1200 })
  for (const entriesBack of [1, 2, 5, 9]) {
    for (const bit of [0, 3, 9, 33, 64, 66, 70]) {
      for (const cut of [undefined, 150, 160, 164, 166]) {
        const { env, fs } = memoryEnv({ indexIntervalBytes: 200 })
        await fs.makeDirectory('/data')
        await fs.makeDirectory(DIR)
        const segment = await Segment.create(env, DIR, 0)
        await segment.write(bytes, all)
        await segment.close({ clean: true })
        const path = join(DIR, segmentFileName(0, '.timeindex'))
        const index = await content(fs, path)
        const at = index.length - 12 * entriesBack + (bit < 64 ? 7 - (bit >> 3) : 11 - ((bit - 64) >> 3))
        index[at] = (index[at] as number) ^ (1 << (bit % 8))
        await put(fs, path, index)
        const opened = await Segment.open(env, DIR, 0, { readOnly: false, trustIndexes: true })
        opened.nextOffset = 180
        if (cut === undefined) await opened.write(late, factsOf(late, bytes.length))
        else await opened.truncateTo(cut)
        const left = all.filter(({ lastOffset }) => lastOffset < (cut ?? 180))
        t.equal(opened.size, (cut === undefined ? late.length : 0) + left.reduce((sum, { size }) => sum + size, 0))
        const where = `entry ${entriesBack} from the end, bit ${bit}, ${cut}`
        if ((await opened.largestTimestamp()) !== left.at(-1)?.maxTimestamp)
          t.fail(`${where}: ${await opened.largestTimestamp()}, not ${left.at(-1)?.maxTimestamp}`)
        for (const { maxTimestamp, lastOffset } of left) {
          const from = await opened.offsetBeforeTimestamp(maxTimestamp)
          if (from > lastOffset) t.fail(`${where}: from ${from}, ${lastOffset} is of ${maxTimestamp}`)
        }
        await opened.close({ clean: true })
      }
    }
  }
})
