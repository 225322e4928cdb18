import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { forEachLimited } from '../../lib/store/for-each-limited.ts'

t.test('every item is done once, never more than the limit at a time', async t => {
  let running = 0
  let most = 0
  const done: number[] = []
  await forEachLimited(
    Array.from({ length: 20 }, (_, i) => i),
    3,
    async item => {
      running += 1
      most = Math.max(most, running)
      await sleep(item % 3)
      running -= 1
      done.push(item)
    }
  )
  t.equal(most, 3)
  t.same(
    done.sort((a, b) => a - b),
    Array.from({ length: 20 }, (_, i) => i)
  )
})

t.test('after a failure nothing begins, and what had begun is waited for', async t => {
  const begun: number[] = []
  let ended = 0
  const work = forEachLimited([0, 1, 2, 3, 4, 5], 2, async item => {
    begun.push(item)
    await sleep(item === 1 ? 20 : 5)
    ended += 1
    if (item === 0) throw new Error('first')
  })
  await t.rejects(work, { message: 'first' })
  t.same(begun, [0, 1])
  t.equal(ended, 2)
})
