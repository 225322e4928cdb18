/** `heartwood offsets`: offsets by time, as Kafka's ListOffsets answers. */
import type { PartitionLog } from '../log/partition-log.ts'
import type { Isolation } from '../log/types.ts'
import { type Context, type DirOption, parseTime, partitionsOf, withStore } from './common.ts'
import { printTable } from './table.ts'

export interface OffsetsOptions extends DirOption {
  readonly topic: string
  readonly partition: number | undefined
  readonly timestamps: readonly string[]
  readonly isolation: Isolation
  readonly json: boolean
}

interface Answer {
  readonly offset: number | null
  readonly timestamp: number | bigint | null
}

export async function offsets(options: OffsetsOptions, context: Context): Promise<number> {
  const queries = options.timestamps.length === 0 ? ['latest'] : options.timestamps
  return withStore(options.dir, { readOnly: true }, async store => {
    const rows: string[][] = []
    for (const partition of partitionsOf(store, options.topic, options.partition)) {
      const log = await store.openLog(options.topic, partition)
      for (const query of queries) {
        const { offset, timestamp } = await answer(log, query, options.isolation)
        const shown = /^-?\d+$/.test(query) ? query : JSON.stringify(query)
        if (options.json) {
          await context.out.write(
            `{"topic":${JSON.stringify(options.topic)},"partition":${partition},"query":${shown},"offset":${offset},"timestamp":${timestamp}}\n`
          )
        } else {
          rows.push([
            options.topic,
            String(partition),
            query,
            offset === null ? '-' : String(offset),
            timestamp === null ? '-' : String(timestamp)
          ])
        }
      }
    }
    if (!options.json) await printTable(context, ['topic', 'partition', 'query', 'offset', 'timestamp'], rows)
    await context.out.flush()
    return 0
  })
}

async function answer(log: PartitionLog, query: string, isolation: Isolation): Promise<Answer> {
  if (query === 'earliest') return { offset: log.logStartOffset, timestamp: null }
  if (query === 'latest')
    return { offset: isolation === 'read_committed' ? log.lastStableOffset : log.highWatermark, timestamp: null }
  const found =
    query === 'max-timestamp'
      ? await log.offsetOfMaxTimestamp()
      : await log.offsetForTimestamp(parseTime(query), { isolation })
  return { offset: found?.offset ?? null, timestamp: found?.timestampExact ?? null }
}
