import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { Store } from '../../lib/store/store.ts'
import { tempDir } from '../helpers/paths.ts'

const PARTITIONS = 400

function heapInUse(): number {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  collect()
  collect()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

t.test(
  'a log that is open and idle takes a few kilobytes: what appending needs comes with the first append',
  async t => {
    const store = await Store.open(await tempDir(t))
    await store.createTopic('orders', { partitions: PARTITIONS })
    // What has to be compiled, and caches that all logs share, are none of what one takes.
    for (let partition = 0; partition < PARTITIONS / 2; partition += 1) await store.openLog('orders', partition)
    const before = heapInUse()
    for (let partition = PARTITIONS / 2; partition < PARTITIONS; partition += 1)
      await store.openLog('orders', partition)
    const each = (heapInUse() - before) / (PARTITIONS / 2)
    t.comment(`${Math.round(each)} bytes each`)
    t.ok(each < 8000, `${Math.round(each)} bytes each`)
    await store.close()
  }
)
