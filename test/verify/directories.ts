/** Data directories to be damaged. */
import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { encodeBatch } from '../../lib/record/encode-batch.ts'
import { Store } from '../../lib/store/store.ts'
import { fixture, tempDir } from '../helpers/paths.ts'

type Test = Parameters<typeof tempDir>[0]

/** A record whose value is long enough for an index entry now and then. */
const record = (i: number): { key: string; value: string } => ({ key: `k${i}`, value: `value ${i} `.repeat(8) })

/**
 * A directory of ours: several segments, an idempotent producer, transactions that were committed and aborted, a hold,
 * a topic that is compressed. Closed cleanly unless `crash`.
 */
export async function ourDirectory(t: Test, options: { crash?: boolean } = {}): Promise<string> {
  const dir = join(await tempDir(t), 'data')
  const store = await Store.open([dir])
  const configs = { 'segment.bytes': '3000', 'index.interval.bytes': '256' }
  await store.createTopic('orders', { configs })
  await store.createTopic('packed', { configs: { ...configs, 'compression.type': 'gzip' } })
  const orders = await store.openLog('orders', 0)
  for (let i = 0; i < 40; i += 1) await orders.append([record(2 * i), record(2 * i + 1)])
  const producer = { producerId: 7, producerEpoch: 0 }
  const own = (baseSequence: number): Buffer =>
    encodeBatch([record(baseSequence)], { ...producer, baseSequence, transactional: true, now: Date.now() })
  await orders.appendBatch(own(0))
  await orders.appendEndTransaction({ ...producer, type: 'abort', coordinatorEpoch: 1 })
  await orders.appendBatch(own(1))
  await orders.appendEndTransaction({ ...producer, type: 'commit', coordinatorEpoch: 1 })
  for (let i = 0; i < 20; i += 1) await orders.append([record(i)])
  await orders.hold('billing', 3)
  const packed = await store.openLog('packed', 0)
  for (let i = 0; i < 10; i += 1) await packed.append([record(i), record(i), record(i)])
  if (options.crash !== true) {
    await store.close()
    return dir
  }
  await packed.append([record(99)])
  const image = await tempDir(t)
  await cp(dir, image, { recursive: true, filter: path => !path.includes('.heartwood-lock') })
  await store.close()
  return image
}

/** A copy of what a broker left. */
export async function brokersDirectory(t: Test, version: string, folder = 'clean'): Promise<string> {
  const dir = join(await tempDir(t), 'data')
  await cp(fixture('golden', version, folder), dir, { recursive: true })
  return dir
}
