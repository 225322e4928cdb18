import t from 'tap'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { sharedParts } from '../../lib/log/open-log.ts'
import { openLog } from '../helpers/logs.ts'

t.test('under "buffered", a search by time waits for what is just being written, which readers see', async t => {
  const fs = new MemoryFileSystem()
  await fs.makeDirectory('/data')
  let goOn = (): void => {}
  const gate = new Promise<void>(resolve => {
    goOn = resolve
  })
  let isWriting = false
  fs.onCall = ({ operation, path }) => {
    if (operation !== 'write' || !path.endsWith('.log')) return undefined
    isWriting = true
    return gate
  }
  const log = await openLog('/data', { shared: sharedParts({ fs }), config: { durability: 'buffered', flushBytes: 1 } })
  t.teardown(() => log.close())
  await log.append([{ value: 'x', timestamp: 5000 }])
  while (!isWriting) await new Promise(resolve => setImmediate(resolve))
  t.equal(log.highWatermark, 1, 'readers see it')
  const byTime = log.offsetForTimestamp(5000)
  const latest = log.offsetOfMaxTimestamp()
  for (let turns = 0; turns < 20; turns += 1) await new Promise(resolve => setImmediate(resolve))
  goOn()
  t.match(await byTime, { offset: 0, timestamp: 5000 })
  t.match(await latest, { offset: 0, timestamp: 5000 })
})
