/** A share of what damage.lane.ts does. */
import t from 'tap'
import { damageAll, sumOf } from './damage.ts'

t.setTimeout(300_000)

t.test('whatever byte is damaged, it is told, or changes no answer', async t => {
  const found = await damageAll({ seed: 1, processes: 1, step: 101 })
  t.equal(found.wrong, 0, found.said)
  t.ok(sumOf(found) > 150)
  t.ok(sumOf(found, 'refused') > 50 && sumOf(found, 'harmless') > 50, JSON.stringify(found.counts))
})
