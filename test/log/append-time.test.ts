/** What an append's records are dated with where they bring no timestamp, also when several appends share a batch. */
import t from 'tap'
import type { LogConfig } from '../../lib/log/log-config.ts'
import { sharedParts } from '../../lib/log/open-log.ts'
import type { PartitionLog } from '../../lib/log/partition-log.ts'
import { openLog } from '../helpers/logs.ts'
import { ManualClock } from '../helpers/manual-clock.ts'
import { memoryFolder } from '../helpers/partition-folder.ts'

async function appendTwice(config: Partial<LogConfig>) {
  const clock = new ManualClock()
  const shared = sharedParts({ fs: await memoryFolder({}), clock })
  const log = await openLog('/data', { config, shared })
  const first = clock.now()
  // In one turn, so that they share a batch; time passes all the same.
  const appends = [log.append([{ value: 'a' }])]
  clock.advance(400)
  appends.push(log.append([{ value: 'b' }, { value: 'c' }]))
  const acked = (await Promise.all(appends)).map(({ timestamp }) => timestamp)
  const timestamps = await timestampsOf(log)
  const { batches } = log.stats()
  await log.close()
  return { first, acked, timestamps, batches }
}

async function timestampsOf(log: PartitionLog): Promise<number[]> {
  const timestamps: number[] = []
  for await (const { timestamp } of log.records()) timestamps.push(timestamp)
  return timestamps
}

t.test('CreateTime: each append is dated with its own time, though it joins an older batch', async t => {
  const { first, acked, timestamps, batches } = await appendTwice({})
  t.equal(batches, 1)
  t.same(acked, [first, first + 400])
  t.same(timestamps, [first, first + 400, first + 400])
})

t.test('LogAppendTime: a batch has one time, and every acknowledgement names it', async t => {
  const { first, acked, timestamps, batches } = await appendTwice({ messageTimestampType: 'LogAppendTime' })
  t.equal(batches, 1)
  t.same(acked, [first, first])
  t.same(timestamps, [first, first, first])
})
