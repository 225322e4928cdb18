/**
 * A cut below the recovery point that the directory's checkpoint names: what is appended behind it, into a segment that
 * is not sealed when the process ends, is looked at by the recovery all the same.
 */
import t from 'tap'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { Store } from '../../lib/store/store.ts'

async function checkpointed(fs: MemoryFileSystem): Promise<string> {
  const handle = await fs.open('/data/recovery-point-offset-checkpoint', 'read')
  const bytes = Buffer.alloc(1000)
  const text = bytes.toString('utf8', 0, await handle.read(bytes, 0))
  await handle.close()
  return text
}

t.test('a transaction that was aborted behind a cut stays aborted, though its segment was never sealed', async t => {
  const fs = new MemoryFileSystem()
  const before = await Store.open('/data', { fs })
  const first = await before.openLog('orders', 0)
  const producer = { producerId: 1, producerEpoch: 0, transactional: true }
  await first.append([{ value: 'gone' }], { ...producer, baseSequence: 0 })
  for (let i = 0; i < 6; i += 1) await first.append([{ value: 'x' }], { ownBatch: true })
  await first.roll()
  await before.close()
  const store = await Store.open('/data', { fs })
  const log = await store.openLog('orders', 0)
  t.match(await checkpointed(fs), /orders 0 7/)
  await log.truncateTo(3)
  t.match(await checkpointed(fs), /orders 0 3/)
  await log.appendEndTransaction({ type: 'abort', producerId: 1, producerEpoch: 0 })
  await log.append([{ value: 'there' }])
  const end = (): never => {
    throw Object.assign(new Error('ended'), { code: 'EIO' })
  }
  // The process ends when the next segment has begun, and before the one in front of it is sealed.
  fs.onCall = ({ operation, path }) => {
    if (operation !== 'open' || !path.endsWith('0005.timeindex')) return
    fs.onCall = end
    end()
  }
  await t.rejects(log.roll())
  const left = fs.clone()
  fs.onCall = () => undefined
  await store.close().catch(() => undefined)
  left.onCall = undefined
  const again = await Store.open('/data', { fs: left })
  const found = await again.openLog('orders', 0)
  const committed: string[] = []
  for await (const { value } of found.records({ isolation: 'read_committed' })) committed.push(String(value))
  t.same(committed, ['x', 'x', 'there'])
  await again.close()
})

t.test('a cut above it writes no checkpoint', async t => {
  const fs = new MemoryFileSystem()
  const store = await Store.open('/data', { fs })
  const log = await store.openLog('orders', 0)
  await log.append([{ value: 'a' }], { ownBatch: true })
  await log.append([{ value: 'b' }], { ownBatch: true })
  let writes = 0
  fs.onCall = ({ operation, path }) => {
    if (operation === 'rename' && path.includes('recovery-point')) writes += 1
  }
  await log.truncateTo(1)
  t.equal(writes, 0)
  fs.onCall = undefined
  await store.close()
})
