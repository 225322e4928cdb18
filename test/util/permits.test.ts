import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { Permits } from '../../lib/util/permits.ts'

t.test('no more at a time than there are permits, in order, whatever fails', async t => {
  const permits = new Permits(3)
  let running = 0
  let most = 0
  const begun: number[] = []
  const outcomes = await Promise.allSettled(
    Array.from({ length: 20 }, (_, i) =>
      permits.run(async () => {
        begun.push(i)
        running += 1
        most = Math.max(most, running)
        await sleep(i % 4)
        running -= 1
        if (i % 5 === 0) throw new Error(`no ${i}`)
        return i
      })
    )
  )
  t.equal(most, 3)
  t.same(
    begun,
    Array.from({ length: 20 }, (_, i) => i)
  )
  t.equal(outcomes.filter(({ status }) => status === 'rejected').length, 4)
  t.equal(await permits.run(async () => 'free again'), 'free again')
})
