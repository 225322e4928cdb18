import t from 'tap'
import { openLog } from '../helpers/logs.ts'
import { tempDir } from '../helpers/paths.ts'

t.test('a time that an index entry has exactly is found at the first record that has it', async t => {
  // The index names a batch by its last offset; a search that took it for the first record to look at answered with
  // the last record of the batch, and a reader that began there missed the others.
  const log = await openLog(await tempDir(t), { config: { durability: 'none', indexIntervalBytes: 1 } })
  t.teardown(() => log.close())
  const time = 1_700_000_000_000
  for (let batch = 0; batch < 10; batch += 1) {
    const records = Array.from({ length: 5 }, (_, i) => ({ value: `${batch}/${i}`, timestamp: time + batch }))
    await log.append(records, { ownBatch: true })
  }
  for (let batch = 0; batch < 10; batch += 1)
    t.match(await log.offsetForTimestamp(time + batch), { offset: batch * 5, timestamp: time + batch })
})
