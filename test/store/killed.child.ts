/** Appends to four logs until it is killed; prints the offset of each acknowledged record as `partition offset`. */
import { Store } from '../../lib/store/store.ts'

async function main(dir: string): Promise<void> {
  const store = await Store.open(dir, { checkpointIntervalMs: 20 })
  if (store.topics().length === 0)
    await store.createTopic('orders', { partitions: 4, configs: { 'segment.bytes': '3000' } })
  const work = async (partition: number): Promise<never> => {
    const log = await store.openLog('orders', partition)
    for (;;) {
      const next = log.logEndOffset
      const { baseOffset } = await log.append([{ value: `${partition}:${next}` }])
      process.stdout.write(`${partition} ${baseOffset}\n`)
    }
  }
  await Promise.all([0, 1, 2, 3].map(work))
}

main(process.argv[2]!).catch(error => {
  console.error(error)
  process.exitCode = 1
})
