import { join } from 'node:path'
import { type LogConfig, logConfig } from '../../lib/log/log-config.ts'
import { type OpenLogOptions, sharedParts } from '../../lib/log/open-log.ts'
import { PartitionLog } from '../../lib/log/partition-log.ts'
import type { LazyRecord } from '../../lib/record/lazy-record.ts'

/** Opens partition 0 of topic `t` in a data directory, without a store around it. */
export async function openLog(
  dataDir: string,
  options: Partial<OpenLogOptions> & { config?: Partial<LogConfig> } = {}
): Promise<PartitionLog> {
  const { config, ...rest } = options
  return PartitionLog.open({
    dir: join(dataDir, 't-0'),
    topic: 't',
    partition: 0,
    config: logConfig({ messageTimestampAfterMaxMs: undefined, ...config }),
    persistLogStart: async () => {},
    shared: sharedParts(),
    ...rest
  })
}

/** Everything a stream gives, as text, in order. */
export async function valuesOf(stream: AsyncIterable<LazyRecord>): Promise<string[]> {
  const values: string[] = []
  for await (const record of stream) values.push(record.value === null ? 'null' : record.value.toString())
  return values
}

/** `count` records whose values tell their number. */
export function numbered(count: number, from = 0): { key: string; value: string }[] {
  return Array.from({ length: count }, (_, i) => ({ key: `k${(from + i) % 7}`, value: `value-${from + i}` }))
}
