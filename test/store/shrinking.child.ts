/**
 * Appends keyed records to three topics, compacts, retains and deletes them, until it is killed.
 *
 *     node dist/test/store/shrinking.child.js DIR SEED
 *
 * Prints, each as a line of JSON: `{"sent":TOPIC,"records":[[key,value],…]}` before an append, `{"acked":TOPIC,"at":OFFSET}`
 * when it is durable; `{"trim":TOPIC,"to":OFFSET}` before a deletion and `{"trimmed":TOPIC,"to":OFFSET}` after it;
 * `{"begun":WHAT}` and `{"ended":WHAT}` around a compaction and a retention.
 */
import { writeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { PartitionLog } from '../../lib/log/partition-log.ts'
import { Store } from '../../lib/store/store.ts'
import { random } from '../helpers/random.ts'

const [dir = '', seed = '1'] = process.argv.slice(2)
const next = random(Number(seed))

// At once: what waits in this process would be lost with it.
const print = (line: object): void => void writeSync(1, `${JSON.stringify(line)}\n`)

async function append(log: PartitionLog): Promise<never> {
  for (let batch = 0; ; batch += 1) {
    const records = Array.from({ length: 1 + next(5) }, (_, i) => {
      const value = next(12) === 0 ? null : `${seed}-${batch}-${i}`.padEnd(20 + next(60), '.')
      return { key: `k${next(next(3) === 0 ? 40 : 8)}`, value }
    })
    print({ sent: log.topic, records: records.map(({ key, value }) => [key, value]) })
    const { baseOffset } = await log.append(records, { ownBatch: true })
    print({ acked: log.topic, at: baseOffset })
  }
}

async function trim(log: PartitionLog): Promise<never> {
  for (;;) {
    await sleep(next(120))
    const to = Math.min(log.highWatermark, log.logStartOffset + next(200))
    print({ trim: log.topic, to })
    await log.deleteRecordsBefore(to)
    print({ trimmed: log.topic, to })
  }
}

async function shrink(store: Store, what: 'compact' | 'retain'): Promise<never> {
  for (;;) {
    await sleep(next(30))
    print({ begun: what })
    const { partitions } = what === 'compact' ? await store.compact({ force: next(2) === 0 }) : await store.retain()
    // A cleaning may find that its log was trimmed meanwhile.
    for (const each of partitions) {
      if ('error' in each && each.error.code !== 'SEGMENTS_CHANGED') throw new Error(JSON.stringify(each))
    }
    print({ ended: what })
  }
}

const upkeep = { lookEveryMs: 15, firstRetentionMs: 40, retentionEveryMs: 40, cleanerMapBytes: 24 * 64 }
const store = await Store.open(dir, { checkpointIntervalMs: 25, upkeep })
const logs = await Promise.all(store.topics().map(({ topic }) => store.openLog(topic, 0)))
await Promise.all([
  ...logs.map(append),
  ...logs.filter(({ topic }) => topic !== 'table').map(trim),
  shrink(store, 'compact'),
  shrink(store, 'retain')
])
