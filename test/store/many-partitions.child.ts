/** Opens 2,000 partitions, appends to all, closes, opens again: run with few descriptors. Prints one line of JSON. */
import { readdirSync } from 'node:fs'
import { Store } from '../../lib/store/store.ts'

const COUNT = 2000

async function main(dir: string): Promise<void> {
  const times: Record<string, number> = {}
  const timed = async <T>(name: string, f: () => Promise<T>): Promise<T> => {
    const begin = performance.now()
    const result = await f()
    times[name] = Math.round(performance.now() - begin)
    return result
  }
  let descriptors = 0
  const look = (): void => {
    descriptors = Math.max(descriptors, readdirSync('/proc/self/fd').length)
  }
  const store = await timed('open', () => Store.open(dir, { defaults: { durability: 'none' } }))
  await timed('create', () => store.createTopic('many', { partitions: COUNT }))
  await timed('append', async () => {
    for (let first = 0; first < COUNT; first += 50) {
      await Promise.all(Array.from({ length: 50 }, (_, i) => append(store, first + i)))
      look()
    }
  })
  const { maxOpen } = store.status().openFiles
  await timed('close', () => store.close())
  const again = await timed('openAgain', () => Store.open(dir))
  const log = await timed('openOne', () => again.openLog('many', 1999))
  const opened = again.status().logs.length
  let ends = log.logEndOffset
  await timed('openRest', async () => {
    for (let partition = 0; partition < 1999; partition += 1)
      ends += (await again.openLog('many', partition)).logEndOffset
  })
  look()
  await timed('closeAgain', () => again.close())
  const rssMiB = Math.round(process.memoryUsage.rss() / 2 ** 20)
  console.log(JSON.stringify({ times, descriptors, maxOpen, opened, ends, rssMiB }))
}

async function append(store: Store, partition: number): Promise<void> {
  const log = await store.openLog('many', partition)
  await log.append([{ value: `v${partition}` }])
}

main(process.argv[2]!).catch(error => {
  console.error(error)
  process.exitCode = 1
})
