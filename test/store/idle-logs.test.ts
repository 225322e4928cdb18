import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { Store } from '../../lib/store/store.ts'
import { tempDir } from '../helpers/paths.ts'

const PARTITIONS = 200

/** What typed arrays hold: unlike the heap, which also holds what was compiled meanwhile, it is counted to the byte. */
function arraysInUse(): number {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  collect()
  collect()
  return process.memoryUsage().arrayBuffers
}

t.test('a log that is open and idle has no buffers: what counting and caching need comes with first use', async t => {
  const store = await Store.open(await tempDir(t))
  await store.createTopic('orders', { partitions: PARTITIONS })
  // What all logs share is none of what one takes.
  for (let partition = 0; partition < PARTITIONS / 2; partition += 1) await store.openLog('orders', partition)
  const before = arraysInUse()
  for (let partition = PARTITIONS / 2; partition < PARTITIONS; partition += 1) await store.openLog('orders', partition)
  const each = (arraysInUse() - before) / (PARTITIONS / 2)
  // Histograms and the book of cached batches took 900.
  t.ok(each < 200, `${Math.round(each)} bytes each`)
  await store.close()
})
