import t from 'tap'
import { bestRival, judge, ratio, summarize } from '../../bench/harness/statistics.ts'
import { absent, measured, row } from './outcomes.ts'

t.test('the median of an even count is the mean of the middle two', async t => {
  t.same(summarize([4, 1, 3, 2]), { median: 2.5, min: 1, max: 4 })
  t.same(summarize([5, 1, 9]), { median: 5, min: 1, max: 9 })
  t.equal(summarize([]), undefined)
})

t.test('ratios are taken round by round, so a slow round of the machine cancels out', async t => {
  // The medians, 100 and 60, would say 1.67; in each round it was twice as fast.
  const ours = measured('heartwood', [100, 20, 200])
  const theirs = measured('lmdb', [50, 10, 100])
  t.same(ratio(ours, theirs), { median: 2, min: 2, max: 2 })
  t.equal(ratio(measured('heartwood', [100, 90, 30]), measured('lmdb', [10, 30, 60]))?.median, 3)
})

t.test('a round that only one of two has makes no ratio, nor does a figure of nought', async t => {
  t.same(ratio(measured('heartwood', [1, 2, 3]), measured('lmdb', [1])), { median: 1, min: 1, max: 1 })
  t.equal(ratio(measured('heartwood', [1]), measured('lmdb', [0])), undefined)
  t.equal(ratio(measured('heartwood', [1]), absent('lmdb', 'missing', '')), undefined)
})

t.test('the best rival is neither heartwood nor a bare loop, and the best by its median', async t => {
  const contestants = [
    measured('heartwood', [100]),
    measured('ceiling-sync', [200]),
    measured('lmdb', [50, 50, 50]),
    measured('event-storage', [40, 40, 90]),
    absent('classic-level', 'failed', 'no such luck')
  ]
  t.equal(bestRival(row(contestants))?.name, 'lmdb')
  t.equal(bestRival({ ...row(contestants), better: 'less' })?.name, 'event-storage')
  t.equal(bestRival(row([measured('heartwood', [1])])), undefined)
})

t.test('a goal is reached at its limit, and beyond it in the direction that is better', async t => {
  const contestants = [measured('heartwood', [80, 80, 80]), measured('ceiling', [100, 100, 100])]
  const stands = (limit: number, better: 'more' | 'less'): string =>
    judge('append', row(contestants), { name: 'P1', against: 'ceiling', limit, better }).stands
  t.equal(stands(0.8, 'more'), 'reached')
  t.equal(stands(0.81, 'more'), 'missed')
  t.equal(stands(0.8, 'less'), 'reached')
  t.equal(stands(0.79, 'less'), 'missed')
})

t.test('a goal may be about a further figure, about itself alone, or about another contestant', async t => {
  const contestants = [
    measured('heartwood', [1, 1], { 'p99 us': 10 }),
    measured('heartwood-cached', [6, 6]),
    measured('lmdb', [2, 2], { 'p99 us': 20 }),
    measured('event-storage', [3, 3], { 'p99 us': 30 })
  ]
  const of = row(contestants)
  const figure = judge('tail', of, { name: 'P1', against: 'best rival', figure: 'p99 us', better: 'less', limit: 0.5 })
  t.equal(figure.against, 'lmdb', 'the best rival by that figure')
  t.match(figure, { stands: 'reached', measured: { median: 0.5 }, id: 'P1 tail 100B p99 us against best rival' })
  t.match(judge('tail', of, { name: 'P1', limit: 2 }), {
    stands: 'missed',
    measured: { median: 1 },
    id: 'P1 tail 100B'
  })
  const other = judge('tail', of, { name: 'P1', of: 'heartwood-cached', against: 'lmdb', limit: 3 })
  t.match(other, { stands: 'reached', id: 'P1 tail 100B of heartwood-cached against lmdb' })
})

t.test('what was not measured is neither reached nor missed', async t => {
  const contestants = [absent('heartwood', 'failed', 'no such luck'), measured('ceiling', [1])]
  t.equal(judge('append', row(contestants), { name: 'P1', against: 'ceiling', limit: 0 }).stands, 'not measured')
  t.equal(judge('append', row(contestants), { name: 'P1', limit: 0 }).stands, 'not measured')
  const alone = [measured('heartwood', [1])]
  t.equal(judge('append', row(alone), { name: 'P1', against: 'best rival', limit: 0 }).stands, 'not measured')
})
