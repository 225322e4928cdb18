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
