/** Failures on the way of a small group, which is written on the calling thread: nobody waits for ever. */
import t from 'tap'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { sharedParts } from '../../lib/log/open-log.ts'
import { openLog, valuesOf } from '../helpers/logs.ts'

t.test('an append that cannot tell whether its segment must roll is refused, and the next one goes on', async t => {
  const fs = new MemoryFileSystem()
  await fs.makeDirectory('/d')
  const before = await openLog('/d', { shared: sharedParts({ fs }) })
  await before.append([{ value: 'a' }])
  await before.close()
  const log = await openLog('/d', { shared: sharedParts({ fs }) })
  fs.onCall = call => {
    if (call.operation !== 'read' || call.position !== 0 || !call.path.endsWith('.log')) return undefined
    throw Object.assign(new Error('EMFILE: made to fail'), { code: 'EMFILE' })
  }
  await t.rejects(log.append([{ value: 'b' }]), { name: 'LogError' })
  t.equal(log.condition, 'open')
  fs.onCall = undefined
  t.match(await log.append([{ value: 'c' }]), { baseOffset: 1 })
  t.same(await valuesOf(log.records()), ['a', 'c'])
  t.same(await log.close(), { clean: true })
})
