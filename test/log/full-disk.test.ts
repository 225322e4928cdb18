/** A disk that is full refuses, and nothing waits for ever. */
import t from 'tap'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { sharedParts } from '../../lib/log/open-log.ts'
import { numbered, openLog, valuesOf } from '../helpers/logs.ts'

t.test('under "buffered", a sync right after one that a full disk refused is answered too', async t => {
  // The second one came while the first one's drain was ending, and nobody looked again.
  let isFull = false
  const fs = new MemoryFileSystem({
    onCall: call => {
      if (isFull && call.operation === 'write' && call.path.endsWith('.log')) {
        throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' })
      }
      return undefined
    }
  })
  await fs.makeDirectory('/data')
  const log = await openLog('/data', {
    config: { durability: 'buffered', flushMs: undefined },
    shared: sharedParts({ fs })
  })
  await log.append(numbered(3))
  isFull = true
  await t.rejects(log.sync(), { code: 'NO_SPACE' })
  await t.rejects(log.sync(), { code: 'NO_SPACE' })
  t.equal((await valuesOf(log.records())).length, 3, 'what was accepted is still there')
  isFull = false
  await log.sync()
  t.equal(log.durableOffset, 3)
  await log.close()
})
