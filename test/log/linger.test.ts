import t from 'tap'
import { sharedParts } from '../../lib/log/open-log.ts'
import { openLog } from '../helpers/logs.ts'
import { ManualClock } from '../helpers/manual-clock.ts'
import { memoryFolder } from '../helpers/partition-folder.ts'

async function writesOf(produce: (append: (value: string) => Promise<unknown>) => Promise<void>): Promise<number> {
  const shared = sharedParts({ fs: await memoryFolder({}), clock: new ManualClock() })
  const log = await openLog('/data', { shared, config: { durability: 'none' } })
  await produce(value => log.append([{ value }]))
  const { groups } = log.stats()
  await log.close()
  return groups
}

t.test('a producer with eight appends under way has them written together', async t => {
  const groups = await writesOf(async append => {
    const window: Promise<unknown>[] = []
    for (let i = 0; i < 80; i += 1) {
      await window[i % 8]
      window[i % 8] = append(`value ${i}`)
    }
    await Promise.all(window)
  })
  t.ok(groups <= 12, `${groups} writes for 80 appends`)
})

t.test('who awaits every append has each of them written', async t => {
  const groups = await writesOf(async append => {
    for (let i = 0; i < 10; i += 1) await append(`value ${i}`)
  })
  t.equal(groups, 10)
})

t.test('appends that never pause are written all the same', async t => {
  const groups = await writesOf(async append => {
    let written = 0
    let sent = 0
    while (written === 0 && sent < 1000) {
      append(`value ${sent++}`).then(() => {
        written += 1
      })
      await undefined
    }
    t.ok(sent < 200, `the first was written after ${sent} appends`)
  })
  t.ok(groups > 0)
})
