import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { openLog } from '../helpers/logs.ts'
import { tempDir } from '../helpers/paths.ts'

t.test('upkeep forgets silent producers, but none with an open transaction, and writes the index out', async t => {
  const dir = await tempDir(t)
  const log = await openLog(dir, { config: { producerIdExpirationMs: 1000, indexIntervalBytes: 0 } })
  t.teardown(() => log.close())
  const old = Date.now() - 10_000
  const silent = { producerId: 1, producerEpoch: 0, baseSequence: 0 }
  const undecided = { producerId: 2, producerEpoch: 0, baseSequence: 0, transactional: true }
  await log.append([{ value: 'a', timestamp: old }], silent)
  await log.append([{ value: 'b', timestamp: old }], undecided)
  await log.append([{ value: 'c' }], { ownBatch: true })
  const index = join(dir, 't-0', '00000000000000000000.index')
  t.equal((await readFile(index)).length, 0, 'entries are in memory')
  t.ok((await log.append([{ value: 'a', timestamp: old }], silent)).duplicate)
  await log.upkeep()
  t.equal((await readFile(index)).length, 16, 'one for each batch but the first')
  t.notOk((await log.append([{ value: 'a', timestamp: old }], silent)).duplicate, 'nobody remembers')
  t.equal(log.lastStableOffset, 1, 'the transaction is open still')
  await t.rejects(
    log.append([{ value: 'd' }], { producerId: 2, producerEpoch: 0, baseSequence: 5, transactional: true }),
    {
      code: 'OUT_OF_ORDER_SEQUENCE'
    }
  )
})
