import t from 'tap'
import { QuickPieces } from '../../lib/log/quick-pieces.ts'
import { ManualClock } from '../helpers/manual-clock.ts'

/** How many of `count` questions were answered with `undefined`, where each read takes `ms`. */
function refused(pieces: QuickPieces, clock: ManualClock, { count, ms }: { count: number; ms: number }): number {
  let refusals = 0
  for (let i = 0; i < count; i += 1) {
    const read = pieces.tryRead(() => {
      clock.advance(ms)
      return 1
    })
    if (read === undefined) refusals += 1
  }
  return refusals
}

t.test('as long as reads are quick, each is made here', async t => {
  const clock = new ManualClock()
  t.equal(refused(new QuickPieces(clock), clock, { count: 1000, ms: 0.2 }), 0)
})

t.test('of a slow disk, few reads are waited for', async t => {
  const clock = new ManualClock()
  const pieces = new QuickPieces(clock)
  t.equal(refused(pieces, clock, { count: 3, ms: 5 }), 2)
  t.ok(refused(pieces, clock, { count: 1000, ms: 5 }) >= 975)
})

t.test('a disk that is quick again is asked here again', async t => {
  const clock = new ManualClock()
  const pieces = new QuickPieces(clock)
  refused(pieces, clock, { count: 1000, ms: 5 })
  refused(pieces, clock, { count: 200, ms: 0.2 })
  t.equal(refused(pieces, clock, { count: 100, ms: 0.2 }), 0)
  // One that takes long among them costs two hops, not a hundred.
  refused(pieces, clock, { count: 1, ms: 5 })
  t.equal(refused(pieces, clock, { count: 100, ms: 0.2 }), 2)
})
